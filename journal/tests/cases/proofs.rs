//! Proofs, checkpoints and anchors over real journals.

use super::support::{small, written};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use keel_core::ids::Seq;
use keel_journal::anchor::{self, Anchor, CommandAnchor, FileAnchor};
use keel_journal::note::SecretKey;
use keel_journal::proof::{Checkpoint, Proof, ProofError, checkpoint, prove};
use keel_journal::verify::verify_against;
use keel_journal::{Reader, What, consistency, verify};
use sha2::Sha256;

const ORIGIN: &str = "keel.example/test";

fn key() -> SecretKey {
    SecretKey::new(ORIGIN, &[42; 32]).unwrap()
}

#[test]
fn every_record_is_proven_and_checked_with_the_public_key_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(written(dir.path(), small(), 150, 70));
    let state = checkpoint(dir.path(), ORIGIN, None).unwrap();
    assert_eq!((state.size, state.root), (150, verify(dir.path()).root));
    let note = state.sign(&key()).unwrap();
    for seq in 1..=150 {
        let text = prove(dir.path(), Seq(seq), state.size, &note).unwrap().to_text();
        let proof = Proof::parse(&text).unwrap();
        let (proven, entry) = proof.check(&key().public()).unwrap();
        assert_eq!((proven, entry.seq), (state.clone(), Seq(seq)));
        let mut forged = proof.clone();
        forged.record[60] ^= 1;
        assert_eq!(forged.check(&key().public()), Err(ProofError::Refuted));
        let mut moved = proof.clone();
        moved.index = (moved.index + 1) % 150;
        assert_eq!(moved.check(&key().public()), Err(ProofError::Refuted));
    }
    assert_eq!(prove(dir.path(), Seq(151), 150, &note), Err(ProofError::NoRecord));
    assert_eq!(prove(dir.path(), Seq(0), 150, &note), Err(ProofError::NoRecord));
    assert_eq!(checkpoint(dir.path(), ORIGIN, Some(151)), Err(ProofError::NoRecord));
}

#[test]
fn other_hands_build_the_same_tree_and_the_same_proofs() {
    let dir = tempfile::tempdir().unwrap();
    drop(written(dir.path(), small(), 77, 50));
    let mut theirs: MemoryBackedTree<Sha256, Vec<u8>> = MemoryBackedTree::new();
    let mut reader = Reader::open(dir.path()).unwrap();
    while let Some(entry) = reader.poll().unwrap() {
        theirs.push(entry.bytes.to_vec());
    }
    let state = checkpoint(dir.path(), ORIGIN, None).unwrap();
    assert_eq!(theirs.root().as_bytes()[..], state.root);
    for seq in [1, 2, 33, 64, 65, 76, 77] {
        let ours = prove(dir.path(), Seq(seq), 77, "").unwrap();
        assert_eq!(theirs.prove_inclusion(seq as usize - 1).as_bytes(), ours.path.concat(), "{seq}");
    }
}

#[test]
fn a_newer_checkpoint_is_proven_to_continue_an_older_one() {
    let dir = tempfile::tempdir().unwrap();
    drop(written(dir.path(), small(), 77, 50));
    let mut theirs: MemoryBackedTree<Sha256, Vec<u8>> = MemoryBackedTree::new();
    let mut reader = Reader::open(dir.path()).unwrap();
    while let Some(entry) = reader.poll().unwrap() {
        theirs.push(entry.bytes.to_vec());
    }
    let state = |size| checkpoint(dir.path(), ORIGIN, Some(size)).unwrap();
    let note = state(77).sign(&key()).unwrap();
    for old in [1, 2, 3, 31, 32, 33, 64, 76, 77] {
        let ours = consistency::prove(dir.path(), old, 77, &note).unwrap();
        if old < 77 {
            let added = std::num::NonZeroUsize::new(77 - old as usize).unwrap();
            assert_eq!(theirs.prove_consistency(added.get()).as_bytes(), ours.path.concat(), "{old}");
        }
        let read = consistency::Consistency::parse(&ours.to_text()).unwrap();
        assert_eq!(read, ours);
        assert_eq!(read.check(&state(old), &key().public()), Ok(state(77)));
        let other = Checkpoint { root: [7; 32], ..state(old) };
        assert_eq!(read.check(&other, &key().public()), Err(ProofError::Refuted), "a rewritten beginning");
        let other = Checkpoint { origin: "keel.example/other".to_owned(), ..state(old) };
        assert_eq!(read.check(&other, &key().public()), Err(ProofError::Refuted));
    }
    assert_eq!(consistency::prove(dir.path(), 78, 77, &note), Err(ProofError::NoRecord));
    assert_eq!(consistency::prove(dir.path(), 5, 78, &note), Err(ProofError::NoRecord));
}

#[test]
fn a_cut_end_and_a_rewritten_history_are_seen_through_an_anchor() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("anchors");
    let (journal, other) = (dir.path().join("a"), dir.path().join("b"));
    let mut file = FileAnchor::open(&place).unwrap();
    for _ in 0..3 {
        let (writer, keeper) = written(&journal, small(), 60, 64);
        keeper.finish(writer).unwrap();
        file.keep(&checkpoint(&journal, ORIGIN, None).unwrap().sign(&key()).unwrap()).unwrap();
    }
    let anchors = anchor::read(&std::fs::read_to_string(&place).unwrap(), &key().public()).unwrap();
    assert_eq!(anchors.iter().map(|anchor| anchor.size).collect::<Vec<_>>(), [60, 120, 180]);
    assert!(verify_against(&journal, &anchors).is_sound());

    // an owner of the host rewrites everything with sound checksums and seals: only the anchor can tell
    let (writer, keeper) = written(&other, small(), 180, 65);
    keeper.finish(writer).unwrap();
    assert!(verify(&other).is_sound());
    let report = verify_against(&other, &anchors);
    assert_eq!(
        report.damages.iter().map(|d| (d.seq.0, d.what)).collect::<Vec<_>>(),
        [(60, What::Anchor), (120, What::Anchor), (180, What::Anchor)]
    );

    // or removes the last segments, seals and all
    for number in [4, 5, 6, 7, 8] {
        let _ = std::fs::remove_file(journal.join(keel_journal::segment::name(number)));
    }
    assert!(verify(&journal).is_sound());
    let report = verify_against(&journal, &anchors);
    assert!(report.damages.iter().all(|damage| damage.what == What::CutOff) && !report.is_sound());

    let forged = std::fs::read_to_string(&place).unwrap().replacen("120", "121", 1);
    assert!(anchor::read(&forged, &key().public()).is_err());
}

#[test]
fn a_program_may_be_an_anchor() {
    let note = Checkpoint { origin: ORIGIN.to_owned(), size: 1, root: [1; 32] }.sign(&key()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kept");
    CommandAnchor::new(&format!("tee {}", file.display())).unwrap().keep(&note).unwrap();
    assert_eq!(std::fs::read_to_string(file).unwrap(), note);
    assert!(CommandAnchor::new("false").unwrap().keep(&note).is_err());
    assert!(CommandAnchor::new("/nowhere/at/all").unwrap().keep(&note).is_err());
    assert!(CommandAnchor::new("  ").is_none());
}

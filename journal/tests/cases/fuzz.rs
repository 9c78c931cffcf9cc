//! Any file, any length, any bytes: reader, verifier, decompressor and the parsers of notes, proofs and logs end in an
//! answer, never in a panic, a hang or memory without bound.
//!
//! Deterministic: `KEEL_FUZZ_SEED` and `KEEL_FUZZ_ROUNDS` choose another stretch, or a longer one for a night.
#![allow(clippy::disallowed_methods, reason = "a case reads how long it may run")]

use super::support::{Luck, read_all, scratch, small, try_open, written};
use keel_core::ids::Seq;
use keel_journal::acts::{Acts, NAME};
use keel_journal::archive::archive;
use keel_journal::consistency::{self, Consistency};
use keel_journal::note::{PublicKey, SecretKey};
use keel_journal::proof::{Checkpoint, Proof, checkpoint, prove};
use keel_journal::{Reader, anchor, frame, history, retain, verify};
use std::fs;
use std::path::{Path, PathBuf};

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn rounds(usual: u64) -> u64 {
    number("KEEL_FUZZ_ROUNDS", usual)
}

fn luck() -> Luck {
    Luck(number("KEEL_FUZZ_SEED", 20_261_122).max(1))
}

/// Bytes changed the way fuzzers do: bits, runs, cuts, copies, insertions, numbers at their edges.
fn mutate(rng: &mut Luck, bytes: &mut Vec<u8>) {
    for _ in 0..=rng.below(4) {
        if bytes.is_empty() {
            bytes.push(rng.below(256) as u8);
        }
        let (at, other) = (rng.below(bytes.len()), rng.below(bytes.len()));
        match rng.below(9) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = rng.below(256) as u8,
            2 => bytes.truncate(at),
            3 => {
                let to = (at + rng.below(600)).min(bytes.len());
                bytes[at..to].iter_mut().for_each(|byte| *byte = rng.below(256) as u8);
            }
            4 => {
                let copy = bytes[at.min(other)..at.max(other).min(at.min(other) + 4096)].to_vec();
                bytes.splice(at..at, copy);
            }
            5 => {
                let word = [0, 1, 31, 47, 4096, u64::MAX, u64::MAX >> 1, 1 << 31, 1 << 32][rng.below(9)];
                for (byte, new) in bytes[at..].iter_mut().zip(word.to_le_bytes()) {
                    *byte = new;
                }
            }
            6 => drop(bytes.drain(at.min(other)..at.max(other))),
            7 => bytes.extend((0..rng.below(5000)).map(|n| n as u8)),
            _ => bytes.fill(rng.below(256) as u8),
        }
    }
}

/// Everything that reads a directory, on this one.
fn read_everything(dir: &Path, rng: &mut Luck) {
    let report = verify(dir);
    assert!(report.damages.len() <= keel_journal::verify::MAX_DAMAGES);
    for damage in &report.damages {
        assert!(!damage.to_string().is_empty());
    }
    let _ = read_all(dir);
    let _ = Reader::open_at(dir, Seq(rng.below(200) as u64));
    let _ = checkpoint(dir, "o", None);
    let _ = prove(dir, Seq(3), 50, "");
    let _ = consistency::prove(dir, 3, 50, "");
    if let Ok(acts) = Acts::read(dir) {
        let _ = retain::check_beginning(dir, &acts);
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.is_file() && !file.ends_with("lock"));
    files.sort();
    files
}

#[test]
fn any_bytes_in_any_file_of_a_journal_end_in_an_answer() {
    let mut rng = luck();
    let dir = scratch();
    drop(written(dir.path(), small(), 120, 90));
    archive(dir.path(), 2).unwrap();
    fs::write(dir.path().join(NAME), b"").unwrap();
    let sound: Vec<_> = files(dir.path()).into_iter().map(|file| (fs::read(&file).unwrap(), file)).collect();
    let (rounds, mut opened) = (rounds(250), 0);
    for _ in 0..rounds {
        for _ in 0..=rng.below(3) {
            let (bytes, file) = &sound[rng.below(sound.len())];
            let mut bytes = bytes.clone();
            mutate(&mut rng, &mut bytes);
            fs::write(file, bytes).unwrap();
        }
        read_everything(dir.path(), &mut rng);
        opened += u64::from(try_open(dir.path(), small()).is_ok());
        for file in files(dir.path()) {
            fs::remove_file(file).unwrap();
        }
        for (bytes, file) in &sound {
            fs::write(file, bytes).unwrap();
        }
    }
    assert!(verify(dir.path()).is_sound());
    println!("{rounds} journals of mutated files read, verified and opened; {opened} could be gone on with");
}

#[test]
fn any_bytes_are_judged_as_a_frame_a_head_and_a_seal() {
    let mut rng = luck();
    let rounds = rounds(250) * 20;
    for _ in 0..rounds {
        let mut bytes: Vec<u8> = (0..rng.below(5000)).map(|_| rng.below(256) as u8).collect();
        if rng.below(2) == 0 && bytes.len() > 8 {
            // a plausible start, so that more than the first test is reached
            bytes[..8].copy_from_slice(b"KEELJRNL");
        }
        if rng.below(2) == 0 && bytes.len() > 4 {
            bytes[..4].copy_from_slice(&(rng.below(5000) as u32).to_le_bytes());
        }
        let _ = frame::read(&bytes, rng.below(3) as u32);
        let _ = keel_journal::segment::Head::read(&bytes);
        let _ = history::Seal::read(&bytes);
    }
}

#[test]
fn any_text_is_judged_as_a_key_a_note_a_proof_and_a_log() {
    let mut rng = luck();
    let key = SecretKey::new("keel.example/fuzz", &[9; 32]).unwrap();
    let public = key.public();
    let dir = scratch();
    drop(written(dir.path(), small(), 60, 50));
    let note = checkpoint(dir.path(), "keel.example/fuzz", None).unwrap().sign(&key).unwrap();
    let old = checkpoint(dir.path(), "keel.example/fuzz", Some(20)).unwrap();
    let proof = prove(dir.path(), Seq(7), 60, &note).unwrap().to_text();
    let continued = consistency::prove(dir.path(), 20, 60, &note).unwrap().to_text();
    let mut acts = Acts::open(dir.path()).unwrap();
    for segment in 1..9 {
        acts.add(Default::default(), "schedule", keel_journal::acts::Act::Packed { segment }).unwrap();
    }
    let log = fs::read(dir.path().join(NAME)).unwrap();
    let texts = [key.to_text(), public.to_text(), note.clone(), proof, continued, format!("{note}\n{note}")];
    let rounds = rounds(250) * 10;
    let mut forged = 0;
    for _ in 0..rounds {
        let from = &texts[rng.below(texts.len())];
        let mut bytes = from.clone().into_bytes();
        mutate(&mut rng, &mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let _ = (SecretKey::parse(&text), PublicKey::parse(&text), anchor::read(&text, &public));
        let _ = (public.open(&text).is_ok(), Checkpoint::open(&text, &public).is_ok());
        // what still holds must say what the sound one said
        if let Some((checkpoint, entry)) = Proof::parse(&text).ok().as_ref().and_then(|proof| proof.check(&public).ok())
        {
            forged += u64::from(checkpoint.size != 60 || entry.seq != Seq(7));
        }
        if let Some(new) = Consistency::parse(&text).ok().and_then(|proof| proof.check(&old, &public).ok()) {
            forged += u64::from(new.size != 60);
        }
        let mut bytes = log.clone();
        mutate(&mut rng, &mut bytes);
        let _ = Acts::parse(&bytes);
    }
    assert_eq!(forged, 0);
    println!("{rounds} texts judged, none passed for what it was not");
}

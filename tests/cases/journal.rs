//! A demo's journal from outside: it reads, it verifies, and it does not forgive a byte.

use crate::keel::{json, keel, text};
use std::path::{Path, PathBuf};

fn recorded(dir: &Path) -> PathBuf {
    let path = dir.join("journal");
    json(&keel(&["demo", "--json", "--speed", "max", "--seconds", "10", "--data-dir", path.to_str().unwrap()]));
    path
}

fn segment(dir: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "keel"));
    files.sort();
    files.remove(0)
}

#[test]
fn tail_prints_the_records_readably() {
    let dir = tempfile::tempdir().unwrap();
    let path = recorded(dir.path());
    let path = path.to_str().unwrap();
    let all = text(&keel(&["tail", path, "-n", "100000"]).stdout);
    for word in ["Start", "Instrument", "Book", "Approved", "Sent", "Ack", "OrderUpdate", "Stop", "BTCUSDT"] {
        assert!(all.contains(word), "no {word}");
    }
    let fills = text(&keel(&["tail", path, "-n", "100000", "--kind", "fill"]).stdout);
    assert!(!fills.is_empty() && fills.lines().all(|line| line.contains(" Fill ")), "{fills}");
    let line = text(&keel(&["tail", path, "-n", "1", "-o", "json"]).stdout);
    assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), "{line}");
}

#[test]
fn a_flipped_byte_anywhere_in_a_segment_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = recorded(dir.path());
    let whole = keel(&["verify", path.to_str().unwrap()]);
    assert!(whole.status.success(), "{}", text(&whole.stdout));
    let file = segment(&path);
    let bytes = std::fs::read(&file).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let spread = (0..12).map(|n| n * used / 11);
    for at in spread.chain([4_096, 4_100, 8_192, bytes.len() - 1]) {
        let mut spoilt = bytes.clone();
        spoilt[at] ^= 0x10;
        std::fs::write(&file, &spoilt).unwrap();
        let output = keel(&["verify", path.to_str().unwrap()]);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "byte {at} was forgiven: {said}");
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(said.contains(name) || said.contains("segment 1"), "byte {at}: no segment named: {said}");
    }
    std::fs::write(&file, &bytes).unwrap();
    assert!(keel(&["verify", path.to_str().unwrap()]).status.success());
}

#[test]
fn a_proof_made_here_is_checked_elsewhere_with_the_public_key_alone() {
    let (here, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = recorded(here.path());
    let (journal, secret) = (path.to_str().unwrap(), here.path().join("secret"));
    let secret = secret.to_str().unwrap();
    let made = keel(&["checkpoint", "--new-key", "keel.example/here", "--key", secret]);
    let public = text(&made.stdout).trim().to_owned();
    let proof = here.path().join("7.tlog-proof");
    let proven = keel(&["prove", journal, "7", "--signing-key", secret, "-o", proof.to_str().unwrap()]);
    assert!(proven.status.success(), "{}", text(&proven.stderr));
    let taken = elsewhere.path().join("proof");
    std::fs::copy(&proof, &taken).unwrap();
    // neither the journal nor the signing key is there any more
    drop(here);
    let check = |key: &str| keel(&["verify", "--proof", taken.to_str().unwrap(), "--key", key]);
    let sound = check(&public);
    assert!(text(&sound.stdout).starts_with("proven: record 7 of the "), "{}", text(&sound.stderr));
    let bytes = std::fs::read_to_string(&taken).unwrap();
    std::fs::write(&taken, bytes.replace("index 6", "index 5")).unwrap();
    assert_eq!(check(&public).status.code(), Some(1), "another record's number");
    let stranger = elsewhere.path().join("stranger");
    let other = keel(&["checkpoint", "--new-key", "keel.example/here", "--key", stranger.to_str().unwrap()]);
    std::fs::write(&taken, bytes).unwrap();
    assert_eq!(check(text(&other.stdout).trim()).status.code(), Some(1), "another's key");
}

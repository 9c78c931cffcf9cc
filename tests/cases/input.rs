//! What a stranger can get wrong: one clear sentence, exit code 2 for usage and 1 for failure, nothing half-written.

use crate::keel::{command, finish, keel, shared, text};
use std::net::TcpListener;
use std::process::Stdio;

fn refused(args: &[&str], code: i32, words: &[&str]) {
    let output = keel(args);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{args:?} says nothing of {word:?}: {said}");
    }
    assert!(!said.contains("panicked") && !said.contains("RUST_BACKTRACE"), "{args:?}: {said}");
}

#[test]
fn usage_errors_end_with_2() {
    refused(&["--frobnicate"], 2, &["--frobnicate"]);
    refused(&["demo", "--seconds", "0"], 2, &["seconds"]);
    refused(&["demo", "--speed", "fast"], 2, &["real, max, or a factor"]);
    refused(&["demo", "--plan", "feed"], 2, &["no thread"]);
    refused(&["tail"], 2, &["DIR"]);
    refused(&["trade"], 2, &["trade"]);
}

#[test]
fn failures_end_with_1_and_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "not a tape\n").unwrap();
    let (file, below) = (file.to_str().unwrap(), dir.path().join("file/journal"));
    let missing = dir.path().join("missing");
    let missing = missing.to_str().unwrap();
    refused(&["demo", "--tape", missing], 1, &[missing]);
    refused(&["demo", "--tape", file], 1, &[file]);
    refused(&["demo", "--symbols", "NOPEUSDT"], 1, &["NOPEUSDT does not trade here"]);
    refused(&["demo", "--data-dir", below.to_str().unwrap()], 1, &["cannot be opened", "--data-dir"]);
    refused(&["run", "--config", missing], 1, &["reading the configuration", missing]);
    refused(&["run", "--config", file], 1, &["is not valid"]);
    refused(&["tail", missing], 1, &[missing]);
    assert_eq!(keel(&["verify", missing]).status.code(), Some(1));
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().to_string();
    refused(&["exchange", "--listen", &taken], 1, &["cannot listen", &taken]);
    refused(&["demo", "--http", &taken, "--data-dir", missing], 1, &["cannot listen", &taken]);
}

#[test]
fn a_tape_cut_in_the_middle_is_told_with_its_line() {
    let Some(tape) = shared("tape_v5shape/BTCUSDT_2024-07-18.rx_ns.tsv.gz") else { return };
    let bytes = std::fs::read(tape).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let cut = dir.path().join("cut.rx_ns.tsv.gz");
    std::fs::write(&cut, &bytes[..bytes.len() / 3]).unwrap();
    let data = dir.path().join("journal");
    let (cut, data) = (cut.to_str().unwrap(), data.to_str().unwrap());
    refused(&["demo", "--tape", cut, "--speed", "max", "--data-dir", data], 1, &[cut, "line"]);
    assert_eq!(keel(&["verify", data]).status.code(), Some(0), "what was recorded until then is whole");
}

#[test]
fn a_disk_without_room_for_a_segment_is_told_before_anything_trades() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("journal");
    let script = format!("ulimit -f 1024; exec \"$0\" demo --seconds 2 --data-dir {}", data.display());
    let child = std::process::Command::new("bash")
        .args(["-c", &script])
        .arg(command(&[]).get_program())
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = finish(child);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot be opened") && !said.contains("panicked"), "{said}");
}

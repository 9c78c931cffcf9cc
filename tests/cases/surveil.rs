//! Surveillance as a stranger runs it: a demo's journal twice, the same bytes; lists, parameters and heartbeats by hand.

use crate::brake::Site;
use crate::keel::{finish, json, keel, signal, text};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[test]
fn a_demo_under_surveillance_twice_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("journal");
    let data = data.to_str().unwrap();
    json(&keel(&["demo", "--speed", "max", "--seconds", "120", "--data-dir", data, "--json"]));
    let once = keel(&["surveil", data, "--json"]);
    assert_eq!(once.status.code(), Some(0), "{}", text(&once.stderr));
    assert_eq!(once.stdout, keel(&["surveil", data, "--json"]).stdout, "twice the same");
    let last: serde_json::Value = serde_json::from_str(text(&once.stdout).lines().last().unwrap()).unwrap();
    assert!(last["records"].as_u64().unwrap() > 1000, "{last}");
    let rules = last["rules"].as_array().unwrap();
    let alive = |name: &str| rules.iter().any(|rule| rule["rule"] == name && rule["alive"] == true);
    assert_eq!(rules.len(), 23);
    assert!(alive("Wash") && alive("Spoofing") && alive("Stuffing"), "what the demo has data for is alive: {last}");
    assert!(!alive("Sanctioned") && !alive("Insider"), "what it has none for says so: {last}");
    let people = keel(&["surveil", data]);
    assert!(text(&people.stdout).contains("Insider is without data: news"), "{}", text(&people.stdout));
    let parameters = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy/surveillance.toml");
    let given = keel(&["surveil", data, "--json", "--parameters", parameters.to_str().unwrap()]);
    assert_eq!(given.stdout, once.stdout, "the file that ships is the default");
    let beat = keel(&["surveil", data, "--heartbeat"]);
    assert_eq!(beat.status.code(), Some(0), "{}{}", text(&beat.stdout), text(&beat.stderr));
    assert_eq!(text(&beat.stdout).lines().filter(|line| line.ends_with(": arrived")).count(), 23);
    assert_eq!(keel(&["verify", &format!("{data}/compliance")]).status.code(), Some(0));
    assert_eq!(keel(&["surveil", data, "--json"]).stdout, once.stdout, "a heartbeat is no alert");
}

#[test]
fn a_running_node_watches_itself_and_answers_for_its_heartbeat() {
    let site = Site::new();
    let mut config = std::fs::OpenOptions::new().append(true).open(&site.config).unwrap();
    writeln!(config, "\n[surveillance]").unwrap();
    let node = site.node();
    let data = site.file("data");
    let beat = keel(&["surveil", &data, "--heartbeat"]);
    assert_eq!(beat.status.code(), Some(0), "{}{}", text(&beat.stdout), text(&beat.stderr));
    assert_eq!(text(&beat.stdout).lines().filter(|line| line.ends_with(": arrived")).count(), 23);
    let compliance = format!("{data}/compliance");
    assert_eq!(std::fs::metadata(&compliance).unwrap().permissions().mode() & 0o777, 0o700);
    signal(&node, "TERM");
    let ended = finish(node);
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    assert!(!text(&ended.stderr).contains("synthetic positive"), "{}", text(&ended.stderr));
    assert_eq!(keel(&["verify", &compliance]).status.code(), Some(0));
    assert_eq!(keel(&["verify", &data]).status.code(), Some(0));
}

#[test]
fn what_surveillance_is_told_wrong_is_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "[wash]\nseconds = 7\n").unwrap();
    let (file, here) = (file.to_str().unwrap(), dir.path().to_str().unwrap());
    let refused = |args: &[&str], words: &str| {
        let output = keel(args);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains(words) && !said.contains("panicked"), "{args:?}: {said}");
    };
    refused(&["surveil", here, "--parameters", file], "version = 2 or more");
    refused(&["surveil", "/nonexistent"], "/nonexistent");
    refused(&["surveil", here, "--from", "soon"], "not a time");
    refused(&["sanctions", "load", file, "--into", here], "keep the file as its publisher wrote it");
    refused(&["sanctions", "check", "x", "--lists", here], "holds no list");
}

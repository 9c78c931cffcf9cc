//! Tidy: the conventions a compiler does not check. Each failure says what to do instead.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every tracked or new file below the root with this ending, by path from the root.
fn files(endings: &[&str]) -> Vec<(String, String)> {
    let listed = std::process::Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(listed.status.success(), "git lists the files to look at");
    let names = String::from_utf8(listed.stdout).unwrap();
    let wanted = names.lines().filter(|name| endings.iter().any(|ending| name.ends_with(ending)));
    wanted.filter_map(|name| Some((name.to_owned(), std::fs::read_to_string(root().join(name)).ok()?))).collect()
}

/// The part of a source file that ships: what stands before its tests.
fn shipped(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .zip(1..)
        .map(|(line, at)| (at, line))
        .take_while(|(_, line)| !line.trim_start().starts_with("#[cfg(test)]"))
}

fn is_room(name: &str) -> bool {
    let ours = ["core/src/", "feed/src/", "risk/src/", "gateway/src/"].iter().any(|room| name.starts_with(room));
    ours && !name.ends_with("tests.rs") && !name.contains("/tests/") && !name.ends_with("/testing.rs")
}

fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or("")
}

#[test]
fn four_rooms_have_no_windows() {
    let windows = [
        ("std::net", "sockets live in tools::node::wire"),
        ("std::fs", "files live in journal and tools"),
        ("std::thread", "threads live in tools::node::thread"),
        ("std::env", "configuration comes in as an argument"),
        ("std::time", "time comes in as `Now`"),
        ("Instant::now", "time comes in as `Now`"),
        ("SystemTime", "time comes in as `Now`"),
        ("println!", "people are spoken to in tools"),
        ("rand::", "luck comes in as a seed"),
        ("std::process", "processes live in tools"),
    ];
    for (name, text) in files(&[".rs"]).iter().filter(|(name, _)| is_room(name)) {
        for (at, line) in shipped(text) {
            for (window, instead) in windows {
                assert!(!code(line).contains(window), "{name}:{at} opens a window ({window}): {instead}");
            }
        }
    }
}

/// Files that may hold unsafe code, each with its contract at its head.
const UNSAFE: &[&str] = &[
    "journal/src/map.rs",
    "journal/src/bus.rs",
    "journal/src/checksum.rs",
    "tools/src/node/beat.rs",
    "bench/wire/src/allocations.rs",
];

#[test]
fn unsafe_code_stays_in_the_named_files() {
    for (name, text) in files(&[".rs"]) {
        if name.starts_with("tests/cases/") || UNSAFE.contains(&name.as_str()) {
            continue;
        }
        for (at, line) in shipped(&text) {
            let opened = code(line).contains("allow(unsafe_code") || code(line).contains("expect(unsafe_code");
            assert!(!opened, "{name}:{at} opens unsafe: find a safe way, or add the file to this list with a reason");
        }
    }
}

/// Files of the rooms that may hold floats: statistics and pictures, never money.
const FLOATS: &[&str] = &["core/src/units.rs", "risk/src/", "gateway/src/sim/generator.rs", "feed/src/bars"];

#[test]
fn money_is_never_a_float() {
    for (name, text) in files(&[".rs"]).iter().filter(|(name, _)| is_room(name)) {
        if FLOATS.iter().any(|allowed| name.starts_with(allowed)) {
            continue;
        }
        for (at, line) in shipped(text) {
            let float = ["f64", "f32"].iter().any(|f| code(line).contains(f));
            assert!(!float, "{name}:{at} holds a float: money and quantities are integers of 1e-8");
        }
    }
}

#[test]
fn files_open_with_what_they_are() {
    for (name, text) in files(&[".rs"]) {
        assert!(text.starts_with("//!"), "{name} must open with //!: what comes in, what goes out, what never happens");
    }
}

/// Lines a source file may have before it must be said in two.
const LONGEST: usize = 600;

#[test]
fn files_say_one_thing() {
    for (name, text) in files(&[".rs"]) {
        let lines = text.lines().count();
        assert!(
            lines <= LONGEST,
            "{name} has {lines} lines, more than {LONGEST}: it says more than one thing, split it"
        );
    }
}

#[test]
fn nothing_is_left_lying_about() {
    let strays = ["TO", "DO"].concat();
    let strays = [strays.as_str(), "FIX\u{4d}E", "X\u{58}X", "dbg\u{21}(", "#[ig\u{6e}ore"];
    for (name, text) in files(&[".rs", ".toml", ".sh", "/run"]) {
        for (line, at) in text.lines().zip(1..) {
            let excused = ["= \"a measurement", "= \"the child"].iter().any(|reason| line.contains(reason));
            for stray in strays.iter().filter(|_| !excused) {
                assert!(!line.contains(stray), "{name}:{at} holds {stray:?}: finish it or open an issue");
            }
        }
    }
}

#[test]
fn no_path_of_one_machine_and_no_registry_host() {
    let foreign = ["/wo\u{72}k/", "/ro\u{6f}t/", "crates\u{2e}io", "pypi\u{2e}org", "npmjs\u{2e}"];
    for (name, text) in files(&[".rs", ".toml", ".md", ".sh", "/run", ".py", ".yml", ".service", "Caddyfile"]) {
        for (line, at) in text.lines().zip(1..) {
            for word in foreign {
                assert!(!line.contains(word), "{name}:{at} names {word}, which means nothing on another machine");
            }
        }
    }
}

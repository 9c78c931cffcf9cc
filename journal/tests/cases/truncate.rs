//! A live segment cut short by another process: the writer's process lives, and says that the journal is broken.
//!
//! The case starts this very test binary again as the writer, with the keeper on a thread of its own, and cuts its file
//! while it appends. What the child was told was recorded must stand below the cut, or be named as missing.

use super::support::{at, blob, open, small};
use keel_core::agent::Agent;
use keel_core::ids::Seq;
use keel_core::permit::{Log, LogFault, LogHealth};
use keel_journal::{Options, Writer, segment, verify};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const CHILD: &str = "KEEL_JOURNAL_TRUNCATED";
const CUTS: u64 = 24;

fn options() -> Options {
    Options { segment_bytes: 64 << 10, prefault_bytes: 16 << 10, ..small() }
}

fn cut(dir: &Path, number: u32, len: u64) {
    OpenOptions::new().write(true).open(segment::path(dir, number)).unwrap().set_len(len).unwrap();
}

#[test]
fn an_append_to_a_file_that_is_gone_is_refused_and_so_is_every_one_after() {
    for len in [0, 4096, 8192] {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, mut keeper) = open(dir.path(), options());
        writer.fact(at(1), Seq::NONE, &blob(1, 64)).unwrap();
        cut(dir.path(), 1, len);
        // whatever lies below the cut can still be written; the first append above it is refused, not lost
        let refused = (2..1000).find_map(|n| writer.fact(at(n), Seq::NONE, &blob(n, 200)).err());
        assert_eq!(refused, Some(LogFault::Broken));
        assert_eq!(writer.health(), LogHealth::Faulty);
        assert!(writer.record(at(9), Seq::NONE, blob(9, 64)).is_err());
        keeper.duty(at(1_000));
        assert!(keeper.failure().is_some());
        assert!(!verify(dir.path()).is_sound());
        assert!(Writer::open(dir.path(), options()).is_err(), "the lock is ours, and the journal is damaged");
    }
}

#[test]
#[ignore = "the child of the next case"]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let (mut writer, mut keeper) = open(dir, options());
    println!("begun");
    std::thread::spawn(move || {
        let mut nanos = 0;
        while keeper.failure().is_none() {
            nanos += 1_000_000;
            keeper.duty(at(nanos));
        }
    });
    loop {
        let n = writer.head().0 + 1;
        match writer.fact(at(n), Seq(n - 1), &blob(n, 100)) {
            Ok(_) => {}
            Err(LogFault::Full) => std::thread::yield_now(),
            Err(why) => {
                println!("alive {why:?} {:?}", writer.health());
                return;
            }
        }
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the case waits for another process")]
fn the_process_of_a_writer_survives_its_segment_being_cut() {
    for round in 0..CUTS {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cases::truncate::child", "--ignored", "--nocapture", "--test-threads=1", "-q"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        lines.find(|line| line.ends_with("begun")).unwrap();
        std::thread::sleep(Duration::from_micros(round * 7919 % 20_000));
        // the one being written now, the one after, and the one before
        for number in segment::list(dir.path()).unwrap().into_iter().rev().take(3) {
            cut(dir.path(), number, 4096 * (round % 3));
        }
        let said: Vec<String> = lines.collect();
        let status = child.wait().unwrap();
        assert!(status.success(), "round {round}: {status:?} {said:?}");
        assert!(said.iter().any(|line| line == "alive Broken Faulty"), "round {round}: {said:?}");
        assert!(!verify(dir.path()).is_sound());
    }
    println!("{CUTS} live journals cut short, {CUTS} processes alive and told");
}

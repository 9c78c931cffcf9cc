//! A process killed at any instant loses nothing it was told was recorded.
//!
//! The case starts this very test binary again as the writer, which reports each sequence number through a pipe after
//! the append returned, and kills it with SIGKILL after a random moment.

use super::support::{at, blob, open, small};
use keel_core::agent::Agent;
use keel_core::ids::Seq;
use keel_core::permit::Log;
use keel_journal::{Options, Reader, verify};
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

const CHILD: &str = "KEEL_JOURNAL_CHILD";
const KILLS: u64 = 40;

fn options() -> Options {
    Options { segment_bytes: 64 << 10, prefault_bytes: 16 << 10, ..small() }
}

fn payload(n: u64) -> super::support::Blob {
    blob(n, 8 + usize::try_from(n * 37 % 400).unwrap())
}

#[test]
#[ignore = "the child of the next case"]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let (mut writer, mut keeper) = open(dir, options());
    std::thread::spawn(move || {
        let mut nanos = 0;
        while keeper.failure().is_none() {
            nanos += 1_000_000;
            keeper.duty(at(nanos));
        }
    });
    let mut out = std::io::stdout();
    loop {
        let n = writer.head().0 + 1;
        match writer.fact(at(n), Seq(n - 1), &payload(n)) {
            Ok(seq) => out.write_all(&seq.0.to_le_bytes()).unwrap(),
            Err(_) => std::thread::yield_now(),
        }
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the case waits for another process")]
fn nothing_recorded_is_lost_when_the_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut promised, mut torn) = (0, 0);
    for round in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cases::kill::child", "--ignored", "--nocapture", "--test-threads=1", "-q"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            out.read_to_end(&mut bytes).unwrap();
            bytes
        });
        std::thread::sleep(Duration::from_micros(20_000 + round * 7919 % 60_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let bytes = reader.join().unwrap();
        let words = bytes.len() - bytes.len() % 8;
        promised = told(&bytes[..words]).unwrap_or(promised).max(promised);

        let report = verify(dir.path());
        if report.segments > 0 {
            assert!(report.is_sound(), "{:?}", report.damages);
            assert!(report.last.0 >= promised, "{} < {promised}", report.last.0);
            torn += u64::from(report.torn);
        }
        let (writer, keeper) = open(dir.path(), options());
        assert!(writer.head().0 >= promised && keeper.recovery().cut.is_none());
        assert_eq!(keeper.recovery().torn, report.torn);
        drop((writer, keeper));
        assert!(verify(dir.path()).is_sound() && !verify(dir.path()).torn);
    }
    let mut reader = Reader::open(dir.path()).unwrap();
    let mut count = 0;
    while let Some(entry) = reader.poll().unwrap() {
        count += 1;
        assert_eq!((entry.seq, entry.payload), (Seq(count), &payload(count).1[..]));
    }
    assert!(count >= promised && promised > 0);
    println!("{KILLS} kills, {count} records, {promised} promised, {torn} torn appends wiped");
}

/// The last number in the pipe; the test harness prints a few words of its own before the first.
fn told(bytes: &[u8]) -> Option<u64> {
    (0..8).find_map(|shift| {
        let tail = bytes.get(..bytes.len() - shift)?;
        let word = |from: usize| tail.get(from..from + 8).map(|w| u64::from_le_bytes(w.try_into().unwrap()));
        let (last, before) = (word(tail.len().checked_sub(8)?)?, word(tail.len().checked_sub(16)?)?);
        (last == before + 1).then_some(last)
    })
}

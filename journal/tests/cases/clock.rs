//! Clocks that step, and writers that come second.

use super::support::{Luck, blob, duty, open, scratch, small};
use keel_core::ids::Seq;
use keel_core::permit::Log;
use keel_core::units::{Mono, Now, Wall};
use keel_journal::{Options, Reader, Writer, verify};
use std::process::Command;

const YEAR: u64 = 31_536_000_000_000_000;
const NOON: u64 = 1_800_000_000_000_000_000;

/// The wall clock jumps by up to a year, forth and back, within a run and between two: the records stay in strict order
/// of time, and each carries how far its time may be wrong, which is at least how far it is ahead of the clock.
#[test]
fn a_wall_clock_that_steps_leaves_the_records_in_order_and_honest() {
    let dir = scratch();
    let (mut luck, mut wall, mut n, mut back) = (Luck(5), NOON, 0, 0u64);
    for _ in 0..40 {
        let (mut writer, mut keeper) = open(dir.path(), Options { clock_error: 1_000, ..small() });
        for _ in 0..1 + luck.below(30) {
            n += 1;
            let step = luck.below(1 << 30) as u64 * [1, 1_000, 20_000_000][luck.below(3)];
            let before = wall;
            wall = match luck.below(4) {
                0 => wall.saturating_sub(step.min(YEAR)).max(NOON - YEAR),
                1 => wall + step.min(YEAR) / 64,
                _ => wall + 1_000,
            };
            back += u64::from(wall < before);
            let now = Now { mono: Mono::from_nanos(n), wall: Wall::from_nanos(wall) };
            assert_eq!(writer.fact(now, Seq::NONE, &blob(n, 8)), Ok(Seq(n)));
            duty(&mut keeper, n * 1_000_000);
            // told on every record: the true clock stands within the bound, unless it is further than the bound can say
            let mut reader = Reader::open_at(dir.path(), Seq(n)).unwrap();
            let entry = reader.poll().unwrap().unwrap();
            let off = entry.wall.nanos() - wall;
            assert!(u64::from(entry.clock_error) >= (off + 1_000).min(u32::MAX.into()), "record {n}: {off} ns ahead");
        }
    }
    let (mut reader, mut last, mut count) = (Reader::open(dir.path()).unwrap(), Wall::from_nanos(0), 0);
    while let Some(entry) = reader.poll().unwrap() {
        assert!(entry.wall > last, "record {} is not later than the one before", entry.seq.0);
        (last, count) = (entry.wall, count + 1);
    }
    let report = verify(dir.path());
    assert!(count == n && report.is_sound(), "{:?}", report.damages);
    println!("{n} records over 40 runs, the clock stepped back {back} times");
    assert!(back > 50);
}

#[test]
#[ignore = "the child of the next case"]
fn second() {
    let Some(dir) = std::env::var_os("KEEL_SECOND_WRITER") else { return };
    match Writer::open(dir, small()) {
        Err(why) => println!("refused: {why}"),
        Ok(_) => println!("it was let in"),
    }
}

/// Another process is refused while we write, however often it comes, and let in when we are gone.
#[test]
fn a_second_writer_in_another_process_is_refused() {
    let dir = scratch();
    let come = || {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "cases::clock::second", "--ignored", "--nocapture", "--test-threads=1", "-q"]);
        let said = child.env("KEEL_SECOND_WRITER", dir.path()).output().unwrap();
        String::from_utf8_lossy(&said.stdout).into_owned()
    };
    let (mut writer, mut keeper) = open(dir.path(), small());
    for n in 1..=5 {
        writer.fact(super::support::at(n), Seq::NONE, &blob(n, 8)).unwrap();
        duty(&mut keeper, n * 1_000_000);
        let said = come();
        assert!(said.contains("refused: another process is writing to this journal"), "{said}");
    }
    drop((writer, keeper));
    assert!(come().contains("it was let in"));
    let report = verify(dir.path());
    assert!(report.is_sound() && report.last == Seq(5), "{report:?}");
    println!("5 of 5 second writers refused");
}

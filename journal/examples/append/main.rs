//! What an append costs, beside what the machine cannot beat and what one would do without keel.
//!
//! ```text
//! cargo run --release -p keel-journal --example append -- DIR [--records N] [--pace NANOS] [--rounds N] [--storm] [--json]
//! cargo run --release -p keel-journal --example append -- DIR --restart N
//! ```
//!
//! `--storm` adds a thread that writes and syncs a large file on the same disk without a pause. `--restart N` instead writes
//! N records as fast as the disk takes them, leaves the journal as a kill would, and times the next opening. `bench/append`
//! measures the same beside log crates.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, clippy::disallowed_methods, reason = "a measurement")]

mod frame;

use frame::{Bench, Fact, PAYLOAD, storm};
use keel_core::agent::Agent;
use keel_core::permit::Log;
use keel_core::units::{Mono, Now, Wall};
use keel_journal::history::History;
use keel_journal::{Options, Reader, Writer};
use quanta::Clock;
use std::hint::black_box;
use std::path::{Path, PathBuf};

/// Leaf, chain and tree of one record, on the keeper's thread.
fn hashing(clock: &Clock) {
    let bytes = vec![7u8; 48 + PAYLOAD];
    let mut history = History::new();
    let start = clock.raw();
    for _ in 0..200_000 {
        history.absorb(black_box(&bytes));
    }
    let nanos = clock.delta_as_nanos(start, clock.raw());
    println!("leaf + chain + tree of {} B: {:.0} ns a record (keeper's thread)", bytes.len(), nanos as f64 / 200_000.0);
}

/// Opening again after the process died with `records` in the journal, and verifying all of them.
fn restart(dir: &Path, records: u64) {
    let clock = Clock::new();
    let millis = |from: u64| clock.delta_as_nanos(from, clock.raw()) as f64 / 1e6;
    let fact = Fact([7; PAYLOAD]);
    let (mut writer, mut keeper) = Writer::open(dir, Options::default()).unwrap();
    let start = clock.raw();
    while writer.head().0 < records {
        let mono = Mono::from_nanos(clock.delta_as_nanos(start, clock.raw()));
        let now = Now { mono, wall: Wall::from_nanos(1_800_000_000_000_000_000 + mono.nanos()) };
        for _ in 0..1024 {
            if writer.fact(now, writer.head(), &fact).is_err() {
                break;
            }
        }
        keeper.duty(now);
    }
    println!("{records} records written, synced and hashed on one thread in {:.0} ms", millis(start));
    drop((writer, keeper));
    let start = clock.raw();
    let (writer, keeper) = Writer::open(dir, Options::default()).unwrap();
    println!("opened again after {:.1} ms at record {}", millis(start), writer.head().0);
    drop((writer, keeper));
    let start = clock.raw();
    assert!(keel_journal::verify(dir).is_sound());
    println!("verified, every byte, in {:.0} ms", millis(start));
    let start = clock.raw();
    let mut reader = Reader::open(dir).unwrap();
    while reader.poll().unwrap().is_some() {}
    println!("read in {:.0} ms", millis(start));
}

fn round(bench: &mut Bench, dir: &Path) {
    bench.empty();
    bench.floor();
    bench.journal(dir, "journal append", false);
    bench.journal(dir, "journal append + reader", true);
    bench.plain_write(dir);
}

fn main() {
    let mut dir = None;
    let (mut records, mut pace, mut rounds, mut stormy, mut json, mut again) = (400_000, 5_000, 2, false, false, 0);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--records" => records = words.next().unwrap().parse().unwrap(),
            "--pace" => pace = words.next().unwrap().parse().unwrap(),
            "--rounds" => rounds = words.next().unwrap().parse().unwrap(),
            "--storm" => stormy = true,
            "--json" => json = true,
            "--restart" => again = words.next().unwrap().parse().unwrap(),
            _ => dir = Some(PathBuf::from(word)),
        }
    }
    let dir = tempfile::tempdir_in(dir.unwrap_or_else(std::env::temp_dir)).unwrap();
    if again > 0 {
        return restart(dir.path(), again);
    }
    let mut bench = Bench::new(records, pace);
    let mut all = || (0..rounds).for_each(|_| round(&mut bench, dir.path()));
    if stormy {
        storm(dir.path(), all)
    } else {
        all()
    }
    if json {
        return println!("{}", bench.json());
    }
    bench.sync(dir.path());
    println!("{rounds} rounds of {records} records of {PAYLOAD} B, one every {pace} ns, storm {stormy}");
    print!("{}", bench.table());
    hashing(&bench.clock);
}

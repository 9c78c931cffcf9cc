//! What an append costs, beside what the machine cannot beat and what one would do without keel.
//!
//! ```text
//! cargo run --release -p keel-journal --example append -- DIR [--records N] [--pace NANOS] [--storm] [--restart N]
//! ```
//!
//! Every operation is timed with the CPU's counter, in one process and one run, paced so that the disk can follow. While
//! the journal is measured, the keeper (prefault, sync, hash, seal) and a following reader run on another thread each;
//! `--storm` adds a thread that writes and syncs a large file on the same disk without a pause. `--restart N` instead
//! writes N records as fast as the disk takes them, leaves the journal as a kill would, and times the next opening.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, clippy::disallowed_methods, reason = "a measurement")]

use hdrhistogram::Histogram;
use keel_core::agent::Agent;
use keel_core::event::{Kind, Record};
use keel_core::ids::Seq;
use keel_core::permit::Log;
use keel_core::units::{Mono, Now, Wall};
use keel_journal::frame::{Header, Place, size};
use keel_journal::history::History;
use keel_journal::{Durability, Options, Reader, Writer};
use quanta::Clock;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use zerocopy::IntoBytes;

const PAYLOAD: usize = 192;
const SALT: u32 = 0x5eed;

struct Fact([u8; PAYLOAD]);

impl Record for Fact {
    fn kind(&self) -> Kind {
        Kind::Fill
    }

    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

struct Bench {
    clock: Clock,
    records: u64,
    pace: u64,
}

/// Page faults of the calling thread so far: fields 10 and 12 of its stat line.
fn faults() -> u64 {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[7].parse::<u64>().unwrap() + fields[9].parse::<u64>().unwrap()
}

impl Bench {
    /// Times `records` calls of `each`, one every `pace` nanoseconds at most.
    fn run(&self, name: &str, records: u64, mut each: impl FnMut(u64, Now)) {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        let start = self.clock.raw();
        let (mut due, mut missed) = (0, 0);
        let before = faults();
        for n in 1..=records {
            due += self.pace;
            while self.clock.delta_as_nanos(start, self.clock.raw()) < due {
                std::hint::spin_loop();
            }
            let from = self.clock.raw();
            let nanos = self.clock.delta_as_nanos(start, from);
            // a start that comes late is not a slow append: it is counted apart
            missed += u64::from(nanos > due + self.pace);
            let wall = Wall::from_nanos(1_800_000_000_000_000_000 + nanos);
            each(n, Now { mono: Mono::from_nanos(nanos), wall });
            histogram.record(self.clock.delta_as_nanos(from, self.clock.raw())).unwrap();
        }
        let faults = faults() - before;
        let q = |quantile| histogram.value_at_quantile(quantile);
        println!(
            "{name:<26} {:>8} {:>8} {:>8} {:>8} {:>9} {:>10} {faults:>7} {missed:>7}",
            q(0.5),
            q(0.9),
            q(0.99),
            q(0.999),
            q(0.9999),
            histogram.max()
        );
    }

    fn floor(&self) {
        const RING: usize = 1 << 20;
        let mut ring = vec![1u8; RING];
        let commit = AtomicU64::new(0);
        let fact = Fact([7; PAYLOAD]);
        let mut at = 0;
        self.run("memcpy + crc32c (floor)", self.records, |n, now| {
            let place = Place { seq: Seq(n), mono: now.mono, wall: now.wall, ..Place::default() };
            let header = Header::new(SALT, 203, place, &fact.0);
            ring[at..at + 48].copy_from_slice(header.as_bytes());
            ring[at + 48..at + 48 + PAYLOAD].copy_from_slice(&fact.0);
            commit.store(header.commit_word(), Ordering::Release);
            at = (at + size(PAYLOAD)) % (RING - 4096);
        });
        black_box((ring, commit));
    }

    fn plain_write(&self, dir: &Path) {
        let mut file = File::create(dir.join("plain")).unwrap();
        let fact = Fact([7; PAYLOAD]);
        self.run("write(2) per record", self.records, |n, now| {
            let place = Place { seq: Seq(n), mono: now.mono, wall: now.wall, ..Place::default() };
            let mut bytes = [0; size(PAYLOAD)];
            bytes[..48].copy_from_slice(Header::new(SALT, 203, place, &fact.0).as_bytes());
            bytes[48..48 + PAYLOAD].copy_from_slice(&fact.0);
            file.write_all(&bytes).unwrap();
        });
    }

    fn journal(&self, dir: &Path, name: &str, options: Options, records: u64, follow: bool) {
        let dir = dir.join(name.replace(|c: char| !c.is_alphanumeric(), ""));
        let (mut writer, mut keeper) = Writer::open(&dir, options).unwrap();
        let stop = AtomicBool::new(false);
        let fact = Fact([7; PAYLOAD]);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let start = self.clock.raw();
                while !stop.load(Ordering::Relaxed) {
                    let mono = Mono::from_nanos(self.clock.delta_as_nanos(start, self.clock.raw()));
                    if keeper.duty(Now { mono, wall: Wall::default() }) == 0 {
                        std::thread::sleep(std::time::Duration::from_micros(200));
                    }
                }
            });
            if follow {
                scope.spawn(|| {
                    let mut reader = Reader::open(&dir).unwrap();
                    while !stop.load(Ordering::Relaxed) {
                        if reader.poll().unwrap().is_none() {
                            std::thread::sleep(std::time::Duration::from_micros(500));
                        }
                    }
                });
            }
            let sync = options.durability == Durability::Sync;
            let mut refused = 0u64;
            self.run(name, records, |n, now| {
                let done = if sync {
                    writer.record(now, Seq(n - 1), &fact).is_ok()
                } else {
                    writer.fact(now, Seq(n - 1), &fact).is_ok()
                };
                refused += u64::from(!done);
            });
            stop.store(true, Ordering::Relaxed);
            if refused > 0 {
                println!("  refused {refused} of {records}: the disk could not follow");
            }
        });
        assert_eq!(keeper.failure(), None);
    }

    fn hashing(&self) {
        let bytes = vec![7u8; 48 + PAYLOAD];
        let mut history = History::new();
        let start = self.clock.raw();
        for _ in 0..200_000 {
            history.absorb(black_box(&bytes));
        }
        let nanos = self.clock.delta_as_nanos(start, self.clock.raw());
        println!(
            "leaf + chain + tree of {} B: {:.0} ns a record (keeper's thread)",
            bytes.len(),
            nanos as f64 / 200_000.0
        );
    }
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

fn main() {
    let mut dir = None;
    let (mut records, mut pace, mut storm, mut again) = (400_000, 5_000, false, 0);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--records" => records = words.next().unwrap().parse().unwrap(),
            "--pace" => pace = words.next().unwrap().parse().unwrap(),
            "--storm" => storm = true,
            "--restart" => again = words.next().unwrap().parse().unwrap(),
            _ => dir = Some(PathBuf::from(word)),
        }
    }
    let dir = tempfile::tempdir_in(dir.unwrap_or_else(std::env::temp_dir)).unwrap();
    if again > 0 {
        return restart(dir.path(), again);
    }
    let bench = Bench { clock: Clock::new(), records, pace };
    let stop = AtomicBool::new(false);
    println!("{records} records of {PAYLOAD} B, one every {pace} ns, storm {storm}; nanoseconds");
    println!(
        "{:<26} {:>8} {:>8} {:>8} {:>8} {:>9} {:>10} {:>7} {:>7}",
        "", "p50", "p90", "p99", "p99.9", "p99.99", "max", "faults", "late"
    );
    std::thread::scope(|scope| {
        if storm {
            scope.spawn(|| {
                let block = vec![0x5au8; 4 << 20];
                while !stop.load(Ordering::Relaxed) {
                    let mut file = File::create(dir.path().join("storm")).unwrap();
                    for _ in 0..64 {
                        file.write_all(&block).unwrap();
                    }
                    file.sync_all().unwrap();
                }
            });
        }
        for _ in 0..2 {
            bench.run("empty (timer only)", bench.records, |n, _| {
                black_box(n);
            });
            bench.floor();
            bench.journal(dir.path(), "journal append", Options::default(), records, false);
            bench.journal(dir.path(), "journal append + reader", Options::default(), records, true);
            bench.plain_write(dir.path());
            fs::remove_dir_all(dir.path().join("journalappend")).unwrap();
            fs::remove_dir_all(dir.path().join("journalappendreader")).unwrap();
        }
        let sync = Options { durability: Durability::Sync, ..Options::default() };
        bench.journal(dir.path(), "journal, durability sync", sync, (records / 200).max(500), false);
        stop.store(true, Ordering::Relaxed);
    });
    bench.hashing();
}

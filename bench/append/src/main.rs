//! What an append costs while the disk is flooded: keel's journal on the disk and in memory, `write(2)`, two log crates.
//!
//! ```text
//! cd bench/append && RUSTFLAGS="-C target-cpu=x86-64-v3" cargo run --release -- DIR [--records N] [--pace NANOS] [--plot FILE]
//! ```
//!
//! Every operation is timed with the CPU's counter, paced, in one process and one run: first with the disk at rest, then
//! while a thread writes and syncs a large file on it without a pause. The keeper of a journal runs on a thread of its
//! own. `--plot` draws the storm: how many appends took longer than so long (`storm.svg` is the run below).
//!
//! Where the hot segment lies was decided by this. Under the storm, two busy shared vCPUs (load 20), nanoseconds:
//!
//! ```text
//!                                     p50      p99     p99.9
//!   memcpy + CRC-32C                   10       20       170
//!   keel, segments on the disk         20       60     3 875
//!   keel, segments in memory           20      691     1 362
//!   write(2)                          560    2 815     7 203
//!   tracing-appender, non-blocking     20    1 422     4 767    and drops what its channel cannot hold
//! ```
//!
//! Memory saves 2.5 us one time in a thousand. It costs a copier, a second store of every record, and a window between
//! memory and disk in which the loss of the host loses more. So: the disk, and the keeper on a thread that gets its turn.
#![allow(clippy::disallowed_methods, clippy::cast_precision_loss, reason = "a measurement")]

mod plot;

use hdrhistogram::Histogram;
use keel_core::agent::Agent;
use keel_core::event::{Kind, Record};
use keel_core::ids::Seq;
use keel_core::permit::Log;
use keel_core::units::{Mono, Now, Wall};
use keel_journal::{Options, Writer};
use quanta::Clock;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const PAYLOAD: usize = 192;
/// Memory every process shares, where Linux has it.
const MEMORY: &str = "/dev/shm";

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

/// Keeps nothing of a log that is only measured.
#[derive(Debug)]
struct Forget;

impl okaywal::LogManager for Forget {
    fn recover(&mut self, _: &mut okaywal::Entry<'_>) -> std::io::Result<()> {
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _: okaywal::EntryId,
        _: &mut okaywal::SegmentReader,
        _: &okaywal::WriteAheadLog,
    ) -> std::io::Result<()> {
        Ok(())
    }
}

type Timed = (String, Histogram<u64>);

impl Bench {
    fn run(&self, name: &str, records: u64, mut each: impl FnMut(u64, Now)) -> Timed {
        let mut histogram = Histogram::<u64>::new(3).expect("three digits");
        let start = self.clock.raw();
        let mut due = 0;
        for n in 1..=records {
            due += self.pace;
            while self.clock.delta_as_nanos(start, self.clock.raw()) < due {
                std::hint::spin_loop();
            }
            let from = self.clock.raw();
            let nanos = self.clock.delta_as_nanos(start, from);
            each(n, Now { mono: Mono::from_nanos(nanos), wall: Wall::from_nanos(1_800_000_000_000_000_000 + nanos) });
            histogram.record(self.clock.delta_as_nanos(from, self.clock.raw())).expect("less than an hour");
        }
        let q = |quantile| histogram.value_at_quantile(quantile);
        println!(
            "{name:<34} {:>8} {:>8} {:>8} {:>9} {:>10} {:>11}",
            q(0.5),
            q(0.9),
            q(0.99),
            q(0.999),
            q(0.9999),
            histogram.max()
        );
        (name.to_owned(), histogram)
    }

    fn empty(&self) -> Timed {
        self.run("empty loop", self.records, |n, _| {
            std::hint::black_box(n);
        })
    }

    /// The same work into memory nobody shares: what no journal can beat.
    fn floor(&self) -> Timed {
        let mut ring = vec![1u8; 1 << 20];
        let (fact, mut at) = ([7u8; PAYLOAD], 0);
        self.run("memcpy + CRC-32C", self.records, |_, _| {
            ring[at..at + PAYLOAD].copy_from_slice(&fact);
            std::hint::black_box(crc32c::crc32c(&ring[at..at + PAYLOAD]));
            at = (at + 256) % ((1 << 20) - 256);
        })
    }

    fn journal(&self, dir: &Path, name: &str) -> Timed {
        let home = tempfile::tempdir_in(dir).expect("a directory");
        let (mut writer, mut keeper) = Writer::open(home.path(), Options::default()).expect("a new journal");
        let stop = AtomicBool::new(false);
        let fact = Fact([7; PAYLOAD]);
        let mut refused = 0u64;
        let timed = std::thread::scope(|scope| {
            scope.spawn(|| {
                let start = self.clock.raw();
                while !stop.load(Ordering::Relaxed) {
                    let mono = Mono::from_nanos(self.clock.delta_as_nanos(start, self.clock.raw()));
                    if keeper.duty(Now { mono, wall: Wall::default() }) == 0 {
                        std::thread::sleep(Duration::from_micros(200));
                    }
                }
            });
            let timed = self.run(name, self.records, |n, now| {
                refused += u64::from(writer.fact(now, Seq(n - 1), &fact).is_err());
            });
            stop.store(true, Ordering::Relaxed);
            timed
        });
        if refused > 0 {
            println!("  refused {refused}: the disk could not follow");
        }
        timed
    }

    fn plain_write(&self, dir: &Path) -> Timed {
        let mut file = tempfile::tempfile_in(dir).expect("a file");
        let fact = [7u8; 256];
        self.run("write(2)", self.records, |_, _| file.write_all(&fact).expect("written"))
    }

    /// The logging crate of most services: a channel to a thread that writes. What it drops when it is full is counted.
    fn tracing_appender(&self, dir: &Path) -> Timed {
        let file = tempfile::tempfile_in(dir).expect("a file");
        let (mut writer, guard) = tracing_appender::non_blocking(file);
        let fact = [7u8; 256];
        let timed = self.run("tracing-appender, non-blocking", self.records, |_, _| {
            writer.write_all(&fact).expect("handed over");
        });
        let dropped = writer.error_counter().dropped_lines();
        if dropped > 0 {
            println!("  dropped {dropped} of {}", self.records);
        }
        drop(guard);
        timed
    }

    /// A write-ahead log: each commit is on the medium when it returns.
    fn okaywal(&self, dir: &Path) -> Timed {
        let home = tempfile::tempdir_in(dir).expect("a directory");
        let wal = okaywal::WriteAheadLog::recover(home.path(), Forget).expect("a new log");
        let fact = [7u8; 256];
        let timed = self.run("okaywal, durable commit", (self.records / 2000).max(100), |_, _| {
            let mut entry = wal.begin_entry().expect("an entry");
            entry.write_chunk(&fact).expect("written");
            entry.commit().expect("durable");
        });
        wal.shutdown().expect("ended");
        timed
    }

    fn keel_sync(&self, dir: &Path) -> Timed {
        let home = tempfile::tempdir_in(dir).expect("a directory");
        let options = Options { durability: keel_journal::Durability::Sync, ..Options::default() };
        let (mut writer, _keeper) = Writer::open(home.path(), options).expect("a new journal");
        let fact = Fact([7; PAYLOAD]);
        self.run("keel, durability sync", (self.records / 2000).max(100), |n, now| {
            writer.record(now, Seq(n - 1), &fact).expect("durable");
        })
    }

    fn all(&self, dir: &Path) -> Vec<Timed> {
        let mut all = vec![self.empty(), self.floor(), self.journal(dir, "keel, segments on the disk")];
        if Path::new(MEMORY).is_dir() {
            all.push(self.journal(Path::new(MEMORY), "keel, segments in memory"));
        }
        all.extend([self.plain_write(dir), self.tracing_appender(dir), self.keel_sync(dir), self.okaywal(dir)]);
        all
    }
}

/// Writes and syncs a large file until told to stop.
fn flood(dir: &Path, stop: &AtomicBool) {
    let block = vec![0x5au8; 4 << 20];
    while !stop.load(Ordering::Relaxed) {
        let mut file = File::create(dir.join("storm")).expect("a file");
        for _ in 0..64 {
            file.write_all(&block).expect("written");
        }
        file.sync_all().expect("synced");
    }
}

fn main() {
    let (mut dir, mut records, mut pace, mut plot) = (std::env::temp_dir(), 400_000, 5_000, None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut next = || words.next().expect("a value");
        match word.as_str() {
            "--records" => records = next().parse().expect("a number"),
            "--pace" => pace = next().parse().expect("nanoseconds"),
            "--plot" => plot = Some(PathBuf::from(next())),
            _ => dir = PathBuf::from(word),
        }
    }
    let home = tempfile::tempdir_in(dir).expect("a directory");
    let bench = Bench { clock: Clock::new(), records, pace };
    let header = |when: &str| {
        println!(
            "\n{when}: {records} records of {PAYLOAD} B, one each {pace} ns; nanoseconds\n{:<34} {:>8} {:>8} {:>8} {:>9} {:>10} {:>11}",
            "", "p50", "p90", "p99", "p99.9", "p99.99", "max"
        );
    };
    header("at rest");
    bench.all(home.path());
    header("under a storm of writeback");
    let stop = AtomicBool::new(false);
    let storm = std::thread::scope(|scope| {
        scope.spawn(|| flood(home.path(), &stop));
        std::thread::sleep(Duration::from_secs(2));
        let storm = bench.all(home.path());
        stop.store(true, Ordering::Relaxed);
        storm
    });
    if let Some(file) = plot {
        fs::write(&file, plot::svg(&storm)).expect("the plot");
        println!("\n{}", file.display());
    }
}

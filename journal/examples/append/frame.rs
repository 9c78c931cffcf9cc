//! How an append is measured: paced calls, each timed by itself with the CPU's counter, in one process and one run.
//!
//! In: a directory, how many records, how far apart. Out: one histogram a contestant over all its rounds, with the page
//! faults of its thread and the starts that came late. While a journal is measured its keeper (prefault, sync, hash, seal)
//! runs on a thread of its own, and a following reader on another where one is asked for.
#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "a measurement")]

use hdrhistogram::Histogram;
use keel_core::agent::Agent;
use keel_core::event::{Kind, Record};
use keel_core::ids::Seq;
use keel_core::permit::Log;
use keel_core::units::{Mono, Now, Wall};
use keel_journal::{Durability, Options, Reader, Writer};
use quanta::Clock;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(crate) const PAYLOAD: usize = 192;
const QUANTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)];

pub(crate) struct Fact(pub(crate) [u8; PAYLOAD]);

impl Record for Fact {
    fn kind(&self) -> Kind {
        Kind::Fill
    }

    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// One contestant's calls so far.
pub(crate) struct Timed {
    pub(crate) name: String,
    pub(crate) nanos: Histogram<u64>,
    /// Page faults of its thread, starts that came late, records the disk could not take.
    counts: [u64; 3],
}

/// The frame.
pub(crate) struct Bench {
    pub(crate) clock: Clock,
    pub(crate) records: u64,
    pub(crate) pace: u64,
    pub(crate) all: Vec<Timed>,
}

/// Page faults of the calling thread so far: fields 10 and 12 of its stat line.
fn faults() -> u64 {
    let stat = fs::read_to_string("/proc/thread-self/stat").expect("Linux");
    let mut fields = stat.rsplit(')').next().unwrap_or("").split_whitespace().skip(7).step_by(2);
    let mut next = || fields.next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    next() + next()
}

impl Bench {
    pub(crate) fn new(records: u64, pace: u64) -> Self {
        Self { clock: Clock::new(), records, pace, all: Vec::new() }
    }

    fn timed(&mut self, name: &str) -> &mut Timed {
        let at = self.all.iter().position(|timed| timed.name == name).unwrap_or_else(|| {
            let nanos = Histogram::new(3).expect("three digits");
            self.all.push(Timed { name: name.to_owned(), nanos, counts: [0; 3] });
            self.all.len() - 1
        });
        &mut self.all[at]
    }

    /// Times `records` calls of `each`, one every `pace` nanoseconds at most.
    pub(crate) fn run(&mut self, name: &str, records: u64, mut each: impl FnMut(u64, Now)) {
        let (clock, pace) = (self.clock.clone(), self.pace);
        let timed = self.timed(name);
        let (start, before, mut due) = (clock.raw(), faults(), 0);
        for n in 1..=records {
            due += pace;
            while clock.delta_as_nanos(start, clock.raw()) < due {
                std::hint::spin_loop();
            }
            let from = clock.raw();
            let nanos = clock.delta_as_nanos(start, from);
            // a start that comes late is not a slow append: it is counted apart
            timed.counts[1] += u64::from(nanos > due + pace);
            each(n, Now { mono: Mono::from_nanos(nanos), wall: Wall::from_nanos(1_800_000_000_000_000_000 + nanos) });
            timed.nanos.record(clock.delta_as_nanos(from, clock.raw())).expect("less than an hour");
        }
        timed.counts[0] += faults() - before;
    }

    /// What the machine does to a call that does nothing.
    pub(crate) fn empty(&mut self) {
        self.run("empty loop", self.records, |n, _| {
            std::hint::black_box(n);
        });
    }

    /// The same work into memory nobody shares: what no journal can beat.
    pub(crate) fn floor(&mut self) {
        let mut ring = vec![1u8; 1 << 20];
        let (fact, mut at) = ([7u8; PAYLOAD], 0);
        self.run("memcpy + CRC-32C", self.records, |_, _| {
            ring[at..at + PAYLOAD].copy_from_slice(&fact);
            std::hint::black_box(crc32c::crc32c(&ring[at..at + PAYLOAD]));
            at = (at + 256) % ((1 << 20) - 256);
        });
    }

    /// A new journal in `dir`, perhaps with a reader that follows it.
    pub(crate) fn journal(&mut self, dir: &Path, name: &str, follow: bool) {
        let home = tempfile::tempdir_in(dir).expect("a directory");
        let (mut writer, mut keeper) = Writer::open(home.path(), Options::default()).expect("a new journal");
        let (stop, fact, clock) = (AtomicBool::new(false), Fact([7; PAYLOAD]), self.clock.clone());
        let mut refused = 0u64;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let start = clock.raw();
                while !stop.load(Ordering::Relaxed) {
                    let mono = Mono::from_nanos(clock.delta_as_nanos(start, clock.raw()));
                    if keeper.duty(Now { mono, wall: Wall::default() }) == 0 {
                        std::thread::sleep(Duration::from_micros(200));
                    }
                }
            });
            if follow {
                scope.spawn(|| {
                    let mut reader = Reader::open(home.path()).expect("a reader");
                    while !stop.load(Ordering::Relaxed) {
                        if reader.poll().expect("a sound journal").is_none() {
                            std::thread::sleep(Duration::from_micros(500));
                        }
                    }
                });
            }
            self.run(name, self.records, |n, now| refused += u64::from(writer.fact(now, Seq(n - 1), &fact).is_err()));
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(keeper.failure(), None);
        self.timed(name).counts[2] += refused;
    }

    /// The same with every record on the medium before the call returns; one call in so many of the others.
    pub(crate) fn sync(&mut self, dir: &Path) {
        let home = tempfile::tempdir_in(dir).expect("a directory");
        let options = Options { durability: Durability::Sync, ..Options::default() };
        let (mut writer, _keeper) = Writer::open(home.path(), options).expect("a new journal");
        let fact = Fact([7; PAYLOAD]);
        self.run("keel, durability sync", (self.records / 2000).max(100), |n, now| {
            writer.record(now, Seq(n - 1), &fact).expect("durable");
        });
    }

    /// What a program does that has no journal.
    pub(crate) fn plain_write(&mut self, dir: &Path) {
        let mut file = tempfile::tempfile_in(dir).expect("a file");
        let fact = [7u8; 256];
        self.run("write(2)", self.records, |_, _| file.write_all(&fact).expect("written"));
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{:<34}", "nanoseconds");
        for (name, _) in QUANTILES {
            let _ = write!(text, " {name:>10}");
        }
        text.push_str("  faults    late refused\n");
        for Timed { name, nanos, counts: [faults, late, refused] } in &self.all {
            let _ = write!(text, "{name:<34}");
            for (_, quantile) in QUANTILES {
                let _ = write!(text, " {:>10}", nanos.value_at_quantile(quantile));
            }
            let _ = writeln!(text, " {faults:>7} {late:>7} {refused:>7}");
        }
        text
    }

    /// For machines: one line.
    pub(crate) fn json(&self) -> String {
        let row = |timed: &Timed| {
            let ns = QUANTILES.map(|(name, q)| format!("\"{name}\":{}", timed.nanos.value_at_quantile(q))).join(",");
            let steps = timed.nanos.iter_quantiles(4);
            let curve: Vec<String> =
                steps.map(|step| format!("[{},{}]", step.quantile_iterated_to(), step.value_iterated_to())).collect();
            let [faults, late, refused] = timed.counts;
            let (name, curve) = (&timed.name, curve.join(","));
            format!(
                "{{\"name\":\"{name}\",\"ns\":{{{ns}}},\"curve\":[{curve}],\"faults\":{faults},\"late\":{late},\"refused\":{refused}}}"
            )
        };
        format!("{{\"rows\":[{}]}}", self.all.iter().map(row).collect::<Vec<_>>().join(","))
    }
}

/// Writes and syncs a large file in `dir` without a pause until `measured` is done.
pub(crate) fn storm<T>(dir: &Path, measured: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let block = vec![0x5au8; 4 << 20];
            while !stop.load(Ordering::Relaxed) {
                let mut file = File::create(dir.join("storm")).expect("a file");
                for _ in 0..64 {
                    file.write_all(&block).expect("written");
                }
                file.sync_all().expect("synced");
            }
        });
        std::thread::sleep(Duration::from_secs(2));
        let result = measured();
        stop.store(true, Ordering::Relaxed);
        result
    })
}

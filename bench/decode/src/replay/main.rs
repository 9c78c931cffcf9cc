//! P6: how fast a recorded day is taken in again; keel's replay, hftbacktest's backtest and nautilus' on the same tape.
//!
//!     replay TAPE.rx_ns.tsv.gz [--keel BINARY] [--journal DIR] [--rounds N]
//!
//! In: a v5-shaped tape of BTCUSDT. Out: one line of JSON. Each contestant has the same rule (one order a side at the touch,
//! moved when the touch goes away from it), is fed from memory in its own form, sees the same number of events and must end
//! with the same touch, or the run fails. Rounds interleave. Time is time on a core, so that neighbours count for nobody, and
//! nobody's making of an engine is in it; what each does more and less is in TRIED.md beside this file. keel's pace on the
//! whole tape, with the one-level stream that the others are not fed, is told apart.

mod hft;
mod keel;
mod nautilus;
mod tape;

use serde_json::{Value, json};
use std::error::Error;
use std::path::{Path, PathBuf};

/// Tick of the tape's instrument.
const TICK: f64 = 0.1;
/// Ticks an order may be away from the touch before it is moved.
const TOLERANCE: i64 = 2;
/// Nanoseconds between two moves of one side.
const PATIENCE: i64 = 250_000_000;
/// Quantity of an order.
const QTY: f64 = 0.001;

/// Nanoseconds this thread was on a core.
fn core_nanos() -> u64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    spent.tv_sec as u64 * 1_000_000_000 + spent.tv_nsec as u64
}

/// The quickest of a contestant's rounds.
struct Best {
    core: u64,
    wall: u64,
}

impl Best {
    const fn new() -> Self {
        Self { core: u64::MAX, wall: u64::MAX }
    }

    fn take(&mut self, core: u64, wall: u64) {
        (self.core, self.wall) = (self.core.min(core), self.wall.min(wall));
    }

    fn rate(&self, events: u64) -> f64 {
        events as f64 / (self.core as f64 / 1e9)
    }

    fn json(&self, events: u64) -> Value {
        json!({ "core_ns": self.core, "wall_ns": self.wall, "events_per_s": self.rate(events).round() })
    }
}

/// Times `work` on this thread.
fn timed<T>(best: &mut Best, work: impl FnOnce() -> T) -> T {
    let (clock, core) = (quanta::Clock::new(), core_nanos());
    let start = clock.raw();
    let done = work();
    best.take(core_nanos() - core, clock.delta_as_nanos(start, clock.raw()));
    done
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)).cloned();
    let tape = args.first().ok_or("usage: replay TAPE.rx_ns.tsv.gz [--keel BINARY] [--journal DIR] [--rounds N]")?;
    let rounds: usize = option("--rounds").map_or(Ok(5), |n| n.parse())?;
    let binary = option("--keel").unwrap_or_else(|| "../../target/release/keel".to_owned());
    let journal = option("--journal").map_or_else(|| std::env::temp_dir().join("keel-bench-replay"), PathBuf::from);
    let events = tape::read(tape)?;
    let truth = tape::truth(&events);
    let (count, rows) = (events.len() as u64, hft::rows(&events));
    let (same_events, filtered) = (beside(&journal, "-same"), beside(&journal, "-same.rx_ns.tsv.gz"));
    keel::record(&binary, tape, &journal)?;
    keel::without_top(tape, &filtered)?;
    keel::record(&binary, filtered.to_str().ok_or("a name that is text")?, &same_events)?;
    let ours = keel::seen(&same_events)?;

    let [mut whole, mut own, mut hft_message, mut hft_tenth, mut nautilus_best] = [const { Best::new() }; 5];
    let (mut inputs, mut all_inputs, mut placed) = (0, 0, [0; 3]);
    for _ in 0..rounds {
        for (dir, best, count) in [(&journal, &mut whole, &mut all_inputs), (&same_events, &mut own, &mut inputs)] {
            let (core, wall, facts) = keel::run(&binary, dir)?;
            best.take(core, wall);
            *count = facts;
        }
        for (slot, pace, best) in [(0, hft::Pace::Message, &mut hft_message), (1, hft::Pace::Tenth, &mut hft_tenth)] {
            let bot = hft::prepare(&rows);
            let (orders, touch) = timed(best, || hft::run(bot, pace));
            placed[slot] = orders;
            same("hftbacktest", hft::seen(&events, touch), truth)?;
        }
        let (mut engine, out) = nautilus::prepare(nautilus::data(&events))?;
        timed(&mut nautilus_best, || engine.run(None, None, None, false))?;
        let (orders, seen) = *out.lock().map_err(|_| "one thread")?;
        placed[2] = orders;
        same("nautilus", seen, truth)?;
    }
    let tape_events = ours.books + ours.trades;
    let (keel, facts, pace) = (own.rate(tape_events), own.rate(inputs), whole.rate(all_inputs));
    println!(
        "{}",
        json!({
            "id": "P6",
            "events": { "books": truth.books, "trades": truth.trades, "levels_and_trades": rows.len() },
            "rounds": rounds,
            "keel": {
                "core_ns": own.core, "wall_ns": own.wall, "facts": inputs, "facts_per_s": facts.round(),
                "tape_events": tape_events, "books": ours.books, "trades": ours.trades, "events_per_s": keel.round(),
                "same_touch": ours.touch == truth.touch, "same_count": (ours.books, ours.trades) == (truth.books, truth.trades),
            },
            "keel_whole_tape": {
                "core_ns": whole.core, "wall_ns": whole.wall, "facts": all_inputs, "facts_per_s": pace.round(),
            },
            "hftbacktest": hft_message.json(count),
            "hftbacktest_100ms": hft_tenth.json(count),
            "nautilus": nautilus_best.json(count),
            "orders": { "hftbacktest": placed[0], "hftbacktest_100ms": placed[1], "nautilus": placed[2] },
            "times_hftbacktest": keel / hft_message.rate(count),
            "times_hftbacktest_100ms": keel / hft_tenth.rate(count),
            "times_nautilus": keel / nautilus_best.rate(count),
        })
    );
    Ok(())
}

/// The same path with more at its end.
fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(more);
    PathBuf::from(name)
}

fn same(name: &str, seen: tape::Seen, truth: tape::Seen) -> Result<(), String> {
    if seen == truth { Ok(()) } else { Err(format!("{name} saw {seen:?}, the tape holds {truth:?}")) }
}

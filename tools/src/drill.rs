//! `keel drill`: the days that broke others, played against the brake.
//!
//! In: recorded bars of March 2020, of FTX and of October 2025 (`$KEEL_SHARED`, else `../shared/data`). Out: a report: what
//! the gate refused, when and why the brake tripped, how long until the last order was gone and until flat by the venue's
//! word, and the loss beside its limit. The same seed gives the same report, byte for byte. Never: a drill that passes
//! because its data is missing: that is said, and nothing is written.

mod path;
mod world;

use anyhow::{Context, Result, ensure};
use keel_core::event::{Kind, Op, Order, OrderUpdate, read};
use keel_core::sizing::Sizing;
use keel_core::strategy::QuoterParams;
use keel_core::units::{Notional, Qty, Wall};
use keel_gateway::sim::Spec;
use keel_risk::Scenarios;
use keel_risk::brake::{Reason, Scope, State};
use keel_risk::decision::Decision;
use keel_risk::flatten::BRAKE;
use keel_risk::limits::Limits;
use keel_risk::notice::{Stage, Trip, Unwind};
use path::{Bar, Luck, STEP_MS, Tape};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use world::{Setup, World};

/// Seed of every drill in the report.
const SEED: u64 = 1;
/// Lines of one timeline; further ones are counted.
const LINES: usize = 60;

/// What a person may say.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Which: march-2020, ftx-2022, october-2025 or all.
    #[arg(default_value = "all", value_parser = ["all", "march-2020", "ftx-2022", "october-2025"])]
    name: String,
    /// Write the report here; `tests/drills/report.md` is the one in the repository.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Compare with the report in this file, and fail when it says something else.
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    check: Option<PathBuf>,
}

/// One bad day.
#[derive(Debug)]
struct Drill {
    name: &'static str,
    title: &'static str,
    /// Base coins and the files of their bars.
    files: &'static [(&'static str, &'static str)],
    from: &'static str,
    to: &'static str,
    /// How late the venue's private and order answers come, milliseconds.
    latency_ms: u64,
    what: &'static str,
}

const DRILLS: [Drill; 3] = [
    Drill {
        name: "march-2020",
        title: "March 2020: bitcoin falls 25 % within the hour",
        files: &[("BTC", "btcusdt_binance_1h_2020-03-11_14.csv")],
        from: "2020-03-12 09:00:00",
        to: "2020-03-12 13:00:00",
        latency_ms: 500,
        what: "12 March 2020, 09:00 to 13:00 UTC, hourly bars of Binance spot; the venue answers half a second late",
    },
    Drill {
        name: "ftx-2022",
        title: "FTX: three coins fall together for hours",
        files: &[
            ("BTC", "btcusdt_binance_1h_2022-11-06_14.csv"),
            ("ETH", "ethusdt_binance_1h_2022-11-06_14.csv"),
            ("SOL", "solusdt_binance_1h_2022-11-06_14.csv"),
        ],
        from: "2022-11-08 16:00:00",
        to: "2022-11-08 20:00:00",
        latency_ms: 100,
        what: "8 November 2022, 16:00 to 20:00 UTC, hourly bars of Binance spot; the venue answers 100 ms late",
    },
    Drill {
        name: "october-2025",
        title: "October 2025: minutes, and a wick that comes back",
        files: &[
            ("BTC", "btcusdt_bybit_linear_30m_2025-10-10_11.csv"),
            ("ETH", "ethusdt_bybit_linear_30m_2025-10-10_11.csv"),
            ("SOL", "solusdt_bybit_linear_30m_2025-10-10_11.csv"),
        ],
        from: "2025-10-10 20:30:00",
        to: "2025-10-10 22:30:00",
        latency_ms: 1_000,
        what: "10 October 2025, 20:30 to 22:30 UTC, half-hourly bars of Bybit linear perpetuals; the venue answers a second late",
    },
];

/// What happens.
pub fn run(args: &Args) -> Result<()> {
    let Some(shared) = shared() else {
        println!("SKIPPED: recorded data not found (set KEEL_SHARED, or put it at ../shared/data)");
        return Ok(());
    };
    let mut report = String::from(HEAD);
    for drill in DRILLS.iter().filter(|drill| args.name == "all" || args.name == drill.name) {
        let (story, block) = play(drill, &shared).with_context(|| drill.name)?;
        report.push_str(&tell(drill, &story));
        if let Some(nanos) = block {
            eprintln!("{}: the turn that tripped the brake, first cancels included, took {nanos} ns here", drill.name);
        }
    }
    match (&args.out, &args.check) {
        (Some(out), _) => {
            std::fs::write(out, &report).with_context(|| format!("writing {}", out.display()))?;
            println!("wrote {}", out.display());
        }
        (None, Some(file)) => {
            let kept = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
            let here = kept.lines().zip(report.lines()).position(|(a, b)| a != b);
            let longer = kept.lines().count() != report.lines().count();
            ensure!(
                here.is_none() && !longer,
                "{} says something else from line {} on; `keel drill --out {0}` writes it anew",
                file.display(),
                here.map_or(0, |at| at + 1)
            );
            println!("{} is what the drills say", file.display());
        }
        (None, None) => std::io::stdout().lock().write_all(report.as_bytes())?,
    }
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "where recorded data lies is said by the environment, as in the tests")]
fn shared() -> Option<PathBuf> {
    let named = std::env::var_os("KEEL_SHARED").map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
    named.join("risk/intraday").is_dir().then_some(named)
}

/// The account's limits: those of the demonstration, with a strategy that may fill them.
fn limits() -> Limits {
    let mut limits = Limits::demo();
    (limits.message_rate, limits.message_burst, limits.cancel_reserve) = (100, 40, 10);
    limits.execution_window = 1_000;
    for strategy in &mut limits.strategies {
        (strategy.rate, strategy.max_executions, strategy.max_rejects) = (100, 256, 200);
    }
    limits
}

/// What was seen, by the venue's time.
#[derive(Debug, Default)]
struct Story {
    from: Wall,
    symbols: Vec<String>,
    trips: Vec<(Wall, Trip)>,
    unwinds: Vec<(Wall, Unwind)>,
    /// By name of the check.
    refused: BTreeMap<&'static str, u64>,
    approved: u64,
    /// Orders of the brake.
    slices: u64,
    /// Orders of strategies that were let through while everything was halted.
    passed: u64,
    /// When each order of the strategy was let through, and when it ended by the venue's word.
    lives: Vec<(Wall, Wall)>,
    blocked: Option<Moment>,
    flat: Option<Moment>,
    end: Notional,
    lowest: Notional,
    /// Positions at the trip, and what keeping them would have come to.
    held: Vec<(String, Qty)>,
    kept: Notional,
    kept_lowest: Notional,
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    at: Wall,
    step: usize,
    profit: Notional,
}

/// Plays one, and says how long the turn took that tripped the brake.
fn play(drill: &Drill, shared: &Path) -> Result<(Story, Option<u64>)> {
    let bars: Vec<(Spec, Vec<Bar>)> = drill
        .files
        .iter()
        .map(|(base, file)| {
            let name = format!("{base}USDT");
            let spec = Spec::majors().into_iter().find(|spec| spec.symbol() == name).context("a major")?;
            Ok((spec, path::bars(&shared.join("risk/intraday").join(file), drill.from, drill.to)?))
        })
        .collect::<Result<_>>()?;
    let begins = Wall::from_millis(bars[0].1[0].start);
    let mut luck = Luck::new(SEED);
    let mut tapes: Vec<Tape> = bars.iter().map(|(spec, bars)| Tape::new(spec, path::path(bars, &mut luck))).collect();
    let setup = Setup {
        specs: bars.into_iter().map(|(spec, _)| spec).collect(),
        begins,
        seed: SEED,
        limits: limits(),
        sizing: Sizing { clip: Notional::whole(4_000), position: Notional::whole(38_000), ..Sizing::default() },
        quoter: QuoterParams { inventory: Notional::whole(36_000), alarm: 1_000, ..QuoterParams::default() },
    };
    let file = shared.join("risk/bybit_linear_1d_simple_returns_wide.csv");
    let mut world = World::new(setup, |table| {
        let series = crate::risk::returns_of(&file, table)?;
        let borrowed: Vec<_> = series.iter().map(|(symbol, returns)| (*symbol, returns.as_slice())).collect();
        Scenarios::new(table, &borrowed).map_err(|why| anyhow::anyhow!("scenarios: {why:?}"))
    })?;
    let steps = tapes.iter().map(Tape::len).min().unwrap_or(0);
    let mut story = Story { from: begins, ..Story::default() };
    story.symbols = drill.files.iter().map(|(base, _)| format!("{base}USDT")).collect();
    let mut armed = false;
    for at in 0..steps {
        let wall = begins.after(u64::try_from(at)? * STEP_MS * 1_000_000);
        world.run_until(wall)?;
        if !armed && world.is_ready() && at > 8 {
            for channel in ["private", "trade"] {
                world.admin(&format!("latency channel={channel} ms={}", drill.latency_ms))?;
            }
            world.arm()?;
            armed = true;
        }
        for tape in &mut tapes {
            for frame in tape.frames(at, wall.millis()) {
                world.show(&frame)?;
            }
        }
        watch(&world, &mut story, &tapes, at);
    }
    ensure!(armed, "the links did not stand");
    story.end = world.engine.gate().profit();
    let block = world.block_ns;
    read_journal(world, &mut story)?;
    Ok((story, block))
}

/// What the drill looks at after every step.
fn watch(world: &World, story: &mut Story, tapes: &[Tape], step: usize) {
    let gate = world.engine.gate();
    let moment = Moment { at: world.now().wall, step, profit: gate.profit() };
    story.lowest = story.lowest.min(moment.profit);
    if world.block_ns.is_some() && story.blocked.is_none() {
        let seats = world.engine.desk().seats().iter();
        story.held = seats.map(|seat| (seat.instrument.symbol.to_string(), seat.position.size)).collect();
        (story.blocked, story.kept_lowest) = (Some(moment), moment.profit);
    }
    let Some(blocked) = story.blocked else { return };
    let moved = |tape: &Tape| tape.price(step) - tape.price(blocked.step);
    let change: f64 = tapes.iter().zip(&story.held).map(|(tape, (_, held))| held.to_f64() * moved(tape)).sum();
    #[allow(clippy::cast_possible_truncation, reason = "dollars of a small account")]
    let change = Notional::from_raw((change * 1e8) as i64);
    story.kept = blocked.profit + change;
    story.kept_lowest = story.kept_lowest.min(story.kept);
    let held = gate.exposure().holdings().iter().any(|holding| !holding.position.is_zero());
    if !held && story.flat.is_none() {
        story.flat = Some(moment);
    }
}

/// What the journal says of the drill.
fn read_journal(world: World, story: &mut Story) -> Result<()> {
    let log = world.engine.into_log();
    let mut open = BTreeMap::new();
    for entry in log.records() {
        let at = entry.wall;
        match entry.kind {
            Some(Kind::Trip) => story.trips.push((at, read(entry.payload).context("a trip that cannot be read")?)),
            Some(Kind::Unwind) => {
                story.unwinds.push((at, read(entry.payload).context("an unwind that cannot be read")?))
            }
            Some(Kind::Refused) => {
                let decision: Decision = read(entry.payload).context("a refusal that cannot be read")?;
                decision.failures().for_each(|code| *story.refused.entry(code.name()).or_default() += 1);
            }
            Some(Kind::Approved) => {
                let decision: Decision = read(entry.payload).context("a decision that cannot be read")?;
                let Order { strategy, op, client, .. } = decision.order;
                story.approved += 1;
                story.slices += u64::from(strategy == BRAKE);
                let ours = strategy != BRAKE;
                story.passed += u64::from(ours && decision.brake == State::Halted && op != Op::Cancel);
                if ours && op == Op::New {
                    open.insert(client.raw(), at);
                }
            }
            Some(Kind::OrderUpdate) => {
                let update: OrderUpdate = read(entry.payload).context("an update that cannot be read")?;
                let born = if update.status.is_final() { open.remove(&update.client.raw()) } else { None };
                story.lives.extend(born.map(|born| (born, at)));
            }
            _ => {}
        }
    }
    Ok(())
}

const HEAD: &str = "\
# Drills

Written by `tests/drills/run`; the same seed gives the same bytes, and `tests/run` compares. The days that broke others, \
played through the simulated exchange against the engine, the gate, the gateway and the journal that trade, on the venue's \
time. A two-sided quoter with 100,000 USDT may hold 38,000 USDT of each coin: in a fall it buys all the way, which is what \
a brake is for, and more than value at risk allows, so that a breach of it is drilled too. Limits: those of `keel demo`, value at risk over 998 real days; a halt at 3 % of the equity then \
lost in a day, or 1.5 % within a minute or five; 200 refusals by the venue within ten seconds.

Assumed, because bars do not know it: within each bar the price runs straight, with noise, through its low and its high at \
seeded moments; ten levels a side, 1 bp apart, show 20 half-seconds of the bar's mean volume, less as the price runs; each step prints its share of that volume; mark \
and index follow the price over ten half-seconds. Fills are those of the simulated exchange: queue position, displayed \
depth, no hidden liquidity, fees of 5.5 and 2 bps.

*To block* is 0 in venue time: the brake flips in the same turn of the engine as the fact that trips it, before that turn's \
strategy; `keel drill` prints how long that turn took by this machine's clock. *Kept instead* is what the position at the \
trip would have come to without the brake.
";

/// One drill as text.
fn tell(drill: &Drill, story: &Story) -> String {
    let mut out = format!("\n## {}\n\n{}.\n\n", drill.title, drill.what);
    let Some(blocked) = &story.blocked else {
        let _ =
            writeln!(out, "No halt. Worst result {} USDT, at the end {} USDT.", usdt(story.lowest), usdt(story.end));
        return out + &timeline(story) + &refusals(story);
    };
    // the journal knows the moment to the nanosecond; the look after each step only the step
    let halts = |(_, trip): &&(Wall, Trip)| trip.after == State::Halted && trip.reason != Reason::Start;
    let tripped = story.trips.iter().find(halts).map_or(blocked.at, |(at, _)| *at);
    let first = story.trips.iter().find(|(_, trip)| trip.before == State::Active && trip.reason != Reason::Start);
    let gone = |since: Wall| {
        let open = story.lives.iter().filter(|(born, gone)| *born <= since && since < *gone);
        let (count, last) = open.fold((0, since), |(count, last), (_, gone)| (count + 1, last.max(*gone)));
        match count {
            0 => "nothing was open".to_owned(),
            _ => format!("{count} open, the last gone after {} ms", last.since(since) / 1_000_000),
        }
    };
    let held = story.held.iter().map(|(symbol, size)| format!("{symbol} {size}")).collect::<Vec<_>>().join(", ");
    let flat = flat_at(story).map_or_else(|| "not within the drill".to_owned(), |at| clock(at.since(tripped)));
    let result = story.flat.map_or_else(String::new, |flat| {
        format!("{} USDT: letting go cost {}", usdt(flat.profit), usdt(blocked.profit - flat.profit))
    });
    let _ = writeln!(out, "| | |\n|---|---|");
    for (name, value) in [
        (
            "first trip",
            first.map_or_else(String::new, |(at, trip)| {
                format!("{}, {:?}: {}", clock(at.since(story.from)), trip.reason, gone(*at))
            }),
        ),
        ("halt", format!("{}, holding {held}", clock(tripped.since(story.from)))),
        (
            "to block",
            format!(
                "0 ms; {} orders of the strategy let through after it, {} slices of the brake in all",
                story.passed, story.slices
            ),
        ),
        ("to last cancel", gone(tripped)),
        ("to flat, by the venue's word", flat),
        (
            "result at the halt",
            format!("{} USDT, of 3000 that may be lost of the beginning's 100,000 in a day", usdt(blocked.profit)),
        ),
        ("result when flat", result),
        (
            "kept instead",
            format!("{} USDT at its worst, {} USDT at the end", usdt(story.kept_lowest), usdt(story.kept)),
        ),
    ] {
        let _ = writeln!(out, "| {name} | {value} |");
    }
    out + &timeline(story) + &refusals(story)
}

/// When the last position that was held was flat by the venue's word.
fn flat_at(story: &Story) -> Option<Wall> {
    let held = story.held.iter().zip(0u16..).filter(|((_, size), _)| !size.is_zero());
    held.map(|(_, id)| {
        let flat = |(_, unwind): &&(Wall, Unwind)| unwind.instrument.0 == id && unwind.stage == Stage::Flat;
        story.unwinds.iter().find(flat).map(|(at, _)| *at)
    })
    .try_fold(Wall::default(), |latest, at| Some(latest.max(at?)))
}

/// What the brake did, line by line.
fn timeline(story: &Story) -> String {
    let trips = story.trips.iter().map(|(at, trip)| {
        let measured = if trip.limit > 0 { format!(", {} of {}", trip.measured, trip.limit) } else { String::new() };
        let scope = match trip.place() {
            Scope::Strategy(id) => format!("Strategy {}", id.0),
            Scope::Instrument(id) => story.symbols.get(id.index()).map_or("?", String::as_str).to_owned(),
            scope => format!("{scope:?}"),
        };
        (*at, format!("{scope}: {:?} to {:?}, {:?}{measured}", trip.before, trip.after, trip.reason))
    });
    let unwinds = story.unwinds.iter().map(|(at, unwind)| {
        let symbol = story.symbols.get(unwind.instrument.index()).map_or("?", String::as_str);
        (
            *at,
            format!(
                "{symbol}: {:?} at {}, bound {} bps, mark {}",
                unwind.stage, unwind.position, unwind.bound, unwind.mark
            ),
        )
    });
    let mut lines: Vec<(Wall, String)> = trips.chain(unwinds).collect();
    lines.sort_by_key(|(at, _)| *at);
    let more = lines.len().saturating_sub(LINES);
    let mut out = String::from("\n```text\n");
    for (at, line) in lines.iter().take(LINES) {
        let _ = writeln!(out, "{:>12}  {line}", clock(at.since(story.from)));
    }
    if more > 0 {
        let _ = writeln!(out, "              and {more} more");
    }
    out + "```\n"
}

fn refusals(story: &Story) -> String {
    let codes: Vec<String> = story.refused.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let codes = if codes.is_empty() { "nothing".to_owned() } else { codes.join(", ") };
    format!("\nThe gate let {} requests pass. Refused, by every check that failed: {codes}.\n", story.approved)
}

fn usdt(value: Notional) -> String {
    let cents = (value.raw() + 500_000).div_euclid(1_000_000);
    format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100)
}

fn clock(nanos: u64) -> String {
    let millis = nanos / 1_000_000;
    let (hours, minutes, seconds) = (millis / 3_600_000, millis / 60_000 % 60, millis / 1_000 % 60);
    format!("{hours}:{minutes:02}:{seconds:02}.{:03}", millis % 1_000)
}

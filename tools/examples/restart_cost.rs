//! What a restart costs after `kill -9`: from the start of the process to an engine that may trade as soon as the venue
//! agrees. Run by hand: `cargo run --release -p keel-tools --example restart_cost -- [RECORDS] [DIR]`.
//!
//! ```text
//!   writer process --10 M records, the mix of a demo day--> kill -9
//!   restart process: open, mend the end, seal | fold | begin, written down | engine   --ready--> kill -9, x ROUNDS
//! ```
//!
//! Out: one line of JSON. All records belong to the run that died, the worst there is; the pages are warm, as they are when
//! a process dies and its host does not. What was taken over is compared with what the writer left, or the run fails.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot unwrap has failed")]

use keel_core::agent::Agent;
use keel_core::event::{
    Ack, BookUpdate, ExecEvent, ExecKind, Fill, Flag, Kind, Level, Order, OrderStatus, OrderUpdate, Origin, Record,
    Sent, Side, Ticker, Timer, Trade, VenuePosition, Wallet, Worth,
};
use keel_core::ids::{ClientId, InstrumentId, Seq, StrategyId, Symbol, VenueId};
use keel_core::instrument::{Instrument, Instruments};
use keel_core::permit::Log;
use keel_core::sizing::Sizing;
use keel_core::strategy::{Quoter, QuoterParams};
use keel_core::units::{Mono, Notional, Now, Px, Qty, Wall};
use keel_gateway::sign::Signer;
use keel_journal::{Keeper, Options, Writer};
use keel_risk::Decision;
use keel_risk::limits::Limits;
use keel_risk::throwaway::Throwaway;
use keel_tools::node::clock::{Clock, Stopwatch, Virtual, core_nanos};
use keel_tools::node::feed::Lines;
use keel_tools::node::inquiry::Inquiry;
use keel_tools::node::plan::Plan;
use keel_tools::node::rest::Client;
use keel_tools::node::run::{Pace, Setup, Venue};
use keel_tools::node::scenarios::Source;
use keel_tools::node::takeover;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

const RECORDS: u64 = 10_000_000;
const ROUNDS: usize = 5;
/// Orders open when the process is killed.
const OPEN: u32 = 20;
const SYMBOLS: [&str; 2] = ["BTCUSDT", "ETHUSDT"];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--write", records, dir] => write(records.parse().unwrap(), Path::new(dir)),
        ["--restart", dir] => restart(Path::new(dir)),
        [] => measure(RECORDS, None),
        [records] => measure(records.parse().unwrap(), None),
        [records, dir, ..] => measure(records.parse().unwrap(), Some(PathBuf::from(dir))),
    }
}

/// Runs this program again; what it says in its last line before it is killed, and how long it took to say so.
fn killed_after_speaking(args: &[&str]) -> (Value, f64) {
    let (watch, program) = (Stopwatch::new(), std::env::current_exe().unwrap());
    let from = watch.ticks();
    let mut child: Child = Command::new(program).args(args).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let took = watch.nanos(from, watch.ticks());
    child.kill().unwrap();
    child.wait().unwrap();
    (serde_json::from_str(&line).expect("what the process said before it died"), millis(took))
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds for people")]
fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

fn measure(records: u64, dir: Option<PathBuf>) {
    let scratch = tempfile::tempdir().unwrap();
    let dir = dir.unwrap_or_else(|| scratch.path().join("journal"));
    let name = dir.to_str().unwrap();
    let (left, _) = killed_after_speaking(&["--write", &records.to_string(), name]);
    let pointer = std::fs::read(dir.join("beginning")).unwrap();
    let mut rounds: Vec<(f64, Value)> = Vec::new();
    for _ in 0..ROUNDS {
        std::fs::write(dir.join("beginning"), &pointer).unwrap();
        let (said, took) = killed_after_speaking(&["--restart", name]);
        assert_eq!((&said["open_orders"], &said["positions"]), (&left["open_orders"], &left["positions"]));
        rounds.push((took, said));
    }
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (next, next_took) = killed_after_speaking(&["--restart", name]);
    let (quickest, median) = (&rounds[0], &rounds[ROUNDS / 2]);
    let files = || std::fs::read_dir(&dir).unwrap().map(|file| file.unwrap());
    let segments = files().filter(|file| file.path().extension().is_some_and(|e| e == "keel")).count();
    let bytes: u64 = files().map(|file| file.metadata().unwrap().len()).sum();
    println!(
        "{}",
        json!({
            "id": "P9",
            "records": records,
            "bytes": bytes,
            "segments": segments,
            "pages": "warm",
            "rounds": ROUNDS,
            "ready_ms_min": quickest.0,
            "ready_ms_median": median.0,
            "core_ms_min": rounds.iter().map(|(_, said)| said["core_ms"].as_f64().unwrap()).fold(f64::MAX, f64::min),
            "steps_ms": quickest.1["steps_ms"],
            "after_a_restart_ms": next_took,
            "open_orders": next["open_orders"],
            "target_ms": 2000,
        })
    );
}

fn instruments() -> Instruments {
    let row = |name: &&str| Instrument {
        symbol: Symbol::new(name.as_bytes()).unwrap(),
        tick: Px::parse(b"0.1").unwrap(),
        min_px: Px::parse(b"0.1").unwrap(),
        max_px: Px::whole(1_999_999),
        step: Qty::parse(b"0.001").unwrap(),
        min_qty: Qty::parse(b"0.001").unwrap(),
        max_qty: Qty::whole(100),
        max_market_qty: Qty::whole(100),
        min_notional: Notional::whole(5),
        max_leverage: 10_000,
        funding_minutes: 480,
        trading: Flag::Yes,
        ..Instrument::default()
    };
    Instruments::new(SYMBOLS.iter().map(row)).unwrap()
}

fn setup(dir: &Path, clock: &Arc<Virtual>) -> Setup {
    let nowhere = || "wss://localhost:1".to_owned();
    Setup {
        venue: Venue {
            rest: "https://localhost:1".to_owned(),
            public: nowhere(),
            private: nowhere(),
            trade: nowhere(),
            authority: None,
        },
        signer: Signer::new("demo-key", b"demo-secret"),
        symbols: SYMBOLS.iter().map(|name| Symbol::new(name.as_bytes()).unwrap()).collect(),
        feed: keel_feed::session::Config::default(),
        lines: Lines::default(),
        data_dir: dir.to_path_buf(),
        journal: Options::default(),
        plan: Plan::fused(),
        spin: false,
        seed: 1,
        quoter: QuoterParams::default(),
        sizing: Sizing::default(),
        limits: Limits::demo(),
        scenarios: Source::Generated(1),
        people: Throwaway::new(1).rows(),
        http: None,
        pace: Pace::Virtual(Arc::clone(clock)),
        policy: None,
        watching: false,
        disconnect: None,
        beat: None,
        terms: None,
        surveillance: None,
        config: [0; 32],
    }
}

/// Everything a start does between the venue's instruments and the first thread, as the node does it.
fn begin(dir: &Path, wall: u64) -> (takeover::Takeover, Writer, Keeper, Instruments) {
    let shared = Arc::new(Virtual::default());
    shared.set(wall);
    let (setup, table) = (setup(dir, &shared), instruments());
    let client = Client::new(&setup.venue.rest, None).unwrap();
    let inquiry = Inquiry { client: &client, signer: &setup.signer, pace: &setup.pace };
    let scenarios = setup.scenarios.load(&inquiry, &table).unwrap();
    let (taken, writer, keeper) = takeover::begin(&setup, &table, scenarios, &mut Clock::Virtual(shared)).unwrap();
    (taken, writer, keeper, table)
}

fn restart(dir: &Path) {
    let watch = Stopwatch::new();
    let from = watch.ticks();
    let (taken, writer, _keeper, table) = begin(dir, 1_950_000_000_000_000_000);
    let begun = watch.ticks();
    let engine = taken.engine(&table, Quoter::new(StrategyId(0), QuoterParams::default()), writer).unwrap();
    let made = watch.ticks();
    let desk = engine.desk();
    let positions: Vec<String> = desk.seats().iter().map(|seat| seat.position.size.to_string()).collect();
    let steps =
        json!({ "taken over and begun": millis(watch.nanos(from, begun)), "engine": millis(watch.nanos(begun, made)) });
    let core = millis(core_nanos());
    say(
        &json!({ "open_orders": desk.orders.open().len(), "positions": positions, "steps_ms": steps, "core_ms": core }),
    );
}

/// Says one thing and waits to be killed.
fn say(what: &Value) {
    println!("{what}");
    loop {
        std::thread::park();
    }
}

/// A decision as it would stand in the journal, whoever may build one.
struct Raw(Decision);

impl Record for Raw {
    fn kind(&self) -> Kind {
        Kind::Approved
    }

    fn bytes(&self) -> &[u8] {
        zerocopy::IntoBytes::as_bytes(&self.0)
    }
}

/// A day as one process wrote it.
struct Day {
    writer: Writer,
    keeper: Keeper,
    nanos: u64,
    run: u32,
    orders: u32,
    seq: u64,
    held: [i64; 2],
    written: BTreeMap<Kind, u64>,
}

impl Day {
    fn now(&self) -> Now {
        Now { mono: Mono::from_nanos(self.nanos), wall: Wall::from_nanos(self.nanos) }
    }

    fn fact(&mut self, fact: &impl Record) {
        self.nanos += 7_000_000;
        let seq = self.writer.fact(self.now(), Seq::NONE, fact).unwrap();
        *self.written.entry(fact.kind()).or_default() += 1;
        if seq.0.is_multiple_of(512) {
            self.keeper.duty(self.now());
        }
    }

    fn origin(&mut self) -> Origin {
        self.seq += 1;
        let now = self.now();
        Origin { recv: now.mono, ticks: self.nanos, ts: now.wall, cts: now.wall, seq: self.seq }
    }

    /// The market of a demo for about a third of a second; mostly book and trades.
    fn market(&mut self, id: InstrumentId) {
        for at in 0..13i64 {
            let level = |px: i64, qty| Level { px: Px::from_raw(px * 10_000_000), qty: Qty::from_raw(qty * 100_000) };
            let mut book = BookUpdate::empty(id, if at % 3 == 0 { 1 } else { 50 }, self.origin(), self.seq);
            (book.flags, book.bids, book.asks) = (BookUpdate::FIRST | BookUpdate::LAST, 2, 2);
            for (slot, px) in [599_990, 599_980, 600_010, 600_020].into_iter().enumerate() {
                book.levels[slot] = level(px - at, 1 + at);
            }
            self.fact(&book);
            if at % 13 < 10 {
                let trade = Trade {
                    origin: self.origin(),
                    px: Px::whole(60_000),
                    qty: Qty::from_raw(1_000_000),
                    instrument: id,
                    side: Side::Buy,
                    block: Flag::No,
                    rpi: Flag::No,
                    last: Flag::Yes,
                    pad: [0; 2],
                };
                self.fact(&trade);
            }
            if at % 4 == 0 {
                let mark = Px::whole(60_000 + at);
                let ticker = Ticker { origin: self.origin(), instrument: id, mark, index: mark, ..Ticker::default() };
                self.fact(&ticker);
            }
        }
        for _ in 0..2 {
            let due = self.now().mono;
            self.fact(&Timer { due });
        }
    }

    /// One order, placed and, unless it is to stay open, filled in two parts, with everything the venue says about it.
    fn order(&mut self, id: InstrumentId, stays: bool) {
        self.orders += 1;
        let client = ClientId::new(self.run, self.orders);
        let side = if self.held[id.index()] > 0 { Side::Sell } else { Side::Buy };
        let (px, qty) = (Px::whole(60_000), Qty::parse(b"0.002").unwrap());
        let order = Order { client, instrument: id, side, px, qty, ..Order::default() };
        self.fact(&Raw(Decision { order, ..Decision::default() }));
        let venue = VenueId::new(format!("v-{}", self.orders).as_bytes()).unwrap();
        let now = self.now();
        self.fact(&Sent { client, at: now.mono, ..Sent::default() });
        self.fact(&Ack { client, recv: now.mono, ts: now.wall, venue, ..Ack::default() });
        let update = OrderUpdate {
            client,
            recv: now.mono,
            updated: now.wall,
            px,
            qty,
            leaves: qty,
            venue,
            instrument: id,
            side,
            status: OrderStatus::New,
            ..OrderUpdate::default()
        };
        self.fact(&update);
        if stays {
            return;
        }
        let half = Qty::from_raw(qty.raw() / 2);
        for part in 0..2 {
            self.seq += 1;
            let exec = VenueId::new(format!("e-{}-{part}", self.orders).as_bytes()).unwrap();
            let (now, leaves) = (self.now(), if part == 0 { half } else { Qty::ZERO });
            let fill = Fill {
                client,
                recv: now.mono,
                ts: now.wall,
                seq: self.seq,
                px,
                qty: half,
                leaves,
                exec,
                venue,
                instrument: id,
                side,
                kind: ExecKind::Trade,
                ..Fill::default()
            };
            self.fact(&fill);
            self.held[id.index()] += if side == Side::Buy { half.raw() } else { -half.raw() };
            let size = Qty::from_raw(self.held[id.index()]);
            let entry = if size.is_zero() { Px::ZERO } else { px };
            let (recv, updated, seq) = (now.mono, now.wall, self.seq);
            self.fact(&VenuePosition { recv, updated, seq, size, entry, instrument: id, ..VenuePosition::default() });
        }
        let (filled, leaves, status) = (qty, Qty::ZERO, OrderStatus::Filled);
        self.fact(&OrderUpdate { filled, leaves, status, avg_px: px, ..update });
        let (money, now) = (Notional::whole(100_000), self.now());
        let wallet = Wallet { recv: now.mono, ts: now.wall, equity: money, balance: money, ..Wallet::default() };
        self.fact(&ExecEvent::Wallet(wallet));
        for _ in 0..2 {
            self.fact(&Worth { at: now.mono, equity: money, balance: money, high: money, ..Worth::default() });
        }
    }
}

fn write(records: u64, dir: &Path) {
    let (taken, writer, keeper, table) = begin(dir, 1_900_000_000_000_000_000);
    let nanos = 1_900_000_000_000_000_000;
    let (run, orders, seq, held) = (taken.run, 0, 0, [0; 2]);
    let mut day = Day { writer, keeper, nanos, run, orders, seq, held, written: BTreeMap::new() };
    let ids: Vec<InstrumentId> = table.rows().iter().map(|row| row.id).collect();
    while day.writer.head().0 + 10 * u64::from(OPEN) < records {
        for (turn, id) in ids.iter().cycle().take(10).enumerate() {
            day.market(*id);
            if turn == 3 {
                day.order(*id, false);
            }
        }
    }
    for at in 0..OPEN {
        day.order(ids[at as usize % ids.len()], true);
    }
    while day.writer.head().0 < records {
        let due = day.now().mono;
        day.fact(&Timer { due });
    }
    let kinds: BTreeMap<String, u64> = day.written.iter().map(|(kind, count)| (format!("{kind:?}"), *count)).collect();
    let positions: Vec<String> = day.held.iter().map(|held| Qty::from_raw(*held).to_string()).collect();
    eprintln!("{}", json!({ "written": kinds }));
    say(&json!({ "open_orders": OPEN, "positions": positions }));
}

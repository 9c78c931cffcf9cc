//! `keel demo`: an embedded exchange and a node, over real sockets and TLS, in one process, with no configuration.
//!
//! In: nothing, or tapes, a seed, a time. Out: a status line while it runs and a summary at the end, also after Ctrl-C.
//! It arms itself with the throw-away keys of two people who do not exist, and says so; nothing of it reaches a real venue.
//! Value at risk is taken over made-up scenarios: the venue is made up too, and has no past.
//!
//! `--speed max` is a lockstep run: one frame at a time, on the tape's time, so that two runs with one seed ask for the
//! same orders and end with the same position. Latencies are real in both.

use crate::exchange::{self, AUTHORITY, Lockstep, Market, Pace, Speed};
use crate::node::board::{Board, Cell};
use crate::node::clock::{Stopwatch, Virtual};
use crate::node::door;
use crate::node::feed::Lines;
use crate::node::lockstep::Quiescence;
use crate::node::run::{self, Running, Setup, Venue};
use crate::node::scenarios::Source;
use crate::node::thread::{Stop, nap};
use crate::node::{plan::Plan, run::Pace as NodePace};
use crate::summary::Summary;
use anyhow::{Context, Result, bail, ensure};
use keel_core::event::{CommandKind, DocumentKind};
use keel_core::ids::Symbol;
use keel_core::sizing::Sizing;
use keel_core::strategy::QuoterParams;
use keel_core::units::{Notional, Px, Qty};
use keel_feed::session::{Config as FeedConfig, Topics};
use keel_gateway::sign::Signer;
use keel_journal::Options;
use keel_risk::limits::{Limits, MarkSource};
use keel_risk::throwaway::Throwaway;
use keel_risk::trips::{Cause, Ladder};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long the links may take to stand.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// How long open orders may take to end.
const QUIET_WITHIN: Duration = Duration::from_secs(5);
/// Times it signs again because the brake moved meanwhile.
const ATTEMPTS: u32 = 5;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// Seconds a demo without a tape runs when nobody says.
const SECONDS: u64 = 15;

/// What a person may say to `keel demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Seconds to run; without a tape the default is 15, with tapes their length. Venue time at --speed max.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: Option<u64>,
    /// A recorded tape to trade on; repeat for several symbols at once.
    #[arg(long, value_name = "FILE")]
    pub tape: Vec<PathBuf>,
    /// What to trade; the symbols of the tapes, or BTCUSDT and ETHUSDT.
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub symbols: Vec<String>,
    /// Seed of everything that is luck.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How fast: real, a factor, or max (deterministic, one frame at a time).
    #[arg(long, default_value = "real", value_parser = exchange::speed)]
    pub speed: Speed,
    /// Where the journal goes; a directory of its own below keel-data when not given.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Which agent runs on which thread.
    #[arg(long, default_value = "feed+engine+orders | journal+http", value_name = "PLAN")]
    pub plan: Plan,
    /// Serve /metrics and /healthz here; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    pub http: Option<std::net::SocketAddr>,
    /// Write the exchange's own books of the account here at the end: fills, fees, funding, cash, positions, as JSON.
    #[arg(long, value_name = "FILE")]
    pub books: Option<PathBuf>,
    /// One JSON object instead of a page.
    #[arg(long)]
    pub json: bool,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            seconds: None,
            tape: Vec::new(),
            symbols: Vec::new(),
            seed: 1,
            speed: Speed::Real,
            data_dir: None,
            plan: Plan::fused(),
            http: None,
            books: None,
            json: false,
        }
    }
}

/// The node's side of a lockstep run.
#[derive(Debug, Default)]
struct Step {
    clock: Arc<Virtual>,
    node: OnceLock<Arc<Quiescence>>,
}

impl Lockstep for Step {
    fn now_is(&self, wall_ns: u64) {
        self.clock.set(wall_ns);
    }

    fn quiescent(&self, frames_sent: u64, frames_received: u64) -> bool {
        self.node.get().is_some_and(|node| node.holds(frames_sent, frames_received))
    }
}

/// `keel demo`.
pub fn run(args: &Args) -> Result<()> {
    let market = Market::tapes(&args.tape)?;
    let symbols = symbols(args, &market)?;
    let data_dir = args.data_dir.clone().unwrap_or_else(fresh_dir);
    let stop = Stop::default();
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.flag()).context("watching for Ctrl-C")?;
    }
    let step = Arc::new(Step::default());
    let taped = market.is_taped();
    let tls = Scratch::new()?;
    let venue = start_exchange(args, &symbols, market, &step, &tls)?;
    let watch = Stopwatch::new();
    let from = watch.ticks();
    let outcome = (|| {
        let node = start_node(args, &symbols, data_dir.clone(), venue.address.port(), &step, &tls)?;
        let node = trade(args, taped, node, &venue, &step, &stop)?;
        node.finish()
    })();
    venue.join().context("the exchange")?;
    let summary = Summary::new(outcome?, &data_dir, args.seed, seconds_since(&watch, from));
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", summary.json())?;
    } else {
        writeln!(out, "{}", summary.page())?;
    }
    ensure!(summary.is_verified(), "the journal does not verify; `keel verify {}` says more", data_dir.display());
    Ok(())
}

fn symbols(args: &Args, market: &Market) -> Result<Vec<String>> {
    match (args.symbols.is_empty(), market.symbols()) {
        (false, _) => Ok(args.symbols.clone()),
        (true, taped) if !taped.is_empty() => Ok(taped),
        (true, _) if args.tape.is_empty() => Ok(vec!["BTCUSDT".to_owned(), "ETHUSDT".to_owned()]),
        (true, _) => bail!("the tapes name no symbol: are they tapes of Bybit v5 frames?"),
    }
}

fn start_exchange(
    args: &Args,
    symbols: &[String],
    market: Market,
    step: &Arc<Step>,
    tls: &Scratch,
) -> Result<exchange::Running> {
    let options = exchange::Options {
        venue: exchange::venue(symbols, &market.symbols())?,
        seed: args.seed,
        hold: true,
        restamp: args.speed == Speed::Real,
        play_for: args.seconds.unwrap_or(if args.tape.is_empty() { SECONDS } else { 0 }) * 1_000_000_000,
        tls: Some(tls.0.clone()),
        books: args.books.clone(),
        ..exchange::Options::default()
    };
    let pace = match args.speed {
        Speed::Real => Pace::Real,
        Speed::Times(factor) => Pace::Scaled(factor),
        Speed::Max => Pace::Lockstep(Arc::clone(step) as Arc<dyn Lockstep>),
    };
    exchange::spawn(options, market, pace).context("starting the embedded exchange")
}

fn start_node(
    args: &Args,
    symbols: &[String],
    data_dir: PathBuf,
    port: u16,
    step: &Arc<Step>,
    tls: &Scratch,
) -> Result<Running> {
    let pace = match args.speed {
        Speed::Max => {
            while step.clock.get() == 0 {
                nap(LOOK);
            }
            NodePace::Virtual(Arc::clone(&step.clock))
        }
        _ => NodePace::Real,
    };
    let names: Option<Vec<Symbol>> = symbols.iter().map(|name| Symbol::new(name.as_bytes())).collect();
    let base = format!("localhost:{port}");
    let late_after = if matches!(args.speed, Speed::Times(_)) { 0 } else { FeedConfig::default().late_after };
    let setup = Setup {
        venue: Venue {
            rest: format!("https://{base}"),
            public: format!("wss://{base}/v5/public/linear"),
            private: format!("wss://{base}/v5/private"),
            trade: format!("wss://{base}/v5/trade"),
            authority: Some(tls.0.join(AUTHORITY)),
        },
        signer: Signer::new("demo-key", b"demo-secret"),
        symbols: names.context("a symbol is not one")?,
        feed: FeedConfig {
            topics: Topics { touch: true, ..Topics::default() },
            late_after,
            seed: args.seed,
            ..FeedConfig::default()
        },
        lines: Lines::default(),
        data_dir,
        journal: Options::default(),
        plan: args.plan.clone(),
        spin: false,
        seed: args.seed,
        quoter: QuoterParams::default(),
        sizing: Sizing::default(),
        limits: limits(),
        scenarios: Source::Generated(args.seed),
        people: Throwaway::new(args.seed).rows(),
        http: args.http,
        pace,
        policy: None,
        watching: false,
        disconnect: None,
        terms: None,
        beat: None,
        surveillance: None,
        config: [0; 32],
    };
    let node = run::start(setup)?;
    let _ = step.node.set(Arc::clone(&node.quiescence));
    Ok(node)
}

/// The demo account's limits, with room for a quoter's messages: its exchange grants 1,200 a second.
fn limits() -> Limits {
    let mut limits = Limits::demo();
    (limits.message_rate, limits.message_burst, limits.cancel_reserve) = (100, 40, 10);
    (limits.execution_window, limits.mark) = (1_000, MarkSource::TickerOrMid);
    // a tape may hold books alone, and quiet ones
    limits.instrument.max_participation = 0;
    limits.trips.ladders[Cause::Staleness as usize] = Ladder::new(1_000, 10_000, 30_000);
    // and its recorder's clock may have been off by seconds: that is not ours
    limits.trips.ladders[Cause::Clock as usize] = Ladder::new(60_000, 120_000, 300_000);
    for strategy in &mut limits.strategies {
        (strategy.rate, strategy.max_executions) = (100, 256);
    }
    limits
}

/// Waits for the links, arms, lets the market run, and ends in good order.
fn trade(
    args: &Args,
    taped: bool,
    mut node: Running,
    venue: &exchange::Running,
    step: &Arc<Step>,
    stop: &Stop,
) -> Result<Running> {
    let over = |node: &Running| stop.is_raised() || node.stop.is_raised() || venue.is_over();
    let ready = wait(READY_WITHIN, || node.is_ready() || over(&node));
    if !ready && !over(&node) {
        let links = [Cell::PublicLink, Cell::PrivateLink, Cell::TradeLink, Cell::Reconciled].map(|c| node.board.get(c));
        let _ = node.finish();
        bail!(
            "public, private, trade link and account did not stand within {} s: {links:?} where 2, 2, 2, 1 was expected",
            READY_WITHIN.as_secs()
        );
    }
    arm(args, &mut node, step, &over)?;
    venue.release();
    if !args.json {
        println!("keel demo: throw-away keys, an exchange of its own on {}; Ctrl-C ends it", venue.address);
        if let Some(http) = node.http {
            println!("metrics on http://{http}/metrics, health on http://{http}/healthz");
        }
    }
    let watch = Stopwatch::new();
    let from = watch.ticks();
    let seconds = args.seconds.or((!taped).then_some(SECONDS));
    let lockstep = matches!(args.speed, Speed::Max);
    let mut line = StatusLine::new(!args.json);
    while !over(&node) && !venue.ended() {
        let elapsed = seconds_since(&watch, from);
        #[allow(clippy::cast_precision_loss, reason = "seconds for people")]
        if !lockstep && seconds.is_some_and(|seconds| elapsed >= seconds as f64) {
            break;
        }
        line.show(elapsed, &node.board);
        nap(LOOK);
    }
    line.end();
    node.command(CommandKind::Shutdown, "demo")?;
    wait(QUIET_WITHIN, || (node.board.get(Cell::OpenOrders) == 0 && ended(&node)) || node.stop.is_raised());
    Ok(node)
}

/// Signs for two people who do not exist, for the state of the brake they would have seen.
fn arm(args: &Args, node: &mut Running, step: &Step, over: &dyn Fn(&Running) -> bool) -> Result<()> {
    let people = Throwaway::new(args.seed);
    for _ in 0..ATTEMPTS {
        let (brake, answered) = (node.board.get(Cell::BrakeVersion), node.board.get(Cell::Answered));
        let limits = u32::try_from(node.board.get(Cell::LimitsVersion)).unwrap_or(0);
        let text = people.arm(brake, limits, node.wall(), "a demonstration with throw-away keys");
        node.bring(DocumentKind::Arm, "demo", &text)?;
        wait(READY_WITHIN, || {
            (node.board.get(Cell::Answered) > answered && (args.speed != Speed::Max || step.has_heard(node)))
                || over(node)
        });
        if node.board.get(Cell::Doubt) == 0 || over(node) {
            return Ok(());
        }
    }
    bail!("the gate did not release the brake: {}", door::doubt_text(node.board.get(Cell::Doubt)))
}

/// The shutdown was taken in: nothing is on its way any more.
fn ended(node: &Running) -> bool {
    node.board.rings().iter().all(|(_, ring)| ring.pushed() == ring.finished())
}

impl Step {
    /// The node has taken in what it was told.
    fn has_heard(&self, node: &Running) -> bool {
        node.board.rings().iter().all(|(_, ring)| ring.pushed() == ring.finished())
    }
}

fn wait(patience: Duration, done: impl Fn() -> bool) -> bool {
    let watch = Stopwatch::new();
    let from = watch.ticks();
    while !done() {
        if seconds_since(&watch, from) > patience.as_secs_f64() {
            return false;
        }
        nap(LOOK);
    }
    true
}

#[allow(clippy::cast_precision_loss, reason = "seconds for people")]
fn seconds_since(watch: &Stopwatch, from: u64) -> f64 {
    watch.nanos(from, watch.ticks()) as f64 / 1e9
}

fn fresh_dir() -> PathBuf {
    let seconds = crate::node::clock::system_wall().millis() / 1000;
    PathBuf::from("keel-data").join(format!("demo-{seconds}-{}", std::process::id()))
}

/// A directory for the throw-away authority, gone with the run.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("keel-demo-{}", std::process::id()));
        std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One line that keeps itself up to date on a terminal, a line every five seconds elsewhere.
struct StatusLine {
    shown: bool,
    terminal: bool,
    next: f64,
}

impl StatusLine {
    fn new(shown: bool) -> Self {
        Self { shown, terminal: std::io::stdout().is_terminal(), next: 0.0 }
    }

    fn show(&mut self, elapsed: f64, board: &Board) {
        if !self.shown || elapsed < self.next {
            return;
        }
        self.next = elapsed + if self.terminal { 0.2 } else { 5.0 };
        let text = status(elapsed, board);
        if self.terminal {
            print!("\r\x1b[2K{text}");
        } else {
            println!("{text}");
        }
        let _ = std::io::stdout().flush();
    }

    fn end(&self) {
        if self.shown && self.terminal {
            println!();
        }
    }
}

fn status(elapsed: f64, board: &Board) -> String {
    use std::fmt::Write;
    let mut text = format!(
        "{elapsed:6.1} s  {} messages  {} sent  {} fills  {} open",
        board.get(Cell::Frames),
        board.get(Cell::Sent),
        board.get(Cell::Fills),
        board.get(Cell::OpenOrders),
    );
    for (symbol, index) in board.symbols().iter().zip(0..) {
        let row = board.row(index);
        let _ = write!(
            text,
            "  {symbol} {} at {} net {:.2}",
            Qty::from_raw(row.position.load(Ordering::Acquire)),
            Px::from_raw(row.mark.load(Ordering::Acquire)),
            Notional::from_raw(row.net.load(Ordering::Acquire)).to_f64(),
        );
    }
    text
}

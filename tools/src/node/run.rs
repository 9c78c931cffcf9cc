//! From a [`Setup`] to a running node, and from a running node to its report.
//!
//! ```text
//!   ask the venue (time, instruments, fees) -> open the journal -> gate, engine, gateway -> rings -> threads
//!   shutdown: command -> cancels -> threads end -> last record -> journal closed -> report
//! ```
//!
//! Everything that can be refused is refused before the first thread starts; nothing half-made is left behind.

use super::board::{Board, Cell};
use super::clock::{Clock, Stopwatch, Virtual};
use super::engine::{EngineAgent, TimedLog};
use super::feed::{FeedAgent, Lines, Means};
use super::http::Http;
use super::inquiry::Inquiry;
use super::journal::JournalAgent;
use super::lockstep::Quiescence;
use super::meter::{Hop, LiveHops, Meter};
use super::metrics::Exporter;
use super::orders::{self, OrdersAgent};
use super::plan::Plan;
use super::rest::{Client, Courier};
use super::scout::{Findings, Scout};
use super::thread::{Idle, Stop, spawn};
use super::wire::{Endpoint, Traffic, Wire, tls};
use super::{Part, Report, Timed, engine};
use anyhow::{Context, Result, bail};
use keel_core::engine::Engine;
use keel_core::event::{Command, CommandKind, Flag, MarketEvent, Start, Stop as Ended};
use keel_core::ids::{Seq, StrategyId, Symbol, Text};
use keel_core::instrument::Instruments;
use keel_core::permit::Log;
use keel_core::ring::{Gauge, Producer, ring};
use keel_core::sizing::Sizing;
use keel_core::strategy::{Quoter, QuoterParams};
use keel_core::units::Now;
use keel_gateway::encode::SelfMatch;
use keel_gateway::sign::Signer;
use keel_gateway::{Gateway, gateway};
use keel_journal::{Options, Reader, Writer};
use keel_risk::{Gate, limits::Limits};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;

/// Slots of the market ring: about a second of a busy market for every instrument.
const MARKET_RING: usize = 8192;
/// Slots of the exec ring.
const EXEC_RING: usize = 4096;
/// Slots of the order ring: every order that may be open, once.
const ORDER_RING: usize = keel_core::orders::MAX_ORDERS;
/// Slots of the command ring.
const COMMAND_RING: usize = 64;
/// Slots of the rings to and from the courier.
const REST_RING: usize = gateway::MAX_CALLS;

/// Addresses of a venue.
#[derive(Clone, Debug)]
pub struct Venue {
    /// REST base.
    pub rest: String,
    /// Market data.
    pub public: String,
    /// Our own stream.
    pub private: String,
    /// Order entry.
    pub trade: String,
    /// The only authority to trust.
    pub authority: Option<PathBuf>,
}

/// Where decisions take their time from.
#[derive(Clone, Debug)]
pub enum Pace {
    /// The machine's clocks.
    Real,
    /// A simulated exchange in lockstep.
    Virtual(Arc<Virtual>),
}

/// Everything a node is made from.
#[derive(Debug)]
pub struct Setup {
    /// The venue.
    pub venue: Venue,
    /// Who we are to it.
    pub signer: Signer,
    /// What to trade.
    pub symbols: Vec<Symbol>,
    /// How market data is subscribed and watched.
    pub feed: keel_feed::session::Config,
    /// Over how many connections, and what else is asked about the market.
    pub lines: Lines,
    /// The journal's directory.
    pub data_dir: PathBuf,
    /// How it is kept.
    pub journal: Options,
    /// Who runs where.
    pub plan: Plan,
    /// Hot threads never rest.
    pub spin: bool,
    /// Seed of every jitter.
    pub seed: u64,
    /// The quoter.
    pub quoter: QuoterParams,
    /// What orders are cut to.
    pub sizing: Sizing,
    /// What no order may exceed.
    pub limits: Limits,
    /// `/metrics` and `/healthz`.
    pub http: Option<SocketAddr>,
    /// Where time comes from.
    pub pace: Pace,
    /// SHA-256 of the configuration.
    pub config: [u8; 32],
}

/// A node at work.
pub struct Running {
    /// Its numbers.
    pub board: Arc<Board>,
    /// When it has dealt with everything, for a lockstep run.
    pub quiescence: Arc<Quiescence>,
    /// Raised when it ends, by whom ever.
    pub stop: Stop,
    /// Where `/metrics` is.
    pub http: Option<SocketAddr>,
    /// Run number.
    pub run: u32,
    command: Producer<Command>,
    threads: Vec<JoinHandle<Vec<Box<dyn Part>>>>,
    clock: Clock,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Running({})", self.run)
    }
}

/// What every agent is built with.
struct Common<'a> {
    setup: &'a Setup,
    instruments: Instruments,
    watch: Stopwatch,
    board: Arc<Board>,
    hops: Arc<LiveHops>,
    traffic: Arc<Traffic>,
    tls: Arc<rustls::ClientConfig>,
    findings: Arc<Findings>,
    run: u32,
}

/// Starts a node.
pub fn start(setup: Setup) -> Result<Running> {
    let client = Client::new(&setup.venue.rest, setup.venue.authority.as_deref())?;
    let inquiry = Inquiry { client: &client, signer: &setup.signer, pace: &setup.pace };
    let instruments = inquiry.instruments(&setup.symbols)?;
    let watch = Stopwatch::new();
    let (mut clock, virtual_clock) = match &setup.pace {
        Pace::Real => (Clock::real(&watch), Arc::default()),
        Pace::Virtual(shared) => (Clock::Virtual(Arc::clone(shared)), Arc::clone(shared)),
    };
    let tls = tls(setup.venue.authority.as_deref())?;
    let (board, hops) = (Arc::new(Board::default()), Arc::new(LiveHops::default()));
    let http = http(&setup, &board, &hops)?;
    let (mut writer, keeper) = open_journal(&setup)?;
    let run = next_run(&setup.data_dir)?;
    first_records(&mut writer, clock.now(), run, &setup, &instruments)?;

    let traffic = Arc::new(Traffic::default());
    let common = Common { setup: &setup, instruments, watch, board, hops, traffic, tls, findings: Arc::default(), run };
    let (market, market_in, market_gauge) = ring(MARKET_RING);
    let (exec, exec_in, exec_gauge) = ring(EXEC_RING);
    let (order, order_in, order_gauge) = ring(ORDER_RING);
    let (command, command_in, command_gauge) = ring(COMMAND_RING);
    let (asked, asked_in, asked_gauge) = ring(REST_RING);
    let (answered, answered_in, answered_gauge) = ring(REST_RING);
    let gauges = [
        ("market", market_gauge),
        ("exec", exec_gauge),
        ("order", order_gauge),
        ("command", command_gauge),
        ("rest_request", asked_gauge),
        ("rest_answer", answered_gauge),
    ];
    common.name(&gauges);
    let address = http.as_ref().map(Http::address).transpose()?;
    let mut cast: Vec<(&str, Box<dyn Part>)> = vec![
        ("feed", Box::new(common.feed(market)?)),
        (
            "engine",
            Box::new(
                common
                    .engine(writer, engine::Rings { market: market_in, exec: exec_in, command: command_in, order })?,
            ),
        ),
        (
            "orders",
            Box::new(
                common.orders(clock.now(), orders::Rings { order: order_in, exec, asked, answered: answered_in })?,
            ),
        ),
        ("journal", Box::new(JournalAgent::new(keeper, Arc::clone(&common.board)))),
    ];
    cast.extend(http.map(|http| ("http", Box::new(http) as Box<dyn Part>)));

    let stop = Stop::default();
    let scout = common.scout(&client);
    let (mut threads, seen) = raise_curtain(&setup, &clock, &stop, cast, Courier::new(client, asked_in, answered))?;
    if let Some(scout) = scout {
        let scout: Vec<Box<dyn Part>> = vec![Box::new(scout)];
        threads.push(spawn("scout", None, Idle::Rest, clock.clone(), &stop, Arc::default(), scout)?);
    }
    let (board, traffic) = (common.board, common.traffic);
    let rings = gauges.into_iter().map(|(_, gauge)| gauge).collect();
    let quiescence = Arc::new(Quiescence { clock: virtual_clock, traffic, rings, seen });
    Ok(Running { board, quiescence, stop, http: address, run, command, threads, clock })
}

impl Common<'_> {
    fn meter(&self, hop: Hop) -> Meter {
        Meter::new(hop, &self.hops)
    }

    fn wire(&self, url: &str) -> Result<Wire> {
        Ok(Wire::new(Endpoint::new(url, &self.tls)?, Arc::clone(&self.traffic)))
    }

    fn name(&self, gauges: &[(&'static str, Gauge)]) {
        self.board.name_rows(self.instruments.rows().iter().map(|row| row.symbol.as_str().to_owned()).collect());
        self.board.name_rings(gauges.to_vec());
    }

    fn feed(&self, market: Producer<Timed<MarketEvent>>) -> Result<FeedAgent> {
        let lines = &self.setup.lines;
        let wire = |url: &str| Ok(self.wire(url)?.stamped(lines.stamps));
        let wires = (0..lines.connections).map(|_| wire(&self.setup.venue.public)).collect::<Result<Vec<_>>>()?;
        let status = lines.status.as_deref().map(|url| self.wire(url)).transpose()?;
        let (kernel, decode) = (self.meter(Hop::Kernel), self.meter(Hop::Decode));
        let means = Means { wires, status, market, kernel, decode };
        let (watch, board, findings) = (self.watch.clone(), Arc::clone(&self.board), Arc::clone(&self.findings));
        FeedAgent::new(self.setup.feed, &self.instruments, means, watch, board, findings)
    }

    /// Who asks the venue for its time and its instruments, when anyone does.
    fn scout(&self, client: &Client) -> Option<Scout> {
        let (rounds, findings) = (self.setup.lines.rounds?, Arc::clone(&self.findings));
        Some(Scout::new(client.clone(), self.instruments.clone(), rounds, findings, self.watch.clone()))
    }

    fn engine(&self, writer: Writer, rings: engine::Rings) -> Result<EngineAgent<Quoter>> {
        let gate = Gate::new(self.setup.limits.clone(), &self.instruments, None).map_err(|why| {
            anyhow::anyhow!("limits: {why:?} does not fit; see the ranges in the documentation of Limits")
        })?;
        let log = TimedLog::new(writer, self.watch.clone(), self.meter(Hop::Journal));
        let quoter = Quoter::new(StrategyId(0), self.setup.quoter);
        let core = Engine::new(&self.instruments, self.run, quoter, self.setup.sizing, gate, log);
        let meters = [Hop::Queue, Hop::Decide, Hop::Absorb].map(|hop| self.meter(hop));
        Ok(EngineAgent::new(core, rings, self.watch.clone(), meters, Arc::clone(&self.board)))
    }

    fn orders(&self, now: Now, rings: orders::Rings) -> Result<OrdersAgent> {
        let room = gateway::Config {
            run: self.run,
            self_match: SelfMatch::CancelMaker,
            executions_since: now.wall,
            guarded: false,
            seed: self.setup.seed.wrapping_add(1),
        };
        let gateway = Gateway::new(self.setup.signer.clone(), &self.instruments, &room);
        let (private, trade) = (self.wire(&self.setup.venue.private)?, self.wire(&self.setup.venue.trade)?);
        let meters = orders::Meters {
            handoff: self.meter(Hop::Handoff),
            encode: self.meter(Hop::Encode),
            send: self.meter(Hop::Send),
            wire_to_wire: self.meter(Hop::WireToWire),
        };
        Ok(OrdersAgent::new(gateway, rings, private, trade, meters, self.watch.clone(), Arc::clone(&self.board)))
    }
}

fn http(setup: &Setup, board: &Arc<Board>, hops: &Arc<LiveHops>) -> Result<Option<Http>> {
    let exporter = || Exporter::new(Arc::clone(board), Arc::clone(hops));
    setup.http.map(|listen| Http::new(listen, Arc::clone(board), exporter())).transpose()
}

type Threads = Vec<JoinHandle<Vec<Box<dyn Part>>>>;

/// Puts every agent on its thread; the courier, who may block, on one of its own.
fn raise_curtain(
    setup: &Setup,
    clock: &Clock,
    stop: &Stop,
    mut cast: Vec<(&str, Box<dyn Part>)>,
    courier: Courier,
) -> Result<(Threads, Vec<Arc<AtomicU64>>)> {
    let (mut threads, mut seen) = (Vec::new(), Vec::new());
    for thread in &setup.plan.threads {
        let mut agents: Vec<Box<dyn Part>> = Vec::new();
        for name in &thread.agents {
            if let Some(at) = cast.iter().position(|(have, _)| have == name) {
                agents.push(cast.remove(at).1);
            }
        }
        let idle = match (thread.is_hot(), setup.spin) {
            (true, true) => Idle::Spin,
            (true, false) => Idle::Yield,
            (false, _) => Idle::Rest,
        };
        let noticed = Arc::new(AtomicU64::new(0));
        if thread.is_hot() {
            seen.push(Arc::clone(&noticed));
        }
        let name = thread.agents.join("+");
        threads.push(spawn(&name, thread.cpu, idle, clock.clone(), stop, noticed, agents)?);
    }
    let courier: Vec<Box<dyn Part>> = vec![Box::new(courier)];
    threads.push(spawn("rest", None, Idle::Rest, clock.clone(), stop, Arc::default(), courier)?);
    Ok((threads, seen))
}

fn open_journal(setup: &Setup) -> Result<(Writer, keel_journal::Keeper)> {
    Writer::open(&setup.data_dir, setup.journal).map_err(|why| {
        anyhow::anyhow!(
            "the journal in {} cannot be opened: {why}; `keel verify {0}` says more, another --data-dir begins a new one",
            setup.data_dir.display()
        )
    })
}

/// One more than the highest run in the journal. Ids of its orders start with it, so it is never guessed.
fn next_run(dir: &Path) -> Result<u32> {
    let mut reader = Reader::open(dir).map_err(|why| anyhow::anyhow!("reading {}: {why}", dir.display()))?;
    let mut run = 0;
    while let Some(entry) = reader.poll().map_err(|why| anyhow::anyhow!("reading {}: {why}", dir.display()))? {
        if entry.kind == Some(keel_core::event::Kind::Start) {
            let start: Start = keel_core::event::read(entry.payload).context("a start record that cannot be read")?;
            run = run.max(start.run);
        }
    }
    run.checked_add(1).context("every run number is used up; begin a new journal")
}

fn first_records(writer: &mut Writer, now: Now, run: u32, setup: &Setup, instruments: &Instruments) -> Result<()> {
    let start = Start {
        mono: now.mono,
        wall: now.wall,
        seed: setup.seed,
        run,
        pid: std::process::id(),
        config: setup.config,
        build: Text::new(env!("CARGO_PKG_VERSION").as_bytes()).unwrap_or_default(),
    };
    let full = |fault| anyhow::anyhow!("the journal in {} took no record: {fault:?}", setup.data_dir.display());
    let cause = writer.fact(now, Seq::NONE, &start).map_err(full)?;
    for row in instruments.rows() {
        writer.fact(now, cause, row).map_err(full)?;
    }
    Ok(())
}

impl Running {
    /// Asks the engine something through the front door.
    pub fn command(&mut self, kind: CommandKind, author: &str) -> Result<()> {
        let author = Text::new(author.as_bytes()).with_context(|| format!("{author:?} is no name for an author"))?;
        let recv = self.clock.now().mono;
        let command = Command { recv, author, kind, authenticated: Flag::Yes, ..Command::default() };
        self.command.push(command).map_err(|_| anyhow::anyhow!("the engine is not taking commands"))
    }

    /// Links up and the account compared: trading may begin.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let links = [Cell::PublicLink, Cell::PrivateLink, Cell::TradeLink];
        links.iter().all(|link| self.board.get(*link) == 2) && self.board.get(Cell::Reconciled) == 1
    }

    /// Ends the threads, writes the last record and closes the journal.
    pub fn finish(mut self) -> Result<Report> {
        self.stop.raise();
        let mut report = Report::default();
        for thread in std::mem::take(&mut self.threads) {
            let name = thread.thread().name().unwrap_or("?").to_owned();
            let parts =
                thread.join().map_err(|_| anyhow::anyhow!("thread {name} panicked; its message stands above"))?;
            parts.into_iter().for_each(|part| part.finish(&mut report));
        }
        let (writer, keeper) = (report.writer.take(), report.keeper.take());
        let (Some(mut writer), Some(keeper)) = (writer, keeper) else { bail!("the journal was lost with a thread") };
        let now = self.clock.now();
        let open_orders = u32::try_from(report.open_orders).unwrap_or(u32::MAX);
        let last = Ended { mono: now.mono, wall: now.wall, open_orders, pad: 0 };
        writer.fact(now, Seq::NONE, &last).map_err(|why| anyhow::anyhow!("the last record: {why:?}"))?;
        report.records = writer.head().0;
        keeper.finish(writer).context("closing the journal")?;
        Ok(report)
    }
}

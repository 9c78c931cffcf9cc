//! From a [`Setup`] to a running node, and from a running node to its report.
//!
//! ```text
//!   ask the venue (time, instruments, fees) -> open the journal -> gate, engine, gateway -> rings -> threads
//!   shutdown: command -> cancels -> threads end -> last record -> journal closed -> report
//! ```
//!
//! Everything that can be refused is refused before the first thread starts; nothing half-made is left behind.

use super::beat::{self, Beat};
use super::board::{Board, Cell};
use super::clock::{Clock, Stopwatch, Virtual};
use super::engine::{EngineAgent, TimedLog};
use super::feed::FeedAgent;
use super::genesis::{Character, Genesis};
use super::http::Http;
use super::inquiry::Inquiry;
use super::journal::JournalAgent;
use super::lockstep::Quiescence;
use super::meter::{Hop, LiveHops, Meter};
use super::metrics::Exporter;
use super::orders::{self, OrdersAgent};
use super::plan::Plan;
use super::rest::{Client, Courier};
use super::restart::{Past, Succession};
use super::thread::{Idle, Stop, spawn};
use super::wire::{Endpoint, Traffic, Wire, tls};
use super::{Part, Report, Timed, account, engine};
use crate::replay::story::Opening;
use anyhow::{Context, Result, bail};
use keel_core::event::{Command, CommandKind, Flag, MarketEvent, Start, Stop as Ended};
use keel_core::ids::{Seq, StrategyId, Symbol, Text};
use keel_core::instrument::Instruments;
use keel_core::permit::Log;
use keel_core::ring::{Gauge, Producer, ring};
use keel_core::sizing::Sizing;
use keel_core::strategy::{Quoter, QuoterParams};
use keel_core::units::{Now, Wall};
use keel_gateway::account::{Finding, Policy};
use keel_gateway::encode::SelfMatch;
use keel_gateway::sign::Signer;
use keel_gateway::{Gateway, gateway};
use keel_journal::{Options, Writer};
use keel_risk::limits::Limits;
use std::net::SocketAddr;
use std::path::PathBuf;
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
    /// What the account must be before an order may leave; `None` asks nothing.
    pub policy: Option<Policy>,
    /// The node is to be armed: findings refuse the start.
    pub arming: bool,
    /// Seconds of silence after which the venue itself is to cancel everything.
    pub disconnect: Option<u16>,
    /// Where the heartbeat for the dead man's switch is; `None` strikes none.
    pub beat: Option<PathBuf>,
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
    /// Why this account may not go live.
    pub findings: Vec<Finding>,
    beat: Option<Arc<Beat>>,
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
    run: u32,
    opening: Opening,
    guarded: bool,
    beat: Option<Arc<Beat>>,
}

/// Starts a node.
pub fn start(setup: Setup) -> Result<Running> {
    let client = Client::new(&setup.venue.rest, setup.venue.authority.as_deref())?;
    let inquiry = Inquiry { client: &client, signer: &setup.signer, pace: &setup.pace };
    let instruments = inquiry.instruments(&setup.symbols)?;
    let findings =
        setup.policy.as_ref().map_or(Vec::new(), |policy| account::findings(&inquiry, policy, &setup.symbols));
    match account::require(&findings) {
        Err(why) if !setup.arming => tracing::warn!("{why:#}"),
        checked => checked?,
    }
    let guarded = setup.disconnect.is_some_and(|seconds| account::arm_disconnect(&inquiry, seconds));
    let watch = Stopwatch::new();
    let (mut clock, virtual_clock) = match &setup.pace {
        Pace::Real => (Clock::real(&watch), Arc::default()),
        Pace::Virtual(shared) => (Clock::Virtual(Arc::clone(shared)), Arc::clone(shared)),
    };
    let tls = tls(setup.venue.authority.as_deref())?;
    let (board, hops) = (Arc::new(Board::default()), Arc::new(LiveHops::default()));
    let http = http(&setup, &board, &hops)?;
    let (mut writer, keeper) = open_journal(&setup)?;
    // one moment for all of it: it stands in the first record, and who replays the run begins at the same
    let now = clock.now();
    let past = Past::read(&setup.data_dir)?;
    let first = if matches!(setup.pace, Pace::Real) { now.wall } else { Wall::default() };
    let run = past.next_run(first)?;
    let succession = past.succeed(run, now, &instruments)?;
    let genesis = genesis(&setup, &succession);
    let begun = first_records(&mut writer, now, run, &setup, &instruments, &genesis)?;
    succession.record(&mut writer, &setup.data_dir, now, begun)?;
    let opening = Opening::at(&setup.data_dir, begun).context("reading back the first records of this run")?;

    let beat = setup.beat.as_deref().map(Beat::begin).transpose()?.map(Arc::new);
    let traffic = Arc::new(Traffic::default());
    let common = Common { setup: &setup, instruments, watch, board, hops, traffic, tls, run, opening, guarded, beat };
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
            Box::new(common.orders(
                clock.now(),
                orders::Rings { order: order_in, exec, asked, answered: answered_in },
                &succession,
            )?),
        ),
        ("journal", Box::new(JournalAgent::new(keeper, Arc::clone(&common.board)))),
    ];
    cast.extend(http.map(|http| ("http", Box::new(http) as Box<dyn Part>)));

    let stop = Stop::default();
    let (threads, seen) = raise_curtain(&setup, &clock, &stop, cast, Courier::new(client, asked_in, answered))?;
    let (board, traffic, beat) = (common.board, common.traffic, common.beat);
    let rings = gauges.into_iter().map(|(_, gauge)| gauge).collect();
    let quiescence = Arc::new(Quiescence { clock: virtual_clock, traffic, rings, seen });
    Ok(Running { board, quiescence, stop, http: address, run, findings, beat, command, threads, clock })
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
        let (wire, decode) = (self.wire(&self.setup.venue.public)?, self.meter(Hop::Decode));
        let (watch, board) = (self.watch.clone(), Arc::clone(&self.board));
        FeedAgent::new(self.setup.feed, &self.instruments, wire, market, decode, watch, board)
    }

    fn engine(&self, writer: Writer, rings: engine::Rings) -> Result<EngineAgent<Quoter>> {
        let log = TimedLog::new(writer, self.watch.clone(), self.meter(Hop::Journal));
        let core = self.opening.engine(log)?;
        let meters = [Hop::Queue, Hop::Decide, Hop::Absorb].map(|hop| self.meter(hop));
        Ok(EngineAgent::new(core, rings, self.watch.clone(), meters, Arc::clone(&self.board))
            .beating(self.beat.clone()))
    }

    fn orders(&self, now: Now, rings: orders::Rings, past: &Succession) -> Result<OrdersAgent> {
        let room = gateway::Config {
            run: self.run,
            self_match: SelfMatch::CancelMaker,
            executions_since: past.known_to,
            guarded: self.guarded,
            seed: self.setup.seed.wrapping_add(1),
        };
        let mut gateway = Gateway::new(self.setup.signer.clone(), &self.instruments, &room);
        for row in past.desk.orders.open() {
            gateway.adopt(now, row, now.mono.since(row.asked));
        }
        let (private, trade) = (self.wire(&self.setup.venue.private)?, self.wire(&self.setup.venue.trade)?);
        let meters = orders::Meters {
            handoff: self.meter(Hop::Handoff),
            encode: self.meter(Hop::Encode),
            send: self.meter(Hop::Send),
            wire_to_wire: self.meter(Hop::WireToWire),
        };
        let agent =
            OrdersAgent::new(gateway, rings, private, trade, meters, self.watch.clone(), Arc::clone(&self.board));
        Ok(agent.beating(self.beat.clone()))
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

/// Everything the engine is made from, before it is made.
fn genesis(setup: &Setup, past: &Succession) -> Genesis {
    let character = Character { id: StrategyId(0), quoter: setup.quoter, sizing: setup.sizing };
    Genesis { limits: setup.limits.clone(), scenarios: None, character, fortune: past.fortune }
}

fn first_records(
    writer: &mut Writer,
    now: Now,
    run: u32,
    setup: &Setup,
    instruments: &Instruments,
    genesis: &Genesis,
) -> Result<Seq> {
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
    genesis.record(writer, now, cause, instruments).map_err(full)?;
    Ok(cause)
}

impl Running {
    /// Asks the engine something through the front door.
    pub fn command(&mut self, kind: CommandKind, author: &str) -> Result<()> {
        if kind == CommandKind::Arm {
            account::require(&self.findings)?;
        }
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
            // the engine is back: who watches need not wait for the courier and for the journal's last page
            if let (Some(beat), Some(_), 0) = (&self.beat, &report.writer, report.open_orders) {
                beat.state_is(beat::State::AtRest);
            }
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

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
use super::door::Door;
use super::engine::{EngineAgent, Petition, TimedLog};
use super::feed::{FeedAgent, Lines, Means};
use super::http::Http;
use super::inquiry::Inquiry;
use super::journal::JournalAgent;
use super::lockstep::Quiescence;
use super::meter::{Hop, LiveHops, Meter};
use super::metrics::Exporter;
use super::money::{Known, Teller, Terms};
use super::orders::{self, OrdersAgent};
use super::plan::Plan;
use super::rest::{Answered, Asked as Question, Client, Courier};
use super::scout::{Findings, Scout};
use super::surveil::SurveilAgent;
use super::takeover::{self, Takeover};
use super::thread::{Idle, Place, Stop, keep_off, spawn};
use super::wire::{Endpoint, Traffic, Wire, tls};
use super::{Part, Report, Timed, account, engine, scenarios};
use crate::compliance::terms::Files;
use anyhow::{Context, Result, bail};
use keel_core::event::{Command, CommandKind, Document, DocumentKind, Flag, MarketEvent, Stop as Ended};
use keel_core::ids::{Seq, StrategyId, Symbol, Text};
use keel_core::instrument::Instruments;
use keel_core::permit::Log;
use keel_core::ring::{Consumer, Gauge, Producer, ring};
use keel_core::sizing::Sizing;
use keel_core::strategy::{Quoter, QuoterParams, Strategy};
use keel_core::units::Wall;
use keel_gateway::account::{Finding, Policy};
use keel_gateway::encode::SelfMatch;
use keel_gateway::sign::Signer;
use keel_gateway::{Gateway, gateway};
use keel_journal::{Options, Writer};
use keel_risk::consent::Name;
use keel_risk::{Scenarios, limits::Limits};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::Duration;

/// Slots of the market ring between two threads: about a second of a busy market for every instrument.
const MARKET_RING: usize = 8192;
/// The same on one thread, where the engine empties it after each frame: the largest frame several times over, and small
/// enough to stay near the CPU.
const MARKET_RING_SHARED: usize = 1024;
/// Slots of the exec ring.
const EXEC_RING: usize = 4096;
/// Slots of the order ring: every order that may be open, once.
const ORDER_RING: usize = keel_core::orders::MAX_ORDERS;
/// Slots of the command ring.
const COMMAND_RING: usize = 64;
/// Slots of the rings to and from the courier.
const REST_RING: usize = gateway::MAX_CALLS;

/// How long a cold thread sleeps at first; see [`Idle::Rest`].
const NAP: Duration = Duration::from_millis(10);
/// The courier's: someone waits for its answer.
const COURIER_NAP: Duration = Duration::from_millis(4);

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
    /// What no order may exceed, until people sign a later version.
    pub limits: Limits,
    /// What value at risk is taken over; needed when the limits bound it.
    pub scenarios: scenarios::Source,
    /// Names and public keys of those who may release the brake and change the limits.
    pub people: Vec<(Name, [u8; 32])>,
    /// `/metrics` and `/healthz`.
    pub http: Option<SocketAddr>,
    /// Where time comes from.
    pub pace: Pace,
    /// What the account must be before an order may leave; `None` asks nothing.
    pub policy: Option<Policy>,
    /// Start on an account that may not go live: to watch, with a brake nobody can release.
    pub watching: bool,
    /// Seconds of silence after which the venue itself is to cancel everything.
    pub disconnect: Option<u16>,
    /// What money and which account are watched by; `None` watches neither.
    pub terms: Option<Terms>,
    /// Where the heartbeat for the dead man's switch is; `None` strikes none.
    pub beat: Option<PathBuf>,
    /// What surveillance watches by; `None` runs none.
    pub surveillance: Option<Files>,
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
    command: Producer<Petition>,
    threads: Vec<JoinHandle<Vec<Box<dyn Part>>>>,
    clock: Clock,
    hot_cpus: Vec<usize>,
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
    taken: Takeover,
    guarded: bool,
    beat: Option<Arc<Beat>>,
}

/// Starts a node that quotes.
pub fn start(setup: Setup) -> Result<Running> {
    let quoter = Quoter::new(StrategyId(0), setup.quoter);
    start_with(setup, quoter)
}

/// Starts a node with a strategy of one's own.
pub fn start_with<S: Strategy + Send + 'static>(setup: Setup, strategy: S) -> Result<Running> {
    let client = Client::new(&setup.venue.rest, setup.venue.authority.as_deref())?;
    let venue = ask(&setup, &client)?;
    let watch = Stopwatch::new();
    let (mut clock, virtual_clock) = clocks(&setup, &watch);
    let tls = tls(setup.venue.authority.as_deref())?;
    let (board, hops) = (Arc::new(Board::default()), Arc::new(LiveHops::default()));
    let http = http(&setup, &board, &hops)?;
    let (taken, writer, keeper) = takeover::begin(&setup, &venue.instruments, venue.scenarios, &mut clock)?;
    let beat = setup.beat.as_deref().map(Beat::begin).transpose()?.map(Arc::new);
    let common = Common {
        setup: &setup,
        instruments: venue.instruments,
        watch,
        board,
        hops,
        traffic: Arc::default(),
        tls,
        findings: Arc::default(),
        taken,
        guarded: venue.guarded,
        beat,
    };
    let (ends, gauges) = rings(&setup.plan);
    common.name(&gauges);
    let address = http.as_ref().map(Http::address).transpose()?;
    let teller = common.teller(&client, ends.told)?;
    let door = Door::open(&setup.data_dir, ends.knock, Arc::clone(&common.board))?;
    let door = door.unless(account::require(&venue.findings).err());
    let mut cast: Vec<(&str, Box<dyn Part>)> = vec![
        ("feed", Box::new(common.feed(ends.market)?)),
        ("engine", Box::new(common.engine(writer, strategy, ends.engine)?)),
        ("orders", Box::new(common.orders(ends.orders)?)),
        ("journal", Box::new(JournalAgent::new(keeper, Arc::clone(&common.board)))),
    ];
    cast.extend(http.map(|http| ("http", Box::new(http) as Box<dyn Part>)));
    let mut aside: Vec<(Duration, Box<dyn Part>)> = vec![(NAP, Box::new(door))];
    aside.extend(common.scout(&client).map(|scout| (NAP, Box::new(scout) as Box<dyn Part>)));
    if let Some(files) = setup.surveillance.clone() {
        let surveil = SurveilAgent::new(&setup.data_dir, files, ends.alarm, Arc::clone(&common.board))?;
        aside.push((NAP, Box::new(surveil)));
    }
    aside.extend(teller.map(|teller| (NAP, Box::new(teller) as Box<dyn Part>)));
    aside.push((COURIER_NAP, Box::new(Courier::new(client, ends.asked, ends.answered))));

    let stop = Stop::default();
    let (threads, seen) = raise_curtain(&setup, &clock, &stop, cast, aside)?;
    let Common { board, traffic, beat, taken, .. } = common;
    let rings = gauges.into_iter().map(|(_, gauge)| gauge).collect();
    let quiescence = Arc::new(Quiescence { clock: virtual_clock, traffic, rings, seen });
    let (run, findings, command, hot_cpus) = (taken.run, venue.findings, ends.command, setup.plan.hot_cpus());
    Ok(Running { board, quiescence, stop, http: address, run, findings, beat, command, threads, clock, hot_cpus })
}

/// What the venue said before the journal was opened.
struct Asked {
    instruments: Instruments,
    scenarios: Option<Scenarios>,
    findings: Vec<Finding>,
    guarded: bool,
}

/// Asks the venue for its instruments and for what the account may do; refuses on an account that may not trade.
fn ask(setup: &Setup, client: &Client) -> Result<Asked> {
    let inquiry = Inquiry { client, signer: &setup.signer, pace: &setup.pace };
    let instruments = inquiry.instruments(&setup.symbols)?;
    let scenarios = setup.scenarios.load(&inquiry, &instruments)?;
    let findings =
        setup.policy.as_ref().map_or(Vec::new(), |policy| account::findings(&inquiry, policy, &setup.symbols));
    match account::require(&findings) {
        Err(why) if setup.watching => tracing::warn!("{why:#}; it watches, and its brake cannot be released"),
        checked => checked?,
    }
    let guarded = setup.disconnect.is_some_and(|seconds| account::arm_disconnect(&inquiry, seconds));
    Ok(Asked { instruments, scenarios, findings, guarded })
}

/// The clock decisions are taken by, and the virtual one behind it.
fn clocks(setup: &Setup, watch: &Stopwatch) -> (Clock, Arc<Virtual>) {
    match &setup.pace {
        Pace::Real => (Clock::real(watch), Arc::default()),
        Pace::Virtual(shared) => (Clock::Virtual(Arc::clone(shared)), Arc::clone(shared)),
    }
}

/// The ends of every ring, by who holds them.
struct Ends {
    market: Producer<Timed<MarketEvent>>,
    engine: engine::Rings,
    orders: orders::Rings,
    command: Producer<Petition>,
    knock: Producer<Petition>,
    alarm: Producer<Petition>,
    told: Producer<Petition>,
    asked: Consumer<Question>,
    answered: Producer<Answered>,
}

fn rings(plan: &Plan) -> (Ends, [(&'static str, Gauge); 9]) {
    let shared = plan.share("feed", "engine");
    let (market, market_in, market_gauge) = ring(if shared { MARKET_RING_SHARED } else { MARKET_RING });
    let (exec, exec_in, exec_gauge) = ring(EXEC_RING);
    let (order, order_in, order_gauge) = ring(ORDER_RING);
    let (command, command_in, command_gauge) = ring(COMMAND_RING);
    let (knock, knock_in, knock_gauge) = ring(COMMAND_RING);
    let (alarm, alarm_in, alarm_gauge) = ring(COMMAND_RING);
    let (told, told_in, told_gauge) = ring(COMMAND_RING);
    let (asked, asked_in, asked_gauge) = ring(REST_RING);
    let (answered, answered_in, answered_gauge) = ring(REST_RING);
    let gauges = [
        ("market", market_gauge),
        ("exec", exec_gauge),
        ("order", order_gauge),
        ("command", command_gauge),
        ("door", knock_gauge),
        ("surveillance", alarm_gauge),
        ("teller", told_gauge),
        ("rest_request", asked_gauge),
        ("rest_answer", answered_gauge),
    ];
    let engine =
        engine::Rings { market: market_in, exec: exec_in, command: [command_in, knock_in, alarm_in, told_in], order };
    let orders = orders::Rings { order: order_in, exec, asked, answered: answered_in };
    (Ends { market, engine, orders, command, knock, alarm, told, asked: asked_in, answered }, gauges)
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

    /// Who asks the venue for money and the account, when anyone does. The account is read here and now.
    fn teller(&self, client: &Client, told: Producer<Petition>) -> Result<Option<Teller>> {
        let (Some(terms), Pace::Real) = (self.setup.terms.clone(), &self.setup.pace) else { return Ok(None) };
        let (known, bound) = (Known::read(&self.setup.data_dir)?, terms.policy.is_some() && !self.setup.watching);
        let (signer, board) = (self.setup.signer.clone(), Arc::clone(&self.board));
        let mut teller = Teller::new(client.clone(), signer, terms, known, told, board);
        match teller.begin(self.taken.begun) {
            Err(why) if bound => return Err(why),
            Err(why) => tracing::warn!("{why:#}; asked again"),
            Ok(()) => {}
        }
        Ok(Some(teller))
    }

    fn engine<S: Strategy>(&self, writer: Writer, strategy: S, rings: engine::Rings) -> Result<EngineAgent<S>> {
        let log = TimedLog::new(writer, self.watch.clone(), self.meter(Hop::Journal));
        let core = self.taken.engine(&self.instruments, strategy, log)?;
        let meters = [Hop::Queue, Hop::Decide, Hop::Absorb].map(|hop| self.meter(hop));
        Ok(EngineAgent::new(core, rings, self.watch.clone(), meters, Arc::clone(&self.board))
            .beating(self.beat.clone()))
    }

    fn orders(&self, rings: orders::Rings) -> Result<OrdersAgent> {
        let (now, past) = (self.taken.begun, &self.taken.succession);
        let room = gateway::Config {
            run: self.taken.run,
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

/// Puts every agent on its thread; the courier, who may block, and the door, whom nobody may block, on threads of their own.
fn raise_curtain(
    setup: &Setup,
    clock: &Clock,
    stop: &Stop,
    mut cast: Vec<(&str, Box<dyn Part>)>,
    aside: Vec<(Duration, Box<dyn Part>)>,
) -> Result<(Threads, Vec<Arc<AtomicU64>>)> {
    let (mut threads, mut seen) = (Vec::new(), Vec::new());
    let off = || Place::Off(setup.plan.hot_cpus());
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
            (false, _) => Idle::Rest(NAP),
        };
        let noticed = Arc::new(AtomicU64::new(0));
        if thread.is_hot() {
            seen.push(Arc::clone(&noticed));
        }
        let name = thread.agents.join("+");
        let place = thread.cpu.map_or_else(off, Place::On);
        threads.push(spawn(&name, place, idle, clock.clone(), stop, noticed, agents)?);
    }
    for (nap, agent) in aside {
        let name = agent.name();
        threads.push(spawn(name, off(), Idle::Rest(nap), clock.clone(), stop, Arc::default(), vec![agent])?);
    }
    Ok((threads, seen))
}

impl Running {
    /// Keeps the calling thread, which only waits, off the CPUs of the hot path.
    pub fn stand_aside(&self) {
        keep_off(&self.hot_cpus);
    }

    /// Asks the engine something through the front door.
    pub fn command(&mut self, kind: CommandKind, author: &str) -> Result<()> {
        let author = Text::new(author.as_bytes()).with_context(|| format!("{author:?} is no name for an author"))?;
        let recv = self.clock.now().mono;
        let command = Command { recv, author, kind, authenticated: Flag::Yes, ..Command::default() };
        self.push(Petition::Command(command))
    }

    /// Brings a signed document to the engine.
    pub fn bring(&mut self, kind: DocumentKind, author: &str, text: &[u8]) -> Result<()> {
        if kind == DocumentKind::Arm {
            account::require(&self.findings)?;
        }
        let author = Text::new(author.as_bytes()).with_context(|| format!("{author:?} is no name for an author"))?;
        let recv = self.clock.now().mono;
        let parts = Document::cut(recv, author, kind, text).context("a document that is empty or too long")?;
        parts.into_iter().try_for_each(|part| self.push(Petition::Document(part)))
    }

    fn push(&mut self, petition: Petition) -> Result<()> {
        self.command.push(petition).map_err(|_| anyhow::anyhow!("the engine is not taking commands"))
    }

    /// The wall clock decisions are taken by.
    pub fn wall(&mut self) -> Wall {
        self.clock.now().wall
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
        let unrecorded = u32::try_from(report.counts.unrecorded).unwrap_or(u32::MAX);
        let last = Ended { mono: now.mono, wall: now.wall, open_orders, unrecorded };
        writer.fact(now, Seq::NONE, &last).map_err(|why| anyhow::anyhow!("the last record: {why:?}"))?;
        report.records = writer.head().0;
        keeper.finish(writer).context("closing the journal")?;
        Ok(report)
    }
}

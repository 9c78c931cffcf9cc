//! keel and its venue in one thread, on the venue's time: the rooms that trade, stepped by a drill.
//!
//! In: recorded-like market frames, one step after the other. Out: a journal in memory, and the engine at the end. The
//! exchange is the simulated one with its latencies; there are no sockets, so a drill of hours takes seconds and is the same
//! every time. Never: a shortcut past the gate, the journal or the gateway.

use crate::node::clock::Stopwatch;
use anyhow::{Result, anyhow, bail};
use keel_core::engine::{Engine, Input as EngineInput};
use keel_core::event::{Channel, Document, DocumentKind, ExecEvent, MarketEvent, Timer};
use keel_core::ids::{StrategyId, Text};
use keel_core::instrument::{Instrument, Instruments};
use keel_core::sizing::Sizing;
use keel_core::strategy::{Quoter, QuoterParams};
use keel_core::units::{Mono, Now, Wall};
use keel_feed::session::{Config as FeedConfig, Input as FeedInput, Output as FeedOutput, Session, Topics};
use keel_gateway::Gateway;
use keel_gateway::encode::SelfMatch;
use keel_gateway::gateway::{Config as GatewayConfig, Input as GatewayInput, Output as GatewayOutput, RateHeader};
use keel_gateway::rest::{Method, Request};
use keel_gateway::sign::Signer;
use keel_gateway::sim::{Channel as SimChannel, Config, Exchange, Input as SimInput, MarketSource, Output, Spec};
use keel_journal::Writer;
use keel_risk::brake::State;
use keel_risk::limits::Limits;
use keel_risk::throwaway::Throwaway;
use keel_risk::{Gate, Scenarios};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PUBLIC: u64 = 1;
const PRIVATE: u64 = 2;
const TRADE: u64 = 3;
/// Bytes of journal a drill may fill; it ends with an error when it is full.
const JOURNAL: usize = 1 << 30;

#[derive(Debug)]
enum Post {
    ToVenue(u64, Vec<u8>),
    Open(u64),
    Ask(u64, Request),
}

/// What a drill is made with.
#[derive(Debug)]
pub(super) struct Setup {
    /// What trades.
    pub(super) specs: Vec<Spec>,
    /// When it begins.
    pub(super) begins: Wall,
    /// Seed of everything that is luck.
    pub(super) seed: u64,
    /// What no order may exceed.
    pub(super) limits: Limits,
    /// What the strategy may hold and quote.
    pub(super) sizing: Sizing,
    /// How it quotes.
    pub(super) quoter: QuoterParams,
}

/// Both sides and everything between them.
pub(super) struct World {
    /// Our side's heart.
    pub(super) engine: Engine<Quoter, Gate, Writer>,
    venue: Exchange,
    feed: Session,
    gateway: Gateway,
    people: Throwaway,
    now: Now,
    post: VecDeque<Post>,
    market: Vec<MarketEvent>,
    exec: VecDeque<ExecEvent>,
    watch: Stopwatch,
    /// Nanoseconds of this machine's clock the engine's turn took in which everything was first halted after arming.
    pub(super) block_ns: Option<u64>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "World({:?})", self.now.wall)
    }
}

impl World {
    /// Both sides, not yet connected.
    pub(super) fn new(setup: Setup, scenarios: impl FnOnce(&Instruments) -> Result<Scenarios>) -> Result<Self> {
        let symbols = setup.specs.iter().map(|spec| (spec.clone(), MarketSource::Tape)).collect();
        let venue = Exchange::new(Config { symbols, ..Config::default() }, setup.seed);
        let now = Now { mono: Mono::from_nanos(setup.begins.nanos()), wall: setup.begins };
        let fees = |row: Instrument| Instrument { taker_fee: 55_000, maker_fee: 20_000, ..row };
        let instruments = Instruments::new(setup.specs.iter().map(|spec| fees(spec.instrument)))
            .map_err(|(symbol, why)| anyhow!("{symbol}: {why:?}"))?;
        let config = FeedConfig { topics: Topics::default(), seed: setup.seed, ..FeedConfig::default() };
        let feed = Session::new(config, &instruments).map_err(|why| anyhow!("the feed: {why:?}"))?;
        let people = Throwaway::new(setup.seed);
        let gate = Gate::new(setup.limits, &instruments, Some(scenarios(&instruments)?))
            .map_err(|why| anyhow!("limits: {why:?}"))?
            .trusting(people.people());
        let log = Writer::in_memory(JOURNAL)?;
        let quoter = Quoter::new(StrategyId(0), setup.quoter);
        let engine = Engine::new(&instruments, 1, quoter, setup.sizing, gate, log);
        let room = GatewayConfig {
            run: 1,
            self_match: SelfMatch::CancelMaker,
            executions_since: now.wall,
            seed: setup.seed,
            guarded: false,
        };
        let gateway = Gateway::new(Signer::new("demo-key", b"demo-secret"), &instruments, &room);
        let (post, market, exec) = (VecDeque::new(), Vec::new(), VecDeque::new());
        let watch = Stopwatch::new();
        Ok(Self { engine, venue, feed, gateway, people, now, post, market, exec, watch, block_ns: None })
    }

    /// The venue's time.
    #[must_use]
    pub(super) const fn now(&self) -> Now {
        self.now
    }

    /// An administrator's word to the venue.
    pub(super) fn admin(&mut self, line: &str) -> Result<()> {
        self.venue.command(self.now.wall, line).map_err(|why| anyhow!("{line}: {why}"))
    }

    /// Two people who do not exist release the brake.
    pub(super) fn arm(&mut self) -> Result<()> {
        let gate = self.engine.gate();
        let text = self.people.arm(gate.brake().version(), gate.limits().version, self.now.wall, "a drill");
        for part in Document::cut(self.now.mono, Text::EMPTY, DocumentKind::Arm, &text).into_iter().flatten() {
            self.think(&EngineInput::Document(&part));
        }
        self.settle()?;
        let (_, doubt) = self.engine.gate().answered();
        if doubt == keel_risk::consent::Doubt::None { Ok(()) } else { bail!("the drill was not armed: {doubt:?}") }
    }

    /// Do the links stand, and was the account compared?
    #[must_use]
    pub(super) fn is_ready(&self) -> bool {
        self.gateway.is_live() && self.feed.is_up()
    }

    /// The venue shows a frame.
    pub(super) fn show(&mut self, frame: &str) -> Result<()> {
        self.venue.handle(self.now.wall, SimInput::Tape { frame: frame.as_bytes() });
        self.settle()
    }

    /// Lets time pass, in steps of the venue's deadlines and ours.
    pub(super) fn run_until(&mut self, end: Wall) -> Result<()> {
        loop {
            self.timers()?;
            let due = self.venue.deadline().map_or(end, |at| at.min(end));
            let ours = [Some(self.engine.deadline()), self.gateway.deadline(), self.feed.deadline()];
            let ours = ours.into_iter().flatten().min().map_or(end, |at| Wall::from_nanos(at.nanos()));
            let next = due.min(ours).max(self.now.wall.after(1)).min(end);
            self.now = Now { mono: Mono::from_nanos(next.nanos()), wall: next };
            if self.venue.deadline().is_some_and(|at| at <= next) {
                self.venue.handle(next, SimInput::Timer);
            }
            self.settle()?;
            if next >= end {
                return self.timers();
            }
        }
    }

    fn timers(&mut self) -> Result<()> {
        let mono = self.now.mono;
        if self.feed.deadline().is_some_and(|due| mono >= due) {
            self.hear_public(FeedInput::Timer);
        }
        if self.gateway.deadline().is_some_and(|due| mono >= due) {
            self.room(GatewayInput::Timer);
        }
        if mono >= self.engine.deadline() {
            let due = self.engine.deadline();
            self.think(&EngineInput::Timer(Timer { due }));
        }
        self.settle()
    }

    /// Until nothing is under way between the two sides.
    fn settle(&mut self) -> Result<()> {
        loop {
            if let Some(fact) = self.exec.pop_front() {
                self.think(&EngineInput::Exec(&fact));
            } else if let Some(output) = self.venue.poll() {
                self.heard(output)?;
            } else if let Some(post) = self.post.pop_front() {
                self.deliver(post);
            } else {
                return Ok(());
            }
        }
    }

    fn heard(&mut self, output: Output) -> Result<()> {
        match output {
            Output::Send { conn: PUBLIC, bytes } => self.hear_public(FeedInput::Frame { bytes: &bytes, ticks: 1 }),
            Output::Send { conn, bytes } => {
                self.room(GatewayInput::Frame { channel: channel(conn), bytes: &bytes, ticks: 1 });
            }
            Output::Reply { token, status, body, .. } => {
                self.room(GatewayInput::RestReply { token, status, body: &body, rate: RateHeader::default() });
            }
            Output::Cut { .. } => bail!("a fault no drill asked for"),
            Output::Close { conn: PUBLIC } => self.hear_public(FeedInput::Closed),
            Output::Close { conn } => self.room(GatewayInput::Closed { channel: channel(conn) }),
        }
        Ok(())
    }

    fn deliver(&mut self, post: Post) {
        let wall = self.now.wall;
        match post {
            Post::ToVenue(conn, bytes) => self.venue.handle(wall, SimInput::Frame { conn, bytes: &bytes }),
            Post::Ask(token, request) => self.ask(token, &request),
            Post::Open(conn) => {
                let kind = match conn {
                    PUBLIC => SimChannel::Public,
                    PRIVATE => SimChannel::Private,
                    _ => SimChannel::Trade,
                };
                self.venue.handle(wall, SimInput::Connect { conn, channel: kind, query: "", ip: HERE });
                match conn {
                    PUBLIC => self.hear_public(FeedInput::Connected),
                    _ => self.room(GatewayInput::Connected { channel: channel(conn) }),
                }
            }
        }
    }

    fn ask(&mut self, token: u64, request: &Request) {
        let (path, query) = request.path_and_query.split_once('?').unwrap_or((&request.path_and_query, ""));
        let headers: Vec<(String, String)> =
            request.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let method = if request.method == Method::Get { "GET" } else { "POST" };
        let body = request.body.as_bytes();
        self.venue
            .handle(self.now.wall, SimInput::Http { token, method, path, query, headers: &headers, body, ip: HERE });
    }

    fn hear_public(&mut self, input: FeedInput<'_>) {
        let market = &mut self.market;
        self.feed.handle(self.now, input, &mut |event| {
            market.push(event);
            true
        });
        while let Some(output) = self.feed.poll() {
            match output {
                FeedOutput::Send(text) => self.post.push_back(Post::ToVenue(PUBLIC, text.to_vec())),
                FeedOutput::Connect { .. } => self.post.push_back(Post::Open(PUBLIC)),
                FeedOutput::Close => {}
            }
        }
        for event in std::mem::take(&mut self.market) {
            self.think(&EngineInput::Market(&event));
        }
    }

    fn think(&mut self, input: &EngineInput<'_>) {
        let (before, from) = (self.engine.gate().brake().global(), self.watch.ticks());
        self.engine.handle(self.now, *input);
        let took = self.watch.nanos(from, self.watch.ticks());
        let halted = before < State::Halted && self.engine.gate().brake().global() == State::Halted;
        if halted && self.block_ns.is_none() {
            self.block_ns = Some(took);
        }
        let orders: Vec<_> = std::iter::from_fn(|| self.engine.poll()).collect();
        for out in orders {
            self.room(GatewayInput::Order(out.order));
        }
    }

    fn room(&mut self, input: GatewayInput<'_>) {
        let exec = &mut self.exec;
        self.gateway.handle(self.now, input, &mut |fact| exec.push_back(fact));
        while let Some(output) = self.gateway.poll() {
            self.post.push_back(match output {
                GatewayOutput::Send { channel: Channel::Private, bytes } => Post::ToVenue(PRIVATE, bytes.to_vec()),
                GatewayOutput::Send { bytes, .. } => Post::ToVenue(TRADE, bytes.to_vec()),
                GatewayOutput::Connect { channel: Channel::Private, .. } => Post::Open(PRIVATE),
                GatewayOutput::Connect { .. } => Post::Open(TRADE),
                GatewayOutput::Rest { token, request } => Post::Ask(token, request),
                GatewayOutput::Close { .. } => continue,
            });
        }
    }
}

const fn channel(conn: u64) -> Channel {
    if conn == PRIVATE { Channel::Private } else { Channel::Trade }
}

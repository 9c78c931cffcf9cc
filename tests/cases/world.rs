//! keel and its venue in one thread, without sockets, threads or clocks: the very rooms that trade, stepped by hand.
//!
//! In: a seed. Out: whatever the rooms did, at virtual times that only depend on the seed. The meter around our own
//! rooms lets a test ask what they cost, allocations above all, without counting the venue's work.

use keel_core::engine::{Engine, Input as EngineInput};
use keel_core::event::{Channel, Command, CommandKind, ExecEvent, Flag, MarketEvent, Timer};
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
use keel_risk::Gate;
use keel_risk::limits::{Limits, MarkSource};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PUBLIC: u64 = 1;
const PRIVATE: u64 = 2;
const TRADE: u64 = 3;
const EPOCH: u64 = 1_767_225_600_000_000_000;

/// Something under way between keel and the venue.
#[derive(Debug)]
enum Post {
    ToVenue(u64, Vec<u8>),
    Open(u64),
    Ask(u64, Request),
}

/// What runs around a call into our rooms.
pub trait Around {
    /// Runs `work`, which is the tick-to-order path when `hot`.
    fn around<T>(&mut self, hot: bool, work: impl FnOnce() -> T) -> T;
}

/// Both sides and everything between them.
pub struct World<A> {
    pub venue: Exchange,
    pub feed: Session,
    pub engine: Engine<Quoter, Gate, Writer>,
    pub gateway: Gateway,
    pub around: A,
    now: Now,
    post: VecDeque<Post>,
    market: VecDeque<MarketEvent>,
    exec: Vec<ExecEvent>,
}

impl<A: Around> World<A> {
    pub fn new(seed: u64, around: A) -> Self {
        let symbols = Spec::majors().into_iter().take(2).map(|spec| (spec, MarketSource::Generated)).collect();
        let mut venue = Exchange::new(Config { symbols, ..Config::default() }, seed);
        let now = Now { mono: Mono::from_nanos(EPOCH), wall: Wall::from_nanos(EPOCH) };
        let signer = Signer::new("demo-key", b"demo-secret");
        let instruments = listed(&mut venue, now);
        let topics = Topics { touch: true, ..Topics::default() };
        let feed = Session::new(FeedConfig { topics, seed, ..FeedConfig::default() }, &instruments).unwrap();
        let gate = Gate::new(limits(), &instruments, None).unwrap();
        let log = Writer::in_memory(256 << 20).unwrap();
        let quoter = Quoter::new(StrategyId(0), QuoterParams::default());
        let engine = Engine::new(&instruments, 1, quoter, Sizing::default(), gate, log);
        let room = GatewayConfig {
            run: 1,
            self_match: SelfMatch::CancelMaker,
            executions_since: now.wall,
            seed,
            guarded: false,
        };
        let gateway = Gateway::new(signer, &instruments, &room);
        let (post, market) = (VecDeque::new(), VecDeque::with_capacity(4096));
        Self { venue, feed, engine, gateway, around, now, post, market, exec: Vec::with_capacity(4096) }
    }

    /// Lets the links stand and arms the gate.
    pub fn arm(&mut self) {
        self.run_for(2_000);
        assert!(self.gateway.is_live() && self.feed.is_up(), "the links stand");
        let author = Text::new(b"test").unwrap();
        let command = Command { author, kind: CommandKind::Arm, authenticated: Flag::Yes, ..Command::default() };
        self.engine(false, &EngineInput::Command(&command));
        self.settle();
    }

    /// Lets this much venue time pass, in steps of its own deadlines and ours.
    pub fn run_for(&mut self, millis: u64) {
        let end = self.now.wall.after(millis * 1_000_000);
        loop {
            self.timers();
            let due = self.venue.deadline().map_or(end, |at| at.min(end)).max(self.now.wall.after(1));
            let ours = Wall::from_nanos(self.engine.deadline().nanos()).max(self.now.wall.after(1));
            let next = due.min(ours);
            if next >= end {
                self.now = Now { mono: Mono::from_nanos(end.nanos()), wall: end };
                return;
            }
            self.now = Now { mono: Mono::from_nanos(next.nanos()), wall: next };
            if self.venue.deadline().is_some_and(|at| at <= self.now.wall) {
                self.venue.handle(self.now.wall, SimInput::Timer);
            }
            self.settle();
        }
    }

    fn timers(&mut self) {
        let mono = self.now.mono;
        if self.feed.deadline().is_some_and(|due| mono >= due) {
            self.hear_public(FeedInput::Timer);
        }
        if self.gateway.deadline().is_some_and(|due| mono >= due) {
            self.gateway(false, GatewayInput::Timer);
        }
        if mono >= self.engine.deadline() {
            let due = self.engine.deadline();
            self.engine(false, &EngineInput::Timer(Timer { due }));
        }
        self.settle();
    }

    /// Until nothing is under way between the two sides.
    fn settle(&mut self) {
        loop {
            if let Some(output) = self.venue.poll() {
                self.heard(output);
            } else if let Some(post) = self.post.pop_front() {
                self.deliver(post);
            } else {
                return;
            }
        }
    }

    fn heard(&mut self, output: Output) {
        match output {
            Output::Send { conn: PUBLIC, bytes } => self.hear_public(FeedInput::Frame { bytes: &bytes, ticks: 1 }),
            Output::Send { conn, bytes } => {
                let channel = if conn == PRIVATE { Channel::Private } else { Channel::Trade };
                self.gateway(false, GatewayInput::Frame { channel, bytes: &bytes, ticks: 1 });
            }
            Output::Reply { token, status, body, .. } => {
                let rate = RateHeader::default();
                self.gateway(false, GatewayInput::RestReply { token, status, body: &body, rate });
            }
            Output::Cut { .. } => panic!("a fault nobody asked for"),
            Output::Close { conn } => match conn {
                PUBLIC => self.hear_public(FeedInput::Closed),
                PRIVATE => self.gateway(false, GatewayInput::Closed { channel: Channel::Private }),
                _ => self.gateway(false, GatewayInput::Closed { channel: Channel::Trade }),
            },
        }
    }

    fn deliver(&mut self, post: Post) {
        let wall = self.now.wall;
        match post {
            Post::ToVenue(conn, bytes) => self.venue.handle(wall, SimInput::Frame { conn, bytes: &bytes }),
            Post::Ask(token, request) => ask(&mut self.venue, wall, token, &request),
            Post::Open(conn) => {
                let channel = match conn {
                    PUBLIC => SimChannel::Public,
                    PRIVATE => SimChannel::Private,
                    _ => SimChannel::Trade,
                };
                self.venue.handle(wall, SimInput::Connect { conn, channel, query: "", ip: HERE });
                match conn {
                    PUBLIC => self.hear_public(FeedInput::Connected),
                    PRIVATE => self.gateway(false, GatewayInput::Connected { channel: Channel::Private }),
                    _ => self.gateway(false, GatewayInput::Connected { channel: Channel::Trade }),
                }
            }
        }
    }

    fn hear_public(&mut self, input: FeedInput<'_>) {
        let (feed, market, now) = (&mut self.feed, &mut self.market, self.now);
        self.around.around(true, || {
            feed.handle(now, input, &mut |event| {
                market.push_back(event);
                true
            });
        });
        while let Some(output) = self.feed.poll() {
            match output {
                FeedOutput::Send(text) => self.post.push_back(Post::ToVenue(PUBLIC, text.to_vec())),
                FeedOutput::Connect { .. } => self.post.push_back(Post::Open(PUBLIC)),
                FeedOutput::Close => panic!("the feed gave up its connection"),
            }
        }
        while let Some(event) = self.market.pop_front() {
            self.engine(true, &EngineInput::Market(&event));
        }
    }

    fn engine(&mut self, hot: bool, input: &EngineInput<'_>) {
        self.think(hot, input);
        while !self.exec.is_empty() {
            let fact = self.exec.remove(0);
            self.think(false, &EngineInput::Exec(&fact));
        }
    }

    fn think(&mut self, hot: bool, input: &EngineInput<'_>) {
        let (engine, now) = (&mut self.engine, self.now);
        self.around.around(hot, || engine.handle(now, *input));
        let orders: Vec<_> = std::iter::from_fn(|| self.engine.poll()).collect();
        for out in orders {
            self.room(hot, GatewayInput::Order(out.order));
        }
    }

    fn gateway(&mut self, hot: bool, input: GatewayInput<'_>) {
        self.room(hot, input);
        while !self.exec.is_empty() {
            let fact = self.exec.remove(0);
            self.think(false, &EngineInput::Exec(&fact));
        }
    }

    fn room(&mut self, hot: bool, input: GatewayInput<'_>) {
        let (gateway, exec, now) = (&mut self.gateway, &mut self.exec, self.now);
        self.around.around(hot, || gateway.handle(now, input, &mut |fact| exec.push(fact)));
        while let Some(output) = self.gateway.poll() {
            self.post.push_back(match output {
                GatewayOutput::Send { channel: Channel::Private, bytes } => Post::ToVenue(PRIVATE, bytes.to_vec()),
                GatewayOutput::Send { bytes, .. } => Post::ToVenue(TRADE, bytes.to_vec()),
                GatewayOutput::Connect { channel: Channel::Private, .. } => Post::Open(PRIVATE),
                GatewayOutput::Connect { .. } => Post::Open(TRADE),
                GatewayOutput::Rest { token, request } => Post::Ask(token, request),
                GatewayOutput::Close { channel } => panic!("the gateway gave up {channel:?}"),
            });
        }
    }
}

/// The limits of a test account with room for a quoter's messages.
pub fn limits() -> Limits {
    let mut limits = Limits::demo().without_tail();
    (limits.message_rate, limits.message_burst, limits.cancel_reserve) = (100, 40, 10);
    (limits.execution_window, limits.mark) = (1_000, MarkSource::TickerOrMid);
    for strategy in &mut limits.strategies {
        (strategy.rate, strategy.max_executions) = (100, 256);
    }
    limits
}

fn ask(venue: &mut Exchange, wall: Wall, token: u64, request: &Request) {
    let (path, query) = request.path_and_query.split_once('?').unwrap_or((&request.path_and_query, ""));
    let headers: Vec<(String, String)> =
        request.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let method = if request.method == Method::Get { "GET" } else { "POST" };
    let body = request.body.as_bytes();
    venue.handle(wall, SimInput::Http { token, method, path, query, headers: &headers, body, ip: HERE });
}

fn listed(venue: &mut Exchange, now: Now) -> Instruments {
    let (method, path_and_query) = (Method::Get, keel_feed::instruments::path_and_query(""));
    ask(venue, now.wall, 0, &Request { method, path_and_query, headers: Vec::new(), body: String::new() });
    let Some(Output::Reply { status, body, .. }) = venue.poll() else { panic!("the venue lists its instruments") };
    assert_eq!(status, 200);
    let rows = keel_feed::instruments::parse(&body).unwrap().rows;
    let row = |row: Instrument| Instrument { taker_fee: 55_000, maker_fee: 20_000, ..row };
    Instruments::new(rows.into_iter().map(row)).unwrap()
}

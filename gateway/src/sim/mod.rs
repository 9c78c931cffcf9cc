//! A Bybit v5 venue for USDT perpetuals, without windows: time, bytes and luck come in as arguments.
//!
//! In: connections, frames, HTTP requests, taped market data, and the time of each. Out: frames, answers, closed
//! connections. Never: a clock, a socket, randomness of its own, a panic on anything a client or a tape can send. The
//! same seed and the same inputs in the same order give the same outputs, byte for byte.
//!
//! ```text
//!  Frame/Http -> ws | rest -> request -> Engine (place, amend, cancel) -> Event -> private streams
//!  Tape       -> tape ---------^   |                                        '----> publicTrade
//!  Timer      -> house (generator) '-> Feed -> orderbook.N, tickers -> public streams
//! ```
//!
//! The model of fills against a tape stands in `tape.rs`, of the generated market in `house.rs`, of mark and funding in
//! `funding.rs`, of money in `account.rs`, `margin.rs` and `liquidation.rs`, of take profit and stop loss in `guard.rs`.

#![doc = include_str!("conformance.md")]

mod account;
mod auth;
mod bars;
mod book;
mod change;
mod codes;
mod command;
mod config;
mod conn;
mod engine;
mod exits;
mod fault;
mod feed;
mod funding;
mod guard;
mod history;
mod house;
mod lifecycle;
mod limits;
mod liquidation;
mod margin;
mod matching;
mod money;
mod notices;
mod order;
mod own;
mod place;
mod pool;
mod publish;
mod query;
mod request;
mod rest;
mod rng;
mod rows;
mod spec;
mod statement;
mod tape;
mod terms;
mod text;
mod ws;

pub use codes::Refusal;
pub use config::{AccountConfig, Config, KeyConfig, MarketSource};
pub use conn::Channel;
pub use spec::{MARKET_BOUND_BPS, Spec, SymbolStatus, Tier};

use account::Account;
use conn::Conn;
use core::net::IpAddr;
use engine::{Engine, Event};
use fault::{Class, Faults, Leaves};
use feed::Feed;
use house::House;
use keel_core::units::Wall;
use limits::Limits;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use text::Obj;

/// One thing that happens to the exchange.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A WebSocket was accepted.
    Connect {
        /// The caller's name for it; not reused while it is open.
        conn: u64,
        /// Which endpoint.
        channel: Channel,
        /// The raw query string of its URL, without `?`.
        query: &'a str,
        /// The other end.
        ip: IpAddr,
    },
    /// A text frame arrived.
    Frame {
        /// On which socket.
        conn: u64,
        /// Its payload.
        bytes: &'a [u8],
    },
    /// A socket is gone.
    Closed {
        /// Which.
        conn: u64,
    },
    /// An HTTP request arrived.
    Http {
        /// Comes back with the reply.
        token: u64,
        /// `GET` or `POST`.
        method: &'a str,
        /// Without query.
        path: &'a str,
        /// Raw, without `?`.
        query: &'a str,
        /// As they arrived.
        headers: &'a [(String, String)],
        /// Raw.
        body: &'a [u8],
        /// The other end.
        ip: IpAddr,
    },
    /// The next recorded market data frame.
    Tape {
        /// The frame as recorded.
        frame: &'a [u8],
    },
    /// Time passed.
    Timer,
}

/// One thing the exchange wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a text frame.
    Send {
        /// On which socket.
        conn: u64,
        /// Its payload.
        bytes: Vec<u8>,
    },
    /// Answer an HTTP request.
    Reply {
        /// Whose.
        token: u64,
        /// Status code.
        status: u16,
        /// Names and values.
        headers: Vec<(&'static str, String)>,
        /// JSON.
        body: Vec<u8>,
    },
    /// Send only these bytes of a text frame, whose length is announced as one byte more, and drop the socket.
    Cut {
        /// On which socket.
        conn: u64,
        /// The beginning of its payload.
        bytes: Vec<u8>,
    },
    /// Close a socket.
    Close {
        /// Which.
        conn: u64,
    },
}

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames queued for clients.
    pub frames_sent: u64,
    /// Frames received from clients.
    pub frames_received: u64,
    /// HTTP requests answered.
    pub http: u64,
    /// Orders accepted.
    pub orders: u64,
    /// Orders refused.
    pub refused: u64,
    /// Fills of accounts that are not the house's.
    pub fills: u64,
    /// Taped frames applied.
    pub taped: u64,
    /// Taped frames that could not be understood.
    pub taped_bad: u64,
}

/// The venue.
#[derive(Debug)]
pub struct Exchange {
    pub(self) engine: Engine,
    pub(self) feeds: Vec<Feed>,
    pub(self) sources: Vec<MarketSource>,
    pub(self) houses: Vec<Option<House>>,
    pub(self) config: Config,
    /// Engine account of each configured account.
    pub(self) clients: Vec<usize>,
    pub(self) conns: BTreeMap<u64, Conn>,
    pub(self) subscribers: BTreeMap<String, BTreeSet<u64>>,
    pub(self) limits: Limits,
    pub(self) out: VecDeque<Output>,
    pub(self) now: Wall,
    pub(self) stats: Stats,
    pub(self) messages: u64,
    pub(self) next_idle: u64,
    pub(self) faults: Faults,
    pub(self) notice: notices::Notice,
    pub(self) told: notices::Told,
    /// When a lost private connection cancels everything, by account.
    pub(self) dead_man: BTreeMap<usize, u64>,
}

impl Exchange {
    /// An exchange that has seen nothing yet.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        let mut specs: Vec<Spec> = config.symbols.iter().map(|(spec, _)| spec.clone()).collect();
        for (at, spec) in specs.iter_mut().enumerate() {
            spec.instrument.id = keel_core::ids::InstrumentId(u16::try_from(at).unwrap_or(u16::MAX));
        }
        let symbols = specs.len();
        let mut engine = Engine::new(specs, seed);
        let mut clients = Vec::new();
        for (at, account) in config.accounts.iter().enumerate() {
            clients.push(engine.accounts.len());
            let mut row =
                Account::new(900_000_001 + at as u64, account.wallet.min(command::MAX_WALLET), symbols, false);
            row.fees = account.fees;
            engine.accounts.push(row);
        }
        let answer_ms = config.answer_ms;
        let sources: Vec<MarketSource> = config.symbols.iter().map(|(_, source)| *source).collect();
        let houses = (0..symbols)
            .map(|s| (sources[s] == MarketSource::Generated).then(|| House::new(&mut engine, s, seed)))
            .collect();
        for (symbol, source) in sources.iter().enumerate() {
            if *source == MarketSource::Tape {
                engine.quotes[symbol] = engine::Quote { funding: 10_000, ..engine::Quote::default() };
            }
        }
        Self {
            feeds: (0..symbols).map(|_| Feed::default()).collect(),
            engine,
            sources,
            houses,
            config,
            clients,
            conns: BTreeMap::new(),
            subscribers: BTreeMap::new(),
            limits: Limits::default(),
            out: VecDeque::new(),
            now: Wall::default(),
            stats: Stats::default(),
            messages: 0,
            next_idle: 0,
            faults: Faults::new(seed).answering(answer_ms),
            notice: notices::Notice::default(),
            told: notices::Told::default(),
            dead_man: BTreeMap::new(),
        }
    }

    /// Takes one input. Drain [`Self::poll`] before the next.
    pub fn handle(&mut self, now: Wall, input: Input<'_>) {
        self.advance(now);
        match input {
            Input::Connect { conn, channel, query, ip } => self.connect(conn, channel, query, ip),
            Input::Frame { conn, bytes } => self.frame(conn, bytes),
            Input::Closed { conn } => self.forget(conn),
            Input::Http { token, method, path, query, headers, body, ip } => {
                self.http(token, &rest::Request { method, path, query, headers, body, ip });
            }
            Input::Tape { frame } => self.taped(frame),
            Input::Timer => {}
        }
    }

    /// Time reaches `now`, skewed if a fault says so; it never goes back.
    pub(self) fn advance(&mut self, now: Wall) {
        let skew = self.faults.skew_ms.saturating_mul(1_000_000);
        let now = Wall::from_nanos(now.nanos().saturating_add_signed(skew));
        self.now = self.now.max(now);
        self.flush(); // nothing to do for whoever drained poll
        self.tick();
    }

    /// The next thing to do; `None` when there is nothing.
    pub fn poll(&mut self) -> Option<Output> {
        // Answers first: what the streams tell is written when somebody asks for it.
        if self.out.is_empty() && !self.engine.events.is_empty() {
            self.flush();
        }
        self.out.pop_front()
    }

    /// When [`Input::Timer`] is wanted next.
    #[must_use]
    pub fn deadline(&self) -> Option<Wall> {
        let skew = self.faults.skew_ms;
        self.next_timer().map(|ms| Wall::from_millis(ms.saturating_add_signed(skew.saturating_neg())))
    }

    /// Totals since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// The names of what trades here.
    pub fn symbols(&self) -> impl Iterator<Item = &str> {
        self.engine.specs.iter().map(Spec::symbol)
    }

    pub(self) fn now_ms(&self) -> u64 {
        self.now.millis()
    }

    pub(self) fn send(&mut self, conn: u64, text: String) {
        self.send_as(conn, Class::Other, text.into_bytes());
    }

    /// Sends a frame the way the faults that are on let it.
    pub(self) fn send_as(&mut self, conn: u64, class: Class, frame: Vec<u8>) {
        let Some(of) = self.conns.get(&conn) else { return };
        let (channel, now_ms) = (of.channel, self.now_ms());
        for (conn, leaves) in self.faults.pass(conn, channel, class, frame, now_ms) {
            self.leave(conn, leaves);
        }
    }

    pub(self) fn leave(&mut self, conn: u64, leaves: Leaves) {
        if !self.conns.contains_key(&conn) {
            return;
        }
        match leaves {
            Leaves::Whole(bytes) => {
                self.stats.frames_sent += 1;
                self.out.push_back(Output::Send { conn, bytes });
            }
            Leaves::Cut(bytes) => {
                self.forget(conn);
                self.out.push_back(Output::Cut { conn, bytes });
            }
        }
    }

    fn connect(&mut self, conn: u64, channel: Channel, query: &str, ip: IpAddr) {
        const SPAN_MS: u64 = 300_000;
        let (now_ms, most) = (self.now_ms(), self.config.connect_limit);
        let fits = self.limits.address(ip, limits::Door::Connect, most, SPAN_MS, now_ms);
        if !fits || self.conns.values().filter(|c| c.ip == ip).count() >= self.config.sockets_limit {
            return self.out.push_back(Output::Close { conn });
        }
        let name = self.engine.uuid(conn, 2);
        let of = Conn::new(channel, ip, name, query, self.config.idle_ms, self.now_ms());
        self.conns.insert(conn, of);
    }

    pub(self) fn forget(&mut self, conn: u64) {
        let Some(of) = self.conns.remove(&conn) else { return };
        self.faults.forget(conn);
        self.arm_dead_man(&of);
        for topic in &of.topics {
            if let Some(set) = self.subscribers.get_mut(topic) {
                set.remove(&conn);
                if set.is_empty() {
                    self.subscribers.remove(topic);
                }
            }
        }
    }

    /// Tells the streams what the engine did.
    pub(self) fn flush(&mut self) {
        let events = std::mem::take(&mut self.engine.events);
        let mut events = events.into_iter().peekable();
        while let Some(event) = events.next() {
            match event {
                Event::Order(order) => {
                    let account = order.account;
                    self.private(account, "order", |ex, out| rows::order(out, &ex.engine, &order, true));
                }
                Event::Execution(account, first) => {
                    let mut fills = vec![first];
                    while let Some(Event::Execution(_, next)) =
                        events.next_if(|e| matches!(e, Event::Execution(a, _) if *a == account))
                    {
                        fills.push(next);
                    }
                    self.executions(account, &fills);
                }
                Event::Position(account, symbol, idx, position) => {
                    self.private(account, "position", |ex, out| {
                        rows::position(out, &ex.engine, account, symbol, idx, &position, true);
                    });
                }
                Event::Wallet(account) => {
                    self.private(account, "wallet", |ex, out| rows::wallet(out, &ex.engine, account));
                }
                Event::Print(symbol, side, px, qty) => self.print(symbol, side, px, qty),
                Event::Liquidated(symbol, side, qty, px) => self.liquidated(symbol, side, qty, px),
            }
        }
        self.publish_prints();
    }

    fn executions(&mut self, account: usize, fills: &[Box<order::Execution>]) {
        self.stats.fills += fills.len() as u64;
        let trades: Vec<_> = fills.iter().filter(|e| e.what == "Trade").collect();
        for form in ["execution.fast", "execution.fast.linear"] {
            if trades.is_empty() || !self.subscribers.contains_key(form) {
                continue;
            }
            let mut out = String::new();
            Obj::new(&mut out)
                .s("topic", form)
                .u("creationTime", self.now_ms())
                .with("data", |out| text::array(out, &trades, |out, e| rows::fast(out, &self.engine, e)))
                .end();
            self.tell_account(account, form, &out);
        }
        self.private(account, "execution", |ex, out| {
            for (at, e) in fills.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                rows::execution(out, &ex.engine, e, true);
            }
        });
    }

    /// One private frame to every subscriber of the account, under the name it subscribed.
    fn private(&mut self, account: usize, topic: &'static str, write: impl Fn(&Self, &mut String)) {
        let mut rows = String::new();
        for form in [topic.to_owned(), format!("{topic}.linear")] {
            if !self.subscribers.contains_key(&form) {
                continue;
            }
            if rows.is_empty() {
                write(self, &mut rows);
            }
            self.messages += 1;
            let mut out = String::with_capacity(rows.len() + 120);
            Obj::new(&mut out)
                .s("id", &format!("{}_{topic}_{}", self.engine.accounts[account].uid, self.messages))
                .s("topic", &form)
                .u("creationTime", self.now_ms())
                .with("data", |out| {
                    out.push('[');
                    out.push_str(&rows);
                    out.push(']');
                })
                .end();
            self.tell_account(account, &form, &out);
        }
    }

    fn tell_account(&mut self, account: usize, topic: &str, text: &str) {
        let Some(set) = self.subscribers.get(topic) else { return };
        let mine: Vec<u64> =
            set.iter().copied().filter(|c| self.conns.get(c).is_some_and(|c| c.account == Some(account))).collect();
        let class = if topic.starts_with("execution") { Class::Execution } else { Class::Private };
        for conn in mine {
            self.send_as(conn, class, text.as_bytes().to_vec());
        }
    }
}

#[cfg(test)]
mod conformance_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod guard_tests;
#[cfg(test)]
mod history_tests;
#[cfg(test)]
mod margin_tests;
#[cfg(test)]
mod notice_tests;
#[cfg(test)]
mod order_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trials;
#[cfg(test)]
mod venue_tests;

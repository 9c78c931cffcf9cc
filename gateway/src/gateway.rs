//! The owner of the room: two sessions, the budget, the encoder, the questions that are out.
//!
//! In: recorded orders, what the sockets and the HTTP client did, time. Out: bytes and requests, and execution facts
//! through a sink, among them what became of every order handed in. Never: an order kept for later: it leaves now, or
//! a [`Sent`] fact says why not.
//!
//! An order goes over order entry's WebSocket; while that is down, over REST. A request that nobody answers by
//! [`REST_TIMEOUT`] counts as failed; its late answer is ignored.

use crate::budget::{Budget, Endpoint};
use crate::decode::Decoder;
use crate::encode::{Encoder, MAX_FRAME, SelfMatch};
use crate::reconcile::Reconcile;
use crate::rest::{Answer, Call, Request, RestError, parse};
use crate::session::{self, PrivateSession, TradeSession, splitmix};
use crate::sign::Signer;
use keel_core::event::{Ack, Channel, ExecEvent, Flag, Link, LinkState, Order, Sent, SentOutcome};
use keel_core::instrument::Instruments;
use keel_core::orders::{Reaction, reaction};
use keel_core::units::{Mono, Now, Wall};
use keel_journal::Recorded;
use keel_risk::Approved;
use std::collections::VecDeque;

/// A request not answered by then counts as failed.
pub const REST_TIMEOUT: u64 = 10_000_000_000;
/// Requests that may be out at once; one more waits, and an order among them is refused as busy.
pub const MAX_CALLS: usize = 64;
/// Frames that may wait for `poll` at once: one a `handle`, plus what the sessions themselves say.
const MAX_QUEUED: usize = 8;

/// What the room needs to know at the start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Run number: keeps request ids unique across restarts.
    pub run: u32,
    /// Which own order gives way when two would meet.
    pub self_match: SelfMatch,
    /// Executions before it are in the journal already.
    pub executions_since: Wall,
    /// Luck for jitter.
    pub seed: u64,
}

/// What the venue's headers said of the rate limit; zero where they did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateHeader {
    /// `X-Bapi-Limit`.
    pub limit: u32,
    /// `X-Bapi-Limit-Status`: what is left.
    pub remaining: u32,
    /// `X-Bapi-Limit-Reset-Timestamp`.
    pub reset: Wall,
}

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// The engine wants this at the venue.
    Order(Recorded<Approved>),
    /// A socket is there.
    Connected {
        /// Which.
        channel: Channel,
    },
    /// A socket is gone, or could not be had.
    Closed {
        /// Which.
        channel: Channel,
    },
    /// One text frame.
    Frame {
        /// Which socket it came on.
        channel: Channel,
        /// Its payload.
        bytes: &'a [u8],
        /// When it came in, on the stopwatch.
        ticks: u64,
    },
    /// The answer to a request; status 0 when there was none.
    RestReply {
        /// Of which request.
        token: u64,
        /// HTTP status.
        status: u16,
        /// Body.
        body: &'a [u8],
        /// Rate headers.
        rate: RateHeader,
    },
    /// The deadline passed.
    Timer,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Output<'a> {
    /// Send one text frame.
    Send {
        /// On which socket.
        channel: Channel,
        /// Its payload.
        bytes: &'a [u8],
    },
    /// Make a request and bring the answer back under the same token.
    Rest {
        /// Its name.
        token: u64,
        /// What goes on the wire.
        request: Request,
    },
    /// Connect a socket, this many nanoseconds from now.
    Connect {
        /// Which.
        channel: Channel,
        /// The wait.
        after_nanos: u64,
    },
    /// Drop a socket; no `Closed` is expected for it.
    Close {
        /// Which.
        channel: Channel,
    },
}

/// Why a question is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Order,
    Reconcile,
}

#[derive(Debug)]
struct Asked {
    token: u64,
    call: Call,
    purpose: Purpose,
    due: Mono,
}

/// The room.
#[derive(Debug)]
pub struct Gateway {
    signer: Signer,
    instruments: Instruments,
    private: PrivateSession,
    trade: TradeSession,
    encoder: Encoder,
    budget: Budget,
    decoder: Decoder,
    reconcile: Reconcile,
    asked: Vec<Asked>,
    requests: VecDeque<(u64, Request)>,
    frame: [u8; MAX_FRAME],
    frame_len: usize,
    tokens: u64,
    luck: u64,
}

impl Gateway {
    /// Takes all of its memory here. Its first deadline is the beginning of time: hand in a timer to begin.
    #[must_use]
    pub fn new(signer: Signer, instruments: &Instruments, config: &Config) -> Self {
        let mut luck = config.seed;
        Self {
            private: PrivateSession::new(signer.clone(), instruments, splitmix(&mut luck)),
            trade: TradeSession::new(signer.clone(), instruments, splitmix(&mut luck)),
            encoder: Encoder::new(instruments, config.self_match, config.run),
            budget: Budget::new(),
            decoder: Decoder::new(instruments),
            reconcile: Reconcile::new(config.executions_since),
            asked: Vec::with_capacity(MAX_CALLS),
            requests: VecDeque::with_capacity(MAX_QUEUED),
            frame: [0; MAX_FRAME],
            frame_len: 0,
            tokens: 0,
            luck,
            signer,
            instruments: instruments.clone(),
        }
    }

    /// Takes in what happened. `poll` must have been drained.
    pub fn handle(&mut self, now: Now, input: Input<'_>, sink: &mut impl FnMut(ExecEvent)) {
        assert!(self.frame_len == 0 && self.requests.is_empty(), "poll to None before the next handle");
        match input {
            Input::Order(order) => self.order(now, order.what().as_ref(), sink),
            Input::Connected { channel } => self.session(now, channel, session::Input::Connected, sink),
            Input::Closed { channel } => self.session(now, channel, session::Input::Closed, sink),
            Input::Frame { channel, bytes, ticks } => {
                self.session(now, channel, session::Input::Frame { bytes, ticks }, sink);
            }
            Input::RestReply { token, status, body, rate } => self.reply(now, token, status, body, rate, sink),
            Input::Timer => self.timer(now, sink),
        }
        self.ask(now);
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output<'_>> {
        if self.frame_len > 0 {
            let len = core::mem::take(&mut self.frame_len);
            return Some(Output::Send { channel: Channel::Trade, bytes: &self.frame[..len] });
        }
        if let Some((token, request)) = self.requests.pop_front() {
            return Some(Output::Rest { token, request });
        }
        if let Some(output) = self.private.poll() {
            return Some(on(Channel::Private, output));
        }
        self.trade.poll().map(|output| on(Channel::Trade, output))
    }

    /// When [`Input::Timer`] wants to be handed in.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        let calls = self.asked.iter().map(|asked| asked.due);
        let machines = [self.private.deadline(), self.trade.deadline(), self.reconcile.deadline()];
        machines.into_iter().flatten().chain(calls).min()
    }

    /// Both conversations stand and the venue's account was read to the end.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.private.is_ready() && self.trade.is_ready() && self.reconcile.is_done()
    }

    /// What is left of the venue's patience, for a page.
    #[must_use]
    pub const fn budget(&self) -> &Budget {
        &self.budget
    }

    fn order(&mut self, now: Now, order: &Order, sink: &mut impl FnMut(ExecEvent)) {
        let outcome = if self.trade.is_ready() { self.send(now, order) } else { self.send_by_rest(now, order) };
        let (client, op, at) = (order.client, order.op, now.mono);
        sink(ExecEvent::Sent(Sent { client, at, op, outcome, ..Sent::default() }));
    }

    fn send(&mut self, now: Now, order: &Order) -> SentOutcome {
        if self.budget.take(now.mono, Endpoint::of(order.op), Channel::Trade).is_err() {
            return SentOutcome::NoBudget;
        }
        match self.encoder.encode_order(now.wall, order, &mut self.frame) {
            Ok(len) => {
                self.frame_len = len;
                SentOutcome::Wire
            }
            Err(_) => SentOutcome::Unsayable,
        }
    }

    fn send_by_rest(&mut self, now: Now, order: &Order) -> SentOutcome {
        let Some(instrument) = self.instruments.get(order.instrument) else { return SentOutcome::Unsayable };
        if self.asked.len() >= MAX_CALLS {
            return SentOutcome::Busy;
        }
        if self.budget.take(now.mono, Endpoint::of(order.op), Channel::Rest).is_err() {
            return SentOutcome::NoBudget;
        }
        self.request(now, Call::Order { order: *order, symbol: instrument.symbol }, Purpose::Order);
        SentOutcome::Wire
    }

    fn request(&mut self, now: Now, call: Call, purpose: Purpose) {
        self.tokens += 1;
        self.requests.push_back((self.tokens, call.request(&self.signer, now.wall)));
        self.asked.push(Asked { token: self.tokens, call, purpose, due: now.mono.after(REST_TIMEOUT) });
    }

    fn session(&mut self, now: Now, channel: Channel, input: session::Input<'_>, sink: &mut impl FnMut(ExecEvent)) {
        let (budget, luck) = (&mut self.budget, &mut self.luck);
        let (mut stream, mut last_fill) = (None, Wall::default());
        let mut tap = |fact: ExecEvent| {
            match fact {
                ExecEvent::Ack(ack) => react(budget, now, luck, &ack),
                ExecEvent::Link(Link { channel: Channel::Private, state, .. }) => stream = Some(state),
                ExecEvent::Fill(fill) => last_fill = last_fill.max(fill.ts),
                _ => {}
            }
            sink(fact);
        };
        match channel {
            Channel::Private => self.private.handle(now, input, &mut tap),
            Channel::Trade => self.trade.handle(now, input, &mut tap),
            Channel::Public | Channel::Rest => return,
        }
        self.reconcile.saw_fill(last_fill);
        match stream {
            Some(LinkState::Ready) => self.reconcile.begin(now, sink),
            Some(LinkState::Down | LinkState::Connected) => self.abandon(),
            None => {}
        }
    }

    fn abandon(&mut self) {
        self.reconcile.abandon();
        self.asked.retain(|asked| asked.purpose != Purpose::Reconcile);
    }

    fn reply(
        &mut self,
        now: Now,
        token: u64,
        status: u16,
        body: &[u8],
        rate: RateHeader,
        sink: &mut impl FnMut(ExecEvent),
    ) {
        let Some(at) = self.asked.iter().position(|asked| asked.token == token) else { return };
        let Asked { call, purpose, .. } = self.asked.swap_remove(at);
        self.budget.observe(now.mono, call.endpoint(), rate.limit, rate.remaining);
        let source = crate::decode::Source { recv: now.mono, ticks: 0, queried: Flag::Yes };
        let reconcile = &mut self.reconcile;
        let answer = parse(&call, status, body, &mut self.decoder, source, &mut |fact| {
            if let ExecEvent::Fill(fill) = fact {
                reconcile.saw_fill(fill.ts);
            }
            sink(fact);
        });
        match answer {
            Err(RestError::Http(403)) => self.budget.banned(now.mono),
            Err(RestError::Venue(code)) if reaction(code) == Reaction::RateLimited => {
                self.budget.limited(now, call.endpoint(), rate.reset);
            }
            Err(RestError::Http(429)) => self.budget.overloaded(now.mono, splitmix(&mut self.luck)),
            _ => {}
        }
        if purpose == Purpose::Reconcile {
            match answer {
                Ok(Answer::Facts { count, next }) => self.reconcile.answered(now, count, next, sink),
                _ => self.reconcile.failed(now),
            }
        }
    }

    fn timer(&mut self, now: Now, sink: &mut impl FnMut(ExecEvent)) {
        self.session(now, Channel::Private, session::Input::Timer, sink);
        self.session(now, Channel::Trade, session::Input::Timer, sink);
        while let Some(at) = self.asked.iter().position(|asked| asked.due <= now.mono) {
            if self.asked.swap_remove(at).purpose == Purpose::Reconcile {
                self.reconcile.failed(now);
            }
        }
    }

    fn ask(&mut self, now: Now) {
        if self.asked.len() >= MAX_CALLS {
            return;
        }
        let Some(call) = self.reconcile.ask(now) else { return };
        match self.budget.take(now.mono, call.endpoint(), Channel::Rest) {
            Ok(()) => self.request(now, call, Purpose::Reconcile),
            Err(wait) => self.reconcile.postpone(wait.until),
        }
    }
}

fn on(channel: Channel, output: session::Output<'_>) -> Output<'_> {
    match output {
        session::Output::Send(bytes) => Output::Send { channel, bytes },
        session::Output::Close => Output::Close { channel },
        session::Output::Connect { after_nanos } => Output::Connect { channel, after_nanos },
    }
}

/// What an answer's code and header mean for the budget.
fn react(budget: &mut Budget, now: Now, luck: &mut u64, ack: &Ack) {
    let endpoint = Endpoint::of(ack.op);
    budget.observe(now.mono, endpoint, ack.limit, ack.remaining);
    match (reaction(ack.code), ack.code) {
        (Reaction::RateLimited, 10_403) => budget.address_limited(now.mono),
        (Reaction::RateLimited, _) => budget.limited(now, endpoint, ack.limit_reset),
        (Reaction::Overloaded, _) => budget.overloaded(now.mono, splitmix(luck)),
        _ => {}
    }
}

#[cfg(test)]
mod tests;

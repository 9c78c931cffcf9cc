//! The owner of the room: two sessions, the budget, the encoder, the questions that are out.
//!
//! In: recorded orders, what the sockets and the HTTP client did, time. Out: bytes and requests, and execution facts
//! through a sink, among them what became of every order handed in. Never: an order kept for later: it leaves now, or
//! a [`Sent`] fact says why not.
//!
//! An order goes over order entry's WebSocket; while that is down, over REST. A request that nobody answers by
//! [`REST_TIMEOUT`] counts as failed; its late answer is ignored. Four machines ask questions: the reading of the
//! account (`reconcile`), the watch over orders without an answer (`watch`), the sweep that cancels everything
//! (`sweep`); each gets what the budget has left, cancels first.

use crate::batch::{BatchEncoder, MAX_BATCH, MAX_BATCH_FRAME};
use crate::budget::{Budget, Endpoint};
use crate::decode::Decoder;
use crate::encode::{Encoder, MAX_FRAME, SelfMatch};
use crate::reconcile::{self, Reconcile};
use crate::rest::{Answer, Call, Request, RestError, parse};
use crate::session::{self, PrivateSession, TradeSession, splitmix};
use crate::sign::Signer;
use crate::sweep::Sweep;
use crate::watch::Watch;
use keel_core::event::{Ack, Channel, ExecEvent, Flag, Link, LinkState, Order, Sent, SentOutcome};
use keel_core::ids::{ClientId, InstrumentId};
use keel_core::instrument::Instruments;
use keel_core::orders::{Reaction, Working, reaction};
use keel_core::units::{Mono, Now, Px, Qty, Wall};
use keel_journal::Recorded;
use keel_risk::Approved;
use std::collections::VecDeque;

/// A request not answered by then counts as failed.
pub const REST_TIMEOUT: u64 = 6_000_000_000;
/// Requests that may be out at once; one more waits, and an order among them is refused as busy.
pub const MAX_CALLS: usize = 64;
/// Of them, those the watch may have out: a venue that answers slowly must not keep the others from asking.
const MAX_WATCHING: usize = 16;
/// Answers in a row that must fail before REST counts as down.
const REST_FAILURES: u32 = 3;

/// What the room needs to know at the start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Run number: keeps request ids unique across restarts.
    pub run: u32,
    /// Which own order gives way when two would meet.
    pub self_match: SelfMatch,
    /// Executions before it are in the journal already.
    pub executions_since: Wall,
    /// Arm the venue's cancel-on-disconnect on the private stream.
    pub guarded: bool,
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
#[allow(clippy::large_enum_variant, reason = "an order is moved in once, and a box would be an allocation")]
pub enum Input<'a> {
    /// The engine wants this at the venue.
    Order(Recorded<Approved>),
    /// The engine wants these gone, at most [`Gateway::batch_room`] of them: one frame.
    Cancels(&'a [Recorded<Approved>]),
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
    /// Cancel everything at the venue, whoever placed it, until nothing is open.
    CancelAll,
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
    Watch,
    Sweep,
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
    batch: BatchEncoder,
    self_match: SelfMatch,
    budget: Budget,
    decoder: Decoder,
    reconcile: Reconcile,
    watch: Watch,
    sweep: Sweep,
    rest: LinkState,
    rest_failures: u32,
    asked: Vec<Asked>,
    requests: VecDeque<(u64, Request)>,
    frame: [u8; MAX_BATCH_FRAME],
    frame_len: usize,
    tokens: u64,
    luck: u64,
}

impl Gateway {
    /// Takes all of its memory here. Its first deadline is the beginning of time: hand in a timer to begin.
    #[must_use]
    pub fn new(signer: Signer, instruments: &Instruments, config: &Config) -> Self {
        let mut luck = config.seed;
        let private = PrivateSession::new(signer.clone(), instruments, splitmix(&mut luck));
        Self {
            private: if config.guarded { private.guarded() } else { private },
            trade: TradeSession::new(signer.clone(), instruments, splitmix(&mut luck)),
            encoder: Encoder::new(instruments, config.self_match, config.run),
            batch: BatchEncoder::new(instruments, config.self_match, config.run),
            self_match: config.self_match,
            budget: Budget::new(),
            decoder: Decoder::new(instruments),
            reconcile: Reconcile::new(config.executions_since),
            watch: Watch::new(),
            sweep: Sweep::new(),
            rest: LinkState::Down,
            rest_failures: 0,
            asked: Vec::with_capacity(MAX_CALLS),
            requests: VecDeque::with_capacity(MAX_CALLS),
            frame: [0; MAX_BATCH_FRAME],
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
            Input::Cancels(orders) => self.cancels(now, orders, sink),
            Input::Connected { channel } => self.session(now, channel, session::Input::Connected, sink),
            Input::Closed { channel } => self.session(now, channel, session::Input::Closed, sink),
            Input::Frame { channel, bytes, ticks } => {
                self.session(now, channel, session::Input::Frame { bytes, ticks }, sink);
            }
            Input::RestReply { token, status, body, rate } => self.reply(now, token, status, body, rate, sink),
            Input::CancelAll => self.sweep.begin(now.mono),
            Input::Timer => self.timer(now, sink),
        }
        self.ask(now);
    }

    /// Encodes an order on one instrument that nobody wants: see [`keel_core::engine::Engine::rehearse`]. Nothing is sent,
    /// counted or promised.
    pub fn rehearse(&mut self, now: Now, on: InstrumentId) {
        assert!(self.frame_len == 0, "poll to None before");
        let order = Order {
            client: ClientId::new(0, 1),
            instrument: on,
            px: Px::whole(1),
            qty: Qty::whole(1),
            ..Order::default()
        };
        if let Some(frame) = self.frame.first_chunk_mut::<MAX_FRAME>() {
            self.encoder.rehearse(now.wall, &order, frame);
        }
    }

    /// Instruments it has templates for.
    #[must_use]
    pub fn instruments(&self) -> usize {
        self.instruments.rows().len()
    }

    /// An order of an earlier run that was not finished when that run ended: the venue owes us a word about it. `age`:
    /// nanoseconds since anything was last asked of it, 0 if nobody knows; absence is proven the sooner.
    pub fn adopt(&mut self, now: Now, row: &Working, age: u64) {
        self.watch.adopt(now.mono, row, age);
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
        let sessions = [self.private.deadline(), self.trade.deadline()];
        let machines = [self.reconcile.deadline(), self.watch.deadline(), self.sweep.deadline()];
        sessions.into_iter().chain(machines).flatten().chain(calls).min()
    }

    /// Both conversations stand and the venue's account was read to the end.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.private.is_ready() && self.trade.is_ready() && self.reconcile.is_done()
    }

    /// Orders the venue owes a word about.
    #[must_use]
    pub fn owed(&self) -> usize {
        self.watch.owed()
    }

    /// Everything is being cancelled, and how often that was asked for so far.
    #[must_use]
    pub fn sweeping(&self) -> Option<u32> {
        self.sweep.is_on().then(|| self.sweep.rounds())
    }

    /// What is left of the venue's patience, for a page.
    #[must_use]
    pub const fn budget(&self) -> &Budget {
        &self.budget
    }

    fn order(&mut self, now: Now, order: &Order, sink: &mut impl FnMut(ExecEvent)) {
        let outcome = if self.trade.is_ready() { self.send(now, order) } else { self.send_by_rest(now, order) };
        if outcome == SentOutcome::Wire {
            self.watch.left(now.mono, order);
        }
        let (client, op, at) = (order.client, order.op, now.mono);
        sink(ExecEvent::Sent(Sent { client, at, op, outcome, ..Sent::default() }));
    }

    fn send(&mut self, now: Now, order: &Order) -> SentOutcome {
        if self.budget.take(now.mono, Endpoint::of(order.op), Channel::Trade).is_err() {
            return SentOutcome::NoBudget;
        }
        let Some(frame) = self.frame.first_chunk_mut::<MAX_FRAME>() else { return SentOutcome::Unsayable };
        match self.encoder.encode_order(now.wall, order, frame) {
            Ok(len) => {
                self.frame_len = len;
                SentOutcome::Wire
            }
            Err(_) => SentOutcome::Unsayable,
        }
    }

    /// Orders of this kind that may leave in one frame now; fewer than two are better sent alone.
    #[must_use]
    pub fn batch_room(&self, now: Mono) -> usize {
        if !self.trade.is_ready() {
            return 0;
        }
        let (left, _) = self.budget.left(now, Endpoint::CancelBatch);
        MAX_BATCH.min(left as usize)
    }

    fn cancels(&mut self, now: Now, orders: &[Recorded<Approved>], sink: &mut impl FnMut(ExecEvent)) {
        let all = orders.iter().map(|order| order.what().as_ref());
        let outcome = self.send_cancels(now, all.clone());
        for order in all {
            if outcome == SentOutcome::Wire {
                self.watch.left(now.mono, order);
            }
            let (client, op, at) = (order.client, order.op, now.mono);
            sink(ExecEvent::Sent(Sent { client, at, op, outcome, ..Sent::default() }));
        }
    }

    fn send_cancels<'a>(&mut self, now: Now, orders: impl ExactSizeIterator<Item = &'a Order> + Clone) -> SentOutcome {
        let count = orders.len();
        if !self.trade.is_ready() {
            return SentOutcome::NoLink;
        }
        if count > self.batch_room(now.mono) {
            return SentOutcome::NoBudget;
        }
        match self.batch.encode(now.wall, orders, &mut self.frame) {
            Ok(len) => {
                let took =
                    self.budget.take_batch(now.mono, Endpoint::CancelBatch, u32::try_from(count).unwrap_or(u32::MAX));
                if took as usize != count {
                    return SentOutcome::NoBudget;
                }
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
        let (symbol, self_match) = (instrument.symbol, self.self_match);
        self.request(now, Call::Order { order: *order, symbol, self_match }, Purpose::Order);
        SentOutcome::Wire
    }

    fn request(&mut self, now: Now, call: Call, purpose: Purpose) {
        self.tokens += 1;
        self.requests.push_back((self.tokens, call.request(&self.signer, now.wall)));
        self.asked.push(Asked { token: self.tokens, call, purpose, due: now.mono.after(REST_TIMEOUT) });
    }

    fn session(&mut self, now: Now, channel: Channel, input: session::Input<'_>, sink: &mut impl FnMut(ExecEvent)) {
        let (budget, luck, watch) = (&mut self.budget, &mut self.luck, &mut self.watch);
        let (mut stream, mut last_fill) = (None, Wall::default());
        let mut tap = |fact: ExecEvent| {
            watch.hear(now.mono, &fact);
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
        self.rest_answered(now, status == 200, sink);
        self.budget.observe(now.mono, call.endpoint(), rate.limit, rate.remaining);
        let source = crate::decode::Source { recv: now.mono, ticks: 0, queried: Flag::Yes };
        let (reconcile, watch) = (&mut self.reconcile, &mut self.watch);
        let answer = parse(&call, status, body, &mut self.decoder, source, &mut |fact| {
            watch.hear(now.mono, &fact);
            if let ExecEvent::Fill(fill) = fact {
                reconcile.saw_fill(fill.ts);
            }
            sink(fact);
        });
        match answer {
            Err(RestError::Http(403)) => self.budget.banned(now.mono),
            Err(RestError::Http(429)) => self.budget.overloaded(now.mono, splitmix(&mut self.luck)),
            Err(RestError::Venue(code)) => match reaction(code) {
                Reaction::RateLimited => self.budget.limited(now, call.endpoint(), rate.reset),
                Reaction::Overloaded => self.budget.overloaded(now.mono, splitmix(&mut self.luck)),
                _ => {}
            },
            _ => {}
        }
        match answer {
            Ok(answer) => self.answered(now, purpose, &call, answer, sink),
            Err(_) => self.failed(now, purpose, &call),
        }
    }

    fn answered(&mut self, now: Now, purpose: Purpose, call: &Call, answer: Answer, sink: &mut impl FnMut(ExecEvent)) {
        match (purpose, answer, call.client()) {
            (Purpose::Reconcile, Answer::Facts { count, next, .. }, _) => {
                let begun = self.reconcile.begun();
                if self.reconcile.answered(now, count, next, sink) {
                    self.watch.missing(now.mono, begun);
                }
            }
            (Purpose::Watch, Answer::Facts { rows, .. }, Some(client)) => {
                self.watch.found(now, client, rows, sink);
                if rows > 0 && !self.watch.knows(client) {
                    // it ended and the stream did not say: what else did it not say?
                    self.reconcile.hasten(now.mono);
                }
            }
            (Purpose::Sweep, Answer::Facts { rows, .. }, _) => self.sweep.looked(now.mono, rows),
            (Purpose::Sweep, Answer::Cancelling(_), _) => self.sweep.cancelling(now.mono),
            _ => {}
        }
    }

    /// A request without a usable answer. Of an order that proves nothing: it may have arrived.
    fn failed(&mut self, now: Now, purpose: Purpose, call: &Call) {
        let later = now.mono.after(reconcile::RETRY);
        match (purpose, call.client()) {
            (Purpose::Order, Some(client)) => self.watch.doubt(now.mono, client),
            (Purpose::Watch, Some(client)) => self.watch.again(client, later),
            (Purpose::Reconcile, _) => self.reconcile.failed(now),
            (Purpose::Sweep, _) => self.sweep.again(later),
            (Purpose::Order | Purpose::Watch, None) => {}
        }
    }

    /// REST is a link too: up with its first answer, down after a few that failed.
    fn rest_answered(&mut self, now: Now, well: bool, sink: &mut impl FnMut(ExecEvent)) {
        self.rest_failures = if well { 0 } else { self.rest_failures.saturating_add(1) };
        let state = match (well, self.rest_failures >= REST_FAILURES) {
            (true, _) => LinkState::Ready,
            (false, true) => LinkState::Down,
            (false, false) => self.rest,
        };
        if state != self.rest {
            self.rest = state;
            sink(ExecEvent::Link(Link { at: now.mono, channel: Channel::Rest, state, pad: [0; 6] }));
        }
    }

    fn timer(&mut self, now: Now, sink: &mut impl FnMut(ExecEvent)) {
        self.session(now, Channel::Private, session::Input::Timer, sink);
        self.session(now, Channel::Trade, session::Input::Timer, sink);
        self.reconcile.tick(now, sink);
        while let Some(at) = self.asked.iter().position(|asked| asked.due <= now.mono) {
            let Asked { call, purpose, .. } = self.asked.swap_remove(at);
            self.rest_answered(now, false, sink);
            self.failed(now, purpose, &call);
        }
    }

    fn ask(&mut self, now: Now) {
        while self.asked.len() < MAX_CALLS {
            let Some((call, purpose)) = self.next_question(now.mono) else { break };
            match self.budget.take(now.mono, call.endpoint(), Channel::Rest) {
                Ok(()) => self.request(now, call, purpose),
                Err(wait) => match (purpose, call.client()) {
                    (Purpose::Watch, Some(client)) => self.watch.again(client, wait.until),
                    (Purpose::Sweep, _) => self.sweep.again(wait.until),
                    _ => self.reconcile.postpone(wait.until),
                },
            }
        }
    }

    fn next_question(&mut self, now: Mono) -> Option<(Call, Purpose)> {
        if let Some(call) = self.sweep.question(now) {
            return Some((call, Purpose::Sweep));
        }
        if let Some(call) = self.reconcile.ask(now) {
            return Some((call, Purpose::Reconcile));
        }
        let watching = self.asked.iter().filter(|asked| asked.purpose == Purpose::Watch).count();
        if watching >= MAX_WATCHING {
            return None;
        }
        self.watch.question(now, &self.instruments).map(|call| (call, Purpose::Watch))
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
    let endpoint = if ack.batch.is_set() { Endpoint::of_batch(ack.op) } else { Endpoint::of(ack.op) };
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

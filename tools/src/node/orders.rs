//! The orders agent: recorded orders to the venue, the venue's answers to the engine.
//!
//! It owns the private and the trade wire and gives the gateway room its turns. What a turn tells the engine is handed
//! over when the turn's bytes are on the socket, so that a `Sent` fact says how long the order took. While the exec ring
//! has no room it reads nothing: the venue waits in the kernel, nothing is dropped.

use super::beat::{Beat, Heart};
use super::board::{Board, Cell};
use super::clock::Stopwatch;
use super::meter::Meter;
use super::rest::{Answered, Asked};
use super::wire::{ROOM, Turn, Wire};
use super::{Departure, Part, Report};
use keel_core::agent::Agent;
use keel_core::event::{Channel, ExecEvent, Op, SentOutcome};
use keel_core::ids::InstrumentId;
use keel_core::ring::{Consumer, Producer};
use keel_core::units::{Mono, Now};
use keel_gateway::Gateway;
use keel_gateway::gateway::{Input, Output};
use keel_journal::Recorded;
use keel_risk::Approved;
use std::sync::Arc;

/// Facts one frame may bring; with less room on the exec ring nothing is read.
const MOST_FACTS: usize = 256;
/// Orders and frames taken in one round.
const BURST: usize = 32;
/// Rounds between two frames encoded for nobody: see [`Gateway::rehearse`].
const REHEARSE_EVERY: u32 = 32;
/// Cancels in a row that go as a batch; fewer go one by one.
const FEWEST: usize = 4;

/// Its ends of the rings.
#[derive(Debug)]
pub struct Rings {
    /// From the engine.
    pub order: Consumer<Departure>,
    /// To the engine.
    pub exec: Producer<ExecEvent>,
    /// To the courier.
    pub asked: Producer<Asked>,
    /// From the courier.
    pub answered: Consumer<Answered>,
}

/// How long an order's hops took.
#[derive(Debug)]
pub struct Meters {
    /// On the order ring.
    pub handoff: Meter,
    /// In the gateway room.
    pub encode: Meter,
    /// Into the socket.
    pub send: Meter,
    /// From socket to socket.
    pub wire_to_wire: Meter,
}

impl Meters {
    fn settle(&mut self) {
        for meter in [&mut self.handoff, &mut self.encode, &mut self.send, &mut self.wire_to_wire] {
            meter.settle();
        }
    }
}

struct Line {
    channel: Channel,
    wire: Wire,
    due: Option<Mono>,
}

/// The agent.
pub struct OrdersAgent {
    gateway: Gateway,
    rings: Rings,
    lines: [Line; 2],
    facts: Vec<ExecEvent>,
    text: String,
    meters: Meters,
    watch: Stopwatch,
    board: Arc<Board>,
    sweeping: bool,
    held: Vec<(Recorded<Approved>, u64)>,
    beat: Option<Arc<Beat>>,
    round: u32,
}

impl std::fmt::Debug for OrdersAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OrdersAgent")
    }
}

impl OrdersAgent {
    /// Around this room and these wires.
    #[must_use]
    pub fn new(
        gateway: Gateway,
        rings: Rings,
        private: Wire,
        trade: Wire,
        meters: Meters,
        watch: Stopwatch,
        board: Arc<Board>,
    ) -> Self {
        let lines = [
            Line { channel: Channel::Private, wire: private, due: None },
            Line { channel: Channel::Trade, wire: trade, due: None },
        ];
        let facts = Vec::with_capacity(MOST_FACTS);
        Self {
            gateway,
            rings,
            lines,
            facts,
            text: String::with_capacity(ROOM),
            meters,
            watch,
            board,
            sweeping: false,
            held: Vec::with_capacity(BURST),
            beat: None,
            round: 0,
        }
    }

    /// Strikes this heartbeat.
    #[must_use]
    pub fn beating(mut self, beat: Option<Arc<Beat>>) -> Self {
        self.beat = beat;
        self
    }

    /// One input to its end: outputs done, facts handed over. `departed` is the order's history when it is one.
    fn turn(&mut self, now: Now, input: Input<'_>, departed: Option<(u64, u64)>) {
        let facts = &mut self.facts;
        self.gateway.handle(now, input, &mut |fact| facts.push(fact));
        let encoded = self.watch.ticks();
        while let Some(output) = self.gateway.poll() {
            match output {
                Output::Send { channel, bytes } => {
                    if let Some(line) = self.lines.iter_mut().find(|line| line.channel == channel) {
                        line.wire.send(bytes);
                    }
                }
                Output::Rest { token, request } => {
                    let _ = self.rings.asked.push(Asked { token, request });
                }
                Output::Connect { channel, after_nanos } => {
                    if let Some(line) = self.lines.iter_mut().find(|line| line.channel == channel) {
                        line.due = Some(now.mono.after(after_nanos));
                    }
                }
                Output::Close { channel } => {
                    if let Some(line) = self.lines.iter_mut().find(|line| line.channel == channel) {
                        line.wire.close();
                    }
                }
            }
        }
        let sweeping = self.gateway.sweeping().is_some();
        if std::mem::replace(&mut self.sweeping, sweeping) && !sweeping {
            self.board.add(Cell::Sweeps, 1);
        }
        let took = departed.map_or(0, |(caused, popped)| self.measure(caused, popped, encoded));
        self.hand_over(took);
    }

    fn measure(&mut self, caused: u64, popped: u64, encoded: u64) -> u64 {
        let sent = self.watch.ticks();
        self.meters.encode.record(self.watch.nanos(popped, encoded));
        self.meters.send.record(self.watch.nanos(encoded, sent));
        let took = if caused == 0 { 0 } else { self.watch.nanos(caused, sent) };
        if took > 0 {
            self.meters.wire_to_wire.record(took);
        }
        took
    }

    fn hand_over(&mut self, took: u64) {
        for mut fact in self.facts.drain(..) {
            match &mut fact {
                ExecEvent::Sent(sent) => {
                    sent.took = took;
                    let wire = sent.outcome == SentOutcome::Wire;
                    self.board.add(if wire { Cell::Sent } else { Cell::NotSent }, 1);
                }
                ExecEvent::Link(link) => match link.channel {
                    Channel::Private => self.board.set(Cell::PrivateLink, link.state as u64),
                    Channel::Trade => self.board.set(Cell::TradeLink, link.state as u64),
                    Channel::Public | Channel::Rest => {}
                },
                ExecEvent::Reconciliation(bounds) => {
                    let known = bounds.complete.is_set() || bounds.periodic.is_set();
                    self.board.set(Cell::Reconciled, u64::from(known));
                }
                _ => {}
            }
            // Room was asked for before anything was read.
            let _ = self.rings.exec.push(fact);
        }
    }

    fn has_room(&self) -> bool {
        self.rings.exec.room() >= MOST_FACTS
    }

    fn orders(&mut self, now: Now) -> usize {
        let mut work = 0;
        while work < BURST && self.has_room() && self.held.len() < BURST {
            let Some(departure) = self.rings.order.pop() else { break };
            match departure {
                Departure::Order { order, caused, pushed } if order.what().as_ref().op == Op::Cancel => {
                    self.meters.handoff.record(self.watch.nanos(pushed, self.watch.ticks()));
                    self.held.push((order, caused));
                }
                Departure::Order { order, caused, pushed } => {
                    work += self.cancels(now);
                    let popped = self.watch.ticks();
                    self.meters.handoff.record(self.watch.nanos(pushed, popped));
                    self.turn(now, Input::Order(order), Some((caused, popped)));
                }
                Departure::CancelAll => {
                    work += self.cancels(now);
                    tracing::warn!("cancelling everything at the venue");
                    self.turn(now, Input::CancelAll, None);
                }
            }
            work += 1;
        }
        work + self.cancels(now)
    }

    /// Cancels that stood one behind the other: one by one when they are few, many in one frame, on a quota of its own.
    fn cancels(&mut self, now: Now) -> usize {
        let work = self.held.len();
        while self.held.len() >= FEWEST {
            let fit = self.gateway.batch_room(now.mono).min(self.held.len());
            if fit < FEWEST {
                break;
            }
            let batch: Vec<_> = self.held.drain(..fit).map(|(order, _)| order).collect();
            self.turn(now, Input::Cancels(&batch), None);
        }
        let mut held = std::mem::take(&mut self.held);
        for (order, caused) in held.drain(..) {
            let popped = self.watch.ticks();
            self.turn(now, Input::Order(order), Some((caused, popped)));
        }
        self.held = held;
        work
    }

    fn answers(&mut self, now: Now) -> usize {
        if !self.has_room() {
            return 0;
        }
        let Some(Answered { token, reply }) = self.rings.answered.pop() else { return 0 };
        let input = Input::RestReply { token, status: reply.status, body: &reply.body, rate: reply.rate };
        self.turn(now, input, None);
        1
    }

    /// Looks at one of the sockets, the private and the trade one in turn: each look is a system call the next tick may have
    /// to wait for, and keeps what an order needs of its socket warm.
    fn look(&mut self, now: Now) -> usize {
        self.round = self.round.wrapping_add(1);
        self.meters.settle();
        if self.round.is_multiple_of(REHEARSE_EVERY) {
            let turn = (self.round / REHEARSE_EVERY) as usize % self.gateway.instruments().max(1);
            self.gateway.rehearse(now, InstrumentId(u16::try_from(turn).unwrap_or(0)));
        }
        self.line(now, self.round as usize % self.lines.len())
    }

    fn line(&mut self, now: Now, at: usize) -> usize {
        if self.lines[at].due.is_some_and(|due| now.mono >= due) {
            self.lines[at].due = None;
            self.lines[at].wire.connect();
        }
        let mut work = 0;
        while work < BURST && self.has_room() {
            let (ticks, channel) = (self.watch.ticks(), self.lines[at].channel);
            match self.lines[at].wire.read(&mut self.text) {
                Turn::Nothing => break,
                Turn::Progress => {}
                Turn::Opened => self.turn(now, Input::Connected { channel }, None),
                Turn::Closed => self.closed(now, at),
                Turn::Frame => {
                    let text = std::mem::take(&mut self.text);
                    self.turn(now, Input::Frame { channel, bytes: text.as_bytes(), ticks }, None);
                    self.text = text;
                }
            }
            work += 1;
        }
        work
    }

    fn closed(&mut self, now: Now, at: usize) {
        let channel = self.lines[at].channel;
        if let Some(why) = self.lines[at].wire.trouble() {
            tracing::warn!(?channel, "conversation ended: {why}");
        }
        self.turn(now, Input::Closed { channel }, None);
    }
}

impl Agent for OrdersAgent {
    fn name(&self) -> &'static str {
        "orders"
    }

    fn duty(&mut self, now: Now) -> usize {
        if let Some(beat) = &self.beat {
            beat.strike(Heart::Orders);
        }
        let mut work = self.orders(now);
        if self.gateway.deadline().is_some_and(|due| now.mono >= due) && self.has_room() {
            self.turn(now, Input::Timer, None);
            work += 1;
        }
        work += self.answers(now);
        work + self.look(now)
    }
}

impl Part for OrdersAgent {
    fn finish(self: Box<Self>, report: &mut Report) {
        report.sent = self.board.get(Cell::Sent);
        report.not_sent = self.board.get(Cell::NotSent);
        let meters = self.meters;
        report.hops.extend([
            meters.handoff.finish(),
            meters.encode.finish(),
            meters.send.finish(),
            meters.wire_to_wire.finish(),
        ]);
    }
}

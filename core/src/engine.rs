//! The engine: every fact comes in here, every order leaves from here.
//!
//! ```text
//!   fact --record--> desk --think--> wish --size--> order --judge--> Approved --record--> Recorded --poll--> gateway
//!          |                                  |              |                  |
//!          journal                        NotSized        Refused             Full      each a fact of its own
//! ```
//!
//! In: market, exec, command and timer facts, one at a time, with the clocks. Out: recorded orders. Never: an order
//! that permission did not stamp or the journal does not hold, a decision on a fact that is not recorded first, a clock,
//! an allocation after the start. The order of steps in [`Engine::handle`] is the order of the table in the README.

use crate::desk::{Desk, View};
use crate::event::{
    Command, CommandKind, Difference, Document, ExecEvent, Fill, Flow, Kind, MarketEvent, NotSized, Op, Order, Record,
    Side, Standing, Timer,
};
use crate::ids::{ClientId, InstrumentId, Seq};
use crate::instrument::Instruments;
use crate::orders::{Change, MAX_ORDERS};
use crate::permit::{Context, Gate, Log, LogFault, LogHealth};
use crate::sizing::Sizing;
use crate::strategy::{MAX_WISHES, Strategy, Wish, Wishes};
use crate::units::{Mono, Now};
use std::collections::VecDeque;

/// Nanoseconds between two beats of the engine's own timer.
pub const BEAT: u64 = 100_000_000;
/// Nanoseconds of silence after which an order counts as `Unknown`.
pub const SILENCE: u64 = 2_000_000_000;

/// One fact for the engine.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// The market moved.
    Market(&'a MarketEvent),
    /// The venue spoke to us.
    Exec(&'a ExecEvent),
    /// Someone at the front door.
    Command(&'a Command),
    /// A part of what people signed.
    Document(&'a Document),
    /// Money moved at the venue.
    Flow(&'a Flow),
    /// What the account and its key are to the venue.
    Standing(&'a Standing),
    /// [`Engine::deadline`] passed.
    Timer(Timer),
}

impl Record for Input<'_> {
    fn kind(&self) -> Kind {
        match self {
            Self::Market(fact) => fact.kind(),
            Self::Exec(fact) => fact.kind(),
            Self::Command(fact) => fact.kind(),
            Self::Document(fact) => fact.kind(),
            Self::Flow(fact) => fact.kind(),
            Self::Standing(fact) => fact.kind(),
            Self::Timer(fact) => fact.kind(),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Market(fact) => fact.bytes(),
            Self::Exec(fact) => fact.bytes(),
            Self::Command(fact) => fact.bytes(),
            Self::Document(fact) => fact.bytes(),
            Self::Flow(fact) => fact.bytes(),
            Self::Standing(fact) => fact.bytes(),
            Self::Timer(fact) => fact.bytes(),
        }
    }
}

/// An order on its way to the gateway.
#[derive(Debug)]
pub struct Outgoing<R> {
    /// Permitted and recorded.
    pub order: R,
    /// Stopwatch reading of the bytes that caused it; 0 when a timer or a command did.
    pub ticks: u64,
}

/// What the engine has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Facts consumed.
    pub facts: u64,
    /// Orders, amends and cancels permitted and recorded.
    pub approved: u64,
    /// Of these, new orders.
    pub placed: u64,
    /// Refused by the gate.
    pub refused: u64,
    /// Sized to nothing.
    pub not_sized: u64,
    /// Facts or decisions the journal did not take.
    pub unrecorded: u64,
    /// Fills counted.
    pub fills: u64,
    /// Facts about orders and fills we never asked for.
    pub foreign: u64,
    /// Orders the venue was silent about for too long.
    pub unknown: u64,
    /// Times the venue's account was not ours.
    pub differences: u64,
}

/// Why a wish came to nothing.
struct NotGranted;

/// The engine.
#[derive(Debug)]
pub struct Engine<S, G: Gate, L: Log> {
    desk: Desk,
    strategy: S,
    sizing: Sizing,
    gate: G,
    log: L,
    out: VecDeque<Outgoing<L::Recorded<G::Approved>>>,
    wishes: Wishes,
    beat: Mono,
    counts: Counts,
}

impl<S: Strategy, G: Gate, L: Log> Engine<S, G, L> {
    /// An engine that has seen nothing. Ids of its orders carry `run`.
    pub fn new(instruments: &Instruments, run: u32, strategy: S, sizing: Sizing, gate: G, log: L) -> Self {
        Self {
            desk: Desk::new(instruments, run),
            strategy,
            sizing,
            gate,
            log,
            out: VecDeque::with_capacity(MAX_ORDERS),
            wishes: Wishes::default(),
            beat: Mono::default(),
            counts: Counts::default(),
        }
    }

    /// Takes up what dead runs left: their open orders stay reserved, their positions held.
    #[must_use]
    pub fn resumed(mut self, now: Now, desk: Desk) -> Self {
        self.desk = desk;
        for change in self.desk.orders.reserved() {
            self.gate.order(now, &change);
        }
        for seat in self.desk.seats() {
            self.gate.position(now, seat.instrument.id, &seat.position);
        }
        self
    }

    /// Takes in one fact. [`Self::poll`] must have been drained.
    pub fn handle(&mut self, now: Now, input: Input<'_>) {
        assert!(self.out.is_empty(), "drain poll before the next handle");
        self.counts.facts += 1;
        let now = self.log.stamp(now);
        let cause = self.note(now, Seq::NONE, &input);
        match input {
            Input::Market(event) => self.market(now, cause, event),
            Input::Exec(event) => self.exec(now, cause, event),
            Input::Command(command) => self.gate.command(now, command),
            Input::Document(document) => self.gate.document(now, document),
            Input::Flow(flow) => self.desk.equity.flow(now, flow),
            Input::Standing(standing) => self.gate.standing(now, standing),
            Input::Timer(_) => self.timer(now, cause),
        }
        self.heed(now, cause);
    }

    /// Walks the way of an order on one instrument without going it: for moments in which nothing happens, so that the
    /// way is not cold when something does. Nothing is decided, counted or recorded.
    pub fn rehearse(&mut self, now: Now, on: InstrumentId) {
        self.log.ready();
        let Some(seat) = self.desk.seat(on) else { return };
        let Some(touch) = seat.touch() else { return };
        seat.book().rehearse();
        let wish = Wish::Take { side: Side::Buy, limit: touch.bid.px, reduce: false };
        if let Ok(order) = self.sizing.size(&wish, seat, None) {
            let context = Context { touch: Some(touch), working: None, log: self.log.health() };
            self.gate.rehearse(now, &order, &context);
        }
    }

    /// The next order to send.
    pub fn poll(&mut self) -> Option<Outgoing<L::Recorded<G::Approved>>> {
        self.out.pop_front()
    }

    /// When [`Input::Timer`] is due.
    #[must_use]
    pub fn deadline(&self) -> Mono {
        self.gate.deadline().map_or(self.beat, |due| due.min(self.beat))
    }

    fn market(&mut self, now: Now, cause: Seq, event: &MarketEvent) {
        self.gate.market(now, event);
        if let Some(instrument) = self.desk.market(event) {
            self.think(now, cause, instrument, event.origin().ticks);
        }
    }

    fn think(&mut self, now: Now, cause: Seq, instrument: InstrumentId, ticks: u64) {
        self.wishes.clear();
        self.strategy.think(&View { now, desk: &self.desk }, instrument, &mut self.wishes);
        for at in 0..MAX_WISHES {
            let Some(wish) = self.wishes.get(at) else { break };
            if self.grant(now, cause, instrument, &wish, ticks).is_err() {
                self.strategy.refused(&View { now, desk: &self.desk }, instrument, &wish);
            }
        }
    }

    fn grant(&mut self, now: Now, cause: Seq, on: InstrumentId, wish: &Wish, ticks: u64) -> Result<(), NotGranted> {
        let seat = self.desk.seat(on).ok_or(NotGranted)?;
        let working = named(wish).and_then(|client| self.desk.orders.get(client));
        match self.sizing.size(wish, seat, working) {
            Ok(order) => {
                let (strategy, (model, signal_age)) = (self.strategy.id(), self.strategy.signal(now));
                self.send(now, Order { cause, strategy, model, signal_age, ..order }, ticks)
            }
            Err((order, bound)) => {
                self.counts.not_sized += 1;
                self.note(now, cause, &NotSized { order: Order { cause, bound, ..order } });
                Err(NotGranted)
            }
        }
    }

    /// Permission, record, table, gateway: the only way out.
    fn send(&mut self, now: Now, mut order: Order, ticks: u64) -> Result<(), NotGranted> {
        if order.op == Op::New {
            order.client = self.desk.orders.next_id();
        }
        if self.out.len() == MAX_ORDERS || (order.op == Op::New && !self.desk.orders.has_room()) {
            return Err(NotGranted);
        }
        let touch = self.desk.seat(order.instrument).and_then(|seat| seat.touch());
        let context = Context { touch, working: self.desk.orders.get(order.client), log: self.log.health() };
        let approved = match self.gate.judge(now, &order, &context) {
            Ok(approved) => approved,
            Err(refused) => {
                self.counts.refused += 1;
                self.note(now, order.cause, &refused);
                return Err(NotGranted);
            }
        };
        let recorded = self.log.record(now, order.cause, approved).map_err(|fault| self.unrecorded(fault))?;
        // Above this line nothing changed; below it nothing fails.
        let change = self.desk.orders.admit(now.mono, &order).expect("room was asked for above");
        self.moved(now, change);
        self.counts.approved += 1;
        self.counts.placed += u64::from(order.op == Op::New);
        self.out.push_back(Outgoing { order: recorded, ticks });
        Ok(())
    }

    fn exec(&mut self, now: Now, cause: Seq, event: &ExecEvent) {
        self.gate.exec(now, event);
        let effect = self.desk.orders.apply(event);
        self.moved(now, effect.change);
        self.counts.foreign += u64::from(effect.foreign);
        if let Some(difference) = effect.difference {
            self.differs(now, cause, &difference);
        }
        self.desk.exec(event);
        if let (ExecEvent::Fill(fill), true) = (event, effect.fresh) {
            self.filled(now, fill);
        }
    }

    fn differs(&mut self, now: Now, cause: Seq, difference: &Difference) {
        self.counts.differences += 1;
        self.note(now, cause, difference);
    }

    fn filled(&mut self, now: Now, fill: &Fill) {
        self.counts.fills += 1;
        match self.desk.filled(fill) {
            Some(position) => self.gate.position(now, fill.instrument, &position),
            None if self.desk.seat(fill.instrument).is_none() => {}
            None => self.gate.command(now, &Command { kind: CommandKind::Halt, ..Command::default() }),
        }
    }

    /// What the gate says goes into the journal; what its brake stops is cancelled in the same turn.
    fn heed(&mut self, now: Now, cause: Seq) {
        let mut heard = false;
        while let Some(notice) = self.gate.notice(now) {
            self.note(now, cause, &notice);
            heard = true;
        }
        if heard {
            self.sweep(now, cause);
        }
    }

    fn timer(&mut self, now: Now, cause: Seq) {
        self.beat = now.mono.after(BEAT);
        self.gate.tick(now);
        while let Some(change) = self.desk.orders.silence(now.mono, SILENCE) {
            self.counts.unknown += 1;
            self.moved(now, Some(change));
        }
        while let Some(difference) = self.desk.judge(now.mono) {
            self.differs(now, cause, &difference);
            if let Some(position) = self.desk.seat(difference.instrument).map(|seat| seat.position) {
                self.gate.position(now, difference.instrument, &position);
            }
        }
        if let Some(worth) = self.desk.worth(now.mono) {
            self.note(now, cause, &worth);
        }
        self.sweep(now, cause);
        self.unwind(now, cause);
    }

    /// Asks for the end of every open order the brake stops and nobody asked to end yet; again at each beat until none
    /// is left.
    fn sweep(&mut self, now: Now, cause: Seq) {
        for at in 0..self.desk.orders.open().len() {
            let row = self.desk.orders.open()[at];
            if row.pending != Some(Op::Cancel) && self.gate.stops(&row.order) {
                let _ = self.send(now, Order { op: Op::Cancel, cause, ..row.order }, 0);
            }
        }
    }

    /// The brake's own orders: they shrink what is held, and leave by the same doors as any other.
    fn unwind(&mut self, now: Now, cause: Seq) {
        while let Some(order) = self.gate.unwind(now, &self.desk) {
            let _ = self.send(now, Order { cause, ..order }, 0);
        }
    }

    fn moved(&mut self, now: Now, change: Option<Change>) {
        if let Some(change) = change {
            self.gate.order(now, &change);
        }
    }

    /// Records a fact; a journal that refuses it leaves [`Seq::NONE`], and its health closes the gate to new risk.
    fn note<R: Record>(&mut self, now: Now, cause: Seq, fact: &R) -> Seq {
        self.log.fact(now, cause, fact).unwrap_or_else(|fault| {
            self.unrecorded(fault);
            Seq::NONE
        })
    }

    fn unrecorded(&mut self, _fault: LogFault) -> NotGranted {
        self.counts.unrecorded += 1;
        NotGranted
    }

    /// What is known.
    #[must_use]
    pub const fn desk(&self) -> &Desk {
        &self.desk
    }

    /// What was done.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The gate, for those who show what it measured.
    #[must_use]
    pub const fn gate(&self) -> &G {
        &self.gate
    }

    /// State of the journal.
    #[must_use]
    pub fn log_health(&self) -> LogHealth {
        self.log.health()
    }

    /// Takes the journal back out: the run is over.
    pub fn into_log(self) -> L {
        self.log
    }
}

fn named(wish: &Wish) -> Option<ClientId> {
    match wish {
        Wish::Reprice { order, .. } | Wish::Cancel { order } => Some(*order),
        Wish::Rest { .. } | Wish::Take { .. } => None,
    }
}

//! The engine's agent: takes facts off the rings, hands orders on, and measures both.
//!
//! Order of a round: the timer, commands, what the venue told us, what the market did. Each fact is dealt with to its
//! end, orders included, before the next one is looked at.

use super::beat::{Beat, Heart, State};
use super::board::{Board, Cell, UNKNOWN};
use super::clock::Stopwatch;
use super::meter::Meter;
use super::{Departure, Part, Report, Timed};
use keel_core::agent::Agent;
use keel_core::engine::{Engine, Input};
use keel_core::event::{
    Command, CommandKind, Document, ExecEvent, Flow, MarketEvent, Op, Record, Sent, SentOutcome, Standing, Timer,
};
use keel_core::ids::{ClientId, InstrumentId, Seq, Text};
use keel_core::permit::{Log, LogFault, LogHealth};
use keel_core::ring::{Consumer, Full, Producer};
use keel_core::strategy::Strategy;
use keel_core::units::Now;
use keel_journal::Writer;
use keel_risk::Gate;
use keel_risk::brake;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Facts of one kind taken in one round, so that no ring starves the others.
const BURST: usize = 256;
/// Rounds without work between two rehearsals: some ten microseconds.
const REHEARSE_EVERY: u32 = 32;

/// The journal with a stopwatch around each decision.
#[derive(Debug)]
pub struct TimedLog {
    writer: Writer,
    watch: Stopwatch,
    meter: Meter,
}

impl TimedLog {
    /// Around this writer.
    #[must_use]
    pub const fn new(writer: Writer, watch: Stopwatch, meter: Meter) -> Self {
        Self { writer, watch, meter }
    }
}

impl Log for TimedLog {
    type Recorded<T> = <Writer as Log>::Recorded<T>;

    fn stamp(&mut self, now: Now) -> Now {
        self.writer.stamp(now)
    }

    fn fact<R: Record>(&mut self, now: Now, cause: Seq, fact: &R) -> Result<Seq, LogFault> {
        self.writer.fact(now, cause, fact)
    }

    fn record<R: Record>(&mut self, now: Now, cause: Seq, decision: R) -> Result<Self::Recorded<R>, LogFault> {
        let from = self.watch.ticks();
        let recorded = self.writer.record(now, cause, decision);
        self.meter.record(self.watch.nanos(from, self.watch.ticks()));
        recorded
    }

    fn ready(&mut self) {
        self.meter.settle();
        self.writer.ready();
    }

    fn health(&self) -> LogHealth {
        self.writer.health()
    }
}

/// Something at the front door.
#[derive(Clone, Copy, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "it lives in a ring of its own, and a box would be freed on the hot thread"
)]
pub enum Petition {
    /// A word.
    Command(Command),
    /// A part of something signed.
    Document(Document),
    /// Money moved at the venue.
    Flow(Flow),
    /// What the account is to the venue.
    Standing(Standing),
}

/// Where its facts come from and its orders go.
#[derive(Debug)]
pub struct Rings {
    /// From the feed.
    pub market: Consumer<Timed<MarketEvent>>,
    /// From the gateway.
    pub exec: Consumer<ExecEvent>,
    /// From those who run the node, from the front door, from surveillance, and from the teller.
    pub command: [Consumer<Petition>; 4],
    /// To the gateway.
    pub order: Producer<Departure>,
}

/// The agent.
#[derive(Debug)]
pub struct EngineAgent<S> {
    engine: Engine<S, Gate, TimedLog>,
    rings: Rings,
    watch: Stopwatch,
    queue: Meter,
    decide: Meter,
    absorb: Meter,
    board: Arc<Board>,
    turned_away: Vec<(ClientId, Op)>,
    unpublished: bool,
    /// The gate stopped everything when it was last looked at; it starts so.
    stopped: bool,
    sweep_owed: bool,
    beat: Option<Arc<Beat>>,
    halted_by_watcher: bool,
    at_work: bool,
    /// Rounds without work since the last one with some.
    idle: u32,
}

impl<S: Strategy> EngineAgent<S> {
    /// Around this engine.
    #[must_use]
    pub fn new(
        engine: Engine<S, Gate, TimedLog>,
        rings: Rings,
        watch: Stopwatch,
        meters: [Meter; 3],
        board: Arc<Board>,
    ) -> Self {
        let [queue, decide, absorb] = meters;
        Self {
            engine,
            rings,
            watch,
            queue,
            decide,
            absorb,
            board,
            turned_away: Vec::with_capacity(64),
            unpublished: true,
            stopped: true,
            sweep_owed: false,
            beat: None,
            halted_by_watcher: false,
            at_work: false,
            idle: 0,
        }
    }

    /// Nothing happened this round: what was put off is done, and the way of an order is kept warm, one instrument after
    /// the other.
    fn rest(&mut self, now: Now) {
        if std::mem::take(&mut self.unpublished) {
            self.publish();
            for meter in [&mut self.queue, &mut self.decide, &mut self.absorb] {
                meter.settle();
            }
        }
        self.idle = self.idle.wrapping_add(1);
        if self.idle.is_multiple_of(REHEARSE_EVERY) {
            let turn = (self.idle / REHEARSE_EVERY) as usize % self.engine.desk().seats().len().max(1);
            self.engine.rehearse(now, InstrumentId(u16::try_from(turn).unwrap_or(0)));
            self.rings.order.rehearse();
        }
    }

    /// Strikes this heartbeat.
    #[must_use]
    pub fn beating(mut self, beat: Option<Arc<Beat>>) -> Self {
        self.beat = beat;
        self
    }

    /// Strikes; and halts before anything else when whoever watches over us has acted meanwhile.
    fn strike(&mut self, now: Now) {
        let Some(beat) = &self.beat else { return };
        beat.strike(Heart::Engine);
        if !self.at_work && (!self.stops() || !self.engine.desk().orders.open().is_empty()) {
            self.at_work = true;
            beat.state_is(State::AtWork);
        }
        if beat.fired() && !std::mem::replace(&mut self.halted_by_watcher, true) {
            tracing::error!("the dead man's switch has acted: halted until people look");
            let author = Text::new(b"deadman").unwrap_or_default();
            let command = Command { recv: now.mono, author, kind: CommandKind::Halt, ..Command::default() };
            self.take(now, Input::Command(&command));
        }
    }

    /// Must every open order go?
    fn stops(&self) -> bool {
        self.engine.gate().brake().global() >= brake::State::CancelOnly
    }

    fn take(&mut self, now: Now, input: Input<'_>) -> usize {
        self.engine.handle(now, input);
        let stops = self.stops();
        let told =
            matches!(input, Input::Command(it) if matches!(it.kind, CommandKind::Halt | CommandKind::CancelOnly));
        self.sweep_owed |= (stops && !self.stopped) || told;
        self.stopped = stops;
        let mut orders = 0;
        while let Some(out) = self.engine.poll() {
            orders += 1;
            let departure = Departure::Order { order: out.order, caused: out.ticks, pushed: self.watch.ticks() };
            if let Err(Full(Departure::Order { order, .. })) = self.rings.order.push(departure) {
                let order = order.what().as_ref();
                self.turned_away.push((order.client, order.op));
            }
        }
        orders
    }

    /// Who stops trading cancels at the venue too: what our table does not know may be open there.
    fn sweep(&mut self) -> usize {
        let pushed = self.sweep_owed && self.rings.order.push(Departure::CancelAll).is_ok();
        self.sweep_owed &= !pushed;
        usize::from(pushed)
    }

    /// Orders the ring did not take are facts too: they provably never left.
    fn tell_turned_away(&mut self, now: Now) {
        while let Some((client, op)) = self.turned_away.pop() {
            let sent = Sent { client, at: now.mono, op, outcome: SentOutcome::Busy, ..Sent::default() };
            self.take(now, Input::Exec(&ExecEvent::Sent(sent)));
        }
    }

    fn market(&mut self, now: Now) -> usize {
        let mut work = 0;
        while work < BURST {
            let Some(event) = self.rings.market.pop() else { break };
            let from = self.watch.ticks();
            let orders = self.take(now, Input::Market(&event.what));
            let took = self.watch.nanos(from, self.watch.ticks());
            self.queue.record(self.watch.nanos(event.ticks, from));
            if orders > 0 {
                self.decide.record(took)
            } else {
                self.absorb.record(took)
            }
            work += 1;
        }
        work
    }

    fn publish(&self) {
        let (counts, gate) = (self.engine.counts(), self.engine.gate());
        for (cell, value) in [
            (Cell::Facts, counts.facts),
            (Cell::Approved, counts.approved),
            (Cell::Refused, counts.refused),
            (Cell::NotSized, counts.not_sized),
            (Cell::Unrecorded, counts.unrecorded),
            (Cell::Fills, counts.fills),
            (Cell::Foreign, counts.foreign),
            (Cell::Differences, counts.differences),
            (Cell::Unknown, counts.unknown),
            (Cell::OpenOrders, self.engine.desk().orders.open().len() as u64),
            (Cell::LogHealth, self.engine.log_health() as u64),
            (Cell::BrakeState, gate.brake().global() as u64),
            (Cell::BrakeReason, gate.brake().worst().reason as u64),
            (Cell::BrakeVersion, gate.brake().version()),
            (Cell::LimitsVersion, gate.limits().version.into()),
            (Cell::Doubt, gate.answered().1 as u64),
            (Cell::RiskDrift, ppb(gate.drift())),
            (Cell::Answered, gate.answered().0),
            (Cell::KycBreaches, gate.kyc().map_or(0, |found| found.bits().into())),
        ] {
            self.board.set(cell, value);
        }
        let worth = self.engine.desk().last_worth();
        for (cell, value) in [
            (Cell::Equity, worth.equity),
            (Cell::Moved, worth.moved),
            (Cell::HighWater, worth.high),
            (Cell::Drawdown, worth.drawdown),
            (Cell::InitialMargin, worth.initial_margin),
            (Cell::MaintenanceMargin, worth.maintenance_margin),
            (Cell::StressLimit, gate.limits().max_stress),
        ] {
            self.board.set(cell, value.raw().cast_unsigned());
        }
        let (measured, tail) = (gate.measured(), gate.limits().tail);
        for (cell, value) in [
            (Cell::ValueAtRisk, measured.risk.map(|risk| risk.var)),
            (Cell::Shortfall, measured.risk.map(|risk| risk.es)),
            (Cell::Stress, measured.stress),
            (Cell::ValueAtRiskLimit, tail.map(|tail| tail.max_loss.to_f64())),
            (Cell::ShortfallLimit, tail.map(|tail| tail.max_shortfall.to_f64())),
        ] {
            self.board.set(cell, value.map_or(UNKNOWN, usdt).cast_unsigned());
        }
        for (seat, index) in self.engine.desk().seats().iter().zip(0..) {
            let row = self.board.row(index);
            let mark = seat.touch().map_or(seat.mark, |touch| touch.mid());
            row.position.store(seat.position.size.raw(), Ordering::Release);
            row.fees.store(seat.position.fees.raw(), Ordering::Release);
            row.mark.store(mark.raw(), Ordering::Release);
            row.unwind.store(gate.flatten().stage(seat.instrument.id) as u64, Ordering::Release);
            let distance = seat.picture().and_then(|picture| picture.distance(mark));
            row.distance.store(distance.unwrap_or(i64::MAX), Ordering::Release);
            row.net.store(seat.position.net(mark).map_or(0, |net| net.raw()), Ordering::Release);
        }
    }
}

/// Money in steps of 1e-8; what is no number is not known.
#[allow(clippy::cast_possible_truncation, reason = "the cast saturates")]
fn usdt(value: f64) -> i64 {
    if value.is_nan() { UNKNOWN } else { (value * 1e8) as i64 }
}

/// A share in 1e-9; one that is no number is the largest there is.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
fn ppb(share: f64) -> u64 {
    if share.is_nan() { u64::MAX } else { (share * 1e9) as u64 }
}

impl<S: Strategy> Agent for EngineAgent<S> {
    fn name(&self) -> &'static str {
        "engine"
    }

    fn duty(&mut self, now: Now) -> usize {
        self.strike(now);
        let mut work = 0;
        if now.mono >= self.engine.deadline() {
            let due = self.engine.deadline();
            self.take(now, Input::Timer(Timer { due }));
            work += 1;
        }
        for _ in 0..BURST {
            let Some(petition) = self.rings.command.iter_mut().find_map(Consumer::pop) else { break };
            match &petition {
                Petition::Command(command) => self.take(now, Input::Command(command)),
                Petition::Document(document) => self.take(now, Input::Document(document)),
                Petition::Flow(flow) => self.take(now, Input::Flow(flow)),
                Petition::Standing(standing) => self.take(now, Input::Standing(standing)),
            };
            work += 1;
        }
        for _ in 0..BURST {
            let Some(event) = self.rings.exec.pop() else { break };
            self.take(now, Input::Exec(&event));
            work += 1;
        }
        work += self.market(now);
        self.tell_turned_away(now);
        work += self.sweep();
        self.board.add(Cell::HotRounds, 1);
        if work == 0 {
            self.rest(now);
        }
        self.unpublished |= work > 0;
        work
    }
}

impl<S: Strategy + Send + 'static> Part for EngineAgent<S> {
    fn finish(self: Box<Self>, report: &mut Report) {
        self.publish();
        report.counts = *self.engine.counts();
        report.seats = self.engine.desk().seats().iter().map(super::SeatReport::from).collect();
        report.open_orders = self.engine.desk().orders.open().len();
        report.hops.extend([self.queue.finish(), self.decide.finish(), self.absorb.finish()]);
        let log = self.engine.into_log();
        report.hops.push(log.meter.finish());
        report.writer = Some(log.writer);
    }
}

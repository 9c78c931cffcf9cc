//! May this order leave?
//!
//! In: everything the engine sees, and one order. Out: [`Approved`], the only thing the journal and the gateway accept,
//! or [`Refused`] with every reason. All checks that concern the order are made, in the order of [`CHECKS`]; each leaves
//! what it measured beside its limit in the [`Decision`].
//!
//! ```text
//!   order --> what does it do to risk? --> table of checks --> nothing failed --> stamp
//!               Cancel | Reduce | Risk        (refuse)           (mutate: tokens, memory of recent orders)
//! ```
//!
//! Never: an allocation, a clock, a float deciding about money; an order that passes because something was missing; an
//! order that shrinks risk held back by a limit it cannot worsen.

use crate::brake::{Brake, Scope, State};
use crate::checks::{CHECKS, Question};
use crate::decision::{Approved, Decision, Refused};
use crate::exposure::Exposure;
use crate::limits::{InstrumentLimits, Limits, LimitsError, StrategyLimits};
use crate::refusal::Refusal;
use crate::traffic::{Bucket, Recent, Window};
use crate::trips::{Readings, Trips};
use crate::var::{Outcomes, Scenarios, Shock, TAIL_POINTS, tail_count};
use crate::watch::{Market, Venue, millis};
use keel_core::event::{Channel, Command, CommandKind, ExecEvent, ExecKind, LinkState, MarketEvent, Op, Order, Wallet};
use keel_core::ids::{ClientId, InstrumentId, StrategyId};
use keel_core::instrument::{Instrument, Instruments};
use keel_core::orders::Change;
use keel_core::permit::{self, Context};
use keel_core::position::Position;
use keel_core::units::{Mono, Notional, Now, Px};

/// A loss in basis points of its limit; a loss that is no number is all of it and more.
#[allow(clippy::cast_possible_truncation, reason = "the cast saturates")]
fn share(loss: f64, limit: Notional) -> i64 {
    let share = loss / limit.to_f64() * 1e4;
    if share.is_nan() { i64::MAX } else { share as i64 }
}

/// Largest accepted drift of the incremental sums, as a share of the gross value of the book.
pub const MAX_DRIFT: f64 = 1e-6;

/// The gate: the state that answers, and the limits it answers by.
#[derive(Debug)]
pub struct Gate {
    pub(crate) limits: Limits,
    pub(crate) rows: Vec<InstrumentLimits>,
    pub(crate) permissions: Vec<u64>,
    pub(crate) instruments: Vec<Instrument>,
    pub(crate) markets: Vec<Market>,
    pub(crate) venue: Venue,
    pub(crate) wallet: Option<Wallet>,
    pub(crate) brake: Brake,
    pub(crate) exposure: Exposure,
    pub(crate) outcomes: Option<Outcomes>,
    pub(crate) stress: Outcomes,
    pub(crate) messages: Bucket,
    pub(crate) recent: Recent,
    pub(crate) strategies: Vec<Conduct>,
    /// Our own profit and loss, by instrument and together.
    positions: Vec<Position>,
    profits: Vec<i64>,
    trips: Trips,
    readings: Readings,
    drift: f64,
    next_check: Mono,
}

/// How one strategy behaves.
#[derive(Debug)]
pub(crate) struct Conduct {
    pub(crate) messages: Bucket,
    pub(crate) executions: Window,
    pub(crate) rejects: Window,
}

impl Conduct {
    fn new(row: &StrategyLimits, limits: &Limits) -> Self {
        Self {
            messages: Bucket::new(row.rate, row.rate),
            executions: Window::new(row.max_executions, millis(limits.execution_window)),
            rejects: Window::new(row.max_rejects, millis(limits.reject_window)),
        }
    }
}

/// Are there scenarios enough for the tail? Five points of it, counted without a float.
fn measurable(limits: &Limits, scenarios: Option<&Scenarios>) -> Result<(), LimitsError> {
    let Some(tail) = &limits.tail else { return Ok(()) };
    let count = scenarios.ok_or(LimitsError::NoScenarios)?.count();
    if tail_count(count, tail.tail) < TAIL_POINTS { Err(LimitsError::BadScenarios) } else { Ok(()) }
}

impl Gate {
    /// A gate that starts halted: it wants an authenticated [`CommandKind::Arm`], a wallet, ready links, a finished
    /// reconciliation, a trusted book and a mark before the first order that adds risk may leave.
    ///
    /// `scenarios` must be given when `limits.tail` is set; [`Limits::without_tail`] states that there is no such limit.
    pub fn new(limits: Limits, instruments: &Instruments, scenarios: Option<Scenarios>) -> Result<Self, LimitsError> {
        limits.check()?;
        measurable(&limits, scenarios.as_ref())?;
        let count = instruments.rows().len();
        Ok(Self {
            rows: limits.rows(instruments)?,
            permissions: limits.permissions(instruments)?,
            instruments: instruments.rows().to_vec(),
            markets: vec![Market::default(); count],
            venue: Venue::default(),
            wallet: None,
            brake: Brake::default(),
            exposure: Exposure::new(count),
            outcomes: scenarios.map(Outcomes::new),
            stress: Outcomes::new(crate::stress::scenarios(instruments)),
            messages: Bucket::new(limits.message_rate, limits.message_burst),
            recent: Recent::default(),
            strategies: limits.strategies.iter().map(|row| Conduct::new(row, &limits)).collect(),
            positions: vec![Position::default(); count],
            profits: vec![0; count],
            trips: Trips::default(),
            readings: Readings::default(),
            drift: 0.0,
            next_check: Mono::default(),
            limits,
        })
    }

    /// Puts a later version of the limits in force. Whether people agreed is asked of [`crate::consent::People::limits`]
    /// before. Nothing held, open, counted or latched is forgotten. On an error nothing changed.
    pub fn reload(&mut self, now: Now, limits: Limits, instruments: &Instruments) -> Result<(), LimitsError> {
        limits.check()?;
        measurable(&limits, self.outcomes.as_ref().map(Outcomes::scenarios))?;
        let same = instruments.rows() == self.instruments && limits.strategies.len() >= self.strategies.len();
        if !same || limits.version <= self.limits.version {
            return Err(LimitsError::Range(if same { "version" } else { "strategies" }));
        }
        let (rows, permissions) = (limits.rows(instruments)?, limits.permissions(instruments)?);
        // Above this line nothing changed; below it nothing fails.
        self.messages = self.messages.retuned(now.mono, limits.message_rate, limits.message_burst);
        for (conduct, row) in self.strategies.iter_mut().zip(&limits.strategies) {
            conduct.messages = conduct.messages.retuned(now.mono, row.rate, row.rate);
            conduct.executions = conduct.executions.retuned(row.max_executions, millis(limits.execution_window));
            conduct.rejects = conduct.rejects.retuned(row.max_rejects, millis(limits.reject_window));
        }
        let known = self.strategies.len();
        self.strategies.extend(limits.strategies[known..].iter().map(|row| Conduct::new(row, &limits)));
        (self.rows, self.permissions, self.limits) = (rows, permissions, limits);
        Ok(())
    }

    /// The brake.
    #[must_use]
    pub const fn brake(&self) -> &Brake {
        &self.brake
    }

    /// What is held and open.
    #[must_use]
    pub const fn exposure(&self) -> &Exposure {
        &self.exposure
    }

    /// Outcomes of the book per scenario; `None` without scenarios.
    #[must_use]
    pub const fn outcomes(&self) -> Option<&Outcomes> {
        self.outcomes.as_ref()
    }

    /// Outcomes of the book per stress scenario.
    #[must_use]
    pub const fn stress(&self) -> &Outcomes {
        &self.stress
    }

    /// The limits in force.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Largest drift of the incremental sums at the last recomputation, as a share of the gross value of the book.
    #[must_use]
    pub const fn drift(&self) -> f64 {
        self.drift
    }

    /// What the brake trips by.
    #[must_use]
    pub const fn trips(&self) -> &Trips {
        &self.trips
    }

    /// Realised and unrealised profit since the start, at mark, after fees and funding.
    #[must_use]
    pub fn profit(&self) -> Notional {
        let sum: i128 = self.profits.iter().map(|profit| i128::from(*profit)).sum();
        Notional::from_raw(i64::try_from(sum).unwrap_or(if sum > 0 { i64::MAX } else { i64::MIN }))
    }

    /// Takes up the fortune of an earlier run; see [`Trips::resume`].
    pub fn resume(&mut self, unit_value: i64, highest: i64) {
        self.trips.resume(unit_value, highest);
    }

    /// Our profit on one instrument moved.
    fn earn(&mut self, now: Now, id: InstrumentId) {
        let (Some(position), Some(holding)) = (self.positions.get(id.index()), self.exposure.holding(id)) else {
            return;
        };
        // without a mark the cost stands in: nothing earned yet on what is open
        let net = if holding.mark.is_zero() {
            position.net(position.entry().unwrap_or(Px::ZERO))
        } else {
            position.net(holding.mark)
        };
        match net {
            Some(net) => self.profits[id.index()] = net.raw(),
            None => self.brake.trip(Scope::Global, State::Halted),
        }
        self.look(now);
    }

    fn look(&mut self, now: Now) {
        // before the first wallet nothing is a share of anything, and what earlier runs earned is not lost or won now
        if self.wallet.is_none() {
            return;
        }
        let profit = self.profit();
        self.trips.look(now, profit, &self.limits.trips, self.readings);
        self.brake.hold(self.trips.worst().0.state());
    }

    /// Our positions beside the venue's.
    fn compare(&mut self, now: Now) {
        let pairs = self.markets.iter_mut().zip(self.exposure.holdings());
        self.venue.mismatch = pairs.fold(false, |any, (market, ours)| market.compare(now.mono, ours.position) || any);
    }

    /// The slow measures, once an interval.
    fn read(&mut self) {
        let of =
            |part: i128, whole: i128| (whole > 0).then(|| i64::try_from(part * 10_000 / whole).unwrap_or(i64::MAX));
        let limit = self.limits.tail;
        let risk = limit.and_then(|tail| Some((self.outcomes.as_mut()?.worst_risk(tail.tail)?, tail)));
        self.readings.value_at_risk =
            risk.map(|(risk, tail)| share(risk.var, tail.max_loss).max(share(risk.es, tail.max_shortfall)));
        let still = Shock { instrument: InstrumentId(0), value: 0.0, cost: 0.0 };
        self.readings.stress = Some(share(self.stress.worst_loss(still), self.limits.max_stress));
        let wallet = self.wallet.map(|wallet| (wallet.maintenance_margin.raw(), wallet.equity.raw()));
        // equity that is gone is all margin, not none
        self.readings.margin = wallet.map(|(margin, equity)| of(margin.into(), equity.into()).unwrap_or(i64::MAX));
    }

    fn revalue(&mut self, id: InstrumentId) {
        let Some(holding) = self.exposure.holding(id) else { return };
        let legs = holding.legs();
        if let Some(outcomes) = &mut self.outcomes {
            outcomes.update(id, legs);
        }
        self.stress.update(id, legs);
    }

    fn set_mark(&mut self, now: Now, id: InstrumentId, mark: Px) {
        self.exposure.set_mark(id, mark);
        self.revalue(id);
        self.earn(now, id);
    }

    fn conduct(&mut self, client: ClientId) -> Option<&mut Conduct> {
        let StrategyId(at) = self.exposure.strategy(client)?;
        self.strategies.get_mut(usize::from(at))
    }

    /// A tape without marks: the middle of the book stands in, where the limits say it may.
    fn borrow_mark(&mut self, now: Now, order: &Order, context: &Context<'_>) {
        let id = order.instrument;
        let Some(market) = self.markets.get_mut(id.index()) else { return };
        let allowed = self.limits.mark == crate::limits::MarkSource::TickerOrMid && market.index.is_zero();
        if let (true, Some(touch)) = (allowed, context.touch) {
            let moved = market.mark != touch.mid();
            (market.mark, market.marked) = (touch.mid(), now.mono);
            if moved {
                self.set_mark(now, id, touch.mid());
            }
        }
    }

    /// Everything that is measured about one order, and no permission: what a replay compares.
    pub fn weigh(&mut self, now: Now, order: &Order, context: &Context<'_>) -> Decision {
        self.borrow_mark(now, order, context);
        let mut decision = Decision { order: *order, limits: self.limits.version, ..Decision::default() };
        match Question::new(self, now, order, context) {
            Err(stranger) => decision.refuse(stranger),
            Ok(question) => {
                question.describe(&mut decision);
                for check in CHECKS.iter().filter(|check| check.concerns(question.class)) {
                    decision.note(check.code, (check.measure)(&question));
                }
            }
        }
        decision
    }

    /// The order leaves: this gate let it, or follows one that did. Below this line nothing fails.
    pub fn spend(&mut self, now: Now, order: &Order) {
        self.messages.take(now.mono);
        if let Some(conduct) = self.strategies.get_mut(order.strategy.index()) {
            conduct.messages.take(now.mono);
        }
        if order.op == Op::New {
            self.recent.remember(now.mono, order);
        }
    }
}

impl permit::Gate for Gate {
    type Approved = Approved;
    type Refused = Refused;

    fn judge(&mut self, now: Now, order: &Order, context: &Context<'_>) -> Result<Approved, Refused> {
        let decision = self.weigh(now, order, context);
        if decision.first != Refusal::None {
            return Err(Refused::new(decision));
        }
        self.spend(now, order);
        Ok(Approved::new(decision))
    }

    fn market(&mut self, now: Now, event: &MarketEvent) {
        if let MarketEvent::VenueStatus(status) = event {
            return self.venue.announce(status);
        }
        let Some(id) = event.instrument() else { return };
        let Some(market) = self.markets.get_mut(id.index()) else { return };
        if market.see(event) {
            let mark = market.mark;
            self.set_mark(now, id, mark);
        }
    }

    fn exec(&mut self, now: Now, event: &ExecEvent) {
        self.venue.hear(event);
        match event {
            ExecEvent::Wallet(wallet) => {
                self.wallet = Some(*wallet);
                let profit = self.profit();
                self.trips.wallet(wallet.equity, profit);
            }
            ExecEvent::Position(position) => {
                if let Some(market) = self.markets.get_mut(position.instrument.index()) {
                    market.theirs = Some(position.size);
                }
            }
            ExecEvent::Link(link) if link.channel == Channel::Private && link.state != LinkState::Ready => {
                self.markets.iter_mut().for_each(|market| market.theirs = None);
            }
            ExecEvent::Fill(fill) if fill.kind == ExecKind::Trade => {
                if let Some(conduct) = self.conduct(fill.client) {
                    conduct.executions.count(now.mono);
                }
            }
            ExecEvent::Ack(ack) if ack.code != 0 && ack.op != Op::Cancel => {
                if let Some(conduct) = self.conduct(ack.client) {
                    conduct.rejects.count(now.mono);
                }
            }
            _ => {}
        }
    }

    fn command(&mut self, _now: Now, command: &Command) {
        if self.brake.command(command) {
            self.trips.release();
            for conduct in &mut self.strategies {
                conduct.executions.release();
                conduct.rejects.release();
            }
        }
        debug_assert!(command.kind != CommandKind::Halt || self.brake.global() == State::Halted);
    }

    fn order(&mut self, _now: Now, change: &Change) {
        self.exposure.apply(change);
        self.revalue(change.instrument);
    }

    fn position(&mut self, now: Now, instrument: InstrumentId, position: &Position) {
        self.exposure.set_position(instrument, position.size);
        if let Some(kept) = self.positions.get_mut(instrument.index()) {
            *kept = *position;
        }
        self.revalue(instrument);
        self.earn(now, instrument);
    }

    fn tick(&mut self, now: Now) {
        self.compare(now);
        if now.mono < self.next_check {
            return self.look(now);
        }
        self.next_check = now.mono.after(millis(self.limits.drift_interval));
        let drift = self.outcomes.as_mut().map_or(0.0, Outcomes::recompute);
        self.drift = drift.max(self.stress.recompute());
        let sound = self.drift <= MAX_DRIFT && !self.exposure.lost();
        if !sound {
            // our own sums are not what they should be: hold what we have, add nothing
            self.brake.trip(Scope::Global, State::ReduceOnly);
        }
        self.read();
        self.look(now);
    }

    fn deadline(&self) -> Option<Mono> {
        Some(self.next_check)
    }

    fn stops(&self) -> bool {
        self.brake.global() >= State::CancelOnly
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
pub(crate) mod tests;

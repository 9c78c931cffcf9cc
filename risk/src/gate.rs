//! May this order leave?
//!
//! In: everything the engine sees, and one order. Out: [`Approved`], the only thing the journal and the gateway accept,
//! or [`Refused`] with every reason. All checks that concern the order are made, in the order of the table in `checks`; each leaves
//! what it measured beside its limit in the [`Decision`].
//!
//! ```text
//!   order --> what does it do to risk? --> table of checks --> nothing failed --> stamp
//!               Cancel | Reduce | Risk        (refuse)           (mutate: tokens, memory of recent orders)
//! ```
//!
//! Never: an allocation, a clock, a float deciding about money; an order that passes because something was missing; an
//! order that shrinks risk held back by a limit it cannot worsen.

mod readings;

use crate::brake::{Brake, Reason, Scope, Standing, State};
use crate::checks::Question;
use crate::decision::{Approved, Decision, Refused};
use crate::exposure::Exposure;
use crate::flatten::{BRAKE, Flatten};
use crate::flow::Flow;
use crate::kyc::KycPolicy;
use crate::limits::{InstrumentLimits, Limits, LimitsError, StrategyLimits};
use crate::models::Models;
use crate::notice::{self, Notice, Said, Trip};
use crate::petition;
use crate::refusal::Refusal;
use crate::traffic::{Bucket, Recent, Window};
use crate::trips::{Cause, Level, Readings, Trips};
use crate::var::{Measured, Outcomes, Scenarios, TAIL_POINTS, tail_count};
use crate::vigil::{Vigil, Work};
use crate::watch::{Market, Venue, millis};
use keel_core::desk::Desk;
use keel_core::event::{
    Ack, Channel, Command, CommandKind, Document, ExecEvent, ExecKind, LinkState, MarketEvent, Op, Order,
    Standing as Account, Wallet,
};
use keel_core::ids::{ClientId, InstrumentId, Text};
use keel_core::instrument::{Instrument, Instruments};
use keel_core::orders::Change;
use keel_core::permit::{self, Context};
use keel_core::position::Position;
use keel_core::units::{Mono, Notional, Now, Px, Qty};

/// Largest accepted drift of the incremental sums, as a share of the gross value of the book.
pub const MAX_DRIFT: f64 = 1e-6;

/// Nanoseconds between two records of what the account is worth.
pub const FORTUNE: u64 = 10_000_000_000;

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
    pub(crate) flows: Vec<Flow>,
    pub(crate) models: Models,
    vigil: Vigil,
    /// Our own profit and loss, by instrument and together.
    positions: Vec<Position>,
    profits: Vec<i64>,
    pub(crate) trips: Trips,
    readings: Readings,
    measured: Measured,
    drift: f64,
    next_check: Mono,
    /// When the brake last looked; `None` before its first look.
    beat: Option<Mono>,
    pub(crate) petitions: petition::Desk,
    pub(crate) flatten: Flatten,
    pub(crate) kyc: Option<KycPolicy>,
    /// What the account last was to the venue.
    pub(crate) account: Option<Account>,
    said: Said,
    /// Who last asked for less.
    author: Text<39>,
    next_fortune: Mono,
}

/// Nanoseconds after which a brake that looked once and looks no more is taken for dead: nothing adds risk without it.
const HEARTBEAT: u64 = 1_000_000_000;

/// How one strategy behaves.
#[derive(Debug)]
pub(crate) struct Conduct {
    pub(crate) messages: Bucket,
    pub(crate) executions: Window,
    pub(crate) rejects: Window,
    pub(crate) work: Work,
}

impl Conduct {
    fn new(row: &StrategyLimits, limits: &Limits) -> Self {
        Self {
            messages: Bucket::new(row.rate, row.rate),
            executions: Window::new(row.max_executions, millis(limits.execution_window)),
            rejects: Window::new(row.max_rejects, millis(limits.reject_window)),
            work: Work::default(),
        }
    }
}

/// An amend that came after the fill it raced: the market's doing, not the strategy's.
fn lost_race(ack: &Ack) -> bool {
    /// The venue's word for an order that does not exist any more.
    const NO_ORDER: i32 = 110_001;
    ack.op == Op::Amend && ack.code == NO_ORDER
}

/// Are there scenarios enough for the tail? Five points of it, counted without a float.
fn measurable(limits: &Limits, scenarios: Option<&Scenarios>) -> Result<(), LimitsError> {
    let Some(tail) = &limits.tail else { return Ok(()) };
    let count = scenarios.ok_or(LimitsError::NoScenarios)?.count();
    if tail_count(count, tail.tail) < TAIL_POINTS { Err(LimitsError::BadScenarios) } else { Ok(()) }
}

impl Gate {
    /// A gate that starts halted: it wants a request two of [`Self::trusting`] signed, a wallet, ready links, a finished
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
            flows: vec![Flow::default(); count],
            models: Models::default(),
            vigil: Vigil::default(),
            positions: vec![Position::default(); count],
            profits: vec![0; count],
            trips: Trips::default(),
            readings: Readings::default(),
            measured: Measured::default(),
            drift: 0.0,
            next_check: Mono::default(),
            beat: None,
            petitions: petition::Desk::default(),
            flatten: Flatten::new(count),
            kyc: None,
            account: None,
            said: Said::default(),
            author: Text::EMPTY,
            next_fortune: Mono::default(),
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

    /// Which model versions may ask for orders.
    pub const fn models_mut(&mut self) -> &mut Models {
        &mut self.models
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

    /// Value at risk, shortfall and stress at the last look, once an interval.
    #[must_use]
    pub const fn measured(&self) -> Measured {
        self.measured
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

    /// How the brake gets on with what is held.
    #[must_use]
    pub const fn flatten(&self) -> &Flatten {
        &self.flatten
    }

    /// A trip with what was measured for it.
    fn describe(&self, now: Now, scope: Scope, before: Standing, after: Standing) -> Trip {
        let cause = Cause::ALL.into_iter().find(|cause| cause.reason() == after.reason);
        let level = match after.state {
            State::Active => Level::Warn,
            State::ReduceOnly => Level::Reduce,
            State::CancelOnly | State::Halted => Level::Halt,
        };
        let asked = matches!(after.reason, Reason::Person | Reason::PersonCloses | Reason::Ending);
        Trip {
            version: self.brake.version(),
            measured: match after.reason {
                Reason::Kyc => self.kyc().map_or(0, |found| found.bits().into()),
                _ => cause.and_then(|cause| self.trips.measured(cause)).unwrap_or(0),
            },
            limit: cause.map_or(0, |cause| self.limits.trips.of(cause).at(level)),
            limits: self.limits.version,
            author: if asked { self.author } else { Text::EMPTY },
            at: now.mono,
            ..notice::trip(scope, before, after)
        }
    }

    /// What the account is worth, once in a while.
    fn fortune(&mut self, now: Now) -> Option<Notice> {
        if now.mono < self.next_fortune {
            return None;
        }
        let fortune = self.trips.fortune(self.profit())?;
        self.next_fortune = now.mono.after(FORTUNE);
        Some(Notice::Fortune(fortune))
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
            None => self.brake.trip(Scope::Global, State::Halted, Reason::Overflow),
        }
        self.look(now);
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

    /// Something that may happen so often of a strategy, and then stops it until people look.
    fn behaved(&mut self, now: Now, client: ClientId, reason: Reason, of: impl FnOnce(&mut Conduct) -> &mut Window) {
        let Some(strategy) = self.exposure.strategy(client) else { return };
        let Some(conduct) = self.strategies.get_mut(strategy.index()) else { return };
        if reason == Reason::Executions {
            conduct.work.fill(now.mono);
        }
        let window = of(conduct);
        window.count(now.mono);
        if window.is_latched() {
            self.brake.trip(Scope::Strategy(strategy), State::ReduceOnly, reason);
        }
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

    /// Does the brake still look?
    pub(crate) fn is_watched(&self, now: Now) -> bool {
        self.beat.is_none_or(|beat| now.mono.since(beat) <= HEARTBEAT)
    }

    /// Someone asked: counted whatever comes of it, and windows brought up to now.
    fn note_asking(&mut self, now: Now, order: &Order) {
        if order.op != Op::Cancel {
            self.vigil.asked(now.mono);
        }
        if let Some(flow) = self.flows.get_mut(order.instrument.index()) {
            flow.advance(now.mono);
        }
    }

    /// Everything that is measured about one order, and no permission: what a replay compares.
    pub fn weigh(&mut self, now: Now, order: &Order, context: &Context<'_>) -> Decision {
        self.borrow_mark(now, order, context);
        self.note_asking(now, order);
        let mut decision = Decision { order: *order, limits: self.limits.version, ..Decision::default() };
        match Question::new(self, now, order, context) {
            Err(stranger) => decision.refuse(stranger),
            Ok(question) => {
                question.describe(&mut decision);
                question.answer(&mut decision);
            }
        }
        decision
    }

    /// The order leaves: this gate let it, or follows one that did. Below this line nothing fails.
    pub fn spend(&mut self, now: Now, order: &Order) {
        self.messages.take(now.mono);
        if let Some(conduct) = self.strategies.get_mut(order.strategy.index()) {
            conduct.messages.take(now.mono);
            conduct.work.message(now.mono);
        }
        if order.op == Op::New {
            self.recent.remember(now.mono, order);
        }
    }
}

impl permit::Gate for Gate {
    type Approved = Approved;
    type Refused = Refused;
    type Notice = Notice;

    fn rehearse(&self, now: Now, order: &Order, context: &Context<'_>) {
        let mut decision = Decision { order: *order, limits: self.limits.version, ..Decision::default() };
        if let Ok(question) = Question::new(self, now, order, context) {
            question.describe(&mut decision);
            question.answer(&mut decision);
        }
        core::hint::black_box(&decision);
    }

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
        self.vigil.heard(now, event.origin());
        match event {
            MarketEvent::Trade(trade) => return self.flows[id.index()].trade(trade),
            MarketEvent::Ticker(ticker) => self.flows[id.index()].set_day(ticker.volume_24h),
            _ => {}
        }
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
                self.trips.wallet(now, wallet.equity, profit);
            }
            ExecEvent::Position(position) => {
                if let Some(market) = self.markets.get_mut(position.instrument.index()) {
                    market.theirs = Some(position.size);
                }
            }
            // a full account leaves flat positions out
            ExecEvent::Reconciliation(bounds) if bounds.complete.is_set() => {
                self.markets.iter_mut().for_each(|market| market.theirs = market.theirs.or(Some(Qty::ZERO)));
            }
            ExecEvent::Link(link) if link.channel == Channel::Private && link.state != LinkState::Ready => {
                self.markets.iter_mut().for_each(|market| market.theirs = None);
            }
            ExecEvent::Fill(fill) if fill.kind == ExecKind::Trade => {
                self.behaved(now, fill.client, Reason::Executions, |conduct| &mut conduct.executions);
                if let Some(flow) = self.flows.get_mut(fill.instrument.index()) {
                    flow.fill(now.mono, fill);
                }
            }
            ExecEvent::Sent(sent) => self.vigil.sent(now, sent),
            ExecEvent::Ack(ack) => {
                self.vigil.answered(now, ack);
                if ack.code != 0 && ack.op != Op::Cancel && !lost_race(ack) {
                    self.vigil.rejected(now.mono);
                    self.behaved(now, ack.client, Reason::StrategyRejects, |conduct| &mut conduct.rejects);
                }
            }
            _ => {}
        }
    }

    fn command(&mut self, _now: Now, command: &Command) {
        let version = self.brake.version();
        self.brake.command(command);
        if self.brake.version() != version {
            self.author = command.author;
        }
        debug_assert!(command.kind != CommandKind::Halt || self.brake.global() == State::Halted);
    }

    fn document(&mut self, now: Now, document: &Document) {
        self.petition(now, document);
    }

    fn standing(&mut self, _now: Now, standing: &Account) {
        self.account = Some(*standing);
        self.uphold();
    }

    fn notice(&mut self, now: Now) -> Option<Notice> {
        if let Some((scope, before, after)) = self.said.next(&self.brake) {
            self.next_fortune = now.mono;
            return Some(Notice::Trip(self.describe(now, scope, before, after)));
        }
        let answer = self.answer().map(Notice::Answer);
        answer.or_else(|| self.flatten.notice().map(Notice::Unwind)).or_else(|| self.fortune(now))
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
        self.beat = Some(now.mono);
        self.compare(now);
        self.keep_vigil(now);
        if now.mono < self.next_check {
            return self.look(now);
        }
        self.next_check = now.mono.after(millis(self.limits.drift_interval));
        let drift = self.outcomes.as_mut().map_or(0.0, Outcomes::recompute);
        self.drift = drift.max(self.stress.recompute());
        let sound = self.drift <= MAX_DRIFT && !self.exposure.lost();
        if !sound {
            // our own sums are not what they should be: hold what we have, add nothing
            self.brake.trip(Scope::Global, State::ReduceOnly, Reason::Sums);
        }
        self.read();
        self.look(now);
    }

    fn deadline(&self) -> Option<Mono> {
        Some(self.next_check)
    }

    fn stops(&self, order: &Order) -> bool {
        match self.brake.effective(order.instrument, order.strategy) {
            _ if order.strategy == BRAKE => false,
            State::Active => false,
            State::ReduceOnly => !order.reduce_only.is_set(),
            State::CancelOnly | State::Halted => true,
        }
    }

    fn unwind(&mut self, now: Now, desk: &Desk) -> Option<Order> {
        self.next_unwind(now, desk)
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
pub(crate) mod tests;

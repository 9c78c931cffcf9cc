//! The checks, in the order they are made: cheap and most likely to fail first.
//!
//! Each is one short function from the question to a [`Measure`]: what was measured, the most it may be, and whether it
//! holds. A measure that could not be taken does not hold.

use crate::brake::State;
use crate::decision::{Class, Decision, Pair, SmallPair};
use crate::exposure::{Holding, value};
use crate::flatten::BRAKE;
use crate::flow::Flow;
use crate::gate::{Conduct, Gate};
use crate::limits::InstrumentLimits;
use crate::refusal::{Refusal, Slot};
use crate::var::{Shock, tail_count};
use crate::watch::{Market, millis};
use keel_core::book::Touch;
use keel_core::event::{Op, Order, OrderKind, Side, TimeInForce};
use keel_core::instrument::Instrument;
use keel_core::orders::Working;
use keel_core::permit::{Context, LogHealth};
use keel_core::units::{Notional, Now, Px, Qty};

const RISK: u8 = Class::Risk as u8;
const ORDERS: u8 = RISK | Class::Reduce as u8;
const ALL: u8 = ORDERS | Class::Cancel as u8;

/// Writes the table out as one straight line of code for each class of order: no pointer is followed, no row is skipped at
/// run time, and where a measure goes is known when it is compiled.
macro_rules! checks {
    ($($code:ident $concerns:ident $measure:expr;)*) => {
        /// How many checks there are.
        #[cfg(test)]
        pub(crate) const COUNT: usize = [$(Refusal::$code),*].len();

        fn examine<const CLASS: u8>(question: &Question<'_>, decision: &mut Decision) {
            $(if $concerns & CLASS != 0 {
                let measure: fn(&Question<'_>) -> Measure = $measure;
                decision.note(Refusal::$code, measure(question));
            })*
        }
    };
}

// In order. `RISK`: orders that may add risk. `ORDERS`: those that shrink it too. `ALL`: cancels too.
checks! {
    // state and latches
    Halted ORDERS |q| Measure::holds(q.brake <= State::ReduceOnly || q.is_brakes_own());
    ReducingOnly ORDERS reducing_only;
    JournalFaulty ALL |q| Measure::holds(q.context.log != LogHealth::Faulty);
    Executions RISK |q| q.behaves(|c| !c.executions.is_latched());
    Rejects RISK |q| q.behaves(|c| !c.rejects.is_latched());
    OrderToTrade RISK order_to_trade;
    // ids, permissions, instrument arithmetic
    UnknownStrategy RISK permitted;
    Model RISK model;
    SignalAge RISK signal_age;
    UnknownOrder ALL known_order;
    AmendPending ORDERS amend_pending;
    Form ORDERS form;
    NotTrading ORDERS |q| Measure::holds(q.instrument.trading.is_set());
    Price ORDERS price;
    Quantity ORDERS quantity;
    MinimumValue ORDERS minimum_value;
    NotReducing ORDERS reduce_only_integrity;
    // freshness
    NoMark RISK |q| Measure::holds(q.market.mark > Px::ZERO);
    StaleBook RISK stale_book;
    StaleMark RISK stale_mark;
    Spread RISK spread;
    MarkGap RISK mark_gap;
    LinkDown RISK |q| Measure::holds(q.gate.venue.is_ready());
    Unreconciled RISK reconciled;
    Unproven RISK |q| Measure::holds(q.gate.exposure.unknown() <= q.gate.limits.max_unproven);
    Maintenance RISK maintenance;
    // rate
    MessageRate ORDERS message_rate;
    StrategyRate RISK |q| q.behaves(|c| c.messages.tokens(q.now.mono) > 0);
    // price and size
    Collar ORDERS collar;
    VenueBand ORDERS venue_band;
    OrderQty RISK |q| Measure::at_most(q.order.qty.raw().into(), q.limits.max_order_qty.raw());
    OrderValue RISK |q| Measure::at_most(q.order_value(), q.limits.max_order_value.raw());
    RestingValue RISK resting_value;
    Walk RISK walk;
    Participation RISK participation;
    OpenOrders RISK open_orders;
    // exposure if everything open filled
    Position RISK position;
    Gross RISK gross;
    Net RISK net;
    Margin RISK margin;
    ValueAtRisk RISK value_at_risk;
    Shortfall RISK shortfall;
    Stress RISK stress;
    // against ourselves
    Duplicate ORDERS duplicate;
    SelfMatch ORDERS self_match;
}

/// What was measured, the most it may be, and whether it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Measure {
    value: i64,
    limit: i64,
    ok: bool,
}

impl Measure {
    /// It could not be measured.
    const fn missing(limit: i64) -> Self {
        Self { value: i64::MAX, limit, ok: false }
    }

    const fn holds(ok: bool) -> Self {
        Self { value: 0, limit: 0, ok }
    }

    fn at_most(value: i128, limit: i64) -> Self {
        Self { value: clamp(value), limit, ok: value <= i128::from(limit) }
    }

    /// Over the limit is still allowed when this order makes it no worse.
    fn grows(before: i128, after: i128, limit: i64) -> Self {
        let measured = Self::at_most(after, limit);
        Self { ok: measured.ok || after <= before, ..measured }
    }
}

/// `value * bps / 10,000`, rounded up; one machine word where it fits.
fn bps_of(value: i128, bps: i64) -> i128 {
    let product = value * i128::from(bps) + 9_999;
    match u64::try_from(product) {
        Ok(word) => i128::from(word / 10_000),
        Err(_) => product.div_euclid(10_000),
    }
}

/// Is `a` within `bps` basis points of `b`? Multiplied out, so that nothing is divided.
fn within(a: Px, b: Px, bps: i64) -> bool {
    let gap = i128::from(a.raw()) - i128::from(b.raw());
    b > Px::ZERO && gap.abs() * 10_000 <= i128::from(bps) * i128::from(b.raw())
}

fn clamp(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value > 0 { i64::MAX } else { i64::MIN })
}

/// USDT of the scenario sums to 1e-8, rounded up; a number that is none is the largest there is.
#[allow(clippy::cast_possible_truncation, reason = "the cast saturates")]
fn usdt(amount: f64) -> i64 {
    if amount.is_nan() { i64::MAX } else { (amount * 1e8).ceil() as i64 }
}

impl Decision {
    pub(crate) fn refuse(&mut self, code: Refusal) {
        self.failing |= code.bit();
        if self.first == Refusal::None {
            self.first = code;
        }
    }

    /// Always inlined: with a known code nothing of the lookups below is left.
    #[inline(always)]
    fn note(&mut self, code: Refusal, measured: Measure) {
        let narrow = |x: i64| i32::try_from(x).unwrap_or(if x > 0 { i32::MAX } else { i32::MIN });
        match code.slot() {
            Slot::None => {}
            Slot::Money(at) => self.money[at] = Pair { value: measured.value, limit: measured.limit },
            Slot::Count(at) => {
                self.counts[at] = SmallPair { value: narrow(measured.value), limit: narrow(measured.limit) };
            }
        }
        if !measured.ok {
            self.refuse(code);
        }
    }
}

/// One order and everything the checks look at.
pub(crate) struct Question<'a> {
    pub(crate) class: Class,
    gate: &'a Gate,
    now: Now,
    order: &'a Order,
    context: &'a Context<'a>,
    instrument: &'a Instrument,
    limits: &'a InstrumentLimits,
    market: &'a Market,
    flow: &'a Flow,
    holding: &'a Holding,
    conduct: Option<&'a Conduct>,
    brake: State,
    /// Coins by which this order moves its side's corner outwards.
    added: Qty,
    /// Value of that corner then.
    moved: i128,
    tail: Option<TailSeen>,
}

/// The tail of the worst case with this order in it.
#[derive(Clone, Copy)]
struct TailSeen {
    most: i64,
    beyond: i64,
    bound: i64,
    no_worse: bool,
}

impl Question<'_> {
    /// Makes every check that concerns this order.
    pub(crate) fn answer(&self, decision: &mut Decision) {
        match self.class {
            Class::Risk => examine::<{ Class::Risk as u8 }>(self, decision),
            Class::Reduce => examine::<{ Class::Reduce as u8 }>(self, decision),
            Class::Cancel => examine::<{ Class::Cancel as u8 }>(self, decision),
        }
    }
}

impl<'a> Question<'a> {
    /// Fails for an instrument nobody knows: there is nothing to measure by.
    pub(crate) fn new(gate: &'a Gate, now: Now, order: &'a Order, context: &'a Context<'a>) -> Result<Self, Refusal> {
        let at = order.instrument.index();
        let (Some(instrument), Some(holding)) = (gate.instruments.get(at), gate.exposure.holding(order.instrument))
        else {
            return Err(Refusal::UnknownInstrument);
        };
        let (class, added) = classify(order, context.working, holding);
        let mut question = Self {
            class,
            gate,
            now,
            order,
            context,
            instrument,
            limits: &gate.rows[at],
            market: &gate.markets[at],
            flow: &gate.flows[at],
            holding,
            conduct: gate.strategies.get(order.strategy.index()),
            brake: gate.brake.effective(order.instrument, order.strategy),
            added,
            moved: holding.corner(order.side, added),
            tail: None,
        };
        if class == Class::Risk {
            question.tail = question.see_tail();
        }
        Ok(question)
    }

    pub(crate) fn describe(&self, decision: &mut Decision) {
        decision.class = self.class;
        decision.brake = self.brake;
        decision.mark = self.market.mark;
        decision.equity = self.gate.wallet.map_or(Notional::ZERO, |wallet| wallet.equity);
    }

    /// The brake shrinks what is held, whatever state it is in.
    fn is_brakes_own(&self) -> bool {
        self.order.strategy == BRAKE && self.class == Class::Reduce && self.order.reduce_only.is_set()
    }

    /// A strategy nobody knows behaves badly.
    fn behaves(&self, well: impl FnOnce(&Conduct) -> bool) -> Measure {
        Measure::holds(self.conduct.is_some_and(well))
    }

    /// What the order is worth at the worse of its price and the mark, rounded up.
    fn order_value(&self) -> i128 {
        value(self.order.qty.raw().into(), self.order.px.max(self.market.mark))
    }

    /// Value of this side's corner before the order, and if it filled.
    fn corner(&self) -> (i128, i128) {
        (self.holding.corners[self.order.side.index()], self.moved)
    }

    /// Gross exposure before the order, and if it filled.
    fn gross(&self) -> (i128, i128) {
        let before = self.gate.exposure.gross();
        let other = self.holding.corners[self.order.side.opposite().index()];
        (before, before - self.holding.worst_value() + self.moved.max(other).max(0))
    }

    fn shock(&self) -> Shock {
        let (mark, added) = (self.market.mark.to_f64(), self.added.to_f64());
        let through = match self.order.side {
            Side::Buy => self.order.px.to_f64() - mark,
            Side::Sell => mark - self.order.px.to_f64(),
        };
        let value = self.order.side.signed(self.added).to_f64() * mark;
        Shock { instrument: self.order.instrument, value, cost: through.max(0.0) * added }
    }

    #[allow(clippy::cast_precision_loss, reason = "counts of scenarios are small")]
    fn see_tail(&self) -> Option<TailSeen> {
        let limits = self.gate.limits.tail.as_ref()?;
        let outcomes = self.gate.outcomes.as_ref()?;
        let count = outcomes.scenarios().count();
        let most = tail_count(count, limits.tail) as i64 - 1;
        if !outcomes.scenarios().covers(self.order.instrument) {
            return Some(TailSeen { most, beyond: i64::MAX, bound: i64::MAX, no_worse: false });
        }
        let (loss, shock) = (limits.max_loss.to_f64(), self.shock());
        let after = outcomes.tail(loss, shock);
        let mass = count as f64 * f64::from(limits.tail) / 10_000.0;
        let bound = usdt(loss + after.excess / mass);
        let over = i64::from(after.beyond) > most || bound > limits.max_shortfall.raw();
        // already beyond the limit: an order that changes nothing in the tail is still allowed
        let no_worse = over && {
            let before = outcomes.tail(loss, Shock { value: 0.0, cost: 0.0, ..shock });
            after.beyond <= before.beyond && after.excess <= before.excess
        };
        Some(TailSeen { most, beyond: after.beyond.into(), bound, no_worse })
    }
}

/// What the order does to risk, and by how much it can move its side's corner.
fn classify(order: &Order, working: Option<&Working>, holding: &Holding) -> (Class, Qty) {
    match (order.op, working) {
        (Op::Cancel, _) => (Class::Cancel, Qty::ZERO),
        (Op::New, _) if order.reduce_only.is_set() => (Class::Reduce, Qty::ZERO),
        (Op::New, _) if order.qty <= holding.reducible(order.side) => (Class::Reduce, Qty::ZERO),
        (Op::New, _) | (Op::Amend, None) => (Class::Risk, order.qty),
        (Op::Amend, Some(row)) => {
            let added = more_open(order, row);
            let bolder = match order.side {
                Side::Buy => order.px > row.worst_px(),
                Side::Sell => order.px < row.worst_px(),
            };
            let harmless = row.order.reduce_only.is_set() || (added.is_zero() && !bolder);
            if harmless { (Class::Reduce, Qty::ZERO) } else { (Class::Risk, added) }
        }
    }
}

/// Coins an amend adds to what is open at worst.
fn more_open(order: &Order, row: &Working) -> Qty {
    let asked = row.amended.map_or(row.order.qty, |(_, qty)| qty.max(row.order.qty));
    (order.qty - asked).max(Qty::ZERO)
}

fn reducing_only(q: &Question<'_>) -> Measure {
    let free = q.brake == State::Active && q.context.log == LogHealth::Sound && q.gate.is_watched(q.now);
    let shrinks = q.class == Class::Reduce && (q.order.reduce_only.is_set() || q.order.op == Op::Amend);
    Measure::holds(free || shrinks)
}

/// Messages it takes to trade once: layering and noise look like this.
fn order_to_trade(q: &Question<'_>) -> Measure {
    let rows = q.conduct.zip(q.gate.limits.strategies.get(q.order.strategy.index()));
    rows.map_or(Measure::holds(true), |(conduct, row)| {
        Measure::at_most(conduct.work.ratio().into(), row.max_order_to_trade.into())
    })
}

fn model(q: &Question<'_>) -> Measure {
    let Some(row) = q.gate.limits.strategies.get(q.order.strategy.index()) else { return Measure::holds(true) };
    Measure::holds(q.gate.models.allows(q.order.strategy, q.order.model, row.signal_ttl == 0, q.now.wall))
}

fn signal_age(q: &Question<'_>) -> Measure {
    let ttl = q.gate.limits.strategies.get(q.order.strategy.index()).map_or(0, |row| row.signal_ttl);
    Measure::at_most(q.order.signal_age.into(), ttl.into())
}

fn permitted(q: &Question<'_>) -> Measure {
    let mask = q.gate.permissions.get(q.order.strategy.index()).copied().unwrap_or(0);
    Measure::holds(mask >> q.order.instrument.index() & 1 == 1)
}

fn known_order(q: &Question<'_>) -> Measure {
    let (order, row) = (q.order, q.context.working);
    Measure::holds(match order.op {
        Op::New => row.is_none(),
        Op::Cancel => row.is_some_and(|row| row.order.client == order.client && !row.state.is_final()),
        Op::Amend => row.is_some_and(|row| {
            let told = (order.client, order.instrument, order.strategy, order.side, order.reduce_only);
            let known = &row.order;
            told == (known.client, known.instrument, known.strategy, known.side, known.reduce_only)
                && !row.state.is_final()
        }),
    })
}

/// Two unanswered amends would leave three shapes the order might have.
fn amend_pending(q: &Question<'_>) -> Measure {
    Measure::holds(q.order.op != Op::Amend || q.context.working.is_none_or(|row| row.amended.is_none()))
}

fn form(q: &Question<'_>) -> Measure {
    let at_once = matches!(q.order.tif, TimeInForce::Ioc | TimeInForce::Fok);
    Measure::holds(q.order.kind == OrderKind::Limit || (q.order.reduce_only.is_set() && at_once))
}

fn price(q: &Question<'_>) -> Measure {
    let (px, row) = (q.order.px, q.instrument);
    Measure::holds(px.is_multiple_of(row.tick) && px >= row.min_px && px <= row.max_px)
}

fn quantity(q: &Question<'_>) -> Measure {
    let (qty, row) = (q.order.qty, q.instrument);
    let most = if q.order.kind == OrderKind::Market { row.max_market_qty } else { row.max_qty };
    let filled = q.context.working.map_or(Qty::ZERO, |row| row.filled);
    Measure::holds(qty.is_multiple_of(row.step) && qty >= row.min_qty && qty <= most && qty > filled)
}

fn minimum_value(q: &Question<'_>) -> Measure {
    let enough = q.order.px.mul_floor(q.order.qty).is_none_or(|value| value >= q.instrument.min_notional);
    Measure::holds(enough || q.order.reduce_only.is_set())
}

/// By quantity, not by side alone: what is tagged reduce-only must fit into what is left to reduce.
fn reduce_only_integrity(q: &Question<'_>) -> Measure {
    let asked = match (q.order.op, q.context.working) {
        (Op::Amend, Some(row)) => more_open(q.order, row),
        _ => q.order.qty,
    };
    Measure::holds(!q.order.reduce_only.is_set() || asked <= q.holding.reduce_only_room(q.order.side))
}

fn stale_book(q: &Question<'_>) -> Measure {
    let limit = clamp(i128::from(millis(q.gate.limits.max_book_age)));
    match (q.context.touch, q.market.book) {
        (Some(_), Some(at)) if q.market.synced => Measure::at_most(q.now.mono.since(at).into(), limit),
        _ => Measure::missing(limit),
    }
}

fn reconciled(q: &Question<'_>) -> Measure {
    let venue = &q.gate.venue;
    Measure::holds(venue.reconciled && !venue.mismatch && !q.gate.exposure.lost())
}

fn stale_mark(q: &Question<'_>) -> Measure {
    let age = q.now.mono.since(q.market.marked);
    Measure::holds(q.market.mark > Px::ZERO && age <= millis(q.gate.limits.max_mark_age))
}

fn spread(q: &Question<'_>) -> Measure {
    let near = |touch: &Touch| within(touch.ask.px, touch.bid.px, q.limits.max_spread);
    Measure::holds(q.context.touch.as_ref().is_some_and(near))
}

fn mark_gap(q: &Question<'_>) -> Measure {
    let near = |a: Px, b: Px| within(a, b, q.limits.max_mark_gap);
    let mark = q.market.mark;
    let to_mid = q.context.touch.is_some_and(|touch| near(touch.mid(), mark));
    Measure::holds(to_mid && (q.market.index.is_zero() || near(q.market.index, mark)))
}

fn maintenance(q: &Question<'_>) -> Measure {
    let (funding, now) = (q.market.funding, q.now.wall);
    let apart = funding.since(now).max(now.since(funding));
    let blackout = millis(q.gate.limits.funding_blackout);
    let funding_now = blackout > 0 && funding.nanos() > 0 && apart < blackout;
    Measure::holds(!q.gate.venue.in_maintenance() && !funding_now)
}

/// Orders that add risk leave the reserve alone; cancels are never asked.
fn message_rate(q: &Question<'_>) -> Measure {
    let reserve = if q.class == Class::Risk { q.gate.limits.cancel_reserve } else { 0 };
    let tokens = i64::from(q.gate.messages.tokens(q.now.mono));
    Measure::at_most(i128::from(reserve) + 1, tokens)
}

/// Distance through the mark; orders that wait behind it are free.
fn collar(q: &Question<'_>) -> Measure {
    let mid = q.context.touch.map_or(Px::ZERO, |touch| touch.mid());
    let reference = if q.market.mark > Px::ZERO { q.market.mark } else { mid };
    let through = match q.order.side {
        Side::Buy => q.order.px.max(reference),
        Side::Sell => q.order.px.min(reference),
    };
    // most orders wait behind the reference: no division for them
    let distance = if through == reference && reference > Px::ZERO { Some(0) } else { through.distance_bps(reference) };
    match distance {
        Some(bps) => Measure::at_most(bps.into(), q.limits.collar),
        None if q.class == Class::Reduce => Measure::holds(true),
        None => Measure::missing(q.limits.collar),
    }
}

fn venue_band(q: &Question<'_>) -> Measure {
    let (px, market) = (q.order.px, q.market);
    Measure::holds(match q.order.side {
        Side::Buy => market.buy_max.is_zero() || px <= market.buy_max,
        Side::Sell => px >= market.sell_min,
    })
}

/// What may rest can be picked off whole, any time later.
fn resting_value(q: &Question<'_>) -> Measure {
    let limit = q.limits.max_resting_value.raw();
    match q.order.tif {
        TimeInForce::Gtc | TimeInForce::PostOnly => Measure::at_most(q.order_value(), limit),
        TimeInForce::Ioc | TimeInForce::Fok => Measure::at_most(0, limit),
    }
}

/// The next rung of our own ladder.
fn walk(q: &Question<'_>) -> Measure {
    match q.flow.walked(q.order.side, q.order.px) {
        Some(bps) => Measure::at_most(bps.into(), q.limits.max_walk),
        None => Measure::missing(q.limits.max_walk),
    }
}

fn participation(q: &Question<'_>) -> Measure {
    if q.limits.max_participation == 0 {
        return Measure::holds(true);
    }
    let allowed = i128::from(q.flow.market()) * i128::from(q.limits.max_participation) / 10_000;
    Measure::at_most(i128::from(q.flow.own()) + i128::from(q.added.raw()), clamp(allowed))
}

fn open_orders(q: &Question<'_>) -> Measure {
    let new = i128::from(q.order.op == Op::New);
    let here = Measure::at_most(i128::from(q.holding.orders) + new, q.limits.max_open_orders.into());
    let all = Measure::at_most(q.gate.exposure.orders() as i128 + new, q.gate.limits.max_open_orders.into());
    if all.ok { here } else { all }
}

fn position(q: &Question<'_>) -> Measure {
    let (before, after) = q.corner();
    Measure::grows(before, after, q.limits.max_position.raw())
}

fn gross(q: &Question<'_>) -> Measure {
    let (before, after) = q.gross();
    Measure::grows(before, after, q.gate.limits.max_gross.raw())
}

fn net(q: &Question<'_>) -> Measure {
    let net = q.gate.exposure.net();
    let (side, other) = (net[q.order.side.index()], net[q.order.side.opposite().index()]);
    let (before, after) = q.corner();
    Measure::grows(side.max(other), (side + after - before).max(other), q.gate.limits.max_net.raw())
}

/// Ours from exposure, or the venue's plus this order: the larger.
fn margin(q: &Question<'_>) -> Measure {
    let limits = &q.gate.limits;
    let Some(wallet) = q.gate.wallet else { return Measure::missing(0) };
    let rate = |value: i128| bps_of(value, limits.margin_rate);
    let (before, after) = q.gross();
    let venue = i128::from(wallet.initial_margin.raw());
    // rounded up, which is one unit of 1e-8 USDT in our favour at most
    let allowed = bps_of(wallet.equity.raw().max(0).into(), limits.max_margin_use);
    let worst = |gross: i128| rate(gross).max(venue + rate(gross - before));
    Measure::grows(worst(before), worst(after), clamp(allowed))
}

fn value_at_risk(q: &Question<'_>) -> Measure {
    match q.tail {
        Some(tail) => Measure { value: tail.beyond, limit: tail.most, ok: tail.beyond <= tail.most || tail.no_worse },
        None => Measure::holds(q.gate.limits.tail.is_none()),
    }
}

fn shortfall(q: &Question<'_>) -> Measure {
    match (q.tail, &q.gate.limits.tail) {
        (Some(tail), Some(limits)) => {
            let limit = limits.max_shortfall.raw();
            Measure { value: tail.bound, limit, ok: tail.bound <= limit || tail.no_worse }
        }
        _ => Measure::holds(q.gate.limits.tail.is_none()),
    }
}

fn stress(q: &Question<'_>) -> Measure {
    let (limit, shock) = (q.gate.limits.max_stress.raw(), q.shock());
    let after = q.gate.stress.worst_loss(shock);
    let measured = Measure::at_most(usdt(after).into(), limit);
    let before = || q.gate.stress.worst_loss(Shock { value: 0.0, cost: 0.0, ..shock });
    Measure { ok: measured.ok || after <= before(), ..measured }
}

fn duplicate(q: &Question<'_>) -> Measure {
    let window = millis(q.gate.limits.duplicate_window);
    Measure::holds(q.order.op != Op::New || !q.gate.recent.holds(q.now.mono, q.order, window))
}

/// Our own resting orders on the other side must stand behind this price.
fn self_match(q: &Question<'_>) -> Measure {
    let theirs = q.holding.best[q.order.side.opposite().index()];
    Measure::holds(
        theirs.is_zero()
            || match q.order.side {
                Side::Buy => q.order.px < theirs,
                Side::Sell => q.order.px > theirs,
            },
    )
}

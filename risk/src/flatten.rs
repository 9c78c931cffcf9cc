//! How the brake lets go of a position: in slices, inside a price bound, one at a time, until the venue says it is flat.
//!
//! ```text
//!   open orders --> Cancelling        no mark, no book, links down, not compared --> Blind     (holds, and says so)
//!   nothing within the bound --> Wick            smaller than the smallest order --> Dust      (says so)
//!   else --> Slicing: IOC, reduce-only, at most SHARE of what is displayed within the bound and SLICE in value
//!   our count is zero --> Verifying --> the venue's word is zero --> Flat
//! ```
//!
//! The bound lies around the mark, not the last price: a touch that left the mark is a wick, and is waited out. It widens
//! with time, faster the graver the reason, and never beyond [`Pace::most`] or the collar of the instrument. Every slice is
//! measured anew: a fill, a liquidation or another hand may have moved the position since.
//!
//! In: what the gate and the desk know, the time. Out: orders that still have to pass the gate. Never: an order while one
//! of ours is open on the instrument, an order larger than the position, a price through a wick, a "flat" nobody but we
//! ourselves believe.

use crate::brake::{Policy, Reason};
use crate::gate::Gate;
use crate::notice::{Stage, Unwind};
use crate::trips::Cause;
use crate::var::{Outcomes, Shock};
use crate::watch::millis;
use keel_core::book::Touch;
use keel_core::desk::Desk;
use keel_core::event::{Constraint, Flag, Level, Order, OrderKind, Side, TimeInForce};
use keel_core::ids::{InstrumentId, StrategyId};
use keel_core::instrument::Instrument;
use keel_core::units::{Mono, Notional, Now, Px, Qty};

/// Whose orders these are: no strategy's.
pub const BRAKE: StrategyId = StrategyId(999);
/// Share of the quantity displayed within the bound one slice may take, permille.
pub const SHARE: i64 = 250;
/// Value of one slice, USDT.
pub const SLICE: Notional = Notional::whole(10_000);
/// Between two slices on one instrument, nanoseconds; long enough for the fills and the venue's word to arrive.
pub const PAUSE: u64 = 500_000_000;
/// Basis points of its limit a measure is shrunk to: just below where the level is left, or it would never be.
pub const ENOUGH: i64 = 7_900;
/// Levels of the book a slice looks at; what rests deeper is not counted on.
const SEEN: usize = 50;

/// How the bound widens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Basis points through the mark at the beginning.
    pub first: i64,
    /// Basis points more each time.
    pub step: i64,
    /// Nanoseconds between two times.
    pub every: u64,
    /// Basis points it never goes beyond.
    pub most: i64,
}

impl Pace {
    /// What a reason is worth paying. Margin is in a race with the venue's own liquidation; a loss already happened.
    #[must_use]
    pub const fn of(reason: Reason) -> Self {
        match reason {
            Reason::Margin => Self { first: 75, step: 25, every: 2_000_000_000, most: 200 },
            _ => Self { first: 50, step: 10, every: 30_000_000_000, most: 150 },
        }
    }

    /// Basis points through the mark after so many nanoseconds.
    #[must_use]
    pub fn bound(&self, elapsed: u64) -> i64 {
        let times = i64::try_from(elapsed / self.every.max(1)).unwrap_or(i64::MAX);
        self.first.saturating_add(self.step.saturating_mul(times)).min(self.most)
    }
}

/// What one look at one instrument sees.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// Its row.
    pub instrument: &'a Instrument,
    /// Our count.
    pub position: Qty,
    /// The venue's word; `None` when it has not said anything that still holds.
    pub theirs: Option<Qty>,
    /// Fresh mark price; zero when there is none.
    pub mark: Px,
    /// Index price; zero when there is none.
    pub index: Px,
    /// Best bid and ask of a book that can be trusted.
    pub touch: Option<Touch>,
    /// What could be traded against, best first.
    pub levels: &'a [Level],
    /// An order of a strategy is open here.
    pub open: bool,
    /// A slice is under way here.
    pub own: bool,
    /// Links stand, and the account was compared since they last broke.
    pub sure: bool,
    /// Basis points the gate allows a price through the mark.
    pub collar: i64,
}

/// One slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Against the position.
    pub side: Side,
    /// Of it.
    pub qty: Qty,
    /// The worst price.
    pub px: Px,
}

/// What to do about one position now, and how far that is.
#[must_use]
pub fn next(sight: &Sight<'_>, bound: i64) -> (Stage, Option<Slice>) {
    let row = sight.instrument;
    let held = sight.position.abs();
    if sight.open {
        return (Stage::Cancelling, None);
    }
    if sight.own {
        return (Stage::Slicing, None);
    }
    if !sight.sure {
        return (Stage::Blind, None);
    }
    if held.is_zero() {
        return (if sight.theirs == Some(Qty::ZERO) { Stage::Flat } else { Stage::Verifying }, None);
    }
    if held < row.min_qty {
        return (Stage::Dust, None);
    }
    let side = if sight.position > Qty::ZERO { Side::Sell } else { Side::Buy };
    let bound = bound.min(sight.collar);
    let Some(px) = worst(row, side, sight.mark, bound) else { return (Stage::Blind, None) };
    if sight.touch.is_none() {
        return (Stage::Blind, None);
    }
    let apart = !sight.index.is_zero() && sight.mark.distance_bps(sight.index).is_none_or(|gap| gap > bound);
    let displayed = displayed(sight.levels, side, px);
    if apart || displayed.is_zero() {
        return (Stage::Wick, None);
    }
    match cut(row, held, displayed, sight.mark) {
        Some(qty) => (Stage::Slicing, Some(Slice { side, qty, px })),
        None => (Stage::Blind, None),
    }
}

/// The worst price of a slice: `bound` basis points through the mark, on the grid, never bolder.
fn worst(row: &Instrument, side: Side, mark: Px, bound: i64) -> Option<Px> {
    if mark <= Px::ZERO {
        return None;
    }
    let px = match side {
        Side::Sell => mark.shift_bps(-bound)?.ceil_to(row.tick).max(row.min_px),
        Side::Buy => mark.shift_bps(bound)?.floor_to(row.tick).min(row.max_px),
    };
    (px >= row.min_px && px <= row.max_px).then_some(px)
}

/// What is displayed at `px` or better.
fn displayed(levels: &[Level], side: Side, px: Px) -> Qty {
    let within = |level: &&Level| if side == Side::Sell { level.px >= px } else { level.px <= px };
    let sum = levels.iter().take_while(within).fold(0i64, |sum, level| sum.saturating_add(level.qty.raw()));
    Qty::from_raw(sum)
}

/// The size of a slice: at least the smallest order, at most the position, and never one that leaves dust behind.
fn cut(row: &Instrument, held: Qty, displayed: Qty, mark: Px) -> Option<Qty> {
    let share = i64::try_from(i128::from(displayed.raw()) * i128::from(SHARE) / 1000).unwrap_or(i64::MAX);
    let most = held.min(row.max_qty).floor_to(row.step);
    let qty = Qty::from_raw(share).min(SLICE.div_floor(mark)?).min(most).floor_to(row.step).max(row.min_qty);
    let left = held - qty;
    let qty = if left > Qty::ZERO && left < row.min_qty && held <= row.max_qty { most } else { qty };
    (qty >= row.min_qty && qty <= most).then_some(qty)
}

/// One position's way out over time.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    since: Option<(Mono, Reason)>,
    due: Mono,
    stage: Stage,
    said: Stage,
    last: Unwind,
}

/// Every position's way out.
#[derive(Clone, Debug)]
pub struct Flatten {
    rows: Vec<Row>,
    cursor: usize,
    unsaid: bool,
}

impl Flatten {
    /// Nothing to let go of.
    #[must_use]
    pub fn new(instruments: usize) -> Self {
        Self { rows: vec![Row::default(); instruments], cursor: 0, unsaid: false }
    }

    /// How far it is with an instrument.
    #[must_use]
    pub fn stage(&self, id: InstrumentId) -> Stage {
        self.rows.get(id.index()).map_or(Stage::Idle, |row| row.stage)
    }

    /// People released the brake.
    pub(crate) fn release(&mut self) {
        *self = Self::new(self.rows.len());
    }

    /// What there is to say of the next instrument that got further, or stopped getting further.
    pub(crate) fn notice(&mut self) -> Option<Unwind> {
        if !self.unsaid {
            return None;
        }
        let row = self.rows.iter_mut().find(|row| row.said != row.stage);
        let Some(row) = row else {
            self.unsaid = false;
            return None;
        };
        row.said = row.stage;
        Some(row.last)
    }

    /// Nothing has to shrink: the next time begins with patience again.
    fn rest(&mut self) {
        for row in self.rows.iter_mut().filter(|row| row.since.is_some()) {
            *row = Row { due: row.due, ..Row::default() };
        }
    }

    /// Looks at one instrument; the slice to send now, if one is due.
    fn look(&mut self, now: Mono, reason: Reason, sight: &Sight<'_>) -> Option<Slice> {
        let row = self.rows.get_mut(sight.instrument.id.index())?;
        let idle =
            row.since.is_none() && sight.position.is_zero() && sight.theirs.is_none_or(|theirs| theirs.is_zero());
        if idle || now < row.due {
            return None;
        }
        // another reason is another race: its patience begins now
        let (since, _) = *row.since.filter(|(_, before)| *before == reason).get_or_insert((now, reason));
        row.since = Some((since, reason));
        let bound = Pace::of(reason).bound(now.since(since));
        let (stage, slice) = next(sight, bound);
        row.stage = stage;
        row.last = Unwind {
            position: sight.position,
            theirs: sight.theirs.unwrap_or(sight.position),
            px: slice.map_or(Px::ZERO, |slice| slice.px),
            mark: sight.mark,
            mid: sight.touch.map_or(Px::ZERO, |touch| touch.mid()),
            since,
            instrument: sight.instrument.id,
            stage,
            reason,
            bound: i32::try_from(bound).unwrap_or(i32::MAX),
            pad: [0; 8],
        };
        self.unsaid = true;
        if slice.is_some() {
            row.due = now.after(PAUSE);
        }
        slice
    }

    /// The measure is low enough: whatever was under way ends.
    fn enough(&mut self, id: InstrumentId) {
        if let Some(row) = self.rows.get_mut(id.index()).filter(|row| row.since.is_some() && row.stage != Stage::Enough)
        {
            (row.stage, row.last.stage) = (Stage::Enough, Stage::Enough);
            self.unsaid = true;
        }
    }
}

impl Gate {
    /// The next order by which the brake shrinks what is held. `None` once every instrument was looked at.
    pub(crate) fn next_unwind(&mut self, now: Now, desk: &Desk) -> Option<Order> {
        let Some(reason) = self.brake.unwinds() else {
            self.flatten.rest();
            return None;
        };
        let worst = match reason.policy() {
            Policy::Hold => return None,
            Policy::Close => None,
            Policy::Shrink => match self.most_dangerous(reason) {
                Some(id) => Some(id),
                None => {
                    (0..self.instruments.len()).for_each(|at| self.flatten.enough(self.instruments[at].id));
                    return None;
                }
            },
        };
        while self.flatten.cursor < self.instruments.len() {
            let at = self.flatten.cursor;
            self.flatten.cursor += 1;
            let id = self.instruments[at].id;
            if worst.is_some_and(|worst| worst != id) {
                continue;
            }
            if let Some(slice) = self.look_at(now, desk, reason, at) {
                return Some(slice_order(id, slice));
            }
        }
        self.flatten.cursor = 0;
        None
    }

    fn look_at(&mut self, now: Now, desk: &Desk, reason: Reason, at: usize) -> Option<Slice> {
        let (row, market) = (&self.instruments[at], &self.markets[at]);
        let seat = desk.seat(row.id)?;
        let position = self.exposure.holding(row.id)?.position;
        let away = if position > Qty::ZERO { Side::Buy } else { Side::Sell };
        let working = desk.orders.open().iter().map(|row| row.order).filter(|order| order.instrument == row.id);
        let (open, own) = working.fold((false, false), |(open, own), order| {
            let brakes = order.strategy == BRAKE;
            (open || !brakes, own || brakes)
        });
        let mut levels = [Level::default(); SEEN];
        let seen = levels.iter_mut().zip(seat.book().levels(away)).map(|(slot, level)| *slot = level).count();
        let fresh = market.mark > Px::ZERO && now.mono.since(market.marked) <= millis(self.limits.max_mark_age);
        let sight = Sight {
            instrument: row,
            position,
            theirs: market.theirs,
            mark: if fresh { market.mark } else { Px::ZERO },
            index: market.index,
            touch: seat.touch(),
            levels: &levels[..seen],
            open,
            own,
            sure: self.venue.is_ready() && self.venue.reconciled,
            collar: self.rows[at].collar,
        };
        self.flatten.look(now.mono, reason, &sight)
    }

    /// The instrument whose position carries most of the tail, while the measure is above [`ENOUGH`].
    fn most_dangerous(&self, reason: Reason) -> Option<InstrumentId> {
        let cause = if reason == Reason::Stress { Cause::Stress } else { Cause::ValueAtRisk };
        self.trips.measured(cause).filter(|measured| *measured > ENOUGH)?;
        let outcomes = if cause == Cause::Stress { &self.stress } else { self.outcomes.as_ref()? };
        let still = Shock { instrument: InstrumentId(0), value: 0.0, cost: 0.0 };
        // every scenario that loses at least half as much as the worst one
        let tail = outcomes.worst_loss(still) / 2.0;
        let ids = self.instruments.iter().map(|row| row.id);
        let carried = ids.map(|id| (id, self.carried(outcomes, tail, id)));
        carried.filter(|(_, loss)| *loss > 0.0).max_by(|a, b| a.1.total_cmp(&b.1)).map(|(id, _)| id)
    }

    /// What one position loses over the scenarios in which the whole book loses at least `tail`.
    fn carried(&self, outcomes: &Outcomes, tail: f64, id: InstrumentId) -> f64 {
        let value = self.exposure.holding(id).map_or(0.0, |holding| holding.legs().position);
        let in_tail = outcomes.filled().enumerate().filter(|(_, outcome)| -outcome >= tail);
        in_tail.map(|(at, _)| -value * outcomes.scenarios().at(id, at)).sum()
    }
}

fn slice_order(instrument: InstrumentId, slice: Slice) -> Order {
    Order {
        instrument,
        strategy: BRAKE,
        side: slice.side,
        qty: slice.qty,
        px: slice.px,
        kind: OrderKind::Limit,
        tif: TimeInForce::Ioc,
        reduce_only: Flag::Yes,
        bound: Constraint::Position,
        ..Order::default()
    }
}

#[cfg(test)]
#[path = "flatten_tests.rs"]
mod tests;

//! What a strategy is, and the one that ships: a two-sided quoter.
//!
//! A strategy sees the desk and states wishes: a side and a price, never a size. Sizing, permission and the record come
//! after it, in rooms it cannot reach. It may be refused at any of them and is told so.

use crate::book::Touch;
use crate::desk::{Seat, View};
use crate::event::Side;
use crate::ids::{ClientId, InstrumentId, MAX_INSTRUMENTS, StrategyId};
use crate::orders::{State, Working};
use crate::signal;
use crate::units::{Mono, Notional, Now, Px, Qty};
use core::cmp::Ordering;

/// Wishes one thought may state; more are dropped, the next thought states them again.
pub const MAX_WISHES: usize = 8;

/// What a strategy would like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A resting order at this price, never taking.
    Rest {
        /// Buy or sell.
        side: Side,
        /// Where.
        px: Px,
    },
    /// What can be had at once at this price or better.
    Take {
        /// Buy or sell.
        side: Side,
        /// The worst price.
        limit: Px,
        /// Only as much as shrinks the position.
        reduce: bool,
    },
    /// This order at another price.
    Reprice {
        /// Which.
        order: ClientId,
        /// Where.
        px: Px,
    },
    /// This order gone.
    Cancel {
        /// Which.
        order: ClientId,
    },
}

/// The wishes of one thought, in order of urgency.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    list: [Option<Wish>; MAX_WISHES],
    len: usize,
}

impl Wishes {
    /// States one more.
    pub fn push(&mut self, wish: Wish) {
        if let Some(slot) = self.list.get_mut(self.len) {
            *slot = Some(wish);
            self.len += 1;
        }
    }

    /// The wish stated `at`-th.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<Wish> {
        self.list.get(..self.len)?.get(at).copied().flatten()
    }

    /// Forgets them all.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

/// A strategy.
pub trait Strategy {
    /// Its row in the strategy table.
    fn id(&self) -> StrategyId;
    /// The version of the model that drives it, and the age of its signal in milliseconds; zeros for one that no model does.
    fn signal(&self, _now: Now) -> (u32, u16) {
        (0, 0)
    }
    /// The picture of `instrument` changed: state wishes.
    fn think(&mut self, view: &View<'_>, instrument: InstrumentId, wishes: &mut Wishes);
    /// A wish was refused by sizing, permission or the record: do not repeat it at once.
    fn refused(&mut self, view: &View<'_>, instrument: InstrumentId, wish: &Wish);
}

/// How the quoter behaves. All integers, checked at load by the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuoterParams {
    /// Position value at which it quotes one side only.
    pub inventory: Notional,
    /// Ticks a quote may be away from its target before it is moved.
    pub tolerance: u32,
    /// Nanoseconds between two changes of one side.
    pub patience: u64,
    /// Nanoseconds it stays quiet on a side after a refusal.
    pub penance: u64,
    /// Lean of the touch, in permille, at which inventory on the wrong side is sold at once.
    pub alarm: i64,
}

impl Default for QuoterParams {
    fn default() -> Self {
        Self {
            inventory: Notional::whole(4_000),
            tolerance: 2,
            patience: 250_000_000,
            penance: 1_000_000_000,
            alarm: 900,
        }
    }
}

/// Quotes both sides at the touch, leans with the micro-price, leans against its inventory, and takes its way out when
/// the touch turns against what it holds.
#[derive(Clone, Debug)]
pub struct Quoter {
    id: StrategyId,
    params: QuoterParams,
    quiet_until: [[Mono; 2]; MAX_INSTRUMENTS],
}

impl Quoter {
    /// A quoter that has not quoted yet.
    #[must_use]
    pub fn new(id: StrategyId, params: QuoterParams) -> Self {
        Self { id, params, quiet_until: [[Mono::default(); 2]; MAX_INSTRUMENTS] }
    }

    fn is_quiet(&self, view: &View<'_>, id: InstrumentId, side: Side) -> bool {
        view.now.mono < self.quiet_until[id.index()][side.index()]
    }

    fn hush(&mut self, view: &View<'_>, id: InstrumentId, side: Side, nanos: u64) {
        self.quiet_until[id.index()][side.index()] = view.now.mono.after(nanos);
    }

    /// Where a side should rest: at the touch, one tick away when the micro-price leans against it, nowhere when the
    /// inventory is full.
    fn target(&self, scene: &Scene, seat: &Seat, side: Side) -> Option<Px> {
        let full = match side {
            Side::Buy => scene.held >= self.params.inventory,
            Side::Sell => scene.held <= -self.params.inventory,
        };
        if full {
            return None;
        }
        let (best, tick) = (scene.touch.of(side).px, seat.instrument.tick);
        let against = match side {
            Side::Buy => scene.leans.is_lt(),
            Side::Sell => scene.leans.is_gt(),
        };
        let px = match (against, side) {
            (false, _) => best,
            (true, Side::Buy) => best - tick,
            (true, Side::Sell) => best + tick,
        };
        (px >= seat.instrument.min_px && px <= seat.instrument.max_px).then_some(px)
    }

    fn quote(&mut self, view: &View<'_>, scene: Option<&Scene>, seat: &Seat, side: Side, wishes: &mut Wishes) {
        let id = seat.instrument.id;
        let target = scene.and_then(|scene| self.target(scene, seat, side));
        let wish = match (target, view.working(id, side)) {
            (None, None) => return,
            (None, Some(row)) if is_settled(row) => Wish::Cancel { order: row.order.client },
            (Some(px), None) => Wish::Rest { side, px },
            (Some(px), Some(row)) if is_settled(row) && self.is_far(seat, row.order.px, px) => {
                Wish::Reprice { order: row.order.client, px }
            }
            (_, Some(_)) => return,
        };
        self.hush(view, id, side, self.params.patience);
        wishes.push(wish);
    }

    fn is_far(&self, seat: &Seat, have: Px, want: Px) -> bool {
        (have - want).abs().raw() > i64::from(self.params.tolerance) * seat.instrument.tick.raw()
    }

    /// Inventory on the wrong side of a touch about to break: out, at the other side's best price.
    fn escape(&mut self, view: &View<'_>, id: InstrumentId, seat: &Seat, wishes: &mut Wishes) {
        if seat.position.size == Qty::ZERO {
            return;
        }
        let Some(touch) = seat.touch() else { return };
        let lean = signal::lean_permille(&touch);
        let side = match seat.position.size.raw().signum() {
            1 if lean <= -self.params.alarm => Side::Sell,
            -1 if lean >= self.params.alarm => Side::Buy,
            _ => return,
        };
        if !self.is_quiet(view, id, side) && view.working(id, side).is_none() {
            self.hush(view, id, side, self.params.patience);
            wishes.push(Wish::Take { side, limit: touch.of(side.opposite()).px, reduce: true });
        }
    }
}

/// What both sides are judged by.
struct Scene {
    touch: Touch,
    /// On which side of the middle the micro-price lies.
    leans: Ordering,
    held: Notional,
}

impl Scene {
    /// `None` while the book cannot be trusted or is empty at the touch.
    fn of(seat: &Seat) -> Option<Self> {
        let touch = seat.touch()?;
        let leans = signal::micro_beside(&touch, touch.mid())?;
        Some(Self { touch, leans, held: touch.mid().mul_floor(seat.position.size)? })
    }
}

/// Nothing is being asked about it, and the venue has it.
fn is_settled(row: &Working) -> bool {
    row.state == State::Live && row.pending.is_none()
}

impl Strategy for Quoter {
    fn id(&self) -> StrategyId {
        self.id
    }

    fn think(&mut self, view: &View<'_>, instrument: InstrumentId, wishes: &mut Wishes) {
        let Some(seat) = view.desk.seat(instrument) else { return };
        self.escape(view, instrument, seat, wishes);
        let quiet = [Side::Buy, Side::Sell].map(|side| self.is_quiet(view, instrument, side));
        if quiet == [true; 2] {
            return;
        }
        let scene = Scene::of(seat);
        for (side, quiet) in [Side::Buy, Side::Sell].into_iter().zip(quiet) {
            if !quiet {
                self.quote(view, scene.as_ref(), seat, side, wishes);
            }
        }
    }

    fn refused(&mut self, view: &View<'_>, instrument: InstrumentId, wish: &Wish) {
        let side = match wish {
            Wish::Rest { side, .. } | Wish::Take { side, .. } => Some(*side),
            Wish::Reprice { order, .. } | Wish::Cancel { order } => view.desk.orders.get(*order).map(|r| r.order.side),
        };
        if let Some(side) = side {
            self.hush(view, instrument, side, self.params.penance);
        }
    }
}

//! From a wish to an order with a quantity, and the name of the bound that set it.
//!
//! In: a wish and the seat it is about. Out: an order on the instrument's grid, or the constraint that left nothing.
//! Never: a quantity above any bound, a reducing order larger than the position, a price off the grid.

use crate::desk::Seat;
use crate::event::{Constraint, Flag, Op, Order, OrderKind, Side, TimeInForce};
use crate::orders::Working;
use crate::strategy::Wish;
use crate::units::{Notional, Px, Qty};

/// The bounds every order is cut to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizing {
    /// Value of one order.
    pub clip: Notional,
    /// Value of a position, working orders not counted: the gate counts those.
    pub position: Notional,
    /// Share of the quantity resting at the touch on the other side that a taking order may want, in permille.
    pub participation: u32,
}

impl Default for Sizing {
    fn default() -> Self {
        Self { clip: Notional::whole(1_000), position: Notional::whole(5_000), participation: 500 }
    }
}

impl Sizing {
    /// The order a wish amounts to. `working` is the order it names, if it names one. The caller fills in id, cause and
    /// strategy.
    pub fn size(&self, wish: &Wish, seat: &Seat, working: Option<&Working>) -> Result<Order, (Order, Constraint)> {
        let blank = Order { instrument: seat.instrument.id, ..Order::default() };
        match (*wish, working) {
            (Wish::Rest { side, px }, _) => {
                let order = Order { side, px: seat.instrument.passive(side, px), tif: TimeInForce::PostOnly, ..blank };
                self.cut(order, seat, &[self.clip_qty(px), self.room(seat, side, px)])
            }
            (Wish::Take { side, limit, reduce }, _) => {
                let order = Order {
                    side,
                    px: limit,
                    tif: TimeInForce::Ioc,
                    kind: OrderKind::Limit,
                    reduce_only: Flag::from(reduce),
                    ..blank
                };
                let own = if reduce { reducible(seat, side) } else { self.room(seat, side, limit) };
                self.cut(order, seat, &[self.clip_qty(limit), own, self.share(seat, side)])
            }
            (Wish::Reprice { px, .. }, Some(row)) => {
                let px = seat.instrument.passive(row.order.side, px);
                Ok(Order { op: Op::Amend, px, bound: Constraint::None, ..row.order })
            }
            (Wish::Cancel { .. }, Some(row)) => Ok(Order { op: Op::Cancel, bound: Constraint::None, ..row.order }),
            (Wish::Reprice { .. } | Wish::Cancel { .. }, None) => Err((blank, Constraint::None)),
        }
    }

    fn cut(&self, order: Order, seat: &Seat, bounds: &[(Qty, Constraint)]) -> Result<Order, (Order, Constraint)> {
        if seat.touch().is_none() {
            return Err((order, Constraint::NoPrice));
        }
        let largest = (seat.instrument.max_qty, Constraint::MaxQty);
        let (qty, bound) = bounds.iter().copied().chain([largest]).min_by_key(|(qty, _)| *qty).unwrap_or(largest);
        let qty = qty.max(Qty::ZERO).floor_to(seat.instrument.step);
        let order = Order { qty, bound, ..order };
        match seat.instrument.accepts(order.px, qty, false, order.reduce_only.is_set()) {
            Ok(()) => Ok(order),
            Err(_) => Err((order, Constraint::BelowMinimum)),
        }
    }

    fn clip_qty(&self, px: Px) -> (Qty, Constraint) {
        (self.clip.div_floor(px).unwrap_or(Qty::ZERO), Constraint::Clip)
    }

    /// Quantity until the position on this side reaches its cap.
    fn room(&self, seat: &Seat, side: Side, px: Px) -> (Qty, Constraint) {
        let cap = self.position.div_floor(px).unwrap_or(Qty::ZERO);
        (cap - side.signed(seat.position.size), Constraint::PositionCap)
    }

    fn share(&self, seat: &Seat, side: Side) -> (Qty, Constraint) {
        let resting = seat.touch().map_or(Qty::ZERO, |touch| touch.of(side.opposite()).qty);
        let share = i128::from(resting.raw()) * i128::from(self.participation) / 1000;
        (Qty::from_raw(i64::try_from(share).unwrap_or(i64::MAX)), Constraint::Participation)
    }
}

/// What an order of this side can take off the position.
fn reducible(seat: &Seat, side: Side) -> (Qty, Constraint) {
    ((-side.signed(seat.position.size)).max(Qty::ZERO), Constraint::Position)
}

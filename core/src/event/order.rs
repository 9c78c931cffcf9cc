//! What we ask the venue to do.
//!
//! One flat layout for new, amend and cancel, so that a decision, a record and a template each have one shape. `px` of
//! an IOC order is its bound: keel never sends an order without a worst price.

use super::Flag;
use crate::ids::{ClientId, InstrumentId, Seq, StrategyId};
use crate::units::{Px, Qty};
use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// Buy or sell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum Side {
    /// Adds to a long.
    #[default]
    Buy = 1,
    /// Adds to a short.
    Sell = 2,
}

impl Side {
    /// The other one.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    /// `qty` with the sign this side gives a position.
    #[must_use]
    pub fn signed(self, qty: Qty) -> Qty {
        match self {
            Self::Buy => qty,
            Self::Sell => -qty,
        }
    }

    /// 0 for buys, 1 for sells: for two-sided arrays.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Buy => 0,
            Self::Sell => 1,
        }
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum Op {
    /// Place `client`, a new order.
    #[default]
    New = 1,
    /// Change price or quantity of `client`; `qty` is the new total.
    Amend = 2,
    /// Cancel `client`.
    Cancel = 3,
}

/// Limit or market.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum OrderKind {
    /// At `px` or better.
    #[default]
    Limit = 1,
    /// Immediate, bounded by the venue; for flattening only.
    Market = 2,
}

/// How long it lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum TimeInForce {
    /// Until cancelled.
    #[default]
    Gtc = 1,
    /// What fills at once; the rest is cancelled.
    Ioc = 2,
    /// All at once or nothing.
    Fok = 3,
    /// Rest or be cancelled: never takes.
    PostOnly = 4,
}

/// Which bound set the size of an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum Constraint {
    /// Not sized by a rule: cancels.
    #[default]
    None = 0,
    /// The strategy's own wish.
    Wish = 1,
    /// Notional per order.
    Clip = 2,
    /// Room left to the position cap.
    PositionCap = 3,
    /// Share of the quantity resting at the touch.
    Participation = 4,
    /// The instrument's largest order.
    MaxQty = 5,
    /// The position itself: a reducing order.
    Position = 6,
    /// Came out below the instrument's smallest order or notional: nothing to do.
    BelowMinimum = 7,
    /// No price to size by: nothing to do.
    NoPrice = 8,
}

/// One request to the venue, before and after permission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Order {
    /// Our id: of the new order, or of the order to amend or cancel.
    pub client: ClientId,
    /// The record that made us want it.
    pub cause: Seq,
    /// Limit price; for IOC the worst acceptable price. Ignored by cancels.
    pub px: Px,
    /// Quantity; for amends the new total. Ignored by cancels.
    pub qty: Qty,
    /// What to trade.
    pub instrument: InstrumentId,
    /// Who wants it.
    pub strategy: StrategyId,
    /// New, amend or cancel.
    pub op: Op,
    /// Buy or sell.
    pub side: Side,
    /// Limit or market.
    pub kind: OrderKind,
    /// How long it lives.
    pub tif: TimeInForce,
    /// May only shrink a position.
    pub reduce_only: Flag,
    /// Which bound set the size.
    pub bound: Constraint,
    /// Age of the signal behind it when it was acted on, milliseconds, saturated; 0 for one that is not from outside.
    pub signal_age: u16,
    /// Version of the model that wanted it; 0 is a strategy of this program, which no model drives.
    pub model: u32,
}

const _: () = assert!(size_of::<Order>() == 48);

/// A wish that sizing turned into nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NotSized {
    /// What was wished, with the quantity that was left.
    pub order: Order,
}

crate::record! {
    NotSized => NotSized, 48;
}

//! The answer, in the layout it is journaled in, and the stamp that only this room can set.
//!
//! ```text
//!  Decision 312 = Order 48 | failing 8 | mark 8 | equity 8 | limits 4 first 2 brake 1 class 1
//!               | money 11 x (value 8, limit 8) | counts 7 x (value 4, limit 4)
//! ```
//!
//! Every check that measures something leaves its value beside the limit it was held against, whether it passed or
//! not; [`Decision::measure`] finds the pair by the code of the check. A pair of zeros was not measured: the check does
//! not concern this kind of order.

use crate::brake::State;
use crate::refusal::{Refusal, Slot};
use keel_core::event::{Kind, Order, Record};
use keel_core::units::{Notional, Px};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// Measures in units of 1e-8 (money, coins) or nanoseconds.
pub const MONEY_SLOTS: usize = 11;
/// Measures that are counts or basis points.
pub const COUNT_SLOTS: usize = 7;

/// What was measured, and the most it may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Pair {
    /// Measured; [`i64::MAX`] when it could not be.
    pub value: i64,
    /// The most it may be.
    pub limit: i64,
}

/// The same for small numbers; saturated at the bounds of `i32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SmallPair {
    /// Measured; [`i32::MAX`] when it could not be.
    pub value: i32,
    /// The most it may be.
    pub limit: i32,
}

/// What an order does to risk, as the gate sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum Class {
    /// May add risk: every check concerns it.
    #[default]
    Risk = 1,
    /// Can only shrink a position or an order: never held back by size, exposure or value at risk.
    Reduce = 2,
    /// Ends an order.
    Cancel = 4,
}

/// One decision, pass or refuse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Decision {
    /// What was asked.
    pub order: Order,
    /// Bit `n` is set when the check with code `n` failed.
    pub failing: u64,
    /// The price value was measured at; zero when there was none.
    pub mark: Px,
    /// The account's equity it was measured against; zero when unknown.
    pub equity: Notional,
    /// Version of the limits in force.
    pub limits: u32,
    /// The first failing check, in the order of the table in `gate`.
    pub first: Refusal,
    /// Effective state of the brake.
    pub brake: State,
    /// What the order does to risk.
    pub class: Class,
    /// See [`Slot::Money`].
    pub money: [Pair; MONEY_SLOTS],
    /// See [`Slot::Count`].
    pub counts: [SmallPair; COUNT_SLOTS],
}

const _: () = assert!(size_of::<Decision>() == 312);

impl Decision {
    /// Did the check with this code fail?
    #[must_use]
    pub const fn failed(&self, code: Refusal) -> bool {
        self.failing & code.bit() != 0
    }

    /// Every check that failed, in code order.
    pub fn failures(&self) -> impl Iterator<Item = Refusal> + '_ {
        Refusal::ALL.into_iter().filter(|code| self.failed(*code))
    }

    /// What the check with this code measured, beside its limit; `None` for a check that only holds or fails.
    #[must_use]
    pub const fn measure(&self, code: Refusal) -> Option<Pair> {
        match code.slot() {
            Slot::Money(at) => Some(self.money[at]),
            Slot::Count(at) => {
                let SmallPair { value, limit } = self.counts[at];
                Some(Pair { value: value as i64, limit: limit as i64 })
            }
            Slot::None => None,
        }
    }

    /// Age of the market data used, nanoseconds; `None` when there was none.
    #[must_use]
    pub const fn data_age(&self) -> Option<u64> {
        match self.measure(Refusal::StaleBook) {
            Some(Pair { value, .. }) if value >= 0 && value != i64::MAX => Some(value.unsigned_abs()),
            _ => None,
        }
    }
}

/// Permission for one order. Only the gate builds it, each carries one order once.
///
/// ```compile_fail
/// let forged = keel_risk::Approved { decision: keel_risk::Decision::default() };
/// ```
/// ```compile_fail
/// fn twice(approved: keel_risk::Approved) -> (keel_risk::Approved, keel_risk::Approved) {
///     (approved.clone(), approved)
/// }
/// ```
/// ```compile_fail
/// fn again(approved: keel_risk::Approved) -> (keel_risk::Approved, keel_risk::Approved) {
///     (approved, approved)
/// }
/// ```
/// ```compile_fail
/// let nothing = keel_risk::Approved::default();
/// ```
/// ```compile_fail
/// let forged = keel_risk::Approved::new(keel_risk::Decision::default());
/// ```
/// ```compile_fail
/// let read: Option<keel_risk::Approved> = keel_core::event::read(&[0; 312]);
/// ```
#[derive(Debug)]
#[must_use]
pub struct Approved {
    decision: Decision,
}

/// A refusal of one order.
#[derive(Debug)]
#[must_use]
pub struct Refused {
    decision: Decision,
}

impl Approved {
    pub(crate) fn new(decision: Decision) -> Self {
        assert!(decision.failing == 0, "a failing check never approves");
        Self { decision }
    }

    /// Everything that was measured.
    #[must_use]
    pub const fn decision(&self) -> &Decision {
        &self.decision
    }
}

impl Refused {
    pub(crate) fn new(decision: Decision) -> Self {
        assert!(decision.failing != 0, "a refusal names a check");
        Self { decision }
    }

    /// Everything that was measured.
    #[must_use]
    pub const fn decision(&self) -> &Decision {
        &self.decision
    }
}

impl AsRef<Order> for Approved {
    fn as_ref(&self) -> &Order {
        &self.decision.order
    }
}

impl Record for Approved {
    fn kind(&self) -> Kind {
        Kind::Approved
    }

    fn bytes(&self) -> &[u8] {
        self.decision.as_bytes()
    }
}

impl Record for Refused {
    fn kind(&self) -> Kind {
        Kind::Refused
    }

    fn bytes(&self) -> &[u8] {
        self.decision.as_bytes()
    }
}

//! The answer, in the layout it is journaled in, and the stamp that only this room can set.

use keel_core::event::{Kind, Order, Record};
use keel_core::units::Px;
use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// Why an order may not leave. Codes are stable and never reused; 0 is "nothing against it".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u16)]
pub enum Refusal {
    /// Nothing against it.
    #[default]
    None = 0,
}

/// One decision, pass or refuse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Decision {
    /// What was asked.
    pub order: Order,
    /// Bit `n` is set when the check with code `n` failed.
    pub failing: u64,
    /// Age of the market data used, nanoseconds.
    pub data_age: u64,
    /// The price value was measured at.
    pub mark: Px,
    /// Version of the limits in force.
    pub limits: u32,
    /// The first failing check.
    pub first: Refusal,
    /// Zero.
    pub pad: [u8; 2],
}

/// Permission for one order. Only the gate builds it.
///
/// ```compile_fail
/// let forged = keel_risk::Approved { decision: keel_risk::Decision::default() };
/// ```
#[derive(Debug)]
pub struct Approved {
    decision: Decision,
}

/// A refusal of one order.
#[derive(Debug)]
pub struct Refused {
    decision: Decision,
}

impl Approved {
    /// Everything that was measured.
    #[must_use]
    pub const fn decision(&self) -> &Decision {
        &self.decision
    }
}

impl Refused {
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

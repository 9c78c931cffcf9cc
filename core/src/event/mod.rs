//! Every fact that crosses a ring or enters the journal: plain data of fixed size.
//!
//! In: bytes a decoder understood. Out: values any room can copy. Never: a pointer, a string of unknown length, an
//! implicit pad byte. Layouts are `repr(C)`, little-endian on every machine keel supports, and checked by the compiler
//! through `zerocopy`: the bytes in the journal are the bytes in memory, and a byte that no variant owns is refused on
//! the way back.
//!
//! ```text
//!   1xx market   feed    -> engine     what the venue shows everyone
//!   2xx exec     gateway -> engine     what the venue tells us alone
//!   3xx command  people  -> engine     what an operator, a model or a timer asks
//!   4xx decision engine  -> journal    what we decided, and why
//!   5xx system   node    -> journal    what the process was
//!   6xx compliance                     what surveillance and people found: a journal of its own
//! ```

pub mod alert;
pub mod carried;
pub mod case;
pub mod command;
pub mod exec;
pub mod flow;
pub mod market;
pub mod order;
pub mod system;

pub use alert::{Alert, EVIDENCE, Gravity, Rule};
pub use carried::{Carried, Holding, Resumed, Seen, Worth};
pub use case::{CaseAct, CaseState, Deed, TYPOLOGIES};
pub use command::{Command, CommandKind, Document, DocumentKind, PART, Parts, Timer};
pub use exec::{
    Ack, Channel, Difference, DifferenceKind, ExecEvent, ExecKind, Fill, Link, LinkState, OrderStatus, OrderUpdate,
    Reconciliation, Resolution, Sent, SentOutcome, VenuePosition, Wallet,
};
pub use flow::{Flow, FlowKind, FlowState, Standing};
pub use market::{
    Bar, BookUpdate, Health, HealthReason, HealthState, Level, Liquidation, MarketEvent, Origin, PriceLimit, Ticker,
    Trade, VenueStatus,
};
pub use order::{Constraint, NotSized, Op, Order, OrderKind, Side, TimeInForce};
pub use system::{Start, Stop};

use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// One byte that is 0 or 1: a `bool` with a layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum Flag {
    /// 0.
    #[default]
    No = 0,
    /// 1.
    Yes = 1,
}

impl From<bool> for Flag {
    fn from(set: bool) -> Self {
        if set { Self::Yes } else { Self::No }
    }
}

impl Flag {
    /// Is it set?
    #[must_use]
    pub const fn is_set(self) -> bool {
        matches!(self, Self::Yes)
    }
}

/// What a journal record holds. Codes are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u16)]
#[allow(missing_docs, reason = "each kind is documented at its struct")]
pub enum Kind {
    Book = 101,
    Trade = 102,
    Ticker = 103,
    Bar = 104,
    Liquidation = 105,
    PriceLimit = 106,
    Health = 107,
    VenueStatus = 108,
    Ack = 201,
    OrderUpdate = 202,
    Fill = 203,
    VenuePosition = 204,
    Wallet = 205,
    Link = 206,
    Sent = 207,
    Reconciliation = 208,
    Difference = 209,
    Flow = 210,
    Standing = 211,
    Command = 301,
    Timer = 302,
    Document = 303,
    Approved = 401,
    Refused = 402,
    NotSized = 403,
    Trip = 404,
    Answer = 405,
    Fortune = 406,
    Unwind = 407,
    Worth = 411,
    Start = 501,
    Instrument = 502,
    Stop = 503,
    Seal = 504,
    Carried = 511,
    Holding = 512,
    Seen = 513,
    Resumed = 514,
    Alert = 601,
    CaseAct = 602,
}

impl Kind {
    /// Every kind, in code order.
    pub const ALL: [Self; 40] = [
        Self::Book,
        Self::Trade,
        Self::Ticker,
        Self::Bar,
        Self::Liquidation,
        Self::PriceLimit,
        Self::Health,
        Self::VenueStatus,
        Self::Ack,
        Self::OrderUpdate,
        Self::Fill,
        Self::VenuePosition,
        Self::Wallet,
        Self::Link,
        Self::Sent,
        Self::Reconciliation,
        Self::Difference,
        Self::Flow,
        Self::Standing,
        Self::Command,
        Self::Timer,
        Self::Document,
        Self::Approved,
        Self::Refused,
        Self::NotSized,
        Self::Trip,
        Self::Answer,
        Self::Fortune,
        Self::Unwind,
        Self::Worth,
        Self::Start,
        Self::Instrument,
        Self::Stop,
        Self::Seal,
        Self::Carried,
        Self::Holding,
        Self::Seen,
        Self::Resumed,
        Self::Alert,
        Self::CaseAct,
    ];

    /// The code in the record.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The kind with this code, if there is one.
    #[must_use]
    #[inline]
    pub fn from_code(code: u16) -> Option<Self> {
        BY_CODE.get(usize::from(code)).copied().flatten()
    }
}

/// Readers ask for the kind of every record there is.
static BY_CODE: [Option<Kind>; 700] = {
    let mut table = [None; 700];
    let mut at = 0;
    while at < Kind::ALL.len() {
        table[Kind::ALL[at] as usize] = Some(Kind::ALL[at]);
        at += 1;
    }
    table
};

/// Something the journal can hold: a kind and the bytes of its layout.
pub trait Record {
    /// Which kind these bytes are.
    fn kind(&self) -> Kind;
    /// The bytes, as they stand in memory and in the journal.
    fn bytes(&self) -> &[u8];
}

impl<R: Record> Record for &R {
    fn kind(&self) -> Kind {
        (**self).kind()
    }

    fn bytes(&self) -> &[u8] {
        (**self).bytes()
    }
}

/// Implements [`Record`] for a type whose whole memory is its record.
#[macro_export]
macro_rules! record {
    ($($type:ty => $kind:ident, $size:expr;)*) => {$(
        const _: () = assert!(core::mem::size_of::<$type>() == $size);

        impl $crate::event::Record for $type {
            fn kind(&self) -> $crate::event::Kind {
                $crate::event::Kind::$kind
            }

            fn bytes(&self) -> &[u8] {
                zerocopy::IntoBytes::as_bytes(self)
            }
        }
    )*};
}

/// A value read back from the bytes of its record; `None` when the length or a byte does not fit the layout.
#[must_use]
pub fn read<T: TryFromBytes>(bytes: &[u8]) -> Option<T> {
    T::try_read_from_bytes(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_distinct_and_complete() {
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(Kind::from_code(kind.code()), Some(kind));
            assert!(Kind::ALL[..at].iter().all(|k| k.code() < kind.code()), "{kind:?} is out of order");
        }
        assert_eq!(Kind::from_code(0), None);
    }

    #[test]
    fn a_byte_no_variant_owns_is_refused() {
        let sent = Sent { client: crate::ids::ClientId::new(1, 1), ..Sent::default() };
        let mut bytes = [0u8; size_of::<Sent>()];
        bytes.copy_from_slice(sent.bytes());
        assert_eq!(read::<Sent>(&bytes), Some(sent));
        bytes[core::mem::offset_of!(Sent, outcome)] = 200;
        assert_eq!(read::<Sent>(&bytes), None);
        assert_eq!(read::<Sent>(&bytes[1..]), None);
    }
}

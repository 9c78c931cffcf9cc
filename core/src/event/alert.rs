//! What surveillance raises. Alerts stand in the compliance journal, a stream of its own beside the trading one: they are
//! never shipped to Loki, never in ordinary logs or metrics, and readable by those who hold the role for it.

use super::Flag;
use crate::ids::{InstrumentId, Seq, Text};
use crate::record;
use crate::units::{Mono, Notional, Wall};
use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// What a rule looks for. Codes are never reused.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, TryFromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(u16)]
pub enum Rule {
    /// None: the zero of a record nobody filled in.
    #[default]
    None = 0,
    /// TM1: amounts kept just below a reporting threshold.
    Structuring = 1,
    /// TM2: in and out again with little traded between.
    PassThrough = 2,
    /// TM3: more, or more often, than this account ever does.
    Velocity = 3,
    /// TM4: a new or sleeping account that moves much.
    Burst = 4,
    /// TM5: a counterparty never seen, just changed, or many at once.
    Counterparty = 5,
    /// TM6: an address or a name on a list.
    Sanctioned = 6,
    /// TM7: in as one coin, out as another on another chain.
    ChainHop = 7,
    /// TM8: the same or round amounts again and again.
    Repeated = 8,
    /// TM9: a region or an address that does not fit.
    Geography = 9,
    /// TM10: trading that does not mind to lose.
    LossIndifferent = 10,
    /// TM11: somebody else's money.
    ThirdParty = 11,
    /// TM12: round and round between own accounts.
    Maze = 12,
    /// Own orders against own orders.
    Wash = 101,
    /// A large order to move the book, gone when the other side filled.
    Spoofing = 102,
    /// The same on several levels.
    Layering = 103,
    /// Messages that are not meant to trade.
    Stuffing = 104,
    /// A push, and the position turned into it.
    Ignition = 105,
    /// A large share of the volume before a price counts.
    Marking = 106,
    /// A row of small trades at ever better prices.
    Painting = 107,
    /// Moving one market for a position in another.
    CrossProduct = 108,
    /// Before a client's order.
    FrontRunning = 109,
    /// Small probes before a large order.
    Pinging = 110,
    /// A position before the news.
    Insider = 111,
}

/// How much an alert asks for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, TryFromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(u8)]
pub enum Gravity {
    /// Look at it.
    #[default]
    Review = 1,
    /// Open a case.
    Case = 2,
    /// Open a case, and stop.
    Block = 3,
}

/// Records an alert can point at; how many there were stands in `count`.
pub const EVIDENCE: usize = 16;

/// One alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Alert {
    /// Event time of the newest record behind it.
    pub at: Wall,
    /// The stopwatch at that record.
    pub mono: Mono,
    /// Length of the window looked at, in nanoseconds.
    pub window: u64,
    /// What was measured, in the rule's own unit.
    pub measured: i64,
    /// What it may be, in the same unit.
    pub limit: i64,
    /// Sum of what moved, in USD.
    pub amount: Notional,
    /// Records behind it.
    pub count: u64,
    /// The newest of them in the trading journal, newest first; [`Seq::NONE`] fills up.
    pub evidence: [Seq; EVIDENCE],
    /// SHA-256 of the parameters and lists it was found with.
    pub parameters: [u8; 32],
    /// SHA-256 of the list behind it; zero when none is.
    pub list_digest: [u8; 32],
    /// The list behind it, its version and the entry, `ofac:2026-11-20:36`; empty when none is.
    pub list: Text<63>,
    /// Whose: the account's UID.
    pub subject: Text<31>,
    /// What it turned on: an address, a coin, an order's id.
    pub key: Text<127>,
    /// Which rule.
    pub rule: Rule,
    /// Version of the rule.
    pub version: u16,
    /// On what; counts only for rules about orders and trades.
    pub instrument: InstrumentId,
    /// How much it asks for.
    pub gravity: Gravity,
    /// Made by the daily proof that the pipe is open; nobody did anything.
    pub synthetic: Flag,
}

record! {
    Alert => Alert, 480;
}

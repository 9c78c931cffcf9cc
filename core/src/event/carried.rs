//! What one run hands to the next, and what the account is worth: state of ours that is journaled as it stands, so that a
//! restart reads one run and not the whole history.
//!
//! ```text
//!   Start, Instrument.., Document.., brake, Holding.., Carried.., Seen.., Resumed     every run begins so, in this order
//!                                    '-- Trip.., Fortune, Document(Adopted).. Answer: where the brake and the limits stood
//! ```
//!
//! All of them are caused by `Start`. `Resumed` counts what stands before it: a run whose beginning was cut short has none,
//! and is read over from the run before it.

use super::{Flag, Op, Order};
use crate::ids::{InstrumentId, VenueId};
use crate::orders::State;
use crate::record;
use crate::units::{Mono, Notional, Px, Qty, Wall};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// An order of an earlier run that is not proven finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Carried {
    /// As last shown by the venue, or as first asked for.
    pub order: Order,
    /// Nanoseconds since anything was last asked of it.
    pub age: u64,
    /// When the venue last changed it, by its clock.
    pub updated: Wall,
    /// What the last amend asked for.
    pub target_px: Px,
    /// What the last amend asked for.
    pub target_qty: Qty,
    /// Boldest price unanswered amends ask for; counts only with `amended`.
    pub amended_px: Px,
    /// Largest quantity unanswered amends ask for; counts only with `amended`.
    pub amended_qty: Qty,
    /// Filled by the executions counted.
    pub filled: Qty,
    /// Filled by the venue's word.
    pub reported: Qty,
    /// The venue's id; empty when it never said.
    pub venue: VenueId,
    /// Amends not yet answered.
    pub amends: u32,
    /// Where it stands.
    pub state: State,
    /// Where settling leads.
    pub ending: State,
    /// What was asked and is not answered; counts only with `pending`.
    pub asked: Op,
    /// Something was asked and is not answered: bit 0. There are unanswered amends: bit 1.
    pub open_questions: u8,
}

impl Carried {
    /// Something was asked and is not answered.
    pub const PENDING: u8 = 1;
    /// There are unanswered amends.
    pub const AMENDED: u8 = 2;
}

/// Our account of one instrument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Holding {
    /// Signed size.
    pub size: Qty,
    /// What the open size cost, signed.
    pub cost: Notional,
    /// Profit of closed quantity, without fees.
    pub realised: Notional,
    /// Fees paid.
    pub fees: Notional,
    /// Funding paid.
    pub funding: Notional,
    /// Profit of the position's life; counts only with `lived`.
    pub life: Notional,
    /// Cross sequence of the last fill.
    pub seq: u64,
    /// Fills up to this cross sequence are in it.
    pub base: u64,
    /// Of what, by this run's table.
    pub instrument: InstrumentId,
    /// All of the position's life was seen.
    pub lived: Flag,
    /// Zero.
    pub pad: [u8; 5],
}

/// An execution counted by an earlier run which the venue may still show again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Seen {
    /// When it happened at the venue.
    pub ts: Wall,
    /// Its id.
    pub exec: VenueId,
}

/// The end of what was carried over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Resumed {
    /// When the last execution counted happened; zero when there was none.
    pub last_fill: Wall,
    /// Our account of the cash; counts only with `known`.
    pub balance: Notional,
    /// Money that came in less money that went out.
    pub moved: Notional,
    /// Highest value of the account, money moved left out.
    pub high: Notional,
    /// The run before; zero for the first of a journal.
    pub run: u32,
    /// Holdings before this record.
    pub holdings: u32,
    /// Orders before this record.
    pub orders: u32,
    /// Executions before this record.
    pub seen: u32,
    /// There was a wallet.
    pub known: Flag,
    /// The run before ended in good order.
    pub clean: Flag,
    /// Zero.
    pub pad: [u8; 6],
}

/// What the account is worth by our own books, in USDT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Worth {
    /// When.
    pub at: Mono,
    /// Cash and unrealised profit at mark.
    pub equity: Notional,
    /// Cash: the first wallet, our fills, fees and funding, and money moved.
    pub balance: Notional,
    /// Money that came in less money that went out, since the first wallet.
    pub moved: Notional,
    /// Highest equity so far, money moved left out.
    pub high: Notional,
    /// How far equity, money moved left out, is below it.
    pub drawdown: Notional,
    /// Initial margin in use, the venue's word.
    pub initial_margin: Notional,
    /// Maintenance margin in use, the venue's word.
    pub maintenance_margin: Notional,
}

record! {
    Carried => Carried, 160;
    Holding => Holding, 72;
    Seen => Seen, 48;
    Resumed => Resumed, 56;
    Worth => Worth, 64;
}

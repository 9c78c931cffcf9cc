//! Money through the door, and what the account is to the venue: polled by the node, journaled like any other word of
//! the venue, read by surveillance, reports and the policy of who may trade.

use super::Flag;
use crate::ids::Text;
use crate::record;
use crate::units::{Mono, Notional, Qty, Wall};
use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// What moved money.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, TryFromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(u8)]
pub enum FlowKind {
    /// A row of the transaction log with a word we do not know.
    #[default]
    Unrecognised = 0,
    /// From a chain.
    Deposit = 1,
    /// From another account of the venue that is not ours.
    InternalDeposit = 2,
    /// To a chain.
    Withdrawal = 3,
    /// To another account of the venue that is not ours.
    InternalWithdrawal = 4,
    /// From another account of ours.
    TransferIn = 5,
    /// To another account of ours.
    TransferOut = 6,
    /// The coin given in a conversion.
    ConvertOut = 7,
    /// The coin got in a conversion.
    ConvertIn = 8,
    /// The transaction log: a trade's cash.
    Trade = 9,
    /// The transaction log: funding.
    Funding = 10,
    /// The transaction log: a fee, a rebate, interest.
    Fee = 11,
    /// The transaction log: liquidation or auto-deleveraging.
    Liquidation = 12,
    /// The transaction log: a gift of the venue.
    Bonus = 13,
}

/// How far a movement has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum FlowState {
    /// A word we do not know.
    #[default]
    Unrecognised = 0,
    /// Under way.
    Pending = 1,
    /// Done.
    Done = 2,
    /// Ended without moving anything.
    Failed = 3,
}

/// One movement of money, in one state. The venue's id and the state name it: a row seen again is not a new fact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Flow {
    /// When it was read.
    pub recv: Mono,
    /// When it happened, by the venue's clock.
    pub ts: Wall,
    /// How much of `coin`: in is positive, out is negative.
    pub amount: Qty,
    /// Its worth in USD when it happened, by the venue's index; zero when nobody could say.
    pub usd: Notional,
    /// Fee in `coin`; positive is a cost.
    pub fee: Qty,
    /// The venue's id of the row.
    pub id: Text<63>,
    /// Which of our accounts: the venue's UID.
    pub account: Text<31>,
    /// The other side when it is no address: a UID, a VASP, another account of ours.
    pub party: Text<63>,
    /// Address on the chain, as the venue wrote it; where there is a tag or memo, `address:tag`.
    pub address: Text<127>,
    /// Transaction on the chain.
    pub tx: Text<127>,
    /// Which coin.
    pub coin: Text<15>,
    /// Which chain; empty inside the venue.
    pub chain: Text<15>,
    /// What it is.
    pub kind: FlowKind,
    /// How far it has come.
    pub state: FlowState,
    /// Zero.
    pub pad: [u8; 6],
}

impl Flow {
    /// Is it a row of the log of this account's cash that neither a trade nor funding made? A transfer that is listed
    /// with its other side is not that row: the log has one of its own.
    #[must_use]
    pub fn moves_cash(&self) -> bool {
        use FlowKind::{Bonus, ConvertIn, ConvertOut, Fee, TransferIn, TransferOut, Unrecognised};
        let door = matches!(self.kind, TransferIn | TransferOut | ConvertIn | ConvertOut | Bonus | Fee | Unrecognised);
        door && self.party.is_empty() && self.address.is_empty()
    }
}

/// What the account and its key are to the venue: read at the start, once a day, and when it changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Standing {
    /// When it was read.
    pub recv: Mono,
    /// The same moment by our clock.
    pub at: Wall,
    /// When the key expires; zero when never.
    pub expires: Wall,
    /// What the key may do: the bits of this type.
    pub permissions: u64,
    /// SHA-256 of what the venue answered.
    pub digest: [u8; 32],
    /// The account's UID.
    pub uid: Text<31>,
    /// The main account's UID, when this is a sub-account.
    pub parent: Text<31>,
    /// The venue's word for how well it knows the owner.
    pub kyc_level: Text<31>,
    /// The owner's region, as the venue names it.
    pub kyc_region: Text<31>,
    /// Addresses the key is bound to, with commas; `*` when it is bound to none.
    pub ips: Text<127>,
    /// The key may read and nothing else.
    pub read_only: Flag,
    /// It differs from what was read before.
    pub changed: Flag,
    /// A document the registry names as evidence of who the owner is was missing, or was not what the registry says.
    pub amiss: Flag,
    /// Zero.
    pub pad: [u8; 5],
}

impl Standing {
    /// May place and cancel orders of derivatives.
    pub const TRADE: u64 = 1;
    /// May move money between accounts of the owner.
    pub const TRANSFER: u64 = 2;
    /// May take money out of the venue.
    pub const WITHDRAW: u64 = 4;
    /// Has a permission we have no bit for.
    pub const OTHER: u64 = 8;

    /// Has the key this permission?
    #[must_use]
    pub const fn may(&self, permission: u64) -> bool {
        self.permissions & permission != 0
    }
}

record! {
    Flow => Flow, 496;
    Standing => Standing, 328;
}

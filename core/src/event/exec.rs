//! What the venue tells us alone: acknowledgements, orders, fills, positions, balances, and the state of the links
//! themselves. The gateway decodes them; the engine's order table is the only one who interprets them.

use super::{Flag, Kind, Op, Record, Side, TimeInForce};
use crate::ids::{ClientId, InstrumentId, Text, VenueId};
use crate::record;
use crate::units::{Mono, Notional, Px, Qty, SCALE, Wall};
use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// Which conversation with the venue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum Channel {
    /// Market data.
    #[default]
    Public = 1,
    /// Our orders, fills, positions, wallet.
    Private = 2,
    /// Order entry.
    Trade = 3,
    /// Queries and the fallback for order entry.
    Rest = 4,
}

/// The venue's first answer to a request: accepted for processing, or refused. It proves neither resting nor filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Ack {
    /// Which order.
    pub client: ClientId,
    /// When it came in.
    pub recv: Mono,
    /// The same moment on the stopwatch.
    pub ticks: u64,
    /// When the venue answered.
    pub ts: Wall,
    /// When the venue's limit window resets; zero when it did not say.
    pub limit_reset: Wall,
    /// The venue's order id; empty when refused.
    pub venue: VenueId,
    /// The venue's code: 0 is accepted.
    pub code: i32,
    /// Requests a second this endpoint allows; zero when it did not say.
    pub limit: u32,
    /// Requests left in the window.
    pub remaining: u32,
    /// What was asked.
    pub op: Op,
    /// Which way the answer came.
    pub channel: Channel,
    /// It was asked for in a batch, which has quotas of its own.
    pub batch: Flag,
    /// Zero.
    pub pad: u8,
}

/// The venue's word for where an order stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum OrderStatus {
    /// A word we do not know: treated as open until proven otherwise.
    #[default]
    Unrecognised = 0,
    /// Resting.
    New = 1,
    /// Resting, partly filled.
    PartiallyFilled = 2,
    /// Conditional, waiting.
    Untriggered = 3,
    /// Conditional, on its way into the book.
    Triggered = 4,
    /// Done, all of it.
    Filled = 5,
    /// Done; read `filled`, it may be more than zero.
    Cancelled = 6,
    /// Done; never rested.
    Rejected = 7,
    /// Conditional, cancelled before it triggered.
    Deactivated = 8,
    /// Nowhere: asked for by our id in the venue's open and closed memory, more than once, after the last moment it
    /// could still have been accepted. The gateway's conclusion, never a word of the venue.
    Absent = 9,
}

impl OrderStatus {
    /// Can nothing more happen to it?
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Filled | Self::Cancelled | Self::Rejected | Self::Deactivated | Self::Absent)
    }
}

/// The venue's view of one order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct OrderUpdate {
    /// Our id; `NONE` for an order we did not place.
    pub client: ClientId,
    /// When it came in.
    pub recv: Mono,
    /// The same moment on the stopwatch.
    pub ticks: u64,
    /// When the venue last changed the order.
    pub updated: Wall,
    /// Limit price.
    pub px: Px,
    /// Total quantity.
    pub qty: Qty,
    /// Filled so far.
    pub filled: Qty,
    /// Still open.
    pub leaves: Qty,
    /// Average fill price; zero when unfilled.
    pub avg_px: Px,
    /// The venue's id.
    pub venue: VenueId,
    /// The venue's reason when it is not `EC_NoError`.
    pub reason: Text<39>,
    /// What.
    pub instrument: InstrumentId,
    /// Buy or sell.
    pub side: Side,
    /// Where it stands.
    pub status: OrderStatus,
    /// How long it lives.
    pub tif: TimeInForce,
    /// May only shrink a position.
    pub reduce_only: Flag,
    /// Read from a query, not from the stream.
    pub queried: Flag,
    /// Zero.
    pub pad: u8,
}

/// Why a quantity changed hands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum ExecKind {
    /// A word we do not know.
    #[default]
    Unrecognised = 0,
    /// An order met another.
    Trade = 1,
    /// Funding was exchanged: no position change.
    Funding = 2,
    /// We were liquidated.
    Liquidation = 3,
    /// Auto-deleveraged.
    Adl = 4,
    /// Delivery or settlement.
    Settlement = 5,
    /// Anything else that moves a position (block trade, transfer of a position).
    Other = 6,
}

/// One execution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Fill {
    /// Our id; `NONE` for a fill of an order we did not place.
    pub client: ClientId,
    /// When it came in.
    pub recv: Mono,
    /// The same moment on the stopwatch.
    pub ticks: u64,
    /// When it happened at the venue.
    pub ts: Wall,
    /// The venue's cross sequence: fills and positions with the same one belong together.
    pub seq: u64,
    /// Price.
    pub px: Px,
    /// Quantity.
    pub qty: Qty,
    /// Left of the order.
    pub leaves: Qty,
    /// Part of `qty` that shrank the position.
    pub closed: Qty,
    /// Fee; positive is a cost.
    pub fee: Notional,
    /// Realised profit or loss, without fees.
    pub pnl: Notional,
    /// Mark price at the time.
    pub mark: Px,
    /// The venue's execution id: the key fills are counted once by.
    pub exec: VenueId,
    /// The venue's order id.
    pub venue: VenueId,
    /// What.
    pub instrument: InstrumentId,
    /// Side of our order.
    pub side: Side,
    /// Why.
    pub kind: ExecKind,
    /// We made the price.
    pub maker: Flag,
    /// Read from a query, not from the stream.
    pub queried: Flag,
    /// Zero.
    pub pad: [u8; 2],
}

impl Fill {
    /// What closed quantity earned: the venue's own figure where it gives one, else `ours`.
    #[must_use]
    pub const fn gain(&self, ours: i64) -> i64 {
        if self.pnl.raw() == 0 && self.closed.raw() == 0 { ours } else { self.pnl.raw() }
    }
}

impl VenuePosition {
    /// How far the mark may move against the position before it is liquidated, in 1e-8 of the mark; `None` when flat,
    /// without a mark, or when the venue names no liquidation price.
    #[must_use]
    pub fn distance(&self, mark: Px) -> Option<i64> {
        if self.size.is_zero() || mark <= Px::ZERO || self.liquidation <= Px::ZERO {
            return None;
        }
        let way = i128::from(mark.raw()) - i128::from(self.liquidation.raw());
        let way = if self.size > Qty::ZERO { way } else { -way };
        i64::try_from(way * i128::from(SCALE) / i128::from(mark.raw())).ok()
    }
}

/// The venue's view of one position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct VenuePosition {
    /// When it came in.
    pub recv: Mono,
    /// When the venue last changed it.
    pub updated: Wall,
    /// The venue's cross sequence.
    pub seq: u64,
    /// Signed size: long is positive.
    pub size: Qty,
    /// Average entry price.
    pub entry: Px,
    /// Mark price.
    pub mark: Px,
    /// Liquidation price; zero when there is none.
    pub liquidation: Px,
    /// Unrealised profit or loss at mark.
    pub unrealised: Notional,
    /// Realised over this position's life, with fees and funding.
    pub realised: Notional,
    /// Initial margin.
    pub initial_margin: Notional,
    /// Maintenance margin.
    pub maintenance_margin: Notional,
    /// What.
    pub instrument: InstrumentId,
    /// Being liquidated or deleveraged.
    pub distressed: Flag,
    /// Read from a query, not from the stream.
    pub queried: Flag,
    /// Zero.
    pub pad: [u8; 4],
}

/// The account's money, in USDT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Wallet {
    /// When it came in.
    pub recv: Mono,
    /// When the venue pushed it.
    pub ts: Wall,
    /// Balance plus unrealised profit or loss.
    pub equity: Notional,
    /// Cash.
    pub balance: Notional,
    /// Free for new margin.
    pub available: Notional,
    /// Initial margin in use.
    pub initial_margin: Notional,
    /// Maintenance margin in use.
    pub maintenance_margin: Notional,
    /// Unrealised profit or loss.
    pub unrealised: Notional,
    /// Read from a query, not from the stream.
    pub queried: Flag,
    /// Zero.
    pub pad: [u8; 7],
}

/// How far a conversation has come.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, TryFromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(u8)]
pub enum LinkState {
    /// No connection.
    #[default]
    Down = 0,
    /// Connected, not yet trusted with anything.
    Connected = 1,
    /// Authenticated and subscribed.
    Ready = 2,
}

/// A conversation changed state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Link {
    /// When.
    pub at: Mono,
    /// Which.
    pub channel: Channel,
    /// What it is now.
    pub state: LinkState,
    /// Zero.
    pub pad: [u8; 6],
}

/// What became of a recorded order on its way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum SentOutcome {
    /// Its bytes were handed to the socket.
    #[default]
    Wire = 0,
    /// Never sent: no rate budget.
    NoBudget = 1,
    /// Never sent: no conversation to send it on.
    NoLink = 2,
    /// Never sent: the outgoing buffer was full.
    Busy = 3,
    /// Never sent: no frame can say it (an unknown instrument, a number that is none).
    Unsayable = 4,
}

/// A recorded order left, or provably did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Sent {
    /// Which order.
    pub client: ClientId,
    /// When.
    pub at: Mono,
    /// Nanoseconds from the socket that brought the cause to the socket that took the order; zero when nothing caused it.
    pub took: u64,
    /// What was asked.
    pub op: Op,
    /// What became of it.
    pub outcome: SentOutcome,
    /// Zero.
    pub pad: [u8; 6],
}

/// Bounds of a reconciliation: what arrives between begin and end is the venue's full account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Reconciliation {
    /// When.
    pub at: Mono,
    /// Orders read.
    pub orders: u32,
    /// Executions read.
    pub fills: u32,
    /// Positions read.
    pub positions: u32,
    /// `Yes` at the end, `No` at the beginning.
    pub complete: Flag,
    /// Read again on an unbroken stream: trading goes on meanwhile.
    pub periodic: Flag,
    /// Zero.
    pub pad: [u8; 2],
}

/// Where our account of things and the venue's came apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum DifferenceKind {
    /// An order ended and the stream never said so. `ours` and `theirs` are the filled quantity.
    #[default]
    MissedEnd = 1,
    /// A fill the stream never showed. `theirs` is its quantity.
    MissedFill = 2,
    /// An open order we never asked for. `theirs` is what is open of it.
    ForeignOrder = 3,
    /// A fill of an order we never asked for: by hand, liquidation, auto-deleveraging. `theirs` is its quantity.
    ForeignFill = 4,
    /// An order we asked for and the venue has nowhere. `ours` is its quantity.
    Absent = 5,
    /// An order we took for refused or absent is there after all. `theirs` is what is open of it.
    Revived = 6,
    /// A position's size. `ours` and `theirs` are the sizes.
    Position = 7,
    /// A position's profit or loss. `ours` and `theirs` are the amounts.
    Profit = 8,
    /// A position's average entry price, sizes being equal. `ours` and `theirs` are the prices.
    Entry = 9,
    /// The account's cash: what our fills, fees and funding do not explain came or went through the door, or is an
    /// error. `ours` and `theirs` are the balances.
    Balance = 10,
}

/// What was done about a difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum Resolution {
    /// The venue's word became ours.
    #[default]
    TakenFromVenue = 1,
    /// Nothing but an alarm: people decide.
    Alarmed = 2,
}

/// One difference between our account of things and the venue's, and what was done about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Difference {
    /// When it was noticed.
    pub at: Mono,
    /// Which order; `NONE` when it is not about one of ours.
    pub client: ClientId,
    /// What we had, in the unit the kind says.
    pub ours: i64,
    /// What the venue has.
    pub theirs: i64,
    /// The venue's order or execution id, where there is one.
    pub venue: VenueId,
    /// On what.
    pub instrument: InstrumentId,
    /// What came apart.
    pub kind: DifferenceKind,
    /// What was done.
    pub resolution: Resolution,
    /// Zero.
    pub pad: [u8; 4],
}

record! {
    Ack => Ack, 96;
    OrderUpdate => OrderUpdate, 160;
    Fill => Fill, 184;
    VenuePosition => VenuePosition, 96;
    Wallet => Wallet, 72;
    Link => Link, 16;
    Sent => Sent, 32;
    Reconciliation => Reconciliation, 24;
    Difference => Difference, 80;
}

/// One slot of the exec ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant is documented at its struct")]
#[allow(clippy::large_enum_variant, reason = "a ring slot is as large as its largest fact")]
pub enum ExecEvent {
    Ack(Ack),
    Order(OrderUpdate),
    Fill(Fill),
    Position(VenuePosition),
    Wallet(Wallet),
    Link(Link),
    Sent(Sent),
    Reconciliation(Reconciliation),
}

const _: () = assert!(size_of::<ExecEvent>() <= 192);

impl Record for ExecEvent {
    fn kind(&self) -> Kind {
        match self {
            Self::Ack(fact) => fact.kind(),
            Self::Order(fact) => fact.kind(),
            Self::Fill(fact) => fact.kind(),
            Self::Position(fact) => fact.kind(),
            Self::Wallet(fact) => fact.kind(),
            Self::Link(fact) => fact.kind(),
            Self::Sent(fact) => fact.kind(),
            Self::Reconciliation(fact) => fact.kind(),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Ack(fact) => fact.bytes(),
            Self::Order(fact) => fact.bytes(),
            Self::Fill(fact) => fact.bytes(),
            Self::Position(fact) => fact.bytes(),
            Self::Wallet(fact) => fact.bytes(),
            Self::Link(fact) => fact.bytes(),
            Self::Sent(fact) => fact.bytes(),
            Self::Reconciliation(fact) => fact.bytes(),
        }
    }
}

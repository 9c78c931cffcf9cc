//! What the venue shows everyone, as the feed hands it to the engine.
//!
//! A book message of any size crosses the ring as one or more [`BookUpdate`]s: the first carries `FIRST`, the last
//! `LAST`, and the engine thinks only after `LAST`. Levels stand bids first, then asks; a level of quantity zero is a
//! deletion.
//!
//! ```text
//!  BookUpdate  | Origin 40 | u 8 | instrument depth flags bids asks pad | Level Level ... |
//!              0           40    48                                     56      up to 248
//! ```

use super::{Flag, Kind, Record, Side};
use crate::ids::InstrumentId;
use crate::record;
use crate::units::{Mono, Notional, Px, Qty, Wall};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// Levels one [`BookUpdate`] carries; a longer message continues in the next.
pub const LEVELS: usize = 12;

/// Where and when a market fact came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Origin {
    /// When its bytes came off the socket, on the clock that decides.
    pub recv: Mono,
    /// The same moment on the stopwatch, in its own ticks: for latency, never for a decision.
    pub ticks: u64,
    /// When the venue pushed it (`ts`).
    pub ts: Wall,
    /// When the matching engine made it (`cts`); zero where the topic has none.
    pub cts: Wall,
    /// The venue's cross sequence; zero where the topic has none.
    pub seq: u64,
}

/// One price and the quantity resting there. Zero quantity deletes the price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Level {
    /// Price.
    pub px: Px,
    /// Absolute quantity at that price, not an increment.
    pub qty: Qty,
}

/// Part of one order book message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct BookUpdate {
    /// Where and when.
    pub origin: Origin,
    /// The venue's update id of this depth stream.
    pub u: u64,
    /// Whose book.
    pub instrument: InstrumentId,
    /// 1, 50, 200 or 1000.
    pub depth: u16,
    /// [`Self::SNAPSHOT`], [`Self::FIRST`], [`Self::LAST`].
    pub flags: u8,
    /// How many of `levels` are bids, from the first.
    pub bids: u8,
    /// How many of `levels` are asks, after the bids.
    pub asks: u8,
    /// Zero.
    pub pad: u8,
    /// Bids, then asks, then unused.
    pub levels: [Level; LEVELS],
}

impl BookUpdate {
    /// This message replaces the book; set on every part of it.
    pub const SNAPSHOT: u8 = 1;
    /// First part of its message.
    pub const FIRST: u8 = 2;
    /// Last part of its message.
    pub const LAST: u8 = 4;
    const HEAD: usize = core::mem::offset_of!(Self, levels);

    /// No levels yet.
    #[must_use]
    pub const fn empty(instrument: InstrumentId, depth: u16, origin: Origin, u: u64) -> Self {
        let nothing = Level { px: Px::ZERO, qty: Qty::ZERO };
        Self { origin, u, instrument, depth, flags: 0, bids: 0, asks: 0, pad: 0, levels: [nothing; LEVELS] }
    }

    /// Does it carry this flag?
    #[must_use]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The bid levels of this part. Counts read from a foreign file are clamped.
    #[must_use]
    pub fn bid_levels(&self) -> &[Level] {
        &self.levels[..usize::from(self.bids).min(LEVELS)]
    }

    /// The ask levels of this part.
    #[must_use]
    pub fn ask_levels(&self) -> &[Level] {
        let from = usize::from(self.bids).min(LEVELS);
        &self.levels[from..(from + usize::from(self.asks)).min(LEVELS)]
    }

    /// Its record read back: the journal keeps only the levels in use.
    #[must_use]
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut update = Self::new_zeroed();
        update.read_over(bytes)?;
        Some(update)
    }

    /// The same in the place of this one, which stays as it is when the bytes do not fit.
    #[inline]
    pub fn read_over(&mut self, bytes: &[u8]) -> Option<()> {
        let (head, levels) = bytes.split_at_checked(Self::HEAD)?;
        let [.., bids, asks, _] = *head else { return None };
        if levels.len() != used(bids, asks) * size_of::<Level>() {
            return None;
        }
        let (said, rest) = self.as_mut_bytes().split_at_mut_checked(bytes.len())?;
        said.copy_from_slice(bytes);
        rest.fill(0);
        Some(())
    }
}

impl Record for BookUpdate {
    fn kind(&self) -> Kind {
        Kind::Book
    }

    fn bytes(&self) -> &[u8] {
        &IntoBytes::as_bytes(self)[..Self::HEAD + used(self.bids, self.asks) * size_of::<Level>()]
    }
}

/// Levels in use. Counts read from a foreign file are clamped.
const fn used(bids: u8, asks: u8) -> usize {
    let both = bids as usize + asks as usize;
    if both < LEVELS { both } else { LEVELS }
}

/// One public trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Trade {
    /// Where and when; `cts` is the trade's own time `T`.
    pub origin: Origin,
    /// Price.
    pub px: Px,
    /// Quantity.
    pub qty: Qty,
    /// Whose.
    pub instrument: InstrumentId,
    /// Side of the taker.
    pub side: Side,
    /// A block trade: off the book.
    pub block: Flag,
    /// Against retail price improvement orders: not in the public book.
    pub rpi: Flag,
    /// Last print of its message.
    pub last: Flag,
    /// Zero.
    pub pad: [u8; 2],
}

/// The merged state of the ticker topic after a message. Zero where the venue sent nothing yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Ticker {
    /// Where and when.
    pub origin: Origin,
    /// Last trade price.
    pub last: Px,
    /// Mark price.
    pub mark: Px,
    /// Index price.
    pub index: Px,
    /// Best bid.
    pub bid: Level,
    /// Best ask.
    pub ask: Level,
    /// Current funding rate, in 1e-8.
    pub funding_rate: i64,
    /// When funding is next exchanged.
    pub next_funding: Wall,
    /// Open interest, coins.
    pub open_interest: Qty,
    /// Volume of the last 24 h, coins.
    pub volume_24h: Qty,
    /// Highest price of the last 24 h.
    pub high_24h: Px,
    /// Lowest price of the last 24 h.
    pub low_24h: Px,
    /// Whose.
    pub instrument: InstrumentId,
    /// Zero.
    pub pad: [u8; 6],
}

/// One candle of the kline topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Bar {
    /// Where and when.
    pub origin: Origin,
    /// First instant it covers.
    pub start: Wall,
    /// Last instant it covers.
    pub end: Wall,
    /// First price.
    pub open: Px,
    /// Highest price.
    pub high: Px,
    /// Lowest price.
    pub low: Px,
    /// Last price.
    pub close: Px,
    /// Coins traded.
    pub volume: Qty,
    /// USDT traded.
    pub turnover: Notional,
    /// Whose.
    pub instrument: InstrumentId,
    /// Minutes it covers; a day is 1440, a week 10080, a month 43200.
    pub minutes: u16,
    /// Closed for good.
    pub confirmed: Flag,
    /// Zero.
    pub pad: [u8; 3],
}

/// A position the venue liquidated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Liquidation {
    /// Where and when; `cts` is the liquidation's own time `T`.
    pub origin: Origin,
    /// Bankruptcy price.
    pub px: Px,
    /// Quantity.
    pub qty: Qty,
    /// Whose.
    pub instrument: InstrumentId,
    /// Side of the position that was liquidated: `Buy` means a long was.
    pub side: Side,
    /// Zero.
    pub pad: [u8; 5],
}

/// The venue's price band.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PriceLimit {
    /// Where and when.
    pub origin: Origin,
    /// Highest price a buy may carry.
    pub buy_max: Px,
    /// Lowest price a sell may carry.
    pub sell_min: Px,
    /// Whose.
    pub instrument: InstrumentId,
    /// Zero.
    pub pad: [u8; 6],
}

/// May the book of an instrument be trusted?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum HealthState {
    /// Nothing received yet, or waiting for the snapshot after a fault.
    #[default]
    Waiting = 0,
    /// In sequence.
    Synced = 1,
    /// Not to be traded on, for the reason given.
    Stale = 2,
}

/// Why a book stopped (or started) being trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names say it")]
pub enum HealthReason {
    #[default]
    None = 0,
    Snapshot = 1,
    Gap = 2,
    Disconnected = 3,
    Silent = 4,
    Late = 5,
    Crossed = 6,
    Empty = 7,
    OffGrid = 8,
    Absurd = 9,
    Restart = 10,
    Disagrees = 11,
    Malformed = 12,
    RingFull = 13,
    Overflow = 14,
    Old = 15,
    /// The venue changed or closed the instrument itself: not to be traded until the node starts over.
    Withdrawn = 16,
}

/// The feed's own verdict on one instrument's book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Health {
    /// Where and when.
    pub origin: Origin,
    /// The update id it happened at; zero where there is none.
    pub u: u64,
    /// Whose.
    pub instrument: InstrumentId,
    /// Verdict.
    pub state: HealthState,
    /// Reason.
    pub reason: HealthReason,
    /// Zero.
    pub pad: [u8; 4],
}

/// The venue announced maintenance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct VenueStatus {
    /// Where and when.
    pub origin: Origin,
    /// When it begins.
    pub begin: Wall,
    /// When it ends; zero when open.
    pub end: Wall,
    /// Going on now (`ongoing`), as against scheduled, completed or canceled.
    pub ongoing: Flag,
    /// Concerns derivatives trading.
    pub derivatives: Flag,
    /// Zero.
    pub pad: [u8; 6],
}

record! {
    Trade => Trade, 64;
    Ticker => Ticker, 152;
    Bar => Bar, 112;
    Liquidation => Liquidation, 64;
    PriceLimit => PriceLimit, 64;
    Health => Health, 56;
    VenueStatus => VenueStatus, 64;
}

/// One slot of the market ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant is documented at its struct")]
#[allow(clippy::large_enum_variant, reason = "a ring slot is as large as its largest fact")]
pub enum MarketEvent {
    Book(BookUpdate),
    Trade(Trade),
    Ticker(Ticker),
    Bar(Bar),
    Liquidation(Liquidation),
    PriceLimit(PriceLimit),
    Health(Health),
    VenueStatus(VenueStatus),
}

const _: () = assert!(size_of::<BookUpdate>() == 248);
const _: () = assert!(size_of::<MarketEvent>() <= 256);

impl MarketEvent {
    /// Where and when.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        match self {
            Self::Book(fact) => &fact.origin,
            Self::Trade(fact) => &fact.origin,
            Self::Ticker(fact) => &fact.origin,
            Self::Bar(fact) => &fact.origin,
            Self::Liquidation(fact) => &fact.origin,
            Self::PriceLimit(fact) => &fact.origin,
            Self::Health(fact) => &fact.origin,
            Self::VenueStatus(fact) => &fact.origin,
        }
    }

    /// Whose, where it is about one instrument.
    #[must_use]
    pub const fn instrument(&self) -> Option<InstrumentId> {
        match self {
            Self::Book(fact) => Some(fact.instrument),
            Self::Trade(fact) => Some(fact.instrument),
            Self::Ticker(fact) => Some(fact.instrument),
            Self::Bar(fact) => Some(fact.instrument),
            Self::Liquidation(fact) => Some(fact.instrument),
            Self::PriceLimit(fact) => Some(fact.instrument),
            Self::Health(fact) => Some(fact.instrument),
            Self::VenueStatus(_) => None,
        }
    }
}

impl Record for MarketEvent {
    fn kind(&self) -> Kind {
        match self {
            Self::Book(fact) => fact.kind(),
            Self::Trade(fact) => fact.kind(),
            Self::Ticker(fact) => fact.kind(),
            Self::Bar(fact) => fact.kind(),
            Self::Liquidation(fact) => fact.kind(),
            Self::PriceLimit(fact) => fact.kind(),
            Self::Health(fact) => fact.kind(),
            Self::VenueStatus(fact) => fact.kind(),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Book(fact) => fact.bytes(),
            Self::Trade(fact) => fact.bytes(),
            Self::Ticker(fact) => fact.bytes(),
            Self::Bar(fact) => fact.bytes(),
            Self::Liquidation(fact) => fact.bytes(),
            Self::PriceLimit(fact) => fact.bytes(),
            Self::Health(fact) => fact.bytes(),
            Self::VenueStatus(fact) => fact.bytes(),
        }
    }
}

//! One frame of the public stream to facts.
//!
//! In: the bytes of a frame and when they arrived. Out: what kind of message it was, and its facts, in the venue's
//! order. Never: a panic, an allocation on the venue's known shapes, a number that is not exactly the venue's, a fact
//! of a message that is refused half way: everything is parsed into fixed scratch first and handed out afterwards.
//!
//! ```text
//!              known shape                  anything else
//!   frame --> [known: scanner] --None--> [general: simd-json] --> DecodeError
//!                   |                          |
//!                   +----- Message + Scratch --+--> emit --> BookUpdate x n | Trade x n | Ticker | ...
//! ```
//!
//! `known` has no opinion about what is wrong: whatever it does not recognise to the last byte goes to `general`, which
//! accepts any order of keys, white space and escapes. So the only law between the two is: what `known` accepts,
//! `general` accepts with the same meaning. Tests and a mutation fuzzer hold them to it.

mod general;
mod known;
mod table;

#[cfg(test)]
pub(crate) mod tests;

use crate::topic::MAX_DEPTH;
use general::General;
use keel_core::event::market::LEVELS;
use keel_core::event::{BookUpdate, Level, MarketEvent, Origin, Ticker};
use keel_core::ids::{InstrumentId, MAX_INSTRUMENTS};
use keel_core::instrument::Instruments;
use keel_core::units::{Mono, NumError, Px, Qty, Wall};
pub(crate) use table::Key;
use table::Symbols;

/// Frames longer than this are refused unread. The venue's largest, 1024 trades, is about 200 kB.
pub const MAX_FRAME: usize = 1 << 20;
/// Trades, liquidations, candles or announcements one message may hold; more and it is refused.
pub const MAX_ROWS: usize = 1024;
const MAX_LEVELS: usize = 2 * MAX_DEPTH as usize;

/// When a frame came off the socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// On the clock that decides.
    pub recv: Mono,
    /// On the stopwatch.
    pub ticks: u64,
}

/// Why a frame was refused. Nothing of it was emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DecodeError {
    /// Longer than [`MAX_FRAME`], or empty.
    Length,
    /// Not JSON: cut off, not UTF-8, nested too deep, a number no double can hold.
    NotJson,
    /// JSON, but no message: not an object, or neither a topic nor an answer.
    NotMessage,
    /// A field the message cannot do without is missing.
    Missing,
    /// A field has another type, or a word stands there that is not in the contract.
    WrongType,
    /// A field stands there twice.
    Duplicate,
    /// A number that is none: letters, exponents, empty where a number must be.
    Number,
    /// A number finer than eight decimals.
    Precision,
    /// A number out of the unit's range, or not above zero where it must be.
    Range,
    /// More levels or rows than a message may have.
    TooMany,
    /// Two fields contradict each other: symbol against topic, interval against topic.
    Contradiction,
}

impl DecodeError {
    /// Every reason, for tables of counters.
    pub const ALL: [Self; 11] = [
        Self::Length,
        Self::NotJson,
        Self::NotMessage,
        Self::Missing,
        Self::WrongType,
        Self::Duplicate,
        Self::Number,
        Self::Precision,
        Self::Range,
        Self::TooMany,
        Self::Contradiction,
    ];

    /// Its stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::NotJson => "not_json",
            Self::NotMessage => "not_message",
            Self::Missing => "missing",
            Self::WrongType => "wrong_type",
            Self::Duplicate => "duplicate",
            Self::Number => "number",
            Self::Precision => "precision",
            Self::Range => "range",
            Self::TooMany => "too_many",
            Self::Contradiction => "contradiction",
        }
    }
}

impl From<NumError> for DecodeError {
    fn from(why: NumError) -> Self {
        match why {
            NumError::Empty | NumError::Syntax => Self::Number,
            NumError::Precision => Self::Precision,
            NumError::Range => Self::Range,
        }
    }
}

/// The head of an order book message; its levels stand in [`Decoder::bids`] and [`Decoder::asks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookHead {
    /// Whose book.
    pub instrument: InstrumentId,
    /// Levels a side of the stream.
    pub depth: u16,
    /// Replaces the book.
    pub snapshot: bool,
    /// Update id.
    pub u: u64,
    /// Cross sequence.
    pub seq: u64,
    /// When it was pushed.
    pub ts: Wall,
    /// When it was made; zero in recordings of 2023.
    pub cts: Wall,
    /// Bid levels.
    pub bids: u16,
    /// Ask levels.
    pub asks: u16,
}

/// What an answer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckOp {
    /// `subscribe`
    Subscribe,
    /// `unsubscribe`
    Unsubscribe,
    /// Anything else.
    Other,
}

/// Why a subscription was refused, from the venue's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckReason {
    /// It was not refused.
    None,
    /// It stands already: as good as success.
    AlreadySubscribed,
    /// No such topic or symbol.
    NoSuchTopic,
    /// Too many arguments, or ill-formed ones.
    Params,
    /// A text nobody here knows.
    Other,
}

/// What kind of frame it was. Counts say how many facts [`Decoder::emit`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Part of an order book.
    Book(BookHead),
    /// Public trades.
    Trades {
        /// Whose.
        instrument: InstrumentId,
        /// How many.
        count: u16,
        /// When it was pushed.
        ts: Wall,
    },
    /// A ticker, whole or changed fields only.
    Ticker {
        /// Whose.
        instrument: InstrumentId,
        /// Replaces the state.
        snapshot: bool,
        /// When it was pushed.
        ts: Wall,
        /// Cross sequence.
        seq: u64,
    },
    /// Candles.
    Bars {
        /// Whose.
        instrument: InstrumentId,
        /// How many.
        count: u16,
    },
    /// Liquidations.
    Liquidations {
        /// Whose.
        instrument: InstrumentId,
        /// How many.
        count: u16,
    },
    /// The price band.
    PriceLimit {
        /// Whose.
        instrument: InstrumentId,
    },
    /// Maintenance announcements.
    VenueStatus {
        /// How many.
        count: u16,
    },
    /// The answer to our heartbeat.
    Pong,
    /// The answer to a subscription.
    Ack {
        /// To what.
        op: AckOp,
        /// Granted.
        success: bool,
        /// If not, why.
        reason: AckReason,
        /// The request's id where it was a number; zero otherwise.
        req: u64,
    },
    /// A well-formed message about a symbol that is not in the table.
    Stranger,
    /// A topic nobody here decodes.
    Unknown,
}

/// Fixed memory between parsing and emitting.
#[derive(Clone, Debug)]
pub(crate) struct Scratch {
    /// Bids from the start, then asks.
    levels: Box<[Level]>,
    /// Facts of the other topics, without arrival.
    rows: Vec<MarketEvent>,
    ticker: TickerChange,
}

/// The fields a ticker message carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TickerChange {
    present: u16,
    values: [i64; TickerField::COUNT],
}

/// The ticker fields keel keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum TickerField {
    Last,
    Mark,
    Index,
    BidPx,
    BidQty,
    AskPx,
    AskQty,
    FundingRate,
    NextFunding,
    OpenInterest,
    Volume,
    High,
    Low,
}

impl TickerField {
    const COUNT: usize = 13;

    /// By the venue's name.
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"lastPrice" => Self::Last,
            b"markPrice" => Self::Mark,
            b"indexPrice" => Self::Index,
            b"bid1Price" => Self::BidPx,
            b"bid1Size" => Self::BidQty,
            b"ask1Price" => Self::AskPx,
            b"ask1Size" => Self::AskQty,
            b"fundingRate" => Self::FundingRate,
            b"nextFundingTime" => Self::NextFunding,
            b"openInterest" => Self::OpenInterest,
            b"volume24h" => Self::Volume,
            b"highPrice24h" => Self::High,
            b"lowPrice24h" => Self::Low,
            _ => return None,
        })
    }

    /// Not traded on: too large a value reads as the largest.
    pub(crate) const fn is_statistic(self) -> bool {
        matches!(self, Self::OpenInterest | Self::Volume)
    }

    /// The smallest and the largest value accepted, in its own unit. Below zero only the funding rate may be.
    const fn bounds(self) -> (i64, i64) {
        match self {
            Self::BidQty | Self::AskQty | Self::OpenInterest | Self::Volume => (0, Qty::MAX.raw()),
            Self::FundingRate => (-keel_core::units::SCALE, keel_core::units::SCALE),
            Self::NextFunding => (0, LATEST_MILLIS),
            _ => (0, Px::MAX.raw()),
        }
    }
}

/// The year 2286: a later millisecond clock would not fit nanoseconds.
const LATEST_MILLIS: i64 = 9_999_999_999_999;

impl TickerChange {
    /// Notes a field once; the empty string is the absent value, zero.
    pub(crate) fn put(&mut self, field: TickerField, value: Option<i64>) -> Result<(), DecodeError> {
        let value = value.unwrap_or(0);
        let (low, high) = field.bounds();
        if self.present & 1 << field as u8 != 0 {
            return Err(DecodeError::Duplicate);
        }
        if value < low || value > high {
            return Err(DecodeError::Range);
        }
        self.present |= 1 << field as u8;
        self.values[field as usize] = value;
        Ok(())
    }

    fn merge_into(&self, ticker: &mut Ticker) {
        let fields = [
            ticker.last.raw(),
            ticker.mark.raw(),
            ticker.index.raw(),
            ticker.bid.px.raw(),
            ticker.bid.qty.raw(),
            ticker.ask.px.raw(),
            ticker.ask.qty.raw(),
            ticker.funding_rate,
            i64::try_from(ticker.next_funding.millis()).unwrap_or(0),
            ticker.open_interest.raw(),
            ticker.volume_24h.raw(),
            ticker.high_24h.raw(),
            ticker.low_24h.raw(),
        ];
        let merged: [i64; TickerField::COUNT] =
            core::array::from_fn(|at| if self.present & 1 << at != 0 { self.values[at] } else { fields[at] });
        let px = |field: TickerField| Px::from_raw(merged[field as usize]);
        let qty = |field: TickerField| Qty::from_raw(merged[field as usize]);
        ticker.last = px(TickerField::Last);
        ticker.mark = px(TickerField::Mark);
        ticker.index = px(TickerField::Index);
        ticker.bid = Level { px: px(TickerField::BidPx), qty: qty(TickerField::BidQty) };
        ticker.ask = Level { px: px(TickerField::AskPx), qty: qty(TickerField::AskQty) };
        ticker.funding_rate = merged[TickerField::FundingRate as usize];
        ticker.next_funding = Wall::from_millis(merged[TickerField::NextFunding as usize].unsigned_abs());
        ticker.open_interest = qty(TickerField::OpenInterest);
        ticker.volume_24h = qty(TickerField::Volume);
        ticker.high_24h = px(TickerField::High);
        ticker.low_24h = px(TickerField::Low);
    }
}

/// A venue millisecond clock; later than [`LATEST_MILLIS`] is refused.
pub(crate) fn wall(millis: u64) -> Result<Wall, DecodeError> {
    if millis > LATEST_MILLIS.unsigned_abs() { Err(DecodeError::Range) } else { Ok(Wall::from_millis(millis)) }
}

/// Merged ticker of one instrument; `primed` once a snapshot was seen.
#[derive(Clone, Copy, Debug, Default)]
struct TickerState {
    ticker: Ticker,
    primed: bool,
}

/// The decoder of one connection: tables, scratch and the merged tickers.
#[derive(Debug)]
pub struct Decoder {
    symbols: Symbols,
    scratch: Scratch,
    general: General,
    tickers: Box<[TickerState]>,
    fallbacks: u64,
}

impl Decoder {
    /// A decoder for these instruments. All memory of the known path is taken here.
    #[must_use]
    pub fn new(instruments: &Instruments) -> Self {
        Self {
            symbols: Symbols::new(instruments),
            scratch: Scratch {
                levels: vec![Level::default(); MAX_LEVELS].into_boxed_slice(),
                rows: Vec::with_capacity(MAX_ROWS),
                ticker: TickerChange::default(),
            },
            general: General::new(),
            tickers: vec![TickerState::default(); MAX_INSTRUMENTS].into_boxed_slice(),
            fallbacks: 0,
        }
    }

    /// Parses a frame and hands its facts to `sink`. A book message becomes as many parts as its levels need.
    pub fn decode(
        &mut self,
        frame: &[u8],
        arrival: Arrival,
        sink: &mut impl FnMut(MarketEvent),
    ) -> Result<Message, DecodeError> {
        let message = self.parse(frame)?;
        self.emit(&message, arrival, sink);
        Ok(message)
    }

    /// Parses a frame into scratch and says what it is; nothing is emitted and no merged state changes.
    pub fn parse(&mut self, frame: &[u8]) -> Result<Message, DecodeError> {
        if let Some(message) = known::parse(frame, &self.symbols, &mut self.scratch) {
            return Ok(message);
        }
        self.fallbacks += 1;
        self.general.parse(frame, &self.symbols, &mut self.scratch)
    }

    /// Bid levels of the book message parsed last, in the venue's order.
    #[must_use]
    pub fn bids(&self, head: &BookHead) -> &[Level] {
        &self.scratch.levels[..usize::from(head.bids)]
    }

    /// Ask levels of the book message parsed last, in the venue's order.
    #[must_use]
    pub fn asks(&self, head: &BookHead) -> &[Level] {
        let from = usize::from(head.bids);
        &self.scratch.levels[from..from + usize::from(head.asks)]
    }

    /// Frames that went to the general parser.
    #[must_use]
    pub const fn fallbacks(&self) -> u64 {
        self.fallbacks
    }

    /// The merged ticker of an instrument; `None` before its snapshot.
    #[must_use]
    pub fn ticker(&self, instrument: InstrumentId) -> Option<&Ticker> {
        self.tickers.get(instrument.index()).filter(|state| state.primed).map(|state| &state.ticker)
    }

    /// Forgets every merged ticker: after a disconnect the next delta belongs to a state nobody has.
    pub fn forget_tickers(&mut self) {
        self.tickers.fill(TickerState::default());
    }

    /// Hands out the facts of the message parsed last. A ticker delta before its snapshot gives nothing.
    pub fn emit(&mut self, message: &Message, arrival: Arrival, sink: &mut impl FnMut(MarketEvent)) {
        match message {
            Message::Book(head) => self.emit_book(head, arrival, sink),
            Message::Ticker { instrument, snapshot, ts, seq } => {
                let state = &mut self.tickers[instrument.index()];
                if *snapshot {
                    *state = TickerState { primed: true, ..TickerState::default() };
                }
                if state.primed {
                    self.scratch.ticker.merge_into(&mut state.ticker);
                    state.ticker.instrument = *instrument;
                    state.ticker.origin =
                        Origin { recv: arrival.recv, ticks: arrival.ticks, ts: *ts, cts: Wall::default(), seq: *seq };
                    sink(MarketEvent::Ticker(state.ticker));
                }
            }
            Message::Trades { .. }
            | Message::Bars { .. }
            | Message::Liquidations { .. }
            | Message::PriceLimit { .. }
            | Message::VenueStatus { .. } => {
                for row in &mut self.scratch.rows {
                    let origin = origin_mut(row);
                    origin.recv = arrival.recv;
                    origin.ticks = arrival.ticks;
                    sink(*row);
                }
            }
            Message::Pong | Message::Ack { .. } | Message::Stranger | Message::Unknown => {}
        }
    }

    fn emit_book(&self, head: &BookHead, arrival: Arrival, sink: &mut impl FnMut(MarketEvent)) {
        let origin = Origin { recv: arrival.recv, ticks: arrival.ticks, ts: head.ts, cts: head.cts, seq: head.seq };
        parts(head, &self.scratch.levels, origin, &mut |part| sink(MarketEvent::Book(part)));
    }
}

/// Cuts a message into updates of at most [`LEVELS`] levels. A message without levels is one empty update.
pub(crate) fn parts(head: &BookHead, levels: &[Level], origin: Origin, sink: &mut impl FnMut(BookUpdate)) {
    let (bids, total) = (usize::from(head.bids), usize::from(head.bids) + usize::from(head.asks));
    let snapshot = if head.snapshot { BookUpdate::SNAPSHOT } else { 0 };
    let mut at = 0;
    loop {
        let count = (total - at).min(LEVELS);
        let bids_here = bids.saturating_sub(at).min(count);
        let mut part = BookUpdate::empty(head.instrument, head.depth, origin, head.u);
        part.levels[..count].copy_from_slice(&levels[at..at + count]);
        part.bids = small(bids_here);
        part.asks = small(count - bids_here);
        part.flags = snapshot | if at == 0 { BookUpdate::FIRST } else { 0 };
        at += count;
        if at == total {
            part.flags |= BookUpdate::LAST;
            sink(part);
            return;
        }
        sink(part);
    }
}

fn small(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}

fn origin_mut(event: &mut MarketEvent) -> &mut Origin {
    match event {
        MarketEvent::Book(fact) => &mut fact.origin,
        MarketEvent::Trade(fact) => &mut fact.origin,
        MarketEvent::Ticker(fact) => &mut fact.origin,
        MarketEvent::Bar(fact) => &mut fact.origin,
        MarketEvent::Liquidation(fact) => &mut fact.origin,
        MarketEvent::PriceLimit(fact) => &mut fact.origin,
        MarketEvent::Health(fact) => &mut fact.origin,
        MarketEvent::VenueStatus(fact) => &mut fact.origin,
    }
}

//! What one connection asks for, and the frames that ask for it.
//!
//! ```text
//!   {"op":"subscribe","req_id":"3","args":["orderbook.50.BTCUSDT","publicTrade.BTCUSDT"]}
//! ```
//!
//! One frame an instrument, because one bad topic makes the venue refuse the whole frame. A refused frame is asked again
//! topic by topic, so that only the bad one stays out.

use crate::topic::interval_name;
use keel_core::ids::InstrumentId;
use keel_core::instrument::Instruments;

/// Characters all arguments of one connection may have together; a session that would need more is refused.
pub const MAX_ARGS: usize = 21_000;
/// Longest frame keel sends: the topics of one instrument.
pub(super) const MAX_SEND: usize = 512;

/// The topics of an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Levels a side of the book that is traded on: 50, 200 or 1000.
    pub depth: u16,
    /// Also the best level alone, which comes twice as often and checks the book.
    pub touch: bool,
    /// Public trades.
    pub trades: bool,
    /// Ticker: mark, index, funding.
    pub ticker: bool,
    /// Liquidations.
    pub liquidations: bool,
    /// The venue's price band.
    pub price_limit: bool,
    /// Candles of so many minutes; zero for none.
    pub bars: u16,
}

impl Default for Topics {
    fn default() -> Self {
        Self { depth: 50, touch: false, trades: true, ticker: true, liquidations: false, price_limit: false, bars: 0 }
    }
}

/// One topic of an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Book,
    Touch,
    Trades,
    Ticker,
    Liquidations,
    PriceLimit,
    Bars,
}

impl Kind {
    pub(super) const ALL: [Self; 7] =
        [Self::Book, Self::Touch, Self::Trades, Self::Ticker, Self::Liquidations, Self::PriceLimit, Self::Bars];
}

impl Topics {
    pub(super) fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::Book => true,
            Kind::Touch => self.touch && self.depth != 1,
            Kind::Trades => self.trades,
            Kind::Ticker => self.ticker,
            Kind::Liquidations => self.liquidations,
            Kind::PriceLimit => self.price_limit,
            Kind::Bars => self.bars != 0,
        }
    }
}

/// A frame to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// All topics of an instrument.
    Everything(InstrumentId),
    /// One of them.
    One(InstrumentId, Kind),
    /// No more of one of them.
    Drop(InstrumentId, Kind),
    /// Heartbeat.
    Ping,
}

/// Requests are numbered so that an answer names its question: 16 numbers an instrument.
const NUMBERS: u64 = 16;

impl Ask {
    fn number(self) -> u64 {
        match self {
            Self::Everything(id) => NUMBERS * (u64::from(id.0) + 1),
            Self::One(id, kind) => NUMBERS * (u64::from(id.0) + 1) + 1 + kind as u64,
            Self::Drop(..) | Self::Ping => 0,
        }
    }

    /// The subscription a number belongs to.
    pub(super) fn numbered(number: u64) -> Option<Self> {
        let id = InstrumentId(u16::try_from((number / NUMBERS).checked_sub(1)?).ok()?);
        match number % NUMBERS {
            0 => Some(Self::Everything(id)),
            at => {
                let kind = Kind::ALL.into_iter().find(|kind| 1 + *kind as u64 == at)?;
                Some(Self::One(id, kind))
            }
        }
    }

    /// Writes the frame.
    pub(super) fn write(self, out: &mut Frame, topics: &Topics, instruments: &Instruments) {
        out.len = 0;
        let (id, wanted, op): (_, &dyn Fn(Kind) -> bool, &[u8]) = match &self {
            Self::Ping => return out.put(b"{\"op\":\"ping\"}"),
            Self::Everything(id) => (*id, &|kind| topics.has(kind), b"subscribe"),
            Self::One(id, one) => (*id, &|kind| kind == *one, b"subscribe"),
            Self::Drop(id, one) => (*id, &|kind| kind == *one, b"unsubscribe"),
        };
        let symbol = instruments.get(id).map(|row| row.symbol).unwrap_or_default();
        out.put(b"{\"op\":\"");
        out.put(op);
        out.put(b"\",\"req_id\":\"");
        out.put_number(self.number());
        out.put(b"\",\"args\":[");
        let mut first = true;
        for kind in Kind::ALL.into_iter().filter(|kind| wanted(*kind)) {
            if !first {
                out.put(b",");
            }
            first = false;
            out.put(b"\"");
            put_topic(out, kind, topics, symbol.bytes());
            out.put(b"\"");
        }
        out.put(b"]}");
    }
}

fn put_topic(out: &mut Frame, kind: Kind, topics: &Topics, symbol: &[u8]) {
    match kind {
        Kind::Book => {
            out.put(b"orderbook.");
            out.put_number(u64::from(topics.depth));
            out.put(b".");
        }
        Kind::Touch => out.put(b"orderbook.1."),
        Kind::Trades => out.put(b"publicTrade."),
        Kind::Ticker => out.put(b"tickers."),
        Kind::Liquidations => out.put(b"allLiquidation."),
        Kind::PriceLimit => out.put(b"priceLimit."),
        Kind::Bars => {
            out.put(b"kline.");
            out.put(interval_name(topics.bars).unwrap_or_default().as_bytes());
            out.put(b".");
        }
    }
    out.put(symbol);
}

/// Characters of all arguments of a whole session, as the venue counts them.
pub(super) fn argument_length(topics: &Topics, instruments: &Instruments) -> usize {
    let mut frame = Frame::new();
    let mut total = 0;
    for row in instruments.rows() {
        for kind in Kind::ALL.into_iter().filter(|kind| topics.has(*kind)) {
            frame.len = 0;
            put_topic(&mut frame, kind, topics, row.symbol.bytes());
            total += frame.len + 3; // quotes and comma
        }
    }
    total
}

/// A frame being written: fixed room, no allocation.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    bytes: [u8; MAX_SEND],
    len: usize,
}

impl Frame {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; MAX_SEND], len: 0 }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Symbols are at most 23 bytes and topics seven, so a frame always fits.
    fn put(&mut self, text: &[u8]) {
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text);
        self.len += text.len();
    }

    fn put_number(&mut self, mut number: u64) {
        let mut digits = [0u8; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.put(&digits[at..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::tests::instruments;

    #[test]
    fn the_longest_frame_fits_and_is_json() {
        let longest = "X".repeat(23);
        let instruments = instruments(&[&longest]);
        let all = Topics {
            depth: 1000,
            touch: true,
            trades: true,
            ticker: true,
            liquidations: true,
            price_limit: true,
            bars: 43_200,
        };
        let mut frame = Frame::new();
        Ask::Everything(InstrumentId(0)).write(&mut frame, &all, &instruments);
        let value: serde_json::Value = serde_json::from_slice(frame.bytes()).unwrap();
        assert_eq!(value["args"].as_array().unwrap().len(), Kind::ALL.len());
        assert_eq!(value["args"][6], format!("kline.M.{longest}"));
        Ask::Drop(InstrumentId(0), Kind::Book).write(&mut frame, &all, &instruments);
        let value: serde_json::Value = serde_json::from_slice(frame.bytes()).unwrap();
        assert_eq!(value["op"], "unsubscribe");
        assert_eq!(value["args"][0], format!("orderbook.1000.{longest}"));
    }

    #[test]
    fn numbers_name_their_question() {
        for id in [0, 1, 63] {
            let id = InstrumentId(id);
            assert_eq!(Ask::numbered(Ask::Everything(id).number()), Some(Ask::Everything(id)));
            for kind in Kind::ALL {
                assert_eq!(Ask::numbered(Ask::One(id, kind).number()), Some(Ask::One(id, kind)));
            }
        }
        for stranger in [0, 7, 15, 16 + 8, u64::MAX] {
            assert_eq!(Ask::numbered(stranger), None, "{stranger}");
        }
    }
}

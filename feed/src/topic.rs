//! Names of the venue's public topics.
//!
//! In: the text of a `topic` field, or a kind and a symbol. Out: the other one. Never: a guess; a topic nobody here
//! decodes is [`Topic::Other`].

/// The deepest book the venue streams.
pub const MAX_DEPTH: u16 = 1000;

/// A topic, with the symbol still as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic<'a> {
    /// `orderbook.50.BTCUSDT`
    Book {
        /// Levels a side.
        depth: u16,
        /// Whose.
        symbol: &'a [u8],
    },
    /// `publicTrade.BTCUSDT`
    Trades(&'a [u8]),
    /// `tickers.BTCUSDT`
    Ticker(&'a [u8]),
    /// `kline.5.BTCUSDT`
    Bar {
        /// Minutes a candle covers.
        minutes: u16,
        /// Whose.
        symbol: &'a [u8],
    },
    /// `allLiquidation.BTCUSDT`
    Liquidations(&'a [u8]),
    /// `priceLimit.BTCUSDT`
    PriceLimit(&'a [u8]),
    /// `system.status`
    VenueStatus,
    /// Something else.
    Other,
}

impl<'a> Topic<'a> {
    /// Reads a topic name.
    #[must_use]
    pub fn parse(name: &'a [u8]) -> Self {
        let (kind, rest) = cut(name);
        match kind {
            b"orderbook" => {
                let (depth, symbol) = cut(rest);
                depth_of(depth).map_or(Self::Other, |depth| Self::Book { depth, symbol })
            }
            b"publicTrade" => Self::Trades(rest),
            b"tickers" => Self::Ticker(rest),
            b"kline" => {
                let (interval, symbol) = cut(rest);
                minutes_of(interval).map_or(Self::Other, |minutes| Self::Bar { minutes, symbol })
            }
            b"allLiquidation" => Self::Liquidations(rest),
            b"priceLimit" => Self::PriceLimit(rest),
            b"system" if rest == b"status" => Self::VenueStatus,
            _ => Self::Other,
        }
    }
}

fn cut(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == b'.') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[]),
    }
}

/// Levels a side, from the text in a topic: 1 to [`MAX_DEPTH`].
fn depth_of(text: &[u8]) -> Option<u16> {
    if text.is_empty() || text.len() > 4 || text[0] == b'0' || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let depth = text.iter().fold(0u16, |value, digit| value * 10 + u16::from(digit - b'0'));
    (depth <= MAX_DEPTH).then_some(depth)
}

/// Minutes a candle covers, from the venue's name of the interval.
#[must_use]
pub fn minutes_of(interval: &[u8]) -> Option<u16> {
    Some(match interval {
        b"1" => 1,
        b"3" => 3,
        b"5" => 5,
        b"15" => 15,
        b"30" => 30,
        b"60" => 60,
        b"120" => 120,
        b"240" => 240,
        b"360" => 360,
        b"720" => 720,
        b"D" => 1440,
        b"W" => 10_080,
        b"M" => 43_200,
        _ => return None,
    })
}

/// The venue's name of an interval of so many minutes.
#[must_use]
pub fn interval_name(minutes: u16) -> Option<&'static str> {
    Some(match minutes {
        1 => "1",
        3 => "3",
        5 => "5",
        15 => "15",
        30 => "30",
        60 => "60",
        120 => "120",
        240 => "240",
        360 => "360",
        720 => "720",
        1440 => "D",
        10_080 => "W",
        43_200 => "M",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_exactly_or_not_at_all() {
        let btc = b"BTCUSDT".as_slice();
        for (name, expected) in [
            ("orderbook.50.BTCUSDT", Topic::Book { depth: 50, symbol: btc }),
            ("orderbook.1.BTCUSDT", Topic::Book { depth: 1, symbol: btc }),
            ("orderbook.050.BTCUSDT", Topic::Other),
            ("orderbook.1001.BTCUSDT", Topic::Other),
            ("orderbook.full.BTCUSDT", Topic::Other),
            ("orderbook.rpi.BTCUSDT", Topic::Other),
            ("publicTrade.BTCUSDT", Topic::Trades(btc)),
            ("tickers.BTCUSDT", Topic::Ticker(btc)),
            ("kline.D.BTCUSDT", Topic::Bar { minutes: 1440, symbol: btc }),
            ("kline.7.BTCUSDT", Topic::Other),
            ("allLiquidation.BTCUSDT", Topic::Liquidations(btc)),
            ("liquidation.BTCUSDT", Topic::Other),
            ("priceLimit.BTCUSDT", Topic::PriceLimit(btc)),
            ("system.status", Topic::VenueStatus),
            ("system", Topic::Other),
            ("", Topic::Other),
        ] {
            assert_eq!(Topic::parse(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn every_interval_has_one_name() {
        for name in ["1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D", "W", "M"] {
            assert_eq!(minutes_of(name.as_bytes()).and_then(interval_name), Some(name));
        }
    }
}

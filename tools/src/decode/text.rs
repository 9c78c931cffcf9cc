//! The venue's own words: books and trade totals in the text and the scale it wrote them with.
//!
//! The slow, obviously right twin of the feed's book, and what final states are compared by: the feed's numbers have no
//! trailing zeros any more, the oracle's have.

use keel_core::event::{Level, Side};
use keel_core::units::parse_decimal;
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Price in steps of 1e-8 to the texts of price and quantity.
type Levels = BTreeMap<i64, (String, String)>;

/// A book as written.
#[derive(Debug, Default)]
pub(super) struct TextBook {
    bids: Levels,
    asks: Levels,
}

impl TextBook {
    pub(super) fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
    }

    /// Applies the `data` of a message the feed has accepted.
    pub(super) fn apply(&mut self, data: &Value) {
        for (levels, side) in [(&mut self.bids, &data["b"]), (&mut self.asks, &data["a"])] {
            for pair in side.as_array().into_iter().flatten() {
                let (Some(px), Some(qty)) = (pair[0].as_str(), pair[1].as_str()) else { continue };
                let Ok(raw) = parse_decimal(px.as_bytes()) else { continue };
                if qty.parse::<Decimal>().is_ok_and(|qty| qty.is_zero()) {
                    levels.remove(&raw);
                } else {
                    levels.insert(raw, (px.to_owned(), qty.to_owned()));
                }
            }
        }
    }

    /// Best first.
    fn side(&self, side: Side) -> Box<dyn Iterator<Item = (i64, &(String, String))> + '_> {
        match side {
            Side::Buy => Box::new(self.bids.iter().rev().map(|(px, level)| (*px, level))),
            Side::Sell => Box::new(self.asks.iter().map(|(px, level)| (*px, level))),
        }
    }

    /// Level by level the same as the feed's?
    pub(super) fn equals(&self, side: Side, mut levels: impl ExactSizeIterator<Item = Level>) -> bool {
        let count = if side == Side::Buy { self.bids.len() } else { self.asks.len() };
        let same = |((px, (_, qty)), level): ((i64, &(String, String)), Level)| {
            px == level.px.raw() && parse_decimal(qty.as_bytes()) == Ok(level.qty.raw())
        };
        count == levels.len() && self.side(side).zip(levels.by_ref()).all(same)
    }

    /// Final state in the oracle's words; `None` while a side is empty.
    pub(super) fn summary(&self) -> Option<Map<String, Value>> {
        let touch = |side| self.side(side).next().map(|(_, (px, qty))| json!([px, qty]));
        let summary = json!({
            "bid": touch(Side::Buy)?,
            "ask": touch(Side::Sell)?,
            "levels": [self.bids.len(), self.asks.len()],
            "sum_bid_qty": self.sum(Side::Buy).to_string(),
            "sum_ask_qty": self.sum(Side::Sell).to_string(),
            "sha256_of_normalised_book": self.sha256(),
        });
        if let Value::Object(summary) = summary { Some(summary) } else { None }
    }

    fn sum(&self, side: Side) -> Decimal {
        self.side(side).filter_map(|(_, (_, qty))| qty.parse::<Decimal>().ok()).fold(Decimal::ZERO, scaled_add)
    }

    /// SHA-256 of `price:qty|...#...`, numbers without trailing zeros.
    fn sha256(&self) -> String {
        let written = |side| {
            let levels = self.side(side).map(|(_, (px, qty))| format!("{}:{}", plain(px), plain(qty)));
            levels.collect::<Vec<_>>().join("|")
        };
        let digest = Sha256::digest(format!("{}#{}", written(Side::Buy), written(Side::Sell)));
        digest.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

fn plain(number: &str) -> String {
    number.parse::<Decimal>().map_or_else(|_| number.to_owned(), |number| number.normalize().to_string())
}

/// A sum has the finer scale of its parts, zeros included.
fn scaled_add(a: Decimal, b: Decimal) -> Decimal {
    let scale = a.scale().max(b.scale());
    let mut sum = a + b;
    sum.rescale(scale);
    sum
}

/// Totals of a symbol's public trades.
#[derive(Debug, Default)]
pub(super) struct Trades {
    n: u64,
    volume: Decimal,
    turnover: Decimal,
    last: String,
}

impl Trades {
    /// One more print; `None` when it is no number.
    pub(super) fn add(&mut self, px: &Value, qty: &Value) -> Option<()> {
        let text = px.as_str()?;
        let (px, qty) = (text.parse::<Decimal>().ok()?, qty.as_str()?.parse::<Decimal>().ok()?);
        let mut value = px.checked_mul(qty)?;
        value.rescale(px.scale() + qty.scale());
        self.n += 1;
        self.volume = scaled_add(self.volume, qty);
        self.turnover = scaled_add(self.turnover, value);
        text.clone_into(&mut self.last);
        Some(())
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "n": self.n,
            "volume": self.volume.to_string(),
            "turnover": self.turnover.to_string(),
            "last": self.last,
        })
    }

    pub(super) fn sentence(&self) -> String {
        format!("{} prints, {} coins for {}, last {}", self.n, self.volume, self.turnover, self.last)
    }
}

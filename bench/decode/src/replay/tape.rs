//! The tape, read once into what every contestant is fed from.
//!
//! In: a v5-shaped tape. Out: messages of `orderbook.50` and prints of `publicTrade`, at receive stamps that never go back
//! (contestants need that), prices and quantities in steps of 1e-8. Left out for everybody: `orderbook.1`, three frames of
//! four, a second view of the same book that two of the three cannot be fed.

use flate2::read::MultiGzDecoder;
use serde_json::Value;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};

/// One event.
pub enum Event {
    /// One message about the book.
    Book { at: i64, snapshot: bool, seq: u64, bids: Vec<(i64, i64)>, asks: Vec<(i64, i64)> },
    /// One print.
    Trade { at: i64, px: i64, qty: i64, buy: bool },
}

/// Price and quantity of best bid and ask.
pub type Touch = [(i64, i64); 2];

/// What everyone must agree on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub books: u64,
    pub trades: u64,
    pub touch: Touch,
}

pub fn read(path: &str) -> Result<Vec<Event>, Box<dyn Error>> {
    let (mut all, mut last) = (Vec::new(), 0);
    for line in BufReader::new(MultiGzDecoder::new(File::open(path)?)).lines() {
        let line = line?;
        let Some((stamp, frame)) = line.split_once('\t') else { continue };
        let frame: Value = serde_json::from_str(frame)?;
        let topic = frame["topic"].as_str().unwrap_or_default();
        last = stamp.parse::<i64>()?.max(last + 1);
        if topic.starts_with("orderbook.50.") {
            let side = |name: &str| -> Vec<(i64, i64)> {
                let rows = frame["data"][name].as_array().into_iter().flatten();
                rows.map(|row| (steps(&row[0]), steps(&row[1]))).collect()
            };
            let (bids, asks) = (side("b"), side("a"));
            if bids.is_empty() && asks.is_empty() {
                continue;
            }
            let (snapshot, seq) = (frame["type"] == "snapshot", frame["data"]["seq"].as_u64().unwrap_or(0));
            all.push(Event::Book { at: last, snapshot, seq, bids, asks });
        } else if topic.starts_with("publicTrade.") {
            for print in frame["data"].as_array().into_iter().flatten() {
                let (px, qty, buy) = (steps(&print["p"]), steps(&print["v"]), print["S"] == "Buy");
                all.push(Event::Trade { at: last, px, qty, buy });
            }
        }
    }
    let from = all.iter().position(|event| matches!(event, Event::Book { snapshot: true, .. }));
    all.drain(..from.ok_or("no snapshot of orderbook.50 on this tape")?);
    Ok(all)
}

/// A decimal as steps of 1e-8.
fn steps(text: &Value) -> i64 {
    let (whole, part) = text.as_str().map_or(("0", ""), |text| text.split_once('.').unwrap_or((text, "")));
    format!("{whole}{part:0<8}").parse().expect("a decimal of at most eight places")
}

/// What is on the tape, by the plainest book there is.
pub fn truth(events: &[Event]) -> Seen {
    let (mut seen, mut books) = (Seen::default(), [const { std::collections::BTreeMap::<i64, i64>::new() }; 2]);
    for event in events {
        match event {
            Event::Trade { .. } => seen.trades += 1,
            Event::Book { snapshot, bids, asks, .. } => {
                seen.books += 1;
                for (book, levels) in books.iter_mut().zip([bids, asks]) {
                    if *snapshot {
                        book.clear();
                    }
                    for (px, qty) in levels {
                        if *qty == 0 {
                            book.remove(px)
                        } else {
                            book.insert(*px, *qty)
                        };
                    }
                }
            }
        }
    }
    let best = |level: Option<(&i64, &i64)>| level.map_or((0, 0), |(px, qty)| (*px, *qty));
    seen.touch = [best(books[0].last_key_value()), best(books[1].first_key_value())];
    seen
}

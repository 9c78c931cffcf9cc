//! The public side of one symbol: what streams and queries say about its book, trades and ticker.
//!
//! Taped topics pass verbatim; a mirror of each taped depth gives late subscribers their snapshot. Depths nobody taped,
//! and everything of a generated market, are published from the engine's book at the venue's own push rates.

use super::bars::{Bars, Day};
use super::book::{Book, Ladder};
use super::engine::Quote;
use super::history::History;
use super::order::side_text;
use super::spec::Spec;
use super::text::{Obj, array, decimal, fixed};
use keel_core::event::Side;
use keel_core::units::{Notional, Px, Qty};
use std::collections::{BTreeMap, VecDeque};

/// Number of the stream with retail price improvement: `orderbook.rpi`.
pub(super) const RPI: usize = 0;
/// Book streams by number (the depth, but for `rpi`): levels, and the push interval in milliseconds.
pub(super) const BOOKS: [(usize, usize, u64); 5] =
    [(1, 1, 10), (50, 50, 20), (200, 200, 100), (1000, 1000, 200), (RPI, 50, 100)];

/// The topic of a book stream.
pub(super) fn book_topic(stream: usize, symbol: &str) -> String {
    if stream == RPI { format!("orderbook.rpi.{symbol}") } else { format!("orderbook.{stream}.{symbol}") }
}

/// The stream a topic names in its second part.
pub(super) fn book_stream(name: &str) -> Option<(usize, usize)> {
    let wanted = |number: usize| if number == RPI { name == "rpi" } else { name.parse() == Ok(number) };
    BOOKS.into_iter().find(|(number, _, _)| wanted(*number)).map(|(number, levels, _)| (number, levels))
}
/// Milliseconds between ticker pushes.
pub(super) const TICKER_MS: u64 = 100;
/// Milliseconds after which an unchanged depth 1 is sent again with the same `u`.
pub(super) const REPEAT_MS: u64 = 3_000;
/// Public trades kept for `recent-trade`; the oldest go first.
pub(super) const TRADES: usize = 1_000;

/// One depth stream.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    pub(super) levels: Ladder<Qty>,
    pub(super) u: u64,
    pub(super) seq: u64,
    pub(super) cts: u64,
    pub(super) pushed: u64,
    pub(super) taped: bool,
}

/// One public print.
#[derive(Clone, Debug)]
pub(super) struct Print {
    pub(super) time: u64,
    pub(super) side: Side,
    pub(super) px: Px,
    pub(super) qty: Qty,
    pub(super) direction: &'static str,
    pub(super) id: String,
    pub(super) seq: u64,
}

/// What a symbol shows.
#[derive(Debug, Default)]
pub(super) struct Feed {
    pub(super) mirrors: BTreeMap<usize, Mirror>,
    /// The taped depth that feeds the engine's book; 0 when nothing is taped.
    pub(super) driver: usize,
    pub(super) trades: VecDeque<Print>,
    /// Prints of this instant, not published yet.
    pub(super) pending: Vec<Print>,
    /// Fields last sent on the ticker stream.
    pub(super) ticker: Vec<(&'static str, String)>,
    pub(super) ticker_at: u64,
    /// The tape carries tickers itself.
    pub(super) ticker_taped: bool,
    pub(super) mark_given: bool,
    pub(super) direction: &'static str,
    /// Bars of the prints.
    pub(super) bars: Bars,
    pub(super) history: History,
    /// The tape tells the funding rate.
    pub(super) rate_taped: bool,
    pub(super) next_funding: u64,
    pub(super) band_at: u64,
    pub(super) kline_at: u64,
}

impl Feed {
    /// Counts a print into the bars and the tick direction; returns the direction.
    pub(super) fn count(&mut self, last: Px, time: u64, px: Px, qty: Qty) -> &'static str {
        self.direction = match (px.cmp(&last), self.direction) {
            (std::cmp::Ordering::Greater, _) => "PlusTick",
            (std::cmp::Ordering::Less, _) => "MinusTick",
            (_, "PlusTick" | "ZeroPlusTick") => "ZeroPlusTick",
            _ => "ZeroMinusTick",
        };
        self.bars.trade(time, px, qty);
        self.direction
    }

    pub(super) fn keep(&mut self, print: Print) {
        if self.trades.len() >= TRADES {
            self.trades.pop_front();
        }
        self.trades.push_back(print);
    }

    /// Every ticker field, as text, in the venue's order. `open` is the open interest of one side.
    pub(super) fn ticker_fields(
        &self,
        spec: &Spec,
        quote: &Quote,
        book: &Book,
        open: Qty,
    ) -> Vec<(&'static str, String)> {
        let px = |px: Px| {
            let mut out = String::new();
            fixed(&mut out, px.raw(), spec.price_places);
            out
        };
        let qty = |qty: Qty| {
            let mut out = String::new();
            fixed(&mut out, qty.raw(), spec.qty_places);
            out
        };
        let (bid, ask) = (book.shown(Side::Buy), book.shown(Side::Sell));
        let at = quote.last;
        let day = self.bars.day().unwrap_or(Day { open: at, high: at, low: at, hour: at, ..Day::default() });
        let change = if day.open.is_zero() {
            0
        } else {
            let moved = i128::from(quote.last.raw() - day.open.raw()) * 1_000_000 / i128::from(day.open.raw());
            i64::try_from(moved).unwrap_or(0) * 100
        };
        let value = |open: Qty| decimal(quote.mark.mul_floor(open).unwrap_or(Notional::ZERO).raw());
        let level = |level: Option<(Px, Qty)>| level.map_or((String::new(), String::new()), |(p, q)| (px(p), qty(q)));
        let ((bid_px, bid_qty), (ask_px, ask_qty)) = (level(bid), level(ask));
        vec![
            ("symbol", spec.symbol().to_owned()),
            ("tickDirection", if self.direction.is_empty() { "ZeroPlusTick" } else { self.direction }.to_owned()),
            ("price24hPcnt", decimal(change)),
            ("lastPrice", px(quote.last)),
            ("prevPrice24h", px(day.open)),
            ("highPrice24h", px(day.high)),
            ("lowPrice24h", px(day.low)),
            ("prevPrice1h", px(day.hour)),
            ("markPrice", px(quote.mark)),
            ("indexPrice", px(quote.index)),
            ("openInterest", qty(open + open)),
            ("openInterestValue", value(open + open)),
            ("singleOpenInterest", qty(open)),
            ("singleOpenInterestValue", value(open)),
            ("turnover24h", decimal(day.turnover.raw())),
            ("volume24h", decimal(day.volume.raw())),
            ("fundingIntervalHour", (spec.instrument.funding_minutes / 60).to_string()),
            ("fundingCap", decimal(spec.funding_cap)),
            ("nextFundingTime", self.next_funding.to_string()),
            ("fundingRate", decimal(quote.funding)),
            ("bid1Price", bid_px),
            ("bid1Size", bid_qty),
            ("ask1Price", ask_px),
            ("ask1Size", ask_qty),
            ("preOpenPrice", String::new()),
            ("preQty", String::new()),
            ("curPreListingPhase", String::new()),
        ]
    }

    /// The next ticker frame: a snapshot, or a delta of what changed; `None` when nothing did.
    pub(super) fn ticker_frame(
        &self,
        fields: &[(&'static str, String)],
        full: bool,
        seq: u64,
        ts: u64,
    ) -> Option<String> {
        let changed: Vec<_> = fields
            .iter()
            .filter(|(key, value)| full || *key == "symbol" || !self.ticker.iter().any(|(k, v)| k == key && v == value))
            .collect();
        if changed.len() < 2 {
            return None;
        }
        let symbol = &fields.first()?.1;
        let mut out = String::with_capacity(600);
        Obj::new(&mut out)
            .s("topic", &format!("tickers.{symbol}"))
            .s("type", if full { "snapshot" } else { "delta" })
            .with("data", |out| {
                let row = changed.iter().fold(Obj::new(out), |row, (key, value)| row.s(key, value));
                row.end();
            })
            .u("cs", seq)
            .u("ts", ts)
            .end();
        Some(out)
    }
}

/// Levels as pairs, or with a third number: what stands there for retail only. Nobody here is approved to quote that.
fn write_levels(out: &mut String, spec: &Spec, rpi: bool, levels: impl IntoIterator<Item = (Px, Qty)>) {
    array(out, levels, |out, (px, qty)| {
        out.push_str("[\"");
        fixed(out, px.raw(), spec.price_places);
        out.push_str("\",\"");
        if qty.is_zero() {
            out.push('0');
        } else {
            fixed(out, qty.raw(), spec.qty_places);
        }
        out.push_str(if rpi { "\",\"0\"]" } else { "\"]" });
    });
}

/// Best levels of the engine's book: orders and tape together.
pub(super) fn levels(book: &Book, side: Side, depth: usize) -> Vec<(Px, Qty)> {
    let mut real = book.queues.walk(side).map(|(px, q)| (px, q.total)).peekable();
    let mut ghost = book.ghosts.walk(side).map(|(px, g)| (px, g.left())).filter(|(_, q)| !q.is_zero()).peekable();
    let better = |a: Px, b: Px| if side == Side::Buy { a > b } else { a < b };
    let mut out = Vec::with_capacity(depth.min(1000));
    while out.len() < depth {
        let next = match (real.peek().copied(), ghost.peek().copied()) {
            (Some(r), Some(g)) if r.0 == g.0 => {
                real.next();
                ghost.next();
                (r.0, r.1 + g.1)
            }
            (Some(r), Some(g)) if better(g.0, r.0) => {
                ghost.next();
                g
            }
            (Some(r), _) => {
                real.next();
                r
            }
            (None, Some(g)) => {
                ghost.next();
                g
            }
            (None, None) => break,
        };
        out.push(next);
    }
    out
}

/// What a book frame says beside its levels.
pub(super) struct Stamp {
    pub(super) depth: usize,
    pub(super) u: u64,
    pub(super) seq: u64,
    pub(super) ts: u64,
    pub(super) cts: u64,
}

/// One orderbook frame.
pub(super) fn book_frame(spec: &Spec, stamp: &Stamp, snapshot: bool, bids: &[(Px, Qty)], asks: &[(Px, Qty)]) -> String {
    let mut out = String::with_capacity(160 + 28 * (bids.len() + asks.len()));
    let kind = if snapshot { "snapshot" } else { "delta" };
    let rpi = stamp.depth == RPI;
    let head = Obj::new(&mut out).s("topic", &book_topic(stamp.depth, spec.symbol()));
    let head = match stamp.depth {
        1 | RPI => head.u("ts", stamp.ts).s("type", kind),
        _ => head.s("type", kind).u("ts", stamp.ts),
    };
    head.with("data", |out| {
        Obj::new(out)
            .s("s", spec.symbol())
            .with("b", |out| write_levels(out, spec, rpi, bids.iter().copied()))
            .with("a", |out| write_levels(out, spec, rpi, asks.iter().copied()))
            .u("u", stamp.u)
            .u("seq", stamp.seq)
            .end();
    })
    .u("cts", stamp.cts)
    .end();
    out
}

/// `result` of `market/orderbook`.
pub(super) fn book_result(spec: &Spec, stamp: &Stamp, bids: &[(Px, Qty)], asks: &[(Px, Qty)]) -> String {
    let (mut out, rpi) = (String::new(), stamp.depth == RPI);
    Obj::new(&mut out)
        .s("s", spec.symbol())
        .with("b", |out| write_levels(out, spec, rpi, bids.iter().copied()))
        .with("a", |out| write_levels(out, spec, rpi, asks.iter().copied()))
        .u("ts", stamp.ts)
        .u("u", stamp.u)
        .u("seq", stamp.seq)
        .u("cts", stamp.cts)
        .end();
    out
}

/// One publicTrade frame.
pub(super) fn trade_frame(spec: &Spec, ts: u64, prints: &[Print]) -> String {
    let mut out = String::with_capacity(200 * prints.len());
    Obj::new(&mut out)
        .s("topic", &format!("publicTrade.{}", spec.symbol()))
        .s("type", "snapshot")
        .u("ts", ts)
        .with("data", |out| {
            array(out, prints, |out, p| {
                Obj::new(out)
                    .u("T", p.time)
                    .s("s", spec.symbol())
                    .s("S", side_text(p.side))
                    .f("v", p.qty.raw(), spec.qty_places)
                    .f("p", p.px.raw(), spec.price_places)
                    .s("L", p.direction)
                    .s("i", &p.id)
                    .b("BT", false)
                    .b("RPI", false)
                    .u("seq", p.seq)
                    .end();
            });
        })
        .end();
    out
}

/// Levels of `new` that differ from `old`, deletions as zero, best first; `old` becomes `new`.
pub(super) fn diff(old: &mut Ladder<Qty>, side: Side, new: &[(Px, Qty)]) -> Vec<(Px, Qty)> {
    let fresh: BTreeMap<Px, Qty> = new.iter().copied().collect();
    let was = old.side_mut(side);
    let mut changed: Vec<_> = was.keys().filter(|px| !fresh.contains_key(px)).map(|px| (*px, Qty::ZERO)).collect();
    changed.extend(fresh.iter().filter(|(px, qty)| was.get(px) != Some(qty)).map(|(px, qty)| (*px, *qty)));
    changed.sort_by_key(|(px, _)| if side == Side::Buy { -*px } else { *px });
    *was = fresh;
    changed
}

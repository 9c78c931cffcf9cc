//! Recorded market data into the engine: book levels as ghosts, prints as volume that reaches our queue.
//!
//! The fill model, in full:
//!
//! - A resting order joins behind everything displayed at its price. `ahead` falls by what prints at that price, by what
//!   takers here take there, and never exceeds what the tape still displays: cancellations count as standing behind us
//!   until the level is smaller than our place in it.
//! - A print at a price worse than ours fills us first (price priority), one at our price fills us after `ahead`; our
//!   fills together never exceed the print's quantity. Fill price is our price.
//! - When the taped book crosses our price, the crossing quantity fills us at our price.
//! - A taker consumes displayed levels, best first. What it took is gone until the tape says something new about that
//!   level. Our own orders trade with each other by the same price-time rule.
//! - The deepest taped depth drives; the taped frames themselves pass unchanged, so our orders are not visible in them.

use super::book::{Ghost, reaches};
use super::engine::{Engine, reduces};
use super::feed::{Feed, Print};
use keel_core::event::Side;
use keel_core::units::{Px, Qty};
use serde::Deserialize;

#[derive(Deserialize)]
struct BookFrame<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    ts: u64,
    cts: Option<u64>,
    #[serde(borrow)]
    data: BookData<'a>,
}

#[derive(Deserialize)]
struct BookData<'a> {
    #[serde(borrow)]
    b: Vec<[&'a str; 2]>,
    #[serde(borrow)]
    a: Vec<[&'a str; 2]>,
    u: u64,
    seq: u64,
}

#[derive(Deserialize)]
struct TradeFrame<'a> {
    #[serde(borrow)]
    data: Vec<TradeRow<'a>>,
}

#[derive(Deserialize)]
struct TradeRow<'a> {
    #[serde(rename = "T")]
    time: u64,
    #[serde(rename = "S")]
    side: &'a str,
    v: &'a str,
    p: &'a str,
    #[serde(default)]
    i: &'a str,
    #[serde(default)]
    seq: u64,
}

#[derive(Deserialize)]
struct TickerFrame<'a> {
    #[serde(borrow)]
    data: TickerData<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TickerData<'a> {
    mark_price: Option<&'a str>,
    index_price: Option<&'a str>,
    funding_rate: Option<&'a str>,
    next_funding_time: Option<&'a str>,
}

/// What a taped frame was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taped {
    Book,
    Trades,
    Ticker,
    /// A topic the engine does not read: it is only passed on.
    Other,
    /// Not understood; nothing changed.
    Bad,
}

/// The topic of a frame, without parsing it.
pub(super) fn topic(frame: &[u8]) -> Option<&str> {
    const KEY: &[u8] = b"\"topic\":\"";
    let at = frame.windows(KEY.len()).position(|w| w == KEY)? + KEY.len();
    let len = frame.get(at..)?.iter().position(|c| *c == b'"')?;
    core::str::from_utf8(frame.get(at..at + len)?).ok()
}

/// Reads one frame about `symbol` into its feed and the engine.
pub(super) fn apply(
    engine: &mut Engine,
    feed: &mut Feed,
    symbol: usize,
    topic: &str,
    frame: &[u8],
    now_ms: u64,
) -> Taped {
    if let Some(depth) = topic.strip_prefix("orderbook.").and_then(|t| t.split('.').next()).and_then(|d| d.parse().ok())
    {
        return book(engine, feed, symbol, depth, frame, now_ms);
    }
    if topic.starts_with("publicTrade.") {
        return trades(engine, feed, symbol, frame, now_ms);
    }
    if topic.starts_with("tickers.") { ticker(engine, feed, symbol, frame) } else { Taped::Other }
}

fn book(engine: &mut Engine, feed: &mut Feed, symbol: usize, depth: usize, frame: &[u8], now_ms: u64) -> Taped {
    let Ok(frame) = serde_json::from_slice::<BookFrame<'_>>(frame) else { return Taped::Bad };
    let snapshot = frame.kind == "snapshot";
    let mirror = feed.mirrors.entry(depth).or_default();
    if depth > feed.driver {
        feed.driver = depth;
        engine.books[symbol].ghosts.clear();
        if !snapshot {
            feed.driver = 0; // a delta cannot start a book
        }
    }
    let drives = feed.driver == depth;
    if snapshot {
        mirror.levels.clear();
        if drives {
            engine.books[symbol].ghosts.clear();
        }
    }
    (mirror.u, mirror.seq, mirror.cts) = (frame.data.u, frame.data.seq, frame.cts.unwrap_or(frame.ts));
    mirror.taped = true;
    for (side, levels) in [(Side::Buy, &frame.data.b), (Side::Sell, &frame.data.a)] {
        for [px, qty] in levels {
            let (Ok(px), Ok(qty)) = (Px::parse(px.as_bytes()), Qty::parse(qty.as_bytes())) else { continue };
            if qty.is_zero() {
                mirror.levels.side_mut(side).remove(&px);
            } else {
                mirror.levels.side_mut(side).insert(px, qty);
            }
            if drives {
                level(engine, symbol, side, px, qty);
            }
        }
    }
    engine.quotes[symbol].seq = engine.quotes[symbol].seq.max(frame.data.seq);
    if drives {
        if snapshot {
            cap_all(engine, symbol);
        }
        mid(engine, feed, symbol);
        sweep(engine, symbol, now_ms);
    }
    Taped::Book
}

/// A level was displayed anew: what was taken is forgotten, and nobody waits behind more than is shown.
fn level(engine: &mut Engine, symbol: usize, side: Side, px: Px, qty: Qty) {
    let book = &mut engine.books[symbol];
    if qty.is_zero() {
        book.ghosts.side_mut(side).remove(&px);
    } else {
        book.ghosts.side_mut(side).insert(px, Ghost { qty, taken: Qty::ZERO });
    }
    cap(engine, symbol, side, px, qty);
}

fn cap(engine: &mut Engine, symbol: usize, side: Side, px: Px, shown: Qty) {
    let Some(queue) = engine.books[symbol].queues.side(side).get(&px) else { return };
    for id in &queue.orders {
        if let Some(order) = engine.orders.get_mut(id) {
            order.ahead = order.ahead.min(shown);
        }
    }
}

fn cap_all(engine: &mut Engine, symbol: usize) {
    for side in [Side::Buy, Side::Sell] {
        let prices: Vec<Px> = engine.books[symbol].queues.side(side).keys().copied().collect();
        for px in prices {
            let shown = engine.books[symbol].ghosts.side(side).get(&px).map_or(Qty::ZERO, |g| g.qty);
            cap(engine, symbol, side, px, shown);
        }
    }
}

/// Mark and index follow the taped mid unless the tape says them itself.
fn mid(engine: &mut Engine, feed: &Feed, symbol: usize) {
    if feed.mark_given {
        return;
    }
    let ghosts = &engine.books[symbol].ghosts;
    let (Some((bid, _)), Some((ask, _))) = (ghosts.best(Side::Buy), ghosts.best(Side::Sell)) else { return };
    let middle = Px::from_raw(bid.raw() + (ask.raw() - bid.raw()) / 2);
    let quote = &mut engine.quotes[symbol];
    (quote.mark, quote.index) = (middle, middle);
}

/// Orders of ours that the taped book crosses trade with the crossing quantity.
fn sweep(engine: &mut Engine, symbol: usize, now_ms: u64) {
    for side in [Side::Buy, Side::Sell] {
        loop {
            let book = &engine.books[symbol];
            let Some((px, queue)) = book.queues.best(side) else { break };
            let Some(front) = queue.orders.front().copied() else { break };
            let away = side.opposite();
            let crossing = book.ghosts.walk(away).find(|(_, g)| !g.left().is_zero());
            let Some((at, ghost)) = crossing.map(|(at, g)| (at, *g)).filter(|(at, _)| reaches(away, *at, px)) else {
                break;
            };
            let got = hit(engine, symbol, front, ghost.left(), now_ms);
            if got.is_zero() {
                continue; // a reduce-only order ended instead
            }
            if let Some(ghost) = engine.books[symbol].ghosts.side_mut(away).get_mut(&at) {
                ghost.taken += got;
            }
        }
    }
}

/// A resting order trades up to `most` with the tape. Returns what it got; zero means it is gone.
fn hit(engine: &mut Engine, symbol: usize, id: u64, most: Qty, now_ms: u64) -> Qty {
    let Some(mut order) = engine.orders.remove(&id) else { return Qty::ZERO };
    let mut qty = most.min(order.left);
    if reduces(&order) {
        qty = qty.min(engine.closable(order.account, symbol, order.idx, order.side));
    }
    if qty.is_zero() {
        engine.books[symbol].leave(order.side, order.px, id, order.left);
        engine.end(now_ms, order, "CancelByReduceOnly", "EC_PerCancelRequest");
        return Qty::ZERO;
    }
    let (side, px) = (order.side, order.px);
    engine.fill_maker(now_ms, &mut order, qty);
    engine.market_fill(symbol, side.opposite(), px, qty);
    engine.settle_maker(now_ms, order);
    qty
}

fn trades(engine: &mut Engine, feed: &mut Feed, symbol: usize, frame: &[u8], now_ms: u64) -> Taped {
    let Ok(frame) = serde_json::from_slice::<TradeFrame<'_>>(frame) else { return Taped::Bad };
    for row in &frame.data {
        let (Ok(px), Ok(qty)) = (Px::parse(row.p.as_bytes()), Qty::parse(row.v.as_bytes())) else { continue };
        let side = if row.side == "Buy" { Side::Buy } else { Side::Sell };
        let quote = &mut engine.quotes[symbol];
        let direction = feed.count(quote.last, row.time, px, qty);
        quote.last = px;
        quote.seq = quote.seq.max(row.seq);
        if quote.mark.is_zero() {
            (quote.mark, quote.index) = (px, px);
        }
        feed.keep(Print { time: row.time, side, px, qty, direction, id: row.i.to_owned(), seq: row.seq });
        print(engine, symbol, side, px, qty, now_ms);
    }
    Taped::Trades
}

/// A taped print reaches the orders that would have stood in its way.
fn print(engine: &mut Engine, symbol: usize, taker: Side, px: Px, qty: Qty, now_ms: u64) {
    let side = taker.opposite();
    let mut volume = qty;
    while !volume.is_zero() {
        let book = &engine.books[symbol];
        let Some((at, queue)) = book.queues.best(side).filter(|(at, _)| reaches(side, *at, px)) else { break };
        let Some(front) = queue.orders.front().copied() else { break };
        let ahead = if at == px { engine.orders.get(&front).map_or(Qty::ZERO, |o| o.ahead) } else { Qty::ZERO };
        if !ahead.is_zero() {
            let used = ahead.min(volume);
            volume -= used;
            let ids: Vec<u64> = queue.orders.iter().copied().collect();
            for id in ids {
                if let Some(order) = engine.orders.get_mut(&id) {
                    order.ahead = (order.ahead - used).max(Qty::ZERO);
                }
            }
            continue;
        }
        volume -= hit(engine, symbol, front, volume, now_ms);
    }
}

fn ticker(engine: &mut Engine, feed: &mut Feed, symbol: usize, frame: &[u8]) -> Taped {
    let Ok(frame) = serde_json::from_slice::<TickerFrame<'_>>(frame) else { return Taped::Bad };
    feed.ticker_taped = true;
    let quote = &mut engine.quotes[symbol];
    let px = |text: Option<&str>| text.and_then(|t| Px::parse(t.as_bytes()).ok());
    if let Some(mark) = px(frame.data.mark_price) {
        (quote.mark, feed.mark_given) = (mark, true);
    }
    if let Some(index) = px(frame.data.index_price) {
        quote.index = index;
    }
    if let Some(rate) = frame.data.funding_rate.and_then(|t| keel_core::units::parse_decimal(t.as_bytes()).ok()) {
        (quote.funding, feed.rate_taped) = (rate, true);
    }
    if let Some(at) = frame.data.next_funding_time.and_then(|t| t.parse().ok()) {
        feed.next_funding = at;
    }
    Taped::Ticker
}

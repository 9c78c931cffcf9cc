//! The venue's own shapes, read in place and in one pass.
//!
//! Each function is one message as the venue writes it: compact, keys in its order, the variants seen in captures of
//! 2023 to 2026. `None` hands the frame to the general parser.

use super::general::{ack_reason, op_of, request_number};
use super::{MAX_LEVELS, MAX_ROWS, Message, Scratch, TickerChange, TickerField, wall};
use crate::decode::table::Symbols;
use crate::decode::{AckReason, BookHead};
use crate::scan::{Scan, Shape};
use crate::topic::{MAX_DEPTH, Topic, minutes_of};
use keel_core::event::{Bar, Flag, Level, Liquidation, MarketEvent, Origin, PriceLimit, Side, Trade};
use keel_core::ids::InstrumentId;
use keel_core::units::{Notional, Px, Qty, Wall};

pub(crate) fn parse(frame: &[u8], symbols: &Symbols, scratch: &mut Scratch) -> Option<Message> {
    if frame.len() > super::MAX_FRAME {
        return None;
    }
    let mut scan = Scan::new(frame);
    if scan.eat(b"{\"topic\":\"orderbook.") {
        let message = book(&mut scan, symbols, scratch)?;
        scan.end()?;
        return Some(message);
    }
    if scan.eat(b"{\"topic\":\"") {
        let name = scan.text()?;
        let message = match Topic::parse(name) {
            Topic::Trades(symbol) => trades(&mut scan, scratch, symbol, symbols.find(symbol)?)?,
            Topic::Ticker(symbol) => ticker(&mut scan, scratch, symbol, symbols.find(symbol)?)?,
            Topic::Bar { minutes, symbol } => bars(&mut scan, scratch, minutes, symbols.find(symbol)?)?,
            Topic::Liquidations(symbol) => liquidations(&mut scan, scratch, symbol, symbols.find(symbol)?)?,
            Topic::PriceLimit(symbol) => price_limit(&mut scan, scratch, symbol, symbols.find(symbol)?)?,
            Topic::Book { .. } | Topic::VenueStatus | Topic::Other => return None,
        };
        scan.end()?;
        return Some(message);
    }
    let message = answer(&mut scan)?;
    scan.end()?;
    Some(message)
}

/// `,"type":"delta","ts":1721347022816` in either order.
#[inline(always)]
fn type_and_ts(scan: &mut Scan<'_>) -> Option<(bool, Wall)> {
    if scan.eat(b",\"type\":\"") {
        let snapshot = kind(scan)?;
        scan.lit(b",\"ts\":")?;
        return Some((snapshot, millis(scan)?));
    }
    scan.lit(b",\"ts\":")?;
    let ts = millis(scan)?;
    scan.lit(b",\"type\":\"")?;
    Some((kind(scan)?, ts))
}

#[inline(always)]
fn kind(scan: &mut Scan<'_>) -> Option<bool> {
    if scan.eat(b"delta\"") {
        return Some(false);
    }
    scan.lit(b"snapshot\"").map(|()| true)
}

#[inline(always)]
fn millis(scan: &mut Scan<'_>) -> Option<Wall> {
    wall(scan.int()?).ok()
}

#[inline(always)]
fn px(scan: &mut Scan<'_>) -> Option<Px> {
    positive(scan.decimal()?)
}

#[inline(always)]
fn positive(raw: i64) -> Option<Px> {
    (raw > 0 && raw <= Px::MAX.raw()).then_some(Px::from_raw(raw))
}

#[inline(always)]
fn qty(scan: &mut Scan<'_>) -> Option<Qty> {
    possible(scan.decimal()?)
}

#[inline(always)]
fn possible(raw: i64) -> Option<Qty> {
    (raw <= Qty::MAX.raw()).then_some(Qty::from_raw(raw))
}

fn side(scan: &mut Scan<'_>) -> Option<Side> {
    if scan.eat(b"Buy\"") {
        return Some(Side::Buy);
    }
    scan.lit(b"Sell\"").map(|()| Side::Sell)
}

/// `"s":"BTCUSDT"`, which must repeat the topic's.
#[inline(always)]
fn same_symbol(scan: &mut Scan<'_>, symbol: &[u8]) -> Option<()> {
    scan.slice(symbol)?;
    scan.lit(b"\"")
}

/// Counts up to [`MAX_ROWS`] and [`MAX_DEPTH`] fit.
fn short(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

/// The depth in a topic: `50.`
#[inline(always)]
fn depth(scan: &mut Scan<'_>) -> Option<u16> {
    if scan.eat(b"50.") {
        return Some(50);
    }
    if scan.eat(b"1.") {
        return Some(1);
    }
    if scan.eat(b"200.") {
        return Some(200);
    }
    if scan.eat(b"500.") {
        return Some(500);
    }
    scan.lit(b"1000.").map(|()| 1000)
}

#[inline(always)]
fn book(scan: &mut Scan<'_>, symbols: &Symbols, scratch: &mut Scratch) -> Option<Message> {
    let depth = depth(scan)?;
    let symbol = scan.symbol()?;
    let instrument = symbols.find_key(symbol)?;
    let (snapshot, ts) = type_and_ts(scan)?;
    scan.lit(b",\"data\":{\"s\":\"")?;
    if scan.symbol()? != symbol {
        return None;
    }
    let mut shape = Shape::default();
    scan.lit(b",\"b\":[")?;
    let bids = levels(scan, &mut shape, &mut scratch.levels, 0)?;
    scan.lit(b",\"a\":[")?;
    let asks = levels(scan, &mut shape, &mut scratch.levels, bids)?;
    scan.lit(b",\"u\":")?;
    let u = scan.int()?;
    scan.lit(b",\"seq\":")?;
    let seq = scan.int()?;
    scan.lit(b"}")?;
    let cts = if scan.eat(b",\"cts\":") { millis(scan)? } else { Wall::default() };
    scan.lit(b"}")?;
    Some(Message::Book(BookHead { instrument, depth, snapshot, u, seq, ts, cts, bids: short(bids), asks: short(asks) }))
}

/// `["63943.90","46.372"],...]` after the opening bracket; how many.
#[inline(always)]
fn levels(scan: &mut Scan<'_>, shape: &mut Shape, levels: &mut [Level], from: usize) -> Option<usize> {
    if scan.eat(b"]") {
        return Some(0);
    }
    let room = &mut levels[from..MAX_LEVELS.min(from + usize::from(MAX_DEPTH))];
    scan.lit(b"[\"")?;
    for (at, slot) in room.iter_mut().enumerate() {
        let (px, qty) = scan.pair(shape)?;
        *slot = Level { px: positive(px)?, qty: possible(qty)? };
        if !scan.eat(b"],[\"") {
            scan.lit(b"]]")?;
            return Some(at + 1);
        }
    }
    None
}

/// Adds a row unless there are too many.
fn push(scratch: &mut Scratch, row: MarketEvent) -> Option<()> {
    if scratch.rows.len() == MAX_ROWS {
        return None;
    }
    scratch.rows.push(row);
    Some(())
}

fn trades(scan: &mut Scan<'_>, scratch: &mut Scratch, symbol: &[u8], instrument: InstrumentId) -> Option<Message> {
    let (_, ts) = type_and_ts(scan)?;
    scan.lit(b",\"data\":[")?;
    scratch.rows.clear();
    loop {
        scan.lit(b"{\"T\":")?;
        let cts = millis(scan)?;
        scan.lit(b",\"s\":\"")?;
        same_symbol(scan, symbol)?;
        scan.lit(b",\"S\":\"")?;
        let side = side(scan)?;
        scan.lit(b",\"v\":\"")?;
        let qty = qty(scan).filter(|qty| !qty.is_zero())?;
        scan.lit(b",\"p\":\"")?;
        let px = px(scan)?;
        if scan.eat(b",\"L\":\"") {
            scan.text()?;
        }
        if scan.eat(b",\"i\":\"") {
            scan.text()?;
        }
        let block = if scan.eat(b",\"BT\":") { scan.boolean()? } else { false };
        let rpi = if scan.eat(b",\"RPI\":") { scan.boolean()? } else { false };
        let seq = if scan.eat(b",\"seq\":") { scan.int()? } else { 0 };
        scan.lit(b"}")?;
        let more = scan.eat(b",");
        let origin = Origin { ts, cts, seq, ..Origin::default() };
        let (block, rpi, last) = (Flag::from(block), Flag::from(rpi), Flag::from(!more));
        push(scratch, MarketEvent::Trade(Trade { origin, px, qty, instrument, side, block, rpi, last, pad: [0; 2] }))?;
        if !more {
            break;
        }
    }
    scan.lit(b"]}")?;
    Some(Message::Trades { instrument, count: short(scratch.rows.len()), ts })
}

fn ticker(scan: &mut Scan<'_>, scratch: &mut Scratch, symbol: &[u8], instrument: InstrumentId) -> Option<Message> {
    scan.lit(b",\"type\":\"")?;
    let snapshot = kind(scan)?;
    scan.lit(b",\"data\":{\"symbol\":\"")?;
    same_symbol(scan, symbol)?;
    let mut change = TickerChange::default();
    while scan.eat(b",\"") {
        let name = scan.text()?;
        scan.lit(b":\"")?;
        match TickerField::named(name) {
            Some(TickerField::NextFunding) => {
                let value = if scan.eat(b"\"") {
                    None
                } else {
                    let value = scan.int()?;
                    scan.lit(b"\"")?;
                    Some(i64::try_from(value).ok()?)
                };
                change.put(TickerField::NextFunding, value).ok()?;
            }
            Some(field) if field.is_statistic() => {
                let value = if scan.eat(b"\"") { None } else { Some(scan.statistic(Qty::MAX.raw())?) };
                change.put(field, value).ok()?;
            }
            Some(field) => change.put(field, scan.signed_or_empty()?).ok()?,
            None if name == b"symbol" => return None,
            None => drop(scan.text()?),
        }
    }
    scan.lit(b"},\"cs\":")?;
    let seq = scan.int()?;
    scan.lit(b",\"ts\":")?;
    let ts = millis(scan)?;
    scan.lit(b"}")?;
    scratch.ticker = change;
    Some(Message::Ticker { instrument, snapshot, ts, seq })
}

fn bars(scan: &mut Scan<'_>, scratch: &mut Scratch, minutes: u16, instrument: InstrumentId) -> Option<Message> {
    scan.lit(b",\"data\":[")?;
    scratch.rows.clear();
    loop {
        push(scratch, MarketEvent::Bar(bar(scan, minutes, instrument)?))?;
        if !scan.eat(b",") {
            break;
        }
    }
    scan.lit(b"],\"ts\":")?;
    let ts = millis(scan)?;
    scan.lit(b",\"type\":\"")?;
    kind(scan)?;
    scan.lit(b"}")?;
    for row in &mut scratch.rows {
        super::origin_mut(row).ts = ts;
    }
    Some(Message::Bars { instrument, count: short(scratch.rows.len()) })
}

fn bar(scan: &mut Scan<'_>, minutes: u16, instrument: InstrumentId) -> Option<Bar> {
    scan.lit(b"{\"start\":")?;
    let start = millis(scan)?;
    scan.lit(b",\"end\":")?;
    let end = millis(scan)?;
    scan.lit(b",\"interval\":\"")?;
    if minutes_of(scan.text()?)? != minutes {
        return None;
    }
    scan.lit(b",\"open\":\"")?;
    let open = bar_px(scan)?;
    scan.lit(b",\"close\":\"")?;
    let close = bar_px(scan)?;
    scan.lit(b",\"high\":\"")?;
    let high = bar_px(scan)?;
    scan.lit(b",\"low\":\"")?;
    let low = bar_px(scan)?;
    scan.lit(b",\"volume\":\"")?;
    let volume = scan.statistic(Qty::MAX.raw()).map(Qty::from_raw)?;
    scan.lit(b",\"turnover\":\"")?;
    let turnover = scan.statistic(Notional::MAX.raw()).map(Notional::from_raw)?;
    scan.lit(b",\"confirm\":")?;
    let confirmed = Flag::from(scan.boolean()?);
    scan.lit(b",\"timestamp\":")?;
    let origin = Origin { cts: millis(scan)?, ..Origin::default() };
    scan.lit(b"}")?;
    let pad = [0; 3];
    Some(Bar { origin, start, end, open, high, low, close, volume, turnover, instrument, minutes, confirmed, pad })
}

/// A candle's prices are judged by `bars`, zero included.
fn bar_px(scan: &mut Scan<'_>) -> Option<Px> {
    scan.decimal().filter(|raw| *raw <= Px::MAX.raw()).map(Px::from_raw)
}

fn liquidations(
    scan: &mut Scan<'_>,
    scratch: &mut Scratch,
    symbol: &[u8],
    instrument: InstrumentId,
) -> Option<Message> {
    let (_, ts) = type_and_ts(scan)?;
    scan.lit(b",\"data\":[")?;
    scratch.rows.clear();
    loop {
        scan.lit(b"{\"T\":")?;
        let cts = millis(scan)?;
        scan.lit(b",\"s\":\"")?;
        same_symbol(scan, symbol)?;
        scan.lit(b",\"S\":\"")?;
        let side = side(scan)?;
        scan.lit(b",\"v\":\"")?;
        let qty = qty(scan).filter(|qty| !qty.is_zero())?;
        scan.lit(b",\"p\":\"")?;
        let px = px(scan)?;
        scan.lit(b"}")?;
        let origin = Origin { ts, cts, ..Origin::default() };
        push(scratch, MarketEvent::Liquidation(Liquidation { origin, px, qty, instrument, side, pad: [0; 5] }))?;
        if !scan.eat(b",") {
            break;
        }
    }
    scan.lit(b"]}")?;
    Some(Message::Liquidations { instrument, count: short(scratch.rows.len()) })
}

fn price_limit(scan: &mut Scan<'_>, scratch: &mut Scratch, symbol: &[u8], instrument: InstrumentId) -> Option<Message> {
    scan.lit(b",\"data\":{\"symbol\":\"")?;
    same_symbol(scan, symbol)?;
    scan.lit(b",\"buyLmt\":\"")?;
    let buy_max = px(scan)?;
    scan.lit(b",\"sellLmt\":\"")?;
    let sell_min = px(scan)?;
    scan.lit(b"},\"ts\":")?;
    let origin = Origin { ts: millis(scan)?, ..Origin::default() };
    scan.lit(b"}")?;
    scratch.rows.clear();
    push(scratch, MarketEvent::PriceLimit(PriceLimit { origin, buy_max, sell_min, instrument, pad: [0; 6] }))?;
    Some(Message::PriceLimit { instrument })
}

/// `{"success":true,"ret_msg":"","conn_id":"c","req_id":"7","op":"subscribe"}`
fn answer(scan: &mut Scan<'_>) -> Option<Message> {
    scan.lit(b"{\"success\":")?;
    let success = scan.boolean()?;
    scan.lit(b",\"ret_msg\":\"")?;
    let text = scan.text()?;
    scan.lit(b",\"conn_id\":\"")?;
    scan.text()?;
    let req = if scan.eat(b",\"req_id\":\"") { request_number(scan.text()?) } else { 0 };
    scan.lit(b",\"op\":\"")?;
    let op = scan.text()?;
    scan.lit(b"}")?;
    if op == b"ping" || op == b"pong" {
        return Some(Message::Pong);
    }
    let reason = if success { AckReason::None } else { ack_reason(text) };
    Some(Message::Ack { op: op_of(op), success, reason, req })
}

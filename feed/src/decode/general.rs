//! Any JSON, through simd-json: the slow, obviously right reading of every message.
//!
//! Keys may stand in any order and with any company; a key keel reads may not stand there twice. It allocates.

use super::table::Symbols;
use super::{
    AckOp, AckReason, BookHead, DecodeError, MAX_FRAME, MAX_ROWS, Message, Scratch, TickerChange, TickerField, wall,
};
use crate::json::{Json, must, optional};
use crate::scan::statistic;
use crate::topic::{MAX_DEPTH, Topic, minutes_of};
use keel_core::event::{Bar, Flag, Level, Liquidation, MarketEvent, Origin, PriceLimit, Side, Trade, VenueStatus};
use keel_core::ids::InstrumentId;
use keel_core::units::{Notional, Px, Qty, Wall, parse_decimal};
use simd_json::Buffers;

/// The general parser and its buffers.
pub(crate) struct General {
    copy: Vec<u8>,
    buffers: Buffers,
}

impl core::fmt::Debug for General {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("General").finish_non_exhaustive()
    }
}

impl Json<'_> {
    fn millis(self) -> Result<Wall, DecodeError> {
        wall(self.int()?)
    }

    /// Above zero.
    fn px(self) -> Result<Px, DecodeError> {
        Px::parse(self.text()?)?.into_positive()
    }

    fn qty(self) -> Result<Qty, DecodeError> {
        let qty = Qty::parse(self.text()?)?;
        if qty < Qty::ZERO { Err(DecodeError::Range) } else { Ok(qty) }
    }

    fn positive_qty(self) -> Result<Qty, DecodeError> {
        let qty = self.qty()?;
        if qty.is_zero() { Err(DecodeError::Range) } else { Ok(qty) }
    }

    fn side(self) -> Result<Side, DecodeError> {
        match self.text()? {
            b"Buy" => Ok(Side::Buy),
            b"Sell" => Ok(Side::Sell),
            _ => Err(DecodeError::WrongType),
        }
    }
}

trait IntoPositive: Sized {
    fn into_positive(self) -> Result<Self, DecodeError>;
}

impl IntoPositive for Px {
    fn into_positive(self) -> Result<Self, DecodeError> {
        if self > Self::ZERO { Ok(self) } else { Err(DecodeError::Range) }
    }
}

fn short(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

/// The top of every public message.
struct Envelope<'t> {
    kind: Option<Json<'t>>,
    ts: Option<Json<'t>>,
    data: Option<Json<'t>>,
    cts: Option<Json<'t>>,
    cs: Option<Json<'t>>,
}

impl<'t> Envelope<'t> {
    fn snapshot(&self) -> Result<bool, DecodeError> {
        match must(self.kind)?.text()? {
            b"snapshot" => Ok(true),
            b"delta" => Ok(false),
            _ => Err(DecodeError::WrongType),
        }
    }

    fn ts(&self) -> Result<Wall, DecodeError> {
        must(self.ts)?.millis()
    }

    fn data(&self) -> Result<Json<'t>, DecodeError> {
        must(self.data)
    }
}

/// The symbol of a row must be the topic's.
fn same(found: Option<Json<'_>>, symbol: &[u8]) -> Result<(), DecodeError> {
    if must(found)?.text()? == symbol { Ok(()) } else { Err(DecodeError::Contradiction) }
}

fn push(scratch: &mut Scratch, row: MarketEvent) -> Result<(), DecodeError> {
    if scratch.rows.len() == MAX_ROWS {
        return Err(DecodeError::TooMany);
    }
    scratch.rows.push(row);
    Ok(())
}

impl General {
    pub(crate) fn new() -> Self {
        Self { copy: Vec::new(), buffers: Buffers::new(0) }
    }

    pub(crate) fn parse(
        &mut self,
        frame: &[u8],
        symbols: &Symbols,
        scratch: &mut Scratch,
    ) -> Result<Message, DecodeError> {
        if frame.is_empty() || frame.len() > MAX_FRAME {
            return Err(DecodeError::Length);
        }
        self.copy.clear();
        self.copy.extend_from_slice(frame);
        let tape = simd_json::to_tape_with_buffers(&mut self.copy, &mut self.buffers);
        let tape = tape.map_err(|_| DecodeError::NotJson)?;
        let whole = Json::whole(&tape.0)?;
        let keys = ["topic", "type", "ts", "data", "cts", "cs", "success", "ret_msg", "req_id", "op"];
        let [topic, kind, ts, data, cts, cs, success, ret_msg, req_id, op] = whole
            .fields(keys)
            .map_err(|why| if why == DecodeError::WrongType { DecodeError::NotMessage } else { why })?;
        match (topic, op) {
            (Some(topic), _) => {
                let envelope = Envelope { kind, ts, data, cts, cs };
                message(topic.text()?, &envelope, symbols, scratch)
            }
            (None, Some(op)) => answer(op, success, ret_msg, req_id),
            (None, None) => Err(DecodeError::NotMessage),
        }
    }
}

fn message(
    topic: &[u8],
    envelope: &Envelope<'_>,
    symbols: &Symbols,
    scratch: &mut Scratch,
) -> Result<Message, DecodeError> {
    scratch.rows.clear();
    // A stranger's message is read like any other, so that a broken one is counted as broken.
    let find = |symbol| symbols.find(symbol);
    let nobody = InstrumentId(u16::MAX);
    let (id, message) = match Topic::parse(topic) {
        Topic::Book { depth, symbol } => {
            let id = find(symbol);
            (id, book(envelope, scratch, depth, symbol, id.unwrap_or(nobody))?)
        }
        Topic::Trades(symbol) => (find(symbol), trades(envelope, scratch, symbol, find(symbol).unwrap_or(nobody))?),
        Topic::Ticker(symbol) => (find(symbol), ticker(envelope, scratch, symbol, find(symbol).unwrap_or(nobody))?),
        Topic::Bar { minutes, symbol } => {
            (find(symbol), bars(envelope, scratch, minutes, find(symbol).unwrap_or(nobody))?)
        }
        Topic::Liquidations(symbol) => {
            (find(symbol), liquidations(envelope, scratch, symbol, find(symbol).unwrap_or(nobody))?)
        }
        Topic::PriceLimit(symbol) => {
            (find(symbol), price_limit(envelope, scratch, symbol, find(symbol).unwrap_or(nobody))?)
        }
        Topic::VenueStatus => (Some(nobody), venue_status(envelope, scratch)?),
        Topic::Other => return Ok(Message::Unknown),
    };
    Ok(if id.is_some() { message } else { Message::Stranger })
}

fn book(
    envelope: &Envelope<'_>,
    scratch: &mut Scratch,
    depth: u16,
    symbol: &[u8],
    instrument: InstrumentId,
) -> Result<Message, DecodeError> {
    let (snapshot, ts) = (envelope.snapshot()?, envelope.ts()?);
    let [s, b, a, u, seq] = envelope.data()?.fields(["s", "b", "a", "u", "seq"])?;
    same(s, symbol)?;
    let bids = levels(must(b)?, &mut scratch.levels)?;
    let asks = levels(must(a)?, &mut scratch.levels[bids..])?;
    let (u, seq) = (must(u)?.int()?, must(seq)?.int()?);
    let cts = optional(envelope.cts, |cts| cts.millis(), Wall::default())?;
    let (bids, asks) = (short(bids), short(asks));
    Ok(Message::Book(BookHead { instrument, depth, snapshot, u, seq, ts, cts, bids, asks }))
}

fn levels(side: Json<'_>, room: &mut [Level]) -> Result<usize, DecodeError> {
    let mut count = 0;
    for pair in side.items()? {
        if count == usize::from(MAX_DEPTH) {
            return Err(DecodeError::TooMany);
        }
        let mut parts = pair.items()?;
        let (px, qty) = (must(parts.next())?.px()?, must(parts.next())?.qty()?);
        if parts.next().is_some() {
            return Err(DecodeError::WrongType);
        }
        room[count] = Level { px, qty };
        count += 1;
    }
    Ok(count)
}

fn trades(
    envelope: &Envelope<'_>,
    scratch: &mut Scratch,
    symbol: &[u8],
    instrument: InstrumentId,
) -> Result<Message, DecodeError> {
    envelope.snapshot()?;
    let ts = envelope.ts()?;
    for row in envelope.data()?.items()? {
        let [time, s, side, v, p, bt, rpi, seq] = row.fields(["T", "s", "S", "v", "p", "BT", "RPI", "seq"])?;
        same(s, symbol)?;
        let seq = optional(seq, |seq| seq.int(), 0)?;
        let trade = Trade {
            origin: Origin { ts, cts: must(time)?.millis()?, seq, ..Origin::default() },
            px: must(p)?.px()?,
            qty: must(v)?.positive_qty()?,
            instrument,
            side: must(side)?.side()?,
            block: optional(bt, |bt| bt.boolean(), false)?.into(),
            rpi: optional(rpi, |rpi| rpi.boolean(), false)?.into(),
            last: Flag::No,
            pad: [0; 2],
        };
        push(scratch, MarketEvent::Trade(trade))?;
    }
    if let Some(MarketEvent::Trade(last)) = scratch.rows.last_mut() {
        last.last = Flag::Yes;
    }
    Ok(Message::Trades { instrument, count: short(scratch.rows.len()), ts })
}

fn ticker(
    envelope: &Envelope<'_>,
    scratch: &mut Scratch,
    symbol: &[u8],
    instrument: InstrumentId,
) -> Result<Message, DecodeError> {
    let (snapshot, ts) = (envelope.snapshot()?, envelope.ts()?);
    let seq = optional(envelope.cs, |cs| cs.int(), 0)?;
    let [name] = envelope.data()?.fields(["symbol"])?;
    same(name, symbol)?;
    let mut change = TickerChange::default();
    envelope.data()?.each(|name, value| {
        let Some(field) = TickerField::named(name.as_bytes()) else { return Ok(()) };
        let text = value.text()?;
        let value = match (text, field) {
            (b"", _) => None,
            (_, TickerField::NextFunding) => Some(whole(text)?),
            _ if field.is_statistic() => Some(statistic(text, Qty::MAX.raw())?),
            _ => Some(parse_decimal(text)?),
        };
        change.put(field, value)
    })?;
    scratch.ticker = change;
    Ok(Message::Ticker { instrument, snapshot, ts, seq })
}

/// Milliseconds as text, without leading zeros: the grammar of a JSON number.
fn whole(text: &[u8]) -> Result<i64, DecodeError> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) || (text.len() > 1 && text[0] == b'0') {
        return Err(DecodeError::Number);
    }
    if text.len() > 18 {
        return Err(DecodeError::Range);
    }
    Ok(text.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
}

fn bars(
    envelope: &Envelope<'_>,
    scratch: &mut Scratch,
    minutes: u16,
    instrument: InstrumentId,
) -> Result<Message, DecodeError> {
    envelope.snapshot()?;
    let ts = envelope.ts()?;
    for row in envelope.data()?.items()? {
        let keys = ["start", "end", "interval", "open", "close", "high", "low", "volume", "turnover"];
        let [start, end, interval, open, close, high, low, volume, turnover] = row.fields(keys)?;
        let [confirm, timestamp] = row.fields(["confirm", "timestamp"])?;
        match minutes_of(must(interval)?.text()?) {
            None => return Err(DecodeError::WrongType),
            Some(other) if other != minutes => return Err(DecodeError::Contradiction),
            Some(_) => {}
        }
        let bar = Bar {
            origin: Origin { ts, cts: must(timestamp)?.millis()?, ..Origin::default() },
            start: must(start)?.millis()?,
            end: must(end)?.millis()?,
            open: bar_px(open)?,
            high: bar_px(high)?,
            low: bar_px(low)?,
            close: bar_px(close)?,
            volume: Qty::from_raw(bar_total(volume, Qty::MAX.raw())?),
            turnover: Notional::from_raw(bar_total(turnover, Notional::MAX.raw())?),
            instrument,
            minutes,
            confirmed: must(confirm)?.boolean()?.into(),
            pad: [0; 3],
        };
        push(scratch, MarketEvent::Bar(bar))?;
    }
    Ok(Message::Bars { instrument, count: short(scratch.rows.len()) })
}

/// A candle's prices are judged by `bars`, zero included.
fn bar_px(value: Option<Json<'_>>) -> Result<Px, DecodeError> {
    let px = Px::parse(must(value)?.text()?)?;
    if px < Px::ZERO { Err(DecodeError::Range) } else { Ok(px) }
}

/// Coins or money a candle traded.
fn bar_total(value: Option<Json<'_>>, most: i64) -> Result<i64, DecodeError> {
    let total = statistic(must(value)?.text()?, most)?;
    if total < 0 { Err(DecodeError::Range) } else { Ok(total) }
}

fn liquidations(
    envelope: &Envelope<'_>,
    scratch: &mut Scratch,
    symbol: &[u8],
    instrument: InstrumentId,
) -> Result<Message, DecodeError> {
    envelope.snapshot()?;
    let ts = envelope.ts()?;
    for row in envelope.data()?.items()? {
        let [time, s, side, v, p] = row.fields(["T", "s", "S", "v", "p"])?;
        same(s, symbol)?;
        let liquidation = Liquidation {
            origin: Origin { ts, cts: must(time)?.millis()?, ..Origin::default() },
            px: must(p)?.px()?,
            qty: must(v)?.positive_qty()?,
            instrument,
            side: must(side)?.side()?,
            pad: [0; 5],
        };
        push(scratch, MarketEvent::Liquidation(liquidation))?;
    }
    Ok(Message::Liquidations { instrument, count: short(scratch.rows.len()) })
}

fn price_limit(
    envelope: &Envelope<'_>,
    scratch: &mut Scratch,
    symbol: &[u8],
    instrument: InstrumentId,
) -> Result<Message, DecodeError> {
    let ts = envelope.ts()?;
    let [name, buy, sell] = envelope.data()?.fields(["symbol", "buyLmt", "sellLmt"])?;
    same(name, symbol)?;
    let (buy_max, sell_min) = (must(buy)?.px()?, must(sell)?.px()?);
    let origin = Origin { ts, ..Origin::default() };
    push(scratch, MarketEvent::PriceLimit(PriceLimit { origin, buy_max, sell_min, instrument, pad: [0; 6] }))?;
    Ok(Message::PriceLimit { instrument })
}

/// The venue's code for derivatives in `product` of an announcement.
const FUTURES: u64 = 1;

fn venue_status(envelope: &Envelope<'_>, scratch: &mut Scratch) -> Result<Message, DecodeError> {
    let ts = optional(envelope.ts, |ts| ts.millis(), Wall::default())?;
    for row in envelope.data()?.items()? {
        let [state, begin, end, product] = row.fields(["state", "begin", "end", "product"])?;
        let ongoing = match must(state)?.text()? {
            b"ongoing" => true,
            b"scheduled" | b"completed" | b"canceled" => false,
            _ => return Err(DecodeError::WrongType),
        };
        let status = VenueStatus {
            origin: Origin { ts, ..Origin::default() },
            begin: must(begin)?.loose_millis()?,
            end: optional(end, |end| end.loose_millis(), Wall::default())?,
            ongoing: ongoing.into(),
            derivatives: concerns_futures(product)?.into(),
            pad: [0; 6],
        };
        push(scratch, MarketEvent::VenueStatus(status))?;
    }
    Ok(Message::VenueStatus { count: short(scratch.rows.len()) })
}

impl Json<'_> {
    /// Milliseconds as a number or as text, as different endpoints write them; empty is zero.
    fn loose_millis(self) -> Result<Wall, DecodeError> {
        match self.text() {
            Ok(b"") => Ok(Wall::default()),
            Ok(text) => wall(whole(text)?.unsigned_abs()),
            Err(_) => self.millis(),
        }
    }
}

/// An announcement that names no product concerns everyone.
fn concerns_futures(product: Option<Json<'_>>) -> Result<bool, DecodeError> {
    let Some(product) = product else { return Ok(true) };
    let (mut named, mut futures) = (false, false);
    for code in product.items()? {
        named = true;
        futures |= code.int().is_ok_and(|code| code == FUTURES) || code.text().is_ok_and(|code| code == b"1");
    }
    Ok(futures || !named)
}

fn answer(
    op: Json<'_>,
    success: Option<Json<'_>>,
    ret_msg: Option<Json<'_>>,
    req_id: Option<Json<'_>>,
) -> Result<Message, DecodeError> {
    let op = op.text()?;
    if op == b"ping" || op == b"pong" {
        return Ok(Message::Pong);
    }
    let success = must(success)?.boolean()?;
    let text = optional(ret_msg, |text| text.text().map(ack_reason), AckReason::Other)?;
    let req = match req_id {
        None => 0,
        Some(id) => id.text().map(request_number).or_else(|_| id.int())?,
    };
    Ok(Message::Ack { op: op_of(op), success, reason: if success { AckReason::None } else { text }, req })
}

pub(crate) fn op_of(op: &[u8]) -> AckOp {
    match op {
        b"subscribe" => AckOp::Subscribe,
        b"unsubscribe" => AckOp::Unsubscribe,
        _ => AckOp::Other,
    }
}

/// The id of a request of ours; zero for text that is no number.
pub(crate) fn request_number(text: &[u8]) -> u64 {
    whole(text).map_or(0, i64::unsigned_abs)
}

pub(crate) fn ack_reason(text: &[u8]) -> AckReason {
    let says = |needle: &[u8]| text.windows(needle.len()).any(|window| window == needle);
    if says(b"already subscribed") {
        AckReason::AlreadySubscribed
    } else if says(b"handler not found") || says(b"Invalid symbol") || says(b"Invalid topic") {
        AckReason::NoSuchTopic
    } else if says(b"Params Error") || says(b"args size") {
        AckReason::Params
    } else {
        AckReason::Other
    }
}

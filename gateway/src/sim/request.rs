//! A client's JSON into checked requests. Lenient where clients differ, exact where money is meant.

use super::codes::{self, Refusal};
use super::engine::Engine;
use super::order::{Amend, Kind, Place, Slippage, Smp, Target, Tif, Trigger};
use super::{exits, feed};
use keel_core::event::Side;
use keel_core::units::{Px, Qty, parse_decimal};
use serde_json::{Map, Value};

/// A JSON object a client sent.
pub(super) type Body = Map<String, Value>;

/// Text of a member: strings as they are, numbers as written, absent and null as nothing.
pub(super) fn text(body: &Body, key: &str) -> String {
    match body.get(key) {
        Some(Value::String(s)) => s.clone(),
        Some(Value::Number(n)) => n.to_string(),
        Some(Value::Bool(b)) => b.to_string(),
        _ => String::new(),
    }
}

fn flag(body: &Body, key: &str) -> bool {
    matches!(body.get(key), Some(Value::Bool(true))) || text(body, key) == "true"
}

pub(super) fn number(body: &Body, key: &str) -> Result<Option<i64>, Refusal> {
    match text(body, key).as_str() {
        "" => Ok(None),
        digits => digits.parse().map(Some).map_err(|_| Refusal::params(&format!("{key} invalid"))),
    }
}

pub(super) fn px(body: &Body, key: &str) -> Result<Option<Px>, Refusal> {
    match text(body, key).as_str() {
        "" => Ok(None),
        digits => Px::parse(digits.as_bytes())
            .ok()
            .filter(|px| px.raw() >= 0)
            .map(Some)
            .ok_or_else(|| Refusal::params(&format!("{key} invalid"))),
    }
}

pub(super) fn qty(body: &Body, key: &str) -> Result<Option<Qty>, Refusal> {
    match text(body, key).as_str() {
        "" => Ok(None),
        digits => Qty::parse(digits.as_bytes()).ok().filter(|q| q.raw() >= 0).map(Some).ok_or(codes::QTY_ERR),
    }
}

/// The only category traded here.
pub(super) fn linear(body: &Body) -> Result<(), Refusal> {
    if text(body, "category") == "linear" { Ok(()) } else { Err(codes::BAD_CATEGORY) }
}

pub(super) fn symbol(engine: &Engine, body: &Body) -> Result<usize, Refusal> {
    engine.symbol(&text(body, "symbol")).ok_or(codes::BAD_SYMBOL)
}

/// `order/create`.
pub(super) fn place(engine: &Engine, body: &Body) -> Result<Place, Refusal> {
    let symbol = symbol(engine, body)?;
    let side = match text(body, "side").as_str() {
        "Buy" => Side::Buy,
        "Sell" => Side::Sell,
        _ => return Err(Refusal::params("side invalid")),
    };
    let kind = match text(body, "orderType").as_str() {
        "Limit" => Kind::Limit,
        "Market" => Kind::Market,
        _ => return Err(Refusal::params("orderType invalid")),
    };
    let tif = match text(body, "timeInForce").as_str() {
        "" | "GTC" => Tif::Gtc,
        "IOC" => Tif::Ioc,
        "FOK" => Tif::Fok,
        "PostOnly" => Tif::PostOnly,
        "RPI" => return Err(codes::NO_RPI), // for approved makers, which nobody is here
        _ => return Err(Refusal::params("timeInForce invalid")),
    };
    let smp = match text(body, "smpType").as_str() {
        "" | "None" => Smp::None,
        "CancelMaker" => Smp::CancelMaker,
        "CancelTaker" => Smp::CancelTaker,
        "CancelBoth" => Smp::CancelBoth,
        _ => return Err(Refusal::params("smpType invalid")),
    };
    let limit =
        if text(body, "bboSideType").is_empty() { px(body, "price")? } else { bbo(engine, body, symbol, side)? };
    if kind == Kind::Limit && limit.is_none() {
        return Err(Refusal::params("price invalid"));
    }
    let idx = number(body, "positionIdx")?.unwrap_or(0);
    Ok(Place {
        symbol,
        side,
        kind,
        qty: qty(body, "qty")?.ok_or(codes::QTY_ERR)?,
        px: limit.unwrap_or(Px::ZERO),
        tif: if kind == Kind::Market { Tif::Ioc } else { tif },
        link: text(body, "orderLinkId"),
        reduce_only: flag(body, "reduceOnly"),
        close_on_trigger: flag(body, "closeOnTrigger"),
        idx: u8::try_from(idx).map_err(|_| codes::IDX_MISMATCH)?,
        smp,
        trigger: trigger(body)?,
        slippage: slippage(body)?,
        exits: exits::exits(body)?,
    })
}

/// The price of a level of the book, as it stands now: of our own side (`Queue`) or of the other (`Counterparty`).
fn bbo(engine: &Engine, body: &Body, symbol: usize, side: Side) -> Result<Option<Px>, Refusal> {
    const DEEPEST: usize = 5;
    let waits = !matches!(px(body, "triggerPrice")?, None | Some(Px::ZERO));
    let of = match text(body, "bboSideType").as_str() {
        _ if waits || text(body, "orderType") != "Limit" => return Err(Refusal::params("bboSideType invalid")),
        "Queue" => side,
        "Counterparty" => side.opposite(),
        _ => return Err(Refusal::params("bboSideType invalid")),
    };
    let level = match text(body, "bboLevel").parse() {
        Ok(level @ 1..=DEEPEST) => level,
        _ => return Err(Refusal::params("bboLevel invalid")),
    };
    Ok(feed::levels(&engine.books[symbol], of, level).get(level - 1).map(|(px, _)| *px))
}

fn trigger(body: &Body) -> Result<Option<Trigger>, Refusal> {
    let Some(at) = px(body, "triggerPrice")?.filter(|px| !px.is_zero()) else { return Ok(None) };
    let rise = match number(body, "triggerDirection")? {
        Some(1) => true,
        Some(2) => false,
        _ => return Err(Refusal::params("TriggerDirection invalid")),
    };
    let by = exits::trigger_by(body, "triggerBy")?.unwrap_or_default();
    Ok(Some(Trigger { px: at, rise, by }))
}

fn slippage(body: &Body) -> Result<Option<Slippage>, Refusal> {
    let bad = || Refusal::params("slippageTolerance invalid");
    let amount = text(body, "slippageTolerance");
    match text(body, "slippageToleranceType").as_str() {
        "" | "UNKNOWN" => Ok(None),
        "TickSize" => match amount.parse() {
            Ok(ticks @ 1..=10_000) => Ok(Some(Slippage::Ticks(ticks))),
            _ => Err(bad()),
        },
        "Percent" => match parse_decimal(amount.as_bytes()) {
            Ok(percent @ 1_000_000..=1_000_000_000) => Ok(Some(Slippage::Percent(percent))),
            _ => Err(bad()),
        },
        _ => Err(bad()),
    }
}

/// Which order an amend or cancel means.
pub(super) fn target(engine: &Engine, body: &Body) -> Result<Target, Refusal> {
    let target = Target { symbol: symbol(engine, body)?, id: text(body, "orderId"), link: text(body, "orderLinkId") };
    if target.id.is_empty() && target.link.is_empty() {
        return Err(Refusal::params("orderId or orderLinkId is required"));
    }
    Ok(target)
}

/// `order/amend`.
pub(super) fn amend(body: &Body) -> Result<Amend, Refusal> {
    let (profit, loss, partial) = exits::changes(body)?;
    Ok(Amend {
        qty: qty(body, "qty")?,
        px: px(body, "price")?,
        trigger_px: px(body, "triggerPrice")?,
        trigger_by: exits::trigger_by(body, "triggerBy")?,
        profit,
        loss,
        partial,
    })
}

/// One value of a raw query string, percent-decoded.
pub(super) fn query(raw: &str, key: &str) -> String {
    let pair = raw.trim_start_matches('?').split('&').find_map(|pair| match pair.split_once('=') {
        Some((k, v)) if k == key => Some(v),
        _ => None,
    });
    pair.map(decode).unwrap_or_default()
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|h| core::str::from_utf8(h).ok());
        match (bytes[at], hex.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

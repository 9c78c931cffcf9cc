//! Take profit and stop loss in a client's JSON: with an order, in an amendment, for a position.
//!
//! A limit takes `tpslMode` `Partial`; whatever does not fit together is refused rather than taken for something else.

use super::codes::{self, Refusal};
use super::engine::Engine;
use super::guard::Stops;
use super::order::{Exit, ExitChange, Exits, TriggerBy};
use super::request::{Body, linear, number, px, qty, symbol, text};
use keel_core::units::Px;

/// Names of the members about one way out.
struct Names {
    px: &'static str,
    by: &'static str,
    kind: &'static str,
    limit: &'static str,
}

const PROFIT: Names = Names { px: "takeProfit", by: "tpTriggerBy", kind: "tpOrderType", limit: "tpLimitPrice" };
const LOSS: Names = Names { px: "stopLoss", by: "slTriggerBy", kind: "slOrderType", limit: "slLimitPrice" };

/// `LastPrice`, `MarkPrice`, `IndexPrice`; nothing when it is not said.
pub(super) fn trigger_by(body: &Body, key: &str) -> Result<Option<TriggerBy>, Refusal> {
    match text(body, key).as_str() {
        "" => Ok(None),
        "LastPrice" => Ok(Some(TriggerBy::Last)),
        "MarkPrice" => Ok(Some(TriggerBy::Mark)),
        "IndexPrice" => Ok(Some(TriggerBy::Index)),
        _ => Err(Refusal::params(&format!("{key} invalid"))),
    }
}

fn mode(body: &Body) -> Result<Option<bool>, Refusal> {
    match text(body, "tpslMode").as_str() {
        "" => Ok(None),
        "Full" => Ok(Some(false)),
        "Partial" => Ok(Some(true)),
        _ => Err(Refusal::params("tpslMode invalid")),
    }
}

/// Is the order it becomes a limit order? `None` when it is not said.
fn limited(body: &Body, names: &Names) -> Result<Option<bool>, Refusal> {
    match text(body, names.kind).as_str() {
        "" => Ok(None),
        "Market" => Ok(Some(false)),
        "Limit" => Ok(Some(true)),
        _ => Err(Refusal::params(&format!("{} invalid", names.kind))),
    }
}

fn change(body: &Body, names: &Names) -> Result<ExitChange, Refusal> {
    let bad = |key: &str| Refusal::params(&format!("{key} invalid"));
    let limit = px(body, names.limit)?;
    let limit = match limited(body, names)? {
        Some(true) if limit.is_none_or(Px::is_zero) => return Err(bad(names.limit)),
        Some(false) if limit.is_some_and(|px| !px.is_zero()) => return Err(bad(names.limit)),
        Some(false) => Some(Px::ZERO),
        _ => limit,
    };
    Ok(ExitChange { px: px(body, names.px)?, by: trigger_by(body, names.by)?, limit })
}

fn whole(exit: ExitChange) -> Result<(), Refusal> {
    if exit.limit.is_some_and(|px| !px.is_zero()) {
        return Err(Refusal::params("tpslMode must be Partial for a limit take profit or stop loss"));
    }
    Ok(())
}

/// What an order asks for.
pub(super) fn exits(body: &Body) -> Result<Exits, Refusal> {
    let (profit, loss, partial) = (change(body, &PROFIT)?, change(body, &LOSS)?, mode(body)?.unwrap_or(false));
    let exits = Exits { profit: profit.of(Exit::default()), loss: loss.of(Exit::default()), partial };
    if !exits.any() {
        return Ok(Exits::default());
    }
    if !partial {
        whole(profit)?;
        whole(loss)?;
    }
    Ok(exits)
}

/// What an amendment changes: profit, loss, mode.
pub(super) fn changes(body: &Body) -> Result<(ExitChange, ExitChange, Option<bool>), Refusal> {
    Ok((change(body, &PROFIT)?, change(body, &LOSS)?, mode(body)?))
}

/// `position/trading-stop`.
pub(super) fn stops(engine: &Engine, body: &Body) -> Result<Stops, Refusal> {
    linear(body)?;
    let (profit, loss) = (change(body, &PROFIT)?, change(body, &LOSS)?);
    let partial = mode(body)?.unwrap_or(false);
    if !partial {
        whole(profit)?;
        whole(loss)?;
    }
    let idx = number(body, "positionIdx")?.unwrap_or(0);
    Ok(Stops {
        symbol: symbol(engine, body)?,
        idx: u8::try_from(idx).map_err(|_| codes::IDX_MISMATCH)?,
        partial,
        profit,
        loss,
        profit_size: qty(body, "tpSize")?,
        loss_size: qty(body, "slSize")?,
        trailing: px(body, "trailingStop")?,
        active: px(body, "activePrice")?,
    })
}

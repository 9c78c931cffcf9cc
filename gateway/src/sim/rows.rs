//! Rows as the private streams and the REST lists carry them: every documented field, in the documented type.

use super::account::{Position, PositionStatus};
use super::engine::Engine;
use super::margin::Totals;
use super::order::{Execution, Kind, Order, Status, Trigger, side_text};
use super::terms::leverage_text;
use super::text::{Obj, decimal};
use keel_core::event::Side;
use keel_core::units::{Notional, Px, Qty, SCALE};

/// `price` text: the venue writes absent prices as an empty string.
fn or_empty(px: Px) -> String {
    if px.is_zero() { String::new() } else { decimal(px.raw()) }
}

/// One order row; `category` stands inside on streams and beside the list in REST answers.
pub(super) fn order(out: &mut String, engine: &Engine, o: &Order, stream: bool) {
    let avg = o.filled.average(o.value).map(|px| decimal(px.raw())).unwrap_or_default();
    let left_value = o.px.mul_floor(o.left).unwrap_or(Notional::ZERO);
    let (profit, loss) = (o.exits.profit, o.exits.loss);
    let row = Obj::new(out);
    let row = if stream { row.s("category", "linear") } else { row };
    row.s("symbol", engine.specs[o.symbol].symbol())
        .s("orderId", &engine.order_id(o.id))
        .s("orderLinkId", &o.link)
        .s("parentOrderLinkId", &o.parent_link)
        .s("blockTradeId", "")
        .s("side", side_text(o.side))
        .s("orderType", o.kind.text())
        .f("price", o.px.raw(), engine.specs[o.symbol].price_places)
        .d("qty", o.qty.raw())
        .s("timeInForce", o.tif.text())
        .s("orderStatus", o.status.text())
        .s("cancelType", o.cancel)
        .s("rejectReason", o.reject)
        .s("avgPrice", &avg)
        .d("leavesQty", o.left.raw())
        .d("leavesValue", left_value.raw())
        .d("cumExecQty", o.filled.raw())
        .d("cumExecValue", o.value.raw())
        .d("cumExecFee", o.fee.raw())
        .with("cumFeeDetail", |out| {
            let fees = Obj::new(out);
            if o.fee.is_zero() { fees.end() } else { fees.d("USDT", o.fee.raw()).end() }
        })
        .d("closedPnl", o.closing.pnl.raw())
        .s("feeCurrency", if o.fee.is_zero() { "" } else { "USDT" })
        .n("positionIdx", i64::from(o.idx))
        .b("reduceOnly", o.reduce_only)
        .b("closeOnTrigger", o.close_on_trigger)
        .s("createType", o.create_type)
        .s("isLeverage", "")
        .s("orderIv", "")
        .s("marketUnit", "")
        .s("slippageToleranceType", "UNKNOWN")
        .s("slippageTolerance", "")
        .s("stopOrderType", o.stop_type)
        .s("triggerPrice", &trigger_px(o))
        .s("triggerBy", o.trigger.map_or("", |t| t.by.text()))
        .n("triggerDirection", direction(o.trigger))
        .s("takeProfit", &or_empty(profit.px))
        .s("stopLoss", &or_empty(loss.px))
        .s("tpslMode", tpsl_mode(o))
        .s("tpTriggerBy", if profit.px.is_zero() { "" } else { profit.by.text() })
        .s("slTriggerBy", if loss.px.is_zero() { "" } else { loss.by.text() })
        .s("tpLimitPrice", &or_empty(profit.limit))
        .s("slLimitPrice", &or_empty(loss.limit))
        .f("lastPriceOnCreated", o.last_px.raw(), engine.specs[o.symbol].price_places)
        .s("ocoTriggerBy", "")
        .s("placeType", "")
        .s("smpType", o.smp.text())
        .n("smpGroup", 0)
        .s("smpOrderId", &if o.smp_order == 0 { String::new() } else { engine.order_id(o.smp_order) })
        .us("createdTime", o.created)
        .us("updatedTime", o.updated)
        .b("rpiTakerAccess", false)
        .s("rpiMatchedQty", "0")
        .end();
}

/// `tpslMode` of an order that asks for a take profit or stop loss, or is one.
fn tpsl_mode(o: &Order) -> &'static str {
    match (o.exits.any() || o.guard.is_some(), o.exits.partial) {
        (false, _) => "",
        (true, true) => "Partial",
        (true, false) => "Full",
    }
}

/// `triggerPrice`; a trailing stop that does not follow yet shows where it begins to.
fn trigger_px(o: &Order) -> String {
    let begins = o.guard.map_or(Px::ZERO, |g| g.active);
    o.trigger.map(|t| if t.px.is_zero() { begins } else { t.px }).map(|px| decimal(px.raw())).unwrap_or_default()
}

fn direction(trigger: Option<Trigger>) -> i64 {
    trigger.map_or(0, |t| if t.rise { 1 } else { 2 })
}

/// One execution row.
pub(super) fn execution(out: &mut String, engine: &Engine, e: &Execution, stream: bool) {
    let row = Obj::new(out);
    let row = if stream { row.s("category", "linear") } else { row };
    row.s("symbol", engine.specs[e.symbol].symbol())
        .s("orderId", &if e.order == 0 { String::new() } else { engine.order_id(e.order) })
        .s("orderLinkId", &e.link)
        .s("side", side_text(e.side))
        .f("orderPrice", e.order_px.raw(), engine.specs[e.symbol].price_places)
        .d("orderQty", e.order_qty.raw())
        .d("leavesQty", e.leaves.raw())
        .s("orderType", e.order_kind)
        .s("stopOrderType", if e.stop_type.is_empty() { "UNKNOWN" } else { e.stop_type })
        .s("createType", e.create_type)
        .s("execId", &engine.execution_id(e.id))
        .f("execPrice", e.px.raw(), engine.specs[e.symbol].price_places)
        .d("execQty", e.qty.raw())
        .d("execValue", e.value.raw())
        .d("execFee", e.fee.raw())
        .d("feeRate", e.rate)
        .s("feeCurrency", "USDT")
        .s("execType", e.what)
        .us("execTime", e.time)
        .b("isMaker", e.maker)
        .s("isLeverage", "0")
        .d("closedSize", e.closed.raw())
        .d("execPnl", e.pnl.raw())
        .d("markPrice", e.mark.raw())
        .s("indexPrice", "")
        .s("underlyingPrice", "")
        .s("tradeIv", "")
        .s("markIv", "")
        .s("blockTradeId", "")
        .s("marketUnit", "")
        .s("extraFees", "")
        .u("seq", e.seq)
        .end();
}

/// One `execution.fast` row.
pub(super) fn fast(out: &mut String, engine: &Engine, e: &Execution) {
    Obj::new(out)
        .s("category", "linear")
        .s("symbol", engine.specs[e.symbol].symbol())
        .s("orderId", &engine.order_id(e.order))
        .b("isMaker", e.maker)
        .s("orderLinkId", if e.maker { "" } else { &e.link })
        .s("execId", &engine.execution_id(e.id))
        .f("execPrice", e.px.raw(), engine.specs[e.symbol].price_places)
        .d("execQty", e.qty.raw())
        .s("side", side_text(e.side))
        .us("execTime", e.time)
        .u("seq", e.seq)
        .end();
}

/// One position row; streams say `entryPrice`, REST says `avgPrice`.
pub(super) fn position(
    out: &mut String,
    engine: &Engine,
    account: usize,
    symbol: usize,
    idx: u8,
    p: &Position,
    stream: bool,
) {
    let of = &engine.accounts[account];
    let (spec, mark) = (&engine.specs[symbol], engine.quotes[symbol].mark);
    let flat = p.size.is_zero();
    let (taker, _) = engine.rates(account, symbol);
    let short = p.size.raw() < 0;
    let leverage = of.leverage_of(symbol, if short { Side::Sell } else { Side::Buy });
    let (im, mm) = engine.required(account, symbol, p);
    let tier = spec.tier_number(mark.mul_ceil(p.size.abs()).unwrap_or(Notional::MAX));
    let liquidation = if flat { String::new() } else { liquidation_px(engine, account, symbol, p) };
    let row = Obj::new(out);
    let row = if stream { row.s("category", "linear") } else { row };
    row.s("symbol", spec.symbol())
        .s(
            "side",
            if flat {
                ""
            } else if short {
                "Sell"
            } else {
                "Buy"
            },
        )
        .d("size", p.size.abs().raw())
        .n("positionIdx", i64::from(idx))
        .n("tradeMode", 0)
        .s("positionValue", &if flat { "0".to_owned() } else { decimal(p.cost.abs().raw()) })
        .n("riskId", spec.risk_id(tier))
        .d("riskLimitValue", spec.tiers[tier].limit.raw())
        .d(if stream { "entryPrice" } else { "avgPrice" }, p.entry().raw())
        .f("markPrice", mark.raw(), spec.price_places)
        .s("leverage", &leverage_text(leverage))
        .d("positionBalance", p.margin.raw())
        .s("breakEvenPrice", &break_even(p, taker))
        .n("autoAddMargin", i64::from(p.auto_add))
        .d("positionIM", im.raw())
        .d("positionIMByMp", im.raw())
        .d("positionMM", mm.raw())
        .d("positionMMByMp", mm.raw())
        .s("liqPrice", &liquidation)
        .s("bustPrice", "")
        .s("tpslMode", "Full")
        .d("takeProfit", p.exits.profit.px.raw())
        .d("stopLoss", p.exits.loss.px.raw())
        .d("trailingStop", p.trailing.raw())
        .d("unrealisedPnl", p.unrealised(mark).raw())
        .s("sessionAvgPrice", if stream { "0" } else { "" })
        .d("curRealisedPnl", p.realised.raw())
        .d("cumRealisedPnl", p.realised_ever.raw())
        .s("positionStatus", status(p.status))
        .n("adlRankIndicator", engine.adl_rank(account, symbol, p))
        .us("createdTime", p.created)
        .us("updatedTime", p.updated)
        .u("openTime", if flat { 0 } else { p.opened })
        .n("seq", p.seq)
        .b("isReduceOnly", false)
        .s("mmrSysUpdatedTime", "")
        .s("leverageSysUpdatedTime", "")
        .end();
}

const fn status(status: PositionStatus) -> &'static str {
    match status {
        PositionStatus::Normal => "Normal",
        PositionStatus::Liq => "Liq",
        PositionStatus::Adl => "Adl",
    }
}

/// `(entry qty - realised) / (qty - |qty| max(taker, 0.00055))`, quantity signed.
fn break_even(p: &Position, taker: i64) -> String {
    let rate = i128::from(taker.max(55_000));
    let (qty, scale) = (i128::from(p.size.raw()), i128::from(SCALE));
    let bottom = qty * scale - qty.abs() * rate;
    if bottom == 0 {
        return String::new();
    }
    let top = i128::from(p.cost.raw() - p.realised.raw()) * scale * scale;
    i64::try_from(top / bottom).map(decimal).unwrap_or_default()
}

/// The mark at which what backs a position meets its maintenance margin, in its present tier, all else unchanged.
pub(super) fn liquidation_px(engine: &Engine, account: usize, symbol: usize, p: &Position) -> String {
    let totals = engine.totals(account);
    let mark = engine.quotes[symbol].mark;
    let (backed, asked) = if engine.accounts[account].isolated {
        (p.margin + p.unrealised(mark), engine.required(account, symbol, p).1)
    } else {
        (totals.equity(), totals.position_mm)
    };
    let spare = i128::from(backed.raw()) - i128::from(asked.raw());
    let value = mark.mul_ceil(p.size.abs()).unwrap_or(Notional::MAX);
    let mmr = engine.specs[symbol].tier(value).mmr;
    let (taker, _) = engine.rates(account, symbol);
    let (scale, qty) = (i128::from(SCALE), i128::from(p.size.raw()));
    let slope = qty * scale - qty.abs() * i128::from(mmr + taker);
    if slope == 0 {
        return String::new();
    }
    let px = i128::from(engine.quotes[symbol].mark.raw()) - spare * scale * scale / slope;
    match i64::try_from(px) {
        Ok(px) if px > 0 && px < Px::MAX.raw() => {
            let spec = &engine.specs[symbol];
            decimal(Px::from_raw(px).floor_to(spec.instrument.tick).raw())
        }
        _ => String::new(),
    }
}

/// The wallet row: totals in USD (1 USDT = 1 USD here) and the USDT coin.
pub(super) fn wallet(out: &mut String, engine: &Engine, account: usize) {
    let t = engine.totals(account);
    let rate = |part: Notional| {
        let equity = i128::from(t.equity().raw());
        if equity <= 0 { "0".to_owned() } else { decimal(rate4(i128::from(part.raw()), equity)) }
    };
    // What is told of the account as a whole means nothing where each position stands alone.
    let alone = engine.accounts[account].isolated;
    let whole = |text: String| if alone { String::new() } else { text };
    let (im, mm) = (whole(rate(t.initial())), whole(rate(t.position_mm)));
    Obj::new(out)
        .s("accountType", "UNIFIED")
        .s("accountIMRate", &im)
        .s("accountMMRate", &mm)
        .s("accountIMRateByMp", &im)
        .s("accountMMRateByMp", &mm)
        .d("totalEquity", t.equity().raw())
        .d("totalWalletBalance", t.wallet.raw())
        .s("totalMarginBalance", &whole(decimal(t.equity().raw())))
        .s("totalAvailableBalance", &whole(decimal(t.available().raw())))
        .d("totalPerpUPL", t.unrealised.raw())
        .s("totalInitialMargin", &whole(decimal(t.initial().raw())))
        .s("totalInitialMarginByMp", &whole(decimal(t.initial().raw())))
        .s("totalMaintenanceMargin", &whole(decimal(t.position_mm.raw())))
        .s("totalMaintenanceMarginByMp", &whole(decimal(t.position_mm.raw())))
        .s("accountLTV", "0")
        .with("coin", |out| {
            out.push('[');
            coin(out, engine, account, &t);
            out.push(']');
        })
        .end();
}

fn rate4(part: i128, whole: i128) -> i64 {
    i64::try_from(part * 10_000 / whole).unwrap_or(0) * (SCALE / 10_000)
}

fn coin(out: &mut String, engine: &Engine, account: usize, t: &Totals) {
    let realised: Notional = engine.accounts[account].positions.values().map(|p| p.realised_ever).sum();
    Obj::new(out)
        .s("coin", "USDT")
        .d("equity", t.equity().raw())
        .d("usdValue", t.equity().raw())
        .d("walletBalance", t.wallet.raw())
        .s("locked", "0")
        .s("spotHedgingQty", "0")
        .s("borrowAmount", "0")
        .s("spotBorrow", "0")
        .s("accruedInterest", "0")
        .d("totalOrderIM", t.order_im.raw())
        .d("totalPositionIM", t.position_im.raw())
        .d("totalPositionMM", t.position_mm.raw())
        .d("unrealisedPnl", t.unrealised.raw())
        .d("cumRealisedPnl", realised.raw())
        .s("bonus", "0")
        .b("marginCollateral", true)
        .b("collateralSwitch", true)
        .s("colRes", "0")
        .s("availableToWithdraw", "")
        .s("availableToBorrow", "")
        .end();
}

/// Would a client count this order as still live?
pub(super) fn is_open(order: &Order) -> bool {
    order.status.open() && !(order.kind == Kind::Market && order.status == Status::New && order.left.is_zero())
}

/// Text of a quantity.
pub(super) fn qty(q: Qty) -> String {
    decimal(q.raw())
}

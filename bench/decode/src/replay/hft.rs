//! hftbacktest's backtest loop, fed as its own tapes are: one event a level, floats, the depth that is quickest for it.
//!
//! Its bot is asked after every feed event here, as keel's and nautilus' are; `Pace::Tenth` asks it every 100 ms instead,
//! which is how its own examples run and what is kindest to it.

use crate::tape::{Event as Row, Seen, Touch};
use crate::{PATIENCE, QTY, TICK, TOLERANCE};
use hftbacktest::backtest::assettype::LinearAsset;
use hftbacktest::backtest::data::{Data, DataSource};
use hftbacktest::backtest::models::{CommonFees, ConstantLatency, RiskAdverseQueueModel, TradingValueFeeModel};
use hftbacktest::backtest::{Backtest, ExchangeKind, L2AssetBuilder};
use hftbacktest::prelude::*;

/// How often the bot is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// After each message.
    Message,
    /// Every tenth of a second.
    Tenth,
}

const MILLISECOND: i64 = 1_000_000;
const UNIT: f64 = 1e8;

/// The tape as its rows.
pub fn rows(events: &[Row]) -> Vec<Event> {
    let both = EXCH_EVENT | LOCAL_EVENT;
    let row = |ev, at, px: i64, qty: i64| Event {
        ev: ev | both,
        exch_ts: at,
        local_ts: at,
        px: px as f64 / UNIT,
        qty: qty as f64 / UNIT,
        order_id: 0,
        ival: 0,
        fval: 0.0,
    };
    let mut all = Vec::new();
    for event in events {
        match event {
            Row::Book { at, bids, asks, .. } => {
                all.extend(bids.iter().map(|(px, qty)| row(DEPTH_EVENT | BUY_EVENT, *at, *px, *qty)));
                all.extend(asks.iter().map(|(px, qty)| row(DEPTH_EVENT | SELL_EVENT, *at, *px, *qty)));
            }
            Row::Trade { at, px, qty, buy } => {
                all.push(row(TRADE_EVENT | if *buy { BUY_EVENT } else { SELL_EVENT }, *at, *px, *qty));
            }
        }
    }
    all
}

/// Everything but the running: the copy of the rows is not timed.
pub fn prepare(rows: &[Event]) -> Backtest<ROIVectorMarketDepth> {
    let prices = rows.iter().filter(|row| row.px > 0.0).map(|row| row.px);
    let (low, high) = prices.fold((f64::MAX, 0f64), |(low, high), px| (low.min(px), high.max(px)));
    Backtest::builder()
        .add_asset(
            L2AssetBuilder::new()
                .data(vec![DataSource::Data(Data::from_data(rows))])
                .latency_model(ConstantLatency::new(MILLISECOND, MILLISECOND))
                .asset_type(LinearAsset::new(1.0))
                .fee_model(TradingValueFeeModel::new(CommonFees::new(0.0002, 0.00055)))
                .exchange(ExchangeKind::NoPartialFillExchange)
                .queue_model(RiskAdverseQueueModel::new())
                .last_trades_capacity(1000)
                .depth(move || ROIVectorMarketDepth::new(TICK, 0.001, low, high))
                .build()
                .expect("an asset"),
        )
        .build()
        .expect("a backtest")
}

/// Runs it to the end of the data; orders placed, and the touch it ended with.
pub fn run(mut bot: Backtest<ROIVectorMarketDepth>, pace: Pace) -> (u64, Touch) {
    let (mut placed, mut quiet) = (0, [0i64; 2]);
    loop {
        let went = match pace {
            Pace::Message => bot.wait_next_feed(false, i64::MAX / 4),
            Pace::Tenth => bot.elapse(100 * MILLISECOND),
        };
        match went.expect("sound data") {
            ElapseResult::EndOfData => break,
            _ => think(&mut bot, &mut placed, &mut quiet),
        }
    }
    let depth = bot.depth(0);
    let level = |tick: i64, qty: f64| ((tick as f64 * TICK * UNIT).round() as i64, (qty * UNIT).round() as i64);
    let (bid, ask) = (depth.best_bid_tick(), depth.best_ask_tick());
    (placed, [level(bid, depth.bid_qty_at_tick(bid)), level(ask, depth.ask_qty_at_tick(ask))])
}

/// One order a side at the touch, moved when the touch went away from it.
fn think(bot: &mut Backtest<ROIVectorMarketDepth>, placed: &mut u64, quiet: &mut [i64; 2]) {
    let (now, bid, ask) = (bot.current_timestamp(), bot.depth(0).best_bid_tick(), bot.depth(0).best_ask_tick());
    if bid == INVALID_MIN || ask == INVALID_MAX {
        return;
    }
    for (at, side, best) in [(0, Side::Buy, bid), (1, Side::Sell, ask)] {
        if now < quiet[at] {
            continue;
        }
        let working = bot.orders(0).values().find(|order| order.side == side && order.status != Status::Filled);
        match working.map(|order| (order.order_id, order.price_tick, order.cancellable(), order.active())) {
            Some((id, tick, true, _)) if (tick - best).abs() > TOLERANCE => {
                bot.cancel(0, id, false).expect("a cancel");
            }
            Some((_, _, _, active)) if active => continue,
            Some((_, _, _, _)) => bot.clear_inactive_orders(Some(0)),
            None => {
                *placed += 1;
                let px = best as f64 * TICK;
                let done = match side {
                    Side::Buy => bot.submit_buy_order(0, *placed, px, QTY, TimeInForce::GTX, OrdType::Limit, false),
                    _ => bot.submit_sell_order(0, *placed, px, QTY, TimeInForce::GTX, OrdType::Limit, false),
                };
                done.expect("an order");
            }
        }
        quiet[at] = now + PATIENCE;
    }
}

/// What the tape held by its own rows, for the comparison.
pub fn seen(events: &[Row], touch: Touch) -> Seen {
    let trades = events.iter().filter(|event| matches!(event, Row::Trade { .. })).count() as u64;
    Seen { books: events.len() as u64 - trades, trades, touch }
}

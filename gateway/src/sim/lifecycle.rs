//! What happens to orders and positions without a request: triggers, funding, money in and out. Liquidation stands in
//! `liquidation.rs`.

use super::account::{LogRow, remember};
use super::engine::{Engine, Event};
use super::order::{Execution, Exits, Kind, Order, Place, Smp, Status, Tif, side_text};
use keel_core::event::Side;
use keel_core::units::{Notional, Px, Qty};

/// Account, symbol, position index.
type Leg = (usize, usize, u8);

impl Engine {
    /// Prices of a symbol moved: conditional orders, stops of positions, and accounts in need look again.
    pub(super) fn prices_moved(&mut self, now_ms: u64, symbol: usize) {
        self.trail(symbol);
        self.fire_triggers(now_ms, symbol);
        self.check_solvency(now_ms);
    }

    fn fire_triggers(&mut self, now_ms: u64, symbol: usize) {
        let due = |engine: &Engine, id: &u64| {
            let trigger = engine.orders.get(id).and_then(|o| o.trigger)?;
            let px = engine.trigger_px(symbol, trigger.by);
            let met = if trigger.rise { px >= trigger.px } else { px <= trigger.px };
            (met && !px.is_zero() && !trigger.px.is_zero()).then_some(*id)
        };
        let fired: Vec<u64> = self.stops[symbol].iter().filter_map(|id| due(self, id)).collect();
        for id in fired {
            self.stops[symbol].remove(&id);
            let Some(mut order) = self.orders.remove(&id) else { continue };
            (order.status, order.updated) = (Status::Triggered, now_ms);
            self.announce(&order);
            self.guard_fired(now_ms, &order);
            order.status = Status::New;
            let place = self.as_place(&order);
            if order.kind == Kind::Market {
                let bound = self.market_bound(&place).unwrap_or(order.px);
                order.px = self.specs[symbol].instrument.passive(order.side, bound);
            }
            let place = Place { px: order.px, ..place };
            if self.check_margin(order.account, &place).is_err() {
                self.end(now_ms, order, "UNKNOWN", "EC_Others");
            } else {
                self.execute(now_ms, order);
            }
        }
    }

    fn as_place(&self, order: &Order) -> Place {
        Place {
            symbol: order.symbol,
            side: order.side,
            kind: order.kind,
            qty: order.left,
            px: order.px,
            tif: order.tif,
            link: String::new(),
            reduce_only: order.reduce_only,
            close_on_trigger: order.close_on_trigger,
            idx: order.idx,
            smp: order.smp,
            trigger: None,
            slippage: None,
            exits: order.exits,
        }
    }

    /// The venue closes `size` (signed like the position) at the market, within the market order's bound.
    pub(super) fn close(
        &mut self,
        now_ms: u64,
        account: usize,
        symbol: usize,
        idx: u8,
        size: Qty,
        (create_type, stop_type): (&'static str, &'static str),
    ) {
        let side = if size.raw() > 0 { Side::Sell } else { Side::Buy };
        let mut order = self.venue_order(now_ms, (account, symbol, idx), side, size.abs(), create_type);
        order.stop_type = stop_type;
        self.execute(now_ms, order);
    }

    pub(super) fn venue_order(
        &mut self,
        now_ms: u64,
        (account, symbol, idx): Leg,
        side: Side,
        qty: Qty,
        create_type: &'static str,
    ) -> Order {
        let mut place = Place {
            symbol,
            side,
            kind: Kind::Market,
            qty,
            px: Px::ZERO,
            tif: Tif::Ioc,
            link: String::new(),
            reduce_only: true,
            close_on_trigger: true,
            idx,
            smp: Smp::None,
            trigger: None,
            slippage: None,
            exits: Exits::default(),
        };
        let bound = self.market_bound(&place).unwrap_or(self.quotes[symbol].mark);
        place.px = self.specs[symbol].instrument.passive(side, bound);
        let id = self.take_order_number();
        let mut order = self.admit(now_ms, id, account, place);
        order.create_type = create_type;
        order
    }

    // ---- funding -------------------------------------------------------------------------------------------------

    /// Longs pay shorts `mark * size * rate` (the other way round when the rate is negative). What rounding leaves goes
    /// to the venue's fee account.
    pub(super) fn settle_funding(&mut self, now_ms: u64, symbol: usize) {
        let (mark, rate) = (self.quotes[symbol].mark, self.quotes[symbol].funding);
        for account in 0..self.accounts.len() {
            let legs: Vec<(u8, Qty)> = self.accounts[account]
                .positions
                .range((symbol, 0)..=(symbol, u8::MAX))
                .filter(|(_, p)| !p.size.is_zero())
                .map(|((_, idx), p)| (*idx, p.size))
                .collect();
            for (idx, size) in legs {
                let value = mark.mul_floor(size).unwrap_or(Notional::ZERO);
                let pay = value.rate_ceil(rate).unwrap_or(Notional::ZERO);
                self.pay_funding(now_ms, account, symbol, idx, size, pay);
            }
        }
    }

    fn pay_funding(&mut self, now_ms: u64, account: usize, symbol: usize, idx: u8, size: Qty, pay: Notional) {
        let (mark, rate, seq) = (self.quotes[symbol].mark, self.quotes[symbol].funding, self.quotes[symbol].seq);
        self.fees += pay;
        let id = self.take_execution_number();
        self.accounts[account].wallet -= pay;
        let short = -self.loose(account).min(Notional::ZERO);
        let of = &mut self.accounts[account];
        if let Some(p) = of.positions.get_mut(&(symbol, idx)) {
            if of.isolated && !of.house {
                p.margin -= short; // what the loose cash cannot pay, the position's own margin does
            }
            p.realised -= pay;
            p.realised_ever -= pay;
            p.updated = now_ms;
        }
        if of.house {
            return;
        }
        let side = if size.raw() > 0 { Side::Buy } else { Side::Sell };
        let value = mark.mul_floor(size.abs()).unwrap_or(Notional::ZERO);
        let row = LogRow {
            id,
            symbol: Some(symbol),
            side: side_text(side),
            time: now_ms,
            what: "SETTLEMENT",
            qty: size.abs(),
            size,
            px: mark,
            funding: -pay,
            fee: Notional::ZERO,
            cash_flow: Notional::ZERO,
            balance: of.wallet,
            rate,
            trade: id,
            order: 0,
            link: String::new(),
            coin: "USDT".to_owned(),
        };
        remember(&mut of.log, row);
        let execution = Execution {
            id,
            order: 0,
            link: String::new(),
            symbol,
            side,
            px: mark,
            qty: size.abs(),
            value,
            fee: pay,
            rate,
            what: "Funding",
            time: now_ms,
            maker: false,
            closed: Qty::ZERO,
            pnl: Notional::ZERO,
            mark,
            seq,
            order_px: Px::ZERO,
            order_qty: Qty::ZERO,
            leaves: Qty::ZERO,
            order_kind: "UNKNOWN",
            create_type: "",
            stop_type: "",
        };
        of.executed(&execution);
        self.events.push(Event::Execution(account, Box::new(execution)));
        self.after(account, symbol, idx, true);
    }
}

/// `execType` of a fill by what created its order.
pub(super) fn exec_type(create_type: &str) -> &'static str {
    match create_type {
        "CreateByLiq" | "CreateByTakeOver_PassThrough" => "BustTrade",
        "CreateByAdl_PassThrough" => "AdlTrade",
        _ => "Trade",
    }
}

//! Matching: a taker against everything within its limit, best price first, oldest first; and what a fill does.
//!
//! ```text
//!  taker -> touch -> ghost ahead of the front order -> front order -> next ghost ... until the limit
//! ```

use super::account::{LogRow, Position, part, remember};
use super::book::reaches;
use super::engine::{Engine, Event, MARKET, reduces};
use super::guard::Parent;
use super::margin::Fill;
use super::order::{Execution, Order, Smp, Status, side_text};
use keel_core::event::Side;
use keel_core::units::{Notional, Px, Qty};

impl Engine {
    /// Trades `taker` against everything within its limit, best price first, oldest first. Says whether it traded.
    pub(super) fn take(&mut self, now_ms: u64, taker: &mut Order) -> bool {
        let away = taker.side.opposite();
        let before = taker.left;
        self.quotes[taker.symbol].seq += 7;
        while !taker.left.is_zero() && taker.status.open() {
            let book = &self.books[taker.symbol];
            let Some(px) = book.touch(away).filter(|px| reaches(away, *px, taker.px)) else { break };
            let front = book.queues.side(away).get(&px).and_then(|q| q.orders.front().copied());
            let ghost = book.ghosts.side(away).get(&px).map_or(Qty::ZERO, |g| g.left());
            let ahead = front.and_then(|id| self.orders.get(&id)).map_or(ghost, |maker| maker.ahead.min(ghost));
            if !ahead.is_zero() {
                self.take_ghost(now_ms, taker, px, ahead.min(taker.left));
            } else if let Some(maker) = front {
                self.take_maker(now_ms, taker, px, maker);
            } else {
                break; // touch() promised one of the two
            }
        }
        taker.left != before
    }

    pub(super) fn take_ghost(&mut self, now_ms: u64, taker: &mut Order, px: Px, qty: Qty) {
        let away = taker.side.opposite();
        let book = &mut self.books[taker.symbol];
        if let Some(ghost) = book.ghosts.side_mut(away).get_mut(&px) {
            ghost.taken += qty;
        }
        if let Some(queue) = book.queues.side(away).get(&px) {
            for id in &queue.orders {
                if let Some(maker) = self.orders.get_mut(id) {
                    maker.ahead = (maker.ahead - qty).max(Qty::ZERO);
                }
            }
        }
        self.fill(now_ms, taker, px, qty, false);
        self.market_fill(taker.symbol, away, px, qty);
    }

    /// The market account's side of a fill against the tape.
    pub(super) fn market_fill(&mut self, symbol: usize, side: Side, px: Px, qty: Qty) {
        let value = px.mul_floor(qty).unwrap_or(Notional::ZERO);
        let market = &mut self.accounts[MARKET];
        let position = market.positions.entry((symbol, 0)).or_default();
        let signed = if side == Side::Buy { qty } else { -qty };
        let (_, gain) = position.trade(signed, value, 0);
        market.wallet += gain;
    }

    pub(super) fn take_maker(&mut self, now_ms: u64, taker: &mut Order, px: Px, maker: u64) {
        let Some(mut other) = self.orders.remove(&maker) else { return };
        if other.account == taker.account && taker.smp != Smp::None {
            return self.prevent(now_ms, taker, other);
        }
        let mut qty = taker.left.min(other.left);
        if reduces(&other) {
            qty = qty.min(self.closable(other.account, other.symbol, other.idx, other.side));
            if qty.is_zero() {
                self.books[other.symbol].leave(other.side, other.px, other.id, other.left);
                return self.end(now_ms, other, "CancelByReduceOnly", "EC_PerCancelRequest");
            }
        }
        self.fill(now_ms, taker, px, qty, false);
        self.fill_maker(now_ms, &mut other, qty);
        self.settle_maker(now_ms, other);
        self.events.push(Event::Print(taker.symbol, taker.side, px, qty));
    }

    /// A resting order trades `qty` at its own price.
    pub(super) fn fill_maker(&mut self, now_ms: u64, maker: &mut Order, qty: Qty) {
        self.books[maker.symbol].shrink(maker.side, maker.px, qty);
        self.fill(now_ms, maker, maker.px, qty, true);
    }

    /// Puts a resting order back, or files it when it is done. Its queue already lost what it traded.
    pub(super) fn settle_maker(&mut self, now_ms: u64, mut maker: Order) {
        let (account, symbol, idx) = (maker.account, maker.symbol, maker.idx);
        let parent = Parent::of(&mut maker);
        if maker.left.is_zero() {
            maker.status = Status::Filled;
            self.books[symbol].leave(maker.side, maker.px, maker.id, Qty::ZERO);
            self.announce(&maker);
            self.accounts[account].file(maker);
        } else {
            self.announce(&maker);
            self.orders.insert(maker.id, maker);
        }
        self.after(account, symbol, idx, true);
        self.drop_reducers(now_ms, account, symbol, idx);
        self.protect(now_ms, parent);
    }

    pub(super) fn prevent(&mut self, now_ms: u64, taker: &mut Order, mut maker: Order) {
        if matches!(taker.smp, Smp::CancelMaker | Smp::CancelBoth) {
            maker.smp_order = taker.id;
            self.books[maker.symbol].leave(maker.side, maker.px, maker.id, maker.left);
            let maker_id = maker.id;
            self.end(now_ms, maker, "CancelBySmp", "EC_BySelfMatch");
            taker.smp_order = maker_id;
        } else {
            taker.smp_order = maker.id;
            self.orders.insert(maker.id, maker);
        }
        if matches!(taker.smp, Smp::CancelTaker | Smp::CancelBoth) {
            (taker.status, taker.cancel, taker.reject) = (Status::Cancelled, "CancelBySmp", "EC_BySelfMatch");
            (taker.left, taker.updated) = (Qty::ZERO, now_ms);
        }
    }

    /// One side of one fill: order, position, cash, fee, history.
    pub(super) fn fill(&mut self, now_ms: u64, order: &mut Order, px: Px, qty: Qty, maker: bool) {
        let (symbol, account) = (order.symbol, order.account);
        let value = px.mul_floor(qty).unwrap_or(Notional::ZERO);
        let (taker_rate, maker_rate) = self.rates(account, symbol);
        let rate = if maker { maker_rate } else { taker_rate };
        let fee = value.rate_ceil(rate).unwrap_or(Notional::ZERO);
        let quote = &self.quotes[symbol];
        let (mark, seq) = (quote.mark, quote.seq);
        let signed = if order.side == Side::Buy { qty } else { -qty };
        let of = &mut self.accounts[account];
        let position = of
            .positions
            .entry((symbol, order.idx))
            .or_insert_with(|| Position { created: now_ms, ..Position::default() });
        let was_open = position.size.abs();
        let (closed, gain) = position.trade(signed, value, now_ms);
        let open_fee = if closed.is_zero() { Notional::ZERO } else { part(position.open_fee, closed, was_open) };
        let close_fee = part(fee, closed, qty);
        position.open_fee += fee - close_fee - open_fee;
        position.realised += gain - fee;
        position.realised_ever += gain - fee;
        (position.updated, position.seq) = (now_ms, i64::try_from(seq).unwrap_or(i64::MAX));
        let size = position.size;
        of.wallet += gain - fee;
        self.isolate(account, symbol, order.idx, &Fill { side: order.side, qty, value, closed, was_open });
        self.fees += fee;
        order.left -= qty;
        order.filled += qty;
        order.value += value;
        order.fee += fee;
        order.closing.count(order.side, closed, part(value, closed, qty), gain, (open_fee, close_fee));
        order.updated = now_ms;
        order.status = if order.left.is_zero() { Status::Filled } else { Status::PartiallyFilled };
        let id = self.take_execution_number();
        if self.accounts[account].house {
            return;
        }
        let execution = Execution {
            id,
            order: order.id,
            link: order.link.clone(),
            symbol,
            side: order.side,
            px,
            qty,
            value,
            fee,
            rate,
            what: super::lifecycle::exec_type(order.create_type),
            time: now_ms,
            maker,
            closed,
            pnl: gain,
            mark,
            seq,
            order_px: order.px,
            order_qty: order.qty,
            leaves: order.left,
            order_kind: order.kind.text(),
            create_type: order.create_type,
            stop_type: order.stop_type,
        };
        self.record(account, execution, size);
    }

    /// Keeps an execution, its log line, and tells the stream.
    pub(super) fn record(&mut self, account: usize, execution: Execution, size: Qty) {
        let of = &mut self.accounts[account];
        let row = LogRow {
            id: execution.id,
            symbol: Some(execution.symbol),
            side: side_text(execution.side),
            time: execution.time,
            what: match execution.what {
                "BustTrade" => "LIQUIDATION",
                "AdlTrade" => "ADL",
                _ => "TRADE",
            },
            qty: execution.qty,
            size,
            px: execution.px,
            funding: Notional::ZERO,
            fee: execution.fee,
            cash_flow: execution.pnl,
            balance: of.wallet,
            rate: execution.rate,
            trade: execution.id,
            order: execution.order,
            link: execution.link.clone(),
            coin: "USDT".to_owned(),
        };
        remember(&mut of.log, row);
        of.executed(&execution);
        self.events.push(Event::Execution(account, Box::new(execution)));
    }
}

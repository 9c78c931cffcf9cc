//! The matching engine: price-time priority for any number of accounts, against each other and against a tape.
//!
//! In: checked requests and taped market data. Out: [`Event`]s, in the order they happened. Never: an order both open
//! and closed, a fill without a counterparty (the tape's is the market account, number 0), a refused request that
//! changed anything.

use super::account::{Account, LogRow, Position, part, remember};
use super::book::{Book, reaches};
use super::codes::{self, Refusal};
use super::order::{Amend, Closing, Execution, Kind, Order, Place, Smp, Status, Target, Tif, side_text};
use super::rng::mix;
use super::spec::{MARKET_BOUND_BPS, Spec, SymbolStatus};
use keel_core::event::Side;
use keel_core::units::{Notional, Px, Qty};
use std::collections::{BTreeMap, BTreeSet};

/// Open orders one account may have on one symbol; one more answers 110020.
pub(super) const MAX_OPEN: usize = 500;
/// The account on the other side of every fill against the tape, and of rounding.
pub(super) const MARKET: usize = 0;

/// Something a private stream or the public tape must say.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Order(Box<Order>),
    Execution(usize, Box<Execution>),
    /// Account, symbol, leg, and the position as it was then.
    Position(usize, usize, u8, Box<Position>),
    Wallet(usize),
    /// A public print: symbol, taker side, price, quantity.
    Print(usize, Side, Px, Qty),
    /// A liquidated quantity: symbol, side of the position, quantity, bankruptcy price.
    Liquidated(usize, Side, Qty, Px),
}

/// What the market of one symbol looks like to the engine.
#[derive(Clone, Debug, Default)]
pub(super) struct Quote {
    pub(super) last: Px,
    pub(super) mark: Px,
    pub(super) index: Px,
    /// Cross sequence of the matching engine.
    pub(super) seq: u64,
    /// 1e-8 per interval.
    pub(super) funding: i64,
}

/// Accounts, books and orders.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) specs: Vec<Spec>,
    pub(super) books: Vec<Book>,
    pub(super) quotes: Vec<Quote>,
    pub(super) accounts: Vec<Account>,
    pub(super) orders: BTreeMap<u64, Order>,
    /// Conditional orders that wait, by symbol.
    pub(super) stops: Vec<BTreeSet<u64>>,
    pub(super) events: Vec<Event>,
    /// What accounts paid the venue, net of rebates.
    pub(super) fees: Notional,
    pub(super) salt: u64,
    next_order: u64,
    next_execution: u64,
}

impl Engine {
    pub(super) fn new(specs: Vec<Spec>, seed: u64) -> Self {
        let symbols = specs.len();
        let quote = |spec: &Spec| Quote {
            last: spec.start_px,
            mark: spec.start_px,
            index: spec.start_px,
            seq: 1_000_000,
            funding: 10_000,
        };
        Self {
            books: vec![Book::default(); symbols],
            quotes: specs.iter().map(quote).collect(),
            specs,
            accounts: vec![Account::new(1, Notional::ZERO, symbols, true)],
            orders: BTreeMap::new(),
            stops: vec![BTreeSet::new(); symbols],
            events: Vec::new(),
            fees: Notional::ZERO,
            salt: mix(seed ^ 0x6b65_656c),
            next_order: 1,
            next_execution: 1,
        }
    }

    /// Text of an id: a version-4 shaped UUID that is a pure function of the seed and a counter.
    pub(super) fn uuid(&self, number: u64, space: u64) -> String {
        let high = mix(self.salt ^ number.wrapping_mul(0x1_0000_01b3) ^ space);
        let low = (number ^ self.salt) & 0xffff_ffff_ffff;
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            (high >> 4) & 0xfff,
            0x8000 | (space & 0xfff),
            low
        )
    }

    pub(super) fn order_id(&self, id: u64) -> String {
        self.uuid(id, 0)
    }

    pub(super) fn execution_id(&self, id: u64) -> String {
        self.uuid(id, 1)
    }

    /// The number behind an order id of ours; `None` for anything else.
    pub(super) fn parse_order_id(&self, text: &str) -> Option<u64> {
        let low = u64::from_str_radix(text.get(24..36)?, 16).ok()?;
        let number = (low ^ self.salt) & 0xffff_ffff_ffff;
        (self.order_id(number) == text).then_some(number)
    }

    pub(super) fn symbol(&self, name: &str) -> Option<usize> {
        self.specs.iter().position(|s| s.symbol() == name)
    }

    /// Fee rates of an account on a symbol: taker, maker.
    pub(super) fn rates(&self, account: usize, symbol: usize) -> (i64, i64) {
        let i = &self.specs[symbol].instrument;
        self.accounts[account].fees.unwrap_or((i.taker_fee, i.maker_fee))
    }

    /// Finds an open order of the account: by id first, then by link.
    pub(super) fn find(&self, account: usize, target: &Target) -> Option<u64> {
        let id = if target.id.is_empty() {
            *self.accounts[account].links.get(&target.link)?
        } else {
            self.parse_order_id(&target.id)?
        };
        let order = self.orders.get(&id)?;
        (order.account == account && order.symbol == target.symbol).then_some(id)
    }

    // ---- placing -------------------------------------------------------------------------------------------------

    /// Takes a new order. Refuses before anything changed; afterwards the order lives or dies by events.
    pub(super) fn place(&mut self, now_ms: u64, account: usize, mut place: Place) -> Result<u64, Refusal> {
        self.check_symbol(account, &place)?;
        self.check_link(account, &place)?;
        self.check_mode(account, &place)?;
        self.price(account, &mut place)?;
        self.check_filters(&place)?;
        self.trim_reduce_only(account, &mut place)?;
        self.check_room(account, &place)?;
        self.check_trigger(&place)?;
        self.check_margin(account, &place)?;
        // ---- nothing has changed above, nothing fails below
        let id = self.take_order_number();
        let order = self.admit(now_ms, id, account, place);
        if order.trigger.is_some() {
            let (symbol, idx) = (order.symbol, order.idx);
            self.accounts[account].open.insert(id);
            self.stops[symbol].insert(id);
            self.announce(&order);
            self.orders.insert(id, order);
            self.after(account, symbol, idx, false);
            return Ok(id);
        }
        self.execute(now_ms, order);
        Ok(id)
    }

    fn check_symbol(&self, account: usize, place: &Place) -> Result<(), Refusal> {
        let spec = &self.specs[place.symbol];
        if self.accounts[account].house {
            return Ok(());
        }
        match spec.status {
            SymbolStatus::Closed | SymbolStatus::PreLaunch => Err(codes::DELISTED),
            SymbolStatus::Delivering if !place.reduce_only => Err(codes::DELISTED),
            _ if spec.halted => Err(codes::HALTED),
            _ if self.accounts[account].frozen => Err(codes::NO_MARGIN),
            _ => Ok(()),
        }
    }

    fn check_link(&self, account: usize, place: &Place) -> Result<(), Refusal> {
        if place.link.is_empty() {
            return Ok(());
        }
        let legal = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_' || c == b'.';
        if place.link.len() > 45 || !place.link.bytes().all(legal) {
            return Err(Refusal::params("OrderLinkId invalid"));
        }
        if self.accounts[account].links.contains_key(&place.link) {
            return Err(codes::DUP_LINK);
        }
        Ok(())
    }

    fn check_mode(&self, account: usize, place: &Place) -> Result<(), Refusal> {
        match (self.accounts[account].hedge[place.symbol], place.idx) {
            (false, 0) | (true, 1 | 2) => Ok(()),
            _ => Err(codes::IDX_MISMATCH),
        }
    }

    /// Gives a market order its bound and keeps a limit inside the venue's band.
    fn price(&self, account: usize, place: &mut Place) -> Result<(), Refusal> {
        let (spec, quote) = (&self.specs[place.symbol], &self.quotes[place.symbol]);
        let tick = spec.instrument.tick;
        if place.kind == Kind::Market {
            let bound = self.market_bound(place).ok_or(Refusal::params("price invalid"))?;
            place.px = spec.instrument.passive(place.side, bound).max(spec.instrument.min_px);
            place.tif = Tif::Ioc;
            return Ok(());
        }
        if !place.px.is_multiple_of(tick) {
            return Err(Refusal::params("The price accuracy is invalid"));
        }
        if place.px < spec.instrument.min_px || place.px > spec.instrument.max_px {
            return Err(Refusal::params("price invalid"));
        }
        if quote.mark.is_zero() || self.accounts[account].house || place.trigger.is_some() {
            return Ok(());
        }
        let (highest, lowest) = self.band(place.symbol);
        let (beyond, edge) = match place.side {
            Side::Buy => (place.px > highest, highest.floor_to(tick)),
            Side::Sell => (place.px < lowest, lowest.ceil_to(tick)),
        };
        if beyond && self.accounts[account].band_rejects {
            return Err(codes::PRICE_BAND);
        }
        if beyond {
            place.px = edge;
        }
        Ok(())
    }

    pub(super) fn market_bound(&self, place: &Place) -> Option<Px> {
        use super::order::Slippage;
        let (book, quote) = (&self.books[place.symbol], &self.quotes[place.symbol]);
        let sign = if place.side == Side::Buy { 1 } else { -1 };
        match place.slippage {
            None => quote.mark.shift_bps(sign * MARKET_BOUND_BPS),
            Some(tolerance) => {
                let touch = book.touch(place.side.opposite())?;
                let reach = match tolerance {
                    Slippage::Ticks(n) => self.specs[place.symbol].instrument.tick.raw().checked_mul(n)?,
                    Slippage::Percent(p) => {
                        i64::try_from(i128::from(touch.raw()) * i128::from(p) / 10_000_000_000).ok()?
                    }
                };
                touch.raw().checked_add(sign * reach).map(Px::from_raw)
            }
        }
    }

    /// Highest buy and lowest sell price: the venue's May-2026 formula with a premium average of zero.
    pub(super) fn band(&self, symbol: usize) -> (Px, Px) {
        let (i, quote) = (&self.specs[symbol].instrument, &self.quotes[symbol]);
        let scaled = |px: Px, ratio: i64| {
            let moved = i128::from(px.raw()) * i128::from(100_000_000 + ratio) / 100_000_000;
            Px::from_raw(i64::try_from(moved).unwrap_or(px.raw()))
        };
        let highest = scaled(quote.mark, i.band_y).min(quote.index.max(scaled(quote.mark, i.band_x)));
        let lowest = scaled(quote.mark, -i.band_y).max(quote.index.min(scaled(quote.mark, -i.band_x)));
        (highest, lowest)
    }

    fn check_filters(&self, place: &Place) -> Result<(), Refusal> {
        let i = &self.specs[place.symbol].instrument;
        let close_all = place.qty.is_zero() && place.reduce_only && place.close_on_trigger;
        if close_all {
            return Ok(());
        }
        if place.qty <= Qty::ZERO || !place.qty.is_multiple_of(i.step) || place.qty < i.min_qty {
            return Err(Refusal::said(10001, "The number of contracts exceeds minimum limit allowed".to_owned()));
        }
        let most = if place.kind == Kind::Market { i.max_market_qty } else { i.max_qty };
        if place.qty > most && !place.reduce_only {
            let (asked, cap) = (place.qty.raw(), most.raw());
            return Err(Refusal::said(
                10001,
                format!(
                    "The number of contracts exceeds maximum limit allowed: too large, order_qty:{asked} > max_qty:{cap}"
                ),
            ));
        }
        let value = place.px.mul_floor(place.qty).ok_or(codes::QTY_ERR)?;
        if !place.reduce_only && value < i.min_notional {
            return Err(codes::MIN_NOTIONAL);
        }
        Ok(())
    }

    /// What an order on this leg may still close: the position against its side.
    pub(super) fn closable(&self, account: usize, symbol: usize, idx: u8, side: Side) -> Qty {
        let size = self.accounts[account].positions.get(&(symbol, idx)).map_or(Qty::ZERO, |p| p.size);
        match side {
            Side::Buy => (-size).max(Qty::ZERO),
            Side::Sell => size.max(Qty::ZERO),
        }
    }

    fn trim_reduce_only(&self, account: usize, place: &mut Place) -> Result<(), Refusal> {
        let closes_leg = matches!((place.idx, place.side), (1, Side::Sell) | (2, Side::Buy));
        if !(place.reduce_only || closes_leg) || place.trigger.is_some() {
            return Ok(());
        }
        let most = self.closable(account, place.symbol, place.idx, place.side);
        if most.is_zero() {
            return Err(codes::REDUCE_ZERO);
        }
        if place.qty > most || place.qty.is_zero() {
            place.qty = most;
        }
        Ok(())
    }

    fn check_room(&self, account: usize, place: &Place) -> Result<(), Refusal> {
        let of = &self.accounts[account];
        if of.house || of.open.len() < super::margin::MAX_STOPS {
            return Ok(());
        }
        let orders = of.open.iter().filter_map(|id| self.orders.get(id)).filter(|o| o.symbol == place.symbol);
        let (stops, active) =
            orders.fold((0, 0), |(s, a), o| if o.trigger.is_some() { (s + 1, a) } else { (s, a + 1) });
        match place.trigger {
            Some(_) if stops >= super::margin::MAX_STOPS => Err(codes::TOO_MANY_STOPS),
            None if active >= MAX_OPEN => Err(codes::TOO_MANY_ORDERS),
            _ => Ok(()),
        }
    }

    fn check_trigger(&self, place: &Place) -> Result<(), Refusal> {
        let Some(trigger) = place.trigger else { return Ok(()) };
        let now = self.trigger_px(place.symbol, trigger.by);
        match trigger.rise {
            true if trigger.px <= now => Err(codes::TRIGGER_BUY),
            false if trigger.px >= now => Err(codes::TRIGGER_SELL),
            _ => Ok(()),
        }
    }

    pub(super) fn admit(&mut self, now_ms: u64, id: u64, account: usize, place: Place) -> Order {
        if !place.link.is_empty() {
            self.accounts[account].links.insert(place.link.clone(), id);
        }
        Order {
            id,
            link: place.link,
            account,
            symbol: place.symbol,
            side: place.side,
            kind: place.kind,
            px: place.px,
            qty: place.qty,
            left: place.qty,
            filled: Qty::ZERO,
            value: Notional::ZERO,
            fee: Notional::ZERO,
            tif: place.tif,
            status: if place.trigger.is_some() { Status::Untriggered } else { Status::New },
            cancel: "UNKNOWN",
            reject: "EC_NoError",
            reduce_only: place.reduce_only,
            close_on_trigger: place.close_on_trigger,
            idx: place.idx,
            smp: place.smp,
            smp_order: 0,
            trigger: place.trigger,
            take_profit: place.take_profit,
            stop_loss: place.stop_loss,
            create_type: "CreateByUser",
            stop_type: if place.trigger.is_some() { "Stop" } else { "" },
            last_px: self.quotes[place.symbol].last,
            created: now_ms,
            updated: now_ms,
            ahead: Qty::ZERO,
            closing: Closing::default(),
        }
    }

    /// Lets an admitted order meet the book: it trades, rests or ends.
    pub(super) fn execute(&mut self, now_ms: u64, mut order: Order) {
        let away = order.side.opposite();
        let (account, symbol, idx) = (order.account, order.symbol, order.idx);
        if reduces(&order) {
            let most = self.closable(account, symbol, idx, order.side);
            if most.is_zero() {
                return self.end(now_ms, order, "CancelByReduceOnly", "EC_PerCancelRequest");
            }
            let over = (order.left - most).max(Qty::ZERO);
            (order.left, order.qty) = (order.left - over, order.qty - over);
        }
        let takes = self.books[symbol].touch(away).is_some_and(|px| reaches(away, px, order.px));
        if order.tif == Tif::PostOnly && takes {
            return self.end(now_ms, order, "UNKNOWN", "EC_PostOnlyWillTakeLiquidity");
        }
        if order.tif == Tif::Fok && self.books[symbol].depth(away, order.px, order.left) < order.left {
            return self.end(now_ms, order, "UNKNOWN", "EC_NoEnoughQtyToFill");
        }
        self.accounts[account].open.insert(order.id);
        let traded = if takes { self.take(now_ms, &mut order) } else { false };
        if order.left.is_zero() && order.status.open() {
            order.status = Status::Filled;
        }
        if order.status.open() && (order.tif == Tif::Ioc || order.tif == Tif::Fok) {
            return self.end(now_ms, order, "UNKNOWN", "EC_NoImmediateQtyToFill");
        }
        if !order.status.open() {
            self.announce(&order);
            self.accounts[account].file(order);
        } else {
            order.ahead = self.books[symbol].ghosts.side(order.side).get(&order.px).map_or(Qty::ZERO, |g| g.left());
            self.books[symbol].join(order.side, order.px, order.id, order.left);
            self.announce(&order);
            self.orders.insert(order.id, order);
        }
        self.after(account, symbol, idx, traded);
        if traded && !self.accounts[account].house {
            self.drop_reducers(now_ms, account, symbol, idx);
        }
    }

    /// Position (always) and wallet (when money moved) follow every request.
    pub(super) fn after(&mut self, account: usize, symbol: usize, idx: u8, traded: bool) {
        if self.accounts[account].house {
            return;
        }
        self.tell_position(account, symbol, idx);
        if traded {
            self.events.push(Event::Wallet(account));
        }
    }

    pub(super) fn tell_position(&mut self, account: usize, symbol: usize, idx: u8) {
        let position = Box::new(self.accounts[account].position(symbol, idx));
        self.events.push(Event::Position(account, symbol, idx, position));
    }

    /// Resting orders that could only reduce a position which is gone end with it.
    pub(super) fn drop_reducers(&mut self, now_ms: u64, account: usize, symbol: usize, idx: u8) {
        if self.accounts[account].house {
            return;
        }
        let dead = |o: &&Order| {
            let here = o.symbol == symbol && o.idx == idx && o.status != Status::Untriggered;
            here && o.reduce_only && self.closable(account, symbol, idx, o.side).is_zero()
        };
        let open = self.accounts[account].open.iter().filter_map(|id| self.orders.get(id));
        let gone: Vec<u64> = open.filter(dead).map(|o| o.id).collect();
        for id in gone {
            self.withdraw(now_ms, id, "CancelByReduceOnly", "EC_PerCancelRequest");
        }
    }

    pub(super) fn announce(&mut self, order: &Order) {
        if !self.accounts[order.account].house {
            self.events.push(Event::Order(Box::new(order.clone())));
        }
    }

    /// Ends an order that is in no queue.
    pub(super) fn end(&mut self, now_ms: u64, mut order: Order, cancel: &'static str, reject: &'static str) {
        let (account, symbol, idx, traded) = (order.account, order.symbol, order.idx, !order.filled.is_zero());
        order.status = if order.trigger.is_some() && order.status == Status::Untriggered {
            Status::Deactivated
        } else {
            Status::Cancelled
        };
        (order.cancel, order.reject, order.left, order.updated) = (cancel, reject, Qty::ZERO, now_ms);
        self.announce(&order);
        self.accounts[account].file(order);
        self.after(account, symbol, idx, traded);
    }

    // ---- matching ------------------------------------------------------------------------------------------------

    /// Trades `taker` against everything within its limit, best price first, oldest first. Says whether it traded.
    fn take(&mut self, now_ms: u64, taker: &mut Order) -> bool {
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

    fn take_ghost(&mut self, now_ms: u64, taker: &mut Order, px: Px, qty: Qty) {
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

    fn take_maker(&mut self, now_ms: u64, taker: &mut Order, px: Px, maker: u64) {
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
        let (account, symbol, idx) = (other.account, other.symbol, other.idx);
        self.settle_maker(other);
        self.drop_reducers(now_ms, account, symbol, idx);
        self.events.push(Event::Print(taker.symbol, taker.side, px, qty));
    }

    /// A resting order trades `qty` at its own price.
    pub(super) fn fill_maker(&mut self, now_ms: u64, maker: &mut Order, qty: Qty) {
        self.books[maker.symbol].shrink(maker.side, maker.px, qty);
        self.fill(now_ms, maker, maker.px, qty, true);
    }

    /// Puts a resting order back, or files it when it is done. Its queue already lost what it traded.
    pub(super) fn settle_maker(&mut self, mut maker: Order) {
        let (account, symbol, idx) = (maker.account, maker.symbol, maker.idx);
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
    }

    fn prevent(&mut self, now_ms: u64, taker: &mut Order, mut maker: Order) {
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
        if order.take_profit > Px::ZERO {
            position.take_profit = order.take_profit;
        }
        if order.stop_loss > Px::ZERO {
            position.stop_loss = order.stop_loss;
        }
        position.realised += gain - fee;
        position.realised_ever += gain - fee;
        (position.updated, position.seq) = (now_ms, i64::try_from(seq).unwrap_or(i64::MAX));
        let size = position.size;
        of.wallet += gain - fee;
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
        };
        remember(&mut of.log, row);
        remember(&mut of.executions, execution.clone());
        self.events.push(Event::Execution(account, Box::new(execution)));
    }

    pub(super) fn take_order_number(&mut self) -> u64 {
        self.next_order += 1;
        self.next_order - 1
    }

    pub(super) fn take_execution_number(&mut self) -> u64 {
        self.next_execution += 1;
        self.next_execution - 1
    }

    // ---- changing and ending ------------------------------------------------------------------------------------

    /// Cancels an open order by request.
    pub(super) fn cancel(&mut self, now_ms: u64, account: usize, target: &Target) -> Result<u64, Refusal> {
        let id = self.find(account, target).ok_or(codes::NO_ORDER_CANCEL)?;
        self.withdraw(now_ms, id, "CancelByUser", "EC_PerCancelRequest");
        Ok(id)
    }

    /// Takes an open order out of the book and ends it.
    pub(super) fn withdraw(&mut self, now_ms: u64, id: u64, cancel: &'static str, reject: &'static str) {
        let Some(order) = self.orders.remove(&id) else { return };
        if order.status == Status::Untriggered {
            self.stops[order.symbol].remove(&id);
        } else {
            self.books[order.symbol].leave(order.side, order.px, id, order.left);
        }
        self.end(now_ms, order, cancel, reject);
    }

    /// Changes price or quantity. A larger quantity or a new price loses time priority; a smaller quantity keeps it.
    pub(super) fn amend(
        &mut self,
        now_ms: u64,
        account: usize,
        target: &Target,
        change: &Amend,
    ) -> Result<u64, Refusal> {
        let id = self.find(account, target).ok_or(codes::NO_ORDER_REPLACE)?;
        let old = self.orders.get(&id).ok_or(codes::NO_ORDER_REPLACE)?;
        let place = self.amended(old, account, change)?;
        let (px, qty) = (place.px, place.qty);
        let trigger = place.trigger;
        // ---- nothing has changed above, nothing fails below
        let Some(mut order) = self.orders.remove(&id) else { return Err(codes::NO_ORDER_REPLACE) };
        order.updated = now_ms;
        (order.take_profit, order.stop_loss, order.trigger) = (place.take_profit, place.stop_loss, trigger);
        let (symbol, idx) = (order.symbol, order.idx);
        let keeps = px == order.px && qty <= order.qty;
        if order.status == Status::Untriggered {
            (order.px, order.qty, order.left) = (px, qty, qty);
            self.announce(&order);
            self.orders.insert(id, order);
            self.after(account, symbol, idx, false);
        } else if keeps {
            let less = order.qty - qty;
            self.books[symbol].shrink(order.side, px, less);
            (order.qty, order.left) = (qty, order.left - less);
            self.announce(&order);
            self.orders.insert(id, order);
            self.after(account, symbol, idx, false);
        } else {
            self.books[symbol].leave(order.side, order.px, id, order.left);
            (order.px, order.left, order.qty) = (px, qty - order.filled, qty);
            self.execute(now_ms, order);
        }
        Ok(id)
    }

    /// The order as it would be after `change`, checked like a new one.
    fn amended(&self, old: &Order, account: usize, change: &Amend) -> Result<Place, Refusal> {
        let mut trigger = old.trigger;
        if let (Some(t), Some(px)) = (&mut trigger, change.trigger_px) {
            t.px = px;
        }
        let mut place = Place {
            symbol: old.symbol,
            side: old.side,
            kind: Kind::Limit,
            qty: change.qty.unwrap_or(old.qty),
            px: change.px.unwrap_or(old.px),
            tif: old.tif,
            link: String::new(),
            reduce_only: old.reduce_only,
            close_on_trigger: old.close_on_trigger,
            idx: old.idx,
            smp: old.smp,
            trigger,
            slippage: None,
            take_profit: change.take_profit.unwrap_or(old.take_profit),
            stop_loss: change.stop_loss.unwrap_or(old.stop_loss),
        };
        let same = place.qty == old.qty && place.px == old.px && place.trigger == old.trigger;
        if same && place.take_profit == old.take_profit && place.stop_loss == old.stop_loss {
            return Err(codes::UNCHANGED);
        }
        if !place.qty.is_multiple_of(self.specs[old.symbol].instrument.step) {
            return Err(codes::QTY_ERR);
        }
        if place.qty <= old.filled {
            return Err(codes::QTY_BELOW_FILLED);
        }
        if self.specs[old.symbol].halted {
            return Err(codes::HALTED);
        }
        if old.kind == Kind::Limit {
            self.price(account, &mut place)?;
        }
        self.check_filters(&place)?;
        self.check_trigger(&place)?;
        self.check_margin_change(account, old, &place)?;
        Ok(place)
    }
}

/// May this order only make a position smaller?
pub(super) fn reduces(order: &Order) -> bool {
    order.reduce_only || matches!((order.idx, order.side), (1, Side::Sell) | (2, Side::Buy))
}

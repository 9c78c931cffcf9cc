//! A request on its way to the book: every check the venue makes, in its order, then the order itself.
//!
//! In: [`Place`]. Out: an order that lives or dies by events, or the venue's refusal. Never: a change before the last
//! check has passed.

use super::book::reaches;
use super::codes::{self, Refusal};
use super::engine::{Engine, Event, MAX_OPEN, reduces};
use super::guard::Parent;
use super::margin::{MAX_STOPS, Totals};
use super::order::{Closing, Kind, Order, Place, Slippage, Status, Tif};
use super::spec::{MARKET_BOUND_BPS, SymbolStatus};
use keel_core::event::Side;
use keel_core::units::{Notional, Px, Qty};

impl Engine {
    /// Takes a new order. Refuses before anything changed; afterwards the order lives or dies by events.
    pub(super) fn place(&mut self, now_ms: u64, account: usize, mut place: Place) -> Result<u64, Refusal> {
        self.check_symbol(account, &place)?;
        self.check_link(account, &place)?;
        self.check_mode(account, &place)?;
        self.price(account, &mut place)?;
        self.check_filters(&place)?;
        self.trim_reduce_only(account, &mut place)?;
        let parts = self.parts(account, &place);
        self.check_room(account, &place, parts)?;
        self.check_trigger(&place)?;
        self.check_exits(account, &place)?;
        self.check_margin(account, &place)?;
        // ---- nothing has changed above, nothing fails below
        let cap = self.largest(&place);
        let mut first = None;
        for _ in 1..parts {
            let rest = place.qty - cap;
            let next = Place { qty: rest, link: String::new(), ..place.clone() };
            let part = Place { qty: cap, ..std::mem::replace(&mut place, next) };
            let id = self.start(now_ms, account, part);
            first.get_or_insert(id);
        }
        let last = self.start(now_ms, account, place);
        Ok(first.unwrap_or(last))
    }

    /// The account's totals as they are, and as they would be with this order; refuses what [`Self::place`] would.
    pub(super) fn pre_check(&self, account: usize, mut place: Place) -> Result<(Totals, Totals), Refusal> {
        self.check_symbol(account, &place)?;
        self.check_link(account, &place)?;
        self.check_mode(account, &place)?;
        self.price(account, &mut place)?;
        self.check_filters(&place)?;
        self.trim_reduce_only(account, &mut place)?;
        self.check_exits(account, &place)?;
        self.check_margin(account, &place)?;
        Ok((self.totals(account), self.totals_after(account, &place)))
    }

    /// Puts a checked order where it belongs: among those that wait for a price, or in front of the book.
    fn start(&mut self, now_ms: u64, account: usize, place: Place) -> u64 {
        let id = self.take_order_number();
        let order = self.admit(now_ms, id, account, place);
        if order.trigger.is_some() {
            let (symbol, idx) = (order.symbol, order.idx);
            self.accounts[account].open.insert(id);
            self.stops[symbol].insert(id);
            self.announce(&order);
            self.orders.insert(id, order);
            self.after(account, symbol, idx, false);
            return id;
        }
        self.execute(now_ms, order);
        id
    }

    /// Largest quantity of one order of this kind.
    fn largest(&self, place: &Place) -> Qty {
        let i = &self.specs[place.symbol].instrument;
        (if place.kind == Kind::Market { i.max_market_qty } else { i.max_qty }).floor_to(i.step)
    }

    /// How many orders a request becomes: a reduce-only one beyond the largest order is split, no other.
    fn parts(&self, account: usize, place: &Place) -> usize {
        let cap = self.largest(place);
        if self.accounts[account].house || !place.reduce_only || cap.is_zero() || place.qty <= cap {
            return 1;
        }
        usize::try_from((place.qty.raw() - 1) / cap.raw() + 1).unwrap_or(usize::MAX)
    }

    pub(super) fn check_symbol(&self, account: usize, place: &Place) -> Result<(), Refusal> {
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

    pub(super) fn check_link(&self, account: usize, place: &Place) -> Result<(), Refusal> {
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

    pub(super) fn check_mode(&self, account: usize, place: &Place) -> Result<(), Refusal> {
        match (self.accounts[account].hedge[place.symbol], place.idx) {
            (false, 0) | (true, 1 | 2) => Ok(()),
            _ => Err(codes::IDX_MISMATCH),
        }
    }

    /// Gives a market order its bound and keeps a limit inside the venue's band.
    pub(super) fn price(&self, account: usize, place: &mut Place) -> Result<(), Refusal> {
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

    /// Highest buy and lowest sell price: the venue's May-2026 formula, `P` the 30 s average of middle less mark.
    pub(super) fn band(&self, symbol: usize) -> (Px, Px) {
        let (i, quote) = (&self.specs[symbol].instrument, &self.quotes[symbol]);
        let scaled = |px: Px, ratio: i64| {
            let moved = i128::from(px.raw()) * i128::from(100_000_000 + ratio) / 100_000_000;
            Px::from_raw(i64::try_from(moved).unwrap_or(px.raw()))
        };
        let drift = Px::from_raw(quote.model.drift);
        let (above, below) = (drift.max(Px::ZERO), drift.min(Px::ZERO));
        let highest = scaled(quote.mark, i.band_y).min(quote.index.max(scaled(quote.mark, i.band_x) + above));
        let lowest = scaled(quote.mark, -i.band_y).max(quote.index.min(scaled(quote.mark, -i.band_x) + below));
        (highest, lowest)
    }

    pub(super) fn check_filters(&self, place: &Place) -> Result<(), Refusal> {
        let i = &self.specs[place.symbol].instrument;
        let close_all = place.qty.is_zero() && place.reduce_only && place.close_on_trigger;
        if close_all {
            return Ok(());
        }
        if place.qty <= Qty::ZERO || !place.qty.is_multiple_of(i.step) || place.qty < i.min_qty {
            return Err(Refusal::said(10001, "The number of contracts exceeds minimum limit allowed".to_owned()));
        }
        if !place.reduce_only {
            self.check_largest(place)?;
        }
        let value = place.px.mul_floor(place.qty).ok_or(codes::QTY_ERR)?;
        if !place.reduce_only && value < i.min_notional {
            return Err(codes::MIN_NOTIONAL);
        }
        Ok(())
    }

    pub(super) fn check_largest(&self, place: &Place) -> Result<(), Refusal> {
        let most = self.largest(place);
        if place.qty <= most {
            return Ok(());
        }
        let (asked, cap) = (place.qty.raw(), most.raw());
        Err(Refusal::said(
            10001,
            format!(
                "The number of contracts exceeds maximum limit allowed: too large, order_qty:{asked} > max_qty:{cap}"
            ),
        ))
    }

    /// What an order on this leg may still close: the position against its side.
    pub(super) fn closable(&self, account: usize, symbol: usize, idx: u8, side: Side) -> Qty {
        let size = self.accounts[account].positions.get(&(symbol, idx)).map_or(Qty::ZERO, |p| p.size);
        match side {
            Side::Buy => (-size).max(Qty::ZERO),
            Side::Sell => size.max(Qty::ZERO),
        }
    }

    pub(super) fn trim_reduce_only(&self, account: usize, place: &mut Place) -> Result<(), Refusal> {
        let closes_leg = matches!((place.idx, place.side), (1, Side::Sell) | (2, Side::Buy));
        if !(place.reduce_only || closes_leg) || place.trigger.is_some() {
            return Ok(());
        }
        let most = self.closable(account, place.symbol, place.idx, place.side);
        if most.is_zero() {
            return Err(codes::REDUCE_ZERO);
        }
        // Zero means all, in one order.
        let all = if place.qty.is_zero() { most.min(self.largest(place)) } else { place.qty };
        place.qty = all.min(most);
        Ok(())
    }

    pub(super) fn check_room(&self, account: usize, place: &Place, parts: usize) -> Result<(), Refusal> {
        let of = &self.accounts[account];
        if of.house || of.open.len().saturating_add(parts) <= MAX_STOPS {
            return Ok(());
        }
        let orders = of.open.iter().filter_map(|id| self.orders.get(id)).filter(|o| o.symbol == place.symbol);
        let (stops, active) = orders
            .filter(|o| o.guard.is_none() || o.status != Status::Untriggered)
            .fold((0, 0), |(s, a), o| if o.status == Status::Untriggered { (s + 1, a) } else { (s, a + 1) });
        match place.trigger {
            Some(_) if parts.saturating_add(stops) > MAX_STOPS => Err(codes::TOO_MANY_STOPS),
            None if parts.saturating_add(active) > MAX_OPEN => Err(codes::TOO_MANY_ORDERS),
            _ => Ok(()),
        }
    }

    pub(super) fn check_trigger(&self, place: &Place) -> Result<(), Refusal> {
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
            exits: place.exits,
            guard: None,
            guarded: Qty::ZERO,
            parent_link: String::new(),
            create_type: if place.trigger.is_some() { "CreateByStopOrder" } else { "CreateByUser" },
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
        let parent = Parent::of(&mut order);
        self.settle_taker(now_ms, order, traded);
        if traded {
            self.drop_reducers(now_ms, account, symbol, idx);
            self.protect(now_ms, parent);
        }
    }

    /// A taker that met the book ends, or rests with what is left of it.
    fn settle_taker(&mut self, now_ms: u64, mut order: Order, traded: bool) {
        let (account, symbol, idx) = (order.account, order.symbol, order.idx);
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
        self.mind_guards(now_ms, (account, symbol, idx));
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
}

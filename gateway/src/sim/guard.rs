//! Take profit, stop loss, trailing stop: conditional reduce-only orders the venue keeps beside a position.
//!
//! In: what an order asked for when it filled ([`Engine::protect`]), what a client sets for a position
//! ([`Engine::set_stops`]), positions that changed, prices that moved. Out: orders that wait among the others, with the
//! venue's `stopOrderType` and `createType`. Never: a guard without a position, or one larger than it.
//!
//! ```text
//!  Full     one take profit, one stop loss, one trailing stop per leg; their quantity is the position's
//!  Partial  up to twenty of their own quantity; a pair set together ends together
//! ```

use super::codes::{self, Refusal};
use super::engine::Engine;
use super::order::{
    Exit, ExitChange, Exits, Guard, GuardKind, Kind, Order, Place, Smp, Status, Tif, Trigger, TriggerBy,
};
use keel_core::event::Side;
use keel_core::units::{Px, Qty};

/// Partial take profits and stop losses of one leg; one more answers 110061, and with an order it is left out.
const MAX_PARTIAL: usize = 20;
/// Why a guard ends with its position.
const CLEARED: &str = "CancelByTpSlTsClear";

/// Account, symbol, position index.
type Leg = (usize, usize, u8);

/// `position/trading-stop`.
#[derive(Clone, Debug)]
pub(super) struct Stops {
    pub(super) symbol: usize,
    pub(super) idx: u8,
    pub(super) partial: bool,
    pub(super) profit: ExitChange,
    pub(super) loss: ExitChange,
    pub(super) profit_size: Option<Qty>,
    pub(super) loss_size: Option<Qty>,
    pub(super) trailing: Option<Px>,
    pub(super) active: Option<Px>,
}

/// What a filled order leaves behind for its guards.
#[derive(Clone, Debug)]
pub(super) struct Parent {
    id: u64,
    link: String,
    leg: Leg,
    side: Side,
    exits: Exits,
    /// Opened since the guards last heard of it.
    fresh: Qty,
}

impl Parent {
    /// `None` when the order asks for nothing or opened nothing new. The order counts as heard.
    pub(super) fn of(order: &mut Order) -> Option<Self> {
        let opened = order.filled - order.closing.qty;
        let fresh = opened - order.guarded;
        if !order.exits.any() || fresh <= Qty::ZERO {
            return None;
        }
        order.guarded = opened;
        let leg = (order.account, order.symbol, order.idx);
        Some(Self { id: order.id, link: order.link.clone(), leg, side: order.side, exits: order.exits, fresh })
    }
}

impl GuardKind {
    const fn slot(self) -> usize {
        match self {
            Self::Profit => 0,
            Self::Loss => 1,
            Self::Trailing => 2,
        }
    }

    /// `createType` and `stopOrderType`.
    const fn words(self, partial: bool, activated: bool) -> (&'static str, &'static str) {
        match (self, partial) {
            (Self::Profit, false) => ("CreateByTakeProfit", "TakeProfit"),
            (Self::Profit, true) => ("CreateByPartialTakeProfit", "PartialTakeProfit"),
            (Self::Loss, false) => ("CreateByStopLoss", "StopLoss"),
            (Self::Loss, true) => ("CreateByPartialStopLoss", "PartialStopLoss"),
            (Self::Trailing, _) if activated => ("CreateByTrailingProfit", "TrailingStop"),
            (Self::Trailing, _) => ("CreateByTrailingStop", "TrailingStop"),
        }
    }
}

impl Engine {
    /// A fill opened something: what its order asked for begins to guard it.
    pub(super) fn protect(&mut self, now_ms: u64, parent: Option<Parent>) {
        let Some(parent) = parent.filter(|p| !self.accounts[p.leg.0].house) else { return };
        let size = self.accounts[parent.leg.0].position(parent.leg.1, parent.leg.2).size;
        if size.is_zero() || (size.raw() > 0) != (parent.side == Side::Buy) {
            return; // closed again meanwhile
        }
        if parent.exits.partial {
            return self.protect_part(now_ms, &parent, size.abs());
        }
        let change =
            |exit: Exit| ExitChange { px: (!exit.px.is_zero()).then_some(exit.px), by: Some(exit.by), limit: None };
        self.set_full(now_ms, parent.leg, change(parent.exits.profit), change(parent.exits.loss));
        self.tell_position(parent.leg.0, parent.leg.1, parent.leg.2);
    }

    fn protect_part(&mut self, now_ms: u64, parent: &Parent, most: Qty) {
        let of_parent = |o: &&Order| o.guard.is_some_and(|g| g.parent == parent.id);
        let grown: Vec<u64> = self.waiting(parent.leg).filter(of_parent).map(|o| o.id).collect();
        for id in &grown {
            let qty = self.orders.get(id).map_or(Qty::ZERO, |o| o.qty) + parent.fresh;
            self.resize(now_ms, *id, qty.min(most));
        }
        if grown.is_empty() && self.partials(parent.leg) < MAX_PARTIAL {
            let from = (parent.id, parent.link.as_str());
            self.add_part(now_ms, parent.leg, parent.exits, parent.fresh.min(most), from);
        }
    }

    /// A partial take profit, a partial stop loss, or a pair of both.
    fn add_part(&mut self, now_ms: u64, leg: Leg, exits: Exits, qty: Qty, from: (u64, &str)) {
        let mut made = Vec::new();
        for (kind, exit) in [(GuardKind::Profit, exits.profit), (GuardKind::Loss, exits.loss)] {
            if !exit.px.is_zero() {
                let guard =
                    Guard { kind, partial: true, pair: 0, parent: from.0, distance: Px::ZERO, active: Px::ZERO };
                made.push(self.add_guard(now_ms, leg, guard, exit, qty, from.1));
            }
        }
        if let [one, other] = made[..] {
            self.pair(one, other);
        }
    }

    fn pair(&mut self, one: u64, other: u64) {
        for (id, pair) in [(one, other), (other, one)] {
            if let Some(guard) = self.orders.get_mut(&id).and_then(|o| o.guard.as_mut()) {
                guard.pair = pair;
            }
        }
    }

    /// Takes a request about a position's stops. Refuses before anything changed.
    pub(super) fn set_stops(&mut self, now_ms: u64, account: usize, stops: &Stops) -> Result<(), Refusal> {
        let leg = (account, stops.symbol, stops.idx);
        let position = self.accounts[account].position(stops.symbol, stops.idx);
        if position.size.is_zero() {
            return Err(Refusal::params("can not set tp/sl/ts for zero position"));
        }
        let long = position.size.raw() > 0;
        for (kind, change) in [(GuardKind::Profit, stops.profit), (GuardKind::Loss, stops.loss)] {
            let by = change.by.unwrap_or_default();
            let base = self.trigger_px(stops.symbol, by);
            self.check_exit(stops.symbol, long, kind, change.px.unwrap_or(Px::ZERO), (base, by))?;
        }
        if stops.partial {
            let (exits, size) = self.partial_asked(leg, stops, position.size.abs())?;
            // ---- nothing has changed above, nothing fails below
            self.add_part(now_ms, leg, exits, size, (0, ""));
        } else {
            self.check_trailing(stops)?;
            let (profit, loss) = (stops.profit.of(position.exits.profit), stops.loss.of(position.exits.loss));
            let trails = stops.trailing.unwrap_or(position.trailing);
            let moved = stops.active.is_some_and(|px| !px.is_zero());
            if (profit, loss, trails) == (position.exits.profit, position.exits.loss, position.trailing) && !moved {
                return Err(codes::NOT_MODIFIED);
            }
            // ---- nothing has changed above, nothing fails below
            self.set_full(now_ms, leg, stops.profit, stops.loss);
            self.set_trailing(now_ms, leg, stops);
        }
        self.after(account, stops.symbol, stops.idx, false);
        Ok(())
    }

    fn partial_asked(&self, leg: Leg, stops: &Stops, most: Qty) -> Result<(Exits, Qty), Refusal> {
        let exits =
            Exits { profit: stops.profit.of(Exit::default()), loss: stops.loss.of(Exit::default()), partial: true };
        if !exits.any() || stops.trailing.is_some_and(|px| !px.is_zero()) {
            return Err(Refusal::params("takeProfit or stopLoss is required, trailingStop is for tpslMode Full"));
        }
        let sizes = [(exits.profit, stops.profit_size), (exits.loss, stops.loss_size)];
        let mut asked = sizes.iter().filter(|(exit, _)| !exit.px.is_zero()).map(|(_, size)| *size);
        let size = asked.next().flatten().ok_or(Refusal::params("tpSize or slSize invalid"))?;
        if asked.any(|other| other != Some(size)) {
            return Err(Refusal::params("the value of tpSize and slSize must equal"));
        }
        let step = self.specs[stops.symbol].instrument.step;
        if size <= Qty::ZERO || !size.is_multiple_of(step) {
            return Err(Refusal::params("tpSize or slSize invalid"));
        }
        if size > most {
            return Err(codes::GUARD_TOO_LARGE);
        }
        let more = usize::from(!exits.profit.px.is_zero()) + usize::from(!exits.loss.px.is_zero());
        if self.partials(leg) + more > MAX_PARTIAL {
            return Err(codes::TOO_MANY_GUARDS);
        }
        Ok((exits, size))
    }

    fn check_trailing(&self, stops: &Stops) -> Result<(), Refusal> {
        let tick = self.specs[stops.symbol].instrument.tick;
        let bad = |px: Option<Px>| px.is_some_and(|px| !px.is_multiple_of(tick));
        if bad(stops.trailing) || bad(stops.active) {
            return Err(Refusal::params("trailingStop or activePrice invalid"));
        }
        Ok(())
    }

    /// A take profit lies beyond the price in the position's favour, a stop loss on the other side of it.
    pub(super) fn check_exit(
        &self,
        symbol: usize,
        long: bool,
        kind: GuardKind,
        px: Px,
        (base, by): (Px, TriggerBy),
    ) -> Result<(), Refusal> {
        if px.is_zero() || base.is_zero() {
            return Ok(());
        }
        if !px.is_multiple_of(self.specs[symbol].instrument.tick) {
            return Err(Refusal::params("takeProfit or stopLoss invalid"));
        }
        let above = long == (kind == GuardKind::Profit);
        if (above && px > base) || (!above && px < base) {
            return Ok(());
        }
        let name = if kind == GuardKind::Profit { "TakeProfit" } else { "StopLoss" };
        let (side, word) = (if long { "Buy" } else { "Sell" }, if above { "higher" } else { "lower" });
        Err(Refusal::said(
            10001,
            format!(
                "{name}:{} set for {side} position should be {word} than base_price:{}??{}",
                px.raw(),
                base.raw(),
                by.text()
            ),
        ))
    }

    /// The take profit and stop loss of an order that is asked for, against where it would trade.
    pub(super) fn check_exits(&self, account: usize, place: &Place) -> Result<(), Refusal> {
        if !place.exits.any() || self.accounts[account].house {
            return Ok(());
        }
        if place.reduce_only {
            return Err(Refusal::params("takeProfit and stopLoss cannot be set on a reduce-only order"));
        }
        for (kind, exit) in [(GuardKind::Profit, place.exits.profit), (GuardKind::Loss, place.exits.loss)] {
            let base = match (place.kind, place.trigger) {
                (Kind::Limit, _) => place.px,
                (Kind::Market, Some(trigger)) => trigger.px,
                (Kind::Market, None) => self.trigger_px(place.symbol, exit.by),
            };
            self.check_exit(place.symbol, place.side == Side::Buy, kind, exit.px, (base, exit.by))?;
        }
        Ok(())
    }

    /// Sets, moves or removes the guards of a whole position. Changing one of a pair parts them.
    fn set_full(&mut self, now_ms: u64, leg: Leg, profit: ExitChange, loss: ExitChange) {
        let both = profit.px.is_some() && loss.px.is_some();
        for (kind, change) in [(GuardKind::Profit, profit), (GuardKind::Loss, loss)] {
            let Some(px) = change.px else { continue };
            let position = self.accounts[leg.0].position(leg.1, leg.2);
            let (id, old) = (
                position.guards[kind.slot()],
                if kind == GuardKind::Profit { position.exits.profit } else { position.exits.loss },
            );
            if id != 0 && !both {
                self.part(id);
            }
            let exit = change.of(old);
            if px.is_zero() {
                self.withdraw(now_ms, id, "CancelByUser", "EC_PerCancelRequest");
            } else if id == 0 {
                let guard = Guard { kind, partial: false, pair: 0, parent: 0, distance: Px::ZERO, active: Px::ZERO };
                self.add_guard(now_ms, leg, guard, Exit { limit: Px::ZERO, ..exit }, position.size.abs(), "");
            } else {
                self.move_guard(now_ms, id, exit);
            }
        }
        let guards = self.accounts[leg.0].position(leg.1, leg.2).guards;
        if both && guards[0] != 0 && guards[1] != 0 {
            self.pair(guards[0], guards[1]);
        }
    }

    /// Ends what binds a guard to its other half.
    fn part(&mut self, id: u64) {
        let pair = self.orders.get_mut(&id).and_then(|o| o.guard.as_mut()).map_or(0, |g| std::mem::take(&mut g.pair));
        if let Some(other) = self.orders.get_mut(&pair).and_then(|o| o.guard.as_mut()) {
            other.pair = 0;
        }
    }

    fn set_trailing(&mut self, now_ms: u64, leg: Leg, stops: &Stops) {
        let position = self.accounts[leg.0].position(leg.1, leg.2);
        let distance = stops.trailing.unwrap_or(position.trailing);
        if stops.trailing.is_none() && stops.active.is_none() {
            return;
        }
        let old = position.guards[GuardKind::Trailing.slot()];
        self.withdraw(now_ms, old, "CancelByUser", "EC_PerCancelRequest");
        if distance.is_zero() {
            return;
        }
        let active = stops.active.unwrap_or(Px::ZERO);
        let guard = Guard { kind: GuardKind::Trailing, partial: false, pair: 0, parent: 0, distance, active };
        self.add_guard(now_ms, leg, guard, Exit::default(), position.size.abs(), "");
        self.trail(leg.1);
    }

    /// Puts a guard among the orders that wait. The position has a size.
    fn add_guard(&mut self, now_ms: u64, leg: Leg, guard: Guard, exit: Exit, qty: Qty, link: &str) -> u64 {
        let (account, symbol, idx) = leg;
        let long = self.accounts[account].position(symbol, idx).size.raw() > 0;
        let place = Place {
            symbol,
            side: if long { Side::Sell } else { Side::Buy },
            kind: if exit.limit.is_zero() { Kind::Market } else { Kind::Limit },
            qty,
            px: exit.limit,
            tif: if exit.limit.is_zero() { Tif::Ioc } else { Tif::Gtc },
            link: String::new(),
            reduce_only: true,
            close_on_trigger: true,
            idx,
            smp: Smp::None,
            trigger: Some(Trigger { px: exit.px, rise: long == (guard.kind == GuardKind::Profit), by: exit.by }),
            slippage: None,
            exits: Exits { partial: guard.partial, ..Exits::default() },
        };
        let id = self.take_order_number();
        let mut order = self.admit(now_ms, id, account, place);
        (order.create_type, order.stop_type) = guard.kind.words(guard.partial, !guard.active.is_zero());
        (order.guard, order.parent_link) = (Some(guard), link.to_owned());
        self.accounts[account].open.insert(id);
        self.stops[symbol].insert(id);
        if !guard.partial
            && let Some(p) = self.accounts[account].positions.get_mut(&(symbol, idx))
        {
            p.guards[guard.kind.slot()] = id;
            match guard.kind {
                GuardKind::Profit => p.exits.profit = exit,
                GuardKind::Loss => p.exits.loss = exit,
                GuardKind::Trailing => p.trailing = guard.distance,
            }
        }
        self.announce(&order);
        self.orders.insert(id, order);
        id
    }

    fn move_guard(&mut self, now_ms: u64, id: u64, exit: Exit) {
        let Some(mut order) = self.orders.remove(&id) else { return };
        if let Some(trigger) = &mut order.trigger {
            (trigger.px, trigger.by) = (exit.px, exit.by);
        }
        order.updated = now_ms;
        self.guard_moved(&order);
        self.announce(&order);
        self.orders.insert(id, order);
    }

    /// The position shows where its guard stands.
    pub(super) fn guard_moved(&mut self, order: &Order) {
        let (Some(guard), Some(trigger)) = (order.guard.filter(|g| !g.partial), order.trigger) else { return };
        let Some(p) = self.accounts[order.account].positions.get_mut(&(order.symbol, order.idx)) else { return };
        let exit = Exit { px: trigger.px, by: trigger.by, limit: Px::ZERO };
        match guard.kind {
            GuardKind::Profit => p.exits.profit = exit,
            GuardKind::Loss => p.exits.loss = exit,
            GuardKind::Trailing => {}
        }
    }

    fn resize(&mut self, now_ms: u64, id: u64, qty: Qty) {
        let Some(mut order) = self.orders.remove(&id) else { return };
        if order.qty != qty {
            (order.qty, order.left, order.updated) = (qty, qty, now_ms);
            self.announce(&order);
        }
        self.orders.insert(id, order);
    }

    /// A position changed: guards of what is gone end, the others fit what is left.
    pub(super) fn mind_guards(&mut self, now_ms: u64, leg: Leg) {
        let size = self.accounts[leg.0].position(leg.1, leg.2).size;
        let all: Vec<(u64, Side, Qty, bool)> =
            self.waiting(leg).filter_map(|o| o.guard.map(|g| (o.id, o.side, o.qty, g.partial))).collect();
        for (id, side, qty, partial) in all {
            if size.is_zero() || (size.raw() > 0) != (side == Side::Sell) {
                self.withdraw(now_ms, id, CLEARED, "EC_PerCancelRequest");
            } else {
                self.resize(now_ms, id, if partial { qty.min(size.abs()) } else { size.abs() });
            }
        }
    }

    /// A guard no longer waits: its position forgets it. Returns its other half.
    pub(super) fn let_go(&mut self, order: &Order) -> u64 {
        let Some(guard) = order.guard else { return 0 };
        let leg = self.accounts[order.account].positions.get_mut(&(order.symbol, order.idx));
        if let Some(p) = leg.filter(|p| p.guards[guard.kind.slot()] == order.id) {
            p.guards[guard.kind.slot()] = 0;
            match guard.kind {
                GuardKind::Profit => p.exits.profit = Exit::default(),
                GuardKind::Loss => p.exits.loss = Exit::default(),
                GuardKind::Trailing => p.trailing = Px::ZERO,
            }
        }
        guard.pair
    }

    /// A guard fires. Of a partial pair only one does; the halves of a full one end with the position.
    pub(super) fn guard_fired(&mut self, now_ms: u64, order: &Order) {
        let pair = self.let_go(order);
        if order.guard.is_some_and(|g| g.partial) {
            self.withdraw(now_ms, pair, CLEARED, "EC_PerCancelRequest");
        } else if let Some(other) = self.orders.get_mut(&pair).and_then(|o| o.guard.as_mut()) {
            other.pair = 0;
        }
    }

    /// Trailing stops follow the last price, once it has reached where they begin.
    pub(super) fn trail(&mut self, symbol: usize) {
        let last = self.quotes[symbol].last;
        if last.is_zero() || self.stops[symbol].is_empty() {
            return;
        }
        for id in &self.stops[symbol] {
            let Some(order) = self.orders.get_mut(id) else { continue };
            let (Some(guard), Some(trigger)) = (&mut order.guard, &mut order.trigger) else { continue };
            if guard.kind != GuardKind::Trailing {
                continue;
            }
            let reached = if trigger.rise { last <= guard.active } else { last >= guard.active };
            if !guard.active.is_zero() && trigger.px.is_zero() && !reached {
                continue;
            }
            let (below, above) = (last - guard.distance, last + guard.distance);
            trigger.px = match (trigger.rise, trigger.px.is_zero()) {
                (false, _) => trigger.px.max(below),
                (true, true) => above,
                (true, false) => trigger.px.min(above),
            };
        }
    }

    /// Orders of a leg that wait for a price.
    fn waiting(&self, (account, symbol, idx): Leg) -> impl Iterator<Item = &Order> {
        let all = self.stops[symbol].iter().filter_map(|id| self.orders.get(id));
        all.filter(move |o| o.account == account && o.idx == idx && o.status == Status::Untriggered)
    }

    fn partials(&self, leg: Leg) -> usize {
        self.waiting(leg).filter(|o| o.guard.is_some_and(|g| g.partial)).count()
    }
}

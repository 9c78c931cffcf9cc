//! Amending and cancelling, by request.

use super::codes::{self, Refusal};
use super::engine::Engine;
use super::order::{Amend, Exits, GuardKind, Kind, Order, Place, Status, Target};

impl Engine {
    /// Cancels an open order by request.
    pub(super) fn cancel(&mut self, now_ms: u64, account: usize, target: &Target) -> Result<u64, Refusal> {
        let id = self.find(account, target).ok_or(codes::NO_ORDER_CANCEL)?;
        self.withdraw(now_ms, id, "CancelByUser", "EC_PerCancelRequest");
        Ok(id)
    }

    /// Takes an open order out of the book and ends it.
    pub(super) fn withdraw(&mut self, now_ms: u64, id: u64, cancel: &'static str, reject: &'static str) {
        let Some(order) = self.orders.remove(&id) else { return };
        let mut pair = 0;
        if order.status == Status::Untriggered {
            self.stops[order.symbol].remove(&id);
            pair = self.let_go(&order);
        } else {
            self.books[order.symbol].leave(order.side, order.px, id, order.left);
        }
        self.end(now_ms, order, cancel, reject);
        if pair != 0 {
            self.withdraw(now_ms, pair, cancel, reject);
        }
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
        (order.exits, order.trigger) = (place.exits, trigger);
        self.guard_moved(&order);
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
    pub(super) fn amended(&self, old: &Order, account: usize, change: &Amend) -> Result<Place, Refusal> {
        let mut trigger = old.trigger;
        if let Some(t) = &mut trigger {
            (t.px, t.by) = (change.trigger_px.unwrap_or(t.px), change.trigger_by.unwrap_or(t.by));
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
            exits: Exits {
                profit: change.profit.of(old.exits.profit),
                loss: change.loss.of(old.exits.loss),
                partial: change.partial.unwrap_or(old.exits.partial),
            },
        };
        let same = place.qty == old.qty && place.px == old.px && place.trigger == old.trigger;
        if same && place.exits == old.exits {
            return Err(codes::UNCHANGED);
        }
        self.check_exit_change(account, old, &place)?;
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
        if place.qty > old.qty {
            self.check_largest(&place)?;
        }
        self.check_trigger(&place)?;
        self.check_margin_change(account, old, &place)?;
        Ok(place)
    }

    /// Take profits of an order that already trades stay; of a guard only what it is made of may change.
    fn check_exit_change(&self, account: usize, old: &Order, place: &Place) -> Result<(), Refusal> {
        if place.exits != old.exits && (!old.filled.is_zero() || old.guard.is_some()) {
            return Err(codes::EXITS_FIXED);
        }
        if let Some(guard) = old.guard.filter(|_| old.status == Status::Untriggered) {
            let moved = place.trigger != old.trigger && guard.kind == GuardKind::Trailing;
            let sized = place.qty != old.qty
                && (!guard.partial || place.qty > old.qty.max(self.closable(account, old.symbol, old.idx, old.side)));
            let limit = place.px != old.px && old.kind == Kind::Market;
            if moved || sized || limit {
                return Err(codes::GUARD_FIXED);
            }
        }
        let limited = !place.exits.profit.limit.is_zero() || !place.exits.loss.limit.is_zero();
        if limited && !place.exits.partial {
            return Err(Refusal::params("tpslMode must be Partial for a limit take profit or stop loss"));
        }
        if place.exits == old.exits { Ok(()) } else { self.check_exits(account, place) }
    }
}

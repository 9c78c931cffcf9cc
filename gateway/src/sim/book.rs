//! One symbol's book: orders queued by price and time, and beside them the taped quantities nobody here owns.
//!
//! ```text
//!  price   queue (accounts, oldest first)      ghost (the tape)
//!  100.1   [o7 ahead 2.0] [o9 ahead 5.1]       qty 6.0, taken 0.5
//! ```
//!
//! `ahead` counts the taped quantity that stood at the price before an order joined it.

use keel_core::event::Side;
use keel_core::units::{Px, Qty};
use std::collections::{BTreeMap, VecDeque};

/// Orders at one price, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    pub(super) orders: VecDeque<u64>,
    pub(super) total: Qty,
}

/// A taped level: displayed, and what takers here already took of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ghost {
    pub(super) qty: Qty,
    pub(super) taken: Qty,
}

impl Ghost {
    pub(super) fn left(self) -> Qty {
        (self.qty - self.taken).max(Qty::ZERO)
    }
}

/// Both sides of one kind of level. Bids are walked from the highest price, asks from the lowest.
#[derive(Clone, Debug)]
pub(super) struct Ladder<T> {
    bids: BTreeMap<Px, T>,
    asks: BTreeMap<Px, T>,
}

impl<T> Default for Ladder<T> {
    fn default() -> Self {
        Self { bids: BTreeMap::new(), asks: BTreeMap::new() }
    }
}

impl<T> Ladder<T> {
    pub(super) fn side(&self, side: Side) -> &BTreeMap<Px, T> {
        if side == Side::Buy { &self.bids } else { &self.asks }
    }

    pub(super) fn side_mut(&mut self, side: Side) -> &mut BTreeMap<Px, T> {
        if side == Side::Buy { &mut self.bids } else { &mut self.asks }
    }

    /// Levels of `side` from the best price on.
    pub(super) fn walk(&self, side: Side) -> Box<dyn Iterator<Item = (Px, &T)> + '_> {
        match side {
            Side::Buy => Box::new(self.bids.iter().rev().map(|(px, level)| (*px, level))),
            Side::Sell => Box::new(self.asks.iter().map(|(px, level)| (*px, level))),
        }
    }

    pub(super) fn best(&self, side: Side) -> Option<(Px, &T)> {
        match side {
            Side::Buy => self.bids.last_key_value().map(|(px, level)| (*px, level)),
            Side::Sell => self.asks.first_key_value().map(|(px, level)| (*px, level)),
        }
    }

    pub(super) fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
    }
}

/// Is a level at `px` on `side` within reach of an order on the other side limited to `limit`?
pub(super) fn reaches(side: Side, px: Px, limit: Px) -> bool {
    match side {
        Side::Buy => px >= limit,
        Side::Sell => px <= limit,
    }
}

/// A symbol's orders and its tape.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    pub(super) queues: Ladder<Queue>,
    pub(super) ghosts: Ladder<Ghost>,
}

impl Book {
    pub(super) fn join(&mut self, side: Side, px: Px, id: u64, qty: Qty) {
        let queue = self.queues.side_mut(side).entry(px).or_default();
        queue.orders.push_back(id);
        queue.total += qty;
    }

    /// Takes an order out of its queue with what is left of it.
    pub(super) fn leave(&mut self, side: Side, px: Px, id: u64, left: Qty) {
        let levels = self.queues.side_mut(side);
        let Some(queue) = levels.get_mut(&px) else { return };
        if let Some(at) = queue.orders.iter().position(|o| *o == id) {
            queue.orders.remove(at);
            queue.total -= left;
        }
        if queue.orders.is_empty() {
            levels.remove(&px);
        }
    }

    /// Some of a queue traded.
    pub(super) fn shrink(&mut self, side: Side, px: Px, qty: Qty) {
        if let Some(queue) = self.queues.side_mut(side).get_mut(&px) {
            queue.total -= qty;
        }
    }

    /// The best price on `side` at which something can trade.
    pub(super) fn touch(&self, side: Side) -> Option<Px> {
        let real = self.queues.best(side).map(|(px, _)| px);
        let ghost = self.ghosts.walk(side).find(|(_, ghost)| !ghost.left().is_zero()).map(|(px, _)| px);
        match (real, ghost) {
            (Some(a), Some(b)) => Some(if side == Side::Buy { a.max(b) } else { a.min(b) }),
            (one, other) => one.or(other),
        }
    }

    /// What a taker limited to `limit` could get from `side`, counted up to `enough`.
    pub(super) fn depth(&self, side: Side, limit: Px, enough: Qty) -> Qty {
        let mut sum = Qty::ZERO;
        for (_, queue) in self.queues.walk(side).take_while(|(px, _)| reaches(side, *px, limit)) {
            sum += queue.total;
            if sum >= enough {
                return enough;
            }
        }
        for (_, ghost) in self.ghosts.walk(side).take_while(|(px, _)| reaches(side, *px, limit)) {
            sum += ghost.left();
            if sum >= enough {
                return enough;
            }
        }
        sum
    }

    /// The best price, quantity shown there (orders and tape together).
    pub(super) fn shown(&self, side: Side) -> Option<(Px, Qty)> {
        let px = self.touch(side)?;
        let real = self.queues.side(side).get(&px).map_or(Qty::ZERO, |q| q.total);
        let ghost = self.ghosts.side(side).get(&px).map_or(Qty::ZERO, |g| g.left());
        Some((px, real + ghost))
    }
}

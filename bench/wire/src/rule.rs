//! The rule every client follows, as a strategy of keel's; beside it, for long runs, the quoter on every other instrument.

use crate::allocations;
use keel_core::desk::View;
use keel_core::event::Side;
use keel_core::ids::{InstrumentId, StrategyId};
use keel_core::strategy::{Quoter, QuoterParams, Strategy, Wish, Wishes};
use keel_core::units::Px;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Orders that warm a run up before allocations are counted.
const WARM: u64 = 500;

/// What the rule has done, for whoever waits outside.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Orders asked for.
    pub(crate) asked: AtomicU64,
    /// Allocations of the engine's thread when it was warm, and at the last order.
    warm: AtomicU64,
    last: AtomicU64,
}

impl Seen {
    /// Allocations of the engine's thread since it was warm, and the orders asked for meanwhile.
    pub(crate) fn allocations(&self) -> (u64, u64) {
        let since = self.last.load(Ordering::Acquire).saturating_sub(self.warm.load(Ordering::Acquire));
        (since, self.asked.load(Ordering::Acquire).saturating_sub(WARM))
    }

    /// Single writer: the engine's thread.
    fn note(&self) {
        let asked = self.asked.load(Ordering::Relaxed) + 1;
        let now = allocations::of_this_thread();
        if asked <= WARM {
            self.warm.store(now, Ordering::Release);
        }
        self.last.store(now, Ordering::Release);
        self.asked.store(asked, Ordering::Release);
    }
}

/// Asks for what is at the best bid whenever that is another price: nothing ever is, the order ends at once.
#[derive(Debug)]
pub(crate) struct Follower {
    last: Px,
    seen: Arc<Seen>,
    quoter: Quoter,
}

impl Follower {
    /// On the first instrument; the quoter has the others.
    pub(crate) fn new(seen: Arc<Seen>) -> Self {
        Self { last: Px::default(), seen, quoter: Quoter::new(StrategyId(0), QuoterParams::default()) }
    }
}

impl Strategy for Follower {
    fn id(&self) -> StrategyId {
        StrategyId(0)
    }

    fn think(&mut self, view: &View<'_>, instrument: InstrumentId, wishes: &mut Wishes) {
        if instrument != InstrumentId(0) {
            return self.quoter.think(view, instrument, wishes);
        }
        let Some(touch) = view.desk.seat(instrument).and_then(|seat| seat.touch()) else { return };
        if touch.bid.px != self.last {
            self.last = touch.bid.px;
            self.seen.note();
            wishes.push(Wish::Take { side: Side::Buy, limit: touch.bid.px, reduce: false });
        }
    }

    fn refused(&mut self, view: &View<'_>, instrument: InstrumentId, wish: &Wish) {
        if instrument != InstrumentId(0) {
            self.quoter.refused(view, instrument, wish);
        }
    }
}

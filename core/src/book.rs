//! One instrument's order book.
//!
//! In: the parts of a message, in order. Out: touch, depth. Each side is one array sorted from the touch outwards, so
//! reading the touch is an index and most changes move a few neighbours. Never: an allocation after the start, a level
//! of zero quantity, a silently dropped level inside the depth.
//!
//! ```text
//!   bids  63943.90  63943.80  63943.20 ...      best first, descending
//!   asks  63944.00  63946.00  63946.30 ...      best first, ascending
//! ```

use crate::event::{BookUpdate, HealthReason, Level, Side};
use crate::units::{Px, Qty};

/// Best bid and best ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touch {
    /// Best bid.
    pub bid: Level,
    /// Best ask.
    pub ask: Level,
}

impl Touch {
    /// The best level a side rests at.
    #[must_use]
    pub const fn of(&self, side: Side) -> Level {
        match side {
            Side::Buy => self.bid,
            Side::Sell => self.ask,
        }
    }

    /// Half way between bid and ask, rounded down.
    #[must_use]
    pub const fn mid(&self) -> Px {
        Px::from_raw((self.bid.px.raw() + self.ask.px.raw()) / 2)
    }
}

#[derive(Clone, Debug)]
struct Ladder {
    levels: Vec<Level>,
    side: Side,
}

impl Ladder {
    fn new(side: Side, capacity: usize) -> Self {
        Self { levels: Vec::with_capacity(capacity), side }
    }

    fn outranks(&self, a: Px, b: Px) -> bool {
        match self.side {
            Side::Buy => a > b,
            Side::Sell => a < b,
        }
    }

    fn set(&mut self, level: Level) -> Result<(), HealthReason> {
        let at = self.levels.partition_point(|have| self.outranks(have.px, level.px));
        let present = self.levels.get(at).is_some_and(|have| have.px == level.px);
        match (present, level.qty.is_zero()) {
            (true, true) => drop(self.levels.remove(at)),
            (true, false) => self.levels[at].qty = level.qty,
            (false, true) => {}
            (false, false) if self.levels.len() == self.levels.capacity() => return Err(HealthReason::Overflow),
            (false, false) => self.levels.insert(at, level),
        }
        Ok(())
    }
}

/// The book.
#[derive(Clone, Debug)]
pub struct Book {
    bids: Ladder,
    asks: Ladder,
    u: u64,
}

impl Book {
    /// An empty book with room for `capacity` levels a side.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { bids: Ladder::new(Side::Buy, capacity), asks: Ladder::new(Side::Sell, capacity), u: 0 }
    }

    /// Forgets every level.
    pub fn clear(&mut self) {
        self.bids.levels.clear();
        self.asks.levels.clear();
        self.u = 0;
    }

    /// Applies one part of a message. On an error the book must not be used until the next snapshot.
    pub fn apply(&mut self, update: &BookUpdate) -> Result<(), HealthReason> {
        if update.has(BookUpdate::SNAPSHOT) && update.has(BookUpdate::FIRST) {
            self.clear();
        }
        for level in update.bid_levels() {
            self.bids.set(*level)?;
        }
        for level in update.ask_levels() {
            self.asks.set(*level)?;
        }
        self.u = update.u;
        Ok(())
    }

    /// Best bid and ask; `None` while either side is empty or they cross.
    #[must_use]
    pub fn touch(&self) -> Option<Touch> {
        let touch = Touch { bid: *self.bids.levels.first()?, ask: *self.asks.levels.first()? };
        (touch.bid.px < touch.ask.px).then_some(touch)
    }

    /// Best bid at or above best ask.
    #[must_use]
    pub fn is_crossed(&self) -> bool {
        matches!((self.bids.levels.first(), self.asks.levels.first()), (Some(bid), Some(ask)) if bid.px >= ask.px)
    }

    /// Levels of a side, best first.
    #[must_use]
    pub fn levels(&self, side: Side) -> &[Level] {
        match side {
            Side::Buy => &self.bids.levels,
            Side::Sell => &self.asks.levels,
        }
    }

    /// Quantity resting at exactly this price.
    #[must_use]
    pub fn at(&self, side: Side, px: Px) -> Qty {
        let levels = self.levels(side);
        levels.iter().find(|level| level.px == px).map_or(Qty::ZERO, |level| level.qty)
    }

    /// Update id of the last message applied.
    #[must_use]
    pub const fn update_id(&self) -> u64 {
        self.u
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Origin;
    use crate::ids::InstrumentId;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn update(flags: u8, bids: &[(i64, i64)], asks: &[(i64, i64)]) -> BookUpdate {
        let mut update = BookUpdate::empty(InstrumentId(0), 50, Origin::default(), 1);
        update.flags = flags | BookUpdate::FIRST | BookUpdate::LAST;
        for (slot, (px, qty)) in bids.iter().chain(asks).enumerate() {
            update.levels[slot] = Level { px: Px::from_raw(*px), qty: Qty::from_raw(*qty) };
        }
        update.bids = u8::try_from(bids.len()).unwrap();
        update.asks = u8::try_from(asks.len()).unwrap();
        update
    }

    #[test]
    fn a_full_ladder_says_so_and_a_snapshot_starts_over() {
        let mut book = Book::new(2);
        book.apply(&update(BookUpdate::SNAPSHOT, &[(10, 1), (9, 1)], &[(11, 1)])).unwrap();
        assert_eq!(book.apply(&update(0, &[(8, 1)], &[])), Err(HealthReason::Overflow));
        book.apply(&update(BookUpdate::SNAPSHOT, &[(7, 3)], &[(8, 2)])).unwrap();
        assert_eq!(book.touch().map(|t| (t.bid.px.raw(), t.ask.px.raw())), Some((7, 8)));
    }

    #[test]
    fn a_crossed_or_empty_book_has_no_touch() {
        let mut book = Book::new(4);
        assert!(book.touch().is_none() && !book.is_crossed());
        book.apply(&update(0, &[(12, 1)], &[(11, 1)])).unwrap();
        assert!(book.touch().is_none() && book.is_crossed());
    }

    proptest! {
        #[test]
        fn equals_a_naive_map(changes in prop::collection::vec((any::<bool>(), 1i64..40, 0i64..4), 1..200)) {
            let mut book = Book::new(64);
            let mut naive = [BTreeMap::new(), BTreeMap::new()];
            for (buy, px, qty) in changes {
                let (side, map) = if buy { (Side::Buy, 0) } else { (Side::Sell, 1) };
                let px = if buy { px } else { px + 100 };
                let (bids, asks) = if buy { (vec![(px, qty)], vec![]) } else { (vec![], vec![(px, qty)]) };
                book.apply(&update(0, &bids, &asks)).unwrap();
                if qty == 0 { naive[map].remove(&px); } else { naive[map].insert(px, qty); }
                let mut expected: Vec<_> = naive[map].iter().map(|(p, q)| (*p, *q)).collect();
                if buy { expected.reverse(); }
                let have: Vec<_> = book.levels(side).iter().map(|l| (l.px.raw(), l.qty.raw())).collect();
                prop_assert_eq!(have, expected);
            }
        }
    }
}

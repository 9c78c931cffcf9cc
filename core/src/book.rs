//! One instrument's order book.
//!
//! In: the parts of a message, in order. Out: touch, depth. Each side is one sorted run, best first, inside a longer
//! buffer with room on both ends: a change moves whichever neighbours are fewer, so changes near the touch move a few
//! levels and changes far away a few others. Never: an allocation after the start, a level of zero quantity, a silently
//! dropped level inside the depth.
//!
//! ```text
//!   bids  . . . 63943.90  63943.80  63943.20 ... . . .      best first, descending
//!   asks  . . . 63944.00  63946.00  63946.30 ... . . .      best first, ascending
//!               ^ head                        ^ head + len
//! ```
//!
//! Within one message a side may swell to twice its capacity, because the venue lists what enters the window before it
//! has listed everything that leaves; after the message it must fit again.

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

/// Levels whose places are searched together.
const BATCH: usize = 16;

#[derive(Clone, Debug)]
struct Ladder {
    slots: Box<[Level]>,
    head: usize,
    len: usize,
    capacity: usize,
}

impl Ladder {
    fn new(capacity: usize) -> Self {
        let slots = vec![Level::default(); (4 * capacity).max(4)].into_boxed_slice();
        Self { head: slots.len() / 4, slots, len: 0, capacity }
    }

    fn levels(&self) -> &[Level] {
        &self.slots[self.head..self.head + self.len]
    }

    fn clear(&mut self) {
        self.head = self.slots.len() / 4;
        self.len = 0;
    }

    /// Place of the first level that does not outrank `px`.
    #[inline]
    fn place<const BIDS: bool>(&self, px: Px) -> usize {
        self.levels().partition_point(|have| if BIDS { have.px > px } else { have.px < px })
    }

    /// Applies changes. The venue lists them best first: then all places of a batch are searched before the first level
    /// moves, so that no search waits for another, and each place moves on by what was inserted and removed before it.
    /// Out of order costs time, nothing else.
    #[inline]
    fn change<const BIDS: bool>(&mut self, changes: &[Level]) -> Result<(), HealthReason> {
        for batch in changes.chunks(BATCH) {
            let in_order = batch.windows(2).all(|two| if BIDS { two[0].px > two[1].px } else { two[0].px < two[1].px });
            if !in_order {
                for level in batch {
                    self.set(self.place::<BIDS>(level.px), *level)?;
                }
                continue;
            }
            let mut places = [0; BATCH];
            for (place, level) in places.iter_mut().zip(batch) {
                *place = self.place::<BIDS>(level.px);
            }
            let before = self.len;
            for (place, level) in places.iter().zip(batch) {
                self.set((place + self.len) - before, *level)?;
            }
        }
        Ok(())
    }

    /// Writes a level whose place is known.
    #[inline]
    fn set(&mut self, at: usize, level: Level) -> Result<(), HealthReason> {
        let present = at < self.len && self.levels()[at].px == level.px;
        match (present, level.qty.is_zero()) {
            (true, true) => self.remove(at),
            (true, false) => self.slots[self.head + at].qty = level.qty,
            (false, true) => {}
            (false, false) if self.len == 2 * self.capacity => return Err(HealthReason::Overflow),
            (false, false) => self.insert(at, level),
        }
        Ok(())
    }

    fn remove(&mut self, at: usize) {
        let (from, to) = (self.head, self.head + self.len);
        if at < self.len / 2 {
            self.slots.copy_within(from..from + at, from + 1);
            self.head += 1;
        } else {
            self.slots.copy_within(from + at + 1..to, from + at);
        }
        self.len -= 1;
    }

    fn insert(&mut self, at: usize, level: Level) {
        let near_front = at <= self.len / 2;
        if if near_front { self.head == 0 } else { self.head + self.len == self.slots.len() } {
            self.centre();
        }
        let (from, to) = (self.head, self.head + self.len);
        if near_front {
            self.slots.copy_within(from..from + at, from - 1);
            self.head -= 1;
        } else {
            self.slots.copy_within(from + at..to, from + at + 1);
        }
        self.slots[self.head + at] = level;
        self.len += 1;
    }

    /// Makes room on both ends again: at least a quarter of the buffer each.
    #[cold]
    fn centre(&mut self) {
        let head = (self.slots.len() - self.len) / 2;
        self.slots.copy_within(self.head..self.head + self.len, head);
        self.head = head;
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
        Self { bids: Ladder::new(capacity), asks: Ladder::new(capacity), u: 0 }
    }

    /// Forgets every level.
    pub fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
        self.u = 0;
    }

    /// Applies one part of a message. On an error the book must not be used until the next snapshot.
    pub fn apply(&mut self, update: &BookUpdate) -> Result<(), HealthReason> {
        if update.has(BookUpdate::SNAPSHOT) && update.has(BookUpdate::FIRST) {
            self.clear();
        }
        self.change(update.bid_levels(), update.ask_levels(), update.u)?;
        if update.has(BookUpdate::LAST) { self.fits() } else { Ok(()) }
    }

    /// Applies a whole message at once. On an error the book must not be used until the next snapshot.
    pub fn apply_message(
        &mut self,
        snapshot: bool,
        u: u64,
        bids: &[Level],
        asks: &[Level],
    ) -> Result<(), HealthReason> {
        if snapshot {
            self.clear();
        }
        self.change(bids, asks, u)?;
        self.fits()
    }

    fn change(&mut self, bids: &[Level], asks: &[Level], u: u64) -> Result<(), HealthReason> {
        self.bids.change::<true>(bids)?;
        self.asks.change::<false>(asks)?;
        self.u = u;
        Ok(())
    }

    const fn fits(&self) -> Result<(), HealthReason> {
        let fits = self.bids.len <= self.bids.capacity && self.asks.len <= self.asks.capacity;
        if fits { Ok(()) } else { Err(HealthReason::Overflow) }
    }

    /// Best bid and ask; `None` while either side is empty or they cross.
    #[must_use]
    pub fn touch(&self) -> Option<Touch> {
        let touch = Touch { bid: *self.bids.levels().first()?, ask: *self.asks.levels().first()? };
        (touch.bid.px < touch.ask.px).then_some(touch)
    }

    /// Best bid at or above best ask.
    #[must_use]
    pub fn is_crossed(&self) -> bool {
        matches!((self.bids.levels().first(), self.asks.levels().first()), (Some(bid), Some(ask)) if bid.px >= ask.px)
    }

    /// Levels of a side, best first.
    #[must_use]
    pub fn levels(&self, side: Side) -> &[Level] {
        match side {
            Side::Buy => self.bids.levels(),
            Side::Sell => self.asks.levels(),
        }
    }

    /// Quantity resting at exactly this price.
    #[must_use]
    pub fn at(&self, side: Side, px: Px) -> Qty {
        let (ladder, at) = match side {
            Side::Buy => (&self.bids, self.bids.place::<true>(px)),
            Side::Sell => (&self.asks, self.asks.place::<false>(px)),
        };
        ladder.levels().get(at).filter(|level| level.px == px).map_or(Qty::ZERO, |level| level.qty)
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

    #[test]
    fn a_message_may_swell_but_must_end_inside_the_depth() {
        let mut book = Book::new(2);
        book.apply(&update(BookUpdate::SNAPSHOT, &[(10, 1), (9, 1)], &[(11, 1), (12, 1)])).unwrap();
        book.apply(&update(0, &[(8, 1), (7, 1), (10, 0), (9, 0)], &[])).unwrap();
        assert_eq!(book.levels(Side::Buy).iter().map(|l| l.px.raw()).collect::<Vec<_>>(), [8, 7]);
        let five: Vec<(i64, i64)> = (20..25).map(|px| (px, 1)).collect();
        assert_eq!(book.apply(&update(0, &[], &five)), Err(HealthReason::Overflow));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn equals_a_naive_map(changes in prop::collection::vec((any::<bool>(), 1i64..40, 0i64..4), 1..400), drift in -2i64..3) {
            let mut book = Book::new(40);
            let mut naive = [BTreeMap::new(), BTreeMap::new()];
            for (step, (buy, px, qty)) in changes.into_iter().enumerate() {
                let (side, map) = if buy { (Side::Buy, 0) } else { (Side::Sell, 1) };
                let moved = px + 2000 + drift * i64::try_from(step).unwrap() / 8;
                let px = if buy { moved } else { moved + 100 };
                if naive[map].len() == 40 && qty != 0 && !naive[map].contains_key(&px) { continue; }
                let (bids, asks) = if buy { (vec![(px, qty)], vec![]) } else { (vec![], vec![(px, qty)]) };
                book.apply(&update(0, &bids, &asks)).unwrap();
                if qty == 0 { naive[map].remove(&px); } else { naive[map].insert(px, qty); }
                let mut expected: Vec<_> = naive[map].iter().map(|(p, q)| (*p, *q)).collect();
                if buy { expected.reverse(); }
                let have: Vec<_> = book.levels(side).iter().map(|l| (l.px.raw(), l.qty.raw())).collect();
                prop_assert_eq!(have, expected);
                prop_assert_eq!(book.at(side, Px::from_raw(px)).raw(), qty);
            }
        }

        #[test]
        fn whole_messages_equal_a_naive_map_in_any_order(
            messages in prop::collection::vec((prop::collection::vec((any::<bool>(), 1i64..60, 0i64..3), 0..50), 0u8..3), 1..40),
        ) {
            let mut book = Book::new(60);
            let mut naive = [BTreeMap::new(), BTreeMap::new()];
            for (u, (mut changes, order)) in messages.into_iter().enumerate() {
                // Best first, as the venue writes; then a price twice or out of order, as it should not.
                if order > 0 {
                    changes.sort_by_key(|(buy, px, _)| if *buy { -px } else { *px });
                }
                if order > 1 {
                    changes.dedup_by_key(|(buy, px, _)| (*buy, *px));
                }
                let side = |buy: bool| {
                    let of = changes.iter().filter(|change| change.0 == buy);
                    let level = |px: i64, qty: i64| Level { px: Px::from_raw(px), qty: Qty::from_raw(qty) };
                    of.map(|(_, px, qty)| level(px + if buy { 0 } else { 100 }, *qty)).collect::<Vec<_>>()
                };
                let (bids, asks) = (side(true), side(false));
                book.apply_message(false, u as u64, &bids, &asks).unwrap();
                for (map, levels) in naive.iter_mut().zip([&bids, &asks]) {
                    for level in levels {
                        if level.qty.is_zero() { map.remove(&level.px); } else { map.insert(level.px, level.qty); }
                    }
                }
                let have = |side| book.levels(side).iter().map(|l| (l.px, l.qty)).collect::<Vec<_>>();
                prop_assert_eq!(have(Side::Buy), naive[0].iter().rev().map(|(p, q)| (*p, *q)).collect::<Vec<_>>());
                prop_assert_eq!(have(Side::Sell), naive[1].iter().map(|(p, q)| (*p, *q)).collect::<Vec<_>>());
            }
        }
    }
}

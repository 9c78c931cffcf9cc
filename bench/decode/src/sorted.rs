//! The book as it was before it stood in a window of ticks: each side one sorted run, best first, inside a longer buffer
//! with room on both ends. Kept here to be measured beside the one that took its place.

use keel_core::event::{HealthReason, Level, Side};
use keel_core::units::Px;

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
}

impl Book {
    /// An empty book with room for `capacity` levels a side.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { bids: Ladder::new(capacity), asks: Ladder::new(capacity) }
    }

    /// Forgets every level.
    pub fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
    }

    /// Applies a whole message at once. On an error the book must not be used until the next snapshot.
    pub fn apply_message(
        &mut self,
        snapshot: bool,
        _u: u64,
        bids: &[Level],
        asks: &[Level],
    ) -> Result<(), HealthReason> {
        if snapshot {
            self.clear();
        }
        self.change(bids, asks)?;
        self.fits()
    }

    fn change(&mut self, bids: &[Level], asks: &[Level]) -> Result<(), HealthReason> {
        self.bids.change::<true>(bids)?;
        self.asks.change::<false>(asks)?;
        Ok(())
    }

    const fn fits(&self) -> Result<(), HealthReason> {
        let fits = self.bids.len <= self.bids.capacity && self.asks.len <= self.asks.capacity;
        if fits { Ok(()) } else { Err(HealthReason::Overflow) }
    }

    /// Levels of a side, best first.
    #[must_use]
    pub fn levels(&self, side: Side) -> &[Level] {
        match side {
            Side::Buy => self.bids.levels(),
            Side::Sell => self.asks.levels(),
        }
    }
}

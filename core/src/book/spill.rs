//! Levels in one sorted run, best first, inside a longer buffer with room on both ends: a change moves whichever
//! neighbours are fewer.
//!
//! ```text
//!   . . . 63943.90  63943.80  63943.20 ... . . .
//!         ^ head                        ^ head + len
//! ```

use crate::event::Level;
use crate::units::Px;

#[derive(Clone, Debug)]
pub(super) struct Spill {
    slots: Box<[Level]>,
    head: usize,
    len: usize,
}

impl Spill {
    /// Room for `most` levels; one more is a mistake of the caller.
    pub(super) fn new(most: usize) -> Self {
        let slots = vec![Level::default(); (2 * most).max(4)].into_boxed_slice();
        Self { head: slots.len() / 4, slots, len: 0 }
    }

    pub(super) fn levels(&self) -> &[Level] {
        &self.slots[self.head..self.head + self.len]
    }

    pub(super) const fn clear(&mut self) {
        self.head = self.slots.len() / 4;
        self.len = 0;
    }

    /// Place of the first level that does not outrank `px`.
    pub(super) fn place<const BIDS: bool>(&self, px: Px) -> usize {
        self.levels().partition_point(|have| if BIDS { have.px > px } else { have.px < px })
    }

    /// Writes or deletes a level; how many levels more there are now.
    pub(super) fn set<const BIDS: bool>(&mut self, level: Level) -> isize {
        let at = self.place::<BIDS>(level.px);
        let present = self.levels().get(at).is_some_and(|have| have.px == level.px);
        match (present, level.qty.is_zero()) {
            (true, true) => {
                self.remove(at);
                -1
            }
            (true, false) => {
                self.slots[self.head + at].qty = level.qty;
                0
            }
            (false, true) => 0,
            (false, false) => {
                self.insert(at, level);
                1
            }
        }
    }

    pub(super) fn pop_first(&mut self) {
        self.head += 1;
        self.len -= 1;
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

    pub(super) fn insert(&mut self, at: usize, level: Level) {
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

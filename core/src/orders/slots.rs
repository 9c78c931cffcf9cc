//! A hash index of fixed size: open addressing, linear probing, and no tombstones.
//!
//! It maps to places in somebody else's table, which keeps the keys; so the key is asked for by closure. The owner keeps
//! at most half of the slots in use, which bounds the probes.

const FREE: u16 = u16::MAX;

/// The index.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    slots: Box<[u16]>,
}

impl Slots {
    /// Room for `entries`, all of it taken here.
    pub(super) fn new(entries: usize) -> Self {
        assert!(entries < usize::from(FREE), "places are 16 bits");
        Self { slots: vec![FREE; (2 * entries).next_power_of_two()].into_boxed_slice() }
    }

    /// The slot whose place `is` the one, or the free slot where it would go.
    pub(super) fn find(&self, hash: u64, is: impl Fn(usize) -> bool) -> Result<usize, usize> {
        let mut slot = self.home(hash);
        loop {
            match self.slots[slot] {
                FREE => return Err(slot),
                place if is(usize::from(place)) => return Ok(slot),
                _ => slot = self.after(slot),
            }
        }
    }

    /// The place a slot found holds.
    pub(super) fn place(&self, slot: usize) -> usize {
        usize::from(self.slots[slot])
    }

    /// Points a slot at a place.
    pub(super) fn set(&mut self, slot: usize, place: usize) {
        assert!(place < usize::from(FREE), "places are 16 bits");
        #[allow(clippy::cast_possible_truncation, reason = "checked above")]
        let place = place as u16;
        self.slots[slot] = place;
    }

    /// Frees a slot and closes the gap, so that no probe ends early. `hash_of` tells the hash of the key at a place.
    pub(super) fn free(&mut self, slot: usize, hash_of: impl Fn(usize) -> u64) {
        let (mut gap, mut slot) = (slot, slot);
        loop {
            slot = self.after(slot);
            let place = self.slots[slot];
            if place == FREE {
                break;
            }
            let home = self.home(hash_of(usize::from(place)));
            if self.distance(home, slot) >= self.distance(gap, slot) {
                self.slots[gap] = place;
                gap = slot;
            }
        }
        self.slots[gap] = FREE;
    }

    fn home(&self, hash: u64) -> usize {
        #[allow(clippy::cast_possible_truncation, reason = "masked")]
        let low = (hash ^ hash >> 32) as usize;
        low & (self.slots.len() - 1)
    }

    fn after(&self, slot: usize) -> usize {
        (slot + 1) & (self.slots.len() - 1)
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.slots.len() - 1)
    }
}

//! Execution ids seen, so that each is counted once.
//!
//! A hash set of fixed size over a ring: the oldest id is forgotten when a new one needs its place. Forgetting is safe
//! as long as the venue does not show an execution again after [`MAX_EXECUTIONS`] newer ones.

use super::slots::Slots;
use crate::ids::VenueId;

/// Executions remembered; the oldest are forgotten first.
pub const MAX_EXECUTIONS: usize = 8192;

/// The set.
#[derive(Debug)]
pub(super) struct Executions {
    ring: Vec<VenueId>,
    oldest: usize,
    slots: Slots,
}

impl Clone for Executions {
    fn clone(&self) -> Self {
        Self { ring: super::roomy(&self.ring, MAX_EXECUTIONS), oldest: self.oldest, slots: self.slots.clone() }
    }
}

impl Executions {
    pub(super) fn new() -> Self {
        Self { ring: Vec::with_capacity(MAX_EXECUTIONS), oldest: 0, slots: Slots::new(MAX_EXECUTIONS) }
    }

    #[cfg(test)]
    pub(super) const fn room(&self) -> usize {
        self.ring.capacity()
    }

    /// `false` when it was there.
    pub(super) fn insert(&mut self, id: &VenueId) -> bool {
        let Err(mut free) = self.find(id) else { return false };
        let mut place = self.ring.len();
        if place < MAX_EXECUTIONS {
            self.ring.push(*id);
        } else {
            place = self.oldest;
            self.oldest = (place + 1) % MAX_EXECUTIONS;
            let (ring, forgotten) = (&self.ring, self.find(&self.ring[place]));
            if let Ok(slot) = forgotten {
                self.slots.free(slot, |place| hash(&ring[place]));
            }
            self.ring[place] = *id;
            free = self.find(id).unwrap_or_else(|free| free);
        }
        self.slots.set(free, place);
        true
    }

    fn find(&self, id: &VenueId) -> Result<usize, usize> {
        self.slots.find(hash(id), |place| self.ring[place] == *id)
    }
}

/// FNV-1a, a word at a time.
fn hash(id: &VenueId) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for chunk in id.bytes().chunks(8) {
        let mut word = [0u8; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3);
        hash ^= hash >> 29;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn id(n: u64) -> VenueId {
        VenueId::new(format!("{n:08x}-1e3d-571e-9cc8-{n:012}").as_bytes()).unwrap()
    }

    #[test]
    fn remembers_exactly_the_youngest() {
        let mut set = Executions::new();
        let count = 3 * MAX_EXECUTIONS as u64 + 17;
        for n in 0..count {
            assert!(set.insert(&id(n)), "{n} is new");
            assert!(!set.insert(&id(n)), "{n} is known");
        }
        let oldest = count - MAX_EXECUTIONS as u64;
        assert!((oldest..count).all(|n| set.find(&id(n)).is_ok()));
        assert!((0..oldest).all(|n| set.find(&id(n)).is_err()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn equals_a_naive_queue(ids in prop::collection::vec(0u64..12_000, 1..2_000), rounds in 1usize..12) {
            let (mut set, mut naive) = (Executions::new(), VecDeque::new());
            for n in ids.iter().cycle().take(ids.len() * rounds).enumerate().map(|(at, n)| n + at as u64 / 7) {
                let new = !naive.contains(&n);
                prop_assert_eq!(set.insert(&id(n)), new);
                if new {
                    naive.push_back(n);
                    if naive.len() > MAX_EXECUTIONS { naive.pop_front(); }
                }
            }
        }
    }
}

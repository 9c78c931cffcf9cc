//! When has a node dealt with everything it was sent? The question a lockstep run asks after every frame.
//!
//! A node is quiescent when every frame sent to it was dealt with, every ring is empty with its last item finished,
//! every frame it sent was counted by the other side, and every hot thread has noticed the present virtual time. All
//! counters only grow, and each is raised before the work it announces becomes visible: two looks that agree prove that
//! nothing moved between them.

use super::clock::Virtual;
use super::wire::Traffic;
use keel_core::ring::Gauge;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The witnesses.
#[derive(Debug)]
pub struct Quiescence {
    /// The virtual clock the node runs on.
    pub clock: Arc<Virtual>,
    /// Frames over all wires.
    pub traffic: Arc<Traffic>,
    /// Every ring a fact may wait on.
    pub rings: Vec<Gauge>,
    /// What time each hot thread saw in its last round.
    pub seen: Vec<Arc<AtomicU64>>,
}

impl Quiescence {
    /// Has everything been dealt with, when the other side sent `sent` frames and counted `received` of ours?
    #[must_use]
    pub fn holds(&self, sent: u64, received: u64) -> bool {
        let first = self.look(sent, received);
        first.is_some() && first == self.look(sent, received)
    }

    /// The sum of all counters, if each pair agrees.
    fn look(&self, sent: u64, received: u64) -> Option<u64> {
        let now = self.clock.get();
        let noticed = self.seen.iter().all(|seen| seen.load(Ordering::Acquire) == now);
        let frames = self.traffic.finished.load(Ordering::Acquire);
        let orders = self.traffic.sent.load(Ordering::Acquire);
        if !noticed || frames != sent || orders != received {
            return None;
        }
        self.rings.iter().try_fold(frames.wrapping_add(orders), |sum, ring| {
            let (pushed, finished) = (ring.pushed(), ring.finished());
            (pushed == finished).then_some(sum.wrapping_add(pushed))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_core::ring::ring;

    #[test]
    fn nothing_is_quiet_before_its_last_item_is_finished() {
        let (mut producer, mut consumer, gauge) = ring::<u8>(4);
        let seen = Arc::new(AtomicU64::new(0));
        let quiet = Quiescence {
            clock: Arc::default(),
            traffic: Arc::default(),
            rings: vec![gauge],
            seen: vec![Arc::clone(&seen)],
        };
        assert!(quiet.holds(0, 0));
        assert!(!quiet.holds(1, 0) && !quiet.holds(0, 1), "frames are under way");
        producer.push(1).unwrap();
        assert!(!quiet.holds(0, 0), "an item waits");
        consumer.pop();
        assert!(!quiet.holds(0, 0), "an item is being dealt with");
        consumer.pop();
        assert!(quiet.holds(0, 0));
        quiet.clock.set(5);
        assert!(!quiet.holds(0, 0), "a thread has not noticed the time");
        seen.store(5, Ordering::Release);
        assert!(quiet.holds(0, 0));
    }
}

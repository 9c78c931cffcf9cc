//! The single-producer single-consumer ring between two agents: `rtrb` with two counters.
//!
//! An item counts as finished when its consumer asks for the next one. So `pushed == finished` says that whatever went
//! in has been dealt with, its consequences included: the lockstep of a deterministic run rests on it.
//!
//! ```text
//!   producer --push--> [ . . x x x . ] --pop--> consumer
//!      pushed += 1                        finished += 1 at the next pop
//! ```

use core::mem::MaybeUninit;
use crossbeam::utils::CachePadded;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
struct Counters {
    pushed: CachePadded<AtomicU64>,
    finished: CachePadded<AtomicU64>,
    refused: CachePadded<AtomicU64>,
}

/// The writing end.
#[derive(Debug)]
pub struct Producer<T> {
    ring: rtrb::Producer<T>,
    counters: Arc<Counters>,
}

/// The reading end.
#[derive(Debug)]
pub struct Consumer<T> {
    ring: rtrb::Consumer<T>,
    counters: Arc<Counters>,
    held: bool,
}

/// Anyone's view of the ring.
#[derive(Clone, Debug)]
pub struct Gauge {
    counters: Arc<Counters>,
}

/// The item that did not fit.
#[derive(Debug)]
pub struct Full<T>(pub T);

/// A ring of `capacity` slots; all of its memory is taken here.
#[must_use]
pub fn ring<T>(capacity: usize) -> (Producer<T>, Consumer<T>, Gauge) {
    let (producer, consumer) = rtrb::RingBuffer::new(capacity);
    let counters = Arc::new(Counters::default());
    (
        Producer { ring: producer, counters: Arc::clone(&counters) },
        Consumer { ring: consumer, counters: Arc::clone(&counters), held: false },
        Gauge { counters },
    )
}

/// Single writer: a plain load and store, no locked instruction.
fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed) + by, Ordering::Release);
}

impl<T> Producer<T> {
    /// Hands over `item`, or gives it back when the ring is full.
    pub fn push(&mut self, item: T) -> Result<(), Full<T>> {
        if self.ring.is_full() {
            bump(&self.counters.refused, 1);
            return Err(Full(item));
        }
        bump(&self.counters.pushed, 1);
        self.ring.push(item).map_err(|rtrb::PushError::Full(item)| Full(item))
    }

    /// Brings the next slot near without filling it: a slot comes round once in a whole ring, and is cold by then.
    pub fn rehearse(&mut self) {
        let Ok(mut next) = self.ring.write_chunk_uninit(1) else { return };
        let (slot, _) = next.as_mut_slices();
        slot.fill_with(MaybeUninit::zeroed);
        core::hint::black_box(slot);
    }

    /// Slots free at least.
    #[must_use]
    pub fn room(&self) -> usize {
        self.ring.slots()
    }
}

impl<T> Consumer<T> {
    /// The next item; asking for it finishes the one before.
    pub fn pop(&mut self) -> Option<T> {
        if self.held {
            bump(&self.counters.finished, 1);
        }
        let item = self.ring.pop().ok();
        self.held = item.is_some();
        item
    }
}

impl Gauge {
    /// Items ever accepted.
    #[must_use]
    pub fn pushed(&self) -> u64 {
        self.counters.pushed.load(Ordering::Acquire)
    }

    /// Items dealt with.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.counters.finished.load(Ordering::Acquire)
    }

    /// Items given back because the ring was full.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.counters.refused.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_finished_when_the_next_is_asked_for() {
        let (mut producer, mut consumer, gauge) = ring(2);
        producer.rehearse();
        assert_eq!((consumer.pop(), gauge.pushed()), (None, 0), "nothing was put there");
        producer.push(1).unwrap();
        producer.push(2).unwrap();
        producer.rehearse();
        assert!(matches!(producer.push(3), Err(Full(3))));
        assert_eq!((gauge.pushed(), gauge.finished(), gauge.refused()), (2, 0, 1));
        assert_eq!(consumer.pop(), Some(1));
        assert_eq!(gauge.finished(), 0);
        assert_eq!(consumer.pop(), Some(2));
        assert_eq!(consumer.pop(), None);
        assert_eq!(consumer.pop(), None);
        assert_eq!((gauge.pushed(), gauge.finished()), (2, 2));
    }
}

//! Where the time goes: one histogram a hop, written by the agent that ends the hop and by nobody else.
//!
//! Each hop is kept twice: exactly, in an HdrHistogram its agent owns and gives up at the end, and live, in a few
//! buckets anyone may read while the node runs. Both are fed by stopwatch readings, which decide nothing.
//!
//! Both are large and mostly cold, and a tick passes five of them on its way out: so a passage is only noted where it
//! ends, and counted by [`Meter::settle`] when its agent has nothing to do, or when there is no room for another note.

use hdrhistogram::Histogram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The hops from bytes to bytes, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// In the kernel, from its receive stamp to our read; only where the socket gives stamps.
    Kernel,
    /// Socket read to facts on the market ring.
    Decode,
    /// On the market ring.
    Queue,
    /// Record, book, strategy, sizing, permission, record.
    Decide,
    /// The same for a fact that caused no order.
    Absorb,
    /// Of `Decide`: appending one decision to the journal.
    Journal,
    /// On the order ring.
    Handoff,
    /// Budget, template, timestamp.
    Encode,
    /// Handing the frame to the socket.
    Send,
    /// Socket read of a tick to socket write of the order it caused.
    WireToWire,
    /// Order on the socket to the venue's first answer.
    Ack,
}

impl Hop {
    /// All of them, in order.
    pub const ALL: [Self; 11] = [
        Self::Kernel,
        Self::Decode,
        Self::Queue,
        Self::Decide,
        Self::Absorb,
        Self::Journal,
        Self::Handoff,
        Self::Encode,
        Self::Send,
        Self::WireToWire,
        Self::Ack,
    ];

    /// Its name in summaries and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Decode => "decode",
            Self::Queue => "queue",
            Self::Decide => "decide",
            Self::Absorb => "absorb",
            Self::Journal => "journal",
            Self::Handoff => "handoff",
            Self::Encode => "encode",
            Self::Send => "send",
            Self::WireToWire => "wire_to_wire",
            Self::Ack => "ack",
        }
    }
}

/// Upper bounds of the live buckets, nanoseconds: 1-2-5 from 100 ns to 1 s.
pub const BOUNDS: [u64; 22] = [
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
];

/// Passages noted and not yet counted, at most.
const NOTES: usize = 32;

/// Longest duration a histogram tells apart; longer ones count as this.
const LONGEST: u64 = 60_000_000_000;

/// The live side of one hop: counts below each bound, the rest, and the sum.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Live {
    /// Counts, not cumulative; the last is above every bound.
    pub counts: [AtomicU64; BOUNDS.len() + 1],
    /// Nanoseconds.
    pub sum: AtomicU64,
}

impl Live {
    /// Single writer: plain load and store.
    fn add(counter: &AtomicU64, by: u64) {
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
    }
}

/// All live hops of a node.
#[derive(Debug, Default)]
pub struct LiveHops([Live; Hop::ALL.len()]);

impl LiveHops {
    /// One hop.
    #[must_use]
    pub const fn of(&self, hop: Hop) -> &Live {
        &self.0[hop as usize]
    }
}

/// The writing side of one hop.
#[derive(Debug)]
pub struct Meter {
    hop: Hop,
    noted: usize,
    notes: [u64; NOTES],
    exact: Histogram<u64>,
    live: Arc<LiveHops>,
}

impl Meter {
    /// An empty one.
    #[must_use]
    pub fn new(hop: Hop, live: &Arc<LiveHops>) -> Self {
        let exact = Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are constants");
        Self { hop, noted: 0, notes: [0; NOTES], exact, live: Arc::clone(live) }
    }

    /// One passage took this long.
    #[inline]
    pub fn record(&mut self, nanos: u64) {
        if self.noted == NOTES {
            self.settle();
        }
        self.notes[self.noted] = nanos;
        self.noted += 1;
    }

    /// Counts what was noted.
    pub fn settle(&mut self) {
        let live = self.live.of(self.hop);
        for nanos in self.notes[..std::mem::take(&mut self.noted)].iter().copied() {
            self.exact.saturating_record(nanos.max(1));
            Live::add(&live.counts[BOUNDS.partition_point(|bound| *bound < nanos)], 1);
            Live::add(&live.sum, nanos);
        }
    }

    /// Gives up the exact histogram.
    #[must_use]
    pub fn finish(mut self) -> (Hop, Histogram<u64>) {
        self.settle();
        (self.hop, self.exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passage_lands_in_the_bucket_that_holds_it() {
        let live = Arc::new(LiveHops::default());
        let mut meter = Meter::new(Hop::Decode, &live);
        for nanos in [0, 100, 101, 2_000_000_000] {
            meter.record(nanos);
        }
        meter.settle();
        let counts: Vec<u64> = live.of(Hop::Decode).counts.iter().map(|c| c.load(Ordering::Relaxed)).collect();
        assert_eq!((counts[0], counts[1], counts[BOUNDS.len()]), (2, 1, 1));
        assert_eq!(meter.finish().1.len(), 4);
    }

    #[test]
    fn a_meter_that_never_rests_counts_all_the_same() {
        let mut meter = Meter::new(Hop::Decode, &Arc::default());
        (0..=3 * NOTES as u64).for_each(|nanos| meter.record(nanos));
        assert_eq!(meter.finish().1.len(), 3 * NOTES as u64 + 1);
    }
}

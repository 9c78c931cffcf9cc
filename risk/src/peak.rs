//! How far a profit is below the highest of a sliding window: what the trips on fast losses ask at every tick.
//!
//! In: the clock, a profit. Out: the drop from the highest one of the window. Never: a walk through the samples unless one
//! begins or leaves the window.

use keel_core::units::Mono;

/// The highest profit of a window, in a ring of samples.
#[derive(Clone, Debug)]
pub(crate) struct Peak<const N: usize> {
    samples: [(Mono, i64); N],
    filled: usize,
    newest: usize,
    window: u64,
    /// The highest, and the moment from which on the samples must be gone through for it again.
    high: i64,
    until: Mono,
}

impl<const N: usize> Peak<N> {
    /// Of a window so many nanoseconds wide.
    pub(crate) const fn new(window: u64) -> Self {
        let start = Mono::from_nanos(0);
        Self { samples: [(start, 0); N], filled: 0, newest: 0, window, high: 0, until: start }
    }

    /// How far `profit` is below the highest of the window. A sample stands for its part of the window, by its highest.
    pub(crate) fn drop(&mut self, now: Mono, profit: i64) -> i64 {
        if now >= self.until {
            self.turn(now, profit);
        }
        let newest = &mut self.samples[self.newest].1;
        *newest = profit.max(*newest);
        self.high = profit.max(self.high);
        self.high.saturating_sub(profit)
    }

    /// Begins a sample when the newest has had its part, and goes through those of the window.
    fn turn(&mut self, now: Mono, profit: i64) {
        let part = self.window / N as u64;
        if self.filled == 0 || now.since(self.samples[self.newest].0) >= part {
            self.newest = if self.filled == 0 { 0 } else { (self.newest + 1) % N };
            self.samples[self.newest] = (now, profit);
            self.filled = (self.filled + 1).min(N);
        }
        (self.high, self.until) = (profit, self.samples[self.newest].0.after(part));
        for (at, sample) in &self.samples[..self.filled] {
            if now.since(*at) <= self.window {
                self.high = self.high.max(*sample);
                self.until = self.until.min(at.after(self.window + 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The highest of every profit ever seen whose sample is of the window, gone through each time.
    struct Slow {
        samples: Vec<(Mono, i64)>,
        window: u64,
        kept: usize,
    }

    impl Slow {
        fn drop(&mut self, now: Mono, profit: i64) -> i64 {
            if self.samples.last().is_none_or(|(at, _)| now.since(*at) >= self.window / self.kept as u64) {
                self.samples.push((now, profit));
            }
            let newest = self.samples.last_mut().unwrap();
            newest.1 = newest.1.max(profit);
            let kept = self.samples.iter().rev().take(self.kept);
            let high = kept.filter(|(at, _)| now.since(*at) <= self.window).map(|(_, sample)| *sample).max();
            high.unwrap() - profit
        }
    }

    proptest::proptest! {
        #[test]
        fn the_peak_is_that_of_going_through_all_of_it(
            steps in proptest::collection::vec((0u64..40, -1_000i64..1_000), 1..400), window in 1u64..700,
        ) {
            let (mut fast, mut slow) = (Peak::<7>::new(window), Slow { samples: Vec::new(), window, kept: 7 });
            let mut now = Mono::from_nanos(3_600);
            for (nanos, profit) in steps {
                now = now.after(nanos * nanos / 8);
                proptest::prop_assert_eq!(fast.drop(now, profit), slow.drop(now, profit));
            }
        }
    }
}

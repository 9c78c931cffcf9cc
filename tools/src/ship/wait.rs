//! How long to wait before the same is tried again, and when to stop.
//!
//! In: how often it failed. Out: a pause, doubled each time up to a bound, a part of it left to chance so that several
//! shippers do not come back in step. Never: a pause that a signal does not end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The first pause.
const FIRST: Duration = Duration::from_millis(100);
/// How finely a pause looks at the stop flag.
const STEP: Duration = Duration::from_millis(20);

/// Pauses.
#[derive(Clone, Debug)]
pub struct Wait {
    /// Set when everything should end.
    pub stop: Arc<AtomicBool>,
    /// The longest pause.
    pub longest: Duration,
    /// With `--once`: how long failures may go on.
    pub give_up: Duration,
}

impl Wait {
    /// Should everything end?
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Have failures gone on for too long?
    #[must_use]
    pub fn is_enough(&self, since: Instant) -> bool {
        since.elapsed() >= self.give_up
    }

    /// The pause after the `turn`-th failure in a row, from 1; true when everything should end.
    #[allow(clippy::disallowed_methods, reason = "a store's thread may wait; no agent lives on it")]
    pub fn pause(&self, turn: u32) -> bool {
        let end = Instant::now() + self.length(turn);
        while !self.is_stopping() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            std::thread::sleep(left.min(STEP));
        }
        true
    }

    /// Between half and all of the doubled pause.
    fn length(&self, turn: u32) -> Duration {
        let doubled = FIRST.saturating_mul(1 << turn.saturating_sub(1).min(16)).min(self.longest);
        let chance = keel_journal::segment::random::<2>().map_or(0, u16::from_le_bytes);
        doubled / 2 + doubled.mul_f64(f64::from(chance) / f64::from(u16::MAX) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let wait = Wait { stop: Arc::default(), longest: Duration::from_secs(30), give_up: Duration::from_secs(60) };
        for (turn, most) in [(1, 100), (2, 200), (5, 1_600), (10, 30_000), (u32::MAX, 30_000)] {
            let length = wait.length(turn);
            let most = Duration::from_millis(most);
            assert!(length >= most / 2 && length <= most, "{turn}: {length:?}");
        }
        wait.stop.store(true, Ordering::Relaxed);
        assert!(wait.pause(10));
    }
}

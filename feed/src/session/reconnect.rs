//! When to connect again: exponential, jittered, and never beyond the venue's connection budget.
//!
//! ```text
//!   attempt        0        1        2   ...      8+
//!   at most      250 ms   500 ms    1 s  ...     60 s      the wait is drawn evenly from the upper half
//! ```

use keel_core::units::Mono;

const SECOND: u64 = 1_000_000_000;
/// Longest first wait.
const BASE: u64 = SECOND / 4;
/// Longest wait without the budget.
const MAX: u64 = 60 * SECOND;
/// A connection that lived so long was a good one: the next wait is short again.
const CALM: u64 = 60 * SECOND;
/// Connections within [`WINDOW`]; one more waits until the oldest is out of it. The venue allows 500 an address; several
/// processes may share one.
pub const BUDGET: usize = 60;
/// Five minutes, as the venue counts.
pub const WINDOW: u64 = 300 * SECOND;

/// The reconnect policy of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Reconnect {
    luck: u64,
    attempt: u32,
    opened: [Option<Mono>; BUDGET],
    at: usize,
    up_since: Option<Mono>,
}

impl Reconnect {
    pub(crate) const fn new(seed: u64) -> Self {
        let luck = if seed == 0 { 0x9e37_79b9_7f4a_7c15 } else { seed };
        Self { luck, attempt: 0, opened: [None; BUDGET], at: 0, up_since: None }
    }

    /// xorshift64*: jitter needs no better luck.
    fn draw(&mut self, bound: u64) -> u64 {
        self.luck ^= self.luck >> 12;
        self.luck ^= self.luck << 25;
        self.luck ^= self.luck >> 27;
        self.luck.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound.max(1)
    }

    pub(crate) const fn connected(&mut self, now: Mono) {
        self.up_since = Some(now);
    }

    /// Nanoseconds to wait before the next attempt, which is booked against the budget.
    pub(crate) fn next(&mut self, now: Mono) -> u64 {
        if self.up_since.take().is_some_and(|since| now.since(since) >= CALM) {
            self.attempt = 0;
        }
        let ceiling = BASE.saturating_mul(1 << self.attempt.min(20)).min(MAX);
        let mut wait = ceiling / 2 + self.draw(ceiling / 2);
        self.attempt += 1;
        if let Some(oldest) = self.opened[self.at] {
            wait = wait.max(oldest.after(WINDOW).since(now));
        }
        self.opened[self.at] = Some(now.after(wait));
        self.at = (self.at + 1) % BUDGET;
        wait
    }

    /// The first connection of a session waits for nothing.
    pub(crate) fn first(&mut self, now: Mono) {
        self.opened[self.at] = Some(now);
        self.at = (self.at + 1) % BUDGET;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_jitter_up_to_a_minute() {
        for seed in 0..50 {
            let mut policy = Reconnect::new(seed);
            let mut now = Mono::from_nanos(0);
            for attempt in 0..20 {
                let wait = policy.next(now);
                let ceiling = (BASE << attempt).min(MAX);
                assert!(wait >= ceiling / 2 && wait < ceiling.max(1), "attempt {attempt}: {wait}");
                now = now.after(wait);
            }
        }
        let waits = |seed| Reconnect::new(seed).next(Mono::from_nanos(0));
        assert_ne!(waits(1), waits(2), "no jitter: every process comes back at once");
    }

    #[test]
    fn a_flapping_connection_never_exceeds_the_budget() {
        let mut policy = Reconnect::new(7);
        let mut now = Mono::from_nanos(0);
        let mut opened = Vec::new();
        for _ in 0..500 {
            now = now.after(policy.next(now));
            opened.push(now);
            policy.connected(now);
            now = now.after(CALM);
            policy.attempt = 0;
            now = Mono::from_nanos(now.nanos() - CALM + 1);
        }
        for pair in opened.windows(BUDGET + 1) {
            assert!(pair[BUDGET].since(pair[0]) >= WINDOW);
        }
    }

    #[test]
    fn a_good_connection_makes_the_next_wait_short() {
        let mut policy = Reconnect::new(7);
        let mut now = Mono::from_nanos(0);
        for _ in 0..8 {
            now = now.after(policy.next(now));
        }
        policy.connected(now);
        assert!(policy.next(now.after(CALM)) < BASE);
    }
}

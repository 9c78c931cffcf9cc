//! How often: token buckets for messages, a memory of recent approvals, windows of executions and refusals.
//!
//! In: the moment something was sent, filled or refused. Out: tokens left, "the same again?", "too many within the
//! window?". Never: a float, a clock, a list that grows.

use crate::limits::RECENT;
use keel_core::event::Order;
use keel_core::units::Mono;

const NANOS: u64 = 1_000_000_000;

/// Tokens that come back with time.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    /// In 1e-9 tokens.
    level: u64,
    rate: u64,
    burst: u64,
    at: Mono,
}

impl Bucket {
    /// Full, gaining `rate` tokens a second up to `burst`.
    #[must_use]
    pub(crate) fn new(rate: u32, burst: u32) -> Self {
        let burst = u64::from(burst) * NANOS;
        Self { level: burst, rate: u64::from(rate), burst, at: Mono::default() }
    }

    /// The same tokens under another rate: a change of limits is no gift of a burst.
    pub(crate) fn retuned(&self, now: Mono, rate: u32, burst: u32) -> Self {
        let fresh = Self::new(rate, burst);
        Self { level: self.level_at(now).min(fresh.burst), at: now, ..fresh }
    }

    /// Whole tokens at `now`.
    #[must_use]
    pub(crate) fn tokens(&self, now: Mono) -> u32 {
        u32::try_from(self.level_at(now) / NANOS).unwrap_or(u32::MAX)
    }

    /// Takes one token; an empty bucket stays empty.
    pub(crate) fn take(&mut self, now: Mono) {
        self.level = self.level_at(now).saturating_sub(NANOS);
        self.at = self.at.max(now);
    }

    fn level_at(&self, now: Mono) -> u64 {
        let gained = now.since(self.at).saturating_mul(self.rate);
        self.level.saturating_add(gained).min(self.burst)
    }
}

/// The last approvals, to recognise the same order again.
#[derive(Clone, Debug)]
pub(crate) struct Recent {
    prints: [u64; RECENT],
    rows: [(Mono, Order); RECENT],
    next: usize,
}

impl Default for Recent {
    fn default() -> Self {
        Self { prints: [0; RECENT], rows: [(Mono::default(), Order::default()); RECENT], next: 0 }
    }
}

impl Recent {
    /// Was the same order approved less than `window` nanoseconds ago?
    #[must_use]
    pub(crate) fn holds(&self, now: Mono, order: &Order, window: u64) -> bool {
        let print = fingerprint(order);
        // the fingerprints stand together so that the usual answer, no, is one pass over a few cache lines
        let hits = self.prints.iter().map(|p| u32::from(*p == print)).sum::<u32>();
        hits > 0 && self.rows.iter().any(|(at, row)| same(row, order) && now.since(*at) < window)
    }

    /// An order was approved.
    pub(crate) fn remember(&mut self, now: Mono, order: &Order) {
        self.prints[self.next] = fingerprint(order);
        self.rows[self.next] = (now, *order);
        self.next = (self.next + 1) % RECENT;
    }
}

/// An empty row is no order: its quantity is zero.
fn same(a: &Order, b: &Order) -> bool {
    (a.instrument, a.side, a.qty, a.px, a.tif, a.kind) == (b.instrument, b.side, b.qty, b.px, b.tif, b.kind)
}

/// Equal for equal orders; rarely equal for others. Never zero.
fn fingerprint(order: &Order) -> u64 {
    let head = u64::from(order.instrument.0) << 8 | order.side.index() as u64;
    let mix = |a: u64, b: u64| (a ^ b).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    mix(mix(head, order.qty.raw().cast_unsigned()), order.px.raw().cast_unsigned()) | 1
}

/// When the last few things of a kind happened, and whether that was too often. Latched: time alone does not clear it.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    at: Vec<Mono>,
    next: usize,
    seen: usize,
    span: u64,
    latched: bool,
}

impl Window {
    /// Latches at the `most`-th event within `span` nanoseconds.
    #[must_use]
    pub(crate) fn new(most: u32, span: u64) -> Self {
        Self { at: vec![Mono::default(); (most as usize).max(1)], next: 0, seen: 0, span, latched: false }
    }

    /// Counting anew under other bounds; what is latched stays latched.
    pub(crate) fn retuned(&self, most: u32, span: u64) -> Self {
        Self { latched: self.latched, ..Self::new(most, span) }
    }

    /// It happened.
    pub(crate) fn count(&mut self, now: Mono) {
        self.at[self.next] = now;
        self.next = (self.next + 1) % self.at.len();
        self.seen += 1;
        // the oldest of the last `most` stands where the next one will go
        self.latched |= self.seen >= self.at.len() && now.since(self.at[self.next]) < self.span;
    }

    /// Too often, since a person last looked?
    #[must_use]
    pub(crate) const fn is_latched(&self) -> bool {
        self.latched
    }

    /// A person looked.
    pub(crate) fn release(&mut self) {
        (self.seen, self.next, self.latched) = (0, 0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_core::units::{Px, Qty};

    #[test]
    fn tokens_come_back_with_time_and_never_beyond_the_burst() {
        let mut bucket = Bucket::new(10, 3);
        let at = Mono::from_millis;
        assert_eq!(bucket.tokens(at(0)), 3);
        (0..5).for_each(|_| bucket.take(at(0)));
        assert_eq!((bucket.tokens(at(0)), bucket.tokens(at(99)), bucket.tokens(at(100))), (0, 0, 1));
        assert_eq!(bucket.tokens(at(1_000_000)), 3);
        bucket.take(at(200));
        assert_eq!(bucket.tokens(at(100)), 1, "a clock that steps back gives nothing");
    }

    #[test]
    fn the_same_order_is_recognised_within_the_window_only() {
        let mut recent = Recent::default();
        let order = Order { px: Px::whole(5), qty: Qty::whole(1), ..Order::default() };
        let (at, window) = (Mono::from_millis, 200 * 1_000_000);
        assert!(!recent.holds(at(0), &order, window));
        recent.remember(at(0), &order);
        assert!(recent.holds(at(199), &order, window));
        assert!(!recent.holds(at(200), &order, window));
        assert!(!recent.holds(at(100), &Order { px: Px::whole(6), ..order }, window));
        assert!(!recent.holds(at(100), &order, 0), "a window of zero is off");
    }

    #[test]
    fn a_window_latches_and_waits_for_a_person() {
        let mut window = Window::new(3, 1_000);
        let at = Mono::from_nanos;
        for (moment, latched) in [(0, false), (900, false), (1_000, false), (1_100, true), (9_999_999, true)] {
            window.count(at(moment));
            assert_eq!(window.is_latched(), latched, "{moment}");
        }
        window.release();
        window.count(at(10_000_000));
        assert!(!window.is_latched());
    }
}

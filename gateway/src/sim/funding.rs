//! Index, mark, premium and funding: what the venue makes of a book when no tape says it.
//!
//! ```text
//!  index    follows the middle with a time constant of one minute: what other venues would trade at
//!  mark     median(index (1 + rate * time to funding / interval), index + 5 min average of (middle - index), last)
//!  premium  (max(0, impact bid - index) - max(0, index - impact ask)) / index, for 20,000 USDT, once a minute
//!  rate     average + clamp(interest - average, 0.05 %), within the symbol's cap; later minutes of the interval weigh
//!           more (1, 2, 3, ...); interest is 0.01 % for eight hours
//! ```
//!
//! A taped symbol has index = mark = middle and the tape's own rate, where the tape says one. The rate the ticker shows
//! is the one that settles, and the one `funding/history` tells.

use super::book::Book;
use super::engine::{Engine, Quote};
use super::feed::levels;
use keel_core::event::Side;
use keel_core::units::{Notional, Px, SCALE};

/// What an impact price trades through.
const IMPACT: Notional = Notional::whole(20_000);
/// Interest for eight hours, 1e-8.
const INTEREST: i64 = SCALE / 10_000;
/// How far the premium may be off the interest before it counts, 1e-8.
const BAND: i64 = SCALE / 2_000;
const INDEX_MS: i64 = 60_000;
const BASIS_MS: i64 = 300_000;
const DRIFT_MS: i64 = 30_000;
const MINUTE_MS: u64 = 60_000;

/// Averages behind mark, band and funding of one symbol.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Model {
    /// When it last moved.
    at_ms: u64,
    /// The index before it is rounded.
    index: i64,
    /// Average of middle less index.
    basis: i64,
    /// Average of middle less mark, for the price band.
    pub(super) drift: i64,
    /// The minute of the last premium sample.
    minute: u64,
    /// Weighted premiums of this interval, and how many.
    sum: i128,
    count: i128,
    pub(super) premium: i64,
}

fn toward(average: i64, target: i64, dt: i64, tau: i64) -> i64 {
    let step = i128::from(target - average) * i128::from(dt) / i128::from(tau + dt);
    average + i64::try_from(step).unwrap_or(0)
}

impl Quote {
    /// The middle of a generated book moved: index, mark and averages follow. `grid` is what prices are shown in.
    pub(super) fn follow(&mut self, now_ms: u64, middle: Px, interval_ms: u64, grid: Px) {
        let m = &mut self.model;
        if m.at_ms == 0 {
            (m.at_ms, m.index) = (now_ms, middle.raw());
        }
        let dt = i64::try_from(now_ms.saturating_sub(m.at_ms).min(3_600_000)).unwrap_or(0);
        m.at_ms = m.at_ms.max(now_ms);
        m.index = toward(m.index, middle.raw(), dt, INDEX_MS);
        m.basis = toward(m.basis, middle.raw() - m.index, dt, BASIS_MS);
        let left = i128::from(interval_ms - now_ms % interval_ms);
        let carry = i128::from(m.index) * i128::from(self.funding) * left / i128::from(interval_ms) / i128::from(SCALE);
        let carried = m.index + i64::try_from(carry).unwrap_or(0);
        let mut three = [carried, m.index + m.basis, self.last.raw()];
        three.sort_unstable();
        let shown = |raw: i64| Px::from_raw(raw.max(grid.raw())).floor_to(grid);
        (self.index, self.mark) = (shown(m.index), shown(three[1]));
        m.drift = toward(m.drift, middle.raw() - self.mark.raw(), dt, DRIFT_MS);
    }

    /// Is a premium sample due?
    fn sampled(&mut self, now_ms: u64) -> bool {
        let minute = now_ms / MINUTE_MS;
        let due = minute != self.model.minute;
        self.model.minute = minute;
        due
    }
}

/// Average price of trading [`IMPACT`] against a side; `None` when it is too thin.
fn impact(book: &Book, side: Side) -> Option<i128> {
    let (mut value, mut qty) = (0i128, 0i128);
    let whole = i128::from(IMPACT.raw());
    for (px, shown) in levels(book, side, 1_000) {
        let here = i128::from(px.raw()) * i128::from(shown.raw()) / i128::from(SCALE);
        if value + here >= whole {
            qty += (whole - value) * i128::from(SCALE) / i128::from(px.raw()).max(1);
            return Some(whole * i128::from(SCALE) / qty.max(1));
        }
        (value, qty) = (value + here, qty + i128::from(shown.raw()));
    }
    None
}

/// The premium index of a book, 1e-8.
fn premium(book: &Book, index: Px) -> i64 {
    let at = i128::from(index.raw());
    if at <= 0 {
        return 0;
    }
    let above = impact(book, Side::Buy).map_or(0, |bid| (bid - at).max(0));
    let below = impact(book, Side::Sell).map_or(0, |ask| (at - ask).max(0));
    i64::try_from((above - below) * i128::from(SCALE) / at).unwrap_or(0)
}

/// The rate an average premium makes, 1e-8 per interval.
pub(super) fn rate(average: i64, interval_minutes: i64, cap: i64) -> i64 {
    let interest = INTEREST * interval_minutes / 480;
    (average + (interest - average).clamp(-BAND, BAND)).clamp(-cap, cap)
}

impl Engine {
    /// Samples the premium when a new minute began, and predicts the rate from it unless a tape tells the rate. Says
    /// whether it did.
    pub(super) fn sample_premium(&mut self, now_ms: u64, symbol: usize, told: bool) -> bool {
        let quote = &mut self.quotes[symbol];
        if quote.index.is_zero() || !quote.sampled(now_ms) {
            return false;
        }
        let found = premium(&self.books[symbol], quote.index);
        let (spec, m) = (&self.specs[symbol], &mut quote.model);
        m.count += 1;
        (m.sum, m.premium) = (m.sum + i128::from(found) * m.count, found);
        let average = i64::try_from(m.sum * 2 / (m.count * (m.count + 1))).unwrap_or(0);
        if !told {
            quote.funding = rate(average, i64::from(spec.instrument.funding_minutes), spec.funding_cap);
        }
        true
    }

    /// A new funding interval begins: its average starts from nothing.
    pub(super) fn new_interval(&mut self, symbol: usize) {
        let m = &mut self.quotes[symbol].model;
        (m.sum, m.count) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_the_interest_unless_the_premium_is_far_from_it() {
        let rows = [
            (0, 10_000),      // 0.01 %
            (50_000, 10_000), // within 0.05 % of the interest: the interest
            (-40_000, 10_000),
            (100_000, 50_000), // 0.1 % less 0.05 %
            (-100_000, -50_000),
            (9_000_000, 500_000), // the cap
            (-9_000_000, -500_000),
        ];
        for (average, expected) in rows {
            assert_eq!(rate(average, 480, 500_000), expected, "{average}");
        }
        assert_eq!(rate(0, 240, 500_000), 5_000, "half the interval, half the interest");
    }

    #[test]
    fn averages_reach_what_they_follow() {
        let mut quote = Quote { last: Px::from_raw(10_000_000_000), ..Quote::default() };
        let (low, high, grid) = (Px::from_raw(10_000_000_000), Px::from_raw(10_100_000_000), Px::from_raw(1_000_000));
        quote.follow(1_000, low, 28_800_000, grid);
        assert_eq!(quote.index, low);
        let mut now = 1_000;
        for _ in 0..6_000 {
            now += 10;
            quote.follow(now, high, 28_800_000, grid);
        }
        // one time constant: 1 - 1/e of the way
        let way = quote.index.raw() - low.raw();
        assert!((62_000_000..64_000_000).contains(&way), "{way}");
        assert!(quote.model.drift > 0 && quote.mark <= high && quote.mark >= low);
    }
}

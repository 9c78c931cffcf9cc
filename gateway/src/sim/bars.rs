//! Bars as the venue aggregates them: every interval as its values come, in rings of a bounded length.
//!
//! In: values and their times. Out: the last thousand bars of each interval. Never: a gap (an interval without a value
//! repeats the last close), a walk over past trades.

use keel_core::units::{Notional, Px, Qty};
use std::collections::VecDeque;

/// The venue's intervals, the shortest first.
pub(super) const INTERVALS: [&str; 13] = ["1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D", "W", "M"];
/// Bars kept of each; the oldest go first. A query asks for no more.
const KEPT: usize = 1_000;
const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 1_440 * MINUTE_MS;

/// One bar. Prices are in 1e-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) start: u64,
    /// The first moment that is not in it.
    pub(super) end: u64,
    pub(super) open: i64,
    pub(super) high: i64,
    pub(super) low: i64,
    pub(super) close: i64,
    pub(super) volume: i64,
    pub(super) turnover: i64,
}

impl Bar {
    const fn flat((start, end): (u64, u64), px: i64) -> Self {
        Self { start, end, open: px, high: px, low: px, close: px, volume: 0, turnover: 0 }
    }

    fn add(&mut self, px: i64, volume: i64, turnover: i64) {
        (self.high, self.low, self.close) = (self.high.max(px), self.low.min(px), px);
        self.volume = self.volume.saturating_add(volume);
        self.turnover = self.turnover.saturating_add(turnover);
    }
}

/// Bars of one series in every interval.
#[derive(Clone, Debug, Default)]
pub(super) struct Bars {
    rings: [VecDeque<Bar>; INTERVALS.len()],
}

/// What a day's rolling window says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) open: Px,
    pub(super) high: Px,
    pub(super) low: Px,
    pub(super) volume: Qty,
    pub(super) turnover: Notional,
    /// The price an hour ago.
    pub(super) hour: Px,
}

impl Bars {
    /// A value without quantity: a mark, an index, a premium.
    pub(super) fn note(&mut self, time: u64, value: i64) {
        self.add(time, value, 0, 0);
    }

    /// A trade.
    pub(super) fn trade(&mut self, time: u64, px: Px, qty: Qty) {
        let value = px.mul_floor(qty).unwrap_or(Notional::ZERO);
        self.add(time, px.raw(), qty.raw(), value.raw());
    }

    fn add(&mut self, time: u64, px: i64, volume: i64, turnover: i64) {
        for (interval, ring) in self.rings.iter_mut().enumerate() {
            if ring.back().is_none_or(|bar| time >= bar.end) {
                open(interval, ring, time, px);
            }
            if let Some(bar) = ring.back_mut() {
                bar.add(px, volume, turnover); // a late value counts into the running bar
            }
        }
    }

    /// The bars of an interval, oldest first; `None` when there is no such interval.
    pub(super) fn of(&self, interval: &str) -> Option<&VecDeque<Bar>> {
        self.rings.get(INTERVALS.iter().position(|name| *name == interval)?)
    }

    /// The last 24 hours, in bars of five minutes.
    pub(super) fn day(&self) -> Option<Day> {
        const FIVE: usize = 2;
        let last = self.rings[FIVE].back()?;
        let bars = || self.rings[FIVE].iter().rev().take_while(|bar| bar.end + DAY_MS > last.end);
        let hour = self.rings[FIVE].iter().rev().find(|bar| bar.end + 60 * MINUTE_MS <= last.end);
        let sum = |of: fn(&Bar) -> i64| bars().fold(0i64, |sum, bar| sum.saturating_add(of(bar)));
        Some(Day {
            open: Px::from_raw(bars().last()?.open),
            high: Px::from_raw(bars().map(|bar| bar.high).max()?),
            low: Px::from_raw(bars().map(|bar| bar.low).min()?),
            volume: Qty::from_raw(sum(|bar| bar.volume)),
            turnover: Notional::from_raw(sum(|bar| bar.turnover)),
            hour: Px::from_raw(hour.map_or(bars().last()?.open, |bar| bar.close)),
        })
    }
}

/// Opens the bar `time` lies in, flat ones before it where nothing happened.
fn open(interval: usize, ring: &mut VecDeque<Bar>, time: u64, px: i64) {
    let wanted = span(interval, time);
    for _ in 0..KEPT {
        let Some(last) = ring.back().copied().filter(|bar| bar.end < wanted.0) else { break };
        push(ring, Bar::flat(span(interval, last.end), last.close));
    }
    if ring.back().is_some_and(|bar| bar.end < wanted.0) {
        ring.clear(); // the pause was longer than the ring
    }
    push(ring, Bar::flat(wanted, px));
}

fn push(ring: &mut VecDeque<Bar>, bar: Bar) {
    if ring.len() >= KEPT {
        ring.pop_front();
    }
    ring.push_back(bar);
}

/// Start and end of the bar a moment lies in: days and weeks (from Monday) and months of UTC.
fn span(interval: usize, time: u64) -> (u64, u64) {
    const MINUTES: [u64; 11] = [1, 3, 5, 15, 30, 60, 120, 240, 360, 720, 1_440];
    const MONDAY_MS: u64 = 4 * DAY_MS; // 1970-01-05
    const WEEK_MS: u64 = 7 * DAY_MS;
    match MINUTES.get(interval) {
        Some(minutes) => {
            let start = time - time % (minutes * MINUTE_MS);
            (start, start + minutes * MINUTE_MS)
        }
        None if interval == 11 => {
            let start = (time.max(MONDAY_MS) - MONDAY_MS) / WEEK_MS * WEEK_MS + MONDAY_MS;
            (start, start + WEEK_MS)
        }
        None => month(time),
    }
}

/// The month a moment lies in, by the civil calendar (Howard Hinnant's `days_from_civil` and its inverse).
fn month(time: u64) -> (u64, u64) {
    /// The year 9999: later moments count as then.
    const LAST_DAY: u64 = 2_932_896;
    let shifted = (time / DAY_MS).min(LAST_DAY) + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let (year, month) = (year_of_era + era * 400, march_month);
    let next = if month == 11 { (year + 1, 0) } else { (year, month + 1) };
    (first_of(year, month) * DAY_MS, first_of(next.0, next.1) * DAY_MS)
}

/// Days since 1970 of the first of a month; years begin in March, months count from it.
fn first_of(year: u64, march_month: u64) -> u64 {
    let (era, of_era) = (year / 400, year % 400);
    let days = 365 * of_era + of_era / 4 - of_era / 100 + (153 * march_month + 2) / 5;
    (era * 146_097 + days).saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-02-29 12:34:56.789 UTC.
    const LEAP_MS: u64 = 1_709_210_096_789;

    #[test]
    fn bars_begin_where_the_calendar_says() {
        let rows = [
            ("1", 1_709_210_040_000, 60_000),
            ("15", 1_709_209_800_000, 900_000),
            ("240", 1_709_208_000_000, 14_400_000),
            ("D", 1_709_164_800_000, DAY_MS),
            ("W", 1_708_905_600_000, 7 * DAY_MS),  // Monday the 26th
            ("M", 1_706_745_600_000, 29 * DAY_MS), // the 1st, of a leap year
        ];
        for (name, start, length) in rows {
            let at = INTERVALS.iter().position(|i| *i == name).unwrap();
            assert_eq!(span(at, LEAP_MS), (start, start + length), "{name}");
        }
        for time in [0, 1, u64::MAX / 2_000] {
            for at in 0..INTERVALS.len() {
                let (start, end) = span(at, time);
                assert!(start < end && (start <= time || at == 11), "{at} {time}");
            }
        }
    }

    #[test]
    fn aggregation_as_values_come_equals_aggregation_of_all_of_them() {
        let mut rng = super::super::rng::Rng::new(4);
        let (mut bars, mut trades, mut time) = (Bars::default(), Vec::new(), LEAP_MS);
        for _ in 0..4_000 {
            time += rng.exponential(20_000);
            let px = Px::from_raw(i64::try_from(100_000_000_000 + rng.below(1_000_000_000)).unwrap());
            let qty = Qty::from_raw(i64::try_from(1 + rng.below(100_000_000)).unwrap());
            bars.trade(time, px, qty);
            trades.push((time, px.raw(), qty.raw()));
        }
        for (at, name) in INTERVALS.into_iter().enumerate() {
            let ring = bars.of(name).unwrap();
            assert!(ring.len() <= KEPT);
            let mut close = None;
            for (bar, next) in ring.iter().zip(ring.iter().skip(1)) {
                assert_eq!(bar.end, next.start, "{name}: a gap");
            }
            for bar in ring {
                let mine: Vec<_> = trades.iter().filter(|(t, _, _)| span(at, *t).0 == bar.start).collect();
                let (Some(first), Some(last)) = (mine.first(), mine.last()) else {
                    assert_eq!(Some(bar.close), close, "{name}: an empty bar repeats the close");
                    assert_eq!((bar.high, bar.low, bar.volume), (bar.close, bar.close, 0));
                    continue;
                };
                let px = |(_, px, _): &&(u64, i64, i64)| *px;
                let expected = (
                    first.1,
                    mine.iter().map(px).max(),
                    mine.iter().map(px).min(),
                    last.1,
                    mine.iter().map(|t| t.2).sum(),
                );
                assert_eq!((bar.open, Some(bar.high), Some(bar.low), bar.close, bar.volume), expected, "{name}");
                close = Some(bar.close);
            }
        }
        assert_eq!(bars.of("M").unwrap().len(), 2, "it ends in March");
        assert!(bars.of("7").is_none());
    }

    #[test]
    fn a_pause_longer_than_the_ring_starts_anew() {
        let mut bars = Bars::default();
        bars.note(LEAP_MS, 5);
        bars.note(LEAP_MS + 5_000 * MINUTE_MS, 7);
        assert_eq!(bars.of("1").unwrap().len(), 1);
        assert_eq!(bars.of("60").unwrap().len(), 84);
    }
}

//! The market of the measurement: one book whose best bid moves on every tick.
//!
//! In: how many ticks, how far apart, how many at once. Out: a tape of `orderbook.50` frames, one snapshot and then deltas
//! of nine levels, about 340 bytes, as the recorded ones have. Each tick's best bid is another one than the tick's before,
//! so that a rule "order on each move of the touch" orders once a tick, and the order's price names the tick.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

/// The one instrument.
pub const SYMBOL: &str = "BTCUSDT";
/// Levels a side.
const DEPTH: i64 = 50;
/// Levels of a usual delta.
pub const LEVELS: usize = 9;
/// Levels of the largest delta.
pub const MOST_LEVELS: usize = 50;
/// Tenths of a dollar: the best bid moves between `BASE` and `BASE + REACH`.
const BASE: i64 = 600_000;
const REACH: i64 = 200;
/// Best ask, never reached.
const ASK: i64 = BASE + REACH + 20;
/// Nanoseconds of tape before the first delta: time to subscribe and to arm.
const LEAD: u64 = 1_000_000_000;
/// Where tape time begins: 2026-01-01.
pub const EPOCH: u64 = 1_767_225_600_000_000_000;

/// How ticks follow each other.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many.
    pub ticks: u64,
    /// In a second, on average.
    pub rate: u64,
    /// At once.
    pub burst: u64,
    /// Levels of each.
    pub levels: usize,
}

impl Load {
    /// Nanoseconds from the first tick to this one.
    #[must_use]
    pub const fn due(&self, tick: u64) -> u64 {
        (tick / self.burst) * (1_000_000_000 * self.burst / self.rate)
    }
}

/// Best bid after this tick, in tenths of a dollar: up `REACH` ticks, down `REACH` ticks.
const fn best(tick: u64) -> i64 {
    let phase = (tick % (2 * REACH.unsigned_abs())).cast_signed();
    BASE + if phase < REACH { phase } else { 2 * REACH - phase }
}

fn price(tenths: i64) -> String {
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn quantity(seed: u64) -> String {
    format!("{}.{:03}", 1 + seed % 7, 100 + seed * 37 % 900)
}

fn frame(kind: &str, bids: &str, asks: &str, at: u64, u: u64) -> String {
    let (ms, seq) = (at / 1_000_000, 10_000 + u * 3);
    format!(
        "{{\"topic\":\"orderbook.50.{SYMBOL}\",\"type\":\"{kind}\",\"ts\":{ms},\"data\":{{\"s\":\"{SYMBOL}\",\"b\":[{bids}],\"a\":[{asks}],\"u\":{u},\"seq\":{seq}}},\"cts\":{ms}}}"
    )
}

fn levels(rows: impl Iterator<Item = (i64, String)>) -> String {
    let mut text = String::new();
    for (px, qty) in rows {
        let comma = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{comma}[\"{}\",\"{qty}\"]", price(px));
    }
    text
}

/// All levels, before the first tick.
#[must_use]
pub fn snapshot(at: u64) -> String {
    let bids = levels((0..DEPTH).map(|n| (best(0) - n, quantity(n.unsigned_abs()))));
    let asks = levels((0..DEPTH).map(|n| (ASK + n, "9.500".to_owned())));
    frame("snapshot", &bids, &asks, at, 1)
}

/// Nine levels: the touch moves by one, the far end follows, the rest are changes of size.
#[must_use]
pub fn delta(tick: u64, at: u64) -> String {
    delta_of(LEVELS, tick, at)
}

/// The same with so many levels; more than nine change further asks, fewer than nine are nine.
#[must_use]
pub fn delta_of(count: usize, tick: u64, at: u64) -> String {
    let (was, is) = (best(tick - 1), best(tick));
    let mut rows = Vec::new();
    if is < was {
        rows.push((was, "0".to_owned()));
    }
    rows.push((is, quantity(tick)));
    for n in 1..5 {
        rows.push((is - n * 3, quantity(tick + n.unsigned_abs())));
    }
    rows.push(if is > was { (was - DEPTH + 1, "0".to_owned()) } else { (is - DEPTH + 1, quantity(tick + 9)) });
    let more = count.clamp(LEVELS, MOST_LEVELS) - LEVELS;
    let more = (ASK + 8..).take(more).zip(tick + 7..).map(|(px, seed)| (px, quantity(seed)));
    let asks = levels([(ASK + 3, quantity(tick + 5)), (ASK + 7, quantity(tick + 6))].into_iter().chain(more));
    frame("delta", &levels(rows.into_iter()), &asks, at, tick + 1)
}

/// The frames of a load with their times, one after the other: the snapshot, then ticks without an end.
#[must_use]
pub fn maker(load: Load) -> Box<dyn FnMut() -> (u64, Vec<u8>) + Send> {
    let mut next = 0;
    Box::new(move || {
        let tick = next;
        next += 1;
        if tick == 0 {
            return (EPOCH, snapshot(EPOCH).into_bytes());
        }
        let at = EPOCH + LEAD + load.due(tick - 1);
        (at, delta_of(load.levels, tick, at).into_bytes())
    })
}

/// Writes the tape.
pub fn write(path: &Path, load: &Load) -> io::Result<()> {
    let (mut file, mut make) = (io::BufWriter::new(std::fs::File::create(path)?), maker(*load));
    for _ in 0..=load.ticks {
        let (at, frame) = make();
        write!(file, "{at}\t")?;
        file.write_all(&frame)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tick_moves_the_touch_and_says_where() {
        for tick in 1..1_000 {
            assert_ne!(best(tick), best(tick - 1));
            let text = delta(tick, EPOCH);
            assert!(text.contains(&format!("[\"{}\",", price(best(tick)))), "{text}");
            assert!((290..400).contains(&text.len()), "{} bytes", text.len());
            let wide = delta_of(MOST_LEVELS, tick, EPOCH);
            assert!(wide.contains(&format!("[\"{}\",", price(best(tick)))), "{wide}");
            assert_eq!(wide.matches("[\"").count(), text.matches("[\"").count() + MOST_LEVELS - LEVELS);
        }
    }
}

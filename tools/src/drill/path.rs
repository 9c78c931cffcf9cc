//! From recorded bars to a market: a seeded path through every bar, and the frames a venue would have sent on it.
//!
//! ```text
//!   bar   open -> low -> high -> close, or high first, the extremes at random moments of the bar; between them a straight
//!         line with noise, never outside the bar. Sums, products and comparisons only: the same numbers on every machine.
//!   index the path itself, smoothed over [`SMOOTHING`] steps; the mark is the index
//!   book  [`LEVELS`] a side, [`GAP`] apart; together they show [`SHOWN`] steps of the bar's mean volume, and the more the
//!         price moved in the last step, the less
//! print each step's share of the bar's volume, at the path's price, by whoever moved it there
//! ```
//!
//! What is assumed is said here and in the report: bars do not know where within them the extremes stood, nor books.

use anyhow::{Context, Result, ensure};
use keel_core::units::{Px, Qty};
use keel_gateway::sim::Spec;
use std::fmt::Write as _;
use std::path::Path;

/// Milliseconds between two pictures of the market.
pub(super) const STEP_MS: u64 = 500;
/// Levels a side.
const LEVELS: i64 = 10;
/// Basis points between two levels, and half of the spread at rest.
const GAP: f64 = 1.0;
/// Steps of the bar's mean volume that are displayed a side.
const SHOWN: f64 = 20.0;
/// Steps over which the index follows the path.
const SMOOTHING: f64 = 10.0;
/// Steps of a day.
const STEPS_A_DAY: f64 = 172_800.0;
/// Noise of one step, as a share of the bar's range.
const NOISE: f64 = 0.01;

/// One recorded bar.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bar {
    /// When it began, milliseconds since 1970.
    pub(super) start: u64,
    open: f64,
    high: f64,
    low: f64,
    close: f64,
    volume: f64,
}

/// Bars of a file (`t,open,high,low,close,volume`) between two moments as the file writes them.
pub(super) fn bars(path: &Path, from: &str, to: &str) -> Result<Vec<Bar>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut bars = Vec::new();
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let [at, rest @ ..] = &cells[..] else { continue };
        if *at < from || *at >= to {
            continue;
        }
        let numbers: Vec<f64> = rest.iter().map(|cell| cell.parse()).collect::<Result<_, _>>().context("a number")?;
        let [open, high, low, close, volume] = numbers[..] else { anyhow::bail!("{line}: not a bar") };
        ensure!(low > 0.0 && low <= open.min(close) && high >= open.max(close), "{line}: not a bar");
        let time = at.replace(' ', "T") + "Z";
        let start: jiff::Timestamp = time.parse().with_context(|| format!("{at} is no time"))?;
        bars.push(Bar { start: u64::try_from(start.as_millisecond())?, open, high, low, close, volume });
    }
    ensure!(bars.len() > 1, "{}: no bars from {from} to {to}", path.display());
    Ok(bars)
}

/// Even numbers from a seed.
#[derive(Clone, Debug)]
pub(super) struct Luck(u64);

impl Luck {
    /// From a seed.
    #[must_use]
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// From 0 to 1.
    #[allow(clippy::cast_precision_loss, reason = "53 bits are kept")]
    fn even(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The price at every step of every bar, with the volume a step of that bar holds.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of steps are small"
)]
#[must_use]
pub(super) fn path(bars: &[Bar], luck: &mut Luck) -> Vec<(f64, f64)> {
    let span = bars.windows(2).map(|pair| pair[1].start - pair[0].start).min().unwrap_or(3_600_000);
    let steps = (span / STEP_MS).max(8) as usize;
    let mut all = Vec::with_capacity(bars.len() * steps);
    for bar in bars {
        let falls = bar.close < bar.open;
        let (first, second) = if falls { (bar.high, bar.low) } else { (bar.low, bar.high) };
        let one = (steps as f64 * (0.1 + 0.3 * luck.even())) as usize;
        let two = (steps as f64 * (0.55 + 0.35 * luck.even())) as usize;
        let knots = [(0, bar.open), (one, first), (two, second), (steps, bar.close)];
        for pair in knots.windows(2) {
            let ((from, start), (to, end)) = (pair[0], pair[1]);
            for at in from..to {
                let line = start + (end - start) * (at - from) as f64 / (to - from) as f64;
                let noise = (luck.even() - 0.5) * 2.0 * NOISE * (bar.high - bar.low);
                let px = if at == from { line } else { (line + noise).clamp(bar.low, bar.high) };
                all.push((px, bar.volume / steps as f64));
            }
        }
    }
    all
}

/// One instrument's market over time.
#[derive(Debug)]
pub(super) struct Tape {
    symbol: String,
    tick: Px,
    step: Qty,
    path: Vec<(f64, f64)>,
    index: f64,
    u: u64,
}

impl Tape {
    /// On this path.
    #[must_use]
    pub(super) fn new(spec: &Spec, path: Vec<(f64, f64)>) -> Self {
        let index = path.first().map_or(0.0, |(px, _)| *px);
        let (tick, step) = (spec.instrument.tick, spec.instrument.step);
        Self { symbol: spec.symbol().to_owned(), tick, step, path, index, u: 0 }
    }

    /// Steps there are.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.path.len()
    }

    /// The price at a step.
    #[must_use]
    pub(super) fn price(&self, at: usize) -> f64 {
        self.path.get(at).map_or(0.0, |(px, _)| *px)
    }

    /// The frames of a step: mark and index, what printed on the way there, then the book.
    pub(super) fn frames(&mut self, at: usize, ts: u64) -> [String; 3] {
        let (px, volume) = self.path[at];
        let before = self.price(at.saturating_sub(1));
        self.index += (px - self.index) / SMOOTHING;
        self.u += 1;
        let moved = ((px - before) / px).abs() * 10_000.0;
        [self.ticker(px, volume, ts), self.print(px, volume, px < before, ts), self.book(px, volume, moved, ts)]
    }

    /// The step's whole volume, at its price.
    fn print(&self, px: f64, volume: f64, falls: bool, ts: u64) -> String {
        let (at, qty, side) = (self.on_tick(px), self.quantity(volume), if falls { "Sell" } else { "Buy" });
        let (name, id, seq) = (&self.symbol, self.u, self.u * 10 - 1);
        format!(
            r#"{{"topic":"publicTrade.{name}","type":"snapshot","ts":{ts},"data":[{{"T":{ts},"s":"{name}","S":"{side}","v":"{qty}","p":"{at}","L":"ZeroPlusTick","i":"{id}","BT":false,"seq":{seq}}}]}}"#,
        )
    }

    fn ticker(&self, px: f64, volume: f64, ts: u64) -> String {
        let (index, last) = (self.on_tick(self.index), self.on_tick(px));
        let day = self.quantity(volume * STEPS_A_DAY);
        format!(
            r#"{{"topic":"tickers.{0}","type":"snapshot","cs":{1},"ts":{ts},"data":{{"symbol":"{0}","lastPrice":"{last}","markPrice":"{index}","indexPrice":"{index}","fundingRate":"0.0001","nextFundingTime":"{2}","volume24h":"{day}"}}}}"#,
            self.symbol,
            self.u,
            ts + 86_400_000
        )
    }

    /// A whole picture: the spread opens and the depth goes as the price runs.
    fn book(&self, px: f64, volume: f64, moved: f64, ts: u64) -> String {
        let half = GAP * 0.5 + moved * 0.1;
        let shown = volume * SHOWN / 10.0 / (1.0 + moved * 0.1);
        let qty = self.quantity(shown);
        let side = |sign: f64| {
            let mut text = String::new();
            let mut last = Px::ZERO;
            for level in 0..LEVELS {
                #[allow(clippy::cast_precision_loss, reason = "ten levels")]
                let away = half + GAP * level as f64;
                let at = self.on_tick(px * (1.0 + sign * away / 10_000.0));
                let at = if at == last { at + if sign > 0.0 { self.tick } else { -self.tick } } else { at };
                last = at;
                let _ = write!(text, r#"{}["{at}","{qty}"]"#, if level == 0 { "" } else { "," });
            }
            text
        };
        format!(
            r#"{{"topic":"orderbook.50.{0}","type":"snapshot","ts":{ts},"data":{{"s":"{0}","b":[{1}],"a":[{2}],"u":{3},"seq":{4}}},"cts":{ts}}}"#,
            self.symbol,
            side(-1.0),
            side(1.0),
            self.u + 1,
            self.u * 10
        )
    }

    #[allow(clippy::cast_possible_truncation, reason = "prices of coins fit")]
    fn on_tick(&self, px: f64) -> Px {
        Px::from_raw((px * 1e8) as i64).floor_to(self.tick).max(self.tick)
    }

    #[allow(clippy::cast_possible_truncation, reason = "quantities of coins fit")]
    fn quantity(&self, coins: f64) -> Qty {
        Qty::from_raw((coins * 1e8) as i64).floor_to(self.step).max(self.step)
    }
}

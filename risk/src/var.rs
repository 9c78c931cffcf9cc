//! Value at risk without a sort: what each past day would do to this book, kept current by rank-1 updates.
//!
//! In: a matrix of past returns (instruments x scenarios) and the value of each instrument's legs. Out: the answer to
//! "would at most `k - 1` scenarios lose more than the limit?", the exact value at risk and expected shortfall. Never: an
//! answer from a number that is none: NaN, infinity and subnormal returns are refused at the door, and every comparison
//! is written so that NaN counts as a loss.
//!
//! ```text
//!   P[s] = sum over i of position_i * r[i][s]                                   the filled book
//!   W[s] = sum over i of position_i * r + buys_i * min(r, 0) - sells_i * max(r, 0)   everything open, filled at worst
//!
//!   VaR <= L    <=>    #{ s : W[s] < -L } <= k - 1        k = ceil(tail * N), from integers
//! ```
//!
//! Orders fill independently, so the worst subset of fills can be chosen per scenario: `W <= P(any subset)` pointwise,
//! hence its order statistics are below too, and VaR(W) bounds the value at risk of every subset of fills.
//!
//! Sources: order statistic as in QuantLib's `RiskStatistics`; expected shortfall of Acerbi & Tasche (2002), Rockafellar
//! & Uryasev (2000), whose `t + E[max(loss - t, 0)] / tail` bounds the shortfall for every `t`.

use crate::exposure::Legs;
use crate::limits::LimitsError;
use keel_core::ids::{InstrumentId, Symbol};
use keel_core::instrument::Instruments;
use std::cmp::Ordering;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Scenarios a lane: rows are padded to a multiple.
const LANES: usize = 16;
/// Scenarios needed for each expected exceedance: five points in the tail.
pub const TAIL_POINTS: usize = 5;
/// Scenarios a set may hold; more are refused.
pub const MAX_SCENARIOS: usize = 4096;

#[derive(Clone, Copy, Debug, Default, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
struct Lane([f64; LANES]);

/// Returns, one row an instrument, one column a day (or a named stress).
#[derive(Clone, Debug)]
pub struct Scenarios {
    returns: Vec<Lane>,
    lanes: usize,
    count: usize,
    covered: Vec<bool>,
    /// Lowest and highest return of each row.
    extremes: Vec<[f64; 2]>,
}

impl Scenarios {
    /// One series a symbol, all of the same length, oldest first. A series for a symbol that is not in the table is
    /// ignored; an instrument without a series is not covered, and orders that add to it are refused.
    pub fn new(instruments: &Instruments, series: &[(Symbol, &[f64])]) -> Result<Self, LimitsError> {
        let count = series.first().map_or(0, |(_, returns)| returns.len());
        let sound = |returns: &[f64]| returns.len() == count && returns.iter().all(|r| is_return(*r));
        if count == 0 || count > MAX_SCENARIOS || !series.iter().all(|(_, returns)| sound(returns)) {
            return Err(LimitsError::BadScenarios);
        }
        let (rows, lanes) = (instruments.rows().len(), count.div_ceil(LANES));
        let mut this = Self {
            returns: vec![Lane::default(); rows * lanes],
            lanes,
            count,
            covered: vec![false; rows],
            extremes: vec![[0.0; 2]; rows],
        };
        for (symbol, returns) in series {
            let Some(row) = instruments.by_symbol(symbol.bytes()) else { continue };
            this.covered[row.id.index()] = true;
            for (at, r) in returns.iter().enumerate() {
                // adding zero turns -0 into 0: one bit pattern for "nothing happened"
                this.returns[row.id.index() * lanes + at / LANES].0[at % LANES] = r + 0.0;
                let [low, high] = this.extremes[row.id.index()];
                this.extremes[row.id.index()] = [low.min(*r), high.max(*r)];
            }
        }
        Ok(this)
    }

    /// No scenarios for no instruments.
    pub(crate) const fn none() -> Self {
        Self { returns: Vec::new(), lanes: 0, count: 0, covered: Vec::new(), extremes: Vec::new() }
    }

    /// How many.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Is there a series for this instrument?
    #[must_use]
    pub fn covers(&self, id: InstrumentId) -> bool {
        self.covered.get(id.index()).is_some_and(|covered| *covered)
    }

    /// One return; zero where there is none.
    #[must_use]
    pub fn at(&self, id: InstrumentId, scenario: usize) -> f64 {
        self.row(id).and_then(|row| row.get(scenario / LANES)).map_or(0.0, |lane| lane.0[scenario % LANES])
    }

    /// The return that hurts this order most.
    fn extreme(&self, shock: Shock) -> f64 {
        self.extremes
            .get(shock.instrument.index())
            .map_or(0.0, |[low, high]| if shock.value > 0.0 { *low } else { *high })
    }

    fn row(&self, id: InstrumentId) -> Option<&[Lane]> {
        self.returns.get(id.index() * self.lanes..(id.index() + 1) * self.lanes)
    }
}

/// A price cannot fall by more than all of it; beyond +10,000 % a series is broken, not volatile.
fn is_return(r: f64) -> bool {
    (r == 0.0 || r.is_normal()) && (-1.0..=100.0).contains(&r)
}

/// `ceil(tail * n)`, at least 1, from integers.
#[must_use]
pub const fn tail_count(n: usize, tail_bps: u32) -> usize {
    let k = (n * tail_bps as usize).div_ceil(10_000);
    if k == 0 { 1 } else { k }
}

/// An order as the scenarios see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shock {
    /// On what.
    pub instrument: InstrumentId,
    /// Signed value if it filled, USDT.
    pub value: f64,
    /// What it loses for certain: paying through the mark. Never negative.
    pub cost: f64,
}

/// What a limit decision saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tail {
    /// Scenarios that lose more than the threshold.
    pub beyond: u32,
    /// What they lose beyond it, together, USDT.
    pub excess: f64,
}

/// The book's outcome in every scenario.
#[derive(Clone, Debug)]
pub struct Outcomes {
    scenarios: Scenarios,
    legs: Vec<Legs>,
    filled: Vec<Lane>,
    worst: Vec<Lane>,
    fresh: Vec<Lane>,
    scratch: Vec<f64>,
    /// The lowest of each lane of `worst`, and of all of them: what an order cannot push below the floor is not read.
    lows: Vec<f64>,
    lowest: f64,
    sound: bool,
}

/// Value of a leg beyond which the sums are no longer trusted, USDT.
const ABSURD: f64 = 1e15;

impl Outcomes {
    /// An empty book.
    #[must_use]
    pub fn new(scenarios: Scenarios) -> Self {
        let lanes = vec![Lane::default(); scenarios.lanes];
        let legs = vec![Legs::default(); scenarios.covered.len()];
        let scratch = Vec::with_capacity(scenarios.count);
        Self {
            scenarios,
            scratch,
            legs,
            lows: vec![0.0; lanes.len()],
            filled: lanes.clone(),
            worst: lanes.clone(),
            fresh: lanes,
            lowest: 0.0,
            sound: true,
        }
    }

    /// What it is measured with.
    #[must_use]
    pub const fn scenarios(&self) -> &Scenarios {
        &self.scenarios
    }

    /// Outcome of the filled book, USDT, gains positive.
    pub fn filled(&self) -> impl Iterator<Item = f64> + '_ {
        unpadded(&self.filled, self.scenarios.count)
    }

    /// Outcome if everything open filled at worst, USDT, gains positive.
    pub fn worst(&self) -> impl Iterator<Item = f64> + '_ {
        unpadded(&self.worst, self.scenarios.count)
    }

    /// The legs of one instrument moved: one pass over its row.
    pub fn update(&mut self, id: InstrumentId, to: Legs) {
        // one absurd number and every later answer is "too much", until a restart
        self.sound &= [to.position, to.buys, to.sells].iter().all(|value| value.abs() < ABSURD);
        let (Some(row), Some(from)) = (self.scenarios.row(id), self.legs.get_mut(id.index())) else { return };
        let step = Step::between(*from, to);
        *from = to;
        if step.position != 0.0 {
            step.fill(row, &mut self.filled);
        }
        step.add(row, &mut self.worst);
        self.sink();
    }

    /// Notes how low `worst` goes.
    fn sink(&mut self) {
        self.lows.iter_mut().zip(&self.worst).for_each(|(low, lane)| *low = least(&lane.0));
        self.lowest = lowest(&self.lows);
    }

    /// How the tail would look beyond a loss of `limit` USDT with this order filled where it hurts.
    #[must_use]
    #[allow(clippy::needless_range_loop, reason = "three arrays in step are one vector instruction")]
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "counts of scenarios are small")]
    #[allow(clippy::cast_sign_loss, reason = "no more stand above the floor than there are")]
    pub fn tail(&self, limit: f64, shock: Shock) -> Tail {
        let known = self.sound && shock.value.abs() < ABSURD && (0.0..ABSURD).contains(&shock.cost) && limit > 0.0;
        let Some(row) = self.scenarios.row(shock.instrument).filter(|_| known) else {
            return Tail { beyond: u32::MAX, excess: f64::INFINITY };
        };
        let floor = shock.cost - limit;
        // rounding keeps order: where the lowest scenario with the worst return stays above the floor, every scenario does
        let reach = below_zero(shock.value * self.scenarios.extreme(shock));
        if self.lowest + reach >= floor {
            return Tail { beyond: 0, excess: 0.0 };
        }
        // which lanes can hold a loss beyond it; without a branch, for nobody can predict which
        let (mut doubtful, mut doubts) = ([0u16; MAX_SCENARIOS / LANES], 0);
        for (at, low) in (0u16..).zip(&self.lows) {
            doubtful[doubts] = at;
            doubts +=
                usize::from(!matches!((low + reach).partial_cmp(&floor), Some(Ordering::Greater | Ordering::Equal)));
        }
        // counting those known to stand above the floor makes a NaN a loss; floats, to stay in the width of the lanes
        let (mut within, mut excess) = ([0.0f64; LANES], [0.0f64; LANES]);
        for at in &doubtful[..doubts] {
            let (worst, returns) = (&self.worst[usize::from(*at)], &row[usize::from(*at)]);
            for lane in 0..LANES {
                let outcome = worst.0[lane] + below_zero(shock.value * returns.0[lane]);
                within[lane] += if outcome >= floor { 1.0 } else { 0.0 };
                let under = floor - outcome;
                // NaN stays: it is no excess of nothing
                excess[lane] += if under <= 0.0 { 0.0 } else { under };
            }
        }
        // padding stands at zero: above the floor, unless the order's certain cost alone is beyond the limit
        let padding = if floor > 0.0 { (self.worst.len() * LANES - self.scenarios.count) as f64 } else { 0.0 };
        let beyond = (doubts * LANES) as f64 - within.iter().sum::<f64>() - padding;
        Tail { beyond: beyond as u32, excess: excess.iter().sum::<f64>() - padding * above_zero(floor) }
    }

    /// The largest loss in any scenario with this order filled where it hurts, USDT: at least the certain
    /// cost of the order; infinite when it is not known.
    #[must_use]
    pub fn worst_loss(&self, shock: Shock) -> f64 {
        let known = self.sound && shock.value.abs() < ABSURD && (0.0..ABSURD).contains(&shock.cost);
        let Some(row) = self.scenarios.row(shock.instrument).filter(|_| known) else { return f64::INFINITY };
        let mut losses = [f64::NEG_INFINITY; LANES];
        for (worst, returns) in self.worst.iter().zip(row) {
            for ((most, worst), r) in losses.iter_mut().zip(worst.0).zip(returns.0) {
                let loss = shock.cost - (worst + below_zero(shock.value * r));
                *most = if loss <= *most { *most } else { loss };
            }
        }
        losses.iter().fold(shock.cost, |most: f64, loss| if *loss <= most { most } else { *loss })
    }

    /// Exact value at risk and shortfall with everything open filled at worst; `None` when a number is none. Uses scratch of
    /// its own: nothing is allocated.
    pub fn worst_risk(&mut self, tail_bps: u32) -> Option<Risk> {
        let mut scratch = core::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.extend_from_slice(&flat(&self.worst)[..self.scenarios.count]);
        let risk = if self.sound { measure(&mut scratch, tail_bps) } else { None };
        self.scratch = scratch;
        risk
    }

    /// How far both sums are from what the legs alone give, relative to the gross value of the book; infinite when a number is
    /// none. Changes nothing: a clone can be asked on any thread, whatever the one that trades does meanwhile.
    #[must_use]
    pub fn drift(&self) -> f64 {
        self.clone().recompute()
    }

    /// Recomputes both sums from the legs alone, puts them in force, and returns the largest difference found, relative
    /// to the gross value of the book; infinite when a number is none.
    #[allow(clippy::needless_range_loop, reason = "four arrays in step are one vector instruction")]
    pub fn recompute(&mut self) -> f64 {
        let mut worst = core::mem::take(&mut self.fresh);
        let (mut drift, mut total) = ([0.0f64; LANES], [0.0f64; LANES]);
        let gross: f64 = self.legs.iter().map(|legs| legs.position.abs() + legs.buys + legs.sells).sum();
        for filled_pass in [true, false] {
            worst.fill(Lane::default());
            for (at, legs) in self.legs.iter().enumerate() {
                let row = &self.scenarios.returns[at * self.scenarios.lanes..(at + 1) * self.scenarios.lanes];
                let step = Step::between(Legs::default(), *legs);
                if filled_pass { step.fill(row, &mut worst) } else { step.add(row, &mut worst) }
            }
            let kept = if filled_pass { &mut self.filled } else { &mut self.worst };
            for (old, new) in kept.iter().zip(&worst) {
                for lane in 0..LANES {
                    let gap = (old.0[lane] - new.0[lane]).abs();
                    drift[lane] = higher(gap, drift[lane]);
                    total[lane] += gap;
                }
            }
            core::mem::swap(kept, &mut worst);
        }
        self.fresh = worst;
        self.sink();
        // a sum forgets no gap that is none
        let known = total.iter().sum::<f64>().is_finite();
        if known { drift.into_iter().fold(0.0, higher) / gross.max(1.0) } else { f64::INFINITY }
    }
}

/// `x` where it is a loss. One instruction, where `f64::min` must care for NaN; the callers know that `x` is a number.
fn below_zero(x: f64) -> f64 {
    if x < 0.0 { x } else { 0.0 }
}

fn above_zero(x: f64) -> f64 {
    if x > 0.0 { x } else { 0.0 }
}

/// The smaller; in this form one instruction.
fn lower(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

/// The larger, for numbers.
fn higher(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

/// The lowest of a lane, by halves: each is a vector.
fn least(lane: &[f64; LANES]) -> f64 {
    const { assert!(LANES == 16, "four halvings") };
    let mut low = *lane;
    for half in [8, 4, 2, 1] {
        for at in 0..half {
            low[at] = lower(low[at], low[at + half]);
        }
    }
    low[0]
}

/// The lowest of all; padding stands at zero, which only makes it lower.
fn lowest(lows: &[f64]) -> f64 {
    let (chunks, rest) = lows.as_chunks::<LANES>();
    let mut low = [f64::INFINITY; LANES];
    for chunk in chunks {
        for (low, x) in low.iter_mut().zip(chunk) {
            *low = lower(*x, *low);
        }
    }
    rest.iter().fold(least(&low), |low, x| lower(*x, low))
}

fn unpadded(lanes: &[Lane], count: usize) -> impl Iterator<Item = f64> + '_ {
    lanes.iter().flat_map(|lane| lane.0).take(count)
}

/// What a change of legs adds per unit of return.
#[derive(Clone, Copy)]
struct Step {
    position: f64,
    down: f64,
    up: f64,
}

impl Step {
    fn between(from: Legs, to: Legs) -> Self {
        let position = to.position - from.position;
        Self { position, down: position + (to.buys - from.buys), up: position - (to.sells - from.sells) }
    }

    fn fill(self, row: &[Lane], filled: &mut [Lane]) {
        for (filled, r) in flat_mut(filled).iter_mut().zip(flat(row)) {
            *filled += self.position * r;
        }
    }

    /// A return falls or rises, so one of two products is nothing: choosing the factor gives the bits of their sum.
    fn add(self, row: &[Lane], worst: &mut [Lane]) {
        for (worst, r) in flat_mut(worst).iter_mut().zip(flat(row)) {
            *worst += if *r < 0.0 { self.down } else { self.up } * r;
        }
    }
}

/// Lanes as one row of numbers: a loop over it is one the compiler turns into vectors.
fn flat(lanes: &[Lane]) -> &[f64] {
    zerocopy::transmute_ref!(lanes)
}

fn flat_mut(lanes: &mut [Lane]) -> &mut [f64] {
    zerocopy::transmute_mut!(lanes)
}

/// Value at risk and expected shortfall of outcomes (gains positive), both signed: positive is a loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Risk {
    /// The `k`-th worst outcome, as a loss.
    pub var: f64,
    /// Mean of the worst `tail * N` outcomes, the last one in part, as a loss.
    pub es: f64,
    /// Which order statistic.
    pub k: usize,
}

/// What a book may lose with everything open filled at worst, for people and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// Over the scenarios; `None` without any, or when a number is none.
    pub risk: Option<Risk>,
    /// In the worst stress scenario, USDT; `None` before the first look.
    pub stress: Option<f64>,
}

/// Exact value at risk and expected shortfall by selection; reorders `outcomes`. `None` when there are none, one is not
/// finite, or the tail is not between 1 and 10,000 basis points.
#[must_use]
pub fn measure(outcomes: &mut [f64], tail_bps: u32) -> Option<Risk> {
    if outcomes.is_empty() || tail_bps == 0 || tail_bps > 10_000 || !outcomes.iter().all(|x| x.is_finite()) {
        return None;
    }
    let k = tail_count(outcomes.len(), tail_bps);
    outcomes.select_nth_unstable_by(k - 1, f64::total_cmp);
    outcomes[..k].sort_unstable_by(f64::total_cmp);
    Some(of_sorted_tail(&outcomes[..k], outcomes.len(), tail_bps, k))
}

#[allow(clippy::cast_precision_loss, reason = "counts of scenarios are small")]
fn of_sorted_tail(tail: &[f64], n: usize, tail_bps: u32, k: usize) -> Risk {
    let points = n * tail_bps as usize;
    let (whole, mass) = (points / 10_000, points as f64 / 10_000.0);
    let sum: f64 = tail[..whole].iter().sum();
    let part = if whole < k { (mass - whole as f64) * tail[whole] } else { 0.0 };
    Risk { var: -tail[k - 1], es: -(sum + part) / mass, k }
}

#[cfg(test)]
#[path = "var_tests.rs"]
#[allow(
    clippy::cast_precision_loss,
    clippy::float_cmp,
    clippy::needless_range_loop,
    reason = "the slow twin is meant to be plain"
)]
pub(crate) mod tests;

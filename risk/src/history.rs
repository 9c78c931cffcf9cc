//! The same book seen by other models of its past: shown beside the historical value at risk, never instead of it.
//!
//! In: outcomes of today's book on past days (oldest first, gains positive), or a covariance. Out: signed losses, or `None`
//! where a history is too short or holds a number that is none. Sources: RiskMetrics (1996) for the exponentially weighted
//! variance; Hull & White (1998), Barone-Adesi (1999) for filtering; Boudoukh, Richardson & Whitelaw (1998) for age
//! weights; Cornish & Fisher with Maillard's (2012) warning: not monotone for the skews and kurtoses of coins.

use crate::normal::{density, quantile};
use crate::var::{Risk, measure, tail_count};

/// Decay of daily exponentially weighted variance.
pub const LAMBDA: f64 = 0.94;
/// Days whose mean square starts the recursion.
pub const SEED_DAYS: usize = 20;
/// First days left out of filtered outcomes: their variance still remembers how the recursion was started.
pub const BURN_DAYS: usize = 100;

/// Outcome of `values` (USDT, one an instrument) on every day of `returns` (one series an instrument).
#[must_use]
pub fn outcomes(returns: &[&[f64]], values: &[f64]) -> Vec<f64> {
    let days = returns.iter().map(|series| series.len()).min().unwrap_or(0);
    (0..days).map(|day| returns.iter().zip(values).map(|(series, value)| value * series[day]).sum()).collect()
}

/// Exponentially weighted variance after each of `xs`, starting from `start`.
pub fn ewma(start: f64, lambda: f64, xs: &[f64]) -> impl Iterator<Item = f64> + '_ {
    xs.iter().scan(start, move |variance, x| {
        *variance = lambda * *variance + (1.0 - lambda) * x * x;
        Some(*variance)
    })
}

fn mean(xs: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = size(xs.len());
    xs.sum::<f64>() / count
}

#[allow(clippy::cast_precision_loss, reason = "counts of days are small")]
const fn size(count: usize) -> f64 {
    count as f64
}

fn probability(tail_bps: u32) -> f64 {
    f64::from(tail_bps) / 10_000.0
}

fn sound(xs: &[f64], at_least: usize) -> bool {
    xs.len() >= at_least && xs.iter().all(|x| x.is_finite())
}

/// Variance of tomorrow, and of each day as it was forecast the evening before.
fn variances(xs: &[f64], lambda: f64) -> (Vec<f64>, f64) {
    let start = mean(xs[..SEED_DAYS].iter().map(|x| x * x));
    let mut forecast = vec![start];
    forecast.extend(ewma(start, lambda, xs));
    let tomorrow = forecast.pop().unwrap_or(start);
    (forecast, tomorrow)
}

/// Exponentially weighted, normal, zero mean.
#[must_use]
pub fn ewma_var(xs: &[f64], lambda: f64, tail_bps: u32) -> Option<f64> {
    sound(xs, SEED_DAYS).then(|| -quantile(probability(tail_bps)) * variances(xs, lambda).1.sqrt())
}

/// Each day scaled to tomorrow's volatility, then historical. The first [`BURN_DAYS`] are left out.
#[must_use]
pub fn filtered(xs: &[f64], lambda: f64, tail_bps: u32) -> Option<Risk> {
    if !sound(xs, BURN_DAYS + SEED_DAYS) {
        return None;
    }
    let (forecast, tomorrow) = variances(xs, lambda);
    let scaled = xs.iter().zip(&forecast).skip(BURN_DAYS).map(|(x, then)| x * (tomorrow / then).sqrt());
    // a variance of zero makes an infinity, and `measure` refuses it
    measure(&mut scaled.collect::<Vec<_>>(), tail_bps)
}

/// Weights that fall with age by `decay` a day.
#[must_use]
pub fn age_weighted(xs: &[f64], decay: f64, tail_bps: u32) -> Option<f64> {
    let fades = decay > 0.0 && decay < 1.0;
    if !sound(xs, 1) || !fades {
        return None;
    }
    let mut weighted: Vec<(f64, f64)> = Vec::with_capacity(xs.len());
    let mut weight = 1.0;
    for x in xs.iter().rev() {
        weighted.push((*x, weight));
        weight *= decay;
    }
    let total: f64 = weighted.iter().map(|(_, w)| w).sum();
    weighted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut below = 0.0;
    for (x, w) in &weighted {
        below += w / total;
        if below >= probability(tail_bps) {
            return Some(-x);
        }
    }
    weighted.last().map(|(x, _)| -x)
}

/// Mean, deviation and shape of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// Mean.
    pub mean: f64,
    /// Standard deviation, dividing by `n`.
    pub deviation: f64,
    /// The same, dividing by `n - 1`.
    pub sample_deviation: f64,
    /// Skew.
    pub skew: f64,
    /// Kurtosis in excess of the normal's.
    pub excess: f64,
}

/// Of at least two finite numbers that are not all equal.
#[must_use]
pub fn moments(xs: &[f64]) -> Option<Moments> {
    if !sound(xs, 2) {
        return None;
    }
    let (n, centre) = (size(xs.len()), mean(xs.iter().copied()));
    let power = |k: i32| xs.iter().map(|x| (x - centre).powi(k)).sum::<f64>() / n;
    let variance = power(2);
    (variance > 0.0).then(|| Moments {
        mean: centre,
        deviation: variance.sqrt(),
        sample_deviation: (variance * n / (n - 1.0)).sqrt(),
        skew: power(3) / variance.powf(1.5),
        excess: power(4) / (variance * variance) - 3.0,
    })
}

/// The normal quantile `z` corrected for skew and excess kurtosis.
#[must_use]
pub fn cornish_fisher(z: f64, skew: f64, excess: f64) -> f64 {
    z + (z * z - 1.0) * skew / 6.0 + (z * z * z - 3.0 * z) * excess / 24.0
        - (2.0 * z * z * z - 5.0 * z) * skew * skew / 36.0
}

/// Value at risk by [`cornish_fisher`]: a diagnostic, never a limit.
#[must_use]
pub fn cornish_fisher_var(of: &Moments, tail_bps: u32) -> f64 {
    -(of.mean + of.deviation * cornish_fisher(quantile(probability(tail_bps)), of.skew, of.excess))
}

/// Normal with zero mean: value at risk and expected shortfall of a deviation.
#[must_use]
pub fn normal(deviation: f64, tail_bps: u32) -> (f64, f64) {
    let (p, z) = (probability(tail_bps), -quantile(probability(tail_bps)));
    (deviation * z, deviation * density(z) / p)
}

/// What each instrument adds to the deviation of a book: `(deviation, marginal a USDT, component)`. `covariance` is
/// square, row by row. Components add up to the deviation (Euler). `None` when the variance is not positive.
#[must_use]
pub fn contributions(values: &[f64], covariance: &[Vec<f64>]) -> Option<(f64, Vec<f64>, Vec<f64>)> {
    let pull: Vec<f64> = covariance.iter().map(|row| row.iter().zip(values).map(|(c, v)| c * v).sum()).collect();
    let variance: f64 = pull.iter().zip(values).map(|(p, v)| p * v).sum();
    if !(variance > 0.0 && variance.is_finite()) {
        return None;
    }
    let deviation = variance.sqrt();
    let marginal: Vec<f64> = pull.iter().map(|p| p / deviation).collect();
    let component = marginal.iter().zip(values).map(|(m, v)| m * v).collect();
    Some((deviation, marginal, component))
}

/// Sample covariance of `returns` (one series an instrument, dividing by days - 1), square, row by row. `None` below two days
/// or when a number is none.
#[must_use]
pub fn covariance(returns: &[&[f64]]) -> Option<Vec<Vec<f64>>> {
    let days = returns.iter().map(|series| series.len()).min()?;
    if days < 2 || !returns.iter().all(|series| sound(series, days)) {
        return None;
    }
    let centred = |series: &[f64]| {
        let centre = mean(series[..days].iter().copied());
        series[..days].iter().map(|r| r - centre).collect::<Vec<_>>()
    };
    let rows: Vec<Vec<f64>> = returns.iter().map(|series| centred(series)).collect();
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / size(days - 1);
    Some(rows.iter().map(|a| rows.iter().map(|b| product(a, b)).collect()).collect())
}

/// How much value at risk each instrument brings: that of the book less that of the book without it. Exact, and not
/// additive: a hedge brings less than nothing.
#[must_use]
pub fn incremental(returns: &[&[f64]], values: &[f64], tail_bps: u32) -> Option<Vec<f64>> {
    let whole = measure(&mut outcomes(returns, values), tail_bps)?.var;
    let without = |at: usize| {
        let mut values = values.to_vec();
        values[at] = 0.0;
        Some(whole - measure(&mut outcomes(returns, &values), tail_bps)?.var)
    };
    (0..values.len()).map(without).collect()
}

/// What each instrument adds to the expected shortfall: its mean loss on the worst days of the book. They add up to it.
#[must_use]
pub fn shortfall_components(returns: &[&[f64]], values: &[f64], tail_bps: u32) -> Option<Vec<f64>> {
    let book = outcomes(returns, values);
    if !sound(&book, 1) || tail_bps == 0 {
        return None;
    }
    let mut days: Vec<usize> = (0..book.len()).collect();
    days.sort_by(|a, b| book[*a].total_cmp(&book[*b]).then(a.cmp(b)));
    let mass = size(book.len()) * probability(tail_bps);
    let worst = &days[..tail_count(book.len(), tail_bps)];
    let share = |nth: usize| (mass - size(nth)).clamp(0.0, 1.0);
    let mean_loss = |series: &[f64], value: f64| {
        worst.iter().enumerate().map(|(nth, day)| -share(nth) * value * series[*day]).sum::<f64>() / mass
    };
    Some(returns.iter().zip(values).map(|(series, value)| mean_loss(series, *value)).collect())
}

/// Slope of `of` against `against` over the worst twentieth of days of `against`: how a coin falls when the other falls.
/// `None` below 100 common days or when `against` never moved.
#[must_use]
pub fn downside_beta(of: &[f64], against: &[f64]) -> Option<f64> {
    let count = of.len().min(against.len());
    let (of, against) = (&of[of.len() - count..], &against[against.len() - count..]);
    if !sound(of, 100) || !sound(against, 100) {
        return None;
    }
    let mut days: Vec<usize> = (0..count).collect();
    days.sort_by(|a, b| against[*a].total_cmp(&against[*b]).then(a.cmp(b)));
    let worst = &days[..count / 20];
    // through the origin: no fall there, none here
    let product: f64 = worst.iter().map(|day| of[*day] * against[*day]).sum();
    let square: f64 = worst.iter().map(|day| against[*day] * against[*day]).sum();
    let beta = product / square;
    beta.is_finite().then_some(beta)
}

/// A series of full length for a coin with a short history: its own days where it has them, before that `beta` times the
/// other's day, moved against us by `shock`. Never a zero.
#[must_use]
pub fn proxied(own: &[f64], other: &[f64], beta: f64, shock: f64) -> Vec<f64> {
    let missing = other.len().saturating_sub(own.len());
    let proxy = |r: &f64| (beta * r + if *r < 0.0 { -shock } else { shock }).clamp(-1.0, 100.0);
    let own = &own[own.len().saturating_sub(other.len())..];
    other[..missing].iter().map(proxy).chain(own.iter().copied()).collect()
}

#[cfg(test)]
#[path = "history_tests.rs"]
#[allow(clippy::cast_precision_loss, reason = "counts of days are small")]
mod tests;

//! Was yesterday's forecast any good? Counts of exceptions, their clustering, and the size of what lay beyond.
//!
//! In: what was forecast and what happened, one row a day. Out: likelihood ratios beside their critical values, a zone, a
//! statistic. Sources: Kupiec (1995); Christoffersen (1998); Basel (1996); Acerbi & Szekely (2014), second test.

use crate::var::measure;

/// 95 % of a chi-square with one degree of freedom.
pub const CHI2_1: f64 = 3.841_458_820_694_124;
/// 95 % of a chi-square with two degrees of freedom.
pub const CHI2_2: f64 = 5.991_464_547_107_979;
/// Below this the second test of Acerbi & Szekely says, at 5 %, that the shortfall was forecast too small.
pub const Z2_CRITICAL: f64 = -0.70;

#[allow(clippy::cast_precision_loss, reason = "counts of days are small")]
const fn size(count: usize) -> f64 {
    count as f64
}

/// `count * ln(p)`, nothing times anything being nothing.
fn weigh(count: usize, p: f64) -> f64 {
    if count == 0 { 0.0 } else { size(count) * p.ln() }
}

/// Were there as many exceptions as forecast? Likelihood ratio, chi-square with one degree of freedom. `None` without days,
/// with more exceptions than days, or a probability outside of (0, 1).
#[must_use]
pub fn kupiec(days: usize, exceptions: usize, p: f64) -> Option<f64> {
    if days == 0 || exceptions > days || !(p > 0.0 && p < 1.0) {
        return None;
    }
    let (calm, seen) = (days - exceptions, size(exceptions) / size(days));
    let forecast = weigh(calm, 1.0 - p) + weigh(exceptions, p);
    let observed = weigh(calm, 1.0 - seen) + weigh(exceptions, seen);
    Some((-2.0 * (forecast - observed)).max(0.0))
}

/// Days after days: `[calm then calm, calm then hit, hit then calm, hit then hit]`.
#[must_use]
pub fn transitions(hits: &[bool]) -> [usize; 4] {
    let mut counts = [0; 4];
    for pair in hits.windows(2) {
        counts[usize::from(pair[0]) * 2 + usize::from(pair[1])] += 1;
    }
    counts
}

/// Do exceptions come alone? Likelihood ratio, chi-square with one degree of freedom. `None` with fewer than two days.
#[must_use]
pub fn independence(hits: &[bool]) -> Option<f64> {
    let [n00, n01, n10, n11] = transitions(hits);
    if n00 + n01 + n10 + n11 == 0 {
        return None;
    }
    let share = |hit: usize, calm: usize| if hit + calm == 0 { 0.0 } else { size(hit) / size(hit + calm) };
    let (after_calm, after_hit, ever) = (share(n01, n00), share(n11, n10), share(n01 + n11, n00 + n10));
    let one = weigh(n00 + n10, 1.0 - ever) + weigh(n01 + n11, ever);
    let two =
        weigh(n00, 1.0 - after_calm) + weigh(n01, after_calm) + weigh(n10, 1.0 - after_hit) + weigh(n11, after_hit);
    Some((-2.0 * (one - two)).max(0.0))
}

/// Both at once: chi-square with two degrees of freedom.
#[must_use]
pub fn conditional(hits: &[bool], p: f64) -> Option<f64> {
    let exceptions = hits.iter().filter(|hit| **hit).count();
    Some(kupiec(hits.len(), exceptions, p)? + independence(hits)?)
}

/// Probability that a chi-square with one degree of freedom is larger: a likelihood ratio's p-value.
#[must_use]
pub fn beyond_1(ratio: f64) -> f64 {
    if ratio.is_nan() || ratio <= 0.0 {
        return if ratio.is_nan() { f64::NAN } else { 1.0 };
    }
    // the upper incomplete gamma function of 1/2: a series below, a continued fraction (Lentz) above
    let (a, x) = (0.5, ratio / 2.0);
    let front = (-x).exp() * x.sqrt() / core::f64::consts::PI.sqrt();
    if x < a + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
        while term > sum * f64::EPSILON {
            n += 1.0;
            term *= x / n;
            sum += term;
        }
        return (1.0 - front * sum).clamp(0.0, 1.0);
    }
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1.0 / f64::MIN_POSITIVE, 1.0 / b);
    let mut fraction = d;
    for step in 1..200 {
        let i = f64::from(step);
        let an = -i * (i - a);
        b += 2.0;
        d = 1.0 / (an * d + b);
        c = b + an / c;
        fraction *= d * c;
        if (d * c - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    (front * fraction).clamp(0.0, 1.0)
}

/// The same with two degrees of freedom.
#[must_use]
pub fn beyond_2(ratio: f64) -> f64 {
    (-ratio / 2.0).exp().min(1.0)
}

/// The supervisor's colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Zone {
    /// Nothing to explain.
    Green,
    /// More exceptions than 95 % of true models show.
    Yellow,
    /// More than 99.99 % of true models show.
    Red,
}

/// Probability of at most `exceptions` in `days`.
#[must_use]
pub fn cumulative(days: usize, exceptions: usize, p: f64) -> f64 {
    let mut term = size(days) * (1.0 - p).ln();
    let mut sum = term.exp();
    for x in 1..=exceptions.min(days) {
        term += (size(days - x + 1) / size(x)).ln() + p.ln() - (1.0 - p).ln();
        sum += term.exp();
    }
    sum.min(1.0)
}

/// The colour of this many exceptions.
#[must_use]
pub fn traffic_light(days: usize, exceptions: usize, p: f64) -> Zone {
    match cumulative(days, exceptions, p) {
        c if c >= 0.9999 => Zone::Red,
        c if c >= 0.95 => Zone::Yellow,
        _ => Zone::Green,
    }
}

/// One day: the loss that happened, and the value at risk and expected shortfall forecast for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Day {
    /// Positive is a loss.
    pub loss: f64,
    /// Forecast value at risk.
    pub var: f64,
    /// Forecast expected shortfall.
    pub es: f64,
}

/// Acerbi & Szekely's second statistic: 0 expected, negative when the shortfall was forecast too small. `None` without days
/// or with a forecast that is not positive.
#[must_use]
pub fn acerbi_szekely(days: &[Day], p: f64) -> Option<f64> {
    let sound =
        days.iter().all(|day| day.loss.is_finite() && day.var.is_finite() && day.es > 0.0 && day.es.is_finite());
    if days.is_empty() || !sound || !(p > 0.0 && p < 1.0) {
        return None;
    }
    let beyond: f64 = days.iter().filter(|day| day.loss > day.var).map(|day| day.loss / day.es).sum();
    Some(1.0 - beyond / (size(days.len()) * p))
}

/// Forecasts each day of `outcomes` from the `window` days before it, historically. `None` when none is left to forecast or
/// a number is none.
#[must_use]
pub fn historical(outcomes: &[f64], window: usize, tail_bps: u32) -> Option<Vec<Day>> {
    let forecast = |at: usize| {
        let risk = measure(&mut outcomes[at - window..at].to_vec(), tail_bps)?;
        Some(Day { loss: -outcomes[at], var: risk.var, es: risk.es })
    };
    (window > 0 && outcomes.len() > window).then(|| (window..outcomes.len()).map(forecast).collect())?
}

/// The days that lost more than was forecast.
#[must_use]
pub fn hits(days: &[Day]) -> Vec<bool> {
    days.iter().map(|day| day.loss > day.var).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_are_those_of_the_tables() {
        let rows = [
            (CHI2_1, 0.05),
            (6.634_896_601_021_213, 0.01),
            (0.454_936_423_119_572_7, 0.5),
            (1e-4, 0.992_021_287_370_7),
        ];
        for (ratio, p) in rows {
            assert!((beyond_1(ratio) - p).abs() < 1e-9, "{ratio} {}", beyond_1(ratio));
        }
        assert!((beyond_1(30.0) - 4.320_463_057_827_488e-8).abs() < 1e-16, "{}", beyond_1(30.0));
        assert!((beyond_2(CHI2_2) - 0.05).abs() < 1e-12);
        assert!(beyond_1(f64::NAN).is_nan() && beyond_1(0.0) == 1.0 && beyond_1(1e9) == 0.0);
    }
    use crate::var::tests::near;

    fn days(at: &[usize]) -> Vec<bool> {
        (0..250).map(|day| at.contains(&day)).collect()
    }

    #[test]
    fn golden_kupiec() {
        type Row = (usize, f64, &'static [(usize, f64)]);
        let rows: [Row; 4] = [
            (
                250,
                0.01,
                &[(0, 5.025_168), (1, 1.176_491), (2, 0.108_435), (3, 0.094_940), (4, 0.769_138), (5, 1.956_810)],
            ),
            (250, 0.01, &[(6, 3.555_355), (7, 5.496_990), (8, 7.733_551), (9, 10.229_031), (10, 12.955_491)]),
            (1000, 0.01, &[(4, 4.705_965), (5, 3.093_738), (10, 0.0), (16, 3.076_553), (17, 4.090_973)]),
            (250, 0.05, &[(6, 4.368_664), (7, 3.008_938), (12, 0.021_324), (19, 3.090_533), (20, 4.039_52)]),
        ];
        for (t, p, row) in rows {
            for (x, lr) in row {
                near(kupiec(t, *x, p).unwrap(), *lr, 1e-6);
            }
        }
        for (t, p, from, to) in [(250, 0.01, 1, 6), (500, 0.01, 2, 9), (1000, 0.01, 5, 16), (250, 0.05, 7, 19)] {
            let accepted: Vec<usize> = (0..60).filter(|x| kupiec(t, *x, p).unwrap() < CHI2_1).collect();
            assert_eq!((accepted[0], accepted[accepted.len() - 1]), (from, to));
        }
        assert_eq!((kupiec(0, 0, 0.01), kupiec(5, 6, 0.01), kupiec(5, 1, 0.0)), (None, None, None));
    }

    #[test]
    fn golden_christoffersen() {
        let clustered = days(&[20, 21, 90, 91, 92, 200]);
        assert_eq!(transitions(&clustered), [240, 3, 3, 3]);
        near(independence(&clustered).unwrap(), 15.915_296_651_119_732, 1e-9);
        near(conditional(&clustered, 0.01).unwrap(), 19.470_651_422_181_476, 1e-9);
        let lonely = days(&[10, 60, 110, 160, 210]);
        assert_eq!(transitions(&lonely), [239, 5, 5, 0]);
        near(independence(&lonely).unwrap(), 0.204_932_376_521_497_87, 1e-9);
        near(conditional(&lonely, 0.01).unwrap(), 2.161_742_164_752_119_8, 1e-9);
        assert!(conditional(&clustered, 0.01).unwrap() > CHI2_2 && conditional(&lonely, 0.01).unwrap() < CHI2_2);
        assert_eq!((independence(&[true]), independence(&[])), (None, None));
    }

    #[test]
    fn golden_traffic_light() {
        let cumulated = [0.081_059, 0.285_752, 0.543_169, 0.758_117, 0.892_188, 0.958_817, 0.986_299, 0.995_975];
        for (x, c) in cumulated.into_iter().enumerate() {
            near(cumulative(250, x, 0.01), c, 1e-6);
        }
        for (t, yellow, red) in [(250, 5, 10), (365, 7, 13), (500, 9, 15)] {
            let first = |zone| (0..50).find(|x| traffic_light(t, *x, 0.01) >= zone);
            assert_eq!((first(Zone::Yellow), first(Zone::Red)), (Some(yellow), Some(red)), "{t}");
        }
    }

    #[test]
    fn golden_acerbi_szekely() {
        let losses = [1.0, -0.5, 2.4, 0.3, 3.1, -1.2, 0.7, 2.9, 0.1, -0.4];
        let days: Vec<Day> = losses.into_iter().map(|loss| Day { loss, var: 2.0, es: 2.6 }).collect();
        near(acerbi_szekely(&days, 0.1).unwrap(), -2.230_769_230_769_230_4, 1e-9);
        assert_eq!(acerbi_szekely(&[Day { es: 0.0, ..days[0] }], 0.1), None);
        assert_eq!(acerbi_szekely(&[Day { loss: f64::NAN, ..days[0] }], 0.1), None);
    }
}

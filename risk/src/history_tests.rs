//! Golden values G2 to G5: numpy 2.4.6, scipy 1.17.1, pandas 3.1.1. The real book is read where the recordings are.

use super::*;
use crate::var::tests::near;
use std::path::PathBuf;

#[test]
fn golden_cornish_fisher() {
    for (p, skew, excess, z) in [
        (0.01, -0.5, 3.0, -3.301_284),
        (0.05, -0.5, 3.0, -1.721_744),
        (0.01, -1.0, 6.0, -4.088_052),
        (0.01, 0.3, 1.0, -2.305_670),
    ] {
        near(cornish_fisher(quantile(p), skew, excess), z, 1e-6);
    }
    let of = Moments { mean: 0.0005, deviation: 0.035, sample_deviation: 0.035, skew: -0.5, excess: 3.0 };
    near(cornish_fisher_var(&of, 100), 0.115_044_957_226_319_37, 1e-9);
    near(normal(0.035, 100).0 - 0.0005, 0.080_922_175_591_429_43, 1e-9);
}

#[test]
fn golden_exponential_variance() {
    let r = [0.012, -0.034, 0.021, -0.051, 0.008, 0.017, -0.009, -0.027, 0.044, -0.013];
    near(ewma(r[0] * r[0], LAMBDA, &r[1..]).last().unwrap() * 1e4, 4.279_828_289_244_83, 1e-9);
    let square = r.iter().map(|x| x * x).sum::<f64>() / 10.0;
    near(ewma(square, LAMBDA, &r).last().unwrap() * 1e4, 7.603_083_543_210_357, 1e-9);
}

#[test]
fn golden_contributions() {
    let (sigma, rho) = ([0.03, 0.04, 0.055], [[1.0, 0.8, 0.7], [0.8, 1.0, 0.75], [0.7, 0.75, 1.0]]);
    let covariance: Vec<Vec<f64>> = (0..3).map(|i| (0..3).map(|j| sigma[i] * sigma[j] * rho[i][j]).collect()).collect();
    let z = -quantile(0.01);
    let var = |values: &[f64]| z * contributions(values, &covariance).unwrap().0;
    let values = [40_000.0, 25_000.0, -15_000.0];
    let (deviation, marginal, component) = contributions(&values, &covariance).unwrap();
    near(deviation, 1_554.710_583_999_478_6, 1e-9);
    near(var(&values), 3_616.797_661_835_980_8, 1e-9);
    for at in 0..3 {
        near(z * marginal[at], [0.063_855_55, 0.080_277_68, 0.062_957_75][at], 1e-8);
        near(z * component[at], [2_554.221_899_47, 2_006.942_075_37, -944.366_313_01][at], 1e-9);
    }
    near(component.iter().sum::<f64>(), deviation, 1e-12);
    near(var(&[40_000.0, 30_000.0, -15_000.0]) - var(&values), 408.271_588_023_585_1, 1e-9);
    near(5_000.0 * z * marginal[1], 401.388_415_074_728_1, 1e-9);
    near(var(&[40_000.0, 25_000.0, 0.0]) - var(&values), 1_240.759_308_331_781_4, 1e-9);
}

/// The recorded daily returns, by symbol; `None`, and one line that says so, where they are not.
fn recorded() -> Option<Vec<(String, Vec<f64>)>> {
    #[allow(clippy::disallowed_methods, reason = "tests may ask where the recordings are")]
    let shared = std::env::var("KEEL_SHARED")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data").into());
    let path = PathBuf::from(shared).join("risk/bybit_linear_1d_simple_returns_wide.csv");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("SKIPPED: recorded data not found ({})", path.display());
        return None;
    };
    let mut lines = text.lines();
    let mut series: Vec<_> = lines.next()?.split(',').skip(1).map(|s| (s.to_owned(), Vec::new())).collect();
    for line in lines {
        series.iter_mut().zip(line.split(',').skip(1)).for_each(|((_, r), x)| r.push(x.parse().unwrap()));
    }
    Some(series)
}

const BOOK: [(&str, f64, f64); 6] = [
    ("BTCUSDT", 40_000.0, 2_603.934),
    ("ETHUSDT", 25_000.0, 2_509.889),
    ("SOLUSDT", 15_000.0, 1_792.252),
    ("XRPUSDT", -10_000.0, -981.618),
    ("BNBUSDT", 10_000.0, 729.873),
    ("DOGEUSDT", -5_000.0, -593.565),
];

#[test]
fn golden_book_on_recorded_returns() {
    let Some(series) = recorded() else { return };
    let of = |symbol: &str| series.iter().find(|(s, _)| s == symbol).unwrap().1.as_slice();
    let returns: Vec<&[f64]> = BOOK.iter().map(|(symbol, ..)| of(symbol)).collect();
    let values: Vec<f64> = BOOK.iter().map(|(_, value, _)| *value).collect();
    let close = |ours: f64, theirs: f64| assert!((ours - theirs).abs() <= 0.001, "{ours} is not {theirs}");
    let risk = |xs: &[f64], tail| measure(&mut xs.to_vec(), tail).unwrap();
    let book = outcomes(&returns, &values);
    assert_eq!(book.len(), 998);
    for (xs, tail, k, var, es) in [
        (&book[..], 100, 10, 4_916.973_9, 6_060.764_9),
        (&book[..], 250, 25, 4_092.944_4, 5_100.135_1),
        (&book[..], 500, 50, 3_188.601_3, 4_357.874_4),
        (&book[498..], 100, 5, 5_838.426_1, 6_636.836_8),
        (&book[498..], 500, 25, 3_317.996_4, 4_553.408_1),
    ] {
        let risk = risk(xs, tail);
        assert_eq!(risk.k, k);
        close(risk.var, var);
        close(risk.es, es);
    }
    let base = risk(&book, 100);
    for (at, add, var, es) in [
        (1, 10_000.0, 794.289_2, 1_008.026_4),
        (1, -10_000.0, -586.825_5, -956.874_1),
        (5, 20_000.0, 1_698.406_3, 2_486.227),
    ] {
        let mut values = values.clone();
        values[at] += add;
        let moved = risk(&outcomes(&returns, &values), 100);
        close(moved.var - base.var, var);
        close(moved.es - base.es, es);
    }
    let shape = moments(&book).unwrap();
    close(normal(shape.sample_deviation, 100).0, 4_807.108_6);
    close(cornish_fisher_var(&shape, 100), 5_136.972_9);
    close(ewma_var(&book, LAMBDA, 100).unwrap(), 5_290.841_4);
    let fhs = filtered(&book, LAMBDA, 100).unwrap();
    assert_eq!(fhs.k, 9);
    close(fhs.var, 6_281.611_1);
    close(fhs.es, 7_850.231_1);
    close(age_weighted(&book, 0.98, 100).unwrap(), 6_844.580_7);
    let components = shortfall_components(&returns, &values, 100).unwrap();
    for (ours, (_, _, theirs)) in components.iter().zip(BOOK) {
        close(*ours, theirs);
    }
    close(components.iter().sum(), base.es);
    // the normal value at risk and what each coin brings to it, from the covariance of the same days
    let (deviation, _, parts) = contributions(&values, &covariance(&returns).unwrap()).unwrap();
    close(normal(deviation, 100).0, 4_807.108_6);
    near(parts.iter().sum::<f64>(), deviation, 1e-12);
    let brought = incremental(&returns, &values, 100).unwrap();
    let mut without = values.clone();
    without[3] = 0.0;
    close(brought[3], base.var - risk(&outcomes(&returns, &without), 100).var);
    assert!(brought[3] < 0.0, "the short is a hedge: {}", brought[3]);
    // the same returns through the gate's own sums
    let beta = downside_beta(of("ETHUSDT"), of("BTCUSDT")).unwrap();
    assert!((1.0..1.5).contains(&beta), "{beta}");
}

#[test]
fn a_history_that_is_too_short_or_broken_has_no_answer() {
    let flat = vec![0.0; 200];
    assert_eq!(filtered(&flat, LAMBDA, 100), None, "no variance, no filter");
    let mut broken = vec![0.01; 200];
    broken[150] = f64::NAN;
    for xs in [&broken[..], &[0.01; 19], &[]] {
        assert_eq!((filtered(xs, LAMBDA, 100), ewma_var(xs, LAMBDA, 100)), (None, None));
    }
    assert_eq!((moments(&flat), moments(&[1.0]), age_weighted(&broken, 0.98, 100)), (None, None, None));
    assert_eq!(downside_beta(&flat, &flat), None);
}

#[test]
fn a_short_history_is_filled_by_a_proxy_and_never_by_zeros() {
    let other: Vec<f64> = (0..200).map(|day| if day % 2 == 0 { -0.01 } else { 0.02 }).collect();
    let full = proxied(&[0.5, 0.6], &other, 1.2, 0.005);
    assert_eq!((full.len(), full[198], full[199]), (200, 0.5, 0.6));
    near(full[0], -0.017, 1e-12);
    near(full[1], 0.029, 1e-12);
    assert!(full.iter().all(|r| r.abs() > 0.0));
}

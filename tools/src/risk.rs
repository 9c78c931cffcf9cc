//! `keel risk`: what could this book lose? Value at risk, shortfall, who causes it, catastrophes, and whether the model was
//! right so far, by the same code the gate uses.
//!
//! In: a CSV of positions (`instrument,notional_usdt`, shorts negative) and a CSV of daily simple returns (`date`, one
//! column an instrument, oldest first). Out: a table or JSON. Never: an answer from a cell that is empty or no number, a
//! position without a history.

use anyhow::{Context as _, bail, ensure};
use keel_core::ids::Symbol;
use keel_risk::backtest::{self, Zone};
use keel_risk::exposure::Legs;
use keel_risk::history::{self, LAMBDA};
use keel_risk::stress;
use keel_risk::var::{Risk, TAIL_POINTS, measure, tail_count};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Days the backtest forecasts from, and the fewest it keeps to judge.
const WINDOW: usize = 500;
/// Decay of the age-weighted model.
const AGE_DECAY: f64 = 0.98;

/// What a person may say.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// CSV with the columns instrument,notional_usdt; shorts are negative
    #[arg(long, value_name = "FILE")]
    positions: PathBuf,
    /// CSV with the columns date and one per instrument: simple daily returns, oldest first
    #[arg(long, value_name = "FILE")]
    returns: PathBuf,
    /// Confidence, from 0.5 to 0.999
    #[arg(long, default_value = "0.99", value_parser = tail_bps)]
    confidence: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Confidence as text to the tail in basis points, exactly.
fn tail_bps(text: &str) -> Result<u32, String> {
    let bad = || format!("{text:?} is not a confidence such as 0.99 (from 0.5 to 0.999, at most four decimals)");
    let parts = keel_core::units::parse_decimal(text.as_bytes()).map_err(|_| bad())?;
    let tail = keel_core::units::SCALE - parts;
    let bps = u32::try_from(tail / 10_000).ok().filter(|bps| tail % 10_000 == 0 && (10..=5_000).contains(bps));
    bps.ok_or_else(bad)
}

#[derive(Debug, Serialize)]
struct Report {
    n: usize,
    k: usize,
    confidence: f64,
    var_usdt: f64,
    es_usdt: f64,
    worst_day: String,
    components_es: BTreeMap<String, f64>,
    incremental_var: BTreeMap<String, f64>,
    components_var: Option<BTreeMap<String, f64>>,
    marginal_var: Option<BTreeMap<String, f64>>,
    parametric_var_usdt: Option<f64>,
    cornish_fisher_var_usdt: Option<f64>,
    ewma_var_usdt: Option<f64>,
    fhs_var_usdt: Option<f64>,
    fhs_es_usdt: Option<f64>,
    age_weighted_var_usdt: Option<f64>,
    stress: BTreeMap<&'static str, f64>,
    backtest: Option<Backtest>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Backtest {
    days: usize,
    window: usize,
    exceptions: usize,
    expected: f64,
    kupiec_lr: Option<f64>,
    kupiec_accepted: Option<bool>,
    independence_lr: Option<f64>,
    conditional_lr: Option<f64>,
    conditional_accepted: Option<bool>,
    zone: &'static str,
    acerbi_szekely_z2: Option<f64>,
}

/// What happens.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let positions = read_positions(&read(&args.positions)?).with_context(|| name(&args.positions))?;
    let returns = read_returns(&read(&args.returns)?).with_context(|| name(&args.returns))?;
    let report = assess(&positions, &returns, args.confidence)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn name(path: &Path) -> String {
    format!("in {}", path.display())
}

/// Daily returns of each instrument in a table, from a file as [`Args::returns`] names one.
pub fn returns_of(path: &Path, table: &keel_core::instrument::Instruments) -> anyhow::Result<Vec<(Symbol, Vec<f64>)>> {
    let mut series = read_returns(&read(path)?).with_context(|| name(path))?.series;
    series.retain(|(symbol, _)| table.by_symbol(symbol.bytes()).is_some());
    Ok(series)
}

/// Days and one series a coin.
#[derive(Debug, PartialEq)]
struct Returns {
    days: Vec<String>,
    series: Vec<(Symbol, Vec<f64>)>,
}

fn symbol(text: &str) -> anyhow::Result<Symbol> {
    Symbol::new(text.as_bytes()).filter(|s| !s.is_empty()).with_context(|| format!("{text:?} is not a symbol"))
}

fn number(text: &str) -> anyhow::Result<f64> {
    let value: f64 = text.parse().with_context(|| format!("{text:?} is not a number"))?;
    ensure!(value == 0.0 || value.is_normal(), "{text:?} is not a number to calculate with");
    Ok(value)
}

fn cells(line: &str) -> impl Iterator<Item = &str> {
    line.split(',').map(|cell| cell.trim().trim_matches('"'))
}

fn rows(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines().enumerate().map(|(at, line)| (at + 1, line)).filter(|(_, line)| !line.trim().is_empty())
}

fn read_positions(text: &str) -> anyhow::Result<Vec<(Symbol, f64)>> {
    let mut rows = rows(text);
    let header: Vec<&str> = rows.next().map(|(_, line)| cells(line).collect()).unwrap_or_default();
    ensure!(header == ["instrument", "notional_usdt"], "the first line must be instrument,notional_usdt");
    let mut positions: Vec<(Symbol, f64)> = Vec::new();
    for (at, line) in rows {
        let cells: Vec<&str> = cells(line).collect();
        let [coin, value] = cells[..] else { bail!("line {at} has {} cells instead of 2", cells.len()) };
        let coin = symbol(coin).with_context(|| format!("line {at}"))?;
        ensure!(positions.iter().all(|(known, _)| *known != coin), "line {at}: {coin} stands twice");
        positions.push((coin, number(value).with_context(|| format!("line {at}"))?));
    }
    ensure!(!positions.is_empty(), "there are no positions");
    Ok(positions)
}

fn read_returns(text: &str) -> anyhow::Result<Returns> {
    let mut rows = rows(text);
    let header: Vec<&str> = rows.next().map(|(_, line)| cells(line).collect()).unwrap_or_default();
    ensure!(header.len() >= 2 && header[0] == "date", "the first line must be date and one column per instrument");
    let mut returns = Returns { days: Vec::new(), series: Vec::new() };
    for coin in &header[1..] {
        let coin = symbol(coin)?;
        ensure!(returns.series.iter().all(|(known, _)| *known != coin), "the column {coin} stands twice");
        returns.series.push((coin, Vec::new()));
    }
    for (at, line) in rows {
        let cells: Vec<&str> = cells(line).collect();
        ensure!(cells.len() == header.len(), "line {at} has {} cells instead of {}", cells.len(), header.len());
        let day = cells[0].to_owned();
        ensure!(
            returns.days.last().is_none_or(|last| *last < day),
            "line {at}: {day} does not follow the day before it"
        );
        returns.days.push(day);
        for ((coin, series), cell) in returns.series.iter_mut().zip(&cells[1..]) {
            let r = number(cell).with_context(|| format!("line {at}, {coin}"))?;
            ensure!((-1.0..=100.0).contains(&r), "line {at}, {coin}: {cell} is not a simple return");
            series.push(r);
        }
    }
    ensure!(!returns.days.is_empty(), "there are no returns");
    Ok(returns)
}

fn assess(positions: &[(Symbol, f64)], returns: &Returns, tail: u32) -> anyhow::Result<Report> {
    let history = |coin: &Symbol| {
        let found = returns.series.iter().find(|(known, _)| known == coin).map(|(_, series)| series.as_slice());
        found.with_context(|| format!("{coin} has no column of returns: its risk cannot be measured"))
    };
    let series = positions.iter().map(|(coin, _)| history(coin)).collect::<anyhow::Result<Vec<_>>>()?;
    let values: Vec<f64> = positions.iter().map(|(_, value)| *value).collect();
    let book = history::outcomes(&series, &values);
    let Risk { var, es, k } = measure(&mut book.clone(), tail).context("the outcomes of this book are no numbers")?;
    let worst = book.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(day, _)| day);
    let components = history::shortfall_components(&series, &values, tail).context("no components")?;
    let filtered = history::filtered(&book, LAMBDA, tail);
    let incremental = history::incremental(&series, &values, tail).context("no increments")?;
    let z = history::normal(1.0, tail).0;
    let named = |parts: &[f64]| positions.iter().map(|(coin, _)| coin.to_string()).zip(parts.iter().copied()).collect();
    let scaled = |parts: &[f64]| named(&parts.iter().map(|part| z * part).collect::<Vec<_>>());
    let euler = history::covariance(&series).and_then(|covariance| history::contributions(&values, &covariance));
    let moments = history::moments(&book);
    let coins: Vec<_> = positions.iter().map(|(coin, value)| (*coin, legs(*value))).collect();
    let mut warnings = Vec::new();
    if book.len() * (tail as usize) < TAIL_POINTS * 10_000 {
        let least = (TAIL_POINTS * 10_000).div_ceil(tail as usize);
        warnings.push(format!("{} days are few for this confidence: the gate asks for {least}", book.len()));
    }
    Ok(Report {
        n: book.len(),
        k,
        confidence: 1.0 - f64::from(tail) / 10_000.0,
        var_usdt: var,
        es_usdt: es,
        worst_day: returns.days[worst].clone(),
        components_es: named(&components),
        incremental_var: named(&incremental),
        components_var: euler.as_ref().map(|(_, _, parts)| scaled(parts)),
        marginal_var: euler.as_ref().map(|(_, parts, _)| scaled(parts)),
        parametric_var_usdt: moments.map(|m| history::normal(m.sample_deviation, tail).0),
        cornish_fisher_var_usdt: moments.map(|m| history::cornish_fisher_var(&m, tail)),
        ewma_var_usdt: history::ewma_var(&book, LAMBDA, tail),
        fhs_var_usdt: filtered.map(|risk| risk.var),
        fhs_es_usdt: filtered.map(|risk| risk.es),
        age_weighted_var_usdt: history::age_weighted(&book, AGE_DECAY, tail),
        // what lies at the venue is not in these files: catastrophes of prices and funding alone
        stress: stress::report(&coins, 0.0).iter().filter(|l| !of_equity(l.name)).map(|l| (l.name, l.loss)).collect(),
        backtest: judged(&book, tail),
        warnings,
    })
}

fn legs(value: f64) -> Legs {
    Legs { position: value, ..Legs::default() }
}

fn of_equity(name: &str) -> bool {
    name.starts_with("collateral") || name == "venue-default"
}

/// Today's book, forecast each day from the days before it. `None` when too few are left to judge.
#[allow(clippy::cast_precision_loss, reason = "counts of days are small")]
fn judged(book: &[f64], tail: u32) -> Option<Backtest> {
    let window = WINDOW.min(book.len() / 2);
    if tail_count(window, tail) < 2 {
        return None;
    }
    let days = backtest::historical(book, window, tail)?;
    let (hits, p) = (backtest::hits(&days), f64::from(tail) / 10_000.0);
    let exceptions = hits.iter().filter(|hit| **hit).count();
    let (kupiec, conditional) = (backtest::kupiec(hits.len(), exceptions, p), backtest::conditional(&hits, p));
    Some(Backtest {
        days: hits.len(),
        window,
        exceptions,
        expected: hits.len() as f64 * p,
        kupiec_lr: kupiec,
        kupiec_accepted: kupiec.map(|lr| lr < backtest::CHI2_1),
        independence_lr: backtest::independence(&hits),
        conditional_lr: conditional,
        conditional_accepted: conditional.map(|lr| lr < backtest::CHI2_2),
        zone: match backtest::traffic_light(hits.len(), exceptions, p) {
            Zone::Green => "green",
            Zone::Yellow => "yellow",
            Zone::Red => "red",
        },
        acerbi_szekely_z2: backtest::acerbi_szekely(&days, p),
    })
}

fn print(report: &Report) {
    let money = |x: Option<f64>| x.map_or("too few days".to_owned(), |x| format!("{x:.2} USDT"));
    println!(
        "{} days, {:.2} % confidence, the {}th worst day (worst: {})",
        report.n,
        report.confidence * 100.0,
        report.k,
        report.worst_day
    );
    for (name, value) in [
        ("value at risk", Some(report.var_usdt)),
        ("expected shortfall", Some(report.es_usdt)),
        ("  filtered by volatility", report.fhs_var_usdt),
        ("  exponentially weighted", report.ewma_var_usdt),
        ("  normal", report.parametric_var_usdt),
        ("  Cornish-Fisher", report.cornish_fisher_var_usdt),
        ("  weighted by age", report.age_weighted_var_usdt),
    ] {
        println!("{name:<26} {:>18}", money(value));
    }
    println!("\nwho causes it, USDT: share of the shortfall, of the normal value at risk; value at risk it brings");
    for (coin, part) in &report.components_es {
        let normal = report.components_var.as_ref().and_then(|parts| parts.get(coin)).copied().unwrap_or(f64::NAN);
        println!("  {coin:<24} {part:>13.2} {normal:>13.2} {:>13.2}", report.incremental_var[coin]);
    }
    println!("\ncatastrophes (loss)");
    for (name, loss) in &report.stress {
        println!("  {name:<24} {loss:>13.2} USDT");
    }
    if let Some(test) = &report.backtest {
        println!(
            "\n{} exceptions in {} days, {:.1} expected: {}",
            test.exceptions, test.days, test.expected, test.zone
        );
    }
    for warning in &report.warnings {
        println!("\nnote: {warning}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn returns() -> String {
        let mut text = String::from("date,BTCUSDT,ETHUSDT\n");
        for day in 0..1000u32 {
            let r = f64::from(day * 7919 % 1000) / 10_000.0 - 0.05;
            text.push_str(&format!("{:04}-{:02}-01,{r},{}\n", 1900 + day / 12, day % 12 + 1, r * 2.0));
        }
        text
    }

    #[test]
    fn confidence_is_read_exactly() {
        for (text, bps) in [("0.99", 100), ("0.975", 250), ("0.95", 500), ("0.999", 10), ("0.5", 5_000)] {
            assert_eq!(tail_bps(text), Ok(bps));
        }
        for text in ["1", "0", "0.4", "99", "0.99999", "NaN", "", "-0.99", "1e-2"] {
            assert!(tail_bps(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_book_is_assessed() {
        let positions = read_positions("instrument,notional_usdt\nBTCUSDT,1000\nETHUSDT,-250\n").unwrap();
        let report = assess(&positions, &read_returns(&returns()).unwrap(), 100).unwrap();
        // the book is worth 1000 - 2 * 250 = 500 of the first coin, whose tenth worst day lost 4.91 %
        assert_eq!((report.n, report.k), (1000, 10));
        assert!((report.var_usdt - 24.55).abs() < 1e-9, "{}", report.var_usdt);
        assert!((report.components_es.values().sum::<f64>() - report.es_usdt).abs() < 1e-9);
        let normal = report.components_var.as_ref().unwrap().values().sum::<f64>();
        assert!((normal - report.parametric_var_usdt.unwrap()).abs() < 1e-9);
        // without the second coin the book is twice as large
        assert!((report.incremental_var["ETHUSDT"] + 24.55).abs() < 1e-9);
        assert!((report.stress["bitcoin-down-10"] - (100.0 - 29.0)).abs() < 1e-9);
        assert_eq!(report.backtest.as_ref().map(|b| b.days), Some(500));
        let json = serde_json::to_value(&report).unwrap();
        for key in ["n", "k", "var_usdt", "es_usdt", "components_es", "fhs_var_usdt", "ewma_var_usdt", "stress"] {
            assert!(!json[key].is_null(), "{key}");
        }
    }

    #[test]
    fn files_that_are_not_what_they_should_be_are_refused_in_words() {
        let positions = [
            ("", "the first line"),
            ("instrument,notional_usdt\n", "no positions"),
            ("instrument,notional_usdt\nBTCUSDT,NaN\n", "line 2"),
            ("instrument,notional_usdt\nBTCUSDT,1\nBTCUSDT,2\n", "stands twice"),
            ("instrument,notional_usdt\nBTCUSDT\n", "1 cells"),
        ];
        for (text, word) in positions {
            let why = format!("{:#}", read_positions(text).unwrap_err());
            assert!(why.contains(word), "{why}");
        }
        let returns = [
            ("day,X\n", "the first line"),
            ("date,X\n", "no returns"),
            ("date,X\n2020-01-01,\n", "is not a number"),
            ("date,X\n2020-01-01,inf\n", "is not a number"),
            ("date,X\n2020-01-02,0.1\n2020-01-01,0.1\n", "does not follow"),
            ("date,X\n2020-01-01,-1.5\n", "simple return"),
            ("date,X,X\n2020-01-01,0,0\n", "stands twice"),
        ];
        for (text, word) in returns {
            let why = format!("{:#}", read_returns(text).unwrap_err());
            assert!(why.contains(word), "{why}");
        }
        let strangers = read_positions("instrument,notional_usdt\nNEWUSDT,5\n").unwrap();
        let known = read_returns("date,BTCUSDT\n2020-01-01,0.1\n").unwrap();
        assert!(assess(&strangers, &known, 100).unwrap_err().to_string().contains("NEWUSDT"));
    }
}

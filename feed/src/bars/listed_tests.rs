//! Pages of listed candles, and tables of returns made of them: row by row, whole recorded years, and junk.

use super::page::{PAGE_ROWS, Page, Question};
use super::table::Table;
use super::tests::shared;
use super::{Fault, Series};
use crate::decode::DecodeError;
use crate::instruments::PageError;
use keel_core::ids::{InstrumentId, Symbol};
use keel_core::units::Wall;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

const DAY: u64 = 86_400_000;

fn question(symbol: &str) -> Question {
    Question { symbol: Symbol::new(symbol.as_bytes()).unwrap(), instrument: InstrumentId(3), minutes: 1440 }
}

fn body(symbol: &str, rows: &[String], time: u64) -> String {
    let list = rows.join(",");
    format!(
        r#"{{"retCode":0,"retMsg":"OK","result":{{"category":"linear","symbol":"{symbol}","list":[{list}]}},"retExtInfo":{{}},"time":{time}}}"#
    )
}

fn row(day: u64, close: &str) -> String {
    format!(r#"["{}","{close}","{close}","{close}","{close}","10","20"]"#, day * DAY)
}

#[test]
fn a_page_is_read_oldest_first_and_the_running_candle_is_not_closed() {
    let rows: Vec<String> = (0..3).rev().map(|day| row(day, "100.5")).collect();
    let page = question("ABCUSDT").parse(body("ABCUSDT", &rows, 2 * DAY + 5).as_bytes()).unwrap();
    let have: Vec<_> = page.bars.iter().map(|bar| (bar.start.millis() / DAY, bar.confirmed.is_set())).collect();
    assert_eq!(have, [(0, true), (1, true), (2, false)]);
    assert_eq!(page.bars[0].instrument, InstrumentId(3));
    assert_eq!(page.older(), None, "a short page is the last");
    // Exactly at the end of a candle it may still change: closed is only what lies behind the venue's clock.
    let page = question("ABCUSDT").parse(body("ABCUSDT", &rows, 3 * DAY - 1).as_bytes()).unwrap();
    assert!(!page.bars[2].confirmed.is_set());
}

#[test]
fn a_full_page_says_where_the_next_one_ends() {
    let rows: Vec<String> = (5..5 + PAGE_ROWS as u64).rev().map(|day| row(day, "7")).collect();
    let page = question("ABCUSDT").parse(body("ABCUSDT", &rows, 5000 * DAY).as_bytes()).unwrap();
    let older = page.older().unwrap();
    assert_eq!(older, Wall::from_millis(5 * DAY - 1));
    assert_eq!(
        question("ABCUSDT").path_and_query(Some(older)).unwrap(),
        format!("/v5/market/kline?category=linear&symbol=ABCUSDT&interval=D&limit=1000&end={}", 5 * DAY - 1)
    );
    assert!(!question("ABCUSDT").path_and_query(None).unwrap().contains("end"));
    assert_eq!(Question { minutes: 7, ..question("ABCUSDT") }.path_and_query(None), None);
}

#[test]
fn a_row_that_is_no_candle_is_refused_by_its_day_and_the_others_stay() {
    let good = row(4, "100");
    for (bad, why) in [
        (good.replacen("\"100\"", "100", 1), DecodeError::WrongType),
        (good.replacen("\"100\"", "\"1e2\"", 1), DecodeError::Number),
        (good.replacen("\"100\"", "\"\"", 1), DecodeError::Number),
        (good.replacen("\"100\"", "\"0.000000001\"", 1), DecodeError::Precision),
        (good.replacen("\"100\"", "\"99999999999\"", 1), DecodeError::Range),
        (good.replacen(",\"20\"]", "]", 1), DecodeError::Missing),
        (good.replacen(",\"20\"]", ",\"20\",\"1\"]", 1), DecodeError::TooMany),
        (good.replacen("[\"", "[\"x", 1), DecodeError::Number),
        ("{}".to_owned(), DecodeError::WrongType),
    ] {
        let page = question("ABCUSDT").parse(body("ABCUSDT", &[bad.clone(), row(3, "99")], 9 * DAY).as_bytes());
        let page = page.unwrap();
        assert_eq!((page.bars.len(), page.refused[0].1), (1, why), "{bad}");
    }
}

#[test]
fn an_answer_that_is_no_page_is_refused() {
    let whole = body("ABCUSDT", &[row(1, "100")], 9 * DAY);
    let many: Vec<String> = (0..=PAGE_ROWS as u64).map(|day| row(day, "7")).collect();
    for (body, why) in [
        (String::new(), PageError::Body(DecodeError::Length)),
        ("<html>".to_owned(), PageError::Body(DecodeError::NotJson)),
        (whole[..whole.len() - 9].to_owned(), PageError::Body(DecodeError::NotJson)),
        (whole.replace("ABCUSDT", "XYZUSDT"), PageError::Body(DecodeError::Contradiction)),
        (whole.replace("\"list\"", "\"rows\""), PageError::Body(DecodeError::Missing)),
        (whole.replace("\"retCode\":0", "\"retCode\":10006"), PageError::Venue(10_006)),
        (body("ABCUSDT", &many, 9 * DAY), PageError::Body(DecodeError::TooMany)),
    ] {
        assert_eq!(question("ABCUSDT").parse(body.as_bytes()).err(), Some(why));
    }
}

fn series(closes: &[(u64, u32)]) -> Series {
    let rows: Vec<String> = closes.iter().map(|(day, close)| row(*day, &close.to_string())).collect();
    let page = question("ABCUSDT").parse(body("ABCUSDT", &rows, 90_000 * DAY).as_bytes()).unwrap();
    let mut series = Series::new(1440, 5000);
    for bar in &page.bars {
        let _ = series.accept(bar);
    }
    series
}

#[test]
fn a_young_instrument_is_left_out_by_name_and_does_not_shorten_the_others() {
    let name = |text: &str| Symbol::new(text.as_bytes()).unwrap();
    let old = series(&(0..40u32).map(|day| (u64::from(day), 100 + day)).collect::<Vec<_>>());
    let young = series(&[(38, 5), (39, 6)]);
    let all = [(name("OLDUSDT"), &old), (name("NEWUSDT"), &young)];
    let table = Table::align(&all, 30, 1000);
    assert_eq!((table.days().len(), table.columns().len()), (39, 1));
    assert_eq!(table.left_out(), [(name("NEWUSDT"), 1)]);
    let table = Table::align(&all, 1, 1000);
    assert_eq!((table.days().len(), table.columns().len(), table.left_out().len()), (1, 2, 0));
    assert_eq!(Table::align(&all[..1], 30, 10).days()[0], Wall::from_millis(30 * DAY), "the newest are kept");
    assert_eq!(Table::align(&[], 1, 10), Table::default());
}

#[test]
fn the_recorded_years_page_by_page_give_the_recorded_returns() {
    let Some(wide) = shared("risk/bybit_linear_1d_simple_returns_wide.csv") else { return };
    let Some(packed) = super::tests::shared_path("risk/bybit_linear_1d_ohlcv_long.csv.gz") else { return };
    let mut long = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(packed).unwrap()).read_to_string(&mut long).unwrap();
    let mut closes: BTreeMap<&str, Vec<Vec<&str>>> = BTreeMap::new();
    for line in long.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        closes.entry(fields[0]).or_default().push(fields);
    }
    let header: Vec<&str> = wide.lines().next().unwrap().split(',').skip(1).collect();
    let rows: Vec<Vec<f64>> =
        wide.lines().skip(1).map(|line| line.split(',').skip(1).map(|cell| cell.parse().unwrap()).collect()).collect();
    let built: Vec<(Symbol, Series)> = header
        .iter()
        .map(|symbol| {
            let mut series = Series::new(1440, 5000);
            // Days since the first, as the dates have no gap; pages of 400 rows, with the seam repeated as the venue does.
            let listed: Vec<String> = closes[symbol]
                .iter()
                .enumerate()
                .map(|(day, f)| {
                    let start = (19_384 + day as u64) * DAY;
                    format!(r#"["{start}","{}","{}","{}","{}","{}","{}"]"#, f[2], f[3], f[4], f[5], f[6], f[7])
                })
                .collect();
            let mut from = 0;
            while from < listed.len() {
                let to = (from + 400).min(listed.len());
                let newest_first: Vec<String> = listed[from.saturating_sub(1)..to].iter().rev().cloned().collect();
                let page = question(symbol).parse(body(symbol, &newest_first, 90_000 * DAY).as_bytes()).unwrap();
                assert!(page.refused.is_empty(), "{symbol}: {:?}", page.refused);
                for bar in &page.bars {
                    let _ = series.accept(bar);
                }
                from = to;
            }
            assert_eq!(series.count(Fault::Duplicate), 2, "{symbol}: one a seam");
            assert_eq!((series.quarantine().len(), series.holes()), (0, 0), "{symbol}");
            (Symbol::new(symbol.as_bytes()).unwrap(), series)
        })
        .collect();
    let all: Vec<(Symbol, &Series)> = built.iter().map(|(symbol, series)| (*symbol, series)).collect();
    let table = Table::align(&all, 500, 1000);
    assert_eq!((table.days().len(), table.columns().len()), (rows.len(), header.len()));
    for (at, expected) in rows.iter().enumerate() {
        for ((symbol, column), expected) in table.columns().iter().zip(expected) {
            assert!((column[at] - expected).abs() < 1e-9, "{symbol} row {at}: {} against {expected}", column[at]);
        }
    }
}

proptest! {
    /// The slow twin: for each day, ask every series whether it has this day and the day before.
    #[test]
    fn a_table_holds_exactly_the_days_everybody_has(
        days in prop::collection::vec(prop::collection::btree_map(0u64..40, 1u32..9, 0..40), 1..5),
        least in 0usize..6,
        most in 1usize..40,
    ) {
        let built: Vec<Series> =
            days.iter().map(|map| series(&map.iter().map(|(d, c)| (*d, *c)).collect::<Vec<_>>())).collect();
        let name = |at: usize| Symbol::new(format!("S{at}USDT").as_bytes()).unwrap();
        let all: Vec<(Symbol, &Series)> = built.iter().enumerate().map(|(at, s)| (name(at), s)).collect();
        let table = Table::align(&all, least, most);
        let has = |map: &BTreeMap<u64, u32>, day: u64| day > 0 && map.contains_key(&day) && map.contains_key(&(day - 1));
        let (mut kept, mut out) = (Vec::new(), Vec::new());
        for (at, map) in days.iter().enumerate() {
            let count = (0..40).filter(|day| has(map, *day)).count();
            if count < least.max(1) { out.push((name(at), count)); } else { kept.push((name(at), map)); }
        }
        prop_assert_eq!(table.left_out(), &out[..]);
        let common: Vec<u64> =
            (0..40).filter(|day| !kept.is_empty() && kept.iter().all(|(_, map)| has(map, *day))).collect();
        let common = &common[common.len().saturating_sub(most)..];
        prop_assert_eq!(table.days().iter().map(|day| day.millis() / DAY).collect::<Vec<_>>(), common);
        for ((symbol, column), (wanted, map)) in table.columns().iter().zip(&kept) {
            prop_assert_eq!(symbol, wanted);
            let expected: Vec<f64> =
                common.iter().map(|day| f64::from(map[day]) / f64::from(map[&(day - 1)]) - 1.0).collect();
            prop_assert!(column.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-12), "{column:?} {expected:?}");
            prop_assert_eq!(column.len(), expected.len());
        }
    }

    #[test]
    fn any_bytes_are_a_page_or_a_reason(cut in any::<prop::sample::Index>(), with in any::<u8>(), rows in 0usize..4) {
        let rows: Vec<String> = (0..rows as u64).map(|day| row(day, "100.5")).collect();
        let mut bytes = body("ABCUSDT", &rows, 9 * DAY).into_bytes();
        let at = cut.index(bytes.len());
        bytes[at] = with;
        if let Ok(Page { bars, refused, .. }) = question("ABCUSDT").parse(&bytes) {
            prop_assert!(bars.len() + refused.len() <= rows.len() + 2);
            let starts: BTreeSet<Wall> = bars.iter().map(|bar| bar.start).collect();
            prop_assert!(starts.len() <= bars.len());
        }
        let _ = question("ABCUSDT").parse(&bytes[..at]);
    }
}

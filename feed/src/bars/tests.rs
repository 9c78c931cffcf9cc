//! Candles: the rules one by one, the recorded years, and trades against their own candles.

use super::*;
use keel_core::event::{Origin, Side};
use keel_core::ids::InstrumentId;
use keel_core::units::parse_decimal;

const DAY: u64 = 1440 * 60_000;

fn bar(day: u64, [open, high, low, close]: [i64; 4]) -> Bar {
    let start = Wall::from_millis(1_600_000_000_000 / DAY * DAY + day * DAY);
    Bar {
        origin: Origin::default(),
        start,
        end: start.after(DAY * 1_000_000 - 1_000_000),
        open: Px::whole(open),
        high: Px::whole(high),
        low: Px::whole(low),
        close: Px::whole(close),
        volume: Qty::whole(5),
        turnover: Notional::whole(5),
        instrument: InstrumentId(0),
        minutes: 1440,
        confirmed: Flag::Yes,
        pad: [0; 3],
    }
}

fn two_days() -> Series {
    let mut series = Series::new(1440, 10);
    series.accept(&bar(0, [100, 110, 90, 105])).unwrap();
    series.accept(&bar(1, [105, 120, 100, 110])).unwrap();
    series
}

#[test]
fn each_fault_is_named_kept_and_changes_nothing() {
    type Spoil = fn(&mut Bar);
    let rows: [(&str, Spoil, Fault); 14] = [
        ("another interval", |b| b.minutes = 60, Fault::Stranger),
        ("still open", |b| b.confirmed = Flag::No, Fault::Unconfirmed),
        ("no open", |b| b.open = Px::ZERO, Fault::NoPrice),
        ("a negative low", |b| b.low = Px::from_raw(-1), Fault::NoPrice),
        ("high below close", |b| b.high = Px::whole(104), Fault::Relation),
        ("low above open", |b| b.low = Px::whole(109), Fault::Relation),
        ("negative coins", |b| b.volume = Qty::from_raw(-1), Fault::Volume),
        ("money without coins", |b| b.volume = Qty::ZERO, Fault::Volume),
        ("off the grid", |b| b.start = b.start.after(1), Fault::Grid),
        ("a wrong end", |b| b.end = b.end.after(1), Fault::Grid),
        ("the last one again", |b| *b = bar(1, [105, 120, 100, 110]), Fault::Duplicate),
        ("the last one, other numbers", |b| *b = bar(1, [105, 120, 100, 111]), Fault::Conflict),
        ("an old one nobody saw", |b| *b = bar(0, [100, 110, 90, 106]), Fault::Backwards),
        ("ten times the price", |b| *b = bar(2, [1200, 1300, 1100, 1250]), Fault::Absurd),
    ];
    for (name, spoil, why) in rows {
        let mut series = two_days();
        let mut spoiled = bar(2, [105, 115, 101, 112]);
        spoil(&mut spoiled);
        assert_eq!(series.accept(&spoiled), Err(why), "{name}");
        assert_eq!((series.candles().len(), series.count(why)), (2, 1), "{name}");
        let kept = !matches!(why, Fault::Unconfirmed | Fault::Duplicate);
        assert_eq!(series.quarantine().len(), usize::from(kept), "{name}");
        assert!(series.accept(&bar(2, [105, 115, 101, 112])).is_ok(), "{name}: the right one still fits");
    }
}

#[test]
fn a_hole_is_noticed_and_gives_no_return() {
    let mut series = two_days();
    let candle = series.accept(&bar(5, [110, 130, 100, 121])).unwrap();
    assert_eq!((candle.missing, series.holes()), (3, 3));
    series.accept(&bar(6, [121, 130, 120, 121])).unwrap();
    let returns: Vec<f64> = series.returns().map(|(_, value)| value).collect();
    assert_eq!(returns.len(), 2, "{returns:?}");
    assert!((returns[0] - (110.0 / 105.0 - 1.0)).abs() < 1e-12 && returns[1].abs() < 1e-12);
}

#[test]
fn one_absurd_print_does_not_cost_the_day() {
    let mut series = two_days();
    let mut crash = bar(2, [110, 111, 90, 95]);
    crash.low = Px::from_raw(10_000);
    let candle = series.accept(&crash).unwrap();
    assert!(candle.wick && candle.close == Px::whole(95));
}

#[test]
fn the_series_and_the_quarantine_are_bounded() {
    let mut series = Series::new(1440, 3);
    for day in 0..200 {
        series.accept(&bar(day, [100, 110, 90, 105])).unwrap();
        assert_eq!(series.accept(&bar(day, [100, 110, 90, 106])), Err(Fault::Conflict));
    }
    assert_eq!((series.candles().len(), series.quarantine().len()), (3, QUARANTINE));
    assert_eq!(series.count(Fault::Conflict), 200);
}

#[test]
fn weeks_begin_on_monday() {
    let monday = 1_700_438_400_000; // 2023-11-20
    for (start, expected) in [(monday, true), (monday - 4 * DAY, false), (monday + DAY, false)] {
        let mut week = bar(0, [100, 110, 90, 105]);
        week.minutes = WEEK;
        week.start = Wall::from_millis(start);
        week.end = week.start.after(7 * DAY * 1_000_000 - 1_000_000);
        assert_eq!(Series::new(WEEK, 3).accept(&week).is_ok(), expected, "{start}");
    }
}

pub(super) fn shared_path(file: &str) -> Option<std::path::PathBuf> {
    let folder = std::env::var_os("KEEL_SHARED").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        std::path::PathBuf::from,
    );
    let path = folder.join(file);
    if path.exists() {
        return Some(path);
    }
    println!("SKIPPED: recorded data not found ({})", path.display());
    None
}

pub(super) fn shared(file: &str) -> Option<String> {
    shared_path(file).map(|path| std::fs::read_to_string(path).unwrap())
}

#[test]
fn the_recorded_years_of_daily_candles_hold_one_repeated_day_a_page_and_one_first_day_without_a_price() {
    let mut seen = Vec::new();
    for symbol in ["1000PEPEUSDT", "ADAUSDT", "BCHUSDT", "BTCUSDT", "LTCUSDT", "XRPUSDT"] {
        let Some(text) = shared(&format!("bybit_klines/daily/{symbol}.csv")) else { return };
        let mut series = Series::new(1440, 5000);
        for row in text.lines().skip(1) {
            let fields: Vec<&str> = row.split(',').collect();
            let number = |at: usize, most: i64| crate::scan::statistic(fields[at].as_bytes(), most).unwrap();
            let px = |at: usize| Px::from_raw(parse_decimal(fields[at].as_bytes()).unwrap());
            let start = Wall::from_millis(fields[0].parse().unwrap());
            let bar = Bar {
                start,
                end: start.after(DAY * 1_000_000 - 1_000_000),
                open: px(1),
                high: px(2),
                low: px(3),
                close: px(4),
                volume: Qty::from_raw(number(5, Qty::MAX.raw())),
                turnover: Notional::from_raw(number(6, Notional::MAX.raw())),
                ..bar(0, [1, 1, 1, 1])
            };
            let _ = series.accept(&bar);
        }
        let faults = Fault::ALL.map(|fault| series.count(fault));
        assert_eq!(faults.iter().sum::<u64>() + series.candles().len() as u64, text.lines().count() as u64 - 1);
        let largest = series.returns().map(|(_, value)| value.abs()).fold(0.0, f64::max);
        seen.push((symbol, series.candles().len(), faults, series.holes(), (largest * 100.0).round()));
    }
    for row in &seen {
        println!("{row:?}");
    }
    let faults: u64 = seen.iter().map(|row| row.2[Fault::Duplicate as usize] + row.2[Fault::NoPrice as usize]).sum();
    let all: u64 = seen.iter().flat_map(|row| row.2).sum();
    assert_eq!(faults, all, "no other fault");
    assert!(seen.iter().all(|row| row.3 == 0), "no hole");
}

#[test]
fn candles_of_trades_equal_a_plain_grouping() {
    let trade = |millis: u64, px: i64, qty: i64| Trade {
        origin: Origin { cts: Wall::from_millis(millis), ..Origin::default() },
        px: Px::whole(px),
        qty: Qty::whole(qty),
        instrument: InstrumentId(0),
        side: Side::Buy,
        block: Flag::No,
        rpi: Flag::No,
        last: Flag::Yes,
        pad: [0; 2],
    };
    let mut builder = Builder::new(1);
    let mut series = Series::new(1, 100);
    let prints = [(0, 100, 1), (59_999, 105, 2), (60_000, 103, 1), (61_000, 99, 1), (59_000, 500, 9), (240_000, 98, 4)];
    for (millis, px, qty) in prints {
        if let Some(closed) = builder.on_trade(&trade(millis, px, qty)) {
            series.accept(&closed).unwrap();
        }
    }
    assert_eq!(builder.on_trade(&Trade { block: Flag::Yes, ..trade(240_001, 1, 1) }), None);
    let last = builder.on_trade(&trade(300_000, 97, 1)).unwrap();
    series.accept(&last).unwrap();
    let rows: Vec<_> = series
        .candles()
        .map(|c| (c.start.millis(), c.open, c.high, c.low, c.close, c.volume, c.turnover, c.missing))
        .collect();
    let row = |at, [o, h, l, c]: [i64; 4], coins, money, missing| {
        let [o, h, l, c] = [o, h, l, c].map(Px::whole);
        (at, o, h, l, c, Qty::whole(coins), Notional::whole(money), missing)
    };
    assert_eq!(
        rows,
        [
            row(0, [100, 105, 100, 105], 3, 310, 0),
            row(60_000, [103, 103, 99, 99], 2, 202, 0),
            row(240_000, [98, 98, 98, 98], 4, 392, 2),
        ]
    );
    assert_eq!(builder.left_out(), (1, 1));
}

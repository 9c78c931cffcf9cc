//! Named catastrophes, as shocks to every instrument.
//!
//! Closes and window lows of the days people remember, relative to the last close before. Sources: Binance spot daily
//! bars (2020 to 2022) and Bybit linear perpetuals (2025), compiled and cross-checked; sources differ by 2 to 3 points on
//! crash days. Instruments that did not trade then are given the worst shock any listed one took: never zero.

use crate::var::Scenarios;
use keel_core::instrument::Instruments;

/// Symbols with numbers of their own.
pub const SYMBOLS: [&str; 10] =
    ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "BNBUSDT", "DOGEUSDT", "ADAUSDT", "LTCUSDT", "LINKUSDT", "AVAXUSDT"];

/// One scenario: a shock a symbol, in 1e-6; `None` where it did not trade.
#[derive(Debug)]
pub struct Named {
    /// Its name in reports.
    pub name: &'static str,
    /// In the order of [`SYMBOLS`].
    pub shocks: [Option<i32>; 10],
}

const fn all(s: [i32; 10]) -> [Option<i32>; 10] {
    let mut shocks = [None; 10];
    let mut at = 0;
    while at < 10 {
        shocks[at] = if s[at] == 0 { None } else { Some(s[at]) };
        at += 1;
    }
    shocks
}

/// The set. A zero in the source rows means "did not trade, or not recorded".
pub const SET: [Named; 3] = [
    Named {
        name: "covid-2020-low",
        shocks: all([-523_332, -558_091, 0, -513_333, -614_978, -477_574, -555_304, -505_461, 0, 0]),
    },
    Named {
        name: "ftx-2022-low",
        shocks: all([
            -268_147, -340_000, -672_900, -359_026, -254_868, -433_266, -272_983, -312_437, -340_170, -386_537,
        ]),
    },
    Named {
        name: "october-2025-bybit-low",
        shocks: all([
            -169_051, -241_664, -336_307, -584_035, -311_504, -655_396, -668_180, -622_258, -653_111, -710_420,
        ]),
    },
];

/// The set as scenarios over this core's instruments; every instrument is covered.
#[must_use]
pub fn scenarios(instruments: &Instruments) -> Scenarios {
    let shocks = |symbol: &str| {
        let known = SYMBOLS.iter().position(|s| *s == symbol);
        SET.iter().map(move |named| {
            let worst = named.shocks.iter().flatten().min().copied().unwrap_or(-1_000_000);
            f64::from(known.and_then(|at| named.shocks[at]).unwrap_or(worst)) / 1e6
        })
    };
    let series: Vec<_> =
        instruments.rows().iter().map(|row| (row.symbol, shocks(row.symbol.as_str()).collect::<Vec<_>>())).collect();
    let series: Vec<_> = series.iter().map(|(symbol, shocks)| (*symbol, shocks.as_slice())).collect();
    Scenarios::new(instruments, &series).unwrap_or_else(|_| Scenarios::none())
}

//! Named catastrophes, as shocks to every instrument, on today's book and on everything open.
//!
//! In: the value of each instrument's legs. Out: what each catastrophe costs, and how much of the worst one it takes to be
//! liquidated. Never: a coin without a shock: one that did not trade then is given the worst shock any listed coin took.
//!
//! Sources: closes and window lows against the last close before, Binance spot daily bars (2020 to 2022) and Bybit linear
//! perpetuals (2025), compiled and cross-checked; sources differ by 2 to 3 points on crash days (12 March 2020: -39.5 %
//! here, -37.2 % elsewhere). The rebound takes the larger of 13 March 2020 and 10 November 2022. Falls of bitcoin are
//! carried to other coins by their downside betas of 2019 to 2025, rises by the same.

use crate::exposure::Legs;
use crate::var::Scenarios;
use keel_core::ids::Symbol;
use keel_core::instrument::Instruments;

/// Coins with numbers of their own.
pub const SYMBOLS: [&str; 10] =
    ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "BNBUSDT", "DOGEUSDT", "ADAUSDT", "LTCUSDT", "LINKUSDT", "AVAXUSDT"];

/// One catastrophe.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// Its name in reports.
    pub name: &'static str,
    /// Moves in 1e-6, in the order of [`SYMBOLS`]; zero where it did not trade or was not recorded.
    pub shocks: [i32; 10],
}

impl Named {
    /// What happens to this coin. A coin without a number of its own takes the worst one in the row.
    #[must_use]
    pub fn shock(&self, symbol: &Symbol) -> f64 {
        let known = SYMBOLS.iter().position(|s| s.as_bytes() == symbol.bytes()).map(|at| self.shocks[at]);
        let worst = self.shocks.iter().copied().max_by_key(|shock| shock.abs()).unwrap_or(-1_000_000);
        f64::from(known.filter(|shock| *shock != 0).unwrap_or(worst)) / 1e6
    }
}

/// The catastrophe the liquidation multiple is measured in.
pub const WORST: &str = "october-2025-low";

/// The set, in the order of the report. Measured in the gate on everything open.
#[rustfmt::skip]
pub const SET: [Named; 15] = [
    Named { name: "covid-2020-close", shocks: [-395_048, -445_969, 0, -349_013, -441_381, -263_400, -413_202, -385_329, -477_822, 0] },
    Named { name: "covid-2020-low", shocks: [-523_332, -558_091, 0, -513_333, -614_978, -477_574, -555_304, -505_461, 0, 0] },
    Named { name: "may-2021-low", shocks: [-353_887, -517_395, -591_953, -551_600, -624_858, -589_040, -560_908, -601_102, -631_178, -669_781] },
    Named { name: "luna-2022-low", shocks: [-215_592, -285_632, -504_245, -406_394, -385_221, -444_803, -457_112, -420_660, -447_000, -544_556] },
    Named { name: "ftx-2022-close", shocks: [-226_715, -296_773, -524_646, -283_348, -206_825, -330_217, -214_303, -248_294, -304_265, -285_951] },
    Named { name: "ftx-2022-low", shocks: [-268_147, -340_170, -672_900, -359_026, -254_868, -433_266, -272_983, -312_437, -343_184, -386_537] },
    Named { name: "october-2025-close", shocks: [-72_946, -124_422, -148_614, -153_327, -121_973, -219_901, -221_377, -229_173, -210_107, -269_847] },
    Named { name: "october-2025-low", shocks: [-169_051, -241_664, -336_307, -584_035, -311_504, -655_396, -668_180, -622_258, -653_111, -710_420] },
    Named { name: "rebound", shocks: [162_200, 243_400, 254_300, 183_400, 179_700, 205_100, 0, 0, 0, 0] },
    Named { name: "bitcoin-down-10", shocks: [-100_000, -116_000, -114_000, -105_000, -106_000, -114_000, -119_000, -122_000, -121_000, -135_000] },
    Named { name: "bitcoin-down-20", shocks: [-200_000, -232_000, -228_000, -210_000, -212_000, -228_000, -238_000, -244_000, -242_000, -270_000] },
    Named { name: "bitcoin-down-30", shocks: [-300_000, -348_000, -342_000, -315_000, -318_000, -342_000, -357_000, -366_000, -363_000, -405_000] },
    Named { name: "bitcoin-up-10", shocks: [100_000, 116_000, 114_000, 105_000, 106_000, 114_000, 119_000, 122_000, 121_000, 135_000] },
    Named { name: "bitcoin-up-20", shocks: [200_000, 232_000, 228_000, 210_000, 212_000, 228_000, 238_000, 244_000, 242_000, 270_000] },
    Named { name: "bitcoin-up-30", shocks: [300_000, 348_000, 342_000, 315_000, 318_000, 342_000, 357_000, 366_000, 363_000, 405_000] },
];

/// The set as scenarios over this core's instruments; every instrument is covered.
#[must_use]
pub fn scenarios(instruments: &Instruments) -> Scenarios {
    let shocks = |symbol: &Symbol| SET.iter().map(|named| named.shock(symbol)).collect::<Vec<_>>();
    let series: Vec<_> = instruments.rows().iter().map(|row| (row.symbol, shocks(&row.symbol))).collect();
    let series: Vec<_> = series.iter().map(|(symbol, shocks)| (*symbol, shocks.as_slice())).collect();
    Scenarios::new(instruments, &series).unwrap_or_else(|_| Scenarios::none())
}

/// One line of the report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Which catastrophe.
    pub name: &'static str,
    /// What it costs, USDT; negative is a gain.
    pub loss: f64,
    /// The same with everything open filled at worst.
    pub loss_if_filled: f64,
}

/// One coin of a book.
pub type Coin = (Symbol, Legs);

/// Share of a coin's value lost when every long falls and every short rises together.
const ALL_AGAINST: f64 = 0.2;
/// Funding of 0.75 % every eight hours for three days, against us.
const FUNDING: f64 = 0.0075 * 9.0;

/// Every catastrophe, the simple ones first. `equity` is what lies at the venue, USDT.
#[must_use]
pub fn report(book: &[Coin], equity: f64) -> Vec<Line> {
    let mut lines: Vec<Line> =
        SET.iter().map(|named| line(named.name, book, |symbol, legs| outcome(legs, named.shock(symbol)))).collect();
    let worst = SET.iter().find(|named| named.name == WORST).copied().unwrap_or(SET[0]);
    // the winning legs are closed at the mark by the venue, the losing ones are kept
    lines.push(line("deleveraged", book, |symbol, legs| {
        let (held, filled) = outcome(legs, worst.shock(symbol));
        (held.min(0.0), filled.min(0.0))
    }));
    lines.push(line("all-against", book, |_, legs| {
        let (down, up) = (outcome(legs, -ALL_AGAINST), outcome(legs, ALL_AGAINST));
        (down.0.min(up.0), down.1.min(up.1))
    }));
    let long = line("", book, |_, legs| outcome(legs, -FUNDING));
    let short = line("", book, |_, legs| outcome(legs, FUNDING));
    let funding = (long.loss.max(short.loss), long.loss_if_filled.max(short.loss_if_filled));
    lines.push(Line { name: "funding-three-days", loss: funding.0, loss_if_filled: funding.1 });
    for (name, share) in [("collateral-down-5", 0.05), ("collateral-down-35", 0.35), ("venue-default", 1.0)] {
        lines.push(Line { name, loss: equity * share, loss_if_filled: equity * share });
    }
    lines
}

fn line(name: &'static str, book: &[Coin], of: impl Fn(&Symbol, &Legs) -> (f64, f64)) -> Line {
    let outcomes = book.iter().map(|(symbol, legs)| of(symbol, legs));
    let (held, filled) = outcomes.fold((0.0, 0.0), |sum, x| (sum.0 + x.0, sum.1 + x.1));
    Line { name, loss: 0.0 - held, loss_if_filled: 0.0 - filled }
}

/// Outcome of the position, and with everything open filled where it hurts.
fn outcome(legs: &Legs, shock: f64) -> (f64, f64) {
    let held = legs.position * shock;
    (held, held + legs.buys * shock.min(0.0) - legs.sells * shock.max(0.0))
}

/// The smallest part of [`WORST`] that leaves less equity than maintenance margin: below 1 the day that was would have
/// liquidated this book. `None` when no part of it does. `maintenance` is a share of the positions' value.
#[must_use]
pub fn liquidation_multiple(book: &[Coin], equity: f64, maintenance: f64) -> Option<f64> {
    let worst = SET.iter().find(|named| named.name == WORST)?;
    let sum =
        |of: &dyn Fn(f64, f64) -> f64| -> f64 { book.iter().map(|(s, legs)| of(legs.position, worst.shock(s))).sum() };
    // equity + f * gain = maintenance * (gross + f * change of gross)
    let (gain, gross) = (sum(&|value, shock| value * shock), sum(&|value, _| value.abs()));
    let shrink = sum(&|value, shock| value.abs() * shock);
    let (room, speed) = (equity - maintenance * gross, maintenance * shrink - gain);
    if room <= 0.0 {
        return Some(0.0);
    }
    let multiple = room / speed;
    (speed > 0.0 && multiple.is_finite()).then_some(multiple)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::tests::{instrument, table};
    use crate::var::tests::near;

    fn coin(symbol: &str, position: f64, buys: f64, sells: f64) -> Coin {
        (Symbol::new(symbol.as_bytes()).unwrap(), Legs { position, buys, sells })
    }

    fn loss(lines: &[Line], name: &str) -> (f64, f64) {
        let line = lines.iter().find(|line| line.name == name).unwrap();
        (line.loss, line.loss_if_filled)
    }

    #[test]
    fn no_coin_is_without_a_shock() {
        let stranger = Symbol::new(b"NEWUSDT").unwrap();
        for named in SET {
            for symbol in SYMBOLS.iter().map(|s| Symbol::new(s.as_bytes()).unwrap()).chain([stranger]) {
                let shock = named.shock(&symbol);
                assert!(shock != 0.0 && (-1.0..1.0).contains(&shock), "{} {symbol}", named.name);
            }
            assert!(SYMBOLS.iter().all(|s| named.shock(&stranger).abs() >= named.shock(&instrument(s).symbol).abs()));
        }
        assert!(table().rows().iter().all(|row| scenarios(&table()).covers(row.id)));
    }

    #[test]
    fn a_hedged_book_is_hurt_where_the_hedge_fails() {
        let book = [coin("BTCUSDT", 10_000.0, 1_000.0, 0.0), coin("XRPUSDT", -10_000.0, 0.0, 500.0)];
        let lines = report(&book, 5_000.0);
        let rows = [
            ("covid-2020-low", 523.332 * 10.0 - 513.333 * 10.0, 523.332 * 11.0 - 513.333 * 10.0),
            ("october-2025-low", 1_690.51 - 5_840.35, 1_690.51 * 1.1 - 5_840.35),
            ("rebound", -1_622.0 + 1_834.0, -1_622.0 + 1_834.0 * 1.05),
            ("bitcoin-up-30", -3_000.0 + 3_150.0, -3_000.0 + 3_150.0 * 1.05),
            ("deleveraged", 1_690.51, 1_690.51 * 1.1),
            ("all-against", 4_000.0, 4_300.0),
            ("funding-three-days", 0.0, 67.5),
            ("venue-default", 5_000.0, 5_000.0),
        ];
        for (name, held, filled) in rows {
            let (ours, ours_filled) = loss(&lines, name);
            assert!((ours - held).abs() < 0.01 && (ours_filled - filled).abs() < 0.01, "{name} {ours} {ours_filled}");
        }
    }

    #[test]
    fn the_liquidation_multiple_is_where_equity_meets_maintenance() {
        let book = [coin("BTCUSDT", 100_000.0, 0.0, 0.0)];
        let multiple = liquidation_multiple(&book, 10_000.0, 0.005).unwrap();
        let left = 10_000.0 - multiple * 16_905.1;
        near(left, 0.005 * 100_000.0 * (1.0 - multiple * 0.169_051), 1e-9);
        assert_eq!(liquidation_multiple(&book, 400.0, 0.005), Some(0.0), "already there");
        assert_eq!(
            liquidation_multiple(&[coin("BTCUSDT", -1_000.0, 0.0, 0.0)], 10_000.0, 0.005),
            None,
            "a fall is a gain"
        );
        assert_eq!(liquidation_multiple(&[], 10_000.0, 0.005), None);
    }
}

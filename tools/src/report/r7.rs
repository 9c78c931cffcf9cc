//! R7: value at risk, expected shortfall, stress, and whether the forecasts were right so far.
//!
//! The book is valued at the marks when the range ended and put through the scenarios the run was started with, by the code
//! the gate uses. Each day of the journal that it holds whole is forecast at its midnight and judged at the next.

use super::Fold;
use super::cell::{Cell, Column, Sort, Table, col, rounded, steps};
use super::plot::{Mark, Plot, Ticks};
use super::r6::seconds;
use super::sheet::{Sheet, Spec};
use super::world::{DAY, Fact, Phase, Turn, World, value_of};
use crate::node::genesis::Genesis;
use anyhow::Result;
use keel_core::event::DocumentKind;
use keel_core::ids::Symbol;
use keel_core::units::{Notional, Px, Qty, Wall};
use keel_risk::Scenarios;
use keel_risk::backtest::{self, Day, Zone};
use keel_risk::exposure::Legs;
use keel_risk::history::{self, LAMBDA};
use keel_risk::stress;
use keel_risk::var::measure;
use std::collections::BTreeMap;

const MEASURES: [Column; 8] = [
    col(
        "method",
        Sort::Text,
        "",
        "historical: the book over past days; filtered: each day scaled to tomorrow's volatility; ewma: \
         exponentially weighted, normal; normal; cornish-fisher; age-weighted",
    ),
    col("n", Sort::Int, "days", "Scenarios"),
    col("confidence_pct", Sort::Decimal, "%", "Confidence"),
    col("horizon_days", Sort::Int, "days", "Days ahead"),
    col("var", Sort::Decimal, "USDT", "Value at risk; positive is a loss; NULL where the history is too short"),
    col("es", Sort::Decimal, "USDT", "Expected shortfall; NULL where the method has none"),
    col("equity_pct", Sort::Decimal, "%", "Value at risk over the account's worth"),
    col("journal", Sort::Text, "", "Name of the journal"),
];

const COMPONENTS: [Column; 6] = [
    col("symbol", Sort::Text, "", "Instrument"),
    col("qty", Sort::Decimal, "coin", "Signed position"),
    col("mark", Sort::Decimal, "USDT", "Mark price"),
    col("value", Sort::Decimal, "USDT", "Signed value"),
    col("es_component", Sort::Decimal, "USDT", "Its part of the historical shortfall: they sum up to it"),
    col("incremental_var", Sort::Decimal, "USDT", "Value at risk with it less value at risk without it"),
];

const STRESS: [Column; 3] = [
    col("scenario", Sort::Text, "", "Catastrophe"),
    col("loss", Sort::Decimal, "USDT", "What the book loses; negative is a gain"),
    col("equity_pct", Sort::Decimal, "%", "Loss over the account's worth"),
];

const DAYS: [Column; 9] = [
    col("day", Sort::Text, "", "Day, UTC"),
    col("whole", Sort::Flag, "", "The journal holds it from midnight to midnight: only such a day is judged"),
    col("var", Sort::Decimal, "USDT", "Forecast at its beginning, historical"),
    col("es", Sort::Decimal, "USDT", "Forecast at its beginning"),
    col("actual_pnl", Sort::Decimal, "USDT", "Change of the net asset value, money moved left out"),
    col("hypothetical_pnl", Sort::Decimal, "USDT", "What the book of its beginning earned by the marks alone"),
    col("exception_actual", Sort::Flag, "", "The actual loss was larger than the forecast"),
    col("exception_hypothetical", Sort::Flag, "", "The hypothetical loss was"),
    col("journal", Sort::Text, "", "Name of the journal"),
];

const BACKTEST: [Column; 14] = [
    col("window_days", Sort::Int, "days", "Days to be judged"),
    col("basis", Sort::Text, "", "actual or hypothetical profit and loss"),
    col("days", Sort::Int, "days", "Days there were"),
    col("expected", Sort::Decimal, "", "Exceptions a right model shows on average in these days"),
    col("exceptions", Sort::Int, "", "Exceptions"),
    col("kupiec_lr", Sort::Decimal, "", "Likelihood ratio of the number of exceptions"),
    col("kupiec_p", Sort::Decimal, "", "Its p-value: below 0.05 the number is not what was forecast"),
    col("christoffersen_lr", Sort::Decimal, "", "Likelihood ratio of their independence"),
    col("christoffersen_p", Sort::Decimal, "", "Its p-value: below 0.05 they come in clusters"),
    col("conditional_lr", Sort::Decimal, "", "Both together"),
    col("conditional_p", Sort::Decimal, "", "Their p-value"),
    col("zone", Sort::Text, "", "Traffic light: green below 95 %, yellow, red from 99.99 % of true models on"),
    col(
        "acerbi_szekely_z2",
        Sort::Decimal,
        "",
        "Second statistic of the shortfall: below -0.70 it was forecast too small",
    ),
    col("status", Sort::Text, "", "full, or how many days are missing"),
];

pub(super) const SPEC: Spec = Spec {
    code: "r7",
    name: "var-es-stress",
    title: "Value at risk, expected shortfall, stress, backtest",
    about: "What the book could lose, by the same code the gate uses over the same scenarios; what catastrophes would cost; \
            and how many days were worse than their forecast.",
    schema: 1,
    restricted: false,
    tables: &[
        Table { name: "measures", title: "Measures at the end of the range", columns: &MEASURES },
        Table { name: "components", title: "Who causes it", columns: &COMPONENTS },
        Table { name: "stress", title: "Catastrophes", columns: &STRESS },
        Table { name: "backtest", title: "Backtest", columns: &BACKTEST },
        Table { name: "days", title: "Days", columns: &DAYS },
    ],
};

/// Confidence where the limits do not bound the tail, in basis points of the tail.
const TAIL_BPS: u32 = 100;
/// Days kept; the oldest go first.
const MAX_DAYS: usize = 4000;
/// Windows of the backtest.
const WINDOWS: [usize; 2] = [250, 365];

/// A day that is under way.
#[derive(Clone, Debug)]
struct Begun {
    day: u64,
    whole: bool,
    forecast: Option<(f64, f64)>,
    nav: Option<i128>,
    held: BTreeMap<String, (Qty, Px)>,
}

/// A day that is over.
#[derive(Clone, Copy, Debug)]
struct Past {
    day: u64,
    whole: bool,
    forecast: Option<(f64, f64)>,
    actual: Option<i128>,
    hypothetical: Option<i128>,
}

/// The fold.
#[derive(Debug, Default)]
pub(super) struct Risk {
    documents: Vec<(DocumentKind, String)>,
    opening: bool,
    scenarios: Option<(Scenarios, u32)>,
    unread: Option<String>,
    begun: Option<Begun>,
    days: Vec<Past>,
}

/// The book: value and returns of each instrument held.
struct Book {
    symbols: Vec<Symbol>,
    qty: Vec<Qty>,
    marks: Vec<Px>,
    values: Vec<f64>,
    series: Vec<Vec<f64>>,
    /// Why it cannot be measured.
    doubt: Option<String>,
}

impl Fold for Risk {
    fn day(&mut self, world: &World, day: u64) {
        self.opened(world);
        let followed = self.begun.as_ref().is_some_and(|begun| begun.day + 1 == day);
        self.over(world, followed);
        let forecast = self.book(world).and_then(|book| self.forecast(&book));
        let held = world.seats.iter().filter(|seat| !seat.position.size.is_zero());
        let held = held.map(|seat| (seat.symbol.clone(), (seat.position.size, seat.mark))).collect();
        self.begun = Some(Begun { day, whole: followed, forecast, nav: nav(world), held });
    }

    fn take(&mut self, world: &World, turn: &Turn<'_>, _: &mut Sheet) -> Result<()> {
        if turn.phase == Phase::After {
            return Ok(());
        }
        if let Fact::Start(_) = turn.fact {
            self.documents.clear();
            self.opening = true;
        } else if let Some((kind, text, true)) = &turn.document {
            self.documents.push((*kind, String::from_utf8_lossy(text).into_owned()));
        } else if self.opening && !matches!(turn.fact, Fact::Instrument | Fact::Document(_)) {
            self.opened(world);
        }
        Ok(())
    }

    fn close(&mut self, world: &World, out: &mut Sheet) -> Result<()> {
        self.opened(world);
        let whole_day = world.range.to.nanos().is_multiple_of(DAY);
        let ends =
            self.begun.as_ref().is_some_and(|begun| (begun.day + 1).saturating_mul(DAY) == world.range.to.nanos());
        self.over(world, whole_day && ends);
        let tail = self.scenarios.as_ref().map_or(TAIL_BPS, |(_, tail)| *tail);
        match self.book(world) {
            Some(book) => self.measures(world, &book, tail, out)?,
            None => {
                let why = self
                    .unread
                    .clone()
                    .unwrap_or_else(|| "the journal holds no scenarios: value at risk cannot be measured".to_owned());
                out.incomplete(why);
            }
        }
        self.catastrophes(world, out)?;
        self.backtests(tail, out)?;
        self.told(world, out)?;
        self.plot(out);
        Ok(())
    }
}

/// Worth of the account, money moved left out.
fn nav(world: &World) -> Option<i128> {
    world.worth.map(|worth| i128::from(worth.equity.raw()) - i128::from(worth.moved.raw()))
}

impl Risk {
    /// The run's documents are there.
    fn opened(&mut self, world: &World) {
        if !std::mem::take(&mut self.opening) {
            return;
        }
        match Genesis::read(&self.documents, &world.table) {
            Ok(genesis) => {
                let tail = genesis.limits.tail.as_ref().map_or(TAIL_BPS, |tail| tail.tail);
                self.scenarios = genesis.scenarios.map(|scenarios| (scenarios, tail));
            }
            Err(why) => self.unread = Some(format!("the documents of the run cannot be read: {why:#}")),
        }
    }

    /// The day under way is over.
    fn over(&mut self, world: &World, at_midnight: bool) {
        let Some(begun) = self.begun.take() else { return };
        let actual = begun.nav.zip(nav(world)).map(|(before, after)| after - before);
        let mark = |symbol: &str| world.seats.iter().find(|seat| seat.symbol == symbol).map(|seat| seat.mark);
        let each = begun.held.iter().map(|(symbol, (qty, before))| {
            let after = mark(symbol).filter(|after| *after > Px::ZERO && *before > Px::ZERO)?;
            Some(value_of(after, *qty) - value_of(*before, *qty))
        });
        let past = Past {
            day: begun.day,
            whole: begun.whole && at_midnight,
            forecast: begun.forecast,
            actual,
            hypothetical: each.sum(),
        };
        if self.days.len() >= MAX_DAYS {
            self.days.remove(0);
        }
        self.days.push(past);
    }

    fn book(&self, world: &World) -> Option<Book> {
        let (scenarios, _) = self.scenarios.as_ref()?;
        let mut book =
            Book { symbols: vec![], qty: vec![], marks: vec![], values: vec![], series: vec![], doubt: None };
        for row in world.table.rows() {
            let Some(seat) = world.seat_of(row.id).map(|at| &world.seats[at]) else { continue };
            let held = !seat.position.size.is_zero();
            if held && seat.mark <= Px::ZERO {
                book.doubt = Some(format!("{} is held and the journal has no mark price of it", seat.symbol));
            }
            if held && !scenarios.covers(row.id) {
                book.doubt = Some(format!("{} is held and the scenarios have no history of it", seat.symbol));
            }
            book.symbols.push(row.symbol);
            book.qty.push(seat.position.size);
            book.marks.push(seat.mark);
            let value = i64::try_from(value_of(seat.mark, seat.position.size)).unwrap_or(i64::MAX);
            book.values.push(Notional::from_raw(value).to_f64());
            book.series.push((0..scenarios.count()).map(|at| scenarios.at(row.id, at)).collect());
        }
        Some(book)
    }

    fn forecast(&self, book: &Book) -> Option<(f64, f64)> {
        let tail = self.scenarios.as_ref().map_or(TAIL_BPS, |(_, tail)| *tail);
        let risk = measure(&mut outcomes(book), tail).filter(|_| book.doubt.is_none())?;
        Some((risk.var + 0.0, risk.es + 0.0))
    }

    fn measures(&self, world: &World, book: &Book, tail: u32, out: &mut Sheet) -> Result<()> {
        if let Some(doubt) = &book.doubt {
            out.incomplete(doubt.clone());
        }
        let outcomes = outcomes(book);
        let flat = book.values.iter().all(|value| *value == 0.0);
        let (risk, filtered) = (measure(&mut outcomes.clone(), tail), history::filtered(&outcomes, LAMBDA, tail));
        let moments = history::moments(&outcomes);
        let normal = moments.map(|m| history::normal(m.sample_deviation, tail));
        let rows: [(&str, Option<f64>, Option<f64>); 6] = [
            ("historical", risk.map(|r| r.var), risk.map(|r| r.es)),
            ("filtered", filtered.map(|r| r.var), filtered.map(|r| r.es)),
            ("ewma", history::ewma_var(&outcomes, LAMBDA, tail), None),
            ("normal", normal.map(|n| n.0), normal.map(|n| n.1)),
            ("cornish-fisher", moments.map(|m| history::cornish_fisher_var(&m, tail)), None),
            ("age-weighted", history::age_weighted(&outcomes, 0.98, tail), None),
        ];
        let equity = world.worth.map(|worth| i128::from(worth.equity.raw())).filter(|equity| *equity > 0);
        // nothing held loses nothing: a model that cannot scale no volatility has no other answer
        let known = |value: Option<f64>| if flat { Some(0) } else { value.and_then(rounded) };
        for (method, var, es) in rows {
            let var = known(var);
            let es =
                if es.is_none() && !matches!(method, "historical" | "filtered" | "normal") { None } else { known(es) };
            let share = var.zip(equity).and_then(|(var, equity)| super::cell::ratio(var.checked_mul(100)?, equity));
            let cells = vec![
                method.into(),
                outcomes.len().into(),
                steps(i128::from(10_000 - tail.min(10_000)) * 1_000_000),
                1u64.into(),
                steps(var),
                steps(es),
                steps(share),
                world.name.clone().into(),
            ];
            out.row(0, cells)?;
            if method == "historical" {
                out.figure("Value at risk, 1 day", steps(var), "USDT");
                out.figure("Expected shortfall", steps(es), "USDT");
            }
        }
        let series: Vec<&[f64]> = book.series.iter().map(Vec::as_slice).collect();
        let components = history::shortfall_components(&series, &book.values, tail);
        let incremental = history::incremental(&series, &book.values, tail);
        for at in 0..book.symbols.len() {
            let part = |parts: &Option<Vec<f64>>| {
                if flat {
                    Some(0)
                } else {
                    parts.as_ref().and_then(|parts| parts.get(at)).and_then(|part| rounded(*part))
                }
            };
            out.row(
                1,
                vec![
                    book.symbols[at].to_string().into(),
                    book.qty[at].into(),
                    Some(book.marks[at]).filter(|mark| *mark > Px::ZERO).into(),
                    steps(value_of(book.marks[at], book.qty[at])),
                    steps(part(&components)),
                    steps(part(&incremental)),
                ],
            )?;
        }
        if let (Some(parts), Some(risk)) = (components.filter(|_| !flat), risk) {
            let sum: i128 = parts.iter().filter_map(|part| rounded(*part)).sum();
            // each part is rounded to 1e-8, and their floating sum has an error of its own far below that
            out.check(
                "parts of the shortfall = the shortfall",
                sum,
                rounded(risk.es).unwrap_or(0),
                "USDT",
                2 + parts.len() as i128,
            );
        }
        Ok(())
    }

    fn catastrophes(&self, world: &World, out: &mut Sheet) -> Result<()> {
        let equity = world.worth.map(|worth| worth.equity);
        let coins: Vec<(Symbol, Legs)> = world
            .seats
            .iter()
            .map(|seat| {
                let value = i64::try_from(value_of(seat.mark, seat.position.size)).unwrap_or(i64::MAX);
                (seat.row.symbol, Legs { position: Notional::from_raw(value).to_f64(), ..Legs::default() })
            })
            .collect();
        let lines = stress::report(&coins, equity.unwrap_or_default().to_f64());
        let worst = lines.iter().filter(|line| line.name != "venue-default" && !line.name.starts_with("collateral"));
        let worst = worst.max_by(|a, b| a.loss.total_cmp(&b.loss));
        out.figure("Worst catastrophe of prices", steps(worst.and_then(|line| rounded(line.loss))), "USDT");
        let equity = equity.map(|equity| i128::from(equity.raw())).filter(|equity| *equity > 0);
        for line in &lines {
            let loss = rounded(line.loss);
            let share = loss.zip(equity).and_then(|(loss, equity)| super::cell::ratio(loss.checked_mul(100)?, equity));
            out.row(2, vec![line.name.into(), steps(loss), steps(share)])?;
        }
        Ok(())
    }

    fn backtests(&self, tail: u32, out: &mut Sheet) -> Result<()> {
        for window in WINDOWS {
            for (basis, of) in [
                ("actual", (|past: &Past| past.actual) as fn(&Past) -> Option<i128>),
                ("hypothetical", |past| past.hypothetical),
            ] {
                let judged: Vec<Day> =
                    self.days.iter().filter(|past| past.whole).filter_map(|past| judged(past, of)).collect();
                let days = &judged[judged.len().saturating_sub(window)..];
                out.row(3, backtest_row(window, basis, days, tail))?;
                if window == WINDOWS[0] && basis == "actual" {
                    let hits = backtest::hits(days).iter().filter(|hit| **hit).count();
                    out.figure("Exceptions", Some(hits).filter(|_| !days.is_empty()), "of 250 days");
                    if days.len() < window {
                        out.note(format!("The journal holds {} whole days, {window} are to be judged: the backtest says as much as they do.", days.len()));
                    }
                }
            }
        }
        Ok(())
    }

    fn told(&self, world: &World, out: &mut Sheet) -> Result<()> {
        for past in &self.days {
            let exception = |of: Option<i128>| past.forecast.zip(of).map(|((var, _), pnl)| -float(pnl) > var);
            out.row(
                4,
                vec![
                    date(past.day).into(),
                    past.whole.into(),
                    steps(past.forecast.and_then(|(var, _)| rounded(var))),
                    steps(past.forecast.and_then(|(_, es)| rounded(es))),
                    steps(past.actual),
                    steps(past.hypothetical),
                    exception(past.actual).filter(|_| past.whole).into(),
                    exception(past.hypothetical).filter(|_| past.whole).into(),
                    world.name.clone().into(),
                ],
            )?;
        }
        Ok(())
    }

    fn plot(&self, out: &mut Sheet) {
        let days: Vec<_> = self.days.iter().filter(|past| past.whole).collect();
        let days = &days[days.len().saturating_sub(WINDOWS[1])..];
        let bars = days.iter().filter_map(|past| {
            let (pnl, (var, _)) = (float(past.actual?), past.forecast?);
            let from = seconds(past.day.saturating_mul(DAY));
            Some((from, from + seconds(DAY), pnl, -pnl > var))
        });
        let bars: Vec<_> = bars.collect();
        let line = |sign: f64, of: fn((f64, f64)) -> f64| {
            days.iter()
                .filter_map(|past| {
                    let from = seconds(past.day.saturating_mul(DAY));
                    Some((from + seconds(DAY) / 2.0, sign * of(past.forecast?)))
                })
                .collect::<Vec<_>>()
        };
        if bars.is_empty() {
            return;
        }
        let plot = Plot {
            x: "day, UTC",
            y: "profit or loss, USDT",
            ticks: Ticks::Clock,
            height: 320.0,
            zero: true,
            legend: vec![
                ("profit and loss of the day", "line"),
                ("value at risk, as a loss (red bars are beyond it)", "line2"),
            ],
            marks: vec![Mark::Bars(bars), Mark::Line("line2", line(-1.0, |(var, _)| var))],
        };
        if let Some(svg) = plot.svg() {
            out.plots.push(("Value at risk against profit and loss".to_owned(), svg));
        }
    }
}

fn outcomes(book: &Book) -> Vec<f64> {
    let series: Vec<&[f64]> = book.series.iter().map(Vec::as_slice).collect();
    history::outcomes(&series, &book.values)
}

/// For statistics and pictures: money of a day fits a float to a hundredth of a cent.
#[allow(clippy::cast_precision_loss, reason = "for statistics")]
pub(super) fn float(raw: i128) -> f64 {
    raw as f64 / 1e8
}

fn judged(past: &Past, of: fn(&Past) -> Option<i128>) -> Option<Day> {
    let (var, es) = past.forecast?;
    Some(Day { loss: -float(of(past)?), var, es })
}

fn backtest_row(window: usize, basis: &str, days: &[Day], tail: u32) -> Vec<Cell> {
    let (hits, p) = (backtest::hits(days), f64::from(tail) / 10_000.0);
    let count = hits.iter().filter(|hit| **hit).count();
    let some = !days.is_empty();
    let (kupiec, alone, both) =
        (backtest::kupiec(hits.len(), count, p), backtest::independence(&hits), backtest::conditional(&hits, p));
    let zone = match backtest::traffic_light(hits.len(), count, p) {
        Zone::Green => "green",
        Zone::Yellow => "yellow",
        Zone::Red => "red",
    };
    let status = if days.len() >= window { "full".to_owned() } else { format!("{} of {window} days", days.len()) };
    vec![
        window.into(),
        basis.into(),
        days.len().into(),
        steps(i128::try_from(days.len()).unwrap_or(0) * i128::from(tail) * 10_000),
        Some(count).filter(|_| some).into(),
        steps(kupiec.and_then(rounded)),
        steps(kupiec.map(backtest::beyond_1).and_then(rounded)),
        steps(alone.and_then(rounded)),
        steps(alone.map(backtest::beyond_1).and_then(rounded)),
        steps(both.and_then(rounded)),
        steps(both.map(backtest::beyond_2).and_then(rounded)),
        Some(zone).filter(|_| some).map(Cell::from).unwrap_or_default(),
        steps(backtest::acerbi_szekely(days, p).and_then(rounded)),
        status.into(),
    ]
}

/// A day since 1970 as a date.
pub(super) fn date(day: u64) -> String {
    crate::moment::utc(Wall::from_nanos(day.saturating_mul(DAY))).get(..10).unwrap_or("").to_owned()
}

#[cfg(test)]
impl Risk {
    /// Days as they would have been noted: whole or not, forecast, profit in whole USDT.
    pub(super) fn push_days(&mut self, days: &[(bool, f64, i64)]) {
        for (day, (whole, var, pnl)) in (0..).zip(days) {
            let pnl = Some(i128::from(*pnl) * i128::from(keel_core::units::SCALE));
            let forecast = Some((*var, 1.2 * *var));
            self.days.push(Past { day, whole: *whole, forecast, actual: pnl, hypothetical: pnl });
        }
    }

    /// Judges them.
    pub(super) fn judge(&self, out: &mut Sheet) -> Result<()> {
        self.backtests(TAIL_BPS, out)?;
        self.plot(out);
        Ok(())
    }
}

//! Every limit by name, and what a new version changes: the text people sign, the register they print.
//!
//! In: one or two versions of the limits. Out: lines `name = value`, differences, and which of them loosen. Never: a
//! difference nobody classified: what is neither larger nor smaller counts as looser.

use crate::limits::{InstrumentLimits, Limits, MarkSource, StrategyLimits, TailLimits};
use crate::trips::{Cause, Ladder, TripLimits};
use core::fmt::Write as _;
use keel_core::ids::{MAX_INSTRUMENTS, MAX_STRATEGIES, Symbol};
use keel_core::units::{Notional, Qty};
use std::collections::BTreeMap;

/// Which way is looser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sense {
    /// A larger value allows more.
    Larger,
    /// A smaller value allows more.
    Smaller,
    /// Any change may allow more.
    Either,
    /// Not a limit.
    Neither,
}

/// One line of the register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `instrument.BTCUSDT.max_order_qty` and the like.
    pub name: String,
    /// In the unit of the field: 1e-8 for money and coins.
    pub value: i128,
    sense: Sense,
}

/// What a new version changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which limit.
    pub name: String,
    /// Before; `None` when it is new.
    pub before: Option<i128>,
    /// After; `None` when it is gone.
    pub after: Option<i128>,
    /// It allows more than before, or nobody can tell.
    pub loosens: bool,
}

/// Every limit, in a fixed order.
#[must_use]
pub fn entries(limits: &Limits) -> Vec<Entry> {
    use Sense::{Either, Larger, Neither, Smaller};
    let mut all = Vec::new();
    let mut add = |name: &str, value: i128, sense| all.push(Entry { name: name.to_owned(), value, sense });
    add("version", limits.version.into(), Neither);
    add("max_gross", limits.max_gross.raw().into(), Larger);
    add("max_net", limits.max_net.raw().into(), Larger);
    add("margin_rate", limits.margin_rate.into(), Smaller);
    add("max_margin_use", limits.max_margin_use.into(), Larger);
    add("max_stress", limits.max_stress.raw().into(), Larger);
    add("max_book_age", limits.max_book_age.into(), Larger);
    add("max_mark_age", limits.max_mark_age.into(), Larger);
    add("mark_from_mid", (limits.mark == MarkSource::TickerOrMid).into(), Larger);
    add("message_rate", limits.message_rate.into(), Larger);
    add("message_burst", limits.message_burst.into(), Larger);
    add("cancel_reserve", limits.cancel_reserve.into(), Smaller);
    add("max_open_orders", limits.max_open_orders.into(), Larger);
    add("max_unproven", limits.max_unproven.into(), Larger);
    add("duplicate_window", limits.duplicate_window.into(), Smaller);
    add("reject_window", limits.reject_window.into(), Smaller);
    add("execution_window", limits.execution_window.into(), Smaller);
    add("funding_blackout", limits.funding_blackout.into(), Smaller);
    add("drift_interval", limits.drift_interval.into(), Larger);
    if let Some(tail) = &limits.tail {
        add("tail.tail", tail.tail.into(), Either);
        add("tail.max_loss", tail.max_loss.raw().into(), Larger);
        add("tail.max_shortfall", tail.max_shortfall.raw().into(), Larger);
    }
    for cause in Cause::ALL {
        let ladder = limits.trips.of(cause);
        for (step, value) in [("warn", ladder.warn), ("reduce", ladder.reduce), ("halt", ladder.halt)] {
            add(&format!("trips.{}.{step}", cause.name()), value.into(), Larger);
        }
    }
    instrument(&mut add, "*", &limits.instrument);
    for (symbol, row) in &limits.overrides {
        instrument(&mut add, symbol.as_str(), row);
    }
    for (at, row) in limits.strategies.iter().enumerate() {
        strategy(&mut add, at, row);
    }
    all
}

fn instrument(add: &mut impl FnMut(&str, i128, Sense), symbol: &str, row: &InstrumentLimits) {
    for (name, value) in [
        ("max_order_qty", row.max_order_qty.raw()),
        ("max_order_value", row.max_order_value.raw()),
        ("max_position", row.max_position.raw()),
        ("collar", row.collar),
        ("max_spread", row.max_spread),
        ("max_mark_gap", row.max_mark_gap),
        ("max_open_orders", row.max_open_orders.into()),
        ("max_resting_value", row.max_resting_value.raw()),
        ("max_walk", row.max_walk),
    ] {
        add(&format!("instrument.{symbol}.{name}"), value.into(), Sense::Larger);
    }
    // zero is off, which is the loosest
    add(&format!("instrument.{symbol}.max_participation"), row.max_participation.into(), Sense::Either);
}

fn strategy(add: &mut impl FnMut(&str, i128, Sense), at: usize, row: &StrategyLimits) {
    for (name, value) in [("rate", row.rate), ("max_executions", row.max_executions), ("max_rejects", row.max_rejects)]
    {
        add(&format!("strategy.{at}.{name}"), value.into(), Sense::Larger);
    }
    add(&format!("strategy.{at}.max_order_to_trade"), row.max_order_to_trade.into(), Sense::Larger);
    // from zero on a model decides, and at zero none does
    add(&format!("strategy.{at}.signal_ttl"), row.signal_ttl.into(), Sense::Either);
    match &row.symbols {
        None => add(&format!("strategy.{at}.may_trade.*"), 1, Sense::Larger),
        Some(symbols) => {
            symbols.iter().for_each(|symbol| add(&format!("strategy.{at}.may_trade.{symbol}"), 1, Sense::Larger));
        }
    }
}

/// The register as text, one limit a line: what people sign and print.
#[must_use]
pub fn text(limits: &Limits) -> String {
    entries(limits).iter().fold(String::new(), |mut text, Entry { name, value, .. }| {
        let _ = writeln!(text, "{name} = {value}");
        text
    })
}

/// What `after` changes, by name.
#[must_use]
pub fn differences(before: &Limits, after: &Limits) -> Vec<Difference> {
    let (old, new) = (entries(before), entries(after));
    let find = |all: &[Entry], name: &str| all.iter().find(|entry| entry.name == name).cloned();
    let mut changes: Vec<Difference> = Vec::new();
    for entry in &old {
        let after = find(&new, &entry.name).map(|new| new.value);
        if after == Some(entry.value) {
            continue;
        }
        let loosens = match (entry.sense, after) {
            (Sense::Neither, _) => false,
            (Sense::Larger, Some(after)) => after > entry.value,
            (Sense::Smaller, Some(after)) => after < entry.value,
            (Sense::Either, Some(_)) => true,
            // taking a permission away tightens; taking any other limit away does not
            (_, None) => !entry.name.contains(".may_trade."),
        };
        changes.push(Difference { name: entry.name.clone(), before: Some(entry.value), after, loosens });
    }
    for entry in new.iter().filter(|entry| find(&old, &entry.name).is_none()) {
        // a limit on the tail where there was none tightens; everything else that is new may allow more
        let loosens = !entry.name.starts_with("tail.");
        changes.push(Difference { name: entry.name.clone(), before: None, after: Some(entry.value), loosens });
    }
    changes
}

/// Why a text is not the register of any limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// A line that is not `name = number`, stands twice, or that no limit is called by.
    Line(String),
    /// A limit is missing, or its number does not fit it.
    Number(String),
    /// Every line fits, and writing them again gives another text: out of order, or a number not in its plain form.
    Form,
}

/// Lines taken out by name, until none is left.
struct Lines<'a>(BTreeMap<&'a str, i128>);

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Result<Self, Unreadable> {
        let mut lines = BTreeMap::new();
        for line in text.lines() {
            let pair = line.split_once(" = ").and_then(|(name, value)| Some((name, value.parse().ok()?)));
            let (name, value) = pair.ok_or_else(|| Unreadable::Line(line.to_owned()))?;
            if lines.insert(name, value).is_some() {
                return Err(Unreadable::Line(line.to_owned()));
            }
        }
        Ok(Self(lines))
    }

    fn number<T: TryFrom<i128>>(&mut self, name: &str) -> Result<T, Unreadable> {
        self.0.remove(name).and_then(|value| T::try_from(value).ok()).ok_or_else(|| Unreadable::Number(name.to_owned()))
    }

    fn money(&mut self, name: &str) -> Result<Notional, Unreadable> {
        self.number(name).map(Notional::from_raw)
    }

    fn has(&self, start: &str) -> bool {
        self.0.range(start..).next().is_some_and(|(name, _)| name.starts_with(start))
    }

    fn instrument(&mut self, symbol: &str) -> Result<InstrumentLimits, Unreadable> {
        let name = |field: &str| format!("instrument.{symbol}.{field}");
        Ok(InstrumentLimits {
            max_order_qty: Qty::from_raw(self.number(&name("max_order_qty"))?),
            max_order_value: self.money(&name("max_order_value"))?,
            max_position: self.money(&name("max_position"))?,
            collar: self.number(&name("collar"))?,
            max_spread: self.number(&name("max_spread"))?,
            max_mark_gap: self.number(&name("max_mark_gap"))?,
            max_open_orders: self.number(&name("max_open_orders"))?,
            max_resting_value: self.money(&name("max_resting_value"))?,
            max_walk: self.number(&name("max_walk"))?,
            max_participation: self.number(&name("max_participation"))?,
        })
    }

    fn strategy(&mut self, at: usize, text: &str) -> Result<StrategyLimits, Unreadable> {
        let prefix = format!("strategy.{at}.may_trade.");
        let mut symbols = Some(Vec::new());
        for line in text.lines().filter(|line| line.starts_with(&prefix)) {
            let name = line[prefix.len()..].split(" = ").next().unwrap_or("");
            self.number::<u8>(&format!("{prefix}{name}"))?;
            match (&mut symbols, Symbol::new(name.as_bytes())) {
                (_, Some(symbol)) if symbol.bytes() == b"*" => symbols = None,
                (Some(list), Some(symbol)) if list.len() < MAX_INSTRUMENTS => list.push(symbol),
                _ => return Err(Unreadable::Line(line.to_owned())),
            }
        }
        let mut number = |field: &str| self.number(&format!("strategy.{at}.{field}"));
        Ok(StrategyLimits {
            symbols,
            rate: number("rate")?,
            max_executions: number("max_executions")?,
            max_rejects: number("max_rejects")?,
            max_order_to_trade: number("max_order_to_trade")?,
            signal_ttl: number("signal_ttl")?,
        })
    }
}

/// The symbols with limits of their own, in the order of the text.
fn symbols(text: &str) -> Result<Vec<Symbol>, Unreadable> {
    let mut symbols: Vec<Symbol> = Vec::new();
    for line in text.lines() {
        let name = line.split(" = ").next().unwrap_or("").strip_prefix("instrument.");
        let Some((symbol, _)) = name.and_then(|rest| rest.rsplit_once('.')) else { continue };
        let symbol = Symbol::new(symbol.as_bytes()).ok_or_else(|| Unreadable::Line(line.to_owned()))?;
        if symbol.bytes() != b"*" && symbols.last() != Some(&symbol) {
            symbols.push(symbol);
        }
    }
    if symbols.len() > MAX_INSTRUMENTS { Err(Unreadable::Form) } else { Ok(symbols) }
}

/// The limits a register was written from: [`text`] back again, every line there, once, in its order. Whether the numbers
/// are in their ranges is asked of [`Limits::check`].
pub fn read(register: &str) -> Result<Limits, Unreadable> {
    let mut lines = Lines::new(register)?;
    let mut trips = TripLimits::usual();
    for cause in Cause::ALL {
        let mut step = |step| lines.number(&format!("trips.{}.{step}", cause.name()));
        trips.ladders[cause as usize] = Ladder::new(step("warn")?, step("reduce")?, step("halt")?);
    }
    let tail = if lines.has("tail.") {
        let (tail, max_loss) = (lines.number("tail.tail")?, lines.money("tail.max_loss")?);
        Some(TailLimits { tail, max_loss, max_shortfall: lines.money("tail.max_shortfall")? })
    } else {
        None
    };
    let mut overrides = Vec::new();
    for symbol in symbols(register)? {
        overrides.push((symbol, lines.instrument(symbol.as_str())?));
    }
    let mut strategies = Vec::new();
    while strategies.len() < MAX_STRATEGIES && lines.has(&format!("strategy.{}.", strategies.len())) {
        strategies.push(lines.strategy(strategies.len(), register)?);
    }
    let limits = Limits {
        version: lines.number("version")?,
        max_gross: lines.money("max_gross")?,
        max_net: lines.money("max_net")?,
        margin_rate: lines.number("margin_rate")?,
        max_margin_use: lines.number("max_margin_use")?,
        max_stress: lines.money("max_stress")?,
        max_book_age: lines.number("max_book_age")?,
        max_mark_age: lines.number("max_mark_age")?,
        mark: if lines.number::<u8>("mark_from_mid")? == 0 { MarkSource::Ticker } else { MarkSource::TickerOrMid },
        message_rate: lines.number("message_rate")?,
        message_burst: lines.number("message_burst")?,
        cancel_reserve: lines.number("cancel_reserve")?,
        max_open_orders: lines.number("max_open_orders")?,
        max_unproven: lines.number("max_unproven")?,
        duplicate_window: lines.number("duplicate_window")?,
        reject_window: lines.number("reject_window")?,
        execution_window: lines.number("execution_window")?,
        funding_blackout: lines.number("funding_blackout")?,
        drift_interval: lines.number("drift_interval")?,
        instrument: lines.instrument("*")?,
        tail,
        trips,
        overrides,
        strategies,
    };
    match lines.0.keys().next() {
        Some(stranger) => Err(Unreadable::Line((*stranger).to_owned())),
        None if text(&limits) != register => Err(Unreadable::Form),
        None => Ok(limits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_come_back_from_their_register_and_nothing_else_does() {
        let symbol = |name: &str| Symbol::new(name.as_bytes()).unwrap();
        let mut limits = Limits::demo();
        limits.overrides = vec![(symbol("ETHUSDT"), InstrumentLimits { collar: 17, ..limits.instrument })];
        limits.strategies[1].symbols = Some(vec![symbol("ETHUSDT"), symbol("BTCUSDT")]);
        limits.strategies[2].symbols = Some(vec![]);
        for limits in [limits.clone(), limits.clone().without_tail(), Limits::demo()] {
            assert_eq!(read(&text(&limits)), Ok(limits));
        }
        let whole = text(&limits);
        for line in whole.lines() {
            let number = line.split(" = ").nth(1).unwrap();
            for spoilt in [
                whole.replace(&format!("{line}\n"), ""),
                whole.replace(line, &format!("{line}\n{line}")),
                whole.replace(&format!("{line}\n"), &format!("{}0{number}\n", &line[..line.len() - number.len()])),
                whole.replace(line, &format!("{line}1 ")),
            ] {
                // a permission less is another register, not a broken one
                assert!(read(&spoilt).is_err() || line.contains("may_trade"), "{line}");
            }
        }
        assert_eq!(read(""), Err(Unreadable::Number("trips.Drawdown.warn".to_owned())));
    }

    fn loosened(change: impl FnOnce(&mut Limits)) -> Vec<String> {
        let (before, mut after) = (Limits::demo(), Limits::demo());
        change(&mut after);
        differences(&before, &after).into_iter().filter(|d| d.loosens).map(|d| d.name).collect()
    }

    #[test]
    fn loosening_is_told_from_tightening() {
        let symbol = Symbol::new(b"BTCUSDT").unwrap();
        type Row = (fn(&mut Limits), &'static [&'static str]);
        let rows: [Row; 9] = [
            (|_| {}, &[]),
            (|l| l.version = 2, &[]),
            (|l| l.max_gross = Notional::whole(1), &[]),
            (|l| l.max_gross = Notional::whole(300_000), &["max_gross"]),
            (|l| l.cancel_reserve = 1, &["cancel_reserve"]),
            (|l| l.trips.ladders[0].halt = 2_000, &["trips.Drawdown.halt"]),
            (|l| l.tail = None, &["tail.tail", "tail.max_loss", "tail.max_shortfall"]),
            (|l| l.strategies[0].symbols = Some(vec![]), &[]),
            (|l| l.instrument.collar = 100, &[]),
        ];
        for (change, expected) in rows {
            assert_eq!(loosened(change), expected);
        }
        assert_eq!(
            loosened(|l| l.overrides.push((symbol, l.instrument))).len(),
            10,
            "nobody can tell, so it counts as looser"
        );
        assert_eq!(loosened(|l| l.strategies.push(l.strategies[0].clone())).len(), 6);
    }

    #[test]
    fn every_limit_has_one_line() {
        let text = text(&Limits::demo());
        assert!(text.starts_with("version = 1\nmax_gross = 20000000000000\n"), "{text}");
        let mut names: Vec<_> = entries(&Limits::demo()).into_iter().map(|entry| entry.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), text.lines().count()), (count, count));
    }
}

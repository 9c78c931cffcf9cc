//! Every limit by name, and what a new version changes: the text people sign, the register they print.
//!
//! In: one or two versions of the limits. Out: lines `name = value`, differences, and which of them loosen. Never: a
//! difference nobody classified: what is neither larger nor smaller counts as looser.

use crate::limits::{InstrumentLimits, Limits, MarkSource, StrategyLimits};
use crate::trips::Cause;
use core::fmt::Write as _;

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

#[cfg(test)]
mod tests {
    use super::*;
    use keel_core::ids::Symbol;
    use keel_core::units::Notional;

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

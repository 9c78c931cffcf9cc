//! TM1 and TM8: what the amounts themselves say.
//!
//! TM1 structuring: within a day, or within `days`, at least `count` finished deposits (or withdrawals) of one account,
//! or of accounts that belong together, each below a threshold T by not more than the share says, and together at least T.
//!
//! TM8 repeated: within `days`, `count` finished movements of one account, one way, of exactly the same amount of a coin,
//! or of round amounts.

use super::parameters::{Parameters, Repeated, Structuring};
use super::scene::{Money, Scene, is_dollar};
use super::window::{DAY, Keyed, Recent, count, dollars, reaches, span};
use super::{Evidence, Fact, Finding, Out, Watch, What};
use keel_core::event::Rule;
use keel_core::ids::Text;

/// Groups remembered.
const GROUPS: usize = 1024;
/// Movements a group remembers.
const ROWS: usize = 2048;

#[derive(Clone, Copy, Debug)]
struct Row {
    usd: i64,
    amount: i64,
    coin: Text<15>,
}

/// The memory of both.
#[derive(Debug)]
pub(crate) struct Amounts {
    groups: Keyed<(Text<31>, bool), Recent<Row>>,
    accounts: Keyed<(Text<31>, bool), Recent<Row>>,
    dropped: u64,
}

impl Default for Amounts {
    fn default() -> Self {
        Self { groups: Keyed::new(GROUPS), accounts: Keyed::new(GROUPS), dropped: 0 }
    }
}

impl Watch for Amounts {
    fn see(&mut self, all: &Parameters, _: &Scene, fact: &Fact<'_>, out: &mut Out) {
        let What::Money(money) = fact.what else { return };
        if !money.done || !(money.is_in() || money.is_out()) {
            return;
        }
        let row = Row { usd: money.usd, amount: money.flow.amount.raw().saturating_abs(), coin: money.flow.coin };
        let group = self.groups.of(&(money.group, money.is_in()), || Recent::new(ROWS));
        self.dropped += push(group, fact, row);
        group.trim(span(all.structuring.days, DAY).max(DAY));
        structuring(&all.structuring, group, money, out);
        let account = self.accounts.of(&(money.flow.account, money.is_in()), || Recent::new(ROWS));
        self.dropped += push(account, fact, row);
        account.trim(span(all.repeated.days, DAY));
        repeated(&all.repeated, account, money, row, out);
    }

    fn dropped(&self) -> u64 {
        self.dropped + self.groups.dropped() + self.accounts.dropped()
    }
}

fn push(rows: &mut Recent<Row>, fact: &Fact<'_>, row: Row) -> u64 {
    let before = rows.dropped();
    rows.push(fact.at, fact.seq, row);
    rows.dropped() - before
}

fn structuring(it: &Structuring, rows: &Recent<Row>, money: &Money, out: &mut Out) {
    for threshold in [it.threshold_low_usd, it.threshold_mid_usd, it.threshold_high_usd] {
        for window in [DAY, span(it.days, DAY)] {
            let limit = dollars(threshold);
            let near =
                rows.lately(window).filter(|row| row.what.usd < limit && reaches(row.what.usd, it.low_permille, limit));
            let sum = near.clone().map(|row| row.what.usd).fold(0, i64::saturating_add);
            let number = near.clone().count();
            if count(number) >= it.count && sum >= limit {
                let finding = Finding {
                    subject: money.flow.account,
                    key: format!("{threshold}USD/{}d/{}", window / DAY, if money.is_in() { "in" } else { "out" }),
                    measured: count(number),
                    limit: it.count,
                    amount: sum,
                    window,
                    evidence: Evidence::of(near.map(|row| row.seq)),
                    ..Finding::default()
                };
                out.raise(Rule::Structuring, it.version, window, finding);
            }
        }
    }
}

fn repeated(it: &Repeated, rows: &Recent<Row>, money: &Money, new: Row, out: &mut Out) {
    let (window, floor, step) = (span(it.days, DAY), dollars(it.floor_usd), dollars(it.round_usd));
    if new.usd < floor {
        return;
    }
    let round = |row: &Row| {
        let worth = if is_dollar(&row.coin) { row.amount } else { row.usd };
        worth >= step && worth % step == 0
    };
    let same = |row: &Row| (row.coin, row.amount) == (new.coin, new.amount);
    let way = if money.is_in() { "in" } else { "out" };
    let mut tell = |key: String, which: &dyn Fn(&Row) -> bool| {
        let rows = rows.lately(window).filter(|row| row.what.usd >= floor && which(&row.what));
        let number = rows.clone().count();
        if count(number) < it.count {
            return;
        }
        let finding = Finding {
            subject: money.flow.account,
            key,
            measured: count(number),
            limit: it.count,
            amount: rows.clone().map(|row| row.what.usd).fold(0, i64::saturating_add),
            window,
            evidence: Evidence::of(rows.map(|row| row.seq)),
            ..Finding::default()
        };
        out.raise(Rule::Repeated, it.version, window, finding);
    };
    tell(format!("same/{way}/{}/{}", new.coin, money.flow.amount.abs()), &same);
    if round(&new) {
        tell(format!("round/{way}"), &round);
    }
}

//! TM3 and TM4: how much, how often, against what the account ever did or said it would.
//!
//! TM3 velocity: the day's amount, or count, of finished movements in and out stands more than `z` robust deviations
//! (1.4826 times the median absolute deviation) above the median of the account's own days before, up to 90, days without
//! movement included, and above a floor. The day is the event's, UTC. When every day was alike any day above the floor and
//! the median stands out.
//!
//! TM4 burst: an account younger than `young_days`, or one that moved again less than 30 days ago after it slept, moved in
//! these days more than the multiple of what it declared for a month.

use super::parameters::{Burst, Parameters, Velocity};
use super::scene::{Money, Scene};
use super::window::{DAY, Keyed, Recent, dollars, median, permille, span};
use super::{Evidence, Fact, Finding, Out, Watch, What};
use keel_core::event::Rule;
use keel_core::ids::{Seq, Text};
use keel_core::units::Wall;
use std::collections::BTreeMap;

/// Accounts remembered.
const ACCOUNTS: usize = 256;
/// Movements an account remembers.
const ROWS: usize = 4096;
/// Days remembered.
const DAYS: usize = 92;
/// Days a burst is summed over.
const MONTH: u64 = 30 * DAY;

#[derive(Clone, Debug, Default)]
struct Day {
    usd: i64,
    number: i64,
    seqs: Vec<Seq>,
}

#[derive(Debug)]
struct Account {
    days: BTreeMap<u64, Day>,
    began: u64,
    first: Wall,
    newest: Wall,
    woke: Option<Wall>,
    month: Recent<i64>,
}

/// The memory of both.
#[derive(Debug)]
pub(crate) struct Pace {
    accounts: Keyed<Text<31>, Account>,
    dropped: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { accounts: Keyed::new(ACCOUNTS), dropped: 0 }
    }
}

impl Watch for Pace {
    fn see(&mut self, all: &Parameters, scene: &Scene, fact: &Fact<'_>, out: &mut Out) {
        let What::Money(money) = fact.what else { return };
        if !money.done || !(money.is_in() || money.is_out()) {
            return;
        }
        let today = fact.at.nanos() / DAY;
        let account = self.accounts.of(&money.flow.account, || Account {
            days: BTreeMap::new(),
            began: today,
            first: fact.at,
            newest: fact.at,
            woke: None,
            month: Recent::new(ROWS),
        });
        if fact.at.since(account.newest) >= span(all.burst.asleep_days, DAY) {
            account.woke = Some(fact.at);
        }
        account.newest = account.newest.max(fact.at);
        let day = account.days.entry(today).or_default();
        (day.usd, day.number) = (day.usd.saturating_add(money.usd), day.number + 1);
        if day.seqs.len() < ROWS {
            day.seqs.push(fact.seq);
        }
        while account.days.len() > DAYS {
            account.days.pop_first();
        }
        let before = account.month.dropped();
        account.month.push(fact.at, fact.seq, money.usd);
        self.dropped += account.month.dropped() - before;
        account.month.trim(MONTH);
        velocity(&all.velocity, account, today, money, out);
        burst(&all.burst, scene, account, fact, money, out);
    }

    fn dropped(&self) -> u64 {
        self.dropped + self.accounts.dropped()
    }
}

/// Is `value` further above the median than so many robust deviations? And how far, permille.
fn stands_out(value: i64, before: Vec<i64>, z_permille: i64) -> Option<i64> {
    let middle = median(before.clone());
    let spread = median(before.into_iter().map(|day| day.saturating_sub(middle).saturating_abs()).collect());
    let above = i128::from(value) - i128::from(middle);
    if above <= 0 {
        return None;
    }
    if spread == 0 {
        return Some(i64::MAX);
    }
    let z = above * 10_000 * 1000 / (14_826 * i128::from(spread));
    (z > i128::from(z_permille)).then(|| i64::try_from(z).unwrap_or(i64::MAX))
}

fn velocity(it: &Velocity, account: &Account, today: u64, money: &Money, out: &mut Out) {
    let days = it.days.unsigned_abs().min(today.saturating_sub(account.began));
    if days < it.needed.unsigned_abs() {
        return;
    }
    let Some(now) = account.days.get(&today) else { return };
    let before = |of: fn(&Day) -> i64| -> Vec<i64> {
        (today - days..today).map(|day| account.days.get(&day).map_or(0, of)).collect()
    };
    let mut tell = |key: &str, z| {
        let finding = Finding {
            subject: money.flow.account,
            key: format!("{key}/{today}"),
            measured: z,
            limit: it.z_permille,
            amount: now.usd,
            window: DAY,
            evidence: Evidence::of(now.seqs.iter().copied()),
            ..Finding::default()
        };
        out.raise(Rule::Velocity, it.version, DAY, finding);
    };
    if now.usd >= dollars(it.floor_usd)
        && let Some(z) = stands_out(now.usd, before(|day| day.usd), it.z_permille)
    {
        tell("amount", z);
    }
    // counts are scaled so that half a movement has a place in a deviation
    let scaled: Vec<i64> = before(|day| day.number).into_iter().map(|number| number.saturating_mul(1000)).collect();
    if now.number >= it.floor_count
        && let Some(z) = stands_out(now.number.saturating_mul(1000), scaled, it.z_permille)
    {
        tell("count", z);
    }
}

fn burst(it: &Burst, scene: &Scene, account: &Account, fact: &Fact<'_>, money: &Money, out: &mut Out) {
    let declared = scene.registry.account(&money.flow.account);
    let opened = declared.map(|row| row.opened).filter(|at| *at > Wall::default()).unwrap_or(account.first);
    let young = fact.at.since(opened) < span(it.young_days, DAY);
    let woken = account.woke.is_some_and(|at| fact.at.since(at) < MONTH);
    if !young && !woken {
        return;
    }
    let usual = dollars(it.usual_usd);
    let monthly = declared.map(|row| row.monthly.raw()).filter(|raw| *raw > 0).unwrap_or(usual);
    let rows = account.month.within(fact.at, MONTH);
    let moved = rows.clone().map(|row| row.what).fold(0, i64::saturating_add);
    if i128::from(moved) * 1000 > i128::from(it.declared_permille) * i128::from(monthly) {
        let finding = Finding {
            subject: money.flow.account,
            key: if young { "young" } else { "woken" }.to_owned(),
            measured: permille(moved, monthly),
            limit: it.declared_permille,
            amount: moved,
            window: MONTH,
            evidence: Evidence::of(rows.map(|row| row.seq)),
            ..Finding::default()
        };
        out.raise(Rule::Burst, it.version, MONTH, finding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_stands_out_by_its_robust_distance() {
        let days = vec![10, 12, 8, 11, 9, 10, 10, 13, 7, 10];
        // median 10, deviation 1: 5 deviations of 1.4826 are 7.413
        for (value, out) in [(17, None), (18, Some(5395)), (10, None), (0, None)] {
            assert_eq!(stands_out(value, days.clone(), 5000), out, "{value}");
        }
        assert_eq!(stands_out(11, vec![10; 20], 5000), Some(i64::MAX));
    }
}

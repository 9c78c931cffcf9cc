//! TM5, TM11 and TM12: who is on the other side.
//!
//! TM5 counterparty: a finished withdrawal of at least the floor to an address or party never seen before and not declared;
//! any withdrawal to an address added less than `fresh_hours` before; `fan` distinct others within a day on the way in
//! (fan-in) or out (fan-out). Declared own addresses are no counterparties.
//!
//! TM11 third party: a finished deposit of at least the floor whose sender is named and is none of the names the owner
//! declared for the account.
//!
//! TM12 maze: a transfer between own accounts, of at least the floor, that closes a cycle of three to `hops` transfers,
//! each later than the one before, within `hours`.

use super::parameters::{Counterparty, Maze, Parameters, ThirdParty};
use super::registry::Registry;
use super::scene::{Money, Scene};
use super::screen;
use super::window::{DAY, HOUR, Keyed, Recent, count, dollars, span};
use super::{Evidence, Fact, Finding, Out, Watch, What};
use keel_core::event::{FlowKind, Gravity, Rule};
use keel_core::ids::Text;
use keel_core::units::Wall;
use std::collections::{BTreeMap, BTreeSet};

/// Counterparties remembered.
const KNOWN: usize = 65_536;
/// Accounts and directions remembered.
const ACCOUNTS: usize = 512;
/// Movements each remembers.
const ROWS: usize = 1024;
/// Transfers between own accounts remembered.
const EDGES: usize = 1024;

/// The memory of all three.
#[derive(Debug)]
pub(crate) struct Parties {
    known: Keyed<String, Wall>,
    fans: Keyed<(Text<31>, bool), Recent<String>>,
    edges: Recent<(String, String)>,
    dropped: u64,
}

impl Default for Parties {
    fn default() -> Self {
        Self { known: Keyed::new(KNOWN), fans: Keyed::new(ACCOUNTS), edges: Recent::new(EDGES), dropped: 0 }
    }
}

impl Watch for Parties {
    fn see(&mut self, all: &Parameters, scene: &Scene, fact: &Fact<'_>, out: &mut Out) {
        let What::Money(money) = fact.what else { return };
        if !money.done {
            return;
        }
        if money.is_in() || money.is_out() {
            self.counterparty(&all.counterparty, &scene.registry, fact, money, out);
        }
        if money.is_in() {
            third_party(&all.third_party, &scene.registry, fact, money, out);
        }
        if money.flow.kind == FlowKind::TransferOut && money.usd >= dollars(all.maze.floor_usd) {
            self.maze(&all.maze, fact, money, out);
        }
    }

    fn dropped(&self) -> u64 {
        self.dropped + self.known.dropped() + self.fans.dropped() + self.edges.dropped()
    }
}

/// Who is on the other side: a party where the venue names one, else the address.
fn other(money: &Money) -> String {
    let flow = &money.flow;
    if flow.party.is_empty() { screen::address(flow.address.as_str()) } else { flow.party.to_string() }
}

impl Parties {
    fn counterparty(&mut self, it: &Counterparty, registry: &Registry, fact: &Fact<'_>, money: &Money, out: &mut Out) {
        let name = other(money);
        let declared = registry.address(&name);
        if name.is_empty() || declared.is_some_and(|row| row.own) {
            return;
        }
        let mut tell = |key: String, measured, limit, evidence| {
            let (subject, amount) = (money.flow.account, money.usd);
            let finding =
                Finding { subject, key, measured, limit, amount, window: DAY, evidence, ..Finding::default() };
            out.raise(Rule::Counterparty, it.version, DAY, finding);
        };
        let unseen = self.known.get(&name).is_none() && declared.is_none();
        self.known.of(&name, || fact.at);
        if money.is_out() {
            if unseen && money.usd >= dollars(it.floor_usd) {
                tell(format!("first/{name}"), money.usd, dollars(it.floor_usd), Evidence::of([fact.seq]));
            }
            let added = declared.map(|row| row.added).filter(|added| *added > Wall::default());
            if let Some(added) = added
                && fact.at.since(added) < span(it.fresh_hours, HOUR)
            {
                let age = i64::try_from(fact.at.since(added) / HOUR).unwrap_or(i64::MAX);
                tell(format!("fresh/{name}"), age, it.fresh_hours, Evidence::of([fact.seq]));
            }
        }
        let fan = self.fans.of(&(money.flow.account, money.is_in()), || Recent::new(ROWS));
        let before = fan.dropped();
        fan.push(fact.at, fact.seq, name);
        self.dropped += fan.dropped() - before;
        fan.trim(DAY);
        let others: BTreeSet<&str> = fan.lately(DAY).map(|row| row.what.as_str()).collect();
        if count(others.len()) >= it.fan {
            let key = if money.is_in() { "fan-in" } else { "fan-out" };
            tell(key.to_owned(), count(others.len()), it.fan, Evidence::of(fan.lately(DAY).map(|row| row.seq)));
        }
    }

    fn maze(&mut self, it: &Maze, fact: &Fact<'_>, money: &Money, out: &mut Out) {
        let (from, to) = (money.flow.account.to_string(), money.flow.party.to_string());
        if to.is_empty() || from == to {
            return;
        }
        let window = span(it.hours, HOUR);
        // bit h: reached from `to` by h transfers, each later than the one before
        let mut reached: BTreeMap<&str, u32> = BTreeMap::from([(to.as_str(), 1)]);
        for edge in self.edges.within(fact.at, window) {
            let (a, b) = &edge.what;
            let here = reached.get(a.as_str()).copied().unwrap_or(0) << 1;
            *reached.entry(b).or_default() |= here;
        }
        let hops = reached.get(from.as_str()).copied().unwrap_or(0);
        let closed = (2..it.hops).find(|hop| hops >> hop & 1 == 1);
        if let Some(hop) = closed {
            let nodes: BTreeSet<&str> = reached.iter().filter(|(_, bits)| **bits != 0).map(|(name, _)| *name).collect();
            let behind = self.edges.within(fact.at, window).filter(|edge| nodes.contains(edge.what.0.as_str()));
            let finding = Finding {
                subject: money.group,
                key: format!("{from}/{to}"),
                measured: hop + 1,
                limit: it.hops,
                amount: money.usd,
                window,
                evidence: Evidence::of(behind.map(|edge| edge.seq).chain([fact.seq])),
                ..Finding::default()
            };
            out.raise(Rule::Maze, it.version, window, finding);
        }
        self.edges.push(fact.at, fact.seq, (from, to));
        self.edges.trim(window);
    }
}

fn third_party(it: &ThirdParty, registry: &Registry, fact: &Fact<'_>, money: &Money, out: &mut Out) {
    let Some(owner) = registry.account(&money.flow.account) else { return };
    let party = money.flow.party;
    let ours = owner.parties.contains(&party) || registry.accounts.iter().any(|row| row.uid.bytes() == party.bytes());
    if party.is_empty() || ours || money.usd < dollars(it.floor_usd) {
        return;
    }
    let finding = Finding {
        subject: money.flow.account,
        key: party.to_string(),
        measured: money.usd,
        limit: dollars(it.floor_usd),
        amount: money.usd,
        gravity: Gravity::Case,
        evidence: Evidence::of([fact.seq]),
        ..Finding::default()
    };
    out.raise(Rule::ThirdParty, it.version, 1, finding);
}

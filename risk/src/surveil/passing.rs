//! TM2, TM7 and TM10: money that only passes, and money that does not mind to be lost.
//!
//! TM2 pass-through: within `hours` before a finished withdrawal, deposits of at least the floor came in; what went out
//! since the first of them is at least the share of them; what was traded since is below the other share.
//!
//! TM7 chain hop: a deposit of coin A, a conversion of A into B, and a withdrawal of B to another chain, all within
//! `minutes` and of at least the share of the deposit.
//!
//! TM10 loss-indifferent: within `days` fees and realised losses of at least the floor, and of at least the share of what
//! came in meanwhile; or fees of at least the floor while the volume is a great multiple of the largest exposure held.

use super::parameters::{ChainHop, LossIndifferent, Parameters, PassThrough};
use super::scene::{Money, Scene};
use super::window::{DAY, HOUR, Keyed, MINUTE, Recent, dollars, permille, reaches, span};
use super::{Evidence, Fact, Finding, Out, Watch, What};
use keel_core::event::{Fill, FlowKind, Rule};
use keel_core::ids::Text;
use keel_core::units::{Qty, Wall};

/// Accounts remembered.
const ACCOUNTS: usize = 256;
/// Movements an account remembers.
const ROWS: usize = 2048;
/// Minutes with fills remembered: 31 days of them.
const TURNS: usize = 31 * 24 * 60;

#[derive(Clone, Copy, Debug)]
struct Row {
    kind: FlowKind,
    usd: i64,
    coin: Text<15>,
    chain: Text<15>,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    volume: i64,
    fee: i64,
    pnl: i64,
    exposure: i64,
}

impl Turn {
    fn and(self, more: Self) -> Self {
        Self {
            volume: self.volume.saturating_add(more.volume),
            fee: self.fee.saturating_add(more.fee),
            pnl: self.pnl.saturating_add(more.pnl),
            exposure: self.exposure.max(more.exposure),
        }
    }
}

/// The memory of all three.
#[derive(Debug)]
pub(crate) struct Passing {
    accounts: Keyed<Text<31>, Recent<Row>>,
    turns: Recent<Turn>,
    owner: Text<31>,
    dropped: u64,
}

impl Default for Passing {
    fn default() -> Self {
        Self { accounts: Keyed::new(ACCOUNTS), turns: Recent::new(TURNS), owner: Text::EMPTY, dropped: 0 }
    }
}

impl Watch for Passing {
    fn see(&mut self, all: &Parameters, scene: &Scene, fact: &Fact<'_>, out: &mut Out) {
        match fact.what {
            What::Money(money) if money.done => self.money(all, fact, money, out),
            What::Standing(standing) => self.owner = standing.uid,
            What::Fill(fill) => self.fill(all, scene, fact, fill, out),
            _ => {}
        }
    }

    fn dropped(&self) -> u64 {
        self.dropped + self.accounts.dropped() + self.turns.dropped()
    }
}

impl Passing {
    fn money(&mut self, all: &Parameters, fact: &Fact<'_>, money: &Money, out: &mut Out) {
        let flow = &money.flow;
        let kept = matches!(flow.kind, FlowKind::ConvertIn | FlowKind::ConvertOut) || money.is_in() || money.is_out();
        if !kept {
            return;
        }
        let row = Row { kind: flow.kind, usd: money.usd, coin: flow.coin, chain: flow.chain };
        let rows = self.accounts.of(&flow.account, || Recent::new(ROWS));
        let before = rows.dropped();
        rows.push(fact.at, fact.seq, row);
        self.dropped += rows.dropped() - before;
        let longest = span(all.pass_through.hours, HOUR).max(span(all.chain_hop.minutes, MINUTE));
        rows.trim(longest.max(span(all.loss_indifferent.days, DAY)));
        let rows = rows.clone();
        if money.is_out() {
            self.pass_through(&all.pass_through, &rows, fact, money, out);
            chain_hop(&all.chain_hop, &rows, fact, money, out);
        }
        if money.is_in() {
            self.loss(&all.loss_indifferent, fact.at, out);
        }
    }

    fn traded(&self, from: Wall, to: Wall) -> i64 {
        let rows = self.turns.iter().filter(|row| row.at >= from && row.at <= to);
        rows.map(|row| row.what.volume).fold(0, i64::saturating_add)
    }

    fn pass_through(&self, it: &PassThrough, rows: &Recent<Row>, fact: &Fact<'_>, money: &Money, out: &mut Out) {
        let window = span(it.hours, HOUR);
        let ins = rows.within(fact.at, window).filter(|row| is_in(row.what.kind));
        let Some(first) = ins.clone().next().map(|row| row.at) else { return };
        let came = ins.clone().map(|row| row.what.usd).fold(0, i64::saturating_add);
        let outs = rows.within(fact.at, window).filter(|row| is_out(row.what.kind) && row.at >= first);
        let went = outs.clone().map(|row| row.what.usd).fold(0, i64::saturating_add);
        let traded = self.traded(first, fact.at);
        if came < dollars(it.floor_usd) || came == 0 || !reaches(went, it.out_permille, came) {
            return;
        }
        if !reaches(traded, it.traded_permille, came) {
            let finding = Finding {
                subject: money.flow.account,
                measured: permille(went, came),
                limit: it.out_permille,
                amount: went,
                window,
                evidence: Evidence::of(ins.chain(outs).map(|row| row.seq)),
                ..Finding::default()
            };
            out.raise(Rule::PassThrough, it.version, window, finding);
        }
    }

    fn fill(&mut self, all: &Parameters, scene: &Scene, fact: &Fact<'_>, fill: &Fill, out: &mut Out) {
        let value = |qty: Qty| fill.px.mul_floor(qty).map_or(i64::MAX, |value| value.raw());
        let position = scene.market(fill.instrument).map_or(0, |market| market.position);
        let turn = Turn {
            volume: value(fill.qty),
            fee: fill.fee.raw(),
            pnl: fill.pnl.raw(),
            exposure: value(Qty::from_raw(position.saturating_abs())),
        };
        match self.turns.last_mut().filter(|row| row.at.nanos() / MINUTE == fact.at.nanos() / MINUTE) {
            Some(row) => (row.seq, row.what) = (fact.seq, row.what.and(turn)),
            None => self.turns.push(fact.at, fact.seq, turn),
        }
        self.turns.trim(span(all.loss_indifferent.days, DAY).max(span(all.pass_through.hours, HOUR)));
        self.loss(&all.loss_indifferent, fact.at, out);
    }

    fn loss(&self, it: &LossIndifferent, now: Wall, out: &mut Out) {
        let window = span(it.days, DAY);
        let turns = self.turns.within(now, window);
        let sum = |of: fn(&Turn) -> i64| turns.clone().map(|row| of(&row.what)).fold(0, i64::saturating_add);
        let (fees, pnl, volume) = (sum(|turn| turn.fee), sum(|turn| turn.pnl), sum(|turn| turn.volume));
        let exposure = turns.clone().map(|row| row.what.exposure).max().unwrap_or(0);
        let (cost, floor) = (fees.saturating_sub(pnl), dollars(it.floor_usd));
        let came = self.accounts.values().flat_map(|rows| rows.within(now, window));
        let came = came.filter(|row| is_in(row.what.kind)).map(|row| row.what.usd).fold(0, i64::saturating_add);
        let mut tell = |key: &str, measured, limit| {
            let finding = Finding {
                subject: self.owner,
                key: key.to_owned(),
                measured,
                limit,
                amount: cost,
                window,
                evidence: Evidence::of(turns.clone().map(|row| row.seq)),
                ..Finding::default()
            };
            out.raise(Rule::LossIndifferent, it.version, window, finding);
        };
        if cost >= floor && came > 0 && reaches(cost, it.cost_permille, came) {
            tell("deposits", permille(cost, came), it.cost_permille);
        }
        if fees >= floor && cost >= floor && reaches(volume, it.turnover_permille, exposure) {
            tell("turnover", permille(volume, exposure), it.turnover_permille);
        }
    }
}

const fn is_in(kind: FlowKind) -> bool {
    matches!(kind, FlowKind::Deposit | FlowKind::InternalDeposit)
}

const fn is_out(kind: FlowKind) -> bool {
    matches!(kind, FlowKind::Withdrawal | FlowKind::InternalWithdrawal)
}

fn chain_hop(it: &ChainHop, rows: &Recent<Row>, fact: &Fact<'_>, money: &Money, out: &mut Out) {
    let window = span(it.minutes, MINUTE);
    let rows = rows.within(fact.at, window);
    for came in rows.clone().filter(|row| is_in(row.what.kind) && row.what.coin != money.flow.coin) {
        let after = |kind, coin| {
            let converted = rows.clone().filter(move |row| row.at >= came.at && row.what.kind == kind);
            converted.filter(move |row| row.what.coin == coin).map(|row| row.seq).next_back()
        };
        let given = after(FlowKind::ConvertOut, came.what.coin);
        let got = after(FlowKind::ConvertIn, money.flow.coin);
        let (Some(given), Some(got)) = (given, got) else { continue };
        if came.what.chain == money.flow.chain || !reaches(money.usd, it.out_permille, came.what.usd) {
            continue;
        }
        let finding = Finding {
            subject: money.flow.account,
            key: format!("{}/{}", came.what.coin, money.flow.coin),
            measured: permille(money.usd, came.what.usd),
            limit: it.out_permille,
            amount: money.usd,
            window,
            gravity: keel_core::event::Gravity::Case,
            evidence: Evidence::of([came.seq, given, got, fact.seq]),
            ..Finding::default()
        };
        out.raise(Rule::ChainHop, it.version, window, finding);
    }
}

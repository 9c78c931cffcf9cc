//! R3: every decision of the gate, and every check that failed.

use super::Fold;
use super::cell::{Cell, Column, Sort, Table, col, steps, word};
use super::r1::client;
use super::sheet::{Sheet, Spec};
use super::world::{Fact, Phase, Turn, World};
use anyhow::Result;
use keel_core::event::Op;
use keel_core::ids::ClientId;
use keel_risk::decision::{Decision, Pair};
use keel_risk::refusal::{Refusal, Slot};

const DECISIONS: [Column; 24] = [
    col("decision_id", Sort::Int, "#", "Number of the record in the journal"),
    col("ts", Sort::Time, "", "When it was recorded"),
    col(
        "client_order_id",
        Sort::Text,
        "",
        "Our id of the order; NULL for a new order that was refused: the id goes to the next",
    ),
    col("strategy", Sort::Int, "#", "Number of the strategy that asked"),
    col("model_ver", Sort::Int, "#", "Version of the model behind it"),
    col("symbol", Sort::Text, "", "Instrument"),
    col("op", Sort::Text, "", "New, Amend, Cancel"),
    col("side", Sort::Text, "", "Buy or Sell"),
    col("qty", Sort::Decimal, "coin", "Quantity"),
    col("px", Sort::Decimal, "USDT", "Limit price"),
    col("class", Sort::Text, "", "What it does to risk: Risk, Reduce, Cancel"),
    col("outcome", Sort::Text, "", "APPROVED or REFUSED"),
    col("check_bitmap", Sort::Text, "", "Bit n is set when the check with code n failed, hexadecimal"),
    col("first_failing", Sort::Text, "", "The first failing check in the order of the gate"),
    col("tightest_check", Sort::Text, "", "The measured check that came closest to its limit, or furthest beyond it"),
    col("value", Sort::Decimal, "of check", "What it measured, in the unit of the check: coins, USDT, or a count"),
    col("limit", Sort::Decimal, "of check", "What it was held against"),
    col("utilisation_pct", Sort::Decimal, "%", "Value over limit"),
    col("limit_set_ver", Sort::Int, "#", "Version of the limits in force"),
    col("brake", Sort::Text, "", "Effective state of the brake"),
    col("mark", Sort::Decimal, "USDT", "The price value was measured at"),
    col("equity", Sort::Decimal, "USDT", "The account's equity it was measured against; NULL when unknown"),
    col("override_id", Sort::Text, "", "NULL: there are no overrides, an order that fails a check cannot leave"),
    col("approvers", Sort::Text, "", "NULL: see override_id"),
];

const BREACHES: [Column; 11] = [
    col("decision_id", Sort::Int, "#", "Record of the decision"),
    col("ts", Sort::Time, "", "When it was recorded"),
    col("symbol", Sort::Text, "", "Instrument"),
    col("strategy", Sort::Int, "#", "Number of the strategy that asked"),
    col("check_code", Sort::Int, "#", "Stable code of the check"),
    col("check", Sort::Text, "", "Its name"),
    col("meaning", Sort::Text, "", "What it says"),
    col(
        "value",
        Sort::Decimal,
        "of check",
        "What it measured; NULL for a check that only holds or fails, or that could not measure",
    ),
    col("limit", Sort::Decimal, "of check", "What it was held against"),
    col("utilisation_pct", Sort::Decimal, "%", "Value over limit"),
    col("limit_set_ver", Sort::Int, "#", "Version of the limits in force"),
];

const CHECKS: [Column; 7] = [
    col("check_code", Sort::Int, "#", "Stable code of the check"),
    col("check", Sort::Text, "", "Its name"),
    col("meaning", Sort::Text, "", "What it says"),
    col(
        "measured",
        Sort::Int,
        "decisions",
        "Decisions it measured something in; NULL for a check that only holds or fails",
    ),
    col("failed", Sort::Int, "decisions", "Decisions it failed in"),
    col("max_value", Sort::Decimal, "of check", "The largest value it measured"),
    col("max_utilisation_pct", Sort::Decimal, "%", "The largest value over its limit"),
];

pub(super) const SPEC: Spec = Spec {
    code: "r3",
    name: "risk-decisions",
    title: "Risk-check decisions and breaches",
    about: "What the gate decided about every order, how close each came to its limits, and every check that failed. A \
            refused order never left: a breach here is an attempt, not an exposure.",
    schema: 1,
    restricted: false,
    tables: &[
        Table { name: "checks", title: "Checks", columns: &CHECKS },
        Table { name: "breaches", title: "Breaches", columns: &BREACHES },
        Table { name: "decisions", title: "Decisions", columns: &DECISIONS },
    ],
};

/// Checks there are.
const CHECKS_THERE_ARE: usize = Refusal::ALL.len();

#[derive(Clone, Copy, Debug, Default)]
struct Use {
    measured: u64,
    failed: u64,
    most: i128,
    tightest: Option<i128>,
}

/// The fold.
#[derive(Debug)]
pub(super) struct Decisions {
    uses: [Use; CHECKS_THERE_ARE],
    approved: u64,
    refused: u64,
}

impl Default for Decisions {
    fn default() -> Self {
        Self { uses: [Use::default(); CHECKS_THERE_ARE], approved: 0, refused: 0 }
    }
}

/// Value and limit in steps of 1e-8: counts are whole, nanoseconds are whole, money is steps already.
fn scaled(code: Refusal, raw: i64) -> i128 {
    let whole = matches!(code.slot(), Slot::Count(_)) || code == Refusal::StaleBook;
    i128::from(raw) * if whole { i128::from(keel_core::units::SCALE) } else { 1 }
}

/// It could not be measured: the gate takes the largest number there is.
fn unmeasured(code: Refusal, pair: Pair) -> bool {
    let largest = if matches!(code.slot(), Slot::Count(_)) { i64::from(i32::MAX) } else { i64::MAX };
    pair.value == largest
}

/// What a check measured and its limit; nothing where it measured nothing.
fn measured(decision: &Decision, code: Refusal) -> Option<(i128, i128)> {
    let pair = decision.measure(code).filter(|pair| *pair != Pair::default() && !unmeasured(code, *pair))?;
    Some((scaled(code, pair.value), scaled(code, pair.limit)))
}

/// Value over limit, per cent.
fn utilisation((value, limit): (i128, i128)) -> Option<i128> {
    if limit <= 0 { None } else { super::cell::ratio(value.checked_mul(100)?, limit) }
}

impl Fold for Decisions {
    fn take(&mut self, world: &World, turn: &Turn<'_>, out: &mut Sheet) -> Result<()> {
        let (decision, approved) = match turn.fact {
            Fact::Approved(decision) => (decision, true),
            Fact::Refused(decision) => (decision, false),
            _ => return Ok(()),
        };
        if turn.phase != Phase::Within {
            return Ok(());
        }
        self.approved += u64::from(approved);
        self.refused += u64::from(!approved);
        let mut tightest: Option<(Refusal, (i128, i128), i128)> = None;
        for (code, used) in Refusal::ALL.into_iter().zip(&mut self.uses) {
            used.failed += u64::from(decision.failed(code));
            let Some(pair) = measured(&decision, code) else { continue };
            used.measured += 1;
            used.most = used.most.max(pair.0);
            let Some(share) = utilisation(pair) else { continue };
            used.tightest = Some(used.tightest.map_or(share, |most| most.max(share)));
            if tightest.is_none_or(|(_, _, most)| share > most) {
                tightest = Some((code, pair, share));
            }
        }
        breaches(world, turn, &decision, out)?;
        let order = decision.order;
        let named = approved || order.op != Op::New;
        let (check, pair, share) =
            tightest.map_or((None, None, None), |(code, pair, share)| (Some(code), Some(pair), Some(share)));
        out.row(
            2,
            vec![
                turn.entry.seq.0.into(),
                turn.entry.wall.into(),
                client(if named { order.client } else { ClientId::NONE }),
                order.strategy.0.into(),
                order.model.into(),
                world.symbol(order.instrument).into(),
                word(order.op),
                word(order.side),
                order.qty.into(),
                order.px.into(),
                word(decision.class),
                if approved { "APPROVED" } else { "REFUSED" }.into(),
                format!("{:016x}", decision.failing).into(),
                if decision.first == Refusal::None { Cell::Null } else { word(decision.first) },
                check.map(Refusal::name).map(Cell::from).unwrap_or_default(),
                steps(pair.map(|pair| pair.0)),
                steps(pair.map(|pair| pair.1)),
                steps(share),
                decision.limits.into(),
                word(decision.brake),
                Some(decision.mark).filter(|mark| !mark.is_zero()).into(),
                Some(decision.equity).filter(|equity| !equity.is_zero()).into(),
                Cell::Null,
                Cell::Null,
            ],
        )
    }

    fn close(&mut self, _: &World, out: &mut Sheet) -> Result<()> {
        out.figure("Decisions", self.approved + self.refused, "");
        out.figure("Approved", self.approved, "");
        out.figure("Refused", self.refused, "");
        out.figure("Failed checks", out.rows(1), "");
        for (code, used) in Refusal::ALL.into_iter().zip(&self.uses) {
            if used.measured == 0 && used.failed == 0 {
                continue;
            }
            let measures = !matches!(code.slot(), Slot::None);
            out.row(
                0,
                vec![
                    code.code().into(),
                    code.name().into(),
                    code.meaning().into(),
                    measures.then_some(used.measured).into(),
                    used.failed.into(),
                    steps((measures && used.measured > 0).then_some(used.most)),
                    steps(used.tightest),
                ],
            )?;
        }
        let failed: u64 = self.uses.iter().map(|used| used.failed).sum();
        let counted = i128::from(out.rows(1));
        out.check("failed checks by check = rows of breaches", whole(failed), counted * SCALE, "checks", 0);
        Ok(())
    }
}

const SCALE: i128 = keel_core::units::SCALE as i128;

fn whole(count: u64) -> i128 {
    i128::from(count) * SCALE
}

fn breaches(world: &World, turn: &Turn<'_>, decision: &Decision, out: &mut Sheet) -> Result<()> {
    for code in decision.failures() {
        let pair = measured(decision, code);
        out.row(
            1,
            vec![
                turn.entry.seq.0.into(),
                turn.entry.wall.into(),
                world.symbol(decision.order.instrument).into(),
                decision.order.strategy.0.into(),
                code.code().into(),
                code.name().into(),
                code.meaning().into(),
                steps(pair.map(|pair| pair.0)),
                steps(pair.map(|pair| pair.1)),
                steps(pair.and_then(utilisation)),
                decision.limits.into(),
            ],
        )?;
    }
    Ok(())
}

//! R9: what traded, and how it did. What a registry of models would add is said to be missing, never made up.

use super::Fold;
use super::cell::{Cell, Column, Sort, Table, bps, col, steps};
use super::r4::sha256;
use super::sheet::{Sheet, Spec};
use super::world::{Fact, Phase, Turn, World, value_of};
use anyhow::Result;
use keel_core::event::{DocumentKind, ExecKind, Op};
use keel_core::units::Wall;
use std::collections::BTreeMap;

const INVENTORY: [Column; 17] = [
    col(
        "model_id",
        Sort::Text,
        "",
        "Strategy number and model version; version 0 is a strategy of the program, which no model drives",
    ),
    col("name", Sort::Text, "", "Name in the strategy's document"),
    col("code", Sort::Text, "", "Version of the program it ran in"),
    col("config_sha256", Sort::Text, "", "SHA-256 of the configuration of its last run"),
    col("document_sha256", Sort::Text, "", "SHA-256 of the strategy's document: parameters and sizing"),
    col("parameters", Sort::Text, "", "The document, in the units of the record"),
    col("first_seen", Sort::Time, "", "First record of it in this journal"),
    col("last_seen", Sort::Time, "", "Last record of it in the range"),
    col("owner", Sort::Text, "", "NULL: in the model registry, which this journal does not hold"),
    col("validator", Sort::Text, "", "NULL: see owner"),
    col("tier", Sort::Text, "", "NULL: see owner"),
    col("training_data_sha256", Sort::Text, "", "NULL: see owner"),
    col("approved_by_1", Sort::Text, "", "NULL: see owner"),
    col("approved_by_2", Sort::Text, "", "NULL: see owner"),
    col("expiry", Sort::Time, "", "NULL: see owner"),
    col("drift_status", Sort::Text, "", "NULL: see owner; PSI, KS and z need the model's own features"),
    col("open_findings", Sort::Int, "", "NULL: see owner"),
];

const PERFORMANCE: [Column; 18] = [
    col("model_id", Sort::Text, "", "Strategy number and model version"),
    col("decisions", Sort::Int, "", "Orders, amends and cancels it asked for"),
    col("approved", Sort::Int, "", "Of them approved"),
    col("refused", Sort::Int, "", "Of them refused"),
    col("not_sized", Sort::Int, "", "Wishes that sizing turned into nothing"),
    col("orders", Sort::Int, "", "New orders approved"),
    col("fills", Sort::Int, "", "Executions"),
    col("maker_pct", Sort::Decimal, "%", "Of them as maker"),
    col("turnover", Sort::Decimal, "USDT", "Value traded"),
    col("realised", Sort::Decimal, "USDT", "Realised, without fees"),
    col("fees", Sort::Decimal, "USDT", "Fees paid"),
    col("net", Sort::Decimal, "USDT", "Realised less fees; what is still open is not in it"),
    col("net_bps", Sort::Decimal, "bps", "The same over the turnover"),
    col("winning_fills", Sort::Int, "", "Executions that realised a gain"),
    col("losing_fills", Sort::Int, "", "Executions that realised a loss"),
    col("signal_age_max_ms", Sort::Int, "ms", "The oldest signal acted on; 0 where none is from outside"),
    col("psi", Sort::Decimal, "", "NULL: needs the model registry"),
    col("journal", Sort::Text, "", "Name of the journal"),
];

pub(super) const SPEC: Spec = Spec {
    code: "r9",
    name: "model-inventory",
    title: "Model inventory and performance",
    about: "Every strategy and model version that asked for an order, with the parameters it ran with and how it did.",
    schema: 1,
    restricted: false,
    tables: &[
        Table { name: "inventory", title: "Inventory", columns: &INVENTORY },
        Table { name: "performance", title: "Performance in the range", columns: &PERFORMANCE },
    ],
};

/// Models told apart.
const MAX_MODELS: usize = 4096;

#[derive(Clone, Debug, Default)]
struct Model {
    first: Wall,
    last: Wall,
    within: bool,
    approved: u64,
    refused: u64,
    not_sized: u64,
    orders: u64,
    fills: u64,
    maker: u64,
    value: i128,
    realised: i128,
    fees: i128,
    wins: u64,
    losses: u64,
    oldest: u16,
}

/// The fold.
#[derive(Debug, Default)]
pub(super) struct Models {
    models: BTreeMap<(u16, u32), Model>,
    /// The strategy's document by its number.
    documents: BTreeMap<u16, (String, String)>,
    too_many: bool,
}

impl Fold for Models {
    fn take(&mut self, world: &World, turn: &Turn<'_>, _: &mut Sheet) -> Result<()> {
        if turn.phase == Phase::After {
            return Ok(());
        }
        if let Some((DocumentKind::Strategy, text, _)) = &turn.document {
            let shown = String::from_utf8_lossy(text).into_owned();
            let id = shown.lines().find_map(|line| line.strip_prefix("id = ")?.parse().ok()).unwrap_or(0);
            if self.documents.len() < MAX_MODELS {
                self.documents.insert(id, (sha256(text), shown));
            }
        }
        let within = turn.phase == Phase::Within;
        let at = turn.entry.wall;
        match turn.fact {
            Fact::Approved(decision) | Fact::Refused(decision) => {
                let approved = matches!(turn.fact, Fact::Approved(_));
                let order = decision.order;
                let Some(model) = self.model(order.strategy.0, order.model, at, within) else { return Ok(()) };
                if within {
                    model.approved += u64::from(approved);
                    model.refused += u64::from(!approved);
                    model.orders += u64::from(approved && order.op == Op::New);
                    model.oldest = model.oldest.max(order.signal_age);
                }
            }
            Fact::NotSized(fact) => {
                if let Some(model) = self.model(fact.order.strategy.0, fact.order.model, at, within).filter(|_| within)
                {
                    model.not_sized += 1;
                }
            }
            Fact::Fill(fill) if within && fill.kind != ExecKind::Funding => {
                let (Some(counted), Some(life)) = (&turn.counted, world.orders.get(&fill.client)) else {
                    return Ok(());
                };
                let gain = counted.gain;
                let (strategy, version) = (life.order.strategy.0, life.order.model);
                let Some(model) = self.model(strategy, version, at, within) else { return Ok(()) };
                model.fills += 1;
                model.maker += u64::from(fill.maker.is_set());
                model.value += value_of(fill.px, fill.qty);
                model.realised += i128::from(gain);
                model.fees += i128::from(fill.fee.raw());
                model.wins += u64::from(gain > 0);
                model.losses += u64::from(gain < 0);
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, world: &World, out: &mut Sheet) -> Result<()> {
        out.incomplete(
            "the journal holds no model registry: owner, validator, tier, training data, approvals, expiry, findings and \
             drift are not known",
        );
        if self.too_many {
            out.incomplete(format!("more than {MAX_MODELS} models: the rest is not told"));
        }
        let (mut net, mut all) = (0, 0u64);
        for ((strategy, version), model) in self.models.iter().filter(|(_, model)| model.within) {
            let id = format!("{strategy}.{version}");
            let document = self.documents.get(strategy);
            let name = document.and_then(|(_, text)| text.lines().find_map(|line| line.strip_prefix("strategy = ")));
            let mut cells: Vec<Cell> = vec![
                id.clone().into(),
                name.map(Cell::from).unwrap_or_default(),
                world.start.map(|start| start.build.to_string()).into(),
                world.start.map(|start| crate::fact::hex(&start.config)).into(),
                document.map(|(digest, _)| digest.clone()).into(),
                document.map(|(_, text)| text.lines().collect::<Vec<_>>().join("; ")).into(),
                model.first.into(),
                model.last.into(),
            ];
            cells.resize(INVENTORY.len(), Cell::Null);
            out.row(0, cells)?;
            net += model.realised - model.fees;
            all += 1;
            let share = super::cell::ratio(i128::from(model.maker) * 100, model.fills.into());
            out.row(
                1,
                vec![
                    id.into(),
                    (model.approved + model.refused).into(),
                    model.approved.into(),
                    model.refused.into(),
                    model.not_sized.into(),
                    model.orders.into(),
                    model.fills.into(),
                    steps(share),
                    steps(model.value),
                    steps(model.realised),
                    steps(model.fees),
                    steps(model.realised - model.fees),
                    steps(bps(model.realised - model.fees, model.value)),
                    model.wins.into(),
                    model.losses.into(),
                    model.oldest.into(),
                    Cell::Null,
                    world.name.clone().into(),
                ],
            )?;
        }
        out.figure("Models that asked for orders", all, "");
        out.figure("Realised less fees", steps(net), "USDT");
        Ok(())
    }
}

impl Models {
    fn model(&mut self, strategy: u16, version: u32, at: Wall, within: bool) -> Option<&mut Model> {
        if self.models.len() >= MAX_MODELS && !self.models.contains_key(&(strategy, version)) {
            self.too_many = true;
            return None;
        }
        let model = self.models.entry((strategy, version)).or_insert_with(|| Model { first: at, ..Model::default() });
        model.last = at;
        model.within |= within;
        Some(model)
    }
}

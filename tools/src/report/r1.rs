//! R1: the trade blotter. Every execution once, and every other movement of cash.

use super::Fold;
use super::cell::{Cell, Column, Sort, Table, col, steps, word};
use super::sheet::{Sheet, Spec};
use super::world::{Counted, Fact, Phase, Turn, World, is_transfer, value_of};
use anyhow::Result;
use keel_core::event::{ExecKind, FlowState};
use keel_core::ids::ClientId;
use keel_core::units::{Notional, Qty};

const FILLS: [Column; 25] = [
    col("trade_id", Sort::Int, "#", "Number of the record in the journal: with the journal's name it is unique"),
    col("exec_id", Sort::Text, "", "The venue's id of the execution"),
    col("order_id", Sort::Text, "", "The venue's id of the order"),
    col("client_order_id", Sort::Text, "", "Our id of the order; NULL for an order we did not place"),
    col("account", Sort::Text, "", "The venue's UID of the account; NULL where the journal holds no standing of it"),
    col("strategy", Sort::Int, "#", "Number of the strategy that asked for the order"),
    col("model_ver", Sort::Int, "#", "Version of the model behind the order; 0 is a strategy of the program itself"),
    col("symbol", Sort::Text, "", "Instrument"),
    col("category", Sort::Text, "", "Product of the venue: linear is a USDT perpetual"),
    col("kind", Sort::Text, "", "Why it happened: Trade, Liquidation, Adl, Settlement, Other"),
    col("side", Sort::Text, "", "Side of our order"),
    col("qty", Sort::Decimal, "coin", "Quantity"),
    col("price", Sort::Decimal, "USDT", "Price"),
    col(
        "notional_usd",
        Sort::Decimal,
        "USDT",
        "Price times quantity, rounded down at 1e-8; a USDT is taken for a dollar",
    ),
    col("maker_taker", Sort::Text, "", "maker when we made the price"),
    col("fee", Sort::Decimal, "USDT", "Fee; positive is a cost"),
    col("fee_ccy", Sort::Text, "", "Currency of the fee"),
    col("ts_venue", Sort::Time, "", "When it happened, by the venue's clock"),
    col("ts_recv", Sort::Time, "", "When it was recorded, by our clock"),
    col("position_after", Sort::Decimal, "coin", "Signed position after it"),
    col("realised_pnl", Sort::Decimal, "USDT", "Realised by it, without fees: the venue's figure where it gives one"),
    col("mark", Sort::Decimal, "USDT", "Mark price the venue gave with it"),
    col("liquidity_flag", Sort::Text, "", "ADDED or REMOVED"),
    col("queried", Sort::Flag, "", "Read from a query, not from the stream"),
    col("journal", Sort::Text, "", "Name of the journal: the hash of its first record"),
];

const CASH: [Column; 11] = [
    col("id", Sort::Int, "#", "Number of the record in the journal"),
    col("venue_id", Sort::Text, "", "The venue's id of the row"),
    col("account", Sort::Text, "", "The venue's UID of the account"),
    col("kind", Sort::Text, "", "Funding, Deposit, Withdrawal, TransferIn, ..."),
    col("symbol", Sort::Text, "", "Instrument of a funding payment"),
    col("amount", Sort::Decimal, "coin", "What came in; negative is what went out"),
    col("coin", Sort::Text, "", "Which coin"),
    col("fee", Sort::Decimal, "coin", "Fee of the movement"),
    col("party", Sort::Text, "", "The other side, where the venue names it"),
    col("ts_venue", Sort::Time, "", "When it happened, by the venue's clock"),
    col("ts_recv", Sort::Time, "", "When it was recorded, by our clock"),
];

pub(super) const SPEC: Spec = Spec {
    code: "r1",
    name: "trade-blotter",
    title: "Trade blotter",
    about: "Every execution of the account, counted once, with the order behind it and the position after it; and every \
            other movement of its cash.",
    schema: 1,
    restricted: false,
    tables: &[
        Table { name: "fills", title: "Executions", columns: &FILLS },
        Table { name: "cash", title: "Other movements of cash", columns: &CASH },
    ],
};

/// The fold.
#[derive(Debug, Default)]
pub(super) struct Blotter {
    fills: u64,
    value: i128,
    fees: i128,
    realised: i128,
    funding: i128,
    cash: i128,
}

impl Fold for Blotter {
    fn take(&mut self, world: &World, turn: &Turn<'_>, out: &mut Sheet) -> Result<()> {
        if turn.phase != Phase::Within {
            return Ok(());
        }
        if let Some(counted) = &turn.counted {
            return if counted.fill.kind == ExecKind::Funding {
                self.funded(world, turn, counted, out)
            } else {
                self.filled(world, turn, counted, out)
            };
        }
        if let Fact::Flow(flow) = turn.fact
            && flow.state == FlowState::Done
            && is_transfer(flow.kind)
        {
            let cells = vec![
                turn.entry.seq.0.into(),
                flow.id.into(),
                flow.account.into(),
                word(flow.kind),
                Cell::Null,
                flow.amount.into(),
                flow.coin.into(),
                flow.fee.into(),
                flow.party.into(),
                flow.ts.into(),
                turn.entry.wall.into(),
            ];
            return out.row(1, cells);
        }
        Ok(())
    }

    fn close(&mut self, world: &World, out: &mut Sheet) -> Result<()> {
        out.figure("Executions", self.fills, "");
        out.figure("Turnover", steps(self.value), "USDT");
        out.figure("Realised, before fees", steps(self.realised), "USDT");
        out.figure("Fees", steps(self.fees), "USDT");
        out.figure("Funding paid", steps(self.funding), "USDT");
        for seat in &world.seats {
            let tally = &seat.tally;
            let moved = i128::from(seat.position.size.raw()) - i128::from(seat.opening.size.raw());
            let what = format!("{}: bought less sold, and taken over = change of the position", seat.symbol);
            out.check(what, tally.bought - tally.sold + tally.adopted, moved, "coin", 0);
            if tally.adopted != 0 {
                out.note(format!(
                    "{}: {} coins came into the position without an execution in the journal (taken from the venue or \
                     from an earlier journal; see R5).",
                    seat.symbol,
                    super::cell::decimal(tally.adopted)
                ));
            }
        }
        self.cash = self.realised - self.fees - self.funding;
        Ok(())
    }

    fn end(&mut self, world: &World, out: &mut Sheet) -> Result<()> {
        super::cash_check(world, self.cash, out);
        Ok(())
    }
}

impl Blotter {
    fn filled(&mut self, world: &World, turn: &Turn<'_>, counted: &Counted, out: &mut Sheet) -> Result<()> {
        let Counted { fill, after, gain, seat, .. } = counted;
        let order = world.orders.get(&fill.client).map(|life| life.order);
        let value = value_of(fill.px, fill.qty);
        self.fills += 1;
        self.value += value;
        self.fees += i128::from(fill.fee.raw());
        self.realised += i128::from(*gain);
        let maker = fill.maker.is_set();
        out.row(
            0,
            vec![
                turn.entry.seq.0.into(),
                fill.exec.into(),
                fill.venue.into(),
                client(fill.client),
                world.account(),
                order.map(|order| order.strategy.0).into(),
                order.map(|order| order.model).into(),
                world.seats[*seat].symbol.clone().into(),
                "linear".into(),
                word(fill.kind),
                word(fill.side),
                fill.qty.into(),
                fill.px.into(),
                steps(value),
                if maker { "maker" } else { "taker" }.into(),
                fill.fee.into(),
                "USDT".into(),
                fill.ts.into(),
                turn.entry.wall.into(),
                after.size.into(),
                Notional::from_raw(*gain).into(),
                Some(fill.mark).filter(|mark| !mark.is_zero()).into(),
                if maker { "ADDED" } else { "REMOVED" }.into(),
                fill.queried.is_set().into(),
                world.name.clone().into(),
            ],
        )
    }

    fn funded(&mut self, world: &World, turn: &Turn<'_>, counted: &Counted, out: &mut Sheet) -> Result<()> {
        let fill = &counted.fill;
        self.funding += i128::from(fill.fee.raw());
        out.row(
            1,
            vec![
                turn.entry.seq.0.into(),
                fill.exec.into(),
                world.account(),
                "Funding".into(),
                world.seats[counted.seat].symbol.clone().into(),
                steps(-i128::from(fill.fee.raw())),
                "USDT".into(),
                Qty::ZERO.into(),
                Cell::Null,
                fill.ts.into(),
                turn.entry.wall.into(),
            ],
        )
    }
}

/// Our id, or nothing.
pub(super) fn client(id: ClientId) -> Cell {
    if id == ClientId::NONE { Cell::Null } else { id.to_string().into() }
}

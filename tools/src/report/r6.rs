//! R6: positions, profit and loss, net asset value. By our own count of fills, held against the venue's cash.

use super::Fold;
use super::cell::{Cell, Column, Sort, Table, bps, col, steps};
use super::plot::{Mark, Plot, Series, Ticks};
use super::sheet::{Sheet, Spec};
use super::world::{DAY, Fact, Phase, Turn, World, unrealised, value_of};
use anyhow::Result;
use keel_core::units::Px;

const POSITIONS: [Column; 21] = [
    col("symbol", Sort::Text, "", "Instrument"),
    col("start_qty", Sort::Decimal, "coin", "Signed position when the range began"),
    col("bought", Sort::Decimal, "coin", "Bought in the range"),
    col("sold", Sort::Decimal, "coin", "Sold in the range"),
    col("taken_over", Sort::Decimal, "coin", "Came into the position without an execution in this journal"),
    col("end_qty", Sort::Decimal, "coin", "Signed position when the range ended"),
    col("avg_px", Sort::Decimal, "USDT", "Average entry price of it; NULL when flat"),
    col("mark", Sort::Decimal, "USDT", "Mark price when the range ended; NULL without one"),
    col("value", Sort::Decimal, "USDT", "Position at the mark, signed"),
    col("unrealised_start", Sort::Decimal, "USDT", "Unrealised profit when the range began"),
    col("unrealised", Sort::Decimal, "USDT", "Unrealised profit when the range ended"),
    col("realised", Sort::Decimal, "USDT", "Realised in the range, without fees"),
    col("fees", Sort::Decimal, "USDT", "Fees paid"),
    col("funding", Sort::Decimal, "USDT", "Funding paid; negative is received"),
    col("net_pnl", Sort::Decimal, "USDT", "Realised and change of unrealised, less fees and funding"),
    col("fills", Sort::Int, "", "Executions"),
    col("maker_fills", Sort::Int, "", "Of them as maker"),
    col("turnover", Sort::Decimal, "USDT", "Value bought and sold"),
    col("avg_buy", Sort::Decimal, "USDT", "Average price bought at"),
    col("avg_sell", Sort::Decimal, "USDT", "Average price sold at"),
    col("journal", Sort::Text, "", "Name of the journal"),
];

const ACCOUNT: [Column; 19] = [
    col("journal", Sort::Text, "", "Name of the journal"),
    col("account", Sort::Text, "", "The venue's UID of the account"),
    col("cash_start", Sort::Decimal, "USDT", "Cash when the range began, by our count since the first wallet"),
    col("realised", Sort::Decimal, "USDT", "Realised in the range, without fees"),
    col("fees", Sort::Decimal, "USDT", "Fees paid"),
    col("funding", Sort::Decimal, "USDT", "Funding paid"),
    col(
        "transfers",
        Sort::Decimal,
        "USDT",
        "Money in less money out, by the flows; zero where the cash proves there were none",
    ),
    col("cash_end", Sort::Decimal, "USDT", "Cash when the range ended, by our count"),
    col("cash_venue", Sort::Decimal, "USDT", "Cash by the venue's last word in the range"),
    col("unrealised_start", Sort::Decimal, "USDT", "Unrealised profit when the range began"),
    col("unrealised_end", Sort::Decimal, "USDT", "Unrealised profit when the range ended"),
    col("nav_start", Sort::Decimal, "USDT", "Cash and unrealised profit when the range began"),
    col("nav_end", Sort::Decimal, "USDT", "Cash and unrealised profit when the range ended"),
    col("pnl", Sort::Decimal, "USDT", "Change of the net asset value, money moved left out"),
    col("hwm", Sort::Decimal, "USDT", "Highest net asset value since ever, money moved left out"),
    col("drawdown", Sort::Decimal, "USDT", "How far the last record of worth was below it"),
    col("max_drawdown", Sort::Decimal, "USDT", "The furthest it was below it in the range"),
    col("max_drawdown_bps", Sort::Decimal, "bps", "The same in basis points of the high then"),
    col("unit_value", Sort::Decimal, "", "Value of one unit: 1 at the beginning, neutral to money moved"),
];

const NAV: [Column; 8] = [
    col("seq", Sort::Int, "#", "Record of worth"),
    col("ts", Sort::Time, "", "When"),
    col("nav", Sort::Decimal, "USDT", "Cash and unrealised profit at the marks, by our books"),
    col("cash", Sort::Decimal, "USDT", "Cash"),
    col("unrealised", Sort::Decimal, "USDT", "Unrealised profit"),
    col("moved", Sort::Decimal, "USDT", "Money in less money out since the first wallet"),
    col("hwm", Sort::Decimal, "USDT", "Highest net asset value so far, money moved left out"),
    col("drawdown", Sort::Decimal, "USDT", "How far it is below that"),
];

pub(super) const SPEC: Spec = Spec {
    code: "r6",
    name: "positions-pnl-nav",
    title: "Positions, profit and loss, net asset value",
    about: "What was held when the range began and ended, what it earned and cost, and what the account is worth. Counted \
            from executions, held against the venue's cash.",
    schema: 1,
    restricted: false,
    tables: &[
        Table { name: "positions", title: "Positions", columns: &POSITIONS },
        Table { name: "account", title: "Account", columns: &ACCOUNT },
        Table { name: "nav", title: "Net asset value over time", columns: &NAV },
    ],
};

/// The fold.
#[derive(Debug, Default)]
pub(super) struct Positions {
    nav: Series,
    drawdown: Series,
    deepest: i128,
    deepest_high: i128,
    closing: Closing,
}

/// What was summed when the range ended; the cash is judged a little later.
#[derive(Debug, Default)]
struct Closing {
    realised: i128,
    fees: i128,
    funding: i128,
    unrealised_start: Option<i128>,
    unrealised_end: Option<i128>,
    net: Option<i128>,
}

impl Fold for Positions {
    fn take(&mut self, _: &World, turn: &Turn<'_>, out: &mut Sheet) -> Result<()> {
        let (Fact::Worth(worth), Phase::Within) = (turn.fact, turn.phase) else { return Ok(()) };
        let x = seconds(turn.entry.wall.nanos());
        self.nav.push(x, worth.equity.to_f64());
        self.drawdown.push(x, -worth.drawdown.to_f64());
        let drawdown = i128::from(worth.drawdown.raw());
        if drawdown > self.deepest {
            (self.deepest, self.deepest_high) = (drawdown, worth.high.raw().into());
        }
        let open = i128::from(worth.equity.raw()) - i128::from(worth.balance.raw());
        out.row(
            2,
            vec![
                turn.entry.seq.0.into(),
                turn.entry.wall.into(),
                worth.equity.into(),
                worth.balance.into(),
                steps(open),
                worth.moved.into(),
                worth.high.into(),
                worth.drawdown.into(),
            ],
        )
    }

    fn close(&mut self, world: &World, out: &mut Sheet) -> Result<()> {
        let mut sum =
            Closing { unrealised_start: Some(0), unrealised_end: Some(0), net: Some(0), ..Closing::default() };
        for seat in &world.seats {
            let tally = &seat.tally;
            let (start, end) = (unrealised(&seat.opening, seat.opening_mark), unrealised(&seat.position, seat.mark));
            if start.is_none() || end.is_none() {
                out.incomplete(format!("{} is held and the journal has no mark price of it", seat.symbol));
            }
            let net = start.zip(end).map(|(start, end)| tally.realised + end - start - tally.fees - tally.funding);
            sum.realised += tally.realised;
            sum.fees += tally.fees;
            sum.funding += tally.funding;
            sum.unrealised_start = sum.unrealised_start.zip(start).map(|(a, b)| a + b);
            sum.unrealised_end = sum.unrealised_end.zip(end).map(|(a, b)| a + b);
            sum.net = sum.net.zip(net).map(|(a, b)| a + b);
            let marked = seat.mark > Px::ZERO;
            out.row(
                0,
                vec![
                    seat.symbol.clone().into(),
                    seat.opening.size.into(),
                    steps(tally.bought),
                    steps(tally.sold),
                    steps(tally.adopted),
                    seat.position.size.into(),
                    seat.position.entry().into(),
                    marked.then_some(seat.mark).into(),
                    steps(marked.then(|| value_of(seat.mark, seat.position.size))),
                    steps(start),
                    steps(end),
                    steps(tally.realised),
                    steps(tally.fees),
                    steps(tally.funding),
                    steps(net),
                    tally.fills.into(),
                    tally.maker.into(),
                    steps(tally.bought_value + tally.sold_value),
                    steps(super::cell::ratio(tally.bought_value, tally.bought)),
                    steps(super::cell::ratio(tally.sold_value, tally.sold)),
                    world.name.clone().into(),
                ],
            )?;
        }
        self.closing = sum;
        Ok(())
    }

    fn end(&mut self, world: &World, out: &mut Sheet) -> Result<()> {
        let Closing { realised, fees, funding, unrealised_start, unrealised_end, net } = self.closing;
        let (cash, worth) = (&world.cash, world.worth);
        super::cash_check(world, realised - fees - funding, out);
        let nav_start = cash.opening.zip(unrealised_start).map(|(cash, open)| cash + open);
        let nav_end = cash.closing.zip(unrealised_end).map(|(cash, open)| cash + open);
        let pnl = nav_start.zip(nav_end).map(|(start, end)| end - start - cash.transfers);
        if let Some((pnl, net)) = pnl.zip(net) {
            out.check(
                format!(
                    "{}profit of the instruments = change of the net asset value less money moved",
                    super::prefix(world)
                ),
                net,
                pnl,
                "USDT",
                0,
            );
        }
        let of_high = bps(self.deepest, self.deepest_high).filter(|_| self.deepest > 0);
        out.row(
            1,
            vec![
                world.name.clone().into(),
                world.account(),
                steps(cash.opening),
                steps(realised),
                steps(fees),
                steps(funding),
                steps(cash.transfers),
                steps(cash.closing),
                cash.wallet.into(),
                steps(unrealised_start),
                steps(unrealised_end),
                steps(nav_start),
                steps(nav_end),
                steps(pnl),
                worth.map(|worth| worth.high).into(),
                worth.map(|worth| worth.drawdown).into(),
                steps(worth.map(|_| self.deepest)),
                steps(worth.and(of_high.or(Some(0)))),
                world.fortune.map(|fortune| Cell::Decimal(fortune.unit_value.into())).unwrap_or_default(),
            ],
        )?;
        out.figure("NAV at the end", steps(nav_end), "USDT");
        out.figure("Profit or loss", steps(pnl), "USDT");
        out.figure("Realised", steps(realised), "USDT");
        out.figure("Fees and funding", steps(fees + funding), "USDT");
        out.figure("Deepest drawdown", steps(worth.map(|_| self.deepest)), "USDT");
        out.figure("Money moved", steps(cash.transfers), "USDT");
        self.plots(out);
        Ok(())
    }
}

/// Nanoseconds as the seconds of an axis.
#[allow(clippy::cast_precision_loss, reason = "for a picture")]
pub(super) fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

impl Positions {
    fn plots(&self, out: &mut Sheet) {
        let (nav, down) = (self.nav.points(), self.drawdown.points());
        let long = nav.last().zip(nav.first()).is_some_and(|(last, first)| last.0 - first.0 > 2.0 * seconds(DAY));
        let x = if long { "day, UTC" } else { "time, UTC" };
        let equity = Plot {
            x,
            y: "NAV, USDT",
            ticks: Ticks::Clock,
            height: 300.0,
            zero: false,
            legend: vec![],
            marks: vec![Mark::Line("line", nav)],
        };
        let drawdown = Plot {
            x,
            y: "below the high, USDT",
            ticks: Ticks::Clock,
            height: 200.0,
            zero: true,
            legend: vec![],
            marks: vec![Mark::Area("area2", down.clone()), Mark::Line("line2", down)],
        };
        for (title, plot) in [("Net asset value", equity), ("Drawdown from the highest value", drawdown)] {
            if let Some(svg) = plot.svg() {
                out.plots.push((title.to_owned(), svg));
            }
        }
    }
}

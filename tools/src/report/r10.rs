//! R10: best execution. What each order cost against the middle of the book it was decided at, what became of prices after
//! each fill, and how much of the market was ours.
//!
//! ```text
//!   decision ---- delay ----> acknowledged ---- impact ----> filled at VWAP          fees
//!   mid_0                     mid_1                                                  what was not filled: (mid_2 - mid_0)
//!
//!   shortfall = side * (VWAP - mid_0) * filled + fees + side * (mid_2 - mid_0) * (qty - filled)      Perold (1988)
//! ```

use super::Fold;
use super::cell::{Cell, Column, Sort, Table, bps, col, steps, word};
use super::plot::{Mark, Plot, Sample, Ticks, histogram};
use super::r1::client;
use super::r7::float;
use super::sheet::{Sheet, Spec};
use super::world::{Fact, Life, Phase, Turn, World, value_of};
use anyhow::Result;
use keel_core::event::{ExecKind, Fill, Op, OrderStatus, SentOutcome, Side};
use keel_core::units::{Px, SCALE, Wall};
use std::collections::VecDeque;

const ORDERS: [Column; 30] = [
    col("decision_id", Sort::Int, "#", "Record of the decision"),
    col("client_order_id", Sort::Text, "", "Our id of the order"),
    col("order_id", Sort::Text, "", "The venue's id of it"),
    col("strategy", Sort::Int, "#", "Number of the strategy"),
    col("model_ver", Sort::Int, "#", "Version of the model behind it"),
    col("symbol", Sort::Text, "", "Instrument"),
    col("side", Sort::Text, "", "Buy or Sell"),
    col("tif", Sort::Text, "", "How long it lives"),
    col("decided", Sort::Time, "", "When it was decided"),
    col("ended", Sort::Time, "", "When the venue proved it ended; NULL while it may be open"),
    col("end", Sort::Text, "", "How: Filled, Cancelled, Rejected, NotSent, Open"),
    col("qty", Sort::Decimal, "coin", "Quantity asked for at first"),
    col("limit_px", Sort::Decimal, "USDT", "Limit price at first"),
    col("decision_mid", Sort::Decimal, "USDT", "Middle of the book when it was decided: the arrival price"),
    col("ack_mid", Sort::Decimal, "USDT", "Middle of the book when it was acknowledged"),
    col("end_mid", Sort::Decimal, "USDT", "Middle of the book when it ended"),
    col("filled", Sort::Decimal, "coin", "Filled"),
    col("vwap", Sort::Decimal, "USDT", "Average price of its fills"),
    col(
        "delay",
        Sort::Decimal,
        "USDT",
        "The market moved away between decision and acknowledgement; positive is a cost",
    ),
    col(
        "impact",
        Sort::Decimal,
        "USDT",
        "Fills against the middle at acknowledgement; a passive fill is negative: it earned the spread",
    ),
    col("fees", Sort::Decimal, "USDT", "Fees of its fills"),
    col("opportunity", Sort::Decimal, "USDT", "What was not filled, at the move from decision to end"),
    col("shortfall", Sort::Decimal, "USDT", "All four together"),
    col("shortfall_bps", Sort::Decimal, "bps", "The same over quantity at the arrival price"),
    col("slippage_bps", Sort::Decimal, "bps", "Average price against the arrival price; positive is a cost"),
    col("maker_fills", Sort::Int, "", "Fills as maker"),
    col("fills", Sort::Int, "", "Fills"),
    col("participation_pct", Sort::Decimal, "%", "Filled over what the market traded while it lived"),
    col("decision_to_sent_us", Sort::Int, "us", "Monotonic clock"),
    col("sent_to_ack_us", Sort::Int, "us", "Monotonic clock"),
];

const FILLS: [Column; 16] = [
    col("trade_id", Sort::Int, "#", "Number of the record in the journal"),
    col("client_order_id", Sort::Text, "", "Our id of the order"),
    col("symbol", Sort::Text, "", "Instrument"),
    col("ts_recv", Sort::Time, "", "When it was recorded: the markouts count from here"),
    col("side", Sort::Text, "", "Buy or Sell"),
    col("qty", Sort::Decimal, "coin", "Quantity"),
    col("px", Sort::Decimal, "USDT", "Price"),
    col("maker", Sort::Flag, "", "We made the price"),
    col(
        "mid",
        Sort::Decimal,
        "USDT",
        "Middle of the book when it was recorded; NULL while the book was not to be trusted",
    ),
    col("spread_capture_bps", Sort::Decimal, "bps", "Middle against price; positive is earned"),
    col("fee_bps", Sort::Decimal, "bps", "Fee over value"),
    col("markout_1s_bps", Sort::Decimal, "bps", "Middle a second later against price; positive: it moved our way"),
    col("markout_10s_bps", Sort::Decimal, "bps", "Ten seconds later"),
    col("markout_60s_bps", Sort::Decimal, "bps", "A minute later"),
    col("markout_300s_bps", Sort::Decimal, "bps", "Five minutes later"),
    col("value", Sort::Decimal, "USDT", "Price times quantity"),
];

const SUMMARY: [Column; 30] = [
    col("symbol", Sort::Text, "", "Instrument"),
    col("orders", Sort::Int, "", "Orders decided in the range"),
    col("filled_orders", Sort::Int, "", "Of them with a fill"),
    col("refused_locally", Sort::Int, "", "New orders the gate refused"),
    col("rejected_by_venue", Sort::Int, "", "Orders the venue refused"),
    col("reject_pct", Sort::Decimal, "%", "Refused by the venue over decided"),
    col("cancelled_unfilled", Sort::Int, "", "Orders cancelled without a fill"),
    col("cancel_pct", Sort::Decimal, "%", "The same over decided"),
    col("fills", Sort::Int, "", "Executions"),
    col("maker_pct", Sort::Decimal, "%", "Of them as maker"),
    col("turnover", Sort::Decimal, "USDT", "Value traded"),
    col("fees", Sort::Decimal, "USDT", "Fees"),
    col("fee_bps", Sort::Decimal, "bps", "The same over turnover"),
    col("maker_tier_bps", Sort::Decimal, "bps", "The venue's rate for makers"),
    col("taker_tier_bps", Sort::Decimal, "bps", "The venue's rate for takers"),
    col("delay", Sort::Decimal, "USDT", "See the orders"),
    col("impact", Sort::Decimal, "USDT", "See the orders"),
    col("opportunity", Sort::Decimal, "USDT", "See the orders"),
    col("shortfall", Sort::Decimal, "USDT", "Delay, impact, fees and opportunity"),
    col("shortfall_bps", Sort::Decimal, "bps", "The same over quantity at the arrival price"),
    col("spread_capture_bps", Sort::Decimal, "bps", "Weighted by value"),
    col("markout_1s_bps", Sort::Decimal, "bps", "Weighted by value, of fills whose horizon the journal holds"),
    col("markout_10s_bps", Sort::Decimal, "bps", "Ten seconds"),
    col("markout_60s_bps", Sort::Decimal, "bps", "A minute"),
    col("markout_300s_bps", Sort::Decimal, "bps", "Five minutes"),
    col("own_vwap", Sort::Decimal, "USDT", "Our average price"),
    col("market_vwap", Sort::Decimal, "USDT", "The market's average price in the range"),
    col("participation_pct", Sort::Decimal, "%", "Our quantity over the market's"),
    col("slippage_vs_model_bps", Sort::Decimal, "bps", "NULL: the journal holds no forecast of slippage"),
    col("journal", Sort::Text, "", "Name of the journal"),
];

pub(super) const SPEC: Spec = Spec {
    code: "r10",
    name: "best-execution",
    title: "Best execution and transaction cost",
    about: "What each order cost against the price it was decided at, what each fill was worth seconds and minutes later, \
            and our share of the market. Costs are positive.",
    schema: 1,
    restricted: false,
    tables: &[
        Table { name: "summary", title: "By instrument", columns: &SUMMARY },
        Table { name: "orders", title: "Orders", columns: &ORDERS },
        Table { name: "fills", title: "Executions and markouts", columns: &FILLS },
    ],
};

/// Nanoseconds after a fill at which the middle is looked at.
const HORIZONS: [u64; 4] = [1_000_000_000, 10_000_000_000, 60_000_000_000, 300_000_000_000];
/// Fills that wait for their markouts.
const MAX_WAITING: usize = 200_000;

/// A fill that waits.
#[derive(Clone, Debug)]
struct Waiting {
    seq: u64,
    at: Wall,
    seat: usize,
    fill: Fill,
    mid: Option<Px>,
    marks: [Option<Px>; 4],
}

/// Value-weighted mean: sum of price differences times quantity, over value.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    gain: i128,
    value: i128,
}

#[derive(Clone, Debug, Default)]
struct Symbol {
    orders: u64,
    filled: u64,
    refused: u64,
    rejected: u64,
    unfilled: u64,
    fills: u64,
    maker: u64,
    qty: i128,
    value: i128,
    fees: i128,
    delay: i128,
    impact: i128,
    opportunity: i128,
    order_fees: i128,
    paper: i128,
    capture: Mean,
    marks: [Mean; 4],
    market_qty: i128,
    market_value: i128,
}

/// The fold.
#[derive(Debug, Default)]
pub(super) struct Cost {
    symbols: Vec<Symbol>,
    waiting: VecDeque<Waiting>,
    /// Of each horizon: how many of the fills ever queued have it.
    done: [u64; 4],
    queued: u64,
    gone: u64,
    blind: u64,
    captures: Sample,
    tens: Sample,
    slips: Sample,
    to_ack: Sample,
    to_wire: Sample,
}

const fn sign(side: Side) -> i128 {
    match side {
        Side::Buy => 1,
        Side::Sell => -1,
    }
}

impl Fold for Cost {
    fn take(&mut self, world: &World, turn: &Turn<'_>, out: &mut Sheet) -> Result<()> {
        self.symbols.resize_with(self.symbols.len().max(world.seats.len()), Symbol::default);
        self.markouts(world, turn, out)?;
        if let Some(life) = &turn.forgotten {
            self.order(world, life, out)?;
        }
        if turn.phase != Phase::Within {
            return Ok(());
        }
        match turn.fact {
            Fact::Refused(decision) if decision.order.op == Op::New => {
                if let Some(at) = world.seat_of(decision.order.instrument) {
                    self.symbols[at].refused += 1;
                }
            }
            Fact::Trade(trade) => {
                if let Some(at) = world.seat_of(trade.instrument) {
                    let symbol = &mut self.symbols[at];
                    symbol.market_qty += i128::from(trade.qty.raw());
                    symbol.market_value += value_of(trade.px, trade.qty);
                }
            }
            Fact::Fill(fill) if fill.kind != ExecKind::Funding => {
                if let Some(counted) = turn.counted {
                    self.filled(turn, &fill, counted.seat, counted.mid, out)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, world: &World, out: &mut Sheet) -> Result<()> {
        while let Some(waiting) = self.waiting.pop_front() {
            self.fill_row(world, &waiting, out)?;
        }
        for client in &world.queue {
            if let Some(life) = world.orders.get(client) {
                self.order(world, life, out)?;
            }
        }
        self.summary(world, out)?;
        self.plots(out);
        Ok(())
    }
}

impl Cost {
    fn filled(&mut self, turn: &Turn<'_>, fill: &Fill, seat: usize, mid: Option<Px>, out: &mut Sheet) -> Result<()> {
        let symbol = &mut self.symbols[seat];
        symbol.fills += 1;
        symbol.maker += u64::from(fill.maker.is_set());
        symbol.qty += i128::from(fill.qty.raw());
        symbol.value += value_of(fill.px, fill.qty);
        symbol.fees += i128::from(fill.fee.raw());
        self.blind += u64::from(mid.is_none());
        if self.waiting.len() >= MAX_WAITING {
            out.incomplete(format!("more than {MAX_WAITING} fills within five minutes: the rest has no markouts"));
            return Ok(());
        }
        let waiting = Waiting { seq: turn.entry.seq.0, at: turn.entry.wall, seat, fill: *fill, mid, marks: [None; 4] };
        self.waiting.push_back(waiting);
        self.queued += 1;
        Ok(())
    }

    /// The middle in force at each horizon: the one before the first record that is later.
    fn markouts(&mut self, world: &World, turn: &Turn<'_>, out: &mut Sheet) -> Result<()> {
        for (horizon, nanos) in HORIZONS.into_iter().enumerate() {
            while let Some(index) = self.done[horizon].checked_sub(self.gone)
                && let Some(waiting) = usize::try_from(index).ok().and_then(|index| self.waiting.get_mut(index))
                && turn.entry.wall > waiting.at.after(nanos)
            {
                waiting.marks[horizon] = match turn.moved {
                    Some((seat, before)) if seat == waiting.seat => before,
                    _ => world.seats[waiting.seat].mid,
                };
                self.done[horizon] += 1;
            }
        }
        while self.done[HORIZONS.len() - 1] > self.gone
            && let Some(waiting) = self.waiting.pop_front()
        {
            self.gone += 1;
            self.fill_row(world, &waiting, out)?;
        }
        Ok(())
    }

    fn fill_row(&mut self, world: &World, waiting: &Waiting, out: &mut Sheet) -> Result<()> {
        let Waiting { fill, mid, marks, .. } = waiting;
        let (value, qty) = (value_of(fill.px, fill.qty), i128::from(fill.qty.raw()));
        let way = |px: Px| sign(fill.side) * (i128::from(px.raw()) - i128::from(fill.px.raw()));
        let capture = mid.and_then(|mid| bps(way(mid), mid.raw().into()));
        let marked = marks.map(|mark| mark.and_then(|mark| bps(way(mark), fill.px.raw().into())));
        let symbol = &mut self.symbols[waiting.seat];
        for (mean, px) in core::iter::once((&mut symbol.capture, mid)).chain(symbol.marks.iter_mut().zip(marks)) {
            if let Some(px) = px {
                mean.gain = mean.gain.saturating_add(way(*px).saturating_mul(qty));
                mean.value = mean.value.saturating_add(value);
            }
        }
        capture.into_iter().for_each(|bps| self.captures.push(float(bps)));
        marked[1].into_iter().for_each(|bps| self.tens.push(float(bps)));
        let [a, b, c, d] = marked.map(steps);
        out.row(
            2,
            vec![
                waiting.seq.into(),
                client(fill.client),
                world.seats[waiting.seat].symbol.clone().into(),
                waiting.at.into(),
                word(fill.side),
                fill.qty.into(),
                fill.px.into(),
                fill.maker.is_set().into(),
                (*mid).into(),
                steps(capture),
                steps(bps(fill.fee.raw().into(), value)),
                a,
                b,
                c,
                d,
                steps(value),
            ],
        )
    }

    fn order(&mut self, world: &World, life: &Life, out: &mut Sheet) -> Result<()> {
        let Some(seat) = life.seat.filter(|_| life.phase == Phase::Within) else { return Ok(()) };
        self.symbols.resize_with(self.symbols.len().max(world.seats.len()), Symbol::default);
        let costs = Costs::of(life);
        let end = end_of(life);
        let symbol = &mut self.symbols[seat];
        symbol.orders += 1;
        symbol.filled += u64::from(life.fills > 0);
        symbol.rejected += u64::from(end == "Rejected");
        symbol.unfilled += u64::from(end == "Cancelled" && life.fills == 0);
        symbol.delay += costs.delay.unwrap_or(0);
        symbol.impact += costs.impact.unwrap_or(0);
        symbol.opportunity += costs.opportunity.unwrap_or(0);
        symbol.order_fees += life.fees;
        symbol.paper += costs.paper.unwrap_or(0);
        costs.slippage.into_iter().for_each(|bps| self.slips.push(float(bps)));
        let micros = |later: Option<keel_core::units::Mono>, earlier: Option<keel_core::units::Mono>| {
            later.zip(earlier).map(|(later, earlier)| later.since(earlier) / 1000)
        };
        let (to_sent, to_ack) = (micros(life.sent, Some(life.mono)), micros(life.acked, life.sent));
        if let Some(micros) = to_ack {
            self.to_ack.push(float(i128::from(micros) * i128::from(SCALE)) / 1000.0);
        }
        if life.outcome == Some(SentOutcome::Wire) && life.took != 0 {
            self.to_wire.push(float(i128::from(life.took) * i128::from(SCALE)) / 1000.0);
        }
        let market = life.end_volume.saturating_sub(life.volume);
        let share =
            super::cell::ratio(life.filled.saturating_mul(100), market).filter(|_| market > 0 && life.ended.is_some());
        let order = &life.order;
        out.row(
            1,
            vec![
                life.seq.0.into(),
                client(order.client),
                life.venue.into(),
                order.strategy.0.into(),
                order.model.into(),
                world.seats[seat].symbol.clone().into(),
                word(order.side),
                word(order.tif),
                life.decided.into(),
                life.ended.into(),
                end.into(),
                order.qty.into(),
                order.px.into(),
                life.arrival.into(),
                life.ack_mid.into(),
                life.end_mid.into(),
                steps(life.filled),
                steps((life.filled != 0).then(|| life.value / life.filled)),
                steps(costs.delay),
                steps(costs.impact),
                steps(life.fees),
                steps(costs.opportunity),
                steps(costs.shortfall),
                steps(costs.shortfall.zip(costs.paper).and_then(|(cost, paper)| bps(cost, paper))),
                steps(costs.slippage),
                life.maker.into(),
                life.fills.into(),
                steps(share),
                to_sent.into(),
                to_ack.into(),
            ],
        )
    }

    fn summary(&mut self, world: &World, out: &mut Sheet) -> Result<()> {
        let percent = |part: u64, whole: u64| super::cell::ratio(i128::from(part) * 100, whole.into());
        let scale = i128::from(SCALE);
        let mean = |mean: &Mean| bps(mean.gain / scale, mean.value);
        let mut all = Symbol::default();
        for (seat, of) in world.seats.iter().zip(&self.symbols) {
            let shortfall = of.delay + of.impact + of.order_fees + of.opportunity;
            let [a, b, c, d] = of.marks.each_ref().map(|m| steps(mean(m)));
            out.row(
                0,
                vec![
                    seat.symbol.clone().into(),
                    of.orders.into(),
                    of.filled.into(),
                    of.refused.into(),
                    of.rejected.into(),
                    steps(percent(of.rejected, of.orders)),
                    of.unfilled.into(),
                    steps(percent(of.unfilled, of.orders)),
                    of.fills.into(),
                    steps(percent(of.maker, of.fills)),
                    steps(of.value),
                    steps(of.fees),
                    steps(bps(of.fees, of.value)),
                    steps(i128::from(seat.row.maker_fee) * 10_000),
                    steps(i128::from(seat.row.taker_fee) * 10_000),
                    steps(of.delay),
                    steps(of.impact),
                    steps(of.opportunity),
                    steps(shortfall),
                    steps(bps(shortfall, of.paper)),
                    steps(mean(&of.capture)),
                    a,
                    b,
                    c,
                    d,
                    steps(super::cell::ratio(of.value, of.qty)),
                    steps(super::cell::ratio(of.market_value, of.market_qty)),
                    steps(super::cell::ratio(of.qty.saturating_mul(100), of.market_qty)),
                    Cell::Null,
                    world.name.clone().into(),
                ],
            )?;
            let tally = &seat.tally;
            out.check(format!("{}: fees of R10 = fees of R6", seat.symbol), of.fees, tally.fees, "USDT", 0);
            out.check(
                format!("{}: quantity of R10 = bought and sold of R6", seat.symbol),
                of.qty,
                tally.bought + tally.sold,
                "coin",
                0,
            );
            all.orders += of.orders;
            all.fills += of.fills;
            all.value += of.value;
            all.fees += of.fees;
            all.paper += of.paper;
            all.impact += shortfall;
            all.capture.gain += of.capture.gain;
            all.capture.value += of.capture.value;
            all.marks[1].gain += of.marks[1].gain;
            all.marks[1].value += of.marks[1].value;
        }
        out.figure("Orders", all.orders, "");
        out.figure("Executions", all.fills, "");
        out.figure("Implementation shortfall", steps(all.impact), "USDT");
        out.figure("Shortfall", steps(bps(all.impact, all.paper)), "bps");
        out.figure("Spread captured", steps(mean(&all.capture)), "bps");
        out.figure("Markout after 10 s", steps(mean(&all.marks[1])), "bps");
        if self.blind > 0 {
            out.note(format!(
                "{} fills came while the book was not to be trusted: they have no middle, and no capture.",
                self.blind
            ));
        }
        if world.forgotten > 0 {
            out.note(format!(
                "{} orders were told as they stood when {} newer ones had come.",
                world.forgotten,
                super::world::MAX_ORDERS
            ));
        }
        out.note("Prices after a fill are the middle in force at the horizon by the time of recording; a horizon the journal does not reach is NULL.");
        Ok(())
    }

    fn plots(&self, out: &mut Sheet) {
        let pictures = [
            (
                "Slippage of filled orders against the arrival price",
                "basis points; negative is better than the middle",
                "orders",
                &self.slips,
            ),
            ("Spread captured by each fill", "basis points; positive is earned", "fills", &self.captures),
            (
                "Markout ten seconds after each fill",
                "basis points; positive: the price moved our way",
                "fills",
                &self.tens,
            ),
            ("Latency: order on the wire to the venue's acknowledgement", "milliseconds", "orders", &self.to_ack),
            ("Latency: cause on the socket to order on the socket", "microseconds", "orders", &self.to_wire),
        ];
        for (title, x, y, sample) in pictures {
            let mut bars = histogram(sample.values(), 40);
            // red is a cost: a positive slippage, a negative capture or markout
            let cost_right = title.starts_with("Slippage");
            let latency = title.starts_with("Latency");
            for bar in &mut bars {
                bar.3 = !latency && if cost_right { bar.0 >= 0.0 } else { bar.1 <= 0.0 };
            }
            let marks = vec![Mark::Bars(bars)];
            let plot = Plot { x, y, ticks: Ticks::Number, height: 230.0, zero: false, legend: vec![], marks };
            if let Some(svg) = plot.svg().filter(|_| !sample.values().is_empty()) {
                out.plots.push((title.to_owned(), svg));
            }
        }
    }
}

/// What an order cost. `None` where a middle it needs is not known.
#[derive(Clone, Copy, Debug, Default)]
struct Costs {
    paper: Option<i128>,
    delay: Option<i128>,
    impact: Option<i128>,
    opportunity: Option<i128>,
    shortfall: Option<i128>,
    slippage: Option<i128>,
}

impl Costs {
    fn of(life: &Life) -> Self {
        let Some(arrival) = life.arrival.map(|mid| i128::from(mid.raw())) else { return Self::default() };
        let (way, scale) = (sign(life.order.side), i128::from(SCALE));
        let qty = i128::from(life.order.qty.raw());
        // toward zero, once for each sum: delay and impact add up to their sum exactly
        let against = way * life.value.saturating_sub(arrival.saturating_mul(life.filled));
        let filled = against / scale;
        let delay = match (life.filled, life.ack_mid) {
            (0, _) => Some(0),
            (_, Some(mid)) => Some((way * (i128::from(mid.raw()) - arrival)).saturating_mul(life.filled) / scale),
            _ => None,
        };
        let left = (qty - life.filled).max(0);
        let opportunity = match (left, life.end_mid) {
            (0, _) => Some(0),
            (_, Some(mid)) => Some((way * (i128::from(mid.raw()) - arrival)).saturating_mul(left) / scale),
            _ => None,
        };
        let slippage = (life.filled != 0).then(|| bps(against, arrival.saturating_mul(life.filled)));
        Self {
            paper: Some(arrival * qty / scale),
            delay,
            impact: delay.map(|delay| filled - delay),
            opportunity,
            shortfall: opportunity.map(|opportunity| filled + life.fees + opportunity),
            slippage: slippage.flatten(),
        }
    }
}

/// How it ended.
fn end_of(life: &Life) -> &'static str {
    match (life.outcome, life.status) {
        (Some(outcome), _) if outcome != SentOutcome::Wire => "NotSent",
        _ if life.ack_code != 0 => "Rejected",
        (_, Some(OrderStatus::Filled)) => "Filled",
        (_, Some(OrderStatus::Rejected)) => "Rejected",
        (_, Some(OrderStatus::Cancelled | OrderStatus::Deactivated)) => "Cancelled",
        (_, Some(OrderStatus::Absent)) => "Absent",
        _ => "Open",
    }
}

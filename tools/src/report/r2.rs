//! R2: the order audit trail. Every event of every order, with what caused it and the hash that pins it.

use super::Fold;
use super::cell::{Cell, Column, Sort, Table, col, word};
use super::r1::client;
use super::sheet::{Sheet, Spec};
use super::world::{Fact, Life, Phase, Turn, World};
use crate::fact::hex;
use anyhow::Result;
use keel_core::event::{ExecKind, Op, Order, OrderStatus, SentOutcome};
use keel_core::ids::ClientId;
use keel_core::units::{Mono, Px, Qty};
use keel_risk::Decision;

const EVENTS: [Column; 36] = [
    col("seq", Sort::Int, "#", "Number of the record in the journal"),
    col("ts", Sort::Time, "", "When it was recorded, by our clock"),
    col("mono", Sort::Int, "#", "The same moment on the monotonic clock, nanoseconds"),
    col("clock_err", Sort::Int, "ns", "Bound of our clock's error; NULL where it was not known"),
    col(
        "event",
        Sort::Text,
        "",
        "NEW, AMEND_REQ, CANCEL_REQ, REJECT_LOCAL, NOT_SIZED, SENT, NOT_SENT, ACK, REJECT_VENUE, \
         RESTING, RESTING_PARTIAL, PARTIAL, FILL, DONE_FILLED, CANCELLED, REJECTED, EXPIRED, ABSENT",
    ),
    col(
        "client_order_id",
        Sort::Text,
        "",
        "Our id of the order; NULL for one we did not place or that was never given one",
    ),
    col("order_id", Sort::Text, "", "The venue's id of the order"),
    col("exec_id", Sort::Text, "", "The venue's id of the execution"),
    col("parent_signal", Sort::Int, "#", "The record that made us want it"),
    col("account", Sort::Text, "", "The venue's UID of the account"),
    col("decision_maker", Sort::Text, "", "Algorithm that decided: strategy number and model version"),
    col("exec_maker", Sort::Text, "", "Program that carried it out, with its version"),
    col("capacity", Sort::Text, "", "Trading capacity; NULL: the journal does not hold it"),
    col("symbol", Sort::Text, "", "Instrument"),
    col("side", Sort::Text, "", "Buy or Sell"),
    col("type", Sort::Text, "", "Limit or Market"),
    col("tif", Sort::Text, "", "How long it lives"),
    col("px", Sort::Decimal, "USDT", "Limit price, price of an amend, price of a fill"),
    col("stop_px", Sort::Decimal, "USDT", "Trigger price; NULL: keel places no conditional orders"),
    col("qty", Sort::Decimal, "coin", "Quantity asked for, or filled"),
    col("leaves", Sort::Decimal, "coin", "Still open, by the venue's word"),
    col("reduce_only", Sort::Flag, "", "May only shrink a position"),
    col("reason_code", Sort::Text, "", "Failing checks, the venue's code or reason, why it never left"),
    col("risk_decision_id", Sort::Int, "#", "Record of the decision that allowed or refused it"),
    col("limit_set_ver", Sort::Int, "#", "Version of the limits it was judged by"),
    col("md_seq", Sort::Int, "#", "Cross sequence of the last market fact of the instrument"),
    col("md_age_us", Sort::Int, "us", "Age of the market data the decision used"),
    col(
        "tick_to_wire_ns",
        Sort::Int,
        "ns",
        "From the socket that brought the cause to the socket that took the order; NULL when nothing caused it",
    ),
    col("decision_to_sent_us", Sort::Int, "us", "Monotonic clock: from the decision to the wire"),
    col("sent_to_ack_us", Sort::Int, "us", "Monotonic clock: from the wire to the venue's first answer"),
    col("ts_venue", Sort::Time, "", "The venue's own time of the event"),
    col("queried", Sort::Flag, "", "Read from a query, not from the stream"),
    col("leaf", Sort::Text, "", "SHA-256 of the record, as a leaf of the tree"),
    col(
        "hash_prev",
        Sort::Text,
        "",
        "Head of the journal's chain before the record; NULL where its beginning was deleted",
    ),
    col("hash", Sort::Text, "", "Head of the chain after it"),
    col("journal", Sort::Text, "", "Name of the journal"),
];

pub(super) const SPEC: Spec = Spec {
    code: "r2",
    name: "order-audit-trail",
    title: "Order audit trail",
    about: "Every event of every order from the decision to its end: request, refusal, send, acknowledgement, rest, fill, \
            cancel. Linked by our id and the venue's; pinned by the hash of each record.",
    schema: 1,
    restricted: false,
    tables: &[Table { name: "events", title: "Events", columns: &EVENTS }],
};

/// The fold.
#[derive(Debug, Default)]
pub(super) struct Trail {
    new: u64,
    refused: u64,
    final_events: u64,
    unlinked: u64,
}

/// What an event says beyond its record; empty where it says nothing.
#[derive(Default)]
struct Event {
    name: &'static str,
    client: ClientId,
    venue: Cell,
    exec: Cell,
    side: Cell,
    px: Option<Px>,
    qty: Option<Qty>,
    leaves: Option<Qty>,
    reason: String,
    decision: Option<u64>,
    limits: Option<u32>,
    age: Option<u64>,
    took: Option<u64>,
    to_sent: Option<u64>,
    to_ack: Option<u64>,
    ts: Cell,
    queried: bool,
    symbol: Cell,
    order: Option<Order>,
}

impl Fold for Trail {
    fn take(&mut self, world: &World, turn: &Turn<'_>, out: &mut Sheet) -> Result<()> {
        if turn.phase != Phase::Within {
            return Ok(());
        }
        match self.event(world, turn) {
            Some(event) => self.write(world, turn, event, out),
            None => Ok(()),
        }
    }

    fn close(&mut self, _: &World, out: &mut Sheet) -> Result<()> {
        out.figure("Events", out.rows(0), "");
        out.figure("Orders decided", self.new, "");
        out.figure("Refused by our gate", self.refused, "");
        out.figure("Orders ended", self.final_events, "");
        out.figure("Events of orders not ours", self.unlinked, "");
        Ok(())
    }
}

fn micros(later: Mono, earlier: Option<Mono>) -> Option<u64> {
    earlier.map(|earlier| later.since(earlier) / 1000)
}

impl Trail {
    fn event(&mut self, world: &World, turn: &Turn<'_>) -> Option<Event> {
        let life = |id: &ClientId| world.orders.get(id);
        Some(match turn.fact {
            Fact::Approved(decision) => self.decided(world, turn, &decision, true),
            Fact::Refused(decision) => self.decided(world, turn, &decision, false),
            Fact::NotSized(fact) => Event {
                name: "NOT_SIZED",
                reason: format!("{:?}", fact.order.bound),
                symbol: world.symbol(fact.order.instrument).into(),
                side: word(fact.order.side),
                order: Some(fact.order),
                ..Event::default()
            },
            Fact::Sent(sent) => Event {
                name: if sent.outcome == SentOutcome::Wire { "SENT" } else { "NOT_SENT" },
                client: sent.client,
                reason: if sent.outcome == SentOutcome::Wire {
                    format!("{:?}", sent.op)
                } else {
                    format!("{:?} {:?}", sent.op, sent.outcome)
                },
                took: Some(sent.took).filter(|took| *took != 0),
                to_sent: if sent.op == Op::New {
                    micros(sent.at, life(&sent.client).map(|life| life.mono))
                } else {
                    None
                },
                ..Event::default()
            },
            Fact::Ack(ack) => Event {
                name: if ack.code == 0 { "ACK" } else { "REJECT_VENUE" },
                client: ack.client,
                venue: ack.venue.into(),
                reason: if ack.code == 0 { format!("{:?}", ack.op) } else { format!("{:?} {}", ack.op, ack.code) },
                to_ack: if ack.op == Op::New {
                    micros(ack.recv, life(&ack.client).and_then(|life| life.sent))
                } else {
                    None
                },
                ts: ack.ts.into(),
                ..Event::default()
            },
            Fact::Update(update) => {
                self.final_events += u64::from(update.status.is_final() && !update.queried.is_set());
                Event {
                    name: status(update.status),
                    client: update.client,
                    venue: update.venue.into(),
                    side: word(update.side),
                    px: Some(update.px),
                    qty: Some(update.qty),
                    leaves: Some(update.leaves),
                    reason: update.reason.as_str().to_owned(),
                    ts: update.updated.into(),
                    queried: update.queried.is_set(),
                    symbol: world.symbol(update.instrument).into(),
                    ..Event::default()
                }
            }
            Fact::Fill(fill) if turn.counted.is_some() && fill.kind != ExecKind::Funding => Event {
                name: if fill.leaves.is_zero() { "FILL" } else { "PARTIAL" },
                client: fill.client,
                venue: fill.venue.into(),
                exec: fill.exec.into(),
                side: word(fill.side),
                px: Some(fill.px),
                qty: Some(fill.qty),
                leaves: Some(fill.leaves),
                reason: format!("{:?}", fill.kind),
                ts: fill.ts.into(),
                queried: fill.queried.is_set(),
                symbol: world.symbol(fill.instrument).into(),
                ..Event::default()
            },
            _ => return None,
        })
    }

    fn decided(&mut self, world: &World, turn: &Turn<'_>, decision: &Decision, approved: bool) -> Event {
        let order = decision.order;
        self.new += u64::from(approved && order.op == Op::New);
        self.refused += u64::from(!approved);
        let name = match (approved, order.op) {
            (false, _) => "REJECT_LOCAL",
            (_, Op::New) => "NEW",
            (_, Op::Amend) => "AMEND_REQ",
            (_, Op::Cancel) => "CANCEL_REQ",
        };
        let names: Vec<_> = decision.failures().map(keel_risk::Refusal::name).collect();
        Event {
            name,
            // the id of a refused new order is given to the next one: it names nothing
            client: if approved || order.op != Op::New { order.client } else { ClientId::NONE },
            side: word(order.side),
            px: Some(order.px),
            qty: Some(order.qty),
            reason: names.join(" "),
            decision: Some(turn.entry.seq.0),
            limits: Some(decision.limits),
            age: decision.data_age().map(|age| age / 1000),
            symbol: world.symbol(order.instrument).into(),
            order: Some(order),
            ..Event::default()
        }
    }

    fn write(&mut self, world: &World, turn: &Turn<'_>, event: Event, out: &mut Sheet) -> Result<()> {
        let life: Option<&Life> = world.orders.get(&event.client);
        let order = event.order.or(life.map(|life| life.order));
        self.unlinked += u64::from(order.is_none());
        let entry = turn.entry;
        let seat = order.and_then(|order| world.seat_of(order.instrument)).map(|at| &world.seats[at]);
        let symbol = match event.symbol {
            Cell::Null => seat.map(|seat| seat.symbol.clone()).into(),
            named => named,
        };
        let side = if event.side == Cell::Null { order.map(|order| word(order.side)).into() } else { event.side };
        let venue = match (event.venue, life) {
            (Cell::Null, Some(life)) => life.venue.into(),
            (named, _) => named,
        };
        let limited = event.name != "NOT_SIZED";
        out.row(
            0,
            vec![
                entry.seq.0.into(),
                entry.wall.into(),
                entry.mono.nanos().into(),
                Some(entry.clock_error).filter(|error| *error != u32::MAX).into(),
                event.name.into(),
                client(event.client),
                venue,
                event.exec,
                order.map(|order| order.cause.0).filter(|cause| *cause != 0).into(),
                world.account(),
                order.map(|order| format!("strategy {}, model {}", order.strategy.0, order.model)).into(),
                world.start.map(|start| format!("keel {}", start.build)).into(),
                Cell::Null,
                symbol,
                side,
                order.map(|order| word(order.kind)).into(),
                order.map(|order| word(order.tif)).into(),
                event.px.filter(|_| limited).into(),
                Cell::Null,
                event.qty.into(),
                event.leaves.into(),
                order.map(|order| order.reduce_only.is_set()).into(),
                event.reason.into(),
                event.decision.or(life.map(|life| life.seq.0)).into(),
                event.limits.into(),
                seat.map(|seat| seat.market_seq).into(),
                event.age.into(),
                event.took.into(),
                event.to_sent.into(),
                event.to_ack.into(),
                event.ts,
                event.queried.into(),
                hex(&turn.leaf).into(),
                turn.chain.map(|(before, _)| hex(&before)).into(),
                turn.chain.map(|(_, after)| hex(&after)).into(),
                world.name.clone().into(),
            ],
        )
    }
}

const fn status(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::Unrecognised => "UNRECOGNISED",
        OrderStatus::New => "RESTING",
        OrderStatus::PartiallyFilled => "RESTING_PARTIAL",
        OrderStatus::Untriggered => "WAITING",
        OrderStatus::Triggered => "TRIGGERED",
        OrderStatus::Filled => "DONE_FILLED",
        OrderStatus::Cancelled => "CANCELLED",
        OrderStatus::Rejected => "REJECTED",
        OrderStatus::Deactivated => "EXPIRED",
        OrderStatus::Absent => "ABSENT",
    }
}

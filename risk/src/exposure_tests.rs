//! Exposure against a venue that answers late, twice, out of order or not at all.

use crate::gate::tests::{Desk, limits, px};
use crate::refusal::Refusal;
use keel_core::event::{Ack, ExecEvent, ExecKind, Fill, Flag, Op, Order, OrderStatus, OrderUpdate, Side};
use keel_core::ids::{ClientId, VenueId};
use keel_core::orders::Change;
use keel_core::permit::Gate as _;
use keel_core::position::Position;
use keel_core::units::{Notional, Qty, SCALE};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

const LOT: i64 = SCALE / 100;
const CAP: i64 = 6_000;

#[derive(Clone, Copy, Debug)]
struct Resting {
    order: Order,
    filled: Qty,
}

/// The truth at the venue, and three streams of news about it that keep no order between them.
#[derive(Default)]
struct Venue {
    inbox: VecDeque<Order>,
    live: BTreeMap<ClientId, Resting>,
    position: i64,
    executions: u64,
    acks: VecDeque<Ack>,
    updates: VecDeque<OrderUpdate>,
    fills: VecDeque<Fill>,
}

impl Venue {
    fn tell(&mut self, row: Resting, status: OrderStatus) {
        let Order { client, px, qty, instrument, side, .. } = row.order;
        let filled = row.filled;
        self.updates.push_back(OrderUpdate {
            client,
            px,
            qty,
            instrument,
            side,
            status,
            filled,
            ..OrderUpdate::default()
        });
    }

    fn process(&mut self) {
        let Some(order) = self.inbox.pop_front() else { return };
        let ack = Ack { client: order.client, op: order.op, ..Ack::default() };
        let refusal = Ack { code: 110_001, ..ack };
        match (order.op, self.live.get_mut(&order.client)) {
            (Op::New, _) => {
                let row = Resting { order, filled: Qty::ZERO };
                self.live.insert(order.client, row);
                self.tell(row, OrderStatus::New);
                self.acks.push_back(ack);
            }
            (Op::Amend, Some(row)) if order.qty > row.filled => {
                (row.order.qty, row.order.px) = (order.qty, order.px);
                let row = *row;
                self.tell(row, OrderStatus::New);
                self.acks.push_back(ack);
            }
            (Op::Cancel, Some(row)) => {
                let row = *row;
                self.live.remove(&order.client);
                self.tell(row, OrderStatus::Cancelled);
                self.acks.push_back(ack);
            }
            (Op::Amend | Op::Cancel, _) => self.acks.push_back(refusal),
        }
    }

    fn trade(&mut self, pick: usize, part: i64) {
        if self.live.is_empty() {
            return;
        }
        let client = *self.live.keys().nth(pick % self.live.len()).unwrap();
        let row = self.live.get_mut(&client).unwrap();
        let qty = Qty::from_raw((row.order.qty - row.filled).raw().min(part * LOT));
        row.filled += qty;
        self.position += row.order.side.signed(qty).raw();
        self.executions += 1;
        let exec = VenueId::new(format!("e{}", self.executions).as_bytes()).unwrap();
        let (side, px) = (row.order.side, row.order.px);
        let row = *row;
        let done = row.filled == row.order.qty;
        if done {
            self.live.remove(&client);
        }
        self.fills.push_back(Fill { client, qty, px, side, exec, kind: ExecKind::Trade, ..Fill::default() });
        self.tell(row, if done { OrderStatus::Filled } else { OrderStatus::PartiallyFilled });
    }

    /// The furthest this side can still go, in coins, whatever of the unanswered requests arrives.
    fn corner(&self, side: Side) -> i64 {
        let asked = |order: &Order| {
            let amends = self.inbox.iter().filter(|o| o.client == order.client && o.op == Op::Amend);
            amends.map(|o| o.qty.raw()).fold(order.qty.raw(), i64::max)
        };
        let live =
            self.live.values().filter(|row| row.order.side == side).map(|row| asked(&row.order) - row.filled.raw());
        let coming = self.inbox.iter().filter(|o| o.op == Op::New && o.side == side).map(asked);
        side.signed(Qty::from_raw(self.position)).raw() + live.sum::<i64>() + coming.sum::<i64>()
    }
}

struct World {
    desk: Desk,
    venue: Venue,
    position: Position,
    changes: BTreeMap<ClientId, Change>,
}

impl World {
    fn new() -> Self {
        let mut limits = limits();
        limits.instrument.max_position = Notional::whole(CAP);
        limits.max_unproven = 100;
        limits.duplicate_window = 0;
        (limits.message_rate, limits.message_burst) = (1_000_000, 1_000_000);
        limits
            .strategies
            .iter_mut()
            .for_each(|row| (row.rate, row.max_rejects, row.max_executions) = (1_000_000, 256, 256));
        Self {
            desk: Desk::new(limits),
            venue: Venue::default(),
            position: Position::default(),
            changes: BTreeMap::new(),
        }
    }

    fn moved(&mut self, change: Option<Change>) {
        if let Some(change) = change {
            self.changes.insert(change.client, change);
            self.desk.gate.order(self.desk.now, &change);
        }
    }

    fn send(&mut self, order: Order) {
        if self.desk.ask(&order).first == Refusal::None {
            let change = self.desk.orders.admit(self.desk.now.mono, &order).unwrap();
            self.moved(change);
            self.venue.inbox.push_back(order);
        }
    }

    fn hear(&mut self, event: ExecEvent) {
        self.desk.gate.exec(self.desk.now, &event);
        let effect = self.desk.orders.apply(&event);
        self.moved(effect.change);
        if let (ExecEvent::Fill(fill), true) = (&event, effect.fresh) {
            self.position = self.position.after(fill).unwrap();
            self.desk.gate.position(self.desk.now, fill.instrument, &self.position);
        }
    }

    fn open(&self, pick: usize) -> Option<Order> {
        let rows = self.desk.orders.open();
        (!rows.is_empty()).then(|| rows[pick % rows.len()].order)
    }

    fn step(&mut self, what: u8, pick: usize, lots: i64, buy: bool) {
        let side = if buy { Side::Buy } else { Side::Sell };
        // prices that never meet our own other side
        let price = if buy { px("49900") } else { px("50100") };
        match what {
            0..=2 => {
                let order = Order { qty: Qty::from_raw(lots * LOT), px: price, side, ..Order::default() };
                let tagged = Order { reduce_only: Flag::from(what == 2), client: self.desk.orders.next_id(), ..order };
                // the model venue does not shrink reduce-only orders, so they are only asked about, not sent
                if what == 2 {
                    self.desk.ask(&tagged);
                } else {
                    self.send(tagged);
                }
            }
            3 => {
                let Some(order) = self.open(pick) else { return };
                self.send(Order { op: Op::Amend, qty: Qty::from_raw(lots * LOT), ..order });
            }
            4 => {
                let Some(order) = self.open(pick) else { return };
                self.send(Order { op: Op::Cancel, ..order });
            }
            5 | 6 => self.venue.process(),
            7 => self.venue.trade(pick, lots),
            8 => {
                let Some(ack) = self.venue.acks.pop_front() else { return };
                // one answer in four is lost
                if !pick.is_multiple_of(4) {
                    self.hear(ExecEvent::Ack(ack));
                }
            }
            9 => {
                let Some(update) = self.venue.updates.pop_front() else { return };
                self.hear(ExecEvent::Order(update));
            }
            10 => {
                let Some(fill) = self.venue.fills.front().copied() else { return };
                if !pick.is_multiple_of(4) {
                    self.venue.fills.pop_front(); // otherwise it will be told twice
                }
                self.hear(ExecEvent::Fill(fill));
            }
            _ => {
                self.desk.pass(3_000);
                while let Some(change) = self.desk.orders.silence(self.desk.now.mono, 2_000_000_000) {
                    self.moved(Some(change));
                }
            }
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let holding = self.desk.gate.exposure().holdings()[0];
        for side in [Side::Buy, Side::Sell] {
            let open: i64 = self.changes.values().filter(|c| c.side == side).map(|c| c.after.raw()).sum();
            prop_assert_eq!(holding.open[side.index()].raw(), open, "the sum is the recount");
            let ours = side.signed(holding.position).raw() + open;
            prop_assert!(
                self.venue.corner(side) <= ours,
                "{:?}: truth {} ours {}",
                side,
                self.venue.corner(side),
                ours
            );
            let value = holding.corner(side, Qty::ZERO);
            prop_assert!(value <= i128::from(Notional::whole(CAP).raw()), "{:?} {}", side, value);
        }
        prop_assert_eq!(self.desk.gate.exposure().gross(), holding.worst_value());
        let resting = |side: Side| {
            let prices = self
                .changes
                .values()
                .filter(|c| c.side == side && !(c.to.is_final() && c.after.is_zero()))
                .map(|c| c.px);
            if side == Side::Buy { prices.max() } else { prices.min() }
        };
        for side in [Side::Buy, Side::Sell] {
            prop_assert_eq!(holding.best[side.index()], resting(side).unwrap_or_default());
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn no_interleaving_of_sends_acks_fills_and_cancels_exceeds_the_limit(
        steps in prop::collection::vec((0u8..12, any::<usize>(), 1i64..6, any::<bool>()), 1..120)
    ) {
        let mut world = World::new();
        for (what, pick, lots, buy) in steps {
            world.step(what, pick, lots, buy);
            world.check()?;
        }
    }
}

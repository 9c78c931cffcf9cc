//! Scenarios named as sentences, many of them public incidents of other order managers, and one small venue that says
//! everything late, twice and out of order.

use super::*;
use crate::event::Flag;
use crate::units::Px;
use proptest::prelude::*;

const OK: i32 = 0;
const TIMEOUT: i32 = 10_016;
const BAD_PARAMETER: i32 = 10_001;
const NOT_EXISTS: i32 = 110_001;
const DUPLICATE_LINK: i32 = 110_072;
const SECOND: u64 = 1_000_000_000;

fn id(count: u32) -> ClientId {
    ClientId::new(1, count)
}

fn at(seconds: u64) -> Mono {
    Mono::from_nanos(seconds * SECOND)
}

fn new(count: u32, qty: i64) -> Order {
    Order { client: id(count), px: Px::whole(100), qty: Qty::whole(qty), ..Order::default() }
}

fn admitted(count: u32, qty: i64) -> Orders {
    let mut orders = Orders::new(1);
    for count in 1..=count {
        orders.admit(at(0), &new(count, qty)).unwrap();
    }
    orders
}

/// One order of `qty` whose bytes left.
fn sent(qty: i64) -> Orders {
    let mut orders = admitted(1, qty);
    orders.sent(&wire(1, Op::New, SentOutcome::Wire));
    orders
}

/// One order of `qty` that the stream shows resting.
fn live(qty: i64) -> Orders {
    let mut orders = sent(qty);
    orders.update(&shown(1, OrderStatus::New, qty, 0, 1));
    orders
}

fn wire(count: u32, op: Op, outcome: SentOutcome) -> Sent {
    Sent { client: id(count), op, outcome, ..Sent::default() }
}

fn ack(count: u32, op: Op, code: i32) -> Ack {
    Ack { client: id(count), op, code, ..Ack::default() }
}

fn shown(count: u32, status: OrderStatus, qty: i64, filled: i64, updated: u64) -> OrderUpdate {
    OrderUpdate {
        client: id(count),
        status,
        px: Px::whole(100),
        qty: Qty::whole(qty),
        filled: Qty::whole(filled),
        updated: Wall::from_millis(updated),
        venue: VenueId::new(b"v-1").unwrap(),
        recv: at(1),
        ..OrderUpdate::default()
    }
}

fn queried(seconds: u64, update: OrderUpdate) -> OrderUpdate {
    OrderUpdate { queried: Flag::Yes, recv: at(seconds), ..update }
}

fn absent(count: u32) -> OrderUpdate {
    OrderUpdate { client: id(count), status: OrderStatus::Absent, queried: Flag::Yes, ..OrderUpdate::default() }
}

fn fill(count: u32, exec: &str, qty: i64) -> Fill {
    Fill {
        client: id(count),
        exec: VenueId::new(exec.as_bytes()).unwrap(),
        qty: Qty::whole(qty),
        kind: ExecKind::Trade,
        ..Fill::default()
    }
}

#[track_caller]
fn check(orders: &Orders, state: State, open: i64) {
    let row = orders.get(id(1)).expect("still in the table");
    assert_eq!((row.state, row.open()), (state, Qty::whole(open)));
}

fn amend(orders: &mut Orders, px: i64, qty: i64) {
    let order = Order { op: Op::Amend, px: Px::whole(px), qty: Qty::whole(qty), ..new(1, qty) };
    orders.admit(at(10), &order).unwrap();
}

fn cancel(orders: &mut Orders, seconds: u64) {
    orders.admit(at(seconds), &Order { op: Op::Cancel, ..new(1, 1) }).unwrap();
}

// nautilus_trader#4958, barter-rs, hftbacktest, hummingbot: a timer that turns silence into "rejected"
#[test]
fn silence_makes_an_order_unknown_and_keeps_all_of_it_reserved() {
    let mut orders = sent(3);
    assert!(orders.silence(at(1), 2 * SECOND).is_none());
    let change = orders.silence(at(2), 2 * SECOND).unwrap();
    assert_eq!((change.to, change.after), (State::Unknown, Qty::whole(3)));
    assert!(orders.silence(at(99), 2 * SECOND).is_none(), "and no amount of time changes that");
    check(&orders, State::Unknown, 3);
}

// hummingbot#8457, #3374: orders dropped after a network error filled hours later
#[test]
fn an_order_lost_to_the_network_that_fills_hours_later_is_still_ours() {
    let mut orders = sent(3);
    orders.ack(&ack(1, Op::New, TIMEOUT));
    check(&orders, State::Unknown, 3);
    let effect = orders.fill(&fill(1, "e-1", 3));
    assert!(effect.fresh && !effect.foreign);
    assert_eq!(effect.change.unwrap().to, State::Filled);
}

#[test]
fn unknown_ends_by_stream_by_query_by_refusal_or_by_absence_and_by_nothing_else() {
    type Proof = fn(&mut Orders) -> Effect;
    let rows: [(Proof, Option<State>); 7] = [
        (|o| o.update(&shown(1, OrderStatus::New, 3, 0, 1)), Some(State::Live)),
        (|o| o.update(&queried(3, shown(1, OrderStatus::Cancelled, 3, 0, 1))), None),
        (|o| o.ack(&ack(1, Op::New, BAD_PARAMETER)), None),
        (|o| o.update(&absent(1)), None),
        (|o| o.ack(&ack(1, Op::New, OK)), Some(State::Unknown)),
        (|o| o.ack(&ack(1, Op::New, DUPLICATE_LINK)), Some(State::Unknown)),
        (|o| o.ack(&ack(1, Op::New, 999_999)), Some(State::Unknown)),
    ];
    for (proof, expected) in rows {
        let mut orders = sent(3);
        orders.silence(at(9), SECOND).unwrap();
        proof(&mut orders);
        assert_eq!(orders.get(id(1)).map(|row| row.state), expected);
    }
}

// barter-rs#206: a late REST "NEW" resurrects an order already filled on the stream
#[test]
fn a_late_word_about_a_filled_order_does_not_bring_it_back() {
    let mut orders = live(3);
    orders.fill(&fill(1, "e-1", 3));
    assert!(orders.open().is_empty());
    for effect in [
        orders.update(&queried(9, shown(1, OrderStatus::New, 3, 0, 1))),
        orders.ack(&ack(1, Op::New, OK)),
        orders.ack(&ack(1, Op::New, BAD_PARAMETER)),
        orders.update(&shown(1, OrderStatus::Filled, 3, 3, 9)),
    ] {
        assert_eq!(effect, Effect::default());
    }
    assert!(orders.open().is_empty());
}

// nautilus_trader#4411, #4991: revived stale legs; the other way round: what we wrote off is alive
#[test]
fn an_order_taken_for_absent_that_shows_up_is_reserved_again_and_told() {
    let mut orders = sent(3);
    orders.silence(at(9), SECOND).unwrap();
    assert_eq!(orders.update(&absent(1)).difference.unwrap().kind, DifferenceKind::Absent);
    assert!(orders.open().is_empty());
    let effect = orders.update(&OrderUpdate { leaves: Qty::whole(3), ..shown(1, OrderStatus::New, 3, 0, 1) });
    assert_eq!(effect.difference.unwrap().kind, DifferenceKind::Revived);
    assert_eq!((effect.change.unwrap().before, effect.change.unwrap().after), (Qty::ZERO, Qty::whole(3)));
    check(&orders, State::Live, 3);
}

// nautilus_trader#4215: a retry after the acceptance had already arrived doubles the order
#[test]
fn a_duplicate_id_means_the_first_try_landed() {
    let mut orders = live(3);
    orders.ack(&ack(1, Op::New, DUPLICATE_LINK));
    check(&orders, State::Live, 3);
}

// nautilus_trader#5000: a killed process that drops working orders at its restart
#[test]
fn a_successor_of_a_killed_run_keeps_every_order_until_the_venue_speaks() {
    let mut orders = admitted(3, 5);
    orders.sent(&wire(2, Op::New, SentOutcome::Wire));
    orders.update(&shown(3, OrderStatus::New, 5, 0, 1));
    let mut orders = orders.succeeded_by(2);
    let states: Vec<_> = (1..=3).map(|count| orders.get(id(count)).unwrap().state).collect();
    assert_eq!(states, [State::Unknown, State::Unknown, State::Live]);
    assert_eq!(orders.next_id(), ClientId::new(2, 1), "ids are never used again");
    orders.admit(at(0), &Order { client: ClientId::new(2, 1), ..new(1, 1) }).unwrap();
    let effect = orders.update(&queried(1, shown(2, OrderStatus::Cancelled, 5, 0, 1)));
    assert_eq!(effect.difference.unwrap().kind, DifferenceKind::MissedEnd);
    assert_eq!(orders.open().len(), 3);
}

// hftbacktest#87: random ids collide
#[test]
fn ids_count_up_and_are_used_up_by_admission_alone() {
    let mut orders = admitted(2, 1);
    assert_eq!(orders.next_id(), id(3));
    orders.sent(&wire(2, Op::New, SentOutcome::NoBudget));
    assert!(orders.get(id(2)).is_none());
    assert_eq!(orders.next_id(), id(3));
}

#[test]
fn an_order_that_never_left_reserves_nothing() {
    for outcome in [SentOutcome::NoBudget, SentOutcome::NoLink, SentOutcome::Busy, SentOutcome::Unsayable] {
        let mut orders = admitted(1, 3);
        let change = orders.sent(&wire(1, Op::New, outcome)).change.unwrap();
        assert_eq!((change.to, change.after), (State::NotSent, Qty::ZERO));
    }
}

// nautilus_trader#4991: double-counted fills after a reconnect's replay
#[test]
fn a_fill_counts_once_however_often_and_wherever_it_is_shown() {
    let mut orders = live(3);
    assert!(orders.fill(&fill(1, "e-1", 1)).fresh);
    assert!(!orders.fill(&fill(1, "e-1", 1)).fresh);
    assert!(!orders.fill(&Fill { queried: Flag::Yes, ..fill(1, "e-1", 1) }).fresh);
    check(&orders, State::Live, 2);
}

#[test]
fn a_coin_is_open_until_its_fill_is_seen_whichever_stream_is_first() {
    let mut orders = live(3);
    orders.update(&shown(1, OrderStatus::PartiallyFilled, 3, 2, 2));
    check(&orders, State::Live, 3);
    orders.fill(&fill(1, "e-1", 2));
    check(&orders, State::Live, 1);
    orders.update(&shown(1, OrderStatus::Filled, 3, 3, 3));
    check(&orders, State::Settling, 1);
    let change = orders.fill(&fill(1, "e-2", 1)).change.unwrap();
    assert_eq!((change.before, change.after, change.to), (Qty::whole(1), Qty::ZERO, State::Filled));
    assert!(orders.open().is_empty());
}

#[test]
fn a_cancel_that_lost_the_race_leaves_what_was_filled() {
    let mut orders = live(3);
    cancel(&mut orders, 10);
    orders.ack(&ack(1, Op::Cancel, NOT_EXISTS));
    check(&orders, State::Live, 3);
    orders.update(&shown(1, OrderStatus::Cancelled, 3, 1, 2));
    check(&orders, State::Settling, 1);
    assert_eq!(orders.fill(&fill(1, "e-1", 1)).change.unwrap().to, State::Cancelled);
}

#[test]
fn an_amend_in_flight_counts_at_its_worst_until_the_stream_shows_it() {
    let mut orders = live(3);
    amend(&mut orders, 105, 5);
    check(&orders, State::Live, 5);
    orders.ack(&ack(1, Op::Amend, OK));
    assert_eq!(orders.get(id(1)).unwrap().worst_px(), Px::whole(105), "accepted is not done");
    orders.update(&OrderUpdate { px: Px::whole(105), ..shown(1, OrderStatus::New, 5, 0, 2) });
    let row = orders.get(id(1)).unwrap();
    assert_eq!((row.pending, row.amended, row.order.qty), (None, None, Qty::whole(5)));
    amend(&mut orders, 90, 1);
    assert_eq!(
        (orders.get(id(1)).unwrap().open(), orders.get(id(1)).unwrap().worst_px()),
        (Qty::whole(5), Px::whole(105))
    );
    orders.ack(&ack(1, Op::Amend, BAD_PARAMETER));
    check(&orders, State::Live, 5);
}

#[test]
fn the_refusal_of_one_of_two_amends_does_not_forget_the_other() {
    let mut orders = live(3);
    amend(&mut orders, 100, 9);
    amend(&mut orders, 100, 4);
    orders.ack(&ack(1, Op::Amend, BAD_PARAMETER));
    check(&orders, State::Live, 9);
    orders.ack(&ack(1, Op::Amend, BAD_PARAMETER));
    check(&orders, State::Live, 3);
}

#[test]
fn an_old_picture_does_not_undo_a_newer_one() {
    let mut orders = live(3);
    orders.update(&shown(1, OrderStatus::New, 7, 0, 9));
    orders.update(&queried(3, shown(1, OrderStatus::New, 3, 0, 4)));
    check(&orders, State::Live, 7);
}

#[test]
fn doubt_about_a_cancel_lasts_until_it_can_no_longer_happen_and_then_it_may_be_asked_again() {
    let mut orders = live(3);
    cancel(&mut orders, 10);
    orders.silence(at(13), SECOND).unwrap();
    orders.update(&queried(14, shown(1, OrderStatus::New, 3, 0, 1)));
    check(&orders, State::Unknown, 3);
    orders.update(&queried(20, shown(1, OrderStatus::New, 3, 0, 1)));
    check(&orders, State::Live, 3);
    assert_eq!(orders.get(id(1)).unwrap().pending, None);
}

#[test]
fn a_venue_that_refuses_what_it_showed_is_asked_and_the_order_stays_reserved() {
    let mut orders = live(3);
    orders.ack(&ack(1, Op::New, BAD_PARAMETER));
    check(&orders, State::Unknown, 3);
    orders.update(&absent(1));
    check(&orders, State::Unknown, 3);
    orders.update(&queried(3, shown(1, OrderStatus::New, 3, 0, 1)));
    check(&orders, State::Live, 3);
}

#[test]
fn what_we_never_ordered_is_accepted_and_told() {
    let mut orders = live(3);
    let liquidation = Fill { client: ClientId::NONE, kind: ExecKind::Liquidation, ..fill(1, "e-9", 2) };
    let effect = orders.fill(&liquidation);
    assert!(effect.fresh && effect.foreign && effect.change.is_none());
    assert_eq!(effect.difference.unwrap().kind, DifferenceKind::ForeignFill);
    for client in [ClientId::NONE, ClientId::new(1, 2), ClientId::new(9, 1)] {
        let effect = orders.update(&OrderUpdate { client, ..shown(1, OrderStatus::New, 3, 0, 1) });
        let difference = effect.difference.unwrap();
        assert_eq!((difference.kind, difference.resolution), (DifferenceKind::ForeignOrder, Resolution::Alarmed));
    }
    let funding = Fill { client: ClientId::NONE, kind: ExecKind::Funding, ..fill(1, "e-10", 2) };
    let effect = orders.fill(&funding);
    assert!(effect.fresh && !effect.foreign && effect.difference.is_none());
    check(&orders, State::Live, 3);
}

#[test]
fn a_fill_only_a_question_told_of_is_a_difference() {
    let mut orders = live(3);
    let effect = orders.fill(&Fill { queried: Flag::Yes, ..fill(1, "e-1", 1) });
    assert_eq!(effect.difference.unwrap().kind, DifferenceKind::MissedFill);
}

#[test]
fn the_table_is_bounded_and_says_so() {
    let mut orders = admitted(u32::try_from(MAX_ORDERS).unwrap(), 1);
    let next = Order { client: orders.next_id(), ..new(1, 1) };
    assert_eq!(orders.admit(at(0), &next), Err(OrdersFull));
    orders.sent(&wire(7, Op::New, SentOutcome::NoBudget));
    assert!(orders.admit(at(0), &next).is_ok());
}

/// A venue with one order of ours: what is true there, and what it has said that we have not heard yet.
struct Venue {
    qty: i64,
    filled: i64,
    open: bool,
    clock: u64,
    requests: Vec<Order>,
    acks: Vec<Ack>,
    updates: Vec<OrderUpdate>,
    fills: Vec<Fill>,
    heard: Vec<Fill>,
}

impl Venue {
    fn show(&mut self, status: OrderStatus) {
        self.clock += 1;
        let update = shown(1, status, self.qty, self.filled, self.clock);
        self.updates.push(OrderUpdate { leaves: Qty::whole(self.qty - self.filled), ..update });
    }

    fn status(&self) -> OrderStatus {
        match (self.open, self.filled) {
            (true, 0) => OrderStatus::New,
            (true, _) => OrderStatus::PartiallyFilled,
            (false, filled) if filled == self.qty => OrderStatus::Filled,
            (false, _) => OrderStatus::Cancelled,
        }
    }

    /// Works off the oldest request it has received.
    fn work(&mut self) {
        if self.requests.is_empty() {
            return;
        }
        let order = self.requests.remove(0);
        let qty = order.qty.raw() / crate::units::SCALE;
        let code = match order.op {
            Op::New => {
                (self.open, self.qty) = (true, qty);
                OK
            }
            _ if !self.open => NOT_EXISTS,
            Op::Amend if qty <= self.filled => 110_064,
            Op::Amend => {
                self.qty = qty;
                OK
            }
            Op::Cancel => {
                self.open = false;
                OK
            }
        };
        self.acks.push(ack(1, order.op, code));
        if code == OK {
            self.show(self.status());
        }
    }

    fn trade(&mut self, qty: i64) {
        if self.open && qty <= self.qty - self.filled {
            self.filled += qty;
            self.open = self.filled < self.qty;
            self.fills.push(fill(1, &format!("e-{}", self.filled), qty));
            self.show(self.status());
        }
    }

    /// Coins that may still reach our position, by everything in flight.
    fn at_risk(&self) -> i64 {
        let asked = self.requests.iter().filter(|order| order.op != Op::Cancel);
        let largest = asked.map(|order| order.qty.raw() / crate::units::SCALE).max();
        let resting = if self.open { self.qty } else { 0 };
        let reachable = match (self.open, self.requests.iter().any(|order| order.op == Op::New)) {
            (true, _) | (_, true) => resting.max(largest.unwrap_or(0)) - self.filled,
            (false, false) => 0,
        };
        reachable.max(0) + self.fills.iter().map(|fill| fill.qty.raw() / crate::units::SCALE).sum::<i64>()
    }
}

#[derive(Clone, Copy, Debug)]
enum Turn {
    Work,
    Trade(i64),
    Amend(i64),
    Cancel,
    HearAck,
    HearUpdate,
    HearFill,
    HearFillAgain,
    LoseAck,
    Query,
    Silence,
}

fn turns() -> impl Strategy<Value = Turn> {
    prop_oneof![
        3 => Just(Turn::Work),
        3 => (1i64..4).prop_map(Turn::Trade),
        1 => (1i64..12).prop_map(Turn::Amend),
        1 => Just(Turn::Cancel),
        2 => Just(Turn::HearAck),
        2 => Just(Turn::HearUpdate),
        2 => Just(Turn::HearFill),
        1 => Just(Turn::HearFillAgain),
        1 => Just(Turn::LoseAck),
        1 => Just(Turn::Query),
        1 => Just(Turn::Silence),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    /// Whatever is lost, late, doubled or out of order: what we reserve covers what can still happen to us, every fill
    /// counts once, and when everything was heard the table says what is true.
    #[test]
    fn at_no_moment_is_less_reserved_than_can_still_happen(turns in prop::collection::vec(turns(), 1..120)) {
        let mut orders = sent(6);
        let mut venue = Venue {
            qty: 0, filled: 0, open: false, clock: 1, requests: vec![new(1, 6)],
            acks: vec![], updates: vec![], fills: vec![], heard: vec![],
        };
        let mut position = 0;
        for turn in &turns {
            match *turn {
                Turn::Work => venue.work(),
                Turn::Trade(qty) => venue.trade(qty),
                Turn::Amend(qty) if orders.get(id(1)).is_some() => {
                    let order = Order { op: Op::Amend, ..new(1, qty) };
                    orders.admit(at(10), &order).unwrap();
                    venue.requests.push(order);
                }
                Turn::Cancel if orders.get(id(1)).is_some() => {
                    cancel(&mut orders, 10);
                    venue.requests.push(Order { op: Op::Cancel, ..new(1, 1) });
                }
                Turn::HearAck if !venue.acks.is_empty() => _ = orders.ack(&venue.acks.remove(0)),
                Turn::LoseAck if !venue.acks.is_empty() => drop(venue.acks.remove(0)),
                Turn::HearUpdate if !venue.updates.is_empty() => _ = orders.update(&venue.updates.remove(0)),
                Turn::HearFill if !venue.fills.is_empty() => {
                    let fill = venue.fills.remove(0);
                    let effect = orders.fill(&fill);
                    prop_assert!(effect.fresh && !effect.foreign);
                    position += fill.qty.raw() / crate::units::SCALE;
                    venue.heard.push(fill);
                }
                Turn::HearFillAgain if !venue.heard.is_empty() => {
                    prop_assert_eq!(orders.fill(&venue.heard[0]), Effect::default());
                }
                Turn::Query if venue.qty > 0 => {
                    let picture = shown(1, venue.status(), venue.qty, venue.filled, venue.clock);
                    orders.update(&queried(11, picture));
                }
                Turn::Silence => while orders.silence(at(12), SECOND).is_some() {},
                _ => {}
            }
            let reserved = orders.get(id(1)).map_or(0, |row| row.open().raw() / crate::units::SCALE);
            prop_assert!(reserved >= venue.at_risk(), "{turn:?}: {reserved} reserved, {} at risk", venue.at_risk());
        }
        cancel(&mut orders, 10);
        venue.requests.push(Order { op: Op::Cancel, ..new(1, 1) });
        while !venue.requests.is_empty() {
            venue.work();
        }
        venue.acks.iter().for_each(|ack| _ = orders.ack(ack));
        venue.updates.iter().for_each(|update| _ = orders.update(update));
        for fill in venue.fills.iter().filter(|fill| orders.fill(fill).fresh) {
            position += fill.qty.raw() / crate::units::SCALE;
        }
        prop_assert_eq!(position, venue.filled);
        prop_assert!(orders.open().is_empty(), "{:?}", orders.open());
    }

}

#[test]
fn a_copy_has_the_room_of_a_new_table() {
    let mut orders = Orders::new(1);
    orders.admit(at(0), &new(1, 1)).unwrap();
    let copy = orders.clone();
    assert_eq!(copy.open(), orders.open());
    let room = |orders: &Orders| [orders.rows.capacity(), orders.memory.capacity(), orders.finished.capacity()];
    assert_eq!(room(&copy), [MAX_ORDERS, MAX_ORDERS, MAX_FINISHED]);
    assert_eq!(copy.executions.room(), MAX_EXECUTIONS);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    /// The index and the rows against a plain list.
    #[test]
    fn every_order_is_found_where_a_scan_finds_it(ends in prop::collection::vec(1u32..600, 0..900)) {
        let mut orders = Orders::new(1);
        let mut naive: Vec<u32> = Vec::new();
        for end in ends {
            while orders.has_room() && orders.next_id().count() <= end + 20 {
                let next = orders.next_id();
                orders.admit(at(0), &new(next.count(), 1)).unwrap();
                naive.push(next.count());
            }
            orders.sent(&wire(end, Op::New, SentOutcome::NoBudget));
            naive.retain(|count| *count != end);
            prop_assert_eq!(orders.open().len(), naive.len());
            for count in 1..=620 {
                prop_assert_eq!(orders.get(id(count)).map(|row| row.order.client), naive.contains(&count).then_some(id(count)));
            }
        }
    }
}

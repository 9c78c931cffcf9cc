//! The way out of a position, one look at a time.

use super::*;
use crate::brake::State;
use crate::gate::tests::{Desk as Gated, instrument, limits, px, qty};
use crate::latch::Latch;
use crate::notice::Notice;
use keel_core::event::{Command, CommandKind, Kind, Record};
use keel_core::permit::Gate as _;
use keel_core::position::Position;

fn level(price: &str, quantity: &str) -> Level {
    Level { px: px(price), qty: qty(quantity) }
}

fn sight<'a>(row: &'a Instrument, levels: &'a [Level]) -> Sight<'a> {
    let touch = Touch { bid: level("49999", "1"), ask: level("50001", "1") };
    Sight {
        instrument: row,
        position: qty("1"),
        theirs: Some(qty("1")),
        mark: px("50000"),
        index: px("50000"),
        touch: Some(touch),
        levels,
        open: false,
        own: false,
        sure: true,
        collar: 200,
    }
}

#[test]
fn each_look_ends_in_one_stage() {
    let row = instrument("BTCUSDT");
    let bids = [level("49999", "2"), level("49800", "2"), level("49700", "100")];
    let base = sight(&row, &bids);
    // 50 bps through 50,000 is 49,750: four coins are displayed above it, a quarter is one; 10,000 USDT are 0.2
    let slice = |quantity: &str| Some(Slice { side: Side::Sell, qty: qty(quantity), px: px("49750") });
    let wick = [level("49700", "100")];
    let thin = [level("49999", "0.1")];
    let small = Instrument { min_qty: qty("0.15"), ..row };
    let rows = [
        (base, Stage::Slicing, slice("0.2")),
        (Sight { levels: &thin, ..base }, Stage::Slicing, slice("0.025")),
        (Sight { levels: &wick, ..base }, Stage::Wick, None),
        (Sight { levels: &[], ..base }, Stage::Wick, None),
        (Sight { index: px("51000"), ..base }, Stage::Wick, None),
        (Sight { mark: Px::ZERO, ..base }, Stage::Blind, None),
        (Sight { touch: None, ..base }, Stage::Blind, None),
        (Sight { sure: false, ..base }, Stage::Blind, None),
        (Sight { open: true, ..base }, Stage::Cancelling, None),
        (Sight { own: true, ..base }, Stage::Slicing, None),
        (Sight { position: qty("0.0001"), ..base }, Stage::Dust, None),
        (Sight { position: Qty::ZERO, ..base }, Stage::Verifying, None),
        (Sight { position: Qty::ZERO, theirs: None, ..base }, Stage::Verifying, None),
        (Sight { position: Qty::ZERO, theirs: Some(Qty::ZERO), ..base }, Stage::Flat, None),
        // a slice of 0.2 would leave 0.1, which no order could take
        (Sight { instrument: &small, position: qty("0.3"), ..base }, Stage::Slicing, slice("0.3")),
        // at least the smallest order, however thin the book
        (Sight { instrument: &small, levels: &thin, ..base }, Stage::Slicing, slice("0.15")),
        // never more than the position
        (Sight { position: qty("0.05"), ..base }, Stage::Slicing, slice("0.05")),
    ];
    for (at, (sight, stage, slice)) in rows.into_iter().enumerate() {
        assert_eq!(next(&sight, 50), (stage, slice), "row {at}");
    }
    let huge = Instrument { max_qty: qty("0.1"), ..row };
    assert_eq!(next(&Sight { instrument: &huge, ..base }, 50).1, slice("0.1"), "never more than the venue takes");
    let asks = [level("50001", "1")];
    let short = next(&Sight { position: qty("-1"), levels: &asks, ..base }, 50).1;
    assert_eq!(short, Some(Slice { side: Side::Buy, qty: qty("0.2"), px: px("50250") }));
    assert_eq!(next(&Sight { collar: 10, ..base }, 50).1.map(|s| s.px), Some(px("49950")), "inside the collar");
}

#[test]
fn patience_has_an_end_and_the_bound_has_a_most() {
    for (reason, seconds, bound) in [
        (Reason::Day, 0, 50),
        (Reason::Day, 29, 50),
        (Reason::Day, 30, 60),
        (Reason::Day, 3_600, 150),
        (Reason::Margin, 0, 75),
        (Reason::Margin, 4, 125),
        (Reason::Margin, 3_600, 200),
    ] {
        assert_eq!(Pace::of(reason).bound(seconds * 1_000_000_000), bound, "{reason:?} after {seconds} s");
    }
    assert_eq!(Pace::of(Reason::Day).bound(u64::MAX), 150);
}

/// A gate that holds a long, an engine's desk with a book, and what the gate said.
struct World {
    gated: Gated,
    desk: Desk,
    said: Vec<Notice>,
}

impl World {
    fn new(size: &str) -> Self {
        let mut world =
            Self { gated: Gated::new(limits()), desk: Desk::new(&crate::gate::tests::table(), 1), said: vec![] };
        world.book("49999.9", "50000.1");
        world.hold(size);
        world.theirs(size);
        world.listen();
        world
    }

    fn hold(&mut self, size: &str) {
        let position =
            Position { size: qty(size), cost: px("50000").mul_floor(qty(size)).unwrap(), ..Position::default() };
        self.gated.gate.position(self.gated.now, InstrumentId(0), &position);
    }

    fn theirs(&mut self, size: &str) {
        use keel_core::event::{ExecEvent, VenuePosition};
        let position = VenuePosition { size: qty(size), ..VenuePosition::default() };
        self.gated.gate.exec(self.gated.now, &ExecEvent::Position(position));
    }

    fn book(&mut self, bid: &str, ask: &str) {
        use keel_core::event::{BookUpdate, Health, HealthState, MarketEvent, Origin};
        let mut book = BookUpdate::empty(InstrumentId(0), 50, Origin::default(), 1);
        book.flags = BookUpdate::FIRST | BookUpdate::LAST | BookUpdate::SNAPSHOT;
        (book.levels[0], book.levels[1], book.bids, book.asks) = (level(bid, "10"), level(ask, "10"), 1, 1);
        let synced = Health { state: HealthState::Synced, ..Health::default() };
        self.desk.market(&MarketEvent::Book(book));
        self.desk.market(&MarketEvent::Health(synced));
    }

    fn listen(&mut self) {
        while let Some(notice) = self.gated.gate.notice(self.gated.now) {
            self.said.push(notice);
        }
    }

    fn say(&mut self, kind: CommandKind) {
        self.gated.gate.command(self.gated.now, &Command { kind, ..Command::default() });
        self.listen();
    }

    /// What the brake asks for now, each judged like any other order.
    fn beat(&mut self, millis: u64) -> Vec<Order> {
        self.gated.pass(millis);
        let mut all = Vec::new();
        while let Some(order) = self.gated.gate.unwind(self.gated.now, &self.desk) {
            let order = Order { client: self.desk.orders.next_id(), ..order };
            assert_eq!(self.gated.ask(&order).failing, 0, "{order:?}");
            all.push(order);
        }
        self.listen();
        all
    }

    fn stages(&self) -> Vec<Stage> {
        let stage = |notice: &Notice| if let Notice::Unwind(unwind) = notice { Some(unwind.stage) } else { None };
        self.said.iter().filter_map(stage).collect()
    }
}

#[test]
fn a_halt_for_a_loss_closes_in_slices_that_pass_the_gate_and_ends_when_the_venue_says_flat() {
    let mut world = World::new("0.5");
    world.say(CommandKind::Flatten);
    let mut left = 500;
    for _ in 0..3 {
        let [order] = world.beat(600)[..] else { panic!("one slice") };
        assert_eq!((order.strategy, order.side, order.tif), (BRAKE, Side::Sell, TimeInForce::Ioc));
        assert!(world.beat(100).is_empty(), "not before the pause is over");
        left -= order.qty.raw() / 100_000;
        world.hold(&format!("0.{left:03}"));
    }
    assert_eq!(left, 0);
    assert!(world.beat(600).is_empty());
    assert_eq!(world.gated.gate.flatten().stage(InstrumentId(0)), Stage::Verifying);
    world.theirs("0");
    assert!(world.beat(600).is_empty());
    assert_eq!(world.stages(), [Stage::Slicing, Stage::Verifying, Stage::Flat]);
}

#[test]
fn a_person_who_says_halt_keeps_the_position() {
    let mut world = World::new("0.5");
    world.say(CommandKind::Halt);
    assert!(world.beat(600).is_empty());
    assert!(world.stages().is_empty());
}

#[test]
fn another_reason_is_another_race_and_so_is_another_time() {
    let mut world = World::new("0.5");
    let bound = |world: &World| {
        let last =
            world.said.iter().rev().find_map(|said| if let Notice::Unwind(u) = said { Some(u.bound) } else { None });
        last.unwrap()
    };
    world.say(CommandKind::Flatten);
    world.book("45000", "45001");
    world.beat(600);
    world.beat(100_000);
    world.book("49999.9", "50000.1");
    world.beat(600);
    assert_eq!(bound(&world), 80, "a hundred seconds of patience");
    world.gated.arm();
    world.beat(100);
    world.say(CommandKind::Flatten);
    world.beat(600);
    assert_eq!(bound(&world), 50);
}

#[test]
fn it_waits_out_a_wick_and_goes_on_after_it() {
    let mut world = World::new("0.5");
    world.say(CommandKind::Flatten);
    world.book("45000", "45001");
    assert!(world.beat(600).is_empty() && world.beat(60_000).is_empty(), "ten per cent below the mark");
    world.book("49999.9", "50000.1");
    assert_eq!(world.beat(600).len(), 1);
    assert_eq!(world.stages(), [Stage::Wick, Stage::Slicing]);
}

#[test]
fn a_fill_or_a_liquidation_in_between_is_measured_anew() {
    let mut world = World::new("0.5");
    world.say(CommandKind::Flatten);
    assert_eq!(world.beat(600)[0].side, Side::Sell);
    world.hold("-0.1");
    let [order] = world.beat(600)[..] else { panic!("one slice") };
    assert_eq!((order.side, order.qty), (Side::Buy, qty("0.1")), "the position flipped behind our back");
    world.hold("0");
    world.theirs("0");
    assert!(world.beat(600).is_empty());
}

#[test]
fn what_the_brake_may_send_no_strategy_may() {
    let mut world = World::new("0.5");
    world.say(CommandKind::Halt);
    let order =
        Order { reduce_only: Flag::Yes, tif: TimeInForce::Ioc, ..world.gated.order(Side::Sell, "0.1", "50000") };
    assert_eq!(world.gated.ask(&order).first, crate::Refusal::Halted);
    let own = Order { strategy: BRAKE, ..order };
    assert_eq!(world.gated.ask(&own).failing, 0);
    for spoilt in [
        Order { reduce_only: Flag::No, ..own },
        Order { side: Side::Buy, ..own },
        Order { qty: qty("0.501"), ..own },
        Order { px: px("40000"), ..own },
    ] {
        assert_ne!(world.gated.ask(&spoilt).failing, 0, "{spoilt:?}");
    }
}

#[test]
fn a_restart_in_the_middle_goes_on_from_the_journal() {
    let mut world = World::new("0.5");
    world.say(CommandKind::Flatten);
    assert_eq!(world.beat(600).len(), 1);
    let mut latch = Latch::default();
    world.said.iter().for_each(|notice| latch.take(notice.kind(), notice.bytes()));
    let version = world.gated.gate.brake().version();

    let mut second = World::new("0.3");
    second.gated.gate.resume(&latch);
    assert!(second.gated.gate.brake().version() > version, "what was signed before is overtaken");
    assert_eq!(second.beat(600).len(), 1, "it goes on");
    second.gated.arm();
    assert_eq!(second.gated.gate.brake().global(), State::Active);
    assert!(second.beat(600).is_empty(), "people released it");
}

#[test]
fn a_latch_that_cannot_be_read_is_a_halt() {
    let mut latch = Latch::default();
    latch.take(Kind::Trip, &[7; 3]);
    assert_eq!(latch.brake().global(), State::Halted);
    assert_eq!(Latch::default().brake().global(), State::Halted, "and so is no journal at all");
}

#[test]
fn a_breach_of_value_at_risk_shrinks_the_worst_part_and_no_further() {
    let mut tight = limits();
    tight.max_stress = Notional::whole(10_000);
    let mut world = World::new("0.5");
    world.gated = Gated::new(tight);
    // 25,000 USDT lose 13,083 in March 2020: 131 % of the limit
    world.hold("0.5");
    world.theirs("0.5");
    world.gated.gate.tick(world.gated.now);
    world.listen();
    assert_eq!(world.gated.gate.brake().unwinds(), Some(Reason::Stress));
    assert_eq!(world.beat(600).len(), 1);
    world.hold("0.3"); // 7,850 is 78 %
    world.gated.pass(2_000);
    world.gated.gate.tick(world.gated.now);
    assert!(world.beat(600).is_empty());
    assert_eq!(world.stages().last(), Some(&Stage::Enough));
}

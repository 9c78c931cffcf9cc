//! What brakes and limits have failed by before, as far as it happens in this room. `knight.md` lists every case, with the
//! room and the test it has.

use crate::brake::{Reason, Scope, State};
use crate::exposure::Legs;
use crate::gate::tests::{Desk, instrument, limits, px, qty, table};
use crate::limits::{Limits, LimitsError, TailLimits};
use crate::refusal::Refusal;
use crate::trips::{Cause, Level, Readings, TripLimits, Trips};
use crate::var::{Outcomes, Scenarios, Shock, measure};
use crate::{Gate, backtest, history};
use keel_core::event::{
    Channel, CommandKind, ExecEvent, Flag, LinkState, MarketEvent, Op, Order, OrderKind, Origin, Side, Ticker,
    TimeInForce, VenueStatus, Wallet,
};
use keel_core::ids::{ClientId, InstrumentId, StrategyId, Symbol};
use keel_core::orders::{Change, State as Life};
use keel_core::permit::Gate as _;
use keel_core::position::Position;
use keel_core::units::{Mono, Notional, Now, Px, Qty, Wall};

const NONE: [f64; 3] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

fn first(desk: &mut Desk, side: Side, quantity: &str, price: &str) -> Refusal {
    let order = desk.order(side, quantity, price);
    desk.ask(&order).first
}

/// Bought at 50,000, worth `mark`.
fn bought(desk: &mut Desk, size: &str, mark: &str) {
    let size = qty(size);
    let cost = px("50000").mul_floor(size).unwrap();
    desk.gate.position(desk.now, InstrumentId(0), &Position { size, cost, ..Position::default() });
    desk.refresh(InstrumentId(0), mark);
}

#[test]
fn a_number_that_is_none_is_never_a_permission() {
    for bad in NONE.into_iter().chain([f64::MIN_POSITIVE / 2.0]) {
        let series = [0.01, bad, -0.01];
        let named = [(instrument("BTCUSDT").symbol, &series[..])];
        assert_eq!(Scenarios::new(&table(), &named).err(), Some(LimitsError::BadScenarios), "{bad}");
    }
    for bad in NONE {
        assert_eq!(measure(&mut [0.1, bad], 500), None);
        assert_eq!(history::ewma_var(&[bad; 30], 0.94, 100), None);
        assert_eq!(history::filtered(&[bad; 200], 0.94, 100), None);
        assert_eq!(history::moments(&[0.1, bad]), None);
        assert_eq!(history::age_weighted(&[bad], 0.98, 100), None);
        assert_eq!(history::shortfall_components(&[&[bad]], &[1.0], 100), None);
        assert_eq!(backtest::historical(&[0.1, bad, 0.1, 0.1], 2, 5_000), None);
        assert_eq!(backtest::kupiec(250, 3, bad), None);
    }
    // -0 and 0 are the same day, to the bit
    let zeros = [-0.0, 0.0, -0.02, 0.03];
    let plain = [0.0, 0.0, -0.02, 0.03];
    let of = |series: &[f64]| {
        let mut book = Outcomes::new(Scenarios::new(&table(), &[(instrument("BTCUSDT").symbol, series)]).unwrap());
        book.update(InstrumentId(0), Legs { position: -5.0, buys: 3.0, sells: 2.0 });
        let seen = book.tail(0.05, Shock { instrument: InstrumentId(0), value: -0.0, cost: 0.0 });
        (book.worst().map(f64::to_bits).collect::<Vec<_>>(), seen)
    };
    assert_eq!(of(&zeros), of(&plain));
}

#[test]
fn a_reading_that_is_no_number_halts_and_one_that_is_missing_does_not_calm() {
    let mut trips = Trips::default();
    trips.wallet(Now::default(), Notional::whole(100_000), Notional::ZERO);
    let at = |s: u64| Now { mono: Mono::from_millis(s * 1_000), wall: Wall::from_millis(1_900_000_000_000) };
    // a loss that is NaN reaches the ladder as the largest there is
    let readings = Readings { value_at_risk: Some(i64::MAX), ..Readings::default() };
    trips.look(at(0), Notional::ZERO, &TripLimits::usual(), readings);
    assert_eq!(trips.worst(), (Level::Halt, Some(Cause::ValueAtRisk)));
    for second in 1..200 {
        trips.look(at(second), Notional::ZERO, &TripLimits::usual(), Readings::default());
    }
    assert_eq!(trips.worst().0, Level::Halt);
}

#[test]
fn empty_and_short_histories_trade_nothing() {
    let btc = instrument("BTCUSDT").symbol;
    let refused = |series: &[f64]| {
        let scenarios = Scenarios::new(&table(), &[(btc, series)])?;
        Gate::new(Limits::demo(), &table(), Some(scenarios)).map(|_| ())
    };
    assert_eq!(refused(&[]), Err(LimitsError::BadScenarios));
    assert_eq!(refused(&vec![0.01; 400]), Err(LimitsError::BadScenarios), "four points in the tail are too few");
    assert_eq!(refused(&vec![0.01; 401]), Ok(()));
    // a gap makes one series shorter than the others
    let (long, short) = (vec![0.01; 500], vec![0.01; 499]);
    let pair = [(btc, &long[..]), (instrument("ETHUSDT").symbol, &short[..])];
    assert_eq!(Scenarios::new(&table(), &pair).err(), Some(LimitsError::BadScenarios));
}

#[test]
fn an_instrument_the_scenarios_do_not_know_takes_no_risk_but_lets_it_go() {
    let series = vec![0.001; 1_000];
    let scenarios = Scenarios::new(&table(), &[(instrument("BTCUSDT").symbol, &series)]).unwrap();
    let tail = TailLimits { tail: 100, max_loss: Notional::whole(4_000), max_shortfall: Notional::whole(6_000) };
    let mut desk = Desk::with(Limits { tail: Some(tail), ..limits() }, Some(scenarios));
    let unknown = Order { instrument: InstrumentId(1), ..desk.order(Side::Buy, "0.001", "50000") };
    assert_eq!(desk.ask(&unknown).first, Refusal::ValueAtRisk);
    let position = Position { size: qty("1"), ..Position::default() };
    desk.gate.position(desk.now, InstrumentId(1), &position);
    let out = Order { side: Side::Sell, reduce_only: Flag::Yes, qty: qty("1"), ..unknown };
    assert_eq!(desk.ask(&out).first, Refusal::None);
}

#[test]
fn a_deposit_is_no_profit_and_a_withdrawal_no_drawdown() {
    let mut desk = Desk::new(limits());
    bought(&mut desk, "0.1", "50000");
    for (equity, state) in [(1_000_000, State::Active), (20_000, State::Active)] {
        desk.wallet(equity);
        desk.gate.tick(desk.now);
        desk.refresh(InstrumentId(0), "50000");
        assert_eq!(desk.gate.brake().global(), state, "{equity}");
        assert_eq!(desk.gate.trips().worst().0, Level::Calm);
    }
    // 150 of 20,000 USDT within a minute; a deposit just before does not soften it
    desk.refresh(InstrumentId(0), "48500");
    assert_eq!(desk.gate.brake().global(), State::ReduceOnly);
}

#[test]
fn equity_of_zero_of_minus_one_or_none_takes_no_risk() {
    for equity in [0, -1, -1_000_000] {
        let mut desk = Desk::new(limits());
        desk.wallet(equity);
        assert_eq!(first(&mut desk, Side::Buy, "0.001", "49000"), Refusal::Margin, "{equity}");
        desk.gate.tick(desk.now);
        assert_eq!(desk.gate.brake().global(), State::Halted, "{equity}: all of nothing is margin");
    }
}

#[test]
fn a_clock_that_steps_neither_forgives_nor_trips() {
    let mut desk = Desk::new(limits());
    bought(&mut desk, "0.1", "49000"); // -100 of 100,000
    let order = desk.order(Side::Buy, "0.001", "49000");
    for wall in [desk.now.wall.millis() - 7_200_000, desk.now.wall.millis() + 300, 0, desk.now.wall.millis()] {
        desk.pass(1_000);
        desk.now.wall = Wall::from_millis(wall);
        desk.refresh(InstrumentId(0), "49999");
        desk.gate.tick(desk.now);
        assert_eq!(desk.gate.brake().global(), State::Active, "{wall}");
        assert!(!desk.ask(&order).failed(Refusal::Duplicate), "{wall}");
    }
    // the monotonic clock never steps; if it did, nothing is forgotten and nothing overflows
    desk.now.mono = Mono::from_millis(1);
    desk.gate.tick(desk.now);
    let _ = desk.ask(&order);
}

#[test]
fn two_brakes_at_once_are_one_brake_and_the_severer_word_stands() {
    let mut desk = Desk::new(limits());
    bought(&mut desk, "1", "48000"); // the loss halts
    assert_eq!(desk.gate.brake().effective(InstrumentId(0), StrategyId(0)), State::Halted);
    let mut versions = Vec::new();
    for _ in 0..2 {
        for kind in [CommandKind::ReduceOnly, CommandKind::CancelOnly, CommandKind::Halt, CommandKind::Halt] {
            desk.say(kind, true);
            desk.gate.tick(desk.now);
            let state = desk.gate.brake().effective(InstrumentId(0), StrategyId(0));
            assert_eq!(state, State::Halted, "{kind:?} is not milder");
        }
        versions.push(desk.gate.brake().version());
    }
    assert_eq!(versions[0], versions[1], "the same words again are nothing new to re-arm from");
    let cancel = desk.order(Side::Buy, "0.001", "49000");
    assert!(desk.ask(&cancel).failed(Refusal::Halted));
}

#[test]
fn a_trip_during_a_trip_adds_to_it_and_ends_nothing() {
    let mut desk = Desk::new(limits());
    bought(&mut desk, "1", "49200");
    assert_eq!(desk.gate.brake().global(), State::ReduceOnly, "the minute's loss");
    desk.gate.exec(
        desk.now,
        &ExecEvent::Wallet(Wallet {
            equity: Notional::whole(100_000),
            maintenance_margin: Notional::whole(66_000),
            ..Wallet::default()
        }),
    );
    desk.gate.tick(desk.now);
    assert_eq!(
        (desk.gate.trips().level(Cause::Minute), desk.gate.trips().level(Cause::Margin)),
        (Level::Reduce, Level::Reduce)
    );
    desk.refresh(InstrumentId(0), "48000");
    assert_eq!(desk.gate.brake().global(), State::Halted);
    assert_eq!(desk.gate.trips().level(Cause::Margin), Level::Reduce, "the first causes are still told");
}

#[test]
fn every_scope_may_trip_at_once_and_each_keeps_its_own() {
    let mut desk = Desk::new(limits());
    let brake = &mut desk.gate.brake;
    brake.trip(Scope::Strategy(StrategyId(1)), State::Halted, Reason::Person);
    brake.trip(Scope::Instrument(InstrumentId(2)), State::CancelOnly, Reason::Person);
    brake.trip(Scope::Global, State::ReduceOnly, Reason::Person);
    for (instrument, strategy, state) in
        [(0, 0, State::ReduceOnly), (2, 0, State::CancelOnly), (0, 1, State::Halted), (2, 1, State::Halted)]
    {
        assert_eq!(desk.gate.brake().effective(InstrumentId(instrument), StrategyId(strategy)), state);
    }
}

#[test]
fn twelve_hundred_open_orders_are_too_many_to_add_to_and_each_can_be_cancelled() {
    let mut desk = Desk::new(Limits { max_open_orders: 512, ..limits() });
    let order =
        |count: u32| Order { client: ClientId::new(7, count), px: px("40000"), qty: qty("0.001"), ..Order::default() };
    for count in 1..=1_200 {
        let asked = order(count);
        let change = Change {
            client: asked.client,
            instrument: asked.instrument,
            strategy: asked.strategy,
            side: asked.side,
            reduce_only: Flag::No,
            px_before: asked.px,
            px: asked.px,
            before: Qty::ZERO,
            after: asked.qty,
            from: Life::Recorded,
            to: Life::Live,
        };
        desk.gate.order(desk.now, &change);
    }
    assert!(desk.gate.exposure().lost(), "more than the table holds: the sums are not the whole truth");
    let more = desk.order(Side::Buy, "0.001", "39999");
    let decision = desk.ask(&more);
    assert!(decision.failed(Refusal::OpenOrders) && decision.failed(Refusal::Unreconciled));
    desk.gate.tick(desk.now);
    assert_eq!(desk.gate.brake().global(), State::ReduceOnly);
    desk.say(CommandKind::Halt, true);
    let resting = desk.order(Side::Buy, "0.001", "39998");
    desk.orders.admit(desk.now.mono, &resting).unwrap();
    for _ in 1..=1_200 {
        let cancel = Order { op: Op::Cancel, ..resting };
        assert_eq!(desk.ask(&cancel).first, Refusal::None, "no budget, no limit and no brake holds a cancel back");
    }
}

#[test]
fn a_reduction_above_the_largest_order_leaves_in_parts() {
    let mut desk = Desk::new(limits());
    desk.hold("2000"); // the largest order is 1,190, the largest at market 500
    let out = |quantity: &str, kind, price: &str| Order {
        side: Side::Sell,
        qty: qty(quantity),
        px: px(price),
        kind,
        tif: TimeInForce::Ioc,
        reduce_only: Flag::Yes,
        ..Order::default()
    };
    for (quantity, kind, price, expected) in [
        ("2000", OrderKind::Limit, "50000", Refusal::Quantity),
        ("1190", OrderKind::Limit, "50000", Refusal::None),
        ("1190", OrderKind::Market, "49500", Refusal::Quantity),
        ("500", OrderKind::Market, "49500", Refusal::None),
    ] {
        let order = Order { client: desk.orders.next_id(), ..out(quantity, kind, price) };
        assert_eq!(desk.ask(&order).first, expected, "{quantity} {kind:?}");
    }
}

#[test]
fn dust_below_the_smallest_order_is_refused_by_name_and_small_reductions_pass() {
    let mut desk = Desk::new(limits());
    desk.hold("0.0005"); // half of the smallest step
    let tagged =
        |desk: &Desk, quantity: &str| Order { reduce_only: Flag::Yes, ..desk.order(Side::Sell, quantity, "50000") };
    let dust = tagged(&desk, "0.0005");
    assert_eq!(desk.ask(&dust).first, Refusal::Quantity);
    let rounded = tagged(&desk, "0.001");
    assert_eq!(desk.ask(&rounded).first, Refusal::NotReducing, "the smallest order would flip the position");
    desk.hold("0.001");
    desk.refresh(InstrumentId(0), "50000");
    let small = Order { px: px("49900"), ..tagged(&desk, "0.001") };
    assert_eq!(desk.ask(&small).first, Refusal::None);
}

#[test]
fn while_the_venue_is_down_nothing_is_added_and_the_ways_out_stay_open() {
    for (channel, expected) in [(Channel::Trade, Refusal::LinkDown), (Channel::Private, Refusal::LinkDown)] {
        let mut desk = Desk::new(limits());
        desk.hold("1");
        let resting = desk.order(Side::Sell, "0.001", "51000");
        assert_eq!(desk.place(&resting).first, Refusal::None);
        desk.link(channel, LinkState::Down);
        assert_eq!(first(&mut desk, Side::Buy, "0.001", "49000"), expected);
        let cancel = Order { op: Op::Cancel, ..resting };
        assert_eq!(desk.ask(&cancel).first, Refusal::None);
        let out = Order { reduce_only: Flag::Yes, ..desk.order(Side::Sell, "0.5", "50000") };
        assert_eq!(desk.ask(&out).first, Refusal::None, "a reduction waits in the gateway, not here");
    }
}

#[test]
fn a_brake_that_no_longer_looks_lets_no_risk_through() {
    let mut desk = Desk::new(limits());
    desk.gate.tick(desk.now);
    desk.pass(1_000);
    assert_eq!(first(&mut desk, Side::Buy, "0.001", "49000"), Refusal::None);
    desk.pass(1);
    assert_eq!(first(&mut desk, Side::Buy, "0.001", "49001"), Refusal::ReducingOnly);
    desk.gate.tick(desk.now);
    assert_eq!(first(&mut desk, Side::Buy, "0.001", "49002"), Refusal::None);
}

#[test]
fn a_wick_of_the_last_price_is_no_loss() {
    let mut desk = Desk::new(limits());
    bought(&mut desk, "0.5", "50000");
    let origin = Origin { recv: desk.now.mono, ..Origin::default() };
    let (mark, index) = (px("50000"), px("50000"));
    let wick = Ticker { origin, last: px("20000"), low_24h: px("20000"), mark, index, ..Ticker::default() };
    desk.gate.market(desk.now, &MarketEvent::Ticker(wick));
    desk.gate.tick(desk.now);
    assert_eq!((desk.gate.brake().global(), desk.gate.profit()), (State::Active, Notional::ZERO));
}

#[test]
fn a_trip_during_maintenance_still_trips_and_cancels_still_pass() {
    let mut desk = Desk::new(limits());
    let resting = desk.order(Side::Buy, "0.001", "49000");
    assert_eq!(desk.place(&resting).first, Refusal::None);
    let (ongoing, derivatives) = (Flag::Yes, Flag::Yes);
    let status = VenueStatus { ongoing, derivatives, ..VenueStatus::default() };
    desk.gate.market(desk.now, &MarketEvent::VenueStatus(status));
    assert_eq!(first(&mut desk, Side::Buy, "0.001", "48000"), Refusal::Maintenance);
    bought(&mut desk, "1", "48000");
    assert_eq!(desk.gate.brake().global(), State::Halted);
    assert_eq!(desk.ask(&Order { op: Op::Cancel, ..resting }).first, Refusal::None);
}

#[test]
fn a_fault_before_the_open_keeps_the_gate_shut_though_people_armed_it() {
    type Fault = (fn(&mut Desk), Refusal);
    let faults: [Fault; 4] = [
        (|desk| desk.link(Channel::Private, LinkState::Connected), Refusal::LinkDown),
        (|desk| desk.gate.wallet = None, Refusal::Margin),
        (|desk| desk.synced(InstrumentId(0), keel_core::event::HealthState::Stale), Refusal::StaleBook),
        (|desk| desk.gate.markets[0].mark = Px::ZERO, Refusal::NoMark),
    ];
    for (fault, expected) in faults {
        let mut desk = Desk::asleep(limits(), None);
        fault(&mut desk);
        desk.arm();
        assert_eq!(first(&mut desk, Side::Buy, "0.001", "49000"), expected);
    }
}

#[test]
fn codes_that_stand_in_journals_never_change_their_meaning() {
    // append below, never edit above: an old flag with a new meaning cost Knight 460 million
    const REFUSALS: &str = "Halted ReducingOnly JournalFaulty UnknownInstrument UnknownStrategy UnknownOrder Form NotTrading Price \
        Quantity MinimumValue NoMark StaleBook StaleMark Spread MarkGap LinkDown Unreconciled Unproven Maintenance MessageRate \
        StrategyRate Executions Collar VenueBand OrderQty OrderValue OpenOrders Position Gross Net Margin ValueAtRisk Shortfall \
        Stress NotReducing Duplicate SelfMatch Rejects AmendPending Walk Participation RestingValue Model SignalAge OrderToTrade";
    const CAUSES: &str = "Drawdown Day RollingDay Minute FiveMinutes ValueAtRisk Stress Margin Clock Rejects Runaway OrderToTrade \
        Staleness";
    for (code, name) in (1u16..).zip(REFUSALS.split_whitespace()) {
        let known = Refusal::ALL.into_iter().find(|refusal| refusal.code() == code);
        assert_eq!(known.map(Refusal::name), Some(name), "code {code}");
    }
    for (code, name) in (0u8..).zip(CAUSES.split_whitespace()) {
        let known = Cause::ALL.into_iter().find(|cause| *cause as u8 == code);
        assert_eq!(known.map(Cause::name), Some(name), "code {code}");
    }
}

#[test]
fn a_short_name_of_a_symbol_is_not_another_symbol() {
    // two processes with two tables: an id means nothing without its name
    let other = Symbol::new(b"BTCUSD").unwrap();
    assert!(table().by_symbol(other.bytes()).is_none());
    let mut limits = limits();
    limits.strategies[0].symbols = Some(vec![other]);
    assert_eq!(Gate::new(limits, &table(), None).err(), Some(LimitsError::UnknownSymbol(other)));
}

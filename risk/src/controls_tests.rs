//! The controls beyond an order's own numbers: our own ladder, our share of the market, what may rest, models, work a fill
//! takes, the clock, storms, silent books. Each refusal shows its measure beside its limit.

use crate::brake::State;
use crate::decision::Decision;
use crate::gate::tests::{Desk, limits, px, qty};
use crate::limits::Limits;
use crate::models::{Approval, ModelError};
use crate::refusal::Refusal;
use crate::trips::{Cause, Level};
use keel_core::event::{
    Ack, ExecEvent, ExecKind, Fill, Flag, MarketEvent, Order, Origin, Sent, Side, Ticker, TimeInForce, Trade,
};
use keel_core::ids::{ClientId, InstrumentId, StrategyId};
use keel_core::permit::Gate as _;
use keel_core::units::{Qty, Wall};

fn measured(decision: &Decision, code: Refusal) -> (i64, i64) {
    let pair = decision.measure(code).unwrap();
    (pair.value, pair.limit)
}

fn filled(desk: &mut Desk, side: Side, price: &str, quantity: &str) {
    let fill = Fill { side, px: px(price), qty: qty(quantity), kind: ExecKind::Trade, ..Fill::default() };
    desk.gate.exec(desk.now, &ExecEvent::Fill(fill));
}

fn traded(desk: &mut Desk, quantity: &str) {
    let origin = Origin { recv: desk.now.mono, ..Origin::default() };
    let (px, qty, no) = (px("50000"), qty(quantity), Flag::No);
    let trade = Trade {
        origin,
        px,
        qty,
        instrument: InstrumentId(0),
        side: Side::Buy,
        block: no,
        rpi: no,
        last: no,
        pad: [0; 2],
    };
    desk.gate.market(desk.now, &MarketEvent::Trade(trade));
}

#[test]
fn our_own_ladder_is_not_climbed_any_further() {
    let mut desk = Desk::new(limits());
    filled(&mut desk, Side::Buy, "49500", "0.05");
    let higher = desk.order(Side::Buy, "0.01", "50000");
    let decision = desk.ask(&higher);
    assert_eq!((decision.first, measured(&decision, Refusal::Walk)), (Refusal::Walk, (102, 100)));
    assert_eq!(desk.ask(&Order { px: px("49990"), ..higher }).first, Refusal::None, "a shorter rung");
    assert_eq!(desk.ask(&Order { side: Side::Sell, ..higher }).first, Refusal::None, "down the ladder");
    traded(&mut desk, "0.2");
    assert_eq!(desk.ask(&Order { px: px("50000.1"), ..higher }).first, Refusal::None, "the market walked, not we");
    let mut desk = Desk::new(limits());
    filled(&mut desk, Side::Buy, "49500", "0.05");
    desk.pass(5_000);
    assert_eq!(desk.ask(&higher).first, Refusal::None, "long ago");
}

#[test]
fn our_share_of_the_markets_volume_is_bounded() {
    let mut limits = limits();
    limits.instrument.max_participation = 1_000;
    let mut desk = Desk::new(limits);
    let order = desk.order(Side::Buy, "0.09", "50000");
    assert_eq!(desk.ask(&order).first, Refusal::Participation, "nobody knows what trades here");
    traded(&mut desk, "1");
    assert_eq!(desk.place(&order).first, Refusal::None);
    filled(&mut desk, Side::Buy, "50000", "0.09");
    let more = desk.order(Side::Buy, "0.02", "49999");
    let decision = desk.ask(&more);
    let expected = (qty("0.11").raw(), qty("0.1").raw());
    assert_eq!((decision.first, measured(&decision, Refusal::Participation)), (Refusal::Participation, expected));
    let day = Ticker {
        origin: Origin { recv: desk.now.mono, ..Origin::default() },
        mark: px("50000"),
        index: px("50000"),
        volume_24h: Qty::whole(2_880),
        ..Ticker::default()
    };
    desk.gate.market(desk.now, &MarketEvent::Ticker(day));
    assert_eq!(desk.ask(&more).first, Refusal::None, "two coins a minute over the day");
    desk.hold("1");
    let out = Order { reduce_only: Flag::Yes, ..desk.order(Side::Sell, "1", "50000.1") };
    assert_eq!(desk.ask(&out).first, Refusal::None, "the way out is not held back");
}

#[test]
fn what_may_rest_is_smaller_than_what_may_trade_at_once() {
    let mut limits = limits();
    limits.instrument.max_resting_value = keel_core::units::Notional::whole(1_000);
    let mut desk = Desk::new(limits);
    let order = desk.order(Side::Buy, "0.04", "50000");
    for (tif, expected) in [
        (TimeInForce::Gtc, Refusal::RestingValue),
        (TimeInForce::PostOnly, Refusal::RestingValue),
        (TimeInForce::Ioc, Refusal::None),
        (TimeInForce::Fok, Refusal::None),
    ] {
        desk.pass(1_000);
        assert_eq!(desk.ask(&Order { tif, ..order }).first, expected, "{tif:?}");
    }
    let expected = (keel_core::units::Notional::whole(2_000).raw(), keel_core::units::Notional::whole(1_000).raw());
    assert_eq!(measured(&desk.ask(&order), Refusal::RestingValue), expected);
}

fn modelled() -> Desk {
    let mut limits = limits();
    limits.strategies[1].signal_ttl = 500;
    limits.strategies[1].rate = 100;
    Desk::new(limits)
}

#[test]
fn an_order_names_an_approved_model_or_stays() {
    let mut desk = modelled();
    let order = Order { strategy: StrategyId(1), model: 3, ..desk.order(Side::Buy, "0.01", "49000") };
    assert_eq!(desk.ask(&order).first, Refusal::Model, "nobody approved it");
    let (from, until) = (desk.now.wall, Wall::from_millis(desk.now.wall.millis() + 10_000));
    let (artifact, features) = ([3; 32], [4; 32]);
    let approval = Approval { strategy: StrategyId(1), version: 3, artifact, features, from, until };
    desk.gate.models_mut().approve(approval).unwrap();
    assert_eq!(desk.ask(&order).first, Refusal::Model, "nobody has seen the artifact");
    assert_eq!(desk.gate.models_mut().load(StrategyId(1), &[5; 32], &features), Err(ModelError::Artifact));
    assert_eq!(desk.ask(&order).first, Refusal::Model, "what was loaded is something else");
    desk.gate.models_mut().load(StrategyId(1), &artifact, &features).unwrap();
    assert_eq!(desk.ask(&order).first, Refusal::None);
    desk.pass(300);
    for (order, expected) in [
        (Order { model: 2, ..order }, Refusal::Model),
        (Order { model: 0, ..order }, Refusal::Model),
        (Order { signal_age: 500, ..order }, Refusal::None),
        (Order { px: px("48000"), signal_age: 501, ..order }, Refusal::SignalAge),
        (Order { strategy: StrategyId(0), ..order }, Refusal::Model),
        (Order { strategy: StrategyId(0), model: 0, px: px("48001"), ..order }, Refusal::None),
        (Order { strategy: StrategyId(0), model: 0, px: px("48002"), signal_age: 1, ..order }, Refusal::SignalAge),
    ] {
        assert_eq!(desk.ask(&order).first, expected, "{order:?}");
    }
    let late = desk.ask(&Order { signal_age: 501, px: px("48003"), ..order });
    assert_eq!(measured(&late, Refusal::SignalAge), (501, 500));
    desk.now.wall = until;
    assert_eq!(desk.ask(&Order { px: px("48004"), ..order }).first, Refusal::Model, "its time is over");
    desk.hold("1");
    let out = Order { strategy: StrategyId(1), reduce_only: Flag::Yes, ..desk.order(Side::Sell, "1", "50000") };
    assert_eq!(desk.ask(&out).first, Refusal::None, "a model that may not trade may still get out");
}

#[test]
fn a_strategy_that_sends_and_never_trades_is_stopped() {
    let mut limits = limits();
    (limits.message_rate, limits.message_burst, limits.duplicate_window) = (1_000_000, 1_000_000, 0);
    limits.strategies[0].rate = 1_000_000;
    limits.strategies[0].max_order_to_trade = 300;
    let mut desk = Desk::new(limits);
    let order = desk.order(Side::Buy, "0.001", "49000");
    assert_eq!(desk.place(&order).first, Refusal::None);
    let cancel = Order { op: keel_core::event::Op::Cancel, ..order };
    for _ in 0..498 {
        assert_eq!(desk.ask(&cancel).first, Refusal::None);
    }
    let next = desk.order(Side::Buy, "0.001", "48000");
    assert_eq!(desk.ask(&next).first, Refusal::None, "499 messages say nothing yet");
    let decision = desk.ask(&next);
    assert_eq!((decision.first, measured(&decision, Refusal::OrderToTrade)), (Refusal::OrderToTrade, (500, 300)));
    assert_eq!(desk.ask(&cancel).first, Refusal::None, "cancels are free");
    desk.gate.tick(desk.now);
    assert_eq!(desk.gate.trips().level(Cause::OrderToTrade), Level::Warn, "people are told at 50");
    let fill =
        Fill { client: order.client, qty: qty("0.001"), px: px("49000"), kind: ExecKind::Trade, ..Fill::default() };
    (0..2).for_each(|_| desk.gate.exec(desk.now, &ExecEvent::Fill(fill)));
    assert_eq!(desk.ask(&next).first, Refusal::None, "501 messages for two fills");
}

/// An answer of the venue whose clock is `off` milliseconds from ours, 10 ms under way.
fn answer(desk: &mut Desk, off: i64) {
    let client = ClientId::new(9, 9);
    let sent = desk.now;
    desk.gate.exec(sent, &ExecEvent::Sent(Sent { client, at: sent.mono, ..Sent::default() }));
    desk.pass(10);
    desk.now.wall = Wall::from_millis(sent.wall.millis() + 10);
    let ts = Wall::from_millis(sent.wall.millis().saturating_add_signed(5 + off));
    let ack = Ack { client, recv: desk.now.mono, ts, ..Ack::default() };
    desk.gate.exec(desk.now, &ExecEvent::Ack(ack));
    desk.gate.tick(desk.now);
}

#[test]
fn a_clock_that_is_off_stops_new_risk_and_then_everything() {
    for (off, state) in [
        (0, State::Active),
        (-40, State::Active),
        (100, State::Active),
        (210, State::ReduceOnly),
        (-210, State::ReduceOnly),
        (510, State::Halted),
        (-5_000, State::Halted),
    ] {
        let mut desk = Desk::new(limits());
        answer(&mut desk, off);
        assert_eq!(desk.gate.brake().global(), state, "{off} ms");
        let level = desk.gate.trips().level(Cause::Clock);
        assert_eq!(level >= Level::Warn, off.abs() > 60, "{off} ms: {level:?}");
    }
}

#[test]
fn a_storm_of_venue_refusals_climbs_the_ladder() {
    let mut desk = Desk::new(limits());
    let mut before = 0;
    for (count, level) in [(4, Level::Calm), (5, Level::Warn), (10, Level::Reduce), (20, Level::Halt)] {
        for _ in before..count {
            desk.gate.exec(desk.now, &ExecEvent::Ack(Ack { code: 10_001, ..Ack::default() }));
        }
        before = count;
        desk.gate.tick(desk.now);
        assert_eq!(desk.gate.trips().level(Cause::Rejects), level, "{count}");
    }
    assert_eq!(desk.gate.brake().global(), State::Halted);
}

#[test]
fn a_strategy_that_asks_without_end_is_stopped_though_every_order_is_refused() {
    let mut desk = Desk::new(Limits { message_rate: 10, ..limits() });
    let bad = Order { px: px("1"), ..desk.order(Side::Buy, "0.001", "49000") };
    let mut before = 0;
    // ten messages a second are allowed: a hundred in ten seconds
    for (asked, level) in [(99, Level::Calm), (100, Level::Warn), (200, Level::Reduce), (400, Level::Halt)] {
        for _ in before..asked {
            assert_ne!(desk.ask(&bad).failing, 0);
        }
        before = asked;
        desk.gate.tick(desk.now);
        assert_eq!(desk.gate.trips().level(Cause::Runaway), level, "{asked}");
    }
    assert_eq!(desk.gate.brake().global(), State::Halted);
}

#[test]
fn a_silent_book_stops_its_instrument_alone_and_only_while_it_is_silent() {
    let mut desk = Desk::new(limits());
    let here = |desk: &Desk| desk.gate.brake().effective(InstrumentId(0), StrategyId(0));
    let there = |desk: &Desk| desk.gate.brake().effective(InstrumentId(1), StrategyId(0));
    let silent = |desk: &mut Desk, millis: u64| {
        desk.now.mono = desk.now.mono.after(millis * 1_000_000);
        desk.refresh(InstrumentId(1), "50000");
        desk.gate.tick(desk.now);
    };
    silent(&mut desk, 900);
    assert_eq!(here(&desk), State::Active);
    silent(&mut desk, 100);
    assert_eq!(here(&desk), State::Active, "one late look is noise");
    silent(&mut desk, 100);
    assert_eq!((here(&desk), there(&desk)), (State::ReduceOnly, State::Active));
    silent(&mut desk, 4_000);
    silent(&mut desk, 100);
    assert_eq!((here(&desk), there(&desk)), (State::Halted, State::Active));
    let out = Order { reduce_only: Flag::Yes, ..desk.order(Side::Sell, "0.001", "50000") };
    assert!(desk.ask(&out).failed(Refusal::Halted), "without a book there is no price to get out at");
    for _ in 0..600 {
        desk.now.mono = desk.now.mono.after(100_000_000);
        desk.refresh(InstrumentId(0), "50000");
        silent(&mut desk, 0);
    }
    assert_eq!(here(&desk), State::Halted, "a minute of good news is asked for");
    desk.now.mono = desk.now.mono.after(100_000_000);
    desk.refresh(InstrumentId(0), "50000");
    silent(&mut desk, 0);
    assert_eq!(here(&desk), State::Active);
    assert_eq!(desk.gate.brake().global(), State::Active);
}

#[test]
fn new_controls_have_a_row_in_the_register() {
    let text = crate::register::text(&Limits::demo());
    for name in ["max_resting_value", "max_walk", "max_participation", "max_order_to_trade", "signal_ttl"] {
        assert!(text.contains(name), "{name}");
    }
    for cause in [Cause::Clock, Cause::Rejects, Cause::Runaway, Cause::OrderToTrade, Cause::Staleness] {
        assert!(text.contains(&format!("trips.{}.halt", cause.name())));
    }
}

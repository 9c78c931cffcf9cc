//! The gate, asked one question at a time.

use super::*;
use crate::decision::Class;
use crate::limits::{MarkSource, TailLimits};
use crate::throwaway::Throwaway;
use keel_core::book::Touch;
use keel_core::event::{
    BookUpdate, Channel, DocumentKind, Flag, Health, HealthState, Level, Link, LinkState, OrderKind, Origin,
    PriceLimit, Reconciliation, Side, Ticker, TimeInForce,
};
use keel_core::ids::{StrategyId, Symbol};
use keel_core::orders::{Orders, Working};
use keel_core::permit::Gate as _;
use keel_core::permit::LogHealth;
use keel_core::units::{Notional, Qty, Wall};

pub(crate) fn instrument(symbol: &str) -> Instrument {
    Instrument {
        symbol: Symbol::new(symbol.as_bytes()).unwrap(),
        tick: Px::parse(b"0.1").unwrap(),
        min_px: Px::parse(b"0.1").unwrap(),
        max_px: Px::whole(1_999_999),
        step: Qty::parse(b"0.001").unwrap(),
        min_qty: Qty::parse(b"0.001").unwrap(),
        max_qty: Qty::whole(1190),
        max_market_qty: Qty::whole(500),
        min_notional: Notional::whole(5),
        taker_fee: 55_000,
        maker_fee: 20_000,
        funding_minutes: 480,
        max_leverage: 10_000,
        trading: Flag::Yes,
        ..Instrument::default()
    }
}

pub(crate) fn table() -> Instruments {
    Instruments::new([instrument("BTCUSDT"), instrument("ETHUSDT"), instrument("NEWUSDT")]).unwrap()
}

pub(crate) fn px(text: &str) -> Px {
    Px::parse(text.as_bytes()).unwrap()
}

pub(crate) fn qty(text: &str) -> Qty {
    Qty::parse(text.as_bytes()).unwrap()
}

/// A gate at work: marks at 50,000, books one tick wide, links ready, 100,000 USDT, armed.
pub(crate) struct Desk {
    pub(crate) gate: Gate,
    pub(crate) now: Now,
    pub(crate) orders: Orders,
    pub(crate) touch: Option<Touch>,
    pub(crate) log: LogHealth,
}

impl Desk {
    pub(crate) fn new(limits: Limits) -> Self {
        Self::with(limits, None)
    }

    pub(crate) fn with(limits: Limits, scenarios: Option<Scenarios>) -> Self {
        let mut desk = Self::asleep(limits, scenarios);
        desk.arm();
        desk
    }

    pub(crate) fn asleep(limits: Limits, scenarios: Option<Scenarios>) -> Self {
        let gate = Gate::new(limits, &table(), scenarios).unwrap().trusting(Throwaway::new(1).people());
        let at = |p: &str| Level { px: px(p), qty: Qty::whole(1) };
        let touch = Some(Touch { bid: at("49999.9"), ask: at("50000.1") });
        let now = Now { mono: Mono::from_millis(10_000), wall: Wall::from_millis(1_900_000_000_000) };
        let mut desk = Self { gate, now, orders: Orders::new(1), touch, log: LogHealth::Sound };
        for id in 0..3 {
            desk.synced(InstrumentId(id), HealthState::Synced);
            desk.refresh(InstrumentId(id), "50000");
        }
        desk.link(Channel::Private, LinkState::Ready);
        desk.link(Channel::Trade, LinkState::Ready);
        desk.gate.exec(now, &ExecEvent::Reconciliation(Reconciliation { complete: Flag::Yes, ..Default::default() }));
        desk.wallet(100_000);
        desk
    }

    /// People release the brake.
    pub(crate) fn arm(&mut self) {
        let (brake, limits) = (self.gate.brake().version(), self.gate.limits().version);
        let text = Throwaway::new(1).arm(brake, limits, self.now.wall, "a test");
        self.bring(DocumentKind::Arm, &text);
    }

    pub(crate) fn bring(&mut self, kind: DocumentKind, text: &[u8]) {
        for part in Document::cut(self.now.mono, Text::EMPTY, kind, text).into_iter().flatten() {
            self.gate.document(self.now, &part);
        }
    }

    pub(crate) fn say(&mut self, kind: CommandKind, authenticated: bool) {
        let command = Command { kind, authenticated: Flag::from(authenticated), ..Command::default() };
        self.gate.command(self.now, &command);
    }

    pub(crate) fn wallet(&mut self, equity: i64) {
        let wallet = Wallet { equity: Notional::whole(equity), ..Wallet::default() };
        self.gate.exec(self.now, &ExecEvent::Wallet(wallet));
    }

    pub(crate) fn link(&mut self, channel: Channel, state: LinkState) {
        self.gate.exec(self.now, &ExecEvent::Link(Link { channel, state, ..Link::default() }));
    }

    pub(crate) fn synced(&mut self, instrument: InstrumentId, state: HealthState) {
        self.gate.market(self.now, &MarketEvent::Health(Health { instrument, state, ..Health::default() }));
    }

    pub(crate) fn refresh(&mut self, instrument: InstrumentId, mark: &str) {
        let origin = Origin { recv: self.now.mono, ..Origin::default() };
        let mut book = BookUpdate::empty(instrument, 50, origin, 1);
        book.flags = BookUpdate::FIRST | BookUpdate::LAST;
        self.gate.market(self.now, &MarketEvent::Book(book));
        let ticker = Ticker { origin, mark: px(mark), index: px(mark), instrument, ..Ticker::default() };
        self.gate.market(self.now, &MarketEvent::Ticker(ticker));
    }

    pub(crate) fn pass(&mut self, millis: u64) {
        self.now.mono = self.now.mono.after(millis * 1_000_000);
        for id in 0..3 {
            self.refresh(InstrumentId(id), "50000");
        }
    }

    pub(crate) fn hold(&mut self, size: &str) {
        let position = Position { size: qty(size), ..Position::default() };
        self.gate.position(self.now, InstrumentId(0), &position);
    }

    pub(crate) fn order(&self, side: Side, quantity: &str, price: &str) -> Order {
        Order { client: self.orders.next_id(), side, qty: qty(quantity), px: px(price), ..Order::default() }
    }

    pub(crate) fn ask(&mut self, order: &Order) -> Decision {
        let working: Option<Working> = self.orders.get(order.client).copied();
        let context = Context { touch: self.touch, working: working.as_ref(), log: self.log };
        match self.gate.judge(self.now, order, &context) {
            Ok(approved) => *approved.decision(),
            Err(refused) => *refused.decision(),
        }
    }

    /// Asks, and if it may leave, lets it rest at the venue.
    pub(crate) fn place(&mut self, order: &Order) -> Decision {
        let decision = self.ask(order);
        if decision.first == Refusal::None {
            let change = self.orders.admit(self.now.mono, order).unwrap().unwrap();
            self.gate.order(self.now, &change);
        }
        decision
    }
}

/// Without a share of the market's volume, and with large orders free to rest: those two have tests of their own.
pub(crate) fn limits() -> Limits {
    let mut limits = Limits::demo().without_tail();
    limits.instrument.max_participation = 0;
    limits.instrument.max_resting_value = Notional::whole(50_000);
    limits
}

fn check(desk: &mut Desk, order: &Order, expected: &[Refusal]) {
    let decision = desk.ask(order);
    assert_eq!(decision.failures().collect::<Vec<_>>(), expected, "{order:?}");
    let first = if expected.is_empty() { Refusal::None } else { decision.first };
    assert_eq!(decision.first, first);
    assert!(expected.is_empty() || expected.contains(&decision.first));
}

#[test]
fn an_ordinary_order_passes_and_shows_its_measures() {
    let mut desk = Desk::new(limits());
    let order = desk.order(Side::Buy, "0.1", "50000");
    let decision = desk.ask(&order);
    assert_eq!(decision.failing, 0);
    assert_eq!((decision.limits, decision.brake, decision.class), (1, State::Active, Class::Risk));
    assert_eq!((decision.mark, decision.equity), (px("50000"), Notional::whole(100_000)));
    assert_eq!(decision.data_age(), Some(0));
    let rows = [
        (Refusal::OrderQty, qty("0.1").raw(), Qty::whole(100_000).raw()),
        (Refusal::OrderValue, Notional::whole(5_000).raw(), Notional::whole(5_000).raw()),
        (Refusal::Position, Notional::whole(5_000).raw(), Notional::whole(40_000).raw()),
        (Refusal::Gross, Notional::whole(5_000).raw(), Notional::whole(200_000).raw()),
        (Refusal::Net, Notional::whole(5_000).raw(), Notional::whole(100_000).raw()),
        (Refusal::Margin, Notional::whole(500).raw(), Notional::whole(50_000).raw()),
        (Refusal::OpenOrders, 1, 100),
        (Refusal::MessageRate, 5, 20),
    ];
    for (code, value, limit) in rows {
        let pair = decision.measure(code).unwrap();
        assert_eq!((pair.value, pair.limit), (value, limit), "{code:?}");
    }
}

#[test]
fn a_fault_in_one_thing_refuses_by_its_name() {
    use Refusal::*;
    type Spoil = fn(&mut Desk, &mut Order);
    let rows: &[(Spoil, &[Refusal])] = &[
        (|_, _| {}, &[]),
        (|_, o| o.instrument = InstrumentId(9), &[UnknownInstrument]),
        (|_, o| o.strategy = StrategyId(9), &[UnknownStrategy, StrategyRate, Executions, Rejects]),
        (|_, o| o.px = px("50000.05"), &[Price]),
        (|_, o| o.qty = qty("0.0005"), &[Quantity]),
        (|_, o| o.qty = qty("0"), &[Quantity, MinimumValue]),
        (|_, o| o.qty = qty("-1"), &[Quantity, MinimumValue]),
        (|_, o| (o.qty, o.px) = (qty("0.001"), px("0.1")), &[MinimumValue]),
        (|_, o| o.kind = OrderKind::Market, &[Form]),
        (|_, o| o.px = px("51100"), &[Collar]),
        (|_, o| o.qty = qty("0.2"), &[OrderValue]),
        (|_, o| o.op = Op::Amend, &[UnknownOrder]),
        (|_, o| o.op = Op::Cancel, &[UnknownOrder]),
        (|d, _| d.log = LogHealth::Low, &[ReducingOnly]),
        (|d, _| d.log = LogHealth::Faulty, &[ReducingOnly, JournalFaulty]),
        (|d, _| d.say(CommandKind::ReduceOnly, false), &[ReducingOnly]),
        (|d, _| d.say(CommandKind::CancelOnly, false), &[Halted, ReducingOnly]),
        (|d, _| d.say(CommandKind::Shutdown, false), &[Halted, ReducingOnly]),
        (|d, _| d.say(CommandKind::Halt, false), &[Halted, ReducingOnly]),
        (|d, _| d.touch = Option::None, &[StaleBook, Spread, MarkGap]),
        (|d, _| d.synced(InstrumentId(0), HealthState::Stale), &[StaleBook]),
        (|d, _| d.now.mono = d.now.mono.after(1_000_000_001), &[StaleBook]),
        (|d, _| d.now.mono = d.now.mono.after(5_000_000_001), &[StaleBook, StaleMark]),
        (|d, _| d.refresh(InstrumentId(0), "51100"), &[MarkGap]),
        (|d, _| d.touch.as_mut().unwrap().bid.px = px("49000"), &[Spread]),
        (|d, _| d.link(Channel::Trade, LinkState::Down), &[LinkDown]),
        (|d, _| d.link(Channel::Private, LinkState::Connected), &[LinkDown, Unreconciled]),
        (|d, _| d.gate.wallet = Option::None, &[Margin]),
        (|d, _| d.wallet(-5), &[Margin]),
        (|d, _| d.gate.instruments[0].trading = Flag::No, &[NotTrading]),
    ];
    for (spoil, expected) in rows {
        let mut desk = Desk::new(limits());
        let mut order = desk.order(Side::Buy, "0.09", "50000");
        spoil(&mut desk, &mut order);
        check(&mut desk, &order, expected);
    }
}

#[test]
fn nothing_adds_risk_before_a_person_armed_the_gate() {
    let mut desk = Desk::asleep(limits(), None);
    let order = desk.order(Side::Buy, "0.1", "50000");
    check(&mut desk, &order, &[Refusal::Halted, Refusal::ReducingOnly]);
    desk.say(CommandKind::Arm, true);
    check(&mut desk, &order, &[Refusal::Halted, Refusal::ReducingOnly]);
    desk.arm();
    check(&mut desk, &order, &[]);
}

#[test]
fn the_venues_band_is_respected() {
    let mut desk = Desk::new(limits());
    let origin = Origin::default();
    let band =
        PriceLimit { origin, buy_max: px("50100"), sell_min: px("49900"), instrument: InstrumentId(0), pad: [0; 6] };
    desk.gate.market(desk.now, &MarketEvent::PriceLimit(band));
    let rows = [(Side::Buy, "50100", true), (Side::Buy, "50100.1", false), (Side::Sell, "49899.9", false)];
    for (side, price, passes) in rows {
        let order = desk.order(side, "0.01", price);
        check(&mut desk, &order, if passes { &[] } else { &[Refusal::VenueBand] });
    }
}

#[test]
fn a_reducing_order_is_never_held_back_by_size_exposure_or_doubt() {
    let mut desk = Desk::new(limits());
    desk.hold("10"); // 500,000 USDT: far over every limit
    desk.wallet(-1);
    desk.link(Channel::Private, LinkState::Down);
    desk.now.mono = desk.now.mono.after(60_000_000_000);
    let order = desk.order(Side::Sell, "10", "50000");
    check(&mut desk, &order, &[]);
    let order = Order { reduce_only: Flag::Yes, ..order };
    desk.say(CommandKind::ReduceOnly, false);
    desk.now.mono = desk.now.mono.after(60_000_000_000);
    check(&mut desk, &order, &[]);
}

#[test]
fn reduce_only_is_measured_by_quantity_and_side() {
    use Refusal::{NotReducing, ReducingOnly};
    let mut desk = Desk::new(limits());
    desk.hold("1");
    desk.say(CommandKind::ReduceOnly, true);
    let tagged =
        |desk: &Desk, side, quantity, price| Order { reduce_only: Flag::Yes, ..desk.order(side, quantity, price) };
    let order = tagged(&desk, Side::Sell, "0.6", "50000");
    assert_eq!(desk.place(&order).failing, 0);
    for (side, quantity, price, expected) in [
        (Side::Sell, "0.401", "50000.1", &[NotReducing][..]),
        (Side::Sell, "0.4", "50000.1", &[]),
        (Side::Buy, "0.1", "49999", &[NotReducing]),
    ] {
        let order = tagged(&desk, side, quantity, price);
        check(&mut desk, &order, expected);
    }
    let untagged = desk.order(Side::Sell, "0.1", "50000.2");
    check(&mut desk, &untagged, &[ReducingOnly]);
}

#[test]
fn an_amend_is_measured_by_what_it_adds() {
    use Refusal::*;
    let mut limits = limits();
    limits.strategies[0].rate = 50;
    let mut desk = Desk::new(limits);
    let order = desk.order(Side::Buy, "0.05", "49000");
    assert_eq!(desk.place(&order).failing, 0);
    let amend = |quantity: &str, price: &str| Order { op: Op::Amend, qty: qty(quantity), px: px(price), ..order };
    let rows: &[(&str, &str, Class, &[Refusal])] = &[
        ("0.04", "49000", Class::Reduce, &[]),
        ("0.05", "48000", Class::Reduce, &[]),
        ("0.05", "49001", Class::Risk, &[]),
        ("0.05", "51100", Class::Risk, &[Collar]),
        ("0.06", "49000", Class::Risk, &[]),
        ("0.2", "49000", Class::Risk, &[OrderValue]),
    ];
    for (quantity, price, class, expected) in rows {
        let amend = amend(quantity, price);
        check(&mut desk, &amend, expected);
        assert_eq!(desk.ask(&amend).class, *class);
    }
    let growing = desk.ask(&amend("0.06", "49000"));
    assert_eq!(growing.measure(Position).unwrap().value, Notional::whole(3_000).raw());
    check(&mut desk, &Order { side: Side::Sell, ..amend("0.04", "49000") }, &[UnknownOrder, SelfMatch]);
}

#[test]
fn open_orders_count_at_their_worst_until_proof() {
    let mut limits = limits();
    limits.instrument.max_position = Notional::whole(12_000);
    let mut desk = Desk::new(limits);
    for at in 0..2 {
        let order = desk.order(Side::Buy, "0.1", &format!("4900{at}"));
        assert_eq!(desk.place(&order).failing, 0);
    }
    let third = desk.order(Side::Buy, "0.1", "49002");
    check(&mut desk, &third, &[Refusal::Position]);
    let silent = desk.orders.silence(desk.now.mono.after(5_000_000_000), 1).unwrap();
    desk.gate.order(desk.now, &silent);
    check(&mut desk, &third, &[Refusal::Unproven, Refusal::Position]);
    let short = desk.order(Side::Sell, "0.09", "51000");
    check(&mut desk, &short, &[Refusal::Unproven]);
}

#[test]
fn the_reserve_of_tokens_is_for_cancels() {
    let mut desk = Desk::new(limits());
    let resting = desk.order(Side::Buy, "0.001", "40000");
    assert_eq!(desk.place(&resting).failing, 0);
    let mut sent = 1;
    loop {
        let order = Order { strategy: StrategyId(sent % 4), ..desk.order(Side::Buy, "0.001", &format!("4{sent:04}")) };
        if desk.place(&order).failed(Refusal::MessageRate) {
            break;
        }
        sent += 1;
    }
    assert_eq!(sent, 16, "twenty at once, four of them kept");
    let cancel = Order { op: Op::Cancel, ..resting };
    for _ in 0..40 {
        check(&mut desk, &cancel, &[]);
    }
}

#[test]
fn the_same_order_twice_and_our_own_other_side_are_refused() {
    let mut desk = Desk::new(limits());
    let order = desk.order(Side::Buy, "0.01", "49000");
    assert_eq!(desk.place(&order).failing, 0);
    let again = Order { client: desk.orders.next_id(), ..order };
    check(&mut desk, &again, &[Refusal::Duplicate]);
    desk.pass(200);
    check(&mut desk, &again, &[]);
    let crossing = desk.order(Side::Sell, "0.01", "49000");
    check(&mut desk, &crossing, &[Refusal::SelfMatch]);
    let behind = desk.order(Side::Sell, "0.01", "49100");
    check(&mut desk, &behind, &[]);
}

#[test]
fn scenarios_are_demanded_when_there_is_a_limit_to_measure() {
    let refused = Gate::new(Limits::demo(), &table(), None).err();
    assert_eq!(refused, Some(LimitsError::NoScenarios));
    let short = vec![0.01; 400];
    let symbol = Symbol::new(b"BTCUSDT").unwrap();
    let scenarios = Scenarios::new(&table(), &[(symbol, &short)]).unwrap();
    assert_eq!(Gate::new(Limits::demo(), &table(), Some(scenarios)).err(), Some(LimitsError::BadScenarios));
}

#[test]
fn value_at_risk_refuses_what_it_cannot_measure_and_what_is_too_much() {
    use Refusal::{Shortfall, ValueAtRisk};
    // every fiftieth day loses a tenth: 2 % of the days, so a one percent tail loses a tenth of the value
    let returns: Vec<f64> = (0..1000).map(|day| if day % 50 == 0 { -0.1 } else { 0.001 }).collect();
    let (btc, eth) = (Symbol::new(b"BTCUSDT").unwrap(), Symbol::new(b"ETHUSDT").unwrap());
    let scenarios = Scenarios::new(&table(), &[(btc, &returns), (eth, &returns)]).unwrap();
    let tail = TailLimits { tail: 100, max_loss: Notional::whole(600), max_shortfall: Notional::whole(2_000) };
    let mut limits = Limits { tail: Some(tail), ..limits() };
    limits.mark = MarkSource::TickerOrMid;
    let mut desk = Desk::with(limits, Some(scenarios));
    let order = desk.order(Side::Buy, "0.1", "50000");
    assert_eq!(desk.place(&order).failing, 0);
    let more = desk.order(Side::Buy, "0.05", "49000");
    check(&mut desk, &more, &[ValueAtRisk]);
    let other_side = desk.order(Side::Sell, "0.09", "51000");
    check(&mut desk, &other_side, &[]);
    let unknown = Order { instrument: InstrumentId(2), ..desk.order(Side::Buy, "0.001", "50000") };
    check(&mut desk, &unknown, &[ValueAtRisk, Shortfall]);
    desk.gate.tick(desk.now);
    assert!(desk.gate.drift() < 1e-12);
}

#[test]
fn stress_bounds_the_book_without_any_history() {
    let mut limits = limits();
    limits.max_stress = Notional::whole(2_000);
    let mut desk = Desk::new(limits);
    let order = desk.order(Side::Buy, "0.05", "50000");
    assert_eq!(desk.place(&order).failing, 0);
    let more = desk.order(Side::Buy, "0.05", "49000");
    check(&mut desk, &more, &[Refusal::Stress]);
    let pair = desk.ask(&more).measure(Refusal::Stress).unwrap();
    assert_eq!(pair.limit, Notional::whole(2_000).raw());
    // 5,000 USDT through the low of March 2020: -52.3332 %
    assert!((pair.value - Notional::parse(b"2616.66").unwrap().raw()).abs() <= 1, "{pair:?}");
}

#[test]
fn a_storm_of_refusals_latches_the_strategy_until_a_person_looks() {
    use keel_core::event::Ack;
    let mut desk = Desk::new(limits());
    let order = desk.order(Side::Buy, "0.001", "49000");
    assert_eq!(desk.place(&order).failing, 0);
    for _ in 0..10 {
        let ack = Ack { client: order.client, code: 110_001, op: Op::Amend, ..Ack::default() };
        desk.gate.exec(desk.now, &ExecEvent::Ack(ack));
    }
    assert_eq!(desk.gate.brake().version(), 2, "amends that lost a race against a fill are no storm");
    for _ in 0..10 {
        let ack = Ack { client: order.client, code: 110_007, ..Ack::default() };
        desk.gate.exec(desk.now, &ExecEvent::Ack(ack));
    }
    desk.pass(1_000_000);
    let order = desk.order(Side::Buy, "0.001", "48000");
    check(&mut desk, &order, &[Refusal::ReducingOnly, Refusal::Rejects]);
    check(&mut desk, &Order { strategy: StrategyId(1), ..order }, &[]);
    desk.arm();
    check(&mut desk, &Order { px: px("47000"), ..order }, &[]);
}

#[test]
fn time_in_force_of_a_market_order_ends_at_once() {
    let mut desk = Desk::new(limits());
    desk.hold("1");
    let market = |tif| Order { kind: OrderKind::Market, tif, reduce_only: Flag::Yes, ..Order::default() };
    for (tif, expected) in [(TimeInForce::Ioc, &[][..]), (TimeInForce::Gtc, &[Refusal::Form])] {
        let order = Order { ..market(tif) };
        let order = Order { client: desk.orders.next_id(), side: Side::Sell, qty: qty("1"), px: px("49500"), ..order };
        check(&mut desk, &order, expected);
    }
}

#[test]
fn a_loss_trips_the_brake_and_only_people_release_it() {
    let mut limits = limits();
    (limits.max_stress, limits.trips) = (Notional::whole(100_000), crate::trips::TripLimits::usual());
    let mut desk = Desk::new(limits);
    let cost = Notional::whole(50_000);
    let position = Position { size: qty("1"), cost, ..Position::default() };
    desk.gate.position(desk.now, InstrumentId(0), &position);
    let order = |desk: &Desk| Order { instrument: InstrumentId(1), ..desk.order(Side::Buy, "0.01", "50000") };
    let ask = |desk: &mut Desk| {
        let order = order(desk);
        desk.ask(&order)
    };
    assert_eq!(ask(&mut desk).failing, 0);
    desk.refresh(InstrumentId(0), "49200"); // -800 of 100,000 within a minute
    assert_eq!(ask(&mut desk).first, Refusal::ReducingOnly);
    desk.refresh(InstrumentId(0), "50000");
    assert_eq!(ask(&mut desk).brake, State::ReduceOnly, "a loss is not forgiven by a bounce");
    desk.refresh(InstrumentId(0), "48000");
    assert_eq!(ask(&mut desk).brake, State::Halted);
    desk.refresh(InstrumentId(0), "50000");
    desk.arm();
    assert_eq!(ask(&mut desk).brake, State::Active);
}

#[test]
fn margin_and_catastrophes_are_watched_on_time_alone() {
    let mut desk = Desk::new(Limits { max_stress: Notional::whole(1_000), ..limits() });
    desk.hold("0.1");
    desk.gate.tick(desk.now);
    // 5,000 USDT lose more than 2,600 in March 2020: 260 % of the limit
    assert_eq!(
        (desk.gate.brake().global(), desk.gate.trips().worst().1),
        (State::Halted, Some(crate::trips::Cause::Stress))
    );
    let mut desk = Desk::new(limits());
    let wallet = Wallet { equity: Notional::whole(100), maintenance_margin: Notional::whole(66), ..Wallet::default() };
    desk.gate.exec(desk.now, &ExecEvent::Wallet(wallet));
    desk.gate.tick(desk.now);
    assert_eq!(desk.gate.brake().global(), State::ReduceOnly);
    desk.wallet(-1);
    desk.pass(1_000);
    desk.gate.tick(desk.now);
    assert_eq!(desk.gate.brake().global(), State::Halted);
}

#[test]
fn a_position_that_differs_from_the_venues_stops_new_risk_until_they_agree() {
    use keel_core::event::VenuePosition;
    let mut desk = Desk::new(limits());
    let tell = |desk: &mut Desk, size: &str| {
        let position = VenuePosition { size: qty(size), ..VenuePosition::default() };
        desk.gate.exec(desk.now, &ExecEvent::Position(position));
        desk.gate.tick(desk.now);
    };
    let rows: [(&str, u64, &[Refusal]); 4] =
        [("1", 0, &[]), ("1", 2_999, &[]), ("1", 1, &[Refusal::Unreconciled]), ("0", 0, &[])];
    for (at, (size, later, expected)) in rows.into_iter().enumerate() {
        desk.pass(later);
        tell(&mut desk, size);
        let order = desk.order(Side::Buy, "0.001", &format!("4900{at}"));
        check(&mut desk, &order, expected);
    }
}

#[test]
fn new_limits_forget_nothing() {
    let mut desk = Desk::new(limits());
    for at in 0..5 {
        let order = desk.order(Side::Buy, "0.001", &format!("4900{at}"));
        assert_eq!(desk.place(&order).failing, 0);
    }
    let order = desk.order(Side::Buy, "0.001", "48000");
    let tokens = |decision: Decision| decision.measure(Refusal::MessageRate).unwrap().limit;
    let before = tokens(desk.ask(&order));
    let mut next = limits();
    next.version = 2;
    next.instrument.max_order_value = Notional::whole(10);
    desk.gate.reload(desk.now, next.clone(), &table()).unwrap();
    assert_eq!(desk.gate.reload(desk.now, next, &table()), Err(LimitsError::Range("version")), "a version once");
    let order = desk.order(Side::Buy, "0.001", "47000");
    let decision = desk.ask(&order);
    assert_eq!((decision.first, decision.limits, tokens(decision)), (Refusal::OrderValue, 2, before - 1));
    assert_eq!(desk.gate.exposure().orders(), 5);
}

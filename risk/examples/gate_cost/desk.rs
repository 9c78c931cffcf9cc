//! A gate at work: 64 instruments, 1,000 scenarios, 500 working orders, every limit on. One desk for all who measure it.

use keel_core::book::Touch;
use keel_core::event::{
    BookUpdate, Channel, Document, DocumentKind, ExecEvent, Flag, Health, HealthState, Level, Link, LinkState,
    MarketEvent, Op, Order, Origin, Reconciliation, Side, Ticker, Wallet,
};
use keel_core::ids::{ClientId, InstrumentId, StrategyId, Symbol, Text};
use keel_core::instrument::{Instrument, Instruments};
use keel_core::orders::{Change, State as Life};
use keel_core::permit::{Context, Gate as _, LogHealth};
use keel_core::position::Position;
use keel_core::units::{Mono, Notional, Now, Px, Qty, Wall};
use keel_risk::brake::State;
use keel_risk::limits::{Limits, TailLimits};
use keel_risk::throwaway::Throwaway;
use keel_risk::var::{Outcomes, Shock, measure};
use keel_risk::{Gate, Scenarios};

pub(crate) const INSTRUMENTS: u16 = 64;
pub(crate) const SCENARIOS: u32 = 1_000;
pub(crate) const WORKING: u32 = 500;
/// Basis points of the scenarios that make the tail.
pub(crate) const TAIL: u32 = 100;
/// Every mark.
const PRICE: i64 = 50_000;
/// The first instrument's name, which tapes use.
const SYMBOL: &str = "BTCUSDT";

pub(crate) fn instruments() -> Instruments {
    let row = |at: u16| Instrument {
        symbol: Symbol::new(if at == 0 { SYMBOL.to_owned() } else { format!("C{at}USDT") }.as_bytes()).expect("a name"),
        tick: Px::from_raw(10_000_000),
        min_px: Px::from_raw(10_000_000),
        max_px: Px::whole(1_000_000),
        step: Qty::from_raw(100_000),
        min_qty: Qty::from_raw(100_000),
        max_qty: Qty::whole(1_000),
        max_market_qty: Qty::whole(500),
        min_notional: Notional::whole(5),
        max_leverage: 10_000,
        trading: Flag::Yes,
        ..Instrument::default()
    };
    Instruments::new((0..INSTRUMENTS).map(row)).expect("a table")
}

/// Returns from a linear congruential generator: the same on every machine.
fn scenarios(table: &Instruments) -> Scenarios {
    let mut state = 42u64;
    let mut noise = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(state >> 33).unwrap_or(0)) / f64::from(1u32 << 31)
    };
    let series: Vec<(Symbol, Vec<f64>)> = table
        .rows()
        .iter()
        .map(|row| (row.symbol, (0..SCENARIOS).map(|_| (noise() + noise() - 1.0) * 0.1 + 1e-9).collect()))
        .collect();
    let series: Vec<_> = series.iter().map(|(symbol, returns)| (*symbol, returns.as_slice())).collect();
    Scenarios::new(table, &series).expect("whole histories")
}

fn limits() -> Limits {
    let mut limits = Limits::demo();
    limits.max_gross = Notional::whole(50_000_000);
    (limits.max_net, limits.max_stress) = (limits.max_gross, limits.max_gross);
    (limits.instrument.max_position, limits.instrument.max_resting_value) = (limits.max_gross, limits.max_gross);
    limits.max_open_orders = 512;
    let (max_loss, max_shortfall) = (Notional::whole(60_000), Notional::whole(900_000));
    limits.tail = Some(TailLimits { tail: TAIL, max_loss, max_shortfall });
    (limits.message_rate, limits.message_burst, limits.duplicate_window) = (1_000_000, 1_000_000, 0);
    (limits.max_book_age, limits.max_mark_age) = (60_000, 60_000);
    // none of these orders ever fills
    limits.strategies.iter_mut().for_each(|row| (row.rate, row.max_order_to_trade) = (1_000_000, 1_000_000));
    limits
}

pub(crate) fn at(millis: u64) -> Now {
    Now { mono: Mono::from_millis(millis), wall: Wall::from_millis(1_900_000_000_000 + millis) }
}

/// One of the working orders.
pub(crate) fn resting(nth: u32) -> Change {
    let side = if nth.is_multiple_of(2) { Side::Buy } else { Side::Sell };
    let px = Px::whole(if side == Side::Buy { PRICE - 1_000 } else { PRICE + 1_000 });
    Change {
        client: ClientId::new(1, nth),
        instrument: InstrumentId(u16::try_from(nth % u32::from(INSTRUMENTS)).expect("small")),
        strategy: StrategyId(0),
        side,
        reduce_only: Flag::No,
        px_before: px,
        px,
        before: Qty::ZERO,
        after: Qty::from_raw(1_000_000),
        from: Life::Recorded,
        to: Life::Live,
    }
}

/// The gate, synced, funded, released, with its working orders.
pub(crate) fn gate() -> Gate {
    let table = instruments();
    let mut gate = Gate::new(limits(), &table, Some(scenarios(&table)))
        .expect("sound limits")
        .trusting(Throwaway::new(1).people());
    let now = at(1_000);
    let origin = Origin { recv: now.mono, ..Origin::default() };
    for instrument in (0..INSTRUMENTS).map(InstrumentId) {
        let state = HealthState::Synced;
        gate.market(now, &MarketEvent::Health(Health { instrument, state, ..Health::default() }));
        let mut book = BookUpdate::empty(instrument, 50, origin, 1);
        book.flags = BookUpdate::FIRST | BookUpdate::LAST;
        gate.market(now, &MarketEvent::Book(book));
        let (mark, index, volume_24h) = (Px::whole(PRICE), Px::whole(PRICE), Qty::whole(100_000));
        let ticker = Ticker { origin, mark, index, volume_24h, instrument, ..Ticker::default() };
        gate.market(now, &MarketEvent::Ticker(ticker));
        let size = Qty::from_raw(if instrument.0.is_multiple_of(3) { -20_000_000 } else { 30_000_000 });
        gate.position(now, instrument, &Position { size, ..Position::default() });
    }
    for channel in [Channel::Private, Channel::Trade] {
        gate.exec(now, &ExecEvent::Link(Link { channel, state: LinkState::Ready, ..Link::default() }));
    }
    gate.exec(now, &ExecEvent::Reconciliation(Reconciliation { complete: Flag::Yes, ..Reconciliation::default() }));
    gate.exec(now, &ExecEvent::Wallet(Wallet { equity: Notional::whole(10_000_000), ..Wallet::default() }));
    release(&mut gate, now);
    for nth in 1..=WORKING {
        gate.order(now, &resting(nth));
    }
    gate
}

/// Two people who do not exist release the brake.
fn release(gate: &mut Gate, now: Now) {
    let text = Throwaway::new(1).arm(gate.brake().version(), gate.limits().version, now.wall, "a measurement");
    for part in Document::cut(now.mono, Text::default(), DocumentKind::Arm, &text).expect("a short document") {
        gate.document(now, &part);
    }
    while gate.notice(now).is_some() {}
    assert_eq!(gate.brake().global(), State::Active);
}

/// What the engine knows beside the order: a touch one tick to either side of the mark.
pub(crate) fn context() -> Context<'static> {
    let level = |tenths| Level { px: Px::from_raw((PRICE * 10 + tenths) * 10_000_000), qty: Qty::whole(1) };
    Context { touch: Some(Touch { bid: level(-1), ask: level(1) }), working: None, log: LogHealth::Sound }
}

/// An order that may add risk, so that every check runs.
pub(crate) fn order(nth: u64) -> Order {
    Order {
        client: ClientId::new(1, WORKING + 1),
        px: Px::from_raw((PRICE * 10 - 2_000 + (nth % 1_000).cast_signed()) * 10_000_000),
        qty: Qty::from_raw(9_000_000),
        instrument: InstrumentId(u16::try_from(nth % u64::from(INSTRUMENTS)).expect("small")),
        strategy: StrategyId(u16::try_from(nth % 4).expect("small")),
        op: Op::New,
        side: Side::Buy,
        ..Order::default()
    }
}

/// A limit the book all but reaches, so that the tail has to be counted.
pub(crate) fn near(book: &Outcomes) -> f64 {
    measure(&mut book.worst().collect::<Vec<_>>(), TAIL).expect("a tail").var
}

pub(crate) fn shock(nth: u64) -> Shock {
    let instrument = InstrumentId(u16::try_from(nth % u64::from(INSTRUMENTS)).expect("small"));
    Shock { instrument, value: 4_500.0, cost: 0.0 }
}

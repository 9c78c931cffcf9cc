//! What permission costs: the whole gate with 64 instruments, 1,000 scenarios and 500 working orders, and the value-at-risk
//! decision beside a full sort of the same outcomes.
//!
//! `cargo run --release -p keel-risk --example gate_cost`. Each call is timed by itself; the first row is the stopwatch
//! alone, the floor of every other row.
//!
//! On 2 shared AMD EPYC vCPUs, x86-64-v3, p50 in ns, the stopwatch's 20 included:
//!
//! | what | 39 checks, a table of pointers | 45 checks, one straight line; lanes above the floor unread |
//! |---|---|---|
//! | the whole gate, far from its limits | 311 with 45 | 180 |
//! | the whole gate, near its limit | 561, 641 with 45 | 230 |
//! | value at risk: the decision, at its limit | 311 | 100: a full sort takes 16,100 |
//! | the same where every lane must be read | 311 | 271 |
//! | both sums anew, from all legs, once a second | 36,200 | 12,900 |
//! | an order changes, on one instrument; on any of 64 | 391; - | 280; 370 |
#![allow(
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    reason = "a measurement owns its clock"
)]

use keel_core::book::Touch;
use keel_core::event::{
    BookUpdate, Channel, Document, DocumentKind, ExecEvent, Flag, Health, HealthState, Level, Link, LinkState,
    MarketEvent, Op, Order, Origin, Reconciliation, Side, Ticker, Wallet,
};
use keel_core::ids::{ClientId, InstrumentId, StrategyId, Symbol, Text};
use keel_core::instrument::{Instrument, Instruments};
use keel_core::orders::{Change, State};
use keel_core::permit::{Context, Gate as _, LogHealth};
use keel_core::position::Position;
use keel_core::units::{Mono, Notional, Now, Px, Qty, Wall};
use keel_risk::limits::{Limits, TailLimits};
use keel_risk::throwaway::Throwaway;
use keel_risk::var::{Shock, measure};
use keel_risk::{Gate, Scenarios};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

const INSTRUMENTS: u16 = 64;
const SCENARIOS: u32 = 1_000;
const WORKING: u32 = 500;
const CALLS: usize = 200_000;

fn noise(state: &mut u64) -> f64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 11) as f64 / (1u64 << 53) as f64
}

fn instruments() -> Instruments {
    let row = |at: u16| Instrument {
        symbol: Symbol::new(format!("C{at}USDT").as_bytes()).unwrap(),
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
    Instruments::new((0..INSTRUMENTS).map(row)).unwrap()
}

fn scenarios(table: &Instruments) -> Scenarios {
    let mut state = 42;
    let series: Vec<(Symbol, Vec<f64>)> = table
        .rows()
        .iter()
        .map(|row| {
            (row.symbol, (0..SCENARIOS).map(|_| (noise(&mut state) + noise(&mut state) - 1.0) * 0.1 + 1e-9).collect())
        })
        .collect();
    let series: Vec<_> = series.iter().map(|(symbol, r)| (*symbol, r.as_slice())).collect();
    Scenarios::new(table, &series).unwrap()
}

fn limits() -> Limits {
    let mut limits = Limits::demo();
    limits.max_gross = Notional::whole(50_000_000);
    limits.max_net = limits.max_gross;
    limits.instrument.max_position = limits.max_gross;
    limits.max_stress = limits.max_gross;
    limits.max_open_orders = 512;
    limits.tail =
        Some(TailLimits { tail: 100, max_loss: Notional::whole(60_000), max_shortfall: Notional::whole(900_000) });
    (limits.message_rate, limits.message_burst, limits.duplicate_window) = (1_000_000, 1_000_000, 0);
    // none of these orders ever fills
    limits.strategies.iter_mut().for_each(|row| (row.rate, row.max_order_to_trade) = (1_000_000, 1_000_000));
    limits
}

fn at(millis: u64) -> Now {
    Now { mono: Mono::from_millis(millis), wall: Wall::from_millis(1_900_000_000_000 + millis) }
}

fn desk() -> Gate {
    let table = instruments();
    let people = Throwaway::new(1);
    let mut gate = Gate::new(limits(), &table, Some(scenarios(&table))).unwrap().trusting(people.people());
    let now = at(1_000);
    let origin = Origin { recv: now.mono, ..Origin::default() };
    for id in (0..INSTRUMENTS).map(InstrumentId) {
        gate.market(
            now,
            &MarketEvent::Health(Health { instrument: id, state: HealthState::Synced, ..Health::default() }),
        );
        let mut book = BookUpdate::empty(id, 50, origin, 1);
        book.flags = BookUpdate::FIRST | BookUpdate::LAST;
        gate.market(now, &MarketEvent::Book(book));
        let px = Px::whole(50_000);
        gate.market(
            now,
            &MarketEvent::Ticker(Ticker {
                origin,
                mark: px,
                index: px,
                volume_24h: Qty::whole(100_000),
                instrument: id,
                ..Ticker::default()
            }),
        );
        let size = Qty::from_raw(if id.0 % 3 == 0 { -20_000_000 } else { 30_000_000 });
        gate.position(now, id, &Position { size, ..Position::default() });
    }
    for channel in [Channel::Private, Channel::Trade] {
        gate.exec(now, &ExecEvent::Link(Link { channel, state: LinkState::Ready, ..Link::default() }));
    }
    gate.exec(now, &ExecEvent::Reconciliation(Reconciliation { complete: Flag::Yes, ..Reconciliation::default() }));
    gate.exec(now, &ExecEvent::Wallet(Wallet { equity: Notional::whole(10_000_000), ..Wallet::default() }));
    let text = people.arm(gate.brake().version(), gate.limits().version, now.wall, "a measurement");
    for part in Document::cut(now.mono, Text::EMPTY, DocumentKind::Arm, &text).into_iter().flatten() {
        gate.document(now, &part);
    }
    assert_eq!(gate.brake().global(), keel_risk::brake::State::Active);
    for count in 1..=WORKING {
        gate.order(now, &resting(count));
    }
    gate
}

/// The same limits with a value-at-risk limit that the book all but reaches.
fn near_limit(gate: &Gate) -> Limits {
    let mut worst: Vec<f64> = gate.outcomes().unwrap().worst().collect();
    let var = measure(&mut worst, 100).unwrap().var;
    let max_loss = Notional::whole(var as i64 + 1_000);
    let tail = Some(TailLimits { tail: 100, max_loss, max_shortfall: Notional::whole(900_000) });
    Limits { version: 2, tail, ..gate.limits().clone() }
}

fn resting(count: u32) -> Change {
    let side = if count.is_multiple_of(2) { Side::Buy } else { Side::Sell };
    let px = if side == Side::Buy { Px::whole(49_000) } else { Px::whole(51_000) };
    Change {
        client: ClientId::new(1, count),
        instrument: InstrumentId(u16::try_from(count % u32::from(INSTRUMENTS)).unwrap()),
        strategy: StrategyId(0),
        side,
        reduce_only: Flag::No,
        px_before: px,
        px,
        before: Qty::ZERO,
        after: Qty::from_raw(1_000_000),
        from: State::Recorded,
        to: State::Live,
    }
}

fn show(name: &str, mut nanos: Vec<u64>) {
    nanos.sort_unstable();
    let p = |permille: usize| nanos[(nanos.len() - 1) * permille / 1000];
    println!("{name:<44} p50 {:>6}  p90 {:>6}  p99 {:>6}  p99.9 {:>6} ns", p(500), p(900), p(990), p(999));
}

fn time(name: &str, calls: usize, mut call: impl FnMut(usize)) {
    (0..calls / 10).for_each(&mut call);
    let mut nanos = Vec::with_capacity(calls);
    for nth in 0..calls {
        let from = Instant::now();
        call(nth);
        nanos.push(u64::try_from(from.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    show(name, nanos);
}

fn main() {
    let mut gate = desk();
    let level = |px: i64| Level { px: Px::from_raw(px * 10_000_000), qty: Qty::whole(1) };
    let touch = Some(Touch { bid: level(499_999), ask: level(500_001) });
    let context = Context { touch, working: None, log: LogHealth::Sound };
    let now = at(1_001);
    let order = |nth: usize, qty: i64| Order {
        client: ClientId::new(1, WORKING + 1),
        px: Px::from_raw((498_000 + (nth % 1_000) as i64) * 10_000_000),
        qty: Qty::from_raw(qty),
        instrument: InstrumentId(u16::try_from(nth % usize::from(INSTRUMENTS)).unwrap()),
        strategy: StrategyId(u16::try_from(nth % 4).unwrap()),
        op: Op::New,
        side: Side::Buy,
        ..Order::default()
    };
    println!("{INSTRUMENTS} instruments, {SCENARIOS} scenarios, {WORKING} working orders; one call at a time, ns");
    time("the stopwatch alone", CALLS, |nth| {
        black_box(nth);
    });
    // every order may add risk, so every check runs; near its limit the tail must be counted, far from it a bound is enough
    for (name, extra) in [("the whole gate, far from its limits", 0), ("the whole gate, near its limit", 1)] {
        if extra == 1 {
            gate.reload(now, near_limit(&gate), &instruments()).unwrap();
        }
        let (mut passed, mut refused, mut reasons) = (0, 0, BTreeMap::new());
        time(name, CALLS, |nth| {
            let now = at(now.mono.millis() + nth as u64 / 100_000);
            match gate.judge(now, black_box(&order(nth, 9_000_000)), &context) {
                Ok(approved) => passed += u64::from(black_box(approved).decision().failing == 0),
                Err(refusal) => {
                    refused += 1;
                    *reasons.entry(black_box(refusal).decision().first.name()).or_insert(0u32) += 1;
                }
            }
        });
        println!("{passed:>48} passed, {refused} refused {reasons:?}");
    }
    let book = gate.outcomes().unwrap();
    let shock =
        |nth: usize| Shock { instrument: InstrumentId(u16::try_from(nth % 64).unwrap()), value: 4_500.0, cost: 0.0 };
    let worst: Vec<f64> = book.worst().collect();
    let limit = measure(&mut worst.clone(), 100).unwrap().var;
    time("value at risk: the decision, at its limit", CALLS, |nth| {
        black_box(book.tail(black_box(limit), shock(nth)));
    });
    // in the middle of the book every lane holds a loss beyond it: nothing can be left unread
    let median = { worst.clone().select_nth_unstable_by(worst.len() / 2, f64::total_cmp).1.abs() };
    time("value at risk: the decision, at its worst", CALLS, |nth| {
        black_box(book.tail(black_box(median), shock(nth)));
    });
    time("value at risk: a full sort", CALLS / 10, |nth| {
        let shock = shock(nth);
        let mut all: Vec<f64> = worst
            .iter()
            .enumerate()
            .map(|(s, w)| w + (shock.value * book.scenarios().at(shock.instrument, s)).min(0.0))
            .collect();
        all.sort_unstable_by(f64::total_cmp);
        black_box(all[9]);
    });
    time("value at risk: exact, by selection", CALLS / 10, |nth| {
        let shock = shock(nth);
        let mut all = worst.clone();
        all.iter_mut()
            .enumerate()
            .for_each(|(s, w)| *w += (shock.value * book.scenarios().at(shock.instrument, s)).min(0.0));
        black_box(measure(&mut all, 100));
    });
    let mut whole = gate.outcomes().unwrap().clone();
    time("both sums anew, from all legs (once a second)", 2_000, |_| {
        black_box(whole.recompute());
    });
    // any of the working orders, on any instrument
    let flip = |nth: usize| {
        let count = u32::try_from(nth * 7 % WORKING as usize).unwrap() + 1;
        Change { after: Qty::from_raw(1_000_000 + i64::from(nth.is_multiple_of(2)) * 1_000_000), ..resting(count) }
    };
    time("an order changes: exposure and both sums", CALLS, |nth| gate.order(now, black_box(&flip(nth))));
}

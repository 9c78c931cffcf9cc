//! Sizes: goldens, the twin of the shortfall bound, and what must hold for every size.

use super::*;
use crate::exposure::Legs;
use crate::gate::tests::{instrument, table};
use crate::var::Scenarios;
use crate::var::tests::near;
use proptest::prelude::*;

const SURE: Edge = Edge { wins: 6_000, losses: 4_000, win: 0.02, loss: 0.01, cost: 0.001 };
const RULES: Rules = Rules {
    kappa: 0.25,
    volatility: 0.02,
    trade_risk: 0.01,
    max_drawdown: 0.1,
    participation: 0.1,
    tail: 100,
    max_shortfall: 6_000.0,
    max_loss: 4_000.0,
    max_stress: 25_000.0,
};

fn book(returns: &[f64], held: f64) -> Outcomes {
    let mut book = Outcomes::new(Scenarios::new(&table(), &[(instrument("BTCUSDT").symbol, returns)]).unwrap());
    book.update(InstrumentId(0), Legs { position: held, ..Legs::default() });
    book
}

fn state<'a>(outcomes: &'a Outcomes, stress: &'a Outcomes) -> State<'a> {
    State {
        equity: 100_000.0,
        drawdown: 0.0,
        volatility: 0.025,
        volume: 1_000.0,
        position_room: 40_000.0,
        margin_room: 500_000.0,
        outcomes,
        stress,
    }
}

fn ask(edge: &Edge, rules: &Rules, state: &State<'_>) -> Sized {
    size(edge, Side::Buy, Px::whole(50_000), &instrument("BTCUSDT"), rules, state)
}

#[test]
fn golden_kelly() {
    let edge = Edge { cost: 0.0, ..SURE };
    near(edge.kelly(0.55), 32.5, 1e-12);
    let losing = Edge { win: -0.01, loss: 0.02, ..edge };
    assert_eq!(losing.kelly(0.55), 0.0, "a losing trade has no size");
    for broken in [
        Edge { win: f64::NAN, ..edge },
        Edge { win: 0.0, ..edge },
        Edge { loss: 0.0, ..edge },
        Edge { loss: f64::INFINITY, ..edge },
        Edge { cost: -1.0, ..edge },
        Edge { win: 0.001, loss: 0.03, ..edge },
    ] {
        assert_eq!(broken.kelly(0.6), 0.0, "{broken:?}");
    }
    assert_eq!((edge.kelly(f64::NAN), edge.kelly(1.5)), (0.0, 0.0));
}

#[test]
fn a_record_is_shrunk_to_what_it_proves() {
    // scipy.stats.beta.ppf(0.05, a, b)
    for (wins, losses, p) in [(0, 0, 0.05), (1, 0, 0.223_606_797_749_979), (0, 1, 0.025_320_565_519_103_61)] {
        near(Edge { wins, losses, ..SURE }.probability(), p, 1e-9);
    }
    let few = Edge { wins: 6, losses: 4, ..SURE }.probability();
    assert!(few < 0.4 && SURE.probability() > 0.59 && SURE.probability() < 0.6);
}

#[test]
fn each_bound_can_be_the_one() {
    let days: Vec<f64> = (0..1_000).map(|d| if d % 20 == 0 { -0.05 } else { 0.003 }).collect();
    let (calm, still) = (book(&days, 0.0), book(&[-0.3, 0.2], 0.0));
    let base = state(&calm, &still);
    type Row = (fn(&mut Rules, &mut State<'_>), Bound, f64);
    let rows: [Row; 9] = [
        (|_, _| {}, Bound::Position, 40_000.0),
        (|r, _| r.kappa = 0.005, Bound::Kelly, f64::NAN),
        (|r, _| r.volatility = 0.005, Bound::Volatility, 20_000.0),
        (|r, _| r.trade_risk = 0.0022, Bound::TradeRisk, 20_000.0),
        (|r, _| r.max_shortfall = 1_000.0, Bound::Shortfall, 20_000.0),
        (|r, _| r.max_loss = 1_000.0, Bound::ValueAtRisk, 20_000.0),
        (|r, _| r.max_stress = 6_000.0, Bound::Stress, 20_000.0),
        (|_, s| s.volume = 4.0, Bound::Participation, 20_000.0),
        (|_, s| s.margin_room = 20_000.0, Bound::Margin, 20_000.0),
    ];
    for (change, bound, room) in rows {
        let (mut rules, mut state) = (RULES, base);
        change(&mut rules, &mut state);
        let sized = ask(&SURE, &rules, &state);
        assert_eq!(sized.bound, bound, "{sized:?}");
        if room.is_finite() {
            near(sized.qty.to_f64() * 50_000.0, room, 0.003);
        }
    }
    let drawn = State { drawdown: 0.1, ..base };
    assert_eq!((ask(&SURE, &RULES, &drawn).qty, ask(&SURE, &RULES, &drawn).bound), (Qty::ZERO, Bound::Kelly));
    let dust = State { position_room: 3.0, ..base };
    assert_eq!((ask(&SURE, &RULES, &dust).qty, ask(&SURE, &RULES, &dust).bound), (Qty::ZERO, Bound::BelowMinimum));
    let full = book(&days, 90_000.0);
    assert_eq!(ask(&SURE, &RULES, &state(&full, &still)).qty, Qty::ZERO, "the book is at its limit already");
    let stranger = size(&SURE, Side::Buy, Px::whole(50_000), &table().rows()[2].clone(), &RULES, &base);
    assert_eq!(stranger.qty, Qty::ZERO, "no history, no size");
}

proptest! {
    #[test]
    fn the_shortfall_bound_agrees_with_bisection(
        days in prop::collection::vec(-0.3f64..0.3, 20..300), held in -5e4f64..5e4, limit in 100f64..20_000.0,
        sell in any::<bool>(), tail in 50u32..1_000,
    ) {
        prop_assume!(days.iter().all(|r| *r == 0.0 || r.is_normal()));
        let book = book(&days, held);
        let tail = Tail { outcomes: &book, instrument: InstrumentId(0), sign: if sell { -1.0 } else { 1.0 }, tail };
        let cap = 200_000.0;
        let fast = tail.shortfall_room(limit, cap).min(cap);
        let fits = |room: f64| tail.shortfall(room).0 <= limit;
        let (mut low, mut high) = (0.0, cap);
        for _ in 0..80 {
            let middle = (low + high) / 2.0;
            if fits(middle) { low = middle } else { high = middle }
        }
        let slow = if !fits(0.0) { 0.0 } else if fits(cap) { cap } else { low };
        prop_assert!((fast - slow).abs() <= 1e-3 + 1e-6 * slow, "{} {}", fast, slow);
    }

    #[test]
    fn a_size_is_never_negative_never_above_a_bound_and_grows_with_the_edge(
        wins in 0u32..500, losses in 0u32..500, win in -0.05f64..0.1, loss in -0.01f64..0.05, cost in 0f64..0.01,
        more in 0f64..0.05, held in -5e4f64..5e4, drawdown in 0f64..0.2, equity in -1e4f64..1e6, sell in any::<bool>(),
    ) {
        let days: Vec<f64> = (0..200).map(|d| ((d * 7919 % 200) as f64 - 100.0) / 1_000.0).collect();
        let (past, stress) = (book(&days, held), book(&[-0.3, 0.2], held));
        let state = State { drawdown, equity, ..state(&past, &stress) };
        let side = if sell { Side::Sell } else { Side::Buy };
        let edge = Edge { wins, losses, win, loss, cost };
        let ask = |edge: &Edge| size(edge, side, Px::whole(50_000), &instrument("BTCUSDT"), &RULES, &state);
        let (less, greater) = (ask(&edge), ask(&Edge { win: win + more, ..edge }));
        prop_assert!(less.qty >= Qty::ZERO);
        for (bound, room) in less.bounds {
            prop_assert!(less.qty.to_f64() * 50_000.0 <= room + 1e-6, "{:?}", bound);
        }
        prop_assert!(greater.qty >= less.qty);
        if edge.earns(edge.probability()) <= 0.0 || equity <= 0.0 {
            prop_assert_eq!(less.qty, Qty::ZERO);
        }
    }
}

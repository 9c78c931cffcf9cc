//! Value at risk against its slow twin, its golden values, and numbers that are none.
//!
//! Golden values: computed with numpy 2.4.6, scipy 1.17.1 and pandas 3.1.1, tolerance 1e-9 relative unless stated; those
//! of the real book need the recorded daily returns.

use super::*;
use crate::gate::tests::{instrument, table};
use proptest::prelude::*;

/// Obviously right: sort everything, read off.
fn sorted(outcomes: &[f64], tail_bps: u32) -> Risk {
    let mut all = outcomes.to_vec();
    all.sort_by(f64::total_cmp);
    let k = (1..=all.len()).find(|k| k * 10_000 >= all.len() * tail_bps as usize).unwrap();
    let mass = all.len() as f64 * f64::from(tail_bps) / 10_000.0;
    let mut left = mass;
    let mut es = 0.0;
    for x in &all {
        let weight = left.min(1.0);
        es += weight * x;
        left -= weight;
        if left <= 0.0 {
            break;
        }
    }
    Risk { var: -all[k - 1], es: -es / mass, k }
}

pub(crate) fn near(ours: f64, theirs: f64, tolerance: f64) {
    assert!((ours - theirs).abs() <= tolerance * theirs.abs().max(1.0), "{ours} is not {theirs}");
}

const G1: [f64; 20] =
    [-9.1, -2.8, 0.9, -7.4, -2.2, 1.4, -6.2, -1.7, 2.6, -5.5, -1.1, 3.8, -4.9, -0.6, 5.0, -4.1, -0.2, 7.7, -3.3, 0.3];

#[test]
fn golden_order_statistics() {
    for (tail, k, var, es) in [(500, 1, 9.1, 9.1), (1_000, 2, 7.4, 8.25), (1_250, 3, 6.2, 7.84), (100, 1, 9.1, 9.1)] {
        let risk = measure(&mut G1.clone(), tail).unwrap();
        assert_eq!(risk.k, k);
        near(risk.var, var, 1e-12);
        near(risk.es, es, 1e-12);
    }
}

#[test]
fn the_index_of_the_tail_comes_from_integers() {
    for (n, tail, k) in
        [(1000, 100, 10), (500, 100, 5), (998, 100, 10), (250, 100, 3), (100, 500, 5), (100, 1000, 10), (1, 1, 1)]
    {
        assert_eq!(tail_count(n, tail), k, "{n} {tail}");
    }
}

#[test]
fn all_gains_are_a_negative_loss_and_not_a_positive_one() {
    near(measure(&mut [0.01, 0.02, 0.03], 100).unwrap().var, -0.01, 1e-12);
}

#[test]
fn numbers_that_are_none_are_no_answer() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(measure(&mut [0.1, bad, 0.2], 100), None);
    }
    assert_eq!((measure(&mut [], 100), measure(&mut [1.0], 0), measure(&mut [1.0], 10_001)), (None, None, None));
    let symbol = instrument("BTCUSDT").symbol;
    for bad in [f64::NAN, f64::INFINITY, f64::MIN_POSITIVE / 2.0, -1.01, 101.0] {
        let series = [0.0, bad, 0.1];
        assert_eq!(Scenarios::new(&table(), &[(symbol, &series)]).err(), Some(LimitsError::BadScenarios), "{bad}");
    }
    assert!(Scenarios::new(&table(), &[]).is_err() && Scenarios::new(&table(), &[(symbol, &[])]).is_err());
    let other = instrument("ETHUSDT").symbol;
    assert!(Scenarios::new(&table(), &[(symbol, &[0.1, 0.2]), (other, &[0.1])]).is_err(), "unequal lengths");
    let zero = Scenarios::new(&table(), &[(symbol, &[-0.0])]).unwrap();
    assert_eq!(zero.at(InstrumentId(0), 0).to_bits(), 0, "minus zero is zero");
}

#[test]
fn a_leg_that_is_no_number_refuses_every_later_order() {
    let symbol = instrument("BTCUSDT").symbol;
    let shock = Shock { instrument: InstrumentId(0), value: 1.0, cost: 0.0 };
    for bad in [f64::NAN, f64::INFINITY, 1e300] {
        let mut book = Outcomes::new(Scenarios::new(&table(), &[(symbol, &[0.01, -0.02])]).unwrap());
        assert_eq!(book.tail(1.0, shock).beyond, 0);
        assert_eq!(book.tail(1.0, Shock { value: bad, ..shock }).beyond, u32::MAX);
        assert_eq!(book.tail(1.0, Shock { cost: bad, ..shock }).beyond, u32::MAX);
        assert_eq!(book.tail(1.0, Shock { cost: -1.0, ..shock }).beyond, u32::MAX);
        assert_eq!(book.tail(f64::NAN, shock).beyond, u32::MAX);
        book.update(InstrumentId(0), Legs { position: bad, ..Legs::default() });
        book.update(InstrumentId(0), Legs::default());
        assert_eq!(book.tail(1.0, shock).beyond, u32::MAX);
        assert!(book.worst_loss(shock).is_infinite());
        assert!(bad == 1e300 || book.recompute().is_infinite());
    }
}

#[test]
fn the_drift_is_that_of_the_scenario_furthest_off_and_one_that_is_none_is_not_forgotten() {
    let symbol = instrument("BTCUSDT").symbol;
    let returns: Vec<f64> = (1..=40).map(|at| f64::from(at) / 1_000.0).collect();
    let mut book = Outcomes::new(Scenarios::new(&table(), &[(symbol, &returns)]).unwrap());
    book.update(InstrumentId(0), Legs { position: 1_000.0, ..Legs::default() });
    for (off, drift) in [(0.0, 0.0), (3.0, 0.003), (f64::NAN, f64::INFINITY), (f64::INFINITY, f64::INFINITY)] {
        (book.worst[1].0[2], book.filled[2].0[3]) = (book.worst[1].0[2] + off, book.filled[2].0[3] + off / 2.0);
        for found in [book.drift(), book.recompute()] {
            assert!(found == drift || (found - drift).abs() < 1e-12, "{found} is not {drift}");
        }
        assert!(book.recompute() == 0.0, "what is recomputed is in force");
    }
}

fn symbol(at: usize) -> Symbol {
    Symbol::new(format!("S{at}USDT").as_bytes()).unwrap()
}

fn book(returns: &[Vec<f64>]) -> Outcomes {
    let rows = (0..returns.len()).map(|at| keel_core::instrument::Instrument { symbol: symbol(at), ..instrument("X") });
    let instruments = Instruments::new(rows).unwrap();
    let series: Vec<_> = returns.iter().enumerate().map(|(at, r)| (symbol(at), r.as_slice())).collect();
    Outcomes::new(Scenarios::new(&instruments, &series).unwrap())
}

fn id(at: usize) -> InstrumentId {
    InstrumentId(u16::try_from(at).unwrap())
}

fn returns(instruments: usize) -> impl Strategy<Value = Vec<Vec<f64>>> {
    (1usize..140)
        .prop_flat_map(move |n| prop::collection::vec(prop::collection::vec(-0.5f64..0.6, n), instruments))
        .prop_filter("subnormal", |rows| rows.iter().flatten().all(|r| *r == 0.0 || r.is_normal()))
}

proptest! {
    #[test]
    fn selection_equals_a_full_sort(outcomes in prop::collection::vec(-1e6f64..1e6, 1..300), tail in 1u32..3_000) {
        let (fast, slow) = (measure(&mut outcomes.clone(), tail).unwrap(), sorted(&outcomes, tail));
        prop_assert_eq!((fast.var.to_bits(), fast.k), (slow.var.to_bits(), slow.k));
        prop_assert!((fast.es - slow.es).abs() <= 1e-9 * slow.es.abs().max(1.0));
    }

    #[test]
    fn the_count_decides_as_a_full_sort_does(
        rows in returns(2), held in -1e5f64..1e5, buys in 0f64..1e5, sells in 0f64..1e5,
        value in -1e5f64..1e5, cost in 0f64..100.0, limit in 1f64..60_000.0, tail in 10u32..1_000,
    ) {
        let mut book = book(&rows);
        book.update(id(0), Legs { position: held, buys, sells });
        book.update(id(1), Legs { position: -held, buys: sells, sells: buys });
        let shock = Shock { instrument: id(1), value, cost };
        let seen = book.tail(limit, shock);
        let outcomes: Vec<f64> = book.worst().zip(&rows[1]).map(|(w, r)| w + (value * r).min(0.0) - cost).collect();
        let (n, slow) = (outcomes.len(), sorted(&outcomes, tail));
        // a value within rounding of the limit may fall on either side here; below, in the count's own sums, none may
        if (slow.var - limit).abs() > 1e-6 {
            prop_assert_eq!((seen.beyond as usize) < tail_count(n, tail), slow.var <= limit);
        }
        let excess: f64 = outcomes.iter().map(|x| (-x - limit).max(0.0)).sum();
        prop_assert!((seen.excess - excess).abs() <= 1e-6 * excess.max(1.0));
        let bound = limit + seen.excess / (n as f64 * f64::from(tail) / 10_000.0);
        prop_assert!(slow.es <= bound + 1e-6 * bound.abs());
        let worst = outcomes.iter().map(|x| -x).fold(cost, f64::max);
        prop_assert!((book.worst_loss(shock) - worst).abs() <= 1e-6 * worst.max(1.0));
    }

    #[test]
    fn the_count_is_a_full_sort_to_the_last_bit_at_every_scenario(
        rows in returns(2), held in -1e5f64..1e5, buys in 0f64..1e5, value in -1e5f64..1e5, cost in 0f64..100.0,
        nudge in -2i8..3, pick in any::<prop::sample::Index>(), tied in any::<bool>(),
    ) {
        let rows: Vec<Vec<f64>> = if tied {
            rows.iter().map(|row| row.iter().map(|r| (r * 20.0).round() / 20.0 + 0.0).collect()).collect()
        } else {
            rows
        };
        let mut book = book(&rows);
        book.update(id(0), Legs { position: held, buys, sells: 0.0 });
        let mut sums: Vec<f64> =
            book.worst().zip(&rows[1]).map(|(w, r)| w + if value * r < 0.0 { value * r } else { 0.0 }).collect();
        sums.sort_by(f64::total_cmp);
        // the floor is an outcome of the book, or one of its neighbours among the numbers there are
        let mut floor = sums[pick.index(sums.len())];
        for _ in 0..nudge.abs() {
            floor = if nudge < 0 { floor.next_down() } else { floor.next_up() };
        }
        let limit = cost - floor;
        prop_assume!(limit > 0.0);
        let floor = cost - limit;
        let seen = book.tail(limit, Shock { instrument: id(1), value, cost });
        let beyond = sums.iter().take_while(|x| **x < floor).count();
        prop_assert_eq!(seen.beyond as usize, beyond);
        for k in 1..=sums.len() {
            // the k-th worst outcome stands above the floor exactly when fewer than k lie beyond it
            prop_assert_eq!((seen.beyond as usize) < k, sums[k - 1] >= floor);
        }
        let excess: f64 = sums.iter().take(beyond).map(|x| floor - x).sum();
        prop_assert!((seen.excess - excess).abs() <= 1e-9 * excess.max(1.0));
    }

    #[test]
    fn the_worst_fill_bounds_every_subset_of_fills(
        rows in returns(3), held in prop::collection::vec(-1e5f64..1e5, 3),
        orders in prop::collection::vec((0usize..3, -5e4f64..5e4), 0..8), tail in 10u32..1_000,
    ) {
        let mut book = book(&rows);
        for at in 0..3 {
            let side = |sign: f64| orders.iter().filter(|(on, v)| *on == at && v * sign > 0.0).map(|(_, v)| v.abs()).sum();
            book.update(id(at), Legs { position: held[at], buys: side(1.0), sells: side(-1.0) });
        }
        let bound = measure(&mut book.worst().collect::<Vec<_>>(), tail).unwrap();
        for subset in 0u32..1 << orders.len() {
            let mut outcomes: Vec<f64> = (0..rows[0].len()).map(|s| (0..3).map(|at| held[at] * rows[at][s]).sum()).collect();
            for (nth, (on, value)) in orders.iter().enumerate() {
                if subset >> nth & 1 == 1 {
                    outcomes.iter_mut().zip(&rows[*on]).for_each(|(x, r)| *x += value * r);
                }
            }
            let risk = measure(&mut outcomes, tail).unwrap();
            prop_assert!(risk.var <= bound.var + 1e-6 && risk.es <= bound.es + 1e-6, "{:?} {:?}", risk, bound);
        }
    }

    #[test]
    fn steps_and_a_recomputation_agree_and_a_replay_gives_the_same_bits(
        rows in returns(3), moves in prop::collection::vec((0usize..3, -1e6f64..1e6, 0f64..1e6, 0f64..1e6), 1..200)
    ) {
        let play = || {
            let mut book = book(&rows);
            for (at, position, buys, sells) in &moves {
                book.update(id(*at), Legs { position: *position, buys: *buys, sells: *sells });
            }
            book
        };
        let (mut one, two) = (play(), play());
        let bits = |book: &Outcomes| book.worst().chain(book.filled()).map(f64::to_bits).collect::<Vec<_>>();
        prop_assert_eq!(bits(&one), bits(&two));
        let (drift, before) = (one.drift(), bits(&one));
        prop_assert_eq!(before, bits(&one), "asking changes nothing");
        prop_assert_eq!(drift.to_bits(), two.clone().recompute().to_bits());
        prop_assert!(one.recompute() < 1e-12);
        prop_assert_eq!(one.recompute().to_bits(), 0f64.to_bits());
    }
}

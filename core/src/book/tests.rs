//! The book against maps that are obviously right.

use super::*;
use crate::event::Origin;
use crate::ids::InstrumentId;
use proptest::prelude::*;
use std::collections::BTreeMap;

const TICK: Px = Px::from_raw(1);

fn update(flags: u8, bids: &[(i64, i64)], asks: &[(i64, i64)]) -> BookUpdate {
    let mut update = BookUpdate::empty(InstrumentId(0), 50, Origin::default(), 1);
    update.flags = flags | BookUpdate::FIRST | BookUpdate::LAST;
    for (slot, (px, qty)) in bids.iter().chain(asks).enumerate() {
        update.levels[slot] = Level { px: Px::from_raw(*px), qty: Qty::from_raw(*qty) };
    }
    update.bids = u8::try_from(bids.len()).unwrap();
    update.asks = u8::try_from(asks.len()).unwrap();
    update
}

#[test]
fn a_full_ladder_says_so_and_a_snapshot_starts_over() {
    let mut book = Book::new(TICK, 2);
    book.apply(&update(BookUpdate::SNAPSHOT, &[(10, 1), (9, 1)], &[(11, 1)])).unwrap();
    assert_eq!(book.apply(&update(0, &[(8, 1)], &[])), Err(HealthReason::Overflow));
    book.apply(&update(BookUpdate::SNAPSHOT, &[(7, 3)], &[(8, 2)])).unwrap();
    assert_eq!(book.touch().map(|t| (t.bid.px.raw(), t.ask.px.raw())), Some((7, 8)));
}

#[test]
fn a_crossed_or_empty_book_has_no_touch() {
    let mut book = Book::new(TICK, 4);
    assert!(book.touch().is_none() && !book.is_crossed());
    book.apply(&update(0, &[(12, 1)], &[(11, 1)])).unwrap();
    assert!(book.touch().is_none() && book.is_crossed());
}

#[test]
fn a_message_may_swell_but_must_end_inside_the_depth() {
    let mut book = Book::new(TICK, 2);
    book.apply(&update(BookUpdate::SNAPSHOT, &[(10, 1), (9, 1)], &[(11, 1), (12, 1)])).unwrap();
    book.apply(&update(0, &[(8, 1), (7, 1), (10, 0), (9, 0)], &[])).unwrap();
    assert_eq!(book.levels(Side::Buy).map(|l| l.px.raw()).collect::<Vec<_>>(), [8, 7]);
    let five: Vec<(i64, i64)> = (20..25).map(|px| (px, 1)).collect();
    assert_eq!(book.apply(&update(0, &[], &five)), Err(HealthReason::Overflow));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn equals_a_naive_map(changes in prop::collection::vec((any::<bool>(), 1i64..40, 0i64..4), 1..400), drift in -2i64..3) {
        let mut book = Book::new(TICK, 40);
        let mut naive = [BTreeMap::new(), BTreeMap::new()];
        for (step, (buy, px, qty)) in changes.into_iter().enumerate() {
            let (side, map) = if buy { (Side::Buy, 0) } else { (Side::Sell, 1) };
            let moved = px + 2000 + drift * i64::try_from(step).unwrap() / 8;
            let px = if buy { moved } else { moved + 100 };
            if naive[map].len() == 40 && qty != 0 && !naive[map].contains_key(&px) { continue; }
            let (bids, asks) = if buy { (vec![(px, qty)], vec![]) } else { (vec![], vec![(px, qty)]) };
            book.apply(&update(0, &bids, &asks)).unwrap();
            if qty == 0 { naive[map].remove(&px); } else { naive[map].insert(px, qty); }
            let mut expected: Vec<_> = naive[map].iter().map(|(p, q)| (*p, *q)).collect();
            if buy { expected.reverse(); }
            let have: Vec<_> = book.levels(side).map(|l| (l.px.raw(), l.qty.raw())).collect();
            prop_assert_eq!(have, expected);
            prop_assert_eq!(book.at(side, Px::from_raw(px)).raw(), qty);
        }
    }

    #[test]
    fn whole_messages_equal_a_naive_map_in_any_order(
        messages in prop::collection::vec((prop::collection::vec((any::<bool>(), 1i64..60, 0i64..3), 0..50), 0u8..3), 1..40),
    ) {
        let mut book = Book::new(TICK, 60);
        let mut naive = [BTreeMap::new(), BTreeMap::new()];
        for (u, (mut changes, order)) in messages.into_iter().enumerate() {
            // Best first, as the venue writes; then a price twice or out of order, as it should not.
            if order > 0 {
                changes.sort_by_key(|(buy, px, _)| if *buy { -px } else { *px });
            }
            if order > 1 {
                changes.dedup_by_key(|(buy, px, _)| (*buy, *px));
            }
            let side = |buy: bool| {
                let of = changes.iter().filter(|change| change.0 == buy);
                let level = |px: i64, qty: i64| Level { px: Px::from_raw(px), qty: Qty::from_raw(qty) };
                of.map(|(_, px, qty)| level(px + if buy { 0 } else { 100 }, *qty)).collect::<Vec<_>>()
            };
            let (bids, asks) = (side(true), side(false));
            book.apply_message(false, u as u64, &bids, &asks).unwrap();
            for (map, levels) in naive.iter_mut().zip([&bids, &asks]) {
                for level in levels {
                    if level.qty.is_zero() { map.remove(&level.px); } else { map.insert(level.px, level.qty); }
                }
            }
            let have = |side| book.levels(side).map(|l| (l.px, l.qty)).collect::<Vec<_>>();
            prop_assert_eq!(have(Side::Buy), naive[0].iter().rev().map(|(p, q)| (*p, *q)).collect::<Vec<_>>());
            prop_assert_eq!(have(Side::Sell), naive[1].iter().map(|(p, q)| (*p, *q)).collect::<Vec<_>>());
        }
    }

    /// Prices anywhere: near the touch, a window away, at the ends of the unit, on grids of any size; the touch wanders and
    /// jumps, so that windows slide both ways and levels come back out of the spill.
    #[test]
    fn a_book_is_right_anywhere(
        tick in prop_oneof![Just(1i64), 2i64..50, Just(1_000_000), Just(10_000_000)],
        messages in prop::collection::vec(
            (prop_oneof![8 => -30i64..30, 2 => -600i64..600, 1 => -900_000i64..900_000],
             prop::collection::vec(
                (any::<bool>(), prop_oneof![10 => 0i64..60, 2 => 0i64..700, 1 => 0i64..1_000_000_000], 0i64..4), 0..20),
             prop::bool::weighted(0.05)),
            1..60),
    ) {
        let capacity = 60;
        let mut book = Book::new(Px::from_raw(tick), capacity);
        let mut naive = [BTreeMap::new(), BTreeMap::new()];
        let mut middle = 2_000_000_000i64;
        for (u, (move_by, changes, snapshot)) in messages.into_iter().enumerate() {
            middle += move_by;
            let side = |buy: bool| -> Vec<Level> {
                let of = changes.iter().filter(|change| change.0 == buy);
                of.map(|(_, away, qty)| {
                    let number = if buy { middle - away } else { middle + 1 + away };
                    Level { px: Px::from_raw(number * tick), qty: Qty::from_raw(*qty) }
                }).collect()
            };
            let (bids, asks) = (side(true), side(false));
            if snapshot { naive = Default::default(); }
            let mut fits = true;
            for (map, levels) in naive.iter_mut().zip([&bids, &asks]) {
                for level in levels {
                    if level.qty.is_zero() { map.remove(&level.px); } else { map.insert(level.px, level.qty); }
                    fits &= map.len() <= 2 * capacity;
                }
                fits &= map.len() <= capacity;
            }
            let applied = book.apply_message(snapshot, u as u64, &bids, &asks);
            if !fits {
                prop_assert_eq!(applied, Err(HealthReason::Overflow));
                book.clear();
                naive = Default::default();
                continue;
            }
            prop_assert_eq!(applied, Ok(()));
            let have = |side| book.levels(side).map(|l| (l.px, l.qty)).collect::<Vec<_>>();
            prop_assert_eq!(have(Side::Buy), naive[0].iter().rev().map(|(p, q)| (*p, *q)).collect::<Vec<_>>());
            prop_assert_eq!(have(Side::Sell), naive[1].iter().map(|(p, q)| (*p, *q)).collect::<Vec<_>>());
            prop_assert_eq!(book.levels(Side::Buy).len(), naive[0].len());
            let best = |map: &BTreeMap<Px, Qty>, last: bool| {
                let pair = if last { map.last_key_value() } else { map.first_key_value() };
                pair.map(|(px, qty)| Level { px: *px, qty: *qty })
            };
            let (bid, ask) = (best(&naive[0], true), best(&naive[1], false));
            let crossed = bid.zip(ask).is_some_and(|(bid, ask)| bid.px >= ask.px);
            prop_assert_eq!(book.is_crossed(), crossed);
            prop_assert_eq!(book.touch(), bid.zip(ask).filter(|_| !crossed).map(|(bid, ask)| Touch { bid, ask }));
            for (side, map) in [(Side::Buy, &naive[0]), (Side::Sell, &naive[1])] {
                for away in [-700, -61, -1, 0, 1, 2, 59, 300, 999] {
                    let px = Px::from_raw((middle + away) * tick);
                    prop_assert_eq!(book.at(side, px), map.get(&px).copied().unwrap_or(Qty::ZERO));
                }
            }
        }
    }
}

#[test]
fn a_price_between_two_ticks_is_refused() {
    let mut book = Book::new(Px::from_raw(10), 4);
    for px in [95, -10, 1, i64::MIN, i64::MAX] {
        assert_eq!(book.apply(&update(0, &[(px, 1)], &[])), Err(HealthReason::OffGrid), "{px}");
    }
    assert_eq!(book.apply(&update(0, &[(90, 1)], &[(i64::MAX / 10 * 10, 1)])), Ok(()));
}

#[test]
fn an_overflowed_book_stays_refused_until_it_starts_over_and_never_panics() {
    let mut book = Book::new(TICK, 1);
    for step in 0..200i64 {
        let far = 1000 * (step % 7) + step;
        let applied = book.apply(&update(0, &[(100_000 - far, 1), (100_001 - far, 1), (99_000 - far, 1)], &[]));
        assert_eq!(applied, Err(HealthReason::Overflow), "{step}");
    }
    assert_eq!(book.apply(&update(BookUpdate::SNAPSHOT, &[(5, 1)], &[(6, 1)])), Ok(()));
}

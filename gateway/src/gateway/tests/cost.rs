//! What an order costs in this room, class (a): in process, without TLS and socket. Not a test: it asserts nothing about
//! time. `cargo test --release -p keel-gateway --lib tests::cost -- --ignored --nocapture`

use super::super::*;
use super::{Room, buy};
use crate::testing::{at, instruments};
use keel_core::event::Op;
use std::hint::black_box;

const ROUNDS: usize = 200_000;

/// Percentiles of `ROUNDS` runs, with the cost of the stopwatch itself beside them.
#[allow(clippy::disallowed_methods, reason = "a measurement")]
fn measure(name: &str, mut run: impl FnMut(usize)) {
    let mut nanos: Vec<u64> = (0..ROUNDS)
        .map(|at| {
            let start = std::time::Instant::now();
            run(at);
            u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
        })
        .collect();
    nanos.sort_unstable();
    let at = |permille: usize| nanos[ROUNDS * permille / 1000 - 1];
    println!("{name:<44} p50 {} p90 {} p99 {} p99.9 {} ns", at(500), at(900), at(990), at(999));
}

#[test]
#[ignore = "a measurement, run by hand in release"]
fn cost_of_an_order_in_this_room() {
    measure("the stopwatch itself", |_| {});
    let mut encoder = Encoder::new(&instruments(), SelfMatch::CancelMaker, 1);
    let mut out = [0u8; MAX_FRAME];
    for op in [Op::New, Op::Amend, Op::Cancel] {
        let order = Order { op, ..buy(1) };
        measure(&format!("encode {op:?}"), |round| {
            let now = at(round as u64).wall;
            black_box(encoder.encode_order(now, black_box(&order), &mut out).unwrap());
        });
    }
    let mut budget = Budget::new();
    measure("budget", |round| {
        let now = at(round as u64 * 200).mono;
        assert_eq!(budget.take(now, Endpoint::Create, Channel::Trade), Ok(()));
    });
    let mut room = Room::live();
    let mut facts = 0;
    measure("order in to frame out (budget, encode, watch)", |round| {
        let now = at(10 + round as u64 * 200);
        let order = buy(1);
        room.gateway.order(now, black_box(&order), &mut |_| facts += 1);
        black_box(room.gateway.poll());
        while room.gateway.poll().is_some() {}
    });
    assert_eq!(facts, ROUNDS);
    let mut decoder = Decoder::new(&instruments());
    for (name, frame) in crate::decode::EXAMPLES {
        measure(&format!("decode {name}"), |_| {
            let source = crate::decode::Source::default();
            black_box(decoder.frame(black_box(frame.as_bytes()), source, &mut |fact| _ = black_box(fact)).unwrap());
        });
    }
}

//! What permission costs at the desk, call by call: the gate far from and near its limits, and the value-at-risk decision
//! beside other ways to the same answer.

use super::desk::{self, INSTRUMENTS, TAIL, WORKING, at};
use super::rounds::Rounds;
use keel_core::ids::InstrumentId;
use keel_core::orders::Change;
use keel_core::permit::Gate as _;
use keel_core::units::{Notional, Qty};
use keel_risk::Gate;
use keel_risk::limits::{Limits, TailLimits};
use keel_risk::var::{Outcomes, Shock, measure};
use std::cell::RefCell;
use std::hint::black_box;

/// Orders the gate refused: a measurement of a refusal would be another one.
#[derive(Debug, Default)]
pub(crate) struct Refused(RefCell<Vec<&'static str>>);

impl Refused {
    /// None, or what the first was refused for.
    pub(crate) fn first(&self) -> Option<&'static str> {
        self.0.borrow().first().copied()
    }

    fn judge(&self, gate: &mut Gate, nth: usize) {
        let nth = u64::try_from(nth).expect("a count");
        match gate.judge(at(1_001 + nth / 100_000), black_box(&desk::order(nth)), &desk::context()) {
            Ok(approved) => drop(black_box(approved)),
            Err(refused) => self.0.borrow_mut().push(refused.decision().first.name()),
        }
    }
}

/// The same gate with a value-at-risk limit that the book all but reaches: the tail must be counted.
fn near_gate() -> Gate {
    let mut gate = desk::gate();
    let var = desk::near(gate.outcomes().expect("scenarios"));
    #[allow(clippy::cast_possible_truncation, reason = "some tens of thousands of USDT")]
    let max_loss = Notional::whole(var as i64 + 1_000);
    let tail = Some(TailLimits { tail: TAIL, max_loss, max_shortfall: Notional::whole(900_000) });
    let limits = Limits { version: 2, tail, ..gate.limits().clone() };
    gate.reload(at(1_001), limits, &desk::instruments()).expect("sound limits");
    gate
}

/// Everything a scenario could lose with the order filled where it hurts.
fn outcomes(book: &Outcomes, worst: &[f64], shock: Shock) -> Vec<f64> {
    let of = |(at, worst): (usize, &f64)| worst + (shock.value * book.scenarios().at(shock.instrument, at)).min(0.0);
    worst.iter().enumerate().map(of).collect()
}

/// The calls, into `rounds`.
pub(crate) fn all<'a>(rounds: &mut Rounds<'a>, refused: &'a Refused, calls: usize) {
    let (mut far, mut near, mut moved) = (desk::gate(), near_gate(), desk::gate());
    let book = far.outcomes().expect("scenarios").clone();
    let worst: Vec<f64> = book.worst().collect();
    let limit = desk::near(&book);
    // in the middle of the book every lane holds a loss beyond it: nothing can be left unread
    let median = { worst.clone().select_nth_unstable_by(worst.len() / 2, f64::total_cmp).1.abs() };
    let shock = |nth: usize| desk::shock(u64::try_from(nth).expect("a count"));
    rounds.add("the whole gate, far from its limits", calls, move |nth| refused.judge(&mut far, nth));
    rounds.add("the whole gate, near its limit", calls, move |nth| refused.judge(&mut near, nth));
    let (one, two, three, four, mut whole) = (book.clone(), book.clone(), book.clone(), book.clone(), book);
    rounds.add("value at risk: the decision, at its limit", calls, move |nth| {
        black_box(one.tail(black_box(limit), shock(nth)));
    });
    rounds.add("value at risk: the decision, at its worst", calls, move |nth| {
        black_box(two.tail(black_box(median), shock(nth)));
    });
    let worst_too = worst.clone();
    rounds.add("value at risk: a full sort", calls / 10, move |nth| {
        let mut all = outcomes(&three, &worst, shock(nth));
        all.sort_unstable_by(f64::total_cmp);
        black_box(all[9]);
    });
    rounds.add("value at risk: exact, by selection", calls / 10, move |nth| {
        black_box(measure(&mut outcomes(&four, &worst_too, shock(nth)), TAIL));
    });
    rounds.add("both sums anew, from all legs (once a second)", calls / 100, move |_| {
        black_box(whole.recompute());
    });
    // any of the working orders, on any instrument
    let flip = |nth: usize| {
        let count = u32::try_from(nth * 7 % WORKING as usize).expect("small") + 1;
        Change {
            after: Qty::from_raw(1_000_000 + i64::from(nth.is_multiple_of(2)) * 1_000_000),
            ..desk::resting(count)
        }
    };
    rounds.add("an order changes: exposure and both sums", calls, move |nth| {
        moved.order(at(1_001), black_box(&flip(nth)))
    });
}

/// Decisions that a full sort of the same outcomes would have made otherwise, of so many random limits and orders.
pub(crate) fn otherwise(cases: u32) -> u32 {
    let gate = desk::gate();
    let book = gate.outcomes().expect("scenarios");
    let worst: Vec<f64> = book.worst().collect();
    let span = worst.iter().fold(1.0f64, |most, outcome| most.max(outcome.abs()));
    let mut state = 7u64;
    let mut luck = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(state >> 33).unwrap_or(0)) / f64::from(1u32 << 31)
    };
    let mut differ = 0;
    for nth in 0..cases {
        let instrument = InstrumentId(u16::try_from(nth % u32::from(INSTRUMENTS)).expect("small"));
        let limit = (luck() * 1.2 + 1e-6) * span;
        let shock = Shock { instrument, value: (luck() - 0.5) * 200_000.0, cost: luck() * 1_000.0 };
        let mut all = outcomes(book, &worst, shock);
        all.sort_unstable_by(f64::total_cmp);
        let sorted = all.partition_point(|outcome| *outcome < shock.cost - limit);
        differ += u32::from(book.tail(limit, shock).beyond as usize != sorted);
    }
    differ
}

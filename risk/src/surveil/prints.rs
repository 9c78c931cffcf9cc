//! Wash and painting: what own trades alone say.
//!
//! Wash: two own fills of opposite sides on one instrument with one cross sequence of the venue (the two met: told at
//! once); or, as often as `repeats` within `within_minutes`, an own fill followed within `seconds` by one of the other
//! side at nearly the same price and size, which leaves the position where it was. Each fill counts in one pair.
//!
//! Painting the tape: `trades` own aggressive fills of one side in a row within `seconds`, each at a better price than the
//! one before for that side's direction, each at most the share of the own median order. A fill of the other side, or one
//! that is no better or no smaller, begins the row anew.

use super::parameters::{Painting, Parameters, Wash};
use super::scene::Scene;
use super::window::{MINUTE, Recent, SECOND, count, reaches, span};
use super::{Evidence, Fact, Finding, Out, Watch, What};
use keel_core::event::{Fill, Gravity, Rule, Side};
use keel_core::ids::{MAX_INSTRUMENTS, Seq, Text};
use keel_core::units::Qty;

/// Fills an instrument remembers.
const FILLS: usize = 512;
/// Pairs it remembers.
const PAIRS: usize = 1024;

#[derive(Debug)]
struct Tape {
    single: Recent<Fill>,
    pairs: Recent<Seq>,
    row: Recent<Fill>,
}

impl Default for Tape {
    fn default() -> Self {
        Self { single: Recent::new(FILLS), pairs: Recent::new(PAIRS), row: Recent::new(FILLS) }
    }
}

/// The memory of both.
#[derive(Debug)]
pub(crate) struct Prints {
    tapes: Vec<Tape>,
    owner: Text<31>,
}

impl Default for Prints {
    fn default() -> Self {
        Self { tapes: (0..MAX_INSTRUMENTS).map(|_| Tape::default()).collect(), owner: Text::EMPTY }
    }
}

impl Watch for Prints {
    fn see(&mut self, all: &Parameters, scene: &Scene, fact: &Fact<'_>, out: &mut Out) {
        match fact.what {
            What::Standing(standing) => self.owner = standing.uid,
            What::Fill(fill) => {
                let Some(tape) = self.tapes.get_mut(fill.instrument.index()) else { return };
                wash(&all.wash, tape, self.owner, fact, fill, out);
                let usual = scene.market(fill.instrument).and_then(super::scene::Market::usual_size);
                painting(&all.painting, tape, self.owner, usual, fact, fill, out);
            }
            _ => {}
        }
    }

    fn dropped(&self) -> u64 {
        self.tapes.iter().map(|tape| tape.single.dropped() + tape.pairs.dropped() + tape.row.dropped()).sum()
    }
}

fn value(fill: &Fill, qty: Qty) -> i64 {
    fill.px.mul_floor(qty).map_or(0, |value| value.raw())
}

fn wash(it: &Wash, tape: &mut Tape, owner: Text<31>, fact: &Fact<'_>, fill: &Fill, out: &mut Out) {
    let window = span(it.seconds, SECOND);
    let near = |other: &Fill| {
        let gap = (i128::from(other.px.raw()) - i128::from(fill.px.raw())).abs();
        let larger = other.qty.raw().max(fill.qty.raw());
        let difference = (other.qty.raw() - fill.qty.raw()).abs();
        gap * 100_000 <= i128::from(it.price_bps_tenths) * i128::from(fill.px.raw())
            && i128::from(difference) * 1000 <= i128::from(it.qty_permille) * i128::from(larger)
    };
    let opposite = |other: &Fill| other.side != fill.side;
    let met = |other: &Fill| fill.seq != 0 && other.seq == fill.seq;
    let mut finding = Finding {
        subject: owner,
        instrument: fill.instrument,
        amount: value(fill, fill.qty),
        window,
        gravity: Gravity::Case,
        ..Finding::default()
    };
    let partner = tape.single.within(fact.at, window).rev().find(|row| opposite(&row.what) && met(&row.what));
    if let Some(partner) = partner {
        finding.key = format!("met/{}", fill.seq);
        (finding.measured, finding.limit) = (1, 1);
        finding.evidence = Evidence::of([partner.seq, fact.seq]);
        out.raise(Rule::Wash, it.version, 1, finding);
        return;
    }
    let partner = tape.single.within(fact.at, window).rev().find(|row| opposite(&row.what) && near(&row.what));
    let Some(partner) = partner.map(|row| row.seq) else {
        tape.single.trim(window);
        tape.single.push(fact.at, fact.seq, *fill);
        return;
    };
    tape.single.retain(|row| row.seq != partner);
    tape.pairs.push(fact.at, fact.seq, partner);
    let long = span(it.within_minutes, MINUTE);
    tape.pairs.trim(long);
    let pairs = tape.pairs.lately(long);
    if count(pairs.clone().count()) >= it.repeats {
        (finding.measured, finding.limit) = (count(pairs.clone().count()), it.repeats);
        finding.key = "pairs".to_owned();
        finding.gravity = Gravity::Review;
        finding.evidence = Evidence::of(pairs.flat_map(|row| [row.seq, row.what]));
        finding.window = long;
        out.raise(Rule::Wash, it.version, long, finding);
    }
}

fn painting(
    it: &Painting,
    tape: &mut Tape,
    owner: Text<31>,
    usual: Option<i64>,
    fact: &Fact<'_>,
    fill: &Fill,
    out: &mut Out,
) {
    let small = usual.is_some_and(|usual| !reaches(fill.qty.raw().saturating_sub(1), it.small_permille, usual));
    let better = tape.row.iter().next_back().is_none_or(|last| {
        let ahead = match fill.side {
            Side::Buy => fill.px > last.what.px,
            Side::Sell => fill.px < last.what.px,
        };
        last.what.side == fill.side && ahead
    });
    if !small || fill.maker.is_set() {
        tape.row.clear();
        return;
    }
    if !better {
        tape.row.clear();
    }
    tape.row.push(fact.at, fact.seq, *fill);
    let window = span(it.seconds, SECOND);
    tape.row.trim(window);
    let number = count(tape.row.len());
    if number >= it.trades {
        let finding = Finding {
            subject: owner,
            key: format!("{:?}", fill.side),
            instrument: fill.instrument,
            measured: number,
            limit: it.trades,
            amount: tape.row.iter().map(|row| value(&row.what, row.what.qty)).fold(0, i64::saturating_add),
            window,
            evidence: Evidence::of(tape.row.iter().map(|row| row.seq)),
            ..Finding::default()
        };
        out.raise(Rule::Painting, it.version, window, finding);
    }
}

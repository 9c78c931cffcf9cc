//! Ignition, marking and cross-product: own volume that moves a price somebody counts on.
//!
//! A push: in the last `seconds` own aggressive volume of one side is at least the share of everything traded, and the
//! price moved that side's way by at least the multiple of its usual deviation (from the returns of the last hour's
//! minutes, ten at least, scaled to the window).
//!
//! Momentum ignition: a push, and within `unwind_minutes` own fills of the other side of at least the share of what the
//! push bought or sold.
//!
//! Marking: in the last `seconds` before a funding stamp own volume is at least the share of everything traded, and the
//! price moved by the multiple in favour of the position held at the stamp.
//!
//! Cross-product: a push in one instrument while a position in one declared related to it gains from the move, worth at
//! least the ratio of what was pushed.

use super::parameters::{CrossProduct, Ignition, Marking, Parameters};
use super::scene::{Market, Scene, Traded};
use super::window::{MINUTE, SECOND, permille, reaches, span};
use super::{Evidence, Fact, Finding, Out, Watch, What};
use keel_core::event::{Fill, Gravity, Rule, Side};
use keel_core::ids::{InstrumentId, MAX_INSTRUMENTS, Seq, Text};
use keel_core::units::{Qty, Wall};

#[derive(Clone, Copy, Debug)]
struct Push {
    at: Wall,
    seq: Seq,
    side: Side,
    built: i64,
    unwound: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    push: Option<Push>,
    /// The next funding stamp.
    stamp: Wall,
}

/// The memory of all three.
#[derive(Debug)]
pub(crate) struct Pushes {
    places: Vec<Place>,
    owner: Text<31>,
}

impl Default for Pushes {
    fn default() -> Self {
        Self { places: vec![Place::default(); MAX_INSTRUMENTS], owner: Text::EMPTY }
    }
}

impl Watch for Pushes {
    fn see(&mut self, all: &Parameters, scene: &Scene, fact: &Fact<'_>, out: &mut Out) {
        match fact.what {
            What::Standing(standing) => self.owner = standing.uid,
            What::Fill(fill) => {
                self.stamps(&all.marking, scene, fact, out);
                let Some(market) = scene.market(fill.instrument) else { return };
                self.unwind(&all.ignition, fact, fill, out);
                if !fill.maker.is_set() {
                    self.push(&all.ignition, market, fact, fill);
                    self.cross(&all.cross_product, scene, market, fact, fill, out);
                }
            }
            What::Time => self.stamps(&all.marking, scene, fact, out),
            _ => {}
        }
    }
}

/// The way a side pushes.
const fn way(side: Side) -> i64 {
    match side {
        Side::Buy => 1,
        Side::Sell => -1,
    }
}

fn value(market: &Market, qty: i64) -> i64 {
    market.price().mul_floor(Qty::from_raw(qty.saturating_abs())).map_or(0, |value| value.raw())
}

/// Is it a push of this side?
fn pushes(market: &Market, traded: &Traded, side: Side, share: i64, seconds: i64, sigmas: i64) -> bool {
    let taken = traded.taken[side.index()];
    let forward = traded.move_e8.signum() == way(side);
    taken > 0 && forward && reaches(taken, share, traded.volume) && market.stands_out(traded.move_e8, seconds, sigmas)
}

impl Pushes {
    fn push(&mut self, it: &Ignition, market: &Market, fact: &Fact<'_>, fill: &Fill) {
        let traded = market.traded(fact.at, it.seconds);
        let Some(place) = self.places.get_mut(fill.instrument.index()) else { return };
        if pushes(market, &traded, fill.side, it.share_permille, it.seconds, it.sigmas_permille) {
            let built = traded.taken[fill.side.index()];
            place.push = Some(Push { at: fact.at, seq: fact.seq, side: fill.side, built, unwound: 0 });
        }
    }

    fn unwind(&mut self, it: &Ignition, fact: &Fact<'_>, fill: &Fill, out: &mut Out) {
        let window = span(it.unwind_minutes, MINUTE);
        let Some(place) = self.places.get_mut(fill.instrument.index()) else { return };
        let Some(push) = &mut place.push else { return };
        if fact.at.since(push.at) > window {
            place.push = None;
            return;
        }
        if fill.side == push.side {
            return;
        }
        push.unwound = push.unwound.saturating_add(fill.qty.raw());
        if reaches(push.unwound, it.unwind_permille, push.built) {
            let finding = Finding {
                subject: self.owner,
                key: format!("{:?}", push.side),
                instrument: fill.instrument,
                measured: permille(push.unwound, push.built),
                limit: it.unwind_permille,
                amount: fill.px.mul_floor(Qty::from_raw(push.built)).map_or(0, |value| value.raw()),
                window,
                gravity: Gravity::Case,
                evidence: Evidence::of([push.seq, fact.seq]),
                hit: None,
            };
            place.push = None;
            out.raise(Rule::Ignition, it.version, window, finding);
        }
    }

    /// Looks whether a funding stamp passed.
    fn stamps(&mut self, it: &Marking, scene: &Scene, fact: &Fact<'_>, out: &mut Out) {
        for market in scene.markets() {
            let Some(place) = self.places.get_mut(market.instrument.id.index()) else { continue };
            let stamp = place.stamp;
            if stamp > Wall::default() && fact.at >= stamp {
                place.stamp = Wall::default();
                marking(it, market, self.owner, stamp, fact, out);
            }
            if market.next_funding > fact.at {
                place.stamp = market.next_funding;
            }
        }
    }

    fn cross(&self, it: &CrossProduct, scene: &Scene, market: &Market, fact: &Fact<'_>, fill: &Fill, out: &mut Out) {
        let related = scene.registry.related.iter().filter(|(moved, _)| *moved == market.instrument.symbol);
        for (_, gains) in related {
            let Some(other) = scene.by_symbol(gains) else { continue };
            let traded = market.traded(fact.at, it.seconds);
            if !pushes(market, &traded, fill.side, it.share_permille, it.seconds, it.sigmas_permille) {
                continue;
            }
            let (held, pushed) = (value(other, other.position), value(market, traded.taken[fill.side.index()]));
            let gains = other.position.signum() == way(fill.side) && reaches(held, it.ratio_permille, pushed);
            if gains {
                let fills = market.fills.within(fact.at, span(it.seconds, SECOND));
                let finding = Finding {
                    subject: self.owner,
                    key: other.instrument.symbol.to_string(),
                    instrument: fill.instrument,
                    measured: permille(traded.taken[fill.side.index()], traded.volume),
                    limit: it.share_permille,
                    amount: pushed,
                    window: span(it.seconds, SECOND),
                    gravity: Gravity::Case,
                    evidence: Evidence::of(fills.map(|row| row.seq)),
                    hit: None,
                };
                out.raise(Rule::CrossProduct, it.version, MINUTE, finding);
            }
        }
    }
}

fn marking(it: &Marking, market: &Market, owner: Text<31>, stamp: Wall, fact: &Fact<'_>, out: &mut Out) {
    let before = Wall::from_nanos(stamp.nanos().saturating_sub(1));
    if fact.at.since(stamp) > 2 * SECOND {
        // the seconds before the stamp are gone from memory
        return;
    }
    let traded = market.traded(before, it.seconds);
    let helps = market.position != 0 && traded.move_e8.signum() == market.position.signum();
    let stands_out = market.stands_out(traded.move_e8, it.seconds, it.sigmas_permille);
    if traded.own > 0 && helps && stands_out && reaches(traded.own, it.share_permille, traded.volume) {
        let window = span(it.seconds, SECOND);
        let fills = market.fills.within(before, window);
        let id: InstrumentId = market.instrument.id;
        let finding = Finding {
            subject: owner,
            key: format!("funding/{}", stamp.millis()),
            instrument: id,
            measured: permille(traded.own, traded.volume),
            limit: it.share_permille,
            amount: value(market, traded.own),
            window,
            gravity: Gravity::Case,
            evidence: Evidence::of(fills.map(|row| row.seq)),
            hit: None,
        };
        out.raise(Rule::Marking, it.version, 1, finding);
    }
}

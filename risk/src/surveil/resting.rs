//! Spoofing and layering: orders that are not meant to trade.
//!
//! Spoofing: an own resting order of at least `size_permille` of the own median order and at least `depth_permille` of the
//! first three levels of its side, no more than `ticks` from the touch when it was sent; within `fill_seconds` an own fill
//! on the other side; within `cancel_millis` of the fill the order ends with at least `cancel_permille` of it unfilled. As
//! often as `repeats` within `within_minutes`.
//!
//! Layering: when an own fill comes, own orders rest on the other side at `levels` different prices or more; that many of
//! the prices end unfilled within `cancel_millis` of the fill.

use super::parameters::{Layering, Parameters, Spoofing};
use super::scene::{Own, Scene};
use super::window::{MINUTE, Recent, SECOND, count, reaches, span};
use super::{Evidence, Fact, Finding, Out, Watch, What};
use keel_core::event::{Fill, Gravity, Op, Order, OrderStatus, OrderUpdate, Rule, Side, TimeInForce};
use keel_core::ids::{ClientId, InstrumentId, Seq, Text};
use keel_core::units::{Px, Wall};
use std::collections::{BTreeMap, BTreeSet};

/// Large orders remembered.
const LARGE: usize = 1024;
/// Episodes remembered.
const EPISODES: usize = 1024;
/// Fills waiting for what is cancelled after them.
const WAITING: usize = 256;
/// Open own orders looked at after one fill.
const LOOKED: usize = 4096;
const MILLI: u64 = 1_000_000;

#[derive(Clone, Debug)]
struct Large {
    at: Wall,
    seq: Seq,
    /// The fill on the other side, once there was one.
    fill: Option<(Wall, Seq)>,
}

#[derive(Clone, Debug)]
struct Layers {
    instrument: InstrumentId,
    side: Side,
    prices: BTreeMap<ClientId, Px>,
    gone: BTreeSet<Px>,
    seqs: Vec<Seq>,
}

/// The memory of both.
#[derive(Debug)]
pub(crate) struct Resting {
    large: BTreeMap<ClientId, Large>,
    episodes: Recent<(InstrumentId, [Seq; 3], i64)>,
    waiting: Recent<Layers>,
    owner: Text<31>,
    dropped: u64,
}

impl Default for Resting {
    fn default() -> Self {
        Self {
            large: BTreeMap::new(),
            episodes: Recent::new(EPISODES),
            waiting: Recent::new(WAITING),
            owner: Text::EMPTY,
            dropped: 0,
        }
    }
}

impl Watch for Resting {
    fn see(&mut self, all: &Parameters, scene: &Scene, fact: &Fact<'_>, out: &mut Out) {
        match fact.what {
            What::Standing(standing) => self.owner = standing.uid,
            What::Order(order) if order.op == Op::New && is_resting(order) => {
                self.order(&all.spoofing, scene, fact, order);
            }
            What::Fill(fill) => self.fill(all, scene, fact, fill),
            What::Update(update) if update.status.is_final() => self.ended(all, scene, fact, update, out),
            _ => {}
        }
    }

    fn dropped(&self) -> u64 {
        self.dropped + self.episodes.dropped() + self.waiting.dropped()
    }
}

const fn is_resting(order: &Order) -> bool {
    matches!(order.tif, TimeInForce::Gtc | TimeInForce::PostOnly)
}

impl Resting {
    fn order(&mut self, it: &Spoofing, scene: &Scene, fact: &Fact<'_>, order: &Order) {
        let Some(market) = scene.market(order.instrument) else { return };
        let (Some(usual), Some(touch)) = (market.usual_size(), market.touch(order.side)) else { return };
        let behind = match order.side {
            Side::Buy => touch.raw().saturating_sub(order.px.raw()),
            Side::Sell => order.px.raw().saturating_sub(touch.raw()),
        };
        let near = behind <= market.instrument.tick.raw().saturating_mul(it.ticks);
        let large = reaches(order.qty.raw(), it.size_permille, usual)
            && reaches(order.qty.raw(), it.depth_permille, market.depth(order.side, 3));
        if near && large {
            if self.large.len() == LARGE && self.large.pop_first().is_some() {
                self.dropped += 1;
            }
            self.large.insert(order.client, Large { at: fact.at, seq: fact.seq, fill: None });
        }
    }

    fn fill(&mut self, all: &Parameters, scene: &Scene, fact: &Fact<'_>, fill: &Fill) {
        let window = span(all.spoofing.fill_seconds, SECOND);
        for (client, large) in &mut self.large {
            let Some(own) = scene.orders.get(client) else { continue };
            let other = own.order.instrument == fill.instrument && own.order.side != fill.side && own.rests();
            if other && large.fill.is_none() && fact.at.since(large.at) <= window {
                large.fill = Some((fact.at, fact.seq));
            }
        }
        self.large.retain(|_, large| large.fill.is_some() || fact.at.since(large.at) <= window);
        let open = |own: &&Own| own.rests() && own.order.instrument == fill.instrument && own.order.side != fill.side;
        let prices: BTreeMap<ClientId, Px> = scene
            .orders
            .iter()
            .rev()
            .take(LOOKED)
            .filter(|(_, own)| open(own) && is_resting(&own.order))
            .map(|(client, own)| (*client, own.order.px))
            .collect();
        self.waiting.retain(|row| fact.at.since(row.at) <= span(all.layering.cancel_millis, MILLI));
        let levels: BTreeSet<Px> = prices.values().copied().collect();
        if count(levels.len()) >= all.layering.levels {
            let (instrument, side) = (fill.instrument, fill.side.opposite());
            let layers = Layers { instrument, side, prices, gone: BTreeSet::new(), seqs: vec![fact.seq] };
            self.waiting.push(fact.at, fact.seq, layers);
        }
    }

    fn ended(&mut self, all: &Parameters, scene: &Scene, fact: &Fact<'_>, update: &OrderUpdate, out: &mut Out) {
        let cancelled = matches!(update.status, OrderStatus::Cancelled | OrderStatus::Deactivated);
        let large = self.large.remove(&update.client).filter(|_| cancelled);
        if let Some(large) = large {
            self.spoof(&all.spoofing, scene, fact, update, &large, out);
        }
        self.layer(&all.layering, fact, update, cancelled, out);
    }

    fn spoof(
        &mut self,
        it: &Spoofing,
        scene: &Scene,
        fact: &Fact<'_>,
        update: &OrderUpdate,
        large: &Large,
        out: &mut Out,
    ) {
        let Some((filled_at, fill)) = large.fill else { return };
        let Some(own) = scene.orders.get(&update.client) else { return };
        let left = own.order.qty.raw().saturating_sub(own.filled.max(update.filled.raw()));
        let soon = fact.at.since(filled_at) <= span(it.cancel_millis, MILLI);
        if !soon || !reaches(left, it.cancel_permille, own.order.qty.raw()) {
            return;
        }
        let value = own.order.px.mul_floor(own.order.qty).map_or(0, |value| value.raw());
        self.episodes.push(fact.at, fact.seq, (own.order.instrument, [large.seq, fill, fact.seq], value));
        let window = span(it.within_minutes, MINUTE);
        self.episodes.trim(window);
        let here = self.episodes.lately(window).filter(|row| row.what.0 == own.order.instrument);
        let number = count(here.clone().count());
        if number >= it.repeats {
            let finding = Finding {
                subject: self.owner,
                key: format!("{:?}", own.order.side),
                instrument: own.order.instrument,
                measured: number,
                limit: it.repeats,
                amount: here.clone().map(|row| row.what.2).fold(0, i64::saturating_add),
                window,
                gravity: Gravity::Case,
                evidence: Evidence::of(here.flat_map(|row| row.what.1)),
                hit: None,
            };
            out.raise(Rule::Spoofing, it.version, window, finding);
        }
    }

    fn layer(&mut self, it: &Layering, fact: &Fact<'_>, update: &OrderUpdate, cancelled: bool, out: &mut Out) {
        let window = span(it.cancel_millis, MILLI);
        self.waiting.retain(|row| fact.at.since(row.at) <= window);
        if !cancelled || !update.filled.is_zero() {
            return;
        }
        let mut done = None;
        self.waiting.retain_mut(|row| {
            let Some(px) = row.prices.remove(&update.client) else { return true };
            row.gone.insert(px);
            row.seqs.push(fact.seq);
            if count(row.gone.len()) < it.levels {
                return true;
            }
            done = Some(row.clone());
            false
        });
        let Some(layers) = done else { return };
        let finding = Finding {
            subject: self.owner,
            key: format!("{:?}", layers.side),
            instrument: layers.instrument,
            measured: count(layers.gone.len()),
            limit: it.levels,
            amount: 0,
            window,
            gravity: Gravity::Case,
            evidence: Evidence::of(layers.seqs),
            hit: None,
        };
        out.raise(Rule::Layering, it.version, MINUTE, finding);
    }
}

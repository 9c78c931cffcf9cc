//! Stuffing and pinging: what the messages themselves say.
//!
//! Quote stuffing: in each of the last `seconds` whole seconds at least the share of the venue's rate of messages (new,
//! amend, cancel) on one instrument, with fewer fills in that time than the share of the messages.
//!
//! Pinging: `probes` immediate orders of one side within `seconds`, each at most a small multiple of the smallest order the
//! instrument takes, then, still within them, an order of the same side that is a large multiple of the probes' mean.

use super::parameters::{Parameters, Pinging, Stuffing};
use super::scene::Scene;
use super::window::{Recent, SECOND, count, reaches, span};
use super::{Evidence, Fact, Finding, Out, Watch, What};
use keel_core::event::{Op, Order, Rule, TimeInForce};
use keel_core::ids::{MAX_INSTRUMENTS, Text};

/// Messages an instrument remembers.
const MESSAGES: usize = 8192;
/// Fills it remembers.
const FILLS: usize = 2048;
/// Probes of a side it remembers.
const PROBES: usize = 1024;

#[derive(Debug)]
struct Traffic {
    messages: Recent<()>,
    fills: Recent<()>,
    probes: [Recent<i64>; 2],
}

impl Default for Traffic {
    fn default() -> Self {
        let probes = [Recent::new(PROBES), Recent::new(PROBES)];
        Self { messages: Recent::new(MESSAGES), fills: Recent::new(FILLS), probes }
    }
}

/// The memory of both.
#[derive(Debug)]
pub(crate) struct Messages {
    traffic: Vec<Traffic>,
    owner: Text<31>,
}

impl Default for Messages {
    fn default() -> Self {
        Self { traffic: (0..MAX_INSTRUMENTS).map(|_| Traffic::default()).collect(), owner: Text::EMPTY }
    }
}

impl Watch for Messages {
    fn see(&mut self, all: &Parameters, scene: &Scene, fact: &Fact<'_>, out: &mut Out) {
        match fact.what {
            What::Standing(standing) => self.owner = standing.uid,
            What::Fill(fill) => {
                if let Some(traffic) = self.traffic.get_mut(fill.instrument.index()) {
                    traffic.fills.trim(span(all.stuffing.seconds, SECOND));
                    traffic.fills.push(fact.at, fact.seq, ());
                }
            }
            What::Order(order) => {
                let Some(traffic) = self.traffic.get_mut(order.instrument.index()) else { return };
                stuffing(&all.stuffing, traffic, self.owner, fact, order, out);
                if order.op == Op::New {
                    pinging(&all.pinging, traffic, self.owner, scene, fact, order, out);
                }
            }
            _ => {}
        }
    }

    fn dropped(&self) -> u64 {
        let of = |one: &Traffic| {
            let probes: u64 = one.probes.iter().map(Recent::dropped).sum();
            one.messages.dropped() + one.fills.dropped() + probes
        };
        self.traffic.iter().map(of).sum()
    }
}

fn stuffing(it: &Stuffing, traffic: &mut Traffic, owner: Text<31>, fact: &Fact<'_>, order: &Order, out: &mut Out) {
    let window = span(it.seconds, SECOND);
    traffic.messages.push(fact.at, fact.seq, ());
    traffic.messages.trim(window);
    let rows = traffic.messages.within(fact.at, window - 1);
    let each = |second: u64| {
        let from = second * SECOND;
        let ages = rows.clone().map(|row| fact.at.since(row.at));
        count(ages.filter(|age| *age >= from && *age < from + SECOND).count())
    };
    let least = (0..it.seconds.unsigned_abs()).map(each).min().unwrap_or(0);
    let messages = count(rows.clone().count());
    let fills = count(traffic.fills.within(fact.at, window - 1).count());
    let busy = i128::from(least) * 1000 >= i128::from(it.venue_rate) * i128::from(it.rate_permille);
    let idle = i128::from(fills) * 1000 < i128::from(it.fill_permille) * i128::from(messages);
    if busy && idle {
        let finding = Finding {
            subject: owner,
            instrument: order.instrument,
            measured: messages,
            limit: i64::try_from(
                i128::from(it.venue_rate) * i128::from(it.rate_permille) * i128::from(it.seconds) / 1000,
            )
            .unwrap_or(i64::MAX),
            window,
            evidence: Evidence::of(rows.map(|row| row.seq)),
            ..Finding::default()
        };
        out.raise(Rule::Stuffing, it.version, 60 * SECOND, finding);
    }
}

fn pinging(
    it: &Pinging,
    traffic: &mut Traffic,
    owner: Text<31>,
    scene: &Scene,
    fact: &Fact<'_>,
    order: &Order,
    out: &mut Out,
) {
    let Some(market) = scene.market(order.instrument) else { return };
    let (window, least) = (span(it.seconds, SECOND), market.instrument.min_qty.raw());
    let probes = &mut traffic.probes[order.side.index()];
    let immediate = matches!(order.tif, TimeInForce::Ioc | TimeInForce::Fok);
    let small = i128::from(order.qty.raw()) * 1000 <= i128::from(it.minimum_permille) * i128::from(least);
    if immediate && small {
        probes.push(fact.at, fact.seq, order.qty.raw());
        probes.trim(window);
        return;
    }
    let before = probes.within(fact.at, window);
    let (number, sum) = (before.clone().count(), before.clone().map(|row| row.what).fold(0, i64::saturating_add));
    let large = reaches(order.qty.raw().saturating_mul(count(number)), it.large_permille, sum);
    if count(number) >= it.probes && large {
        let finding = Finding {
            subject: owner,
            key: format!("{:?}", order.side),
            instrument: order.instrument,
            measured: count(number),
            limit: it.probes,
            amount: order.px.mul_floor(order.qty).map_or(0, |value| value.raw()),
            window,
            evidence: Evidence::of(before.map(|row| row.seq).chain([fact.seq])),
            ..Finding::default()
        };
        out.raise(Rule::Pinging, it.version, window, finding);
    }
}

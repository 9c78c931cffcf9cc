//! Front-running and insider: trades by somebody who knew.
//!
//! Front-running: an order of a strategy that trades for clients, and within `seconds` before it an order of the house's
//! own strategies on the same instrument and side, the client's worth at least the share of the house's.
//!
//! Insider: news about an instrument comes out; of the position held at that moment at least the share was built within
//! `hours` before, in its direction, and it is worth at least the value.

use super::parameters::{FrontRunning, Insider, Parameters};
use super::scene::{Market, Scene};
use super::window::{HOUR, Recent, SECOND, dollars, permille, reaches, span};
use super::{Evidence, Fact, Finding, Out, Watch, What};
use keel_core::event::{Gravity, Op, Order, Rule};
use keel_core::ids::Text;
use keel_core::units::Qty;

/// House orders remembered.
const ORDERS: usize = 4096;

/// The memory of both.
#[derive(Debug)]
pub(crate) struct Knowing {
    house: Recent<Order>,
    owner: Text<31>,
    /// News dealt with.
    news: usize,
}

impl Default for Knowing {
    fn default() -> Self {
        Self { house: Recent::new(ORDERS), owner: Text::EMPTY, news: 0 }
    }
}

impl Watch for Knowing {
    fn see(&mut self, all: &Parameters, scene: &Scene, fact: &Fact<'_>, out: &mut Out) {
        // money carries the venue's time, which may be long past
        if !matches!(fact.what, What::Money(_)) {
            self.news(&all.insider, scene, fact, out);
        }
        match fact.what {
            What::Standing(standing) => self.owner = standing.uid,
            What::Order(order) if order.op == Op::New && !scene.registry.clients.is_empty() => {
                if scene.registry.clients.contains(&order.strategy) {
                    self.client(&all.front_running, fact, order, out);
                } else {
                    self.house.push(fact.at, fact.seq, *order);
                    self.house.trim(span(all.front_running.seconds, SECOND));
                }
            }
            _ => {}
        }
    }

    fn dropped(&self) -> u64 {
        self.house.dropped()
    }
}

fn value(order: &Order) -> i64 {
    order.px.mul_floor(order.qty).map_or(0, |value| value.raw())
}

impl Knowing {
    fn client(&self, it: &FrontRunning, fact: &Fact<'_>, order: &Order, out: &mut Out) {
        let window = span(it.seconds, SECOND);
        let before = self.house.within(fact.at, window).filter(|row| {
            (row.what.instrument, row.what.side) == (order.instrument, order.side)
                && reaches(value(order), it.size_permille, value(&row.what))
        });
        let Some(first) = before.clone().next() else { return };
        let finding = Finding {
            subject: self.owner,
            key: order.client.to_string(),
            instrument: order.instrument,
            measured: i64::try_from(fact.at.since(first.at) / SECOND).unwrap_or(i64::MAX),
            limit: it.seconds,
            amount: before.clone().map(|row| value(&row.what)).fold(0, i64::saturating_add),
            window,
            gravity: Gravity::Case,
            evidence: Evidence::of(before.map(|row| row.seq).chain([fact.seq])),
            hit: None,
        };
        out.raise(Rule::FrontRunning, it.version, 1, finding);
    }

    fn news(&mut self, it: &Insider, scene: &Scene, fact: &Fact<'_>, out: &mut Out) {
        while let Some(news) = scene.registry.news.get(self.news).filter(|news| news.at <= fact.at) {
            self.news += 1;
            if let Some(market) = scene.by_symbol(&news.symbol) {
                self.built(it, market, news, out);
            }
        }
    }

    fn built(&self, it: &Insider, market: &Market, news: &super::registry::News, out: &mut Out) {
        let window = span(it.hours, HOUR);
        let after: i64 = market
            .fills
            .iter()
            .filter(|row| row.at > news.at)
            .map(|row| signed(&row.what))
            .fold(0, i64::saturating_add);
        let held = market.position.saturating_sub(after);
        let fills = market.fills.within(news.at, window);
        let change: i64 = fills.clone().map(|row| signed(&row.what)).fold(0, i64::saturating_add);
        // what was built in the position's own direction, at most all of it
        let built =
            if change.signum() == held.signum() { change.saturating_abs().min(held.saturating_abs()) } else { 0 };
        let worth = market.price().mul_floor(Qty::from_raw(built)).map_or(0, |value| value.raw());
        if built == 0 || worth < dollars(it.value_usd) || !reaches(built, it.built_permille, held.saturating_abs()) {
            return;
        }
        let finding = Finding {
            subject: self.owner,
            key: format!("news/{}", news.at.millis()),
            instrument: market.instrument.id,
            measured: permille(built, held.saturating_abs()),
            limit: it.built_permille,
            amount: worth,
            window,
            gravity: Gravity::Case,
            evidence: Evidence::of(fills.map(|row| row.seq)),
            hit: None,
        };
        out.raise(Rule::Insider, it.version, 1, finding);
    }
}

fn signed(fill: &keel_core::event::Fill) -> i64 {
    fill.side.signed(fill.qty).raw()
}

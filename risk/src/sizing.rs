//! How much: from an edge and the limits to a quantity, with the bound that set it.
//!
//! In: a record of wins and losses, the moves to target and stop, costs, equity, and every limit that can be asked ahead of
//! the gate. Out: coins on the instrument's grid and all bounds side by side. Never: a size from an edge that is not
//! positive or not finite, a negative size, a size above any bound; a score taken for a probability.
//!
//! ```text
//!   edge      e = p * win - (1 - p) * loss - cost            p: lower bound of Beta(1 + wins, 1 + losses)
//!   Kelly     f = e / (win - cost)                           share of equity at risk
//!   notional  kappa * f / (loss + cost) * equity             kappa shrinks with the drawdown
//! ```
//!
//! Sources: Kelly (1956); Grossman & Zhou (1993) for the drawdown factor; Rockafellar & Uryasev (2000): expected shortfall is
//! convex in the size, so its bound is found by Newton steps that end exactly.

use crate::var::{Outcomes, tail_count};
use keel_core::event::Side;
use keel_core::ids::InstrumentId;
use keel_core::instrument::Instrument;
use keel_core::units::{Notional, Px, Qty};

/// Newton steps before the shortfall bound is given up as zero. Each ends on another tail; far fewer are seen.
const STEPS: usize = 200;
/// Halvings of a search by bisection.
const HALVINGS: usize = 60;

/// What a trade can win and lose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edge {
    /// Trades of this kind that reached their target.
    pub wins: u32,
    /// Trades of this kind that were stopped.
    pub losses: u32,
    /// Move to the target, as a share of the price.
    pub win: f64,
    /// Move to the stop, slippage included, as a share of the price.
    pub loss: f64,
    /// Fees and funding of the round trip, as a share of the price.
    pub cost: f64,
}

impl Edge {
    /// Probability of a win nobody has to be lucky for: the lower 5 % of what the record allows.
    #[must_use]
    pub fn probability(&self) -> f64 {
        beta_quantile(1.0 + f64::from(self.wins), 1.0 + f64::from(self.losses), 0.05)
    }

    /// What a trade earns, as a share of its notional, at this probability of a win.
    #[must_use]
    pub fn earns(&self, p: f64) -> f64 {
        p * self.win - (1.0 - p) * self.loss - self.cost
    }

    /// Kelly's notional as a multiple of equity; zero unless every number is one and the edge is positive.
    #[must_use]
    pub fn kelly(&self, p: f64) -> f64 {
        let (won, lost, earned) = (self.win - self.cost, self.loss + self.cost, self.earns(p));
        let sound = [self.win, self.loss, self.cost, p].iter().all(|x| x.is_finite());
        let positive = self.win > 0.0 && self.loss > 0.0 && self.cost >= 0.0 && (0.0..=1.0).contains(&p);
        if sound && positive && won > 0.0 && earned > 0.0 { earned / won / lost } else { 0.0 }
    }
}

/// Which bound set the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is documented at the field of `Rules` or `State` it comes from")]
pub enum Bound {
    Kelly,
    Volatility,
    TradeRisk,
    Shortfall,
    ValueAtRisk,
    Stress,
    Position,
    Participation,
    Margin,
    OrderSize,
    BelowMinimum,
}

const BOUNDS: usize = 10;

/// The operator's rules.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Share of Kelly that is bet. 0.25 keeps 44 % of the growth; 1 halves the account at some time with even odds.
    pub kappa: f64,
    /// Daily volatility one trade may bring, as a share of equity.
    pub volatility: f64,
    /// Share of equity one trade may lose at its stop.
    pub trade_risk: f64,
    /// Drawdown at which nothing is bet any more, as a share of the highest value.
    pub max_drawdown: f64,
    /// Share of the volume at hand (resting at the touch, or of the last minute) one order may be.
    pub participation: f64,
    /// Tail of the two limits below, in basis points.
    pub tail: u32,
    /// Expected shortfall of everything open, USDT.
    pub max_shortfall: f64,
    /// Value at risk of everything open, USDT.
    pub max_loss: f64,
    /// Loss in the worst catastrophe, USDT.
    pub max_stress: f64,
}

/// What is the case.
#[derive(Clone, Copy, Debug)]
pub struct State<'a> {
    /// Equity, USDT.
    pub equity: f64,
    /// Share of the highest value that is lost.
    pub drawdown: f64,
    /// Daily volatility of the coin.
    pub volatility: f64,
    /// Coins at hand for `participation`.
    pub volume: f64,
    /// Room until the position reaches its cap, USDT.
    pub position_room: f64,
    /// Notional the free margin carries, USDT.
    pub margin_room: f64,
    /// The book in past days.
    pub outcomes: &'a Outcomes,
    /// The book in catastrophes.
    pub stress: &'a Outcomes,
}

/// A size, explained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sized {
    /// Coins, on the grid; zero when there is nothing to do.
    pub qty: Qty,
    /// What set it.
    pub bound: Bound,
    /// Every bound, USDT.
    pub bounds: [(Bound, f64); BOUNDS],
}

/// The size of one trade.
#[must_use]
pub fn size(edge: &Edge, side: Side, px: Px, instrument: &Instrument, rules: &Rules, state: &State<'_>) -> Sized {
    let throttle = (1.0 - state.drawdown / rules.max_drawdown).clamp(0.0, 1.0);
    let kelly = rules.kappa * throttle * edge.kelly(edge.probability()) * state.equity;
    let sign = if side == Side::Buy { 1.0 } else { -1.0 };
    let cap = [kelly, state.position_room, state.margin_room].into_iter().fold(f64::INFINITY, least);
    let tail = Tail { outcomes: state.outcomes, instrument: instrument.id, sign, tail: rules.tail };
    let bounds = [
        (Bound::Kelly, kelly),
        (Bound::Volatility, state.equity * rules.volatility / state.volatility),
        (Bound::TradeRisk, rules.trade_risk * state.equity / (edge.loss + edge.cost)),
        (Bound::Shortfall, tail.shortfall_room(rules.max_shortfall, cap)),
        (Bound::ValueAtRisk, tail.var_room(rules.max_loss, cap)),
        (Bound::Stress, worst_room(state.stress, instrument.id, sign, rules.max_stress)),
        (Bound::Position, state.position_room),
        (Bound::Participation, rules.participation * state.volume * px.to_f64()),
        (Bound::Margin, state.margin_room),
        (Bound::OrderSize, instrument.max_qty.to_f64() * px.to_f64()),
    ]
    .map(|(bound, room)| (bound, if room > 0.0 { room } else { 0.0 }));
    let (bound, room) = bounds.iter().copied().fold(bounds[0], |low, next| if next.1 < low.1 { next } else { low });
    let qty = coins(room, px, instrument);
    match instrument.accepts(px, qty, false, false) {
        Ok(()) => Sized { qty, bound, bounds },
        Err(_) => Sized { qty: Qty::ZERO, bound: if room > 0.0 { Bound::BelowMinimum } else { bound }, bounds },
    }
}

/// The smaller; a number that is none is nothing.
fn least(a: f64, b: f64) -> f64 {
    if b.is_nan() || a.is_nan() { 0.0 } else { a.min(b) }
}

/// USDT to coins on the grid, rounded down.
#[allow(clippy::cast_possible_truncation, reason = "the cast saturates, and is cut to the unit's bound")]
fn coins(room: f64, px: Px, instrument: &Instrument) -> Qty {
    let money = Notional::from_raw(((room * 1e8) as i64).clamp(0, Notional::MAX.raw()));
    let qty = money.div_floor(px).unwrap_or(Qty::ZERO).min(instrument.max_qty);
    if instrument.step > Qty::ZERO { qty.floor_to(instrument.step) } else { Qty::ZERO }
}

struct Tail<'a> {
    outcomes: &'a Outcomes,
    instrument: InstrumentId,
    sign: f64,
    tail: u32,
}

impl Tail<'_> {
    /// Outcome a scenario with `notional` more, filled where it hurts, and what a USDT of it costs there.
    fn shifted(&self, notional: f64) -> Vec<(f64, f64)> {
        let unit = |s: usize| {
            let r = self.sign * self.outcomes.scenarios().at(self.instrument, s);
            if r < 0.0 { r } else { 0.0 }
        };
        let mut rows: Vec<_> =
            self.outcomes.worst().enumerate().map(|(s, w)| (w + notional * unit(s), unit(s))).collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        rows
    }

    /// Expected shortfall with `notional` more, and its slope there.
    #[allow(clippy::cast_precision_loss, reason = "counts of scenarios are small")]
    fn shortfall(&self, notional: f64) -> (f64, f64) {
        let rows = self.shifted(notional);
        let mass = rows.len() as f64 * f64::from(self.tail) / 10_000.0;
        let worst = &rows[..tail_count(rows.len(), self.tail).min(rows.len())];
        worst.iter().enumerate().fold((0.0, 0.0), |(es, slope), (nth, (x, unit))| {
            let weight = (mass - nth as f64).clamp(0.0, 1.0) / mass;
            (es - weight * x, slope - weight * unit)
        })
    }

    /// Most that may be added without more shortfall than `limit`; infinite when `cap`, which bounds the size anyway, fits.
    /// Tangents of a convex function from the right: each step
    /// stays at or above the answer, and the last one is on it.
    fn shortfall_room(&self, limit: f64, cap: f64) -> f64 {
        let fits = self.shortfall(0.0).0 <= limit;
        if !self.measures() || !fits || !cap.is_finite() {
            return 0.0;
        }
        if self.shortfall(cap).0 <= limit {
            return f64::INFINITY;
        }
        let mut room = cap;
        for _ in 0..STEPS {
            let (es, slope) = self.shortfall(room);
            if es <= limit + 1e-9 * limit.abs() {
                return room;
            }
            let next = room - (es - limit) / slope;
            let nearer = next < room && next >= 0.0;
            if !nearer {
                return 0.0;
            }
            room = next;
        }
        0.0
    }

    /// The same for value at risk, which only grows with the size: by halving, from below.
    fn var_room(&self, limit: f64, cap: f64) -> f64 {
        let var = |room: f64| {
            self.shifted(room).get(tail_count(self.outcomes.scenarios().count(), self.tail) - 1).map(|row| -row.0)
        };
        let fits = |room: f64| var(room).is_some_and(|var| var <= limit);
        if !self.measures() || !fits(0.0) || !cap.is_finite() {
            return 0.0;
        }
        if fits(cap) {
            return f64::INFINITY;
        }
        let (mut low, mut high) = (0.0, cap);
        for _ in 0..HALVINGS {
            let middle = (low + high) / 2.0;
            if fits(middle) { low = middle } else { high = middle }
        }
        low
    }

    fn measures(&self) -> bool {
        self.outcomes.scenarios().covers(self.instrument) && (1..=10_000).contains(&self.tail)
    }
}

/// Most that may be added until some catastrophe loses `limit`.
fn worst_room(stress: &Outcomes, instrument: InstrumentId, sign: f64, limit: f64) -> f64 {
    if !stress.scenarios().covers(instrument) {
        return 0.0;
    }
    let room = stress.worst().enumerate().map(|(s, w)| {
        let unit = sign * stress.scenarios().at(instrument, s);
        match w + limit {
            left if left.is_nan() || left < 0.0 => 0.0,
            left if unit < 0.0 => left / -unit,
            _ => f64::INFINITY,
        }
    });
    room.fold(f64::INFINITY, least)
}

/// The value below which a Beta(a, b) falls with probability `q`.
fn beta_quantile(a: f64, b: f64, q: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        if beta_below(a, b, middle) < q { low = middle } else { high = middle }
    }
    low
}

/// Regularised incomplete beta, by its continued fraction (Lentz), as in Numerical Recipes 6.4.
fn beta_below(a: f64, b: f64, x: f64) -> f64 {
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * fraction(a, b, x) / a
    } else {
        1.0 - front * fraction(b, a, 1.0 - x) / b
    }
}

fn fraction(a: f64, b: f64, x: f64) -> f64 {
    let guard = |x: f64| if x.abs() < 1e-300 { 1e-300 } else { x };
    let (mut c, mut d) = (1.0, 1.0 / guard(1.0 - (a + b) * x / (a + 1.0)));
    let mut value = d;
    for m in 1..=500 {
        let m = f64::from(m);
        for term in [
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)),
        ] {
            d = 1.0 / guard(1.0 + term * d);
            c = guard(1.0 + term / c);
            value *= c * d;
        }
        if (c * d - 1.0).abs() < 1e-15 {
            break;
        }
    }
    value
}

/// Lanczos, g = 7, nine terms: about 1e-15 for positive arguments.
fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let sum = TERMS[1..].iter().zip(1u32..).fold(TERMS[0], |sum, (term, at)| sum + term / (x + f64::from(at)));
    let t = x + 7.5;
    0.5 * (2.0 * core::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

#[cfg(test)]
#[path = "sizing_tests.rs"]
#[allow(clippy::cast_precision_loss, clippy::float_cmp, reason = "counts are small; nothing is exactly nothing")]
mod tests;

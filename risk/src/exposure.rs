//! What we hold and what we could come to hold, per instrument and together.
//!
//! In: positions, marks, and [`Change`]s of what is open at worst. Out: the value of each instrument's two worst sides,
//! gross and net, counts of open orders, and our own best prices. Orders fill independently, so the worst an instrument
//! can become is one of two corners; an order tagged reduce-only is in neither, for it cannot add.
//!
//! ```text
//!   short corner                 position                long corner
//!   position - open sells  <---------|--------->  position + open buys
//! ```
//!
//! Never: a float in a sum that decides about money, a value rounded toward less risk, an open order that is forgotten
//! before proof that it is finished.

use keel_core::event::Side;
use keel_core::ids::{ClientId, InstrumentId, MAX_INSTRUMENTS, StrategyId};
use keel_core::orders::{Change, MAX_ORDERS, State};
use keel_core::units::{Px, Qty, unscale};

/// Finished orders whose strategy is remembered, for fills that arrive after the news that their order is done.
const REMEMBERED: usize = 64;

/// One instrument's holdings in USDT, for the scenario sums.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Legs {
    /// Value of the position, signed.
    pub position: f64,
    /// Value of everything open to buy.
    pub buys: f64,
    /// Value of everything open to sell.
    pub sells: f64,
}

/// One instrument.
#[derive(Clone, Copy, Debug, Default)]
pub struct Holding {
    /// Signed size.
    pub position: Qty,
    /// Open at worst and able to add, by [`Side::index`].
    pub open: [Qty; 2],
    /// Open at worst and tagged reduce-only, by [`Side::index`].
    pub reducing: [Qty; 2],
    /// What value is measured at; zero before the first mark.
    pub mark: Px,
    /// Our most aggressive resting price, by [`Side::index`]; zero when there is none.
    pub best: [Px; 2],
    /// Orders open.
    pub orders: u32,
    /// Value of the corners as they stand, by [`Side::index`]; see [`Self::corner`].
    pub corners: [i128; 2],
}

impl Holding {
    /// Signed value of a side's corner if `extra` more coins were bought (or sold), positive when it is on that side:
    /// a long for buys, a short for sells. Rounded up.
    #[must_use]
    pub fn corner(&self, side: Side, extra: Qty) -> i128 {
        let position = wide(side.signed(self.position));
        value(position + wide(self.open[side.index()]) + wide(extra), self.mark)
    }

    /// The larger corner; never below zero.
    #[must_use]
    pub fn worst_value(&self) -> i128 {
        self.corners[0].max(self.corners[1]).max(0)
    }

    /// Coins an order on `side` may still shrink the position by, with everything working on that side filled first.
    #[must_use]
    pub fn reducible(&self, side: Side) -> Qty {
        let against = -wide(side.signed(self.position));
        let left = against - wide(self.open[side.index()]) - wide(self.reducing[side.index()]);
        Qty::from_raw(i64::try_from(left.max(0)).unwrap_or(i64::MAX))
    }

    /// Coins an order tagged reduce-only on `side` may carry: the position less the reduce-only orders working on it.
    #[must_use]
    pub fn reduce_only_room(&self, side: Side) -> Qty {
        let against = -wide(side.signed(self.position));
        let left = against - wide(self.reducing[side.index()]);
        Qty::from_raw(i64::try_from(left.max(0)).unwrap_or(i64::MAX))
    }

    /// In USDT, for the scenario sums.
    #[must_use]
    pub fn legs(&self) -> Legs {
        let mark = self.mark.to_f64();
        Legs {
            position: self.position.to_f64() * mark,
            buys: self.open[0].to_f64() * mark,
            sells: self.open[1].to_f64() * mark,
        }
    }
}

fn wide(qty: Qty) -> i128 {
    i128::from(qty.raw())
}

/// `qty * px` in 1e-8 USDT, rounded up.
pub(crate) fn value(qty: i128, px: Px) -> i128 {
    -unscale(-(qty * i128::from(px.raw())))
}

#[derive(Clone, Copy, Debug)]
struct Open {
    instrument: InstrumentId,
    strategy: StrategyId,
    side: Side,
    reduce_only: bool,
    px: Px,
    qty: Qty,
    unknown: bool,
}

/// Everything held and open.
#[derive(Clone, Debug)]
pub struct Exposure {
    holdings: Vec<Holding>,
    clients: Vec<ClientId>,
    open: Vec<Open>,
    finished: [(ClientId, StrategyId); REMEMBERED],
    next_finished: usize,
    unknown: u32,
    gross: i128,
    net: [i128; 2],
    lost: bool,
}

impl Exposure {
    /// Nothing held, nothing open, no marks; room for everything it will ever hold.
    #[must_use]
    pub fn new(instruments: usize) -> Self {
        Self {
            holdings: vec![Holding::default(); instruments.min(MAX_INSTRUMENTS)],
            clients: Vec::with_capacity(MAX_ORDERS),
            open: Vec::with_capacity(MAX_ORDERS),
            finished: [(ClientId::NONE, StrategyId(0)); REMEMBERED],
            next_finished: 0,
            unknown: 0,
            gross: 0,
            net: [0; 2],
            lost: false,
        }
    }

    /// One instrument.
    #[must_use]
    pub fn holding(&self, id: InstrumentId) -> Option<&Holding> {
        self.holdings.get(id.index())
    }

    /// All instruments, by id.
    #[must_use]
    pub fn holdings(&self) -> &[Holding] {
        &self.holdings
    }

    /// Sum of the larger corners, 1e-8 USDT.
    #[must_use]
    pub const fn gross(&self) -> i128 {
        self.gross
    }

    /// Sum of the long corners and of the short corners, each signed, by [`Side::index`], 1e-8 USDT.
    #[must_use]
    pub const fn net(&self) -> [i128; 2] {
        self.net
    }

    /// Orders open.
    #[must_use]
    pub fn orders(&self) -> usize {
        self.open.len()
    }

    /// Orders the venue owes us proof of.
    #[must_use]
    pub const fn unknown(&self) -> u32 {
        self.unknown
    }

    /// A change did not fit the table, or named an instrument nobody knows: the sums are no longer the whole truth.
    #[must_use]
    pub const fn lost(&self) -> bool {
        self.lost
    }

    /// Whose order this is or was.
    #[must_use]
    pub fn strategy(&self, client: ClientId) -> Option<StrategyId> {
        if client == ClientId::NONE {
            return None;
        }
        let open = self.clients.iter().position(|c| *c == client).map(|at| self.open[at].strategy);
        open.or_else(|| self.finished.iter().find(|(c, _)| *c == client).map(|(_, strategy)| *strategy))
    }

    /// A new mark.
    pub fn set_mark(&mut self, id: InstrumentId, mark: Px) {
        self.edit(id, |holding| holding.mark = mark);
    }

    /// A new position.
    pub fn set_position(&mut self, id: InstrumentId, size: Qty) {
        self.edit(id, |holding| holding.position = size);
    }

    /// An order's worst case moved.
    pub fn apply(&mut self, change: &Change) {
        let found = self.clients.iter().position(|client| *client == change.client);
        let before = found.map(|at| self.open[at]);
        // finished, but with executions owed to us: what is owed is in no position yet
        let after = (!change.to.is_final() || !change.after.is_zero()).then_some(Open {
            instrument: change.instrument,
            strategy: change.strategy,
            side: change.side,
            reduce_only: change.reduce_only.is_set(),
            px: change.px,
            qty: change.after,
            unknown: change.to == State::Unknown,
        });
        match (found, after) {
            (Some(at), Some(row)) => self.open[at] = row,
            (Some(at), None) => {
                self.clients.swap_remove(at);
                self.open.swap_remove(at);
                self.finished[self.next_finished] = (change.client, change.strategy);
                self.next_finished = (self.next_finished + 1) % REMEMBERED;
            }
            (None, Some(row)) if self.open.len() < MAX_ORDERS => {
                self.clients.push(change.client);
                self.open.push(row);
            }
            (None, Some(_)) => self.lost = true,
            (None, None) => {}
        }
        if let Some(row) = before {
            self.unknown -= u32::from(row.unknown);
        }
        if let (Some(row), false) = (after, self.lost && found.is_none()) {
            self.unknown += u32::from(row.unknown);
        }
        self.recount(change, before, after);
    }

    fn recount(&mut self, change: &Change, before: Option<Open>, after: Option<Open>) {
        let best = self.best_after(change, before, after);
        self.edit(change.instrument, |holding| {
            for (row, sign) in [(before, -1), (after, 1)] {
                let Some(row) = row else { continue };
                let sum = if row.reduce_only { &mut holding.reducing } else { &mut holding.open };
                let sum = &mut sum[row.side.index()];
                *sum = Qty::from_raw(sum.raw().saturating_add(sign * row.qty.raw()));
            }
            holding.orders = holding.orders + u32::from(after.is_some()) - u32::from(before.is_some());
            holding.best[change.side.index()] = best;
        });
    }

    /// Our most aggressive price on the side of `change`. Looked up again only when the best one left.
    fn best_after(&self, change: &Change, before: Option<Open>, after: Option<Open>) -> Px {
        let side = change.side;
        let best = self.holding(change.instrument).map_or(Px::ZERO, |holding| holding.best[side.index()]);
        let better = |a: Px, b: Px| {
            if b.is_zero() {
                a
            } else if side == Side::Buy {
                a.max(b)
            } else {
                a.min(b)
            }
        };
        match (before, after) {
            (Some(old), Some(new)) if old.px == new.px => best,
            (Some(old), _) if old.px == best => {
                let rows = self.open.iter().filter(|row| row.instrument == change.instrument && row.side == side);
                rows.fold(Px::ZERO, |best, row| better(row.px, best))
            }
            (_, Some(new)) => better(new.px, best),
            (_, None) => best,
        }
    }

    /// Changes one holding and keeps the sums equal to what a recount would give.
    fn edit(&mut self, id: InstrumentId, change: impl FnOnce(&mut Holding)) {
        let Some(holding) = self.holdings.get_mut(id.index()) else {
            self.lost = true;
            return;
        };
        let (gross, net) = (holding.worst_value(), holding.corners);
        change(holding);
        holding.corners = [Side::Buy, Side::Sell].map(|side| holding.corner(side, Qty::ZERO));
        let after = holding.corners;
        self.gross += holding.worst_value() - gross;
        self.net[0] += after[0] - net[0];
        self.net[1] += after[1] - net[1];
    }
}

#[cfg(test)]
#[path = "exposure_tests.rs"]
mod tests;

//! What an account can afford: cross margin of a unified account, at the mark.
//!
//! `positionIM = V/L + V(1 +- 1/L) taker`, `positionMM = V mmr + V(1 +- 1/L) taker` with `+` for shorts and `-` for
//! longs; orders hold the margin of the heavier side of each leg, what they would only close set aside.

use super::account::Account;
use super::codes::{self, Refusal};
use super::engine::Engine;
use super::order::{Order, Place, Status, TriggerBy};
use keel_core::event::Side;
use keel_core::units::{Notional, Px, Qty, SCALE};

/// Conditional orders one account may have on one symbol; one more answers 110009.
pub(super) const MAX_STOPS: usize = 10;

/// Totals of one account, in USDT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) wallet: Notional,
    pub(super) unrealised: Notional,
    pub(super) position_im: Notional,
    pub(super) position_mm: Notional,
    pub(super) order_im: Notional,
}

impl Totals {
    pub(super) fn equity(&self) -> Notional {
        self.wallet + self.unrealised
    }

    pub(super) fn initial(&self) -> Notional {
        self.position_im + self.order_im
    }

    pub(super) fn available(&self) -> Notional {
        (self.equity() - self.initial()).max(Notional::ZERO)
    }
}

fn ratio(value: Notional, top: i64, bottom: i64) -> Notional {
    if bottom == 0 {
        return value;
    }
    let scaled = -((-i128::from(value.raw()) * i128::from(top)).div_euclid(i128::from(bottom)));
    Notional::from_raw(i64::try_from(scaled).unwrap_or(i64::MAX / 4))
}

/// Initial margin of an opened value at a leverage in hundredths, closing fee included.
pub(super) fn initial(value: Notional, leverage: u32, taker: i64, short: bool) -> Notional {
    let leverage = i64::from(leverage.max(100));
    ratio(value, 100, leverage) + close_fee(value, leverage, taker, short)
}

fn close_fee(value: Notional, leverage: i64, taker: i64, short: bool) -> Notional {
    let at_bust = ratio(value, if short { leverage + 100 } else { leverage - 100 }, leverage);
    ratio(at_bust, taker.max(0), SCALE)
}

/// Maintenance margin of a position's value.
pub(super) fn maintenance(value: Notional, leverage: u32, mmr: i64, taker: i64, short: bool) -> Notional {
    ratio(value, mmr, SCALE) + close_fee(value, i64::from(leverage.max(100)), taker, short)
}

impl Engine {
    pub(super) fn trigger_px(&self, symbol: usize, by: TriggerBy) -> Px {
        let quote = &self.quotes[symbol];
        match by {
            TriggerBy::Last => quote.last,
            TriggerBy::Mark => quote.mark,
            TriggerBy::Index => quote.index,
        }
    }

    /// Everything the wallet row needs.
    pub(super) fn totals(&self, account: usize) -> Totals {
        self.totals_with(account, None, None)
    }

    fn totals_with(&self, account: usize, without: Option<u64>, with: Option<&Place>) -> Totals {
        let of = &self.accounts[account];
        let mut totals = Totals { wallet: of.wallet, ..Totals::default() };
        let mut orders = vec![[Notional::ZERO; 2]; self.specs.len()];
        let mut room: Vec<[Qty; 2]> = vec![[Qty::ZERO; 2]; self.specs.len()];
        for ((symbol, _), position) in &of.positions {
            self.add_position(of, *symbol, position, &mut totals);
            let side = usize::from(position.size.raw() > 0); // a long gives room to sells
            room[*symbol][side] += position.size.abs();
        }
        let mut add = |symbol: usize, side: Side, px: Px, left: Qty, reduce: bool| {
            if reduce {
                return;
            }
            let at = usize::from(side == Side::Sell);
            let closes = left.min(room[symbol][at]);
            room[symbol][at] -= closes;
            let value = px.mul_ceil(left - closes).unwrap_or(Notional::MAX);
            let (taker, _) = self.rates(account, symbol);
            orders[symbol][at] += initial(value, of.leverage[symbol], taker, side == Side::Sell);
        };
        for order in of.open.iter().filter(|id| Some(**id) != without).filter_map(|id| self.orders.get(id)) {
            if order.status != Status::Untriggered {
                add(order.symbol, order.side, order.px, order.left, order.reduce_only);
            }
        }
        if let Some(place) = with {
            add(place.symbol, place.side, place.px, place.qty, place.reduce_only);
        }
        totals.order_im = orders.iter().map(|[buys, sells]| *buys.max(sells)).sum();
        totals
    }

    fn add_position(&self, of: &Account, symbol: usize, position: &super::account::Position, totals: &mut Totals) {
        if position.size.is_zero() {
            return;
        }
        let (spec, mark) = (&self.specs[symbol], self.quotes[symbol].mark);
        let value = mark.mul_ceil(position.size.abs()).unwrap_or(Notional::MAX);
        let taker = of.fees.map_or(spec.instrument.taker_fee, |(taker, _)| taker);
        let short = position.size.raw() < 0;
        totals.unrealised += position.unrealised(mark);
        totals.position_im += initial(value, of.leverage[symbol], taker, short);
        totals.position_mm += maintenance(value, of.leverage[symbol], spec.mmr, taker, short);
    }

    pub(super) fn check_margin(&self, account: usize, place: &Place) -> Result<(), Refusal> {
        self.afford(account, None, place)
    }

    pub(super) fn check_margin_change(&self, account: usize, old: &Order, place: &Place) -> Result<(), Refusal> {
        self.afford(account, Some(old.id), place)
    }

    fn afford(&self, account: usize, without: Option<u64>, place: &Place) -> Result<(), Refusal> {
        if self.accounts[account].house || place.reduce_only || place.trigger.is_some() {
            return Ok(());
        }
        let before = self.totals(account);
        let after = self.totals_with(account, without, Some(place));
        if after.initial() > after.equity() && after.initial() > before.initial() {
            return Err(codes::NO_MARGIN);
        }
        Ok(())
    }
}

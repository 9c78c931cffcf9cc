//! What an account can afford, at the mark: cross margin of a unified account, or isolated margin by position.
//!
//! `positionIM = V/L + V(1 +- 1/L) taker`, `positionMM = V mmr - deduction + V(1 +- 1/L) taker` with `+` for shorts and `-`
//! for longs, rates and deduction those of the value's risk tier. Orders hold the margin of the heavier side of each
//! leg, what they would only close set aside.
//!
//! Cross: equity (cash and unrealised gains) backs everything. Isolated: a position holds its own margin, which stands
//! in the wallet but backs nothing else; gains back nothing until they are realised.

use super::account::{Account, Position, part};
use super::codes::{self, Refusal};
use super::engine::Engine;
use super::order::{Order, Place, Status, TriggerBy};
use super::spec::Tier;
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
    isolated: bool,
    /// Of the asked order's symbol and side: what would be open if all of it filled.
    reach: Notional,
}

impl Totals {
    pub(super) fn equity(&self) -> Notional {
        self.wallet + self.unrealised
    }

    /// What positions and orders may draw on.
    pub(super) fn backing(&self) -> Notional {
        if self.isolated { self.wallet } else { self.equity() }
    }

    pub(super) fn initial(&self) -> Notional {
        self.position_im + self.order_im
    }

    pub(super) fn available(&self) -> Notional {
        (self.backing() - self.initial()).max(Notional::ZERO)
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

/// Maintenance margin of a position's value in its tier.
pub(super) fn maintenance(value: Notional, leverage: u32, tier: &Tier, taker: i64, short: bool) -> Notional {
    let kept = (ratio(value, tier.mmr, SCALE) - tier.deduction).max(Notional::ZERO);
    kept + close_fee(value, i64::from(leverage.max(100)), taker, short)
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

    /// Initial and maintenance margin of a position at the mark.
    pub(super) fn required(&self, account: usize, symbol: usize, p: &Position) -> (Notional, Notional) {
        if p.size.is_zero() {
            return (Notional::ZERO, Notional::ZERO);
        }
        let of = &self.accounts[account];
        let value = self.quotes[symbol].mark.mul_ceil(p.size.abs()).unwrap_or(Notional::MAX);
        let short = p.size.raw() < 0;
        let leverage = of.leverage_of(symbol, if short { Side::Sell } else { Side::Buy });
        let (taker, _) = self.rates(account, symbol);
        let mm = maintenance(value, leverage, self.specs[symbol].tier(value), taker, short);
        (if of.isolated { p.margin } else { initial(value, leverage, taker, short) }, mm)
    }

    /// Everything the wallet row needs.
    pub(super) fn totals(&self, account: usize) -> Totals {
        self.totals_with(account, None, None)
    }

    /// The same with one more order, and its position when it fills.
    pub(super) fn totals_after(&self, account: usize, place: &Place) -> Totals {
        let mut totals = self.totals_with(account, None, Some(place));
        if !place.reduce_only {
            let (taker, _) = self.rates(account, place.symbol);
            let value = place.px.mul_ceil(place.qty).unwrap_or(Notional::MAX);
            let leverage = self.accounts[account].leverage_of(place.symbol, place.side);
            let tier = self.specs[place.symbol].tier(totals.reach);
            totals.position_mm += maintenance(value, leverage, tier, taker, place.side == Side::Sell);
        }
        totals
    }

    fn totals_with(&self, account: usize, without: Option<u64>, with: Option<&Place>) -> Totals {
        let of = &self.accounts[account];
        let mut totals = Totals { wallet: of.wallet, isolated: of.isolated, ..Totals::default() };
        let mut orders = vec![[(Notional::ZERO, Notional::ZERO); 2]; self.specs.len()];
        let mut room: Vec<[Qty; 2]> = vec![[Qty::ZERO; 2]; self.specs.len()];
        for ((symbol, _), position) in &of.positions {
            let (im, mm) = self.required(account, *symbol, position);
            totals.unrealised += position.unrealised(self.quotes[*symbol].mark);
            totals.position_im += im;
            totals.position_mm += mm;
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
            orders[symbol][at].0 += initial(value, of.leverage_of(symbol, side), taker, side == Side::Sell);
            orders[symbol][at].1 += value;
        };
        for order in of.open.iter().filter(|id| Some(**id) != without).filter_map(|id| self.orders.get(id)) {
            if order.status != Status::Untriggered {
                add(order.symbol, order.side, order.px, order.left, order.reduce_only);
            }
        }
        if let Some(place) = with {
            add(place.symbol, place.side, place.px, place.qty, place.reduce_only);
            totals.reach = orders[place.symbol][usize::from(place.side == Side::Sell)].1;
            totals.reach += self.open_value(account, place.symbol, place.side);
        }
        totals.order_im = orders.iter().map(|[buys, sells]| buys.0.max(sells.0)).sum();
        totals
    }

    /// Value at the mark of what is open on one side of a symbol.
    pub(super) fn open_value(&self, account: usize, symbol: usize, side: Side) -> Notional {
        let legs = self.accounts[account].positions.range((symbol, 0)..=(symbol, u8::MAX));
        let mine = legs.filter(|(_, p)| !p.size.is_zero() && (p.size.raw() > 0) == (side == Side::Buy));
        mine.map(|(_, p)| self.quotes[symbol].mark.mul_ceil(p.size.abs()).unwrap_or(Notional::MAX)).sum()
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
        if after.initial() > after.backing() && after.initial() > before.initial() {
            return Err(codes::NO_MARGIN);
        }
        self.check_tier(account, place, after.reach)
    }

    /// The value of a position and its orders lies in a tier; the tier bounds the leverage, the last one the value.
    fn check_tier(&self, account: usize, place: &Place, reach: Notional) -> Result<(), Refusal> {
        let spec = &self.specs[place.symbol];
        if reach > self.open_value(account, place.symbol, place.side) && reach > spec.most() {
            return Err(codes::RISK_LIMIT);
        }
        let most = spec.tier(reach).max_leverage;
        if self.accounts[account].leverage_of(place.symbol, place.side) > most {
            let text = format!(
                "Order placement failed as your position may exceed the max limit. Please adjust your leverage to \
                 {}.{:02} or below to increase the max. position limit",
                most / 100,
                most % 100
            );
            return Err(Refusal::said(110_090, text));
        }
        Ok(())
    }

    /// A fill of an isolated account: what it opened takes its margin along, what it closed leaves it.
    pub(super) fn isolate(&mut self, account: usize, symbol: usize, idx: u8, fill: &Fill) {
        let (taker, _) = self.rates(account, symbol);
        let of = &mut self.accounts[account];
        if !of.isolated || of.house {
            return;
        }
        let leverage = of.leverage_of(symbol, fill.side);
        let Some(p) = of.positions.get_mut(&(symbol, idx)) else { return };
        let left = part(p.margin, fill.closed, fill.was_open);
        let opened = part(fill.value, fill.qty - fill.closed, fill.qty);
        p.margin += initial(opened, leverage, taker, fill.side == Side::Sell) - left;
        if p.size.is_zero() {
            p.margin = Notional::ZERO;
        }
    }

    /// Cash of an isolated account that no position holds.
    pub(super) fn loose(&self, account: usize) -> Notional {
        let of = &self.accounts[account];
        of.wallet - of.positions.values().map(|p| p.margin).sum::<Notional>()
    }

    /// The mark at which what backs a position is gone: the bankruptcy price.
    pub(super) fn bust_px(&self, account: usize, symbol: usize, p: &Position) -> Px {
        let mark = self.quotes[symbol].mark;
        let spare =
            if self.accounts[account].isolated { p.margin + p.unrealised(mark) } else { self.totals(account).equity() };
        let tick = self.specs[symbol].instrument.tick;
        let down = i128::from(spare.raw()) * i128::from(SCALE) / i128::from(p.size.raw().max(1).max(-p.size.raw()));
        let down = if p.size.raw() < 0 { -down } else { down };
        let px = i64::try_from(i128::from(mark.raw()) - down).unwrap_or(0);
        Px::from_raw(px.clamp(tick.raw(), Px::MAX.raw())).floor_to(tick).max(tick)
    }
}

/// What a fill did to a position's size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fill {
    pub(super) side: Side,
    pub(super) qty: Qty,
    pub(super) value: Notional,
    pub(super) closed: Qty,
    pub(super) was_open: Qty,
}

impl Account {
    /// Leverage, in hundredths, of what this side opens.
    pub(super) fn leverage_of(&self, symbol: usize, side: Side) -> u32 {
        self.leverage[symbol][usize::from(side == Side::Sell)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::spec::Spec;
    use super::*;

    #[test]
    fn maintenance_margin_is_continuous_where_tiers_meet() {
        for spec in Spec::majors() {
            let mut last = Notional::ZERO;
            for pair in spec.tiers.windows(2) {
                let edge = pair[0].limit;
                let (low, high) =
                    (maintenance(edge, 100, &pair[0], 0, false), maintenance(edge, 100, &pair[1], 0, false));
                assert!((low - high).abs().raw() <= 2, "{low} {high}");
                assert!(low > last && pair[1].mmr > pair[0].mmr && pair[1].max_leverage < pair[0].max_leverage);
                assert!(pair[1].limit > pair[0].limit);
                last = low;
            }
        }
    }
}

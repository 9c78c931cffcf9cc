//! Liquidation and deleveraging, at the mark and in the venue's order.
//!
//! ```text
//!  maintenance >= what backs it -> orders cancelled -> ladder: down to the next lower risk tier, again, until it holds
//!                               -> taken over: what the book takes within its bound, the rest by deleveraging
//! ```
//!
//! Cross margin looks at an account as a whole, isolated margin at each position. What an account cannot pay, the
//! symbol's insurance pool pays. Deleveraging takes the counterparties by profit times effective leverage.

use super::account::{Position, PositionStatus};
use super::engine::{Engine, Event, MARKET};
use keel_core::event::Side;
use keel_core::units::{Notional, Px, Qty, SCALE};

/// Rungs one liquidation may go down at once; then it is taken over.
const MAX_RUNGS: usize = 32;

/// Account, symbol, position index.
type Leg = (usize, usize, u8);

impl Engine {
    /// Accounts, or isolated positions, whose maintenance margin exceeds what backs them are liquidated.
    pub(super) fn check_solvency(&mut self, now_ms: u64) {
        for account in 0..self.accounts.len() {
            let of = &self.accounts[account];
            if of.house || of.frozen || of.positions.values().all(|p| p.size.is_zero()) {
                continue;
            }
            if !of.isolated {
                if !self.solvent(account, None) {
                    self.liquidate(now_ms, account, false);
                }
                continue;
            }
            let legs: Vec<(usize, u8)> = of.positions.keys().copied().collect();
            for (symbol, idx) in legs {
                if self.is_sick(account, symbol, idx) && !self.nurse(now_ms, (account, symbol, idx)) {
                    self.liquidate_leg(now_ms, (account, symbol, idx));
                }
            }
        }
    }

    /// Does an isolated position no longer hold its maintenance margin?
    pub(super) fn is_sick(&self, account: usize, symbol: usize, idx: u8) -> bool {
        let p = self.accounts[account].position(symbol, idx);
        let (_, mm) = self.required(account, symbol, &p);
        !p.size.is_zero() && self.accounts[account].isolated && mm >= p.margin + p.unrealised(self.quotes[symbol].mark)
    }

    /// Is there no need to liquidate the account, or this position of it?
    fn solvent(&self, account: usize, leg: Option<(usize, u8)>) -> bool {
        if let Some((symbol, idx)) = leg {
            return !self.is_sick(account, symbol, idx);
        }
        let totals = self.totals(account);
        totals.position_mm <= Notional::ZERO || totals.position_mm < totals.equity()
    }

    /// Adds margin to a position that asks for it by itself. Says whether it is well again.
    fn nurse(&mut self, now_ms: u64, (account, symbol, idx): Leg) -> bool {
        let p = self.accounts[account].position(symbol, idx);
        let (_, mm) = self.required(account, symbol, &p);
        let wanted = mm + mm - p.margin - p.unrealised(self.quotes[symbol].mark);
        let given = wanted.min(self.totals(account).available());
        if !p.auto_add || given <= Notional::ZERO {
            return false;
        }
        if let Some(p) = self.accounts[account].positions.get_mut(&(symbol, idx)) {
            p.margin += given;
            p.updated = now_ms;
        }
        self.after(account, symbol, idx, true);
        !self.is_sick(account, symbol, idx)
    }

    /// Liquidates an account: by the ladder while that may help (never when it is forced), then whole.
    pub(super) fn liquidate(&mut self, now_ms: u64, account: usize, forced: bool) {
        self.accounts[account].frozen = true;
        self.clear_orders(now_ms, account, None);
        if forced || !self.descend(now_ms, account, None) {
            self.take_all(now_ms, account);
        }
        self.accounts[account].frozen = false;
    }

    fn liquidate_leg(&mut self, now_ms: u64, (account, symbol, idx): Leg) {
        self.accounts[account].frozen = true;
        self.clear_orders(now_ms, account, Some(symbol));
        if !self.descend(now_ms, account, Some((symbol, idx))) {
            let p = self.accounts[account].position(symbol, idx);
            let before = self.accounts[account].wallet;
            self.take_over(now_ms, account, symbol, idx, p.size, "CreateByLiq");
            let lost = before - self.accounts[account].wallet;
            self.insure(now_ms, account, symbol, lost - p.margin);
        }
        self.accounts[account].frozen = false;
    }

    fn clear_orders(&mut self, now_ms: u64, account: usize, only: Option<usize>) {
        let mine = |id: &u64| self.orders.get(id).is_some_and(|o| only.is_none_or(|symbol| o.symbol == symbol));
        let open: Vec<u64> = self.accounts[account].open.iter().copied().filter(mine).collect();
        for id in open {
            self.withdraw(now_ms, id, "CancelAllBeforeLiq", "EC_PerCancelRequest");
        }
    }

    /// Goes down the risk tiers, the largest position first. Says whether that was enough.
    fn descend(&mut self, now_ms: u64, account: usize, only: Option<(usize, u8)>) -> bool {
        for _ in 0..MAX_RUNGS {
            if self.solvent(account, only) {
                return true;
            }
            let Some((symbol, idx, cut)) = self.next_rung(account, only) else { return false };
            let size = self.accounts[account].position(symbol, idx).size;
            self.sell_off(now_ms, (account, symbol, idx), size, cut, "CreateByLiq");
            self.set_status(account, symbol, idx, PositionStatus::Normal);
            self.tell_position(account, symbol, idx);
            if self.accounts[account].position(symbol, idx).size == size {
                return false; // the book takes nothing
            }
        }
        false
    }

    /// What brings the largest position above the lowest tier into the next lower one.
    fn next_rung(&self, account: usize, only: Option<(usize, u8)>) -> Option<(usize, u8, Qty)> {
        let legs = self.accounts[account].positions.iter().filter(|(leg, _)| only.is_none_or(|o| o == **leg));
        let value =
            |symbol: usize, p: &Position| self.quotes[symbol].mark.mul_ceil(p.size.abs()).unwrap_or(Notional::MAX);
        let ((symbol, idx), p) = legs
            .filter(|((symbol, _), p)| self.specs[*symbol].tier_number(value(*symbol, p)) > 0)
            .max_by_key(|((symbol, _), p)| value(*symbol, p))?;
        let spec = &self.specs[*symbol];
        let limit = spec.tiers.get(spec.tier_number(value(*symbol, p)) - 1)?.limit;
        let kept = limit.div_floor(self.quotes[*symbol].mark).unwrap_or(Qty::ZERO).floor_to(spec.instrument.step);
        Some((*symbol, *idx, (p.size.abs() - kept).max(spec.instrument.step)))
    }

    /// Takes every position over and covers what is missing from the insurance.
    fn take_all(&mut self, now_ms: u64, account: usize) {
        let legs: Vec<(usize, u8)> = self.accounts[account].positions.keys().copied().collect();
        let mut worst = (Notional::MAX, 0); // the leg that cost most owes its pool what is missing
        for (symbol, idx) in legs {
            let size = self.accounts[account].position(symbol, idx).size;
            if !size.is_zero() {
                let before = self.accounts[account].wallet;
                self.take_over(now_ms, account, symbol, idx, size, "CreateByLiq");
                worst = worst.min((self.accounts[account].wallet - before, symbol));
            }
        }
        self.insure(now_ms, account, worst.1, -self.accounts[account].wallet);
    }

    /// The symbol's pool pays what is missing, if anything is.
    fn insure(&mut self, now_ms: u64, account: usize, symbol: usize, missing: Notional) {
        if missing <= Notional::ZERO {
            return;
        }
        // not money through the door: the market's account owes it, and the log says where it came from
        self.accounts[account].deposited -= missing;
        self.cash(now_ms, account, "USDT", "LIQUIDATION", missing.raw(), 0);
        self.accounts[MARKET].wallet -= missing;
        self.pools[symbol].pay(now_ms, missing);
    }

    /// Sells `qty` of a position (or buys it back) in the book, as far as that reaches.
    fn sell_off(&mut self, now_ms: u64, leg: Leg, size: Qty, qty: Qty, create_type: &'static str) {
        let (account, symbol, idx) = leg;
        self.set_status(account, symbol, idx, PositionStatus::Liq);
        self.tell_position(account, symbol, idx);
        let (side, of) = if size.raw() > 0 { (Side::Sell, Side::Buy) } else { (Side::Buy, Side::Sell) };
        let bust = self.bust_px(account, symbol, &self.accounts[account].position(symbol, idx));
        self.events.push(Event::Liquidated(symbol, of, qty, bust));
        let order = self.venue_order(now_ms, leg, side, qty, create_type);
        self.execute(now_ms, order);
    }

    /// Closes `size` in the book as far as it reaches, the rest by deleveraging the other side.
    pub(super) fn take_over(
        &mut self,
        now_ms: u64,
        account: usize,
        symbol: usize,
        idx: u8,
        size: Qty,
        create_type: &'static str,
    ) {
        self.sell_off(now_ms, (account, symbol, idx), size, size.abs(), create_type);
        let side = if size.raw() > 0 { Side::Sell } else { Side::Buy };
        let left = self.closable(account, symbol, idx, side).min(size.abs());
        if !left.is_zero() {
            self.deleverage(now_ms, account, symbol, idx, side, left);
        }
        self.set_status(account, symbol, idx, PositionStatus::Normal);
        self.tell_position(account, symbol, idx);
    }

    fn set_status(&mut self, account: usize, symbol: usize, idx: u8, status: PositionStatus) {
        if let Some(p) = self.accounts[account].positions.get_mut(&(symbol, idx)) {
            p.status = status;
        }
    }

    /// Positions on the other side trade at the mark, the first in rank first; the market account takes the rest.
    pub(super) fn deleverage(
        &mut self,
        now_ms: u64,
        account: usize,
        symbol: usize,
        idx: u8,
        side: Side,
        mut left: Qty,
    ) {
        let mark = self.quotes[symbol].mark;
        let mut ranked: Vec<(i128, usize, u8)> = self
            .holders(symbol, side)
            .filter(|(other, _, _)| *other != account)
            .map(|(other, leg, p)| (self.adl_score(other, symbol, p), other, leg))
            .collect();
        ranked.sort_by_key(|(score, other, leg)| (std::cmp::Reverse(*score), *other, *leg));
        for (_, other, leg) in ranked {
            let size = self.accounts[other].position(symbol, leg).size.abs().min(left);
            if size.is_zero() {
                continue;
            }
            left -= size;
            self.set_status(other, symbol, leg, PositionStatus::Adl);
            self.pass_through(now_ms, (other, symbol, leg), side.opposite(), mark, size, "CreateByAdl_PassThrough");
            self.set_status(other, symbol, leg, PositionStatus::Normal);
            self.pass_through(now_ms, (account, symbol, idx), side, mark, size, "CreateByTakeOver_PassThrough");
        }
        if !left.is_zero() {
            self.pass_through(now_ms, (account, symbol, idx), side, mark, left, "CreateByTakeOver_PassThrough");
            self.market_fill(symbol, side.opposite(), mark, left);
        }
    }

    /// Everybody but the market account who holds what an order on `side` would take over: shorts for a sell.
    fn holders(&self, symbol: usize, side: Side) -> impl Iterator<Item = (usize, u8, &Position)> {
        let all = self.accounts.iter().enumerate().filter(|(other, _)| *other != MARKET);
        all.flat_map(move |(other, of)| {
            of.positions.range((symbol, 0)..=(symbol, u8::MAX)).map(move |(k, p)| (other, k.1, p))
        })
        .filter(move |(_, _, p)| if side == Side::Sell { p.size.raw() < 0 } else { p.size.raw() > 0 })
    }

    /// Profit over entry value times effective leverage; a loss is divided by it. 1e-8 of the entry value, hundredths.
    fn adl_score(&self, account: usize, symbol: usize, p: &Position) -> i128 {
        let mark = self.quotes[symbol].mark;
        let value = i128::from(mark.mul_floor(p.size.abs()).unwrap_or(Notional::ZERO).raw());
        let of = &self.accounts[account];
        let backing = if of.isolated { p.margin } else { of.wallet + p.unrealised(mark) };
        let leverage = (value * 100 / i128::from(backing.raw()).max(1)).max(1);
        let gain = i128::from(p.unrealised(mark).raw()) * i128::from(SCALE) / i128::from(p.cost.abs().raw()).max(1);
        if gain > 0 { gain * leverage } else { gain * 100 / leverage }
    }

    /// `adlRankIndicator`: the fifth of its side a position stands in, 5 the first to be deleveraged; 0 when flat.
    pub(super) fn adl_rank(&self, account: usize, symbol: usize, p: &Position) -> i64 {
        if p.size.is_zero() {
            return 0;
        }
        let side = if p.size.raw() < 0 { Side::Sell } else { Side::Buy };
        let mine = self.adl_score(account, symbol, p);
        let (mut all, mut above) = (0i64, 0i64);
        for (other, _, p) in self.holders(symbol, side) {
            all += 1;
            above += i64::from(self.adl_score(other, symbol, p) > mine);
        }
        5 - (above * 5 / all.max(1)).min(4)
    }

    /// A fill without an order in any book.
    fn pass_through(
        &mut self,
        now_ms: u64,
        (account, symbol, idx): Leg,
        side: Side,
        px: Px,
        qty: Qty,
        create_type: &'static str,
    ) {
        let mut order = self.venue_order(now_ms, (account, symbol, idx), side, qty, create_type);
        order.px = px;
        self.fill(now_ms, &mut order, px, qty, false);
        self.announce(&order);
        self.accounts[account].file(order);
        self.after(account, symbol, idx, true);
        self.drop_reducers(now_ms, account, symbol, idx);
    }
}

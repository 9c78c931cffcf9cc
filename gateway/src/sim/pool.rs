//! Insurance: one isolated pool per symbol, and how far it fell.
//!
//! In: what liquidated accounts could not pay. Out: balances and the drawdown of eight hours. A pool is a book about
//! the venue's own money, which stands in the market account's wallet: conservation counts it there.

use keel_core::units::{Notional, SCALE};
use std::collections::VecDeque;

/// What a pool holds at the start.
pub(super) const START: Notional = Notional::whole(100_000);
/// Drawdown (1e-8) below which the venue deleverages a symbol.
pub(super) const ADL_START: i64 = -SCALE * 3 / 10;
/// Drawdown (1e-8) above which it stops.
pub(super) const ADL_STOP: i64 = -SCALE / 4;
/// The drawdown counts for a pool that holds more than this.
pub(super) const ADL_TRIGGER: Notional = Notional::whole(10_000);
/// How far back the drawdown looks.
const WINDOW_MS: u64 = 8 * 3_600_000;
/// Falls remembered per pool; the oldest go first, and the drawdown then forgets the balance before them.
const MAX_FALLS: usize = 4_096;

/// One symbol's pool.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) balance: Notional,
    /// When it last paid; zero for never.
    pub(super) updated: u64,
    /// It paid since the stream last told.
    pub(super) fresh: bool,
    /// When it fell and what it held until then, oldest first. It never rises, so the front is the highest.
    falls: VecDeque<(u64, Notional)>,
}

impl Default for Pool {
    fn default() -> Self {
        Self { balance: START, updated: 0, fresh: false, falls: VecDeque::new() }
    }
}

impl Pool {
    /// Pays a positive amount. The balance may become negative: then the venue owes.
    pub(super) fn pay(&mut self, now_ms: u64, amount: Notional) {
        if self.falls.len() >= MAX_FALLS {
            self.falls.pop_front();
        }
        self.falls.push_back((now_ms, self.balance));
        self.balance -= amount;
        (self.updated, self.fresh) = (now_ms, true);
    }

    /// `(balance - highest in eight hours) / highest in eight hours`, 1e-8, toward zero; zero when that was nothing.
    pub(super) fn drawdown(&self, now_ms: u64) -> i64 {
        let recent = self.falls.iter().find(|(at, _)| at.saturating_add(WINDOW_MS) > now_ms);
        let highest = recent.map_or(self.balance, |(_, held)| *held);
        if highest <= Notional::ZERO {
            return 0;
        }
        let fall = i128::from(self.balance.raw()) - i128::from(highest.raw());
        i64::try_from(fall * i128::from(SCALE) / i128::from(highest.raw())).unwrap_or(i64::MIN)
    }
}

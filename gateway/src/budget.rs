//! How many requests the venue still takes: per endpoint for the account, per address for everything.
//!
//! In: what we send, what the venue's headers say. Out: yes, or when to ask again. Never: a wait; a cancel refused
//! because of anything that was not a cancel.
//!
//! The venue counts over a rolling second, so the budget remembers the moment of each request: one more fits when the
//! `limit`-th last is more than a second old. Where the header leaves less than our own count does, somebody else
//! spends from the same account, and their requests are written in as ours.
//!
//! ```text
//!   sent:  . . x x x x x x x x x x ->  now        limit 10: is this x  older than a second?
//!              ^---------------------------------------------------- '
//!   address: the last RESERVE of the pool are for cancels alone
//! ```

use keel_core::event::{Channel, Op};
use keel_core::units::{Mono, Now, Wall};

const SECOND: u64 = 1_000_000_000;
/// Requests travel at different speeds: a window is this much longer than the venue's.
const GUARD: u64 = SECOND / 20;
/// Largest limit an endpoint's window can follow; a larger one is used up to here, which is more than [`TRADE_POOL`] lets
/// an address send.
pub const MAX_LIMIT: u32 = 4_096;
/// Requests an address may make over REST in five seconds, and the share only cancels may use.
pub const REST_POOL: (u32, u32) = (600, 100);
/// Requests an address may make over order entry in a second, and the share only cancels may use.
pub const TRADE_POOL: (u32, u32) = (3_000, 300);
/// How long the venue bans an address that overran [`REST_POOL`].
pub const BAN: u64 = 600 * SECOND;
/// First and longest pause after the venue said it protects itself.
pub const OVERLOAD: (u64, u64) = (SECOND, 16 * SECOND);

/// What the venue counts apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Endpoint {
    /// New orders.
    Create = 0,
    /// Amends.
    Amend = 1,
    /// Cancels.
    Cancel = 2,
    /// Cancel-all.
    CancelAll = 3,
    /// Batches of new orders, counted per order.
    CreateBatch = 4,
    /// Batches of amends.
    AmendBatch = 5,
    /// Batches of cancels.
    CancelBatch = 6,
    /// Open and recent orders.
    Orders = 7,
    /// Closed orders.
    History = 8,
    /// Executions.
    Executions = 9,
    /// Positions.
    Positions = 10,
    /// Wallet.
    Wallet = 11,
    /// Account facts and settings, the slowest of them.
    Account = 12,
    /// Market data: only the address counts.
    Market = 13,
}

/// Requests a second an account without upgrades may make, in the order of [`Endpoint`].
const LIMITS: [u32; 14] = [10, 10, 10, 10, 10, 10, 10, 50, 50, 50, 50, 50, 5, 100];

impl Endpoint {
    /// Where a single order goes.
    #[must_use]
    pub const fn of(op: Op) -> Self {
        match op {
            Op::New => Self::Create,
            Op::Amend => Self::Amend,
            Op::Cancel => Self::Cancel,
        }
    }

    /// Where an order of a batch goes.
    #[must_use]
    pub const fn of_batch(op: Op) -> Self {
        match op {
            Op::New => Self::CreateBatch,
            Op::Amend => Self::AmendBatch,
            Op::Cancel => Self::CancelBatch,
        }
    }

    const fn is_cancel(self) -> bool {
        matches!(self, Self::Cancel | Self::CancelAll | Self::CancelBatch)
    }
}

/// Not now; perhaps at `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoBudget {
    /// When to ask again.
    pub until: Mono,
}

/// Moments of the last requests, and how many of them fit a span.
#[derive(Clone, Debug)]
struct Window {
    limit: u32,
    span: u64,
    sent: Box<[Mono]>,
    count: usize,
    closed_until: Mono,
}

impl Window {
    fn new(limit: u32, capacity: u32, span: u64) -> Self {
        let sent = vec![Mono::default(); capacity as usize].into_boxed_slice();
        Self { limit, span: span + GUARD, sent, count: 0, closed_until: Mono::default() }
    }

    /// When one more fits, `reserve` of the limit kept back.
    fn opens(&self, reserve: u32) -> Mono {
        let usable = self.limit.saturating_sub(reserve) as usize;
        match usable {
            0 => Mono::from_nanos(u64::MAX),
            _ if self.count < usable => self.closed_until,
            _ => self.sent[(self.count - usable) % self.sent.len()].after(self.span).max(self.closed_until),
        }
    }

    fn push(&mut self, now: Mono) {
        let slot = self.count % self.sent.len();
        self.sent[slot] = now;
        self.count += 1;
    }

    /// Requests that still fit now. Moments only go forward: those within the span are the last ones, and halving finds how
    /// many they are.
    fn left(&self, now: Mono) -> u32 {
        let is_recent = |back: usize| self.sent[(self.count - back) % self.sent.len()].after(self.span) > now;
        let (mut recent, mut most) = (0, self.count.min(self.limit as usize));
        while recent < most {
            let middle = recent + (most - recent).div_ceil(2);
            if is_recent(middle) { recent = middle } else { most = middle - 1 }
        }
        self.limit - u32::try_from(recent).unwrap_or(self.limit)
    }
}

/// The budgets of one account behind one address.
#[derive(Clone, Debug)]
pub struct Budget {
    endpoints: [Window; 14],
    rest: Window,
    trade: Window,
    overloaded: u64,
    refused: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

impl Budget {
    /// The limits of an account without upgrades; the venue's headers correct them.
    #[must_use]
    pub fn new() -> Self {
        Self {
            endpoints: LIMITS.map(|limit| Window::new(limit, MAX_LIMIT, SECOND)),
            rest: Window::new(REST_POOL.0, REST_POOL.0, 5 * SECOND),
            trade: Window::new(TRADE_POOL.0, TRADE_POOL.0, SECOND),
            overloaded: 0,
            refused: 0,
        }
    }

    /// Takes one request's worth, or says when there may be one again; then nothing was taken.
    pub fn take(&mut self, now: Mono, endpoint: Endpoint, channel: Channel) -> Result<(), NoBudget> {
        let (pool, reserve) = match channel {
            Channel::Trade => (&mut self.trade, TRADE_POOL.1),
            _ => (&mut self.rest, REST_POOL.1),
        };
        let reserve = if endpoint.is_cancel() { 0 } else { reserve };
        let window = &mut self.endpoints[endpoint as usize];
        let until = window.opens(0).max(pool.opens(reserve));
        if until > now {
            self.refused += 1;
            return Err(NoBudget { until });
        }
        window.push(now);
        pool.push(now);
        Ok(())
    }

    /// Takes a batch of `orders` in one request over order entry: as many of them as fit now, none is an error of nobody.
    pub fn take_batch(&mut self, now: Mono, endpoint: Endpoint, orders: u32) -> u32 {
        let reserve = if endpoint.is_cancel() { 0 } else { TRADE_POOL.1 };
        let window = &mut self.endpoints[endpoint as usize];
        let fits = if window.closed_until > now { 0 } else { window.left(now).min(orders) };
        if fits == 0 || self.trade.opens(reserve) > now {
            return 0;
        }
        (0..fits).for_each(|_| window.push(now));
        self.trade.push(now);
        fits
    }

    /// The header of an answer: `limit` a second, `remaining` of them left. Zero `limit` means it did not say.
    pub fn observe(&mut self, now: Mono, endpoint: Endpoint, limit: u32, remaining: u32) {
        if limit == 0 {
            return;
        }
        let window = &mut self.endpoints[endpoint as usize];
        window.limit = limit.min(MAX_LIMIT);
        for _ in remaining.min(MAX_LIMIT)..window.left(now) {
            window.push(now);
        }
        self.overloaded = 0;
    }

    /// The venue refused for rate (10006, 20003): nothing more on this endpoint until its window resets.
    pub fn limited(&mut self, now: Now, endpoint: Endpoint, reset: Wall) {
        let wait = reset.since(now.wall).clamp(SECOND / 10, 10 * SECOND);
        let window = &mut self.endpoints[endpoint as usize];
        window.closed_until = window.closed_until.max(now.mono.after(wait));
    }

    /// The address overran order entry (10403).
    pub fn address_limited(&mut self, now: Mono) {
        self.trade.closed_until = self.trade.closed_until.max(now.after(SECOND + GUARD));
    }

    /// HTTP 403: the address is banned from REST. Order entry over its WebSocket goes on.
    pub fn banned(&mut self, now: Mono) {
        self.rest.closed_until = now.after(BAN);
    }

    /// The venue protects itself (429, 10429): all but cancels pause, longer each time in a row, with `luck` as jitter.
    pub fn overloaded(&mut self, now: Mono, luck: u64) {
        let pause = (OVERLOAD.0 << self.overloaded.min(8)).min(OVERLOAD.1);
        self.overloaded += 1;
        let until = now.after(pause + luck % (pause / 2));
        for endpoint in [Endpoint::Create, Endpoint::Amend, Endpoint::CreateBatch, Endpoint::AmendBatch] {
            let window = &mut self.endpoints[endpoint as usize];
            window.closed_until = window.closed_until.max(until);
        }
    }

    /// Requests left of the limit, for a page and for the alert before exhaustion.
    #[must_use]
    pub fn left(&self, now: Mono, endpoint: Endpoint) -> (u32, u32) {
        let window = &self.endpoints[endpoint as usize];
        (window.left(now), window.limit)
    }

    /// A fifth or less is left.
    #[must_use]
    pub fn is_short(&self, now: Mono, endpoint: Endpoint) -> bool {
        let (left, limit) = self.left(now, endpoint);
        left * 5 <= limit
    }

    /// Requests refused so far.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;
    use proptest::prelude::*;

    fn ms(millis: u64) -> Mono {
        at(millis).mono
    }

    fn spend(budget: &mut Budget, millis: u64, endpoint: Endpoint, channel: Channel) -> usize {
        (0..10_000).take_while(|_| budget.take(ms(millis), endpoint, channel).is_ok()).count()
    }

    #[test]
    fn a_batch_takes_what_fits_of_it_and_counts_per_order_on_its_own_quota() {
        let mut budget = Budget::new();
        assert_eq!(budget.take_batch(ms(0), Endpoint::CancelBatch, 7), 7);
        assert_eq!(budget.take_batch(ms(10), Endpoint::CancelBatch, 7), 3);
        assert_eq!(budget.take_batch(ms(20), Endpoint::CancelBatch, 7), 0);
        assert_eq!(spend(&mut budget, 20, Endpoint::Cancel, Channel::Trade), 10, "single cancels have theirs");
        assert_eq!(budget.take_batch(ms(1_051), Endpoint::CancelBatch, 20), 7, "what is a second old may go again");
    }

    #[test]
    fn ten_a_rolling_second_and_then_the_moment_of_the_next() {
        let mut budget = Budget::new();
        assert_eq!(spend(&mut budget, 0, Endpoint::Create, Channel::Trade), 10);
        assert_eq!(budget.take(ms(999), Endpoint::Create, Channel::Trade), Err(NoBudget { until: ms(1_050) }));
        assert_eq!(budget.left(ms(999), Endpoint::Create), (0, 10));
        assert_eq!(spend(&mut budget, 1_050, Endpoint::Create, Channel::Trade), 10);
        assert_eq!(spend(&mut budget, 1_050, Endpoint::Cancel, Channel::Trade), 10, "cancels have their own");
    }

    #[test]
    fn the_header_raises_the_limit_and_counts_what_others_spent() {
        let mut budget = Budget::new();
        budget.take(ms(0), Endpoint::Create, Channel::Trade).unwrap();
        budget.observe(ms(1), Endpoint::Create, 20, 19);
        assert_eq!(budget.left(ms(1), Endpoint::Create), (19, 20));
        budget.observe(ms(2), Endpoint::Create, 20, 3);
        assert!(budget.is_short(ms(2), Endpoint::Create));
        assert_eq!(spend(&mut budget, 3, Endpoint::Create, Channel::Trade), 3, "remaining is what is left, not used");
        budget.observe(ms(4), Endpoint::Create, 20, 20);
        assert_eq!(spend(&mut budget, 5, Endpoint::Create, Channel::Trade), 0, "an old header gives nothing back");
    }

    #[test]
    fn nothing_but_a_cancel_can_use_the_last_of_an_address() {
        let mut budget = Budget::new();
        for endpoint in [Endpoint::Create, Endpoint::Cancel, Endpoint::Market] {
            budget.observe(ms(0), endpoint, MAX_LIMIT, MAX_LIMIT);
        }
        assert_eq!(spend(&mut budget, 0, Endpoint::Market, Channel::Rest), 500);
        assert_eq!(spend(&mut budget, 0, Endpoint::Create, Channel::Rest), 0);
        assert_eq!(spend(&mut budget, 0, Endpoint::Cancel, Channel::Rest), 100);
        assert_eq!(spend(&mut budget, 0, Endpoint::Create, Channel::Trade), 2_700);
        assert_eq!(spend(&mut budget, 0, Endpoint::Cancel, Channel::Trade), 300);
    }

    #[test]
    fn a_refusal_of_the_venue_closes_what_it_names() {
        let mut budget = Budget::new();
        budget.limited(at(0), Endpoint::Create, at(400).wall);
        assert_eq!(budget.take(ms(399), Endpoint::Create, Channel::Trade), Err(NoBudget { until: ms(400) }));
        assert!(budget.take(ms(400), Endpoint::Create, Channel::Trade).is_ok());
        budget.banned(ms(1_000));
        assert!(budget.take(ms(600_999), Endpoint::Cancel, Channel::Rest).is_err());
        assert!(budget.take(ms(1_001), Endpoint::Cancel, Channel::Trade).is_ok(), "order entry goes on");
        budget.overloaded(ms(2_000), 0);
        budget.overloaded(ms(2_000), 0);
        assert_eq!(budget.take(ms(2_001), Endpoint::Create, Channel::Trade), Err(NoBudget { until: ms(4_000) }));
        assert!(budget.take(ms(2_001), Endpoint::Cancel, Channel::Trade).is_ok(), "cancels go on");
    }

    proptest! {
        /// The slow twin: count every request of the last second.
        #[test]
        fn never_more_than_the_limit_in_any_second(gaps in prop::collection::vec(0u64..400, 1..200), limit in 1u32..40) {
            let mut budget = Budget::new();
            budget.observe(ms(0), Endpoint::Amend, limit, limit);
            let (mut now, mut sent) = (0, Vec::<u64>::new());
            for gap in gaps {
                now += gap;
                let recent = sent.iter().filter(|at| *at + 1_050 > now).count();
                let took = budget.take(ms(now), Endpoint::Amend, Channel::Trade).is_ok();
                prop_assert_eq!(took, recent < limit as usize);
                if took {
                    sent.push(now);
                }
                let left = u32::try_from(recent).unwrap() + u32::from(took);
                prop_assert_eq!(budget.left(ms(now), Endpoint::Amend), (limit - left, limit));
            }
        }
    }
}

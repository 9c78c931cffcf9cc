//! A generated market: house accounts whose orders arrive, move, trade and leave by the seed's luck.
//!
//! A zero-intelligence order flow in the tradition of Smith and Farmer. Bursts of events arrive with exponential gaps;
//! each event is a limit order at a geometric distance from the far touch, a cancellation, or a market order with a
//! heavy-tailed size. A burst leans to one side and few bursts hold most trades, so trades cluster. All of it goes through the same engine and queues
//! as the orders of clients, against which it trades.

use super::account::Account;
use super::engine::Engine;
use super::order::{Exits, Kind, Place, Smp, Tif};
use super::rng::Rng;
use keel_core::event::Side;
use keel_core::units::{Notional, Px, Qty};

/// Mean nanoseconds between bursts.
const BURST_GAP_NS: u64 = 58_000_000;
/// Mean events beyond the first in a burst.
const BURST_EVENTS: u64 = 9;
/// Bursts in a thousand that trade.
const TRADING: u64 = 110;
/// Orders per side a generated book holds on average.
const DEPTH: usize = 130;
/// Price levels a side keeps: its own takers stop there.
const SHALLOW: usize = 55;
/// Mean ticks between a new order and the touch.
const REACH_TICKS: u64 = 60;

/// The generator of one symbol.
#[derive(Debug)]
pub(super) struct House {
    symbol: usize,
    maker: usize,
    taker: usize,
    rng: Rng,
    due_ns: u64,
    live: [Vec<u64>; 2],
}

impl House {
    /// Adds its accounts to the engine.
    pub(super) fn new(engine: &mut Engine, symbol: usize, seed: u64) -> Self {
        let symbols = engine.specs.len();
        let mut account = |uid: u64| {
            engine.accounts.push(Account::new(uid, Notional::whole(1_000_000_000), symbols, true));
            engine.accounts.len() - 1
        };
        let (maker, taker) = (account(1_000 + symbol as u64 * 2), account(1_001 + symbol as u64 * 2));
        let rng = Rng::new(seed ^ (symbol as u64 + 1).wrapping_mul(0x5851_f42d_4c95_7f2d));
        Self { symbol, maker, taker, rng, due_ns: 0, live: [Vec::new(), Vec::new()] }
    }

    /// Milliseconds of the next burst.
    pub(super) fn due(&self) -> u64 {
        self.due_ns.div_ceil(1_000_000)
    }

    /// Everything due by now. The first call fills the book.
    pub(super) fn run(&mut self, engine: &mut Engine, now_ms: u64) {
        if self.due_ns == 0 {
            self.due_ns = now_ms * 1_000_000;
            for _ in 0..DEPTH {
                self.quote(engine, now_ms, Side::Buy);
                self.quote(engine, now_ms, Side::Sell);
            }
        }
        /// Bursts made up after a pause; longer pauses are skipped.
        const CATCH_UP: usize = 1_000;
        for _ in 0..CATCH_UP {
            if self.due_ns > now_ms * 1_000_000 {
                break;
            }
            self.burst(engine, now_ms);
            self.due_ns += self.rng.exponential(BURST_GAP_NS).max(1);
        }
        self.due_ns = self.due_ns.max(now_ms * 1_000_000 + 1);
        self.mark(engine, now_ms);
    }

    fn burst(&mut self, engine: &mut Engine, now_ms: u64) {
        let lean = if self.rng.chance(500) { Side::Buy } else { Side::Sell };
        if self.rng.chance(TRADING) {
            // Few bursts hold most prints: the count doubles with every lucky toss.
            let doublings = self.rng.geometric(1, 5);
            for _ in 0..(1 + self.rng.geometric(2, 20)) << doublings {
                let away = engine.books[self.symbol].queues.side(lean.opposite());
                if away.len() < SHALLOW {
                    break;
                }
                self.trade(engine, now_ms, lean);
            }
        }
        for _ in 0..=self.rng.geometric(BURST_EVENTS, 120) {
            let side = if self.rng.chance(650) { lean } else { lean.opposite() };
            let full = self.live[usize::from(side == Side::Sell)].len() as u64;
            if self.rng.below(1000) < 500 * full / DEPTH as u64 {
                self.cancel(engine, now_ms, side);
            } else {
                self.quote(engine, now_ms, side);
            }
        }
        self.close_gap(engine, now_ms);
        engine.quotes[self.symbol].seq += 1 + self.rng.below(300);
    }

    /// A spread wider than a tick lasts no longer than the burst that opened it, but for one in a hundred.
    fn close_gap(&mut self, engine: &mut Engine, now_ms: u64) {
        let (tick, book) = (engine.specs[self.symbol].instrument.tick, &engine.books[self.symbol]);
        let (Some(bid), Some(ask)) = (book.touch(Side::Buy), book.touch(Side::Sell)) else { return };
        if ask - bid <= tick || self.rng.chance(10) {
            return;
        }
        let side = if self.rng.chance(500) { Side::Buy } else { Side::Sell };
        let px = if side == Side::Buy { ask - tick } else { bid + tick };
        let qty = self.size(engine, 400);
        self.rest(engine, now_ms, side, px, qty);
    }

    fn rest(&mut self, engine: &mut Engine, now_ms: u64, side: Side, px: Px, qty: Qty) {
        let place = self.place(side, Kind::Limit, px, qty);
        if let Ok(id) = engine.place(now_ms, self.maker, place)
            && engine.orders.contains_key(&id)
        {
            self.live[usize::from(side == Side::Sell)].push(id);
        }
    }

    fn place(&self, side: Side, kind: Kind, px: Px, qty: Qty) -> Place {
        Place {
            symbol: self.symbol,
            side,
            kind,
            qty,
            px,
            tif: if kind == Kind::Market { Tif::Ioc } else { Tif::PostOnly },
            link: String::new(),
            reduce_only: false,
            close_on_trigger: false,
            idx: 0,
            smp: Smp::None,
            trigger: None,
            slippage: None,
            exits: Exits::default(),
        }
    }

    /// A quantity around `mean` steps with a heavy tail.
    fn size(&mut self, engine: &Engine, mean: u64) -> Qty {
        let i = &engine.specs[self.symbol].instrument;
        let mut doublings = 0;
        while doublings < 10 && self.rng.chance(560) {
            doublings += 1;
        }
        let steps = (1 + self.rng.geometric(mean, 100_000)) << doublings;
        let floor = i.min_notional.div_floor(engine.quotes[self.symbol].mark).unwrap_or(i.min_qty).ceil_to(i.step);
        let qty = Qty::from_raw(i64::try_from(steps).unwrap_or(1).saturating_mul(i.step.raw()));
        qty.max(floor + i.step).min(i.max_market_qty)
    }

    fn quote(&mut self, engine: &mut Engine, now_ms: u64, side: Side) {
        let tick = engine.specs[self.symbol].instrument.tick;
        let quote = &engine.quotes[self.symbol];
        let far = engine.books[self.symbol].touch(side.opposite()).unwrap_or(quote.mark);
        let near = engine.books[self.symbol].touch(side).unwrap_or(quote.mark);
        let distance = i64::try_from(self.rng.geometric(REACH_TICKS, 2_000)).unwrap_or(1);
        let gap = (far.raw() - near.raw()).abs() / tick.raw();
        let reach = match self.rng.below(1000) {
            0..500 if gap > 1 => -1, // a wide spread invites
            0..120 => 0,
            _ => distance,
        };
        let reach = Px::from_raw(tick.raw() * reach);
        let px = if side == Side::Buy { near - reach } else { near + reach };
        let qty = self.size(engine, if distance < 3 { 400 } else { 60 });
        self.rest(engine, now_ms, side, px.floor_to(tick), qty);
    }

    fn cancel(&mut self, engine: &mut Engine, now_ms: u64, side: Side) {
        let live = &mut self.live[usize::from(side == Side::Sell)];
        while !live.is_empty() {
            let at = self.rng.below(live.len() as u64);
            let id = live.swap_remove(usize::try_from(at).unwrap_or(0));
            if engine.orders.contains_key(&id) {
                engine.withdraw(now_ms, id, "CancelByUser", "EC_PerCancelRequest");
                return;
            }
        }
    }

    fn trade(&mut self, engine: &mut Engine, now_ms: u64, side: Side) {
        let qty = self.size(engine, 9);
        let place = self.place(side, Kind::Market, Px::ZERO, qty);
        let _ = engine.place(now_ms, self.taker, place);
    }

    fn mark(&self, engine: &mut Engine, now_ms: u64) {
        let book = &engine.books[self.symbol];
        if let (Some(bid), Some(ask)) = (book.touch(Side::Buy), book.touch(Side::Sell)) {
            let middle = Px::from_raw(bid.raw() + (ask.raw() - bid.raw()) / 2);
            let spec = &engine.specs[self.symbol];
            let interval_ms = u64::from(spec.instrument.funding_minutes.max(1)) * 60_000;
            let grid = Px::from_raw(10i64.pow(8 - spec.price_places.min(8)));
            engine.quotes[self.symbol].follow(now_ms, middle, interval_ms, grid);
        }
    }
}

//! The matching engine: price-time priority for any number of accounts, against each other and against a tape.
//!
//! In: checked requests and taped market data. Out: [`Event`]s, in the order they happened. Never: an order both open
//! and closed, a fill without a counterparty (the tape's is the market account, number 0), a refused request that
//! changed anything.

use super::account::{Account, Position};
use super::book::Book;
use super::funding::Model;
use super::order::{Execution, Order, Target};
use super::pool::Pool;
use super::rng::mix;
use super::spec::Spec;
use keel_core::event::Side;
use keel_core::units::{Notional, Px, Qty};
use std::collections::{BTreeMap, BTreeSet};

/// Open orders one account may have on one symbol; one more answers 110020.
pub(super) const MAX_OPEN: usize = 500;
/// The account on the other side of every fill against the tape, and of rounding.
pub(super) const MARKET: usize = 0;

/// Something a private stream or the public tape must say.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Order(Box<Order>),
    Execution(usize, Box<Execution>),
    /// Account, symbol, leg, and the position as it was then.
    Position(usize, usize, u8, Box<Position>),
    Wallet(usize),
    /// A public print: symbol, taker side, price, quantity.
    Print(usize, Side, Px, Qty),
    /// A liquidated quantity: symbol, side of the position, quantity, bankruptcy price.
    Liquidated(usize, Side, Qty, Px),
}

/// What the market of one symbol looks like to the engine.
#[derive(Clone, Debug, Default)]
pub(super) struct Quote {
    pub(super) last: Px,
    pub(super) mark: Px,
    pub(super) index: Px,
    /// Cross sequence of the matching engine.
    pub(super) seq: u64,
    /// 1e-8 per interval.
    pub(super) funding: i64,
    /// Averages behind mark and funding.
    pub(super) model: Model,
}

/// Accounts, books and orders.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) specs: Vec<Spec>,
    pub(super) books: Vec<Book>,
    pub(super) quotes: Vec<Quote>,
    pub(super) accounts: Vec<Account>,
    pub(super) orders: BTreeMap<u64, Order>,
    /// Conditional orders that wait, by symbol.
    pub(super) stops: Vec<BTreeSet<u64>>,
    pub(super) events: Vec<Event>,
    /// What accounts paid the venue, net of rebates.
    pub(super) fees: Notional,
    /// Insurance, by symbol.
    pub(super) pools: Vec<Pool>,
    pub(super) salt: u64,
    next_order: u64,
    next_execution: u64,
}

impl Engine {
    pub(super) fn new(specs: Vec<Spec>, seed: u64) -> Self {
        let symbols = specs.len();
        let quote = |spec: &Spec| Quote {
            last: spec.start_px,
            mark: spec.start_px,
            index: spec.start_px,
            seq: 1_000_000,
            funding: 10_000,
            model: Model::default(),
        };
        Self {
            books: vec![Book::default(); symbols],
            quotes: specs.iter().map(quote).collect(),
            specs,
            accounts: vec![Account::new(1, Notional::ZERO, symbols, true)],
            orders: BTreeMap::new(),
            stops: vec![BTreeSet::new(); symbols],
            events: Vec::new(),
            fees: Notional::ZERO,
            pools: vec![Pool::default(); symbols],
            salt: mix(seed ^ 0x6b65_656c),
            next_order: 1,
            next_execution: 1,
        }
    }

    /// Text of an id: a version-4 shaped UUID that is a pure function of the seed and a counter.
    pub(super) fn uuid(&self, number: u64, space: u64) -> String {
        let high = mix(self.salt ^ number.wrapping_mul(0x1_0000_01b3) ^ space);
        let low = (number ^ self.salt) & 0xffff_ffff_ffff;
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            (high >> 4) & 0xfff,
            0x8000 | (space & 0xfff),
            low
        )
    }

    pub(super) fn order_id(&self, id: u64) -> String {
        self.uuid(id, 0)
    }

    pub(super) fn execution_id(&self, id: u64) -> String {
        self.uuid(id, 1)
    }

    /// The number behind an order id of ours; `None` for anything else.
    pub(super) fn parse_order_id(&self, text: &str) -> Option<u64> {
        let low = u64::from_str_radix(text.get(24..36)?, 16).ok()?;
        let number = (low ^ self.salt) & 0xffff_ffff_ffff;
        (self.order_id(number) == text).then_some(number)
    }

    pub(super) fn symbol(&self, name: &str) -> Option<usize> {
        self.specs.iter().position(|s| s.symbol() == name)
    }

    /// Open interest of one side, and how many accounts hold longs and shorts.
    pub(super) fn open_interest(&self, symbol: usize) -> (Qty, u32, u32) {
        let legs = self.accounts.iter().flat_map(|a| a.positions.range((symbol, 0)..=(symbol, u8::MAX)));
        legs.fold((Qty::ZERO, 0, 0), |(open, longs, shorts), (_, p)| match p.size.raw() {
            0 => (open, longs, shorts),
            1.. => (open + p.size, longs + 1, shorts),
            _ => (open, longs, shorts + 1),
        })
    }

    /// Fee rates of an account on a symbol: taker, maker.
    pub(super) fn rates(&self, account: usize, symbol: usize) -> (i64, i64) {
        let i = &self.specs[symbol].instrument;
        self.accounts[account].fees.unwrap_or((i.taker_fee, i.maker_fee))
    }

    /// Finds an open order of the account: by id first, then by link.
    pub(super) fn find(&self, account: usize, target: &Target) -> Option<u64> {
        let id = if target.id.is_empty() {
            *self.accounts[account].links.get(&target.link)?
        } else {
            self.parse_order_id(&target.id)?
        };
        let order = self.orders.get(&id)?;
        (order.account == account && order.symbol == target.symbol).then_some(id)
    }

    pub(super) fn take_order_number(&mut self) -> u64 {
        self.next_order += 1;
        self.next_order - 1
    }

    pub(super) fn take_execution_number(&mut self) -> u64 {
        self.next_execution += 1;
        self.next_execution - 1
    }
}

/// May this order only make a position smaller?
pub(super) fn reduces(order: &Order) -> bool {
    order.reduce_only || matches!((order.idx, order.side), (1, Side::Sell) | (2, Side::Buy))
}

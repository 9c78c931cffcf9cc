//! What all rules look at: books, trades second by second, own orders and positions, who belongs to whom.
//!
//! In: records in order. Out: the state after each. Never: a rule.

use super::registry::Registry;
use super::window::{DAY, Keyed, MINUTE, Recent, SECOND, median};
use keel_core::book::Book;
use keel_core::event::{
    BookUpdate, Fill, Flow, FlowKind, FlowState, Op, Order, OrderUpdate, Side, Standing, Ticker, Trade,
};
use keel_core::ids::{ClientId, InstrumentId, MAX_INSTRUMENTS, Seq, Symbol, Text};
use keel_core::instrument::Instrument;
use keel_core::units::{Notional, Px, Qty, SCALE, Wall};
use std::collections::BTreeMap;

/// Own orders remembered; the oldest is forgotten first.
const ORDERS: usize = 8192;
/// Movements of money remembered by id, so that none counts twice.
const MOVEMENTS: usize = 65_536;
/// Accounts whose links are known.
const ACCOUNTS: usize = 1024;
/// Addresses remembered with the group that used them.
const ADDRESSES: usize = 16_384;
/// Own order sizes the median is taken of.
const SIZES: usize = 101;
/// Fewer sizes have no median.
const SIZES_NEEDED: usize = 5;
/// Seconds of trading remembered.
const SECONDS: usize = 64;
/// Minutes whose returns the usual deviation is taken of.
const MINUTES: usize = 60;
/// Fewer returns have no deviation.
const MINUTES_NEEDED: usize = 10;
/// Levels a side of a book.
const LEVELS: usize = 1000;
/// A move beyond a hundredfold counts as one, in 1e-8: its square still has room for the sums.
const FARTHEST: i64 = 100 * SCALE;
/// Own fills an instrument remembers.
const FILLS: usize = 4096;

/// One movement of money in the form rules look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Money {
    /// When it happened.
    pub(crate) at: Wall,
    /// Its worth in USD, without sign.
    pub(crate) usd: i64,
    /// Somebody could say what it was worth.
    pub(crate) priced: bool,
    /// Accounts that belong together have one group.
    pub(crate) group: Text<31>,
    /// Never seen before in any state.
    pub(crate) first: bool,
    /// Just became done.
    pub(crate) done: bool,
    /// The fact.
    pub(crate) flow: Flow,
}

impl Money {
    /// Comes from outside.
    pub(crate) const fn is_in(&self) -> bool {
        matches!(self.flow.kind, FlowKind::Deposit | FlowKind::InternalDeposit)
    }

    /// Goes outside.
    pub(crate) const fn is_out(&self) -> bool {
        matches!(self.flow.kind, FlowKind::Withdrawal | FlowKind::InternalWithdrawal)
    }
}

/// One second of one instrument's trading.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    number: u64,
    volume: i64,
    /// Own, aggressive: bought, sold.
    taken: [i64; 2],
    own: i64,
    first: i64,
}

/// One instrument.
#[derive(Debug)]
pub(crate) struct Market {
    pub(crate) instrument: Instrument,
    book: Book,
    trusted: bool,
    pub(crate) mark: Px,
    pub(crate) last: Px,
    pub(crate) next_funding: Wall,
    seconds: [Second; SECONDS],
    minute: (u64, i64),
    returns: Recent<i64>,
    sizes: Recent<i64>,
    /// Signed.
    pub(crate) position: i64,
    pub(crate) fills: Recent<Fill>,
}

impl Market {
    fn new(instrument: Instrument) -> Self {
        Self {
            book: Book::new(instrument.tick, LEVELS),
            instrument,
            trusted: false,
            mark: Px::ZERO,
            last: Px::ZERO,
            next_funding: Wall::default(),
            seconds: [Second::default(); SECONDS],
            minute: (0, 0),
            returns: Recent::new(MINUTES),
            sizes: Recent::new(SIZES),
            position: 0,
            fills: Recent::new(FILLS),
        }
    }

    /// The best price a side rests at.
    pub(crate) fn touch(&self, side: Side) -> Option<Px> {
        self.book.touch().filter(|_| self.trusted).map(|touch| touch.of(side).px)
    }

    /// What rests on the first levels of a side.
    pub(crate) fn depth(&self, side: Side, levels: usize) -> i64 {
        self.book.levels(side).take(levels).map(|level| level.qty.raw()).fold(0, i64::saturating_add)
    }

    /// The own median order; `None` of too few.
    pub(crate) fn usual_size(&self) -> Option<i64> {
        (self.sizes.len() >= SIZES_NEEDED).then(|| median(self.sizes.iter().map(|row| row.what).collect()))
    }

    /// A price in hand: the last trade's, else the mark.
    pub(crate) fn price(&self) -> Px {
        if self.last > Px::ZERO { self.last } else { self.mark }
    }

    fn second(&mut self, at: Wall) -> &mut Second {
        let number = at.nanos() / SECOND;
        let (price, slot) = (self.price().raw(), usize::try_from(number).unwrap_or(0) % SECONDS);
        let slot = &mut self.seconds[slot];
        if slot.number != number {
            *slot = Second { number, first: price, ..Second::default() };
        }
        slot
    }

    /// What was traded in the seconds before `end`: everything, own aggressive buys and sells, all own, and the first price.
    pub(crate) fn traded(&self, end: Wall, seconds: i64) -> Traded {
        let last = end.nanos() / SECOND;
        let first = last.saturating_sub(seconds.unsigned_abs().min(SECONDS as u64 - 1)) + 1;
        let mut all = Traded::default();
        let mut earliest = u64::MAX;
        for second in self.seconds.iter().filter(|second| (first..=last).contains(&second.number)) {
            all.volume = all.volume.saturating_add(second.volume);
            all.own = all.own.saturating_add(second.own);
            for side in 0..2 {
                all.taken[side] = all.taken[side].saturating_add(second.taken[side]);
            }
            if second.number < earliest && second.first > 0 {
                (earliest, all.first) = (second.number, second.first);
            }
        }
        all.volume = all.volume.max(all.own);
        all.move_e8 = relative(all.first, self.price().raw());
        all
    }

    /// Is a relative move at least this many deviations of such a window?
    pub(crate) fn stands_out(&self, move_e8: i64, seconds: i64, sigmas_permille: i64) -> bool {
        let returns = self.returns.len();
        if returns < MINUTES_NEEDED || move_e8 == 0 {
            return false;
        }
        let squares: i128 = self.returns.iter().map(|row| i128::from(row.what) * i128::from(row.what)).sum();
        let (sigmas, moved) = (i128::from(sigmas_permille), i128::from(move_e8));
        // moved^2 >= sigmas^2 * (squares / returns) * seconds / 60
        moved * moved * 1_000_000 * 60 * i128::from(super::window::count(returns))
            >= sigmas * sigmas * squares * i128::from(seconds)
    }

    fn trade(&mut self, at: Wall, trade: &Trade) {
        self.roll(at);
        if self.last == Px::ZERO {
            self.last = trade.px;
        }
        let second = self.second(at);
        second.volume = second.volume.saturating_add(trade.qty.raw());
        self.last = trade.px;
    }

    /// Closes minutes that ended.
    fn roll(&mut self, at: Wall) {
        let (minute, price) = (at.nanos() / MINUTE, self.price().raw());
        let (had, from) = self.minute;
        if minute != had && price > 0 {
            if from > 0 && minute == had + 1 {
                self.returns.push(at, Seq::NONE, relative(from, price));
            }
            self.minute = (minute, price);
        }
    }

    fn fill(&mut self, at: Wall, seq: Seq, fill: &Fill) {
        self.position = self.position.saturating_add(fill.side.signed(fill.qty).raw());
        let (side, taker) = (fill.side.index(), !fill.maker.is_set());
        let second = self.second(at);
        second.own = second.own.saturating_add(fill.qty.raw());
        if taker {
            second.taken[side] = second.taken[side].saturating_add(fill.qty.raw());
        }
        self.fills.push(at, seq, *fill);
    }
}

/// What was traded in a window.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traded {
    pub(crate) volume: i64,
    pub(crate) taken: [i64; 2],
    pub(crate) own: i64,
    pub(crate) first: i64,
    /// From the first price to the present one, in 1e-8 of the first.
    pub(crate) move_e8: i64,
}

fn relative(from: i64, to: i64) -> i64 {
    if from <= 0 || to <= 0 {
        return 0;
    }
    let moved = (i128::from(to) - i128::from(from)) * i128::from(SCALE) / i128::from(from);
    i64::try_from(moved.clamp(-i128::from(FARTHEST), i128::from(FARTHEST))).unwrap_or(0)
}

/// One own order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own {
    pub(crate) order: Order,
    pub(crate) filled: i64,
    /// When it ended.
    pub(crate) ended: Option<Wall>,
}

impl Own {
    /// Still there at this moment, and resting.
    pub(crate) fn rests(&self) -> bool {
        self.ended.is_none()
    }
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) registry: Registry,
    markets: Vec<Option<Box<Market>>>,
    pub(crate) orders: BTreeMap<ClientId, Own>,
    movements: Keyed<Text<63>, FlowState>,
    parents: BTreeMap<Text<31>, Text<31>>,
    users: Keyed<String, Text<31>>,
    pub(crate) dropped: u64,
}

impl Scene {
    pub(crate) fn new(registry: Registry) -> Self {
        let mut scene = Self {
            markets: (0..MAX_INSTRUMENTS).map(|_| None).collect(),
            orders: BTreeMap::new(),
            movements: Keyed::new(MOVEMENTS),
            parents: BTreeMap::new(),
            users: Keyed::new(ADDRESSES),
            dropped: 0,
            registry,
        };
        for (a, b) in scene.registry.linked.clone() {
            scene.link(a, b);
        }
        scene
    }

    pub(crate) fn market(&self, id: InstrumentId) -> Option<&Market> {
        self.markets.get(id.index())?.as_deref()
    }

    /// The instrument with this symbol.
    pub(crate) fn by_symbol(&self, symbol: &Symbol) -> Option<&Market> {
        self.markets.iter().flatten().map(|market| &**market).find(|market| market.instrument.symbol == *symbol)
    }

    pub(crate) fn markets(&self) -> impl Iterator<Item = &Market> {
        self.markets.iter().flatten().map(|market| &**market)
    }

    fn market_mut(&mut self, id: InstrumentId) -> Option<&mut Market> {
        self.markets.get_mut(id.index())?.as_deref_mut()
    }

    pub(crate) fn instrument(&mut self, instrument: &Instrument) {
        let Some(slot) = self.markets.get_mut(instrument.id.index()) else { return };
        let fits = instrument.tick > Px::ZERO;
        match slot {
            Some(market)
                if market.instrument.symbol == instrument.symbol && market.instrument.tick == instrument.tick =>
            {
                market.instrument = *instrument;
            }
            _ if fits => *slot = Some(Box::new(Market::new(*instrument))),
            _ => {}
        }
    }

    pub(crate) fn book(&mut self, update: &BookUpdate) {
        if update.depth == 1 {
            return;
        }
        let Some(market) = self.market_mut(update.instrument) else { return };
        if update.has(BookUpdate::SNAPSHOT) {
            market.trusted = true;
        }
        if market.trusted && market.book.apply(update).is_err() {
            market.trusted = false;
            market.book.clear();
        }
    }

    pub(crate) fn trade(&mut self, at: Wall, trade: &Trade) {
        if let Some(market) = self.market_mut(trade.instrument) {
            market.trade(at, trade);
        }
    }

    pub(crate) fn ticker(&mut self, ticker: &Ticker) {
        if let Some(market) = self.market_mut(ticker.instrument) {
            (market.mark, market.next_funding) = (ticker.mark, ticker.next_funding);
        }
    }

    /// What we hold is known anew.
    pub(crate) fn holding(&mut self, instrument: InstrumentId, size: Qty) {
        if let Some(market) = self.market_mut(instrument) {
            market.position = size.raw();
        }
    }

    pub(crate) fn fill(&mut self, at: Wall, seq: Seq, fill: &Fill) {
        if let Some(own) = self.orders.get_mut(&fill.client) {
            own.filled = own.filled.saturating_add(fill.qty.raw());
            if own.filled >= own.order.qty.raw() {
                own.ended = Some(at);
            }
        }
        if let Some(market) = self.market_mut(fill.instrument) {
            market.fill(at, seq, fill);
        }
    }

    /// An order left.
    pub(crate) fn order(&mut self, at: Wall, seq: Seq, order: &Order) {
        match order.op {
            Op::New => {
                if self.orders.len() == ORDERS && self.orders.pop_first().is_some() {
                    self.dropped += 1;
                }
                self.orders.insert(order.client, Own { order: *order, filled: 0, ended: None });
                if let Some(market) = self.market_mut(order.instrument) {
                    market.sizes.push(at, seq, order.qty.raw());
                }
            }
            Op::Amend => {
                if let Some(own) = self.orders.get_mut(&order.client) {
                    (own.order.px, own.order.qty) = (order.px, order.qty);
                }
            }
            Op::Cancel => {}
        }
    }

    pub(crate) fn update(&mut self, at: Wall, update: &OrderUpdate) {
        if let Some(own) = self.orders.get_mut(&update.client)
            && update.status.is_final()
        {
            own.ended.get_or_insert(at);
        }
    }

    pub(crate) fn standing(&mut self, standing: &Standing) {
        if !standing.parent.is_empty() {
            self.link(standing.uid, standing.parent);
        }
        for ip in standing.ips.as_str().split(',').filter(|ip| !ip.is_empty() && *ip != "*") {
            self.used_by(format!("ip {ip}"), standing.uid);
        }
    }

    /// Accounts that use one address belong together.
    fn used_by(&mut self, what: String, account: Text<31>) {
        let user = *self.users.of(&what, || account);
        self.link(user, account);
    }

    /// The account everything linked with this one is known by.
    pub(crate) fn group(&self, account: Text<31>) -> Text<31> {
        let mut at = account;
        // each step goes to a smaller name, so this ends
        while let Some(parent) = self.parents.get(&at) {
            at = *parent;
        }
        at
    }

    fn link(&mut self, a: Text<31>, b: Text<31>) {
        let (a, b) = (self.group(a), self.group(b));
        if a == b {
            return;
        }
        if self.parents.len() == ACCOUNTS {
            self.dropped += 1;
            return;
        }
        self.parents.insert(a.max(b), a.min(b));
    }

    /// A movement of money as rules see it.
    pub(crate) fn money(&mut self, wall: Wall, flow: &Flow) -> Money {
        let known = self.movements.get(&flow.id).copied();
        let first = known.is_none();
        let done = flow.state == FlowState::Done && known != Some(FlowState::Done);
        let state = if known == Some(FlowState::Done) { FlowState::Done } else { flow.state };
        *self.movements.of(&flow.id, || state) = state;
        if matches!(flow.kind, FlowKind::Withdrawal) && !flow.address.is_empty() {
            self.used_by(super::screen::address(flow.address.as_str()), flow.account);
        }
        let (usd, priced) = self.worth(flow);
        // a stamp far ahead of the record would push everything true out of the windows
        let at = if flow.ts == Wall::default() || flow.ts > wall.after(DAY) { wall } else { flow.ts };
        Money { at, usd, priced, group: self.group(flow.account), first, done, flow: *flow }
    }

    /// In USD: as the fact says, else for coins that are dollars the amount, else by the last price in hand.
    fn worth(&self, flow: &Flow) -> (i64, bool) {
        if !flow.usd.is_zero() {
            return (flow.usd.raw().saturating_abs(), true);
        }
        let amount = flow.amount.raw().saturating_abs();
        if is_dollar(&flow.coin) {
            return (amount, true);
        }
        let symbol = Symbol::new(format!("{}USDT", flow.coin).as_bytes()).unwrap_or_default();
        let price = self.by_symbol(&symbol).map_or(Px::ZERO, Market::price);
        let usd = price.mul_floor(Qty::from_raw(amount)).unwrap_or(Notional::ZERO).raw();
        (usd, amount == 0 || usd > 0)
    }

    /// What rows were lost for want of room.
    pub(crate) fn lost(&self) -> u64 {
        self.dropped + self.movements.dropped() + self.users.dropped()
    }
}

/// A coin worth a dollar.
pub(crate) fn is_dollar(coin: &Text<15>) -> bool {
    matches!(coin.as_str(), "USDT" | "USDC" | "USD" | "DAI" | "USDE" | "FDUSD" | "TUSD")
}

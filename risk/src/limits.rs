//! How much of everything is allowed. Integers with units; a number outside its range is refused by name.
//!
//! In: what a person wrote down and [`Limits::check`] accepted. Out: one dense row per instrument and per strategy for
//! the gate. Never: a default that allows, a limit of "none": what may not be limited must be given its largest value.
//!
//! | unit | fields |
//! |---|---|
//! | USDT (1e-8) | `max_order_value`, `max_position`, `max_gross`, `max_net`, `max_loss`, `max_shortfall`, `max_stress`, `max_resting_value` |
//! | coins (1e-8) | `max_order_qty` |
//! | basis points | `collar`, `max_spread`, `max_mark_gap`, `margin_rate`, `max_margin_use`, `tail`, `max_walk`, `max_participation` |
//! | milliseconds | `max_book_age`, `max_mark_age`, `duplicate_window`, `reject_window`, `execution_window`, `funding_blackout`, `signal_ttl` |
//! | messages a second | `message_rate`, `strategy_rate` |

use crate::trips::{Ladder, TripLimits};
use keel_core::ids::{MAX_INSTRUMENTS, MAX_STRATEGIES, Symbol};
use keel_core::instrument::Instruments;
use keel_core::orders::MAX_ORDERS;
use keel_core::units::{Notional, Qty};

/// Approvals the gate remembers to recognise a duplicate. A rate that could outrun it is refused by [`Limits::check`].
pub const RECENT: usize = 64;
/// The venue's own cap of open orders on one instrument.
pub const VENUE_OPEN_ORDERS: u32 = 500;
/// Rejects and executions a strategy's window can count to.
pub const MAX_EVENTS: u32 = 256;

/// What bounds one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstrumentLimits {
    /// Coins one order may ask for. More than 0.
    pub max_order_qty: Qty,
    /// USDT one order may be worth, at the worse of its price and the mark. More than 0.
    pub max_order_value: Notional,
    /// USDT the position may be worth if everything open on its worse side filled. More than 0.
    pub max_position: Notional,
    /// Basis points a price may reach through the mark. 1 to 5,000.
    pub collar: i64,
    /// Basis points between bid and ask. 1 to 5,000.
    pub max_spread: i64,
    /// Basis points between mid and mark, and between mark and index. 1 to 5,000.
    pub max_mark_gap: i64,
    /// Orders open at once. 1 to [`VENUE_OPEN_ORDERS`].
    pub max_open_orders: u32,
    /// USDT an order that may rest can be worth. More than 0.
    pub max_resting_value: Notional,
    /// Basis points our own fills may walk the price within five seconds, where most of the volume was ours. 1 to 5,000.
    pub max_walk: i64,
    /// Basis points of a minute's volume that may be ours, this order included; 0 is off. At most 100,000.
    pub max_participation: i64,
}

/// What bounds one strategy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrategyLimits {
    /// What it may trade; `None` is every instrument in the table.
    pub symbols: Option<Vec<Symbol>>,
    /// Messages a second. 1 to 1,000,000.
    pub rate: u32,
    /// Executions within `execution_window` after which a person must look. 1 to [`MAX_EVENTS`].
    pub max_executions: u32,
    /// Venue refusals within `reject_window` after which a person must look. 1 to [`MAX_EVENTS`].
    pub max_rejects: u32,
    /// Messages a fill over an hour, judged from [`crate::vigil::ENOUGH`] messages on. 1 to 1,000,000.
    pub max_order_to_trade: u32,
    /// Milliseconds a model's signal may be old; 0 is a strategy of this program, which no model drives. At most 60,000.
    pub signal_ttl: u32,
}

/// Where a mark price may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkSource {
    /// The venue's mark price alone; without one nothing that adds risk leaves.
    Ticker,
    /// The middle of a trusted book stands in until the first mark arrives: for tapes that hold books alone.
    TickerOrMid,
}

/// The bounds of value at risk. All amounts are for one day, if everything open filled against us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TailLimits {
    /// Tail probability in basis points: 100 is 99 % confidence. 10 to 1,000.
    pub tail: u32,
    /// Value at risk, USDT. More than 0.
    pub max_loss: Notional,
    /// Expected shortfall, USDT. At least `max_loss`.
    pub max_shortfall: Notional,
}

/// One version of every limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Which version; stands in every decision. Counts up from 1.
    pub version: u32,
    /// Sum of all positions' values if everything open filled, USDT. More than 0.
    pub max_gross: Notional,
    /// The same, longs against shorts, USDT. More than 0, at most `max_gross`.
    pub max_net: Notional,
    /// Initial margin, basis points of a position's value: 1,000 is 10x. 50 to 10,000.
    pub margin_rate: i64,
    /// Basis points of equity that may be initial margin. 1 to 10,000.
    pub max_margin_use: i64,
    /// Value at risk; `None` states that there is no such limit.
    pub tail: Option<TailLimits>,
    /// The worst stress scenario may lose this much, USDT. More than 0.
    pub max_stress: Notional,
    /// Milliseconds since the last book message. 1 to 60,000.
    pub max_book_age: u64,
    /// Milliseconds since the last mark. 1 to 60,000.
    pub max_mark_age: u64,
    /// Where marks come from.
    pub mark: MarkSource,
    /// Messages a second over all strategies. 1 to 1,000,000.
    pub message_rate: u32,
    /// Messages at once. 1 to 1,000,000.
    pub message_burst: u32,
    /// Tokens of `message_burst` kept for cancels and reductions. Less than `message_burst`.
    pub cancel_reserve: u32,
    /// Orders open at once on all instruments. 1 to [`MAX_ORDERS`].
    pub max_open_orders: u32,
    /// Orders the venue may owe us proof of. 0 to [`MAX_ORDERS`].
    pub max_unproven: u32,
    /// Milliseconds in which the same order is a duplicate; 0 is off. At most 10,000, and [`RECENT`] must suffice.
    pub duplicate_window: u64,
    /// Milliseconds over which venue refusals are counted. 100 to 3,600,000.
    pub reject_window: u64,
    /// Milliseconds over which executions are counted. 100 to 86,400,000.
    pub execution_window: u64,
    /// Milliseconds around a funding exchange in which no risk is added; 0 is off. At most 600,000.
    pub funding_blackout: u64,
    /// Milliseconds between full recomputations of the incremental sums. 10 to 60,000.
    pub drift_interval: u64,
    /// When the brake trips by itself. Thresholds more than 0, each at least the one before.
    pub trips: TripLimits,
    /// Every instrument's limits, where nothing else is said.
    pub instrument: InstrumentLimits,
    /// Instruments with limits of their own.
    pub overrides: Vec<(Symbol, InstrumentLimits)>,
    /// One row a strategy, by id. A strategy without a row may not trade. 1 to 16.
    pub strategies: Vec<StrategyLimits>,
}

/// Which number is out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitsError {
    /// A field, by name, is outside its documented range.
    Range(&'static str),
    /// An override or a permission names a symbol that is not in the instrument table.
    UnknownSymbol(Symbol),
    /// There is a limit on value at risk and nothing to measure it with.
    NoScenarios,
    /// The scenarios are too few for the tail, or hold a number that is none.
    BadScenarios,
}

impl InstrumentLimits {
    fn check(&self) -> Result<(), LimitsError> {
        let bps = 1..=5_000;
        first_broken(&[
            (self.max_order_qty > Qty::ZERO && self.max_order_qty <= Qty::MAX, "max_order_qty"),
            (positive(self.max_order_value), "max_order_value"),
            (positive(self.max_position), "max_position"),
            (bps.contains(&self.collar), "collar"),
            (bps.contains(&self.max_spread), "max_spread"),
            (bps.contains(&self.max_mark_gap), "max_mark_gap"),
            ((1..=VENUE_OPEN_ORDERS).contains(&self.max_open_orders), "max_open_orders"),
            (positive(self.max_resting_value), "max_resting_value"),
            (bps.contains(&self.max_walk), "max_walk"),
            ((0..=100_000).contains(&self.max_participation), "max_participation"),
        ])
    }
}

impl StrategyLimits {
    fn check(&self) -> Result<(), LimitsError> {
        first_broken(&[
            ((1..=1_000_000).contains(&self.rate), "rate"),
            ((1..=MAX_EVENTS).contains(&self.max_executions), "max_executions"),
            ((1..=MAX_EVENTS).contains(&self.max_rejects), "max_rejects"),
            ((1..=1_000_000).contains(&self.max_order_to_trade), "max_order_to_trade"),
            (self.signal_ttl <= 60_000, "signal_ttl"),
        ])
    }
}

impl TailLimits {
    fn check(&self) -> Result<(), LimitsError> {
        first_broken(&[
            ((10..=1_000).contains(&self.tail), "tail"),
            (positive(self.max_loss), "max_loss"),
            (positive(self.max_shortfall) && self.max_shortfall >= self.max_loss, "max_shortfall"),
        ])
    }
}

impl Limits {
    /// Is every number inside its range?
    pub fn check(&self) -> Result<(), LimitsError> {
        let within_recent = u64::from(self.message_rate) * self.duplicate_window / 1000 + u64::from(self.message_burst)
            <= RECENT as u64;
        first_broken(&[
            (self.version >= 1, "version"),
            (positive(self.max_gross), "max_gross"),
            (positive(self.max_net) && self.max_net <= self.max_gross, "max_net"),
            ((50..=10_000).contains(&self.margin_rate), "margin_rate"),
            ((1..=10_000).contains(&self.max_margin_use), "max_margin_use"),
            (positive(self.max_stress), "max_stress"),
            ((1..=60_000).contains(&self.max_book_age), "max_book_age"),
            ((1..=60_000).contains(&self.max_mark_age), "max_mark_age"),
            ((1..=1_000_000).contains(&self.message_rate), "message_rate"),
            ((1..=1_000_000).contains(&self.message_burst), "message_burst"),
            (self.cancel_reserve < self.message_burst, "cancel_reserve"),
            ((1..=MAX_ORDERS).contains(&(self.max_open_orders as usize)), "max_open_orders"),
            (self.max_unproven as usize <= MAX_ORDERS, "max_unproven"),
            (self.duplicate_window <= 10_000, "duplicate_window"),
            (self.duplicate_window == 0 || within_recent, "duplicate_window"),
            ((100..=3_600_000).contains(&self.reject_window), "reject_window"),
            ((100..=86_400_000).contains(&self.execution_window), "execution_window"),
            (self.funding_blackout <= 600_000, "funding_blackout"),
            ((10..=60_000).contains(&self.drift_interval), "drift_interval"),
            ((1..=MAX_STRATEGIES).contains(&self.strategies.len()), "strategies"),
            (self.overrides.len() <= MAX_INSTRUMENTS, "overrides"),
            (self.trips.ladders.iter().all(Ladder::is_sound), "trips"),
        ])?;
        self.tail.as_ref().map_or(Ok(()), TailLimits::check)?;
        self.instrument.check()?;
        self.overrides.iter().try_for_each(|(_, row)| row.check())?;
        self.strategies.iter().try_for_each(StrategyLimits::check)
    }

    /// Limits for an account of 100,000 USDT that a person can trade a demonstration with: 2x gross, single positions
    /// up to 40,000, orders up to 5,000, value at risk 4 %, stress 25 %.
    #[must_use]
    pub fn demo() -> Self {
        let instrument = InstrumentLimits {
            max_order_qty: Qty::whole(100_000),
            max_order_value: Notional::whole(5_000),
            max_position: Notional::whole(40_000),
            collar: 200,
            max_spread: 100,
            max_mark_gap: 200,
            max_open_orders: 100,
            max_resting_value: Notional::whole(5_000),
            max_walk: 100,
            max_participation: 1_000,
        };
        let strategy = StrategyLimits {
            symbols: None,
            rate: 8,
            max_executions: 200,
            max_rejects: 10,
            max_order_to_trade: 1_000,
            signal_ttl: 0,
        };
        Self {
            version: 1,
            max_gross: Notional::whole(200_000),
            max_net: Notional::whole(100_000),
            margin_rate: 1_000,
            max_margin_use: 5_000,
            tail: Some(TailLimits {
                tail: 100,
                max_loss: Notional::whole(4_000),
                max_shortfall: Notional::whole(6_000),
            }),
            max_stress: Notional::whole(25_000),
            max_book_age: 1_000,
            max_mark_age: 5_000,
            mark: MarkSource::Ticker,
            message_rate: 8,
            message_burst: 20,
            cancel_reserve: 4,
            max_open_orders: 200,
            max_unproven: 0,
            duplicate_window: 200,
            reject_window: 10_000,
            execution_window: 3_600_000,
            funding_blackout: 0,
            drift_interval: 1_000,
            trips: TripLimits::usual(),
            instrument,
            overrides: Vec::new(),
            strategies: vec![strategy; 4],
        }
    }

    /// The same without a limit on value at risk: for a core that has no return history. Stress still bounds the book.
    #[must_use]
    pub fn without_tail(mut self) -> Self {
        self.tail = None;
        self
    }

    /// One row an instrument, by id.
    pub(crate) fn rows(&self, instruments: &Instruments) -> Result<Vec<InstrumentLimits>, LimitsError> {
        let stranger = self.overrides.iter().find(|(symbol, _)| instruments.by_symbol(symbol.bytes()).is_none());
        if let Some((symbol, _)) = stranger {
            return Err(LimitsError::UnknownSymbol(*symbol));
        }
        let own =
            |symbol: &Symbol| self.overrides.iter().find(|(s, _)| s == symbol).map_or(self.instrument, |(_, row)| *row);
        Ok(instruments.rows().iter().map(|row| own(&row.symbol)).collect())
    }

    /// One bit an instrument, one word a strategy.
    pub(crate) fn permissions(&self, instruments: &Instruments) -> Result<Vec<u64>, LimitsError> {
        let bit = |symbol: &Symbol| {
            let row = instruments.by_symbol(symbol.bytes()).ok_or(LimitsError::UnknownSymbol(*symbol))?;
            Ok(1u64 << row.id.index())
        };
        let mask = |row: &StrategyLimits| match &row.symbols {
            None => Ok(u64::MAX),
            Some(symbols) => symbols.iter().try_fold(0, |mask, symbol| Ok(mask | bit(symbol)?)),
        };
        self.strategies.iter().map(mask).collect()
    }
}

const _: () = assert!(MAX_INSTRUMENTS <= 64, "a permission is one bit of a word");

fn positive(amount: Notional) -> bool {
    amount > Notional::ZERO && amount <= Notional::MAX
}

fn first_broken(rules: &[(bool, &'static str)]) -> Result<(), LimitsError> {
    rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, name)| Err(LimitsError::Range(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_range() {
        assert_eq!(Limits::demo().check(), Ok(()));
        type Spoil = fn(&mut Limits);
        let rows: [(Spoil, &str); 19] = [
            (|l| l.version = 0, "version"),
            (|l| l.max_gross = Notional::ZERO, "max_gross"),
            (|l| l.max_gross = Notional::from_raw(-1), "max_gross"),
            (|l| l.max_net = Notional::whole(200_001), "max_net"),
            (|l| l.margin_rate = 0, "margin_rate"),
            (|l| l.cancel_reserve = 20, "cancel_reserve"),
            (|l| l.message_rate = 1_000, "duplicate_window"),
            (|l| l.strategies.clear(), "strategies"),
            (|l| l.strategies[0].max_rejects = 0, "max_rejects"),
            (|l| l.instrument.collar = 0, "collar"),
            (|l| l.instrument.max_open_orders = 501, "max_open_orders"),
            (|l| l.instrument.max_resting_value = Notional::ZERO, "max_resting_value"),
            (|l| l.instrument.max_walk = 0, "max_walk"),
            (|l| l.instrument.max_participation = -1, "max_participation"),
            (|l| l.strategies[0].max_order_to_trade = 0, "max_order_to_trade"),
            (|l| l.strategies[0].signal_ttl = 60_001, "signal_ttl"),
            (|l| l.tail.as_mut().unwrap().tail = 0, "tail"),
            (|l| l.tail.as_mut().unwrap().max_shortfall = Notional::whole(1), "max_shortfall"),
            (|l| l.max_stress = Notional::from_raw(i64::MAX), "max_stress"),
        ];
        for (spoil, name) in rows {
            let mut limits = Limits::demo();
            spoil(&mut limits);
            assert_eq!(limits.check(), Err(LimitsError::Range(name)));
        }
    }

    #[test]
    fn a_symbol_nobody_knows_is_refused() {
        let none = Instruments::default();
        let symbol = Symbol::new(b"BTCUSDT").unwrap();
        let mut limits = Limits::demo();
        limits.overrides.push((symbol, limits.instrument));
        assert_eq!(limits.rows(&none), Err(LimitsError::UnknownSymbol(symbol)));
        limits.strategies[1].symbols = Some(vec![symbol]);
        assert_eq!(limits.permissions(&none), Err(LimitsError::UnknownSymbol(symbol)));
    }
}

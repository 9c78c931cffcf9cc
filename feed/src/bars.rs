//! Candles that may be computed with: validated, in order, nothing missing unnoticed.
//!
//! In: the venue's klines, or public trades. Out: a [`Series`] of candles and the returns between neighbours. Never: a
//! repaired price, a silently filled hole, a return across a hole. A candle that does not hold together is put into
//! quarantine with its [`Fault`], where people can look at it, and the series stays as it was.
//!
//! ```text
//!   kline --> hold together? --> in order? --> next one? --> series --> close[n] / close[n-1] - 1
//!                 | no             | no           | no: accepted, and the hole is written down
//!                 +--> quarantine <+
//! ```
//!
//! [`page`] reads candles as the venue lists them; [`table`] puts the returns of several series side by side.

pub mod page;
pub mod table;

use keel_core::event::{Bar, Flag, Trade};
use keel_core::units::{Notional, Px, Qty, Wall};
use std::collections::VecDeque;

/// Candles kept in quarantine; older ones are dropped, the counters keep their number.
pub const QUARANTINE: usize = 64;
/// An open or close this many times away from its neighbour is no price. Days of +73 % are real; 40,000 times is not.
pub const ABSURD: i64 = 10;

/// One validated candle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Candle {
    /// First instant it covers.
    pub start: Wall,
    /// First price.
    pub open: Px,
    /// Highest price.
    pub high: Px,
    /// Lowest price.
    pub low: Px,
    /// Last price.
    pub close: Px,
    /// Coins traded; [`Qty::MAX`] where they are more.
    pub volume: Qty,
    /// USDT traded; [`Notional::MAX`] where it is more.
    pub turnover: Notional,
    /// Neighbouring candles that are missing before this one.
    pub missing: u32,
    /// A high or low more than [`ABSURD`] times away from open and close: one bad print. Open and close still count.
    pub wick: bool,
}

/// Why a candle is not in the series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// Another instrument or interval than the series is of.
    Stranger,
    /// Not closed yet: it will come again.
    Unconfirmed,
    /// A price of zero or less: the venue's first candle has such.
    NoPrice,
    /// High below, or low above, one of the others.
    Relation,
    /// Coins or money below zero, or one without the other.
    Volume,
    /// Not on the interval's grid, or its end does not fit its start.
    Grid,
    /// The same candle once more: page seams repeat one.
    Duplicate,
    /// The same time, other numbers.
    Conflict,
    /// Older than the last one.
    Backwards,
    /// Open or close absurdly far from the close before.
    Absurd,
}

impl Fault {
    /// Every fault, for tables of counters.
    pub const ALL: [Self; 10] = [
        Self::Stranger,
        Self::Unconfirmed,
        Self::NoPrice,
        Self::Relation,
        Self::Volume,
        Self::Grid,
        Self::Duplicate,
        Self::Conflict,
        Self::Backwards,
        Self::Absurd,
    ];

    /// Is it worth a look? A candle that is not closed yet, or comes twice, is not.
    const fn is_kept(self) -> bool {
        !matches!(self, Self::Unconfirmed | Self::Duplicate)
    }
}

const MINUTE: u64 = 60_000_000_000;
/// The venue's weeks begin on Mondays; the epoch was a Thursday.
const WEEK_SHIFT: u64 = 4 * 1440 * MINUTE;
const WEEK: u16 = 10_080;
const MONTH: u16 = 43_200;

/// Candles of one instrument and interval.
#[derive(Clone, Debug)]
pub struct Series {
    minutes: u16,
    candles: VecDeque<Candle>,
    capacity: usize,
    quarantine: VecDeque<(Bar, Fault)>,
    faults: [u64; Fault::ALL.len()],
    holes: u64,
}

impl Series {
    /// An empty series of candles of so many minutes, keeping the last `capacity`. Months have no fixed length and are
    /// not a series.
    ///
    /// # Panics
    /// When `minutes` is no interval of the venue, or a month.
    #[must_use]
    pub fn new(minutes: u16, capacity: usize) -> Self {
        assert!(crate::topic::interval_name(minutes).is_some() && minutes != MONTH, "no interval of {minutes} minutes");
        Self {
            minutes,
            candles: VecDeque::with_capacity(capacity + 1),
            capacity: capacity.max(1),
            quarantine: VecDeque::with_capacity(QUARANTINE + 1),
            faults: [0; Fault::ALL.len()],
            holes: 0,
        }
    }

    /// Takes a candle, or puts it into quarantine and says why.
    pub fn accept(&mut self, bar: &Bar) -> Result<Candle, Fault> {
        match self.judge(bar) {
            Ok(candle) => {
                self.holes += u64::from(candle.missing);
                self.candles.push_back(candle);
                if self.candles.len() > self.capacity {
                    self.candles.pop_front();
                }
                Ok(candle)
            }
            Err(why) => {
                self.faults[why as usize] += 1;
                if why.is_kept() {
                    self.quarantine.push_back((*bar, why));
                    if self.quarantine.len() > QUARANTINE {
                        self.quarantine.pop_front();
                    }
                }
                Err(why)
            }
        }
    }

    fn judge(&self, bar: &Bar) -> Result<Candle, Fault> {
        if bar.minutes != self.minutes {
            return Err(Fault::Stranger);
        }
        if !bar.confirmed.is_set() {
            return Err(Fault::Unconfirmed);
        }
        let prices = [bar.open, bar.high, bar.low, bar.close];
        if prices.iter().any(|px| *px <= Px::ZERO) {
            return Err(Fault::NoPrice);
        }
        if prices.iter().any(|px| *px > bar.high || *px < bar.low) {
            return Err(Fault::Relation);
        }
        let (coins, money) = (bar.volume, bar.turnover);
        if coins < Qty::ZERO || money < Notional::ZERO || coins.is_zero() != money.is_zero() {
            return Err(Fault::Volume);
        }
        let shift = if self.minutes == WEEK { WEEK_SHIFT } else { 0 };
        let end = bar.start.after(self.length() - 1_000_000);
        if !(bar.start.nanos() + self.length() - shift % self.length()).is_multiple_of(self.length()) || bar.end != end
        {
            return Err(Fault::Grid);
        }
        let mut candle = Candle {
            start: bar.start,
            open: bar.open,
            high: bar.high,
            low: bar.low,
            close: bar.close,
            volume: coins,
            turnover: money,
            missing: 0,
            wick: far(bar.high, bar.open.max(bar.close)) || far(bar.low, bar.open.min(bar.close)),
        };
        if let Some(last) = self.candles.back() {
            candle.missing = self.follows(last, &candle)?;
        }
        Ok(candle)
    }

    /// How many candles are missing between these two.
    fn follows(&self, last: &Candle, next: &Candle) -> Result<u32, Fault> {
        if next.start == last.start {
            let same = Candle { missing: last.missing, ..*next } == *last;
            return Err(if same { Fault::Duplicate } else { Fault::Conflict });
        }
        if next.start < last.start {
            let known = self.candles.iter().any(|have| Candle { missing: have.missing, ..*next } == *have);
            return Err(if known { Fault::Duplicate } else { Fault::Backwards });
        }
        if far(next.open, last.close) || far(next.close, next.open) {
            return Err(Fault::Absurd);
        }
        let steps = next.start.since(last.start) / self.length();
        Ok(u32::try_from(steps.saturating_sub(1)).unwrap_or(u32::MAX))
    }

    /// The newest candle.
    #[must_use]
    pub fn last(&self) -> Option<&Candle> {
        self.candles.back()
    }

    /// Nanoseconds a candle covers.
    const fn length(&self) -> u64 {
        self.minutes as u64 * MINUTE
    }

    /// The candles, oldest first.
    pub fn candles(&self) -> impl ExactSizeIterator<Item = &Candle> {
        self.candles.iter()
    }

    /// Returns between neighbours, oldest first: `close / close before - 1`. None across a hole.
    pub fn returns(&self) -> impl Iterator<Item = (Wall, f64)> + '_ {
        self.candles
            .iter()
            .zip(self.candles.iter().skip(1))
            .filter(|(_, next)| next.missing == 0)
            .map(|(last, next)| (next.start, next.close.to_f64() / last.close.to_f64() - 1.0))
    }

    /// Candles not taken and worth a look, oldest first.
    pub fn quarantine(&self) -> impl ExactSizeIterator<Item = &(Bar, Fault)> {
        self.quarantine.iter()
    }

    /// How often a fault was met.
    #[must_use]
    pub const fn count(&self, fault: Fault) -> u64 {
        self.faults[fault as usize]
    }

    /// Candles missing between those taken.
    #[must_use]
    pub const fn holes(&self) -> u64 {
        self.holes
    }
}

/// More than [`ABSURD`] times away, either way.
fn far(a: Px, b: Px) -> bool {
    a.raw() / ABSURD > b.raw() || b.raw() / ABSURD > a.raw()
}

/// Makes candles of public trades.
#[derive(Clone, Debug)]
pub struct Builder {
    minutes: u16,
    current: Option<Bar>,
    late: u64,
    off_book: u64,
}

impl Builder {
    /// Candles of so many minutes.
    ///
    /// # Panics
    /// When `minutes` is no interval of the venue of fixed length up to a day.
    #[must_use]
    pub fn new(minutes: u16) -> Self {
        assert!(crate::topic::interval_name(minutes).is_some() && minutes < WEEK, "no interval of {minutes} minutes");
        Self { minutes, current: None, late: 0, off_book: 0 }
    }

    /// Takes a trade; gives the candle it closes. A minute without trades gives none: the series will notice. A trade
    /// older than the open candle is counted and left out, as is a block trade, which is off the book.
    pub fn on_trade(&mut self, trade: &Trade) -> Option<Bar> {
        if trade.block.is_set() {
            self.off_book += 1;
            return None;
        }
        let length = u64::from(self.minutes) * MINUTE;
        let start = Wall::from_nanos(trade.origin.cts.nanos() / length * length);
        match &mut self.current {
            Some(bar) if start < bar.start => {
                self.late += 1;
                None
            }
            Some(bar) if start == bar.start => {
                bar.high = bar.high.max(trade.px);
                bar.low = bar.low.min(trade.px);
                bar.close = trade.px;
                add(bar, trade);
                None
            }
            _ => {
                let closed = self.current.take();
                let mut bar = Bar {
                    origin: trade.origin,
                    start,
                    end: start.after(length - 1_000_000),
                    open: trade.px,
                    high: trade.px,
                    low: trade.px,
                    close: trade.px,
                    volume: Qty::ZERO,
                    turnover: Notional::ZERO,
                    instrument: trade.instrument,
                    minutes: self.minutes,
                    confirmed: Flag::Yes,
                    pad: [0; 3],
                };
                add(&mut bar, trade);
                self.current = Some(bar);
                closed
            }
        }
    }

    /// Trades that came too late for their candle, and block trades.
    #[must_use]
    pub const fn left_out(&self) -> (u64, u64) {
        (self.late, self.off_book)
    }
}

/// Totals that would not fit stay at the largest.
fn add(bar: &mut Bar, trade: &Trade) {
    let value = trade.px.mul_floor(trade.qty).unwrap_or(Notional::MAX);
    bar.volume = Qty::from_raw(bar.volume.raw().saturating_add(trade.qty.raw()).min(Qty::MAX.raw()));
    bar.turnover = Notional::from_raw(bar.turnover.raw().saturating_add(value.raw()).min(Notional::MAX.raw()));
}

#[cfg(test)]
mod listed_tests;
#[cfg(test)]
mod tests;

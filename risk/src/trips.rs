//! When the brake trips by itself: loss, speed of loss, value at risk, catastrophes, margin.
//!
//! In: profit and loss from our own fills at mark, the venue's equity, what the gate measures. Out: a severity per cause.
//! Never: a deposit that looks like profit or a withdrawal that looks like a loss; a NaN or a missing value that looks like
//! calm; a halt that ends by itself.
//!
//! ```text
//!   unit value = value at the last wallet * (equity then + profit since) / equity then
//!   every wallet is a new anchor: money that comes or goes changes the equity, never the unit value
//!
//!   level   enter at         leave
//!   warn    measured >= T    below 80 % of T for 60 s and 60 looks in a row
//!   reduce  measured >= T    the same for what may recover (value at risk, stress, margin); people for losses
//!   halt    measured >= T    people
//! ```

use crate::brake::{Reason, State};
use crate::notice::Fortune;
use crate::peak::Peak;
use keel_core::units::{Mono, Notional, Now, SCALE, Wall};

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;
/// Looks below the way out before an automatic level is left.
const CALM_LOOKS: u32 = 60;
/// Time below the way out before an automatic level is left, nanoseconds.
const CALM_TIME: u64 = 60 * SECOND;
/// The way out, in percent of the way in.
const WAY_OUT: i64 = 80;

/// Thresholds of one cause, each at least the one before. Units are the cause's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ladder {
    /// Tell people.
    pub warn: i64,
    /// Add no risk.
    pub reduce: i64,
    /// Stop.
    pub halt: i64,
}

impl Ladder {
    /// Thresholds in order.
    #[must_use]
    pub const fn new(warn: i64, reduce: i64, halt: i64) -> Self {
        Self { warn, reduce, halt }
    }

    pub(crate) const fn is_sound(&self) -> bool {
        self.warn > 0 && self.warn <= self.reduce && self.reduce <= self.halt
    }

    /// Where a level begins.
    #[must_use]
    pub const fn at(&self, level: Level) -> i64 {
        match level {
            Level::Calm => 0,
            Level::Warn => self.warn,
            Level::Reduce => self.reduce,
            Level::Halt => self.halt,
        }
    }

    /// The largest measure that is still of this level.
    pub(crate) const fn highest(&self, level: Level) -> i64 {
        match level {
            Level::Calm => self.warn - 1,
            Level::Warn => self.reduce - 1,
            Level::Reduce => self.halt - 1,
            Level::Halt => i64::MAX,
        }
    }

    pub(crate) const fn level(&self, measured: i64) -> Level {
        match measured {
            m if m >= self.halt => Level::Halt,
            m if m >= self.reduce => Level::Reduce,
            m if m >= self.warn => Level::Warn,
            _ => Level::Calm,
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing to say.
    #[default]
    Calm,
    /// Tell people.
    Warn,
    /// Add no risk.
    Reduce,
    /// Stop.
    Halt,
}

impl Level {
    /// What the brake makes of it.
    #[must_use]
    pub const fn state(self) -> State {
        match self {
            Self::Calm | Self::Warn => State::Active,
            Self::Reduce => State::ReduceOnly,
            Self::Halt => State::Halted,
        }
    }
}

macro_rules! causes {
    ($($code:literal $name:ident $recovers:literal, $meaning:literal;)*) => {
        /// Why the brake tripped. Codes are stable and never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Cause {
            $(#[doc = $meaning] $name = $code,)*
        }

        impl Cause {
            /// Every cause, in code order.
            pub const ALL: [Self; [$($code),*].len()] = [$(Self::$name),*];

            /// The stable name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The same, as the brake says it.
            #[must_use]
            pub const fn reason(self) -> Reason {
                match self { $(Self::$name => Reason::$name,)* }
            }

            /// May its reduce level end without people?
            #[must_use]
            pub const fn recovers(self) -> bool {
                match self { $(Self::$name => $recovers,)* }
            }
        }
    };
}

causes! {
    0 Drawdown false, "Basis points the unit value is below its highest.";
    1 Day false, "Basis points of equity lost since midnight UTC.";
    2 RollingDay false, "Basis points of equity lost from the highest of the last 24 hours.";
    3 Minute false, "Basis points of equity lost from the highest of the last 60 seconds.";
    4 FiveMinutes false, "Basis points of equity lost from the highest of the last 5 minutes.";
    5 ValueAtRisk true, "Value at risk of everything open, in basis points of its limit.";
    6 Stress true, "The worst catastrophe of everything open, in basis points of its limit.";
    7 Margin true, "Maintenance margin in basis points of equity.";
    8 Clock true, "Milliseconds our clock is provably off the venue's.";
    9 Rejects true, "Venue refusals within ten seconds.";
    10 Runaway true, "Messages asked for within ten seconds, in basis points of what the message rate allows in them.";
    11 OrderToTrade true, "Messages a fill over an hour, of the busiest strategy.";
    12 Staleness true, "Milliseconds without a book of an instrument that had one. Stops that instrument alone, while it lasts.";
}

/// A ladder a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TripLimits {
    /// In the order of [`Cause::ALL`]; every threshold at least 1.
    pub ladders: [Ladder; Cause::ALL.len()],
}

impl TripLimits {
    /// Drawdown 5, 7.5, 10 %; day 1.5, 2, 3 %; a minute 0.75, 1.5 %; value at risk 80, 100, 150 % and stress 80, 100, 130 %
    /// of their limits; margin 50, 65, 80 %; clock 50, 200, 500 ms; venue refusals 5, 10, 20; messages asked for 100, 200,
    /// 400 % of the rate; messages a fill from 50 on people are told; a book 250 ms, 1 s, 5 s old.
    #[must_use]
    pub const fn usual() -> Self {
        Self {
            ladders: [
                Ladder::new(500, 750, 1_000),
                Ladder::new(150, 200, 300),
                Ladder::new(150, 200, 300),
                Ladder::new(50, 75, 150),
                Ladder::new(50, 75, 150),
                Ladder::new(8_000, 10_000, 15_000),
                Ladder::new(8_000, 10_000, 13_000),
                Ladder::new(5_000, 6_500, 8_000),
                Ladder::new(50, 200, 500),
                Ladder::new(5, 10, 20),
                Ladder::new(10_000, 20_000, 40_000),
                Ladder::new(50, i64::MAX, i64::MAX),
                Ladder::new(250, 1_000, 5_000),
            ],
        }
    }

    /// The ladder of a cause.
    #[must_use]
    pub const fn of(&self, cause: Cause) -> &Ladder {
        &self.ladders[cause as usize]
    }
}

/// One cause over time, with its way out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watch {
    level: Level,
    calm_since: Option<Mono>,
    looks: u32,
    measured: Option<i64>,
}

impl Watch {
    pub(crate) const fn level(&self) -> Level {
        self.level
    }

    /// Looks again. `None` could not be measured and never calms.
    pub(crate) fn look(&mut self, now: Mono, cause: Cause, ladder: &Ladder, measured: Option<i64>) -> Level {
        self.measured = measured;
        let Some(measured) = measured else {
            (self.calm_since, self.looks) = (None, 0);
            return self.level;
        };
        let seen = ladder.level(measured);
        if seen >= self.level {
            *self = Self { level: seen, calm_since: None, looks: 0, ..*self };
            return self.level;
        }
        // one instrument's silence ends with its next words; everything else that halts ends with people
        let halted = self.level == Level::Halt && cause != Cause::Staleness;
        let latched = halted || (self.level == Level::Reduce && !cause.recovers());
        let out = i128::from(measured) * 100 < i128::from(ladder.at(self.level)) * i128::from(WAY_OUT);
        if latched || !out {
            (self.calm_since, self.looks) = (None, 0);
            return self.level;
        }
        let since = *self.calm_since.get_or_insert(now);
        self.looks += 1;
        if self.looks >= CALM_LOOKS && now.since(since) >= CALM_TIME {
            *self = Self { level: seen, calm_since: None, looks: 0, ..*self };
        }
        self.level
    }
}

/// What was measured beyond the account itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Readings {
    /// In basis points of the limit; `None` when not known.
    pub value_at_risk: Option<i64>,
    /// In basis points of the limit; `None` when not known.
    pub stress: Option<i64>,
    /// In basis points of equity; `None` when not known.
    pub margin: Option<i64>,
    /// In milliseconds; `None` when nobody asked the venue for too long.
    pub clock: Option<i64>,
    /// A count; `None` before the first look.
    pub rejects: Option<i64>,
    /// In basis points of the rate; `None` before the first look.
    pub runaway: Option<i64>,
    /// A ratio; `None` before the first look.
    pub order_to_trade: Option<i64>,
}

/// The account's fortune, and every cause over time.
#[derive(Clone, Debug)]
pub struct Trips {
    anchor_equity: i64,
    anchor_profit: i64,
    anchor_value: i64,
    highest: i64,
    day: u64,
    day_profit: i64,
    /// Day and unit value at its beginning, from an earlier run, until the first wallet.
    carried: Option<(u64, i64)>,
    rolling: Peak<96>,
    minute: Peak<60>,
    five: Peak<60>,
    watches: [Watch; Cause::ALL.len()],
}

impl Default for Trips {
    fn default() -> Self {
        Self {
            anchor_equity: 0,
            anchor_profit: 0,
            anchor_value: SCALE,
            highest: SCALE,
            day: 0,
            day_profit: 0,
            carried: None,
            rolling: Peak::new(DAY),
            minute: Peak::new(60 * SECOND),
            five: Peak::new(300 * SECOND),
            watches: [Watch::default(); Cause::ALL.len()],
        }
    }
}

impl Trips {
    /// Value of one unit of the account, in 1e-8, 1 at the start; `None` before the first wallet.
    #[must_use]
    pub fn unit_value(&self, profit: Notional) -> Option<i64> {
        if self.anchor_equity <= 0 {
            return None;
        }
        let gained = i128::from(profit.raw()) - i128::from(self.anchor_profit);
        let now = i128::from(self.anchor_equity) + gained;
        i64::try_from(i128::from(self.anchor_value) * now / i128::from(self.anchor_equity)).ok()
    }

    /// The highest unit value so far.
    #[must_use]
    pub const fn highest(&self) -> i64 {
        self.highest
    }

    /// Takes up the fortune of an earlier run: a restart is no fresh start. What was lost since midnight counts on from
    /// the first wallet.
    pub fn resume(&mut self, fortune: &Fortune) {
        self.anchor_value = fortune.unit_value.max(1);
        self.highest = fortune.highest.max(self.anchor_value);
        self.carried = Some((fortune.day, fortune.day_value));
    }

    /// What a later run takes up; `None` before the first wallet.
    #[must_use]
    pub fn fortune(&self, profit: Notional) -> Option<Fortune> {
        let unit_value = self.unit_value(profit)?;
        let since = i128::from(profit.raw()) - i128::from(self.day_profit);
        let (value, equity) = (i128::from(self.anchor_value), i128::from(self.anchor_equity));
        let day_value = i64::try_from(i128::from(unit_value) - value * since / equity).unwrap_or(unit_value);
        let equity = Notional::from_raw(self.anchor_equity);
        Some(Fortune { unit_value, highest: self.highest, day: self.day, day_value, equity })
    }

    /// The venue's equity. Whatever our fills do not explain came or went through the door.
    pub fn wallet(&mut self, now: Now, equity: Notional, profit: Notional) {
        self.anchor_value = self.unit_value(profit).unwrap_or(self.anchor_value);
        (self.anchor_equity, self.anchor_profit) = (equity.raw(), profit.raw());
        if let (Some((day, day_value)), true) = (self.carried, equity > Notional::ZERO) {
            self.carried = None;
            let lost = i128::from(equity.raw()) * i128::from(day_value - self.anchor_value);
            let lost = saturate(lost / i128::from(self.anchor_value.max(1))).max(0);
            if day == day_of(now.wall) {
                (self.day, self.day_profit) = (day, profit.raw().saturating_add(lost));
                self.rolling.drop(now.mono, self.day_profit);
            }
        }
    }

    /// Looks at everything; `profit` is realised and unrealised at mark, after fees and funding, since the start.
    pub fn look(&mut self, now: Now, profit: Notional, limits: &TripLimits, readings: Readings) {
        let drops = self.drops(now, profit.raw());
        let equity = self.anchor_equity;
        let share = |amount: i64| (equity > 0).then(|| in_bps(amount, equity));
        let drawdown = self.unit_value(profit).map(|value| {
            self.highest = self.highest.max(value);
            in_bps(self.highest - value, self.highest)
        });
        let [day, rolling, minute, five] = drops.map(share);
        let Readings { value_at_risk, stress, margin, clock, rejects, runaway, order_to_trade } = readings;
        let measured = [
            drawdown,
            day,
            rolling,
            minute,
            five,
            value_at_risk,
            stress,
            margin,
            clock,
            rejects,
            runaway,
            order_to_trade,
            // by instrument, in `watch`
            None,
        ];
        for ((cause, watch), measured) in Cause::ALL.into_iter().zip(&mut self.watches).zip(measured) {
            watch.look(now.mono, cause, limits.of(cause), measured);
        }
    }

    fn drops(&mut self, now: Now, profit: i64) -> [i64; 4] {
        let day = day_of(now.wall);
        // a wall clock that steps back does not begin the day again
        if day > self.day {
            (self.day, self.day_profit) = (day, profit);
        }
        let lost = self.day_profit.saturating_sub(profit);
        [
            lost,
            self.rolling.drop(now.mono, profit),
            self.minute.drop(now.mono, profit),
            self.five.drop(now.mono, profit),
        ]
    }

    /// The level of a cause.
    #[must_use]
    pub const fn level(&self, cause: Cause) -> Level {
        self.watches[cause as usize].level
    }

    /// What was last measured, in the unit of the cause; `None` when it could not be.
    #[must_use]
    pub const fn measured(&self, cause: Cause) -> Option<i64> {
        self.watches[cause as usize].measured
    }

    /// The worst level, and the first cause of it.
    #[must_use]
    pub fn worst(&self) -> (Level, Option<Cause>) {
        let worst = self.watches.iter().map(|watch| watch.level).max().unwrap_or_default();
        (worst, Cause::ALL.into_iter().find(|cause| worst > Level::Calm && self.level(*cause) == worst))
    }

    /// People looked: every level starts anew, the highest unit value and the day's loss stay.
    pub fn release(&mut self) {
        self.watches = [Watch::default(); Cause::ALL.len()];
        (self.rolling, self.minute, self.five) = (Peak::new(DAY), Peak::new(60 * SECOND), Peak::new(300 * SECOND));
    }
}

/// `part` in basis points of `whole`, which is positive; one machine word where it fits.
fn in_bps(part: i64, whole: i64) -> i64 {
    match part.checked_mul(10_000) {
        Some(product) => product / whole,
        None => saturate(i128::from(part) * 10_000 / i128::from(whole)),
    }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value > 0 { i64::MAX } else { i64::MIN })
}

const fn day_of(wall: Wall) -> u64 {
    wall.nanos() / DAY
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now { mono: Mono::from_millis(seconds * 1_000), wall: Wall::from_millis((1_900_000_000 + seconds) * 1_000) }
    }

    fn usdt(amount: i64) -> Notional {
        Notional::whole(amount)
    }

    fn fresh() -> Trips {
        let mut trips = Trips::default();
        trips.wallet(at(0), usdt(100_000), Notional::ZERO);
        trips
    }

    fn look(trips: &mut Trips, seconds: u64, profit: i64) -> Level {
        trips.look(at(seconds), usdt(profit), &TripLimits::usual(), Readings::default());
        trips.worst().0
    }

    #[test]
    fn loss_climbs_the_ladder_and_does_not_climb_down() {
        let mut trips = fresh();
        for (second, profit, level) in [
            (0, 0, Level::Calm),
            (1, -499, Level::Calm),
            (2, -500, Level::Warn),
            (3, -750, Level::Reduce),
            (4, -1_500, Level::Halt),
        ] {
            assert_eq!(look(&mut trips, second, profit), level, "{second}");
        }
        for second in 5..5_000 {
            assert_eq!(look(&mut trips, second, 50_000), Level::Halt, "a halt never ends by itself");
        }
        trips.release();
        assert_eq!(look(&mut trips, 6_000, 50_000), Level::Calm);
    }

    #[test]
    fn a_slow_loss_is_seen_by_the_day_and_the_drawdown() {
        let mut trips = fresh();
        (0..300).for_each(|minute| {
            look(&mut trips, minute * 60, -10 * i64::try_from(minute).unwrap());
        });
        assert_eq!(trips.level(Cause::Minute), Level::Calm);
        assert_eq!((trips.level(Cause::Day), trips.level(Cause::RollingDay)), (Level::Reduce, Level::Reduce));
        (300..1001).for_each(|minute| {
            look(&mut trips, minute * 60, -10 * i64::try_from(minute).unwrap());
        });
        assert_eq!(trips.level(Cause::Drawdown), Level::Halt);
    }

    #[test]
    fn money_through_the_door_is_neither_profit_nor_loss() {
        let mut trips = fresh();
        look(&mut trips, 0, 0);
        trips.wallet(at(0), usdt(300_000), Notional::ZERO);
        assert_eq!(trips.unit_value(Notional::ZERO), Some(SCALE));
        assert_eq!(look(&mut trips, 1, 0), Level::Calm);
        trips.wallet(at(0), usdt(50_000), Notional::ZERO);
        assert_eq!((look(&mut trips, 2, 0), trips.highest()), (Level::Calm, SCALE));
        // after the withdrawal the same dollars weigh more
        assert_eq!(look(&mut trips, 3, -375), Level::Reduce);
    }

    #[test]
    fn a_restart_remembers_the_highest_value() {
        let mut trips = fresh();
        trips.resume(&Fortune { unit_value: SCALE * 95 / 100, highest: SCALE, ..Fortune::default() });
        assert_eq!((look(&mut trips, 0, 0), trips.worst().1), (Level::Warn, Some(Cause::Drawdown)));
        assert_eq!(look(&mut trips, 1, -6_000), Level::Halt);
    }

    #[test]
    fn a_restart_within_the_day_remembers_what_the_day_lost() {
        let mut before = fresh();
        look(&mut before, 0, 0);
        look(&mut before, 1, -1_700);
        let fortune = before.fortune(usdt(-1_700)).unwrap();
        assert_eq!((fortune.unit_value, fortune.day_value), (SCALE * 983 / 1000, SCALE));
        for (days, level) in [(0, Level::Warn), (1, Level::Calm)] {
            let mut trips = Trips::default();
            trips.resume(&fortune);
            let later = Now { wall: Wall::from_nanos(at(2).wall.nanos() + days * DAY), ..at(2) };
            trips.wallet(later, usdt(98_300), Notional::ZERO);
            trips.look(later, Notional::ZERO, &TripLimits::usual(), Readings::default());
            assert_eq!(trips.level(Cause::Day), level, "{days} days later");
        }
    }

    #[test]
    fn what_may_recover_leaves_after_a_minute_of_calm_and_not_before() {
        let mut trips = fresh();
        let mut look = |second: u64, margin: Option<i64>| {
            trips.look(at(second), Notional::ZERO, &TripLimits::usual(), Readings { margin, ..Readings::default() });
            trips.level(Cause::Margin)
        };
        assert_eq!(look(0, Some(6_500)), Level::Reduce);
        assert_eq!(look(1, Some(5_300)), Level::Reduce, "below the way in, above the way out");
        for second in 2..61 {
            assert_eq!(look(second, Some(5_100)), Level::Reduce);
        }
        assert_eq!(look(61, None), Level::Reduce, "not measured is not calm");
        for second in 62..122 {
            assert_eq!(look(second, Some(5_100)), Level::Reduce, "{second}");
        }
        assert_eq!(look(122, Some(5_100)), Level::Warn);
        assert_eq!(look(123, Some(9_000)), Level::Halt);
    }

    #[test]
    fn a_clock_that_steps_back_does_not_forgive_the_day() {
        let mut trips = fresh();
        look(&mut trips, 0, 0);
        (1..2_000).for_each(|s| {
            look(&mut trips, s, -i64::try_from(s).unwrap());
        });
        let stepped = Now { mono: at(2_001).mono, wall: Wall::from_millis(1_000) };
        trips.look(stepped, usdt(-2_001), &TripLimits::usual(), Readings::default());
        assert_eq!(trips.level(Cause::Day), Level::Reduce);
    }

    #[test]
    fn equity_that_is_gone_is_not_measured_as_calm() {
        let mut trips = fresh();
        look(&mut trips, 0, -800);
        let before = trips.worst();
        trips.wallet(at(0), usdt(-10), usdt(-800));
        assert_eq!((trips.unit_value(usdt(-800)), look(&mut trips, 1, -800)), (None, before.0));
    }
}

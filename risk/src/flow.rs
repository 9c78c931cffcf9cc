//! How much trades, how much of it is ours, and how far our own fills have walked the price.
//!
//! In: public trades, our fills, the venue's volume of 24 hours. Out: coins of the last minute, market's and ours; the price
//! our ladder started from. Never: a clock, an allocation, a minute that counts trades older than itself.
//!
//! ```text
//!   minute   | s | s | s | ... 60 buckets of a second, sums kept |      participation: ours + order <= share of theirs
//!   walk       the newest WALK of them                                  ours > 30 % of theirs: how far from our first price?
//! ```
//!
//! An execution that is told twice is counted twice: the error is on the side of less risk.

use crate::watch::millis;
use keel_core::event::{Fill, Side, Trade};
use keel_core::units::{Mono, Px, Qty};

/// Seconds of the window volumes are compared over.
const SECONDS: usize = 60;
/// Seconds over which a walk is measured.
const WALK: usize = 5;
/// Percent of the market's volume from which on a move is taken for ours.
const OURS: i128 = 30;
/// Minutes of a day.
const MINUTES: i64 = 1_440;

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    market: i64,
    own: i64,
    /// The price we paid first-best in this second, by [`Side::index`]: lowest for buys, highest for sells; zero for none.
    best: [Px; 2],
}

/// One instrument's minute.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    seconds: [Second; SECONDS],
    /// The second that is filled now.
    at: u64,
    market: i64,
    own: i64,
    /// The venue's volume of 24 hours, coins; zero when it never said.
    day: Qty,
    /// The last second in which we traded, by side.
    traded: [Option<u64>; 2],
}

impl Default for Flow {
    fn default() -> Self {
        Self { seconds: [Second::default(); SECONDS], at: 0, market: 0, own: 0, day: Qty::ZERO, traded: [None; 2] }
    }
}

const fn second(now: Mono) -> u64 {
    now.nanos() / millis(1_000)
}

const fn place(second: u64) -> usize {
    #[allow(clippy::cast_possible_truncation, reason = "smaller than sixty")]
    let place = (second % SECONDS as u64) as usize;
    place
}

impl Flow {
    /// Forgets what is older than a minute. Cheap within one second; a clock that steps back forgets nothing.
    pub(crate) fn advance(&mut self, now: Mono) {
        let to = second(now);
        if to <= self.at {
            return;
        }
        let gone = (to - self.at).min(SECONDS as u64);
        for step in 1..=gone {
            let old = core::mem::take(&mut self.seconds[place(to - gone + step)]);
            self.market = self.market.saturating_sub(old.market);
            self.own = self.own.saturating_sub(old.own);
        }
        self.at = to;
    }

    /// Others, or we, traded in public.
    pub(crate) fn trade(&mut self, trade: &Trade) {
        if trade.block.is_set() || trade.qty <= Qty::ZERO {
            return;
        }
        self.advance(trade.origin.recv);
        let sum = self.market.saturating_add(trade.qty.raw());
        let now = &mut self.seconds[place(self.at)];
        now.market += sum - self.market;
        self.market = sum;
    }

    /// The venue's volume of the last 24 hours.
    pub(crate) fn set_day(&mut self, volume: Qty) {
        self.day = volume;
    }

    /// We traded.
    pub(crate) fn fill(&mut self, now: Mono, fill: &Fill) {
        if fill.qty <= Qty::ZERO {
            return;
        }
        self.advance(now);
        let sum = self.own.saturating_add(fill.qty.raw());
        let row = &mut self.seconds[place(self.at)];
        row.own += sum - self.own;
        let best = &mut row.best[fill.side.index()];
        *best = if best.is_zero() { fill.px } else { farthest(fill.side, *best, fill.px) };
        self.own = sum;
        self.traded[fill.side.index()] = Some(self.at);
    }

    /// Coins we traded in the last minute.
    #[must_use]
    pub(crate) const fn own(&self) -> i64 {
        self.own
    }

    /// Coins the market trades in a minute: those of the last one, or the day's average where that is more.
    #[must_use]
    pub(crate) const fn market(&self) -> i64 {
        let average = self.day.raw() / MINUTES;
        if self.market > average { self.market } else { average }
    }

    /// Basis points from where our fills on this side began in the last seconds to `px`, when most of what moved the price
    /// was ours; zero otherwise. `None` when it cannot be said.
    #[must_use]
    pub(crate) fn walked(&self, side: Side, px: Px) -> Option<i64> {
        let recent = |second: u64| self.at - second < WALK as u64;
        // most orders come after no fill of ours: nothing to add up
        if !self.traded[side.index()].is_some_and(recent) {
            return Some(0);
        }
        let (mut market, mut own, mut first) = (0i128, 0i128, Px::ZERO);
        for back in 0..(WALK as u64).min(self.at + 1) {
            let row = &self.seconds[place(self.at - back)];
            market += i128::from(row.market);
            own += i128::from(row.own);
            let best = row.best[side.index()];
            if !best.is_zero() {
                first = if first.is_zero() { best } else { farthest(side, first, best) };
            }
        }
        // our own fills are in the market's volume, once the public stream has told of them
        if own * 100 <= OURS * market {
            return Some(0);
        }
        let walks = match side {
            Side::Buy => px > first,
            Side::Sell => px < first,
        };
        if walks { px.distance_bps(first) } else { Some(0) }
    }
}

/// The price a walk on this side is measured from: the lowest bought at, the highest sold at.
fn farthest(side: Side, a: Px, b: Px) -> Px {
    match side {
        Side::Buy => a.min(b),
        Side::Sell => a.max(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_core::event::{Flag, Origin};
    use keel_core::ids::InstrumentId;
    use proptest::prelude::*;

    fn at(millis: u64) -> Mono {
        Mono::from_millis(millis)
    }

    pub(crate) fn trade(millis: u64, qty: i64) -> Trade {
        let origin = Origin { recv: at(millis), ..Origin::default() };
        let (px, qty, instrument) = (Px::whole(100), Qty::whole(qty), InstrumentId(0));
        Trade {
            origin,
            px,
            qty,
            instrument,
            side: Side::Buy,
            block: Flag::No,
            rpi: Flag::No,
            last: Flag::Yes,
            pad: [0; 2],
        }
    }

    fn fill(side: Side, px: i64, qty: i64) -> Fill {
        Fill { side, px: Px::whole(px), qty: Qty::whole(qty), ..Fill::default() }
    }

    #[test]
    fn our_own_ladder_is_measured_from_where_it_began() {
        let mut flow = Flow::default();
        let buy = |px| (Side::Buy, Px::whole(px));
        let walked = |flow: &Flow, (side, px)| flow.walked(side, px);
        flow.advance(at(10_000));
        assert_eq!(walked(&flow, buy(20_000)), Some(0), "nothing of ours traded");
        flow.fill(at(10_000), &fill(Side::Buy, 10_000, 4));
        flow.fill(at(11_000), &fill(Side::Buy, 10_050, 4));
        assert_eq!(walked(&flow, buy(10_100)), Some(100));
        assert_eq!(walked(&flow, buy(9_999)), Some(0), "below the first rung nothing is walked");
        assert_eq!(walked(&flow, (Side::Sell, Px::whole(9_000))), Some(0), "the other side did not trade");
        for (millis, bps) in [(15_000, 50), (16_000, 0)] {
            let mut later = flow.clone();
            later.advance(at(millis));
            assert_eq!(walked(&later, buy(10_100)), Some(bps), "rungs grow too old");
        }
        flow.trade(&trade(11_500, 26));
        assert_eq!(walked(&flow, buy(10_100)), Some(100), "8 of 26 is more than 30 %");
        flow.trade(&trade(11_600, 1));
        assert_eq!(walked(&flow, buy(10_100)), Some(0), "8 of 27 is not: others walked with us");
    }

    #[test]
    fn a_block_trade_is_not_volume_and_the_day_stands_in_for_a_quiet_minute() {
        let mut flow = Flow::default();
        flow.trade(&Trade { block: Flag::Yes, ..trade(1_000, 500) });
        assert_eq!(flow.market(), 0);
        flow.set_day(Qty::whole(1_440));
        assert_eq!(flow.market(), Qty::whole(1).raw());
        flow.trade(&trade(1_000, 3));
        assert_eq!(flow.market(), Qty::whole(3).raw());
        flow.advance(at(61_000));
        assert_eq!(flow.market(), Qty::whole(1).raw());
    }

    proptest! {
        #[test]
        fn the_sums_are_what_a_recount_of_the_minute_gives(
            steps in prop::collection::vec((0u64..20_000, 1i64..100, any::<bool>()), 1..200)
        ) {
            let (mut flow, mut now, mut all) = (Flow::default(), 0, Vec::new());
            for (wait, qty, ours) in steps {
                now += wait;
                if ours {
                    flow.fill(at(now), &fill(Side::Sell, 100, qty));
                } else {
                    flow.trade(&trade(now, qty));
                }
                all.push((now / 1_000, qty, ours));
                let sum = |of: bool| -> i64 {
                    all.iter().filter(|(s, _, ours)| *ours == of && now / 1_000 - s < 60).map(|(_, q, _)| q).sum()
                };
                prop_assert_eq!((flow.own(), flow.market()), (Qty::whole(sum(true)).raw(), Qty::whole(sum(false)).raw()));
            }
        }
    }
}

//! One instrument's order book.
//!
//! In: the parts of a message, in order. Out: touch, depth. Near the touch a price is its own address in a window of ticks
//! (`ladder`); further away levels stand in a sorted run (`spill`), so that a book is fast where it is busy and right
//! everywhere. Never: an allocation after the start, a level of zero quantity, a silently dropped level inside the depth,
//! a price between two ticks.
//!
//! Within one message a side may swell to twice its capacity, because the venue lists what enters the window before it
//! has listed everything that leaves; after the message it must fit again.

mod grid;
mod ladder;
mod spill;
#[cfg(test)]
mod tests;

use crate::event::{BookUpdate, HealthReason, Level, Side};
use crate::units::{Px, Qty};
use grid::Grid;
use ladder::Ladder;

/// Levels of each side a rehearsal looks at.
const NEAR: usize = 10;

/// Best bid and best ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touch {
    /// Best bid.
    pub bid: Level,
    /// Best ask.
    pub ask: Level,
}

impl Touch {
    /// The best level a side rests at.
    #[must_use]
    pub const fn of(&self, side: Side) -> Level {
        match side {
            Side::Buy => self.bid,
            Side::Sell => self.ask,
        }
    }

    /// Half way between bid and ask, rounded down.
    #[must_use]
    pub const fn mid(&self) -> Px {
        Px::from_raw((self.bid.px.raw() + self.ask.px.raw()) / 2)
    }
}

/// The book.
#[derive(Clone, Debug)]
pub struct Book {
    bids: Ladder<true>,
    asks: Ladder<false>,
    u: u64,
}

impl Book {
    /// An empty book of prices on this grid with room for `capacity` levels a side.
    #[must_use]
    pub fn new(tick: Px, capacity: usize) -> Self {
        let grid = Grid::new(tick);
        Self { bids: Ladder::new(grid, capacity), asks: Ladder::new(grid, capacity), u: 0 }
    }

    /// Forgets every level.
    pub fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
        self.u = 0;
    }

    /// Applies one part of a message. On an error the book must not be used until the next snapshot.
    pub fn apply(&mut self, update: &BookUpdate) -> Result<(), HealthReason> {
        if update.has(BookUpdate::SNAPSHOT) && update.has(BookUpdate::FIRST) {
            self.clear();
        }
        self.change(update.bid_levels(), update.ask_levels(), update.u)?;
        if update.has(BookUpdate::LAST) { self.fits() } else { Ok(()) }
    }

    /// Applies a whole message at once. On an error the book must not be used until the next snapshot.
    pub fn apply_message(
        &mut self,
        snapshot: bool,
        u: u64,
        bids: &[Level],
        asks: &[Level],
    ) -> Result<(), HealthReason> {
        if snapshot {
            self.clear();
        }
        self.change(bids, asks, u)?;
        self.fits()
    }

    fn change(&mut self, bids: &[Level], asks: &[Level], u: u64) -> Result<(), HealthReason> {
        self.bids.change(bids)?;
        self.asks.change(asks)?;
        self.u = u;
        Ok(())
    }

    const fn fits(&self) -> Result<(), HealthReason> {
        if self.bids.fits() && self.asks.fits() { Ok(()) } else { Err(HealthReason::Overflow) }
    }

    /// Best bid and ask; `None` while either side is empty or they cross.
    #[must_use]
    #[inline]
    pub fn touch(&self) -> Option<Touch> {
        let touch = Touch { bid: self.bids.first()?, ask: self.asks.first()? };
        (touch.bid.px < touch.ask.px).then_some(touch)
    }

    /// Best bid at or above best ask.
    #[must_use]
    pub fn is_crossed(&self) -> bool {
        matches!((self.bids.first(), self.asks.first()), (Some(bid), Some(ask)) if bid.px >= ask.px)
    }

    /// Reads the levels near the touch and forgets them, so that they are near the CPU too.
    pub fn rehearse(&self) {
        for side in [Side::Buy, Side::Sell] {
            core::hint::black_box(self.levels(side).take(NEAR).map(|it| it.qty.raw()).fold(0, i64::wrapping_add));
        }
    }

    /// Levels of a side, best first.
    pub fn levels(&self, side: Side) -> impl ExactSizeIterator<Item = Level> + '_ {
        match side {
            Side::Buy => Either::Bids(self.bids.levels()),
            Side::Sell => Either::Asks(self.asks.levels()),
        }
    }

    /// Quantity resting at exactly this price.
    #[must_use]
    pub fn at(&self, side: Side, px: Px) -> Qty {
        match side {
            Side::Buy => self.bids.at(px),
            Side::Sell => self.asks.at(px),
        }
    }

    /// Update id of the last message applied.
    #[must_use]
    pub const fn update_id(&self) -> u64 {
        self.u
    }
}

/// The levels of one side or the other.
enum Either<B, A> {
    Bids(B),
    Asks(A),
}

impl<B: Iterator<Item = Level>, A: Iterator<Item = Level>> Iterator for Either<B, A> {
    type Item = Level;

    fn next(&mut self) -> Option<Level> {
        match self {
            Self::Bids(levels) => levels.next(),
            Self::Asks(levels) => levels.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Bids(levels) => levels.size_hint(),
            Self::Asks(levels) => levels.size_hint(),
        }
    }
}

impl<B: ExactSizeIterator<Item = Level>, A: ExactSizeIterator<Item = Level>> ExactSizeIterator for Either<B, A> {}

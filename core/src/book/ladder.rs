//! One side of a book: a window of ticks around the touch, and a sorted run for everything behind it.
//!
//! In the window a price is its own address: a level is written where its tick says, one bit tells that it is there, and
//! the best level is the first bit. No level is searched for and none is moved. Levels further away than the window is
//! long are in the spill; every level of the window outranks every level of the spill.
//!
//! ```text
//!   rank   0 1 2 3 4 5 6 7 8 9 ...        window - 1 |
//!   bits   . . . 1 . 1 1 1 . 1 ...                 1 | spill: sorted, best first
//!   qty          5   2 9 4   1                     7 |
//!         ^ anchor: no level is better   the touch begins a quarter of the window behind it
//! ```
//!
//! A level better than the anchor, or a touch that has wandered past the middle while levels wait in the spill, slides
//! the window: once in many messages, at the cost of moving each level once.

use super::grid::Grid;
use super::spill::Spill;
use crate::event::{HealthReason, Level};
use crate::units::{Px, Qty};

/// The longest window: its words are counted in one more word.
const LONGEST: usize = 64 * 64;
/// The shortest.
const SHORTEST: usize = 64;
/// Ticks of window for each level of capacity. The fifty levels of a busy perpetual stand on about a hundred ticks, of a
/// quiet one with a fine grid on a thousand; ticks without a level cost address space and nothing else.
const SPREAD: usize = 64;

#[derive(Clone, Debug)]
pub(super) struct Ladder<const BIDS: bool> {
    grid: Grid,
    /// Tick number of rank 0.
    anchor: i64,
    /// Levels, the spill's included.
    len: usize,
    capacity: usize,
    /// Which words of `bits` are not empty.
    words: u64,
    bits: [u64; 64],
    qty: Box<[Qty]>,
    spill: Spill,
}

impl<const BIDS: bool> Ladder<BIDS> {
    /// Before the first level everything is better than the anchor.
    const NOWHERE: i64 = if BIDS { i64::MIN / 2 } else { i64::MAX / 2 };

    pub(super) fn new(grid: Grid, capacity: usize) -> Self {
        let window = (SPREAD * capacity).next_power_of_two().clamp(SHORTEST, LONGEST);
        Self {
            grid,
            anchor: Self::NOWHERE,
            len: 0,
            capacity,
            words: 0,
            bits: [0; 64],
            qty: vec![Qty::ZERO; window].into_boxed_slice(),
            spill: Spill::new(2 * capacity),
        }
    }

    pub(super) const fn fits(&self) -> bool {
        self.len <= self.capacity
    }

    pub(super) fn clear(&mut self) {
        while let Some(rank) = self.first_rank() {
            self.set(rank, Qty::ZERO);
        }
        self.spill.clear();
        self.len = 0;
        self.anchor = Self::NOWHERE;
    }

    /// How far behind the anchor; a better tick wraps round to more than any window.
    #[inline]
    fn rank(&self, number: i64) -> usize {
        let rank = if BIDS { self.anchor.wrapping_sub(number) } else { number.wrapping_sub(self.anchor) };
        usize::try_from(rank.cast_unsigned()).unwrap_or(usize::MAX)
    }

    const fn number(&self, rank: usize) -> i64 {
        if BIDS { self.anchor - rank as i64 } else { self.anchor + rank as i64 }
    }

    /// Applies changes, in any order.
    #[inline]
    pub(super) fn change(&mut self, changes: &[Level]) -> Result<(), HealthReason> {
        let most = 2 * self.capacity;
        for level in changes {
            let number = self.grid.number(level.px).ok_or(HealthReason::OffGrid)?;
            if self.len > most {
                return Err(HealthReason::Overflow);
            }
            let rank = self.rank(number);
            if rank < self.qty.len() {
                self.set(rank, level.qty);
            } else {
                self.outside(number, rank, *level);
            }
        }
        if self.len > most {
            return Err(HealthReason::Overflow);
        }
        if !self.spill.levels().is_empty() {
            self.follow();
        }
        Ok(())
    }

    /// Writes a level of the window.
    #[inline]
    fn set(&mut self, rank: usize, qty: Qty) {
        let was = std::mem::replace(&mut self.qty[rank], qty);
        let (word, bit, is) = ((rank / 64) % 64, rank % 64, u64::from(!qty.is_zero()));
        let came = usize::from(!qty.is_zero());
        let bits = self.bits[word] & !(1 << bit) | is << bit;
        self.bits[word] = bits;
        self.words = self.words & !(1 << word) | u64::from(bits != 0) << word;
        self.len = self.len.wrapping_add(came).wrapping_sub(usize::from(!was.is_zero()));
    }

    /// Rank of the best level of the window.
    #[inline]
    fn first_rank(&self) -> Option<usize> {
        if self.words == 0 {
            return None;
        }
        let word = self.words.trailing_zeros() as usize;
        Some(64 * word + self.bits[word % 64].trailing_zeros() as usize)
    }

    /// The best level.
    #[inline]
    pub(super) fn first(&self) -> Option<Level> {
        match self.first_rank() {
            Some(rank) => Some(self.level(rank)),
            None => self.spill.levels().first().copied(),
        }
    }

    #[inline]
    fn level(&self, rank: usize) -> Level {
        Level { px: self.grid.px(self.number(rank)), qty: self.qty[rank] }
    }

    #[cold]
    fn outside(&mut self, number: i64, rank: usize, level: Level) {
        let better = rank > usize::MAX / 2;
        if !better {
            self.len = self.len.saturating_add_signed(self.spill.set::<BIDS>(level));
        } else if !level.qty.is_zero() {
            self.slide(number);
            self.set(self.rank(number), level.qty);
        }
    }

    /// Brings the window back to a touch that has wandered away.
    #[cold]
    fn follow(&mut self) {
        let far = self.first_rank().is_none_or(|rank| rank > self.qty.len() / 2);
        if let (true, Some(best)) = (far, self.first())
            && let Some(number) = self.grid.number(best.px)
        {
            self.slide(number);
        }
    }

    /// Moves the window so that the tick with this number stands a quarter of the window behind the anchor.
    fn slide(&mut self, number: i64) {
        let quarter = (self.qty.len() / 4) as i64;
        while self.words != 0 {
            let word = 63 - self.words.leading_zeros() as usize;
            let rank = 64 * word + 63 - self.bits[word].leading_zeros() as usize;
            self.spill.insert(0, self.level(rank));
            self.set(rank, Qty::ZERO);
        }
        self.len = self.spill.levels().len();
        self.anchor = if BIDS { number + quarter } else { number - quarter };
        while let Some(level) = self.spill.levels().first().copied() {
            let rank = self.grid.number(level.px).map_or(usize::MAX, |number| self.rank(number));
            if rank >= self.qty.len() {
                break;
            }
            self.spill.pop_first();
            self.len -= 1;
            self.set(rank, level.qty);
        }
    }

    /// Quantity at this price.
    pub(super) fn at(&self, px: Px) -> Qty {
        let Some(number) = self.grid.number(px) else { return Qty::ZERO };
        let rank = self.rank(number);
        if rank < self.qty.len() {
            return self.qty[rank];
        }
        let there = self.spill.levels().get(self.spill.place::<BIDS>(px));
        there.filter(|level| level.px == px).map_or(Qty::ZERO, |level| level.qty)
    }

    /// All levels, best first.
    pub(super) fn levels(&self) -> impl ExactSizeIterator<Item = Level> + '_ {
        Levels {
            ladder: self,
            words: self.words,
            bits: 0,
            word: 0,
            spilled: self.spill.levels().iter(),
            left: self.len,
        }
    }
}

struct Levels<'a, const BIDS: bool> {
    ladder: &'a Ladder<BIDS>,
    words: u64,
    bits: u64,
    word: usize,
    spilled: std::slice::Iter<'a, Level>,
    left: usize,
}

impl<const BIDS: bool> Iterator for Levels<'_, BIDS> {
    type Item = Level;

    fn next(&mut self) -> Option<Level> {
        self.left = self.left.saturating_sub(1);
        if self.bits == 0 {
            if self.words == 0 {
                return self.spilled.next().copied();
            }
            self.word = self.words.trailing_zeros() as usize;
            self.words &= self.words - 1;
            self.bits = self.ladder.bits[self.word];
        }
        let rank = 64 * self.word + self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        Some(self.ladder.level(rank))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<const BIDS: bool> ExactSizeIterator for Levels<'_, BIDS> {}

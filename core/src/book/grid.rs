//! The price grid of one instrument: which tick a price is, without a division.
//!
//! In: a tick size once, then prices. Out: the tick's number, or nothing for a price between two ticks. Never: a rounded
//! price.
//!
//! A multiple of `odd * 2^shift` is divided exactly by multiplying with the inverse of `odd` modulo `2^64` and shifting;
//! what is no multiple comes out larger than any quotient can be (Granlund & Montgomery 1994; Warren, Hacker's Delight,
//! 10-17).

use crate::units::Px;

/// A tick size, ready to divide by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    tick: i64,
    inverse: u64,
    shift: u32,
    limit: u64,
}

impl Grid {
    /// A grid of this tick size; a size that is not positive counts as the smallest there is.
    pub(super) fn new(tick: Px) -> Self {
        let tick = tick.raw().max(1);
        let shift = tick.unsigned_abs().trailing_zeros();
        let odd = tick.unsigned_abs() >> shift;
        // Newton: each round doubles the bits that are right, from 3 to 64.
        let inverse = (0..5).fold(odd, |x, _| x.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(x))));
        Self { tick, inverse, shift, limit: i64::MAX.unsigned_abs() / tick.unsigned_abs() }
    }

    /// The number of the tick `px` stands on. `None` between two ticks and below zero.
    #[inline]
    pub(super) const fn number(self, px: Px) -> Option<i64> {
        let quotient = px.raw().cast_unsigned().wrapping_mul(self.inverse).rotate_right(self.shift);
        if quotient <= self.limit { Some(quotient.cast_signed()) } else { None }
    }

    /// The price of the tick with this number.
    #[inline]
    pub(super) const fn px(self, number: i64) -> Px {
        Px::from_raw(number.wrapping_mul(self.tick))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn equals_a_division(tick in prop_oneof![1i64..1000, 1i64..i64::MAX], times in 0i64..1_000_000, off in -3i64..4, any in any::<i64>()) {
            let grid = Grid::new(Px::from_raw(tick));
            for raw in [tick.saturating_mul(times).saturating_add(off), any, tick, 0, i64::MAX, i64::MIN] {
                let expected = (raw >= 0 && raw % tick == 0).then(|| raw / tick);
                prop_assert_eq!(grid.number(Px::from_raw(raw)), expected, "{} on {}", raw, tick);
                if let Some(number) = expected {
                    prop_assert_eq!(grid.px(number).raw(), raw);
                }
            }
        }
    }
}

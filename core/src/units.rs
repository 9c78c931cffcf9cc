//! Money and time as integers.
//!
//! In: decimal text from the venue or from people. Out: `Px`, `Qty`, `Notional` (units of 1e-8 of the quote coin, the
//! base coin, USDT) and `Mono`, `Wall` (nanoseconds). Never: a float, a silent rounding, a silent overflow.
//!
//! ```text
//!  "63943.90"  --parse-->  Px(6_394_390_000_000)          1e-8 USDT
//!  Px x Qty    --i128-->   mul_floor / mul_ceil            None when it does not fit
//! ```
//!
//! Bounds: prices up to `Px::MAX` (1e9 USDT), quantities up to `Qty::MAX` (1e10 coins), a notional up to about 9.2e10
//! USDT. Text outside the bounds is refused by `parse`; sums of many quantities belong in `i128`.

use core::fmt;
use core::iter::Sum;
use core::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Units per whole coin: every decimal here counts steps of 1e-8.
pub const SCALE: i64 = 100_000_000;
const DECIMALS: usize = 8;

/// Why decimal text was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumError {
    /// No digits. The venue writes `""` where a number is absent, so callers often treat this one apart.
    Empty,
    /// A character that is not a digit, a leading minus or one point: exponents and NaN end here.
    Syntax,
    /// A non-zero digit beyond the eighth decimal.
    Precision,
    /// Larger than the unit's bound.
    Range,
}

/// Decimal text to units of 1e-8, exactly or not at all.
pub const fn parse_decimal(text: &[u8]) -> Result<i64, NumError> {
    let negative = matches!(text.first(), Some(b'-'));
    let mut at = if negative { 1 } else { 0 };
    let (mut value, mut digits, mut decimals, mut seen_point) = (0i64, 0usize, 0usize, false);
    while at < text.len() {
        let byte = text[at];
        at += 1;
        match byte {
            b'.' if !seen_point => seen_point = true,
            b'0'..=b'9' => {
                digits += 1;
                if seen_point && decimals == DECIMALS {
                    if byte != b'0' {
                        return Err(NumError::Precision);
                    }
                    continue;
                }
                value = match value.checked_mul(10) {
                    Some(v) => match v.checked_add((byte - b'0') as i64) {
                        Some(v) => v,
                        None => return Err(NumError::Range),
                    },
                    None => return Err(NumError::Range),
                };
                decimals += seen_point as usize;
            }
            _ => return Err(NumError::Syntax),
        }
    }
    if digits == 0 {
        return Err(if text.is_empty() { NumError::Empty } else { NumError::Syntax });
    }
    while decimals < DECIMALS {
        value = match value.checked_mul(10) {
            Some(v) => v,
            None => return Err(NumError::Range),
        };
        decimals += 1;
    }
    Ok(if negative { -value } else { value })
}

macro_rules! decimal {
    ($(#[$doc:meta])* $name:ident, max $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(transparent)]
        pub struct $name(i64);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);
            /// The largest magnitude accepted from outside.
            pub const MAX: Self = Self($max);

            /// From a count of 1e-8 steps.
            #[must_use]
            pub const fn from_raw(raw: i64) -> Self {
                Self(raw)
            }

            /// The count of 1e-8 steps.
            #[must_use]
            pub const fn raw(self) -> i64 {
                self.0
            }

            /// Decimal text, exactly; refuses magnitudes above [`Self::MAX`].
            pub const fn parse(text: &[u8]) -> Result<Self, NumError> {
                match parse_decimal(text) {
                    Ok(raw) if raw <= $max && raw >= -$max => Ok(Self(raw)),
                    Ok(_) => Err(NumError::Range),
                    Err(why) => Err(why),
                }
            }

            /// A whole number of coins. For constants; panics beyond the bound.
            #[must_use]
            pub const fn whole(units: i64) -> Self {
                assert!(units <= $max / SCALE && units >= -($max / SCALE));
                Self(units * SCALE)
            }

            /// Magnitude.
            #[must_use]
            pub const fn abs(self) -> Self {
                Self(self.0.saturating_abs())
            }

            /// Exactly nothing.
            #[must_use]
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }

            /// Largest multiple of `step` not above `self`; `step` must be positive.
            #[must_use]
            pub const fn floor_to(self, step: Self) -> Self {
                assert!(step.0 > 0);
                Self(self.0 - self.0.rem_euclid(step.0))
            }

            /// Smallest multiple of `step` not below `self`; `step` must be positive.
            #[must_use]
            pub const fn ceil_to(self, step: Self) -> Self {
                let floor = self.floor_to(step);
                if floor.0 == self.0 { floor } else { Self(floor.0 + step.0) }
            }

            /// Is `self` on the grid of `step`?
            #[must_use]
            pub const fn is_multiple_of(self, step: Self) -> bool {
                step.0 > 0 && self.0 % step.0 == 0
            }

            /// For statistics and pictures only: never back into money.
            #[must_use]
            #[allow(clippy::cast_precision_loss, reason = "statistics accept 53 bits")]
            pub const fn to_f64(self) -> f64 {
                self.0 as f64 / SCALE as f64
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }

        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }

        impl Neg for $name {
            type Output = Self;
            fn neg(self) -> Self {
                Self(-self.0)
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                self.0 += other.0;
            }
        }

        impl SubAssign for $name {
            fn sub_assign(&mut self, other: Self) {
                self.0 -= other.0;
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
                items.fold(Self::ZERO, Add::add)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = DecimalText::new();
                f.pad(text.write(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

decimal! {
    /// A price: USDT per coin, in steps of 1e-8.
    Px, max 1_000_000_000 * SCALE
}
decimal! {
    /// A quantity of coins, in steps of 1e-8. Signed where it is a position (long is positive).
    Qty, max 10_000_000_000 * SCALE
}
decimal! {
    /// An amount of USDT, in steps of 1e-8.
    Notional, max 90_000_000_000 * SCALE
}

/// Room for the longest decimal: sign, 11 whole digits, point, 8 decimals.
pub struct DecimalText {
    bytes: [u8; 24],
}

impl DecimalText {
    /// An empty scratch.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "a scratch buffer has no default meaning")]
    pub const fn new() -> Self {
        Self { bytes: [0; 24] }
    }

    /// The shortest exact text of `raw` steps of 1e-8: no exponent, no trailing zeros.
    pub fn write(&mut self, raw: i64) -> &str {
        let magnitude = raw.unsigned_abs();
        let (mut whole, mut fraction) = (magnitude / SCALE.unsigned_abs(), magnitude % SCALE.unsigned_abs());
        let mut at = self.bytes.len();
        if fraction != 0 {
            let mut width = DECIMALS;
            while fraction.is_multiple_of(10) {
                fraction /= 10;
                width -= 1;
            }
            for _ in 0..width {
                at -= 1;
                self.bytes[at] = b'0' + (fraction % 10) as u8;
                fraction /= 10;
            }
            at -= 1;
            self.bytes[at] = b'.';
        }
        loop {
            at -= 1;
            self.bytes[at] = b'0' + (whole % 10) as u8;
            whole /= 10;
            if whole == 0 {
                break;
            }
        }
        if raw < 0 {
            at -= 1;
            self.bytes[at] = b'-';
        }
        core::str::from_utf8(&self.bytes[at..]).unwrap_or("?")
    }
}

fn narrow(wide: i128) -> Option<i64> {
    i64::try_from(wide).ok()
}

/// A product of two fixed-point numbers as one, rounded toward minus infinity. The scale is 2^8 times an odd number, so that
/// a product of usual size is shifted and divided in one machine word.
#[must_use]
#[inline]
pub fn unscale(product: i128) -> i128 {
    const ODD: i64 = SCALE >> 8;
    match i64::try_from(product >> 8) {
        Ok(word) => i128::from(word.div_euclid(ODD)),
        Err(_) => product.div_euclid(i128::from(SCALE)),
    }
}

impl Px {
    /// `self * qty` rounded toward minus infinity: what we receive, what a gain is worth.
    #[must_use]
    pub fn mul_floor(self, qty: Qty) -> Option<Notional> {
        narrow(unscale(i128::from(self.0) * i128::from(qty.0))).map(Notional)
    }

    /// `self * qty` rounded toward plus infinity: what we pay, what a limit must hold.
    #[must_use]
    pub fn mul_ceil(self, qty: Qty) -> Option<Notional> {
        narrow(-unscale(-i128::from(self.0) * i128::from(qty.0))).map(Notional)
    }

    /// Distance to `other` in units of 1e-4 (basis points) of `other`, rounded up; `None` when `other` is not positive.
    #[must_use]
    pub fn distance_bps(self, other: Px) -> Option<i64> {
        if other.0 <= 0 {
            return None;
        }
        let gap = (i128::from(self.0) - i128::from(other.0)).abs() * 10_000;
        narrow(-((-gap).div_euclid(i128::from(other.0))))
    }

    /// `self` moved by `bps` basis points (negative moves down), rounded toward minus infinity.
    #[must_use]
    pub fn shift_bps(self, bps: i64) -> Option<Px> {
        narrow((i128::from(self.0) * (10_000 + i128::from(bps))).div_euclid(10_000)).map(Px)
    }
}

impl Notional {
    /// Coins this buys at `px`, rounded down; `None` when `px` is not positive.
    #[must_use]
    pub fn div_floor(self, px: Px) -> Option<Qty> {
        if px.0 <= 0 {
            return None;
        }
        narrow((i128::from(self.0) * i128::from(SCALE)).div_euclid(i128::from(px.0))).map(Qty)
    }

    /// `self` times a rate in steps of 1e-8 (fees, funding), rounded up: a cost rounds against us.
    #[must_use]
    pub fn rate_ceil(self, rate: i64) -> Option<Notional> {
        narrow(-unscale(-i128::from(self.0) * i128::from(rate))).map(Notional)
    }
}

impl Qty {
    /// Price of one coin when `self` coins cost `total`, rounded to the nearest step, halves away from zero.
    #[must_use]
    pub fn average(self, total: Notional) -> Option<Px> {
        if self.0 == 0 {
            return None;
        }
        let (top, bottom) = (i128::from(total.0) * i128::from(SCALE), i128::from(self.0));
        let twice = 2 * top.abs() + bottom.abs();
        let magnitude = twice / (2 * bottom.abs());
        narrow(if (top < 0) == (bottom < 0) { magnitude } else { -magnitude }).map(Px)
    }
}

macro_rules! instant {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(transparent)]
        pub struct $name(u64);

        impl $name {
            /// From nanoseconds.
            #[must_use]
            pub const fn from_nanos(nanos: u64) -> Self {
                Self(nanos)
            }

            /// From milliseconds, saturating.
            #[must_use]
            pub const fn from_millis(millis: u64) -> Self {
                Self(millis.saturating_mul(1_000_000))
            }

            /// Nanoseconds.
            #[must_use]
            pub const fn nanos(self) -> u64 {
                self.0
            }

            /// Whole milliseconds.
            #[must_use]
            pub const fn millis(self) -> u64 {
                self.0 / 1_000_000
            }

            /// `self` moved forward, saturating.
            #[must_use]
            pub const fn after(self, nanos: u64) -> Self {
                Self(self.0.saturating_add(nanos))
            }

            /// Nanoseconds from `earlier` to `self`; zero when `earlier` is in fact later.
            #[must_use]
            pub const fn since(self, earlier: Self) -> u64 {
                self.0.saturating_sub(earlier.0)
            }
        }
    };
}

instant! {
    /// A reading of the monotonic clock, in nanoseconds since some fixed point. Only differences mean something.
    Mono
}
instant! {
    /// Wall-clock time, in nanoseconds since 1970-01-01 UTC.
    Wall
}

/// The two clocks, read once per duty cycle by whoever owns the thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For ages, deadlines and rates.
    pub mono: Mono,
    /// For records and for the venue.
    pub wall: Wall,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rust_decimal::Decimal;

    #[test]
    fn decimal_text_is_exact_or_refused() {
        let rows: [(&str, Result<i64, NumError>); 16] = [
            ("0", Ok(0)),
            ("-0", Ok(0)),
            ("63943.90", Ok(6_394_390_000_000)),
            ("0.00000001", Ok(1)),
            ("0.000000010", Ok(1)),
            ("0.000000011", Err(NumError::Precision)),
            ("", Err(NumError::Empty)),
            ("-", Err(NumError::Syntax)),
            (".", Err(NumError::Syntax)),
            (".5", Ok(SCALE / 2)),
            ("5.", Ok(5 * SCALE)),
            ("1e5", Err(NumError::Syntax)),
            ("NaN", Err(NumError::Syntax)),
            ("1.2.3", Err(NumError::Syntax)),
            ("99999999999999999999", Err(NumError::Range)),
            ("1000000001", Ok(1_000_000_001 * SCALE)),
        ];
        for (text, expected) in rows {
            assert_eq!(parse_decimal(text.as_bytes()), expected, "{text:?}");
        }
        assert_eq!(Px::parse(b"1000000001"), Err(NumError::Range));
    }

    #[test]
    fn average_rounds_halves_away_from_zero() {
        assert_eq!(Qty::from_raw(3).average(Notional::from_raw(1)), Some(Px::from_raw(33_333_333)));
        assert_eq!(Qty::from_raw(-2 * SCALE).average(Notional::from_raw(3)), Some(Px::from_raw(-2)));
        assert_eq!(Qty::ZERO.average(Notional::from_raw(3)), None);
    }

    proptest! {
        #[test]
        fn text_round_trips(raw in any::<i64>().prop_filter("bounded", |r| *r > i64::MIN)) {
            let mut text = DecimalText::new();
            let text = text.write(raw);
            prop_assert_eq!(parse_decimal(text.as_bytes()), Ok(raw));
            prop_assert_eq!(text.parse::<Decimal>().unwrap(), Decimal::new(raw, 8));
        }

        #[test]
        fn products_round_as_named(px in -1_000_000_000_000_000i64..1_000_000_000_000_000, qty in -1_000_000_000i64..1_000_000_000) {
            let exact = Decimal::new(px, 8) * Decimal::new(qty, 8);
            let floor = Px::from_raw(px).mul_floor(Qty::from_raw(qty)).unwrap();
            let ceil = Px::from_raw(px).mul_ceil(Qty::from_raw(qty)).unwrap();
            prop_assert!(Decimal::new(floor.raw(), 8) <= exact && exact <= Decimal::new(ceil.raw(), 8));
            prop_assert!(ceil.raw() - floor.raw() <= 1);
        }

        #[test]
        fn unscaling_is_the_division(word in any::<i64>(), more in 0u32..63, odd in -300i128..300) {
            let product = (i128::from(word) << more) + odd;
            prop_assert_eq!(unscale(product), product.div_euclid(i128::from(SCALE)));
        }

        #[test]
        fn grid_is_exact(raw in -1_000_000_000_000i64..1_000_000_000_000, step in 1i64..1_000_000) {
            let (value, step) = (Px::from_raw(raw), Px::from_raw(step));
            let (low, high) = (value.floor_to(step), value.ceil_to(step));
            prop_assert!(low <= value && value <= high);
            prop_assert!(low.is_multiple_of(step) && high.is_multiple_of(step));
            prop_assert!(high.raw() - low.raw() <= step.raw());
        }
    }
}

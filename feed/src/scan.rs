//! A cursor over one frame that either finds exactly what it expects or gives up.
//!
//! In: the venue's compact JSON. Out: literals, whole numbers and quoted decimals, parsed where they stand. Never: an
//! opinion about what is wrong. `None` means "not the shape I know"; the general parser then decides, so everything
//! accepted here must be something the general parser accepts with the same meaning.
//!
//! ```text
//!   63943.90"     the first byte that is no digit is the point or the closing quote
//!   6394390"      the point taken out: eight digits become a number at once, then the scale of two decimals
//! ```

use crate::decode::Key;
use keel_core::units::{NumError, parse_decimal};

/// Quoted decimals longer than this are left to the general parser.
const LONGEST_DECIMAL: usize = 40;
/// Plain strings longer than this are left to the general parser.
const LONGEST_TEXT: usize = 256;

/// The rest of a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan<'a> {
    rest: &'a [u8],
}

/// The top bit of each of the eight bytes that is no digit.
const fn non_digits(chunk: u64) -> u64 {
    let values = chunk ^ 0x3030_3030_3030_3030;
    ((values & 0x7f7f_7f7f_7f7f_7f7f).wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080
}

/// How many of the eight bytes, from the first, are digits.
const fn leading_digits(chunk: u64) -> usize {
    (non_digits(chunk).trailing_zeros() / 8) as usize
}

/// Eight digits, first in the lowest byte, as a number. Zero bytes count as the digit 0.
const fn eight_digits(chunk: u64) -> u64 {
    let pairs = ((chunk & 0x0f0f_0f0f_0f0f_0f0f).wrapping_mul(2561)) >> 8;
    let fours = ((pairs & 0x00ff_00ff_00ff_00ff).wrapping_mul(6_553_601)) >> 16;
    ((fours & 0x0000_ffff_0000_ffff).wrapping_mul(42_949_672_960_001)) >> 32
}

/// Non-zero when one of the eight bytes is a quote; its lowest set bit is the top bit of the first one.
const fn first_quote(chunk: u64) -> u64 {
    let zero = chunk ^ 0x2222_2222_2222_2222;
    zero.wrapping_sub(0x0101_0101_0101_0101) & !zero & 0x8080_8080_8080_8080
}

/// How a decimal is written: digits before its point, and digits in all.
///
/// Prices of one message mostly have the same. With a guess that holds, where a price ends is known before it is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// 1 to 7.
    whole: usize,
    /// As many, to 8.
    digits: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self { whole: 1, digits: 1 }
    }
}

impl Shape {
    fn of(text: &[u8]) -> Option<Self> {
        let whole = text.iter().position(|byte| *byte == b'.')?;
        let digits = text.len() - 1;
        ((1..8).contains(&whole) && (whole..=8).contains(&digits)).then_some(Self { whole, digits })
    }

    /// The decimal that these bytes begin with, if it is written so and a quote is behind it. The point is taken out: what
    /// follows it moves up by one.
    #[inline(always)]
    fn read(self, bytes: &[u8; 16]) -> Option<i64> {
        let (whole, digits) = (self.whole & 7, self.digits & 15);
        if bytes[whole] != b'.' || bytes[(digits + 1) & 15] != b'"' {
            return None;
        }
        let behind = u64::MAX << (8 * whole);
        let value = padded(word(bytes, 0) & !behind | word(bytes, 1) & behind, digits);
        if non_digits(value) != 0 {
            return None;
        }
        Some(eight_digits(value).wrapping_mul(POW10[8 - (digits - whole)]).cast_signed())
    }

    /// Two decimals with `","` between them, the first one written so, and how many bytes they take.
    #[inline(always)]
    fn pair(self, bytes: &[u8; 32]) -> Option<(i64, i64, usize)> {
        let first = self.read(bytes.first_chunk()?)?;
        let at = (self.digits + 4) & 15;
        if bytes[at - 2..at] != *b",\"" {
            return None;
        }
        let (second, length) = plain(bytes[at..].first_chunk()?)?;
        Some((first, second, at + length))
    }
}

/// The decimal that these bytes begin with, and how many of them it and the quote behind it take; `None` for a long one.
#[inline(always)]
fn plain(bytes: &[u8; 16]) -> Option<(i64, usize)> {
    let here = word(bytes, 0);
    let (whole, digits) = (leading_digits(here), (first_quote(word(bytes, 1)).trailing_zeros() / 8) as usize);
    if whole == 0 || whole == 8 {
        return None;
    }
    if whole == digits + 1 {
        return Some((eight_digits(padded(here, whole)).wrapping_mul(POW10[8]).cast_signed(), whole + 1));
    }
    if digits < whole {
        return None;
    }
    Shape { whole, digits }.read(bytes).map(|value| (value, digits + 2))
}

/// Of these digits so many, with zeros before them; one at least.
#[inline(always)]
const fn padded(word: u64, digits: usize) -> u64 {
    let empty = 64 - 8 * digits;
    word << empty | 0x3030_3030_3030_3030 & !(u64::MAX << empty)
}

#[inline(always)]
fn word(bytes: &[u8; 16], at: usize) -> u64 {
    bytes[at..].first_chunk::<8>().map_or(0, |word| u64::from_le_bytes(*word))
}

const POW10: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// A figure for people and statistics, such as coins traded in a day: anything larger than `most` reads as `most`, and
/// decimals beyond the eighth are dropped. Some coins trade more units a day than a quantity can count, and their prices
/// must not be lost with that.
pub(crate) fn statistic(text: &[u8], most: i64) -> Result<i64, NumError> {
    let (mut point, mut plain) = (None, true);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'.' if point.is_none() => point = Some(at),
            byte => plain &= byte.is_ascii_digit(),
        }
    }
    match parse_decimal(text) {
        Ok(value) => Ok(value.min(most)),
        Err(NumError::Range) if plain => Ok(most),
        Err(NumError::Precision) if plain => {
            parse_decimal(&text[..point.unwrap_or(0) + 9]).map(|value| value.min(most))
        }
        Err(why) => Err(why),
    }
}

impl<'a> Scan<'a> {
    pub(crate) const fn new(frame: &'a [u8]) -> Self {
        Self { rest: frame }
    }

    /// Exactly these bytes come next.
    #[inline(always)]
    pub(crate) fn lit<const N: usize>(&mut self, expected: &[u8; N]) -> Option<()> {
        self.eat(expected).then_some(())
    }

    /// Steps over these bytes if they come next.
    #[inline(always)]
    pub(crate) fn eat<const N: usize>(&mut self, expected: &[u8; N]) -> bool {
        match self.rest.split_first_chunk::<N>() {
            Some((head, rest)) if head == expected => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Exactly this text comes next, whose length is not known beforehand.
    #[inline(always)]
    pub(crate) fn slice(&mut self, expected: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(expected)?;
        Some(())
    }

    /// Nothing is left.
    pub(crate) const fn end(&self) -> Option<()> {
        if self.rest.is_empty() { Some(()) } else { None }
    }

    #[inline(always)]
    fn chunk(&self, at: usize) -> Option<u64> {
        Some(u64::from_le_bytes(*self.rest.get(at..)?.first_chunk::<8>()?))
    }

    #[inline(always)]
    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        Some(())
    }

    /// A JSON whole number without a sign.
    #[inline(always)]
    pub(crate) fn int(&mut self) -> Option<u64> {
        let Some(first) = self.chunk(0) else { return self.int_by_digit() };
        let head = leading_digits(first);
        if head == 8 {
            return self.long_int(first);
        }
        if head == 0 || (head > 1 && self.rest[0] == b'0') {
            return None;
        }
        let value = eight_digits(first << (64 - 8 * head));
        self.skip(head)?;
        self.number_ends().then_some(value)
    }

    #[inline(always)]
    fn long_int(&mut self, first: u64) -> Option<u64> {
        let Some(second) = self.chunk(8) else { return self.last_int(first) };
        let tail = leading_digits(second);
        if tail == 8 || self.rest[0] == b'0' {
            return self.int_by_digit();
        }
        let low = if tail == 0 { 0 } else { eight_digits(second << (64 - 8 * tail)) };
        self.skip(8 + tail)?;
        self.number_ends().then_some(eight_digits(first) * POW10[tail] + low)
    }

    /// At the end of a frame: less than eight bytes behind the first eight digits.
    fn last_int(&mut self, first: u64) -> Option<u64> {
        let tail = self.rest[8..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if self.rest[0] == b'0' {
            return None;
        }
        let digits = self.rest[8..8 + tail].iter();
        let value = digits.fold(eight_digits(first), |value, digit| value * 10 + u64::from(digit - b'0'));
        self.skip(8 + tail)?;
        self.number_ends().then_some(value)
    }

    #[cold]
    fn int_by_digit(&mut self) -> Option<u64> {
        let length = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 || length > 19 || (length > 1 && self.rest[0] == b'0') {
            return None;
        }
        let value = self.rest[..length].iter().fold(0u64, |value, digit| value * 10 + u64::from(digit - b'0'));
        self.skip(length)?;
        self.number_ends().then_some(value)
    }

    /// A fraction or an exponent may follow digits in JSON; such numbers are not whole.
    fn number_ends(&self) -> bool {
        !matches!(self.rest.first(), Some(b'.' | b'e' | b'E'))
    }

    /// A decimal without a sign and its closing quote, in steps of 1e-8. The opening quote is already behind.
    #[inline(always)]
    pub(crate) fn decimal(&mut self) -> Option<i64> {
        match self.rest.first_chunk::<16>().and_then(plain) {
            Some((value, length)) => {
                self.rest = &self.rest[length..];
                Some(value)
            }
            None => self.decimal_by_digit(),
        }
    }

    /// Two decimals, `63943.90","46.372"`, of which the first is mostly written like the one before in its column.
    #[inline(always)]
    pub(crate) fn pair(&mut self, before: &mut Shape) -> Option<(i64, i64)> {
        if let Some((first, second, length)) = self.rest.first_chunk::<32>().and_then(|bytes| before.pair(bytes)) {
            self.rest = &self.rest[length..];
            return Some((first, second));
        }
        let text = self.rest;
        let first = self.decimal()?;
        *before = Shape::of(&text[..text.len() - self.rest.len() - 1]).unwrap_or(*before);
        self.lit(b",\"")?;
        Some((first, self.decimal()?))
    }

    #[cold]
    fn decimal_by_digit(&mut self) -> Option<i64> {
        let length = self.rest.iter().take(LONGEST_DECIMAL).position(|byte| *byte == b'"')?;
        let value = parse_decimal(&self.rest[..length]).ok().filter(|value| *value >= 0)?;
        self.skip(length + 1)?;
        Some(value)
    }

    /// A signed decimal and its closing quote; `None` inside for the empty string.
    pub(crate) fn signed_or_empty(&mut self) -> Option<Option<i64>> {
        if self.eat(b"\"") {
            return Some(None);
        }
        if self.rest.first() == Some(&b'-') { self.decimal_by_sign().map(Some) } else { self.decimal().map(Some) }
    }

    /// A [`statistic`] and its closing quote.
    pub(crate) fn statistic(&mut self, most: i64) -> Option<i64> {
        let length = self.rest.iter().take(LONGEST_DECIMAL).position(|byte| *byte == b'"')?;
        let value = statistic(&self.rest[..length], most).ok().filter(|value| *value >= 0)?;
        self.skip(length + 1)?;
        Some(value)
    }

    fn decimal_by_sign(&mut self) -> Option<i64> {
        let length = self.rest.iter().take(LONGEST_DECIMAL).position(|byte| *byte == b'"')?;
        let value = parse_decimal(&self.rest[..length]).ok()?;
        self.skip(length + 1)?;
        Some(value)
    }

    /// Plain text up to and over its closing quote: printable ASCII without escapes.
    #[inline(always)]
    pub(crate) fn text(&mut self) -> Option<&'a [u8]> {
        let plain = |byte: &u8| matches!(*byte, b' '..=b'~') && *byte != b'\\' && *byte != b'"';
        let length = self.rest.iter().take(LONGEST_TEXT).take_while(|byte| plain(byte)).count();
        let text = &self.rest[..length];
        self.skip(length)?;
        self.lit(b"\"")?;
        Some(text)
    }

    /// A symbol up to and over its closing quote.
    #[inline(always)]
    pub(crate) fn symbol(&mut self) -> Option<Key> {
        let bytes = self.rest.first_chunk::<24>()?;
        let (chunks, _) = bytes.as_chunks::<8>();
        let mut words = [0, 1, 2].map(|at: usize| u64::from_le_bytes(chunks[at]));
        let at = words.iter().position(|word| first_quote(*word) != 0)?;
        let used = (first_quote(words[at]).trailing_zeros() / 8) as usize;
        words[at] &= !(u64::MAX << (8 * used));
        words[at + 1..].fill(0);
        self.skip(8 * at + used + 1)?;
        Some(Key(words))
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self) -> Option<bool> {
        if self.eat(b"true") {
            return Some(true);
        }
        self.lit(b"false").map(|()| false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_core::units::SCALE;
    use proptest::prelude::*;

    fn decimal(text: &str) -> Option<i64> {
        let quoted = format!("{text}\",\"more\"");
        let mut scan = Scan::new(quoted.as_bytes());
        let value = scan.decimal();
        assert!(value.is_none() || scan.rest == b",\"more\"", "{text}: stopped at {:?}", scan.rest);
        value
    }

    #[test]
    fn a_number_at_the_very_end_is_still_read() {
        assert_eq!(Scan::new(b"1.5\"").decimal(), Some(SCALE * 3 / 2));
        assert_eq!(Scan::new(b"1900000000105}").int(), Some(1_900_000_000_105));
        assert_eq!(Scan::new(b"7").int(), Some(7));
        assert_eq!(Scan::new(b"").int(), None);
        assert_eq!(Scan::new(b"").decimal(), None);
    }

    #[test]
    fn whole_numbers_follow_the_grammar_of_json() {
        for (text, expected) in [
            ("0,        ", Some(0)),
            ("00,       ", None),
            ("012345678901,      ", None),
            ("1e5,      ", None),
            ("1.0,      ", None),
            ("-1,       ", None),
            ("12345678e1,         ", None),
            ("12345678.5,         ", None),
            ("9999999999999999999,         ", Some(9_999_999_999_999_999_999)),
            ("99999999999999999999,        ", None),
        ] {
            assert_eq!(Scan::new(text.as_bytes()).int(), expected, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn decimals_equal_the_plain_parser(text in "-?[0-9]{0,12}(\\.[0-9]{0,10})?[0-9eE.+-]?") {
            let plain = parse_decimal(text.as_bytes()).ok();
            prop_assert_eq!(decimal(&text), plain.filter(|value| *value >= 0));
        }

        #[test]
        fn whole_numbers_equal_the_plain_parser(value in any::<u64>(), cut in 0u32..20) {
            let value = value / 10u64.saturating_pow(cut).max(1);
            let text = format!("{value},          ");
            let expected = (value < 10_000_000_000_000_000_000).then_some(value);
            prop_assert_eq!(Scan::new(text.as_bytes()).int(), expected);
        }

        #[test]
        fn anything_at_all_is_refused_or_agrees(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut scan = Scan::new(&bytes);
            if let Some(value) = scan.decimal() {
                let used = bytes.len() - scan.rest.len() - 1;
                prop_assert_eq!(parse_decimal(&bytes[..used]), Ok(value));
            }
            let _ = Scan::new(&bytes).int();
            let _ = Scan::new(&bytes).text();
            let _ = Scan::new(&bytes).signed_or_empty();
        }
    }
}

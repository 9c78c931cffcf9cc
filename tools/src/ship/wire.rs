//! One row as Postgres's binary COPY wants it, byte by byte.
//!
//! In: integers, texts, steps of 1e-8. Out: fields of the binary COPY format, in the one normal form the server itself
//! would send back: what was shipped can be compared with what stands there by its bytes alone. Never: a float, a
//! rounding, a value the column cannot hold.
//!
//! ```text
//!  row      count 2 | field ...                     field   length 4 (-1: NULL) | value
//!  numeric  digits 2 | weight 2 | sign 2 | scale 2 | base-10000 digits, no zeros at either end
//! ```

/// Type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `boolean`
    Bool,
    /// `date`
    Date,
    /// `bytea`
    Bytes,
    /// `text`
    Text,
    /// `numeric(19,8)`: every `i64` of 1e-8 fits.
    Decimal,
    /// `numeric(20,0)`: every `u64` fits.
    Whole,
}

impl Type {
    /// As a migration writes it.
    #[must_use]
    pub const fn sql(self) -> &'static str {
        match self {
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Bool => "boolean",
            Self::Date => "date",
            Self::Bytes => "bytea",
            Self::Text => "text",
            Self::Decimal => "numeric(19,8)",
            Self::Whole => "numeric(20,0)",
        }
    }

    /// Its number in the server's catalogue.
    #[must_use]
    pub const fn oid(self) -> u32 {
        match self {
            Self::Int2 => 21,
            Self::Int4 => 23,
            Self::Int8 => 20,
            Self::Bool => 16,
            Self::Date => 1082,
            Self::Bytes => 17,
            Self::Text => 25,
            Self::Decimal | Self::Whole => 1700,
        }
    }
}

/// What opens a binary COPY.
pub const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What ends one.
pub const TRAILER: &[u8] = &[0xff, 0xff];
/// Days from 1970-01-01 to 2000-01-01, where the server counts from.
const EPOCH: i64 = 10_957;
const NANOS_A_DAY: u64 = 86_400_000_000_000;
const FRACTION: u64 = 100_000_000;
const NEGATIVE: u16 = 0x4000;

/// Days since 1970-01-01 UTC.
#[must_use]
pub const fn day(wall_nanos: u64) -> i64 {
    (wall_nanos / NANOS_A_DAY).cast_signed()
}

/// Fields, appended.
#[derive(Debug)]
pub struct Row<'a>(pub &'a mut Vec<u8>);

impl Row<'_> {
    /// Opens a row.
    pub fn begin(&mut self, columns: usize) {
        let count = i16::try_from(columns).unwrap_or(i16::MAX);
        self.0.extend_from_slice(&count.to_be_bytes());
    }

    fn field(&mut self, bytes: &[u8]) {
        let len = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
        self.0.extend_from_slice(&len.to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    /// NULL.
    pub fn null(&mut self) {
        self.0.extend_from_slice(&(-1i32).to_be_bytes());
    }

    /// `smallint`
    pub fn int2(&mut self, value: i16) {
        self.field(&value.to_be_bytes());
    }

    /// `integer`
    pub fn int4(&mut self, value: i32) {
        self.field(&value.to_be_bytes());
    }

    /// `bigint`
    pub fn int8(&mut self, value: i64) {
        self.field(&value.to_be_bytes());
    }

    /// `boolean`
    pub fn bool(&mut self, value: bool) {
        self.field(&[u8::from(value)]);
    }

    /// `date`, from days since 1970.
    pub fn date(&mut self, days: i64) {
        self.int4(i32::try_from(days - EPOCH).unwrap_or(i32::MAX));
    }

    /// `bytea` or `text`
    pub fn bytes(&mut self, value: &[u8]) {
        self.field(value);
    }

    /// `numeric(19,8)`, from steps of 1e-8.
    pub fn decimal(&mut self, raw: i64) {
        let (whole, fraction) = (raw.unsigned_abs() / FRACTION, raw.unsigned_abs() % FRACTION);
        let group = |value: u64, unit: u64| u16::try_from(value / unit % 10_000).unwrap_or(0);
        let groups = [
            group(whole, FRACTION),
            group(whole, 10_000),
            group(whole, 1),
            group(fraction, 10_000),
            group(fraction, 1),
        ];
        self.numeric(&groups, 2, raw < 0, 8);
    }

    /// `numeric(20,0)`
    pub fn whole(&mut self, value: u64) {
        let group = |at: u32| u16::try_from(value / 10_000u64.pow(at) % 10_000).unwrap_or(0);
        self.numeric(&[group(4), group(3), group(2), group(1), group(0)], 4, false, 0);
    }

    fn numeric(&mut self, groups: &[u16], weight: i16, negative: bool, scale: u16) {
        let leading = groups.iter().take_while(|group| **group == 0).count();
        let trailing = groups[leading..].iter().rev().take_while(|group| **group == 0).count();
        let digits = &groups[leading..groups.len() - trailing];
        let weight = if digits.is_empty() { 0 } else { weight - i16::try_from(leading).unwrap_or(0) };
        let sign = if negative && !digits.is_empty() { NEGATIVE } else { 0 };
        let count = u16::try_from(digits.len()).unwrap_or(0);
        self.0.extend_from_slice(&(8 + 2 * i32::from(count)).to_be_bytes());
        for word in [count, weight.cast_unsigned(), sign, scale].iter().chain(digits) {
            self.0.extend_from_slice(&word.to_be_bytes());
        }
    }
}

/// Walks the rows of a buffer of rows.
pub fn rows(buffer: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = buffer;
    std::iter::from_fn(move || {
        let row = rest;
        let count = u16::from_be_bytes(rest.get(..2)?.try_into().ok()?);
        let mut at = 2;
        for _ in 0..count {
            at += 4 + value_len(row, at)?;
        }
        rest = row.get(at..)?;
        row.get(..at)
    })
}

/// Length of the value whose length field stands at `at`; 0 for NULL.
fn value_len(row: &[u8], at: usize) -> Option<usize> {
    let len = i32::from_be_bytes(row.get(at..at + 4)?.try_into().ok()?);
    Some(usize::try_from(len).unwrap_or(0))
}

/// The row as the server's `record_send` writes it: count 4, then type 4 and the field for each column.
pub fn composite(row: &[u8], types: impl IntoIterator<Item = Type>, out: &mut Vec<u8>) {
    let count = row.get(..2).map_or(0, |count| u32::from(u16::from_be_bytes([count[0], count[1]])));
    out.extend_from_slice(&count.to_be_bytes());
    let mut at = 2;
    for kind in types {
        let Some(len) = value_len(row, at) else { return };
        out.extend_from_slice(&kind.oid().to_be_bytes());
        out.extend_from_slice(row.get(at..at + 4 + len).unwrap_or_default());
        at += 4 + len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the bytes of a numeric say, in steps of 10^-scale.
    fn said(bytes: &[u8]) -> (i128, u16) {
        let word = |at: usize| i16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let (count, weight, sign, scale) = (word(4), word(6), word(8), word(10).cast_unsigned());
        let mut value = 0i128;
        for at in 0..count {
            let digit = i128::from(word(12 + 2 * usize::try_from(at).unwrap()));
            assert!(digit != 0 || (at > 0 && at < count - 1), "a zero at an end is not the normal form");
            // the group at `at` counts 10000^(weight-at); in steps of 1e-8 that is 10000^(weight-at+2)
            value += digit * 10_000i128.pow(u32::try_from(weight - at + 2).unwrap());
        }
        (if sign == 0 { value } else { -value }, scale)
    }

    #[test]
    fn numbers_are_exact_to_the_last_step() {
        let row = |write: &dyn Fn(&mut Row<'_>)| {
            let mut out = Vec::new();
            write(&mut Row(&mut out));
            out
        };
        let mut raw = 1i64;
        let mut rows = vec![0, 1, -1, 9_999, 10_000, 123_456_789, i64::MAX, i64::MIN + 1];
        while let Some(next) = raw.checked_mul(7) {
            rows.extend([next, -next]);
            raw = next;
        }
        for raw in rows {
            assert_eq!(said(&row(&|r| r.decimal(raw))), (i128::from(raw), 8), "{raw}");
        }
        for value in [0, 1, 10_000, u64::MAX, 18_000_000_000_000_000_000] {
            assert_eq!(said(&row(&|r| r.whole(value))), (i128::from(value) * 100_000_000, 0), "{value}");
        }
    }

    #[test]
    fn rows_are_found_again_and_nothing_panics_on_half_a_row() {
        let mut buffer = Vec::new();
        for seq in 0..3 {
            let mut row = Row(&mut buffer);
            row.begin(3);
            row.int8(seq);
            row.null();
            row.bytes(b"text");
        }
        assert_eq!(rows(&buffer).count(), 3);
        for len in 0..buffer.len() {
            assert!(rows(&buffer[..len]).count() < 3);
        }
        let mut out = Vec::new();
        composite(rows(&buffer).next().unwrap_or_default(), [Type::Int8, Type::Text, Type::Text], &mut out);
        assert_eq!(out.len(), 4 + (4 + 12) + (4 + 4) + (4 + 8));
    }
}

//! What stands in a report: columns with their type, unit and meaning, and exact values.
//!
//! In: integers, decimals of 1e-8, moments, words. Out: each as CSV, JSON and HTML. Never: a float that was not rounded to
//! 1e-8 by name, a value the journal does not hold: that is [`Cell::Null`], and the column's meaning says why.

use keel_core::ids::Text;
use keel_core::units::{Notional, Px, Qty, SCALE, Wall};
use serde_json::json;

/// Kind of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// Words, ids, hashes.
    Text,
    /// A whole number.
    Int,
    /// A decimal with at most eight places, exact.
    Decimal,
    /// A moment, UTC, nanoseconds.
    Time,
    /// Yes or no.
    Flag,
}

impl Sort {
    /// Its name in the schema.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Int => "integer",
            Self::Decimal => "decimal(8)",
            Self::Time => "timestamp(ns, UTC)",
            Self::Flag => "boolean",
        }
    }

    /// Is it set to the right in a page?
    pub(super) const fn is_figure(self) -> bool {
        matches!(self, Self::Int | Self::Decimal)
    }
}

/// A column: name, type, unit, meaning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// As in the header.
    pub name: &'static str,
    /// Type.
    pub sort: Sort,
    /// Unit; empty where there is none.
    pub unit: &'static str,
    /// What it says; and where it is always NULL, why.
    pub meaning: &'static str,
}

/// A row of a `const` table of columns.
pub(super) const fn col(name: &'static str, sort: Sort, unit: &'static str, meaning: &'static str) -> Column {
    Column { name, sort, unit, meaning }
}

/// A table of a report.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    /// In file names.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// Its columns, in order.
    pub columns: &'static [Column],
}

/// One value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Cell {
    /// Not held, not known, or not applicable.
    #[default]
    Null,
    /// Words.
    Text(String),
    /// A whole number.
    Int(i128),
    /// Steps of 1e-8.
    Decimal(i128),
    /// A moment; zero is none.
    Time(Wall),
    /// Yes or no.
    Flag(bool),
}

impl Cell {
    /// As text; nothing for what is not there.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Text(text) => text.clone(),
            Self::Int(number) => number.to_string(),
            Self::Decimal(raw) => decimal(*raw),
            Self::Time(wall) if wall.nanos() == 0 => String::new(),
            Self::Time(wall) => crate::moment::utc(*wall),
            Self::Flag(set) => set.to_string(),
        }
    }

    /// As JSON: exact decimals are strings.
    pub(super) fn json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Int(number) => {
                i64::try_from(*number).map_or_else(|_| json!(number.to_string()), |small| json!(small))
            }
            Self::Flag(set) => json!(set),
            Self::Time(wall) if wall.nanos() == 0 => serde_json::Value::Null,
            other => json!(other.text()),
        }
    }

    /// As a field of RFC 4180. What a spreadsheet would run as a formula is text to it.
    pub(super) fn csv(&self) -> String {
        let text = self.text();
        let formula = matches!(self, Self::Text(_)) && text.starts_with(['=', '+', '-', '@', '\t', '\r']);
        let text = if formula { format!("'{text}") } else { text };
        if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
    }
}

/// Steps of 1e-8 as a decimal without trailing zeros.
pub(super) fn decimal(raw: i128) -> String {
    let scale = i128::from(SCALE).unsigned_abs();
    let (whole, part) = (raw.unsigned_abs() / scale, raw.unsigned_abs() % scale);
    let sign = if raw < 0 { "-" } else { "" };
    if part == 0 {
        return format!("{sign}{whole}");
    }
    let digits = format!("{part:08}");
    format!("{sign}{whole}.{}", digits.trim_end_matches('0'))
}

/// `top / bottom` in steps of 1e-8, rounded toward zero; nothing over nothing, or beyond all numbers, is not known.
pub(super) fn ratio(top: i128, bottom: i128) -> Option<i128> {
    if bottom == 0 {
        return None;
    }
    top.checked_mul(i128::from(SCALE)).map(|wide| wide / bottom)
}

/// `part / whole` in basis points, in steps of 1e-8 of one, rounded toward zero.
pub(super) fn bps(part: i128, whole: i128) -> Option<i128> {
    ratio(part.checked_mul(10_000)?, whole)
}

/// A statistic to the nearest 1e-8; what is no number is not known.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "bounded before it is cut")]
pub(super) fn rounded(value: f64) -> Option<i128> {
    let scaled = (value * SCALE as f64).round();
    (scaled.is_finite() && scaled.abs() < 1e30).then_some(scaled as i128)
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        if text.is_empty() { Self::Null } else { Self::Text(text.to_owned()) }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        if text.is_empty() { Self::Null } else { Self::Text(text) }
    }
}

impl<const N: usize> From<Text<N>> for Cell {
    fn from(text: Text<N>) -> Self {
        text.as_str().into()
    }
}

macro_rules! cells {
    ($($type:ty => $make:expr;)*) => {$(
        impl From<$type> for Cell {
            fn from(value: $type) -> Self {
                let make: fn($type) -> Self = $make;
                make(value)
            }
        }
    )*};
}

cells! {
    u16 => |n| Self::Int(n.into());
    u32 => |n| Self::Int(n.into());
    u64 => |n| Self::Int(n.into());
    i32 => |n| Self::Int(n.into());
    i64 => |n| Self::Int(n.into());
    usize => |n| Self::Int(i128::try_from(n).unwrap_or(i128::MAX));
    bool => Self::Flag;
    Wall => Self::Time;
    Px => |px| Self::Decimal(px.raw().into());
    Qty => |qty| Self::Decimal(qty.raw().into());
    Notional => |value| Self::Decimal(value.raw().into());
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A decimal of steps, or nothing.
pub(super) fn steps(raw: impl Into<Option<i128>>) -> Cell {
    raw.into().map_or(Cell::Null, Cell::Decimal)
}

/// A fact's own word for itself.
pub(super) fn word(value: impl core::fmt::Debug) -> Cell {
    Cell::Text(format!("{value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_exactly() {
        let rows = [(0, "0"), (1, "0.00000001"), (-1, "-0.00000001"), (150_000_000, "1.5"), (-300_000_000, "-3")];
        for (raw, text) in rows {
            assert_eq!(decimal(raw), text);
        }
        assert_eq!(decimal(i128::MIN), "-1701411834604692317316873037158.84105728");
        assert_eq!((ratio(1, 0), ratio(-1, 3), bps(1, 4)), (None, Some(-33_333_333), Some(250_000_000_000)));
        assert_eq!((rounded(f64::NAN), rounded(f64::INFINITY), rounded(-0.1)), (None, None, Some(-10_000_000)));
    }

    #[test]
    fn a_field_is_quoted_where_it_must_be_and_never_a_formula() {
        let rows = [("a", "a"), ("a,b", "\"a,b\""), ("a\"b", "\"a\"\"b\""), ("a\nb", "\"a\nb\""), ("=1+1", "'=1+1")];
        for (text, field) in rows {
            assert_eq!(Cell::from(text).csv(), field);
        }
        assert_eq!((Cell::Decimal(-1).csv(), Cell::Null.csv()), ("-0.00000001".to_owned(), String::new()));
    }
}

//! One value of the venue's JSON, still as text: the venue writes the same field as a string here and a number there.

use super::DecodeError;
use keel_core::event::Flag;
use keel_core::units::{NumError, Wall, parse_decimal};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A string, number, boolean or null, borrowed from the frame. Absent reads as null.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct Scalar<'a>(#[serde(borrow)] Option<&'a RawValue>);

impl<'a> Scalar<'a> {
    /// The bytes between the quotes, or the bare token; empty for null. An escape is kept as written: no field keel
    /// reads for more than display ever holds one, and a kept escape matches nothing.
    pub(crate) fn text(self) -> &'a [u8] {
        let raw = self.0.map_or("null", RawValue::get);
        match raw.as_bytes() {
            b"null" => b"",
            [b'"', inner @ .., b'"'] => inner,
            bare => bare,
        }
    }

    /// Exact steps of 1e-8; an absent or empty number is zero.
    pub(crate) fn exact(self) -> Result<i64, DecodeError> {
        match parse_decimal(self.text()) {
            Ok(raw) => Ok(raw),
            Err(NumError::Empty) => Ok(0),
            Err(_) => Err(DecodeError::Number),
        }
    }

    /// Like [`Self::exact`], but digits beyond the eighth decimal are dropped: for averages and valuations, which the
    /// venue writes with as many as it likes.
    pub(crate) fn rounded(self) -> Result<i64, DecodeError> {
        let text = self.text();
        let end = match text.iter().position(|b| *b == b'.') {
            Some(point) => text.len().min(point + 9),
            None => text.len(),
        };
        if !text[end..].iter().all(u8::is_ascii_digit) {
            return Err(DecodeError::Number);
        }
        match parse_decimal(&text[..end]) {
            Ok(raw) => Ok(raw),
            Err(NumError::Empty) => Ok(0),
            Err(_) => Err(DecodeError::Number),
        }
    }

    /// A count; absent, empty or `-1` ("never") is zero.
    pub(crate) fn count(self) -> Result<u64, DecodeError> {
        match self.text() {
            b"" | b"-1" => Ok(0),
            text => core::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).ok_or(DecodeError::Number),
        }
    }

    /// Milliseconds since 1970.
    pub(crate) fn wall(self) -> Result<Wall, DecodeError> {
        self.count().map(Wall::from_millis)
    }

    /// `true` is yes; anything else the venue may put there is no.
    pub(crate) fn flag(self) -> Flag {
        Flag::from(matches!(self.text(), b"true" | b"1"))
    }
}

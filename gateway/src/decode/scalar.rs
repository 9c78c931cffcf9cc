//! One value of the venue's JSON, still as text: the venue writes the same field as a string here and a number there.

use super::DecodeError;
use keel_core::event::Flag;
use keel_core::units::{NumError, Wall, parse_decimal};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A value as it is written, borrowed from the frame: a string, a number, a boolean, null, or a whole object or array.
/// Absent reads as null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scalar<'a>(&'a str);

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        <&'de RawValue>::deserialize(from).map(|raw| Self(raw.get()))
    }
}

impl<'a> Scalar<'a> {
    /// It is there; once.
    pub(crate) fn put(&mut self, value: &'a str) -> Result<(), DecodeError> {
        if !self.0.is_empty() {
            return Err(DecodeError::Json);
        }
        self.0 = value;
        Ok(())
    }

    /// What is written, quotes and brackets included; `None` when there is nothing or as good as nothing.
    pub(crate) fn part(self) -> Option<&'a str> {
        (!matches!(self.0, "" | "null" | "\"\"" | "[]")).then_some(self.0)
    }

    /// The bytes between the quotes, or the bare token; empty for null. An escape is kept as written: no field keel
    /// reads for more than display ever holds one, and a kept escape matches nothing.
    pub(crate) fn text(self) -> &'a [u8] {
        match self.0.as_bytes() {
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

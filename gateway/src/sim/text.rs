//! Compact JSON out: one object writer, decimals as strings, nothing else.
//!
//! Some clients find pongs by raw substring, so no space is ever written between tokens.

use core::fmt::Write;
use keel_core::units::DecimalText;

/// Text of `raw` steps of 1e-8: shortest exact form.
pub(super) fn decimal(raw: i64) -> String {
    DecimalText::new().write(raw).to_owned()
}

/// Text of `raw` steps of 1e-8 with exactly `places` decimals (digits beyond are cut; the caller's grid has none).
pub(super) fn fixed(out: &mut String, raw: i64, places: u32) {
    let (sign, magnitude) = (if raw < 0 { "-" } else { "" }, raw.unsigned_abs());
    let (whole, fraction) = (magnitude / 100_000_000, magnitude % 100_000_000);
    let places = places.min(8);
    if places == 0 {
        let _ = write!(out, "{sign}{whole}");
    } else {
        let cut = fraction / 10u64.pow(8 - places);
        let _ = write!(out, "{sign}{whole}.{cut:0width$}", width = places as usize);
    }
}

/// Appends `text` with JSON's escapes.
pub(super) fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
}

/// One object being written. Ends with [`Obj::end`].
pub(super) struct Obj<'a> {
    out: &'a mut String,
    first: bool,
}

impl<'a> Obj<'a> {
    pub(super) fn new(out: &'a mut String) -> Self {
        out.push('{');
        Self { out, first: true }
    }

    fn key(&mut self, key: &str) -> &mut String {
        if !self.first {
            self.out.push(',');
        }
        self.first = false;
        self.out.push('"');
        self.out.push_str(key);
        self.out.push_str("\":");
        self.out
    }

    /// A string, escaped.
    pub(super) fn s(mut self, key: &str, value: &str) -> Self {
        let out = self.key(key);
        out.push('"');
        escape(out, value);
        out.push('"');
        self
    }

    /// A decimal in a string.
    pub(super) fn d(mut self, key: &str, raw: i64) -> Self {
        let out = self.key(key);
        out.push('"');
        out.push_str(DecimalText::new().write(raw));
        out.push('"');
        self
    }

    /// A decimal with a fixed number of places, in a string.
    pub(super) fn f(mut self, key: &str, raw: i64, places: u32) -> Self {
        let out = self.key(key);
        out.push('"');
        fixed(out, raw, places);
        out.push('"');
        self
    }

    /// An integer as a number.
    pub(super) fn n(mut self, key: &str, value: i64) -> Self {
        let _ = write!(self.key(key), "{value}");
        self
    }

    /// An unsigned integer as a number.
    pub(super) fn u(mut self, key: &str, value: u64) -> Self {
        let _ = write!(self.key(key), "{value}");
        self
    }

    /// An unsigned integer in a string.
    pub(super) fn us(mut self, key: &str, value: u64) -> Self {
        let _ = write!(self.key(key), "\"{value}\"");
        self
    }

    /// A boolean.
    pub(super) fn b(mut self, key: &str, value: bool) -> Self {
        self.key(key).push_str(if value { "true" } else { "false" });
        self
    }

    /// JSON as it stands.
    pub(super) fn raw(mut self, key: &str, json: &str) -> Self {
        self.key(key).push_str(json);
        self
    }

    /// JSON written by `write`.
    pub(super) fn with(mut self, key: &str, write: impl FnOnce(&mut String)) -> Self {
        write(self.key(key));
        self
    }

    pub(super) fn end(self) {
        self.out.push('}');
    }
}

/// An array of what `write` makes of each item.
pub(super) fn array<T>(out: &mut String, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut String, T)) {
    out.push('[');
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_compact_and_escaped() {
        let mut out = String::new();
        Obj::new(&mut out)
            .s("a", "x\"y\n")
            .d("b", 12_345_000_000)
            .n("c", -1)
            .b("d", true)
            .f("e", 6_394_390_000_000, 2)
            .end();
        assert_eq!(out, r#"{"a":"x\"y\u000a","b":"123.45","c":-1,"d":true,"e":"63943.90"}"#);
    }
}

//! JSON read once, from front to back, without a copy: members of objects and items of arrays, as text.
//!
//! In: a text. Out: its parts, borrowed. Every byte is checked against the grammar (RFC 8259) where it is passed over, so
//! that a part is never read of a text that is broken further on within it. Never: an allocation, or more than
//! [`MAX_DEPTH`] nested values. Names are compared as written: one with an escape in it matches nothing.
//!
//! [`row`] makes a row of the venue from one list of names: its struct, how it is read here, and how serde reads it, which
//! is the slow twin and what the pages of queries are read with.

use super::DecodeError;

/// Most values within values.
pub(crate) const MAX_DEPTH: usize = 64;
const BROKEN: DecodeError = DecodeError::Json;

/// A text, and how far it is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Scan<'a> {
    pub(crate) const fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// The object that comes next, member by member: a name as written, and the text of what it names.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&'a str, &'a str) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        self.list(b'{', b'}', |scan| {
            scan.space();
            let name = scan.string()?;
            scan.space();
            scan.byte(b':')?;
            member(&name[1..name.len() - 1], scan.value()?)
        })
    }

    /// The array that comes next: `item` reads what comes next each time.
    pub(crate) fn array(&mut self, item: impl FnMut(&mut Self) -> Result<(), DecodeError>) -> Result<(), DecodeError> {
        self.list(b'[', b']', item)
    }

    /// Nothing comes next.
    pub(crate) fn end(mut self) -> Result<(), DecodeError> {
        self.space();
        (self.at == self.text.len()).then_some(()).ok_or(BROKEN)
    }

    fn list(
        &mut self,
        open: u8,
        close: u8,
        mut one: impl FnMut(&mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        self.space();
        self.byte(open)?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(BROKEN);
        }
        self.space();
        if self.peek() == Some(close) {
            self.at += 1;
        } else {
            loop {
                one(self)?;
                self.space();
                match self.peek() {
                    Some(b',') => self.at += 1,
                    Some(byte) if byte == close => break self.at += 1,
                    _ => return Err(BROKEN),
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// The text of the value that comes next.
    fn value(&mut self) -> Result<&'a str, DecodeError> {
        self.space();
        let from = self.at;
        match self.peek().ok_or(BROKEN)? {
            b'"' => return self.string(),
            b'{' => self.object(|_, _| Ok(()))?,
            b'[' => self.array(|scan| scan.value().map(drop))?,
            b't' => self.word("true")?,
            b'f' => self.word("false")?,
            b'n' => self.word("null")?,
            _ => self.number()?,
        }
        self.text.get(from..self.at).ok_or(BROKEN)
    }

    /// A string, its quotes included.
    fn string(&mut self) -> Result<&'a str, DecodeError> {
        let from = self.at;
        self.byte(b'"')?;
        loop {
            match self.peek().ok_or(BROKEN)? {
                b'"' => break self.at += 1,
                b'\\' => self.escape()?,
                0..0x20 => return Err(BROKEN),
                _ => self.at += 1,
            }
        }
        self.text.get(from..self.at).ok_or(BROKEN)
    }

    fn escape(&mut self) -> Result<(), DecodeError> {
        let rest = self.text.as_bytes().get(self.at + 1..).unwrap_or_default();
        self.at += match rest {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) => 6,
            _ => return Err(BROKEN),
        };
        Ok(())
    }

    fn number(&mut self) -> Result<(), DecodeError> {
        self.at += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), DecodeError> {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > from).then_some(()).ok_or(BROKEN)
    }

    fn word(&mut self, word: &str) -> Result<(), DecodeError> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at += word.len();
        rest.starts_with(word.as_bytes()).then_some(()).ok_or(BROKEN)
    }

    fn byte(&mut self, byte: u8) -> Result<(), DecodeError> {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found.then_some(()).ok_or(BROKEN)
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// A row: its fields, each with the names the venue has for it.
macro_rules! row {
    ($(#[$about:meta])* $name:ident { $($(#[$note:meta])* $seen:vis $field:ident: $key:tt $(or $other:tt)?,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
        #[serde(default)]
        pub(crate) struct $name<'a> {
            $($(#[$note])* #[serde(borrow, rename = $key $(, alias = $other)?)] $seen $field: Scalar<'a>,)+
        }

        impl<'a> $name<'a> {
            /// The one that comes next. A field that is there twice is one too many.
            pub(crate) fn read(scan: &mut Scan<'a>) -> Result<Self, DecodeError> {
                let mut row = Self::default();
                scan.object(|name, value| match name {
                    $($key $(| $other)? => row.$field.put(value),)+
                    _ => Ok(()),
                })?;
                Ok(row)
            }
        }
    };
}
pub(crate) use row;

#[cfg(test)]
mod tests;

//! Writing text into a buffer somebody else owns.

use keel_core::units::DecimalText;

/// A cursor over a buffer whose size its owner proved to be enough.
pub(crate) struct Cursor<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(out: &'a mut [u8]) -> Self {
        Self { out, at: 0 }
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// `raw` steps of 1e-8 in their shortest exact form.
    pub(crate) fn decimal(&mut self, raw: i64) {
        self.put(DecimalText::new().write(raw).as_bytes());
    }

    pub(crate) const fn len(&self) -> usize {
        self.at
    }
}

/// `value` as lower-case hex, filling `out` from the right.
pub(crate) fn hex_into(out: &mut [u8], mut value: u64) {
    for slot in out.iter_mut().rev() {
        *slot = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

/// `value` in decimal, filling `out` from the right; `None` when it does not fit exactly.
pub(crate) fn digits_into(out: &mut [u8], mut value: u64) -> Option<()> {
    for slot in out.iter_mut().rev() {
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
    }
    (value == 0 && out.first().is_some_and(|lead| *lead != b'0')).then_some(())
}

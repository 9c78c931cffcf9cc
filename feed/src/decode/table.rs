//! Symbol to instrument, by hash.
//!
//! A symbol of up to 23 bytes is three words, so that hashing it is one multiplication and comparing it three compares.
//! Fixed open addressing, at most a quarter full: a probe almost always hits at once.

use keel_core::ids::{InstrumentId, MAX_INSTRUMENTS};
use keel_core::instrument::Instruments;

const SLOTS: usize = 4 * MAX_INSTRUMENTS;
const _: () = assert!(SLOTS == 256, "a slot is one byte of the hash");

/// A symbol as three little-endian words, zero behind its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) [u64; 3]);

impl Key {
    /// `None` for text longer than any symbol.
    pub(crate) fn of(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; 24];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        let (words, _) = bytes.as_chunks::<8>();
        Some(Self([0, 1, 2].map(|at: usize| u64::from_le_bytes(words[at]))))
    }

    #[inline]
    fn home(self) -> usize {
        let [a, b, c] = self.0;
        let mixed = (a ^ b.rotate_left(20) ^ c.rotate_left(40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        usize::from(mixed.to_be_bytes()[0])
    }
}

/// The symbols a decoder knows.
#[derive(Clone, Debug)]
pub(crate) struct Symbols {
    slots: Box<[Option<(Key, InstrumentId)>; SLOTS]>,
}

impl Symbols {
    pub(crate) fn new(instruments: &Instruments) -> Self {
        let mut slots = Box::new([None; SLOTS]);
        for row in instruments.rows() {
            let Some(key) = Key::of(row.symbol.bytes()) else { continue };
            let mut at = key.home();
            while slots[at].is_some() {
                at = (at + 1) % SLOTS;
            }
            slots[at] = Some((key, row.id));
        }
        Self { slots }
    }

    pub(crate) fn find(&self, symbol: &[u8]) -> Option<InstrumentId> {
        self.find_key(Key::of(symbol)?)
    }

    #[inline]
    pub(crate) fn find_key(&self, key: Key) -> Option<InstrumentId> {
        let mut at = key.home();
        while let Some((have, id)) = &self.slots[at] {
            if *have == key {
                return Some(*id);
            }
            at = (at + 1) % SLOTS;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::tests::instruments;

    #[test]
    fn a_full_table_finds_everyone_and_no_one_else() {
        let names: Vec<String> = (0..MAX_INSTRUMENTS).map(|n| format!("PREFIX{n:02}USDT")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let symbols = Symbols::new(&instruments(&names));
        for (id, name) in names.iter().enumerate() {
            assert_eq!(symbols.find(name.as_bytes()).map(InstrumentId::index), Some(id));
        }
        for stranger in ["", "PREFIX", "PREFIX64USDT", "PREFIX00USDTX"] {
            assert_eq!(symbols.find(stranger.as_bytes()), None, "{stranger}");
        }
    }
}

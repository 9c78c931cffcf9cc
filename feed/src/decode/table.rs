//! Symbol to instrument, by hash.
//!
//! Fixed open addressing over the bytes of the symbol; at most a quarter full, so a probe almost always hits at once.

use keel_core::ids::{InstrumentId, MAX_INSTRUMENTS, Symbol};
use keel_core::instrument::Instruments;

const SLOTS: usize = 4 * MAX_INSTRUMENTS;
const _: () = assert!(SLOTS.is_power_of_two());

/// The symbols a decoder knows.
#[derive(Clone, Debug)]
pub(crate) struct Symbols {
    slots: Box<[Option<(Symbol, InstrumentId)>; SLOTS]>,
}

impl Symbols {
    pub(crate) fn new(instruments: &Instruments) -> Self {
        let mut slots = Box::new([None; SLOTS]);
        for row in instruments.rows() {
            let mut at = home(row.symbol.bytes());
            while slots[at].is_some() {
                at = (at + 1) % SLOTS;
            }
            slots[at] = Some((row.symbol, row.id));
        }
        Self { slots }
    }

    #[inline]
    pub(crate) fn find(&self, symbol: &[u8]) -> Option<InstrumentId> {
        let mut at = home(symbol);
        while let Some((have, id)) = &self.slots[at] {
            if have.bytes() == symbol {
                return Some(*id);
            }
            at = (at + 1) % SLOTS;
        }
        None
    }
}

/// FNV-1a over the length and the first seven bytes: symbols differ early.
#[inline]
fn home(symbol: &[u8]) -> usize {
    let seed = 0x811c_9dc5 ^ symbol.len();
    symbol.iter().take(7).fold(seed, |hash, byte| (hash ^ usize::from(*byte)).wrapping_mul(0x0100_0193)) % SLOTS
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

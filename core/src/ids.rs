//! Names that cross rooms, all of fixed size.
//!
//! Instruments, strategies and accounts are dense indices into tables loaded at the start, so that every lookup is an
//! array access. A client order id is a run number and a counter: allocated before it is journaled, never reused, never
//! random. The venue's own ids are text and stay text, inline.

use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Instruments one core may trade. Tables are sized by it; configuration with more is refused.
pub const MAX_INSTRUMENTS: usize = 64;
/// Strategies one core may run.
pub const MAX_STRATEGIES: usize = 16;

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(transparent)]
        pub struct $name(pub u16);

        impl $name {
            /// Position in its table.
            #[must_use]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

index! {
    /// An instrument: its row in the instrument table.
    InstrumentId
}
index! {
    /// A strategy: its row in the strategy table.
    StrategyId
}

/// Place of a record in the journal, counted from 1. Zero is "none": the cause of something nobody caused.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// No record.
    pub const NONE: Self = Self(0);
}

/// Our order id: run number in the high half, a counter from 1 in the low half. Zero is "none".
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct ClientId(u64);

impl ClientId {
    /// No order of ours.
    pub const NONE: Self = Self(0);
    /// Length of [`Self::link`].
    pub const LINK_LEN: usize = 18;

    /// The `count`-th order of run `run`.
    #[must_use]
    pub const fn new(run: u32, count: u32) -> Self {
        Self((run as u64) << 32 | count as u64)
    }

    /// Both halves as one number, for tables and records.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// Which run of the core issued it.
    #[must_use]
    pub const fn run(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Its number within the run.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "the low half is the counter")]
    pub const fn count(self) -> u32 {
        self.0 as u32
    }

    /// The venue's `orderLinkId`: `k` run `-` count, both as eight hex digits.
    #[must_use]
    pub const fn link(self) -> [u8; Self::LINK_LEN] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = *b"k00000000-00000000";
        let mut at = 0;
        while at < 8 {
            text[1 + at] = HEX[((self.0 >> (60 - 4 * at)) & 15) as usize];
            text[10 + at] = HEX[((self.0 >> (28 - 4 * at)) & 15) as usize];
            at += 1;
        }
        text
    }

    /// The inverse of [`Self::link`]; `None` for anything we did not write.
    #[must_use]
    pub const fn from_link(text: &[u8]) -> Option<Self> {
        if text.len() != Self::LINK_LEN || text[0] != b'k' || text[9] != b'-' {
            return None;
        }
        let (mut value, mut at) = (0u64, 1);
        while at < Self::LINK_LEN {
            if at != 9 {
                let digit = match text[at] {
                    b @ b'0'..=b'9' => b - b'0',
                    b @ b'a'..=b'f' => b - b'a' + 10,
                    _ => return None,
                };
                value = value << 4 | digit as u64;
            }
            at += 1;
        }
        if value == 0 { None } else { Some(Self(value)) }
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE {
            return f.pad("-");
        }
        let link = self.link();
        f.pad(core::str::from_utf8(&link).unwrap_or("?"))
    }
}

/// Short text of the venue (order id, execution id, symbol), inline: a length and up to `N` bytes of printable ASCII.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: u8,
}

impl<const N: usize> Text<N> {
    /// No text.
    pub const EMPTY: Self = Self { bytes: [0; N], len: 0 };

    /// `None` when it is too long or holds anything but printable ASCII.
    #[must_use]
    pub fn new(text: &[u8]) -> Option<Self> {
        if text.len() > N || !text.iter().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let mut bytes = [0; N];
        bytes[..text.len()].copy_from_slice(text);
        Some(Self { bytes, len: u8::try_from(text.len()).ok()? })
    }

    /// The bytes in use. A length read from a foreign file is clamped.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len).min(N)]
    }

    /// The text; bytes that are not text read as `?`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.bytes()).unwrap_or("?")
    }

    /// Nothing in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if self.is_empty() { "-" } else { self.as_str() })
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// The venue's order or execution id: a UUID or shorter.
pub type VenueId = Text<39>;
/// A venue symbol such as `BTCUSDT`.
pub type Symbol = Text<23>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_round_trip_and_refuse_strangers() {
        for (run, count) in [(0, 1), (1, 0), (7, 42), (u32::MAX, u32::MAX)] {
            let id = ClientId::new(run, count);
            assert_eq!(ClientId::from_link(&id.link()), Some(id));
            assert_eq!((id.run(), id.count()), (run, count));
        }
        assert_eq!(&ClientId::new(0x1a, 0xff).link(), b"k0000001a-000000ff");
        for stranger in ["", "web-123", "k00000000-00000000", "k0000001A-000000ff", "k0000001a_000000ff"] {
            assert_eq!(ClientId::from_link(stranger.as_bytes()), None, "{stranger}");
        }
    }

    #[test]
    fn text_is_printable_and_bounded() {
        assert_eq!(Symbol::new(b"BTCUSDT").unwrap().as_str(), "BTCUSDT");
        assert!(Symbol::new(b"a b").is_none() && Symbol::new("é".as_bytes()).is_none());
        assert!(Symbol::new(&[b'x'; 24]).is_none() && VenueId::new(&[b'x'; 39]).is_some());
    }
}

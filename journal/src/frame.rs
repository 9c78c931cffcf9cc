//! One record as it stands in a segment, and the only code that writes or judges its bytes.
//!
//! In: a header, a payload, the segment's salt. Out: a frame, or the name of what is wrong with one. Never: a frame that
//! is half there. The first eight bytes are the *commit word*: the writer stores them last, with release order, and zero
//! means "nothing here yet". All numbers are little-endian.
//!
//! ```text
//!  offset  size  field
//!       0     4  len           payload bytes            \
//!       4     2  kind          keel_core::event::Kind    > commit word, stored last
//!       6     2  flags         zero                     /
//!       8     8  seq           1, 2, 3, ... without a hole; stored first
//!      16     8  mono          nanoseconds, the clock that decides
//!      24     8  wall          nanoseconds since 1970 UTC, larger than in any record before
//!      32     8  cause         seq of the record that caused this one; zero when nobody did
//!      40     4  clock_error   `wall` is off by at most so many nanoseconds
//!      44     4  crc           CRC-32C of bytes 0..44 and the payload, started from the segment's salt
//!      48   len  payload       the fact, as it stands in memory
//!       .     .  padding       zeros up to the next multiple of 32
//! ```
//!
//! Frames start on multiples of 32, so a commit word never crosses a cache line and is never torn. The salt differs per
//! segment: bytes of another file, or of an older life of this one, never pass for a record.

use crate::checksum::extend;
use keel_core::event::Kind;
use keel_core::ids::Seq;
use keel_core::units::{Mono, Wall};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Frames start on multiples of this.
pub const ALIGN: usize = 32;
/// Bytes before the payload.
pub const HEADER: usize = 48;
/// Longest payload; a longer one is refused with `LogFault::TooLong`.
pub const MAX_PAYLOAD: usize = 4096 - HEADER;
/// Longest frame.
pub const MAX_FRAME: usize = size(MAX_PAYLOAD);

const CHECKED: usize = core::mem::offset_of!(Header, crc);

/// The first 48 bytes of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// Payload bytes.
    pub len: u32,
    /// What the payload is; see [`Kind`].
    pub kind: u16,
    /// Zero.
    pub flags: u16,
    /// Place in the journal.
    pub seq: Seq,
    /// The clock that decides.
    pub mono: Mono,
    /// Strictly increasing wall clock.
    pub wall: Wall,
    /// The record that caused this one.
    pub cause: Seq,
    /// Bound of the error of `wall`, nanoseconds.
    pub clock_error: u32,
    /// See the table above.
    pub crc: u32,
}

const _: () = {
    use core::mem::offset_of;
    assert!(cfg!(target_endian = "little"), "records are memory as it stands");
    assert!(size_of::<Header>() == HEADER);
    assert!(offset_of!(Header, len) == 0 && offset_of!(Header, kind) == 4 && offset_of!(Header, flags) == 6);
    assert!(offset_of!(Header, seq) == 8 && offset_of!(Header, mono) == 16 && offset_of!(Header, wall) == 24);
    assert!(offset_of!(Header, cause) == 32 && offset_of!(Header, clock_error) == 40 && offset_of!(Header, crc) == 44);
    assert!(MAX_FRAME == 4096 && ALIGN.is_power_of_two());
};

/// Bytes a frame with this payload takes, padding included.
#[must_use]
pub const fn size(payload: usize) -> usize {
    (HEADER + payload).next_multiple_of(ALIGN)
}

/// What is wrong with the bytes at some place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// The length field is longer than any record, or than what is left of the segment.
    Length,
    /// The checksum does not fit the bytes.
    Checksum,
    /// A padding byte is not zero.
    Padding,
    /// Flags no version of keel writes.
    Flags,
}

/// A sound frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its header.
    pub header: Header,
    /// Its payload.
    pub payload: &'a [u8],
    /// Header and payload as they stand: what the hash chain and the tree are made of.
    pub bytes: &'a [u8],
}

impl Frame<'_> {
    /// Bytes it takes, padding included.
    #[must_use]
    pub const fn size(&self) -> usize {
        size(self.payload.len())
    }
}

impl Header {
    /// The header of a record, checksum included.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "the caller refused anything above MAX_PAYLOAD")]
    pub fn new(salt: u32, kind: u16, place: Place, payload: &[u8]) -> Self {
        let Place { seq, mono, wall, cause, clock_error } = place;
        let len = payload.len() as u32;
        let mut header = Self { len, kind, flags: 0, seq, mono, wall, cause, clock_error, crc: 0 };
        header.crc = header.checksum(salt, payload);
        header
    }

    fn checksum(&self, salt: u32, payload: &[u8]) -> u32 {
        extend(extend(salt, &self.as_bytes()[..CHECKED]), payload)
    }

    /// The first eight bytes as one number.
    #[must_use]
    pub const fn commit_word(&self) -> u64 {
        self.len as u64 | (self.kind as u64) << 32 | (self.flags as u64) << 48
    }
}

/// Everything in a header that is not about the payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is documented at Header")]
pub struct Place {
    pub seq: Seq,
    pub mono: Mono,
    pub wall: Wall,
    pub cause: Seq,
    pub clock_error: u32,
}

/// Reads the frame at the start of `bytes`, which reach to the end of the segment's records or at least [`MAX_FRAME`]
/// far. `None` where nothing was committed.
#[inline]
pub fn read(bytes: &[u8], salt: u32) -> Result<Option<Frame<'_>>, Flaw> {
    let Ok((header, rest)) = Header::read_from_prefix(bytes) else {
        return if bytes.iter().all(|byte| *byte == 0) { Ok(None) } else { Err(Flaw::Length) };
    };
    if header.commit_word() == 0 {
        return Ok(None);
    }
    let len = header.len as usize;
    if len > MAX_PAYLOAD || size(len) > bytes.len() {
        return Err(Flaw::Length);
    }
    let payload = &rest[..len];
    if header.crc != header.checksum(salt, payload) {
        return Err(Flaw::Checksum);
    }
    if header.flags != 0 {
        return Err(Flaw::Flags);
    }
    if bytes[HEADER + len..size(len)].iter().any(|byte| *byte != 0) {
        return Err(Flaw::Padding);
    }
    Ok(Some(Frame { header, payload, bytes: &bytes[..HEADER + len] }))
}

/// One record, as every reader hands it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Place in the journal.
    pub seq: Seq,
    /// Code of the kind.
    pub code: u16,
    /// The kind; `None` for a code this version does not know.
    pub kind: Option<Kind>,
    /// The record that caused it.
    pub cause: Seq,
    /// The clock that decides.
    pub mono: Mono,
    /// Strictly increasing wall clock.
    pub wall: Wall,
    /// Bound of the error of `wall`, nanoseconds.
    pub clock_error: u32,
    /// The fact.
    pub payload: &'a [u8],
    /// Header and payload as they stand.
    pub bytes: &'a [u8],
}

impl<'a> From<Frame<'a>> for Entry<'a> {
    fn from(frame: Frame<'a>) -> Self {
        let Header { kind, seq, mono, wall, cause, clock_error, .. } = frame.header;
        let (payload, bytes) = (frame.payload, frame.bytes);
        Self { seq, code: kind, kind: Kind::from_code(kind), cause, mono, wall, clock_error, payload, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(salt: u32, payload: &[u8]) -> Vec<u8> {
        let place = Place { seq: Seq(7), cause: Seq(3), wall: Wall::from_nanos(9), ..Place::default() };
        let mut bytes = Header::new(salt, 102, place, payload).as_bytes().to_vec();
        bytes.extend_from_slice(payload);
        bytes.resize(size(payload.len()), 0);
        bytes
    }

    #[test]
    fn every_single_bit_is_guarded() {
        for payload in [&b""[..], b"x", b"sixteen bytes ok", &[7; 100]] {
            let sound = frame(1, payload);
            assert_eq!(read(&sound, 1).unwrap().unwrap().payload, payload);
            for bit in 0..sound.len() * 8 {
                let mut spoilt = sound.clone();
                spoilt[bit / 8] ^= 1 << (bit % 8);
                assert!(read(&spoilt, 1).is_err(), "bit {bit} of {} bytes", sound.len());
            }
        }
    }

    #[test]
    fn another_segments_bytes_are_no_record() {
        assert_eq!(read(&frame(1, b"fact"), 2), Err(Flaw::Checksum));
    }

    #[test]
    fn any_bytes_of_any_length_are_judged_without_a_panic() {
        for len in 0..200 {
            assert_eq!(read(&vec![0; len], 0), Ok(None));
            assert!(read(&vec![0xff; len], 0).is_err() || len == 0);
        }
        assert_eq!(read(&frame(1, &[1; 64])[..96], 1), Err(Flaw::Length));
    }
}

//! CRC-32C of short pieces, one after the other: what every append and every read waits for.
//!
//! The well-kept crate is the twin, takes what is long, and is alone where the CPU's own instruction is not known to be
//! there at compile time. It asks the CPU at every call and prepares for buffers of kilobytes; most records have a few
//! hundred bytes.
#![allow(unsafe_code)]

/// From here on the crate's three lanes at once are quicker.
#[cfg(all(target_arch = "x86_64", target_feature = "sse4.2"))]
const LONG: usize = 768;

/// Goes on with the checksum of what came before.
#[must_use]
#[inline]
pub(crate) fn extend(checksum: u32, bytes: &[u8]) -> u32 {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse4.2"))]
    if bytes.len() < LONG {
        // SAFETY: compiled only for CPUs that have the instruction.
        return unsafe { short(checksum, bytes) };
    }
    crc32c::crc32c_append(checksum, bytes)
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse4.2"))]
#[target_feature(enable = "sse4.2")]
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the instruction leaves the upper half zero")]
fn short(checksum: u32, bytes: &[u8]) -> u32 {
    use core::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u32, _mm_crc32_u64};
    let (eights, rest) = bytes.as_chunks::<8>();
    let mut wide = u64::from(!checksum);
    for eight in eights {
        wide = _mm_crc32_u64(wide, u64::from_le_bytes(*eight));
    }
    let (fours, rest) = rest.as_chunks::<4>();
    let mut crc = wide as u32;
    for four in fours {
        crc = _mm_crc32_u32(crc, u32::from_le_bytes(*four));
    }
    for byte in rest {
        crc = _mm_crc32_u8(crc, *byte);
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_crates_whatever_the_length_and_the_start() {
        let bytes: Vec<u8> = (0..5_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for seed in [0, 1, 0xdead_beef, u32::MAX] {
            for (from, len) in (0..9).flat_map(|from| (0..300).chain([767, 768, 4_091]).map(move |len| (from, len))) {
                let piece = &bytes[from..from + len];
                assert_eq!(extend(seed, piece), crc32c::crc32c_append(seed, piece), "{from} {len}");
            }
        }
    }
}

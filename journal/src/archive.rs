//! Sealed segments, compressed: a fifth to a tenth of the space, read like any other.
//!
//! In: a directory, live or not. Out: `0000000007.keel.zst` in place of `0000000007.keel`. Never: a segment that is not
//! sealed, the newest sealed one (recovery goes on from its seal), an original removed before its copy was read back and
//! found equal.

use crate::damage::{Damage, What};
use crate::frames::{Frames, SealPage};
use crate::map::PAGE;
use crate::segment::{self, Head, MAX_BYTES, Misfit};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Speed before size: about 400 MB/s a core.
const LEVEL: i32 = 3;

/// Compresses all sealed segments but the newest `keep` (at least one stays). Returns the numbers of those it did.
pub fn archive(dir: &Path, keep: usize) -> Result<Vec<u32>, Damage> {
    let mut sealed = Vec::new();
    for number in segment::list_plain(dir).map_err(|why| Damage::io(0, &why))? {
        let frames = Frames::open(dir, number)?;
        match frames.seal().map_err(|what| Damage::file(number, what))? {
            SealPage::Sealed(..) => sealed.push(number),
            SealPage::Blank => {}
            SealPage::Spoilt => return Err(Damage::file(number, What::SealPage)),
        }
    }
    sealed.truncate(sealed.len().saturating_sub(keep.max(1)));
    for number in &sealed {
        compress(dir, *number).map_err(|why| Damage::io(*number, &why))?;
    }
    Ok(sealed)
}

/// Compresses one sealed segment where it lies.
pub(crate) fn compress(dir: &Path, number: u32) -> io::Result<()> {
    let (plain, packed) = (segment::path(dir, number), segment::packed_path(dir, number));
    let unfinished = packed.with_extension("zst.tmp");
    let bytes = fs::read(&plain)?;
    let mut encoder = zstd::Encoder::new(File::create(&unfinished)?, LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(bytes.len() as u64))?;
    io::copy(&mut &bytes[..], &mut encoder)?;
    encoder.finish()?.sync_all()?;
    if unpack(File::open(&unfinished)?)?.ok() != Some(bytes) {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    fs::rename(&unfinished, &packed)?;
    File::open(dir)?.sync_all()?;
    fs::remove_file(&plain)?;
    File::open(dir)?.sync_all()
}

/// The bytes of a compressed segment. No more memory is taken than its header declares, whatever the file claims.
pub(crate) fn unpack(file: File) -> io::Result<Result<Vec<u8>, Misfit>> {
    let mut decoder = zstd::Decoder::new(file)?;
    let mut bytes = Vec::with_capacity(PAGE);
    decoder.by_ref().take(PAGE as u64).read_to_end(&mut bytes)?;
    let head = match Head::read(&bytes) {
        Ok((head, _)) => head,
        Err(misfit) => return Ok(Err(misfit)),
    };
    decoder.take(head.bytes.min(MAX_BYTES) + 1 - PAGE as u64).read_to_end(&mut bytes)?;
    Ok(if bytes.len() as u64 == head.bytes { Ok(bytes) } else { Err(Misfit::Truncated) })
}

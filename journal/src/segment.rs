//! One file of the journal: its name, its header page, its seal page, and how it comes into being.
//!
//! In: a directory, a number. Out: a file of fixed size whose every byte is accounted for. Never: a file that exists
//! under its final name before its header is on the medium; a file that grows, shrinks or is used again.
//!
//! ```text
//!  0000000007.keel
//!       0   header    magic "KEELJRNL" | version | number | journal id | bytes | salt | crc       48 bytes
//!     512   watermark turn | seq | offset | zero | crc       two slots, written in turn by the keeper:
//!    1024   watermark                                        everything up to `seq` is on the medium
//!    4096   frames    see `frame`
//!       .   zeros
//!  -4096    seal      one frame of kind Seal once the segment is finished and hashed; zeros before
//! ```
//!
//! Every byte of the header page that is not named above is zero.

use crate::map::{Map, PAGE};
use keel_core::ids::Seq;
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Where frames begin.
pub const FIRST: usize = PAGE;
/// Smallest segment: header, one page of frames, seal.
pub const MIN_BYTES: u64 = 3 * PAGE as u64;
/// Largest segment: offsets are 32 bits wide.
pub const MAX_BYTES: u64 = 1 << 31;
/// Where the two watermarks stand.
pub const WATERMARKS: [usize; 2] = [512, 1024];

const MAGIC: [u8; 8] = *b"KEELJRNL";
const VERSION: u32 = 1;
const SUFFIX: &str = ".keel";
const UNFINISHED: &str = ".keel.tmp";
const PACKED: &str = ".keel.zst";

/// First bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Head {
    magic: [u8; 8],
    version: u32,
    /// Number of the segment, from 1.
    pub number: u32,
    /// The journal it belongs to; random, made with its first segment.
    pub journal: [u8; 16],
    /// Size of the file.
    pub bytes: u64,
    /// Start of every checksum in this segment; random.
    pub salt: u32,
    crc: u32,
}

const _: () = assert!(size_of::<Head>() == 48);

/// Everything up to `seq`, which ends at `offset`, is on the medium. A zero turn means "not written yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Watermark {
    /// Counts up; its parity picks the slot.
    pub turn: u64,
    /// Last durable record; zero when none of this segment is.
    pub seq: Seq,
    /// Where it ends.
    pub offset: u64,
    pad: u32,
    crc: u32,
}

const _: () = assert!(size_of::<Watermark>() == 32);

/// What is wrong with a segment as a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Misfit {
    /// Not a keel segment at all.
    Foreign,
    /// Written by a version this one does not read.
    Version,
    /// A byte of its header page is wrong.
    HeaderPage,
    /// Its length is not what its header says.
    Truncated,
    /// Its name and its header disagree about its number.
    Misnamed,
    /// It belongs to another journal.
    OtherJournal,
}

impl Head {
    /// Of a new segment.
    #[must_use]
    pub fn new(number: u32, journal: [u8; 16], bytes: u64, salt: u32) -> Self {
        let mut head = Self { magic: MAGIC, version: VERSION, number, journal, bytes, salt, crc: 0 };
        head.crc = head.checksum();
        head
    }

    fn checksum(&self) -> u32 {
        crc32c::crc32c(&self.as_bytes()[..core::mem::offset_of!(Self, crc)])
    }

    /// Offset of the seal page, which is where frames end.
    #[must_use]
    pub fn limit(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX) - PAGE
    }

    /// Judges a header page: the head, and the watermarks.
    pub fn read(page: &[u8]) -> Result<(Self, Marks), Misfit> {
        let (head, _) = Self::read_from_prefix(page).map_err(|_| Misfit::Truncated)?;
        if head.magic != MAGIC {
            return Err(Misfit::Foreign);
        }
        if head.crc != head.checksum() {
            return Err(Misfit::HeaderPage);
        }
        if head.version != VERSION {
            return Err(Misfit::Version);
        }
        if head.bytes < MIN_BYTES || head.bytes > MAX_BYTES || !head.bytes.is_multiple_of(PAGE as u64) {
            return Err(Misfit::HeaderPage);
        }
        if page.len() < PAGE {
            return Err(Misfit::Truncated);
        }
        let used = |at: usize| at < size_of::<Self>() || WATERMARKS.iter().any(|slot| (*slot..slot + 32).contains(&at));
        if page[..PAGE].iter().enumerate().any(|(at, byte)| *byte != 0 && !used(at)) {
            return Err(Misfit::HeaderPage);
        }
        let mut marks = Marks::default();
        for (parity, slot) in WATERMARKS.into_iter().enumerate() {
            let (mark, _) = Watermark::read_from_prefix(&page[slot..]).map_err(|_| Misfit::HeaderPage)?;
            let sound = mark.crc == mark.checksum(head.salt) && mark.turn % 2 == parity as u64;
            marks.slots[parity] = (mark == Watermark::default() || sound).then_some(mark);
        }
        Ok((head, marks))
    }
}

/// Both watermarks of a segment; `None` where one was not written to its end. That may happen to one of them when the
/// process dies; the other one then stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    slots: [Option<Watermark>; 2],
}

impl Default for Marks {
    fn default() -> Self {
        Self { slots: [Some(Watermark::default()); 2] }
    }
}

impl Marks {
    /// The newest sound one.
    #[must_use]
    pub fn newest(&self) -> Watermark {
        let [even, odd] = self.slots.map(Option::unwrap_or_default);
        if even.turn > odd.turn { even } else { odd }
    }

    /// One was not written to its end.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.slots.contains(&None)
    }

    /// Do both say that everything up to `seq`, which ends at `offset`, is durable? Before a seal they do.
    #[must_use]
    pub fn pin(&self, seq: Seq, offset: u64) -> bool {
        let [Some(even), Some(odd)] = self.slots else { return false };
        let end = |mark: Watermark| mark.seq == seq && mark.offset == offset && mark.turn > 0;
        end(even) && end(odd) && even.turn.abs_diff(odd.turn) == 1
    }
}

impl Watermark {
    /// The next one after `self`.
    #[must_use]
    pub fn next(&self, salt: u32, seq: Seq, offset: u64) -> Self {
        let mut mark = Self { turn: self.turn + 1, seq, offset, pad: 0, crc: 0 };
        mark.crc = mark.checksum(salt);
        mark
    }

    fn checksum(&self, salt: u32) -> u32 {
        crc32c::crc32c_append(salt, &self.as_bytes()[..core::mem::offset_of!(Self, crc)])
    }

    /// The slot it belongs in.
    #[must_use]
    pub const fn slot(&self) -> usize {
        WATERMARKS[(self.turn % 2) as usize]
    }
}

/// A segment, mapped.
#[derive(Debug)]
pub struct Segment {
    /// What it is.
    pub head: Head,
    /// Its memory.
    pub map: Map,
}

impl Segment {
    /// Of anonymous memory, for a journal without a file. `bytes` are rounded up to whole pages.
    pub fn in_memory(bytes: usize) -> io::Result<Self> {
        let bytes = bytes.next_multiple_of(PAGE).max(PAGE) + 2 * PAGE;
        let head = Head::new(1, [0; 16], bytes as u64, 0);
        let map = Map::anonymous(bytes)?;
        map.store(0, head.as_bytes());
        map.populate(0, bytes)?;
        Ok(Self { head, map })
    }

    /// Maps a file whose header was judged already.
    pub fn map(dir: &Path, head: Head) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path(dir, head.number))?;
        let bytes = usize::try_from(head.bytes).map_err(io::Error::other)?;
        if file.metadata()?.len() != head.bytes {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        Ok(Self { head, map: Map::file(&file, bytes)? })
    }

    /// Creates the file: all its space is taken and its header is on the medium before it gets its name.
    pub fn create(dir: &Path, number: u32, journal: [u8; 16], bytes: u64) -> io::Result<Self> {
        let head = Head::new(number, journal, bytes, u32::from_le_bytes(random()?));
        let unfinished = dir.join(format!("{number:010}{UNFINISHED}"));
        let made = (|| {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&unfinished)?;
            fallocate(&file, FallocateFlags::empty(), 0, bytes)?;
            file.write_all_at(head.as_bytes(), 0)?;
            file.sync_all()?;
            fs::rename(&unfinished, path(dir, number))?;
            File::open(dir)?.sync_all()?;
            Self::map(dir, head)
        })();
        if made.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        made
    }

    /// Gives back the space between the last frame and the seal; it reads as zeros.
    pub fn punch(&self, dir: &Path, from: usize) -> io::Result<()> {
        let (from, to) = (from.next_multiple_of(PAGE), self.head.limit());
        if from < to {
            let file = OpenOptions::new().write(true).open(path(dir, self.head.number))?;
            fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, from as u64, (to - from) as u64)?;
        }
        Ok(())
    }
}

/// The file of a segment.
#[must_use]
pub fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(name(number))
}

/// The name of a segment's file.
#[must_use]
pub fn name(number: u32) -> String {
    format!("{number:010}{SUFFIX}")
}

/// The file of a compressed segment.
#[must_use]
pub fn packed_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:010}{PACKED}"))
}

/// Is the segment there, in either form?
#[must_use]
pub fn exists(dir: &Path, number: u32) -> bool {
    path(dir, number).exists() || packed_path(dir, number).exists()
}

/// Numbers of the segments in a directory, ascending. Files with other names are not ours to judge.
pub fn list(dir: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = list_suffix(dir, PACKED)?;
    numbers.extend(list_plain(dir)?);
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

/// The same without the compressed ones.
pub fn list_plain(dir: &Path) -> io::Result<Vec<u32>> {
    list_suffix(dir, SUFFIX)
}

fn list_suffix(dir: &Path, suffix: &str) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let file = entry?.file_name();
        let Some(stem) = file.to_str().and_then(|name| name.strip_suffix(suffix)) else { continue };
        numbers.extend(stem.parse().ok().filter(|number: &u32| *number > 0 && stem == format!("{number:010}")));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes what a run that died while creating a segment left behind.
pub fn sweep(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.ends_with(UNFINISHED)) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Random bytes for ids and salts.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

//! Memory that is a file: the one place of this room that touches raw pointers.
//!
//! In: an open file of known length, or nothing (anonymous memory). Out: appends that become visible at once or not at
//! all, and views of what was committed. Never: a store outside the mapping, a view of bytes that may still change.
//!
//! ```text
//!  [ header page | frame frame frame | being written ... zeros ... | seal page ]
//!                                    ^ commit word: 0 until the frame stands
//! ```
//!
//! Contract of the unsafe code: one thread appends ([`Map::append`] is for the writer alone), everyone else reads frames
//! whose commit word they loaded as non-zero, or pages the writer has left for good. A committed byte never changes, unless
//! someone cuts the file short: then it reads as zero, and [`Map::lost`] says so.
#![allow(unsafe_code)]

use crate::bus::Guard;
use crate::frame::{HEADER, Header, size};
use memmap2::{MmapMut, MmapOptions, MmapRaw};
use rustix::mm::{Advice, madvise};
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};
use zerocopy::IntoBytes;

/// Page size keel counts in. A multiple of it is asked of every segment, so larger hardware pages are refused by mmap.
pub(crate) const PAGE: usize = 4096;

/// A mapping of fixed length.
#[derive(Debug)]
pub struct Map {
    /// For files: what happens when someone cuts one short. Dropped before the mapping.
    guard: Option<Guard>,
    raw: MmapRaw,
}

impl Map {
    /// Maps the whole of `file` for reading and writing; its length must not change afterwards.
    pub fn file(file: &File, len: usize) -> io::Result<Self> {
        let raw = MmapOptions::new().len(len).map_raw(file)?;
        // no readahead: it builds large folios, and syncing any page of one protects all of it, the writer's page too
        raw.advise(memmap2::Advice::Random)?;
        Ok(Self { guard: Some(Guard::new(raw.as_ptr().addr(), len)?), raw })
    }

    /// Anonymous zeroed memory.
    pub fn anonymous(len: usize) -> io::Result<Self> {
        Ok(Self { guard: None, raw: MmapRaw::from(MmapMut::map_anon(len)?) })
    }

    /// Bytes mapped.
    #[must_use]
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// A page was touched that had no file behind it any more: what was stored there is gone.
    #[inline]
    #[must_use]
    pub fn lost(&self) -> bool {
        self.guard.as_ref().is_some_and(Guard::lost)
    }

    /// Writes a frame at `at`, commit word last. For the one writer.
    #[inline]
    pub fn append(&self, at: usize, header: &Header, payload: &[u8]) {
        assert!(at.is_multiple_of(crate::frame::ALIGN) && at + size(payload.len()) <= self.len());
        let from = header.as_bytes();
        // SAFETY: the assertion keeps every store inside the mapping; `at` is a multiple of 32 and the mapping is page
        // aligned, so the two words are aligned; only the writer stores here, and no reader looks past a commit word of
        // zero. The fence keeps the sequence number the first store, so that recovery knows a torn append by it.
        unsafe {
            let base = self.raw.as_mut_ptr().add(at);
            AtomicU64::from_ptr(base.add(8).cast()).store(header.seq.0, Ordering::Relaxed);
            compiler_fence(Ordering::Release);
            base.add(16).copy_from_nonoverlapping(from.as_ptr().add(16), HEADER - 16);
            base.add(HEADER).copy_from_nonoverlapping(payload.as_ptr(), payload.len());
            AtomicU64::from_ptr(base.cast()).store(header.commit_word(), Ordering::Release);
        }
    }

    /// Asks the CPU for the lines of a range that will be stored to next. A hint: it changes nothing and may do nothing.
    #[inline]
    pub fn prefetch(&self, at: usize, len: usize) {
        let end = self.len().min(at + len);
        for line in (at..end).step_by(64) {
            let line = self.raw.as_mut_ptr().wrapping_add(line).cast_const().cast::<i8>();
            // SAFETY: a prefetch touches no memory, whatever the address.
            #[cfg(target_arch = "x86_64")]
            unsafe {
                core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_ET0 }>(line);
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = line;
        }
    }

    /// Has a frame been committed at `at`?
    #[must_use]
    pub fn committed(&self, at: usize) -> bool {
        assert!(at.is_multiple_of(8) && at + 8 <= self.len());
        // SAFETY: inside the mapping and aligned by the assertion.
        unsafe { AtomicU64::from_ptr(self.raw.as_mut_ptr().add(at).cast()).load(Ordering::Acquire) != 0 }
    }

    /// Bytes that will not change any more: committed frames, or anything once the writer has left the segment.
    #[must_use]
    pub fn settled(&self, from: usize, to: usize) -> &[u8] {
        assert!(from <= to && to <= self.len());
        // SAFETY: inside the mapping; the caller asks only for settled bytes, see the contract above.
        unsafe { std::slice::from_raw_parts(self.raw.as_ptr().add(from), to - from) }
    }

    /// Stores `bytes` at `at`: pages the writer never touches (header, seal), or a segment nobody writes yet.
    pub fn store(&self, at: usize, bytes: &[u8]) {
        assert!(at <= self.len() && bytes.len() <= self.len() - at);
        // SAFETY: inside the mapping; the keeper is the only one who stores to these places.
        unsafe { self.raw.as_mut_ptr().add(at).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
    }

    /// Makes the pages of a range present and writable, so that the writer's stores do not trap.
    pub fn populate(&self, from: usize, to: usize) -> io::Result<()> {
        let (from, to) = (from - from % PAGE, to.min(self.len()));
        if from >= to {
            return Ok(());
        }
        // SAFETY: the range lies inside the mapping; populating changes no byte.
        unsafe { madvise(self.raw.as_mut_ptr().add(from).cast(), to - from, Advice::LinuxPopulateWrite)? };
        Ok(())
    }

    /// Gives up the pages of a range the writer has left for good; who reads there gets them again, as they are. Syncing
    /// protects what is mapped for writing page by page, and each page interrupts the writer's CPU; this interrupts it once.
    pub fn leave(&self, from: usize, to: usize) -> io::Result<()> {
        let (from, to) = (from.next_multiple_of(PAGE), to.min(self.len()) / PAGE * PAGE);
        if self.guard.is_none() || from >= to {
            return Ok(());
        }
        // SAFETY: the range lies inside the mapping of a file, whose bytes stay in the file: a later access maps them again.
        unsafe { madvise(self.raw.as_mut_ptr().add(from).cast(), to - from, Advice::LinuxDontNeed)? };
        Ok(())
    }

    /// Waits until a range is on the medium.
    pub fn sync(&self, from: usize, to: usize) -> io::Result<()> {
        if from < to {
            self.raw.flush_range(from, to - from)?;
        }
        if self.lost() { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) } else { Ok(()) }
    }
}

//! Reading a journal, live or closed, from another thread, process or machine.
//!
//! In: a directory. Out: entries in order, across segments; `None` at the end, and more on a later call when a writer is
//! at work. Never: a mapping, a lock, a write, a guess: what does not fit is an exact [`Damage`].
//!
//! ```
//! # fn main() -> Result<(), keel_journal::Damage> {
//! # let dir = tempfile::tempdir().unwrap();
//! # drop(keel_journal::Writer::open(dir.path(), keel_journal::Options { segment_bytes: 12288, ..Default::default() }));
//! let mut reader = keel_journal::Reader::open(dir.path())?;
//! while let Some(entry) = reader.poll()? {
//!     println!("{} {:?}", entry.seq.0, entry.kind);
//! }
//! # Ok(())
//! # }
//! ```

use crate::damage::{Damage, What};
use crate::frame::Entry;
use crate::frames::{Expect, Frames, SealPage};
use crate::segment::{self, FIRST};
use keel_core::ids::Seq;
use keel_core::units::Wall;
use std::path::{Path, PathBuf};

/// A cursor over a journal.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    frames: Option<Frames>,
    /// Unknown until the first record.
    expect: Option<Expect>,
}

impl Reader {
    /// At the oldest record.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, Damage> {
        let dir = dir.as_ref().to_path_buf();
        std::fs::read_dir(&dir).map_err(|why| Damage::io(0, &why))?;
        let mut reader = Self { dir, frames: None, expect: None };
        reader.begin()?;
        Ok(reader)
    }

    /// At record `seq`, or at the oldest one there is when that is later.
    pub fn open_at(dir: impl AsRef<Path>, seq: Seq) -> Result<Self, Damage> {
        let mut reader = Self::open_where(dir, |first, _| first <= seq)?;
        while reader.next_seq().is_some_and(|next| next < seq) && reader.poll()?.is_some() {}
        Ok(reader)
    }

    /// At the first record of the newest segment that begins before `wall`, or at the oldest one there is: no record at or
    /// after `wall` stands before it.
    pub fn open_before(dir: impl AsRef<Path>, wall: Wall) -> Result<Self, Damage> {
        Self::open_where(dir, |_, first| first < wall)
    }

    /// At the first record of the newest segment whose first record is early enough.
    fn open_where(dir: impl AsRef<Path>, early: impl Fn(Seq, Wall) -> bool) -> Result<Self, Damage> {
        let mut reader = Self::open(dir)?;
        let numbers = segment::list(&reader.dir).map_err(|why| Damage::io(0, &why))?;
        for number in numbers.into_iter().rev() {
            let mut frames = Frames::open(&reader.dir, number)?;
            let first = frames.step().map_err(|what| Damage { offset: FIRST as u64, ..Damage::file(number, what) })?;
            let Some((first, wall)) = first.map(|frame| (frame.header.seq, frame.header.wall)) else { continue };
            frames.seek(FIRST);
            reader.expect = Some(Expect { seq: first, wall: Wall::from_nanos(0) });
            reader.frames = Some(frames);
            if early(first, wall) {
                break;
            }
        }
        Ok(reader)
    }

    /// The record [`Self::poll`] will give next, once known.
    #[must_use]
    pub fn next_seq(&self) -> Option<Seq> {
        self.expect.map(|expect| expect.seq)
    }

    /// The next record; `None` where there is none yet. After an error every further call gives the same error.
    #[inline]
    pub fn poll(&mut self) -> Result<Option<Entry<'_>>, Damage> {
        Ok(if self.advance()? { self.last() } else { None })
    }

    /// Steps over the next record, which [`Self::last`] gives then; false where [`Self::poll`] gives `None`.
    #[inline]
    pub fn advance(&mut self) -> Result<bool, Damage> {
        Ok(self.step() || self.find()?)
    }

    /// The record stepped over last, until the next one is asked for.
    #[inline]
    #[must_use]
    pub fn last(&self) -> Option<Entry<'_>> {
        Some(self.frames.as_ref()?.last()?.into())
    }

    /// Steps over the next frame if it was read before, is sound and follows; whatever else it is takes a closer look.
    #[inline]
    fn step(&mut self) -> bool {
        let (Some(frames), Some(expect)) = (&mut self.frames, &mut self.expect) else { return false };
        let Some(frame) = frames.ready() else { return false };
        let size = frame.size();
        if expect.take(&frame.header).is_err() {
            return false;
        }
        frames.pass(size);
        true
    }

    /// The same, wherever it is; false where there is none.
    #[cold]
    fn find(&mut self) -> Result<bool, Damage> {
        if !self.reach()? {
            return Ok(false);
        }
        let Some(frames) = &mut self.frames else { return Ok(false) };
        let Some(header) = frames.last().map(|frame| frame.header) else { return Ok(false) };
        let first = Expect { seq: header.seq, wall: Wall::from_nanos(0) };
        let expect = self.expect.get_or_insert(first);
        let (segment, expected, at) = (frames.head.number, expect.seq, frames.last_at());
        if let Err(what) = expect.take(&header) {
            frames.seek(at);
            return Err(Damage { segment, offset: at as u64, seq: expected, what });
        }
        Ok(true)
    }

    fn begin(&mut self) -> Result<(), Damage> {
        let numbers = segment::list(&self.dir).map_err(|why| Damage::io(0, &why))?;
        if let Some(first) = numbers.first() {
            self.frames = Some(Frames::open(&self.dir, *first)?);
        }
        Ok(())
    }

    /// Steps over the next frame, here or in the next segment, whether it follows or not.
    fn reach(&mut self) -> Result<bool, Damage> {
        if self.frames.is_none() {
            self.begin()?;
        }
        if self.find_here()? {
            return Ok(true);
        }
        let Some(number) = self.frames.as_ref().map(|frames| frames.head.number) else { return Ok(false) };
        if !segment::exists(&self.dir, number + 1) {
            return self.end();
        }
        let mut next = Frames::open(&self.dir, number + 1)?;
        if !standing(&mut next)? {
            return self.end();
        }
        // the writer may have filled this one and moved on between the two looks
        if self.find_here()? {
            return Ok(true);
        }
        self.frames = Some(next);
        self.find_here()
    }

    fn find_here(&mut self) -> Result<bool, Damage> {
        let Some(frames) = &mut self.frames else { return Ok(false) };
        let (segment, at) = (frames.head.number, frames.at());
        let seq = self.expect.map_or(Seq::NONE, |expect| expect.seq);
        match frames.find() {
            Ok(found) => Ok(found),
            Err(what @ (What::Io(_) | What::File(_))) => Err(Damage::file(segment, what)),
            Err(what) => Err(Damage { segment, offset: at as u64, seq, what }),
        }
    }

    /// Nothing follows. In a sealed segment that must be what the seal says.
    fn end(&self) -> Result<bool, Damage> {
        let Some(frames) = &self.frames else { return Ok(false) };
        let damage = |what| Damage {
            segment: frames.head.number,
            offset: frames.at() as u64,
            seq: self.expect.map_or(Seq::NONE, |expect| expect.seq),
            what,
        };
        match (frames.seal().map_err(damage)?, self.expect) {
            (SealPage::Spoilt, _) => Err(damage(What::SealPage)),
            (SealPage::Sealed(seal, _), Some(expect)) if expect.seq.0 != seal.terms.last.0 + 1 => {
                Err(damage(What::Hole))
            }
            _ => Ok(false),
        }
    }
}

/// Is there a frame where `frames` stands?
fn standing(frames: &mut Frames) -> Result<bool, Damage> {
    let at = frames.at();
    let found = frames.step().map(|frame| frame.is_some());
    frames.seek(at);
    match found {
        Err(what @ (What::Io(_) | What::File(_))) => Err(Damage::file(frames.head.number, what)),
        // a flawed frame stands there all the same: the caller meets it and names it
        Err(_) => Ok(true),
        Ok(found) => Ok(found),
    }
}

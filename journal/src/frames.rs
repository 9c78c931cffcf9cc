//! One segment file, read frame by frame with checked lengths; the file may be live, short, or anything at all.
//!
//! In: a directory and a number. Out: frames in order, or the exact damage. Never: a mapping (a truncated file must be
//! an error, not a signal), a write, a lock. A frame that looks wrong is read again before it is called damage: a live
//! writer may have been half way.

use crate::archive;
use crate::damage::{Damage, What};
use crate::frame::{self, Frame, Header, MAX_FRAME};
use crate::history::Seal;
use crate::map::PAGE;
use crate::segment::{self, FIRST, Head, Marks, Misfit};
use keel_core::event::Kind;
use keel_core::ids::Seq;
use keel_core::units::Wall;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use zerocopy::FromBytes;

/// What is read at once: small enough to be still in the core's own cache when it is judged and used.
const CHUNK: usize = 128 * 1024;
/// Second looks before a frame is called damaged.
const LOOKS: usize = 3;

/// No frame was stepped over.
const NOWHERE: usize = usize::MAX;

/// What the seal page holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SealPage {
    Blank,
    Sealed(Box<Seal>, Wall),
    Spoilt,
}

/// Where the bytes of a segment come from.
#[derive(Debug)]
enum Source {
    Plain(File),
    Unpacked(Vec<u8>),
}

impl Source {
    /// The plain file, or the compressed one; between the two looks the one may become the other.
    fn open(dir: &Path, number: u32) -> Result<Self, Damage> {
        for _ in 0..LOOKS {
            match File::open(segment::path(dir, number)) {
                Ok(file) => return Ok(Self::Plain(file)),
                Err(why) if why.kind() == io::ErrorKind::NotFound => {}
                Err(why) => return Err(Damage::io(number, &why)),
            }
            match File::open(segment::packed_path(dir, number)) {
                Ok(file) => {
                    let unpacked = archive::unpack(file).map_err(|_| Damage::file(number, What::Packed))?;
                    return unpacked.map(Self::Unpacked).map_err(|misfit| Damage::file(number, What::File(misfit)));
                }
                Err(why) if why.kind() == io::ErrorKind::NotFound => {}
                Err(why) => return Err(Damage::io(number, &why)),
            }
        }
        Err(Damage::file(number, What::Missing))
    }

    fn len(&self) -> io::Result<u64> {
        match self {
            Self::Plain(file) => Ok(file.metadata()?.len()),
            Self::Unpacked(bytes) => Ok(bytes.len() as u64),
        }
    }

    /// Fills `buffer` as far as the source goes.
    fn read_at(&self, buffer: &mut [u8], offset: usize) -> io::Result<usize> {
        let file = match self {
            Self::Plain(file) => file,
            Self::Unpacked(bytes) => {
                let rest = bytes.get(offset..).unwrap_or_default();
                let filled = rest.len().min(buffer.len());
                buffer[..filled].copy_from_slice(&rest[..filled]);
                return Ok(filled);
            }
        };
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read_at(&mut buffer[filled..], (offset + filled) as u64) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return Err(why),
            }
        }
        Ok(filled)
    }
}

/// Header and watermarks; looked at again while a mark is being written.
fn header(source: &Source) -> io::Result<Result<(Head, Marks), Misfit>> {
    let mut page = vec![0; PAGE];
    let mut judged = Err(Misfit::Truncated);
    for _ in 0..LOOKS {
        let filled = source.read_at(&mut page, 0)?;
        judged = Head::read(&page[..filled]);
        if judged.is_ok_and(|(_, marks)| !marks.is_torn()) {
            break;
        }
    }
    Ok(judged)
}

/// A segment being read.
#[derive(Debug)]
pub(crate) struct Frames {
    source: Source,
    pub(crate) head: Head,
    /// The watermarks when the segment was opened.
    pub(crate) marks: Marks,
    at: usize,
    /// The frame stepped over last, or [`NOWHERE`].
    last: usize,
    buffer: Vec<u8>,
    start: usize,
}

impl Frames {
    /// Opens and judges header and length.
    pub(crate) fn open(dir: &Path, number: u32) -> Result<Self, Damage> {
        let fault = |why: io::Error| Damage::io(number, &why);
        let misfit = |misfit| Damage::file(number, What::File(misfit));
        let source = Source::open(dir, number)?;
        let (head, marks) = header(&source).map_err(fault)?.map_err(misfit)?;
        if source.len().map_err(fault)? != head.bytes {
            return Err(misfit(Misfit::Truncated));
        }
        if head.number != number {
            return Err(misfit(Misfit::Misnamed));
        }
        Ok(Self { source, head, marks, at: FIRST, last: NOWHERE, buffer: Vec::with_capacity(CHUNK), start: FIRST })
    }

    /// Reads the watermarks anew: a seal seen after the segment was opened was written after marks that were not.
    pub(crate) fn look_again(&mut self) {
        if let Ok(Ok((_, marks))) = header(&self.source) {
            self.marks = marks;
        }
    }

    /// Offset of the next frame.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// Starts over at another frame.
    pub(crate) const fn seek(&mut self, at: usize) {
        (self.at, self.last) = (at, NOWHERE);
    }

    /// The next frame, stepped over; `None` where nothing is committed or the segment is full.
    pub(crate) fn step(&mut self) -> Result<Option<Frame<'_>>, What> {
        Ok(if self.find()? { self.last() } else { None })
    }

    /// Judges the next frame and steps over it: [`Self::last`] gives it. False where [`Self::step`] says `None`.
    pub(crate) fn find(&mut self) -> Result<bool, What> {
        for look in 0..LOOKS {
            let fresh = self.load(look > 0)?;
            match frame::read(self.window(), self.head.salt) {
                Ok(Some(frame)) => {
                    let size = frame.size();
                    self.pass(size);
                    return Ok(true);
                }
                Ok(None) if fresh => return Ok(false),
                Err(flaw) if look + 1 == LOOKS => return Err(What::Frame(flaw)),
                Ok(None) | Err(_) => {}
            }
        }
        Ok(false)
    }

    /// The next frame if all of it was read before and is sound: nearly always. It is not stepped over.
    #[inline]
    pub(crate) fn ready(&self) -> Option<Frame<'_>> {
        let window = self.buffer.get(self.at.checked_sub(self.start)?..)?;
        frame::read(window, self.head.salt).ok()?
    }

    /// Steps over a frame of this size.
    #[inline]
    pub(crate) const fn pass(&mut self, size: usize) {
        self.last = self.at;
        self.at += size;
    }

    /// The frame stepped over last, while it is still here.
    #[inline]
    pub(crate) fn last(&self) -> Option<Frame<'_>> {
        let bytes = self.buffer.get(self.last.checked_sub(self.start)?..)?;
        let (header, _) = Header::read_from_prefix(bytes).ok()?;
        let bytes = bytes.get(..frame::HEADER + header.len as usize)?;
        Some(Frame { header, payload: &bytes[frame::HEADER..], bytes })
    }

    /// Where it stands, or stood.
    pub(crate) const fn last_at(&self) -> usize {
        self.last
    }

    fn window(&self) -> &[u8] {
        &self.buffer[self.at - self.start..]
    }

    /// Makes sure a whole frame is in the buffer; reads anew when asked. Says whether it read.
    fn load(&mut self, again: bool) -> Result<bool, What> {
        let limit = self.head.limit();
        let have = self.start <= self.at && self.at <= self.start + self.buffer.len();
        let enough = have && self.start + self.buffer.len() >= (self.at + MAX_FRAME).min(limit);
        if enough && !again {
            return Ok(false);
        }
        let want = CHUNK.min(limit.saturating_sub(self.at));
        self.buffer.resize(want, 0);
        self.start = self.at;
        let filled = self.source.read_at(&mut self.buffer, self.at).map_err(|why| What::Io(why.kind()))?;
        if filled < want {
            return Err(What::File(Misfit::Truncated));
        }
        Ok(true)
    }

    /// Bytes of the segment between two offsets, in pieces, until `each` says stop.
    pub(crate) fn raw(&self, from: usize, to: usize, mut each: impl FnMut(usize, &[u8]) -> bool) -> Result<(), What> {
        let mut piece = vec![0; CHUNK];
        let mut at = from;
        while at < to {
            let want = CHUNK.min(to - at);
            let filled = self.source.read_at(&mut piece[..want], at).map_err(|why| What::Io(why.kind()))?;
            if filled < want {
                return Err(What::File(Misfit::Truncated));
            }
            if !each(at, &piece[..want]) {
                return Ok(());
            }
            at += want;
        }
        Ok(())
    }

    /// First byte in a range that is not zero.
    pub(crate) fn first_nonzero(&self, from: usize, to: usize) -> Result<Option<usize>, What> {
        let mut found = None;
        self.raw(from, to, |at, piece| {
            found = piece.iter().position(|byte| *byte != 0).map(|offset| at + offset);
            found.is_none()
        })?;
        Ok(found)
    }

    /// The next offset after the current one where a sound frame stands, and its number: to name what a damaged stretch
    /// took with it.
    pub(crate) fn resynchronise(&mut self) -> Result<Option<(usize, Seq)>, What> {
        let limit = self.head.limit();
        let mut at = self.at + frame::ALIGN;
        while at < limit {
            self.at = at;
            self.load(false)?;
            match frame::read(self.window(), self.head.salt) {
                Ok(Some(frame)) => return Ok(Some((at, frame.header.seq))),
                Ok(None) | Err(_) => at += frame::ALIGN,
            }
        }
        Ok(None)
    }

    /// The seal page.
    pub(crate) fn seal(&self) -> Result<SealPage, What> {
        let mut page = vec![0; PAGE];
        let mut found = SealPage::Spoilt;
        for _ in 0..LOOKS {
            let filled = self.source.read_at(&mut page, self.head.limit()).map_err(|why| What::Io(why.kind()))?;
            if filled < PAGE {
                return Err(What::File(Misfit::Truncated));
            }
            found = seal_page(&page, &self.head);
            if found != SealPage::Spoilt {
                break;
            }
        }
        Ok(found)
    }
}

fn seal_page(page: &[u8], head: &Head) -> SealPage {
    match frame::read(page, head.salt) {
        Ok(None) if page.iter().all(|byte| *byte == 0) => SealPage::Blank,
        Ok(Some(frame)) if page[frame.size()..].iter().all(|byte| *byte == 0) => {
            let seal = Seal::read(frame.payload).filter(|seal| {
                let place = frame.header.seq == seal.terms.last && frame.header.kind == Kind::Seal.code();
                let end = usize::try_from(seal.terms.end).unwrap_or(usize::MAX);
                place && seal.terms.journal == head.journal && end > FIRST && end <= head.limit()
            });
            seal.map_or(SealPage::Spoilt, |seal| SealPage::Sealed(Box::new(seal), frame.header.wall))
        }
        Ok(_) | Err(_) => SealPage::Spoilt,
    }
}

/// Where a walk stands: the record that must come next, and the clock it must be later than.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expect {
    pub(crate) seq: Seq,
    pub(crate) wall: Wall,
}

impl Expect {
    /// Checks that the frame with this header comes next, and moves on; else it stays where it is.
    #[inline]
    pub(crate) fn take(&mut self, header: &Header) -> Result<(), What> {
        if header.seq != self.seq {
            return Err(What::Sequence { found: header.seq });
        }
        if header.wall <= self.wall {
            return Err(What::Clock);
        }
        *self = Self { seq: Seq(self.seq.0 + 1), wall: header.wall };
        Ok(())
    }
}

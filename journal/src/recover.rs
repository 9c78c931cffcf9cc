//! Opening a journal that exists: find its exact end, or refuse and say why.
//!
//! In: a directory some process left, in whatever state. Out: the segment to go on writing, the history up to there, and
//! what had to be done. Never: a durable record given up, a byte overwritten that was not first set aside.
//!
//! ```text
//!  sealed sealed sealed | finished, unsealed | active | spare
//!  trusted by their      hashed and sealed    walked    empty
//!  seals                 now
//! ```
//!
//! Three kinds of ends. *Clean*: zeros behind the last record. *Torn*: an append that was cut short; its first store was
//! the next sequence number, its commit word is zero, nothing sound follows: it never happened. *Broken off*: anything
//! else. Below the watermark that is damage and the journal is refused. Above it, it is what a power failure leaves,
//! because pages reach the medium in any order: the journal is cut there, and what is cut is kept beside it.

use crate::damage::{Damage, What};
use crate::frame::{Header, MAX_FRAME, Place};
use crate::frames::{Expect, Frames, SealPage};
use crate::history::{History, Seal, Terms};
use crate::map::PAGE;
use crate::segment::{self, FIRST, Head, Misfit, Segment, Watermark};
use crate::writer::Options;
use keel_core::event::Kind;
use keel_core::ids::Seq;
use keel_core::units::Wall;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use zerocopy::IntoBytes;

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Last record kept.
    pub last: Seq,
    /// An append that was cut short was wiped, or a watermark that was is passed over: it never happened.
    pub torn: bool,
    /// Where the journal was cut, and why; the bytes behind it were set aside under a name ending in `.cut`.
    pub cut: Option<Damage>,
    /// Segments sealed now because the run before could not.
    pub sealed: u32,
}

/// Everything the writer and the keeper start from.
pub(crate) struct Recovered {
    pub(crate) active: Segment,
    pub(crate) spare: Option<Segment>,
    pub(crate) at: usize,
    pub(crate) watermark: Watermark,
    pub(crate) wall: Wall,
    pub(crate) before: History,
    pub(crate) history: History,
    pub(crate) bytes: u64,
    pub(crate) report: Recovery,
}

/// Walks the directory. The caller holds its lock.
pub(crate) fn recover(dir: &Path, options: &Options) -> Result<Recovered, Damage> {
    let fault = |why: io::Error| Damage::io(0, &why);
    segment::sweep(dir).map_err(fault)?;
    let numbers = segment::list_plain(dir).map_err(fault)?;
    let Some((&first, &last)) = numbers.first().zip(numbers.last()) else {
        if let Some(packed) = segment::list(dir).map_err(fault)?.last() {
            return Err(Damage::file(packed + 1, What::Missing));
        }
        return begin(dir, options, 1, segment::random().map_err(fault)?, Walk::new(1));
    };
    let mut segments = Vec::with_capacity(numbers.len());
    for number in first..=last {
        segments.push(Frames::open(dir, number)?);
    }
    let journal = segments[0].head.journal;
    let mut walk = Walk::new(first);
    let mut trusted = 0;
    for frames in &segments {
        if frames.head.journal != journal {
            return Err(Damage::file(frames.head.number, What::File(Misfit::OtherJournal)));
        }
        if !walk.trust(frames)? {
            break;
        }
        trusted += 1;
    }
    let mut active: Option<Walked> = None;
    for frames in &mut segments[trusted..] {
        if walk.report.cut.is_some() {
            walk.set_aside(dir, frames)?;
            continue;
        }
        let before = walk.history.clone();
        let end = walk.walk(dir, frames)?;
        let (head, watermark) = (frames.head, frames.marks.newest());
        let walked = Walked { head, end, watermark, before, after: walk.history.clone(), wall: walk.expect.wall };
        let Some(done) = &active else {
            active = Some(walked);
            continue;
        };
        if end == FIRST {
            continue;
        }
        if done.end == FIRST {
            return Err(Damage {
                segment: done.head.number,
                offset: FIRST as u64,
                seq: done.after.last(),
                what: What::Hole,
            });
        }
        seal_now(dir, done).map_err(|why| Damage::io(done.head.number, &why))?;
        walk.report.sealed += 1;
        active = Some(walked);
    }
    let bytes = segments.iter().map(|frames| frames.head.bytes).sum();
    let Some(Walked { head, end, watermark, before, after, wall }) = active else {
        let mut begun = begin(dir, options, last + 1, journal, walk)?;
        begun.bytes += bytes;
        return Ok(begun);
    };
    let map = |number| {
        let frames = segments.iter().find(|frames: &&Frames| frames.head.number == number);
        let present = frames.filter(|_| segment::path(dir, number).exists());
        present.map(|frames| Segment::map(dir, frames.head).map_err(|why| Damage::io(number, &why))).transpose()
    };
    let active = map(head.number)?.ok_or(Damage::file(head.number, What::Missing))?;
    walk.report.last = after.last();
    let (spare, report) = (map(head.number + 1)?, walk.report);
    Ok(Recovered { active, spare, at: end, watermark, wall, before, history: after, bytes, report })
}

/// A segment walked to its end.
struct Walked {
    head: Head,
    end: usize,
    watermark: Watermark,
    before: History,
    after: History,
    wall: Wall,
}

fn begin(dir: &Path, options: &Options, number: u32, journal: [u8; 16], walk: Walk) -> Result<Recovered, Damage> {
    let bytes = options.segment_bytes;
    let active = Segment::create(dir, number, journal, bytes).map_err(|why| Damage::io(number, &why))?;
    let report = Recovery { last: walk.history.last(), ..walk.report };
    Ok(Recovered {
        active,
        spare: None,
        at: FIRST,
        watermark: Watermark::default(),
        wall: walk.expect.wall,
        before: walk.history.clone(),
        history: walk.history,
        bytes,
        report,
    })
}

/// The state of a walk over segments in order.
struct Walk {
    history: History,
    expect: Expect,
    anchored: bool,
    report: Recovery,
}

impl Walk {
    /// A journal whose oldest segments were dropped by retention begins in the middle: its first seal is believed.
    fn new(first: u32) -> Self {
        let expect = Expect { seq: Seq(1), wall: Wall::from_nanos(0) };
        Self { history: History::new(), expect, anchored: first == 1, report: Recovery::default() }
    }

    /// Steps over a sealed segment by its seal; `false` when it is not sealed.
    fn trust(&mut self, frames: &Frames) -> Result<bool, Damage> {
        let (number, offset) = (frames.head.number, frames.head.limit() as u64);
        let damage = |what| Damage { segment: number, offset, seq: Seq::NONE, what };
        let (seal, wall) = match frames.seal().map_err(damage)? {
            SealPage::Sealed(seal, wall) => (seal, wall),
            SealPage::Blank if self.anchored => return Ok(false),
            SealPage::Blank => return Err(damage(What::Missing)),
            SealPage::Spoilt => return Err(damage(What::SealPage)),
        };
        if self.anchored && !seal.continues(&self.history) {
            return Err(damage(What::SealOutOfChain));
        }
        self.anchored = true;
        self.history = seal.after();
        self.expect = Expect { seq: Seq(self.history.last().0 + 1), wall };
        Ok(true)
    }

    /// Walks an unsealed segment to its end, mending what a dead run may leave. Returns where the next record goes.
    fn walk(&mut self, dir: &Path, frames: &mut Frames) -> Result<usize, Damage> {
        match frames.seal() {
            Ok(SealPage::Blank) => {}
            Ok(_) => return Err(Damage::file(frames.head.number, What::Unsealed)),
            Err(what) => return Err(Damage::file(frames.head.number, what)),
        }
        loop {
            let at = frames.at();
            let found = frames.step().and_then(|frame| match frame {
                Some(frame) => self.expect.take(&frame.header).map(|()| {
                    self.history.absorb(frame.bytes);
                    true
                }),
                None => Ok(false),
            });
            match found {
                Ok(true) => {}
                Ok(false) => return self.end(dir, frames, at),
                Err(what @ (What::Io(_) | What::File(_))) => return Err(Damage::file(frames.head.number, what)),
                Err(what) => return self.cut(dir, frames, at, what),
            }
        }
    }

    /// Nothing is committed at `at`: is that the end?
    fn end(&mut self, dir: &Path, frames: &mut Frames, at: usize) -> Result<usize, Damage> {
        let number = frames.head.number;
        let whole = |what| Damage::file(number, what);
        self.report.torn |= frames.marks.is_torn();
        if frames.marks.newest().seq >= self.expect.seq {
            return Err(self.here(number, at, What::BelowWatermark));
        }
        match tail(frames, at, self.expect.seq).map_err(whole)? {
            Tail::Clean => {}
            Tail::Torn => {
                wipe(dir, frames.head, at).map_err(|why| Damage::io(number, &why))?;
                self.report.torn = true;
            }
            Tail::Dirty(what, _) => return self.cut(dir, frames, at, what),
        }
        Ok(at)
    }

    fn cut(&mut self, dir: &Path, frames: &Frames, at: usize, what: What) -> Result<usize, Damage> {
        let (number, damage) = (frames.head.number, self.here(frames.head.number, at, what));
        if frames.marks.newest().seq >= self.expect.seq {
            return Err(damage);
        }
        keep(dir, frames, at).and_then(|()| wipe(dir, frames.head, at)).map_err(|why| Damage::io(number, &why))?;
        self.report.cut = Some(damage);
        Ok(at)
    }

    /// A segment behind the cut: durable records in it mean damage, others are set aside.
    fn set_aside(&mut self, dir: &Path, frames: &Frames) -> Result<(), Damage> {
        let number = frames.head.number;
        if frames.marks.newest().seq >= self.expect.seq || frames.seal() != Ok(SealPage::Blank) {
            return Err(self.report.cut.unwrap_or(Damage::file(number, What::BelowWatermark)));
        }
        let file = segment::path(dir, number);
        fs::rename(&file, unused(&file)).map_err(|why| Damage::io(number, &why))
    }

    fn here(&self, segment: u32, at: usize, what: What) -> Damage {
        Damage { segment, offset: at as u64, seq: self.expect.seq, what }
    }
}

/// What stands behind the last committed record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Zeros.
    Clean,
    /// An append cut short, or under way.
    Torn,
    /// Something else, first at this offset.
    Dirty(What, usize),
}

/// Judges the bytes from `at`, where nothing is committed and record `next` would go, to the seal page.
pub(crate) fn tail(frames: &mut Frames, at: usize, next: Seq) -> Result<Tail, What> {
    let limit = frames.head.limit();
    let Some(dirty) = frames.first_nonzero(at, limit)? else { return Ok(Tail::Clean) };
    let mut number = 0;
    frames.raw(at, (at + 16).min(limit), |_, piece| {
        number = piece.get(8..16).and_then(|word| word.try_into().ok()).map_or(0, u64::from_le_bytes);
        false
    })?;
    let beyond = frames.first_nonzero((at + MAX_FRAME).min(limit), limit)?;
    frames.seek(at);
    let sound = frames.resynchronise()?;
    frames.seek(at);
    Ok(match (sound, beyond) {
        (Some(_), _) => Tail::Dirty(What::Hole, dirty),
        (None, None) if number == next.0 => Tail::Torn,
        (None, _) => Tail::Dirty(What::Tail, dirty),
    })
}

/// Zeros a segment from `at` to its end.
fn wipe(dir: &Path, head: Head, at: usize) -> io::Result<()> {
    let segment = Segment::map(dir, head)?;
    let zeros = [0; PAGE];
    let mut from = at;
    while from < head.limit() {
        let to = (from + PAGE).min(head.limit());
        if segment.map.settled(from, to).iter().any(|byte| *byte != 0) {
            segment.map.store(from, &zeros[..to - from]);
        }
        from = to;
    }
    segment.map.sync(0, segment.map.len())
}

/// Copies what a cut takes away into a file of its own.
fn keep(dir: &Path, frames: &Frames, at: usize) -> io::Result<()> {
    let mut file = File::create_new(unused(&segment::path(dir, frames.head.number)))?;
    let mut written = Ok(());
    frames
        .raw(at, frames.head.limit(), |_, piece| {
            written = file.write_all(piece);
            written.is_ok()
        })
        .map_err(|what| io::Error::other(what.to_string()))?;
    written?;
    file.sync_all()
}

/// A name beside `file` that nobody uses yet.
fn unused(file: &Path) -> std::path::PathBuf {
    let mut count = 1u32;
    loop {
        let candidate = file.with_extension(format!("keel.{count}.cut"));
        if !candidate.exists() {
            return candidate;
        }
        count += 1;
    }
}

/// Seals a finished segment the run before could not seal.
fn seal_now(dir: &Path, done: &Walked) -> io::Result<()> {
    let segment = Segment::map(dir, done.head)?;
    segment.map.sync(0, segment.map.len())?;
    let seal = Seal::new(done.head.journal, &done.before, &done.after, done.end as u64);
    write_seal(&segment, &seal, done.watermark, done.wall)
}

/// Pins the end with both watermarks, then writes the seal, and waits until each is on the medium. The frames are.
pub(crate) fn write_seal(segment: &Segment, seal: &Seal, newest: Watermark, wall: Wall) -> io::Result<()> {
    let Terms { first, last, end, .. } = seal.terms;
    let one = newest.next(segment.head.salt, last, end);
    for mark in [one, one.next(segment.head.salt, last, end)] {
        segment.map.store(mark.slot(), mark.as_bytes());
    }
    segment.map.sync(0, PAGE)?;
    let payload = seal.to_bytes();
    let place = Place { seq: last, wall, cause: first, ..Place::default() };
    let header = Header::new(segment.head.salt, Kind::Seal.code(), place, &payload);
    segment.map.append(segment.head.limit(), &header, &payload);
    segment.map.sync(segment.head.limit(), segment.map.len())
}

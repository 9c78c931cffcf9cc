//! Everything about the journal that takes time, on a thread that has some.
//!
//! In: the writer's position. Out: pages ready ahead of it, pages on the medium behind it, the next segment, hashes,
//! seals. Never: anything the writer waits for; a page synced that the writer may be storing to, except the last one
//! after a pause.
//!
//! ```text
//!   [ sealed ] [ finished: sync, hash, seal ] [ hashed | synced | open page | populated .... ] [ spare ]
//!                                                               ^ writer
//! ```
//!
//! Why a window and not the whole segment: a populated page is write-protected again when the kernel writes it back
//! after its expiry, so readiness must be renewed near the writer, every second. Why wider for a quick writer: a flooded disk
//! holds the keeper up for as long as it likes, and the writer must not reach the window's end meanwhile. Why whole pages
//! only: syncing a page protects it, and the writer's next store there would trap.
//!
//! After an error of the medium nothing is tried again: the kernel may have dropped the pages it could not write, and a
//! second sync would "succeed". The journal is broken until a restart has read it again.

use crate::frame;
use crate::history::{History, Seal};
use crate::map::PAGE;
use crate::recover::{Recovered, Recovery, write_seal};
use crate::segment::{FIRST, Head, Segment, Watermark};
use crate::writer::{BROKEN, Gauge, LOW, Options, Shared, Writer};
use keel_core::agent::Agent;
use keel_core::ids::Seq;
use keel_core::ring::Producer;
use keel_core::units::{Mono, Now, Wall};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Records hashed in one duty: about a millisecond.
const HASH_BATCH: usize = 2048;
/// Bytes synced in one duty: readiness ahead of the writer must not wait long for the disk.
const SYNC_BATCH: usize = 1 << 20;
/// Having dealt with everything, it lets more gather for this long, or for half of what a record may wait if that is less.
/// A sync costs the medium much the same for one page and for fifty, and each interrupts the writer's CPU, whose view of
/// the pages changes.
const GATHER_NANOS: u64 = 20_000_000;
/// How often readiness is renewed, and a full disk asked again.
const RENEW_NANOS: u64 = 1_000_000_000;
/// How long the disk may hold the keeper up before a writer that goes on at its pace meets pages that are not ready.
const HELD_UP_NANOS: u64 = 300_000_000;
/// A window is at most so many times the one asked for.
const WIDEST: usize = 4;

/// A place in the frames.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    number: u32,
    at: usize,
}

/// The agent of the cold thread.
#[derive(Debug)]
pub struct Keeper {
    dir: PathBuf,
    options: Options,
    shared: Arc<Shared>,
    give: Producer<Arc<Segment>>,
    /// From the oldest unsealed to the spare, in order.
    segments: VecDeque<Arc<Segment>>,
    bytes: u64,
    recovery: Recovery,
    /// Everything before it is on the medium.
    synced: Cursor,
    /// The last record whose end lies before `synced`.
    durable: (Cursor, Seq),
    watermark: Watermark,
    /// Everything before it is in `history`.
    hashed: Cursor,
    before: History,
    history: History,
    wall: Wall,
    populated: Cursor,
    /// Bytes of it, and when and where it began.
    window: usize,
    begun: (Mono, Cursor),
    renewed: Option<Mono>,
    progressed: Mono,
    /// When everything was dealt with, and up to where.
    rested: (Mono, Cursor),
    failure: Option<io::ErrorKind>,
}

impl Keeper {
    pub(crate) fn new(
        dir: &Path,
        options: Options,
        found: Recovered,
        shared: Arc<Shared>,
        give: Producer<Arc<Segment>>,
    ) -> io::Result<Self> {
        let Recovered { active, spare, at, watermark, wall, before, history, bytes, report } = found;
        active.map.sync(0, active.map.len())?;
        let here = Cursor { number: active.head.number, at };
        shared.durable.store(history.last().0, Ordering::Release);
        shared.sealed.store(before.last().0, Ordering::Release);
        let mut keeper = Self {
            dir: dir.to_path_buf(),
            options,
            shared,
            give,
            segments: VecDeque::from([Arc::new(active)]),
            bytes,
            recovery: report,
            synced: Cursor { at: at - at % PAGE, ..here },
            durable: (here, history.last()),
            watermark,
            hashed: here,
            before,
            history,
            wall,
            populated: here,
            window: options.prefault_bytes,
            begun: (Mono::from_nanos(0), here),
            renewed: None,
            progressed: Mono::from_nanos(0),
            rested: (Mono::from_nanos(0), here),
            failure: None,
        };
        keeper.populate_ahead(here)?;
        match spare {
            Some(spare) => keeper.adopt(spare)?,
            None => keeper.prepare(here.number)?,
        }
        Ok(keeper)
    }

    pub(crate) fn active(&self) -> Arc<Segment> {
        Arc::clone(&self.segments[0])
    }

    /// What opening found and did.
    #[must_use]
    pub const fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// The error that broke the journal; `Other` when the writer met it first.
    #[must_use]
    pub const fn failure(&self) -> Option<io::ErrorKind> {
        self.failure
    }

    /// A view for others.
    #[must_use]
    pub fn gauge(&self) -> Gauge {
        Gauge::new(Arc::clone(&self.shared))
    }

    /// Ends in good order: syncs, hashes and seals everything. The next opening begins a new segment.
    pub fn finish(mut self, writer: Writer) -> io::Result<()> {
        drop(writer);
        if let Some(kind) = self.failure {
            return Err(io::Error::from(kind));
        }
        let (number, at) = self.shared.position();
        while self.sync(Mono::from_nanos(u64::MAX), number, at)?
            + self.hash(number, at)?
            + self.seal_finished(number)?
            > 0
        {}
        if self.hashed.at > FIRST { self.seal(0, self.hashed.at) } else { Ok(()) }
    }

    fn work(&mut self, now: Now) -> io::Result<usize> {
        let (number, at) = self.shared.position();
        let here = Cursor { number, at };
        let mut work = 0;
        let renew = self.renewed.is_none_or(|then| now.mono.since(then) >= RENEW_NANOS);
        let short = self.populated.number != number || self.populated.at < at + self.window / 2;
        if renew || short {
            self.pace(now.mono, here);
            self.populate_ahead(here)?;
            work += 1;
        }
        if self.newest() == number && (renew || self.shared.trouble() != LOW) {
            self.prepare(number)?;
            work += 1;
        }
        if renew {
            self.renewed = Some(now.mono);
        }
        work += self.catch_up(now.mono, here)?;
        if self.segments.iter().any(|segment| segment.map.lost()) {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        Ok(work)
    }

    /// Syncs, hashes and seals what the writer left behind, and then lets more of it gather.
    fn catch_up(&mut self, now: Mono, here: Cursor) -> io::Result<usize> {
        let (rested, done) = self.rested;
        let gather = GATHER_NANOS.min(self.options.sync_nanos / 2);
        if now.since(rested) < gather && here.number == done.number && here.at - done.at < SYNC_BATCH {
            return Ok(0);
        }
        let work = self.sync(now, here.number, here.at)? + self.hash(here.number, here.at)?;
        let work = work + self.seal_finished(here.number)?;
        if work == 0 {
            self.rested = (now, here);
        }
        Ok(work)
    }

    fn newest(&self) -> u32 {
        self.segments.back().map_or(0, |segment| segment.head.number)
    }

    fn segment(&self, number: u32) -> Arc<Segment> {
        let first = self.segments.front().map_or(0, |segment| segment.head.number);
        Arc::clone(&self.segments[(number - first) as usize])
    }

    /// Judges by the writer's pace how wide the next window is.
    fn pace(&mut self, now: Mono, here: Cursor) {
        let (then, from) = self.begun;
        let crossed = usize::try_from(self.options.segment_bytes).unwrap_or(usize::MAX);
        let crossed = crossed.saturating_mul((here.number - from.number) as usize);
        let moved = crossed.saturating_add(here.at).saturating_sub(from.at);
        self.window = window(self.options.prefault_bytes, moved, now.since(then));
        self.begun = (now, here);
    }

    fn populate_ahead(&mut self, here: Cursor) -> io::Result<()> {
        let segment = self.segment(here.number);
        let (window, limit) = (self.window, segment.head.limit());
        let to = (here.at + window).min(limit);
        segment.map.populate(here.at, to)?;
        self.populated = Cursor { number: here.number, at: if to == limit { usize::MAX } else { to } };
        match self.segments.back() {
            Some(spare) if spare.head.number > here.number => spare.map.populate(FIRST, FIRST + window),
            _ => Ok(()),
        }
    }

    /// Makes the segment after `number`. No space is not an error: it makes the health low.
    fn prepare(&mut self, number: u32) -> io::Result<()> {
        let (bytes, most) = (self.options.segment_bytes, self.options.max_bytes);
        let journal = self.segment(number).head.journal;
        let made = match self.bytes.checked_add(bytes) {
            Some(total) if most == 0 || total <= most => Segment::create(&self.dir, number + 1, journal, bytes),
            _ => Err(io::Error::from(io::ErrorKind::StorageFull)),
        };
        match made {
            Ok(spare) => {
                self.bytes += bytes;
                self.shared.space(true);
                self.adopt(spare)
            }
            Err(why) if is_no_space(&why) => {
                self.shared.space(false);
                Ok(())
            }
            Err(why) => Err(why),
        }
    }

    fn adopt(&mut self, spare: Segment) -> io::Result<()> {
        spare.map.populate(FIRST, FIRST + self.options.prefault_bytes)?;
        let spare = Arc::new(spare);
        self.segments.push_back(Arc::clone(&spare));
        let given = self.give.push(spare);
        assert!(given.is_ok(), "one spare at a time");
        Ok(())
    }

    /// Syncs what the writer has left behind, segment by segment.
    fn sync(&mut self, now: Mono, number: u32, at: usize) -> io::Result<usize> {
        let segment = self.segment(self.synced.number);
        let (from, finished) = (self.synced.at, self.synced.number < number);
        let left = if finished { segment.head.limit() } else { at - at % PAGE };
        let behind = left.min(from + SYNC_BATCH);
        let waited = now.since(self.progressed) >= self.options.sync_nanos;
        let pending = self.durable.0.at < at && self.durable.0.number == number;
        let to = if behind > from || !waited || !pending { behind } else { at };
        if to > from {
            segment.map.leave(from, behind)?;
            self.shared.sync(&segment, from, to.next_multiple_of(PAGE))?;
            if to % PAGE != 0 {
                segment.map.populate(from, to)?;
            }
            self.synced.at = behind;
            self.progressed = now;
            self.reckon(&segment, to);
        }
        if !finished || behind < left {
            return Ok(usize::from(to > from && behind > from));
        }
        let next = Cursor { number: self.synced.number + 1, at: FIRST };
        (self.synced, self.durable.0, self.watermark) = (next, next, Watermark::default());
        Ok(1 + self.sync(now, number, at)?)
    }

    /// Finds the last record that ends before `to`, all of which is on the medium, and says so.
    fn reckon(&mut self, segment: &Segment, to: usize) {
        let (mut cursor, mut seq) = self.durable;
        while cursor.at < to && segment.map.committed(cursor.at) {
            let size = frame_size(segment, cursor.at);
            if cursor.at + size > to {
                break;
            }
            cursor.at += size;
            seq.0 += 1;
        }
        if seq != self.durable.1 {
            self.durable = (cursor, seq);
            self.watermark = self.watermark.next(segment.head.salt, seq, cursor.at as u64);
            segment.map.store(self.watermark.slot(), zerocopy::IntoBytes::as_bytes(&self.watermark));
            self.shared.durable.fetch_max(seq.0, Ordering::Release);
        }
    }

    /// Hashes records up to the writer, a batch at most.
    fn hash(&mut self, number: u32, at: usize) -> io::Result<usize> {
        let segment = self.segment(self.hashed.number);
        let end = if self.hashed.number < number { segment.head.limit() } else { at };
        for done in 0..HASH_BATCH {
            let from = self.hashed.at;
            if from >= end || !segment.map.committed(from) {
                return Ok(done);
            }
            let frame = frame::read(segment.map.settled(from, from + frame_size(&segment, from)), segment.head.salt);
            let Ok(Some(frame)) = frame else { return Err(io::Error::from(io::ErrorKind::InvalidData)) };
            self.history.absorb(frame.bytes);
            self.wall = frame.header.wall;
            self.hashed.at += frame.size();
        }
        Ok(HASH_BATCH)
    }

    /// Seals the oldest segment once the writer has left it and all of it is hashed and synced.
    fn seal_finished(&mut self, number: u32) -> io::Result<usize> {
        let segment = self.segment(self.hashed.number);
        let end = self.hashed.at;
        let hashed = end == segment.head.limit() || !segment.map.committed(end);
        if self.hashed.number >= number.min(self.synced.number) || !hashed {
            return Ok(0);
        }
        self.seal(0, end)?;
        self.segments.pop_front();
        self.hashed = Cursor { number: self.hashed.number + 1, at: FIRST };
        Ok(1)
    }

    fn seal(&mut self, index: usize, end: usize) -> io::Result<()> {
        let segment = Arc::clone(&self.segments[index]);
        let seal = Seal::new(segment.head.journal, &self.before, &self.history, end as u64);
        let marks = Head::read(segment.map.settled(0, PAGE)).map(|(_, marks)| marks).unwrap_or_default();
        write_seal(&segment, &seal, marks.newest(), self.wall)?;
        segment.punch(&self.dir, end)?;
        self.before = self.history.clone();
        self.shared.sealed.store(self.history.last().0, Ordering::Release);
        Ok(())
    }
}

impl Agent for Keeper {
    fn name(&self) -> &'static str {
        "journal"
    }

    fn duty(&mut self, now: Now) -> usize {
        if self.failure.is_some() {
            return 0;
        }
        let worked = match self.shared.trouble() {
            BROKEN => Err(io::Error::other("the writer met an error of the medium")),
            _ => self.work(now),
        };
        worked.unwrap_or_else(|why| {
            self.failure = Some(why.kind());
            self.shared.broke();
            0
        })
    }
}

/// What a writer uses while the keeper is held up, when it `moved` so far in `nanos`: no less than asked for, nor much more.
fn window(asked: usize, moved: usize, nanos: u64) -> usize {
    let used = moved as u128 * u128::from(HELD_UP_NANOS) / u128::from(nanos.max(1));
    usize::try_from(used).unwrap_or(usize::MAX).clamp(asked, asked.saturating_mul(WIDEST))
}

/// Size of the frame committed at `at`.
fn frame_size(segment: &Segment, at: usize) -> usize {
    let len: [u8; 4] = segment.map.settled(at, at + 4).try_into().unwrap_or_default();
    frame::size(u32::from_le_bytes(len) as usize).min(segment.head.limit() - at)
}

fn is_no_space(why: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(why.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_writer_has_a_wider_window() {
        const MIB: usize = 1 << 20;
        for (moved, millis, wide) in [
            (0, 0, 4 * MIB),
            (0, 1_000, 4 * MIB),
            (10 * MIB, 1_000, 4 * MIB),
            (2 * MIB, 60, 10 * MIB),
            (2 * MIB, 1, 16 * MIB),
            (usize::MAX, 0, 16 * MIB),
        ] {
            assert_eq!(window(4 * MIB, moved, millis * 1_000_000), wide, "{moved} in {millis} ms");
        }
    }
}

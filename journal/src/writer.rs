//! Append: the write-ahead of every order, inline on the engine's thread.
//!
//! In: facts and decisions. Out: their place, and for decisions the proof. Never, once open: an allocation, a lock, and,
//! unless [`Durability::Sync`] asks for it, a system call or a wait. The keeper sees to it that the next segment lies
//! ready and that no store meets a missing page.
//!
//! ```text
//!             writer                                     keeper
//!   append -> [ current ]   position, head  ------->   prefault ahead, sync behind, hash, seal
//!   roll   <- one-slot ring of the next segment <----   create, take space, header, rename
//! ```
//!
//! When the next segment does not come, the current one is used up in three steps: below `low` the health is
//! [`LogHealth::Low`]; below `reserve` market facts are refused with [`LogFault::Full`], so that what is left serves
//! cancels and the venue's answers; when a record does not fit at all everything is refused.

use crate::damage::Damage;
use crate::frame::{self, Header, MAX_PAYLOAD, Place};
use crate::keeper::Keeper;
use crate::map::PAGE;
use crate::recorded::Recorded;
use crate::recover::recover;
use crate::segment::{self, FIRST, Segment};
use keel_core::event::Record;
use keel_core::ids::Seq;
use keel_core::permit::{Log, LogFault, LogHealth};
use keel_core::ring::{Consumer, ring};
use keel_core::units::{Now, Wall};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Kinds below this are market facts: the first to be refused when space is short.
/// Bytes of a payload whose checksum is taken for nothing, to keep the code near.
const REHEARSED: usize = 64;
/// Bytes of the next records kept near at hand: a book's change and the decision it causes.
const READY: usize = 1024;
const MARKET_END: u16 = 200;

/// When a decision may take effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Once it is in memory every process shares: a crash of the process loses nothing, the loss of the host at most
    /// what [`Gauge::durable`] does not cover yet.
    #[default]
    Window,
    /// Once it, and everything before it, is on the medium: [`Log::record`] waits. Facts do not wait.
    Sync,
}

/// How a journal is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Size of new segments; a multiple of 4096 from `segment::MIN_BYTES` to `segment::MAX_BYTES`.
    pub segment_bytes: u64,
    /// Space all segments together may take; a segment above it counts as a full disk. Zero: as much as there is.
    pub max_bytes: u64,
    /// Bytes ahead of the writer kept present and writable; up to four times as many for a quick one.
    pub prefault_bytes: usize,
    /// A record waits this long, in nanoseconds, before it is synced even though its page is not full; full pages wait for
    /// the keeper to gather some. To both comes the time until the keeper's thread looks: 40 ms after a pause, in a node.
    pub sync_nanos: u64,
    /// Bound of the wall clock's error at the start, nanoseconds; see [`Writer::clock_error`].
    pub clock_error: u32,
    /// When a decision may take effect.
    pub durability: Durability,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            max_bytes: 0,
            prefault_bytes: 4 << 20,
            sync_nanos: 50_000_000,
            clock_error: u32::MAX,
            durability: Durability::Window,
        }
    }
}

/// Why a journal could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// An option is out of its bounds.
    Options,
    /// Another process is writing to it.
    Busy,
    /// The directory or its lock cannot be used.
    Io(io::Error),
    /// What is there is not a journal to go on with.
    Damaged(Damage),
}

impl core::fmt::Display for OpenError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Options => write!(f, "segment size, prefault window or sync interval out of bounds"),
            Self::Busy => write!(f, "another process is writing to this journal"),
            Self::Io(why) => write!(f, "{why}"),
            Self::Damaged(damage) => write!(f, "{damage}"),
        }
    }
}

impl std::error::Error for OpenError {}

/// What writer and keeper tell each other, each word written by one of them.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Shared {
    /// Writer: segment number in the high half, end of the last record in the low half.
    position: AtomicU64,
    /// Writer: last record.
    head: AtomicU64,
    /// Last record on the medium; it only grows.
    pub(crate) durable: AtomicU64,
    /// Keeper: last record in a sealed segment.
    pub(crate) sealed: AtomicU64,
    /// 0, [`LOW`] or [`BROKEN`]; once broken, broken for good.
    trouble: AtomicU8,
    turn: Mutex<()>,
    lock: Option<File>,
}

/// There is no space for another segment.
pub(crate) const LOW: u8 = 1;
/// The medium failed.
pub(crate) const BROKEN: u8 = 2;

impl Shared {
    fn publish(&self, number: u32, at: usize, seq: Seq) {
        self.head.store(seq.0, Ordering::Relaxed);
        self.position.store(u64::from(number) << 32 | at as u64, Ordering::Release);
    }

    /// What is the matter.
    pub(crate) fn trouble(&self) -> u8 {
        self.trouble.load(Ordering::Relaxed)
    }

    /// The medium failed, or the file was cut short.
    pub(crate) fn broke(&self) {
        self.trouble.store(BROKEN, Ordering::Relaxed);
    }

    /// Is there space for another segment? It mends nothing that is broken.
    pub(crate) fn space(&self, there: bool) {
        let next = if there { 0 } else { LOW };
        let mend = |now| (now != BROKEN).then_some(next);
        let _ = self.trouble.fetch_update(Ordering::Relaxed, Ordering::Relaxed, mend);
    }

    /// Waits until a range of a segment is on the medium. One at a time, and none after one that failed: the kernel tells
    /// an error of a file once, to whoever asks first, and whoever asks second would hear that all is well.
    pub(crate) fn sync(&self, segment: &Segment, from: usize, to: usize) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.trouble() == BROKEN {
            return Err(io::Error::other("the medium failed before"));
        }
        segment.map.sync(from, to).inspect_err(|_| self.broke())
    }

    /// Where the writer is.
    #[allow(clippy::cast_possible_truncation, reason = "two halves of one word")]
    pub(crate) fn position(&self) -> (u32, usize) {
        let word = self.position.load(Ordering::Acquire);
        ((word >> 32) as u32, (word & u64::from(u32::MAX)) as usize)
    }
}

/// Anyone's view of a journal being written.
#[derive(Clone, Debug)]
pub struct Gauge {
    shared: Arc<Shared>,
}

impl Gauge {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Last record appended.
    #[must_use]
    pub fn head(&self) -> Seq {
        Seq(self.shared.head.load(Ordering::Relaxed))
    }

    /// Last record known to be on the medium: what survives the loss of the host.
    #[must_use]
    pub fn durable(&self) -> Seq {
        Seq(self.shared.durable.load(Ordering::Acquire))
    }

    /// Last record under a seal.
    #[must_use]
    pub fn sealed(&self) -> Seq {
        Seq(self.shared.sealed.load(Ordering::Acquire))
    }
}

/// The one who appends.
#[derive(Debug)]
pub struct Writer {
    segment: Arc<Segment>,
    at: usize,
    /// Appends up to here need no thought.
    comfort: usize,
    limit: usize,
    /// Bytes before `limit` that count as short; half of them are the reserve.
    low: usize,
    last: Seq,
    wall: Wall,
    clock_error: u32,
    /// Nanoseconds the last stamp is ahead of the clock it was taken from.
    ahead: u32,
    durability: Durability,
    /// With [`Durability::Sync`]: everything before it is on the medium.
    synced: usize,
    spare: Option<Arc<Segment>>,
    spares: Consumer<Arc<Segment>>,
    shared: Arc<Shared>,
}

impl Writer {
    /// Opens the journal in `dir`, or begins one. What is there must be sound up to its exact end; see `recover`.
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<(Self, Keeper), OpenError> {
        let dir = dir.as_ref();
        let size = options.segment_bytes;
        let fits = (segment::MIN_BYTES..=segment::MAX_BYTES).contains(&size) && size.is_multiple_of(4096);
        if !fits || options.prefault_bytes < frame::MAX_FRAME {
            return Err(OpenError::Options);
        }
        fs::create_dir_all(dir).map_err(OpenError::Io)?;
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(dir.join("lock"));
        let lock = lock.map_err(OpenError::Io)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|why| match why {
            rustix::io::Errno::WOULDBLOCK => OpenError::Busy,
            other => OpenError::Io(other.into()),
        })?;
        let found = recover(dir, &options).map_err(OpenError::Damaged)?;
        let shared = Arc::new(Shared { lock: Some(lock), ..Shared::default() });
        let (give, spares, _) = ring(1);
        let (at, wall, last) = (found.at, found.wall, found.history.last());
        let keeper = Keeper::new(dir, options, found, Arc::clone(&shared), give).map_err(OpenError::Io)?;
        let mut writer = Self::at(keeper.active(), at, spares, shared);
        (writer.wall, writer.last, writer.clock_error) = (wall, last, options.clock_error);
        writer.durability = options.durability;
        writer.shared.publish(writer.segment.head.number, at, last);
        Ok((writer, keeper))
    }

    /// A journal of anonymous memory with room for `bytes` of frames: for tests and for replays that keep nothing.
    pub fn in_memory(bytes: usize) -> io::Result<Self> {
        let segment = Arc::new(Segment::in_memory(bytes)?);
        let (_, spares, _) = ring(1);
        Ok(Self::at(segment, FIRST, spares, Arc::default()))
    }

    fn at(segment: Arc<Segment>, at: usize, spares: Consumer<Arc<Segment>>, shared: Arc<Shared>) -> Self {
        let mut writer = Self {
            segment,
            at,
            comfort: 0,
            limit: 0,
            low: 0,
            last: Seq::NONE,
            wall: Wall::from_nanos(0),
            clock_error: 0,
            ahead: 0,
            durability: Durability::Window,
            synced: at,
            spare: None,
            spares,
            shared,
        };
        writer.measure();
        writer
    }

    fn measure(&mut self) {
        self.limit = self.segment.head.limit();
        self.low = if self.shared.lock.is_some() { low(self.limit) } else { 0 };
        self.comfort = self.limit - self.low;
    }

    /// The bound of the wall clock's error from here on, nanoseconds: what the time service says.
    pub fn clock_error(&mut self, bound: u32) {
        self.clock_error = bound;
    }

    /// The last record.
    #[must_use]
    pub const fn head(&self) -> Seq {
        self.last
    }

    /// A view for others.
    #[must_use]
    pub fn gauge(&self) -> Gauge {
        Gauge::new(Arc::clone(&self.shared))
    }

    /// The records of the current segment, oldest first: all of them for a journal in memory.
    pub fn records(&self) -> impl Iterator<Item = frame::Entry<'_>> {
        let mut at = FIRST;
        std::iter::from_fn(move || {
            let frame = frame::read(self.segment.map.settled(at, self.at), self.segment.head.salt).ok()??;
            at += frame.size();
            Some(frame.into())
        })
    }

    #[inline]
    fn append(&mut self, now: Now, cause: Seq, kind: u16, payload: &[u8]) -> Result<Seq, LogFault> {
        if payload.len() > MAX_PAYLOAD {
            return Err(LogFault::TooLong);
        }
        let size = frame::size(payload.len());
        if self.shared.trouble() == BROKEN {
            return Err(LogFault::Broken);
        }
        if self.at + size > self.comfort {
            self.make_room(size, kind < MARKET_END)?;
        }
        let wall = now.wall.max(self.wall.after(1));
        let ahead = u32::try_from(wall.since(now.wall)).unwrap_or(u32::MAX);
        let clock_error = self.clock_error.saturating_add(self.ahead).saturating_add(ahead);
        let place = Place { seq: Seq(self.last.0 + 1), mono: now.mono, wall, cause, clock_error };
        let header = Header::new(self.segment.head.salt, kind, place, payload);
        self.segment.map.append(self.at, &header, payload);
        if self.segment.map.lost() {
            return Err(self.lose());
        }
        (self.at, self.last, self.wall) = (self.at + size, place.seq, wall);
        self.shared.publish(self.segment.head.number, self.at, place.seq);
        Ok(place.seq)
    }

    /// The file was cut short under the writer: nothing more is taken, and the record at hand was not.
    #[cold]
    fn lose(&self) -> LogFault {
        self.shared.broke();
        LogFault::Broken
    }

    /// Waits until everything appended is on the medium. An error of the medium is final.
    #[cold]
    fn sync(&mut self) -> Result<(), LogFault> {
        let from = self.synced - self.synced % PAGE;
        let to = self.at.next_multiple_of(PAGE);
        self.shared.sync(&self.segment, from, to).map_err(|_| LogFault::Broken)?;
        self.synced = self.at;
        self.shared.durable.fetch_max(self.last.0, Ordering::Release);
        Ok(())
    }

    /// Near the end of the segment: take the next one, or ration what is left.
    #[cold]
    fn make_room(&mut self, size: usize, market: bool) -> Result<(), LogFault> {
        if self.spare.is_none() {
            self.spare = self.spares.pop();
        }
        let fits = self.at + size <= self.limit;
        match self.spare.take() {
            None if !fits || (market && self.at + size > self.limit - self.low / 2) => Err(LogFault::Full),
            None => Ok(()),
            spare @ Some(_) if fits => {
                self.spare = spare;
                Ok(())
            }
            Some(next) => {
                if self.durability == Durability::Sync {
                    self.sync()?;
                }
                self.segment = next;
                (self.at, self.synced) = (FIRST, FIRST);
                self.measure();
                Ok(())
            }
        }
    }
}

/// Bytes of a segment that count as short when no next one is ready: a quarter, at most 4 MiB.
const fn low(limit: usize) -> usize {
    let quarter = (limit - FIRST) / 4;
    if quarter < 4 << 20 { quarter } else { 4 << 20 }
}

impl Log for Writer {
    type Recorded<T> = Recorded<T>;

    #[inline]
    fn stamp(&mut self, now: Now) -> Now {
        let wall = now.wall.max(self.wall.after(1));
        self.ahead = u32::try_from(wall.since(now.wall)).unwrap_or(u32::MAX);
        Now { wall, ..now }
    }

    #[inline]
    fn fact<R: Record>(&mut self, now: Now, cause: Seq, fact: &R) -> Result<Seq, LogFault> {
        self.append(now, cause, fact.kind().code(), fact.bytes())
    }

    #[inline]
    fn record<R: Record>(&mut self, now: Now, cause: Seq, decision: R) -> Result<Recorded<R>, LogFault> {
        let seq = self.append(now, cause, decision.kind().code(), decision.bytes())?;
        if self.durability == Durability::Sync {
            self.sync()?;
        }
        Ok(Recorded::new(seq, decision))
    }

    #[inline]
    fn ready(&mut self) {
        self.segment.map.prefetch(self.at, READY);
        let header = Header::new(self.segment.head.salt, 0, Place::default(), &[0; REHEARSED]);
        core::hint::black_box(&header);
    }

    fn health(&self) -> LogHealth {
        let short = self.spare.is_none() && self.at > self.comfort;
        match self.shared.trouble() {
            BROKEN => LogHealth::Faulty,
            LOW => LogHealth::Low,
            _ if short => LogHealth::Low,
            _ => LogHealth::Sound,
        }
    }
}

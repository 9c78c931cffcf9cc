//! Is every byte of a journal what it was when it was written?
//!
//! In: a directory, live or closed. Out: a [`Report`] naming each record, header, padding, tail and seal that is not.
//! Never: a write, a lock, an early stop: after damage the walk finds the next sound record and goes on.
//!
//! What a journal alone cannot show: records cut off its end together with their seals, or a whole history written anew.
//! Against those stand checkpoints kept elsewhere: [`verify_against`].

use crate::damage::{Damage, What};
use crate::frame::Frame;
use crate::frames::{Expect, Frames, SealPage};
use crate::history::{Hash, History};
use crate::proof::Checkpoint;
use crate::recover::{Tail, tail};
use crate::segment::{self, FIRST, Marks, Misfit};
use keel_core::ids::Seq;
use keel_core::units::Wall;
use std::path::Path;

/// What a walk over a whole journal found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Segment files.
    pub segments: u32,
    /// Of these, sealed.
    pub sealed: u32,
    /// Sound records.
    pub records: u64,
    /// The first of them.
    pub first: Seq,
    /// The last of them.
    pub last: Seq,
    /// Head of the hash chain after the last record; meaningful when nothing is damaged.
    pub chain: Hash,
    /// Root of the RFC 6962 tree over all records; meaningful when nothing is damaged.
    pub root: Hash,
    /// An append, or a watermark, is under way or was cut short. It is not damage: it never happened.
    pub torn: bool,
    /// Everything that is wrong, in the order it was met. At most [`MAX_DAMAGES`].
    pub damages: Vec<Damage>,
}

/// Damages named; a journal with more is beyond naming each.
pub const MAX_DAMAGES: usize = 1000;

impl Report {
    /// Nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damages.is_empty()
    }

    fn add(&mut self, damage: Damage) {
        if self.damages.len() < MAX_DAMAGES {
            self.damages.push(damage);
        }
    }
}

/// Walks every segment of the journal in `dir`.
#[must_use]
pub fn verify(dir: impl AsRef<Path>) -> Report {
    verify_against(dir, &[])
}

/// The same, and compares with checkpoints that were kept elsewhere: nothing they describe may be missing or different.
#[must_use]
pub fn verify_against(dir: impl AsRef<Path>, anchors: &[Checkpoint]) -> Report {
    let dir = dir.as_ref();
    let mut walk = Walk { anchors: anchors.to_vec(), ..Walk::default() };
    walk.anchors.sort_by_key(|anchor| core::cmp::Reverse(anchor.size));
    let numbers = match segment::list(dir) {
        Ok(numbers) => numbers,
        Err(why) => {
            walk.report.add(Damage::io(0, &why));
            return walk.report;
        }
    };
    let Some((first, last)) = numbers.first().zip(numbers.last()) else {
        walk.report.add(Damage::file(0, What::Missing));
        return walk.report;
    };
    for number in *first..=*last {
        match Frames::open(dir, number) {
            Ok(frames) => walk.segment(dir, frames),
            Err(damage) => {
                walk.report.add(damage);
                walk.history = None;
            }
        }
    }
    if let Some(missing) = walk.anchors.iter().find(|anchor| anchor.size > walk.report.last.0) {
        let (seq, what) = (Seq(missing.size), What::CutOff);
        walk.report.add(Damage { segment: *last, offset: 0, seq, what });
    }
    let history = walk.history.unwrap_or_default();
    (walk.report.chain, walk.report.root) = (*history.chain(), history.root());
    walk.report
}

#[derive(Default)]
struct Walk {
    report: Report,
    journal: Option<[u8; 16]>,
    expect: Option<Expect>,
    /// `None` while it is not known: before the first seal of a journal without its beginning, or after damage.
    history: Option<History>,
    /// The tree in `history` is known; without it only the chain is, up to the first seal.
    tree: bool,
    /// An unsealed segment that has records.
    unsealed: Option<u32>,
    /// The last unsealed segment, where its walk ended: its writer may have gone on since.
    previous: Option<Frames>,
    /// Checkpoints not reached yet, the next one last.
    anchors: Vec<Checkpoint>,
}

impl Walk {
    fn segment(&mut self, dir: &Path, mut frames: Frames) {
        let number = frames.head.number;
        self.report.segments += 1;
        if *self.journal.get_or_insert(frames.head.journal) != frames.head.journal {
            return self.report.add(Damage::file(number, What::File(Misfit::OtherJournal)));
        }
        let seal = frames.seal().unwrap_or_else(|what| {
            self.report.add(Damage::file(number, what));
            SealPage::Blank
        });
        if self.expect.is_none() && self.report.segments == 1 {
            self.begin(number, &seal);
        }
        if self.previous.is_some() && self.is_spare(&mut frames, &seal) {
            return;
        }
        self.finish_previous();
        let (before, records) = (self.history.clone(), self.report.records);
        let end = self.frames(&mut frames);
        let offset = frames.head.limit() as u64;
        let damage = |what| Damage { segment: number, offset, seq: Seq::NONE, what };
        match self.report.records > records {
            true => self.report.torn |= frames.marks.is_torn(),
            false if frames.marks == Marks::default() => {}
            false => self.report.add(Damage::file(number, What::File(Misfit::HeaderPage))),
        }
        let durable = frames.marks.newest().seq;
        if durable != Seq::NONE && durable >= self.next() {
            let (offset, seq) = (end as u64, self.next());
            self.report.add(Damage { segment: number, offset, seq, what: What::BelowWatermark });
        }
        match seal {
            SealPage::Spoilt => self.report.add(damage(What::SealPage)),
            SealPage::Blank => {
                if self.report.records > records {
                    self.unsealed = Some(number);
                }
                self.previous = Some(frames);
            }
            SealPage::Sealed(seal, wall) => {
                self.report.sealed += 1;
                if !frames.marks.pin(seal.terms.last, seal.terms.end) {
                    frames.look_again();
                }
                if !frames.marks.pin(seal.terms.last, seal.terms.end) {
                    self.report.add(Damage::file(number, What::File(Misfit::HeaderPage)));
                }
                if let Some(unsealed) = self.unsealed.take().filter(|number| !is_sealed_by_now(dir, *number)) {
                    self.report.add(Damage::file(unsealed, What::Unsealed));
                }
                if before.as_ref().is_some_and(|before| !seal.continues(before)) {
                    self.report.add(damage(What::SealOutOfChain));
                }
                let whole = self.history.as_ref().is_some_and(|history| seal.describes(history, self.tree));
                if !whole || seal.terms.end != end as u64 {
                    self.report.add(damage(What::SealDisagrees));
                }
                self.expect = Some(Expect { seq: Seq(seal.terms.last.0 + 1), wall });
                self.history = Some(seal.after());
                self.tree = true;
            }
        }
    }

    /// When `frames` has records, a live writer has left the segment before it for good: take in what it added there
    /// since that was walked.
    fn finish_previous(&mut self) {
        let Some(mut previous) = self.previous.take() else { return };
        let at = previous.at();
        if matches!(previous.step(), Ok(Some(_))) {
            previous.seek(at);
            self.frames(&mut previous);
        }
    }

    /// Nothing in it yet: its writer is still in the segment before, and may come here while we look.
    fn is_spare(&self, frames: &mut Frames, seal: &SealPage) -> bool {
        let blank = matches!(seal, SealPage::Blank) && frames.marks == Marks::default();
        let begun = !matches!(frames.step(), Ok(None));
        frames.seek(FIRST);
        blank && !begun && matches!(tail(frames, FIRST, self.next()), Ok(Tail::Clean))
    }

    /// Where numbering and hashing start: at nothing, or at the first seal when retention dropped older segments.
    fn begin(&mut self, number: u32, seal: &SealPage) {
        let first = Expect { seq: Seq(1), wall: Wall::from_nanos(0) };
        match seal {
            _ if number == 1 => (self.expect, self.history, self.tree) = (Some(first), Some(History::new()), true),
            SealPage::Sealed(seal, _) => {
                let before = Seq(seal.terms.first.0 - 1);
                self.expect = Some(Expect { seq: seal.terms.first, ..first });
                self.history = Some(History::amid(before, seal.terms.before));
            }
            SealPage::Blank | SealPage::Spoilt => {}
        }
    }

    /// Every frame of a segment and the zeros behind them. Returns where the frames end.
    fn frames(&mut self, frames: &mut Frames) -> usize {
        let number = frames.head.number;
        loop {
            let at = frames.at();
            match frames.step() {
                Ok(Some(frame)) => self.take(number, at, &frame),
                Ok(None) => match tail(frames, at, self.next()) {
                    Ok(Tail::Clean) => return at,
                    // a live writer went on between the two looks
                    _ if matches!(frames.step(), Ok(Some(_))) => frames.seek(at),
                    Ok(Tail::Torn) => {
                        self.report.torn = true;
                        return at;
                    }
                    Ok(Tail::Dirty(What::Tail, offset)) => {
                        let (segment, offset) = (frames.head.number, offset as u64);
                        self.report.add(Damage { segment, offset, seq: Seq::NONE, what: What::Tail });
                        return at;
                    }
                    Ok(Tail::Dirty(what, _)) | Err(what) => {
                        if !self.skip(frames, at, what) {
                            return at;
                        }
                    }
                },
                Err(what) => {
                    if !self.skip(frames, at, what) {
                        return at;
                    }
                }
            }
        }
    }

    /// One sound frame: is it the next record, and does an anchor know the history up to here?
    fn take(&mut self, segment: u32, at: usize, frame: &Frame<'_>) {
        let (seq, wall, offset) = (frame.header.seq, frame.header.wall, at as u64);
        let expect = self.expect.get_or_insert(Expect { seq, wall: Wall::from_nanos(0) });
        let wanted = expect.seq;
        if let Err(what) = expect.take(&frame.header) {
            *expect = Expect { seq: Seq(seq.0.saturating_add(1)), wall };
            self.history = None;
            self.report.add(Damage { segment, offset, seq: wanted, what });
        } else if let Some(history) = &mut self.history {
            history.absorb(frame.bytes);
            while let Some(anchor) = self.anchors.pop_if(|anchor| anchor.size <= seq.0) {
                if self.tree && anchor.size == seq.0 && anchor.root != history.root() {
                    self.report.add(Damage { segment, offset, seq, what: What::Anchor });
                }
            }
        }
        if self.report.records == 0 {
            self.report.first = seq;
        }
        self.report.records += 1;
        self.report.last = seq;
    }

    /// Names the damage at `at` and goes on behind it; `false` when nothing sound follows in this segment.
    fn skip(&mut self, frames: &mut Frames, at: usize, what: What) -> bool {
        let wanted = self.next();
        self.report.add(Damage { segment: frames.head.number, offset: at as u64, seq: wanted, what });
        self.history = None;
        if matches!(what, What::Io(_) | What::File(_) | What::Tail) {
            return false;
        }
        frames.seek(at);
        match frames.resynchronise() {
            Ok(Some((_, found))) if found >= wanted => {
                if let Some(expect) = &mut self.expect {
                    expect.seq = found;
                }
                true
            }
            _ => false,
        }
    }

    fn next(&self) -> Seq {
        self.expect.map_or(Seq::NONE, |expect| expect.seq)
    }
}

/// A live keeper may have sealed it since it was read.
fn is_sealed_by_now(dir: &Path, number: u32) -> bool {
    matches!(Frames::open(dir, number).map(|frames| frames.seal()), Ok(Ok(SealPage::Sealed(..))))
}

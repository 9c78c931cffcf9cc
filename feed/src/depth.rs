//! May this book be trusted? The sequence and sanity rules of one depth stream of one instrument.
//!
//! In: order book messages as decoded. Out: for each, a [`Step`]: pass it on, ignore it, or stop trusting the book and
//! ask for a new snapshot. The stream keeps a book of its own, because some faults show only there. Never: a fault
//! counted twice, a message passed on after a fault before the next snapshot.
//!
//! ```text
//!              snapshot                 u + 1
//!   Waiting ------------> Synced ------------------> Synced
//!                           |  any fault: gap, old, crossed, off grid, absurd, overflow, told from outside
//!                           v
//!                          Gap ----- snapshot -----> Synced      deltas in between race and are ignored
//! ```
//!
//! `u == 1` is a restart of the venue's service: the message is a whole book whatever its type says. On depth 1 the
//! venue repeats a snapshot with the same `u` when nothing changes: a sign of life, no news.

use crate::decode::BookHead;
use keel_core::book::{Book, Touch};
use keel_core::event::{HealthReason, Level};
use keel_core::instrument::Instrument;
use keel_core::units::{Px, Qty};

/// A level holding more than this many of the largest orders the venue accepts is absurd.
pub const ABSURD_ORDERS: i64 = 1000;

/// Is the stream in sequence?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing received yet.
    #[default]
    Waiting,
    /// In sequence.
    Synced,
    /// Out of sequence or out of its mind: waiting for a snapshot.
    Gap,
}

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// In sequence: pass it on. The reason says how trust began: [`HealthReason::Snapshot`], [`HealthReason::Restart`],
    /// or [`HealthReason::None`] for an ordinary change.
    Forward(HealthReason),
    /// In sequence, but a side is empty: pass it on, do not trade on it. No snapshot would help.
    OneSided,
    /// A repetition or a racing delta: nothing to pass on.
    Ignore,
    /// Stop trusting the book, for this reason, and ask for a snapshot. Said once per fault.
    Fault(HealthReason),
}

/// One depth stream.
#[derive(Clone, Debug)]
pub struct Stream {
    book: Book,
    state: State,
    depth: u16,
    seq: u64,
    max_px: Px,
    max_qty: Qty,
    faults: u64,
    ignored: u64,
}

impl Stream {
    /// A stream of `depth` levels a side that has received nothing.
    #[must_use]
    pub fn new(instrument: &Instrument, depth: u16) -> Self {
        Self {
            book: Book::new(instrument.tick, usize::from(depth)),
            state: State::Waiting,
            depth,
            seq: 0,
            max_px: instrument.max_px,
            max_qty: Qty::from_raw(instrument.max_qty.raw().saturating_mul(ABSURD_ORDERS).min(Qty::MAX.raw())),
            faults: 0,
            ignored: 0,
        }
    }

    /// Judges a message and, unless it is a fault, applies it. Sets `head.snapshot` where a restart makes it one.
    #[inline]
    pub fn on_message(&mut self, head: &mut BookHead, bids: &[Level], asks: &[Level]) -> Step {
        let restart = head.u == 1;
        head.snapshot |= restart;
        if !head.snapshot {
            if self.state != State::Synced {
                self.ignored += 1;
                return Step::Ignore;
            }
            if head.u != self.book.update_id().wrapping_add(1) {
                let old = head.u <= self.book.update_id();
                return self.fault(if old { HealthReason::Old } else { HealthReason::Gap });
            }
            if head.seq < self.seq {
                return self.fault(HealthReason::Old);
            }
        } else if self.is_repetition(head, bids, asks) {
            self.ignored += 1;
            self.seq = self.seq.max(head.seq);
            return Step::Ignore;
        }
        if let Err(why) = self.sane(bids).and_then(|()| self.sane(asks)) {
            return self.fault(why);
        }
        if let Err(why) = self.book.apply_message(head.snapshot, head.u, bids, asks) {
            return self.fault(why);
        }
        if self.book.is_crossed() {
            return self.fault(HealthReason::Crossed);
        }
        self.state = State::Synced;
        self.seq = head.seq;
        match (self.book.touch(), head.snapshot, restart) {
            (None, _, _) => Step::OneSided,
            (Some(_), false, _) => Step::Forward(HealthReason::None),
            (Some(_), true, false) => Step::Forward(HealthReason::Snapshot),
            (Some(_), true, true) => Step::Forward(HealthReason::Restart),
        }
    }

    /// Depth 1 repeats itself when nothing changes. The same `u` with other levels is news all the same.
    fn is_repetition(&self, head: &BookHead, bids: &[Level], asks: &[Level]) -> bool {
        use keel_core::event::Side::{Buy, Sell};
        self.depth == 1
            && self.state == State::Synced
            && head.u == self.book.update_id()
            && self.book.levels(Buy).eq(bids.iter().copied())
            && self.book.levels(Sell).eq(asks.iter().copied())
    }

    /// Prices and sizes a venue can mean. Whether a price stands on the grid is the book's question.
    #[inline]
    fn sane(&self, levels: &[Level]) -> Result<(), HealthReason> {
        let beyond = |level: &Level| (level.px > self.max_px) | (level.qty > self.max_qty);
        let absurd = levels.iter().fold(false, |absurd, level| absurd | beyond(level));
        if absurd { Err(HealthReason::Absurd) } else { Ok(()) }
    }

    /// Something outside found the book wanting (cut off, malformed, ring full, disagreeing).
    /// [`Step::Ignore`] when it was not trusted anyway.
    pub fn distrust(&mut self, why: HealthReason) -> Step {
        if self.state == State::Synced { self.fault(why) } else { Step::Ignore }
    }

    #[cold]
    fn fault(&mut self, why: HealthReason) -> Step {
        self.state = State::Gap;
        self.faults += 1;
        self.book.clear();
        self.seq = 0;
        Step::Fault(why)
    }

    /// The connection is gone: what comes next is a new stream.
    pub fn reset(&mut self) {
        self.state = State::Waiting;
        self.book.clear();
        self.seq = 0;
    }

    /// In sequence?
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Levels a side.
    #[must_use]
    pub const fn depth(&self) -> u16 {
        self.depth
    }

    /// Its book: meaningful while [`State::Synced`].
    #[must_use]
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// Best bid and ask while in sequence.
    #[must_use]
    pub fn touch(&self) -> Option<Touch> {
        if self.state == State::Synced { self.book.touch() } else { None }
    }

    /// Cross sequence of the last message.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// Faults so far.
    #[must_use]
    pub const fn faults(&self) -> u64 {
        self.faults
    }

    /// Messages ignored so far: repetitions and racing deltas.
    #[must_use]
    pub const fn ignored(&self) -> u64 {
        self.ignored
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_core::event::Side;
    use keel_core::ids::InstrumentId;
    use keel_core::units::Wall;

    fn instrument() -> Instrument {
        Instrument {
            tick: Px::from_raw(10),
            max_px: Px::from_raw(10_000),
            max_qty: Qty::from_raw(5),
            ..Instrument::default()
        }
    }

    fn levels(of: &[(i64, i64)]) -> Vec<Level> {
        of.iter().map(|(px, qty)| Level { px: Px::from_raw(*px), qty: Qty::from_raw(*qty) }).collect()
    }

    fn say(stream: &mut Stream, snapshot: bool, u: u64, bids: &[(i64, i64)], asks: &[(i64, i64)]) -> Step {
        let (bids, asks) = (levels(bids), levels(asks));
        let mut head = BookHead {
            instrument: InstrumentId(0),
            depth: stream.depth(),
            snapshot,
            u,
            seq: 1000 + u,
            ts: Wall::default(),
            cts: Wall::default(),
            bids: u16::try_from(bids.len()).unwrap(),
            asks: u16::try_from(asks.len()).unwrap(),
        };
        stream.on_message(&mut head, &bids, &asks)
    }

    fn synced() -> Stream {
        let mut stream = Stream::new(&instrument(), 50);
        let step = say(&mut stream, true, 100, &[(90, 1), (80, 2)], &[(110, 1), (120, 2)]);
        assert_eq!(step, Step::Forward(HealthReason::Snapshot));
        stream
    }

    #[test]
    fn a_delta_before_the_snapshot_is_ignored() {
        let mut stream = Stream::new(&instrument(), 50);
        assert_eq!(say(&mut stream, false, 7, &[(90, 1)], &[]), Step::Ignore);
        assert_eq!((stream.state(), stream.faults(), stream.ignored()), (State::Waiting, 0, 1));
    }

    #[test]
    fn a_gap_is_one_fault_and_racing_deltas_are_ignored_until_the_snapshot() {
        let mut stream = synced();
        assert_eq!(say(&mut stream, false, 101, &[(90, 3)], &[]), Step::Forward(HealthReason::None));
        assert_eq!(say(&mut stream, false, 103, &[(90, 4)], &[]), Step::Fault(HealthReason::Gap));
        assert_eq!(stream.touch(), None);
        for u in 104..110 {
            assert_eq!(say(&mut stream, false, u, &[(90, 4)], &[]), Step::Ignore);
        }
        assert_eq!(stream.faults(), 1);
        assert_eq!(say(&mut stream, true, 200, &[(90, 4)], &[(100, 1)]), Step::Forward(HealthReason::Snapshot));
        assert_eq!(say(&mut stream, false, 201, &[(90, 0), (80, 1)], &[]), Step::Forward(HealthReason::None));
        assert_eq!(stream.touch().unwrap().bid.px, Px::from_raw(80));
    }

    #[test]
    fn each_fault_has_its_reason() {
        type Say = (bool, u64, &'static [(i64, i64)], &'static [(i64, i64)]);
        let rows: [(&str, Say, HealthReason); 10] = [
            ("a gap", (false, 102, &[], &[]), HealthReason::Gap),
            ("the same delta twice", (false, 100, &[], &[]), HealthReason::Old),
            ("an older delta", (false, 99, &[], &[]), HealthReason::Old),
            ("a bid through the ask", (false, 101, &[(110, 1)], &[]), HealthReason::Crossed),
            ("a crossed snapshot", (true, 300, &[(110, 1)], &[(100, 1)]), HealthReason::Crossed),
            ("a price off the grid", (false, 101, &[(95, 1)], &[]), HealthReason::OffGrid),
            ("a deletion off the grid", (false, 101, &[], &[(111, 0)]), HealthReason::OffGrid),
            ("a size nobody can trade", (false, 101, &[(90, 5001)], &[]), HealthReason::Absurd),
            ("a price out of the band", (false, 101, &[], &[(10_010, 1)]), HealthReason::Absurd),
            ("a snapshot off the grid", (true, 300, &[(91, 1)], &[(100, 1)]), HealthReason::OffGrid),
        ];
        for (name, (snapshot, u, bids, asks), why) in rows {
            let mut stream = synced();
            assert_eq!(say(&mut stream, snapshot, u, bids, asks), Step::Fault(why), "{name}");
            assert_eq!((stream.state(), stream.faults()), (State::Gap, 1), "{name}");
            assert_eq!(stream.distrust(HealthReason::Silent), Step::Ignore, "{name}: counted once");
        }
    }

    #[test]
    fn more_levels_than_the_depth_is_a_fault() {
        let mut stream = Stream::new(&instrument(), 1);
        assert_eq!(say(&mut stream, true, 5, &[(90, 1), (80, 1)], &[(110, 1)]), Step::Fault(HealthReason::Overflow));
    }

    #[test]
    fn update_id_one_is_a_restart_whatever_its_type_says() {
        for snapshot in [false, true] {
            let mut stream = synced();
            let step = say(&mut stream, snapshot, 1, &[(50, 1)], &[(60, 1)]);
            assert_eq!(step, Step::Forward(HealthReason::Restart));
            assert_eq!(stream.book().levels(Side::Buy).len(), 1);
            assert_eq!(say(&mut stream, false, 2, &[(40, 1)], &[]), Step::Forward(HealthReason::None));
        }
    }

    #[test]
    fn depth_one_repeats_itself_when_nothing_changes() {
        let mut stream = Stream::new(&instrument(), 1);
        assert_eq!(say(&mut stream, true, 5, &[(90, 1)], &[(110, 1)]), Step::Forward(HealthReason::Snapshot));
        assert_eq!(say(&mut stream, true, 5, &[(90, 1)], &[(110, 1)]), Step::Ignore);
        assert_eq!(say(&mut stream, true, 5, &[(90, 2)], &[(110, 1)]), Step::Forward(HealthReason::Snapshot));
        assert_eq!(say(&mut stream, true, 9, &[(80, 2)], &[(110, 1)]), Step::Forward(HealthReason::Snapshot));
        assert_eq!(stream.faults(), 0);
    }

    #[test]
    fn an_empty_side_is_no_gap_and_heals_by_itself() {
        let mut stream = synced();
        assert_eq!(say(&mut stream, false, 101, &[(90, 0), (80, 0)], &[]), Step::OneSided);
        assert_eq!(say(&mut stream, false, 102, &[(90, 1)], &[]), Step::Forward(HealthReason::None));
        assert_eq!(stream.faults(), 0);
    }

    #[test]
    fn a_lower_cross_sequence_is_older_data() {
        let mut stream = synced();
        let mut head = BookHead {
            instrument: InstrumentId(0),
            depth: 50,
            snapshot: false,
            u: 101,
            seq: 1099,
            ts: Wall::default(),
            cts: Wall::default(),
            bids: 0,
            asks: 0,
        };
        assert_eq!(stream.on_message(&mut head, &[], &[]), Step::Fault(HealthReason::Old));
    }
}

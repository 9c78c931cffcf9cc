//! Reading the venue's full account after the private stream came up: orders, executions, positions, wallet. Positions
//! come after the executions that made them, so that a position that differs is not merely early.
//!
//! In: that the stream is there or gone, the answers, time. Out: the next question, and the bounds of the reading as
//! [`Reconciliation`] facts. Never: "complete" before every page of every question was read on one unbroken stream.
//!
//! ```text
//!  begin -> open orders (all pages) -> executions (all pages) -> positions (all pages) -> wallet -> complete
//!     ^                     |
//!     +-- again, after a pause, when a question fails; from the start when the stream breaks
//! ```

use crate::rest::{Call, EXECUTIONS_SPAN};
use keel_core::event::{ExecEvent, Flag, Reconciliation};
use keel_core::units::{Mono, Now, Wall};

/// A failed question is asked again after this.
pub(crate) const RETRY: u64 = 500_000_000;
/// Executions are read again from this long before the last one seen: pages are unstable within a millisecond, and
/// clocks differ. Counting them once is the order table's business.
pub const OVERLAP: u64 = 60_000_000_000;
/// The venue remembers executions for two years.
const MEMORY: u64 = 730 * 86_400_000_000_000;
/// The account is read again this long after it was last read to the end.
pub(crate) const PERIOD: u64 = 60_000_000_000;
/// Shortest pause between two readings, however much doubt there is.
pub(crate) const HASTE: u64 = 1_000_000_000;
/// Pages one question may have; more is a venue that repeats itself, and the reading starts over.
pub(crate) const MAX_PAGES: u32 = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Off,
    Orders,
    Positions,
    Executions,
    Wallet,
    Done,
}

/// The reading.
#[derive(Debug)]
pub(crate) struct Reconcile {
    stage: Stage,
    completed: Mono,
    next: Mono,
    cursor: String,
    pages: u32,
    /// A question is out.
    asking: bool,
    not_before: Mono,
    since: Wall,
    /// Where the span of executions being read begins.
    span: Wall,
    /// The wall clock when this reading began.
    begun: Wall,
    read: Reconciliation,
}

impl Reconcile {
    /// `since`: executions before it are known already.
    pub(crate) fn new(since: Wall) -> Self {
        Self {
            stage: Stage::Off,
            completed: Mono::default(),
            next: Mono::default(),
            cursor: String::new(),
            pages: 0,
            asking: false,
            not_before: Mono::default(),
            since,
            span: since,
            begun: since,
            read: Reconciliation::default(),
        }
    }

    /// Starts over: the stream is there.
    pub(crate) fn begin(&mut self, now: Now, sink: &mut impl FnMut(ExecEvent)) {
        self.start(now, Flag::No, sink);
    }

    fn start(&mut self, now: Now, periodic: Flag, sink: &mut impl FnMut(ExecEvent)) {
        self.enter(Stage::Orders);
        self.not_before = now.mono;
        let oldest = now.wall.nanos().saturating_sub(MEMORY);
        self.span = Wall::from_nanos(self.since.nanos().saturating_sub(OVERLAP).max(oldest));
        self.begun = now.wall;
        self.read = Reconciliation { at: now.mono, periodic, ..Reconciliation::default() };
        sink(ExecEvent::Reconciliation(self.read));
    }

    /// Reads again what was read long ago, or what there is doubt about.
    pub(crate) fn tick(&mut self, now: Now, sink: &mut impl FnMut(ExecEvent)) {
        if self.stage == Stage::Done && now.mono >= self.next {
            self.start(now, Flag::Yes, sink);
        }
    }

    /// There is doubt: reads again soon, though not more often than every [`HASTE`].
    pub(crate) fn hasten(&mut self, now: Mono) {
        self.next = self.next.min(now.max(self.completed.after(HASTE)));
    }

    /// When the reading under way, or the last one, began.
    pub(crate) const fn begun(&self) -> Mono {
        self.read.at
    }

    /// The stream broke: whatever was read may be stale.
    pub(crate) fn abandon(&mut self) {
        self.enter(Stage::Off);
    }

    /// Read to the end since the stream came up?
    pub(crate) fn is_done(&self) -> bool {
        self.stage == Stage::Done || (self.stage != Stage::Off && self.read.periodic.is_set())
    }

    /// An execution was seen: the next reading need not go further back.
    pub(crate) fn saw_fill(&mut self, ts: Wall) {
        self.since = self.since.max(ts);
    }

    /// The next question, if it is time for one.
    pub(crate) fn ask(&mut self, now: Mono) -> Option<Call> {
        if self.asking || now < self.not_before {
            return None;
        }
        let cursor = self.cursor.clone();
        let call = match self.stage {
            Stage::Off | Stage::Done => return None,
            Stage::Orders => Call::OpenOrders { cursor },
            Stage::Positions => Call::Positions { cursor },
            Stage::Executions => Call::Executions { since: self.span, cursor },
            Stage::Wallet => Call::Wallet,
        };
        self.asking = true;
        Some(call)
    }

    /// The question could not be asked now.
    pub(crate) fn postpone(&mut self, until: Mono) {
        self.asking = false;
        self.not_before = until;
    }

    /// A page was read, with `count` facts, and there may be a next one.
    /// `true` when that was the last page of the open orders.
    pub(crate) fn answered(&mut self, now: Now, count: usize, next: String, sink: &mut impl FnMut(ExecEvent)) -> bool {
        self.asking = false;
        self.pages += 1;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        match self.stage {
            Stage::Orders => self.read.orders += count,
            Stage::Positions => self.read.positions += count,
            Stage::Executions => self.read.fills += count,
            Stage::Off | Stage::Wallet | Stage::Done => {}
        }
        if !next.is_empty() && next != self.cursor && self.pages < MAX_PAGES {
            self.cursor = next;
            return false;
        }
        if !next.is_empty() {
            self.start(now, self.read.periodic, sink);
            self.not_before = now.mono.after(RETRY);
            return false;
        }
        let orders_read = self.stage == Stage::Orders;
        match self.stage {
            Stage::Orders => self.enter(Stage::Executions),
            // the venue looks a few days at once: on, until what is read reaches the present
            Stage::Executions if self.span.after(EXECUTIONS_SPAN) < self.begun => {
                self.span = self.span.after(EXECUTIONS_SPAN);
                self.enter(Stage::Executions);
            }
            Stage::Executions => self.enter(Stage::Positions),
            Stage::Positions => self.enter(Stage::Wallet),
            Stage::Wallet => {
                self.enter(Stage::Done);
                (self.completed, self.next) = (now.mono, now.mono.after(PERIOD));
                sink(ExecEvent::Reconciliation(Reconciliation { at: now.mono, complete: Flag::Yes, ..self.read }));
            }
            Stage::Off | Stage::Done => {}
        }
        orders_read
    }

    /// The question failed.
    pub(crate) fn failed(&mut self, now: Now) {
        self.postpone(now.mono.after(RETRY));
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        match self.stage {
            Stage::Off => None,
            Stage::Done => Some(self.next),
            _ => (!self.asking).then_some(self.not_before),
        }
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.cursor.clear();
        self.pages = 0;
        self.asking = false;
    }
}

//! The two doors every order passes: permission and record.
//!
//! The engine knows them only by these traits. `keel-risk` is the one implementer of [`Gate`] outside tests, and only it
//! can build what [`Gate::judge`] returns; `keel-journal` is the one implementer of [`Log`], and only it can wrap that in
//! its record. The gateway accepts nothing else.

use crate::book::Touch;
use crate::desk::Desk;
use crate::event::{Command, Document, ExecEvent, MarketEvent, Order, Record, Standing};
use crate::ids::{InstrumentId, Seq};
use crate::orders::{Change, Working};
use crate::position::Position;
use crate::units::{Mono, Now};

/// Can the journal be trusted with the next order?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogHealth {
    /// Yes.
    #[default]
    Sound,
    /// Space or a deadline is short: shrink risk, take none.
    Low,
    /// It refused a record: nothing can leave.
    Faulty,
}

/// What the engine knows at the moment of asking.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Best bid and ask of the instrument; `None` while its book cannot be trusted.
    pub touch: Option<Touch>,
    /// The order an amend or cancel is about.
    pub working: Option<&'a Working>,
    /// State of the journal.
    pub log: LogHealth,
}

/// Permission. It watches everything and answers one question.
pub trait Gate {
    /// Permission for one order, with everything that was measured.
    type Approved: Record + AsRef<Order>;
    /// The refusal, with everything that was measured.
    type Refused: Record;
    /// What it has to say without being asked: the brake moved, people were answered.
    type Notice: Record;

    /// The market moved.
    fn market(&mut self, now: Now, event: &MarketEvent);
    /// The venue spoke to us: links, wallet, reconciliation.
    fn exec(&mut self, now: Now, event: &ExecEvent);
    /// Someone at the front door.
    fn command(&mut self, now: Now, command: &Command);
    /// A part of a document from the front door. Who signed it is found out inside.
    fn document(&mut self, now: Now, document: &Document);
    /// What the account and its key are to the venue: it may not be what its owner said it is.
    fn standing(&mut self, now: Now, standing: &Standing);
    /// An order's worst case moved.
    fn order(&mut self, now: Now, change: &Change);
    /// A position changed.
    fn position(&mut self, now: Now, instrument: InstrumentId, position: &Position);
    /// The deadline passed.
    fn tick(&mut self, now: Now);
    /// When [`Self::tick`] wants to be called.
    fn deadline(&self) -> Option<Mono>;
    /// What it has to say, one thing at a time; `None` when all is said. Each is journaled before it has consequences.
    fn notice(&mut self, now: Now) -> Option<Self::Notice>;
    /// Must this open order go? Whoever brought the brake there.
    fn stops(&self, order: &Order) -> bool;
    /// The next order by which the brake itself shrinks what is held; `None` when there is nothing to send now. It has to
    /// be judged like any other.
    fn unwind(&mut self, now: Now, desk: &Desk) -> Option<Order>;
    /// Walks the checks of an order and forgets what they said: code and data that lie still too long are cold when they
    /// count. Nothing changes, nothing is permitted.
    fn rehearse(&self, _now: Now, _order: &Order, _context: &Context<'_>) {}
    /// May this order leave?
    fn judge(&mut self, now: Now, order: &Order, context: &Context<'_>) -> Result<Self::Approved, Self::Refused>;
}

/// The journal did not take a record. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFault {
    /// No room: the next segment is not there yet, or the disk is full.
    Full,
    /// The medium failed; the journal refuses everything until a restart.
    Broken,
    /// Longer than any record may be.
    TooLong,
}

/// Record. It appends, in order, before the decision takes effect.
pub trait Log {
    /// Proof that `T` stands in the journal.
    type Recorded<T>;

    /// The moment the next record will carry. Decisions are taken at it, so that whoever reads the record can take them
    /// again to the last bit.
    fn stamp(&mut self, now: Now) -> Now {
        now
    }
    /// Appends a fact; returns its place.
    fn fact<R: Record>(&mut self, now: Now, cause: Seq, fact: &R) -> Result<Seq, LogFault>;
    /// Appends a decision and returns it with its proof.
    fn record<R: Record>(&mut self, now: Now, cause: Seq, decision: R) -> Result<Self::Recorded<R>, LogFault>;
    /// Has the place of the next records near at hand. Nothing is written.
    fn ready(&mut self) {}
    /// Can it be trusted with the next one?
    fn health(&self) -> LogHealth;
}

//! What the gate says without being asked, in the layouts it is journaled in.
//!
//! ```text
//!  Trip    88 = version 8 | measured 8 | limit 8 | limits 4 id 2 scope 1 before 1 | after 1 reason 1 pad 6 | author 40 | mono 8
//!  Answer  56 = version 8 | limits 4 document 1 doubt 1 pad 2 | author 40
//!  Fortune 40 = unit value 8 | highest 8 | day 8 | day's start 8 | equity 8
//!  Unwind  64 = position 8 | theirs 8 | px 8 | mark 8 | mid 8 | since 8 | id 2 stage 1 reason 1 bound 4 | pad 8
//! ```
//!
//! Out: one notice at a time. Never: the same standing twice; a change of the brake that is not said.

use crate::brake::{Brake, CALM, Reason, SCOPES, Scope, Standing, State};
use crate::consent::Doubt;
use keel_core::event::{DocumentKind, Kind, Record};
use keel_core::ids::{InstrumentId, StrategyId, Text};
use keel_core::units::{Mono, Notional, Px, Qty};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// Kind of a [`Scope`], as journaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum ScopeKind {
    /// [`Scope::Global`].
    #[default]
    Global = 0,
    /// [`Scope::Account`].
    Account = 1,
    /// [`Scope::Instrument`].
    Instrument = 2,
    /// [`Scope::Strategy`].
    Strategy = 3,
}

/// A scope of the brake stands somewhere else than before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Trip {
    /// Version of the brake's state after it.
    pub version: u64,
    /// What was measured, in the unit of the reason; 0 for what is not measured.
    pub measured: i64,
    /// The threshold it was held against; 0 for what is not measured.
    pub limit: i64,
    /// Version of the limits in force.
    pub limits: u32,
    /// Which instrument or strategy; 0 for the others.
    pub id: u16,
    /// What moved.
    pub scope: ScopeKind,
    /// Where it stood.
    pub before: State,
    /// Where it stands.
    pub after: State,
    /// Why.
    pub reason: Reason,
    /// Zero.
    pub pad: [u8; 6],
    /// Who asked; empty when nobody did.
    pub author: Text<39>,
    /// Monotonic clock when it was said.
    pub at: Mono,
}

impl Trip {
    /// What moved.
    #[must_use]
    pub const fn place(&self) -> Scope {
        match self.scope {
            ScopeKind::Global => Scope::Global,
            ScopeKind::Account => Scope::Account,
            ScopeKind::Instrument => Scope::Instrument(InstrumentId(self.id)),
            ScopeKind::Strategy => Scope::Strategy(StrategyId(self.id)),
        }
    }
}

/// A document of people was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Answer {
    /// Version of the brake's state after it.
    pub version: u64,
    /// Version of the limits in force after it.
    pub limits: u32,
    /// What was asked.
    pub document: DocumentKind,
    /// [`Doubt::None`] when it was done.
    pub doubt: Doubt,
    /// Zero.
    pub pad: [u8; 2],
    /// Who brought it.
    pub author: Text<39>,
}

/// What the account is worth by its own measure, so that a restart is no fresh start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Fortune {
    /// Value of one unit, 1e-8; 1 at the very beginning.
    pub unit_value: i64,
    /// The highest it ever was.
    pub highest: i64,
    /// Day since 1970 by UTC.
    pub day: u64,
    /// Value of one unit when that day began.
    pub day_value: i64,
    /// The venue's equity; zero before the first wallet.
    pub equity: Notional,
}

/// How far the brake is with one position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum Stage {
    /// Nothing to do.
    #[default]
    Idle = 0,
    /// Waits for the orders still open to end.
    Cancelling = 1,
    /// A slice is asked for.
    Slicing = 2,
    /// The touch is too far from the mark: it does not cross a wick.
    Wick = 3,
    /// No mark or no book to price by.
    Blind = 4,
    /// What is left is smaller than the smallest order.
    Dust = 5,
    /// Our count says flat; the venue has not said so.
    Verifying = 6,
    /// Flat, by the venue's own word.
    Flat = 7,
    /// It shrank far enough.
    Enough = 8,
}

/// The brake got further with one position, or stopped getting further.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Unwind {
    /// Our count.
    pub position: Qty,
    /// The venue's word; our count where it has not said anything.
    pub theirs: Qty,
    /// Price bound of the slice; zero for none.
    pub px: Px,
    /// Mark price.
    pub mark: Px,
    /// Middle of the book; zero when it cannot be trusted.
    pub mid: Px,
    /// When it began with this position.
    pub since: Mono,
    /// Which instrument.
    pub instrument: InstrumentId,
    /// How far it is.
    pub stage: Stage,
    /// Why it does this.
    pub reason: Reason,
    /// Basis points the slice may reach through the mark.
    pub bound: i32,
    /// Zero.
    pub pad: [u8; 8],
}

keel_core::record! {
    Trip => Trip, 88;
    Answer => Answer, 56;
    Fortune => Fortune, 40;
    Unwind => Unwind, 64;
}

/// One thing the gate says.
#[derive(Clone, Copy, Debug)]
pub enum Notice {
    /// The brake moved.
    Trip(Trip),
    /// People were answered.
    Answer(Answer),
    /// What the account is worth.
    Fortune(Fortune),
    /// The brake got further with a position.
    Unwind(Unwind),
}

impl Record for Notice {
    fn kind(&self) -> Kind {
        match self {
            Self::Trip(fact) => fact.kind(),
            Self::Answer(fact) => fact.kind(),
            Self::Fortune(fact) => fact.kind(),
            Self::Unwind(fact) => fact.kind(),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Trip(fact) => fact.bytes(),
            Self::Answer(fact) => fact.bytes(),
            Self::Fortune(fact) => fact.bytes(),
            Self::Unwind(fact) => fact.bytes(),
        }
    }
}

/// What was already said of the brake.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    standings: [Standing; SCOPES],
    version: u64,
}

impl Default for Said {
    /// Nothing: a gate that begins says where it stands.
    fn default() -> Self {
        Self { standings: [CALM; SCOPES], version: 0 }
    }
}

impl Said {
    /// The next scope that stands elsewhere than was said, with where it stood. One comparison when nothing moved.
    pub(crate) fn next(&mut self, brake: &Brake) -> Option<(Scope, Standing, Standing)> {
        if self.version == brake.version() {
            return None;
        }
        for slot in 0..SCOPES {
            let Some(scope) = Scope::at(slot) else { continue };
            let (before, now) = (self.standings[slot], brake.standing(scope));
            if before.state != now.state || before.reason.policy() != now.reason.policy() {
                self.standings[slot] = now;
                return Some((scope, before, now));
            }
        }
        self.version = brake.version();
        None
    }
}

/// A trip without what was measured.
pub(crate) fn trip(scope: Scope, before: Standing, now: Standing) -> Trip {
    let (scope, id) = match scope {
        Scope::Global => (ScopeKind::Global, 0),
        Scope::Account => (ScopeKind::Account, 0),
        Scope::Instrument(id) => (ScopeKind::Instrument, id.0),
        Scope::Strategy(id) => (ScopeKind::Strategy, id.0),
    };
    Trip { scope, id, before: before.state, after: now.state, reason: now.reason, ..Trip::default() }
}

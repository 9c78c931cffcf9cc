//! What the process was: the first and the last record of a run, so that a journal explains itself.

use crate::ids::Text;
use crate::record;
use crate::units::{Mono, Wall};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First record of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Start {
    /// Monotonic clock at the start.
    pub mono: Mono,
    /// Wall clock at the same moment.
    pub wall: Wall,
    /// Seed of every generator of this run.
    pub seed: u64,
    /// Run number: the high half of its client order ids.
    pub run: u32,
    /// Process id.
    pub pid: u32,
    /// SHA-256 of the effective configuration, secrets left out.
    pub config: [u8; 32],
    /// Version of the program.
    pub build: Text<39>,
}

/// Last record of a run that ended in good order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Stop {
    /// Monotonic clock at the end.
    pub mono: Mono,
    /// Wall clock at the same moment.
    pub wall: Wall,
    /// Orders not proven finished.
    pub open_orders: u32,
    /// Facts and decisions the journal did not take. The engine acted on such facts all the same: a replay of this run
    /// lacks them, and differs.
    pub unrecorded: u32,
}

record! {
    Start => Start, 104;
    Stop => Stop, 24;
}

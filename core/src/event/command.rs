//! The front door: what an operator, an alert or a timer asks of the engine. Each is journaled with its author.

use super::Flag;
use crate::ids::Text;
use crate::record;
use crate::units::Mono;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// What is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum CommandKind {
    /// Nothing: a heartbeat of the author.
    #[default]
    Ping = 0,
    /// Only orders that shrink positions from here on.
    ReduceOnly = 1,
    /// Cancel everything, place nothing.
    CancelOnly = 2,
    /// Nothing leaves any more but cancels already under way.
    Halt = 3,
    /// Trading may begin: everything at the start checked out.
    Arm = 4,
    /// Cancel everything and end in good order.
    Shutdown = 5,
}

/// One command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Command {
    /// When it came in.
    pub recv: Mono,
    /// Who: `operator:ann`, `demo`, `node`.
    pub author: Text<39>,
    /// What.
    pub kind: CommandKind,
    /// The author proved who they are.
    pub authenticated: Flag,
    /// Zero.
    pub pad: [u8; 6],
}

/// The engine's own deadline passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Timer {
    /// The deadline, not the moment it was noticed.
    pub due: Mono,
}

record! {
    Command => Command, 56;
    Timer => Timer, 8;
}

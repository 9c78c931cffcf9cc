//! The record.
//!
//! In: facts and decisions, in the order the engine consumed and made them. Out: [`Recorded`] proofs, mapped segments,
//! cursors, hashes. Never: a record changed, an order without one.
//!
//! | file | what |
//! |---|---|
//! | [`frame`] | one record, byte by byte: start here |
//! | [`segment`] | one file: header page, frames, seal page |
//! | `map`, `bus` | the file as memory, and what happens when it is cut short: the only unsafe code |
//! | [`writer`] | append, inline on the engine's thread |
//! | [`keeper`] | prefault, sync, hash, seal, next segment, on a cold thread |
//! | `recover` | the exact end of a journal some process left |
//! | [`reader`], [`mod@verify`] | the same bytes for everyone else |
//! | [`mod@archive`] | sealed segments, compressed |
//! | [`retain`], [`acts`] | how long they are kept, legal holds, and the log of who did what |
//! | [`history`] | hash chain, RFC 6962 tree, seals |
//! | [`note`], [`proof`], [`inclusion`], [`mod@consistency`], [`anchor`] | signed checkpoints and proofs in the formats of C2SP, and who keeps them |

pub mod acts;
pub mod anchor;
pub mod archive;
mod bus;
pub mod consistency;
pub mod damage;
pub mod frame;
mod frames;
pub mod history;
pub mod inclusion;
pub mod keeper;
mod map;
pub mod note;
pub mod proof;
pub mod reader;
pub mod recorded;
mod recover;
pub mod retain;
pub mod segment;
pub mod verify;
pub mod writer;

pub use damage::{Damage, What};
pub use frame::Entry;
pub use keeper::Keeper;
pub use reader::Reader;
pub use recorded::Recorded;
pub use recover::Recovery;
pub use verify::{Report, verify};
pub use writer::{Durability, Gauge, OpenError, Options, Writer};

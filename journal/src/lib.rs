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
//!
//! What it promises, and the case that breaks in when it is not so:
//!
//! | when | what holds | broken into by |
//! |---|---|---|
//! | the process is killed at any instant | every record whose append returned is there | `tests/cases/kill.rs`: SIGKILL under load |
//! | the host is lost | everything up to [`Gauge::durable`] is there, nothing that was not written, and the exact end is found; what may be missing is the sync interval (50 ms; full pages 20 ms), a nap of the keeper's thread (10 to 40 ms) and the time the disk takes to follow | `tests/medium`: power cuts under ext4, writes torn and reordered; `tests/cases/power.rs`: the same as a model, 300 times |
//! | the same with [`Durability::Sync`] | no decision is lost: its order leaves after the medium has it. The price is one sync of the disk for each: `examples/append.rs` measures it | the same, every second cut |
//! | the disk is full | trading shrinks, then market data stops, cancels last; nothing is overwritten; it goes on when there is space | `tests/cases/space.rs`, `tests/medium/errors.rs` |
//! | the medium answers with an error | the health is faulty for good, nothing more is taken, no later sync is believed; a restart finds what was durable | `tests/medium/errors.rs`: EIO and ENOSPC of writes, syncs, allocations |
//! | a file is cut short, foreign, of another journal or missing | an error that names it, for readers and for writers; not a SIGBUS | `tests/cases/truncate.rs`, `tests/cases/damage.rs`, `tests/cases/fuzz.rs` |
//! | a byte or a record of a sealed journal is changed, removed, inserted, moved | it is named | `tests/cases/mutations.rs`: 10,000, five kinds |
//! | two writers | the second is refused | `tests/cases/life.rs`, with processes `tests/cases/clock.rs` |
//! | the wall clock steps, either way, also while nobody writes | records stay in strict order of time, and each says how wrong its time may be | `tests/cases/clock.rs` |

pub mod acts;
pub mod anchor;
pub mod archive;
mod bus;
mod checksum;
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

//! The record.
//!
//! In: facts and decisions, in the order the engine consumed and made them. Out: [`Recorded`] proofs, mapped segments,
//! cursors, hashes. Never: a record changed, an order without one.

pub mod recorded;

pub use recorded::Recorded;

//! Permission.
//!
//! In: what the engine sees and the one question "may this order leave?". Out: [`Approved`] or [`Refused`], each with
//! every value that was measured. Never: a clock, a socket, a file; an order approved because something was missing.

pub mod decision;

pub use decision::{Approved, Decision, Refusal, Refused};

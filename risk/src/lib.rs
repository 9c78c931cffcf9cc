//! Permission.
//!
//! In: what the engine sees and the one question "may this order leave?". Out: [`Approved`] or [`Refused`], each with
//! every value that was measured. Never: a clock, a socket, a file; an order approved because something was missing.

pub mod backtest;
pub mod brake;
mod checks;
pub mod consent;
pub mod decision;
pub mod exposure;
pub mod gate;
pub mod history;
pub mod limits;
mod normal;
pub mod refusal;
pub mod register;
pub mod sizing;
pub mod stress;
mod traffic;
pub mod trips;
pub mod var;
mod watch;

pub use decision::{Approved, Decision, Refused};
pub use gate::Gate;
pub use limits::{Limits, LimitsError};
pub use refusal::Refusal;
pub use var::Scenarios;

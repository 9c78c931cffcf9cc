//! The venue's private side.
//!
//! In: recorded orders, private bytes, answers to queries, time. Out: venue bytes, queries, execution facts. Never: a
//! clock, a socket, a thread, luck of its own; an order that was not approved and recorded; a guess about an order's
//! fate; a fact from half a frame.
//!
//! ```text
//!                  +---------------------------- Gateway ----------------------------+
//!  Recorded<Approved> -> budget -> encode ---------------------> Send{Trade}  (Rest{..} while that link is down)
//!  Frame{Private}     -> session -> decode -> order, fill, position, wallet facts
//!  Frame{Trade}       -> session -> decode -> acks -> budget
//!  RestReply          -> rest -> reconcile -> the same facts, marked `queried`
//!                  +------------------------------------------------------------------+
//! ```

pub mod account;
pub mod batch;
pub mod budget;
pub mod decode;
pub mod encode;
pub mod gateway;
mod reconcile;
pub mod rest;
pub mod session;
pub mod sign;
pub mod sim;
mod sweep;
mod text;
mod watch;

pub use gateway::Gateway;
pub use reconcile::OVERLAP;

#[cfg(test)]
mod testing;

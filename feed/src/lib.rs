//! Public venue bytes to market facts.
//!
//! In: frames of the public stream, when they came, the time. Out: market facts in order, a verdict on every book, frames
//! to send. Never: a clock, a socket, luck; a fact of a frame that is refused half way; a book passed on that is not in
//! sequence; an allocation while the venue speaks its known shapes.
//!
//! ```text
//!            +------------------------- session (one connection) -------------------------+
//!   frame -> | decode: known | general -> depth: in sequence? sane? -> facts, Health      | -> engine
//!            +----------------------------------------------------------------------------+
//!              pair: two of them, first arrival wins        clock: the venue's, for lateness
//!              status: the venue's announcements, a connection of their own
//!   page  -> instruments: rows that fit, refusals by name
//!   kline -> bars: candles that may be computed with, quarantine, returns
//! ```

pub mod bars;
pub mod clock;
pub mod decode;
pub mod depth;
pub mod instruments;
mod json;
pub mod pair;
mod scan;
pub mod session;
pub mod status;
pub mod topic;

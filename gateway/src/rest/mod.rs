//! Requests over HTTP: what to send, signed, and what the answers mean. No socket.
//!
//! In: a [`Call`] and the time; later the status and the body. Out: a [`Request`] as it goes on the wire; then facts
//! through a sink, marked `queried`, or a typed [`Answer`]. Never: a body serialised twice (the signature covers the
//! bytes that are sent), success read from anything but `retCode` 0, a fact from half an answer.
//!
//! ```text
//!  Call --request--> GET path?query | POST path + body   (signed: timestamp key window query-or-body)
//!  status, body --parse--> {"retCode":0,"result":{..}} -> Answer        else RestError::{Http, Venue, Decode}
//! ```

mod answer;
mod call;
pub mod money;

pub use answer::{Account, Answer, Fee, KeyFacts, RestError, parse};
pub use call::{Call, EXECUTIONS_SPAN, Method, Request};

#[cfg(test)]
mod tests;

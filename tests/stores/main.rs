//! The stores: `keel ship` against a Postgres of our own and a double of Loki, both of which are made to fail.
//!
//! Every case ends the same way: the counts and hashes in the store are those of the journal, compared by `keel ship
//! --check` and by plain SQL, and the case says how many rows crossed.

#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]
#![allow(clippy::disallowed_methods, reason = "tests watch the clock from outside")]
#![allow(missing_docs, unreachable_pub, reason = "nobody outside this binary reads it")]

mod anchors;
mod chaos;
mod doors;
mod history;
#[path = "../cases/keel.rs"]
#[allow(dead_code, reason = "shared with the other cases, which use the rest")]
mod keel;
mod lines;
mod loki;
mod outage;
mod postgres;
mod proxy;
mod rows;
mod ship;
mod speed;

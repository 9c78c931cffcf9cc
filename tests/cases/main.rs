//! The cases: the house's rules as tests, and the whole of keel driven from outside.

#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]
#![allow(clippy::disallowed_methods, reason = "tests watch the clock from outside")]
#![allow(missing_docs, unreachable_pub, reason = "nobody outside this binary reads it")]

mod allocation;
mod brake;
mod casework;
mod deadman;
mod demo;
mod flows;
mod incidents;
mod input;
mod journal;
mod keel;
mod kill;
mod knight;
mod measured;
mod replay;
mod rooms;
mod surveil;
mod tidy;
mod world;

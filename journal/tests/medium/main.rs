//! The medium: the real journal on a real file system over a layer that loses power, lies, or answers with errors.
//!
//! ```text
//!   writer and keeper, a process of their own
//!   ext4, mounted                     or: nothing, the journal's files lie on the layer itself
//!   loop device
//!   layer, a file system in user space: what was synced, and the writes since
//! ```
//!
//! Every case runs in a mount namespace of its own, so nothing it mounts outlives it, however it ends. `tests/power
//! --cuts N` runs the long form.

#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]
#![allow(clippy::disallowed_methods, reason = "tests watch the clock from outside")]
#![allow(missing_docs, unreachable_pub, reason = "nobody outside this binary reads it")]

mod errors;
mod layer;
mod luck;
mod medium;
mod power;
mod roles;
mod room;
mod stage;

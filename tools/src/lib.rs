//! Everything with a window: sockets, threads, clocks, files, and the subcommands people type.
//!
//! Each subcommand is a module with `Args` (what a person may say) and `run` (what happens). A usage error ends with
//! exit code 2, a failure with one clear sentence and exit code 1.

pub mod anchors;
pub mod archive;
pub mod brake;
pub mod cases;
pub mod checkpoint;
pub mod compliance;
pub mod config;
pub mod deadman;
pub mod decode;
pub mod demo;
pub mod drill;
pub mod exchange;
pub mod explain;
pub mod export;
pub mod fact;
pub mod keys;
pub mod kyc;
pub mod limits;
pub mod live;
pub mod moment;
pub mod node;
pub mod prove;
pub mod record;
pub mod replay;
pub mod report;
pub mod retain;
pub mod risk;
#[cfg(feature = "ship")]
pub mod ship;
pub mod summary;
pub mod tail;
pub mod tape;
pub mod top;
pub mod verify;

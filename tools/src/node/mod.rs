//! The node: wires, clocks, threads, and the agents between them.

pub mod board;
pub mod clock;
pub mod http;
pub mod meter;
pub mod metrics;
pub mod plan;
pub mod thread;
pub mod wire;

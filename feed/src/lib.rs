//! Public venue bytes to market facts.

pub mod decode;
pub mod depth;
mod scan;
pub mod session;
pub mod topic;

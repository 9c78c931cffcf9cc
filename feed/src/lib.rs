//! Public venue bytes to market facts.

pub mod decode;
pub mod depth;
pub mod instruments;
mod json;
mod scan;
pub mod session;
pub mod topic;

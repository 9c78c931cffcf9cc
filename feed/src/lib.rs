//! Public venue bytes to market facts.

pub mod decode;
mod scan;
pub mod topic;

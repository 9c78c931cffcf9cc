//! Public venue bytes to market facts.

pub mod decode;
pub mod depth;
mod scan;
pub mod topic;

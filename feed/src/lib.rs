//! Public venue bytes to market facts.

pub mod bars;
pub mod clock;
pub mod decode;
pub mod depth;
pub mod instruments;
mod json;
pub mod pair;
mod scan;
pub mod session;
pub mod topic;

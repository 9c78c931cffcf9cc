//! What compliance keeps beside the trading journal, and the programs that fill and read it.

pub mod guard;
pub mod sanctions;
pub mod stream;
pub mod surveil;
pub mod terms;

//! The one shape of everything that runs: an agent does what work there is and says how much.
//!
//! Who calls it, on which CPU, and what the thread does when there is no work is the plan's business, never the
//! agent's. Clocks are read once per duty cycle by the thread and handed in.

use crate::units::Now;

/// Something with a duty.
pub trait Agent {
    /// For threads, metrics and complaints.
    fn name(&self) -> &'static str;

    /// One bounded round of work. Returns how much was done; 0 lets the thread idle.
    fn duty(&mut self, now: Now) -> usize;
}

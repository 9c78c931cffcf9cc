//! Cancel everything, and again until the venue itself says that nothing is open.
//!
//! One `cancel-all` takes at most 500 orders, picked at random, and its answer only says that it was heard. So it is
//! asked, the open orders are read, and as long as there is one it is asked again.
//!
//! ```text
//!  begin -> cancel-all -> PAUSE -> open orders? -- none --> over
//!              ^                        |
//!              '------- some, or no answer
//! ```

use crate::rest::Call;
use keel_core::units::Mono;

/// Between a `cancel-all` and the question whether it worked; also before anything is asked again.
pub(crate) const PAUSE: u64 = 200_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Off,
    Cancel,
    Look,
}

/// The sweep.
#[derive(Debug)]
pub(crate) struct Sweep {
    stage: Stage,
    asking: bool,
    due: Mono,
    rounds: u32,
}

impl Sweep {
    pub(crate) const fn new() -> Self {
        Self { stage: Stage::Off, asking: false, due: Mono::from_nanos(0), rounds: 0 }
    }

    /// Begins, or goes on if it has begun.
    pub(crate) fn begin(&mut self, now: Mono) {
        if self.stage == Stage::Off {
            (self.stage, self.asking, self.due, self.rounds) = (Stage::Cancel, false, now, 0);
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.stage != Stage::Off
    }

    /// Times everything was cancelled in this sweep.
    pub(crate) const fn rounds(&self) -> u32 {
        self.rounds
    }

    pub(crate) fn question(&mut self, now: Mono) -> Option<Call> {
        if self.asking || now < self.due {
            return None;
        }
        let call = match self.stage {
            Stage::Off => return None,
            Stage::Cancel => Call::CancelAll,
            Stage::Look => Call::OpenOrders { cursor: String::new() },
        };
        self.asking = true;
        Some(call)
    }

    /// `cancel-all` was heard.
    pub(crate) fn cancelling(&mut self, now: Mono) {
        self.rounds += 1;
        (self.stage, self.asking, self.due) = (Stage::Look, false, now.after(PAUSE));
    }

    /// The first page of what is open has `rows`.
    pub(crate) fn looked(&mut self, now: Mono, rows: usize) {
        self.stage = if rows == 0 { Stage::Off } else { Stage::Cancel };
        (self.asking, self.due) = (false, now);
    }

    /// No answer: begin again with cancelling.
    pub(crate) fn again(&mut self, at: Mono) {
        (self.stage, self.asking, self.due) = (Stage::Cancel, false, at);
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        (self.is_on() && !self.asking).then_some(self.due)
    }
}

//! The journal's cold agent: the keeper, and what it knows on the board.

use super::board::{Board, Cell};
use super::{Part, Report};
use keel_core::agent::Agent;
use keel_core::units::Now;
use keel_journal::Keeper;
use std::sync::Arc;

/// The agent.
pub struct JournalAgent {
    keeper: Keeper,
    board: Arc<Board>,
}

impl std::fmt::Debug for JournalAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JournalAgent")
    }
}

impl JournalAgent {
    /// Around this keeper.
    #[must_use]
    pub const fn new(keeper: Keeper, board: Arc<Board>) -> Self {
        Self { keeper, board }
    }
}

impl Agent for JournalAgent {
    fn name(&self) -> &'static str {
        "journal"
    }

    fn duty(&mut self, now: Now) -> usize {
        let work = self.keeper.duty(now);
        let gauge = self.keeper.gauge();
        self.board.set(Cell::HeadSeq, gauge.head().0);
        self.board.set(Cell::DurableSeq, gauge.durable().0);
        work
    }
}

impl Part for JournalAgent {
    fn finish(self: Box<Self>, report: &mut Report) {
        report.keeper = Some(self.keeper);
    }
}

//! What people ask of the gate in writing: release the brake, put new limits in force.
//!
//! In: documents, part by part, at the time they were journaled. Out: the change, or a doubt; either is said as an
//! [`Answer`]. The signatures are checked here and not in front of the door, so that a replay of the journal checks them
//! again. Never: a change nobody signed; a change that fails half-way.

use crate::consent::{Doubt, People, read_arm, read_limits};
use crate::gate::Gate;
use crate::latch::{Latch, MAX_PARTS};
use crate::notice::Answer;
use keel_core::event::{Document, DocumentKind, Parts};
use keel_core::instrument::Instruments;
use keel_core::units::Now;

/// What of a document came in so far, and what was answered last.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    people: People,
    arm: Parts,
    limits: Parts,
    answer: Option<Answer>,
    answered: u64,
    last: Doubt,
}

impl Gate {
    /// Lets these people release the brake and change the limits. Without them nobody may.
    #[must_use]
    pub fn trusting(mut self, people: People) -> Self {
        self.petitions.people = people;
        self
    }

    /// Begins where earlier runs ended: their latches, never better; their version; the fortune of the account.
    pub fn resume(&mut self, latch: &Latch) {
        self.brake = latch.brake();
        if let Some(fortune) = latch.fortune() {
            self.trips.resume(fortune);
        }
    }

    pub(crate) fn petition(&mut self, now: Now, document: &Document) {
        let parts = match document.kind {
            DocumentKind::Arm => &mut self.petitions.arm,
            DocumentKind::Limits => &mut self.petitions.limits,
            _ => return,
        };
        let text = if document.parts > MAX_PARTS { Some(Vec::new()) } else { parts.take(document) };
        let Some(text) = text else { return };
        let done = match document.kind {
            DocumentKind::Arm => self.arm(now, &text),
            _ => self.adopt(now, &text),
        };
        self.petitions.answered += 1;
        self.petitions.last = done.err().unwrap_or(Doubt::None);
        self.petitions.answer = Some(Answer {
            version: self.brake.version(),
            limits: self.limits.version,
            document: document.kind,
            doubt: self.petitions.last,
            pad: [0; 2],
            author: document.author,
        });
    }

    /// Documents answered so far, and what was said to the last.
    #[must_use]
    pub const fn answered(&self) -> (u64, Doubt) {
        (self.petitions.answered, self.petitions.last)
    }

    pub(crate) fn answer(&mut self) -> Option<Answer> {
        self.petitions.answer.take()
    }

    fn arm(&mut self, now: Now, text: &[u8]) -> Result<(), Doubt> {
        let (arm, signed) = read_arm(text)?;
        self.petitions.people.arm(&arm, &signed, now.wall, self.brake.version(), self.limits.version)?;
        self.brake.release();
        self.flatten.release();
        self.trips.release();
        for conduct in &mut self.strategies {
            conduct.executions.release();
            conduct.rejects.release();
        }
        self.uphold();
        Ok(())
    }

    fn adopt(&mut self, now: Now, text: &[u8]) -> Result<(), Doubt> {
        let (replaces, after, signed) = read_limits(text)?;
        if replaces != self.limits.version {
            return Err(Doubt::Overtaken);
        }
        self.petitions.people.limits(&self.limits, &after, &signed)?;
        let table = Instruments::new(self.instruments.iter().copied()).map_err(|_| Doubt::BadLimits)?;
        self.reload(now, after, &table).map_err(|_| Doubt::BadLimits)
    }
}

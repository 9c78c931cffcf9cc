//! What the journal says of the brake: a pure fold, so that a latch survives the process that set it.
//!
//! In: records of earlier runs, in order. Out: where every scope stood, the version people saw, what the account was worth,
//! and the limits they agreed to. Never: a scope that stands better than it was last said to; limits nobody signed.

use crate::brake::{Brake, CALM, SCOPES, Standing, State};
use crate::consent::Doubt;
use crate::notice::{Answer, Fortune, Trip};
use keel_core::event::{Document, DocumentKind, Kind, Parts, read};

/// Parts a document may have; one with more is no document. 64 kB of limits is every instrument with its own.
pub const MAX_PARTS: u16 = 32;

/// One version of the limits, as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// Its version.
    pub version: u32,
    /// The document, signatures and all.
    pub text: Vec<u8>,
}

/// What is known of earlier runs.
#[derive(Clone, Debug)]
pub struct Latch {
    standings: [Standing; SCOPES],
    version: u64,
    fortune: Option<Fortune>,
    parts: Parts,
    brought: Option<Vec<u8>>,
    adopted: Vec<Adopted>,
}

impl Default for Latch {
    fn default() -> Self {
        Self {
            standings: [CALM; SCOPES],
            version: 0,
            fortune: None,
            parts: Parts::default(),
            brought: None,
            adopted: Vec::new(),
        }
    }
}

impl Latch {
    /// Takes in a record. One that cannot be read halts everything: what it said is not known.
    pub fn take(&mut self, kind: Kind, payload: &[u8]) {
        match kind {
            Kind::Trip => match read::<Trip>(payload) {
                Some(trip) => self.trip(&trip),
                None => self.standings[0].state = State::Halted,
            },
            Kind::Fortune => self.fortune = read(payload).or(self.fortune),
            Kind::Document => {
                if let Some(part) = read::<Document>(payload).filter(|part| part.kind == DocumentKind::Limits) {
                    self.brought = self.parts.take(&part).or_else(|| self.brought.take());
                }
            }
            Kind::Answer => {
                if let Some(answer) = read::<Answer>(payload) {
                    self.version = self.version.max(answer.version);
                    self.answered(&answer);
                }
            }
            _ => {}
        }
    }

    fn trip(&mut self, trip: &Trip) {
        self.version = self.version.max(trip.version);
        self.standings[trip.place().slot()] = Standing { state: trip.after, reason: trip.reason };
    }

    fn answered(&mut self, answer: &Answer) {
        if answer.document != DocumentKind::Limits {
            return;
        }
        if let (Some(text), Doubt::None) = (self.brought.take(), answer.doubt) {
            self.adopted.push(Adopted { version: answer.limits, text });
        }
    }

    /// The brake of the process that begins now.
    #[must_use]
    pub fn brake(&self) -> Brake {
        Brake::resumed(self.standings, self.version)
    }

    /// What the account was last worth.
    #[must_use]
    pub const fn fortune(&self) -> Option<&Fortune> {
        self.fortune.as_ref()
    }

    /// Every version of the limits people agreed to, oldest first.
    #[must_use]
    pub fn adopted(&self) -> &[Adopted] {
        &self.adopted
    }
}

//! What the journal says of the brake: a pure fold, so that a latch survives the process that set it.
//!
//! In: records of earlier runs, in order. Out: where every scope stood, the version people saw, what the account was worth,
//! and the limits they agreed to; and all of it as records again, for the next run to begin with. Never: a scope that stands
//! better than it was last said to; limits nobody signed.

use crate::brake::{Brake, CALM, SCOPES, Scope, Standing, State};
use crate::consent::Doubt;
use crate::notice::{self, Answer, Fortune, Notice, Trip};
use keel_core::event::{Document, DocumentKind, Kind, Parts, read};
use keel_core::ids::Text;
use keel_core::units::Mono;

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
                let limits = |part: &Document| matches!(part.kind, DocumentKind::Limits | DocumentKind::Adopted);
                if let Some(part) = read::<Document>(payload).filter(limits) {
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
        if !matches!(answer.document, DocumentKind::Limits | DocumentKind::Adopted) {
            return;
        }
        // every run says again what it took over; a version is adopted once
        let known = self.adopted.last().is_some_and(|last| last.version == answer.limits);
        if let (Some(text), Doubt::None, false) = (self.brought.take(), answer.doubt, known) {
            self.adopted.push(Adopted { version: answer.limits, text });
        }
    }

    /// Where the brake stands and what the account was worth, as the records the next run begins with: whoever reads them
    /// needs nothing older. The standing of the whole is always among them.
    pub fn standing(&self, at: Mono) -> impl Iterator<Item = Notice> {
        let limits = self.adopted.last().map_or(0, |adopted| adopted.version);
        let stood = move |slot: usize| {
            let (standing, scope) = (self.standings[slot], Scope::at(slot)?);
            let told = scope == Scope::Global || standing != CALM;
            told.then(|| Trip { version: self.version, limits, at, ..notice::trip(scope, standing, standing) })
        };
        (0..SCOPES).filter_map(stood).map(Notice::Trip).chain(self.fortune.map(Notice::Fortune))
    }

    /// The limits in force as parts, and what was answered to them; nothing while those of the configuration stand.
    pub fn agreed(&self, at: Mono, author: Text<39>) -> Option<(impl Iterator<Item = Document>, Answer)> {
        let last = self.adopted.last()?;
        let document = DocumentKind::Adopted;
        let answer = Answer { version: self.version, limits: last.version, document, author, ..Answer::default() };
        Some((Document::cut(at, author, document, &last.text)?, answer))
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

//! The records of one turn, and the log that holds the engine's words against them.
//!
//! In: what the engine writes now, record by record. Out: the first one that is not what stands in the journal: kind,
//! cause, stamps or any byte of the payload. Never: a record written.
//!
//! The journal's health is no fact of its own. The only thing it decides is whether an order that adds risk is refused
//! while the brake is off, and that refusal is on the page: it is read from there ([`Page::health`]).

use crate::fact::{Fields, Symbols, fields};
use crate::moment::utc;
use keel_core::event::{Kind, Record, read};
use keel_core::ids::Seq;
use keel_core::permit::{Log, LogFault, LogHealth};
use keel_core::units::{Mono, Now, Wall};
use keel_journal::Entry;
use keel_risk::brake::State;
use keel_risk::{Decision, Refusal};
use std::cell::RefCell;
use std::fmt::Write as _;
use std::rc::Rc;

/// Everything in a record but its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Place in the journal.
    pub seq: Seq,
    /// What it is.
    pub kind: Kind,
    /// The record that caused it.
    pub cause: Seq,
    /// The clock that decides.
    pub mono: Mono,
    /// The wall clock.
    pub wall: Wall,
    /// Bound of its error.
    pub clock_error: u32,
    from: usize,
    to: usize,
}

impl Fact {
    /// The header of a record that is not on a page.
    #[must_use]
    pub const fn new(seq: Seq, kind: Kind, cause: Seq, (mono, wall): (Mono, Wall), clock_error: u32) -> Self {
        Self { seq, kind, cause, mono, wall, clock_error, from: 0, to: 0 }
    }
}

/// A record on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Its header.
    pub fact: Fact,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// The first thing that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Odd {
    /// The engine wrote something else.
    Changed {
        /// In the journal.
        recorded: Owned,
        /// Now.
        replayed: Owned,
    },
    /// The engine wrote nothing more where the journal has a record.
    Missing {
        /// In the journal.
        recorded: Owned,
    },
    /// The engine wrote a record where the journal has none.
    Extra {
        /// Now.
        replayed: Owned,
    },
    /// The engine's timer fell due at another moment.
    Deadline {
        /// In the journal.
        recorded: Mono,
        /// Now.
        replayed: Mono,
    },
    /// Orders open at the end.
    Open {
        /// In the journal.
        recorded: u32,
        /// Now.
        replayed: usize,
    },
}

/// Records of one turn, in the memory of the turn before.
#[derive(Debug, Default)]
pub struct Page {
    facts: Vec<Fact>,
    bytes: Vec<u8>,
    met: usize,
    /// The turn may lack decisions at its end.
    pub cut: bool,
    /// Decisions a cut turn lacks.
    pub unwritten: u64,
    /// Compare the page's records; else only take them as they come.
    pub odd: Option<Odd>,
}

impl Page {
    /// Nothing on it.
    pub fn clear(&mut self) {
        self.facts.clear();
        self.bytes.clear();
        (self.met, self.cut, self.unwritten, self.odd) = (0, false, 0, None);
    }

    /// Is nothing on it?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// One record more.
    pub fn push(&mut self, entry: &Entry<'_>, kind: Kind) {
        let Entry { seq, cause, mono, wall, clock_error, payload, .. } = *entry;
        let from = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        self.facts.push(Fact { seq, kind, cause, mono, wall, clock_error, from, to: self.bytes.len() });
    }

    /// Its first record.
    #[must_use]
    pub fn first(&self) -> Option<&Fact> {
        self.facts.first()
    }

    /// All of them.
    #[must_use]
    pub fn facts(&self) -> &[Fact] {
        &self.facts
    }

    /// The payload of one of them.
    #[must_use]
    pub fn payload(&self, fact: &Fact) -> &[u8] {
        &self.bytes[fact.from..fact.to]
    }

    /// One of them on its own.
    #[must_use]
    pub fn owned(&self, fact: &Fact) -> Owned {
        Owned { fact: *fact, payload: self.payload(fact).to_vec() }
    }

    /// The turn is over: nothing may be left.
    pub fn close(&mut self) {
        if let (None, Some(left)) = (&self.odd, self.facts.get(self.met)) {
            self.odd = Some(Odd::Missing { recorded: self.owned(left) });
        }
    }

    /// The journal's health when the next decision was taken.
    fn health(&self) -> LogHealth {
        let Some(next) = self.facts.get(self.met).filter(|fact| fact.kind == Kind::Refused) else {
            return LogHealth::Sound;
        };
        match read::<Decision>(self.payload(next)) {
            Some(decision) if decision.failed(Refusal::JournalFaulty) => LogHealth::Faulty,
            Some(decision) if decision.failed(Refusal::ReducingOnly) && decision.brake == State::Active => {
                LogHealth::Low
            }
            _ => LogHealth::Sound,
        }
    }

    /// The engine writes a record: is it the next one?
    fn meet(&mut self, now: Now, cause: Seq, kind: Kind, payload: &[u8]) -> Seq {
        let (at, first) = (self.met, self.facts.first());
        let seq = Seq(first.map_or(0, |first| first.seq.0) + at as u64);
        self.met += 1;
        // the input stands there as the clocks said; each decision one nanosecond after the record before it
        let wall = now.wall.after(at as u64);
        let clock_error = first.map_or(0, |first| first.clock_error);
        let clock_error = clock_error.saturating_add(u32::try_from(at).unwrap_or(u32::MAX));
        let written = Fact { seq, kind, cause, mono: now.mono, wall, clock_error, from: 0, to: payload.len() };
        let same = |fact: &Fact| {
            Fact { from: 0, to: fact.to - fact.from, ..*fact } == written && self.payload(fact) == payload
        };
        match self.facts.get(at) {
            Some(fact) if same(fact) => {}
            _ if self.odd.is_some() => {}
            Some(fact) => {
                let (recorded, payload) = (self.owned(fact), payload.to_vec());
                self.odd = Some(Odd::Changed { recorded, replayed: Owned { fact: written, payload } });
            }
            None if self.cut => self.unwritten += 1,
            None => self.odd = Some(Odd::Extra { replayed: Owned { fact: written, payload: payload.to_vec() } }),
        }
        seq
    }
}

/// The engine's log in a replay: it writes nothing and compares everything.
#[derive(Clone, Debug, Default)]
pub struct Compare(pub Rc<RefCell<Page>>);

impl Log for Compare {
    type Recorded<T> = T;

    fn fact<R: Record>(&mut self, now: Now, cause: Seq, fact: &R) -> Result<Seq, LogFault> {
        Ok(self.0.borrow_mut().meet(now, cause, fact.kind(), fact.bytes()))
    }

    fn record<R: Record>(&mut self, now: Now, cause: Seq, decision: R) -> Result<R, LogFault> {
        self.0.borrow_mut().meet(now, cause, decision.kind(), decision.bytes());
        Ok(decision)
    }

    fn health(&self) -> LogHealth {
        self.0.borrow().health()
    }
}

impl Owned {
    /// As readers hand it out.
    #[must_use]
    pub fn entry(&self) -> Entry<'_> {
        let Fact { seq, kind, cause, mono, wall, clock_error, .. } = self.fact;
        let (code, payload) = (kind.code(), self.payload.as_slice());
        Entry { seq, code, kind: Some(kind), cause, mono, wall, clock_error, payload, bytes: payload }
    }

    /// Number, time, kind, and the fields that say something.
    #[must_use]
    pub fn line(&self, symbols: &Symbols) -> String {
        let Fact { seq, kind, wall, .. } = self.fact;
        let mut line = format!("{} {} {kind:?}", seq.0, utc(wall));
        for (name, value) in self.shown().iter().filter(|(name, value)| !value.is_nothing() && *name != "ticks") {
            let _ = write!(line, " {name}={}", value.text(symbols));
        }
        line
    }

    fn shown(&self) -> Fields {
        fields(&self.entry()).unwrap_or_default()
    }

    /// Header and payload by name.
    fn all(&self, symbols: &Symbols) -> Vec<(&'static str, String)> {
        let Fact { kind, cause, mono, wall, clock_error, .. } = self.fact;
        let mut all = vec![
            ("kind", format!("{kind:?}")),
            ("cause", cause.0.to_string()),
            ("mono", mono.nanos().to_string()),
            ("wall", utc(wall)),
            ("clock_error", clock_error.to_string()),
        ];
        all.extend(self.shown().iter().filter(|(name, _)| *name != "cause").map(|(n, v)| (*n, v.text(symbols))));
        all
    }
}

impl Odd {
    /// Which record, where there is one.
    #[must_use]
    pub fn seq(&self) -> Option<Seq> {
        match self {
            Self::Changed { recorded, .. } | Self::Missing { recorded } => Some(recorded.fact.seq),
            Self::Extra { replayed } => Some(replayed.fact.seq),
            Self::Deadline { .. } | Self::Open { .. } => None,
        }
    }

    /// What is different, by name: name, recorded, replayed.
    #[must_use]
    pub fn fields(&self, symbols: &Symbols) -> Vec<(&'static str, String, String)> {
        let nothing = || "-".to_owned();
        match self {
            Self::Changed { recorded, replayed } => {
                let (old, new) = (recorded.all(symbols), replayed.all(symbols));
                let find = |all: &[(&str, String)], name: &str| {
                    all.iter().find(|(have, _)| *have == name).map_or_else(nothing, |(_, value)| value.clone())
                };
                let mut names: Vec<&'static str> = old.iter().chain(&new).map(|(name, _)| *name).collect();
                let mut seen = Vec::new();
                names.retain(|name| {
                    !seen.contains(name) && {
                        seen.push(*name);
                        true
                    }
                });
                let rows = names.into_iter().map(|name| (name, find(&old, name), find(&new, name)));
                let mut rows: Vec<_> = rows.filter(|(_, old, new)| old != new).collect();
                if rows.is_empty() {
                    let hex = crate::fact::hex;
                    rows.push(("bytes", hex(&recorded.payload), hex(&replayed.payload)));
                }
                rows
            }
            Self::Missing { recorded } => vec![("record", recorded.line(symbols), nothing())],
            Self::Extra { replayed } => vec![("record", nothing(), replayed.line(symbols))],
            Self::Deadline { recorded, replayed } => {
                vec![("due", recorded.nanos().to_string(), replayed.nanos().to_string())]
            }
            Self::Open { recorded, replayed } => vec![("open_orders", recorded.to_string(), replayed.to_string())],
        }
    }
}

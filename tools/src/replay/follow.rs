//! One run of a journal, taken in again by an engine made from its first records.
//!
//! In: turns. Out: what was compared, the first difference with its cause, where the engine ended. Never: a comparison
//! after the first difference: everything behind it has another past.

use super::page::{Compare, Odd, Owned, Page};
use super::story::{Next, Opening, Role, Story, Taken, role};
use crate::node::SeatReport;
use anyhow::{Context, Result};
use keel_core::engine::{Counts, Engine};
use keel_core::event::{Kind, Stop, Timer, read};
use keel_core::ids::Seq;
use keel_core::permit::Gate;
use keel_core::strategy::Strategy;
use keel_core::units::{Now, Wall};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Which records are counted and shown.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// From this one on.
    pub from: Seq,
    /// To this one.
    pub to: Seq,
    /// Not before this moment.
    pub since: Wall,
    /// Before this moment.
    pub until: Wall,
}

impl Span {
    /// Is a record with these stamps in it?
    #[must_use]
    pub fn holds(&self, seq: Seq, wall: Wall) -> bool {
        seq >= self.from && wall >= self.since && !self.is_past(seq, wall)
    }

    /// Does it lie behind the span?
    #[must_use]
    pub fn is_past(&self, seq: Seq, wall: Wall) -> bool {
        seq > self.to || wall >= self.until
    }
}

/// How a run's records end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With its last record.
    Well,
    /// Anywhere: the process died, or is still writing.
    Cut,
    /// Where the span ends.
    Asked,
    /// At the first difference.
    Odd,
}

/// What a replay of one run found.
#[derive(Debug)]
pub struct Followed {
    /// Run number.
    pub run: u32,
    /// First and last record read.
    pub records: (Seq, Seq),
    /// Facts taken in, within the span.
    pub inputs: u64,
    /// Decisions equal to the byte, within the span.
    pub decisions: BTreeMap<Kind, u64>,
    /// SHA-256 over kind and payload of these decisions.
    pub digest: [u8; 32],
    /// The first difference and the input of its turn.
    pub odd: Option<(Odd, Option<Owned>)>,
    /// Decisions the engine takes at the very end that were not written before the process died.
    pub unwritten: u64,
    /// How the records end.
    pub ended: Ended,
    /// The engine's counters at the end.
    pub counts: Counts,
    /// Its positions.
    pub seats: Vec<SeatReport>,
}

/// Someone who looks on: after each turn, at the page and at the desk.
pub trait Witness<S: Strategy, G: Gate> {
    /// A turn in the span is over, and was the same.
    fn turn(&mut self, page: &Page, taken: &Taken, engine: &Engine<S, G, Compare>);
}

/// Nobody.
#[derive(Debug)]
pub struct Nobody;

impl<S: Strategy, G: Gate> Witness<S, G> for Nobody {
    fn turn(&mut self, _: &Page, _: &Taken, _: &Engine<S, G, Compare>) {}
}

/// Replays the run that begins with `opening`; returns what the story says next. The page is left with that.
pub fn follow<S: Strategy, G: Gate>(
    story: &mut Story,
    page: &Rc<RefCell<Page>>,
    opening: &Opening,
    mut engine: Engine<S, G, Compare>,
    span: &Span,
    witness: &mut impl Witness<S, G>,
) -> Result<(Followed, Next)> {
    let mut digest = Sha256::new();
    let mut followed = Followed {
        run: opening.start.run,
        records: (opening.seq, opening.seq),
        inputs: 0,
        decisions: BTreeMap::new(),
        digest: [0; 32],
        odd: None,
        unwritten: 0,
        ended: Ended::Cut,
        counts: Counts::default(),
        seats: Vec::new(),
    };
    let mut taken = Taken::Timer(Timer::default());
    let next = loop {
        let next = story.next(&mut page.borrow_mut())?;
        let Some((seq, wall)) = page.borrow().first().map(|first| (first.seq, first.wall)) else { break next };
        if span.is_past(seq, wall) {
            followed.ended = Ended::Asked;
            break Next::End;
        }
        match next {
            Next::Turn { cut } => {
                followed.records.1 = page.borrow().facts().last().map_or(seq, |last| last.seq);
                turn(page, &mut engine, cut, &mut taken)?;
                let page = page.borrow();
                followed.unwritten += page.unwritten;
                if let Some(odd) = &page.odd {
                    followed.odd = Some((odd.clone(), page.first().map(|first| page.owned(first))));
                    followed.ended = Ended::Odd;
                    break next;
                }
                if span.holds(seq, wall) {
                    followed.inputs += 1;
                    for fact in &page.facts()[1..] {
                        *followed.decisions.entry(fact.kind).or_default() += 1;
                        digest.update(fact.kind.code().to_le_bytes());
                        digest.update(page.payload(fact));
                    }
                    witness.turn(&page, &taken, &engine);
                }
            }
            Next::Stop => {
                followed.records.1 = seq;
                let page = page.borrow();
                let first = page.first().context("a record a run ends with")?;
                let stop: Stop = read(page.payload(first)).context("a stop record that cannot be read")?;
                let (recorded, replayed) = (stop.open_orders, engine.desk().orders.open().len());
                followed.ended = Ended::Well;
                if recorded as usize != replayed {
                    followed.odd = Some((Odd::Open { recorded, replayed }, Some(page.owned(first))));
                }
            }
            Next::Opening | Next::End => break next,
        }
    };
    followed.digest = digest.finalize().into();
    followed.counts = *engine.counts();
    followed.seats = engine.desk().seats().iter().map(SeatReport::from).collect();
    Ok((followed, next))
}

/// The engine takes in the first record of the page, which is left in `taken`, and is held against the others.
fn turn<S: Strategy, G: Gate>(
    page: &RefCell<Page>,
    engine: &mut Engine<S, G, Compare>,
    cut: bool,
    taken: &mut Taken,
) -> Result<()> {
    let now = {
        let mut page = page.borrow_mut();
        page.cut = cut;
        let first = page.first().context("a turn without an input")?;
        debug_assert_eq!(role(first.kind, first.cause, Seq::NONE), Role::Input);
        let read = taken.read(first.kind, page.payload(first));
        read.with_context(|| format!("record {} is a {:?} that cannot be read", first.seq.0, first.kind))?;
        Now { mono: first.mono, wall: first.wall }
    };
    if let Taken::Timer(timer) = taken
        && timer.due != engine.deadline()
    {
        let (recorded, replayed) = (timer.due, engine.deadline());
        page.borrow_mut().odd = Some(Odd::Deadline { recorded, replayed });
        return Ok(());
    }
    engine.handle(now, taken.input());
    while engine.poll().is_some() {}
    page.borrow_mut().close();
    Ok(())
}

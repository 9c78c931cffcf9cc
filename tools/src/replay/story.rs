//! A journal as runs, and a run as turns: one input, and what the engine decided because of it.
//!
//! ```text
//!   Start Instrument.. Document..  |  Book NotSized  |  Timer Approved Approved  |  Fill Difference  | ... |  Stop
//!            opening                     turn                  turn                     turn                end
//! ```
//!
//! In: a cursor over records. Out: one page a turn, the memory of the page before used again. Never: a guess about a kind
//! this version does not know.

use super::page::Page;
use anyhow::{Context, Result, ensure};
use keel_core::desk::Desk;
use keel_core::engine::{Engine, Input};
use keel_core::event::{
    BookUpdate, Command, Document, DocumentKind, ExecEvent, Flow, Kind, MarketEvent, Parts, Standing, Start, Timer,
    read,
};
use keel_core::ids::Seq;
use keel_core::instrument::{Instrument, Instruments};
use keel_core::permit::Log;
use keel_core::strategy::Quoter;
use keel_core::units::Now;
use keel_journal::{Entry, Reader};
use keel_risk::Gate;
use keel_risk::latch::Latch;

use crate::node::genesis::Genesis;
use crate::node::restart::Past;

/// What a record is to a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The first record of a run.
    Start,
    /// Written before the engine was made: what it is made from.
    Opening,
    /// Something the engine took in.
    Input,
    /// Something the engine wrote.
    Decision,
    /// The last record of a run that ended in good order.
    Stop,
}

/// The role of a record in the run whose first record is `start`.
#[must_use]
pub fn role(kind: Kind, cause: Seq, start: Seq) -> Role {
    match (kind, kind.code() / 100) {
        (Kind::Start, _) => Role::Start,
        (Kind::Stop, _) => Role::Stop,
        (Kind::Document | Kind::Trip | Kind::Answer | Kind::Fortune, _) if cause == start && start != Seq::NONE => {
            Role::Opening
        }
        (Kind::Difference, _) | (_, 4) => Role::Decision,
        (_, 5) => Role::Opening,
        _ => Role::Input,
    }
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The page holds the records a run begins with.
    Opening,
    /// The page holds a turn. `cut`: it is the last one before the process died, or before what is not written yet.
    Turn {
        /// It may lack decisions.
        cut: bool,
    },
    /// The page holds the record a run ends with.
    Stop,
    /// There is nothing more.
    End,
}

/// A cursor that hands out turns.
#[derive(Debug)]
pub struct Story {
    reader: Reader,
    start: Seq,
    /// What the record read last is, when it is not on a page yet.
    held: Option<(Kind, Role)>,
    latch: Latch,
    inherited: Latch,
    /// Decisions before the first input: their cause is in a segment that is gone.
    pub orphans: u64,
}

impl Story {
    /// From the oldest record on.
    pub fn open(dir: &std::path::Path) -> Result<Self> {
        Ok(Self::over(Reader::open(dir)?))
    }

    /// From record `seq` on, the first of a run; what earlier runs left of the brake is read before.
    pub fn open_run(dir: &std::path::Path, seq: Seq) -> Result<Self> {
        let mut story = Self::over(Reader::open_at(dir, seq)?);
        let mut earlier = Reader::open(dir)?;
        while let Some(entry) = earlier.poll()?.filter(|entry| entry.seq < seq) {
            entry.kind.into_iter().for_each(|kind| story.latch.take(kind, entry.payload));
        }
        Ok(story)
    }

    fn over(reader: Reader) -> Self {
        let (latch, inherited) = (Latch::default(), Latch::default());
        Self { reader, start: Seq::NONE, held: None, latch, inherited, orphans: 0 }
    }

    /// Where the brake stood before the run whose opening was read last.
    #[must_use]
    pub const fn inherited(&self) -> &Latch {
        &self.inherited
    }

    /// Reads the next piece into `page`.
    pub fn next(&mut self, page: &mut Page) -> Result<Next> {
        loop {
            page.clear();
            let rest = match self.first(page)? {
                None => return Ok(Next::End),
                Some(Role::Stop) => return Ok(Next::Stop),
                Some(Role::Decision | Role::Opening) => {
                    self.orphans += 1;
                    continue;
                }
                Some(Role::Start) => Role::Opening,
                Some(Role::Input) => Role::Decision,
            };
            if rest == Role::Opening {
                self.start = page.first().map_or(Seq::NONE, |fact| fact.seq);
            }
            let follows = self.gather(page, rest)?;
            return Ok(match rest {
                Role::Opening => Next::Opening,
                _ => Next::Turn { cut: matches!(follows, None | Some(Role::Start)) },
            });
        }
    }

    /// The record that is held, or the next one, onto the page.
    fn first(&mut self, page: &mut Page) -> Result<Option<Role>> {
        let Some((kind, role)) = self.held.take() else { return self.pull(page, None) };
        page.push(&self.reader.last().context("a record that is held")?, kind);
        Ok(Some(role))
    }

    /// Pulls records of one role onto the page; holds the first that is something else.
    fn gather(&mut self, page: &mut Page, wanted: Role) -> Result<Option<Role>> {
        loop {
            match self.pull(page, Some(wanted))? {
                Some(role) if role == wanted => {}
                other => return Ok(other),
            }
        }
    }

    /// Reads one record: onto the page when it has the role wanted, else it is held for the next page.
    fn pull(&mut self, page: &mut Page, wanted: Option<Role>) -> Result<Option<Role>> {
        if !self.reader.advance()? {
            return Ok(None);
        }
        let entry = self.reader.last().context("a record that was read")?;
        let kind = known(&entry)?;
        if kind == Kind::Start {
            self.inherited = self.latch.clone();
        }
        self.latch.take(kind, entry.payload);
        let role = role(kind, entry.cause, self.start);
        if wanted.is_none_or(|wanted| wanted == role) {
            page.push(&entry, kind);
        } else {
            self.held = Some((kind, role));
        }
        Ok(Some(role))
    }
}

fn known(entry: &Entry<'_>) -> Result<Kind> {
    let (seq, code) = (entry.seq.0, entry.code);
    entry.kind.with_context(|| format!("record {seq} is of kind {code}: a later version wrote it, use that one"))
}

/// What a run was made from.
#[derive(Debug)]
pub struct Opening {
    /// Its first record.
    pub start: Start,
    /// Place of that record.
    pub seq: Seq,
    /// The instrument table.
    pub instruments: Instruments,
    /// Limits, scenarios, people, strategy.
    pub genesis: Genesis,
    /// Where earlier runs left the brake.
    pub latch: Latch,
    /// What earlier runs left open and held.
    pub desk: Desk,
    /// When it began.
    pub begun: Now,
}

impl Opening {
    /// Reads it off its page.
    pub fn read(page: &Page, latch: &Latch) -> Result<Self> {
        let first = page.first().context("a run without a first record")?;
        let start: Start = read(page.payload(first)).context("a start record that cannot be read")?;
        let begun = Now { mono: first.mono, wall: first.wall };
        let (mut rows, mut documents, mut parts) = (Vec::new(), Vec::new(), PartsByKind::default());
        let mut past = Past::default();
        for fact in page.facts() {
            past.take(&page.owned(fact).entry())?;
        }
        for fact in page.facts().iter().skip(1) {
            let bytes = page.payload(fact);
            let unread = || format!("record {} cannot be read", fact.seq.0);
            match fact.kind {
                Kind::Instrument => rows.push(read::<Instrument>(bytes).with_context(unread)?),
                Kind::Document => {
                    let part: Document = read(bytes).with_context(unread)?;
                    if part.kind == DocumentKind::Adopted {
                        continue;
                    }
                    if let Some(text) = parts.take(&part) {
                        documents.push((part.kind, String::from_utf8(text).with_context(unread)?));
                    }
                }
                Kind::Trip | Kind::Answer | Kind::Fortune => {}
                Kind::Holding | Kind::Carried | Kind::Seen | Kind::Resumed => {}
                kind => anyhow::bail!(
                    "record {} is a {kind:?}: this version does not know how to begin with it",
                    fact.seq.0
                ),
            }
        }
        let instruments =
            Instruments::new(rows).map_err(|(symbol, why)| anyhow::anyhow!("instrument {symbol}: {why:?}"))?;
        ensure!(!documents.is_empty(), "a version that did not record its limits and its strategy wrote it");
        let genesis = Genesis::read(&documents, &instruments)?;
        // earlier versions did not write down where the brake stood
        let latch = if past.is_whole() { past.latch() } else { latch };
        let (latch, mut desk) = (latch.clone(), past.desk().clone());
        desk.forget_pictures();
        Ok(Self { start, seq: first.seq, instruments, genesis, latch, desk, begun })
    }
}

impl Opening {
    /// The engine of this run, as it was when the run began.
    pub fn engine<L: Log>(&self, log: L) -> Result<Engine<Quoter, Gate, L>> {
        let strategy = self.genesis.character.strategy();
        let engine = self.genesis.engine(&self.instruments, self.start.run, &self.latch, strategy, log)?;
        Ok(engine.resumed(self.begun, self.desk.clone()))
    }
}

/// Parts of documents of several kinds.
#[derive(Debug, Default)]
struct PartsByKind(Vec<(DocumentKind, Parts)>);

impl PartsByKind {
    fn take(&mut self, part: &Document) -> Option<Vec<u8>> {
        let at = self.0.iter().position(|(kind, _)| *kind == part.kind).unwrap_or_else(|| {
            self.0.push((part.kind, Parts::default()));
            self.0.len() - 1
        });
        self.0[at].1.take(part)
    }
}

/// A record as the fact it was for the engine.
#[allow(clippy::large_enum_variant, reason = "one at a time, on the stack")]
#[derive(Clone, Debug)]
pub enum Taken {
    /// From the feed.
    Market(MarketEvent),
    /// From the gateway.
    Exec(ExecEvent),
    /// From the front door.
    Command(Command),
    /// A part of something people wrote.
    Document(Box<Document>),
    /// Money moved.
    Flow(Box<Flow>),
    /// What the account is.
    Standing(Box<Standing>),
    /// The engine's own deadline.
    Timer(Timer),
}

impl Taken {
    /// Reads the next one over this one: nearly all are as large as it. `None` when the bytes do not fit the kind, or the
    /// engine takes in no such thing; then this one is as it was.
    #[must_use]
    pub fn read(&mut self, kind: Kind, bytes: &[u8]) -> Option<()> {
        if let (Kind::Book, Self::Market(MarketEvent::Book(book))) = (kind, &mut *self) {
            return book.read_over(bytes);
        }
        let market = |event| Some(Self::Market(event));
        let exec = |event| Some(Self::Exec(event));
        *self = match kind {
            Kind::Book => market(MarketEvent::Book(BookUpdate::read(bytes)?)),
            Kind::Trade => market(MarketEvent::Trade(read(bytes)?)),
            Kind::Ticker => market(MarketEvent::Ticker(read(bytes)?)),
            Kind::Bar => market(MarketEvent::Bar(read(bytes)?)),
            Kind::Liquidation => market(MarketEvent::Liquidation(read(bytes)?)),
            Kind::PriceLimit => market(MarketEvent::PriceLimit(read(bytes)?)),
            Kind::Health => market(MarketEvent::Health(read(bytes)?)),
            Kind::VenueStatus => market(MarketEvent::VenueStatus(read(bytes)?)),
            Kind::Ack => exec(ExecEvent::Ack(read(bytes)?)),
            Kind::OrderUpdate => exec(ExecEvent::Order(read(bytes)?)),
            Kind::Fill => exec(ExecEvent::Fill(read(bytes)?)),
            Kind::VenuePosition => exec(ExecEvent::Position(read(bytes)?)),
            Kind::Wallet => exec(ExecEvent::Wallet(read(bytes)?)),
            Kind::Link => exec(ExecEvent::Link(read(bytes)?)),
            Kind::Sent => exec(ExecEvent::Sent(read(bytes)?)),
            Kind::Reconciliation => exec(ExecEvent::Reconciliation(read(bytes)?)),
            Kind::Command => Some(Self::Command(read(bytes)?)),
            Kind::Document => Some(Self::Document(Box::new(read(bytes)?))),
            Kind::Flow => Some(Self::Flow(Box::new(read(bytes)?))),
            Kind::Standing => Some(Self::Standing(Box::new(read(bytes)?))),
            Kind::Timer => Some(Self::Timer(read(bytes)?)),
            _ => None,
        }?;
        Some(())
    }

    /// For [`keel_core::engine::Engine::handle`].
    #[must_use]
    pub const fn input(&self) -> Input<'_> {
        match self {
            Self::Market(event) => Input::Market(event),
            Self::Exec(event) => Input::Exec(event),
            Self::Command(command) => Input::Command(command),
            Self::Document(part) => Input::Document(part),
            Self::Flow(flow) => Input::Flow(flow),
            Self::Standing(standing) => Input::Standing(standing),
            Self::Timer(timer) => Input::Timer(*timer),
        }
    }
}

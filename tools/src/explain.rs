//! `keel explain`: how one order came to be and what became of it, as a person reads it.
//!
//! ```text
//!   tick --> book, signal --> strategy --> size and its bound --> every check --> record --> wire --> ack --> fills, profit
//! ```
//!
//! In: a journal, live or not, and our order id, the venue's order or execution id, or the number of a record. Out: the
//! chain of records with the time each step took, and between them what the engine knew, which is found by running it
//! over the run again. Never: a write; a picture of the book where that replay is not what was recorded.

mod scene;
mod show;

use crate::fact::Symbols;
use crate::node::clock::Stopwatch;
use crate::replay::follow::{Span, follow};
use crate::replay::page::{Compare, Fact, Owned, Page};
use crate::replay::story::{Next, Opening, Role, Story, role};
use crate::replay::unless_closed;
use anyhow::{Context, Result, bail, ensure};
use keel_core::event::{Ack, Difference, Fill, Kind, NotSized, Op, Order, OrderUpdate, Sent, Start, Trade, read};
use keel_core::ids::{ClientId, Seq, VenueId};
use keel_core::units::{Mono, Wall};
use keel_journal::{Entry, Reader};
use keel_risk::Decision;
use scene::{Look, Scene};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What a person may say to `keel explain`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Directory of the journal
    pub dir: PathBuf,
    /// Our order id (k0000001a-000000ff), the venue's order or execution id, or the number of a record
    #[arg(value_name = "ORDER|FILL|SEQ")]
    pub what: String,
    /// One JSON object instead of a page
    #[arg(long)]
    pub json: bool,
}

/// What is to be explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    /// An order's whole life.
    Order(ClientId),
    /// An input and all it caused.
    Turn(Seq),
}

/// One record of the chain.
#[derive(Debug)]
struct Step {
    record: Owned,
    /// What the engine knew then: for inputs that caused a decision.
    scene: Option<Scene>,
    /// The position before and after: for fills.
    moved: Option<scene::Moved>,
    /// Named durations that end here, nanoseconds.
    took: Vec<(&'static str, u64)>,
}

/// The chain, and the run it happened in.
#[derive(Debug)]
struct Chain {
    subject: Subject,
    start: Start,
    start_seq: Seq,
    /// The strategy's document, where the run kept one.
    strategy: Option<String>,
    /// Why there is no picture of the book, where there is none.
    blind: Option<String>,
    symbols: Symbols,
    steps: Vec<Step>,
}

/// `keel explain`.
pub fn run(args: &Args) -> Result<()> {
    unless_closed(tell(args, &mut std::io::stdout().lock()))
}

/// Explains to `out`.
pub fn tell(args: &Args, out: &mut impl Write) -> Result<()> {
    let found = find(&args.dir, &args.what)?;
    let mut chain = collect(&args.dir, found)?;
    look(&args.dir, &mut chain)?;
    time(&mut chain);
    if args.json { Ok(writeln!(out, "{}", show::json(&chain))?) } else { show::page(&chain, out) }
}

/// Which order, if any, a record is about. The id of a refused new order is given to the next one: it names nothing.
fn client(kind: Kind, bytes: &[u8]) -> Option<ClientId> {
    let id = match kind {
        Kind::Approved => read::<Decision>(bytes)?.order.client,
        Kind::Refused => Some(read::<Decision>(bytes)?.order).filter(|order| order.op != Op::New)?.client,
        Kind::NotSized => Some(read::<NotSized>(bytes)?.order).filter(|order| order.op != Op::New)?.client,
        Kind::Sent => read::<Sent>(bytes)?.client,
        Kind::Ack => read::<Ack>(bytes)?.client,
        Kind::OrderUpdate => read::<OrderUpdate>(bytes)?.client,
        Kind::Fill => read::<Fill>(bytes)?.client,
        Kind::Difference => read::<Difference>(bytes)?.client,
        _ => return None,
    };
    (id != ClientId::NONE).then_some(id)
}

fn is_named(kind: Kind, bytes: &[u8], id: &VenueId) -> Option<bool> {
    Some(match kind {
        Kind::Ack => read::<Ack>(bytes)?.venue == *id,
        Kind::OrderUpdate => read::<OrderUpdate>(bytes)?.venue == *id,
        Kind::Fill => read::<Fill>(bytes).is_some_and(|fill| fill.venue == *id || fill.exec == *id),
        _ => false,
    })
}

/// The subject, and the first record of its run.
fn find(dir: &Path, what: &str) -> Result<(Subject, Seq)> {
    let mut reader = Reader::open(dir)?;
    let seq = what.parse::<u64>().ok().map(Seq);
    let ours = ClientId::from_link(what.as_bytes());
    let theirs = VenueId::new(what.as_bytes()).filter(|id| !id.is_empty());
    ensure!(seq.is_some() || ours.is_some() || theirs.is_some(), "{what:?} is neither an order nor a record");
    let mut start = Seq::NONE;
    while let Some(entry) = reader.poll()? {
        let Some(kind) = entry.kind else { continue };
        if kind == Kind::Start {
            start = entry.seq;
        }
        let about = || client(kind, entry.payload);
        if seq == Some(entry.seq) {
            let turn = || match role(kind, entry.cause, start) {
                Role::Decision => Ok(Subject::Turn(entry.cause)),
                Role::Input => Ok(Subject::Turn(entry.seq)),
                _ => bail!("record {} is a {kind:?}: nothing caused it and it decides nothing", entry.seq.0),
            };
            return Ok((about().map_or_else(turn, |order| Ok(Subject::Order(order)))?, start));
        }
        let mine = ours.is_some() && about() == ours;
        let named = theirs.as_ref().and_then(|id| is_named(kind, entry.payload, id)).unwrap_or(false);
        if mine || named {
            return Ok((about().map_or(Subject::Turn(entry.seq), Subject::Order), start));
        }
    }
    match seq {
        Some(seq) => bail!("there is no record {} in this journal", seq.0),
        None => bail!("no record of this journal names {what}"),
    }
}

/// Every record of the chain, in order: those about the subject and those that caused them.
fn collect(dir: &Path, (subject, start_seq): (Subject, Seq)) -> Result<Chain> {
    let mut reader = Reader::open_at(dir, start_seq)?;
    let (mut start, mut symbols) = (Start::default(), Symbols::default());
    let (mut steps, mut input): (BTreeMap<Seq, Owned>, Option<Owned>) = (BTreeMap::new(), None);
    while let Some(entry) = reader.poll()? {
        let Some(kind) = entry.kind else { continue };
        symbols.learn(&entry);
        match role(kind, entry.cause, start_seq) {
            Role::Start if entry.seq == start_seq => {
                start = read(entry.payload).context("a start record that cannot be read")?
            }
            Role::Start => break,
            Role::Input => input = Some(owned(&entry, kind, input.take())),
            _ => {}
        }
        let wanted = match subject {
            Subject::Order(order) => client(kind, entry.payload) == Some(order),
            Subject::Turn(turn) => entry.seq == turn || (entry.cause == turn && turn != Seq::NONE),
        };
        if !wanted {
            continue;
        }
        if let Some(cause) = input.as_ref().filter(|input| input.fact.seq == entry.cause) {
            steps.entry(entry.cause).or_insert_with(|| cause.clone());
        }
        steps.insert(entry.seq, owned(&entry, kind, None));
    }
    let steps = steps.into_values().map(|record| Step { record, scene: None, moved: None, took: Vec::new() }).collect();
    Ok(Chain { subject, start, start_seq, strategy: None, blind: None, symbols, steps })
}

/// A record on its own, in the memory of another where there is one.
fn owned(entry: &Entry<'_>, kind: Kind, memory: Option<Owned>) -> Owned {
    let mut payload = memory.map_or_else(Vec::new, |old| old.payload);
    payload.clear();
    payload.extend_from_slice(entry.payload);
    let Entry { seq, cause, mono, wall, clock_error, .. } = *entry;
    Owned { fact: Fact::new(seq, kind, cause, (mono, wall), clock_error), payload }
}

/// Runs the engine up to the last step, and looks at its desk at each one.
fn look(dir: &Path, chain: &mut Chain) -> Result<()> {
    let Some(last) = chain.steps.last().map(|step| step.record.fact.seq) else { return Ok(()) };
    let mut story = Story::open_run(dir, chain.start_seq)?;
    let page = Rc::new(RefCell::new(Page::default()));
    let next = story.next(&mut page.borrow_mut())?;
    if next != Next::Opening {
        chain.blind = Some("the beginning of its run is not in this journal any more".to_owned());
        return Ok(());
    }
    let opened = Opening::read(&page.borrow(), story.inherited()).and_then(|opening| {
        let engine = opening.engine(Compare(Rc::clone(&page)))?;
        Ok((opening, engine))
    });
    let (opening, engine) = match opened {
        Ok(both) => both,
        Err(why) => {
            chain.blind = Some(format!("{why:#}"));
            return Ok(());
        }
    };
    chain.strategy = opening.genesis.documents(&opening.instruments).pop().map(|(_, text)| text);
    let span = Span { from: Seq::NONE, to: last, since: Wall::from_nanos(0), until: Wall::from_nanos(u64::MAX) };
    let mut look = Look::new(chain.steps.iter().map(|step| step.record.fact.seq), opening.instruments.rows().len());
    let (followed, _) = follow(&mut story, &page, &opening, engine, &span, &mut look)?;
    if let Some((odd, _)) = followed.odd {
        let place = odd.seq().map_or(0, |seq| seq.0);
        chain.blind = Some(format!("run again, the engine is not what was recorded from record {place} on"));
    }
    for step in &mut chain.steps {
        let seq = step.record.fact.seq;
        step.scene = look.scenes.remove(&seq);
        step.moved = look.moves.remove(&seq);
    }
    Ok(())
}

/// When its bytes came off the socket, by the stopwatch; 0 when it has no such moment.
fn ticks(record: &Owned) -> u64 {
    let bytes = &record.payload;
    let of = || -> Option<u64> {
        Some(match record.fact.kind {
            Kind::Book => keel_core::event::BookUpdate::read(bytes)?.origin.ticks,
            Kind::Trade => read::<Trade>(bytes)?.origin.ticks,
            Kind::Health => read::<keel_core::event::Health>(bytes)?.origin.ticks,
            Kind::Ack => read::<Ack>(bytes)?.ticks,
            Kind::OrderUpdate => read::<OrderUpdate>(bytes)?.ticks,
            Kind::Fill => read::<Fill>(bytes)?.ticks,
            _ => 0,
        })
    };
    of().unwrap_or(0)
}

/// A request on the wire: the stopwatch at the tick that caused it, and how long it took from there to the wire.
#[derive(Clone, Copy, Debug, Default)]
struct Request {
    caused: u64,
    took: u64,
    left: Mono,
}

/// How long each step took: by the stopwatch where both ends have a reading, else by the clock that decides.
fn time(chain: &mut Chain) {
    let watch = Stopwatch::new();
    let (mut requests, mut last, mut tick) = (BTreeMap::<u8, Request>::new(), None, 0);
    for step in &mut chain.steps {
        let (record, here) = (&step.record, ticks(&step.record));
        let bytes = &record.payload;
        let since = |request: Option<&Request>| {
            let Request { caused, took, left } = *request?;
            let by_stopwatch = caused > 0 && here > caused;
            Some(if by_stopwatch {
                watch.nanos(caused, here).saturating_sub(took)
            } else {
                record.fact.mono.since(left)
            })
        };
        let named = |name, took: Option<u64>| took.map(|took| (name, took)).into_iter().collect();
        step.took = match record.fact.kind {
            Kind::Approved => {
                if let Some(Decision { order: Order { op, .. }, .. }) = read(bytes) {
                    requests.insert(op as u8, Request { caused: tick, ..Request::default() });
                }
                Vec::new()
            }
            Kind::Sent => {
                let sent: Option<Sent> = read(bytes);
                if let Some((sent, request)) = sent.and_then(|sent| Some((sent, requests.get_mut(&(sent.op as u8))?))) {
                    (request.took, request.left) = (sent.took, sent.at);
                    last = Some(*request);
                }
                named("tick_to_wire", sent.map(|sent| sent.took).filter(|took| *took > 0))
            }
            Kind::Ack => {
                let request = read::<Ack>(bytes).and_then(|ack| requests.get(&(ack.op as u8)));
                named("wire_to_answer", since(request))
            }
            Kind::OrderUpdate => named("last_request_to_stream", since(last.as_ref())),
            Kind::Fill => named("last_request_to_fill", since(last.as_ref())),
            _ => {
                tick = here;
                travel(record)
            }
        };
    }
}

/// A market fact's way to us. Our wall clock may be off by the bound in the record; the other two are exact.
fn travel(record: &Owned) -> Vec<(&'static str, u64)> {
    let origin = match record.fact.kind {
        Kind::Book => keel_core::event::BookUpdate::read(&record.payload).map(|book| book.origin),
        Kind::Trade => read::<Trade>(&record.payload).map(|trade| trade.origin),
        _ => None,
    };
    let Some(origin) = origin else { return Vec::new() };
    let waited = record.fact.mono.since(origin.recv);
    let received = Wall::from_nanos(record.fact.wall.nanos().saturating_sub(waited));
    let mut took = Vec::new();
    if origin.cts.nanos() > 0 && origin.ts >= origin.cts {
        took.push(("venue_match_to_push", origin.ts.since(origin.cts)));
    }
    if received >= origin.ts {
        took.push(("venue_push_to_socket", received.since(origin.ts)));
    }
    took.push(("socket_to_engine", waited));
    took
}

//! The journal into Postgres: batch after batch, one being sent while the next is made.
//!
//! In: a journal, an address. Out: rows, a cursor, a status line. Never: a record skipped, sent twice, or waited for by
//! whoever trades: the journal itself is the queue, so a store that is down costs disk, which the journal has anyway.
//!
//! ```text
//!   open -> cursor -> does the journal agree? -> [ make a batch | send the one before ] ... -> fault -> wait -> open
//! ```
//!
//! The store's cursor is the only truth about what it holds. After every fault it is read again, so an answer that was
//! lost, a transaction that a stopped server finished later, a failover to a copy that was behind: all are the same case.

use super::batch::{Batch, Limits, Mark, Refused, THERE};
use super::fault::{Alarm, Fault};
use super::postgres::{Address, Identity, Session, runtime};
use super::source::{Agreement, Source};
use super::status::Line;
use super::wait::Wait;
use anyhow::{Result, bail};
use keel_journal::Damage;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// While following: rows wait this long for company.
const COMPANY: Duration = Duration::from_millis(50);
/// While following: records that are no rows wait this long for a span.
const SPAN_AGE: Duration = Duration::from_secs(5);
/// While following: how often an idle journal is looked at.
const IDLE: Duration = Duration::from_millis(5);
/// The first batch carries this part of what one may, and each after it twice as much: the store works while a backlog
/// is still being read.
const FIRST: u64 = 16;
/// A batch that was too much for the store's patience shrinks to no fewer rows than this.
const SMALLEST: u64 = 100;

/// The agent of one database.
#[derive(Debug)]
pub struct Copier {
    /// Directory of the journal.
    pub dir: PathBuf,
    /// The database.
    pub address: Address,
    /// Who we are to it.
    pub identity: Identity,
    /// Where progress is reported.
    pub line: Arc<Line>,
    /// How to wait, and when to stop.
    pub wait: Wait,
    /// End when everything there is is shipped.
    pub once: bool,
    /// How much one transaction carries.
    pub limits: Limits,
}

/// What ends a conversation.
enum End {
    Done,
    Fault(Fault),
    Journal(Damage),
    Gone(u64),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Damage> for End {
    fn from(damage: Damage) -> Self {
        Self::Journal(damage)
    }
}

/// A batch on its way.
struct Flight {
    handle: JoinHandle<(Session, Result<(), Fault>)>,
    first: Mark,
    last: Mark,
    records: u64,
    rows: u64,
    quarantined: u64,
    /// The one row it carries, when it carries one.
    single: Option<(Mark, usize)>,
}

/// What was learnt about the store: how much it takes at once, what it refuses.
struct Manners {
    limits: Limits,
    refused: Refused,
}

impl Copier {
    /// Ships until everything is there (`once`) or until it is stopped.
    #[allow(clippy::disallowed_methods, reason = "a store's thread may watch the clock; no agent lives on it")]
    pub fn run(&self) -> Result<()> {
        let runtime = runtime()?;
        let rows = (self.limits.rows / FIRST).max(SMALLEST).min(self.limits.rows);
        let mut manners = Manners { limits: Limits { rows, ..self.limits }, refused: Refused::new() };
        let mut failing: Option<Instant> = None;
        let mut turn = 0;
        loop {
            let before = self.line.get().batches;
            let end = match self.converse(&runtime, &mut manners) {
                Ok(()) => End::Done,
                Err(end) => end,
            };
            if self.line.get().batches > before {
                (failing, turn) = (None, 0);
            }
            let (alarm, why, people, at_once) = match end {
                End::Done => return Ok(()),
                End::Fault(Fault::Moved) => {
                    turn += 1;
                    (None, String::new(), false, turn < 3)
                }
                // a smaller batch is another question: ask it at once
                End::Fault(fault @ Fault::Rows(_)) => (Some(fault.alarm()), fault.to_string(), false, true),
                End::Fault(fault) => (Some(fault.alarm()), fault.to_string(), fault.needs_people(), false),
                End::Journal(damage) => (Some(Alarm::Journal), damage.to_string(), false, false),
                End::Gone(oldest) => {
                    let next = self.line.get().cursor.map_or(1, |mark| mark.seq + 1);
                    let why = format!("records {next} to {} are gone from the journal unshipped", oldest - 1);
                    (Some(Alarm::Journal), why, true, false)
                }
            };
            self.line.with(|progress| progress.retries += 1);
            if let Some(alarm) = alarm {
                self.line.raise(alarm, &why);
            }
            if at_once {
                continue;
            }
            let since = *failing.get_or_insert_with(Instant::now);
            if self.once && (people || self.wait.is_enough(since)) {
                bail!("{}: {}: {why}", self.line.store, self.address.name());
            }
            turn += 1;
            if self.wait.pause(turn) {
                return Ok(());
            }
        }
    }

    fn converse(&self, runtime: &Arc<Runtime>, manners: &mut Manners) -> Result<(), End> {
        let session = runtime.block_on(Session::open(&self.address, &self.identity))?;
        self.line.clear(&[Alarm::Denied, Alarm::Schema, Alarm::Identity]);
        let cursor = runtime.block_on(session.cursor())?;
        self.line.with(|progress| progress.cursor = Some(cursor));
        let other =
            |why: &str| End::Fault(Fault::Identity(format!("record {} of {} {why}", cursor.seq, self.identity.name)));
        match Source::agreement(&self.dir, &cursor)? {
            Agreement::Same => {}
            Agreement::Other => return Err(other("is another one there than in this journal")),
            Agreement::Ahead => return Err(other("is there, and this journal ends before it")),
            Agreement::Gone(oldest) => return Err(End::Gone(oldest)),
        }
        let mut source = Source::after(&self.dir, cursor.seq)?;
        self.line.clear(&[Alarm::Journal]);
        self.stream(runtime, session, &mut source, cursor, manners)
    }

    #[allow(clippy::disallowed_methods, reason = "a store's thread may watch the clock; no agent lives on it")]
    fn stream(
        &self,
        runtime: &Arc<Runtime>,
        session: Session,
        source: &mut Source,
        mut after: Mark,
        manners: &mut Manners,
    ) -> Result<(), End> {
        let instance = session.instance;
        let (mut session, mut flight) = (Some(session), None::<Flight>);
        let mut batch = Batch::new(instance, after.seq);
        let mut begun = Instant::now();
        loop {
            let was_empty = batch.is_empty();
            let full = batch.fill(source, &manners.limits, &manners.refused)?;
            if was_empty {
                begun = Instant::now();
            }
            let oldest = flight.as_ref().map_or(batch.first.wall, |flight| flight.first.wall);
            self.line.with(|progress| progress.oldest = oldest);
            let stopping = self.wait.is_stopping();
            let age = begun.elapsed();
            let due = full || self.once || stopping || (batch.rows > 0 && age >= COMPANY) || age >= SPAN_AGE;
            let send = due && !batch.is_empty();
            let landed = flight.as_ref().is_some_and(|flight| flight.handle.is_finished());
            if let Some(gone) = flight.take_if(|_| send || landed || ((self.once || stopping) && !full)) {
                session = Some(self.land(runtime, gone, manners)?);
            }
            if send {
                batch.close();
                after = batch.last;
                let next = std::mem::replace(&mut batch, Batch::new(instance, after.seq));
                let Some(session) = session.take() else { unreachable!("the flight before was awaited") };
                flight = Some(launch(runtime, session, next));
            } else if flight.is_none() && batch.is_empty() {
                self.line.clear(&[Alarm::Unreachable, Alarm::Full]);
                if self.once || stopping {
                    return Ok(());
                }
                std::thread::sleep(IDLE);
            } else if !full {
                std::thread::sleep(IDLE);
            }
        }
    }

    /// Waits for a batch on its way.
    fn land(&self, runtime: &Arc<Runtime>, flight: Flight, manners: &mut Manners) -> Result<Session, Fault> {
        let Flight { handle, first, last, records, rows, quarantined, single } = flight;
        let (session, outcome) =
            runtime.block_on(handle).map_err(|why| Fault::Down(format!("the sender ended: {why}")))?;
        match outcome {
            Ok(()) => {}
            Err(fault @ Fault::Rows(_)) => {
                self.line.with(|progress| progress.oldest = first.wall);
                let there = match single {
                    Some((mark, table)) if fault.is_duplicate() => runtime.block_on(session.holds(table, mark))?,
                    _ => false,
                };
                return Err(manners.narrow(fault, rows, single.map(|(mark, _)| mark.seq), there));
            }
            Err(fault) => {
                self.line.with(|progress| progress.oldest = first.wall);
                // perhaps it was too much at once: a slow store takes less, and takes it in time
                manners.limits.rows = (manners.limits.rows / 2).max(SMALLEST);
                return Err(fault);
            }
        }
        manners.widen(self.limits, last.seq);
        self.line.with(|progress| {
            progress.cursor = Some(last);
            progress.records += records;
            progress.rows += rows;
            progress.quarantined += quarantined;
            progress.batches += 1;
        });
        self.line.clear(&[Alarm::Unreachable, Alarm::Full]);
        if manners.refused.is_empty() && manners.limits.rows == self.limits.rows {
            self.line.clear(&[Alarm::Refused]);
        }
        Ok(session)
    }
}

impl Manners {
    /// Something in a batch was refused: a smaller one next time, and a single row goes to the quarantine.
    fn narrow(&mut self, fault: Fault, rows: u64, single: Option<u64>, there: bool) -> Fault {
        let Some(seq) = single else {
            let less = (rows / 2).max(1);
            let same = rows == 0 || less == rows;
            self.limits.rows = less;
            return if same { Fault::Schema(format!("a span is refused: {fault}")) } else { fault };
        };
        if self.refused.contains_key(&seq) {
            return Fault::Schema(format!("the quarantine does not take record {seq}: {fault}"));
        }
        if there {
            tracing::warn!("record {seq} stands there already, and is the right one");
            self.refused.insert(seq, THERE.to_owned());
        } else {
            tracing::warn!("record {seq} goes to the quarantine: {fault}");
            self.refused.insert(seq, fault.to_string());
        }
        fault
    }

    /// A batch went well: twice as much next time.
    fn widen(&mut self, most: Limits, last: u64) {
        self.limits.rows = self.limits.rows.saturating_mul(2).min(most.rows);
        self.refused.retain(|seq, _| *seq > last);
    }
}

fn launch(runtime: &Arc<Runtime>, mut session: Session, batch: Batch) -> Flight {
    let Batch { first, last, records, rows, quarantined, single, .. } = batch;
    let handle = runtime.spawn(async move {
        let outcome = session.send(batch).await;
        (session, outcome)
    });
    Flight { handle, first, last, records, rows, quarantined, single }
}

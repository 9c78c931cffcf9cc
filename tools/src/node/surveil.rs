//! The cold agent that watches over the node's own journal and files what the rules find.
//!
//! ```text
//!   journal --records on the medium--> fold --alert--> on file already? --no--> [ block: command ring ] -> compliance journal
//! ```
//!
//! In: the journal behind its watermark, parameters, lists. Out: alerts in the compliance journal, within seconds of the
//! record; for an exact sanctions hit a command that allows only what shrinks positions; numbers about itself on the
//! board. Never: an alert twice (a fold that begins anew meets its alerts on file), a subject in a log or on the board, a
//! new file in force that cannot be read: the old one stays, and that is an alarm.
//!
//! After a restart, and after a change of parameters or lists, the fold begins at the oldest record: state is the fold of
//! the journal, and a new list screens everything ever seen. Alerts found that are not on file are filed.

use super::board::{Board, Cell};
use super::engine::Petition;
use super::{Part, Report};
use crate::compliance::sanctions::STALE;
use crate::compliance::stream::{self, Stream};
use crate::compliance::surveil::{ASK_FILE, heartbeat, seen};
use crate::compliance::terms::{Files, Read};
use anyhow::{Context, Result};
use keel_core::agent::Agent;
use keel_core::event::{Alert, Command, CommandKind, Flag, Gravity, Kind, Record, read};
use keel_core::ids::{Seq, Text};
use keel_core::ring::Producer;
use keel_core::units::{Mono, Now};
use keel_journal::Reader;
use keel_risk::surveil::{RULES, Surveil};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Records taken in one turn.
const BATCH: usize = 512;
/// Alerts on file remembered; beyond it the newest are taken for new ones rather than lost, and that is an alarm.
const FILED: usize = 1_000_000;
/// Nanoseconds between two looks at files and health.
const LOOK: u64 = 1_000_000_000;
/// Looks between two alarms about the same.
const REPEAT: u64 = 3600;
/// Nanoseconds of a day.
const DAY: u64 = 86_400_000_000_000;
/// Who asks for the brake.
const AUTHOR: &[u8] = b"surveillance";

/// What makes an alert the one on file: everything but by which version of parameters and lists it was found.
fn name(alert: &Alert) -> [u8; 32] {
    let bare = Alert {
        parameters: [0; 32],
        list_digest: [0; 32],
        list: Text::EMPTY,
        version: 0,
        measured: 0,
        limit: 0,
        ..*alert
    };
    Sha256::digest(bare.bytes()).into()
}

/// The agent.
pub struct SurveilAgent {
    data: PathBuf,
    files: Files,
    read: Read,
    fold: Surveil,
    reader: Option<Reader>,
    stream: Option<Stream>,
    filed: BTreeSet<[u8; 32]>,
    pending: VecDeque<Alert>,
    engine: Producer<Petition>,
    board: Arc<Board>,
    next_look: Mono,
    looks: u64,
    /// Day of the last heartbeat.
    beaten: u64,
    /// Newest record behind a block on file, and the newest command of ours in the journal.
    blocked: Seq,
    commanded: Seq,
    /// Everything there was has been folded once.
    caught_up: bool,
    broken: bool,
}

impl std::fmt::Debug for SurveilAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SurveilAgent")
    }
}

impl SurveilAgent {
    /// Over the journal in `data`, whose watermark stands on the board.
    pub fn new(data: &Path, files: Files, engine: Producer<Petition>, board: Arc<Board>) -> Result<Self> {
        let read = files.read()?;
        let stream = Stream::open(data)?;
        let on_file = stream::alerts(data)?;
        let real = on_file.iter().filter(|filed| !filed.alert.synthetic.is_set());
        let blocks = real.clone().filter(|filed| filed.alert.gravity == Gravity::Block);
        let blocked = blocks.map(|filed| filed.alert.evidence[0]).max().unwrap_or(Seq::NONE);
        let synthetic = on_file.iter().filter(|filed| filed.alert.synthetic.is_set());
        let beaten = synthetic.map(|filed| filed.wall.nanos() / DAY).max().unwrap_or(0);
        board.set(Cell::SurveilRules, RULES.len() as u64);
        Ok(Self {
            filed: real.map(|filed| name(&filed.alert)).collect(),
            fold: Surveil::new(read.terms.clone()),
            data: data.to_owned(),
            files,
            read,
            reader: None,
            stream: Some(stream),
            pending: VecDeque::new(),
            engine,
            board,
            next_look: Mono::default(),
            looks: 0,
            beaten,
            blocked,
            commanded: Seq::NONE,
            caught_up: false,
            broken: false,
        })
    }

    /// Takes in records that are on the medium.
    fn fold(&mut self) -> Result<usize> {
        let durable = self.board.get(Cell::DurableSeq);
        if self.reader.is_none() {
            if durable == 0 {
                return Ok(0);
            }
            self.reader = Some(Reader::open(&self.data)?);
        }
        let Some(reader) = &mut self.reader else { return Ok(0) };
        let mut taken = 0;
        while taken < BATCH && self.pending.is_empty() && reader.next_seq().is_none_or(|next| next.0 <= durable) {
            let Some(entry) = reader.poll()? else { break };
            if entry.kind == Some(Kind::Command)
                && read::<Command>(entry.payload).is_some_and(|command| command.author.bytes() == AUTHOR)
            {
                self.commanded = entry.seq;
            }
            self.fold.handle(&seen(&entry));
            while let Some(alert) = self.fold.poll() {
                self.pending.push_back(alert);
            }
            taken += 1;
        }
        let behind = reader.next_seq().map_or(durable, |next| (durable + 1).saturating_sub(next.0));
        self.board.set(Cell::SurveilLag, behind);
        if behind == 0 && !self.caught_up {
            self.caught_up = true;
            // a block whose command was lost with the process that raised it
            if self.blocked > self.commanded && self.block(Mono::default()) {
                self.commanded = self.blocked;
            }
        }
        Ok(taken)
    }

    /// Asks for the brake, naming nobody. False when the door is full: it is asked again.
    fn block(&mut self, recv: Mono) -> bool {
        let author = Text::new(AUTHOR).unwrap_or_default();
        let kind = CommandKind::ReduceOnly;
        let command = Command { recv, author, kind, authenticated: Flag::No, ..Command::default() };
        self.engine.push(Petition::Command(command)).is_ok()
    }

    /// Files what was found and is not on file yet.
    fn file(&mut self, now: Now) -> Result<usize> {
        let mut done = 0;
        while let Some(alert) = self.pending.front().copied() {
            let name = name(&alert);
            if !self.filed.contains(&name) {
                if alert.gravity == Gravity::Block && !self.block(now.mono) {
                    return Ok(done);
                }
                let stream = self.stream.as_mut().context("the compliance journal is closed")?;
                stream.append(now, &alert)?;
                if self.filed.len() < FILED {
                    self.filed.insert(name);
                }
                self.board.add(Cell::SurveilAlerts, 1);
            }
            self.pending.pop_front();
            done += 1;
        }
        Ok(done)
    }

    /// New parameters or lists: the fold begins anew. What cannot be read leaves what is in force.
    fn reread(&mut self) {
        let changed = self
            .files
            .look()
            .and_then(|mark| if mark == self.read.mark { Ok(None) } else { self.files.read().map(Some) });
        match changed {
            Ok(None) => self.board.set(Cell::SurveilRefused, 0),
            Ok(Some(read)) => {
                tracing::info!("surveillance: parameters or lists changed; everything is looked at again");
                self.fold = Surveil::new(read.terms.clone());
                (self.read, self.reader) = (read, None);
                self.board.set(Cell::SurveilRefused, 0);
            }
            Err(why) => {
                if self.board.get(Cell::SurveilRefused) == 0 {
                    tracing::error!("surveillance: {why:#}; what was in force stays");
                }
                self.board.set(Cell::SurveilRefused, 1);
            }
        }
    }

    fn look(&mut self, now: Now) -> Result<()> {
        self.reread();
        let health = self.fold.health();
        let alive = health.iter().filter(|rule| rule.is_alive()).count();
        self.board.set(Cell::SurveilAlive, alive as u64);
        self.board.set(Cell::SurveilDropped, self.fold.dropped());
        let age = self.read.oldest.map_or(0, |oldest| now.wall.since(oldest));
        self.board.set(Cell::SurveilListAge, age / 1_000_000_000);
        if self.looks.is_multiple_of(REPEAT) {
            self.alarm(alive, age);
        }
        self.looks += 1;
        let asked = stream::path(&self.data).join(ASK_FILE);
        let wanted = asked.exists();
        let day = now.wall.nanos() / DAY;
        if wanted || (self.caught_up && day > self.beaten) {
            self.beat(now)?;
            self.beaten = day;
            if wanted {
                std::fs::remove_file(&asked).with_context(|| asked.display().to_string())?;
            }
        }
        Ok(())
    }

    fn alarm(&self, alive: usize, age: u64) {
        if age > STALE {
            tracing::warn!(hours = age / (STALE / 24), "surveillance: a sanctions list is stale: load it anew");
        }
        if alive < RULES.len() {
            tracing::warn!(alive, rules = RULES.len(), "surveillance: rules are without data; keel surveil names them");
        }
        if self.fold.dropped() > 0 {
            tracing::error!("surveillance: memory was too small, alerts may be missing");
        }
    }

    fn beat(&mut self, now: Now) -> Result<()> {
        let stream = self.stream.as_mut().context("the compliance journal is closed")?;
        let blind = heartbeat(stream, &self.data, &self.read.terms, now)?;
        self.board.set(Cell::SurveilBlind, blind.len() as u64);
        self.board.set(Cell::SurveilBeat, now.wall.nanos() / 1_000_000_000);
        if !blind.is_empty() {
            tracing::error!(?blind, "surveillance: the synthetic positive of these rules did not arrive");
        }
        Ok(())
    }

    fn work(&mut self, now: Now) -> Result<usize> {
        let mut work = self.file(now)?;
        if self.pending.is_empty() {
            work += self.fold()?;
            work += self.file(now)?;
        }
        if now.mono >= self.next_look {
            self.next_look = now.mono.after(LOOK);
            self.look(now)?;
        }
        Ok(work + self.stream.as_mut().map_or(0, |stream| stream.duty(now)))
    }
}

impl Agent for SurveilAgent {
    fn name(&self) -> &'static str {
        "surveil"
    }

    fn duty(&mut self, now: Now) -> usize {
        if self.broken {
            return 0;
        }
        self.work(now).unwrap_or_else(|why| {
            self.broken = true;
            self.board.set(Cell::SurveilAlive, 0);
            self.board.set(Cell::SurveilBroken, 1);
            tracing::error!("surveillance stopped: {why:#}");
            0
        })
    }
}

impl Part for SurveilAgent {
    fn finish(mut self: Box<Self>, _: &mut Report) {
        if let Some(stream) = self.stream.take()
            && let Err(why) = stream.finish()
        {
            tracing::error!("surveillance: {why:#}");
        }
    }
}

#[cfg(test)]
#[path = "surveil_tests.rs"]
mod tests;

//! R4: the limits in force, and how they came to be.

use super::Fold;
use super::cell::{Cell, Column, Sort, Table, col, word};
use super::sheet::{Sheet, Spec};
use super::world::{Fact, Phase, Turn, World};
use anyhow::Result;
use keel_core::event::{Document, DocumentKind, read};
use keel_core::units::Wall;
use keel_risk::consent::{self, Doubt};
use keel_risk::limits::Limits;
use keel_risk::register::{self, Difference};
use std::collections::BTreeMap;

const REGISTER: [Column; 7] = [
    col("limit", Sort::Text, "", "Name of the limit"),
    col("scope", Sort::Text, "", "What it holds for: account, instrument, strategy N, brake, tail"),
    col(
        "value",
        Sort::Int,
        "of limit",
        "Value at the end of the range, in the limit's own unit (money in 1e-8 USDT, times in ms, \
         shares in bps)",
    ),
    col("set_by", Sort::Text, "", "Who brought it"),
    col("effective", Sort::Time, "", "Since when this journal shows this value"),
    col("version", Sort::Int, "#", "Version of the limits at the end of the range"),
    col("journal", Sort::Text, "", "Name of the journal"),
];

const CHANGES: [Column; 14] = [
    col("seq", Sort::Int, "#", "Record that settled it"),
    col("effective", Sort::Time, "", "When it was settled"),
    col(
        "outcome",
        Sort::Text,
        "",
        "IN FORCE, REFUSED, AT START: the configuration of a new run differs from what was in force; TAKEN OVER: what people signed in an earlier run is in force again",
    ),
    col("limit", Sort::Text, "", "Name of the limit; NULL for a request that was refused before it could be read"),
    col("scope", Sort::Text, "", "What it holds for"),
    col("old", Sort::Int, "of limit", "Before; NULL where there was none"),
    col("new", Sort::Int, "of limit", "After; NULL where there is none any more"),
    col("loosens", Sort::Flag, "", "It may allow more than before"),
    col("version", Sort::Int, "#", "Version of the limits after it"),
    col("requested_by", Sort::Text, "", "Who brought the document"),
    col("approved_by_1", Sort::Text, "", "First signature under it"),
    col("approved_by_2", Sort::Text, "", "Second signature under it"),
    col("reason", Sort::Text, "", "Why it was refused; NULL otherwise: the document of limits has no reason in it"),
    col("document_sha256", Sort::Text, "", "SHA-256 of the document"),
];

pub(super) const SPEC: Spec = Spec {
    code: "r4",
    name: "limit-register",
    title: "Limit register and changes",
    about: "Every limit in force at the end of the range, and every change of one: by whom asked, by whom signed, what it \
            was and what it became.",
    schema: 1,
    restricted: false,
    tables: &[
        Table { name: "changes", title: "Changes", columns: &CHANGES },
        Table { name: "register", title: "Register", columns: &REGISTER },
    ],
};

/// A document that waits for its answer.
#[derive(Debug)]
struct Asked {
    limits: Option<Limits>,
    author: String,
    signers: Vec<String>,
    digest: String,
}

/// The fold.
#[derive(Debug, Default)]
pub(super) struct Register {
    limits: Option<Limits>,
    since: BTreeMap<String, (Wall, String)>,
    asked: Option<Asked>,
    changes: u64,
    refused: u64,
}

impl Fold for Register {
    fn take(&mut self, _: &World, turn: &Turn<'_>, out: &mut Sheet) -> Result<()> {
        if turn.phase == Phase::After {
            return Ok(());
        }
        if let Some((DocumentKind::Adopted, text, _)) = &turn.document {
            return self.adopted(turn, text, out);
        }
        if let Some((DocumentKind::Limits, text, opening)) = &turn.document {
            let author = read::<Document>(turn.entry.payload).map(|part| part.author.to_string()).unwrap_or_default();
            return if *opening { self.opened(turn, text, author, out) } else { self.asked(text, author) };
        }
        match turn.fact {
            Fact::Answer(answer) if answer.document == DocumentKind::Limits => {
                self.answered(turn, answer.doubt, answer.limits, out)
            }
            _ => Ok(()),
        }
    }

    fn close(&mut self, world: &World, out: &mut Sheet) -> Result<()> {
        let Some(limits) = &self.limits else {
            out.incomplete("no document of this journal says what the limits were");
            return Ok(());
        };
        out.figure("Version in force", limits.version, "");
        out.figure("Changes in the range", self.changes, "");
        out.figure("Requests refused", self.refused, "");
        let entries = register::entries(limits);
        out.figure("Limits", entries.len(), "");
        for entry in entries {
            let (since, by) = self.since.get(&entry.name).cloned().unwrap_or_default();
            let value = Cell::Int(entry.value);
            out.row(
                1,
                vec![
                    entry.name.clone().into(),
                    scope(&entry.name).into(),
                    value,
                    by.into(),
                    since.into(),
                    limits.version.into(),
                    world.name.clone().into(),
                ],
            )?;
        }
        Ok(())
    }
}

impl Register {
    fn opened(&mut self, turn: &Turn<'_>, text: &[u8], author: String, out: &mut Sheet) -> Result<()> {
        let Some(limits) = core::str::from_utf8(text).ok().and_then(|text| register::read(text).ok()) else {
            out.incomplete(format!("record {}: a document of limits this version cannot read", turn.entry.seq.0));
            return Ok(());
        };
        let asked = Asked { limits: None, author, signers: Vec::new(), digest: sha256(text) };
        self.becomes(turn, limits, &asked, "AT START", out)
    }

    /// A run takes over what people signed in an earlier one: it stays in force, whatever the configuration says.
    fn adopted(&mut self, turn: &Turn<'_>, text: &[u8], out: &mut Sheet) -> Result<()> {
        self.asked(text, "node".to_owned())?;
        match self.asked.take() {
            Some(Asked { limits: Some(limits), author, signers, digest }) => {
                let asked = Asked { limits: None, author, signers, digest };
                self.becomes(turn, limits, &asked, "TAKEN OVER", out)
            }
            _ => {
                out.incomplete(format!("record {}: limits taken over that this version cannot read", turn.entry.seq.0));
                Ok(())
            }
        }
    }

    fn asked(&mut self, text: &[u8], author: String) -> Result<()> {
        let read = consent::read_limits(text).ok();
        let signers = read.as_ref().map(|(_, _, signed)| signed.iter().map(|one| one.name.to_string()).collect());
        let limits = read.map(|(_, limits, _)| limits);
        self.asked = Some(Asked { limits, author, signers: signers.unwrap_or_default(), digest: sha256(text) });
        Ok(())
    }

    fn answered(&mut self, turn: &Turn<'_>, doubt: Doubt, version: u32, out: &mut Sheet) -> Result<()> {
        let Some(asked) = self.asked.take() else { return Ok(()) };
        if doubt == Doubt::None
            && let Some(limits) = asked.limits.clone()
        {
            return self.becomes(turn, limits, &asked, "IN FORCE", out);
        }
        if turn.phase != Phase::Within {
            return Ok(());
        }
        self.refused += 1;
        let changes = match (&self.limits, &asked.limits) {
            (Some(before), Some(after)) => register::differences(before, after),
            _ => Vec::new(),
        };
        let nothing = Difference { name: String::new(), before: None, after: None, loosens: false };
        let changes = if changes.is_empty() { vec![nothing] } else { changes };
        for change in &changes {
            out.row(0, row(turn, "REFUSED", change, version, &asked, word(doubt)))?;
        }
        Ok(())
    }

    fn becomes(&mut self, turn: &Turn<'_>, after: Limits, asked: &Asked, outcome: &str, out: &mut Sheet) -> Result<()> {
        let first = self.limits.is_none();
        let changes = self.limits.as_ref().map(|before| register::differences(before, &after)).unwrap_or_default();
        let now = (turn.entry.wall, asked.author.clone());
        for change in &changes {
            self.since.insert(change.name.clone(), now.clone());
            if turn.phase == Phase::Within {
                self.changes += 1;
                out.row(0, row(turn, outcome, change, after.version, asked, Cell::Null))?;
            }
        }
        if first {
            self.since = register::entries(&after).into_iter().map(|entry| (entry.name, now.clone())).collect();
        }
        self.limits = Some(after);
        Ok(())
    }
}

fn row(turn: &Turn<'_>, outcome: &str, change: &Difference, version: u32, asked: &Asked, reason: Cell) -> Vec<Cell> {
    let value = |value: Option<i128>| value.map(Cell::Int).unwrap_or_default();
    let signer = |at: usize| asked.signers.get(at).map(|name| Cell::from(name.as_str())).unwrap_or_default();
    vec![
        turn.entry.seq.0.into(),
        turn.entry.wall.into(),
        outcome.into(),
        change.name.clone().into(),
        scope(&change.name).into(),
        value(change.before),
        value(change.after),
        change.loosens.into(),
        version.into(),
        asked.author.clone().into(),
        signer(0),
        signer(1),
        reason,
        asked.digest.clone().into(),
    ]
}

/// What a limit holds for, from its name.
fn scope(name: &str) -> String {
    let mut words = name.split('.');
    match (words.next(), words.next()) {
        (Some("strategy"), Some(number)) => format!("strategy {number}"),
        (Some("instrument"), Some("*")) => "every instrument".to_owned(),
        (Some("instrument"), Some(symbol)) => format!("instrument {symbol}"),
        (Some("trips"), Some(cause)) => format!("brake {cause}"),
        (Some("tail"), _) => "tail".to_owned(),
        _ if name.is_empty() => String::new(),
        _ => "account".to_owned(),
    }
}

/// As hex digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    crate::fact::hex(&Sha256::digest(bytes))
}

//! R12: who asked what of the program, what program it was, and what the key may do.

use super::Fold;
use super::cell::{Column, Sort, Table, col, word};
use super::r4::sha256;
use super::sheet::{Sheet, Spec};
use super::world::{Fact, Phase, Turn, World};
use crate::fact::hex;
use anyhow::Result;
use keel_core::event::{Document, DocumentKind, Flag, Standing, Start, read};
use keel_risk::consent::Doubt;
use std::collections::VecDeque;

const RUNS: [Column; 9] = [
    col("seq", Sort::Int, "#", "Record the run began with"),
    col("ts", Sort::Time, "", "When"),
    col("run", Sort::Int, "#", "Number of the run"),
    col("build", Sort::Text, "", "Version of the program"),
    col("config_sha256", Sort::Text, "", "SHA-256 of its configuration, secrets left out"),
    col("build_changed", Sort::Flag, "", "Another version than the run before; NULL for the first run of the journal"),
    col("config_changed", Sort::Flag, "", "Another configuration than the run before"),
    col("process", Sort::Int, "#", "Process id"),
    col("end_of_run_before", Sort::Text, "", "in good order, or without a Stop record"),
];

const COMMANDS: [Column; 6] = [
    col("seq", Sort::Int, "#", "Record"),
    col("ts", Sort::Time, "", "When"),
    col("author", Sort::Text, "", "Who"),
    col("command", Sort::Text, "", "What"),
    col("authenticated", Sort::Flag, "", "They proved who they are"),
    col("journal", Sort::Text, "", "Name of the journal"),
];

const DOCUMENTS: [Column; 9] = [
    col("seq", Sort::Int, "#", "Record of its last part"),
    col("ts", Sort::Time, "", "When it was whole"),
    col("author", Sort::Text, "", "Who brought it"),
    col("kind", Sort::Text, "", "What it is"),
    col("at_start", Sort::Flag, "", "Written by the program when a run began"),
    col("bytes", Sort::Int, "bytes", "Length"),
    col("sha256", Sort::Text, "", "SHA-256 of it"),
    col("signed_by", Sort::Text, "", "Names under it"),
    col("answer", Sort::Text, "", "done, or why not; NULL for what is not answered"),
];

const STANDINGS: [Column; 16] = [
    col("seq", Sort::Int, "#", "Record"),
    col("ts", Sort::Time, "", "When it was read"),
    col("uid", Sort::Text, "", "The account's UID"),
    col("parent", Sort::Text, "", "The main account's UID"),
    col("permissions", Sort::Text, "", "What the key may do"),
    col("may_trade", Sort::Flag, "", "Place and cancel orders"),
    col("may_transfer", Sort::Flag, "", "Move money between accounts of the owner"),
    col("may_withdraw", Sort::Flag, "", "Take money out of the venue: must be false"),
    col("read_only", Sort::Flag, "", "Read and nothing else"),
    col("ip_bound", Sort::Flag, "", "Only from the addresses given"),
    col("ips", Sort::Text, "", "Those"),
    col("expires", Sort::Time, "", "When the key expires; NULL when never"),
    col("kyc_level", Sort::Text, "", "How well the venue knows the owner"),
    col("kyc_region", Sort::Text, "", "The owner's region"),
    col("changed", Sort::Flag, "", "It differs from what was read before"),
    col("digest", Sort::Text, "", "SHA-256 of what the venue answered"),
];

pub(super) const SPEC: Spec = Spec {
    code: "r12",
    name: "access-and-change-log",
    title: "Access and change log",
    about: "Every run with the version and configuration it ran, every command and document with its author, and what the \
            account's key may do.",
    schema: 1,
    restricted: false,
    tables: &[
        Table { name: "runs", title: "Runs", columns: &RUNS },
        Table { name: "commands", title: "Commands", columns: &COMMANDS },
        Table { name: "documents", title: "Documents", columns: &DOCUMENTS },
        Table { name: "standings", title: "What the key may do", columns: &STANDINGS },
    ],
};

/// Documents that wait for an answer; the oldest are told without one.
const MAX_WAITING: usize = 1024;

/// The fold.
#[derive(Debug, Default)]
pub(super) struct Access {
    last: Option<Start>,
    clean: bool,
    waiting: VecDeque<(DocumentKind, Vec<super::cell::Cell>)>,
    withdraws: u64,
    unproven: u64,
    authors: std::collections::BTreeSet<String>,
}

/// Position of the answer in a row of documents.
const ANSWER: usize = DOCUMENTS.len() - 1;

impl Fold for Access {
    fn take(&mut self, world: &World, turn: &Turn<'_>, out: &mut Sheet) -> Result<()> {
        let within = turn.phase == Phase::Within;
        let (seq, at) = (turn.entry.seq.0, turn.entry.wall);
        if let (Some((kind, text, opening)), true) = (&turn.document, within) {
            self.document(turn, *kind, text, *opening, out)?;
        }
        match turn.fact {
            Fact::Start(start) => {
                let before = self.last.replace(start);
                let clean = std::mem::replace(&mut self.clean, false);
                if within {
                    let ended = before.map(|_| if clean { "in good order" } else { "without a Stop record" });
                    out.row(
                        0,
                        vec![
                            seq.into(),
                            at.into(),
                            start.run.into(),
                            start.build.into(),
                            hex(&start.config).into(),
                            before.map(|before| before.build != start.build).into(),
                            before.map(|before| before.config != start.config).into(),
                            start.pid.into(),
                            ended.map(super::cell::Cell::from).unwrap_or_default(),
                        ],
                    )?;
                }
            }
            Fact::Stop(_) => self.clean = true,
            Fact::Command(command) if within => {
                self.unproven += u64::from(command.authenticated != Flag::Yes);
                if self.authors.len() < MAX_WAITING {
                    self.authors.insert(command.author.to_string());
                }
                out.row(
                    1,
                    vec![
                        seq.into(),
                        at.into(),
                        command.author.into(),
                        word(command.kind),
                        command.authenticated.is_set().into(),
                        world.name.clone().into(),
                    ],
                )?;
            }
            Fact::Answer(answer) if within => {
                let said = if answer.doubt == Doubt::None { "done".into() } else { word(answer.doubt) };
                if let Some(at) = self.waiting.iter().position(|(kind, _)| *kind == answer.document)
                    && let Some((_, mut row)) = self.waiting.remove(at)
                {
                    row[ANSWER] = said;
                    out.row(2, row)?;
                }
            }
            Fact::Standing(standing) if within => self.standing(turn, &standing, out)?,
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, _: &World, out: &mut Sheet) -> Result<()> {
        for (_, row) in std::mem::take(&mut self.waiting) {
            out.row(2, row)?;
        }
        out.figure("Runs begun", out.rows(0), "");
        out.figure("Commands", out.rows(1), "");
        out.figure("Documents", out.rows(2), "");
        out.figure("Commands without proof of who", self.unproven, "");
        out.figure("Readings of the key", out.rows(3), "");
        out.figure("Of them: may withdraw", self.withdraws, "");
        if out.rows(3) == 0 {
            out.note(
                "The journal holds no reading of the account's key in the range: what it may do is not known from it.",
            );
        }
        out.note("Logins to the host, to Postgres and to the venue's own pages are not in the journal.");
        Ok(())
    }
}

impl Access {
    fn document(
        &mut self,
        turn: &Turn<'_>,
        kind: DocumentKind,
        text: &[u8],
        opening: bool,
        out: &mut Sheet,
    ) -> Result<()> {
        let author = read::<Document>(turn.entry.payload).map(|part| part.author).unwrap_or_default();
        let text_lines = String::from_utf8_lossy(text);
        let signed = text_lines.lines().filter_map(|line| line.strip_prefix("signed ")?.split(' ').next());
        let signed: Vec<&str> = signed.collect();
        let row = vec![
            turn.entry.seq.0.into(),
            turn.entry.wall.into(),
            author.into(),
            word(kind),
            opening.into(),
            text.len().into(),
            sha256(text).into(),
            signed.join(" ").into(),
            super::cell::Cell::Null,
        ];
        if opening {
            return out.row(2, row);
        }
        self.waiting.push_back((kind, row));
        if self.waiting.len() > MAX_WAITING
            && let Some((_, oldest)) = self.waiting.pop_front()
        {
            out.row(2, oldest)?;
        }
        Ok(())
    }

    fn standing(&mut self, turn: &Turn<'_>, standing: &Standing, out: &mut Sheet) -> Result<()> {
        let names = [
            (Standing::TRADE, "trade"),
            (Standing::TRANSFER, "transfer"),
            (Standing::WITHDRAW, "withdraw"),
            (Standing::OTHER, "other"),
        ];
        let names: Vec<&str> = names.into_iter().filter(|(bit, _)| standing.may(*bit)).map(|(_, name)| name).collect();
        let bound = !matches!(standing.ips.as_str(), "" | "*");
        self.withdraws += u64::from(standing.may(Standing::WITHDRAW));
        out.row(
            3,
            vec![
                turn.entry.seq.0.into(),
                turn.entry.wall.into(),
                standing.uid.into(),
                standing.parent.into(),
                names.join(" ").into(),
                standing.may(Standing::TRADE).into(),
                standing.may(Standing::TRANSFER).into(),
                standing.may(Standing::WITHDRAW).into(),
                standing.read_only.is_set().into(),
                bound.into(),
                standing.ips.into(),
                standing.expires.into(),
                standing.kyc_level.into(),
                standing.kyc_region.into(),
                standing.changed.is_set().into(),
                hex(&standing.digest).into(),
            ],
        )
    }
}

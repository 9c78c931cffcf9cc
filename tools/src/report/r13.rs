//! R13: what is kept, and that it is what was written: ranges, counts, roots, checkpoints, holds and deletions.

use super::Fold;
use super::cell::{Cell, Column, Sort, Table, col};
use super::sheet::{Sheet, Spec};
use super::world::{Phase, Turn, World};
use crate::fact::hex;
use anyhow::Result;
use keel_core::event::Kind;
use keel_core::units::Wall;
use keel_journal::acts::{Act, Acts};
use keel_journal::history::Hash;
use keel_journal::proof::Checkpoint;
use keel_journal::retain::check_beginning;
use keel_journal::verify::verify_against;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const JOURNALS: [Column; 19] = [
    col("journal", Sort::Text, "", "Name of the journal: the hash of its first record"),
    col("first_seq", Sort::Int, "#", "First record of the range"),
    col("last_seq", Sort::Int, "#", "Last record of the range"),
    col("records", Sort::Int, "", "Records of the range"),
    col("first_ts", Sort::Time, "", "When the first was written"),
    col("last_ts", Sort::Time, "", "When the last was written"),
    col("first_leaf", Sort::Text, "", "SHA-256 of the first record as a leaf"),
    col("last_leaf", Sort::Text, "", "SHA-256 of the last record as a leaf"),
    col("kept_from_seq", Sort::Int, "#", "Oldest record there is"),
    col("kept_from_ts", Sort::Time, "", "When it was written"),
    col("size", Sort::Int, "records", "Records of the tree at the end of the range"),
    col(
        "chain_head",
        Sort::Text,
        "",
        "Head of the hash chain after the last record of the range; NULL where the beginning was deleted",
    ),
    col("merkle_root", Sort::Text, "", "Root of the RFC 6962 tree over all records up to the end of the range"),
    col("damages", Sort::Int, "", "Damages the verification of the whole journal named"),
    col("verified", Sort::Flag, "", "Every record, header, padding and seal is what it was when it was written"),
    col("checkpoints", Sort::Int, "", "Signed checkpoints held against it"),
    col("checkpoints_hold", Sort::Flag, "", "The journal is what each of them describes; NULL without any"),
    col("unreadable", Sort::Int, "", "Records of a known kind whose bytes fit no layout"),
    col("restore_test", Sort::Text, "", "NULL: the journal holds no record of a restore test"),
];

const KINDS: [Column; 7] = [
    col("journal", Sort::Text, "", "Name of the journal"),
    col("code", Sort::Int, "#", "Code of the kind"),
    col("kind", Sort::Text, "", "What these records hold"),
    col("records", Sort::Int, "", "Records in the range"),
    col("bytes", Sort::Int, "bytes", "Their bytes with their headers"),
    col("first_seq", Sort::Int, "#", "The first of them"),
    col("last_seq", Sort::Int, "#", "The last of them"),
];

const ANCHORS: [Column; 5] = [
    col("journal", Sort::Text, "", "Name of the journal"),
    col("origin", Sort::Text, "", "Whose checkpoint it is"),
    col("size", Sort::Int, "records", "Records it describes"),
    col("merkle_root", Sort::Text, "", "Root it describes"),
    col("signature", Sort::Text, "", "Signed by the key given"),
];

const ACTS: [Column; 8] = [
    col("number", Sort::Int, "#", "Line of the retention log"),
    col("ts", Sort::Time, "", "When"),
    col("who", Sort::Text, "", "Who"),
    col("act", Sort::Text, "", "hold, release, deleted, copied"),
    col("name", Sort::Text, "", "Name of a hold, place of a copy"),
    col("first", Sort::Int, "#", "First record concerned, or segment"),
    col("last", Sort::Int, "#", "Last record concerned, or segment"),
    col("detail", Sort::Text, "", "Reason, or hash"),
];

pub(super) const SPEC: Spec = Spec {
    code: "r13",
    name: "record-keeping-attestation",
    title: "Record-keeping attestation",
    about: "Which records are kept, how many, and the hashes that pin them; the result of verifying every byte; the signed \
            checkpoints held against it; holds and deletions.",
    schema: 1,
    restricted: false,
    tables: &[
        Table { name: "journals", title: "Journals", columns: &JOURNALS },
        Table { name: "kinds", title: "Records by kind", columns: &KINDS },
        Table { name: "checkpoints", title: "Checkpoints", columns: &ANCHORS },
        Table { name: "acts", title: "Holds, copies, deletions", columns: &ACTS },
    ],
};

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    records: u64,
    bytes: u64,
    first: u64,
    last: u64,
}

/// The fold.
#[derive(Debug, Default)]
pub(super) struct Records {
    dir: PathBuf,
    anchors: Vec<Checkpoint>,
    counts: BTreeMap<u16, Count>,
    oldest: Option<(u64, Wall)>,
    /// Chain and root at the end of the range.
    end: Option<(u64, Hash, Hash)>,
}

impl Records {
    pub(super) fn new(dir: &Path, anchors: &[Checkpoint]) -> Self {
        Self { dir: dir.to_owned(), anchors: anchors.to_vec(), ..Self::default() }
    }
}

impl Fold for Records {
    fn take(&mut self, _: &World, turn: &Turn<'_>, _: &mut Sheet) -> Result<()> {
        let entry = turn.entry;
        self.oldest.get_or_insert((entry.seq.0, entry.wall));
        if turn.phase == Phase::Within {
            let count = self.counts.entry(entry.code).or_default();
            count.first = if count.records == 0 { entry.seq.0 } else { count.first };
            count.last = entry.seq.0;
            count.records += 1;
            count.bytes += entry.bytes.len() as u64;
        }
        Ok(())
    }

    fn close(&mut self, world: &World, out: &mut Sheet) -> Result<()> {
        self.end = world.history.as_ref().map(|history| (history.last().0, *history.chain(), history.root()));
        for (code, count) in &self.counts {
            out.row(
                1,
                vec![
                    world.name.clone().into(),
                    (*code).into(),
                    Kind::from_code(*code)
                        .map_or_else(|| "not known to this version".to_owned(), |kind| format!("{kind:?}"))
                        .into(),
                    count.records.into(),
                    count.bytes.into(),
                    count.first.into(),
                    count.last.into(),
                ],
            )?;
        }
        Ok(())
    }

    fn end(&mut self, world: &World, out: &mut Sheet) -> Result<()> {
        let report = verify_against(&self.dir, &self.anchors);
        let acts = Acts::read(&self.dir);
        let mut damages: Vec<String> = report.damages.iter().map(ToString::to_string).collect();
        match acts {
            Ok(acts) => {
                if let Err(damage) = check_beginning(&self.dir, &acts) {
                    damages.insert(0, damage.to_string());
                }
                acts_told(&acts, world, out)?;
            }
            Err(why) => damages.insert(0, format!("the retention log: {why}")),
        }
        for damage in damages.iter().take(20) {
            out.incomplete(format!("the journal is damaged: {damage}"));
        }
        for anchor in &self.anchors {
            out.row(
                2,
                vec![
                    world.name.clone().into(),
                    anchor.origin.clone().into(),
                    anchor.size.into(),
                    hex(&anchor.root).into(),
                    "valid".into(),
                ],
            )?;
        }
        let (first, last) = (world.first, world.last);
        let counted: u64 = self.counts.values().map(|count| count.records).sum();
        let scale = i128::from(keel_core::units::SCALE);
        out.check(
            format!("{}records by kind = records of the range", super::prefix(world)),
            i128::from(counted) * scale,
            i128::from(world.records) * scale,
            "records",
            0,
        );
        let span = first.zip(last).map_or(0, |(first, last)| i128::from(last.0.0) - i128::from(first.0.0) + 1);
        out.check(
            format!("{}records of the range = last number less first, and one", super::prefix(world)),
            i128::from(world.records) * scale,
            span * scale,
            "records",
            0,
        );
        out.figure("Records of the range", world.records, "");
        out.figure("Verified", damages.is_empty(), "");
        out.figure("Checkpoints held against it", self.anchors.len(), "");
        if self.anchors.is_empty() {
            out.note("No checkpoints were given (--anchors with --key): a journal alone cannot show that its end was not cut off with its seals.");
        }
        out.row(
            0,
            vec![
                world.name.clone().into(),
                first.map(|(seq, _, _)| seq.0).into(),
                last.map(|(seq, _, _)| seq.0).into(),
                world.records.into(),
                first.map(|(_, wall, _)| wall).into(),
                last.map(|(_, wall, _)| wall).into(),
                first.map(|(_, _, leaf)| hex(&leaf)).into(),
                last.map(|(_, _, leaf)| hex(&leaf)).into(),
                self.oldest.map(|(seq, _)| seq).into(),
                self.oldest.map(|(_, wall)| wall).into(),
                self.end.map(|(size, _, _)| size).into(),
                self.end.map(|(_, chain, _)| hex(&chain)).into(),
                self.end.map(|(_, _, root)| hex(&root)).into(),
                damages.len().into(),
                damages.is_empty().into(),
                self.anchors.len().into(),
                Some(damages.is_empty()).filter(|_| !self.anchors.is_empty()).into(),
                world.unreadable.into(),
                Cell::Null,
            ],
        )
    }
}

/// Acts up to the end of the range; compressing a segment changes no record and is left out.
fn acts_told(acts: &Acts, world: &World, out: &mut Sheet) -> Result<()> {
    for line in acts.lines().iter().filter(|line| line.at < world.range.to) {
        let (act, name, first, last, detail) = match &line.act {
            Act::Packed { .. } => continue,
            Act::Hold { name, first, last, reason } => ("hold", name.clone(), first.0, last.0, reason.clone()),
            Act::Release { name, reason } => ("release", name.clone(), 0, 0, reason.clone()),
            Act::Copied { segment, sha256, place } => {
                ("copied", place.clone(), (*segment).into(), (*segment).into(), hex(sha256))
            }
            Act::Deleted { first, last, chain, .. } => ("deleted", String::new(), first.0, last.0, hex(chain)),
        };
        let number = |n: u64| Some(n).filter(|n| *n != 0);
        out.row(
            3,
            vec![
                line.number.into(),
                line.at.into(),
                line.who.clone().into(),
                act.into(),
                name.into(),
                number(first).into(),
                number(last).into(),
                detail.into(),
            ],
        )?;
    }
    Ok(())
}

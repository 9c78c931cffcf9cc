//! `keel verify`: is every byte of a journal what it was when it was written? Did this record stand in it?
//!
//! Exit code 0 when it is, 1 when it is not, and then every damage is named on a line of its own. With `--proof` no
//! journal is needed: the file and a public key are enough.

use crate::anchors::{self, Login};
use crate::checkpoint::public;
use crate::fact::{Symbols, fields, hex};
use anyhow::{Context, Result, bail, ensure};
use keel_journal::acts::Acts;
use keel_journal::anchor;
use keel_journal::consistency::Consistency;
use keel_journal::note::PublicKey;
use keel_journal::proof::{Checkpoint, Proof};
use keel_journal::retain::check_beginning;
use keel_journal::verify::{MAX_DAMAGES, verify_against};
use keel_journal::{Damage, Report};
use serde_json::json;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What to verify.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Directory of the journal
    #[arg(required_unless_present_any = ["proof", "consistency"], conflicts_with_all = ["proof", "consistency"])]
    pub dir: Option<PathBuf>,
    /// Check this proof of a single record instead
    #[arg(long, value_name = "FILE", requires = "key")]
    pub proof: Option<PathBuf>,
    /// Check this proof that a newer checkpoint only added to an older one
    #[arg(long, value_name = "FILE", requires_all = ["key", "old"], conflicts_with = "proof")]
    pub consistency: Option<PathBuf>,
    /// The older checkpoint
    #[arg(long, value_name = "FILE", requires = "consistency")]
    pub old: Option<PathBuf>,
    /// Compare with the checkpoints kept in this file
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "proof")]
    pub anchors: Option<PathBuf>,
    /// Compare with the checkpoints kept in this database: postgres://keel_read@HOST/DATABASE
    #[arg(long, value_name = "URL", requires = "key", conflicts_with_all = ["proof", "consistency"])]
    pub against_postgres: Option<String>,
    /// Compare with the checkpoints kept in this log store: https://HOST:3100
    #[arg(long, value_name = "URL", requires = "key", conflicts_with_all = ["proof", "consistency"])]
    pub against_loki: Option<String>,
    /// How the stores let us in
    #[command(flatten)]
    pub login: Login,
    /// Public key of the checkpoints: the text or its file
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// One JSON object instead of sentences
    #[arg(long)]
    pub json: bool,
}

/// Verifies and reports on standard output; damage is an error.
pub fn run(args: &Args) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let key = args.key.as_deref().map(public).transpose()?;
    if let Some(file) = &args.proof {
        let key = key.context("--proof needs --key")?;
        return prove(file, &key, args.json, &mut out).with_context(|| file.display().to_string());
    }
    if let (Some(file), Some(old)) = (&args.consistency, &args.old) {
        let key = key.context("--consistency needs --key")?;
        return continues(file, old, &key, args.json, &mut out).with_context(|| file.display().to_string());
    }
    let dir = args.dir.as_deref().context("which journal?")?;
    let anchors = match &key {
        Some(key) => kept(args, dir, key)?,
        None => Vec::new(),
    };
    let mut report = verify_against(dir, &anchors);
    let acts = Acts::read(dir)?;
    let deleted = check_beginning(dir, &acts).unwrap_or_else(|damage| {
        report.damages.insert(0, damage);
        0
    });
    if args.json {
        writeln!(out, "{}", as_json(&report, anchors.len(), deleted))?
    } else {
        as_text(&report, anchors.len(), deleted, &mut out)?
    }
    match report.damages.len() {
        0 => Ok(()),
        1 => bail!("the journal is damaged in one place"),
        MAX_DAMAGES.. => bail!("the journal is damaged in {MAX_DAMAGES} places or more"),
        n => bail!("the journal is damaged in {n} places"),
    }
}

/// Every checkpoint kept elsewhere. A place that keeps none is an error: what was deleted there must not pass for sound.
fn kept(args: &Args, dir: &Path, key: &PublicKey) -> Result<Vec<Checkpoint>> {
    let mut all = Vec::new();
    if let Some(file) = &args.anchors {
        let kept = anchor::read(&read(file)?, key).with_context(|| file.display().to_string())?;
        ensure!(!kept.is_empty(), "{} keeps no checkpoint: nothing there to compare with", file.display());
        all.extend(kept);
    }
    if let Some(url) = &args.against_postgres {
        let notes = anchors::in_postgres(url, &args.login, key).context("the checkpoints in Postgres")?;
        all.extend(anchors::opened(&notes, key, "Postgres")?);
    }
    if let Some(url) = &args.against_loki {
        let notes = anchors::in_loki(url, &args.login, key, dir).context("the checkpoints in Loki")?;
        all.extend(anchors::opened(&notes, key, "Loki")?);
    }
    Ok(all)
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn prove(file: &Path, key: &PublicKey, json: bool, out: &mut impl Write) -> Result<()> {
    let proof = Proof::parse(&read(file)?)?;
    let (checkpoint, entry) = proof.check(key)?;
    let symbols = Symbols::default();
    let fields = fields(&entry).unwrap_or_default();
    let (origin, size, seq, time) = (&checkpoint.origin, checkpoint.size, entry.seq.0, crate::moment::utc(entry.wall));
    let kind = entry.kind.map_or_else(|| format!("?{}", entry.code), |kind| format!("{kind:?}"));
    if json {
        let fact: serde_json::Map<_, _> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), value.json(&symbols))).collect();
        let told = json!({ "proven": true, "origin": origin, "size": size, "root": hex(&checkpoint.root), "seq": seq,
            "time": time, "kind": kind, "fact": fact });
        writeln!(out, "{told}")?;
        return Ok(());
    }
    writeln!(out, "proven: record {seq} of the {size} in {origin}")?;
    writeln!(out, "{kind} at {time}")?;
    for (name, value) in fields {
        writeln!(out, "  {name} {}", value.text(&symbols))?;
    }
    Ok(())
}

fn continues(file: &Path, old: &Path, key: &PublicKey, json: bool, out: &mut impl Write) -> Result<()> {
    let (old, _) = crate::prove::opened(old, key)?;
    let new = Consistency::parse(&read(file)?)?.check(&old, key)?;
    if json {
        let told = json!({ "consistent": true, "origin": new.origin, "old": old.size, "new": new.size,
            "root": hex(&new.root) });
        return Ok(writeln!(out, "{told}")?);
    }
    Ok(writeln!(
        out,
        "consistent: the {} records of {} begin with the {} signed before",
        new.size, new.origin, old.size
    )?)
}

fn as_text(report: &Report, anchors: usize, deleted: u32, out: &mut impl Write) -> std::io::Result<()> {
    for damage in &report.damages {
        writeln!(out, "{damage}")?;
    }
    let Report { records, first, last, segments, sealed, .. } = report;
    writeln!(out, "{records} records, {} to {}, in {segments} segments, {sealed} sealed", first.0, last.0)?;
    if deleted > 0 {
        writeln!(out, "{deleted} older segments were deleted, as retention.log tells")?;
    }
    if report.torn {
        writeln!(out, "an append after record {} is under way or was cut short: it never happened", last.0)?;
    }
    if report.is_sound() {
        writeln!(out, "chain {}", hex(&report.chain))?;
        writeln!(out, "root  {}", hex(&report.root))?;
        if anchors > 0 {
            writeln!(out, "as {anchors} checkpoints kept elsewhere describe it")?;
        }
        writeln!(out, "sound")?;
    }
    Ok(())
}

fn as_json(report: &Report, anchors: usize, deleted: u32) -> serde_json::Value {
    let damages: Vec<_> = report
        .damages
        .iter()
        .map(|damage| {
            json!({
                "file": file(damage), "offset": damage.offset, "seq": damage.seq.0, "what": damage.what.to_string(),
            })
        })
        .collect();
    json!({
        "sound": report.is_sound(), "records": report.records, "first": report.first.0, "last": report.last.0,
        "segments": report.segments, "sealed": report.sealed, "torn": report.torn, "deleted": deleted,
        "anchors": anchors, "chain": hex(&report.chain), "root": hex(&report.root), "damages": damages,
    })
}

/// The file a damage is in; none when it is about the directory.
fn file(damage: &Damage) -> Option<String> {
    (damage.segment > 0).then(|| keel_journal::segment::name(damage.segment))
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_core::event::Timer;
    use keel_core::ids::Seq;
    use keel_core::permit::Log;
    use keel_journal::{Options, Writer, verify};

    #[test]
    fn damage_is_told_by_file_record_and_offset() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { segment_bytes: 12288, prefault_bytes: 8192, ..Options::default() };
        let (mut writer, keeper) = Writer::open(dir.path(), options).unwrap();
        for _ in 0..10 {
            writer.fact(Default::default(), Seq::NONE, &Timer::default()).unwrap();
        }
        drop((writer, keeper));
        let args = Args {
            dir: Some(dir.path().to_path_buf()),
            proof: None,
            anchors: None,
            against_postgres: None,
            against_loki: None,
            login: Login::default(),
            consistency: None,
            old: None,
            key: None,
            json: false,
        };
        assert!(run(&args).is_ok());
        let file = dir.path().join("0000000001.keel");
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[4096 + 3 * 64 + 48] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(run(&args).unwrap_err().to_string(), "the journal is damaged in one place");
        let mut text = Vec::new();
        as_text(&verify(dir.path()), 0, 0, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let sentence = "record 4 (0000000001.keel byte 4288): the checksum does not fit the bytes";
        assert_eq!(text.lines().next(), Some(sentence));
        let json = as_json(&verify(dir.path()), 0, 0);
        assert_eq!(json["sound"], false);
        assert_eq!((&json["damages"][0]["seq"], &json["damages"][0]["offset"]), (&json!(4), &json!(4288)));
    }
}

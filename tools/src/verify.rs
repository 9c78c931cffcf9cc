//! `keel verify`: is every byte of a journal what it was when it was written?
//!
//! Exit code 0 when it is, 1 when it is not, and then every damage is named on a line of its own.

use crate::fact::hex;
use anyhow::{Result, bail};
use keel_journal::Report;
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;

/// What to verify.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Directory of the journal
    pub dir: PathBuf,
    /// One JSON object instead of sentences
    #[arg(long)]
    pub json: bool,
}

/// Verifies and reports on standard output; damage is an error.
pub fn run(args: &Args) -> Result<()> {
    let report = keel_journal::verify(&args.dir);
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", as_json(&report))?
    } else {
        as_text(&report, &mut out)?
    }
    match report.damages.len() {
        0 => Ok(()),
        1 => bail!("the journal is damaged in one place"),
        n if n == keel_journal::verify::MAX_DAMAGES => bail!("the journal is damaged in {n} places or more"),
        n => bail!("the journal is damaged in {n} places"),
    }
}

fn as_text(report: &Report, out: &mut impl Write) -> std::io::Result<()> {
    for damage in &report.damages {
        writeln!(out, "{damage}")?;
    }
    let Report { records, first, last, segments, sealed, .. } = report;
    writeln!(out, "{records} records, {} to {}, in {segments} segments, {sealed} sealed", first.0, last.0)?;
    if report.torn {
        writeln!(out, "an append after record {} is under way or was cut short: it never happened", last.0)?;
    }
    if report.is_sound() {
        writeln!(out, "chain {}", hex(&report.chain))?;
        writeln!(out, "root  {}", hex(&report.root))?;
        writeln!(out, "sound")?;
    }
    Ok(())
}

fn as_json(report: &Report) -> serde_json::Value {
    let damages: Vec<_> = report
        .damages
        .iter()
        .map(|damage| {
            json!({
                "file": keel_journal::segment::name(damage.segment), "offset": damage.offset, "seq": damage.seq.0,
                "what": damage.what.to_string(),
            })
        })
        .collect();
    json!({
        "sound": report.is_sound(), "records": report.records, "first": report.first.0, "last": report.last.0,
        "segments": report.segments, "sealed": report.sealed, "torn": report.torn,
        "chain": hex(&report.chain), "root": hex(&report.root), "damages": damages,
    })
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
        let args = Args { dir: dir.path().to_path_buf(), json: false };
        assert!(run(&args).is_ok());
        let file = dir.path().join("0000000001.keel");
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[4096 + 3 * 64 + 48] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(run(&args).unwrap_err().to_string(), "the journal is damaged in one place");
        let mut text = Vec::new();
        as_text(&verify(dir.path()), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let sentence = "record 4 (0000000001.keel byte 4288): the checksum does not fit the bytes";
        assert_eq!(text.lines().next(), Some(sentence));
        let json = as_json(&verify(dir.path()));
        assert_eq!(json["sound"], false);
        assert_eq!((&json["damages"][0]["seq"], &json["damages"][0]["offset"]), (&json!(4), &json!(4288)));
    }
}

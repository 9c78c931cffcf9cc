//! `keel prove`: a file that proves one record to someone who has only the public key, or that a newer checkpoint only
//! added to an older one.
//!
//! Check them anywhere with `keel verify --proof FILE --key PUBLIC` and `keel verify --consistency FILE --old CHECKPOINT
//! --key PUBLIC`, or with any tool that reads c2sp.org/tlog-proof and c2sp.org/tlog-witness.

use crate::checkpoint::{public, secret};
use anyhow::{Context, Result};
use keel_core::ids::Seq;
use keel_journal::consistency;
use keel_journal::note::PublicKey;
use keel_journal::proof::{self, Checkpoint};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What to prove, and by whose signature.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "signature", multiple = true)]
pub struct Args {
    /// Directory of the journal
    pub dir: PathBuf,
    /// Number of the record
    #[arg(required_unless_present = "consistency", conflicts_with = "consistency")]
    pub seq: Option<u64>,
    /// Prove that the second checkpoint only added to the first
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], requires = "key", conflicts_with_all = ["checkpoint", "signing_key"])]
    pub consistency: Vec<PathBuf>,
    /// A checkpoint that was signed before; needs --key
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "signing_key")]
    pub checkpoint: Option<PathBuf>,
    /// The public key of that checkpoint: the text or its file
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Sign the journal as it is now with the key in this file
    #[arg(long, value_name = "FILE", required_unless_present_any = ["checkpoint", "consistency"])]
    pub signing_key: Option<PathBuf>,
    /// Where to write the proof [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Writes the proof.
pub fn run(args: &Args) -> Result<()> {
    let text = prove(args)?;
    match &args.output {
        Some(file) => fs::write(file, text).with_context(|| format!("cannot write {}", file.display())),
        None => Ok(std::io::stdout().lock().write_all(text.as_bytes())?),
    }
}

fn prove(args: &Args) -> Result<String> {
    if let [old, new] = &args.consistency[..] {
        let key = public(args.key.as_deref().context("--consistency needs --key")?)?;
        let (old, (new, note)) = (opened(old, &key)?.0, opened(new, &key)?);
        return Ok(consistency::prove(&args.dir, old.size, new.size, &note)?.to_text());
    }
    let (size, note) = match (&args.checkpoint, &args.signing_key) {
        (Some(file), _) => {
            let key = public(args.key.as_deref().context("--checkpoint needs --key")?)?;
            let (checkpoint, note) = opened(file, &key)?;
            (checkpoint.size, note)
        }
        (None, Some(file)) => {
            let key = secret(file)?;
            let state = proof::checkpoint(&args.dir, key.public().name(), None)?;
            (state.size, state.sign(&key)?)
        }
        (None, None) => anyhow::bail!("a proof needs --checkpoint or --signing-key"),
    };
    let proof = proof::prove(&args.dir, Seq(args.seq.context("which record?")?), size, &note)?;
    Ok(proof.to_text())
}

/// The checkpoint in a file, checked, and the note it stands in.
pub fn opened(file: &Path, key: &PublicKey) -> Result<(Checkpoint, String)> {
    let note = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok((Checkpoint::open(&note, key).with_context(|| file.display().to_string())?, note))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checkpoint, verify};
    use keel_core::event::Timer;
    use keel_core::permit::Log;
    use keel_core::units::Mono;
    use keel_journal::{Options, Writer};

    #[test]
    fn a_proof_made_here_is_checked_there_with_the_public_key_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        let (mut writer, keeper) =
            Writer::open(path("journal"), Options { segment_bytes: 12288, prefault_bytes: 8192, ..Options::default() })
                .unwrap();
        for due in 0..30 {
            let due = Mono::from_nanos(due);
            writer.fact(Default::default(), Seq::NONE, &Timer { due }).unwrap();
        }
        drop((writer, keeper));
        let sign = |new_key: Option<&str>, anchor| checkpoint::Args {
            dir: Some(path("journal")),
            key: path("secret"),
            new_key: new_key.map(str::to_owned),
            size: None,
            anchor,
            anchor_command: vec![],
            anchor_postgres: None,
            anchor_loki: None,
            login: crate::anchors::Login::default(),
        };
        checkpoint::run(&sign(Some("keel.example/demo"), vec![])).unwrap();
        assert!(checkpoint::run(&sign(Some("keel.example/demo"), vec![])).is_err(), "never over an old key");
        checkpoint::run(&sign(None, vec![path("anchors")])).unwrap();
        let key = secret(&path("secret")).unwrap().public().to_text();
        fs::write(path("public"), &key).unwrap();

        let args = Args {
            dir: path("journal"),
            seq: Some(17),
            consistency: vec![],
            checkpoint: None,
            key: None,
            signing_key: Some(path("secret")),
            output: Some(path("17.tlog-proof")),
        };
        run(&args).unwrap();
        let from_note =
            Args { checkpoint: Some(path("note")), key: Some(key.clone()), signing_key: None, ..args.clone() };
        fs::write(path("note"), fs::read_to_string(path("anchors")).unwrap().trim_end().to_owned() + "\n").unwrap();
        run(&from_note).unwrap();

        let check = |key: &str| verify::Args {
            dir: None,
            proof: Some(path("17.tlog-proof")),
            anchors: None,
            against_postgres: None,
            against_loki: None,
            login: crate::anchors::Login::default(),
            consistency: None,
            old: None,
            key: Some(key.to_owned()),
            json: false,
        };
        verify::run(&check(&key)).unwrap();
        verify::run(&check(path("public").to_str().unwrap())).unwrap();
        assert!(verify::run(&check(path("secret").to_str().unwrap())).is_err());
        let stranger = keel_journal::note::SecretKey::new("keel.example/demo", &[1; 32]).unwrap().public().to_text();
        assert!(verify::run(&check(&stranger)).is_err());
        let whole =
            verify::Args { dir: Some(path("journal")), proof: None, anchors: Some(path("anchors")), ..check(&key) };
        verify::run(&whole).unwrap();

        let earlier = checkpoint::Args { size: Some(11), anchor: vec![path("earlier")], ..sign(None, vec![]) };
        checkpoint::run(&earlier).unwrap();
        let old = fs::read_to_string(path("earlier")).unwrap().trim_end().to_owned() + "\n";
        fs::write(path("earlier"), old).unwrap();
        let args = Args {
            seq: None,
            consistency: vec![path("earlier"), path("note")],
            output: Some(path("11-30.consistency")),
            ..from_note.clone()
        };
        run(&Args { checkpoint: None, ..args.clone() }).unwrap();
        let continues = |old| verify::Args {
            proof: None,
            consistency: Some(path("11-30.consistency")),
            old: Some(path(old)),
            ..check(&key)
        };
        verify::run(&continues("earlier")).unwrap();
        assert!(verify::run(&continues("note")).is_err(), "of another size");
        let forged = fs::read_to_string(path("17.tlog-proof")).unwrap().replace("index 16", "index 15");
        fs::write(path("17.tlog-proof"), forged).unwrap();
        assert!(verify::run(&check(&key)).is_err());
    }
}

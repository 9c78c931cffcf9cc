//! `keel checkpoint`: signs the state of a journal and has it kept elsewhere.
//!
//! The signing key belongs on another machine, with a copy of the journal: a signature by a key on the trading host
//! proves nothing against whoever owns that host. `--new-key` makes one to begin with.

use crate::anchors::{self, Login};
use anyhow::{Context, Result, bail, ensure};
use keel_journal::anchor::{Anchor, CommandAnchor, FileAnchor};
use keel_journal::note::{PublicKey, SecretKey};
use keel_journal::proof;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What to sign, with what, and who keeps it.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Directory of the journal
    #[arg(required_unless_present = "new_key")]
    pub dir: Option<PathBuf>,
    /// File of the signing key
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Make a new key with this name (a URL without scheme, such as example.com/keel), print the public half, and end
    #[arg(long, value_name = "NAME")]
    pub new_key: Option<String>,
    /// Sign the state after this many records instead of now
    #[arg(long, value_name = "N")]
    pub size: Option<u64>,
    /// Append the checkpoint to this file
    #[arg(long, value_name = "FILE")]
    pub anchor: Vec<PathBuf>,
    /// Hand the checkpoint to this program
    #[arg(long, value_name = "COMMAND")]
    pub anchor_command: Vec<String>,
    /// Keep the checkpoint in this database: postgres://keel_ship@HOST/DATABASE
    #[arg(long, value_name = "URL")]
    pub anchor_postgres: Option<String>,
    /// Keep the checkpoint in this log store: https://HOST:3100
    #[arg(long, value_name = "URL")]
    pub anchor_loki: Option<String>,
    /// How the stores let us in
    #[command(flatten)]
    pub login: Login,
}

/// Signs and prints on standard output.
pub fn run(args: &Args) -> Result<()> {
    let text = match &args.new_key {
        Some(name) => new_key(name, &args.key)?,
        None => sign(args)?,
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

fn sign(args: &Args) -> Result<String> {
    let dir = args.dir.as_deref().context("which journal?")?;
    let key = secret(&args.key)?;
    let state = proof::checkpoint(dir, key.public().name(), args.size)?;
    let note = state.sign(&key)?;
    let mut keepers: Vec<Box<dyn Anchor>> = Vec::new();
    for file in &args.anchor {
        keepers.push(Box::new(FileAnchor::open(file).with_context(|| file.display().to_string())?));
    }
    for line in &args.anchor_command {
        keepers.push(Box::new(CommandAnchor::new(line).context("--anchor-command: which program?")?));
    }
    if let Some(url) = &args.anchor_postgres {
        keepers.push(anchors::postgres(url, &args.login)?);
    }
    if let Some(url) = &args.anchor_loki {
        keepers.push(anchors::loki(url, &args.login)?);
    }
    hand(&note, &mut keepers)?;
    Ok(note)
}

/// Hands a signed checkpoint to everyone who keeps it.
pub fn hand(note: &str, anchors: &mut [Box<dyn Anchor>]) -> Result<()> {
    let mut failures = Vec::new();
    for anchor in anchors {
        if let Err(why) = anchor.keep(note) {
            failures.push(format!("{}: {why}", anchor.name()));
        }
    }
    if !failures.is_empty() {
        bail!("signed, but not kept by all: {}", failures.join("; "));
    }
    Ok(())
}

/// Makes a key nobody else can read; refuses to overwrite one.
fn new_key(name: &str, path: &Path) -> Result<String> {
    let key = SecretKey::new(name, &keel_journal::segment::random()?)?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.with_context(|| format!("cannot make {}", path.display()))?;
    writeln!(file, "{}", key.to_text())?;
    file.sync_all()?;
    Ok(format!("{}\n", key.public().to_text()))
}

/// The signing key in a file.
pub fn secret(path: &Path) -> Result<SecretKey> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read the key {}", path.display()))?;
    SecretKey::parse(&text).with_context(|| format!("{} holds no signing key", path.display()))
}

/// A public key: the text itself, or a file that holds it.
pub fn public(text: &str) -> Result<PublicKey> {
    if let Ok(key) = PublicKey::parse(text) {
        return Ok(key);
    }
    let held = fs::read_to_string(text).with_context(|| format!("{text} is neither a public key nor a file"))?;
    ensure!(!held.starts_with("PRIVATE"), "{text} holds a signing key; give the public one");
    PublicKey::parse(&held).with_context(|| format!("{text} holds no public key"))
}

//! `keel keys`: people's keys. What two of them sign releases the brake; what one signs tightens a limit.
//!
//! A key belongs to a person and lives on that person's machine: `keel keys sign` needs the document and nothing else. It
//! shows what it signs before it does.

use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;
use keel_risk::consent::{Key, Name, hex, message_of, signed_text, unsigned};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What a person may say.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Make a key only this user may read, and print the line that goes into the node's [people].
    New {
        /// Whose it is.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// Where it goes; a file that is there is not overwritten.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Print a document of `keel brake request`, `keel limits propose` or `keel cases`, and put a signature below it.
    Sign {
        /// The key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The document; it is rewritten with one signature more.
        #[arg(value_name = "DOCUMENT")]
        document: PathBuf,
    },
}

/// What happens.
pub fn run(args: &Args) -> Result<()> {
    match &args.what {
        What::New { name, out } => new(name, out),
        What::Sign { key, document } => sign(key, document),
    }
}

fn new(name: &str, out: &Path) -> Result<()> {
    let named = Name::new(name.as_bytes()).filter(|name| !name.is_empty());
    let named = named.with_context(|| format!("{name:?} is no name: up to 39 letters, digits and signs"))?;
    let secret: [u8; 32] = keel_journal::segment::random()?;
    let key = Key::new(named, &secret);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(out);
    let mut file = file.with_context(|| format!("cannot make {}", out.display()))?;
    writeln!(file, "keel key 1 {named} {}", crate::fact::hex(&secret))?;
    file.sync_all()?;
    println!("{named} = \"{}\"", crate::fact::hex(&key.public()));
    Ok(())
}

/// Reads a person's key from its file.
pub fn read(path: &Path) -> Result<Key> {
    let open = fs::metadata(path).with_context(|| format!("cannot read the key {}", path.display()))?;
    ensure!(open.permissions().mode() & 0o077 == 0, "{} may be read by others: chmod 600 it", path.display());
    let text = fs::read_to_string(path).with_context(|| format!("cannot read the key {}", path.display()))?;
    let key = (|| {
        let (name, digits) = text.trim_end().strip_prefix("keel key 1 ")?.split_once(' ')?;
        Some(Key::new(Name::new(name.as_bytes()).filter(|name| !name.is_empty())?, &hex(digits)?))
    })();
    key.with_context(|| format!("{} holds no key of `keel keys new`", path.display()))
}

fn sign(key: &Path, document: &Path) -> Result<()> {
    let key = read(key)?;
    let text = fs::read(document).with_context(|| format!("cannot read {}", document.display()))?;
    let Ok((body, mut signed)) = unsigned(&text) else { bail!("{} is no document to sign", document.display()) };
    let known = ["keel arm 1\n", "keel limits 1\n", "keel case 1\n", "keel roles 1\n"];
    ensure!(
        known.iter().any(|kind| body.starts_with(kind)),
        "{} is no request to release the brake, no new limits, no step of a case and no roles",
        document.display()
    );
    ensure!(signed.iter().all(|row| row.name != key.name()), "{} has signed it already", key.name());
    println!("{body}");
    let message = message_of(body);
    signed.push(key.sign(&message));
    let new = document.with_extension("signing");
    fs::write(&new, signed_text(&message, &signed)).with_context(|| format!("writing {}", new.display()))?;
    fs::rename(&new, document).with_context(|| format!("replacing {}", document.display()))?;
    println!("signed by {}; {} signature(s) now", key.name(), signed.len());
    Ok(())
}

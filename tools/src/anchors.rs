//! Checkpoints kept in the stores: `keel checkpoint --anchor-postgres URL --anchor-loki URL`, and `keel verify
//! --against-postgres URL --against-loki URL`, which compares a journal with all of them.
//!
//! In: signed notes, addresses. Out: a row of `keel.checkpoint`, a line of the stream `kind="checkpoint"`; or the notes of
//! one origin. Never: a store that holds nothing taken for one that agrees; a note whose signature was not checked. The
//! origin is the name of the signing key: a journal needs a key of its own. Whoever owns the store can delete what stands
//! there, not forge it; whoever owns the journal's host can do neither, so long as its role there may only add.

use anyhow::{Result, ensure};
use keel_journal::anchor::Anchor;
use keel_journal::note::PublicKey;
use keel_journal::proof::Checkpoint;
use std::path::{Path, PathBuf};

/// How a store lets us in.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Login {
    /// File with the database's password; only this user should be able to read it
    #[arg(long, value_name = "FILE")]
    pub postgres_secret: Option<PathBuf>,
    /// PEM file of the only authority to trust for the database; the web's roots without it
    #[arg(long, value_name = "FILE")]
    pub postgres_ca: Option<PathBuf>,
    /// Tenant, where Loki has several
    #[arg(long, value_name = "NAME")]
    pub loki_tenant: Option<String>,
    /// User for basic authorisation at Loki
    #[arg(long, value_name = "NAME", requires = "loki_secret")]
    pub loki_user: Option<String>,
    /// File with that user's password; only this user should be able to read it
    #[arg(long, value_name = "FILE", requires = "loki_user")]
    pub loki_secret: Option<PathBuf>,
    /// PEM file of the only authority to trust for Loki; the web's roots without it
    #[arg(long, value_name = "FILE")]
    pub loki_ca: Option<PathBuf>,
}

/// The checkpoints of `key` among `notes`, every one of which must be signed by it; `place` is for messages.
pub fn opened(notes: &[String], key: &PublicKey, place: &str) -> Result<Vec<Checkpoint>> {
    ensure!(!notes.is_empty(), "{place} keeps no checkpoint of {}: nothing there to compare with", key.name());
    let open = |(at, note): (usize, &String)| {
        Checkpoint::open(note, key)
            .map_err(|why| anyhow::anyhow!("{place}: checkpoint {} of {}: {why}", at + 1, key.name()))
    };
    notes.iter().enumerate().map(open).collect()
}

#[cfg(not(feature = "ship"))]
mod stores {
    use super::{Anchor, Login, Path, PublicKey, Result};
    use anyhow::bail;

    const WITHOUT: &str = "this keel was built without the feature `ship` and knows no stores";

    /// Not in this build.
    pub fn postgres(_: &str, _: &Login) -> Result<Box<dyn Anchor>> {
        bail!(WITHOUT)
    }

    /// Not in this build.
    pub fn loki(_: &str, _: &Login) -> Result<Box<dyn Anchor>> {
        bail!(WITHOUT)
    }

    /// Not in this build.
    pub fn in_postgres(_: &str, _: &Login, _: &PublicKey) -> Result<Vec<String>> {
        bail!(WITHOUT)
    }

    /// Not in this build.
    pub fn in_loki(_: &str, _: &Login, _: &PublicKey, _: &Path) -> Result<Vec<String>> {
        bail!(WITHOUT)
    }
}

#[cfg(feature = "ship")]
mod stores {
    use super::{Anchor, Login, Path, PublicKey, Result};
    use crate::node::clock::system_wall;
    use crate::ship::lines::Pages;
    use crate::ship::push::{self, Line};
    use crate::ship::{loki, postgres};
    use keel_journal::Reader;
    use std::io;
    use std::time::Duration;

    /// How long a store may be silent.
    const PATIENCE: Duration = Duration::from_secs(30);

    struct InPostgres(postgres::Address, String);

    impl Anchor for InPostgres {
        fn name(&self) -> &str {
            &self.1
        }

        fn keep(&mut self, note: &str) -> io::Result<()> {
            let mut lines = note.lines();
            let origin = lines.next().unwrap_or("");
            let size = lines.next().and_then(|size| size.parse::<i64>().ok());
            let size = size.ok_or_else(|| io::Error::other("not a checkpoint"))?;
            let work = postgres::keep(&self.0, origin, size, note);
            runtime()?.block_on(work).map_err(|fault| io::Error::other(fault.to_string()))
        }
    }

    fn runtime() -> io::Result<tokio::runtime::Runtime> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    }

    struct InLoki(loki::Address);

    impl Anchor for InLoki {
        fn name(&self) -> &str {
            &self.0.base
        }

        fn keep(&mut self, note: &str) -> io::Result<()> {
            let origin = note.lines().next().unwrap_or("");
            let wall = system_wall().nanos();
            let line = Line { seq: 0, stream: 0, wall, text: note.to_owned(), metadata: Vec::new() };
            let request = push::compress(&push::encode(&[labels(origin)], &[line]));
            self.0.push(&request).map_err(|fault| io::Error::other(fault.to_string()))
        }
    }

    /// The stream of one origin. A key's name holds no quote: the format of notes forbids more than it allows.
    fn labels(origin: &str) -> String {
        let plain = origin.replace(['"', '\\'], "");
        format!("{{app=\"keel\", kind=\"checkpoint\", origin=\"{plain}\"}}")
    }

    fn database(url: &str, login: &Login) -> Result<postgres::Address> {
        let secret = login.postgres_secret.as_deref().map(postgres::secret).transpose()?;
        postgres::Address::new(url, secret.as_deref(), login.postgres_ca.as_deref(), PATIENCE)
    }

    fn log_store(url: &str, login: &Login) -> Result<loki::Address> {
        let secret = login.loki_secret.as_deref().map(postgres::secret).transpose()?;
        let user = login.loki_user.as_deref().zip(secret.as_deref());
        loki::Address::new(url, login.loki_tenant.as_deref(), user, login.loki_ca.as_deref(), PATIENCE)
    }

    /// A database that keeps checkpoints.
    pub fn postgres(url: &str, login: &Login) -> Result<Box<dyn Anchor>> {
        let address = database(url, login)?;
        let name = address.name();
        Ok(Box::new(InPostgres(address, name)))
    }

    /// A log store that keeps checkpoints.
    pub fn loki(url: &str, login: &Login) -> Result<Box<dyn Anchor>> {
        Ok(Box::new(InLoki(log_store(url, login)?)))
    }

    /// What a database keeps of a key.
    pub fn in_postgres(url: &str, login: &Login, key: &PublicKey) -> Result<Vec<String>> {
        Ok(runtime()?.block_on(postgres::kept(&database(url, login)?, key.name()))?)
    }

    /// What a log store keeps of a key since the journal in `dir` began.
    pub fn in_loki(url: &str, login: &Login, key: &PublicKey, dir: &Path) -> Result<Vec<String>> {
        let address = log_store(url, login)?;
        let first = Reader::open(dir)?.poll()?.map_or(0, |entry| entry.wall.nanos());
        // a clock a little behind the one that signed must not hide the newest
        let end = system_wall().nanos() + 600_000_000_000;
        let mut pages = Pages::new(&address, labels(key.name()), first.min(end), end);
        let mut notes = Vec::new();
        while let Some((_, text)) = pages.next()? {
            notes.push(text);
        }
        // signed twice is kept twice
        notes.dedup();
        Ok(notes)
    }
}

pub use stores::{in_loki, in_postgres, loki, postgres};

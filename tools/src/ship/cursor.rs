//! The cursor of a store that has no transactions: a small file beside the journal, replaced as a whole.
//!
//! In: how far the store is. Out: the same after a crash, or an earlier place, never a later one: the file is written
//! after the store confirmed, and a line that is sent again is the same line to the byte.

use super::batch::Mark;
use crate::fact::hex;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// Layout of this file.
    pub version: u32,
    /// Id of the journal.
    pub journal: String,
    /// Last record the store confirmed.
    pub seq: u64,
    /// Its hash, in hex.
    pub hash: String,
    /// When it was written.
    pub wall_ns: u64,
    /// Lines confirmed in all.
    pub lines: u64,
    /// Records put into the quarantine in all.
    pub quarantined: u64,
    /// Are names and values sent beside the line? Decided once: it is part of what a line is.
    pub metadata: bool,
    /// The symbols of the instruments up to here.
    pub symbols: Vec<Option<String>>,
}

/// Layout of the file this version writes.
pub const VERSION: u32 = 1;

/// A cursor in its file.
#[derive(Debug)]
pub struct CursorFile {
    path: PathBuf,
    /// What it says.
    pub saved: Saved,
}

impl CursorFile {
    /// Of one store, by its address: another store has another file. A new one when there is none.
    pub fn open(dir: &Path, store: &str, address: &str, journal: &str) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let path = dir.join(format!("{store}-{}.json", &hex(&Sha256::digest(address))[..8]));
        let saved = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice::<Saved>(&bytes).with_context(|| {
                format!("{} is no cursor of this version; without it all is sent again", path.display())
            })?,
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
                Saved { version: VERSION, journal: journal.to_owned(), ..Saved::default() }
            }
            Err(why) => return Err(why).with_context(|| format!("reading {}", path.display())),
        };
        ensure!(
            saved.version == VERSION,
            "{} is of version {}, this keel reads {VERSION}",
            path.display(),
            saved.version
        );
        ensure!(
            saved.journal == journal,
            "{} is the cursor of journal {}, not of {journal}",
            path.display(),
            saved.journal
        );
        Ok(Self { path, saved })
    }

    /// The mark it stands for.
    #[must_use]
    pub fn mark(&self) -> Mark {
        let digit = |at: usize| u8::from_str_radix(self.saved.hash.get(2 * at..2 * at + 2)?, 16).ok();
        let mut hash = [0; 32];
        hash.iter_mut().enumerate().for_each(|(at, byte)| *byte = digit(at).unwrap_or(0));
        Mark { seq: self.saved.seq, hash, wall: self.saved.wall_ns }
    }

    /// Where it stands.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what it says: to another name, to the medium, into place.
    pub fn save(&self) -> Result<()> {
        let unfinished = self.path.with_extension("tmp");
        let work = || -> std::io::Result<()> {
            let mut file = File::create(&unfinished)?;
            file.write_all(&serde_json::to_vec(&self.saved)?)?;
            file.sync_all()?;
            fs::rename(&unfinished, &self.path)?;
            File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
        };
        work().with_context(|| format!("writing {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_belongs_to_its_journal() {
        let dir = tempfile::tempdir().unwrap();
        let mut cursor = CursorFile::open(dir.path(), "loki", "http://a", "1").unwrap();
        cursor.saved.seq = 9;
        cursor.saved.hash = hex(&[0xab; 32]);
        cursor.save().unwrap();
        let again = CursorFile::open(dir.path(), "loki", "http://a", "1").unwrap();
        assert_eq!((again.mark().seq, again.mark().hash), (9, [0xab; 32]));
        assert_eq!(CursorFile::open(dir.path(), "loki", "http://b", "1").unwrap().saved.seq, 0);
        assert!(CursorFile::open(dir.path(), "loki", "http://a", "2").is_err());
        fs::write(again.path(), b"{").unwrap();
        assert!(CursorFile::open(dir.path(), "loki", "http://a", "1").is_err());
    }
}

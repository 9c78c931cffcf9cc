//! A place in a journal that outlives the program: `seq hash` in a file, so that a job neither misses nor repeats.
//!
//! In: the file of the last run, if there was one. Out: a reader behind that record, once its hash was found to be what it
//! was: another journal, or one written anew, is refused. The file is replaced whole, after what was shown is flushed.

use crate::fact::hex;
use anyhow::{Context, Result, bail, ensure};
use keel_core::ids::Seq;
use keel_journal::history::{Hash, leaf};
use keel_journal::{Entry, Reader};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub(super) struct Cursor {
    file: PathBuf,
    /// Where the last run ended: number and hash, as the file has them.
    from: Option<(u64, String)>,
    /// The last record looked at and not kept yet.
    at: Option<(u64, Hash)>,
}

impl Cursor {
    pub(super) fn open(file: &Path) -> Result<Self> {
        let told = || file.display().to_string();
        let from = match fs::read_to_string(file) {
            Ok(text) => {
                let (seq, hash) = text.trim_end().split_once(' ').with_context(|| format!("{}: no cursor", told()))?;
                let seq = seq.parse().with_context(|| format!("{}: no cursor", told()))?;
                Some((seq, hash.to_owned()))
            }
            Err(why) if why.kind() == ErrorKind::NotFound => None,
            Err(why) => return Err(why).with_context(told),
        };
        Ok(Self { file: file.to_owned(), from, at: None })
    }

    /// A reader at the record behind the place.
    pub(super) fn reader(&self, dir: &Path) -> Result<Reader> {
        let Some((seq, hash)) = &self.from else { return Ok(Reader::open(dir)?) };
        let mut reader = Reader::open_at(dir, Seq(*seq))?;
        match reader.poll()? {
            Some(entry) if entry.seq.0 == *seq => {
                ensure!(hex(&leaf(entry.bytes)) == *hash, "record {seq} is not the one the cursor was at");
            }
            Some(entry) => bail!("records {seq} to {} are gone", entry.seq.0 - 1),
            None => bail!("the journal ends before record {seq}, where the cursor was"),
        }
        Ok(reader)
    }

    pub(super) fn move_to(&mut self, entry: &Entry<'_>) {
        self.at = Some((entry.seq.0, leaf(entry.bytes)));
    }

    /// Writes the place to the file.
    pub(super) fn keep(&mut self) -> Result<()> {
        let Some((seq, hash)) = self.at else { return Ok(()) };
        let unfinished = self.file.with_extension("tmp");
        fs::write(&unfinished, format!("{seq} {}\n", hex(&hash))).and_then(|()| fs::rename(&unfinished, &self.file))?;
        self.at = None;
        Ok(())
    }
}

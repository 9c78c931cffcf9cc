//! The journal as a queue: what is on the medium, in order, and nothing that a power cut could still take back.
//!
//! In: a directory. Out: entries, up to the newest watermark. Never: a lock, a write, a record the journal itself does
//! not promise to keep: a copy must not know more than its original.

use super::batch::Mark;
use super::table::hash_of;
use keel_core::ids::Seq;
use keel_journal::segment::{self, Head};
use keel_journal::{Damage, Entry, Reader, What};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of a segment's header page.
const PAGE: usize = 4096;
/// Newest segments that are asked for a watermark: the active one, the one before it, the spare.
const NEWEST: usize = 4;

/// A cursor that stops at the watermark.
#[derive(Debug)]
pub struct Source {
    dir: PathBuf,
    reader: Reader,
    durable: u64,
}

/// What the cursor of a store and the journal say about each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// The record at the cursor is the one the store knows, or there is none yet.
    Same,
    /// It is another record.
    Other,
    /// The journal ends before it.
    Ahead,
    /// The journal no longer holds what comes after it; its oldest record is given.
    Gone(u64),
}

impl Source {
    /// At the record after `seq`, or at the oldest one when that is later.
    pub fn after(dir: &Path, seq: u64) -> Result<Self, Damage> {
        let reader = Reader::open_at(dir, Seq(seq + 1))?;
        Ok(Self { dir: dir.to_path_buf(), reader, durable: 0 })
    }

    /// The next record that is on the medium.
    pub fn poll(&mut self) -> Result<Option<Entry<'_>>, Damage> {
        let next = self.reader.next_seq().map_or(1, |seq| seq.0);
        if next > self.durable {
            self.durable = durable(&self.dir).map_err(|why| unreadable(&why))?;
            if next > self.durable {
                return Ok(None);
            }
        }
        self.reader.poll()
    }

    /// The number of the next record, once it is on the medium.
    pub fn peek(&mut self) -> Result<Option<u64>, Damage> {
        if self.poll()?.is_none() {
            return Ok(None);
        }
        let seq = self.reader.next_seq().map_or(0, |seq| seq.0) - 1;
        *self = Self::after(&self.dir, seq - 1)?;
        Ok(Some(seq))
    }

    /// Compares the journal with the cursor of a store.
    pub fn agreement(dir: &Path, cursor: &Mark) -> Result<Agreement, Damage> {
        if cursor.seq == 0 {
            return Ok(Agreement::Same);
        }
        let mut reader = Reader::open_at(dir, Seq(cursor.seq))?;
        let Some(entry) = reader.poll()? else { return Ok(Agreement::Ahead) };
        Ok(match entry.seq.0 {
            seq if seq == cursor.seq && hash_of(&entry) == cursor.hash => Agreement::Same,
            seq if seq == cursor.seq => Agreement::Other,
            seq if seq == cursor.seq + 1 => Agreement::Same,
            seq if seq > cursor.seq => Agreement::Gone(seq),
            _ => Agreement::Ahead,
        })
    }
}

fn unreadable(why: &io::Error) -> Damage {
    Damage { segment: 0, offset: 0, seq: Seq::NONE, what: What::Io(why.kind()) }
}

/// The last record that is on the medium; 0 when there is none.
pub(super) fn durable(dir: &Path) -> io::Result<u64> {
    let mut newest = 0;
    for number in segment::list_plain(dir)?.into_iter().rev().take(NEWEST) {
        let Some(page) = header(dir, number)? else { continue };
        if let Ok((_, marks)) = Head::read(&page) {
            newest = newest.max(marks.newest().seq.0);
        }
    }
    Ok(newest)
}

/// Id of the journal, in hex.
pub(super) fn journal_id(dir: &Path) -> io::Result<Option<String>> {
    for number in segment::list_plain(dir)?.into_iter().rev() {
        let Some(page) = header(dir, number)? else { continue };
        if let Ok((head, _)) = Head::read(&page) {
            return Ok(Some(crate::fact::hex(&head.journal)));
        }
    }
    Ok(None)
}

/// The header page; `None` when the segment was compressed meanwhile.
fn header(dir: &Path, number: u32) -> io::Result<Option<Vec<u8>>> {
    let mut page = vec![0; PAGE];
    match File::open(segment::path(dir, number)) {
        Ok(file) => file.read_exact_at(&mut page, 0).map(|()| Some(page)),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(why),
    }
}

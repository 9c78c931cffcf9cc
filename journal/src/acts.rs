//! What was done to a journal's files, and by whom: a log of its own beside the segments, each line chained to the last.
//!
//! In: acts. Out: `retention.log`, one act a line, on the medium before the act is performed. Never: a line changed or
//! removed in the middle unnoticed, a log that does not fit together gone on with.
//!
//! ```text
//!   1 1795368000000000000 alice hold CASE-7 100 2000 the regulator asked <hash>
//!   2 1795368100000000000 schedule packed 1 <hash>
//!   3 1795368200000000000 schedule copied 1 <sha256 of the file> s3://bucket/keel <hash>
//!   4 1795368300000000000 schedule deleted 1 1 99 <chain after the segment> <hash>
//!   5 1795368400000000000 alice release CASE-7 settled <hash>
//!
//!   number, nanoseconds since 1970, who, what; hash = SHA-256(hash of the line before | the line up to here)
//! ```
//!
//! Holds are what the lines say: there is no second list to fall out of step. A line without its newline is an act that
//! was cut short before it was performed: it never happened.

use crate::history::Hash;
use core::fmt;
use keel_core::ids::Seq;
use keel_core::units::Wall;
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Name of the log in the journal's directory.
pub const NAME: &str = "retention.log";

/// One act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing from `first` to `last` may be deleted until `name` is released.
    Hold {
        /// Of the hold; no spaces.
        name: String,
        /// First record held.
        first: Seq,
        /// Last record held.
        last: Seq,
        /// Why, in words.
        reason: String,
    },
    /// The hold ends.
    Release {
        /// Which.
        name: String,
        /// Why, in words.
        reason: String,
    },
    /// A segment was compressed.
    Packed {
        /// Which.
        segment: u32,
    },
    /// A compressed segment was copied elsewhere and read back.
    Copied {
        /// Which.
        segment: u32,
        /// SHA-256 of the compressed file.
        sha256: Hash,
        /// Where to; no spaces.
        place: String,
    },
    /// A segment is deleted here.
    Deleted {
        /// Which.
        segment: u32,
        /// Its first record.
        first: Seq,
        /// Its last record.
        last: Seq,
        /// The chain after it: what the next segment's seal begins with.
        chain: Hash,
    },
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// From 1, without a hole.
    pub number: u64,
    /// When.
    pub at: Wall,
    /// Who; no spaces.
    pub who: String,
    /// What.
    pub act: Act,
}

/// Why the log cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActsError {
    /// Another process is writing to it.
    Busy,
    /// This line does not follow from the one before: it, or one before it, was changed.
    Changed(u64),
    /// A name with a space or a control character, or none; a reason of more than one line.
    Word,
    /// A hold of this name is there already.
    Taken,
    /// There is no such hold.
    NoHold,
    /// The operating system says no.
    Io(io::ErrorKind),
}

impl fmt::Display for ActsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => write!(f, "another process is writing to {NAME}"),
            Self::Changed(line) => write!(f, "{NAME} line {line} was changed: nothing is deleted by a log like that"),
            Self::Word => write!(f, "names are one word, reasons one line"),
            Self::Taken => write!(f, "a hold of this name is there already"),
            Self::NoHold => write!(f, "there is no such hold"),
            Self::Io(kind) => write!(f, "{NAME}: {kind}"),
        }
    }
}

impl std::error::Error for ActsError {}

impl From<io::Error> for ActsError {
    fn from(why: io::Error) -> Self {
        Self::Io(why.kind())
    }
}

/// A hold in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Its name.
    pub name: String,
    /// First record held.
    pub first: Seq,
    /// Last record held.
    pub last: Seq,
    /// Since when.
    pub at: Wall,
    /// Who asked for it.
    pub who: String,
    /// Why.
    pub reason: String,
}

/// The log, read; with a file, also written.
#[derive(Debug, Default)]
pub struct Acts {
    file: Option<File>,
    lines: Vec<Line>,
    chain: Hash,
}

impl Acts {
    /// Reads it; a journal without one has an empty one.
    pub fn read(dir: &Path) -> Result<Self, ActsError> {
        match fs::read(dir.join(NAME)) {
            Ok(bytes) => Ok(Self::parse(&bytes)?.0),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(why) => Err(why.into()),
        }
    }

    /// Opens it for more; one process at a time.
    pub fn open(dir: &Path) -> Result<Self, ActsError> {
        let file = OpenOptions::new().append(true).create(true).open(dir.join(NAME))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|why| match why {
            rustix::io::Errno::WOULDBLOCK => ActsError::Busy,
            other => ActsError::Io(io::Error::from(other).kind()),
        })?;
        let (mut acts, whole) = Self::parse(&fs::read(dir.join(NAME))?)?;
        if file.metadata()?.len() > whole {
            file.set_len(whole)?;
        }
        file.sync_all()?;
        File::open(dir)?.sync_all()?;
        acts.file = Some(file);
        Ok(acts)
    }

    /// The log in `bytes`, and how many of them are whole lines.
    pub fn parse(bytes: &[u8]) -> Result<(Self, u64), ActsError> {
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut acts = Self::default();
        for (line, number) in bytes[..whole].split_inclusive(|byte| *byte == b'\n').zip(1..) {
            let line = core::str::from_utf8(&line[..line.len() - 1]).map_err(|_| ActsError::Changed(number))?;
            let (body, hash) = line.rsplit_once(' ').ok_or(ActsError::Changed(number))?;
            let chain = link(&acts.chain, body);
            let parsed = Line::parse(body).filter(|line| line.number == number && hash == hex(&chain));
            acts.lines.push(parsed.ok_or(ActsError::Changed(number))?);
            acts.chain = chain;
        }
        Ok((acts, whole as u64))
    }

    /// Every line.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Hash of the last line: kept elsewhere, it shows that none was cut off.
    #[must_use]
    pub const fn chain(&self) -> &Hash {
        &self.chain
    }

    /// Appends a line; it is on the medium when this returns.
    pub fn add(&mut self, at: Wall, who: &str, act: Act) -> Result<(), ActsError> {
        match &act {
            Act::Hold { name, .. } if self.holds().iter().any(|hold| hold.name == *name) => {
                return Err(ActsError::Taken);
            }
            Act::Release { name, .. } if !self.holds().iter().any(|hold| hold.name == *name) => {
                return Err(ActsError::NoHold);
            }
            _ => {}
        }
        let line = Line { number: self.lines.len() as u64 + 1, at, who: who.to_owned(), act };
        let body = line.to_text();
        if Line::parse(&body).as_ref() != Some(&line) {
            return Err(ActsError::Word);
        }
        let chain = link(&self.chain, &body);
        let Some(file) = &mut self.file else { return Err(ActsError::Io(io::ErrorKind::PermissionDenied)) };
        file.write_all(format!("{body} {}\n", hex(&chain)).as_bytes())?;
        file.sync_all()?;
        self.lines.push(line);
        self.chain = chain;
        Ok(())
    }

    /// The same, for reading alone: another process may write now.
    #[must_use]
    pub fn closed(self) -> Self {
        Self { file: None, ..self }
    }

    /// The holds in force.
    #[must_use]
    pub fn holds(&self) -> Vec<Hold> {
        let mut holds: Vec<Hold> = Vec::new();
        for Line { at, who, act, .. } in &self.lines {
            match act.clone() {
                Act::Hold { name, first, last, reason } => {
                    holds.push(Hold { name, first, last, at: *at, who: who.clone(), reason });
                }
                Act::Release { name, .. } => holds.retain(|hold| hold.name != name),
                _ => {}
            }
        }
        holds
    }

    /// The deletion of a segment.
    #[must_use]
    pub fn deleted(&self, number: u32) -> Option<&Line> {
        self.lines.iter().find(|line| matches!(line.act, Act::Deleted { segment, .. } if segment == number))
    }

    /// The hash of the copy of a segment at a place.
    #[must_use]
    pub fn copied(&self, number: u32, to: &str) -> Option<Hash> {
        self.lines.iter().rev().find_map(|line| match &line.act {
            Act::Copied { segment, sha256, place } if *segment == number && place == to => Some(*sha256),
            _ => None,
        })
    }
}

impl Line {
    fn to_text(&self) -> String {
        let what = match &self.act {
            Act::Hold { name, first, last, reason } => format!("hold {name} {} {} {reason}", first.0, last.0),
            Act::Release { name, reason } => format!("release {name} {reason}"),
            Act::Packed { segment } => format!("packed {segment}"),
            Act::Copied { segment, sha256, place } => format!("copied {segment} {} {place}", hex(sha256)),
            Act::Deleted { segment, first, last, chain } => {
                format!("deleted {segment} {} {} {}", first.0, last.0, hex(chain))
            }
        };
        format!("{} {} {} {what}", self.number, self.at.nanos(), self.who)
    }

    fn parse(body: &str) -> Option<Self> {
        if body.chars().any(char::is_control) {
            return None;
        }
        let mut words = body.splitn(4, ' ');
        let mut word = || words.next().filter(|word| !word.is_empty());
        let (number, at, who, rest) = (decimal(word()?)?, decimal(word()?)?, word()?, word()?);
        let mut words = rest.split(' ');
        let mut word = || words.next().filter(|word| !word.is_empty());
        let segment = |word: Option<&str>| u32::try_from(decimal(word?)?).ok();
        let act = match word()? {
            "hold" => {
                let (name, first, last) = (word()?.to_owned(), Seq(decimal(word()?)?), Seq(decimal(word()?)?));
                Act::Hold { name, first, last, reason: words.by_ref().collect::<Vec<_>>().join(" ") }
            }
            "release" => {
                let name = word()?.to_owned();
                Act::Release { name, reason: words.by_ref().collect::<Vec<_>>().join(" ") }
            }
            "packed" => Act::Packed { segment: segment(word())? },
            "copied" => Act::Copied { segment: segment(word())?, sha256: unhex(word()?)?, place: word()?.to_owned() },
            "deleted" => {
                let (segment, first, last) = (segment(word())?, Seq(decimal(word()?)?), Seq(decimal(word()?)?));
                Act::Deleted { segment, first, last, chain: unhex(word()?)? }
            }
            _ => return None,
        };
        words.next().is_none().then(|| Self { number, at: Wall::from_nanos(at), who: who.to_owned(), act })
    }
}

fn decimal(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn link(before: &Hash, body: &str) -> Hash {
    Sha256::new().chain_update(before).chain_update(body).finalize().into()
}

fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Hash> {
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    let digits = |pair: &[u8; 2]| {
        let pair = core::str::from_utf8(pair).ok().filter(|pair| pair.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u8::from_str_radix(pair, 16).ok()
    };
    let bytes: Option<Vec<u8>> = pairs.iter().map(digits).collect();
    if odd.is_empty() { bytes?.try_into().ok() } else { None }
}

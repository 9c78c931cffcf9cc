//! Places outside the journal that remember its checkpoints.
//!
//! A journal alone cannot show that its end was cut off or that all of it was written anew. A checkpoint that someone
//! else keeps can: [`crate::verify::verify_against`] compares. An anchor that fails is reported and never stops the core.

use crate::note::PublicKey;
use crate::proof::{Checkpoint, ProofError};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Somewhere a checkpoint can be kept.
pub trait Anchor {
    /// For messages and metrics.
    fn name(&self) -> &str;
    /// Keeps `note`, a signed checkpoint; returns when it is safe there.
    fn keep(&mut self, note: &str) -> io::Result<()>;
}

/// A file that only grows: notes, each followed by an empty line. Best on another machine's disk.
#[derive(Debug)]
pub struct FileAnchor {
    name: String,
    file: File,
}

impl FileAnchor {
    /// Opens or creates it.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let file = OpenOptions::new().append(true).create(true).open(&path)?;
        Ok(Self { name: path.display().to_string(), file })
    }
}

impl Anchor for FileAnchor {
    fn name(&self) -> &str {
        &self.name
    }

    fn keep(&mut self, note: &str) -> io::Result<()> {
        self.file.write_all(format!("{note}\n").as_bytes())?;
        self.file.sync_all()
    }
}

/// A program that takes the note on its standard input and succeeds when it is kept.
#[derive(Debug)]
pub struct CommandAnchor {
    program: String,
    arguments: Vec<String>,
}

impl CommandAnchor {
    /// The first word is the program, the rest its arguments: no shell comes between.
    #[must_use]
    pub fn new(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace().map(str::to_owned);
        Some(Self { program: words.next()?, arguments: words.collect() })
    }
}

impl Anchor for CommandAnchor {
    fn name(&self) -> &str {
        &self.program
    }

    fn keep(&mut self, note: &str) -> io::Result<()> {
        let mut child = Command::new(&self.program).args(&self.arguments).stdin(Stdio::piped()).spawn()?;
        let sent = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(note.as_bytes()));
        let status = child.wait()?;
        sent?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("{} ended with {status}", self.program))) }
    }
}

/// The checkpoints in the text of a [`FileAnchor`]; every one of them must be signed by `key`.
pub fn read(text: &str, key: &PublicKey) -> Result<Vec<Checkpoint>, ProofError> {
    let mut pieces = text.split("\n\n").filter(|piece| !piece.is_empty());
    let mut checkpoints = Vec::new();
    while let Some(body) = pieces.next() {
        let signatures = pieces.next().ok_or(ProofError::Malformed)?.trim_end_matches('\n');
        checkpoints.push(Checkpoint::open(&format!("{body}\n\n{signatures}\n"), key)?);
    }
    Ok(checkpoints)
}

//! What earlier runs left in the journal: the number of the next one, the latches of the brake, the limits in force.
//!
//! In: a journal's directory. Out: a fold over all of it. Never: a run number used twice; limits read half.

use anyhow::{Context, Result, anyhow};
use keel_core::event::{Kind, Start, read};
use keel_journal::Reader;
use keel_risk::consent::read_limits;
use keel_risk::latch::Latch;
use keel_risk::limits::Limits;
use std::path::Path;

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Heritage {
    run: u32,
    /// What the brake was, and what people agreed to.
    pub latch: Latch,
}

impl Heritage {
    /// Folds the journal in a directory; one that is not there left nothing.
    pub fn read(dir: &Path) -> Result<Self> {
        let mut all = Self::default();
        if !dir.exists() {
            return Ok(all);
        }
        let trouble = |why| anyhow!("reading {}: {why}", dir.display());
        let mut reader = Reader::open(dir).map_err(trouble)?;
        while let Some(entry) = reader.poll().map_err(trouble)? {
            let Some(kind) = entry.kind else { continue };
            all.latch.take(kind, entry.payload);
            if kind == Kind::Start {
                let start: Start = read(entry.payload).context("a start record that cannot be read")?;
                all.run = all.run.max(start.run);
            }
        }
        Ok(all)
    }

    /// One more than the highest run. Ids of its orders start with it, so it is never guessed.
    pub fn next_run(&self) -> Result<u32> {
        self.run.checked_add(1).context("every run number is used up; begin a new journal")
    }

    /// The limits people last agreed to; `None` while those of the configuration stand.
    pub fn limits(&self) -> Result<Option<Limits>> {
        let last = self.latch.adopted().last();
        let read = last.map(|adopted| read_limits(&adopted.text).map(|(_, limits, _)| limits));
        read.transpose().map_err(|why| anyhow!("the limits in force, version {:?}: {why:?}", last.map(|l| l.version)))
    }
}

//! What earlier runs left in the journal of the brake and the limits; positions and orders are [`super::restart`]'s.
//!
//! In: a journal's directory. Out: a fold over all of it. Never: limits read half.

use anyhow::{Result, anyhow};
use keel_journal::Reader;
use keel_risk::consent::read_limits;
use keel_risk::latch::Latch;
use keel_risk::limits::Limits;
use std::path::Path;

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Heritage {
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
        }
        Ok(all)
    }

    /// The limits people last agreed to; `None` while those of the configuration stand.
    pub fn limits(&self) -> Result<Option<Limits>> {
        let last = self.latch.adopted().last();
        let read = last.map(|adopted| read_limits(&adopted.text).map(|(_, limits, _)| limits));
        read.transpose().map_err(|why| anyhow!("the limits in force, version {:?}: {why:?}", last.map(|l| l.version)))
    }
}

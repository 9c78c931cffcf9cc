//! The limits people agreed to: every version of them, for those who ask for the history, and the one in force. What a run
//! takes over is read by [`super::restart`], which needs no more than the last beginning.
//!
//! In: a journal's directory. Out: a fold over all of it. Never: limits read half.

use anyhow::{Result, anyhow};
use keel_journal::Reader;
use keel_risk::consent::read_limits;
use keel_risk::latch::Latch;
use keel_risk::limits::Limits;
use std::path::Path;

/// Folds the whole journal in a directory; one that is not there holds nothing.
pub fn history(dir: &Path) -> Result<Latch> {
    let mut latch = Latch::default();
    if !dir.exists() {
        return Ok(latch);
    }
    let trouble = |why| anyhow!("reading {}: {why}", dir.display());
    let mut reader = Reader::open(dir).map_err(trouble)?;
    while let Some(entry) = reader.poll().map_err(trouble)? {
        if let Some(kind) = entry.kind {
            latch.take(kind, entry.payload);
        }
    }
    Ok(latch)
}

/// The limits people last agreed to; `None` while those of the configuration stand.
pub fn limits(latch: &Latch) -> Result<Option<Limits>> {
    let last = latch.adopted().last();
    let read = last.map(|adopted| read_limits(&adopted.text).map(|(_, limits, _)| limits));
    read.transpose().map_err(|why| anyhow!("the limits in force, version {:?}: {why:?}", last.map(|l| l.version)))
}

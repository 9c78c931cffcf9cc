//! Is this directory the compliance journal? Programs that copy, publish or delete ask before they begin.
//!
//! In: a directory. Out: yes when it bears the name, or when one of its first records is of that journal, whatever it is
//! called now. Never: the record.

use super::stream::NAME;
use keel_core::event::{Document, DocumentKind, Kind, read};
use keel_journal::{Damage, Reader};
use std::path::Path;

/// Records looked at: roles and alerts stand at the very beginning.
const FIRST: usize = 4096;

/// Must it stay where it is?
pub fn is_confidential(dir: &Path) -> Result<bool, Damage> {
    let named = |dir: &Path| dir.file_name().is_some_and(|name| name == NAME);
    if named(dir) || dir.canonicalize().is_ok_and(|dir| named(&dir)) {
        return Ok(true);
    }
    let mut reader = Reader::open(dir)?;
    for _ in 0..FIRST {
        let Some(entry) = reader.poll()? else { break };
        let found = match entry.kind {
            Some(Kind::Alert | Kind::CaseAct) => true,
            Some(Kind::Document) => read::<Document>(entry.payload)
                .is_some_and(|part| matches!(part.kind, DocumentKind::Roles | DocumentKind::Case)),
            _ => false,
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

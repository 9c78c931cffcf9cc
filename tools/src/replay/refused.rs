//! The one cause of a difference that lies in the journal itself: it was full, and refused what the engine acted on.
//!
//! A position or an order the venue reports is true whether or not there is room to write it down, so the engine takes it
//! in; the last record of the run says how many such facts are missing. A run that was killed has no last record, and
//! `keel_engine_unrecorded_total` of its time is all there is.

use anyhow::Result;
use keel_core::event::{Kind, Start, Stop};
use keel_journal::Reader;
use std::path::Path;
use zerocopy::FromBytes;

/// Words to add to a difference in `run`, if its journal refused anything.
pub(super) fn because(dir: &Path, run: u32) -> Result<String> {
    let (mut reader, mut here) = (Reader::open(dir)?, false);
    while let Some(entry) = reader.poll()? {
        match entry.kind {
            Some(Kind::Start) => here = Start::read_from_bytes(entry.payload).is_ok_and(|start| start.run == run),
            Some(Kind::Stop) if here => {
                let refused = Stop::read_from_bytes(entry.payload).map_or(0, |stop| stop.unrecorded);
                return Ok(told(refused));
            }
            _ => {}
        }
    }
    Ok(String::new())
}

fn told(refused: u32) -> String {
    match refused {
        0 => String::new(),
        n => format!(
            "; the journal of this run was full or broken and refused {n} records the engine acted on all the same"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_core::ids::Seq;
    use keel_core::permit::Log;
    use keel_journal::{Options, Writer};

    #[test]
    fn a_run_whose_journal_refused_records_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { segment_bytes: 12288, prefault_bytes: 8192, ..Options::default() };
        let (mut writer, keeper) = Writer::open(dir.path(), options).unwrap();
        for (run, unrecorded) in [(6, 0), (7, 5), (8, 0)] {
            writer.fact(Default::default(), Seq::NONE, &Start { run, ..Start::default() }).unwrap();
            writer.fact(Default::default(), Seq::NONE, &Stop { unrecorded, ..Stop::default() }).unwrap();
        }
        drop((writer, keeper));
        let because = |run| because(dir.path(), run).unwrap();
        assert_eq!((because(6), because(8), because(9)), Default::default());
        assert!(because(7).contains("refused 5 records"), "{}", because(7));
    }
}

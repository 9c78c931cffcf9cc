//! Many proofs of inclusion at once, without a signature: for those who bring a hundred records of one journal to an
//! authority.
//!
//! In: a journal whose first record is there, how many of its records. Out: the root of the RFC 6962 tree over them, and
//! for any of them the hashes from its sibling up. Never: more than [`MAX_LEAVES`] leaves in memory.

use crate::history::{Hash, leaf, node};
use crate::proof::{ProofError, siblings};
use crate::reader::Reader;
use core::ops::Range;
use keel_core::ids::Seq;
use std::path::Path;

/// Leaves of the largest tree: 512 MiB of hashes. A larger journal is proven record by record, by [`crate::proof::prove`].
pub const MAX_LEAVES: u64 = 8 << 20;

/// The tree over the first records of a journal.
#[derive(Clone, Debug)]
pub struct Inclusion {
    /// Hashes of complete subtrees: of one leaf, of two, of four and so on.
    levels: Vec<Vec<Hash>>,
}

impl Inclusion {
    /// Reads the first `size` records in `dir`.
    pub fn read(dir: &Path, size: u64) -> Result<Self, ProofError> {
        if size > MAX_LEAVES {
            return Err(ProofError::NoRecord);
        }
        let mut reader = Reader::open_at(dir, Seq(1))?;
        let mut leaves = Vec::new();
        for seq in 1..=size {
            let entry = reader.poll()?.ok_or(ProofError::NoRecord)?;
            if entry.seq.0 != seq {
                return Err(ProofError::NoBeginning);
            }
            leaves.push(leaf(entry.bytes));
        }
        Ok(Self::over(leaves))
    }

    fn over(leaves: Vec<Hash>) -> Self {
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let above = below.as_chunks::<2>().0.iter().map(|[left, right]| node(left, right)).collect();
            levels.push(above);
        }
        Self { levels }
    }

    /// Leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.levels[0].len() as u64
    }

    /// Root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        if self.size() == 0 { crate::history::empty_root() } else { self.subtree(&(0..self.size())) }
    }

    /// The leaf of a record, and the hashes from its sibling up; `None` when it is not in the tree.
    #[must_use]
    pub fn path(&self, seq: Seq) -> Option<(Hash, Vec<Hash>)> {
        let index = seq.0.checked_sub(1).filter(|index| *index < self.size())?;
        let path = siblings(index, self.size()).iter().map(|range| self.subtree(range)).collect();
        Some((*self.levels[0].get(usize::try_from(index).ok()?)?, path))
    }

    /// Ranges that are not empty, as `siblings` gives them: aligned to their own size but for the last of the tree.
    fn subtree(&self, range: &Range<u64>) -> Hash {
        let len = range.end - range.start;
        if len.is_power_of_two() && range.start.is_multiple_of(len) {
            #[allow(clippy::cast_possible_truncation, reason = "a place among leaves in memory")]
            return self.levels[len.trailing_zeros() as usize][(range.start / len) as usize];
        }
        let split = range.start + len.next_power_of_two() / 2;
        node(&self.subtree(&(range.start..split)), &self.subtree(&(split..range.end)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::History;
    use crate::proof::climb;

    #[test]
    fn every_path_leads_to_the_root_the_journal_itself_counts() {
        for size in 0..70u8 {
            let records: Vec<[u8; 1]> = (0..size).map(|n| [n]).collect();
            let mut history = History::new();
            records.iter().for_each(|record| history.absorb(record));
            let tree = Inclusion::over(records.iter().map(|record| leaf(record)).collect());
            assert_eq!((tree.size(), tree.root()), (u64::from(size), history.root()));
            for index in 0..u64::from(size) {
                let (leaf, path) = tree.path(Seq(index + 1)).unwrap();
                assert_eq!(climb(leaf, index, u64::from(size), &path), Some(history.root()));
            }
            assert_eq!((tree.path(Seq(0)), tree.path(Seq(u64::from(size) + 1))), (None, None));
        }
    }
}

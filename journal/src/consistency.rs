//! That an older checkpoint describes a beginning of what a newer one describes: nothing was changed, only added.
//!
//! In: a journal and two sizes, or the proof and two checkpoints. Out: RFC 6962 consistency proofs (section 2.1.2, checked
//! as RFC 9162, 2.1.4.2 says) in the text a C2SP witness takes (c2sp.org/tlog-witness):
//!
//! ```text
//!   old 1000
//!   <base64 hash>
//!   ...
//!
//!   keel.example/journal              the newer checkpoint, signed
//!   2000
//!   <base64 root>
//!
//!   — keel.example/journal <base64>
//! ```
//!
//! Whoever kept the older checkpoint needs neither the journal nor trust in its owner.

use crate::history::{Hash, History, node};
use crate::note::PublicKey;
use crate::proof::{Checkpoint, ProofError, decimal, hash};
use crate::reader::Reader;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use core::ops::Range;
use std::path::Path;

/// Longest proof: two hashes a level would be more than any tree needs.
const LONGEST: usize = 2 * u64::BITS as usize;

/// A proof between two sizes, and the newer checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consistency {
    /// Records of the older checkpoint.
    pub old: u64,
    /// Hashes, in the order of the RFC.
    pub path: Vec<Hash>,
    /// The newer checkpoint, signed.
    pub checkpoint: String,
}

impl Consistency {
    /// As text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let hashes: String = self.path.iter().map(|hash| STANDARD.encode(hash) + "\n").collect();
        format!("old {}\n{hashes}\n{}", self.old, self.checkpoint)
    }

    /// From text.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        let (head, checkpoint) = text.split_once("\n\n").ok_or(ProofError::Malformed)?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(decimal);
        let path: Option<Vec<Hash>> = lines.take(LONGEST + 1).map(hash).collect();
        let path = path.filter(|path| path.len() <= LONGEST).ok_or(ProofError::Malformed)?;
        Ok(Self { old: old.ok_or(ProofError::Malformed)?, path, checkpoint: checkpoint.to_owned() })
    }

    /// Checks it against the older checkpoint, which whoever asks kept. Returns the newer one.
    pub fn check(&self, old: &Checkpoint, key: &PublicKey) -> Result<Checkpoint, ProofError> {
        let new = Checkpoint::open(&self.checkpoint, key)?;
        let same = old.origin == new.origin && old.size == self.old;
        if same && holds((old.size, &old.root), (new.size, &new.root), &self.path) {
            Ok(new)
        } else {
            Err(ProofError::Refuted)
        }
    }
}

/// The leaves of each subtree of the proof, in its order: `SUBPROOF` of the RFC, `whole` being its flag.
fn subtrees(old: u64, from: u64, to: u64, whole: bool, out: &mut Vec<Range<u64>>) {
    let size = to - from;
    if old == size {
        if !whole {
            out.push(from..to);
        }
        return;
    }
    let split = size.next_power_of_two() / 2;
    if old <= split {
        subtrees(old, from, from + split, whole, out);
        out.push(from + split..to);
    } else {
        subtrees(old - split, from + split, to, false, out);
        out.push(from..from + split);
    }
}

/// Does the path lead from the older root to the newer one?
fn holds((old, first): (u64, &Hash), (new, second): (u64, &Hash), path: &[Hash]) -> bool {
    if old == 0 || old >= new {
        return path.is_empty()
            && (old == 0 && *first == crate::history::empty_root() || old == new && first == second);
    }
    let begin = old.is_power_of_two().then_some(first);
    let mut path = begin.into_iter().chain(path);
    let (mut at, mut end) = (old - 1, new - 1);
    let shift = at.trailing_ones();
    (at, end) = (at >> shift, end >> shift);
    let Some(start) = path.next() else { return false };
    let (mut older, mut newer) = (*start, *start);
    for beside in path {
        if end == 0 {
            return false;
        }
        if at & 1 == 1 || at == end {
            older = node(beside, &older);
            newer = node(beside, &newer);
            if at & 1 == 0 {
                let shift = if at == 0 { u64::BITS - 1 } else { at.trailing_zeros() };
                (at, end) = (at >> shift, end >> shift);
            }
        } else {
            newer = node(&newer, beside);
        }
        (at, end) = (at >> 1, end >> 1);
    }
    end == 0 && older == *first && newer == *second
}

/// Proves that the first `old` records are a beginning of the `new` that `note` describes: one pass over the journal.
pub fn prove(dir: &Path, old: u64, new: u64, note: &str) -> Result<Consistency, ProofError> {
    if old > new {
        return Err(ProofError::NoRecord);
    }
    let mut ranges = Vec::new();
    if old > 0 {
        subtrees(old, 0, new, true, &mut ranges);
    }
    let mut trees = vec![History::new(); ranges.len()];
    let mut reader = Reader::open(dir)?;
    for at in 0..new {
        let entry = reader.poll()?.ok_or(ProofError::NoRecord)?;
        if entry.seq.0 != at + 1 {
            return Err(ProofError::NoBeginning);
        }
        if let Some(place) = ranges.iter().position(|range| range.contains(&at)) {
            trees[place].absorb(entry.bytes);
        }
    }
    Ok(Consistency { old, path: trees.iter().map(History::root).collect(), checkpoint: note.to_owned() })
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "small trees")]
mod tests {
    use super::*;

    fn root(leaves: &[[u8; 1]]) -> Hash {
        let mut history = History::new();
        leaves.iter().for_each(|leaf| history.absorb(leaf));
        history.root()
    }

    #[test]
    fn every_pair_of_small_trees_is_consistent_and_no_other_root_is() {
        let leaves: Vec<[u8; 1]> = (0..40).map(|n| [n]).collect();
        for new in 0..=leaves.len() {
            for old in 0..=new {
                let mut ranges = Vec::new();
                if old > 0 {
                    subtrees(old as u64, 0, new as u64, true, &mut ranges);
                }
                let path: Vec<_> = ranges.iter().map(|r| root(&leaves[r.start as usize..r.end as usize])).collect();
                let (first, second) = (root(&leaves[..old]), root(&leaves[..new]));
                let holds = |first, second, path: &[Hash]| holds((old as u64, first), (new as u64, second), path);
                assert!(holds(&first, &second, &path), "{old} in {new}");
                assert!(!holds(&[1; 32], &second, &path), "{old} in {new}");
                assert!(old == 0 || !holds(&first, &[1; 32], &path), "{old} in {new}");
                assert!(!holds(&first, &second, &[&path[..], &[[1; 32]]].concat()), "{old} in {new}");
                for at in 0..path.len() {
                    let mut other = path.clone();
                    other[at][0] ^= 1;
                    assert!(!holds(&first, &second, &other), "{old} in {new}");
                    other.remove(at);
                    assert!(!holds(&first, &second, &other), "{old} in {new}");
                }
            }
        }
    }
}

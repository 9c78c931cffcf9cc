//! Checkpoints and proofs: how someone who trusts nothing but a public key learns that a record stood in the journal.
//!
//! In: a journal, a key. Out: a [`Checkpoint`] (c2sp.org/tlog-checkpoint) and a [`Proof`] (c2sp.org/tlog-proof) as text
//! that other people's tools read too. A proof of one record among `n` is about log2(n) hashes.
//!
//! ```text
//!   c2sp.org/tlog-proof@v1
//!   extra <base64 of the record: header and payload>
//!   index 41                          seq - 1
//!   <base64 hash>                     from the leaf's sibling up
//!   ...
//!
//!   keel.example/journal              checkpoint: origin, size, root, signature
//!   1000
//!   <base64 root>
//!
//!   — keel.example/journal <base64>
//! ```
//!
//! The extra data is not trusted: the leaf is hashed from it, and the leaf is what is proven.

use crate::damage::Damage;
use crate::frame::{Entry, HEADER, Header};
use crate::history::{Hash, History, leaf, node};
use crate::note::{NoteError, PublicKey, SecretKey};
use crate::reader::Reader;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use core::fmt;
use core::ops::Range;
use keel_core::ids::Seq;
use std::path::Path;
use zerocopy::FromBytes;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// The state of a journal, to be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The journal, as a URL without a scheme; also the name of the key.
    pub origin: String,
    /// Records.
    pub size: u64,
    /// Root of the RFC 6962 tree over them.
    pub root: Hash,
}

/// Why a proof or a checkpoint does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofError {
    /// Not in the format.
    Malformed,
    /// The checkpoint is not signed as it must be.
    Note(NoteError),
    /// The record does not stand where the proof says: it, or a hash, was changed.
    Refuted,
    /// The journal has no such record, or not yet.
    NoRecord,
    /// The journal begins later: older segments were dropped, and with them what a proof is made of.
    NoBeginning,
    /// The journal itself is damaged.
    Damaged(Damage),
}

impl fmt::Display for ProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => write!(f, "not a proof or checkpoint in the C2SP format"),
            Self::Note(why) => write!(f, "the checkpoint: {why}"),
            Self::Refuted => write!(f, "refuted: this record does not stand in the journal the checkpoint describes"),
            Self::NoRecord => write!(f, "the journal has no such record"),
            Self::NoBeginning => {
                write!(f, "the journal's first segments are gone: nothing can be proven from the rest")
            }
            Self::Damaged(damage) => write!(f, "{damage}"),
        }
    }
}

impl std::error::Error for ProofError {}

impl From<NoteError> for ProofError {
    fn from(why: NoteError) -> Self {
        Self::Note(why)
    }
}

impl From<Damage> for ProofError {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

impl Checkpoint {
    /// Signed as a note.
    pub fn sign(&self, key: &SecretKey) -> Result<String, NoteError> {
        key.sign(&format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root)))
    }

    /// From a note `key` signed, whose origin is the key's name. Extension lines are ignored.
    pub fn open(note: &str, key: &PublicKey) -> Result<Self, ProofError> {
        let mut lines = key.open(note)?.lines();
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(ProofError::Malformed);
        };
        let size = decimal(size).ok_or(ProofError::Malformed)?;
        let root = hash(root).ok_or(ProofError::Malformed)?;
        if origin != key.name() || lines.any(str::is_empty) {
            return Err(ProofError::Malformed);
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }
}

/// That one record stood in the journal a checkpoint describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Header and payload of the record.
    pub record: Vec<u8>,
    /// Its index in the tree: its number less one.
    pub index: u64,
    /// Hashes from the leaf's sibling up.
    pub path: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

impl Proof {
    /// As text, for a file whose name ends in `.tlog-proof`.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\nextra {}\nindex {}\n", STANDARD.encode(&self.record), self.index);
        for hash in &self.path {
            text.push_str(&STANDARD.encode(hash));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// From text.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        let (head, checkpoint) = text.split_once("\n\n").ok_or(ProofError::Malformed)?;
        let mut lines = head.split('\n');
        let mut line = |prefix| lines.next().and_then(|line| line.strip_prefix(prefix)).ok_or(ProofError::Malformed);
        if !line(FIRST_LINE)?.is_empty() {
            return Err(ProofError::Malformed);
        }
        let record = STANDARD.decode(line("extra ")?).map_err(|_| ProofError::Malformed)?;
        let index = decimal(line("index ")?).ok_or(ProofError::Malformed)?;
        let path: Option<Vec<_>> = lines.take(u64::BITS as usize + 1).map(hash).collect();
        let path = path.filter(|path| path.len() <= u64::BITS as usize).ok_or(ProofError::Malformed)?;
        Ok(Self { record, index, path, checkpoint: checkpoint.to_owned() })
    }

    /// Checks everything with the public key alone. Returns the checkpoint and the record.
    pub fn check(&self, key: &PublicKey) -> Result<(Checkpoint, Entry<'_>), ProofError> {
        let checkpoint = Checkpoint::open(&self.checkpoint, key)?;
        let root = climb(leaf(&self.record), self.index, checkpoint.size, &self.path);
        if root != Some(checkpoint.root) {
            return Err(ProofError::Refuted);
        }
        let entry = record(&self.record).ok_or(ProofError::Malformed)?;
        if entry.seq.0.checked_sub(1) != Some(self.index) { Err(ProofError::Refuted) } else { Ok((checkpoint, entry)) }
    }
}

/// A record from its bytes outside a segment: its checksum needs the segment's salt, its hash stands for it here.
fn record(bytes: &[u8]) -> Option<Entry<'_>> {
    let (header, payload) = Header::read_from_prefix(bytes).ok()?;
    let fits = header.len as usize == payload.len() && bytes.len() == HEADER + payload.len();
    fits.then(|| crate::frame::Frame { header, payload, bytes }.into())
}

pub(crate) fn decimal(text: &str) -> Option<u64> {
    let plain = text == "0" || (!text.starts_with(['0', '+']) && !text.is_empty());
    if plain { text.parse().ok() } else { None }
}

pub(crate) fn hash(text: &str) -> Option<Hash> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// The leaves of each subtree on the way from leaf `index` up, in a tree of `size`: the path of RFC 6962, 2.1.1.
pub(crate) fn siblings(index: u64, size: u64) -> Vec<Range<u64>> {
    let (mut from, mut to, mut ranges) = (0, size, Vec::new());
    while to - from > 1 {
        let split = from + (to - from).next_power_of_two() / 2;
        if index < split {
            ranges.push(split..to);
            to = split;
        } else {
            ranges.push(from..split);
            from = split;
        }
    }
    ranges.reverse();
    ranges
}

/// The root a leaf and its path lead to; `None` when the path has the wrong length for the place.
pub(crate) fn climb(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let ranges = siblings(index, size);
    if ranges.len() != path.len() {
        return None;
    }
    let steps = ranges.iter().zip(path);
    Some(steps.fold(
        leaf,
        |below, (range, beside)| {
            if range.start > index { node(&below, beside) } else { node(beside, &below) }
        },
    ))
}

/// The state of the journal in `dir`, read from its records: every one of them, or the first `size`.
pub fn checkpoint(dir: &Path, origin: &str, size: Option<u64>) -> Result<Checkpoint, ProofError> {
    let mut history = History::new();
    let mut reader = Reader::open(dir)?;
    while size.is_none_or(|size| history.last().0 < size) {
        let Some(entry) = reader.poll()? else { break };
        if entry.seq.0 != history.last().0 + 1 {
            return Err(ProofError::NoBeginning);
        }
        history.absorb(entry.bytes);
    }
    if size.is_some_and(|size| history.last().0 < size) {
        return Err(ProofError::NoRecord);
    }
    Ok(Checkpoint { origin: origin.to_owned(), size: history.last().0, root: history.root() })
}

/// Proves record `seq` under `note`, a checkpoint of `size` records: one pass over the journal, one tree a sibling.
pub fn prove(dir: &Path, seq: Seq, size: u64, note: &str) -> Result<Proof, ProofError> {
    let index = seq.0.checked_sub(1).filter(|index| *index < size).ok_or(ProofError::NoRecord)?;
    let ranges = siblings(index, size);
    let mut trees = vec![History::new(); ranges.len()];
    let mut record = None;
    let mut reader = Reader::open(dir)?;
    for at in 0..size {
        let entry = reader.poll()?.ok_or(ProofError::NoRecord)?;
        if entry.seq.0 != at + 1 {
            return Err(ProofError::NoBeginning);
        }
        if at == index {
            record = Some(entry.bytes.to_vec());
        } else if let Some(place) = ranges.iter().position(|range| range.contains(&at)) {
            trees[place].absorb(entry.bytes);
        }
    }
    let path = trees.iter().map(History::root).collect();
    Ok(Proof { record: record.ok_or(ProofError::NoRecord)?, index, path, checkpoint: note.to_owned() })
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "small trees")]
mod tests {
    use super::*;
    use crate::history::empty_root;

    fn tree(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [one] => *one,
            more => {
                let (left, right) = more.split_at(more.len().next_power_of_two() / 2);
                node(&tree(left), &tree(right))
            }
        }
    }

    #[test]
    fn every_path_in_every_small_tree_leads_to_the_root_and_no_other_does() {
        let leaves: Vec<Hash> = (0..40u8).map(|n| leaf(&[n])).collect();
        for size in 1..=leaves.len() {
            let root = tree(&leaves[..size]);
            for index in 0..size {
                let ranges = siblings(index as u64, size as u64);
                let subtree = |range: &Range<u64>| tree(&leaves[range.start as usize..range.end as usize]);
                let mut path: Vec<Hash> = ranges.iter().map(subtree).collect();
                let climb = |leaf, index, path: &[Hash]| climb(leaf, index, size as u64, path);
                assert_eq!(climb(leaves[index], index as u64, &path), Some(root));
                assert_ne!(climb(leaf(b"other"), index as u64, &path), Some(root));
                for other in (0..size).filter(|other| *other != index) {
                    assert_ne!(climb(leaves[index], other as u64, &path), Some(root), "{index} passed for {other}");
                }
                assert_eq!(climb(leaves[index], size as u64, &path), None);
                path.push([0; 32]);
                assert_eq!(climb(leaves[index], index as u64, &path), None);
            }
        }
    }

    #[test]
    fn text_that_is_no_proof_is_refused() {
        let proof = Proof { record: vec![1, 2], index: 3, path: vec![[4; 32]; 2], checkpoint: "x\n".to_owned() };
        let text = proof.to_text();
        assert_eq!(Proof::parse(&text), Ok(proof));
        for at in 0..text.len() - 2 {
            let cut = Proof::parse(&text[..at]);
            assert!(cut.is_err() || at > text.len() - 3, "{at}: {cut:?}");
        }
        for (from, to) in [("index 3", "index 03"), ("index 3", "index +3"), ("@v1", "@v2"), ("extra ", "extra")] {
            assert_eq!(Proof::parse(&text.replace(from, to)), Err(ProofError::Malformed), "{to}");
        }
        let long = Proof { path: vec![[0; 32]; 65], ..Proof::parse(&text).unwrap() };
        assert_eq!(Proof::parse(&long.to_text()), Err(ProofError::Malformed));
    }
}

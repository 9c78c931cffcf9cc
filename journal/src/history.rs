//! What cannot be changed afterwards: a hash chain over every record, and the RFC 6962 tree above them.
//!
//! In: the bytes of each record, in order. Out: the head of the chain, the root of the tree, and a [`Seal`] that pins
//! both at the end of a segment. Never on the hot path: the keeper hashes one step behind the writer.
//!
//! ```text
//!   leaf(n)  = SHA-256(0x00 | header | payload)            RFC 6962, section 2.1
//!   chain(n) = SHA-256(chain(n-1) | leaf(n))               chain(0) = 32 zeros
//!   node     = SHA-256(0x01 | left | right)
//!   root(n)  = the tree over leaf(1) .. leaf(n)            leaf(n) has index n-1
//! ```
//!
//! The tree is kept as its frontier: the roots of the complete subtrees of sizes given by the bits of `n`, largest
//! first. A seal carries it, so hashing goes on from the last seal and old segments may be dropped.

use keel_core::ids::Seq;
use sha2::{Digest, Sha256};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A SHA-256 value.
pub type Hash = [u8; 32];

/// The hash of a record as a leaf of the tree. `bytes` are its header and payload.
#[must_use]
pub fn leaf(bytes: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(bytes).finalize().into()
}

/// The hash of two subtrees.
#[must_use]
pub fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// Root of the tree of no records.
#[must_use]
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// Chain and tree up to some record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    last: Seq,
    chain: Hash,
    frontier: Vec<Hash>,
}

impl History {
    /// Before the first record.
    #[must_use]
    pub fn new() -> Self {
        Self { frontier: Vec::with_capacity(u64::BITS as usize), ..Self::default() }
    }

    /// In the middle of a journal whose beginning was dropped: the chain goes on, the tree is not known.
    pub(crate) fn amid(last: Seq, chain: Hash) -> Self {
        Self { last, chain, frontier: Vec::new() }
    }

    /// Takes in the next record.
    pub fn absorb(&mut self, bytes: &[u8]) {
        let leaf = leaf(bytes);
        self.chain = Sha256::new().chain_update(self.chain).chain_update(leaf).finalize().into();
        let mut root = leaf;
        for _ in 0..self.last.0.trailing_ones() {
            let Some(left) = self.frontier.pop() else { break };
            root = node(&left, &root);
        }
        self.frontier.push(root);
        self.last.0 += 1;
    }

    /// The last record taken in.
    #[must_use]
    pub const fn last(&self) -> Seq {
        self.last
    }

    /// Head of the chain.
    #[must_use]
    pub const fn chain(&self) -> &Hash {
        &self.chain
    }

    /// Root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut subtrees = self.frontier.iter().rev();
        let Some(smallest) = subtrees.next() else { return empty_root() };
        subtrees.fold(*smallest, |right, left| node(left, &right))
    }

    /// Roots of the complete subtrees, largest first.
    #[must_use]
    pub fn frontier(&self) -> &[Hash] {
        &self.frontier
    }
}

/// The end of a segment, pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The fixed part.
    pub terms: Terms,
    /// Frontier of the tree after the last record.
    pub frontier: Vec<Hash>,
}

/// The fixed part of a seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Terms {
    /// First record of the segment.
    pub first: Seq,
    /// Last record of the segment.
    pub last: Seq,
    /// Where the last record ends.
    pub end: u64,
    /// The journal.
    pub journal: [u8; 16],
    /// Chain before the first record.
    pub before: Hash,
    /// Chain after the last record.
    pub after: Hash,
    /// Root of the tree after the last record.
    pub root: Hash,
}

const _: () = assert!(size_of::<Terms>() == 136);

impl Seal {
    /// Pins a segment: `before` is the history before its first record, `after` the one after its last.
    #[must_use]
    pub fn new(journal: [u8; 16], before: &History, after: &History, end: u64) -> Self {
        let terms = Terms {
            first: Seq(before.last.0 + 1),
            last: after.last,
            end,
            journal,
            before: before.chain,
            after: after.chain,
            root: after.root(),
        };
        Self { terms, frontier: after.frontier.clone() }
    }

    /// As a payload.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.terms.as_bytes().to_vec();
        bytes.extend(self.frontier.iter().flatten());
        bytes
    }

    /// From a payload; `None` when it does not fit together.
    #[must_use]
    pub fn read(payload: &[u8]) -> Option<Self> {
        let (terms, rest) = Terms::read_from_prefix(payload).ok()?;
        let (frontier, odd) = rest.as_chunks::<32>();
        let seal = Self { terms, frontier: frontier.to_vec() };
        let fits = odd.is_empty()
            && frontier.len() == terms.last.0.count_ones() as usize
            && terms.first.0 >= 1
            && terms.first <= terms.last
            && seal.after().root() == terms.root;
        fits.then_some(seal)
    }

    /// The history hashing goes on from.
    #[must_use]
    pub fn after(&self) -> History {
        History { last: self.terms.last, chain: self.terms.after, frontier: self.frontier.clone() }
    }

    /// Does it end as `history` does? Without the tree, by the chain alone.
    #[must_use]
    pub fn describes(&self, history: &History, tree: bool) -> bool {
        let chain = self.terms.last == history.last && self.terms.after == history.chain;
        chain && (!tree || self.frontier == history.frontier)
    }

    /// Does it start where `history` ends?
    #[must_use]
    pub fn continues(&self, history: &History) -> bool {
        self.terms.first.0 == history.last.0 + 1 && self.terms.before == history.chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962, section 2.1, as it is written there.
    fn naive(leaves: &[Vec<u8>]) -> Hash {
        match leaves {
            [] => empty_root(),
            [one] => leaf(one),
            more => {
                let split = more.len().next_power_of_two() / 2;
                node(&naive(&more[..split]), &naive(&more[split..]))
            }
        }
    }

    fn hex(hash: &Hash) -> String {
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_frontier_equals_the_rfc() {
        let leaves: Vec<Vec<u8>> = (0..100u8).map(|n| vec![n; usize::from(n)]).collect();
        let mut history = History::new();
        for size in 0..=leaves.len() {
            assert_eq!(history.root(), naive(&leaves[..size]), "{size} leaves");
            if let Some(next) = leaves.get(size) {
                history.absorb(next);
            }
        }
    }

    #[test]
    fn the_vectors_of_certificate_transparency_hold() {
        // test vectors of the Certificate Transparency reference implementation
        let inputs: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut history = History::new();
        for (input, root) in inputs.into_iter().zip(roots) {
            history.absorb(input);
            assert_eq!(hex(&history.root()), root);
        }
    }

    #[test]
    fn a_seal_reads_back_and_nothing_else_does() {
        let mut after = History::new();
        (0..5u8).for_each(|n| after.absorb(&[n]));
        let seal = Seal::new([1; 16], &History::new(), &after, 4321);
        let bytes = seal.to_bytes();
        assert_eq!(Seal::read(&bytes), Some(seal.clone()));
        assert_eq!(seal.after(), after);
        for len in 0..bytes.len() {
            assert_eq!(Seal::read(&bytes[..len]), None);
        }
    }
}

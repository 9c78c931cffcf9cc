//! The front door: what an operator, an alert or a timer asks of the engine. Each is journaled with its author.
//!
//! What does not fit a fixed layout (limits, scenarios, signed requests) comes as a [`Document`] in parts, first to last
//! without another document of the same kind between them.

use super::Flag;
use crate::ids::Text;
use crate::record;
use crate::units::Mono;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// What is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum CommandKind {
    /// Nothing: a heartbeat of the author.
    #[default]
    Ping = 0,
    /// Only orders that shrink positions from here on.
    ReduceOnly = 1,
    /// Cancel everything, place nothing.
    CancelOnly = 2,
    /// Nothing leaves any more but cancels already under way.
    Halt = 3,
    /// Nothing by itself: only a signed [`DocumentKind::Arm`] releases the brake. In journals before documents it did.
    Arm = 4,
    /// Cancel everything and end in good order.
    Shutdown = 5,
    /// Halt, cancel everything, and close what is held in bounded slices.
    Flatten = 6,
}

/// One command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Command {
    /// When it came in.
    pub recv: Mono,
    /// Who: `operator:ann`, `demo`, `node`.
    pub author: Text<39>,
    /// What.
    pub kind: CommandKind,
    /// The author proved who they are.
    pub authenticated: Flag,
    /// Zero.
    pub pad: [u8; 6],
}

/// Bytes one part of a document holds.
pub const PART: usize = 2000;

/// What a document is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum DocumentKind {
    /// The limits in force, or those that shall be, with the signatures under them.
    #[default]
    Limits = 1,
    /// A signed request to release the brake.
    Arm = 2,
    /// The scenarios value at risk is taken over.
    Scenarios = 3,
    /// Names and public keys of those who may sign.
    People = 4,
    /// What strategy runs, with which parameters and sizing.
    Strategy = 5,
    /// The limits people signed in an earlier run, signatures and all, as the next one takes them over.
    Adopted = 6,
    /// What the account, its owner and its key have to be.
    Kyc = 7,
    /// Who holds which role in compliance, and its terms; in the compliance journal only.
    Roles = 8,
    /// The words of a step of a case; in the compliance journal only.
    Case = 9,
}

/// One part of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Document {
    /// When it came in.
    pub recv: Mono,
    /// Who brought it; who signed it stands inside.
    pub author: Text<39>,
    /// What it is.
    pub kind: DocumentKind,
    /// Zero.
    pub pad: u8,
    /// Which part, from 0.
    pub part: u16,
    /// Of how many; at least 1.
    pub parts: u16,
    /// Bytes of this part that count; at most [`PART`], and all of them but in the last part.
    pub len: u16,
    /// Them; the rest is zero.
    pub bytes: [u8; PART],
}

impl Document {
    /// Cuts a text into parts; `None` when it is empty or would need more than `u16::MAX` of them.
    pub fn cut(recv: Mono, author: Text<39>, kind: DocumentKind, text: &[u8]) -> Option<impl Iterator<Item = Self>> {
        let parts = u16::try_from(text.len().div_ceil(PART)).ok().filter(|parts| *parts > 0)?;
        Some(text.chunks(PART).zip(0..parts).map(move |(chunk, part)| {
            let mut bytes = [0; PART];
            bytes[..chunk.len()].copy_from_slice(chunk);
            let len = u16::try_from(chunk.len()).expect("a chunk is at most PART");
            Self { recv, author, kind, pad: 0, part, parts, len, bytes }
        }))
    }

    /// The bytes that count; none when the length does not fit.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

/// Puts the parts of one kind of document together again.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    text: Vec<u8>,
    next: u16,
}

impl Parts {
    /// Takes one part; the whole text when it was the last. A part out of its order drops what came before it.
    pub fn take(&mut self, document: &Document) -> Option<Vec<u8>> {
        let Document { part, parts, len, .. } = *document;
        if part == 0 {
            *self = Self::default();
        }
        let last = part.checked_add(1) == Some(parts);
        let fits = usize::from(len) == PART || (last && len > 0 && usize::from(len) < PART);
        if part != self.next || part >= parts || !fits {
            *self = Self::default();
            return None;
        }
        self.text.extend_from_slice(document.text());
        self.next += 1;
        last.then(|| std::mem::take(self).text)
    }
}

/// The engine's own deadline passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Timer {
    /// The deadline, not the moment it was noticed.
    pub due: Mono,
}

record! {
    Command => Command, 56;
    Document => Document, 2056;
    Timer => Timer, 8;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &[u8]) -> Vec<Document> {
        Document::cut(Mono::default(), Text::default(), DocumentKind::Limits, text).unwrap().collect()
    }

    #[test]
    fn a_document_comes_back_from_its_parts() {
        for len in [1, PART - 1, PART, PART + 1, 3 * PART] {
            let text: Vec<u8> = (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let mut whole = Parts::default();
            let got: Vec<_> = parts(&text).iter().filter_map(|part| whole.take(part)).collect();
            assert_eq!(got, [text], "{len} bytes");
        }
        assert!(Document::cut(Mono::default(), Text::default(), DocumentKind::Arm, b"").is_none());
    }

    #[test]
    fn a_part_out_of_its_order_is_no_document() {
        let all = parts(&[7; 3 * PART]);
        let mut whole = Parts::default();
        for part in [&all[0], &all[2], &all[1], &all[2]] {
            assert_eq!(whole.take(part), None);
        }
        let short = Document { len: 3, ..all[0] };
        let long = Document { len: u16::MAX, part: 0, parts: 1, ..all[0] };
        assert_eq!((whole.take(&short), whole.take(&long), whole.take(&all[1])), (None, None, None));
    }
}

//! Proof that something stands in the journal. Only the writer builds it, by appending.

use keel_core::ids::Seq;

/// `T`, and its place in the journal.
///
/// ```compile_fail
/// let forged = keel_journal::Recorded { seq: keel_core::ids::Seq(1), what: () };
/// ```
#[derive(Debug)]
pub struct Recorded<T> {
    seq: Seq,
    what: T,
}

impl<T> Recorded<T> {
    /// For the writer alone, after it appended `what` at `seq`.
    pub(crate) const fn new(seq: Seq, what: T) -> Self {
        Self { seq, what }
    }

    /// Its place.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// What was recorded.
    #[must_use]
    pub const fn what(&self) -> &T {
        &self.what
    }
}

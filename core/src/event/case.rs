//! What people did with what surveillance found. Every step of a case is one record of the compliance journal; the words
//! of it stand before the record, as a document of kind [`super::DocumentKind::Case`] in parts, signed.
//!
//! ```text
//!   Document(Case) part 0 .. n    the act as its author signed it
//!   CaseAct                       its fixed half, and the digest of those words: the act counts from here on
//! ```

use super::Flag;
use super::alert::{EVIDENCE, Rule};
use crate::ids::{Seq, Text};
use crate::record;
use crate::units::Wall;
use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// Typologies one act can name.
pub const TYPOLOGIES: usize = 8;

/// Where a case stands.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, TryFromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(u8)]
pub enum CaseState {
    /// There is none.
    #[default]
    None = 0,
    /// Somebody must take it.
    Open = 1,
    /// An analyst has it, and looks whether it is worth an investigation.
    Triage = 2,
    /// It is.
    Investigate = 3,
    /// Two people found nothing to report.
    ClosedNoFile = 4,
    /// A report is written.
    FileDraft = 5,
    /// Somebody else read it and agrees.
    Approved = 6,
    /// The authority has it.
    Filed = 7,
    /// It is looked at again, at the times set for it.
    Monitored = 8,
}

/// What was done.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, TryFromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(u8)]
pub enum Deed {
    /// None: the zero of a record nobody filled in.
    #[default]
    None = 0,
    /// Opened it.
    Open = 1,
    /// Put more alerts to it.
    Link = 2,
    /// Gave it to an analyst.
    Assign = 3,
    /// Wrote something down.
    Note = 4,
    /// Put evidence to it.
    Evidence = 5,
    /// Found it worth an investigation.
    Escalate = 6,
    /// Found nothing to report: a second person must agree.
    NoFile = 7,
    /// Wrote the report: a second person must agree.
    Draft = 8,
    /// Did not agree.
    Return = 9,
    /// Agreed.
    Approve = 10,
    /// Sent it to the authority.
    File = 11,
    /// Looked at it again, or set when to.
    Monitor = 12,
    /// Forbade to delete anything of it.
    Hold = 13,
    /// Took that back.
    Release = 14,
}

/// One step of a case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CaseAct {
    /// When, by its author's clock.
    pub at: Wall,
    /// Which case, counted from 1.
    pub case: u64,
    /// By when a report must be filed; zero when there is nothing to file any more.
    pub deadline: Wall,
    /// When it must be looked at again; zero when never.
    pub follow_up: Wall,
    /// Until when all of it is kept; zero while it is open.
    pub retain_until: Wall,
    /// Digest of the words of the act before this one; zeros for the first.
    pub before: [u8; 32],
    /// SHA-256 of the signed words.
    pub words: [u8; 32],
    /// SHA-256 of the narrative; zeros when there is none.
    pub narrative: [u8; 32],
    /// SHA-256 of the list of evidence; zeros when there is none.
    pub evidence: [u8; 32],
    /// Alerts it is about, by their place in the compliance journal; [`Seq::NONE`] fills up.
    pub alerts: [Seq; EVIDENCE],
    /// What it looks like; [`Rule::None`] fills up.
    pub typologies: [Rule; TYPOLOGIES],
    /// Who.
    pub actor: Text<39>,
    /// What was done.
    pub deed: Deed,
    /// Where it stood.
    pub from: CaseState,
    /// Where it stands.
    pub to: CaseState,
    /// How bad it looks, 0 to 100.
    pub score: u8,
    /// There is a suspect: the shorter term counts.
    pub suspect: Flag,
    /// Pieces of evidence.
    pub pieces: u8,
    /// Zero.
    pub pad: [u8; 2],
}

record! {
    CaseAct => CaseAct, 360;
}

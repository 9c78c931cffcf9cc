//! What is wrong with a journal, where, in one small value that prints as a sentence.

use crate::frame::Flaw;
use crate::segment::{Misfit, name};
use core::fmt;
use keel_core::ids::Seq;
use std::io;

/// One thing that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment; zero when it is about the directory.
    pub segment: u32,
    /// Byte offset in the segment's file.
    pub offset: u64,
    /// The record that should stand there; `Seq::NONE` when it is about the file as a whole.
    pub seq: Seq,
    /// What.
    pub what: What,
}

/// Kinds of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The file as a whole.
    File(Misfit),
    /// The bytes of a frame.
    Frame(Flaw),
    /// A sound record with another number than the next one.
    Sequence {
        /// The number it carries.
        found: Seq,
    },
    /// The wall clock does not increase.
    Clock,
    /// Bytes behind the last record that are not zero.
    Tail,
    /// Records end here, but sound ones follow further on.
    Hole,
    /// A record that was durable is not there.
    BelowWatermark,
    /// The seal page is not a sound seal.
    SealPage,
    /// The seal does not describe the records before it: one of them was rewritten, checksum and all.
    SealDisagrees,
    /// The seal does not continue the one before it.
    SealOutOfChain,
    /// A finished segment older than a sealed one has no seal.
    Unsealed,
    /// The tree up to here is not the one a checkpoint kept elsewhere describes: history was written anew.
    Anchor,
    /// A checkpoint kept elsewhere describes this record, and the journal ends before it.
    CutOff,
    /// The file is not there, but later ones are; or there is none at all.
    Missing,
    /// The file is not there, and no log of retention says that it was deleted.
    Untold,
    /// The compressed file cannot be decompressed.
    Packed,
    /// The operating system says no.
    Io(io::ErrorKind),
}

impl Damage {
    pub(crate) fn file(segment: u32, what: What) -> Self {
        Self { segment, offset: 0, seq: Seq::NONE, what }
    }

    pub(crate) fn io(segment: u32, why: &io::Error) -> Self {
        Self::file(segment, What::Io(why.kind()))
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.segment, self.seq) {
            (0, _) => write!(f, "the directory: {}", self.what),
            (segment, Seq::NONE) => write!(f, "{} byte {}: {}", name(segment), self.offset, self.what),
            (segment, seq) => write!(f, "record {} ({} byte {}): {}", seq.0, name(segment), self.offset, self.what),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File(Misfit::Foreign) => "not a segment of a keel journal",
            Self::File(Misfit::Version) => "written by a version this one does not read",
            Self::File(Misfit::HeaderPage) => "the header page was changed",
            Self::File(Misfit::Truncated) => "the file is shorter or longer than its header says",
            Self::File(Misfit::Misnamed) => "the name and the header disagree about the number",
            Self::File(Misfit::OtherJournal) => "belongs to another journal",
            Self::Frame(Flaw::Length) => "the length is impossible",
            Self::Frame(Flaw::Checksum) => "the checksum does not fit the bytes",
            Self::Frame(Flaw::Padding) => "a padding byte is not zero",
            Self::Frame(Flaw::Flags) => "unknown flags",
            Self::Sequence { found } => return write!(f, "record {} stands here instead", found.0),
            Self::Clock => "its wall clock is not later than the record before",
            Self::Tail => "bytes behind the last record are not zero",
            Self::Hole => "missing, though later records are here",
            Self::BelowWatermark => "missing, though it had been made durable",
            Self::SealPage => "the seal page was changed",
            Self::SealDisagrees => "the seal does not describe the records before it: a record was rewritten",
            Self::SealOutOfChain => "the seal does not continue the one before it",
            Self::Unsealed => "has no seal, though a later segment has one",
            Self::Anchor => "the history up to here is not the one a checkpoint describes: it was written anew",
            Self::CutOff => "missing, though a checkpoint describes it: the end was cut off",
            Self::Missing => "missing",
            Self::Untold => "missing, and no line of retention.log says that it was deleted",
            Self::Packed => "the compressed file cannot be decompressed",
            Self::Io(kind) => return write!(f, "cannot be read: {kind}"),
        })
    }
}

impl std::error::Error for Damage {}

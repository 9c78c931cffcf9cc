//! How much a record asks for attention, from what it says.

use clap::ValueEnum;
use keel_core::event::{
    Ack, Difference, Health, HealthState, Kind, Link, LinkState, OrderStatus, OrderUpdate, Resolution, Sent,
    SentOutcome, read,
};
use keel_journal::Entry;

/// Levels, mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Severity {
    /// The market and the clock.
    Debug,
    /// What we do and the venue answers.
    Info,
    /// What changes hands or state: fills, links, people, the beginning and the end of a run.
    Notice,
    /// Something was refused or cannot be trusted.
    Warning,
    /// People must look: what came apart and what nobody understands.
    Error,
}

/// The level of one record. Bytes that do not fit their layout are errors.
pub(super) fn of(entry: &Entry<'_>) -> Severity {
    use Severity::{Debug, Error, Info, Notice, Warning};
    let bytes = entry.payload;
    let judged = match entry.kind {
        Some(Kind::Health) => read::<Health>(bytes).map(|fact| match fact.state {
            HealthState::Stale => Warning,
            _ => Info,
        }),
        Some(Kind::Ack) => read::<Ack>(bytes).map(|fact| if fact.code == 0 { Info } else { Warning }),
        Some(Kind::OrderUpdate) => read::<OrderUpdate>(bytes).map(|fact| match fact.status {
            OrderStatus::Rejected | OrderStatus::Unrecognised | OrderStatus::Absent => Warning,
            _ => Info,
        }),
        Some(Kind::Link) => read::<Link>(bytes).map(|fact| match fact.state {
            LinkState::Down => Warning,
            _ => Notice,
        }),
        Some(Kind::Sent) => read::<Sent>(bytes).map(|fact| match fact.outcome {
            SentOutcome::Wire => Info,
            _ => Warning,
        }),
        Some(Kind::Difference) => read::<Difference>(bytes).map(|fact| match fact.resolution {
            Resolution::Alarmed => Error,
            Resolution::TakenFromVenue => Warning,
        }),
        Some(Kind::Refused | Kind::VenueStatus) => Some(Warning),
        Some(Kind::Fill | Kind::Liquidation | Kind::Command | Kind::Reconciliation) => Some(Notice),
        Some(Kind::Timer) => Some(Debug),
        Some(kind) => Some(match kind.code() / 100 {
            1 => Debug,
            5 => Notice,
            _ => Info,
        }),
        None => None,
    };
    judged.unwrap_or(Error)
}

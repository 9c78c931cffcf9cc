//! Records as the facts reports are about.
//!
//! In: an entry. Out: a [`Fact`]; `Unreadable` where its bytes fit no layout. Never: a panic, a guess.

use keel_core::event::{
    Ack, BookUpdate, Carried, Command, Difference, Document, DocumentKind, Fill, Flow, Health, Holding, Kind, Link,
    NotSized, OrderUpdate, Reconciliation, Resumed, Sent, Standing, Start, Stop, Ticker, Trade, VenuePosition,
    VenueStatus, Wallet, Worth, read,
};
use keel_core::instrument::Instrument;
use keel_journal::Entry;
use keel_risk::decision::Decision;
use keel_risk::notice::{Answer, Fortune, Trip, Unwind};

/// The facts reports are about, read.
#[allow(clippy::large_enum_variant, reason = "one at a time, on the stack")]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "each is documented at its struct")]
pub(super) enum Fact {
    Book,
    Trade(Trade),
    Ticker(Ticker),
    Health(Health),
    VenueStatus(VenueStatus),
    Ack(Ack),
    Update(OrderUpdate),
    Fill(Fill),
    Position(VenuePosition),
    Wallet(Wallet),
    Link(Link),
    Sent(Sent),
    Difference(Difference),
    Flow(Flow),
    Standing(Standing),
    Command(Command),
    Document(DocumentKind),
    Approved(Decision),
    Refused(Decision),
    NotSized(NotSized),
    Trip(Trip),
    Answer(Answer),
    Fortune(Fortune),
    Worth(Worth),
    Start(Start),
    Stop(Stop),
    Instrument,
    Other,
    /// Its bytes fit no layout this version knows.
    Unreadable,
}

/// A fact no report asks more of than that it can be read.
fn fit<T: zerocopy::TryFromBytes>(bytes: &[u8]) -> Option<Fact> {
    read::<T>(bytes).map(|_| Fact::Other)
}

/// What an entry holds.
pub(super) fn fact_of(entry: &Entry<'_>) -> Fact {
    let bytes = entry.payload;
    macro_rules! fact {
        ($name:ident) => {
            read(bytes).map(Fact::$name)
        };
    }
    let Some(kind) = entry.kind else { return Fact::Other };
    let fact = match kind {
        Kind::Book => BookUpdate::read(bytes).map(|_| Fact::Book),
        Kind::Trade => fact!(Trade),
        Kind::Ticker => fact!(Ticker),
        Kind::Health => fact!(Health),
        Kind::VenueStatus => fact!(VenueStatus),
        Kind::Ack => fact!(Ack),
        Kind::OrderUpdate => fact!(Update),
        Kind::Fill => fact!(Fill),
        Kind::VenuePosition => fact!(Position),
        Kind::Wallet => fact!(Wallet),
        Kind::Link => fact!(Link),
        Kind::Sent => fact!(Sent),
        Kind::Reconciliation => fit::<Reconciliation>(bytes),
        Kind::Difference => fact!(Difference),
        Kind::Flow => fact!(Flow),
        Kind::Standing => fact!(Standing),
        Kind::Command => fact!(Command),
        Kind::Document => read::<Document>(bytes).map(|part| Fact::Document(part.kind)),
        Kind::Approved => fact!(Approved),
        Kind::Refused => fact!(Refused),
        Kind::NotSized => fact!(NotSized),
        Kind::Trip => fact!(Trip),
        Kind::Answer => fact!(Answer),
        Kind::Fortune => fact!(Fortune),
        Kind::Unwind => fit::<Unwind>(bytes),
        Kind::Worth => fact!(Worth),
        Kind::Start => fact!(Start),
        Kind::Stop => fact!(Stop),
        Kind::Instrument => read::<Instrument>(bytes).map(|_| Fact::Instrument),
        Kind::Resumed => fit::<Resumed>(bytes),
        Kind::Holding => fit::<Holding>(bytes),
        Kind::Carried => fit::<Carried>(bytes),
        _ => Some(Fact::Other),
    };
    fact.unwrap_or(Fact::Unreadable)
}

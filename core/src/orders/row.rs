//! One order: what is shown of it, what is remembered beside it, and how each word about it changes both.

use super::EXPIRED;
use super::life::{self, Event};
use crate::event::{Flag, Op, Order, OrderStatus, OrderUpdate, Side};
use crate::ids::{ClientId, InstrumentId, StrategyId, VenueId};
use crate::units::{Mono, Px, Qty, Wall};
use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// Where an order stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum State {
    /// In the journal, not yet known to have left.
    Recorded,
    /// Its bytes left; the venue has not shown it.
    Sent,
    /// The venue proved it has it.
    Live,
    /// The venue was silent for too long, or contradicted itself: it may rest, be filled, or never have arrived.
    #[default]
    Unknown,
    /// The venue says it is finished; not all of its fills have been seen.
    Settling,
    /// All of it filled.
    Filled,
    /// Ended by cancel, with or without fills.
    Cancelled,
    /// Refused by the venue.
    Rejected,
    /// Provably never accepted: it did not leave, or the venue has it nowhere.
    NotSent,
}

impl State {
    /// Can nothing more happen to it?
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Filled | Self::Cancelled | Self::Rejected | Self::NotSent)
    }
}

/// One order that is not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Working {
    /// As last shown by the venue, or as first asked for.
    pub order: Order,
    /// The venue's id once known.
    pub venue: VenueId,
    /// Where it stands.
    pub state: State,
    /// A change asked for and not yet answered.
    pub pending: Option<Op>,
    /// The boldest price and the largest quantity unanswered amends ask for; they count as open beside the order's own.
    pub amended: Option<(Px, Qty)>,
    /// Filled so far by the executions counted here: what has reached the position.
    pub filled: Qty,
    /// Filled so far by the venue's word. Ahead of `filled`, the difference is owed to us as executions: it is in no
    /// position yet, so it still counts as open.
    pub reported: Qty,
    /// When something was last asked of the venue.
    pub asked: Mono,
}

impl Working {
    /// What can still move the position, at worst.
    #[must_use]
    pub fn open(&self) -> Qty {
        let total = match self.state {
            State::Settling => self.reported,
            state if state.is_final() => return Qty::ZERO,
            _ => self.amended.map_or(self.order.qty, |(_, qty)| qty.max(self.order.qty)).max(self.reported),
        };
        (total - self.filled).max(Qty::ZERO)
    }

    /// The price its open quantity can fill at, at worst for us.
    #[must_use]
    pub fn worst_px(&self) -> Px {
        self.amended.map_or(self.order.px, |(px, _)| bolder(self.order.side, px, self.order.px))
    }

    /// Has the venue shown, filled or numbered it?
    pub(super) const fn is_proven(&self) -> bool {
        !self.venue.is_empty() || self.filled.raw() > 0 || self.reported.raw() > 0
    }
}

pub(super) fn bolder(side: Side, a: Px, b: Px) -> Px {
    match side {
        Side::Buy => a.max(b),
        Side::Sell => a.min(b),
    }
}

/// What the table knows of a row beside what it shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    /// When the venue last changed the order, by its clock.
    pub(super) updated: Wall,
    /// What the last amend asked for.
    pub(super) target: (Px, Qty),
    /// Amends not yet answered.
    pub(super) amends: u32,
    /// Where settling leads.
    pub(super) ending: State,
}

/// How an order's worst case moved. The gate keeps its exposure by these alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which order.
    pub client: ClientId,
    /// On what.
    pub instrument: InstrumentId,
    /// For whom.
    pub strategy: StrategyId,
    /// Buy or sell.
    pub side: Side,
    /// May only shrink a position.
    pub reduce_only: Flag,
    /// Worst fill price before.
    pub px_before: Px,
    /// Worst fill price now.
    pub px: Px,
    /// Open before.
    pub before: Qty,
    /// Open now.
    pub after: Qty,
    /// State before.
    pub from: State,
    /// State now.
    pub to: State,
}

pub(super) fn change_from(row: &Working, before: Qty, px_before: Px, from: State) -> Change {
    Change {
        client: row.order.client,
        instrument: row.order.instrument,
        strategy: row.order.strategy,
        side: row.order.side,
        reduce_only: row.order.reduce_only,
        px_before,
        px: row.worst_px(),
        before,
        after: row.open(),
        from,
        to: row.state,
    }
}

pub(super) fn step(row: &mut Working, event: Event) {
    row.state = life::next(row.state, event, row.is_proven());
}

/// One amend was answered with no; the worst case of the others stays until the last is answered.
pub(super) fn amend_answered(row: &mut Working, memory: &mut Memory) {
    memory.amends = memory.amends.saturating_sub(1);
    if memory.amends == 0 {
        row.amended = None;
        if row.pending == Some(Op::Amend) {
            row.pending = None;
        }
    }
}

/// A refused cancel says nothing about an amend before it.
pub(super) fn cancel_answered(row: &mut Working) {
    if row.pending == Some(Op::Cancel) {
        row.pending = row.amended.map(|_| Op::Amend);
    }
}

/// The venue's own view of the order. A view older than one we had teaches nothing but what only grows.
pub(super) fn show(row: &mut Working, memory: &mut Memory, update: &OrderUpdate) {
    if update.status == OrderStatus::Absent {
        step(row, Event::Absent);
        return;
    }
    row.venue = update.venue;
    row.reported = row.reported.max(update.filled);
    if update.status.is_final() {
        memory.ending = match update.status {
            OrderStatus::Filled => State::Filled,
            OrderStatus::Rejected => State::Rejected,
            _ => State::Cancelled,
        };
        row.state = State::Settling;
        settle(row, memory);
        return;
    }
    if row.pending == Some(Op::New) {
        row.pending = None;
    }
    if update.updated >= memory.updated {
        memory.updated = update.updated;
        // with two amends under way a picture may be that of the first: only a question after both expired tells
        let was = (row.order.px, row.order.qty);
        let reached = memory.amends == 1 && memory.target == (update.px, update.qty) && memory.target != was;
        if !update.qty.is_zero() {
            (row.order.px, row.order.qty) = (update.px, update.qty);
        }
        if reached {
            amend_answered(row, memory);
        }
    }
    if update.queried.is_set() && update.recv.since(row.asked) >= EXPIRED {
        memory.amends = 1;
        amend_answered(row, memory);
        cancel_answered(row);
    }
    // an order we are in doubt about because of a request stays in doubt until that request is answered
    if row.state != State::Unknown || row.pending.is_none() {
        step(row, Event::Shown);
    }
}

/// Finished in truth once every fill the venue counted has been seen.
pub(super) fn settle(row: &mut Working, memory: &Memory) {
    if row.state == State::Settling && row.filled >= row.reported {
        row.state = memory.ending;
    }
}

//! Our orders, and the only judge of where each stands.
//!
//! In: recorded requests, acknowledgements, the private stream, answers to questions. Out: [`Change`]s of what can still
//! move a position at worst, and [`Difference`]s where the venue's account was not ours. An order is open until the
//! venue proves it is not: a lost acknowledgement makes it `Unknown`, never gone, and an `Unknown` order keeps its worst
//! case reserved.
//!
//! ```text
//!   Recorded --sent--> Sent --ack/stream--> Live --stream--> Settling --fills--> Filled | Cancelled | Rejected
//!      |                |                    |
//!      | not sent       | silence            | silence after amend or cancel
//!      v                v                    v
//!   NotSent          Unknown <---------------+        left only by venue proof
//! ```
//!
//! The order stream and the execution stream have no common order. So an order that the venue calls finished stays in
//! the table, `Settling`, until every fill the venue counted has been seen: at no moment is a coin neither open nor held.

mod carry;
mod executions;
mod life;
mod reaction;
mod row;
mod slots;

pub use executions::MAX_EXECUTIONS;
pub use reaction::{Reaction, reaction};
pub use row::{Change, State, Working};

use crate::event::{
    Ack, Difference, DifferenceKind, ExecEvent, ExecKind, Fill, Op, Order, OrderStatus, OrderUpdate, Resolution, Sent,
    SentOutcome,
};
use crate::ids::{ClientId, VenueId};
use crate::units::{Mono, Qty, Wall};
use executions::Executions;
use life::Event;
use row::{Memory, amend_answered, bolder, cancel_answered, change_from, settle, show, step};
use slots::Slots;

/// Orders that may be open at once; one more is refused with [`OrdersFull`].
pub const MAX_ORDERS: usize = 512;
/// A request this old can no longer be executed: twice the venue's receive window, nanoseconds. A question answered
/// after it tells what became of the request.
pub const EXPIRED: u64 = 10_000_000_000;
/// Finished orders remembered: those whose end the venue never showed may turn out to be alive.
pub const MAX_FINISHED: usize = 256;

/// The table is full: nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrdersFull;

/// What a private fact meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// The order whose worst case moved.
    pub change: Option<Change>,
    /// The fact was news: a fill not counted before, an update that taught us something.
    pub fresh: bool,
    /// The fact is about an order or a fill we never asked for.
    pub foreign: bool,
    /// The venue's account was not ours: to be journaled.
    pub difference: Option<Difference>,
}

/// The table.
#[derive(Debug)]
pub struct Orders {
    run: u32,
    issued: u32,
    rows: Vec<Working>,
    memory: Vec<Memory>,
    index: Slots,
    executions: Executions,
    finished: Vec<Working>,
    next_finished: usize,
}

/// With the room it was made with: a copy takes all of its memory at once, too.
impl Clone for Orders {
    fn clone(&self) -> Self {
        Self {
            rows: roomy(&self.rows, MAX_ORDERS),
            memory: roomy(&self.memory, MAX_ORDERS),
            index: self.index.clone(),
            executions: self.executions.clone(),
            finished: roomy(&self.finished, MAX_FINISHED),
            ..*self
        }
    }
}

/// A copy with room for `most`.
fn roomy<T: Clone>(rows: &[T], most: usize) -> Vec<T> {
    let mut copy = Vec::with_capacity(most);
    copy.extend_from_slice(rows);
    copy
}

impl Orders {
    /// An empty table issuing ids of run `run`.
    #[must_use]
    pub fn new(run: u32) -> Self {
        Self {
            run,
            issued: 0,
            rows: Vec::with_capacity(MAX_ORDERS),
            memory: Vec::with_capacity(MAX_ORDERS),
            index: Slots::new(MAX_ORDERS),
            executions: Executions::new(),
            finished: Vec::with_capacity(MAX_FINISHED),
            next_finished: 0,
        }
    }

    /// The table of a dead run, in the hands of the next one: what was on its way is `Unknown` until the venue speaks.
    #[must_use]
    pub fn succeeded_by(mut self, run: u32) -> Self {
        assert!(run > self.run, "runs are numbered upwards");
        (self.run, self.issued) = (run, 0);
        for row in &mut self.rows {
            if matches!(row.state, State::Recorded | State::Sent) || row.pending.is_some() {
                row.state = life::next(row.state, Event::Silent, row.is_proven());
            }
        }
        self
    }

    /// The id the next new order will carry. [`Self::admit`] uses it up.
    #[must_use]
    pub const fn next_id(&self) -> ClientId {
        ClientId::new(self.run, self.issued + 1)
    }

    /// Can one more new order be admitted?
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.rows.len() < MAX_ORDERS && self.issued < u32::MAX
    }

    /// Takes in a recorded request. A new order must carry [`Self::next_id`].
    pub fn admit(&mut self, now: Mono, order: &Order) -> Result<Option<Change>, OrdersFull> {
        match order.op {
            Op::New => {
                if !self.has_room() {
                    return Err(OrdersFull);
                }
                assert!(order.client == self.next_id(), "ids are issued in order");
                self.issued += 1;
                let row = self.open_row(now, order);
                Ok(Some(change_from(&row, Qty::ZERO, order.px, State::Recorded)))
            }
            Op::Amend => Ok(self.edit(order.client, |row, memory| {
                let (px, qty) = row.amended.unwrap_or((order.px, order.qty));
                row.amended = Some((bolder(order.side, px, order.px), qty.max(order.qty)));
                row.pending = Some(Op::Amend);
                row.asked = now;
                memory.target = (order.px, order.qty);
                memory.amends += 1;
            })),
            Op::Cancel => Ok(self.edit(order.client, |row, _| {
                row.pending = Some(Op::Cancel);
                row.asked = now;
            })),
        }
    }

    /// Takes in one private fact, whatever it is.
    pub fn apply(&mut self, event: &ExecEvent) -> Effect {
        match event {
            ExecEvent::Ack(ack) => self.ack(ack),
            ExecEvent::Order(update) => self.update(update),
            ExecEvent::Fill(fill) => self.fill(fill),
            ExecEvent::Sent(sent) => self.sent(sent),
            ExecEvent::Position(_) | ExecEvent::Wallet(_) | ExecEvent::Link(_) | ExecEvent::Reconciliation(_) => {
                Effect::default()
            }
        }
    }

    /// The gateway says what became of a recorded order.
    pub fn sent(&mut self, sent: &Sent) -> Effect {
        self.known(sent.client, |row, memory| match (sent.op, sent.outcome == SentOutcome::Wire) {
            (Op::New, true) => step(row, Event::Left),
            (Op::New, false) => step(row, Event::NeverLeft),
            (Op::Amend | Op::Cancel, true) => {}
            (Op::Amend, false) => amend_answered(row, memory),
            (Op::Cancel, false) => cancel_answered(row),
        })
    }

    /// The venue's first answer. It proves neither resting nor filled; a refusal may prove absence.
    pub fn ack(&mut self, ack: &Ack) -> Effect {
        let reaction = reaction(ack.code);
        self.known(ack.client, |row, memory| {
            match ack.op {
                Op::New if reaction == Reaction::Accepted => {
                    step(row, Event::Accepted);
                    if row.pending == Some(Op::New) {
                        row.pending = None;
                    }
                }
                Op::New if reaction.proves_absence() => step(row, Event::Refused),
                Op::New => step(row, Event::Doubted),
                // accepted, finished or in doubt: only the stream, or a question after silence, tells how it went
                Op::Amend if reaction.proves_absence() => amend_answered(row, memory),
                Op::Cancel if reaction.proves_absence() => cancel_answered(row),
                Op::Amend | Op::Cancel => {}
            }
            if !ack.venue.is_empty() {
                row.venue = ack.venue;
            }
        })
    }

    /// The private stream, or a query, shows an order.
    pub fn update(&mut self, update: &OrderUpdate) -> Effect {
        if self.at(update.client).is_none() {
            return self.unlisted(update);
        }
        let before = self.get(update.client).map_or(State::Unknown, |row| row.state);
        let mut effect = self.known(update.client, |row, memory| show(row, memory, update));
        let ended = update.status.is_final() && before != State::Settling;
        if let (true, true, Some(change)) = (ended, update.queried.is_set(), effect.change) {
            let absent = update.status == OrderStatus::Absent;
            let kind = if absent { DifferenceKind::Absent } else { DifferenceKind::MissedEnd };
            let news = change.to.is_final() || change.to == State::Settling;
            effect.difference = news.then(|| difference(kind, update, change.before, update.filled));
        }
        effect
    }

    /// The private stream, or a query, shows an execution. Counted once by its id.
    pub fn fill(&mut self, fill: &Fill) -> Effect {
        if !self.executions.insert(&fill.exec) {
            return Effect::default();
        }
        if fill.kind == ExecKind::Funding {
            return Effect { fresh: true, ..Effect::default() };
        }
        let mut effect = self.known(fill.client, |row, memory| {
            row.filled = Qty::from_raw(row.filled.raw().saturating_add(fill.qty.raw()));
            row.reported = row.reported.max(row.filled);
            step(row, Event::Traded);
            if row.venue.is_empty() {
                row.venue = fill.venue;
            }
            let whole = row.filled >= row.order.qty && row.amended.is_none();
            if whole && row.state != State::Settling {
                memory.ending = State::Filled;
                row.state = State::Settling;
            }
            settle(row, memory);
        });
        effect.fresh = true;
        let kind = if effect.foreign { DifferenceKind::ForeignFill } else { DifferenceKind::MissedFill };
        let news = effect.foreign || fill.queried.is_set();
        effect.difference = news.then(|| Difference {
            at: fill.recv,
            client: fill.client,
            ours: 0,
            theirs: fill.qty.raw(),
            venue: fill.exec,
            instrument: fill.instrument,
            kind,
            resolution: Resolution::TakenFromVenue,
            pad: [0; 4],
        });
        effect
    }

    /// Marks what the venue has been silent about since `silence` nanoseconds as `Unknown`. One order a call; call until
    /// `None`.
    pub fn silence(&mut self, now: Mono, silence: u64) -> Option<Change> {
        let row = self.rows.iter_mut().find(|row| {
            let waiting = matches!(row.state, State::Recorded | State::Sent) || row.pending.is_some();
            let ours = !matches!(row.state, State::Unknown | State::Settling);
            waiting && ours && now.since(row.asked) >= silence
        })?;
        let (before, px, from) = (row.open(), row.worst_px(), row.state);
        step(row, Event::Silent);
        Some(change_from(row, before, px, from))
    }

    /// An order that is not finished.
    #[must_use]
    pub fn get(&self, client: ClientId) -> Option<&Working> {
        self.at(client).map(|at| &self.rows[at])
    }

    /// Every order that is not finished, in no particular order.
    #[must_use]
    pub fn open(&self) -> &[Working] {
        &self.rows
    }

    /// A row the table does not hold: foreign, long finished, or alive after all.
    fn unlisted(&mut self, update: &OrderUpdate) -> Effect {
        let open = !update.status.is_final();
        if self.is_foreign(update.client) {
            let difference = open.then(|| {
                let theirs = update.leaves;
                let seen = difference(DifferenceKind::ForeignOrder, update, Qty::ZERO, theirs);
                Difference { resolution: Resolution::Alarmed, ..seen }
            });
            return Effect { foreign: true, fresh: true, change: None, difference };
        }
        let denied = |row: &&Working| matches!(row.state, State::Rejected | State::NotSent);
        let found = self.finished.iter().filter(denied).find(|row| row.order.client == update.client).copied();
        let Some(row) =
            found.filter(|_| update.status != OrderStatus::Rejected && update.status != OrderStatus::Absent)
        else {
            return Effect::default();
        };
        if self.rows.len() == MAX_ORDERS {
            // one more than the table holds, by the venue's doing: it is told as foreign, and people decide
            return Effect { foreign: true, fresh: true, ..Effect::default() };
        }
        self.finished.retain(|have| have.order.client != update.client);
        self.next_finished = 0;
        let order = row.order;
        self.open_row(update.recv, &order);
        let change = self.edit(update.client, |row, memory| show(row, memory, update)).map(|change| Change {
            before: Qty::ZERO,
            px_before: order.px,
            ..change
        });
        let revived = difference(DifferenceKind::Revived, update, Qty::ZERO, update.leaves);
        Effect { change, fresh: true, foreign: false, difference: Some(revived) }
    }

    fn open_row(&mut self, now: Mono, order: &Order) -> Working {
        let row = Working {
            order: *order,
            venue: VenueId::EMPTY,
            state: State::Recorded,
            pending: Some(Op::New),
            amended: None,
            filled: Qty::ZERO,
            reported: Qty::ZERO,
            asked: now,
        };
        let target = (order.px, order.qty);
        let slot = self.slot(order.client).expect_err("an id is used once");
        self.index.set(slot, self.rows.len());
        self.rows.push(row);
        self.memory.push(Memory { updated: Wall::default(), target, amends: 0, ending: State::Cancelled });
        row
    }

    fn slot(&self, client: ClientId) -> Result<usize, usize> {
        self.index.find(hash(client), |place| self.rows[place].order.client == client)
    }

    fn at(&self, client: ClientId) -> Option<usize> {
        self.slot(client).ok().map(|slot| self.index.place(slot))
    }

    /// Not in the table, and not one that was and is finished.
    fn is_foreign(&self, client: ClientId) -> bool {
        let issued = client.run() == self.run && client.count() >= 1 && client.count() <= self.issued;
        !issued && !self.finished.iter().any(|row| row.order.client == client)
    }

    fn known(&mut self, client: ClientId, edit: impl FnOnce(&mut Working, &mut Memory)) -> Effect {
        let change = self.edit(client, edit);
        if change.is_none() && self.is_foreign(client) {
            return Effect { foreign: true, fresh: true, ..Effect::default() };
        }
        Effect { fresh: change.is_some(), change, ..Effect::default() }
    }

    /// Edits a row and drops it when finished; `None` when it is not in the table.
    fn edit(&mut self, client: ClientId, edit: impl FnOnce(&mut Working, &mut Memory)) -> Option<Change> {
        let slot = self.slot(client).ok()?;
        let at = self.index.place(slot);
        let row = &mut self.rows[at];
        let (before, px, from) = (row.open(), row.worst_px(), row.state);
        edit(row, &mut self.memory[at]);
        let change = change_from(row, before, px, from);
        if row.state.is_final() {
            self.finish(slot, at);
        }
        Some(change)
    }

    fn finish(&mut self, slot: usize, at: usize) {
        let rows = &self.rows;
        self.index.free(slot, |place| hash(rows[place].order.client));
        let row = self.rows.swap_remove(at);
        self.memory.swap_remove(at);
        if let Some(moved) = self.rows.get(at).map(|row| row.order.client) {
            let last = self.rows.len();
            let slot = self.index.find(hash(moved), |place| place == last).expect("the last row was in the index");
            self.index.set(slot, at);
        }
        if self.finished.len() < MAX_FINISHED {
            self.finished.push(row);
        } else {
            self.finished[self.next_finished] = row;
            self.next_finished = (self.next_finished + 1) % MAX_FINISHED;
        }
    }
}

/// Fibonacci hashing: neighbouring counters spread over the whole index.
const fn hash(client: ClientId) -> u64 {
    client.raw().wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn difference(kind: DifferenceKind, update: &OrderUpdate, ours: Qty, theirs: Qty) -> Difference {
    Difference {
        at: update.recv,
        client: update.client,
        ours: ours.raw(),
        theirs: theirs.raw(),
        venue: update.venue,
        instrument: update.instrument,
        kind,
        resolution: Resolution::TakenFromVenue,
        pad: [0; 4],
    }
}

#[cfg(test)]
mod tests;

//! Orders the venue still owes a word about, and the questions that get it.
//!
//! What counts as an answer here is what the order table takes for one: the two must agree, or an order is in doubt there
//! that nobody asks about here. The world test holds them to it.
//!
//! In: requests that left, facts that came. Out: questions, one order each; and, where the venue has an order nowhere,
//! the conclusion [`OrderStatus::Absent`]. Never: a conclusion from silence. An order that anything ever showed is asked
//! for until the venue shows its end; one that nothing showed is absent only when
//!
//! ```text
//!   sent ------ receive window ------ twice that ---- ABSENT_AFTER --------------------->
//!                after it the venue refuses the request        | ROUNDS times in a row:
//!   ask open memory -> not there -> ask closed memory -> not there  = one round
//! ```

use crate::rest::Call;
use core::hash::{BuildHasherDefault, Hasher};
use keel_core::event::{Ack, ExecEvent, Flag, Op, Order, OrderStatus, OrderUpdate};
use keel_core::ids::{ClientId, InstrumentId, Text};
use keel_core::instrument::Instruments;
use keel_core::orders::{EXPIRED, MAX_ORDERS, Reaction, Working, reaction};
use keel_core::units::{Mono, Now, Px, Qty, Wall};
use std::collections::HashMap;

const SECOND: u64 = 1_000_000_000;
/// A request the stream did not show by then is asked about.
pub(crate) const ASK_AFTER: u64 = SECOND;
/// After an answer that proves nothing, the stream gets this long to be first.
pub(crate) const SOON: u64 = SECOND / 10;
/// Nothing is absent before; a request cannot be executed after [`EXPIRED`], the rest is for the venue's own memory.
pub(crate) const ABSENT_AFTER: u64 = EXPIRED + 5 * SECOND;
/// Rounds of both questions, in a row, that must find nothing.
pub(crate) const ROUNDS: u32 = 3;
/// Longest pause between two rounds.
pub(crate) const SLOWEST: u64 = 10 * SECOND;
const NEVER: Mono = Mono::from_nanos(u64::MAX);

#[derive(Clone, Copy, Debug)]
struct Entry {
    instrument: InstrumentId,
    /// What was asked last and has no proven answer.
    owes: Option<Op>,
    target: (Px, Qty),
    amends: u32,
    /// Price and quantity as last shown, and when that was true at the venue.
    last: (Px, Qty),
    updated: Wall,
    /// When the last request left.
    since: Mono,
    /// When it was last heard of.
    heard: Mono,
    /// The venue has shown it.
    shown: bool,
    /// A question is out.
    asking: bool,
    /// The open memory did not have it: the closed one is next.
    closed: bool,
    rounds: u32,
    due: Mono,
}

/// What is owed.
#[derive(Debug)]
pub(crate) struct Watch {
    entries: HashMap<ClientId, Entry, BuildHasherDefault<Fibonacci>>,
    /// No entry is due before.
    earliest: Mono,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self {
            entries: HashMap::with_capacity_and_hasher(2 * MAX_ORDERS, BuildHasherDefault::default()),
            earliest: NEVER,
        }
    }

    /// An order of an earlier run that was not finished: owed a word, whatever the stream says from now on. Nothing was
    /// asked of it in the last `age` nanoseconds. Which amend a picture shows is not known any more: only a question
    /// after the last one expired tells.
    pub(crate) fn adopt(&mut self, now: Mono, row: &Working, age: u64) {
        let due = now.after(ASK_AFTER);
        let entry = self.entry(now, row.order.client, row.order.instrument);
        entry.since = Mono::from_nanos(now.nanos().saturating_sub(age));
        (entry.owes, entry.shown, entry.due) = (Some(row.pending.unwrap_or(Op::New)), !row.venue.is_empty(), due);
        entry.amends = if row.amended.is_some() { 2 } else { 0 };
        self.wake(due);
    }

    /// A request left.
    pub(crate) fn left(&mut self, now: Mono, order: &Order) {
        let entry = self.entry(now, order.client, order.instrument);
        entry.since = now;
        entry.due = now.after(ASK_AFTER);
        match order.op {
            Op::New => (entry.owes, entry.last) = (Some(Op::New), (order.px, order.qty)),
            Op::Amend => {
                entry.target = (order.px, order.qty);
                entry.amends += 1;
                entry.owes = if entry.owes == Some(Op::Cancel) { entry.owes } else { Some(Op::Amend) };
            }
            Op::Cancel => entry.owes = Some(Op::Cancel),
        }
        self.wake(now.after(ASK_AFTER));
    }

    /// A fact came, from a stream or from a query.
    pub(crate) fn hear(&mut self, now: Mono, fact: &ExecEvent) {
        match fact {
            ExecEvent::Order(update) => self.shown(now, update),
            ExecEvent::Ack(ack) if ack.client == ClientId::NONE && ack.code != 0 => self.hurry(now),
            ExecEvent::Ack(ack) => self.answered(now, ack),
            _ => {}
        }
    }

    fn shown(&mut self, now: Mono, update: &OrderUpdate) {
        if update.status.is_final() {
            self.entries.remove(&update.client);
            return;
        }
        let room = self.entries.len() < 2 * MAX_ORDERS || self.entries.contains_key(&update.client);
        if update.client == ClientId::NONE || !room {
            return;
        }
        let entry = self.entry(now, update.client, update.instrument);
        (entry.shown, entry.closed, entry.rounds, entry.heard) = (true, false, 0, now);
        let picture = (update.px, update.qty);
        let expired = update.queried.is_set() && now.since(entry.since) >= EXPIRED;
        let newer = update.updated >= entry.updated;
        let reached = newer && entry.amends == 1 && entry.target == picture && entry.target != entry.last;
        if newer {
            (entry.updated, entry.last) = (update.updated, picture);
        }
        if reached || expired {
            entry.amends = 0;
        }
        let answered = match entry.owes {
            None | Some(Op::New | Op::Amend) => entry.amends == 0,
            Some(Op::Cancel) => expired,
        };
        if answered {
            (entry.owes, entry.due) = (None, NEVER);
        } else {
            entry.due = entry.due.max(now.after(ASK_AFTER));
        }
    }

    fn answered(&mut self, now: Mono, ack: &Ack) {
        let Some(entry) = self.entries.get_mut(&ack.client) else { return };
        match (reaction(ack.code), ack.op) {
            (Reaction::Accepted, _) => {}
            (why, Op::New) if why.proves_absence() && !entry.shown => drop(self.entries.remove(&ack.client)),
            (why, op @ (Op::Amend | Op::Cancel)) if why.proves_absence() => {
                entry.amends = entry.amends.saturating_sub(u32::from(op == Op::Amend));
                let left = (entry.amends > 0).then_some(Op::Amend);
                match entry.owes {
                    Some(owed) if owed == op => entry.owes = left,
                    _ => {}
                }
                if entry.owes.is_none() {
                    entry.due = NEVER;
                }
            }
            _ => self.doubt(now, ack.client),
        }
    }

    /// Something about this order is unclear: ask soon.
    pub(crate) fn doubt(&mut self, now: Mono, client: ClientId) {
        let due = now.after(SOON);
        if let Some(entry) = self.entries.get_mut(&client) {
            entry.owes = entry.owes.or(Some(Op::New));
            entry.due = entry.due.min(due);
            self.wake(due);
        }
    }

    /// The venue refused something and did not say what: everything without an answer is asked about.
    fn hurry(&mut self, now: Mono) {
        let due = now.after(SOON);
        for entry in self.entries.values_mut().filter(|entry| entry.owes.is_some()) {
            entry.due = entry.due.min(due);
        }
        self.wake(due);
    }

    /// The venue's open orders were read from `begun` on: what was there before and was not named has ended unseen.
    pub(crate) fn missing(&mut self, now: Mono, begun: Mono) {
        for entry in self.entries.values_mut().filter(|entry| entry.heard < begun && entry.since < begun) {
            entry.owes = entry.owes.or(Some(Op::New));
            entry.due = entry.due.min(now);
        }
        self.wake(now);
    }

    /// The next question that is due.
    pub(crate) fn question(&mut self, now: Mono, instruments: &Instruments) -> Option<Call> {
        if now < self.earliest {
            return None;
        }
        let due = |(_, entry): &(&ClientId, &mut Entry)| entry.due <= now && !entry.asking;
        let Some((client, entry)) = self.entries.iter_mut().filter(due).min_by_key(|(client, _)| **client) else {
            let waiting = self.entries.values().filter(|entry| !entry.asking);
            self.earliest = waiting.map(|entry| entry.due).min().unwrap_or(NEVER);
            return None;
        };
        let (client, symbol) = (*client, instruments.get(entry.instrument)?.symbol);
        entry.asking = true;
        Some(if entry.closed { Call::FindClosed { client, symbol } } else { Call::FindOrder { client, symbol } })
    }

    /// The question found `rows` of it; what they said was heard before.
    pub(crate) fn found(&mut self, now: Now, client: ClientId, rows: usize, sink: &mut impl FnMut(ExecEvent)) {
        let Some(entry) = self.entries.get_mut(&client) else { return };
        entry.asking = false;
        if rows > 0 {
            self.wake(now.mono);
            return;
        }
        if !entry.closed {
            (entry.closed, entry.due) = (true, now.mono);
            self.wake(now.mono);
            return;
        }
        entry.closed = false;
        entry.rounds += 1;
        if !entry.shown && entry.rounds >= ROUNDS && now.mono.since(entry.since) >= ABSENT_AFTER {
            let instrument = entry.instrument;
            self.entries.remove(&client);
            sink(ExecEvent::Order(absent(now, client, instrument)));
            return;
        }
        let due = now.mono.after((SECOND << entry.rounds.min(8)).min(SLOWEST));
        let decisive = entry.since.after(ABSENT_AFTER);
        // the venue's memory had its time: what is left is to be told the same thrice, also by a process that lives briefly
        entry.due = match (entry.shown, decisive > now.mono) {
            (true, _) => due,
            (false, true) => due.min(decisive),
            (false, false) => now.mono.after(SOON),
        };
        let due = entry.due;
        self.wake(due);
    }

    /// The question could not be asked, or was not answered: again at `at`.
    pub(crate) fn again(&mut self, client: ClientId, at: Mono) {
        if let Some(entry) = self.entries.get_mut(&client) {
            (entry.asking, entry.due) = (false, at);
            self.wake(at);
        }
    }

    /// Is it still watched over?
    pub(crate) fn knows(&self, client: ClientId) -> bool {
        self.entries.contains_key(&client)
    }

    /// Orders without a proven answer.
    pub(crate) fn owed(&self) -> usize {
        self.entries.values().filter(|entry| entry.owes.is_some()).count()
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        (self.earliest < NEVER).then_some(self.earliest)
    }

    fn wake(&mut self, at: Mono) {
        self.earliest = self.earliest.min(at);
    }

    fn entry(&mut self, now: Mono, client: ClientId, instrument: InstrumentId) -> &mut Entry {
        self.entries.entry(client).or_insert(Entry {
            instrument,
            owes: None,
            target: (Px::ZERO, Qty::ZERO),
            amends: 0,
            last: (Px::ZERO, Qty::ZERO),
            updated: Wall::default(),
            since: now,
            heard: now,
            shown: false,
            asking: false,
            closed: false,
            rounds: 0,
            due: NEVER,
        })
    }
}

fn absent(now: Now, client: ClientId, instrument: InstrumentId) -> OrderUpdate {
    OrderUpdate {
        client,
        recv: now.mono,
        updated: now.wall,
        reason: Text::new(b"Absent").unwrap_or(Text::EMPTY),
        instrument,
        status: OrderStatus::Absent,
        queried: Flag::Yes,
        ..OrderUpdate::default()
    }
}

/// Ids are counters: one multiplication spreads them. Not for keys a stranger chooses.
#[derive(Default)]
struct Fibonacci(u64);

impl Hasher for Fibonacci {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}

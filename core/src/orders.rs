//! Our orders, and the only judge of where each stands.
//!
//! In: recorded requests, acknowledgements, the private stream. Out: [`Change`]s of what is open at worst. An order is
//! open until the venue proves it is not: a lost acknowledgement makes it `Unknown`, never gone, and an `Unknown` order
//! keeps its worst case reserved.
//!
//! ```text
//!   Recorded --sent--> Sent --ack/stream--> Live --stream--> Filled | Cancelled | Rejected
//!      |                |                    |
//!      | not sent       | silence            | silence after amend or cancel
//!      v                v                    v
//!   NotSent          Unknown <---------------+        left only by venue proof
//! ```

use crate::event::{
    Ack, ExecEvent, ExecKind, Fill, Flag, Op, Order, OrderStatus, OrderUpdate, Sent, SentOutcome, Side,
};
use crate::ids::{ClientId, InstrumentId, StrategyId, VenueId};
use crate::units::{Mono, Px, Qty};

/// Orders that may be open at once; one more is refused with [`OrdersFull`].
pub const MAX_ORDERS: usize = 512;
/// Executions remembered to count each once; the oldest are forgotten first.
pub const MAX_EXECUTIONS: usize = 4096;

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// In the journal, not yet known to have left.
    Recorded,
    /// Its bytes left; the venue has not answered.
    Sent,
    /// The venue proved it has it.
    Live,
    /// The venue was silent for too long: it may rest, it may be filled, it may never have arrived.
    Unknown,
    /// All of it filled.
    Filled,
    /// Ended by cancel, with or without fills.
    Cancelled,
    /// Refused by the venue.
    Rejected,
    /// Provably never left.
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
    /// As last asked for and acknowledged.
    pub order: Order,
    /// The venue's id once known.
    pub venue: VenueId,
    /// Where it stands.
    pub state: State,
    /// A change asked for and not yet answered.
    pub pending: Option<Op>,
    /// Quantity an unanswered amend asks for; the larger of both counts as open.
    pub amended: Option<(Px, Qty)>,
    /// Filled so far.
    pub filled: Qty,
    /// When something was last asked of the venue.
    pub asked: Mono,
}

impl Working {
    /// What can still fill, at worst.
    #[must_use]
    pub fn open(&self) -> Qty {
        if self.state.is_final() {
            return Qty::ZERO;
        }
        let total = self.amended.map_or(self.order.qty, |(_, qty)| qty.max(self.order.qty));
        (total - self.filled).max(Qty::ZERO)
    }

    /// The price its open quantity can fill at, at worst for us.
    #[must_use]
    pub fn worst_px(&self) -> Px {
        match (self.amended, self.order.side) {
            (Some((px, _)), Side::Buy) => px.max(self.order.px),
            (Some((px, _)), Side::Sell) => px.min(self.order.px),
            (None, _) => self.order.px,
        }
    }
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
}

/// The table.
#[derive(Clone, Debug)]
pub struct Orders {
    run: u32,
    issued: u32,
    rows: Vec<Working>,
    executions: Executions,
}

impl Orders {
    /// An empty table issuing ids of run `run`.
    #[must_use]
    pub fn new(run: u32) -> Self {
        Self { run, issued: 0, rows: Vec::with_capacity(MAX_ORDERS), executions: Executions::new() }
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
                let row = Working {
                    order: *order,
                    venue: VenueId::EMPTY,
                    state: State::Recorded,
                    pending: Some(Op::New),
                    amended: None,
                    filled: Qty::ZERO,
                    asked: now,
                };
                self.rows.push(row);
                Ok(Some(change_from(&row, Qty::ZERO, order.px, State::Recorded)))
            }
            Op::Amend => Ok(self.edit(order.client, |row| {
                row.pending = Some(Op::Amend);
                row.amended = Some((order.px, order.qty));
                row.asked = now;
            })),
            Op::Cancel => Ok(self.edit(order.client, |row| {
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
        let left = sent.outcome == SentOutcome::Wire;
        self.known(sent.client, |row| match (row.state, sent.op, left) {
            (State::Recorded, Op::New, true) => row.state = State::Sent,
            (State::Recorded, Op::New, false) => row.state = State::NotSent,
            (_, Op::New, _) | (_, _, true) => {}
            (_, Op::Amend | Op::Cancel, false) => forget_request(row),
        })
    }

    /// The venue's first answer.
    pub fn ack(&mut self, ack: &Ack) -> Effect {
        self.known(ack.client, |row| {
            if !ack.venue.is_empty() {
                row.venue = ack.venue;
            }
            match (ack.op, ack.code) {
                (Op::New, 0) if matches!(row.state, State::Recorded | State::Sent) => {
                    row.state = State::Sent;
                    row.pending = None;
                }
                (Op::New, 0) => {}
                (Op::New, code) if refusal_is_final(code) && row.state != State::Live => row.state = State::Rejected,
                (Op::New, _) => row.state = State::Unknown,
                (Op::Amend, 0) => {
                    if let Some((px, qty)) = row.amended.take() {
                        (row.order.px, row.order.qty) = (px, qty);
                    }
                    forget_request(row);
                }
                (Op::Amend | Op::Cancel, code) if code != 0 => forget_request(row),
                (Op::Amend | Op::Cancel, _) => {}
            }
        })
    }

    /// The private stream, or a query, shows an order.
    pub fn update(&mut self, update: &OrderUpdate) -> Effect {
        self.known(update.client, |row| {
            row.venue = update.venue;
            row.filled = row.filled.max(update.filled);
            if update.status.is_final() {
                row.state = match update.status {
                    OrderStatus::Filled => State::Filled,
                    OrderStatus::Rejected => State::Rejected,
                    _ => State::Cancelled,
                };
                return;
            }
            row.state = State::Live;
            if row.pending == Some(Op::New) {
                row.pending = None;
            }
            if row.amended == Some((update.px, update.qty)) {
                forget_request(row);
                (row.order.px, row.order.qty) = (update.px, update.qty);
            }
        })
    }

    /// The private stream, or a query, shows an execution. Counted once by its id.
    pub fn fill(&mut self, fill: &Fill) -> Effect {
        if !self.executions.insert(&fill.exec) {
            return Effect::default();
        }
        if fill.kind != ExecKind::Trade {
            return Effect { fresh: true, foreign: fill.kind != ExecKind::Funding, change: None };
        }
        let mut effect = self.known(fill.client, |row| {
            row.filled += fill.qty;
            if row.state == State::Sent {
                row.state = State::Live;
            }
            if row.filled >= row.order.qty && row.amended.is_none() {
                row.state = State::Filled;
            }
        });
        effect.fresh = true;
        effect
    }

    /// Marks what the venue has been silent about since `silence` nanoseconds as `Unknown`. One order a call; call until
    /// `None`.
    pub fn silence(&mut self, now: Mono, silence: u64) -> Option<Change> {
        let row = self.rows.iter_mut().find(|row| {
            let waiting = matches!(row.state, State::Recorded | State::Sent) || row.pending.is_some();
            waiting && row.state != State::Unknown && now.since(row.asked) >= silence
        })?;
        let (before, px, from) = (row.open(), row.worst_px(), row.state);
        row.state = State::Unknown;
        Some(change_from(row, before, px, from))
    }

    /// An order that is not finished.
    #[must_use]
    pub fn get(&self, client: ClientId) -> Option<&Working> {
        self.rows.iter().find(|row| row.order.client == client)
    }

    /// Every order that is not finished, in the order they were admitted.
    #[must_use]
    pub fn open(&self) -> &[Working] {
        &self.rows
    }

    fn known(&mut self, client: ClientId, edit: impl FnOnce(&mut Working)) -> Effect {
        if client == ClientId::NONE || client.run() != self.run || client.count() > self.issued {
            return Effect { foreign: true, fresh: true, change: None };
        }
        let change = self.edit(client, edit);
        Effect { fresh: change.is_some(), foreign: false, change }
    }

    /// Edits a row and drops it when finished; `None` when the order is finished already or nothing moved.
    fn edit(&mut self, client: ClientId, edit: impl FnOnce(&mut Working)) -> Option<Change> {
        let at = self.rows.iter().position(|row| row.order.client == client)?;
        let row = &mut self.rows[at];
        let (before, px, from) = (row.open(), row.worst_px(), row.state);
        edit(row);
        let change = change_from(row, before, px, from);
        if row.state.is_final() {
            self.rows.remove(at);
        }
        Some(change)
    }
}

fn change_from(row: &Working, before: Qty, px_before: Px, from: State) -> Change {
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

fn forget_request(row: &mut Working) {
    row.pending = None;
    row.amended = None;
}

/// Does this refusal of a new order prove that it does not exist at the venue? Everything not known to prove it is
/// ambiguous: time-outs, internal errors, rate-limit refusals that may follow acceptance, duplicate ids.
#[must_use]
pub const fn refusal_is_final(code: i32) -> bool {
    !matches!(code, 0 | 429 | 500 | 503 | 10000 | 10014 | 10016 | 10019 | 10429 | 20006 | 110_072 | 110_079 | 170_007)
}

/// The ids of recent executions.
#[derive(Clone, Debug)]
struct Executions {
    ids: Vec<VenueId>,
    next: usize,
}

impl Executions {
    fn new() -> Self {
        Self { ids: Vec::with_capacity(MAX_EXECUTIONS), next: 0 }
    }

    fn insert(&mut self, id: &VenueId) -> bool {
        if self.ids.contains(id) {
            return false;
        }
        if self.ids.len() < MAX_EXECUTIONS {
            self.ids.push(*id);
        } else {
            self.ids[self.next] = *id;
            self.next = (self.next + 1) % MAX_EXECUTIONS;
        }
        true
    }
}

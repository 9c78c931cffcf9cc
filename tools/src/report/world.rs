//! What every report needs to know at every record: symbols, positions, prices, orders, cash. One fold over one journal.
//!
//! ```text
//!   oldest record ... | from ---------------- to | ... TAIL
//!    state is built   |  the reports' own range  |  markouts and late wallets
//! ```
//!
//! In: entries in order. Out: a [`Turn`] a record: what it is, and what it changed. Never: a panic on bytes that do not fit
//! their layout, memory that grows with the journal: what is kept has a named limit, and reaching it is said.

use super::cell::Cell;
pub(super) use super::reading::Fact;
use super::reading::fact_of;
use super::state::middle;
pub(super) use super::state::{Cash, DAY, Life, Phase, Range, Seat, TAIL, Tally, is_transfer, unrealised, value_of};
use anyhow::Result;
use keel_core::desk::Desk;
use keel_core::event::{
    Ack, BookUpdate, Carried, Difference, DifferenceKind, Document, DocumentKind, ExecKind, Fill, Flow, FlowState,
    Holding, Kind, MarketEvent, Op, Order, OrderUpdate, Parts, Resolution, Sent, Start, Wallet, Worth, read,
};
use keel_core::ids::{ClientId, InstrumentId, MAX_INSTRUMENTS, Seq, VenueId};
use keel_core::instrument::{Instrument, Instruments};
use keel_core::position::{Position, Verdict};
use keel_core::units::{Notional, Px, Qty, Wall};
use keel_journal::Entry;
use keel_journal::history::{Hash, History};
use keel_risk::notice::Fortune;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Orders remembered; the oldest are told to the reports and forgotten.
pub(super) const MAX_ORDERS: usize = 200_000;
/// Executions remembered, so that one read again is not counted again.
pub(super) const MAX_SEEN: usize = 262_144;
/// Symbols of one journal.
pub(super) const MAX_SEATS: usize = 512;
/// A fill counted for the first time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub fill: Fill,
    /// Index of its seat.
    pub seat: usize,
    pub after: Position,
    /// What it realised, without fees: the venue's figure where it gives one.
    pub gain: i64,
    /// Middle of the book before it.
    pub mid: Option<Px>,
}

/// One record and what it changed.
pub(super) struct Turn<'a> {
    pub entry: &'a Entry<'a>,
    pub phase: Phase,
    pub fact: Fact,
    pub counted: Option<Counted>,
    /// The middle of this seat's book moved: what it was before.
    pub moved: Option<(usize, Option<Px>)>,
    /// An order that is forgotten now.
    pub forgotten: Option<Life>,
    /// A whole document: its text; at the opening of a run or not.
    pub document: Option<(DocumentKind, Vec<u8>, bool)>,
    /// SHA-256 of the record as a leaf, and the chain before and after it where the journal's beginning is there.
    pub leaf: Hash,
    pub chain: Option<(Hash, Hash)>,
}

/// The state.
pub(super) struct World {
    pub range: Range,
    pub seats: Vec<Seat>,
    pub cash: Cash,
    pub start: Option<Start>,
    pub start_seq: Seq,
    pub uid: Option<String>,
    pub orders: BTreeMap<ClientId, Life>,
    /// In the order they were decided.
    pub queue: VecDeque<ClientId>,
    /// Of them, those that may still be open.
    pub open: BTreeSet<ClientId>,
    pub table: Instruments,
    /// Records of the range: how many, first and last with their hashes.
    pub records: u64,
    pub first: Option<(Seq, Wall, Hash)>,
    pub last: Option<(Seq, Wall, Hash)>,
    /// Chain and tree after the last record of the range, where the journal's beginning is there.
    pub history: Option<History>,
    pub builds: BTreeSet<String>,
    pub forgotten: u64,
    pub unreadable: u64,
    pub strange: u64,
    /// A sum did not fit its numbers.
    pub overflow: bool,
    /// Last Worth and Fortune before the end of the range.
    pub worth: Option<Worth>,
    pub fortune: Option<Fortune>,
    /// The last record read is the end of a run in good order.
    pub stopped: bool,
    pub last_wall: Wall,
    pub began: Wall,
    /// The first record of the journal: its name, wherever it lies.
    pub name: String,
    /// It is one of several.
    pub several: bool,
    /// Facts and decisions a journal of the range did not take.
    pub unrecorded: u64,
    /// Runs that ended, or lie, in the range without a last record.
    pub unclean: Vec<u32>,
    rows: Vec<Instrument>,
    ids: Vec<Option<usize>>,
    desk: Option<Desk>,
    parts: Vec<(DocumentKind, Parts)>,
    seen: BTreeSet<VenueId>,
    seen_order: VecDeque<VenueId>,
    ended: bool,
    opened: bool,
    closed: bool,
}

impl World {
    pub(super) fn new(range: Range, several: bool) -> Self {
        Self {
            range,
            seats: Vec::new(),
            cash: Cash::default(),
            start: None,
            start_seq: Seq::NONE,
            uid: None,
            orders: BTreeMap::new(),
            queue: VecDeque::new(),
            open: BTreeSet::new(),
            table: Instruments::default(),
            records: 0,
            first: None,
            last: None,
            history: None,
            builds: BTreeSet::new(),
            forgotten: 0,
            unreadable: 0,
            strange: 0,
            overflow: false,
            worth: None,
            fortune: None,
            stopped: false,
            last_wall: Wall::default(),
            began: Wall::default(),
            name: String::new(),
            several,
            unrecorded: 0,
            unclean: Vec::new(),
            rows: Vec::new(),
            ids: vec![None; MAX_INSTRUMENTS],
            desk: None,
            parts: Vec::new(),
            seen: BTreeSet::new(),
            seen_order: VecDeque::new(),
            ended: false,
            opened: false,
            closed: false,
        }
    }

    /// The seat of an instrument of the run being read.
    pub(super) fn seat_of(&self, id: InstrumentId) -> Option<usize> {
        self.ids.get(id.index()).copied().flatten()
    }

    /// Its symbol.
    pub(super) fn symbol(&self, id: InstrumentId) -> String {
        self.seat_of(id).map_or_else(|| format!("#{}", id.0), |at| self.seats[at].symbol.clone())
    }

    /// The account, where the venue named it.
    pub(super) fn account(&self) -> Cell {
        self.uid.as_deref().map_or(Cell::Null, Cell::from)
    }

    /// What must be noted before a record: the range begins, or is over. Says whether it is over only now.
    pub(super) fn before(&mut self, wall: Wall) -> bool {
        if !self.opened && wall >= self.range.from {
            self.opened = true;
            self.open();
        }
        let over = !self.closed && wall >= self.range.to;
        if over {
            self.close();
        }
        over
    }

    fn open(&mut self) {
        for seat in &mut self.seats {
            (seat.opening, seat.opening_mark) = (seat.position, seat.mark);
        }
        self.cash.opening = self.cash.ours;
    }

    /// The range is over. Called once, also when the journal ends within it.
    pub(super) fn close(&mut self) {
        if self.closed {
            return;
        }
        self.closed = true;
        self.cash.closing = self.cash.ours;
        let wallet = self.cash.wallet.map(|wallet| i128::from(wallet.raw()));
        self.cash.gap = wallet.zip(self.cash.ours).map(|(theirs, ours)| theirs - ours);
        self.cash.settled = self.cash.gap == Some(0);
    }

    /// Is the range over?
    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes in a record.
    pub(super) fn take<'a>(&mut self, entry: &'a Entry<'a>) -> Result<Turn<'a>> {
        let phase = self.range.phase(entry.wall);
        let leaf = keel_journal::history::leaf(entry.bytes);
        if self.name.is_empty() {
            self.name = crate::fact::hex(&leaf[..8]);
            self.began = entry.wall;
            self.history = (entry.seq == Seq(1)).then(History::new);
        }
        let chain = self.absorb(entry, phase);
        self.note_place(entry, phase, leaf);
        let fact = fact_of(entry);
        self.unreadable += u64::from(matches!(fact, Fact::Unreadable));
        self.strange += u64::from(entry.kind.is_none());
        (self.stopped, self.last_wall) = (matches!(fact, Fact::Stop(_)), entry.wall);
        if let (Fact::Stop(stop), true) = (fact, phase == Phase::Within) {
            self.unrecorded += u64::from(stop.unrecorded);
        }
        let mut turn =
            Turn { entry, phase, fact, counted: None, moved: None, forgotten: None, document: None, leaf, chain };
        self.apply(&mut turn);
        Ok(turn)
    }

    /// The chain grows as far as the range goes.
    fn absorb(&mut self, entry: &Entry<'_>, phase: Phase) -> Option<(Hash, Hash)> {
        let history = self.history.as_mut().filter(|history| history.last().0 + 1 == entry.seq.0)?;
        if phase == Phase::After {
            return None;
        }
        let before = *history.chain();
        history.absorb(entry.bytes);
        Some((before, *history.chain()))
    }

    fn note_place(&mut self, entry: &Entry<'_>, phase: Phase, leaf: Hash) {
        if phase == Phase::Within {
            self.records += 1;
            let place = (entry.seq, entry.wall, leaf);
            self.first.get_or_insert(place);
            self.last = Some(place);
        }
    }

    fn apply(&mut self, turn: &mut Turn<'_>) {
        let entry = turn.entry;
        match turn.fact {
            Fact::Start(start) => self.begin(entry.seq, start, turn.phase),
            Fact::Stop(_) => self.ended = true,
            Fact::Instrument => self.instrument(entry),
            Fact::Book | Fact::Trade(_) | Fact::Ticker(_) | Fact::Health(_) => self.market(turn),
            Fact::Approved(decision) => self.decided(turn, decision.order),
            Fact::Sent(sent) => self.sent(&sent),
            Fact::Ack(ack) => self.acked(&ack, entry),
            Fact::Update(update) => self.updated(&update, entry),
            Fact::Fill(fill) => turn.counted = self.filled(&fill, turn.phase),
            Fact::Position(picture) => {
                if let Some(at) = self.seat_of(picture.instrument) {
                    self.seats[at].picture = Some(picture);
                }
            }
            Fact::Wallet(wallet) => self.wallet(&wallet, entry.wall, turn.phase),
            Fact::Difference(difference) => self.differs(&difference, turn.phase),
            Fact::Flow(flow) => self.flow(&flow, turn.phase),
            Fact::Standing(standing) => self.uid = Some(standing.uid.as_str().to_owned()),
            Fact::Worth(worth) if turn.phase <= Phase::Within => self.worth = Some(worth),
            Fact::Fortune(fortune) if turn.phase <= Phase::Within => self.fortune = Some(fortune),
            Fact::Document(kind) => turn.document = self.document(kind, entry),
            Fact::Other => self.carried(turn),
            _ => {}
        }
    }

    fn begin(&mut self, seq: Seq, start: Start, phase: Phase) {
        if let Some(last) = self.start.filter(|_| !std::mem::take(&mut self.ended) && phase != Phase::Before)
            && self.unclean.len() < 64
        {
            self.unclean.push(last.run);
        }
        self.builds.insert(start.build.as_str().to_owned());
        (self.start, self.start_seq) = (Some(start), seq);
        (self.desk, self.rows, self.table) = (None, Vec::new(), Instruments::default());
        self.ids.fill(None);
        self.parts.clear();
        for seat in &mut self.seats {
            (seat.mid, seat.picture) = (None, None);
        }
    }

    fn instrument(&mut self, entry: &Entry<'_>) {
        let Some(row) = read::<Instrument>(entry.payload) else { return };
        let symbol = row.symbol.to_string();
        let known = self.seats.iter().position(|seat| seat.symbol == symbol);
        let at = match known {
            Some(at) => at,
            None if self.seats.len() >= MAX_SEATS => return self.overflow = true,
            None => {
                self.seats.push(Seat {
                    symbol,
                    row,
                    position: Position::default(),
                    mark: Px::ZERO,
                    mid: None,
                    market_seq: 0,
                    volume: 0,
                    opening: Position::default(),
                    opening_mark: Px::ZERO,
                    tally: Tally::default(),
                    picture: None,
                });
                self.seats.len() - 1
            }
        };
        self.seats[at].row = row;
        if let Some(slot) = self.ids.get_mut(row.id.index()) {
            *slot = Some(at);
        }
        self.rows.push(row);
        // a table that does not hold together gives no book: prices are then not known
        if let Ok(table) = Instruments::new(self.rows.iter().copied()) {
            self.table = table;
        }
    }

    fn market(&mut self, turn: &mut Turn<'_>) {
        let event = match turn.fact {
            Fact::Book => BookUpdate::read(turn.entry.payload).map(MarketEvent::Book),
            Fact::Trade(fact) => Some(MarketEvent::Trade(fact)),
            Fact::Ticker(fact) => Some(MarketEvent::Ticker(fact)),
            Fact::Health(fact) => Some(MarketEvent::Health(fact)),
            _ => None,
        };
        let Some((event, id)) = event.and_then(|event| Some((event, event.instrument()?))) else { return };
        let Some(at) = self.seat_of(id) else { return };
        let table = &self.table;
        let desk = self.desk.get_or_insert_with(|| Desk::new(table, 0));
        desk.market(&event);
        let touch = desk.seat(id).and_then(keel_core::desk::Seat::touch);
        let seat = &mut self.seats[at];
        seat.market_seq = event.origin().seq;
        match event {
            MarketEvent::Trade(trade) => seat.volume = seat.volume.saturating_add(trade.qty.raw().into()),
            MarketEvent::Ticker(ticker) if ticker.mark > Px::ZERO => seat.mark = ticker.mark,
            MarketEvent::Book(_) | MarketEvent::Health(_) => {
                let mid = touch.map(|touch| middle(touch.bid.px, touch.ask.px));
                if mid != seat.mid {
                    turn.moved = Some((at, seat.mid));
                    seat.mid = mid;
                }
            }
            _ => {}
        }
    }

    fn decided(&mut self, turn: &mut Turn<'_>, order: Order) {
        match order.op {
            Op::New => {
                let mut life = Life::new(order, turn.entry, turn.phase);
                if let Some(at) = self.seat_of(order.instrument) {
                    let seat = &self.seats[at];
                    (life.seat, life.arrival, life.volume) = (Some(at), seat.mid, seat.volume);
                }
                turn.forgotten = self.remember(life);
            }
            Op::Amend => {
                if let Some(life) = self.orders.get_mut(&order.client) {
                    life.amends = life.amends.saturating_add(1);
                }
            }
            Op::Cancel => {
                if let Some(life) = self.orders.get_mut(&order.client) {
                    life.cancels = life.cancels.saturating_add(1);
                }
            }
        }
    }

    fn remember(&mut self, life: Life) -> Option<Life> {
        let client = life.order.client;
        self.open.insert(client);
        if self.orders.insert(client, life).is_none() {
            self.queue.push_back(client);
        }
        if self.queue.len() <= MAX_ORDERS {
            return None;
        }
        self.forgotten += 1;
        let oldest = self.queue.pop_front()?;
        self.open.remove(&oldest);
        self.orders.remove(&oldest)
    }

    fn carried(&mut self, turn: &mut Turn<'_>) {
        match turn.entry.kind {
            Some(Kind::Holding) => {
                let Some(holding) = read::<Holding>(turn.entry.payload) else { return };
                let Some(at) = self.seat_of(holding.instrument) else { return };
                let Holding { size, cost, realised, fees, funding, life, seq, base, .. } = holding;
                let life = holding.lived.is_set().then_some(life);
                let position = Position { size, cost, realised, fees, funding, life, seq, base };
                self.note_adoption(at, size, turn.phase);
                self.seats[at].position = position;
            }
            Some(Kind::Carried) => {
                let Some(carried) = read::<Carried>(turn.entry.payload) else { return };
                if !self.orders.contains_key(&carried.order.client) {
                    let mut life = Life::new(carried.order, turn.entry, Phase::Before);
                    life.seat = self.seat_of(carried.order.instrument);
                    (life.venue, life.filled) = (carried.venue, carried.filled.raw().into());
                    turn.forgotten = self.remember(life);
                }
            }
            _ => {}
        }
    }

    /// A position that was taken over instead of counted.
    fn note_adoption(&mut self, at: usize, size: Qty, phase: Phase) {
        let seat = &mut self.seats[at];
        if phase == Phase::Within {
            seat.tally.adopted += i128::from(size.raw()) - i128::from(seat.position.size.raw());
        }
    }

    fn sent(&mut self, sent: &Sent) {
        if let Some(life) = self.orders.get_mut(&sent.client).filter(|_| sent.op == Op::New) {
            (life.sent, life.took, life.outcome) = (Some(sent.at), sent.took, Some(sent.outcome));
            if life.is_over() {
                self.open.remove(&sent.client);
            }
        }
    }

    fn acked(&mut self, ack: &Ack, entry: &Entry<'_>) {
        let Some(life) = self.orders.get_mut(&ack.client).filter(|_| ack.op == Op::New) else { return };
        life.acked = Some(ack.recv);
        life.ack_mid = life.seat.and_then(|at| self.seats[at].mid);
        (life.ack_code, life.venue) = (ack.code, ack.venue);
        if ack.code != 0 {
            life.ended.get_or_insert(entry.wall);
            self.open.remove(&ack.client);
        }
    }

    fn updated(&mut self, update: &OrderUpdate, entry: &Entry<'_>) {
        let Some(life) = self.orders.get_mut(&update.client) else { return };
        life.status = Some(update.status);
        life.venue = if update.venue.is_empty() { life.venue } else { update.venue };
        if update.status.is_final() && life.ended.is_none() {
            life.ended = Some(entry.wall);
            self.open.remove(&update.client);
            if let Some(seat) = life.seat.map(|at| &self.seats[at]) {
                (life.end_mid, life.end_volume) = (seat.mid, seat.volume);
            }
        }
    }

    /// Counts a fill once.
    fn filled(&mut self, fill: &Fill, phase: Phase) -> Option<Counted> {
        let at = self.seat_of(fill.instrument)?;
        if !self.is_new(&fill.exec) {
            return None;
        }
        let before = self.seats[at].position;
        if fill.seq != 0 && fill.seq <= before.base {
            return None; // it is part of what was taken from the venue
        }
        let Some(after) = before.after(fill) else {
            self.overflow = true;
            return None;
        };
        let gain = fill.gain(after.realised.raw().saturating_sub(before.realised.raw()));
        let funding = fill.kind == ExecKind::Funding;
        let (gain, fee) = (if funding { 0 } else { gain }, i128::from(fill.fee.raw()));
        if let Some(ours) = &mut self.cash.ours {
            *ours += i128::from(gain) - fee;
        }
        let seat = &mut self.seats[at];
        seat.position = after;
        let mid = seat.mid;
        if phase == Phase::Within {
            seat.tally.add(fill, gain);
        }
        if let Some(life) = self.orders.get_mut(&fill.client).filter(|_| !funding) {
            life.fills = life.fills.saturating_add(1);
            life.maker = life.maker.saturating_add(u32::from(fill.maker.is_set()));
            life.filled += i128::from(fill.qty.raw());
            life.value = life.value.saturating_add(i128::from(fill.px.raw()) * i128::from(fill.qty.raw()));
            life.fees += fee;
            life.realised += i128::from(gain);
        }
        Some(Counted { fill: *fill, seat: at, after, gain, mid })
    }

    fn is_new(&mut self, exec: &VenueId) -> bool {
        if !self.seen.insert(*exec) {
            return false;
        }
        self.seen_order.push_back(*exec);
        if self.seen_order.len() > MAX_SEEN
            && let Some(oldest) = self.seen_order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }

    fn wallet(&mut self, wallet: &Wallet, at: Wall, phase: Phase) {
        let theirs = i128::from(wallet.balance.raw());
        if self.cash.ours.is_none() {
            (self.cash.ours, self.cash.since) = (Some(theirs), at);
            if phase == Phase::Within {
                (self.cash.opening, self.cash.begun) = (Some(theirs), true);
            }
        }
        match phase {
            Phase::After => {
                // a wallet may come a moment after the fill it counts: one that agrees settles it
                if !self.cash.settled && self.cash.ours == Some(theirs) {
                    (self.cash.gap, self.cash.settled) = (Some(0), true);
                }
            }
            _ => (self.cash.wallet, self.cash.wallet_at) = (Some(wallet.balance), at),
        }
    }

    /// What the engine took from the venue is ours from here on.
    fn differs(&mut self, difference: &Difference, phase: Phase) {
        if difference.resolution != Resolution::TakenFromVenue {
            return;
        }
        if difference.kind == DifferenceKind::Balance {
            let theirs = i128::from(difference.theirs);
            let before = self.cash.ours.replace(theirs);
            if phase == Phase::Within {
                self.cash.unexplained += before.map_or(0, |before| theirs - before);
            }
            return;
        }
        let Some(at) = self.seat_of(difference.instrument) else { return };
        let verdict = match difference.kind {
            DifferenceKind::Position => Verdict::Size,
            DifferenceKind::Entry => Verdict::Entry,
            _ => return,
        };
        let size = Qty::from_raw(difference.theirs);
        if verdict == Verdict::Size {
            self.note_adoption(at, size, phase);
        }
        let seat = &mut self.seats[at];
        match seat.picture.filter(|picture| verdict == Verdict::Entry || picture.size == size) {
            Some(picture) => seat.position = seat.position.taken_from(&picture, verdict, difference.at).0,
            None => {
                let cost = if size.is_zero() { Notional::ZERO } else { seat.position.cost };
                (seat.position.size, seat.position.cost) = (size, cost);
            }
        }
    }

    fn flow(&mut self, flow: &Flow, phase: Phase) {
        let early = flow.ts < self.cash.since;
        if flow.state != FlowState::Done || !flow.moves_cash() || flow.coin.as_str() != "USDT" || early {
            return;
        }
        let amount = i128::from(flow.amount.raw()) - i128::from(flow.fee.raw());
        if let Some(ours) = &mut self.cash.ours {
            *ours += amount;
        }
        if phase == Phase::Within {
            self.cash.transfers += amount;
            self.cash.flows += 1;
        }
    }

    fn document(&mut self, kind: DocumentKind, entry: &Entry<'_>) -> Option<(DocumentKind, Vec<u8>, bool)> {
        let part: Document = read(entry.payload)?;
        let at = self.parts.iter().position(|(have, _)| *have == kind).unwrap_or_else(|| {
            self.parts.push((kind, Parts::default()));
            self.parts.len() - 1
        });
        let text = self.parts[at].1.take(&part)?;
        Some((kind, text, entry.cause == self.start_seq && self.start_seq != Seq::NONE))
    }
}

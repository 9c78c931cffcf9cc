//! What the engine knows: instruments, books, positions, orders. Strategy and sizing read it; only the engine writes it.
//!
//! Each instrument has two books: the deep one, and the one-level stream that is pushed more often. The touch is taken
//! from whichever saw the later cross sequence. A book is trusted from the feed's `Synced` until its next `Stale`.

use crate::book::{Book, Touch};
use crate::equity::Equity;
use crate::event::{BookUpdate, Difference, ExecEvent, Fill, HealthState, MarketEvent, Side, VenuePosition, Worth};
use crate::ids::InstrumentId;
use crate::instrument::{Instrument, Instruments};
use crate::orders::{Orders, Working};
use crate::position::{Position, Verdict};
use crate::units::{Mono, Now, Px};

/// Levels a side of the deep book; more than the venue's 200-level stream ever holds at once.
pub const DEEP_LEVELS: usize = 512;

/// Nanoseconds between two records of the account's worth.
pub const TELL_EVERY: u64 = 1_000_000_000;

/// Everything about one instrument.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Its row.
    pub instrument: Instrument,
    /// Our position.
    pub position: Position,
    /// Last mark price; zero before the first.
    pub mark: Px,
    venue: Option<VenuePosition>,
    /// Sequence of our last fill when the venue's account was last begun to be read.
    seq_at_reading: u64,
    deep: Book,
    top: Book,
    deep_seq: u64,
    top_seq: u64,
    trusted: bool,
}

impl Seat {
    fn new(instrument: Instrument) -> Self {
        Self {
            instrument,
            position: Position::default(),
            mark: Px::ZERO,
            venue: None,
            seq_at_reading: 0,
            deep: Book::new(DEEP_LEVELS),
            top: Book::new(2),
            deep_seq: 0,
            top_seq: 0,
            trusted: false,
        }
    }

    /// Best bid and ask; `None` while the book cannot be trusted.
    #[must_use]
    pub fn touch(&self) -> Option<Touch> {
        if !self.trusted {
            return None;
        }
        if self.top_seq > self.deep_seq { self.top.touch().or_else(|| self.deep.touch()) } else { self.deep.touch() }
    }

    /// The venue's last picture of the position: margins and liquidation price are its word alone.
    #[must_use]
    pub const fn picture(&self) -> Option<&VenuePosition> {
        self.venue.as_ref()
    }

    /// The deep book.
    #[must_use]
    pub const fn book(&self) -> &Book {
        &self.deep
    }

    fn apply(&mut self, update: &BookUpdate) {
        let (book, seq) = match update.depth {
            1 => (&mut self.top, &mut self.top_seq),
            _ => (&mut self.deep, &mut self.deep_seq),
        };
        *seq = update.origin.seq;
        if book.apply(update).is_err() {
            self.trusted = false;
        }
    }
}

/// The whole desk.
#[derive(Clone, Debug)]
pub struct Desk {
    /// Our orders.
    pub orders: Orders,
    /// Our account of the cash.
    pub equity: Equity,
    /// Its worth as last journaled.
    told: Worth,
    seats: Vec<Seat>,
}

impl Desk {
    /// One seat an instrument; ids of new orders carry `run`.
    #[must_use]
    pub fn new(instruments: &Instruments, run: u32) -> Self {
        let seats = instruments.rows().iter().copied().map(Seat::new).collect();
        Self { orders: Orders::new(run), equity: Equity::default(), told: Worth::default(), seats }
    }

    /// One more seat, at the end of the table: for those who read journals of other tables.
    pub fn seat_one_more(&mut self, instrument: Instrument) {
        self.seats.push(Seat::new(instrument));
    }

    /// The conversations of a run are over: pictures of the venue it had say nothing to the next one.
    pub fn forget_pictures(&mut self) {
        for seat in &mut self.seats {
            (seat.venue, seat.seq_at_reading) = (None, seat.position.seq);
        }
    }

    /// Takes in a fill not counted before; returns the position after it. `None` when a sum does not fit, or for an
    /// instrument nobody knows: nothing was changed.
    pub fn filled(&mut self, fill: &Fill) -> Option<Position> {
        let seat = self.seats.get_mut(fill.instrument.index())?;
        let before = seat.position.realised;
        let after = seat.position.after(fill)?;
        let ours = after.realised.raw().checked_sub(before.raw())?;
        seat.position = after;
        self.equity.filled(fill, fill.gain(ours));
        Some(after)
    }

    /// The account's worth at the marks, when it is news: once a second at most, and only if it moved.
    pub fn worth(&mut self, now: Mono) -> Option<Worth> {
        let open = |seat: &Seat| match seat.mark.is_zero() {
            true => Some(0),
            false => seat.position.unrealised(seat.mark).map(|profit| i128::from(profit.raw())),
        };
        let unrealised = self.seats.iter().map(open).sum::<Option<i128>>()?;
        let worth = self.equity.value(now, unrealised)?;
        let same = Worth { at: self.told.at, ..worth } == self.told;
        if same || (now.since(self.told.at) < TELL_EVERY && self.told.at != Mono::default()) {
            return None;
        }
        self.told = worth;
        Some(worth)
    }

    /// The account's worth as last journaled; all zeros before the first time.
    #[must_use]
    pub const fn last_worth(&self) -> &Worth {
        &self.told
    }

    /// A seat; `None` for an id nobody issued.
    #[must_use]
    pub fn seat(&self, id: InstrumentId) -> Option<&Seat> {
        self.seats.get(id.index())
    }

    /// A seat to write to.
    pub fn seat_mut(&mut self, id: InstrumentId) -> Option<&mut Seat> {
        self.seats.get_mut(id.index())
    }

    /// All seats, by instrument id.
    #[must_use]
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// Takes in what the venue says of positions: pictures to be held against ours by [`Self::judge`]. Its full account
    /// leaves flat positions out, so a position it does not name is flat.
    pub fn exec(&mut self, event: &ExecEvent) {
        match event {
            ExecEvent::Position(venue) => {
                if let Some(seat) = self.seat_mut(venue.instrument)
                    && seat.venue.is_none_or(|have| venue.seq >= have.seq)
                {
                    seat.venue = Some(*venue);
                }
            }
            ExecEvent::Wallet(wallet) => self.equity.wallet(wallet),
            ExecEvent::Reconciliation(mark) if mark.complete.is_set() => {
                for seat in &mut self.seats {
                    let (instrument, seq, recv) = (seat.instrument.id, seat.seq_at_reading, mark.at);
                    let flat = VenuePosition { instrument, seq, recv, ..VenuePosition::default() };
                    seat.venue = seat.venue.or(Some(flat));
                }
            }
            ExecEvent::Reconciliation(_) => {
                for seat in &mut self.seats {
                    (seat.venue, seat.seq_at_reading) = (None, seat.position.seq);
                }
            }
            _ => {}
        }
    }

    /// The next position that is not the venue's and now is, with the difference to journal. Call until `None`.
    pub fn judge(&mut self, now: Mono) -> Option<Difference> {
        let position = self.seats.iter_mut().find_map(|seat| {
            let venue = seat.venue?;
            match seat.position.judge(&venue, now) {
                Verdict::Same | Verdict::Wait => None,
                verdict => {
                    let (position, difference) = seat.position.taken_from(&venue, verdict, now);
                    seat.position = position;
                    Some(difference)
                }
            }
        });
        position.or_else(|| self.equity.judge(now))
    }

    /// Takes in a market fact; returns the instrument worth a thought, if its picture is now complete.
    pub fn market(&mut self, event: &MarketEvent) -> Option<InstrumentId> {
        let id = event.instrument()?;
        let seat = self.seat_mut(id)?;
        match event {
            MarketEvent::Book(update) => {
                seat.apply(update);
                update.has(BookUpdate::LAST).then_some(id)
            }
            MarketEvent::Ticker(ticker) => {
                seat.mark = ticker.mark;
                None
            }
            MarketEvent::Health(health) => {
                seat.trusted = health.state == HealthState::Synced;
                Some(id)
            }
            _ => None,
        }
    }
}

/// The desk at one moment, for those who only read.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// When.
    pub now: Now,
    /// What is known.
    pub desk: &'a Desk,
}

impl View<'_> {
    /// Our order resting or on its way on one side of one instrument.
    #[must_use]
    pub fn working(&self, id: InstrumentId, side: Side) -> Option<&Working> {
        self.desk.orders.open().iter().find(|row| row.order.instrument == id && row.order.side == side)
    }
}

//! What the engine knows: instruments, books, positions, orders. Strategy and sizing read it; only the engine writes it.
//!
//! Each instrument has two books: the deep one, and the one-level stream that is pushed more often. The touch is taken
//! from whichever saw the later cross sequence. A book is trusted from the feed's `Synced` until its next `Stale`.

use crate::book::{Book, Touch};
use crate::event::{BookUpdate, HealthState, MarketEvent, Side};
use crate::ids::InstrumentId;
use crate::instrument::{Instrument, Instruments};
use crate::orders::{Orders, Working};
use crate::position::Position;
use crate::units::{Now, Px};

/// Levels a side of the deep book; more than the venue's 200-level stream ever holds at once.
pub const DEEP_LEVELS: usize = 512;

/// Everything about one instrument.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Its row.
    pub instrument: Instrument,
    /// Our position.
    pub position: Position,
    /// Last mark price; zero before the first.
    pub mark: Px,
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
    seats: Vec<Seat>,
}

impl Desk {
    /// One seat an instrument; ids of new orders carry `run`.
    #[must_use]
    pub fn new(instruments: &Instruments, run: u32) -> Self {
        Self { orders: Orders::new(run), seats: instruments.rows().iter().copied().map(Seat::new).collect() }
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

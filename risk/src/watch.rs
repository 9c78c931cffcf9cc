//! What the gate last saw of the market and of the venue.
//!
//! In: market and exec facts. Out: ages, marks, bands, whether the links are ready and the books trusted. Never: a value
//! of its own: what was not said is missing, and missing refuses.

use crate::brake::State;
use crate::trips::{Cause, Ladder, Level, Watch};
use keel_core::event::{Channel, ExecEvent, HealthState, LinkState, MarketEvent, VenueStatus};
use keel_core::units::{Mono, Px, Qty, Wall};

/// One instrument's market.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Market {
    /// When its last complete book message came in; `None` before the first.
    pub(crate) book: Option<Mono>,
    /// The feed trusts its book.
    pub(crate) synced: bool,
    /// Mark price; zero before the first.
    pub(crate) mark: Px,
    /// Index price; zero before the first.
    pub(crate) index: Px,
    /// When the mark came in.
    pub(crate) marked: Mono,
    /// When funding is next exchanged; zero when unknown.
    pub(crate) funding: Wall,
    /// Highest price a buy may carry; zero when unknown.
    pub(crate) buy_max: Px,
    /// Lowest price a sell may carry; zero when unknown.
    pub(crate) sell_min: Px,
    /// The venue's word for our position; `None` before the first, or when the stream broke since.
    pub(crate) theirs: Option<Qty>,
    /// Since when it differs from ours.
    pub(crate) differs: Option<Mono>,
    /// How long its book has been silent, over time.
    stale: Watch,
    /// The look before this one found it silent for the same level: one late look is noise.
    doubted: Level,
}

impl Market {
    /// Takes in a market fact about this instrument. True when the mark moved.
    pub(crate) fn see(&mut self, event: &MarketEvent) -> bool {
        match event {
            MarketEvent::Book(update) if update.has(keel_core::event::BookUpdate::LAST) => {
                self.book = Some(update.origin.recv);
            }
            MarketEvent::Ticker(ticker) => {
                (self.index, self.funding) = (ticker.index, ticker.next_funding);
                if ticker.mark > Px::ZERO {
                    let moved = self.mark != ticker.mark;
                    (self.mark, self.marked) = (ticker.mark, ticker.origin.recv);
                    return moved;
                }
            }
            MarketEvent::Health(health) => self.synced = health.state == HealthState::Synced,
            MarketEvent::PriceLimit(band) => (self.buy_max, self.sell_min) = (band.buy_max, band.sell_min),
            _ => {}
        }
        false
    }
}

/// Nanoseconds the venue's word for a position may differ from ours: fills and positions come on streams of their own.
pub(crate) const MISMATCH: u64 = 3_000_000_000;

impl Market {
    /// Compares the venue's word with our own. True when they differ for too long.
    pub(crate) fn compare(&mut self, now: Mono, ours: Qty) -> bool {
        match self.theirs {
            Some(theirs) if theirs != ours => now.since(*self.differs.get_or_insert(now)) >= MISMATCH,
            _ => {
                self.differs = None;
                false
            }
        }
    }

    /// What the silence of this book asks of the brake: its instrument alone, and as long as it lasts. Two looks in a row must
    /// agree before it gets worse. A book that never came is refused by its own check.
    pub(crate) fn staleness(&mut self, now: Mono, ladder: &Ladder) -> State {
        let age = self.book.map(|at| i64::try_from(now.since(at) / millis(1)).unwrap_or(i64::MAX));
        let seen = age.map_or(Level::Calm, |age| ladder.level(age));
        let agreed = seen.min(core::mem::replace(&mut self.doubted, seen));
        // what this look alone says may end a level, never begin one
        let measured = age.map(|age| age.min(ladder.highest(agreed.max(self.stale.level()))));
        self.stale.look(now, Cause::Staleness, ladder, measured).state()
    }
}

/// The venue as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Venue {
    links: [LinkState; 4],
    /// Orders and positions were compared since the private stream last broke.
    pub(crate) reconciled: bool,
    /// Some position differs from the venue's for too long.
    pub(crate) mismatch: bool,
    maintenance: bool,
}

impl Venue {
    /// The private stream is live, and orders have a way out.
    #[must_use]
    pub(crate) fn is_ready(&self) -> bool {
        let ready = |channel| self.links[slot(channel)] == LinkState::Ready;
        ready(Channel::Private) && (ready(Channel::Trade) || ready(Channel::Rest))
    }

    /// Derivatives are in maintenance.
    #[must_use]
    pub(crate) const fn in_maintenance(&self) -> bool {
        self.maintenance
    }

    /// Takes in what the venue announced to everyone.
    pub(crate) fn announce(&mut self, status: &VenueStatus) {
        if status.derivatives.is_set() {
            self.maintenance = status.ongoing.is_set();
        }
    }

    /// Takes in what the venue told us.
    pub(crate) fn hear(&mut self, event: &ExecEvent) {
        match event {
            ExecEvent::Link(link) => {
                self.links[slot(link.channel)] = link.state;
                if link.channel == Channel::Private && link.state != LinkState::Ready {
                    self.reconciled = false;
                }
            }
            ExecEvent::Reconciliation(bounds) => {
                self.reconciled = bounds.complete.is_set() || (self.reconciled && bounds.periodic.is_set());
            }
            _ => {}
        }
    }
}

const fn slot(channel: Channel) -> usize {
    channel as usize - 1
}

/// Milliseconds to nanoseconds.
#[must_use]
pub(crate) const fn millis(millis: u64) -> u64 {
    millis.saturating_mul(1_000_000)
}

//! Two connections, one feed: whatever arrives first is used, whatever arrives second is dropped.
//!
//! In: the inputs of two [`Session`]s with the same configuration. Out: one stream of facts, as from one session. Never:
//! an update twice, an update out of sequence, blindness while one of the two still sees.
//!
//! ```text
//!   session 0 --u 7, 8, 9 ...--+
//!                              +--> u = last + 1: pass it on          7 8 9 10 11 ...
//!   session 1 --u 7, 8, ...----+    u <= last: drop it
//!                                   further ahead, restarted, or after a loss: pass on that session's whole book
//! ```
//!
//! Each session judges its own stream; here is only decided whose message moves the common book. Trades, tickers and the
//! rest are taken by push time: from the session that said it first, or that spoke last.

use crate::decode::{BookHead, parts};
use crate::session::{Input, Output, Session};
use keel_core::event::{BookUpdate, Health, HealthReason, HealthState, Level, MarketEvent, Origin, Side};
use keel_core::ids::{InstrumentId, MAX_INSTRUMENTS};
use keel_core::units::{Mono, Now, Wall};

/// A session whose messages were all dropped for so long, while nobody else moved the common book, takes it over: however
/// that came about, a frozen book is worse than one that steps back.
pub const STUCK: u64 = 200_000_000;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// One.
    A = 0,
    /// The other.
    B = 1,
}

impl Lane {
    const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Who spoke last on a topic, and when the venue pushed it.
#[derive(Clone, Copy, Debug, Default)]
struct Spoke {
    lane: Option<Lane>,
    ts: Wall,
}

impl Spoke {
    /// Is this news?
    fn is_news(&mut self, lane: Lane, ts: Wall) -> bool {
        let news = ts > self.ts || self.lane.is_none_or(|last| last == lane);
        if news {
            *self = Self { lane: Some(lane), ts: self.ts.max(ts) };
        }
        news
    }
}

/// The common state of one instrument.
#[derive(Clone, Copy, Debug, Default)]
struct Common {
    u: u64,
    seq: u64,
    /// First message dropped since the common book moved.
    dropping: Option<Mono>,
    /// The engine holds a whole book in sequence.
    whole: bool,
    lanes: [HealthState; 2],
    told: (HealthState, HealthReason),
    untold: bool,
    touch_seq: u64,
    trades: Spoke,
    ticker: Spoke,
    rest: Spoke,
    /// What happens to the parts of the message under way.
    passing: bool,
}

impl Common {
    const fn sees(&self, lane: Lane) -> bool {
        matches!(self.lanes[lane as usize], HealthState::Synced)
    }
}

/// Decides, between the sessions and the engine.
#[derive(Debug)]
struct Arbiter {
    depth: u16,
    commons: Box<[Common]>,
    /// Instruments whose common book is to be replaced by the speaking session's.
    adopt: Vec<(InstrumentId, Origin)>,
    levels: Vec<Level>,
    dropped: u64,
    adopted: u64,
}

/// The two sessions and their arbiter.
#[derive(Debug)]
pub struct Pair {
    lanes: [Session; 2],
    arbiter: Arbiter,
}

impl Pair {
    /// Two sessions of the same configuration but for their seeds. All memory is taken here.
    #[must_use]
    pub fn new(a: Session, b: Session) -> Self {
        let depth = a.config().topics.depth;
        let arbiter = Arbiter {
            depth,
            commons: vec![Common::default(); MAX_INSTRUMENTS].into_boxed_slice(),
            adopt: Vec::with_capacity(MAX_INSTRUMENTS),
            levels: Vec::with_capacity(2 * usize::from(depth)),
            dropped: 0,
            adopted: 0,
        };
        Self { lanes: [a, b], arbiter }
    }

    /// Takes one input of one connection. `sink` returns `false` when the market ring has no room.
    ///
    /// # Panics
    /// When [`Self::poll`] of that lane was not drained before.
    pub fn handle(&mut self, now: Now, lane: Lane, input: Input<'_>, sink: &mut impl FnMut(MarketEvent) -> bool) {
        let Self { lanes, arbiter } = self;
        lanes[lane as usize].handle(now, input, &mut |event| {
            arbiter.on_event(now, lane, event, sink);
            true
        });
        arbiter.after(now, lane, lanes, sink);
    }

    /// The next thing to do for a connection.
    pub fn poll(&mut self, lane: Lane) -> Option<Output<'_>> {
        self.lanes[lane as usize].poll()
    }

    /// When a connection wants [`Input::Timer`].
    #[must_use]
    pub const fn deadline(&self, lane: Lane) -> Option<Mono> {
        self.lanes[lane as usize].deadline()
    }

    /// See [`Session::rehearse`].
    pub fn rehearse(&mut self, frame: &[u8]) {
        self.lanes[0].rehearse(frame);
    }

    /// One of the sessions, for its counters.
    #[must_use]
    pub const fn session(&self, lane: Lane) -> &Session {
        &self.lanes[lane as usize]
    }

    /// How far the venue's clock is ahead of ours: see [`Session::set_clock_offset`].
    pub const fn set_clock_offset(&mut self, nanos: i64) {
        self.lanes[0].set_clock_offset(nanos);
        self.lanes[1].set_clock_offset(nanos);
    }

    /// Facts dropped because the other connection was first, and books replaced whole.
    #[must_use]
    pub const fn counts(&self) -> (u64, u64) {
        (self.arbiter.dropped, self.arbiter.adopted)
    }
}

impl Arbiter {
    fn on_event(&mut self, now: Now, lane: Lane, event: MarketEvent, sink: &mut impl FnMut(MarketEvent) -> bool) {
        let Some(id) = event.instrument() else {
            sink(event);
            return;
        };
        let Some(common) = self.commons.get_mut(id.index()) else { return };
        let pass = match &event {
            MarketEvent::Book(part) if part.depth == self.depth => {
                return self.on_book(now, part, sink);
            }
            MarketEvent::Book(part) => {
                if part.has(BookUpdate::FIRST) {
                    common.passing = part.origin.seq > common.touch_seq;
                    common.touch_seq = common.touch_seq.max(part.origin.seq);
                }
                common.passing
            }
            MarketEvent::Health(health) => {
                return self.on_health(now, lane, health, sink);
            }
            MarketEvent::Trade(trade) => common.trades.is_news(lane, trade.origin.ts),
            MarketEvent::Ticker(ticker) => common.ticker.is_news(lane, ticker.origin.ts),
            other => common.rest.is_news(lane, other.origin().ts),
        };
        if !pass {
            self.dropped += 1;
        } else if !sink(event) {
            self.lost(now, id, sink);
        }
    }

    fn on_book(&mut self, now: Now, part: &BookUpdate, sink: &mut impl FnMut(MarketEvent) -> bool) {
        let id = part.instrument;
        let common = &mut self.commons[id.index()];
        if part.has(BookUpdate::FIRST) {
            let snapshot = part.has(BookUpdate::SNAPSHOT);
            let next = common.whole && !snapshot && part.u == common.u.wrapping_add(1);
            let stuck = common.dropping.is_some_and(|since| now.mono.since(since) > STUCK);
            let ahead = part.u > common.u && part.origin.seq > common.seq;
            common.passing = next;
            if next {
                (common.u, common.seq, common.dropping) = (part.u, part.origin.seq, None);
            } else if (!common.whole && (snapshot || part.u >= common.u)) || ahead || stuck || (snapshot && part.u == 1)
            {
                self.adopt.push((id, part.origin));
            } else {
                common.dropping.get_or_insert(now.mono);
                self.dropped += 1;
            }
        }
        let common = &self.commons[id.index()];
        if common.passing && !sink(MarketEvent::Book(*part)) {
            self.lost(now, id, sink);
        }
    }

    fn on_health(&mut self, now: Now, lane: Lane, health: &Health, sink: &mut impl FnMut(MarketEvent) -> bool) {
        let common = &mut self.commons[health.instrument.index()];
        common.lanes[lane as usize] = health.state;
        if health.state == HealthState::Synced {
            // The book itself comes first; `after` tells.
            if common.whole && common.told.0 != HealthState::Synced {
                self.tell(now, health.instrument, HealthState::Synced, health.reason, sink);
            }
        } else if !common.sees(lane.other()) {
            common.whole = false;
            self.tell(now, health.instrument, health.state, health.reason, sink);
        }
    }

    /// The ring lost something: the engine's book has a hole, the session's has not.
    #[cold]
    fn lost(&mut self, now: Now, id: InstrumentId, sink: &mut impl FnMut(MarketEvent) -> bool) {
        let common = &mut self.commons[id.index()];
        common.whole = false;
        common.passing = false;
        self.tell(now, id, HealthState::Stale, HealthReason::RingFull, sink);
    }

    /// What had to wait until the session's book was complete.
    fn after(&mut self, now: Now, lane: Lane, lanes: &[Session; 2], sink: &mut impl FnMut(MarketEvent) -> bool) {
        while let Some((id, origin)) = self.adopt.pop() {
            let common = &mut self.commons[id.index()];
            let Some((u, book)) = lanes[lane as usize].book(id) else { continue };
            self.levels.clear();
            self.levels.extend(book.levels(Side::Buy));
            let bids = self.levels.len();
            self.levels.extend(book.levels(Side::Sell));
            let short = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
            let head = BookHead {
                instrument: id,
                depth: self.depth,
                snapshot: true,
                u,
                seq: origin.seq,
                ts: origin.ts,
                cts: origin.cts,
                bids: short(bids),
                asks: short(self.levels.len() - bids),
            };
            let mut whole = true;
            parts(&head, &self.levels, origin, &mut |part| whole = whole && sink(MarketEvent::Book(part)));
            (common.u, common.seq, common.dropping, common.whole) = (u, origin.seq, None, whole);
            self.adopted += 1;
            if !whole {
                self.lost(now, id, sink);
            } else if common.sees(lane) {
                self.tell(now, id, HealthState::Synced, HealthReason::Snapshot, sink);
            }
        }
        for at in 0..self.commons.len() {
            if self.commons[at].untold {
                let (state, reason) = self.commons[at].told;
                let id = InstrumentId(u16::try_from(at).unwrap_or(u16::MAX));
                self.deliver(now, id, state, reason, sink);
            }
        }
    }

    fn tell(
        &mut self,
        now: Now,
        id: InstrumentId,
        state: HealthState,
        reason: HealthReason,
        sink: &mut impl FnMut(MarketEvent) -> bool,
    ) {
        let told = self.commons[id.index()].told;
        if told == (state, reason) || (told.0 == state && state == HealthState::Synced) {
            return;
        }
        self.commons[id.index()].told = (state, reason);
        self.deliver(now, id, state, reason, sink);
    }

    fn deliver(
        &mut self,
        now: Now,
        instrument: InstrumentId,
        state: HealthState,
        reason: HealthReason,
        sink: &mut impl FnMut(MarketEvent) -> bool,
    ) {
        let common = &mut self.commons[instrument.index()];
        let origin = Origin { recv: now.mono, seq: common.seq, ..Origin::default() };
        let health = Health { origin, u: common.u, instrument, state, reason, pad: [0; 4] };
        common.untold = !sink(MarketEvent::Health(health));
    }
}

#[cfg(test)]
mod tests;

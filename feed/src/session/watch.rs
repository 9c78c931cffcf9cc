//! One instrument under watch: its streams, the verdict last told to the engine, and when to ask again.

use super::Config;
use super::topics::Topics;
use crate::decode::BookHead;
use crate::depth::{State, Step, Stream};
use keel_core::book::Book;
use keel_core::event::{Health, HealthReason, HealthState, Level, MarketEvent, Origin, Ticker};
use keel_core::ids::InstrumentId;
use keel_core::instrument::Instrument;
use keel_core::units::{Mono, Now, Wall};

/// A book that stood so long before its next fault may ask for a snapshot at once again.
const CALM: u64 = 60_000_000_000;

/// How an instrument's book stands, for metrics and the status page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whose.
    pub instrument: InstrumentId,
    /// Verdict last told.
    pub state: HealthState,
    /// Its reason.
    pub reason: HealthReason,
    /// Nanoseconds since the last news, by the monotonic clock; `None` before the first.
    pub age: Option<u64>,
    /// Nanoseconds the last news is behind the wall clock, by the venue's; `None` before the first.
    pub venue_age: Option<u64>,
    /// Times the book stopped being trusted.
    pub faults: u64,
    /// Repetitions and racing deltas.
    pub ignored: u64,
}

impl Status {
    /// May it be traded on?
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.state == HealthState::Synced
    }
}

#[derive(Clone, Debug)]
pub(super) struct Watch {
    instrument: InstrumentId,
    book: Stream,
    touch: Option<Stream>,
    state: HealthState,
    reason: HealthReason,
    undelivered: bool,
    last_recv: Option<Mono>,
    last_ts: Wall,
    retry_at: Option<Mono>,
    retries: u32,
    last_fault: Option<Mono>,
}

impl Watch {
    pub(super) fn new(instrument: &Instrument, topics: &Topics) -> Self {
        Self {
            instrument: instrument.id,
            book: Stream::new(instrument, topics.depth),
            touch: (topics.touch && topics.depth != 1).then(|| Stream::new(instrument, 1)),
            state: HealthState::Waiting,
            reason: HealthReason::None,
            undelivered: false,
            last_recv: None,
            last_ts: Wall::default(),
            retry_at: None,
            retries: 0,
            last_fault: None,
        }
    }

    pub(super) const fn instrument(&self) -> InstrumentId {
        self.instrument
    }

    pub(super) fn book(&self) -> Option<(u64, &Book)> {
        let book = self.book.book();
        (self.book.state() == State::Synced).then(|| (book.update_id(), book))
    }

    pub(super) const fn depth(&self) -> u16 {
        self.book.depth()
    }

    /// Judges a message of either stream; `None` for a depth nobody asked for.
    #[inline]
    pub(super) fn on_book(&mut self, now: Now, head: &mut BookHead, bids: &[Level], asks: &[Level]) -> Option<Step> {
        if head.depth == self.book.depth() {
            let step = self.book.on_message(head, bids, asks);
            if self.book.state() == State::Synced {
                self.last_recv = Some(now.mono);
                self.last_ts = head.ts;
                if head.snapshot {
                    self.retry_at = None;
                }
            }
            return Some(step);
        }
        let touch = self.touch.as_mut().filter(|touch| touch.depth() == head.depth)?;
        let step = touch.on_message(head, bids, asks);
        if step == Step::Ignore && self.book.touch().is_some() && self.book.touch() == touch.touch() {
            self.last_recv = Some(now.mono);
        }
        Some(step)
    }

    /// At one cross sequence both streams must show one touch.
    pub(super) fn depths_disagree(&self) -> bool {
        self.touch.as_ref().is_some_and(|touch| {
            touch.seq() == self.book.seq()
                && matches!((touch.touch(), self.book.touch()), (Some(one), Some(other)) if one != other)
        })
    }

    /// Is the middle of the book further from the mark price than `bps` basis points?
    pub(super) fn disagrees_with(&self, ticker: &Ticker, bps: i64) -> bool {
        let Some(touch) = self.book.touch().filter(|_| bps > 0 && !ticker.mark.is_zero()) else { return false };
        touch.mid().distance_bps(ticker.mark).is_some_and(|distance| distance > bps)
    }

    pub(super) fn distrust(&mut self, why: HealthReason) -> Step {
        self.book.distrust(why)
    }

    pub(super) fn disconnected(&mut self) {
        self.book.reset();
        if let Some(touch) = &mut self.touch {
            touch.reset();
        }
        self.retry_at = None;
        self.retries = 0;
    }

    /// A snapshot was asked for.
    pub(super) const fn asked(&mut self, now: Mono, within: u64) {
        self.retry_at = Some(now.after(within));
    }

    /// After a fault: ask at once, unless the last fault was a moment ago; then wait, longer each time.
    pub(super) fn resync_due(&mut self, now: Mono, within: u64) -> bool {
        if self.last_fault.is_none_or(|last| now.since(last) >= CALM) {
            self.retries = 0;
        }
        self.last_fault = Some(now);
        self.retry_at = Some(now.after(self.patience(within)));
        self.retries += 1;
        self.retries == 1
    }

    /// The snapshot asked for did not come.
    pub(super) fn retry_due(&mut self, now: Mono, within: u64) -> bool {
        if self.book.state() == State::Synced || self.retry_at.is_none_or(|at| now < at) {
            return false;
        }
        self.retries += 1;
        self.retry_at = Some(now.after(self.patience(within)));
        true
    }

    fn patience(&self, within: u64) -> u64 {
        within.saturating_mul(1 << self.retries.min(16)).min(Config::RETRY_MAX.max(within))
    }

    pub(super) fn is_silent(&self, now: Mono, after: u64) -> bool {
        self.book.state() == State::Synced && self.last_recv.is_some_and(|last| now.since(last) >= after)
    }

    /// Tells the engine a verdict that is new.
    #[inline]
    pub(super) fn mark(
        &mut self,
        now: Now,
        state: HealthState,
        reason: HealthReason,
        sink: &mut impl FnMut(MarketEvent) -> bool,
    ) {
        let same_stale = state == HealthState::Stale && reason == self.reason;
        let same_synced = state == HealthState::Synced && reason != HealthReason::Restart;
        if state == self.state && (same_stale || same_synced) && !self.undelivered {
            return;
        }
        self.state = state;
        self.reason = reason;
        self.undelivered = true;
        self.deliver(now, sink);
    }

    /// A verdict the ring had no room for is offered until it has.
    pub(super) fn deliver(&mut self, now: Now, sink: &mut impl FnMut(MarketEvent) -> bool) {
        if !self.undelivered {
            return;
        }
        let health = Health {
            origin: Origin { recv: now.mono, ts: self.last_ts, seq: self.book.seq(), ..Origin::default() },
            u: self.book.book().update_id(),
            instrument: self.instrument,
            state: self.state,
            reason: self.reason,
            pad: [0; 4],
        };
        self.undelivered = !sink(MarketEvent::Health(health));
    }

    pub(super) fn status(&self, now: Now) -> Status {
        Status {
            instrument: self.instrument,
            state: self.state,
            reason: self.reason,
            age: self.last_recv.map(|last| now.mono.since(last)),
            venue_age: self.last_recv.map(|_| now.wall.since(self.last_ts)),
            faults: self.book.faults(),
            ignored: self.book.ignored(),
        }
    }
}

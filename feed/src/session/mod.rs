//! One public connection, without the connection.
//!
//! In: that it opened, its frames, that it closed, the time. Out: market facts and health verdicts to the sink; frames
//! to send, when to connect, when to give up. Never: a clock, a socket, an allocation while the venue speaks its known
//! shapes, a fact of an order book that is not in sequence.
//!
//! ```text
//!            Connect{after}                      Connected              snapshot
//!   [down] ------------------> [connecting] ------------------> [up] -----------> each book Synced
//!     ^                                                          |   gap, crossed, silent, late, ring full ...
//!     +--------------------- Closed, no pong --------------------+   -> Stale(reason), unsubscribe + subscribe
//! ```
//!
//! The driver drains [`Session::poll`] to `None` before the next [`Session::handle`], and calls `handle` with
//! [`Input::Timer`] when [`Session::deadline`] has passed. A book's [`Health`] is `Synced` only after its whole snapshot
//! was handed over, and `Stale` at the first doubt.

pub(crate) mod reconnect;
mod topics;
mod watch;

#[cfg(test)]
mod tests;

use crate::decode::{AckOp, AckReason, Arrival, BookHead, DecodeError, Decoder, Message};
use crate::depth::Step;
use crate::topic::{Topic, interval_name};
use keel_core::book::Book;
use keel_core::event::{HealthReason, HealthState, MarketEvent, Ticker};
use keel_core::ids::{InstrumentId, MAX_INSTRUMENTS};
use keel_core::instrument::Instruments;
use keel_core::units::{Mono, Now, Wall};
use reconnect::Reconnect;
pub use reconnect::{BUDGET, WINDOW};
use std::collections::VecDeque;
use topics::{Ask, Frame, Kind, argument_length};
pub use topics::{MAX_ARGS, Topics};
pub use watch::Status;
use watch::Watch;

const SECOND: u64 = 1_000_000_000;
/// Frames waiting to be polled: every instrument asked for topic by topic, with room. One more is dropped and counted;
/// the snapshot timeout asks again.
const MAX_OUTBOX: usize = MAX_INSTRUMENTS * 8;

/// How a session watches its connection. Times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// What to subscribe to.
    pub topics: Topics,
    /// Between heartbeats. The venue wants one every 20 s.
    pub ping_every: u64,
    /// Nothing at all received for so long after a heartbeat: the connection is dead.
    pub pong_within: u64,
    /// A book without news for so long is stale.
    pub silent_after: u64,
    /// A book whose venue time lags the wall clock by more is stale; zero never.
    pub late_after: u64,
    /// No snapshot for so long after asking: ask again, doubling up to [`Self::RETRY_MAX`].
    pub snapshot_within: u64,
    /// Book and ticker further apart than this many basis points is a fault; zero never.
    pub disagree_bps: i64,
    /// Seed of the jitter.
    pub seed: u64,
}

impl Config {
    /// Longest wait between two requests for one snapshot.
    pub const RETRY_MAX: u64 = 60 * SECOND;
}

impl Default for Config {
    fn default() -> Self {
        Self {
            topics: Topics::default(),
            ping_every: 20 * SECOND,
            pong_within: 5 * SECOND,
            silent_after: 5 * SECOND,
            late_after: 2 * SECOND,
            snapshot_within: 5 * SECOND,
            disagree_bps: 500,
            seed: 0,
        }
    }
}

/// Why a session cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// No instrument to subscribe to.
    NoInstruments,
    /// More than [`MAX_ARGS`] characters of topics: split the instruments over two connections.
    TooManyTopics,
    /// A depth the venue does not stream.
    Depth,
    /// A candle interval the venue does not have.
    Interval,
    /// A time of zero that must not be.
    Zero,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// The connection stands.
    Connected,
    /// A text frame came.
    Frame {
        /// Its bytes.
        bytes: &'a [u8],
        /// When, on the stopwatch.
        ticks: u64,
    },
    /// The connection ended, or could not be opened.
    Closed,
    /// Nothing, but the deadline passed.
    Timer,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output<'a> {
    /// Send this text frame.
    Send(&'a [u8]),
    /// Close the connection; [`Input::Closed`] answers.
    Close,
    /// Open a connection after so many nanoseconds.
    Connect {
        /// Nanoseconds to wait.
        after_nanos: u64,
    },
}

/// Counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames received.
    pub frames: u64,
    /// Frames refused, by [`DecodeError`].
    pub refused: [u64; DecodeError::ALL.len()],
    /// Well-formed frames about symbols or topics nobody asked for.
    pub strangers: u64,
    /// Books that stopped being trusted, whatever the reason.
    pub faults: u64,
    /// Snapshots asked for again.
    pub resyncs: u64,
    /// Facts the market ring had no room for.
    pub ring_full: u64,
    /// Subscriptions the venue refused.
    pub refusals: u64,
    /// Connections opened.
    pub connects: u64,
    /// Frames dropped because the outbox was full.
    pub outbox_full: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Down,
    Up { ping_at: Mono, unanswered: Option<Mono>, closing: bool },
}

#[derive(Clone, Copy, Debug)]
enum Queued {
    Ask(Ask),
    Close,
    Connect { after_nanos: u64 },
}

/// The machine.
#[derive(Debug)]
pub struct Session {
    config: Config,
    instruments: Instruments,
    decoder: Decoder,
    watches: Vec<Watch>,
    link: Link,
    reconnect: Reconnect,
    outbox: VecDeque<Queued>,
    frame: Frame,
    counters: Counters,
    next_watch: Mono,
    clock_offset: i64,
    started: bool,
}

impl Session {
    /// A session for these instruments; the first [`Self::poll`] after the first [`Self::handle`] asks to connect.
    pub fn new(config: Config, instruments: &Instruments) -> Result<Self, ConfigError> {
        let topics = &config.topics;
        let times = [config.ping_every, config.pong_within, config.silent_after, config.snapshot_within];
        let rules = [
            (!instruments.rows().is_empty(), ConfigError::NoInstruments),
            ([1, 50, 200, 1000].contains(&topics.depth), ConfigError::Depth),
            (topics.bars == 0 || interval_name(topics.bars).is_some(), ConfigError::Interval),
            (times.into_iter().all(|time| time > 0), ConfigError::Zero),
            (argument_length(topics, instruments) <= MAX_ARGS, ConfigError::TooManyTopics),
        ];
        if let Some((_, why)) = rules.into_iter().find(|(holds, _)| !holds) {
            return Err(why);
        }
        Ok(Self {
            watches: instruments.rows().iter().map(|row| Watch::new(row, topics)).collect(),
            decoder: Decoder::new(instruments),
            instruments: instruments.clone(),
            link: Link::Down,
            reconnect: Reconnect::new(config.seed),
            outbox: VecDeque::with_capacity(MAX_OUTBOX),
            frame: Frame::new(),
            counters: Counters::default(),
            next_watch: Mono::default(),
            clock_offset: 0,
            started: false,
            config,
        })
    }

    /// Takes one input. `sink` returns `false` when the market ring has no room.
    ///
    /// # Panics
    /// When [`Self::poll`] was not drained before.
    pub fn handle(&mut self, now: Now, input: Input<'_>, sink: &mut impl FnMut(MarketEvent) -> bool) {
        assert!(self.outbox.is_empty(), "drain poll before handle");
        if !self.started {
            self.started = true;
            self.next_watch = now.mono.after(self.watch_every());
            if !matches!(input, Input::Connected) {
                self.reconnect.first(now.mono);
                self.outbox.push_back(Queued::Connect { after_nanos: 0 });
            }
        }
        match input {
            Input::Connected => self.on_connected(now),
            Input::Frame { bytes, ticks } => self.on_frame(now, bytes, ticks, sink),
            Input::Closed => self.on_closed(now, sink),
            Input::Timer => {}
        }
        if now.mono >= self.next_watch {
            self.watch(now, sink);
        }
    }

    /// The next thing to do; `None` when there is nothing until the next input.
    pub fn poll(&mut self) -> Option<Output<'_>> {
        Some(match self.outbox.pop_front()? {
            Queued::Close => Output::Close,
            Queued::Connect { after_nanos } => Output::Connect { after_nanos },
            Queued::Ask(ask) => {
                ask.write(&mut self.frame, &self.config.topics, &self.instruments);
                Output::Send(self.frame.bytes())
            }
        })
    }

    /// When [`Input::Timer`] is due.
    #[must_use]
    pub const fn deadline(&self) -> Option<Mono> {
        if self.started { Some(self.next_watch) } else { Some(Mono::from_nanos(0)) }
    }

    /// Reads a frame of a book and forgets it: see `keel_core::engine::Engine::rehearse`. Nothing is told or counted.
    pub fn rehearse(&mut self, frame: &[u8]) {
        let Ok(Message::Book(head)) = self.decoder.parse(frame) else { return };
        if let Some((_, book)) = self.book(head.instrument) {
            book.rehearse();
        }
    }

    /// How far the venue's clock is ahead of ours, in nanoseconds: see [`crate::clock`]. Lateness is judged by it.
    pub const fn set_clock_offset(&mut self, nanos: i64) {
        self.clock_offset = nanos;
    }

    /// Our wall clock read as the venue's.
    const fn venue_time(&self, now: Now) -> Wall {
        Wall::from_nanos(now.wall.nanos().saturating_add_signed(self.clock_offset))
    }

    /// Counted since the start.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The decoder: its merged tickers and how often it had to fall back.
    #[must_use]
    pub const fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// How it was set up.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The book of an instrument and its update id, while in sequence.
    #[must_use]
    pub fn book(&self, instrument: InstrumentId) -> Option<(u64, &Book)> {
        self.watches.get(instrument.index())?.book()
    }

    /// How each instrument's book stands, by id.
    pub fn statuses(&self, now: Now) -> impl Iterator<Item = Status> + '_ {
        self.watches.iter().map(move |watch| watch.status(now))
    }

    /// The connection stands.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    fn queue(&mut self, queued: Queued) {
        if self.outbox.len() < MAX_OUTBOX {
            self.outbox.push_back(queued);
        } else {
            self.counters.outbox_full += 1;
        }
    }

    /// Often enough for every limit, seldom enough to cost nothing.
    fn watch_every(&self) -> u64 {
        (self.config.silent_after / 8).clamp(1_000_000, SECOND / 4)
    }

    fn on_connected(&mut self, now: Now) {
        self.counters.connects += 1;
        self.reconnect.connected(now.mono);
        self.link = Link::Up { ping_at: now.mono.after(self.config.ping_every), unanswered: None, closing: false };
        for at in 0..self.watches.len() {
            self.queue(Queued::Ask(Ask::Everything(self.watches[at].instrument())));
            self.watches[at].asked(now.mono, self.config.snapshot_within);
        }
    }

    fn on_closed(&mut self, now: Now, sink: &mut impl FnMut(MarketEvent) -> bool) {
        self.link = Link::Down;
        self.decoder.forget_tickers();
        for watch in &mut self.watches {
            watch.disconnected();
            watch.mark(now, HealthState::Stale, HealthReason::Disconnected, sink);
        }
        let after_nanos = self.reconnect.next(now.mono);
        self.queue(Queued::Connect { after_nanos });
    }

    fn on_frame(&mut self, now: Now, bytes: &[u8], ticks: u64, sink: &mut impl FnMut(MarketEvent) -> bool) {
        self.counters.frames += 1;
        let Link::Up { unanswered, .. } = &mut self.link else { return };
        *unanswered = None;
        let arrival = Arrival { recv: now.mono, ticks };
        match self.decoder.parse(bytes) {
            Ok(Message::Book(head)) => self.on_book(now, head, arrival, sink),
            Ok(Message::Ack { op: AckOp::Subscribe, success: false, reason, req }) => self.on_refusal(reason, req),
            Ok(Message::Stranger | Message::Unknown) => self.counters.strangers += 1,
            Ok(message) => self.pass_on(now, &message, arrival, sink),
            Err(why) => {
                self.counters.refused[why as usize] += 1;
                self.on_malformed(now, bytes, sink);
            }
        }
    }

    fn on_book(&mut self, now: Now, mut head: BookHead, arrival: Arrival, sink: &mut impl FnMut(MarketEvent) -> bool) {
        let watch = &mut self.watches[head.instrument.index()];
        let (bids, asks) = (self.decoder.bids(&head), self.decoder.asks(&head));
        let Some(step) = watch.on_book(now, &mut head, bids, asks) else {
            self.counters.strangers += 1;
            return;
        };
        if matches!(step, Step::Forward(_) | Step::OneSided) {
            let mut lost = 0;
            self.decoder.emit(&Message::Book(head), arrival, &mut |event| lost += u64::from(lost > 0 || !sink(event)));
            if lost > 0 {
                self.counters.ring_full += lost;
                return self.fault(now, head.instrument, HealthReason::RingFull, sink);
            }
        }
        let venue_time = self.venue_time(now);
        let watch = &mut self.watches[head.instrument.index()];
        if head.depth != watch.depth() {
            return self.on_touch(now, &head, step, sink);
        }
        match step {
            Step::Forward(reason) => {
                let late = self.config.late_after;
                if late > 0 && venue_time.since(head.ts) > late {
                    watch.mark(now, HealthState::Stale, HealthReason::Late, sink);
                } else {
                    watch.mark(now, HealthState::Synced, reason, sink);
                }
            }
            Step::OneSided => watch.mark(now, HealthState::Stale, HealthReason::Empty, sink),
            Step::Ignore => {}
            Step::Fault(why) => self.stale(now, head.instrument, why, sink),
        }
    }

    /// The best level alone: it proves life, and at the same cross sequence it must equal the book's.
    fn on_touch(&mut self, now: Now, head: &BookHead, step: Step, sink: &mut impl FnMut(MarketEvent) -> bool) {
        let watch = &mut self.watches[head.instrument.index()];
        if matches!(step, Step::Fault(_)) {
            self.counters.faults += 1;
            self.counters.resyncs += 1;
            self.queue(Queued::Ask(Ask::Drop(head.instrument, Kind::Touch)));
            self.queue(Queued::Ask(Ask::One(head.instrument, Kind::Touch)));
        } else if watch.depths_disagree() {
            self.fault(now, head.instrument, HealthReason::Disagrees, sink);
        }
    }

    fn pass_on(&mut self, now: Now, message: &Message, arrival: Arrival, sink: &mut impl FnMut(MarketEvent) -> bool) {
        let mut lost = None;
        let mut ticker: Option<Ticker> = None;
        let counters = &mut self.counters;
        self.decoder.emit(message, arrival, &mut |event| {
            if let MarketEvent::Ticker(fact) = &event {
                ticker = Some(*fact);
            }
            if !sink(event) {
                counters.ring_full += 1;
                lost = event.instrument().or(lost);
            }
        });
        if let Some(instrument) = lost {
            self.fault(now, instrument, HealthReason::RingFull, sink);
        }
        if let Some(ticker) = ticker
            && self.watches[ticker.instrument.index()].disagrees_with(&ticker, self.config.disagree_bps)
        {
            self.fault(now, ticker.instrument, HealthReason::Disagrees, sink);
        }
    }

    /// A refused frame may have been part of a book: better blind for a moment than wrong.
    #[cold]
    fn on_malformed(&mut self, now: Now, bytes: &[u8], sink: &mut impl FnMut(MarketEvent) -> bool) {
        let Some(name) = bytes.strip_prefix(b"{\"topic\":\"") else { return };
        let length = name.iter().take(64).position(|byte| *byte == b'"').unwrap_or(0);
        if let Topic::Book { depth, symbol } = Topic::parse(&name[..length])
            && let Some(row) = self.instruments.by_symbol(symbol)
            && self.watches[row.id.index()].depth() == depth
        {
            self.fault(now, row.id, HealthReason::Malformed, sink);
        }
    }

    fn on_refusal(&mut self, reason: AckReason, req: u64) {
        if reason == AckReason::AlreadySubscribed {
            return;
        }
        self.counters.refusals += 1;
        // One bad topic refuses them all: ask one by one. A topic refused alone stays out.
        if let Some(Ask::Everything(id)) = Ask::numbered(req)
            && id.index() < self.watches.len()
        {
            let topics = self.config.topics;
            for kind in Kind::ALL.into_iter().filter(|kind| topics.has(*kind)) {
                self.queue(Queued::Ask(Ask::One(id, kind)));
            }
        }
    }

    /// A fault found outside the stream.
    fn fault(
        &mut self,
        now: Now,
        instrument: InstrumentId,
        why: HealthReason,
        sink: &mut impl FnMut(MarketEvent) -> bool,
    ) {
        if let Step::Fault(why) = self.watches[instrument.index()].distrust(why) {
            self.stale(now, instrument, why, sink);
        }
    }

    /// The book is not trusted any more: say so, ask for another.
    fn stale(
        &mut self,
        now: Now,
        instrument: InstrumentId,
        why: HealthReason,
        sink: &mut impl FnMut(MarketEvent) -> bool,
    ) {
        self.counters.faults += 1;
        let watch = &mut self.watches[instrument.index()];
        watch.mark(now, HealthState::Stale, why, sink);
        if watch.resync_due(now.mono, self.config.snapshot_within) {
            self.resync(instrument);
        }
    }

    fn resync(&mut self, instrument: InstrumentId) {
        self.counters.resyncs += 1;
        self.queue(Queued::Ask(Ask::Drop(instrument, Kind::Book)));
        self.queue(Queued::Ask(Ask::One(instrument, Kind::Book)));
    }

    /// Everything that happens because nothing happens.
    fn watch(&mut self, now: Now, sink: &mut impl FnMut(MarketEvent) -> bool) {
        self.next_watch = now.mono.after(self.watch_every());
        for at in 0..self.watches.len() {
            self.watches[at].deliver(now, sink);
        }
        let Link::Up { ping_at, unanswered, closing } = &mut self.link else { return };
        if *closing {
            return;
        }
        if unanswered.is_some_and(|sent| now.mono.since(sent) >= self.config.pong_within) {
            *closing = true;
            return self.queue(Queued::Close);
        }
        if now.mono >= *ping_at {
            *ping_at = now.mono.after(self.config.ping_every);
            unanswered.get_or_insert(now.mono);
            self.queue(Queued::Ask(Ask::Ping));
        }
        for at in 0..self.watches.len() {
            let watch = &mut self.watches[at];
            if watch.is_silent(now.mono, self.config.silent_after) {
                let instrument = watch.instrument();
                self.fault(now, instrument, HealthReason::Silent, sink);
                // One quiet book or a dead socket? The next heartbeat tells, so let it go out now.
                if let Link::Up { ping_at, .. } = &mut self.link {
                    *ping_at = now.mono;
                }
            } else if watch.retry_due(now.mono, self.config.snapshot_within) {
                let instrument = watch.instrument();
                self.resync(instrument);
            }
        }
    }
}

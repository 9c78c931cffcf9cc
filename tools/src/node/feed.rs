//! The feed agent: public bytes off the sockets, market facts onto the ring.
//!
//! It owns the public wires and gives the feed room its turns. A fact the ring has no room for is refused to the room,
//! which marks that book stale and asks for a new snapshot: the engine never sees half a picture.
//!
//! ```text
//!   wire 0 --+                                            one connection: a session
//!            +--> room: session or pair --facts--> ring   two: whatever arrives first
//!   wire 1 --+                              ^
//!   status wire --> announcements ----------+--- withdrawn: an instrument the venue changed is stale for good
//! ```

use super::board::{Board, Cell, NEVER};
use super::clock::Stopwatch;
use super::meter::Meter;
use super::scout::{Findings, Rounds};
use super::wire::{ROOM, Turn, Wire};
use super::{Part, Report, Timed};
use anyhow::{Result, ensure};
use keel_core::agent::Agent;
use keel_core::event::{Health, HealthReason, HealthState, MarketEvent, Origin};
use keel_core::ids::InstrumentId;
use keel_core::instrument::Instruments;
use keel_core::ring::Producer;
use keel_core::units::{Mono, Now};
use keel_feed::pair::{Lane, Pair};
use keel_feed::session::{Config, Input, Output, Session, Status};
use keel_feed::status::StatusSession;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Steps of one wire in one round that bring no frame, at most.
const BURST: usize = 32;
/// Rounds between two looks at the venue's announcements: a look costs a system call, and maintenance is told in minutes.
const ATTEND_EVERY: u32 = 64;
/// Nanoseconds between two looks at how the books do, for the board.
const LOOK: u64 = 100_000_000;
/// Rounds without a frame between two readings of an old one, which keep the decoder warm.
const REHEARSE_EVERY: u32 = 32;
/// How a change of a book begins.
const BOOK: &[u8] = br#"{"topic":"orderbook."#;
/// Largest frame kept for that.
const SAMPLE: usize = 1024;
const LANES: [Lane; 2] = [Lane::A, Lane::B];

/// One session, or two whose first arrival counts.
enum Room {
    One(Box<Session>),
    Two(Box<Pair>),
}

impl Room {
    fn new(config: Config, instruments: &Instruments, lanes: usize) -> Result<Self> {
        let session = |seed| {
            Session::new(Config { seed, ..config }, instruments)
                .map_err(|why| anyhow::anyhow!("market data cannot be subscribed as configured: {why:?}"))
        };
        ensure!((1..=LANES.len()).contains(&lanes), "market data takes one connection or two, not {lanes}");
        Ok(if lanes == 1 {
            Self::One(Box::new(session(config.seed)?))
        } else {
            Self::Two(Box::new(Pair::new(session(config.seed)?, session(!config.seed)?)))
        })
    }

    fn handle(&mut self, now: Now, lane: Lane, input: Input<'_>, sink: &mut impl FnMut(MarketEvent) -> bool) {
        match self {
            Self::One(session) => session.handle(now, input, sink),
            Self::Two(pair) => pair.handle(now, lane, input, sink),
        }
    }

    fn poll(&mut self, lane: Lane) -> Option<Output<'_>> {
        match self {
            Self::One(session) => session.poll(),
            Self::Two(pair) => pair.poll(lane),
        }
    }

    fn rehearse(&mut self, frame: &[u8]) {
        match self {
            Self::One(session) => session.rehearse(frame),
            Self::Two(pair) => pair.rehearse(frame),
        }
    }

    const fn session(&self, lane: Lane) -> &Session {
        match self {
            Self::One(session) => session,
            Self::Two(pair) => pair.session(lane),
        }
    }

    fn set_clock_offset(&mut self, nanos: i64) {
        match self {
            Self::One(session) => session.set_clock_offset(nanos),
            Self::Two(pair) => pair.set_clock_offset(nanos),
        }
    }
}

/// A wire, and when it is to be connected.
struct Line {
    wire: Wire,
    due: Option<Mono>,
}

impl Line {
    const fn new(wire: Wire) -> Self {
        Self { wire, due: None }
    }

    fn connect_if_due(&mut self, now: Now) -> usize {
        if self.due.is_none_or(|due| now.mono < due) {
            return 0;
        }
        self.due = None;
        self.wire.connect();
        1
    }
}

/// What a person may choose about market data beside the topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    /// Parallel connections to the public stream: 1, or 2 of which the first arrival counts.
    pub connections: usize,
    /// Where the venue announces maintenance; not listened to when absent.
    pub status: Option<String>,
    /// How often the scout asks; never when absent.
    pub rounds: Option<Rounds>,
    /// Ask the kernel when it received each byte.
    pub stamps: bool,
}

/// What a lockstep run can have: one connection, no other source of facts, no other clock.
impl Default for Lines {
    fn default() -> Self {
        Self { connections: 1, status: None, rounds: None, stamps: false }
    }
}

/// The sockets and measures of the agent.
pub struct Means {
    /// One wire, or two to the same stream.
    pub wires: Vec<Wire>,
    /// To the venue's announcements, when they are wanted.
    pub status: Option<Wire>,
    /// Onto the ring.
    pub market: Producer<Timed<MarketEvent>>,
    /// In the kernel.
    pub kernel: Meter,
    /// In the room.
    pub decode: Meter,
}

/// The agent.
pub struct FeedAgent {
    room: Room,
    lines: Vec<Line>,
    status: Option<(StatusSession, Line)>,
    market: Producer<Timed<MarketEvent>>,
    kernel: Meter,
    decode: Meter,
    watch: Stopwatch,
    board: Arc<Board>,
    findings: Arc<Findings>,
    withdrawn: u64,
    look_at: Mono,
    up: usize,
    round: u32,
    /// One change of a book, as it came.
    sample: Vec<u8>,
    text: String,
}

impl std::fmt::Debug for FeedAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FeedAgent")
    }
}

impl FeedAgent {
    /// Between these wires and this ring.
    pub fn new(
        config: Config,
        instruments: &Instruments,
        means: Means,
        watch: Stopwatch,
        board: Arc<Board>,
        findings: Arc<Findings>,
    ) -> Result<Self> {
        let Means { wires, status, market, kernel, decode } = means;
        Ok(Self {
            room: Room::new(config, instruments, wires.len())?,
            lines: wires.into_iter().map(Line::new).collect(),
            status: status.map(|wire| (StatusSession::new(config.seed.rotate_left(17)), Line::new(wire))),
            market,
            kernel,
            decode,
            watch,
            board,
            findings,
            withdrawn: 0,
            look_at: Mono::default(),
            up: 0,
            round: 0,
            sample: Vec::with_capacity(SAMPLE),
            text: String::with_capacity(ROOM),
        })
    }

    fn turn(&mut self, now: Now, lane: Lane, input: Input<'_>) {
        let (market, watch, withdrawn) = (&mut self.market, &self.watch, self.withdrawn);
        self.room.handle(now, lane, input, &mut |what| {
            is_withdrawn(withdrawn, &what) || market.push(Timed { what, ticks: watch.ticks() }).is_ok()
        });
        let line = &mut self.lines[lane as usize];
        let mut closed = false;
        while let Some(output) = self.room.poll(lane) {
            match output {
                Output::Send(text) => line.wire.send(text),
                Output::Connect { after_nanos } => line.due = Some(now.mono.after(after_nanos)),
                Output::Close => closed = true,
            }
        }
        if closed {
            line.wire.close();
            self.turn(now, lane, Input::Closed);
        }
    }

    /// At most one frame: what it says is acted on before the next one is looked for.
    fn read(&mut self, now: Now, lane: Lane) -> usize {
        let mut work = 0;
        while work < BURST {
            let ticks = self.watch.ticks();
            let turn = self.lines[lane as usize].wire.read(&mut self.text);
            if let Some(waited) = self.lines[lane as usize].wire.waited() {
                self.kernel.record(waited);
            }
            match turn {
                Turn::Nothing => break,
                Turn::Progress => {}
                Turn::Opened => self.turn(now, lane, Input::Connected),
                Turn::Closed => {
                    if let Some(why) = self.lines[lane as usize].wire.trouble() {
                        tracing::warn!("market data conversation ended: {why}");
                    }
                    self.turn(now, lane, Input::Closed);
                }
                Turn::Frame => {
                    let text = std::mem::take(&mut self.text);
                    self.turn(now, lane, Input::Frame { bytes: text.as_bytes(), ticks });
                    self.decode.record(self.watch.nanos(ticks, self.watch.ticks()));
                    self.keep(text.as_bytes());
                    self.text = text;
                    return work + 1;
                }
            }
            work += 1;
        }
        work
    }

    /// Keeps the first change of a book that is no larger than most.
    fn keep(&mut self, frame: &[u8]) {
        if self.sample.is_empty() && frame.len() <= SAMPLE && frame.starts_with(BOOK) {
            self.sample.extend_from_slice(frame);
        }
    }

    /// The announcements' turn: one step of their wire.
    fn attend(&mut self, now: Now) -> usize {
        let Some((session, line)) = &mut self.status else { return 0 };
        let mut work = line.connect_if_due(now);
        let ticks = self.watch.ticks();
        let turn = line.wire.read(&mut self.text);
        let input = match &turn {
            Turn::Nothing if session.deadline().is_some_and(|due| now.mono >= due) => Input::Timer,
            Turn::Nothing | Turn::Progress => return work,
            Turn::Opened => Input::Connected,
            Turn::Closed => Input::Closed,
            Turn::Frame => Input::Frame { bytes: self.text.as_bytes(), ticks },
        };
        work += 1;
        let market = &mut self.market;
        session.handle(now, input, &mut |what| market.push(Timed { what, ticks }).is_ok());
        let mut closed = false;
        while let Some(output) = session.poll() {
            match output {
                Output::Send(text) => line.wire.send(text),
                Output::Connect { after_nanos } => line.due = Some(now.mono.after(after_nanos)),
                Output::Close => closed = true,
            }
        }
        if closed {
            line.wire.close();
            session.handle(now, Input::Closed, &mut |_| true);
            if let Some(Output::Connect { after_nanos }) = session.poll() {
                line.due = Some(now.mono.after(after_nanos));
            }
        }
        work
    }

    /// What the scout found: the venue's clock for lateness, and instruments that are not what they were.
    fn heed(&mut self, now: Now) {
        if let Some(estimate) = self.findings.clock() {
            self.room.set_clock_offset(estimate.offset);
            self.board.set(Cell::ClockAhead, u64::try_from(estimate.offset).unwrap_or(0));
            self.board.set(Cell::ClockBehind, u64::try_from(estimate.offset.saturating_neg()).unwrap_or(0));
            self.board.set(Cell::ClockError, estimate.error);
        }
        let mut fresh = self.findings.withdrawn() & !self.withdrawn;
        while fresh != 0 {
            let bit = fresh.trailing_zeros();
            fresh &= fresh - 1;
            let instrument = InstrumentId(u16::try_from(bit).unwrap_or(u16::MAX));
            let origin = Origin { recv: now.mono, ts: now.wall, ..Origin::default() };
            let (state, reason) = (HealthState::Stale, HealthReason::Withdrawn);
            let what = MarketEvent::Health(Health { origin, instrument, state, reason, ..Health::default() });
            // A full ring is asked again at the next look; until then nothing is lost, the book stays what it was.
            if self.market.push(Timed { what, ticks: self.watch.ticks() }).is_ok() {
                self.withdrawn |= 1 << bit;
            }
        }
        self.board.set(Cell::Withdrawn, u64::from(self.withdrawn.count_ones()));
    }

    fn lanes(&self) -> &'static [Lane] {
        &LANES[..self.lines.len()]
    }

    fn standing(&self) -> usize {
        self.lanes().iter().filter(|lane| self.room.session(**lane).is_up()).count()
    }

    fn sum(&self, of: impl Fn(&Session) -> u64) -> u64 {
        self.lanes().iter().map(|lane| of(self.room.session(*lane))).sum()
    }

    fn publish(&mut self, now: Now) {
        self.look_at = now.mono.after(LOOK);
        self.kernel.settle();
        self.decode.settle();
        self.heed(now);
        self.up = self.standing();
        self.board.set(Cell::Frames, self.sum(|session| session.counters().frames));
        self.board.set(Cell::FeedErrors, self.sum(|session| session.counters().refused.iter().sum()));
        self.board.set(Cell::Resyncs, self.sum(|session| session.counters().faults));
        self.board.set(Cell::PublicLink, if self.up > 0 { 2 } else { 0 });
        self.board.set(Cell::PublicLines, self.up as u64);
        if let Room::Two(pair) = &self.room {
            self.board.set(Cell::Duplicates, pair.counts().0);
        }
        if let Some((session, _)) = &self.status {
            self.board.set(Cell::StatusLink, if session.is_up() { 2 } else { 0 });
            self.board.set(Cell::Announcements, session.announcements());
        }
        let mut synced = 0;
        let second = self.lines.get(1).map(|_| self.room.session(Lane::B).statuses(now));
        let mut second = second.into_iter().flatten();
        for status in self.room.session(Lane::A).statuses(now) {
            let status = second.next().map_or(status, |other| better(status, other));
            let withdrawn = self.withdrawn & 1 << (status.instrument.index() % 64) != 0;
            let state = if withdrawn { HealthState::Stale } else { status.state };
            let row = self.board.row(status.instrument.index());
            row.book_age.store(status.age.unwrap_or(NEVER), Ordering::Release);
            row.venue_age.store(status.venue_age.unwrap_or(NEVER), Ordering::Release);
            row.book_state.store(state as u64, Ordering::Release);
            synced += u64::from(state == HealthState::Synced);
        }
        self.board.set(Cell::Synced, synced);
    }
}

/// A book is trusted when either connection's is, and as young as the younger.
fn better(a: Status, b: Status) -> Status {
    let (best, other) = if a.state == HealthState::Synced || b.state != HealthState::Synced { (a, b) } else { (b, a) };
    let younger = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
    Status { age: younger(best.age, other.age), venue_age: younger(best.venue_age, other.venue_age), ..best }
}

/// Nothing makes the book of a withdrawn instrument trusted again.
fn is_withdrawn(withdrawn: u64, event: &MarketEvent) -> bool {
    withdrawn != 0
        && matches!(event, MarketEvent::Health(health) if withdrawn & 1 << (health.instrument.index() % 64) != 0)
}

impl Agent for FeedAgent {
    fn name(&self) -> &'static str {
        "feed"
    }

    fn duty(&mut self, now: Now) -> usize {
        let mut work = 0;
        for lane in self.lanes() {
            work += self.lines[*lane as usize].connect_if_due(now);
            let due = match &self.room {
                Room::One(session) => session.deadline(),
                Room::Two(pair) => pair.deadline(*lane),
            };
            if due.is_some_and(|due| now.mono >= due) {
                self.turn(now, *lane, Input::Timer);
                work += 1;
            }
        }
        if now.mono >= self.look_at || self.standing() != self.up {
            self.publish(now);
        }
        for lane in self.lanes() {
            work += self.read(now, *lane);
        }
        self.round = self.round.wrapping_add(1);
        if self.round.is_multiple_of(ATTEND_EVERY) {
            work += self.attend(now);
        }
        if work == 0 && self.round.is_multiple_of(REHEARSE_EVERY) && !self.sample.is_empty() {
            self.room.rehearse(&self.sample);
            self.market.rehearse();
        }
        work
    }
}

impl Part for FeedAgent {
    fn finish(self: Box<Self>, report: &mut Report) {
        report.frames = self.sum(|session| session.counters().frames);
        report.feed_errors = self.sum(|session| session.counters().refused.iter().sum());
        report.resyncs = self.sum(|session| session.counters().faults);
        let kernel = self.kernel.finish();
        if !kernel.1.is_empty() {
            report.hops.push(kernel);
        }
        report.hops.push(self.decode.finish());
    }
}

#[cfg(test)]
mod tests;

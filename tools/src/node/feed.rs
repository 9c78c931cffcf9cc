//! The feed agent: public bytes off the socket, market facts onto the ring.
//!
//! It owns the public wire and gives the feed room its turns. A fact the ring has no room for is refused to the room,
//! which marks that book stale and asks for a new snapshot: the engine never sees half a picture.

use super::board::{Board, Cell, NEVER};
use super::clock::Stopwatch;
use super::meter::Meter;
use super::wire::{Turn, Wire};
use super::{Part, Report, Timed};
use anyhow::Result;
use keel_core::agent::Agent;
use keel_core::event::{HealthState, MarketEvent};
use keel_core::instrument::Instruments;
use keel_core::ring::Producer;
use keel_core::units::{Mono, Now};
use keel_feed::session::{Config, Input, Output, Session};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Frames taken in one round.
const BURST: usize = 32;
/// Nanoseconds between two looks at how the books do, for the board.
const LOOK: u64 = 100_000_000;

/// The agent.
pub struct FeedAgent {
    session: Session,
    wire: Wire,
    due: Option<Mono>,
    market: Producer<Timed<MarketEvent>>,
    decode: Meter,
    watch: Stopwatch,
    board: Arc<Board>,
    look_at: Mono,
    up: bool,
}

impl std::fmt::Debug for FeedAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FeedAgent")
    }
}

impl FeedAgent {
    /// Between this wire and this ring.
    pub fn new(
        config: Config,
        instruments: &Instruments,
        wire: Wire,
        market: Producer<Timed<MarketEvent>>,
        decode: Meter,
        watch: Stopwatch,
        board: Arc<Board>,
    ) -> Result<Self> {
        let session = Session::new(config, instruments)
            .map_err(|why| anyhow::anyhow!("market data cannot be subscribed as configured: {why:?}"))?;
        Ok(Self { session, wire, due: None, market, decode, watch, board, look_at: Mono::default(), up: false })
    }

    fn turn(&mut self, now: Now, input: Input<'_>) {
        let (market, watch) = (&mut self.market, &self.watch);
        self.session.handle(now, input, &mut |what| market.push(Timed { what, ticks: watch.ticks() }).is_ok());
        let mut closed = false;
        while let Some(output) = self.session.poll() {
            match output {
                Output::Send(text) => self.wire.send(text),
                Output::Connect { after_nanos } => self.due = Some(now.mono.after(after_nanos)),
                Output::Close => closed = true,
            }
        }
        if closed {
            self.wire.close();
            self.turn(now, Input::Closed);
        }
    }

    fn read(&mut self, now: Now) -> usize {
        let mut work = 0;
        while work < BURST {
            let ticks = self.watch.ticks();
            match self.wire.read() {
                Turn::Nothing => break,
                Turn::Progress => {}
                Turn::Opened => self.turn(now, Input::Connected),
                Turn::Closed => {
                    if let Some(why) = self.wire.trouble() {
                        tracing::warn!("market data conversation ended: {why}");
                    }
                    self.turn(now, Input::Closed);
                }
                Turn::Frame(text) => {
                    self.turn(now, Input::Frame { bytes: text.as_bytes(), ticks });
                    self.decode.record(self.watch.nanos(ticks, self.watch.ticks()));
                }
            }
            work += 1;
        }
        work
    }

    fn publish(&mut self, now: Now) {
        self.look_at = now.mono.after(LOOK);
        self.up = self.session.is_up();
        let counters = self.session.counters();
        self.board.set(Cell::Frames, counters.frames);
        self.board.set(Cell::FeedErrors, counters.refused.iter().sum());
        self.board.set(Cell::Resyncs, counters.faults);
        self.board.set(Cell::PublicLink, if self.up { 2 } else { 0 });
        let mut synced = 0;
        for status in self.session.statuses(now) {
            let row = self.board.row(status.instrument.index());
            row.book_age.store(status.age.unwrap_or(NEVER), Ordering::Release);
            row.venue_age.store(status.venue_age.unwrap_or(NEVER), Ordering::Release);
            row.book_state.store(status.state as u64, Ordering::Release);
            synced += u64::from(status.state == HealthState::Synced);
        }
        self.board.set(Cell::Synced, synced);
    }
}

impl Agent for FeedAgent {
    fn name(&self) -> &'static str {
        "feed"
    }

    fn duty(&mut self, now: Now) -> usize {
        let mut work = 0;
        if self.due.is_some_and(|due| now.mono >= due) {
            self.due = None;
            self.wire.connect();
            work += 1;
        }
        if self.session.deadline().is_some_and(|due| now.mono >= due) {
            self.turn(now, Input::Timer);
            work += 1;
        }
        if now.mono >= self.look_at || self.session.is_up() != self.up {
            self.publish(now);
        }
        work + self.read(now)
    }
}

impl Part for FeedAgent {
    fn finish(self: Box<Self>, report: &mut Report) {
        let counters = self.session.counters();
        report.frames = counters.frames;
        report.feed_errors = counters.refused.iter().sum();
        report.resyncs = counters.faults;
        report.hops.push(self.decode.finish());
    }
}

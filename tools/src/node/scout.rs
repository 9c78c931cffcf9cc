//! The scout: asks the venue from time to time what time it is there and whether its instruments are still what they were.
//!
//! In: a client that may block. Out: [`Findings`] anybody may read. Never on a hot thread; never in a lockstep run, where
//! time is the exchange's own. An answer that does not come changes nothing: the last word stands, and its age shows.
//!
//! ```text
//!   every clock_every     GET /v5/market/time              -> offset of the quickest of the last round trips
//!   every refresh_every   GET /v5/market/instruments-info  -> closed, gone or with other numbers: withdrawn, for good
//! ```
//!
//! The table of instruments is fixed after the start: what was sized, priced and limited with the old numbers cannot be
//! trusted with new ones. So an instrument that changed is withdrawn: its book is never trusted again in this run, the
//! journal says why, and a restart reads the new numbers.

use super::clock::{Stopwatch, system_wall};
use super::inquiry::list;
use super::rest::Client;
use super::{Part, Report};
use anyhow::{Context, Result, ensure};
use keel_core::agent::Agent;
use keel_core::ids::InstrumentId;
use keel_core::instrument::Instruments;
use keel_core::units::{Mono, Now};
use keel_feed::clock::{Estimate, Offset};
use keel_feed::instruments::{Changed, changes};
use keel_gateway::rest::{Method, Request};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// After an answer that did not come, nanoseconds to the next question.
const AGAIN: u64 = 60_000_000_000;

/// What was found.
#[derive(Debug, Default)]
pub struct Findings {
    offset: AtomicI64,
    error: AtomicU64,
    withdrawn: AtomicU64,
    readings: AtomicU64,
    refreshes: AtomicU64,
}

impl Findings {
    /// How far the venue's clock is ahead of ours; `None` before the first answer.
    #[must_use]
    pub fn clock(&self) -> Option<Estimate> {
        let known = self.readings.load(Ordering::Acquire) > 0;
        let (offset, error) = (self.offset.load(Ordering::Acquire), self.error.load(Ordering::Acquire));
        known.then_some(Estimate { offset, error })
    }

    /// One bit an instrument that is not what it was at the start.
    #[must_use]
    pub fn withdrawn(&self) -> u64 {
        self.withdrawn.load(Ordering::Acquire)
    }

    /// Clock readings and refreshes that were answered.
    #[must_use]
    pub fn answers(&self) -> (u64, u64) {
        (self.readings.load(Ordering::Acquire), self.refreshes.load(Ordering::Acquire))
    }

    /// This instrument may not be traded any more.
    pub fn withdraw(&self, instrument: InstrumentId) {
        self.withdrawn.fetch_or(1 << (instrument.index() % 64), Ordering::AcqRel);
    }
}

/// How often, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rounds {
    /// The clock.
    pub clock_every: u64,
    /// The instruments.
    pub refresh_every: u64,
}

/// The agent.
#[derive(Debug)]
pub struct Scout {
    client: Client,
    table: Instruments,
    rounds: Rounds,
    findings: Arc<Findings>,
    watch: Stopwatch,
    origin: u64,
    offset: Offset,
    clock_at: Mono,
    refresh_at: Option<Mono>,
}

impl Scout {
    /// Looks after these instruments; the table was read just now.
    #[must_use]
    pub fn new(client: Client, table: Instruments, rounds: Rounds, findings: Arc<Findings>, watch: Stopwatch) -> Self {
        let (origin, offset) = (watch.ticks(), Offset::new());
        Self { client, table, rounds, findings, watch, origin, offset, clock_at: Mono::default(), refresh_at: None }
    }

    fn precisely(&self) -> Now {
        Now { mono: Mono::from_nanos(self.watch.nanos(self.origin, self.watch.ticks())), wall: system_wall() }
    }

    fn read_clock(&mut self) -> Result<()> {
        let path_and_query = "/v5/market/time".to_owned();
        let request = Request { method: Method::Get, path_and_query, headers: Vec::new(), body: String::new() };
        let sent = self.precisely();
        let reply = self.client.call(&request)?;
        let received = self.precisely();
        ensure!(reply.status == 200, "the venue answered with HTTP status {}", reply.status);
        let venue = keel_feed::clock::parse(&reply.body)
            .map_err(|why| anyhow::anyhow!("the venue's time was not understood: {why:?}"))?;
        ensure!(self.offset.sample(sent, received, venue), "too slow a round trip to read a clock by");
        let estimate = self.offset.estimate().context("no estimate")?;
        if estimate.beyond_edge() {
            tracing::error!("our clock is {} ms ahead of the venue's: it will refuse us", -estimate.offset / 1_000_000);
        }
        self.findings.offset.store(estimate.offset, Ordering::Release);
        self.findings.error.store(estimate.error, Ordering::Release);
        self.findings.readings.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    fn refresh(&mut self) -> Result<()> {
        let (rows, refused) = list(&self.client, |symbol| self.table.by_symbol(symbol.bytes()).is_some())?;
        for (symbol, why) in &refused {
            tracing::error!("the new numbers of {symbol} do not fit: {why:?}");
        }
        for (instrument, what) in changes(&self.table, &rows) {
            let symbol = self.table.get(instrument).map_or("?", |row| row.symbol.as_str());
            if what == Changed::Open {
                tracing::info!("{symbol} is open for trading; start over to trade it");
                continue;
            }
            let known = self.findings.withdrawn() & 1 << (instrument.index() % 64) != 0;
            if !known {
                tracing::error!("{symbol} is withdrawn until the node starts over: the venue says {what:?}");
            }
            self.findings.withdraw(instrument);
        }
        self.findings.refreshes.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }
}

impl Agent for Scout {
    fn name(&self) -> &'static str {
        "scout"
    }

    fn duty(&mut self, now: Now) -> usize {
        let mut work = 0;
        if now.mono >= self.clock_at {
            self.clock_at = now.mono.after(self.rounds.clock_every);
            if let Err(error) = self.read_clock() {
                tracing::warn!("the venue's clock: {error:#}");
            }
            work += 1;
        }
        let due = *self.refresh_at.get_or_insert(now.mono.after(self.rounds.refresh_every));
        if now.mono >= due {
            let wait = match self.refresh() {
                Ok(()) => self.rounds.refresh_every,
                Err(error) => {
                    tracing::warn!("the venue's instruments: {error:#}");
                    AGAIN.min(self.rounds.refresh_every)
                }
            };
            self.refresh_at = Some(now.mono.after(wait));
            work += 1;
        }
        work
    }
}

impl Part for Scout {
    fn finish(self: Box<Self>, _: &mut Report) {}
}

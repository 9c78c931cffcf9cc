//! From a journal some process left to a run that may trade as soon as the venue agrees: everything a start does between the
//! venue's instruments and the first thread.
//!
//! ```text
//!   open, mend the end -> fold from the last whole beginning -> limits, brake, books -> Start .. Resumed written -> engine
//! ```
//!
//! In: a [`Setup`], the instruments. Out: the writer, and what the engine is made from. Never: an order, a word to the venue.

use super::clock::Clock;
use super::genesis::{Character, Genesis};
use super::heritage;
use super::restart::{Past, Succession};
use super::run::{Pace, Setup};
use anyhow::{Context, Result};
use keel_core::engine::Engine;
use keel_core::event::Start;
use keel_core::ids::{Seq, StrategyId, Text};
use keel_core::instrument::Instruments;
use keel_core::permit::{Log, LogFault};
use keel_core::strategy::Strategy;
use keel_core::units::{Now, Wall};
use keel_journal::{Keeper, Writer};
use keel_risk::limits::Limits;
use keel_risk::{Gate, Scenarios};

/// What a run begins with.
#[derive(Debug)]
pub struct Takeover {
    /// Its number.
    pub run: u32,
    /// When it began.
    pub begun: Now,
    /// What its engine is made from.
    pub genesis: Genesis,
    /// What dead runs left to it.
    pub succession: Succession,
}

/// Opens the journal, reads what dead runs left, and writes down what this one begins with.
pub fn begin(
    setup: &Setup,
    instruments: &Instruments,
    scenarios: Option<Scenarios>,
    clock: &mut Clock,
) -> Result<(Takeover, Writer, Keeper)> {
    let (mut writer, keeper) = open_journal(setup)?;
    let past = Past::read(&setup.data_dir)?;
    let begun = clock.now();
    let run = past.next_run(if matches!(setup.pace, Pace::Real) { begun.wall } else { Wall::default() })?;
    let genesis = genesis(setup, heritage::limits(past.latch())?, scenarios);
    let succession = past.succeed(run, begun, instruments)?;
    let taken = Takeover { run, begun, genesis, succession };
    taken.record(setup, instruments, &mut writer)?;
    Ok((taken, writer, keeper))
}

fn open_journal(setup: &Setup) -> Result<(Writer, Keeper)> {
    Writer::open(&setup.data_dir, setup.journal).map_err(|why| {
        anyhow::anyhow!(
            "the journal in {} cannot be opened: {why}; `keel verify {0}` says more, another --data-dir begins a new one",
            setup.data_dir.display()
        )
    })
}

/// Everything the engine is made from, before it is made. Limits people agreed to stand before those of the
/// configuration.
fn genesis(setup: &Setup, agreed: Option<Limits>, scenarios: Option<Scenarios>) -> Genesis {
    let character = Character { id: StrategyId(0), quoter: setup.quoter, sizing: setup.sizing };
    let limits = agreed.unwrap_or_else(|| setup.limits.clone());
    let kyc = setup.terms.as_ref().and_then(|terms| terms.policy.clone());
    Genesis { limits, scenarios, people: setup.people.clone(), kyc, character }
}

impl Takeover {
    /// The engine of this run.
    pub fn engine<S: Strategy, L: Log>(
        &self,
        instruments: &Instruments,
        strategy: S,
        log: L,
    ) -> Result<Engine<S, Gate, L>> {
        let engine = self.genesis.engine(instruments, self.run, &self.succession.latch, strategy, log)?;
        Ok(engine.resumed(self.begun, self.succession.desk.clone()))
    }

    fn record(&self, setup: &Setup, instruments: &Instruments, writer: &mut Writer) -> Result<()> {
        let first = self.first_records(setup, instruments, writer).map_err(|fault| {
            anyhow::anyhow!("the journal in {} took no record: {fault:?}", setup.data_dir.display())
        })?;
        self.succession.record(writer, &setup.data_dir, self.begun, first).context("what earlier runs left")
    }

    fn first_records(&self, setup: &Setup, instruments: &Instruments, log: &mut Writer) -> Result<Seq, LogFault> {
        let start = Start {
            mono: self.begun.mono,
            wall: self.begun.wall,
            seed: setup.seed,
            run: self.run,
            pid: std::process::id(),
            config: setup.config,
            build: Text::new(env!("CARGO_PKG_VERSION").as_bytes()).unwrap_or_default(),
        };
        let first = log.fact(self.begun, Seq::NONE, &start)?;
        for row in instruments.rows() {
            log.fact(self.begun, first, row)?;
        }
        self.genesis.record(log, self.begun, first, instruments)?;
        Ok(first)
    }
}

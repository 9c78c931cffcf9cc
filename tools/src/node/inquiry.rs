//! What is asked of the venue before anything starts: its clock, its instruments, our fees, and that it never re-prices.
//!
//! Everything here blocks and everything here refuses: a node that does not know what it trades does not start.

use super::clock::system_wall;
use super::rest::Client;
use super::run::Pace;
use super::thread::nap;
use anyhow::{Context, Result, bail, ensure};
use keel_core::ids::Symbol;
use keel_core::instrument::{Instrument, Instruments};
use keel_core::orders::{Reaction, reaction};
use keel_core::units::Wall;
use keel_gateway::decode::{Decoder, Source};
use keel_gateway::rest::{Answer, Call, Fee, RestError};
use keel_gateway::sign::Signer;
use std::time::Duration;

/// How far our clock may be from the venue's, nanoseconds: its forward edge is a hard second.
const MAX_CLOCK_OFFSET: u64 = 500_000_000;

/// A question refused for its rate is asked again after this, so many times.
const WAIT: Duration = Duration::from_millis(300);
const MAX_WAITS: u32 = 10;

/// Someone who asks.
#[derive(Clone, Copy, Debug)]
pub struct Inquiry<'a> {
    /// Over which connection.
    pub client: &'a Client,
    /// In whose name.
    pub signer: &'a Signer,
    /// At what time.
    pub pace: &'a Pace,
}

impl Inquiry<'_> {
    /// The table of what is traded, with our fees; the venue's clock is compared and its re-pricing switched off first.
    pub fn instruments(&self, symbols: &[Symbol]) -> Result<Instruments> {
        if matches!(self.pace, Pace::Real) {
            self.compare_clocks()?;
        }
        self.ask(&Call::RejectOutsideBand)?;
        let rows = self.listed(symbols)?;
        let Answer::Fees(fees) = self.ask(&Call::FeeRate)? else { bail!("the venue did not tell our fees") };
        let table: Result<Vec<Instrument>> = symbols.iter().map(|symbol| with_fees(*symbol, &rows, &fees)).collect();
        Instruments::new(table?).map_err(|(symbol, why)| anyhow::anyhow!("{symbol} cannot be traded: {why:?}"))
    }

    fn compare_clocks(&self) -> Result<()> {
        let before = system_wall();
        let Answer::Time(venue) = self.ask(&Call::Time)? else { bail!("the venue did not tell the time") };
        let offset = venue.since(before).max(before.since(venue));
        ensure!(
            offset <= MAX_CLOCK_OFFSET,
            "our clock and the venue's are {} ms apart: it refuses orders beyond a second; set the clock (chronyc makestep)",
            offset / 1_000_000
        );
        Ok(())
    }

    fn listed(&self, symbols: &[Symbol]) -> Result<Vec<Instrument>> {
        let (mut rows, mut cursor) = (Vec::new(), String::new());
        loop {
            let Answer::Instruments { rows: page, misfits, next } = self.ask(&Call::Instruments { cursor })? else {
                bail!("the venue did not list its instruments");
            };
            if let Some(misfit) = symbols.iter().find(|symbol| misfits.contains(symbol)) {
                bail!("the numbers of {misfit} do not fit: take it out of the symbols");
            }
            rows.extend(page.into_iter().filter(|row| symbols.contains(&row.symbol)));
            if next.is_empty() {
                return Ok(rows);
            }
            cursor = next;
        }
    }

    /// A node that is started again and again is told to wait: then it waits.
    pub(super) fn ask(&self, call: &Call) -> Result<Answer> {
        let mut tries = 0;
        loop {
            match self.ask_once(call)? {
                Err(RestError::Venue(code)) if reaction(code) == Reaction::RateLimited && tries < MAX_WAITS => {
                    tries += 1;
                    nap(WAIT);
                }
                Err(why) => bail!("the venue's answer to {call:?} was not understood or refused: {why:?}"),
                Ok(answer) => return Ok(answer),
            }
        }
    }

    fn ask_once(&self, call: &Call) -> Result<Result<Answer, RestError>> {
        let now = match self.pace {
            Pace::Real => system_wall(),
            Pace::Virtual(shared) => Wall::from_nanos(shared.get()),
        };
        let reply = self.client.call(&call.request(self.signer, now))?;
        let mut decoder = Decoder::new(&Instruments::default());
        Ok(keel_gateway::rest::parse(call, reply.status, &reply.body, &mut decoder, Source::default(), &mut |_| {}))
    }
}

fn with_fees(symbol: Symbol, rows: &[Instrument], fees: &[Fee]) -> Result<Instrument> {
    let row = rows.iter().find(|row| row.symbol == symbol);
    let mut row = *row.with_context(|| format!("the venue does not list {symbol} as a USDT perpetual"))?;
    let fee = fees.iter().find(|fee| fee.symbol == symbol);
    let fee = fee.with_context(|| format!("the venue does not tell our fees on {symbol}"))?;
    (row.taker_fee, row.maker_fee) = (fee.taker, fee.maker);
    Ok(row)
}

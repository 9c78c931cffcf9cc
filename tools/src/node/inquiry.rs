//! What is asked of the venue before anything starts: its clock, its instruments, our fees, past days, and that it never
//! re-prices.
//!
//! Everything here blocks and everything here refuses: a node that does not know what it trades does not start.

use super::clock::system_wall;
use super::rest::Client;
use super::run::Pace;
use super::thread::nap;
use anyhow::{Context, Result, bail, ensure};
use keel_core::ids::{InstrumentId, Symbol};
use keel_core::instrument::{Instrument, Instruments};
use keel_core::orders::{Reaction, reaction};
use keel_core::units::Wall;
use keel_feed::bars::Series;
use keel_feed::bars::page::Question;
use keel_feed::instruments as listing;
use keel_gateway::decode::{Decoder, Source};
use keel_gateway::rest::{Answer, Call, Fee, Method, Request, RestError};
use keel_gateway::sign::Signer;
use std::time::Duration;

/// How far our clock may be from the venue's, nanoseconds: its forward edge is a hard second.
const MAX_CLOCK_OFFSET: u64 = 500_000_000;
/// Pages of one list that are asked for before the venue is taken to be going in circles.
const MAX_PAGES: usize = 64;
/// Minutes of a daily candle.
const DAILY: u16 = 1440;
/// An instrument whose newest closed day ended longer ago than this has no history to judge today by, nanoseconds.
const OLDEST_DAY: u64 = 3 * 86_400_000_000_000;

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
        let (rows, refused) = list(self.client, |symbol| symbols.contains(symbol))?;
        if let Some((symbol, why)) = refused.first() {
            bail!("the numbers of {symbol} do not fit ({why:?}): take it out of the symbols");
        }
        Ok(rows)
    }

    /// The last `days` closed days of each symbol, validated; what does not hold together is left out and logged. Put
    /// side by side by [`keel_feed::bars::table::Table::align`], they are the past returns of a value at risk.
    pub fn daily_closes(&self, symbols: &[Symbol], days: usize) -> Result<Vec<(Symbol, Series)>> {
        symbols.iter().map(|symbol| Ok((*symbol, self.days_of(*symbol, days)?))).collect()
    }

    fn days_of(&self, symbol: Symbol, days: usize) -> Result<Series> {
        let question = Question { symbol, instrument: InstrumentId::default(), minutes: DAILY };
        let (mut bars, mut refused, mut time, mut end) = (Vec::new(), Vec::new(), Wall::default(), None);
        // One day more than asked: returns need the close before the first.
        while bars.len() <= days + 1 {
            let path = question.path_and_query(end).context("the venue has no daily candles")?;
            let page = question.parse(&fetch(self.client, &path)?).map_err(|why| {
                anyhow::anyhow!("the daily candles of {symbol} were refused or not understood: {why:?}")
            })?;
            time = time.max(page.time);
            let older = page.older();
            bars.extend(page.bars);
            refused.extend(page.refused);
            if older.is_none() || end.is_some_and(|end| older >= Some(end)) {
                break;
            }
            end = older;
        }
        bars.sort_by_key(|bar| bar.start);
        let mut series = Series::new(DAILY, days + 1);
        for bar in &bars {
            let _ = series.accept(bar);
        }
        for (start, why) in &refused {
            tracing::warn!("{symbol}: the candle of {} is none: {why:?}", start.millis());
        }
        for (bar, why) in series.quarantine() {
            tracing::warn!("{symbol}: the candle of {} is in quarantine: {why:?}", bar.start.millis());
        }
        if let Some(last) = series.last()
            && time.since(last.start) > OLDEST_DAY + u64::from(DAILY) * 60_000_000_000
        {
            tracing::warn!("{symbol}: its days end at {}: no history to judge today by", last.start.millis());
            return Ok(Series::new(DAILY, days + 1));
        }
        Ok(series)
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

/// Rows, and those that are none.
type Listed = (Vec<Instrument>, Vec<(Symbol, listing::RowError)>);

/// Every page of the venue's list: the rows that are wanted, and those of them whose numbers do not fit.
pub(super) fn list(client: &Client, wanted: impl Fn(&Symbol) -> bool) -> Result<Listed> {
    let (mut rows, mut refused, mut cursor) = (Vec::new(), Vec::new(), String::new());
    for _ in 0..MAX_PAGES {
        let body = fetch(client, &listing::path_and_query(&cursor))?;
        let page = listing::parse(&body)
            .map_err(|why| anyhow::anyhow!("the venue's list of instruments was refused or not understood: {why:?}"))?;
        rows.extend(page.rows.into_iter().filter(|row| wanted(&row.symbol)));
        refused.extend(page.refused.into_iter().filter(|(symbol, _)| wanted(symbol)));
        if page.cursor.is_empty() {
            return Ok((rows, refused));
        }
        cursor = page.cursor;
    }
    bail!("the venue's list of instruments does not end after {MAX_PAGES} pages");
}

/// The body of a public answer.
fn fetch(client: &Client, path_and_query: &str) -> Result<Vec<u8>> {
    let path_and_query = path_and_query.to_owned();
    let reply =
        client.call(&Request { method: Method::Get, path_and_query, headers: Vec::new(), body: String::new() })?;
    ensure!(reply.status == 200, "the venue answered with HTTP status {}", reply.status);
    Ok(reply.body)
}

fn with_fees(symbol: Symbol, rows: &[Instrument], fees: &[Fee]) -> Result<Instrument> {
    let row = rows.iter().find(|row| row.symbol == symbol);
    let mut row = *row.with_context(|| format!("the venue does not list {symbol} as a USDT perpetual"))?;
    let fee = fees.iter().find(|fee| fee.symbol == symbol);
    let fee = fee.with_context(|| format!("the venue does not tell our fees on {symbol}"))?;
    (row.taker_fee, row.maker_fee) = (fee.taker, fee.maker);
    Ok(row)
}

#[cfg(test)]
mod tests;

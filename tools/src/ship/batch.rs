//! A stretch of the journal, ready to be sent: one binary COPY per table, and the hash over all of it.
//!
//! In: a source, how much at most. Out: a [`Batch`]. Never: a record left out. Each one is a row of its table, or a row
//! of the quarantine, or counted and hashed in the span that every batch ends with.

use super::source::Source;
use super::table::{MARKET, SPAN, hash_of, place, table_of, tables};
use super::wire::{HEADER, Row, TRAILER, day};
use keel_core::event::{BookUpdate, Kind, Liquidation, Ticker, Trade, read};
use keel_core::units::Px;
use keel_journal::history::Hash;
use keel_journal::{Damage, Entry};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// How much one transaction may carry. The first limit that is reached ends the batch.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Records looked at.
    pub records: u64,
    /// Records shipped as rows.
    pub rows: u64,
    /// Bytes of all COPYs together.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { records: 250_000, rows: 60_000, bytes: 16 << 20 }
    }
}

/// Written instead of a reason: the row stands there already, and it is the right one.
pub const THERE: &str = "";
/// Records the server refused, with what it said.
pub type Refused = BTreeMap<u64, String>;

/// A record, as a cursor knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Place in the journal; 0 is before the first.
    pub seq: u64,
    /// Hash of the record.
    pub hash: Hash,
    /// When it was written.
    pub wall: u64,
}

/// A stretch of the journal.
#[derive(Debug)]
pub struct Batch {
    /// The instance it is shipped as.
    pub instance: i32,
    /// Where the cursor must stand before.
    pub after: u64,
    /// First record.
    pub first: Mark,
    /// Last record: where the cursor stands afterwards.
    pub last: Mark,
    /// Records in it.
    pub records: u64,
    /// Of these, shipped as rows.
    pub rows: u64,
    /// Of these, in the quarantine.
    pub quarantined: u64,
    /// The record of the row and its table, when there is one row.
    pub single: Option<(Mark, usize)>,
    /// For each table, the rows of a COPY without header and trailer.
    pub buffers: Vec<Vec<u8>>,
    /// Tables and days that need a partition.
    pub days: BTreeSet<(usize, i64)>,
    digest: Sha256,
    market: BTreeMap<u16, Market>,
}

/// What the market did, on one instrument.
#[derive(Clone, Copy, Debug, Default)]
struct Market {
    books: i64,
    trades: i64,
    tickers: i64,
    liquidations: i64,
    volume: i64,
    prices: Option<[Px; 4]>,
    ticker: Option<[i64; 4]>,
}

impl Batch {
    /// Nothing yet; the cursor stands at `after`.
    #[must_use]
    pub fn new(instance: i32, after: u64) -> Self {
        Self {
            instance,
            after,
            first: Mark::default(),
            last: Mark { seq: after, ..Mark::default() },
            records: 0,
            rows: 0,
            quarantined: 0,
            single: None,
            buffers: vec![Vec::new(); tables().len()],
            days: BTreeSet::new(),
            digest: Sha256::new(),
            market: BTreeMap::new(),
        }
    }

    /// Takes records until a limit or the end of the journal; true at a limit.
    pub fn fill(&mut self, source: &mut Source, limits: &Limits, refused: &Refused) -> Result<bool, Damage> {
        while !self.is_full(limits) {
            let Some(entry) = source.poll()? else { return Ok(false) };
            self.take(&entry, refused.get(&entry.seq.0).map(String::as_str));
        }
        Ok(true)
    }

    fn is_full(&self, limits: &Limits) -> bool {
        let bytes: usize = self.buffers.iter().map(Vec::len).sum();
        self.records >= limits.records || self.rows >= limits.rows || bytes >= limits.bytes
    }

    /// Takes one record.
    pub fn take(&mut self, entry: &Entry<'_>, refused: Option<&str>) {
        let hash = hash_of(entry);
        let mark = Mark { seq: entry.seq.0, hash, wall: entry.wall.nanos() };
        if self.records == 0 {
            self.first = mark;
        }
        self.last = mark;
        self.records += 1;
        self.digest.update(hash);
        let placed = match refused {
            Some(THERE) => table_of(entry.kind),
            _ => place(entry, &hash, self.instance, refused, &mut self.buffers),
        };
        match placed {
            Some(table) => {
                self.rows += 1;
                self.single = (self.rows == 1).then_some((mark, table));
                self.quarantined += u64::from(table == super::table::QUARANTINE);
                self.days.insert((table, day(mark.wall)));
            }
            None => self.summarise(entry),
        }
    }

    fn summarise(&mut self, entry: &Entry<'_>) {
        debug_assert!(table_of(entry.kind).is_none());
        let bytes = entry.payload;
        match entry.kind {
            Some(Kind::Book) => {
                // the instrument alone: a book update is large, and there are many
                let Some(book) = BookUpdate::read(bytes) else { return };
                self.market.entry(book.instrument.0).or_default().books += 1;
            }
            Some(Kind::Trade) => {
                let Some(trade) = read::<Trade>(bytes) else { return };
                let market = self.market.entry(trade.instrument.0).or_default();
                market.trades += 1;
                market.volume = market.volume.saturating_add(trade.qty.raw());
                let [open, high, low, _] = market.prices.unwrap_or([trade.px; 4]);
                market.prices = Some([open, high.max(trade.px), low.min(trade.px), trade.px]);
            }
            Some(Kind::Ticker) => {
                let Some(ticker) = read::<Ticker>(bytes) else { return };
                let market = self.market.entry(ticker.instrument.0).or_default();
                market.tickers += 1;
                market.ticker =
                    Some([ticker.mark.raw(), ticker.index.raw(), ticker.funding_rate, ticker.open_interest.raw()]);
            }
            Some(Kind::Liquidation) => {
                let Some(fact) = read::<Liquidation>(bytes) else { return };
                self.market.entry(fact.instrument.0).or_default().liquidations += 1;
            }
            _ => {}
        }
    }

    /// Nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Writes the span and the market's summary. Once, when the last record was taken.
    pub fn close(&mut self) {
        let bounded = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let (first, last) = (self.first, self.last);
        let begin = |row: &mut Row<'_>, table: usize| {
            row.begin(tables()[table].columns.len());
            row.int4(self.instance);
            row.date(day(last.wall));
            row.int8(bounded(last.seq));
        };
        let mut row = Row(&mut self.buffers[SPAN]);
        begin(&mut row, SPAN);
        row.int8(bounded(first.seq));
        row.int8(bounded(first.wall));
        row.int8(bounded(last.wall));
        row.int8(bounded(self.records));
        row.int8(bounded(self.rows));
        row.bytes(&self.digest.clone().finalize());
        self.days.insert((SPAN, day(last.wall)));
        for (instrument, market) in &self.market {
            let mut row = Row(&mut self.buffers[MARKET]);
            begin(&mut row, MARKET);
            row.int4(i32::from(*instrument));
            row.int8(bounded(first.seq));
            for count in [market.books, market.trades, market.tickers, market.liquidations] {
                row.int8(count);
            }
            row.decimal(market.volume);
            let prices = market.prices.map(|prices| prices.map(Px::raw));
            for four in [prices, market.ticker] {
                for at in 0..4 {
                    match four {
                        Some(four) => row.decimal(four[at]),
                        None => row.null(),
                    }
                }
            }
            self.days.insert((MARKET, day(last.wall)));
        }
    }

    /// The COPYs: index of the table, and the bytes.
    pub fn into_copies(self) -> impl Iterator<Item = (usize, Vec<u8>)> {
        self.buffers.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()).map(|(table, rows)| {
            let mut bytes = Vec::with_capacity(rows.len() + HEADER.len() + TRAILER.len());
            bytes.extend_from_slice(HEADER);
            bytes.extend_from_slice(&rows);
            bytes.extend_from_slice(TRAILER);
            (table, bytes)
        })
    }
}

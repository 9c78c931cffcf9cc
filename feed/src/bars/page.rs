//! Candles as they are listed: one page of `GET /v5/market/kline` to bars.
//!
//! In: the body of an answer, and what was asked. Out: bars, oldest first as a [`super::Series`] takes them, rows that are
//! none with their reason, and where the next older page ends. Never: an answer about another symbol, a candle called
//! closed that the venue's own clock has not closed.
//!
//! ```text
//!   asked  symbol=BTCUSDT&interval=D&limit=1000&end=E       newest first:  E  E-1  E-2 ... oldest
//!   next   end = oldest - 1 ms, until a page is short
//! ```

use crate::decode::DecodeError;
use crate::instruments::PageError;
use crate::json::{Json, must, optional};
use crate::scan::statistic;
use crate::topic::interval_name;
use keel_core::event::{Bar, Flag, Origin};
use keel_core::ids::{InstrumentId, Symbol};
use keel_core::units::{Notional, Px, Qty, Wall};

/// Rows the venue puts on a page at most.
pub const PAGE_ROWS: usize = 1000;
/// Bodies longer than this are refused unread; a full page is about 120 KB.
const MAX_BODY: usize = 4 << 20;

/// Which candles are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Whose.
    pub symbol: Symbol,
    /// Its row, for the bars.
    pub instrument: InstrumentId,
    /// Minutes a candle covers.
    pub minutes: u16,
}

/// One page.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Oldest first.
    pub bars: Vec<Bar>,
    /// Starts of the rows that are no candle (zero where even that is none), and why.
    pub refused: Vec<(Wall, DecodeError)>,
    /// The venue's clock when it answered.
    pub time: Wall,
}

impl Question {
    /// Path and query of a page: the newest one, or the one whose candles begin at `end` at the latest. `None` when the
    /// venue has no such interval.
    #[must_use]
    pub fn path_and_query(&self, end: Option<Wall>) -> Option<String> {
        let (symbol, interval) = (self.symbol.as_str(), interval_name(self.minutes)?);
        let end = end.map_or_else(String::new, |end| format!("&end={}", end.millis()));
        Some(format!("/v5/market/kline?category=linear&symbol={symbol}&interval={interval}&limit={PAGE_ROWS}{end}"))
    }

    /// Reads the answer.
    pub fn parse(&self, body: &[u8]) -> Result<Page, PageError> {
        if body.is_empty() || body.len() > MAX_BODY {
            return Err(DecodeError::Length.into());
        }
        let mut copy = body.to_vec();
        let tape = simd_json::to_tape(&mut copy).map_err(|_| DecodeError::NotJson)?;
        let [code, result, time] = Json::whole(&tape.0)?.fields(["retCode", "result", "time"])?;
        let code = must(code)?.int()?;
        if code != 0 {
            return Err(PageError::Venue(code));
        }
        let [list, symbol] = must(result)?.fields(["list", "symbol"])?;
        if must(symbol)?.text()? != self.symbol.bytes() {
            return Err(DecodeError::Contradiction.into());
        }
        let time = optional(time, |time| time.int().map(Wall::from_millis), Wall::default())?;
        let mut page = Page { time, ..Page::default() };
        for (at, item) in must(list)?.items()?.enumerate() {
            if at == PAGE_ROWS {
                return Err(DecodeError::TooMany.into());
            }
            let mut start = Wall::default();
            match self.row(item, time, &mut start) {
                Ok(bar) => page.bars.push(bar),
                Err(why) => page.refused.push((start, why)),
            }
        }
        page.bars.sort_by_key(|bar| bar.start);
        Ok(page)
    }

    /// `["1670601600000","17071","17073","17027","17055.5","268611","15.74462667"]`
    fn row(&self, item: Json<'_>, time: Wall, start: &mut Wall) -> Result<Bar, DecodeError> {
        let mut fields = [b"".as_slice(); 7];
        let mut count = 0;
        for value in item.items()? {
            *fields.get_mut(count).ok_or(DecodeError::TooMany)? = value.text()?;
            count += 1;
        }
        if count < fields.len() {
            return Err(DecodeError::Missing);
        }
        let [at, open, high, low, close, volume, turnover] = fields;
        *start = Wall::from_millis(millis(at)?);
        let end = start.after(u64::from(self.minutes) * super::MINUTE - 1_000_000);
        Ok(Bar {
            origin: Origin { ts: time, ..Origin::default() },
            start: *start,
            end,
            open: Px::parse(open)?,
            high: Px::parse(high)?,
            low: Px::parse(low)?,
            close: Px::parse(close)?,
            volume: Qty::from_raw(statistic(volume, Qty::MAX.raw())?),
            turnover: Notional::from_raw(statistic(turnover, Notional::MAX.raw())?),
            instrument: self.instrument,
            minutes: self.minutes,
            confirmed: Flag::from(end < time),
            pad: [0; 3],
        })
    }
}

impl Page {
    /// Where the next older page ends; `None` when this was the last.
    #[must_use]
    pub fn older(&self) -> Option<Wall> {
        let short = self.bars.len() + self.refused.len() < PAGE_ROWS;
        let oldest = self.bars.first().filter(|_| !short)?.start.millis();
        oldest.checked_sub(1).map(Wall::from_millis)
    }
}

fn millis(text: &[u8]) -> Result<u64, DecodeError> {
    if text.is_empty() || text.len() > 15 || !text.iter().all(u8::is_ascii_digit) {
        return Err(DecodeError::Number);
    }
    Ok(text.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0')))
}

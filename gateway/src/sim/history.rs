//! What the public market was: bars, funding, open interest, and the state of the insurance, as REST and streams tell it.
//!
//! In: time (a sample of mark, index and premium each second, of open interest each five minutes), settlements. Out:
//! bounded histories, newest first, and the kline stream. Never: a rate in the history that is not the one settled.

use super::Exchange;
use super::bars::{Bar, Bars};
use super::codes::Refusal;
use super::pool::{ADL_START, ADL_STOP, ADL_TRIGGER};
use super::rest::Request;
use super::text::{Obj, array, decimal};
use keel_core::units::{Qty, SCALE};
use std::collections::VecDeque;

/// Settlements, and samples of open interest, kept of each symbol; the oldest go first.
const KEPT: usize = 10_000;
/// Milliseconds between kline pushes.
const KLINE_MS: u64 = 1_000;
/// Milliseconds between samples of open interest and of who holds which side.
const INTEREST_MS: u64 = 300_000;
const DAY_MS: u64 = 86_400_000;

/// One symbol's past.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) marks: Bars,
    pub(super) indexes: Bars,
    pub(super) premiums: Bars,
    second: u64,
    /// When, and the rate that settled.
    funding: VecDeque<(u64, i64)>,
    interest: VecDeque<Interest>,
    /// The bar each kline stream told last, and whether as closed.
    told: std::collections::BTreeMap<String, (u64, bool)>,
}

/// Open interest at a moment.
#[derive(Clone, Copy, Debug)]
struct Interest {
    time: u64,
    /// Of one side.
    open: Qty,
    longs: u32,
    shorts: u32,
}

fn keep<T>(rows: &mut VecDeque<T>, row: T) {
    if rows.len() >= KEPT {
        rows.pop_front();
    }
    rows.push_back(row);
}

/// A time argument.
fn moment(request: &Request<'_>, key: &str) -> Result<Option<u64>, Refusal> {
    match request.arg(key).as_str() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| Refusal::params(&format!("{key} invalid"))),
    }
}

impl Exchange {
    // ---- time ----------------------------------------------------------------------------------------------------

    /// Settles what is due; the first call only sets the hour.
    pub(super) fn fund(&mut self, now_ms: u64) {
        for symbol in 0..self.feeds.len() {
            let span = u64::from(self.engine.specs[symbol].instrument.funding_minutes.max(1)) * 60_000;
            let due = self.feeds[symbol].next_funding;
            if due != 0 && now_ms < due {
                continue;
            }
            if due != 0 {
                self.settle(symbol, due.min(now_ms));
            }
            self.feeds[symbol].next_funding = (now_ms / span + 1) * span;
        }
    }

    /// Funding at the rate the ticker shows, on record under the moment it was due.
    pub(super) fn settle(&mut self, symbol: usize, due_ms: u64) {
        let now_ms = self.now_ms();
        keep(&mut self.feeds[symbol].history.funding, (due_ms, self.engine.quotes[symbol].funding));
        self.engine.settle_funding(now_ms, symbol);
        self.engine.new_interval(symbol);
    }

    /// Mark, index and premium of this second, the funding rate of this minute, the open interest of these five.
    pub(super) fn sample(&mut self, now_ms: u64) {
        for symbol in 0..self.feeds.len() {
            if self.feeds[symbol].history.second == now_ms / 1_000 {
                continue;
            }
            let told = self.feeds[symbol].rate_taped;
            self.engine.sample_premium(now_ms, symbol, told);
            let quote = &self.engine.quotes[symbol];
            let past = &mut self.feeds[symbol].history;
            past.second = now_ms / 1_000;
            if quote.mark.is_zero() {
                continue;
            }
            past.marks.note(now_ms, quote.mark.raw());
            past.indexes.note(now_ms, quote.index.raw());
            past.premiums.note(now_ms, quote.model.premium);
            if past.interest.back().is_none_or(|last| last.time + INTEREST_MS <= now_ms) {
                let (open, longs, shorts) = self.engine.open_interest(symbol);
                let time = now_ms / INTEREST_MS * INTEREST_MS;
                keep(&mut past.interest, Interest { time, open, longs, shorts });
            }
        }
    }

    // ---- bars ----------------------------------------------------------------------------------------------------

    /// `market/kline` and its kin: newest first.
    pub(super) fn kline(&self, endpoint: &str, symbol: usize, request: &Request<'_>) -> Result<String, Refusal> {
        let limit = request.number("limit", 200, 1_000)?;
        let (start, end) = (moment(request, "start")?, moment(request, "end")?);
        let past = &self.feeds[symbol].history;
        let bars = match endpoint {
            "market/mark-price-kline" => &past.marks,
            "market/index-price-kline" => &past.indexes,
            "market/premium-index-price-kline" => &past.premiums,
            _ => &self.feeds[symbol].bars,
        };
        let bars = bars.of(&request.arg("interval")).ok_or(Refusal::params("interval invalid"))?;
        let wanted = |bar: &&Bar| start.is_none_or(|s| bar.start >= s) && end.is_none_or(|e| bar.start <= e);
        let mut out = String::new();
        Obj::new(&mut out)
            .s("category", "linear")
            .s("symbol", self.engine.specs[symbol].symbol())
            .with("list", |out| {
                array(out, bars.iter().rev().filter(wanted).take(limit), |out, bar| {
                    out.push_str(&format!("[\"{}\"", bar.start));
                    let prices = [bar.open, bar.high, bar.low, bar.close];
                    let traded = [bar.volume, bar.turnover];
                    let fields =
                        prices.iter().chain(traded.iter().take(if endpoint == "market/kline" { 2 } else { 0 }));
                    for field in fields {
                        out.push_str(&format!(",\"{}\"", decimal(*field)));
                    }
                    out.push(']');
                });
            })
            .end();
        Ok(out)
    }

    /// When the kline streams of a symbol are due.
    pub(super) fn next_kline(&self, symbol: usize) -> Option<u64> {
        self.kline_topics(symbol).next().map(|_| self.feeds[symbol].kline_at + KLINE_MS)
    }

    fn kline_topics(&self, symbol: usize) -> impl Iterator<Item = &String> {
        let name = self.engine.specs[symbol].symbol();
        let all = self.subscribers.range("kline.".to_owned().."kline/".to_owned()).map(|(topic, _)| topic);
        all.filter(move |topic| topic.rsplit('.').next() == Some(name))
    }

    pub(super) fn publish_klines(&mut self, symbol: usize, now_ms: u64) {
        if now_ms < self.feeds[symbol].kline_at + KLINE_MS {
            return;
        }
        self.feeds[symbol].kline_at = now_ms;
        let wanted: Vec<String> = self.kline_topics(symbol).cloned().collect();
        for topic in wanted {
            for frame in self.kline_frames(symbol, &topic) {
                self.broadcast(&topic, &frame);
            }
        }
    }

    /// The running bar; before it the one that closed meanwhile, once.
    fn kline_frames(&mut self, symbol: usize, topic: &str) -> Vec<String> {
        let interval = topic.split('.').nth(1).unwrap_or("1");
        let feed = &self.feeds[symbol];
        let (Some(ring), Some(time)) = (feed.bars.of(interval), feed.trades.back().map(|p| p.time)) else {
            return Vec::new();
        };
        let Some(last) = ring.back().copied() else { return Vec::new() };
        // A tape that plays at its own times closes its bars by them.
        let clock = if self.now_ms().abs_diff(time) > DAY_MS { time } else { self.now_ms() };
        let told = feed.history.told.get(topic).copied();
        let mut bars = Vec::new();
        if let Some((start, false)) = told.filter(|(start, _)| *start < last.start) {
            bars.extend(ring.iter().rev().find(|bar| bar.start == start).map(|bar| (*bar, true)));
        }
        let closed = clock >= last.end;
        if told != Some((last.start, true)) {
            bars.push((last, closed));
        }
        self.feeds[symbol].history.told.insert(topic.to_owned(), (last.start, closed));
        bars.into_iter().map(|(bar, closed)| self.kline_frame(topic, interval, &bar, closed, time)).collect()
    }

    fn kline_frame(&self, topic: &str, interval: &str, bar: &Bar, closed: bool, time: u64) -> String {
        let mut out = String::new();
        Obj::new(&mut out)
            .s("topic", topic)
            .with("data", |out| {
                out.push('[');
                Obj::new(out)
                    .u("start", bar.start)
                    .u("end", bar.end - 1)
                    .s("interval", interval)
                    .d("open", bar.open)
                    .d("close", bar.close)
                    .d("high", bar.high)
                    .d("low", bar.low)
                    .d("volume", bar.volume)
                    .d("turnover", bar.turnover)
                    .b("confirm", closed)
                    .u("timestamp", time)
                    .end();
                out.push(']');
            })
            .u("ts", self.now_ms())
            .s("type", "snapshot")
            .end();
        out
    }

    // ---- funding, interest, insurance ----------------------------------------------------------------------------

    pub(super) fn funding_history(&self, symbol: usize, request: &Request<'_>) -> Result<String, Refusal> {
        let limit = request.number("limit", 200, 200)?;
        let (start, end) = (moment(request, "startTime")?, moment(request, "endTime")?);
        if start.is_some() && end.is_none() {
            return Err(Refusal::params("endTime is required with startTime"));
        }
        let all = self.feeds[symbol].history.funding.iter().rev();
        let rows = all.filter(|(at, _)| start.is_none_or(|s| *at >= s) && end.is_none_or(|e| *at <= e)).take(limit);
        let mut out = String::new();
        Obj::new(&mut out)
            .s("category", "linear")
            .with("list", |out| {
                array(out, rows, |out, (at, rate)| {
                    let row = Obj::new(out).s("symbol", self.engine.specs[symbol].symbol());
                    row.d("fundingRate", *rate).us("fundingRateTimestamp", *at).end();
                });
            })
            .end();
        Ok(out)
    }

    /// `market/open-interest`, `market/account-ratio`: the kept samples that begin an interval.
    pub(super) fn interest(&self, endpoint: &str, symbol: usize, request: &Request<'_>) -> Result<String, Refusal> {
        let ratio = endpoint == "market/account-ratio";
        let minutes: u64 = match request.arg(if ratio { "period" } else { "intervalTime" }).as_str() {
            "5min" => 5,
            "15min" => 15,
            "30min" => 30,
            "1h" => 60,
            "4h" => 240,
            "1d" => 1_440,
            _ => return Err(Refusal::params(if ratio { "period invalid" } else { "intervalTime invalid" })),
        };
        let limit = request.number("limit", 50, if ratio { 500 } else { 200 })?;
        let (start, end) = (moment(request, "startTime")?, moment(request, "endTime")?);
        let fits = |i: &&Interest| {
            i.time.is_multiple_of(minutes * 60_000)
                && start.is_none_or(|s| i.time >= s)
                && end.is_none_or(|e| i.time <= e)
        };
        let rows: Vec<&Interest> = self.feeds[symbol].history.interest.iter().rev().filter(fits).collect();
        let (rows, next) = super::query::page(rows, request, limit)?;
        let spec = &self.engine.specs[symbol];
        let mut out = String::new();
        let head = Obj::new(&mut out);
        let head = if ratio { head } else { head.s("symbol", spec.symbol()).s("category", "linear") };
        head.with("list", |out| {
            array(out, rows, |out, i| {
                let row = Obj::new(out);
                let row = if ratio {
                    let part = |n: u32| SCALE * i64::from(n) / i64::from(i.longs + i.shorts).max(1) / 10_000 * 10_000;
                    row.s("symbol", spec.symbol()).d("buyRatio", part(i.longs)).d("sellRatio", part(i.shorts))
                } else {
                    row.d("openInterest", (i.open + i.open).raw()).d("singleOpenInterest", i.open.raw())
                };
                row.us("timestamp", i.time).end();
            });
        })
        .s("nextPageCursor", &next)
        .end();
        Ok(out)
    }

    pub(super) fn insurance(&self, request: &Request<'_>) -> String {
        let coin = request.arg("coin");
        let pools = self.engine.specs.iter().zip(&self.engine.pools).filter(|_| coin.is_empty() || coin == "USDT");
        let mut out = String::new();
        Obj::new(&mut out)
            .us("updatedTime", self.now_ms())
            .with("list", |out| {
                array(out, pools, |out, (spec, pool)| {
                    let row = Obj::new(out).s("coin", "USDT").s("symbols", spec.symbol());
                    row.d("balance", pool.balance.raw()).d("value", pool.balance.raw()).end();
                });
            })
            .end();
        out
    }

    pub(super) fn adl_alert(&self, only: Option<usize>) -> String {
        let now_ms = self.now_ms();
        let pools = self.engine.specs.iter().zip(&self.engine.pools).enumerate();
        let pools = pools.filter(|(symbol, _)| only.is_none_or(|o| o == *symbol));
        let mut out = String::new();
        Obj::new(&mut out)
            .us("updatedTime", now_ms)
            .with("list", |out| {
                array(out, pools, |out, (_, (spec, pool))| {
                    Obj::new(out)
                        .s("coin", "USDT")
                        .s("symbol", spec.symbol())
                        .d("balance", pool.balance.raw())
                        .s("maxBalance", "")
                        .d("insurancePnlRatio", ADL_START)
                        .d("pnlRatio", pool.drawdown(now_ms))
                        .d("adlTriggerThreshold", ADL_TRIGGER.raw())
                        .d("adlStopRatio", ADL_STOP)
                        .end();
                });
            })
            .end();
        out
    }
}

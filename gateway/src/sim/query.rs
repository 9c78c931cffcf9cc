//! REST queries about the public market.

use super::Exchange;
use super::codes::{self, Refusal};
use super::feed::{self, Stamp};
use super::rest::Request;
use super::text::{Obj, array, decimal};
use keel_core::event::Side;
use keel_core::units::SCALE;

/// What `u` of a REST book counts from: it follows the deepest stream.
const BOOK_DEPTH: usize = 1_000;

/// One page of `rows`: the rows and the cursor of the next one (an offset the client returns verbatim).
pub(super) fn page<T>(rows: Vec<T>, request: &Request<'_>, limit: usize) -> Result<(Vec<T>, String), Refusal> {
    let cursor = request.arg("cursor");
    let from = match cursor.as_str() {
        "" => 0,
        text => text.strip_prefix("at:").and_then(|n| n.parse().ok()).ok_or(Refusal::params("cursor invalid"))?,
    };
    let total = rows.len();
    let rows: Vec<T> = rows.into_iter().skip(from).take(limit).collect();
    let next = if from.saturating_add(limit) < total { format!("at%3A{}", from + limit) } else { String::new() };
    Ok((rows, next))
}

impl Exchange {
    pub(super) fn symbol_arg(&self, request: &Request<'_>) -> Result<Option<usize>, Refusal> {
        match request.arg("symbol").as_str() {
            "" => Ok(None),
            name => self.engine.symbol(name).map(Some).ok_or(codes::BAD_SYMBOL),
        }
    }

    fn needed_symbol(&self, request: &Request<'_>) -> Result<usize, Refusal> {
        self.symbol_arg(request)?.ok_or(codes::BAD_SYMBOL)
    }

    /// Public market data.
    pub(super) fn market(&mut self, endpoint: &str, request: &Request<'_>) -> Result<String, Refusal> {
        let mut out = String::new();
        match endpoint {
            "market/time" => {
                let nanos = self.now.nanos();
                Obj::new(&mut out).us("timeSecond", nanos / 1_000_000_000).us("timeNano", nanos).end();
                return Ok(out);
            }
            "market/insurance" => return Ok(self.insurance(request)),
            "market/index-price-components" => return self.index_components(&request.arg("indexName")),
            "system/status" => return Ok(self.system_status(&request.arg("id"), &request.arg("state"))),
            _ => {}
        }
        let category = request.arg("category");
        if !matches!(category.as_str(), "linear" | "" | "spot" | "inverse" | "option") {
            return Err(codes::BAD_CATEGORY);
        }
        if matches!(category.as_str(), "spot" | "inverse" | "option") {
            Obj::new(&mut out).s("category", &category).raw("list", "[]").s("nextPageCursor", "").end();
            return Ok(out);
        }
        match endpoint {
            "market/instruments-info" => self.instruments(request),
            "market/orderbook" => self.orderbook(request),
            "market/tickers" => self.tickers(request),
            "market/recent-trade" => self.recent(request),
            "market/kline"
            | "market/mark-price-kline"
            | "market/index-price-kline"
            | "market/premium-index-price-kline" => self.kline(endpoint, self.needed_symbol(request)?, request),
            "market/funding/history" => self.funding_history(self.needed_symbol(request)?, request),
            "market/open-interest" | "market/account-ratio" => {
                self.interest(endpoint, self.needed_symbol(request)?, request)
            }
            "market/rpi_orderbook" => self.rpi_orderbook(request),
            "market/adlAlert" => Ok(self.adl_alert(self.symbol_arg(request)?)),
            "market/risk-limit" => self.risk_limit(request),
            "market/price-limit" => {
                let symbol = self.needed_symbol(request)?;
                let (highest, lowest) = self.engine.band(symbol);
                let spec = &self.engine.specs[symbol];
                Obj::new(&mut out)
                    .s("symbol", spec.symbol())
                    .f("buyLmt", highest.raw(), spec.price_places)
                    .f("sellLmt", lowest.raw(), spec.price_places)
                    .us("ts", self.now_ms())
                    .end();
                Ok(out)
            }
            _ => {
                Obj::new(&mut out).s("category", "linear").raw("list", "[]").s("nextPageCursor", "").end();
                Ok(out)
            }
        }
    }

    fn instruments(&self, request: &Request<'_>) -> Result<String, Refusal> {
        let only = match request.arg("symbol").as_str() {
            "" => None,
            name => Some(self.engine.symbol(name).ok_or(codes::BAD_SYMBOL)?),
        };
        let (status, base) = (request.arg("status"), request.arg("baseCoin"));
        let status = if status.is_empty() { "Trading".to_owned() } else { status };
        let specs = self.engine.specs.iter().enumerate().filter(|(at, spec)| match only {
            Some(symbol) => *at == symbol,
            None => spec.status.text() == status && (base.is_empty() || spec.base == base),
        });
        let limit = request.number("limit", 500, 1_000)?;
        let (rows, next) = page(specs.map(|(_, spec)| spec).collect(), request, limit)?;
        let mut out = String::new();
        Obj::new(&mut out)
            .s("category", "linear")
            .with("list", |out| array(out, rows, |out, spec| spec.write_row(out)))
            .s("nextPageCursor", &next)
            .end();
        Ok(out)
    }

    fn orderbook(&self, request: &Request<'_>) -> Result<String, Refusal> {
        let symbol = self.needed_symbol(request)?;
        let limit = request.number("limit", 25, 1_000)?;
        let book = &self.engine.books[symbol];
        let (bids, asks) = (feed::levels(book, Side::Buy, limit), feed::levels(book, Side::Sell, limit));
        let mirror = self.feeds[symbol].mirrors.get(&BOOK_DEPTH);
        let seq = self.engine.quotes[symbol].seq;
        let u = mirror.map_or(seq, |m| m.u);
        let stamp =
            Stamp { depth: BOOK_DEPTH, u, seq, ts: self.now_ms(), cts: mirror.map_or(self.now_ms(), |m| m.cts) };
        Ok(feed::book_result(&self.engine.specs[symbol], &stamp, &bids, &asks))
    }

    fn rpi_orderbook(&self, request: &Request<'_>) -> Result<String, Refusal> {
        let symbol = self.needed_symbol(request)?;
        let limit = request.number("limit", 50, 50)?;
        let book = &self.engine.books[symbol];
        let (bids, asks) = (feed::levels(book, Side::Buy, limit), feed::levels(book, Side::Sell, limit));
        let (mirror, now_ms) = (self.feeds[symbol].mirrors.get(&feed::RPI), self.now_ms());
        let seq = self.engine.quotes[symbol].seq;
        let u = mirror.map_or(seq, |m| m.u);
        let stamp = Stamp { depth: feed::RPI, u, seq, ts: now_ms, cts: mirror.map_or(now_ms, |m| m.cts) };
        Ok(feed::book_result(&self.engine.specs[symbol], &stamp, &bids, &asks))
    }

    /// What the index is made of: here of one source, this venue's own model.
    fn index_components(&self, name: &str) -> Result<String, Refusal> {
        let symbol = self.engine.symbol(name).ok_or(codes::BAD_SYMBOL)?;
        let (spec, index) = (&self.engine.specs[symbol], self.engine.quotes[symbol].index);
        let mut out = String::new();
        Obj::new(&mut out)
            .s("indexName", name)
            .d("lastPrice", index.raw())
            .us("updateTime", self.now_ms())
            .with("components", |out| {
                out.push('[');
                let row = Obj::new(out).s("exchange", "Bybit").s("spotPair", name).d("equivalentPrice", index.raw());
                row.s("multiplier", "1").f("price", index.raw(), spec.price_places).s("weight", "1").end();
                out.push(']');
            })
            .end();
        Ok(out)
    }

    fn tickers(&self, request: &Request<'_>) -> Result<String, Refusal> {
        let only = self.symbol_arg(request)?;
        let symbols = (0..self.engine.specs.len()).filter(|s| only.is_none_or(|o| o == *s));
        let mut out = String::new();
        Obj::new(&mut out)
            .s("category", "linear")
            .with("list", |out| {
                array(out, symbols, |out, symbol| {
                    let fields = self.ticker_fields(symbol);
                    let row = fields.iter().fold(Obj::new(out), |row, (key, value)| row.s(key, value));
                    row.s("deliveryTime", "0")
                        .s("basis", "")
                        .s("deliveryFeeRate", "")
                        .s("predictedDeliveryPrice", "")
                        .end();
                });
            })
            .end();
        Ok(out)
    }

    fn recent(&self, request: &Request<'_>) -> Result<String, Refusal> {
        let symbol = self.needed_symbol(request)?;
        let limit = request.number("limit", 500, 1_000)?;
        let spec = &self.engine.specs[symbol];
        let mut out = String::new();
        Obj::new(&mut out)
            .s("category", "linear")
            .with("list", |out| {
                array(out, self.feeds[symbol].trades.iter().rev().take(limit), |out, p| {
                    Obj::new(out)
                        .s("execId", &p.id)
                        .s("symbol", spec.symbol())
                        .f("price", p.px.raw(), spec.price_places)
                        .f("size", p.qty.raw(), spec.qty_places)
                        .s("side", super::order::side_text(p.side))
                        .us("time", p.time)
                        .b("isBlockTrade", false)
                        .b("isRPITrade", false)
                        .us("seq", p.seq)
                        .end();
                });
            })
            .end();
        Ok(out)
    }

    fn risk_limit(&self, request: &Request<'_>) -> Result<String, Refusal> {
        /// Symbols of one page.
        const PAGE: usize = 15;
        let only = self.symbol_arg(request)?;
        let specs = self.engine.specs.iter().enumerate().filter(|(s, _)| only.is_none_or(|o| o == *s));
        let (specs, next) = page(specs.map(|(_, spec)| spec).collect(), request, PAGE)?;
        let tiers = specs.iter().flat_map(|spec| spec.tiers.iter().enumerate().map(move |(n, tier)| (*spec, n, tier)));
        let mut out = String::new();
        Obj::new(&mut out)
            .s("category", "linear")
            .with("list", |out| {
                array(out, tiers, |out, (spec, n, tier)| {
                    let most = i64::from(tier.max_leverage);
                    Obj::new(out)
                        .n("id", spec.risk_id(n))
                        .s("symbol", spec.symbol())
                        .d("riskLimitValue", tier.limit.raw())
                        .d("maintenanceMargin", tier.mmr)
                        .d("initialMargin", SCALE * 100 / most)
                        .n("isLowestRisk", i64::from(n == 0))
                        .f("maxLeverage", most * (SCALE / 100), 2)
                        .s("mmDeduction", &if n == 0 { String::new() } else { decimal(tier.deduction.raw()) })
                        .end();
                });
            })
            .s("nextPageCursor", &next)
            .end();
        Ok(out)
    }
}

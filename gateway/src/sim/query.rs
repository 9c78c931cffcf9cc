//! REST queries: the public market and what an account may ask about itself.

use super::codes::{self, Refusal};
use super::feed::{self, Stamp};
use super::order::{Order, Status};
use super::rest::Request;
use super::text::{Obj, array, decimal};
use super::{Exchange, rows};
use keel_core::event::Side;
use keel_core::units::{Notional, SCALE};

/// What `u` of a REST book counts from: it follows the deepest stream.
const BOOK_DEPTH: usize = 1_000;

/// Start and open, high, low, close, volume, turnover.
type Bar = (u64, [i64; 6]);

/// One page of `rows`: the rows and the cursor of the next one (an offset the client returns verbatim).
fn page<T>(rows: Vec<T>, request: &Request<'_>, limit: usize) -> Result<(Vec<T>, String), Refusal> {
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
    fn symbol_arg(&self, request: &Request<'_>) -> Result<Option<usize>, Refusal> {
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
            "system/status" => return Ok(self.system_status()),
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
            "market/kline" => self.kline(request),
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

    /// Bars of the kept trades, oldest first: start, OHLC, volume, turnover.
    fn bars(&self, symbol: usize, interval: &str) -> Option<(u64, Vec<Bar>)> {
        let minutes: u64 = match interval {
            "D" => 1_440,
            "W" => 10_080,
            "M" => 43_200,
            text => text.parse().ok().filter(|m| (1..=720).contains(m))?,
        };
        let span = minutes * 60_000;
        let mut bars: Vec<Bar> = Vec::new();
        for p in &self.feeds[symbol].trades {
            let (start, px) = (p.time / span * span, p.px.raw());
            let value = p.px.mul_floor(p.qty).unwrap_or(Notional::ZERO).raw();
            match bars.last_mut() {
                Some((at, row)) if *at == start => {
                    let (volume, turnover) = (row[4].saturating_add(p.qty.raw()), row[5].saturating_add(value));
                    *row = [row[0], row[1].max(px), row[2].min(px), px, volume, turnover];
                }
                _ => bars.push((start, [px, px, px, px, p.qty.raw(), value])),
            }
        }
        Some((span, bars))
    }

    fn kline(&self, request: &Request<'_>) -> Result<String, Refusal> {
        let symbol = self.needed_symbol(request)?;
        let limit = request.number("limit", 200, 1_000)?;
        let interval = request.arg("interval");
        let (_, bars) = self.bars(symbol, &interval).ok_or(Refusal::params("interval invalid"))?;
        let mut out = String::new();
        Obj::new(&mut out)
            .s("category", "linear")
            .s("symbol", self.engine.specs[symbol].symbol())
            .with("list", |out| {
                array(out, bars.iter().rev().take(limit), |out, (start, row)| {
                    out.push_str(&format!("[\"{start}\""));
                    for field in row {
                        out.push_str(&format!(",\"{}\"", decimal(*field)));
                    }
                    out.push(']');
                });
            })
            .end();
        Ok(out)
    }

    /// The running bar, as the stream tells it.
    pub(super) fn kline_frame(&self, symbol: usize, topic: &str, interval: &str) -> Option<String> {
        let (span, bars) = self.bars(symbol, interval)?;
        let (start, row) = bars.last()?;
        let time = self.feeds[symbol].trades.back()?.time;
        let mut out = String::new();
        Obj::new(&mut out)
            .s("topic", topic)
            .with("data", |out| {
                out.push('[');
                Obj::new(out)
                    .u("start", *start)
                    .u("end", start + span - 1)
                    .s("interval", interval)
                    .d("open", row[0])
                    .d("close", row[3])
                    .d("high", row[1])
                    .d("low", row[2])
                    .d("volume", row[4])
                    .d("turnover", row[5])
                    .b("confirm", self.now_ms() >= start + span)
                    .u("timestamp", time)
                    .end();
                out.push(']');
            })
            .u("ts", self.now_ms())
            .s("type", "snapshot")
            .end();
        Some(out)
    }

    fn risk_limit(&self, request: &Request<'_>) -> Result<String, Refusal> {
        let only = self.symbol_arg(request)?;
        let specs = self.engine.specs.iter().enumerate().filter(|(s, _)| only.is_none_or(|o| o == *s));
        let mut out = String::new();
        Obj::new(&mut out)
            .s("category", "linear")
            .with("list", |out| {
                array(out, specs, |out, (_, spec)| {
                    let most = i64::from(spec.instrument.max_leverage);
                    Obj::new(out)
                        .n("id", i64::from(spec.instrument.id.0) + 1)
                        .s("symbol", spec.symbol())
                        .d("riskLimitValue", spec.risk_limit.raw())
                        .d("maintenanceMargin", spec.mmr)
                        .d("initialMargin", SCALE / most * 100)
                        .n("isLowestRisk", 1)
                        .f("maxLeverage", most * (SCALE / 100), 2)
                        .s("mmDeduction", "")
                        .end();
                });
            })
            .s("nextPageCursor", "")
            .end();
        Ok(out)
    }

    fn system_status(&self) -> String {
        let mut out = String::new();
        Obj::new(&mut out)
            .with("list", |out| {
                array(out, self.maintenance.then_some(()), |out, ()| {
                    Obj::new(out)
                        .s("id", "sim-1")
                        .s("title", "Maintenance")
                        .s("state", "ongoing")
                        .us("begin", self.now_ms())
                        .s("end", "0")
                        .s("href", "")
                        .raw("serviceTypes", "[1,2,3,4]")
                        .raw("product", "[1,2]")
                        .raw("uidSuffix", "[0,1,2,3,4,5,6,7,8,9]")
                        .n("maintainType", 1)
                        .n("env", 1)
                        .end();
                });
            })
            .end();
        out
    }

    // ---- the account's own -----------------------------------------------------------------------------------------

    /// Private queries.
    pub(super) fn read(
        &mut self,
        endpoint: &str,
        account: usize,
        key: usize,
        request: &Request<'_>,
    ) -> Result<String, Refusal> {
        let mut out = String::new();
        match endpoint {
            "order/realtime" => return self.orders(account, request, false),
            "order/history" => return self.orders(account, request, true),
            "execution/list" => return self.executions_list(account, request),
            "position/list" => return self.positions(account, request),
            "position/closed-pnl" => return self.closed_pnl(account, request),
            "account/transaction-log" => return self.transactions(account, request),
            "account/fee-rate" => return self.fee_rate(account, request),
            "user/query-api" => return Ok(self.query_api(account, key)),
            "account/wallet-balance" => {
                Obj::new(&mut out)
                    .with("list", |out| {
                        out.push('[');
                        rows::wallet(out, &self.engine, account);
                        out.push(']');
                    })
                    .end();
            }
            "account/info" => Obj::new(&mut out)
                .n("unifiedMarginStatus", 5)
                .s("marginMode", "REGULAR_MARGIN")
                .b("isMasterTrader", false)
                .s("spotHedgingStatus", "OFF")
                .s("updatedTime", "1700000000000")
                .s("dcpStatus", "OFF")
                .n("timeWindow", 0)
                .n("smpGroup", 0)
                .end(),
            "account/smp-group" => Obj::new(&mut out).n("smpGroup", 0).end(),
            "account/query-dcp-info" => {
                let seconds = self.engine.accounts[account].dcp_seconds;
                Obj::new(&mut out)
                    .with("dcpInfos", |out| {
                        array(out, (seconds > 0).then_some(seconds), |out, s| {
                            Obj::new(out).s("product", "DERIVATIVES").s("dcpStatus", "ON").us("timeWindow", s).end();
                        });
                    })
                    .end();
            }
            "account/user-setting-config" => {
                let rejects = self.engine.accounts[account].band_rejects;
                Obj::new(&mut out).b("lpaSpot", false).b("lpaPerp", rejects).b("deltaNeutral", false).end();
            }
            "asset/coin/query-info" => Obj::new(&mut out).raw("rows", "[]").end(),
            "asset/deposit/query-record" => return self.transfers(account, true),
            "asset/withdraw/query-record" => return self.transfers(account, false),
            _ => Obj::new(&mut out).raw("list", "[]").s("nextPageCursor", "").end(),
        }
        Ok(out)
    }

    fn other_category(request: &Request<'_>) -> Option<String> {
        let category = request.arg("category");
        (category != "linear" && !category.is_empty()).then(|| {
            let mut out = String::new();
            Obj::new(&mut out).s("nextPageCursor", "").s("category", &category).raw("list", "[]").end();
            out
        })
    }

    fn orders(&self, account: usize, request: &Request<'_>, history: bool) -> Result<String, Refusal> {
        if let Some(empty) = Self::other_category(request) {
            return Ok(empty);
        }
        let limit = request.number("limit", 20, 50)?;
        let (symbol, id, link) = (self.symbol_arg(request)?, request.arg("orderId"), request.arg("orderLinkId"));
        let (base, settle, filter) = (request.arg("baseCoin"), request.arg("settleCoin"), request.arg("orderFilter"));
        let by_id = !id.is_empty() || !link.is_empty();
        if !history && symbol.is_none() && base.is_empty() && settle.is_empty() && !by_id {
            return Err(Refusal::params("symbol, settleCoin or baseCoin is required"));
        }
        let (from, to) = window(request, self.now_ms(), history)?;
        let wanted = |o: &&Order| {
            let stop = o.status == Status::Untriggered;
            symbol.is_none_or(|s| s == o.symbol)
                && (id.is_empty() || self.engine.order_id(o.id) == id)
                && (link.is_empty() || !id.is_empty() || o.link == link)
                && (base.is_empty() || self.engine.specs[o.symbol].base == base)
                && (settle.is_empty() || settle == "USDT")
                && (by_id || filter.is_empty() || (filter == "StopOrder") == stop)
                && (by_id || !history || (from..=to).contains(&o.created))
        };
        let of = &self.engine.accounts[account];
        let open = || of.open.iter().rev().filter_map(|id| self.engine.orders.get(id)).filter(|o| rows::is_open(o));
        let mut found: Vec<&Order> = match (history, request.arg("openOnly").as_str()) {
            (true, _) => of.closed.iter().rev().filter(wanted).collect(),
            (false, _) if by_id => open().chain(of.closed.iter().rev().take(500)).filter(wanted).collect(),
            (false, "1") => of.closed.iter().rev().take(500).filter(wanted).collect(),
            (false, _) => open().filter(wanted).collect(),
        };
        found.sort_by_key(|o| std::cmp::Reverse((o.created, o.id)));
        let (found, next) = page(found, request, limit)?;
        let mut out = String::new();
        Obj::new(&mut out)
            .s("nextPageCursor", &next)
            .s("category", "linear")
            .with("list", |out| array(out, found, |out, o| rows::order(out, &self.engine, o, false)))
            .end();
        Ok(out)
    }

    fn executions_list(&self, account: usize, request: &Request<'_>) -> Result<String, Refusal> {
        if let Some(empty) = Self::other_category(request) {
            return Ok(empty);
        }
        let limit = request.number("limit", 50, 100)?;
        let (symbol, id, link) = (self.symbol_arg(request)?, request.arg("orderId"), request.arg("orderLinkId"));
        let kind = request.arg("execType");
        let by_id = !id.is_empty() || !link.is_empty();
        let (from, to) = window(request, self.now_ms(), true)?;
        let all = self.engine.accounts[account].executions.iter().rev();
        let found = all.filter(|e| {
            if by_id {
                return (id.is_empty() || self.engine.order_id(e.order) == id) && (link.is_empty() || e.link == link);
            }
            symbol.is_none_or(|s| s == e.symbol) && (kind.is_empty() || e.what == kind) && (from..=to).contains(&e.time)
        });
        let (found, next) = page(found.collect(), request, limit)?;
        let mut out = String::new();
        Obj::new(&mut out)
            .s("nextPageCursor", &next)
            .s("category", "linear")
            .with("list", |out| array(out, found, |out, e| rows::execution(out, &self.engine, e, false)))
            .end();
        Ok(out)
    }

    fn positions(&self, account: usize, request: &Request<'_>) -> Result<String, Refusal> {
        if let Some(empty) = Self::other_category(request) {
            return Ok(empty);
        }
        let of = &self.engine.accounts[account];
        let legs = |symbol: usize| if of.hedge[symbol] { vec![1u8, 2] } else { vec![0] };
        let found: Vec<(usize, u8)> = match self.symbol_arg(request)? {
            Some(symbol) => legs(symbol).into_iter().map(|idx| (symbol, idx)).collect(),
            None if request.arg("settleCoin").is_empty() => {
                return Err(Refusal::params("symbol or settleCoin is required"));
            }
            None => of.positions.iter().filter(|(_, p)| !p.size.is_zero()).map(|(key, _)| *key).collect(),
        };
        let limit = request.number("limit", 20, 200)?;
        let (found, next) = page(found, request, limit)?;
        let mut out = String::new();
        Obj::new(&mut out)
            .s("nextPageCursor", &next)
            .s("category", "linear")
            .with("list", |out| {
                array(out, found, |out, (symbol, idx)| {
                    rows::position(out, &self.engine, account, symbol, idx, &of.position(symbol, idx), false);
                });
            })
            .end();
        Ok(out)
    }

    fn closed_pnl(&self, account: usize, request: &Request<'_>) -> Result<String, Refusal> {
        let symbol = self.symbol_arg(request)?;
        let limit = request.number("limit", 50, 100)?;
        let (from, to) = window(request, self.now_ms(), true)?;
        let all = self.engine.accounts[account].closed.iter().rev().filter(|o| o.closing.fills > 0);
        let found = all.filter(|r| symbol.is_none_or(|s| s == r.symbol) && (from..=to).contains(&r.updated));
        let (found, next) = page(found.collect(), request, limit)?;
        let mut out = String::new();
        Obj::new(&mut out)
            .s("nextPageCursor", &next)
            .s("category", "linear")
            .with("list", |out| {
                array(out, found, |out, r| {
                    let spec = &self.engine.specs[r.symbol];
                    let average = |value: Notional| r.closing.qty.average(value).map_or(0, |px| px.raw());
                    Obj::new(out)
                        .s("symbol", spec.symbol())
                        .s("orderId", &self.engine.order_id(r.id))
                        .s("side", super::order::side_text(r.side))
                        .d("qty", r.qty.raw())
                        .d("orderPrice", r.px.raw())
                        .s("orderType", r.kind.text())
                        .s("execType", "Trade")
                        .d("closedSize", r.closing.qty.raw())
                        .d("cumEntryValue", r.closing.entry.raw())
                        .d("avgEntryPrice", average(r.closing.entry))
                        .d("cumExitValue", r.closing.exit.raw())
                        .d("avgExitPrice", average(r.closing.exit))
                        .d("closedPnl", r.closing.pnl.raw())
                        .us("fillCount", r.closing.fills)
                        .d("leverage", i64::from(self.engine.accounts[account].leverage[r.symbol]) * (SCALE / 100))
                        .d("openFee", r.closing.open_fee.raw())
                        .d("closeFee", r.closing.close_fee.raw())
                        .us("createdTime", r.created)
                        .us("updatedTime", r.updated)
                        .end();
                });
            })
            .end();
        Ok(out)
    }

    fn transactions(&self, account: usize, request: &Request<'_>) -> Result<String, Refusal> {
        let limit = request.number("limit", 20, 50)?;
        let (from, to) = window(request, self.now_ms(), true)?;
        let kind = request.arg("type");
        let all = self.engine.accounts[account].log.iter().rev();
        let found = all.filter(|r| (kind.is_empty() || r.what == kind) && (from..=to).contains(&r.time));
        let (found, next) = page(found.collect(), request, limit)?;
        let mut out = String::new();
        Obj::new(&mut out)
            .with("list", |out| {
                array(out, found, |out, r| {
                    Obj::new(out)
                        .s("id", &format!("{}_{}", self.engine.accounts[account].uid, r.id))
                        .s("symbol", r.symbol.map_or("", |s| self.engine.specs[s].symbol()))
                        .s("category", if r.symbol.is_some() { "linear" } else { "" })
                        .s("side", r.side)
                        .us("transactionTime", r.time)
                        .s("type", r.what)
                        .s("transSubType", "")
                        .s("qty", &rows::qty(r.qty))
                        .s("size", &rows::qty(r.size))
                        .s("currency", "USDT")
                        .d("tradePrice", r.px.raw())
                        .d("funding", r.funding.raw())
                        .d("fee", r.fee.raw())
                        .d("cashFlow", r.cash_flow.raw())
                        .d("change", (r.cash_flow + r.funding - r.fee).raw())
                        .d("cashBalance", r.balance.raw())
                        .d("feeRate", r.rate)
                        .s("bonusChange", "")
                        .s("tradeId", &if r.trade == 0 { String::new() } else { self.engine.execution_id(r.trade) })
                        .s("orderId", &if r.order == 0 { String::new() } else { self.engine.order_id(r.order) })
                        .s("orderLinkId", &r.link)
                        .s("extraFees", "")
                        .end();
                });
            })
            .s("nextPageCursor", &next)
            .end();
        Ok(out)
    }

    fn fee_rate(&self, account: usize, request: &Request<'_>) -> Result<String, Refusal> {
        let only = self.symbol_arg(request)?;
        let symbols = (0..self.engine.specs.len()).filter(|s| only.is_none_or(|o| o == *s));
        let mut out = String::new();
        Obj::new(&mut out)
            .s("category", "linear")
            .with("list", |out| {
                array(out, symbols, |out, symbol| {
                    let (taker, maker) = self.engine.rates(account, symbol);
                    let row = Obj::new(out).s("symbol", self.engine.specs[symbol].symbol()).s("baseCoin", "");
                    row.d("takerFeeRate", taker).d("makerFeeRate", maker).end();
                });
            })
            .end();
        Ok(out)
    }

    fn transfers(&self, account: usize, deposits: bool) -> Result<String, Refusal> {
        let found = self.engine.accounts[account].transfers.iter().rev().filter(|t| t.deposit == deposits);
        let mut out = String::new();
        Obj::new(&mut out)
            .with("rows", |out| {
                array(out, found, |out, t| {
                    let (id, time) = (self.engine.uuid(t.id, 4), t.time);
                    if deposits {
                        Obj::new(out)
                            .us("id", t.id)
                            .s("coin", "USDT")
                            .s("chain", "TRX")
                            .d("amount", t.amount.raw())
                            .s("txID", &id)
                            .n("status", 3)
                            .s("toAddress", "sim")
                            .s("fromAddress", "")
                            .s("tag", "")
                            .s("depositFee", "")
                            .us("successAt", time)
                            .s("confirmations", "100")
                            .s("txIndex", "0")
                            .s("blockHash", &id)
                            .s("batchReleaseLimit", "-1")
                            .s("depositType", "0")
                            .n("taxStatus", 0)
                            .end();
                    } else {
                        Obj::new(out)
                            .us("withdrawId", t.id)
                            .s("txID", &id)
                            .s("coin", "USDT")
                            .s("chain", "TRX")
                            .d("amount", t.amount.raw())
                            .s("withdrawFee", "0")
                            .s("status", "success")
                            .s("toAddress", "sim")
                            .s("tag", "")
                            .us("createTime", time)
                            .us("updateTime", time)
                            .n("withdrawType", 0)
                            .end();
                    }
                });
            })
            .s("nextPageCursor", "")
            .end();
        Ok(out)
    }

    fn query_api(&self, account: usize, key: usize) -> String {
        let config = &self.config.accounts[self.client(account)];
        let of = &config.keys[key];
        let permissions = |out: &mut String| {
            let row = Obj::new(out)
                .raw("ContractTrade", if of.trade { r#"["Order","Position"]"# } else { "[]" })
                .raw("Spot", "[]")
                .raw("Wallet", if of.withdraw { r#"["AccountTransfer","Withdraw"]"# } else { "[]" })
                .raw("Options", "[]")
                .raw("Derivatives", if of.trade { r#"["DerivativesTrade"]"# } else { "[]" });
            let empty = ["CopyTrading", "BlockTrade", "Exchange", "NFT", "Affiliate", "Earn", "FiatP2P", "FiatBitPay"];
            empty.into_iter().fold(row, |row, name| row.raw(name, "[]")).end();
        };
        let mut out = String::new();
        Obj::new(&mut out)
            .us("id", self.engine.accounts[account].uid)
            .s("note", "keel")
            .s("apiKey", &of.key)
            .n("readOnly", i64::from(of.read_only))
            .s("secret", "")
            .with("permissions", permissions)
            .with("ips", |out| {
                let any = ["*".to_owned()];
                let ips: &[String] = if of.ips.is_empty() { &any } else { &of.ips };
                array(out, ips, |out, ip| out.push_str(&format!("\"{ip}\"")));
            })
            .n("type", 1)
            .n("deadlineDay", if of.ips.is_empty() { 83 } else { -2 })
            .s("expiredAt", if of.ips.is_empty() { "2036-01-01T00:00:00Z" } else { "1970-01-01T00:00:00Z" })
            .s("createdAt", "2026-01-01T00:00:00Z")
            .n("unified", 0)
            .n("uta", 1)
            .u("userID", self.engine.accounts[account].uid)
            .n("inviterID", 0)
            .s("vipLevel", &config.vip)
            .s("mktMakerLevel", "0")
            .n("affiliateID", 0)
            .s("rsaPublicKey", "")
            .b("isMaster", true)
            .s("parentUid", "0")
            .s("kycLevel", &config.kyc)
            .s("kycRegion", "MYS")
            .end();
        out
    }
}

/// `startTime` and `endTime` of a query; at most seven days apart.
fn window(request: &Request<'_>, now_ms: u64, dated: bool) -> Result<(u64, u64), Refusal> {
    const WEEK_MS: u64 = 7 * 86_400_000;
    if !dated {
        return Ok((0, u64::MAX));
    }
    let read = |key: &str| match request.arg(key).as_str() {
        "" => Ok(None),
        text => text.parse::<u64>().map(Some).map_err(|_| Refusal::params(&format!("{key} invalid"))),
    };
    let (from, to) = match (read("startTime")?, read("endTime")?) {
        (None, None) => (now_ms.saturating_sub(WEEK_MS), u64::MAX),
        (Some(from), None) => (from, from.saturating_add(WEEK_MS)),
        (None, Some(to)) => (to.saturating_sub(WEEK_MS), to),
        (Some(from), Some(to)) => (from, to),
    };
    if from > to || (to != u64::MAX && to - from > WEEK_MS) {
        return Err(Refusal::params("the time range between startTime and endTime cannot exceed 7 days"));
    }
    Ok((from, to))
}

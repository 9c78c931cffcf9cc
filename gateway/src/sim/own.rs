//! REST queries of an account about itself.

use super::account::LogRow;
use super::codes::Refusal;
use super::order::{Order, Status};
use super::query::page;
use super::rest::Request;
use super::terms::{leverage_text, margin_mode};
use super::text::{Obj, array};
use super::{Exchange, rows};
use keel_core::units::Notional;

/// Milliseconds the history keeps an order that was cancelled unfilled.
const UNFILLED_MS: u64 = 86_400_000;

impl Exchange {
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
                .s("marginMode", margin_mode(self.engine.accounts[account].isolated))
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
            "account/collateral-info" => Self::collateral(&mut out, &request.arg("currency")),
            "account/withdrawal" => self.withdrawable(&mut out, account, &request.arg("coinName")),
            "account/instruments-info" => return self.market("market/instruments-info", request),
            "position/symbol-info" => return self.symbol_info(account, request),
            "asset/transfer/query-account-coins-balance" | "asset/transfer/query-account-coin-balance" => {
                self.balances(&mut out, account, endpoint.ends_with("coins-balance"), request);
            }
            "asset/coin/query-info" => Obj::new(&mut out).raw("rows", "[]").end(),
            "asset/deposit/query-record"
            | "asset/deposit/query-internal-record"
            | "asset/withdraw/query-record"
            | "asset/withdraw/query-address"
            | "asset/transfer/query-inter-transfer-list"
            | "asset/transfer/query-universal-transfer-list" => return self.movements(endpoint, account, request),
            _ => Obj::new(&mut out).raw("list", "[]").s("nextPageCursor", "").end(),
        }
        Ok(out)
    }

    /// USDT backs everything, cannot be borrowed and cannot be switched off.
    fn collateral(out: &mut String, currency: &str) {
        let wanted = (currency.is_empty() || currency == "USDT").then_some(());
        Obj::new(out)
            .with("list", |out| {
                array(out, wanted, |out, ()| {
                    let row =
                        Obj::new(out).s("currency", "USDT").s("hourlyBorrowRate", "0").s("maxBorrowingAmount", "0");
                    let row = row.s("freeBorrowingLimit", "0").s("freeBorrowAmount", "0").s("borrowAmount", "0");
                    let row = row.s("otherBorrowAmount", "0").s("availableToBorrow", "0").b("borrowable", false);
                    let row = row.s("borrowUsageRate", "0").b("marginCollateral", true).b("collateralSwitch", true);
                    row.s("collateralRatio", "1").s("freeBorrowingAmount", "").end();
                });
            })
            .end();
    }

    /// What may leave: cash that nothing needs. Gains that are not realised do not leave.
    fn withdrawable(&self, out: &mut String, account: usize, coins: &str) {
        let of = |coin: &str| if coin == "USDT" { self.free_cash(account) } else { Notional::ZERO };
        let first = coins.split(',').next().unwrap_or("");
        let named = |coin: &str| !coin.is_empty() && coin.bytes().all(|c| c.is_ascii_alphanumeric());
        Obj::new(out)
            .d("availableWithdrawal", of(first).raw())
            .with("availableWithdrawalMap", |out| {
                let coins: std::collections::BTreeSet<&str> = coins.split(',').filter(|c| named(c)).take(20).collect();
                coins.iter().fold(Obj::new(out), |row, coin| row.d(coin, of(coin).raw())).end();
            })
            .end();
    }

    fn free_cash(&self, account: usize) -> Notional {
        self.engine.totals(account).available().min(self.engine.accounts[account].wallet).max(Notional::ZERO)
    }

    fn balances(&self, out: &mut String, account: usize, several: bool, request: &Request<'_>) {
        let (coin, kind) = (request.arg("coin"), request.arg("accountType"));
        let here = kind == "UNIFIED" && coin.split(',').any(|c| c == "USDT");
        let wallet = if here { self.engine.accounts[account].wallet } else { Notional::ZERO };
        let free = if here { self.free_cash(account) } else { Notional::ZERO };
        let uid = self.engine.accounts[account].uid.to_string();
        let row = |out: &mut String, coin: &str| {
            let row = Obj::new(out).s("coin", coin).d("walletBalance", wallet.raw()).d("transferBalance", free.raw());
            let row = row.s("bonus", "0");
            if several { row.end() } else { row.s("transferSafeAmount", "").s("ltvTransferSafeAmount", "").end() }
        };
        let head = Obj::new(out).s("accountType", &kind).s("memberId", &uid);
        if several {
            head.with("balance", |out| array(out, here.then_some("USDT"), row)).end();
        } else {
            head.n("bizType", 1).s("accountId", &uid).with("balance", |out| row(out, &coin)).end();
        }
    }

    /// Leverage of every symbol and leg, with or without a position.
    fn symbol_info(&self, account: usize, request: &Request<'_>) -> Result<String, Refusal> {
        let (only, of) = (self.symbol_arg(request)?, &self.engine.accounts[account]);
        let symbols = (0..self.engine.specs.len()).filter(|s| only.is_none_or(|o| o == *s));
        let legs = symbols.flat_map(|s| if of.hedge[s] { vec![(s, 1u8), (s, 2)] } else { vec![(s, 0)] });
        let mut out = String::new();
        Obj::new(&mut out)
            .s("category", "linear")
            .with("list", |out| {
                array(out, legs, |out, (symbol, idx)| {
                    let row = Obj::new(out).s("symbol", self.engine.specs[symbol].symbol());
                    let row = row.s("leverage", &leverage_text(of.leverage[symbol][usize::from(idx == 2)]));
                    row.s("side", "").n("positionIdx", i64::from(idx)).end();
                });
            })
            .end();
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
        let now_ms = self.now_ms();
        let wanted = |o: &&Order| {
            let stop = o.status == Status::Untriggered;
            let forgotten = history && o.filled.is_zero() && o.status == Status::Cancelled;
            !(forgotten && o.updated + UNFILLED_MS < now_ms)
                && symbol.is_none_or(|s| s == o.symbol)
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
                        .s("leverage", &leverage_text(self.engine.accounts[account].leverage[r.symbol][0]))
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
        let (kind, coin) = (request.arg("type"), request.arg("currency"));
        let all = self.engine.accounts[account].log.iter().rev();
        let wanted = |r: &&LogRow| (kind.is_empty() || r.what == kind) && (coin.is_empty() || r.coin == coin);
        let found = all.filter(wanted).filter(|r| (from..=to).contains(&r.time));
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
                        .s("currency", &r.coin)
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

    fn query_api(&self, account: usize, key: usize) -> String {
        let config = &self.config.accounts[self.client(account)];
        let of = &config.keys[key];
        let expiry = date(self.now_ms() / 86_400_000 + u64::from(of.days));
        let permissions = |out: &mut String| {
            let row = Obj::new(out)
                .raw("ContractTrade", if of.trade { r#"["Order","Position"]"# } else { "[]" })
                .raw("Spot", "[]")
                .raw(
                    "Wallet",
                    match (of.transfer || of.withdraw, of.withdraw) {
                        (_, true) => r#"["AccountTransfer","Withdraw"]"#,
                        (true, false) => r#"["AccountTransfer"]"#,
                        (false, false) => "[]",
                    },
                )
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
            .n("deadlineDay", if of.ips.is_empty() { i64::from(of.days) } else { -2 })
            .s("expiredAt", &if of.ips.is_empty() { expiry } else { "1970-01-01T00:00:00Z".to_owned() })
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
            .s("kycRegion", &config.region)
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

/// Midnight of a day, counted from 1970, as the venue writes it. Civil-from-days after Howard Hinnant.
fn date(day: u64) -> String {
    let shifted = day + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * march + 2) / 5 + 1, if march < 10 { march + 3 } else { march - 9 });
    format!("{:04}-{month:02}-{day:02}T00:00:00Z", year + era * 400 + u64::from(month <= 2))
}

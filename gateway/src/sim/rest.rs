//! REST: routes, signatures over raw bytes, rate headers, the one envelope.

use super::codes::{self, Refusal};
use super::limits::{self, Meter};
use super::request::{self, Body};
use super::text::{Obj, array};
use super::ws::{Done, check_clock};
use super::{Exchange, Output, auth, exits};
use core::net::IpAddr;
use serde_json::Value;

/// Milliseconds the address limit counts over.
const IP_SPAN_MS: u64 = 5_000;

/// An HTTP request as it arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) headers: &'a [(String, String)],
    pub(super) body: &'a [u8],
    pub(super) ip: IpAddr,
}

impl Request<'_> {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    pub(super) fn arg(&self, key: &str) -> String {
        request::query(self.query, key)
    }

    /// A numeric argument within bounds, or its default.
    pub(super) fn number(&self, key: &str, default: usize, most: usize) -> Result<usize, Refusal> {
        match self.arg(key).as_str() {
            "" => Ok(default),
            text => match text.parse::<usize>() {
                Ok(n) if n >= 1 => Ok(n.min(most)),
                _ => Err(Refusal::params(&format!("{key} invalid"))),
            },
        }
    }
}

/// How a route is called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Public,
    Read,
    Write,
}

/// What is served.
const ROUTES: [(&str, &str, Door); 63] = [
    ("GET", "market/time", Door::Public),
    ("GET", "market/instruments-info", Door::Public),
    ("GET", "market/orderbook", Door::Public),
    ("GET", "market/tickers", Door::Public),
    ("GET", "market/kline", Door::Public),
    ("GET", "market/recent-trade", Door::Public),
    ("GET", "market/risk-limit", Door::Public),
    ("GET", "market/price-limit", Door::Public),
    ("GET", "market/funding/history", Door::Public),
    ("GET", "market/open-interest", Door::Public),
    ("GET", "market/mark-price-kline", Door::Public),
    ("GET", "market/index-price-kline", Door::Public),
    ("GET", "market/premium-index-price-kline", Door::Public),
    ("GET", "market/rpi_orderbook", Door::Public),
    ("GET", "market/account-ratio", Door::Public),
    ("GET", "market/insurance", Door::Public),
    ("GET", "market/adlAlert", Door::Public),
    ("GET", "market/index-price-components", Door::Public),
    ("GET", "system/status", Door::Public),
    ("POST", "order/create", Door::Write),
    ("POST", "order/amend", Door::Write),
    ("POST", "order/cancel", Door::Write),
    ("POST", "order/cancel-all", Door::Write),
    ("POST", "order/create-batch", Door::Write),
    ("POST", "order/amend-batch", Door::Write),
    ("POST", "order/cancel-batch", Door::Write),
    ("POST", "order/disconnected-cancel-all", Door::Write),
    ("GET", "order/realtime", Door::Read),
    ("GET", "order/history", Door::Read),
    ("GET", "execution/list", Door::Read),
    ("GET", "position/list", Door::Read),
    ("GET", "position/closed-pnl", Door::Read),
    ("POST", "position/set-leverage", Door::Write),
    ("POST", "position/switch-mode", Door::Write),
    ("POST", "position/trading-stop", Door::Write),
    ("POST", "position/add-margin", Door::Write),
    ("POST", "position/set-auto-add-margin", Door::Write),
    ("POST", "position/confirm-pending-mmr", Door::Write),
    ("POST", "order/pre-check", Door::Write),
    ("GET", "account/wallet-balance", Door::Read),
    ("GET", "account/info", Door::Read),
    ("GET", "account/fee-rate", Door::Read),
    ("GET", "account/transaction-log", Door::Read),
    ("GET", "account/smp-group", Door::Read),
    ("GET", "account/query-dcp-info", Door::Read),
    ("GET", "account/user-setting-config", Door::Read),
    ("GET", "account/collateral-info", Door::Read),
    ("POST", "account/set-limit-px-action", Door::Write),
    ("POST", "account/set-margin-mode", Door::Write),
    ("GET", "user/query-api", Door::Read),
    ("GET", "asset/coin/query-info", Door::Read),
    ("GET", "asset/deposit/query-record", Door::Read),
    ("GET", "asset/deposit/query-internal-record", Door::Read),
    ("GET", "asset/withdraw/query-record", Door::Read),
    ("GET", "asset/withdraw/query-address", Door::Read),
    ("GET", "asset/transfer/query-inter-transfer-list", Door::Read),
    ("GET", "asset/transfer/query-universal-transfer-list", Door::Read),
    ("GET", "asset/transfer/query-account-coins-balance", Door::Read),
    ("GET", "asset/transfer/query-account-coin-balance", Door::Read),
    ("GET", "account/withdrawal", Door::Read),
    ("GET", "account/instruments-info", Door::Read),
    ("GET", "position/symbol-info", Door::Read),
    ("POST", "account/set-collateral-switch", Door::Write),
];

/// Method and name of every route.
#[cfg(test)]
pub(super) fn routes() -> impl Iterator<Item = (&'static str, &'static str)> {
    ROUTES.into_iter().map(|(method, name, _)| (method, name))
}

fn route(path: &str) -> Option<(&'static str, &'static str, Door)> {
    let tail = path.strip_prefix("/v5/")?;
    ROUTES.into_iter().find(|(_, name, _)| *name == tail)
}

impl Exchange {
    /// Answers one HTTP request.
    pub(super) fn http(&mut self, token: u64, request: &Request<'_>) {
        self.stats.http += 1;
        let now_ms = self.now_ms();
        if !self.limits.address(request.ip, limits::Door::Http, self.config.ip_limit, IP_SPAN_MS, now_ms) {
            let body = br#"{"retCode":10006,"retMsg":"access too frequent","result":{},"retExtInfo":{}}"#.to_vec();
            return self.out.push_back(Output::Reply { token, status: 403, headers: Vec::new(), body });
        }
        if self.config.admin && request.path == "/sim/command" {
            return self.administer(token, request);
        }
        if let Some(status) = self.faults.status() {
            return self.out.push_back(Output::Reply { token, status, headers: Vec::new(), body: Vec::new() });
        }
        let Some((method, endpoint, door)) = route(request.path) else {
            return self.reply(token, 404, Err(codes::NO_ROUTE), None);
        };
        if method != request.method {
            return self.reply(token, 404, Err(codes::NO_ROUTE), None);
        }
        if method == "GET" && !request.body.is_empty() {
            return self.reply(token, 403, Err(Refusal::params("GET with a body")), None);
        }
        if door == Door::Public {
            let result = self.market(endpoint, request);
            return self.reply(token, 200, result.map(Done::plain), None);
        }
        let (account, key) = match self.check_signature(request) {
            Ok(found) => found,
            Err(refusal) if refusal.code == 10007 => return self.reply(token, 401, Err(refusal), None),
            Err(refusal) => return self.reply(token, 200, Err(refusal), None),
        };
        let config = &self.config.accounts[self.client(account)];
        let limit = limits::base(endpoint, config.order_limit);
        if door == Door::Write {
            return self.write(token, endpoint, account, key, limit, request);
        }
        let meter = self.limits.take(account, endpoint, limit, now_ms, 1);
        let result =
            if meter.refused { Err(codes::TOO_MANY) } else { self.read_maybe_stale(endpoint, account, key, request) };
        self.reply(token, 200, result.map(Done::plain), Some(meter));
    }

    /// One administrator's lines, in the body.
    fn administer(&mut self, token: u64, request: &Request<'_>) {
        let text = String::from_utf8_lossy(request.body).into_owned();
        let result = text.lines().filter(|l| !l.trim().is_empty()).try_for_each(|line| self.obey(line.trim()));
        let status = if result.is_ok() { 200 } else { 400 };
        let result = result.map(|()| Done::plain("{}".to_owned())).map_err(|why| Refusal::said(10001, why));
        self.reply(token, status, result, None);
    }

    /// A query; under the `stale` fault, what the same query answered first.
    fn read_maybe_stale(
        &mut self,
        endpoint: &str,
        account: usize,
        key: usize,
        request: &Request<'_>,
    ) -> Result<String, Refusal> {
        if self.now_ms() >= self.faults.stale_until {
            return self.read(endpoint, account, key, request);
        }
        let name = format!("{account} {endpoint} {}", request.query);
        if let Some(old) = self.faults.stale.get(&name) {
            return Ok(old.clone());
        }
        let fresh = self.read(endpoint, account, key, request)?;
        self.faults.stale.insert(name, fresh.clone());
        Ok(fresh)
    }

    fn write(
        &mut self,
        token: u64,
        endpoint: &'static str,
        account: usize,
        key: usize,
        limit: u32,
        request: &Request<'_>,
    ) {
        let rights = &self.config.accounts[self.client(account)].keys[key];
        if rights.read_only || !rights.trade {
            return self.reply(token, 200, Err(codes::NO_PERMISSION), None);
        }
        let Ok(Value::Object(body)) = serde_json::from_slice::<Value>(request.body) else {
            return self.reply(token, 200, Err(Refusal::params("body is no JSON object")), None);
        };
        let single =
            matches!(endpoint, "order/create" | "order/amend" | "order/cancel") || endpoint.ends_with("-batch");
        if single {
            let answer = self.order_call(account, endpoint, limit, &body);
            return self.reply(token, 200, answer.result, Some(answer.meter));
        }
        let meter = self.limits.take(account, endpoint, limit, self.now_ms(), 1);
        let result = if meter.refused { Err(codes::TOO_MANY) } else { self.change(endpoint, account, &body) };
        self.reply(token, 200, result.map(Done::plain), Some(meter));
    }

    fn check_signature(&self, request: &Request<'_>) -> Result<(usize, usize), Refusal> {
        let (key, sign) = (request.header("X-BAPI-API-KEY"), request.header("X-BAPI-SIGN"));
        let (timestamp, window) = (request.header("X-BAPI-TIMESTAMP"), request.header("X-BAPI-RECV-WINDOW"));
        if key.is_empty() && sign.is_empty() {
            return Err(codes::NO_AUTH);
        }
        let (account, at) = self.key(key).ok_or(codes::BAD_KEY)?;
        check_clock(timestamp, window, self.now_ms())?;
        let of = &self.config.accounts[self.client(account)].keys[at];
        let head = format!("{timestamp}{key}{window}");
        let payload = if request.method == "GET" { request.query.as_bytes() } else { request.body };
        if !auth::verify(&of.secret, &[head.as_bytes(), payload], sign.as_bytes()) {
            let origin = String::from_utf8_lossy(payload);
            return Err(Refusal::said(10004, format!("{} origin_string[{head}{origin}]", codes::BAD_SIGN.text)));
        }
        if !of.ips.is_empty() && !of.ips.contains(&request.ip.to_string()) {
            return Err(codes::BAD_IP);
        }
        Ok((account, at))
    }

    pub(super) fn reply(&mut self, token: u64, status: u16, result: Result<Done, Refusal>, meter: Option<Meter>) {
        let now_ms = self.now_ms();
        self.messages += 1;
        let (code, message) = result.as_ref().err().map_or((0, "OK"), |e| (e.code, e.text.as_ref()));
        let mut out = String::with_capacity(256);
        Obj::new(&mut out)
            .n("retCode", i64::from(code))
            .s("retMsg", message)
            .raw("result", result.as_ref().map_or_else(|e| e.result.as_ref(), |done| done.result.as_str()))
            .raw("retExtInfo", result.as_ref().map_or("{}", |done| &done.ext))
            .u("time", now_ms)
            .end();
        let trace = super::rng::mix(self.messages ^ self.engine.salt);
        let mut headers =
            vec![("Traceid", format!("{trace:016x}")), ("Timenow", now_ms.to_string()), ("Ret_code", code.to_string())];
        if let Some(m) = meter {
            headers.push(("X-Bapi-Limit", m.limit.to_string()));
            headers.push(("X-Bapi-Limit-Status", m.left.to_string()));
            headers.push(("X-Bapi-Limit-Reset-Timestamp", m.reset_ms.to_string()));
        }
        self.out.push_back(Output::Reply { token, status, headers, body: out.into_bytes() });
    }

    fn change(&mut self, endpoint: &str, account: usize, body: &Body) -> Result<String, Refusal> {
        match endpoint {
            "order/cancel-all" => self.cancel_all(account, body),
            "position/set-leverage" => self.set_leverage(account, body),
            "position/switch-mode" => self.switch_mode(account, body),
            "account/set-limit-px-action" => {
                self.engine.accounts[account].band_rejects = request::text(body, "modifyEnable") == "false";
                Ok("{}".to_owned())
            }
            "order/disconnected-cancel-all" => {
                let seconds: u64 =
                    request::text(body, "timeWindow").parse().map_err(|_| Refusal::params("timeWindow invalid"))?;
                if !(3..=300).contains(&seconds) {
                    return Err(Refusal::params("timeWindow invalid"));
                }
                if request::text(body, "product") == "DERIVATIVES" {
                    self.engine.accounts[account].dcp_seconds = seconds;
                }
                Ok("{}".to_owned())
            }
            "position/trading-stop" => self.trading_stop(account, body),
            "position/add-margin" => self.add_margin(account, body),
            "position/set-auto-add-margin" => self.set_auto_add(account, body),
            "position/confirm-pending-mmr" => {
                request::linear(body)?;
                request::symbol(&self.engine, body)?;
                Err(codes::NOT_RESTRICTED)
            }
            "account/set-margin-mode" => self.set_margin_mode(account, body),
            "account/set-collateral-switch" => Err(Refusal::params("USDT cannot be set")),
            "order/pre-check" => self.pre_check(account, body),
            _ => Ok("{}".to_owned()),
        }
    }

    fn trading_stop(&mut self, account: usize, body: &Body) -> Result<String, Refusal> {
        let stops = exits::stops(&self.engine, body)?;
        let now_ms = self.now_ms();
        self.engine.set_stops(now_ms, account, &stops)?;
        Ok("{}".to_owned())
    }

    fn cancel_all(&mut self, account: usize, body: &Body) -> Result<String, Refusal> {
        /// Orders one call cancels; the rest stay.
        const MOST: usize = 500;
        request::linear(body)?;
        let (symbol, base, settle) =
            (request::text(body, "symbol"), request::text(body, "baseCoin"), request::text(body, "settleCoin"));
        if symbol.is_empty() && base.is_empty() && settle.is_empty() {
            return Err(Refusal::params("symbol, baseCoin or settleCoin is required"));
        }
        let (filter, kind) = (request::text(body, "orderFilter"), request::text(body, "stopOrderType"));
        let wanted = |o: &super::order::Order| {
            let spec = &self.engine.specs[o.symbol];
            let place = if !symbol.is_empty() {
                spec.symbol() == symbol
            } else if !base.is_empty() {
                spec.base == base
            } else {
                settle == "USDT"
            };
            let stop = o.trigger.is_some() && o.status == super::order::Status::Untriggered;
            let kind_fits = filter != "StopOrder" || kind.is_empty() || kind == o.stop_type;
            place && kind_fits && (filter.is_empty() || (filter == "StopOrder") == stop)
        };
        if !symbol.is_empty() && self.engine.symbol(&symbol).is_none() {
            return Err(codes::BAD_SYMBOL);
        }
        let open = &self.engine.accounts[account].open;
        let ids: Vec<u64> =
            open.iter().copied().filter(|id| self.engine.orders.get(id).is_some_and(&wanted)).take(MOST).collect();
        let now_ms = self.now_ms();
        let mut rows = Vec::new();
        for id in ids {
            let link = self.engine.orders.get(&id).map(|o| o.link.clone()).unwrap_or_default();
            self.engine.withdraw(now_ms, id, "CancelByUser", "EC_PerCancelRequest");
            rows.push((self.engine.order_id(id), link));
        }
        let mut out = String::new();
        Obj::new(&mut out)
            .with("list", |out| {
                array(out, &rows, |out, (id, link)| Obj::new(out).s("orderId", id).s("orderLinkId", link).end());
            })
            .s("success", "1")
            .end();
        Ok(out)
    }
}

impl Done {
    pub(super) fn plain(result: String) -> Self {
        Self { result, ext: "{}".to_owned() }
    }
}

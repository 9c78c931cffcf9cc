//! WebSocket frames: ping, auth, subscribe, and order entry, each endpoint with its own envelope.

use super::codes::{self, Refusal};
use super::conn::{Channel, MAX_ARGS};
use super::fault::{Class, Faults};
use super::limits::{self, Meter};
use super::request::{self, Body, text};
use super::text::Obj;
use super::{Exchange, auth};
use serde_json::Value;

/// Requests one address may make over trade sockets in a second; one more answers 10403.
const TRADE_IP_LIMIT: u32 = 3_000;
/// Milliseconds a timestamp may be ahead of the venue's clock.
pub(super) const AHEAD_MS: u64 = 1_000;

impl Exchange {
    /// One frame of a client.
    pub(super) fn frame(&mut self, conn: u64, bytes: &[u8]) {
        self.stats.frames_received += 1;
        let now_ms = self.now_ms();
        let Some(of) = self.conns.get_mut(&conn) else { return };
        of.heard = now_ms;
        let channel = of.channel;
        let body = match serde_json::from_slice::<Value>(bytes) {
            Ok(Value::Object(body)) => body,
            _ => return self.malformed(conn, channel),
        };
        match (text(&body, "op").as_str(), channel) {
            ("ping", _) => self.pong(conn, channel, &body),
            ("auth", Channel::Private | Channel::Trade) => self.auth(conn, channel, &body),
            ("subscribe", Channel::Public | Channel::Private | Channel::Status) => self.subscribe(conn, &body),
            ("unsubscribe", Channel::Public | Channel::Private | Channel::Status) => self.unsubscribe(conn, &body),
            (_, Channel::Trade) => self.trade(conn, &body),
            (op, _) => self.ack(conn, &body, op, Some("Params Error")),
        }
    }

    fn malformed(&mut self, conn: u64, channel: Channel) {
        if channel == Channel::Trade {
            return self.trade_answer(conn, "", "", Err(Refusal::params("invalid request")), None);
        }
        self.ack(conn, &Body::new(), "", Some("Params Error"));
    }

    fn name(&self, conn: u64) -> String {
        self.conns.get(&conn).map(|c| c.name.clone()).unwrap_or_default()
    }

    fn pong(&mut self, conn: u64, channel: Channel, body: &Body) {
        let (name, now_ms, req_id) = (self.name(conn), self.now_ms(), text(body, "req_id"));
        let mut out = String::new();
        match channel {
            Channel::Public | Channel::Status => Obj::new(&mut out)
                .b("success", true)
                .s("ret_msg", "pong")
                .s("conn_id", &name)
                .s("req_id", &req_id)
                .s("op", "ping")
                .end(),
            Channel::Private => Obj::new(&mut out)
                .s("req_id", &req_id)
                .s("op", "pong")
                .raw("args", &format!("[\"{now_ms}\"]"))
                .s("conn_id", &name)
                .end(),
            Channel::Trade => {
                let row = Obj::new(&mut out);
                let req_id = first_of(body, ["reqId", "req_id"]);
                let row = if req_id.is_empty() { row } else { row.s("reqId", &req_id) };
                row.n("retCode", 0)
                    .s("retMsg", "OK")
                    .s("op", "pong")
                    .raw("data", &format!("[\"{now_ms}\"]"))
                    .s("connId", &name)
                    .end();
            }
        }
        self.send_as(conn, Class::Answer, out.into_bytes());
    }

    /// The ack of public and private sockets; `error` makes it a refusal.
    fn ack(&mut self, conn: u64, body: &Body, op: &str, error: Option<&str>) {
        let name = self.name(conn);
        let mut out = String::new();
        Obj::new(&mut out)
            .b("success", error.is_none())
            .s("ret_msg", error.unwrap_or(""))
            .s("conn_id", &name)
            .s("req_id", &text(body, "req_id"))
            .s("op", op)
            .end();
        self.send_as(conn, Class::Answer, out.into_bytes());
    }

    fn auth(&mut self, conn: u64, channel: Channel, body: &Body) {
        let again = self.conns.get(&conn).is_some_and(|c| c.account.is_some());
        let result = if again { Err(codes::AUTHED) } else { self.check_auth(conn, body) };
        if let (Ok((account, key)), Some(of)) = (&result, self.conns.get_mut(&conn)) {
            (of.account, of.key) = (Some(*account), *key);
        }
        let name = self.name(conn);
        let mut out = String::new();
        if channel == Channel::Trade {
            let row = Obj::new(&mut out);
            let req_id = first_of(body, ["reqId", "req_id"]);
            let row = if req_id.is_empty() { row } else { row.s("reqId", &req_id) };
            let (code, message) = result.as_ref().err().map_or((0, "OK"), |e| (e.code, e.text.as_ref()));
            row.n("retCode", i64::from(code)).s("retMsg", message).s("op", "auth").s("connId", &name).end();
        } else {
            let row = Obj::new(&mut out)
                .b("success", result.is_ok())
                .s("ret_msg", result.as_ref().err().map_or("", |e| e.text.as_ref()))
                .s("op", "auth");
            let req_id = text(body, "req_id");
            let row = if req_id.is_empty() { row } else { row.s("req_id", &req_id) };
            row.s("conn_id", &name).end();
        }
        self.send_as(conn, Class::Answer, out.into_bytes());
    }

    fn check_auth(&self, conn: u64, body: &Body) -> Result<(usize, usize), Refusal> {
        const BAD: Refusal = Refusal::new(10001, "Params Error");
        let Some(Value::Array(args)) = body.get("args") else { return Err(BAD) };
        let arg = |at: usize| match args.get(at) {
            Some(Value::String(s)) => s.clone(),
            Some(Value::Number(n)) => n.to_string(),
            _ => String::new(),
        };
        let (key, expires, sign) = (arg(0), arg(1), arg(2));
        let expires_ms: u64 = expires.parse().map_err(|_| BAD)?;
        if expires_ms < self.now_ms() {
            return Err(BAD);
        }
        let (account, at) = self.key(&key).ok_or(codes::BAD_KEY)?;
        let ip = self.conns.get(&conn).map(|c| c.ip);
        let of = &self.config.accounts[self.client(account)].keys[at];
        if !of.ips.is_empty() && !ip.is_some_and(|ip| of.ips.contains(&ip.to_string())) {
            return Err(codes::BAD_IP);
        }
        if !auth::verify(&of.secret, &[b"GET/realtime", expires.as_bytes()], sign.as_bytes()) {
            return Err(codes::BAD_SIGN);
        }
        Ok((account, at))
    }

    /// The engine account and key index of an API key.
    pub(super) fn key(&self, key: &str) -> Option<(usize, usize)> {
        self.config.accounts.iter().enumerate().find_map(|(client, account)| {
            let at = account.keys.iter().position(|k| k.key == key)?;
            Some((self.clients[client], at))
        })
    }

    /// The configured account behind an engine account.
    pub(super) fn client(&self, account: usize) -> usize {
        self.clients.iter().position(|a| *a == account).unwrap_or(0)
    }

    fn subscribe(&mut self, conn: u64, body: &Body) {
        let topics = topics(body);
        let error = self.refuses(conn, &topics);
        if let Some(error) = error {
            return self.ack(conn, body, "subscribe", Some(&error));
        }
        for topic in &topics {
            self.subscribers.entry(topic.clone()).or_default().insert(conn);
            if let Some(of) = self.conns.get_mut(&conn) {
                of.topics.insert(topic.clone());
                if let Some(account) = of.account.filter(|_| topic == "dcp.future") {
                    self.dead_man.remove(&account);
                }
            }
        }
        self.ack(conn, body, "subscribe", None);
        for topic in &topics {
            self.first_frame(conn, topic);
        }
    }

    fn refuses(&self, conn: u64, topics: &[String]) -> Option<String> {
        let of = self.conns.get(&conn)?;
        if topics.is_empty() {
            return Some("Params Error".to_owned());
        }
        if of.channel == Channel::Private && of.account.is_none() {
            return Some("Request not authorized".to_owned());
        }
        let length: usize = of.topics.iter().chain(topics).map(String::len).sum();
        if of.channel == Channel::Public && length > MAX_ARGS {
            return Some(format!("args size >{MAX_ARGS}"));
        }
        let mut seen = std::collections::BTreeSet::new();
        for topic in topics {
            if !Self::topic_exists(&self.engine, of.channel, topic) {
                return Some(format!("error:handler not found,topic:{topic}"));
            }
            if of.topics.contains(topic) || !seen.insert(topic) {
                return Some(format!("error:already subscribed,topic:{topic}"));
            }
        }
        if of.channel == Channel::Private {
            let clash = topics.iter().any(|t| topics.iter().any(|o| *o == format!("{t}.linear")));
            return clash.then(|| "Params Error".to_owned());
        }
        None
    }

    fn unsubscribe(&mut self, conn: u64, body: &Body) {
        for topic in topics(body) {
            if let Some(of) = self.conns.get_mut(&conn) {
                of.topics.remove(&topic);
            }
            if let Some(set) = self.subscribers.get_mut(&topic) {
                set.remove(&conn);
                if set.is_empty() {
                    self.subscribers.remove(&topic);
                }
            }
        }
        self.ack(conn, body, "unsubscribe", None);
    }

    // ---- order entry ---------------------------------------------------------------------------------------------

    fn trade(&mut self, conn: u64, body: &Body) {
        let (op, req_id) = (text(body, "op"), text(body, "reqId"));
        let endpoint: &'static str = match op.as_str() {
            "order.create" => "order/create",
            "order.amend" => "order/amend",
            "order.cancel" => "order/cancel",
            "order.create-batch" => "order/create-batch",
            "order.amend-batch" => "order/amend-batch",
            "order.cancel-batch" => "order/cancel-batch",
            _ => return self.trade_answer(conn, &req_id, &op, Err(codes::BAD_OP), None),
        };
        let (account, key) = match self.check_trade(conn, body, &req_id) {
            Ok(found) => found,
            Err(refusal) => return self.trade_answer(conn, &req_id, &op, Err(refusal), None),
        };
        let config = &self.config.accounts[self.client(account)];
        let rights = &config.keys[key];
        if rights.read_only || !rights.trade {
            return self.trade_answer(conn, &req_id, &op, Err(codes::NO_PERMISSION), None);
        }
        let limit = limits::base(endpoint, config.order_limit);
        let args = match body.get("args").and_then(|args| args.get(0)) {
            Some(Value::Object(args)) => args.clone(),
            _ => return self.trade_answer(conn, &req_id, &op, Err(Refusal::params("args invalid")), None),
        };
        let answer = self.order_call(account, endpoint, limit, &args);
        self.trade_answer(conn, &req_id, &op, answer.result, Some(answer.meter));
    }

    fn check_trade(&mut self, conn: u64, body: &Body, req_id: &str) -> Result<(usize, usize), Refusal> {
        let now_ms = self.now_ms();
        let of = self.conns.get_mut(&conn).ok_or(codes::NO_AUTH)?;
        let (account, key, ip) = (of.account.ok_or(codes::NO_AUTH)?, of.key, of.ip);
        if req_id.len() > 36 {
            return Err(Refusal::params("reqId invalid"));
        }
        if !of.fresh(req_id) {
            return Err(codes::DUP_REQ);
        }
        if !self.limits.address(ip, limits::Door::Trade, TRADE_IP_LIMIT, 1_000, now_ms) {
            return Err(codes::IP_RATE);
        }
        let header = match body.get("header") {
            Some(Value::Object(header)) => header.clone(),
            _ => return Err(Refusal::params("header invalid")),
        };
        let window = text(&header, "X-BAPI-RECV-WINDOW");
        check_clock(&text(&header, "X-BAPI-TIMESTAMP"), &window, now_ms)?;
        Ok((account, key))
    }

    fn trade_answer(&mut self, conn: u64, req_id: &str, op: &str, result: Result<Done, Refusal>, meter: Option<Meter>) {
        let (name, now_ms) = (self.name(conn), self.now_ms());
        self.messages += 1;
        let trace = format!("{:032x}", u128::from(super::rng::mix(self.messages ^ self.engine.salt)) << 32);
        let (code, message) = result.as_ref().err().map_or((0, "OK"), |e| (e.code, e.text.as_ref()));
        let mut out = String::with_capacity(400);
        let anonymous = code != 0 && Faults::count(&mut self.faults.no_req_id);
        let row = Obj::new(&mut out);
        let row = if anonymous { row } else { row.s("reqId", req_id) };
        row.n("retCode", i64::from(code))
            .s("retMsg", message)
            .s("op", op)
            .raw("data", result.as_ref().map_or("{}", |done| &done.result))
            .raw("retExtInfo", result.as_ref().map_or("{}", |done| &done.ext))
            .with("header", |out| {
                let row = Obj::new(out);
                let row = match meter {
                    None => row,
                    Some(m) => row
                        .us("X-Bapi-Limit", m.limit.into())
                        .us("X-Bapi-Limit-Status", m.left.into())
                        .us("X-Bapi-Limit-Reset-Timestamp", m.reset_ms),
                };
                row.s("Traceid", &trace).us("Timenow", now_ms).end();
            })
            .s("connId", &name)
            .end();
        if Faults::count(&mut self.faults.late_ack) {
            self.flush();
        }
        self.send_as(conn, Class::Ack, out.into_bytes());
    }

    /// One order request, REST or WebSocket, after its caller is known.
    pub(super) fn order_call(&mut self, account: usize, endpoint: &'static str, limit: u32, body: &Body) -> Answer {
        let now_ms = self.now_ms();
        let faulty = if self.notice.ongoing() { Some(10016) } else { self.faults.refusal() };
        if let Some(code) = faulty {
            let meter = Meter { limit, left: limit, reset_ms: now_ms, refused: false };
            return Answer { result: Err(codes::by_code(code)), meter };
        }
        if let Some(batch) = endpoint.strip_suffix("-batch") {
            return self.batch(account, endpoint, batch, limit, body);
        }
        let meter = self.limits.take(account, endpoint, limit, now_ms, 1);
        if meter.refused {
            return Answer { result: Err(codes::TOO_MANY), meter };
        }
        let result = request::linear(body).and_then(|()| self.order_one(account, endpoint, body));
        let result = result.map(|(id, link)| {
            let mut out = String::new();
            Obj::new(&mut out).s("orderId", &self.engine.order_id(id)).s("orderLinkId", &link).end();
            Done { result: out, ext: "{}".to_owned() }
        });
        Answer { result, meter }
    }

    /// Places, amends or cancels one order. Returns its number and link.
    pub(super) fn order_one(&mut self, account: usize, endpoint: &str, body: &Body) -> Result<(u64, String), Refusal> {
        let now_ms = self.now_ms();
        let result = match endpoint {
            "order/create" => request::place(&self.engine, body).and_then(|place| {
                let link = place.link.clone();
                self.engine.place(now_ms, account, place).map(|id| (id, link))
            }),
            "order/amend" => request::target(&self.engine, body).and_then(|target| {
                let change = request::amend(body)?;
                let id = self.engine.amend(now_ms, account, &target, &change)?;
                Ok((id, target.link))
            }),
            _ => request::target(&self.engine, body)
                .and_then(|target| self.engine.cancel(now_ms, account, &target).map(|id| (id, target.link))),
        };
        match (&result, endpoint) {
            (Ok(_), "order/create") => self.stats.orders += 1,
            (Err(_), "order/create") => self.stats.refused += 1,
            _ => {}
        }
        result
    }

    fn batch(&mut self, account: usize, endpoint: &'static str, single: &str, limit: u32, body: &Body) -> Answer {
        let now_ms = self.now_ms();
        let refused = |refusal, meter| Answer { result: Err(refusal), meter };
        let idle = Meter { limit, left: limit, reset_ms: now_ms, refused: false };
        if let Err(refusal) = request::linear(body) {
            return refused(refusal, idle);
        }
        let items = match body.get("request") {
            Some(Value::Array(items)) if (1..=20).contains(&items.len()) => items.clone(),
            _ => return refused(Refusal::params("request invalid"), idle),
        };
        let (mut list, mut ext, mut last) = (String::from("["), String::from("["), idle);
        for (at, item) in items.iter().enumerate() {
            let mut one = item.as_object().cloned().unwrap_or_default();
            one.insert("category".to_owned(), Value::from("linear"));
            let meter = self.limits.take(account, endpoint, limit, now_ms, 1);
            last = meter;
            let result = if meter.refused { Err(codes::TOO_MANY) } else { self.order_one(account, single, &one) };
            if at > 0 {
                list.push(',');
                ext.push(',');
            }
            let (id, created) = match &result {
                Ok((id, _)) => (self.engine.order_id(*id), now_ms.to_string()),
                Err(_) => (String::new(), String::new()),
            };
            let row = Obj::new(&mut list)
                .s("category", "linear")
                .s("symbol", &text(&one, "symbol"))
                .s("orderId", &id)
                .s("orderLinkId", &text(&one, "orderLinkId"));
            if single == "order/create" {
                row.s("createAt", &created).end()
            } else {
                row.end()
            }
            let (code, message) = result.as_ref().err().map_or((0, "OK"), |e| (e.code, e.text.as_ref()));
            Obj::new(&mut ext).n("code", i64::from(code)).s("msg", message).end();
        }
        list.push(']');
        ext.push(']');
        let done = Done { result: format!("{{\"list\":{list}}}"), ext: format!("{{\"list\":{ext}}}") };
        Answer { result: Ok(done), meter: last }
    }
}

/// What a successful request gives: `result` (or `data`) and `retExtInfo`, as JSON.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) result: String,
    pub(super) ext: String,
}

/// What a limited request gives, with its rate headers.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) result: Result<Done, Refusal>,
    pub(super) meter: Meter,
}

/// `serverTime - recvWindow <= timestamp < serverTime + 1000`.
pub(super) fn check_clock(timestamp: &str, window: &str, now_ms: u64) -> Result<(), Refusal> {
    let at: u64 = timestamp.parse().map_err(|_| Refusal::params("X-BAPI-TIMESTAMP invalid"))?;
    let window: u64 =
        if window.is_empty() { 5_000 } else { window.parse().map_err(|_| Refusal::params("recv_window invalid"))? };
    if at >= now_ms + AHEAD_MS || at.saturating_add(window) < now_ms {
        return Err(Refusal::said(
            10002,
            format!(
                "invalid request, please check your server timestamp or recv_window param. \
                 req_timestamp[{at}],server_timestamp[{now_ms}],recv_window[{window}]"
            ),
        ));
    }
    Ok(())
}

fn topics(body: &Body) -> Vec<String> {
    match body.get("args") {
        Some(Value::Array(args)) => args.iter().filter_map(|a| a.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

fn first_of(body: &Body, keys: [&str; 2]) -> String {
    keys.into_iter().map(|key| text(body, key)).find(|v| !v.is_empty()).unwrap_or_default()
}

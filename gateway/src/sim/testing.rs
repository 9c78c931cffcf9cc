//! A desk for the exchange's tests: connections, orders and time in a few words.

use super::*;
use core::net::Ipv4Addr;
use hmac::{Hmac, KeyInit, Mac};
use keel_core::units::Notional;
use serde_json::Value;

pub(super) const IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(super) const START_MS: u64 = 1_900_000_000_000;
/// Sockets of account `n` are `n * 10 + 1` (private) and `n * 10 + 2` (trade).
pub(super) const PUBLIC: u64 = 1;

pub(super) struct Desk {
    pub(super) ex: Exchange,
    pub(super) now_ms: u64,
    pub(super) heard: Vec<(u64, Value)>,
    pub(super) raw: Vec<Output>,
    requests: u64,
}

pub(super) fn hmac_hex(secret: &str, text: &str) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect()
}

/// Accounts `a0/s0`, `a1/s1`, ... with 100,000 USDT each; BTCUSDT and ETHUSDT from tapes.
pub(super) fn taped(accounts: usize) -> Desk {
    desk(accounts, MarketSource::Tape)
}

pub(super) fn desk(accounts: usize, source: MarketSource) -> Desk {
    let account = |n: usize| AccountConfig {
        order_limit: 1_000_000,
        ..AccountConfig::new(&format!("a{n}"), &format!("s{n}"), Notional::whole(100_000))
    };
    let config = Config {
        symbols: Spec::majors().into_iter().take(2).map(|spec| (spec, source)).collect(),
        accounts: (0..accounts).map(account).collect(),
        ip_limit: 1_000_000,
        ..Config::default()
    };
    let mut desk =
        Desk { ex: Exchange::new(config, 7), now_ms: START_MS, heard: Vec::new(), raw: Vec::new(), requests: 0 };
    desk.input(Input::Connect { conn: PUBLIC, channel: Channel::Public, query: "", ip: IP });
    for n in 0..accounts as u64 {
        let expires = START_MS + 5_000;
        let tag = hmac_hex(&format!("s{n}"), &format!("GET/realtime{expires}"));
        for (conn, channel) in [(n * 10 + 11, Channel::Private), (n * 10 + 12, Channel::Trade)] {
            desk.input(Input::Connect { conn, channel, query: "", ip: IP });
            desk.say(conn, &format!(r#"{{"op":"auth","args":["a{n}",{expires},"{tag}"]}}"#));
        }
        desk.say(n * 10 + 11, r#"{"op":"subscribe","args":["order","execution","position","wallet"]}"#);
    }
    desk.heard.clear();
    desk
}

impl Desk {
    pub(super) fn input(&mut self, input: Input<'_>) {
        self.ex.handle(Wall::from_millis(self.now_ms), input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.ex.poll() {
            if let Output::Send { conn, bytes } = &output
                && let Ok(json) = serde_json::from_slice(bytes)
            {
                self.heard.push((*conn, json));
            }
            self.raw.push(output);
        }
    }

    pub(super) fn say(&mut self, conn: u64, text: &str) {
        self.input(Input::Frame { conn, bytes: text.as_bytes() });
    }

    /// Lets time pass in steps of the exchange's own deadlines.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while let Some(at) = self.ex.deadline().map(Wall::millis).filter(|at| *at <= end) {
            self.now_ms = self.now_ms.max(at);
            self.input(Input::Timer);
        }
        self.now_ms = end;
        self.input(Input::Timer);
    }

    pub(super) fn command(&mut self, line: &str) {
        self.ex.command(Wall::from_millis(self.now_ms), line).unwrap();
        self.drain();
    }

    pub(super) fn tape(&mut self, frame: &str) {
        self.now_ms += 1;
        self.input(Input::Tape { frame: frame.as_bytes() });
    }

    /// A book snapshot of BTCUSDT.
    pub(super) fn book(&mut self, bids: &[(&str, &str)], asks: &[(&str, &str)]) {
        self.levels("snapshot", bids, asks);
    }

    pub(super) fn levels(&mut self, kind: &str, bids: &[(&str, &str)], asks: &[(&str, &str)]) {
        let side = |levels: &[(&str, &str)]| {
            let rows: Vec<String> = levels.iter().map(|(px, qty)| format!(r#"["{px}","{qty}"]"#)).collect();
            rows.join(",")
        };
        self.requests += 1;
        let (b, a, u) = (side(bids), side(asks), self.requests);
        self.tape(&format!(
            r#"{{"topic":"orderbook.50.BTCUSDT","type":"{kind}","ts":1,"data":{{"s":"BTCUSDT","b":[{b}],"a":[{a}],"u":{u},"seq":{u}}},"cts":1}}"#
        ));
    }

    pub(super) fn print(&mut self, side: &str, px: &str, qty: &str) {
        self.tape(&format!(
            r#"{{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1,"data":[{{"T":1,"s":"BTCUSDT","S":"{side}","v":"{qty}","p":"{px}","L":"PlusTick","i":"x","BT":false,"RPI":false,"seq":1}}]}}"#
        ));
    }

    /// An order entry request of account `n`; returns its answer.
    pub(super) fn trade(&mut self, n: u64, op: &str, args: &str) -> Value {
        self.requests += 1;
        let (conn, req, now_ms) = (n * 10 + 12, self.requests, self.now_ms);
        self.say(
            conn,
            &format!(
                r#"{{"reqId":"q{req}","header":{{"X-BAPI-TIMESTAMP":"{now_ms}"}},"op":"{op}","args":[{{"category":"linear","symbol":"BTCUSDT",{args}}}]}}"#
            ),
        );
        let found = self.heard.iter().rev().find(|(c, v)| *c == conn && v["reqId"] == format!("q{req}"));
        found.map(|(_, v)| v.clone()).unwrap_or_default()
    }

    /// Places a limit order and insists that it was accepted. `tail` adds members.
    pub(super) fn limit(&mut self, n: u64, side: &str, px: &str, qty: &str, tail: &str) -> String {
        let args = format!(r#""side":"{side}","orderType":"Limit","price":"{px}","qty":"{qty}"{tail}"#);
        let ack = self.trade(n, "order.create", &args);
        assert_eq!(ack["retCode"], 0, "{ack}");
        ack["data"]["orderId"].as_str().unwrap().to_owned()
    }

    pub(super) fn market(&mut self, n: u64, side: &str, qty: &str, tail: &str) -> Value {
        self.trade(n, "order.create", &format!(r#""side":"{side}","orderType":"Market","qty":"{qty}"{tail}"#))
    }

    /// A signed GET of account `n`; its `result`.
    pub(super) fn get(&mut self, n: u64, path: &str, query: &str) -> Value {
        self.call(n, "GET", path, query, "")["result"].clone()
    }

    /// A signed request of account `n`; the whole envelope.
    pub(super) fn call(&mut self, n: u64, method: &str, path: &str, query: &str, body: &str) -> Value {
        let now_ms = self.now_ms;
        let tag = hmac_hex(&format!("s{n}"), &format!("{now_ms}a{n}5000{query}{body}"));
        let headers = [
            ("X-BAPI-API-KEY", format!("a{n}")),
            ("X-BAPI-TIMESTAMP", now_ms.to_string()),
            ("X-BAPI-SIGN", tag),
            ("X-BAPI-RECV-WINDOW", "5000".to_owned()),
        ]
        .map(|(k, v)| (k.to_owned(), v));
        self.http(method, path, query, &headers, body.as_bytes()).1
    }

    pub(super) fn http(
        &mut self,
        method: &str,
        path: &str,
        query: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> (u16, Value) {
        self.raw.clear();
        self.input(Input::Http { token: 9, method, path, query, headers, body, ip: IP });
        let reply = self.raw.iter().find_map(|output| match output {
            Output::Reply { status, body, .. } => Some((*status, serde_json::from_slice(body).unwrap_or_default())),
            _ => None,
        });
        reply.unwrap()
    }

    /// Rows of a private topic told to account `n` so far, oldest first.
    pub(super) fn rows(&self, n: u64, topic: &str) -> Vec<Value> {
        let mine = self.heard.iter().filter(|(c, v)| *c == n * 10 + 11 && v["topic"] == topic);
        mine.flat_map(|(_, v)| v["data"].as_array().cloned().unwrap_or_default()).collect()
    }

    /// `status cumExecQty avgPrice` of an order, as last told.
    pub(super) fn state(&self, n: u64, id: &str) -> String {
        let rows = self.rows(n, "order");
        let row = rows.iter().rev().find(|r| r["orderId"] == id);
        row.map(|r| {
            let text = |key: &str| r[key].as_str().unwrap_or("?").to_owned();
            format!("{} {} {}", text("orderStatus"), text("cumExecQty"), text("avgPrice")).trim_end().to_owned()
        })
        .unwrap_or_default()
    }

    /// Signed position of account `n` on BTCUSDT, leg 0.
    pub(super) fn size(&self, n: usize) -> String {
        let account = self.ex.clients[n];
        self.ex.engine.accounts[account].position(0, 0).size.to_string()
    }

    /// Cash, fees and open cost sum to what was deposited; quantities match; nothing is both open and closed; no book
    /// is crossed.
    pub(super) fn audit(&self) {
        let engine = &self.ex.engine;
        let cash: i128 = engine.accounts.iter().map(|a| i128::from((a.wallet - a.deposited).raw())).sum();
        let cost: i128 =
            engine.accounts.iter().flat_map(|a| a.positions.values()).map(|p| i128::from(p.cost.raw())).sum();
        assert_eq!(cash - cost + i128::from(engine.fees.raw()), 0, "money appeared or vanished");
        for symbol in 0..engine.specs.len() {
            let sizes = engine.accounts.iter().flat_map(|a| a.positions.range((symbol, 0)..=(symbol, u8::MAX)));
            let open: i128 = sizes.map(|(_, p)| i128::from(p.size.raw())).sum();
            assert_eq!(open, 0, "a quantity without a counterparty");
            let book = &engine.books[symbol];
            let best = |side| book.queues.best(side).map(|(px, _)| px);
            if let (Some(bid), Some(ask)) = (best(keel_core::event::Side::Buy), best(keel_core::event::Side::Sell)) {
                assert!(bid < ask, "crossed: {bid} {ask}");
            }
            for side in [keel_core::event::Side::Buy, keel_core::event::Side::Sell] {
                for (px, queue) in book.queues.walk(side) {
                    let left: keel_core::units::Qty = queue.orders.iter().map(|id| engine.orders[id].left).sum();
                    assert_eq!(left, queue.total, "the total of {px}");
                }
            }
        }
        for (account, of) in engine.accounts.iter().enumerate() {
            for id in &of.open {
                let order = &engine.orders[id];
                assert!(order.status.open() && order.account == account);
                assert_eq!(order.left + order.filled, order.qty);
            }
            assert!(of.closed.iter().all(|o| !o.status.open() && !of.open.contains(&o.id)));
        }
        self.audit_guards();
        self.audit_log();
        assert_eq!(engine.orders.len(), engine.accounts.iter().map(|a| a.open.len()).sum::<usize>());
    }

    /// The log says how every coin came and went.
    fn audit_log(&self) {
        let whole = |of: &&super::account::Account| !of.house && of.log.len() < super::account::HISTORY;
        for of in self.ex.engine.accounts.iter().filter(whole) {
            let mut sums: BTreeMap<&str, i128> = BTreeMap::from([("USDT", i128::from(of.opening.raw()))]);
            for row in &of.log {
                let sum = sums.entry(&row.coin).or_default();
                *sum += i128::from((row.cash_flow + row.funding - row.fee).raw());
                assert_eq!(*sum, i128::from(row.balance.raw()), "{}: the balance beside {row:?}", of.uid);
            }
            for (coin, sum) in sums {
                let held = if coin == "USDT" { of.wallet.raw() } else { of.coins.get(coin).copied().unwrap_or(0) };
                assert_eq!(sum, i128::from(held), "{}: the log of {coin} is not the balance", of.uid);
            }
            let moved = of.movements.iter().map(|m| m.id).collect::<BTreeSet<_>>();
            assert_eq!(moved.len(), of.movements.len(), "a movement twice");
        }
    }

    /// Whatever waits is an open order; a guard closes a position that exists and never more than it.
    fn audit_guards(&self) {
        let engine = &self.ex.engine;
        for (symbol, id) in engine.stops.iter().enumerate().flat_map(|(s, ids)| ids.iter().map(move |id| (s, id))) {
            let order = &engine.orders[id];
            assert!(order.symbol == symbol && order.trigger.is_some());
            if order.guard.is_some() {
                let most = engine.closable(order.account, symbol, order.idx, order.side);
                assert!(order.qty <= most, "a guard of {} over a position of {most}", order.qty);
            }
        }
        for of in &engine.accounts {
            let bare = |p: &super::account::Position| p.margin.is_zero() || (of.isolated && !p.size.is_zero());
            assert!(of.positions.values().all(bare), "margin without an isolated position");
        }
        for ((symbol, _), p) in engine.accounts.iter().flat_map(|a| &a.positions) {
            let live = |id: &&u64| **id != 0;
            assert!(p.guards.iter().filter(live).all(|id| engine.stops[*symbol].contains(id)));
        }
    }
}

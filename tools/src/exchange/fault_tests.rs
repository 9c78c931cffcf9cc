//! Every fault, switched on in a running exchange through its admin endpoint and seen over real sockets.
//!
//! One exchange, one account, one client; each fault is switched on, seen, and over before the next.

use super::tests::{dial, sign};
use super::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tungstenite::{Message, WebSocket};

type Socket = WebSocket<TcpStream>;

fn now_ms() -> u64 {
    crate::node::clock::system_wall().millis()
}

struct Client {
    address: SocketAddr,
    public: Socket,
    private: Socket,
    trade: Socket,
    requests: u64,
    /// Verbs sent so far.
    verbs: BTreeSet<String>,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        let [public, private, trade] =
            ["/v5/public/linear", "/v5/private", "/v5/trade"].map(|path| dial(address, path));
        let mut client = Self { address, public, private, trade, requests: 0, verbs: BTreeSet::new() };
        client.again();
        client
    }

    /// Fresh sockets, authenticated and subscribed.
    fn again(&mut self) {
        self.public = dial(self.address, "/v5/public/linear");
        say(&mut self.public, r#"{"op":"subscribe","args":["orderbook.50.BTCUSDT"]}"#);
        (self.private, self.trade) = (dial(self.address, "/v5/private"), dial(self.address, "/v5/trade"));
        let expires = now_ms() + 5_000;
        let tag = sign("demo-secret", &format!("GET/realtime{expires}"));
        for socket in [&mut self.private, &mut self.trade] {
            say(socket, &format!(r#"{{"op":"auth","args":["demo-key",{expires},"{tag}"]}}"#));
            hear(socket);
        }
        say(&mut self.private, r#"{"op":"subscribe","args":["order","execution","position","wallet"]}"#);
        hear(&mut self.private);
    }

    fn http(&self, method: &str, target: &str, headers: &str, body: &str) -> (u16, Value) {
        let mut tcp = TcpStream::connect(self.address).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let length = body.len();
        write!(tcp, "{method} {target} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap();
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    fn command(&mut self, line: &str) {
        self.verbs.insert(line.split(' ').next().unwrap().to_owned());
        let (status, answer) = self.http("POST", "/sim/command", "", line);
        assert_eq!(status, 200, "{line}: {answer}");
    }

    fn public_get(&self, path: &str, query: &str) -> Value {
        self.http("GET", &format!("/v5/{path}?{query}"), "", "").1["result"].clone()
    }

    fn get_as(&self, (key, secret): (&str, &str), path: &str, query: &str) -> Value {
        let ms = now_ms();
        let tag = sign(secret, &format!("{ms}{key}5000{query}"));
        let headers = format!(
            "X-BAPI-API-KEY: {key}\r\nX-BAPI-TIMESTAMP: {ms}\r\nX-BAPI-SIGN: {tag}\r\nX-BAPI-RECV-WINDOW: 5000\r\n"
        );
        self.http("GET", &format!("/v5/{path}?{query}"), &headers, "").1
    }

    fn get(&self, path: &str, query: &str) -> Value {
        self.get_as(("demo-key", "demo-secret"), path, query)["result"].clone()
    }

    /// Sends an order; returns its link, which is also its request id.
    fn order(&mut self, symbol: &str, args: &str) -> String {
        self.requests += 1;
        let (id, ms) = (format!("f{}", self.requests), now_ms());
        let text = format!(
            r#"{{"reqId":"{id}","header":{{"X-BAPI-TIMESTAMP":"{ms}"}},"op":"order.create","args":[{{"category":"linear","symbol":"{symbol}","orderLinkId":"{id}",{args}}}]}}"#
        );
        say(&mut self.trade, &text);
        id
    }

    /// `retCode` of an order's answer.
    fn code(&mut self, symbol: &str, args: &str) -> i64 {
        self.order(symbol, args);
        hear(&mut self.trade)["retCode"].as_i64().unwrap()
    }

    fn buy(&mut self) -> i64 {
        self.code("BTCUSDT", r#""side":"Buy","orderType":"Market","qty":"0.002""#)
    }

    /// The next private frame of a topic.
    fn told(&mut self, topic: &str) -> Value {
        loop {
            let frame = hear(&mut self.private);
            if frame["topic"] == topic {
                return frame;
            }
        }
    }

    /// Topics of the private frames an order of ours causes, up to the wallet.
    fn story(&mut self) -> Vec<Value> {
        self.quiet();
        self.buy();
        let mut frames = Vec::new();
        loop {
            frames.push(hear(&mut self.private));
            if frames.last().unwrap()["topic"] == "wallet" {
                return frames;
            }
        }
    }

    /// Reads the private socket empty.
    fn quiet(&mut self) {
        self.private.get_mut().set_read_timeout(Some(Duration::from_millis(60))).unwrap();
        while self.private.read().is_ok() {}
        self.private.get_mut().set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    }

    fn size(&self) -> f64 {
        let row = self.get("position/list", "category=linear&symbol=BTCUSDT")["list"][0].clone();
        row["size"].as_str().unwrap().parse().unwrap()
    }
}

fn say(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text.to_owned())).unwrap();
}

fn raw(socket: &mut Socket) -> String {
    loop {
        if let Message::Text(text) = socket.read().unwrap() {
            return text.to_string();
        }
    }
}

fn hear(socket: &mut Socket) -> Value {
    serde_json::from_str(&raw(socket)).unwrap()
}

/// Reads book frames until one fits; at most so many.
fn until(socket: &mut Socket, what: &str, fits: &mut dyn FnMut(&str) -> bool) {
    for _ in 0..2_000 {
        if fits(&raw(socket)) {
            return;
        }
    }
    panic!("never seen: {what}");
}

fn sockets_die_and_fall_silent(c: &mut Client) {
    for after in [0, 1, 37] {
        c.command(&format!("disconnect channel=public after={after}"));
        let end = loop {
            if let Err(error) = c.public.read() {
                break error;
            }
        };
        assert!(!matches!(end, tungstenite::Error::ConnectionClosed), "no close frame: {end}");
        c.again();
    }
    c.command("hangup channel=private");
    while c.private.read().is_ok() {}
    c.again();
    hear(&mut c.public);
    c.command("silent channel=public for_ms=600");
    let (mut since, mut longest) = (Instant::now(), Duration::ZERO);
    while longest < Duration::from_millis(400) {
        raw(&mut c.public);
        (longest, since) = (longest.max(since.elapsed()), Instant::now());
    }
    c.command("slow channel=public bytes_per_s=3000");
    let (from, mut bytes) = (Instant::now(), 0);
    while bytes < 3_000 {
        bytes += raw(&mut c.public).len();
    }
    assert!(from.elapsed() > Duration::from_millis(500), "{bytes} bytes in {:?}", from.elapsed());
    c.command("clear");
    c.again();
}

fn acks_are_late_lost_and_refused(c: &mut Client) {
    c.command("latency channel=trade ms=250 jitter_ms=50");
    let from = Instant::now();
    assert_eq!(c.buy(), 0);
    assert!(from.elapsed() >= Duration::from_millis(250), "{:?}", from.elapsed());
    c.command("clear");
    c.quiet();
    c.command("late-ack");
    let link = c.order("BTCUSDT", r#""side":"Buy","orderType":"Market","qty":"0.002""#);
    assert_eq!(c.told("execution")["data"][0]["orderLinkId"], link);
    assert_eq!(hear(&mut c.trade)["reqId"], link);
    c.command("lost-ack");
    let lost = c.order("BTCUSDT", r#""side":"Buy","orderType":"Market","qty":"0.002""#);
    assert_eq!(c.told("execution")["data"][0]["orderLinkId"], lost, "it traded");
    let next = c.order("BTCUSDT", r#""side":"Buy","orderType":"Market","qty":"0.002""#);
    assert_eq!(hear(&mut c.trade)["reqId"], next, "and nobody said so");
    for code in [10006, 10016, 10019, 110_079] {
        c.command(&format!("refuse code={code}"));
        assert_eq!(c.buy(), code);
    }
    c.command("refuse code=10016");
    c.command("no-req-id");
    c.order("BTCUSDT", r#""side":"Buy","orderType":"Market","qty":"0.002""#);
    assert!(hear(&mut c.trade).get("reqId").is_none());
    for status in [403, 500, 503] {
        c.command(&format!("http status={status}"));
        assert_eq!(c.http("GET", "/v5/market/time", "", "").0, status);
    }
    c.command("clear");
}

fn executions_are_doubled_and_reordered(c: &mut Client) {
    let topics = |frames: &[Value]| frames.iter().map(|f| f["topic"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(topics(&c.story()), ["execution", "order", "position", "wallet"]);
    c.command("duplicate");
    let frames = c.story();
    assert_eq!(topics(&frames), ["execution", "execution", "order", "position", "wallet"]);
    assert_eq!(frames[0], frames[1]);
    c.command("reorder");
    assert_eq!(topics(&c.story()), ["order", "execution", "position", "wallet"]);
}

fn books_break(c: &mut Client) {
    let update = |text: &str| serde_json::from_str::<Value>(text).ok().and_then(|v| v["data"]["u"].as_u64());
    let mut last = 0;
    c.command("gap symbol=BTCUSDT");
    until(&mut c.public, "a gap", &mut |text| {
        let Some(u) = update(text) else { return false };
        let jumped = last != 0 && u > last + 1;
        last = u;
        jumped
    });
    c.command("restart symbol=BTCUSDT");
    until(&mut c.public, "u=1", &mut |text| text.contains("\"snapshot\"") && update(text) == Some(1));
    c.command("crossed symbol=BTCUSDT");
    let mut sides: [BTreeMap<i64, bool>; 2] = Default::default();
    until(&mut c.public, "a crossed book", &mut |text| {
        let frame: Value = serde_json::from_str(text).unwrap();
        for (side, name) in sides.iter_mut().zip(["b", "a"]) {
            for row in frame["data"][name].as_array().into_iter().flatten() {
                let px = keel_core::units::parse_decimal(row[0].as_str().unwrap().as_bytes()).unwrap();
                if row[1] == "0" {
                    side.remove(&px)
                } else {
                    side.insert(px, true)
                };
            }
        }
        let (bid, ask) = (sides[0].keys().next_back().copied(), sides[1].keys().next().copied());
        // The restart's own frame, or one before it, may have filled only a part: what counts is bid over ask.
        bid.zip(ask).is_some_and(|(bid, ask)| bid >= ask)
    });
    c.again();
    hear(&mut c.public);
    let broken = |text: &str| serde_json::from_str::<Value>(text).is_err();
    c.command("malformed channel=public");
    until(&mut c.public, "a malformed frame", &mut |text| broken(text));
    c.command("truncated channel=public");
    until(&mut c.public, "a truncated frame", &mut |text| {
        broken(text) && text.starts_with("{\"topic\":\"orderbook.50")
    });
    c.command("huge channel=public bytes=2000000");
    until(&mut c.public, "a huge frame", &mut |text| text.len() == 2_000_000);
}

fn the_venue_is_maintained_and_symbols_change(c: &mut Client) {
    c.command("maintenance on=true");
    assert_eq!(c.buy(), 10016);
    assert_eq!(c.public_get("system/status", "")["list"][0]["state"], "ongoing");
    c.command("maintenance on=false");
    assert_eq!(c.buy(), 0);
    c.command("halt symbol=BTCUSDT");
    assert_eq!(c.buy(), 110_066);
    c.command("resume symbol=BTCUSDT");
    assert_eq!(c.buy(), 0);
    c.command("instrument symbol=ETHUSDT tick=0.5");
    let row = c.public_get("market/instruments-info", "category=linear&symbol=ETHUSDT")["list"][0].clone();
    assert_eq!(row["priceFilter"]["tickSize"], "0.50");
    assert_eq!(c.code("ETHUSDT", r#""side":"Buy","orderType":"Limit","price":"3000.01","qty":"1""#), 10001);
    c.command("status symbol=ETHUSDT to=Closed");
    assert_eq!(c.code("ETHUSDT", r#""side":"Buy","orderType":"Market","qty":"1""#), 110_074);
    let listed = c.public_get("market/instruments-info", "category=linear");
    assert!(listed["list"].as_array().unwrap().iter().all(|row| row["symbol"] != "ETHUSDT"));
}

fn the_venue_takes_our_position(c: &mut Client) {
    c.code("BTCUSDT", r#""side":"Buy","orderType":"Market","qty":"0.4""#);
    let before = c.size();
    c.quiet();
    c.command("flatten key=demo-key symbol=BTCUSDT per_cent=50");
    let fill = c.told("execution")["data"][0].clone();
    assert_eq!((&fill["createType"], &fill["orderLinkId"]), (&json!("CreateByClosing"), &json!("")));
    assert!((c.size() - before / 2.0).abs() < 0.002);
    c.quiet();
    c.command("adl key=demo-key symbol=BTCUSDT qty=0.1");
    assert_eq!(c.told("execution")["data"][0]["execType"], "BustTrade");
    c.quiet();
    c.command("funding symbol=BTCUSDT rate=0.0002");
    assert_eq!(c.told("execution")["data"][0]["execType"], "Funding");
    c.quiet();
    c.command("liquidate key=demo-key");
    assert_eq!(c.told("position")["data"][0]["positionStatus"], "Liq");
    assert!(c.size().abs() < 1e-12);
    c.command("mark symbol=BTCUSDT px=64000 index=63990");
}

fn accounts_are_administered(c: &mut Client) {
    const NEW: (&str, &str) = ("new-key", "new-secret");
    let read = |c: &Client, path: &str, query: &str| c.get_as(NEW, path, query)["result"].clone();
    c.command("account key=new-key secret=new-secret wallet=500");
    c.command("deposit key=new-key amount=70.5");
    c.command("withdraw key=new-key amount=20");
    assert_eq!(read(c, "account/wallet-balance", "accountType=UNIFIED")["list"][0]["totalEquity"], "550.5");
    let cash = |c: &Client| read(c, "account/wallet-balance", "accountType=UNIFIED")["list"][0]["totalEquity"].clone();
    c.command("deposit key=new-key amount=10 chain=ETH from=0xabc address=0xdef tx=0x1 state=pending");
    assert_eq!(cash(c), "550.5", "not there yet");
    c.command("settle key=new-key to=done");
    assert_eq!(cash(c), "560.5");
    c.command("transfer key=new-key amount=10 to=FUND");
    assert_eq!(cash(c), "550.5");
    c.command("send key=new-key to=demo-key amount=20");
    c.command("convert key=new-key from=USDT amount=60 to=BTC got=0.001");
    assert_eq!(cash(c), "470.5");
    c.command("address key=new-key address=bc1q coin=BTC chain=BTC remark=cold");
    assert_eq!(read(c, "asset/withdraw/query-address", "")["rows"][0]["address"], "bc1q");
    c.command("fees key=new-key taker=0.0004 maker=-0.0001");
    assert_eq!(read(c, "account/fee-rate", "category=linear&symbol=BTCUSDT")["list"][0]["makerFeeRate"], "-0.0001");
    c.command("kyc key=new-key level=LEVEL_2");
    c.command("vip key=new-key level=VIP-3");
    c.command("rights key=new-key read_only=true withdraw=true");
    let key = read(c, "user/query-api", "");
    assert_eq!((&key["kycLevel"], &key["vipLevel"], &key["readOnly"]), (&json!("LEVEL_2"), &json!("VIP-3"), &json!(1)));
    c.command("bind key=new-key ip=10.1.1.1");
    assert_eq!(c.get_as(NEW, "user/query-api", "")["retCode"], 10010);
    c.command("limit key=demo-key per_s=1");
    let codes = [c.buy(), c.buy(), c.buy()];
    assert!(codes.contains(&10006), "{codes:?}");
    c.command("limit key=demo-key per_s=1000");
}

fn clocks_lie(c: &mut Client) {
    let query = "category=linear&symbol=BTCUSDT";
    c.command("stale for_ms=60000");
    let before = c.get("position/list", query);
    assert_eq!(c.buy(), 0);
    assert_eq!(c.get("position/list", query), before, "stale");
    c.command("clear");
    assert_ne!(c.get("position/list", query), before);
    c.command("skew ms=7000");
    let (_, answer) = c.http("GET", "/v5/market/time", "", "");
    assert!(answer["time"].as_u64().unwrap() > now_ms() + 6_000, "{answer}");
    let refused = c.get_as(("demo-key", "demo-secret"), "account/info", "");
    assert_eq!(refused["retCode"], 10002, "{refused}");
}

#[test]
fn every_fault_is_seen_over_sockets() {
    let running = spawn(Options::default(), Market::generated(), Pace::Real).unwrap();
    let mut client = Client::new(running.address);
    let acts: [fn(&mut Client); 8] = [
        sockets_die_and_fall_silent,
        acks_are_late_lost_and_refused,
        executions_are_doubled_and_reordered,
        books_break,
        the_venue_is_maintained_and_symbols_change,
        the_venue_takes_our_position,
        accounts_are_administered,
        clocks_lie, // last: time does not go back
    ];
    for act in acts {
        act(&mut client);
    }
    running.join().unwrap();

    // Whatever the page of conformance names was switched on.
    let page = include_str!("../../../gateway/src/sim/conformance.md");
    let faults = page.split("\n## ").find(|part| part.starts_with("Faults")).unwrap();
    for row in faults.lines().filter(|l| l.starts_with("| ")).skip(1) {
        for verb in row.split(" | ").nth(1).unwrap().split('`').skip(1).step_by(2) {
            assert!(client.verbs.contains(verb), "{verb} was never switched on");
        }
    }
}

#[test]
fn a_scenario_file_names_seconds_and_commands() {
    let path = std::env::temp_dir().join(format!("keel-scenario-{}.txt", std::process::id()));
    std::fs::write(&path, "# a comment\n2.5 halt symbol=BTCUSDT\n\n0 latency channel=trade ms=5 # and another\n")
        .unwrap();
    let lines = scenario(&path).unwrap();
    let expected = [(0, "latency channel=trade ms=5".to_owned()), (2_500, "halt symbol=BTCUSDT".to_owned())];
    assert_eq!(lines, expected);
    for bad in ["halt", "-1 halt symbol=BTCUSDT", "soon halt symbol=BTCUSDT"] {
        std::fs::write(&path, bad).unwrap();
        assert!(format!("{:#}", scenario(&path).unwrap_err()).contains("line 1"), "{bad}");
    }
    std::fs::remove_file(&path).unwrap();
}

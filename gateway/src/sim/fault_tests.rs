//! Every fault, switched on while the exchange runs, and what a client then sees.

use super::testing::*;
use super::*;
use serde_json::{Value, json};

fn watched() -> Desk {
    let mut desk = taped(1);
    desk.book(&[("100.0", "5")], &[("100.1", "5")]);
    desk.say(PUBLIC, r#"{"op":"subscribe","args":["orderbook.50.BTCUSDT"]}"#);
    desk.raw.clear();
    desk.heard.clear();
    desk
}

/// Topics and ops heard since, in order.
fn heard(desk: &Desk) -> Vec<String> {
    let name = |v: &Value| v["topic"].as_str().or(v["op"].as_str()).unwrap_or("?").to_owned();
    desk.heard.iter().map(|(_, v)| name(v)).collect()
}

fn buy(desk: &mut Desk) -> Value {
    desk.market(0, "Buy", "0.1", "")
}

#[test]
fn a_connection_dies_inside_a_frame() {
    for after in [0, 1, 17, 60] {
        let mut desk = watched();
        desk.command(&format!("disconnect channel=public after={after}"));
        desk.levels("delta", &[("99.9", "1")], &[]);
        let Some(Output::Cut { conn, bytes }) = desk.raw.last() else { panic!("{:?}", desk.raw) };
        assert_eq!((*conn, bytes.len()), (PUBLIC, after));
        desk.raw.clear();
        desk.levels("delta", &[("99.8", "1")], &[]);
        assert!(desk.raw.is_empty(), "the socket is gone");
    }
}

#[test]
fn a_hung_up_channel_is_closed_at_once() {
    let mut desk = watched();
    desk.command("hangup channel=trade");
    assert_eq!(desk.raw, [Output::Close { conn: 12 }]);
}

#[test]
fn a_silent_socket_says_nothing_for_its_time_and_stays_open() {
    let mut desk = watched();
    desk.command("silent channel=public for_ms=100");
    desk.levels("delta", &[("99.9", "1")], &[]);
    assert!(desk.raw.is_empty());
    desk.pass(200);
    desk.levels("delta", &[("99.8", "1")], &[]);
    assert_eq!(heard(&desk), ["orderbook.50.BTCUSDT"]);
}

#[test]
fn latency_and_jitter_delay_a_channel_in_order() {
    let mut desk = watched();
    desk.command("latency channel=public ms=50 jitter_ms=20");
    let start = desk.now_ms;
    for n in 0..5 {
        desk.levels("delta", &[("99.9", &format!("{}", n + 1))], &[]);
    }
    assert!(desk.raw.is_empty());
    desk.pass(40);
    assert!(desk.raw.is_empty(), "nothing before {} ms", desk.now_ms - start);
    desk.pass(100);
    let sizes: Vec<_> = desk.heard.iter().map(|(_, v)| v["data"]["b"][0][1].clone()).collect();
    assert_eq!(sizes, ["1", "2", "3", "4", "5"]);
}

#[test]
fn a_slow_socket_leaves_at_its_rate() {
    let mut desk = watched();
    desk.command("slow channel=public bytes_per_s=1000");
    for _ in 0..4 {
        desk.levels("delta", &[("99.9", "1")], &[]);
    }
    desk.pass(300);
    let early = desk.heard.len();
    desk.pass(2_000);
    assert!(early <= 2 && desk.heard.len() == 4, "{early} then {}", desk.heard.len());
}

#[test]
fn acks_are_lost_or_late() {
    let mut desk = watched();
    buy(&mut desk);
    assert_eq!(heard(&desk)[0], "order.create", "the ack leaves first");
    desk.heard.clear();
    desk.command("late-ack");
    buy(&mut desk);
    assert_eq!(heard(&desk), ["execution", "order", "position", "wallet", "order.create"]);
    desk.heard.clear();
    desk.command("lost-ack");
    assert_eq!(buy(&mut desk), Value::Null);
    assert_eq!(heard(&desk), ["execution", "order", "position", "wallet"]);
    desk.heard.clear();
    assert_eq!(buy(&mut desk)["retCode"], 0, "one ack only");
}

#[test]
fn executions_are_doubled_and_private_frames_swapped() {
    let mut desk = watched();
    desk.command("duplicate");
    buy(&mut desk);
    assert_eq!(heard(&desk), ["order.create", "execution", "execution", "order", "position", "wallet"]);
    assert_eq!(desk.heard[1], desk.heard[2]);
    desk.heard.clear();
    desk.command("reorder");
    buy(&mut desk);
    assert_eq!(heard(&desk), ["order.create", "order", "execution", "position", "wallet"]);
}

#[test]
fn books_lose_a_delta_restart_and_cross() {
    let mut desk = watched();
    desk.command("gap symbol=BTCUSDT");
    desk.levels("delta", &[("99.9", "1")], &[]);
    assert!(desk.heard.is_empty());
    desk.levels("delta", &[("99.9", "2")], &[]);
    let next = desk.heard.pop().unwrap().1;
    assert_eq!(next["data"]["u"], 3, "2 is missing");
    desk.command("restart symbol=BTCUSDT");
    let restart = desk.heard.pop().unwrap().1;
    assert_eq!((&restart["type"], &restart["data"]["u"]), (&json!("snapshot"), &json!(1)));
    desk.command("crossed symbol=BTCUSDT");
    let crossed = desk.heard.pop().unwrap().1;
    assert_eq!(crossed["data"]["b"][0][0], "100.20", "above the ask of 100.1");
}

#[test]
fn frames_are_malformed_truncated_and_huge() {
    type Expected = fn(&[u8]) -> bool;
    let rows: [(&str, Expected); 3] = [
        ("malformed channel=public", |b| serde_json::from_slice::<Value>(b).is_err()),
        ("truncated channel=public", |b| b.len() > 10 && serde_json::from_slice::<Value>(b).is_err()),
        ("huge channel=public bytes=5000000", |b| b.len() == 5_000_000),
    ];
    for (line, expected) in rows {
        let mut desk = watched();
        desk.command(line);
        desk.levels("delta", &[("99.9", "1")], &[]);
        let Some(Output::Send { bytes, .. }) = desk.raw.last() else { panic!("{line}: {:?}", desk.raw) };
        assert!(expected(bytes), "{line}");
        desk.levels("delta", &[("99.9", "2")], &[]);
        assert_eq!(heard(&desk).last().unwrap(), "orderbook.50.BTCUSDT", "{line}: one frame only");
    }
}

#[test]
fn requests_are_refused_on_demand() {
    let mut desk = watched();
    let own = codes::ALL.iter().map(|refusal| refusal.code);
    let others = [429, 10014, 10024, 10027, 110_006, 110_012, 110_021, 110_023, 110_042, 110_079, 110_085, 110_121];
    for code in own.chain(others) {
        desk.command(&format!("refuse code={code} count=2"));
        assert_eq!(buy(&mut desk)["retCode"], code);
        assert_eq!(buy(&mut desk)["retCode"], code);
        assert_eq!(buy(&mut desk)["retCode"], 0);
    }
    for status in [403, 500, 503] {
        desk.command(&format!("http status={status}"));
        assert_eq!(desk.http("GET", "/v5/market/time", "", &[], b"").0, status);
        assert_eq!(desk.http("GET", "/v5/market/time", "", &[], b"").0, 200);
    }
    desk.command("refuse code=10016");
    desk.command("no-req-id");
    buy(&mut desk);
    let refusal = desk.heard.iter().rev().find(|(_, v)| v["op"] == "order.create").unwrap().1.clone();
    assert!(refusal.get("reqId").is_none() && refusal["retCode"] == 10016, "{refusal}");
}

#[test]
fn the_clock_is_skewed_and_queries_are_stale() {
    let mut desk = watched();
    desk.command("skew ms=6000");
    assert!(desk.call(0, "GET", "/v5/account/info", "", "")["retMsg"].as_str().unwrap().contains("req_timestamp["));
    let mut desk = watched();
    desk.command("stale for_ms=1000");
    let size =
        |desk: &mut Desk| desk.get(0, "/v5/position/list", "category=linear&symbol=BTCUSDT")["list"][0]["size"].clone();
    assert_eq!(size(&mut desk), "0");
    buy(&mut desk);
    assert_eq!(size(&mut desk), "0", "stale");
    desk.pass(1_000);
    assert_eq!(size(&mut desk), "0.1");
}

#[test]
fn symbols_halt_change_and_are_delisted() {
    let mut desk = watched();
    let resting = desk.limit(0, "Buy", "99.0", "1", "");
    desk.command("halt symbol=BTCUSDT");
    assert_eq!(buy(&mut desk)["retCode"], 110_066);
    desk.command("resume symbol=BTCUSDT");
    desk.command("instrument symbol=BTCUSDT tick=0.5 step=0.01 min_qty=0.01");
    let row = desk.http("GET", "/v5/market/instruments-info", "category=linear&symbol=BTCUSDT", &[], b"").1;
    let row = &row["result"]["list"][0];
    assert_eq!((&row["priceFilter"]["tickSize"], &row["lotSizeFilter"]["qtyStep"]), (&json!("0.50"), &json!("0.01")));
    let off = desk.trade(0, "order.create", r#""side":"Buy","orderType":"Limit","price":"99.1","qty":"1""#);
    assert_eq!(off["retCode"], 10001);
    desk.command("status symbol=BTCUSDT to=Delivering");
    assert_eq!(buy(&mut desk)["retCode"], 110_074);
    desk.command("status symbol=BTCUSDT to=Closed");
    assert_eq!(desk.state(0, &resting), "Cancelled 0");
    let listed = desk.http("GET", "/v5/market/instruments-info", "category=linear", &[], b"").1;
    assert_eq!(listed["result"]["list"].as_array().unwrap().len(), 1);
    desk.audit();
}

#[test]
fn the_venue_flattens_a_part_and_liquidates() {
    let mut desk = watched();
    desk.market(0, "Buy", "2", "");
    desk.command("flatten key=a0 symbol=BTCUSDT per_cent=25");
    assert_eq!(desk.size(0), "1.5");
    desk.command("liquidate key=a0");
    assert_eq!(desk.size(0), "0");
    desk.audit();
}

#[test]
fn commands_are_refused_with_a_reason_and_reach_the_admin_endpoint() {
    let mut desk = watched();
    for line in
        ["", "levitate", "latency", "latency channel=left ms=1", "halt symbol=NOPE", "skew ms=x", "gap", "fees key=a0"]
    {
        let why = desk.ex.command(Wall::from_millis(desk.now_ms), line).unwrap_err();
        assert!(!why.is_empty());
    }
    let post = |desk: &mut Desk, body: &str| desk.http("POST", "/sim/command", "", &[], body.as_bytes());
    assert_eq!(post(&mut desk, "account key=new secret=s wallet=5\nlatency channel=trade ms=5\nclear").0, 200);
    assert_eq!(post(&mut desk, "bind key=new ip=nowhere").0, 400);
}

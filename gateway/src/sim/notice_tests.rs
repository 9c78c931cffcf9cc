//! What the venue says about itself, as a subscriber hears it.

use super::testing::*;
use super::tests::quoted;
use super::*;
use serde_json::{Value, json};

fn heard(desk: &Desk, topic: &str) -> Vec<Value> {
    desk.heard.iter().filter(|(_, v)| v["topic"] == topic).map(|(_, v)| v.clone()).collect()
}

#[test]
fn maintenance_is_announced_on_its_own_socket() {
    const SOCKET: u64 = 90;
    let mut desk = quoted();
    desk.input(Input::Connect { conn: SOCKET, channel: Channel::Status, query: "", ip: IP });
    for (conn, topic, success) in [
        (SOCKET, "tickers.BTCUSDT", false),
        (SOCKET, "order", false),
        (PUBLIC, "system.status", false),
        (SOCKET, "system.status", true),
    ] {
        desk.say(conn, &format!(r#"{{"op":"subscribe","req_id":"r","args":["{topic}"]}}"#));
        assert_eq!(desk.heard.last().unwrap().1["success"], success, "{topic}");
    }
    desk.say(SOCKET, r#"{"op":"ping"}"#);
    assert_eq!(desk.heard.last().unwrap().1["ret_msg"], "pong");
    let listed = |desk: &mut Desk, query: &str| {
        desk.http("GET", "/v5/system/status", query, &[], b"").1["result"]["list"].as_array().unwrap().clone()
    };
    assert!(listed(&mut desk, "").is_empty() && heard(&desk, "system.status").is_empty());
    let begin = desk.now_ms.to_string();
    desk.command("maintenance on=true");
    desk.command("maintenance on=true");
    desk.now_ms += 90_000;
    assert_eq!(listed(&mut desk, "")[0]["begin"], begin, "it began once");
    desk.command("maintenance on=false");
    let told: Vec<Value> = heard(&desk, "system.status").iter().map(|v| v["data"][0].clone()).collect();
    assert_eq!(told.len(), 2, "said once each");
    let id = told[0]["id"].as_str().unwrap().to_owned();
    let keys = "id title state begin end href serviceTypes product uidSuffix maintainType env";
    assert!(keys.split(' ').all(|key| told[0].get(key).is_some()), "{}", told[0]);
    assert_eq!((&told[0]["state"], &told[0]["end"]), (&json!("ongoing"), &json!("0")));
    assert_eq!((&told[1]["state"], &told[1]["id"]), (&json!("completed"), &json!(id)));
    assert_eq!(told[1]["end"], desk.now_ms.to_string());
    for (query, rows) in [("", 1), ("state=ongoing", 0), ("state=completed", 1), ("id=other", 0)] {
        assert_eq!(listed(&mut desk, query).len(), rows, "{query}");
    }
    assert_eq!(desk.market(0, "Buy", "0.1", "")["retCode"], 0);
    desk.command("maintenance on=true");
    assert_ne!(heard(&desk, "system.status")[2]["data"][0]["id"], id, "another one has another id");
}

#[test]
fn insurance_is_told_when_it_pays_and_falls_into_the_adl_alert() {
    let mut desk = taped(2);
    desk.say(PUBLIC, r#"{"op":"subscribe","args":["insurance.USDT","adlAlert.USDT"]}"#);
    let first = heard(&desk, "insurance.USDT").pop().unwrap();
    assert_eq!((&first["type"], &first["data"][1]["symbols"]), (&json!("snapshot"), &json!("ETHUSDT")));
    assert_eq!(first["data"][0]["balance"], "100000");
    let keys = "c s b mb i_pr pr adl_tt adl_sr";
    let alert = heard(&desk, "adlAlert.USDT").pop().unwrap();
    assert!(keys.split(' ').all(|key| alert["data"][0][key].is_string()), "{alert}");
    let alerts = heard(&desk, "adlAlert.USDT").len();
    desk.pass(3_000);
    assert_eq!(heard(&desk, "adlAlert.USDT").len(), alerts + 3, "each second");
    assert_eq!(heard(&desk, "insurance.USDT").len(), 1, "nothing paid, nothing said");

    desk.book(&[("99.0", "5000")], &[("100.0", "5000")]);
    desk.command("withdraw key=a0 amount=99800");
    assert_eq!(desk.market(0, "Buy", "15", "")["retCode"], 0);
    desk.book(&[("50.0", "5000")], &[("51.0", "5000")]); // far below the bankruptcy price
    assert_eq!(desk.size(0), "0");
    desk.pass(1_000);
    let delta = heard(&desk, "insurance.USDT").pop().unwrap();
    assert_eq!((&delta["type"], delta["data"].as_array().unwrap().len()), (&json!("delta"), 1));
    let balance: f64 = delta["data"][0]["balance"].as_str().unwrap().parse().unwrap();
    // 200 of wallet less 15 times the fall from 100 to 50 or a little above, and fees
    assert!((99_400.0..99_500.0).contains(&balance), "{delta}");
    let alert = heard(&desk, "adlAlert.USDT").pop().unwrap();
    assert_eq!(alert["data"][0]["b"], delta["data"][0]["balance"]);
    let ratio = |alert: &Value| alert["data"][0]["pr"].as_str().unwrap().parse::<f64>().unwrap();
    assert!((ratio(&alert) - (balance - 100_000.0) / 100_000.0).abs() < 1e-7, "{alert}");
    desk.say(PUBLIC, r#"{"op":"unsubscribe","args":["insurance.USDT","adlAlert.USDT"]}"#);
    desk.pass(8 * 3_600_000);
    desk.input(Input::Connect { conn: 91, channel: Channel::Public, query: "", ip: IP });
    desk.say(91, r#"{"op":"subscribe","args":["adlAlert.USDT"]}"#);
    assert!(ratio(&heard(&desk, "adlAlert.USDT").pop().unwrap()).abs() < 1e-9, "eight hours are over");
    desk.audit();
}

//! The conformance page is whole and true; and the codes and words no other case needs.

use super::testing::*;
use super::tests::quoted;
use super::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const PAGE: &str = include_str!("conformance.md");

/// Body of every test of the module, by name.
fn cases() -> BTreeMap<String, String> {
    let files = [
        include_str!("bars.rs"),
        include_str!("conformance_tests.rs"),
        include_str!("fault_tests.rs"),
        include_str!("funding.rs"),
        include_str!("fuzz_tests.rs"),
        include_str!("guard_tests.rs"),
        include_str!("history_tests.rs"),
        include_str!("margin_tests.rs"),
        include_str!("money_tests.rs"),
        include_str!("notice_tests.rs"),
        include_str!("order_tests.rs"),
        include_str!("tests.rs"),
        include_str!("trials.rs"),
        include_str!("venue_tests.rs"),
    ];
    let mut found = BTreeMap::new();
    for file in files {
        for part in file.split("#[test]").skip(1) {
            let Some((_, after)) = part.split_once("fn ") else { continue };
            let (name, body) = after.split_once('(').unwrap();
            let body = body.split("\n}\n").next().unwrap();
            found.insert(name.to_owned(), body.to_owned());
        }
    }
    found
}

/// Rows of the table under a heading: their cells.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let part = PAGE.split("\n## ").find(|part| part.starts_with(heading)).unwrap();
    let lines = part.lines().filter(|l| l.starts_with("| ") && !l.starts_with("|---")).skip(1);
    // A pipe inside a cell is escaped or within backticks; none of ours is.
    lines.map(|l| l.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

fn quoted_words(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_conformance_tables_are_whole_and_true() {
    let cases = cases();
    for heading in ["REST", "WebSocket", "Orders", "Codes", "Words", "Faults"] {
        let rows = rows(heading);
        assert!(!rows.is_empty(), "{heading}");
        for row in rows {
            assert_eq!(row.len(), 3, "{heading}: {row:?}");
            assert!(heading == "Faults" || row[1].starts_with("done") || row[1].starts_with("refused"), "{row:?}");
            for case in row[2].split(", ") {
                let foreign = case.starts_with("clients/session_");
                assert!(foreign || cases.contains_key(case), "{heading}: {case:?} is no case");
            }
        }
    }
    for (_, name) in rest::routes() {
        assert!(PAGE.contains(&format!("`{name}`")), "{name} is not in the table");
    }
}

#[test]
fn every_code_and_word_of_the_tables_stands_in_the_body_of_its_case() {
    let cases = cases();
    let plain = |body: &str| {
        let chars: Vec<char> = body.chars().collect();
        let digit = |at: usize| chars.get(at).is_some_and(char::is_ascii_digit);
        let kept =
            chars.iter().enumerate().filter(|(at, c)| **c != '_' || *at == 0 || !digit(at - 1) || !digit(at + 1));
        kept.map(|(_, c)| *c).collect::<String>()
    };
    for heading in ["Codes", "Words"] {
        for row in rows(heading) {
            let bodies: String = row[2].split(", ").map(|case| plain(&cases[case])).collect();
            for word in quoted_words(&row[0]) {
                assert!(row[1].contains("on demand") || bodies.contains(&word), "{word} is not in {}", row[2]);
            }
        }
    }
    let told: Vec<String> = rows("Codes").iter().flat_map(|row| quoted_words(&row[0])).collect();
    for refusal in codes::ALL {
        assert!(told.contains(&refusal.code.to_string()), "{} is not in the table", refusal.code);
    }
}

#[test]
fn every_command_is_in_the_table_of_faults() {
    let told: Vec<String> = rows("Faults").iter().flat_map(|row| quoted_words(&row[1])).collect();
    let pages = [include_str!("fault.rs"), include_str!("command.rs")].concat();
    let lines = pages.lines().filter(|l| l.starts_with("//! | `"));
    for line in lines {
        for spoken in quoted_words(line.trim_start_matches("//! | ").split(" | ").next().unwrap()) {
            let verb = spoken.split(' ').next().unwrap().to_owned();
            assert!(told.contains(&verb), "{verb} is not in the table");
        }
    }
}

#[test]
fn the_remaining_codes_are_answered_where_the_venue_answers_them() {
    let mut desk = quoted();
    let none = |desk: &mut Desk, path: &str| desk.http("GET", path, "", &[], b"");
    assert_eq!(none(&mut desk, "/v5/account/info").1["retCode"], 10007);
    assert_eq!(none(&mut desk, "/v5/order/levitate").1["retCode"], 10017);
    let cancel = r#""orderId":"none""#;
    let last = (0..3_001).map(|_| desk.trade(0, "order.cancel", cancel)["retCode"].clone()).last().unwrap();
    assert_eq!(last, 10403, "three thousand a second from one address");
    desk.pass(1_000);
    let mode = |desk: &mut Desk| {
        desk.call(0, "POST", "/v5/position/switch-mode", "", r#"{"category":"linear","symbol":"BTCUSDT","mode":3}"#)["retCode"].clone()
    };
    let id = desk.limit(0, "Buy", "99.0", "1", "");
    assert_eq!(mode(&mut desk), 110_028);
    desk.trade(0, "order.cancel", &format!(r#""orderId":"{id}""#));
    desk.market(0, "Buy", "1", "");
    assert_eq!(mode(&mut desk), 110_024);
    desk.call(0, "POST", "/v5/account/set-margin-mode", "", r#"{"setMarginMode":"ISOLATED_MARGIN"}"#);
    desk.command("mark symbol=BTCUSDT px=96");
    let lever = r#"{"category":"linear","symbol":"BTCUSDT","buyLeverage":"50","sellLeverage":"50"}"#;
    assert_eq!(desk.call(0, "POST", "/v5/position/set-leverage", "", lever)["retCode"], 110_011);
    desk.audit();
}

/// `orderStatus cancelType rejectReason` of the last row of an order.
fn end(desk: &Desk, n: u64, id: &str) -> String {
    let row = desk.rows(n, "order").into_iter().rfind(|r| r["orderId"] == id).unwrap();
    let text = |key: &str| row[key].as_str().unwrap().to_owned();
    format!("{} {} {}", text("orderStatus"), text("cancelType"), text("rejectReason"))
}

#[test]
fn orders_end_in_the_venues_words() {
    let mut desk = quoted();
    let id = desk.limit(0, "Buy", "99.0", "1", "");
    desk.trade(0, "order.cancel", &format!(r#""orderId":"{id}""#));
    assert_eq!(end(&desk, 0, &id), "Cancelled CancelByUser EC_PerCancelRequest");
    let id = desk.limit(0, "Buy", "99.0", "1", "");
    desk.limit(0, "Sell", "99.0", "9", r#","smpType":"CancelMaker""#);
    assert_eq!(end(&desk, 0, &id), "Cancelled CancelBySmp EC_BySelfMatch");

    let mut desk = quoted();
    desk.market(0, "Buy", "1", "");
    let id = desk.limit(0, "Sell", "101.0", "1", r#","reduceOnly":true"#);
    desk.market(0, "Sell", "1", "");
    assert_eq!(end(&desk, 0, &id), "Cancelled CancelByReduceOnly EC_PerCancelRequest");
    let id = desk.limit(0, "Buy", "99.0", "1", "");
    desk.command("liquidate key=a0");
    assert_eq!(end(&desk, 0, &id), "Cancelled CancelAllBeforeLiq EC_PerCancelRequest");

    desk.print("Buy", "100.2", "0.1");
    let id = desk.limit(1, "Buy", "100.3", "1000", r#","triggerPrice":"100.5","triggerDirection":1"#);
    desk.command("withdraw key=a1 amount=99990");
    desk.print("Buy", "100.5", "0.1");
    assert_eq!(end(&desk, 1, &id), "Cancelled UNKNOWN EC_Others", "no money when it fires");
    let id = desk.limit(0, "Buy", "99.0", "1", "");
    desk.command("status symbol=BTCUSDT to=Closed");
    assert_eq!(end(&desk, 0, &id), "Cancelled CancelBySettle EC_InvalidSymbolStatus");
    desk.audit();
}

#[test]
fn orders_say_what_created_them() {
    let mut desk = taped(2);
    desk.book(&[("99.9", "3")], &[("100.3", "50")]);
    desk.print("Buy", "100.0", "0.1");
    desk.limit(1, "Sell", "100.1", "1", "");
    desk.market(0, "Buy", "9", "");
    desk.limit(0, "Buy", "99.0", "1", r#","triggerPrice":"101","triggerDirection":1"#);
    let body = r#"{"category":"linear","symbol":"BTCUSDT","positionIdx":0,"trailingStop":"1","activePrice":"110"}"#;
    assert_eq!(desk.call(0, "POST", "/v5/position/trading-stop", "", body)["retCode"], 0);
    desk.command("flatten key=a0 symbol=BTCUSDT per_cent=10");
    desk.command("liquidate key=a0"); // the book takes three, the rest is deleveraged
    let mut words: Vec<Value> = Vec::new();
    for row in [desk.rows(0, "order"), desk.rows(1, "order")].concat() {
        words.extend([row["createType"].clone(), row["stopOrderType"].clone()]);
    }
    for word in [
        "CreateByUser",
        "CreateByStopOrder",
        "Stop",
        "CreateByTrailingProfit",
        "CreateByClosing",
        "CreateByLiq",
        "CreateByTakeOver_PassThrough",
    ] {
        assert!(words.contains(&json!(word)), "{word} of {words:?}");
    }
    let shorts = desk.rows(1, "execution");
    assert!(shorts.iter().any(|r| r["createType"] == "CreateByAdl_PassThrough"), "{shorts:?}");
    desk.audit();
}

#[test]
fn an_answer_takes_its_time_and_what_follows_waits_behind_it() {
    let mut desk = quoted();
    desk.ex.faults.answer_ms = 5;
    desk.command("clear"); // no fault: it stays
    desk.raw.clear();
    desk.heard.clear();
    desk.say(PUBLIC, r#"{"op":"subscribe","req_id":"1","args":["orderbook.50.BTCUSDT"]}"#);
    desk.levels("delta", &[("99.8", "1")], &[]);
    assert!(desk.raw.is_empty(), "{:?}", desk.raw);
    desk.pass(5);
    let kinds: Vec<Value> = desk.heard.iter().map(|(_, v)| v.get("type").unwrap_or(&v["op"]).clone()).collect();
    assert_eq!(kinds, ["subscribe", "snapshot", "delta"]);
    desk.levels("delta", &[("99.7", "1")], &[]);
    assert_eq!(desk.heard.len(), 4, "what nobody asked for leaves at once");
}

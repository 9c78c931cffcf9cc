//! Take profit, stop loss and trailing stop, of orders and of positions, whole and in part.

use super::testing::*;
use super::tests::quoted;
use serde_json::{Value, json};

/// Account 0 is long 2 BTC around 100; prints and quotes are deep.
fn long() -> Desk {
    let mut desk = taped(2);
    desk.book(&[("100.0", "50")], &[("100.1", "50")]);
    desk.print("Buy", "100.0", "0.1");
    assert_eq!(desk.market(0, "Buy", "2", "")["retCode"], 0);
    desk
}

fn stop(desk: &mut Desk, args: &str) -> Value {
    desk.pass(150); // ten a second
    let body = format!(r#"{{"category":"linear","symbol":"BTCUSDT","positionIdx":0,{args}}}"#);
    desk.call(0, "POST", "/v5/position/trading-stop", "", &body)["retCode"].clone()
}

/// Open guards as `stopOrderType qty triggerPrice`, oldest first.
fn guards(desk: &mut Desk) -> Vec<String> {
    let list =
        desk.get(0, "/v5/order/realtime", "category=linear&symbol=BTCUSDT&orderFilter=StopOrder")["list"].clone();
    let text = |r: &Value, key: &str| r[key].as_str().unwrap().to_owned();
    let mut rows: Vec<Value> = list.as_array().unwrap().clone();
    rows.reverse();
    rows.iter()
        .map(|r| format!("{} {} {}", text(r, "stopOrderType"), text(r, "qty"), text(r, "triggerPrice")))
        .collect()
}

fn position(desk: &mut Desk) -> Value {
    desk.get(0, "/v5/position/list", "category=linear&symbol=BTCUSDT")["list"][0].clone()
}

fn id_of(desk: &mut Desk, kind: &str) -> String {
    let list = desk.get(0, "/v5/order/realtime", "category=linear&symbol=BTCUSDT")["list"].clone();
    let row = list.as_array().unwrap().iter().find(|r| r["stopOrderType"] == kind).cloned().unwrap();
    row["orderId"].as_str().unwrap().to_owned()
}

#[test]
fn a_whole_position_is_guarded_by_orders_of_its_own_size() {
    let mut desk = long();
    assert_eq!(stop(&mut desk, r#""takeProfit":"110","stopLoss":"90","tpslMode":"Full","tpTriggerBy":"MarkPrice""#), 0);
    assert_eq!(guards(&mut desk), ["TakeProfit 2 110", "StopLoss 2 90"]);
    let row = desk.rows(0, "order").into_iter().find(|r| r["stopOrderType"] == "TakeProfit").unwrap();
    let expected = [
        ("createType", json!("CreateByTakeProfit")),
        ("orderStatus", json!("Untriggered")),
        ("side", json!("Sell")),
        ("orderType", json!("Market")),
        ("reduceOnly", json!(true)),
        ("closeOnTrigger", json!(true)),
        ("triggerBy", json!("MarkPrice")),
        ("triggerDirection", json!(1)),
        ("tpslMode", json!("Full")),
    ];
    for (key, value) in expected {
        assert_eq!(row[key], value, "{key}");
    }
    desk.market(0, "Buy", "1", "");
    desk.market(0, "Sell", "2.5", "");
    assert_eq!(guards(&mut desk), ["TakeProfit 0.5 110", "StopLoss 0.5 90"], "they follow the size");
    assert_eq!(stop(&mut desk, r#""takeProfit":"110","tpslMode":"Full","tpTriggerBy":"MarkPrice""#), 34040);
    assert_eq!(stop(&mut desk, r#""takeProfit":"112","tpslMode":"Full""#), 0, "one moves alone");
    assert_eq!(guards(&mut desk), ["TakeProfit 0.5 112", "StopLoss 0.5 90"]);
    desk.print("Sell", "90.0", "0.1");
    assert_eq!(desk.size(0), "0");
    let last = desk.rows(0, "order").into_iter().rfind(|r| r["stopOrderType"] == "TakeProfit").unwrap();
    assert_eq!((&last["orderStatus"], &last["cancelType"]), (&json!("Deactivated"), &json!("CancelByTpSlTsClear")));
    let fill = desk.rows(0, "execution").pop().unwrap();
    assert_eq!((&fill["createType"], &fill["stopOrderType"]), (&json!("CreateByStopLoss"), &json!("StopLoss")));
    let row = position(&mut desk);
    assert_eq!((&row["takeProfit"], &row["stopLoss"]), (&json!("0"), &json!("0")));
    assert!(guards(&mut desk).is_empty());
    desk.audit();
}

#[test]
fn zero_removes_a_guard_and_cancelling_one_of_a_pair_ends_both() {
    let mut desk = long();
    assert_eq!(stop(&mut desk, r#""takeProfit":"110","stopLoss":"90""#), 0);
    let id = id_of(&mut desk, "StopLoss");
    assert_eq!(desk.trade(0, "order.cancel", &format!(r#""orderId":"{id}""#))["retCode"], 0);
    assert!(guards(&mut desk).is_empty(), "a pair ends together");
    assert_eq!(position(&mut desk)["takeProfit"], "0");
    assert_eq!(stop(&mut desk, r#""takeProfit":"110","stopLoss":"90""#), 0);
    assert_eq!(stop(&mut desk, r#""takeProfit":"0""#), 0);
    assert_eq!(guards(&mut desk), ["StopLoss 2 90"]);
    let id = id_of(&mut desk, "StopLoss");
    assert_eq!(desk.trade(0, "order.amend", &format!(r#""orderId":"{id}","triggerPrice":"91""#))["retCode"], 0);
    assert_eq!(position(&mut desk)["stopLoss"], "91", "an amended guard shows in the position");
    assert_eq!(desk.trade(0, "order.amend", &format!(r#""orderId":"{id}","qty":"1""#))["retCode"], 110_060);
    let all = r#"{"category":"linear","symbol":"BTCUSDT","orderFilter":"StopOrder","stopOrderType":"Stop"}"#;
    desk.call(0, "POST", "/v5/order/cancel-all", "", all);
    assert_eq!(guards(&mut desk).len(), 1, "only plain conditional orders");
    desk.call(0, "POST", "/v5/order/cancel-all", "", r#"{"category":"linear","symbol":"BTCUSDT"}"#);
    assert!(guards(&mut desk).is_empty());
    desk.audit();
}

#[test]
fn parts_of_a_position_are_guarded_by_pairs_of_limit_and_market_orders() {
    let mut desk = long();
    let part = |px: &str, size: &str| {
        format!(
            r#""tpslMode":"Partial","takeProfit":"{px}","stopLoss":"95","tpSize":"{size}","slSize":"{size}","tpOrderType":"Limit","tpLimitPrice":"{px}","slOrderType":"Market""#
        )
    };
    assert_eq!(stop(&mut desk, &part("104", "0.5")), 0);
    assert_eq!(stop(&mut desk, &part("106", "1.2")), 0);
    let expected =
        ["PartialTakeProfit 0.5 104", "PartialStopLoss 0.5 95", "PartialTakeProfit 1.2 106", "PartialStopLoss 1.2 95"];
    assert_eq!(guards(&mut desk), expected);
    let row = desk.rows(0, "order").into_iter().find(|r| r["stopOrderType"] == "PartialTakeProfit").unwrap();
    assert_eq!(
        (&row["createType"], &row["orderType"], &row["price"], &row["tpslMode"]),
        (&json!("CreateByPartialTakeProfit"), &json!("Limit"), &json!("104.00"), &json!("Partial"))
    );
    desk.print("Buy", "104.0", "0.001");
    let left = ["PartialTakeProfit 1.2 106", "PartialStopLoss 1.2 95"];
    assert_eq!(guards(&mut desk), left, "one of a pair fires, the other goes");
    let resting = desk.rows(0, "order").into_iter().rfind(|r| r["price"] == "104.00").unwrap();
    assert_eq!(resting["orderStatus"], "New", "the book stands at 100: a limit waits there");
    desk.print("Buy", "105.0", "3");
    assert_eq!(desk.size(0), "1.5");
    desk.market(0, "Sell", "1", "");
    assert_eq!(guards(&mut desk), ["PartialTakeProfit 0.5 106", "PartialStopLoss 0.5 95"], "none exceeds the position");
    desk.book(&[("94.9", "50")], &[("95.1", "50")]);
    desk.print("Sell", "95.0", "0.1");
    assert_eq!(desk.size(0), "0");
    assert!(guards(&mut desk).is_empty());
    desk.audit();
}

#[test]
fn guards_that_make_no_sense_are_refused() {
    let mut desk = long();
    let rows = [
        (r#""takeProfit":"99","tpslMode":"Full""#, 10001),
        (r#""stopLoss":"101","tpslMode":"Full""#, 10001),
        (r#""takeProfit":"110.03""#, 10001),
        (r#""takeProfit":"110","tpslMode":"Full","tpOrderType":"Limit","tpLimitPrice":"110""#, 10001),
        (r#""takeProfit":"110","tpslMode":"Partial""#, 10001),
        (r#""takeProfit":"110","stopLoss":"90","tpslMode":"Partial","tpSize":"1","slSize":"0.5""#, 10001),
        (r#""takeProfit":"110","tpslMode":"Partial","tpSize":"1","tpOrderType":"Limit""#, 10001),
        (r#""takeProfit":"110","tpslMode":"Partial","tpSize":"5""#, 110_058),
        (r#""takeProfit":"110","tpslMode":"Some""#, 10001),
        (r#""tpslMode":"Full""#, 34040),
        (r#""takeProfit":"110","tpTriggerBy":"Moon""#, 10001),
    ];
    for (args, code) in rows {
        assert_eq!(stop(&mut desk, args), code, "{args}");
    }
    for n in 0..20 {
        assert_eq!(stop(&mut desk, r#""takeProfit":"110","tpslMode":"Partial","tpSize":"0.1""#), 0, "{n}");
    }
    assert_eq!(stop(&mut desk, r#""takeProfit":"110","tpslMode":"Partial","tpSize":"0.1""#), 110_061);
    let order = [
        (r#""side":"Buy","orderType":"Limit","price":"99.0","qty":"1","takeProfit":"98""#, 10001),
        (r#""side":"Sell","orderType":"Limit","price":"101.0","qty":"1","reduceOnly":true,"takeProfit":"98""#, 10001),
        (
            r#""side":"Buy","orderType":"Limit","price":"99.0","qty":"1","takeProfit":"110","tpOrderType":"Limit","tpLimitPrice":"110""#,
            10001,
        ),
        (r#""side":"Buy","orderType":"Limit","price":"99.0","qty":"1","tpslMode":"Partial""#, 0),
    ];
    for (args, code) in order {
        assert_eq!(desk.trade(0, "order.create", args)["retCode"], code, "{args}");
    }
    let mut flat = quoted();
    assert_eq!(stop(&mut flat, r#""takeProfit":"110""#), 10001, "no position");
    desk.audit();
}

#[test]
fn an_order_guards_what_it_opened_as_it_fills() {
    let mut desk = taped(2);
    desk.book(&[("99.0", "5")], &[("100.1", "5")]);
    desk.print("Buy", "100.0", "0.1");
    let exits = r#","orderLinkId":"mine","tpslMode":"Partial","takeProfit":"105","stopLoss":"95","slTriggerBy":"MarkPrice","tpOrderType":"Limit","tpLimitPrice":"104.9""#;
    let id = desk.limit(0, "Buy", "99.5", "2", exits);
    assert!(guards(&mut desk).is_empty(), "nothing filled, nothing guarded");
    desk.print("Sell", "99.5", "0.4");
    assert_eq!(guards(&mut desk), ["PartialTakeProfit 0.4 105", "PartialStopLoss 0.4 95"]);
    desk.print("Sell", "99.5", "0.6");
    assert_eq!(guards(&mut desk), ["PartialTakeProfit 1 105", "PartialStopLoss 1 95"], "one pair that grows");
    let row = desk.rows(0, "order").into_iter().rfind(|r| r["stopOrderType"] == "PartialTakeProfit").unwrap();
    assert_eq!((&row["parentOrderLinkId"], &row["price"]), (&json!("mine"), &json!("104.90")));
    let amended = desk.trade(0, "order.amend", &format!(r#""orderId":"{id}","takeProfit":"106""#));
    assert_eq!(amended["retCode"], 110_059, "it already trades");
    assert_eq!(position(&mut desk)["takeProfit"], "0", "a part is no property of the position");

    let mut desk = taped(2);
    desk.book(&[("99.0", "5")], &[("100.1", "5")]);
    let id = desk.limit(0, "Buy", "99.5", "2", r#","takeProfit":"105","stopLoss":"95""#);
    assert_eq!(
        desk.trade(0, "order.amend", &format!(r#""orderId":"{id}","takeProfit":"106","stopLoss":"0""#))["retCode"],
        0
    );
    desk.print("Sell", "99.5", "0.4");
    assert_eq!(guards(&mut desk), ["TakeProfit 0.4 106"]);
    desk.print("Sell", "99.5", "9");
    assert_eq!(guards(&mut desk), ["TakeProfit 2 106"]);
    desk.limit(0, "Sell", "99.0", "3", r#","timeInForce":"IOC""#);
    assert_eq!((desk.size(0).as_str(), guards(&mut desk).len()), ("-1", 0), "a reversed position starts bare");
    desk.audit();
}

#[test]
fn a_trailing_stop_follows_the_best_price_and_never_retreats() {
    let mut desk = long();
    assert_eq!(stop(&mut desk, r#""trailingStop":"2""#), 0);
    assert_eq!(guards(&mut desk), ["TrailingStop 2 98"]);
    assert_eq!(position(&mut desk)["trailingStop"], "2");
    desk.print("Buy", "103.0", "0.001");
    desk.print("Sell", "101.5", "0.001");
    assert_eq!(guards(&mut desk), ["TrailingStop 2 101"]);
    desk.print("Sell", "101.0", "0.001");
    assert_eq!(desk.size(0), "0");
    let fill = desk.rows(0, "execution").pop().unwrap();
    assert_eq!((&fill["createType"], &fill["stopOrderType"]), (&json!("CreateByTrailingStop"), &json!("TrailingStop")));
    assert_eq!(position(&mut desk)["trailingStop"], "0");

    let mut desk = long();
    assert_eq!(stop(&mut desk, r#""trailingStop":"2","activePrice":"105""#), 0);
    desk.print("Sell", "90.0", "0.001");
    assert_eq!((desk.size(0).as_str(), guards(&mut desk)), ("2", vec!["TrailingStop 2 105".to_owned()]), "not active");
    desk.print("Buy", "105.5", "0.001");
    assert_eq!(guards(&mut desk), ["TrailingStop 2 103.5"]);
    assert_eq!(stop(&mut desk, r#""trailingStop":"0""#), 0);
    assert!(guards(&mut desk).is_empty());

    let mut desk = taped(1);
    desk.book(&[("100.0", "50")], &[("100.1", "50")]);
    desk.print("Buy", "100.0", "0.1");
    desk.market(0, "Sell", "1", "");
    assert_eq!(stop(&mut desk, r#""trailingStop":"1""#), 0);
    desk.print("Sell", "98.0", "0.001");
    assert_eq!(guards(&mut desk), ["TrailingStop 1 99"], "a short is followed from above");
    desk.print("Buy", "99.0", "0.001");
    assert_eq!(desk.size(0), "0");
    desk.audit();
}

#[test]
fn guards_fire_at_the_price_they_name() {
    for (by, line) in [
        ("LastPrice", ""),
        ("MarkPrice", "mark symbol=BTCUSDT px=94 index=100"),
        ("IndexPrice", "mark symbol=BTCUSDT px=100 index=94"),
    ] {
        let mut desk = long();
        assert_eq!(stop(&mut desk, &format!(r#""stopLoss":"95","slTriggerBy":"{by}""#)), 0);
        if line.is_empty() {
            desk.print("Sell", "94.0", "0.001");
        } else {
            desk.command(line);
        }
        let fired = desk.rows(0, "order").iter().any(|r| r["orderStatus"] == "Triggered");
        assert!(fired, "{by}");
        desk.audit();
    }
}

#[test]
fn each_leg_of_a_hedge_has_its_own_guards() {
    let mut desk = taped(1);
    desk.book(&[("100.0", "50")], &[("100.1", "50")]);
    desk.print("Buy", "100.0", "0.1");
    desk.call(0, "POST", "/v5/position/switch-mode", "", r#"{"category":"linear","symbol":"BTCUSDT","mode":3}"#);
    desk.market(0, "Buy", "1", r#","positionIdx":1,"stopLoss":"95""#);
    desk.market(0, "Sell", "2", r#","positionIdx":2,"stopLoss":"105""#);
    assert_eq!(guards(&mut desk), ["StopLoss 1 95", "StopLoss 2 105"]);
    desk.print("Buy", "105.0", "0.001");
    assert_eq!(guards(&mut desk), ["StopLoss 1 95"]);
    let list = desk.get(0, "/v5/position/list", "category=linear&symbol=BTCUSDT")["list"].clone();
    assert_eq!((&list[0]["size"], &list[1]["size"]), (&json!("1"), &json!("0")));
    desk.audit();
}

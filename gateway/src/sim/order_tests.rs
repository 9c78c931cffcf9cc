//! What a client may ask of an order beyond side, price and quantity.

use super::testing::*;
use super::tests::quoted;
use serde_json::Value;

#[test]
fn a_limit_takes_its_price_from_a_level_of_the_book() {
    let rows = [
        ("Buy", "Queue", "1", "100.00"),
        ("Buy", "Queue", "2", "99.90"),
        ("Sell", "Queue", "2", "100.30"),
        ("Buy", "Counterparty", "1", "100.20"),
        ("Sell", "Counterparty", "2", "99.90"),
    ];
    for (side, of, level, px) in rows {
        let mut desk = quoted();
        let id = desk.limit(0, side, "1.0", "0.1", &format!(r#","bboSideType":"{of}","bboLevel":"{level}""#));
        let row = desk.rows(0, "order").into_iter().find(|r| r["orderId"] == id).unwrap();
        assert_eq!(row["price"], px, "{side} {of} {level}");
        assert_eq!(row["orderStatus"], if of == "Queue" { "New" } else { "Filled" }, "{side} {of} {level}");
        desk.audit();
    }
    let mut desk = quoted();
    for tail in [
        r#""orderType":"Limit","bboSideType":"Best","bboLevel":"1""#,
        r#""orderType":"Limit","bboSideType":"Queue""#,
        r#""orderType":"Limit","bboSideType":"Queue","bboLevel":"0""#,
        r#""orderType":"Limit","bboSideType":"Queue","bboLevel":"6""#,
        r#""orderType":"Limit","bboSideType":"Queue","bboLevel":"3""#, // the book has two levels
        r#""orderType":"Market","bboSideType":"Queue","bboLevel":"1""#,
        r#""orderType":"Limit","bboSideType":"Queue","bboLevel":"1","triggerPrice":"90","triggerDirection":2"#,
    ] {
        assert_eq!(
            desk.trade(0, "order.create", &format!(r#""side":"Buy","qty":"0.1",{tail}"#))["retCode"],
            10001,
            "{tail}"
        );
    }
}

#[test]
fn an_oversize_reduce_only_order_is_split() {
    let mut desk = taped(1);
    desk.book(&[("100.0", "500")], &[("100.2", "500")]);
    assert_eq!(desk.market(0, "Buy", "50", "")["retCode"], 0);
    desk.command("instrument symbol=BTCUSDT max_qty=20");
    let ends = |desk: &Desk, from: usize| -> Vec<(String, String)> {
        let rows = desk.rows(0, "order");
        let text = |r: &Value, key: &str| r[key].as_str().unwrap().to_owned();
        rows[from..].iter().map(|r| (text(r, "qty"), text(r, "orderLinkId"))).collect()
    };
    let told = desk.rows(0, "order").len();
    let first = desk.limit(0, "Sell", "101.0", "50", r#","reduceOnly":true,"orderLinkId":"mine""#);
    let parts = ends(&desk, told);
    let expected = [("20", "mine"), ("20", ""), ("10", "")].map(|(q, l)| (q.to_owned(), l.to_owned()));
    assert_eq!(parts, expected);
    assert_eq!(desk.rows(0, "order")[told]["orderId"], first, "the answer names the first");
    let grown = desk.trade(0, "order.amend", &format!(r#""orderId":"{first}","qty":"30""#));
    assert_eq!(grown["retCode"], 10001, "an order does not grow beyond the largest: {grown}");
    let plain = desk.trade(0, "order.create", r#""side":"Sell","orderType":"Limit","price":"101.0","qty":"50""#);
    assert_eq!(plain["retCode"], 10001, "only reduce-only is split");
    let all = desk.call(0, "POST", "/v5/order/cancel-all", "", r#"{"category":"linear","symbol":"BTCUSDT"}"#);
    assert_eq!(all["result"]["list"].as_array().unwrap().len(), 3, "{all}");

    let far = r#""side":"Sell","orderType":"Limit","price":"101.0","reduceOnly":true,"triggerPrice":"90","triggerDirection":2"#;
    assert_eq!(desk.trade(0, "order.create", &format!(r#"{far},"qty":"201""#))["retCode"], 110_009, "eleven parts");
    assert_eq!(desk.trade(0, "order.create", &format!(r#"{far},"qty":"900000000""#))["retCode"], 110_009);
    assert_eq!(desk.market(0, "Sell", "0", r#","reduceOnly":true,"closeOnTrigger":true"#)["retCode"], 0);
    assert_eq!(desk.size(0), "30", "zero closes one largest order");
    assert_eq!(desk.market(0, "Sell", "70", r#","reduceOnly":true"#)["retCode"], 0);
    assert_eq!(desk.size(0), "0", "trimmed to 30, closed in two");
    desk.audit();
}

#[test]
fn ordinary_accounts_may_not_improve_retail_prices() {
    let mut desk = quoted();
    let args = r#""side":"Buy","orderType":"Limit","price":"99.0","qty":"0.1","timeInForce":"RPI""#;
    let ack = desk.trade(0, "order.create", args);
    assert_eq!((&ack["retCode"], desk.rows(0, "order").len()), (&Value::from(110_119), 0), "{ack}");
}

#[test]
fn a_signature_that_is_no_hmac_is_refused() {
    let mut desk = quoted();
    let headers = [
        ("X-BAPI-API-KEY", "a0".to_owned()),
        ("X-BAPI-TIMESTAMP", desk.now_ms.to_string()),
        ("X-BAPI-SIGN", "q83vEjRWeJCrze8SNFZ4kA==".to_owned()), // base64, as an RSA key signs
    ]
    .map(|(k, v)| (k.to_owned(), v));
    assert_eq!(desk.http("GET", "/v5/user/query-api", "", &headers, b"").1["retCode"], 10004);
}

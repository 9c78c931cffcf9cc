//! Scenarios of the venue's protocol: streams, signatures, limits, cursors, named as sentences.

use super::testing::*;
use super::tests::quoted;
use super::*;
use serde_json::{Value, json};

#[test]
fn a_dead_connection_cancels_everything_after_its_window() {
    let mut desk = quoted();
    let id = desk.limit(0, "Buy", "99.0", "1", "");
    let body = r#"{"product":"DERIVATIVES","timeWindow":10}"#;
    assert_eq!(desk.call(0, "POST", "/v5/order/disconnected-cancel-all", "", body)["retCode"], 0);
    desk.say(11, r#"{"op":"subscribe","args":["dcp.future"]}"#);
    desk.input(Input::Closed { conn: 11 });
    desk.pass(9_000);
    let open = |desk: &mut Desk| desk.get(0, "/v5/order/realtime", "category=linear&symbol=BTCUSDT")["list"].clone();
    assert_eq!(open(&mut desk).as_array().unwrap().len(), 1);
    desk.pass(2_000);
    assert_eq!(open(&mut desk), json!([]));
    let row = desk.get(0, "/v5/order/history", &format!("category=linear&orderId={id}"))["list"][0].clone();
    assert_eq!(row["cancelType"], "CancelByDCP");
}

#[test]
fn subscriptions_are_refused_as_recorded() {
    let mut desk = quoted();
    let rows = [
        (r#"["orderbook.500.BTCUSDT"]"#, "error:handler not found,topic:orderbook.500.BTCUSDT"),
        (r#"["publicTrade.BTCUSDT","liquidations:BTCUSDT"]"#, "error:handler not found,topic:liquidations:BTCUSDT"),
        (r#"["publicTrade.NOPE"]"#, "error:handler not found,topic:publicTrade.NOPE"),
        (r#"[]"#, "Params Error"),
    ];
    for (args, text) in rows {
        desk.say(PUBLIC, &format!(r#"{{"op":"subscribe","req_id":5,"args":{args}}}"#));
        let ack = desk.heard.last().unwrap().1.clone();
        assert_eq!((&ack["success"], &ack["ret_msg"], &ack["req_id"]), (&json!(false), &json!(text), &json!("5")));
    }
    desk.say(PUBLIC, r#"{"op":"subscribe","args":["publicTrade.BTCUSDT"]}"#);
    desk.say(PUBLIC, r#"{"op":"subscribe","args":["publicTrade.BTCUSDT"]}"#);
    assert_eq!(desk.heard.last().unwrap().1["ret_msg"], "error:already subscribed,topic:publicTrade.BTCUSDT");
}

#[test]
fn a_late_subscriber_gets_the_mirror_and_then_the_tape_verbatim() {
    let mut desk = quoted();
    desk.levels("delta", &[("100.0", "0"), ("99.8", "1")], &[]);
    desk.say(PUBLIC, r#"{"op":"subscribe","args":["orderbook.50.BTCUSDT","tickers.BTCUSDT"]}"#);
    let book = desk.heard.iter().find(|(_, v)| v["topic"] == "orderbook.50.BTCUSDT").unwrap().1.clone();
    assert_eq!(book["data"]["b"], json!([["99.90", "3.000"], ["99.80", "1.000"]]));
    assert_eq!((&book["type"], &book["data"]["u"]), (&json!("snapshot"), &json!(2)));
    let frame = r#"{"topic":"orderbook.50.BTCUSDT", "odd":1,"type":"delta","ts":1,"data":{"s":"BTCUSDT","b":[],"a":[],"u":3,"seq":3},"cts":1}"#;
    desk.raw.clear();
    desk.tape(frame);
    assert!(desk.raw.contains(&Output::Send { conn: PUBLIC, bytes: frame.as_bytes().to_vec() }));
    desk.pass(1_000);
    assert!(desk.heard.iter().any(|(_, v)| v["topic"] == "tickers.BTCUSDT" && v["data"]["markPrice"] == "100.05"));
}

#[test]
fn clocks_signatures_and_rates_are_checked() {
    let mut desk = quoted();
    let now = desk.now_ms;
    let signed = |n: u64, at: u64, secret: &str| {
        let tag = hmac_hex(secret, &format!("{at}a{n}5000accountType=UNIFIED"));
        [
            ("x-bapi-api-key", format!("a{n}")),
            ("X-Bapi-Timestamp", at.to_string()),
            ("X-BAPI-SIGN", tag),
            ("X-BAPI-RECV-WINDOW", "5000".into()),
        ]
        .map(|(k, v)| (k.to_owned(), v))
    };
    let rows = [
        (signed(0, now, "s0"), 200, 0),
        (signed(0, now + 999, "s0"), 200, 0),
        (signed(0, now + 1_000, "s0"), 200, 10002),
        (signed(0, now - 5_000, "s0"), 200, 0),
        (signed(0, now - 5_001, "s0"), 200, 10002),
        (signed(0, now, "s1"), 200, 10004),
        (signed(9, now, "s9"), 200, 10003),
    ];
    for (headers, status, code) in rows {
        let (got, body) = desk.http("GET", "/v5/account/wallet-balance", "accountType=UNIFIED", &headers, b"");
        assert_eq!((got, &body["retCode"]), (status, &json!(code)), "{headers:?} {body}");
        assert!(body["time"].is_u64() && body["retExtInfo"].is_object() && body["result"].is_object());
    }
    assert_eq!(desk.http("GET", "/v5/account/wallet-balance", "", &[], b"").0, 401);
    assert_eq!(desk.http("GET", "/v5/nowhere", "", &[], b"").0, 404);
    assert_eq!(desk.http("POST", "/v5/market/time", "", &[], b"").0, 404);
    assert_eq!(desk.http("GET", "/v5/market/time", "", &[], b"{}").0, 403);
    desk.command("limit key=a0 per_s=2");
    let codes: Vec<Value> = (0..3)
        .map(|_| desk.trade(0, "order.create", r#""side":"Buy","orderType":"Limit","price":"99.0","qty":"0.1""#))
        .collect();
    assert_eq!((&codes[0]["retCode"], &codes[0]["header"]["X-Bapi-Limit-Status"]), (&json!(0), &json!("1")));
    assert_eq!((&codes[2]["retCode"], &codes[2]["header"]["X-Bapi-Limit"]), (&json!(10006), &json!("2")));
}

#[test]
fn rights_addresses_and_duplicates_are_checked() {
    let mut desk = quoted();
    desk.command("rights key=a0 read_only=true withdraw=true");
    assert_eq!(desk.market(0, "Buy", "0.1", "")["retCode"], 10005);
    let key = desk.get(0, "/v5/user/query-api", "");
    assert_eq!((&key["readOnly"], &key["permissions"]["Wallet"]), (&json!(1), &json!(["AccountTransfer", "Withdraw"])));
    desk.command("bind key=a0 ip=10.0.0.1");
    assert_eq!(desk.call(0, "GET", "/v5/user/query-api", "", "")["retCode"], 10010);
    desk.command("kyc key=a1 level=LEVEL_DEFAULT");
    assert_eq!(desk.get(1, "/v5/user/query-api", "")["kycLevel"], "LEVEL_DEFAULT");
    let now = desk.now_ms;
    let frame = format!(
        r#"{{"reqId":"twin","header":{{"X-BAPI-TIMESTAMP":"{now}"}},"op":"order.cancel","args":[{{"category":"linear","symbol":"BTCUSDT","orderId":"x"}}]}}"#
    );
    desk.say(22, &frame);
    assert_eq!(desk.heard.last().unwrap().1["retCode"], 110_001);
    desk.say(22, &frame);
    assert_eq!(desk.heard.last().unwrap().1["retCode"], 20006);
    desk.say(22, r#"{"op":"auth","args":["a1",1,"x"]}"#);
    assert_eq!(desk.heard.last().unwrap().1["retCode"], 20001);
}

#[test]
fn money_in_and_out_is_on_record() {
    let mut desk = quoted();
    desk.command("deposit key=a0 amount=250.5");
    desk.command("withdraw key=a0 amount=50");
    assert_eq!(desk.get(0, "/v5/asset/deposit/query-record", "")["rows"][0]["amount"], "250.5");
    assert_eq!(desk.get(0, "/v5/asset/withdraw/query-record", "")["rows"][0]["amount"], "50");
    assert_eq!(desk.get(0, "/v5/account/wallet-balance", "accountType=UNIFIED")["list"][0]["totalEquity"], "100200.5");
    desk.command("maintenance on=true");
    assert_eq!(desk.http("GET", "/v5/system/status", "", &[], b"").1["result"]["list"][0]["state"], "ongoing");
    assert_eq!(desk.market(0, "Buy", "0.1", "")["retCode"], 10016);
    desk.audit();
}

#[test]
fn cursors_walk_every_row_once() {
    let mut desk = quoted();
    let ids: std::collections::BTreeSet<String> = (0..57).map(|_| desk.limit(0, "Buy", "99.0", "0.1", "")).collect();
    let (mut cursor, mut seen) = (String::new(), std::collections::BTreeSet::new());
    loop {
        let page =
            desk.get(0, "/v5/order/realtime", &format!("category=linear&symbol=BTCUSDT&limit=20&cursor={cursor}"));
        let rows = page["list"].as_array().unwrap();
        assert!(rows.iter().all(|r| seen.insert(r["orderId"].as_str().unwrap().to_owned())), "a row twice");
        cursor = page["nextPageCursor"].as_str().unwrap().to_owned();
        if cursor.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ids);
}

#[test]
fn an_address_that_knocks_too_often_is_turned_away() {
    let mut desk = quoted();
    desk.ex.config.ip_limit = 3;
    let codes: Vec<u16> = (0..4).map(|_| desk.http("GET", "/v5/market/time", "", &[], b"").0).collect();
    assert_eq!(codes, [200, 200, 200, 403]);
    desk.pass(5_000);
    assert_eq!(desk.http("GET", "/v5/market/time", "", &[], b"").0, 200);
    desk.ex.config.connect_limit = 5;
    desk.raw.clear();
    for conn in 100..110 {
        desk.input(Input::Connect { conn, channel: Channel::Public, query: "", ip: IP });
    }
    assert!(desk.raw.contains(&Output::Close { conn: 109 }));
}

#[test]
fn pings_are_answered_as_each_endpoint_does() {
    let mut desk = quoted();
    let ms = desk.now_ms;
    let mut pong = |conn: u64, text: &str| {
        desk.raw.clear();
        desk.say(conn, text);
        let Some(Output::Send { bytes, .. }) = desk.raw.first() else { panic!() };
        let text = String::from_utf8_lossy(bytes).into_owned();
        let id = |text: &str| text.split("onn").nth(1).unwrap().split('"').nth(2).unwrap().to_owned();
        text.replace(&id(&text), "C")
    };
    assert_eq!(
        pong(PUBLIC, r#"{"op":"ping","args":[]}"#),
        r#"{"success":true,"ret_msg":"pong","conn_id":"C","req_id":"","op":"ping"}"#
    );
    assert_eq!(
        pong(11, r#"{"req_id":"7","op":"ping"}"#),
        format!(r#"{{"req_id":"7","op":"pong","args":["{ms}"],"conn_id":"C"}}"#)
    );
    assert_eq!(
        pong(12, r#"{"op":"ping"}"#),
        format!(r#"{{"retCode":0,"retMsg":"OK","op":"pong","data":["{ms}"],"connId":"C"}}"#)
    );
}

#[test]
fn a_silent_socket_is_closed_after_its_idle_time() {
    let mut desk = quoted();
    desk.input(Input::Connect { conn: 70, channel: Channel::Private, query: "max_active_time=30s", ip: IP });
    desk.raw.clear();
    desk.pass(29_000);
    assert!(!desk.raw.contains(&Output::Close { conn: 70 }));
    desk.pass(40_000);
    assert!(desk.raw.contains(&Output::Close { conn: 70 }));
    assert!(!desk.raw.contains(&Output::Close { conn: PUBLIC }), "ten minutes for everyone else");
}

#[test]
fn bands_and_bars_are_streamed_and_generated_books_repeat() {
    let mut desk = desk(1, MarketSource::Generated);
    desk.say(
        PUBLIC,
        r#"{"op":"subscribe","args":["priceLimit.BTCUSDT","kline.1.BTCUSDT","orderbook.1.BTCUSDT","orderbook.200.BTCUSDT","orderbook.1000.BTCUSDT"]}"#,
    );
    desk.pass(10_000);
    for topic in [
        "priceLimit.BTCUSDT",
        "kline.1.BTCUSDT",
        "orderbook.1.BTCUSDT",
        "orderbook.200.BTCUSDT",
        "orderbook.1000.BTCUSDT",
    ] {
        let count = desk.heard.iter().filter(|(_, v)| v["topic"] == topic).count();
        assert!(count > 5, "{topic}: {count}");
    }
    let queries = [
        "/v5/market/tickers",
        "/v5/market/orderbook",
        "/v5/market/recent-trade",
        "/v5/market/price-limit",
        "/v5/market/risk-limit",
        "/v5/market/instruments-info",
    ];
    for path in queries {
        let answer = desk.http("GET", path, "category=linear&symbol=BTCUSDT", &[], b"").1;
        assert_eq!(answer["retCode"], 0, "{path}: {answer}");
    }
    let bars = desk.http("GET", "/v5/market/kline", "category=linear&symbol=BTCUSDT&interval=1", &[], b"").1;
    assert_eq!(bars["result"]["list"][0].as_array().unwrap().len(), 7);
}

#[test]
fn liquidations_are_public() {
    let mut desk = quoted();
    desk.market(0, "Buy", "1", "");
    desk.say(PUBLIC, r#"{"op":"subscribe","args":["allLiquidation.BTCUSDT"]}"#);
    desk.command("liquidate key=a0");
    let row = desk.heard.iter().find(|(_, v)| v["topic"] == "allLiquidation.BTCUSDT").unwrap().1["data"][0].clone();
    assert_eq!((&row["S"], &row["v"]), (&json!("Buy"), &json!("1.000")), "a long was liquidated");
}

/// The members of the first object of `data`, as they stand in the bytes.
fn members(text: &str) -> Vec<String> {
    let (mut depth, mut keys, mut at) = (0, Vec::new(), text.find("\"data\":[").unwrap() + 8);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => {
                let end = at + 1 + text[at + 1..].find('"').unwrap();
                if depth == 1 && bytes.get(end + 1) == Some(&b':') {
                    keys.push(text[at + 1..end].to_owned());
                }
                at = end;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
        at += 1;
    }
    keys
}

#[test]
fn rows_carry_every_documented_field_in_order() {
    let documented = [
        (
            "order",
            "category symbol orderId orderLinkId parentOrderLinkId blockTradeId side orderType price qty timeInForce orderStatus cancelType rejectReason avgPrice leavesQty leavesValue cumExecQty cumExecValue cumExecFee cumFeeDetail closedPnl feeCurrency positionIdx reduceOnly closeOnTrigger createType isLeverage orderIv marketUnit slippageToleranceType slippageTolerance stopOrderType triggerPrice triggerBy triggerDirection takeProfit stopLoss tpslMode tpTriggerBy slTriggerBy tpLimitPrice slLimitPrice lastPriceOnCreated ocoTriggerBy placeType smpType smpGroup smpOrderId createdTime updatedTime rpiTakerAccess rpiMatchedQty",
        ),
        (
            "execution",
            "category symbol orderId orderLinkId side orderPrice orderQty leavesQty orderType stopOrderType createType execId execPrice execQty execValue execFee feeRate feeCurrency execType execTime isMaker isLeverage closedSize execPnl markPrice indexPrice underlyingPrice tradeIv markIv blockTradeId marketUnit extraFees seq",
        ),
        ("execution.fast", "category symbol orderId isMaker orderLinkId execId execPrice execQty side execTime seq"),
        (
            "position",
            "category symbol side size positionIdx tradeMode positionValue riskId riskLimitValue entryPrice markPrice leverage positionBalance breakEvenPrice autoAddMargin positionIM positionIMByMp positionMM positionMMByMp liqPrice bustPrice tpslMode takeProfit stopLoss trailingStop unrealisedPnl sessionAvgPrice curRealisedPnl cumRealisedPnl positionStatus adlRankIndicator createdTime updatedTime openTime seq isReduceOnly mmrSysUpdatedTime leverageSysUpdatedTime",
        ),
        (
            "wallet",
            "accountType accountIMRate accountMMRate totalEquity totalWalletBalance totalMarginBalance totalAvailableBalance totalPerpUPL totalInitialMargin totalMaintenanceMargin accountLTV coin",
        ),
    ];
    let mut desk = quoted();
    desk.say(11, r#"{"op":"subscribe","args":["execution.fast"]}"#);
    desk.raw.clear();
    desk.market(0, "Buy", "1", "");
    for (topic, expected) in documented {
        let frame = desk.raw.iter().find_map(|output| match output {
            Output::Send { bytes, .. } => {
                let text = String::from_utf8_lossy(bytes).into_owned();
                text.contains(&format!("\"topic\":\"{topic}\"")).then_some(text)
            }
            _ => None,
        });
        let mut keys = members(&frame.unwrap());
        keys.retain(|key| topic != "wallet" || !key.ends_with("ByMp"));
        assert_eq!(keys.join(" "), expected, "{topic}");
    }
}

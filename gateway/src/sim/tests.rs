//! Scenarios of orders, positions and money, named as sentences.

use super::testing::*;
use serde_json::{Value, json};

pub(super) const BIDS: &[(&str, &str)] = &[("100.0", "2"), ("99.9", "3")];
pub(super) const ASKS: &[(&str, &str)] = &[("100.2", "1"), ("100.3", "4")];

pub(super) fn quoted() -> Desk {
    let mut desk = taped(2);
    desk.book(BIDS, ASKS);
    desk
}

#[test]
fn a_resting_order_waits_its_turn_in_the_taped_queue() {
    let mut desk = quoted();
    let id = desk.limit(0, "Buy", "100.0", "1", "");
    assert_eq!(desk.state(0, &id), "New 0");
    desk.print("Sell", "100.0", "1.5");
    assert_eq!(desk.state(0, &id), "New 0", "2 stand ahead, 1.5 traded");
    desk.print("Sell", "100.0", "0.8");
    assert_eq!(desk.state(0, &id), "PartiallyFilled 0.3 100");
    desk.print("Sell", "99.9", "5");
    assert_eq!(desk.state(0, &id), "Filled 1 100", "a worse print fills us first");
    assert_eq!(desk.size(0), "1");
    desk.audit();
}

#[test]
fn cancellations_ahead_count_only_when_the_level_is_smaller_than_our_place() {
    let mut desk = quoted();
    let id = desk.limit(0, "Buy", "100.0", "1", "");
    desk.levels("delta", &[("100.0", "3")], &[]);
    desk.levels("delta", &[("100.0", "0.5")], &[]);
    desk.print("Sell", "100.0", "0.6");
    assert_eq!(desk.state(0, &id), "PartiallyFilled 0.1 100");
    desk.audit();
}

#[test]
fn a_book_that_crosses_our_price_fills_us_at_our_price() {
    let mut desk = quoted();
    let id = desk.limit(0, "Buy", "100.1", "2", "");
    desk.levels("delta", &[], &[("100.0", "1.25")]);
    assert_eq!(desk.state(0, &id), "PartiallyFilled 1.25 100.1");
    desk.levels("delta", &[], &[("100.1", "9")]);
    assert_eq!(desk.state(0, &id), "Filled 2 100.1");
    desk.audit();
}

#[test]
fn a_taker_takes_displayed_quantity_once_until_the_level_refreshes() {
    let mut desk = quoted();
    let take = |desk: &mut Desk| desk.limit(0, "Buy", "100.2", "1", r#","timeInForce":"IOC""#);
    let first = take(&mut desk);
    assert_eq!(desk.state(0, &first), "Filled 1 100.2");
    let second = take(&mut desk);
    assert_eq!(desk.state(0, &second), "Cancelled 0");
    desk.levels("delta", &[], &[("100.2", "0.4")]);
    let third = take(&mut desk);
    assert_eq!(desk.state(0, &third), "Cancelled 0.4 100.2");
    desk.audit();
}

#[test]
fn times_in_force_end_orders_as_the_venue_ends_them() {
    let rows: [(&str, &str, &str, &str, &str); 5] = [
        ("GTC", "100.3", "9", "PartiallyFilled 5 100.28", "EC_NoError"),
        ("IOC", "100.3", "9", "Cancelled 5 100.28", "EC_NoImmediateQtyToFill"),
        ("FOK", "100.3", "9", "Cancelled 0", "EC_NoEnoughQtyToFill"),
        ("FOK", "100.3", "5", "Filled 5 100.28", "EC_NoError"),
        ("PostOnly", "100.3", "9", "Cancelled 0", "EC_PostOnlyWillTakeLiquidity"),
    ];
    for (tif, px, qty, state, reject) in rows {
        let mut desk = quoted();
        let id = desk.limit(0, "Buy", px, qty, &format!(r#","timeInForce":"{tif}""#));
        assert_eq!(desk.state(0, &id), state, "{tif} {qty}");
        assert_eq!(desk.rows(0, "order").last().unwrap()["rejectReason"], reject);
        desk.audit();
    }
}

#[test]
fn a_market_order_reaches_one_per_cent_from_the_mark_and_no_further() {
    let mut desk = taped(1);
    desk.book(BIDS, &[("100.2", "1"), ("102.0", "5")]);
    desk.command("mark symbol=BTCUSDT px=100");
    let ack = desk.market(0, "Buy", "3", "");
    assert_eq!(ack["retCode"], 0);
    let row = desk.rows(0, "order").pop().unwrap();
    assert_eq!(
        (&row["price"], &row["cumExecQty"], &row["orderStatus"]),
        (&json!("101.00"), &json!("1"), &json!("Cancelled"))
    );
}

#[test]
fn accounts_meet_each_other_by_price_then_time() {
    let mut desk = taped(3);
    desk.book(&[("90.0", "1")], &[("110.0", "1")]);
    let first = desk.limit(0, "Sell", "100.0", "1", "");
    let second = desk.limit(1, "Sell", "100.0", "1", "");
    let better = desk.limit(1, "Sell", "99.9", "1", "");
    let taker = desk.limit(2, "Buy", "100.0", "2.5", "");
    assert_eq!(desk.state(1, &better), "Filled 1 99.9");
    assert_eq!(desk.state(0, &first), "Filled 1 100");
    assert_eq!(desk.state(1, &second), "PartiallyFilled 0.5 100");
    assert_eq!(desk.state(2, &taker), "Filled 2.5 99.96");
    let fills = desk.rows(2, "execution");
    assert_eq!(fills.len(), 3);
    assert_eq!((&fills[0]["isMaker"], &fills[0]["feeRate"]), (&json!(false), &json!("0.00055")));
    assert_eq!(desk.rows(0, "execution")[0]["feeRate"], "0.0002");
    desk.audit();
}

#[test]
fn an_amended_price_loses_its_place_and_a_smaller_quantity_keeps_it() {
    let mut desk = taped(3);
    desk.book(&[("90.0", "1")], &[("110.0", "1")]);
    let first = desk.limit(0, "Sell", "100.0", "2", "");
    let second = desk.limit(1, "Sell", "100.0", "2", "");
    let amend = |desk: &mut Desk, n: u64, id: &str, change: &str| {
        desk.trade(n, "order.amend", &format!(r#""orderId":"{id}",{change}"#))
    };
    assert_eq!(amend(&mut desk, 0, &first, r#""qty":"1""#)["retCode"], 0);
    desk.limit(2, "Buy", "100.0", "1", "");
    assert_eq!(desk.state(0, &first), "Filled 1 100", "a smaller quantity kept its place");
    let third = desk.limit(0, "Sell", "100.0", "1", "");
    assert_eq!(amend(&mut desk, 1, &second, r#""qty":"3""#)["retCode"], 0);
    desk.limit(2, "Buy", "100.0", "1", "");
    assert_eq!(desk.state(0, &third), "Filled 1 100", "a larger one lost it");
    let rows = [(r#""qty":"3""#, 10001), (r#""qty":"0.0005""#, 10001), (r#""price":"100.05""#, 10001)];
    for (change, code) in rows {
        assert_eq!(amend(&mut desk, 1, &second, change)["retCode"], code, "{change}");
    }
    desk.limit(2, "Buy", "100.0", "1", "");
    assert_eq!(amend(&mut desk, 1, &second, r#""qty":"1""#)["retCode"], 110_064);
    assert_eq!(amend(&mut desk, 1, "no-such-order", r#""qty":"1""#)["retCode"], 110_001);
    desk.audit();
}

#[test]
fn self_matches_are_prevented_as_the_taker_says() {
    let rows = [
        ("None", "Filled 1 100", "Filled 1 100"),
        ("CancelMaker", "Cancelled 0", "New 0"),
        ("CancelTaker", "New 0", "Cancelled 0"),
        ("CancelBoth", "Cancelled 0", "Cancelled 0"),
    ];
    for (smp, maker_ends, taker_ends) in rows {
        let mut desk = taped(1);
        desk.book(&[("90.0", "1")], &[("110.0", "1")]);
        let maker = desk.limit(0, "Sell", "100.0", "1", "");
        let taker = desk.limit(0, "Buy", "100.0", "1", &format!(r#","smpType":"{smp}""#));
        assert_eq!(desk.state(0, &maker), maker_ends, "{smp} maker");
        assert_eq!(desk.state(0, &taker), taker_ends, "{smp} taker");
        desk.audit();
    }
}

#[test]
fn requests_are_refused_in_the_venues_own_words() {
    let rows: [(&str, i64); 14] = [
        (r#""side":"Buy","orderType":"Limit","price":"100.05","qty":"1""#, 10001),
        (r#""side":"Buy","orderType":"Limit","price":"100.0","qty":"0.0005""#, 10001),
        (r#""side":"Buy","orderType":"Limit","price":"100.0","qty":"0""#, 10001),
        (r#""side":"Buy","orderType":"Limit","price":"100.0","qty":"5000""#, 10001),
        (r#""side":"Buy","orderType":"Limit","price":"100.0","qty":"0.001""#, 110_094),
        (r#""side":"Buy","orderType":"Limit","price":"-1","qty":"1""#, 10001),
        (r#""side":"Buy","orderType":"Limit","qty":"1""#, 10001),
        (r#""side":"Up","orderType":"Limit","price":"100.0","qty":"1""#, 10001),
        (r#""side":"Buy","orderType":"Limit","price":"100.0","qty":"1","positionIdx":1"#, 10001),
        (r#""side":"Buy","orderType":"Limit","price":"100.0","qty":"1","reduceOnly":true"#, 110_017),
        (r#""side":"Buy","orderType":"Limit","price":"100.0","qty":"1","orderLinkId":"sp ace""#, 10001),
        (
            r#""side":"Buy","orderType":"Limit","price":"100.0","qty":"1","triggerPrice":"90","triggerDirection":1"#,
            110_092,
        ),
        (
            r#""side":"Buy","orderType":"Limit","price":"100.0","qty":"1","triggerPrice":"190","triggerDirection":2"#,
            110_093,
        ),
        (r#""side":"Buy","orderType":"Limit","price":"100.0","qty":"1000","timeInForce":"SOON""#, 10001),
    ];
    let mut desk = quoted();
    desk.print("Buy", "100.2", "0.1");
    for (args, code) in rows {
        assert_eq!(desk.trade(0, "order.create", args)["retCode"], code, "{args}");
    }
    desk.limit(0, "Buy", "99.0", "1", r#","orderLinkId":"same""#);
    let twice = desk.trade(
        0,
        "order.create",
        r#""side":"Buy","orderType":"Limit","price":"99.0","qty":"1","orderLinkId":"same""#,
    );
    assert_eq!(twice["retCode"], 110_072);
    let poor = desk.trade(0, "order.create", r#""side":"Buy","orderType":"Limit","price":"102.0","qty":"1190""#);
    assert_eq!(poor["retCode"], 0, "121,380 USDT at leverage 10 fit 100,000 USDT: {poor}");
    desk.command("withdraw key=a1 amount=99990");
    let poor = desk.trade(1, "order.create", r#""side":"Buy","orderType":"Limit","price":"100.0","qty":"10""#);
    assert_eq!(poor["retCode"], 110_007, "{poor}");
    assert_eq!(desk.trade(0, "order.levitate", r#""a":1"#)["retCode"], 10_404);
    desk.audit();
}

#[test]
fn reduce_only_is_trimmed_to_the_position_and_dies_with_it() {
    let mut desk = quoted();
    desk.market(0, "Buy", "1", "");
    assert_eq!(desk.size(0), "1");
    let id = desk.limit(0, "Sell", "101.0", "5", r#","reduceOnly":true"#);
    assert_eq!(desk.rows(0, "order").last().unwrap()["qty"], "1");
    desk.market(0, "Sell", "1", "");
    assert_eq!(desk.size(0), "0");
    assert_eq!(desk.state(0, &id), "Cancelled 0");
    assert_eq!(desk.rows(0, "order").last().unwrap()["cancelType"], "CancelByReduceOnly");
    desk.audit();
}

#[test]
fn a_conditional_order_waits_fires_and_trades() {
    let mut desk = quoted();
    desk.print("Buy", "100.2", "0.1");
    let id =
        desk.limit(0, "Buy", "100.3", "1", r#","triggerPrice":"100.5","triggerDirection":1,"triggerBy":"LastPrice""#);
    assert_eq!(desk.state(0, &id), "Untriggered 0");
    desk.print("Buy", "100.4", "0.1");
    assert_eq!(desk.state(0, &id), "Untriggered 0");
    desk.print("Buy", "100.5", "0.1");
    assert_eq!(desk.state(0, &id), "Filled 1 100.2");
    let statuses: Vec<_> = desk.rows(0, "order").iter().map(|r| r["orderStatus"].clone()).collect();
    assert_eq!(statuses, ["Untriggered", "Triggered", "Filled"]);
    let gone = desk.limit(0, "Buy", "100.3", "1", r#","triggerPrice":"110","triggerDirection":1"#);
    desk.trade(0, "order.cancel", &format!(r#""orderId":"{gone}""#));
    assert_eq!(desk.state(0, &gone), "Deactivated 0");
    desk.audit();
}

#[test]
fn a_position_stops_out_at_its_stop_loss() {
    let mut desk = quoted();
    desk.market(0, "Buy", "1", r#","stopLoss":"99.95","takeProfit":"120""#);
    assert_eq!(desk.rows(0, "position").last().unwrap()["stopLoss"], "99.95");
    desk.print("Sell", "99.9", "0.1");
    assert_eq!(desk.size(0), "0");
    let filled = desk.rows(0, "order").into_iter().rfind(|r| r["orderStatus"] == "Filled").unwrap();
    assert_eq!(filled["createType"], "CreateByStopLoss");
    desk.audit();
}

#[test]
fn hedge_mode_keeps_two_legs() {
    let mut desk = quoted();
    let body = r#"{"category":"linear","symbol":"BTCUSDT","mode":3}"#;
    assert_eq!(desk.call(0, "POST", "/v5/position/switch-mode", "", body)["retCode"], 0);
    assert_eq!(desk.call(0, "POST", "/v5/position/switch-mode", "", body)["retCode"], 110_025);
    assert_eq!(desk.market(0, "Buy", "1", "")["retCode"], 10001, "positionIdx is mandatory");
    assert_eq!(desk.market(0, "Buy", "1", r#","positionIdx":1"#)["retCode"], 0);
    assert_eq!(desk.market(0, "Sell", "0.5", r#","positionIdx":2"#)["retCode"], 0);
    let list = desk.get(0, "/v5/position/list", "category=linear&symbol=BTCUSDT")["list"].clone();
    assert_eq!((&list[0]["size"], &list[0]["side"]), (&json!("1"), &json!("Buy")));
    assert_eq!((&list[1]["size"], &list[1]["side"]), (&json!("0.5"), &json!("Sell")));
    assert_eq!(desk.market(0, "Sell", "9", r#","positionIdx":1"#)["retCode"], 0);
    let list = desk.get(0, "/v5/position/list", "category=linear&symbol=BTCUSDT")["list"].clone();
    assert_eq!(list[0]["size"], "0", "closing a leg is trimmed to it");
    desk.audit();
}

#[test]
fn bands_move_a_price_unless_the_account_wants_it_refused() {
    let mut desk = quoted();
    let id = desk.limit(0, "Buy", "109.0", "0.1", "");
    assert_eq!(desk.state(0, &id), "Filled 0.1 100.2");
    let row = desk.rows(0, "order").pop().unwrap();
    assert_eq!(row["price"], "102.10", "2 % above the mark of 100.1");
    let body = r#"{"category":"linear","modifyEnable":false}"#;
    assert_eq!(desk.call(0, "POST", "/v5/account/set-limit-px-action", "", body)["retCode"], 0);
    assert_eq!(desk.get(0, "/v5/account/user-setting-config", "")["lpaPerp"], true);
    let refused = desk.trade(0, "order.create", r#""side":"Buy","orderType":"Limit","price":"109.0","qty":"0.1""#);
    assert_eq!(refused["retCode"], 110_003);
}

#[test]
fn cancel_all_stops_at_five_hundred_and_an_account_at_five_hundred_orders() {
    let mut desk = quoted();
    for _ in 0..500 {
        desk.limit(0, "Buy", "99.0", "0.1", "");
    }
    let full = desk.trade(0, "order.create", r#""side":"Buy","orderType":"Limit","price":"99.0","qty":"0.1""#);
    assert_eq!(full["retCode"], 110_020);
    let body = r#"{"category":"linear","symbol":"BTCUSDT"}"#;
    let answer = desk.call(0, "POST", "/v5/order/cancel-all", "", body)["result"].clone();
    assert_eq!(answer["success"], "1");
    assert_eq!(answer["list"].as_array().unwrap().len(), 500);
    let body = r#"{"category":"linear"}"#;
    assert_eq!(desk.call(0, "POST", "/v5/order/cancel-all", "", body)["retCode"], 10001);
    desk.audit();
}

#[test]
fn batches_answer_item_by_item() {
    let mut desk = quoted();
    desk.say(
        12,
        &format!(
            r#"{{"reqId":"b","header":{{"X-BAPI-TIMESTAMP":{}}},"op":"order.create-batch","args":[{{"category":"linear","request":[
            {{"symbol":"BTCUSDT","side":"Buy","orderType":"Limit","qty":"1","price":"99.0","orderLinkId":"b1"}},
            {{"symbol":"BTCUSDT","side":"Buy","orderType":"Limit","qty":"0.001","price":"99.0","orderLinkId":"b2"}}]}}]}}"#,
            desk.now_ms
        ),
    );
    let ack = desk.heard.iter().rev().find(|(_, v)| v["reqId"] == "b").unwrap().1.clone();
    assert_eq!(ack["retCode"], 0);
    assert_eq!(ack["retExtInfo"]["list"][0], json!({"code":0,"msg":"OK"}));
    assert_eq!(ack["retExtInfo"]["list"][1]["code"], 110_094);
    assert_eq!((&ack["data"]["list"][1]["orderId"], &ack["data"]["list"][1]["createAt"]), (&json!(""), &json!("")));
}

#[test]
fn funding_moves_money_from_longs_to_shorts_and_is_no_trade() {
    let mut desk = taped(2);
    desk.book(&[("90.0", "1")], &[("110.0", "1")]);
    desk.limit(0, "Buy", "100.0", "2", "");
    desk.limit(1, "Sell", "100.0", "2", "");
    desk.command("mark symbol=BTCUSDT px=100");
    desk.command("funding symbol=BTCUSDT rate=0.001");
    let row = desk.rows(0, "execution").pop().unwrap();
    assert_eq!(
        (&row["execType"], &row["execFee"], &row["orderType"]),
        (&json!("Funding"), &json!("0.2"), &json!("UNKNOWN"))
    );
    let log = desk.get(1, "/v5/account/transaction-log", "")["list"][0].clone();
    assert_eq!((&log["type"], &log["funding"], &log["change"]), (&json!("SETTLEMENT"), &json!("0.2"), &json!("0.2")));
    desk.audit();
}

#[test]
fn an_account_below_its_maintenance_margin_is_liquidated() {
    let mut desk = taped(2);
    desk.book(&[("99.0", "500")], &[("100.0", "500")]);
    desk.command("withdraw key=a0 amount=99800");
    let ack = desk.market(0, "Buy", "15", "");
    assert_eq!(ack["retCode"], 0, "{ack}");
    let resting = desk.limit(0, "Buy", "80.0", "0.2", "");
    let row = desk.rows(0, "position").pop().unwrap();
    assert!(row["liqPrice"].as_str().unwrap().parse::<f64>().unwrap() > 85.0, "{row}");
    desk.book(&[("86.5", "500")], &[("87.5", "500")]);
    assert_eq!(desk.size(0), "0");
    assert_eq!(desk.state(0, &resting), "Cancelled 0");
    let cancelled = desk.rows(0, "order").iter().any(|r| r["cancelType"] == "CancelAllBeforeLiq");
    let busts: Vec<Value> = desk.rows(0, "execution").into_iter().filter(|r| r["execType"] == "BustTrade").collect();
    assert!(cancelled && !busts.is_empty());
    assert_eq!(busts[0]["orderLinkId"], "");
    assert!(desk.rows(0, "position").iter().any(|r| r["positionStatus"] == "Liq"));
    desk.audit();
}

#[test]
fn deleveraging_takes_the_most_profitable_counterparty() {
    let mut desk = taped(3);
    desk.book(&[("90.0", "1")], &[("110.0", "1")]);
    desk.limit(1, "Sell", "100.0", "1", "");
    desk.limit(0, "Buy", "100.0", "1", "");
    desk.limit(2, "Sell", "102.0", "1", "");
    desk.limit(0, "Buy", "102.0", "1", "");
    desk.command("mark symbol=BTCUSDT px=95");
    desk.command("adl key=a0 symbol=BTCUSDT qty=1");
    assert_eq!((desk.size(0), desk.size(1), desk.size(2)), ("1".into(), "-1".into(), "0".into()));
    assert_eq!(desk.rows(2, "execution").last().unwrap()["execType"], "AdlTrade");
    desk.command("flatten key=a0 symbol=BTCUSDT per_cent=100");
    desk.audit();
}

#[test]
fn closed_profit_includes_both_fees() {
    let mut desk = taped(1);
    desk.book(&[("100.0", "10")], &[("100.0", "10")]);
    desk.book(&[("99.0", "10")], &[("100.0", "10")]);
    desk.market(0, "Buy", "1", "");
    desk.book(&[("100.5", "10")], &[("101.0", "10")]);
    desk.market(0, "Sell", "1", "");
    let row = desk.get(0, "/v5/position/closed-pnl", "category=linear&symbol=BTCUSDT")["list"][0].clone();
    assert_eq!(
        (&row["side"], &row["avgEntryPrice"], &row["avgExitPrice"]),
        (&json!("Sell"), &json!("100"), &json!("100.5"))
    );
    assert_eq!((&row["openFee"], &row["closeFee"]), (&json!("0.055"), &json!("0.055275")));
    assert_eq!(row["closedPnl"], "0.389725");
    desk.audit();
}

#[test]
fn leverage_is_bounded_and_changes_the_margin() {
    let mut desk = quoted();
    let set = |desk: &mut Desk, buy: &str, sell: &str| {
        let body =
            format!(r#"{{"category":"linear","symbol":"BTCUSDT","buyLeverage":"{buy}","sellLeverage":"{sell}"}}"#);
        desk.call(0, "POST", "/v5/position/set-leverage", "", &body)["retCode"].clone()
    };
    let rows =
        [("10", "10", 110_043), ("5", "5", 0), ("5", "6", 10001), ("101", "101", 110_013), ("0.5", "0.5", 10001)];
    for (buy, sell, code) in rows {
        assert_eq!(set(&mut desk, buy, sell), code, "{buy} {sell}");
    }
    desk.market(0, "Buy", "1", "");
    let im = |desk: &mut Desk| {
        let row = desk.get(0, "/v5/position/list", "category=linear&symbol=BTCUSDT")["list"][0].clone();
        row["positionIM"].as_str().unwrap().parse::<f64>().unwrap()
    };
    let at_five = im(&mut desk);
    assert!((20.0..20.2).contains(&at_five), "a fifth of 100.1 and the closing fee: {at_five}");
    assert_eq!(set(&mut desk, "10", "10"), 0);
    assert!((10.0..10.2).contains(&im(&mut desk)));
    let body = r#"{"category":"linear","symbol":"BTCUSDT","takeProfit":"120","stopLoss":"90","positionIdx":0}"#;
    assert_eq!(desk.call(0, "POST", "/v5/position/trading-stop", "", body)["retCode"], 0);
    let row = desk.get(0, "/v5/position/list", "category=linear&symbol=BTCUSDT")["list"][0].clone();
    assert_eq!((&row["takeProfit"], &row["stopLoss"]), (&json!("120"), &json!("90")));
    let fees = desk.get(0, "/v5/account/fee-rate", "category=linear")["list"].clone();
    assert_eq!(fees.as_array().unwrap().len(), 2);
    assert_eq!(desk.get(0, "/v5/account/smp-group", "")["smpGroup"], 0);
    assert_eq!(desk.get(0, "/v5/account/query-dcp-info", "")["dcpInfos"], json!([]));
}

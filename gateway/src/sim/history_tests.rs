//! Bars, funding, open interest and the other things the public market remembers.

use super::testing::*;
use super::tests::quoted;
use super::*;
use serde_json::{Value, json};

fn ask(desk: &mut Desk, path: &str, query: &str) -> Value {
    desk.http("GET", &format!("/v5/market/{path}"), &format!("category=linear&symbol=BTCUSDT{query}"), &[], b"").1
}

fn list(desk: &mut Desk, path: &str, query: &str) -> Vec<Value> {
    ask(desk, path, query)["result"]["list"].as_array().cloned().unwrap_or_default()
}

fn heard(desk: &Desk, topic: &str) -> Vec<Value> {
    desk.heard.iter().filter(|(_, v)| v["topic"] == topic).map(|(_, v)| v.clone()).collect()
}

fn number(v: &Value) -> f64 {
    v.as_str().unwrap().parse().unwrap()
}

#[test]
fn each_bar_closes_once_and_the_next_begins_where_it_ended() {
    let mut desk = desk(1, MarketSource::Generated);
    desk.say(PUBLIC, r#"{"op":"subscribe","args":["kline.1.BTCUSDT","publicTrade.BTCUSDT"]}"#);
    for _ in 0..4 {
        desk.pass(60_000);
        desk.say(PUBLIC, r#"{"op":"ping"}"#);
    }
    let bars: Vec<Value> = heard(&desk, "kline.1.BTCUSDT").iter().map(|v| v["data"][0].clone()).collect();
    let closed: Vec<&Value> = bars.iter().filter(|b| b["confirm"] == true).collect();
    let starts: Vec<u64> = closed.iter().map(|b| b["start"].as_u64().unwrap()).collect();
    assert!(starts.windows(2).all(|w| w[1] == w[0] + 60_000), "each once, in order: {starts:?}");
    assert!(starts.len() >= 3 && bars.len() > 100);
    let trades: Vec<Value> =
        heard(&desk, "publicTrade.BTCUSDT").iter().flat_map(|v| v["data"].as_array().unwrap().clone()).collect();
    for bar in &closed[1..] {
        let start = bar["start"].as_u64().unwrap();
        let mine: Vec<&Value> =
            trades.iter().filter(|t| (start..start + 60_000).contains(&t["T"].as_u64().unwrap())).collect();
        let volume: f64 = mine.iter().map(|t| number(&t["v"])).sum();
        assert!((number(&bar["volume"]) - volume).abs() < 1e-6, "{bar} {volume}");
        let high = mine.iter().map(|t| number(&t["p"])).fold(0.0, f64::max);
        assert!((number(&bar["high"]) - high).abs() < 1e-9);
    }
    let rest = list(&mut desk, "kline", "&interval=1&limit=3");
    assert_eq!(rest.len(), 3);
    assert!(number(&rest[0][0]) > number(&rest[1][0]), "newest first");
    let from = format!("&interval=1&start={}&end={}", starts[1], starts[1]);
    let one = list(&mut desk, "kline", &from);
    assert_eq!((one.len(), &one[0][0]), (1, &json!(starts[1].to_string())));
    assert_eq!(one[0][2], closed[1]["high"]);
    assert_eq!(ask(&mut desk, "kline", "&interval=7")["retCode"], 10001);
    for path in ["mark-price-kline", "index-price-kline", "premium-index-price-kline"] {
        let bars = list(&mut desk, path, "&interval=1");
        assert!(bars.len() >= 4 && bars[0].as_array().unwrap().len() == 5, "{path}: {bars:?}");
    }
}

#[test]
fn the_funding_rate_that_settles_is_the_one_the_ticker_showed() {
    let mut desk = desk(2, MarketSource::Generated);
    desk.market(0, "Buy", "1", "");
    let next: u64 = list(&mut desk, "tickers", "")[0]["nextFundingTime"].as_str().unwrap().parse().unwrap();
    assert!(list(&mut desk, "funding/history", "").is_empty());
    desk.now_ms = next - 10;
    desk.pass(5);
    let shown = list(&mut desk, "tickers", "")[0]["fundingRate"].clone();
    desk.pass(1_000);
    let history = list(&mut desk, "funding/history", "");
    assert_eq!(history.len(), 1);
    assert_eq!((&history[0]["fundingRate"], &history[0]["fundingRateTimestamp"]), (&shown, &json!(next.to_string())));
    let paid = desk.get(0, "/v5/execution/list", "category=linear&symbol=BTCUSDT&execType=Funding");
    assert_eq!(paid["list"][0]["feeRate"], shown);
    assert_eq!(ask(&mut desk, "funding/history", "&startTime=1")["retCode"], 10001);
    assert!(list(&mut desk, "funding/history", &format!("&startTime=1&endTime={}", next - 1)).is_empty());
    desk.audit();
}

#[test]
fn a_premium_raises_the_rate_up_to_its_cap() {
    let mut desk = taped(1);
    let rate = |desk: &mut Desk| number(&list(desk, "tickers", "")[0]["fundingRate"]);
    desk.book(&[("100.0", "5000")], &[("100.1", "5000")]);
    desk.pass(120_000);
    assert!((rate(&mut desk) - 0.0001).abs() < 1e-12, "the middle is the index: only the interest");
    desk.command("mark symbol=BTCUSDT px=100 index=99");
    desk.pass(60_000 * 40);
    assert!((rate(&mut desk) - 0.005).abs() < 1e-12, "one per cent above the index is beyond the cap");
    let bars = list(&mut desk, "premium-index-price-kline", "&interval=1&limit=1");
    assert!((0.009..0.011).contains(&number(&bars[0][4])), "{bars:?}");
    desk.command("mark symbol=BTCUSDT px=100 index=101.5");
    desk.pass(60_000 * 400);
    assert!(rate(&mut desk) < -0.004, "and below");
    desk.tape(r#"{"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT","fundingRate":"0.0003"},"cs":1,"ts":1}"#);
    desk.pass(60_000 * 5);
    assert!((rate(&mut desk) - 0.0003).abs() < 1e-12, "a tape that tells the rate is believed");
}

#[test]
fn open_interest_and_its_holders_are_counted() {
    let mut desk = taped(3);
    desk.book(&[("90.0", "1")], &[("110.0", "1")]);
    desk.limit(0, "Sell", "100.0", "3", "");
    desk.limit(1, "Buy", "100.0", "2", "");
    desk.limit(2, "Buy", "100.0", "1", "");
    let row = list(&mut desk, "tickers", "")[0].clone();
    assert_eq!((&row["singleOpenInterest"], &row["openInterest"]), (&json!("3.000"), &json!("6.000")));
    desk.pass(600_000);
    let rows = list(&mut desk, "open-interest", "&intervalTime=5min");
    assert_eq!((&rows[0]["openInterest"], &rows[0]["singleOpenInterest"]), (&json!("6"), &json!("3")));
    assert!(rows.len() >= 2);
    let rows = list(&mut desk, "account-ratio", "&period=5min&limit=1");
    assert_eq!((&rows[0]["buyRatio"], &rows[0]["sellRatio"]), (&json!("0.6666"), &json!("0.3333")));
    assert_eq!(ask(&mut desk, "open-interest", "&intervalTime=7min")["retCode"], 10001);
}

#[test]
fn insurance_alerts_and_the_index_are_told_over_rest() {
    let mut desk = quoted();
    let pools = ask(&mut desk, "insurance", "")["result"].clone();
    assert_eq!((&pools["list"][0]["coin"], &pools["list"][0]["balance"]), (&json!("USDT"), &json!("100000")));
    assert!(ask(&mut desk, "insurance", "&coin=BTC")["result"]["list"].as_array().unwrap().is_empty());
    let alert = list(&mut desk, "adlAlert", "");
    assert_eq!((alert.len(), &alert[0]["insurancePnlRatio"]), (1, &json!("-0.3")));
    let index = ask(&mut desk, "index-price-components", "&indexName=BTCUSDT")["result"].clone();
    assert_eq!((&index["lastPrice"], &index["components"][0]["weight"]), (&json!("100.1"), &json!("1")));
}

#[test]
fn the_rpi_book_is_the_book_with_a_third_number() {
    let mut desk = quoted();
    desk.say(PUBLIC, r#"{"op":"subscribe","args":["orderbook.rpi.BTCUSDT","orderbook.200.BTCUSDT"]}"#);
    let snapshot = heard(&desk, "orderbook.rpi.BTCUSDT").pop().unwrap();
    assert_eq!(snapshot["type"], "snapshot");
    assert_eq!(snapshot["data"]["b"][0], json!(["100.00", "2.000", "0"]));
    desk.levels("delta", &[("100.0", "3"), ("99.9", "0")], &[]);
    desk.pass(200);
    let delta = heard(&desk, "orderbook.rpi.BTCUSDT").pop().unwrap();
    assert_eq!(delta["data"]["b"], json!([["100.00", "3.000", "0"], ["99.90", "0", "0"]]));
    assert_eq!(delta["data"]["u"].as_u64(), snapshot["data"]["u"].as_u64().map(|u| u + 1));
    let rest = ask(&mut desk, "rpi_orderbook", "&limit=50")["result"].clone();
    assert_eq!(rest["b"], json!([["100.00", "3.000", "0"]]));
    assert_eq!(rest["u"], delta["data"]["u"]);
    desk.say(PUBLIC, r#"{"op":"subscribe","args":["orderbook.0.BTCUSDT"]}"#);
    assert_eq!(desk.heard.last().unwrap().1["success"], false);
}

#[test]
fn the_day_rolls() {
    let mut desk = quoted();
    let at = |desk: &mut Desk, px: &str| {
        let ms = desk.now_ms;
        desk.tape(&format!(
            r#"{{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":{ms},"data":[{{"T":{ms},"s":"BTCUSDT","S":"Buy","v":"1","p":"{px}","L":"PlusTick","i":"x","BT":false,"RPI":false,"seq":1}}]}}"#
        ));
    };
    at(&mut desk, "150.0");
    desk.now_ms += 20 * 3_600_000;
    at(&mut desk, "100.0");
    let row = list(&mut desk, "tickers", "")[0].clone();
    assert_eq!((&row["highPrice24h"], &row["volume24h"]), (&json!("150.00"), &json!("2")));
    desk.now_ms += 5 * 3_600_000;
    at(&mut desk, "110.0");
    let row = list(&mut desk, "tickers", "")[0].clone();
    assert_eq!(
        (&row["highPrice24h"], &row["volume24h"]),
        (&json!("150.00"), &json!("2")),
        "it opened at yesterday's close"
    );
    assert_eq!(row["prevPrice1h"], "100.00");
    desk.now_ms += 24 * 3_600_000;
    at(&mut desk, "120.0");
    let row = list(&mut desk, "tickers", "")[0].clone();
    assert_eq!((&row["highPrice24h"], &row["lowPrice24h"]), (&json!("120.00"), &json!("110.00")));
}

/// Every route answers in the one envelope; what reads needs no more than its documented arguments.
#[test]
fn every_route_answers_in_the_envelope() {
    let mut desk = quoted();
    desk.market(0, "Buy", "1", "");
    let query = "category=linear&symbol=BTCUSDT&interval=1&intervalTime=5min&period=5min&accountType=UNIFIED&coin=USDT&coinName=USDT&indexName=BTCUSDT";
    for (method, name) in rest::routes() {
        desk.pass(1_000);
        let answer = if method == "GET" {
            desk.call(0, method, &format!("/v5/{name}"), query, "")
        } else {
            desk.call(0, method, &format!("/v5/{name}"), "", r#"{"category":"linear","symbol":"BTCUSDT"}"#)
        };
        for (key, fits) in [
            ("retCode", answer["retCode"].is_i64()),
            ("retMsg", answer["retMsg"].is_string()),
            ("result", answer["result"].is_object()),
            ("retExtInfo", answer["retExtInfo"].is_object()),
            ("time", answer["time"].is_u64()),
        ] {
            assert!(fits, "{name}: {key} of {answer}");
        }
        assert!(method == "POST" || answer["retCode"] == 0, "{name}: {answer}");
    }
}

#[test]
fn cash_and_leverage_are_told_by_coin_and_symbol() {
    let mut desk = quoted();
    desk.market(0, "Buy", "10", "");
    let told = desk.get(0, "/v5/account/withdrawal", "coinName=USDT,BTC,%22");
    let free = number(&told["availableWithdrawal"]);
    assert!((99_940.0..99_955.0).contains(&free), "{told}");
    assert_eq!(told["availableWithdrawalMap"]["BTC"], "0");
    let one = desk.get(0, "/v5/asset/transfer/query-account-coin-balance", "accountType=UNIFIED&coin=USDT");
    assert_eq!(one["balance"]["transferBalance"], told["availableWithdrawal"]);
    let all = desk.get(0, "/v5/asset/transfer/query-account-coins-balance", "accountType=UNIFIED&coin=USDT");
    assert_eq!(all["balance"][0]["walletBalance"], one["balance"]["walletBalance"]);
    assert_eq!(desk.get(0, "/v5/account/collateral-info", "")["list"][0]["currency"], "USDT");
    let rows = desk.get(0, "/v5/position/symbol-info", "category=linear");
    assert_eq!((rows["list"].as_array().unwrap().len(), &rows["list"][0]["leverage"]), (2, &json!("10")));
}

#[test]
fn what_was_cancelled_unfilled_is_forgotten_after_a_day() {
    let mut desk = quoted();
    let cancelled = desk.limit(0, "Buy", "99.0", "1", "");
    desk.trade(0, "order.cancel", &format!(r#""orderId":"{cancelled}""#));
    let filled = desk.limit(0, "Buy", "100.2", "1", "");
    let history = |desk: &mut Desk| {
        let list = desk.get(0, "/v5/order/history", "category=linear&symbol=BTCUSDT")["list"].clone();
        list.as_array().unwrap().iter().map(|r| r["orderId"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(history(&mut desk), [filled.clone(), cancelled.clone()]);
    desk.now_ms += 25 * 3_600_000;
    assert_eq!(history(&mut desk), [filled]);
    let by_id = desk.get(0, "/v5/order/history", &format!("category=linear&orderId={cancelled}"));
    assert_eq!(by_id["list"], json!([]), "not even by its id");
}

//! Trials of the exchange by luck: conservation over random sessions, determinism, and bytes nobody should send.

use super::rng::Rng;
use super::testing::*;
use super::*;
use proptest::prelude::*;

fn pick<'a>(rng: &mut Rng, of: &[&'a str]) -> &'a str {
    of[usize::try_from(rng.below(of.len() as u64)).unwrap()]
}

fn cents(rng: &mut Rng, from: u64, to: u64) -> String {
    let tenths = from + rng.below(to - from);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// One random act of one of three accounts, or of the market, or of an administrator.
fn act(desk: &mut Desk, rng: &mut Rng, ids: &mut Vec<(u64, String)>) {
    let n = rng.below(3);
    let side = pick(rng, &["Buy", "Sell"]);
    match rng.below(22) {
        0..8 => {
            let tif = pick(rng, &["GTC", "GTC", "IOC", "FOK", "PostOnly"]);
            let smp = pick(rng, &["None", "CancelMaker", "CancelTaker", "CancelBoth"]);
            let kind = pick(rng, &["Limit", "Limit", "Limit", "Market"]);
            let reduce = rng.chance(150);
            let exits = pick(
                rng,
                &[
                    "",
                    "",
                    r#","takeProfit":"102.0""#,
                    r#","stopLoss":"101.0""#,
                    r#","tpslMode":"Partial","takeProfit":"101.0","stopLoss":"98.0""#,
                ],
            );
            let (px, qty) = (cents(rng, 985, 1_015), cents(rng, 1, 60));
            let ack = desk.trade(
                n,
                "order.create",
                &format!(
                    r#""side":"{side}","orderType":"{kind}","price":"{px}","qty":"{qty}","timeInForce":"{tif}","smpType":"{smp}","reduceOnly":{reduce}{exits}"#
                ),
            );
            if let Some(id) = ack["data"]["orderId"].as_str() {
                ids.push((n, id.to_owned()));
            }
        }
        8..10 => {
            let (at, up) = (cents(rng, 990, 1_010), 1 + rng.below(2));
            let args = format!(
                r#""side":"{side}","orderType":"Market","qty":"1","triggerPrice":"{at}","triggerDirection":{up},"stopLoss":"98.0""#
            );
            desk.trade(n, "order.create", &args);
        }
        10..13 if !ids.is_empty() => {
            let at = usize::try_from(rng.below(ids.len() as u64)).unwrap();
            let (n, id) = ids[at].clone();
            let (px, qty) = (cents(rng, 985, 1_015), cents(rng, 1, 60));
            match rng.below(3) {
                0 => desk.trade(n, "order.cancel", &format!(r#""orderId":"{id}""#)),
                1 => desk.trade(n, "order.amend", &format!(r#""orderId":"{id}","qty":"{qty}""#)),
                _ => desk.trade(n, "order.amend", &format!(r#""orderId":"{id}","price":"{px}""#)),
            };
        }
        13..16 => {
            let (bid, width) = (985 + rng.below(25), 1 + rng.below(4));
            let text = |tenths: u64| format!("{}.{}", tenths / 10, tenths % 10);
            let (b, a, q) = (text(bid), text(bid + width), cents(rng, 1, 80));
            desk.book(&[(&b, &q)], &[(&a, &q)]);
        }
        16..18 => {
            let (px, qty) = (cents(rng, 985, 1_015), cents(rng, 1, 40));
            desk.print(side, &px, &qty);
        }
        18..20 => {
            let (px, other, size) = (cents(rng, 985, 1_015), cents(rng, 985, 1_015), cents(rng, 1, 9));
            let args = match rng.below(4) {
                0 => format!(r#""stopLoss":"{px}""#),
                1 => format!(r#""takeProfit":"{px}","stopLoss":"{other}""#),
                2 => format!(r#""trailingStop":"0.{}""#, 1 + rng.below(9)),
                _ => format!(
                    r#""tpslMode":"Partial","takeProfit":"{px}","stopLoss":"{other}","tpSize":"{size}","slSize":"{size}","tpOrderType":"Limit","tpLimitPrice":"{px}""#
                ),
            };
            let body = format!(r#"{{"category":"linear","symbol":"BTCUSDT","positionIdx":0,{args}}}"#);
            desk.call(n, "POST", "/v5/position/trading-stop", "", &body);
            desk.pass(50);
        }
        20 => {
            let line = pick(
                rng,
                &[
                    "funding symbol=BTCUSDT rate=0.0037",
                    "funding symbol=BTCUSDT rate=-0.0011",
                    "deposit key=a1 amount=17.3",
                    "withdraw key=a2 amount=3.3",
                    "deposit key=a0 amount=7.25 state=pending",
                    "settle key=a0 to=done",
                    "withdraw key=a1 amount=2.5 fee=0.5 state=pending",
                    "settle key=a1 to=failed",
                    "transfer key=a2 amount=1.5 to=FUND",
                    "transfer key=a2 amount=0.5 to=UNIFIED",
                    "send key=a0 to=a1 amount=4.75",
                    "convert key=a1 from=USDT amount=6 to=BTC got=0.0001",
                    "fees key=a0 taker=0.0004 maker=-0.0001",
                ],
            );
            // money that is not there, or not under way, does not move
            let _ = desk.ex.command(Wall::from_millis(desk.now_ms), line);
            desk.pass(1);
        }
        _ => {
            let line = pick(
                rng,
                &[
                    "liquidate key=a0",
                    "flatten key=a1 symbol=BTCUSDT per_cent=50",
                    "adl key=a2 symbol=BTCUSDT qty=1",
                    "mark symbol=BTCUSDT px=97",
                    "mark symbol=BTCUSDT px=103",
                ],
            );
            let mode = pick(rng, &["REGULAR_MARGIN", "ISOLATED_MARGIN"]);
            desk.call(n, "POST", "/v5/account/set-margin-mode", "", &format!(r#"{{"setMarginMode":"{mode}"}}"#));
            let _ = desk.ex.command(Wall::from_millis(desk.now_ms), line);
            desk.pass(1);
        }
    }
}

fn session(seed: u64, acts: usize) -> Desk {
    let mut desk = taped(3);
    desk.book(&[("100.0", "5")], &[("100.1", "5")]);
    desk.command("withdraw key=a2 amount=99000");
    let (mut rng, mut ids) = (Rng::new(seed), Vec::new());
    for _ in 0..acts {
        act(&mut desk, &mut rng, &mut ids);
        desk.audit();
    }
    desk
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn money_and_quantities_are_conserved_over_random_sessions(seed in any::<u64>()) {
        session(seed, 250);
    }

    #[test]
    fn nothing_a_client_sends_takes_the_exchange_down(bytes in proptest::collection::vec(any::<u8>(), 0..300), conn in 0u64..30) {
        let mut desk = taped(1);
        desk.input(Input::Frame { conn, bytes: &bytes });
        let text = String::from_utf8_lossy(&bytes).into_owned();
        desk.http("GET", &text, &text, &[(text.clone(), text.clone())], &bytes);
        desk.input(Input::Tape { frame: &bytes });
        let _ = desk.ex.command(Wall::from_millis(desk.now_ms), &text);
        desk.audit();
    }
}

#[test]
fn random_sessions_reach_what_they_are_meant_to_try() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..12 {
        let desk = session(seed, 250);
        for n in 0..3 {
            seen.extend(desk.rows(n, "order").iter().map(|r| format!("{}/{}", r["orderStatus"], r["cancelType"])));
            seen.extend(desk.rows(n, "execution").iter().map(|r| r["execType"].to_string()));
            seen.extend(desk.rows(n, "execution").iter().filter_map(|r| r["createType"].as_str().map(str::to_owned)));
        }
    }
    for wanted in [
        "\"Filled\"/\"UNKNOWN\"",
        "\"PartiallyFilled\"/\"UNKNOWN\"",
        "\"Cancelled\"/\"CancelByUser\"",
        "\"Cancelled\"/\"CancelBySmp\"",
        "\"Cancelled\"/\"CancelByReduceOnly\"",
        "\"Cancelled\"/\"CancelAllBeforeLiq\"",
        "\"Triggered\"/\"UNKNOWN\"",
        "\"Deactivated\"/\"CancelByTpSlTsClear\"",
        "CreateByTakeProfit",
        "CreateByPartialTakeProfit",
        "CreateByPartialStopLoss",
        "CreateByStopLoss",
        "CreateByTrailingStop",
        "\"Funding\"",
        "\"BustTrade\"",
        "\"AdlTrade\"",
    ] {
        assert!(seen.contains(wanted), "{wanted} never happened; {seen:?}");
    }
}

#[test]
fn one_seed_and_one_story_give_the_same_bytes() {
    let run = |seed| {
        let mut desk = desk(2, MarketSource::Generated);
        desk.say(
            PUBLIC,
            r#"{"op":"subscribe","args":["orderbook.50.BTCUSDT","publicTrade.ETHUSDT","tickers.BTCUSDT","orderbook.1.ETHUSDT"]}"#,
        );
        let mut rng = Rng::new(seed);
        for _ in 0..40 {
            desk.pass(rng.below(200));
            desk.market(rng.below(2), pick(&mut rng, &["Buy", "Sell"]), "0.01", "");
        }
        desk.audit();
        desk.raw
    };
    let (one, other) = (run(3), run(3));
    assert!(one.len() > 300, "{}", one.len());
    assert_eq!(one, other);
    assert_ne!(one, run(4));
}

/// Requests as clients write them, with every byte changed, dropped or doubled in turn.
#[test]
fn mutated_requests_get_an_answer_and_leave_the_books_whole() {
    let mut desk = taped(1);
    desk.book(&[("100.0", "5")], &[("100.1", "5")]);
    let now = desk.now_ms;
    let frames = [
        format!(
            r#"{{"reqId":"m","header":{{"X-BAPI-TIMESTAMP":"{now}"}},"op":"order.create","args":[{{"category":"linear","symbol":"BTCUSDT","side":"Buy","orderType":"Limit","qty":"1","price":"100.1","timeInForce":"IOC","positionIdx":0,"triggerPrice":"90","triggerDirection":2}}]}}"#
        ),
        format!(
            r#"{{"reqId":"n","header":{{"X-BAPI-TIMESTAMP":{now}}},"op":"order.create-batch","args":[{{"category":"linear","request":[{{"symbol":"BTCUSDT","side":"Sell","orderType":"Market","qty":"0.5","slippageToleranceType":"Percent","slippageTolerance":"1"}}]}}]}}"#
        ),
        r#"{"op":"subscribe","req_id":"1","args":["orderbook.50.BTCUSDT","tickers.BTCUSDT"]}"#.to_owned(),
        r#"{"op":"auth","args":["a0",1900000005000,"a9d2c871"]}"#.to_owned(),
    ];
    let mut rng = Rng::new(1);
    let mut answers = 0;
    for frame in frames {
        for at in 0..frame.len() {
            for way in 0..3 {
                let mut bytes = frame.clone().into_bytes();
                match way {
                    0 => bytes[at] = u8::try_from(rng.below(256)).unwrap(),
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, bytes[at]),
                }
                let before = desk.raw.len();
                desk.input(Input::Frame { conn: [PUBLIC, 11, 12][way], bytes: &bytes });
                answers += usize::from(desk.raw.len() > before);
            }
        }
        desk.audit();
    }
    assert!(answers > 1_500, "{answers}");
}

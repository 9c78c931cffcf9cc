//! Frames of the private and trade sockets, recorded and made up, and what the decoder makes of them.

use super::*;
use crate::testing::{captures, instruments};
use keel_core::event::{ExecKind, OrderStatus, Side, TimeInForce};
use keel_core::units::{Notional, Px, Qty};
use proptest::prelude::*;

fn decode(frame: &str) -> (Result<Seen, DecodeError>, Vec<ExecEvent>, Skipped) {
    let mut decoder = Decoder::new(&instruments());
    let mut facts = Vec::new();
    let seen = decoder.frame(frame.as_bytes(), Source::default(), &mut |fact| facts.push(fact));
    (seen, facts, decoder.skipped())
}

fn one(frame: &str) -> ExecEvent {
    let (seen, facts, skipped) = decode(frame);
    assert_eq!((seen, facts.len(), skipped), (Ok(Seen::Facts(1)), 1, Skipped::default()), "{frame}");
    facts[0]
}

const ORDER: &str = r#"{"id":"m-1","topic":"order","creationTime":1900000001010,"data":[{"category":"linear","symbol":"ABCUSDT","orderId":"7d1e0000","orderLinkId":"k00000001-00000007","side":"Buy","orderType":"Limit","price":"20.05","qty":"10","timeInForce":"PostOnly","orderStatus":"New","cancelType":"UNKNOWN","rejectReason":"EC_NoError","avgPrice":"","leavesQty":"10","cumExecQty":"0","reduceOnly":false,"updatedTime":"1900000001007","aFieldOfNextMonth":{"x":[1,2]}}]}"#;
const EXECUTION: &str = r#"{"id":"m-2","topic":"execution","creationTime":1900000002020,"data":[{"category":"linear","symbol":"ABCUSDT","orderId":"7d1e0000","orderLinkId":"k00000001-00000007","side":"Buy","leavesQty":"6","execId":"e1e10000","execPrice":"20.05","execQty":"4","execFee":"0.01604","execType":"Trade","execTime":"1900000002015","isMaker":true,"closedSize":"0","execPnl":"0","markPrice":"20.06","seq":88140}]}"#;
const POSITION: &str = r#"{"id":"m-3","topic":"position","creationTime":1900000002022,"data":[{"category":"linear","symbol":"ABCUSDT","side":"Sell","size":"4","positionIdx":0,"entryPrice":"20.0512345678901","markPrice":"20.06","positionIM":"16.08","positionMM":"0.84","liqPrice":"","unrealisedPnl":"0.04","curRealisedPnl":"-0.01604","positionStatus":"Normal","updatedTime":"1900000002016","seq":-1}]}"#;
const WALLET: &str = r#"{"id":"m-4","topic":"wallet","creationTime":1900000002023,"data":[{"accountType":"UNIFIED","totalInitialMargin":"16.08","totalMaintenanceMargin":"0.84","totalAvailableBalance":"983.9","coin":[{"coin":"BTC","equity":"1","walletBalance":"1"},{"coin":"USDT","equity":"1000.02","walletBalance":"999.98","unrealisedPnl":"0.04"}]}]}"#;
const ACK: &str = r#"{"reqId":"k00000001-00000007n0000000100000001","retCode":0,"retMsg":"OK","op":"order.create","data":{"orderId":"7d1e0000","orderLinkId":"k00000001-00000007"},"retExtInfo":{},"header":{"X-Bapi-Limit":"10","X-Bapi-Limit-Status":"9","X-Bapi-Limit-Reset-Timestamp":"1900000001004","Traceid":"ab12","Timenow":"1900000001005"},"connId":"t1"}"#;

/// One frame of each kind.
pub(crate) const EXAMPLES: [(&str, &str); 5] =
    [("order", ORDER), ("execution", EXECUTION), ("position", POSITION), ("wallet", WALLET), ("ack", ACK)];

#[test]
fn the_contracts_rows_become_their_facts() {
    let ExecEvent::Order(order) = one(ORDER) else { panic!() };
    assert_eq!((order.client, order.status), (ClientId::new(1, 7), OrderStatus::New));
    assert_eq!(
        (order.px, order.leaves, order.tif),
        (Px::parse(b"20.05").unwrap(), Qty::whole(10), TimeInForce::PostOnly)
    );
    assert_eq!((order.reason.is_empty(), order.updated.millis()), (true, 1_900_000_001_007));

    let ExecEvent::Fill(fill) = one(EXECUTION) else { panic!() };
    assert_eq!((fill.kind, fill.side, fill.maker), (ExecKind::Trade, Side::Buy, Flag::Yes));
    assert_eq!((fill.fee, fill.seq), (Notional::parse(b"0.01604").unwrap(), 88_140));
    assert_eq!((fill.exec.as_str(), fill.venue.as_str()), ("e1e10000", "7d1e0000"));

    let ExecEvent::Position(position) = one(POSITION) else { panic!() };
    assert_eq!((position.size, position.seq), (Qty::whole(-4), 0));
    assert_eq!(position.entry, Px::parse(b"20.05123456").unwrap());

    let ExecEvent::Wallet(wallet) = one(WALLET) else { panic!() };
    assert_eq!(
        (wallet.equity, wallet.available),
        (Notional::parse(b"1000.02").unwrap(), Notional::parse(b"983.9").unwrap())
    );

    let ExecEvent::Ack(ack) = one(ACK) else { panic!() };
    assert_eq!((ack.client, ack.op, ack.code), (ClientId::new(1, 7), Op::New, 0));
    assert_eq!((ack.limit, ack.remaining, ack.limit_reset.millis()), (10, 9, 1_900_000_001_004));
}

#[test]
fn control_frames_are_for_the_session() {
    let rows = [
        (r#"{"success":true,"ret_msg":"","op":"auth","conn_id":"p1"}"#, Seen::Auth(0)),
        (r#"{"success":false,"ret_msg":"Params Error","op":"auth","conn_id":"p1"}"#, Seen::Auth(-1)),
        (r#"{"retCode":0,"retMsg":"OK","op":"auth","connId":"t1"}"#, Seen::Auth(0)),
        (r#"{"reqId":"","retCode":10004,"retMsg":"error sign","op":"auth","connId":"t1"}"#, Seen::Auth(10_004)),
        (r#"{"success":true,"ret_msg":"","op":"subscribe","conn_id":"p1"}"#, Seen::Subscribed(true)),
        (r#"{"success":false,"ret_msg":"error","op":"subscribe","conn_id":"p1"}"#, Seen::Subscribed(false)),
        (r#"{"req_id":"x","op":"pong","args":["1900000001000"],"conn_id":"p1"}"#, Seen::Pong),
        (r#"{"retCode":0,"retMsg":"OK","op":"pong","data":["1900000001000"],"connId":"t1"}"#, Seen::Pong),
        (r#"{"topic":"greeks","data":[]}"#, Seen::Other),
        (r#"{"op":"news"}"#, Seen::Other),
    ];
    for (frame, expected) in rows {
        assert_eq!(decode(frame).0, Ok(expected), "{frame}");
    }
}

#[test]
fn an_answer_without_request_id_is_never_lost() {
    let ExecEvent::Ack(ack) =
        one(r#"{"retCode":10005,"retMsg":"Permission denied","op":"order.create","connId":"t1"}"#)
    else {
        panic!()
    };
    assert_eq!((ack.client, ack.code), (ClientId::NONE, 10_005));
    let refused = ACK.replace(r#""data":{"orderId":"7d1e0000","orderLinkId":"k00000001-00000007"}"#, r#""data":{}"#);
    let ExecEvent::Ack(ack) = one(&refused.replace("\"retCode\":0", "\"retCode\":110001")) else { panic!() };
    assert_eq!((ack.client, ack.code, ack.venue.is_empty()), (ClientId::new(1, 7), 110_001, true));
    for nothing in ["null", "\"\"", "[]"] {
        let refused = refused.replace(r#""data":{}"#, &format!("\"data\":{nothing}"));
        let ExecEvent::Ack(ack) = one(&refused) else { panic!() };
        assert_eq!((ack.client, ack.venue.is_empty()), (ClientId::new(1, 7), true), "{nothing}");
    }
}

#[test]
fn items_of_a_batch_are_answered_one_by_one() {
    let (seen, facts, _) = decode(
        r#"{"reqId":"b","retCode":0,"op":"order.create-batch","data":{"list":[{"orderId":"7d02","orderLinkId":"k00000001-00000001"},{"orderId":"","orderLinkId":"k00000001-00000002"}]},"retExtInfo":{"list":[{"code":0,"msg":"OK"},{"code":110094,"msg":".."}]},"header":{}}"#,
    );
    assert_eq!(seen, Ok(Seen::Facts(2)));
    let codes: Vec<_> = facts
        .iter()
        .map(|fact| if let ExecEvent::Ack(ack) = fact { (ack.client, ack.code) } else { panic!() })
        .collect();
    assert_eq!(codes, [(ClientId::new(1, 1), 0), (ClientId::new(1, 2), 110_094)]);
}

#[test]
fn words_of_next_month_are_unrecognised_not_errors() {
    let ExecEvent::Order(order) = one(&ORDER.replace("\"New\"", "\"PendingSomething\"")) else { panic!() };
    assert_eq!(order.status, OrderStatus::Unrecognised);
    let ExecEvent::Fill(fill) = one(&EXECUTION.replace("\"Trade\"", "\"Airdrop\"")) else { panic!() };
    assert_eq!(fill.kind, ExecKind::Unrecognised);
    let ExecEvent::Order(order) = one(&ORDER.replace("EC_NoError", "EC_ReasonOfNextMonth")) else { panic!() };
    assert_eq!(order.reason.as_str(), "EC_ReasonOfNextMonth");
    let ExecEvent::Order(order) = one(&ORDER.replace("k00000001-00000007", "web-1")) else { panic!() };
    assert_eq!(order.client, ClientId::NONE);
}

#[test]
fn one_bad_field_refuses_the_whole_frame() {
    let rows = [
        (ORDER, "\"20.05\"", "\"NaN\"", DecodeError::Number),
        (ORDER, "\"10\",\"timeInForce", "\"-10\",\"timeInForce", DecodeError::Number),
        (ORDER, "\"20.05\"", "\"20.123456789\"", DecodeError::Number),
        (ORDER, "\"20.05\"", "\"99999999999999999999\"", DecodeError::Number),
        (ORDER, "\"Buy\"", "\"Long\"", DecodeError::Side),
        (ORDER, "\"cumExecQty\":\"0\"", "\"cumExecQty\":\"11\"", DecodeError::Contradiction),
        (ORDER, "\"orderStatus\":\"New\",", "", DecodeError::Missing),
        (EXECUTION, "\"e1e10000\"", "\"\"", DecodeError::Contradiction),
        (EXECUTION, "\"execQty\":\"4\"", "\"execQty\":\"0\"", DecodeError::Contradiction),
        (EXECUTION, "e1e10000", &"e".repeat(40), DecodeError::Id),
        (POSITION, "\"Sell\"", "\"\"", DecodeError::Side),
        (ACK, "\"retCode\":0,", "", DecodeError::Missing),
        (ACK, "\"retCode\":0,", "\"retCode\":1e99,", DecodeError::Number),
    ];
    for (frame, from, to, why) in rows {
        assert!(frame.contains(from), "{from}");
        let spoiled = frame.replace(from, to);
        // a good row before the bad one must not get out either
        let doubled = match frame.split_once("\"data\":[") {
            Some((_, rows)) => spoiled.replace("\"data\":[", &format!("\"data\":[{},", rows.trim_end_matches("]}"))),
            None => spoiled,
        };
        let (seen, facts, _) = decode(&doubled);
        assert_eq!((seen, facts.len()), (Err(why), 0), "{from} -> {to}");
    }
}

#[test]
fn rows_of_others_are_counted_and_left_out() {
    type Count = fn(Skipped) -> u64;
    let rows: [(&str, &str, &str, Count); 5] = [
        (ORDER, "\"linear\"", "\"spot\"", |s| s.category),
        (ORDER, "ABCUSDT", "XYZUSDT", |s| s.instrument),
        (POSITION, "\"positionIdx\":0", "\"positionIdx\":2", |s| s.hedge),
        (WALLET, "UNIFIED", "CONTRACT", |s| s.account),
        (EXECUTION, "\"topic\":\"execution\"", "\"topic\":\"execution.fast\"", |s| s.fast),
    ];
    for (frame, from, to, count) in rows {
        let (seen, facts, skipped) = decode(&frame.replace(from, to));
        assert_eq!((seen, facts.len(), count(skipped)), (Ok(Seen::Facts(0)), 0, 1), "{to}");
    }
}

#[test]
fn every_recorded_frame_decodes() {
    let (mut facts, mut controls) = (0, 0);
    for (file, line) in captures("bybit_v5_private") {
        match decode(&line) {
            (Ok(Seen::Facts(n)), events, skipped) => {
                facts += n;
                assert_eq!(n, events.len());
                assert!(n > 0 || skipped.hedge + skipped.account > 0, "{file}: {line}");
            }
            (Ok(_), ..) => controls += 1,
            (Err(why), ..) => panic!("{file}: {why:?}: {line}"),
        }
    }
    assert!(facts + controls == 0 || (facts >= 27 && controls == 3), "{facts} facts, {controls} control frames");
}

proptest! {
    #[test]
    fn no_bytes_panic_and_no_refused_frame_says_anything(at in 0usize..800, byte in any::<u8>(), which in 0usize..5) {
        let mut frame = [ORDER, EXECUTION, POSITION, WALLET, ACK][which].as_bytes().to_vec();
        let at = at % frame.len();
        frame[at] = byte;
        let mut facts = 0;
        let seen = Decoder::new(&instruments()).frame(&frame, Source::default(), &mut |_| facts += 1);
        match seen {
            Ok(Seen::Facts(n)) => prop_assert_eq!(n, facts),
            _ => prop_assert_eq!(facts, 0),
        }
        frame.truncate(at);
        let cut = Decoder::new(&instruments()).frame(&frame, Source::default(), &mut |_| {});
        prop_assert!(cut.is_err());
    }
}

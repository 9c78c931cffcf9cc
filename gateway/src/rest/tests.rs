//! Calls as they go on the wire, and answers as they come.

use super::*;
use crate::decode::{DecodeError, Decoder, Source};
use crate::encode::SelfMatch;
use crate::sign::Signer;
use crate::testing::{captures, instruments, now};
use keel_core::event::{ExecEvent, Op, Order, OrderKind, TimeInForce};
use keel_core::ids::{ClientId, Symbol};
use keel_core::units::{Px, Qty, Wall};

const KEY: &str = r#"{"retCode":0,"retMsg":"","result":{"id":"1","readOnly":0,"permissions":{"ContractTrade":["Order","Position"],"Spot":[],"Wallet":["AccountTransfer","Withdraw"],"NextMonth":[1]},"ips":["203.0.113.9"],"deadlineDay":-2,"expiredAt":"1970-01-01T00:00:00Z","uta":1,"userID":24617703,"isMaster":true,"kycLevel":"LEVEL_1","kycRegion":"MYS"},"retExtInfo":{},"time":1}"#;

fn read(call: &Call, status: u16, body: &str) -> (Result<Answer, RestError>, Vec<ExecEvent>) {
    let mut facts = Vec::new();
    let mut decoder = Decoder::new(&instruments());
    let answer = parse(call, status, body.as_bytes(), &mut decoder, Source::default(), &mut |fact| facts.push(fact));
    (answer, facts)
}

fn order(op: Op) -> Call {
    let order = Order {
        client: ClientId::new(1, 7),
        op,
        px: Px::parse(b"20.05").unwrap(),
        qty: Qty::whole(10),
        tif: TimeInForce::PostOnly,
        ..Order::default()
    };
    Call::Order { order, symbol: Symbol::new(b"ABCUSDT").unwrap(), self_match: SelfMatch::CancelBoth }
}

#[test]
fn a_request_is_signed_over_the_bytes_that_leave() {
    let signer = Signer::new("K3Y", b"S3CRET");
    let cursor = String::from("a%3A1%2Cb");
    let request = Call::Positions { cursor }.request(&signer, now().wall);
    let (path, query) = request.path_and_query.split_once('?').unwrap();
    assert_eq!((path, request.body.as_str()), ("/v5/position/list", ""));
    assert!(query.ends_with("&cursor=a%3A1%2Cb"), "a cursor goes back verbatim");
    assert_eq!(request.headers[..4], signer.headers(now().wall, query));
    let request = Call::CancelAll.request(&signer, now().wall);
    assert_eq!(request.headers[..4], signer.headers(now().wall, &request.body));
    assert!(Call::Time.request(&signer, now().wall).headers.is_empty(), "public questions carry no key");
}

#[test]
fn an_order_by_rest_is_the_order_by_socket() {
    let signer = Signer::new("K3Y", b"S3CRET");
    let mut encoder = crate::encode::Encoder::new(&instruments(), SelfMatch::CancelBoth, 1);
    for op in [Op::New, Op::Amend, Op::Cancel] {
        for kind in [OrderKind::Limit, OrderKind::Market] {
            let Call::Order { order, symbol, self_match } = order(op) else { panic!() };
            let order = Order { kind, instrument: keel_core::ids::InstrumentId(1), ..order };
            let mut frame = [0; crate::encode::MAX_FRAME];
            let len = encoder.encode_order(now().wall, &order, &mut frame).unwrap();
            let frame: serde_json::Value = serde_json::from_slice(&frame[..len]).unwrap();
            let request = Call::Order { order, symbol, self_match }.request(&signer, now().wall);
            let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
            assert_eq!(frame["args"][0], body, "{op:?} {kind:?}");
        }
    }
}

#[test]
fn what_a_key_may_do_is_read_to_the_worst() {
    let (Ok(Answer::Key(key)), _) = read(&Call::KeyInfo, 200, KEY) else { panic!() };
    assert!(key.trades && key.positions && key.withdraws && !key.read_only && key.unified);
    assert_eq!((key.user, key.days_left, key.kyc_region.as_str()), (24_617_703, -2, "MYS"));
    let (Ok(Answer::Key(key)), _) = read(&Call::KeyInfo, 200, &KEY.replace("\"readOnly\":0,", "")) else { panic!() };
    assert!(key.read_only, "what is not said is not allowed");
}

#[test]
fn only_ret_code_zero_is_success_and_an_answer_is_whole_or_none() {
    let open = Call::OpenOrders { cursor: String::new() };
    let rows: [(&Call, u16, &str, RestError); 9] = [
        (&open, 403, "access too frequent", RestError::Http(403)),
        (&open, 0, "", RestError::Http(0)),
        (&open, 200, "<html>", RestError::Decode(DecodeError::Json)),
        (&open, 200, r#"{"retMsg":"OK","result":{"list":[]}}"#, RestError::Decode(DecodeError::Missing)),
        (&open, 200, r#"{"retCode":10006,"retMsg":"Too many visits","result":{}}"#, RestError::Venue(10_006)),
        (&open, 200, r#"{"retCode":0,"result":{}}"#, RestError::Decode(DecodeError::Missing)),
        (
            &open,
            200,
            r#"{"retCode":0,"result":{"category":"spot","list":[]}}"#,
            RestError::Decode(DecodeError::Contradiction),
        ),
        (&Call::Time, 200, r#"{"retCode":0,"result":{}}"#, RestError::Decode(DecodeError::Missing)),
        (&Call::Settings, 200, r#"{"retCode":0,"result":{"lpaSpot":true}}"#, RestError::Decode(DecodeError::Missing)),
    ];
    for (call, status, body, why) in rows {
        let (answer, facts) = read(call, status, body);
        assert_eq!((answer, facts.len()), (Err(why), 0), "{body}");
    }
    let refused = r#"{"retCode":110007,"retMsg":"ab not enough","result":{},"retExtInfo":{},"time":1900000001400}"#;
    let (answer, facts) = read(&order(Op::New), 200, refused);
    assert_eq!(answer, Err(RestError::Venue(110_007)));
    assert!(matches!(facts[..], [ExecEvent::Ack(ack)] if ack.code == 110_007 && ack.client == ClientId::new(1, 7)));
}

#[test]
fn the_venues_settings_and_clock_are_read() {
    let settings = |value: &str| format!(r#"{{"retCode":0,"result":{{"lpaSpot":true,"lpaPerp":{value}}}}}"#);
    assert_eq!(read(&Call::Settings, 200, &settings("false")).0, Ok(Answer::Reprices(true)));
    assert_eq!(read(&Call::Settings, 200, &settings("true")).0, Ok(Answer::Reprices(false)));
    let time = r#"{"retCode":0,"result":{"timeSecond":"1900000000","timeNano":"1900000000123456789"},"time":1}"#;
    assert_eq!(read(&Call::Time, 200, time).0, Ok(Answer::Time(Wall::from_nanos(1_900_000_000_123_456_789))));
}

#[test]
fn recorded_answers_are_read() {
    let (mut wallets, mut orders) = (0, 0);
    for (file, body) in captures("bybit_v5_rest") {
        let value: serde_json::Value = serde_json::from_str(&body).unwrap();
        let row = &value["result"]["list"][0];
        if row["accountType"] == "UNIFIED" {
            let (answer, facts) = read(&Call::Wallet, 200, &body);
            assert!(matches!(answer, Ok(Answer::Facts { count: 1, rows: 1, .. })), "{file}: {answer:?}");
            assert!(matches!(facts[..], [ExecEvent::Wallet(wallet)] if wallet.queried.is_set()));
            wallets += 1;
        } else if row["orderStatus"].is_string() {
            let (answer, facts) = read(&Call::OpenOrders { cursor: String::new() }, 200, &body);
            let Ok(Answer::Facts { count, rows, .. }) = answer else { panic!("{file}: {answer:?}") };
            assert_eq!((count, count <= rows), (facts.len(), true));
            orders += rows;
        }
    }
    assert!(wallets + orders == 0 || (wallets >= 2 && orders >= 1), "{wallets} wallets, {orders} orders");
}

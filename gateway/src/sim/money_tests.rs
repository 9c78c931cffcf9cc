//! Money in, out and between, in the venue's own fields, and what an administrator gets wrong.

use crate::sim::testing::*;
use crate::sim::tests::quoted;
use serde_json::{Value, json};

fn types(desk: &mut Desk, n: u64) -> Vec<(String, String, String, String)> {
    let rows = desk.get(n, "/v5/account/transaction-log", "limit=50")["list"].clone();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let row = |row: &Value| (text(row, "type"), text(row, "currency"), text(row, "change"), text(row, "cashBalance"));
    rows.as_array().unwrap().iter().map(row).collect()
}

#[test]
fn deposits_and_withdrawals_are_listed_in_every_state_they_pass() {
    let mut desk = quoted();
    desk.command("deposit key=a0 amount=250.5 chain=ETH from=0xabc address=0xdef tx=0x1 state=pending");
    let row = |desk: &mut Desk, path: &str| desk.get(0, path, "")["rows"][0].clone();
    let pending = row(&mut desk, "/v5/asset/deposit/query-record");
    assert_eq!((&pending["status"], &pending["successAt"]), (&json!(2), &json!("0")));
    assert!(types(&mut desk, 0).is_empty(), "nothing moved yet");
    desk.command("settle key=a0 to=done");
    let done = row(&mut desk, "/v5/asset/deposit/query-record");
    for (key, value) in [
        ("id", pending["id"].clone()),
        ("coin", json!("USDT")),
        ("chain", json!("ETH")),
        ("amount", json!("250.5")),
        ("txID", json!("0x1")),
        ("status", json!(3)),
        ("toAddress", json!("0xdef")),
        ("fromAddress", json!("0xabc")),
        ("successAt", json!(desk.now_ms.to_string())),
    ] {
        assert_eq!(done[key], value, "{key}");
    }
    desk.command("withdraw key=a0 amount=50 fee=1 address=T9 tag=7 state=pending");
    assert_eq!(row(&mut desk, "/v5/asset/withdraw/query-record")["status"], "Pending");
    desk.command("settle key=a0 to=failed");
    let failed = row(&mut desk, "/v5/asset/withdraw/query-record");
    assert_eq!(
        (&failed["status"], &failed["toAddress"], &failed["tag"]),
        (&json!("Reject"), &json!("T9"), &json!("7"))
    );
    desk.command("withdraw key=a0 amount=10 member=700");
    assert_eq!(row(&mut desk, "/v5/asset/withdraw/query-record")["toAddress"], "T9", "of the chain, unless asked");
    let inside = desk.get(0, "/v5/asset/withdraw/query-record", "withdrawType=1")["rows"][0].clone();
    assert_eq!((&inside["toAddress"], &inside["withdrawType"]), (&json!("700"), &json!(1)));
    desk.command("deposit key=a0 amount=3 member=700");
    let inside = row(&mut desk, "/v5/asset/deposit/query-internal-record");
    assert_eq!((&inside["fromMemberId"], &inside["status"]), (&json!("700"), &json!(2)));
    let told: Vec<_> = types(&mut desk, 0).into_iter().map(|(kind, _, change, _)| format!("{kind} {change}")).collect();
    let expected = ["TRANSFER_IN 3", "TRANSFER_OUT -10", "TRANSFER_IN 51", "TRANSFER_OUT -51", "TRANSFER_IN 250.5"];
    assert_eq!(told, expected);
    assert_eq!(desk.rows(0, "wallet").len(), 5, "each is pushed");
    desk.audit();
}

#[test]
fn transfers_conversions_and_the_address_book_are_listed() {
    let mut desk = quoted();
    desk.command("transfer key=a0 amount=100 to=FUND");
    desk.command("transfer key=a0 amount=40 to=UNIFIED");
    let list = desk.get(0, "/v5/asset/transfer/query-inter-transfer-list", "")["list"].clone();
    let ways: Vec<_> = list.as_array().unwrap().iter().map(|r| (&r["fromAccountType"], &r["amount"])).collect();
    assert_eq!(ways, [(&json!("FUND"), &json!("40")), (&json!("UNIFIED"), &json!("100"))]);
    assert_eq!((&list[0]["status"], list[0]["timestamp"].is_string()), (&json!("SUCCESS"), true));
    desk.command("send key=a0 to=a1 amount=5");
    for n in [0, 1] {
        let sent = desk.get(n, "/v5/asset/transfer/query-universal-transfer-list", "")["list"][0].clone();
        assert_eq!((&sent["fromMemberId"], &sent["toMemberId"]), (&json!("900000001"), &json!("900000002")));
    }
    desk.command("convert key=a0 from=USDT amount=60 to=BTC got=0.001");
    desk.command("withdraw key=a0 amount=0.0005 coin=BTC chain=BTC address=bc1q");
    let told = types(&mut desk, 0);
    let row = |kind: &str, coin: &str, change: &str, left: &str| {
        (kind.to_owned(), coin.to_owned(), change.to_owned(), left.to_owned())
    };
    assert_eq!(told[0], row("TRANSFER_OUT", "BTC", "-0.0005", "0.0005"));
    assert_eq!(told[1], row("CURRENCY_BUY", "BTC", "0.001", "0.001"));
    assert_eq!(told[2], row("CURRENCY_SELL", "USDT", "-60", "99875"));
    desk.command("address key=a0 address=bc1q coin=BTC chain=BTC remark=cold");
    let book = desk.get(0, "/v5/asset/withdraw/query-address", "coin=BTC")["rows"][0].clone();
    assert_eq!((&book["address"], &book["remark"], &book["status"]), (&json!("bc1q"), &json!("cold"), &json!(1)));
    desk.audit();
}

#[test]
fn lists_of_money_are_paged_windowed_and_bounded() {
    let mut desk = quoted();
    for amount in 1..=57 {
        desk.command(&format!("deposit key=a0 amount={amount}"));
        desk.now_ms += 1_000;
    }
    let path = "/v5/asset/deposit/query-record";
    let (mut cursor, mut seen) = (String::new(), Vec::new());
    loop {
        let page = desk.get(0, path, &format!("limit=20&cursor={cursor}"));
        seen.extend(page["rows"].as_array().unwrap().iter().map(|r| r["amount"].as_str().unwrap().to_owned()));
        cursor = page["nextPageCursor"].as_str().unwrap().to_owned();
        if cursor.is_empty() {
            break;
        }
    }
    assert_eq!(seen, (1..=57).rev().map(|n: u32| n.to_string()).collect::<Vec<_>>());
    let (from, to) = (START_MS + 9_500, START_MS + 11_500);
    let some = desk.get(0, path, &format!("startTime={from}&endTime={to}"))["rows"].clone();
    assert_eq!(some.as_array().unwrap().len(), 2);
    let wide = format!("startTime={}&endTime={}", START_MS, START_MS + 31 * 86_400_000);
    assert_eq!(desk.call(0, "GET", path, &wide, "")["retCode"], 10_001);
    let wide = format!("startTime={}&endTime={}", START_MS, START_MS + 8 * 86_400_000);
    let transfers = "/v5/asset/transfer/query-inter-transfer-list";
    assert_eq!(desk.call(0, "GET", transfers, &wide, "")["retCode"], 10_001);
    let codes: Vec<Value> = (0..61).map(|_| desk.call(0, "GET", transfers, "", "")["retCode"].clone()).collect();
    assert_eq!((&codes[0], &codes[60]), (&json!(0), &json!(10_006)), "sixty a minute");
    desk.pass(60_000);
    assert_eq!(desk.call(0, "GET", transfers, "", "")["retCode"], 0);
    desk.audit();
}

#[test]
fn what_a_key_is_can_be_changed_while_it_runs() {
    let mut desk = quoted();
    desk.command("kyc key=a0 level=LEVEL_DEFAULT region=IRN");
    desk.command("rights key=a0 transfer=true days=9");
    let key = desk.get(0, "/v5/user/query-api", "");
    assert_eq!((&key["kycLevel"], &key["kycRegion"]), (&json!("LEVEL_DEFAULT"), &json!("IRN")));
    assert_eq!((&key["permissions"]["Wallet"], &key["deadlineDay"]), (&json!(["AccountTransfer"]), &json!(9)));
    assert_eq!(key["expiredAt"], "2030-03-26T00:00:00Z", "nine days after the start");
    desk.command("rights key=a0 withdraw=true");
    desk.command("bind key=a0 ip=127.0.0.1");
    let key = desk.get(0, "/v5/user/query-api", "");
    assert_eq!(
        (&key["permissions"]["Wallet"], &key["ips"]),
        (&json!(["AccountTransfer", "Withdraw"]), &json!(["127.0.0.1"]))
    );
    desk.command("bind key=a0 ip=*");
    assert_eq!(desk.get(0, "/v5/user/query-api", "")["ips"], json!(["*"]));
}

#[test]
fn money_that_is_not_there_does_not_move() {
    let mut desk = quoted();
    for line in [
        "deposit key=a0 amount=-1",
        "deposit key=a0 amount=100000000",
        "deposit key=a0 amount=1 coin=",
        "deposit key=a0 amount=1 state=maybe",
        "deposit key=a0 amount=1 fee=2",
        "deposit key=a0 amount=1 tx=\"",
        "withdraw key=a0 amount=100001",
        "withdraw key=a0 amount=100000 fee=1",
        "withdraw key=a0 amount=1 coin=BTC",
        "transfer key=a0 amount=1 to=UNIFIED",
        "transfer key=a0 amount=1 to=MOON",
        "send key=a0 to=a0 amount=1",
        "send key=a0 to=nobody amount=1",
        "convert key=a0 from=USDT amount=1 to=USDT got=1",
        "settle key=a0 to=done",
        "settle key=a0 to=maybe",
        "kyc key=a0",
        "rights key=a0 days=70000",
    ] {
        let now = keel_core::units::Wall::from_millis(desk.now_ms);
        assert!(desk.ex.command(now, line).is_err(), "{line}");
        assert!(types(&mut desk, 0).is_empty(), "{line}");
    }
    desk.audit();
}

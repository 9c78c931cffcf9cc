//! Rows as the venue documents them, rows it may make up, and rows that were damaged on the way.

use super::*;
use proptest::prelude::*;

fn reading() -> Reading {
    Reading {
        recv: Mono::from_millis(5),
        at: Wall::from_millis(1_700_000_000_000),
        account: Text::new(b"290118").unwrap(),
    }
}

fn page(list: List, rows: &str) -> Result<Page, RestError> {
    let name =
        if matches!(list, List::Deposits | List::InternalDeposits | List::Withdrawals) { "rows" } else { "list" };
    let body = format!(
        r#"{{"retCode":0,"retMsg":"OK","result":{{"{name}":[{rows}],"nextPageCursor":"a%3A1"}},"retExtInfo":{{}},"time":1}}"#
    );
    read(list, 200, body.as_bytes(), &reading())
}

fn one(list: List, row: &str) -> Flow {
    let page = page(list, row).unwrap();
    assert_eq!((page.refused.len(), page.next.as_str()), (0, "a%3A1"), "{:?}", page.refused);
    page.flows[0]
}

const LOG: &str = r#"{"id":"592324_XRPUSDT_161440249321","symbol":"XRPUSDT","side":"Buy","funding":"-0.003676","orderLinkId":"","orderId":"1672128000-8-592324-1-2","fee":"0.00000000","change":"-0.003676","cashFlow":"0","transactionTime":"1672128000000","type":"SETTLEMENT","feeRate":"0.0001","bonusChange":"","size":"100","qty":"100","cashBalance":"5086.55825002","currency":"USDT","category":"linear","tradePrice":"0.3676","tradeId":"534c0003-4bf7-486f-aa02-78cee36825e4","extraFees":"","transSubType":""}"#;
const DEPOSIT: &str = r#"{"coin":"USDT","chain":"ETH","amount":"10000","txID":"skip-notification-scene-test-amount-202308010320","status":3,"toAddress":"0xaaaa","tag":"12","depositFee":"0.5","successAt":"1690845600000","confirmations":"10","txIndex":"0","blockHash":"0xffff","batchReleaseLimit":"-1","depositType":"0","fromAddress":"0xbbbb","taxDepositRecordsId":"0","taxStatus":0,"id":"160237231"}"#;
const INTERNAL: &str = r#"{"id":"1103","type":1,"coin":"ETH","amount":"0.1","status":2,"address":"xxxx***@gmail.com","createdTime":"1705393280","fromMemberId":"29000001","txID":"77c37e5c-d9fa-41e5-bd13-c9b59d95","taxDepositRecordsId":"0","taxStatus":0}"#;
const WITHDRAWAL: &str = r#"{"coin":"USDT","chain":"ETH","amount":"77","txID":"0xabc","status":"success","toAddress":"0xcccc","tag":"","withdrawFee":"10","createTime":"1670922217000","updateTime":"1670922227000","withdrawId":"9845","withdrawType":0,"fee":"","tax":"","taxRate":"","taxType":""}"#;
const INSIDE: &str = r#"{"coin":"USDT","chain":"","amount":"77","txID":"","status":"SecurityCheck","toAddress":"99999999","tag":"","withdrawFee":"0","createTime":"1670922217000","updateTime":"1670922217000","withdrawId":"9846","withdrawType":1}"#;
const TRANSFER: &str = r#"{"transferId":"selfTransfer_a1091cc7-9364-4b74-8de1-18f02c6f2d5c","coin":"USDT","amount":"5000","fromAccountType":"UNIFIED","toAccountType":"FUND","timestamp":"1658433382000","status":"SUCCESS"}"#;
const UNIVERSAL: &str = r#"{"transferId":"universalTransfer_4c3cfe2f-85cb-11ed-ac09-9e37823c81cd_533285","coin":"USDC","amount":"1000","timestamp":"1672134373000","status":"PENDING","fromAccountType":"UNIFIED","toAccountType":"UNIFIED","fromMemberId":"533285","toMemberId":"290118"}"#;

const ROWS: [(List, &str); 7] = [
    (List::TransactionLog, LOG),
    (List::Deposits, DEPOSIT),
    (List::InternalDeposits, INTERNAL),
    (List::Withdrawals, WITHDRAWAL),
    (List::Withdrawals, INSIDE),
    (List::Transfers, TRANSFER),
    (List::UniversalTransfers, UNIVERSAL),
];

#[test]
fn documented_rows_are_read() {
    let told: Vec<String> = ROWS
        .iter()
        .map(|(list, row)| {
            let f = one(*list, row);
            assert_eq!((List::of(&f), f.account.as_str(), f.recv), (*list, "290118", Mono::from_millis(5)), "{row}");
            format!(
                "{:?} {:?} {} {} {} {} id={} party={} address={} tx={} chain={}",
                f.kind,
                f.state,
                f.amount,
                f.fee,
                f.coin,
                f.ts.millis(),
                f.id,
                f.party,
                f.address,
                f.tx,
                f.chain
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "Funding Done -0.003676 0 USDT 1672128000000 id=592324_XRPUSDT_161440249321 party=- address=- tx=- chain=-",
            "Deposit Done 10000 0.5 USDT 1690845600000 id=160237231 party=- address=0xbbbb:12 tx=skip-notification-scene-test-amount-202308010320 chain=ETH",
            "InternalDeposit Done 0.1 0 ETH 1705393280000 id=1103 party=29000001 address=- tx=77c37e5c-d9fa-41e5-bd13-c9b59d95 chain=-",
            "Withdrawal Done -77 10 USDT 1670922227000 id=9845 party=- address=0xcccc tx=0xabc chain=ETH",
            "InternalWithdrawal Pending -77 0 USDT 1670922217000 id=9846 party=99999999 address=- tx=- chain=-",
            "TransferOut Done -5000 0 USDT 1658433382000 id=selfTransfer_a1091cc7-9364-4b74-8de1-18f02c6f2d5c party=FUND address=- tx=- chain=-",
            "TransferIn Pending 1000 0 USDC 1672134373000 id=universalTransfer_4c3cfe2f-85cb-11ed-ac09-9e37823c81cd_533285 party=533285 address=- tx=- chain=-",
        ]
    );
}

#[test]
fn a_new_word_is_a_fact_and_a_bad_row_is_named() {
    let unknown = [
        (List::TransactionLog, LOG.replace("SETTLEMENT", "SPACE_TRAVEL"), "Unrecognised Done"),
        (List::Deposits, DEPOSIT.replace("\"status\":3", "\"status\":77"), "Deposit Unrecognised"),
        (List::Withdrawals, WITHDRAWAL.replace("success", "Lost"), "Withdrawal Unrecognised"),
        (List::Transfers, TRANSFER.replace("UNIFIED", "MOON"), "Unrecognised Done"),
        (List::UniversalTransfers, UNIVERSAL.replace("PENDING", "STATUS_UNKNOWN"), "TransferIn Unrecognised"),
    ];
    for (list, row, expected) in unknown {
        let flow = one(list, &row);
        assert_eq!(format!("{:?} {:?}", flow.kind, flow.state), expected, "{row}");
    }
    let long = "a".repeat(128);
    let bad = [
        (List::TransactionLog, "7".to_owned(), RowFault::Form),
        (List::TransactionLog, LOG.replace("592324_XRPUSDT_161440249321", ""), RowFault::Id),
        (List::TransactionLog, LOG.replace("1672128000000", ""), RowFault::Time),
        (
            List::TransactionLog,
            LOG.replace("\"change\":\"-0.003676\"", "\"change\":\"-0.0036760001\""),
            RowFault::Amount,
        ),
        (List::TransactionLog, LOG.replace("\"change\":\"-0.003676\"", "\"change\":\"1e9\""), RowFault::Amount),
        (List::Deposits, DEPOSIT.replace("\"10000\"", "\"99999999999999\""), RowFault::Amount),
        (List::Deposits, DEPOSIT.replace("\"10000\"", "\"\""), RowFault::Amount),
        (List::Deposits, DEPOSIT.replace("0xbbbb", &long), RowFault::Text("address")),
        (List::Deposits, DEPOSIT.replace("\"ETH\"", "\"A CHAIN\""), RowFault::Text("chain")),
        (List::InternalDeposits, INTERNAL.replace("1705393280", "0"), RowFault::Time),
        (List::Withdrawals, WITHDRAWAL.replace("9845", ""), RowFault::Id),
        (List::Withdrawals, WITHDRAWAL.replace("USDT", "ACOINWITHALONGNAME"), RowFault::Text("coin")),
        (List::Transfers, TRANSFER.replace("\"FUND\"", &format!("\"{long}\"")), RowFault::Text("party")),
    ];
    for (list, row, why) in bad {
        let page = page(list, &format!("{row},{row}")).unwrap();
        assert_eq!(page.flows.len(), 0, "{row}");
        let whys: Vec<_> = page.refused.iter().map(|refused| refused.why).collect();
        assert_eq!(whys, [why, why], "{row}");
        assert_eq!(page.refused[0].mark, page.refused[1].mark);
    }
}

#[test]
fn an_answer_is_whole_or_none() {
    let say =
        |status, body: &str| read(List::Deposits, status, body.as_bytes(), &reading()).map(|page| page.flows.len());
    assert_eq!(say(403, ""), Err(RestError::Http(403)));
    assert_eq!(say(200, "<html>"), Err(RestError::Decode(DecodeError::Json)));
    assert_eq!(say(200, r#"{"retCode":10005,"result":{}}"#), Err(RestError::Venue(10_005)));
    assert_eq!(say(200, r#"{"retCode":0,"result":{}}"#), Err(RestError::Decode(DecodeError::Missing)));
    assert_eq!(
        say(200, r#"{"retCode":0,"result":{"nextPageCursor":""}}"#),
        Err(RestError::Decode(DecodeError::Missing))
    );
    assert_eq!(say(200, r#"{"retCode":0,"result":{"rows":[]}}"#), Ok(0));
}

#[test]
fn a_question_is_signed_over_the_bytes_that_leave() {
    let signer = Signer::new("K3Y", b"S3CRET");
    for list in List::ALL {
        let (from, to) = (Wall::from_millis(1_000), Wall::from_millis(2_000));
        let request = Question { list, from, to, cursor: "a%3A1".to_owned() }.request(&signer, to);
        let (_, query) = request.path_and_query.split_once('?').unwrap();
        assert!(query.ends_with("&startTime=1000&endTime=2000&cursor=a%3A1"), "{query}");
        assert_eq!(request.headers, signer.headers(to, query));
        assert!(list.span() > 0 && list.pause() > 0);
    }
}

#[test]
fn worth_is_the_index_and_nothing_when_nobody_can_say() {
    let qty = |text: &str| Qty::parse(text.as_bytes()).unwrap();
    for (coin, amount, index, expected) in [
        ("USDT", "-5.5", None, "-5.5"),
        ("USDC", "5", Some("7"), "5"),
        ("BTC", "-0.5", Some("60000"), "-30000"),
        ("BTC", "0.5", None, "0"),
        ("BTC", "90000000", Some("900000"), "0"),
    ] {
        let index = index.map(|px: &str| Px::parse(px.as_bytes()).unwrap());
        assert_eq!(worth(coin.as_bytes(), qty(amount), index).to_string(), expected, "{coin} {amount}");
    }
    let ticker = |list: &str| format!(r#"{{"retCode":0,"result":{{"category":"linear","list":[{list}]}}}}"#);
    let read = |list: &str| index(200, ticker(list).as_bytes());
    assert_eq!(
        read(r#"{"symbol":"BTCUSDT","indexPrice":"60000.123456789"}"#),
        Ok(Some(Px::from_raw(6_000_012_345_678)))
    );
    assert_eq!((read(""), read(r#"{"indexPrice":""}"#)), (Ok(None), Ok(None)));
    assert_eq!(index(200, br#"{"retCode":10001,"result":{}}"#), Err(RestError::Venue(10_001)));
}

const KEY: &str = r#"{"retCode":0,"retMsg":"","result":{"id":"13770661","note":"x","apiKey":"k","readOnly":0,"secret":"","permissions":{"ContractTrade":["Order","Position"],"Spot":[],"Wallet":["AccountTransfer"],"Options":[],"Derivatives":["DerivativesTrade"],"NFT":[]},"ips":["203.0.113.9","203.0.113.10"],"type":1,"deadlineDay":-2,"expiredAt":"1970-01-01T00:00:00Z","unified":0,"uta":1,"userID":24617703,"parentUid":"0","kycLevel":"LEVEL_1","kycRegion":"MYS"},"retExtInfo":{},"time":1}"#;

fn key(from: &str, to: &str) -> Result<Standing, RestError> {
    standing(200, KEY.replace(from, to).as_bytes(), Mono::from_millis(5), Wall::from_millis(9))
}

#[test]
fn an_account_and_its_key_are_read_to_the_worst() {
    let good = key("", "").unwrap();
    assert_eq!(
        (good.uid.as_str(), good.parent.as_str(), good.ips.as_str()),
        ("24617703", "", "203.0.113.9,203.0.113.10")
    );
    assert_eq!((good.kyc_level.as_str(), good.kyc_region.as_str(), good.expires), ("LEVEL_1", "MYS", Wall::default()));
    assert_eq!((good.permissions, good.read_only.is_set()), (Standing::TRADE | Standing::TRANSFER, false));
    let ips = r#"["203.0.113.9","203.0.113.10"]"#;
    let date = "1970-01-01T00:00:00Z";
    let unbound = KEY.replace(ips, "[]").replace(date, "2030-03-26T01:02:03Z");
    let unbound = standing(200, unbound.as_bytes(), Mono::default(), Wall::default()).unwrap();
    assert_eq!((unbound.ips.as_str(), unbound.expires.millis()), ("*", 1_900_717_323_000));
    assert_eq!(key("\"AccountTransfer\"", "\"Withdraw\"").unwrap().permissions, Standing::TRADE | Standing::WITHDRAW);
    assert!(key("\"NFT\":[]", "\"NFT\":[\"Buy\"]").unwrap().may(Standing::OTHER));
    assert!(key("\"NFT\":[]", "\"NFT\":true").unwrap().may(Standing::OTHER));
    assert!(key("\"readOnly\":0,", "").unwrap().read_only.is_set(), "what is not said is not allowed");
    assert_ne!(key("MYS", "IRN").unwrap().digest, good.digest);
    for (from, to) in [("24617703", "\"\""), ("MYS", "THE MOON"), (ips, "[\"*\",\"x\"],\"expiredAt\":\"soon\"")] {
        assert!(key(from, to).is_err(), "{to}");
    }
}

proptest! {
    /// Damaged answers are read, refused by row, or refused: never a panic, never more rows than there were.
    #[test]
    fn whatever_comes_is_an_answer_or_none(which in 0..ROWS.len(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(), cuts in any::<bool>()) {
        let (list, row) = ROWS[which];
        let name = if row.contains("transfer") || row.contains("transaction") { "list" } else { "rows" };
        let mut body = format!(r#"{{"retCode":0,"result":{{"{name}":[{row},{row}],"nextPageCursor":""}}}}"#).into_bytes();
        let place = at.index(body.len());
        body[place] = byte;
        if cuts {
            body.truncate(cut.index(body.len()));
        }
        if let Ok(page) = read(list, 200, &body, &reading()) {
            prop_assert!(page.flows.len() + page.refused.len() <= 2);
        }
        let _ = standing(200, &body, Mono::default(), Wall::default());
        let _ = index(200, &body);
        let mut key = KEY.as_bytes().to_vec();
        let place = at.index(key.len());
        key[place] = byte;
        let _ = standing(200, &key, Mono::default(), Wall::default());
    }
}

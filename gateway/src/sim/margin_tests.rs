//! Risk tiers, margin modes, liquidation and its order.

use super::testing::*;
use super::tests::quoted;
use serde_json::{Value, json};

fn number(v: &Value) -> f64 {
    v.as_str().unwrap().parse().unwrap()
}

fn post(desk: &mut Desk, n: u64, path: &str, args: &str) -> Value {
    desk.pass(150);
    desk.call(n, "POST", path, "", &format!(r#"{{"category":"linear","symbol":"BTCUSDT",{args}}}"#))
}

fn position(desk: &mut Desk, n: u64, leg: usize) -> Value {
    desk.get(n, "/v5/position/list", "category=linear&symbol=BTCUSDT")["list"][leg].clone()
}

fn isolate(desk: &mut Desk, n: u64) {
    let answer = desk.call(n, "POST", "/v5/account/set-margin-mode", "", r#"{"setMarginMode":"ISOLATED_MARGIN"}"#);
    assert_eq!((&answer["retCode"], &answer["result"]["reasons"]), (&json!(0), &json!([])), "{answer}");
}

#[test]
fn risk_tiers_bound_leverage_and_raise_the_margin() {
    let mut desk = taped(2);
    desk.command("deposit key=a0 amount=40000000");
    desk.book(&[("60000.0", "2000")], &[("60000.1", "2000")]);
    let list =
        desk.http("GET", "/v5/market/risk-limit", "category=linear&symbol=BTCUSDT", &[], b"").1["result"]["list"]
            .as_array()
            .unwrap()
            .clone();
    let of = |row: &Value, key: &str| number(&row[key]);
    assert_eq!(list.len(), 6);
    assert_eq!((of(&list[0], "maintenanceMargin"), of(&list[0], "initialMargin")), (0.005, 0.01));
    assert_eq!((list[0]["isLowestRisk"].as_i64(), list[1]["isLowestRisk"].as_i64()), (Some(1), Some(0)));
    assert_eq!((&list[0]["mmDeduction"], of(&list[1], "mmDeduction")), (&json!(""), 10_000.0));

    let leverage = |n: &str| format!(r#""buyLeverage":"{n}","sellLeverage":"{n}""#);
    assert_eq!(post(&mut desk, 0, "/v5/position/set-leverage", &leverage("100"))["retCode"], 0);
    let large = desk.market(0, "Buy", "50", "");
    assert_eq!(large["retCode"], 110_090, "3,000,000 at leverage 100: {large}");
    assert!(large["retMsg"].as_str().unwrap().contains("50.00"), "{large}");
    assert_eq!(desk.market(0, "Buy", "30", "")["retCode"], 0);
    let row = position(&mut desk, 0, 0);
    assert_eq!((&row["riskId"], &row["riskLimitValue"]), (&list[0]["id"], &json!("2000000")));
    assert_eq!(post(&mut desk, 0, "/v5/position/set-leverage", &leverage("50"))["retCode"], 0);
    assert_eq!(desk.market(0, "Buy", "20", "")["retCode"], 0);
    let row = position(&mut desk, 0, 0);
    assert_eq!(row["riskId"], list[1]["id"]);
    let value = 50.0 * number(&row["markPrice"]);
    let expected = value * 0.01 - 10_000.0 + value * (1.0 - 1.0 / 50.0) * 0.000_55;
    assert!((number(&row["positionMM"]) - expected).abs() < 0.01, "{row} {expected}");
    assert_eq!(post(&mut desk, 0, "/v5/position/set-leverage", &leverage("100"))["retCode"], 110_013);
    assert_eq!(post(&mut desk, 0, "/v5/position/set-leverage", &leverage("5"))["retCode"], 0);
    for _ in 0..3 {
        assert_eq!(desk.market(0, "Buy", "500", "")["retCode"], 0);
    }
    assert_eq!(desk.market(0, "Buy", "500", "")["retCode"], 110_089, "beyond the last tier");
    assert_eq!(desk.market(0, "Sell", "500", "")["retCode"], 0, "but out it goes");
    desk.audit();
}

#[test]
fn an_isolated_position_holds_its_own_margin() {
    let mut desk = taped(2);
    desk.book(&[("99.9", "500")], &[("100.0", "500")]);
    isolate(&mut desk, 0);
    assert_eq!(desk.get(0, "/v5/account/info", "")["marginMode"], "ISOLATED_MARGIN");
    desk.market(0, "Buy", "100", "");
    let row = position(&mut desk, 0, 0);
    let im = 10_000.0 / 10.0 + 10_000.0 * 0.9 * 0.000_55;
    assert!((number(&row["positionBalance"]) - im).abs() < 0.001, "{row}");
    assert_eq!(row["positionIM"], row["positionBalance"]);
    let liquidation = number(&row["liqPrice"]);
    assert!((90.4..90.6).contains(&liquidation), "about a tenth below, less maintenance: {liquidation}");
    let wallet = desk.get(0, "/v5/account/wallet-balance", "accountType=UNIFIED")["list"][0].clone();
    assert_eq!(wallet["totalAvailableBalance"], "", "of the account as a whole nothing is told");

    let add = |desk: &mut Desk, margin: &str| {
        post(desk, 0, "/v5/position/add-margin", &format!(r#""margin":"{margin}","positionIdx":0"#))
    };
    assert_eq!(add(&mut desk, "0")["retCode"], 110_027);
    assert_eq!(add(&mut desk, "500000")["retCode"], 110_014);
    assert_eq!(add(&mut desk, "-100")["retCode"], 110_078, "not below what its leverage asks for");
    let answer = add(&mut desk, "500");
    assert_eq!((&answer["retCode"], &answer["result"]["category"]), (&json!(0), &json!("linear")), "{answer}");
    let lower = number(&answer["result"]["liqPrice"]);
    assert!((liquidation - 5.1..liquidation - 4.9).contains(&lower), "five lower: {lower}");
    assert_eq!(add(&mut desk, "-300")["retCode"], 0);
    desk.market(0, "Sell", "50", "");
    let row = position(&mut desk, 0, 0);
    assert!((number(&row["positionBalance"]) - (im + 200.0) / 2.0).abs() < 0.01, "half goes with half: {row}");
    desk.market(0, "Sell", "50", "");
    assert_eq!(position(&mut desk, 0, 0)["positionBalance"], "0");
    desk.audit();
}

#[test]
fn an_isolated_liquidation_costs_its_margin_and_nothing_else() {
    let mut desk = taped(2);
    desk.book(&[("99.9", "5000")], &[("100.0", "5000")]);
    isolate(&mut desk, 0);
    desk.market(0, "Buy", "100", "");
    let before =
        number(&desk.get(0, "/v5/account/wallet-balance", "accountType=UNIFIED")["list"][0]["totalWalletBalance"]);
    let held = number(&position(&mut desk, 0, 0)["positionBalance"]);
    desk.book(&[("91.0", "5000")], &[("91.1", "5000")]);
    assert_eq!(desk.size(0), "100", "above its liquidation price");
    desk.book(&[("80.0", "5000")], &[("80.1", "5000")]);
    assert_eq!(desk.size(0), "0");
    let after =
        number(&desk.get(0, "/v5/account/wallet-balance", "accountType=UNIFIED")["list"][0]["totalWalletBalance"]);
    assert!((before - after - held).abs() < 1e-6, "{before} {after} {held}: the pool pays the rest");
    assert!(desk.rows(0, "position").iter().any(|r| r["positionStatus"] == "Liq"));
    desk.audit();
}

#[test]
fn a_position_that_adds_margin_by_itself_lives_longer() {
    let mut desk = taped(2);
    let auto = |desk: &mut Desk, on: &str| {
        post(desk, 0, "/v5/position/set-auto-add-margin", &format!(r#""autoAddMargin":{on},"positionIdx":0"#))["retCode"].clone()
    };
    desk.book(&[("99.9", "5000")], &[("100.0", "5000")]);
    assert_eq!(auto(&mut desk, "1"), 110_076);
    isolate(&mut desk, 0);
    assert_eq!(auto(&mut desk, "1"), 110_033);
    desk.market(0, "Buy", "100", "");
    assert_eq!(auto(&mut desk, "7"), 10001);
    assert_eq!(auto(&mut desk, "1"), 0);
    assert_eq!(position(&mut desk, 0, 0)["autoAddMargin"], 1);
    desk.book(&[("80.0", "5000")], &[("80.1", "5000")]);
    assert_eq!(desk.size(0), "100", "the wallet still has plenty");
    assert!(number(&position(&mut desk, 0, 0)["positionBalance"]) > 1_900.0);
    desk.audit();
}

#[test]
fn margin_modes_change_when_the_account_can_bear_it() {
    let mut desk = taped(2);
    desk.book(&[("99.9", "50000")], &[("100.0", "50000")]);
    let mode = |desk: &mut Desk, mode: &str| {
        desk.call(0, "POST", "/v5/account/set-margin-mode", "", &format!(r#"{{"setMarginMode":"{mode}"}}"#))
    };
    assert_eq!(mode(&mut desk, "SIDEWAYS")["retCode"], 10001);
    let refused = mode(&mut desk, "PORTFOLIO_MARGIN");
    assert_eq!(refused["retCode"], 3_400_045);
    assert!(refused["result"]["reasons"][0]["reasonMsg"].is_string(), "{refused}");
    assert_eq!(post(&mut desk, 0, "/v5/position/add-margin", r#""margin":"1","positionIdx":0"#)["retCode"], 110_015);
    desk.market(0, "Buy", "500", "");
    assert_eq!(mode(&mut desk, "ISOLATED_MARGIN")["retCode"], 0, "its position takes its margin along");
    assert!(number(&position(&mut desk, 0, 0)["positionBalance"]) > 5_000.0);
    assert_eq!(mode(&mut desk, "REGULAR_MARGIN")["retCode"], 0);
    assert_eq!(position(&mut desk, 0, 0)["positionBalance"], "0");
    assert_eq!(post(&mut desk, 0, "/v5/position/confirm-pending-mmr", r#""a":1"#)["retCode"], 110_082);
    desk.audit();
}

#[test]
fn the_legs_of_an_isolated_hedge_have_leverages_of_their_own() {
    let mut desk = taped(1);
    desk.book(&[("99.9", "500")], &[("100.0", "500")]);
    isolate(&mut desk, 0);
    let apart = r#""buyLeverage":"20","sellLeverage":"5""#;
    assert_eq!(post(&mut desk, 0, "/v5/position/set-leverage", apart)["retCode"], 10001, "one way");
    assert_eq!(post(&mut desk, 0, "/v5/position/switch-mode", r#""mode":3"#)["retCode"], 0);
    assert_eq!(post(&mut desk, 0, "/v5/position/set-leverage", apart)["retCode"], 0);
    desk.market(0, "Buy", "10", r#","positionIdx":1"#);
    desk.market(0, "Sell", "10", r#","positionIdx":2"#);
    let (long, short) = (position(&mut desk, 0, 0), position(&mut desk, 0, 1));
    assert_eq!((&long["leverage"], &short["leverage"]), (&json!("20"), &json!("5")));
    let ratio = number(&short["positionIM"]) / number(&long["positionIM"]);
    assert!((3.9..4.1).contains(&ratio), "{ratio}");
    desk.audit();
}

#[test]
fn a_large_position_is_reduced_by_one_tier_before_it_is_taken_over() {
    let mut desk = taped(2);
    desk.command("deposit key=a0 amount=60000");
    desk.book(&[("60000.0", "2000")], &[("60000.1", "2000")]);
    let leverage = r#""buyLeverage":"50","sellLeverage":"50""#;
    assert_eq!(post(&mut desk, 0, "/v5/position/set-leverage", leverage)["retCode"], 0);
    assert_eq!(desk.market(0, "Buy", "60", "")["retCode"], 0); // 3,600,000: the second tier
    let liquidation = number(&position(&mut desk, 0, 0)["liqPrice"]);
    let below = format!("{:.1}", liquidation - 30.0);
    let above = format!("{:.1}", liquidation - 29.0);
    desk.book(&[(&below, "5000")], &[(&above, "5000")]);
    let left: f64 = desk.size(0).parse().unwrap();
    assert!((30.0..40.0).contains(&left), "within the lowest tier and alive: {left}");
    let bust = desk.rows(0, "execution").into_iter().rfind(|r| r["execType"] == "BustTrade").unwrap();
    assert_eq!(bust["createType"], "CreateByLiq");
    assert_eq!(position(&mut desk, 0, 0)["positionStatus"], "Normal");
    desk.audit();
}

#[test]
fn deleveraging_ranks_by_profit_and_leverage() {
    let mut desk = taped(4);
    desk.book(&[("90.0", "1")], &[("110.0", "1")]);
    desk.command("withdraw key=a2 amount=99000");
    for n in [1, 2] {
        desk.limit(n, "Sell", "100.0", "10", "");
        desk.limit(0, "Buy", "100.0", "10", "");
    }
    desk.limit(3, "Sell", "96.0", "10", "");
    desk.limit(0, "Buy", "96.0", "10", "");
    desk.command("mark symbol=BTCUSDT px=95");
    let rank = |desk: &mut Desk, n: u64| position(desk, n, 0)["adlRankIndicator"].as_i64().unwrap();
    let ranks = [rank(&mut desk, 1), rank(&mut desk, 2), rank(&mut desk, 3)];
    assert!(ranks[1] == 5 && ranks[0] < 5 && ranks[2] < ranks[0], "the same gain on less money is first: {ranks:?}");
    desk.command("adl key=a0 symbol=BTCUSDT qty=10");
    assert_eq!((desk.size(1), desk.size(2)), ("-10".into(), "0".into()));
    assert_eq!(desk.rows(2, "execution").last().unwrap()["execPrice"], "95.00", "at the mark");
    assert_eq!(rank(&mut desk, 2), 0);
    desk.audit();
}

#[test]
fn an_order_can_be_checked_without_being_placed() {
    let mut desk = quoted();
    let check = |desk: &mut Desk, qty: &str| {
        post(
            desk,
            0,
            "/v5/order/pre-check",
            &format!(r#""side":"Buy","orderType":"Limit","price":"100.0","qty":"{qty}""#),
        )
    };
    let answer = check(&mut desk, "1000");
    let of = |key: &str| answer["result"][key].as_i64().unwrap();
    assert_eq!((of("preImrE4"), of("preMmrE4")), (0, 0));
    assert!((1000..1010).contains(&of("postImrE4")) && of("postMmrE4") > 40, "{answer}");
    assert_eq!(check(&mut desk, "0.0001")["retCode"], 10001);
    assert_eq!(
        post(
            &mut desk,
            0,
            "/v5/order/pre-check",
            r#""side":"Buy","orderType":"Limit","price":"100.0","qty":"10.5000001""#
        )["retCode"],
        10001
    );
    assert!(desk.rows(0, "order").is_empty());
    isolate(&mut desk, 0);
    assert_eq!(check(&mut desk, "1")["retCode"], 10001);
}

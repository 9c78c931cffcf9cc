//! Every rule fires on its script and stays silent on its near miss; what folds whole folds in halves; memory has bounds.

use super::parameters::Parameters;
use super::script::{Row, Script, script};
use super::*;
use keel_core::event::Record;
use proptest::prelude::*;

const FROM: Wall = Wall::from_millis(1_790_000_000_000);

fn seen(row: &Row, seq: u64) -> Seen<'_> {
    let mono = Mono::from_nanos(row.wall.nanos());
    Seen { seq: Seq(seq), mono, wall: row.wall, kind: Some(row.kind()), payload: row.bytes() }
}

fn fold(fold: &mut Surveil, rows: &[Row], from: u64) -> Vec<Alert> {
    let mut alerts = Vec::new();
    for (row, seq) in rows.iter().zip(from..) {
        fold.handle(&seen(row, seq));
        while let Some(alert) = fold.poll() {
            alerts.push(alert);
        }
    }
    alerts
}

fn play(script: &Script) -> Vec<Alert> {
    fold(&mut Surveil::new(script.terms.clone()), &script.rows, 1)
}

fn check(rule: Rule, parameters: &Parameters) {
    let alerts = play(&script(rule, false, parameters, FROM));
    let alert =
        alerts.iter().find(|alert| alert.rule == rule).unwrap_or_else(|| panic!("{rule:?} is silent: {alerts:?}"));
    assert_eq!(alert.version, parameters.version(rule), "{rule:?}");
    assert!(alert.count > 0 && alert.evidence[0] > Seq::NONE, "{rule:?} names its records: {alert:?}");
    assert!(alert.evidence.is_sorted_by(|a, b| a > b || *b == Seq::NONE), "{rule:?} newest first");
    let near = play(&script(rule, true, parameters, FROM));
    assert!(near.iter().all(|alert| alert.rule != rule), "{rule:?} fires on its near miss: {near:?}");
}

#[test]
fn every_rule_fires_on_its_script_and_is_silent_on_its_near_miss() {
    RULES.into_iter().for_each(|rule| check(rule, &Parameters::default()));
}

#[test]
fn the_scripts_follow_the_parameters() {
    let mut tight = Parameters::default();
    for (section, name, value) in [
        ("structuring", "count", 7),
        ("structuring", "low_permille", 950),
        ("velocity", "z_permille", 3000),
        ("velocity", "needed", 30),
        ("maze", "hours", 2),
        ("wash", "repeats", 9),
        ("spoofing", "repeats", 2),
        ("layering", "levels", 6),
        ("stuffing", "seconds", 3),
        ("ignition", "share_permille", 600),
        ("marking", "share_permille", 450),
        ("painting", "trades", 20),
        ("painting", "small_permille", 100),
        ("pinging", "probes", 25),
        ("insider", "value_usd", 77),
        ("burst", "declared_permille", 1500),
    ] {
        tight.set(section, name, value).unwrap();
        tight.set_version(section, 2).unwrap();
    }
    RULES.into_iter().for_each(|rule| check(rule, &tight));
}

#[test]
fn an_alert_carries_the_digest_and_is_told_once() {
    let mut it = script(Rule::Structuring, false, &Parameters::default(), FROM);
    it.terms.digest = [9; 32];
    let more = it.rows.last().unwrap().clone();
    let moved = |row: &Row| Row { wall: row.wall.after(1), ..row.clone() };
    it.rows.extend([moved(&more), more.clone()]);
    let alerts: Vec<Alert> = play(&it).into_iter().filter(|alert| alert.rule == Rule::Structuring).collect();
    assert!(alerts.iter().all(|alert| alert.parameters == [9; 32]));
    // the day and the week, once each; the row seen again is no new fact
    assert_eq!(alerts.len(), 2, "{alerts:?}");
}

#[test]
fn a_listed_address_blocks_and_names_its_list() {
    let alerts = play(&script(Rule::Sanctioned, false, &Parameters::default(), FROM));
    let alert = alerts.iter().find(|alert| alert.rule == Rule::Sanctioned).unwrap();
    assert_eq!((alert.gravity, alert.list.as_str()), (Gravity::Block, "synthetic:1:1"));
}

#[test]
fn what_has_no_data_says_so() {
    let bare = Surveil::new(Terms::default());
    assert!(bare.health().iter().all(|health| !health.is_alive()), "nothing was seen yet");
    let sanctions = script(Rule::Sanctioned, false, &Parameters::default(), FROM);
    let mut it = Surveil::new(sanctions.terms.clone());
    fold(&mut it, &sanctions.rows, 1);
    let of = |it: &Surveil, rule| it.health().into_iter().find(|health| health.rule == rule).unwrap();
    assert_eq!(of(&it, Rule::Sanctioned).missing, []);
    assert_eq!(of(&it, Rule::Insider).missing, [Input::Fills, Input::News]);
    // a market feed that went dead
    let push = script(Rule::Ignition, false, &Parameters::default(), FROM);
    let mut it = Surveil::new(push.terms.clone());
    fold(&mut it, &push.rows, 1);
    assert_eq!(of(&it, Rule::Ignition).missing, []);
    let mut late = push.rows[0].clone();
    late.wall = push.rows.last().unwrap().wall.after(11 * MINUTE);
    fold(&mut it, &[late], 100);
    assert_eq!(of(&it, Rule::Ignition).missing, [Input::Trades]);
}

/// All scripts one after another, a year apart.
fn everything() -> Script {
    let mut all = Script::default();
    for (rule, year) in RULES.into_iter().zip(0..) {
        let from = FROM.after(year * 365 * window::DAY);
        let one = script(rule, year % 2 == 1, &Parameters::default(), from);
        all.rows.extend(one.rows);
    }
    all
}

#[test]
fn a_fold_in_halves_is_the_fold() {
    let all = everything();
    let whole = play(&all);
    assert!(whole.len() > 10);
    for cut in (0..all.rows.len()).step_by(17) {
        let mut it = Surveil::new(all.terms.clone());
        let mut alerts = fold(&mut it, &all.rows[..cut], 1);
        alerts.extend(fold(&mut it, &all.rows[cut..], cut as u64 + 1));
        assert_eq!(alerts, whole, "cut at {cut}");
    }
}

#[test]
fn a_stamp_from_the_future_hides_nothing() {
    let mut it = script(Rule::Structuring, false, &Parameters::default(), FROM);
    let mut ahead: keel_core::event::Flow = read(it.rows[1].bytes()).unwrap();
    (ahead.ts, ahead.id) = (Wall::from_nanos(u64::MAX), Text::new(b"ahead").unwrap());
    (ahead.usd, ahead.amount) = (Notional::whole(1), keel_core::units::Qty::whole(1));
    it.rows.insert(2, Row { wall: it.rows[1].wall, kind: Kind::Flow, bytes: ahead.bytes().to_vec() });
    let last = it.rows.last().unwrap().clone();
    assert!(
        play(&it).iter().any(|alert| alert.rule == Rule::Structuring && alert.at == last.wall),
        "seen all the same"
    );
}

#[test]
fn prices_of_any_size_panic_nobody() {
    for (from, to) in [(1, i64::MAX), (i64::MAX, 1), (i64::MAX, i64::MAX), (1, 1), (-1, 5)] {
        let mut it = script(Rule::Ignition, false, &Parameters::default(), FROM);
        let mut at = it.rows.last().unwrap().wall;
        for number in 0..40 {
            at = at.after(MINUTE);
            let (px, qty) = if number % 2 == 0 { (from, to) } else { (to, from) };
            let (px, qty) = (keel_core::units::Px::from_raw(px), keel_core::units::Qty::from_raw(qty));
            let fill = Fill { px, qty, kind: keel_core::event::ExecKind::Trade, ..Fill::default() };
            let mut trade: Trade = read(it.rows.iter().find(|row| row.kind == Kind::Trade).unwrap().bytes()).unwrap();
            (trade.px, trade.qty) = (px, qty);
            it.rows.push(Row::test(at, Kind::Trade, trade.bytes()));
            it.rows.push(Row::test(at.after(1), Kind::Fill, fill.bytes()));
        }
        play(&it);
    }
}

#[test]
fn memory_has_bounds_and_counts_what_went() {
    let mut it = Surveil::new(Terms::default());
    let base = script(Rule::Counterparty, true, &Parameters::default(), FROM);
    let flow: keel_core::event::Flow = read(base.rows[1].bytes()).unwrap();
    for number in 0..70_000u64 {
        let name = |prefix: &str| Text::new(format!("{prefix}{number}").as_bytes()).unwrap();
        let account = Text::new(format!("a{number}").as_bytes()).unwrap();
        let flow = keel_core::event::Flow {
            id: name("f"),
            address: Text::new(format!("1x{number}").as_bytes()).unwrap(),
            account,
            ..flow
        };
        let wall = FROM.after(number);
        it.handle(&Seen {
            seq: Seq(number + 1),
            mono: Mono::default(),
            wall,
            kind: Some(Kind::Flow),
            payload: flow.bytes(),
        });
        while it.poll().is_some() {}
    }
    assert!(it.dropped() > 0, "what went is counted");
}

/// A benign day of anything.
fn anything() -> impl Strategy<Value = Vec<(u8, u64, i64, i64, bool, u8)>> {
    let row = (0u8..12, 0u64..5_000_000_000, 1i64..2_000_000_000_000, 1i64..5_000_000_000, any::<bool>(), any::<u8>());
    proptest::collection::vec(row, 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_record_panics_and_halves_are_the_whole(rows in anything(), cut in 0usize..300, noise in any::<[u8; 64]>()) {
        use keel_core::event::{Fill, ExecKind, Flow, FlowKind, FlowState, Side};
        let mut all = script(Rule::Ignition, true, &Parameters::default(), FROM);
        let mut at = all.rows.last().unwrap().wall;
        let kinds = [FlowKind::Deposit, FlowKind::Withdrawal, FlowKind::TransferOut, FlowKind::ConvertIn, FlowKind::ConvertOut, FlowKind::Trade];
        for (number, (what, wait, a, b, flag, byte)) in rows.into_iter().enumerate() {
            at = at.after(wait);
            let side = if flag { Side::Buy } else { Side::Sell };
            let row = match what {
                0..=3 => {
                    let fill = Fill { px: keel_core::units::Px::from_raw(a), qty: keel_core::units::Qty::from_raw(b), side, kind: ExecKind::Trade, maker: flag.into(), instrument: InstrumentId(u16::from(byte % 3)), ..Fill::default() };
                    Row::test(at, Kind::Fill, fill.bytes())
                }
                4..=8 => {
                    let name = format!("p{}", byte % 7);
                    let flow = Flow {
                        ts: Wall::from_nanos(at.nanos() - u64::from(byte) * SECOND_),
                        amount: keel_core::units::Qty::from_raw(if flag { a } else { -a }),
                        id: Text::new(format!("{}", number / 2).as_bytes()).unwrap(),
                        account: Text::new(name.as_bytes()).unwrap(),
                        party: Text::new(format!("p{}", byte % 5).as_bytes()).unwrap(),
                        coin: Text::new(if flag { b"USDT" } else { b"SYN" }).unwrap(),
                        kind: kinds[usize::from(byte) % kinds.len()],
                        state: if byte % 4 == 0 { FlowState::Pending } else { FlowState::Done },
                        ..Flow::default()
                    };
                    Row::test(at, Kind::Flow, flow.bytes())
                }
                _ => Row::test(at, Kind::ALL[usize::from(byte) % Kind::ALL.len()], &noise[..usize::from(byte % 65)]),
            };
            all.rows.push(row);
        }
        let whole = play(&all);
        let cut = cut.min(all.rows.len());
        let mut it = Surveil::new(all.terms.clone());
        let mut halves = fold(&mut it, &all.rows[..cut], 1);
        let _ = it.health();
        halves.extend(fold(&mut it, &all.rows[cut..], cut as u64 + 1));
        prop_assert_eq!(halves, whole);
    }
}

const SECOND_: u64 = window::SECOND;

impl Row {
    fn test(wall: Wall, kind: Kind, bytes: &[u8]) -> Self {
        Self { wall, kind, bytes: bytes.to_vec() }
    }
}

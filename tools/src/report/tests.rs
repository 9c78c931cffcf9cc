//! Reports of journals written by hand, small enough to be counted by hand.
//!
//! ```text
//!   one symbol at a tick of 0.1; the book is set by hand, so every middle is a round number
//!   buy 2 at 100.0 decided at a middle of 100.0, acknowledged at 100.5, filled at 100.4, and so on
//! ```

use super::*;
use keel_core::event::{
    Ack, BookUpdate, Channel, Command, CommandKind, ExecKind, Fill, Flag, Health, HealthState, Level, Op, Order,
    OrderStatus, OrderUpdate, Origin, Record, Sent, SentOutcome, Side, Start, Stop, Ticker, TimeInForce, Trade, Wallet,
    Worth,
};
use keel_core::ids::{ClientId, InstrumentId, Seq, StrategyId, Symbol, Text, VenueId};
use keel_core::instrument::Instrument;
use keel_core::permit::Log;
use keel_core::units::{Mono, Notional, Now, Px, Qty, SCALE};
use keel_journal::{Entry, Keeper, Options, Writer};
use keel_risk::decision::{Class, Decision};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// 2026-11-22, midnight UTC.
const DAY_ONE: u64 = 1_795_305_600_000_000_000;
const SECOND: u64 = 1_000_000_000;

struct Raw(keel_core::event::Kind, Vec<u8>);

impl Record for Raw {
    fn kind(&self) -> keel_core::event::Kind {
        self.0
    }
    fn bytes(&self) -> &[u8] {
        &self.1
    }
}

fn usdt(text: &str) -> Notional {
    Notional::parse(text.as_bytes()).unwrap()
}

fn px(text: &str) -> Px {
    Px::parse(text.as_bytes()).unwrap()
}

fn qty(text: &str) -> Qty {
    Qty::parse(text.as_bytes()).unwrap()
}

fn instrument() -> Instrument {
    Instrument {
        symbol: Symbol::new(b"BTCUSDT").unwrap(),
        tick: Px::from_raw(SCALE / 10),
        min_px: Px::from_raw(SCALE / 10),
        max_px: Px::whole(1_999_999),
        step: Qty::from_raw(SCALE / 1000),
        min_qty: Qty::from_raw(SCALE / 1000),
        max_qty: Qty::whole(1190),
        max_market_qty: Qty::whole(500),
        min_notional: Notional::whole(5),
        taker_fee: 55_000,
        maker_fee: 20_000,
        max_leverage: 10_000,
        trading: Flag::Yes,
        ..Instrument::default()
    }
}

struct Journal {
    home: tempfile::TempDir,
    writer: Option<Writer>,
    keeper: Keeper,
    at: u64,
    exec: u32,
}

impl Journal {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let options = Options { segment_bytes: 12288, prefault_bytes: 8192, clock_error: 7, ..Options::default() };
        let (writer, keeper) = Writer::open(home.path().join("journal"), options).unwrap();
        let mut journal = Self { home, writer: Some(writer), keeper, at: DAY_ONE + 3600 * SECOND, exec: 0 };
        journal.put(&Start { run: 1, build: Text::new(b"test").unwrap(), ..Start::default() });
        journal.put(&instrument());
        journal
    }

    fn put(&mut self, fact: &impl Record) -> Seq {
        use keel_core::agent::Agent;
        let now = Now { mono: Mono::from_nanos(self.at), wall: Wall::from_nanos(self.at) };
        let seq = self.writer.as_mut().unwrap().fact(now, Seq(1), fact).unwrap();
        while self.keeper.duty(now) > 0 {}
        seq
    }

    fn after(&mut self, nanos: u64) -> &mut Self {
        self.at += nanos;
        self
    }

    fn mono(&self) -> Mono {
        Mono::from_nanos(self.at)
    }

    /// The book becomes one level a side.
    fn book(&mut self, bid: &str, ask: &str) {
        let origin = Origin { seq: self.at, ..Origin::default() };
        let mut update = BookUpdate::empty(InstrumentId(0), 50, origin, 1);
        update.flags = BookUpdate::SNAPSHOT | BookUpdate::FIRST | BookUpdate::LAST;
        (update.bids, update.asks) = (1, 1);
        update.levels[0] = Level { px: px(bid), qty: Qty::whole(5) };
        update.levels[1] = Level { px: px(ask), qty: Qty::whole(5) };
        self.put(&update);
        self.put(&Health { origin, state: HealthState::Synced, ..Health::default() });
    }

    fn mark(&mut self, mark: &str) {
        self.put(&Ticker { mark: px(mark), ..Ticker::default() });
    }

    fn order(&mut self, count: u32, side: Side, amount: &str, price: &str) -> ClientId {
        let client = ClientId::new(1, count);
        let order = Order {
            client,
            px: px(price),
            qty: qty(amount),
            strategy: StrategyId(3),
            side,
            tif: TimeInForce::PostOnly,
            ..Order::default()
        };
        let decision = Decision { order, class: Class::Risk, limits: 1, ..Decision::default() };
        self.put(&Raw(keel_core::event::Kind::Approved, zerocopy::IntoBytes::as_bytes(&decision).to_vec()));
        client
    }

    fn sent(&mut self, client: ClientId) {
        let at = self.mono();
        self.put(&Sent { client, at, took: 40_000, op: Op::New, outcome: SentOutcome::Wire, ..Sent::default() });
    }

    fn ack(&mut self, client: ClientId) {
        let recv = self.mono();
        self.put(&Ack { client, recv, op: Op::New, channel: Channel::Trade, ..Ack::default() });
    }

    fn ended(&mut self, client: ClientId, status: OrderStatus) {
        self.put(&OrderUpdate { client, status, ..OrderUpdate::default() });
    }

    #[allow(clippy::too_many_arguments, reason = "a fill has this much in it")]
    fn fill(&mut self, client: ClientId, side: Side, amount: &str, price: &str, fee: &str, closed: &str, pnl: &str) {
        self.exec += 1;
        let exec = VenueId::new(format!("exec-{}", self.exec).as_bytes()).unwrap();
        let fill = Fill {
            client,
            seq: u64::from(self.exec),
            px: px(price),
            qty: qty(amount),
            closed: qty(closed),
            fee: usdt(fee),
            pnl: usdt(pnl),
            exec,
            side,
            kind: ExecKind::Trade,
            maker: Flag::Yes,
            ..Fill::default()
        };
        self.put(&fill);
        self.put(&Fill { queried: Flag::Yes, ..fill }); // a reconciliation shows it again
    }

    fn wallet(&mut self, balance: &str) {
        self.put(&Wallet { balance: usdt(balance), equity: usdt(balance), ..Wallet::default() });
    }

    fn stop(&mut self) {
        self.put(&Stop::default());
        self.close();
    }

    fn close(&mut self) {
        if let Some(writer) = self.writer.take() {
            use keel_core::agent::Agent;
            let now = Now { mono: Mono::from_nanos(self.at), wall: Wall::from_nanos(self.at) };
            drop(writer);
            while self.keeper.duty(now) > 0 {}
        }
    }

    fn dir(&self) -> PathBuf {
        self.home.path().join("journal")
    }

    fn args(&self, names: &str, out: &str) -> Args {
        Args {
            names: super::names(names).unwrap(),
            dirs: vec![self.dir()],
            date: Some("2026-11-22".to_owned()),
            from: None,
            to: None,
            format: vec![Format::Csv, Format::Json, Format::Html],
            out: self.home.path().join(out),
            by_day: false,
            compliance: None,
            anchors: None,
            key: None,
        }
    }

    fn report(&self, names: &str) -> BTreeMap<&'static str, Vec<String>> {
        let outcomes = report(&self.args(names, "out"), Wall::from_nanos(0)).unwrap();
        outcomes.into_iter().map(|outcome| (outcome.code, outcome.incomplete)).collect()
    }

    /// Rows of a table, by column.
    fn rows(&self, report: &str, table: &str) -> Vec<serde_json::Map<String, Value>> {
        let text = fs::read_to_string(self.home.path().join("out").join(format!("{report}.json"))).unwrap();
        let whole: Value = serde_json::from_str(&text).unwrap();
        let rows = whole["tables"][table]["rows"].as_array().unwrap();
        rows.iter().map(|row| row.as_object().unwrap().clone()).collect()
    }
}

/// Two orders: one bought passively and sold at a gain, one that never filled. See the hand count in the tests.
fn trades() -> Journal {
    let mut journal = Journal::new();
    journal.wallet("1000");
    journal.mark("100");
    journal.book("99.9", "100.1"); // middle 100.0
    let buy = journal.after(SECOND).order(1, Side::Buy, "2", "99.9");
    journal.after(2_000_000).sent(buy);
    journal.book("100.4", "100.6"); // 100.5
    journal.after(5_000_000).ack(buy);
    journal.put(&trade("3", "100.4"));
    journal.after(SECOND).fill(buy, Side::Buy, "1.5", "99.9", "0.02997", "0", "0");
    journal.wallet("999.97003");
    journal.after(SECOND / 2).book("100.9", "101.1"); // 101.0: in force one second later
    journal.after(SECOND).book("101.9", "102.1"); // 102.0: in force ten seconds later
    journal.ended(buy, OrderStatus::Cancelled); // 0.5 was not filled; the middle moved by 2
    let idle = journal.after(SECOND).order(2, Side::Sell, "1", "103");
    journal.sent(idle);
    journal.ack(idle);
    journal.after(20 * SECOND).book("103.9", "104.1"); // 104.0: in force a minute later
    journal.ended(idle, OrderStatus::Cancelled);
    let sell = journal.after(SECOND).order(3, Side::Sell, "1", "104");
    journal.sent(sell);
    journal.ack(sell);
    journal.after(60 * SECOND).fill(sell, Side::Sell, "1", "104.1", "0.02082", "1", "4.2");
    journal.ended(sell, OrderStatus::Filled);
    journal.wallet("1004.14921");
    journal.mark("105");
    journal.put(&Worth {
        equity: usdt("1006.69921"),
        balance: usdt("1004.14921"),
        high: usdt("1007"),
        drawdown: usdt("0.30079"),
        ..Worth::default()
    });
    journal.after(299 * SECOND).book("98.9", "99.1"); // five minutes after the first fill, not after the second
    journal
}

fn trade(amount: &str, price: &str) -> Trade {
    let origin = Origin::default();
    let (qty, px, no) = (qty(amount), px(price), Flag::No);
    Trade { origin, px, qty, instrument: InstrumentId(0), side: Side::Buy, block: no, rpi: no, last: no, pad: [0; 2] }
}

fn text(row: &serde_json::Map<String, Value>, column: &str) -> String {
    match &row[column] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn check(row: &serde_json::Map<String, Value>, expected: &[(&str, &str)]) {
    for (column, value) in expected {
        assert_eq!(text(row, column), *value, "{column}");
    }
}

#[test]
fn profit_is_what_a_hand_count_says() {
    let mut journal = trades();
    journal.stop();
    let told = journal.report("r1,r6");
    assert_eq!((&told["r1"], &told["r6"]), (&vec![], &vec![]), "whole");
    let fills = journal.rows("r1", "fills");
    assert_eq!(fills.len(), 2, "an execution shown again is counted once");
    check(
        &fills[0],
        &[("notional_usd", "149.85"), ("fee", "0.02997"), ("position_after", "1.5"), ("realised_pnl", "0")],
    );
    check(
        &fills[1],
        &[("notional_usd", "104.1"), ("position_after", "0.5"), ("realised_pnl", "4.2"), ("strategy", "3")],
    );
    // bought 1.5 at 99.9, sold 1 at 104.1; left 0.5 that cost 49.95, at 105 worth 52.5
    check(
        &journal.rows("r6", "positions")[0],
        &[
            ("start_qty", "0"),
            ("bought", "1.5"),
            ("sold", "1"),
            ("end_qty", "0.5"),
            ("avg_px", "99.9"),
            ("mark", "105"),
            ("unrealised", "2.55"),
            ("realised", "4.2"),
            ("fees", "0.05079"),
            ("net_pnl", "6.69921"),
            ("turnover", "253.95"),
        ],
    );
    check(
        &journal.rows("r6", "account")[0],
        &[
            ("cash_start", "1000"),
            ("cash_end", "1004.14921"),
            ("cash_venue", "1004.14921"),
            ("nav_start", "1000"),
            ("nav_end", "1006.69921"),
            ("pnl", "6.69921"),
            ("max_drawdown", "0.30079"),
            ("transfers", "0"),
        ],
    );
}

#[test]
fn costs_are_what_a_hand_count_says() {
    let mut journal = trades();
    journal.stop();
    assert_eq!(journal.report("r10")["r10"], Vec::<String>::new());
    let orders = journal.rows("r10", "orders");
    assert_eq!(orders.len(), 3);
    check(
        &orders[0],
        &[
            ("decision_mid", "100"),
            ("ack_mid", "100.5"),
            ("end_mid", "102"),
            ("filled", "1.5"),
            ("vwap", "99.9"),
            ("delay", "0.75"),  // (100.5 - 100) * 1.5
            ("impact", "-0.9"), // (99.9 - 100.5) * 1.5
            ("fees", "0.02997"),
            ("opportunity", "1"),         // (102 - 100) * 0.5
            ("shortfall", "0.87997"),     // 0.75 - 0.9 + 0.02997 + 1
            ("shortfall_bps", "43.9985"), // over 200
            ("slippage_bps", "-10"),      // 99.9 against 100
            ("participation_pct", "50"),  // 1.5 of the 3 that traded
            ("decision_to_sent_us", "2000"),
            ("sent_to_ack_us", "5000"),
            ("end", "Cancelled"),
        ],
    );
    // nothing filled; the market moved from 102 to 104 and would have been sold at 102
    check(&orders[1], &[("filled", "0"), ("vwap", "null"), ("shortfall", "-2"), ("slippage_bps", "null")]);
    let fills = journal.rows("r10", "fills");
    check(
        &fills[0],
        &[
            ("mid", "100.5"),
            ("spread_capture_bps", "59.70149253"), // 0.6 of 100.5
            ("fee_bps", "2"),
            ("markout_1s_bps", "110.11011011"),  // 101 against 99.9
            ("markout_10s_bps", "210.21021021"), // 102
            ("markout_60s_bps", "410.41041041"), // 104
            ("markout_300s_bps", "410.41041041"),
        ],
    );
    // the second fill at 104.1: five minutes later than the journal goes
    check(&fills[1], &[("mid", "104"), ("spread_capture_bps", "9.61538461"), ("markout_300s_bps", "null")]);
    check(
        &journal.rows("r10", "summary")[0],
        &[
            ("orders", "3"),
            ("filled_orders", "2"),
            ("cancelled_unfilled", "1"),
            ("fees", "0.05079"),
            ("market_vwap", "100.4"),
            ("maker_tier_bps", "2"),
        ],
    );
}

#[test]
fn what_is_missing_is_said() {
    let has =
        |reasons: &[String], word: &str| assert!(reasons.iter().any(|why| why.contains(word)), "{word}: {reasons:?}");
    // killed
    let mut journal = trades();
    journal.close();
    has(&journal.report("r1")["r1"], "without a Stop record");
    // money moved that no flow explains
    let mut journal = trades();
    journal.wallet("1104.14921");
    journal.stop();
    let told = journal.report("r1,r6,r10");
    has(&told["r6"], "no flows: 100 USDT");
    has(&told["r1"], "totals do not reconcile");
    assert_eq!(told["r10"], Vec::<String>::new());
    // no mark of what is held
    let mut journal = Journal::new();
    journal.wallet("10");
    journal.fill(ClientId::NONE, Side::Buy, "1", "100", "0", "0", "0");
    journal.stop();
    has(&journal.report("r6")["r6"], "no mark price");
    // no wallet at all
    let mut journal = Journal::new();
    journal.stop();
    has(&journal.report("r6")["r6"], "no wallet");
    // another day
    let mut args = journal.args("r3", "out");
    args.date = Some("2026-11-23".to_owned());
    has(&report(&args, Wall::from_nanos(0)).unwrap()[0].incomplete, "no record of the range");
    // what nobody can have in this version
    let told = journal.report("r7,r9,r11,r4");
    has(&told["r9"], "no model registry");
    has(&told["r7"], "no document says");
    has(&told["r4"], "no document");
    has(&told["r11"], "compliance journal cannot be read");
}

#[test]
fn a_gap_is_named_and_nothing_is_made_up_for_it() {
    let mut journal = trades();
    for _ in 0..200 {
        journal.after(SECOND).mark("105");
    }
    journal.stop();
    assert_eq!(journal.report("r1")["r1"], Vec::<String>::new());
    let mut segments: Vec<PathBuf> = fs::read_dir(journal.dir()).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|ending| ending == "keel"));
    segments.sort();
    assert!(segments.len() > 3, "several segments");
    let (middle, kept) = (&segments[1], journal.home.path().join("kept"));
    fs::rename(middle, &kept).unwrap();
    let told = journal.report("r1,r13");
    assert!(told["r1"].iter().any(|why| why.contains("gap in the journal")), "{told:?}");
    assert!(told["r13"].iter().any(|why| why.contains("damaged")), "{told:?}");
    fs::rename(&kept, middle).unwrap();
    fs::remove_file(&segments[0]).unwrap();
    assert!(journal.report("r1")["r1"].iter().any(|why| why.contains("gap in the journal")));
}

#[test]
fn the_same_journal_gives_the_same_bytes() {
    let mut journal = trades();
    journal.put(&Command {
        author: Text::new(b"<b>,\"=x").unwrap(),
        kind: CommandKind::Shutdown,
        ..Command::default()
    });
    journal.stop();
    let read = |out: &str| {
        let args = journal.args("all", out);
        report(&args, Wall::from_nanos(0)).unwrap();
        let files = fs::read_dir(&args.out).unwrap().map(|entry| entry.unwrap().path());
        files.map(|path| (path.file_name().unwrap().to_owned(), fs::read(&path).unwrap())).collect::<BTreeMap<_, _>>()
    };
    let (one, other) = (read("one"), read("two"));
    assert_eq!(one, other);
    assert!(
        one.len() > 40
            && one
                .keys()
                .all(|name| !name.to_string_lossy().ends_with(".tmp") && !name.to_string_lossy().ends_with(".rows"))
    );
    let page = String::from_utf8(one[std::ffi::OsStr::new("r12.html")].clone()).unwrap();
    assert!(page.contains("&lt;b&gt;") && !page.contains("<b>,") && !page.contains("<script"), "escaped");
    // each file is what the manifest says
    let manifest: Value = serde_json::from_slice(&one[std::ffi::OsStr::new("manifest.json")]).unwrap();
    let reports = manifest["reports"].as_array().unwrap();
    assert_eq!(reports.len(), SPECS.len() - 1, "all but the restricted one");
    for file in reports.iter().flat_map(|report| report["files"].as_array().unwrap()) {
        let bytes = &one[std::ffi::OsStr::new(file["file"].as_str().unwrap())];
        assert_eq!(file["sha256"], json!(r4::sha256(bytes)));
    }
    assert_eq!(manifest["journals"][0]["first_seq"], json!(1));
}

#[test]
fn columns_are_told_apart_and_explained() {
    for spec in SPECS {
        assert!(spec.schema > 0 && !spec.tables.is_empty() && !spec.about.is_empty(), "{}", spec.code);
        for table in spec.tables {
            let names: std::collections::BTreeSet<&str> = table.columns.iter().map(|column| column.name).collect();
            assert_eq!(names.len(), table.columns.len(), "{} {}", spec.code, table.name);
            assert!(table.columns.iter().all(|column| !column.meaning.is_empty()), "{} {}", spec.code, table.name);
        }
    }
    assert!(super::names("r14").is_err() && super::names("").is_err());
    assert_eq!(super::names("daily").unwrap().chosen(false).len(), DAILY.len());
}

/// Days of one position: each is forecast at its midnight and judged at the next.
#[test]
fn days_are_forecast_and_judged() {
    let mut risk = r7::Risk::default();
    risk.push_days(&[(true, 10.0, -5), (true, 10.0, -11), (false, 10.0, -99), (true, 10.0, 3)]);
    let out = tempfile::tempdir().unwrap();
    let mut sheet = Sheet::new(r7::SPEC, out.path(), &[Format::Json]).unwrap();
    risk.judge(&mut sheet).unwrap();
    let heading = Heading { build: "test", from: String::new(), to: String::new(), journals: vec![] };
    sheet.finish(&heading).unwrap();
    let whole: Value = serde_json::from_str(&fs::read_to_string(out.path().join("r7.json")).unwrap()).unwrap();
    let row = whole["tables"]["backtest"]["rows"][0].as_object().unwrap().clone();
    check(&row, &[("days", "3"), ("exceptions", "1"), ("expected", "0.03"), ("status", "3 of 250 days")]);
}

fn soup() -> impl Strategy<Value = Vec<(usize, Vec<u8>, u64)>> {
    let kind = 0..keel_core::event::Kind::ALL.len();
    proptest::collection::vec((kind, proptest::collection::vec(any::<u8>(), 0..600), 0..400_000_000_000u64), 1..60)
}

fn of_entry(entry: &Entry<'_>) -> (usize, Vec<u8>) {
    let at = keel_core::event::Kind::ALL.iter().position(|kind| Some(*kind) == entry.kind).unwrap_or(0);
    (at, entry.payload.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Any bytes in any record, and sound records with any byte of them changed, end in reports, never in a panic.
    #[test]
    fn any_bytes_end_in_a_report(soup in soup(), spoilt in proptest::collection::vec((any::<usize>(), any::<usize>(), any::<u8>()), 0..40)) {
        let mut sound = trades();
        sound.close();
        let mut reader = Reader::open(sound.dir()).unwrap();
        let mut records = Vec::new();
        while let Some(entry) = reader.poll().unwrap() {
            records.push(of_entry(&entry));
        }
        for (record, byte, value) in spoilt {
            let at = record % records.len();
            let len = records[at].1.len().max(1);
            if let Some(byte) = records[at].1.get_mut(byte % len) {
                *byte = value;
            }
        }
        let mut journal = Journal::new();
        for (at, bytes) in records {
            journal.after(SECOND / 3).put(&Raw(keel_core::event::Kind::ALL[at], bytes));
        }
        for (at, bytes, later) in soup {
            journal.after(later).put(&Raw(keel_core::event::Kind::ALL[at], bytes));
        }
        journal.close();
        let told = journal.report("all");
        prop_assert_eq!(told.len(), SPECS.len() - 1);
        prop_assert!(!told["r1"].is_empty(), "no Stop record: never whole");
    }
}

//! Every shared capture against the oracle, and the table of what they hold.

use super::*;

/// Where the recordings are; `None`, said aloud, where they are not.
fn shared() -> Option<PathBuf> {
    let folder = std::env::var_os("KEEL_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("SKIPPED: recorded data not found ({})", folder.display());
    None
}

#[test]
fn every_capture_ends_in_the_state_the_oracle_expects() {
    let Some(shared) = shared() else { return };
    let oracle = std::fs::read(shared.join("expected_final_state.json")).unwrap();
    let oracle: BTreeMap<String, Map<String, Value>> = serde_json::from_slice(&oracle).unwrap();
    assert!(oracle.len() >= 7, "the oracle lost its files");
    for (file, expected) in oracle {
        let report = Report::of(&shared.join(&file)).unwrap();
        let found = report.to_json();
        for (key, value) in &expected {
            assert_eq!(&found[key], value, "{file}: {key}");
        }
        let ours =
            found.as_object().unwrap().keys().filter(|key| {
                key.starts_with("orderbook.") || key.starts_with("trades.") || key.starts_with("tickers.")
            });
        assert_eq!(ours.count(), expected.len() - 1, "{file}: nothing beyond the oracle");
        assert_eq!((report.unequal(), report.faults.len()), (0, 0), "{file}");
    }
}

/// file, frames, refused, through the general parser, gaps, other faults, final touch of the first book
type Row = (&'static str, u64, u64, u64, u64, u64, &'static str);

/// Every recording keel can open. Captures of other venues are refused frame by frame, each one counted.
const TABLE: [Row; 15] = [
    (
        "bybit_2021_v2/v5shape_linear_BCH_LTC_LINK_ADA.rx_ns.tsv.gz",
        1938,
        0,
        0,
        0,
        0,
        "1.3875 x 78351 | 1.3876 x 501, u 1000375",
    ),
    ("bybit_v5_private/moxt_order_position_wallet.jsonl", 3, 0, 3, 0, 0, "-"),
    ("bybit_v5_private/nexus_order_stream_part1.jsonl", 16, 0, 16, 0, 0, "-"),
    ("bybit_v5_private/nexus_position_part1.jsonl", 6, 0, 6, 0, 0, "-"),
    ("bybit_v5_private/rbot_testnet_2024_01.jsonl", 8, 0, 8, 0, 0, "-"),
    (
        "bybit_v5_public/linear_orderbook1_2023_2024.jsonl",
        7,
        0,
        0,
        1,
        0,
        "71217.2 x 50.143 | 71220.6 x 104.146, u 517699",
    ),
    (
        "bybit_v5_public/linear_orderbook500_XRPUSDT_head30.jsonl",
        30,
        0,
        0,
        0,
        0,
        "1.9535 x 3915 | 1.9536 x 7040, u 20254898",
    ),
    ("bybit_v5_public/linear_tickers_BTC_ETH_mainnet_head480.rx_ns.tsv", 480, 0, 0, 0, 0, "-"),
    (
        "bybit_v5_public/spot_mainnet_orderbook50_10.jsonl",
        10,
        0,
        0,
        0,
        0,
        "78715 x 1.278364 | 78715.1 x 0.0297, u 217107092",
    ),
    ("bybit_v5_public/spot_testnet_md_25s.jsonl", 43, 1, 7, 0, 0, "77140.5 x 0.236197 | 77140.6 x 0.324084, u 1980716"),
    ("bybit_v5_public/subscribe_refusals.jsonl", 5, 5, 0, 0, 0, "-"),
    ("bybit_v5_public/tardis_v5_messages_2023_2025.jsonl", 15, 0, 2, 0, 1, "no touch (Gap)"),
    ("tape_binance/depth_snapshots_top50_btc_spot_2026-02-16.jsonl.gz", 2559, 2559, 2559, 0, 0, "-"),
    ("tape_v5shape/BTCUSDT_2024-07-18.rx_ns.tsv.gz", 70852, 0, 0, 0, 0, "63865.2 x 0.04 | 63865.3 x 5.801, u 2052253"),
    (
        "tape_v5shape/ETHUSDT_2024-07-18.rx_ns.tsv.gz",
        69128,
        0,
        0,
        0,
        0,
        "3418.53 x 0.585 | 3418.54 x 149.967, u 2047310",
    ),
];

#[test]
fn the_table_of_captures_holds_and_is_complete() {
    let Some(shared) = shared() else { return };
    let mut seen = Vec::new();
    for folder in ["bybit_2021_v2", "bybit_v5_private", "bybit_v5_public", "tape_binance", "tape_v5shape"] {
        for file in std::fs::read_dir(shared.join(folder)).unwrap() {
            let path = file.unwrap().path();
            let name = format!("{folder}/{}", path.file_name().unwrap().to_string_lossy());
            match Report::of(&path) {
                Ok(report) => {
                    let other = report.faults.values().sum::<u64>() - report.gaps();
                    let touch = report.books.values().next().map_or_else(|| "-".to_owned(), Book::sentence);
                    let (frames, errors, general, gaps) =
                        (report.frames, report.errors(), report.general, report.gaps());
                    println!("{name:<66} {frames:>6} {errors:>5} {general:>5} {gaps:>3} {other:>3}  {touch}");
                    let row = TABLE.iter().find(|row| row.0 == name).unwrap_or_else(|| panic!("{name} is new"));
                    assert_eq!(
                        (frames, errors, general, gaps, other, touch.as_str()),
                        (row.1, row.2, row.3, row.4, row.5, row.6)
                    );
                    assert_eq!(report.unequal, 0, "{name}");
                    seen.push(name);
                }
                Err(why) => {
                    let why = why.to_string();
                    assert!(why.contains("not a tape") || why.contains("raw Binance capture"), "{why}");
                }
            }
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, TABLE.iter().map(|row| row.0).collect::<Vec<_>>());
}

#[test]
fn private_captures_give_orders_fills_positions_and_wallets() {
    let Some(shared) = shared() else { return };
    // file, order rows, orders, fills, position rows, wallet rows, rows left out (hedge mode, other account types)
    let rows: [(&str, [u64; 6]); 4] = [
        ("moxt_order_position_wallet.jsonl", [1, 1, 0, 0, 0, 3]),
        ("nexus_order_stream_part1.jsonl", [14, 11, 0, 0, 0, 0]),
        ("nexus_position_part1.jsonl", [0, 0, 0, 6, 0, 0]),
        ("rbot_testnet_2024_01.jsonl", [1, 1, 1, 0, 5, 0]),
    ];
    for (file, expected) in rows {
        let report = Report::of(&shared.join("bybit_v5_private").join(file)).unwrap();
        let found = report.to_json()["private"].clone();
        let at = |pointer: &str| found.pointer(pointer).and_then(Value::as_u64).unwrap();
        let counts = ["/orders/rows", "/orders/ids", "/fills/n", "/positions/rows", "/wallets/rows", "/rows_left_out"];
        assert_eq!(counts.map(at), expected, "{file}: {found}");
        match file {
            "nexus_order_stream_part1.jsonl" => {
                assert_eq!(found["orders"]["by_status"], json!({ "Cancelled": 3, "Filled": 8, "New": 3 }));
            }
            "rbot_testnet_2024_01.jsonl" => {
                assert_eq!(found["fills"], json!({ "n": 1, "qty": "0.001", "fees": "0.02285465" }));
                assert_eq!(found["wallets"]["last_usdt_equity"], "9588.79441911");
            }
            _ => {}
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_does_not_hide_the_others() {
    let folder = std::env::temp_dir().join(format!("keel-decode-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let good = folder.join("good.jsonl");
    std::fs::write(&good, "{\"op\":\"pong\"}\nnonsense}\n").unwrap();
    let report = Report::of(&good).unwrap();
    assert_eq!(report.to_json()["errors"], json!({ "not_json": 1 }));
    let why = run(&Args { files: vec![folder.join("none.jsonl"), good], json: true }).unwrap_err().to_string();
    assert!(why.contains("none.jsonl"), "{why}");
    std::fs::remove_dir_all(&folder).unwrap();
}

//! How fast, beside the floor: the same rows by psql's COPY into the same tables, in the same run.

use crate::history::journal;
use crate::loki::Loki;
use crate::postgres::Postgres;
use crate::ship::{TABLES, is_whole, once, shipped};
use std::time::{Duration, Instant};

/// A journal of a busy hour or so; a day's backlog is more of the same.
const RECORDS: u64 = 1_000_000;

/// Rounds, after one that warms: a server touches its memory and makes its log files once.
const ROUNDS: usize = 3;

#[test]
#[ignore = "a measurement: KEEL_BIN=target/release/keel cargo test -p keel-tests --test stores speed -- --ignored --nocapture"]
fn backlog_beside_a_bare_copy() {
    let Some(server) = Postgres::with(&["max_wal_size=8GB", "shared_buffers=512MB"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 70, RECORDS);
    let ship = || {
        server.sql("CHECKPOINT");
        let since = Instant::now();
        shipped(&once(dir.path(), &server.url(), &[]));
        since.elapsed()
    };
    ship();
    let rows = is_whole(dir.path(), &server, RECORDS + 4);
    let files = tempfile::tempdir().unwrap();
    let tables: Vec<&str> = TABLES.into_iter().chain(["span", "market"]).collect();
    let copy = |table: &str, way: &str, name: &str| {
        format!("\\copy {name} {way} '{}' (FORMAT binary)\n", files.path().join(table).display())
    };
    let psql = |script: String| {
        let file = files.path().join("script");
        std::fs::write(&file, script).unwrap();
        let done = server.psql(&["-f", file.to_str().unwrap()]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    psql(tables.iter().map(|table| copy(table, "TO", &format!("(SELECT * FROM keel.{table})"))).collect());
    // the same tables, partitions and triggers for both, empty: a day's are made once a day, whoever fills them
    let journal = server.sql("SELECT journal FROM keel.instance");
    let anew = || {
        server.sql("DROP SCHEMA keel CASCADE");
        server.migrate();
        server.sql(&format!("SELECT keel.enrol('{journal}', '{journal}')"));
        for table in &tables {
            server.sql(&format!("SELECT keel.partition('{table}', 1, DATE '2026-11-20')"));
        }
    };
    let bare = || {
        let script = tables.iter().map(|table| copy(table, "FROM", &format!("keel.{table}")));
        let script = format!("BEGIN;\n{}COMMIT;\n", script.collect::<String>());
        server.sql("CHECKPOINT");
        let since = Instant::now();
        psql(script);
        since.elapsed()
    };
    let rate = |time: Duration| rows as f64 / time.as_secs_f64();
    let mut rounds: Vec<(f64, f64)> = (0..ROUNDS)
        .map(|_| {
            anew();
            let floor = rate(bare());
            anew();
            (rate(ship()), floor)
        })
        .collect();
    rounds.sort_by(|one, other| (one.0 / one.1).total_cmp(&(other.0 / other.1)));
    let (ours, floor) = rounds[ROUNDS / 2];
    let ratio = |(ours, floor): &(f64, f64)| (1_000.0 * ours / floor).round() / 1_000.0;
    // one line of JSON, for programs that collect figures
    println!(
        "\n{}",
        serde_json::json!({ "measure": "ship_postgres", "records": RECORDS + 4, "rows": rows,
            "ship_rows_per_second": ours.round(), "copy_rows_per_second": floor.round(),
            "ratio": ratio(&(ours, floor)), "ratios": rounds.iter().map(ratio).collect::<Vec<_>>(),
            "records_per_second": ((RECORDS + 4) as f64 * ours / rows as f64).round() })
    );
}

#[test]
#[ignore = "a measurement: KEEL_BIN=target/release/keel cargo test -p keel-tests --test stores speed -- --ignored --nocapture"]
fn backlog_into_a_double_that_takes_everything() {
    let loki = Loki::start();
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 71, 300_000);
    let dir = dir.path().to_str().unwrap();
    let since = Instant::now();
    shipped(&crate::keel::keel(&["ship", "--once", "--loki", &loki.url(), dir]));
    let time = since.elapsed().as_secs_f64();
    let per_second = (loki.lines() as f64 / time).round();
    println!(
        "\n{}",
        serde_json::json!({ "measure": "ship_loki_double", "records": 300_004, "lines": loki.lines(),
            "lines_per_second": per_second })
    );
}

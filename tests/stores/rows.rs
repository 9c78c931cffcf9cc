//! What stands in the database, and who may do what to it.

use crate::history::{History, NOON, Raw, journal};
use crate::keel::{self, text};
use crate::postgres::Postgres;
use crate::ship::{begin, check, is_whole, once, records_shipped, shipped};
use keel_core::event::{Fill, Kind, Record};
use keel_core::ids::VenueId;
use std::path::Path;

/// Records of the journal by `keel tail`: another reader than the shipper's.
fn tailed(dir: &Path, kind: &str) -> Vec<serde_json::Value> {
    let output = keel::keel(&["tail", dir.to_str().unwrap(), "--kind", kind, "-o", "jsonl"]);
    let lines = text(&output.stdout);
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_record_is_one_row_and_shipping_again_adds_nothing() {
    let Some(server) = Postgres::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 1, 30_000);
    shipped(&once(dir.path(), &server.url(), &[]));
    let rows = is_whole(dir.path(), &server, 30_004);
    let before = server.sql("SELECT seq, hash, records, moved FROM keel.cursor");
    shipped(&once(dir.path(), &server.url(), &[]));
    assert_eq!(server.sql("SELECT seq, hash, records, moved FROM keel.cursor"), before);
    let fills = tailed(dir.path(), "fill");
    assert_eq!(server.number("SELECT count(*) FROM keel.fill"), fills.len() as u64);
    let sums = server.sql("SELECT sum(fee), min(px), max(exec), count(DISTINCT client) FROM keel.fill");
    assert!(!sums.is_empty() && rows > 9_000);
    println!("{rows} rows of 30004 records crossed; fills: {sums}");
}

#[test]
fn columns_say_what_keel_tail_says() {
    let Some(server) = Postgres::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 2, 3_000);
    shipped(&once(dir.path(), &server.url(), &[]));
    for kind in ["fill", "orderupdate", "wallet", "sent", "notsized", "difference", "start", "command"] {
        let table = match kind {
            "orderupdate" => "order_update",
            "notsized" => "not_sized",
            "start" => "run_start",
            other => other,
        };
        let told = tailed(dir.path(), kind);
        assert!(!told.is_empty(), "{kind}");
        let rows = server.sql(&format!("SELECT row_to_json(t) FROM keel.{table} t ORDER BY seq"));
        for (row, told) in rows.lines().zip(&told) {
            let row: serde_json::Value = serde_json::from_str(row).unwrap();
            assert_eq!(row["seq"], told["seq"], "{row} {told}");
            for (name, value) in told.as_object().unwrap() {
                let column =
                    if row.get(format!("fact_{name}")).is_some() { format!("fact_{name}") } else { name.clone() };
                let Some(have) = row.get(&column) else { continue };
                let same = match (have, value) {
                    // exact decimals are strings on the screen and numbers with eight digits in SQL
                    (serde_json::Value::Number(have), serde_json::Value::String(value)) => {
                        have.to_string().parse::<f64>().ok() == value.parse::<f64>().ok()
                            || value.contains('T')
                            || value.ends_with("USDT")
                    }
                    (serde_json::Value::Null, value) => value.is_null() || value == "-" || value == "" || value == 0,
                    _ => have == value,
                };
                assert!(
                    same || ["cause", "kind", "seq", "mono", "wall"].contains(&name.as_str()),
                    "{table}.{column}: {have} is not {value}"
                );
            }
        }
        assert_eq!(rows.lines().count(), told.len(), "{kind}");
    }
    // exactly, to the last digit
    assert_eq!(
        server.sql("SELECT DISTINCT equity, balance FROM keel.wallet"),
        "92233720368.54775807|-92233720368.54775807"
    );
    assert_eq!(server.sql("SELECT keel.symbol(instance, 1, 100) FROM keel.instance"), "ETHUSDT");
}

#[test]
fn records_no_table_can_take_are_kept_byte_for_byte_with_the_reason() {
    let Some(server) = Postgres::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path(), 3, NOON, 1_000_000);
    history.begin();
    history.many(500);
    let fill = Fill { exec: VenueId::new(b"abc").unwrap(), ..Fill::default() };
    let spoilt = |from: &[u8], to: &[u8]| {
        let mut bytes = fill.bytes().to_vec();
        let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
        bytes[at..at + to.len()].copy_from_slice(to);
        Raw(Kind::Fill, bytes)
    };
    let odd = [
        history.fact(&spoilt(b"abc", b"a\0c")),
        history.fact(&spoilt(b"abc", b"a\xffc")),
        history.fact(&Raw(Kind::Fill, vec![7; 20])),
        history.fact(&Raw(Kind::Wallet, vec![0xff; 4_000])),
        history.fact(&Raw(Kind::Approved, vec![1; 64])),
    ];
    history.many(500);
    history.close();
    shipped(&once(dir.path(), &server.url(), &[]));
    let kept = server.sql("SELECT seq || ' ' || reason FROM keel.quarantine ORDER BY seq");
    let want =
        ["exec holds a zero byte", "exec is not text", "do not fit the layout", "do not fit the layout", "do not fit"];
    assert_eq!(kept.lines().count(), want.len(), "{kept}");
    for ((line, seq), reason) in kept.lines().zip(odd).zip(want) {
        assert!(line.starts_with(&seq.to_string()) && line.contains(reason), "{line}");
    }
    assert_eq!(server.number("SELECT count(*) FROM keel.quarantine WHERE sha256('\\x00' || bytes) = hash"), 5);
    is_whole(dir.path(), &server, 1_009);
}

#[test]
fn a_record_the_server_refuses_goes_to_the_quarantine_alone() {
    let Some(server) = Postgres::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 4, 5_000);
    server.sql("ALTER TABLE keel.fill ADD CONSTRAINT odd CHECK (seq % 7 <> 0)");
    let output = once(dir.path(), &server.url(), &[]);
    shipped(&output);
    assert!(text(&output.stderr).contains("goes to the quarantine: 23514"), "{}", text(&output.stderr));
    let odd = tailed(dir.path(), "fill").iter().filter(|fill| fill["seq"].as_u64().unwrap() % 7 == 0).count();
    assert!(odd > 0);
    assert_eq!(server.number("SELECT count(*) FROM keel.quarantine WHERE reason LIKE '23514%'"), odd as u64);
    is_whole(dir.path(), &server, 5_004);
}

#[test]
fn several_instances_ship_into_one_database_and_do_not_meet() {
    let Some(server) = Postgres::start() else { return };
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    for (dir, seed) in dirs.iter().zip(10..) {
        journal(dir.path(), seed, 5_000);
    }
    let url = server.url();
    // each twice at once: the second shipper of an instance finds the cursor moved, and adds nothing
    let children: Vec<_> = dirs
        .iter()
        .flat_map(|dir| [dir, dir])
        .map(|dir| begin(dir.path(), &url, &["--once", "--batch", "200", "--give-up", "60"]))
        .collect();
    for child in children {
        shipped(&keel::finish(child));
    }
    assert_eq!(server.number("SELECT count(*) FROM keel.instance"), 3);
    for dir in &dirs {
        let found = check(dir.path(), &server);
        assert_eq!((&found["right"], &found["last"]), (&true.into(), &5_004.into()), "{found}");
    }
    assert_eq!(server.number("SELECT sum(records) FROM keel.cursor"), 3 * 5_004);
}

#[test]
fn a_name_stands_for_one_journal() {
    let Some(server) = Postgres::start() else { return };
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    journal(one.path(), 1, 100);
    journal(other.path(), 2, 100);
    shipped(&once(one.path(), &server.url(), &["--instance", "node-1"]));
    for (dir, name, words) in [(&other, "node-1", "is the name of journal"), (&one, "node-2", "is shipped as node-1")] {
        let output = once(dir.path(), &server.url(), &["--instance", name]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
    }
    assert_eq!(server.number("SELECT count(*) FROM keel.span"), 1);
}

#[test]
fn the_role_that_ships_can_add_and_nothing_else() {
    let Some(server) = Postgres::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 5, 2_000);
    shipped(&once(dir.path(), &server.url(), &[]));
    let as_shipper = |statement: &str| {
        let output = server.psql(&["-c", &format!("SET ROLE shipper; {statement}")]).output().unwrap();
        (output.status.success(), text(&output.stderr))
    };
    for statement in [
        "UPDATE keel.fill SET px = 0",
        "DELETE FROM keel.fill",
        "TRUNCATE keel.fill",
        "DELETE FROM keel.cursor",
        "DROP TABLE keel.fill",
        "INSERT INTO keel.migration (version) VALUES (9)",
        "UPDATE keel.instance SET name = 'x'",
        "CREATE TABLE keel.mine (n int)",
        "ALTER TABLE keel.fill DISABLE TRIGGER ALL",
        "UPDATE keel.cursor SET seq = 1",
    ] {
        let (done, said) = as_shipper(statement);
        assert!(
            !done && (said.contains("denied") || said.contains("owner") || said.contains("forward")),
            "{statement}: {said}"
        );
    }
    // and the owner of the data is stopped as well, until triggers are taken off on purpose
    for statement in ["UPDATE keel.fill SET px = 0", "DELETE FROM keel.wallet", "TRUNCATE keel.fill"] {
        let output = server.psql(&["-c", statement]).output().unwrap();
        assert!(text(&output.stderr).contains("only ever added to"), "{statement}: {}", text(&output.stderr));
    }
    let partition = server.sql("SELECT relname FROM pg_class WHERE relname LIKE 'fill_2%' AND relkind = 'r' LIMIT 1");
    let output = server.psql(&["-c", &format!("TRUNCATE keel.{partition}")]).output().unwrap();
    assert!(text(&output.stderr).contains("only ever added to"), "{}", text(&output.stderr));
    assert!(records_shipped(&server) > 600);
}

#[test]
fn what_someone_changed_removed_or_added_is_named_and_gaps_are_filled() {
    let Some(server) = Postgres::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 6, 20_000);
    shipped(&once(dir.path(), &server.url(), &["--batch", "1000"]));
    let rows = is_whole(dir.path(), &server, 20_004);
    let tamper = |statement: &str| server.sql(&format!("SET session_replication_role = replica; {statement}"));
    tamper("DELETE FROM keel.fill WHERE seq IN (SELECT seq FROM keel.fill ORDER BY seq LIMIT 7)");
    tamper("DELETE FROM keel.span WHERE seq = (SELECT seq FROM keel.span ORDER BY seq LIMIT 1)");
    tamper("DELETE FROM keel.market WHERE seq = (SELECT max(seq) FROM keel.market)");
    let found = check(dir.path(), &server);
    assert_eq!((&found["right"], found["missing"] == found["repaired"]), (&true.into(), true), "{found}");
    assert!(found["missing"].as_u64() >= Some(9), "{found}");
    assert_eq!(is_whole(dir.path(), &server, 20_004), rows);
    tamper("UPDATE keel.decision SET px = px + 0.00000001 WHERE seq = (SELECT min(seq) FROM keel.decision)");
    let found = check(dir.path(), &server);
    assert_eq!((&found["right"], &found["changed"], &found["extra"]), (&false.into(), &1.into(), &0.into()), "{found}");
    tamper("UPDATE keel.decision SET px = px - 0.00000001 WHERE seq = (SELECT min(seq) FROM keel.decision)");
    is_whole(dir.path(), &server, 20_004);
    let market = tailed(dir.path(), "trade")[5]["seq"].as_u64().unwrap();
    for (change, words) in [
        (format!("seq = {market}"), "nothing explains it"),
        ("day = day + 1".to_owned(), "under a day that is not theirs"),
    ] {
        tamper(&format!(
            "CREATE TEMP TABLE t AS SELECT * FROM keel.fill ORDER BY seq LIMIT 1; UPDATE t SET {change};
             SELECT keel.partition('fill', instance, day) FROM t; INSERT INTO keel.fill SELECT * FROM t"
        ));
        let found = check(dir.path(), &server);
        assert_eq!((&found["right"], &found["extra"]), (&false.into(), &1.into()), "{found}");
        assert!(found["named"].to_string().contains(words), "{found}");
        tamper(&format!("DELETE FROM keel.fill WHERE seq = {market} OR day <> DATE '2026-11-20'"));
    }
    is_whole(dir.path(), &server, 20_004);
}

//! Stores that are away for hours, slow, cut off, moved to another host, or too strict: what the journal held meanwhile
//! crosses afterwards, once, and the alarms say when it began and when it was over.

use crate::history::{History, NOON, journal};
use crate::keel::{finish, start, text};
use crate::loki::{Loki, get};
use crate::postgres::{Postgres, free_port};
use crate::proxy::Proxy;
use crate::ship::{check, following, is_whole, once, shipped};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const HOUR: u64 = 3_600_000_000_000;

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let since = Instant::now();
    while !done() {
        assert!(since.elapsed() < Duration::from_secs(120), "{what} does not happen");
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// Lines in Loki, after asking whether all of them are those of the journal.
pub fn lines_are_whole(dir: &Path, url: &str, records: u64) -> u64 {
    let place = dir.to_str().unwrap();
    let output = finish(start(&["ship", "--loki", url, "--check", "--json", place]));
    let told = text(&output.stdout);
    let found: serde_json::Value =
        serde_json::from_str(told.trim()).unwrap_or_else(|_| panic!("{told}{}", text(&output.stderr)));
    let zeros = ["missing", "changed", "extra"].map(|name| found[name].as_u64().unwrap());
    assert_eq!((zeros, found["last"].as_u64()), ([0; 3], Some(records)), "{found}");
    found["rows"].as_u64().unwrap() - found["quarantined"].as_u64().unwrap()
}

#[test]
fn both_stores_are_away_for_nine_hours_and_the_backlog_drains() {
    let Some(mut server) = Postgres::start() else { return };
    let loki = Loki::start();
    let dir = tempfile::tempdir().unwrap();
    // a record every two seconds of the journal's clock
    let mut history = History::open(dir.path(), 80, NOON, 2_000_000_000);
    history.begin();
    history.many(2_000);
    history.settle();
    let (port, log) = (free_port(), dir.path().join("log"));
    let (postgres, lines, http) = (server.url(), loki.url(), format!("127.0.0.1:{port}"));
    let place = dir.path().to_str().unwrap();
    let args = ["ship", place, "--postgres", &postgres, "--loki", &lines, "--longest-pause", "1", "--http", &http];
    let child = following(&[&args[..], &["--behind", "60"]].concat(), &log);
    let page = || get(port, "/metrics");
    let says = |line: &str| page().lines().any(|each| each == line);
    let every = |name: &str, value: u64| {
        ["postgres", "loki"].iter().all(|store| says(&format!("keel_ship_{name}{{store=\"{store}\"}} {value}")))
    };
    let alarm = |name: &str, value: u64| {
        let row = |store: &&str| says(&format!("keel_ship_alarm{{store=\"{store}\",alarm=\"{name}\"}} {value}"));
        ["postgres", "loki"].iter().all(row)
    };
    wait_for("the page", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    wait_for("the first part", || every("cursor", 2_003));
    server.stop();
    // a connection that stands is answered with 503, a new one not at all
    loki.fail(503, u64::MAX);
    loki.knobs.closed.store(true, Ordering::Relaxed);
    // nine hours of the journal, in three parts, while nobody takes them
    for _ in 0..3 {
        history.many(3 * 1_800);
        history.settle();
    }
    wait_for("the alarms", || alarm("unreachable", 1) && alarm("behind", 1));
    assert!(every("cursor", 2_003) && every("lag_records", 3 * 3 * 1_800), "{}", page());
    assert!(get(port, "/healthz").starts_with("HTTP/1.1 503"));
    server.begin();
    loki.fail(0, 0);
    loki.knobs.closed.store(false, Ordering::Relaxed);
    history.close();
    let records = 3 + 2_000 + 16_200 + 1;
    wait_for("the end", || every("cursor", records) && every("lag_records", 0));
    wait_for("the all-clear", || alarm("unreachable", 0) && alarm("behind", 0));
    assert!(get(port, "/healthz").starts_with("HTTP/1.1 200"));
    let said = child.end();
    for store in ["postgres", "loki"] {
        for what in ["raised", "cleared"] {
            assert!(said.contains(&format!("alarm {what}: {store} unreachable")), "{said}");
        }
    }
    let (rows, lines) = (is_whole(dir.path(), &server, records), lines_are_whole(dir.path(), &loki.url(), records));
    assert_eq!(loki.lines(), lines);
    // in order, so that no line of it was late for its stream
    assert!(loki.store.lock().unwrap().streams.keys().all(|labels| !labels.contains("backfill")));
    println!("{rows} rows and {lines} lines of {records} records crossed; 16200 of them waited for nine hours");
}

#[test]
fn a_gap_that_is_filled_hours_or_days_later_goes_into_the_stream_of_its_day() {
    let loki = Loki::start();
    let dir = tempfile::tempdir().unwrap();
    // nine days in all, and some of the first day's lines are lost
    let mut history = History::open(dir.path(), 81, NOON, 9 * 24 * HOUR / 3_000);
    history.begin();
    history.many(3_000);
    history.close();
    let place = dir.path().to_str().unwrap();
    shipped(&finish(start(&["ship", "--once", "--loki", &loki.url(), place])));
    let all = loki.lines();
    let mut lost = 0;
    for stream in loki.store.lock().unwrap().streams.values_mut() {
        let before = stream.len();
        let mut at = 0;
        stream.retain(|_| {
            at += 1;
            !(2..12).contains(&at)
        });
        lost += before - stream.len();
    }
    let output = finish(start(&["ship", "--loki", &loki.url(), "--check", "--json", place]));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["right"], &found["missing"], &found["repaired"]), (&true.into(), &lost.into(), &lost.into()));
    assert_eq!((loki.lines(), lines_are_whole(dir.path(), &loki.url(), 3_004)), (all, all));
    let days =
        loki.store.lock().unwrap().streams.keys().filter(|labels| labels.contains("backfill=\"2026-11-2")).count();
    assert!(days > 0);
    println!("{all} lines crossed; {lost} were lost and stand in {days} streams of their days");
}

#[test]
fn a_line_to_loki_that_is_cut_at_random_bytes_and_slow() {
    let loki = Loki::start();
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 82, 20_000);
    let proxy = Proxy::to(loki.port);
    let url = format!("http://127.0.0.1:{}", proxy.port);
    let place = dir.path().to_str().unwrap();
    let mut luck = std::process::id().wrapping_mul(2_654_435_761) | 1;
    let mut roll = |sides: u32| {
        luck ^= luck << 13;
        luck ^= luck >> 17;
        luck ^= luck << 5;
        u64::from(luck % sides)
    };
    proxy.cut_after(1 + roll(2_000));
    let args = ["ship", "--once", "--loki", &url, "--longest-pause", "1", "--give-up", "100", "--patience", "5", place];
    let mut child = start(&args);
    let since = Instant::now();
    while child.try_wait().unwrap().is_none() {
        let cuts = proxy.cuts();
        proxy.cut_after(if cuts >= 25 { 0 } else { 1 + roll(if cuts.is_multiple_of(3) { 2_000 } else { 150_000 }) });
        // the last part of it slowly
        proxy.knobs.rate.store(if cuts >= 25 { 2 << 20 } else { 0 }, Ordering::Relaxed);
        assert!(since.elapsed() < Duration::from_secs(110));
        std::thread::sleep(Duration::from_millis(5));
    }
    let cuts = proxy.cuts();
    shipped(&finish(child));
    let lines = lines_are_whole(dir.path(), &url, 20_004);
    assert_eq!(loki.lines(), lines);
    assert!(cuts >= 8, "only {cuts} cuts");
    let again = loki.knobs.again.load(Ordering::Relaxed);
    println!("{lines} lines of 20004 records crossed; {cuts} cuts, {again} lines came twice and stand once");
}

#[test]
fn an_address_of_two_hosts_finds_the_one_that_answers() {
    let Some(mut first) = Postgres::start() else { return };
    let Some(second) = Postgres::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path(), 83, NOON, 1_000_000);
    history.begin();
    history.many(4_000);
    history.settle();
    let (one, two) = (first.port, second.port);
    let url = format!("postgres://shipper:correct%20horse@127.0.0.1:{one},127.0.0.1:{two}/postgres?sslmode=disable");
    shipped(&once(dir.path(), &url, &[]));
    assert_eq!(first.number("SELECT seq FROM keel.cursor"), 4_003);
    first.kill();
    history.close();
    // the other one has nothing yet: it gets everything, and the first one nothing twice when it is back
    shipped(&once(dir.path(), &url, &[]));
    let rows = is_whole(dir.path(), &second, 4_004);
    first.begin();
    shipped(&once(dir.path(), &url, &[]));
    assert_eq!(is_whole(dir.path(), &first, 4_004), rows);
    println!("{rows} rows of 4004 records stand in each of the two");
}

#[test]
fn a_clock_that_goes_backwards_loses_and_mixes_nothing() {
    let Some(server) = Postgres::start() else { return };
    let loki = Loki::start();
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().to_str().unwrap();
    let mut from = NOON;
    // three runs, each an hour before the one before it: the journal's stamps go on growing by a nanosecond
    for run in 0..3 {
        let mut history = History::open(dir.path(), 84 + run, from, 1_000_000);
        history.begin();
        history.many(1_500);
        history.close();
        from -= HOUR;
    }
    let records = 3 * 1_504;
    shipped(&once(dir.path(), &server.url(), &[]));
    shipped(&finish(start(&["ship", "--once", "--loki", &loki.url(), place])));
    let (rows, lines) = (is_whole(dir.path(), &server, records), lines_are_whole(dir.path(), &loki.url(), records));
    let walls = server.sql("SELECT count(*) = count(DISTINCT wall_ns), min(wall_ns) FROM keel.fill");
    assert!(walls.starts_with("t|1795176"), "{walls}");
    println!("{rows} rows and {lines} lines of {records} records crossed under a clock that went back twice");
}

#[test]
fn lines_older_than_the_server_takes_are_kept_with_the_reason() {
    let loki = Loki::start();
    let dir = tempfile::tempdir().unwrap();
    // the first third of it is too old for this server
    let mut history = History::open(dir.path(), 88, NOON, 1_000_000_000);
    history.begin();
    history.many(600);
    history.close();
    loki.knobs.oldest.store(NOON + 200_000_000_000, Ordering::Relaxed);
    let place = dir.path().to_str().unwrap();
    let output = finish(start(&["ship", "--once", "--loki", &loki.url(), place]));
    shipped(&output);
    let kept = std::fs::read_to_string(dir.path().join("ship/loki-quarantine.jsonl")).unwrap_or_default();
    assert!(kept.lines().count() > 20 && kept.lines().all(|line| line.contains("timestamp too old")), "{kept}");
    let found = finish(start(&["ship", "--loki", &loki.url(), "--check", "--json", place]));
    let found: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    let quarantined = found["quarantined"].as_u64().unwrap();
    assert_eq!((&found["right"], quarantined), (&true.into(), kept.lines().count() as u64), "{found}");
    assert_eq!(loki.lines() + quarantined, found["rows"].as_u64().unwrap(), "none is lost");
    println!("{} lines crossed, {quarantined} were too old and are kept with the reason", loki.lines());
}

#[test]
fn both_stores_hold_nothing_of_the_compliance_journal() {
    use keel_core::event::{Alert, Gravity, Rule};
    use keel_core::ids::Text;
    use keel_core::units::{Now, Wall};
    const UID: &str = "uid-4711-secret";
    const ADDRESS: &str = "bc1qsecretsecretsecret";
    let Some(server) = Postgres::start() else { return };
    let loki = Loki::start();
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path(), 89, NOON, 1_000_000);
    history.begin();
    history.many(3_000);
    history.settle();
    let mut stream = keel_tools::compliance::stream::Stream::open(dir.path()).unwrap();
    let now = Now { wall: Wall::from_nanos(NOON), ..Now::default() };
    let (subject, key) = (Text::new(UID.as_bytes()).unwrap(), Text::new(ADDRESS.as_bytes()).unwrap());
    for rule in [Rule::Spoofing, Rule::Sanctioned] {
        let alert = Alert { at: now.wall, rule, gravity: Gravity::Block, subject, key, ..Alert::default() };
        stream.append(now, &alert).unwrap();
    }
    stream.finish().unwrap();
    let place = dir.path().to_str().unwrap();
    let mut told = String::new();
    let mut hear = |output: std::process::Output| {
        assert!(output.status.success(), "{}", text(&output.stderr));
        told += &(text(&output.stdout) + &text(&output.stderr));
    };
    let keys = tempfile::tempdir().unwrap();
    let path = |name: &str| keys.path().join(name).to_str().unwrap().to_owned();
    let made = crate::keel::keel(&["keys", "new", "--name", "ann", "--out", &path("ann")]);
    let person = format!("ann=analyst={}", text(&made.stdout).split('"').nth(1).unwrap());
    let cases = |args: &[&str]| crate::keel::keel(&[&["cases", "--data-dir", place][..], args].concat());
    hear(cases(&["roles", "--propose", &path("roles"), "--person", &person]));
    hear(cases(&["roles", "--adopt", &path("roles")]));
    hear(cases(&["triage"]));
    hear(cases(&["assign", "1", "ann", "--reason", "mine", "--key", &path("ann")]));
    hear(cases(&["list", "--key", &path("ann")]));
    // the shipper at work on the trading journal beside it, with its page and its words
    let (port, log) = (free_port(), keys.path().join("log"));
    let (postgres, lines, http) = (server.url(), loki.url(), format!("127.0.0.1:{port}"));
    let args = ["ship", place, "--postgres", &postgres, "--loki", &lines, "--http", &http];
    let child = following(&args, &log);
    wait_for("the page", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    wait_for("the lines", || get(port, "/metrics").contains("keel_ship_cursor{store=\"loki\"} 3003"));
    wait_for("the rows", || get(port, "/metrics").contains("keel_ship_cursor{store=\"postgres\"} 3003"));
    told += &(get(port, "/metrics") + &get(port, "/healthz"));
    told += &child.end();
    history.close();
    // and on the compliance journal itself it says no
    let inner = dir.path().join("compliance");
    for store in [["--postgres", postgres.as_str()], ["--loki", lines.as_str()]] {
        let output = finish(start(&["ship", "--once", store[0], store[1], inner.to_str().unwrap()]));
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("it is never shipped"), "{}", text(&output.stderr));
        told += &text(&output.stderr);
    }
    let mut dump = server.program("pg_dump");
    dump.args(["-U", "owner", "-d", "postgres", "-p", &server.port.to_string(), "-h"]).arg(server.sockets());
    let dump = dump.output().unwrap();
    assert!(dump.status.success() && dump.stdout.len() > 100_000, "{}", text(&dump.stderr));
    told += &text(&dump.stdout);
    for (labels, entries) in &loki.store.lock().unwrap().streams {
        told += labels;
        entries.iter().for_each(|(_, line, metadata)| told += &format!("{line}{metadata:?}"));
    }
    assert!(loki.lines() > 500 && told.len() > 500_000);
    for word in [UID, ADDRESS, "Spoofing", "Sanctioned"] {
        assert!(!told.contains(word), "{word} got out");
    }
    // it is there, for those who hold a role
    assert!(text(&cases(&["show", "1", "--key", &path("ann")]).stdout).contains(UID));
    assert_eq!(check(dir.path(), &server)["right"], true);
}

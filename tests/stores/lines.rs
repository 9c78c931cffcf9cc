//! Lines in Loki: the double first, and a real server where `KEEL_LOKI` names one.

use crate::history::{History, NOON, journal};
use crate::keel::{finish, start, text};
use crate::loki::{Door, Loki, certificate, get};
use crate::postgres::free_port;
use crate::ship::{Following, following};
use std::path::Path;
use std::process::{Child, Output};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

fn begin(dir: &Path, url: &str, more: &[&str]) -> Child {
    let dir = dir.to_str().unwrap();
    start(&[&["ship", "--loki", url, "--longest-pause", "1", dir], more].concat())
}

fn once(dir: &Path, url: &str, more: &[&str]) -> Output {
    finish(begin(dir, url, &[&["--once"], more].concat()))
}

fn shipped(output: &Output) {
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

fn check(dir: &Path, url: &str, more: &[&str]) -> serde_json::Value {
    let output = finish(begin(dir, url, &[&["--check", "--json"], more].concat()));
    let told = text(&output.stdout);
    serde_json::from_str(told.trim()).unwrap_or_else(|_| panic!("{told}{}", text(&output.stderr)))
}

/// Every line is there once; gives their number.
fn is_whole(dir: &Path, url: &str, records: u64) -> u64 {
    let found = check(dir, url, &[]);
    let zeros = ["missing", "changed", "extra"].map(|name| found[name].as_u64().unwrap());
    assert_eq!((zeros, found["last"].as_u64()), ([0; 3], Some(records)), "{found}");
    found["rows"].as_u64().unwrap() - found["quarantined"].as_u64().unwrap()
}

fn follow(dir: &Path, url: &str, log: &Path, more: &[&str]) -> Following {
    following(&[&["ship", "--loki", url, dir.to_str().unwrap(), "--longest-pause", "1"], more].concat(), log)
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let since = Instant::now();
    while !done() {
        assert!(since.elapsed() < Duration::from_secs(60), "{what} does not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn every_record_is_one_line_in_few_streams() {
    let loki = Loki::start();
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 40, 20_000);
    shipped(&once(dir.path(), &loki.url(), &["--instance", "node-1"]));
    let lines = check(dir.path(), &loki.url(), &["--instance", "node-1"])["rows"].as_u64().unwrap();
    assert_eq!(loki.lines(), lines);
    shipped(&once(dir.path(), &loki.url(), &["--instance", "node-1"]));
    assert_eq!((loki.lines(), loki.knobs.again.load(Ordering::Relaxed)), (lines, 0));
    let store = loki.store.lock().unwrap();
    assert!(store.streams.len() <= 5, "{:?}", store.streams.keys());
    let mut fills = store.streams.values().flatten().filter(|(_, line, _)| line.contains("\"is\":\"Fill\""));
    let (_, line, metadata) = fills.next_back().unwrap();
    assert!(line.contains("\"instrument\":\"BTCUSDT\"") || line.contains("\"instrument\":\"ETHUSDT\""), "{line}");
    assert!(metadata.iter().any(|(name, _)| name == "seq"), "{metadata:?}");
    println!("{lines} lines of 20004 records crossed");
}

#[test]
fn a_cursor_that_was_lost_sends_everything_again_and_adds_nothing() {
    let loki = Loki::start();
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 41, 5_000);
    shipped(&once(dir.path(), &loki.url(), &[]));
    let lines = loki.lines();
    std::fs::remove_dir_all(dir.path().join("ship")).unwrap();
    shipped(&once(dir.path(), &loki.url(), &[]));
    assert_eq!((loki.lines(), loki.knobs.again.load(Ordering::Relaxed)), (lines, lines));
    assert_eq!(is_whole(dir.path(), &loki.url(), 5_004), lines);
}

#[test]
fn cut_refused_and_restarted_twenty_times_in_the_middle_of_a_batch() {
    let loki = Loki::start();
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path(), 42, NOON, 1_000_000);
    history.begin();
    history.many(20_000);
    history.settle();
    let log = dir.path().join("log");
    let child = follow(dir.path(), &loki.url(), &log, &["--patience", "2"]);
    for round in 0..24u64 {
        history.many(1_000);
        history.settle();
        let before = loki.knobs.cuts.load(Ordering::Relaxed);
        match round % 6 {
            5 => loki.fail([500, 503, 429, 502][usize::try_from(round / 6).unwrap()], 3),
            4 => {
                loki.knobs.hang.store(true, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2_500));
                loki.knobs.hang.store(false, Ordering::Relaxed);
            }
            way => {
                loki.knobs.cut.store(way % 3 + 1, Ordering::Relaxed);
                let since = Instant::now();
                while loki.knobs.cuts.load(Ordering::Relaxed) == before && since.elapsed() < Duration::from_secs(2) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                loki.knobs.cut.store(0, Ordering::Relaxed);
            }
        }
    }
    history.close();
    let records = 3 + 44_000 + 1;
    wait_for("the end", || {
        let file = std::fs::read_dir(dir.path().join("ship"))
            .into_iter()
            .flatten()
            .flatten()
            .find(|entry| entry.path().extension().is_some_and(|end| end == "json"));
        file.and_then(|file| std::fs::read_to_string(file.path()).ok())
            .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
            .is_some_and(|saved| saved["seq"] == records)
    });
    let said = child.end();
    assert!(
        said.contains("alarm raised: loki unreachable") && said.contains("alarm cleared: loki unreachable"),
        "{said}"
    );
    let (again, cuts) = (loki.knobs.again.load(Ordering::Relaxed), loki.knobs.cuts.load(Ordering::Relaxed));
    assert!(cuts >= 8, "{cuts}");
    let lines = is_whole(dir.path(), &loki.url(), records);
    assert_eq!(loki.lines(), lines);
    println!(
        "{lines} lines of {records} records crossed; {cuts} connections were cut, {again} lines came twice and stand once"
    );
}

#[test]
fn a_batch_larger_than_the_burst_is_halved_until_it_passes() {
    let loki = Loki::start();
    loki.knobs.burst.store(130, Ordering::Relaxed);
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 43, 3_000);
    shipped(&once(dir.path(), &loki.url(), &[]));
    assert_eq!(loki.lines(), is_whole(dir.path(), &loki.url(), 3_004));
}

#[test]
fn what_loki_will_not_have_is_kept_in_a_file_with_the_reason() {
    let loki = Loki::start();
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 44, 2_000);
    let odd = (700..730).flat_map(|seq| [format!("\"record\":{seq},"), format!("\"record\":{seq}}}")]);
    loki.knobs.odd.lock().unwrap().extend(odd);
    let output = once(dir.path(), &loki.url(), &[]);
    shipped(&output);
    let kept = std::fs::read_to_string(dir.path().join("ship/loki-quarantine.jsonl")).unwrap_or_default();
    let said = text(&output.stderr);
    let refused = said.matches("goes to the quarantine: 400: this server does not like it").count();
    assert_eq!(kept.lines().count(), refused, "{kept}");
    assert!(refused >= 1, "{said}");
    let found = check(dir.path(), &loki.url(), &[]);
    assert_eq!((&found["right"], found["quarantined"].as_u64()), (&true.into(), Some(refused as u64)), "{found}");
    // lines of 8 kB are too long for this one
    let loki = Loki::start();
    loki.knobs.max_line.store(450, Ordering::Relaxed);
    let output = once(dir.path(), &loki.url(), &["--state", dir.path().join("other").to_str().unwrap()]);
    shipped(&output);
    assert!(text(&output.stderr).contains("max entry size exceeded"));
}

#[test]
fn lines_that_were_lost_are_sent_again_late_ones_into_their_own_stream() {
    let loki = Loki::start();
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path(), 45, NOON, 4_000_000_000);
    history.begin();
    history.many(4_000);
    history.close();
    shipped(&once(dir.path(), &loki.url(), &[]));
    let lines = loki.lines();
    let mut lost = 0;
    for stream in loki.store.lock().unwrap().streams.values_mut() {
        let before = stream.len();
        let mut at = 0;
        stream.retain(|_| {
            at += 1;
            !(10..40).contains(&at)
        });
        lost += before - stream.len();
    }
    let found = check(dir.path(), &loki.url(), &[]);
    assert_eq!((&found["right"], &found["missing"]), (&true.into(), &lost.into()), "{found}");
    assert_eq!(loki.lines(), lines);
    assert!(loki.store.lock().unwrap().streams.keys().any(|labels| labels.contains("backfill=\"2026-11-20\"")));
    is_whole(dir.path(), &loki.url(), 4_004);
}

#[test]
fn tenant_password_and_certificate_are_asked_for_and_their_lack_is_named() {
    let (tls, authority) = certificate();
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 46, 500);
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (ca, secret, wrong) = (file("ca.pem", &authority), file("secret", "open sesame\n"), file("wrong", "x"));
    let other = file("other.pem", &certificate().1);
    let door =
        Door { tenant: Some("desk"), authorization: Some("Basic YWRhOm9wZW4gc2VzYW1l"), tls: Some(tls), version: None };
    let loki = Loki::behind(door);
    let url = format!("https://127.0.0.1:{}", loki.port);
    for (args, words) in [
        (
            vec!["--loki-ca", &other, "--loki-tenant", "desk", "--loki-user", "ada", "--loki-secret", &secret],
            "certificate",
        ),
        (vec!["--loki-ca", &ca, "--loki-user", "ada", "--loki-secret", &secret], "no org id"),
        (vec!["--loki-ca", &ca, "--loki-tenant", "desk", "--loki-user", "ada", "--loki-secret", &wrong], "who are you"),
    ] {
        let output = once(dir.path(), &url, &args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(text(&output.stderr).contains(words), "{args:?}: {}", text(&output.stderr));
    }
    let args = ["--loki-ca", &ca, "--loki-tenant", "desk", "--loki-user", "ada", "--loki-secret", &secret];
    shipped(&once(dir.path(), &url, &args));
    assert_eq!(check(dir.path(), &url, &args)["right"], true);
    // and a password never goes over a line anyone can read
    let output = once(dir.path(), "http://loki.example:3100", &["--loki-user", "ada", "--loki-secret", &secret]);
    assert!(text(&output.stderr).contains("https"), "{}", text(&output.stderr));
}

#[test]
fn an_older_server_gets_no_metadata() {
    let loki = Loki::behind(Door { version: Some("2.8.4"), ..Door::default() });
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 47, 500);
    shipped(&once(dir.path(), &loki.url(), &[]));
    assert!(loki.store.lock().unwrap().streams.values().flatten().all(|(_, _, metadata)| metadata.is_empty()));
    is_whole(dir.path(), &loki.url(), 504);
}

#[test]
fn lag_and_alarms_are_there_for_a_scrape() {
    let loki = Loki::start();
    loki.fail(503, u64::MAX);
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 48, 3_000);
    let port = free_port();
    let log = dir.path().join("log");
    let child = follow(dir.path(), &loki.url(), &log, &["--http", &format!("127.0.0.1:{port}"), "--behind", "1"]);
    wait_for("the page", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    wait_for("the alarm", || get(port, "/metrics").contains("keel_ship_alarm{store=\"loki\",alarm=\"unreachable\"} 1"));
    assert!(get(port, "/healthz").starts_with("HTTP/1.1 503"));
    loki.fail(0, 0);
    wait_for("the end", || get(port, "/metrics").contains("keel_ship_lag_records{store=\"loki\"} 0"));
    wait_for("the all-clear", || get(port, "/healthz").starts_with("HTTP/1.1 200"));
    let page = get(port, "/metrics");
    assert!(page.contains("keel_ship_cursor{store=\"loki\"} 3004"), "{page}");
    assert!(page.contains("keel_ship_oldest_unshipped_seconds{store=\"loki\"} 0"), "{page}");
    child.end();
}

/// What a server of either kind must do, ours or theirs: everything once, again after a lost cursor, while it is written,
/// and over a line that is cut at random bytes.
fn suite(url: &str) {
    let dir = tempfile::tempdir().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let from = u64::try_from(now.as_nanos()).unwrap() - 1_500_000_000_000;
    let mut history = History::open(dir.path(), 49, from, 40_000_000);
    history.begin();
    history.many(20_000);
    history.settle();
    let log = dir.path().join("log");
    let child = follow(dir.path(), url, &log, &[]);
    history.many(2_000);
    history.settle();
    let records = 3 + 22_000 + 1;
    history.close();
    child.end();
    shipped(&once(dir.path(), url, &["--give-up", "120"]));
    let lines = is_whole(dir.path(), url, records);
    std::fs::remove_dir_all(dir.path().join("ship")).unwrap();
    shipped(&once(dir.path(), url, &["--give-up", "120"]));
    assert_eq!(is_whole(dir.path(), url, records), lines);
    let local = url.strip_prefix("http://127.0.0.1:").and_then(|port| port.trim_end_matches('/').parse().ok());
    let Some(port) = local else {
        println!("SKIPPED: {url} is not on this machine, so its line is not cut");
        return;
    };
    let proxy = crate::proxy::Proxy::to(port);
    proxy.cut_after(20_000);
    std::fs::remove_dir_all(dir.path().join("ship")).unwrap();
    let cut = format!("http://127.0.0.1:{}", proxy.port);
    let mut child = begin(dir.path(), &cut, &["--once", "--give-up", "100"]);
    while child.try_wait().unwrap().is_none() {
        proxy.cut_after(if proxy.cuts() >= 10 { 0 } else { 1 + (proxy.cuts() * 7_919) % 90_000 });
        std::thread::sleep(Duration::from_millis(5));
    }
    shipped(&finish(child));
    // a cursor belongs to an address
    assert_eq!(is_whole(dir.path(), &cut, records), lines);
    println!(
        "{lines} lines of {records} records crossed into {url} three times, over {} cuts, and stand there once",
        proxy.cuts()
    );
}

#[test]
fn the_double_takes_what_a_server_must_take() {
    suite(&Loki::start().url());
}

#[test]
fn loki_itself_takes_every_line() {
    let Ok(url) = std::env::var("KEEL_LOKI") else {
        eprintln!("SKIPPED: no Loki given (tests/real-loki ADDRESS)");
        return;
    };
    suite(&url);
}

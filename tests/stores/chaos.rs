//! A database that is killed, stopped, full, slow, cut off and replaced by an older copy of itself, while a journal is
//! being written and shipped. In the end every record stands there once.

use crate::history::{History, NOON, journal};
use crate::keel::{finish, signal, text};
use crate::postgres::{Postgres, give};
use crate::proxy::Proxy;
use crate::ship::{begin, follow, is_whole, once, shipped};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long an outage may take to be over, all in all.
const PATIENCE: Duration = Duration::from_secs(90);

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let since = Instant::now();
    while !done() {
        assert!(since.elapsed() < PATIENCE, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A number that changes from run to run: where exactly things break must not matter.
fn luck(sides: u64) -> u64 {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
    u64::from(nanos / 7) % sides
}

/// Is a COPY of the shipper under way?
fn is_copying(server: &Postgres) -> bool {
    let asked = server
        .psql(&["-c", "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY keel.%' AND state = 'active'"]);
    let output = { asked }.output().unwrap();
    text(&output.stdout).trim().parse::<u64>().is_ok_and(|count| count > 0)
}

#[test]
fn killed_in_the_middle_of_a_copy_twenty_times() {
    let Some(mut server) = Postgres::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path(), 20, NOON, 1_000_000);
    history.begin();
    history.many(60_000);
    let proxy = Proxy::to(server.port);
    let url = server.url_at(proxy.port);
    let log = dir.path().join("log");
    let child = follow(dir.path(), &url, &log, &["--batch", "4000", "--patience", "10"]);
    let (mut kills, mut in_copy) = (0, 0);
    while kills < 20 {
        // slowly, so that a COPY can be met half way
        proxy.knobs.rate.store(6 << 20, Ordering::Relaxed);
        history.many(6_000);
        history.settle();
        let since = Instant::now();
        let mut met = false;
        while since.elapsed() < Duration::from_secs(2) && !met {
            met = is_copying(&server);
        }
        std::thread::sleep(Duration::from_micros(luck(8_000)));
        in_copy += u32::from(met);
        server.kill();
        kills += 1;
        server.begin();
    }
    proxy.knobs.rate.store(0, Ordering::Relaxed);
    history.close();
    let records = 3 + 60_000 + 20 * 6_000 + 1;
    wait_for("the end", || server.number("SELECT coalesce(max(seq), 0) FROM keel.cursor") == records);
    let said = child.end();
    assert!(
        said.contains("alarm raised: postgres unreachable") && said.contains("alarm cleared: postgres unreachable"),
        "{said}"
    );
    assert!(in_copy >= 10, "only {in_copy} of {kills} kills met a COPY");
    let rows = is_whole(dir.path(), &server, records);
    println!(
        "{rows} rows of {records} records crossed; the server was killed {kills} times, {in_copy} times within a COPY"
    );
}

#[test]
fn cut_at_random_bytes() {
    let Some(server) = Postgres::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 21, 60_000);
    let proxy = Proxy::to(server.port);
    let url = server.url_at(proxy.port);
    proxy.cut_after(1 + luck(4_000));
    let mut child = begin(dir.path(), &url, &["--once", "--batch", "1500", "--give-up", "80"]);
    let since = Instant::now();
    while child.try_wait().unwrap().is_none() {
        // from the first bytes of the greeting to a few batches in
        proxy.cut_after(1 + luck(if proxy.cuts().is_multiple_of(3) { 4_000 } else { 900_000 }));
        if proxy.cuts() >= 30 {
            proxy.cut_after(0);
        }
        assert!(since.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
    let cuts = proxy.cuts();
    shipped(&finish(child));
    let rows = is_whole(dir.path(), &server, 60_004);
    assert!(cuts >= 8, "only {cuts} cuts");
    println!("{rows} rows of 60004 records crossed; the connection was cut {cuts} times");
}

#[test]
fn stopped_is_noticed_and_what_it_finishes_later_counts_once() {
    let Some(server) = Postgres::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path(), 22, NOON, 1_000_000);
    history.begin();
    history.many(30_000);
    history.settle();
    let log = dir.path().join("log");
    let child = follow(dir.path(), &server.url(), &log, &["--batch", "500", "--patience", "2"]);
    for _ in 0..3 {
        wait_for("a COPY", || {
            is_copying(&server) || server.number("SELECT coalesce(max(seq), 0) FROM keel.cursor") > 0
        });
        std::thread::sleep(Duration::from_micros(luck(30_000)));
        server.pause();
        history.many(5_000);
        history.settle();
        std::thread::sleep(Duration::from_millis(4_000));
        let said = child.said();
        assert!(said.contains("no answer within 2 s") || said.contains("unreachable"), "{said}");
        server.resume();
    }
    history.close();
    let records = 3 + 30_000 + 15_000 + 1;
    wait_for("the end", || server.number("SELECT coalesce(max(seq), 0) FROM keel.cursor") == records);
    let said = child.end();
    assert!(said.contains("alarm cleared: postgres unreachable"), "{said}");
    let rows = is_whole(dir.path(), &server, records);
    println!("{rows} rows of {records} records crossed; the server was stopped 3 times for 4 s");
}

#[test]
fn a_full_disk_holds_things_up_until_there_is_room() {
    let Some(server) = Postgres::start() else { return };
    let small = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=24m,mode=0777", "none"])
        .arg(small.path())
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        eprintln!("SKIPPED: this user may not mount a small file system");
        return;
    }
    let unmount = Unmount(small.path().to_path_buf());
    let (space, ballast) = (small.path().join("space"), small.path().join("ballast"));
    std::fs::create_dir(&space).unwrap();
    give(&space);
    std::fs::write(&ballast, vec![1; 18 << 20]).unwrap();
    server.sql(&format!("CREATE TABLESPACE small LOCATION '{}'", space.display()));
    server
        .sql("GRANT CREATE ON TABLESPACE small TO keel_owner; ALTER DATABASE postgres SET default_tablespace = small");
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 23, 50_000);
    let log = dir.path().join("log");
    let child = follow(dir.path(), &server.url(), &log, &["--batch", "5000"]);
    wait_for("the alarm", || child.said().contains("alarm raised: postgres full: 53100"));
    let stuck = server.number("SELECT coalesce(max(seq), 0) FROM keel.cursor");
    assert!(stuck < 50_004);
    std::fs::remove_file(&ballast).unwrap();
    wait_for("the end", || server.number("SELECT coalesce(max(seq), 0) FROM keel.cursor") == 50_004);
    let said = child.end();
    assert!(said.contains("alarm cleared: postgres full"), "{said}");
    let rows = is_whole(dir.path(), &server, 50_004);
    println!("{rows} rows of 50004 records crossed; the disk was full at record {stuck}");
    drop(server);
    drop(unmount);
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn an_older_copy_that_takes_over_is_brought_up_to_date() {
    let Some(mut server) = Postgres::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path(), 24, NOON, 1_000_000);
    history.begin();
    history.many(10_000);
    history.settle();
    let log = dir.path().join("log");
    let child = follow(dir.path(), &server.url(), &log, &["--batch", "1000", "--patience", "5"]);
    wait_for("the first part", || server.number("SELECT coalesce(max(seq), 0) FROM keel.cursor") == 10_003);
    server.stop();
    let copy = server.sockets().join("copy");
    assert!(Command::new("cp").arg("-a").arg(server.data()).arg(&copy).status().unwrap().success());
    server.begin();
    history.many(10_000);
    history.settle();
    wait_for("the second part", || server.number("SELECT coalesce(max(seq), 0) FROM keel.cursor") == 20_003);
    server.kill();
    // the copy never saw the second part
    std::fs::rename(server.data(), server.sockets().join("lost")).unwrap();
    std::fs::rename(&copy, server.data()).unwrap();
    server.begin();
    history.close();
    wait_for("the end", || server.number("SELECT coalesce(max(seq), 0) FROM keel.cursor") == 20_004);
    child.end();
    let rows = is_whole(dir.path(), &server, 20_004);
    println!("{rows} rows of 20004 records stand in the copy that took over");
}

#[test]
fn the_shipper_itself_may_be_killed_at_any_moment() {
    let Some(server) = Postgres::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 25, 40_000);
    let mut kills = 0;
    loop {
        let mut child = begin(dir.path(), &server.url(), &["--once", "--batch", "700"]);
        std::thread::sleep(Duration::from_millis(40 + luck(200)));
        if child.try_wait().unwrap().is_some() || kills == 15 {
            shipped(&finish(child));
            break;
        }
        signal(&child, "KILL");
        child.wait().unwrap();
        kills += 1;
    }
    let rows = is_whole(dir.path(), &server, 40_004);
    println!("{rows} rows of 40004 records crossed; the shipper was killed {kills} times");
}

#[test]
fn a_slow_line_takes_smaller_batches_and_gets_there() {
    let Some(server) = Postgres::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 26, 12_000);
    let proxy = Proxy::to(server.port);
    proxy.knobs.rate.store(700 << 10, Ordering::Relaxed);
    let url = server.url_at(proxy.port);
    shipped(&once(dir.path(), &url, &["--patience", "2", "--give-up", "60"]));
    let rows = is_whole(dir.path(), &server, 12_004);
    println!("{rows} rows of 12004 records crossed at 700 kB/s, with a patience of 2 s");
}

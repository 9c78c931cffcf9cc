//! Measurements that need keel as a process: run by hand, in release; each says what it saw and holds its promise.

use crate::keel::command;
use crate::kill::venue::Venue;
use keel_core::event::{Kind, Reconciliation, Start, read};
use keel_core::units::Mono;
use keel_journal::Reader;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Open orders the account holds.
const ORDERS: usize = 500;
/// The promise.
const WITHIN: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;

/// From the moment the private stream stands until the account was read and compared, by the journal's own clock.
fn reconciliation(dir: &Path) -> Option<(Duration, u32)> {
    let mut reader = Reader::open(dir).ok()?;
    let (mut began, mut ended) = (None::<Mono>, None);
    while let Some(entry) = reader.poll().ok()? {
        match entry.kind {
            Some(Kind::Start) => _ = read::<Start>(entry.payload).map(|_| (began, ended) = (None, None)),
            Some(Kind::Reconciliation) => {
                let mark: Reconciliation = read(entry.payload)?;
                match (mark.complete.is_set(), ended) {
                    (false, None) => began = Some(mark.at),
                    (true, None) => ended = began.map(|at| (Duration::from_nanos(mark.at.since(at)), mark.orders)),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    ended
}

/// `cargo test --release -p keel-tests -- measured:: --ignored --nocapture`
#[test]
#[ignore = "a measurement, run by hand in release"]
fn five_hundred_open_orders_are_read_and_compared_within_two_seconds() {
    let scratch = tempfile::tempdir().unwrap();
    let venue = Venue::start(scratch.path(), &["BTCUSDT", "ETHUSDT"], 1);
    for (symbol, px, qty) in [("BTCUSDT", "60000", "0.001"), ("ETHUSDT", "3000", "0.01")] {
        for batch in 0..ORDERS / 2 / 10 {
            let rows: Vec<String> = (0..10)
                .map(|n| {
                    let link = format!("m-{symbol}-{batch}-{n}");
                    format!(
                        r#"{{"symbol":"{symbol}","side":"Buy","orderType":"Limit","timeInForce":"GTC","price":"{px}","qty":"{qty}","orderLinkId":"{link}"}}"#
                    )
                })
                .collect();
            venue.post("/v5/order/create-batch", &format!(r#"{{"category":"linear","request":[{}]}}"#, rows.join(",")));
        }
    }
    assert_eq!(venue.open_orders().len(), ORDERS);
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let dir = scratch.path().join(format!("round-{round}"));
        std::fs::create_dir(&dir).unwrap();
        let config = venue.config(&dir, "");
        let mut node = command(&["run", "--config", config.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let since = Instant::now();
        let found = loop {
            if let Some(found) = reconciliation(&dir.join("journal")) {
                break found;
            }
            assert!(since.elapsed() < Duration::from_secs(30), "the account was not read");
            std::thread::sleep(Duration::from_millis(20));
        };
        node.kill().unwrap();
        node.wait().unwrap();
        assert_eq!(found.1 as usize, ORDERS, "every order was read");
        times.push(found.0);
    }
    times.sort_unstable();
    println!(
        "{ORDERS} open orders read and compared: {:?} at best, {:?} in the middle, {:?} at worst of {ROUNDS}",
        times[0],
        times[ROUNDS / 2],
        times[ROUNDS - 1]
    );
    assert!(times[ROUNDS - 1] < WITHIN, "{times:?}");
    venue.end();
}

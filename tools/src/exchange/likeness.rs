//! How much the generated market is like a real one: the same statistics of both, side by side.

use super::*;
use crate::tape::Tape;
use keel_core::units::{Px, Qty, Wall};
use keel_gateway::sim::{Channel, Exchange, Input, Output};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// What is compared. Counts a second, levels, coins, ticks.
#[derive(Debug)]
struct Likeness {
    books_a_second: f64,
    levels_p50: f64,
    levels_p90: f64,
    prints_a_second: f64,
    /// Variance over mean of prints in 100 ms: 1 without clustering.
    clustering: f64,
    print_p50: f64,
    print_p99: f64,
    print_mean: f64,
    spread_p50: f64,
    spread_p99: f64,
}

#[derive(Default)]
struct Count {
    span: Option<(u64, u64)>,
    books: u64,
    levels: Vec<f64>,
    prints: BTreeMap<u64, u64>,
    sizes: Vec<f64>,
    spreads: Vec<f64>,
    bids: BTreeMap<Px, Qty>,
    asks: BTreeMap<Px, Qty>,
}

impl Count {
    fn frame(&mut self, at_ns: u64, frame: &[u8]) {
        let Ok(json) = serde_json::from_slice::<Value>(frame) else { return };
        let topic = json["topic"].as_str().unwrap_or("");
        self.span = Some((self.span.map_or(at_ns, |(from, _)| from), at_ns));
        if topic.starts_with("orderbook.50.") {
            self.book(&json);
        } else if topic.starts_with("publicTrade.") {
            for row in json["data"].as_array().into_iter().flatten() {
                *self.prints.entry(at_ns / 100_000_000).or_default() += 1;
                self.sizes.push(row["v"].as_str().and_then(|v| v.parse().ok()).unwrap_or(0.0));
            }
        }
    }

    fn book(&mut self, json: &Value) {
        let mut changed = 0;
        if json["type"] == "snapshot" {
            self.bids.clear();
            self.asks.clear();
        }
        for (side, levels) in [("b", &mut self.bids), ("a", &mut self.asks)] {
            for row in json["data"][side].as_array().into_iter().flatten() {
                let (px, qty) = (row[0].as_str().unwrap_or(""), row[1].as_str().unwrap_or(""));
                let (px, qty) = (Px::parse(px.as_bytes()).unwrap(), Qty::parse(qty.as_bytes()).unwrap());
                changed += 1;
                if qty.is_zero() {
                    levels.remove(&px)
                } else {
                    levels.insert(px, qty)
                };
            }
        }
        if json["type"] == "delta" {
            self.books += 1;
            self.levels.push(f64::from(changed));
        }
        let (bid, ask) = (self.bids.last_key_value().unwrap().0, self.asks.first_key_value().unwrap().0);
        self.spreads.push((*ask - *bid).to_f64());
    }

    #[allow(clippy::cast_precision_loss, reason = "statistics")]
    fn result(mut self, tick: f64) -> Likeness {
        let (from, to) = self.span.unwrap();
        let seconds = (to - from) as f64 / 1e9;
        let bins = (to - from) / 100_000_000;
        let counts: Vec<f64> =
            (0..bins).map(|n| self.prints.get(&(from / 100_000_000 + n)).copied().unwrap_or(0) as f64).collect();
        let mean = counts.iter().sum::<f64>() / bins as f64;
        let variance = counts.iter().map(|c| (c - mean) * (c - mean)).sum::<f64>() / bins as f64;
        let print_mean = self.sizes.iter().sum::<f64>() / self.sizes.len() as f64;
        let mut at = |of: fn(&mut Self) -> &mut Vec<f64>, q: f64| {
            let values = of(&mut self);
            values.sort_by(f64::total_cmp);
            values[((values.len() - 1) as f64 * q) as usize]
        };
        Likeness {
            levels_p50: at(|c| &mut c.levels, 0.5),
            levels_p90: at(|c| &mut c.levels, 0.9),
            print_p50: at(|c| &mut c.sizes, 0.5),
            print_p99: at(|c| &mut c.sizes, 0.99),
            spread_p50: at(|c| &mut c.spreads, 0.5) / tick,
            spread_p99: at(|c| &mut c.spreads, 0.99) / tick,
            books_a_second: self.books as f64 / seconds,
            prints_a_second: counts.iter().sum::<f64>() / seconds,
            clustering: variance / mean,
            print_mean,
        }
    }
}

fn generated(seed: u64, seconds: u64) -> Likeness {
    let start = Wall::from_millis(1_900_000_000_000);
    let mut ex = Exchange::new(venue(&["BTCUSDT".to_owned()], &[]).unwrap(), seed);
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    ex.handle(start, Input::Connect { conn: 1, channel: Channel::Public, query: "", ip });
    let subscribe = br#"{"op":"subscribe","args":["orderbook.50.BTCUSDT","publicTrade.BTCUSDT"]}"#;
    ex.handle(start, Input::Frame { conn: 1, bytes: subscribe });
    let mut count = Count::default();
    let end = start.after(seconds * 1_000_000_000);
    let mut now = start;
    while now <= end {
        while let Some(output) = ex.poll() {
            if let Output::Send { bytes, .. } = output {
                count.frame(now.nanos(), &bytes);
            }
        }
        now = ex.deadline().unwrap().max(now);
        // A socket that never speaks is closed after ten minutes.
        if now.since(start) % 60_000_000_000 < 30_000_000 {
            ex.handle(now, Input::Frame { conn: 1, bytes: br#"{"op":"ping"}"# });
        }
        ex.handle(now, Input::Timer);
    }
    count.result(0.1)
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the place of the recordings stands in the environment")]
fn the_generated_market_is_like_the_recorded_one() {
    let ours = generated(5, 470);
    let root = std::env::var("KEEL_SHARED").unwrap_or_else(|_| "../../shared/data".to_owned());
    let path = PathBuf::from(root).join("tape_v5shape/BTCUSDT_2024-07-18.rx_ns.tsv.gz");
    if !path.exists() {
        println!("SKIPPED: recorded data not found ({})", path.display());
        return;
    }
    let mut tape = Tape::open(&path).unwrap();
    let mut count = Count::default();
    while let Some(frame) = tape.next_frame().unwrap() {
        count.frame(frame.recv_ns.unwrap(), frame.json);
    }
    let real = count.result(0.1);
    let rows = [
        ("book deltas a second", real.books_a_second, ours.books_a_second),
        ("levels a delta, p50", real.levels_p50, ours.levels_p50),
        ("levels a delta, p90", real.levels_p90, ours.levels_p90),
        ("prints a second", real.prints_a_second, ours.prints_a_second),
        ("clustering of prints", real.clustering, ours.clustering),
        ("print p50, BTC", real.print_p50, ours.print_p50),
        ("print p99, BTC", real.print_p99, ours.print_p99),
        ("print mean, BTC", real.print_mean, ours.print_mean),
        ("spread p50, ticks", real.spread_p50, ours.spread_p50),
        ("spread p99, ticks", real.spread_p99, ours.spread_p99),
    ];
    println!("{:24} {:>10} {:>10}", "", "recorded", "generated");
    for (name, real, ours) in rows {
        println!("{name:24} {real:>10.3} {ours:>10.3}");
    }
    for (name, real, ours) in rows {
        assert!(ours > real / 2.0 && ours < real * 2.0, "{name}: recorded {real}, generated {ours}");
    }
}

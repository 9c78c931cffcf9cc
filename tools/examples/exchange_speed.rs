//! What the exchange costs, so that it is never what a benchmark measures. Run by hand:
//! `cargo run --release -p keel-tools --example exchange_speed -- TAPE...`.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot unwrap has failed")]

use hdrhistogram::Histogram;
use keel_core::units::Wall;
use keel_gateway::sim::{AccountConfig, Channel, Config, Exchange, Input, Output};
use keel_tools::exchange::{Lockstep, Market, Options, Pace, spawn, venue};
use keel_tools::node::clock::{Stopwatch, system_wall};
use keel_tools::tape::Tape;
use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tungstenite::{Message, client};

const IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn main() {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    order_to_ack_in_process();
    if paths.is_empty() {
        println!("name tapes to measure what is published");
        return;
    }
    book_updates_published_in_process(&paths);
    frames_over_a_loopback_socket(&paths);
    lockstep_over_a_loopback_socket(&paths);
}

/// HMAC-SHA256 by its definition.
fn sign(secret: &str, text: &str) -> String {
    let mut key = [0u8; 64];
    key[..secret.len()].copy_from_slice(secret.as_bytes());
    let pad = |byte: u8| key.map(|k| k ^ byte);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    let outer = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
    outer.iter().map(|b| format!("{b:02x}")).collect()
}

fn frames(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let mut tape = Tape::open(path).unwrap();
    let mut all = Vec::new();
    while let Some(frame) = tape.next_frame().unwrap() {
        all.push((frame.recv_ns.unwrap_or(0), frame.json.to_vec()));
    }
    all
}

fn authed(venue: Config, now: Wall) -> Exchange {
    let mut ex = Exchange::new(venue, 1);
    let expires = now.millis() + 5_000;
    let tag = sign("demo-secret", &format!("GET/realtime{expires}"));
    for (conn, channel) in [(1, Channel::Public), (2, Channel::Private), (3, Channel::Trade)] {
        ex.handle(now, Input::Connect { conn, channel, query: "", ip: IP });
        let text = match channel {
            Channel::Public => {
                r#"{"op":"subscribe","args":["orderbook.50.BTCUSDT","orderbook.1.BTCUSDT","publicTrade.BTCUSDT","orderbook.50.ETHUSDT"]}"#
                    .to_owned()
            }
            _ => format!(r#"{{"op":"auth","args":["demo-key",{expires},"{tag}"]}}"#),
        };
        ex.handle(now, Input::Frame { conn, bytes: text.as_bytes() });
    }
    let streams = br#"{"op":"subscribe","args":["order","execution","position","wallet"]}"#;
    ex.handle(now, Input::Frame { conn: 2, bytes: streams });
    while ex.poll().is_some() {}
    ex
}

fn book_updates_published_in_process(paths: &[PathBuf]) {
    let watch = Stopwatch::new();
    let names = ["BTCUSDT".to_owned(), "ETHUSDT".to_owned()];
    for path in paths {
        let tape = frames(path);
        let mut ex = authed(venue(&names, &names).unwrap(), Wall::from_nanos(tape[0].0));
        let (start, mut sent, mut bytes) = (watch.ticks(), 0u64, 0usize);
        for (at, frame) in &tape {
            ex.handle(Wall::from_nanos(*at), Input::Tape { frame });
            while let Some(output) = ex.poll() {
                if let Output::Send { bytes: b, .. } = output {
                    sent += 1;
                    bytes += b.len();
                }
            }
        }
        let nanos = watch.nanos(start, watch.ticks()).max(1);
        let rate = u128::from(sent) * 1_000_000_000 / u128::from(nanos);
        let cost = nanos / tape.len() as u64;
        println!(
            "{}: {} taped, {sent} published ({bytes} B), {cost} ns a frame, {rate} frames/s",
            path.display(),
            tape.len()
        );
    }
}

fn order_to_ack_in_process() {
    let watch = Stopwatch::new();
    let tape_only = venue(&["BTCUSDT".to_owned()], &["BTCUSDT".to_owned()]).unwrap();
    let mut now = system_wall();
    let mut account = AccountConfig::demo();
    account.order_limit = u32::MAX;
    let mut ex = authed(Config { accounts: vec![account], ..tape_only }, now);
    let book = br#"{"topic":"orderbook.50.BTCUSDT","type":"snapshot","ts":1,"data":{"s":"BTCUSDT","b":[["60000.00","9"]],"a":[["60000.10","9"]],"u":2,"seq":2},"cts":1}"#;
    ex.handle(now, Input::Tape { frame: book });
    let mut latency = Histogram::<u64>::new(3).unwrap();
    for n in 0..50_000u32 {
        now = now.after(2_000_000);
        let ms = now.millis();
        let create = format!(
            r#"{{"reqId":"c{n}","header":{{"X-BAPI-TIMESTAMP":"{ms}"}},"op":"order.create","args":[{{"category":"linear","symbol":"BTCUSDT","side":"Buy","orderType":"Limit","qty":"0.010","price":"59990.00","timeInForce":"PostOnly","orderLinkId":"k{n}"}}]}}"#
        );
        let cancel = format!(
            r#"{{"reqId":"d{n}","header":{{"X-BAPI-TIMESTAMP":"{ms}"}},"op":"order.cancel","args":[{{"category":"linear","symbol":"BTCUSDT","orderLinkId":"k{n}"}}]}}"#
        );
        for (request, counted) in [(create, true), (cancel, false)] {
            let start = watch.ticks();
            ex.handle(now, Input::Frame { conn: 3, bytes: request.as_bytes() });
            let first = ex.poll();
            let nanos = watch.nanos(start, watch.ticks());
            let Some(Output::Send { conn: 3, bytes }) = first else { panic!("no ack: {first:?}") };
            assert!(bytes.windows(11).any(|w| w == b"\"retCode\":0"), "{}", String::from_utf8_lossy(&bytes));
            while ex.poll().is_some() {}
            if counted {
                latency.record(nanos).unwrap();
            }
        }
    }
    let at = |q: f64| latency.value_at_quantile(q);
    println!("order to ack, all private streams on: p50 {} ns, p99 {} ns, p99.9 {} ns", at(0.5), at(0.99), at(0.999));
}

fn frames_over_a_loopback_socket(paths: &[PathBuf]) {
    let market = Market::tapes(paths).unwrap();
    let names = market.symbols();
    let options = Options { venue: venue(&names, &names).unwrap(), hold: true, spin: true, ..Options::default() };
    let running = spawn(options, market, Pace::Max).unwrap();
    let tcp = TcpStream::connect(running.address).unwrap();
    let (mut socket, _) = client(format!("ws://{}/v5/public/linear", running.address), tcp).unwrap();
    let topics = r#"{"op":"subscribe","args":["orderbook.50.BTCUSDT","orderbook.1.BTCUSDT","publicTrade.BTCUSDT","orderbook.50.ETHUSDT","orderbook.1.ETHUSDT","publicTrade.ETHUSDT"]}"#;
    socket.send(Message::text(topics)).unwrap();
    socket.read().unwrap();
    let watch = Stopwatch::new();
    running.release();
    let (start, mut got) = (watch.ticks(), 0u64);
    while got < 139_000 && socket.read().is_ok() {
        got += 1;
    }
    let nanos = watch.nanos(start, watch.ticks()).max(1);
    println!(
        "{got} frames over one plain loopback socket: {} frames/s",
        u128::from(got) * 1_000_000_000 / u128::from(nanos)
    );
    running.join().unwrap();
}

#[derive(Default)]
struct Reader(AtomicU64);

impl Lockstep for Reader {
    fn now_is(&self, _: u64) {}

    fn quiescent(&self, frames_sent: u64, frames_received: u64) -> bool {
        frames_received == 1 && self.0.load(Ordering::Acquire) == frames_sent
    }
}

fn lockstep_over_a_loopback_socket(paths: &[PathBuf]) {
    let market = Market::tapes(paths).unwrap();
    let names = market.symbols();
    let options = Options { venue: venue(&names, &names).unwrap(), hold: true, ..Options::default() };
    let step = Arc::new(Reader::default());
    let running = spawn(options, market, Pace::Lockstep(step.clone())).unwrap();
    let tcp = TcpStream::connect(running.address).unwrap();
    let (mut socket, _) = client(format!("ws://{}/v5/public/linear", running.address), tcp).unwrap();
    let topics = r#"{"op":"subscribe","args":["orderbook.50.BTCUSDT","publicTrade.BTCUSDT","orderbook.50.ETHUSDT","publicTrade.ETHUSDT"]}"#;
    socket.send(Message::text(topics)).unwrap();
    socket.read().unwrap();
    step.0.fetch_add(1, Ordering::AcqRel);
    let watch = Stopwatch::new();
    running.release();
    socket.get_mut().set_nonblocking(true).unwrap();
    let (start, mut got) = (watch.ticks(), 0u64);
    while !running.ended() {
        if socket.read().is_ok() {
            got += 1;
            step.0.fetch_add(1, Ordering::AcqRel);
        }
    }
    let nanos = watch.nanos(start, watch.ticks()).max(1);
    let rate = u128::from(got) * 1_000_000_000 / u128::from(nanos);
    println!("{got} frames one at a time in lockstep: {rate} frames/s");
    running.join().unwrap();
}

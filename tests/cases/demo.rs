//! `keel demo` from outside: it trades, it repeats itself, it ends when told.

use crate::keel::{finish, json, keel, shared, signal, start, text};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

fn demo(dir: &std::path::Path, more: &[&str]) -> Value {
    let mut args = vec!["demo", "--json", "--data-dir", dir.to_str().unwrap()];
    args.extend(more);
    json(&keel(&args))
}

fn outcome(run: &Value) -> [&Value; 6] {
    ["orders_sha256", "orders", "fills", "position", "pnl_usdt", "fees_usdt"].map(|key| &run[key])
}

#[test]
fn two_runs_with_one_seed_ask_for_the_same_orders_on_whatever_threads() {
    let dir = tempfile::tempdir().unwrap();
    let base = ["--speed", "max", "--seconds", "60", "--seed", "7"];
    let with = |name: &str, more: &[&str]| demo(&dir.path().join(name), &[&base, more].concat());
    let (first, second) = (with("a", &[]), with("b", &[]));
    assert_eq!(outcome(&first), outcome(&second));
    assert!(first["orders"].as_u64() > Some(10) && first["fills"].as_u64() > Some(5), "{first}");
    let spread = with("c", &["--plan", "feed | engine | orders | journal+http"]);
    assert_eq!(outcome(&first), outcome(&spread), "threads are a plan, not an architecture");
    let other = demo(&dir.path().join("d"), &["--speed", "max", "--seconds", "60", "--seed", "8"]);
    assert_ne!(first["orders_sha256"], other["orders_sha256"], "luck comes from the seed");
}

#[test]
fn the_summary_holds_what_it_promises() {
    let dir = tempfile::tempdir().unwrap();
    let run = demo(&dir.path().join("j"), &["--speed", "max", "--seconds", "30"]);
    for key in ["messages", "orders", "fills", "position", "pnl_usdt", "fees_usdt", "latency_ns", "journal", "seed"] {
        assert!(!run[key].is_null(), "{key} is missing from {run}");
    }
    for hop in ["decode", "queue", "decide", "absorb", "journal", "handoff", "encode", "send", "wire_to_wire"] {
        for key in ["p50", "p90", "p99", "p999", "max", "count"] {
            assert!(run["latency_ns"][hop][key].is_u64(), "{hop}.{key} is missing");
        }
    }
    assert_eq!(run["position"].as_object().map(serde_json::Map::len), Some(2));
    assert_eq!(run["journal"]["verified"], true);
    assert_eq!(run["open_orders"], 0, "it cancels what it placed");
    assert_eq!(run["unrecorded"], 0);
    assert_eq!(run["feed_errors"], 0);
}

#[test]
fn real_tapes_of_two_symbols_are_traded_to_their_end_and_twice_alike() {
    let tapes = ["BTCUSDT", "ETHUSDT"].map(|name| shared(&format!("tape_v5shape/{name}_2024-07-18.rx_ns.tsv.gz")));
    let [Some(btc), Some(eth)] = tapes else { return };
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str| demo(&dir.path().join(name), &["--tape", &btc, "--tape", &eth, "--speed", "max"]);
    let (first, second) = (run("a"), run("b"));
    assert_eq!(outcome(&first), outcome(&second));
    let tape_frames = 70_852 + 69_128;
    assert!(first["messages"].as_u64().unwrap() >= tape_frames, "{} messages", first["messages"]);
    assert!(first["fills"].as_u64().unwrap() > 100 && first["orders"].as_u64().unwrap() > 100, "{first}");
    assert_eq!((&first["feed_errors"], &first["unknown"]), (&Value::from(0), &Value::from(0)));
    assert_eq!(first["journal"]["verified"], true);
}

#[test]
fn it_serves_metrics_and_health_and_ends_in_good_order_on_ctrl_c() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("live");
    let mut child = start(&["demo", "--seconds", "60", "--http", "127.0.0.1:0", "--data-dir", path.to_str().unwrap()]);
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    let address = loop {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "it ended early");
        if let Some(rest) = line.split("metrics on http://").nth(1) {
            break rest.split('/').next().unwrap().to_owned();
        }
    };
    let mut slow = TcpStream::connect(&address).unwrap();
    slow.write_all(b"GET /met").unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let metrics = get(&address, "/metrics");
    assert!(metrics.starts_with("HTTP/1.1 200") && metrics.contains("keel_hop_seconds_bucket"), "{metrics}");
    assert!(metrics.contains("keel_link_trade_state 2"), "{metrics}");
    let health = get(&address, "/healthz");
    assert!(health.contains("\"live\":true") && health.contains("\"safe_to_trade\":true"), "{health}");
    assert!(get(&address, "/secret").starts_with("HTTP/1.1 404"));
    slow.write_all(b"rics HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "a slow reader is served too");
    signal(&child, "INT");
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    child.stdout = None;
    let status = child.wait().unwrap();
    assert!(status.success() && rest.contains("verified whole"), "{status}: {rest}");
}

fn get(address: &str, path: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_node_trades_on_a_separate_exchange_as_its_configuration_says() {
    let dir = tempfile::tempdir().unwrap();
    let tls = dir.path().join("tls");
    let mut venue = start(&["exchange", "--listen", "127.0.0.1:0", "--tls", tls.to_str().unwrap()]);
    let mut lines = BufReader::new(venue.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let port = line.split("127.0.0.1:").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "demo-secret").unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (key, data) = (dir.path().join("key"), dir.path().join("data"));
    std::fs::write(&key, "demo-key").unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let config = dir.path().join("keel.toml");
    let text_of = format!(
        "[venue]\nrest = \"https://localhost:{port}\"\npublic = \"wss://localhost:{port}/v5/public/linear\"\n\
         private = \"wss://localhost:{port}/v5/private\"\ntrade = \"wss://localhost:{port}/v5/trade\"\n\
         authority = \"{}\"\n[keys]\nkey = {{ file = \"{}\" }}\nsecret = {{ file = \"{}\" }}\n\
         [node]\ndata_dir = \"{}\"\nsymbols = [\"BTCUSDT\", \"ETHUSDT\"]\n[http]\nlisten = \"127.0.0.1:0\"\n\
         [account]\nunbound = true\n",
        tls.join("ca.pem").display(),
        key.display(),
        secret.display(),
        data.display()
    );
    std::fs::write(&config, text_of).unwrap();
    let node = start(&["run", "--config", config.to_str().unwrap(), "--arm", "tester"]);
    std::thread::sleep(Duration::from_secs(6));
    signal(&node, "TERM");
    let output = finish(node);
    signal(&venue, "TERM");
    venue.wait().unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && out.contains("verified whole"), "{out}{err}");
    let placed = out.split("orders    ").nth(1).unwrap().split(' ').next().unwrap().parse::<u32>().unwrap();
    assert!(placed > 0 && err.contains("armed in the name of tester"), "{out}{err}");
    assert!(!out.contains("demo-secret") && !err.contains("demo-secret"), "a secret was printed");
}

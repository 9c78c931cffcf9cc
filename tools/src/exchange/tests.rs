//! The exchange over real sockets, as a small client sees it.

use super::*;
pub(super) use hmac_hex::sign;
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::Duration;
use tungstenite::protocol::WebSocket;
use tungstenite::{Message, client};

/// HMAC-SHA256 by its definition: the slow twin of what the venue verifies with.
mod hmac_hex {
    use sha2::{Digest, Sha256};

    pub(in crate::exchange) fn sign(secret: &str, text: &str) -> String {
        let mut key = [0u8; 64];
        key[..secret.len()].copy_from_slice(secret.as_bytes());
        let pad = |byte: u8| key.map(|k| k ^ byte);
        let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
        let outer = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
        outer.iter().map(|b| format!("{b:02x}")).collect()
    }
}

type Socket = WebSocket<TcpStream>;

pub(super) fn dial(address: SocketAddr, path: &str) -> Socket {
    let tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client(format!("ws://{address}{path}"), tcp).unwrap().0
}

fn say(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text.to_owned())).unwrap();
}

fn hear(socket: &mut Socket) -> serde_json::Value {
    loop {
        if let Message::Text(text) = socket.read().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

fn hear_topic(socket: &mut Socket, topic: &str) -> serde_json::Value {
    loop {
        let frame = hear(socket);
        if frame["topic"] == topic {
            return frame;
        }
    }
}

fn login(socket: &mut Socket, now_ms: u64) {
    let expires = now_ms + 5_000;
    let tag = sign("demo-secret", &format!("GET/realtime{expires}"));
    say(socket, &format!(r#"{{"op":"auth","args":["demo-key",{expires},"{tag}"]}}"#));
    let ack = hear(socket);
    assert!(ack["success"] == true || ack["retCode"] == 0, "{ack}");
}

fn order(req: &str, now_ms: u64, args: &str) -> String {
    format!(
        r#"{{"reqId":"{req}","header":{{"X-BAPI-TIMESTAMP":"{now_ms}"}},"op":"order.create","args":[{{"category":"linear","symbol":"BTCUSDT",{args}}}]}}"#
    )
}

#[test]
fn a_client_trades_against_the_generated_market() {
    let running = spawn(Options::default(), Market::generated(), Pace::Real).unwrap();
    let now_ms = crate::node::clock::system_wall().millis();
    let mut public = dial(running.address, "/v5/public/linear");
    say(&mut public, r#"{"op":"subscribe","req_id":"1","args":["orderbook.50.BTCUSDT"]}"#);
    assert_eq!(hear(&mut public)["success"], true);
    let book = hear_topic(&mut public, "orderbook.50.BTCUSDT");
    assert_eq!(book["type"], "snapshot");
    let mut private = dial(running.address, "/v5/private");
    login(&mut private, now_ms);
    say(&mut private, r#"{"op":"subscribe","args":["order","execution","position","wallet"]}"#);
    assert_eq!(hear(&mut private)["success"], true);
    let mut trade = dial(running.address, "/v5/trade");
    login(&mut trade, now_ms);
    say(&mut trade, &order("r1", now_ms, r#""side":"Buy","orderType":"Market","qty":"0.002","orderLinkId":"a1""#));
    let ack = hear(&mut trade);
    assert_eq!(ack["retCode"], 0, "{ack}");
    assert_eq!(hear_topic(&mut private, "execution")["data"][0]["orderLinkId"], "a1");
    assert_eq!(hear_topic(&mut private, "order")["data"][0]["orderStatus"], "Filled");
    assert_eq!(hear_topic(&mut private, "position")["data"][0]["size"], "0.002");
    assert_eq!(hear_topic(&mut private, "wallet")["data"][0]["accountType"], "UNIFIED");
    running.join().unwrap();
}

#[test]
fn system_status_has_its_own_url() {
    let running = spawn(Options::default(), Market::generated(), Pace::Real).unwrap();
    for (path, success) in [("/v5/public/misc/status", true), ("/v5/public/linear", false)] {
        let mut socket = dial(running.address, path);
        say(&mut socket, r#"{"op":"subscribe","req_id":"1","args":["system.status"]}"#);
        assert_eq!(hear(&mut socket)["success"], success, "{path}");
    }
    running.join().unwrap();
}

#[test]
fn a_port_in_use_and_a_missing_tape_are_one_sentence() {
    let running = spawn(Options::default(), Market::generated(), Pace::Real).unwrap();
    let options = Options { listen: running.address, ..Options::default() };
    let error = format!("{:#}", spawn(options, Market::generated(), Pace::Real).unwrap_err());
    assert!(error.contains("cannot listen on") && !error.contains('\n'), "{error}");
    running.join().unwrap();
    let error = format!("{:#}", Market::tapes(&[PathBuf::from("nowhere.jsonl")]).unwrap_err());
    assert!(error.starts_with("nowhere.jsonl: "), "{error}");
}

#[test]
fn tls_is_served_under_the_authority_it_wrote() {
    let dir = std::env::temp_dir().join(format!("keel-exchange-tls-{}", std::process::id()));
    let options = Options { tls: Some(dir.clone()), ..Options::default() };
    let running = spawn(options, Market::generated(), Pace::Real).unwrap();
    let config = crate::node::wire::tls(Some(&dir.join(AUTHORITY))).unwrap();
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
    let session = rustls::ClientConnection::new(config, name).unwrap();
    let tcp = TcpStream::connect(running.address).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let stream = rustls::StreamOwned::new(session, tcp);
    let (mut socket, _) = client("wss://127.0.0.1/v5/public/linear", stream).unwrap();
    socket.send(Message::text(r#"{"op":"ping"}"#)).unwrap();
    let pong = socket.read().unwrap().into_text().unwrap();
    assert!(pong.contains(r#""ret_msg":"pong""#), "{pong}");
    running.join().unwrap();
    std::fs::remove_dir_all(dir).unwrap();
}

/// A client of one thread that counts what it has dealt with.
#[derive(Debug, Default)]
struct Step {
    dealt: AtomicU64,
    said: AtomicU64,
    now_ns: AtomicU64,
}

impl Lockstep for Step {
    fn now_is(&self, wall_ns: u64) {
        self.now_ns.store(wall_ns, Ordering::Release);
    }

    fn quiescent(&self, frames_sent: u64, frames_received: u64) -> bool {
        self.dealt.load(Ordering::Acquire) == frames_sent && self.said.load(Ordering::Acquire) == frames_received
    }
}

fn tape_of(frames: usize) -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("keel-exchange-{}-{number}.rx_ns.tsv", std::process::id()));
    let mut text = String::new();
    for n in 0..frames {
        let (ms, px) = (1_700_000_000_000 + n as u64 * 20, 60_000 + (n % 7));
        let kind = if n == 0 { "snapshot" } else { "delta" };
        let (b, a) = (format!(r#"[["{px}.00","{}.5"]]"#, n % 3 + 1), format!(r#"[["{px}.10","2.0"]]"#));
        text.push_str(&format!(
            "{}\t{{\"topic\":\"orderbook.50.BTCUSDT\",\"type\":\"{kind}\",\"ts\":{ms},\"data\":{{\"s\":\"BTCUSDT\",\"b\":{b},\"a\":{a},\"u\":{},\"seq\":{n}}},\"cts\":{ms}}}\n",
            ms * 1_000_000,
            n + 10
        ));
    }
    std::fs::write(&path, text).unwrap();
    path
}

/// Plays a tape in lockstep with a client that answers every tenth book with an order. Returns all it was told.
fn lockstep_session() -> Vec<String> {
    let tape = tape_of(200);
    let market = Market::tapes(std::slice::from_ref(&tape)).unwrap();
    let venue = venue(&market.symbols(), &market.symbols()).unwrap();
    let step = Arc::new(Step::default());
    let options = Options { venue, hold: true, ..Options::default() };
    let running = spawn(options, market, Pace::Lockstep(step.clone())).unwrap();
    let told = Mutex::new(Vec::new());
    let now_ms = || step.now_ns.load(Ordering::Acquire) / 1_000_000;
    let speak = |socket: &mut Socket, text: &str| {
        step.said.fetch_add(1, Ordering::AcqRel);
        say(socket, text);
    };
    let listen = |socket: &mut Socket| {
        let text = socket.read().ok()?.into_text().ok()?.to_string();
        told.lock().unwrap().push(text.clone());
        Some(text)
    };
    while step.now_ns.load(Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
    let mut public = dial(running.address, "/v5/public/linear");
    let mut trade = dial(running.address, "/v5/trade");
    let expires = now_ms() + 5_000;
    let tag = sign("demo-secret", &format!("GET/realtime{expires}"));
    speak(&mut trade, &format!(r#"{{"op":"auth","args":["demo-key",{expires},"{tag}"]}}"#));
    assert!(listen(&mut trade).unwrap().contains(r#""retCode":0"#));
    step.dealt.fetch_add(1, Ordering::AcqRel);
    speak(&mut public, r#"{"op":"subscribe","args":["orderbook.50.BTCUSDT","tickers.BTCUSDT"]}"#);
    assert!(listen(&mut public).unwrap().contains(r#""success":true"#));
    step.dealt.fetch_add(1, Ordering::AcqRel);
    running.release();
    let (mut books, mut pending) = (0, 0);
    public.get_mut().set_nonblocking(true).unwrap();
    trade.get_mut().set_nonblocking(true).unwrap();
    while !running.ended() {
        if let Some(text) = listen(&mut public) {
            if text.contains("orderbook.50") {
                books += 1;
                if books % 10 == 0 {
                    pending += 1;
                    let side = if books % 20 == 0 { "Buy" } else { "Sell" };
                    let link = format!(r#""side":"{side}","orderType":"Market","qty":"0.01","orderLinkId":"n{books}""#);
                    speak(&mut trade, &order(&format!("r{books}"), now_ms(), &link));
                }
            }
            step.dealt.fetch_add(1, Ordering::AcqRel);
        }
        if let Some(text) = listen(&mut trade) {
            assert!(text.contains(r#""retCode":0"#), "{text}");
            pending -= 1;
            step.dealt.fetch_add(1, Ordering::AcqRel);
        }
    }
    assert_eq!((books, pending), (200, 0));
    assert_eq!(running.counters.fills.load(Ordering::Relaxed), 20);
    running.join().unwrap();
    std::fs::remove_file(tape).unwrap();
    told.into_inner().unwrap()
}

#[test]
fn two_lockstep_runs_over_sockets_are_told_the_same_bytes() {
    let (one, other) = (lockstep_session(), lockstep_session());
    assert!(one.len() > 220, "{}", one.len());
    for (a, b) in one.iter().zip(&other) {
        assert_eq!(a, b);
    }
    assert_eq!(one.len(), other.len());
}

#[test]
fn mangled_requests_never_take_the_exchange_down() {
    use std::io::{Read, Write};
    let running = spawn(Options::default(), Market::generated(), Pace::Real).unwrap();
    let whole =
        "POST /v5/order/create?x=1 HTTP/1.1\r\nHost: h\r\nX-BAPI-API-KEY: demo-key\r\nContent-Length: 2\r\n\r\n{}";
    let upgrade = "GET /v5/public/linear HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    for text in [whole, upgrade] {
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = bytes[at].wrapping_add(u8::try_from(1 + at % 250).unwrap());
            let _ = peer::parse(&bytes);
            let _ = peer::parse(&bytes[..at]);
        }
    }
    let junk: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"GET /v5/private HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n\xff\xff\xff\xff\xff\xff",
    ];
    for bytes in junk {
        let mut tcp = TcpStream::connect(running.address).unwrap();
        tcp.write_all(bytes).unwrap();
        tcp.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        tcp.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let _ = tcp.read_to_end(&mut answer);
    }
    let mut tcp = TcpStream::connect(running.address).unwrap();
    tcp.write_all(b"GET /v5/market/time HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    running.join().unwrap();
}

#[test]
fn a_connection_can_die_inside_a_frame_while_the_exchange_runs() {
    let scenario = vec![(300, "disconnect channel=public after=20".to_owned())];
    let options = Options { scenario, ..Options::default() };
    let running = spawn(options, Market::generated(), Pace::Real).unwrap();
    let mut public = dial(running.address, "/v5/public/linear");
    say(&mut public, r#"{"op":"subscribe","args":["orderbook.50.BTCUSDT"]}"#);
    let end = loop {
        match public.read() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(!matches!(end, tungstenite::Error::ConnectionClosed), "no close frame: {end}");
    let mut again = dial(running.address, "/v5/public/linear");
    say(&mut again, r#"{"op":"subscribe","args":["orderbook.50.BTCUSDT"]}"#);
    assert_eq!(hear_topic(&mut again, "orderbook.50.BTCUSDT")["type"], "snapshot");
    running.join().unwrap();
}

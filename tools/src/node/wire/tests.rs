//! A wire against tungstenite's server over rustls, on loopback.

use super::*;
use crate::exchange::{AUTHORITY, authority};
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame, coding::CloseCode};
use tungstenite::{Message, accept};

const LONG: Duration = Duration::from_secs(20);
type Server = tungstenite::WebSocket<StreamOwned<ServerConnection, std::net::TcpStream>>;

struct Venue {
    listener: TcpListener,
    config: Arc<ServerConfig>,
    tls: Arc<ClientConfig>,
    _dir: tempfile::TempDir,
}

impl Venue {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = authority(dir.path()).unwrap();
        let tls = tls(Some(&dir.path().join(AUTHORITY))).unwrap();
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap(), config, tls, _dir: dir }
    }

    fn wire(&self) -> Wire {
        let url = format!("wss://127.0.0.1:{}/v5", self.listener.local_addr().unwrap().port());
        Wire::new(Endpoint::new(&url, &self.tls).unwrap(), Arc::new(Traffic::default()))
    }

    /// What the venue does with its next guest, on a thread of its own.
    fn host<T: Send + 'static>(
        &self,
        visit: impl FnOnce(&mut Server) -> T + Send + 'static,
    ) -> std::thread::JoinHandle<T> {
        let (listener, config) = (self.listener.try_clone().unwrap(), Arc::clone(&self.config));
        std::thread::spawn(move || {
            let (tcp, _) = listener.accept().unwrap();
            tcp.set_nodelay(true).unwrap();
            let tls = StreamOwned::new(ServerConnection::new(config).unwrap(), tcp);
            visit(&mut accept(tls).unwrap())
        })
    }

    /// The same with the socket alone.
    fn host_bytes(&self, visit: impl FnOnce(&mut std::net::TcpStream) + Send + 'static) -> std::thread::JoinHandle<()> {
        let listener = self.listener.try_clone().unwrap();
        std::thread::spawn(move || visit(&mut listener.accept().unwrap().0))
    }
}

/// The next thing a wire has to tell.
#[allow(clippy::disallowed_methods, reason = "a test that waits for a kernel")]
fn next(wire: &mut Wire, text: &mut String) -> Turn {
    let start = Instant::now();
    loop {
        match wire.read(text) {
            Turn::Nothing | Turn::Progress => std::thread::yield_now(),
            turn => return turn,
        }
        assert!(start.elapsed() < LONG, "nothing came");
    }
}

fn opened(venue: &Venue) -> Wire {
    let mut wire = venue.wire();
    wire.connect();
    assert_eq!(next(&mut wire, &mut String::new()), Turn::Opened, "{:?}", wire.trouble());
    wire
}

/// Why a conversation that was never opened, or was, ended.
fn end(mut wire: Wire) -> String {
    let mut text = String::new();
    wire.connect();
    while next(&mut wire, &mut text) != Turn::Closed {}
    assert_eq!(wire.read(&mut text), Turn::Nothing, "it is over once");
    wire.trouble().unwrap()
}

fn echo(server: &mut Server, count: usize) {
    for _ in 0..count {
        let message = server.read().unwrap();
        server.send(message).unwrap();
    }
}

#[test]
fn texts_of_any_length_come_back_as_they_were_sent() {
    let venue = Venue::new();
    let lengths = [0, 1, 125, 126, 200, 16_000, 16_384, 16_385, 65_535, 65_536, 200_000, 3_000_000];
    let host = venue.host(move |server| echo(server, lengths.len()));
    let mut wire = opened(&venue);
    let mut text = String::from("what stood here before");
    for length in lengths {
        let sent: String = "keel\u{e9}".chars().cycle().take(length).collect();
        wire.send(sent.as_bytes());
        assert_eq!(next(&mut wire, &mut text), Turn::Frame, "{:?}", wire.trouble());
        assert!(text == sent, "{length}");
    }
    host.join().unwrap();
}

#[test]
fn a_ping_is_answered_and_the_venue_may_change_its_keys_at_any_time() {
    let venue = Venue::new();
    let host = venue.host(|server| {
        for round in 0..5 {
            let text = server.read().unwrap();
            server.get_mut().conn.refresh_traffic_keys().unwrap();
            server.send(Message::Ping(vec![round; 7].into())).unwrap();
            assert_eq!(server.read().unwrap(), Message::Pong(vec![round; 7].into()));
            server.send(text).unwrap();
        }
    });
    let (mut wire, mut text) = (opened(&venue), String::new());
    for round in 0..5 {
        let sent = format!("round {round}");
        wire.send(sent.as_bytes());
        assert_eq!(next(&mut wire, &mut text), Turn::Frame, "{:?}", wire.trouble());
        assert_eq!(text, sent);
    }
    host.join().unwrap();
}

#[test]
fn what_follows_the_handshake_in_one_record_is_not_lost() {
    let venue = Venue::new();
    let listener = venue.listener.try_clone().unwrap();
    let config = Arc::clone(&venue.config);
    let host = std::thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), tcp);
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            tls.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        let request = String::from_utf8(request).unwrap();
        let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        let mut answer = format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\nX-Long: {}\r\n\r\n", "x".repeat(9_000)).into_bytes();
        answer.extend_from_slice(b"\x81\x05hello\x01\x03wor\x80\x02ld\x88\x02\x03\xe8");
        tls.write_all(&answer).unwrap();
        tls.flush().unwrap();
        let _ = tls.read(&mut [0; 64]);
    });
    let (mut wire, mut text) = (opened(&venue), String::new());
    assert_eq!((next(&mut wire, &mut text), text.as_str()), (Turn::Frame, "hello"));
    assert_eq!((next(&mut wire, &mut text), text.as_str()), (Turn::Frame, "world"));
    assert_eq!(next(&mut wire, &mut text), Turn::Closed);
    assert!(wire.trouble().unwrap().contains("closed the conversation: 1000"));
    host.join().unwrap();
}

#[test]
fn a_message_before_the_end_is_heard_and_the_end_says_why() {
    let venue = Venue::new();
    let host = venue.host(|server| {
        server.send(Message::text("last words")).unwrap();
        server.close(Some(CloseFrame { code: CloseCode::Restart, reason: "maintenance".into() })).unwrap();
        let closed = server.read().unwrap();
        assert!(matches!(closed, Message::Close(Some(frame)) if frame.code == CloseCode::Restart));
    });
    let (mut wire, mut text) = (opened(&venue), String::new());
    assert_eq!((next(&mut wire, &mut text), text.as_str()), (Turn::Frame, "last words"));
    assert_eq!(next(&mut wire, &mut text), Turn::Closed);
    assert!(wire.trouble().unwrap().ends_with("closed the conversation: 1012 maintenance"));
    host.join().unwrap();

    let host = venue.host(|server| {
        server.get_mut().conn.writer().write_all(b"\x81\x05hello").unwrap();
        server.get_mut().conn.send_close_notify();
        server.get_mut().flush().unwrap();
    });
    let mut wire = opened(&venue);
    assert_eq!((next(&mut wire, &mut text), text.as_str()), (Turn::Frame, "hello"));
    assert_eq!(next(&mut wire, &mut text), Turn::Closed);
    assert!(wire.trouble().unwrap().ends_with("the venue ended the conversation"));
    host.join().unwrap();
}

#[test]
fn whoever_leaves_says_so() {
    let venue = Venue::new();
    let left = |server: &mut Server| match server.read() {
        Ok(Message::Close(Some(frame))) => {
            let quiet = server.get_mut().read(&mut [0; 8]);
            assert_eq!(quiet.expect("the venue is told that nothing more comes"), 0);
            frame.code
        }
        other => panic!("{other:?}"),
    };
    let host = venue.host(move |server| assert_eq!(left(server), CloseCode::Normal));
    opened(&venue).close();
    host.join().unwrap();

    let host = venue.host(move |server| {
        server.get_mut().conn.writer().write_all(b"\x83\x00").unwrap();
        server.get_mut().flush().unwrap();
        assert_eq!(left(server), CloseCode::Protocol);
    });
    let mut wire = opened(&venue);
    assert_eq!(next(&mut wire, &mut String::new()), Turn::Closed);
    assert!(wire.trouble().unwrap().ends_with("a frame of no known kind"));
    host.join().unwrap();
}

#[test]
fn a_message_in_parts_with_a_ping_between_is_one() {
    let venue = Venue::new();
    let host = venue.host(|server| {
        for (data, code, last) in
            [("{\"a\":", Data::Text, false), ("[1,", Data::Continue, false), ("2]}", Data::Continue, true)]
        {
            server.send(Message::Frame(Frame::message(data, OpCode::Data(code), last))).unwrap();
            server.send(Message::Ping("?".into())).unwrap();
            assert_eq!(server.read().unwrap(), Message::Pong("?".into()));
        }
        server.send(Message::binary(vec![1, 2, 3])).unwrap();
        server.send(Message::text("after bytes")).unwrap();
    });
    let (mut wire, mut text) = (opened(&venue), String::new());
    assert_eq!((next(&mut wire, &mut text), text.as_str()), (Turn::Frame, r#"{"a":[1,2]}"#));
    assert_eq!((next(&mut wire, &mut text), text.as_str()), (Turn::Frame, "after bytes"));
    host.join().unwrap();
}

#[test]
fn the_second_conversation_takes_up_the_keys_of_the_first() {
    let venue = Venue::new();
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let host = venue.host(|server| {
            echo(server, 1);
            server.get_ref().conn.handshake_kind()
        });
        let (mut wire, mut text) = (opened(&venue), String::new());
        wire.send(b"x");
        assert_eq!(next(&mut wire, &mut text), Turn::Frame);
        assert_eq!(host.join().unwrap(), Some(expected));
    }
}

#[test]
fn a_venue_that_takes_nothing_ends_the_conversation_and_one_that_waits_does_not() {
    let venue = Venue::new();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let host = venue.host(move |server| {
        wait.recv().unwrap();
        for _ in 0..8 {
            assert_eq!(server.read().unwrap().len(), 400_000);
        }
        server.send(Message::text("all of it")).unwrap();
        wait.recv().unwrap_err();
    });
    let (mut wire, mut text) = (opened(&venue), String::new());
    let large = "x".repeat(400_000);
    for _ in 0..8 {
        wire.send(large.as_bytes());
    }
    go.send(()).unwrap();
    assert_eq!(next(&mut wire, &mut text), Turn::Frame, "{:?}", wire.trouble());
    for _ in 0..100 {
        wire.send(large.as_bytes());
    }
    assert_eq!(next(&mut wire, &mut text), Turn::Closed);
    assert!(wire.trouble().unwrap().ends_with("the venue takes nothing more"));
    drop(go);
    host.join().unwrap();
}

#[test]
fn a_venue_that_asks_and_takes_no_answer_is_left() {
    let venue = Venue::new();
    let host = venue.host(|server| {
        let ping = Message::Ping(vec![7; 125].into());
        while server.write(ping.clone()).and_then(|()| server.flush()).is_ok() {}
    });
    let (mut wire, mut text) = (opened(&venue), String::new());
    assert_eq!(next(&mut wire, &mut text), Turn::Closed);
    assert!(wire.trouble().unwrap().ends_with("the venue takes nothing more"));
    drop(wire);
    host.join().unwrap();
}

#[test]
fn what_is_no_tls_or_not_this_one_is_refused_in_a_sentence() {
    let venue = Venue::new();
    let host = venue.host_bytes(|tcp| {
        let _ = tcp.read(&mut [0; 4096]);
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let why = end(venue.wire());
    assert!(why.contains("corrupt") || why.contains("InvalidMessage") || why.contains("invalid"), "{why}");
    host.join().unwrap();

    let host = venue.host_bytes(|_| {});
    let why = end(venue.wire());
    assert!(why.contains("hung up") || why.contains("reset"), "{why}");
    host.join().unwrap();

    let old = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&venue.config.cert_resolver));
    let old = Arc::new(old);
    let host = venue.host_bytes(move |tcp| {
        let mut tls = ServerConnection::new(old).unwrap();
        let _ = tls.complete_io(tcp);
    });
    let why = end(venue.wire());
    assert!(why.ends_with("the venue speaks no TLS 1.3"), "{why}");
    host.join().unwrap();

    let strange = Venue::new();
    let host = strange.host_bytes({
        let config = Arc::clone(&venue.config);
        move |tcp| {
            let mut tls = ServerConnection::new(config).unwrap();
            while tls.is_handshaking() {
                let Err(error) = tls.complete_io(tcp) else { continue };
                assert!(error.to_string().contains("received fatal alert"), "the venue is told: {error}");
                return;
            }
        }
    });
    let why = end(strange.wire());
    assert!(why.contains("certificate"), "{why}");
    host.join().unwrap();
}

#[test]
fn a_byte_changed_on_its_way_ends_the_conversation() {
    let venue = Venue::new();
    let host = venue.host(|server| {
        server.send(Message::text("first")).unwrap();
        let tls = server.get_mut();
        tls.conn.writer().write_all(b"\x81\x06second").unwrap();
        let mut record = Vec::new();
        tls.conn.write_tls(&mut record).unwrap();
        let at = record.len() - 3;
        record[at] ^= 1;
        tls.sock.write_all(&record).unwrap();
    });
    let (mut wire, mut text) = (opened(&venue), String::new());
    assert_eq!((next(&mut wire, &mut text), text.as_str()), (Turn::Frame, "first"));
    assert_eq!((next(&mut wire, &mut text), text.as_str()), (Turn::Closed, "first"));
    assert!(wire.trouble().unwrap().contains("changed"));
    host.join().unwrap();
}

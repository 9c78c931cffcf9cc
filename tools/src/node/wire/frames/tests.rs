//! Frames beside tungstenite's, which is the slow twin: what one writes the other reads, and what one refuses the other does.

use super::*;
use proptest::prelude::*;
use std::io::Cursor;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use tungstenite::{Error, Message};

const MOST: usize = 100_000;

/// How a reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Waits,
    /// For the rest of a message, of which tungstenite may have seen already that it is no text.
    WaitsWithin,
    Closed,
    Refused(Violation),
}

/// What came of bytes that arrived in pieces: texts and pings, and how it ended.
fn read(bytes: &[u8], cuts: &[usize]) -> (Vec<Heard>, End) {
    let (mut frames, mut text, mut heard) = (Frames::new(MOST).unwrap(), String::new(), Vec::new());
    let (mut from, mut to, mut cuts) = (0, 0, cuts.iter().cycle());
    loop {
        match frames.next(&bytes[from..to], &mut text) {
            Err(why) => return (heard, End::Refused(why)),
            Ok(Some((count, said))) => {
                let payload = |range: Range<usize>| bytes[from..][range].to_vec();
                match said {
                    Said::Text => heard.push(Heard::Text(text.clone())),
                    Said::Ping(range) => heard.push(Heard::Ping(payload(range))),
                    Said::Close(_) => return (heard, End::Closed),
                    Said::Nothing => {}
                }
                from += count;
            }
            Ok(None) if to == bytes.len() && frames.joining.is_some() => return (heard, End::WaitsWithin),
            Ok(None) if to == bytes.len() => return (heard, End::Waits),
            Ok(None) => to = bytes.len().min(to + cuts.next().unwrap()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Heard {
    Text(String),
    Ping(Vec<u8>),
}

/// The same by tungstenite. Its own pongs go where nobody reads them.
fn twin(bytes: &[u8]) -> (Vec<Heard>, bool) {
    struct Half<'a>(Cursor<&'a [u8]>);
    impl std::io::Read for Half<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            match std::io::Read::read(&mut self.0, into)? {
                0 => Err(std::io::ErrorKind::WouldBlock.into()),
                count => Ok(count),
            }
        }
    }
    impl std::io::Write for Half<'_> {
        fn write(&mut self, from: &[u8]) -> std::io::Result<usize> {
            Ok(from.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let config = WebSocketConfig::default().max_message_size(Some(MOST)).max_frame_size(Some(MOST));
    let mut socket = WebSocket::from_raw_socket(Half(Cursor::new(bytes)), Role::Client, Some(config));
    let mut heard = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => heard.push(Heard::Text(text.as_str().to_owned())),
            Ok(Message::Ping(payload)) => heard.push(Heard::Ping(payload.to_vec())),
            Ok(Message::Close(_)) => return (heard, false),
            Ok(_) => {}
            Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => return (heard, false),
            Err(_) => return (heard, true),
        }
    }
}

/// The same was heard, but for pings within a message of which tungstenite saw before its end that it is no text.
fn alike(heard: &[Heard], expected: &[Heard], refused: bool) -> bool {
    let Some(more) = heard.strip_prefix(expected) else { return false };
    more.is_empty() || refused && more.iter().all(|one| matches!(one, Heard::Ping(_)))
}

/// Frames of a server that keeps to the rules, most of the time.
fn conversation() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![
        8 => "\\PC{0,60}".prop_map(String::into_bytes),
        3 => (100_usize..140).prop_map(|length| vec![b'a'; length]),
        1 => (65_500_usize..65_600).prop_map(|length| vec![b'b'; length]),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    let code = prop_oneof![
        6 => Just(OpCode::Data(Data::Text)),
        2 => Just(OpCode::Data(Data::Continue)),
        1 => Just(OpCode::Data(Data::Binary)),
        1 => Just(OpCode::Control(Control::Ping)),
        1 => Just(OpCode::Control(Control::Pong)),
    ];
    prop::collection::vec((text, code, prop::bool::weighted(0.8)), 1..8).prop_map(|frames| {
        let (mut bytes, mut open) = (Vec::new(), false);
        for (mut payload, mut code, last) in frames {
            if let OpCode::Control(_) = code {
                payload.truncate(MOST_CONTROL);
                let frame =
                    if code == OpCode::Control(Control::Ping) { Frame::ping(payload) } else { Frame::pong(payload) };
                frame.format(&mut bytes).unwrap();
                continue;
            }
            if open && payload.len() % 16 != 0 {
                code = OpCode::Data(Data::Continue);
            }
            open = !last;
            Frame::message(payload, code, last).format(&mut bytes).unwrap();
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_server_says_is_heard_as_tungstenite_hears_it(bytes in conversation(), cuts in prop::collection::vec(1_usize..5_000, 1..5)) {
        let (heard, end) = read(&bytes, &cuts);
        let (expected, refused) = twin(&bytes);
        prop_assert!(alike(&heard, &expected, refused), "{:?} {:?}", heard, expected);
        prop_assert!(refused == matches!(end, End::Refused(_)) || end == End::WaitsWithin, "{:?}", end);
    }

    #[test]
    fn one_changed_byte_is_taken_as_tungstenite_takes_it(mut bytes in conversation(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let at = at.index(bytes.len());
        bytes[at] = to;
        let (heard, end) = read(&bytes, &[1, 700]);
        let (expected, refused) = twin(&bytes);
        prop_assert!(alike(&heard, &expected, refused), "{:?} {:?}", heard, expected);
        // a head is refused here before the rest of its frame is there, and what a close frame says is not checked
        prop_assert!(!refused || end != End::Waits, "{:?}", end);
    }

    #[test]
    fn no_bytes_are_taken_amiss(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let (heard, end) = read(&bytes, &[1]);
        let (expected, refused) = twin(&bytes);
        prop_assert!(alike(&heard, &expected, refused), "{:?} {:?}", heard, expected);
        // a head is refused here before the rest of its frame is there, and what a close frame says is not checked
        prop_assert!(!refused || end != End::Waits, "{:?}", end);
    }

    #[test]
    fn tungstenite_reads_what_is_written(texts in prop::collection::vec("\\PC{0,80}", 1..6), long in 0_usize..70_000) {
        let (mut frames, mut bytes) = (Frames::new(MOST).unwrap(), Vec::new());
        let texts: Vec<String> = texts.into_iter().chain([ "l".repeat(long) ]).collect();
        for text in &texts {
            frames.write(Opcode::Text, text.as_bytes(), &mut bytes);
        }
        frames.write(Opcode::Pong, b"here", &mut bytes);
        let mut server = WebSocket::from_raw_socket(Cursor::new(bytes), Role::Server, None);
        for text in &texts {
            prop_assert_eq!(server.read().unwrap(), Message::text(text));
        }
        prop_assert_eq!(server.read().unwrap(), Message::Pong("here".into()));
    }
}

#[test]
fn what_a_server_must_not_do_is_refused_by_name() {
    for (bytes, why) in [
        (&b"\x91\x00"[..], "a frame with reserved bits"),
        (b"\xc1\x00", "a frame with reserved bits"),
        (b"\x81\x80\0\0\0\0", "a masked frame from a server"),
        (b"\x83\x00", "a frame of no known kind"),
        (b"\x8b\x00", "a frame of no known kind"),
        (b"\x89\x7e\x00\x80", "a control frame that is long or in parts"),
        (b"\x09\x00", "a control frame that is long or in parts"),
        (b"\x80\x00", "more of a message that never began"),
        (b"\x01\x01a\x81\x01b", "a message within a message"),
        (b"\x81\x01\xff", "text that is not UTF-8"),
        (b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", TOO_LARGE),
        (b"\x81\x7f\0\0\0\0\0\x01\x86\xa1", TOO_LARGE),
    ] {
        assert_eq!(read(bytes, &[1]).1, End::Refused(why), "{bytes:?}");
        assert!(twin(&[bytes, &[0; 200]].concat()).1, "{bytes:?}");
    }
    let mut parts = Vec::new();
    Frame::message(vec![b'a'; MOST / 2 + 1], OpCode::Data(Data::Text), false).format(&mut parts).unwrap();
    Frame::message(vec![b'a'; MOST / 2], OpCode::Data(Data::Continue), true).format(&mut parts).unwrap();
    assert_eq!(read(&parts, &[4096]).1, End::Refused(TOO_LARGE));
}

#[test]
fn a_character_may_lie_across_parts_and_no_key_is_used_twice_in_a_row() {
    assert_eq!(read(b"\x01\x01\xc3\x80\x01\xa9", &[1]).0, [Heard::Text("\u{e9}".to_owned())]);
    let (mut frames, mut bytes) = (Frames::new(MOST).unwrap(), Vec::new());
    for _ in 0..100 {
        frames.write(Opcode::Ping, b"", &mut bytes);
    }
    let mut keys: Vec<_> = bytes.chunks(6).map(|frame| &frame[2..]).collect();
    keys.sort_unstable();
    keys.dedup();
    assert!(keys.len() > 95, "{}", keys.len());
}

#[test]
fn a_reason_is_for_people() {
    assert!(why(b"").ends_with("gave no reason"));
    assert!(why(b"\x03\xe9bye\n\xff").ends_with("1001 bye\\n\u{fffd}"));
}

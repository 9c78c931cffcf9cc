//! Records beside rustls' own, without a socket; and what the hot path asks of the allocator.

use super::super::frames::{Frames, Opcode, Said};
use super::super::tls;
use super::*;
use crate::exchange::{AUTHORITY, authority};
use proptest::prelude::*;
use rustls::crypto::{CryptoProvider, ring};
use rustls::{CipherSuite, ServerConfig, ServerConnection};

const SUITES: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
];

/// A server's and a client's configuration, with one suite to agree on.
fn configs(suite: CipherSuite) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let dir = tempfile::tempdir().unwrap();
    let theirs = authority(dir.path()).unwrap();
    let mut provider: CryptoProvider = ring::default_provider();
    provider.cipher_suites.retain(|one| one.suite() == suite);
    let server = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&theirs.cert_resolver));
    let mut client = (*tls(Some(&dir.path().join(AUTHORITY))).unwrap()).clone();
    client.enable_secret_extraction = true;
    (Arc::new(server), Arc::new(client))
}

/// Both ends of one conversation, and what is on its way to the server.
struct Pair {
    server: ServerConnection,
    keys: Keys,
    inbox: Inbox,
    out: Vec<u8>,
}

impl Pair {
    fn new(suite: CipherSuite) -> Self {
        let (server, client) = configs(suite);
        let mut server = ServerConnection::new(server).unwrap();
        server.set_buffer_limit(None);
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut connection = UnbufferedClientConnection::new(client, name).unwrap();
        let (mut inbox, mut out) = (Inbox::new(), Vec::new());
        loop {
            match shake(&mut connection, &mut inbox, &mut out).unwrap() {
                Step::Again => {}
                Step::Bytes => {
                    assert!(hear(&mut server, &mut out).is_empty());
                    let bytes = said(&mut server);
                    inbox.room()[..bytes.len()].copy_from_slice(&bytes);
                    inbox.raw.end += bytes.len();
                }
                Step::Done => break,
            }
        }
        let mut pair = Self { server, keys: Keys::new(connection).unwrap(), inbox, out };
        assert_eq!(pair.hear(), b"");
        assert_eq!(pair.keys.next.negotiated_cipher_suite().suite(), suite);
        pair
    }

    fn hear(&mut self) -> Vec<u8> {
        hear(&mut self.server, &mut self.out)
    }

    /// What the server wants to say arrives, so many bytes at a time.
    fn deliver(&mut self, cut: usize) -> io::Result<()> {
        let bytes = said(&mut self.server);
        self.arrive(&bytes, cut)
    }

    fn arrive(&mut self, bytes: &[u8], cut: usize) -> io::Result<()> {
        for piece in bytes.chunks(cut) {
            self.inbox.room()[..piece.len()].copy_from_slice(piece);
            self.inbox.raw.end += piece.len();
            while self.keys.open(&mut self.inbox, &mut self.out)? {}
        }
        Ok(())
    }

    fn take(&mut self, most: usize) -> Vec<u8> {
        let plain = self.inbox.plain();
        let taken = plain[..most.min(plain.len())].to_vec();
        self.inbox.plain.start += taken.len();
        taken
    }
}

fn said(server: &mut ServerConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// What the server reads of these records.
fn hear(server: &mut ServerConnection, records: &mut Vec<u8>) -> Vec<u8> {
    let mut heard = Vec::new();
    let mut records = std::mem::take(records);
    let mut rest = &records[..];
    while !rest.is_empty() {
        server.read_tls(&mut rest).unwrap();
        server.process_new_packets().unwrap();
        let _ = server.reader().read_to_end(&mut heard);
    }
    records.clear();
    heard
}

#[derive(Debug, Clone)]
enum Act {
    Hear(usize),
    Say(usize),
    TheyRenew,
    WeRenew,
    Take(usize),
}

fn steps() -> impl Strategy<Value = Vec<Act>> {
    let length = || prop_oneof![4 => 0_usize..400, 1 => 16_000_usize..17_000, 1 => 30_000_usize..90_000];
    let step = prop_oneof![
        5 => length().prop_map(Act::Hear),
        5 => length().prop_map(Act::Say),
        1 => Just(Act::TheyRenew),
        1 => Just(Act::WeRenew),
        4 => (0_usize..100_000).prop_map(Act::Take),
    ];
    prop::collection::vec(step, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_hear_what_the_other_said(suite in 0_usize..3, cut in prop_oneof![1_usize..20, 100_usize..5_000], steps in steps()) {
        let mut pair = Pair::new(SUITES[suite]);
        let (mut theirs, mut ours, mut heard) = (Vec::new(), 0_u8, Vec::new());
        for step in steps {
            match step {
                Act::Hear(length) => {
                    let text: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0]).collect();
                    pair.server.writer().write_all(&text).unwrap();
                    theirs.extend_from_slice(&text);
                    pair.deliver(cut).unwrap();
                }
                Act::Say(length) => {
                    ours = ours.wrapping_add(1);
                    let text = vec![ours; length];
                    pair.keys.seal(&text, &mut pair.out).unwrap();
                    prop_assert_eq!(pair.hear(), text);
                }
                Act::TheyRenew => pair.server.refresh_traffic_keys().unwrap(),
                Act::WeRenew => pair.keys.renew(&mut pair.out).unwrap(),
                Act::Take(most) => heard.extend(pair.take(most)),
            }
        }
        pair.deliver(cut).unwrap();
        heard.extend(pair.take(usize::MAX));
        prop_assert!(heard == theirs, "{} of {}", heard.len(), theirs.len());
        prop_assert_eq!(pair.hear(), b"");
    }

    #[test]
    fn a_changed_record_is_refused(length in 0_usize..300, at in any::<prop::sample::Index>(), flip in 1_u8..=255) {
        let mut pair = Pair::new(SUITES[0]);
        pair.deliver(4096).unwrap();
        pair.server.writer().write_all(&vec![7; length.max(1)]).unwrap();
        let mut bytes = said(&mut pair.server);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let came = pair.arrive(&bytes, 4096);
        // a length that grew only waits for more
        let longer = (3..5).contains(&at) && came.is_ok();
        prop_assert!(came.is_err() || longer, "byte {at}");
        prop_assert_eq!(pair.take(usize::MAX), b"");
    }

    #[test]
    fn no_bytes_are_a_record(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut pair = Pair::new(SUITES[0]);
        pair.deliver(4096).unwrap();
        let _ = pair.arrive(&bytes, 64);
        prop_assert_eq!(pair.take(usize::MAX), b"");
    }
}

#[test]
fn a_key_is_changed_before_it_is_used_up() {
    let mut pair = Pair::new(SUITES[1]);
    let suite = pair.keys.next.negotiated_cipher_suite();
    assert!(suite.tls13().unwrap().common.confidentiality_limit > RECORDS);
    let secrets = pair.keys.next.update_tx_secret().unwrap();
    assert_eq!(secrets.0, 0);
    pair.keys.tx = Key::new((RECORDS - 1, secrets.1)).unwrap();
    pair.keys.seal(b"the last", &mut pair.out).unwrap();
    let one = pair.out.len();
    assert_eq!((pair.keys.tx.sequence(), one), (RECORDS, 5 + 8 + 1 + 16));
    pair.keys.seal(b"the first", &mut pair.out).unwrap();
    let update = 5 + 5 + 1 + 16;
    assert_eq!((pair.keys.tx.sequence(), pair.out.len() - one), (1, update + 5 + 9 + 1 + 16));
}

#[test]
fn records_in_another_order_or_again_are_refused() {
    for order in [[1, 0], [0, 0]] {
        let mut pair = Pair::new(SUITES[2]);
        pair.deliver(4096).unwrap();
        let records = ["first", "second"].map(|text| {
            pair.server.writer().write_all(text.as_bytes()).unwrap();
            said(&mut pair.server)
        });
        let came: Vec<_> = order.iter().map(|at| pair.arrive(&records[*at], 4096).is_ok()).collect();
        assert_eq!(came.last(), Some(&false), "{order:?}");
    }
}

#[test]
fn what_is_not_a_record_of_this_time_is_refused_by_name() {
    for (bytes, why) in [
        (&[20, 3, 3, 0, 1, 1][..], "a TLS record in the clear"),
        (&[21, 3, 3, 0, 2, 2, 40], "a TLS record in the clear"),
        (&[72, 84, 84, 80, 47], "not a TLS record"),
        (&[23, 3, 3, 0x41, 1], "a TLS record larger than one may be"),
        (&[23, 3, 3, 0, 0], "a TLS record that was changed or does not follow"),
    ] {
        let mut pair = Pair::new(SUITES[0]);
        pair.deliver(4096).unwrap();
        assert_eq!(pair.arrive(bytes, 4096).unwrap_err().to_string(), why, "{bytes:?}");
    }
}

#[test]
fn messages_after_the_handshake_are_tickets_and_keys_and_nothing_else() {
    let after = |message: &[u8], whole: bool| {
        let mut pair = Pair::new(SUITES[0]);
        pair.keys.message = message.to_vec();
        let came = pair.keys.messages(&mut pair.out).map_err(|error| error.to_string());
        assert_eq!(came.is_ok() && pair.keys.message.is_empty(), whole, "{message:?}: {came:?}");
        came
    };
    after(&[KEY_UPDATE, 0, 0, 1, 0], true).unwrap();
    after(&[KEY_UPDATE, 0, 0, 1, 1], true).unwrap();
    after(&[KEY_UPDATE, 0, 0], false).unwrap();
    after(&[NEW_TICKET, 0, 0, 9, 1, 2], false).unwrap();
    for message in [
        &[KEY_UPDATE, 0, 0, 1, 2][..],
        &[KEY_UPDATE, 0, 0, 1, 0, NEW_TICKET],
        &[KEY_UPDATE, 0, 0, 0],
        &[NEW_TICKET, 0, 0, 2, 1, 2],
        &[1, 0, 0, 0],
        &[NEW_TICKET, 255, 0, 0],
    ] {
        after(message, false).unwrap_err();
    }
}

#[test]
fn a_tick_and_its_order_ask_the_allocator_for_nothing() {
    let mut pair = Pair::new(SUITES[1]);
    let (mut frames, mut text, mut frame) = (Frames::new(4096).unwrap(), String::new(), Vec::new());
    let mut round = |pair: &mut Pair| {
        pair.server.writer().write_all(b"\x81\x7e\x00\xc8").unwrap();
        pair.server.writer().write_all(&[b'x'; 200]).unwrap();
        let bytes = said(&mut pair.server);
        let counted = allocation_counter::measure(|| {
            pair.arrive(&bytes, bytes.len()).unwrap();
            let (count, said) = frames.next(pair.inbox.plain(), &mut text).unwrap().unwrap();
            assert_eq!(said, Said::Text);
            pair.inbox.plain.start += count;
            frame.clear();
            frames.write(Opcode::Text, &[b'y'; 300], &mut frame);
            pair.keys.seal(&frame, &mut pair.out).unwrap();
        });
        assert_eq!(pair.server.read_tls(&mut &pair.out[..]).unwrap(), pair.out.len());
        pair.server.process_new_packets().unwrap();
        let _ = pair.server.reader().read_to_end(&mut Vec::new());
        pair.out.clear();
        counted.count_total
    };
    round(&mut pair);
    assert_eq!((0..1_000).map(|_| round(&mut pair)).sum::<u64>(), 0);
}

//! A fuzzer of the raw HTTP head: mutated requests, in pieces of any size.
//!
//! In: a seed. Never: a panic, a request that takes more bytes than there are, one that another cut of the same bytes
//! would read differently. Longer with `KEEL_FUZZ_CASES`.

use super::peer::parse;

/// Cases of one run, unless `KEEL_FUZZ_CASES` says otherwise.
const CASES: u64 = 20_000;

const WHOLE: [&str; 5] = [
    "POST /v5/order/create?x=1 HTTP/1.1\r\nHost: h\r\nX-BAPI-API-KEY: demo-key\r\nContent-Length: 2\r\n\r\n{}",
    "GET /v5/public/linear HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "GET http://127.0.0.1:8080/v5/market/time?a=b&c=%7B HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    "POST /sim/command HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nclear",
    "GET / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 7\r\n\r\nGET /v5/market/time HTTP/1.1\r\n\r\n",
];
const PIECES: [&str; 16] = [
    "\r\n",
    "\n",
    "\r",
    ": ",
    " ",
    "\t",
    "\0",
    "\u{ff}",
    "Content-Length: 18446744073709551616\r\n",
    "Content-Length: +2\r\n",
    "Content-Length: \r\n",
    "Transfer-Encoding: chunked\r\n",
    "HTTP/9.9",
    "?",
    "://",
    "Upgrade: websocket\r\n",
];

struct Luck(u64);

impl Luck {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        usize::try_from((self.0 >> 33) % (n.max(1) as u64)).unwrap()
    }
}

fn mutated(luck: &mut Luck) -> Vec<u8> {
    let mut bytes = WHOLE[luck.below(WHOLE.len())].as_bytes().to_vec();
    for _ in 0..=luck.below(4) {
        let at = luck.below(bytes.len() + 1);
        match luck.below(7) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] ^= 1 << luck.below(8),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => bytes.splice(at..at, WHOLE[luck.below(WHOLE.len())].bytes()).for_each(drop),
            4 => bytes.splice(at..at, std::iter::repeat_n(b'a', luck.below(70_000))).for_each(drop),
            5 => {
                let lines: String = (0..luck.below(90)).map(|n| format!("X-{n}: {n}\r\n")).collect();
                bytes.splice(at..at, lines.bytes()).for_each(drop);
            }
            _ => bytes.splice(at..at, PIECES[luck.below(PIECES.len())].bytes()).for_each(drop),
        }
    }
    bytes
}

#[test]
#[allow(clippy::disallowed_methods, reason = "how long to fuzz stands in the environment")]
fn a_request_is_the_same_however_its_bytes_arrive() {
    let cases = std::env::var("KEEL_FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(CASES);
    let (mut luck, mut read, mut refused) = (Luck(1), 0u64, 0u64);
    for case in 0..cases {
        let bytes = mutated(&mut luck);
        match parse(&bytes) {
            Ok(Some((request, used))) => {
                read += 1;
                assert!(used <= bytes.len(), "case {case}");
                for cut in [used / 2, used.saturating_sub(1), luck.below(used)] {
                    assert!(
                        matches!(parse(&bytes[..cut]), Ok(None)),
                        "case {case}: {cut} of {used} bytes are a request"
                    );
                }
                let (again, same) = parse(&bytes[..used]).unwrap().unwrap();
                assert_eq!((format!("{request:?}"), used), (format!("{again:?}"), same), "case {case}");
                let lengths: std::collections::BTreeSet<&String> = request
                    .headers
                    .iter()
                    .filter(|(key, _)| key.eq_ignore_ascii_case("content-length"))
                    .map(|(_, value)| value)
                    .collect();
                assert!(lengths.len() <= 1, "case {case}: two lengths");
            }
            Ok(None) => assert!(bytes.len() < (65 << 10) + (2 << 20), "case {case}: it waits for ever"),
            Err(status) => {
                refused += 1;
                assert!(status == 400 || status == 413, "case {case}: {status}");
            }
        }
    }
    assert!(read > cases / 10 && refused > cases / 10, "{read} read, {refused} refused of {cases}");
}

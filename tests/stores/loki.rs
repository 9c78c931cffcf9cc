//! A strict double of Loki's push and query API: it refuses what Loki 3 refuses, stores the good half of a bad batch as
//! Loki does, keeps one copy of a line it has already, and fails in every way a test asks for.
//!
//! Its decoder of protobuf is its own: what the shipper encodes is read here by other code.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Half of `max_chunk_age`: how far behind the newest line of its stream a line may be.
const WINDOW: u64 = 3_600_000_000_000;
/// Labels of one stream, at most.
const MAX_LABELS: usize = 15;
/// Lines a query gives, at most.
const MAX_LIMIT: usize = 5_000;

/// Time, line, metadata: what a line is to Loki.
type Entry = (u64, String, Vec<(String, String)>);

#[derive(Default)]
pub struct Store {
    pub streams: BTreeMap<String, BTreeSet<Entry>>,
}

/// What goes wrong, and what is allowed.
pub struct Knobs {
    /// The next requests are answered with this status, so many of them.
    pub status: AtomicU64,
    pub times: AtomicU64,
    /// Requests with more lines than this are answered with 429.
    pub burst: AtomicU64,
    /// Lines before this moment are too old.
    pub oldest: AtomicU64,
    /// Longest line.
    pub max_line: AtomicU64,
    /// Connections are cut: 1 before anything is read, 2 within the body, 3 after it was stored and before the answer.
    pub cut: AtomicU64,
    /// No connection is taken.
    pub closed: AtomicBool,
    /// Requests hang.
    pub hang: AtomicBool,
    /// Lines with these texts in them are refused with 400.
    pub odd: Mutex<Vec<String>>,
    /// Requests answered with 204.
    pub pushes: AtomicU64,
    /// Lines that were there already.
    pub again: AtomicU64,
    /// Connections cut.
    pub cuts: AtomicU64,
}

pub struct Loki {
    pub port: u16,
    pub store: Arc<Mutex<Store>>,
    pub knobs: Arc<Knobs>,
}

/// Who may come in.
#[derive(Clone, Default)]
pub struct Door {
    pub tenant: Option<&'static str>,
    pub authorization: Option<&'static str>,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    pub version: Option<&'static str>,
}

impl Loki {
    pub fn start() -> Self {
        Self::behind(Door::default())
    }

    pub fn behind(door: Door) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let store = Arc::new(Mutex::new(Store::default()));
        let knobs = Arc::new(Knobs {
            status: 0.into(),
            times: 0.into(),
            burst: u64::MAX.into(),
            oldest: 0.into(),
            max_line: (256 << 10).into(),
            cut: 0.into(),
            closed: false.into(),
            hang: false.into(),
            odd: Mutex::default(),
            pushes: 0.into(),
            again: 0.into(),
            cuts: 0.into(),
        });
        let (shared, settings) = (Arc::clone(&store), Arc::clone(&knobs));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if settings.closed.load(Ordering::Relaxed) || settings.cut.load(Ordering::Relaxed) == 1 {
                    settings.cuts.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                let (store, knobs, door) = (Arc::clone(&shared), Arc::clone(&settings), door.clone());
                std::thread::spawn(move || {
                    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                    match &door.tls {
                        None => serve(client, &store, &knobs, &door),
                        Some(tls) => {
                            let session = rustls::ServerConnection::new(Arc::clone(tls)).unwrap();
                            serve(rustls::StreamOwned::new(session, client), &store, &knobs, &door);
                        }
                    }
                });
            }
        });
        Self { port, store, knobs }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Lines in all streams.
    pub fn lines(&self) -> u64 {
        self.store.lock().unwrap().streams.values().map(|stream| stream.len() as u64).sum()
    }

    /// The next `times` requests are answered with `status`.
    pub fn fail(&self, status: u64, times: u64) {
        self.knobs.status.store(status, Ordering::Relaxed);
        self.knobs.times.store(times, Ordering::Relaxed);
    }
}

struct Request {
    path: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// One request after another on a connection.
fn serve(mut client: impl Read + Write, store: &Mutex<Store>, knobs: &Knobs, door: &Door) {
    while let Some(request) = receive(&mut client, knobs) {
        while knobs.hang.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let (status, body) = answer(&request, store, knobs, door);
        if knobs.cut.load(Ordering::Relaxed) == 3 {
            knobs.cuts.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
        let sent = client.write_all(head.as_bytes()).and_then(|()| client.write_all(body.as_bytes()));
        if sent.and_then(|()| client.flush()).is_err() {
            return;
        }
    }
}

fn receive(client: &mut impl Read, knobs: &Knobs) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut piece = [0; 8192];
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        match client.read(&mut piece).ok()? {
            0 => return None,
            count => bytes.extend_from_slice(&piece[..count]),
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let mut lines = text.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let len = headers.get("content-length").and_then(|len| len.parse().ok()).unwrap_or(0);
    let mut body = bytes.split_off(head);
    while body.len() < len {
        if knobs.cut.load(Ordering::Relaxed) == 2 {
            knobs.cuts.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        match client.read(&mut piece).ok()? {
            0 => return None,
            count => body.extend_from_slice(&piece[..count]),
        }
    }
    Some(Request { path, headers, body })
}

fn answer(request: &Request, store: &Mutex<Store>, knobs: &Knobs, door: &Door) -> (u16, String) {
    if knobs.times.load(Ordering::Relaxed) > 0 {
        knobs.times.fetch_sub(1, Ordering::Relaxed);
        return (u16::try_from(knobs.status.load(Ordering::Relaxed)).unwrap(), "as the test asked".to_owned());
    }
    let header = |name: &str| request.headers.get(name).map(String::as_str);
    if door.tenant.is_some() && header("x-scope-orgid") != door.tenant {
        return (401, "no org id".to_owned());
    }
    if door.authorization.is_some() && header("authorization") != door.authorization {
        return (401, "who are you?".to_owned());
    }
    match request.path.split('?').next().unwrap() {
        "/loki/api/v1/push" => push(request, store, knobs),
        "/loki/api/v1/query_range" => query(request, store),
        "/loki/api/v1/status/buildinfo" => (200, format!("{{\"version\":\"{}\"}}", door.version.unwrap_or("3.7.6"))),
        _ => (404, "404 page not found".to_owned()),
    }
}

fn push(request: &Request, store: &Mutex<Store>, knobs: &Knobs) -> (u16, String) {
    match request.headers.get("content-type").map(String::as_str) {
        Some("application/x-protobuf") => {}
        None => return (400, "mime: no media type".to_owned()),
        Some(_) => return (400, "snappy: corrupt input".to_owned()),
    }
    let Ok(raw) = snap::raw::Decoder::new().decompress_vec(&request.body) else {
        return (400, "snappy: corrupt input".to_owned());
    };
    let Some(streams) = decode(&raw) else { return (400, "proto: illegal wireType".to_owned()) };
    if streams.iter().all(|(_, entries)| entries.is_empty()) {
        return (422, "at least one valid stream is required for ingestion".to_owned());
    }
    let count: usize = streams.iter().map(|(_, entries)| entries.len()).sum();
    if count as u64 > knobs.burst.load(Ordering::Relaxed) {
        return (429, "ingestion rate limit exceeded".to_owned());
    }
    let mut store = store.lock().unwrap();
    let mut refused = None;
    for (labels, entries) in streams {
        let Some(parsed) = labels_of(&labels) else { return (400, format!("error parsing labels {labels}")) };
        if parsed > MAX_LABELS {
            return (400, format!("stream {labels} has {parsed} label names; limit {MAX_LABELS}"));
        }
        let stream = store.streams.entry(labels.clone()).or_default();
        for entry in entries {
            let newest = stream.last().map_or(0, |(wall, ..)| *wall);
            if entry.1.len() as u64 > knobs.max_line.load(Ordering::Relaxed) {
                refused = Some(format!("max entry size exceeded: {} bytes", entry.1.len()));
            } else if entry.0 < knobs.oldest.load(Ordering::Relaxed) {
                refused = Some("has timestamp too old".to_owned());
            } else if entry.0.saturating_add(WINDOW) < newest {
                refused = Some("entry too far behind".to_owned());
            } else if knobs.odd.lock().unwrap().iter().any(|odd| entry.1.contains(odd)) {
                refused = Some("this server does not like it".to_owned());
            } else if !stream.insert(entry) {
                knobs.again.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    match refused {
        // the good lines of a bad batch are stored all the same: that is how Loki does it
        Some(why) => (400, why),
        None => {
            knobs.pushes.fetch_add(1, Ordering::Relaxed);
            (204, String::new())
        }
    }
}

/// Number of labels of `{a="b", c="d"}`; names as Prometheus has them.
fn labels_of(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    for pair in inner.split(", ") {
        let (name, value) = pair.split_once('=')?;
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(good) || !value.starts_with('"') || !value.ends_with('"') {
            return None;
        }
    }
    Some(inner.split(", ").count())
}

fn query(request: &Request, store: &Mutex<Store>) -> (u16, String) {
    let text = request.path.split_once('?').map_or("", |(_, query)| query);
    let pairs: BTreeMap<&str, String> =
        text.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name, plain(value))).collect();
    let number = |name: &str| pairs.get(name).and_then(|value| value.parse::<u64>().ok());
    let (Some(start), Some(end), Some(limit)) = (number("start"), number("end"), number("limit")) else {
        return (400, "start, end and limit".to_owned());
    };
    let limit = usize::try_from(limit).unwrap();
    if limit > MAX_LIMIT || end - start > 30 * 86_400_000_000_000 {
        return (400, "max entries limit per query exceeded".to_owned());
    }
    let wanted = pairs["query"].trim_matches(['{', '}']).to_owned();
    let store = store.lock().unwrap();
    let mut all: Vec<(&Entry, &String)> = store
        .streams
        .iter()
        .filter(|(labels, _)| wanted.split(", ").all(|pair| labels.contains(pair)))
        .flat_map(|(labels, entries)| entries.iter().map(move |entry| (entry, labels)))
        .filter(|((wall, ..), _)| (start..end).contains(wall))
        .collect();
    all.sort();
    all.truncate(limit);
    // one stream of the answer for each set of labels and metadata, as Loki gives them
    let result: Vec<_> = all
        .into_iter()
        .map(|((wall, line, _), labels)| serde_json::json!({ "stream": { "of": labels }, "values": [[wall.to_string(), line]] }))
        .collect();
    (200, serde_json::json!({ "status": "success", "data": { "resultType": "streams", "result": result } }).to_string())
}

fn plain(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                out.push(u8::from_str_radix(&text[at + 1..at + 3], 16).unwrap());
                at += 2;
            }
            b'+' => out.push(b' '),
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8(out).unwrap()
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, in order; `None` for what is no message.
fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let field = match key & 7 {
            0 => Field::Number(varint(&mut bytes)?),
            2 => {
                let len = usize::try_from(varint(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(len)?;
                bytes = rest;
                Field::Bytes(value)
            }
            _ => return None,
        };
        out.push((key >> 3, field));
    }
    Some(out)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn string(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

fn decode(bytes: &[u8]) -> Option<Vec<(String, Vec<Entry>)>> {
    let mut streams = Vec::new();
    for field in fields(bytes)? {
        let (1, Field::Bytes(stream)) = field else { return None };
        let (mut labels, mut entries) = (None, Vec::new());
        for field in fields(stream)? {
            match field {
                (1, Field::Bytes(text)) => labels = Some(string(text)?),
                (2, Field::Bytes(entry)) => entries.push(entry_of(entry)?),
                _ => return None,
            }
        }
        streams.push((labels?, entries));
    }
    Some(streams)
}

fn entry_of(bytes: &[u8]) -> Option<Entry> {
    let (mut wall, mut line, mut metadata) = (None, None, Vec::new());
    for field in fields(bytes)? {
        match field {
            (1, Field::Bytes(time)) => {
                let mut parts = [0, 0];
                for field in fields(time)? {
                    let (at @ 1..=2, Field::Number(value)) = field else { return None };
                    parts[usize::try_from(at - 1).ok()?] = value;
                }
                wall = Some(parts[0] * 1_000_000_000 + parts[1]);
            }
            (2, Field::Bytes(text)) => line = Some(string(text)?),
            (3, Field::Bytes(pair)) => {
                let mut parts = [String::new(), String::new()];
                for field in fields(pair)? {
                    let (at @ 1..=2, Field::Bytes(value)) = field else { return None };
                    parts[usize::try_from(at - 1).ok()?] = string(value)?;
                }
                let [name, value] = parts;
                metadata.push((name, value));
            }
            _ => return None,
        }
    }
    Some((wall?, line?, metadata))
}

/// A certificate for loopback and its key, as PEM; whoever trusts the one trusts the server.
pub fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// The server's side of such a pair, and the certificate.
pub fn certificate() -> (Arc<rustls::ServerConfig>, String) {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let (certificate, key) = pair();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    (Arc::new(config), certificate)
}

/// Reads a whole answer of `GET path` from a plain HTTP server.
pub fn get(port: u16, path: &str) -> String {
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(client, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    text
}

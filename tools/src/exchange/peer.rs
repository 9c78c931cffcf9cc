//! One accepted socket: HTTP until it asks for a WebSocket, then frames. Never blocks.
//!
//! ```text
//!   bytes --httparse--> request -> Event::Http      (answered, kept open)
//!                    '-> upgrade -> 101, Event::Open -> frames -> Event::Frame
//! ```

use httparse::Status;
use keel_gateway::sim::Channel;
use mio::net::TcpStream;
use rustls::{ServerConnection, StreamOwned};
use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use tungstenite::{Error, Message, Utf8Bytes};

/// Largest request head; a longer one closes the socket.
const MAX_HEAD: usize = 64 << 10;
/// Largest request body; a longer one closes the socket.
const MAX_BODY: usize = 1 << 20;
/// Largest frame of a client; a longer one closes the socket.
const MAX_FRAME: usize = 1 << 20;
/// Most bytes taken from the socket at once; the library clears as many before every look.
const READ_BUFFER: usize = 4 << 10;
/// Bytes that may wait for a slow client; beyond it the socket is closed.
const MAX_WAITING: usize = 64 << 20;

/// The bytes under it all.
pub(super) enum Stream {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Stream {
    /// The socket itself.
    pub(super) fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &mut tls.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(into),
            Self::Tls(tls) => tls.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(from),
            Self::Tls(tls) => tls.write(from),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

/// What a socket brought.
#[derive(Debug)]
pub(super) enum Event {
    /// An HTTP request.
    Http(Request),
    /// It is a WebSocket now: endpoint and query string.
    Open(Channel, String),
    /// A text frame.
    Frame(Utf8Bytes),
    /// Nothing more for now.
    Nothing,
    /// It is over.
    Closed,
}

/// An HTTP request, complete.
#[derive(Debug, Default)]
pub(super) struct Request {
    /// `GET`, `POST`.
    pub(super) method: String,
    /// Without query.
    pub(super) path: String,
    /// Raw, without `?`.
    pub(super) query: String,
    /// As they arrived.
    pub(super) headers: Vec<(String, String)>,
    /// Raw.
    pub(super) body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

enum State {
    Http { stream: Stream, buffer: Vec<u8>, closing: bool },
    Web(Box<WebSocket<Stream>>),
    Over,
}

/// One socket.
pub(super) struct Peer {
    state: State,
    out: Vec<u8>,
    /// The other end.
    pub(super) ip: IpAddr,
    /// Something waits to be written.
    pub(super) unflushed: bool,
    /// An answer is awaited: no further request is read.
    pub(super) waiting: bool,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Peer({})", self.ip)
    }
}

impl Peer {
    /// A fresh socket.
    #[must_use]
    pub(super) fn new(stream: Stream, ip: IpAddr) -> Self {
        let state = State::Http { stream, buffer: Vec::new(), closing: false };
        Self { state, out: Vec::new(), ip, unflushed: false, waiting: false }
    }

    /// The socket, for registration; `None` when it is over.
    pub(super) fn tcp(&mut self) -> Option<&mut TcpStream> {
        match &mut self.state {
            State::Http { stream, .. } => Some(stream.tcp()),
            State::Web(web) => Some(web.get_mut().tcp()),
            State::Over => None,
        }
    }

    /// Is it a WebSocket?
    #[must_use]
    pub(super) const fn is_web(&self) -> bool {
        matches!(self.state, State::Web(_))
    }

    /// One step of reading.
    pub(super) fn read(&mut self) -> Event {
        match &mut self.state {
            State::Over => Event::Closed,
            State::Web(web) => match web.read() {
                Ok(Message::Text(text)) => Event::Frame(text),
                Ok(Message::Binary(bytes)) => {
                    Event::Frame(Utf8Bytes::try_from(bytes).unwrap_or_else(|_| Utf8Bytes::from_static("")))
                }
                Ok(Message::Ping(_)) => {
                    self.unflushed = true;
                    Event::Frame(Utf8Bytes::from_static("\u{0}"))
                }
                Ok(_) => Event::Frame(Utf8Bytes::from_static("\u{0}")),
                Err(Error::Io(error)) if would_wait(&error) => Event::Nothing,
                Err(_) => self.over(),
            },
            State::Http { .. } if self.waiting => Event::Nothing,
            State::Http { .. } => self.read_http(),
        }
    }

    fn over(&mut self) -> Event {
        self.state = State::Over;
        self.unflushed = false;
        Event::Closed
    }

    fn read_http(&mut self) -> Event {
        let State::Http { stream, buffer, .. } = &mut self.state else { return Event::Closed };
        let mut chunk = [0u8; 16 << 10];
        let mut ended = false;
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => {
                    ended = true;
                    break;
                }
                Ok(n) => buffer.extend_from_slice(&chunk[..n]),
                Err(error) if would_wait(&error) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.over(),
            }
            if buffer.len() > MAX_HEAD + MAX_BODY {
                return self.over();
            }
        }
        match parse(buffer) {
            Ok(Some((request, used))) => {
                buffer.drain(..used);
                self.requested(request)
            }
            Ok(None) if ended => self.over(),
            Ok(None) => Event::Nothing,
            Err(status) => {
                self.answer(status, &[], b"");
                if let State::Http { closing, .. } = &mut self.state {
                    *closing = true;
                }
                self.waiting = true;
                Event::Nothing
            }
        }
    }

    fn requested(&mut self, request: Request) -> Event {
        let upgrade = request.header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
        if let State::Http { closing, .. } = &mut self.state {
            *closing = request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        }
        if !upgrade {
            self.waiting = true;
            return Event::Http(request);
        }
        let channel = match request.path.trim_end_matches('/') {
            "/v5/public/linear" => Channel::Public,
            "/v5/private" => Channel::Private,
            "/v5/trade" => Channel::Trade,
            "/v5/public/misc/status" => Channel::Status,
            _ => {
                self.answer(404, &[], b"");
                return Event::Nothing;
            }
        };
        let Some(key) = request.header("sec-websocket-key").map(str::to_owned) else {
            self.answer(400, &[], b"");
            return Event::Nothing;
        };
        let accept = derive_accept_key(key.as_bytes());
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        let State::Http { mut stream, buffer, .. } = std::mem::replace(&mut self.state, State::Over) else {
            return Event::Closed;
        };
        // 130 bytes into an empty socket buffer: a short write here means the socket is gone.
        if stream.write_all(head.as_bytes()).and_then(|()| stream.flush()).is_err() {
            return Event::Closed;
        }
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_FRAME))
            .max_frame_size(Some(MAX_FRAME))
            .read_buffer_size(READ_BUFFER)
            .max_write_buffer_size(MAX_WAITING);
        let web = WebSocket::from_partially_read(stream, buffer, Role::Server, Some(config));
        self.state = State::Web(Box::new(web));
        Event::Open(channel, request.query)
    }

    /// Queues a text frame; [`Self::flush`] sends it.
    pub(super) fn send(&mut self, text: Vec<u8>) {
        let State::Web(web) = &mut self.state else { return };
        let Ok(text) = Utf8Bytes::try_from(text) else { return };
        self.unflushed = true;
        match web.write(Message::Text(text)) {
            Ok(()) => {}
            Err(Error::Io(error)) if would_wait(&error) => {}
            Err(_) => {
                self.over();
            }
        }
    }

    /// Sends the head of a text frame and only the beginning of its payload, then drops the socket: whoever listens sees
    /// a connection that died inside a frame.
    pub(super) fn cut(&mut self, bytes: &[u8]) {
        self.flush();
        if let State::Web(web) = &mut self.state {
            let announced = u16::try_from(bytes.len() + 1).unwrap_or(u16::MAX);
            let mut raw = vec![0x81, 126];
            raw.extend_from_slice(&announced.to_be_bytes());
            raw.extend_from_slice(&bytes[..bytes.len().min(usize::from(announced) - 1)]);
            let stream = web.get_mut();
            let _ = stream.write(&raw).and_then(|_| stream.flush());
        }
        self.over();
    }

    /// Queues an HTTP answer.
    pub(super) fn answer(&mut self, status: u16, headers: &[(&'static str, String)], body: &[u8]) {
        let State::Http { closing, .. } = &self.state else { return };
        let reason = match status {
            200 => "OK",
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            413 => "Content Too Large",
            429 => "Too Many Requests",
            _ => "Service Unavailable",
        };
        let mut head = format!("HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let keep = if *closing || status == 400 || status == 413 { "close" } else { "keep-alive" };
        head.push_str(&format!("Content-Length: {}\r\nConnection: {keep}\r\n\r\n", body.len()));
        self.out.extend_from_slice(head.as_bytes());
        self.out.extend_from_slice(body);
        self.waiting = false;
        self.unflushed = true;
    }

    /// Sends what waits. Says whether anything still waits.
    pub(super) fn flush(&mut self) -> bool {
        if !self.unflushed {
            return false;
        }
        let result = match &mut self.state {
            State::Over => Ok(true),
            State::Web(web) => match web.flush() {
                Ok(()) => Ok(true),
                Err(Error::Io(error)) if would_wait(&error) => Ok(false),
                Err(_) => Err(()),
            },
            State::Http { stream, closing, .. } => match push(stream, &mut self.out) {
                Ok(true) if *closing => Err(()),
                Ok(done) => Ok(done),
                Err(_) => Err(()),
            },
        };
        match result {
            Ok(done) => self.unflushed = !done,
            Err(()) => {
                self.over();
            }
        }
        self.unflushed
    }

    /// Ends it: a WebSocket with a close frame.
    pub(super) fn close(&mut self) {
        if let State::Web(web) = &mut self.state {
            let _ = web.close(None);
            let _ = web.flush();
        }
        self.over();
    }
}

fn would_wait(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
}

/// Writes as much as the socket takes; true when nothing is left.
fn push(stream: &mut Stream, out: &mut Vec<u8>) -> io::Result<bool> {
    let mut at = 0;
    let result = loop {
        if at == out.len() {
            break stream.flush().map(|()| true);
        }
        match stream.write(&out[at..]) {
            Ok(0) => break Err(ErrorKind::WriteZero.into()),
            Ok(n) => at += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    out.drain(..at);
    match result {
        Err(error) if would_wait(&error) => Ok(false),
        other => other,
    }
}

/// The body's length. Two that differ, or one that is no plain number, make it no request: where it ends would be a
/// matter of opinion.
fn length(request: &Request) -> Result<usize, u16> {
    let all = request.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case("content-length"));
    let mut lengths = all.map(|(_, value)| value.trim());
    let Some(first) = lengths.next() else { return Ok(0) };
    if lengths.any(|other| other != first) || !first.bytes().all(|c| c.is_ascii_digit()) {
        return Err(400);
    }
    first.parse().map_err(|_| if first.is_empty() { 400 } else { 413 })
}

/// A complete request and the bytes it took; `None` while more is needed; a status when it is no request.
pub(super) fn parse(buffer: &[u8]) -> Result<Option<(Request, usize)>, u16> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut headers);
    let used = match head.parse(buffer) {
        Ok(Status::Complete(used)) if used > MAX_HEAD => return Err(413), // as it would be in pieces
        Ok(Status::Complete(used)) => used,
        Ok(Status::Partial) if buffer.len() > MAX_HEAD => return Err(413),
        Ok(Status::Partial) => return Ok(None),
        Err(_) => return Err(400),
    };
    let target = head.path.unwrap_or("/");
    let target = target.split_once("://").map_or(target, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method: head.method.unwrap_or("").to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: head
            .headers
            .iter()
            .map(|h| (h.name.to_owned(), String::from_utf8_lossy(h.value).into_owned()))
            .collect(),
        body: Vec::new(),
    };
    if request.header("transfer-encoding").is_some() {
        return Err(400);
    }
    let length = length(&request)?;
    if length > MAX_BODY {
        return Err(413);
    }
    let Some(body) = buffer.get(used..used + length) else { return Ok(None) };
    request.body = body.to_vec();
    Ok(Some((request, used + length)))
}

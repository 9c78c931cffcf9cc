//! One WebSocket conversation over TCP or TLS, never blocking.
//!
//! In: an endpoint, text to send. Out: text frames, and the moments a conversation opens and closes. A wire is polled:
//! each [`Wire::read`] looks at the socket at most once. It never blocks, never retries by itself (the session machine
//! decides when to connect again), never hands out a message larger than [`MAX_FRAME`], and allocates nothing for one that
//! is no larger than those before it.
//!
//! Certificates, keys and the HTTP handshake are rustls' and tungstenite's; the [`stream`]'s records and the [`frames`] in
//! them are keel's own.
//!
//! ```text
//!   Idle --connect--> Dialing --> Shaking --> Open --error--> Broken --read--> Idle
//! ```

use super::stamp::Stamped;
use anyhow::{Context, Result, bail};
use frames::{Frames, Opcode, Said};
use mio::net::TcpStream;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use stream::Stream;
use tungstenite::handshake::client::ClientHandshake;
use tungstenite::handshake::{HandshakeError, MidHandshake};
use tungstenite::protocol::WebSocket;

mod frames;
mod records;
mod stream;
#[cfg(test)]
mod tests;

/// Largest message accepted, and most bytes that may wait for a venue which does not take them; more ends the
/// conversation. A 1000-level snapshot is about 60 KB.
pub const MAX_FRAME: usize = 4 << 20;

/// Bytes the buffers of a conversation begin with: all but the largest snapshots fit.
pub const ROOM: usize = 64 << 10;

/// Where a conversation goes. Names are resolved once, here: a hot thread never waits for a name server.
#[derive(Clone)]
pub struct Endpoint {
    url: String,
    addresses: Vec<SocketAddr>,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({})", self.url)
    }
}

impl Endpoint {
    /// A `ws://` or `wss://` address.
    pub fn new(url: &str, tls: &Arc<ClientConfig>) -> Result<Self> {
        let uri: tungstenite::http::Uri = url.parse().with_context(|| format!("{url:?} is not an address"))?;
        let host = uri.host().with_context(|| format!("{url:?} names no host"))?;
        let (secure, default) = match uri.scheme_str() {
            Some("wss") => (true, 443),
            Some("ws") => (false, 80),
            _ => bail!("{url:?} must begin with ws:// or wss://"),
        };
        let port = uri.port_u16().unwrap_or(default);
        let addresses: Vec<SocketAddr> =
            (host, port).to_socket_addrs().with_context(|| format!("looking up {host}:{port}"))?.collect();
        if addresses.is_empty() {
            bail!("{host}:{port} has no address");
        }
        let tls = if secure {
            let name =
                ServerName::try_from(host.to_owned()).with_context(|| format!("{host:?} is not a server name"))?;
            let mut tls = ClientConfig::clone(tls);
            tls.enable_secret_extraction = true;
            Some((Arc::new(tls), name))
        } else {
            None
        };
        Ok(Self { url: url.to_owned(), addresses, tls })
    }
}

enum State {
    Idle,
    Dialing(TcpStream),
    Shaking(Box<MidHandshake<ClientHandshake<Stream>>>),
    Open(Box<Conversation>),
    Broken,
}

/// Frames that crossed all wires of a node: what the lockstep of a deterministic run compares.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Frames dealt with: a frame counts when the next one is asked for.
    pub finished: AtomicU64,
    /// Frames handed to a socket.
    pub sent: AtomicU64,
}

/// What one step brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Nothing to do.
    Nothing,
    /// Something moved, nothing to tell.
    Progress,
    /// The conversation is open.
    Opened,
    /// A text frame was put where the caller asked.
    Frame,
    /// The conversation ended.
    Closed,
}

/// Why keel leaves (RFC 6455, 7.4.1).
const NORMAL: u16 = 1000;
const VIOLATED: u16 = 1002;

/// An open conversation.
struct Conversation {
    stream: Stream,
    frames: Frames,
    frame: Vec<u8>,
    /// What is said at its end, unless the venue's own end was answered.
    farewell: Option<u16>,
}

/// Whoever leaves says so, as far as the socket takes it at once: the venue need not guess whether keel died.
impl Drop for Conversation {
    fn drop(&mut self) {
        if let Some(code) = self.farewell {
            self.frame.clear();
            self.frames.write(Opcode::Close, &code.to_be_bytes(), &mut self.frame);
            let _ = self.stream.queue(&self.frame);
        }
        let _ = self.stream.end();
    }
}

impl Conversation {
    /// One look at the socket, unless what it brought before is not dealt with.
    fn read(&mut self, text: &mut String) -> io::Result<Turn> {
        if self.stream.pending() > 0 {
            self.send_waiting()?;
        }
        if let Some(turn) = self.next(text)? {
            return Ok(turn);
        }
        self.stream.fill()?;
        Ok(self.next(text)?.unwrap_or(Turn::Progress))
    }

    /// The next whole frame of what lies here.
    fn next(&mut self, text: &mut String) -> io::Result<Option<Turn>> {
        loop {
            let next = self.frames.next(self.stream.plain(), text).map_err(|why| {
                self.farewell = Some(VIOLATED);
                invalid(why)
            })?;
            if let Some((count, said)) = next {
                let turn = self.said(said)?;
                self.stream.take(count);
                return Ok(Some(turn));
            }
            if !self.stream.open()? {
                return Ok(None);
            }
        }
    }

    fn said(&mut self, said: Said) -> io::Result<Turn> {
        let (opcode, payload) = match said {
            Said::Text => return Ok(Turn::Frame),
            Said::Nothing => return Ok(Turn::Progress),
            Said::Ping(payload) => (Opcode::Pong, payload),
            Said::Close(payload) => (Opcode::Close, payload),
        };
        let payload = &self.stream.plain()[payload];
        let end = (opcode == Opcode::Close).then(|| frames::why(payload));
        self.frame.clear();
        self.frames.write(opcode, payload, &mut self.frame);
        self.stream.queue(&self.frame)?;
        let sent = self.send_waiting();
        self.farewell = self.farewell.filter(|_| end.is_none());
        end.map_or_else(|| sent.map(|()| Turn::Progress), |why| Err(io::Error::new(io::ErrorKind::UnexpectedEof, why)))
    }

    /// Hands the kernel what it takes now. What it does not must not become too much.
    fn send_waiting(&mut self) -> io::Result<()> {
        match self.stream.send() {
            Err(error) if !waits(&error) => Err(error),
            _ if self.stream.pending() > MAX_FRAME => Err(invalid("the venue takes nothing more")),
            _ => Ok(()),
        }
    }

    fn send(&mut self, text: &[u8]) -> io::Result<()> {
        self.frame.clear();
        self.frames.write(Opcode::Text, text, &mut self.frame);
        self.stream.queue(&self.frame)?;
        self.send_waiting()
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Whether there is only nothing to be had now.
fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// One conversation.
pub struct Wire {
    endpoint: Endpoint,
    state: State,
    next_address: usize,
    held: bool,
    traffic: Arc<Traffic>,
    trouble: Option<String>,
    stamps: bool,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Wire {
    /// A wire that has not been asked to connect.
    #[must_use]
    pub const fn new(endpoint: Endpoint, traffic: Arc<Traffic>) -> Self {
        let state = State::Idle;
        Self { endpoint, state, next_address: 0, held: false, traffic, trouble: None, stamps: false }
    }

    /// The same, with the kernel asked when it received each byte.
    #[must_use]
    pub const fn stamped(mut self, on: bool) -> Self {
        self.stamps = on;
        self
    }

    /// Nanoseconds the bytes last read from the socket had waited in the kernel, once; `None` without stamps.
    pub fn waited(&mut self) -> Option<u64> {
        let State::Open(conversation) = &mut self.state else { return None };
        conversation.stream.waited()
    }

    /// Begins a conversation; [`Self::read`] carries it on. Drops the one before.
    pub fn connect(&mut self) {
        let address = self.endpoint.addresses[self.next_address % self.endpoint.addresses.len()];
        self.next_address += 1;
        self.state = match TcpStream::connect(address) {
            Ok(tcp) => State::Dialing(tcp),
            Err(error) => self.fail(&error.to_string()),
        };
    }

    /// Ends the conversation. The end is not reported by [`Self::read`]: whoever closed it knows.
    pub fn close(&mut self) {
        self.state = State::Idle;
    }

    /// Why the last conversation ended, once.
    pub fn trouble(&mut self) -> Option<String> {
        self.trouble.take()
    }

    /// One step. A frame's text is put into `text`, in place of what was there.
    pub fn read(&mut self, text: &mut String) -> Turn {
        if std::mem::take(&mut self.held) {
            self.traffic.finished.fetch_add(1, Ordering::AcqRel);
        }
        if let State::Open(conversation) = &mut self.state {
            let read = conversation.read(text);
            return self.opened(read);
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Broken => Turn::Closed,
            State::Dialing(tcp) => self.dial(tcp),
            State::Shaking(shaking) => self.shake(shaking.handshake()),
            State::Idle | State::Open(_) => Turn::Nothing,
        }
    }

    /// Hands one text frame to the socket. A frame that cannot be taken ends the conversation: the next
    /// [`Self::read`] says so. Without a conversation it does nothing.
    pub fn send(&mut self, text: &[u8]) {
        let State::Open(conversation) = &mut self.state else { return };
        match conversation.send(text) {
            Ok(()) => {
                self.traffic.sent.fetch_add(1, Ordering::AcqRel);
            }
            Err(error) => {
                self.fail(&error.to_string());
                self.state = State::Broken;
            }
        }
    }

    fn fail(&mut self, why: &str) -> State {
        self.trouble = Some(format!("{}: {why}", self.endpoint.url));
        State::Idle
    }

    fn dial(&mut self, tcp: TcpStream) -> Turn {
        match (tcp.take_error(), tcp.peer_addr()) {
            (Ok(None), Ok(_)) => {}
            (Ok(None), Err(error)) if error.kind() == io::ErrorKind::NotConnected => {
                self.state = State::Dialing(tcp);
                return Turn::Nothing;
            }
            (Ok(Some(error)) | Err(error), _) | (_, Err(error)) => {
                self.state = self.fail(&error.to_string());
                return Turn::Closed;
            }
        }
        let _ = tcp.set_nodelay(true);
        let tcp = Stamped::new(tcp, self.stamps);
        match Stream::new(tcp, self.endpoint.tls.as_ref()) {
            Ok(stream) => self.shake(tungstenite::client::client(self.endpoint.url.as_str(), stream)),
            Err(error) => {
                self.state = self.fail(&error.to_string());
                Turn::Closed
            }
        }
    }

    fn shake(
        &mut self,
        shaken: Result<
            (WebSocket<Stream>, tungstenite::handshake::client::Response),
            HandshakeError<ClientHandshake<Stream>>,
        >,
    ) -> Turn {
        match shaken {
            Ok((socket, _)) => self.open(socket.into_inner()),
            Err(HandshakeError::Interrupted(shaking)) => {
                self.state = State::Shaking(Box::new(shaking));
                Turn::Nothing
            }
            Err(HandshakeError::Failure(error)) => {
                self.state = self.fail(&error.to_string());
                Turn::Closed
            }
        }
    }

    /// The handshake read the answer's head and nothing behind it.
    fn open(&mut self, stream: Stream) -> Turn {
        match Frames::new(MAX_FRAME) {
            Ok(frames) => {
                let frame = Vec::with_capacity(ROOM);
                self.state = State::Open(Box::new(Conversation { stream, frames, frame, farewell: Some(NORMAL) }));
                Turn::Opened
            }
            Err(error) => {
                self.state = self.fail(&error.to_string());
                Turn::Closed
            }
        }
    }

    fn opened(&mut self, read: io::Result<Turn>) -> Turn {
        match read {
            Ok(turn) => {
                self.held = turn == Turn::Frame;
                turn
            }
            Err(error) if waits(&error) => Turn::Nothing,
            Err(error) => {
                self.state = self.fail(&error.to_string());
                Turn::Closed
            }
        }
    }
}

/// Whom to trust: the web's roots, or one authority of our own for a simulated exchange.
pub fn tls(authority: Option<&std::path::Path>) -> Result<Arc<ClientConfig>> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = authority {
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        roots = rustls::RootCertStore::empty();
        let certificates =
            CertificateDer::pem_file_iter(path).with_context(|| format!("reading {}", path.display()))?;
        for certificate in certificates {
            roots.add(certificate.with_context(|| format!("{} is not a certificate", path.display()))?)?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

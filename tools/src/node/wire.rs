//! One WebSocket conversation over TCP or TLS, never blocking.
//!
//! In: an endpoint, text to send. Out: text frames, and the moments a conversation opens and closes. A wire is polled:
//! each [`Wire::read`] does at most one step. It never blocks, never retries by itself (the session machine decides
//! when to connect again), and never hands out a frame larger than [`MAX_FRAME`].
//!
//! ```text
//!   Idle --connect--> Dialing --> Shaking --> Open --error--> Broken --read--> Idle
//! ```

use super::stamp::Stamped;
use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tungstenite::handshake::client::ClientHandshake;
use tungstenite::handshake::{HandshakeError, MidHandshake};
use tungstenite::protocol::{WebSocket, WebSocketConfig};
use tungstenite::{Error, Message, Utf8Bytes};

/// Largest frame accepted; a larger one closes the conversation. A 1000-level snapshot is about 60 KB.
pub const MAX_FRAME: usize = 4 << 20;
/// Most bytes taken from the socket at once. The library clears as many before every look, and a look is what an idle
/// round does: with its usual 128 KiB each round swept the caches of everything a tick needs.
const READ_BUFFER: usize = 4 << 10;

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
            Some((Arc::clone(tls), name))
        } else {
            None
        };
        Ok(Self { url: url.to_owned(), addresses, tls })
    }
}

enum Stream {
    Plain(Stamped),
    Tls(Box<StreamOwned<ClientConnection, Stamped>>),
}

impl Stream {
    const fn waited(&mut self) -> Option<u64> {
        match self {
            Self::Plain(tcp) => tcp.waited(),
            Self::Tls(tls) => tls.sock.waited(),
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

enum State {
    Idle,
    Dialing(TcpStream),
    Shaking(Box<MidHandshake<ClientHandshake<Stream>>>),
    Open(Box<WebSocket<Stream>>),
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
#[derive(Debug)]
pub enum Turn {
    /// Nothing to do.
    Nothing,
    /// Something moved, nothing to tell.
    Progress,
    /// The conversation is open.
    Opened,
    /// A text frame.
    Frame(Utf8Bytes),
    /// The conversation ended.
    Closed,
}

/// One conversation.
pub struct Wire {
    endpoint: Endpoint,
    state: State,
    next_address: usize,
    unflushed: bool,
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
        Self { endpoint, state, next_address: 0, unflushed: false, held: false, traffic, trouble: None, stamps: false }
    }

    /// The same, with the kernel asked when it received each byte.
    #[must_use]
    pub const fn stamped(mut self, on: bool) -> Self {
        self.stamps = on;
        self
    }

    /// Nanoseconds the bytes last read from the socket had waited in the kernel, once; `None` without stamps.
    pub fn waited(&mut self) -> Option<u64> {
        let State::Open(socket) = &mut self.state else { return None };
        socket.get_mut().waited()
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
        self.unflushed = false;
        self.state = State::Idle;
    }

    /// Why the last conversation ended, once.
    pub fn trouble(&mut self) -> Option<String> {
        self.trouble.take()
    }

    /// One step.
    pub fn read(&mut self) -> Turn {
        if std::mem::take(&mut self.held) {
            self.traffic.finished.fetch_add(1, Ordering::AcqRel);
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => Turn::Nothing,
            State::Broken => Turn::Closed,
            State::Dialing(tcp) => self.dial(tcp),
            State::Shaking(shaking) => self.shake(shaking.handshake()),
            State::Open(mut socket) => {
                if self.unflushed {
                    self.unflushed =
                        matches!(socket.flush(), Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock);
                }
                let read = socket.read();
                self.state = State::Open(socket);
                self.opened(read)
            }
        }
    }

    /// Hands one text frame to the socket. A frame that cannot be taken ends the conversation: the next
    /// [`Self::read`] says so. Without a conversation it does nothing.
    pub fn send(&mut self, text: &[u8]) {
        let State::Open(socket) = &mut self.state else { return };
        let message = Message::Text(Utf8Bytes::try_from(tungstenite::Bytes::copy_from_slice(text)).unwrap_or_default());
        match socket.write(message).and_then(|()| socket.flush()) {
            Ok(()) => {}
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => self.unflushed = true,
            Err(error) => {
                self.fail(&error.to_string());
                self.state = State::Broken;
                return;
            }
        }
        self.traffic.sent.fetch_add(1, Ordering::AcqRel);
    }

    fn fail(&mut self, why: &str) -> State {
        self.unflushed = false;
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
        let stream = match &self.endpoint.tls {
            None => Stream::Plain(tcp),
            Some((config, name)) => match ClientConnection::new(Arc::clone(config), name.clone()) {
                Ok(tls) => Stream::Tls(Box::new(StreamOwned::new(tls, tcp))),
                Err(error) => {
                    self.state = self.fail(&error.to_string());
                    return Turn::Closed;
                }
            },
        };
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_FRAME))
            .max_frame_size(Some(MAX_FRAME))
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_FRAME);
        let shaken = tungstenite::client::client_with_config(self.endpoint.url.as_str(), stream, Some(config));
        self.shake(shaken)
    }

    fn shake(
        &mut self,
        shaken: Result<
            (WebSocket<Stream>, tungstenite::handshake::client::Response),
            HandshakeError<ClientHandshake<Stream>>,
        >,
    ) -> Turn {
        match shaken {
            Ok((socket, _)) => {
                self.state = State::Open(Box::new(socket));
                Turn::Opened
            }
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

    fn opened(&mut self, read: tungstenite::Result<Message>) -> Turn {
        match read {
            Ok(Message::Text(text)) => {
                self.held = true;
                Turn::Frame(text)
            }
            Ok(Message::Ping(_)) => {
                self.unflushed = true;
                Turn::Progress
            }
            Ok(_) => Turn::Progress,
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Turn::Nothing,
            Err(error) => {
                self.state = self.fail(&error.to_string());
                Turn::Closed
            }
        }
    }
}

/// TLS as the venue speaks it: the web's roots, or one authority of our own for a simulated exchange.
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

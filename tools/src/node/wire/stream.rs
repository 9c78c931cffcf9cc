//! Bytes in order over TCP, or over TLS 1.3 on it, without a copy kept or an allocation made once the keys are agreed.
//!
//! The handshake, its certificates, tickets and every later key are rustls'. The records between are opened and sealed
//! where they lie ([`super::records`]): rustls does both into vectors of its own.
//!
//! In: a connected socket, bytes to send. Out: what came, in order. It never blocks, and is refused for good at the first
//! thing that does not follow. A venue that speaks no TLS 1.3 is not spoken to.
//!
//! ```text
//!   socket -> | plain, not taken yet | raw: records not opened yet | room |        one buffer, from its front again when empty
//! ```

use super::super::stamp::Stamped;
use super::ROOM;
use super::records::{self, Key, Kind, MOST, MOST_PLAIN};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::pki_types::ServerName;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, InsufficientSizeError, UnbufferedStatus};
use rustls::{AlertDescription, ClientConfig, ProtocolVersion};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::sync::Arc;

/// Records under one key before it is changed: AES-GCM bears twice as many (RFC 8446, 5.5).
const RECORDS: u64 = 1 << 23;
/// Most bytes of a handshake message after the handshake; a ticket takes some hundreds.
const MOST_MESSAGE: usize = 64 << 10;
/// Most bytes of an answer's head before there are frames.
const MOST_HEAD: usize = 16 << 10;
const END_OF_HEAD: &[u8] = b"\r\n\r\n";
const NEW_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;
const CLOSE_NOTIFY: [u8; 2] = [1, 0];

fn broken(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// What came and was not taken yet.
struct Inbox {
    bytes: Vec<u8>,
    plain: Range<usize>,
    raw: Range<usize>,
}

impl Inbox {
    fn new() -> Self {
        Self { bytes: vec![0; ROOM], plain: 0..0, raw: 0..0 }
    }

    fn plain(&self) -> &[u8] {
        &self.bytes[self.plain.clone()]
    }

    fn raw(&mut self) -> &mut [u8] {
        &mut self.bytes[self.raw.clone()]
    }

    /// Where the socket's next bytes go: room for a record at least.
    fn room(&mut self) -> &mut [u8] {
        if self.plain.is_empty() && self.raw.is_empty() {
            (self.plain, self.raw) = (0..0, 0..0);
        }
        if self.bytes.len() - self.raw.end < MOST {
            self.pack();
        }
        if self.bytes.len() - self.raw.end < MOST {
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
        &mut self.bytes[self.raw.end..]
    }

    fn pack(&mut self) {
        let (plain, raw) = (self.plain.len(), self.raw.len());
        self.bytes.copy_within(self.plain.clone(), 0);
        self.bytes.copy_within(self.raw.clone(), plain);
        (self.plain, self.raw) = (0..plain, plain..plain + raw);
    }

    /// Everything raw is plain.
    fn as_it_came(&mut self) -> bool {
        let any = !self.raw.is_empty();
        self.plain.end = self.raw.end;
        self.raw.start = self.raw.end;
        any
    }

    /// Of the record raw begins with, `length` bytes long, the `said` ones after its header are plain.
    fn opened(&mut self, length: usize, said: usize) {
        let at = self.raw.start + records::HEADER;
        if self.plain.is_empty() {
            self.plain = at..at + said;
        } else {
            self.bytes.copy_within(at..at + said, self.plain.end);
            self.plain.end += said;
        }
        self.raw.start += length;
    }
}

/// What is on its way out.
struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    fn flush(&mut self, tcp: &mut Stamped) -> io::Result<()> {
        while self.sent < self.bytes.len() {
            match tcp.write(&self.bytes[self.sent..])? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => self.sent += count,
            }
        }
        self.bytes.clear();
        self.sent = 0;
        Ok(())
    }
}

/// The keys of a conversation, and who knows the next ones.
struct Keys {
    rx: Key,
    tx: Key,
    next: KernelConnection<ClientConnectionData>,
    message: Vec<u8>,
}

impl Keys {
    fn new(agreed: UnbufferedClientConnection) -> io::Result<Self> {
        let (secrets, next) = agreed.dangerous_into_kernel_connection().map_err(broken)?;
        if next.protocol_version() != ProtocolVersion::TLSv1_3 {
            return Err(broken("the venue speaks no TLS 1.3"));
        }
        let (rx, tx) = (Key::new(secrets.rx).map_err(broken)?, Key::new(secrets.tx).map_err(broken)?);
        Ok(Self { rx, tx, next, message: Vec::new() })
    }

    fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        for part in plain.chunks(MOST_PLAIN) {
            if self.tx.sequence() >= RECORDS {
                self.renew(out)?;
            }
            self.tx.seal(Kind::Data, part, out).map_err(broken)?;
        }
        Ok(())
    }

    /// Says that the next record is under the next key.
    fn renew(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.tx.seal(Kind::Handshake, &[KEY_UPDATE, 0, 0, 1, 0], out).map_err(broken)?;
        self.tx = Key::new(self.next.update_tx_secret().map_err(broken)?).map_err(broken)?;
        Ok(())
    }

    /// Opens the record raw begins with, if all of it is there.
    fn open(&mut self, inbox: &mut Inbox, out: &mut Vec<u8>) -> io::Result<bool> {
        let raw = inbox.raw();
        let Some(length) = records::length(raw).map_err(broken)? else { return Ok(false) };
        let Some(record) = raw.get_mut(..length) else { return Ok(false) };
        let (kind, said) = self.rx.open(record).map_err(broken)?;
        let said = match kind {
            Kind::Data if self.message.is_empty() => said,
            Kind::Data => return Err(broken("half a TLS message")),
            Kind::Alert => return Err(alert(&record[records::HEADER..records::HEADER + said])),
            Kind::Handshake => {
                self.message.extend_from_slice(&record[records::HEADER..records::HEADER + said]);
                self.messages(out)?;
                0
            }
        };
        inbox.opened(length, said);
        Ok(true)
    }

    /// Acts on the whole messages that came after the handshake.
    fn messages(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        while let Some(&[kind, a, b, c]) = self.message.first_chunk::<4>() {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if length > MOST_MESSAGE {
                return Err(broken("a TLS message larger than keel takes"));
            }
            let Some(body) = self.message.get(4..4 + length) else { break };
            match (kind, body) {
                (NEW_TICKET, ticket) => self.next.handle_new_session_ticket(ticket).map_err(broken)?,
                (KEY_UPDATE, &[asked @ (0 | 1)]) if self.message.len() == 5 => {
                    self.rx = Key::new(self.next.update_rx_secret().map_err(broken)?).map_err(broken)?;
                    if asked == 1 {
                        self.renew(out)?;
                    }
                }
                _ => return Err(broken("a TLS message that has no place after the handshake")),
            }
            self.message.drain(..4 + length);
        }
        Ok(())
    }
}

/// What the peer's alert means: its end, one way or the other.
fn alert(said: &[u8]) -> io::Error {
    match said {
        [_, 0] => io::Error::new(io::ErrorKind::UnexpectedEof, "the venue ended the conversation"),
        [_, code] => broken(format!("the venue ended the conversation: TLS alert {:?}", AlertDescription::from(*code))),
        _ => broken("a TLS alert that is none"),
    }
}

enum Tls {
    None,
    Shaking(Box<UnbufferedClientConnection>),
    Open(Box<Keys>),
    Broken,
}

/// What the handshake waits for.
enum Step {
    Again,
    Bytes,
    Done,
}

/// One conversation's bytes.
pub(super) struct Stream {
    tcp: Stamped,
    tls: Tls,
    inbox: Inbox,
    outbox: Outbox,
    /// Bytes of an answer's head that were found and not handed over.
    head: usize,
}

impl Stream {
    /// Over TCP, or over TLS when there is a name to be proved.
    pub(super) fn new(tcp: Stamped, tls: Option<&(Arc<ClientConfig>, ServerName<'static>)>) -> io::Result<Self> {
        let tls = match tls {
            None => Tls::None,
            Some((config, name)) => Tls::Shaking(Box::new(
                UnbufferedClientConnection::new(Arc::clone(config), name.clone()).map_err(broken)?,
            )),
        };
        Ok(Self { tcp, tls, inbox: Inbox::new(), outbox: Outbox { bytes: Vec::with_capacity(ROOM), sent: 0 }, head: 0 })
    }

    /// Nanoseconds the bytes last read had waited in the kernel, once.
    pub(super) const fn waited(&mut self) -> Option<u64> {
        self.tcp.waited()
    }

    /// What came and was not taken.
    pub(super) fn plain(&self) -> &[u8] {
        self.inbox.plain()
    }

    /// These are dealt with.
    pub(super) const fn take(&mut self, count: usize) {
        self.inbox.plain.start += count;
    }

    /// Makes more plain of what lies here; `false` when that takes more bytes.
    pub(super) fn open(&mut self) -> io::Result<bool> {
        match &mut self.tls {
            Tls::None => Ok(self.inbox.as_it_came()),
            Tls::Open(keys) => keys.open(&mut self.inbox, &mut self.outbox.bytes),
            Tls::Shaking(_) => Ok(false),
            Tls::Broken => Err(broken("TLS failed before")),
        }
    }

    /// One look at the socket.
    pub(super) fn fill(&mut self) -> io::Result<()> {
        match self.tcp.read(self.inbox.room())? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the venue hung up")),
            count => {
                self.inbox.raw.end += count;
                Ok(())
            }
        }
    }

    /// Bytes that are not with the kernel yet.
    pub(super) const fn pending(&self) -> usize {
        self.outbox.bytes.len() - self.outbox.sent
    }

    /// Puts bytes behind those that wait.
    pub(super) fn queue(&mut self, plain: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            Tls::None => self.outbox.bytes.extend_from_slice(plain),
            Tls::Open(keys) => keys.seal(plain, &mut self.outbox.bytes)?,
            Tls::Shaking(_) | Tls::Broken => return Err(broken("bytes before the keys for them")),
        }
        Ok(())
    }

    /// Hands the kernel what it takes of what waits.
    pub(super) fn send(&mut self) -> io::Result<()> {
        self.outbox.flush(&mut self.tcp)
    }

    /// Tells the venue that nothing more comes, and hands the kernel what it takes.
    pub(super) fn end(&mut self) -> io::Result<()> {
        if let Tls::Open(keys) = &mut self.tls {
            keys.tx.seal(Kind::Alert, &CLOSE_NOTIFY, &mut self.outbox.bytes).map_err(broken)?;
        }
        self.send()
    }

    /// Carries the handshake on until it is done or waits.
    fn settle(&mut self) -> io::Result<()> {
        while let Tls::Shaking(connection) = &mut self.tls {
            match shake(connection, &mut self.inbox, &mut self.outbox.bytes) {
                Ok(Step::Again) => {}
                Ok(Step::Bytes) => {
                    self.send()?;
                    self.fill()?;
                }
                Ok(Step::Done) => self.agreed()?,
                Err(error) => {
                    alarm(connection, &mut self.inbox, &mut self.outbox.bytes);
                    let _ = self.send();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn agreed(&mut self) -> io::Result<()> {
        if let Tls::Shaking(connection) = std::mem::replace(&mut self.tls, Tls::Broken) {
            self.tls = Tls::Open(Box::new(Keys::new(*connection)?));
        }
        Ok(())
    }
}

/// One step of rustls' handshake.
fn shake(connection: &mut UnbufferedClientConnection, inbox: &mut Inbox, out: &mut Vec<u8>) -> io::Result<Step> {
    let UnbufferedStatus { discard, state } = connection.process_tls_records(inbox.raw());
    let step = match state {
        Ok(ConnectionState::EncodeTlsData(data)) => encode(data, out).map(|()| Step::Again),
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::BlockedHandshake) => Ok(Step::Bytes),
        Ok(ConnectionState::WriteTraffic(_)) => Ok(Step::Done),
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the venue ended the handshake"))
        }
        Ok(_) => Err(broken("the venue spoke before it was asked")),
        Err(error) => Err(broken(error)),
    };
    inbox.raw.start += discard;
    inbox.plain = inbox.raw.start..inbox.raw.start;
    step
}

/// The alert that tells the venue why there is no handshake, if there is one.
fn alarm(connection: &mut UnbufferedClientConnection, inbox: &mut Inbox, out: &mut Vec<u8>) {
    let UnbufferedStatus { discard, state } = connection.process_tls_records(inbox.raw());
    if let Ok(ConnectionState::EncodeTlsData(data)) = state {
        let _ = encode(data, out);
    }
    inbox.raw.start += discard;
}

fn encode(mut data: EncodeTlsData<'_, ClientConnectionData>, out: &mut Vec<u8>) -> io::Result<()> {
    let at = out.len();
    let needed = match data.encode(&mut []) {
        Ok(count) => count,
        Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => required_size,
        Err(error) => return Err(broken(error)),
    };
    out.resize(at + needed, 0);
    data.encode(&mut out[at..]).map(drop).map_err(broken)
}

/// How the HTTP handshake reads: the head of the answer once it is whole, never a byte of what follows it.
impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.settle()?;
        while self.head == 0 {
            let plain = self.inbox.plain();
            if let Some(end) = plain.windows(END_OF_HEAD.len()).position(|four| four == END_OF_HEAD) {
                self.head = end + END_OF_HEAD.len();
            } else if plain.len() > MOST_HEAD {
                return Err(broken("an answer whose head does not end"));
            } else if !self.open()? {
                self.fill()?;
            }
        }
        let count = into.len().min(self.head);
        into[..count].copy_from_slice(&self.inbox.plain()[..count]);
        self.take(count);
        self.head -= count;
        Ok(count)
    }
}

/// How it writes.
impl Write for Stream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.settle()?;
        self.queue(from)?;
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.settle()?;
        self.send()
    }
}

#[cfg(test)]
mod tests;

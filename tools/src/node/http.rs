//! `/metrics` and `/healthz`, on loopback unless told otherwise.
//!
//! In: GET requests. Out: one answer each, then the connection closes. Never: a wait, more than [`MAX_CONNECTIONS`] at
//! once, a request longer than [`MAX_REQUEST`]. It shares its thread with other cold agents, so every socket is polled.

use super::board::{Board, Cell};
use super::metrics::Exporter;
use super::{Part, Report};
use anyhow::{Context, Result};
use keel_core::agent::Agent;
use keel_core::units::{Mono, Now};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// Connections served at once; one more waits in the kernel.
pub const MAX_CONNECTIONS: usize = 16;
/// Longest request head; a longer one is answered with 431.
pub const MAX_REQUEST: usize = 8 * 1024;
/// Nanoseconds a connection may take; then it is dropped.
const PATIENCE: u64 = 30_000_000_000;
/// Nanoseconds without a duty cycle of the engine's thread after which the node counts as hung.
const HUNG: u64 = 2_000_000_000;

struct Connection {
    socket: TcpStream,
    inbox: Vec<u8>,
    answer: Option<Vec<u8>>,
    since: Mono,
}

/// The agent.
pub struct Http {
    listener: TcpListener,
    exporter: Exporter,
    board: Arc<Board>,
    connections: Vec<Connection>,
    rounds: u64,
    turned: Mono,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Http")
    }
}

impl Http {
    /// Listens.
    pub fn new(listen: SocketAddr, board: Arc<Board>, exporter: Exporter) -> Result<Self> {
        let listener = TcpListener::bind(listen)
            .with_context(|| format!("http: cannot listen on {listen}; choose another port or stop what uses it"))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, exporter, board, connections: Vec::new(), rounds: 0, turned: Mono::default() })
    }

    /// Where it listens.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    fn accept(&mut self, now: Now) -> usize {
        let mut work = 0;
        while self.connections.len() < MAX_CONNECTIONS {
            let Ok((socket, _)) = self.listener.accept() else { break };
            if socket.set_nonblocking(true).is_ok() {
                self.connections.push(Connection { socket, inbox: Vec::new(), answer: None, since: now.mono });
                work += 1;
            }
        }
        work
    }

    fn respond(&self, now: Now, head: &[u8]) -> Option<Vec<u8>> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(head) {
            Ok(httparse::Status::Partial) if head.len() < MAX_REQUEST => None,
            Ok(httparse::Status::Partial) => Some(page(431, "text/plain", "request too long\n")),
            Err(_) => Some(page(400, "text/plain", "not HTTP\n")),
            Ok(httparse::Status::Complete(_)) => Some(self.route(now, &request)),
        }
    }

    fn route(&self, now: Now, request: &httparse::Request<'_, '_>) -> Vec<u8> {
        let path = request.path.unwrap_or("").split('?').next().unwrap_or("");
        match (request.method, path) {
            (Some("GET"), "/metrics") => page(200, "text/plain; version=0.0.4", &self.exporter.render()),
            (Some("GET"), "/healthz") => self.health(now),
            (Some("GET"), _) => page(404, "text/plain", "there is /metrics and /healthz\n"),
            _ => page(405, "text/plain", "only GET\n"),
        }
    }

    /// Live: the engine's thread turns. Ready: links up, account compared. Safe: and the journal is sound.
    fn health(&self, now: Now) -> Vec<u8> {
        let live = now.mono.since(self.turned) < HUNG;
        let links = [Cell::PublicLink, Cell::PrivateLink, Cell::TradeLink];
        let ready =
            live && links.iter().all(|link| self.board.get(*link) == 2) && self.board.get(Cell::Reconciled) == 1;
        let safe = ready && self.board.get(Cell::LogHealth) == 0;
        let body = serde_json::json!({ "live": live, "ready": ready, "safe_to_trade": safe }).to_string();
        page(if live { 200 } else { 503 }, "application/json", &body)
    }
}

/// Moves one connection on; `None` when it is over.
fn advance(connection: &mut Connection, now: Now, respond: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Option<()> {
    if now.mono.since(connection.since) > PATIENCE {
        return None;
    }
    if connection.answer.is_none() {
        let mut bytes = [0; 1024];
        match connection.socket.read(&mut bytes) {
            Ok(0) => return None,
            Ok(count) => connection.inbox.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(()),
            Err(_) => return None,
        }
        connection.answer = respond(&connection.inbox);
    }
    let Some(answer) = connection.answer.as_mut() else { return Some(()) };
    match connection.socket.write(answer) {
        Ok(count) if count == answer.len() => None,
        Ok(count) => {
            answer.drain(..count);
            Some(())
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Some(()),
        Err(_) => None,
    }
}

fn page(status: u16, kind: &str, body: &str) -> Vec<u8> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        _ => "Service Unavailable",
    };
    format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl Agent for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn duty(&mut self, now: Now) -> usize {
        let rounds = self.board.get(Cell::HotRounds);
        if rounds != self.rounds || self.turned == Mono::default() {
            (self.rounds, self.turned) = (rounds, now.mono);
        }
        let mut work = self.accept(now);
        let mut connections = std::mem::take(&mut self.connections);
        work += connections.len();
        connections.retain_mut(|connection| advance(connection, now, |head| self.respond(now, head)).is_some());
        self.connections = connections;
        work
    }
}

impl Part for Http {
    fn finish(self: Box<Self>, _: &mut Report) {}
}

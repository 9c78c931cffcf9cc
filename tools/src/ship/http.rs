//! `/metrics` and `/healthz` of the shipper, on a thread that may block.
//!
//! In: GET requests, one at a time. Out: one answer each. Never: a request longer than [`MAX_REQUEST`], a client that
//! holds the thread for longer than [`PATIENCE`].

use super::status::Status;
use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Longest request head.
const MAX_REQUEST: usize = 8 * 1024;
/// Longest wait for a client.
const PATIENCE: Duration = Duration::from_secs(2);

/// Listens; gives the address.
pub(super) fn serve(listen: SocketAddr, status: Arc<Status>) -> Result<SocketAddr> {
    let listener = TcpListener::bind(listen)
        .with_context(|| format!("http: cannot listen on {listen}; choose another port or stop what uses it"))?;
    let address = listener.local_addr()?;
    let work = move || {
        for client in listener.incoming().flatten() {
            let _ = answer(client, &status);
        }
    };
    std::thread::Builder::new().name("ship-http".to_owned()).spawn(work).context("starting the metrics thread")?;
    Ok(address)
}

fn answer(mut client: TcpStream, status: &Status) -> std::io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut head = Vec::new();
    let mut bytes = [0; 1024];
    while !head.windows(4).any(|four| four == b"\r\n\r\n") && head.len() < MAX_REQUEST {
        match client.read(&mut bytes)? {
            0 => return Ok(()),
            count => head.extend_from_slice(&bytes[..count]),
        }
    }
    let line = String::from_utf8_lossy(head.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned();
    let path = line.strip_prefix("GET ").and_then(|rest| rest.split([' ', '?']).next());
    let (code, kind, body) = match path {
        Some("/metrics") => ("200 OK", "text/plain; version=0.0.4", status.metrics()),
        Some("/healthz") if status.is_well() => ("200 OK", "application/json", status.json().to_string()),
        Some("/healthz") => ("503 Service Unavailable", "application/json", status.json().to_string()),
        Some(_) => ("404 Not Found", "text/plain", "there is /metrics and /healthz\n".to_owned()),
        None => ("405 Method Not Allowed", "text/plain", "only GET\n".to_owned()),
    };
    let len = body.len();
    write!(
        client,
        "HTTP/1.1 {code}\r\ncontent-type: {kind}\r\ncontent-length: {len}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n{body}"
    )
}

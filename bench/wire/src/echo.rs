//! Floors no client can beat: bytes there and bytes back between two pinned threads, over TCP and over TLS on it.
//!
//! 340 bytes go, 330 come back: a tick and an order, at the pace the clients are measured at. Both ends spin. Nothing is
//! parsed. The pace matters more than anything: what lies still for a millisecond is cold when it is needed again.

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use keel_tools::node::clock::Stopwatch;
use keel_wire::tape::Load;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

const TICK: usize = 340;
const ORDER: usize = 330;

fn fill(stream: &mut impl Read, into: &mut [u8]) -> Result<bool> {
    let mut at = 0;
    while at < into.len() {
        match stream.read(&mut into[at..]) {
            Ok(0) => return Ok(false),
            Ok(n) => at += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

fn answer(mut stream: impl Read + Write) -> Result<()> {
    let (mut tick, order) = ([0; TICK], [b'o'; ORDER]);
    while fill(&mut stream, &mut tick)? {
        stream.write_all(&order)?;
        stream.flush()?;
    }
    Ok(())
}

fn ask(mut stream: impl Read + Write, load: &Load) -> Result<Histogram<u64>> {
    let (watch, mut took) = (Stopwatch::new(), Histogram::new_with_bounds(1, 60_000_000_000, 3)?);
    let (tick, mut order) = ([b't'; TICK], [0; ORDER]);
    let begun = watch.ticks();
    for round in 0..load.ticks {
        while watch.nanos(begun, watch.ticks()) < load.due(round) {
            std::hint::spin_loop();
        }
        let from = watch.ticks();
        stream.write_all(&tick)?;
        stream.flush()?;
        fill(&mut stream, &mut order)?;
        if round * 10 > load.ticks {
            took.saturating_record(watch.nanos(from, watch.ticks()));
        }
    }
    Ok(took)
}

fn pin(cpu: Option<usize>) {
    if let Some(id) = cpu {
        core_affinity::set_for_current(core_affinity::CoreId { id });
    }
}

/// There and back, once a tick.
pub(crate) fn run(secure: bool, load: &Load, cpus: [Option<usize>; 2]) -> Result<Histogram<u64>> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    let (server, client) = if secure { configs().map(|(s, c)| (Some(s), Some(c)))? } else { (None, None) };
    let other = std::thread::spawn(move || -> Result<()> {
        pin(cpus[1]);
        let tcp = TcpStream::connect(address)?;
        tcp.set_nodelay(true)?;
        match client {
            None => {
                tcp.set_nonblocking(true)?;
                answer(tcp)
            }
            Some(config) => {
                let mut tls = StreamOwned::new(ClientConnection::new(config, ServerName::try_from("localhost")?)?, tcp);
                tls.conn.complete_io(&mut tls.sock)?;
                tls.sock.set_nonblocking(true)?;
                answer(tls)
            }
        }
    });
    pin(cpus[0]);
    let (tcp, _) = listener.accept()?;
    tcp.set_nodelay(true)?;
    let took = match server {
        None => {
            tcp.set_nonblocking(true)?;
            ask(tcp, load)?
        }
        Some(config) => {
            let mut tls = StreamOwned::new(ServerConnection::new(config)?, tcp);
            tls.conn.complete_io(&mut tls.sock)?;
            tls.sock.set_nonblocking(true)?;
            ask(tls, load)?
        }
    };
    // The asking end is gone: the answering one reads the end, or an abrupt one.
    let _ = other.join().map_err(|_| anyhow::anyhow!("the answering end panicked"))?;
    Ok(took)
}

fn configs() -> Result<(Arc<ServerConfig>, Arc<ClientConfig>)> {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let provider = || Arc::new(rustls::crypto::ring::default_provider());
    let key =
        PrivateKeyDer::try_from(own.signing_key.serialize_der()).map_err(anyhow::Error::msg).context("the key")?;
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)?;
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone())?;
    let client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((Arc::new(server), Arc::new(client)))
}

/// What the machine does to a loop that does nothing: the gaps between two readings of the counter.
pub(crate) fn jitter(rounds: u64, cpu: Option<usize>) -> Result<Histogram<u64>> {
    pin(cpu);
    let (watch, mut gaps) = (Stopwatch::new(), Histogram::new_with_bounds(1, 60_000_000_000, 3)?);
    let mut before = watch.ticks();
    for _ in 0..rounds {
        let now = watch.ticks();
        gaps.saturating_record(watch.nanos(before, now).max(1));
        before = now;
    }
    Ok(gaps)
}

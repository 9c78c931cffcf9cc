//! The loop: accept, read, hand in, hand out, let time pass.

use super::market::{Market, stamp_ms};
use super::peer::{Event, Peer, Stream};
use super::{Counters, Lockstep, Moment, Options, Pace, What};
use crate::node::clock::{Stopwatch, system_wall};
use crate::node::thread::Stop;
use anyhow::{Context, Result, bail};
use keel_core::units::Wall;
use keel_gateway::sim::{Channel, Exchange, Input, Output};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const LISTENER: Token = Token(0);
/// Where virtual time begins when no tape says: 2026-01-01.
const EPOCH: u64 = 1_767_225_600_000_000_000;
/// Longest wait for sockets when nothing is due.
const NAP: Duration = Duration::from_millis(5);
/// Taped frames played in one turn at most; sockets are looked at between turns.
const FRAMES_PER_TURN: usize = 256;
/// Nanoseconds a lockstep run waits for its client.
const PATIENCE_NS: u64 = 30_000_000_000;
/// Empty looks at the sockets before a lockstep wait offers its CPU to others.
const SPINS: u32 = 50;

/// The exchange, its sockets and its time.
pub(super) struct Server {
    exchange: Exchange,
    market: Market,
    pace: Pace,
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    poll: Poll,
    peers: BTreeMap<u64, Peer>,
    channels: BTreeMap<u64, Channel>,
    ready: BTreeSet<u64>,
    dirty: BTreeSet<u64>,
    next: u64,
    held: Arc<AtomicBool>,
    counters: Arc<Counters>,
    watch: Stopwatch,
    options: Options,
    /// Frames that left, frames that arrived.
    sent: u64,
    received: u64,
    /// Frames waiting for their turn in lockstep.
    waiting: VecDeque<(u64, Vec<u8>)>,
    virtual_ns: u64,
    ends_at: u64,
    /// Wall and tape time when the tape began.
    origin: Option<(u64, u64)>,
    shift_ms: Option<i64>,
    /// When the exchange started, on its own clock.
    began: Wall,
    /// Lines obeyed so far.
    obeyed: usize,
}

impl Server {
    pub(super) fn new(
        options: Options,
        market: Market,
        pace: Pace,
        listener: std::net::TcpListener,
        tls: Option<Arc<ServerConfig>>,
        counters: Arc<Counters>,
        held: Arc<AtomicBool>,
    ) -> Result<Self> {
        let mut listener = TcpListener::from_std(listener);
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let virtual_ns = market.next_ns().unwrap_or(EPOCH);
        let ends_at = if options.play_for == 0 { u64::MAX } else { virtual_ns.saturating_add(options.play_for) };
        Ok(Self {
            exchange: Exchange::new(options.venue.clone(), options.seed),
            market,
            pace,
            listener,
            tls,
            poll,
            peers: BTreeMap::new(),
            channels: BTreeMap::new(),
            ready: BTreeSet::new(),
            dirty: BTreeSet::new(),
            next: 1,
            held,
            counters,
            watch: Stopwatch::new(),
            options,
            sent: 0,
            received: 0,
            waiting: VecDeque::new(),
            ends_at,
            virtual_ns,
            origin: None,
            shift_ms: None,
            began: Wall::from_nanos(virtual_ns),
            obeyed: 0,
        }
        .begun())
    }

    fn begun(mut self) -> Self {
        self.began = self.now();
        self
    }

    /// Obeys the scenario's lines that are due.
    fn obey(&mut self) -> Result<()> {
        let now = self.now();
        while let Some((after_ms, line)) = self.options.scenario.get(self.obeyed) {
            if now < self.began.after(after_ms.saturating_mul(1_000_000)) {
                return Ok(());
            }
            let line = line.clone();
            self.obeyed += 1;
            self.exchange.command(now, &line).map_err(|why| anyhow::anyhow!("scenario, {line:?}: {why}"))?;
            self.hand_out();
        }
        Ok(())
    }

    pub(super) fn run(mut self, stop: &Stop) -> Result<()> {
        let mut events = Events::with_capacity(256);
        if let Pace::Lockstep(step) = self.pace.clone() {
            self.lockstep(step.as_ref(), stop, &mut events)?;
        } else {
            while !stop.is_raised() {
                let busy = self.play()?;
                let wait = if busy || self.options.spin { Duration::ZERO } else { self.wait() };
                self.sockets(&mut events, wait)?;
            }
        }
        for peer in self.peers.values_mut() {
            peer.flush();
            peer.close();
        }
        self.report();
        if let Some(path) = &self.options.books {
            std::fs::write(path, self.exchange.statement()).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }

    fn now(&self) -> Wall {
        match self.pace {
            Pace::Lockstep(_) => Wall::from_nanos(self.virtual_ns),
            _ => system_wall(),
        }
    }

    fn wait(&self) -> Duration {
        let now = self.now();
        let timer = self.exchange.deadline().map(|at| at.since(now));
        let tape = self.tape_due().map(|at| at.saturating_sub(now.nanos()));
        let due = timer.into_iter().chain(tape).min();
        due.map_or(NAP, |ns| Duration::from_nanos(ns).min(NAP))
    }

    // ---- time ----------------------------------------------------------------------------------------------------

    /// Wall time at which the next taped frame is due.
    fn tape_due(&self) -> Option<u64> {
        let next = self.market.next_ns()?;
        let (wall, tape) = self.origin?;
        let since = next.saturating_sub(tape);
        Some(match self.pace {
            Pace::Scaled(factor) => wall + scaled(since, factor),
            Pace::Max => 0,
            _ => wall + since,
        })
    }

    /// Plays what is due against the wall clock; true when more is due already.
    fn play(&mut self) -> Result<bool> {
        let now = self.now();
        if self.exchange.deadline().is_some_and(|at| at <= now) {
            self.hand_in(Input::Timer);
        }
        if self.held.load(Ordering::Acquire) || !self.market.is_taped() {
            return Ok(false);
        }
        if self.origin.is_none() {
            let Some(first) = self.market.next_ns().filter(|_| !self.channels.is_empty()) else {
                return Ok(false); // a tape begins with its first listener
            };
            self.origin = Some((now.nanos(), first));
        }
        for _ in 0..FRAMES_PER_TURN {
            if self.congested() {
                return Ok(false);
            }
            match self.tape_due() {
                Some(due) if due <= self.now().nanos() => self.play_one()?,
                Some(_) => return Ok(false),
                None => {
                    self.counters.ended.store(true, Ordering::Release);
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// At full speed a tape waits for clients that have not taken what was sent.
    fn congested(&self) -> bool {
        matches!(self.pace, Pace::Max) && self.peers.values().any(|peer| peer.unflushed)
    }

    fn play_one(&mut self) -> Result<()> {
        let Some((_, mut frame)) = self.market.take()? else { return Ok(()) };
        if self.options.restamp {
            self.restamp(&mut frame);
        }
        self.hand_in(Input::Tape { frame: &frame });
        Ok(())
    }

    /// Moves every 13-digit time of a frame by the distance between the tape's beginning and now.
    fn restamp(&mut self, frame: &mut [u8]) {
        let Some(first) = stamp_ms(frame) else { return };
        let now_ms = self.now().millis();
        let shift = *self.shift_ms.get_or_insert(now_ms.cast_signed() - first.cast_signed());
        for key in [&b"\"ts\":"[..], b"\"cts\":", b"\"T\":"] {
            let mut at = 0;
            while let Some(found) = frame[at..].windows(key.len()).position(|w| w == key) {
                at += found + key.len();
                let Some(digits) = frame.get(at..at + 13).and_then(|d| std::str::from_utf8(d).ok()) else { break };
                if let Ok(ms) = digits.parse::<i64>() {
                    let moved = format!("{:013}", ms.saturating_add(shift));
                    if moved.len() == 13 {
                        frame[at..at + 13].copy_from_slice(moved.as_bytes());
                    }
                }
            }
        }
    }

    /// One frame at a time, on the tape's time.
    fn lockstep(&mut self, step: &dyn Lockstep, stop: &Stop, events: &mut Events) -> Result<()> {
        step.now_is(self.virtual_ns);
        let (mut empty, mut since) = (0u32, self.watch.ticks());
        while !stop.is_raised() {
            let before = self.received;
            self.sockets(events, Duration::ZERO)?;
            if self.received != before {
                empty = 0;
                continue;
            }
            if !step.quiescent(self.sent, self.received) {
                if empty == 0 {
                    since = self.watch.ticks();
                }
                empty = empty.saturating_add(1);
                if empty > SPINS {
                    self.patience(since)?;
                    std::thread::yield_now();
                }
                continue;
            }
            empty = 0;
            if let Some((conn, bytes)) = self.waiting.pop_front() {
                self.release(conn, bytes);
                continue;
            }
            if !self.advance(step)? {
                std::thread::yield_now();
            }
        }
        Ok(())
    }

    /// A client that never becomes quiescent is an error, not a hang.
    fn patience(&self, since: u64) -> Result<()> {
        if self.watch.nanos(since, self.watch.ticks()) > PATIENCE_NS {
            bail!(
                "lockstep: the client was not quiescent for {} s ({} frames sent, {} received)",
                PATIENCE_NS / 1_000_000_000,
                self.sent,
                self.received
            );
        }
        Ok(())
    }

    /// Lets virtual time reach the next thing that is due; false when there is none.
    fn advance(&mut self, step: &dyn Lockstep) -> Result<bool> {
        if self.held.load(Ordering::Acquire) {
            return Ok(false);
        }
        let tape = self.market.next_ns();
        if tape.is_none() && self.market.is_taped() {
            self.counters.ended.store(true, Ordering::Release);
            return Ok(false);
        }
        let timer = self.exchange.deadline().map(Wall::nanos);
        let Some(due) = tape.into_iter().chain(timer).min() else { return Ok(false) };
        if due > self.ends_at {
            self.counters.ended.store(true, Ordering::Release);
            return Ok(false);
        }
        self.virtual_ns = self.virtual_ns.max(due);
        step.now_is(self.virtual_ns);
        if timer.is_some_and(|at| at <= self.virtual_ns) {
            self.hand_in(Input::Timer);
        } else {
            self.play_one()?;
        }
        Ok(true)
    }

    // ---- sockets -------------------------------------------------------------------------------------------------

    fn sockets(&mut self, events: &mut Events, wait: Duration) -> Result<()> {
        let pending: Vec<u64> = self.dirty.iter().copied().collect();
        for id in pending {
            if !self.peers.get_mut(&id).is_some_and(Peer::flush) {
                self.dirty.remove(&id);
            }
        }
        let wait = if self.ready.is_empty() { wait } else { Duration::ZERO };
        match self.poll.poll(events, Some(wait)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        for event in events.iter() {
            match event.token() {
                LISTENER => self.accept()?,
                Token(id) => {
                    self.ready.insert(id as u64);
                }
            }
        }
        for id in std::mem::take(&mut self.ready) {
            self.drain(id);
        }
        self.obey()?;
        self.report();
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let (mut tcp, from) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Ok(()), // the caller hung up before we looked, or descriptors ran out: others go on
            };
            let _ = tcp.set_nodelay(true);
            let id = self.next;
            self.next += 1;
            let token = Token(usize::try_from(id).unwrap_or(usize::MAX));
            self.poll.registry().register(&mut tcp, token, Interest::READABLE | Interest::WRITABLE)?;
            let stream = self.stream(tcp)?;
            self.peers.insert(id, Peer::new(stream, from.ip()));
            self.ready.insert(id);
        }
    }

    fn stream(&self, tcp: TcpStream) -> Result<Stream> {
        Ok(match &self.tls {
            None => Stream::Plain(tcp),
            Some(config) => {
                let tls = ServerConnection::new(Arc::clone(config))?;
                Stream::Tls(Box::new(StreamOwned::new(tls, tcp)))
            }
        })
    }

    /// Reads everything a socket has.
    fn drain(&mut self, id: u64) {
        loop {
            let Some(peer) = self.peers.get_mut(&id) else { return };
            let ip = peer.ip;
            match peer.read() {
                Event::Nothing => break,
                Event::Closed => {
                    self.gone(id);
                    return;
                }
                Event::Open(channel, query) => {
                    self.channels.insert(id, channel);
                    self.hand_in(Input::Connect { conn: id, channel, query: &query, ip });
                }
                Event::Frame(text) if text.as_str() == "\u{0}" => {}
                Event::Frame(text) => {
                    self.received += 1;
                    let order = self.channels.get(&id) == Some(&Channel::Trade);
                    self.moment(if order { What::Order } else { What::Other }, text.as_bytes());
                    self.hand_in(Input::Frame { conn: id, bytes: text.as_bytes() });
                }
                Event::Http(request) => {
                    self.hand_in(Input::Http {
                        token: id,
                        method: &request.method,
                        path: &request.path,
                        query: &request.query,
                        headers: &request.headers,
                        body: &request.body,
                        ip,
                    });
                }
            }
        }
        if self.peers.get(&id).is_some_and(|peer| peer.unflushed) {
            self.dirty.insert(id);
        }
    }

    fn gone(&mut self, id: u64) {
        if let Some(mut peer) = self.peers.remove(&id)
            && let Some(tcp) = peer.tcp()
        {
            let _ = self.poll.registry().deregister(tcp);
        }
        self.dirty.remove(&id);
        self.waiting.retain(|(conn, _)| *conn != id);
        if self.channels.remove(&id).is_some() {
            self.hand_in(Input::Closed { conn: id });
        }
    }

    fn hand_in(&mut self, input: Input<'_>) {
        let now = self.now();
        self.exchange.handle(now, input);
        self.hand_out();
    }

    fn hand_out(&mut self) {
        while let Some(output) = self.exchange.poll() {
            match output {
                Output::Send { conn, bytes } => {
                    if matches!(self.pace, Pace::Lockstep(_)) {
                        self.waiting.push_back((conn, bytes));
                    } else {
                        self.release(conn, bytes);
                    }
                }
                Output::Reply { token, status, headers, body } => {
                    if let Some(peer) = self.peers.get_mut(&token) {
                        peer.answer(status, &headers, &body);
                        self.dirty.insert(token);
                        self.ready.insert(token); // a pipelined request may wait behind this one
                    }
                }
                Output::Cut { conn, bytes } => {
                    self.waiting.retain(|(other, _)| *other != conn);
                    if let Some(peer) = self.peers.get_mut(&conn) {
                        peer.cut(&bytes);
                    }
                    self.ready.insert(conn);
                }
                Output::Close { conn } => {
                    if let Some(peer) = self.peers.get_mut(&conn) {
                        peer.close();
                    }
                    self.ready.insert(conn);
                }
            }
        }
    }

    fn release(&mut self, conn: u64, bytes: Vec<u8>) {
        if !self.peers.get(&conn).is_some_and(Peer::is_web) {
            return;
        }
        self.sent += 1;
        let public = self.channels.get(&conn) == Some(&Channel::Public);
        self.moment(if public { What::Tick } else { What::Answer }, &bytes);
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.send(bytes);
        if self.options.witness.is_some() {
            peer.flush();
        }
        self.dirty.insert(conn);
    }

    fn moment(&mut self, what: What, bytes: &[u8]) {
        if let Some(super::Witness(tell)) = &mut self.options.witness {
            let moment = Moment { ticks: self.watch.ticks(), sent: self.sent, received: self.received, what };
            tell(moment, bytes);
        }
    }

    fn report(&self) {
        let (c, stats) = (&self.counters, self.exchange.stats());
        let rows = [
            (&c.frames_sent, self.sent),
            (&c.frames_received, self.received),
            (&c.http, stats.http),
            (&c.orders, stats.orders),
            (&c.refused, stats.refused),
            (&c.fills, stats.fills),
            (&c.taped, stats.taped),
            (&c.taped_bad, stats.taped_bad),
            (&c.sockets, self.peers.len() as u64),
            (&c.now_ns, self.now().nanos()),
        ];
        for (counter, value) in rows {
            counter.store(value, Ordering::Relaxed);
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a pace, not money"
)]
fn scaled(ns: u64, factor: f64) -> u64 {
    (ns as f64 / factor) as u64
}

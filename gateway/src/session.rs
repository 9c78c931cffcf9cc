//! One authenticated conversation with the venue: private stream or order entry.
//!
//! In: what the socket did, frames, time. Out: frames to send, connects and closes, [`Link`] facts and every fact the
//! frames carry. Never: a fact passed over silently: a frame that cannot be read ends the conversation, and the next one
//! starts with a reconciliation.
//!
//! ```text
//!  Idle --Timer--> Connecting --Connected--> Auth --ok--> Subscribe --ok--> Ready        Private
//!                      ^                     Auth --ok-------------------> Ready        Trade
//!                      |                       |              |              |
//!                      +---- backoff, jitter --+-- refused, silent, closed, unreadable --+
//! ```

use crate::decode::{DecodeError, Decoder, Seen, Skipped, Source};
use crate::sign::Signer;
use core::marker::PhantomData;
use keel_core::event::{Channel, ExecEvent, Flag, Link, LinkState};
use keel_core::instrument::Instruments;
use keel_core::units::{Mono, Now};
use std::borrow::Cow;
use std::collections::VecDeque;

const SECOND: u64 = 1_000_000_000;
/// A connection that is not there by then is tried again.
pub const CONNECT_TIMEOUT: u64 = 5 * SECOND;
/// An `auth` or `subscribe` not answered by then ends the conversation.
pub const ANSWER_TIMEOUT: u64 = 5 * SECOND;
/// A ping goes out this often: well inside the venue's idle limit, often enough to notice a dead socket.
pub const PING_EVERY: u64 = 5 * SECOND;
/// Nothing heard for this long, pongs included, ends the conversation.
pub const DEAD_AFTER: u64 = 12 * SECOND;
/// First and longest wait before a new connection; the venue bans an address at 500 connections in five minutes.
pub const BACKOFF: (u64, u64) = (SECOND / 4, 10 * SECOND);
/// Wait after a refused `auth`: trying a bad key faster helps nobody.
pub const AUTH_BACKOFF: u64 = 30 * SECOND;
/// A conversation that lasted this long clears the backoff: a hundred of them in five minutes stay far below the ban.
pub const SETTLED: u64 = 3 * SECOND;
/// `expires` of an `auth` frame, ahead of the wall clock.
const AUTH_VALID: u64 = 5 * SECOND;
/// Arms the venue's own cancel-on-disconnect on this connection, where the account has it.
const DISCONNECT_TOPIC: &str = r#"{"op":"subscribe","args":["dcp.future"]}"#;
const PING: &str = r#"{"op":"ping"}"#;
/// This node of the venue restarts: what is in flight finishes, a new connection is needed.
const RESTARTING: i32 = 10_019;
/// The venue has seen this connection's `auth` before.
const ALREADY_AUTHENTICATED: i32 = 20_001;

/// What distinguishes the two conversations.
pub trait Endpoint {
    /// Its name in facts.
    const CHANNEL: Channel;
    /// What is subscribed to once authenticated.
    const SUBSCRIBE: Option<&'static str>;
}

/// Our orders, fills, positions, wallet.
#[derive(Clone, Copy, Debug)]
pub struct Private;
/// Order entry.
#[derive(Clone, Copy, Debug)]
pub struct Trade;

impl Endpoint for Private {
    const CHANNEL: Channel = Channel::Private;
    const SUBSCRIBE: Option<&'static str> =
        Some(r#"{"op":"subscribe","args":["order","execution","position","wallet"]}"#);
}

impl Endpoint for Trade {
    const CHANNEL: Channel = Channel::Trade;
    const SUBSCRIBE: Option<&'static str> = None;
}

/// The private stream.
pub type PrivateSession = Session<Private>;
/// Order entry.
pub type TradeSession = Session<Trade>;

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// The socket asked for is there, handshakes done.
    Connected,
    /// One text frame.
    Frame {
        /// Its payload.
        bytes: &'a [u8],
        /// When it came in, on the stopwatch.
        ticks: u64,
    },
    /// The socket is gone, or could not be had.
    Closed,
    /// The deadline passed.
    Timer,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output<'a> {
    /// Send one text frame.
    Send(&'a [u8]),
    /// Drop the socket; no `Closed` is expected for it.
    Close,
    /// Connect, this many nanoseconds from now.
    Connect {
        /// The wait.
        after_nanos: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Connecting,
    Auth,
    Subscribe,
    Ready,
}

#[derive(Clone, Debug)]
enum Pending {
    Send(Cow<'static, str>),
    Close,
    Connect(u64),
}

/// Why conversations ended, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// The socket closed.
    pub closed: u64,
    /// No connection in time.
    pub unreachable: u64,
    /// `auth` or `subscribe` refused.
    pub refused: u64,
    /// Silent for too long.
    pub silent: u64,
    /// A frame could not be read.
    pub unreadable: u64,
    /// The venue said it restarts.
    pub restarting: u64,
}

/// The machine.
#[derive(Debug)]
pub struct Session<E> {
    signer: Signer,
    decoder: Decoder,
    guarded: bool,
    phase: Phase,
    /// When the phase ends badly, or, once ready, when to look again.
    due: Mono,
    heard: Mono,
    ready_at: Mono,
    attempts: u32,
    luck: u64,
    ended: Ended,
    last_error: Option<DecodeError>,
    pending: VecDeque<Pending>,
    sending: Cow<'static, str>,
    endpoint: PhantomData<E>,
}

impl<E: Endpoint> Session<E> {
    /// Wants to connect at once: its first deadline is the beginning of time. `seed` spreads the reconnects of many.
    #[must_use]
    pub fn new(signer: Signer, instruments: &Instruments, seed: u64) -> Self {
        Self {
            signer,
            decoder: Decoder::new(instruments),
            guarded: false,
            phase: Phase::Idle,
            due: Mono::default(),
            heard: Mono::default(),
            ready_at: Mono::default(),
            attempts: 0,
            luck: seed,
            ended: Ended::default(),
            last_error: None,
            pending: VecDeque::with_capacity(4),
            sending: Cow::Borrowed(""),
            endpoint: PhantomData,
        }
    }

    /// Subscribes to the topic by which the venue cancels everything when all such connections die. An account without
    /// the feature is refused it, and nothing else.
    #[must_use]
    pub fn guarded(mut self) -> Self {
        self.guarded = true;
        self
    }

    /// Takes in what happened. `poll` must have been drained.
    pub fn handle(&mut self, now: Now, input: Input<'_>, sink: &mut impl FnMut(ExecEvent)) {
        assert!(self.pending.is_empty(), "poll to None before the next handle");
        match input {
            Input::Connected => self.connected(now, sink),
            Input::Frame { bytes, ticks } => self.frame(now, bytes, ticks, sink),
            Input::Closed => self.closed(now, sink),
            Input::Timer => self.timer(now, sink),
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output<'_>> {
        Some(match self.pending.pop_front()? {
            Pending::Send(text) => {
                self.sending = text;
                Output::Send(self.sending.as_bytes())
            }
            Pending::Close => Output::Close,
            Pending::Connect(after_nanos) => Output::Connect { after_nanos },
        })
    }

    /// When [`Input::Timer`] wants to be handed in.
    #[must_use]
    pub const fn deadline(&self) -> Option<Mono> {
        Some(self.due)
    }

    /// Authenticated and subscribed.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// Why conversations ended so far.
    #[must_use]
    pub const fn ended(&self) -> Ended {
        self.ended
    }

    /// What the decoder left out so far.
    #[must_use]
    pub const fn skipped(&self) -> Skipped {
        self.decoder.skipped()
    }

    /// Why the last unreadable frame was refused.
    #[must_use]
    pub const fn last_error(&self) -> Option<DecodeError> {
        self.last_error
    }

    /// Ends the conversation and starts over: what was heard on it can no longer be trusted to be complete.
    pub fn restart(&mut self, now: Now, sink: &mut impl FnMut(ExecEvent)) {
        self.drop_socket(now, 0, sink);
    }

    fn connected(&mut self, now: Now, sink: &mut impl FnMut(ExecEvent)) {
        if self.phase != Phase::Connecting {
            return;
        }
        self.enter(now, Phase::Auth, ANSWER_TIMEOUT);
        self.heard = now.mono;
        self.pending.push_back(Pending::Send(Cow::Owned(self.signer.auth_frame(now.wall.after(AUTH_VALID)))));
        sink(link::<E>(now, LinkState::Connected));
    }

    fn frame(&mut self, now: Now, bytes: &[u8], ticks: u64, sink: &mut impl FnMut(ExecEvent)) {
        if matches!(self.phase, Phase::Idle | Phase::Connecting) {
            return;
        }
        self.heard = now.mono;
        let source = Source { recv: now.mono, ticks, queried: Flag::No };
        let mut restarting = false;
        let seen = self.decoder.frame(bytes, source, &mut |fact| {
            restarting |= matches!(fact, ExecEvent::Ack(ack) if ack.code == RESTARTING);
            sink(fact);
        });
        match (seen, self.phase) {
            (Err(why), _) => {
                self.last_error = Some(why);
                self.ended.unreadable += 1;
                self.drop_socket(now, 0, sink);
            }
            (Ok(_), _) if restarting => {
                self.ended.restarting += 1;
                self.drop_socket(now, 0, sink);
            }
            (Ok(Seen::Auth(0 | ALREADY_AUTHENTICATED)), Phase::Auth) => match E::SUBSCRIBE {
                Some(topics) => {
                    self.enter(now, Phase::Subscribe, ANSWER_TIMEOUT);
                    self.pending.push_back(Pending::Send(Cow::Borrowed(topics)));
                }
                None => self.ready(now, sink),
            },
            (Ok(Seen::Subscribed(true)), Phase::Subscribe) => self.ready(now, sink),
            (Ok(Seen::Auth(code)), _) if code != 0 && code != ALREADY_AUTHENTICATED => {
                self.ended.refused += 1;
                self.drop_socket(now, AUTH_BACKOFF, sink);
            }
            (Ok(Seen::Subscribed(false)), Phase::Subscribe) => {
                self.ended.refused += 1;
                self.drop_socket(now, AUTH_BACKOFF, sink);
            }
            (Ok(_), _) => {}
        }
    }

    fn closed(&mut self, now: Now, sink: &mut impl FnMut(ExecEvent)) {
        if self.phase != Phase::Idle {
            self.ended.closed += 1;
            self.reconnect(now, 0, sink);
        }
    }

    fn timer(&mut self, now: Now, sink: &mut impl FnMut(ExecEvent)) {
        if now.mono < self.due {
            return;
        }
        match self.phase {
            Phase::Idle => {
                self.enter(now, Phase::Connecting, CONNECT_TIMEOUT);
                self.pending.push_back(Pending::Connect(0));
            }
            Phase::Connecting => {
                self.ended.unreachable += 1;
                self.drop_socket(now, 0, sink);
            }
            Phase::Auth | Phase::Subscribe => {
                self.ended.silent += 1;
                self.drop_socket(now, 0, sink);
            }
            Phase::Ready if now.mono.since(self.heard) >= DEAD_AFTER => {
                self.ended.silent += 1;
                self.drop_socket(now, 0, sink);
            }
            Phase::Ready => {
                self.due = now.mono.after(PING_EVERY).min(self.heard.after(DEAD_AFTER));
                self.pending.push_back(Pending::Send(Cow::Borrowed(PING)));
            }
        }
    }

    fn ready(&mut self, now: Now, sink: &mut impl FnMut(ExecEvent)) {
        self.enter(now, Phase::Ready, PING_EVERY);
        self.ready_at = now.mono;
        if self.guarded {
            self.pending.push_back(Pending::Send(Cow::Borrowed(DISCONNECT_TOPIC)));
        }
        sink(link::<E>(now, LinkState::Ready));
    }

    fn enter(&mut self, now: Now, phase: Phase, limit: u64) {
        self.phase = phase;
        self.due = now.mono.after(limit);
    }

    fn drop_socket(&mut self, now: Now, at_least: u64, sink: &mut impl FnMut(ExecEvent)) {
        self.pending.clear();
        self.pending.push_back(Pending::Close);
        self.reconnect(now, at_least, sink);
    }

    fn reconnect(&mut self, now: Now, at_least: u64, sink: &mut impl FnMut(ExecEvent)) {
        let was_up = !matches!(self.phase, Phase::Idle | Phase::Connecting);
        if self.phase == Phase::Ready && now.mono.since(self.ready_at) >= SETTLED {
            self.attempts = 0;
        }
        let wait = self.backoff().max(at_least);
        self.enter(now, Phase::Connecting, wait.saturating_add(CONNECT_TIMEOUT));
        self.pending.push_back(Pending::Connect(wait));
        if was_up {
            sink(link::<E>(now, LinkState::Down));
        }
    }

    /// Doubles to a bound; the upper half of it is luck, so that many clients do not come back in one instant.
    fn backoff(&mut self) -> u64 {
        let cap = (BACKOFF.0 << self.attempts.min(16)).min(BACKOFF.1);
        self.attempts = self.attempts.saturating_add(1);
        cap / 2 + splitmix(&mut self.luck) % (cap / 2 + 1)
    }
}

fn link<E: Endpoint>(now: Now, state: LinkState) -> ExecEvent {
    ExecEvent::Link(Link { at: now.mono, channel: E::CHANNEL, state, pad: [0; 6] })
}

/// Sebastiano Vigna's splitmix64: the next number of a seed.
pub(crate) fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;

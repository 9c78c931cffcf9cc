//! The venue's announcements of maintenance: one small connection to a URL of their own.
//!
//! In: that it opened, its frames, that it closed, the time. Out: [`keel_core::event::VenueStatus`] facts to the sink;
//! frames to send, when to connect, when to give up. Never: a verdict; what an announcement means for trading is the
//! gate's to say. A lost connection is opened again and says nothing about the market: interruptions shorter than about
//! ten seconds are never announced.

use crate::decode::{Arrival, Decoder, Message};
use crate::session::reconnect::Reconnect;
use crate::session::{Input, Output};
use keel_core::event::MarketEvent;
use keel_core::instrument::Instruments;
use keel_core::units::{Mono, Now};
use std::collections::VecDeque;

const SECOND: u64 = 1_000_000_000;
/// Between heartbeats.
const PING_EVERY: u64 = 20 * SECOND;
/// Nothing received for so long after a heartbeat: the connection is dead.
const PONG_WITHIN: u64 = 10 * SECOND;
/// Between two looks at the time.
const LOOK: u64 = SECOND;

const SUBSCRIBE: &[u8] = br#"{"op":"subscribe","req_id":"1","args":["system.status"]}"#;
const PING: &[u8] = br#"{"op":"ping"}"#;

/// The machine.
#[derive(Debug)]
pub struct StatusSession {
    decoder: Decoder,
    reconnect: Reconnect,
    outbox: VecDeque<Output<'static>>,
    up: bool,
    ping_at: Mono,
    unanswered: Option<Mono>,
    next_look: Option<Mono>,
    announcements: u64,
}

impl StatusSession {
    /// Not connected; the first [`Self::poll`] after the first [`Self::handle`] asks to connect.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            decoder: Decoder::new(&Instruments::default()),
            reconnect: Reconnect::new(seed),
            outbox: VecDeque::with_capacity(4),
            up: false,
            ping_at: Mono::default(),
            unanswered: None,
            next_look: None,
            announcements: 0,
        }
    }

    /// Takes one input. A fact the sink has no room for is offered to nobody again: the next announcement repeats it.
    ///
    /// # Panics
    /// When [`Self::poll`] was not drained before.
    pub fn handle(&mut self, now: Now, input: Input<'_>, sink: &mut impl FnMut(MarketEvent) -> bool) {
        assert!(self.outbox.is_empty(), "drain poll before handle");
        if self.next_look.is_none() && !matches!(input, Input::Connected) {
            self.reconnect.first(now.mono);
            self.outbox.push_back(Output::Connect { after_nanos: 0 });
        }
        self.next_look = Some(now.mono.after(LOOK));
        match input {
            Input::Connected => {
                self.reconnect.connected(now.mono);
                (self.up, self.ping_at, self.unanswered) = (true, now.mono.after(PING_EVERY), None);
                self.outbox.push_back(Output::Send(SUBSCRIBE));
            }
            Input::Frame { bytes, ticks } => {
                self.unanswered = None;
                if let Ok(message @ Message::VenueStatus { .. }) = self.decoder.parse(bytes) {
                    self.decoder.emit(&message, Arrival { recv: now.mono, ticks }, &mut |event| {
                        self.announcements += 1;
                        sink(event);
                    });
                }
            }
            Input::Closed => {
                self.up = false;
                let after_nanos = self.reconnect.next(now.mono);
                self.outbox.push_back(Output::Connect { after_nanos });
            }
            Input::Timer => self.look(now.mono),
        }
    }

    fn look(&mut self, now: Mono) {
        if !self.up {
            return;
        }
        if self.unanswered.is_some_and(|sent| now.since(sent) >= PONG_WITHIN) {
            self.up = false;
            self.outbox.push_back(Output::Close);
        } else if now >= self.ping_at {
            self.ping_at = now.after(PING_EVERY);
            self.unanswered.get_or_insert(now);
            self.outbox.push_back(Output::Send(PING));
        }
    }

    /// The next thing to do; `None` when there is nothing until the next input.
    pub fn poll(&mut self) -> Option<Output<'static>> {
        self.outbox.pop_front()
    }

    /// When [`Input::Timer`] is due.
    #[must_use]
    pub const fn deadline(&self) -> Option<Mono> {
        match self.next_look {
            Some(due) => Some(due),
            None => Some(Mono::from_nanos(0)),
        }
    }

    /// The connection stands.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.up
    }

    /// Announcements passed on.
    #[must_use]
    pub const fn announcements(&self) -> u64 {
        self.announcements
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_core::units::Wall;

    fn at(seconds: u64) -> Now {
        Now { mono: Mono::from_nanos(1 + seconds * SECOND), wall: Wall::from_nanos(seconds * SECOND) }
    }

    fn drain(session: &mut StatusSession) -> Vec<Output<'static>> {
        core::iter::from_fn(|| session.poll()).collect()
    }

    const ONGOING: &[u8] = br#"{"topic":"system.status","ts":1751858399649,"data":[{"id":"4d95b2a0","title":"t","state":"ongoing","begin":"1751596902000","end":"1751597011000","href":"","serviceTypes":[2,3,4,5],"product":[1,2],"uidSuffix":[],"maintainType":"3","env":"1"}]}"#;

    #[test]
    fn it_connects_subscribes_and_passes_announcements_on() {
        let mut session = StatusSession::new(7);
        let mut facts = Vec::new();
        session.handle(at(0), Input::Timer, &mut |_| true);
        assert_eq!(drain(&mut session), [Output::Connect { after_nanos: 0 }]);
        session.handle(at(0), Input::Connected, &mut |_| true);
        assert_eq!(drain(&mut session), [Output::Send(SUBSCRIBE)]);
        session.handle(at(1), Input::Frame { bytes: ONGOING, ticks: 5 }, &mut |event| {
            facts.push(event);
            true
        });
        let [MarketEvent::VenueStatus(status)] = facts[..] else { panic!("{facts:?}") };
        assert!(status.ongoing.is_set() && status.derivatives.is_set() && session.is_up());
        assert_eq!((status.origin.ticks, session.announcements()), (5, 1));
    }

    #[test]
    fn junk_and_other_topics_are_no_announcement() {
        let mut session = StatusSession::new(7);
        session.handle(at(0), Input::Connected, &mut |_| true);
        drain(&mut session);
        for bytes in [&b""[..], b"{", b"\xff", b"{\"topic\":\"system.status\",\"data\":7}", &ONGOING[..80]] {
            session.handle(at(1), Input::Frame { bytes, ticks: 0 }, &mut |event| panic!("{event:?}"));
            assert_eq!(drain(&mut session), []);
        }
    }

    #[test]
    fn a_dead_connection_is_closed_and_opened_again_ever_more_patiently() {
        let mut session = StatusSession::new(7);
        session.handle(at(0), Input::Connected, &mut |_| true);
        drain(&mut session);
        session.handle(at(20), Input::Timer, &mut |_| true);
        assert_eq!(drain(&mut session), [Output::Send(PING)]);
        session.handle(at(29), Input::Timer, &mut |_| true);
        assert_eq!(drain(&mut session), []);
        session.handle(at(30), Input::Timer, &mut |_| true);
        assert_eq!(drain(&mut session), [Output::Close]);
        let mut waits = Vec::new();
        for _ in 0..4 {
            session.handle(at(30), Input::Closed, &mut |_| true);
            let [Output::Connect { after_nanos }] = drain(&mut session)[..] else { panic!() };
            waits.push(after_nanos);
        }
        assert!(waits.is_sorted() && waits[3] > 2 * waits[0], "{waits:?}");
    }
}

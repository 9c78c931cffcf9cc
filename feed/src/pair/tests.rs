//! Two connections that see the same venue at different times, lose it and find it again.

use super::*;
use crate::decode::tests::instruments;
use crate::session::Config;
use keel_core::book::Book;
use keel_core::units::Px;
use proptest::prelude::*;
use std::collections::BTreeMap;

const MS: u64 = 1_000_000;

/// The venue: one book whose every state is remembered.
struct Venue {
    u: u64,
    states: BTreeMap<u64, [i64; 2]>,
}

impl Venue {
    fn new() -> Self {
        Self { u: 100, states: BTreeMap::from([(100, [1000, 2000])]) }
    }

    /// One level on each side moves with every update, so that a wrong book shows.
    fn advance(&mut self) -> u64 {
        self.u += 1;
        let step = i64::try_from(self.u % 17).unwrap();
        self.states.insert(self.u, [1000 + step, 2000 - step]);
        self.u
    }

    fn frame(&self, u: u64, snapshot: bool) -> String {
        let [bid, ask] = self.states[&u];
        let gone = |at: usize| {
            let old = self.states.get(&(u - 1)).filter(|_| !snapshot).map(|state| state[at]);
            old.map_or_else(String::new, |px| format!("[\"{px}\",\"0\"],"))
        };
        let kind = if snapshot { "snapshot" } else { "delta" };
        format!(
            "{{\"topic\":\"orderbook.50.ABCUSDT\",\"type\":\"{kind}\",\"ts\":{ts},\"data\":{{\"s\":\"ABCUSDT\",\"b\":[{}[\"{bid}\",\"1\"]],\"a\":[{}[\"{ask}\",\"1\"]],\"u\":{u},\"seq\":{seq}}},\"cts\":{ts}}}",
            gone(0),
            gone(1),
            ts = 1_900_000_000_000 + u,
            seq = 7000 + 3 * u,
        )
    }
}

/// The engine: a book fed by facts alone, checked against the venue after every whole message it trusts.
struct World {
    pair: Pair,
    venue: Venue,
    now: Now,
    book: Book,
    trusted: bool,
    told: Vec<(HealthState, HealthReason)>,
    others: Vec<MarketEvent>,
    /// Update id each lane has been sent, if it is connected and subscribed.
    sent: [Option<u64>; 2],
    room: bool,
}

impl World {
    fn new() -> Self {
        let session = |seed| {
            let config = Config { silent_after: 3_600_000 * MS, late_after: 0, seed, ..Config::default() };
            Session::new(config, &instruments(&["ABCUSDT"])).unwrap()
        };
        let now = Now { mono: Mono::from_nanos(9), wall: Wall::from_millis(1_900_000_000_000) };
        let (pair, venue, book) =
            (Pair::new(session(1), session(2)), Venue::new(), Book::new(keel_core::units::Px::from_raw(1_000_000), 50));
        let (told, others) = (Vec::new(), Vec::new());
        Self { pair, venue, now, book, trusted: false, told, others, sent: [None; 2], room: true }
    }

    fn input(&mut self, lane: Lane, input: Input<'_>) {
        let Self { pair, venue, book, trusted, told, others, room, now, .. } = self;
        pair.handle(*now, lane, input, &mut |event| {
            if !*room {
                return false;
            }
            match event {
                MarketEvent::Book(part) => {
                    let before = book.update_id();
                    book.apply(&part).unwrap();
                    assert!(part.has(BookUpdate::SNAPSHOT) || part.u == before + 1, "{before} then {}", part.u);
                    assert!(!*trusted || part.u > before, "the book went back from {before} to {}", part.u);
                    let [bid, ask] = venue.states[&part.u];
                    let touch = book.touch().unwrap();
                    assert_eq!((touch.bid.px, touch.ask.px), (Px::whole(bid), Px::whole(ask)), "u {}", part.u);
                    assert_eq!(book.levels(Side::Buy).len(), 1);
                }
                MarketEvent::Health(health) => {
                    *trusted = health.state == HealthState::Synced;
                    told.push((health.state, health.reason));
                }
                other => others.push(other),
            }
            true
        });
        while pair.poll(lane).is_some() {}
    }

    fn connect(&mut self, lane: Lane) {
        self.input(lane, Input::Connected);
        let u = self.venue.u;
        self.sent[lane as usize] = Some(u);
        let frame = self.venue.frame(u, true);
        self.input(lane, Input::Frame { bytes: frame.as_bytes(), ticks: 0 });
    }

    /// The lane receives the next update it was not sent yet.
    fn receive(&mut self, lane: Lane) -> bool {
        let Some(sent) = self.sent[lane as usize].filter(|sent| *sent < self.venue.u) else { return false };
        self.sent[lane as usize] = Some(sent + 1);
        let frame = self.venue.frame(sent + 1, false);
        self.input(lane, Input::Frame { bytes: frame.as_bytes(), ticks: 0 });
        true
    }

    fn close(&mut self, lane: Lane) {
        self.sent[lane as usize] = None;
        self.input(lane, Input::Closed);
    }
}

#[test]
fn the_first_arrival_counts_and_the_second_is_dropped() {
    let mut world = World::new();
    world.connect(Lane::A);
    world.connect(Lane::B);
    for _ in 0..10 {
        world.venue.advance();
        for lane in [Lane::B, Lane::A] {
            assert!(world.receive(lane));
        }
        assert_eq!(world.book.update_id(), world.venue.u);
    }
    assert_eq!(world.told, [(HealthState::Synced, HealthReason::Snapshot)]);
    assert_eq!(world.pair.counts(), (11, 1));
}

#[test]
fn the_engine_sees_on_while_one_of_two_connections_is_gone() {
    let mut world = World::new();
    world.connect(Lane::A);
    world.connect(Lane::B);
    world.venue.advance();
    world.receive(Lane::A);
    world.close(Lane::A);
    world.receive(Lane::B);
    for _ in 0..5 {
        world.venue.advance();
        world.receive(Lane::B);
        assert_eq!(world.book.update_id(), world.venue.u);
    }
    assert_eq!(world.told.len(), 1, "{:?}", world.told);
    world.close(Lane::B);
    assert_eq!(world.told[1..], [(HealthState::Stale, HealthReason::Disconnected)]);
    world.connect(Lane::A);
    assert_eq!(world.told[2..], [(HealthState::Synced, HealthReason::Snapshot)]);
}

#[test]
fn a_full_ring_is_healed_from_the_sessions_own_book_without_asking_the_venue() {
    let mut world = World::new();
    world.connect(Lane::A);
    world.venue.advance();
    world.room = false;
    world.receive(Lane::A);
    world.room = true;
    world.venue.advance();
    world.receive(Lane::A);
    assert_eq!(world.book.update_id(), world.venue.u);
    let counters = world.pair.session(Lane::A).counters();
    assert_eq!((counters.resyncs, world.trusted), (0, true));
}

#[test]
fn a_trade_seen_on_both_connections_is_told_once() {
    let mut world = World::new();
    world.connect(Lane::A);
    world.connect(Lane::B);
    let trade = |ts: u64| {
        format!(
            "{{\"topic\":\"publicTrade.ABCUSDT\",\"type\":\"snapshot\",\"ts\":{ts},\"data\":[{{\"T\":{ts},\"s\":\"ABCUSDT\",\"S\":\"Buy\",\"v\":\"1\",\"p\":\"1500\",\"L\":\"PlusTick\",\"i\":\"{ts}\",\"BT\":false}}]}}"
        )
    };
    for (lane, ts) in [(Lane::A, 5), (Lane::B, 5), (Lane::B, 6), (Lane::A, 6), (Lane::A, 7), (Lane::A, 7), (Lane::B, 7)]
    {
        world.input(lane, Input::Frame { bytes: trade(ts).as_bytes(), ticks: 0 });
    }
    let times: Vec<u64> = world.others.iter().map(|event| event.origin().ts.millis()).collect();
    assert_eq!(times, [5, 6, 7, 7]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn whatever_the_two_connections_do_the_book_is_the_venues_and_never_goes_back(acts in prop::collection::vec((0u8..20, any::<bool>()), 1..300)) {
        let mut world = World::new();
        for (act, second) in acts {
            let lane = if second { Lane::B } else { Lane::A };
            let connected = world.sent[lane as usize].is_some();
            match act {
                0..7 => drop(world.venue.advance()),
                7..17 => drop(world.receive(lane)),
                17 if connected => world.close(lane),
                18 => {
                    world.room = false;
                    world.receive(lane);
                    world.room = true;
                }
                _ if !connected => world.connect(lane),
                _ => {}
            }
            world.now.mono = world.now.mono.after(MS / 10);
        }
        for lane in [Lane::A, Lane::B] {
            if world.sent[lane as usize].is_none() {
                world.connect(lane);
            }
        }
        world.venue.advance();
        while world.receive(Lane::A) | world.receive(Lane::B) {}
        prop_assert_eq!(world.book.update_id(), world.venue.u);
        prop_assert!(world.trusted);
    }
}

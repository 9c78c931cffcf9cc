//! Scenarios: what the engine was told, how long it was blind, how it came back.

use super::*;
use crate::decode::tests::instruments;
use keel_core::event::Health;

const MS: u64 = 1_000_000;
const START: u64 = 1_900_000_000_000;

/// One instrument with a real grid.
fn table() -> Instruments {
    let mut row = instruments(&["ABCUSDT"]).rows()[0];
    row.tick = keel_core::units::Px::from_raw(1_000_000);
    row.min_px = row.tick;
    row.max_px = keel_core::units::Px::whole(2000);
    Instruments::new([row]).unwrap()
}

/// A session, its driver, and an engine that believes only what it was told.
struct World {
    session: Session,
    now: Now,
    sent: Vec<String>,
    connects: Vec<u64>,
    closes: usize,
    healths: Vec<(HealthState, HealthReason)>,
    times: Vec<Mono>,
    events: Vec<MarketEvent>,
    book: Book,
    room: usize,
}

impl World {
    fn new(config: Config) -> Self {
        let session = Session::new(config, &table()).unwrap();
        let now = Now { mono: Mono::from_nanos(7), wall: Wall::from_millis(START) };
        let (sent, connects, healths, events) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let book = Book::new(keel_core::units::Px::from_raw(1_000_000), 50);
        let times = Vec::new();
        let mut world =
            Self { session, now, sent, connects, closes: 0, healths, times, events, book, room: usize::MAX };
        world.input(Input::Timer);
        assert_eq!(world.connects, [0]);
        world.input(Input::Connected);
        world
    }

    fn synced(config: Config) -> Self {
        let mut world = Self::new(config);
        world.book(true, 10, "[\"20.10\",\"4\"]", "[\"20.20\",\"3\"]");
        assert_eq!(world.healths, [(HealthState::Synced, HealthReason::Snapshot)]);
        world.healths.clear();
        world.sent.clear();
        world
    }

    fn input(&mut self, input: Input<'_>) {
        let Self { session, healths, times, events, book, room, now, .. } = self;
        session.handle(*now, input, &mut |event| {
            if *room == 0 {
                return false;
            }
            *room -= 1;
            match event {
                MarketEvent::Health(Health { state, reason, .. }) => {
                    healths.push((state, reason));
                    times.push(now.mono);
                }
                MarketEvent::Book(part) if part.depth == 50 => book.apply(&part).unwrap(),
                _ => {}
            }
            events.push(event);
            true
        });
        while let Some(output) = self.session.poll() {
            match output {
                Output::Send(frame) => self.sent.push(String::from_utf8(frame.to_vec()).unwrap()),
                Output::Connect { after_nanos } => self.connects.push(after_nanos),
                Output::Close => self.closes += 1,
            }
        }
    }

    fn frame(&mut self, frame: &str) {
        self.input(Input::Frame { bytes: frame.as_bytes(), ticks: 0 });
    }

    fn book(&mut self, snapshot: bool, u: u64, bids: &str, asks: &str) {
        let ts = self.now.wall.millis();
        self.book_at(50, snapshot, u, u, ts, bids, asks);
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of the message")]
    fn book_at(&mut self, depth: u16, snapshot: bool, u: u64, seq: u64, ts: u64, bids: &str, asks: &str) {
        let kind = if snapshot { "snapshot" } else { "delta" };
        self.frame(&format!(
            "{{\"topic\":\"orderbook.{depth}.ABCUSDT\",\"type\":\"{kind}\",\"ts\":{ts},\"data\":{{\"s\":\"ABCUSDT\",\"b\":[{bids}],\"a\":[{asks}],\"u\":{u},\"seq\":{seq}}},\"cts\":{ts}}}"
        ));
    }

    /// Time passes in steps no longer than the machine asked for.
    fn pass(&mut self, nanos: u64) {
        let end = self.now.mono.after(nanos);
        while self.now.mono < end {
            let next = self.session.deadline().unwrap().max(self.now.mono.after(1)).min(end);
            let step = next.since(self.now.mono);
            self.now = Now { mono: next, wall: self.now.wall.after(step) };
            self.input(Input::Timer);
        }
    }

    fn asked_again(&self) -> usize {
        let drop = |frame: &&String| frame.contains("\"unsubscribe\"") && frame.contains("orderbook.50.ABCUSDT");
        self.sent.iter().filter(drop).count()
    }
}

#[test]
fn a_connection_subscribes_and_a_snapshot_before_the_ack_is_welcome() {
    let mut world = World::new(Config::default());
    assert_eq!(
        world.sent,
        [
            "{\"op\":\"subscribe\",\"req_id\":\"16\",\"args\":[\"orderbook.50.ABCUSDT\",\"publicTrade.ABCUSDT\",\"tickers.ABCUSDT\"]}"
        ]
    );
    world.book(true, 10, "[\"20.10\",\"4\"]", "[\"20.20\",\"3\"]");
    assert!(matches!(world.events[..], [MarketEvent::Book(_), MarketEvent::Health(_)]), "the book, then the verdict");
    world.frame("{\"success\":true,\"ret_msg\":\"\",\"conn_id\":\"c\",\"req_id\":\"16\",\"op\":\"subscribe\"}");
    world.frame("{\"success\":false,\"ret_msg\":\"error:already subscribed,topic:x\",\"conn_id\":\"c\",\"req_id\":\"16\",\"op\":\"subscribe\"}");
    assert_eq!((world.sent.len(), world.session.counters().refusals), (1, 0));
}

#[test]
fn one_bad_topic_is_isolated_by_asking_one_by_one() {
    let mut world = World::new(Config::default());
    world.sent.clear();
    world.frame("{\"success\":false,\"ret_msg\":\"error:handler not found,topic:x\",\"conn_id\":\"c\",\"req_id\":\"16\",\"op\":\"subscribe\"}");
    assert_eq!(world.sent.len(), 3);
    assert!(world.sent[1].contains("\"args\":[\"publicTrade.ABCUSDT\"]"));
    world.frame("{\"success\":false,\"ret_msg\":\"error:handler not found,topic:x\",\"conn_id\":\"c\",\"req_id\":\"19\",\"op\":\"subscribe\"}");
    assert_eq!((world.sent.len(), world.session.counters().refusals), (3, 2));
}

#[test]
fn after_a_gap_the_engine_is_blind_until_the_next_snapshot_and_no_longer() {
    let mut world = World::synced(Config::default());
    world.book(false, 12, "[\"20.10\",\"9\"]", "");
    assert_eq!(world.healths, [(HealthState::Stale, HealthReason::Gap)]);
    assert_eq!(world.sent.len(), 2);
    assert!(world.sent[0].contains("unsubscribe") && world.sent[1].contains("\"subscribe\""));
    for u in 13..20 {
        world.book(false, u, "[\"20.10\",\"9\"]", "");
    }
    world.pass(30 * MS);
    assert_eq!((world.healths.len(), world.asked_again(), world.session.counters().faults), (1, 1, 1));
    world.book(true, 40, "[\"20.15\",\"4\"]", "[\"20.20\",\"3\"]");
    assert_eq!(world.healths[1..], [(HealthState::Synced, HealthReason::Snapshot)]);
    assert_eq!(world.book.touch().unwrap().bid.px.to_string(), "20.15");
}

#[test]
fn a_snapshot_that_never_comes_is_asked_for_again_ever_more_patiently() {
    let mut world = World::synced(Config::default());
    world.book(false, 12, "[\"20.10\",\"9\"]", "");
    for second in 1..=200u64 {
        world.pass(1000 * MS);
        world.frame("{\"success\":true,\"ret_msg\":\"pong\",\"conn_id\":\"c\",\"req_id\":\"\",\"op\":\"ping\"}");
        assert!(second > 4 || world.asked_again() == 1);
    }
    assert!((5..=10).contains(&world.asked_again()), "{} times in 200 s", world.asked_again());
    assert_eq!(world.healths.len(), 1, "told once");
}

#[test]
fn a_restart_of_the_venue_replaces_the_book_and_says_so() {
    let mut world = World::synced(Config::default());
    world.book(false, 1, "[\"19.10\",\"4\"]", "[\"19.20\",\"3\"]");
    assert_eq!(world.healths, [(HealthState::Synced, HealthReason::Restart)]);
    assert_eq!(world.book.touch().unwrap().ask.px.to_string(), "19.2");
    assert_eq!((world.sent.len(), world.session.counters().faults), (0, 0));
}

#[test]
fn a_crossed_malformed_or_truncated_message_blinds_at_once() {
    let broken = "{\"topic\":\"orderbook.50.ABCUSDT\",\"type\":\"delta\",\"ts\":1900000000000,\"data\":{\"s\":\"ABCUSDT\",\"b\":[[\"20";
    let absurd = broken.to_owned() + ".1x\",\"1\"]],\"a\":[],\"u\":11,\"seq\":11}}";
    type Say<'a> = &'a dyn Fn(&mut World);
    let rows: [(&str, Say<'_>, HealthReason); 4] = [
        ("crossed", &|w| w.book(false, 11, "[\"20.30\",\"1\"]", ""), HealthReason::Crossed),
        ("truncated", &|w| w.frame(broken), HealthReason::Malformed),
        ("malformed", &|w| w.frame(&absurd), HealthReason::Malformed),
        ("old", &|w| w.book(false, 10, "", ""), HealthReason::Old),
    ];
    for (name, say, why) in rows {
        let mut world = World::synced(Config::default());
        let before = world.events.len();
        say(&mut world);
        assert_eq!(world.healths, [(HealthState::Stale, why)], "{name}");
        assert_eq!(world.events.len(), before + 1, "{name}: nothing of the bad message reached the engine");
        assert_eq!(world.asked_again(), 1, "{name}");
        world.book(true, 99, "[\"20.10\",\"4\"]", "[\"20.20\",\"3\"]");
        assert_eq!(world.healths[1..], [(HealthState::Synced, HealthReason::Snapshot)], "{name}");
    }
}

#[test]
fn other_broken_frames_are_counted_and_disturb_no_book() {
    let mut world = World::synced(Config::default());
    for frame in
        ["", "{", "{\"topic\":\"publicTrade.ABCUSDT\",\"type\"", "{\"topic\":\"orderbook.50.XYZUSDT\",", "\u{0}"]
    {
        world.frame(frame);
    }
    world.frame("{\"topic\":\"tickers.XYZUSDT\",\"type\":\"delta\",\"data\":{\"symbol\":\"XYZUSDT\"},\"cs\":1,\"ts\":1900000000140}");
    world.frame("{\"topic\":\"orderbook.200.ABCUSDT\",\"type\":\"delta\",\"ts\":1,\"data\":{\"s\":\"ABCUSDT\",\"b\":[],\"a\":[],\"u\":1,\"seq\":1}}");
    assert_eq!(world.session.counters().refused.iter().sum::<u64>(), 5);
    assert_eq!(world.session.counters().strangers, 2);
    assert!(world.healths.is_empty());
}

#[test]
fn a_silent_book_is_stale_after_the_limit_and_asked_for_again() {
    let mut world = World::synced(Config { silent_after: 2000 * MS, ..Config::default() });
    world.pass(1990 * MS);
    assert!(world.healths.is_empty());
    world.pass(260 * MS);
    assert_eq!(world.healths, [(HealthState::Stale, HealthReason::Silent)]);
    assert_eq!(world.asked_again(), 1);
    world.book(true, 10, "[\"20.10\",\"4\"]", "[\"20.20\",\"3\"]");
    assert_eq!(world.healths[1..], [(HealthState::Synced, HealthReason::Snapshot)]);
}

#[test]
fn the_best_level_repeating_itself_keeps_a_quiet_book_alive() {
    let topics = Topics { touch: true, ..Topics::default() };
    let mut world = World::synced(Config { topics, silent_after: 4000 * MS, ..Config::default() });
    for _ in 0..5 {
        let ts = world.now.wall.millis();
        world.book_at(1, true, 7, 10, ts, "[\"20.10\",\"4\"]", "[\"20.20\",\"3\"]");
        world.pass(3000 * MS);
    }
    assert!(world.healths.is_empty(), "{:?}", world.healths);
}

#[test]
fn two_depths_that_disagree_at_one_sequence_are_a_fault() {
    let topics = Topics { touch: true, ..Topics::default() };
    let mut world = World::synced(Config { topics, ..Config::default() });
    let ts = world.now.wall.millis();
    world.book_at(1, true, 7, 11, ts, "[\"20.11\",\"4\"]", "[\"20.20\",\"3\"]");
    assert!(world.healths.is_empty(), "a newer sequence may differ");
    world.book_at(1, true, 8, 10, ts, "[\"20.11\",\"4\"]", "[\"20.20\",\"3\"]");
    assert_eq!(world.healths, [(HealthState::Stale, HealthReason::Disagrees)]);
}

#[test]
fn a_book_far_from_the_mark_price_is_a_fault() {
    let mut world = World::synced(Config::default());
    let ticker = |mark: &str| {
        format!(
            "{{\"topic\":\"tickers.ABCUSDT\",\"type\":\"snapshot\",\"data\":{{\"symbol\":\"ABCUSDT\",\"markPrice\":\"{mark}\"}},\"cs\":1,\"ts\":1900000000140}}"
        )
    };
    world.frame(&ticker("20.60"));
    assert!(world.healths.is_empty());
    world.frame(&ticker("22.60"));
    assert_eq!(world.healths, [(HealthState::Stale, HealthReason::Disagrees)]);
}

#[test]
fn a_book_late_by_venue_time_is_stale_until_it_catches_up() {
    let mut world = World::synced(Config { late_after: 500 * MS, ..Config::default() });
    let ts = world.now.wall.millis();
    world.book_at(50, false, 11, 11, ts - 600, "[\"20.10\",\"9\"]", "");
    assert_eq!(world.healths, [(HealthState::Stale, HealthReason::Late)]);
    world.book_at(50, false, 12, 12, ts - 100, "[\"20.10\",\"8\"]", "");
    assert_eq!(world.healths[1..], [(HealthState::Synced, HealthReason::None)]);
    assert_eq!(world.asked_again(), 0, "late is not lost");
}

#[test]
fn lateness_is_judged_by_the_venues_clock_once_it_is_known() {
    let mut world = World::synced(Config { late_after: 500 * MS, ..Config::default() });
    let ts = world.now.wall.millis();
    world.now.wall = world.now.wall.after(3000 * MS);
    world.book_at(50, false, 11, 11, ts, "[\"20.10\",\"9\"]", "");
    assert_eq!(world.healths, [(HealthState::Stale, HealthReason::Late)], "our clock runs three seconds ahead");
    world.session.set_clock_offset(-3_000_000_000);
    world.book_at(50, false, 12, 12, ts, "[\"20.10\",\"8\"]", "");
    assert_eq!(world.healths[1..], [(HealthState::Synced, HealthReason::None)]);
}

/// What happens, what the engine must be told, and the longest it may be blind when the venue answers in 50 ms.
struct Fault {
    name: &'static str,
    happens: fn(&mut World),
    told: HealthReason,
    blind: u64,
}

const TRUNCATED: &str =
    "{\"topic\":\"orderbook.50.ABCUSDT\",\"type\":\"delta\",\"ts\":1900000000000,\"data\":{\"s\":\"ABCU";

fn faults() -> [Fault; 15] {
    use HealthReason as R;
    [
        Fault { name: "a gap", happens: |w| w.book(false, 12, "", ""), told: R::Gap, blind: 50 },
        Fault { name: "an old update", happens: |w| w.book(false, 9, "", ""), told: R::Old, blind: 50 },
        Fault {
            name: "a crossed book",
            happens: |w| w.book(false, 11, "[\"20.20\",\"1\"]", ""),
            told: R::Crossed,
            blind: 50,
        },
        Fault {
            name: "an absurd price",
            happens: |w| w.book(false, 11, "", "[\"99999999\",\"1\"]"),
            told: R::Absurd,
            blind: 50,
        },
        Fault {
            name: "a price off the grid",
            happens: |w| w.book(false, 11, "[\"20.101\",\"1\"]", ""),
            told: R::OffGrid,
            blind: 50,
        },
        Fault { name: "a truncated frame", happens: |w| w.frame(TRUNCATED), told: R::Malformed, blind: 50 },
        Fault {
            name: "a huge frame",
            happens: |w| w.frame(&(TRUNCATED.to_owned() + &"x".repeat(2 << 20))),
            told: R::Malformed,
            blind: 50,
        },
        Fault {
            name: "not UTF-8",
            happens: |w| {
                let frame = [TRUNCATED.as_bytes(), &[0xff, 0xfe]].concat();
                w.input(Input::Frame { bytes: &frame, ticks: 0 });
            },
            told: R::Malformed,
            blind: 50,
        },
        Fault {
            name: "a full ring",
            happens: |w| {
                w.room = 0;
                w.book(false, 11, "[\"20.10\",\"9\"]", "");
                w.room = usize::MAX;
                w.pass(250 * MS);
            },
            told: R::RingFull,
            blind: 50,
        },
        Fault { name: "a silent book", happens: |w| w.pass(5250 * MS), told: R::Silent, blind: 300 },
        Fault {
            name: "a slow socket",
            happens: |w| {
                let ts = w.now.wall.millis() - 2500;
                w.book_at(50, false, 11, 11, ts, "", "");
            },
            told: R::Late,
            blind: 50,
        },
        Fault {
            name: "an emptied side",
            happens: |w| w.book(false, 11, "[\"20.10\",\"0\"]", ""),
            told: R::Empty,
            blind: 50,
        },
        Fault {
            name: "a connection cut",
            happens: |w| {
                w.input(Input::Closed);
                let wait = w.connects[w.connects.len() - 1];
                w.pass(wait);
                w.input(Input::Connected);
            },
            told: R::Disconnected,
            blind: 300,
        },
        Fault {
            name: "a dead socket",
            happens: |w| {
                w.pass(11_000 * MS);
                assert_eq!(w.closes, 1);
                w.input(Input::Closed);
                let wait = w.connects[w.connects.len() - 1];
                w.pass(wait);
                w.input(Input::Connected);
            },
            told: R::Silent,
            blind: 6_300,
        },
        Fault {
            name: "a venue that disagrees with itself",
            happens: |w| {
                w.frame("{\"topic\":\"tickers.ABCUSDT\",\"type\":\"snapshot\",\"data\":{\"symbol\":\"ABCUSDT\",\"markPrice\":\"40\"},\"cs\":1,\"ts\":1900000000140}");
            },
            told: R::Disagrees,
            blind: 50,
        },
    ]
}

#[test]
fn every_fault_is_told_once_and_the_engine_sees_again_as_soon_as_the_venue_answers() {
    for Fault { name, happens, told, blind } in faults() {
        let mut world = World::synced(Config::default());
        world.times.clear();
        happens(&mut world);
        assert_eq!(world.healths.first(), Some(&(HealthState::Stale, told)), "{name}");
        world.pass(50 * MS);
        world.book(true, 700, "[\"20.10\",\"4\"]", "[\"20.20\",\"3\"]");
        let last = world.healths.last().unwrap();
        assert_eq!(*last, (HealthState::Synced, HealthReason::Snapshot), "{name}");
        let dark = world.times.last().unwrap().since(world.times[0]) / MS;
        println!("{name:<40} told {told:?}, blind {dark} ms");
        assert!(dark <= blind, "{name}: blind for {dark} ms");
        let stale = world.healths.iter().filter(|(state, _)| *state == HealthState::Stale).count();
        assert!(stale == 1 || told == HealthReason::Silent, "{name}: {:?}", world.healths);
        assert_eq!(world.book.touch().unwrap().bid.qty, keel_core::units::Qty::whole(4), "{name}");
    }
}

#[test]
fn maintenance_reaches_the_engine() {
    let mut world = World::synced(Config::default());
    world.frame("{\"topic\":\"system.status\",\"ts\":1900000000300,\"data\":[{\"state\":\"ongoing\",\"begin\":\"1900000000000\",\"end\":\"\",\"product\":[1]}]}");
    assert!(matches!(world.events.last(), Some(MarketEvent::VenueStatus(status)) if status.ongoing.is_set()));
}

#[test]
fn an_empty_side_is_stale_until_it_fills() {
    let mut world = World::synced(Config::default());
    world.book(false, 11, "[\"20.10\",\"0\"]", "");
    assert_eq!(world.healths, [(HealthState::Stale, HealthReason::Empty)]);
    world.book(false, 12, "[\"20.05\",\"2\"]", "");
    assert_eq!(world.healths[1..], [(HealthState::Synced, HealthReason::None)]);
    assert_eq!(world.book.touch().unwrap().bid.px.to_string(), "20.05");
}

#[test]
fn a_full_ring_blinds_and_the_verdict_is_told_as_soon_as_there_is_room() {
    let mut world = World::synced(Config::default());
    world.room = 0;
    world.book(false, 11, "[\"20.10\",\"9\"]", "");
    assert_eq!((world.healths.len(), world.session.counters().ring_full, world.asked_again()), (0, 1, 1));
    world.room = usize::MAX;
    world.pass(1000 * MS);
    assert_eq!(world.healths, [(HealthState::Stale, HealthReason::RingFull)]);
    world.book(true, 30, "[\"20.10\",\"4\"]", "[\"20.20\",\"3\"]");
    assert_eq!(world.healths[1..], [(HealthState::Synced, HealthReason::Snapshot)]);
}

#[test]
fn a_book_cut_in_half_by_a_full_ring_is_replaced_whole() {
    let mut world = World::synced(Config::default());
    let many: Vec<String> = (0..30).map(|n| format!("[\"{}\",\"1\"]", 10 + n)).collect();
    world.room = 1;
    world.book(false, 11, &many[..10].join(","), &many[15..].join(","));
    world.room = usize::MAX;
    world.pass(1000 * MS);
    assert_eq!(world.healths, [(HealthState::Stale, HealthReason::RingFull)]);
    world.book(true, 30, "[\"20.10\",\"4\"]", "[\"20.20\",\"3\"]");
    assert_eq!(world.book.levels(keel_core::event::Side::Buy).len(), 1);
}

#[test]
fn a_lost_connection_is_opened_again_and_everything_asked_anew() {
    let mut world = World::synced(Config::default());
    world.input(Input::Closed);
    assert_eq!(world.healths, [(HealthState::Stale, HealthReason::Disconnected)]);
    assert!(world.connects[1] > 0 && world.connects[1] < 250 * MS);
    world.book(false, 11, "[\"20.10\",\"9\"]", "");
    assert_eq!(world.healths.len(), 1, "a frame of the dead connection");
    world.pass(250 * MS);
    world.input(Input::Connected);
    assert_eq!(world.sent.len(), 1);
    world.book(false, 11, "[\"20.10\",\"9\"]", "");
    world.book(true, 500, "[\"20.10\",\"4\"]", "[\"20.20\",\"3\"]");
    assert_eq!(world.healths[1..], [(HealthState::Synced, HealthReason::Snapshot)]);
}

#[test]
fn a_ticker_delta_after_a_reconnect_waits_for_its_snapshot() {
    let mut world = World::synced(Config::default());
    let ticker = |kind: &str| {
        format!(
            "{{\"topic\":\"tickers.ABCUSDT\",\"type\":\"{kind}\",\"data\":{{\"symbol\":\"ABCUSDT\",\"markPrice\":\"20.15\"}},\"cs\":1,\"ts\":1900000000140}}"
        )
    };
    world.frame(&ticker("snapshot"));
    let before = world.events.len();
    world.frame(&ticker("delta"));
    assert_eq!(world.events.len(), before + 1);
    world.input(Input::Closed);
    world.input(Input::Connected);
    let before = world.events.len();
    world.frame(&ticker("delta"));
    assert_eq!(world.events.len(), before, "merged into a state of the old connection");
}

#[test]
fn a_book_that_breaks_after_every_snapshot_does_not_hammer_the_venue() {
    let mut world = World::synced(Config::default());
    let mut u = 10;
    for second in 0..120 {
        world.book(false, u + 5, "", "");
        u += 100;
        world.book(true, u, "[\"20.10\",\"4\"]", "[\"20.20\",\"3\"]");
        assert!(second > 2 || world.asked_again() == second + 1, "the first three are answered at once");
        world.pass(1000 * MS);
    }
    assert!(world.asked_again() <= 4, "asked {} times in 120 s", world.asked_again());
}

#[test]
fn a_heartbeat_goes_out_every_twenty_seconds_and_no_answer_closes() {
    let mut world = World::synced(Config { silent_after: 3600 * SECOND, ..Config::default() });
    for round in 1..=3 {
        world.pass(20 * SECOND + 250 * MS);
        assert_eq!(world.sent, vec!["{\"op\":\"ping\"}"; round]);
        world.frame("{\"success\":true,\"ret_msg\":\"pong\",\"conn_id\":\"c\",\"req_id\":\"\",\"op\":\"ping\"}");
    }
    world.pass(26 * SECOND);
    assert_eq!(world.closes, 1);
    world.pass(60 * SECOND);
    assert_eq!(world.closes, 1, "once");
    world.input(Input::Closed);
    assert_eq!(world.connects.len(), 2);
}

#[test]
fn a_session_that_cannot_work_is_refused_at_the_start() {
    let one = instruments(&["ABCUSDT"]);
    let wrong = |config: Config| Session::new(config, &one).err();
    let topics = Topics::default();
    assert_eq!(Session::new(Config::default(), &Instruments::default()).err(), Some(ConfigError::NoInstruments));
    assert_eq!(
        wrong(Config { topics: Topics { depth: 500, ..topics }, ..Config::default() }),
        Some(ConfigError::Depth)
    );
    assert_eq!(
        wrong(Config { topics: Topics { bars: 7, ..topics }, ..Config::default() }),
        Some(ConfigError::Interval)
    );
    assert_eq!(wrong(Config { silent_after: 0, ..Config::default() }), Some(ConfigError::Zero));
}

#[test]
fn sixty_four_instruments_with_every_topic_fit_one_connection() {
    let names: Vec<String> = (0..MAX_INSTRUMENTS).map(|n| format!("LONGNAME{n:02}ABCDEUSDT")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let topics =
        Topics { depth: 1000, touch: true, trades: true, ticker: true, liquidations: true, price_limit: true, bars: 1 };
    let instruments = instruments(&names);
    assert!(argument_length(&topics, &instruments) <= MAX_ARGS);
    let mut session = Session::new(Config { topics, ..Config::default() }, &instruments).unwrap();
    let now = Now { mono: Mono::from_nanos(7), wall: Wall::from_millis(START) };
    session.handle(now, Input::Connected, &mut |_| true);
    let mut asked = 0;
    while let Some(output) = session.poll() {
        asked += usize::from(matches!(output, Output::Send(_)));
    }
    assert_eq!((asked, session.counters().outbox_full), (MAX_INSTRUMENTS, 0));
}

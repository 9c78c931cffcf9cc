//! The feed agent and the scout against the exchange over loopback sockets.

use super::*;
use crate::exchange::{self, Market, Options};
use crate::node::clock::Clock;
use crate::node::inquiry::Inquiry;
use crate::node::meter::{Hop, LiveHops};
use crate::node::rest::Client;
use crate::node::run::Pace;
use crate::node::scout::Scout;
use crate::node::wire::{Endpoint, Traffic, tls};
use keel_core::book::Book;
use keel_core::event::VenueStatus;
use keel_core::ids::Symbol;
use keel_core::ring::{Consumer, ring};
use keel_gateway::rest::{Method, Request};
use keel_gateway::sign::Signer;

const SECOND: u64 = 1_000_000_000;

/// An exchange, a feed agent, and what comes out of it.
struct World {
    venue: exchange::Running,
    client: Client,
    table: Instruments,
    findings: Arc<Findings>,
    board: Arc<Board>,
    agent: FeedAgent,
    facts: Consumer<Timed<MarketEvent>>,
    clock: Clock,
    watch: Stopwatch,
    book: Book,
    states: Vec<(HealthState, HealthReason)>,
    announced: Vec<VenueStatus>,
}

impl World {
    fn new(lines: &Lines) -> Self {
        let venue = exchange::spawn(Options::default(), Market::generated(), exchange::Pace::Real).unwrap();
        let base = venue.address;
        let client = Client::new(&format!("http://{base}"), None).unwrap();
        let (signer, pace) = (Signer::new("demo-key", b"demo-secret"), Pace::Real);
        let inquiry = Inquiry { client: &client, signer: &signer, pace: &pace };
        let table = inquiry.instruments(&[Symbol::new(b"BTCUSDT").unwrap()]).unwrap();
        let tls = tls(None).unwrap();
        let wire = |path: &str| {
            let endpoint = Endpoint::new(&format!("ws://{base}/v5/public/{path}"), &tls).unwrap();
            Wire::new(endpoint, Arc::new(Traffic::default())).stamped(lines.stamps)
        };
        let (market, facts, _) = ring(8192);
        let (hops, board, findings) = (Arc::new(LiveHops::default()), Arc::new(Board::default()), Arc::default());
        let means = Means {
            wires: (0..lines.connections).map(|_| wire("linear")).collect(),
            status: lines.status.as_ref().map(|_| wire("misc/status")),
            market,
            kernel: Meter::new(Hop::Kernel, &hops),
            decode: Meter::new(Hop::Decode, &hops),
        };
        let watch = Stopwatch::new();
        let config = Config { seed: 3, ..Config::default() };
        let (shared, found) = (Arc::clone(&board), Arc::clone(&findings));
        let agent = FeedAgent::new(config, &table, means, watch.clone(), shared, found).unwrap();
        let (clock, book) = (Clock::real(&watch), Book::new(table.rows()[0].tick, 512));
        let (states, announced) = (Vec::new(), Vec::new());
        Self { venue, client, table, findings, board, agent, facts, clock, watch, book, states, announced }
    }

    /// Lets the agent work until something is so, and reads what it says.
    fn until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let start = self.clock.now().mono;
        while !is_so(self) {
            let now = self.clock.now();
            assert!(now.mono.since(start) < 20 * SECOND, "waited 20 s for {what}; states {:?}", self.states);
            if self.agent.duty(now) == 0 {
                std::thread::yield_now();
            }
            while let Some(fact) = self.facts.pop() {
                self.read(&fact.what);
            }
        }
    }

    fn read(&mut self, fact: &MarketEvent) {
        match fact {
            MarketEvent::Book(part) if part.depth != 1 => self.book.apply(part).expect("a sound book"),
            MarketEvent::Health(health) => self.states.push((health.state, health.reason)),
            MarketEvent::VenueStatus(status) => self.announced.push(*status),
            _ => {}
        }
    }

    fn trusted(&self) -> bool {
        self.states.last().is_some_and(|(state, _)| *state == HealthState::Synced)
    }

    fn command(&self, line: &str) {
        let (path_and_query, body) = ("/sim/command".to_owned(), line.to_owned());
        let reply = self.client.call(&Request { method: Method::Post, path_and_query, headers: Vec::new(), body });
        let reply = reply.unwrap();
        assert_eq!(reply.status, 200, "{line}: {}", String::from_utf8_lossy(&reply.body));
    }

    fn scout(&self, refresh_every: u64) -> Scout {
        let rounds = Rounds { clock_every: SECOND, refresh_every };
        let (client, findings) = (self.client.clone(), Arc::clone(&self.findings));
        Scout::new(client, self.table.clone(), rounds, findings, self.watch.clone())
    }
}

fn two() -> Lines {
    Lines { connections: 2, ..Lines::default() }
}

#[test]
fn two_connections_are_one_book_and_losing_one_is_not_noticed() {
    let mut world = World::new(&two());
    world.until("two connections", |w| w.trusted() && w.board.get(Cell::PublicLines) == 2);
    world.until("both to speak", |w| w.board.get(Cell::Duplicates) > 20);
    // One line dies: the other carries on, nobody is blind, the book goes on without a seam.
    let (told, moved) = (world.states.len(), world.book.update_id());
    let now = world.clock.now();
    world.agent.lines[0].wire.close();
    world.agent.turn(now, Lane::A, Input::Closed);
    world.until("the other to carry on", |w| w.book.update_id() > moved + 5);
    assert_eq!(world.states.len(), told, "no verdict changed: {:?}", world.states);
    assert!(world.book.touch().is_some());
    world.until("the lost one to come back", |w| w.board.get(Cell::PublicLines) == 2);
    assert!(world.trusted());
    // Both die: then, and only then, the engine is told.
    world.command("hangup channel=public");
    world.until("blindness", |w| w.states.last() == Some(&(HealthState::Stale, HealthReason::Disconnected)));
    world.until("sight", World::trusted);
    world.venue.join().unwrap();
}

#[test]
fn maintenance_is_announced_on_its_own_connection() {
    let mut world = World::new(&Lines { status: Some(String::new()), ..Lines::default() });
    world.until("both conversations", |w| w.trusted() && w.board.get(Cell::StatusLink) == 2);
    // Until the subscription stands an announcement passes by; it is repeated until it is heard.
    let asked = world.announced.len();
    for _ in 0..40 {
        world.command("maintenance on=true");
        let from = world.clock.now().mono;
        let mut clock = world.clock.clone();
        world.until("a moment", move |w| w.announced.len() > asked || clock.now().mono.since(from) > SECOND / 4);
        if world.announced.len() > asked {
            break;
        }
    }
    let last = *world.announced.last().unwrap();
    assert!(last.ongoing.is_set() && last.derivatives.is_set(), "{last:?}");
    assert!(world.agent.board.get(Cell::Announcements) > 0 || world.announced.len() == 1);
    world.command("maintenance on=false");
    world.until("the end of it", |w| w.announced.last().is_some_and(|status| !status.ongoing.is_set()));
    world.venue.join().unwrap();
}

#[test]
fn an_instrument_the_venue_changed_is_stale_until_a_restart() {
    let mut world = World::new(&Lines::default());
    world.until("a book", World::trusted);
    let mut scout = world.scout(SECOND);
    let mut clock = world.clock.clone();
    let mut look = |scout: &mut Scout, world: &World| {
        let before = world.findings.answers().1;
        while world.findings.answers().1 == before {
            scout.duty(clock.now());
            std::thread::yield_now();
        }
    };
    look(&mut scout, &world);
    assert_eq!(world.findings.withdrawn(), 0, "nothing changed");
    world.command("instrument symbol=BTCUSDT min_qty=0.002");
    look(&mut scout, &world);
    assert_eq!(world.findings.withdrawn(), 1);
    world.until("the verdict", |w| w.states.last() == Some(&(HealthState::Stale, HealthReason::Withdrawn)));
    assert_eq!((world.board.get(Cell::Withdrawn), world.board.get(Cell::Synced)), (1, 0));
    // Whatever the stream does now, the verdict stands.
    let told = world.states.len();
    world.command("hangup channel=public");
    world.until("the connection to come back", |w| w.agent.room.session(Lane::A).counters().connects == 2);
    let moved = world.book.update_id();
    world.until("a new book", |w| w.book.update_id() != moved);
    world.command("instrument symbol=BTCUSDT min_qty=0.001");
    look(&mut scout, &world);
    world.until("news", |w| w.book.update_id() > moved + 5 || w.book.update_id() < moved);
    assert_eq!(world.states.len(), told, "{:?}", world.states);
    world.venue.join().unwrap();
}

#[test]
fn the_venues_clock_is_read_and_lateness_judged_by_it() {
    let mut world = World::new(&Lines { stamps: true, ..Lines::default() });
    assert_eq!(world.findings.clock(), None);
    let mut scout = world.scout(3600 * SECOND);
    let now = world.clock.now();
    scout.duty(now);
    let estimate = world.findings.clock().unwrap();
    assert!(estimate.offset.unsigned_abs() <= estimate.error + 50_000_000, "one machine, one clock: {estimate:?}");
    assert_eq!(world.findings.answers(), (1, 0), "instruments are asked for when they are due, not at once");
    world.until("a book", World::trusted);
    world.until("the clock on the board", |w| w.board.get(Cell::ClockError) > 0);
    world.until("frames", |w| w.board.get(Cell::Frames) > 20);
    let (_, waited) = world.agent.kernel.finish();
    if waited.is_empty() {
        println!("SKIPPED: this kernel stamps no TCP bytes");
    } else {
        assert!(waited.max() < 20 * SECOND, "{} ns", waited.max());
    }
    world.venue.join().unwrap();
}

#[test]
fn the_book_of_two_is_trusted_when_either_is() {
    let status = |state, age| Status {
        instrument: InstrumentId(0),
        state,
        reason: HealthReason::None,
        age,
        venue_age: age,
        faults: 0,
        ignored: 0,
    };
    let (synced, stale) = (HealthState::Synced, HealthState::Stale);
    for (a, b, state, age) in [
        (status(synced, Some(9)), status(stale, Some(5)), synced, Some(5)),
        (status(stale, None), status(synced, Some(7)), synced, Some(7)),
        (status(stale, None), status(stale, None), stale, None),
    ] {
        let best = better(a, b);
        assert_eq!((best.state, best.age, best.venue_age), (state, age, age));
    }
}

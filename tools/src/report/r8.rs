//! R8: every trip of the brake: how fast it blocked, how fast everything was cancelled and closed, and who released it.

use super::Fold;
use super::cell::{Cell, Column, Sort, Table, col, steps, word};
use super::sheet::{Sheet, Spec};
use super::world::{Fact, Phase, Turn, World};
use anyhow::Result;
use keel_core::event::DocumentKind;
use keel_core::ids::{InstrumentId, Seq};
use keel_core::units::{Mono, SCALE, Wall};
use keel_risk::brake::{Reason, State};
use keel_risk::consent;
use keel_risk::decision::Class;
use keel_risk::notice::{ScopeKind, Trip};
use std::collections::VecDeque;

const EVENTS: [Column; 27] = [
    col("trip_id", Sort::Int, "#", "Record of the trip"),
    col("ts", Sort::Time, "", "When"),
    col("scope", Sort::Text, "", "What it stopped: Global, Account, an instrument, a strategy"),
    col("cause", Sort::Text, "", "Why"),
    col("meaning", Sort::Text, "", "The cause in words"),
    col("measured", Sort::Int, "of cause", "What was measured; NULL for what is not measured"),
    col("threshold", Sort::Int, "of cause", "What it was held against"),
    col("limit_set_ver", Sort::Int, "#", "Version of the limits in force"),
    col("before", Sort::Text, "", "Where it stood"),
    col("after", Sort::Text, "", "Where it stands"),
    col("author", Sort::Text, "", "Who asked; NULL when it tripped by itself"),
    col("policy", Sort::Text, "", "What becomes of the position: Hold, Shrink, Close"),
    col(
        "time_to_block_us",
        Sort::Int,
        "us",
        "From the record that caused it to the trip: from there on nothing leaves that adds risk",
    ),
    col(
        "approved_after",
        Sort::Int,
        "",
        "Orders that add risk approved in its scope until it was released: must be zero",
    ),
    col("open_orders", Sort::Int, "", "Own orders open when it tripped"),
    col("time_to_last_cancel_ms", Sort::Decimal, "ms", "Until the venue proved the last of our open orders ended"),
    col("flat_at_trip", Sort::Flag, "", "Nothing was held when it tripped"),
    col("time_to_flat_ms", Sort::Decimal, "ms", "Until nothing was held; NULL where it never came to that"),
    col("residual", Sort::Text, "", "What was held when the range ended"),
    col("released", Sort::Time, "", "When its scope was released"),
    col("stopped_s", Sort::Decimal, "s", "How long it stood"),
    col("release_cause", Sort::Text, "", "Armed: people released it; Recovered: the measure was calm for long enough"),
    col("rearmed_by_1", Sort::Text, "", "First person who signed the release"),
    col("rearmed_by_2", Sort::Text, "", "Second"),
    col("rearm_reason", Sort::Text, "", "What they gave as the reason"),
    col("refused_releases", Sort::Int, "", "Requests to release it that were refused meanwhile"),
    col("journal", Sort::Text, "", "Name of the journal"),
];

pub(super) const SPEC: Spec = Spec {
    code: "r8",
    name: "brake-events",
    title: "Brake events",
    about: "Every time the brake came down: why, how fast it blocked, how fast open orders were gone and positions closed, \
            what was left, and which people released it. Starts and ends of a run are events too.",
    schema: 1,
    restricted: false,
    tables: &[Table { name: "events", title: "Events", columns: &EVENTS }],
};

/// Events kept; further ones are said to be missing.
const MAX_EVENTS: usize = 20_000;
/// Records whose moment is remembered, to find what caused a trip.
const CAUSES: usize = 256;

#[derive(Clone, Debug)]
struct Event {
    seq: Seq,
    at: Wall,
    mono: Mono,
    trip: Trip,
    scope: String,
    block: Option<u64>,
    approved: u64,
    open: usize,
    cancelled: Option<u64>,
    flat_then: bool,
    flat: Option<u64>,
    released: Option<(Wall, Mono, Reason)>,
    people: Vec<String>,
    why: String,
    refused: u64,
}

/// The fold.
#[derive(Debug, Default)]
pub(super) struct Brake {
    moments: VecDeque<(Seq, Mono)>,
    events: Vec<Event>,
    /// Events that still wait for something.
    live: Vec<usize>,
    signers: (Vec<String>, String),
    missing: u64,
}

impl Fold for Brake {
    fn take(&mut self, world: &World, turn: &Turn<'_>, _: &mut Sheet) -> Result<()> {
        if self.moments.len() >= CAUSES {
            self.moments.pop_front();
        }
        self.moments.push_back((turn.entry.seq, turn.entry.mono));
        if let Some((DocumentKind::Arm, text, _)) = &turn.document {
            let read = consent::read_arm(text).ok();
            self.signers = read.map_or_else(Default::default, |(arm, signed)| {
                (signed.iter().map(|one| one.name.to_string()).collect(), arm.reason)
            });
        }
        // where the brake stood when a run began is written down again: nothing moved
        let again = turn.entry.cause == world.start_seq;
        match turn.fact {
            Fact::Trip(_) if again => {}
            Fact::Trip(trip) if trip.after > trip.before && turn.phase == Phase::Within => {
                self.tripped(world, turn, trip)
            }
            Fact::Trip(trip) if trip.after < trip.before => self.released(turn, &trip),
            Fact::Answer(answer) if answer.document == DocumentKind::Arm && answer.doubt != consent::Doubt::None => {
                for at in &self.live {
                    self.events[*at].refused += 1;
                }
            }
            Fact::Approved(decision) if decision.class == Class::Risk => {
                let order = decision.order;
                for at in &self.live {
                    let event = &mut self.events[*at];
                    let concerned = match event.trip.scope {
                        ScopeKind::Global | ScopeKind::Account => true,
                        ScopeKind::Instrument => event.trip.id == order.instrument.0,
                        ScopeKind::Strategy => event.trip.id == order.strategy.0,
                    };
                    event.approved += u64::from(concerned && event.released.is_none());
                }
            }
            Fact::Start(_) => self.live.retain(|at| self.events[*at].released.is_none()),
            _ => {}
        }
        self.progress(world, turn);
        Ok(())
    }

    fn end(&mut self, world: &World, out: &mut Sheet) -> Result<()> {
        let tripped = self.events.iter().filter(|event| !matches!(event.trip.reason, Reason::Start | Reason::Ending));
        out.figure("Trips", tripped.clone().count(), "");
        out.figure("Starts and ends", self.events.len() - tripped.clone().count(), "");
        let slowest = |of: fn(&Event) -> Option<u64>| self.events.iter().filter_map(of).max();
        out.figure("Slowest block", slowest(|event| event.block), "us");
        out.figure("Slowest last cancel", millis(slowest(|event| event.cancelled)), "ms");
        out.figure("Slowest to flat", millis(slowest(|event| event.flat)), "ms");
        let after: u64 = self.events.iter().map(|event| event.approved).sum();
        out.check(
            "orders that add risk approved while stopped = none",
            i128::from(after) * i128::from(SCALE),
            0,
            "orders",
            0,
        );
        if self.missing > 0 {
            out.incomplete(format!("{} brake events beyond the first {MAX_EVENTS} are not told", self.missing));
        }
        let held: Vec<String> = world
            .seats
            .iter()
            .filter(|seat| !seat.position.size.is_zero())
            .map(|seat| format!("{} {}", seat.symbol, seat.position.size))
            .collect();
        let residual = if held.is_empty() { "flat".to_owned() } else { held.join(", ") };
        for event in &self.events {
            out.row(0, row(world, event, &residual))?;
        }
        Ok(())
    }
}

fn millis(nanos: Option<u64>) -> Cell {
    steps(nanos.map(|nanos| i128::from(nanos) * 100))
}

fn row(world: &World, event: &Event, residual: &str) -> Vec<Cell> {
    let trip = &event.trip;
    let measures = trip.limit != 0 || trip.measured != 0;
    let person = |at: usize| event.people.get(at).map(|name| Cell::from(name.as_str())).unwrap_or_default();
    let stood = event.released.map(|(_, mono, _)| i128::from(mono.since(event.mono)) / 10);
    vec![
        event.seq.0.into(),
        event.at.into(),
        event.scope.clone().into(),
        word(trip.reason),
        trip.reason.meaning().into(),
        measures.then_some(trip.measured).into(),
        measures.then_some(trip.limit).into(),
        trip.limits.into(),
        word(trip.before),
        word(trip.after),
        trip.author.into(),
        word(trip.reason.policy()),
        event.block.map(|nanos| nanos / 1000).into(),
        event.approved.into(),
        event.open.into(),
        millis(event.cancelled),
        event.flat_then.into(),
        millis(event.flat),
        residual.into(),
        event.released.map(|(at, _, _)| at).into(),
        steps(stood),
        event.released.map(|(_, _, reason)| word(reason)).unwrap_or_default(),
        person(0),
        person(1),
        event.why.clone().into(),
        event.refused.into(),
        world.name.clone().into(),
    ]
}

fn is_flat(world: &World) -> bool {
    world.seats.iter().all(|seat| seat.position.size.is_zero())
}

impl Brake {
    fn tripped(&mut self, world: &World, turn: &Turn<'_>, trip: Trip) {
        if self.events.len() >= MAX_EVENTS {
            self.missing += 1;
            return;
        }
        let cause = self.moments.iter().rev().find(|(seq, _)| *seq == turn.entry.cause);
        let scope = match trip.scope {
            ScopeKind::Instrument => world.symbol(InstrumentId(trip.id)),
            ScopeKind::Strategy => format!("strategy {}", trip.id),
            scope => format!("{scope:?}"),
        };
        let (open, flat) = (world.open.len(), is_flat(world));
        // a scope that was stopped already and is stopped further is one stop: the new event takes it over
        self.live.push(self.events.len());
        self.events.push(Event {
            seq: turn.entry.seq,
            at: turn.entry.wall,
            mono: turn.entry.mono,
            trip,
            scope,
            block: cause.map(|(_, mono)| turn.entry.mono.since(*mono)),
            approved: 0,
            open,
            cancelled: (open == 0).then_some(0),
            flat_then: flat,
            flat: flat.then_some(0),
            released: None,
            people: Vec::new(),
            why: String::new(),
            refused: 0,
        });
    }

    fn released(&mut self, turn: &Turn<'_>, trip: &Trip) {
        let (people, why) = self.signers.clone();
        for at in std::mem::take(&mut self.live) {
            let event = &mut self.events[at];
            if (event.trip.scope, event.trip.id) != (trip.scope, trip.id) || trip.after >= State::ReduceOnly {
                self.live.push(at);
                continue;
            }
            event.released = Some((turn.entry.wall, turn.entry.mono, trip.reason));
            if trip.reason == Reason::Armed {
                (event.people, event.why) = (people.clone(), why.clone());
            }
        }
    }

    /// Orders ended, positions closed.
    fn progress(&mut self, world: &World, turn: &Turn<'_>) {
        if self.live.is_empty()
            || !matches!(
                turn.fact,
                Fact::Update(_) | Fact::Ack(_) | Fact::Sent(_) | Fact::Fill(_) | Fact::Difference(_)
            )
        {
            return;
        }
        let (none_open, flat) = (world.open.is_empty(), is_flat(world));
        for at in &self.live {
            let event = &mut self.events[*at];
            let since = turn.entry.mono.since(event.mono);
            if none_open && event.cancelled.is_none() {
                event.cancelled = Some(since);
            }
            if flat && event.flat.is_none() {
                event.flat = Some(since);
            }
        }
    }
}

//! R5: what was not as it should be: breaks with the venue's books, stale data, broken links, storms, clock alarms.

use super::Fold;
use super::cell::{Cell, Column, Sort, Table, col, steps, word};
use super::r1::client;
use super::sheet::{Sheet, Spec};
use super::world::{Fact, Phase, Turn, World};
use anyhow::Result;
use keel_core::event::{Difference, DifferenceKind, HealthReason, HealthState, LinkState, SentOutcome, Start};
use keel_core::ids::InstrumentId;
use keel_core::units::Wall;
use keel_risk::brake::{Reason, State};
use std::collections::{BTreeMap, VecDeque};

const EXCEPTIONS: [Column; 13] = [
    col("seq", Sort::Int, "#", "Record it is told by; of an interval the one it began with"),
    col("ts", Sort::Time, "", "When it began, or was noticed"),
    col(
        "kind",
        Sort::Text,
        "",
        "RECONCILIATION, SEQUENCE_GAP, STALE, LINK_DOWN, REJECT_STORM, NOT_SENT, CLOCK, BRAKE_ALARM, \
         MAINTENANCE, UNCLEAN_END, UNREADABLE",
    ),
    col("scope", Sort::Text, "", "Instrument, channel, order"),
    col("field", Sort::Text, "", "What was not as it should be"),
    col("ours", Sort::Decimal, "of field", "What we had, or measured"),
    col("venue", Sort::Decimal, "of field", "What the venue had, or the threshold"),
    col(
        "age_ms",
        Sort::Decimal,
        "ms",
        "How long it lasted; NULL for what has no end, or was still so when the range ended",
    ),
    col("ended", Sort::Time, "", "When it ended"),
    col("resolution", Sort::Text, "", "What was done about it"),
    col("order_or_exec", Sort::Text, "", "Which order or execution"),
    col("detail", Sort::Text, "", "In words"),
    col("journal", Sort::Text, "", "Name of the journal"),
];

const COUNTS: [Column; 4] = [
    col("kind", Sort::Text, "", "Kind of exception"),
    col("count", Sort::Int, "", "How often"),
    col("total_ms", Sort::Decimal, "ms", "How long together, of what has an end"),
    col("longest_ms", Sort::Decimal, "ms", "The longest"),
];

pub(super) const SPEC: Spec = Spec {
    code: "r5",
    name: "exceptions",
    title: "Exceptions",
    about: "Where our books and the venue's came apart, when data was stale or a link down, storms of refusals, clock alarms, \
            runs that did not end in good order.",
    schema: 1,
    restricted: false,
    tables: &[
        Table { name: "counts", title: "By kind", columns: &COUNTS },
        Table { name: "exceptions", title: "Exceptions", columns: &EXCEPTIONS },
    ],
};

/// Refusals of the venue within [`STORM_NANOS`] that are a storm.
const STORM: usize = 5;
const STORM_NANOS: u64 = 10_000_000_000;
/// Nanoseconds of clock error that are an exception.
const CLOCK_ALARM: u32 = 1_000_000;

/// Something that lasts.
#[derive(Clone, Debug)]
struct Open {
    seq: u64,
    at: Wall,
    kind: &'static str,
    scope: String,
    field: String,
    detail: String,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    count: u64,
    total: i128,
    longest: i128,
}

/// The fold.
#[derive(Debug, Default)]
pub(super) struct Exceptions {
    stale: BTreeMap<u16, Open>,
    links: BTreeMap<u8, Open>,
    clock: Option<Open>,
    refusals: VecDeque<Wall>,
    storm: Option<Open>,
    storm_size: u64,
    running: Option<(Start, u64)>,
    counts: BTreeMap<&'static str, Count>,
}

/// A row before it is one.
#[derive(Default)]
struct Told {
    seq: u64,
    at: Wall,
    kind: &'static str,
    scope: String,
    field: String,
    ours: Cell,
    venue: Cell,
    ended: Option<Wall>,
    resolution: Cell,
    which: Cell,
    detail: String,
}

impl Fold for Exceptions {
    fn take(&mut self, world: &World, turn: &Turn<'_>, out: &mut Sheet) -> Result<()> {
        if turn.phase == Phase::After {
            return Ok(());
        }
        let (seq, at) = (turn.entry.seq.0, turn.entry.wall);
        self.clock(world, turn, out)?;
        self.calm(world, at, out)?;
        let told = |kind, scope: String, detail: String| Told { seq, at, kind, scope, detail, ..Told::default() };
        match turn.fact {
            Fact::Start(start) => {
                if let Some((last, from)) = self.running.replace((start, seq)) {
                    let detail = format!("run {} began at record {from} and ended without a Stop record", last.run);
                    self.tell(world, told("UNCLEAN_END", format!("run {}", last.run), detail), out)?;
                }
                // conversations of a dead run are over, and so are its intervals
                self.end_all(world, at, out)?;
            }
            Fact::Stop(stop) => {
                self.running = None;
                self.end_all(world, at, out)?;
                if stop.open_orders > 0 {
                    let detail = format!("{} orders were not proven finished when the run ended", stop.open_orders);
                    self.tell(world, told("UNCLEAN_END", "orders".to_owned(), detail), out)?;
                }
            }
            Fact::Health(health) => {
                let scope = world.symbol(health.instrument);
                if health.state == HealthState::Stale {
                    let kind = if health.reason == HealthReason::Gap { "SEQUENCE_GAP" } else { "STALE" };
                    let (field, detail) =
                        (format!("{:?}", health.reason), format!("the book may not be trusted, update {}", health.u));
                    self.stale.entry(health.instrument.0).or_insert(Open { seq, at, kind, scope, field, detail });
                } else if health.state == HealthState::Synced
                    && let Some(open) = self.stale.remove(&health.instrument.0)
                {
                    self.ended(world, open, at, "in sequence again", out)?;
                }
            }
            Fact::Link(link) => {
                let channel = link.channel as u8;
                if link.state == LinkState::Down {
                    let open = Open {
                        seq,
                        at,
                        kind: "LINK_DOWN",
                        scope: format!("{:?}", link.channel),
                        field: "connection".to_owned(),
                        detail: "no conversation".to_owned(),
                    };
                    self.links.entry(channel).or_insert(open);
                } else if link.state == LinkState::Ready
                    && let Some(open) = self.links.remove(&channel)
                {
                    self.ended(world, open, at, "ready again", out)?;
                }
            }
            Fact::Difference(difference) => self.tell(world, difference_told(world, turn, &difference), out)?,
            Fact::Sent(sent) if sent.outcome != SentOutcome::Wire => {
                let detail = format!("a recorded {:?} never left: {:?}", sent.op, sent.outcome);
                let told = Told { which: client(sent.client), ..told("NOT_SENT", "order".to_owned(), detail) };
                self.tell(world, told, out)?;
            }
            Fact::Ack(ack) if ack.code != 0 => self.refused(turn, ack.code),
            Fact::Trip(trip) if trip.after > trip.before && is_alarm(trip.reason) => {
                let kind = match trip.reason {
                    Reason::Clock => "CLOCK",
                    Reason::Rejects | Reason::StrategyRejects => "REJECT_STORM",
                    _ => "BRAKE_ALARM",
                };
                let scope = match trip.scope {
                    keel_risk::notice::ScopeKind::Instrument => world.symbol(InstrumentId(trip.id)),
                    scope => format!("{scope:?}"),
                };
                let told = Told {
                    field: format!("{:?}", trip.reason),
                    ours: Cell::Decimal(i128::from(trip.measured).saturating_mul(i128::from(keel_core::units::SCALE))),
                    venue: Cell::Decimal(i128::from(trip.limit).saturating_mul(i128::from(keel_core::units::SCALE))),
                    resolution: state(trip.after).into(),
                    ..told(kind, scope, trip.reason.meaning().to_owned())
                };
                self.tell(world, told, out)?;
            }
            Fact::VenueStatus(status) if status.ongoing.is_set() && status.derivatives.is_set() => {
                let detail = "the venue announced maintenance of derivatives trading".to_owned();
                self.tell(world, told("MAINTENANCE", "venue".to_owned(), detail), out)?;
            }
            Fact::Unreadable => {
                let detail = format!("its {} bytes fit no layout this version knows", turn.entry.payload.len());
                self.tell(world, told("UNREADABLE", format!("kind {}", turn.entry.code), detail), out)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, world: &World, out: &mut Sheet) -> Result<()> {
        let open = self.stale.values().chain(self.links.values()).chain(&self.clock).chain(&self.storm);
        for open in open.cloned().collect::<Vec<_>>() {
            let told = Told { resolution: "still so when the range ended".into(), ..of(&open) };
            self.tell_from(world, Phase::Within, told, out)?;
        }
        for (kind, count) in &self.counts {
            out.row(0, vec![(*kind).into(), count.count.into(), steps(count.total), steps(count.longest)])?;
        }
        let all: u64 = self.counts.values().map(|count| count.count).sum();
        out.figure("Exceptions", all, "");
        for kind in ["RECONCILIATION", "SEQUENCE_GAP", "STALE", "REJECT_STORM"] {
            out.figure(kind.to_lowercase().replace('_', " "), self.counts.get(kind).map_or(0, |count| count.count), "");
        }
        Ok(())
    }
}

fn is_alarm(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::Start | Reason::Ending | Reason::Armed | Reason::Recovered | Reason::Person | Reason::PersonCloses
    )
}

fn state(state: State) -> String {
    format!("the brake stands at {state:?}")
}

fn of(open: &Open) -> Told {
    Told {
        seq: open.seq,
        at: open.at,
        kind: open.kind,
        scope: open.scope.clone(),
        field: open.field.clone(),
        detail: open.detail.clone(),
        ..Told::default()
    }
}

fn difference_told(world: &World, turn: &Turn<'_>, difference: &Difference) -> Told {
    let detail = match difference.kind {
        DifferenceKind::MissedEnd => "an order ended and the stream never said so (filled quantity)",
        DifferenceKind::MissedFill => "a fill the stream never showed (quantity)",
        DifferenceKind::ForeignOrder => "an open order we never asked for (open quantity)",
        DifferenceKind::ForeignFill => "a fill of an order we never asked for (quantity)",
        DifferenceKind::Absent => "an order we asked for and the venue has nowhere (quantity)",
        DifferenceKind::Revived => "an order taken for refused or absent is there after all (open quantity)",
        DifferenceKind::Position => "the size of a position",
        DifferenceKind::Profit => "the profit of a position",
        DifferenceKind::Entry => "the average entry price of a position",
        DifferenceKind::Balance => "the account's cash: money moved that no fill, fee or funding explains",
    };
    let account = difference.kind == DifferenceKind::Balance;
    Told {
        seq: turn.entry.seq.0,
        at: turn.entry.wall,
        kind: "RECONCILIATION",
        scope: if account { "account".to_owned() } else { world.symbol(difference.instrument) },
        field: format!("{:?}", difference.kind),
        ours: Cell::Decimal(difference.ours.into()),
        venue: Cell::Decimal(difference.theirs.into()),
        ended: None,
        resolution: word(difference.resolution),
        which: if difference.venue.is_empty() { client(difference.client) } else { difference.venue.into() },
        detail: detail.to_owned(),
    }
}

impl Exceptions {
    fn clock(&mut self, world: &World, turn: &Turn<'_>, out: &mut Sheet) -> Result<()> {
        let error = turn.entry.clock_error;
        let off = error != u32::MAX && error > CLOCK_ALARM;
        match (off, self.clock.take()) {
            (true, None) => {
                let detail = format!("bound of the clock's error {error} ns, alarm above {CLOCK_ALARM} ns");
                let (seq, at) = (turn.entry.seq.0, turn.entry.wall);
                self.clock = Some(Open {
                    seq,
                    at,
                    kind: "CLOCK",
                    scope: "host".to_owned(),
                    field: "clock_error".to_owned(),
                    detail,
                });
            }
            (false, Some(open)) => self.ended(world, open, turn.entry.wall, "within its bound again", out)?,
            (_, open) => self.clock = open,
        }
        Ok(())
    }

    fn refused(&mut self, turn: &Turn<'_>, code: i32) {
        let at = turn.entry.wall;
        self.refusals.push_back(at);
        while self.refusals.front().is_some_and(|first| at.since(*first) > STORM_NANOS) || self.refusals.len() > 4096 {
            self.refusals.pop_front();
        }
        if let Some(storm) = &mut self.storm {
            self.storm_size += 1;
            storm.detail = format!("{} refusals of the venue, the last with code {code}", self.storm_size);
        } else if self.refusals.len() >= STORM {
            self.storm_size = self.refusals.len() as u64;
            let detail = format!("{} refusals of the venue, the last with code {code}", self.storm_size);
            let at = self.refusals.front().copied().unwrap_or(at);
            self.storm = Some(Open {
                seq: turn.entry.seq.0,
                at,
                kind: "REJECT_STORM",
                scope: "venue".to_owned(),
                field: "refusals in 10 s".to_owned(),
                detail,
            });
        }
    }

    /// A storm ends when none was refused for as long as it takes to be one.
    fn calm(&mut self, world: &World, at: Wall, out: &mut Sheet) -> Result<()> {
        let last = self.refusals.back().copied().unwrap_or_default();
        if self.storm.is_none() || at.since(last) <= STORM_NANOS {
            return Ok(());
        }
        let Some(storm) = self.storm.take() else { return Ok(()) };
        self.refusals.clear();
        self.ended(world, storm, last, "calm again", out)
    }

    fn end_all(&mut self, world: &World, at: Wall, out: &mut Sheet) -> Result<()> {
        let stale = std::mem::take(&mut self.stale).into_values();
        let links = std::mem::take(&mut self.links).into_values();
        for open in stale.chain(links).collect::<Vec<_>>() {
            self.ended(world, open, at, "the run ended", out)?;
        }
        Ok(())
    }

    fn ended(&mut self, world: &World, open: Open, at: Wall, how: &'static str, out: &mut Sheet) -> Result<()> {
        let told = Told { ended: Some(at), resolution: how.into(), ..of(&open) };
        let phase = world.range.phase(at);
        self.tell_from(world, phase, told, out)
    }

    fn tell(&mut self, world: &World, told: Told, out: &mut Sheet) -> Result<()> {
        let phase = world.range.phase(told.at);
        self.tell_from(world, phase, told, out)
    }

    fn tell_from(&mut self, world: &World, phase: Phase, told: Told, out: &mut Sheet) -> Result<()> {
        if phase != Phase::Within {
            return Ok(());
        }
        // nanoseconds to milliseconds in steps of 1e-8
        let age = told.ended.map(|ended| i128::from(ended.since(told.at)) * 100);
        let count = self.counts.entry(told.kind).or_default();
        count.count += 1;
        count.total += age.unwrap_or(0);
        count.longest = count.longest.max(age.unwrap_or(0));
        out.row(
            1,
            vec![
                told.seq.into(),
                told.at.into(),
                told.kind.into(),
                told.scope.into(),
                told.field.into(),
                told.ours,
                told.venue,
                steps(age),
                told.ended.into(),
                told.resolution,
                told.which,
                told.detail.into(),
                world.name.clone().into(),
            ],
        )
    }
}

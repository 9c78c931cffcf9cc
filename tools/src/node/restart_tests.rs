//! Journals of runs that died at the worst moments, written record by record, and what the next run takes over.

use super::*;
use crate::node::heritage;
use keel_core::event::{
    DifferenceKind, Document, DocumentKind, ExecKind, Op, OrderStatus, Record, Sent, SentOutcome, Side,
};
use keel_core::ids::{ClientId, StrategyId, VenueId};
use keel_core::orders::State;
use keel_core::permit::LogHealth;
use keel_core::units::Mono;
use keel_journal::{Options, Writer};
use keel_risk::brake::{Reason, SCOPES, Scope, State as Brake};
use keel_risk::consent::{limits_message, signed_text};
use keel_risk::limits::Limits;
use keel_risk::notice::{Answer, Fortune, ScopeKind, Trip};

/// A record as it would stand in the journal, whoever may build it.
struct Raw(Decision);

impl Record for Raw {
    fn kind(&self) -> Kind {
        Kind::Approved
    }
    fn bytes(&self) -> &[u8] {
        zerocopy::IntoBytes::as_bytes(&self.0)
    }
}

const SYMBOLS: [&str; 2] = ["BTCUSDT", "ETHUSDT"];

fn instruments(names: &[&str]) -> Instruments {
    let row = |name: &&str| Instrument {
        symbol: Symbol::new(name.as_bytes()).unwrap(),
        tick: Px::parse(b"0.1").unwrap(),
        min_px: Px::parse(b"0.1").unwrap(),
        max_px: Px::whole(1_999_999),
        step: Qty::parse(b"0.001").unwrap(),
        min_qty: Qty::parse(b"0.001").unwrap(),
        max_qty: Qty::whole(100),
        max_market_qty: Qty::whole(100),
        min_notional: Notional::whole(5),
        max_leverage: 2_500,
        funding_minutes: 480,
        trading: keel_core::event::Flag::Yes,
        ..Instrument::default()
    };
    Instruments::new(names.iter().map(row)).unwrap()
}

/// A journal on disk and the clock of the process that writes it.
struct World {
    dir: tempfile::TempDir,
    millis: u64,
    mono: u64,
    run: u32,
}

impl World {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), millis: 1_900_000_000_000, mono: 3_600_000, run: 0 }
    }

    fn now(&self) -> Now {
        Now { mono: Mono::from_millis(self.mono), wall: Wall::from_millis(self.millis) }
    }

    fn pass(&mut self, millis: u64) {
        (self.millis, self.mono) = (self.millis + millis, self.mono + millis);
    }

    /// One run: its beginning as the node writes it, then `facts`, then kill -9.
    fn run(&mut self, names: &[&str], facts: impl FnOnce(&mut Self, &mut Writer)) -> Succession {
        let (mut writer, keeper) =
            Writer::open(self.dir.path(), Options { segment_bytes: 1 << 20, ..Options::default() }).unwrap();
        let past = Past::read(self.dir.path()).unwrap();
        let table = instruments(names);
        self.mono = 3_600_000;
        self.run = past.next_run(self.now().wall).unwrap();
        let succession = past.succeed(self.run, self.now(), &table).unwrap();
        let start = Start { run: self.run, wall: self.now().wall, ..Start::default() };
        let begun = writer.fact(self.now(), Seq::NONE, &start).unwrap();
        for row in table.rows() {
            writer.fact(self.now(), begun, row).unwrap();
        }
        succession.record(&mut writer, self.dir.path(), self.now(), begun).unwrap();
        facts(self, &mut writer);
        drop((writer, keeper));
        succession
    }

    fn past(&self) -> Past {
        Past::read(self.dir.path()).unwrap()
    }

    fn order(&self, count: u32) -> Order {
        let (px, qty) = (Px::whole(60_000), Qty::whole(2));
        Order { client: ClientId::new(self.run, count), px, qty, ..Order::default() }
    }

    fn approve(&self, writer: &mut Writer, order: Order) {
        writer.fact(self.now(), Seq::NONE, &Raw(Decision { order, ..Decision::default() })).unwrap();
    }

    fn tell(&self, writer: &mut Writer, event: ExecEvent) {
        writer.fact(self.now(), Seq::NONE, &event).unwrap();
    }

    fn fill(&self, count: u32, exec: &str, qty: i64, seq: u64) -> ExecEvent {
        ExecEvent::Fill(Fill {
            client: ClientId::new(self.run, count),
            ts: self.now().wall,
            recv: self.now().mono,
            seq,
            px: Px::whole(60_000),
            qty: Qty::whole(qty),
            fee: Notional::whole(1),
            exec: VenueId::new(exec.as_bytes()).unwrap(),
            side: Side::Buy,
            kind: ExecKind::Trade,
            ..Fill::default()
        })
    }
}

#[test]
fn the_first_run_of_a_journal_takes_its_number_from_the_clock_and_the_next_ones_count_up() {
    let mut world = World::new();
    let first = world.run(&SYMBOLS, |_, _| {});
    assert_eq!((first.run, first.desk.orders.open().len()), (1_900_000_000, 0));
    world.pass(10);
    assert_eq!(world.run(&SYMBOLS, |_, _| {}).run, 1_900_000_001);
}

#[test]
fn an_order_recorded_and_not_known_to_have_left_is_unknown_in_the_next_run_with_all_of_it_reserved() {
    let mut world = World::new();
    world.run(&SYMBOLS, |world, writer| world.approve(writer, world.order(1)));
    let first = world.run;
    world.pass(20_000);
    let next = world.run(&SYMBOLS, |_, _| {});
    let row = next.desk.orders.open()[0];
    assert_eq!((row.state, row.order.client, row.open()), (State::Unknown, ClientId::new(first, 1), Qty::whole(2)));
    assert_eq!(world.now().mono.since(row.asked).div_ceil(1_000_000), 20_000, "its age counts on");
    assert_eq!(next.desk.orders.next_id(), ClientId::new(first + 1, 1));
}

#[test]
fn a_fill_is_counted_once_however_many_runs_and_questions_show_it() {
    let mut world = World::new();
    world.run(&SYMBOLS, |world, writer| {
        world.approve(writer, world.order(1));
        let sent = Sent { client: world.order(1).client, op: Op::New, outcome: SentOutcome::Wire, ..Sent::default() };
        world.tell(writer, ExecEvent::Sent(sent));
        world.tell(writer, world.fill(1, "e-1", 1, 7));
    });
    let shown = world.fill(1, "e-1", 1, 7);
    world.pass(500);
    let second = world.run(&SYMBOLS, |world, writer| world.tell(writer, shown));
    let held = second.desk.seats()[0].position;
    assert_eq!((held.size, held.fees), (Qty::whole(1), Notional::whole(1)));
    assert_eq!(second.desk.orders.open()[0].open(), Qty::whole(1), "what is left of the order stays reserved");
    let third = world.run(&SYMBOLS, |_, _| {});
    assert_eq!(third.desk.seats()[0].position, held, "the question of the second run told nothing new");
    assert!(third.known_to >= Wall::from_millis(1_900_000_000_000));
}

#[test]
fn a_fill_while_nobody_ran_is_counted_when_the_next_run_reads_it() {
    let mut world = World::new();
    world.run(&SYMBOLS, |world, writer| world.approve(writer, world.order(1)));
    let missed = world.fill(1, "e-9", 2, 9);
    world.pass(60_000);
    world.run(&SYMBOLS, |world, writer| world.tell(writer, missed));
    let past = world.past();
    assert_eq!(past.desk().seats()[0].position.size, Qty::whole(2));
    assert!(past.desk().orders.open().is_empty(), "and its order is filled");
}

#[test]
fn instruments_may_change_places_between_two_runs() {
    let mut world = World::new();
    world.run(&SYMBOLS, |world, writer| {
        world.approve(writer, world.order(1));
        world.tell(writer, world.fill(1, "e-1", 1, 7));
    });
    world.pass(10);
    let next = world.run(&["ETHUSDT", "SOLUSDT", "BTCUSDT"], |_, _| {});
    let sizes: Vec<_> = next.desk.seats().iter().map(|seat| seat.position.size).collect();
    assert_eq!(sizes, [Qty::ZERO, Qty::ZERO, Qty::whole(1)]);
    assert_eq!(next.desk.orders.open()[0].order.instrument, InstrumentId(2));
}

#[test]
fn a_symbol_that_is_held_and_not_configured_any_more_refuses_the_start() {
    let mut world = World::new();
    world.run(&SYMBOLS, |world, writer| {
        world.approve(writer, world.order(1));
        world.tell(writer, world.fill(1, "e-1", 2, 7));
    });
    let said = world.past().succeed(world.run + 1, world.now(), &instruments(&["ETHUSDT"])).unwrap_err().to_string();
    assert!(said.contains("a position of 2") && said.contains("BTCUSDT") && said.contains("name it"), "{said}");
}

#[test]
fn from_the_last_beginning_or_from_the_oldest_record_it_is_the_same_past() {
    let mut world = World::new();
    for round in 0..6 {
        world.run(&SYMBOLS, |world, writer| {
            for count in 1..=3 {
                world.approve(writer, world.order(count));
                world.pass(700);
            }
            world.tell(writer, world.fill(2, &format!("e-{round}"), 2, 10 + round));
            let done =
                OrderUpdate { client: world.order(3).client, status: OrderStatus::Cancelled, ..OrderUpdate::default() };
            world.tell(writer, ExecEvent::Order(done));
            world.approve(writer, Order { op: Op::Cancel, ..world.order(1) });
        });
        world.pass(3_000);
    }
    let short = Past::from(world.dir.path(), beginning(world.dir.path())).unwrap().expect("a whole beginning");
    let long = Past::from(world.dir.path(), None).unwrap().unwrap();
    let of = |past: &Past| {
        let mut rows: Vec<_> = past.desk.orders.carried(past.last.mono).collect();
        rows.sort_by_key(|row| row.order.client.raw());
        let seats: Vec<_> = past.desk.seats().iter().map(|seat| seat.position).collect();
        (past.run, rows, seats, past.known_to, past.seen.clone())
    };
    assert_eq!(of(&short), of(&long));
    assert_eq!(short.desk.orders.open().len(), 6, "one a run is in doubt");
}

#[test]
fn a_beginning_that_was_cut_short_is_read_over_from_the_run_before_it() {
    let mut world = World::new();
    world.run(&SYMBOLS, |world, writer| {
        world.approve(writer, world.order(1));
        world.tell(writer, world.fill(1, "e-1", 1, 7));
    });
    // killed between its first record and the last of its beginning
    let (mut writer, keeper) =
        Writer::open(world.dir.path(), Options { segment_bytes: 1 << 20, ..Options::default() }).unwrap();
    let start = Start { run: world.run + 1, ..Start::default() };
    let seq = writer.fact(world.now(), Seq::NONE, &start).unwrap();
    drop((writer, keeper));
    let past = world.past();
    assert_eq!((past.run, past.desk.seats()[0].position.size), (world.run + 1, Qty::whole(1)));
    // and a pointer to it leads nowhere, so the whole journal is read
    std::fs::write(world.dir.path().join(BEGINNING), seq.0.to_string()).unwrap();
    assert_eq!(world.past().desk.seats()[0].position.size, Qty::whole(1));
    std::fs::write(world.dir.path().join(BEGINNING), "nonsense").unwrap();
    assert_eq!(world.past().desk.orders.open().len(), 1);
}

/// Everything a run takes over of the brake and the limits, for a comparison.
type Brakes = (Vec<keel_risk::brake::Standing>, u64, Option<Fortune>, Option<(u32, Vec<u8>)>);

fn brakes(latch: &Latch) -> Brakes {
    let brake = latch.brake();
    let standings = (0..SCOPES).filter_map(Scope::at).map(|scope| brake.standing(scope)).collect();
    let adopted = latch.adopted().last().map(|last| (last.version, last.text.clone()));
    (standings, brake.version(), latch.fortune().copied(), adopted)
}

/// Latches two scopes, says a fortune, and puts new limits in force.
fn latches(world: &World, writer: &mut Writer) -> Limits {
    let on = |scope, id, version| Trip {
        scope,
        id,
        version,
        after: Brake::Halted,
        reason: Reason::Person,
        at: world.now().mono,
        ..Trip::default()
    };
    for trip in [on(ScopeKind::Account, 0, 3), on(ScopeKind::Strategy, 1, 4), on(ScopeKind::Instrument, 1, 5)] {
        writer.fact(world.now(), Seq::NONE, &trip).unwrap();
    }
    let fortune = Fortune { unit_value: 90_000_000, highest: 110_000_000, ..Fortune::default() };
    writer.fact(world.now(), Seq::NONE, &fortune).unwrap();
    let before = Limits::demo();
    let limits = Limits { version: before.version + 1, max_gross: Notional::whole(7), ..before.clone() };
    let text = signed_text(&limits_message(before.version, &limits), &[]);
    for part in Document::cut(world.now().mono, Text::EMPTY, DocumentKind::Limits, &text).unwrap() {
        writer.fact(world.now(), Seq::NONE, &part).unwrap();
    }
    let answer = Answer { version: 6, limits: limits.version, document: DocumentKind::Limits, ..Answer::default() };
    writer.fact(world.now(), Seq::NONE, &answer).unwrap();
    limits
}

#[test]
fn a_latch_set_many_runs_ago_is_in_force_and_nothing_older_than_the_last_beginning_is_read_for_it() {
    let mut world = World::new();
    let mut limits = None;
    world.run(&SYMBOLS, |world, writer| limits = Some(latches(world, writer)));
    for _ in 0..6 {
        world.pass(1_000);
        world.run(&SYMBOLS, |world, writer| {
            let worth = Worth { balance: Notional::whole(1), ..Worth::default() };
            writer.fact(world.now(), Seq::NONE, &worth).unwrap();
        });
    }
    let dir = world.dir.path();
    let last = beginning(dir).unwrap();
    let past = Past::from(dir, Some(last)).unwrap().expect("the last run began whole");
    let everything = heritage::history(dir).unwrap();
    assert_eq!(brakes(past.latch()), brakes(&everything));
    assert_eq!(heritage::limits(past.latch()).unwrap(), limits);
    let brake = past.latch().brake();
    for scope in [Scope::Account, Scope::Strategy(StrategyId(1)), Scope::Instrument(InstrumentId(1))] {
        assert_eq!(brake.standing(scope).state, Brake::Halted, "{scope:?}");
    }
    assert_eq!(brake.standing(Scope::Instrument(InstrumentId(0))).state, Brake::Active);
    assert_eq!(everything.adopted().len(), 1, "said again by every run, adopted once");
    // the segments before the last beginning could as well be gone
    assert_eq!(brakes(world.past().latch()), brakes(&everything));
}

#[test]
fn a_latch_survives_a_beginning_cut_anywhere_and_beginnings_that_did_not_carry_it() {
    let mut world = World::new();
    world.run(&SYMBOLS, |world, writer| drop(latches(world, writer)));
    world.run(&SYMBOLS, |_, _| {});
    let whole = brakes(world.past().latch());
    let mut beginnings = 0;
    // a run that dies after any record of its beginning
    for records in 1..40 {
        let options = Options { segment_bytes: 1 << 20, ..Options::default() };
        let (mut writer, keeper) = Writer::open(world.dir.path(), options).unwrap();
        let past = world.past();
        let run = past.next_run(world.now().wall).unwrap();
        let succession = past.succeed(run, world.now(), &instruments(&SYMBOLS)).unwrap();
        let start = writer.fact(world.now(), Seq::NONE, &Start { run, ..Start::default() }).unwrap();
        for row in instruments(&SYMBOLS).rows() {
            writer.fact(world.now(), start, row).unwrap();
        }
        let mut log = Short { writer: &mut writer, left: records };
        let done = succession.record(&mut log, world.dir.path(), world.now(), start).is_ok();
        drop((writer, keeper));
        assert_eq!(brakes(world.past().latch()), whole, "dead after {records} records");
        beginnings += u32::from(done);
    }
    assert!((1..39).contains(&beginnings), "some were cut, some were not: {beginnings}");
    // as a version wrote it that carried positions and orders alone
    let (mut writer, keeper) =
        Writer::open(world.dir.path(), Options { segment_bytes: 1 << 20, ..Options::default() }).unwrap();
    let start = Start { run: world.past().run + 1, ..Start::default() };
    let seq = writer.fact(world.now(), Seq::NONE, &start).unwrap();
    writer.fact(world.now(), seq, &Resumed::default()).unwrap();
    std::fs::write(world.dir.path().join(BEGINNING), seq.0.to_string()).unwrap();
    drop((writer, keeper));
    assert!(Past::from(world.dir.path(), Some(seq)).unwrap().is_none(), "no whole beginning");
    assert_eq!(brakes(world.past().latch()), whole);
}

/// A journal that is full after so many records.
struct Short<'a> {
    writer: &'a mut Writer,
    left: u32,
}

impl Log for Short<'_> {
    type Recorded<T> = keel_journal::Recorded<T>;

    fn fact<R: Record>(&mut self, now: Now, cause: Seq, fact: &R) -> Result<Seq, LogFault> {
        self.left = self.left.checked_sub(1).ok_or(LogFault::Full)?;
        self.writer.fact(now, cause, fact)
    }

    fn record<R: Record>(&mut self, now: Now, cause: Seq, decision: R) -> Result<Self::Recorded<R>, LogFault> {
        self.writer.record(now, cause, decision)
    }

    fn health(&self) -> LogHealth {
        self.writer.health()
    }
}

#[test]
fn what_the_account_was_worth_at_its_best_survives() {
    let mut world = World::new();
    world.run(&SYMBOLS, |world, writer| {
        let worth = Worth {
            balance: Notional::whole(900),
            high: Notional::whole(1_000),
            drawdown: Notional::whole(100),
            ..Worth::default()
        };
        writer.fact(world.now(), Seq::NONE, &worth).unwrap();
    });
    let mut next = world.run(&SYMBOLS, |_, _| {});
    let worth = next.desk.worth(world.now().mono).unwrap();
    assert_eq!((worth.high, worth.drawdown), (Notional::whole(1_000), Notional::whole(100)));
    assert!(next.desk.judge(world.now().mono).is_none_or(|d| d.kind != DifferenceKind::Balance));
}

/// A journal is a file, and a file may hold anything.
#[test]
fn records_of_any_bytes_are_taken_or_refused_and_never_a_panic() {
    let mut state = 7u64;
    let mut luck = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 8
    };
    let mut taken = 0;
    for round in 0..400u64 {
        let mut past = Past::default();
        for seq in 1..60 {
            let kinds = Kind::ALL.map(|kind| kind.code());
            let code = kinds[usize::try_from(luck() % kinds.len() as u64).unwrap()];
            let len =
                [16, 24, 32, 40, 48, 56, 64, 72, 80, 96, 104, 160, 184, 256][usize::try_from(luck() % 14).unwrap()];
            // mostly small numbers, so that words and flags are often ones there are
            let mut bytes: Vec<u8> = (0..len)
                .map(|_| if luck() % 8 == 0 { luck().to_le_bytes()[0] } else { (luck() % 3).to_le_bytes()[0] })
                .collect();
            if seq == 1 {
                bytes = Start { run: 1, ..Start::default() }.bytes().to_vec();
            }
            let code = if seq == 1 { Kind::Start.code() } else { code };
            let entry = Entry {
                seq: Seq(seq),
                code,
                kind: Kind::from_code(code),
                cause: Seq::NONE,
                mono: Mono::from_nanos(luck() % 1_000_000),
                wall: Wall::from_nanos(round),
                clock_error: 0,
                payload: &bytes,
                bytes: &bytes,
            };
            taken += usize::from(past.take(&entry).is_ok());
        }
        let _ = past.succeed(u32::MAX, Now::default(), &instruments(&SYMBOLS));
    }
    assert!(taken > 400);
}

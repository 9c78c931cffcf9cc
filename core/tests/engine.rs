//! The engine against doors that are scripted: what it asks, in which order, and what it does when a door stays shut.

#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]
use keel_core::desk::Desk;
use keel_core::engine::{Engine, Input};
use keel_core::event::{
    Ack, BookUpdate, Command, CommandKind, Document, ExecEvent, ExecKind, Fill, Flag, Health, HealthState, Kind, Level,
    MarketEvent, Op, Order, Origin, Record, Sent, Side, Standing, Timer,
};
use keel_core::ids::{ClientId, InstrumentId, Seq, StrategyId, Symbol, VenueId};
use keel_core::instrument::{Instrument, Instruments};
use keel_core::orders::Change;
use keel_core::permit::{Context, Gate, Log, LogFault, LogHealth};
use keel_core::position::Position;
use keel_core::sizing::Sizing;
use keel_core::strategy::{Quoter, QuoterParams};
use keel_core::units::{Mono, Notional, Now, Px, Qty, Wall};

/// What the script's gate answers with.
#[derive(Debug)]
struct Answer(Order, Kind);

impl AsRef<Order> for Answer {
    fn as_ref(&self) -> &Order {
        &self.0
    }
}

impl Record for Answer {
    fn kind(&self) -> Kind {
        self.1
    }

    fn bytes(&self) -> &[u8] {
        zerocopy::IntoBytes::as_bytes(&self.0)
    }
}

#[derive(Debug, Default)]
struct Script {
    refuse: bool,
    tripped: bool,
    stopped: bool,
    said: bool,
    trip_when_long: bool,
    open: i64,
    position: Position,
}

impl Gate for Script {
    type Approved = Answer;
    type Refused = Answer;
    type Notice = Answer;

    fn market(&mut self, _: Now, _: &MarketEvent) {}
    fn exec(&mut self, _: Now, _: &ExecEvent) {}
    fn command(&mut self, _: Now, command: &Command) {
        self.refuse = matches!(command.kind, CommandKind::Halt);
        self.stopped = matches!(command.kind, CommandKind::CancelOnly | CommandKind::Halt | CommandKind::Shutdown);
    }
    fn document(&mut self, _: Now, _: &Document) {}
    fn standing(&mut self, _: Now, _: &Standing) {}
    fn order(&mut self, _: Now, change: &Change) {
        self.open += change.after.raw() - change.before.raw();
    }
    fn position(&mut self, _: Now, _: InstrumentId, position: &Position) {
        self.position = *position;
        self.tripped = position.size.raw() > 0 && self.trip_when_long;
    }
    fn tick(&mut self, _: Now) {}
    fn deadline(&self) -> Option<Mono> {
        None
    }
    fn notice(&mut self, _: Now) -> Option<Answer> {
        let stops = self.tripped || self.stopped;
        let news = stops && !std::mem::replace(&mut self.said, stops);
        news.then(|| Answer(Order::default(), Kind::Trip))
    }
    fn stops(&self, _: &Order) -> bool {
        self.tripped || self.stopped
    }
    fn unwind(&mut self, _: Now, _: &Desk) -> Option<Order> {
        None
    }
    fn judge(&mut self, _: Now, order: &Order, _: &Context<'_>) -> Result<Answer, Answer> {
        if self.refuse && order.op != Op::Cancel {
            Err(Answer(*order, Kind::Refused))
        } else {
            Ok(Answer(*order, Kind::Approved))
        }
    }
}

#[derive(Debug, Default)]
struct Memory {
    kinds: Vec<Kind>,
    full: bool,
}

impl Memory {
    fn take(&mut self, kind: Kind) -> Result<Seq, LogFault> {
        if self.full {
            return Err(LogFault::Full);
        }
        self.kinds.push(kind);
        Ok(Seq(self.kinds.len() as u64))
    }
}

#[derive(Clone, Copy, Debug)]
struct Pen<'a>(&'a Memo);

impl Log for Pen<'_> {
    type Recorded<T> = T;

    fn fact<R: Record>(&mut self, _: Now, _: Seq, fact: &R) -> Result<Seq, LogFault> {
        self.0.borrow_mut().take(fact.kind())
    }
    fn record<R: Record>(&mut self, _: Now, _: Seq, decision: R) -> Result<R, LogFault> {
        self.0.borrow_mut().take(decision.kind())?;
        Ok(decision)
    }
    fn health(&self) -> LogHealth {
        LogHealth::Sound
    }
}

type Memo = std::cell::RefCell<Memory>;

struct Bench<'a> {
    engine: Engine<Quoter, Script, Pen<'a>>,
    log: &'a Memo,
    now: Now,
}

const BTC: InstrumentId = InstrumentId(0);

impl<'a> Bench<'a> {
    fn new(log: &'a Memo) -> Self {
        Self::with(log, Script::default())
    }

    fn tripping(log: &'a Memo) -> Self {
        Self::with(log, Script { trip_when_long: true, ..Script::default() })
    }

    fn with(log: &'a Memo, gate: Script) -> Self {
        let dec = |text: &str| keel_core::units::parse_decimal(text.as_bytes()).unwrap();
        let instrument = Instrument {
            symbol: Symbol::new(b"BTCUSDT").unwrap(),
            tick: Px::from_raw(dec("0.1")),
            min_px: Px::from_raw(dec("0.1")),
            max_px: Px::whole(1_000_000),
            step: Qty::from_raw(dec("0.001")),
            min_qty: Qty::from_raw(dec("0.001")),
            max_qty: Qty::whole(100),
            max_market_qty: Qty::whole(100),
            min_notional: Notional::whole(5),
            max_leverage: 1000,
            trading: Flag::Yes,
            ..Instrument::default()
        };
        let instruments = Instruments::new([instrument]).unwrap();
        let quoter = Quoter::new(StrategyId(0), QuoterParams::default());
        let now = Now { mono: Mono::from_millis(1_000), wall: Wall::from_millis(1_700_000_000_000) };
        let mut bench =
            Self { engine: Engine::new(&instruments, 7, quoter, Sizing::default(), gate, Pen(log)), log, now };
        bench.market(&MarketEvent::Health(Health { state: HealthState::Synced, ..Health::default() }));
        bench
    }

    fn pass(&mut self, millis: u64) {
        self.now.mono = self.now.mono.after(millis * 1_000_000);
        self.now.wall = self.now.wall.after(millis * 1_000_000);
    }

    fn feed(&mut self, input: Input<'_>) -> Vec<Order> {
        self.engine.handle(self.now, input);
        std::iter::from_fn(|| self.engine.poll()).map(|out| *out.order.as_ref()).collect()
    }

    fn market(&mut self, event: &MarketEvent) -> Vec<Order> {
        self.feed(Input::Market(event))
    }

    fn book(&mut self, bid: i64, ask: i64) -> Vec<Order> {
        let mut update = BookUpdate::empty(BTC, 50, Origin { ticks: 99, ..Origin::default() }, 1);
        update.flags = BookUpdate::SNAPSHOT | BookUpdate::FIRST | BookUpdate::LAST;
        (update.bids, update.asks) = (1, 1);
        update.levels[0] = Level { px: Px::whole(bid), qty: Qty::whole(2) };
        update.levels[1] = Level { px: Px::whole(ask), qty: Qty::whole(2) };
        self.market(&MarketEvent::Book(update))
    }

    fn live(&mut self, order: &Order) {
        self.feed(Input::Exec(&ExecEvent::Sent(Sent { client: order.client, op: order.op, ..Sent::default() })));
        let venue = VenueId::new(b"v-1").unwrap();
        self.feed(Input::Exec(&ExecEvent::Ack(Ack { client: order.client, op: order.op, venue, ..Ack::default() })));
        let shown = keel_core::event::OrderUpdate {
            client: order.client,
            venue,
            px: order.px,
            qty: order.qty,
            leaves: order.qty,
            status: keel_core::event::OrderStatus::New,
            ..Default::default()
        };
        self.feed(Input::Exec(&ExecEvent::Order(shown)));
    }
}

#[test]
fn a_synced_book_makes_two_quotes_each_recorded_before_it_leaves() {
    let log = Memo::default();
    let mut bench = Bench::new(&log);
    let orders = bench.book(60_000, 60_001);
    assert_eq!(orders.iter().map(|o| o.side).collect::<Vec<_>>(), [Side::Buy, Side::Sell]);
    assert_eq!(orders[0].client, ClientId::new(7, 1));
    assert_eq!(orders[1].client, ClientId::new(7, 2));
    assert_eq!(log.borrow().kinds, [Kind::Health, Kind::Book, Kind::Approved, Kind::Approved]);
    assert_eq!(bench.engine.gate().open, orders.iter().map(|o| o.qty.raw()).sum::<i64>(), "both are reserved");
    assert!(bench.book(60_000, 60_001).is_empty(), "nothing is asked twice");
}

#[test]
fn a_refusal_is_recorded_and_not_repeated_at_once() {
    let log = Memo::default();
    let mut bench = Bench::new(&log);
    bench.feed(Input::Command(&Command { kind: CommandKind::Halt, ..Command::default() }));
    assert!(bench.book(60_000, 60_001).is_empty());
    assert_eq!(log.borrow().kinds.iter().filter(|k| **k == Kind::Refused).count(), 2);
    bench.pass(300);
    assert!(bench.book(60_000, 60_001).is_empty());
    assert_eq!(bench.engine.counts().refused, 2, "the strategy keeps quiet for a while");
}

#[test]
fn what_the_journal_does_not_take_does_not_leave() {
    let log = Memo::default();
    let mut bench = Bench::new(&log);
    log.borrow_mut().full = true;
    assert!(bench.book(60_000, 60_001).is_empty());
    assert_eq!(bench.engine.gate().open, 0, "and reserves nothing");
    assert!(bench.engine.counts().unrecorded >= 3);
    assert!(bench.log.borrow().kinds.len() == 1);
}

#[test]
fn a_stale_book_makes_no_wish() {
    let log = Memo::default();
    let mut bench = Bench::new(&log);
    bench.market(&MarketEvent::Health(Health { state: HealthState::Stale, ..Health::default() }));
    assert!(bench.book(60_000, 60_001).is_empty());
    let synced = MarketEvent::Health(Health { state: HealthState::Synced, ..Health::default() });
    assert_eq!(bench.market(&synced).len(), 2, "trust is reason enough to think again");
}

#[test]
fn fills_count_once_and_release_what_they_used() {
    let log = Memo::default();
    let mut bench = Bench::new(&log);
    let orders = bench.book(60_000, 60_001);
    bench.live(&orders[0]);
    let fill = Fill {
        client: orders[0].client,
        px: orders[0].px,
        qty: orders[0].qty,
        exec: VenueId::new(b"e-1").unwrap(),
        kind: ExecKind::Trade,
        side: Side::Buy,
        ..Fill::default()
    };
    for _ in 0..2 {
        bench.feed(Input::Exec(&ExecEvent::Fill(fill)));
    }
    assert_eq!(bench.engine.counts().fills, 1);
    assert_eq!(bench.engine.gate().position.size, orders[0].qty);
    assert_eq!(bench.engine.gate().open, orders[1].qty.raw());
}

#[test]
fn a_halt_cancels_what_is_open_until_nothing_is() {
    let log = Memo::default();
    let mut bench = Bench::new(&log);
    let orders = bench.book(60_000, 60_001);
    orders.iter().for_each(|order| bench.live(order));
    let cancels = bench.feed(Input::Command(&Command { kind: CommandKind::Halt, ..Command::default() }));
    assert_eq!(
        cancels.iter().map(|o| (o.op, o.client)).collect::<Vec<_>>(),
        [(Op::Cancel, orders[0].client), (Op::Cancel, orders[1].client)]
    );
    bench.pass(100);
    assert!(bench.feed(Input::Timer(Timer::default())).is_empty(), "asked once while an answer may come");
    bench.pass(3_000);
    bench.feed(Input::Timer(Timer::default()));
    assert_eq!(bench.engine.counts().unknown, 2, "silence makes them unknown, never gone");
    assert_eq!(bench.engine.gate().open, orders.iter().map(|o| o.qty.raw()).sum::<i64>());
}

#[test]
fn a_gate_that_trips_by_itself_ends_what_is_open_at_once() {
    let log = Memo::default();
    let mut bench = Bench::tripping(&log);
    let orders = bench.book(60_000, 60_001);
    orders.iter().for_each(|order| bench.live(order));
    let fill = Fill {
        client: orders[0].client,
        px: orders[0].px,
        qty: orders[0].qty,
        exec: VenueId::new(b"e-1").unwrap(),
        kind: ExecKind::Trade,
        side: Side::Buy,
        ..Fill::default()
    };
    let cancels = bench.feed(Input::Exec(&ExecEvent::Fill(fill)));
    assert!(cancels.iter().any(|o| (o.op, o.client) == (Op::Cancel, orders[1].client)), "{cancels:?}");
}

#[test]
#[should_panic(expected = "drain poll")]
fn poll_must_be_drained_before_the_next_fact() {
    let log = Memo::default();
    let mut bench = Bench::new(&log);
    let mut update = BookUpdate::empty(BTC, 50, Origin::default(), 1);
    update.flags = BookUpdate::SNAPSHOT | BookUpdate::FIRST | BookUpdate::LAST;
    (update.bids, update.asks) = (1, 1);
    update.levels[0] = Level { px: Px::whole(60_000), qty: Qty::whole(2) };
    update.levels[1] = Level { px: Px::whole(60_001), qty: Qty::whole(2) };
    bench.engine.handle(bench.now, Input::Market(&MarketEvent::Book(update)));
    bench.engine.handle(bench.now, Input::Timer(Timer::default()));
}

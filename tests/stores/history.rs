//! Journals to ship: every kind of record, from a seed, with the awkward values a venue and a bad day can produce.

use keel_core::agent::Agent;
use keel_core::event::{
    Ack, Bar, BookUpdate, Command, Difference, Fill, Flag, Health, Kind, Link, NotSized, Op, Order, OrderUpdate,
    Origin, Reconciliation, Record, Sent, Side, Start, Stop, Ticker, Timer, Trade, VenuePosition, VenueStatus, Wallet,
};
use keel_core::ids::{ClientId, InstrumentId, Seq, StrategyId, Text};
use keel_core::instrument::Instrument;
use keel_core::permit::Log;
use keel_core::units::{Mono, Notional, Now, Px, Qty, Wall};
use keel_journal::{Keeper, Options, Writer};
use std::path::Path;

/// 2026-11-20T12:00:00Z
pub const NOON: u64 = 1_795_176_000_000_000_000;

/// Bytes under a kind, whatever they are.
pub struct Raw(pub Kind, pub Vec<u8>);

impl Record for Raw {
    fn kind(&self) -> Kind {
        self.0
    }

    fn bytes(&self) -> &[u8] {
        &self.1
    }
}

/// A journal being written.
pub struct History {
    writer: Writer,
    keeper: Keeper,
    luck: u64,
    wall: u64,
    /// Nanoseconds between two records.
    pub step: u64,
    count: u64,
}

impl History {
    /// A new or existing journal; records are `step` nanoseconds apart, from `from` on.
    pub fn open(dir: &Path, seed: u64, from: u64, step: u64) -> Self {
        let options = Options { segment_bytes: 4 << 20, prefault_bytes: 65_536, ..Options::default() };
        let (writer, keeper) = Writer::open(dir, options).unwrap();
        Self { writer, keeper, luck: seed.wrapping_mul(2).wrapping_add(1), wall: from, step, count: 0 }
    }

    fn now(&mut self) -> Now {
        self.wall += self.step;
        Now { mono: Mono::from_nanos(self.wall - NOON / 2), wall: Wall::from_nanos(self.wall) }
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.luck ^= self.luck << 13;
        self.luck ^= self.luck >> 7;
        self.luck ^= self.luck << 17;
        self.luck % sides
    }

    pub fn fact(&mut self, fact: &impl Record) -> u64 {
        let now = self.now();
        let cause = Seq(self.count.saturating_sub(self.count % 3));
        loop {
            match self.writer.fact(now, cause, fact) {
                Ok(seq) => {
                    self.count = seq.0;
                    if self.count.is_multiple_of(256) {
                        self.keeper.duty(now);
                    }
                    return seq.0;
                }
                Err(_) => while self.keeper.duty(now) > 0 {},
            }
        }
    }

    /// What a run of the core begins with.
    pub fn begin(&mut self) {
        let build = Text::new(b"test").unwrap();
        let start = Start { seed: u64::MAX - self.luck % 1000, run: 7, build, config: [9; 32], ..Start::default() };
        self.fact(&start);
        for (id, symbol) in ["BTCUSDT", "ETHUSDT"].into_iter().enumerate() {
            let symbol = Text::new(symbol.as_bytes()).unwrap();
            let id = InstrumentId(u16::try_from(id).unwrap());
            self.fact(&Instrument { id, symbol, tick: Px::from_raw(10_000_000), ..Instrument::default() });
        }
    }

    /// One record of some kind: two in three are the market's.
    pub fn any(&mut self) -> u64 {
        let roll = self.roll(1 << 40);
        let money = i64::try_from(self.roll(1 << 50)).unwrap() - (1 << 49);
        let px = Px::from_raw(money.abs());
        let (qty, value) = (Qty::from_raw(money / 1000), Notional::from_raw(money));
        let instrument = InstrumentId(u16::try_from(roll % 2).unwrap());
        let client = ClientId::new(7, u32::try_from(1 + roll % 100_000).unwrap());
        let venue = Text::new(format!("{roll:010x}-{:04x}", roll % 65_536).as_bytes()).unwrap();
        let ts = Wall::from_nanos(self.wall - 5_000_000);
        let origin = Origin { ts, seq: roll, ..Origin::default() };
        let order =
            Order { client, px, qty, instrument, strategy: StrategyId(1), side: Side::Sell, ..Order::default() };
        match roll / 8 % 48 {
            0..=15 => self.fact(&BookUpdate::empty(instrument, 50, origin, roll)),
            16..=25 => self.fact(&Trade {
                origin,
                px,
                qty,
                instrument,
                side: Side::Buy,
                block: Flag::No,
                rpi: Flag::No,
                last: Flag::Yes,
                pad: [0; 2],
            }),
            26..=28 => {
                self.fact(&Ticker { origin, mark: px, index: px, funding_rate: -12, instrument, ..Ticker::default() })
            }
            29 => self.fact(&Timer::default()),
            30..=32 => self.fact(&OrderUpdate {
                client,
                px,
                qty,
                avg_px: px,
                venue,
                updated: ts,
                instrument,
                ..OrderUpdate::default()
            }),
            33..=34 => self.fact(&Fill {
                client,
                px,
                qty,
                fee: value,
                pnl: value,
                ts,
                seq: roll,
                exec: venue,
                venue,
                instrument,
                ..Fill::default()
            }),
            35..=36 => self.fact(&Ack { client, venue, ts, code: -1, op: Op::Cancel, ..Ack::default() }),
            37..=38 => self.fact(&Sent { client, took: roll, op: Op::New, ..Sent::default() }),
            39 => self.fact(&NotSized { order }),
            40 => self.fact(&VenuePosition {
                size: qty,
                entry: px,
                unrealised: value,
                instrument,
                ..VenuePosition::default()
            }),
            41 => self.fact(&Wallet {
                equity: Notional::from_raw(i64::MAX),
                balance: Notional::from_raw(-i64::MAX),
                ts,
                ..Wallet::default()
            }),
            42 => self.fact(&Difference { client, ours: money, theirs: -money, instrument, ..Difference::default() }),
            43 => {
                let author = Text::new(b"operator:ann").unwrap();
                self.fact(&Command { author, authenticated: Flag::Yes, ..Command::default() })
            }
            44 => match roll % 5 {
                0 => self.fact(&Link::default()),
                1 => self.fact(&Reconciliation { orders: 3, complete: Flag::Yes, ..Reconciliation::default() }),
                2 => self.fact(&VenueStatus::default()),
                3 => self.fact(&Health { instrument, ..Health::default() }),
                _ => self.fact(&bar(px, origin)),
            },
            _ => self.decision(order),
        }
    }

    /// A decision, which only the gate can build: its bytes.
    pub fn decision(&mut self, order: Order) -> u64 {
        let mut decision = keel_risk::decision::Decision { order, mark: order.px, limits: 3, ..Default::default() };
        decision.money[0] = keel_risk::decision::Pair { value: i64::MAX, limit: 250_000_000 };
        decision.money[3] = keel_risk::decision::Pair { value: order.px.raw(), limit: i64::MAX };
        decision.counts[1] = keel_risk::decision::SmallPair { value: i32::MAX, limit: -7 };
        let refused = self.roll(4) == 0;
        decision.failing = if refused { 1 << 13 } else { 0 };
        let kind = if refused { Kind::Refused } else { Kind::Approved };
        let bytes = zerocopy::IntoBytes::as_bytes(&decision).to_vec();
        self.fact(&Raw(kind, bytes))
    }

    pub fn many(&mut self, count: u64) {
        for _ in 0..count {
            self.any();
        }
    }

    /// Everything so far is on the medium.
    pub fn settle(&mut self) {
        for _ in 0..3 {
            self.wall += 10_000_000_000;
            let now = self.now();
            while self.keeper.duty(now) > 0 {}
        }
    }

    pub fn close(mut self) {
        self.fact(&Stop::default());
        self.keeper.finish(self.writer).unwrap();
    }
}

fn bar(px: Px, origin: Origin) -> Bar {
    let (volume, turnover, wall) = (Qty::from_raw(5), Notional::from_raw(6), Wall::from_nanos(NOON));
    let (instrument, minutes, confirmed) = (InstrumentId(0), 1, Flag::Yes);
    let (open, high, low, close) = (px, px, px, px);
    Bar {
        origin,
        start: wall,
        end: wall,
        open,
        high,
        low,
        close,
        volume,
        turnover,
        instrument,
        minutes,
        confirmed,
        pad: [0; 3],
    }
}

/// A closed journal of `count` records of every kind.
pub fn journal(dir: &Path, seed: u64, count: u64) {
    let mut history = History::open(dir, seed, NOON, 1_000_000);
    history.begin();
    history.many(count);
    history.close();
}

//! Bytes nobody should send, to every reader of the room: deterministic, a fixed number of rounds, longer when asked.
//!
//! `KEEL_FUZZ=100` runs a hundred times as many. What was found worth keeping stands in `corpus/`; the two readings of one
//! frame are held against each other in `src/decode/tests.rs`, candles and tables in `src/bars`.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]
#![allow(clippy::cast_possible_truncation, reason = "luck")]

use keel_core::book::Book;
use keel_core::event::{Flag, HealthState, MarketEvent, Side};
use keel_core::ids::{InstrumentId, Symbol};
use keel_core::instrument::{Instrument, Instruments};
use keel_core::units::{Mono, Notional, Now, Px, Qty, Wall};
use keel_feed::bars::page::Question;
use keel_feed::session::{Config, Input, Output, Session};

const CORPUS: &str = concat!(include_str!("../corpus/known.jsonl"), include_str!("../corpus/variants.jsonl"));

/// xorshift64: the same on every machine.
struct Luck(u64);

impl Luck {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 as usize % bound.max(1)
    }

    fn spoil(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len().max(1)).min(bytes.len());
            match self.below(5) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = b"0123456789\",.:-[]{}e"[self.below(20)],
                2 => bytes.truncate(at),
                3 => drop(bytes.splice(at..at, (0..self.below(9)).map(|_| b'9').collect::<Vec<_>>())),
                _ => drop(bytes.drain(at..(at + self.below(9)).min(bytes.len()))),
            }
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "how long a night's run is, not configuration")]
fn rounds(of: usize) -> usize {
    of * std::env::var("KEEL_FUZZ").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn table() -> Instruments {
    let row = Instrument {
        symbol: Symbol::new(b"ABCUSDT").unwrap(),
        tick: Px::parse(b"0.01").unwrap(),
        min_px: Px::parse(b"0.01").unwrap(),
        max_px: Px::whole(2000),
        step: Qty::parse(b"0.1").unwrap(),
        min_qty: Qty::parse(b"0.1").unwrap(),
        max_qty: Qty::whole(40_000),
        max_market_qty: Qty::whole(9_000),
        min_notional: Notional::whole(5),
        max_leverage: 2_500,
        trading: Flag::Yes,
        ..Instrument::default()
    };
    Instruments::new([row]).unwrap()
}

/// The next message of an honest venue, most of the time.
fn speak(luck: &mut Luck, u: &mut u64) -> String {
    let snapshot = luck.below(12) == 0;
    *u = if luck.below(40) == 0 { 1 } else { *u + 1 + u64::from(luck.below(60) == 0) };
    let mut side = |far: i64| {
        let count = luck.below(6) + usize::from(snapshot);
        let level = |luck: &mut Luck| {
            let cents = 2_000 + far * (1 + luck.below(400) as i64) - i64::from(luck.below(300) == 0) * far * 500;
            format!("[\"{}.{:02}\",\"{}\"]", cents / 100, cents % 100, luck.below(if snapshot { 9 } else { 3 }))
        };
        (0..count).map(|_| level(luck)).collect::<Vec<_>>().join(",")
    };
    let (bids, asks) = (side(-1), side(1));
    let (kind, seq, ts) = (if snapshot { "snapshot" } else { "delta" }, 1000 + *u, 1_900_000_000_000 + *u);
    format!(
        r#"{{"topic":"orderbook.50.ABCUSDT","type":"{kind}","ts":{ts},"data":{{"s":"ABCUSDT","b":[{bids}],"a":[{asks}],"u":{u},"seq":{seq}}},"cts":{ts}}}"#
    )
}

#[test]
fn whatever_a_session_is_sent_a_trusted_book_is_the_sessions_own() {
    let mut luck = Luck(0x0dd_ba11);
    let corpus: Vec<&str> = CORPUS.lines().collect();
    let id = InstrumentId(0);
    let mut compared = 0;
    for world in 0..rounds(60) {
        let config = Config { late_after: 0, seed: world as u64, ..Config::default() };
        let mut session = Session::new(config, &table()).unwrap();
        let mut book = Book::new(Px::parse(b"0.01").unwrap(), 50);
        let (mut trusted, mut up, mut u, mut nanos) = (false, false, 0u64, 1u64);
        for _ in 0..600 {
            let most = if luck.below(50) == 0 { 8_000_000_000 } else { 20_000_000 };
            nanos += luck.below(most) as u64;
            let now = Now { mono: Mono::from_nanos(nanos), wall: Wall::from_nanos(1_900_000_000_000_000_000 + nanos) };
            let full = luck.below(80) == 0;
            let mut bytes = match luck.below(10) {
                0 => corpus[luck.below(corpus.len())].as_bytes().to_vec(),
                _ => speak(&mut luck, &mut u).into_bytes(),
            };
            if luck.below(10) == 0 {
                luck.spoil(&mut bytes);
            }
            let input = match luck.below(60) {
                0 => Input::Timer,
                1 if up => Input::Closed,
                _ if !up => Input::Connected,
                _ => Input::Frame { bytes: &bytes, ticks: 0 },
            };
            up = !matches!(input, Input::Closed) && (up || matches!(input, Input::Connected));
            session.handle(now, input, &mut |event| {
                if full {
                    return false;
                }
                match event {
                    MarketEvent::Book(part) if part.depth == 50 => trusted &= book.apply(&part).is_ok() || !trusted,
                    MarketEvent::Health(health) => trusted = health.state == HealthState::Synced,
                    _ => {}
                }
                true
            });
            let mut closed = false;
            while let Some(output) = session.poll() {
                closed |= output == Output::Close;
            }
            if closed {
                session.handle(now, Input::Closed, &mut |event| {
                    trusted &= !matches!(event, MarketEvent::Health(health) if health.state != HealthState::Synced);
                    true
                });
                while session.poll().is_some() {}
                up = false;
            }
            if trusted
                && !full
                && let Some((at, own)) = session.book(id)
            {
                compared += 1;
                assert_eq!(at, book.update_id());
                assert!(own.touch().is_some(), "a trusted book has two sides and is not crossed");
                for side in [Side::Buy, Side::Sell] {
                    assert!(own.levels(side).eq(book.levels(side)), "world {world}, u {at}");
                    assert!(own.levels(side).all(|level| level.px > Px::ZERO && level.qty > Qty::ZERO));
                }
            }
        }
    }
    assert!(compared > 2_000, "the worlds teach nothing: {compared}");
}

const ROW: &str = r#"{"symbol":"ABCUSDT","contractType":"LinearPerpetual","status":"Trading","quoteCoin":"USDT","settleCoin":"USDT","leverageFilter":{"maxLeverage":"25.00"},"priceFilter":{"minPrice":"0.01","maxPrice":"1999.98","tickSize":"0.01"},"lotSizeFilter":{"minOrderQty":"0.1","maxOrderQty":"40000.0","maxMktOrderQty":"9000.0","qtyStep":"0.1","minNotionalValue":"5"},"fundingInterval":480,"isPreListing":false,"riskParameters":{"priceLimitRatioX":"0.02","priceLimitRatioY":"0.04"}}"#;

#[test]
fn a_spoiled_page_gives_rows_that_hold_together_or_a_reason() {
    let mut luck = Luck(0x5eed);
    let page = format!(r#"{{"retCode":0,"result":{{"list":[{ROW},{ROW}],"nextPageCursor":""}},"time":1}}"#);
    let time = r#"{"retCode":0,"result":{"timeSecond":"1900000000","timeNano":"1900000000123456789"},"time":1}"#;
    let days = r#"{"retCode":0,"result":{"symbol":"ABCUSDT","list":[["86400000","2","3","1","2.5","10","25"],["0","1","2","1","2","10","20"]]},"time":900000000000}"#;
    let question = Question { symbol: Symbol::new(b"ABCUSDT").unwrap(), instrument: InstrumentId(0), minutes: 1440 };
    let (mut rows, mut refused) = (0, 0);
    for _ in 0..rounds(30_000) {
        let mut bytes = page.clone().into_bytes();
        luck.spoil(&mut bytes);
        match keel_feed::instruments::parse(&bytes) {
            Ok(page) => {
                rows += page.rows.len();
                refused += page.refused.len();
                assert!(page.rows.iter().all(|row| row.check().is_ok()));
            }
            Err(_) => refused += 1,
        }
        for whole in [time, days] {
            let mut bytes = whole.as_bytes().to_vec();
            luck.spoil(&mut bytes);
            let _ = keel_feed::clock::parse(&bytes);
            if let Ok(page) = question.parse(&bytes) {
                assert!(page.bars.is_sorted_by_key(|bar| bar.start));
            }
        }
    }
    assert!(rows > 1_000 && refused > 1_000, "the spoiling teaches nothing: {rows} and {refused}");
}

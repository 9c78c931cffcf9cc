//! Once a session stands, the venue's known shapes cost no allocation: not to decode, not to judge, not to heal a gap.

use keel_core::event::MarketEvent;
use keel_core::ids::Symbol;
use keel_core::instrument::{Instrument, Instruments};
use keel_core::units::{Mono, Notional, Now, Px, Qty, Wall};
use keel_feed::session::{Config, Input, Session, Topics};

const CORPUS: &str = include_str!("../corpus/known.jsonl");

fn instruments(symbols: &[&str]) -> Instruments {
    let row = |symbol: &&str| Instrument {
        symbol: Symbol::new(symbol.as_bytes()).expect("a symbol"),
        tick: Px::from_raw(1),
        min_px: Px::from_raw(1),
        max_px: Px::MAX,
        step: Qty::from_raw(1),
        min_qty: Qty::from_raw(1),
        max_qty: Qty::MAX,
        max_market_qty: Qty::MAX,
        min_notional: Notional::ZERO,
        max_leverage: 100,
        ..Instrument::default()
    };
    Instruments::new(symbols.iter().map(row)).expect("a table")
}

struct Feed {
    session: Session,
    now: Now,
    facts: u64,
}

impl Feed {
    fn new(symbol: &str) -> Self {
        let topics = Topics { touch: true, liquidations: true, price_limit: true, bars: 1, ..Topics::default() };
        let config = Config { topics, late_after: 0, disagree_bps: 0, ..Config::default() };
        let session = Session::new(config, &instruments(&[symbol])).expect("a session");
        let now = Now { mono: Mono::from_nanos(1), wall: Wall::from_millis(1_900_000_000_000) };
        let mut feed = Self { session, now, facts: 0 };
        feed.turn(Input::Connected);
        feed
    }

    fn turn(&mut self, input: Input<'_>) {
        let facts = &mut self.facts;
        self.session.handle(self.now, input, &mut |event: MarketEvent| {
            *facts += u64::from(event.instrument().is_some());
            true
        });
        while self.session.poll().is_some() {}
    }

    fn frame(&mut self, frame: &[u8]) {
        self.now.mono = self.now.mono.after(300_000_000);
        self.turn(Input::Frame { bytes: frame, ticks: 0 });
    }
}

#[test]
fn the_known_shapes_gaps_and_timers_allocate_nothing() {
    let frames: Vec<&[u8]> = CORPUS.lines().map(str::as_bytes).collect();
    let mut feed = Feed::new("ABCUSDT");
    let measured = allocation_counter::measure(|| {
        for _ in 0..50 {
            for frame in &frames {
                feed.frame(frame);
            }
        }
    });
    let counters = *feed.session.counters();
    assert_eq!(counters.refused.iter().sum::<u64>() + feed.session.decoder().fallbacks(), 0);
    assert!(feed.facts > 500 && counters.faults > 10 && counters.resyncs > 5, "{} {counters:?}", feed.facts);
    assert_eq!(measured.count_total, 0, "{} bytes", measured.bytes_total);
}

#[test]
fn a_recorded_day_allocates_nothing() {
    let shared = std::env::var_os("KEEL_SHARED").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        std::path::PathBuf::from,
    );
    let path = shared.join("tape_v5shape/BTCUSDT_2024-07-18.rx_ns.tsv.gz");
    let Ok(file) = std::fs::File::open(&path) else {
        println!("SKIPPED: recorded data not found ({})", path.display());
        return;
    };
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(file), &mut text).unwrap();
    let mut feed = Feed::new("BTCUSDT");
    let measured = allocation_counter::measure(|| {
        for line in text.lines() {
            let frame = line.split_once('\t').map_or(line, |(_, frame)| frame);
            feed.turn(Input::Frame { bytes: frame.as_bytes(), ticks: 0 });
        }
    });
    assert_eq!((feed.session.counters().frames, feed.session.counters().faults), (70_852, 0));
    assert_eq!(measured.count_total, 0, "{} bytes", measured.bytes_total);
}

//! The two readings of a frame, held equal; the captures; the refusals.

use super::*;
use keel_core::ids::Symbol;
use keel_core::instrument::Instrument;
use keel_core::units::Notional;

/// A table of these symbols with grids so fine that nothing is off them.
pub(crate) fn instruments(symbols: &[&str]) -> Instruments {
    let row = |symbol: &&str| Instrument {
        symbol: Symbol::new(symbol.as_bytes()).unwrap(),
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
    Instruments::new(symbols.iter().map(row)).unwrap()
}

const KNOWN: &str = include_str!("../../corpus/known.jsonl");
const VARIANTS: &str = include_str!("../../corpus/variants.jsonl");
const REFUSED: &str = include_str!("../../corpus/refused.tsv");

type Read = (Message, Vec<MarketEvent>);

/// One decoder per reading, so that merged state cannot leak from one to the other.
struct Both {
    known: Decoder,
    general: Decoder,
}

impl Both {
    fn new(symbols: &[&str]) -> Self {
        let instruments = instruments(symbols);
        Self { known: Decoder::new(&instruments), general: Decoder::new(&instruments) }
    }

    fn known(&mut self, frame: &[u8]) -> Option<Read> {
        let decoder = &mut self.known;
        let message = known::parse(frame, &decoder.symbols, &mut decoder.scratch)?;
        Some(emitted(decoder, message))
    }

    fn general(&mut self, frame: &[u8]) -> Result<Read, DecodeError> {
        let decoder = &mut self.general;
        let message = decoder.general.parse(frame, &decoder.symbols, &mut decoder.scratch)?;
        Ok(emitted(decoder, message))
    }

    /// The law: what `known` accepts, `general` accepts with the same meaning.
    fn check(&mut self, frame: &[u8]) -> Result<Read, DecodeError> {
        let known = self.known(frame);
        let general = self.general(frame);
        if let Some(known) = &known {
            assert_eq!(Ok(known), general.as_ref(), "{}", String::from_utf8_lossy(frame));
        } else if let Ok((message, _)) = &general {
            // keep the merged tickers of both in step
            let _ = emitted_from(&mut self.known, message, &self.general);
        }
        general
    }
}

fn emitted(decoder: &mut Decoder, message: Message) -> Read {
    let mut events = Vec::new();
    decoder.emit(&message, Arrival { recv: Mono::from_nanos(5), ticks: 6 }, &mut |event| events.push(event));
    (message, events)
}

fn emitted_from(decoder: &mut Decoder, message: &Message, source: &Decoder) -> Read {
    decoder.scratch = source.scratch.clone();
    emitted(decoder, *message)
}

#[test]
fn the_venues_own_shapes_take_the_known_path_and_mean_the_same_on_both() {
    let mut both = Both::new(&["ABCUSDT"]);
    for frame in KNOWN.lines() {
        assert!(both.known(frame.as_bytes()).is_some(), "fell back: {frame}");
        assert!(both.general(frame.as_bytes()).is_ok(), "{frame}");
    }
    let mut both = Both::new(&["ABCUSDT"]);
    for frame in KNOWN.lines().chain(VARIANTS.lines()) {
        both.check(frame.as_bytes()).unwrap_or_else(|why| panic!("{why:?}: {frame}"));
    }
}

#[test]
fn order_of_keys_and_white_space_do_not_matter() {
    let mut both = Both::new(&["ABCUSDT"]);
    let plain = both.check(KNOWN.lines().next().unwrap().as_bytes()).unwrap().1;
    let MarketEvent::Book(book) = plain[0] else { panic!("{plain:?}") };
    assert_eq!((book.u, book.origin.seq, book.bids, book.asks), (501, 88001, 2, 2));
    assert!(book.has(BookUpdate::SNAPSHOT) && book.has(BookUpdate::FIRST) && book.has(BookUpdate::LAST));
    for frame in VARIANTS.lines().take(3) {
        let (message, events) = both.check(frame.as_bytes()).unwrap();
        assert!(matches!((message, &events[..]), (Message::Book(_), [MarketEvent::Book(_)])), "{frame}");
        assert!(both.known(frame.as_bytes()).is_none());
    }
}

#[test]
fn every_refusal_has_its_reason_and_emits_nothing() {
    let mut decoder = Decoder::new(&instruments(&["ABCUSDT"]));
    let mut seen = std::collections::BTreeSet::new();
    let mut refuse = |name: &str, frame: &[u8]| {
        let result = decoder.decode(frame, Arrival::default(), &mut |event| panic!("emitted {event:?}"));
        let why = result.expect_err(&String::from_utf8_lossy(frame));
        assert_eq!(why.name(), name, "{}", String::from_utf8_lossy(frame));
        seen.insert(why);
    };
    for row in REFUSED.lines() {
        let (name, frame) = row.split_once('\t').unwrap();
        refuse(name, frame.as_bytes());
    }
    refuse("length", b"");
    refuse("length", &vec![b' '; MAX_FRAME + 1]);
    refuse("not_json", b"{\"topic\":\"tickers.ABCUSDT\xff\"}");
    refuse("not_json", &[0, 1, 2, 3, 255]);
    refuse("not_json", "[".repeat(200_000).as_bytes());
    refuse("not_json", "{\"a\":".repeat(100_000).as_bytes());
    let levels = ["[\"1\",\"1\"]"; MAX_DEPTH as usize + 1].join(",");
    let head = "{\"topic\":\"orderbook.1000.ABCUSDT\",\"type\":\"delta\",\"ts\":1,\"data\":{\"s\":\"ABCUSDT\",\"b\":[";
    refuse("too_many", format!("{head}{levels}],\"a\":[],\"u\":1,\"seq\":1}}}}").as_bytes());
    let row = "{\"T\":1,\"s\":\"ABCUSDT\",\"S\":\"Buy\",\"v\":\"1\",\"p\":\"1\"}";
    let rows = [row; MAX_ROWS + 1].join(",");
    let head = "{\"topic\":\"publicTrade.ABCUSDT\",\"type\":\"snapshot\",\"ts\":1,\"data\":[";
    refuse("too_many", format!("{head}{rows}]}}").as_bytes());
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), DecodeError::ALL, "a reason without a case");
}

#[test]
fn a_long_message_comes_in_parts() {
    let mut both = Both::new(&["ABCUSDT"]);
    let level = |n: usize| format!("[\"{}\",\"{n}\"]", 1000 + n);
    for (bids, asks) in [(0, 0), (12, 0), (13, 0), (0, 13), (5, 7), (20, 30), (500, 500), (1000, 1000)] {
        let side = |count: usize| (1..=count).map(level).collect::<Vec<_>>().join(",");
        let frame = format!(
            "{{\"topic\":\"orderbook.1000.ABCUSDT\",\"type\":\"delta\",\"ts\":1,\"data\":{{\"s\":\"ABCUSDT\",\"b\":[{}],\"a\":[{}],\"u\":9,\"seq\":8}},\"cts\":2}}",
            side(bids),
            side(asks)
        );
        assert!(both.known(frame.as_bytes()).is_some());
        let (_, events) = both.check(frame.as_bytes()).unwrap();
        let parts: Vec<BookUpdate> = events
            .iter()
            .map(|event| if let MarketEvent::Book(part) = event { *part } else { panic!("{event:?}") })
            .collect();
        assert_eq!(parts.len(), (bids + asks).div_ceil(LEVELS).max(1));
        assert_eq!(parts.iter().map(|p| p.bid_levels().len()).sum::<usize>(), bids);
        assert_eq!(parts.iter().map(|p| p.ask_levels().len()).sum::<usize>(), asks);
        let sizes: Vec<i64> =
            parts.iter().flat_map(|p| p.bid_levels().iter().chain(p.ask_levels())).map(|l| l.qty.raw()).collect();
        let expected: Vec<i64> =
            (1..=bids).chain(1..=asks).map(|n| Qty::whole(i64::try_from(n).unwrap()).raw()).collect();
        assert_eq!(sizes, expected);
        for (at, part) in parts.iter().enumerate() {
            assert_eq!(part.has(BookUpdate::FIRST), at == 0);
            assert_eq!(part.has(BookUpdate::LAST), at + 1 == parts.len());
            assert!(!part.has(BookUpdate::SNAPSHOT));
        }
    }
}

#[test]
fn a_ticker_is_always_whole() {
    let mut decoder = Decoder::new(&instruments(&["ABCUSDT"]));
    let frames: Vec<&str> = KNOWN.lines().filter(|line| line.contains("tickers")).take(3).collect();
    let mut events = Vec::new();
    let mut sink = |event| events.push(event);
    decoder.decode(frames[1].as_bytes(), Arrival::default(), &mut sink).unwrap();
    for frame in &frames {
        decoder.decode(frame.as_bytes(), Arrival::default(), &mut sink).unwrap();
    }
    assert_eq!(events.len(), 3, "a delta before its snapshot gives nothing");
    let tickers: Vec<Ticker> =
        events.iter().map(|e| if let MarketEvent::Ticker(t) = e { *t } else { panic!("{e:?}") }).collect();
    assert_eq!(tickers[0].funding_rate, -7774);
    assert_eq!(tickers[1].bid.qty, Qty::whole(7));
    assert_eq!((tickers[1].ask, tickers[1].high_24h), (tickers[0].ask, tickers[0].high_24h));
    assert_eq!((tickers[2].funding_rate, tickers[2].next_funding), (0, Wall::default()));
    let again = frames[1].replace("\"delta\"", "\"snapshot\"");
    decoder.decode(again.as_bytes(), Arrival::default(), &mut |_| ()).unwrap();
    let whole = decoder.ticker(InstrumentId(0)).unwrap();
    assert_eq!((whole.bid.qty, whole.high_24h, whole.ask), (Qty::whole(7), Px::ZERO, Level::default()), "replaced");
    decoder.forget_tickers();
    assert!(decoder.ticker(InstrumentId(0)).is_none());
}

#[test]
fn a_coin_that_trades_more_than_can_be_counted_keeps_its_prices() {
    let mut both = Both::new(&["ABCUSDT"]);
    for frame in KNOWN.lines().filter(|line| line.contains("tickers")) {
        let (_, events) = both.check(frame.as_bytes()).unwrap();
        if let Some(MarketEvent::Ticker(ticker)) = events.first().filter(|_| frame.contains("596056760900")) {
            assert_eq!((ticker.volume_24h, ticker.open_interest), (Qty::MAX, Qty::MAX));
            assert_eq!(ticker.mark.to_string(), "0.0009215");
            return;
        }
    }
    panic!("the corpus lost its case");
}

/// xorshift64: the same frames on every machine.
struct Luck(u64);

impl Luck {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}

const TOKENS: [&[u8]; 28] = [
    b"\"",
    b",",
    b":",
    b"{",
    b"}",
    b"[",
    b"]",
    b"0",
    b"9",
    b".",
    b"-",
    b"e5",
    b"\\u0041",
    b"\\",
    b"null",
    b"true",
    b" ",
    b"\n",
    b"\xff",
    b"\"u\":1,",
    b"\"ts\":1,",
    b"[\"1\",\"0\"],",
    b"00000000",
    b"123456789",
    b"\"s\":\"XYZUSDT\"",
    b"\"b\":[],",
    b"snapshot",
    b"99999999999999999999",
];

fn mutate(luck: &mut Luck, frame: &mut Vec<u8>, others: &[&str]) {
    for _ in 0..=luck.below(3) {
        let at = luck.below(frame.len() + 1).min(frame.len());
        let to = (at + luck.below(12)).min(frame.len());
        match luck.below(7) {
            0 if at < frame.len() => frame[at] ^= 1 << luck.below(8),
            1 => drop(frame.drain(at..to)),
            2 => frame.truncate(at),
            3 => {
                let again = frame[at..to].to_vec();
                frame.splice(at..at, again);
            }
            4 => {
                let other = others[luck.below(others.len())].as_bytes();
                let from = luck.below(other.len());
                let upto = (from + luck.below(40)).min(other.len());
                frame.splice(at..to, other[from..upto].iter().copied());
            }
            5 if at < frame.len() => frame[at] = b'0' + u8::try_from(luck.below(10)).unwrap(),
            _ => drop(frame.splice(at..at, TOKENS[luck.below(TOKENS.len())].iter().copied())),
        }
    }
}

#[test]
fn mutated_frames_are_refused_or_mean_the_same_on_both_readings() {
    // KEEL_FUZZ=100 runs a hundred times as many.
    #[allow(clippy::disallowed_methods, reason = "how long a night's run is, not configuration")]
    let times = std::env::var("KEEL_FUZZ").ok().and_then(|text| text.parse::<usize>().ok()).unwrap_or(1);
    let rounds = 150_000 * times;
    let corpus: Vec<&str> = KNOWN.lines().chain(VARIANTS.lines()).collect();
    let mut both = Both::new(&["ABCUSDT"]);
    let mut luck = Luck(0x9e37_79b9_7f4a_7c15);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..rounds {
        let mut frame = corpus[round % corpus.len()].as_bytes().to_vec();
        mutate(&mut luck, &mut frame, &corpus);
        match both.check(&frame) {
            Ok(_) => accepted += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(accepted > rounds / 50 && refused > rounds / 4, "the mutations teach nothing: {accepted} and {refused}");
}

/// Every frame of the recordings below `folder`, by file; nothing, said aloud, where the data is not there.
fn recorded(folder: &str) -> Vec<(String, Vec<Vec<u8>>)> {
    use std::io::Read as _;
    let shared = std::env::var_os("KEEL_SHARED").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        std::path::PathBuf::from,
    );
    let Ok(files) = std::fs::read_dir(shared.join(folder)) else {
        println!("SKIPPED: recorded data not found ({})", shared.join(folder).display());
        return Vec::new();
    };
    let mut all = Vec::new();
    for path in files.map(|file| file.unwrap().path()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut text = std::fs::read(&path).unwrap();
        if name.ends_with(".gz") {
            let mut plain = Vec::new();
            flate2::read::MultiGzDecoder::new(&text[..]).read_to_end(&mut plain).unwrap();
            text = plain;
        }
        let frames = if name.ends_with(".json") {
            vec![text]
        } else {
            let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            lines.map(|line| line.rsplit(|byte| *byte == b'\t').next().unwrap_or(line).to_vec()).collect()
        };
        all.push((name, frames));
    }
    all
}

#[test]
fn every_recorded_frame_means_the_same_on_both_readings() {
    let symbols =
        ["BTCUSDT", "ETHUSDT", "XRPUSDT", "BCHUSDT", "LTCUSDT", "LINKUSDT", "ADAUSDT", "BTCUSD", "PIPPINUSDT"];
    let mut fast = 0;
    let folders =
        ["bybit_v5_public", "tape_v5shape", "bybit_2021_v2", "bybit_v5_private", "thirdparty_docs_shaped/nautilus"];
    for folder in folders {
        for (file, frames) in recorded(folder) {
            let mut both = Both::new(&symbols);
            let known = frames.iter().filter(|frame| both.known(frame).is_some()).count();
            for frame in &frames {
                let _ = both.check(frame);
            }
            fast += known;
            if folder == "tape_v5shape" || file.contains("tickers") {
                assert_eq!(known, frames.len(), "{file}: the hot tapes must not need the general parser");
            }
        }
    }
    println!("{fast} frames took the known path");
}

#[test]
fn mutated_recordings_are_refused_or_mean_the_same_on_both_readings() {
    let mut luck = Luck(0x2545_f491_4f6c_dd1d);
    for (_, frames) in recorded("bybit_v5_public") {
        let mut both = Both::new(&["BTCUSDT", "ETHUSDT", "XRPUSDT"]);
        for _ in 0..3000 {
            let mut frame = frames[luck.below(frames.len())].clone();
            frame.truncate(4000);
            mutate(&mut luck, &mut frame, &[KNOWN]);
            let _ = both.check(&frame);
        }
    }
}

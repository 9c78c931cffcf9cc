//! What the tests of this room share.

use keel_core::event::Flag;
use keel_core::ids::Symbol;
use keel_core::instrument::{Instrument, Instruments};
use keel_core::units::{Mono, Notional, Now, Px, Qty, Wall};

/// Instrument 0 is BTCUSDT, 1 is ABCUSDT (the one in the contract's examples).
pub(crate) fn instruments() -> Instruments {
    let row = |symbol: &str| Instrument {
        symbol: Symbol::new(symbol.as_bytes()).unwrap(),
        tick: Px::parse(b"0.01").unwrap(),
        min_px: Px::parse(b"0.01").unwrap(),
        max_px: Px::whole(1_999_999),
        step: Qty::parse(b"0.001").unwrap(),
        min_qty: Qty::parse(b"0.001").unwrap(),
        max_qty: Qty::whole(40_000),
        max_market_qty: Qty::whole(9_000),
        min_notional: Notional::whole(5),
        taker_fee: 55_000,
        maker_fee: 20_000,
        funding_minutes: 480,
        max_leverage: 2_500,
        trading: Flag::Yes,
        ..Instrument::default()
    };
    Instruments::new([row("BTCUSDT"), row("ABCUSDT")]).unwrap()
}

pub(crate) fn now() -> Now {
    at(0)
}

/// `millis` after the contract's examples begin.
pub(crate) fn at(millis: u64) -> Now {
    Now { mono: Mono::from_millis(10_000 + millis), wall: Wall::from_millis(1_900_000_001_000 + millis) }
}

/// Every line of every recording in `folder`, with the file's name; nothing, said aloud, where the data is not there.
pub(crate) fn captures(folder: &str) -> Vec<(String, String)> {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    #[allow(clippy::disallowed_methods, reason = "where the recordings are is the machine's business")]
    let shared = std::env::var("KEEL_SHARED").map_or_else(|_| here.join("../../shared/data"), Into::into);
    let Ok(files) = std::fs::read_dir(shared.join(folder)) else {
        println!("SKIPPED: recorded data not found ({})", shared.join(folder).display());
        return Vec::new();
    };
    let mut lines = Vec::new();
    for file in files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "jsonl")) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        lines.extend(text.lines().filter(|line| !line.is_empty()).map(|line| (name.clone(), line.to_owned())));
    }
    lines
}

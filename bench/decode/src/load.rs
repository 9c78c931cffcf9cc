//! Sixty-four instruments at ten times their real peak: does one core keep up, and does it lose anything?
//!
//! The tape is played to one session as sixty-four instruments, each frame sixty-four times under another symbol. The
//! load asked for is the tape's busiest second, times ten, times sixty-four; what is measured is how much faster than
//! that the session is, over the busiest second itself. Nothing may be lost: no fault, no refusal, no fallback.

use flate2::read::MultiGzDecoder;
use keel_core::ids::Symbol;
use keel_core::instrument::{Instrument, Instruments};
use keel_core::units::{Mono, Notional, Now, Px, Qty, Wall};
use keel_feed::session::{Config, Input, Session, Topics};
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};

const INSTRUMENTS: usize = 64;
const TIMES: u64 = 10;
/// Frames between two instruments.
const LAG: usize = 7;

/// Same length as the symbols of the tapes, so that frames stay as long as they are.
fn symbol(at: usize) -> String {
    format!("S{at:02}USDT")
}

/// Frames by the second they were received in, from the first snapshot to the end of the busiest second.
fn busiest(path: &str) -> Result<(Vec<String>, usize), Box<dyn Error>> {
    let mut frames: Vec<(u64, String)> = Vec::new();
    for line in BufReader::new(MultiGzDecoder::new(File::open(path)?)).lines() {
        let line = line?;
        let Some((stamp, frame)) = line.split_once('\t') else { continue };
        frames.push((stamp.parse::<u64>()? / 1_000_000_000, frame.to_owned()));
    }
    let mut best = (0, 0);
    let mut from = 0;
    for at in 0..frames.len() {
        if frames[at].0 != frames[from].0 {
            from = at;
        }
        best = best.max((at + 1 - from, at + 1));
    }
    let (count, end) = best;
    Ok((frames.into_iter().take(end).map(|(_, frame)| frame).collect(), count))
}

pub fn run(path: &str) -> Result<(), Box<dyn Error>> {
    let (frames, busy) = busiest(path)?;
    let from = frames.first().and_then(|frame| frame.split('"').nth(3)).and_then(|topic| topic.rsplit('.').next());
    let from = from.ok_or("the tape has no topic")?.to_owned();
    let row = |at: usize| Instrument {
        symbol: Symbol::new(symbol(at).as_bytes()).expect("a symbol"),
        tick: Px::from_raw(if from == "BTCUSDT" { 10_000_000 } else { 1_000_000 }),
        min_px: Px::from_raw(10_000_000),
        max_px: Px::whole(1_999_999),
        step: Qty::from_raw(100_000),
        min_qty: Qty::from_raw(100_000),
        max_qty: Qty::whole(119_000),
        max_market_qty: Qty::whole(500),
        min_notional: Notional::whole(5),
        max_leverage: 10_000,
        ..Instrument::default()
    };
    let instruments = Instruments::new((0..INSTRUMENTS).map(row)).map_err(|_| "no table")?;
    let topics = Topics { touch: true, ..Topics::default() };
    let config = Config { topics, late_after: 0, silent_after: u64::MAX / 2, ..Config::default() };
    let mut session = Session::new(config, &instruments).map_err(|why| format!("{why:?}"))?;
    let now = Now { mono: Mono::from_nanos(1), wall: Wall::from_nanos(1) };
    let mut facts = 0u64;
    let mut turn = |session: &mut Session, input: Input<'_>| {
        session.handle(now, input, &mut |event| {
            facts += u64::from(std::hint::black_box(&event).instrument().is_some());
            true
        });
        while session.poll().is_some() {}
    };
    turn(&mut session, Input::Connected);
    // Everything before the busiest second brings the books where they were.
    let (before, second) = frames.split_at(frames.len() - busy);
    for frame in before {
        for at in 0..INSTRUMENTS {
            turn(&mut session, Input::Frame { bytes: frame.replace(&from, &symbol(at)).as_bytes(), ticks: 0 });
        }
    }
    // Each instrument lags the one before by a few frames, so that neighbours are never the same message.
    let mut load: Vec<String> = Vec::with_capacity(second.len() * INSTRUMENTS);
    for step in 0..second.len() + LAG * INSTRUMENTS {
        for at in 0..INSTRUMENTS {
            if let Some(frame) = step.checked_sub(LAG * at).and_then(|n| second.get(n)) {
                load.push(frame.replace(&from, &symbol(at)));
            }
        }
    }
    let clock = quanta::Clock::new();
    let start = clock.raw();
    for frame in &load {
        turn(&mut session, Input::Frame { bytes: frame.as_bytes(), ticks: 0 });
    }
    let nanos = clock.delta_as_nanos(start, clock.raw());
    let counters = session.counters();
    let lost = counters.faults + counters.refused.iter().sum::<u64>() + session.decoder().fallbacks();
    let asked = load.len() as u64 * TIMES;
    let able = load.len() as f64 * 1e9 / nanos as f64;
    println!(
        "load: {INSTRUMENTS} instruments, busiest second {busy} frames each, times {TIMES}: {asked} frames/s asked"
    );
    println!(
        "load: one session handles {able:.0} frames/s ({:.0} ns each): {:.2} x what is asked",
        nanos as f64 / load.len() as f64,
        able / asked as f64
    );
    if lost > 0 {
        return Err(format!("{lost} faults, refusals or fallbacks under load: {counters:?}").into());
    }
    println!("load: {facts} facts, nothing lost");
    Ok(())
}

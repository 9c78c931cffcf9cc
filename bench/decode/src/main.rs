//! P3: what it costs to decode an order book delta, check its sequence and apply it; keel, floors and peers in one run.
//!
//! In: a v5-shaped tape with `orderbook.50` (argument 1). Out: one table, nanoseconds a message and ratios to keel. Every
//! contestant sees the same messages in the same order, in rounds that interleave them, so that a noisy neighbour hits
//! all alike. Every contestant that keeps a book must end with the same levels, or the run fails.
//!
//! ```text
//!   round:   floor | keel | serde_json | sonic-rs | simd-json | ... | barter | nautilus | hftbacktest      x ROUNDS
//!   reported: the quickest round and the median round of each, and how many times keel's own for the same work
//! ```
//!
//! What was tried, and what came of it, is in TRIED.md.

mod floors;
#[cfg(feature = "hftbacktest")]
mod hft;
mod load;
mod ours;
mod peers;
mod sorted;

use flate2::read::MultiGzDecoder;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};

const ROUNDS: usize = 41;

/// One thing measured over all messages of a round.
struct Contestant {
    name: &'static str,
    /// What one message costs includes.
    does: &'static str,
    round: Box<dyn FnMut(&[Vec<u8>]) -> End>,
    nanos: Vec<f64>,
}

/// Bids, then asks, best first: price and quantity in steps of 1e-8.
type Levels = [Vec<(i64, i64)>; 2];

/// What a round ended with.
enum End {
    /// The levels of its book, asked for when the clock has stopped.
    Book(Box<dyn FnOnce() -> Levels>),
    /// Something that depends on all of its work.
    Digest(u64),
}

fn contestant(name: &'static str, does: &'static str, round: impl FnMut(&[Vec<u8>]) -> End + 'static) -> Contestant {
    Contestant { name, does, round: Box::new(round), nanos: Vec::with_capacity(ROUNDS) }
}

/// The first snapshot and everything after it on `orderbook.50`.
fn messages(path: &str) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut found = Vec::new();
    for line in BufReader::new(MultiGzDecoder::new(File::open(path)?)).split(b'\n') {
        let line = line?;
        let Some(tab) = line.iter().position(|byte| *byte == b'\t') else { continue };
        let frame = &line[tab + 1..];
        if frame.starts_with(b"{\"topic\":\"orderbook.50.") {
            found.push(frame.to_vec());
        }
    }
    Ok(found)
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: keel-bench-decode TAPE.rx_ns.tsv.gz [--json]")?;
    let json = std::env::args().any(|word| word == "--json");
    let messages = messages(&path)?;
    let bytes: usize = messages.iter().map(Vec::len).sum();
    eprintln!("{} messages of {} bytes on average, {ROUNDS} rounds", messages.len(), bytes / messages.len());
    let mut all = floors::all();
    all.extend(ours::all());
    all.extend(peers::all());
    #[cfg(feature = "hftbacktest")]
    all.extend(hft::all());
    let clock = quanta::Clock::new();
    let mut first: Option<Levels> = None;
    for _ in 0..ROUNDS {
        for one in &mut all {
            let start = clock.raw();
            let end = (one.round)(&messages);
            let nanos = clock.delta_as_nanos(start, clock.raw());
            one.nanos.push(nanos as f64 / messages.len() as f64);
            match end {
                End::Book(levels) => {
                    let levels = levels();
                    let first = first.get_or_insert_with(|| levels.clone());
                    if *first != levels {
                        return Err(format!("{} ends at {levels:?}, another at {first:?}", one.name).into());
                    }
                }
                End::Digest(digest) => drop(std::hint::black_box(digest)),
            }
        }
    }
    let [bids, asks] = first.ok_or("no book")?;
    if bids.is_empty() || asks.is_empty() {
        return Err("the books are empty".into());
    }
    if json {
        println!("{}", lines(&all));
        return Ok(());
    }
    report(&mut all);
    load::run(&path)?;
    println!(
        "all books end with {} bids and {} asks, level by level, best {:?} {:?}",
        bids.len(),
        asks.len(),
        bids[0],
        asks[0]
    );
    Ok(())
}

/// For machines: every round of every contestant, nanoseconds a message.
fn lines(all: &[Contestant]) -> String {
    let row = |one: &Contestant| serde_json::json!({ "name": one.name, "does": one.does, "rounds": one.nanos });
    serde_json::json!({ "rows": all.iter().map(row).collect::<Vec<_>>() }).to_string()
}

fn report(all: &mut [Contestant]) {
    let quick = |one: &Contestant| one.nanos.iter().copied().fold(f64::INFINITY, f64::min);
    for one in all.iter_mut() {
        one.nanos.sort_unstable_by(f64::total_cmp);
    }
    let of = |name: &str| all.iter().find(|one| one.name == name).map_or(f64::NAN, quick);
    let (decode, whole, apply) = (of("keel decode"), of("keel decode+gap+apply"), of("keel apply"));
    println!("{:<34} {:>9} {:>9} {:>9}  does", "contestant", "best ns", "median ns", "x keel");
    for one in all.iter() {
        let base = match one.does {
            does if does.starts_with("apply") => apply,
            does if does.contains("apply") => whole,
            _ => decode,
        };
        let (best, median) = (quick(one), one.nanos[one.nanos.len() / 2]);
        println!("{:<34} {best:>9.1} {median:>9.1} {:>9.2}  {}", one.name, best / base, one.does);
    }
}

//! keel's replay: the binary that ships, over the journal a node of its own recorded on the same tape.
//!
//! The journal holds more than the tape: tickers, timers, the private stream, every decision. All of it is read, checked,
//! decided again and compared; the rate that is compared counts the tape's own events alone. Two journals: one of the tape
//! as it is, for keel's own pace, and one without the one-level stream, which nobody else is fed.

use crate::tape::{Seen, Touch};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use keel_core::book::Book;
use keel_core::event::{BookUpdate, Kind, Trade, read};
use keel_core::instrument::Instrument;
use keel_journal::Reader;
use serde_json::Value;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Command;

/// Writes the tape again without its one-level stream.
pub fn without_top(tape: &str, to: &Path) -> Result<(), Box<dyn Error>> {
    let mut out = GzEncoder::new(File::create(to)?, Compression::fast());
    for line in BufReader::new(MultiGzDecoder::new(File::open(tape)?)).lines() {
        let line = line?;
        if !line.contains("\"topic\":\"orderbook.1.") {
            writeln!(out, "{line}")?;
        }
    }
    out.finish()?;
    Ok(())
}

/// Records the journal unless it is there.
pub fn record(keel: &str, tape: &str, dir: &Path) -> Result<(), Box<dyn Error>> {
    if dir.exists() {
        return Ok(());
    }
    eprintln!("recording {} ...", dir.display());
    let dir = dir.to_str().ok_or("a name that is text")?;
    let done =
        Command::new(keel).args(["demo", "--json", "--speed", "max", "--tape", tape, "--data-dir", dir]).output()?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned().into()) }
}

/// One replay: nanoseconds on a core, nanoseconds, and facts taken in.
pub fn run(keel: &str, dir: &Path) -> Result<(u64, u64, u64), Box<dyn Error>> {
    let done = Command::new(keel).arg("replay").arg(dir).arg("--json").output()?;
    let told: Value = serde_json::from_slice(&done.stdout)?;
    let run = &told["runs"][0];
    if run["identical"] != true {
        return Err(format!("the replay is not what was recorded: {run}").into());
    }
    let number = |name: &str| run[name].as_u64().ok_or(format!("no {name} in {run}"));
    Ok((number("core_nanos")?, number("nanos")?, number("inputs")?))
}

/// What of the tape the journal holds, by keel's own book.
pub fn seen(dir: &Path) -> Result<Seen, Box<dyn Error>> {
    let mut reader = Reader::open(dir).map_err(|why| why.to_string())?;
    let (mut seen, mut book) = (Seen::default(), None::<Book>);
    while let Some(entry) = reader.poll().map_err(|why| why.to_string())? {
        match entry.kind {
            Some(Kind::Instrument) => {
                let row = read::<Instrument>(entry.payload).ok_or("an instrument")?;
                book = Some(Book::new(row.tick, 512));
            }
            Some(Kind::Book) => {
                let update = BookUpdate::read(entry.payload).ok_or("an update")?;
                if update.depth != 1 {
                    let book = book.as_mut().ok_or("no instrument before its book")?;
                    book.apply(&update).map_err(|why| format!("{why:?}"))?;
                    seen.books += u64::from(update.has(BookUpdate::LAST));
                }
            }
            Some(Kind::Trade) => {
                read::<Trade>(entry.payload).ok_or("a trade")?;
                seen.trades += 1;
            }
            _ => {}
        }
    }
    let touch = book.and_then(|book| book.touch());
    let steps = |level: keel_core::event::Level| (level.px.raw(), level.qty.raw());
    seen.touch = touch.map_or_else(Touch::default, |touch| [steps(touch.bid), steps(touch.ask)]);
    Ok(seen)
}

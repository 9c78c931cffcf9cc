//! What drives the market: recorded tapes merged by time, frames made as they are needed, or nothing but the generator.
//!
//! In: tapes, or a maker of frames. Out: their frames in the order of their receive stamps (the first tape first among equals), each with the
//! tape time it is due. A tape without stamps is timed by its frames' own `ts`. Never: a tape in memory as a whole.

use crate::tape::Tape;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Where frames come from.
#[derive(Debug, Default)]
pub struct Market {
    tapes: Vec<Reel>,
    /// The last time handed out: tape time never goes back.
    last_ns: u64,
    names: Vec<String>,
}

/// Makes the next frame of a tape without an end, and its time in nanoseconds.
pub type Maker = dyn FnMut() -> (u64, Vec<u8>) + Send;

enum Source {
    Tape(Tape),
    Made(Box<Maker>),
}

struct Reel {
    source: Source,
    next: Option<(u64, Vec<u8>)>,
}

impl std::fmt::Debug for Reel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reel")
    }
}

impl Reel {
    fn advance(&mut self, floor_ns: u64) -> Result<()> {
        let tape = match &mut self.source {
            Source::Tape(tape) => tape,
            Source::Made(make) => {
                self.next = Some(make());
                return Ok(());
            }
        };
        self.next = match tape.next_frame()? {
            None => None,
            Some(frame) => {
                let at = frame.recv_ns.or_else(|| stamp_ms(frame.json).map(|ms| ms * 1_000_000)).unwrap_or(floor_ns);
                Some((at, frame.json.to_vec()))
            }
        };
        Ok(())
    }
}

/// The number after `"ts":` in a frame.
pub(super) fn stamp_ms(frame: &[u8]) -> Option<u64> {
    const KEY: &[u8] = b"\"ts\":";
    let at = frame.windows(KEY.len()).position(|w| w == KEY)? + KEY.len();
    let digits: Vec<u8> = frame[at..].iter().copied().take_while(u8::is_ascii_digit).take(15).collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

/// Frames looked at before a tape plays: acknowledgements come first on a recorded one.
const PREVIEW: usize = 256;

/// The symbols the first frames are about, and the time of the first that has one.
fn preview(path: &Path) -> Result<(Vec<String>, u64)> {
    let (mut tape, mut names, mut begins) = (Tape::open(path)?, Vec::new(), None);
    for _ in 0..PREVIEW {
        let Some(frame) = tape.next_frame()? else { break };
        begins = begins.or_else(|| stamp_ms(frame.json));
        names.extend(symbol(frame.json));
    }
    Ok((names, begins.unwrap_or(0) * 1_000_000))
}

/// The last part of a frame's topic.
fn symbol(frame: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(frame).ok()?;
    let at = text.find("\"topic\":\"")? + 9;
    let topic = &text[at..at + text[at..].find('"')?];
    Some(topic.rsplit('.').next()?.to_owned())
}

impl Market {
    /// No tape: whatever trades is generated.
    #[must_use]
    pub fn generated() -> Self {
        Self::default()
    }

    /// Opens tapes. A missing or unreadable one says so in one sentence.
    pub fn tapes(paths: &[PathBuf]) -> Result<Self> {
        let (mut tapes, mut names) = (Vec::new(), Vec::new());
        for path in paths {
            let (symbols, begins_ns) = preview(path)?;
            names.extend(symbols);
            let mut reel = Reel { source: Source::Tape(Tape::open(path)?), next: None };
            reel.advance(begins_ns)?;
            reel.next.as_ref().with_context(|| format!("{}: the tape is empty", path.display()))?;
            tapes.push(reel);
        }
        names.sort();
        names.dedup();
        Ok(Self { tapes, last_ns: 0, names })
    }

    /// Frames about these symbols, made as they are needed, without an end.
    #[must_use]
    pub fn made(names: Vec<String>, mut make: Box<Maker>) -> Self {
        let next = Some(make());
        Self { tapes: vec![Reel { source: Source::Made(make), next }], last_ns: 0, names }
    }

    /// Is there a tape?
    #[must_use]
    pub fn is_taped(&self) -> bool {
        !self.tapes.is_empty()
    }

    /// The symbols the first frames of the tapes are about.
    #[must_use]
    pub fn symbols(&self) -> Vec<String> {
        self.names.clone()
    }

    fn earliest(&self) -> Option<usize> {
        let due = |(at, reel): (usize, &Reel)| reel.next.as_ref().map(|(ns, _)| (*ns, at));
        self.tapes.iter().enumerate().filter_map(due).min().map(|(_, at)| at)
    }

    /// Tape time of the next frame; `None` at the end.
    #[must_use]
    pub fn next_ns(&self) -> Option<u64> {
        let at = self.earliest()?;
        self.tapes[at].next.as_ref().map(|(ns, _)| (*ns).max(self.last_ns))
    }

    /// Takes the next frame.
    pub fn take(&mut self) -> Result<Option<(u64, Vec<u8>)>> {
        let Some(at) = self.earliest() else { return Ok(None) };
        let reel = &mut self.tapes[at];
        let Some((ns, frame)) = reel.next.take() else { return Ok(None) };
        self.last_ns = self.last_ns.max(ns);
        reel.advance(self.last_ns)?;
        Ok(Some((self.last_ns, frame)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_frames_follow_each_other_without_an_end() {
        let mut at = 0;
        let make = move || {
            at += 5;
            (at, at.to_string().into_bytes())
        };
        let mut market = Market::made(vec!["BTCUSDT".to_owned()], Box::new(make));
        assert!(market.is_taped());
        for n in 1..1_000 {
            assert_eq!(market.next_ns(), Some(n * 5));
            assert_eq!(market.take().unwrap(), Some((n * 5, (n * 5).to_string().into_bytes())));
        }
    }

    #[test]
    fn a_tape_that_begins_with_an_acknowledgement_is_known_by_what_follows() {
        let path = std::env::temp_dir().join(format!("keel-market-{}.jsonl", std::process::id()));
        let ack = r#"{"success":true,"ret_msg":"","conn_id":"c","req_id":"1","op":"subscribe"}"#;
        let trade =
            |s: &str| format!(r#"{{"topic":"publicTrade.{s}","type":"snapshot","ts":1700000000000,"data":[]}}"#);
        std::fs::write(&path, format!("{ack}\n{}\n{}\n", trade("ETHUSDT"), trade("BTCUSDT"))).unwrap();
        let market = Market::tapes(std::slice::from_ref(&path)).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(market.symbols(), ["BTCUSDT", "ETHUSDT"]);
        assert_eq!(market.next_ns(), Some(1_700_000_000_000_000_000));
    }
}

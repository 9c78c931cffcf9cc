//! What drives the market: recorded tapes merged by time, or nothing but the generator.
//!
//! In: tapes. Out: their frames in the order of their receive stamps (the first tape first among equals), each with the
//! tape time it is due. A tape without stamps is timed by its frames' own `ts`. Never: a tape in memory as a whole.

use crate::tape::Tape;
use anyhow::{Context, Result};
use std::path::PathBuf;

/// Where frames come from.
#[derive(Debug, Default)]
pub struct Market {
    tapes: Vec<Reel>,
    /// The last time handed out: tape time never goes back.
    last_ns: u64,
}

#[derive(Debug)]
struct Reel {
    tape: Tape,
    next: Option<(u64, Vec<u8>)>,
}

impl Reel {
    fn advance(&mut self, floor_ns: u64) -> Result<()> {
        self.next = match self.tape.next_frame()? {
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

impl Market {
    /// No tape: whatever trades is generated.
    #[must_use]
    pub fn generated() -> Self {
        Self::default()
    }

    /// Opens tapes. A missing or unreadable one says so in one sentence.
    pub fn tapes(paths: &[PathBuf]) -> Result<Self> {
        let mut tapes = Vec::new();
        for path in paths {
            let mut reel = Reel { tape: Tape::open(path)?, next: None };
            reel.advance(0)?;
            reel.next.as_ref().with_context(|| format!("{}: the tape is empty", path.display()))?;
            tapes.push(reel);
        }
        Ok(Self { tapes, last_ns: 0 })
    }

    /// Is there a tape?
    #[must_use]
    pub fn is_taped(&self) -> bool {
        !self.tapes.is_empty()
    }

    /// The first symbol of each tape's first frame.
    #[must_use]
    pub fn symbols(&self) -> Vec<String> {
        let first = |reel: &Reel| {
            let (_, json) = reel.next.as_ref()?;
            let text = std::str::from_utf8(json).ok()?;
            let at = text.find("\"topic\":\"")? + 9;
            let topic = &text[at..at + text[at..].find('"')?];
            Some(topic.rsplit('.').next()?.to_owned())
        };
        let mut names: Vec<String> = self.tapes.iter().filter_map(first).collect();
        names.sort();
        names.dedup();
        names
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

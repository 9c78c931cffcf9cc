//! Is every line in Loki, once, and is it what the journal says?
//!
//! In: a journal, a Loki it was shipped to, the quarantine file. Out: counts; lines that are missing are sent again, into
//! a stream of their own where Loki takes late lines nowhere else. Never: a line taken on trust: each is compared by
//! number and by the record's hash.

use super::fault::Fault;
use super::loki::{Address, Pusher, line_of, streams};
use super::push::{self, Line};
use super::source::Source;
use crate::fact::Symbols;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Lines asked for at once: the most Loki gives.
const PAGE: usize = 5_000;
/// The longest stretch of time one question may be about.
const WINDOW: u64 = 7 * 86_400_000_000_000;

/// Lines of a store in the order of their time, page by page.
pub struct Pages<'a> {
    address: &'a Address,
    query: String,
    next: u64,
    end: u64,
    page: VecDeque<(u64, String)>,
}

impl<'a> Pages<'a> {
    /// What `query` selects from `next` to before `end`, nanoseconds since 1970.
    #[must_use]
    pub fn new(address: &'a Address, query: String, next: u64, end: u64) -> Self {
        Self { address, query, next, end, page: VecDeque::new() }
    }

    /// The next line and its time.
    #[allow(clippy::should_implement_trait, reason = "it can fail between two lines and go on")]
    pub fn next(&mut self) -> Result<Option<(u64, String)>> {
        self.peek()?;
        Ok(self.page.pop_front())
    }

    fn peek(&mut self) -> Result<Option<&(u64, String)>> {
        while self.page.is_empty() && self.next < self.end {
            let end = self.end.min(self.next.saturating_add(WINDOW));
            let (from, to, limit) = (self.next.to_string(), end.to_string(), PAGE.to_string());
            let query = [
                ("query", self.query.as_str()),
                ("start", &from),
                ("end", &to),
                ("limit", &limit),
                ("direction", "forward"),
            ];
            let answer = self.address.get("/loki/api/v1/query_range", &query)?;
            let told: Value = serde_json::from_str(&answer.body).context("Loki's answer is no JSON")?;
            let streams = told["data"]["result"].as_array().context("Loki's answer has no result")?;
            let values = streams.iter().flat_map(|stream| stream["values"].as_array().into_iter().flatten());
            let line = |value: &Value| Some((value[0].as_str()?.parse::<u64>().ok()?, value[1].as_str()?.to_owned()));
            let mut lines: Vec<_> = values.filter_map(line).collect();
            lines.sort();
            // a full page may have cut the last moment in two; every record has a moment of its own, copies do not
            match lines.last() {
                Some((last, _)) if lines.len() >= PAGE => {
                    let last = *last;
                    let whole = lines.iter().filter(|(wall, _)| *wall < last).count();
                    if whole > 0 {
                        lines.truncate(whole);
                        self.next = last;
                    } else {
                        self.next = last + 1;
                    }
                }
                _ => self.next = end,
            }
            self.page = lines.into();
        }
        Ok(self.page.front())
    }
}

/// Nanoseconds between the first and the last line of one request of repairs.
const SPAN: u64 = 600_000_000_000;

/// Compares, sends what is missing, reports on standard output.
pub fn run(pusher: &Pusher, json: bool) -> Result<()> {
    let cursor = pusher.cursor()?;
    let refused = quarantined(pusher)?;
    let mut source = Source::after(&pusher.dir, 0)?;
    let mut symbols = Symbols::default();
    let mut first = None;
    let (mut lines, mut kept, mut missing, mut changed, mut extra) = (0u64, 0u64, Vec::new(), 0u64, 0u64);
    let mut pages: Option<Pages<'_>> = None;
    while let Some(entry) = source.poll()?.filter(|entry| entry.seq.0 <= cursor.saved.seq) {
        symbols.learn(&entry);
        first.get_or_insert(entry.seq.0);
        let Some(line) = line_of(&entry, &symbols, cursor.saved.metadata) else { continue };
        let pages = pages.get_or_insert_with(|| {
            let query = format!("{{app=\"keel\", instance=\"{}\"}}", pusher.instance);
            Pages::new(&pusher.address, query, line.wall, cursor.saved.wall_ns + 1)
        });
        lines += 1;
        let mut found = 0u64;
        while let Some((wall, text)) = pages.peek()? {
            if *wall > line.wall {
                break;
            }
            let same = *wall == line.wall && is(text, &line);
            if *wall < line.wall {
                extra += 1;
            } else if same {
                found += 1;
            } else {
                changed += 1;
            }
            pages.page.pop_front();
        }
        match found {
            0 if refused.contains(&line.seq) => kept += 1,
            0 => missing.push(line),
            more => extra += more - 1,
        }
    }
    let lost = missing.len();
    let repaired = spans(&missing).map(|late| repair(pusher, late)).sum::<Result<usize>>()?;
    let right = changed == 0 && extra == 0 && repaired == lost;
    let (first, last) = (first.unwrap_or(0), cursor.saved.seq);
    if json {
        let told = json!({ "store": "loki", "first": first, "last": last, "rows": lines, "quarantined": kept,
            "missing": lost, "repaired": repaired, "changed": changed, "extra": extra, "right": right });
        println!("{told}");
    } else {
        println!(
            "loki: records {first} to {last}, {lines} lines compared, {kept} of them in the quarantine: {lost} missing, \
             {repaired} sent again, {changed} changed, {extra} too many"
        );
    }
    ensure!(right, "loki: what stands there is not what the journal says");
    Ok(())
}

/// Is it the line of this very record? By its hash: what else stands in a line is made from the record.
fn is(text: &str, line: &Line) -> bool {
    let (Ok(have), Ok(want)) = (serde_json::from_str::<Value>(text), serde_json::from_str::<Value>(&line.text)) else {
        return false;
    };
    have["record"] == line.seq && have["hash"] == want["hash"]
}

fn quarantined(pusher: &Pusher) -> Result<BTreeSet<u64>> {
    let text = match std::fs::read_to_string(pusher.quarantine_path()) {
        Ok(text) => text,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(why) => return Err(why).with_context(|| format!("reading {}", pusher.quarantine_path().display())),
    };
    let seq = |line: &str| serde_json::from_str::<Value>(line).ok()?["seq"].as_u64();
    Ok(text.lines().filter_map(seq).collect())
}

/// Lines that may share a request of repairs. Loki takes no line that lies further behind the newest of its stream than half
/// the age of a chunk, an hour by default: within a span much shorter than that, a line it took once it takes again.
fn spans(lines: &[Line]) -> impl Iterator<Item = &[Line]> {
    let mut rest = lines;
    std::iter::from_fn(move || {
        let first = rest.first()?.wall;
        let near = rest.iter().take(super::loki::LINES).take_while(|line| line.wall - first <= SPAN).count();
        let (span, later) = rest.split_at(near);
        rest = later;
        Some(span)
    })
}

fn repair(pusher: &Pusher, late: &[Line]) -> Result<usize> {
    let mut too_late: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    sort_out(pusher, late, &mut too_late)?;
    for (day, lines) in &too_late {
        if let Err(fault) = send(pusher, Some(day), lines) {
            bail!("loki: missing lines are refused: {fault}");
        }
    }
    Ok(late.len())
}

fn send(pusher: &Pusher, day: Option<&str>, lines: &[Line]) -> Result<(), Fault> {
    pusher.address.push(&push::compress(&push::encode(&streams(&pusher.instance, day), lines)))
}

/// Sends lines where they belong; those refused there are kept by their day. A refused request may have stored a part of
/// its lines, so what is refused is halved until it is one line: only that one goes elsewhere, and none stands twice.
fn sort_out(pusher: &Pusher, late: &[Line], too_late: &mut BTreeMap<String, Vec<Line>>) -> Result<(), Fault> {
    match (send(pusher, None, late), late) {
        (Ok(()), _) | (_, []) => Ok(()),
        (Err(Fault::Rows(_)), [only]) => {
            let day = crate::moment::utc(keel_core::units::Wall::from_nanos(only.wall));
            too_late.entry(day.get(..10).unwrap_or("late").to_owned()).or_default().push(only.clone());
            Ok(())
        }
        (Err(Fault::Rows(_)), _) => {
            let (older, newer) = late.split_at(late.len() / 2);
            sort_out(pusher, older, too_late)?;
            sort_out(pusher, newer, too_late)
        }
        (Err(fault), _) => Err(fault),
    }
}

//! One record as text, in each of the forms.

use super::Output;
use crate::fact::{Fields, Symbols, hex};
use crate::moment::{local, utc};
use anyhow::Result;
use jiff::tz::TimeZone;
use keel_core::event::Kind;
use keel_core::units::Wall;
use keel_journal::Entry;
use serde::Serialize;
use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::io::{self, Write};

const HEAD: [&str; 6] = ["seq", "time", "kind", "cause", "mono", "clock_error"];

/// Fields of the short form's own line, or of no use without arithmetic: left to the other forms.
const STOPWATCH: [&str; 3] = ["recv", "ticks", "cause"];

#[derive(Serialize)]
struct Row {
    seq: u64,
    time: String,
    kind: String,
    cause: u64,
    mono: u64,
    clock_error: u32,
    fact: Map<String, serde_json::Value>,
}

/// Writes lines, and what stands before, between and after them.
pub(super) struct Printer {
    output: Output,
    single: Option<Kind>,
    color: bool,
    /// Of the times in the forms for people; the others are in UTC.
    zone: TimeZone,
    lines: u64,
}

impl Printer {
    pub(super) const fn new(output: Output, single: Option<Kind>, color: bool, zone: TimeZone) -> Self {
        Self { output, single, color, zone, lines: 0 }
    }

    pub(super) fn begin(&self, out: &mut impl Write) -> io::Result<()> {
        match self.output {
            Output::Table => writeln!(out, "{:>9} {:>9} {:<30} {:<14} FIELDS", "SEQ", "CAUSE", "TIME", "KIND"),
            Output::Csv if self.single.is_none() => writeln!(out, "{},fields", HEAD.join(",")),
            _ => Ok(()),
        }
    }

    pub(super) fn render(&self, entry: &Entry<'_>, fields: &Fields, symbols: &Symbols) -> String {
        match self.output {
            Output::Short => short(entry, fields, symbols, self.color, &self.zone),
            Output::Table => {
                let (seq, cause, time) = (entry.seq.0, entry.cause.0, time(entry, &self.zone));
                let kind = painted(entry, &format!("{:<14}", kind(entry)), self.color);
                format!("{seq:>9} {cause:>9} {time:<30} {kind} {}", pairs(fields, symbols))
            }
            Output::Json | Output::Jsonl => {
                let fact = fields.iter().map(|(name, value)| ((*name).to_owned(), value.json(symbols))).collect();
                let (seq, time, kind, cause) = (entry.seq.0, utc(entry.wall), kind(entry), entry.cause.0);
                let (mono, clock_error) = (entry.mono.nanos(), entry.clock_error);
                serde_json::to_string(&Row { seq, time, kind, cause, mono, clock_error, fact }).unwrap_or_default()
            }
            Output::Csv => self.csv(entry, fields, symbols),
            Output::Raw => format!("{} {} {}", entry.seq.0, entry.code, hex(entry.payload)),
        }
    }

    /// The first line of a single kind brings its header along: its columns are known only now.
    fn csv(&self, entry: &Entry<'_>, fields: &Fields, symbols: &Symbols) -> String {
        let head = [
            entry.seq.0.to_string(),
            utc(entry.wall),
            kind(entry),
            entry.cause.0.to_string(),
            entry.mono.nanos().to_string(),
            entry.clock_error.to_string(),
        ];
        let mut cells: Vec<String> = head.to_vec();
        match self.single {
            Some(_) => cells.extend(fields.iter().map(|(_, value)| value.text(symbols))),
            None => cells.push(pairs(fields, symbols)),
        }
        let line = cells.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(",");
        if self.single.is_none() {
            return line;
        }
        // a field named like a column of every record gets a name of its own, as in `keel export` and in Postgres
        let own = |name: &str| if HEAD.contains(&name) { format!("fact_{name}") } else { name.to_owned() };
        let names = HEAD.into_iter().map(str::to_owned).chain(fields.iter().map(|(name, _)| own(name)));
        format!("{}\n{line}", names.collect::<Vec<_>>().join(","))
    }

    pub(super) fn line(&mut self, out: &mut impl Write, line: &str) -> io::Result<()> {
        self.lines += 1;
        match (self.output, self.lines) {
            (Output::Json, 1) => write!(out, "[\n{line}"),
            (Output::Json, _) => write!(out, ",\n{line}"),
            (Output::Csv, 2..) if self.single.is_some() => {
                writeln!(out, "{}", line.split_once('\n').map_or(line, |(_, row)| row))
            }
            _ => writeln!(out, "{line}"),
        }
    }

    pub(super) fn end(&self, out: &mut impl Write) -> io::Result<()> {
        match (self.output, self.lines) {
            (Output::Json, 0) => writeln!(out, "[]"),
            (Output::Json, _) => writeln!(out, "\n]"),
            _ => Ok(()),
        }
    }
}

/// Number, time, kind, and the fields that are not zero.
pub(super) fn short(entry: &Entry<'_>, fields: &Fields, symbols: &Symbols, color: bool, zone: &TimeZone) -> String {
    let kind = painted(entry, &kind(entry), color);
    let cause = if entry.cause.0 == 0 { String::new() } else { format!(" <-{}", entry.cause.0) };
    format!("{} {} {kind}{cause} {}", entry.seq.0, time(entry, zone), pairs(fields, symbols))
}

fn time(entry: &Entry<'_>, zone: &TimeZone) -> String {
    if *zone == TimeZone::UTC { utc(entry.wall) } else { local(entry.wall, zone) }
}

fn kind(entry: &Entry<'_>) -> String {
    entry.kind.map_or_else(|| format!("?{}", entry.code), |kind| format!("{kind:?}"))
}

fn pairs(fields: &Fields, symbols: &Symbols) -> String {
    let told = fields.iter().filter(|(name, value)| !value.is_nothing() && !STOPWATCH.contains(name));
    told.map(|(name, value)| format!("{name}={}", value.text(symbols))).collect::<Vec<_>>().join(" ")
}

/// Colours by what a person looks for: refusals red, our orders cyan, what the venue says green, the front door yellow.
fn painted(entry: &Entry<'_>, text: &str, color: bool) -> String {
    let code = match (entry.kind, entry.code / 100) {
        _ if !color => return text.to_owned(),
        (Some(Kind::Refused), _) | (None, _) => 31,
        (_, 2) => 32,
        (_, 3) => 33,
        (_, 4) => 36,
        (_, 5) => 35,
        _ => 2,
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// A cell of RFC 4180.
pub(crate) fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    records: u64,
    bytes: u64,
}

/// Counts by kind.
#[derive(Debug, Default)]
pub(super) struct Stats {
    kinds: BTreeMap<(u16, String), Count>,
    all: Count,
    first: Wall,
    last: Wall,
}

impl Stats {
    pub(super) fn add(&mut self, entry: &Entry<'_>) {
        if self.all.records == 0 {
            self.first = entry.wall;
        }
        self.last = entry.wall;
        let kind = self.kinds.entry((entry.code, kind(entry))).or_default();
        for count in [kind, &mut self.all] {
            count.records += 1;
            count.bytes += keel_journal::frame::size(entry.payload.len()) as u64;
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "rates for people")]
    pub(super) fn print(&self, out: &mut impl Write, output: Output) -> Result<()> {
        let seconds = self.last.since(self.first) as f64 / 1e9;
        let rate = |count: &Count| if seconds > 0.0 { count.records as f64 / seconds } else { 0.0 };
        if matches!(output, Output::Json | Output::Jsonl) {
            let kinds: Map<_, _> = self
                .kinds
                .iter()
                .map(|((_, name), c)| (name.clone(), json!({ "records": c.records, "bytes": c.bytes })))
                .collect();
            let all = json!({ "records": self.all.records, "bytes": self.all.bytes });
            let span = json!({ "first": utc(self.first), "last": utc(self.last), "seconds": seconds });
            writeln!(out, "{}", json!({ "kinds": kinds, "all": all, "span": span }))?;
            return Ok(());
        }
        writeln!(out, "{:<16} {:>12} {:>14} {:>12}", "KIND", "RECORDS", "BYTES", "PER SECOND")?;
        let all = ((0, "all".to_owned()), self.all);
        for ((_, name), count) in self.kinds.iter().chain([(&all.0, &all.1)]) {
            writeln!(out, "{name:<16} {:>12} {:>14} {:>12.1}", count.records, count.bytes, rate(count))?;
        }
        if self.all.records > 0 {
            writeln!(out, "from {} to {}", utc(self.first), utc(self.last))?;
        }
        Ok(())
    }
}

//! `keel decode`: what a capture or a tape holds, and where its books, trades and tickers end.
//!
//! In: recorded frames. Out: per file the messages by topic, what was refused and why, the faults of the books, the time
//! span, and the final state, as sentences or as one JSON object whose keys are those of the shared oracle. Never: a
//! number that only one decoder has seen: beside every book of the feed stands a book of the venue's own text, and the
//! two must be equal level by level.
//!
//! ```text
//!   frame --> feed decoder --> depth rules --> book of numbers --+
//!     +-----> serde_json --------------------> book of text -----+--> equal, or the file's report says `unequal`
//! ```

mod private;
mod text;

use crate::tape::Tape;
use crate::tape::gridless;
use anyhow::{Result, bail};
use keel_core::event::{HealthReason, Side};
use keel_core::ids::{MAX_INSTRUMENTS, Symbol};
use keel_core::instrument::Instruments;
use keel_feed::decode::{BookHead, Decoder, Message};
use keel_feed::depth::{State, Step, Stream};
use private::Private;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use text::{TextBook, Trades};

/// What to decode.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Captures or tapes: *.rx_ns.tsv[.gz], *.jsonl[.gz]
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// One JSON object instead of sentences
    #[arg(long)]
    pub json: bool,
}

/// Decodes every file; one that cannot be read is an error after the others were reported.
pub fn run(args: &Args) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let mut all = Map::new();
    let mut broken = Vec::new();
    for path in &args.files {
        match Report::of(path) {
            Ok(report) if args.json => drop(all.insert(path.display().to_string(), report.to_json())),
            Ok(report) => report.print(path, &mut out)?,
            Err(why) => broken.push(format!("{why:#}")),
        }
    }
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&Value::Object(all))?)?;
    }
    if !broken.is_empty() {
        bail!("{}", broken.join("\n"));
    }
    Ok(())
}

/// What one file holds.
#[derive(Debug, Default)]
pub struct Report {
    messages: BTreeMap<String, u64>,
    errors: BTreeMap<String, u64>,
    faults: BTreeMap<&'static str, u64>,
    books: BTreeMap<String, Book>,
    trades: BTreeMap<String, Trades>,
    tickers: BTreeMap<String, Map<String, Value>>,
    private: Private,
    frames: u64,
    general: u64,
    resyncs: u64,
    ignored: u64,
    unequal: u64,
    received: Option<(u64, u64)>,
    pushed: Option<(u64, u64)>,
}

/// One depth stream and its textual twin.
#[derive(Debug)]
struct Book {
    stream: Stream,
    text: TextBook,
    faulty: bool,
}

impl Report {
    /// Reads a file to its end.
    pub fn of(path: &Path) -> Result<Self> {
        let instruments = symbols_of(path)?;
        let mut report = Self::default();
        let mut decoder = Decoder::new(&instruments);
        let mut private = private::decoder(&instruments);
        let mut tape = Tape::open(path)?;
        while let Some(frame) = tape.next_frame()? {
            report.frames += 1;
            widen(&mut report.received, frame.recv_ns);
            report.frame(frame.json, &mut decoder, &instruments, &mut private);
        }
        report.general = decoder.fallbacks();
        Ok(report)
    }

    fn frame(
        &mut self,
        bytes: &[u8],
        decoder: &mut Decoder,
        instruments: &Instruments,
        private: &mut keel_gateway::decode::Decoder,
    ) {
        let message = match decoder.parse(bytes) {
            Ok(message) => message,
            Err(why) => return count(&mut self.errors, why.name()),
        };
        // Whatever the feed accepts is JSON.
        let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
            return self.unequal += 1;
        };
        let topic = value["topic"].as_str();
        let name = topic.or_else(|| value["op"].as_str()).unwrap_or("?");
        count(&mut self.messages, name);
        widen(&mut self.pushed, value["ts"].as_u64());
        match message {
            Message::Book(head) => self.book(name, head, decoder, instruments, &value),
            Message::Trades { .. } => self.trades(&value),
            Message::Ticker { snapshot, .. } => self.ticker(snapshot, &value["data"]),
            Message::Unknown if topic.is_some_and(private::is_private) => {
                if let Err(why) = self.private.frame(bytes, private) {
                    count(&mut self.errors, &format!("private_{}", format!("{why:?}").to_lowercase()));
                }
            }
            Message::Ack { success: false, reason, .. } => {
                count(&mut self.errors, &format!("refused_{}", format!("{reason:?}").to_lowercase()));
            }
            _ => {}
        }
        decoder.emit(&message, keel_feed::decode::Arrival::default(), &mut |_| ());
    }

    fn book(&mut self, topic: &str, mut head: BookHead, decoder: &Decoder, instruments: &Instruments, value: &Value) {
        let Some(row) = instruments.get(head.instrument) else { return self.unequal += 1 };
        let book = self.books.entry(topic.to_owned()).or_insert_with(|| Book {
            stream: Stream::new(row, head.depth),
            text: TextBook::default(),
            faulty: false,
        });
        let (bids, asks) = (decoder.bids(&head), decoder.asks(&head));
        match book.stream.on_message(&mut head, bids, asks) {
            Step::Forward(_) | Step::OneSided => {
                if head.snapshot {
                    self.resyncs += u64::from(book.faulty);
                    book.faulty = false;
                    book.text.clear();
                }
                book.text.apply(&value["data"]);
                let same = |side| book.text.equals(side, book.stream.book().levels(side));
                if !same(Side::Buy) || !same(Side::Sell) {
                    self.unequal += 1;
                }
            }
            Step::Ignore => self.ignored += 1,
            Step::Fault(why) => {
                book.faulty = true;
                *self.faults.entry(fault_name(why)).or_default() += 1;
            }
        }
    }

    fn trades(&mut self, value: &Value) {
        for row in value["data"].as_array().into_iter().flatten() {
            let symbol = row["s"].as_str().unwrap_or("?");
            if self.trades.entry(symbol.to_owned()).or_default().add(&row["p"], &row["v"]).is_none() {
                self.unequal += 1;
            }
        }
    }

    fn ticker(&mut self, snapshot: bool, data: &Value) {
        let Some(fields) = data.as_object() else { return self.unequal += 1 };
        let symbol = data["symbol"].as_str().unwrap_or("?").to_owned();
        let state = self.tickers.entry(symbol).or_default();
        if snapshot {
            state.clear();
        } else if state.is_empty() {
            return; // a delta before its snapshot says nothing
        }
        state.extend(fields.iter().map(|(name, value)| (name.clone(), value.clone())));
    }

    /// Times a book missed an update.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        self.faults.get(fault_name(HealthReason::Gap)).copied().unwrap_or(0)
    }

    /// Levels or numbers on which the feed and the venue's text differ: zero, or keel is wrong.
    #[must_use]
    pub const fn unequal(&self) -> u64 {
        self.unequal
    }

    /// Frames read.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// Frames refused, with the private ones and refused subscriptions.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Everything, under the keys of the shared oracle where it has one.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut all = Map::new();
        all.insert("u_gaps".into(), json!(self.gaps()));
        for (topic, book) in &self.books {
            all.insert(topic.clone(), book.to_json());
        }
        for (symbol, trades) in &self.trades {
            all.insert(format!("trades.{symbol}"), trades.to_json());
        }
        for (symbol, ticker) in &self.tickers {
            all.insert(format!("tickers.{symbol}"), Value::Object(ticker.clone()));
        }
        all.insert("frames".into(), json!(self.frames));
        all.insert("messages".into(), json!(self.messages));
        all.insert("errors".into(), json!(self.errors));
        all.insert("faults".into(), json!(self.faults));
        all.insert("resyncs".into(), json!(self.resyncs));
        all.insert("ignored".into(), json!(self.ignored));
        all.insert("general_parser".into(), json!(self.general));
        all.insert("unequal".into(), json!(self.unequal));
        all.insert("received_ns".into(), json!(self.received));
        all.insert("pushed_ms".into(), json!(self.pushed));
        if let Some(private) = self.private.to_json() {
            all.insert("private".into(), private);
        }
        Value::Object(all)
    }

    fn print(&self, path: &Path, out: &mut impl Write) -> std::io::Result<()> {
        writeln!(out, "{}", path.display())?;
        write!(out, "  {} frames", self.frames)?;
        if let Some((first, last)) = self.received {
            write!(out, " in {:.3} s", seconds(last - first))?;
        }
        writeln!(out, ", {} through the general parser", self.general)?;
        for (topic, count) in &self.messages {
            writeln!(out, "  {count:>8}  {topic}")?;
        }
        for (reason, count) in &self.errors {
            writeln!(out, "  {count:>8}  refused: {reason}")?;
        }
        for (reason, count) in &self.faults {
            writeln!(out, "  {count:>8}  books no longer trusted: {reason}")?;
        }
        if self.unequal > 0 {
            writeln!(out, "  {:>8}  UNEQUAL: keel and the venue's text differ; please report this file", self.unequal)?;
        }
        for (topic, book) in &self.books {
            writeln!(out, "  {topic}: {}", book.sentence())?;
        }
        for (symbol, trades) in &self.trades {
            writeln!(out, "  trades.{symbol}: {}", trades.sentence())?;
        }
        if let Some(private) = self.private.to_json() {
            writeln!(out, "  private: {private}")?;
        }
        Ok(())
    }
}

impl Book {
    fn to_json(&self) -> Value {
        match self.text.summary() {
            Some(mut summary) if self.stream.state() == State::Synced => {
                summary.insert("u".into(), json!(self.stream.book().update_id()));
                Value::Object(summary)
            }
            _ => json!({ "state": format!("{:?}", self.stream.state()) }),
        }
    }

    fn sentence(&self) -> String {
        match self.stream.touch() {
            Some(touch) => format!(
                "{} x {} | {} x {}, u {}",
                touch.bid.px,
                touch.bid.qty,
                touch.ask.px,
                touch.ask.qty,
                self.stream.book().update_id()
            ),
            None => format!("no touch ({:?})", self.stream.state()),
        }
    }
}

fn seconds(nanos: u64) -> f64 {
    std::time::Duration::from_nanos(nanos).as_secs_f64()
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count += 1;
    } else {
        counts.insert(name.to_owned(), 1);
    }
}

fn widen(span: &mut Option<(u64, u64)>, at: Option<u64>) {
    if let Some(at) = at {
        let (first, last) = span.unwrap_or((at, at));
        *span = Some((first.min(at), last.max(at)));
    }
}

const fn fault_name(why: HealthReason) -> &'static str {
    match why {
        HealthReason::Gap => "gap",
        HealthReason::Old => "old",
        HealthReason::Crossed => "crossed",
        HealthReason::OffGrid => "off_grid",
        HealthReason::Absurd => "absurd",
        HealthReason::Overflow => "overflow",
        _ => "other",
    }
}

/// The symbols a file speaks of, with grids so fine that nothing is off them: a capture carries no instrument table.
fn symbols_of(path: &Path) -> Result<Instruments> {
    let mut found = BTreeSet::new();
    let mut tape = Tape::open(path)?;
    while let Some(frame) = tape.next_frame()? {
        let topic = values_of(frame.json, b"\"topic\":\"").next();
        let named = topic.and_then(|topic| topic.rsplit(|byte| *byte == b'.').next());
        found.extend(named.and_then(Symbol::new));
        if topic.is_some_and(|topic| std::str::from_utf8(topic).is_ok_and(private::is_private)) {
            found.extend(values_of(frame.json, b"\"symbol\":\"").filter_map(Symbol::new));
        }
    }
    let rows = found.into_iter().filter(|symbol| !symbol.is_empty()).take(MAX_INSTRUMENTS).map(gridless);
    Instruments::new(rows).map_err(|(symbol, why)| anyhow::anyhow!("{symbol}: {why:?}"))
}

/// Every text that follows `key` up to the next quote.
fn values_of<'a>(json: &'a [u8], key: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = json;
    std::iter::from_fn(move || {
        let at = rest.windows(key.len()).position(|window| window == key)?;
        let value = &rest[at + key.len()..];
        let end = value.iter().position(|byte| *byte == b'"')?;
        rest = &value[end..];
        Some(&value[..end])
    })
}

#[cfg(test)]
mod tests;

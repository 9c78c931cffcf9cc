//! `keel tail`: the records of a journal as people and programs read them, live or not.
//!
//! In: a directory. Out: one record a line. Never: a lock, a write, a mapping: it may run beside the live core, on a copy,
//! as another user. It stops with one sentence at the first damage; `keel verify` names all of it.

mod cursor;
mod severity;
mod show;

use crate::fact::{Fields, Symbols, Value, fields};
use crate::moment;
use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use cursor::Cursor;
use jiff::tz::TimeZone;
use keel_core::event::Kind;
use keel_core::ids::Seq;
use keel_core::units::Wall;
use keel_journal::{Entry, Reader};
use regex::Regex;
pub use severity::Severity;
pub(crate) use show::quoted;
use show::{Printer, Stats};
use std::collections::VecDeque;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Lines shown with `--follow` when none were asked for.
const FOLLOW_LINES: usize = 10;
/// Records read to learn the symbols when the first ones are not wanted.
const SYMBOL_RECORDS: usize = 4096;
/// Lines `--reverse` turns round; more are refused with the advice to ask for fewer.
const REVERSED_LINES: usize = 1_000_000;
/// Pause between two looks at a journal that has nothing new.
const IDLE: Duration = Duration::from_millis(20);

/// What to show.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Directory of the journal
    pub dir: PathBuf,
    /// Only the last N of the records that match [default: all, 10 with --follow]
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<usize>,
    /// Go on as records are written
    #[arg(short, long)]
    pub follow: bool,
    /// Kinds (fill,sent,...) or groups (market, exec, command, decision, system)
    #[arg(short, long, value_delimiter = ',')]
    pub kind: Vec<String>,
    /// Symbols, or #row
    #[arg(short, long, value_delimiter = ',')]
    pub instrument: Vec<String>,
    /// Our order id (k0000001a-000000ff) or the venue's order or execution id
    #[arg(long, value_name = "ID")]
    pub order: Option<String>,
    /// Strategy number
    #[arg(long, value_name = "N")]
    pub strategy: Option<u16>,
    /// This severe or more: debug (market, timers), info, notice (orders' lives, people), warning, error
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Severity::Debug)]
    pub severity: Severity,
    /// Records from this number on; -100 is the last hundred, 100:200 a range
    #[arg(long, value_name = "SEQ", allow_hyphen_values = true)]
    pub from: Option<String>,
    /// Records at or after this time (2026-11-22 17:00, 17:00, today, -5m, @unix), UTC
    #[arg(short = 'S', long, value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<String>,
    /// Records before this time
    #[arg(short = 'U', long, value_name = "TIME", allow_hyphen_values = true)]
    pub until: Option<String>,
    /// Go on where the last run with this file ended; the file keeps the place
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "since", "lines", "reverse"])]
    pub cursor_file: Option<PathBuf>,
    /// Newest first
    #[arg(short, long, conflicts_with = "follow")]
    pub reverse: bool,
    /// Times in this machine's zone: those shown in the forms for people, and those given
    #[arg(long)]
    pub local: bool,
    /// Lines (in the short form) that match this regular expression
    #[arg(short, long, value_name = "REGEX")]
    pub grep: Option<String>,
    /// Only these fields
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub fields: Vec<String>,
    /// How to show them
    #[arg(short, long, value_enum, default_value_t = Output::Short)]
    pub output: Output,
    /// Counts, bytes and rates by kind instead of records
    #[arg(long)]
    pub stats: bool,
    /// Colours
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
}

/// Forms of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// One line: number, time, kind, fields that are not zero
    Short,
    /// Columns under a header
    Table,
    /// One array
    Json,
    /// One object a line
    Jsonl,
    /// RFC 4180; with a single kind a column for each field
    Csv,
    /// Number, kind code, payload in hex
    Raw,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Shows them on standard output.
pub fn run(args: &Args) -> Result<()> {
    let stdout = io::stdout();
    let color = match args.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    let mut out = BufWriter::with_capacity(64 * 1024, stdout.lock());
    let shown = print(args, &mut out, color, crate::node::clock::system_wall()).and_then(|()| Ok(out.flush()?));
    match shown {
        Err(why) if is_closed_pipe(&why) => Ok(()),
        other => other.with_context(|| args.dir.display().to_string()),
    }
}

fn is_closed_pipe(why: &anyhow::Error) -> bool {
    why.downcast_ref::<io::Error>().is_some_and(|why| why.kind() == io::ErrorKind::BrokenPipe)
}

/// Writes what `args` ask for to `out`. `now` is what relative times are relative to.
#[allow(clippy::disallowed_methods, reason = "a terminal may wait; no agent lives on this thread")]
pub fn print(args: &Args, out: &mut impl Write, color: bool, now: Wall) -> Result<()> {
    let zone = if args.local { moment::here() } else { TimeZone::UTC };
    let wanted = Selection::new(args, now, &zone)?;
    let mut cursor = args.cursor_file.as_deref().map(Cursor::open).transpose()?;
    let (mut reader, until) = start(args, &wanted, &mut cursor)?;
    let mut symbols = learn(&args.dir)?;
    let mut printer = Printer::new(args.output, wanted.single_kind(), color, zone);
    let mut stats = Stats::default();
    let last = lines(args).filter(|_| !args.stats);
    let mut held: Option<VecDeque<String>> = (last.is_some() || args.reverse).then(VecDeque::new);
    if !args.stats {
        printer.begin(out)?;
    }
    loop {
        let Some(entry) = reader.poll()? else {
            if !args.follow {
                break;
            }
            for line in held.take().into_iter().flatten() {
                printer.line(out, &line)?;
            }
            out.flush()?;
            if let Some(cursor) = &mut cursor {
                cursor.keep()?;
            }
            std::thread::sleep(IDLE);
            continue;
        };
        if entry.seq > until || wanted.is_past(&entry) {
            break;
        }
        if let Some(cursor) = &mut cursor {
            cursor.move_to(&entry);
        }
        symbols.learn(&entry);
        let Some(mut shown) = wanted.of(&entry, &symbols) else { continue };
        if args.stats {
            stats.add(&entry);
            continue;
        }
        if !args.fields.is_empty() {
            shown.retain(|(name, _)| args.fields.iter().any(|wanted| wanted == name));
        }
        let line = printer.render(&entry, &shown, &symbols);
        match &mut held {
            Some(held) => {
                held.push_back(line);
                if last.is_some_and(|last| held.len() > last) {
                    held.pop_front();
                }
                ensure!(held.len() <= REVERSED_LINES, "more than {REVERSED_LINES} lines to turn round: add -n");
            }
            None => printer.line(out, &line)?,
        }
    }
    let mut held = held.unwrap_or_default();
    if args.reverse {
        held.make_contiguous().reverse();
    }
    for line in held {
        printer.line(out, &line)?;
    }
    if args.stats {
        stats.print(out, args.output)?
    } else {
        printer.end(out)?
    }
    if let Some(cursor) = &mut cursor {
        out.flush()?;
        cursor.keep()?;
    }
    Ok(())
}

/// How many lines at most. A cursor has its own beginning.
fn lines(args: &Args) -> Option<usize> {
    args.lines.or((args.follow && args.cursor_file.is_none()).then_some(FOLLOW_LINES))
}

/// The reader at the first record that can matter, and the last one that can.
fn start(args: &Args, wanted: &Selection, cursor: &mut Option<Cursor>) -> Result<(Reader, Seq)> {
    if let Some(cursor) = cursor {
        return Ok((cursor.reader(&args.dir)?, Seq(u64::MAX)));
    }
    let open = |seq| Reader::open_at(&args.dir, Seq(seq));
    let head = || -> Result<u64> { Ok(open(u64::MAX)?.next_seq().map_or(0, |next| next.0 - 1)) };
    let range = |text: &str| -> Option<(u64, u64)> {
        let (first, last) = text.split_once(':').unwrap_or((text, ""));
        let number = |text: &str, absent| if text.is_empty() { Some(absent) } else { text.parse().ok() };
        Some((number(first, 0)?, number(last, u64::MAX)?))
    };
    let (first, last) = match args.from.as_deref() {
        Some(text) if text.starts_with('-') => {
            let back: u64 = text[1..].parse().ok().with_context(|| format!("--from {text}: not a number"))?;
            ((head()? + 1).saturating_sub(back), u64::MAX)
        }
        Some(text) => range(text).with_context(|| format!("--from {text}: neither SEQ, -N nor A:B"))?,
        None => match (lines(args), wanted.since) {
            (Some(lines), _) if wanted.is_everything() => ((head()? + 1).saturating_sub(lines as u64), u64::MAX),
            (_, Some(since)) => return Ok((Reader::open_before(&args.dir, since)?, Seq(u64::MAX))),
            _ => (0, u64::MAX),
        },
    };
    Ok((open(first)?, Seq(last)))
}

/// The symbols in the first records, where every run of the core writes its instruments.
fn learn(dir: &Path) -> Result<Symbols> {
    let mut symbols = Symbols::default();
    let mut reader = Reader::open(dir)?;
    for _ in 0..SYMBOL_RECORDS {
        let Some(entry) = reader.poll()? else { break };
        symbols.learn(&entry);
    }
    Ok(symbols)
}

/// Which records are wanted.
#[derive(Debug)]
struct Selection {
    kinds: Vec<Kind>,
    instruments: Vec<String>,
    order: Option<String>,
    strategy: Option<u16>,
    severity: Severity,
    since: Option<Wall>,
    until: Option<Wall>,
    grep: Option<Regex>,
}

impl Selection {
    fn new(args: &Args, now: Wall, zone: &TimeZone) -> Result<Self> {
        let time = |text: &Option<String>, name| match text {
            Some(text) => {
                moment::parse_in(text, now, zone).map(Some).with_context(|| format!("--{name} {text}: not a time"))
            }
            None => Ok(None),
        };
        Ok(Self {
            kinds: kinds(&args.kind)?,
            instruments: args.instrument.clone(),
            order: args.order.clone(),
            strategy: args.strategy,
            severity: args.severity,
            since: time(&args.since, "since")?,
            until: time(&args.until, "until")?,
            grep: args.grep.as_deref().map(Regex::new).transpose().context("--grep")?,
        })
    }

    fn single_kind(&self) -> Option<Kind> {
        if let [kind] = self.kinds[..] { Some(kind) } else { None }
    }

    fn is_everything(&self) -> bool {
        let fields = self.instruments.is_empty() && self.order.is_none() && self.strategy.is_none();
        let times = self.since.is_none() && self.until.is_none();
        let severity = self.severity == Severity::Debug;
        self.kinds.is_empty() && fields && times && severity && self.grep.is_none()
    }

    fn is_past(&self, entry: &Entry<'_>) -> bool {
        self.until.is_some_and(|until| entry.wall >= until)
    }

    /// The fields of `entry` when it is wanted. Bytes nobody understands are shown as they are.
    fn of(&self, entry: &Entry<'_>, symbols: &Symbols) -> Option<Fields> {
        if self.since.is_some_and(|since| entry.wall < since)
            || !(self.kinds.is_empty() || entry.kind.is_some_and(|kind| self.kinds.contains(&kind)))
            || (self.severity > Severity::Debug && severity::of(entry) < self.severity)
        {
            return None;
        }
        let fields = fields(entry).unwrap_or_else(|| vec![("bytes", Value::Text(crate::fact::hex(entry.payload)))]);
        let any = |names: &[&str], text: &str| {
            fields.iter().any(|(name, value)| names.contains(name) && value.text(symbols) == text)
        };
        let instrument =
            self.instruments.is_empty() || self.instruments.iter().any(|symbol| any(&["instrument", "symbol"], symbol));
        let order = self.order.as_deref().is_none_or(|id| any(&["client", "venue", "exec"], id));
        let strategy = self.strategy.is_none_or(|number| any(&["strategy"], &number.to_string()));
        if !(instrument && order && strategy) {
            return None;
        }
        let matches = |regex: &Regex| regex.is_match(&show::short(entry, &fields, symbols, false, &TimeZone::UTC));
        if !self.grep.as_ref().is_none_or(matches) {
            return None;
        }
        Some(fields)
    }
}

/// The kinds these names stand for; none for no name.
pub(crate) fn kinds(names: &[String]) -> Result<Vec<Kind>> {
    let mut kinds = Vec::new();
    for name in names {
        let found = kinds_of(name);
        if found.is_empty() {
            bail!("--kind {name}: there is no such kind");
        }
        kinds.extend(found);
    }
    Ok(kinds)
}

/// The kinds a name stands for: one, or a group.
fn kinds_of(name: &str) -> Vec<Kind> {
    let group = match name.to_ascii_lowercase().as_str() {
        "market" => Some(1),
        "exec" => Some(2),
        "commands" => Some(3),
        "decision" => Some(4),
        "system" => Some(5),
        _ => None,
    };
    let named = |kind: &Kind| format!("{kind:?}").eq_ignore_ascii_case(name);
    let wanted = |kind: &Kind| named(kind) || group.is_some_and(|group| kind.code() / 100 == group);
    Kind::ALL.into_iter().filter(wanted).collect()
}

#[cfg(test)]
mod tests;

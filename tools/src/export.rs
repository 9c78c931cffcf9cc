//! `keel export`: the records of a journal as tables other programs read, one file for each kind.
//!
//! In: a directory, live or not, plain or compressed. Out: `fill.parquet`, `approved.parquet`, ... or the same as CSV;
//! every field of the kind is a column, after six that every record has. Never: a float, a number rounded, a file that is
//! half there (each gets its name when it is whole), an older export overwritten unasked.
//!
//! ```text
//!   seq  mono  wall  clock_error  kind  cause | the fields of the fact, in the order of its layout
//!
//!   count, stopwatch    UINT64              price, quantity, money, rate    DECIMAL(19,8): every value fits
//!   code, difference    INT64               moment                          TIMESTAMP in nanoseconds, or none
//!   word, id, symbol    STRING              levels                          LIST of px, qty
//!   yes or no           BOOLEAN             check of a decision             two columns: NAME and NAME_limit
//! ```
//!
//! A field that is called like one of the six has `fact_` before its name: `fact_seq` of a fill is the venue's number.
//! The columns come from `fact`, the one place that knows what facts hold: there is no second list.

mod csv;
#[cfg(feature = "parquet")]
mod parquet;

use crate::fact::{Fields, Symbols, Value, fields};
use crate::moment;
use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use keel_core::event::Kind;
use keel_journal::{Entry, Reader};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What to export.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Directory of the journal
    pub dir: PathBuf,
    /// Kinds (fill,approved,...) or groups (market, exec, command, decision, system) [default: all]
    #[arg(short, long, value_delimiter = ',')]
    pub kind: Vec<String>,
    /// Records at or after this time (2026-11-22 17:00, 17:00, today, -5m, @unix), UTC
    #[arg(short = 'S', long, value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<String>,
    /// Records before this time
    #[arg(short = 'U', long, value_name = "TIME", allow_hyphen_values = true)]
    pub until: Option<String>,
    /// Form of the files
    #[arg(short, long, value_enum, default_value_t = Format::Parquet)]
    pub format: Format,
    /// Directory the files go to; made when missing
    #[arg(short, long, value_name = "PATH")]
    pub out: PathBuf,
    /// Replace files of an older export
    #[arg(long)]
    pub force: bool,
}

/// Forms of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Apache Parquet, zstd inside
    Parquet,
    /// RFC 4180 with a header line
    Csv,
}

impl Format {
    const fn ending(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
        }
    }
}

/// One row: name and value of each column.
type Row = Vec<(String, Value)>;

/// What a table is written to.
trait Sheet {
    /// Takes in a row; all rows of a sheet have the same columns.
    fn add(&mut self, row: Row, symbols: &Symbols) -> Result<()>;
    /// Writes what is left, and waits until it is on the medium.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// A table being written under a name that is not its own yet.
struct Table {
    sheet: Box<dyn Sheet>,
    path: PathBuf,
    rows: u64,
}

/// What [`export`] wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Path and rows of each file, in the order of the kinds.
    pub files: Vec<(PathBuf, u64)>,
    /// Records of these kinds whose bytes no layout fits: they stand in no table.
    pub unreadable: u64,
}

/// Exports and says what on standard output.
pub fn run(args: &Args) -> Result<()> {
    let written = export(args, crate::node::clock::system_wall())?;
    let mut out = std::io::stdout().lock();
    for (path, rows) in &written.files {
        writeln!(out, "{} {rows} rows", path.display())?;
    }
    if written.files.is_empty() {
        writeln!(out, "no such records")?;
    }
    match written.unreadable {
        0 => Ok(()),
        n => bail!("{n} records fit no layout this version knows: they stand in no table"),
    }
}

/// Writes the files. `now` is what relative times are relative to.
pub fn export(args: &Args, now: keel_core::units::Wall) -> Result<Written> {
    let time = |text: &Option<String>, name| match text {
        Some(text) => moment::parse(text, now).map(Some).with_context(|| format!("--{name} {text}: not a time")),
        None => Ok(None),
    };
    let (since, until) = (time(&args.since, "since")?, time(&args.until, "until")?);
    let kinds = crate::tail::kinds(&args.kind)?;
    fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let mut tables: BTreeMap<Kind, Table> = BTreeMap::new();
    let mut symbols = Symbols::default();
    let mut unreadable = 0;
    let mut reader = Reader::open(&args.dir)?;
    while let Some(entry) = reader.poll()? {
        symbols.learn(&entry);
        if until.is_some_and(|until| entry.wall >= until) {
            break;
        }
        let wanted = entry.kind.is_none_or(|kind| kinds.is_empty() || kinds.contains(&kind));
        if since.is_some_and(|since| entry.wall < since) || !wanted {
            continue;
        }
        let Some((kind, facts)) = entry.kind.zip(fields(&entry)) else {
            unreadable += u64::from(entry.kind.is_some() || kinds.is_empty());
            continue;
        };
        let table = match tables.entry(kind) {
            std::collections::btree_map::Entry::Occupied(there) => there.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => place.insert(begin(args, kind)?),
        };
        let added = table.sheet.add(row(&entry, facts), &symbols);
        added.with_context(|| format!("record {} ({kind:?})", entry.seq.0))?;
        table.rows += 1;
    }
    let mut files = Vec::with_capacity(tables.len());
    for Table { sheet, path, rows } in tables.into_values() {
        sheet.finish().and_then(|()| Ok(fs::rename(unfinished(&path), &path)?)).with_context(|| told(&path))?;
        files.push((path, rows));
    }
    File::open(&args.out).and_then(|dir| dir.sync_all()).with_context(|| told(&args.out))?;
    Ok(Written { files, unreadable })
}

fn begin(args: &Args, kind: Kind) -> Result<Table> {
    let name = format!("{kind:?}").to_ascii_lowercase();
    let path = args.out.join(format!("{name}.{}", args.format.ending()));
    ensure!(args.force || !path.exists(), "{} is there already: --force replaces it", path.display());
    let file = File::create(unfinished(&path)).with_context(|| told(&path))?;
    let sheet: Box<dyn Sheet> = match args.format {
        Format::Csv => Box::new(csv::Csv::new(file)),
        #[cfg(feature = "parquet")]
        Format::Parquet => Box::new(parquet::Parquet::new(file, &name)),
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => bail!("this keel was built without parquet: --format csv"),
    };
    Ok(Table { sheet, path, rows: 0 })
}

fn told(path: &Path) -> String {
    path.display().to_string()
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

/// The six every record has, then its own.
fn row(entry: &Entry<'_>, facts: Fields) -> Row {
    let count = |n: u64| Value::Int(i128::from(n));
    let kind = entry.kind.map_or_else(String::new, |kind| format!("{kind:?}"));
    let head = [
        ("seq", count(entry.seq.0)),
        ("mono", count(entry.mono.nanos())),
        ("wall", Value::Time(entry.wall)),
        ("clock_error", count(entry.clock_error.into())),
        ("kind", Value::Text(kind)),
        ("cause", count(entry.cause.0)),
    ];
    let mut row: Row = Vec::with_capacity(head.len() + facts.len());
    row.extend(head.into_iter().map(|(name, value)| (name.to_owned(), value)));
    for (name, value) in facts {
        let name =
            if row[..6].iter().any(|(taken, _)| taken == name) { format!("fact_{name}") } else { name.to_owned() };
        match value {
            Value::Measure(value, limit) => {
                let limited = format!("{name}_limit");
                row.extend([(name, *value), (limited, *limit)]);
            }
            plain => row.push((name, plain)),
        }
    }
    row
}

#[cfg(test)]
mod tests;

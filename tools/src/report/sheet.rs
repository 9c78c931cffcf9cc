//! A report on its way to disk: rows go out as they come, pages are made at the end.
//!
//! ```text
//!   row --> r1-fills.csv            as it is
//!       --> r1-fills.rows (spool)   one JSON object a line; into r1.json at the end, then gone
//!       --> the first HTML_ROWS     kept for r1.html
//! ```
//!
//! In: rows in the order of their columns. Out: files, each under its own name only when it is whole, with SHA-256, size
//! and rows. Never: memory that grows with the journal, a row of another width than its table.

use super::Format;
use super::cell::{Cell, Column, Table};
use super::html;
use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Rows of a table shown on a page; all of them stand in the CSV and JSON files.
pub(super) const HTML_ROWS: usize = 400;
/// Reasons and notes kept of one report; further ones are counted.
const MAX_REASONS: usize = 50;

/// What a report is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spec {
    /// `r1`.
    pub code: &'static str,
    /// `trade-blotter`.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// What it is, in a sentence or two.
    pub about: &'static str,
    /// Version of its columns: any change of them counts it up.
    pub schema: u32,
    /// Only for those who hold the role: files of mode 0600.
    pub restricted: bool,
    /// Its tables.
    pub tables: &'static [Table],
}

/// Two totals that must be the same, each found by its own way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    /// What is compared, in words.
    pub what: String,
    /// One way, and its total.
    pub left: i128,
    /// The other.
    pub right: i128,
    /// Unit of both.
    pub unit: &'static str,
    /// The most they may differ: zero but where rounding is named.
    pub allowed: i128,
}

impl Check {
    pub(super) const fn difference(&self) -> i128 {
        self.left.saturating_sub(self.right)
    }

    pub(super) const fn holds(&self) -> bool {
        self.difference().unsigned_abs() <= self.allowed.unsigned_abs()
    }
}

/// A figure shown at the head of a page.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    pub label: String,
    pub value: Cell,
    pub unit: &'static str,
}

/// A file as it stands on disk.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub file: String,
    pub sha256: String,
    pub bytes: u64,
    pub rows: Option<u64>,
}

struct Body {
    table: Table,
    csv: Option<BufWriter<File>>,
    spool: Option<BufWriter<File>>,
    shown: Vec<Vec<Cell>>,
    rows: u64,
}

/// One report being written.
pub(super) struct Sheet {
    pub spec: Spec,
    pub checks: Vec<Check>,
    pub figures: Vec<Figure>,
    /// Plots as SVG, with their titles.
    pub plots: Vec<(String, String)>,
    pub notes: Vec<String>,
    reasons: BTreeSet<String>,
    more_reasons: u64,
    bodies: Vec<Body>,
    out: PathBuf,
    formats: Vec<Format>,
}

/// What stands at the head of every page and file.
#[derive(Clone, Debug)]
pub(super) struct Heading {
    pub build: &'static str,
    pub from: String,
    pub to: String,
    pub journals: Vec<Value>,
}

impl Sheet {
    pub(super) fn new(spec: Spec, out: &Path, formats: &[Format]) -> Result<Self> {
        let mut sheet = Self {
            spec,
            checks: Vec::new(),
            figures: Vec::new(),
            plots: Vec::new(),
            notes: Vec::new(),
            reasons: BTreeSet::new(),
            more_reasons: 0,
            bodies: Vec::new(),
            out: out.to_owned(),
            formats: formats.to_vec(),
        };
        for table in spec.tables {
            let csv = formats.contains(&Format::Csv).then(|| sheet.create(&sheet.csv_name(table))).transpose()?;
            let spool = formats.contains(&Format::Json).then(|| sheet.create(&sheet.spool_name(table))).transpose()?;
            let mut body = Body { table: *table, csv, spool, shown: Vec::new(), rows: 0 };
            if let Some(csv) = &mut body.csv {
                let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
                write!(csv, "{}\r\n", names.join(","))?;
            }
            sheet.bodies.push(body);
        }
        Ok(sheet)
    }

    fn csv_name(&self, table: &Table) -> String {
        format!("{}-{}.csv", self.spec.code, table.name)
    }

    fn spool_name(&self, table: &Table) -> String {
        format!("{}-{}.rows", self.spec.code, table.name)
    }

    fn create(&self, name: &str) -> Result<BufWriter<File>> {
        let path = unfinished(&self.out, name);
        // one that was left half done may have another mode
        let _ = fs::remove_file(&path);
        let mode = if self.spec.restricted { 0o600 } else { 0o644 };
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        Ok(BufWriter::new(file.with_context(|| path.display().to_string())?))
    }

    /// One row of the table with this index.
    pub(super) fn row(&mut self, table: usize, cells: Vec<Cell>) -> Result<()> {
        let Some(body) = self.bodies.get_mut(table) else { return Ok(()) };
        ensure!(cells.len() == body.table.columns.len(), "a row of {} has another width", body.table.name);
        body.rows += 1;
        if let Some(csv) = &mut body.csv {
            let fields: Vec<String> = cells.iter().map(Cell::csv).collect();
            write!(csv, "{}\r\n", fields.join(","))?;
        }
        if let Some(spool) = &mut body.spool {
            let row: Map<String, Value> =
                body.table.columns.iter().zip(&cells).map(|(c, cell)| (c.name.to_owned(), cell.json())).collect();
            let comma = if body.rows == 1 { "" } else { ",\n" };
            write!(spool, "{comma}{}", Value::Object(row))?;
        }
        if body.shown.len() < HTML_ROWS {
            body.shown.push(cells);
        }
        Ok(())
    }

    /// Rows of a table so far.
    pub(super) fn rows(&self, table: usize) -> u64 {
        self.bodies.get(table).map_or(0, |body| body.rows)
    }

    /// Why it is not whole. Said once, however often it is found.
    pub(super) fn incomplete(&mut self, why: impl Into<String>) {
        if self.reasons.len() < MAX_REASONS {
            self.reasons.insert(why.into());
        } else {
            self.more_reasons += 1;
        }
    }

    pub(super) fn check(
        &mut self,
        what: impl Into<String>,
        left: i128,
        right: i128,
        unit: &'static str,
        allowed: i128,
    ) {
        self.checks.push(Check { what: what.into(), left, right, unit, allowed });
    }

    pub(super) fn figure(&mut self, label: impl Into<String>, value: impl Into<Cell>, unit: &'static str) {
        self.figures.push(Figure { label: label.into(), value: value.into(), unit });
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if self.notes.len() < MAX_REASONS && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Everything that keeps it from being whole: missing input, and totals that do not reconcile.
    pub(super) fn reasons(&self) -> Vec<String> {
        let torn = self.checks.iter().filter(|check| !check.holds());
        let torn = torn.map(|check| {
            let by = super::cell::decimal(check.difference());
            format!("totals do not reconcile: {}: difference {by} {}", check.what, check.unit)
        });
        let more = (self.more_reasons > 0).then(|| format!("and {} further reasons", self.more_reasons));
        self.reasons.iter().cloned().chain(torn).chain(more).collect()
    }

    /// Writes what is left and gives every file its name.
    pub(super) fn finish(mut self, heading: &Heading) -> Result<(Spec, Vec<String>, Vec<Written>)> {
        let mut files = Vec::new();
        let mut spools = Vec::new();
        for at in 0..self.bodies.len() {
            let (table, rows) = (self.bodies[at].table, self.bodies[at].rows);
            if let Some(csv) = self.bodies[at].csv.take() {
                files.push(self.publish(&self.csv_name(&table), csv, Some(rows))?);
            }
            if let Some(mut spool) = self.bodies[at].spool.take() {
                spool.flush()?;
                spools.push((table, unfinished(&self.out, &self.spool_name(&table))));
            }
        }
        let reasons = self.reasons();
        if self.formats.contains(&Format::Json) {
            let name = format!("{}.json", self.spec.code);
            let mut json = self.create(&name)?;
            self.write_json(&mut json, heading, &reasons, &spools)?;
            files.push(self.publish(&name, json, None)?);
            for (_, spool) in spools {
                fs::remove_file(spool)?;
            }
        }
        if self.formats.contains(&Format::Html) {
            let name = format!("{}.html", self.spec.code);
            let mut page = self.create(&name)?;
            let tables: Vec<_> =
                self.bodies.iter().map(|body| (body.table, body.shown.as_slice(), body.rows)).collect();
            let csv = self.formats.contains(&Format::Csv);
            page.write_all(html::page(&self, heading, &reasons, &tables, csv).as_bytes())?;
            files.push(self.publish(&name, page, None)?);
        }
        Ok((self.spec, reasons, files))
    }

    fn publish(&self, name: &str, writer: BufWriter<File>, rows: Option<u64>) -> Result<Written> {
        let file = writer.into_inner().with_context(|| format!("writing {name}"))?;
        file.sync_all()?;
        let path = self.out.join(name);
        fs::rename(unfinished(&self.out, name), &path).with_context(|| path.display().to_string())?;
        let (sha256, bytes) = digest(&path)?;
        Ok(Written { file: name.to_owned(), sha256, bytes, rows })
    }

    fn write_json(
        &self,
        out: &mut BufWriter<File>,
        heading: &Heading,
        reasons: &[String],
        spools: &[(Table, PathBuf)],
    ) -> Result<()> {
        let head = self.head_json(heading, reasons);
        writeln!(out, "{{")?;
        for (name, value) in &head {
            writeln!(out, "{}: {value},", json!(name))?;
        }
        write!(out, "\"tables\": {{")?;
        for (at, (table, spool)) in spools.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let columns: Vec<Value> = table.columns.iter().map(schema).collect();
            let name = json!(table.name);
            write!(
                out,
                "{comma}\n{name}: {{\"title\": {}, \"columns\": {},\n\"rows\": [\n",
                json!(table.title),
                json!(columns)
            )?;
            let mut rows = File::open(spool).with_context(|| spool.display().to_string())?;
            std::io::copy(&mut rows, out)?;
            write!(out, "\n]}}")?;
        }
        Ok(write!(out, "\n}}\n}}\n")?)
    }

    fn head_json(&self, heading: &Heading, reasons: &[String]) -> Vec<(&'static str, Value)> {
        let checks: Vec<Value> = self.checks.iter().map(|check| json!({
            "what": check.what, "left": super::cell::decimal(check.left), "right": super::cell::decimal(check.right),
            "difference": super::cell::decimal(check.difference()), "allowed": super::cell::decimal(check.allowed),
            "unit": check.unit, "holds": check.holds(),
        })).collect();
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|figure| json!({ "label": figure.label, "value": figure.value.json(), "unit": figure.unit }))
            .collect();
        vec![
            ("report", json!(self.spec.code)),
            ("name", json!(self.spec.name)),
            ("title", json!(self.spec.title)),
            ("about", json!(self.spec.about)),
            ("schema", json!(self.spec.schema)),
            ("build", json!(heading.build)),
            ("from", json!(heading.from)),
            ("to", json!(heading.to)),
            ("status", json!(if reasons.is_empty() { "complete" } else { "INCOMPLETE" })),
            ("incomplete", json!(reasons)),
            ("journals", json!(heading.journals)),
            ("figures", json!(figures)),
            ("checks", json!(checks)),
            ("notes", json!(self.notes)),
        ]
    }
}

fn schema(column: &Column) -> Value {
    json!({ "name": column.name, "type": column.sort.name(), "unit": column.unit, "meaning": column.meaning })
}

fn unfinished(out: &Path, name: &str) -> PathBuf {
    out.join(format!("{name}.tmp"))
}

/// SHA-256 and size of a file.
pub(super) fn digest(path: &Path) -> Result<(String, u64)> {
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    let (mut hasher, mut bytes, mut buffer) = (Sha256::new(), 0u64, [0u8; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((crate::fact::hex(&hasher.finalize()), bytes)),
            n => {
                hasher.update(&buffer[..n]);
                bytes += n as u64;
            }
        }
    }
}

//! Is everything there, and is it what the journal says?
//!
//! In: a journal, a database it was shipped to. Out: counts, and every row that is missing, changed or too many; what is
//! missing is put back. Never: a row taken on trust. The server hashes whole rows, every column of them, range by range;
//! the journal is read anew and hashed in the same form. Only hashes cross the wire, until one differs.
//!
//! ```text
//!   server   sha256(record_send(row) ...) ordered by seq, per table and range of 8192 records
//!   journal  the same bytes, from the record alone
//! ```

use super::batch::{Batch, Refused};
use super::copy::Copier;
use super::fault::Fault;
use super::postgres::{Session, runtime};
use super::source::{Agreement, Source};
use super::table::{MARKET, SPAN, Table, tables};
use super::wire::{Type, composite, day, rows};
use anyhow::{Result, bail, ensure};
use keel_journal::Damage;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tokio::runtime::Runtime;

/// Records whose rows share a hash.
const RANGE: u64 = 8192;
/// Records compared between two questions to the server.
const STRETCH: u64 = 64 * RANGE;
/// Rows named one by one; more are counted.
const NAMED: usize = 20;

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// First record compared.
    pub first: u64,
    /// Last record compared.
    pub last: u64,
    /// Rows that should be there.
    pub rows: u64,
    /// Ranges whose hashes were compared.
    pub ranges: u64,
    /// Rows that were not there.
    pub missing: u64,
    /// Of these, put back.
    pub repaired: u64,
    /// Rows that are not what the journal says.
    pub changed: u64,
    /// Rows that nothing in the journal explains.
    pub extra: u64,
    /// Some of them by name.
    pub named: Vec<String>,
}

impl Findings {
    fn name(&mut self, what: &str, table: &Table, key: Key) {
        if self.named.len() < NAMED {
            self.named.push(format!("keel.{} record {}: {what}", table.name, key.seq));
        }
    }

    /// Nothing is wrong, or all that was is put right.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.changed == 0 && self.extra == 0 && self.missing == self.repaired
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    seq: u64,
    instrument: i32,
}

impl Key {
    /// Of a row as it is shipped: count 2, instance 8, day 8, seq 12, instrument 8.
    fn of(row: &[u8], table: usize) -> Self {
        let seq = row.get(22..30).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
        let instrument = row.get(34..38).and_then(|bytes| bytes.try_into().ok()).map_or(0, i32::from_be_bytes);
        Self { seq, instrument: if table == MARKET { instrument } else { 0 } }
    }
}

#[derive(Clone, Debug, Default)]
struct Sum {
    rows: u64,
    hash: Sha256,
}

/// A stretch of the journal, made of whole spans.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    first: u64,
    last: u64,
    days: (i64, i64),
}

struct Check<'a> {
    runtime: &'a Runtime,
    session: Session,
    dir: &'a Path,
    /// Last records of the spans, ascending: the ones the database has, and one where it has none.
    ends: Vec<u64>,
    /// What stands in the quarantine, with its reason.
    refused: Refused,
    findings: Findings,
    totals: Vec<u64>,
}

/// Compares, repairs, reports on standard output; anything that is not right in the end is an error.
pub fn run(copier: &Copier, json: bool) -> Result<()> {
    let runtime = runtime()?;
    let findings = compare(copier, &runtime)?;
    let Findings { first, last, rows, ranges, missing, repaired, changed, extra, .. } = findings;
    if json {
        let told = json!({ "store": "postgres", "first": first, "last": last, "rows": rows, "ranges": ranges,
            "missing": missing, "repaired": repaired, "changed": changed, "extra": extra, "named": findings.named,
            "right": findings.is_right() });
        println!("{told}");
    } else {
        for line in &findings.named {
            println!("{line}");
        }
        println!(
            "postgres: records {first} to {last}, {rows} rows, {ranges} hashes compared: {missing} missing, {repaired} put \
             back, {changed} changed, {extra} too many"
        );
    }
    ensure!(findings.is_right(), "postgres: what stands there is not what the journal says");
    Ok(())
}

fn compare(copier: &Copier, runtime: &Runtime) -> Result<Findings> {
    let session = runtime.block_on(Session::open(&copier.address, &copier.identity))?;
    let cursor = runtime.block_on(session.cursor())?;
    match Source::agreement(&copier.dir, &cursor)? {
        Agreement::Same | Agreement::Gone(_) => {}
        Agreement::Other => bail!("record {} there is another one than in this journal", cursor.seq),
        Agreement::Ahead => bail!("record {} is there, and this journal ends before it", cursor.seq),
    }
    let mut check = Check {
        runtime,
        session,
        dir: &copier.dir,
        ends: Vec::new(),
        refused: Refused::new(),
        findings: Findings::default(),
        totals: vec![0; tables().len()],
    };
    check.learn(cursor.seq)?;
    check.walk()?;
    check.count()?;
    Ok(check.findings)
}

impl Check<'_> {
    /// The boundaries of the spans and the quarantine, as the database has them.
    fn learn(&mut self, cursor: u64) -> Result<()> {
        let oldest = Source::after(self.dir, 0)?.peek()?.unwrap_or(u64::MAX);
        let (instance, last) = (self.session.instance, cursor.cast_signed());
        let spans = "SELECT first_seq, seq FROM keel.span WHERE instance = $1 AND seq <= $2 ORDER BY seq";
        let spans = self.runtime.block_on(self.session.query(spans, &[&instance, &last]))?;
        for row in &spans {
            let [first, end] = [0, 1].map(|at| row.get::<_, i64>(at).cast_unsigned());
            // where a span is missing, the next one says where it ended
            let before = self.ends.last().copied().unwrap_or(0);
            if before + 1 < first && first <= end && (before > 0 || oldest < first) {
                self.ends.push(first - 1);
            }
            self.ends.push(end);
        }
        if self.ends.last() != Some(&cursor) && cursor > 0 {
            self.ends.push(cursor);
        }
        let refused = "SELECT seq, reason FROM keel.quarantine WHERE instance = $1 AND seq <= $2";
        let refused = self.runtime.block_on(self.session.query(refused, &[&instance, &last]))?;
        self.refused = refused.iter().map(|row| (row.get::<_, i64>(0).cast_unsigned(), row.get(1))).collect();
        Ok(())
    }

    fn walk(&mut self) -> Result<()> {
        let ends = std::mem::take(&mut self.ends);
        let mut source = Source::after(self.dir, 0)?;
        let Some(oldest) = source.peek()? else { return Ok(()) };
        // a span that began before the oldest record cannot be hashed again
        let from = if oldest == 1 { 0 } else { ends.partition_point(|end| *end < oldest) + 1 };
        let mut spans = ends.get(from..).unwrap_or_default().iter().copied().peekable();
        let mut next = if from == 0 { 1 } else { ends.get(from - 1).map_or(u64::MAX, |end| end + 1) };
        self.findings.first = next;
        source = Source::after(self.dir, next - 1)?;
        while spans.peek().is_some() {
            let mut sums: BTreeMap<(usize, u64), Sum> = BTreeMap::new();
            let mut stretch = Stretch { first: next, last: next, days: (i64::MAX, 0) };
            while let Some(end) = spans.next_if(|end| *end < stretch.first + STRETCH || next == stretch.first) {
                let batch = self.span(&mut source, end)?;
                stretch.days.0 = stretch.days.0.min(day(batch.first.wall));
                stretch.days.1 = stretch.days.1.max(day(batch.last.wall));
                each_row(&batch, |table, row, composite| {
                    let sum = sums.entry((table, Key::of(row, table).seq / RANGE)).or_default();
                    sum.rows += 1;
                    sum.hash.update(composite);
                    self.totals[table] += 1;
                });
                (stretch.last, next) = (end, end + 1);
            }
            self.findings.last = stretch.last;
            self.settle(stretch, &sums, &ends)?;
        }
        Ok(())
    }

    /// One span, made anew.
    fn span(&self, source: &mut Source, end: u64) -> Result<Batch, Damage> {
        let mut batch = Batch::new(self.session.instance, 0);
        while batch.last.seq < end {
            let Some(entry) = source.poll()? else { break };
            let refused = self.refused.get(&entry.seq.0).map(String::as_str);
            batch.take(&entry, refused);
        }
        batch.close();
        Ok(batch)
    }

    /// Asks the server for its hashes of a stretch, and looks closer where they differ.
    fn settle(&mut self, stretch: Stretch, sums: &BTreeMap<(usize, u64), Sum>, ends: &[u64]) -> Result<()> {
        let mut suspect: BTreeSet<(usize, u64)> = BTreeSet::new();
        for (at, table) in tables().iter().enumerate() {
            let theirs = self.runtime.block_on(self.sums(at, table, stretch))?;
            let ours = sums.range((at, 0)..(at + 1, 0)).map(|((_, range), sum)| (*range, sum));
            let ours: BTreeMap<u64, (u64, Vec<u8>)> =
                ours.map(|(range, sum)| (range, (sum.rows, sum.hash.clone().finalize().to_vec()))).collect();
            self.findings.rows += ours.values().map(|(rows, _)| rows).sum::<u64>();
            self.findings.ranges += ours.len() as u64;
            let ranges: BTreeSet<u64> = ours.keys().chain(theirs.keys()).copied().collect();
            suspect
                .extend(ranges.iter().filter(|range| ours.get(range) != theirs.get(range)).map(|range| (at, *range)));
        }
        if suspect.is_empty() { Ok(()) } else { self.look_closer(stretch, &suspect, ends) }
    }

    async fn sums(&self, at: usize, table: &Table, stretch: Stretch) -> Result<BTreeMap<u64, (u64, Vec<u8>)>, Fault> {
        let text = format!(
            "SELECT seq / {RANGE}, count(*), sha256(string_agg(record_send(t), ''::bytea ORDER BY {})) FROM keel.{} t
             WHERE instance = $1 AND seq BETWEEN $2 AND $3 AND {DAYS} GROUP BY 1",
            order(at),
            table.name
        );
        let rows = self.ask(&text, stretch).await?;
        let sum = |row: &tokio_postgres::Row| (row.get::<_, i64>(1).cast_unsigned(), row.get(2));
        Ok(rows.iter().map(|row| (row.get::<_, i64>(0).cast_unsigned(), sum(row))).collect())
    }

    async fn ask(&self, text: &str, stretch: Stretch) -> Result<Vec<tokio_postgres::Row>, Fault> {
        let day = |day: i64| i32::try_from(day).unwrap_or(i32::MAX);
        let (from, to) = (stretch.first.cast_signed(), stretch.last.cast_signed());
        let (days_from, days_to) = (day(stretch.days.0), day(stretch.days.1));
        self.session.query(text, &[&self.session.instance, &from, &to, &days_from, &days_to]).await
    }

    /// Row by row where hashes differ: names what is wrong and puts back what is missing.
    fn look_closer(&mut self, stretch: Stretch, suspect: &BTreeSet<(usize, u64)>, ends: &[u64]) -> Result<()> {
        let mut theirs: BTreeMap<(usize, Key), Vec<u8>> = BTreeMap::new();
        for (at, range) in suspect {
            let table = &tables()[*at];
            let instrument = if *at == MARKET { "instrument" } else { "0" };
            let text = format!(
                "SELECT seq, {instrument}, sha256(record_send(t)) FROM keel.{} t
                 WHERE instance = $1 AND seq BETWEEN $2 AND $3 AND {DAYS}",
                table.name
            );
            let (first, last) = (stretch.first.max(range * RANGE), stretch.last.min(range * RANGE + RANGE - 1));
            let rows = self.runtime.block_on(self.ask(&text, Stretch { first, last, ..stretch }))?;
            for row in rows {
                let key = Key { seq: row.get::<_, i64>(0).cast_unsigned(), instrument: row.get(1) };
                theirs.insert((*at, key), row.get(2));
            }
        }
        let mut source = Source::after(self.dir, stretch.first - 1)?;
        let within = ends.iter().filter(|end| (stretch.first..=stretch.last).contains(end));
        for end in within {
            let batch = self.span(&mut source, *end)?;
            let mut repair = Batch::new(self.session.instance, 0);
            let (mut missing, mut changed) = (Vec::new(), Vec::new());
            each_row(&batch, |table, row, composite| {
                let key = Key::of(row, table);
                if !suspect.contains(&(table, key.seq / RANGE)) {
                    return;
                }
                match theirs.remove(&(table, key)) {
                    Some(hash) if hash == Sha256::digest(composite).as_slice() => {}
                    Some(_) => changed.push((table, key)),
                    None => {
                        repair.buffers[table].extend_from_slice(row);
                        missing.push((table, key));
                    }
                }
            });
            repair.days = batch.days.iter().filter(|(table, _)| !repair.buffers[*table].is_empty()).copied().collect();
            self.findings.changed += changed.len() as u64;
            changed.iter().for_each(|(table, key)| self.findings.name("changed", &tables()[*table], *key));
            missing.iter().for_each(|(table, key)| self.findings.name("was missing", &tables()[*table], *key));
            if !missing.is_empty() {
                self.findings.missing += missing.len() as u64;
                self.runtime.block_on(self.session.repair(repair))?;
                self.findings.repaired += missing.len() as u64;
            }
        }
        self.findings.extra += theirs.len() as u64;
        theirs.keys().for_each(|(table, key)| self.findings.name("nothing explains it", &tables()[*table], *key));
        Ok(())
    }

    /// Rows outside the days their records are of are seen by counting alone.
    fn count(&mut self) -> Result<()> {
        if self.findings.last == 0 {
            return Ok(());
        }
        let (first, last) = (self.findings.first.cast_signed(), self.findings.last.cast_signed());
        for (at, table) in tables().iter().enumerate() {
            let text =
                format!("SELECT count(*) FROM keel.{} WHERE instance = $1 AND seq BETWEEN $2 AND $3", table.name);
            let rows = self.runtime.block_on(self.session.query(&text, &[&self.session.instance, &first, &last]))?;
            let have = rows.first().map_or(0, |row| row.get::<_, i64>(0).cast_unsigned());
            let known = self.totals[at] + self.findings.extra;
            if have > known {
                self.findings.extra += have - known;
                self.findings.named.push(format!(
                    "keel.{}: {} rows under a day that is not theirs",
                    table.name,
                    have - known
                ));
            }
        }
        Ok(())
    }
}

/// Keeps the server from looking into partitions of other days.
const DAYS: &str = "day BETWEEN DATE '1970-01-01' + $4::integer AND DATE '1970-01-01' + $5::integer";

fn order(table: usize) -> &'static str {
    if table == MARKET { "seq, instrument" } else { "seq" }
}

/// Every row of a batch, as it is shipped and as the server hashes it.
fn each_row(batch: &Batch, mut each: impl FnMut(usize, &[u8], &[u8])) {
    let mut bytes = Vec::with_capacity(1024);
    debug_assert!(SPAN < tables().len());
    for (at, buffer) in batch.buffers.iter().enumerate() {
        let types: Vec<Type> = tables()[at].columns.iter().map(|column| column.kind).collect();
        for row in rows(buffer) {
            bytes.clear();
            composite(row, types.iter().copied(), &mut bytes);
            each(at, row, &bytes);
        }
    }
}

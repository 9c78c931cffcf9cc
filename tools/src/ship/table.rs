//! Which record goes to which table, and the columns of each: derived from the table of fields in [`crate::fact`], so
//! that a screen, a file and the database speak of the same thing by the same name.
//!
//! In: a kind, an entry. Out: a row, or the reason there is none. Never: state. A row depends on its record alone; what
//! was shipped can be made again, and compared, by anyone who holds the journal.
//!
//! What is shipped as rows is what an operator must account for: every decision, order, fill, position, balance,
//! command, difference, run and state of a link or a book. The market's ticks are not: the journal is their record, they
//! are a hundred times the rest, and the venue publishes them. They are shipped as a summary per instrument (`market`)
//! and as a hash over every record (`span`), which pins each of them all the same.

use super::wire::{Row, Type, day};
use crate::fact::{Fields, Value, fields};
use keel_core::event::{
    Ack, Bar, Carried, Command, Difference, Document, DocumentKind, Fill, Flag, Flow, Health, Holding, Kind, Link,
    NotSized, OrderUpdate, Reconciliation, Record, Resumed, Seen, Sent, Standing, Start, Stop, VenuePosition,
    VenueStatus, Wallet, Worth,
};
use keel_core::ids::{InstrumentId, Seq};
use keel_core::instrument::Instrument;
use keel_core::units::{Notional, Px, Qty, Wall};
use keel_journal::Entry;
use keel_journal::history::{Hash, leaf};
use keel_risk::decision::Decision;
use keel_risk::notice::{Answer, Fortune, Trip, Unwind};
use std::fmt::Write;
use std::sync::OnceLock;
use zerocopy::IntoBytes;

/// Version of the schema this program writes: the number of the newest file in `deploy/postgres`.
pub const SCHEMA: i32 = 1;

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: Type,
    /// May it be NULL?
    pub null: bool,
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name in the schema `keel`.
    pub name: &'static str,
    /// What it holds.
    pub about: &'static str,
    /// Kinds of records that go there.
    pub kinds: &'static [Kind],
    /// All of its columns, in order.
    pub columns: Vec<Column>,
}

/// The columns before a fact's own, in every table of records.
const COMMON: [(&str, Type, bool); 9] = [
    ("instance", Type::Int4, false),
    ("day", Type::Date, false),
    ("seq", Type::Int8, false),
    ("wall_ns", Type::Int8, false),
    ("mono_ns", Type::Int8, false),
    ("clock_error_ns", Type::Int8, false),
    ("kind", Type::Int2, false),
    ("cause", Type::Int8, true),
    ("hash", Type::Bytes, false),
];

/// Fields that use all 64 bits.
const WHOLE: [&str; 1] = ["seed"];

/// Index of the table for records that no other table can take.
pub const QUARANTINE: usize = 0;
/// Index of the table of hashes.
pub const SPAN: usize = 1;
/// Index of the table of market summaries.
pub const MARKET: usize = 2;

/// Kinds that are not shipped as rows; see the head of this file.
pub const SUMMARISED: [Kind; 5] = [Kind::Book, Kind::Trade, Kind::Ticker, Kind::Liquidation, Kind::PriceLimit];
/// The engine's own wake-ups, and the seal of a segment: pinned by `span` alone.
pub const PINNED: [Kind; 2] = [Kind::Timer, Kind::Seal];
/// Kinds of the compliance journal, which is never shipped from here.
pub const CONFIDENTIAL: [Kind; 2] = [Kind::Alert, Kind::CaseAct];

/// Every table, in the order they are written in.
#[must_use]
pub fn tables() -> &'static [Table] {
    static TABLES: OnceLock<Vec<Table>> = OnceLock::new();
    TABLES.get_or_init(build)
}

/// The table of a kind; `None` when records of this kind are not shipped as rows.
#[must_use]
pub fn table_of(kind: Option<Kind>) -> Option<usize> {
    static PLACES: OnceLock<Vec<(Kind, Option<usize>)>> = OnceLock::new();
    let places = PLACES.get_or_init(|| {
        let place = |kind: &Kind| tables().iter().position(|table| table.kinds.contains(kind));
        let kept = |kind: &Kind| SUMMARISED.contains(kind) || PINNED.contains(kind) || CONFIDENTIAL.contains(kind);
        // a kind this file does not know yet is never dropped: its bytes go where the unreadable ones go
        Kind::ALL.iter().map(|kind| (*kind, if kept(kind) { None } else { place(kind).or(Some(QUARANTINE)) })).collect()
    });
    let Some(kind) = kind else { return Some(QUARANTINE) };
    places.iter().find(|(each, _)| *each == kind).map_or(Some(QUARANTINE), |(_, at)| *at)
}

fn build() -> Vec<Table> {
    let own = |names: &[(&str, Type, bool)]| {
        names.iter().map(|(name, kind, null)| Column { name: (*name).to_owned(), kind: *kind, null: *null }).collect()
    };
    let common = || own(&COMMON);
    let mut quarantine: Vec<Column> = common();
    quarantine.extend(own(&[("reason", Type::Text, false), ("bytes", Type::Bytes, false)]));
    let place = [COMMON[0], COMMON[1], COMMON[2]];
    let with = |more: &[(&str, Type, bool)]| own(&[&place[..], more].concat());
    let span = with(&[
        ("first_seq", Type::Int8, false),
        ("first_wall_ns", Type::Int8, false),
        ("last_wall_ns", Type::Int8, false),
        ("records", Type::Int8, false),
        ("rows", Type::Int8, false),
        ("digest", Type::Bytes, false),
    ]);
    let money = |name| (name, Type::Decimal, true);
    let count = |name| (name, Type::Int8, false);
    let market = with(&[
        ("instrument", Type::Int4, false),
        ("first_seq", Type::Int8, false),
        count("books"),
        count("trades"),
        count("tickers"),
        count("liquidations"),
        money("volume"),
        money("open"),
        money("high"),
        money("low"),
        money("close"),
        money("mark"),
        money("index"),
        money("funding_rate"),
        money("open_interest"),
    ]);
    let mut tables = vec![
        Table {
            name: "quarantine",
            about: "Records no other table can take, byte for byte, with the reason",
            kinds: &[],
            columns: quarantine,
        },
        Table {
            name: "span",
            about: "What one transaction brought: a hash over every record from first_seq to seq, shipped as a row or not",
            kinds: &[],
            columns: span,
        },
        Table {
            name: "market",
            about: "What the market did within a span, per instrument: the ticks themselves stay in the journal",
            kinds: &[],
            columns: market,
        },
    ];
    for (name, about, kinds, example) in kinds() {
        let entry = Entry {
            seq: Seq(1),
            code: kinds[0].code(),
            kind: Some(kinds[0]),
            cause: Seq::NONE,
            mono: Default::default(),
            wall: Wall::from_nanos(1),
            clock_error: 0,
            payload: &example,
            bytes: &[],
        };
        let mut columns: Vec<Column> = common();
        for (field, value) in fields(&entry).unwrap_or_default() {
            push_columns(field, &value, &mut columns);
        }
        tables.push(Table { name, about, kinds, columns });
    }
    tables
}

fn push_columns(field: &str, value: &Value, columns: &mut Vec<Column>) {
    if let Value::Measure(value, limit) = value {
        let stem = snake(field);
        push_columns(&format!("{stem}_value"), value, columns);
        push_columns(&format!("{stem}_limit"), limit, columns);
        return;
    }
    let taken = COMMON.iter().any(|(name, ..)| *name == field);
    let name = if taken { format!("fact_{field}") } else { field.to_owned() };
    let (kind, null) = match value {
        Value::Text(_) => (Type::Text, true),
        Value::Int(_) if WHOLE.contains(&field) => (Type::Whole, false),
        Value::Int(_) | Value::Signed(_) => (Type::Int8, false),
        Value::Decimal(_) => (Type::Decimal, false),
        Value::Flag(_) => (Type::Bool, false),
        Value::Time(_) => (Type::Int8, true),
        Value::Instrument(_) => (Type::Int4, false),
        Value::Levels(_) | Value::Measure(..) => return,
    };
    columns.push(Column { name, kind, null });
}

/// `ValueAtRisk` as `value_at_risk`.
fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

type Spec = (&'static str, &'static str, &'static [Kind], Vec<u8>);

/// The tables of records, each with an example to read its columns from.
fn kinds() -> Vec<Spec> {
    fn spec(name: &'static str, about: &'static str, kinds: &'static [Kind], example: &(impl Record + ?Sized)) -> Spec {
        (name, about, kinds, example.bytes().to_vec())
    }
    let (px, wall, no) = (Px::ZERO, Wall::from_nanos(1), Flag::No);
    let bar = Bar {
        origin: Default::default(),
        start: wall,
        end: wall,
        open: px,
        high: px,
        low: px,
        close: px,
        volume: Qty::ZERO,
        turnover: Notional::ZERO,
        instrument: InstrumentId(1),
        minutes: 1,
        confirmed: no,
        pad: [0; 3],
    };
    let decision = Decision::default().as_bytes().to_vec();
    vec![
        spec("run_start", "First record of a run of the core", &[Kind::Start], &Start::default()),
        spec("run_stop", "Last record of a run that ended in good order", &[Kind::Stop], &Stop::default()),
        spec("instrument", "The instrument table of a run", &[Kind::Instrument], &Instrument::default()),
        spec(
            "command",
            "What people, alerts and timers asked, with their names",
            &[Kind::Command],
            &Command::default(),
        ),
        (
            "decision",
            "Every order the gate allowed (kind 401) or refused (402): each value beside its limit",
            &[Kind::Approved, Kind::Refused],
            decision,
        ),
        spec("not_sized", "Wishes that sizing turned into nothing", &[Kind::NotSized], &NotSized::default()),
        spec("sent", "What became of a recorded order on its way out", &[Kind::Sent], &Sent::default()),
        spec("ack", "The venue's first answer to a request", &[Kind::Ack], &Ack::default()),
        spec("order_update", "The venue's view of an order", &[Kind::OrderUpdate], &OrderUpdate::default()),
        spec("fill", "Executions", &[Kind::Fill], &Fill::default()),
        spec("venue_position", "The venue's view of a position", &[Kind::VenuePosition], &VenuePosition::default()),
        spec("wallet", "The account's money", &[Kind::Wallet], &Wallet::default()),
        spec("link", "Conversations that changed state", &[Kind::Link], &Link::default()),
        spec(
            "reconciliation",
            "Bounds of a comparison with the venue",
            &[Kind::Reconciliation],
            &Reconciliation::default(),
        ),
        spec("difference", "Where our account and the venue's came apart", &[Kind::Difference], &Difference::default()),
        spec("flow", "Money through the door and the transaction log", &[Kind::Flow], &Flow::default()),
        spec("standing", "What the account and its key are to the venue", &[Kind::Standing], &Standing::default()),
        spec("health", "Verdicts on a book: waiting, synced, stale", &[Kind::Health], &Health::default()),
        spec("venue_status", "The venue's own notices", &[Kind::VenueStatus], &VenueStatus::default()),
        spec("trip", "The brake moved: where, why, measured beside its limit", &[Kind::Trip], &Trip::default()),
        spec("answer", "What the gate said to a signed document", &[Kind::Answer], &Answer::default()),
        spec("fortune", "What a unit of the account is worth, and was at most", &[Kind::Fortune], &Fortune::default()),
        spec("unwind", "How far the brake is with closing a position", &[Kind::Unwind], &Unwind::default()),
        spec("worth", "Equity, its high-water mark, drawdown, margin", &[Kind::Worth], &Worth::default()),
        (
            "document",
            "Limits, requests, people, scenarios and strategies, as signed, in parts",
            &[Kind::Document],
            Document::cut(Default::default(), Default::default(), DocumentKind::Arm, b"x")
                .into_iter()
                .flatten()
                .flat_map(|part| part.bytes().to_vec())
                .collect(),
        ),
        spec("holding", "A position a run took over", &[Kind::Holding], &Holding::default()),
        spec("carried", "An order a run took over", &[Kind::Carried], &Carried::default()),
        spec("seen", "An execution a run must not count again", &[Kind::Seen], &Seen::default()),
        spec("resumed", "What a run took over, counted", &[Kind::Resumed], &Resumed::default()),
        spec("bar", "The venue's own summaries of the market", &[Kind::Bar], &bar),
    ]
}

/// Where a record stands, in the columns every table has.
fn common(row: &mut Row<'_>, instance: i32, entry: &Entry<'_>, hash: &Hash) {
    let bounded = |nanos: u64| i64::try_from(nanos).unwrap_or(i64::MAX);
    row.int4(instance);
    row.date(day(entry.wall.nanos()));
    row.int8(bounded(entry.seq.0));
    row.int8(bounded(entry.wall.nanos()));
    row.int8(bounded(entry.mono.nanos()));
    row.int8(i64::from(entry.clock_error));
    row.int2(entry.code.cast_signed());
    if entry.cause == Seq::NONE {
        row.null()
    } else {
        row.int8(bounded(entry.cause.0))
    }
    row.bytes(hash);
}

/// Appends the row of a record to the buffer of its table; gives the table. `refused` is a reason the server gave for
/// not taking this record.
pub fn place(
    entry: &Entry<'_>,
    hash: &Hash,
    instance: i32,
    refused: Option<&str>,
    buffers: &mut [Vec<u8>],
) -> Option<usize> {
    let at = table_of(entry.kind)?;
    let reason = match refused {
        Some(reason) => reason.to_owned(),
        None if at == QUARANTINE => format!("no table for records of kind {}", entry.code),
        None => {
            let buffer = &mut buffers[at];
            let len = buffer.len();
            match typed(entry, hash, instance, &tables()[at], buffer) {
                Ok(()) => return Some(at),
                Err(why) => {
                    buffer.truncate(len);
                    why
                }
            }
        }
    };
    let mut row = Row(&mut buffers[QUARANTINE]);
    row.begin(tables()[QUARANTINE].columns.len());
    common(&mut row, instance, entry, hash);
    row.bytes(reason.replace('\0', "").as_bytes());
    row.bytes(entry.bytes);
    Some(QUARANTINE)
}

fn typed(entry: &Entry<'_>, hash: &Hash, instance: i32, table: &Table, out: &mut Vec<u8>) -> Result<(), String> {
    let Some(fields) = fields(entry) else { return Err("the bytes do not fit the layout of their kind".to_owned()) };
    let mut row = Row(out);
    row.begin(table.columns.len());
    common(&mut row, instance, entry, hash);
    let mut columns = table.columns[COMMON.len()..].iter();
    let mut next = |name: &str| columns.next().ok_or_else(|| format!("{name} has no column"));
    for (name, value) in flat(&fields) {
        let column = next(name)?;
        write(&mut row, column, value)?;
    }
    match columns.next() {
        None => Ok(()),
        Some(column) => Err(format!("{} is missing", column.name)),
    }
}

/// Fields with each measure as two.
fn flat(fields: &Fields) -> impl Iterator<Item = (&'static str, &Value)> {
    fields.iter().flat_map(|(name, value)| {
        let pair: [Option<&Value>; 2] = match value {
            Value::Measure(value, limit) => [Some(value), Some(limit)],
            Value::Levels(_) => [None, None],
            other => [Some(other), None],
        };
        pair.into_iter().flatten().map(|value| (*name, value))
    })
}

fn write(row: &mut Row<'_>, column: &Column, value: &Value) -> Result<(), String> {
    let Column { name, kind, .. } = column;
    match (value, kind) {
        (Value::Text(text), Type::Text) if text.is_empty() || text == "-" => row.null(),
        (Value::Text(text), Type::Text) if text == "?" => return Err(format!("{name} is not text")),
        (Value::Text(text), Type::Text) if text.contains('\0') => return Err(format!("{name} holds a zero byte")),
        (Value::Text(text), Type::Text) => row.bytes(text.as_bytes()),
        (Value::Int(number), Type::Int8) => {
            row.int8(i64::try_from(*number).map_err(|_| format!("{name} {number} is larger than a bigint"))?);
        }
        (Value::Signed(number), Type::Int8) => row.int8(*number),
        (Value::Int(number), Type::Whole) => {
            row.whole(u64::try_from(*number).map_err(|_| format!("{name} {number} is not a whole number"))?);
        }
        (Value::Decimal(raw), Type::Decimal) => row.decimal(*raw),
        (Value::Flag(set), Type::Bool) => row.bool(*set),
        (Value::Time(wall), Type::Int8) if wall.nanos() == 0 => row.null(),
        (Value::Time(wall), Type::Int8) => {
            row.int8(i64::try_from(wall.nanos()).map_err(|_| format!("{name} is past the year 2262"))?);
        }
        (Value::Instrument(id), Type::Int4) => row.int4(i32::from(id.0)),
        _ => return Err(format!("{name} is not what its column takes")),
    }
    Ok(())
}

/// The hash of a record, as the journal's tree knows it.
#[must_use]
pub fn hash_of(entry: &Entry<'_>) -> Hash {
    leaf(entry.bytes)
}

/// The statements that make the tables, as they stand in the first migration.
#[must_use]
pub fn ddl() -> String {
    let mut out = String::new();
    for table in tables() {
        let _ = writeln!(out, "CREATE TABLE keel.{} (", table.name);
        for column in &table.columns {
            let null = if column.null { "" } else { " NOT NULL" };
            let check = match column.kind {
                Type::Bytes if column.name != "bytes" => format!(" CHECK (octet_length({}) = 32)", column.name),
                _ => String::new(),
            };
            let _ = writeln!(out, "  \"{}\" {}{null}{check},", column.name, column.kind.sql());
        }
        if !table.kinds.is_empty() {
            let codes: Vec<_> = table.kinds.iter().map(|kind| kind.code().to_string()).collect();
            let _ = writeln!(out, "  CHECK (kind IN ({})),", codes.join(", "));
        }
        let key = if table.name == "market" { "instance, day, seq, instrument" } else { "instance, day, seq" };
        let _ = writeln!(out, "  PRIMARY KEY ({key})\n) PARTITION BY RANGE (instance, day);");
        let _ = writeln!(out, "COMMENT ON TABLE keel.{} IS '{}';", table.name, table.about.replace('\'', "''"));
        let _ = writeln!(out, "SELECT keel.protect('keel.{}');\n", table.name);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_place() {
        for kind in Kind::ALL {
            let tables = tables().iter().filter(|table| table.kinds.contains(&kind)).count();
            let unshipped =
                usize::from(SUMMARISED.contains(&kind) || PINNED.contains(&kind) || CONFIDENTIAL.contains(&kind));
            assert_eq!(tables + unshipped, 1, "{kind:?}: give it a table here, or a reason not to have one");
        }
        assert_eq!(table_of(None), Some(QUARANTINE));
    }

    #[test]
    fn the_migration_is_what_the_program_writes() {
        let text = include_str!("../../../deploy/postgres/0001-records.sql");
        let tables = ddl();
        assert!(
            text.contains(&tables),
            "the layout of a record changed. Before anything was shipped anywhere: print `keel ship --schema` into \
             deploy/postgres/0001-records.sql; after: write the next migration and raise SCHEMA.\n{tables}"
        );
    }

    #[test]
    fn columns_have_names_of_their_own() {
        for table in tables() {
            let mut names: Vec<_> = table.columns.iter().map(|column| &column.name).collect();
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "{}", table.name);
            assert!(table.kinds.is_empty() || count > COMMON.len(), "{} has no columns of its own", table.name);
        }
    }
}

//! A table as Apache Parquet: columns gathered in memory, written a row group at a time.
//!
//! Decimals are fixed byte arrays of nine bytes, big-endian: a whole `i64` needs nineteen digits, and the eight bytes of
//! an INT64 decimal may hold only eighteen. Readers know them as DECIMAL(19,8).

use super::{Row, Sheet};
use crate::fact::{Symbols, Value};
use anyhow::{Context, Result, bail, ensure};
use core::fmt::Write as _;
use keel_core::event::Level;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use std::fs::File;
use std::sync::Arc;

/// Rows gathered before they are written.
const GROUP_ROWS: usize = 128 * 1024;
/// Bytes of one column that end a row group early: levels of deep books.
const GROUP_BYTES: usize = 64 << 20;
/// Bytes of a decimal.
const DECIMAL: usize = 9;

/// A Parquet file being written.
pub(super) struct Parquet {
    name: String,
    /// Until the first row its columns are not known.
    file: Option<File>,
    out: Option<SerializedFileWriter<File>>,
    columns: Vec<(String, Cells)>,
    rows: usize,
}

/// One column of the row group being gathered.
enum Cells {
    Text { bytes: Vec<u8>, ends: Vec<usize> },
    Count(Vec<i64>),
    Signed(Vec<i64>),
    Decimal(Vec<u8>),
    Flag(Vec<bool>),
    Time { nanos: Vec<i64>, there: Vec<i16> },
    Levels { px: Vec<u8>, qty: Vec<u8>, there: Vec<i16>, again: Vec<i16> },
}

impl Parquet {
    pub(super) fn new(file: File, name: &str) -> Self {
        Self { name: name.to_owned(), file: Some(file), out: None, columns: Vec::new(), rows: 0 }
    }

    fn begin(&mut self, row: &Row) -> Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        self.columns = row.iter().map(|(name, value)| (name.clone(), Cells::of(value))).collect();
        let mut schema = format!("message {} {{", self.name);
        for (name, cells) in &self.columns {
            cells.declare(name, &mut schema)?;
        }
        schema.push('}');
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_created_by(concat!("keel ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let schema = parse_message_type(&schema).with_context(|| schema.clone())?;
        self.out = Some(SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties))?);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let Some(out) = &mut self.out else { return Ok(()) };
        if self.rows > 0 {
            let mut group = out.next_row_group()?;
            for (_, cells) in &mut self.columns {
                cells.write(&mut group)?;
            }
            group.close()?;
            self.rows = 0;
        }
        Ok(())
    }
}

impl Sheet for Parquet {
    fn add(&mut self, row: Row, symbols: &Symbols) -> Result<()> {
        self.begin(&row)?;
        ensure!(row.len() == self.columns.len(), "{} columns, not {}", row.len(), self.columns.len());
        let mut full = false;
        for ((name, cells), (_, value)) in self.columns.iter_mut().zip(row) {
            full |= cells.add(&value, symbols).with_context(|| name.clone())? > GROUP_BYTES;
        }
        self.rows += 1;
        if full || self.rows == GROUP_ROWS { self.flush() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.flush()?;
        match self.out {
            Some(out) => Ok(out.into_inner()?.sync_all()?),
            None => Ok(()),
        }
    }
}

impl Cells {
    /// The column a value of this sort stands in.
    fn of(value: &Value) -> Self {
        match value {
            Value::Text(_) | Value::Instrument(_) | Value::Measure(..) => {
                Self::Text { bytes: Vec::new(), ends: Vec::new() }
            }
            Value::Int(_) => Self::Count(Vec::new()),
            Value::Signed(_) => Self::Signed(Vec::new()),
            Value::Decimal(_) => Self::Decimal(Vec::new()),
            Value::Flag(_) => Self::Flag(Vec::new()),
            Value::Time(_) => Self::Time { nanos: Vec::new(), there: Vec::new() },
            Value::Levels(_) => Self::Levels { px: Vec::new(), qty: Vec::new(), there: Vec::new(), again: Vec::new() },
        }
    }

    /// Its line in the schema.
    fn declare(&self, name: &str, schema: &mut String) -> core::fmt::Result {
        match self {
            Self::Text { .. } => write!(schema, " required binary {name} (STRING);"),
            Self::Count(_) => write!(schema, " required int64 {name} (INTEGER(64,false));"),
            Self::Signed(_) => write!(schema, " required int64 {name} (INTEGER(64,true));"),
            Self::Decimal(_) => write!(schema, " required fixed_len_byte_array({DECIMAL}) {name} (DECIMAL(19,8));"),
            Self::Flag(_) => write!(schema, " required boolean {name};"),
            Self::Time { .. } => write!(schema, " optional int64 {name} (TIMESTAMP(NANOS,false));"),
            Self::Levels { .. } => write!(
                schema,
                " required group {name} (LIST) {{ repeated group list {{ required group element {{
                  required fixed_len_byte_array({DECIMAL}) px (DECIMAL(19,8));
                  required fixed_len_byte_array({DECIMAL}) qty (DECIMAL(19,8)); }} }} }}"
            ),
        }
    }

    /// Takes in a value; returns the bytes gathered.
    fn add(&mut self, value: &Value, symbols: &Symbols) -> Result<usize> {
        Ok(match (self, value) {
            (Self::Text { bytes, ends }, Value::Text(_) | Value::Instrument(_) | Value::Measure(..)) => {
                bytes.extend(value.text(symbols).as_bytes());
                ends.push(bytes.len());
                bytes.len()
            }
            (Self::Count(all), Value::Int(n)) => {
                all.push(u64::try_from(*n)?.cast_signed());
                all.len() * 8
            }
            (Self::Signed(all), Value::Signed(n)) => {
                all.push(*n);
                all.len() * 8
            }
            (Self::Decimal(bytes), Value::Decimal(raw)) => {
                decimal(bytes, *raw);
                bytes.len()
            }
            (Self::Flag(all), Value::Flag(set)) => {
                all.push(*set);
                all.len()
            }
            (Self::Time { nanos, there }, Value::Time(wall)) => {
                let some = wall.nanos() > 0;
                nanos.extend(some.then(|| i64::try_from(wall.nanos())).transpose()?);
                there.push(i16::from(some));
                nanos.len() * 8
            }
            (Self::Levels { px, qty, there, again }, Value::Levels(levels)) => {
                for (at, level) in levels.iter().enumerate() {
                    let Level { px: price, qty: quantity } = *level;
                    decimal(px, price.raw());
                    decimal(qty, quantity.raw());
                    there.push(1);
                    again.push(i16::from(at > 0));
                }
                if levels.is_empty() {
                    there.push(0);
                    again.push(0);
                }
                px.len()
            }
            _ => bail!("a value of another sort than in the records before"),
        })
    }

    /// Writes the column, two for levels, and begins anew.
    fn write(&mut self, group: &mut SerializedRowGroupWriter<'_, File>) -> Result<()> {
        match self {
            Self::Text { bytes, ends } => {
                let all = ByteArray::from(core::mem::take(bytes));
                let from = core::iter::once(0).chain(ends.iter().copied());
                let cells: Vec<_> = from.zip(ends.iter()).map(|(from, to)| all.slice(from, to - from)).collect();
                ends.clear();
                column(group, |out| out.typed::<ByteArrayType>().write_batch(&cells, None, None))
            }
            Self::Count(all) | Self::Signed(all) => {
                let cells = core::mem::take(all);
                column(group, |out| out.typed::<Int64Type>().write_batch(&cells, None, None))
            }
            Self::Decimal(bytes) => decimals(group, bytes, None, None),
            Self::Flag(all) => {
                let cells = core::mem::take(all);
                column(group, |out| out.typed::<BoolType>().write_batch(&cells, None, None))
            }
            Self::Time { nanos, there } => {
                let (cells, there) = (core::mem::take(nanos), core::mem::take(there));
                column(group, |out| out.typed::<Int64Type>().write_batch(&cells, Some(&there), None))
            }
            Self::Levels { px, qty, there, again } => {
                decimals(group, px, Some(there), Some(again))?;
                decimals(group, qty, Some(there), Some(again))?;
                there.clear();
                again.clear();
                Ok(())
            }
        }
    }
}

/// Nine bytes, big-endian, two's complement.
fn decimal(bytes: &mut Vec<u8>, raw: i64) {
    bytes.push(if raw < 0 { 0xff } else { 0 });
    bytes.extend(raw.to_be_bytes());
}

fn decimals(
    group: &mut SerializedRowGroupWriter<'_, File>,
    bytes: &mut Vec<u8>,
    there: Option<&[i16]>,
    again: Option<&[i16]>,
) -> Result<()> {
    let (all, count) = (ByteArray::from(core::mem::take(bytes)), DECIMAL);
    let each = (0..all.len() / count).map(|n| FixedLenByteArray::from(all.slice(n * count, count)));
    let cells: Vec<_> = each.collect();
    column(group, |out| out.typed::<FixedLenByteArrayType>().write_batch(&cells, there, again))
}

fn column(
    group: &mut SerializedRowGroupWriter<'_, File>,
    write: impl FnOnce(&mut SerializedColumnWriter<'_>) -> parquet::errors::Result<usize>,
) -> Result<()> {
    let mut out = group.next_column()?.context("more columns than the schema has")?;
    write(&mut out)?;
    Ok(out.close()?)
}

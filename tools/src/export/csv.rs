//! A table as text: RFC 4180, a header line, nothing rounded. What is not there is an empty cell.

use super::{Row, Sheet};
use crate::fact::{Symbols, Value};
use anyhow::Result;
use std::fs::File;
use std::io::{BufWriter, Write};

/// A CSV file being written.
pub(super) struct Csv {
    out: BufWriter<File>,
    begun: bool,
}

impl Csv {
    pub(super) fn new(file: File) -> Self {
        Self { out: BufWriter::with_capacity(1 << 18, file), begun: false }
    }
}

impl Sheet for Csv {
    fn add(&mut self, row: Row, symbols: &Symbols) -> Result<()> {
        if !self.begun {
            let names: Vec<&str> = row.iter().map(|(name, _)| name.as_str()).collect();
            writeln!(self.out, "{}", names.join(","))?;
            self.begun = true;
        }
        for (at, (_, value)) in row.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(self.out, "{comma}{}", cell(value, symbols))?;
        }
        Ok(writeln!(self.out)?)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(self.out.into_inner()?.sync_all()?)
    }
}

fn cell(value: &Value, symbols: &Symbols) -> String {
    match value {
        Value::Time(wall) if wall.nanos() == 0 => String::new(),
        Value::Flag(set) => set.to_string(),
        other => crate::tail::quoted(&other.text(symbols)),
    }
}

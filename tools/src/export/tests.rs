//! What other programs read of a journal.

use super::*;
use keel_core::event::{Ack, Fill, Record, Start, Timer};
use keel_core::ids::{InstrumentId, Seq, Symbol};
use keel_core::instrument::Instrument;
use keel_core::permit::Log;
use keel_core::units::{Mono, Notional, Now, Px, Qty, Wall};
use keel_journal::{Keeper, Options, Writer};

const BASE: u64 = 1_795_368_000_000_000_000; // 2026-11-22T17:20:00Z

struct Journal {
    home: tempfile::TempDir,
    writer: Writer,
    keeper: Keeper,
    second: u64,
}

impl Journal {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let options = Options { segment_bytes: 12288, prefault_bytes: 8192, clock_error: 7, ..Options::default() };
        let (writer, keeper) = Writer::open(home.path().join("journal"), options).unwrap();
        let mut journal = Self { home, writer, keeper, second: 0 };
        let symbol = Symbol::new(b"BTCUSDT").unwrap();
        journal.put(&Start { run: 1, seed: u64::MAX, ..Start::default() });
        journal.put(&Instrument { id: InstrumentId(0), symbol, ..Instrument::default() });
        journal
    }

    fn put(&mut self, fact: &impl Record) {
        use keel_core::agent::Agent;
        self.second += 1;
        let now =
            Now { mono: Mono::from_nanos(self.second), wall: Wall::from_nanos(BASE + self.second * 1_000_000_000) };
        self.writer.fact(now, Seq(self.second - 1), fact).unwrap();
        while self.keeper.duty(now) > 0 {}
    }

    fn args(&self, format: Format, out: &str, kind: &[&str]) -> Args {
        Args {
            dir: self.home.path().join("journal"),
            kind: kind.iter().map(|kind| (*kind).to_owned()).collect(),
            since: None,
            until: None,
            format,
            out: self.home.path().join(out),
            force: false,
        }
    }

    fn csv(&self, args: &Args) -> Vec<Vec<String>> {
        let written = export(args, Wall::from_nanos(BASE)).unwrap();
        let text = fs::read_to_string(&written.files[0].0).unwrap();
        text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
    }
}

fn fill(raw: i64) -> Fill {
    Fill { px: Px::from_raw(raw), qty: Qty::from_raw(-raw), fee: Notional::from_raw(raw / 3), ..Fill::default() }
}

/// Every cell of a Parquet file as text.
#[cfg(feature = "parquet")]
fn cells(path: &Path) -> Vec<Vec<(String, String)>> {
    use ::parquet::file::reader::{FileReader, SerializedFileReader};
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let rows = reader.get_row_iter(None).unwrap();
    rows.map(|row| row.unwrap().get_column_iter().map(|(name, field)| (name.clone(), field.to_string())).collect())
        .collect()
}

#[test]
fn every_value_of_a_field_survives() {
    let mut journal = Journal::new();
    for raw in [0, 1, -1, i64::MAX, i64::MIN + 1, 1_000_000_000_000_000_000] {
        journal.put(&fill(raw));
    }
    journal.put(&Ack { code: -2015, ..Ack::default() });
    let rows = journal.csv(&journal.args(Format::Csv, "csv", &["fill"]));
    let at = |name: &str| rows[0].iter().position(|column| column == name).unwrap();
    assert_eq!(rows[0][..8], ["seq", "mono", "wall", "clock_error", "kind", "cause", "client", "recv"]);
    assert_eq!(rows[0].len(), rows[4].len());
    assert_eq!(
        (rows[4][at("px")].as_str(), rows[4][at("qty")].as_str()),
        ("92233720368.54775807", "-92233720368.54775807")
    );
    assert_eq!((rows[1][0].as_str(), rows[1][at("wall")].as_str()), ("3", "2026-11-22T17:20:03.000000000Z"));
    assert_eq!((rows[1][at("clock_error")].as_str(), rows[1][at("cause")].as_str()), ("7", "2"));
    assert_eq!((rows[1][at("ts")].as_str(), rows[1][at("instrument")].as_str()), ("", "BTCUSDT"));
    let acks = journal.csv(&journal.args(Format::Csv, "acks", &["ack"]));
    assert_eq!(acks[1][acks[0].iter().position(|name| name == "code").unwrap()], "-2015");
}

#[test]
#[cfg(feature = "parquet")]
fn both_forms_say_the_same_and_compressed_segments_no_less() {
    let mut journal = Journal::new();
    for n in 0..200 {
        journal.put(&fill(i64::MAX - n));
        journal.put(&Timer { due: Mono::from_nanos(u64::MAX) });
    }
    assert!(!keel_journal::archive::archive(&journal.home.path().join("journal"), 1).unwrap().is_empty());
    let rows = journal.csv(&journal.args(Format::Csv, "csv", &["fill"]));
    let written = export(&journal.args(Format::Parquet, "tables", &[]), Wall::from_nanos(BASE)).unwrap();
    let names: Vec<_> = written.files.iter().map(|(path, rows)| (path.file_name().unwrap(), *rows)).collect();
    assert_eq!(
        names.iter().map(|(name, _)| name.to_str().unwrap()).collect::<Vec<_>>(),
        ["fill.parquet", "timer.parquet", "start.parquet", "instrument.parquet"]
    );
    assert_eq!((names[0].1, names[1].1, written.unreadable), (200, 200, 0));
    let fills = cells(&written.files[0].0);
    assert_eq!(fills.len(), rows.len() - 1);
    for (cells, row) in fills.iter().zip(&rows[1..]) {
        for ((name, cell), (column, text)) in cells.iter().zip(rows[0].iter().zip(row)) {
            assert_eq!(name, column);
            let same = match name.as_str() {
                "wall" => !cell.is_empty(),
                "ts" => cell == "null",
                "px" | "qty" | "leaves" | "closed" | "fee" | "pnl" | "mark" => {
                    cell.parse::<rust_decimal::Decimal>().unwrap() == text.parse().unwrap()
                }
                _ => cell.trim_matches('"') == text,
            };
            assert!(same, "{name}: {cell} is not {text}");
        }
    }
    let timers = cells(&written.files[1].0);
    assert!(timers.iter().all(|row| row.last().unwrap().1 == u64::MAX.to_string()));
}

#[test]
fn kinds_and_times_choose_and_an_older_export_stays() {
    let mut journal = Journal::new();
    for _ in 0..10 {
        journal.put(&fill(1));
    }
    let seqs = |args: &Args| journal.csv(args)[1..].iter().map(|row| row[0].parse().unwrap()).collect::<Vec<u64>>();
    let mut args = journal.args(Format::Csv, "csv", &["exec"]);
    (args.since, args.until) = (Some("17:20:05".to_owned()), Some("17:20:08".to_owned()));
    assert_eq!(seqs(&args), [5, 6, 7]);
    assert!(export(&args, Wall::from_nanos(BASE)).is_err(), "never over an older export");
    args.force = true;
    args.until = None;
    assert_eq!(seqs(&args), (5..=12).collect::<Vec<_>>());
    args.since = Some("18:00".to_owned());
    assert_eq!(export(&args, Wall::from_nanos(BASE)).unwrap(), Written::default());
    args.kind = vec!["fils".to_owned()];
    assert!(export(&args, Wall::from_nanos(BASE)).is_err());
}

#[test]
fn a_record_no_layout_fits_is_counted_and_told() {
    struct Raw;
    impl Record for Raw {
        fn kind(&self) -> Kind {
            Kind::Fill
        }
        fn bytes(&self) -> &[u8] {
            &[1, 2, 3]
        }
    }
    let mut journal = Journal::new();
    journal.put(&Raw);
    journal.put(&fill(1));
    let args = journal.args(Format::Csv, "csv", &["fill"]);
    assert_eq!(export(&args, Wall::from_nanos(BASE)).unwrap().unreadable, 1);
    assert!(run(&Args { force: true, ..args }).unwrap_err().to_string().starts_with("1 records fit no layout"));
}

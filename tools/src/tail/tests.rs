//! What a person sees of a journal.

use super::*;
use keel_core::event::{ExecKind, Fill, Flag, Record, Side, Start, Timer};
use keel_core::ids::{ClientId, InstrumentId, Symbol, VenueId};
use keel_core::instrument::Instrument;
use keel_core::permit::Log;
use keel_core::units::{Mono, Now, Px, Qty};
use keel_journal::{Options, Writer};

const BASE: u64 = 1_795_368_000_000_000_000; // 2026-11-22T17:20:00Z

struct Cases {
    dir: tempfile::TempDir,
    writer: Writer,
    _keeper: keel_journal::Keeper,
}

/// Start, two instruments, then fills and timers in turn, one a second.
fn cases() -> Cases {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, keeper) =
        Writer::open(dir.path(), Options { segment_bytes: 1 << 20, clock_error: 5, ..Options::default() }).unwrap();
    let mut second = 0;
    let mut put = |fact: &dyn Fact| {
        second += 1;
        let now = Now { mono: Mono::from_nanos(second), wall: Wall::from_nanos(BASE + second * 1_000_000_000) };
        fact.put(&mut writer, now, Seq(second - 1));
    };
    put(&Start { run: 1, seed: 42, ..Start::default() });
    for (id, symbol) in [(0, "BTCUSDT"), (1, "ETHUSDT")] {
        let symbol = Symbol::new(symbol.as_bytes()).unwrap();
        put(&Instrument { id: InstrumentId(id), symbol, ..Instrument::default() });
    }
    for n in 1..=10u16 {
        put(&Fill {
            client: ClientId::new(1, u32::from(n)),
            px: Px::parse(b"63943.9").unwrap(),
            qty: Qty::parse(b"0.001").unwrap(),
            instrument: InstrumentId(n % 2),
            side: Side::Sell,
            kind: ExecKind::Trade,
            maker: Flag::Yes,
            exec: VenueId::new(format!("exec-{n}").as_bytes()).unwrap(),
            ..Fill::default()
        });
        put(&Timer { due: Mono::from_nanos(7) });
    }
    Cases { dir, writer, _keeper: keeper }
}

trait Fact {
    fn put(&self, writer: &mut Writer, now: Now, cause: Seq);
}

impl<R: Record> Fact for R {
    fn put(&self, writer: &mut Writer, now: Now, cause: Seq) {
        writer.fact(now, cause, self).unwrap();
    }
}

fn show(cases: &Cases, line: &str) -> Result<String> {
    #[derive(clap::Parser)]
    struct Tail {
        #[command(flatten)]
        args: Args,
    }
    let dir = cases.dir.path().to_str().unwrap();
    let words = ["tail", dir].into_iter().chain(line.split_whitespace());
    let tail = <Tail as clap::Parser>::try_parse_from(words)?;
    let mut out = Vec::new();
    print(&tail.args, &mut out, false, Wall::from_nanos(BASE + 23_000_000_000))?;
    Ok(String::from_utf8(out)?)
}

/// The numbers of the records shown.
fn seqs(text: &str) -> Vec<u64> {
    text.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn records_are_chosen_by_number_time_kind_and_content() {
    let cases = cases();
    let rows: [(&str, Vec<u64>); 23] = [
        ("", (1..=23).collect()),
        ("-n 3", vec![21, 22, 23]),
        ("-n 0", vec![]),
        ("--from 20", vec![20, 21, 22, 23]),
        ("--from -2", vec![22, 23]),
        ("--from 4:6", vec![4, 5, 6]),
        ("--from 4:6 --kind fill", vec![4, 6]),
        ("--kind fill -n 2", vec![20, 22]),
        ("--kind system", vec![1, 2, 3]),
        ("--kind Start,instrument --until 17:20:03", vec![1, 2]),
        ("--since -3s", vec![20, 21, 22, 23]),
        ("--since 17:20:05 --until 2026-11-22T17:20:07Z", vec![5, 6]),
        ("--instrument BTCUSDT --kind exec", vec![6, 10, 14, 18, 22]),
        ("--instrument ETHUSDT -n 1", vec![20]),
        ("--order k00000001-00000003", vec![8]),
        ("--order exec-3", vec![8]),
        ("--reverse -n 3", vec![23, 22, 21]),
        ("--reverse --kind system", vec![3, 2, 1]),
        ("--severity notice", [1, 2, 3].into_iter().chain((4..=22).step_by(2)).collect()),
        ("--severity notice -n 2", vec![20, 22]),
        ("--severity warning", vec![]),
        ("--since 17:20:20", vec![20, 21, 22, 23]),
        ("-g exec-(1|10)\\b", vec![4, 22]),
    ];
    for (line, expected) in rows {
        assert_eq!(seqs(&show(&cases, line).unwrap()), expected, "{line}");
    }
    for line in ["--kind filll", "--since noon", "--from x", "-g ( ", "--from -x"] {
        assert!(show(&cases, line).is_err(), "{line}");
    }
    assert_eq!(cases.writer.head(), Seq(23));
}

#[test]
fn a_cursor_neither_misses_nor_repeats_and_knows_its_journal() {
    let mut one = cases();
    let place = one.dir.path().join("place");
    let line = format!("--kind fill --cursor-file {}", place.display());
    assert_eq!(seqs(&show(&one, &line).unwrap()).len(), 10);
    assert_eq!(show(&one, &line).unwrap(), "");
    let now = Now { mono: Mono::from_nanos(24), wall: Wall::from_nanos(BASE + 24_000_000_000) };
    one.writer.fact(now, Seq::NONE, &Fill::default()).unwrap();
    assert_eq!(seqs(&show(&one, &line).unwrap()), [24]);
    assert!(std::fs::read_to_string(&place).unwrap().starts_with("24 "));
    let other = cases();
    assert!(show(&other, &line).unwrap_err().to_string().contains("ends before record 24"));
    std::fs::write(&place, format!("5 {}\n", "0".repeat(64))).unwrap();
    assert!(show(&other, &line).unwrap_err().to_string().contains("not the one the cursor was at"));
    std::fs::write(&place, "nonsense").unwrap();
    assert!(show(&other, &line).is_err());
}

#[test]
fn severity_follows_what_a_record_says() {
    use keel_core::event::{Ack, Link, LinkState, Sent, SentOutcome};
    let mut writer = Writer::in_memory(8192).unwrap();
    let mut put = |fact: &dyn Fact| fact.put(&mut writer, Now::default(), Seq::NONE);
    put(&Ack::default());
    put(&Ack { code: 110_007, ..Ack::default() });
    put(&Link { state: LinkState::Ready, ..Link::default() });
    put(&Link::default());
    put(&Sent { outcome: SentOutcome::NoBudget, ..Sent::default() });
    put(&Timer::default());
    let levels: Vec<_> = writer.records().map(|entry| severity::of(&entry)).collect();
    use Severity::{Debug, Info, Notice, Warning};
    assert_eq!(levels, [Info, Warning, Notice, Warning, Warning, Debug]);
    let broken = Entry { payload: &[1], ..writer.records().next().unwrap() };
    assert_eq!(severity::of(&broken), Severity::Error);
}

#[test]
fn every_form_says_the_same() {
    let cases = cases();
    assert_eq!(
        show(&cases, "--from 4:4").unwrap(),
        "4 2026-11-22T17:20:04.000000000Z Fill <-3 client=k00000001-00000001 px=63943.9 qty=0.001 exec=exec-1 \
         instrument=ETHUSDT side=Sell kind=Trade maker=yes\n"
    );
    assert_eq!(
        show(&cases, "--from 4:4 --fields px,side").unwrap().split_once("<-3 ").unwrap().1,
        "px=63943.9 side=Sell\n"
    );
    let json: serde_json::Value = serde_json::from_str(&show(&cases, "--kind fill -o json").unwrap()).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 10);
    assert_eq!(json[0]["fact"]["px"], "63943.9");
    assert_eq!(json[0]["clock_error"], 5);
    assert_eq!(show(&cases, "--kind ack -o json").unwrap(), "[]\n");
    for line in show(&cases, "-o jsonl").unwrap().lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    let csv = show(&cases, "--kind fill -o csv").unwrap();
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(lines.len(), 11);
    assert!(lines[0].starts_with("seq,time,kind,cause,mono,clock_error,client,recv,"));
    assert!(lines.iter().all(|line| line.split(',').count() == lines[0].split(',').count()));
    assert_eq!(show(&cases, "-o csv").unwrap().lines().count(), 24);
    assert_eq!(show(&cases, "-o table").unwrap().lines().count(), 24);
    assert_eq!(show(&cases, "--from 5:5 -o raw").unwrap(), "5 302 0700000000000000\n");
    let stats = show(&cases, "--stats").unwrap();
    assert!(stats.contains("Fill                       10"), "{stats}");
    let stats: serde_json::Value = serde_json::from_str(&show(&cases, "--stats -o json").unwrap()).unwrap();
    assert_eq!(stats["all"]["records"], 23);
}

#[test]
fn a_closed_pipe_is_no_error() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::BrokenPipe))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let cases = cases();
    let args = Args {
        dir: cases.dir.path().to_path_buf(),
        lines: None,
        follow: false,
        kind: vec![],
        instrument: vec![],
        order: None,
        strategy: None,
        severity: Severity::Debug,
        cursor_file: None,
        reverse: false,
        local: false,
        from: None,
        since: None,
        until: None,
        grep: None,
        fields: vec![],
        output: Output::Short,
        stats: false,
        color: Color::Never,
    };
    let why = print(&args, &mut Closed, false, Wall::from_nanos(BASE)).unwrap_err();
    assert!(is_closed_pipe(&why));
}

//! What an append costs while the disk is flooded: keel's journal on the disk and in memory, `write(2)`, two log crates.
//!
//! ```text
//! cd bench/append && RUSTFLAGS="-C target-cpu=x86-64-v3" cargo run --release -- DIR [--records N] [--pace NANOS] [--plot FILE] [--json]
//! ```
//!
//! The frame is that of keel-journal's example `append`. First with the disk at rest, then while a thread writes and syncs
//! a large file on it without a pause; `--json` prints the storm. `--plot` draws the storm: how many appends took longer than so long (`storm.svg` is the run below).
//!
//! Where the hot segment lies was decided by this. Under the storm, two busy shared vCPUs (load 20), nanoseconds:
//!
//! ```text
//!                                     p50      p99     p99.9
//!   memcpy + CRC-32C                   10       20       170
//!   keel, segments on the disk         20       60     3 875
//!   keel, segments in memory           20      691     1 362
//!   write(2)                          560    2 815     7 203
//!   tracing-appender, non-blocking     20    1 422     4 767    and drops what its channel cannot hold
//! ```
//!
//! Memory saves 2.5 us one time in a thousand. It costs a copier, a second store of every record, and a window between
//! memory and disk in which the loss of the host loses more. So: the disk, and the keeper on a thread that gets its turn.
//! Since then the keeper makes pages ready by the writer's pace: p99.9 of the disk was 0.4 to 0.8 us in five later storms.
#![allow(clippy::disallowed_methods, reason = "a measurement")]

#[path = "../../../journal/examples/append/frame.rs"]
mod frame;
mod plot;

use frame::{Bench, PAYLOAD, storm};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Memory every process shares, where Linux has it.
const MEMORY: &str = "/dev/shm";

/// Keeps nothing of a log that is only measured.
#[derive(Debug)]
struct Forget;

impl okaywal::LogManager for Forget {
    fn recover(&mut self, _: &mut okaywal::Entry<'_>) -> std::io::Result<()> {
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _: okaywal::EntryId,
        _: &mut okaywal::SegmentReader,
        _: &okaywal::WriteAheadLog,
    ) -> std::io::Result<()> {
        Ok(())
    }
}

/// The logging crate of most services: a channel to a thread that writes. Returns what it dropped when it was full.
fn tracing_appender(bench: &mut Bench, dir: &Path) -> usize {
    let file = tempfile::tempfile_in(dir).expect("a file");
    let (mut writer, guard) = tracing_appender::non_blocking(file);
    let fact = [7u8; 256];
    bench.run("tracing-appender, non-blocking", bench.records, |_, _| {
        writer.write_all(&fact).expect("handed over");
    });
    let dropped = writer.error_counter().dropped_lines();
    drop(guard);
    dropped
}

/// A write-ahead log: each commit is on the medium when it returns.
fn okaywal(bench: &mut Bench, dir: &Path) {
    let home = tempfile::tempdir_in(dir).expect("a directory");
    let wal = okaywal::WriteAheadLog::recover(home.path(), Forget).expect("a new log");
    let fact = [7u8; 256];
    bench.run("okaywal, durable commit", (bench.records / 2000).max(100), |_, _| {
        let mut entry = wal.begin_entry().expect("an entry");
        entry.write_chunk(&fact).expect("written");
        entry.commit().expect("durable");
    });
    wal.shutdown().expect("ended");
}

fn all(mut bench: Bench, dir: &Path) -> Bench {
    bench.empty();
    bench.floor();
    bench.journal(dir, "journal append", false);
    bench.journal(dir, "journal append + reader", true);
    if Path::new(MEMORY).is_dir() {
        bench.journal(Path::new(MEMORY), "journal append, in memory", false);
    }
    bench.plain_write(dir);
    let dropped = tracing_appender(&mut bench, dir);
    if dropped > 0 {
        eprintln!("tracing-appender dropped {dropped} of {}", bench.records);
    }
    bench.sync(dir);
    okaywal(&mut bench, dir);
    bench
}

fn main() {
    let (mut dir, mut records, mut pace, mut plot, mut json) = (std::env::temp_dir(), 400_000, 5_000, None, false);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut next = || words.next().expect("a value");
        match word.as_str() {
            "--records" => records = next().parse().expect("a number"),
            "--pace" => pace = next().parse().expect("nanoseconds"),
            "--plot" => plot = Some(PathBuf::from(next())),
            "--json" => json = true,
            _ => dir = PathBuf::from(word),
        }
    }
    let home = tempfile::tempdir_in(dir).expect("a directory");
    if !json {
        println!("{records} records of {PAYLOAD} B, one every {pace} ns");
        print!("at rest\n{}", all(Bench::new(records, pace), home.path()).table());
    }
    let stormy = storm(home.path(), || all(Bench::new(records, pace), home.path()));
    if json {
        return println!("{}", stormy.json());
    }
    print!("under a storm of writeback\n{}", stormy.table());
    if let Some(file) = plot {
        let storm: Vec<_> = stormy.all.into_iter().map(|timed| (timed.name, timed.nanos)).collect();
        fs::write(&file, plot::svg(&storm)).expect("the plot");
        println!("{}", file.display());
    }
}

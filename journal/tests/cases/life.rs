//! The ordinary life of a journal: written, read, rolled, closed, continued.

use super::support::{at, blob, duty, open, read_all, small, try_open, written};
use keel_core::agent::Agent;
use keel_core::event::{Kind, Timer};
use keel_core::ids::Seq;
use keel_core::permit::{Log, LogFault, LogHealth};
use keel_core::units::{Mono, Now, Wall};
use keel_journal::{OpenError, Options, Reader, Writer, verify};
use proptest::prelude::*;

#[test]
fn what_is_written_is_read_back_across_segments() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, keeper) = written(dir.path(), small(), 500, 100);
    let all = read_all(dir.path()).unwrap();
    assert_eq!(all.len(), 500);
    for (n, (seq, payload)) in (1..).zip(&all) {
        assert_eq!((seq.0, payload), (n, &blob(n, 100).1));
    }
    let report = verify(dir.path());
    assert!(report.is_sound() && !report.torn, "{:?}", report.damages);
    assert_eq!((report.records, report.first, report.last), (500, Seq(1), Seq(500)));
    assert!(report.sealed > 5 && report.segments == report.sealed + 2, "{report:?}");
    keeper.finish(writer).unwrap();
    let report = verify(dir.path());
    assert!(report.is_sound(), "{:?}", report.damages);
    assert_eq!(report.segments, report.sealed + 1, "all but the spare are sealed");
}

#[test]
fn a_run_continues_where_the_last_one_ended() {
    for close in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        for run in 1..=6 {
            let (writer, keeper) = written(dir.path(), small(), 37, 64);
            assert_eq!(writer.head(), Seq(run * 37));
            if close {
                keeper.finish(writer).unwrap();
            }
        }
        assert_eq!(read_all(dir.path()).unwrap().len(), 6 * 37);
        let report = verify(dir.path());
        assert!(report.is_sound(), "{:?}", report.damages);
        assert_eq!(report.last, Seq(6 * 37));
    }
}

#[test]
fn the_hashes_do_not_depend_on_how_often_it_was_restarted() {
    let leaves = |runs: &[u64]| {
        let dir = tempfile::tempdir().unwrap();
        for count in runs {
            drop(written(dir.path(), small(), *count, 64));
        }
        let mut reader = Reader::open(dir.path()).unwrap();
        let mut history = keel_journal::history::History::new();
        while let Some(entry) = reader.poll().unwrap() {
            history.absorb(entry.bytes);
        }
        let report = verify(dir.path());
        assert!(report.is_sound(), "{:?}", report.damages);
        assert_eq!((report.root, report.chain), (history.root(), *history.chain()));
    };
    leaves(&[200]);
    leaves(&[1, 99, 50, 50]);
}

#[test]
fn two_writers_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path(), small());
    assert!(matches!(Writer::open(dir.path(), small()), Err(OpenError::Busy)));
    drop(first);
    assert!(try_open(dir.path(), small()).is_ok());
}

#[test]
fn time_only_moves_forward_and_says_how_wrong_it_may_be() {
    let mut writer = Writer::in_memory(4096).unwrap();
    let now = |wall| Now { mono: Mono::from_nanos(1), wall: Wall::from_nanos(wall) };
    for wall in [100, 100, 40, 200] {
        writer.fact(now(wall), Seq::NONE, &Timer::default()).unwrap();
    }
    let times: Vec<_> = writer.records().map(|entry| (entry.wall.nanos(), entry.clock_error)).collect();
    assert_eq!(times, [(100, 0), (101, 1), (102, 62), (200, 0)]);
}

#[test]
fn a_journal_in_memory_is_used_up_to_the_last_frame_and_then_full() {
    let mut writer = Writer::in_memory(4096).unwrap();
    for n in 1..=64 {
        assert_eq!(writer.health(), LogHealth::Sound);
        let recorded = writer.record(at(n), Seq::NONE, Timer { due: Mono::from_nanos(n) }).unwrap();
        assert_eq!((recorded.seq(), recorded.what().due.nanos()), (Seq(n), n));
    }
    assert_eq!(writer.fact(at(65), Seq::NONE, &Timer::default()), Err(LogFault::Full));
    assert_eq!(writer.records().count(), 64);
    assert!(writer.records().all(|entry| entry.kind == Some(Kind::Timer)));
    assert_eq!(writer.fact(at(65), Seq::NONE, &blob(1, 4049)), Err(LogFault::TooLong));
}

#[test]
fn a_reader_follows_a_live_writer_across_rolls() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes: 64 << 10, ..small() };
    let (mut writer, mut keeper) = open(dir.path(), options);
    let stop = std::sync::atomic::AtomicBool::new(false);
    const COUNT: u64 = 40_000;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut nanos = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                nanos += 1_000_000;
                keeper.duty(at(nanos));
            }
        });
        let verifier = scope.spawn(|| {
            let mut rounds = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let report = verify(dir.path());
                assert!(report.is_sound(), "{:?}", report.damages);
                rounds += 1;
            }
            rounds
        });
        let reader = scope.spawn(|| {
            let mut reader = Reader::open(dir.path()).unwrap();
            let mut seen = 0;
            while seen < COUNT {
                match reader.poll().unwrap() {
                    Some(entry) => {
                        seen += 1;
                        assert_eq!((entry.seq, entry.payload), (Seq(seen), &blob(seen, 40).1[..]));
                    }
                    None => std::thread::yield_now(),
                }
            }
        });
        for n in 1..=COUNT {
            while writer.fact(at(n), Seq::NONE, &blob(n, 40)).is_err() {
                std::thread::yield_now();
            }
        }
        reader.join().unwrap();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        println!("verified {} times while it was written", verifier.join().unwrap());
    });
    assert_eq!(keeper.failure(), None);
    drop((writer, keeper));
    assert!(verify(dir.path()).is_sound());
}

#[test]
fn a_reader_starts_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    drop(written(dir.path(), small(), 300, 80));
    for from in [0, 1, 2, 57, 58, 150, 299, 300] {
        let mut reader = Reader::open_at(dir.path(), Seq(from)).unwrap();
        assert_eq!(reader.poll().unwrap().unwrap().seq, Seq(from.max(1)));
    }
    let mut reader = Reader::open_at(dir.path(), Seq(301)).unwrap();
    assert!(reader.poll().unwrap().is_none());
}

#[test]
fn durable_follows_head() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, mut keeper) = open(dir.path(), small());
    let gauge = writer.gauge();
    for n in 1..=10 {
        writer.fact(at(n), Seq::NONE, &blob(n, 8)).unwrap();
    }
    assert_eq!((gauge.head(), gauge.durable()), (Seq(10), Seq(0)));
    duty(&mut keeper, 60_000_000);
    assert_eq!(gauge.durable(), Seq(10), "after the sync interval even an open page is synced");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// The model: a vector. Steps: append so many bytes, let the keeper work, drop and reopen, finish and reopen.
    #[test]
    fn equals_a_vector(steps in prop::collection::vec((0u8..10, 0usize..600), 1..120)) {
        let dir = tempfile::tempdir().unwrap();
        let mut pair = Some(open(dir.path(), small()));
        let mut model: Vec<(Seq, Vec<u8>)> = Vec::new();
        for (step, len) in steps {
            let (mut writer, mut keeper) = pair.take().unwrap();
            let n = model.len() as u64 + 1;
            match step {
                0 => drop((writer, keeper)),
                1 => keeper.finish(writer).unwrap(),
                2 | 3 => {
                    duty(&mut keeper, n * 10_000_000);
                    pair = Some((writer, keeper));
                }
                _ => {
                    match writer.fact(at(n), Seq::NONE, &blob(n, len)) {
                        Ok(seq) => model.push((seq, blob(n, len).1)),
                        Err(LogFault::Full) => duty(&mut keeper, n),
                        Err(other) => prop_assert!(false, "{:?}", other),
                    }
                    pair = Some((writer, keeper));
                }
            }
            if pair.is_none() {
                pair = Some(open(dir.path(), small()));
            }
        }
        drop(pair);
        prop_assert_eq!(read_all(dir.path()).unwrap(), model);
        let report = verify(dir.path());
        prop_assert!(report.is_sound(), "{:?}", report.damages);
    }
}

#[test]
fn a_journal_whose_oldest_segments_were_dropped_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    drop(written(dir.path(), small(), 200, 100));
    for number in [1, 2, 3] {
        std::fs::remove_file(dir.path().join(keel_journal::segment::name(number))).unwrap();
    }
    let report = verify(dir.path());
    assert!(report.is_sound() && report.first > Seq(1), "{report:?}");
    assert_eq!((report.last, read_all(dir.path()).unwrap()[0].0), (Seq(200), report.first));
    let (writer, keeper) = written(dir.path(), small(), 100, 100);
    keeper.finish(writer).unwrap();
    let after = verify(dir.path());
    assert!(after.is_sound() && after.last == Seq(300), "{after:?}");
    let proven = keel_journal::proof::prove(dir.path(), Seq(250), 300, "");
    assert_eq!(proven, Err(keel_journal::proof::ProofError::NoBeginning));
}

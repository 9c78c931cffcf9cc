//! The writer's thread meets no missing page: counted by the kernel, not by a clock.

use super::support::{at, blob, open};
use keel_core::agent::Agent;
use keel_core::ids::Seq;
use keel_core::permit::Log;
use keel_journal::{Options, Writer};
use std::sync::atomic::{AtomicBool, Ordering};

/// Page faults of the calling thread so far, minor and major: fields 10 and 12 of its stat line.
fn faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[7].parse::<u64>().unwrap() + fields[9].parse::<u64>().unwrap()
}

#[test]
fn appending_meets_no_page_fault() {
    // beside the build directory: the temporary directory may be memory, which would prove less
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // no syncing of the open page: this thread pauses for the disk, and a page synced in a pause may trap once
    let options =
        Options { segment_bytes: 16 << 20, prefault_bytes: 4 << 20, sync_nanos: u64::MAX, ..Options::default() };
    let (mut writer, mut keeper) = open(dir.path(), options);
    let stop = AtomicBool::new(false);
    const PAGES: u64 = 10_000;
    let facts: Vec<_> = (0..64).map(|n| blob(n, 208)).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut nanos = 0;
            while !stop.load(Ordering::Relaxed) {
                nanos += 1_000_000;
                keeper.duty(at(nanos));
            }
        });
        let gauge = writer.gauge();
        // touch the code, the stack and the heap once: only the mapping is on trial
        let mut warm = Writer::in_memory(1 << 20).unwrap();
        for fact in &facts {
            warm.fact(at(0), Seq::NONE, fact).unwrap();
            faults();
        }
        let mut counted = 0;
        for page in 0..PAGES {
            let before = faults();
            for n in 0..16 {
                writer.fact(at(page * 16 + n), Seq::NONE, &facts[n as usize]).unwrap();
            }
            counted += faults() - before;
            // no faster than the disk: a quarter of the window stays ahead
            while writer.head().0 - gauge.durable().0 > 8192 {
                std::thread::yield_now();
            }
            for _ in 0..2000 {
                std::hint::spin_loop();
            }
        }
        stop.store(true, Ordering::Relaxed);
        println!("{PAGES} pages written, {counted} page faults");
        assert_eq!(counted, 0);
    });
    assert_eq!(keeper.failure(), None);
}

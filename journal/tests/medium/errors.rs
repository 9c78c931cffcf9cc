//! A medium that answers with errors, from some moment on.
//!
//! Whatever it is, the journal says so once and for all: its health is faulty (or low, for want of space), nothing more is
//! taken, also when the medium is well again, and nothing that was durable is overwritten. The next opening finds what was
//! durable. An error of a sync is final because the kernel forgets it: a second sync "succeeds" over pages that were lost.

use crate::luck::Luck;
use crate::medium::{Loss, Mood};
use crate::roles::{Found, Habit, Said, Writing, found};
use crate::room::{Ground, run};
use crate::stage::{Stage, formatted};
use std::io::Write;
use std::time::Duration;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

struct Case {
    name: &'static str,
    mood: Mood,
    /// What the journal's health must be at the end.
    health: &'static str,
}

const CASES: &[Case] = &[
    Case { name: "a sync answers EIO", mood: Mood::Failing { write: 0, sync: EIO, space: 0 }, health: "Faulty" },
    Case { name: "a write answers EIO", mood: Mood::Failing { write: EIO, sync: 0, space: 0 }, health: "Faulty" },
    Case {
        name: "everything answers EIO",
        mood: Mood::Failing { write: EIO, sync: EIO, space: EIO },
        health: "Faulty",
    },
    Case { name: "a write answers ENOSPC", mood: Mood::Failing { write: ENOSPC, sync: 0, space: 0 }, health: "Faulty" },
    Case {
        name: "there is no space for a segment",
        mood: Mood::Failing { write: 0, sync: 0, space: ENOSPC },
        health: "Low",
    },
];

/// Runs one fault on one ground.
fn fault(ground: Ground, disk: &[u8], habit: Habit, case: &Case, luck: &mut Luck) -> (Said, u64) {
    let mut stage = Stage::new(ground, disk);
    let mut writing = Writing::start(habit, &stage.journal(), luck.0);
    writing.begun();
    std::thread::sleep(Duration::from_millis(30) + Duration::from_micros(luck.below(150_000) as u64));
    stage.medium.feel(case.mood);
    // the writer ends by itself; then the medium is well again, and it is asked once more
    writing.ended();
    stage.medium.feel(Mood::Sound);
    writing.stdin.write_all(b"\n").unwrap();
    writing.child.wait().unwrap();
    let said = writing.said();
    match ground {
        // on the bare layer the power goes too: what a failed sync left behind is not durable
        Ground::Bare => stage.reboot(luck, &mut Loss::default()),
        Ground::Ext4 => stage.restart(),
    }
    let what = format!("{}, {ground:?}, {habit:?}", case.name);
    let head = match found(&stage.journal()) {
        Found::Stands { head, .. } => head,
        Found::Refused(why) => panic!("{what}: what was durable is refused: {why}"),
    };
    (said, head)
}

fn all(ground: Ground) {
    let mut luck = Luck(3);
    let disk = if ground == Ground::Ext4 { formatted() } else { Vec::new() };
    // on ext4 space is the file system's own, and its log turns every error of the disk into EIO
    let cases = CASES.iter().filter(|case| ground == Ground::Bare || case.health == "Faulty");
    for case in cases {
        for habit in [Habit::Window, Habit::Sync] {
            let (said, head) = fault(ground, &disk, habit, case, &mut luck);
            let what = format!("{}, {ground:?}, {habit:?}: {said:?}, {head} came up", case.name);
            let (health, written, durable) = said.ended.clone().expect(&what);
            assert_eq!(health, case.health, "{what}");
            let (health, taken, synced) = said.again.clone().expect(&what);
            if case.health == "Faulty" {
                assert_eq!((health.as_str(), taken, synced), ("Faulty", 0, 0), "nothing is tried again: {what}");
            } else {
                assert_eq!(health, "Sound", "space came back: {what}");
            }
            assert!(said.acked <= durable && head >= said.acked, "{what}");
            println!(
                "{}, {ground:?}, {habit:?}: {written} written, {durable} durable, health {}, {head} came up",
                case.name, case.health
            );
        }
    }
}

#[test]
fn errors_on_the_bare_layer() {
    run(Ground::Bare, "errors::bare");
}

#[test]
#[ignore = "the child of the case above"]
fn bare() {
    all(Ground::Bare);
}

#[test]
fn errors_under_ext4() {
    run(Ground::Ext4, "errors::ext4");
}

#[test]
#[ignore = "the child of the case above"]
fn ext4() {
    all(Ground::Ext4);
}

//! What a schedule may do to a journal, and what it may not.

use super::support::{at, read_all, scratch, small, written};
use keel_core::ids::Seq;
use keel_core::units::Wall;
use keel_journal::acts::{Act, Acts, ActsError, NAME};
use keel_journal::note::SecretKey;
use keel_journal::proof::{Checkpoint, checkpoint};
use keel_journal::retain::{DirVault, Policy, RetainError, Why, check_beginning, retain, survey};
use keel_journal::{What, verify};
use std::fs;
use std::path::Path;

const MS: u64 = 1_000_000;
const ORIGIN: &str = "keel.example/test";

/// Three hundred records, a millisecond apart; about eleven segments.
fn journal() -> (tempfile::TempDir, Vec<Checkpoint>) {
    let dir = scratch();
    let (writer, keeper) = written(dir.path(), small(), 300, 90);
    keeper.finish(writer).unwrap();
    let state = checkpoint(dir.path(), ORIGIN, None).unwrap();
    (dir, vec![state])
}

/// Hot for 50 ms, kept for 150.
const POLICY: Policy = Policy { hot: 50 * MS, keep: Some(150 * MS) };

fn later() -> Wall {
    at(1_000_000 * MS).wall
}

fn hold(name: &str, first: u64, last: u64) -> Act {
    Act::Hold { name: name.to_owned(), first: Seq(first), last: Seq(last), reason: "the regulator asked".to_owned() }
}

fn first(dir: &Path) -> u64 {
    read_all(dir).unwrap()[0].0.0
}

#[test]
fn a_schedule_compresses_then_deletes_and_the_journal_still_verifies() {
    let (dir, checkpoints) = journal();
    let acts = retain(dir.path(), POLICY, &checkpoints, later(), "schedule", None).unwrap();
    let count = |wanted: fn(&Act) -> bool| acts.lines().iter().filter(|line| wanted(&line.act)).count();
    let (packed, deleted) =
        (count(|act| matches!(act, Act::Packed { .. })), count(|act| matches!(act, Act::Deleted { .. })));
    assert!(packed > deleted && deleted >= 3, "{packed} {deleted}");
    assert!((140..=160).contains(&first(dir.path())), "{}", first(dir.path()));
    assert!(verify(dir.path()).is_sound());
    assert_eq!(check_beginning(dir.path(), &acts), Ok(deleted as u32));
    let again = retain(dir.path(), POLICY, &checkpoints, later(), "schedule", None).unwrap();
    assert_eq!(again.lines(), acts.lines(), "what is done is done");
    let (writer, _keeper) = super::support::open(dir.path(), small());
    assert_eq!(writer.head(), Seq(300));
}

#[test]
fn what_must_stay_stays() {
    let check = |prepare: &dyn Fn(&Path) -> Vec<Checkpoint>, policy: Policy, now: Wall, why: Why| {
        let (dir, _) = journal();
        let checkpoints = prepare(dir.path());
        let acts = Acts::read(dir.path()).unwrap();
        let pieces = survey(dir.path(), policy, &checkpoints, &acts, now, None).unwrap();
        assert_eq!(pieces[0].stays, Some(why.clone()));
        assert!(pieces[1..].iter().all(|piece| piece.stays.is_some()), "nothing behind it goes either");
        retain(dir.path(), policy, &checkpoints, now, "schedule", None).unwrap();
        assert_eq!((first(dir.path()), read_all(dir.path()).unwrap().len()), (1, 300), "{why}");
    };
    let whole = |dir: &Path| vec![checkpoint(dir, ORIGIN, None).unwrap()];
    check(&|_| vec![], POLICY, later(), Why::NoCheckpoint);
    check(&|dir| vec![checkpoint(dir, ORIGIN, Some(10)).unwrap()], POLICY, later(), Why::NoCheckpoint);
    check(&whole, Policy { keep: None, ..POLICY }, later(), Why::Young);
    check(&whole, POLICY, at(100 * MS).wall, Why::Young);
    check(
        &|dir| {
            Acts::open(dir).unwrap().add(later(), "alice", hold("CASE-7", 5, 9)).unwrap();
            whole(dir)
        },
        POLICY,
        later(),
        Why::Held("CASE-7".to_owned()),
    );
}

#[test]
fn a_clock_set_years_ahead_deletes_nothing() {
    let (dir, checkpoints) = journal();
    let year = Policy { hot: 50 * MS, keep: Some(365 * 86_400_000 * MS) };
    let ahead = Wall::from_nanos(u64::MAX / 2);
    retain(dir.path(), year, &checkpoints, ahead, "schedule", None).unwrap();
    assert_eq!(first(dir.path()), 1);
}

#[test]
fn a_hold_in_the_middle_keeps_it_and_everything_behind_it_until_it_is_released() {
    let (dir, checkpoints) = journal();
    let mut acts = Acts::open(dir.path()).unwrap();
    acts.add(later(), "alice", hold("CASE-7", 100, 101)).unwrap();
    assert_eq!(acts.add(later(), "bob", hold("CASE-7", 1, 2)), Err(ActsError::Taken));
    assert!(matches!(Acts::open(dir.path()), Err(ActsError::Busy)));
    drop(acts);
    retain(dir.path(), POLICY, &checkpoints, later(), "schedule", None).unwrap();
    let held = first(dir.path());
    assert!((60..=100).contains(&held), "{held}");
    let mut acts = Acts::open(dir.path()).unwrap();
    assert_eq!(acts.holds().len(), 1);
    let release = |name: &str| Act::Release { name: name.to_owned(), reason: String::new() };
    assert_eq!(acts.add(later(), "alice", release("CASE-8")), Err(ActsError::NoHold));
    acts.add(later(), "alice", release("CASE-7")).unwrap();
    drop(acts);
    retain(dir.path(), POLICY, &checkpoints, later(), "schedule", None).unwrap();
    assert!(first(dir.path()) > held);
}

#[test]
fn a_damaged_journal_and_a_changed_log_delete_nothing() {
    let (dir, checkpoints) = journal();
    let file = dir.path().join("0000000009.keel");
    let sound = fs::read(&file).unwrap();
    let mut spoilt = sound.clone();
    spoilt[5000] ^= 1;
    fs::write(&file, &spoilt).unwrap();
    let done = retain(dir.path(), Policy { hot: 149 * MS, ..POLICY }, &checkpoints, later(), "schedule", None);
    assert!(matches!(done, Err(RetainError::Damaged(damage)) if damage.segment == 9), "{done:?}");
    assert!(dir.path().join("0000000001.keel.zst").exists());
    fs::write(&file, &sound).unwrap();
    let other = vec![Checkpoint { root: [1; 32], ..checkpoints[0].clone() }];
    let done = retain(dir.path(), POLICY, &other, later(), "schedule", None);
    assert!(matches!(done, Err(RetainError::Damaged(damage)) if damage.what == What::Anchor), "{done:?}");

    let log = fs::read(dir.path().join(NAME)).unwrap();
    for at in 0..log.len() - 1 {
        let mut changed = log.clone();
        changed[at] ^= 1;
        assert!(Acts::parse(&changed).is_err() || changed[at] == b'\n', "byte {at}");
    }
    for cut in 0..log.len() {
        let (acts, whole) = Acts::parse(&log[..cut]).unwrap();
        assert!(whole <= cut as u64 && acts.lines().len() <= log.iter().filter(|byte| **byte == b'\n').count());
    }
    let lines: Vec<&[u8]> = log.split_inclusive(|byte| *byte == b'\n').collect();
    let without = [&lines[..1], &lines[2..]].concat().concat();
    assert!(matches!(Acts::parse(&without), Err(ActsError::Changed(2))));
    fs::write(dir.path().join(NAME), without).unwrap();
    let done = retain(dir.path(), POLICY, &checkpoints, later(), "schedule", None);
    assert!(matches!(done, Err(RetainError::Acts(ActsError::Changed(2)))), "{done:?}");
    assert_eq!(first(dir.path()), 1);
}

#[test]
fn words_that_would_forge_a_line_are_refused() {
    let dir = scratch();
    let mut acts = Acts::open(dir.path()).unwrap();
    for (who, name, reason) in [
        ("alice bob", "A", "x"),
        ("", "A", "x"),
        ("alice", "A B", "x"),
        ("alice", "", "x"),
        ("alice", "A", "x\n2 1 bob release A"),
        ("alice\t", "A", "x"),
    ] {
        let act = Act::Hold { name: name.to_owned(), first: Seq(1), last: Seq(2), reason: reason.to_owned() };
        assert_eq!(acts.add(later(), who, act), Err(ActsError::Word), "{who:?} {name:?} {reason:?}");
    }
    for reason in ["", "two words", " ", "  spaces  "] {
        let name = format!("n{}", reason.len());
        let act = Act::Hold { name, first: Seq(1), last: Seq(u64::MAX), reason: reason.to_owned() };
        acts.add(later(), "alice", act).unwrap();
    }
    assert_eq!(Acts::read(dir.path()).unwrap().lines(), acts.lines());
    // an act cut short in the middle of its line never happened
    let log = fs::read(dir.path().join(NAME)).unwrap();
    drop(acts);
    fs::write(dir.path().join(NAME), &log[..log.len() - 5]).unwrap();
    let mut acts = Acts::open(dir.path()).unwrap();
    assert_eq!(acts.lines().len(), 3);
    acts.add(later(), "alice", hold("again", 1, 2)).unwrap();
    assert_eq!(Acts::read(dir.path()).unwrap().lines().len(), 4);
}

#[test]
fn a_copy_comes_before_a_deletion_and_is_looked_for_again() {
    let (dir, checkpoints) = journal();
    let place = tempfile::tempdir().unwrap();
    let mut vault = DirVault(place.path().to_owned());
    let key = SecretKey::new(ORIGIN, &[1; 32]).unwrap();
    assert!(checkpoints[0].sign(&key).is_ok());
    let all = read_all(dir.path()).unwrap();
    let keep = Policy { keep: None, ..POLICY };
    let acts = retain(dir.path(), keep, &checkpoints, later(), "schedule", Some(&mut vault)).unwrap();
    let copies = acts.lines().iter().filter(|line| matches!(line.act, Act::Copied { .. })).count();
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), copies);
    // someone removes one copy: its original stays
    fs::remove_file(place.path().join("0000000002.keel.zst")).unwrap();
    let done = retain(dir.path(), POLICY, &checkpoints, later(), "schedule", Some(&mut vault));
    assert!(matches!(done, Err(RetainError::Vault(2, _))), "{done:?}");
    let acts = Acts::read(dir.path()).unwrap();
    assert!(acts.deleted(1).is_some() && acts.deleted(2).is_none());
    assert!(verify(dir.path()).is_sound());
    // what was copied is the journal: brought back, it is whole again
    fs::copy(place.path().join("0000000001.keel.zst"), dir.path().join("0000000001.keel.zst")).unwrap();
    assert_eq!(read_all(dir.path()).unwrap(), all);
}

#[test]
fn a_beginning_that_went_without_a_word_is_named() {
    let (dir, checkpoints) = journal();
    let acts = retain(dir.path(), POLICY, &checkpoints, later(), "schedule", None).unwrap();
    let deleted = check_beginning(dir.path(), &acts).unwrap();
    let next = deleted + 1;
    fs::remove_file(keel_journal::segment::packed_path(dir.path(), next)).unwrap();
    let named = check_beginning(dir.path(), &acts).unwrap_err();
    assert_eq!((named.segment, named.what), (next, What::Untold));
    assert_eq!(check_beginning(dir.path(), &Acts::default()).unwrap_err().what, What::Untold);
}

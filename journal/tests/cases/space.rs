//! A disk that fills up: trading shrinks first, market data stops next, cancels last, and nothing is lost or broken.

use super::support::{Blob, at, blob, duty, open, read_all, small};
use keel_core::event::Kind;
use keel_core::ids::Seq;
use keel_core::permit::{Log, LogFault, LogHealth};
use keel_journal::{Options, verify};
use std::path::Path;
use std::process::Command;

/// Fills a journal until everything is refused. Returns how many records stand.
fn fill(dir: &Path, options: Options) -> u64 {
    let (mut writer, mut keeper) = open(dir, options);
    let market = Blob(Kind::Trade, vec![7; 64]);
    let (mut low, mut refused) = (None, None);
    let mut n = writer.head().0;
    loop {
        n += 1;
        duty(&mut keeper, n * 1_000_000);
        if writer.health() == LogHealth::Low {
            low.get_or_insert(n);
        }
        if writer.fact(at(n), Seq::NONE, &market).is_ok() {
            continue;
        }
        refused.get_or_insert(n);
        match writer.fact(at(n), Seq::NONE, &blob(n, 64)) {
            Ok(seq) => assert_eq!(seq, Seq(n)),
            Err(why) => {
                assert_eq!(why, LogFault::Full);
                break;
            }
        }
    }
    let (low, refused) = (low.unwrap(), refused.unwrap());
    assert!(low < refused && refused < n, "low at {low}, market refused at {refused}, full at {n}");
    assert!(n - refused >= 4, "the reserve holds cancels");
    n - 1
}

#[test]
fn a_budget_is_a_disk_that_can_be_full() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { max_bytes: 5 * 12288, ..small() };
    let stands = fill(dir.path(), options);
    assert_eq!(read_all(dir.path()).unwrap().len() as u64, stands);
    assert!(verify(dir.path()).is_sound());
    let (mut writer, mut keeper) = open(dir.path(), Options { max_bytes: 0, ..options });
    duty(&mut keeper, u64::MAX / 2);
    assert_eq!(writer.fact(at(1), Seq::NONE, &blob(1, 64)), Ok(Seq(stands + 1)), "space came back");
    assert_eq!(writer.health(), LogHealth::Sound);
}

#[test]
fn a_full_file_system_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=80k", "tmpfs"]).arg(dir.path()).output();
    if !mount.is_ok_and(|mount| mount.status.success()) {
        println!("SKIPPED: mounting a small file system needs root");
        return;
    }
    let sub = dir.path().join("journal");
    let outcome = std::panic::catch_unwind(|| {
        let stands = fill(&sub, small());
        assert_eq!(read_all(&sub).unwrap().len() as u64, stands);
        assert!(verify(&sub).is_sound());
    });
    assert!(Command::new("umount").arg(dir.path()).status().unwrap().success());
    outcome.unwrap();
}

#[test]
fn a_medium_that_fails_breaks_the_journal_for_good() {
    use keel_core::agent::Agent;
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, mut keeper) = open(dir.path(), small());
    writer.fact(at(1), Seq::NONE, &blob(1, 64)).unwrap();
    // another process cuts the live file: its pages cannot be made ready any more
    let file = std::fs::OpenOptions::new().write(true).open(dir.path().join("0000000001.keel")).unwrap();
    let bytes = std::fs::read(dir.path().join("0000000001.keel")).unwrap();
    file.set_len(0).unwrap();
    keeper.duty(at(2_000_000_000));
    assert!(keeper.failure().is_some());
    assert_eq!(writer.health(), LogHealth::Faulty);
    assert_eq!(writer.fact(at(2), Seq::NONE, &blob(2, 64)), Err(LogFault::Broken));
    std::fs::write(dir.path().join("0000000001.keel"), bytes).unwrap();
    assert_eq!(keeper.duty(at(4_000_000_000)), 0, "nothing is tried again");
    assert_eq!(writer.fact(at(3), Seq::NONE, &blob(3, 64)), Err(LogFault::Broken));
    drop((writer, keeper));
    let (writer, _keeper) = open(dir.path(), small());
    assert_eq!((writer.head(), writer.health()), (Seq(1), LogHealth::Sound), "until a restart has read it again");
}

//! A disk that fills up: trading shrinks first, market data stops next, cancels last, and nothing is lost or broken.

use super::support::{Blob, at, blob, duty, read_all, small};
use keel_core::event::Kind;
use keel_core::ids::Seq;
use keel_core::permit::{Log, LogFault, LogHealth};
use keel_journal::{Options, Writer, verify};
use std::path::Path;
use std::process::Command;

/// Fills a journal until everything is refused. Returns how many records stand.
fn fill(dir: &Path, options: Options) -> u64 {
    let (mut writer, mut keeper) = Writer::open(dir, options).unwrap();
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
    let (mut writer, mut keeper) = Writer::open(dir.path(), Options { max_bytes: 0, ..options }).unwrap();
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

//! Compressed segments are the journal as much as plain ones.

use super::support::{Luck, open, read_all, scratch, small, written};
use keel_core::ids::Seq;
use keel_journal::archive::archive;
use keel_journal::{Damage, Reader, What, verify};
use std::fs;
use std::path::Path;

fn names(dir: &Path, suffix: &str) -> usize {
    fs::read_dir(dir)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().ends_with(suffix))
        .count()
}

#[test]
fn compressed_segments_are_read_verified_and_continued() {
    let dir = scratch();
    drop(written(dir.path(), small(), 300, 90));
    let (all, report) = (read_all(dir.path()).unwrap(), verify(dir.path()));
    let done = archive(dir.path(), 2).unwrap();
    assert!(done.len() as u32 == report.sealed - 2 && done[0] == 1);
    assert_eq!(names(dir.path(), ".zst"), done.len());
    assert!(archive(dir.path(), 2).unwrap().is_empty());
    assert_eq!(read_all(dir.path()).unwrap(), all);
    assert_eq!(verify(dir.path()), report);
    let mut reader = Reader::open_at(dir.path(), Seq(5)).unwrap();
    assert_eq!(reader.poll().unwrap().unwrap().seq, Seq(5));
    let (writer, keeper) = written(dir.path(), small(), 100, 90);
    keeper.finish(writer).unwrap();
    assert!(!archive(dir.path(), 0).unwrap().is_empty());
    assert!(verify(dir.path()).is_sound());
    assert_eq!(open(dir.path(), small()).0.head(), Seq(400));
}

#[test]
fn a_compressed_file_that_was_changed_is_named_or_holds_the_same_bytes() {
    let dir = scratch();
    drop(written(dir.path(), small(), 100, 90));
    archive(dir.path(), 1).unwrap();
    let sound = verify(dir.path());
    let file = dir.path().join("0000000002.keel.zst");
    let bytes = fs::read(&file).unwrap();
    let mut rng = Luck(11);
    let mut unchanged = 0;
    for n in 0..2000 {
        let mut spoilt = bytes.clone();
        let at = if n < bytes.len() { n } else { rng.below(bytes.len()) };
        match n % 3 {
            0 => spoilt[at] ^= 1 << rng.below(8),
            1 => spoilt[at] = spoilt[at].wrapping_add(1 + rng.below(255) as u8),
            _ => spoilt.truncate(at),
        }
        fs::write(&file, &spoilt).unwrap();
        let report = verify(dir.path());
        match report.damages.first() {
            Some(damage) => assert_eq!(damage.segment, 2, "{damage}"),
            // a bit of the container that carries no data
            None => {
                assert_eq!(report, sound);
                unchanged += 1;
            }
        }
    }
    assert!(unchanged < 40, "{unchanged} changes made no difference");
    fs::remove_file(&file).unwrap();
    assert_eq!(verify(dir.path()).damages[0], Damage { segment: 2, offset: 0, seq: Seq::NONE, what: What::Missing });
}

#[test]
fn a_file_that_claims_to_be_large_takes_no_memory() {
    let dir = scratch();
    drop(written(dir.path(), small(), 100, 90));
    archive(dir.path(), 1).unwrap();
    let file = dir.path().join("0000000001.keel.zst");
    let mut encoder = zstd::Encoder::new(fs::File::create(&file).unwrap(), 19).unwrap();
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), 4 << 30), &mut encoder).unwrap();
    encoder.finish().unwrap();
    assert!(fs::metadata(&file).unwrap().len() < 1 << 20);
    assert_eq!(verify(dir.path()).damages[0].segment, 1);
}

//! Ten thousand single mutations of a sealed journal, of five kinds, each named by its file and, where it struck a record,
//! by the record's number.
//!
//! The journal is held against a checkpoint of its end: without one, a journal whose last file was taken away is a shorter
//! journal, and nobody could tell.

use super::support::{Luck, scratch, small, written};
use keel_core::ids::Seq;
use keel_journal::frame;
use keel_journal::note::SecretKey;
use keel_journal::proof::{Checkpoint, checkpoint};
use keel_journal::verify::verify_against;
use keel_journal::{Damage, What};
use std::fs;
use std::path::{Path, PathBuf};

const EACH: usize = 2_000;
const LEN: usize = 90;
const RECORDS: u64 = 120;
const FIRST: usize = 4096;

struct Sealed {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Number of its first record.
    first: u64,
    count: usize,
}

impl Sealed {
    fn place(&self, record: usize) -> core::ops::Range<usize> {
        let size = frame::size(LEN);
        FIRST + record * size..FIRST + (record + 1) * size
    }

    /// The record a byte belongs to.
    fn at(&self, byte: usize) -> Option<Seq> {
        let record = byte.checked_sub(FIRST)? / frame::size(LEN);
        (record < self.count).then(|| Seq(self.first + record as u64))
    }
}

/// What was done, and the record that must be named if there is one.
type Done = (Vec<u8>, Option<Seq>);

fn changed(file: &Sealed, _: &[Sealed], luck: &mut Luck) -> Done {
    let (mut bytes, at) = (file.bytes.clone(), luck.below(file.bytes.len()));
    match luck.below(3) {
        0 => bytes[at] ^= 1 << luck.below(8),
        1 => bytes[at] = bytes[at].wrapping_add(1 + luck.below(255) as u8),
        _ => {
            let to = (at + 1 + luck.below(600)).min(bytes.len());
            bytes[at..to].fill(luck.below(256) as u8);
        }
    }
    let struck = bytes.iter().zip(&file.bytes).position(|(now, then)| now != then);
    (bytes, struck.and_then(|at| file.at(at)))
}

fn removed(file: &Sealed, _: &[Sealed], luck: &mut Luck) -> Done {
    let from = luck.below(file.count);
    let many = 1 + luck.below(3.min(file.count - from));
    let (gap, end) = (file.place(from).start..file.place(from + many - 1).end, file.place(file.count - 1).end);
    let mut bytes = file.bytes.clone();
    bytes.splice(end..end, vec![0; gap.len()]);
    bytes.drain(gap);
    (bytes, Some(Seq(file.first + from as u64)))
}

/// A record of this file or another one, or one that never was, between two others or behind the last.
fn inserted(file: &Sealed, all: &[Sealed], luck: &mut Luck) -> Done {
    let before = luck.below(file.count + 1);
    let from = &all[luck.below(all.len())];
    let copy = from.bytes[from.place(luck.below(from.count))].to_vec();
    let mut bytes = file.bytes.clone();
    let at = file.place(before).start;
    bytes.splice(at..at, copy);
    // what the last page of frames cannot hold is pushed out, so that the seal stays where it is
    let limit = file.bytes.len() - 4096;
    bytes.drain(limit..limit + frame::size(LEN));
    let struck = bytes.iter().zip(&file.bytes).position(|(now, then)| now != then);
    (bytes, struck.and_then(|at| file.at(at)))
}

fn reordered(file: &Sealed, _: &[Sealed], luck: &mut Luck) -> Done {
    let (one, other) = (luck.below(file.count), luck.below(file.count));
    let mut bytes = file.bytes.clone();
    bytes[file.place(one)].copy_from_slice(&file.bytes[file.place(other)]);
    bytes[file.place(other)].copy_from_slice(&file.bytes[file.place(one)]);
    (bytes, Some(Seq(file.first + one.min(other) as u64)))
}

/// The file ends early, or its records do and the rest is zeros, with or without its seal.
fn truncated(file: &Sealed, _: &[Sealed], luck: &mut Luck) -> Done {
    let mut bytes = file.bytes.clone();
    match luck.below(4) {
        0 => (file.bytes[..luck.below(bytes.len())].to_vec(), None),
        1 => (Vec::new(), None),
        way => {
            let from = luck.below(file.count);
            let to = if way == 2 { bytes.len() } else { bytes.len() - 4096 };
            bytes[file.place(from).start..to].fill(0);
            (bytes, Some(Seq(file.first + from as u64)))
        }
    }
}

fn files(dir: &Path) -> Vec<Sealed> {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|file| file.extension().is_some_and(|extension| extension == "keel"));
    paths.sort();
    let each = 4096 / frame::size(LEN);
    let mut first = 1;
    let mut sealed = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap();
        let count = each.min((RECORDS + 1 - first) as usize);
        first += count as u64;
        Sealed { path, bytes, first: first - count as u64, count }
    };
    paths.into_iter().map(&mut sealed).filter(|file| file.count > 0).collect()
}

fn is_named(damages: &[Damage], number: usize, record: Option<Seq>) -> bool {
    let Some(damage) = damages.first() else { return false };
    // a record whose length was changed may be told as bytes behind the last one; a seal may tell for all of its file
    let as_file = damage.seq == Seq::NONE || matches!(damage.what, What::Tail | What::SealDisagrees | What::CutOff);
    damage.segment as usize == number && (as_file || record.is_none_or(|record| damage.seq == record))
}

fn end(dir: &Path) -> Checkpoint {
    let key = SecretKey::new("keel.example/test", &[7; 32]).unwrap();
    let note = checkpoint(dir, "keel.example/test", None).unwrap().sign(&key).unwrap();
    Checkpoint::open(&note, &key.public()).unwrap()
}

#[test]
fn ten_thousand_mutations_of_a_sealed_journal_are_all_named() {
    let dir = scratch();
    let (writer, keeper) = written(dir.path(), small(), RECORDS, LEN);
    keeper.finish(writer).unwrap();
    let (files, anchors) = (files(dir.path()), [end(dir.path())]);
    assert!(verify_against(dir.path(), &anchors).is_sound());
    let kinds: [(&str, fn(&Sealed, &[Sealed], &mut Luck) -> Done); 5] = [
        ("changed", changed),
        ("removed", removed),
        ("inserted", inserted),
        ("reordered", reordered),
        ("truncated", truncated),
    ];
    let mut luck = Luck(7);
    for (name, mutate) in kinds {
        let (mut done, mut by_record) = (0, 0);
        while done < EACH {
            let which = luck.below(files.len());
            let file = &files[which];
            let (bytes, record) = mutate(file, &files, &mut luck);
            if bytes == file.bytes {
                continue;
            }
            fs::write(&file.path, &bytes).unwrap();
            let damages = verify_against(dir.path(), &anchors).damages;
            assert!(
                is_named(&damages, which + 1, record),
                "{name} in {}, {record:?}: {damages:?}",
                file.path.display()
            );
            by_record += usize::from(record.is_some() && damages[0].seq == record.unwrap_or_default());
            fs::write(&file.path, &file.bytes).unwrap();
            done += 1;
        }
        println!("{name}: {done} of {done} named by their file, {by_record} of them by the record's number");
    }
    // the last file taken away altogether: the checkpoint alone can tell, and does
    let last = files.last().unwrap();
    fs::remove_file(&last.path).unwrap();
    let damages = verify_against(dir.path(), &anchors).damages;
    assert!(damages.iter().any(|damage| damage.what == What::CutOff && damage.seq == Seq(RECORDS)), "{damages:?}");
}

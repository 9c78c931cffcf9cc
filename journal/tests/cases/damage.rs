//! Bytes changed, removed, inserted, reordered: all of it is detected and named.

use super::support::{Luck, read_all, scratch, small, try_open, written};
use keel_journal::{Options, Reader, Report, verify};
use std::fs;
use std::path::{Path, PathBuf};

/// A small journal: some sealed segments, one unsealed, one spare.
fn journal(sealed_only: bool) -> tempfile::TempDir {
    journal_of(100, sealed_only)
}

fn journal_of(records: u64, sealed_only: bool) -> tempfile::TempDir {
    let dir = scratch();
    let (writer, keeper) = written(dir.path(), small(), records, 90);
    if sealed_only {
        keeper.finish(writer).unwrap()
    } else {
        drop((writer, keeper))
    }
    dir
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "keel"));
    files.sort();
    files
}

fn noticed(report: &Report) -> bool {
    // a lone change in the tail of an unsealed segment may look like an append that was just begun: it is still reported
    !report.is_sound() || report.torn
}

#[test]
fn every_byte_position_changed_is_named() {
    let dir = journal_of(40, false);
    assert!(verify(dir.path()).is_sound());
    for file in files(dir.path()) {
        let sound = fs::read(&file).unwrap();
        for at in 0..sound.len() {
            let mut spoilt = sound.clone();
            spoilt[at] ^= 1 << (at % 8);
            fs::write(&file, &spoilt).unwrap();
            let report = verify(dir.path());
            assert!(noticed(&report), "{} byte {at}", file.display());
            let number: u32 = file.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            if let Some(damage) = report.damages.first() {
                assert_eq!(damage.segment, number, "{damage}");
                assert!(damage.offset <= at as u64, "{damage} for byte {at}");
            }
        }
        fs::write(&file, &sound).unwrap();
    }
    assert!(verify(dir.path()).is_sound());
}

#[test]
fn every_length_a_file_may_be_cut_to_is_named() {
    let dir = journal(true);
    for file in files(dir.path()) {
        let sound = fs::read(&file).unwrap();
        for len in (0..sound.len()).step_by(61).chain([sound.len() - 1]) {
            fs::write(&file, &sound[..len]).unwrap();
            assert!(!verify(dir.path()).is_sound(), "{} cut to {len}", file.display());
            assert!(try_open(dir.path(), small()).is_err(), "{} cut to {len}", file.display());
        }
        fs::write(&file, [&sound[..], b"more"].concat()).unwrap();
        assert!(!verify(dir.path()).is_sound());
        fs::write(&file, &sound).unwrap();
    }
    assert!(try_open(dir.path(), small()).is_ok());
}

#[test]
fn a_writer_never_goes_on_from_damage_unseen() {
    let dir = journal(false);
    let files = files(dir.path());
    let active = &files[files.len() - 2];
    let sound: Vec<_> = files.iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect();
    let size = fs::metadata(active).unwrap().len() as usize;
    for at in (0..size).step_by(7) {
        let mut spoilt = fs::read(active).unwrap();
        spoilt[at] ^= 0x10;
        fs::write(active, &spoilt).unwrap();
        if let Ok((_, keeper)) = try_open(dir.path(), small()) {
            let recovery = keeper.recovery();
            assert!(recovery.cut.is_some() || recovery.torn, "byte {at} went unseen");
            assert!(!recovery.torn || recovery.last.0 == 100);
        }
        for entry in fs::read_dir(dir.path()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for (file, bytes) in &sound {
            fs::write(file, bytes).unwrap();
        }
    }
}

#[test]
fn removed_inserted_swapped_and_rewritten_records_are_named() {
    let dir = journal(true);
    let file = &files(dir.path())[1];
    let sound = fs::read(file).unwrap();
    let frame = keel_journal::frame::size(90);
    let (first, end) = (4096, 8192 - 8192 % frame);
    let place = |n: usize| first + n * frame..first + (n + 1) * frame;
    let edits: [(&str, &dyn Fn(&mut Vec<u8>)); 4] = [
        ("removed", &|bytes| {
            bytes.drain(place(3));
            bytes.splice(end - frame..end - frame, vec![0; frame]);
        }),
        ("inserted", &|bytes| {
            let copy = bytes[place(3)].to_vec();
            bytes.splice(place(4).start..place(4).start, copy);
            bytes.drain(end..end + frame);
        }),
        ("swapped", &|bytes| {
            let (a, b) = (bytes[place(3)].to_vec(), bytes[place(4)].to_vec());
            bytes[place(3)].copy_from_slice(&b);
            bytes[place(4)].copy_from_slice(&a);
        }),
        ("rewritten with a sound checksum", &|bytes| {
            let salt = u32::from_le_bytes(bytes[40..44].try_into().unwrap());
            let range = place(3);
            bytes[range.start + 50] ^= 1;
            let crc = crc32c::crc32c_append(salt, &bytes[range.start..range.start + 44]);
            let crc = crc32c::crc32c_append(crc, &bytes[range.start + 48..range.start + 48 + 90]);
            bytes[range.start + 44..range.start + 48].copy_from_slice(&crc.to_le_bytes());
        }),
    ];
    for (name, edit) in edits {
        let mut bytes = sound.clone();
        edit(&mut bytes);
        assert_eq!(bytes.len(), sound.len(), "{name}");
        assert_ne!(bytes, sound, "{name}");
        fs::write(file, &bytes).unwrap();
        let report = verify(dir.path());
        assert!(report.damages.iter().any(|damage| damage.segment == 2), "{name}: {:?}", report.damages);
    }
    fs::write(file, &sound).unwrap();
    assert!(verify(dir.path()).is_sound());
}

#[test]
fn missing_foreign_and_mixed_files_are_refused_by_name() {
    let dir = journal(true);
    let other = journal(true);
    let files = files(dir.path());
    let sound = fs::read(&files[1]).unwrap();
    let check = |bytes: Option<&[u8]>, sentence: &str| {
        match bytes {
            Some(bytes) => fs::write(&files[1], bytes).unwrap(),
            None => fs::remove_file(&files[1]).unwrap(),
        }
        let open = try_open(dir.path(), small()).unwrap_err().to_string();
        assert_eq!(open, format!("0000000002.keel byte 0: {sentence}"));
        let report = verify(dir.path());
        assert!(report.damages.iter().any(|damage| damage.to_string() == open), "{:?}", report.damages);
    };
    check(None, "missing");
    check(Some(&[b'x'; 12288]), "not a segment of a keel journal");
    check(Some(&sound[..5000]), "the file is shorter or longer than its header says");
    check(Some(&fs::read(&files[2]).unwrap()), "the name and the header disagree about the number");
    check(Some(&fs::read(other.path().join("0000000002.keel")).unwrap()), "belongs to another journal");
}

#[test]
fn arbitrary_bytes_end_in_an_error_never_in_a_panic() {
    let dir = journal(true);
    let file = &files(dir.path())[0];
    let sound = fs::read(file).unwrap();
    let mut rng = Luck(3);
    for _ in 0..500 {
        let mut bytes = sound.clone();
        let from = rng.below(bytes.len());
        let to = (from + rng.below(5000)).min(bytes.len());
        bytes[from..to].iter_mut().for_each(|byte| *byte = rng.below(256) as u8);
        fs::write(file, &bytes).unwrap();
        assert_eq!(verify(dir.path()).is_sound(), bytes == sound);
        let _ = read_all(dir.path());
        let _ = Reader::open_at(dir.path(), keel_core::ids::Seq(rng.below(120) as u64));
        let _ = try_open(dir.path(), Options { max_bytes: 1, ..small() });
        fs::write(file, &sound).unwrap();
    }
}

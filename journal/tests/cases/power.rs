//! The loss of the host: sectors reach the medium in any order, or not at all.
//!
//! The case keeps a picture of every file after each step. When the power goes, each 512-byte sector that was not synced
//! for good shows what it held in some picture, chosen by luck; what was synced shows what it holds now. From that a
//! directory is rebuilt, and the journal must come up with everything it called durable.

use super::support::{Luck, at, blob, open, read_all, scratch, small, try_open};
use keel_core::agent::Agent;
use keel_core::ids::Seq;
use keel_core::permit::Log;
use keel_journal::{Durability, Options, frame, verify};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const SECTOR: usize = 512;
const LEN: usize = 150;
const CUTS: u64 = 300;

type Picture = BTreeMap<String, Vec<u8>>;

fn picture(dir: &Path) -> Picture {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let name = |entry: &fs::DirEntry| entry.file_name().to_str().unwrap().to_owned();
    let files = files.filter(|entry| name(entry).ends_with(".keel"));
    files.map(|entry| (name(&entry), fs::read(entry.path()).unwrap())).collect()
}

/// Where the record after `seq` begins: its segment and its offset.
fn place(seq: u64) -> (u64, usize) {
    let (size, room) = (frame::size(LEN), 12288 - 8192);
    let each = (room / size) as u64;
    if seq == 0 { (1, 4096) } else { ((seq - 1) / each + 1, 4096 + ((seq - 1) % each + 1) as usize * size) }
}

#[test]
fn what_was_durable_survives_any_order_of_writeback() {
    let mut rng = Luck(7);
    let (mut cut, mut lost, mut kept_beyond) = (0, 0, 0);
    for round in 0..CUTS {
        let dir = scratch();
        let durability = if round % 4 == 0 { Durability::Sync } else { Durability::Window };
        let options = Options { durability, sync_nanos: 5_000_000, ..small() };
        let (mut writer, mut keeper) = open(dir.path(), options);
        let mut pictures = vec![picture(dir.path())];
        let mut n = 0;
        for step in 0..4 + rng.below(12) {
            for _ in 0..rng.below(14) {
                let fact = blob(n + 1, LEN);
                let done = if rng.below(5) == 0 {
                    writer.record(at(n), Seq(n), fact).map(|recorded| recorded.seq())
                } else {
                    writer.fact(at(n), Seq(n), &fact)
                };
                n += u64::from(done.is_ok());
            }
            pictures.push(picture(dir.path()));
            if rng.below(3) > 0 {
                keeper.duty(at(step as u64 * 10_000_000));
                pictures.push(picture(dir.path()));
            }
        }
        let durable = writer.gauge().durable().0;
        drop((writer, keeper));

        let after = scratch();
        let now = pictures.last().unwrap().clone();
        let (segment, offset) = place(durable);
        for (number, (name, bytes)) in (1..).zip(&now) {
            let sealed = bytes[bytes.len() - 4096..].iter().any(|byte| *byte != 0) && number < segment;
            let mut rebuilt = bytes.clone();
            for from in (4096..bytes.len()).step_by(SECTOR) {
                let durable = sealed || number < segment || (number == segment && from + SECTOR <= offset);
                // a sector half below the end of what is durable: its first half at least is as it was synced
                let shared = number == segment && from < offset && offset < from + SECTOR;
                let pick = &pictures[rng.below(pictures.len())];
                let old =
                    pick.get(name).map_or(&vec![0; bytes.len()][..], |old| &old[..])[from..from + SECTOR].to_vec();
                let possible = !shared || old[..offset - from] == bytes[from..offset];
                if !durable && possible {
                    rebuilt[from..from + SECTOR].copy_from_slice(&old);
                }
            }
            fs::write(after.path().join(name), rebuilt).unwrap();
        }
        let (writer, keeper) = try_open(after.path(), options)
            .unwrap_or_else(|why| panic!("round {round}, {durable} durable of {n}: {why}"));
        let head = writer.head().0;
        assert!(head >= durable, "round {round}: {head} of {durable} durable records came up");
        cut += u64::from(keeper.recovery().cut.is_some());
        lost += n - head;
        kept_beyond += head - durable;
        drop((writer, keeper));
        let all = read_all(after.path()).unwrap();
        assert_eq!(all.len() as u64, head);
        assert!((1..).zip(&all).all(|(n, (seq, bytes))| seq.0 == n && *bytes == blob(n, LEN).1));
        let report = verify(after.path());
        assert!(report.is_sound() && !report.torn, "round {round}: {:?}", report.damages);
    }
    println!("{CUTS} power cuts: {cut} journals cut, {lost} undurable records lost, {kept_beyond} kept all the same");
    assert!(cut > CUTS / 10, "the case must meet holes to mean something");
}

#[test]
fn with_sync_a_decision_is_durable_before_its_proof_is_there() {
    let dir = scratch();
    let options = Options { durability: Durability::Sync, ..small() };
    let (mut writer, mut keeper) = open(dir.path(), options);
    let gauge = writer.gauge();
    for n in 1..=60 {
        writer.fact(at(n), Seq::NONE, &blob(n, LEN)).unwrap();
        let recorded = writer.record(at(n), Seq::NONE, blob(n, LEN)).unwrap();
        assert_eq!(gauge.durable(), recorded.seq());
        keeper.duty(at(n));
    }
}

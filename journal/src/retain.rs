//! How long a journal is kept: hot, then compressed, then copied elsewhere, then, if the law lets it, deleted.
//!
//! In: a directory, a [`Policy`], checkpoints kept elsewhere, holds. Out: what is to be done with each segment, and why
//! not ([`survey`]); or it is done ([`retain`]), each act in the log of [`acts`](crate::acts) first. Never: a segment
//! deleted that is not sealed, that does not verify, that no checkpoint covers, that is held, or whose successors would
//! be left without it while it is held; an age measured by a clock that is ahead of the journal.
//!
//! ```text
//!   oldest                                                                  newest
//!   [ deleted | compressed, copied, kept ..................... | hot | sealed | live ]
//!             ^ older than `keep`                              ^ older than `hot`
//! ```
//!
//! Deletion goes from the oldest on and stops at the first segment that must stay: a journal has no holes.

use crate::acts::{Act, Acts, ActsError, Hold};
use crate::archive;
use crate::damage::{Damage, What};
use crate::frames::{Frames, SealPage};
use crate::history::{Hash, Seal};
use crate::proof::Checkpoint;
use crate::segment;
use crate::verify::verify_against;
use core::fmt;
use keel_core::ids::Seq;
use keel_core::units::Wall;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Nanoseconds a sealed segment stays as it is.
    pub hot: u64,
    /// Nanoseconds until it may be deleted; `None`: never.
    pub keep: Option<u64>,
}

/// Somewhere else that keeps compressed segments.
pub trait Vault {
    /// Its name in the log; no spaces.
    fn place(&self) -> String;
    /// Keeps `bytes`, unchanged and undeleted until `until` where it can promise that; returns once they were read back.
    /// Without a date the schedule never deletes.
    fn keep(&mut self, name: &str, bytes: &[u8], until: Option<Wall>) -> io::Result<()>;
    /// Are the bytes with this hash still there?
    fn holds(&mut self, name: &str, sha256: &Hash) -> io::Result<bool>;
}

/// A directory as a vault: another disk, a mounted share. It promises no lock beyond a read-only file.
#[derive(Debug)]
pub struct DirVault(pub PathBuf);

impl Vault for DirVault {
    fn place(&self) -> String {
        self.0.display().to_string().replace(char::is_whitespace, "_")
    }

    fn keep(&mut self, name: &str, bytes: &[u8], _until: Option<Wall>) -> io::Result<()> {
        let (path, unfinished) = (self.0.join(name), self.0.join(format!("{name}.tmp")));
        fs::write(&unfinished, bytes)?;
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o444))?;
        File::open(&unfinished)?.sync_all()?;
        fs::rename(&unfinished, &path)?;
        File::open(&self.0)?.sync_all()?;
        if fs::read(&path)? == bytes { Ok(()) } else { Err(io::Error::from(io::ErrorKind::InvalidData)) }
    }

    fn holds(&mut self, name: &str, sha256: &Hash) -> io::Result<bool> {
        match fs::read(self.0.join(name)) {
            Ok(bytes) => Ok(hash(&bytes) == *sha256),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(why) => Err(why),
        }
    }
}

/// Why a segment stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is being written, or waits for its seal.
    Unsealed,
    /// Recovery goes on from the newest seal.
    Newest,
    /// Not old enough for anything more.
    Young,
    /// No signed checkpoint kept elsewhere covers its last record.
    NoCheckpoint,
    /// This hold covers a record of it.
    Held(String),
    /// The vault does not have it.
    NoCopy,
    /// An older one stays, and a journal has no holes.
    Behind(u32),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsealed => write!(f, "not sealed yet"),
            Self::Newest => write!(f, "the newest sealed one"),
            Self::Young => write!(f, "not old enough"),
            Self::NoCheckpoint => write!(f, "no checkpoint covers it"),
            Self::Held(name) => write!(f, "held by {name}"),
            Self::NoCopy => write!(f, "not copied yet"),
            Self::Behind(number) => write!(f, "segment {number} stays"),
        }
    }
}

/// One segment, and what is to become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its number.
    pub number: u32,
    /// Its first and last record, the chain after it and when the last was written, once it is sealed.
    pub seal: Option<(Seq, Seq, Hash, Wall)>,
    /// It is compressed.
    pub packed: bool,
    /// It is old enough to be.
    pub pack: bool,
    /// Why it is not deleted; `None`: it is.
    pub stays: Option<Why>,
}

/// Why nothing, or no more, was done.
#[derive(Debug)]
pub enum RetainError {
    /// The journal is damaged: nothing of it is deleted.
    Damaged(Damage),
    /// The log of acts.
    Acts(ActsError),
    /// The vault.
    Vault(u32, io::Error),
}

impl fmt::Display for RetainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(damage) => write!(f, "nothing is deleted from a damaged journal: {damage}"),
            Self::Acts(why) => write!(f, "{why}"),
            Self::Vault(segment, why) => write!(f, "segment {segment} was not copied: {why}"),
        }
    }
}

impl std::error::Error for RetainError {}

impl From<Damage> for RetainError {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

impl From<ActsError> for RetainError {
    fn from(why: ActsError) -> Self {
        Self::Acts(why)
    }
}

/// What the schedule says of each segment. `place`: the vault whose copies a deletion waits for.
pub fn survey(
    dir: &Path,
    policy: Policy,
    checkpoints: &[Checkpoint],
    acts: &Acts,
    now: Wall,
    place: Option<&str>,
) -> Result<Vec<Piece>, Damage> {
    let mut pieces = Vec::new();
    for number in segment::list(dir).map_err(|why| Damage::io(0, &why))? {
        let seal = match Frames::open(dir, number)?.seal().map_err(|what| Damage::file(number, what))? {
            SealPage::Sealed(seal, wall) => Some(summary(&seal, wall)),
            SealPage::Blank => None,
            SealPage::Spoilt => return Err(Damage::file(number, What::SealPage)),
        };
        let packed = !segment::path(dir, number).exists();
        pieces.push(Piece { number, seal, packed, pack: false, stays: None });
    }
    let newest = pieces.iter().rev().find_map(|piece| piece.seal.map(|(.., wall)| (piece.number, wall)));
    // the journal's own newest seal bounds the clock: one that was set years ahead deletes nothing
    let now = newest.map_or(now, |(_, wall)| now.min(wall));
    let covered = checkpoints.iter().map(|checkpoint| checkpoint.size).max().unwrap_or(0);
    let holds = acts.holds();
    let mut stopped = None;
    for piece in &mut pieces {
        let number = piece.number;
        let Some((first, last, _, wall)) = piece.seal else {
            piece.stays = Some(Why::Unsealed);
            continue;
        };
        let age = now.since(wall);
        let is_newest = newest.is_some_and(|(newest, _)| newest == number);
        piece.pack = !piece.packed && !is_newest && age >= policy.hot;
        let held = |hold: &&Hold| hold.first <= last && first <= hold.last;
        piece.stays = match holds.iter().find(held) {
            _ if is_newest => Some(Why::Newest),
            _ if policy.keep.is_none_or(|keep| age < keep) => Some(Why::Young),
            Some(hold) => Some(Why::Held(hold.name.clone())),
            None if covered < last.0 => Some(Why::NoCheckpoint),
            None if place.is_some_and(|place| acts.copied(number, place).is_none()) => Some(Why::NoCopy),
            None => stopped.map(Why::Behind),
        };
        if piece.stays.is_some() {
            stopped.get_or_insert(number);
        }
    }
    Ok(pieces)
}

fn summary(seal: &Seal, wall: Wall) -> (Seq, Seq, Hash, Wall) {
    (seal.terms.first, seal.terms.last, seal.terms.after, wall)
}

/// Does what the schedule says, in the name of `who`. Returns the log, read only.
pub fn retain(
    dir: &Path,
    policy: Policy,
    checkpoints: &[Checkpoint],
    now: Wall,
    who: &str,
    mut vault: Option<&mut dyn Vault>,
) -> Result<Acts, RetainError> {
    let mut acts = Acts::open(dir)?;
    let place = vault.as_ref().map(|vault| vault.place());
    let plan = |acts: &Acts| survey(dir, policy, checkpoints, acts, now, place.as_deref());
    for piece in plan(&acts)?.iter().filter(|piece| piece.pack) {
        acts.add(now, who, Act::Packed { segment: piece.number })?;
        archive::compress(dir, piece.number).map_err(|why| Damage::io(piece.number, &why))?;
    }
    if let Some(vault) = &mut vault {
        for piece in plan(&acts)? {
            copy(dir, &piece, policy, *vault, &mut acts, now, who)?;
        }
    }
    let doomed: Vec<_> = plan(&acts)?.into_iter().filter(|piece| piece.stays.is_none()).collect();
    if doomed.is_empty() {
        return Ok(acts.closed());
    }
    if let Some(damage) = verify_against(dir, checkpoints).damages.first() {
        return Err(RetainError::Damaged(*damage));
    }
    for piece in doomed {
        let Some((first, last, chain, _)) = piece.seal else { break };
        if let (Some(vault), Some(place)) = (&mut vault, &place) {
            let name = packed_name(piece.number);
            let there = acts.copied(piece.number, place).map(|sha256| vault.holds(&name, &sha256)).transpose();
            if !there.map_err(|why| RetainError::Vault(piece.number, why))?.unwrap_or(false) {
                let why = io::Error::new(io::ErrorKind::NotFound, "its copy is gone or was changed");
                return Err(RetainError::Vault(piece.number, why));
            }
        }
        acts.add(now, who, Act::Deleted { segment: piece.number, first, last, chain })?;
        remove(dir, piece.number).map_err(|why| Damage::io(piece.number, &why))?;
    }
    Ok(acts.closed())
}

/// Copies a compressed segment that the vault does not have yet.
fn copy(
    dir: &Path,
    piece: &Piece,
    policy: Policy,
    vault: &mut dyn Vault,
    acts: &mut Acts,
    now: Wall,
    who: &str,
) -> Result<(), RetainError> {
    let (number, place) = (piece.number, vault.place());
    let Some((.., wall)) = piece.seal.filter(|_| piece.packed && acts.copied(number, &place).is_none()) else {
        return Ok(());
    };
    let bytes = fs::read(segment::packed_path(dir, number)).map_err(|why| Damage::io(number, &why))?;
    let until = policy.keep.map(|keep| wall.after(keep));
    vault.keep(&packed_name(number), &bytes, until).map_err(|why| RetainError::Vault(number, why))?;
    Ok(acts.add(now, who, Act::Copied { segment: number, sha256: hash(&bytes), place })?)
}

fn remove(dir: &Path, number: u32) -> io::Result<()> {
    for path in [segment::path(dir, number), segment::packed_path(dir, number)] {
        match fs::remove_file(path) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
            _ => {}
        }
    }
    File::open(dir)?.sync_all()
}

fn packed_name(number: u32) -> String {
    format!("{}.zst", segment::name(number))
}

fn hash(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// Are the segments before the first one gone by the log's own account? `Ok` for a journal that has its beginning.
pub fn check_beginning(dir: &Path, acts: &Acts) -> Result<u32, Damage> {
    let numbers = segment::list(dir).map_err(|why| Damage::io(0, &why))?;
    let Some(first) = numbers.first() else { return Ok(0) };
    let told = |number: &u32| acts.deleted(*number).is_some();
    if let Some(missing) = (1..*first).rev().find(|number| !told(number)) {
        return Err(Damage::file(missing, What::Untold));
    }
    let Some(Act::Deleted { chain, .. }) = first.checked_sub(1).and_then(|n| acts.deleted(n)).map(|line| &line.act)
    else {
        return Ok(0);
    };
    match Frames::open(dir, *first)?.seal().map_err(|what| Damage::file(*first, what))? {
        SealPage::Sealed(seal, _) if seal.terms.before != *chain => Err(Damage::file(*first, What::SealOutOfChain)),
        _ => Ok(first - 1),
    }
}

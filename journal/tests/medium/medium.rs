//! What a disk holds, and what it would hold if the power went now.
//!
//! In: writes and syncs. Out: bytes. A sync makes every write before it durable. When the power goes, each write since is
//! kept whole, lost whole, or torn at the borders of 512-byte sectors, as luck has it; nothing else changes. Names and
//! sizes of files are durable at once: the hardest case for a file whose name is there before its content.

use crate::luck::Luck;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::sync::{Condvar, Mutex, MutexGuard};

const SECTOR: usize = 512;

/// How the medium behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Sound,
    /// It says that a sync is done and does nothing.
    Lying,
    /// The power is gone: nothing is answered any more.
    Off,
    /// Everything is answered with an error: what is left of a machine is cleared away.
    Gone,
    /// Errors, by their number: of a write, of a sync, of taking space. Zero: none.
    Failing { write: i32, sync: i32, space: i32 },
}

/// A file: what it shows, what is durable, and the writes that are not.
#[derive(Debug, Default)]
pub struct Content {
    pub now: Vec<u8>,
    durable: Vec<u8>,
    since: Vec<(usize, Vec<u8>)>,
}

impl Content {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { durable: bytes.clone(), now: bytes, since: Vec::new() }
    }

    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        self.grow(at + bytes.len());
        self.now[at..at + bytes.len()].copy_from_slice(bytes);
        self.since.push((at, bytes.to_vec()));
    }

    pub fn grow(&mut self, to: usize) {
        self.resize(self.now.len().max(to));
    }

    pub fn resize(&mut self, to: usize) {
        self.now.resize(to, 0);
        self.durable.resize(to, 0);
        self.since.retain(|(at, bytes)| at + bytes.len() <= to);
    }

    pub fn sync(&mut self) {
        for (at, bytes) in self.since.drain(..) {
            self.durable[at..at + bytes.len()].copy_from_slice(&bytes);
        }
    }

    /// The power comes back: what is durable, and of each write since what luck kept.
    fn settle(&mut self, luck: &mut Luck, lost: &mut Loss) {
        let habit = luck.below(4);
        for (at, bytes) in self.since.drain(..) {
            lost.unsynced += 1;
            let fate = [luck.below(3), 0, 1, luck.below(8).min(2)][habit];
            lost.dropped += u64::from(fate == 0);
            lost.torn += u64::from(fate == 2);
            for (index, sector) in bytes.chunks(SECTOR).enumerate() {
                if fate == 1 || (fate == 2 && luck.below(2) == 0) {
                    let from = at + index * SECTOR;
                    self.durable[from..from + sector.len()].copy_from_slice(sector);
                }
            }
        }
        self.now.clone_from(&self.durable);
    }
}

/// What the cuts did, for people.
#[derive(Clone, Copy, Debug, Default)]
pub struct Loss {
    pub unsynced: u64,
    pub dropped: u64,
    pub torn: u64,
}

#[derive(Debug)]
pub struct State {
    pub mood: Mood,
    pub files: BTreeMap<u64, Content>,
    pub names: BTreeMap<OsString, u64>,
    next: u64,
}

impl State {
    pub fn named(&self, name: &OsStr) -> Option<u64> {
        self.names.get(name).copied()
    }

    pub fn create(&mut self, name: &OsStr, content: Content) -> u64 {
        self.next += 1;
        self.files.insert(self.next, content);
        self.names.insert(name.to_owned(), self.next);
        self.next
    }
}

/// A flat directory of files on one medium.
#[derive(Debug)]
pub struct Medium {
    state: Mutex<State>,
    power: Condvar,
}

impl Medium {
    pub fn new() -> Self {
        let state = State { mood: Mood::Sound, files: BTreeMap::new(), names: BTreeMap::new(), next: 1 };
        Self { state: Mutex::new(state), power: Condvar::new() }
    }

    /// Waits while the power is off.
    pub fn enter(&self) -> MutexGuard<'_, State> {
        self.power.wait_while(self.state.lock().unwrap(), |state| state.mood == Mood::Off).unwrap()
    }

    /// For the case that holds the plug.
    pub fn look(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn feel(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
        self.power.notify_all();
    }

    /// After everything that stood on it is gone.
    pub fn settle(&self, luck: &mut Luck, lost: &mut Loss) {
        let mut state = self.state.lock().unwrap();
        state.files.values_mut().for_each(|content| content.settle(luck, lost));
        let names: Vec<u64> = state.names.values().copied().collect();
        state.files.retain(|number, _| names.contains(number));
        state.mood = Mood::Sound;
    }
}

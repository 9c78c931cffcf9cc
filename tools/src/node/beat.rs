//! The heartbeat: one page of shared memory between a node and whoever watches over it.
//!
//! In: a strike each duty cycle, one store each. Out: the count, to another process. Never: a system call on the hot
//! thread, a wait, a count that goes on while the agent that strikes it does not turn.
//!
//! ```text
//!   0    magic     64  beats of the engine   128  beats of the orders agent   192  state of the node   256  fired
//! ```
//!
//! A process that is stopped, swapped out, spinning in a lock or dead stops striking; a port that still answers, or a pid
//! that still exists, would not tell. The watcher writes one word of its own: that it acted. A node that wakes up later
//! reads it before anything else and halts.

#![allow(unsafe_code)]

use anyhow::{Context, Result, ensure};
use memmap2::{MmapMut, MmapOptions};
use std::fs::OpenOptions;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

const PAGE: usize = 4096;
const MAGIC: u64 = u64::from_le_bytes(*b"keelbea1");

/// Who strikes. Each agent has a line of its own, written by it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heart {
    /// The engine: it decides.
    Engine = 64,
    /// The orders agent: it sends.
    Orders = 128,
}

/// What the node says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No node has been here.
    Absent = 0,
    /// It runs: silence is an emergency.
    AtWork = 1,
    /// It ended in good order, nothing open: silence is right.
    AtRest = 2,
}

const STATE: usize = 192;
const FIRED: usize = 256;

/// The page.
#[derive(Debug)]
pub struct Beat {
    map: MmapMut,
}

impl Beat {
    /// A node begins: the page is made, or taken over and set back.
    pub fn begin(path: &Path) -> Result<Self> {
        let beat = Self::map(path, true)?;
        for at in [Heart::Engine as usize, Heart::Orders as usize, FIRED] {
            beat.word(at).store(0, Ordering::Release);
        }
        beat.word(0).store(MAGIC, Ordering::Release);
        beat.state_is(State::AtWork);
        Ok(beat)
    }

    /// Someone watches. Refused while no node has been there.
    pub fn watch(path: &Path) -> Result<Self> {
        let beat = Self::map(path, false)?;
        ensure!(beat.word(0).load(Ordering::Acquire) == MAGIC, "{} is no heartbeat of this version", path.display());
        Ok(beat)
    }

    fn map(path: &Path, create: bool) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path);
        let file = file.with_context(|| format!("opening the heartbeat {}", path.display()))?;
        if create {
            file.set_len(PAGE as u64).with_context(|| format!("sizing {}", path.display()))?;
        }
        ensure!(file.metadata()?.len() >= PAGE as u64, "{} is too short for a heartbeat", path.display());
        // SAFETY: the file is a page at least, and nobody makes it shorter: both who open it are this file. What other
        // processes write to it is read through atomics alone, any value of which is valid.
        let map = unsafe { MmapOptions::new().len(PAGE).map_mut(&file) };
        Ok(Self { map: map.with_context(|| format!("mapping {}", path.display()))? })
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(8) && at + 8 <= PAGE, "a word of the page");
        // SAFETY: in bounds and aligned by the assertion, for a mapping starts on a page; the mapping lives as long as
        // `self`; the word is never touched but through atomics.
        unsafe { AtomicU64::from_ptr(self.map.as_ptr().cast_mut().add(at).cast()) }
    }

    /// One more beat. Only the agent of that name may call it.
    #[inline]
    pub fn strike(&self, heart: Heart) {
        let word = self.word(heart as usize);
        word.store(word.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }

    /// Beats so far.
    #[must_use]
    pub fn count(&self, heart: Heart) -> u64 {
        self.word(heart as usize).load(Ordering::Acquire)
    }

    /// The node says how it is.
    pub fn state_is(&self, state: State) {
        self.word(STATE).store(state as u64, Ordering::Release);
    }

    /// How the node said it is; what nobody of this version says counts as at work.
    #[must_use]
    pub fn state(&self) -> State {
        match self.word(STATE).load(Ordering::Acquire) {
            0 => State::Absent,
            2 => State::AtRest,
            _ => State::AtWork,
        }
    }

    /// The watcher acts: the node is not to go on.
    pub fn fire(&self) {
        self.word(FIRED).fetch_add(1, Ordering::AcqRel);
    }

    /// The watcher acted since the node began.
    #[inline]
    #[must_use]
    pub fn fired(&self) -> bool {
        self.word(FIRED).load(Ordering::Acquire) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_strikes_the_other_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("beat");
        assert!(Beat::watch(&path).is_err(), "no node has been here");
        let node = Beat::begin(&path).unwrap();
        let watcher = Beat::watch(&path).unwrap();
        (0..5).for_each(|_| node.strike(Heart::Engine));
        node.strike(Heart::Orders);
        assert_eq!((watcher.count(Heart::Engine), watcher.count(Heart::Orders)), (5, 1));
        assert_eq!((watcher.state(), node.fired()), (State::AtWork, false));
        watcher.fire();
        assert!(node.fired());
        node.state_is(State::AtRest);
        assert_eq!(watcher.state(), State::AtRest);
        let next = Beat::begin(&path).unwrap();
        assert_eq!((watcher.count(Heart::Engine), next.fired(), watcher.state()), (0, false, State::AtWork));
    }

    #[test]
    fn a_file_that_is_no_heartbeat_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("beat");
        for bytes in [vec![], vec![7; 100], vec![7; PAGE]] {
            std::fs::write(&path, bytes).unwrap();
            assert!(Beat::watch(&path).is_err());
        }
    }
}

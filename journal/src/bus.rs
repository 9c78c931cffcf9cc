//! A mapped file cut short by someone else is an error here, not the death of the process.
//!
//! In: the address range of each mapping. Out: whether a page of it was lost. Never: a lock, an allocation or a message in
//! the handler; a fault that is none of ours swallowed.
//!
//! ```text
//!   store to a page that has no file behind it any more (truncated, or the medium cannot be read)
//!     -> SIGBUS -> is the address in a range we know?
//!          yes: the range is marked lost, a page of zeros takes the place, the store is done again and succeeds
//!          no:  the handler that was there before us is put back, and the store is done again: it judges
//! ```
//!
//! The page of zeros belongs to no file: whoever stored to it must ask [`Guard::lost`] before calling the store done.
//!
//! Contract of the unsafe code: the handler calls `mmap` and `sigaction` alone, both plain system calls, and reads atomics;
//! a range is known only while its mapping lives, so what it replaces is a page of that mapping and nothing else. Rust's
//! own SIGBUS handler (it looks for stack overflows) stays the judge of everything else; it is why a crate that chains
//! handlers does not serve: it takes itself away at the first fault it does not know.
#![allow(unsafe_code)]

use crate::map::PAGE;
use libc::{SA_ONSTACK, SA_SIGINFO, SIGBUS, c_int, c_void, sigaction, siginfo_t};
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Mappings guarded at one time; one more is refused. A journal has two or three.
const MAPPINGS: usize = 1024;

struct Range {
    taken: AtomicBool,
    from: AtomicUsize,
    len: AtomicUsize,
    lost: AtomicBool,
}

static RANGES: [Range; MAPPINGS] = [const {
    Range {
        taken: AtomicBool::new(false),
        from: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        lost: AtomicBool::new(false),
    }
}; MAPPINGS];

/// The handler before ours.
static BEFORE: OnceLock<sigaction> = OnceLock::new();
static INSTALLED: OnceLock<bool> = OnceLock::new();

/// A range under guard, until it is dropped; drop it before the mapping.
#[derive(Debug)]
pub(crate) struct Guard {
    slot: usize,
}

impl Guard {
    /// Guards `len` bytes from the address `from` on.
    pub(crate) fn new(from: usize, len: usize) -> io::Result<Self> {
        if !*INSTALLED.get_or_init(install) {
            return Err(io::Error::other("no handler for SIGBUS"));
        }
        let free = |range: &Range| !range.taken.swap(true, Ordering::Acquire);
        let slot = RANGES.iter().position(free).ok_or(io::Error::other("too many mapped segments"))?;
        RANGES[slot].lost.store(false, Ordering::Relaxed);
        RANGES[slot].len.store(len, Ordering::Relaxed);
        RANGES[slot].from.store(from, Ordering::Release);
        Ok(Self { slot })
    }

    /// Was a page of it lost?
    #[inline]
    pub(crate) fn lost(&self) -> bool {
        RANGES[self.slot].lost.load(Ordering::Acquire)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        RANGES[self.slot].from.store(0, Ordering::Release);
        RANGES[self.slot].taken.store(false, Ordering::Release);
    }
}

fn install() -> bool {
    // SAFETY: plain system calls on initialised structures; the handler is an `extern "C"` function of the signature
    // that SA_SIGINFO asks for, and `BEFORE` is filled before the first time it can run.
    unsafe {
        let mut before: sigaction = core::mem::zeroed();
        if libc::sigaction(SIGBUS, core::ptr::null(), &raw mut before) != 0 {
            return false;
        }
        let _ = BEFORE.set(before);
        let mut ours: sigaction = core::mem::zeroed();
        ours.sa_sigaction = handle as *const () as usize;
        ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
        libc::sigemptyset(&raw mut ours.sa_mask);
        libc::sigaction(SIGBUS, &raw const ours, core::ptr::null_mut()) == 0
    }
}

extern "C" fn handle(_: c_int, info: *mut siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel hands a valid `info` to a handler installed with SA_SIGINFO.
    let at = unsafe { (*info).si_addr() } as usize;
    for range in &RANGES {
        let from = range.from.load(Ordering::Acquire);
        if from == 0 || at < from || at - from >= range.len.load(Ordering::Relaxed) {
            continue;
        }
        range.lost.store(true, Ordering::Release);
        let (page, protection) = ((at - at % PAGE) as *mut c_void, libc::PROT_READ | libc::PROT_WRITE);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        // SAFETY: the page lies in a mapping of ours that lives as long as its range is known, see above.
        if unsafe { libc::mmap(page, PAGE, protection, flags, -1, 0) } != libc::MAP_FAILED {
            return;
        }
    }
    if let Some(before) = BEFORE.get() {
        // SAFETY: puts back what was there; the faulting instruction runs again and meets it.
        unsafe { libc::sigaction(SIGBUS, before, core::ptr::null_mut()) };
    }
}

//! A slow-down on purpose: so many instructions more in every marked call, none without `--burden`.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

static INSTRUCTIONS: AtomicU64 = AtomicU64::new(0);

/// From now on.
pub(crate) fn take_up(instructions: u64) {
    INSTRUCTIONS.store(instructions, Ordering::Relaxed);
}

/// Spends them, in whole turns of a loop.
#[inline(always)]
pub(crate) fn carry() {
    for turn in 0..INSTRUCTIONS.load(Ordering::Relaxed) / TURN {
        black_box(turn);
    }
}

/// Instructions a turn: count, compare, jump, and the store that keeps the loop from being thought away.
const TURN: u64 = 4;

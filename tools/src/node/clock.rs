//! The clocks. The only file of the project that reads one.
//!
//! In: the CPU's counter, the system's time. Out: [`Now`] for decisions, once per duty cycle, and [`Stopwatch`] ticks for
//! latency, which never decide anything. In a lockstep run `Now` is the exchange's virtual time, so that two runs decide
//! alike; the stopwatch stays real.

#![allow(clippy::disallowed_methods, reason = "this is the file the ban points to")]

use keel_core::units::{Mono, Now, Wall};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the monotonic clock begins: an hour, so that what an earlier run asked lies on it too.
const ORIGIN: u64 = 3_600_000_000_000;
/// Nanoseconds between two looks at the system's wall clock.
const REANCHOR: u64 = 100_000_000;

/// Raw ticks of the invariant CPU counter, and what they are worth.
#[derive(Clone, Debug)]
pub struct Stopwatch {
    clock: quanta::Clock,
}

impl Stopwatch {
    /// Calibrates against the system's monotonic clock; takes a moment.
    #[must_use]
    pub fn new() -> Self {
        Self { clock: quanta::Clock::new() }
    }

    /// One reading.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.clock.raw()
    }

    /// Nanoseconds between two readings; 0 when they are the wrong way round.
    #[must_use]
    pub fn nanos(&self, from: u64, to: u64) -> u64 {
        self.clock.delta_as_nanos(from, to)
    }
}

impl Default for Stopwatch {
    fn default() -> Self {
        Self::new()
    }
}

/// Nanoseconds the calling thread has been on a core: what something cost on a machine that does other things too. Zero
/// where nobody counts.
#[must_use]
pub fn core_nanos() -> u64 {
    use nix::time::{ClockId, clock_gettime};
    let Ok(spent) = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID) else { return 0 };
    let whole = u64::try_from(spent.tv_sec()).unwrap_or(0).saturating_mul(1_000_000_000);
    whole.saturating_add(u64::try_from(spent.tv_nsec()).unwrap_or(0))
}

/// Wall time published by a simulated exchange, in nanoseconds.
#[derive(Debug, Default)]
pub struct Virtual(AtomicU64);

impl Virtual {
    /// It is now `wall`.
    pub fn set(&self, wall: u64) {
        self.0.store(wall, Ordering::Release);
    }

    /// What time it is.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// Where `Now` comes from.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine.
    Real(Real),
    /// A simulated exchange that runs in lockstep with us.
    Virtual(Arc<Virtual>),
}

/// The machine's clocks: the counter carries time on between two looks at the system's clock.
#[derive(Clone, Debug)]
pub struct Real {
    watch: Stopwatch,
    origin: u64,
    anchor: Now,
    anchor_ticks: u64,
}

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub fn real(watch: &Stopwatch) -> Self {
        let ticks = watch.ticks();
        let anchor = Now { mono: Mono::from_nanos(ORIGIN), wall: system_wall() };
        Self::Real(Real { watch: watch.clone(), origin: ticks, anchor, anchor_ticks: ticks })
    }

    /// Both clocks, once per duty cycle.
    pub fn now(&mut self) -> Now {
        match self {
            Self::Real(real) => real.now(),
            Self::Virtual(shared) => {
                let nanos = shared.get();
                Now { mono: Mono::from_nanos(nanos), wall: Wall::from_nanos(nanos) }
            }
        }
    }
}

impl Real {
    fn now(&mut self) -> Now {
        let ticks = self.watch.ticks();
        let since = self.watch.nanos(self.anchor_ticks, ticks);
        if since > REANCHOR {
            let mono = Mono::from_nanos(ORIGIN + self.watch.nanos(self.origin, ticks));
            self.anchor = Now { mono, wall: system_wall() };
            self.anchor_ticks = ticks;
            return self.anchor;
        }
        Now { mono: self.anchor.mono.after(since), wall: self.anchor.wall.after(since) }
    }
}

/// The system's wall clock.
#[must_use]
pub fn system_wall() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_time_only_goes_forward() {
        let mut clock = Clock::real(&Stopwatch::new());
        let mut last = clock.now();
        for _ in 0..10_000 {
            let now = clock.now();
            assert!(now.mono >= last.mono);
            last = now;
        }
    }

    #[test]
    fn virtual_time_is_what_the_exchange_says() {
        let shared = Arc::new(Virtual::default());
        let mut clock = Clock::Virtual(Arc::clone(&shared));
        shared.set(42);
        assert_eq!(clock.now().wall.nanos(), 42);
        assert_eq!(clock.now().mono.nanos(), 42);
    }
}

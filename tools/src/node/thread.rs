//! Threads: who calls the agents, on which CPU, and what happens when there is nothing to do.
//!
//! The idle strategy belongs to the thread. A hot thread spins; one that shares its cores spins, then yields, then
//! sleeps. Where a hot thread has a CPU, every thread without one stays off it: a cold thread's wake would take the hot
//! one's caches, and its turn. An agent that panics stops the whole node: the flag goes up, every other thread ends its
//! duty in order, and the venue's resting orders are the dead man's switch's business.

#![allow(clippy::disallowed_methods, reason = "sleeping is this file's business")]

use super::clock::Clock;
use anyhow::{Context, Result, bail};
use keel_core::agent::Agent;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Empty rounds before a thread that may rest yields its CPU.
const SPINS: u32 = 200;
/// Doublings of a nap. A wake costs the hot thread beside it its caches, so what need not be quick is slow.
const DOUBLINGS: u32 = 2;

/// What a thread does when its agents had nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Nothing: the next round at once. For pinned hot threads.
    Spin,
    /// A short spin, then the CPU is offered to others. For hot threads that share their core.
    Yield,
    /// Sleep so long after the first empty round, twice as long after the next, four times after that. For cold
    /// threads.
    Rest(Duration),
}

impl Idle {
    fn idle(self, empty: u32) {
        match self {
            Self::Spin => std::hint::spin_loop(),
            Self::Yield if empty < SPINS => std::hint::spin_loop(),
            Self::Yield => std::thread::yield_now(),
            Self::Rest(nap) => std::thread::sleep(nap * (1 << empty.saturating_sub(1).min(DOUBLINGS))),
        }
    }
}

/// Tells every thread of a node to end.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Up.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Is it up?
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// The flag itself, for signal handlers.
    #[must_use]
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

struct RaiseOnDrop<'a>(&'a Stop);

impl Drop for RaiseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.raise();
    }
}

/// Where a thread may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this CPU alone.
    On(usize),
    /// Anywhere but here, unless nothing else is left.
    Off(Vec<usize>),
}

impl Place {
    fn check(&self) -> Result<()> {
        match self {
            Self::On(cpu) => pinnable(*cpu),
            Self::Off(_) => Ok(()),
        }
    }

    /// Takes the calling thread there.
    fn take(&self) {
        match self {
            Self::On(id) => {
                core_affinity::set_for_current(core_affinity::CoreId { id: *id });
            }
            Self::Off(cpus) => keep_off(cpus),
        }
    }
}

/// Keeps the calling thread off these CPUs, unless no other is left to it.
pub fn keep_off(cpus: &[usize]) {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::unistd::Pid;
    let this = Pid::from_raw(0);
    let Ok(allowed) = sched_getaffinity(this) else { return };
    let (mut rest, mut any) = (CpuSet::new(), false);
    for cpu in (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu) == Ok(true) && !cpus.contains(cpu)) {
        any |= rest.set(cpu).is_ok();
    }
    if any && let Err(why) = sched_setaffinity(this, &rest) {
        tracing::warn!("a cold thread stays where hot ones run: {why}");
    }
}

/// Starts a thread that gives `agents` their turns until `stop` is up, and hands them back.
///
/// `seen` carries the wall time of the last round that ended, for those who wait for everyone to notice it.
pub fn spawn<A>(
    name: &str,
    place: Place,
    idle: Idle,
    mut clock: Clock,
    stop: &Stop,
    seen: Arc<AtomicU64>,
    mut agents: A,
) -> Result<JoinHandle<A>>
where
    A: Crew + Send + 'static,
{
    let stop = stop.clone();
    place.check()?;
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            place.take();
            let end = RaiseOnDrop(&stop);
            let mut empty = 0;
            while !stop.is_raised() {
                let now = clock.now();
                let work = agents.round(now);
                seen.store(now.wall.nanos(), Ordering::Release);
                if work == 0 {
                    empty = u32::saturating_add(empty, 1);
                    idle.idle(empty);
                } else {
                    empty = 0;
                }
            }
            drop(end);
            agents
        })
        .with_context(|| format!("starting thread {name}"))
}

/// Lets time pass on a thread that only waits for others.
pub fn nap(duration: Duration) {
    std::thread::sleep(duration);
}

/// Agents that share a thread.
pub trait Crew {
    /// One round of everyone's duty.
    fn round(&mut self, now: keel_core::units::Now) -> usize;
}

impl<A: Agent + ?Sized> Crew for Vec<Box<A>> {
    fn round(&mut self, now: keel_core::units::Now) -> usize {
        self.iter_mut().map(|agent| agent.duty(now)).sum()
    }
}

fn pinnable(cpu: usize) -> Result<()> {
    let cpus: Vec<usize> = core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
    if !cpus.is_empty() && !cpus.contains(&cpu) {
        bail!("plan: CPU {cpu} is not available to this process; it may use {cpus:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::clock::Stopwatch;
    use keel_core::units::Now;

    struct Counter(u32, Stop);

    impl Agent for Counter {
        fn name(&self) -> &'static str {
            "counter"
        }
        fn duty(&mut self, _: Now) -> usize {
            self.0 += 1;
            if self.0 == 1000 {
                self.1.raise();
            }
            usize::from(self.0.is_multiple_of(2))
        }
    }

    #[test]
    fn a_thread_runs_until_told_and_gives_its_agents_back() {
        let stop = Stop::default();
        let agents: Vec<Box<Counter>> = vec![Box::new(Counter(0, stop.clone()))];
        let clock = Clock::real(&Stopwatch::new());
        let thread = spawn("test", Place::Off(Vec::new()), Idle::Yield, clock, &stop, Arc::default(), agents).unwrap();
        assert_eq!(thread.join().unwrap()[0].0, 1000);
    }

    #[test]
    fn a_thread_keeps_off_a_cpu_as_long_as_it_has_another() {
        use nix::sched::sched_getaffinity;
        let allowed = || {
            let mine = sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap();
            (0..64).filter(|cpu| mine.is_set(*cpu) == Ok(true)).collect::<Vec<_>>()
        };
        std::thread::spawn(move || {
            let before = allowed();
            keep_off(&before[..1]);
            let after = allowed();
            if before.len() > 1 {
                assert_eq!(after, before[1..])
            } else {
                assert_eq!(after, before)
            }
            keep_off(&after);
            assert_eq!(allowed(), after, "there is no other");
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_cpu_that_is_not_there_is_refused() {
        let stop = Stop::default();
        let clock = Clock::real(&Stopwatch::new());
        let agents: Vec<Box<Counter>> = Vec::new();
        let error = spawn("test", Place::On(9_999), Idle::Spin, clock, &stop, Arc::default(), agents).unwrap_err();
        assert!(error.to_string().contains("not available"), "{error}");
    }
}

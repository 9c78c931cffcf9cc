//! Threads: who calls the agents, on which CPU, and what happens when there is nothing to do.
//!
//! The idle strategy belongs to the thread. A hot thread spins; one that shares its cores spins, then yields, then
//! sleeps. An agent that panics stops the whole node: the flag goes up, every other thread ends its duty in order, and
//! the venue's resting orders are the dead man's switch's business.

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
/// How long a cold thread sleeps after its first empty round; twice as long after each further one.
const NAP: Duration = Duration::from_micros(200);
/// Doublings: 6.4 ms at the longest. A wake costs the hot thread beside it its caches, so what need not be quick is slow.
const DOUBLINGS: u32 = 5;

/// What a thread does when its agents had nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Nothing: the next round at once. For pinned hot threads.
    Spin,
    /// A short spin, then the CPU is offered to others. For hot threads that share their core.
    Yield,
    /// Sleep, the longer the longer there was nothing to do. For cold threads.
    Rest,
}

impl Idle {
    fn idle(self, empty: u32) {
        match self {
            Self::Spin => std::hint::spin_loop(),
            Self::Yield if empty < SPINS => std::hint::spin_loop(),
            Self::Yield => std::thread::yield_now(),
            Self::Rest => std::thread::sleep(NAP * (1 << empty.saturating_sub(1).min(DOUBLINGS))),
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

/// Starts a thread that gives `agents` their turns until `stop` is up, and hands them back.
///
/// `seen` carries the wall time of the last round that ended, for those who wait for everyone to notice it.
pub fn spawn<A>(
    name: &str,
    cpu: Option<usize>,
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
    if let Some(cpu) = cpu {
        pinnable(cpu)?;
    }
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            if let Some(id) = cpu {
                core_affinity::set_for_current(core_affinity::CoreId { id });
            }
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
        let thread = spawn("test", None, Idle::Yield, clock, &stop, Arc::default(), agents).unwrap();
        assert_eq!(thread.join().unwrap()[0].0, 1000);
    }

    #[test]
    fn a_cpu_that_is_not_there_is_refused() {
        let stop = Stop::default();
        let clock = Clock::real(&Stopwatch::new());
        let agents: Vec<Box<Counter>> = Vec::new();
        let error = spawn("test", Some(9_999), Idle::Spin, clock, &stop, Arc::default(), agents).unwrap_err();
        assert!(error.to_string().contains("not available"), "{error}");
    }
}

//! Which agent runs on which thread: a list of lists, from configuration.
//!
//! ```text
//!   feed+engine+orders@1 | journal+http
//!   ---- one thread, pinned to CPU 1 ----   --- another, free ---
//! ```

use anyhow::{Result, bail, ensure};
use std::str::FromStr;

/// The agents a node is made of, in the order a fact meets them.
pub const AGENTS: [&str; 5] = ["feed", "engine", "orders", "journal", "http"];
/// Agents on the path from tick to order: their threads busy-poll.
pub const HOT: [&str; 3] = ["feed", "engine", "orders"];

/// One thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its agents, in the order of their turns.
    pub agents: Vec<String>,
    /// The CPU it is pinned to.
    pub cpu: Option<usize>,
}

impl Thread {
    /// Does it carry an agent of the hot path?
    #[must_use]
    pub fn is_hot(&self) -> bool {
        self.agents.iter().any(|agent| HOT.contains(&agent.as_str()))
    }
}

/// The whole plan: every agent exactly once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its threads.
    pub threads: Vec<Thread>,
}

impl Plan {
    /// All hot agents on one thread, the rest on another, nothing pinned: right for two cores and for strangers.
    #[must_use]
    pub fn fused() -> Self {
        Self::from_str("feed+engine+orders | journal+http").expect("the built-in plan parses")
    }

    /// CPUs that belong to the hot path.
    #[must_use]
    pub fn hot_cpus(&self) -> Vec<usize> {
        self.threads.iter().filter(|thread| thread.is_hot()).filter_map(|thread| thread.cpu).collect()
    }

    /// Are these two on one thread?
    #[must_use]
    pub fn share(&self, one: &str, other: &str) -> bool {
        self.threads.iter().any(|thread| [one, other].iter().all(|name| thread.agents.iter().any(|have| have == name)))
    }
}

impl FromStr for Plan {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut threads = Vec::new();
        let mut seen = Vec::new();
        for part in text.split('|').map(str::trim) {
            let (names, cpu) = match part.split_once('@') {
                Some((names, cpu)) => (names, Some(parse_cpu(cpu)?)),
                None => (part, None),
            };
            let agents: Vec<String> = names.split('+').map(|name| name.trim().to_owned()).collect();
            for agent in &agents {
                ensure!(AGENTS.contains(&agent.as_str()), "plan: no agent {agent:?}; there are {}", AGENTS.join(", "));
                ensure!(!seen.contains(agent), "plan: agent {agent:?} stands twice");
                seen.push(agent.clone());
            }
            threads.push(Thread { agents, cpu });
        }
        if let Some(missing) = AGENTS.iter().find(|agent| !seen.iter().any(|have| have == *agent)) {
            bail!("plan: agent {missing:?} has no thread; a plan names each of {}", AGENTS.join(", "));
        }
        Ok(Self { threads })
    }
}

fn parse_cpu(text: &str) -> Result<usize> {
    text.trim().parse().map_err(|_| anyhow::anyhow!("plan: {text:?} after @ is not a CPU number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_names_every_agent_once() {
        let plan: Plan = "feed+engine+orders@1 | journal+http".parse().unwrap();
        assert_eq!(plan.threads.len(), 2);
        assert_eq!((plan.threads[0].cpu, plan.threads[0].is_hot()), (Some(1), true));
        assert_eq!((plan.threads[1].cpu, plan.threads[1].is_hot()), (None, false));
        assert_eq!(plan.hot_cpus(), [1]);
        assert!(plan.share("feed", "engine") && !plan.share("feed", "journal"));
        let rows = [
            ("feed+engine+orders", "no thread"),
            ("feed+feed | engine+orders+journal+http", "twice"),
            ("feed+motor | engine", "no agent"),
            ("feed@x | engine", "not a CPU"),
            ("", "no agent"),
        ];
        for (text, why) in rows {
            let error = text.parse::<Plan>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}

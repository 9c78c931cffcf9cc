//! Rounds of several measured calls, interleaved, so that a noisy neighbour hits all alike.
//!
//! In: named calls. Out: percentiles of each, over all its rounds, as a table or one JSON line. Each call is timed by
//! itself; the first row is the stopwatch alone, the floor of every other row. No round is left out.
#![allow(clippy::disallowed_methods, reason = "a measurement owns its clock")]

use std::fmt::Write as _;
use std::time::Instant;

const QUANTILES: [(&str, usize); 5] =
    [("p50", 5_000), ("p90", 9_000), ("p99", 9_900), ("p99.9", 9_990), ("max", 10_000)];

struct Row<'a> {
    name: &'static str,
    calls: usize,
    call: Box<dyn FnMut(usize) + 'a>,
    nanos: Vec<u64>,
}

/// The calls, and how long each took.
pub(crate) struct Rounds<'a> {
    rounds: usize,
    rows: Vec<Row<'a>>,
}

impl<'a> Rounds<'a> {
    /// None yet but the stopwatch.
    pub(crate) fn new(rounds: usize, calls: usize) -> Self {
        let mut all = Self { rounds, rows: Vec::new() };
        all.add("the stopwatch alone", calls, |nth| {
            std::hint::black_box(nth);
        });
        all
    }

    /// One more, called so often a round.
    pub(crate) fn add(&mut self, name: &'static str, calls: usize, call: impl FnMut(usize) + 'a) {
        let nanos = Vec::with_capacity(calls * self.rounds);
        self.rows.push(Row { name, calls, call: Box::new(call), nanos });
    }

    /// Runs them all; a tenth of the first round warms up and is not counted.
    pub(crate) fn run(&mut self) {
        for round in 0..self.rounds {
            for row in &mut self.rows {
                let warm = if round == 0 { row.calls / 10 } else { 0 };
                (0..warm).for_each(&mut row.call);
                for nth in round * row.calls..(round + 1) * row.calls {
                    let from = Instant::now();
                    (row.call)(nth);
                    row.nanos.push(u64::try_from(from.elapsed().as_nanos()).unwrap_or(u64::MAX));
                }
            }
        }
        self.rows.iter_mut().for_each(|row| row.nanos.sort_unstable());
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let _ = write!(text, "{:<46}", row.name);
            for (name, share) in QUANTILES {
                let _ = write!(text, "  {name} {:>7}", at(&row.nanos, share));
            }
            text.push_str("  ns\n");
        }
        text
    }

    /// For machines: the members of a JSON object.
    pub(crate) fn json(&self) -> String {
        let mut text = String::from("\"rows\":[");
        for (nth, row) in self.rows.iter().enumerate() {
            let comma = if nth == 0 { "" } else { "," };
            let pairs: Vec<String> =
                QUANTILES.iter().map(|(name, share)| format!("\"{name}\":{}", at(&row.nanos, *share))).collect();
            let _ = write!(text, "{comma}{{\"name\":\"{}\",\"ns\":{{{}}}}}", row.name, pairs.join(","));
        }
        text + "]"
    }
}

fn at(sorted: &[u64], share: usize) -> u64 {
    sorted.get((sorted.len().max(1) - 1) * share / 10_000).copied().unwrap_or(0)
}

//! What was measured, as a table for people and an object for machines.

use crate::venue::Outcome;
use anyhow::Result;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::fmt::Write as _;

const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// One client, or one floor.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) name: String,
    /// Nanoseconds from tick to order.
    pub(crate) took: Histogram<u64>,
    /// From the moment the tick was due.
    pub(crate) from_due: Histogram<u64>,
    /// Ticks counted, without an order, orders without a tick.
    pub(crate) counts: [u64; 3],
    /// Bytes of a tick and of an order.
    pub(crate) bytes: (usize, usize),
    /// The percentiles of each round.
    pub(crate) rounds: Vec<Value>,
    /// What the client said of itself, round by round.
    pub(crate) own: Vec<Value>,
}

impl Default for Row {
    fn default() -> Self {
        let empty = || Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are constants");
        let (took, from_due) = (empty(), empty());
        let (rounds, own) = (Vec::new(), Vec::new());
        Self { name: String::new(), took, from_due, counts: [0; 3], bytes: (0, 0), rounds, own }
    }
}

impl Row {
    /// Nothing measured yet.
    pub(crate) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// One more round of something that is not a client.
    pub(crate) fn floor(&mut self, took: &Histogram<u64>) -> Result<()> {
        self.took.add(took)?;
        self.rounds.push(quantiles(took));
        Ok(())
    }

    /// One more round.
    pub(crate) fn add(&mut self, outcome: &Outcome, words: &str) -> Result<()> {
        self.took.add(&outcome.latency)?;
        self.from_due.add(&outcome.from_due)?;
        for (sum, n) in self.counts.iter_mut().zip([outcome.ticks, outcome.unanswered, outcome.strays]) {
            *sum += n;
        }
        self.bytes = outcome.bytes;
        self.rounds.push(quantiles(&outcome.latency));
        self.own.extend(words.lines().filter_map(|line| serde_json::from_str(line).ok()));
        Ok(())
    }
}

/// Microseconds with two decimals.
fn micros(nanos: u64) -> String {
    format!("{}.{:02}", nanos / 1000, nanos % 1000 / 10)
}

/// The table.
#[must_use]
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = format!("{:<16}", "us");
    for (name, _) in QUANTILES {
        let _ = write!(text, "{name:>10}");
    }
    text.push_str("     ticks unanswered strays  bytes\n");
    for row in rows {
        line(&mut text, &row.name, &row.took, row);
        if !row.from_due.is_empty() {
            line(&mut text, "  from due", &row.from_due, row);
        }
        for own in &row.own {
            hops(&mut text, own);
            for (end, count) in own["ends"].as_object().into_iter().flatten() {
                let _ = writeln!(text, "    {end:<40}{count:>10}");
            }
        }
    }
    text
}

fn line(text: &mut String, name: &str, took: &Histogram<u64>, row: &Row) {
    let _ = write!(text, "{name:<16}");
    for (_, quantile) in QUANTILES {
        let _ = write!(text, "{:>10}", micros(took.value_at_quantile(quantile)));
    }
    let [ticks, unanswered, strays] = row.counts;
    let _ = writeln!(text, "{ticks:>10} {unanswered:>10} {strays:>6}  {}/{}", row.bytes.0, row.bytes.1);
}

/// One part of a client's way, as its last words say it.
pub(crate) fn hop(name: &str, took: &Histogram<u64>) -> Value {
    json!({
        "hop": name, "count": took.len(), "mean": took.mean(), "p50": took.value_at_quantile(0.5),
        "p99": took.value_at_quantile(0.99), "max": took.max(),
    })
}

fn hops(text: &mut String, own: &Value) {
    for hop in own["hops"].as_array().into_iter().flatten() {
        let of = |name: &str| hop[name].as_u64().unwrap_or(0);
        let name = hop["hop"].as_str().unwrap_or("?");
        let _ = writeln!(
            text,
            "    {name:<12}{:>10}{:>10}{:>10}{:>10}{:>10}",
            micros(of("p50")),
            "",
            micros(of("p99")),
            "",
            micros(of("max"))
        );
    }
}

fn quantiles(took: &Histogram<u64>) -> Value {
    QUANTILES.iter().map(|(name, q)| ((*name).to_owned(), json!(took.value_at_quantile(*q)))).collect()
}

/// The object: nanoseconds, and every percentile curve as pairs.
#[must_use]
pub(crate) fn json(rows: &[Row]) -> Value {
    let curve = |took: &Histogram<u64>| -> Vec<Value> {
        took.iter_quantiles(4).map(|step| json!([step.quantile_iterated_to(), step.value_iterated_to()])).collect()
    };
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "name": row.name, "ns": quantiles(&row.took), "from_due_ns": quantiles(&row.from_due),
                "rounds": row.rounds, "ticks": row.counts[0], "unanswered": row.counts[1], "strays": row.counts[2],
                "tick_bytes": row.bytes.0, "order_bytes": row.bytes.1, "curve": curve(&row.took), "own": row.own,
            })
        })
        .collect();
    json!({ "rows": rows })
}

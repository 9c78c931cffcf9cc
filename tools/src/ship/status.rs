//! How far each store is behind, and what is wrong: for a scrape, for a status line, for a log.
//!
//! In: what the stores' threads report. Out: Prometheus text, JSON, one log line when an alarm is raised and one when it
//! is cleared. Never: a wait for whoever ships.

use super::batch::Mark;
use super::fault::Alarm;
use crate::node::clock::system_wall;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What one store's thread reports.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Last record the store confirmed; `None` before the first conversation.
    pub cursor: Option<Mark>,
    /// When the oldest record it did not confirm was written, nanoseconds; 0 when there is none.
    pub oldest: u64,
    /// Records confirmed by this process.
    pub records: u64,
    /// Rows or lines confirmed by this process.
    pub rows: u64,
    /// Of these, put into the quarantine.
    pub quarantined: u64,
    /// Batches confirmed.
    pub batches: u64,
    /// Attempts that failed.
    pub retries: u64,
    alarms: BTreeMap<Alarm, String>,
}

/// One store's line.
#[derive(Debug)]
pub struct Line {
    /// `postgres` or `loki`.
    pub store: &'static str,
    progress: Mutex<Progress>,
}

impl Line {
    /// Nothing yet.
    #[must_use]
    pub fn new(store: &'static str) -> Arc<Self> {
        Arc::new(Self { store, progress: Mutex::default() })
    }

    /// A look.
    #[must_use]
    pub fn get(&self) -> Progress {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A change.
    pub fn with<T>(&self, change: impl FnOnce(&mut Progress) -> T) -> T {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Raises an alarm; told once until it is cleared.
    pub fn raise(&self, alarm: Alarm, why: &str) {
        if self.with(|progress| progress.alarms.insert(alarm, why.to_owned())).is_none() {
            tracing::warn!("alarm raised: {} {}: {why}", self.store, alarm.name());
        }
    }

    /// Clears some.
    pub fn clear(&self, alarms: &[Alarm]) {
        for alarm in alarms {
            if self.with(|progress| progress.alarms.remove(alarm)).is_some() {
                tracing::info!("alarm cleared: {} {}", self.store, alarm.name());
            }
        }
    }
}

/// Every store, beside the journal.
#[derive(Debug)]
pub struct Status {
    dir: PathBuf,
    behind: u64,
    /// One for each store.
    pub lines: Vec<Arc<Line>>,
}

impl Status {
    /// Of a journal; a store whose oldest unshipped record is older than `behind` seconds raises an alarm.
    #[must_use]
    pub fn new(dir: &Path, behind: u64, lines: Vec<Arc<Line>>) -> Self {
        Self { dir: dir.to_path_buf(), behind, lines }
    }

    /// Looks at every store's lag, and raises or clears the alarm about it.
    pub fn watch(&self) {
        for line in &self.lines {
            let age = age(line.get().oldest);
            if age > self.behind as f64 {
                line.raise(Alarm::Behind, &format!("the oldest unshipped record is {age:.0} s old"));
            } else {
                line.clear(&[Alarm::Behind]);
            }
        }
    }

    fn head(&self) -> u64 {
        super::source::durable(&self.dir).unwrap_or(0)
    }

    /// One JSON object.
    #[must_use]
    pub fn json(&self) -> Value {
        let head = self.head();
        let stores: serde_json::Map<_, _> = self
            .lines
            .iter()
            .map(|line| {
                let now = line.get();
                let cursor = now.cursor.map(|mark| mark.seq);
                let told = json!({
                    "cursor": cursor, "lag_rows": cursor.map(|seq| head.saturating_sub(seq)),
                    "oldest_unshipped_seconds": age(now.oldest), "records": now.records, "rows": now.rows,
                    "quarantined": now.quarantined, "batches": now.batches, "retries": now.retries,
                    "alarms": now.alarms.iter().map(|(alarm, why)| (alarm.name(), why)).collect::<BTreeMap<_, _>>(),
                });
                (line.store.to_owned(), told)
            })
            .collect();
        json!({ "journal": self.dir.display().to_string(), "head": head, "stores": stores })
    }

    /// The page for Prometheus.
    #[must_use]
    pub fn metrics(&self) -> String {
        let head = self.head();
        let mut page = String::new();
        let mut family = |name: &str, shape: &str, help: &str, value: &dyn Fn(&Progress) -> Option<f64>| {
            let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {shape}");
            for line in &self.lines {
                if let Some(value) = value(&line.get()) {
                    let _ = writeln!(page, "{name}{{store=\"{}\"}} {value}", line.store);
                }
            }
        };
        let float = |value: u64| Some(value as f64);
        family("keel_ship_lag_records", "gauge", "Records of the journal the store has not confirmed", &|p| {
            p.cursor.and_then(|mark| float(head.saturating_sub(mark.seq)))
        });
        family("keel_ship_oldest_unshipped_seconds", "gauge", "Age of the oldest record not confirmed", &|p| {
            Some(age(p.oldest))
        });
        family("keel_ship_cursor", "gauge", "Last record the store confirmed", &|p| {
            p.cursor.and_then(|mark| float(mark.seq))
        });
        family("keel_ship_records_total", "counter", "Records confirmed", &|p| float(p.records));
        family("keel_ship_rows_total", "counter", "Rows or lines confirmed", &|p| float(p.rows));
        family("keel_ship_quarantined_total", "counter", "Rows put into the quarantine", &|p| float(p.quarantined));
        family("keel_ship_batches_total", "counter", "Batches confirmed", &|p| float(p.batches));
        family("keel_ship_retries_total", "counter", "Attempts that failed", &|p| float(p.retries));
        let name = "keel_ship_alarm";
        let _ = writeln!(page, "# HELP {name} 1 while the alarm is raised\n# TYPE {name} gauge");
        for line in &self.lines {
            let raised = line.get().alarms;
            for alarm in Alarm::ALL {
                let (store, set) = (line.store, u8::from(raised.contains_key(&alarm)));
                let _ = writeln!(page, "{name}{{store=\"{store}\",alarm=\"{}\"}} {set}", alarm.name());
            }
        }
        page
    }

    /// No alarm at all?
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.lines.iter().all(|line| line.get().alarms.is_empty())
    }
}

/// Seconds since a moment; 0 for none.
fn age(nanos: u64) -> f64 {
    if nanos == 0 { 0.0 } else { system_wall().nanos().saturating_sub(nanos) as f64 / 1e9 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_stands_until_it_is_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let status = Status::new(dir.path(), 60, vec![Line::new("postgres")]);
        let raised = "keel_ship_alarm{store=\"postgres\",alarm=\"full\"} 1";
        assert!(status.is_well() && !status.metrics().contains(raised));
        status.lines[0].raise(Alarm::Full, "no room");
        assert!(!status.is_well() && status.metrics().contains(raised));
        assert_eq!(status.json()["stores"]["postgres"]["alarms"]["full"], "no room");
        status.lines[0].clear(&[Alarm::Full]);
        assert!(status.is_well());
    }

    #[test]
    fn an_old_record_raises_the_alarm_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let status = Status::new(dir.path(), 60, vec![Line::new("loki")]);
        status.lines[0].with(|progress| progress.oldest = 1);
        status.watch();
        assert!(!status.is_well());
        status.lines[0].with(|progress| progress.oldest = 0);
        status.watch();
        assert!(status.is_well());
    }
}

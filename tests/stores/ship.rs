//! `keel ship` as a person calls it.

use crate::keel::{command, finish, signal, start, text};
use crate::postgres::Postgres;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};

/// Ships what is there into Postgres, with short waits.
pub fn once(dir: &Path, url: &str, more: &[&str]) -> Output {
    finish(begin(dir, url, &[&["--once"], more].concat()))
}

/// Starts shipping into Postgres, with short waits.
pub fn begin(dir: &Path, url: &str, more: &[&str]) -> Child {
    let dir = dir.to_str().unwrap();
    start(&[&["ship", "--postgres", url, "--longest-pause", "1", dir], more].concat())
}

/// The same, its words kept in files.
pub fn follow(dir: &Path, url: &str, log: &Path, more: &[&str]) -> Following {
    following(&[&["ship", "--postgres", url, dir.to_str().unwrap(), "--longest-pause", "1"], more].concat(), log)
}

/// A shipper that follows; ended when the test is, whichever way.
pub struct Following {
    child: Option<Child>,
    log: PathBuf,
}

pub fn following(args: &[&str], log: &Path) -> Following {
    let file = std::fs::File::create(log).unwrap();
    let child = command(args).stdout(file.try_clone().unwrap()).stderr(file).stdin(Stdio::null()).spawn().unwrap();
    Following { child: Some(child), log: log.to_path_buf() }
}

impl Following {
    /// What it said so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Ends it in good order; gives what it said.
    pub fn end(mut self) -> String {
        let child = self.child.take().unwrap();
        signal(&child, "TERM");
        let output = child.wait_with_output().unwrap();
        let said = self.said();
        assert!(output.status.success() && !said.contains("panicked"), "{said}");
        said
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            if std::thread::panicking() {
                eprintln!("{}", std::fs::read_to_string(&self.log).unwrap_or_default());
            }
        }
    }
}

pub fn shipped(output: &Output) {
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

/// What `keel ship --check` found.
pub fn check(dir: &Path, server: &Postgres) -> serde_json::Value {
    let output = finish(begin(dir, &server.url(), &["--check", "--json"]));
    let told = text(&output.stdout);
    serde_json::from_str(told.trim()).unwrap_or_else(|_| panic!("{told}{}", text(&output.stderr)))
}

/// Everything is there once, as the journal says; gives the number of rows.
pub fn is_whole(dir: &Path, server: &Postgres, records: u64) -> u64 {
    let found = check(dir, server);
    let zeros = ["missing", "repaired", "changed", "extra"].map(|name| found[name].as_u64().unwrap());
    assert_eq!((zeros, found["last"].as_u64()), ([0; 4], Some(records)), "{found}");
    let rows = records_shipped(server);
    assert_eq!(server.number("SELECT rows FROM keel.cursor"), rows);
    assert_eq!(server.number("SELECT sum(records) FROM keel.span"), records);
    rows
}

/// Rows of records, counted by plain SQL, after comparing them with the distinct ones.
pub fn records_shipped(server: &Postgres) -> u64 {
    let all = format!("(SELECT seq FROM keel.{})", TABLES.join(" UNION ALL SELECT seq FROM keel."));
    let rows = server.number(&format!("SELECT count(*) FROM {all} t"));
    assert_eq!(server.number(&format!("SELECT count(DISTINCT seq) FROM {all} t")), rows, "a record stands twice");
    rows
}

/// Every table of records.
pub const TABLES: [&str; 19] = [
    "quarantine",
    "run_start",
    "run_stop",
    "instrument",
    "command",
    "decision",
    "not_sized",
    "sent",
    "ack",
    "order_update",
    "fill",
    "venue_position",
    "wallet",
    "link",
    "reconciliation",
    "difference",
    "health",
    "venue_status",
    "bar",
];

//! kill -9 of a trading node at random moments, restart on the same journal, and the exchange's own record beside ours.
//!
//! `tests/kill --moments N` runs it long; in the suite it is short. The exchange lives in the test, behind its
//! sockets, and is never killed; a second private stream sees every order and fill it ever made, in its order.
//!
//! ```text
//!   node n: start .. read the account .. trade .. kill -9      node n+1: start ..
//!                          |                       |                      |
//!    every fill of before is in the journal        every order the exchange knows is in the journal,
//!                                                  every open one is reserved by whoever reads it
//! ```

pub mod venue;

use crate::keel::{command, keel, signal, text};
use keel_core::event::{Difference, DifferenceKind, Fill, Kind, Op, Reconciliation, Start, read};
use keel_core::ids::{ClientId, VenueId};
use keel_core::units::{Notional, Now, Wall};
use keel_journal::Reader;
use keel_risk::decision::Decision;
use keel_tools::node::clock::system_wall;
use keel_tools::node::restart::Past;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use venue::{Venue, release};

const SYMBOLS: [&str; 3] = ["BTCUSDT", "ETHUSDT", "SOLUSDT"];
/// Value one position may come to, USDT; below what sizing would want, so that the limit is what holds.
const LIMIT: i64 = 2_500;
/// What a mark may move between the gate's look and the exchange's, in 1/1000.
const MARK: i64 = 5;
/// How long a node may take to read the account.
const READY_WITHIN: Duration = Duration::from_secs(30);

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().map_or(usual, |text| text.parse().unwrap())
}

/// The journal as it grows, over all runs.
struct Journal {
    dir: PathBuf,
    reader: Option<Reader>,
    past: Past,
    run: u32,
    reconciled: bool,
    approved: BTreeSet<ClientId>,
    fills: BTreeSet<VenueId>,
    differences: BTreeMap<String, u32>,
    refused: BTreeMap<String, u32>,
    records: u64,
}

impl Journal {
    fn new(dir: &Path) -> Self {
        let past = Past::default();
        let (reader, run, reconciled, records) = (None, 0, false, 0);
        let (approved, fills, differences, refused) = Default::default();
        Self { dir: dir.to_owned(), reader, past, run, reconciled, approved, fills, differences, refused, records }
    }

    fn read(&mut self) {
        if self.reader.is_none() {
            self.reader = Reader::open(&self.dir).ok();
        }
        let Some(reader) = &mut self.reader else { return };
        while let Some(entry) = reader.poll().unwrap_or_else(|why| panic!("the journal is damaged: {why}")) {
            self.records += 1;
            self.past.take(&entry).unwrap();
            match entry.kind {
                Some(Kind::Start) => {
                    (self.run, self.reconciled) = (read::<Start>(entry.payload).unwrap().run, false);
                }
                Some(Kind::Reconciliation) => {
                    self.reconciled |= read::<Reconciliation>(entry.payload).unwrap().complete.is_set();
                }
                Some(Kind::Approved) => {
                    let order = read::<Decision>(entry.payload).unwrap().order;
                    let fresh = order.op != Op::New || self.approved.insert(order.client);
                    assert!(fresh, "{} was asked for twice", order.client);
                }
                Some(Kind::Refused) => {
                    let first = read::<Decision>(entry.payload).unwrap().first;
                    *self.refused.entry(first.name().to_owned()).or_default() += 1;
                }
                Some(Kind::Fill) => {
                    self.fills.insert(read::<Fill>(entry.payload).unwrap().exec);
                }
                Some(Kind::Difference) => {
                    let difference: Difference = read(entry.payload).unwrap();
                    let expected = matches!(
                        difference.kind,
                        DifferenceKind::MissedEnd | DifferenceKind::MissedFill | DifferenceKind::Absent
                    );
                    assert!(expected, "our books were not the exchange's: {difference:?}");
                    *self.differences.entry(format!("{:?}", difference.kind)).or_default() += 1;
                }
                _ => {}
            }
        }
    }

    fn wait_for(&mut self, run: u32, node: &mut Child, log: &Path) {
        let since = Instant::now();
        loop {
            self.read();
            if self.run > run && self.reconciled {
                return;
            }
            let said = || std::fs::read_to_string(log).unwrap_or_default();
            assert!(node.try_wait().unwrap().is_none(), "the node ended: {}", said());
            assert!(since.elapsed() < READY_WITHIN, "the account was not read within {READY_WITHIN:?}: {}", said());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// A node; no process outlives a case that fails.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn node(config: &Path, log: &Path) -> Node {
    let out = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
    let mut command = command(&["run", "--config", config.to_str().unwrap()]);
    Node(command.stdout(Stdio::null()).stderr(out).spawn().unwrap())
}

fn luck(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 16
}

#[test]
fn a_node_killed_at_any_moment_loses_no_order_and_no_fill_and_never_exceeds_its_limit() {
    let (moments, mut seed) = (number("KEEL_KILL_MOMENTS", 12), number("KEEL_KILL_SEED", 1));
    let scratch = tempfile::tempdir().unwrap();
    let (dir, log) = (scratch.path(), scratch.path().join("node.log"));
    let venue = Venue::start(dir, &SYMBOLS, seed);
    let witness = venue.witness();
    let config = venue.config(
        dir,
        "[quoter]\npatience_ms = 5\npenance_ms = 5\nalarm_permille = 300\ntolerance_ticks = 0\n[journal]\nsegment_mib = 4\n[limits]\nposition_usdt = 2500\n\
         messages_per_second = 100\nvolume_bps = 0\n",
    );
    let mut journal = Journal::new(&dir.join("journal"));
    let (mut executions, mut times, mut resting) = (BTreeSet::new(), Vec::new(), 0u64);
    let mut since = system_wall();
    for moment in 0..moments {
        let from = Instant::now();
        let mut child = node(&config, &log);
        let run = journal.run;
        journal.wait_for(run, &mut child.0, &log);
        release(&journal.dir);
        // what happened before the last kill, and while nobody ran, is known now
        let missing: Vec<&VenueId> = executions.difference(&journal.fills).collect();
        assert!(missing.is_empty(), "moment {moment}: fills the journal does not hold: {missing:?}");
        std::thread::sleep(Duration::from_micros(luck(&mut seed) % 700_000));
        child.0.kill().unwrap();
        child.0.wait().unwrap();
        journal.read();

        let open = venue.open_orders();
        resting += u64::from(!open.is_empty());
        for order in &open {
            let reserved = journal.past.desk().orders.get(order.client);
            assert!(reserved.is_some(), "moment {moment}: the exchange holds {} and nobody reserves it", order.client);
        }
        let strangers: Vec<_> =
            witness.record.lock().unwrap().clients().difference(&journal.approved).copied().collect();
        assert!(strangers.is_empty(), "moment {moment}: orders that are in no journal: {strangers:?}");
        let now = system_wall();
        executions.extend(venue.executions(since).iter().map(|fill| fill.exec));
        since = Wall::from_nanos(now.nanos() - 5_000_000_000);
        times.push(from.elapsed());
    }

    // one more life, ended in good order: now the books must be equal to the last unit
    let mut child = node(&config, &log);
    let run = journal.run;
    journal.wait_for(run, &mut child.0, &log);
    release(&journal.dir);
    std::thread::sleep(Duration::from_millis(1_500));
    signal(&child.0, "TERM");
    let ended = child.0.wait().unwrap();
    journal.read();
    assert!(ended.success(), "{}", std::fs::read_to_string(&log).unwrap());
    compare(&venue, &witness.record.lock().unwrap(), &journal, executions);
    let verified = keel(&["verify", journal.dir.to_str().unwrap()]);
    assert!(verified.status.success(), "{}", text(&verified.stdout));

    times.sort_unstable();
    let record = witness.record.lock().unwrap();
    println!(
        "{moments} moments: {} orders, {} fills at the exchange; {} records; killed with orders resting {resting} times; \
         {:?} a moment in the middle, {:?} at most; largest exposure {:?} of {LIMIT}; differences {:?}, refused {:?}",
        record.orders.len(),
        record.fills.len(),
        journal.records,
        times.get(times.len() / 2).copied().unwrap_or_default(),
        times.last().copied().unwrap_or_default(),
        record.worst.values().map(ToString::to_string).collect::<Vec<_>>(),
        journal.differences,
        journal.refused,
    );
    let loaded = record.orders.len() as u64 > moments && resting > moments / 4;
    assert!(loaded && record.fills.len() as u64 >= moments / 20, "it was not under load");
    drop(record);
    drop(witness);
    venue.end();
}

fn compare(venue: &Venue, record: &venue::Record, journal: &Journal, mut executions: BTreeSet<VenueId>) {
    assert_eq!(record.lost, 0, "the witness saw everything");
    executions.extend(record.fills.keys());
    let known: BTreeSet<VenueId> = record.fills.keys().copied().collect();
    assert_eq!(known, executions, "the exchange's stream and its answers name the same executions");
    assert_eq!(journal.fills, executions, "the journal holds every fill and no other");
    assert!(venue.open_orders().is_empty(), "it ended with nothing open");
    assert!(journal.past.desk().orders.open().is_empty(), "and knows it");

    // none twice: our books, counted from the journal alone, are the exchange's
    let ours: Vec<_> = journal.past.desk().seats().iter().map(|seat| seat.position).collect();
    let sizes: Vec<_> = ours.iter().map(|position| position.size).collect();
    assert_eq!(sizes, venue.positions(), "positions");
    let fees: Notional = record.fills.values().map(|fill| fill.fee).sum();
    assert_eq!(ours.iter().map(|position| position.fees + position.funding).sum::<Notional>(), fees, "fees");
    let mut equity = journal.past.desk().equity;
    assert_eq!(equity.value(Now::default().mono, 0).unwrap().balance, venue.balance(), "cash, to the last unit");

    let most = Notional::whole(LIMIT).raw() / 1_000 * (1_000 + MARK);
    for (instrument, worst) in &record.worst {
        assert!(worst.raw() <= most, "{instrument:?} could have come to {worst} USDT, {LIMIT} is the limit");
    }
}

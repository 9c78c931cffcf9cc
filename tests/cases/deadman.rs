//! `keel deadman` beside a trading node: a node that hangs, a node that dies, and a switch that could not act.

use crate::keel::{command, keel, signal, text};
use crate::kill::venue::{Venue, release};
use keel_core::event::{Command, CommandKind, Kind, Op, read};
use keel_journal::Reader;
use keel_risk::decision::Decision;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// What the switch is told to wait for.
const SILENCE: Duration = Duration::from_millis(500);
/// From the node's last beat until the exchange holds no order: the silence, and the way there and back on a busy machine.
const BOUND: Duration = Duration::from_millis(2_500);
const PATIENCE: Duration = Duration::from_secs(30);

const MORE: &str = "[quoter]\npatience_ms = 5\npenance_ms = 5\ntolerance_ticks = 0\n[journal]\nsegment_mib = 4\n\
                    [limits]\nmessages_per_second = 100\nvolume_bps = 0\n";

fn section(dir: &Path, more: &str) -> String {
    let [key, secret] = ["key", "secret"].map(|name| dir.join(name).display().to_string());
    format!(
        "{MORE}[deadman]\nkey = {{ file = \"{key}\" }}\nsecret = {{ file = \"{secret}\" }}\nsilence_ms = {}\n{more}",
        SILENCE.as_millis()
    )
}

fn spawn(args: &[&str], log: &Path) -> Child {
    let out = std::fs::File::create(log).unwrap();
    command(args).stdout(Stdio::null()).stderr(out).spawn().unwrap()
}

fn wait(what: &str, log: &Path, mut holds: impl FnMut() -> bool) -> Duration {
    let since = Instant::now();
    while !holds() {
        let said = || std::fs::read_to_string(log).unwrap_or_default();
        assert!(since.elapsed() < PATIENCE, "{what} within {PATIENCE:?}: {}", said());
        std::thread::sleep(Duration::from_millis(40));
    }
    since.elapsed()
}

fn said(log: &Path, words: &str) -> bool {
    std::fs::read_to_string(log).unwrap_or_default().contains(words)
}

struct World {
    dir: tempfile::TempDir,
    venue: Venue,
    node: Child,
    watcher: Child,
}

impl World {
    /// A node with orders and a position at the exchange, and a switch that watches it.
    fn new(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let venue = Venue::start(dir.path(), &["BTCUSDT", "ETHUSDT", "SOLUSDT"], 3);
        let config = venue.config(dir.path(), &section(dir.path(), more));
        let file = config.to_str().unwrap();
        let watcher = spawn(&["deadman", "--config", file], &dir.path().join("deadman.log"));
        let node = spawn(&["run", "--config", file], &dir.path().join("node.log"));
        release(&dir.path().join("journal"));
        let world = Self { venue, node, watcher, dir };
        wait("orders rest", &world.log("node"), || world.venue.open_orders().len() > 1);
        wait("a position", &world.log("node"), || world.venue.positions().iter().any(|size| !size.is_zero()));
        wait("the switch watches", &world.log("deadman"), || said(&world.log("deadman"), "the node beats"));
        wait("orders rest", &world.log("node"), || world.venue.open_orders().len() > 1);
        world
    }

    fn log(&self, of: &str) -> PathBuf {
        self.dir.path().join(format!("{of}.log"))
    }

    /// New orders approved, and whether the switch halted it, by the journal.
    fn journal(&self) -> (usize, bool) {
        let mut reader = Reader::open(self.dir.path().join("journal")).unwrap();
        let (mut placed, mut halted) = (0, false);
        while let Some(entry) = reader.poll().unwrap() {
            match entry.kind {
                Some(Kind::Approved) => {
                    placed += usize::from(read::<Decision>(entry.payload).unwrap().order.op == Op::New);
                }
                Some(Kind::Command) => {
                    let command: Command = read(entry.payload).unwrap();
                    halted |= command.kind == CommandKind::Halt && command.author.as_str() == "deadman";
                }
                _ => {}
            }
        }
        (placed, halted)
    }

    fn end(mut self) {
        for child in [&mut self.watcher, &mut self.node] {
            if child.try_wait().unwrap().is_none() {
                signal(child, "TERM");
                child.wait().unwrap();
            }
        }
    }
}

/// Also where a case fails: no process outlives it.
impl Drop for World {
    fn drop(&mut self) {
        for child in [&mut self.watcher, &mut self.node] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn the_orders_of_a_node_that_hangs_are_gone_within_the_bound_and_it_is_halted_when_it_wakes() {
    let world = World::new("");
    signal(&world.node, "STOP");
    let took = wait("no order is open", &world.log("deadman"), || world.venue.open_orders().is_empty());
    println!("a hung node's orders were gone {took:?} after its last beat; the switch waits for {SILENCE:?}");
    assert!(took < BOUND, "{took:?}");
    wait("the switch is done", &world.log("deadman"), || said(&world.log("deadman"), "nothing is open after"));
    let (placed, _) = world.journal();
    signal(&world.node, "CONT");
    wait("it is halted", &world.log("node"), || world.journal().1);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(world.journal(), (placed, true), "and it places nothing any more");
    assert!(world.venue.open_orders().is_empty());
    assert!(world.venue.positions().iter().any(|size| !size.is_zero()), "positions are held: nobody said flatten");
    world.end();
}

#[test]
fn a_node_that_dies_leaves_nothing_open_and_nothing_held_when_the_switch_is_told_to_flatten() {
    let mut world = World::new("flatten = true\nslice_usdt = 400\n");
    world.node.kill().unwrap();
    let took = wait("no order is open", &world.log("deadman"), || world.venue.open_orders().is_empty());
    assert!(took < BOUND, "{took:?}");
    wait("flat", &world.log("deadman"), || world.venue.positions().iter().all(|size| size.is_zero()));
    wait("the switch is done", &world.log("deadman"), || said(&world.log("deadman"), "nothing is held after"));
    world.node.wait().unwrap();
    world.end();
}

#[test]
fn a_node_that_ends_in_good_order_is_no_emergency() {
    let mut world = World::new("");
    signal(&world.node, "TERM");
    assert!(world.node.wait().unwrap().success(), "{}", std::fs::read_to_string(world.log("node")).unwrap());
    std::thread::sleep(3 * SILENCE);
    assert!(!said(&world.log("deadman"), "silent"), "{}", std::fs::read_to_string(world.log("deadman")).unwrap());
    world.end();
}

#[test]
fn the_venue_itself_cancels_for_a_guarded_node_that_dies_and_a_node_that_only_watches_is_no_emergency() {
    let dir = tempfile::tempdir().unwrap();
    let venue = Venue::start(dir.path(), &["BTCUSDT", "ETHUSDT", "SOLUSDT"], 3);
    let guarded = format!("disconnect_seconds = 3\n{}", section(dir.path(), ""));
    let config = venue.config(dir.path(), &guarded);
    let (file, log) = (config.to_str().unwrap(), dir.path().join("node.log"));
    let mut node = Killed(spawn(&["run", "--config", file], &log));
    release(&dir.path().join("journal"));
    wait("orders rest", &log, || venue.open_orders().len() > 1);
    node.0.kill().unwrap();
    node.0.wait().unwrap();
    assert!(!venue.open_orders().is_empty(), "nobody cancels yet");
    let took = wait("the venue cancels", &log, || venue.open_orders().is_empty());
    assert!(took > Duration::from_secs(2) && took < Duration::from_secs(8), "{took:?}");

    // another journal: a node that took over orders which may be open is at work, armed or not
    let other = dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let config = venue.config(&other, &section(&other, ""));
    let (file, log) = (config.to_str().unwrap(), other.join("node.log"));
    let said_by = other.join("deadman.log");
    let _watcher = Killed(spawn(&["deadman", "--config", file], &said_by));
    let mut node = Killed(spawn(&["run", "--config", file], &log));
    wait("it watches", &log, || said(&log, "node started"));
    std::thread::sleep(2 * SILENCE);
    node.0.kill().unwrap();
    node.0.wait().unwrap();
    std::thread::sleep(3 * SILENCE);
    assert!(!said(&said_by, "silent for"), "{}", std::fs::read_to_string(&said_by).unwrap());
    venue.end();
}

/// No process outlives a case that fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_switch_that_could_not_act_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let venue = Venue::start(dir.path(), &["BTCUSDT"], 3);
    let config = venue.config(dir.path(), &section(dir.path(), ""));
    let file = config.to_str().unwrap();
    let good = keel(&["deadman", "--config", file, "--check"]);
    assert!(good.status.success(), "{}", text(&good.stderr));
    for (rights, why) in [
        ("rights key=demo-key read_only=true", "allow contract orders"),
        ("rights key=demo-key read_only=false trade=false", "allow contract orders"),
        ("rights key=demo-key trade=true withdraw=true", "may withdraw"),
    ] {
        venue.command(rights);
        let refused = keel(&["deadman", "--config", file]);
        let said = text(&refused.stderr);
        assert!(!refused.status.success() && said.contains("does not start"), "{said}");
        assert!(said.contains(why) || rights.contains("read_only=true") || rights.contains("trade=false"), "{said}");
    }
    venue.command("rights key=demo-key withdraw=false");
    let config = venue.config(dir.path(), MORE);
    let refused = keel(&["deadman", "--config", config.to_str().unwrap()]);
    assert!(text(&refused.stderr).contains("[deadman]"), "{}", text(&refused.stderr));
    venue.end();
}

#[test]
fn an_account_that_may_not_go_live_is_refused_with_every_reason_and_its_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let venue = Venue::start(dir.path(), &["BTCUSDT"], 3);
    let config = venue.config(dir.path(), MORE);
    for (command, name, remedy) in [
        ("rights key=demo-key withdraw=true", "withdraws", "make one that may not"),
        ("kyc key=demo-key level=LEVEL_DEFAULT", "kyc", "the policy asks for more"),
        ("bind key=demo-key ip=127.0.0.1", "", ""),
    ] {
        venue.command(command);
        if name.is_empty() {
            continue;
        }
        let refused = keel(&["run", "--config", config.to_str().unwrap()]);
        let said = text(&refused.stderr);
        assert!(!refused.status.success() && said.contains("may not go live"), "{said}");
        assert!(said.contains(&format!("{name}: ")) && said.contains(remedy), "{said}");
        assert!(!dir.path().join("journal").exists(), "refused before anything began");
    }
    venue.end();
}

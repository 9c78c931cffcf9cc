//! The processes a case starts: one that writes until its world ends, one that takes up what is left and says what it found.
//!
//! They speak in lines; a line cut short was not said.

use crate::luck::Luck;
use crate::room::only;
use keel_core::agent::Agent;
use keel_core::event::{Kind, Record};
use keel_core::ids::Seq;
use keel_core::permit::{Log, LogFault, LogHealth};
use keel_core::units::{Mono, Now, Wall};
use keel_journal::{Durability, Gauge, Keeper, Options, Reader, Writer, verify};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime};

/// How the writer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Says what the watermark says.
    Window,
    /// Waits for the medium with every decision, and says so.
    Sync,
    /// Says that everything it wrote is durable: a writer that breaks its promise.
    Boast,
}

const ROLE: &str = "KEEL_MEDIUM_ROLE";
const DIR: &str = "KEEL_MEDIUM_DIR";
const SEED: &str = "KEEL_MEDIUM_SEED";

struct Blob(Vec<u8>);

impl Record for Blob {
    fn kind(&self) -> Kind {
        Kind::Fill
    }

    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What record `n` holds.
fn blob(n: u64) -> Blob {
    let (bytes, len) = (n.to_le_bytes(), 8 + usize::try_from(n * 37 % 400).unwrap());
    Blob((0..len).map(|at| bytes[at % 8] ^ at.to_le_bytes()[0]).collect())
}

fn options(durability: Durability) -> Options {
    Options { segment_bytes: 1 << 20, prefault_bytes: 256 << 10, durability, clock_error: 0, ..Options::default() }
}

pub fn wall() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_nanos()).unwrap()
}

fn now(from: Instant) -> Now {
    let mono = u64::try_from(from.elapsed().as_nanos()).unwrap();
    Now { mono: Mono::from_nanos(mono), wall: Wall::from_nanos(wall()) }
}

#[test]
#[ignore = "the child of the other cases"]
fn child() {
    let (Ok(role), Some(dir)) = (std::env::var(ROLE), std::env::var_os(DIR)) else { return };
    let (dir, seed) = (Path::new(&dir), std::env::var(SEED).unwrap().parse().unwrap());
    println!();
    match role.as_str() {
        "check" => check(dir),
        "Sync" => write(dir, Durability::Sync, false, seed),
        role => write(dir, Durability::Window, role == "Boast", seed),
    }
}

fn keep(mut keeper: Keeper, from: Instant) {
    std::thread::spawn(move || {
        while keeper.failure().is_none() {
            if keeper.duty(now(from)) == 0 {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        println!("keeper {:?}", keeper.failure().unwrap());
    });
}

/// The kernel writes pages back when it likes, without syncing them. Here it likes all the time.
fn hurry(dir: PathBuf) {
    let away = move || {
        loop {
            for number in keel_journal::segment::list(&dir).unwrap_or_default().into_iter().rev().take(2) {
                if let Ok(file) = File::open(keel_journal::segment::path(&dir, number)) {
                    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
                }
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    };
    std::thread::spawn(away);
}

fn write(dir: &Path, durability: Durability, boast: bool, seed: u64) {
    let (mut writer, keeper) = match Writer::open(dir, options(durability)) {
        Ok(open) => open,
        Err(why) => return println!("refused {why}"),
    };
    println!("open {}", writer.head().0);
    let (from, gauge, mut luck) = (Instant::now(), writer.gauge(), Luck(seed));
    keep(keeper, from);
    hurry(dir.to_path_buf());
    let (mut broken, mut full) = (false, 0);
    while !broken && full < 300 {
        for _ in 0..=luck.below(40) {
            let n = writer.head().0 + 1;
            let decision = luck.below(8) == 0;
            let done = match decision {
                true => writer.record(now(from), Seq(n - 1), blob(n)).map(|recorded| recorded.seq()),
                false => writer.fact(now(from), Seq(n - 1), &blob(n)),
            };
            match done {
                Ok(seq) if decision && durability == Durability::Sync => println!("acked {}", seq.0),
                Ok(_) => full = 0,
                Err(LogFault::Broken) => broken = true,
                Err(_) => full += 1,
            }
            if done.is_err() {
                break;
            }
        }
        let durable = if boast { writer.head() } else { gauge.durable() };
        println!("acked {}\nhead {}", durable.0, writer.head().0);
        std::thread::sleep(Duration::from_micros(if full > 0 { 1_000 } else { 200 }));
    }
    stand(&mut writer, from, &gauge);
}

/// The journal takes nothing more. It must stay so, also when the medium is well again.
fn stand(writer: &mut Writer, from: Instant, gauge: &Gauge) {
    let (head, durable) = (writer.head(), gauge.durable());
    println!("ended {:?} {} {}", writer.health(), head.0, durable.0);
    std::io::stdin().lock().read_exact(&mut [0]).unwrap();
    let mut taken = 0;
    for turn in 0..600 {
        let n = writer.head().0 + 1;
        let done = match turn % 2 {
            0 => writer.fact(now(from), Seq::NONE, &blob(n)),
            _ => writer.record(now(from), Seq::NONE, blob(n)).map(|recorded| recorded.seq()),
        };
        taken += u64::from(done.is_ok());
        std::thread::sleep(Duration::from_millis(2));
    }
    println!("again {:?} {taken} {}", writer.health(), gauge.durable().0 - durable.0);
}

fn check(dir: &Path) {
    let (writer, keeper) = match Writer::open(dir, options(Durability::Window)) {
        Ok(open) => open,
        Err(why) => return println!("refused {why}"),
    };
    assert_ne!(writer.health(), LogHealth::Faulty);
    let (head, recovery) = (writer.head().0, keeper.recovery().clone());
    drop((writer, keeper));
    let (mut reader, mut count, mut last) = (Reader::open(dir).unwrap(), 0, 0);
    while let Some(entry) = reader.poll().unwrap() {
        count += 1;
        if count == 1 && entry.seq != Seq(1) {
            return println!("refused the records before {} are gone with their segment", entry.seq.0);
        }
        assert_eq!(entry.seq, Seq(count), "in order");
        assert!(entry.payload == blob(count).0, "record {count} is not what was written");
        last = entry.wall.nanos();
    }
    assert_eq!(count, head, "the end is where recovery says");
    let report = verify(dir);
    assert!(report.is_sound() && !report.torn, "{:?}", report.damages);
    println!("stands {head} {last} {}", u64::from(recovery.torn) + 2 * u64::from(recovery.cut.is_some()));
}

fn start(role: &str, dir: &Path, seed: u64) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(only("roles::child")).env(ROLE, role).env(DIR, dir).env(SEED, seed.to_string());
    child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Everything the writer said.
#[derive(Debug, Default)]
pub struct Said {
    pub refused: Option<String>,
    /// Highest record said to be durable.
    pub acked: u64,
    /// Highest record said to be written.
    pub head: u64,
    /// Health, head and durable when nothing more was taken.
    pub ended: Option<(String, u64, u64)>,
    /// Health, records taken and records made durable after that.
    pub again: Option<(String, u64, u64)>,
    pub keeper: Option<String>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let mut words = line.split(' ');
        let (Some(word), rest) = (words.next(), words.collect::<Vec<_>>()) else { return };
        let number = |at: usize| rest.get(at).and_then(|word| word.parse().ok()).unwrap_or(0);
        let three = || (rest[0].to_owned(), number(1), number(2));
        match word {
            "refused" => self.refused = Some(rest.join(" ")),
            "acked" => self.acked = self.acked.max(number(0)),
            "open" | "head" => self.head = self.head.max(number(0)),
            "ended" => self.ended = Some(three()),
            "again" => self.again = Some(three()),
            "keeper" => self.keeper = Some(rest.join(" ")),
            _ => {}
        }
    }
}

/// A writer at work.
pub struct Writing {
    pub child: Child,
    pub stdin: ChildStdin,
    ears: std::thread::JoinHandle<Said>,
    begin: Receiver<()>,
    end: Receiver<()>,
}

impl Writing {
    pub fn start(habit: Habit, dir: &Path, seed: u64) -> Self {
        let mut child = start(&format!("{habit:?}"), dir, seed);
        let (stdin, mut out) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let ((begun, begin), (ended, end)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
        let ears = std::thread::spawn(move || {
            let (mut said, mut line) = (Said::default(), String::new());
            while out.read_line(&mut line).is_ok_and(|read| read > 0) {
                if let Some(whole) = line.strip_suffix('\n') {
                    said.hear(whole);
                    if whole.starts_with("head ") {
                        let _ = begun.send(());
                    }
                    if whole.starts_with("ended ") {
                        let _ = ended.send(());
                    }
                }
                line.clear();
            }
            said
        });
        Self { child, stdin, ears, begin, end }
    }

    /// Waits until it has written something, or is gone.
    pub fn begun(&self) {
        let _ = self.begin.recv();
    }

    /// Waits until it takes nothing more, or is gone.
    pub fn ended(&self) {
        let _ = self.end.recv();
    }

    /// What it said until it ended.
    pub fn said(self) -> Said {
        drop(self.stdin);
        self.ears.join().unwrap()
    }
}

/// What is left after a fall.
#[derive(Debug)]
pub enum Found {
    /// The sentence it was refused with.
    Refused(String),
    /// Records; when the last was written; was an append torn; was it cut.
    Stands { head: u64, wall: u64, torn: bool, cut: bool },
}

/// Takes up a journal in a process of its own.
pub fn found(dir: &Path) -> Found {
    let out = start("check", dir, 1).wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    let told = text.lines().find_map(|line| {
        if let Some(why) = line.strip_prefix("refused ") {
            return Some(Found::Refused(why.to_owned()));
        }
        let words: Vec<u64> = line.strip_prefix("stands ")?.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [head, wall, flags] = words[..] else { return None };
        Some(Found::Stands { head, wall, torn: flags & 1 > 0, cut: flags & 2 > 0 })
    });
    told.unwrap_or_else(|| panic!("the journal was not taken up: {text}{}", String::from_utf8_lossy(&out.stderr)))
}

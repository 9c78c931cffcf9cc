//! `keel-count NAME`: runs one hot function often, between two marks callgrind can see.
//!
//! `bench/instructions` runs each name under callgrind, which counts only inside [`marked`], and compares instructions a
//! call with `bench/instructions.json`. One binary and one input give one count: no clock, no noise. `keel-count cpu` says
//! which CPU it believes to be on: libraries that choose by it count the same only where it is the same.
//!
//! `--burden N` makes each marked call that many instructions dearer: a deliberate slow-down, for the proof that the
//! comparison sees one.

mod burden;
#[path = "../../../risk/examples/gate_cost/desk.rs"]
#[allow(dead_code, reason = "shared with the measurement of the gate")]
mod desk;
#[allow(dead_code, reason = "tests ask it for more")]
#[allow(clippy::unwrap_used, reason = "a measurement that cannot unwrap has failed")]
#[allow(missing_docs, unreachable_pub, reason = "shared with the tests")]
#[path = "../../../tests/cases/world.rs"]
mod world;

use keel_core::book::Book;
use keel_core::event::{BookUpdate, MarketEvent, Record};
use keel_core::ids::Seq;
use keel_core::permit::{Gate as _, Log};
use keel_core::units::{Mono, Now, Px, Wall};
use keel_feed::decode::{Arrival, Decoder, Message};
use keel_journal::Writer;
use keel_wire::tape;
use std::hint::black_box;
use std::process::ExitCode;
use world::{Around, Part, World};

/// Calls that bring caches and tables to where they stay.
const WARM: u64 = 200;
/// Calls that are counted.
const CALLS: u64 = 2_000;

/// What callgrind counts. Never inlined: its name is the mark.
#[inline(never)]
fn marked<T>(work: impl FnOnce() -> T) -> T {
    burden::carry();
    work()
}

/// Runs `work` unmarked, then marked, and says how often it was marked.
fn often(mut work: impl FnMut(u64)) -> u64 {
    (0..WARM).for_each(&mut work);
    for nth in WARM..WARM + CALLS {
        marked(|| work(nth));
    }
    CALLS
}

fn frames() -> Vec<Vec<u8>> {
    (1..=WARM + CALLS).map(|tick| tape::delta(tick, tape::EPOCH).into_bytes()).collect()
}

fn updates(frames: &[Vec<u8>]) -> Vec<BookUpdate> {
    let mut decoder = Decoder::new(&desk::instruments());
    let mut all = Vec::new();
    for frame in frames {
        let keep = &mut |event| {
            if let MarketEvent::Book(update) = event {
                all.push(update);
            }
        };
        decoder.decode(frame, Arrival::default(), keep).expect("a book message");
    }
    all
}

fn index(nth: u64) -> usize {
    usize::try_from(nth).expect("a small number")
}

fn decode() -> u64 {
    let (frames, mut decoder) = (frames(), Decoder::new(&desk::instruments()));
    often(|nth| {
        let parsed = decoder.parse(black_box(&frames[index(nth)]));
        assert!(matches!(black_box(parsed), Ok(Message::Book(_))));
    })
}

fn apply() -> u64 {
    let mut book = Book::new(Px::from_raw(10_000_000), 50);
    for update in updates(&[tape::snapshot(tape::EPOCH).into_bytes()]) {
        book.apply(&update).expect("a sound book");
    }
    let updates = updates(&frames());
    assert_eq!(updates.len(), index(WARM + CALLS), "one part a frame");
    often(|nth| {
        book.apply(black_box(&updates[index(nth)])).expect("a sound book");
    })
}

fn gate() -> u64 {
    let mut gate = desk::gate();
    let context = desk::context();
    often(|nth| {
        let approved = gate.judge(desk::at(1_001 + nth), black_box(&desk::order(nth)), &context);
        if let Err(refused) = black_box(approved) {
            panic!("far from every limit: {:?}", refused.decision().first);
        }
    })
}

fn var() -> u64 {
    let gate = desk::gate();
    let book = gate.outcomes().expect("scenarios");
    let limit = desk::near(book);
    often(|nth| {
        black_box(book.tail(black_box(limit), desk::shock(nth)));
    })
}

fn append() -> u64 {
    let mut writer = Writer::in_memory(8 << 20).expect("memory");
    let update = updates(&[tape::delta(1, tape::EPOCH).into_bytes()])[0];
    assert!((100..400).contains(&update.bytes().len()));
    often(|nth| {
        let now = Now { mono: Mono::from_nanos(nth), wall: Wall::from_nanos(nth) };
        writer.fact(now, Seq::NONE, black_box(&update)).expect("room");
    })
}

/// Marks one part of the way, or all of it.
struct Mark {
    parts: &'static [Part],
    calls: u64,
    armed: bool,
}

impl Around for Mark {
    fn around<T>(&mut self, part: Part, work: impl FnOnce() -> T) -> T {
        if !self.armed || !self.parts.contains(&part) {
            return work();
        }
        self.calls += 1;
        marked(work)
    }
}

/// The rooms that trade, on a generated market: instructions a call of the parts asked for.
fn way(parts: &'static [Part]) -> u64 {
    let mut world = World::new(3, Mark { parts, calls: 0, armed: false });
    world.arm();
    world.run_for(1_000);
    world.around.armed = true;
    world.run_for(30_000);
    world.around.calls
}

/// Features that libraries on the path choose their code by, as the CPU tells them.
fn cpu() -> String {
    macro_rules! told {
        ($($name:tt)*) => { [$(($name, std::arch::is_x86_feature_detected!($name))),*] };
    }
    let told =
        told!["sse4.2" "pclmulqdq" "avx" "avx2" "bmi2" "fma" "sha" "avx512f" "avx512bw" "avx512vl" "vpclmulqdq" "gfni"];
    told.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
}

fn count(name: &str) -> Option<u64> {
    Some(match name {
        "decode" => decode(),
        "apply" => apply(),
        "gate" => gate(),
        "var" => var(),
        "append" => append(),
        "encode" => way(&[Part::Gateway]),
        "engine" => way(&[Part::Engine]),
        "step" => way(&[Part::Feed, Part::Engine, Part::Gateway]),
        _ => return None,
    })
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or_default();
    match (words.next().as_deref(), words.next().map(|number| number.parse())) {
        (None, None) => {}
        (Some("--burden"), Some(Ok(instructions))) => burden::take_up(instructions),
        _ => return misused(),
    }
    if name == "cpu" {
        println!("{}", cpu());
        return ExitCode::SUCCESS;
    }
    let Some(calls) = count(&name) else { return misused() };
    println!("{calls}");
    ExitCode::SUCCESS
}

fn misused() -> ExitCode {
    eprintln!("one of: decode apply gate var append encode engine step cpu; and perhaps --burden INSTRUCTIONS");
    ExitCode::from(2)
}

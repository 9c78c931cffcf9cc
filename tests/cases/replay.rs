//! `keel replay` and `keel explain` on journals that were cut, archived, continued and tampered with.
//!
//! The binary that ships records and replays; the same code, built into this test, replays too: where the two are built
//! by different profiles, both must come to the same bytes.

use crate::keel::{json, keel, text};
use clap::Parser;
use keel_core::agent::Agent;
use keel_core::event::{Kind, NotSized, Op, Order, Record, Timer, read};
use keel_core::ids::Seq;
use keel_core::permit::Log;
use keel_core::units::{Mono, Now};
use keel_journal::{Entry, Options, Reader, Writer};
use keel_risk::decision::Class;
use keel_risk::{Decision, Refusal};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

struct Raw<'a>(&'a Entry<'a>, &'a [u8]);

impl Record for Raw<'_> {
    fn kind(&self) -> Kind {
        self.0.kind.unwrap()
    }

    fn bytes(&self) -> &[u8] {
        self.1
    }
}

fn str(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn demo(dir: &Path, seconds: u64) -> PathBuf {
    let journal = dir.join("demo");
    let run =
        keel(&["demo", "--json", "--speed", "max", "--seconds", &seconds.to_string(), "--data-dir", str(&journal)]);
    let run = json(&run);
    assert!(run["orders"].as_u64() > Some(10) && run["fills"].as_u64() > Some(5), "{run}");
    journal
}

/// Another journal of the same records, as far as `edit` goes and with the payloads it gives; small segments.
fn copy(from: &Path, to: &Path, mut edit: impl FnMut(&Entry<'_>, &mut Vec<u8>) -> bool) {
    let options = Options { segment_bytes: 256 << 10, ..Options::default() };
    let (mut writer, mut keeper) = Writer::open(to, options).unwrap();
    let mut reader = Reader::open(from).unwrap();
    while let Some(entry) = reader.poll().unwrap() {
        let mut payload = entry.payload.to_vec();
        if !edit(&entry, &mut payload) {
            break;
        }
        let now = Now { mono: entry.mono, wall: entry.wall };
        let seq = writer.fact(now, entry.cause, &Raw(&entry, &payload)).unwrap();
        assert_eq!(seq, entry.seq);
        if seq.0 % 64 == 0 {
            keeper.duty(now);
        }
    }
    keeper.finish(writer).unwrap();
}

fn replayed(journal: &Path, more: &[&str]) -> Value {
    let run = json(&keel(&[&["replay", str(journal), "--json"], more].concat()));
    assert!(run["runs"].as_array().unwrap().iter().all(|run| run["identical"] == true), "{run}");
    run
}

fn digest(run: &Value) -> &str {
    run["runs"][0]["decisions_sha256"].as_str().unwrap()
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: keel_tools::replay::Args,
}

/// The same code in the profile of this test.
fn replayed_here(journal: &Path) -> Value {
    let line = Line::parse_from(["replay", str(journal), "--json"]);
    let mut out = Vec::new();
    keel_tools::replay::tell(&line.args, &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

fn replays_alike(seconds: u64) {
    let dir = tempfile::tempdir().unwrap();
    let journal = demo(dir.path(), seconds);
    let (first, second) = (replayed(&journal, &[]), replayed(&journal, &[]));
    assert_eq!(digest(&first), digest(&second));
    assert_eq!(digest(&first), digest(&replayed_here(&journal)), "another profile, the same bytes");
    assert_eq!(first["runs"][0]["ended"], "ended in good order");
    let decisions = &first["runs"][0]["decisions"];
    assert!(decisions["Approved"].as_u64() > Some(20), "{decisions}");
}

#[test]
fn a_recorded_demo_replays_to_the_byte_twice_and_in_both_profiles() {
    replays_alike(600);
}

#[test]
#[ignore = "a measurement: a whole hour takes most of a minute to record"]
fn a_recorded_hour_replays_to_the_byte() {
    replays_alike(3600);
}

#[test]
fn a_journal_cut_anywhere_archived_or_continued_replays_as_far_as_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let journal = demo(dir.path(), 60);
    let whole = replayed(&journal, &[]);
    let mut turns = Vec::new();
    let mut reader = Reader::open(&journal).unwrap();
    while let Some(entry) = reader.poll().unwrap() {
        if entry.kind == Some(Kind::Approved) {
            turns.push((entry.cause.0, entry.seq.0));
        }
    }
    for (cause, decision) in [turns[0], turns[turns.len() / 2], turns[turns.len() - 1]] {
        for end in [cause, decision] {
            let cut = dir.path().join(format!("cut-{end}"));
            copy(&journal, &cut, |entry, _| entry.seq.0 <= end);
            let run = replayed(&cut, &[]);
            assert_eq!(run["runs"][0]["ended"], "cut off where its records end");
            assert_eq!(run["runs"][0]["records"][1], end);
            assert!(end != cause || run["runs"][0]["unwritten"].as_u64() > Some(0), "{run}");
        }
    }
    let small = dir.path().join("small");
    copy(&journal, &small, |_, _| true);
    let packed = text(&keel(&["archive", str(&small)]).stdout);
    assert!(
        std::fs::read_dir(&small).unwrap().any(|f| f.unwrap().path().extension().is_some_and(|e| e == "zst")),
        "{packed}"
    );
    assert_eq!(digest(&replayed(&small, &[])), digest(&whole));
    // a second life in the same directory takes over what the first one left
    json(&keel(&["demo", "--json", "--speed", "max", "--seconds", "30", "--data-dir", str(&journal)]));
    let both = replayed(&journal, &[]);
    assert_eq!(both["runs"].as_array().unwrap().len(), 2);
    assert_eq!(digest(&both), digest(&whole));
    let second = replayed(&journal, &["--run", "2"]);
    assert_eq!(second["runs"].as_array().map(Vec::len), Some(1));
    assert_eq!(second["runs"][0]["decisions_sha256"], both["runs"][1]["decisions_sha256"]);
}

/// What replay says of a journal in which the first record that `spoil` takes was changed.
fn spoilt(journal: &Path, to: &Path, spoil: impl Fn(&Entry<'_>, &mut Vec<u8>) -> bool) -> (u64, String) {
    let mut at = 0;
    copy(journal, to, |entry, payload| {
        if at == 0 && spoil(entry, payload) {
            at = entry.seq.0;
        }
        true
    });
    let output = keel(&["replay", str(to)]);
    assert!(!output.status.success(), "{}", text(&output.stdout));
    (at, text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn the_first_decision_that_differs_is_named_field_by_field_with_its_cause() {
    let dir = tempfile::tempdir().unwrap();
    let journal = demo(dir.path(), 60);
    let px = core::mem::offset_of!(Order, px);
    let (at, said) = spoilt(&journal, &dir.path().join("px"), |entry, payload| {
        let late = entry.kind == Some(Kind::Approved) && entry.seq.0 > 2000;
        if late {
            payload[px] ^= 1;
        }
        late
    });
    assert!(said.contains(&format!("DIFFERENT at record {at}")) && said.contains("  px  "), "{said}");
    assert!(said.contains("because of") && !said.contains("  qty  "), "{said}");
    let (at, said) = spoilt(&journal, &dir.path().join("measure"), |entry, payload| {
        let wanted = entry.kind == Some(Kind::Approved);
        if wanted {
            payload[255] ^= 1;
        }
        wanted
    });
    assert!(said.contains(&format!("record {at} is the first that differs")), "{said}");
    let (_, said) = spoilt(&journal, &dir.path().join("timer"), |entry, payload| {
        let timer =
            read::<Timer>(payload).filter(|timer| entry.kind == Some(Kind::Timer) && timer.due > Mono::from_nanos(0));
        payload[0] ^= u8::from(timer.is_some());
        timer.is_some()
    });
    assert!(said.contains("  due  "), "{said}");
    // a fill of another size: whatever follows from it is found
    let qty = core::mem::offset_of!(keel_core::event::Fill, qty);
    let (at, said) = spoilt(&journal, &dir.path().join("fill"), |entry, payload| {
        let fill = entry.kind == Some(Kind::Fill);
        if fill {
            payload[qty + 2] ^= 1;
        }
        fill
    });
    let first = said.split("DIFFERENT at record ").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    assert!(first > Some(at), "{said}");
}

#[test]
fn a_tightened_limit_changes_exactly_the_decisions_that_cross_it() {
    let dir = tempfile::tempdir().unwrap();
    let journal = demo(dir.path(), 120);
    let limits = dir.path().join("limits");
    let most = 200_000_000_000i64;
    let mut expected = BTreeSet::new();
    let mut reader = Reader::open(&journal).unwrap();
    let mut decisions = 0;
    while let Some(entry) = reader.poll().unwrap() {
        decisions += u64::from(matches!(entry.kind, Some(Kind::Approved | Kind::Refused | Kind::NotSized)));
        let Some(decision) = (entry.kind == Some(Kind::Approved)).then(|| read::<Decision>(entry.payload).unwrap())
        else {
            continue;
        };
        // an amend moves no corner outwards unless it asks for more: over the limit it may stay where it is
        let grows = decision.class == Class::Risk && decision.order.op == Op::New;
        if grows && decision.measure(Refusal::Position).unwrap().value > most {
            expected.insert(entry.seq.0);
        }
    }
    assert!(!expected.is_empty() && (expected.len() as u64) < decisions, "{} of {decisions}", expected.len());
    std::fs::write(&limits, format!("# half of it\ninstrument.*.max_position = {most}\n")).unwrap();
    let run = replayed(&journal, &["--limits", str(&limits)]);
    let whatif = &run["runs"][0]["what_if"];
    let changed: BTreeSet<u64> =
        whatif["changed"].as_array().unwrap().iter().map(|changed| changed["seq"].as_u64().unwrap()).collect();
    assert_eq!(changed, expected);
    assert_eq!(whatif["same"].as_u64().unwrap() + changed.len() as u64, decisions);
    for changed in whatif["changed"].as_array().unwrap() {
        let failing = changed["otherwise"]["failing"].as_array().unwrap();
        assert_eq!((failing.len(), &failing[0]["check"]), (1, &Value::from("Position")), "{changed}");
        assert!(failing[0]["value"].as_i64() > Some(most), "{changed}");
    }
    // what is not changed changes nothing, nor does a limit nobody comes near
    for text in ["", "max_gross = 20000000000001\n"] {
        std::fs::write(&limits, text).unwrap();
        let run = replayed(&journal, &["--limits", str(&limits)]);
        assert_eq!(run["runs"][0]["what_if"]["changed"].as_array().map(Vec::len), Some(0));
        assert_eq!(run["runs"][0]["what_if"]["same"], decisions);
        let profit = &run["runs"][0]["what_if"]["profit_usdt"];
        assert_eq!(profit["recorded"], profit["without"]);
    }
    std::fs::write(&limits, "max_fun = 1\n").unwrap();
    let output = keel(&["replay", str(&journal), "--limits", str(&limits)]);
    assert!(!output.status.success() && text(&output.stderr).contains("max_fun"), "{}", text(&output.stderr));
}

#[test]
fn another_strategy_is_asked_at_every_recorded_moment() {
    let dir = tempfile::tempdir().unwrap();
    let journal = demo(dir.path(), 120);
    let strategy = dir.path().join("strategy");
    let mut sized = 0;
    let mut reader = Reader::open(&journal).unwrap();
    while let Some(entry) = reader.poll().unwrap() {
        let order = match entry.kind {
            Some(Kind::Approved | Kind::Refused) => read::<Decision>(entry.payload).unwrap().order,
            Some(Kind::NotSized) => read::<NotSized>(entry.payload).unwrap().order,
            _ => continue,
        };
        sized += u64::from(order.op == Op::New);
        assert_ne!(entry.cause, Seq::NONE);
    }
    for (patch, all) in [("sizing.clip = 50000000000\n", true), ("sizing.clip = 100000000000\n", false)] {
        std::fs::write(&strategy, patch).unwrap();
        let run = replayed(&journal, &["--strategy", str(&strategy)]);
        let changed = run["runs"][0]["what_if"]["changed"].as_array().unwrap();
        let new = changed.iter().filter(|changed| changed["op"] == "New").count() as u64;
        assert!(if all { new > sized / 2 } else { changed.is_empty() }, "{new} of {sized}");
    }
}

/// The steps without how long each took: each process calibrates its own stopwatch.
fn timeless(story: &Value) -> Vec<Value> {
    let mut steps = story["steps"].as_array().unwrap().clone();
    steps.iter_mut().for_each(|step| step["took_ns"] = Value::Null);
    steps
}

/// Records about one order, in order, by a fold that knows nothing of `keel explain`.
fn told(journal: &Path, id: &str) -> Vec<(u64, String)> {
    let lines = text(&keel(&["tail", str(journal), "--order", id, "-o", "jsonl"]).stdout);
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    // the id of a refused new order is given to the next one
    let own = lines.filter(|line| !(line["kind"] == "Refused" && line["fact"]["op"] == "New"));
    own.map(|line| (line["seq"].as_u64().unwrap(), line["kind"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn an_order_is_explained_from_its_tick_to_its_profit_by_any_of_its_names() {
    let dir = tempfile::tempdir().unwrap();
    let journal = demo(dir.path(), 60);
    let mut reader = Reader::open(&journal).unwrap();
    let mut fills = Vec::new();
    while let Some(entry) = reader.poll().unwrap() {
        if entry.kind == Some(Kind::Fill) {
            fills.push((entry.seq.0, read::<keel_core::event::Fill>(entry.payload).unwrap()));
        }
    }
    let (seq, fill) = fills[fills.len() / 2];
    let (client, venue, exec) = (fill.client.to_string(), fill.venue.to_string(), fill.exec.to_string());
    let explain = |what: &str| json(&keel(&["explain", str(&journal), what, "--json"]));
    let story = explain(&client);
    for name in [&venue, &exec, &seq.to_string()] {
        assert_eq!(timeless(&explain(name)), timeless(&story), "{name}");
    }
    let steps = story["steps"].as_array().unwrap();
    let about: Vec<(u64, String)> = steps
        .iter()
        .filter(|step| step["fact"]["client"] == client.as_str())
        .map(|step| (step["seq"].as_u64().unwrap(), step["kind"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(about, told(&journal, &client));
    // the first decision, its cause before it, and the book the strategy saw
    let at = steps.iter().position(|step| step["kind"] == "Approved").unwrap();
    assert_eq!((&steps[at - 1]["seq"], &steps[at]["failing"]), (&steps[at]["cause"], &Value::Array(vec![])));
    let (book, fact) = (&steps[at - 1]["book"], &steps[at]["fact"]);
    let number = |value: &Value| value.as_str().unwrap().parse::<f64>().unwrap();
    let (bid, ask) = (number(&book["bids"][0][0]), number(&book["asks"][0][0]));
    assert!(bid < ask && number(&book["micro_price"]) >= bid && number(&book["micro_price"]) <= ask, "{book}");
    assert!(number(&fact["px"]) <= ask && number(&fact["px"]) >= bid, "a quote rests at the touch: {fact}");
    assert!(number(&fact["Position"]["value"]) <= number(&fact["Position"]["limit"]));
    assert_eq!(story["lineage"]["strategy"]["strategy"], "quoter");
    // what it earned is what its fills did to the position, fees as the venue charged them
    let fees: i64 = {
        let mut seen = BTreeSet::new();
        let mine = fills.iter().filter(|(_, f)| f.client == fill.client && seen.insert(f.exec.to_string()));
        mine.map(|(_, f)| f.fee.raw()).sum()
    };
    let charged = keel_core::units::Notional::parse(story["profit"]["fees_usdt"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(charged.raw(), fees);
    for step in
        steps.iter().filter(|step| step["kind"] == "Fill" && step["position"]["before"] != step["position"]["after"])
    {
        let moved = number(&step["position"]["after"]["size"]) - number(&step["position"]["before"]["size"]);
        assert!((moved.abs() - number(&step["fact"]["qty"])).abs() < 1e-9, "{step}");
    }
    let took = steps.iter().find_map(|step| step["took_ns"]["tick_to_wire"].as_u64());
    assert!(took > Some(0), "tick to wire is measured");
    let page = text(&keel(&["explain", str(&journal), &client]).stdout);
    for word in
        ["strategy: ", "Approved: New", "held   Position", "micro-price", "on the wire", "recorded before it left"]
    {
        assert!(page.contains(word), "{word} is missing from\n{page}");
    }
    let output = keel(&["explain", str(&journal), "k000000ff-00000001"]);
    assert!(!output.status.success() && text(&output.stderr).contains("no record of this journal names"));
}

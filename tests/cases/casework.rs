//! A case from the alert to the report, as people with keys call the binary; and what each of them is not allowed.

use crate::keel::{json, keel, text};
use keel_core::event::{Alert, EVIDENCE, Flag, Gravity, Rule};
use keel_core::ids::{Seq, Text};
use keel_core::units::{Notional, Now, Wall};
use keel_journal::history::node;
use keel_tools::compliance::stream::{self, Stream};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// 2026-11-20T12:00:00Z
const NOON: u64 = 1_795_176_000_000_000_000;
const UID: &str = "uid-4711-secret";
const ADDRESS: &str = "bc1qsecretsecretsecretsecretsecretsecret";

struct Office {
    home: tempfile::TempDir,
}

impl Office {
    /// A demo's journal, four people with keys, and roles for three of them.
    fn open() -> Self {
        let office = Self { home: tempfile::tempdir().unwrap() };
        let data = office.data();
        json(&keel(&["demo", "--json", "--speed", "max", "--seconds", "30", "--data-dir", data.to_str().unwrap()]));
        let mut people = Vec::new();
        for (name, role) in [("ann", "analyst"), ("ben", "reviewer"), ("cat", "mlro"), ("eve", "")] {
            let made = keel(&["keys", "new", "--name", name, "--out", office.key(name).to_str().unwrap()]);
            let public = text(&made.stdout).split('"').nth(1).unwrap().to_owned();
            if !role.is_empty() {
                people.extend(["--person".to_owned(), format!("{name}={role}={public}")]);
            }
        }
        let roles = office.path("roles");
        let mut args = vec!["roles", "--propose", roles.to_str().unwrap()];
        args.extend(people.iter().map(String::as_str));
        office.done(&office.ask("", &args));
        office.done(&office.ask("", &["roles", "--adopt", roles.to_str().unwrap()]));
        office
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }

    fn key(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.key"))
    }

    /// `keel cases`, in somebody's name.
    fn ask(&self, who: &str, args: &[&str]) -> Output {
        let (data, key) = (self.data(), self.key(who));
        let mut all = vec!["cases", "--data-dir", data.to_str().unwrap()];
        if !who.is_empty() {
            all.extend(["--key", key.to_str().unwrap()]);
        }
        let output = keel(&[&all[..], args].concat());
        let said = text(&output.stderr);
        assert!(!said.contains(UID) && !said.contains(ADDRESS) && !said.contains("panicked"), "{said}");
        output
    }

    fn done(&self, output: &Output) {
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    }

    fn does(&self, who: &str, args: &[&str]) {
        self.done(&self.ask(who, args));
    }

    fn refused(&self, who: &str, args: &[&str], words: &str) {
        let output = self.ask(who, args);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?} was done by {who}");
        assert!(said.contains(words), "{args:?} by {who}: {said}");
    }

    fn alert(&self, alert: &Alert) -> u64 {
        let mut stream = Stream::open(&self.data()).unwrap();
        let now = Now { wall: Wall::from_nanos(NOON), ..Now::default() };
        let seq = stream.append(now, alert).unwrap();
        stream.finish().unwrap();
        seq.0
    }

    fn fills(&self) -> Vec<Value> {
        let told = keel(&["tail", self.data().to_str().unwrap(), "-n", "1000000", "--kind", "fill", "-o", "jsonl"]);
        text(&told.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn show(&self, id: &str) -> Value {
        json(&self.ask("ben", &["show", id, "--json"]))
    }

    fn verify(&self) -> Output {
        assert!(keel(&["verify", stream::path(&self.data()).to_str().unwrap()]).status.success(), "the alerts");
        keel(&["verify", self.cases().to_str().unwrap()])
    }

    fn cases(&self) -> PathBuf {
        stream::path(&self.data()).join("cases")
    }
}

fn spoofing(evidence: &[u64]) -> Alert {
    let mut places = [Seq::NONE; EVIDENCE];
    places.iter_mut().zip(evidence).for_each(|(place, seq)| *place = Seq(*seq));
    Alert {
        at: Wall::from_nanos(NOON),
        window: 600_000_000_000,
        measured: 7,
        limit: 3,
        amount: Notional::whole(12_000),
        count: evidence.len() as u64,
        evidence: places,
        subject: Text::new(UID.as_bytes()).unwrap(),
        key: Text::new(ADDRESS.as_bytes()).unwrap(),
        rule: Rule::Spoofing,
        version: 2,
        gravity: Gravity::Case,
        ..Alert::default()
    }
}

fn bytes(digits: &Value) -> [u8; 32] {
    let digits = digits.as_str().unwrap();
    let all: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()).collect();
    all.try_into().unwrap()
}

/// The root a leaf leads to, by RFC 9162, 2.1.3.2: other code than that which made the proof.
fn root(leaf: [u8; 32], index: u64, size: u64, path: &[[u8; 32]]) -> Option<[u8; 32]> {
    let (mut at, mut last, mut root) = (index, size - 1, leaf);
    for beside in path {
        if last == 0 {
            return None;
        }
        if at % 2 == 1 || at == last {
            root = node(beside, &root);
            while at % 2 == 0 && at > 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            root = node(&root, beside);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    (last == 0).then_some(root)
}

#[test]
fn from_an_alert_to_a_filed_report_with_everything_behind_it() {
    let office = Office::open();
    let fills = office.fills();
    let seqs: Vec<u64> = fills.iter().take(3).map(|fill| fill["seq"].as_u64().unwrap()).collect();
    let alert = office.alert(&spoofing(&seqs));
    office.alert(&Alert { synthetic: Flag::Yes, gravity: Gravity::Block, ..spoofing(&seqs) });
    office.alert(&Alert { gravity: Gravity::Review, ..spoofing(&seqs) });
    assert_eq!(text(&office.ask("", &["triage"]).stdout), "1 cases opened, 0 alerts put to open ones\n");
    assert_eq!(text(&office.ask("", &["triage"]).stdout), "0 cases opened, 0 alerts put to open ones\n");
    office.refused("", &["list"], "those who hold a role");
    office.refused("eve", &["show", "1"], "holds no role");
    office.refused("eve", &["export", "1", "--out", "x"], "holds no role");
    office.refused("eve", &["note", "1", "--text", "hello"], "nobody of this name");

    office.does("ann", &["assign", "1", "ann", "--reason", "mine"]);
    office.refused(
        "ann",
        &["decide", "1", "file", "--reason", "r", "--text", "s"],
        "does not stand where this is done",
    );
    office.does("ann", &["decide", "1", "escalate", "--reason", "the same size again and again"]);
    let letter = office.path("letter.txt");
    std::fs::write(&letter, "a letter of the venue\n").unwrap();
    let extra = fills.last().unwrap()["seq"].to_string();
    office.does("ann", &["evidence", "1", "--record", &extra, "--file", letter.to_str().unwrap()]);
    office.refused("ann", &["evidence", "1", "--record", "99999999"], "no record 99999999");
    let about = format!("address={ADDRESS}");
    let about = ["--about", "name=Ann Subject", "--about", "kyc=file 12", "--about", &about, "--about", "ip=192.0.2.7"];
    office.does("ann", &[&["note", "1", "--text", "spoke to the venue"], &about[..]].concat());
    office.refused("ann", &["decide", "1", "file", "--reason", "r"], "needs a narrative");
    let story = office.path("story");
    std::fs::write(&story, "Who: the subject.\nWhat: large orders, never meant.\n\nWhy: to sell higher.\n").unwrap();
    let draft =
        ["decide", "1", "file", "--reason", "suspicion", "--narrative", story.to_str().unwrap(), "--score", "85"];
    office.does("ann", &draft);
    office.refused("ann", &["approve", "1", "--reason", "good"], "role may not");
    office.refused("ben", &["approve", "1"], "reason is missing");
    office.does("ben", &["approve", "1", "--reason", "read it all"]);
    let filed = ["file", "1", "--authority", "FIU", "--reference", "R-2026-1", "--reason", "sent by their portal"];
    office.refused("ben", &filed, "role may not");
    office.does("cat", &filed);
    office.does("ben", &["hold", "1", "--reason", "an inquiry"]);
    office.refused("ben", &["hold", "1", "--lift", "--reason", "over"], "role may not");

    let case = office.show("1");
    assert_eq!((&case["state"], &case["analyst"], &case["reviewer"]), (&"filed".into(), &"ann".into(), &"ben".into()));
    assert_eq!((&case["filing"]["reference"], &case["legal_hold"]), (&"R-2026-1".into(), &true.into()));
    assert_eq!(case["alerts"][0]["alert_id"], alert);
    assert_eq!(case["narrative"], "Who: the subject.\nWhat: large orders, never meant.\n\nWhy: to sell higher.");
    assert!(case["retention_until"].as_str() > Some("2033-11-01") && case["follow_up_at"].is_string(), "{case}");
    assert!(
        case["decisions"].as_array().unwrap().iter().all(|decision| decision["reason"].as_str().unwrap().len() > 1)
    );
    assert_eq!(office.show("1"), case);

    let out = |name: &str| {
        let out = office.path(name);
        office.does("cat", &["export", "1", "--out", out.to_str().unwrap()]);
        out
    };
    let (first, second) = (out("report"), out("again"));
    report_holds(&first, &seqs, &extra);
    for name in ["case.json", "case.md", "SHA256SUMS"] {
        assert_eq!(std::fs::read(first.join(name)).unwrap(), std::fs::read(second.join(name)).unwrap(), "{name}");
    }
    assert!(office.verify().status.success());
    office.refused("cat", &["export", "1", "--out", first.to_str().unwrap()], "is there already");
}

fn report_holds(out: &Path, seqs: &[u64], extra: &str) {
    let sums = Command::new("sha256sum").args(["--quiet", "-c", "SHA256SUMS"]).current_dir(out).output().unwrap();
    assert!(sums.status.success(), "{}", text(&sums.stdout));
    for entry in [out.to_path_buf(), out.join("case.json"), out.join("case.md"), out.join("evidence")] {
        let mode = std::fs::metadata(&entry).unwrap().permissions().mode() & 0o077;
        assert_eq!(mode, 0, "{} may be read by others", entry.display());
    }
    let whole: Value = serde_json::from_slice(&std::fs::read(out.join("case.json")).unwrap()).unwrap();
    let rows = whole["records"].as_array().unwrap();
    let kinds = |kind: &str| rows.iter().filter(|row| row["kind"] == kind).count();
    for kind in ["Approved", "Sent", "Ack", "OrderUpdate", "Fill"] {
        assert!(kinds(kind) > 0, "no {kind}: the history of the orders is not there");
    }
    let shown: Vec<u64> = rows.iter().map(|row| row["seq"].as_u64().unwrap()).collect();
    assert!(seqs.iter().chain([&extra.parse().unwrap()]).all(|seq| shown.contains(seq)), "{shown:?}");
    assert!(!whole["market_context"].as_array().unwrap().is_empty());
    assert!(whole["market_context"][0]["book"]["bids"][0][0].is_string(), "{}", whole["market_context"][0]);
    assert_eq!(whole["missing_records"], Value::Array(vec![]));
    // every proof leads to the root, by other code
    let (size, top) =
        (whole["trading_journal"]["tree_size"].as_u64().unwrap(), bytes(&whole["trading_journal"]["root_sha256"]));
    for row in rows {
        let path: Vec<[u8; 32]> = row["proof"]["path_sha256"].as_array().unwrap().iter().map(bytes).collect();
        let (leaf, index) = (bytes(&row["leaf_sha256"]), row["proof"]["index"].as_u64().unwrap());
        assert_eq!(root(leaf, index, size, &path), Some(top), "record {}", row["seq"]);
        assert_ne!(root([1; 32], index, size, &path), Some(top));
    }
    let page = std::fs::read_to_string(out.join("case.md")).unwrap();
    for word in ["Ann Subject", "Who: the subject.", "FIU R-2026-1", "escalate", "proven", UID] {
        assert!(page.contains(word), "{word}: {page}");
    }
}

#[test]
fn a_step_signed_on_another_machine_is_brought_and_an_old_one_is_not() {
    let office = Office::open();
    office.alert(&spoofing(&[1]));
    office.does("", &["triage"]);
    let step = office.path("step");
    let (file, key) = (step.to_str().unwrap(), office.key("ann"));
    let write = ["assign", "1", "ann", "--reason", "mine", "--unsigned", file, "--by", "ann"];
    office.done(&office.ask("", &write));
    office.refused("", &["bring", file], "signed by its author");
    let signed = keel(&["keys", "sign", "--key", key.to_str().unwrap(), file]);
    assert!(text(&signed.stdout).contains("deed assign"), "{}", text(&signed.stdout));
    office.done(&office.ask("", &["bring", file]));
    office.refused("", &["bring", file], "look again");
    // the next one is overtaken by another step
    std::fs::remove_file(&step).unwrap();
    office.done(&office.ask("", &["decide", "1", "escalate", "--reason", "odd", "--unsigned", file, "--by", "ann"]));
    keel(&["keys", "sign", "--key", key.to_str().unwrap(), file]);
    office.does("ann", &["note", "1", "--text", "wait"]);
    office.refused("", &["bring", file], "lies before the step before it");
    let forged = std::fs::read_to_string(file).unwrap().replace("odd", "all fine");
    std::fs::write(file, forged).unwrap();
    office.refused("", &["bring", file], "signature does not fit");
    let page = text(&office.ask("ben", &["list"]).stdout);
    assert!(page.contains("triage") && page.contains("file by"), "{page}");
}

#[test]
fn what_was_changed_on_the_disk_is_named_and_nothing_goes_on() {
    let office = Office::open();
    office.alert(&spoofing(&[1]));
    office.does("", &["triage"]);
    office.does("ann", &["assign", "1", "ann", "--reason", "mine"]);
    let (above, dir) = (stream::path(&office.data()), office.cases());
    // a node that raises alerts holds their journal all day: cases go on beside it
    let holding = Stream::open(&office.data()).unwrap();
    office.does("ann", &["note", "1", "--text", "while the node runs"]);
    holding.finish().unwrap();
    let modes = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((modes(&above), modes(&dir)), (0o700, 0o700));
    for entry in std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        assert_eq!(modes(&entry), 0o600, "{}", entry.display());
    }
    for place in [&above, &dir] {
        std::fs::set_permissions(place, PermissionsExt::from_mode(0o750)).unwrap();
        office.refused("ben", &["list"], "may be read by others");
        std::fs::set_permissions(place, PermissionsExt::from_mode(0o700)).unwrap();
    }
    assert!(office.verify().status.success());
    let mut segments: Vec<PathBuf> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|end| end == "keel"));
    segments.sort();
    let mut changed = 0;
    for segment in &segments {
        let whole = std::fs::read(segment).unwrap();
        let Some(at) = whole.windows(4).position(|four| four == b"mine") else { continue };
        let mut other = whole.clone();
        other[at..at + 4].copy_from_slice(b"ours");
        std::fs::write(segment, &other).unwrap();
        assert_eq!(office.verify().status.code(), Some(1));
        office.refused("ben", &["list"], "checksum");
        office.refused("ann", &["note", "1", "--text", "x"], "checksum");
        std::fs::write(segment, &whole).unwrap();
        changed += 1;
    }
    assert!(changed > 0);
    office.does("ben", &["list"]);
    // ship and retention keep their hands off it
    let (place, data) = (above.to_str().unwrap(), office.path("data"));
    for journal in [place, dir.to_str().unwrap()] {
        let output = keel(&["ship", "--once", "--loki", "http://127.0.0.1:9", journal]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains("is the compliance journal: it is never shipped"), "{said}");
    }
    let moved = office.path("moved");
    std::fs::rename(&above, &moved).unwrap();
    let output = keel(&["ship", "--once", "--loki", "http://127.0.0.1:9", moved.to_str().unwrap()]);
    assert!(text(&output.stderr).contains("is the compliance journal"), "whatever it is called now");
    std::fs::rename(&moved, &above).unwrap();
    let key = office.path("none");
    let args = ["retain", place, "--keep-years", "1", "--anchors", key.to_str().unwrap(), "--key", "x"];
    assert!(text(&keel(&args).stderr).contains("nothing of it is deleted by age"));
    assert!(data.exists());
}

#[test]
fn roles_are_changed_by_two_people_one_of_them_the_mlro() {
    let office = Office::open();
    let next = office.path("next");
    let made = keel(&["keys", "new", "--name", "dan", "--out", office.key("dan").to_str().unwrap()]);
    let public = text(&made.stdout).split('"').nth(1).unwrap().to_owned();
    let before = text(&office.ask("", &["roles"]).stdout);
    let mut people: Vec<String> = before
        .lines()
        .skip(2)
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            format!("{}={}={}", words[1], words[0], words[2])
        })
        .collect();
    people.push(format!("dan=analyst={public}"));
    let mut args = vec!["roles", "--propose", next.to_str().unwrap(), "--file-days", "20"];
    people.iter().for_each(|person| args.extend(["--person", person]));
    office.done(&office.ask("", &args));
    let adopt = ["roles", "--adopt", next.to_str().unwrap()];
    office.refused("", &adopt, "role may not");
    let sign = |who: &str| keel(&["keys", "sign", "--key", office.key(who).to_str().unwrap(), next.to_str().unwrap()]);
    assert!(sign("cat").status.success());
    office.refused("", &adopt, "second person");
    assert!(sign("ann").status.success());
    office.done(&office.ask("", &adopt));
    let after = text(&office.ask("", &["roles"]).stdout);
    assert!(after.starts_with("version 2\nto file 20 days") && after.contains("analyst   dan"), "{after}");
    office.refused("", &adopt, "look again");
}

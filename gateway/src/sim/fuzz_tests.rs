//! A fuzzer of everything that parses: WebSocket frames, REST queries and bodies, taped frames, administrator's lines.
//!
//! In: the corpus beside this file and a seed. Out: nothing, or the input that broke something. Inputs keep their
//! structure: JSON is changed as JSON, queries as pairs, lines as words, and sometimes bytes as bytes. An input that draws
//! an answer nobody drew before joins the pool that is mutated further. After each input: one answer in the venue's own
//! envelope and code, whole books, conserved money.
//!
//! ```text
//! cargo test -p keel-gateway fuzz                        a fixed number of cases
//! KEEL_FUZZ_CASES=1000000 KEEL_FUZZ_SEED=7 cargo test -p keel-gateway fuzz -- --nocapture
//! KEEL_FUZZ_KEEP=1 ...                                   writes what drew a new answer into the corpus
//! ```

use super::rng::{Rng, mix};
use super::testing::*;
use super::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Cases of one run, unless `KEEL_FUZZ_CASES` says otherwise.
const CASES: u64 = 40_000;
/// Cases one exchange lives through.
const LIFE: u64 = 250;

/// An input with its structure.
#[derive(Clone, Debug, PartialEq)]
enum Seed {
    Frame(u64, Vec<u8>),
    Http { method: String, path: String, query: String, body: Vec<u8> },
    Tape(Vec<u8>),
}

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/sim/corpus")
}

#[allow(clippy::disallowed_methods, reason = "how long to fuzz stands in the environment")]
fn asked(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// One file: what it is, then its payload.
fn read(text: &str) -> Option<Seed> {
    let (head, rest) = text.split_once('\n')?;
    let words: Vec<&str> = head.split(' ').collect();
    let payload = || rest.trim_end_matches('\n').as_bytes().to_vec();
    Some(match words.as_slice() {
        ["frame", "public"] => Seed::Frame(PUBLIC, payload()),
        ["frame", "private"] => Seed::Frame(11, payload()),
        ["frame", "trade"] => Seed::Frame(12, payload()),
        ["tape"] => Seed::Tape(payload()),
        ["http", method, path] => {
            let (query, body) = rest.split_once('\n').unwrap_or((rest, ""));
            let body = body.trim_end_matches('\n').as_bytes().to_vec();
            Seed::Http { method: (*method).to_owned(), path: (*path).to_owned(), query: query.to_owned(), body }
        }
        _ => return None,
    })
}

fn write(seed: &Seed) -> Vec<u8> {
    let (head, tail): (String, &[u8]) = match seed {
        Seed::Frame(conn, bytes) => {
            let name = match *conn {
                PUBLIC => "public",
                11 => "private",
                _ => "trade",
            };
            (format!("frame {name}\n"), bytes)
        }
        Seed::Tape(bytes) => ("tape\n".to_owned(), bytes),
        Seed::Http { method, path, query, body } => (format!("http {method} {path}\n{query}\n"), body),
    };
    [head.as_bytes(), tail, b"\n"].concat()
}

fn load() -> Vec<Seed> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(corpus()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let text = |path: &PathBuf| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    files.iter().map(|path| read(&text(path)).unwrap_or_else(|| panic!("{} is no seed", path.display()))).collect()
}

// ---- mutation --------------------------------------------------------------------------------------------------------

/// Values that have broken parsers before.
const WORDS: [&str; 44] = [
    "",
    "0",
    "-0",
    "-1",
    "1",
    "0.00000001",
    "0.000000001",
    "99999999999999999999",
    "9223372036854775807",
    "-9223372036854775808",
    "92233720368.54775807",
    "92233720368.54775808",
    "1e308",
    "1e-9",
    "NaN",
    "inf",
    "+5",
    " 1 ",
    "1.",
    ".5",
    "1_000",
    "0x10",
    "null",
    "true",
    "Buy",
    "Sell",
    "Limit",
    "Market",
    "Partial",
    "Full",
    "PostOnly",
    "linear",
    "spot",
    "BTCUSDT",
    "ETHUSDT",
    "USDT",
    "%",
    "%zz",
    "\u{0}",
    "\u{feff}",
    "\"",
    "é𝄞",
    "a b&c=d",
    "at:18446744073709551615",
];

fn word(rng: &mut Rng) -> String {
    match rng.below(12) {
        0 => "9".repeat(usize::try_from(rng.below(400)).unwrap()),
        1 => format!("{}.{}", rng.below(200), rng.below(1_000)),
        2 => format!("-{}", rng.next()),
        _ => WORDS[usize::try_from(rng.below(WORDS.len() as u64)).unwrap()].to_owned(),
    }
}

fn value(rng: &mut Rng) -> Value {
    match rng.below(10) {
        0 => Value::Null,
        1 => json!(rng.below(5)),
        2 => json!(rng.next()),
        3 => json!(-1),
        4 => json!(1.5e300),
        5 => json!([word(rng)]),
        6 => json!({"a": word(rng)}),
        7 => json!(rng.chance(500)),
        _ => json!(word(rng)),
    }
}

/// Changes one node of a tree, found by a random walk.
fn change(rng: &mut Rng, node: &mut Value) {
    let inward = rng.chance(800);
    match node {
        Value::Object(map) if inward && !map.is_empty() => {
            let keys: Vec<String> = map.keys().cloned().collect();
            let key = &keys[usize::try_from(rng.below(keys.len() as u64)).unwrap()];
            match rng.below(12) {
                0 => drop(map.remove(key)),
                1 => {
                    let old = map.remove(key).unwrap_or_default();
                    map.insert(word(rng), old);
                }
                2 => {
                    let (other, new) =
                        (keys[usize::try_from(rng.below(keys.len() as u64)).unwrap()].clone(), map[key].clone());
                    map.insert(other, new);
                }
                _ => change(rng, map.get_mut(key).unwrap()),
            }
        }
        Value::Array(rows) if inward && !rows.is_empty() => {
            let at = usize::try_from(rng.below(rows.len() as u64)).unwrap();
            match rng.below(8) {
                0 => drop(rows.remove(at)),
                1 => rows.push(rows[at].clone()),
                2 => rows.extend(vec![rows[at].clone(); 40]),
                _ => change(rng, &mut rows[at]),
            }
        }
        other => *other = value(rng),
    }
}

fn bytes_changed(rng: &mut Rng, bytes: &mut Vec<u8>, pool: &[Seed]) {
    let at = usize::try_from(rng.below(bytes.len() as u64 + 1)).unwrap();
    match rng.below(6) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, u8::try_from(rng.below(256)).unwrap()),
        2 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
        3 if at < bytes.len() => drop(bytes.remove(at)),
        4 => {
            let deep = usize::try_from(rng.below(300)).unwrap();
            bytes.splice(at..at, std::iter::repeat_n(b'[', deep));
        }
        _ => {
            let other = payload(&pool[usize::try_from(rng.below(pool.len() as u64)).unwrap()]);
            let from = usize::try_from(rng.below(other.len() as u64 + 1)).unwrap();
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
}

fn payload(seed: &Seed) -> Vec<u8> {
    match seed {
        Seed::Frame(_, bytes) | Seed::Tape(bytes) | Seed::Http { body: bytes, .. } => bytes.clone(),
    }
}

fn text_changed(rng: &mut Rng, bytes: &mut Vec<u8>, pool: &[Seed]) {
    let text = String::from_utf8_lossy(bytes).replace("{NOW}", "1234567890123");
    match serde_json::from_str::<Value>(&text) {
        Ok(mut tree) if rng.chance(850) => {
            change(rng, &mut tree);
            *bytes = tree.to_string().replace("1234567890123", "{NOW}").into_bytes();
        }
        _ => bytes_changed(rng, bytes, pool),
    }
}

fn query_changed(rng: &mut Rng, query: &mut String) {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .map(|pair| {
            pair.split_once('=').map_or((pair.to_owned(), String::new()), |(k, v)| (k.to_owned(), v.to_owned()))
        })
        .collect();
    let at = usize::try_from(rng.below(pairs.len() as u64)).unwrap();
    match rng.below(6) {
        0 => drop(pairs.remove(at)),
        1 => pairs.push(pairs[at].clone()),
        2 => pairs[at].0 = word(rng),
        _ => pairs[at].1 = word(rng),
    }
    *query = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("&");
}

fn mutated(rng: &mut Rng, pool: &[Seed]) -> Seed {
    let mut seed = pool[usize::try_from(rng.below(pool.len() as u64)).unwrap()].clone();
    for _ in 0..1 + rng.below(3) {
        match &mut seed {
            Seed::Frame(conn, bytes) => {
                text_changed(rng, bytes, pool);
                if rng.chance(50) {
                    *conn = [PUBLIC, 11, 12, 21, 22][usize::try_from(rng.below(5)).unwrap()];
                }
            }
            Seed::Tape(bytes) => text_changed(rng, bytes, pool),
            Seed::Http { method, path, query, body } => match rng.below(20) {
                0 => *method = word(rng),
                1 => path.push_str(&word(rng)),
                2..12 if method == "GET" => query_changed(rng, query),
                _ if method == "GET" => query_changed(rng, query),
                _ => text_changed(rng, body, pool),
            },
        }
    }
    seed
}

// ---- one case --------------------------------------------------------------------------------------------------------

/// An exchange with a book, resting orders `rest-0..3` and a long of account 0 that account 1 sold.
fn venue(life: u64) -> Desk {
    let mut desk = taped(2);
    desk.book(&[("100.0", "5"), ("99.9", "9")], &[("100.1", "5"), ("100.2", "9")]);
    desk.print("Buy", "100.0", "0.1");
    desk.limit(1, "Sell", "100.0", "3", "");
    desk.market(0, "Buy", "2", "");
    for n in 0..3 {
        desk.limit(n % 2, "Buy", &format!("9{}.5", 5 + n), "1", &format!(r#","orderLinkId":"rest-{n}""#));
    }
    desk.now_ms += life % 1_000;
    desk
}

fn codes_known() -> BTreeSet<i64> {
    let said = [0, 10_002, 110_090, 3_400_045];
    codes::ALL.iter().map(|c| i64::from(c.code)).chain(said).collect()
}

/// Hands one input in and checks what came of it. Returns the shape of the answer.
fn try_one(desk: &mut Desk, seed: &Seed, known: &BTreeSet<i64>) -> String {
    desk.now_ms += 130;
    desk.heard.clear();
    desk.raw.clear();
    let now = desk.now_ms.to_string();
    let timed = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("{NOW}", &now).into_bytes();
    let shape = match seed {
        Seed::Frame(conn, bytes) => {
            desk.input(Input::Frame { conn: *conn, bytes: &timed(bytes) });
            let mine = desk.heard.iter().find(|(c, v)| c == conn && v.get("topic").is_none());
            let Some((_, answer)) = mine.cloned() else { panic!("no answer to {}", String::from_utf8_lossy(bytes)) };
            shape(&answer, known)
        }
        Seed::Tape(bytes) => {
            desk.input(Input::Tape { frame: &timed(bytes) });
            format!("tape {}", desk.ex.stats().taped_bad.min(1))
        }
        Seed::Http { method, path, query, body } => {
            let text = String::from_utf8_lossy(body).into_owned();
            let answer = if path.starts_with("/sim") {
                desk.http(method, path, query, &[], text.as_bytes()).1
            } else {
                desk.call(0, method, path, query, &text)
            };
            assert!(answer["result"].is_object() && answer["time"].is_u64(), "{path}: {answer}");
            desk.ex.command(Wall::from_millis(desk.now_ms), "clear").unwrap();
            let route = rest::routes().find(|(_, name)| path.strip_prefix("/v5/") == Some(name));
            format!("{} {}", route.map_or("nowhere", |(_, name)| name), shape(&answer, known))
        }
    };
    desk.audit();
    shape
}

/// Code and the letters of the message of an answer, whose code is one of the venue's.
fn shape(answer: &Value, known: &BTreeSet<i64>) -> String {
    let words = |text: &Value| {
        let letters = |c: char| c.is_ascii_alphabetic() || c == ' ';
        let said = text.as_str().unwrap_or("?").split([',', '[']).next().unwrap_or("");
        said.chars().filter(|c| letters(*c)).take(60).collect::<String>()
    };
    let op = match answer["op"].as_str() {
        Some(op @ ("auth" | "ping" | "pong" | "subscribe" | "unsubscribe")) => op,
        Some(op) if op.starts_with("order.") && op.len() < 20 => op,
        _ => "other",
    };
    if let Some(code) = answer["retCode"].as_i64() {
        assert!(known.contains(&code), "{code} is no code of the venue: {answer}");
        let items = answer["retExtInfo"]["list"].as_array().cloned().unwrap_or_default();
        assert!(items.iter().all(|i| known.contains(&i["code"].as_i64().unwrap_or(-1))), "{answer}");
        return format!("{op} {code} {}", words(&answer["retMsg"]));
    }
    assert!(answer["success"].is_boolean() || answer["op"] == "pong", "{answer}");
    format!("{op} {} {}", answer["success"], words(&answer["ret_msg"]))
}

#[test]
fn fuzzed_requests_get_the_venues_own_answers_and_leave_the_books_whole() {
    let (cases, seed) = (asked("KEEL_FUZZ_CASES", CASES), asked("KEEL_FUZZ_SEED", 1));
    let (mut pool, known) = (load(), codes_known());
    let (mut rng, mut seen) = (Rng::new(seed), BTreeSet::new());
    let mut desk = venue(0);
    for kept in pool.clone() {
        seen.insert(try_one(&mut desk, &kept, &known));
    }
    for case in 0..cases {
        if case % LIFE == 0 {
            desk = venue(case);
        }
        let next = mutated(&mut rng, &pool);
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| try_one(&mut desk, &next, &known)));
        let Ok(answer) = tried else {
            panic!("case {case} of seed {seed}:\n{}", String::from_utf8_lossy(&write(&next)));
        };
        if seen.insert(answer.clone()) {
            if asked("KEEL_FUZZ_KEEP", 0) > 0 {
                let name = corpus()
                    .join(format!("kept_{:016x}.txt", mix(answer.bytes().fold(7, |h, b| mix(h ^ u64::from(b))))));
                std::fs::write(name, write(&next)).unwrap();
            }
            pool.push(next);
        }
    }
    println!("{cases} cases of seed {seed}: {} kinds of answers, {} inputs in the pool", seen.len(), pool.len());
    assert!(seen.len() > 100 || cases < CASES, "it reaches too little: {}", seen.len());
}

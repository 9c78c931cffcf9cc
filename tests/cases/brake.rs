//! The brake and the limits from outside: a node at a venue of its own, and the people in front of its door.

use crate::keel::{finish, keel, shared, signal, start, text};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Output};
use std::time::{Duration, Instant};

/// How long a node may take to get somewhere.
const PATIENCE: Duration = Duration::from_secs(30);

/// An exchange, a configuration, two people with keys.
pub struct Site {
    dir: tempfile::TempDir,
    venue: Child,
    /// Held open: an exchange that cannot print ends.
    _lines: BufReader<ChildStdout>,
    pub config: String,
}

impl Site {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let tls = path("tls");
        let mut venue = start(&["exchange", "--listen", "127.0.0.1:0", "--tls", tls.to_str().unwrap()]);
        let mut line = String::new();
        let mut lines = BufReader::new(venue.stdout.take().unwrap());
        lines.read_line(&mut line).unwrap();
        let port = line.split("127.0.0.1:").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        for (name, secret) in [("key", "demo-key"), ("secret", "demo-secret")] {
            std::fs::write(path(name), secret).unwrap();
            std::fs::set_permissions(path(name), PermissionsExt::from_mode(0o600)).unwrap();
        }
        let returns: String =
            (0..600).map(|day| format!("{day:03},0.0{},-0.0{}\n", day % 47 + 1, day % 53 + 1)).collect();
        std::fs::write(path("returns.csv"), format!("date,BTCUSDT,ETHUSDT\n{returns}")).unwrap();
        let people = ["ann", "ben"].map(|name| {
            let made = keel(&["keys", "new", "--name", name, "--out", path(name).to_str().unwrap()]);
            assert_eq!(std::fs::metadata(path(name)).unwrap().permissions().mode() & 0o777, 0o600);
            text(&made.stdout)
        });
        let show = |name: &str| path(name).display().to_string();
        let toml = format!(
            "[venue]\nrest = \"https://localhost:{port}\"\npublic = \"wss://localhost:{port}/v5/public/linear\"\n\
             private = \"wss://localhost:{port}/v5/private\"\ntrade = \"wss://localhost:{port}/v5/trade\"\n\
             authority = \"{}\"\n[keys]\nkey = {{ file = \"{}\" }}\nsecret = {{ file = \"{}\" }}\n\
             [node]\ndata_dir = \"{}\"\nsymbols = [\"BTCUSDT\", \"ETHUSDT\"]\n[http]\nlisten = \"127.0.0.1:0\"\n\
             [account]\nunbound = true\nmin_days = -1000000\n[scenarios]\nfile = \"{}\"\n[people]\n{}{}",
            tls.join("ca.pem").display(),
            show("key"),
            show("secret"),
            show("data"),
            show("returns.csv"),
            people[0],
            people[1],
        );
        std::fs::write(path("keel.toml"), toml).unwrap();
        let config = show("keel.toml");
        Self { dir, venue, _lines: lines, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn node(&self) -> Child {
        let node = start(&["run", "--config", &self.config]);
        self.until("account compared: true");
        node
    }

    fn say(&self, args: &[&str]) -> Output {
        keel(&[args, &["--config", &self.config]].concat())
    }

    fn status(&self) -> String {
        text(&self.say(&["brake", "status"]).stdout)
    }

    fn until(&self, word: &str) -> String {
        let since = Instant::now();
        loop {
            let status = self.status();
            if status.contains(word) {
                return status;
            }
            assert!(since.elapsed() < PATIENCE, "no {word:?} in {status}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn file(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn sign(&self, who: &str, document: &str) {
        let signed = keel(&["keys", "sign", "--key", &self.file(who), document]);
        assert!(signed.status.success(), "{}", text(&signed.stderr));
    }

    /// Both sign a fresh request.
    fn release(&self, document: &str) {
        let asked = self.say(&["brake", "request", "--reason", "a test", "--out", document]);
        assert!(asked.status.success(), "{}", text(&asked.stderr));
        self.sign("ann", document);
        self.sign("ben", document);
        let armed = self.say(&["brake", "arm", document]);
        assert!(armed.status.success() && text(&armed.stdout).contains("active"), "{}", text(&armed.stderr));
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.venue.kill();
        let _ = self.venue.wait();
    }
}

fn refused(output: &Output, word: &str) {
    let why = text(&output.stderr);
    assert!(!output.status.success() && why.contains(word), "{why} does not say {word:?}");
}

#[test]
fn a_node_trades_from_the_moment_two_people_signed_until_one_says_stop() {
    let site = Site::new();
    let node = site.node();
    let request = site.file("arm.txt");
    let asked = site.say(&["brake", "request", "--reason", "positions compared", "--out", &request]);
    assert!(text(&asked.stdout).contains("halted"), "{}", text(&asked.stderr));
    refused(&site.say(&["brake", "arm", &request]), "fewer people");
    site.sign("ann", &request);
    refused(&site.say(&["brake", "arm", &request]), "fewer people");
    refused(&keel(&["keys", "sign", "--key", &site.file("ann"), &request]), "has signed it already");
    site.sign("ben", &request);
    let honest = std::fs::read_to_string(&request).unwrap();
    std::fs::write(&request, honest.replace("positions compared", "positions ignored!")).unwrap();
    refused(&site.say(&["brake", "arm", &request]), "does not fit");
    std::fs::write(&request, honest).unwrap();
    assert!(text(&site.say(&["brake", "arm", &request]).stdout).contains("active"));
    refused(&site.say(&["brake", "arm", &request]), "another state of the brake");

    let limits = site.file("limits.txt");
    let loosen = ["limits", "propose", "--set", "max_gross=30000000000000", "--out", &limits];
    assert!(text(&site.say(&loosen).stdout).contains("two people"));
    site.sign("ann", &limits);
    refused(&site.say(&["limits", "apply", &limits]), "fewer people");
    let tighten = ["limits", "propose", "--set", "max_gross=15000000000000", "--out", &limits];
    assert!(text(&site.say(&tighten).stdout).contains("one person"));
    site.sign("ben", &limits);
    assert!(text(&site.say(&["limits", "apply", &limits]).stdout).contains("version 2"));

    std::thread::sleep(Duration::from_secs(3));
    assert!(text(&site.say(&["brake", "trip", "flatten", "--by", "carl"]).stdout).contains("tripped"));
    site.until("0 open");
    signal(&node, "TERM");
    let output = finish(node);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && out.contains("verified whole"), "{out}{err}");
    let placed = out.split("orders    ").nth(1).unwrap().split(' ').next().unwrap().parse::<u32>().unwrap();
    assert!(
        placed > 0 && err.contains("the brake was released") && err.contains("A person asked for everything"),
        "{out}{err}"
    );
    assert!(!out.contains("demo-secret") && !err.contains("demo-secret"), "a secret was printed");

    let history = text(&site.say(&["limits", "history"]).stdout);
    assert!(
        history.contains("version 2 replaces 1, signed by ben") && history.contains("tightens max_gross"),
        "{history}"
    );
    assert!(text(&site.say(&["limits", "show"]).stdout).contains("= 150000 USDT"));
    let node = site.node();
    let status = site.status();
    assert!(status.contains("halted") && status.contains("limits     version 2"), "{status}");
    refused(&site.say(&["brake", "arm", &request]), "another state of the brake");
    signal(&node, "TERM");
    assert!(finish(node).status.success());
}

#[test]
fn a_node_that_hangs_is_tripped_past_it_and_stands_halted_when_it_wakes_up() {
    let site = Site::new();
    let node = site.node();
    site.release(&site.file("arm.txt"));
    std::thread::sleep(Duration::from_secs(1));
    signal(&node, "STOP");
    let tripped = site.say(&["brake", "trip", "--by", "carl"]);
    let said = text(&tripped.stdout);
    assert!(tripped.status.success(), "{said}{}", text(&tripped.stderr));
    for word in ["hangs", "brake.trip", "the venue says that nothing is open"] {
        assert!(said.contains(word), "{said} does not say {word:?}");
    }
    signal(&node, "CONT");
    site.until("halted");
    assert!(site.path("data/brake.trip.taken").exists() && !site.path("data/brake.trip").exists());
    signal(&node, "TERM");
    assert!(finish(node).status.success());
    refused(&site.say(&["brake", "status"]), "no node answers");
}

#[test]
fn the_report_of_the_drills_is_what_the_drills_say() {
    if shared("risk/intraday/btcusdt_binance_1h_2020-03-11_14.csv").is_none() {
        return;
    }
    let report = concat!(env!("CARGO_MANIFEST_DIR"), "/drills/report.md");
    let checked = keel(&["drill", "--check", report]);
    assert!(checked.status.success(), "{}{}", text(&checked.stdout), text(&checked.stderr));
}

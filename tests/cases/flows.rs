//! Money through the door and the account itself, while a node trades: journaled once each, whatever dies in between; a
//! breach of the registry lets risk shrink and no more; and a replay of it all is the journal, byte for byte.

use crate::keel::{command, keel, signal, text};
use crate::kill::venue::{Venue, release};
use keel_core::event::{Difference, DifferenceKind, Flow, FlowKind, FlowState, Kind, Standing, Worth, read};
use keel_core::units::{Notional, Qty};
use keel_journal::Reader;
use keel_risk::brake::Reason;
use keel_risk::notice::Trip;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// What must not stand in any log.
const PRIVATE: [&str; 6] = ["Ann Owner", "C-0001", "A Bank", "0xfeed", "T9elsewhere", "0xd1d1"];

/// SHA-256 of it.
const PASSPORT: &str = "f6e918ae255da4ebf05a9a1b782eb35d8a96afb96477fe9d77a17fdbf6a9ab5c";

fn section(dir: &Path) -> String {
    let passport = dir.join("passport");
    std::fs::write(&passport, "a passport").unwrap();
    format!(
        "[quoter]\npatience_ms = 5\npenance_ms = 5\ntolerance_ticks = 0\n[journal]\nsegment_mib = 4\n\
         [limits]\nmessages_per_second = 50\nvolume_bps = 0\n[flows]\npoll_seconds = 1\nlookback_days = 1\n\
         [kyc]\nlegal_name = \"Ann Owner\"\nreference = \"C-0001\"\nresidence = \"MYS\"\ncounterparties = [\"A Bank\"]\n\
         evidence = [{{ what = \"passport\", file = \"{}\", sha256 = \"{}\" }}]\nreview_by = \"2199-01-31\"\n\
         level = \"LEVEL_1\"\nregion = \"MYS\"\npermissions = [\"trade\"]\nbound = false\n",
        passport.display(),
        PASSPORT,
    )
}

/// What the journal holds of it.
#[derive(Default)]
struct Told {
    flows: Vec<Flow>,
    standings: Vec<Standing>,
    kyc_trips: usize,
    differences: usize,
    moved: Notional,
}

fn told(dir: &Path) -> Told {
    let mut told = Told::default();
    let Ok(mut reader) = Reader::open(dir) else { return told };
    while let Ok(Some(entry)) = reader.poll() {
        match entry.kind {
            Some(Kind::Flow) => told.flows.push(read(entry.payload).unwrap()),
            Some(Kind::Standing) => told.standings.push(read(entry.payload).unwrap()),
            Some(Kind::Trip) => {
                told.kyc_trips += usize::from(read::<Trip>(entry.payload).unwrap().reason == Reason::Kyc);
            }
            Some(Kind::Difference) => {
                let kind = read::<Difference>(entry.payload).unwrap().kind;
                told.differences += usize::from(kind == DifferenceKind::Balance);
            }
            Some(Kind::Worth) => told.moved = read::<Worth>(entry.payload).unwrap().moved,
            _ => {}
        }
    }
    told
}

impl Told {
    fn has(&self, kind: FlowKind, state: FlowState, amount: &str) -> bool {
        let amount = Qty::parse(amount.as_bytes()).unwrap();
        self.flows.iter().any(|flow| (flow.kind, flow.state, flow.amount) == (kind, state, amount))
    }
}

struct World {
    dir: tempfile::TempDir,
    venue: Venue,
    config: PathBuf,
    node: Option<Child>,
    logs: usize,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let venue = Venue::start(dir.path(), &["BTCUSDT", "ETHUSDT"], 3);
        let config = venue.config(dir.path(), &section(dir.path()));
        Self { dir, venue, config, node: None, logs: 0 }
    }

    fn journal(&self) -> PathBuf {
        self.dir.path().join("journal")
    }

    fn start(&mut self) {
        self.logs += 1;
        let log = std::fs::File::create(self.dir.path().join(format!("node{}.log", self.logs))).unwrap();
        let args = ["run", "--config", self.config.to_str().unwrap()];
        self.node = Some(command(&args).stdout(Stdio::null()).stderr(log).spawn().unwrap());
        release(&self.journal());
        self.wait("orders rest", |world| !world.venue.open_orders().is_empty());
    }

    fn log(&self) -> String {
        let one = |n| std::fs::read_to_string(self.dir.path().join(format!("node{n}.log"))).unwrap_or_default();
        (1..=self.logs).map(one).collect()
    }

    fn wait(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let since = Instant::now();
        while !holds(self) {
            assert!(since.elapsed() < PATIENCE, "{what} within {PATIENCE:?}: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        println!("{what}: {:?}", since.elapsed());
    }

    fn flow(&self, kind: FlowKind, state: FlowState, amount: &str) {
        let what = format!("{kind:?} {state:?} {amount} is journaled");
        self.wait(&what, |world| told(&world.journal()).has(kind, state, amount));
    }

    fn standing(&self, what: &str, holds: impl Fn(&Standing) -> bool) {
        self.wait(what, |world| told(&world.journal()).standings.last().is_some_and(&holds));
    }

    fn check(&self, verb: &str) -> (bool, String) {
        let output = keel(&["kyc", verb, "--config", self.config.to_str().unwrap()]);
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    }
}

/// Also where a case fails: no process outlives it.
impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut node) = self.node.take() {
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

#[test]
fn money_and_the_account_are_journaled_once_and_a_breach_lets_risk_only_shrink() {
    use FlowKind::{ConvertIn, ConvertOut, Deposit, InternalDeposit, TransferIn, TransferOut, Withdrawal};
    use FlowState::{Done, Pending};
    let mut world = World::new();
    world.venue.command("deposit key=demo-key amount=11 from=0xfeed");
    world.start();
    world.flow(Deposit, Done, "11");
    world.venue.command("deposit key=demo-key amount=1234.5 chain=ETH from=0xfeed tx=0xd1d1");
    world.flow(Deposit, Done, "1234.5");
    world.flow(TransferIn, Done, "1234.5");
    world.venue.command("withdraw key=demo-key amount=100 fee=1 address=T9elsewhere state=pending");
    world.flow(Withdrawal, Pending, "-100");
    world.flow(TransferOut, Done, "-100");
    let moved = |amount: &str| Notional::parse(amount.as_bytes()).unwrap();
    world.wait("the books know what moved", |world| told(&world.journal()).moved == moved("1133.5"));

    let node = world.node.as_mut().unwrap();
    node.kill().unwrap();
    node.wait().unwrap();
    world.venue.command("settle key=demo-key to=done");
    world.venue.command("transfer key=demo-key amount=50 to=FUND");
    world.venue.command("deposit key=demo-key amount=3 member=700");
    world.start();
    world.flow(Withdrawal, Done, "-100");
    world.flow(TransferOut, Done, "-50");
    world.flow(InternalDeposit, Done, "3");
    world.venue.command("convert key=demo-key from=USDT amount=10 to=BTC got=0.0001");
    world.flow(ConvertOut, Done, "-10");
    world.flow(ConvertIn, Done, "0.0001");
    world.wait("the books know what moved", |world| told(&world.journal()).moved == moved("1076.5"));

    assert!(world.check("check").0, "{}", world.check("check").1);
    world.venue.command("kyc key=demo-key level=LEVEL_DEFAULT");
    world.standing("the venue knows the owner less well", |s| s.kyc_level.as_str() == "LEVEL_DEFAULT");
    world.wait("the brake moved", |world| told(&world.journal()).kyc_trips > 0);
    world.wait("what adds risk is cancelled", |world| {
        world.venue.open_orders().iter().all(|order| order.reduce_only.is_set())
    });
    world.venue.command("rights key=demo-key withdraw=true");
    world.standing("the key may withdraw", |s| s.may(Standing::WITHDRAW));
    let (sound, said) = world.check("check");
    assert!(!sound && said.contains("breach kyc_level") && said.contains("breach withdraw"), "{said}");
    let (_, shown) = world.check("show");
    assert!(shown.contains("Ann Owner") && shown.contains("passport") && shown.contains("LEVEL_DEFAULT"), "{shown}");
    release(&world.journal());
    std::thread::sleep(Duration::from_secs(1));
    let adding = world.venue.open_orders().iter().filter(|order| !order.reduce_only.is_set()).count();
    assert_eq!(adding, 0, "released while it lasts is not released");

    world.venue.command("rights key=demo-key withdraw=false");
    world.venue.command("kyc key=demo-key level=LEVEL_2");
    world.standing("the account is sound again", |s| s.kyc_level.as_str() == "LEVEL_2" && !s.may(Standing::WITHDRAW));
    release(&world.journal());
    world.wait("orders rest again", |world| !world.venue.open_orders().is_empty());
    let mut node = world.node.take().unwrap();
    signal(&node, "TERM");
    assert!(node.wait().unwrap().success(), "{}", world.log());

    let told = told(&world.journal());
    let mut seen = BTreeMap::new();
    for flow in &told.flows {
        *seen.entry((flow.kind, flow.state as u8, flow.id)).or_insert(0) += 1;
    }
    let twice: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "journaled more than once: {twice:?}");
    assert!(told.flows.iter().any(|flow| flow.kind == FlowKind::Trade), "trades stand in the log too");
    let bought = told.flows.iter().find(|flow| flow.kind == ConvertIn).unwrap();
    assert!(bought.usd > Notional::ZERO, "valued by the index");
    assert_eq!(told.differences, 0, "every movement was explained by a row of the venue's log");
    let changes: Vec<bool> = told.standings.iter().map(|standing| standing.changed.is_set()).collect();
    assert_eq!(changes[..2], [false, false], "two starts");
    assert!(changes.len() >= 5 && changes[2..].iter().all(|changed| *changed), "and what changed: {changes:?}");
    for private in PRIVATE {
        assert!(!world.log().contains(private), "{private} stands in the log");
    }
    let replayed = keel(&["replay", world.journal().to_str().unwrap()]);
    assert!(replayed.status.success(), "{}{}", text(&replayed.stdout), text(&replayed.stderr));
}

//! The agent over a real journal on driven time: what it files is what the offline fold finds, byte for byte, across
//! restarts and changes of lists; a block knocks at the front door; the heartbeat arrives.

use super::*;
use crate::compliance::sanctions::{self, Band};
use crate::compliance::surveil::fold;
use keel_core::permit::Log;
use keel_core::ring::{Consumer, ring};
use keel_core::units::Wall;
use keel_journal::{Keeper, Options, Writer};
use keel_risk::surveil::parameters::Parameters;
use keel_risk::surveil::script::{Row, script};
use std::fs;

const FROM: Wall = Wall::from_millis(1_790_000_000_000);
/// Rules whose scripts need no declarations of their own: those fire under the files of the node.
const BARE: [keel_core::event::Rule; 16] = {
    use keel_core::event::Rule as R;
    [
        R::Structuring,
        R::PassThrough,
        R::Velocity,
        R::Burst,
        R::Counterparty,
        R::ChainHop,
        R::Repeated,
        R::LossIndifferent,
        R::Maze,
        R::Wash,
        R::Spoofing,
        R::Layering,
        R::Stuffing,
        R::Ignition,
        R::Marking,
        R::Pinging,
    ]
};

struct Bench {
    data: tempfile::TempDir,
    writer: Option<(Writer, Keeper)>,
    board: Arc<Board>,
    now: Now,
}

impl Bench {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let options = Options { segment_bytes: 1 << 20, prefault_bytes: 1 << 16, ..Options::default() };
        let writer = Some(Writer::open(data.path(), options).unwrap());
        Self { data, writer, board: Arc::default(), now: Now { mono: Mono::from_nanos(1), wall: FROM } }
    }

    fn write(&mut self, rows: &[Row]) {
        let (writer, keeper) = self.writer.as_mut().unwrap();
        for row in rows {
            self.now.wall = self.now.wall.max(row.wall);
            self.now.mono = self.now.mono.after(1_000_000);
            let now = Now { wall: row.wall, ..self.now };
            while writer.fact(now, Seq::NONE, row).is_err() {
                keeper.duty(now);
            }
            keeper.duty(now);
        }
        self.board.set(Cell::DurableSeq, writer.head().0);
    }

    fn agent(&self, files: &Files) -> (SurveilAgent, Consumer<Petition>) {
        let (knock, door, _) = ring(8);
        (SurveilAgent::new(self.data.path(), files.clone(), knock, Arc::clone(&self.board)).unwrap(), door)
    }

    /// Turns until there is nothing left to do, over a second of driven time.
    fn turn(&mut self, agent: &mut SurveilAgent) {
        self.now.mono = self.now.mono.after(2 * LOOK);
        while agent.duty(self.now) > 0 {
            self.now.mono = self.now.mono.after(LOOK / 100);
        }
        assert!(!agent.broken && self.board.get(Cell::SurveilLag) == 0);
    }

    fn end(agent: SurveilAgent) {
        Box::new(agent).finish(&mut Report::default());
    }

    fn filed(&self) -> Vec<Alert> {
        let all = stream::alerts(self.data.path()).unwrap();
        all.into_iter().map(|filed| filed.alert).filter(|alert| !alert.synthetic.is_set()).collect()
    }

    fn offline(&self, files: &Files) -> Vec<Alert> {
        let mut alerts = Vec::new();
        fold(self.data.path(), files.read().unwrap().terms, |alert| {
            alerts.push(alert);
            Ok(())
        })
        .unwrap();
        alerts
    }
}

fn bytes(alerts: &[Alert]) -> Vec<&[u8]> {
    alerts.iter().map(Record::bytes).collect()
}

fn year(number: u64) -> Wall {
    FROM.after(number * 365 * DAY)
}

#[test]
fn live_files_what_offline_finds_byte_for_byte_across_restarts() {
    let (mut bench, files) = (Bench::new(), Files::default());
    let mut fired = BTreeSet::new();
    for (near, base) in [(true, 0), (false, 20)] {
        for (rule, number) in BARE.into_iter().zip(base..) {
            if near && rule == keel_core::event::Rule::Counterparty {
                continue; // who was seen once is no stranger any more
            }
            // a new agent each time: it resumes, and raises nothing twice
            let (mut agent, _door) = bench.agent(&files);
            let before = bench.filed().len();
            bench.turn(&mut agent);
            assert_eq!(bench.filed().len(), before, "a restart raises nothing");
            let rows = script(rule, near, &Parameters::default(), year(number)).rows;
            let (first, second) = rows.split_at(rows.len() / 2);
            bench.write(first);
            bench.turn(&mut agent);
            bench.write(second);
            bench.turn(&mut agent);
            Bench::end(agent);
            let all = bench.filed();
            if !near {
                assert!(all[before..].iter().any(|alert| alert.rule == rule), "{rule:?} is on file");
                fired.insert(rule);
            }
        }
    }
    assert_eq!(fired.len(), BARE.len());
    let (live, offline) = (bench.filed(), bench.offline(&files));
    assert_eq!(bytes(&live), bytes(&offline));
    assert_eq!(bytes(&offline), bytes(&bench.offline(&files)), "twice the same");
}

#[test]
fn rules_that_need_declarations_fire_live_on_their_scripts_and_not_on_the_near_misses() {
    let declared: Vec<_> = RULES.into_iter().filter(|rule| !BARE.contains(rule)).collect();
    assert_eq!(declared.len() + BARE.len(), 23);
    for rule in declared {
        for near in [true, false] {
            let mut bench = Bench::new();
            let played = script(rule, near, &Parameters::default(), FROM);
            let (mut agent, _door) = bench.agent(&Files::default());
            (agent.read.terms, agent.fold) = (played.terms.clone(), Surveil::new(played.terms.clone()));
            bench.write(&played.rows);
            bench.turn(&mut agent);
            let live = bench.filed();
            assert_eq!(live.iter().any(|alert| alert.rule == rule), !near, "{rule:?}, near miss: {near}");
            let mut offline = Vec::new();
            let keep = |alert| {
                offline.push(alert);
                Ok(())
            };
            fold(bench.data.path(), played.terms, keep).unwrap();
            assert_eq!(bytes(&live), bytes(&offline), "{rule:?}");
        }
    }
}

#[test]
fn a_list_that_changes_screens_everything_again_and_a_hit_knocks_at_the_door() {
    let mut bench = Bench::new();
    let lists = tempfile::tempdir().unwrap();
    let files = Files { lists: Some(lists.path().to_owned()), ..Files::default() };
    let rows = script(keel_core::event::Rule::Sanctioned, false, &Parameters::default(), FROM).rows;
    let (mut agent, mut door) = bench.agent(&files);
    bench.write(&rows);
    bench.turn(&mut agent);
    let sanctioned = |bench: &Bench| bench.filed().iter().filter(|alert| alert.gravity == Gravity::Block).count();
    assert_eq!((sanctioned(&bench), door.pop().is_some()), (0, false), "nobody is listed yet");
    let list = lists.path().join("SDN.XML");
    let entry = "<sdnEntry><uid>36</uid><lastName>Synthetic</lastName><sdnType>Entity</sdnType><idList><id>\
        <idType>Digital Currency Address - XBT</idType><idNumber>1KeeLSyntheticListedAddress11111</idNumber></id></idList></sdnEntry>";
    fs::write(
        &list,
        format!(
            "<sdnList><publshInformation><Publish_Date>11/20/2026</Publish_Date></publshInformation>{entry}</sdnList>"
        ),
    )
    .unwrap();
    let band = Band { min: Some(1), max: Some(9), shrink: false };
    sanctions::take(&list, lists.path(), band, bench.now.wall).unwrap();
    bench.turn(&mut agent);
    bench.turn(&mut agent);
    assert_eq!(sanctioned(&bench), 1);
    let Some(Petition::Command(command)) = door.pop() else { panic!("nobody knocked") };
    assert_eq!((command.kind, command.author.as_str()), (CommandKind::ReduceOnly, "surveillance"));
    let hit = bench.filed().into_iter().find(|alert| alert.gravity == Gravity::Block).unwrap();
    assert_eq!(hit.list.as_str(), "ofac:2026-11-20:36");
    assert!(bench.offline(&files).iter().any(|alert| alert.bytes() == hit.bytes()), "offline finds the same");
    // a list that cannot be read leaves the one in force, and says so
    fs::write(lists.path().join("lists.json"), "{").unwrap();
    bench.turn(&mut agent);
    assert_eq!((bench.board.get(Cell::SurveilRefused), sanctioned(&bench)), (1, 1));
    Bench::end(agent);
    // the command was lost with the process: the next one asks again
    fs::remove_file(lists.path().join("lists.json")).unwrap();
    let (mut agent, mut door) = bench.agent(&files);
    bench.turn(&mut agent);
    assert!(matches!(door.pop(), Some(Petition::Command(_))), "asked again");
    assert_eq!(sanctioned(&bench), 1, "and filed once");
    Bench::end(agent);
}

#[test]
fn a_synthetic_positive_of_every_rule_arrives_once_a_day_and_on_demand() {
    let (mut bench, files) = (Bench::new(), Files::default());
    bench.write(&script(keel_core::event::Rule::Wash, true, &Parameters::default(), FROM).rows);
    let (mut agent, _door) = bench.agent(&files);
    let synthetic = |bench: &Bench| {
        let all = stream::alerts(bench.data.path()).unwrap();
        all.into_iter().filter(|filed| filed.alert.synthetic.is_set()).count()
    };
    for _ in 0..3 {
        bench.turn(&mut agent);
    }
    assert_eq!((synthetic(&bench), bench.board.get(Cell::SurveilBlind)), (RULES.len(), 0));
    assert_eq!(bench.board.get(Cell::SurveilBeat), bench.now.wall.nanos() / 1_000_000_000);
    bench.now.wall = bench.now.wall.after(DAY);
    bench.turn(&mut agent);
    assert_eq!(synthetic(&bench), 2 * RULES.len());
    let ask = stream::path(bench.data.path()).join(ASK_FILE);
    fs::write(&ask, "").unwrap();
    bench.turn(&mut agent);
    assert!(!ask.exists() && synthetic(&bench) == 3 * RULES.len());
    Bench::end(agent);
    let (mut agent, _door) = bench.agent(&files);
    bench.turn(&mut agent);
    bench.turn(&mut agent);
    assert_eq!(synthetic(&bench), 3 * RULES.len(), "a restart on the same day plays nothing");
    Bench::end(agent);
    assert_eq!(bench.filed(), [], "nobody did anything");
}

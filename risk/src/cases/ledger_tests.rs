//! Every step from every state, allowed and refused; four eyes; what was changed behind the program's back.

use super::act::{DEEDS, STATES};
use super::ledger::{digest, step};
use super::roles::{Person, SYSTEM};
use super::*;
use crate::consent::{Key, Name, signed_text};
use ed25519_dalek::VerifyingKey;
use keel_core::event::{Alert, CaseState, Deed, Document, DocumentKind, Flag, Gravity, Kind, Record, Rule};
use keel_core::ids::Text;
use keel_core::units::{Mono, Wall};

const DAY: u64 = 86_400_000_000_000;

fn key(name: &str) -> Key {
    let mut secret = [7; 32];
    secret[..name.len()].copy_from_slice(name.as_bytes());
    Key::new(Name::new(name.as_bytes()).unwrap(), &secret)
}

fn person(name: &str, role: Role) -> Person {
    Person { name: key(name).name(), role, key: VerifyingKey::from_bytes(&key(name).public()).unwrap() }
}

fn roles() -> Roles {
    Roles::new(vec![
        person("ann", Role::Analyst),
        person("amy", Role::Analyst),
        person("ben", Role::Reviewer),
        person("cat", Role::Mlro),
        person("cal", Role::Mlro),
    ])
}

/// A compliance journal without a disk.
#[derive(Clone, Default)]
struct World {
    ledger: Ledger,
    records: Vec<(Kind, Vec<u8>)>,
    clock: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self { clock: 1_000 * DAY, ..Self::default() };
        world.document(DocumentKind::Roles, format!("{}\n", roles().text()).as_bytes()).unwrap();
        world
    }

    fn put(&mut self, record: &impl Record) -> Result<u64, No> {
        let seq = self.records.len() as u64 + 1;
        self.ledger.take(seq, Some(record.kind()), record.bytes())?;
        self.records.push((record.kind(), record.bytes().to_vec()));
        Ok(seq)
    }

    fn document(&mut self, kind: DocumentKind, text: &[u8]) -> Result<(), No> {
        for part in Document::cut(Mono::default(), Text::EMPTY, kind, text).unwrap() {
            self.put(&part)?;
        }
        Ok(())
    }

    fn alert(&mut self, gravity: Gravity, synthetic: bool) -> u64 {
        let (subject, at) = (Text::new(b"uid-1").unwrap(), Wall::from_nanos(self.clock - DAY));
        let synthetic = Flag::from(synthetic);
        self.put(&Alert { at, rule: Rule::Spoofing, gravity, subject, synthetic, ..Alert::default() }).unwrap()
    }

    fn write(&mut self, act: &Act, document: &[u8]) -> Result<(), No> {
        self.ledger.judge(document)?;
        self.document(DocumentKind::Case, document).unwrap();
        self.put(&act.record(digest(&act.message()))).map(|_| ())
    }

    /// `who` does it, as the program would write it down.
    fn does(&mut self, who: &str, act: Act) -> Result<(), No> {
        self.clock += 1_000;
        let act = Act { actor: key(who).name(), at: Wall::from_nanos(self.clock), ..act };
        let act = self.ledger.prepare(act)?;
        let message = act.message();
        self.write(&act, &signed_text(&message, &[key(who).sign(&message)]))
    }

    fn triage(&mut self, alert: u64) -> Result<(), No> {
        let act = self.ledger.automatic(alert, Wall::from_nanos(self.clock))?;
        self.write(&act, &signed_text(&act.message(), &[]))
    }

    fn state(&self) -> CaseState {
        self.ledger.case(1).map_or(CaseState::None, |case| case.state)
    }
}

/// A deed with everything it needs, on case 1.
fn whole(world: &mut World, deed: Deed) -> Act {
    let mut act = Act { case: 1, deed, reason: "as seen".to_owned(), score: 60, suspect: true, ..Act::default() };
    match deed {
        Deed::Open => {
            act.about = vec![(About::Account, "uid-9".to_owned())];
            act.alerts = vec![world.alert(Gravity::Review, false)];
        }
        Deed::Link => act.alerts = vec![world.alert(Gravity::Review, false)],
        Deed::Assign => act.assignee = Some(key("ann").name()),
        Deed::Evidence => act.pieces = vec![Piece::Record { leaf: [1; 32], seq: 5, kind: "fill".to_owned() }],
        Deed::Note => act.narrative = "looked at it".to_owned(),
        Deed::Draft => {
            (act.narrative, act.typologies) = ("who, what, when".to_owned(), vec![Rule::Spoofing]);
        }
        Deed::File => {
            let submitted = Wall::from_nanos(world.clock);
            act.filing = Some(Filing { authority: "FIU".to_owned(), reference: "R-1".to_owned(), submitted });
        }
        _ => {}
    }
    act
}

/// Who does what in these tests.
fn hand(deed: Deed) -> &'static str {
    match deed {
        Deed::Approve | Deed::Return => "ben",
        Deed::File | Deed::Release => "cat",
        _ => "ann",
    }
}

fn go(world: &mut World, deeds: &[Deed]) {
    for deed in deeds {
        let act = whole(world, *deed);
        world.does(hand(*deed), act).unwrap_or_else(|no| panic!("{deed:?}: {no}"));
    }
}

const FILED: [Deed; 6] = [Deed::Open, Deed::Assign, Deed::Escalate, Deed::Draft, Deed::Approve, Deed::File];

/// The way to each state, and what may be done there: written by hand, not derived from the table.
const WAYS: [(CaseState, &[Deed], &[Deed]); 9] = {
    use Deed::*;
    [
        (CaseState::None, &[], &[Open]),
        (CaseState::Open, &[Open], &[Open, Link, Assign, Note, Evidence, Hold]),
        (CaseState::Triage, &[Open, Assign], &[Open, Link, Assign, Note, Evidence, Escalate, Hold]),
        (CaseState::Investigate, &[Open, Assign, Escalate], &[Open, Link, Assign, Note, Evidence, NoFile, Draft, Hold]),
        (CaseState::ClosedNoFile, &[Open, Assign, Escalate, NoFile, Approve], &[Open, Note, Monitor, Hold]),
        (CaseState::FileDraft, &[Open, Assign, Escalate, Draft], &[Open, Note, Evidence, Return, Approve, Hold]),
        (CaseState::Approved, &[Open, Assign, Escalate, Draft, Approve], &[Open, Note, Return, File, Hold]),
        (CaseState::Filed, &FILED, &[Open, Note, Monitor, Hold]),
        (
            CaseState::Monitored,
            &[Open, Assign, Escalate, Draft, Approve, File, Monitor],
            &[Open, Note, Evidence, Monitor, Hold],
        ),
    ]
};

#[test]
fn every_step_from_every_state_is_allowed_or_refused_as_written_here() {
    let mut allowed = 0;
    for (state, way, may) in WAYS {
        let mut world = World::new();
        go(&mut world, way);
        assert_eq!(world.state(), state);
        for (deed, word) in DEEDS {
            let mut world = world.clone();
            let act = whole(&mut world, deed);
            let (before, records) = (world.ledger.cases().len(), world.records.len());
            let done = world.does(hand(deed), act);
            assert_eq!(done.is_ok(), may.contains(&deed), "{word} in {state:?}: {done:?}");
            if done.is_err() {
                assert_eq!((world.state(), world.ledger.cases().len()), (state, before), "{word} in {state:?}");
                assert_eq!(world.records.len(), records, "what is refused is not written");
            } else {
                allowed += 1;
                let to = step(if deed == Deed::Open { CaseState::None } else { state }, deed).unwrap();
                let case = if deed == Deed::Open { before as u64 + 1 } else { 1 };
                assert_eq!(world.ledger.case(case).unwrap().state, to, "{word} in {state:?}");
            }
        }
    }
    assert_eq!((allowed, STATES.len()), (46, WAYS.len()));
}

#[test]
fn no_report_takes_two_people_and_reasons() {
    let mut world = World::new();
    go(&mut world, &[Deed::Open, Deed::Assign, Deed::Escalate]);
    let act = |deed| Act { case: 1, deed, reason: "nothing in it".to_owned(), suspect: true, ..Act::default() };
    assert_eq!(world.does("ben", act(Deed::Approve)), Err(No::State), "nobody proposed anything");
    assert_eq!(world.does("ann", Act { reason: String::new(), ..act(Deed::NoFile) }), Err(No::Reason));
    world.does("ann", act(Deed::NoFile)).unwrap();
    assert_eq!(world.state(), CaseState::Investigate);
    assert_eq!(world.does("ann", act(Deed::Approve)), Err(No::Role));
    world.does("ben", act(Deed::Return)).unwrap();
    assert_eq!(world.does("ben", act(Deed::Approve)), Err(No::State), "it was returned");
    world.does("ann", act(Deed::NoFile)).unwrap();
    let mut other = world.clone();
    go(&mut other, &[Deed::Evidence]);
    assert_eq!(other.does("ben", act(Deed::Approve)), Err(No::State), "there is something new to look at");
    assert_eq!(world.does("ben", Act { reason: " ".to_owned(), ..act(Deed::Approve) }), Err(No::Malformed));
    world.does("ben", act(Deed::Approve)).unwrap();
    let case = world.ledger.case(1).unwrap();
    assert_eq!((case.state, case.deadline.nanos()), (CaseState::ClosedNoFile, 0));
    assert_eq!(case.retain_until.nanos(), case.acts.last().unwrap().act.at.nanos() + 2557 * DAY);
}

#[test]
fn who_worked_on_a_case_does_not_agree_to_it() {
    let mut world = World::new();
    go(&mut world, &[Deed::Open]);
    let act = |deed| Act { case: 1, deed, reason: "r".to_owned(), suspect: true, ..Act::default() };
    let to = |name| Act { assignee: Some(key(name).name()), ..act(Deed::Assign) };
    assert_eq!(world.does("ann", to("ben")), Err(No::Analyst), "a reviewer is no analyst");
    assert_eq!(world.does("ann", to("eve")), Err(No::Analyst));
    world.does("cat", to("cat")).unwrap();
    assert_eq!(world.does("ann", act(Deed::Escalate)), Err(No::NotTheirs));
    world.does("cat", act(Deed::Escalate)).unwrap();
    // the case changes hands, and what cat did stays cat's
    world.does("cat", to("ann")).unwrap();
    let draft = whole(&mut world, Deed::Draft);
    world.does("ann", draft).unwrap();
    assert_eq!(world.does("cat", act(Deed::Approve)), Err(No::FourEyes));
    assert_eq!(world.does("cat", act(Deed::Return)), Err(No::FourEyes));
    assert_eq!(world.does("amy", act(Deed::Approve)), Err(No::Role));
    world.does("cal", act(Deed::Approve)).unwrap();
    let filing = whole(&mut world, Deed::File);
    assert_eq!(world.does("ben", filing.clone()), Err(No::Role));
    world.does("cat", filing).unwrap();
}

#[test]
fn what_is_signed_by_another_hand_or_changed_afterwards_does_not_count() {
    let mut world = World::new();
    go(&mut world, &[Deed::Open]);
    let note = whole(&mut world, Deed::Note);
    let act =
        world.ledger.prepare(Act { actor: key("ann").name(), at: Wall::from_nanos(world.clock), ..note }).unwrap();
    let message = act.message();
    let by = |who: &str| key(who).sign(&message);
    let judge = |signed: &[crate::consent::Signed]| world.ledger.judge(&signed_text(&message, signed)).map(|_| ());
    assert_eq!(judge(&[by("ann")]), Ok(()));
    assert_eq!(judge(&[]), Err(No::Unsigned));
    assert_eq!(judge(&[by("ben")]), Err(No::Unsigned));
    assert_eq!(judge(&[by("ann"), by("ben")]), Err(No::Unsigned));
    let forged = crate::consent::Signed { name: key("ann").name(), ..by("ben") };
    assert_eq!(judge(&[forged]), Err(No::Signature));
    let stranger = Act { actor: key("eve").name(), ..act.clone() };
    let signed = signed_text(&stranger.message(), &[key("eve").sign(&stranger.message())]);
    assert_eq!(world.ledger.judge(&signed).map(|_| ()), Err(No::Stranger));
    // terms are not the author's to choose
    for changed in [
        Act { deadline: act.deadline.after(1), ..act.clone() },
        Act { retain_until: Wall::from_nanos(1), ..act.clone() },
        Act { to: CaseState::Filed, ..act.clone() },
        Act { before: [9; 32], ..act.clone() },
    ] {
        let text = signed_text(&changed.message(), &[key("ann").sign(&changed.message())]);
        assert_eq!(world.ledger.judge(&text).map(|_| ()), Err(No::Overtaken));
    }
    // a record that says something else than its words
    let mut other = world.clone();
    other.document(DocumentKind::Case, &signed_text(&message, &[by("ann")])).unwrap();
    let record = act.record(digest(&message));
    assert_eq!(other.put(&keel_core::event::CaseAct { score: 1, ..record }), Err(No::Words));
    assert_eq!(world.put(&record), Err(No::Words), "a record without words");
}

#[test]
fn the_same_records_give_the_same_cases_and_any_changed_byte_is_found() {
    let mut world = World::new();
    let alert = world.alert(Gravity::Case, false);
    world.triage(alert).unwrap();
    go(&mut world, &FILED[1..]);
    let fold = |records: &[(Kind, Vec<u8>)]| {
        let mut ledger = Ledger::default();
        for ((kind, bytes), seq) in records.iter().zip(1..) {
            ledger.take(seq, Some(*kind), bytes)?;
        }
        Ok::<_, No>(format!("{:?}", ledger.cases()))
    };
    assert_eq!(fold(&world.records).unwrap(), fold(&world.records).unwrap());
    let whole = fold(&world.records).unwrap();
    let (mut named, mut tried) = (0, 0);
    for at in 1..world.records.len() {
        if world.records[at].0 == Kind::Alert {
            continue;
        }
        for byte in (0..world.records[at].1.len()).step_by(11) {
            let mut records = world.records.clone();
            records[at].1[byte] ^= 1;
            tried += 1;
            let found = fold(&records);
            // bytes behind the end of a document mean nothing here; the journal's own hashes cover them
            assert!(found.is_err() || found.as_deref() == Ok(whole.as_str()), "record {at} byte {byte}");
            named += u32::from(found.is_err());
        }
    }
    assert!(named > tried / 4, "{named} of {tried}");
    let mut gone = world.records.clone();
    gone.remove(gone.len() - 3);
    assert!(fold(&gone).is_err() || fold(&gone).unwrap() != whole);
}

#[test]
fn alerts_that_ask_for_a_case_get_one_and_synthetic_ones_never() {
    let mut world = World::new();
    let review = world.alert(Gravity::Review, false);
    let synthetic = world.alert(Gravity::Block, true);
    let (first, second) = (world.alert(Gravity::Case, false), world.alert(Gravity::Block, false));
    assert_eq!(world.ledger.untaken(), [first, second]);
    assert_eq!((world.triage(review), world.triage(synthetic)), (Err(No::Role), Err(No::Synthetic)));
    world.triage(first).unwrap();
    world.triage(second).unwrap();
    assert_eq!((world.ledger.untaken().len(), world.ledger.cases().len()), (0, 1), "the same subject and rule");
    let case = world.ledger.case(1).unwrap();
    assert_eq!((&case.alerts, case.score, case.state), (&vec![first, second], 90, CaseState::Open));
    assert_eq!(world.triage(first), Err(No::Taken));
    go(&mut world, &FILED[1..]);
    let third = world.alert(Gravity::Case, false);
    world.triage(third).unwrap();
    assert_eq!(world.ledger.case_of(third), Some(2), "the first is decided");
    let put = Act { deed: Deed::Link, case: 2, alerts: vec![synthetic], suspect: true, ..Act::default() };
    assert_eq!(world.does("ann", put), Err(No::Synthetic));
    // nobody else speaks for the machine
    let act = world.ledger.prepare(Act {
        actor: Name::new(SYSTEM).unwrap(),
        at: Wall::from_nanos(world.clock),
        ..Act { deed: Deed::Note, case: 2, narrative: "x".to_owned(), suspect: true, ..Act::default() }
    });
    let text = signed_text(&act.unwrap().message(), &[]);
    assert_eq!(world.ledger.judge(&text).map(|_| ()), Err(No::Malformed));
}

#[test]
fn terms_follow_from_the_roles_in_force() {
    let mut world = World::new();
    let alert = world.alert(Gravity::Case, false);
    let detected = world.ledger.alerts()[&alert].at;
    world.triage(alert).unwrap();
    let deadline = |world: &World| world.ledger.case(1).unwrap().deadline.since(detected) / DAY;
    assert_eq!(deadline(&world), 30);
    let nobody = Act { case: 1, deed: Deed::Note, narrative: "x".to_owned(), suspect: false, ..Act::default() };
    world.does("ann", nobody).unwrap();
    assert_eq!(deadline(&world), 60);
    let next = Roles { version: 2, file_days: 10, follow_up_days: 90, ..roles() };
    let document = |who: &[&str]| {
        let text = next.text();
        let signed: Vec<_> = who.iter().map(|who| key(who).sign(text.as_bytes())).collect();
        signed_text(text.as_bytes(), &signed)
    };
    let adopt = |world: &World, who: &[&str]| world.ledger.adopted(&document(who)).map(|_| ());
    assert_eq!(adopt(&world, &[]), Err(No::Role));
    assert_eq!(adopt(&world, &["ann", "ben"]), Err(No::Role));
    assert_eq!(adopt(&world, &["cat"]), Err(No::FourEyes));
    world.document(DocumentKind::Roles, &document(&["cat", "ben"])).unwrap();
    assert_eq!(world.document(DocumentKind::Roles, &document(&["cat", "ben"])), Err(No::Overtaken));
    go(&mut world, &FILED[1..5]);
    assert_eq!(deadline(&world), 10);
    let early = Act {
        filing: Some(Filing { authority: "FIU".to_owned(), reference: "1".to_owned(), submitted: detected }),
        ..whole(&mut world, Deed::File)
    };
    assert_eq!(world.does("cat", early), Err(No::Filing), "filed before it was approved");
    go(&mut world, &[Deed::File]);
    let case = world.ledger.case(1).unwrap();
    assert_eq!(case.follow_up.since(case.filing.as_ref().unwrap().submitted) / DAY, 90);
    go(&mut world, &[Deed::Hold, Deed::Monitor]);
    assert!(world.ledger.case(1).unwrap().held);
    let release = whole(&mut world, Deed::Release);
    assert_eq!(world.does("ann", release.clone()), Err(No::Role));
    world.does("cat", release).unwrap();
    assert!(!world.ledger.case(1).unwrap().held);
}

#[test]
fn roles_have_one_form() {
    let text = format!("{}\n", roles().text());
    assert_eq!(Roles::read(text.as_bytes()).unwrap().0.text(), roles().text());
    let ben = crate::consent::signed_text(b"", &[]);
    assert!(Roles::read(&ben).is_none());
    for (from, to) in [
        ("keel roles 1", "keel roles 2"),
        ("version 1", "version 0"),
        ("file-days 30", "file-days 030"),
        ("file-days 30", "file-days 0"),
        ("retain-days 2557", "retain-days 99999"),
        ("person ann", "person ben"),
        ("person ann analyst", "person ann owner"),
        ("person ann", "person surveillance"),
    ] {
        assert!(Roles::read(text.replacen(from, to, 1).as_bytes()).is_none(), "{to}");
    }
    let twice = text.replacen("person amy analyst", "person zoe analyst", 1);
    let ann = roles().people[0].key.to_bytes();
    let amy = roles().people[1].key.to_bytes();
    let hex = |key: [u8; 32]| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert!(Roles::read(twice.replace(&hex(amy), &hex(ann)).as_bytes()).is_none(), "one key, two names");
}

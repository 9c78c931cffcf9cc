//! Every case, folded from the compliance journal.
//!
//! In: its records, in order. Out: cases; for a step somebody wants to take, the step with everything that follows from
//! the rules filled in, or the reason why not. Never: a step taken that [`TABLE`] does not hold, a mutation before the
//! last check. The same records give the same cases: what is signed is judged again whenever the journal is read.

use super::act::{About, Act, Filing, Piece};
use super::roles::{Person, Role, Roles, SYSTEM, days_after};
use crate::consent::{Name, Signed, unsigned};
use core::fmt;
use keel_core::event::{Alert, CaseAct, CaseState, Deed, Document, DocumentKind, Gravity, Kind, Parts, Rule, read};
use keel_core::units::Wall;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// SHA-256.
#[must_use]
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Every step there is: what is done, where the case must stand, where it stands afterwards. Approving and returning what
/// is still under investigation need a proposal to close it without a report.
pub const TABLE: &[(Deed, CaseState, CaseState)] = {
    use CaseState::{Approved, ClosedNoFile, FileDraft, Filed, Investigate, Monitored, None, Open, Triage};
    &[
        (Deed::Open, None, Open),
        (Deed::Link, Open, Open),
        (Deed::Link, Triage, Triage),
        (Deed::Link, Investigate, Investigate),
        (Deed::Assign, Open, Triage),
        (Deed::Assign, Triage, Triage),
        (Deed::Assign, Investigate, Investigate),
        (Deed::Evidence, Open, Open),
        (Deed::Evidence, Triage, Triage),
        (Deed::Evidence, Investigate, Investigate),
        (Deed::Evidence, FileDraft, FileDraft),
        (Deed::Evidence, Monitored, Monitored),
        (Deed::Escalate, Triage, Investigate),
        (Deed::NoFile, Investigate, Investigate),
        (Deed::Draft, Investigate, FileDraft),
        (Deed::Return, Investigate, Investigate),
        (Deed::Return, FileDraft, Investigate),
        (Deed::Return, Approved, Investigate),
        (Deed::Approve, Investigate, ClosedNoFile),
        (Deed::Approve, FileDraft, Approved),
        (Deed::File, Approved, Filed),
        (Deed::Monitor, ClosedNoFile, Monitored),
        (Deed::Monitor, Filed, Monitored),
        (Deed::Monitor, Monitored, Monitored),
    ]
};

/// Where a deed leads; `None` when it is not done there. Notes and holds may be put to any case and move none.
#[must_use]
pub fn step(from: CaseState, deed: Deed) -> Option<CaseState> {
    if matches!(deed, Deed::Note | Deed::Hold | Deed::Release) {
        return (from != CaseState::None).then_some(from);
    }
    TABLE.iter().find(|(what, at, _)| *what == deed && *at == from).map(|(_, _, to)| *to)
}

/// Why a step is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum No {
    /// Nobody said yet who may do what.
    NoRoles,
    /// Not a document of this kind, or not in its one form.
    Malformed,
    /// Nobody of this name has a role.
    Stranger,
    /// The signature does not fit.
    Signature,
    /// Not signed by its author, or by others too.
    Unsigned,
    /// The role does not allow it.
    Role,
    /// The same person wrote it.
    FourEyes,
    /// Only the analyst it was given to.
    NotTheirs,
    /// The case does not stand where this is done.
    State,
    /// Something was done to the case meanwhile, or a term does not follow from the rules.
    Overtaken,
    /// No such case.
    NoCase,
    /// No such alert.
    NoAlert,
    /// A synthetic alert: nobody did anything.
    Synthetic,
    /// The alert belongs to a case already.
    Taken,
    /// No reason given.
    Reason,
    /// No analyst named, or one who is none.
    Analyst,
    /// A report needs a narrative, a typology, a subject, and alerts or evidence.
    Incomplete,
    /// A filing needs an authority, a reference, and a moment between the approval and now.
    Filing,
    /// Before the step before it.
    Time,
    /// The record and the words before it differ.
    Words,
    /// It is held already, or was not.
    Hold,
}

impl fmt::Display for No {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRoles => "nobody has a role yet: keel cases roles",
            Self::Malformed => "it is not in its one form",
            Self::Stranger => "nobody of this name has a role here",
            Self::Signature => "the signature does not fit",
            Self::Unsigned => "it must be signed by its author, and by nobody else",
            Self::Role => "this role may not do it",
            Self::FourEyes => "it takes a second person: who worked on a case does not agree to it, nor alone to roles",
            Self::NotTheirs => "only the analyst the case is given to decides",
            Self::State => "the case does not stand where this is done",
            Self::Overtaken => "something was done meanwhile: look again",
            Self::NoCase => "there is no such case",
            Self::NoAlert => "there is no such alert",
            Self::Synthetic => "the alert is synthetic: nobody did anything",
            Self::Taken => "the alert belongs to a case already",
            Self::Reason => "a reason is missing",
            Self::Analyst => "it must be given to a person who is an analyst or the mlro",
            Self::Incomplete => "a report needs a narrative, a typology, a subject, and alerts or evidence",
            Self::Filing => "a filing needs an authority, a reference, and a moment between the approval and now",
            Self::Time => "it lies before the step before it",
            Self::Words => "the record and the words before it differ",
            Self::Hold => "it is held already, or it was not held",
        })
    }
}

impl std::error::Error for No {}

/// A step that was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Place of its record.
    pub seq: u64,
    /// It.
    pub act: Act,
    /// Digest of its words.
    pub words: [u8; 32],
    /// The signature; none under what the machine does by itself.
    pub signed: Option<Signed>,
}

/// One case.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// Counted from 1.
    pub id: u64,
    /// Where it stands.
    pub state: CaseState,
    /// Since when there was something to see.
    pub detected: Wall,
    /// To whom it is given.
    pub analyst: Option<Name>,
    /// Who agreed.
    pub reviewer: Option<Name>,
    /// The analyst found nothing to report, and nobody has answered yet.
    pub proposed: bool,
    /// Held: nothing of it may be deleted.
    pub held: bool,
    /// By when to file.
    pub deadline: Wall,
    /// When to look again.
    pub follow_up: Wall,
    /// Until when it is kept.
    pub retain_until: Wall,
    /// How bad it looks.
    pub score: u8,
    /// There is a suspect.
    pub suspect: bool,
    /// Its alerts.
    pub alerts: Vec<u64>,
    /// What it looks like.
    pub typologies: Vec<Rule>,
    /// Evidence.
    pub pieces: Vec<Piece>,
    /// The rest of what is known.
    pub about: Vec<(About, String)>,
    /// The story as last told.
    pub narrative: String,
    /// What was filed.
    pub filing: Option<Filing>,
    /// Every step.
    pub acts: Vec<Taken>,
    approved: Wall,
    authors: Vec<(Name, [u8; 32])>,
}

impl Case {
    fn last(&self) -> (Wall, [u8; 32]) {
        self.acts.last().map_or((Wall::from_nanos(0), [0; 32]), |taken| (taken.act.at, taken.words))
    }

    fn wrote(&self, person: &Person) -> bool {
        self.analyst == Some(person.name)
            || self.authors.iter().any(|(name, key)| *name == person.name || key == person.key.as_bytes())
    }
}

/// All there is.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    roles: Option<Roles>,
    cases: Vec<Case>,
    alerts: BTreeMap<u64, Alert>,
    taken: BTreeMap<u64, u64>,
    arriving: (Parts, Parts),
    words: Option<Vec<u8>>,
}

impl Ledger {
    /// Takes one record. What does not hold is an error, and nothing changes.
    pub fn take(&mut self, seq: u64, kind: Option<Kind>, payload: &[u8]) -> Result<(), No> {
        match kind {
            Some(Kind::Alert) => {
                self.alerts.insert(seq, read(payload).ok_or(No::Malformed)?);
            }
            Some(Kind::Document) => self.document(&read(payload).ok_or(No::Malformed)?)?,
            Some(Kind::CaseAct) => self.act(seq, &read(payload).ok_or(No::Malformed)?)?,
            _ => {}
        }
        Ok(())
    }

    fn document(&mut self, part: &Document) -> Result<(), No> {
        match part.kind {
            DocumentKind::Case => {
                if let Some(words) = self.arriving.0.take(part) {
                    self.words = Some(words);
                }
            }
            DocumentKind::Roles => {
                if let Some(text) = self.arriving.1.take(part) {
                    self.roles = Some(self.adopted(&text)?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The roles a document would put in force.
    pub fn adopted(&self, document: &[u8]) -> Result<Roles, No> {
        let (next, signed) = Roles::read(document).ok_or(No::Malformed)?;
        match &self.roles {
            Some(roles) => roles.replaced(&next, &signed)?,
            None if next.version != 1 => return Err(No::Overtaken),
            None => {}
        }
        Ok(next)
    }

    fn act(&mut self, seq: u64, record: &CaseAct) -> Result<(), No> {
        let document = self.words.take().ok_or(No::Words)?;
        let (act, signed) = self.judge(&document)?;
        let words = digest(&act.message());
        if act.record(words) != *record {
            return Err(No::Words);
        }
        self.perform(Taken { seq, act, words, signed });
        Ok(())
    }

    /// May this document be taken as a step now?
    pub fn judge(&self, document: &[u8]) -> Result<(Act, Option<Signed>), No> {
        let (text, signed) = unsigned(document).map_err(|_| No::Malformed)?;
        let act = Act::read(text).ok_or(No::Malformed)?;
        if act.actor.bytes() == SYSTEM {
            return self.judge_automatic(act, &signed);
        }
        let [only] = &signed[..] else { return Err(No::Unsigned) };
        if only.name != act.actor {
            return Err(No::Unsigned);
        }
        let person = self.roles.as_ref().ok_or(No::NoRoles)?.signed(text.as_bytes(), only)?;
        self.check(&act, person)?;
        Ok((act, Some(*only)))
    }

    fn judge_automatic(&self, act: Act, signed: &[Signed]) -> Result<(Act, Option<Signed>), No> {
        let [alert] = act.alerts[..] else { return Err(No::Malformed) };
        let expected = self.automatic(alert, act.at)?;
        if act != expected || !signed.is_empty() { Err(No::Overtaken) } else { Ok((act, None)) }
    }

    /// Alerts that ask for a case and have none.
    #[must_use]
    pub fn untaken(&self) -> Vec<u64> {
        let asks = |alert: &Alert| alert.gravity >= Gravity::Case && !alert.synthetic.is_set();
        let open = self.alerts.iter().filter(|(seq, alert)| asks(alert) && !self.taken.contains_key(seq));
        open.map(|(seq, _)| *seq).collect()
    }

    /// What the machine does about an alert by itself: it opens a case, or puts the alert to one about the same subject
    /// and rule that nobody has decided yet.
    pub fn automatic(&self, seq: u64, at: Wall) -> Result<Act, No> {
        let alert = self.alert(seq)?;
        if alert.gravity < Gravity::Case {
            return Err(No::Role);
        }
        let same = |case: &&Case| {
            let undecided = matches!(case.state, CaseState::Open | CaseState::Triage | CaseState::Investigate);
            let about = |seq: &u64| {
                self.alerts.get(seq).is_some_and(|known| known.subject == alert.subject && known.rule == alert.rule)
            };
            undecided && case.alerts.iter().any(about)
        };
        let actor = Name::new(SYSTEM).unwrap_or_default();
        let reason = format!("alert {seq}: {:?} version {}", alert.rule, alert.version);
        let draft = Act { at, actor, alerts: vec![seq], reason, ..Act::default() };
        let score = if alert.gravity == Gravity::Block { 90 } else { 50 };
        match self.cases.iter().find(same) {
            Some(case) => {
                let (case, score, suspect) = (case.id, case.score.max(score), case.suspect);
                self.prepare(Act { case, deed: Deed::Link, score, suspect, ..draft })
            }
            None => self.prepare(Act {
                case: 0,
                deed: Deed::Open,
                score,
                suspect: true,
                typologies: if alert.rule == Rule::None { Vec::new() } else { vec![alert.rule] },
                about: if alert.subject.is_empty() {
                    Vec::new()
                } else {
                    vec![(About::Account, alert.subject.as_str().to_owned())]
                },
                ..draft
            }),
        }
    }

    fn alert(&self, seq: u64) -> Result<&Alert, No> {
        let alert = self.alerts.get(&seq).ok_or(No::NoAlert)?;
        if alert.synthetic.is_set() {
            return Err(No::Synthetic);
        }
        if self.taken.contains_key(&seq) { Err(No::Taken) } else { Ok(alert) }
    }

    /// Fills in what follows from the rules: the case's number, where it stood and stands, its terms, the act before.
    pub fn prepare(&self, mut act: Act) -> Result<Act, No> {
        let none = Case::default();
        let case = if act.deed == Deed::Open {
            act.case = self.cases.len() as u64 + 1;
            &none
        } else {
            self.case(act.case).ok_or(No::NoCase)?
        };
        let (last, before) = case.last();
        if act.at < last {
            return Err(No::Time);
        }
        for (nth, seq) in act.alerts.iter().enumerate() {
            self.alert(*seq)?;
            if act.alerts[..nth].contains(seq) {
                return Err(No::Taken);
            }
        }
        act.before = before;
        act.from = case.state;
        act.to = step(case.state, act.deed).ok_or(No::State)?;
        let waits = case.state == CaseState::Investigate && case.proposed;
        if matches!(act.deed, Deed::Approve | Deed::Return) && case.state == CaseState::Investigate && !waits {
            return Err(No::State);
        }
        self.terms(case, &mut act);
        Ok(act)
    }

    fn detected(&self, case: &Case, act: &Act) -> Wall {
        let alerts = act.alerts.iter().filter_map(|seq| self.alerts.get(seq)).map(|alert| alert.at);
        let before = (act.deed != Deed::Open).then_some(case.detected);
        alerts.chain(before).min().unwrap_or(act.at)
    }

    fn terms(&self, case: &Case, act: &mut Act) {
        let fallback = Roles::new(Vec::new());
        let roles = self.roles.as_ref().unwrap_or(&fallback);
        let days = if act.suspect { roles.file_days } else { roles.file_days_without_suspect };
        let over = matches!(act.to, CaseState::ClosedNoFile | CaseState::Filed | CaseState::Monitored);
        let ends = matches!(act.deed, Deed::Approve | Deed::File | Deed::Monitor) && over;
        act.deadline = if over { Wall::from_nanos(0) } else { days_after(self.detected(case, act), days) };
        act.retain_until = if ends { days_after(act.at, roles.retain_days) } else { case.retain_until };
        act.follow_up = match (act.deed, &act.filing) {
            (Deed::File, Some(filing)) => days_after(filing.submitted, roles.follow_up_days),
            (Deed::Monitor, _) => days_after(act.at, roles.follow_up_days),
            _ => case.follow_up,
        };
    }

    fn check(&self, act: &Act, person: &Person) -> Result<(), No> {
        // whatever the author could not choose must be what the rules say
        if self.prepare(act.clone())? != *act {
            return Err(No::Overtaken);
        }
        let (none, role) = (Case::default(), person.role);
        let case = self.case(act.case).unwrap_or(&none);
        let allowed = match act.deed {
            Deed::Note | Deed::Hold => true,
            Deed::Approve | Deed::Return => role != Role::Analyst,
            Deed::File | Deed::Release => role == Role::Mlro,
            _ => role != Role::Reviewer,
        };
        if !allowed {
            return Err(No::Role);
        }
        let decides = matches!(act.deed, Deed::Escalate | Deed::NoFile | Deed::Draft);
        if decides && case.analyst != Some(act.actor) {
            return Err(No::NotTheirs);
        }
        if matches!(act.deed, Deed::Approve | Deed::Return) && case.wrote(person) {
            return Err(No::FourEyes);
        }
        let plain = matches!(act.deed, Deed::Note | Deed::Evidence | Deed::Link);
        if act.reason.trim().is_empty() && !plain {
            return Err(No::Reason);
        }
        self.check_content(act, case)
    }

    fn check_content(&self, act: &Act, case: &Case) -> Result<(), No> {
        let brings = [
            (act.assignee.is_some(), act.deed == Deed::Assign),
            (act.filing.is_some(), act.deed == Deed::File),
            (!act.alerts.is_empty(), matches!(act.deed, Deed::Open | Deed::Link)),
            (!act.pieces.is_empty(), act.deed == Deed::Evidence),
        ];
        if brings.iter().any(|(has, may)| *has && !may) {
            return Err(No::Malformed);
        }
        match act.deed {
            Deed::Open if act.alerts.is_empty() && act.about.is_empty() => Err(No::Incomplete),
            Deed::Link if act.alerts.is_empty() => Err(No::NoAlert),
            Deed::Note if act.narrative.is_empty() && act.about.is_empty() && act.typologies.is_empty() => {
                Err(No::Incomplete)
            }
            Deed::Evidence if act.pieces.is_empty() => Err(No::Incomplete),
            Deed::Assign => {
                let named = act.assignee.and_then(|name| self.roles.as_ref()?.person(name));
                let fits = named.is_some_and(|person| person.role != Role::Reviewer);
                if fits { Ok(()) } else { Err(No::Analyst) }
            }
            Deed::Draft => {
                let typology = !case.typologies.is_empty() || !act.typologies.is_empty();
                let subject =
                    case.about.iter().chain(&act.about).any(|(about, _)| matches!(about, About::Account | About::Name));
                let shown = !case.alerts.is_empty() || !case.pieces.is_empty();
                let whole = !act.narrative.is_empty() && typology && subject && shown;
                if whole { Ok(()) } else { Err(No::Incomplete) }
            }
            Deed::File => {
                let fits = |filing: &Filing| case.approved <= filing.submitted && filing.submitted <= act.at;
                if act.filing.as_ref().is_some_and(fits) { Ok(()) } else { Err(No::Filing) }
            }
            Deed::Hold if case.held => Err(No::Hold),
            Deed::Release if !case.held => Err(No::Hold),
            _ => Ok(()),
        }
    }

    // nothing below refuses

    fn perform(&mut self, taken: Taken) {
        let act = &taken.act;
        if act.deed == Deed::Open {
            self.cases.push(Case { id: act.case, ..Case::default() });
        }
        let detected = self.cases.last().map_or(act.at, |_| self.detected(&self.cases[place(act.case)], act));
        let key = self.roles.as_ref().and_then(|roles| roles.person(act.actor)).map(|person| person.key.to_bytes());
        for seq in &act.alerts {
            self.taken.insert(*seq, act.case);
        }
        let case = &mut self.cases[place(act.case)];
        (case.state, case.detected) = (act.to, detected);
        (case.deadline, case.follow_up, case.retain_until) = (act.deadline, act.follow_up, act.retain_until);
        (case.score, case.suspect) = (act.score, act.suspect);
        case.alerts.extend(&act.alerts);
        case.pieces.extend(act.pieces.iter().cloned());
        case.about.extend(act.about.iter().cloned());
        for rule in &act.typologies {
            if !case.typologies.contains(rule) {
                case.typologies.push(*rule);
            }
        }
        match act.deed {
            Deed::Assign => case.analyst = act.assignee,
            Deed::Draft => case.narrative.clone_from(&act.narrative),
            Deed::File => case.filing.clone_from(&act.filing),
            Deed::Hold => case.held = true,
            Deed::Release => case.held = false,
            Deed::Approve => (case.reviewer, case.approved) = (Some(act.actor), act.at),
            Deed::Return => case.reviewer = None,
            _ => {}
        }
        case.proposed = match act.deed {
            Deed::NoFile => true,
            Deed::Note | Deed::Hold | Deed::Release => case.proposed,
            _ => false,
        };
        let authors = matches!(act.deed, Deed::Evidence | Deed::Escalate | Deed::NoFile | Deed::Draft);
        if let Some(key) = key.filter(|_| authors) {
            case.authors.push((act.actor, key));
        }
        case.acts.push(taken);
    }

    /// Who may do what.
    #[must_use]
    pub const fn roles(&self) -> Option<&Roles> {
        self.roles.as_ref()
    }

    /// Every case.
    #[must_use]
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// One case.
    #[must_use]
    pub fn case(&self, id: u64) -> Option<&Case> {
        self.cases.get(usize::try_from(id.checked_sub(1)?).ok()?)
    }

    /// Every alert, by its place.
    #[must_use]
    pub const fn alerts(&self) -> &BTreeMap<u64, Alert> {
        &self.alerts
    }

    /// The case an alert belongs to.
    #[must_use]
    pub fn case_of(&self, alert: u64) -> Option<u64> {
        self.taken.get(&alert).copied()
    }
}

/// Index of a case that is there.
#[allow(clippy::cast_possible_truncation, reason = "cases are in memory")]
const fn place(id: u64) -> usize {
    id as usize - 1
}

//! R11: what surveillance found, and what people did with it. From the compliance journal alone; for those who hold the role.
//!
//! In: the records of `DATA/compliance`: alerts, steps of cases. Out: counts by rule, whether each rule was tried, and the
//! cases with their age. Never: a name, an address, a narrative: who must know those opens the case.

use super::cell::{Cell, Column, Sort, Table, col, ratio, steps, word};
use super::sheet::{Sheet, Spec};
use super::world::{DAY, Phase, Range};
use anyhow::Result;
use keel_core::event::{Alert, CaseAct, CaseState, Deed, Gravity, Kind, Rule, read};
use keel_core::ids::Seq;
use keel_core::units::Wall;
use keel_journal::Reader;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const RULES: [Column; 18] = [
    col("rule_code", Sort::Int, "#", "Stable code of the rule"),
    col("rule", Sort::Text, "", "Name of the rule"),
    col("version", Sort::Int, "#", "Version of the rule behind its last alert"),
    col("tested", Sort::Flag, "", "A test alert of it came through in the range: it was looking"),
    col("last_test", Sort::Time, "", "The last test alert up to the end of the range"),
    col("test_alerts", Sort::Int, "", "Test alerts in the range"),
    col("alerts", Sort::Int, "", "Alerts in the range, tests left out"),
    col("review", Sort::Int, "", "Of them: look at it"),
    col("case", Sort::Int, "", "Of them: open a case"),
    col("block", Sort::Int, "", "Of them: open a case, and stop"),
    col("amount_usd", Sort::Decimal, "USD", "What moved, together"),
    col("alerts_ever", Sort::Int, "", "Alerts since the journal began, up to the end of the range"),
    col("in_cases", Sort::Int, "", "Of them in a case"),
    col("closed_no_file", Sort::Int, "", "Of them in a case closed with nothing to report"),
    col("filed", Sort::Int, "", "Of them in a case that was filed"),
    col("undisposed", Sort::Int, "", "Of them in no case, or in one still open"),
    col("oldest_undisposed_days", Sort::Decimal, "days", "Age of the oldest of those when the range ended"),
    col("first_alert", Sort::Time, "", "The first alert of it"),
];

const CASES: [Column; 16] = [
    col("case", Sort::Int, "#", "Number of the case"),
    col("opened", Sort::Time, "", "When it was opened"),
    col("state", Sort::Text, "", "Where it stood when the range ended"),
    col("disposition", Sort::Text, "", "open, closed without a report, filed"),
    col("age_days", Sort::Decimal, "days", "From its opening to its end, or to the end of the range"),
    col("since_last_step_days", Sort::Decimal, "days", "From its last step to the end of the range"),
    col("score", Sort::Int, "", "How bad it looks, 0 to 100"),
    col("alerts", Sort::Int, "", "Alerts in it"),
    col("rules", Sort::Text, "", "Their rules"),
    col("steps", Sort::Int, "", "Steps so far"),
    col("steps_in_range", Sort::Int, "", "Steps in the range"),
    col("people", Sort::Int, "", "People who took a step"),
    col("deadline", Sort::Time, "", "By when a report must be filed"),
    col("overdue", Sort::Flag, "", "It passed before the range ended and nothing was filed"),
    col("retain_until", Sort::Time, "", "Until when all of it is kept"),
    col("held", Sort::Flag, "", "Under a hold: nothing of it may be deleted"),
];

pub(super) const SPEC: Spec = Spec {
    code: "r11",
    name: "surveillance",
    title: "Transaction monitoring and surveillance",
    about: "Alerts by rule, whether each rule was tried, what became of the alerts, and the cases with their age. From the \
            compliance journal.",
    schema: 1,
    restricted: true,
    tables: &[
        Table { name: "rules", title: "Rules", columns: &RULES },
        Table { name: "cases", title: "Cases", columns: &CASES },
    ],
};

/// Alerts remembered, to follow them into cases.
const MAX_ALERTS: usize = 500_000;
/// Cases remembered.
const MAX_CASES: usize = 100_000;

#[derive(Clone, Debug, Default)]
struct Rules {
    version: u16,
    tests: u64,
    last_test: Wall,
    alerts: u64,
    by_gravity: [u64; 3],
    amount: i128,
    ever: u64,
    first: Wall,
}

#[derive(Clone, Debug, Default)]
struct Case {
    opened: Wall,
    last: Wall,
    state: CaseState,
    filed: bool,
    score: u8,
    alerts: BTreeSet<Seq>,
    steps: u64,
    within: u64,
    people: BTreeSet<String>,
    deadline: Wall,
    retain: Wall,
    held: bool,
}

#[derive(Debug, Default)]
struct Found {
    rules: BTreeMap<u16, Rules>,
    alerts: BTreeMap<Seq, (Rule, Wall)>,
    cases: BTreeMap<u64, Case>,
    records: u64,
    reached: bool,
}

/// Reads a compliance journal into its sheet.
pub(super) fn report(dir: &Path, range: Range, out: &mut Sheet) -> Result<()> {
    let mut found = Found::default();
    let mut reader = match Reader::open(dir) {
        Ok(reader) => reader,
        Err(why) => {
            out.incomplete(format!("the compliance journal cannot be read: {why}"));
            return Ok(());
        }
    };
    loop {
        match reader.poll() {
            Ok(Some(entry)) if range.phase(entry.wall) == Phase::After => {
                found.reached = true;
                break;
            }
            Ok(Some(entry)) => {
                let (seq, wall, kind) = (entry.seq, entry.wall, entry.kind);
                found.take(seq, wall, kind, entry.payload, range, out);
            }
            Ok(None) => break,
            Err(damage) => {
                out.incomplete(format!("the compliance journal is damaged: {damage}"));
                break;
            }
        }
    }
    found.told(range, out)
}

impl Found {
    fn take(&mut self, seq: Seq, wall: Wall, kind: Option<Kind>, bytes: &[u8], range: Range, out: &mut Sheet) {
        self.records += 1;
        let within = range.phase(wall) == Phase::Within;
        match kind {
            Some(Kind::Alert) => match read::<Alert>(bytes) {
                Some(alert) => self.alert(seq, wall, &alert, within, out),
                None => out.incomplete(format!("record {} of the compliance journal cannot be read", seq.0)),
            },
            Some(Kind::CaseAct) => match read::<CaseAct>(bytes) {
                Some(act) => self.act(wall, &act, within, out),
                None => out.incomplete(format!("record {} of the compliance journal cannot be read", seq.0)),
            },
            _ => {}
        }
    }

    fn alert(&mut self, seq: Seq, wall: Wall, alert: &Alert, within: bool, out: &mut Sheet) {
        let rule = self.rules.entry(alert.rule as u16).or_default();
        rule.version = alert.version;
        if alert.synthetic.is_set() {
            rule.tests += u64::from(within);
            rule.last_test = wall;
            return;
        }
        rule.ever += 1;
        rule.first = if rule.ever == 1 { wall } else { rule.first };
        if within {
            rule.alerts += 1;
            rule.amount += i128::from(alert.amount.raw());
            rule.by_gravity[match alert.gravity {
                Gravity::Review => 0,
                Gravity::Case => 1,
                Gravity::Block => 2,
            }] += 1;
        }
        if self.alerts.len() < MAX_ALERTS {
            self.alerts.insert(seq, (alert.rule, wall));
        } else {
            out.incomplete(format!("more than {MAX_ALERTS} alerts: what became of the rest is not told"));
        }
    }

    fn act(&mut self, wall: Wall, act: &CaseAct, within: bool, out: &mut Sheet) {
        if self.cases.len() >= MAX_CASES && !self.cases.contains_key(&act.case) {
            return out.incomplete(format!("more than {MAX_CASES} cases: the rest is not told"));
        }
        let case = self.cases.entry(act.case).or_insert_with(|| Case { opened: wall, ..Case::default() });
        (case.last, case.state, case.score) = (wall, act.to, act.score);
        (case.deadline, case.retain) = (act.deadline, act.retain_until);
        case.filed |= act.to == CaseState::Filed;
        case.held = match act.deed {
            Deed::Hold => true,
            Deed::Release => false,
            _ => case.held,
        };
        case.steps += 1;
        case.within += u64::from(within);
        case.people.insert(act.actor.as_str().to_owned());
        case.alerts.extend(act.alerts.into_iter().filter(|seq| *seq != Seq::NONE));
    }

    fn told(&self, range: Range, out: &mut Sheet) -> Result<()> {
        if self.records == 0 {
            out.incomplete("the compliance journal holds no records up to the end of the range");
        }
        if !self.reached {
            out.note("The compliance journal ends before the range does, or at its end: what came later is not in it.");
        }
        // what became of each alert
        let mut disposition: BTreeMap<Seq, &'static str> = BTreeMap::new();
        for case in self.cases.values() {
            for alert in &case.alerts {
                disposition.insert(*alert, end_of(case));
            }
        }
        let codes = (1..=12)
            .chain(101..=111)
            .filter_map(|code: u16| read::<Rule>(&code.to_le_bytes()).map(|rule| (code, rule)));
        for (code, rule) in codes {
            self.rule(code, rule, &disposition, range, out)?;
        }
        self.cases(range, out)?;
        let open = self.cases.values().filter(|case| end_of(case) == "open").count();
        let overdue = self.cases.values().filter(|case| is_overdue(case, range)).count();
        out.figure("Alerts in the range", self.rules.values().map(|rule| rule.alerts).sum::<u64>(), "");
        out.figure("Cases open", open, "");
        out.figure("Cases overdue", overdue, "");
        out.figure("Filed since ever", self.cases.values().filter(|case| case.filed).count(), "");
        Ok(())
    }

    fn rule(
        &self,
        code: u16,
        rule: Rule,
        disposition: &BTreeMap<Seq, &'static str>,
        range: Range,
        out: &mut Sheet,
    ) -> Result<()> {
        let of = self.rules.get(&code).cloned().unwrap_or_default();
        let mine = self.alerts.iter().filter(|(_, (have, _))| *have == rule);
        let (mut cased, mut closed, mut filed, mut open, mut oldest) = (0u64, 0u64, 0u64, 0u64, None::<Wall>);
        for (seq, (_, wall)) in mine {
            let end = disposition.get(seq).copied();
            cased += u64::from(end.is_some());
            match end {
                Some("closed without a report") => closed += 1,
                Some("filed") => filed += 1,
                _ => {
                    open += 1;
                    oldest = Some(oldest.map_or(*wall, |oldest| oldest.min(*wall)));
                }
            }
        }
        if of.tests == 0 {
            out.incomplete(format!(
                "rule {code} {rule:?}: no test alert came through in the range, nothing shows that it was looking"
            ));
        }
        let [review, case, block] = of.by_gravity;
        out.row(
            0,
            vec![
                code.into(),
                word(rule),
                Some(of.version).filter(|version| *version != 0).into(),
                (of.tests > 0).into(),
                of.last_test.into(),
                of.tests.into(),
                of.alerts.into(),
                review.into(),
                case.into(),
                block.into(),
                steps(of.amount),
                of.ever.into(),
                cased.into(),
                closed.into(),
                filed.into(),
                open.into(),
                days(oldest.map(|oldest| range.to.since(oldest))),
                of.first.into(),
            ],
        )
    }

    fn cases(&self, range: Range, out: &mut Sheet) -> Result<()> {
        for (number, case) in &self.cases {
            let end = end_of(case);
            let until = if end == "open" { range.to } else { case.last };
            let rules: BTreeSet<String> = case
                .alerts
                .iter()
                .filter_map(|seq| self.alerts.get(seq))
                .map(|(rule, _)| format!("{rule:?}"))
                .collect();
            out.row(
                1,
                vec![
                    (*number).into(),
                    case.opened.into(),
                    word(case.state),
                    end.into(),
                    days(Some(until.since(case.opened))),
                    days(Some(range.to.since(case.last))),
                    u64::from(case.score).into(),
                    case.alerts.len().into(),
                    rules.into_iter().collect::<Vec<_>>().join(" ").into(),
                    case.steps.into(),
                    case.within.into(),
                    case.people.len().into(),
                    case.deadline.into(),
                    is_overdue(case, range).into(),
                    case.retain.into(),
                    case.held.into(),
                ],
            )?;
        }
        Ok(())
    }
}

fn end_of(case: &Case) -> &'static str {
    match case.state {
        CaseState::ClosedNoFile => "closed without a report",
        CaseState::Filed | CaseState::Monitored => "filed",
        _ => "open",
    }
}

fn is_overdue(case: &Case, range: Range) -> bool {
    case.deadline.nanos() != 0 && case.deadline < range.to && !case.filed && end_of(case) == "open"
}

fn days(nanos: Option<u64>) -> Cell {
    steps(nanos.and_then(|nanos| ratio(nanos.into(), DAY.into())))
}

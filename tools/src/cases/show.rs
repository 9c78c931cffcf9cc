//! Cases on a screen and as JSON.
//!
//! In: the ledger. Out: the same text for the same journal. Never: a log line.

use super::desk::Desk;
use super::is_over;
use crate::fact::hex;
use crate::moment::utc;
use anyhow::{Context, Result};
use keel_core::event::{Alert, CaseState, Gravity};
use keel_core::units::Wall;
use keel_risk::cases::act::{DEEDS, STATES, word};
use keel_risk::cases::ledger::Taken;
use keel_risk::cases::roles::ROLES;
use keel_risk::cases::{About, Case, Ledger, Piece};
use serde_json::{Value, json};
use std::io::Write;

/// The word for a state.
pub(super) fn state(state: CaseState) -> &'static str {
    word(&STATES, state)
}

fn time(wall: Wall) -> Value {
    if wall.nanos() == 0 { Value::Null } else { json!(utc(wall)) }
}

pub(super) fn roles(desk: &Desk) -> Result<()> {
    let roles = desk.ledger.roles().context("nobody has a role yet")?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "version {}", roles.version)?;
    writeln!(
        out,
        "to file {} days, without a suspect {}; look again after {}; keep {}",
        roles.file_days, roles.file_days_without_suspect, roles.follow_up_days, roles.retain_days
    )?;
    for person in &roles.people {
        writeln!(out, "{:<9} {} {}", word(&ROLES, person.role), person.name, hex(person.key.as_bytes()))?;
    }
    Ok(())
}

pub(super) fn list(desk: &Desk, only: Option<CaseState>, as_json: bool, now: Wall) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for case in desk.ledger.cases().iter().filter(|case| only.is_none_or(|state| case.state == state)) {
        let due = due(case, now);
        if as_json {
            let line = json!({ "case": case.id, "state": state(case.state), "score": case.score, "alerts": case.alerts.len(),
                "analyst": name(case.analyst), "deadline": time(case.deadline), "follow_up": time(case.follow_up),
                "held": case.held, "due": due });
            writeln!(out, "{line}")?;
        } else {
            let analyst = case.analyst.map_or_else(|| "-".to_owned(), |name| name.to_string());
            let (held, word) = (if case.held { " held" } else { "" }, state(case.state));
            writeln!(out, "{:>5} {word:<13} {:>3} {analyst:<12} {due}{held}", case.id, case.score)?;
        }
    }
    let waiting = desk.ledger.untaken().len();
    if waiting > 0 && !as_json {
        writeln!(out, "{waiting} alerts ask for a case: keel cases triage")?;
    }
    Ok(())
}

fn name(name: Option<keel_risk::consent::Name>) -> Value {
    name.map_or(Value::Null, |name| json!(name.as_str()))
}

/// What is due next, and whether it is late.
fn due(case: &Case, now: Wall) -> String {
    let (what, at) = if is_over(case.state) { ("look again by", case.follow_up) } else { ("file by", case.deadline) };
    if at.nanos() == 0 {
        return String::new();
    }
    format!("{what} {}{}", utc(at), if at < now { ", LATE" } else { "" })
}

pub(super) fn case(desk: &Desk, id: u64, as_json: bool) -> Result<()> {
    let case = desk.ledger.case(id).with_context(|| format!("there is no case {id}"))?;
    let mut out = std::io::stdout().lock();
    if as_json {
        writeln!(out, "{}", serde_json::to_string_pretty(&as_value(&desk.ledger, case))?)?;
    } else {
        write!(out, "{}", markdown(&desk.ledger, case))?;
    }
    Ok(())
}

/// Values of one kind, in the order they were put down.
pub(super) fn of(case: &Case, what: About) -> Vec<&str> {
    case.about.iter().filter(|(about, _)| *about == what).map(|(_, value)| value.as_str()).collect()
}

/// The whole case.
pub(super) fn as_value(ledger: &Ledger, case: &Case) -> Value {
    let alerts: Vec<Value> = case.alerts.iter().filter_map(|seq| alert(ledger, *seq)).collect();
    let known = |what| of(case, what);
    let filing = case.filing.as_ref().map(|filing| {
        json!({ "authority": filing.authority, "reference": filing.reference, "submitted_at": time(filing.submitted) })
    });
    let from = case.alerts.iter().filter_map(|seq| ledger.alerts().get(seq));
    let window = from.clone().map(|alert| (alert.at.nanos().saturating_sub(alert.window), alert.at.nanos()));
    let (since, until) = window.fold((u64::MAX, 0), |(since, until), (from, to)| (since.min(from), until.max(to)));
    let usd = from.map(|alert| i128::from(alert.amount.raw())).sum::<i128>();
    let decisions = case.acts.iter().filter(|taken| !taken.act.reason.is_empty());
    json!({
        "case_id": case.id,
        "state": state(case.state),
        "confidentiality": "members of the compliance roles only; telling the subject is forbidden",
        "opened_at": case.acts.first().map_or(Value::Null, |taken| time(taken.act.at)),
        "detected_at": time(case.detected),
        "subject": { "account": known(About::Account), "legal_name": known(About::Name), "kyc_ref": known(About::Kyc),
            "id_document_ref": known(About::Document), "addresses": known(About::Address), "uids": known(About::Uid),
            "ips": known(About::Ip) },
        "linked_parties": known(About::Linked),
        "activity": { "since": if until > 0 { time(Wall::from_nanos(since)) } else { Value::Null },
            "until": time(Wall::from_nanos(until)), "stated_since": known(About::Since), "stated_until": known(About::Until) },
        "instruments": known(About::Instrument),
        "amounts": known(About::Amount),
        "amount_usd_of_alerts": i64::try_from(usd).map_or_else(|_| usd.to_string(), |raw| {
            keel_core::units::DecimalText::new().write(raw).to_owned()
        }),
        "transactions": known(About::Tx),
        "algorithms": known(About::Algorithm),
        "earlier_reports": known(About::Earlier),
        "typologies": case.typologies.iter().map(|rule| format!("{rule:?}")).collect::<Vec<_>>(),
        "risk_score": case.score,
        "suspect_known": case.suspect,
        "narrative": case.narrative,
        "analyst": name(case.analyst),
        "reviewer": name(case.reviewer),
        "no_file_proposed": case.proposed,
        "deadline": time(case.deadline),
        "filing": filing,
        "follow_up_at": time(case.follow_up),
        "retention_until": time(case.retain_until),
        "legal_hold": case.held,
        "alerts": alerts,
        "evidence": case.pieces.iter().map(piece).collect::<Vec<_>>(),
        "decisions": decisions.map(|taken| json!({ "at": time(taken.act.at), "by": taken.act.actor.as_str(),
            "deed": word(&DEEDS, taken.act.deed), "reason": taken.act.reason })).collect::<Vec<_>>(),
        "acts": case.acts.iter().map(act).collect::<Vec<_>>(),
    })
}

fn piece(piece: &Piece) -> Value {
    match piece {
        Piece::Record { leaf, seq, kind } => json!({ "record": seq, "kind": kind, "leaf_sha256": hex(leaf) }),
        Piece::File { sha256, bytes, name } => json!({ "file": name, "bytes": bytes, "sha256": hex(sha256) }),
    }
}

fn act(taken: &Taken) -> Value {
    let act = &taken.act;
    json!({
        "seq": taken.seq, "at": time(act.at), "actor": act.actor.as_str(), "deed": word(&DEEDS, act.deed),
        "from": state(act.from), "to": state(act.to), "words_sha256": hex(&taken.words),
        "signature": taken.signed.map_or(Value::Null, |signed| json!(hex(&signed.signature))),
        "words": String::from_utf8_lossy(&act.message()),
    })
}

/// An alert with every field of it.
pub(super) fn alert(ledger: &Ledger, seq: u64) -> Option<Value> {
    let alert: &Alert = ledger.alerts().get(&seq)?;
    let gravity = match alert.gravity {
        Gravity::Review => "review",
        Gravity::Case => "case",
        Gravity::Block => "block",
    };
    let decimal = |raw: i64| keel_core::units::DecimalText::new().write(raw).to_owned();
    let evidence: Vec<u64> = alert.evidence.iter().map(|seq| seq.0).filter(|seq| *seq > 0).collect();
    Some(json!({
        "alert_id": seq, "rule": format!("{:?}", alert.rule), "rule_version": alert.version, "gravity": gravity,
        "at": time(alert.at), "window_ns": alert.window, "measured": alert.measured, "limit": alert.limit,
        "amount_usd": decimal(alert.amount.raw()), "records": alert.count, "evidence": evidence,
        "parameters_sha256": hex(&alert.parameters), "list": alert.list.as_str(), "list_sha256": hex(&alert.list_digest),
        "subject": alert.subject.as_str(), "key": alert.key.as_str(), "instrument": alert.instrument.0,
    }))
}

/// The case as a page.
pub(super) fn markdown(ledger: &Ledger, case: &Case) -> String {
    let mut page =
        format!("# Case {}: {}\n\nConfidential. Telling the subject is forbidden.\n\n", case.id, state(case.state));
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            page += &format!("- {name}: {value}\n");
        }
    };
    let moment = |wall: Wall| if wall.nanos() == 0 { String::new() } else { utc(wall) };
    let person = |name: Option<keel_risk::consent::Name>| name.map(|name| name.to_string()).unwrap_or_default();
    row("detected", moment(case.detected));
    for (about, word) in About::ALL {
        row(word, of(case, about).join("; "));
    }
    row("typologies", case.typologies.iter().map(|rule| format!("{rule:?}")).collect::<Vec<_>>().join(", "));
    row("risk score", case.score.to_string());
    row("suspect", if case.suspect { "known" } else { "not known" }.to_owned());
    row("analyst", person(case.analyst));
    row("reviewer", person(case.reviewer));
    row("file by", moment(case.deadline));
    if let Some(filing) = &case.filing {
        row("filed", format!("{} {}, {}", filing.authority, filing.reference, utc(filing.submitted)));
    }
    row("look again by", moment(case.follow_up));
    row("keep until", moment(case.retain_until));
    row("legal hold", if case.held { "yes" } else { "no" }.to_owned());
    if !case.narrative.is_empty() {
        page += &format!("\n## Narrative\n\n{}\n", case.narrative);
    }
    page += "\n## Alerts\n\n";
    for seq in &case.alerts {
        if let Some(alert) = ledger.alerts().get(seq) {
            page += &format!(
                "- {seq}: {:?} version {}, {}, measured {} of {}, {} records, USD {}\n",
                alert.rule,
                alert.version,
                utc(alert.at),
                alert.measured,
                alert.limit,
                alert.count,
                alert.amount
            );
        }
    }
    page += "\n## Evidence\n\n";
    for piece in &case.pieces {
        page += &match piece {
            Piece::Record { leaf, seq, kind } => format!("- record {seq}, {kind}, leaf {}\n", hex(leaf)),
            Piece::File { sha256, bytes, name } => format!("- file {name}, {bytes} bytes, SHA-256 {}\n", hex(sha256)),
        };
    }
    page += "\n## Steps\n\n";
    for Taken { seq, act, .. } in &case.acts {
        let (deed, from, to) = (word(&DEEDS, act.deed), state(act.from), state(act.to));
        page += &format!("- {seq}, {}: {} {deed}, {from} to {to}", utc(act.at), act.actor);
        page += &if act.reason.is_empty() { "\n".to_owned() } else { format!(": {}\n", act.reason) };
        for line in act.narrative.lines() {
            page += &format!("  > {line}\n");
        }
    }
    page
}

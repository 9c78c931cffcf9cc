//! May this account go live? Asked of the venue before anything starts.
//!
//! In: a policy, someone who asks. Out: every reason not to go live, each with its remedy; whether the venue itself will
//! cancel everything when we fall silent. Never: a question that was not answered taken for a good answer.

use super::clock::system_wall;
use super::inquiry::Inquiry;
use anyhow::{Result, bail};
use keel_core::ids::Symbol;
use keel_gateway::account::{Answers, Finding, Policy, account_checks};
use keel_gateway::rest::{Answer, Call};

/// Every reason not to go live.
#[must_use]
pub fn findings(inquiry: &Inquiry<'_>, policy: &Policy, symbols: &[Symbol]) -> Vec<Finding> {
    let mut answers = Answers::default();
    if let Ok(Answer::Key(key)) = inquiry.ask(&Call::KeyInfo) {
        answers.key = Some(key);
    }
    if let Ok(Answer::Account(account)) = inquiry.ask(&Call::AccountInfo) {
        answers.account = Some(account);
    }
    if let Ok(Answer::Reprices(reprices)) = inquiry.ask(&Call::Settings) {
        answers.reprices = Some(reprices);
    }
    answers.hedged = hedged(inquiry, symbols);
    answers.clock_ms = clock(inquiry);
    account_checks(policy, &answers)
}

/// Any of the instruments in hedge mode? `None` as soon as one could not be asked.
fn hedged(inquiry: &Inquiry<'_>, symbols: &[Symbol]) -> Option<bool> {
    let mut any = false;
    for symbol in symbols {
        match inquiry.ask(&Call::PositionMode { symbol: *symbol }) {
            Ok(Answer::Hedged(hedged)) => any |= hedged,
            _ => return None,
        }
    }
    Some(any)
}

/// Our clock less the venue's, milliseconds; the answer is as old as half the way there and back.
fn clock(inquiry: &Inquiry<'_>) -> Option<i64> {
    let before = system_wall();
    let Ok(Answer::Time(venue)) = inquiry.ask(&Call::Time) else { return None };
    let after = system_wall();
    let middle = before.after(after.since(before) / 2);
    let [ahead, behind] = [middle.since(venue), venue.since(middle)].map(|nanos| i64::try_from(nanos / 1_000_000));
    Some(ahead.unwrap_or(i64::MAX).saturating_sub(behind.unwrap_or(i64::MAX)))
}

/// One sentence a finding, or nothing to say.
pub fn require(findings: &[Finding]) -> Result<()> {
    if findings.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = findings.iter().map(|finding| format!("\n  {}: {finding}", finding.name())).collect();
    bail!("this account may not go live:{}", list.concat())
}

/// Asks the venue to cancel everything when every private connection has been dead for `seconds`. `true` when it will.
#[must_use]
pub fn arm_disconnect(inquiry: &Inquiry<'_>, seconds: u16) -> bool {
    match inquiry.ask(&Call::ArmDisconnect { seconds }) {
        Ok(_) => true,
        Err(why) => {
            tracing::warn!("the venue does not cancel on disconnect for this account ({why:#}): run `keel deadman`");
            false
        }
    }
}

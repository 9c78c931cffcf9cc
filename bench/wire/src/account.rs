//! What became of every order the rule asked for, by the journal: sent, or why not. And what the brake was moved by.

use anyhow::{Result, anyhow};
use keel_core::event::{Kind, NotSized, Sent, SentOutcome, read};
use keel_journal::Reader;
use keel_risk::decision::Decision;
use keel_risk::notice::Trip;
use std::collections::BTreeMap;
use std::path::Path;

/// How many wishes ended in which way. `approved` ones are those that `wire` and the not-sent ones add up to.
pub(crate) fn of(journal: &Path) -> Result<BTreeMap<String, u64>> {
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    let mut count = |end: String| *ends.entry(end).or_insert(0) += 1;
    let mut reader = Reader::open(journal).map_err(|why| anyhow!("the journal of the run: {why}"))?;
    while let Some(entry) = reader.poll().map_err(|why| anyhow!("the journal of the run: {why}"))? {
        match entry.kind {
            Some(Kind::Approved) => count("approved".to_owned()),
            Some(Kind::Refused) => {
                let why = read::<Decision>(entry.payload).map_or("unreadable", |decision| decision.first.name());
                count(format!("refused: {why}"));
            }
            Some(Kind::NotSized) => {
                let why = read::<NotSized>(entry.payload).map(|fact| fact.order.bound);
                count(format!("not sized: {why:?}"));
            }
            Some(Kind::Sent) => match read::<Sent>(entry.payload).map(|sent| sent.outcome) {
                Some(SentOutcome::Wire) => count("wire".to_owned()),
                Some(other) => count(format!("not sent: {other:?}")),
                None => count("not sent: unreadable".to_owned()),
            },
            Some(Kind::Trip) => {
                let why = read::<Trip>(entry.payload).filter(|trip| trip.after > trip.before);
                why.into_iter().for_each(|trip| count(format!("brake: {:?}", trip.reason)));
            }
            _ => {}
        }
    }
    Ok(ends)
}

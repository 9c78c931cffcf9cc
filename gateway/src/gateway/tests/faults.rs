//! Every fault of the simulated venue that touches private data or order entry, and how long it may leave us unsure.
//!
//! `faults.md` beside this file is the table: each row is run against the room, three times in 40 s on two seeds, and must
//! end with our books equal to the venue's within the bound it states. A fault the venue learns and the table does not
//! name fails here.

use super::world::{Weather, weather};

const TABLE: &str = include_str!("faults.md");
const KNOWN: &str = include_str!("../../sim/fault.rs");
/// Faults of market data alone, and the end of all faults.
const ELSEWHERE: [&str; 4] = ["gap", "restart", "crossed", "clear"];

/// Fault, bound in milliseconds; a bound in words is shown elsewhere.
fn rows() -> impl Iterator<Item = (&'static str, Option<u64>)> {
    TABLE.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|');
        let fault = cells.next()?.trim().trim_end_matches('`');
        let bound = cells.next()?.trim().replace(',', "");
        Some((fault, bound.parse().ok()))
    })
}

#[test]
fn each_fault_of_the_venue_leaves_our_account_the_venues_within_its_bound() {
    for (fault, bound) in rows() {
        let Some(bound) = bound else { continue };
        let uncertain = weather(fault, Weather { fault, ..Weather::default() });
        assert!(uncertain <= bound, "{fault}: nobody knew the account for {uncertain} ms, {bound} is the bound");
    }
}

#[test]
fn the_table_names_every_fault_the_venue_can_have() {
    let verbs = KNOWN.lines().filter_map(|line| line.strip_prefix("//! | `")).filter(|line| !line.starts_with("line"));
    let words = verbs.flat_map(|line| line.split(" | ").next().unwrap_or("").split("`, `"));
    let verbs: Vec<&str> = words.filter_map(|word| word.trim_matches('`').split_whitespace().next()).collect();
    assert!(verbs.len() > 12, "the list in sim/fault.rs was read: {verbs:?}");
    for verb in verbs.into_iter().map(|verb| verb.trim_end_matches('`')).filter(|verb| !ELSEWHERE.contains(verb)) {
        let named = rows().any(|(fault, _)| fault.split(' ').next() == Some(verb));
        assert!(named, "{verb} has no row in faults.md: give it one, with its bound");
    }
}

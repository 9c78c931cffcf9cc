//! The table of public incidents: every scenario it names must be a test, in the file it names.

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn every_public_incident_has_a_scenario_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let table = std::fs::read_to_string(root.join("tests/cases/incidents.md")).unwrap();
    let mut numbers = BTreeSet::new();
    for line in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [number, _, scenario, file] = cells[..] else { panic!("four cells: {line}") };
        let (scenario, file) = (scenario.trim_matches('`'), file.trim_end_matches(" |"));
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|why| panic!("{file}: {why}"));
        let head = text.find(&format!("fn {scenario}("));
        let head = head.unwrap_or_else(|| panic!("{file} holds no test {scenario}; correct the table or write it"));
        let before: Vec<&str> = text[..head].lines().rev().take(4).collect();
        let attribute = before.iter().any(|line| line.trim() == "#[test]");
        assert!(attribute, "{scenario} in {file} is not a test");
        numbers.insert(number.parse::<u32>().unwrap());
    }
    assert_eq!(numbers, (1..=23).collect(), "every incident has a row");
}

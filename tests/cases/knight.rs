//! The table of what brakes have failed by: every row has its test, and the test is there.

use std::path::Path;

const TABLE: &str = include_str!("../../risk/src/knight.md");
/// Eight lessons of Knight, the failure modes of brakes, the bad input.
const ROWS: usize = 40;

#[test]
fn every_case_in_the_table_has_a_test_that_is_a_sentence() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let rows = TABLE.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| case"));
    let mut count = 0;
    for row in rows {
        count += 1;
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{row}");
        let (file, test) = cells[2].split_once(' ').unwrap_or_else(|| panic!("no test in {row}"));
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|why| panic!("{file}: {why}"));
        assert!(test.matches('_').count() >= 3, "{test} is no sentence");
        // a test, and not one that is left out
        let head = text.split(&format!("fn {test}(")).next().filter(|head| head.len() < text.len());
        let head = head.unwrap_or_else(|| panic!("{file} has no {test}, which {:?} is said to be held by", cells[0]));
        let attributes = head.rsplit("\n\n").next().unwrap_or_default();
        assert!(attributes.contains("#[test]") && !attributes.contains("#[ig\u{6e}ore"), "{file} {test} is not run");
    }
    assert!(count >= ROWS, "{count} rows: a case was taken out of the table");
}

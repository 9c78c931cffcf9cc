//! Who may know whom. The README's diagram, in a form that fails when it drifts.

use cargo_metadata::{DependencyKind, MetadataCommand};
use std::collections::{BTreeMap, BTreeSet};

/// Each package and the packages of this workspace it may depend on outside its tests.
const TABLE: [(&str, &[&str]); 9] = [
    ("keel-core", &[]),
    ("keel-feed", &["keel-core"]),
    ("keel-risk", &["keel-core"]),
    ("keel-journal", &["keel-core"]),
    ("keel-gateway", &["keel-core", "keel-journal", "keel-risk"]),
    ("keel-tools", &["keel-core", "keel-feed", "keel-gateway", "keel-journal", "keel-risk"]),
    ("keel-wire", &["keel-core", "keel-feed", "keel-gateway", "keel-journal", "keel-risk", "keel-tools"]),
    ("keel-count", &["keel-core", "keel-feed", "keel-gateway", "keel-journal", "keel-risk", "keel-wire"]),
    ("keel-tests", &["keel-core", "keel-feed", "keel-gateway", "keel-journal", "keel-risk", "keel-tools"]),
];

#[test]
fn rooms_know_only_whom_they_may() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let table: BTreeMap<&str, BTreeSet<&str>> = TABLE.iter().map(|(n, d)| (*n, d.iter().copied().collect())).collect();
    for package in &metadata.packages {
        let name = package.name.as_str();
        let allowed = table.get(name).unwrap_or_else(|| panic!("{name} is not in the table: give it a row"));
        for dependency in &package.dependencies {
            if dependency.kind == DependencyKind::Normal && dependency.name.starts_with("keel-") {
                assert!(
                    allowed.contains(dependency.name.as_str()),
                    "{name} must not know {}: facts walk forward, from lower rooms to higher ones",
                    dependency.name
                );
            }
        }
    }
}

#[test]
fn every_outside_version_stands_once_at_the_root() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    for package in &metadata.packages {
        let manifest = std::fs::read_to_string(&package.manifest_path).unwrap();
        let own: Vec<&str> = manifest
            .lines()
            .skip_while(|line| !line.contains("dependencies]"))
            .filter(|line| line.contains(" = ") && line.contains("version"))
            .collect();
        assert!(
            own.is_empty(),
            "{}: write `NAME.workspace = true`, and the version at the root: {own:?}",
            package.name
        );
    }
}

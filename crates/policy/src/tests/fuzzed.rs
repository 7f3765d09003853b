//! What `make fuzz` compiles is what quell compiles: dependencies in the same versions.

use std::collections::{BTreeMap, BTreeSet};

fn text(path: &str) -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(root.join("../..").join(path)).unwrap()
}

/// The versions of each package.
fn locked(lock: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut locked: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap().trim_matches(['"', ' ', '=']).to_owned()
        };
        locked
            .entry(value("name"))
            .or_default()
            .insert(value("version"));
    }
    locked
}

#[test]
fn the_fuzzed_code_has_the_same_versions() {
    let here = locked(&text("Cargo.lock"));
    assert!(here.len() > 100);
    let mut other = Vec::new();
    for (name, versions) in locked(&text("fuzz/Cargo.lock")) {
        if let Some(known) = here.get(&name)
            && !versions.is_subset(known)
        {
            other.push(format!("{name} {versions:?} instead of {known:?}"));
        }
    }
    let remedy = "copy Cargo.lock to fuzz/ and run there: cargo update --workspace --offline";
    assert!(other.is_empty(), "{remedy}\n{}", other.join("\n"));
}

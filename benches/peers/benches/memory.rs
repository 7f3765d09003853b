//! The memory of quell's policies.

use quell_peers::loaded::{Counting, loaded, write};
use quell_peers::mix::rules;
use quell_peers::ours::policies;
use quell_policy::{PolicySet, StoredPolicy};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let mut all = Vec::new();
    for (name, tenants, each) in [
        ("one tenant", 1, 10_000),
        ("one tenant", 1, 100_000),
        ("200 tenants", 200, 500),
    ] {
        let policies = policies(&rules(each), tenants);
        // From rows, as a snapshot of checked policies shares texts with them. The rows are made
        // and dropped in between.
        all.push(loaded(name, policies.len(), || {
            let rows: Vec<_> = policies.iter().map(StoredPolicy::first_revision).collect();
            PolicySet::from_stored(rows).unwrap()
        }));
    }
    write("memory", &all);
}

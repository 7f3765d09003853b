//! The memory of the same rules in the other engines, and how long it takes to load them.

use quell_peers::loaded::{Counting, loaded, write};
use quell_peers::mix::rules;
use quell_peers::ours::{TENANT, policy};
use quell_peers::peer::{Casbin, Cedar, Cel, Form, Machine, Regorus, ranked};
use quell_policy::{PolicySet, StoredPolicy};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let mut all = Vec::new();
    let rules = rules(10_000);
    let ranked = ranked(&rules);
    let rows: Vec<_> = rules
        .iter()
        .map(|rule| StoredPolicy::first_revision(&policy(rule, TENANT)))
        .collect();
    all.push(loaded("quell", rules.len(), || {
        PolicySet::from_stored(rows.clone()).unwrap()
    }));
    all.push(loaded("cel", ranked.len(), || Cel::load(&ranked)));
    all.push(loaded("cedar-policy", ranked.len(), || {
        Cedar::load(&ranked)
    }));
    all.push(loaded("casbin", ranked.len(), || Casbin::load(&ranked)));
    for (name, form, machine) in [
        ("regorus_rules", Form::Rules, Machine::Interpreter),
        ("regorus_data_interpreter", Form::Data, Machine::Interpreter),
        ("regorus_data_vm", Form::Data, Machine::Vm),
    ] {
        all.push(loaded(name, ranked.len(), || {
            let mut peer = Regorus::load(&ranked, form, machine);
            peer.warm_up();
            peer
        }));
    }
    write("peers_memory", &all);
}

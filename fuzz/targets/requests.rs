//! Bodies of requests: one policy in JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quell_fuzz::{laws, problems};
use quell_policy::{Document, Owner, Policy, TenantId};

fuzz_target!(|input: &[u8]| {
    let owner = TenantId::new("acme").map(Owner::Tenant).unwrap_or_default();
    let checked = match Policy::from_json(input, &owner) {
        Ok(checked) => checked,
        Err(refused) => return problems::check(&refused),
    };
    checked.warnings.iter().for_each(problems::check_message);
    let policy = checked.value;
    let canonical = policy.to_json();
    let text = canonical.to_string();
    match Policy::from_json(text.as_bytes(), &owner) {
        Ok(again) => assert_eq!(again.value, policy),
        Err(refused) => panic!("the answer cannot be sent back: {refused}\n{text}"),
    }
    // JSON is YAML as well.
    let file = format!("policies: [{text}]");
    match Document::load([("policies.yaml", file.as_str())]) {
        Ok(mut read) => {
            let mut same = read.value.policies.remove(0);
            same.owner.clone_from(&policy.owner);
            // An operator's policy can be overridable, so this one's warnings may differ, but not it.
            assert_eq!(same, policy);
        }
        Err(refused) => panic!("JSON reads, and YAML does not: {refused}\n{file}"),
    }
    laws::check(&[policy], input);
});

//! What is stored becomes a set, or nothing does.

use super::make::{facts, now, owner, short};
use crate::set::UnreadableCause;
use crate::{Policy, PolicyKey, PolicySet, StoredPolicy, Unreadable, decide};

#[test]
fn a_set_is_built_from_what_is_stored() {
    let stored = |policy: &Policy| StoredPolicy {
        key: policy.key(),
        revision: 7,
        document: policy.to_json(),
    };
    let rows: Vec<_> = short(&["mute m", "exempt e", "mute n off"])
        .iter()
        .map(stored)
        .collect();
    let operators = PolicySet::from_stored(rows).unwrap();
    assert_eq!((operators.len(), operators.any_tenant_live()), (2, false));
    let decision = decide(&operators, &facts(), now());
    assert_eq!(decision.enforced.exempted().unwrap().mute.revision, 7);
    assert_eq!(
        decision.enforced.exempted().unwrap().reason.as_deref(),
        Some("a reason")
    );

    for (line, live) in [("mute acme/m off", false), ("mute acme/m dry_run", true)] {
        let rows: Vec<_> = short(&[line]).iter().map(stored).collect();
        let set = PolicySet::from_stored(rows).unwrap();
        assert_eq!(set.any_tenant_live(), live, "{line}");
        assert_eq!(set.is_empty(), !live, "{line}");
    }
}

#[test]
fn a_stored_policy_that_cannot_be_read_is_never_skipped() {
    let good = short(&["mute m"]).remove(0);
    let with = |key: &str, value: serde_json::Value| {
        let mut document = good.to_json();
        document[key] = value;
        StoredPolicy {
            key: PolicyKey {
                owner: owner(Some("acme")),
                name: "m".to_owned(),
            },
            revision: 3,
            document,
        }
    };
    let fails = |row| PolicySet::from_stored([row]).unwrap_err();
    assert_eq!(
        fails(with("priority", 10_000.into())).to_string(),
        "revision 3 of policy m of tenant \"acme\" cannot be read: priority: the number 10000 is \
         no priority; a whole number from 0 to 9999, without quotes"
    );
    let renamed = fails(with("name", "other".into()));
    assert!(
        matches!(renamed, Unreadable { cause: UnreadableCause::Name(name), .. } if name == "other")
    );
}

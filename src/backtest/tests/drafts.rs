//! Drafts put over stored policies, and drafts that are refused.

use serde_json::json;

use super::{key, policy, sets, stored, totals, track};
use crate::draft::{ComparedSets, Draft};
use crate::test_data::tenant;
use quell_policy::Policy;

fn live() -> Vec<Policy> {
    vec![
        policy("kept", &json!({})),
        policy("quiet", &json!({"priority": 7})),
        policy("acme/quiet", &json!({"mode": "dry_run"})),
    ]
}

/// `change name: fields` of each of the draft's policies.
fn changes(sets: &ComparedSets) -> Vec<String> {
    sets.changes
        .iter()
        .map(|changed| {
            let name = changed.policy.to_string();
            format!(
                "{} {name}: {}",
                changed.change.as_str(),
                changed.fields.join(" ")
            )
        })
        .collect()
}

#[test]
fn a_draft_takes_the_place_of_its_namesakes() {
    let policies = vec![
        policy("acme/quiet", &json!({"mode": "dry_run"})),
        policy("quiet", &json!({"match": {"room": "x"}})),
        policy("globex/quiet", &json!({})),
    ];
    let draft = |alone| Draft {
        policies: policies.clone(),
        without: Vec::new(),
        alone,
    };
    for (alone, in_draft) in [(false, 4), (true, 3)] {
        let sets = sets(&live(), draft(alone));
        assert_eq!(
            changes(&sets),
            [
                "created globex/quiet: ",
                "updated (operator)/quiet: match.room priority",
                "unchanged acme/quiet: ",
            ]
        );
        assert_eq!((sets.live.set.len(), sets.draft.set.len()), (3, in_draft));
        assert_eq!(sets.others, [key("kept")]);
        assert!(!sets.live.dry_run.is_empty() && !sets.draft.dry_run.is_empty());
    }
}

#[test]
fn a_draft_may_be_what_is_stored_without_a_policy() {
    let draft = Draft {
        without: vec![key("acme/quiet")],
        ..Draft::default()
    };
    let sets = sets(&live(), draft);
    assert_eq!(changes(&sets), ["removed acme/quiet: "]);
    assert_eq!((sets.live.set.len(), sets.draft.set.len()), (3, 2));
    assert!(!sets.live.dry_run.is_empty() && sets.draft.dry_run.is_empty());
}

#[test]
fn a_draft_that_says_nothing_or_two_things_is_refused() {
    let draft = |policies: &[&str], without: &[&str]| Draft {
        policies: policies
            .iter()
            .map(|name| policy(name, &json!({})))
            .collect(),
        without: without.iter().map(|name| key(name)).collect(),
        alone: false,
    };
    for (draft, tenant, error) in [
        (draft(&[], &[]), None, "there is no draft"),
        (
            draft(&["a", "a"], &[]),
            None,
            "(operator)/a stands in the draft twice",
        ),
        (
            draft(&["a"], &["a"]),
            None,
            "(operator)/a is in the draft and to be left out",
        ),
        (
            draft(&[], &["acme/kept"]),
            None,
            "there is no stored policy acme/kept",
        ),
        (
            draft(&["globex/a"], &[]),
            Some("acme"),
            "globex/a is another tenant's policy",
        ),
    ] {
        let refused = draft
            .over(stored(&live()), tenant.map(self::tenant).as_ref())
            .unwrap_err()
            .to_string();
        assert!(refused.starts_with(error), "{refused}");
    }
    let mut newer = stored(&live());
    newer[0].document["from_the_future"] = true.into();
    let refused = draft(&["a"], &[])
        .over(newer, None)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("policy kept of the operator cannot be read"),
        "{refused}"
    );
}

#[test]
fn another_owners_policy_of_the_same_name_is_another_and_another_revision_is_not() {
    let live = [policy("quiet", &json!({}))];
    let tracks = [track(1, "webinar-1", "ann", &json!({"tenant": "acme"}))];
    for (drafted, is_another) in [("acme/quiet", 1), ("quiet", 0)] {
        let draft = Draft {
            policies: vec![policy(drafted, &json!({"priority": 7}))],
            without: Vec::new(),
            alone: true,
        };
        let changes = totals(&sets(&live, draft), &tracks, 0).enforced.changes;
        assert_eq!(changes.muted_by_another.tracks, is_another, "{drafted}");
        assert_eq!(changes.same.tracks, 1 - is_another, "{drafted}");
    }
}

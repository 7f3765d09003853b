//! What a tenant may see.

use serde_json::json;

use super::{POLICIES, event, everything, explained, now, set, track_question, without};
use crate::explain::PolicySource;
use crate::explain::answer::{TrackAnswer, answer};
use crate::test_data::viewer;
use quell_policy::{Facts, decide};

fn lines(answer: &TrackAnswer) -> Vec<String> {
    let candidates = answer.candidates.iter();
    candidates
        .map(|one| {
            let failed = one.failed.as_ref().map(|failed| {
                format!(
                    " {} {} {}",
                    failed.clause,
                    failed.expected.as_deref().unwrap_or("-"),
                    failed.actual.as_deref().unwrap_or("-")
                )
            });
            format!(
                "{} {:?}{}",
                one.policy.name,
                one.outcome,
                failed.unwrap_or_default()
            )
        })
        .collect()
}

#[test]
fn a_tenant_is_told_of_the_operators_policies_only_where_they_may_apply() {
    let policies = set(POLICIES);
    let facts = without(everything(), &["participant.attributes"]);
    let all = explained(&policies, &facts, None);
    assert_eq!(
        lines(&all),
        [
            "op-mutes Mutes",
            "op-off-secret Off",
            "op-trial DryRun",
            "draft Off",
            "mutes AlsoMutes",
            r#"op-vip Depends match.attributes.vip-secret "gold-secret" participant.attributes are unknown"#,
            r#"op-exempts-secret DoesNotApply unless not all of: identity "ann" "ann""#,
            "op-kind-secret DoesNotApply match.kind SIP STANDARD",
            r#"exempts DoesNotApply match.identity "b*" "ann""#,
        ]
    );
    let acmes = explained(&policies, &facts, Some("acme"));
    assert_eq!(
        lines(&acmes),
        [
            "op-mutes Mutes",
            "op-trial DryRun",
            "draft Off",
            "mutes AlsoMutes",
            "op-vip Depends match.attributes - -",
            r#"exempts DoesNotApply match.identity "b*" "ann""#,
        ]
    );
    let json = serde_json::to_string(&acmes).unwrap();
    assert!(!json.contains("secret"), "{json}");
    assert_eq!(acmes.left_off, 0);
    // Nothing else is different.
    assert_eq!(acmes.decision.enforced, all.decision.enforced);
    assert_eq!(acmes.decision.dry_run, all.decision.dry_run);
    assert_eq!(acmes.summary, all.summary);
    assert_eq!(acmes.provenance.missing, ["participant.attributes"]);
}

#[test]
fn a_tenants_own_policies_are_told_of_before_any_is_left_off() {
    let many = (0..1_200).map(|n| {
        format!("  - {{ name: op-{n}, match: {{ room: x-{n} }}, effect: mute, priority: 500 }}\n")
    });
    let yaml = format!("policies:\n{}", many.collect::<String>());
    let yaml =
        format!("{yaml}  - {{ name: own, owner: acme, match: {{ room: y }}, effect: mute }}\n");
    let policies = set(&yaml);
    let acmes = explained(&policies, &everything(), Some("acme"));
    assert_eq!(
        lines(&acmes),
        [r#"own DoesNotApply match.room "y" "webinar-1""#]
    );
    assert_eq!(acmes.left_off, 0);
    let all = explained(&policies, &everything(), None);
    assert_eq!((all.candidates.len(), all.left_off), (1_000, 201));
}

/// As a backtest does: `the_operators_reasons_are_no_tenants_to_read`.
#[test]
fn the_reason_of_an_exemption_is_told_to_those_who_may_read_the_policy() {
    let yaml = r"
policies:
  - { name: vip, match: { identity: ann }, effect: exempt, reason: operators-reason }
  - { name: calm, owner: acme, match: {}, effect: mute }
  - { name: own, owner: acme, match: { identity: bob }, effect: exempt, reason: tenants-reason }
";
    let then_yaml = yaml.replace("operators-reason", "operators-reason-of-then");
    let answered = |identity: &str, tenant: Option<&str>| {
        let mut facts = everything();
        facts["participant"]["identity"] = json!(identity);
        let facts: Facts = serde_json::from_value(facts).unwrap();
        let policies = set(yaml);
        let event = event(decide(&set(&then_yaml), &facts, now()));
        let track = track_question(facts, Some(event));
        let answer = answer(&policies, PolicySource::Now, track, &viewer(tenant));
        let recorded = answer.recorded.as_ref().unwrap();
        let then = recorded.decision.as_ref().unwrap();
        let verdicts = [
            &answer.decision.enforced,
            &answer.decision.dry_run,
            &then.enforced,
            &then.dry_run,
        ];
        let said = verdicts.map(|verdict| verdict.exempted().unwrap().reason.clone());
        let said = said.map(|reason| reason.is_some());
        let json = serde_json::to_string(&answer).unwrap();
        (said, json.matches("s-reason").count(), answer.summary)
    };
    let (said, count, summary) = answered("ann", None);
    assert_eq!(said, [true; 4]);
    // In the summary, in four verdicts, and twice in what differs.
    assert_eq!(count, 7);
    assert!(summary.ends_with(": operators-reason"), "{summary}");
    let (said, count, summary) = answered("ann", Some("acme"));
    assert_eq!((said, count), ([false; 4], 0));
    assert_eq!(
        summary,
        "left alone: (operator)/vip (revision 1, priority 100) cancels acme/calm (revision 1, priority 100)"
    );
    // A tenant may read its own policy's reason.
    let (said, _, summary) = answered("bob", Some("acme"));
    assert_eq!(said, [true; 4]);
    assert!(summary.ends_with(": tenants-reason"), "{summary}");
}

//! Laws that hold for any policies and any facts.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::generate::{Hide, any_facts, hidden, hide, known_facts, policies, some_facts, times};
use super::make::{self, set};
use crate::{
    Change, Decision, Document, Effect, Expression, Fact, Facts, Match, Mode, Owner, Policy,
    PolicyRef, PolicySet, StoredPolicy, Tri, Verdict, decide, invisible,
};

fn rank(policy: &PolicyRef) -> (bool, u16, &str, Option<&str>) {
    (
        !policy.owner.is_operator(),
        u16::MAX - policy.priority,
        &policy.name,
        policy.owner.as_str(),
    )
}

/// Of everything.
fn exemption() -> Policy {
    Policy {
        owner: Owner::Operator,
        name: "exempt-all".to_owned(),
        description: None,
        match_: Match::default(),
        unless: None,
        when: None,
        active: Vec::new(),
        not_before: None,
        not_after: None,
        first: None,
        effect: Effect::Exempt,
        mode: Mode::Enforce,
        priority: 200,
        overridable: false,
        reason: Some("a reason".to_owned()),
    }
}

fn decision(policies: &[Policy], facts: &Facts, now: DateTime<Utc>) -> Decision {
    decide(&set(policies), facts, now)
}

/// What is done, whoever is exempted by what: that only says more as more is known.
fn definite(verdict: &Verdict) -> Option<Verdict> {
    match verdict {
        Verdict::Indeterminate => None,
        Verdict::Nothing { .. } => Some(Verdict::Nothing { exempted: None }),
        Verdict::Mute { .. } => Some(verdict.clone()),
    }
}

fn without(policies: &[Policy], keep: impl Fn(&Policy) -> bool) -> Vec<Policy> {
    policies
        .iter()
        .filter(|policy| keep(policy))
        .cloned()
        .collect()
}

/// Whether a policy with this effect is known to apply; in earnest, or also in dry run.
fn surely(decision: &Decision, effect: Effect, in_earnest: bool) -> bool {
    decision.trace.iter().any(|candidate| {
        candidate.effect == effect
            && candidate.applies == Tri::True
            && (candidate.mode == Mode::Enforce || !in_earnest)
    })
}

fn maybe(decision: &Decision, effect: Effect) -> bool {
    let mut trace = decision.trace.iter();
    trace.any(|candidate| candidate.effect == effect && candidate.applies == Tri::Unknown)
}

/// How many cases are about what the laws are about: a law that never meets its case holds
/// of anything.
#[test]
fn what_the_laws_are_about_comes_up() {
    const CASES: usize = 1_000;
    let mut runner = TestRunner::deterministic();
    let mut count = BTreeMap::<&str, usize>::new();
    for _ in 0..CASES {
        let case = (policies(), known_facts(), hide(), times());
        let (policies, facts, hide, now) = case.new_tree(&mut runner).unwrap().current();
        let known = decision(&policies, &facts, now);
        let less = decision(&policies, &hidden(&facts, hide), now);
        let [operators, tenants] = [true, false].map(|of_operator| {
            let theirs = without(&policies, |policy| {
                policy.owner.is_operator() == of_operator
            });
            decision(&theirs, &facts, now)
        });
        let mutes = |decision: &Decision| decision.enforced.mute().is_some();
        let exempts = |decision| surely(decision, Effect::Exempt, true);
        let is_open = less.is_indeterminate();
        for (what, is_so) in [
            ("muted", mutes(&known)),
            ("exempted", known.enforced.exempted().is_some()),
            ("the dry run differs", known.enforced != known.dry_run),
            ("indeterminate", is_open),
            (
                "definite all the same",
                hide.contains(&true) && !is_open && !less.trace.is_empty(),
            ),
            (
                "a mute, an open exemption",
                mutes(&known) && maybe(&less, Effect::Exempt),
            ),
            (
                "exempted, an open mute",
                known.enforced.exempted().is_some() && maybe(&less, Effect::Mute),
            ),
            (
                "operator mutes, tenant exempts",
                mutes(&operators) && exempts(&tenants),
            ),
            (
                "operator exempts, tenant mutes",
                exempts(&operators) && mutes(&tenants),
            ),
            (
                "an overridable mute is lost",
                mutes(&operators) && !mutes(&known),
            ),
        ] {
            *count.entry(what).or_default() += usize::from(is_so);
        }
    }
    for (what, times) in &count {
        assert!(
            *times >= CASES / 100,
            "{what}: {times} of {CASES}; all: {count:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_order_of_policies_never_matters(
        (ordered, shuffled) in policies().prop_flat_map(|p| (Just(p.clone()), Just(p).prop_shuffle())),
        facts in some_facts(), now in times(),
    ) {
        prop_assert_eq!(decision(&ordered, &facts, now), decision(&shuffled, &facts, now));
    }

    /// Whatever was asked in between, and also where both were stored and read back.
    #[test]
    fn the_same_facts_and_time_make_the_same_decision(
        policies in policies(), facts in some_facts(), now in times(), other in times(),
    ) {
        let kept = set(&policies);
        let decision = decide(&kept, &facts, now);
        prop_assert_eq!(decide(&kept, &facts, other).at, other);
        prop_assert_eq!(&decide(&kept, &facts, now), &decision);
        let read = PolicySet::from_stored(policies.iter().map(StoredPolicy::first_revision)).unwrap();
        let json = serde_json::to_string(&facts).unwrap();
        let facts: Facts = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(decide(&read, &facts, now), decision);
    }

    #[test]
    fn a_policy_that_is_off_is_not_there(policies in policies(), facts in some_facts(), now in times()) {
        let live = without(&policies, |policy| policy.mode != Mode::Off);
        prop_assert_eq!(decision(&policies, &facts, now), decision(&live, &facts, now));
    }

    #[test]
    fn a_dry_run_policy_never_changes_what_is_done(policies in policies(), facts in some_facts(), now in times()) {
        let earnest = without(&policies, |policy| policy.mode != Mode::DryRun);
        prop_assert_eq!(
            decision(&policies, &facts, now).enforced,
            decision(&earnest, &facts, now).enforced
        );
    }

    #[test]
    fn the_dry_run_verdict_counts_dry_run_policies_as_enforced(policies in policies(), facts in some_facts(), now in times()) {
        let mut earnest = policies.clone();
        for policy in &mut earnest {
            if policy.mode == Mode::DryRun {
                policy.mode = Mode::Enforce;
            }
        }
        prop_assert_eq!(decision(&policies, &facts, now).dry_run, decision(&earnest, &facts, now).enforced);
    }

    /// An exemption of everything, of just the highest priority: nothing of its owner's is muted.
    #[test]
    fn an_exemption_of_at_least_the_priority_wins(
        policies in policies(), facts in some_facts(), now in times(), owner in select(vec![None, Some("acme")]),
        mode in select(vec![Mode::Enforce, Mode::DryRun]),
    ) {
        // The operator's mutes are none that a tenant's exemption could cancel.
        let mut policies = without(&policies, |policy| owner.is_none() || !policy.owner.is_operator());
        let mutes = policies.iter().filter(|policy| {
            policy.owner.as_str() == owner && policy.effect == Effect::Mute
        });
        policies.push(Policy {
            owner: make::owner(owner),
            priority: mutes.map(|mute| mute.priority).max().unwrap_or(0),
            mode,
            ..exemption()
        });
        let mut facts = facts;
        facts.room.tenant = Fact::Known(Some(make::tenant("acme")));
        let decision = decision(&policies, &facts, now);
        let nothing = Some(Verdict::Nothing { exempted: None });
        prop_assert_eq!(definite(&decision.dry_run), nothing.clone());
        if mode == Mode::Enforce {
            prop_assert_eq!(definite(&decision.enforced), nothing);
        }
    }

    #[test]
    fn a_tenant_changes_what_the_operator_does_only_where_it_is_overridable(
        policies in policies(), facts in some_facts(), now in times(),
    ) {
        let strict: Vec<_> = policies
            .iter()
            .cloned()
            .map(|mut policy| { policy.overridable = false; policy })
            .collect();
        for (all, is_strict) in [(&strict, true), (&policies, false)] {
            let operators = decision(&without(all, |policy| policy.owner.is_operator()), &facts, now);
            let all = decision(all, &facts, now);
            for (operators, all, exempts) in [
                (&operators.enforced, &all.enforced, surely(&operators, Effect::Exempt, true)),
                (&operators.dry_run, &all.dry_run, surely(&operators, Effect::Exempt, false)),
            ] {
                // A mute of the operator's stays as it is; one that is overridable can be lost.
                if let Some(mute) = operators.mute() && (is_strict || !mute.overridable) {
                    prop_assert_eq!(all.mute(), Some(mute));
                }
                // Whom the operator exempts, no tenant mutes.
                let nothing = Some(Verdict::Nothing { exempted: None });
                if exempts && definite(operators) == nothing {
                    prop_assert_eq!(definite(all), nothing);
                }
            }
        }
    }

    #[test]
    fn a_tenants_policies_see_its_own_rooms_only(policies in policies(), facts in known_facts(), now in times()) {
        let tenant = facts.room.tenant.known().cloned().flatten();
        let theirs = without(&policies, |policy| policy.owner.is_operator() || policy.owner.tenant() == tenant.as_ref());
        prop_assert_eq!(decision(&policies, &facts, now), decision(&theirs, &facts, now));
    }

    /// Whatever the unknown facts turn out to be, a definite decision stands.
    #[test]
    fn knowing_more_never_changes_a_definite_decision(
        policies in policies(), facts in known_facts(), now in times(),
        hide in hide(), show in any::<Hide>(),
    ) {
        let mut left = hide;
        for (left, show) in left.iter_mut().zip(show) {
            *left &= !show;
        }
        let less = decision(&policies, &hidden(&facts, hide), now);
        let more = decision(&policies, &hidden(&facts, left), now);
        for (less, more) in [(&less.enforced, &more.enforced), (&less.dry_run, &more.dry_run)] {
            if let Some(known) = definite(less) {
                prop_assert_eq!(Some(known), definite(more));
            }
        }
    }

    #[test]
    fn a_decision_on_known_facts_is_definite(policies in policies(), facts in known_facts(), now in times()) {
        prop_assert!(!decision(&policies, &facts, now).is_indeterminate());
    }

    /// The rules, written down a second time as plainly as can be.
    #[test]
    fn decides_as_the_plain_rules_do(policies in policies(), facts in known_facts(), now in times()) {
        let compiled = set(&policies);
        let mut left: Vec<_> = Vec::new();
        let matching: Vec<_> = compiled
            .visible(&facts)
            .map(|(policy, _)| policy)
            .filter(|policy| policy.mode == Mode::Enforce)
            .filter(|policy| policy.ask(&facts, now).applies() == Tri::True)
            .collect();
        for mute in matching.iter().filter(|policy| policy.effect == Effect::Mute) {
            let cancelled = matching.iter().filter(|policy| policy.effect == Effect::Exempt).any(
                |exemption| match (exemption.owner(), mute.owner()) {
                    (Owner::Operator, Owner::Tenant(_)) => true,
                    (Owner::Tenant(_), Owner::Operator) => mute.id.overridable,
                    (_, _) => exemption.id.priority >= mute.id.priority,
                },
            );
            if !cancelled {
                left.push((mute.owner(), u16::MAX - mute.id.priority, &*mute.id.name));
            }
        }
        left.sort();
        let verdict = decision(&policies, &facts, now).enforced;
        prop_assert_eq!(
            verdict.mute().map(|mute| (&mute.owner, &*mute.name)),
            left.first().map(|(owner, _, name)| (*owner, *name))
        );
    }

    /// The index leaves out only what cannot be about the track.
    #[test]
    fn what_the_index_finds_is_what_asking_every_policy_finds(
        policies in policies(), facts in some_facts(), now in times(),
    ) {
        let compiled = set(&policies);
        let mut asked: Vec<_> = compiled
            .visible(&facts)
            .filter(|(policy, _)| policy.mode != Mode::Off)
            .map(|(policy, seen)| (policy, policy.ask(&facts, now).if_seen(seen)))
            .filter(|(_, answer)| answer.matched != Tri::False)
            .map(|(policy, answer)| (&*policy.id, answer.applies()))
            .collect();
        asked.sort_by(|(one, _), (other, _)| rank(one).cmp(&rank(other)));
        let decision = decide(&compiled, &facts, now);
        let found: Vec<_> = decision
            .trace
            .iter()
            .map(|candidate| (&*candidate.policy, candidate.applies))
            .collect();
        prop_assert_eq!(found, asked);
    }

    /// A set that was changed step by step is the set of what is stored in the end.
    #[test]
    fn changes_one_by_one_come_to_the_same_as_reading_everything(
        before in policies(), after in policies(), facts in some_facts(), now in times(),
    ) {
        let key = Policy::key;
        let removed = before.iter().filter(|old| !after.iter().any(|new| key(new) == key(old)));
        let changes = removed
            .map(|old| (old, None))
            .chain(after.iter().map(|new| (new, Some(StoredPolicy::first_revision(new)))));
        let mut set = set(&before);
        for (policy, stored) in changes {
            let change = Change { key: policy.key(), stored };
            set = set.with_changes([change]).0;
        }
        let fresh = PolicySet::from_stored(after.iter().map(StoredPolicy::first_revision)).unwrap();
        prop_assert_eq!(decide(&set, &facts, now), decide(&fresh, &facts, now));
        prop_assert_eq!(set.len(), fresh.len());
        prop_assert_eq!(set.any_tenant_live(), fresh.any_tenant_live());
    }

    #[test]
    fn policies_survive_json_and_yaml(policies in policies()) {
        for policy in &policies {
            prop_assert_eq!(&Policy::from_stored(&policy.to_json(), &policy.owner).unwrap(), policy);
        }
        let yaml = Document { policies: policies.clone() }.to_yaml().unwrap();
        prop_assert_eq!(Document::load([("p.yaml", yaml.as_str())]).unwrap().value.policies, policies);
    }

    /// Texts that YAML could take for something else.
    #[test]
    fn any_text_survives_yaml(
        text in r"(\PC{1,20}|off|null|~|1e3|0x1F|- a|a: b|# c|'|,|[ ]{0,2}x[ ]{0,2})",
        description in r"(\PC|\t){0,20}x(\n(\PC|\t){0,20}){0,3}y",
    ) {
        let text = text.replace(invisible::is_invisible, "").trim().to_owned() + "x";
        let not_of_prose = |c: char| invisible::is_invisible(c) && !invisible::is_allowed_in_prose(c);
        let description = description.replace(not_of_prose, "");
        let policy = Policy {
            owner: make::owner(Some(&format!("{text}."))),
            name: "p".to_owned(),
            description: Some(description.trim().to_owned()),
            match_: Match {
                attributes: BTreeMap::from([(text.clone(), vec![text.clone()])]),
                ..Match::default()
            },
            unless: None,
            when: Expression::parse(&format!("room.name == {text:?} //'")).ok(),
            active: Vec::new(),
            not_before: None,
            not_after: None,
            first: None,
            effect: Effect::Mute,
            mode: Mode::Off,
            priority: 0,
            overridable: false,
            reason: None,
        };
        let document = Document { policies: vec![policy] };
        let yaml = document.to_yaml().unwrap();
        let back = Document::load([("p.yaml", yaml.as_str())]);
        prop_assert_eq!(back.map(|checked| checked.value), Ok(document), "{}", yaml);
    }

    /// Whatever is written is read or refused; nothing panics.
    #[test]
    fn any_document_is_read_or_refused(text in r"(\PC|\n|  |- |: |policies|match|\[|\{|\*|&a){0,30}") {
        drop(Document::load([("p.yaml", text.as_str())]));
        drop(Policy::from_json(text.as_bytes(), &Owner::Operator));
    }

    #[test]
    fn facts_survive_json(facts in any_facts()) {
        let json = serde_json::to_string(&facts).unwrap();
        prop_assert_eq!(serde_json::from_str::<Facts>(&json).unwrap(), facts);
    }
}

//! Laws of what sweeps ask: in which rooms policies may mute, what a change forbids, and when time does.

use std::sync::Arc;

use proptest::prelude::*;

use super::generate::{known_facts, policies, times};
use super::make::set;
use crate::glob::Glob;
use crate::{Change, CompiledPolicy, Decision, Effect, Mode, Policy, StoredPolicy, decide};

/// Whether a track is muted, or would be in dry run.
fn mutes(decision: &Decision) -> bool {
    decision.enforced.mute().is_some() || decision.dry_run.mute().is_some()
}

proptest! {
    #[test]
    fn a_room_in_which_a_track_is_muted_is_one_in_which_a_track_may_be(
        policies in policies(), facts in known_facts(), now in times(),
    ) {
        let set = set(&policies);
        let tenant = facts.room.tenant.known().unwrap().as_ref();
        if mutes(&decide(&set, &facts, now)) {
            prop_assert!(set.any_mute(now));
            prop_assert!(set.may_mute_in(&facts.room.name, tenant, now));
            prop_assert!(set.is_about_room(&facts.room.name, tenant));
        }
        // As asking each.
        let sees = |policy: &Policy| policy.owner.tenant().is_none_or(|owner| Some(owner) == tenant);
        let may = policies.iter().any(|policy| {
            policy.mode != Mode::Off && policy.effect == Effect::Mute && sees(policy)
                && policy.schedule().is_in_time(now)
                && (policy.match_.room.is_empty()
                    || policy.match_.room.iter().any(|glob| Glob::new(glob).unwrap().is_match(&facts.room.name)))
        });
        prop_assert_eq!(set.may_mute_in(&facts.room.name, tenant, now), may);
    }

    #[test]
    fn where_a_change_mutes_a_track_it_forbids_more_in_that_room(
        old in policies(), new in policies(), facts in known_facts(), now in times(),
    ) {
        let before = set(&old);
        // The same names at other revisions.
        let rows = new.iter().map(|policy| Change {
            key: policy.key(),
            stored: Some(StoredPolicy { revision: 2, ..StoredPolicy::first_revision(policy) }),
        });
        let gone = old.iter().filter(|old| !new.iter().any(|new| new.key() == old.key()));
        let gone = gone.map(|policy| Change { key: policy.key(), stored: None });
        let after = before.with_changes(rows.chain(gone)).0;
        let tenant = facts.room.tenant.known().unwrap().as_ref();
        let (then, later) = (decide(&before, &facts, now), decide(&after, &facts, now));
        if mutes(&later) && !mutes(&then) {
            let more = after.forbids_more_than(&before);
            prop_assert!(more.is_about_room(&facts.room.name, tenant));
        }
        prop_assert!(after.forbids_more_than(&after).is_empty());
    }

    /// From one edge to the next, nothing becomes forbidden by time alone.
    #[test]
    fn what_time_forbids_it_forbids_at_an_edge(
        policies in policies(), facts in known_facts(), now in times(), later in times(),
    ) {
        let set = set(&policies);
        let (now, later) = (now.min(later), now.max(later));
        let (then, after) = (decide(&set, &facts, now), decide(&set, &facts, later));
        if mutes(&after) && !mutes(&then) {
            let created_at = *facts.room.created_at.known().unwrap();
            let is_edge = |policy: &Arc<CompiledPolicy>| {
                let ends = policy.exempts_first().map(|first| created_at + first.num_seconds());
                policy.forbids_more_at(now).is_some_and(|at| at <= later)
                    || ends.is_some_and(|ends| now.timestamp() < ends && ends <= later.timestamp())
            };
            prop_assert!(set.live().any(is_edge));
        }
    }
}

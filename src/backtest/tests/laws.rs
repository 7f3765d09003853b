//! Laws of the numbers, over any policies and tracks.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::{policy, sets, totals, track};
use crate::backtest::disposition::View;
use crate::backtest::events::Published;
use crate::backtest::tally::{ChangeCounts, DispositionCounts, DraftComparison, Totals};
use crate::draft::Draft;
use quell_policy::Policy;

fn policies() -> impl Strategy<Value = Vec<Policy>> {
    let one = (
        select(vec!["a", "b", "c", "acme/a", "acme/b", "globex/a"]),
        select(vec!["mute", "mute", "exempt"]),
        select(vec!["enforce", "enforce", "dry_run", "off"]),
        select(vec![
            json!({}),
            json!({"room": "webinar-*"}),
            json!({"kind": "SIP"}),
            json!({"attributes": {"role": "host"}}),
            json!({"identity": "a*", "attributes": {"role": "guest"}}),
        ]),
        select(vec![0, 100, 200]),
    );
    vec(one, 1..6).prop_map(|mut all| {
        all.sort_by_key(|(name, ..)| *name);
        all.dedup_by_key(|(name, ..)| *name);
        let build = |(name, effect, mode, match_, priority)| {
            let fields = json!({
                "effect": effect, "mode": mode, "match": match_, "priority": priority,
            });
            policy(name, &fields)
        };
        all.into_iter().map(build).collect()
    })
}

fn tracks() -> impl Strategy<Value = Vec<Published>> {
    let one = (
        select(vec!["webinar-1", "webinar-2", "other"]),
        select(vec!["ann", "ben"]),
        select(vec![
            None,
            Some(json!(null)),
            Some(json!("acme")),
            Some(json!("globex")),
        ]),
        select(vec![None, Some("SIP"), Some("STANDARD")]),
        select(vec![
            None,
            Some(json!({})),
            Some(json!({"role": "host"})),
            Some(json!({"role": "guest"})),
        ]),
        select(vec![Some("nothing"), Some("muted"), None]),
        0..10_u8,
    );
    vec(one, 0..40).prop_map(|all| {
        all.into_iter()
            .zip(0..)
            .map(
                |((room, identity, tenant, kind, attributes, settlement, odd), number)| {
                    let mut known = json!({});
                    for (name, value) in [
                        ("tenant", tenant),
                        ("kind", kind.map(Into::into)),
                        ("attributes", attributes),
                    ] {
                        if let Some(value) = value {
                            known[name] = value;
                        }
                    }
                    let mut event = track(number, room, identity, &known);
                    event.settlement = settlement.map(str::to_owned);
                    match odd {
                        0 => event.facts = None,
                        1 => event.facts = Some("{}".to_owned()),
                        2 => event.decision = None,
                        _ => {}
                    }
                    event
                },
            )
            .collect()
    })
}

/// The totals of `live` and of `draft` alone.
fn of(live: &[Policy], draft: &[Policy], tracks: &[Published]) -> Totals {
    let draft = Draft {
        policies: draft.to_vec(),
        without: Vec::new(),
        alone: true,
    };
    totals(&sets(live, draft), tracks, 5)
}

fn all(of: &DispositionCounts) -> u64 {
    of.muted.tracks + of.exempted.tracks + of.left_alone.tracks
}

fn shifted(of: &ChangeCounts) -> u64 {
    of.newly_muted.tracks + of.no_longer_muted.tracks + of.muted_by_another.tracks
}

fn mirrored(of: &DraftComparison) -> DraftComparison {
    DraftComparison {
        live: of.draft,
        draft: of.live,
        changes: ChangeCounts {
            newly_muted: of.changes.no_longer_muted,
            no_longer_muted: of.changes.newly_muted,
            ..of.changes
        },
        ..*of
    }
}

proptest! {
    #[test]
    fn what_is_live_changes_nothing_as_a_draft(live in policies(), tracks in tracks()) {
        let totals = of(&live, &live, &tracks);
        for comparison in [totals.enforced, totals.dry_run] {
            prop_assert_eq!(comparison.live, comparison.draft);
            prop_assert_eq!(shifted(&comparison.changes), 0);
        }
        for row in totals.by_policy.finish() {
            prop_assert_eq!(row.enforced.mutes.difference(), 0);
            prop_assert_eq!(row.dry_run.exempts.difference(), 0);
        }
    }

    #[test]
    fn every_track_is_in_the_sums_once(live in policies(), draft in policies(), tracks in tracks()) {
        let totals = of(&live, &draft, &tracks);
        let published = totals.published.tracks;
        prop_assert_eq!(usize::try_from(published).unwrap(), tracks.len());
        prop_assert_eq!(totals.recorded.values().sum::<u64>(), published);
        let excluded = &totals.excluded;
        let unknown = excluded.not_settled + excluded.without_facts + excluded.unreadable;
        for DraftComparison { live, draft, changes, not_compared } in [totals.enforced, totals.dry_run] {
            let compared = published - not_compared.tracks;
            prop_assert_eq!(all(&live), compared);
            prop_assert_eq!(all(&draft), compared);
            prop_assert_eq!(shifted(&changes) + changes.same.tracks, compared);
            prop_assert!(unknown <= not_compared.tracks && not_compared.tracks <= excluded.tracks);
            let more = changes.newly_muted.tracks + live.muted.tracks;
            prop_assert_eq!(more, draft.muted.tracks + changes.no_longer_muted.tracks);
            for counted in [live.muted, draft.exempted, changes.newly_muted, changes.same] {
                prop_assert!(counted.rooms <= counted.participants);
                prop_assert!(counted.participants <= counted.tracks);
                prop_assert_eq!(counted.rooms == 0, counted.tracks == 0);
            }
        }
        let missing: u64 = excluded.missing.iter().map(|group| group.tracks).sum();
        prop_assert_eq!(missing + excluded.missing_left_off + unknown, excluded.tracks);
    }

    #[test]
    fn what_is_named_for_a_policy_adds_up(live in policies(), draft in policies(), tracks in tracks()) {
        let totals = of(&live, &draft, &tracks);
        let rows = totals.by_policy.finish();
        for view in View::ALL {
            let (comparison, counts): (_, Vec<_>) = match view {
                View::Enforced => (totals.enforced, rows.iter().map(|row| row.enforced).collect()),
                View::DryRun => (totals.dry_run, rows.iter().map(|row| row.dry_run).collect()),
            };
            let sum = |of: fn(&crate::backtest::EffectCounts) -> u64| counts.iter().map(of).sum::<u64>();
            prop_assert_eq!(sum(|counts| counts.mutes.live), comparison.live.muted.tracks);
            prop_assert_eq!(sum(|counts| counts.mutes.draft), comparison.draft.muted.tracks);
            prop_assert_eq!(sum(|counts| counts.exempts.live), comparison.live.exempted.tracks);
            prop_assert_eq!(sum(|counts| counts.exempts.draft), comparison.draft.exempted.tracks);
        }
    }

    #[test]
    fn live_and_draft_swapped_is_the_mirror_image(live in policies(), draft in policies(), tracks in tracks()) {
        let (one, other) = (of(&live, &draft, &tracks), of(&draft, &live, &tracks));
        prop_assert_eq!(one.enforced, mirrored(&other.enforced));
        prop_assert_eq!(one.dry_run, mirrored(&other.dry_run));
        prop_assert_eq!(one.excluded, other.excluded);
        prop_assert_eq!(one.samples.len(), other.samples.len());
    }
}

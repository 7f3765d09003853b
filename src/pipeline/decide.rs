//! Decides: at once where that is quick, and else where webhooks do not wait for the thread.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::TrackResult;
use crate::action::Cause;
use quell_policy::{Decision, Facts, PolicySet, TenantId, decide, decide_inline};

/// Why a track is undecided whose texts were not read to the end.
const TEXT_LIMIT_EXCEEDED: &str = "policies of one owner read more of this track's texts than they may: these \
     are longer than LiveKit lets them be, or the policies were stored around the limit";

/// Decisions of this process that take long are made one after the other: the other cores are for the others.
static LONG: Semaphore = Semaphore::const_new(1);
/// Of each tenant's rooms, one waits for that: tenants take turns.
static LONG_OF_TENANTS: LazyLock<Mutex<HashMap<Option<TenantId>, Arc<Semaphore>>>> =
    LazyLock::new(Mutex::default);
const LOGGED_EVERY: Duration = Duration::from_secs(10);

/// Decides by the policies and the time that `current` tells. What takes more than about a millisecond is done on a thread of
/// its own, in its turn, and `current` is asked again then.
pub(crate) async fn decide_in_turn(
    current: impl Fn() -> (Arc<PolicySet>, DateTime<Utc>),
    facts: Facts,
) -> (Facts, Decision) {
    let (policies, now) = current();
    if let Some(decision) = decide_inline(&policies, &facts, now) {
        return (facts, decision);
    }
    // Nothing closes these. They are given back when the work ends, also where nobody waits for that any more.
    let of_tenant = long_of(&facts).acquire_owned().await;
    let turn = LONG.acquire().await;
    let (policies, now) = current();
    let deciding = spawn_blocking(move || {
        let decision = decide(&policies, &facts, now);
        drop((turn, of_tenant));
        (facts, decision)
    });
    match deciding.await {
        Ok(decided) => decided,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The process stops, and the job is another's.
            Err(_) => std::future::pending().await,
        },
    }
}

fn long_of(facts: &Facts) -> Arc<Semaphore> {
    let tenant = facts.room.tenant.known().cloned().flatten();
    let mut tenants = LONG_OF_TENANTS
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    // Those that nobody has or waits for.
    tenants.retain(|_, turns| Arc::strong_count(turns) > 1);
    Arc::clone(
        tenants
            .entry(tenant)
            .or_insert_with(|| Arc::new(Semaphore::new(1))),
    )
}

/// Whether nothing is decided, and will not be with these facts: their texts were not read to the end.
pub(super) fn is_beyond_text_limit(decision: &Decision) -> bool {
    decision.text_limit_exceeded && decision.enforced.is_indeterminate()
}

pub(super) fn beyond_text_limit() -> TrackResult {
    TrackResult::Undecided(TEXT_LIMIT_EXCEEDED.to_owned())
}

/// Says that texts were not read to the end; at most once in ten seconds, as it may be so for every track of a room.
pub(super) fn log_text_limit(facts: &Facts, cause: &Cause) {
    static LAST: Mutex<Option<(Instant, u64)>> = Mutex::new(None);
    let left_out = {
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *last {
            Some((at, left_out)) if at.elapsed() < LOGGED_EVERY => {
                *left_out += 1;
                return;
            }
            last => last
                .replace((Instant::now(), 0))
                .map_or(0, |(_, left_out)| left_out),
        }
    };
    let (event_id, request) = cause.correlation.parts();
    tracing::error!(
        event_id,
        request_id = request.map(|request| request.id.as_str()),
        room = facts.room.name,
        track = facts.track.sid,
        left_out,
        "a track is undecided: {TEXT_LIMIT_EXCEEDED}"
    );
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Poll;

    use futures_util::stream::FuturesUnordered;
    use futures_util::{FutureExt as _, StreamExt as _, poll};
    use quell_policy::{CompiledPolicy, Document, PolicySet};
    use serde_json::json;

    use super::*;

    /// Conditions that look for ten texts each.
    fn looking(policies: usize) -> Arc<PolicySet> {
        let policies = (0..policies).map(|policy| {
            let tests: Vec<_> = (0..10)
                .map(|test| format!("participant.attributes.bio.contains('<{policy}-{test}>')"))
                .collect();
            json!({"name": format!("p{policy}"), "match": {}, "effect": "mute", "when": tests.join(" || ")})
        });
        let document = json!({"policies": policies.collect::<Vec<_>>()}).to_string();
        let document = Document::load([("policies.json", document.as_str())]);
        let compiled = document.unwrap().value.policies.into_iter();
        let compiled = compiled.map(|policy| CompiledPolicy::new(&policy, 1).unwrap());
        Arc::new(PolicySet::new(compiled))
    }

    fn padded(tenant: Option<&str>) -> Facts {
        let facts = json!({
            "room": {"name": "standup", "sid": "RM_1", "tenant": tenant},
            "participant": {"identity": "ann", "sid": "PA_1", "attributes": {"bio": "-".repeat(60_000)}},
            "track": {"sid": "TR_1", "name": "mic", "source": "MICROPHONE", "type": "AUDIO", "mime_type": "audio/opus"},
            "event": {"type": "track_published", "created_at": 0},
        });
        serde_json::from_value(facts).unwrap()
    }

    /// On a runtime with one thread: what is decided in the first poll keeps all others waiting.
    #[tokio::test]
    async fn a_decision_that_takes_long_is_made_on_another_thread() {
        let (facts, now) = (padded(None), DateTime::UNIX_EPOCH);
        for (policies, is_quick) in [(looking(1), true), (looking(1000), false)] {
            let decided = decide(&policies, &facts, now);
            let mut deciding = pin!(decide_in_turn(
                || (Arc::clone(&policies), now),
                facts.clone()
            ));
            match poll!(deciding.as_mut()) {
                Poll::Ready((_, decision)) => assert!(is_quick && decision == decided),
                Poll::Pending => assert!(!is_quick && deciding.await.1 == decided),
            }
        }
    }

    #[tokio::test]
    async fn tenants_take_turns_with_what_takes_long() {
        let policies = looking(1000);
        let tenants = [&["acme"; 20][..], &["globex", "initech"]].concat();
        let decisions = tenants.into_iter().map(|tenant| {
            let deciding = decide_in_turn(
                || (Arc::clone(&policies), DateTime::UNIX_EPOCH),
                padded(Some(tenant)),
            );
            deciding.map(move |_| tenant)
        });
        let decided: Vec<_> = decisions.collect::<FuturesUnordered<_>>().collect().await;
        let place = |tenant| decided.iter().position(|it| *it == tenant).unwrap();
        assert!(place("globex") < 5 && place("initech") < 5, "{decided:?}");
    }
}

//! One job's case: what is known of it, how it is to end, and the audit rows that its end leaves.

use tokio::time::Instant;

use super::Job;
use super::look::Live;
use super::settle::Settlement;
use crate::audit::{Entry, Origin, Outcome, PolicyId, Verb};
use crate::mute::{Action, Authority, MuteError, Muter};
use crate::postgres::to_pg_json;
use quell_policy::{Decision, Facts, PolicyRef, Verdict};

/// What one look at a job came to.
pub(super) enum End {
    Settled(Settlement, Option<String>),
    /// Not now; `if_dead` is what it is called when there is no later.
    Later {
        error: String,
        if_dead: Settlement,
    },
}

/// What is known of a job while it is worked on.
pub(super) struct Case {
    pub(super) facts: Facts,
    pub(super) decision: Option<Decision>,
}

pub(super) async fn mute(
    muter: &Muter,
    job: &Job,
    live: &Live,
    policy: &PolicyRef,
    deadline: Instant,
) -> End {
    let action = Action {
        origin: Origin::Webhook,
        authority: Authority::PolicyOwner {
            tenant: policy.owner.as_deref(),
        },
        room: &live.room,
        identity: &job.event.participant.identity,
        track: &live.track,
        looked_at: live.looked_at,
        muted: true,
        as_of: Some(job.received_at),
        policy: Some(policy_id(policy)),
        event_id: Some(&job.event.id),
        request_id: None,
        arrived: job.arrived,
        deadline,
    };
    match muter.run(&action).await {
        Ok(state) if state.muted => End::Settled(Settlement::Muted, Some(policy.name.to_string())),
        Ok(_) => End::Later {
            error: "LiveKit answered that the track is not muted".to_owned(),
            if_dead: Settlement::DeadLetter,
        },
        Err(error) => match error {
            MuteError::Denied(_) => End::Settled(Settlement::Refused, Some(error.to_string())),
            MuteError::Superseded => End::Settled(Settlement::Superseded, Some(error.to_string())),
            MuteError::Gone => End::Settled(Settlement::Gone, Some(error.to_string())),
            MuteError::Busy
            | MuteError::RemoteUnmuteDisabled
            | MuteError::LiveKit(_)
            | MuteError::Database(_) => End::Later {
                error: error.to_string(),
                if_dead: Settlement::DeadLetter,
            },
        },
    }
}

/// Not now, because of what LiveKit could not be asked. A mute that is decided is not undecided
/// for that: with no later, it is one that did not succeed.
pub(super) fn later(case: &Case, error: &str) -> End {
    let decided = case.decision.as_ref().map(|decision| &decision.enforced);
    End::Later {
        error: error.to_owned(),
        if_dead: match decided {
            Some(Verdict::Mute { .. }) => Settlement::DeadLetter,
            Some(Verdict::Nothing { .. } | Verdict::Indeterminate) | None => Settlement::Undecided,
        },
    }
}

/// `value` as it is stored: participants choose much of what is in it, NULs too.
pub(super) fn to_json<T: serde::Serialize>(value: &T) -> String {
    // Only maps with keys that are no strings fail, and there are none.
    to_pg_json(serde_json::to_value(value).unwrap_or_default()).to_string()
}

pub(super) fn tenant(case: &Case) -> Option<&str> {
    case.facts.room.tenant.known().and_then(Option::as_deref)
}

fn policy_id(policy: &PolicyRef) -> PolicyId<'_> {
    PolicyId {
        owner: policy.owner.as_deref(),
        name: &policy.name,
        revision: policy.revision,
    }
}

fn entry<'a>(job: &'a Job, case: &'a Case, verb: Verb) -> Entry<'a> {
    Entry {
        tenant: tenant(case),
        room_name: Some(&job.event.room.name),
        room_sid: Some(&job.event.room.sid),
        identity: Some(&job.event.participant.identity),
        track_sid: Some(&job.event.track.sid),
        source: Some(case.facts.track.source.as_str()),
        event_id: Some(&job.event.id),
        ..Entry::new(Origin::Webhook, verb)
    }
}

/// Whether neither the policies in force nor those in dry run want anything.
pub(super) fn is_nothing(decision: &Decision) -> bool {
    matches!(decision.enforced, Verdict::Nothing { .. })
        && matches!(decision.dry_run, Verdict::Nothing { .. })
}

/// The row for what dry-run policies would have changed.
pub(super) fn dry_run<'a>(
    job: &'a Job,
    case: &'a Case,
) -> Option<(Entry<'a>, Outcome, Option<String>)> {
    let decision = case.decision.as_ref()?;
    let (verb, policy) = match (&decision.enforced, &decision.dry_run) {
        (Verdict::Nothing { .. }, Verdict::Mute { policy }) => (Verb::Mute, policy),
        (Verdict::Mute { .. }, Verdict::Nothing { exempted }) => {
            (Verb::Exempt, &exempted.as_deref()?.by)
        }
        _ => return None,
    };
    let muted = case.facts.track.muted.known();
    let entry = Entry {
        policy: Some(policy_id(policy)),
        before: muted.map(|muted| serde_json::json!({ "muted": muted })),
        changed: muted.map(|muted| !muted),
        ..entry(job, case, verb)
    };
    Some((entry, Outcome::DryRun, None))
}

/// The row of a job whose deadline is over.
pub(super) fn given_up<'a>(
    job: &'a Job,
    case: &'a Case,
    settlement: Settlement,
    error: &str,
) -> (Entry<'a>, Outcome, Option<String>) {
    let (verb, outcome) = if settlement == Settlement::DeadLetter {
        (Verb::Mute, Outcome::Failed)
    } else {
        (Verb::Decide, Outcome::Undecided)
    };
    let policy = match case.decision.as_ref().map(|decision| &decision.enforced) {
        Some(Verdict::Mute { policy }) => Some(policy_id(policy)),
        _ => None,
    };
    let entry = Entry {
        policy,
        ..entry(job, case, verb)
    };
    let error = format!("given up after {} attempts: {error}", job.attempt);
    (entry, outcome, Some(error))
}

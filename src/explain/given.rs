//! Reads the facts in a question, strictly, in the form in which facts are stored.
//!
//! Only `room.name` and `participant.identity` are required. Facts that a webhook always holds have
//! the defaults of LiveKit's wire format where they are left out: `UNKNOWN` for the source, `AUDIO` for
//! the type. All others are unknown.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::error::ExplainError;
use super::sources::{self, FactSource};
use super::track_question::TrackQuestion;
use crate::access::Viewer;
use quell_policy::facts::catalog::event_defaults;
use quell_policy::given;
use quell_policy::{Fact, Facts, TenantId};

const REQUIRED: [&str; 2] = ["room.name", "participant.identity"];

/// Reads the facts of a track, to be decided for `at`. A tenant may give facts of its own rooms only.
pub(super) fn read(
    facts: &Value,
    viewer: &Viewer,
    at: DateTime<Utc>,
) -> Result<TrackQuestion, ExplainError> {
    let read = given::read(facts, event_defaults(at.timestamp()), &REQUIRED);
    let read = read.map_err(|problems| ExplainError::Invalid(problems.to_string()))?;
    let mut facts = read.facts;
    let mut sources = sources::of_given(&read.fields);
    if let Viewer::Tenant(tenant) = viewer
        && only_own(&mut facts, viewer, tenant)?
    {
        sources.insert("room.tenant", FactSource::Caller);
    }
    Ok(TrackQuestion {
        facts,
        sources,
        at,
        event: None,
        warnings: read.warnings.iter().map(ToString::to_string).collect(),
    })
}

/// Refuses facts of another tenant's room. Returns whether the tenant was unknown and is now filled in.
fn only_own(facts: &mut Facts, viewer: &Viewer, tenant: &TenantId) -> Result<bool, ExplainError> {
    match &facts.room.tenant {
        Fact::Known(owner) if viewer.may_see_room(owner.as_ref()) => Ok(false),
        Fact::Known(Some(_)) => Err(ExplainError::OtherTenant(
            "facts.room: this is another tenant's room; only an operator may ask about it"
                .to_owned(),
        )),
        Fact::Known(None) => Err(ExplainError::OtherTenant(
            "facts.room: this is a room of no tenant; only an operator may ask about it. Leave `tenant` out to mean your own, and write your `auth_id` where you give `metadata`"
                .to_owned(),
        )),
        Fact::Unknown => {
            facts.room.tenant = Fact::Known(Some(tenant.clone()));
            Ok(true)
        }
    }
}

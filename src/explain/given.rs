//! Facts as a question gives them: the form in which they are stored, read strictly.
//!
//! Only `room.name` and `participant.identity` have to be there. What a webhook always holds is
//! assumed where it is left out, as LiveKit's own form on the wire reads: no source is `UNKNOWN`,
//! no type is `AUDIO`. All else is unknown.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::sources::{self, FactSource, Sources};
use crate::access::Viewer;
use crate::livekit::event::TRACK_PUBLISHED;
use quell_policy::given;
use quell_policy::{Fact, Facts, TenantId};

const REQUIRED: [&str; 2] = ["room.name", "participant.identity"];

/// What a question gives.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) facts: Facts,
    pub(super) sources: Sources,
    /// What is doubtful about the facts.
    pub(super) warnings: Vec<String>,
}

/// Why facts are refused.
#[derive(Debug)]
pub(super) enum GivenError {
    /// What is wrong with them.
    Invalid(String),
    /// They are of a room that is not the tenant's.
    OtherTenant(String),
}

/// Reads facts, of rooms that `viewer` may see.
pub(super) fn read(facts: &Value, viewer: &Viewer, at: DateTime<Utc>) -> Result<Given, GivenError> {
    let read = given::read(facts, assumed(at), &REQUIRED);
    let read = read.map_err(|problems| GivenError::Invalid(problems.to_string()))?;
    let mut facts = read.facts;
    let mut sources = sources::of_given(&read.fields);
    if let Viewer::Tenant(tenant) = viewer
        && only_own(&mut facts, tenant)?
    {
        sources.insert("room.tenant", FactSource::Caller);
    }
    Ok(Given {
        facts,
        sources,
        warnings: read.warnings.iter().map(ToString::to_string).collect(),
    })
}

fn assumed(at: DateTime<Utc>) -> Value {
    json!({
        "room": {"sid": ""},
        "participant": {"sid": ""},
        "track": {"sid": "", "name": "", "source": "UNKNOWN", "type": "AUDIO", "mime_type": ""},
        "event": {"type": TRACK_PUBLISHED, "created_at": at.timestamp()},
    })
}

/// Refuses facts of another's room; whether the tenant was filled in.
fn only_own(facts: &mut Facts, tenant: &TenantId) -> Result<bool, GivenError> {
    match &facts.room.tenant {
        Fact::Known(Some(owner)) if owner == tenant => Ok(false),
        Fact::Known(Some(_)) => Err(GivenError::OtherTenant(
            "facts.room: this is another tenant's room; only an operator may ask about it"
                .to_owned(),
        )),
        Fact::Known(None) => Err(GivenError::OtherTenant(
            "facts.room: this is a room of no tenant; only an operator may ask about it. Leave `tenant` out to mean your own, and write your `auth_id` where you give `metadata`"
                .to_owned(),
        )),
        Fact::Unknown => {
            facts.room.tenant = Fact::Known(Some(tenant.clone()));
            Ok(true)
        }
    }
}

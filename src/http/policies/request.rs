//! What requests about policies hold: names, policies and preconditions.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use serde_json::Value;
use url::form_urlencoded;

use super::{no_precondition, not_found};
use crate::audit::{Actor, HttpRequest, Origin};
use crate::http::admission::Slot;
use crate::http::log::RequestId;
use crate::http::precondition;
use crate::http::problem::Problem;
use crate::http::reason;
use crate::http::request::{ApiRequest, check_json};
use crate::http::state::AppState;
use crate::policy_store::{self, Author, ChangeError, Changed, ExpectedRevision, ManagedBy};
use quell_policy::{Policy, TenantId};

pub(in crate::http) type NameParam = Result<Path<String>, PathRejection>;

/// What a change expects to be there (`If-Match`, `If-None-Match`).
pub(super) struct Precondition {
    pub(super) revision: ExpectedRevision,
    must_be_new: bool,
}

impl Precondition {
    /// The answer to a change that failed. Where a policy is in its way, it says which header was missing.
    pub(super) fn explain(&self, error: ChangeError) -> Problem {
        let ChangeError::Exists(revision) = error else {
            return error.into();
        };
        if self.must_be_new {
            ChangeError::Stale(revision).into()
        } else {
            no_precondition()
        }
    }
}

/// An author's texts, held while the author is borrowed from.
pub(super) struct AuthorTexts {
    id: TenantId,
    request: HttpRequest,
}

impl AuthorTexts {
    pub(super) fn by(&self) -> Author<'_> {
        Author {
            origin: Origin::Rest,
            actor: Actor::Caller(Some(self.id.clone())),
            request: Some(&self.request),
        }
    }
}

impl ApiRequest {
    /// Where the caller finds this policy: an operator has to say whose it is.
    pub(super) fn location(&self, name: &str) -> String {
        let mut location = format!("/v1/policies/{name}");
        if let Some(owner) = self.owner.tenant().filter(|_| self.caller.is_operator()) {
            let mut query = form_urlencoded::Serializer::new(String::new());
            location.push('?');
            location.push_str(&query.append_pair("owner", owner.as_str()).finish());
        }
        location
    }

    pub(super) fn author(&self) -> Result<AuthorTexts, Problem> {
        Ok(AuthorTexts {
            id: self.caller_id.clone(),
            request: HttpRequest {
                id: RequestId::of(&self.parts),
                on_behalf_of: self.caller.on_behalf_of().map(str::to_owned),
                reason: reason::of_headers(&self.parts.headers)?,
            },
        })
    }

    /// The policy in the body; at a path with a name, the body may leave its name out.
    pub(super) fn policy(&self, name: Option<&str>) -> Result<(Policy, Vec<String>), Problem> {
        check_json(&self.parts.headers)?;
        let named = name.and_then(|name| with_name(&self.body.bytes, name));
        let body = named.as_deref().unwrap_or(&self.body.bytes);
        let checked = Policy::from_json(body, &self.owner)?;
        if let Some(name) = name
            && checked.value.name != name
        {
            return Err(Problem::invalid_request(format!(
                "`name` is {:?}, but the path says {name:?}: a policy is not renamed; create the new one and delete the old",
                checked.value.name
            )));
        }
        let warnings = checked.warnings.iter().map(ToString::to_string).collect();
        Ok((checked.value, warnings))
    }

    pub(super) fn precondition(&self) -> Result<Precondition, Problem> {
        let headers = &self.parts.headers;
        let must_be_new = precondition::if_none_match(headers)?;
        let expected = precondition::if_match(headers)?;
        Ok(Precondition {
            revision: expected.unwrap_or(ExpectedRevision::Absent),
            must_be_new,
        })
    }

    pub(super) async fn put(
        &self,
        state: &AppState,
        policy: &Policy,
        expected: ExpectedRevision,
    ) -> Result<Result<Changed, ChangeError>, Problem> {
        let author = self.author()?;
        let by = author.by();
        let _slot = self.slot(state).await?;
        let changed = policy_store::put(&state.pool, &by, policy, ManagedBy::Rest, expected);
        Ok(changed.await)
    }

    /// Its turn among the changes of this process: they wait here, and not with a connection each.
    pub(super) async fn slot(&self, state: &AppState) -> Result<Slot, Problem> {
        let (queue, caller) = (&state.queues.change, self.caller_id.as_str());
        queue.admit_until(&state.stop, caller).await
    }
}

/// The body with this name in it; none where it has one, or is no JSON object.
///
/// The name is put in before anything is checked, so that all that was sent is checked, also what
/// stands twice.
fn with_name(body: &[u8], name: &str) -> Option<Vec<u8>> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(body) else {
        return None;
    };
    if fields.contains_key("name") {
        return None;
    }
    let (before, after) = body.split_at(body.iter().position(|byte| *byte == b'{')? + 1);
    let comma = if fields.is_empty() { "" } else { "," };
    let name = format!("\"name\":{}{comma}", Value::from(name));
    Some([before, name.as_bytes(), after].concat())
}

/// A name that a stored policy can have: Postgres would not even look for one with a NUL.
pub(super) fn stored_name(name: NameParam) -> Result<String, Problem> {
    let name = name.map(|Path(name)| name).ok();
    name.filter(|name| !name.contains('\0'))
        .ok_or_else(not_found)
}

//! Who asks about whose policies, and what their request holds.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request};
use axum::http::request::Parts;
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded;

use super::Error;
use crate::access::Principal;
use crate::app::App;
use crate::audit::{Actor, Origin};
use crate::http::auth::{self, AuthRequest, Caller, Scope};
use crate::http::body;
use crate::http::log::RequestId;
use crate::http::mute::check_json;
use crate::http::precondition;
use crate::policy_store::{self, Author, ChangeError, Changed, Expected, ManagedBy};
use quell_policy::{Owner, Policy, TenantId};

/// One policy; a file of many may have more.
const BODY_BYTES_MAX: usize = 64 << 10;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct OwnerQuery {
    pub(in crate::http) owner: Option<String>,
}

pub(in crate::http) type NameParam = Result<Path<String>, PathRejection>;
pub(in crate::http) type OwnerParam = Result<Query<OwnerQuery>, QueryRejection>;

/// What a change expects to be there (`If-Match`, `If-None-Match`).
pub(super) struct Precondition {
    pub(super) revision: Expected,
    must_be_new: bool,
}

impl Precondition {
    /// Says of a policy that is there what was missing to change it.
    pub(super) fn explain(&self, error: Error) -> Error {
        let Error::Change(ChangeError::Exists(revision)) = error else {
            return error;
        };
        if self.must_be_new {
            ChangeError::Stale(revision).into()
        } else {
            Error::NoPrecondition
        }
    }
}

/// A request whose caller is known and may do this.
pub(in crate::http) struct Asked {
    pub(in crate::http) parts: Parts,
    pub(in crate::http) body: Vec<u8>,
    pub(in crate::http) caller: Caller,
    /// Whose policies are meant: the caller's, or those that an operator names.
    pub(in crate::http) owner: Owner,
}

/// An author's texts, held while the author is borrowed from.
pub(super) struct AuthorTexts {
    id: Option<TenantId>,
    request_id: String,
}

impl AuthorTexts {
    pub(super) fn by(&self) -> Author<'_> {
        Author {
            origin: Origin::Rest,
            actor: Actor::Caller(self.id.clone()),
            request_id: Some(&self.request_id),
        }
    }
}

impl Asked {
    pub(super) async fn read(
        app: &App,
        request: Request,
        owner: OwnerParam,
        scope: Scope,
    ) -> Result<Self, Error> {
        Self::read_up_to(app, request, owner, scope, BODY_BYTES_MAX).await
    }

    pub(in crate::http) async fn read_up_to(
        app: &App,
        request: Request,
        owner: OwnerParam,
        scope: Scope,
        bytes_max: usize,
    ) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        let body = body::read(body, bytes_max).await?;
        let caller = app
            .authenticator
            .caller_of_api(
                &AuthRequest {
                    headers: &parts.headers,
                    method: &parts.method,
                    path: parts.uri.path(),
                    // `?api_key=` is for the mute endpoint only.
                    api_key: None,
                    body: &body,
                },
                scope,
            )
            .await?;
        let named = named_owner(owner)?;
        let owner = if caller.is_operator() {
            named
        } else {
            let own = caller.id().cloned().into();
            if !named.is_operator() && named != own {
                return Err(Error::OtherOwner);
            }
            own
        };
        Ok(Self {
            parts,
            body,
            caller,
            owner,
        })
    }

    /// Who asks.
    pub(in crate::http) fn principal(&self) -> Result<Principal, Error> {
        let id = self.caller.id().cloned().ok_or(auth::WITHOUT_ID)?;
        Ok(Principal::Caller {
            id,
            is_operator: self.caller.is_operator(),
        })
    }

    pub(in crate::http) fn owner(&self) -> &Owner {
        &self.owner
    }

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

    pub(super) fn author(&self) -> AuthorTexts {
        AuthorTexts {
            id: self.caller.id().cloned(),
            request_id: RequestId::of(&self.parts),
        }
    }

    /// The policy in the body; at a path with a name, the body may leave its name out.
    pub(super) fn policy(&self, name: Option<&str>) -> Result<(Policy, Vec<String>), Error> {
        check_json(&self.parts.headers).map_err(Error::Invalid)?;
        let named = name.and_then(|name| with_name(&self.body, name));
        let body = named.as_deref().unwrap_or(self.body.as_slice());
        let checked = Policy::from_json(body, self.owner())?;
        if let Some(name) = name
            && checked.value.name != name
        {
            return Err(Error::Invalid(format!(
                "`name` is {:?}, but the path says {name:?}: a policy is not renamed; create the new one and delete the old",
                checked.value.name
            )));
        }
        let warnings = checked.warnings.iter().map(ToString::to_string).collect();
        Ok((checked.value, warnings))
    }

    pub(super) fn expected(&self) -> Result<Precondition, Error> {
        let headers = &self.parts.headers;
        let must_be_new = precondition::if_none_match(headers).map_err(Error::Invalid)?;
        let expected = precondition::if_match(headers).map_err(Error::Invalid)?;
        Ok(Precondition {
            revision: expected.unwrap_or(Expected::Absent),
            must_be_new,
        })
    }

    pub(super) async fn put(
        &self,
        app: &App,
        policy: &Policy,
        expected: Expected,
    ) -> Result<Changed, Error> {
        let author = self.author();
        let by = author.by();
        Ok(policy_store::put(&app.pool, &by, policy, ManagedBy::Rest, expected).await?)
    }
}

/// The body with this name in it; none where it has one, or is no JSON object.
///
/// It is put in before all else, so that everything that was sent is read, also what stands twice.
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
pub(super) fn stored_name(name: NameParam) -> Result<String, Error> {
    let name = name.map(|Path(name)| name).ok();
    name.filter(|name| !name.contains('\0'))
        .ok_or(Error::NotFound)
}

fn named_owner(owner: OwnerParam) -> Result<Owner, Error> {
    let Query(query) = owner.map_err(|error| Error::Invalid(error.body_text()))?;
    Owner::try_from(query.owner).map_err(|why| {
        Error::Invalid(format!(
            "`owner` {why}: name a tenant, or leave it out to mean the operator"
        ))
    })
}

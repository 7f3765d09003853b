//! `/v1/policies`: the caller's stored policies; an operator names another owner by `?owner=`.
//!
//! A policy's `ETag` is its revision. A change of what is there says which revision it was made
//! from (`If-Match`, RFC 9110), so that nobody overwrites what they have not seen.

use axum::Json;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::{ETAG, LOCATION};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::auth::{AuthError, AuthRequest, Caller, Scope};
use super::body::{self, BodyError};
use super::mute::{check_json, request_id};
use super::precondition;
use super::problem::Problem;
use crate::app::App;
use crate::audit::Origin;
use crate::policy::{Policy, Problems};
use crate::policy_store::{
    self, Author, ChangeError, Changed, Expected, ManagedBy, OwnerFilter, Stored,
};

/// One policy; a file of many may have more.
const BODY_BYTES_MAX: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("{0}")]
    Policy(#[from] Problems),
    #[error("only an operator may name another owner than itself")]
    OtherOwner,
    #[error("there is no policy of this name")]
    NotFound,
    #[error(
        "the policy is there already: send If-Match with the ETag of the revision that you change, or * for any"
    )]
    NoPrecondition,
    #[error(transparent)]
    Change(#[from] ChangeError),
    #[error("the database does not answer")]
    Database(#[from] sqlx::Error),
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let text = self.to_string();
        let problem = match self {
            Self::Auth(error) => error.into(),
            Self::Invalid(_) | Self::Body(BodyError::Slow | BodyError::Broken) => {
                Problem::invalid_request(text)
            }
            Self::Body(BodyError::TooLarge { .. }) => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", text)
            }
            Self::Policy(_) => Problem::new(StatusCode::BAD_REQUEST, "INVALID_POLICY", text),
            Self::OtherOwner => Problem::forbidden(text),
            Self::NotFound => Problem::new(StatusCode::NOT_FOUND, "POLICY_NOT_FOUND", text),
            Self::NoPrecondition => Problem::new(
                StatusCode::PRECONDITION_REQUIRED,
                "PRECONDITION_REQUIRED",
                text,
            ),
            Self::Change(ChangeError::Exists(_)) => {
                Problem::new(StatusCode::CONFLICT, "POLICY_EXISTS", text)
            }
            Self::Change(ChangeError::TooMany) => {
                Problem::new(StatusCode::CONFLICT, "TOO_MANY_POLICIES", text)
            }
            Self::Change(ChangeError::Missing | ChangeError::Stale(_)) => {
                Problem::new(StatusCode::PRECONDITION_FAILED, "PRECONDITION_FAILED", text)
            }
            Self::Database(error) | Self::Change(ChangeError::Database(error)) => {
                tracing::error!(%error, "policies cannot be read or changed");
                Problem::unavailable("the database does not answer")
            }
        };
        problem.into_response()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnerQuery {
    owner: Option<String>,
}

/// A policy as it is answered.
#[derive(Debug, Serialize)]
struct Shown {
    owner: Option<String>,
    name: String,
    revision: i32,
    managed_by: String,
    updated_at: String,
    updated_by: String,
    policy: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

impl Shown {
    fn new(stored: Stored, warnings: Vec<String>) -> Self {
        Self {
            owner: stored.owner,
            name: stored.name,
            revision: stored.revision,
            managed_by: stored.managed_by,
            updated_at: stored.updated_at.to_rfc3339(),
            updated_by: stored.updated_by,
            policy: stored.document,
            warnings,
        }
    }

    fn into_response(self, status: StatusCode) -> Response {
        let etag = format!("\"{}\"", self.revision);
        (status, [(ETAG, etag)], Json(self)).into_response()
    }
}

type NameParam = Result<Path<String>, axum::extract::rejection::PathRejection>;
pub(super) type OwnerParam = Result<Query<OwnerQuery>, axum::extract::rejection::QueryRejection>;

pub(super) async fn list(
    State(app): State<App>,
    owner: OwnerParam,
    request: Request,
) -> Result<Response, Error> {
    let asked = Asked::read(&app, request, owner, Scope::PoliciesRead).await?;
    let filter = match (asked.caller.is_operator(), asked.owner()) {
        (true, None) => OwnerFilter::All,
        (_, owner) => OwnerFilter::Is(owner),
    };
    let stored = policy_store::list(&app.pool, filter).await?;
    let policies: Vec<_> = stored
        .into_iter()
        .map(|stored| Shown::new(stored, Vec::new()))
        .collect();
    Ok(Json(json!({ "policies": policies })).into_response())
}

pub(super) async fn show(
    State(app): State<App>,
    name: NameParam,
    owner: OwnerParam,
    request: Request,
) -> Result<Response, Error> {
    let asked = Asked::read(&app, request, owner, Scope::PoliciesRead).await?;
    let stored = policy_store::get(&app.pool, asked.owner(), &stored_name(name)?).await?;
    let stored = stored.ok_or(Error::NotFound)?;
    Ok(Shown::new(stored, Vec::new()).into_response(StatusCode::OK))
}

pub(super) async fn create(
    State(app): State<App>,
    owner: OwnerParam,
    request: Request,
) -> Result<Response, Error> {
    let asked = Asked::read(&app, request, owner, Scope::PoliciesWrite).await?;
    let (policy, warnings) = asked.policy(None)?;
    let changed = asked.put(&app, &policy, Expected::Absent).await?;
    let location = asked.location(&policy.name);
    let mut response = Shown::new(changed.policy, warnings).into_response(StatusCode::CREATED);
    if let Ok(location) = location.parse() {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

pub(super) async fn replace(
    State(app): State<App>,
    name: NameParam,
    owner: OwnerParam,
    request: Request,
) -> Result<Response, Error> {
    let asked = Asked::read(&app, request, owner, Scope::PoliciesWrite).await?;
    let (policy, warnings) = asked.policy(Some(&stored_name(name)?))?;
    let must_be_new = precondition::if_none_match(&asked.parts.headers).map_err(Error::Invalid)?;
    let expected = precondition::if_match(&asked.parts.headers)
        .map_err(Error::Invalid)?
        .unwrap_or(Expected::Absent);
    let changed = match asked.put(&app, &policy, expected).await {
        Err(Error::Change(ChangeError::Exists(revision))) => {
            return Err(if must_be_new {
                ChangeError::Stale(revision).into()
            } else {
                Error::NoPrecondition
            });
        }
        changed => changed?,
    };
    let status = match changed.outcome {
        policy_store::Outcome::Created => StatusCode::CREATED,
        policy_store::Outcome::Updated
        | policy_store::Outcome::Unchanged
        | policy_store::Outcome::Deleted => StatusCode::OK,
    };
    Ok(Shown::new(changed.policy, warnings).into_response(status))
}

pub(super) async fn delete(
    State(app): State<App>,
    name: NameParam,
    owner: OwnerParam,
    request: Request,
) -> Result<Response, Error> {
    let asked = Asked::read(&app, request, owner, Scope::PoliciesWrite).await?;
    let (owner, name) = (asked.owner(), &stored_name(name)?);
    let Some(expected) = precondition::if_match(&asked.parts.headers).map_err(Error::Invalid)?
    else {
        let is_there = policy_store::get(&app.pool, owner, name).await?.is_some();
        return Err(if is_there {
            Error::NoPrecondition
        } else {
            Error::NotFound
        });
    };
    let author = asked.author();
    match policy_store::delete(&app.pool, &author.by(), owner, name, expected).await {
        Ok(_) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(ChangeError::Missing) => Err(Error::NotFound),
        Err(error) => Err(error.into()),
    }
}

/// A request whose caller is known and may do this.
pub(super) struct Asked {
    pub(super) parts: Parts,
    pub(super) body: Vec<u8>,
    pub(super) caller: Caller,
    /// Whose policies are meant: the caller's, or those that an operator names.
    pub(super) owner: Option<String>,
}

/// An author's texts, held while the author is borrowed from.
struct AuthorTexts {
    id: String,
    request_id: String,
}

impl AuthorTexts {
    fn by(&self) -> Author<'_> {
        Author {
            origin: Origin::Rest,
            id: &self.id,
            request_id: Some(&self.request_id),
        }
    }
}

impl Asked {
    async fn read(
        app: &App,
        request: Request,
        owner: OwnerParam,
        scope: Scope,
    ) -> Result<Self, Error> {
        Self::read_up_to(app, request, owner, scope, BODY_BYTES_MAX).await
    }

    pub(super) async fn read_up_to(
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
            let own = caller.id().map(str::to_owned);
            if named.is_some() && named != own {
                return Err(Error::OtherOwner);
            }
            own
        };
        Ok(Self {
            parts,
            body: body.into(),
            caller,
            owner,
        })
    }

    pub(super) fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// Where the caller finds this policy: an operator has to say whose it is.
    fn location(&self, name: &str) -> String {
        let mut location = format!("/v1/policies/{name}");
        if let Some(owner) = self.owner().filter(|_| self.caller.is_operator()) {
            let mut query = form_urlencoded::Serializer::new(String::new());
            location.push('?');
            location.push_str(&query.append_pair("owner", owner).finish());
        }
        location
    }

    fn author(&self) -> AuthorTexts {
        AuthorTexts {
            id: self.caller.id().unwrap_or_default().to_owned(),
            request_id: request_id(&self.parts.headers),
        }
    }

    /// The policy in the body; at a path with a name, the body may leave its name out.
    fn policy(&self, name: Option<&str>) -> Result<(Policy, Vec<String>), Error> {
        check_json(&self.parts.headers).map_err(Error::Invalid)?;
        let mut body = std::borrow::Cow::Borrowed(self.body.as_slice());
        if let Some(name) = name
            && let Ok(Value::Object(mut fields)) = serde_json::from_slice(&body)
            && !fields.contains_key("name")
        {
            fields.insert("name".to_owned(), name.into());
            body = Value::Object(fields).to_string().into_bytes().into();
        }
        let checked = Policy::from_json(&body, self.owner())?;
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

    async fn put(&self, app: &App, policy: &Policy, expected: Expected) -> Result<Changed, Error> {
        let author = self.author();
        let by = author.by();
        Ok(policy_store::put(&app.pool, &by, policy, ManagedBy::Rest, expected).await?)
    }
}

/// A name that a stored policy can have: Postgres would not even look for one with a NUL.
fn stored_name(name: NameParam) -> Result<String, Error> {
    let name = name.map(|Path(name)| name).ok();
    name.filter(|name| !name.contains('\0'))
        .ok_or(Error::NotFound)
}

fn named_owner(owner: OwnerParam) -> Result<Option<String>, Error> {
    let Query(query) = owner.map_err(|error| Error::Invalid(error.body_text()))?;
    match query.owner {
        // Postgres has no text with a NUL in it, and no id has control characters.
        Some(owner) if owner.contains(char::is_control) => Err(Error::Invalid(
            "`owner` must not hold control characters".to_owned(),
        )),
        Some(owner) if owner.trim().is_empty() => Err(Error::Invalid(
            "`owner` must not be empty: leave it out to mean the operator".to_owned(),
        )),
        owner => Ok(owner),
    }
}

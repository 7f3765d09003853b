//! `/v1/policies`: the caller's stored policies; an operator names another owner by `?owner=`.
//!
//! A policy's `ETag` is its revision. A change of what is there says which revision it was made
//! from (`If-Match`, RFC 9110), so that nobody overwrites what they have not seen.

pub(super) mod asked;
pub(super) mod revisions;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{ETAG, LOCATION};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::auth::{AuthError, Scope};
use super::body::BodyError;
use super::precondition;
use super::problem::{Problem, chain};
use crate::app::App;
use crate::policy_store::{self, ChangeError, Expected, RollbackError, Stored};
pub(super) use asked::{Asked, OwnerParam};
use asked::{NameParam, stored_name};
use quell_policy::{Owner, Problems};

#[derive(Debug, thiserror::Error)]
pub(in crate::http) enum Error {
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
    #[error("{0}")]
    NoRevision(String),
    #[error(transparent)]
    Change(#[from] ChangeError),
    #[error("{0}")]
    NotRestorable(RollbackError),
    #[error("the database does not answer")]
    Database(#[from] sqlx::Error),
}

impl From<RollbackError> for Error {
    fn from(error: RollbackError) -> Self {
        match error {
            RollbackError::NoPolicy => Self::NotFound,
            RollbackError::NoRevision { .. } => Self::NoRevision(error.to_string()),
            RollbackError::Change(error) => error.into(),
            RollbackError::IsDeletion(_) | RollbackError::Unreadable { .. } => {
                Self::NotRestorable(error)
            }
        }
    }
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
            Self::NoRevision(_) => Problem::new(StatusCode::NOT_FOUND, "REVISION_NOT_FOUND", text),
            Self::NotRestorable(_) => {
                Problem::new(StatusCode::CONFLICT, "REVISION_NOT_RESTORABLE", text)
            }
            Self::NoPrecondition => Problem::new(
                StatusCode::PRECONDITION_REQUIRED,
                "PRECONDITION_REQUIRED",
                text,
            ),
            Self::Change(ChangeError::Exists(_)) => {
                Problem::new(StatusCode::CONFLICT, "POLICY_EXISTS", text)
            }
            Self::Change(ChangeError::TooMany | ChangeError::TooMuch) => {
                Problem::new(StatusCode::CONFLICT, "TOO_MANY_POLICIES", text)
            }
            Self::Change(ChangeError::Missing | ChangeError::Stale(_)) => {
                Problem::new(StatusCode::PRECONDITION_FAILED, "PRECONDITION_FAILED", text)
            }
            Self::Database(error) | Self::Change(ChangeError::Database(error)) => {
                Problem::unavailable("the database does not answer").because(chain(&error))
            }
        };
        problem.into_response()
    }
}

/// A policy as it is answered.
#[derive(Debug, Serialize)]
struct Shown {
    owner: Owner,
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

/// The status of an answer that shows the policy after a change.
const fn status_of(outcome: policy_store::Outcome) -> StatusCode {
    match outcome {
        policy_store::Outcome::Created => StatusCode::CREATED,
        policy_store::Outcome::Updated
        | policy_store::Outcome::Unchanged
        | policy_store::Outcome::Deleted => StatusCode::OK,
    }
}

pub(super) async fn list(
    State(app): State<App>,
    owner: OwnerParam,
    request: Request,
) -> Result<Response, Error> {
    let asked = Asked::read(&app, request, owner, Scope::PoliciesRead).await?;
    let filter = match (asked.caller.is_operator(), asked.owner()) {
        (true, Owner::Operator) => None,
        (_, owner) => Some(owner),
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
    let expected = asked.expected()?;
    let changed = asked.put(&app, &policy, expected.revision).await;
    let changed = changed.map_err(|error| expected.explain(error))?;
    let status = status_of(changed.outcome);
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

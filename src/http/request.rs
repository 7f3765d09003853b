//! A request to `/v1`, read whole: its caller, the owner that it means, and its body.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request};
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer};

use super::auth::{AuthRequest, Caller, Scope, WITHOUT_ID};
use super::body::{BodyError, RequestBody, WholeBody};
use super::caller_limits::Turn;
use super::connection_io::UntilWritten;
use super::problem::Problem;
use super::state::AppState;
use crate::access::Principal;
use quell_policy::terminal::{cut, quoted};
use quell_policy::{Owner, TenantId, json};

/// One policy; a file of many may have more.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Messages of parsers are cut here: they may quote all of the input.
const MESSAGE_CHARS_MAX: usize = 300;

/// Whose policies.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnerQuery {
    /// A tenant. Only an operator may name another than itself.
    #[schemars(with = "Option<TenantId>")]
    pub(super) owner: Option<String>,
}

/// A query, a parameter of which may say whose things are meant.
pub(super) trait NamesTenant {
    /// The parameter, and the tenant that it names.
    fn named(&self) -> (&'static str, Option<&str>) {
        ("owner", None)
    }
}

impl NamesTenant for OwnerQuery {
    fn named(&self) -> (&'static str, Option<&str>) {
        ("owner", self.owner.as_deref())
    }
}

/// A query as it is read, or why it cannot be.
pub(super) type QueryParam<Q> = Result<Query<Q>, QueryRejection>;

/// `?owner=`. Only an operator may name an owner other than itself.
pub(super) type OwnerParam = QueryParam<OwnerQuery>;

/// A request whose caller is known and has the scope that it takes.
pub(super) struct ApiRequest {
    pub(super) parts: Parts,
    pub(super) body: WholeBody,
    /// Who asks.
    pub(super) principal: Principal,
    pub(super) caller: Caller,
    pub(super) caller_id: TenantId,
    /// Whose policies are meant: the caller's, or those of the owner that an operator names.
    pub(super) owner: Owner,
    /// Where no connection keeps it until the answer is written.
    _turn: Option<Turn>,
}

impl ApiRequest {
    /// Reads a request whose body holds one policy at most.
    pub(super) async fn read(
        state: &AppState,
        request: Request,
        owner: OwnerParam,
        scope: Scope,
    ) -> Result<Self, Problem> {
        Self::read_up_to(state, request, owner, scope, BODY_BYTES_MAX).await
    }

    /// The same, with a body of at most `bytes_max` bytes.
    pub(super) async fn read_up_to(
        state: &AppState,
        request: Request,
        owner: OwnerParam,
        scope: Scope,
        bytes_max: usize,
    ) -> Result<Self, Problem> {
        let read = Self::read_whole(state, request, owner, scope, bytes_max);
        Ok(read.await?.0)
    }

    /// The same of a request whose query says more than whose things are meant; with the query.
    pub(super) async fn read_query<Q: NamesTenant>(
        state: &AppState,
        request: Request,
        query: QueryParam<Q>,
        scope: Scope,
    ) -> Result<(Self, Q), Problem> {
        Self::read_whole(state, request, query, scope, BODY_BYTES_MAX).await
    }

    /// What is wrong with the query is for callers who are known.
    async fn read_whole<Q: NamesTenant>(
        state: &AppState,
        request: Request,
        query: QueryParam<Q>,
        scope: Scope,
        bytes_max: usize,
    ) -> Result<(Self, Q), Problem> {
        let (parts, body) = request.into_parts();
        let body = RequestBody::new(body, bytes_max, state.body_bytes.reservation());
        let caller = state
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
        let caller_id = caller.id().cloned().ok_or(WITHOUT_ID)?;
        let mut turn = Some(state.requests.enter(Some(caller_id.as_str()))?);
        // Answers can be large, and clients slow.
        if let Some(written) = parts.extensions.get::<UntilWritten>() {
            written.keep(turn.take());
        }
        let body = body.whole().await?;
        let principal = Principal::Caller {
            id: caller_id.clone(),
            is_operator: caller.is_operator(),
        };
        let Query(query) = query.map_err(|error| Problem::invalid_request(error.body_text()))?;
        let owner = principal.owner(named_owner(&query)?);
        let owner = owner.ok_or_else(other_owner)?;
        let request = Self {
            parts,
            body,
            principal,
            caller,
            caller_id,
            owner,
            _turn: turn,
        };
        Ok((request, query))
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let text = error.to_string();
        match error {
            BodyError::TooLarge { .. } => Self::payload_too_large(text),
            BodyError::Slow | BodyError::Broken => Self::invalid_request(text),
            BodyError::NoRoom => Self::unavailable(text),
        }
    }
}

pub(super) fn other_owner() -> Problem {
    Problem::forbidden("only an operator may name another owner than itself")
}

/// Refuses a body whose content type is not JSON.
pub(super) fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = content_type.unwrap_or_default().split(';').next();
    if essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json")) {
        Ok(())
    } else {
        Err(Problem::invalid_request(
            "the content type must be application/json: send the header Content-Type: application/json",
        ))
    }
}

/// The body as a `T`: a JSON object in which every key stands once. Else what is wrong with it, and where.
pub(super) fn read_json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: &[u8],
) -> Result<T, Problem> {
    check_json(headers)?;
    let value =
        json::read(body).map_err(|error| Problem::invalid_request(format!("the body {error}")))?;
    if !value.is_object() {
        return Err(Problem::invalid_request("the body must be a JSON object"));
    }
    serde_path_to_error::deserialize(&value).map_err(|error| {
        // It may quote a text, or a key, as long as the body.
        let said = cut(&error.inner().to_string(), MESSAGE_CHARS_MAX);
        Problem::invalid_request(match error.path().to_string().as_str() {
            "." => format!("the body: {said}"),
            path => format!("`{}`: {said}", cut(path, MESSAGE_CHARS_MAX)),
        })
    })
}

/// A time with its offset, or what one looks like.
pub(super) fn time<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<DateTime<Utc>>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let time = DateTime::parse_from_rfc3339(&text).map_err(|error| {
        let text = quoted(&text);
        de::Error::custom(format!(
            "{text} is no time with its offset, such as 2026-03-02T22:30:00+01:00: {error}"
        ))
    })?;
    Ok(Some(time.to_utc()))
}

fn named_owner(query: &impl NamesTenant) -> Result<Owner, Problem> {
    let (parameter, tenant) = query.named();
    Owner::try_from(tenant.map(str::to_owned)).map_err(|why| {
        Problem::invalid_request(format!(
            "`{parameter}` {why}: name a tenant, or leave it out to mean the operator"
        ))
    })
}

/// How many a page holds: what was asked for, or else `default`. `place` is the parameter that pages go on by.
pub(super) fn page_limit(
    asked: Option<u16>,
    default: u16,
    max: u16,
    place: &str,
) -> Result<u16, Problem> {
    let limit = asked.unwrap_or(default);
    if (1..=max).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::invalid_request(format!(
        "`limit` is {limit}, but must be 1 to {max}: ask for further ones with `{place}`"
    )))
}

//! `X-Actor`: the person for whom a caller with an API secret calls.
//!
//! Such a secret is a backend's, which knows its people. A token can be in a person's own hands, and whoever has it
//! would say whom it likes: there the JWT's actor claim says it, and the header is refused.

use axum::http::{HeaderMap, HeaderName};

use super::super::header::one_header;
use super::AuthError;
use super::caller::Id;

const X_ACTOR: HeaderName = HeaderName::from_static("x-actor");

/// The person; none where the header is not there.
pub(super) fn of_headers(headers: &HeaderMap) -> Result<Option<Id>, AuthError> {
    let sent = one_header(headers, &X_ACTOR).map_err(|problem| AuthError::Actor(problem.error))?;
    let Some(text) = sent else {
        return Ok(None);
    };
    let person = Id::new(text).ok();
    person.map(Some).ok_or(AuthError::Actor(
        "X-Actor must be 1 to 256 characters, not blank, and not begin with cli:".to_owned(),
    ))
}

/// For callers without an API secret.
pub(super) fn refuse(headers: &HeaderMap) -> Result<(), AuthError> {
    if headers.contains_key(X_ACTOR) {
        return Err(AuthError::Actor(
            "X-Actor is taken from callers with an API secret only: leave it out (a JWT says it by the claim that QUELL_JWT_ACTOR_CLAIM names)".to_owned(),
        ));
    }
    Ok(())
}

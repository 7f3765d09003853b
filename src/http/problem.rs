//! The one shape of an error body: `{"error": human text, "code": UPPER_SNAKE}`; and what the log
//! is told beside it.

use std::error::Error;

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::auth::Reason;

/// An answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// What programs read.
    pub code: &'static str,
    /// What people read: what was wrong, where, and what to do.
    pub error: String,
    /// What the log is told and the caller is not: what caused it.
    pub cause: Option<String>,
    /// Why the caller is not believed, of a 401.
    pub reason: Option<Reason>,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    code: &'a str,
}

impl Problem {
    /// A problem with this status, code and text.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, error: impl Into<String>) -> Self {
        Self {
            status,
            code,
            error: error.into(),
            cause: None,
            reason: None,
        }
    }

    /// The same, with what caused it: for the log.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// 400 `INVALID_REQUEST`.
    #[must_use]
    pub fn invalid_request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", error)
    }

    /// 401 `UNAUTHORIZED`.
    #[must_use]
    pub fn unauthorized(reason: Reason, error: impl Into<String>) -> Self {
        Self {
            reason: Some(reason),
            ..Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", error)
        }
    }

    /// 403 `FORBIDDEN`.
    #[must_use]
    pub fn forbidden(error: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", error)
    }

    /// 404 `PARTICIPANT_NOT_FOUND`. Room, participant, track or access: one answer, so that nobody
    /// learns which.
    #[must_use]
    pub fn participant_not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "PARTICIPANT_NOT_FOUND",
            "no such room, participant or track",
        )
    }

    /// 503 `UNAVAILABLE`: trouble on our side, worth another try.
    #[must_use]
    pub fn unavailable(error: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Json(Body {
            error: &self.error,
            code: self.code,
        });
        let mut response = (self.status, body).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        // The one who counts and logs answers reads it there.
        response.extensions_mut().insert(self);
        response
    }
}

/// An error with what caused it, down to the first cause. Some say that themselves, others do not.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

//! The one shape of an error body: `{"error": human text, "code": UPPER_SNAKE}`; and what is only
//! written to the log.

use std::error::Error;

use axum::Json;
use axum::http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::codes::{self, ErrorCode};
use crate::livekit::{LiveKitError, NOT_CONFIGURED};
use crate::metrics::AuthFailure;
use crate::postgres::{Trouble, failed_query};

/// An answer that is not a success: the error of every handler. Other errors become one by `From`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What programs read, and the HTTP status.
    pub code: &'static ErrorCode,
    /// What people read: what was wrong, where, and what to do.
    pub error: String,
    /// What caused it: for the log, not for the caller.
    pub cause: Option<String>,
    /// Why the caller is not authenticated, of a 401.
    pub reason: Option<AuthFailure>,
    /// When to try again (`Retry-After`), in seconds.
    pub retry_after_secs: Option<u64>,
}

#[derive(Serialize)]
struct ProblemBody<'a> {
    error: &'a str,
    code: &'a str,
}

impl Problem {
    /// A problem with this code and text.
    #[must_use]
    pub fn new(code: &'static ErrorCode, error: impl Into<String>) -> Self {
        Self {
            code,
            error: error.into(),
            cause: None,
            reason: None,
            retry_after_secs: None,
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
        Self::new(codes::INVALID_REQUEST, error)
    }

    /// 401 `UNAUTHORIZED`.
    #[must_use]
    pub fn unauthorized(reason: AuthFailure, error: impl Into<String>) -> Self {
        Self {
            reason: Some(reason),
            ..Self::new(codes::UNAUTHORIZED, error)
        }
    }

    /// 403 `FORBIDDEN`.
    #[must_use]
    pub fn forbidden(error: impl Into<String>) -> Self {
        Self::new(codes::FORBIDDEN, error)
    }

    /// 404 `PARTICIPANT_NOT_FOUND`. Room, participant, track or access: one answer, so that nobody
    /// learns which.
    #[must_use]
    pub fn participant_not_found() -> Self {
        Self::new(
            codes::PARTICIPANT_NOT_FOUND,
            "no such room, participant or track",
        )
    }

    /// 413 `PAYLOAD_TOO_LARGE`.
    #[must_use]
    pub fn payload_too_large(error: impl Into<String>) -> Self {
        Self::new(codes::PAYLOAD_TOO_LARGE, error)
    }

    /// 503 `LIVEKIT_NOT_CONFIGURED`.
    #[must_use]
    pub fn livekit_not_configured() -> Self {
        Self::new(codes::LIVEKIT_NOT_CONFIGURED, NOT_CONFIGURED)
    }

    /// 503 `UNAVAILABLE`: for what takes longer than a stop waits.
    #[must_use]
    pub fn stopping() -> Self {
        Self::unavailable("quell is being stopped")
    }

    /// 503 `UNAVAILABLE`: trouble on our side, worth another try.
    #[must_use]
    pub fn unavailable(error: impl Into<String>) -> Self {
        Self::new(codes::UNAVAILABLE, error)
    }
}

impl From<LiveKitError> for Problem {
    fn from(error: LiveKitError) -> Self {
        let code = match error {
            LiveKitError::Timeout { .. } | LiveKitError::Unreachable { .. } => {
                codes::LIVEKIT_UNAVAILABLE
            }
            LiveKitError::Status { .. }
            | LiveKitError::Unreadable { .. }
            | LiveKitError::TooLarge { .. } => codes::LIVEKIT_FAILED,
        };
        Self::new(code, error.to_string()).because(chain(&error))
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        let what = Trouble::of(&error).unwrap_or(Trouble::Silent).what();
        Self::unavailable(what).because(failed_query(&error))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Json(ProblemBody {
            error: &self.error,
            code: self.code.code,
        });
        let mut response = (self.code.status, body).into_response();
        if self.code == codes::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        if let Some(secs) = self.retry_after_secs {
            response.headers_mut().insert(RETRY_AFTER, secs.into());
        }
        // The middleware that counts and logs answers reads it there.
        response.extensions_mut().insert(self);
        response
    }
}

/// An error and its sources, joined by colons. A source that the text contains already is left out.
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

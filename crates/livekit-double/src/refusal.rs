//! What the real server answers instead of a success.

use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An answer that is not a success.
#[derive(Debug)]
pub(super) enum Refusal {
    /// What is not Twirp's own: bad tokens, unknown paths.
    Text(StatusCode, String),
    /// A Twirp error.
    Twirp {
        status: StatusCode,
        code: &'static str,
        msg: String,
        meta: Option<(&'static str, String)>,
    },
}

impl Refusal {
    pub(super) fn twirp(status: StatusCode, code: &'static str, msg: impl Into<String>) -> Self {
        Self::Twirp {
            status,
            code,
            msg: msg.into(),
            meta: None,
        }
    }

    pub(super) fn unauthenticated(msg: &str) -> Self {
        Self::twirp(StatusCode::UNAUTHORIZED, "unauthenticated", msg)
    }

    /// What comes from behind LiveKit's message bus says "twirp error unknown: " first.
    pub(super) fn internal_bus(status: StatusCode, code: &'static str, msg: &str) -> Self {
        Self::twirp(status, code, format!("twirp error unknown: {msg}"))
    }

    pub(super) fn no_participant() -> Self {
        let msg = "participant does not exist";
        Self::internal_bus(StatusCode::NOT_FOUND, "not_found", msg)
    }

    pub(super) fn no_response() -> Self {
        let msg = "no response from servers";
        Self::internal_bus(StatusCode::SERVICE_UNAVAILABLE, "unavailable", msg)
    }

    /// `format` is `json` or `protobuf`.
    pub(super) fn malformed(format: &str) -> Self {
        let msg = format!("the {format} request could not be decoded");
        Self::twirp(StatusCode::BAD_REQUEST, "malformed", msg)
    }

    pub(super) fn bad_route(msg: String, parts: &Parts) -> Self {
        let route = format!("{} {}", parts.method, parts.uri.path());
        Self::Twirp {
            status: StatusCode::NOT_FOUND,
            code: "bad_route",
            msg,
            meta: Some(("twirp_invalid_route", route)),
        }
    }

    pub(super) fn too_long(what: &str, max: usize) -> Self {
        Self::Twirp {
            status: StatusCode::BAD_REQUEST,
            code: "invalid_argument",
            msg: format!("{what} exceeds limits {max}"),
            meta: Some(("argument", format!("{what} exceeds limits"))),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Text(status, text) => (status, text).into_response(),
            Self::Twirp {
                status,
                code,
                msg,
                meta,
            } => {
                let mut body = json!({ "code": code, "msg": msg });
                if let (Some((name, value)), Some(body)) = (meta, body.as_object_mut()) {
                    body.insert("meta".to_owned(), json!({ name: value }));
                }
                (status, axum::Json(body)).into_response()
            }
        }
    }
}

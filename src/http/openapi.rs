//! What `/openapi.json` says (OpenAPI 3.1), made from the routes, the types and the codes that requests are answered by.
//!
//! Why not `utoipa`: policies and facts have their JSON Schema by `schemars` already, with rules that `utoipa`'s
//! types cannot hold, and two ways to describe a type would differ one day. An OpenAPI 3.1 schema is a JSON Schema.

#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value becomes an object where a key of it is written"
)]

mod operation;
mod schemas;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

use super::reason;

pub(super) use operation::{Operation, Security};
pub(super) use schemas::Schemas;

/// The whole document, of these paths.
pub(super) fn document<'a>(
    paths: impl IntoIterator<Item = (&'a str, &'static str, fn(&mut Schemas) -> Operation)>,
) -> Value {
    let mut schemas = Schemas::new();
    let mut described: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for (path, method, operation) in paths {
        let operation = operation(&mut schemas).into_json();
        described
            .entry(path)
            .or_default()
            .insert(method.to_owned(), operation);
    }
    let id = json!({"type": "string",});
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "quell",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": env!("CARGO_PKG_DESCRIPTION"),
            "description": include_str!("openapi/about.md"),
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "moderation", "description": "Mute and unmute a track."},
            {"name": "policies", "description": "Which tracks are muted on their own."},
            {"name": "questions", "description": "Why a track is muted, and what a change of policies would do."},
            {"name": "audit", "description": "What was requested, by whom, on what, and what came of it."},
            {"name": "LiveKit", "description": "What livekit-server calls."},
            {"name": "operation", "description": "For whoever runs quell."},
        ],
        "paths": described,
        "components": {
            "parameters": {"X-Actor": {
                "name": "X-Actor", "in": "header", "required": false, "example": "ann@acme.example",
                "schema": {"type": "string", "minLength": 1, "maxLength": 256, "pattern": "^(?! *[cC] *[lL] *[iI] *:)[!-~]([ -~]*[!-~])?$"},
                "description": "The person for whom a caller with an API secret calls, for the audit (`on_behalf_of`). UTF-8. Others leave it out: of a JWT, a claim says it.",
            }, "X-Reason": {
                "name": "X-Reason", "in": "header", "required": false, "example": "too loud",
                "schema": {"type": "string", "maxLength": reason::CHARS_MAX, "pattern": "^[\\t -~]*$"},
                "description": "Why, for the audit (`reason`). UTF-8.",
            }, "X-Request-Id": {
                "name": "X-Request-Id", "in": "header", "required": false, "schema": id, "example": "req-7f3a",
                "description": "The request's id, for the log and the audit. Where there is none, or one of more than 128 characters, quell makes one.",
            }},
            "headers": {"X-Request-Id": {
                "description": "The request's id: the caller's, or one of quell's own.",
                "required": true, "schema": {"type": "string"}, "example": "req-7f3a",
            }},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "An API secret (`AUTH_API_SECRETS_JSON`), a JWT, or a token that the auth service knows."},
                "api_key": {"type": "apiKey", "in": "query", "name": "api_key", "description": "The same token, where a client cannot set headers. It may end up in logs of proxies."},
                "livekit": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "LiveKit's JWT, whose `sha256` is the body's (LiveKit's manual, Webhooks)."},
            },
        },
    });
    let mut document = schemas.name_in(&document);
    document["components"]["schemas"]["Error"] = error();
    document
}

/// The body of every answer that is no success.
fn error() -> Value {
    json!({
        "type": "object", "required": ["error", "code"], "additionalProperties": false,
        "description": "Every answer that is no success.",
        "properties": {
            "error": {"type": "string", "description": "What people read: what was wrong, where, and what to do."},
            "code": {"type": "string", "pattern": "^[A-Z][A-Z_]*$", "description": "What programs read."},
        },
    })
}

/// `GET /openapi.json`.
pub(super) async fn handler() -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(super::description);
    ([(CONTENT_TYPE, "application/json")], text.as_str()).into_response()
}

pub(super) fn operation(_: &mut Schemas) -> Operation {
    let content = json!({"application/json": {"schema": {"type": "object"}}});
    Operation::new(
        Security::Nobody,
        "operation",
        "describeApi",
        "This description",
    )
    .answer_of(StatusCode::OK, "OpenAPI 3.1, as JSON.", &content)
}

#[cfg(test)]
mod tests {
    use super::super::codes;

    #[test]
    fn the_committed_description_is_that_of_the_routes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == super::super::description(),
            "docs/openapi.json is not what the routes say: run `make schema`"
        );
    }

    #[test]
    fn every_code_is_answered_somewhere() {
        let text = super::super::description();
        // What no path answers: the paths are right there.
        let elsewhere = [codes::NOT_FOUND, codes::METHOD_NOT_ALLOWED];
        for code in codes::ALL.iter().filter(|code| !elsewhere.contains(code)) {
            let said = format!("`{}`: {}", code.code, code.when);
            assert!(text.contains(&said.replace('"', "\\\"")), "{said}");
        }
    }
}

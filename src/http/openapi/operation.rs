//! What is said of one method of a path.

#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value becomes an object where a key of it is written"
)]

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::http::header::HeaderName;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::super::auth::Scope;
use super::super::codes::{self, ErrorCode};
use super::schemas::Schemas;

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Security {
    Nobody,
    /// A token in the header.
    Token(Scope),
    /// A token in the header or in the query, and perhaps none.
    Mute,
    /// LiveKit's signature.
    LiveKit,
}

/// What is said of one method of a path.
pub(in crate::http) struct Operation {
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    text: String,
    security: Security,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: BTreeMap<u16, Value>,
    errors: Vec<&'static ErrorCode>,
}

impl Operation {
    /// Of a caller with a token that has this scope.
    pub(in crate::http) fn of_caller(
        scope: Scope,
        tag: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        Self::new(Security::Token(scope), tag, id, summary).errors(&[
            codes::INVALID_REQUEST,
            codes::FORBIDDEN,
            codes::PAYLOAD_TOO_LARGE,
        ])
    }

    pub(in crate::http) fn new(
        security: Security,
        tag: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        let mut operation = Self {
            id,
            tag,
            summary,
            text: String::new(),
            security,
            parameters: Vec::new(),
            body: None,
            answers: BTreeMap::new(),
            errors: vec![codes::INTERNAL_ERROR],
        };
        match security {
            Security::Nobody => {}
            Security::LiveKit => operation.errors.push(codes::UNAUTHORIZED),
            Security::Mute | Security::Token(_) => operation.errors.extend([
                codes::UNAUTHORIZED,
                codes::TOO_MANY_REQUESTS,
                codes::AUTH_SERVICE_FAILED,
                codes::AUTH_SERVICE_UNAVAILABLE,
                codes::UNAVAILABLE,
            ]),
        }
        if let Security::Token(scope) = security {
            operation = operation.text(&format!("Needs the scope `{}`.", scope.as_str()));
        }
        operation
    }

    /// One more paragraph.
    pub(in crate::http) fn text(mut self, text: &str) -> Self {
        if !self.text.is_empty() {
            self.text.push_str("\n\n");
        }
        self.text.push_str(text);
        self
    }

    /// The query, by the type that it is read into.
    pub(in crate::http) fn query<T: JsonSchema>(mut self, schemas: &mut Schemas) -> Self {
        let (properties, required) = schemas.properties::<T>();
        for (name, mut schema) in properties {
            let text = schema
                .as_object_mut()
                .and_then(|it| it.remove("description"));
            // A query has no null: what is not there is left out.
            if let Some(Value::Array(types)) = schema.get("type") {
                schema["type"] = not_null(types, |kind| kind == "null");
            } else if let Some(Value::Array(schemas)) = schema.get("anyOf") {
                schema = not_null(schemas, |schema| schema["type"] == "null");
            }
            let is_required = required.iter().any(|it| *it == name);
            self.parameters.push(json!({
                "name": name, "in": "query", "required": is_required, "schema": schema,
                "description": text.unwrap_or_default(),
            }));
        }
        self
    }

    /// Takes back a parameter, which comes again in a larger query.
    pub(in crate::http) fn without(mut self, name: &str) -> Self {
        self.parameters
            .retain(|parameter| parameter["name"] != name);
        self
    }

    /// A part of the path.
    pub(in crate::http) fn path(
        mut self,
        name: &'static str,
        text: &'static str,
        schema: &Value,
        example: &Value,
    ) -> Self {
        self.parameters.push(json!({
            "name": name, "in": "path", "required": true, "description": text, "schema": schema, "example": example,
        }));
        self
    }

    /// A header of the request, which may be left out.
    pub(in crate::http) fn header(
        mut self,
        name: &'static str,
        text: &'static str,
        schema: &Value,
        example: &'static str,
    ) -> Self {
        self.parameters.push(json!({
            "name": name, "in": "header", "required": false, "description": text, "schema": schema, "example": example,
        }));
        self
    }

    /// The body, as JSON.
    pub(in crate::http) fn body(self, schema: &Value, examples: &[(&str, Value)]) -> Self {
        self.body_of("application/json", schema, examples)
    }

    pub(in crate::http) fn body_of(
        mut self,
        content_type: &'static str,
        schema: &Value,
        examples: &[(&str, Value)],
    ) -> Self {
        let content = json!({"schema": schema, "examples": named(examples)});
        self.body = Some(json!({"required": true, "content": {content_type: content}}));
        self
    }

    /// A success with a body.
    pub(in crate::http) fn answer<T: JsonSchema>(
        self,
        schemas: &mut Schemas,
        status: StatusCode,
        text: &'static str,
        example: &Value,
    ) -> Self {
        let schema = schemas.answered::<T>();
        let content = json!({"application/json": {"schema": schema, "example": example}});
        self.answer_of(status, text, &content)
    }

    /// A success with a body of any type; none has an empty one.
    pub(in crate::http) fn answer_of(
        mut self,
        status: StatusCode,
        text: &'static str,
        content: &Value,
    ) -> Self {
        let mut answer = json!({"description": text, "headers": {"X-Request-Id": request_id()}});
        if !content.is_null() {
            answer["content"] = content.clone();
        }
        self.answers.insert(status.as_u16(), answer);
        self
    }

    /// A header of the success before.
    pub(in crate::http) fn answers_header(
        mut self,
        name: &HeaderName,
        text: &'static str,
        schema: &Value,
        example: &'static str,
    ) -> Self {
        for answer in self.answers.values_mut() {
            answer["headers"][title_case(name)] = json!({"description": text, "required": true, "schema": schema, "example": example});
        }
        self
    }

    pub(in crate::http) fn errors(mut self, errors: &[&'static ErrorCode]) -> Self {
        self.errors.extend_from_slice(errors);
        self
    }

    pub(super) fn into_json(mut self) -> Value {
        let mut by_status: BTreeMap<u16, Vec<&ErrorCode>> = BTreeMap::new();
        for error in self.errors {
            by_status
                .entry(error.status.as_u16())
                .or_default()
                .push(error);
        }
        let mut parameters = self.parameters;
        let (takes_actor, takes_reason) = match self.security {
            Security::Nobody | Security::LiveKit => (false, false),
            Security::Mute => (true, true),
            Security::Token(scope) => (true, matches!(scope, Scope::Mute | Scope::PoliciesWrite)),
        };
        for (name, takes) in [
            ("X-Request-Id", true),
            ("X-Actor", takes_actor),
            ("X-Reason", takes_reason),
        ] {
            if takes {
                parameters.push(json!({"$ref": format!("#/components/parameters/{name}")}));
            }
        }
        for (status, errors) in by_status {
            self.answers.insert(status, failure(&errors));
        }
        let answers: Map<_, _> = self
            .answers
            .into_iter()
            .map(|(status, answer)| (status.to_string(), answer))
            .collect();
        let security = match self.security {
            Security::Nobody => json!([]),
            Security::Token(_) => json!([{"token": []}]),
            Security::Mute => json!([{"token": []}, {"api_key": []}]),
            Security::LiveKit => json!([{"livekit": []}]),
        };
        let mut operation = json!({
            "operationId": self.id, "tags": [self.tag], "summary": self.summary, "description": self.text,
            "parameters": parameters, "security": security, "responses": answers,
        });
        if let Some(body) = self.body {
            operation["requestBody"] = body;
        }
        operation
    }
}

/// The first of them that is not null.
fn not_null(items: &[Value], is_null: impl Fn(&Value) -> bool) -> Value {
    let item = items.iter().find(|item| !is_null(item));
    item.cloned().unwrap_or_default()
}

fn named(examples: &[(&str, Value)]) -> Map<String, Value> {
    let named = examples.iter().map(|(name, value)| {
        let key = name.replace(' ', "_");
        (key, json!({"summary": name, "value": value}))
    });
    named.collect()
}

fn title_case(name: &HeaderName) -> String {
    let parts = name.as_str().split('-').map(|part| match part {
        "etag" => "ETag".to_owned(),
        "www" => "WWW".to_owned(),
        part => part[..1].to_ascii_uppercase() + &part[1..],
    });
    parts.collect::<Vec<_>>().join("-")
}

/// The answers of one status that are no success.
fn failure(errors: &[&ErrorCode]) -> Value {
    let names: Vec<_> = errors.iter().map(|error| error.code).collect();
    let text: Vec<_> = errors
        .iter()
        .map(|error| format!("`{}`: {}", error.code, error.when))
        .collect();
    let examples = errors.iter().map(|error| {
        let value = json!({"error": error.example, "code": error.code});
        (error.code, json!({"summary": error.when, "value": value}))
    });
    let examples: BTreeMap<_, _> = examples.collect();
    let mut headers = json!({"X-Request-Id": request_id()});
    let status = errors.first().map(|error| error.status);
    if status == Some(StatusCode::UNAUTHORIZED) {
        headers["WWW-Authenticate"] =
            json!({"required": true, "schema": {"const": "Bearer"}, "example": "Bearer"});
    }
    if matches!(
        status,
        Some(StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
    ) {
        headers["Retry-After"] = json!({
            "description": "When to try again, in seconds (RFC 9110, 10.2.3).",
            "required": status == Some(StatusCode::TOO_MANY_REQUESTS),
            "schema": {"type": "integer", "minimum": 0}, "example": 1,
        });
    }
    json!({
        "description": text.join("\n\n"),
        "headers": headers,
        "content": {"application/json": {
            "schema": {"allOf": [{"$ref": "#/components/schemas/Error"}, {"properties": {"code": {"enum": names}}}]},
            "examples": examples,
        }},
    })
}

fn request_id() -> Value {
    json!({"$ref": "#/components/headers/X-Request-Id"})
}

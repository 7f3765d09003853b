//! What `/openapi.json` says (OpenAPI 3.1), made from the routes, the types and the codes that requests are answered by.
//!
//! Why not `utoipa`: policies and facts have their JSON Schema by `schemars` already, with rules that `utoipa`'s
//! types cannot hold, and two ways to describe a type would differ one day. An OpenAPI 3.1 schema is a JSON Schema.

#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value becomes an object where a key of it is written"
)]

use std::collections::BTreeMap;
use std::sync::OnceLock;

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::response::{IntoResponse as _, Response};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::auth::Scope;
use super::codes::{self, ErrorCode};

/// The schemas of all types that are sent and answered, by name.
pub(super) struct Schemas {
    /// Of what is read.
    asked: SchemaGenerator,
    /// Of what is written: what always has a value is required there.
    answered: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = |path: &'static str| {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = path.into();
                settings.meta_schema = None;
            })
        };
        Self {
            asked: settings(&ASKED[1..]).for_deserialize().into_generator(),
            answered: settings(&ANSWERED[1..]).for_serialize().into_generator(),
        }
    }

    /// The properties of a type that is read, and which of them are required.
    fn properties<T: JsonSchema>(&mut self) -> (Map<String, Value>, Vec<Value>) {
        let schema = T::json_schema(&mut self.asked);
        let get = |name| schema.get(name).cloned();
        let Some(Value::Object(properties)) = get("properties") else {
            return (Map::new(), Vec::new());
        };
        let required = get("required").and_then(|names| names.as_array().cloned());
        (properties, required.unwrap_or_default())
    }

    /// A type that is read, by its name.
    pub(super) fn asked<T: JsonSchema>(&mut self) -> Value {
        self.asked.subschema_for::<T>().into()
    }

    /// The same, without its name, to be changed for the one place where it stands.
    pub(super) fn inline<T: JsonSchema>(&mut self) -> Value {
        T::json_schema(&mut self.asked).into()
    }

    fn answered<T: JsonSchema>(&mut self) -> Value {
        self.answered.subschema_for::<T>().into()
    }

    /// Names the types in `document`. One that is written otherwise than it is read, or has such a one in
    /// it, has `Output` behind its name where it is written.
    fn name_in(mut self, document: &Value) -> Value {
        let mut types = self.asked.take_definitions(true);
        let answered = self.answered.take_definitions(true);
        let mut texts: BTreeMap<_, _> = answered
            .iter()
            .map(|(name, schema)| (name.clone(), schema.to_string()))
            .collect();
        let mut document = document.to_string();
        let mut named = BTreeMap::new();
        loop {
            let other = texts.iter().find(|(name, text)| {
                let has_other = text.contains("Output\"");
                let asked = types.get(*name).map(Value::to_string);
                !named.contains_key(*name)
                    && asked.is_some_and(|it| has_other || it != text.replace(ANSWERED, ASKED))
            });
            let Some(name) = other.map(|(name, _)| name.clone()) else {
                break;
            };
            let from = format!("{ANSWERED}/{name}\"");
            let to = format!("{ASKED}/{name}Output\"");
            for text in texts.values_mut().chain([&mut document]) {
                *text = text.replace(&from, &to);
            }
            named.insert(name.clone(), format!("{name}Output"));
        }
        let read = |text: &str| {
            serde_json::from_str::<Value>(&text.replace(ANSWERED, ASKED)).unwrap_or_default()
        };
        for (name, text) in &texts {
            types.insert(
                named.remove(name).unwrap_or_else(|| name.clone()),
                read(text),
            );
        }
        types.insert("Error".to_owned(), error());
        let mut document = read(&document);
        document["components"]["schemas"] = types.into();
        document
    }
}

/// Where the types are named that are read, and those that are written until both have their names.
const ASKED: &str = "#/components/schemas";
const ANSWERED: &str = "#/components/answered";

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    Nobody,
    /// A token in the header.
    Token(Scope),
    /// A token in the header or in the query, and perhaps none.
    Mute,
    /// LiveKit's signature.
    LiveKit,
}

/// What is said of one method of a path.
pub(super) struct Operation {
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
    pub(super) fn of_caller(
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

    pub(super) fn new(
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
    pub(super) fn text(mut self, text: &str) -> Self {
        if !self.text.is_empty() {
            self.text.push_str("\n\n");
        }
        self.text.push_str(text);
        self
    }

    /// The query, by the type that it is read into.
    pub(super) fn query<T: JsonSchema>(mut self, schemas: &mut Schemas) -> Self {
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
    pub(super) fn without(mut self, name: &str) -> Self {
        self.parameters
            .retain(|parameter| parameter["name"] != name);
        self
    }

    /// A part of the path.
    pub(super) fn path(
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
    pub(super) fn header(
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
    pub(super) fn body(self, schema: &Value, examples: &[(&str, Value)]) -> Self {
        self.body_of("application/json", schema, examples)
    }

    pub(super) fn body_of(
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
    pub(super) fn answer<T: JsonSchema>(
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
    pub(super) fn answer_of(
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
    pub(super) fn answers_header(
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

    pub(super) fn errors(mut self, errors: &[&'static ErrorCode]) -> Self {
        self.errors.extend_from_slice(errors);
        self
    }

    fn into_json(mut self) -> Value {
        let mut by_status: BTreeMap<u16, Vec<&ErrorCode>> = BTreeMap::new();
        for error in self.errors {
            by_status
                .entry(error.status.as_u16())
                .or_default()
                .push(error);
        }
        let mut parameters = self.parameters;
        parameters.push(json!({"$ref": "#/components/parameters/X-Request-Id"}));
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
            "parameters": {"X-Request-Id": {
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
    schemas.name_in(&document)
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
    use super::*;

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

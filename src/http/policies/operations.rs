//! What the API's description says of `/v1/policies`.

#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value becomes an object where a key of it is written"
)]

use axum::http::StatusCode;
use axum::http::header::{ETAG, LOCATION};
use serde_json::{Value, json};

use super::revisions::{PageQuery, RevisionsResponse, RollbackBody, WholeRevision};
use super::{ListQuery, ListResponse, PolicyResponse};
use crate::http::auth::Scope;
use crate::http::codes;
use crate::http::openapi::{Operation, Schemas};
use crate::http::request::OwnerQuery;
use quell_policy::Policy;

const TAG: &str = "policies";

fn document() -> Value {
    json!({
        "name": "webinar-mics", "effect": "mute", "mode": "enforce", "priority": 100, "overridable": false,
        "match": {"room": ["webinar-*"], "source": ["MICROPHONE"]},
        "unless": {"attributes": {"role": ["host"]}},
    })
}

fn stored() -> Value {
    json!({
        "owner": "acme", "name": "webinar-mics", "revision": 3, "managed_by": "rest",
        "updated_at": "2026-03-02T21:30:00+00:00", "updated_by": "acme", "policy": document(),
    })
}

fn asked() -> [(&'static str, Value); 2] {
    [
        (
            "only hosts speak",
            json!({
                "name": "webinar-mics", "match": {"room": "webinar-*", "source": "MICROPHONE"},
                "unless": {"attributes": {"role": "host"}}, "effect": "mute",
            }),
        ),
        (
            "a condition",
            json!({
                "name": "no-screens-of-guests", "match": {"source": "SCREEN_SHARE"},
                "when": "participant.attributes.role == \"guest\"", "effect": "mute", "mode": "dry_run",
            }),
        ),
    ]
}

fn of_one(operation: Operation, schemas: &mut Schemas) -> Operation {
    let name = schemas.inline::<Policy>()["properties"]["name"].clone();
    operation
        .path("name", "The policy's name.", &name, &json!("webinar-mics"))
        .query::<OwnerQuery>(schemas)
        .errors(&[codes::POLICY_NOT_FOUND])
}

fn if_match(operation: Operation) -> Operation {
    let schema =
        json!({"anyOf": [{"const": "*"}, {"type": "string", "pattern": "^\"[1-9][0-9]{0,8}\"$"}]});
    operation
        .header("If-Match", "The ETag of the revision that the change was made from, or `*` for any (RFC 9110, 13.1.1).", &schema, "\"3\"")
        .errors(&[codes::PRECONDITION_FAILED, codes::PRECONDITION_REQUIRED])
}

fn if_none_match(operation: Operation) -> Operation {
    operation.header(
        "If-None-Match",
        "`*`: create it, and change nothing that is there (RFC 9110, 13.1.2).",
        &json!({"const": "*"}),
        "*",
    )
}

fn change(operation: Operation) -> Operation {
    operation.errors(&[codes::CHANGE_BUSY, codes::CHANGES_BUSY])
}

fn put(operation: Operation) -> Operation {
    change(operation).errors(&[
        codes::INVALID_POLICY,
        codes::TOO_MANY_POLICIES,
        codes::TOO_MUCH_TEXT_WORK,
    ])
}

fn shown(
    operation: Operation,
    schemas: &mut Schemas,
    status: StatusCode,
    text: &'static str,
) -> Operation {
    operation.answer::<PolicyResponse>(schemas, status, text, &stored())
}

fn etag(operation: Operation) -> Operation {
    let schema = json!({"type": "string", "pattern": "^\"[1-9][0-9]*\"$"});
    operation.answers_header(&ETAG, "The revision, for `If-Match`.", &schema, "\"3\"")
}

pub(in crate::http) fn list(schemas: &mut Schemas) -> Operation {
    let page = json!({"policies": [stored()], "next_cursor": null});
    Operation::of_caller(
        Scope::PoliciesRead,
        TAG,
        "listPolicies",
        "The stored policies, a page at a time",
    )
    .text("A tenant sees its own. An operator sees all, or those of one `owner`.")
    .query::<ListQuery>(schemas)
    .answer::<ListResponse>(schemas, StatusCode::OK, "A page, by owner and name.", &page)
}

pub(in crate::http) fn create(schemas: &mut Schemas) -> Operation {
    let body = schemas.asked::<Policy>();
    let operation =
        Operation::of_caller(Scope::PoliciesWrite, TAG, "createPolicy", "Create a policy")
            .text("It is in force within a second, in all replicas.")
            .query::<OwnerQuery>(schemas)
            .body(&body, &asked())
            .errors(&[codes::POLICY_EXISTS]);
    let operation = shown(
        put(operation),
        schemas,
        StatusCode::CREATED,
        "It is stored.",
    );
    etag(operation).answers_header(
        &LOCATION,
        "Its path.",
        &json!({"type": "string", "format": "uri-reference"}),
        "/v1/policies/webinar-mics",
    )
}

pub(in crate::http) fn show(schemas: &mut Schemas) -> Operation {
    let operation = Operation::of_caller(Scope::PoliciesRead, TAG, "getPolicy", "One policy");
    let operation = of_one(operation, schemas);
    etag(shown(operation, schemas, StatusCode::OK, "The policy."))
}

pub(in crate::http) fn replace(schemas: &mut Schemas) -> Operation {
    let mut body = schemas.inline::<Policy>();
    // The path names it.
    if let Some(required) = body["required"].as_array_mut() {
        required.retain(|name| name != "name");
    }
    let operation = Operation::of_caller(
        Scope::PoliciesWrite,
        TAG,
        "putPolicy",
        "Create a policy, or write its next revision",
    )
    .text(
        "What is there is replaced whole, and only with `If-Match`. The body may leave `name` out.",
    )
    .body(&body, &asked());
    let operation = if_none_match(if_match(put(of_one(operation, schemas))));
    let operation = shown(
        operation,
        schemas,
        StatusCode::OK,
        "It is stored; a body that says the same as what is there makes no revision.",
    );
    etag(shown(operation, schemas, StatusCode::CREATED, "It is new."))
}

pub(in crate::http) fn delete(schemas: &mut Schemas) -> Operation {
    let operation =
        Operation::of_caller(Scope::PoliciesWrite, TAG, "deletePolicy", "Delete a policy")
            .text("Its revisions stay. Whoever it has muted stays muted.");
    change(if_match(of_one(operation, schemas))).answer_of(
        StatusCode::NO_CONTENT,
        "It is gone.",
        &Value::Null,
    )
}

fn revision() -> Value {
    json!({
        "owner": "acme", "name": "webinar-mics", "revision": 3, "change": "update", "restored_from": null,
        "managed_by": "rest", "created_at": "2026-03-02T21:30:00+00:00", "author": "acme",
        "changes": [{"field": "mode", "before": "dry_run", "after": "enforce"}],
    })
}

pub(in crate::http) fn revisions(schemas: &mut Schemas) -> Operation {
    let page = json!({"revisions": [revision()], "next_before": null});
    let operation = Operation::of_caller(
        Scope::PoliciesRead,
        TAG,
        "listRevisions",
        "What a policy was, the newest first",
    )
    .text("Also of a policy that is deleted.");
    of_one(operation, schemas)
        .without("owner")
        .query::<PageQuery>(schemas)
        .answer::<RevisionsResponse>(schemas, StatusCode::OK, "A page of revisions.", &page)
}

pub(in crate::http) fn show_revision(schemas: &mut Schemas) -> Operation {
    let mut whole = revision();
    whole["policy"] = document();
    let operation = Operation::of_caller(
        Scope::PoliciesRead,
        TAG,
        "getRevision",
        "One revision, with its document",
    );
    let schema = json!({"type": "integer", "minimum": 1, "maximum": i32::MAX});
    of_one(operation, schemas)
        .path("revision", "Its number.", &schema, &json!(3))
        .errors(&[codes::REVISION_NOT_FOUND])
        .answer::<WholeRevision>(schemas, StatusCode::OK, "The revision.", &whole)
}

pub(in crate::http) fn rollback(schemas: &mut Schemas) -> Operation {
    let body = schemas.asked::<RollbackBody>();
    let operation = Operation::of_caller(
        Scope::PoliciesWrite,
        TAG,
        "rollbackPolicy",
        "Write what a policy once was as its next revision",
    )
    .text("Also of a policy that is deleted. Whoever was muted stays muted.")
    .body(&body, &[("to the first", json!({"to": 1}))]);
    let operation = if_none_match(if_match(change(of_one(operation, schemas)))).errors(&[
        codes::REVISION_NOT_FOUND,
        codes::REVISION_NOT_RESTORABLE,
        codes::TOO_MANY_POLICIES,
        codes::TOO_MUCH_TEXT_WORK,
    ]);
    let operation = shown(
        operation,
        schemas,
        StatusCode::OK,
        "The revision is stored.",
    );
    etag(shown(
        operation,
        schemas,
        StatusCode::CREATED,
        "The policy is there again.",
    ))
}

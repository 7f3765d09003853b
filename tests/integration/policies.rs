//! `/v1/policies`: who may read and change which policy, and what each change leaves behind.

use quell_clock::Clock;
use quell_jwt::{EncodingKey, Header};
use reqwest::header::{ETAG, LOCATION};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{ACME, GLOBEX, OPERATOR, Setup, TestApp};

pub(crate) const JWT_SECRET: &str = "jwt-secret-0123456789abcdef-0123456789ab";

/// A policy that mutes microphones, of this priority.
fn mics(priority: u16) -> Value {
    json!({"name": "mics", "match": {"source": ["MICROPHONE", "UNKNOWN"], "type": ["AUDIO"]},
           "effect": "mute", "priority": priority})
}

/// What an answer says, for tests.
struct Answer {
    status: u16,
    etag: Option<String>,
    location: Option<String>,
    body: Value,
}

async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let header = |name| {
        let value: Option<&reqwest::header::HeaderValue> = response.headers().get(name);
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    let (etag, location) = (header(ETAG), header(LOCATION));
    Answer {
        status: response.status().as_u16(),
        etag,
        location,
        body: response.json().await.unwrap_or(Value::Null),
    }
}

impl Answer {
    /// The status, and the code where it is an error.
    fn brief(&self) -> String {
        match self.body["code"].as_str() {
            Some(code) => format!("{} {code}", self.status),
            None => self.status.to_string(),
        }
    }
}

async fn put(app: &TestApp, token: &str, if_match: Option<&str>, body: &Value) -> Answer {
    let mut request = app.api(Method::PUT, token, "/v1/policies/mics").json(body);
    if let Some(etag) = if_match {
        request = request.header("If-Match", etag);
    }
    send(request).await
}

async fn delete(app: &TestApp, token: &str, if_match: Option<&str>) -> Answer {
    let mut request = app.api(Method::DELETE, token, "/v1/policies/mics");
    if let Some(etag) = if_match {
        request = request.header("If-Match", etag);
    }
    send(request).await
}

async fn post(app: &TestApp, token: &str, body: &Value) -> Answer {
    send(app.api(Method::POST, token, "/v1/policies").json(body)).await
}

async fn get(app: &TestApp, token: &str, path: &str) -> Answer {
    send(app.api(Method::GET, token, path)).await
}

#[tokio::test]
async fn a_policy_is_created_read_changed_and_removed_by_its_revision() {
    let app = TestApp::new().await;
    let created = post(&app, ACME, &mics(1)).await;
    assert_eq!(created.status, 201, "{}", created.body);
    assert_eq!(created.etag.as_deref(), Some("\"1\""));
    assert_eq!(created.location.as_deref(), Some("/v1/policies/mics"));
    let shown = get(&app, ACME, "/v1/policies/mics").await;
    assert_eq!((shown.status, shown.etag.as_deref()), (200, Some("\"1\"")));
    assert_eq!(shown.body["owner"], "acme");
    assert_eq!(shown.body["updated_by"], "acme");
    assert_eq!(shown.body["managed_by"], "rest");
    assert_eq!(shown.body["policy"]["priority"], 1);
    let twice = post(&app, ACME, &mics(2)).await;
    assert_eq!(twice.brief(), "409 POLICY_EXISTS");

    // A change says what it was made from.
    for (if_match, expected) in [
        (None, "428 PRECONDITION_REQUIRED"),
        (Some("\"2\""), "412 PRECONDITION_FAILED"),
        (Some("1"), "400 INVALID_REQUEST"),
        (Some("W/\"1\""), "400 INVALID_REQUEST"),
        (Some("\"1\", \"2\""), "400 INVALID_REQUEST"),
        (Some("\"1\""), "200"),
        (Some("\"1\""), "412 PRECONDITION_FAILED"),
        (Some("*"), "200"),
    ] {
        let answer = put(&app, ACME, if_match, &mics(2)).await;
        assert_eq!(answer.brief(), expected, "{if_match:?}");
    }
    // `*` changed nothing, which is no new revision.
    let shown = get(&app, ACME, "/v1/policies/mics").await;
    assert_eq!(shown.etag.as_deref(), Some("\"2\""));
    for (if_match, expected) in [
        (None, "428 PRECONDITION_REQUIRED"),
        (Some("\"1\""), "412 PRECONDITION_FAILED"),
        (Some("\"2\""), "204"),
        (Some("\"2\""), "404 POLICY_NOT_FOUND"),
        (None, "404 POLICY_NOT_FOUND"),
    ] {
        let answer = delete(&app, ACME, if_match).await;
        assert_eq!(answer.brief(), expected, "{if_match:?}");
    }
    let gone = get(&app, ACME, "/v1/policies/mics").await;
    assert_eq!(gone.brief(), "404 POLICY_NOT_FOUND");

    // Created again it goes on counting, so that a revision names one document for ever.
    let stale = put(&app, ACME, Some("\"2\""), &mics(4)).await;
    assert_eq!(stale.brief(), "412 PRECONDITION_FAILED");
    let again = put(&app, ACME, None, &mics(4)).await;
    assert_eq!((again.status, again.etag.as_deref()), (201, Some("\"4\"")));
    let must_be_new = app.api(Method::PUT, ACME, "/v1/policies/mics");
    let must_be_new = must_be_new.header("If-None-Match", "*").json(&mics(5));
    assert_eq!(send(must_be_new).await.brief(), "412 PRECONDITION_FAILED");
    app.finish().await;
}

#[tokio::test]
async fn every_change_leaves_its_revision_and_its_audit_row() {
    let app = TestApp::new().await;
    let create = app.api(Method::POST, ACME, "/v1/policies");
    let create = create.header("X-Request-Id", "req-1").json(&mics(1));
    assert_eq!(send(create).await.status, 201);
    put(&app, ACME, Some("\"1\""), &mics(2)).await;
    put(&app, ACME, Some("\"2\""), &mics(2)).await;
    delete(&app, ACME, Some("\"2\"")).await;
    put(&app, ACME, None, &mics(9)).await;
    // Refused changes change nothing and leave nothing.
    put(&app, ACME, Some("\"7\""), &mics(7)).await;
    post(&app, ACME, &json!({"name": "bad"})).await;
    let revisions = app.sql(
        "select string_agg(concat_ws('-', owner, name, revision, change, author, managed_by,
                document->>'priority'), ';' order by id) from policy_revision",
    );
    assert_eq!(
        revisions.await.unwrap(),
        "acme-mics-1-create-acme-rest-1;acme-mics-2-update-acme-rest-2;\
         acme-mics-3-delete-acme-rest;acme-mics-4-create-acme-rest-9"
    );
    assert_eq!(
        app.history().await,
        [
            "rest policy.create done acme acme - - - acme/mics@1",
            "rest policy.update done acme acme - - - acme/mics@2",
            "rest policy.delete done acme acme - - - acme/mics@3",
            "rest policy.create done acme acme - - - acme/mics@4",
        ]
    );
    let changes = app.sql(
        "select string_agg(concat(coalesce(before->>'priority', 'none'), '>',
                coalesce(after->>'priority', 'none')), ';' order by started_at) from audit_log",
    );
    assert_eq!(changes.await.unwrap(), "none>1;1>2;2>none;none>9");
    let request = "select request_id from audit_log where action = 'policy.create' order by seq";
    assert_eq!(app.sql(request).await.as_deref(), Some("req-1"));
    app.finish().await;
}

#[tokio::test]
async fn an_owner_sees_and_changes_its_own_and_an_operator_names_whose() {
    let app = TestApp::new().await;
    for (token, query, status) in [
        (ACME, "", "201"),
        (ACME, "?owner=acme", "409 POLICY_EXISTS"),
        (ACME, "?owner=globex", "403 FORBIDDEN"),
        (GLOBEX, "?owner=acme", "403 FORBIDDEN"),
        (OPERATOR, "", "201"),
        (OPERATOR, "?owner=globex", "201"),
        (OPERATOR, "?owner=", "400 INVALID_REQUEST"),
        (OPERATOR, "?owner=%20", "400 INVALID_REQUEST"),
        (OPERATOR, "?tenant=globex", "400 INVALID_REQUEST"),
    ] {
        let request = app.api(Method::POST, token, &format!("/v1/policies{query}"));
        let answer = send(request.json(&mics(1))).await;
        assert_eq!(answer.brief(), status, "{query}");
        // Where it says that the policy is, the policy is.
        if let Some(location) = answer.location {
            let found = get(&app, token, &location).await;
            assert_eq!(found.body["owner"], answer.body["owner"], "{location}");
        }
    }
    for (token, query, owners) in [
        (ACME, "", json!(["acme"])),
        (GLOBEX, "", json!(["globex"])),
        (OPERATOR, "", json!([null, "acme", "globex"])),
        (OPERATOR, "?owner=acme", json!(["acme"])),
        (OPERATOR, "?owner=nobody", json!([])),
    ] {
        let listed = get(&app, token, &format!("/v1/policies{query}")).await;
        let policies = listed.body["policies"].as_array().unwrap();
        let found: Vec<_> = policies.iter().map(|policy| &policy["owner"]).collect();
        assert_eq!(json!(found), owners, "{query}");
    }
    let other = get(&app, GLOBEX, "/v1/policies?owner=acme").await;
    assert_eq!(other.brief(), "403 FORBIDDEN");
    // A tenant that deletes by name deletes its own and nobody else's.
    assert_eq!(delete(&app, GLOBEX, Some("*")).await.status, 204);
    let left = get(&app, OPERATOR, "/v1/policies").await;
    assert_eq!(left.body["policies"].as_array().unwrap().len(), 2);
    app.finish().await;
}

#[tokio::test]
async fn a_token_is_always_needed_in_the_header_and_its_scopes_hold() {
    for required in ["true", "false"] {
        let setup = Setup::default().env("AUTH_REQUIRED", required);
        let app = setup.env("QUELL_JWT_SECRET", JWT_SECRET).start().await;
        let bare = |path: &str| app.http.get(format!("{}{path}", app.url));
        let in_query = format!("/v1/policies?api_key={ACME}");
        for path in ["/v1/policies", "/v1/policies/mics", in_query.as_str()] {
            let answer = send(bare(path)).await;
            assert_eq!(answer.brief(), "401 UNAUTHORIZED", "{required} {path}");
        }
        let wrong = get(&app, "no-such-secret", "/v1/policies").await;
        assert_eq!(wrong.brief(), "401 UNAUTHORIZED");
        let body = mics(1);
        for (scope, read, write) in [
            (Some("policies:read"), "200", "403 FORBIDDEN"),
            (Some("policies:write"), "403 FORBIDDEN", "201"),
            (Some("mute audit:read"), "403 FORBIDDEN", "403 FORBIDDEN"),
            (Some("policies:read policies:write"), "200", "201"),
            (None, "200", "201"),
        ] {
            let token = jwt(scope);
            let list = get(&app, &token, "/v1/policies").await;
            assert_eq!(list.brief(), read, "{scope:?}");
            let forbidden = put(&app, &token, None, &body).await;
            assert_eq!(forbidden.brief(), write, "{scope:?}");
            let expected = if write == "201" { "204" } else { write };
            let deleted = delete(&app, &token, Some("*")).await;
            assert_eq!(deleted.brief(), expected, "{scope:?}");
        }
        app.finish().await;
    }
}

pub(crate) fn jwt(scope: Option<&str>) -> String {
    let exp = Clock::system().unix_seconds() + 600;
    let mut claims = json!({"sub": "acme", "exp": exp});
    if let Some(scope) = scope {
        claims["scope"] = scope.into();
    }
    let key = EncodingKey::from_secret(JWT_SECRET.as_bytes());
    quell_jwt::encode(&Header::default(), &claims, &key).unwrap()
}

#[tokio::test]
async fn a_policy_that_is_none_is_refused_with_the_path_and_what_to_write() {
    let app = TestApp::new().await;
    let good = mics(1);
    let mut cases = Vec::new();
    for (pointer, value, says) in [
        ("/effect", json!("muted"), &["effect", "did you mean mute?"]),
        (
            "/match/source/0",
            json!("MICROFONE"),
            &["match.source[0]", "did you mean MICROPHONE?"],
        ),
        ("/priority", json!(10_000), &["priority", "0 to 9999"]),
        ("/name", json!("a b"), &["name", "1 to 128 of"]),
        (
            "/match",
            json!({"room": ["[a"]}),
            &["match.room[0]", "write `\\["],
        ),
        (
            "/match",
            json!({"rooms": ["a"]}),
            &["match", "write `room`"],
        ),
        (
            "/effect",
            json!("exempt"),
            &["reason", "an exemption says why"],
        ),
    ] {
        let mut body = good.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        cases.push((body, says));
    }
    let mut another_owners = good.clone();
    another_owners["owner"] = "globex".into();
    cases.push((another_owners, &["owner", "?owner="]));
    for (body, says) in &cases {
        let answer = post(&app, ACME, body).await;
        assert_eq!(answer.brief(), "400 INVALID_POLICY", "{body}");
        let error = answer.body["error"].as_str().unwrap();
        assert!(says.iter().all(|part| error.contains(part)), "{error}");
    }
    for (body, status) in [
        ("{", "400 INVALID_POLICY"),
        ("[]", "400 INVALID_POLICY"),
        (
            r#"{"name":"a","name":"b","match":{},"effect":"mute"}"#,
            "400 INVALID_POLICY",
        ),
    ] {
        let request = app.api(Method::POST, ACME, "/v1/policies").body(body);
        let answer = send(request.header("Content-Type", "application/json")).await;
        assert_eq!(answer.brief(), status, "{body}");
    }
    let no_json = app
        .api(Method::POST, ACME, "/v1/policies")
        .body(good.to_string());
    assert_eq!(send(no_json).await.brief(), "400 INVALID_REQUEST");
    let renamed = app
        .api(Method::PUT, ACME, "/v1/policies/others")
        .json(&good);
    assert_eq!(send(renamed).await.brief(), "400 INVALID_REQUEST");
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(1 << 20));
    let large = app.api(Method::POST, ACME, "/v1/policies").body(large);
    assert_eq!(send(large).await.brief(), "413 PAYLOAD_TOO_LARGE");
    let stored = app.sql("select count(*) from policy_revision").await;
    assert_eq!(stored.as_deref(), Some("0"));
    // What is allowed and probably not meant is said.
    let evadable = json!({"name": "m", "match": {"source": ["MICROPHONE"]}, "effect": "mute"});
    let warned = post(&app, ACME, &evadable).await;
    let warning = warned.body["warnings"][0].as_str().unwrap();
    assert!(warning.contains("without a source"), "{warning}");
    app.finish().await;
}

#[tokio::test]
async fn of_two_writers_at_once_one_is_told_that_it_is_too_late() {
    let mut app = TestApp::new().await;
    let other = app.replica().await;
    for round in 1..=5 {
        let body = json!({"name": format!("p{round}"), "match": {}, "effect": "mute"});
        let at = |url: &str| {
            let request = app.http.post(format!("{url}/v1/policies"));
            send(request.bearer_auth(ACME).json(&body))
        };
        let (one, two) = tokio::join!(at(&app.url), at(&other));
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409], "created once");
        let change = |url: &str, priority: u16| {
            let mut body = body.clone();
            body["priority"] = priority.into();
            let request = app.http.put(format!("{url}/v1/policies/p{round}"));
            send(
                request
                    .bearer_auth(ACME)
                    .header("If-Match", "\"1\"")
                    .json(&body),
            )
        };
        let (one, two) = tokio::join!(change(&app.url, 1), change(&other, 2));
        let won = if one.status == 200 { 1 } else { 2 };
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412], "changed once");
        let shown = get(&app, ACME, &format!("/v1/policies/p{round}")).await;
        assert_eq!(shown.body["policy"]["priority"], won);
        assert_eq!(shown.body["revision"], 2);
    }
    app.finish().await;
}

#[tokio::test]
async fn a_nul_in_a_path_or_an_owner_is_no_trouble_of_the_database() {
    let app = TestApp::new().await;
    for (token, path, brief) in [
        (ACME, "/v1/policies/p%00", "404 POLICY_NOT_FOUND"),
        (ACME, "/v1/policies/%ff", "404 POLICY_NOT_FOUND"),
        (OPERATOR, "/v1/policies/p?owner=a%00", "400 INVALID_REQUEST"),
        (OPERATOR, "/v1/policies?owner=a%0ab", "400 INVALID_REQUEST"),
    ] {
        assert_eq!(get(&app, token, path).await.brief(), brief, "{path}");
        let removed = app.api(Method::DELETE, token, path);
        let removed = send(removed.header("If-Match", "*")).await;
        assert_ne!(removed.status, 503, "{path}");
    }
    app.finish().await;
}

#[tokio::test]
async fn an_owner_has_so_many_policies_and_no_more_and_one_request_so_many_bytes() {
    let app = TestApp::new().await;
    sqlx::raw_sql(
        "insert into policy (id, owner, name, revision, document, managed_by, updated_by)
         select gen_random_uuid(), 'acme', 'p' || n, 1,
                jsonb_build_object('name', 'p' || n, 'match', '{}'::jsonb, 'effect', 'mute'),
                'rest', 'acme'
         from generate_series(1, 10000) n",
    )
    .execute(&app.pool)
    .await
    .unwrap();
    let refused = post(&app, ACME, &mics(1)).await;
    assert_eq!(refused.brief(), "409 TOO_MANY_POLICIES", "{}", refused.body);
    assert_eq!(post(&app, GLOBEX, &mics(1)).await.brief(), "201");
    let mut long = mics(1);
    long["description"] = "x".repeat(64 << 10).into();
    assert_eq!(
        post(&app, GLOBEX, &long).await.brief(),
        "413 PAYLOAD_TOO_LARGE"
    );
    app.finish().await;
}

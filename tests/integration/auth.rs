//! Who is let in, asked of a running server: by which token, on which path, for what.

use std::path::Path;

use chrono::Utc;
use quell_jwt::{Algorithm, EncodingKey, Header};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{ACME, Answer, GLOBEX, OPERATOR, Setup, TestApp};

pub(crate) const MUTE: &str = "/livekit/participant/mute";
const HS256: &str = "jwt-secret-0123456789abcdef-0123456789abcdef";

pub(crate) fn key_file(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keys");
    folder.join(name).to_str().unwrap().to_owned()
}

#[expect(
    clippy::disallowed_methods,
    reason = "tokens that expire by the system's clock"
)]
fn in_an_hour() -> i64 {
    Utc::now().timestamp() + 3600
}

/// A room of acme with a track in it, and requests about it.
pub(crate) struct Scene {
    pub(crate) app: TestApp,
    pub(crate) sid: String,
}

impl Scene {
    pub(crate) async fn of(setup: Setup) -> Self {
        let app = setup.start_without_webhooks().await;
        let sid = app.speaker("standup", "acme");
        Self { app, sid }
    }

    /// A mute without any token yet.
    pub(crate) fn mute(&self, query: &str) -> RequestBuilder {
        self.app
            .http
            .post(format!("{}{MUTE}{query}", self.app.url))
            .json(&json!({
                "room_name": "standup",
                "participant_identity": "speaker",
                "track_sid": self.sid,
                "muted": true,
            }))
    }

    /// What a mute with this token comes to.
    pub(crate) async fn mutes(&self, token: &str) -> String {
        Answer::to(self.mute("").bearer_auth(token)).await.outcome()
    }

    fn list(&self, query: &str) -> RequestBuilder {
        let url = format!("{}/v1/policies{query}", self.app.url);
        self.app.http.get(url)
    }

    /// What reading and writing policies with this token come to.
    pub(crate) async fn policies(&self, token: &str) -> (String, String) {
        let read = Answer::to(self.list("").bearer_auth(token)).await;
        let new = json!({
            "name": format!("p-{}", rand::random::<u64>()),
            "match": {"room": ["x"]},
            "effect": "mute",
            "mode": "off",
        });
        let write = self.app.api(Method::POST, token, "/v1/policies").json(&new);
        (read.outcome(), Answer::to(write).await.outcome())
    }
}

#[tokio::test]
async fn a_token_is_needed_and_the_header_wins_over_the_query() {
    let scene = Scene::of(Setup::default()).await;
    let (ok, unauthorized) = ("200", "401 UNAUTHORIZED");
    let masked = "404 PARTICIPANT_NOT_FOUND";
    let bearer = |scheme: &str, token: &str| vec![format!("{scheme} {token}")];
    let cases = [
        (vec![], None, unauthorized),
        (bearer("Bearer", ACME), None, ok),
        (bearer("bearer", ACME), None, ok),
        (bearer("BEARER", ACME), None, ok),
        (bearer("bEaReR", ACME), None, ok),
        (bearer("Bearer", &format!(" {ACME} ")), None, ok),
        (bearer("Bearer", "wrong"), None, unauthorized),
        (bearer("Bearer", &ACME[1..]), None, unauthorized),
        (bearer("Bearer", &format!("{ACME}x")), None, unauthorized),
        (bearer("Bearer", ""), None, unauthorized),
        (vec!["Bearer".to_owned()], None, unauthorized),
        (vec![ACME.to_owned()], None, unauthorized),
        (bearer("Basic", ACME), None, unauthorized),
        (bearer("Token", ACME), None, unauthorized),
        (vec![format!("Bearer {ACME}"); 2], None, unauthorized),
        (vec![], Some(ACME), ok),
        (vec![], Some(GLOBEX), masked),
        (vec![], Some("wrong"), unauthorized),
        (vec![], Some(""), unauthorized),
        (bearer("Bearer", ACME), Some("wrong"), ok),
        (bearer("Bearer", ACME), Some(GLOBEX), ok),
        (bearer("Bearer", GLOBEX), Some(ACME), masked),
        (bearer("Bearer", "wrong"), Some(ACME), unauthorized),
        (bearer("Basic", "YTpi"), Some(ACME), unauthorized),
    ];
    for (headers, api_key, expect) in cases {
        let query = api_key.map_or_else(String::new, |key| format!("?api_key={key}"));
        let mut request = scene.mute(&query);
        for header in &headers {
            request = request.header("Authorization", header);
        }
        let calls = scene.app.simulator.calls().len();
        let answer = Answer::to(request).await;
        assert_eq!(answer.outcome(), expect, "{headers:?} {api_key:?}");
        if expect == unauthorized {
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            assert_eq!(scene.app.simulator.calls().len(), calls, "nothing is asked");
        }
    }
    let others =
        "select count(*) from audit_log where coalesce(actor, '') not in ('acme', 'globex')";
    assert_eq!(scene.app.count(others).await, 0);
    scene.app.finish().await;
}

#[tokio::test]
async fn a_token_in_the_url_opens_the_mute_endpoint_only() {
    for required in ["true", "false"] {
        let scene = Scene::of(Setup::default().env("AUTH_REQUIRED", required)).await;
        for path in [
            "/v1/policies",
            "/v1/policies/p",
            "/v1/policies?owner=acme",
            "/v1/policies?x=1",
        ] {
            let join = if path.contains('?') { '&' } else { '?' };
            for token in [ACME, OPERATOR] {
                let url = format!("{}{path}{join}api_key={token}", scene.app.url);
                for method in [Method::GET, Method::PUT, Method::POST, Method::DELETE] {
                    let answer = Answer::to(scene.app.http.request(method, &url)).await;
                    assert!(matches!(answer.status, 401 | 405), "{path}: {answer:?}");
                }
            }
        }
        let answer = Answer::to(scene.list("?api_key=wrong").bearer_auth(ACME)).await;
        assert_eq!(answer.status, 200, "it is not even looked at");
        scene.app.finish().await;
    }
}

#[tokio::test]
async fn where_no_token_is_required_a_bad_one_is_still_refused_and_v1_stays_shut() {
    let scene = Scene::of(Setup::default().env("AUTH_REQUIRED", "false")).await;
    let answer = Answer::to(scene.mute("").header("X-Request-Id", "nobody")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        scene.app.trail("nobody").await.pop().unwrap(),
        "outcome manual mute done - acme standup speaker MICROPHONE false->true"
    );
    assert_eq!(scene.mutes(ACME).await, "200");
    assert_eq!(scene.mutes(GLOBEX).await, "404 PARTICIPANT_NOT_FOUND");
    assert_eq!(scene.mutes("wrong").await, "401 UNAUTHORIZED");
    assert_eq!(scene.mutes("").await, "401 UNAUTHORIZED");
    let answer = Answer::to(scene.mute("?api_key=wrong")).await;
    assert_eq!(answer.outcome(), "401 UNAUTHORIZED");
    let answer = Answer::to(scene.mute("").header("Authorization", "Basic YTpi")).await;
    assert_eq!(answer.outcome(), "401 UNAUTHORIZED");
    for method in [Method::GET, Method::POST] {
        let url = format!("{}/v1/policies", scene.app.url);
        let answer = Answer::to(scene.app.http.request(method, url)).await;
        assert_eq!(answer.outcome(), "401 UNAUTHORIZED");
    }
    scene.app.finish().await;
}

#[tokio::test]
async fn one_secret_of_its_own_has_an_id_and_a_blank_id_is_refused() {
    let single = "single-secret-0123456789abcdef-0123456789";
    let blank = "blank-secret-0123456789abcdef-01234567890";
    let more = json!([{"id": " ", "secret": blank}]).to_string();
    let setup = Setup::default()
        .env("AUTH_API_SECRETS_JSON", &more)
        .env("AUTH_API_SECRET", single)
        .env("AUTH_API_SECRET_ID", "acme")
        // Where no token is needed, one with a blank id is still a bad one.
        .env("AUTH_REQUIRED", "false");
    let scene = Scene::of(setup).await;
    assert_eq!(scene.mutes(single).await, "200");
    assert_eq!(scene.mutes(blank).await, "401 UNAUTHORIZED");
    assert_eq!(scene.policies(blank).await.0, "401 UNAUTHORIZED");
    scene.app.finish().await;
}

#[tokio::test]
async fn an_operator_is_listed_and_nobody_else_sees_anothers_policies() {
    let scene = Scene::of(Setup::default()).await;
    for (token, query, expect) in [
        (ACME, "", "200"),
        (ACME, "?owner=globex", "403 FORBIDDEN"),
        (GLOBEX, "?owner=acme", "403 FORBIDDEN"),
        (OPERATOR, "?owner=acme", "200"),
        (OPERATOR, "?owner=globex", "200"),
    ] {
        let answer = Answer::to(scene.list(query).bearer_auth(token)).await;
        assert_eq!(answer.outcome(), expect, "{query}");
    }
    scene.app.finish().await;
}

fn jwt(algorithm: Algorithm, key: &EncodingKey, changes: &Value) -> String {
    let mut claims =
        json!({"sub": "acme", "exp": in_an_hour(), "iss": "https://id.example", "aud": "quell"});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    quell_jwt::encode(&Header::new(algorithm), &claims, key).unwrap()
}

#[tokio::test]
async fn jwts_are_held_to_key_issuer_audience_expiry_id_and_scopes() {
    let ec = pem::parse(std::fs::read(key_file("ec.pem")).unwrap()).unwrap();
    let (_, ec) = quell_jwt::private_key(ec.contents()).unwrap();
    let secret = EncodingKey::from_secret(HS256.as_bytes());
    let setup = Setup::default()
        .env("QUELL_JWT_PUBLIC_KEY_PATH", &key_file("ec.pub.pem"))
        .env("QUELL_JWT_SECRET", HS256)
        .env("QUELL_JWT_ISSUER", "https://id.example")
        .env("QUELL_JWT_AUDIENCE", "quell");
    let scene = Scene::of(setup).await;
    let unauthorized = ["401 UNAUTHORIZED"; 3];
    let forbidden = "403 FORBIDDEN";
    let cases = [
        (json!({}), ["200", "200", "200"]),
        (json!({"scope": "mute"}), ["200", forbidden, forbidden]),
        (
            json!({"scope": "policies:read other"}),
            [forbidden, "200", forbidden],
        ),
        (
            json!({"scope": ["mute", "policies:write"]}),
            ["200", forbidden, "200"],
        ),
        (json!({"scope": "audit:read"}), [forbidden; 3]),
        (json!({"scope": ""}), [forbidden; 3]),
        (
            json!({"sub": "globex"}),
            ["404 PARTICIPANT_NOT_FOUND", "200", "200"],
        ),
        (json!({"sub": ""}), unauthorized),
        (json!({"sub": " \t"}), unauthorized),
        (json!({"sub": "cli:root"}), unauthorized),
        (json!({"sub": null}), unauthorized),
        (json!({"sub": 7}), unauthorized),
        (json!({"exp": in_an_hour() - 7200}), unauthorized),
        (json!({"exp": null}), unauthorized),
        (json!({"iss": "https://evil.example"}), unauthorized),
        (json!({"aud": "another"}), unauthorized),
    ];
    for (changes, [mute, read, write]) in cases {
        for (algorithm, key) in [(Algorithm::ES256, &ec), (Algorithm::HS256, &secret)] {
            let token = jwt(algorithm, key, &changes);
            let what = format!("{algorithm:?} {changes}");
            assert_eq!(scene.mutes(&token).await, mute, "{what}");
            let expect = (read.to_owned(), write.to_owned());
            let (is_read, is_written) = scene.policies(&token).await;
            let is_written = is_written.replace("201", "200");
            assert_eq!((is_read, is_written), expect, "{what}");
        }
    }
    // Three tokens without the scope `mute`, each by two keys: refused, and written down.
    let refused = "outcome = 'refused' and error like '%mute%' and actor = 'acme'";
    let count = format!("select count(*) from moderation_history where {refused}");
    assert_eq!(scene.app.sql(&count).await.as_deref(), Some("6"));
    // The key pins the algorithm: a public key is no secret, whatever a token says.
    let public = std::fs::read(key_file("ec.pub.pem")).unwrap();
    let confused = jwt(
        Algorithm::HS256,
        &EncodingKey::from_secret(&public),
        &json!({}),
    );
    assert_eq!(scene.mutes(&confused).await, "401 UNAUTHORIZED");
    scene.app.finish().await;
}

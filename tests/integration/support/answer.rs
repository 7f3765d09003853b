//! An answer of quell's, whole, and free of secrets.

use reqwest::RequestBuilder;
use serde_json::Value;

use super::{ACME, GLOBEX, OPERATOR};

/// What no answer may ever hold: callers' tokens, LiveKit's secret, and the start of every JWT (by
/// which field comes first: `eyJ` alone can be a part of a track's SID).
const SECRETS: [&str; 7] = [
    ACME,
    GLOBEX,
    OPERATOR,
    "secret-that-is-long-enough-for-livekit-0123",
    "eyJhbGciOi",
    "eyJ0eXAiOi",
    "eyJraWQiOi",
];

/// Status, headers and body of one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// Sends `request` and reads all of its answer.
    ///
    /// Fails where the answer holds a secret, or is an error in another shape than
    /// `{"error", "code"}`.
    pub(crate) async fn to(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let answer = Self {
            status: response.status().as_u16(),
            headers: response
                .headers()
                .iter()
                .map(|(name, value)| {
                    let value = value.to_str().unwrap().to_owned();
                    (name.as_str().to_owned(), value)
                })
                .collect(),
            body: response.text().await.unwrap(),
        };
        answer.check();
        answer
    }

    fn check(&self) {
        let shown = format!("{self:?}");
        for secret in SECRETS {
            assert!(!shown.contains(secret), "{secret} is shown: {shown}");
        }
        if self.status >= 400 {
            let problem = self.json();
            let problem = problem.as_object().unwrap();
            let fields: Vec<_> = problem.keys().map(String::as_str).collect();
            assert_eq!(fields, ["code", "error"], "{shown}");
            assert!(problem["error"].as_str().unwrap().len() > 10, "{shown}");
        }
    }

    /// The body.
    pub(crate) fn json(&self) -> Value {
        let content_type = self.header("content-type");
        assert_eq!(content_type, Some("application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    /// The first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|header| header.0 == name)
            .map(|header| header.1.as_str())
    }

    /// `200`, or `404 PARTICIPANT_NOT_FOUND`.
    pub(crate) fn outcome(&self) -> String {
        if self.status < 400 {
            return self.status.to_string();
        }
        format!("{} {}", self.status, self.json()["code"].as_str().unwrap())
    }

    /// What people read of an error.
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }
}

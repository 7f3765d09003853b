//! Every call that was recorded with livekit-server 1.13.5 gets the same answer here.
//!
//! A line of the recording is an act (somebody joins, publishes, ...), done here likewise, or a
//! call with its token described, and the answer: status, content type, body, seconds taken.
//! Which participants' `version` numbers go with what is left out.

use std::time::Instant;

use proto::{TrackSource, TrackType, participant_info};
use quell_jwt::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::*;

const RECORDING: &str = include_str!("../../../../tests/fixtures/livekit/twirp-1.13.5.jsonl");
const NO_RESPONSE_AFTER: Duration = Duration::from_millis(30);

#[tokio::test]
async fn every_recorded_call_gets_the_recorded_answer() {
    let simulator = start(SimulatorConfig {
        no_response_after: NO_RESPONSE_AFTER,
        ..SimulatorConfig::default()
    })
    .await;
    let client = client();
    let mut calls = 0;
    for line in RECORDING.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["act"].is_string() {
            act(&simulator, &line);
        } else {
            call(&simulator, &client, &line["call"], &line["answer"]).await;
            calls += 1;
        }
    }
    assert!(calls > 90, "only {calls} calls in the recording");
}

fn act(simulator: &Simulator, act: &Value) {
    let text = |name: &str| act[name].as_str().unwrap_or_default().to_owned();
    let (room, identity) = (text("room"), text("identity"));
    match act["act"].as_str().unwrap() {
        "create_room" => drop(simulator.create_room(&room, act["metadata"].as_str())),
        "end_room" => simulator.end_room(&room).unwrap(),
        "settings" => {
            simulator.set_enable_remote_unmute(act["enable_remote_unmute"].as_bool().unwrap());
        }
        "join" => {
            let kind = participant_info::Kind::from_str_name(&text("kind").to_uppercase());
            let attributes = act["attributes"].clone();
            simulator.join(
                &room,
                Join {
                    kind: kind.unwrap_or_default(),
                    name: text("name"),
                    metadata: text("metadata"),
                    attributes: serde_json::from_value(attributes).unwrap_or_default(),
                    ..Join::new(identity)
                },
            );
        }
        "publish" => {
            let publish = Publish {
                name: text("name"),
                track_type: TrackType::from_str_name(&text("type")).unwrap(),
                sid: Some(text("sid")),
                ..Publish::new(TrackSource::from_str_name(&text("source")).unwrap())
            };
            simulator.publish(&room, &identity, publish).unwrap();
        }
        other => panic!("unknown act {other}"),
    }
}

async fn call(simulator: &Simulator, client: &reqwest::Client, call: &Value, answer: &Value) {
    let name = call["name"].as_str().unwrap();
    let token = recorded_token(&call["token"]);
    let mut url = simulator.url() + call["path"].as_str().unwrap();
    let mut headers = HeaderMap::new();
    if let Some(content_type) = call["content_type"].as_str() {
        headers.insert("content-type", content_type.parse().unwrap());
    }
    if let Some(token) = &token {
        if call["where"] == "query" {
            url = format!("{url}?access_token={token}");
        } else {
            let scheme = call["scheme"].as_str().unwrap_or("Bearer ");
            let value = HeaderValue::from_str(&format!("{scheme}{token}")).unwrap();
            headers.insert("authorization", value);
        }
    }
    let body = match call["body_hex"].as_str() {
        Some(body) => hex::decode(body).unwrap(),
        None => call["body"].as_str().unwrap().as_bytes().to_vec(),
    };
    let method = call["method"].as_str().unwrap().parse().unwrap();
    let request = client.request(method, url).headers(headers).body(body);
    let started = Instant::now();
    let response = request.send().await.unwrap();
    let took = started.elapsed();

    assert_eq!(response.status().as_u16(), answer["status"], "{name}");
    let content_type = response.headers()["content-type"].to_str().unwrap();
    assert_eq!(content_type, answer["content_type"], "{name}");
    if answer["seconds"].as_f64().unwrap() >= 3.0 {
        assert!(took >= NO_RESPONSE_AFTER, "{name}: {took:?}");
    }
    let body = response.bytes().await.unwrap();
    if let Some(expected) = answer["body_hex"].as_str() {
        let expected = hex::decode(expected).unwrap();
        if name.starts_with("GetParticipant") {
            assert_eq!(participant(&body), participant(&expected), "{name}");
        } else {
            assert_eq!(body, expected, "{name}");
        }
        return;
    }
    let body = String::from_utf8(body.to_vec()).unwrap();
    let body = body.replace(token.as_deref().unwrap_or("<none>"), "<token>");
    let expected = answer["body"].as_str().unwrap();
    match serde_json::from_str(expected) {
        Ok(expected) => {
            let body = serde_json::from_str(&body).unwrap();
            assert_eq!(comparable(body), comparable(expected), "{name}");
        }
        Err(_) => assert_eq!(body, expected, "{name}"),
    }
}

/// Makes the token that the recording describes.
fn recorded_token(token: &Value) -> Option<String> {
    use secrecy::ExposeSecret;
    if token.is_null() {
        return None;
    }
    if let Some(raw) = token["raw"].as_str() {
        return Some(raw.to_owned());
    }
    let now = Clock::system().unix_seconds();
    let mut claims = json!({ "iss": token["key"].as_str().unwrap_or("devkey") });
    for name in ["exp", "nbf"] {
        if let Some(seconds) = token[name].as_i64() {
            claims[name] = (now + seconds).into();
        }
    }
    if token["video"].is_object() {
        claims["video"] = token["video"].clone();
    }
    let key = SimulatorConfig::default().api_keys.remove(0);
    let secret = token["secret"].as_str();
    let secret = secret.unwrap_or_else(|| key.secret.expose_secret());
    let algorithm = token["alg"].as_str().unwrap_or("HS256");
    let header = Header::new(algorithm.parse::<Algorithm>().unwrap());
    let secret = EncodingKey::from_secret(secret.as_bytes());
    Some(quell_jwt::encode(&header, &claims, &secret).unwrap())
}

fn participant(bytes: &[u8]) -> Value {
    let participant = proto::ParticipantInfo::decode(bytes).unwrap();
    comparable(json::answer(&participant).unwrap())
}

fn comparable(mut value: Value) -> Value {
    fn without_versions(value: &mut Value) {
        if let Some(fields) = value.as_object_mut() {
            fields.remove("version");
            fields.values_mut().for_each(without_versions);
        }
        if let Some(values) = value.as_array_mut() {
            values.iter_mut().for_each(without_versions);
        }
    }
    normalize(&mut value);
    without_versions(&mut value);
    value
}

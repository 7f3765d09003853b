//! The control API, as the Python tests use it.

use serde_json::json;

use super::*;

struct Control {
    client: reqwest::Client,
    base: String,
}

impl Control {
    fn new(simulator: &Simulator) -> Self {
        Self {
            client: client(),
            base: format!("http://{}/_sim", simulator.address()),
        }
    }

    async fn send(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("{}{path}", self.base);
        let mut request = self.client.request(method.parse().unwrap(), url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let body = response.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn ok(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.send(method, path, body).await;
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }
}

#[tokio::test]
async fn a_session_is_played_over_http() {
    let receiver = Receiver::start([]).await;
    let simulator = start(SimulatorConfig::default()).await;
    let control = Control::new(&simulator);
    let settings = json!({ "webhook_url": receiver.url.as_str(), "enable_remote_unmute": true });
    control.ok("PUT", "/settings", Some(settings)).await;

    let room = control.ok("PUT", "/rooms/a%20room", None).await;
    assert!(room["sid"].as_str().unwrap().starts_with("RM_"));
    let metadata = json!({ "metadata": "m" });
    let changed = control.ok("PUT", "/rooms/a%20room", Some(metadata)).await;
    assert_eq!(
        (&changed["sid"], &changed["metadata"]),
        (&room["sid"], &json!("m"))
    );

    let people = "/rooms/a%20room/participants";
    let join = json!({
        "identity": "ann", "name": "Ann", "kind": "SIP", "attributes": { "k": "v" },
        "kind_details": ["CONNECTOR_TWILIO", "FORWARDED"],
        "metadata": "p", "hidden": true, "permission": { "canPublish": true },
    });
    let ann = control.ok("POST", people, Some(join)).await;
    let expected = json!({
        "identity": "ann", "name": "Ann", "kind": "SIP", "attributes": { "k": "v" },
        "kind_details": ["CONNECTOR_TWILIO", "FORWARDED"],
        "metadata": "p", "state": "ACTIVE",
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&ann[name], value, "{name}");
    }
    assert_eq!(ann["permission"]["hidden"], true);
    assert_eq!(ann["permission"]["can_publish"], true);
    assert_eq!(ann["permission"]["can_subscribe"], false);

    let tracks = format!("{people}/ann/tracks");
    let publish = json!({
        "name": "cam", "type": "VIDEO", "source": "CAMERA", "muted": true, "sid": "TR_1",
    });
    let track = control.ok("POST", &tracks, Some(publish.clone())).await;
    for (name, value) in publish.as_object().unwrap() {
        assert_eq!(&track[name], value, "{name}");
    }
    let plain = control.ok("POST", &tracks, Some(json!({}))).await;
    assert_eq!(
        (&plain["type"], &plain["source"]),
        (&json!("AUDIO"), &json!("UNKNOWN"))
    );

    let muted = json!({ "muted": false });
    let path = format!("{tracks}/TR_1/muted");
    let track = control.ok("PUT", &path, Some(muted)).await;
    assert_eq!(track["muted"], false);
    control.ok("DELETE", &format!("{tracks}/TR_1"), None).await;
    control.ok("DELETE", &format!("{people}/ann"), None).await;
    control.ok("DELETE", "/rooms/a%20room", None).await;

    simulator.wait_delivered(LONG).await.unwrap();
    let events: Vec<_> = receiver
        .received()
        .iter()
        .map(|received| received.json()["event"].clone())
        .collect();
    let expected = [
        "room_started",
        "participant_joined",
        "track_published",
        "track_published",
        "track_unpublished",
        "track_unpublished",
        "participant_left",
        "room_finished",
    ];
    assert_eq!(events, expected);

    control
        .ok("PUT", "/settings", Some(json!({ "webhook_url": null })))
        .await;
    control.ok("PUT", "/rooms/quiet", None).await;
    simulator.wait_delivered(LONG).await.unwrap();
    assert_eq!(receiver.received().len(), expected.len());
}

#[tokio::test]
async fn settings_faults_and_calls() {
    let simulator = start(SimulatorConfig::default()).await;
    let control = Control::new(&simulator);
    simulator.join("r", Join::new("ann"));
    let track = simulator
        .publish("r", "ann", Publish::microphone())
        .unwrap();
    let unmute = async || {
        let response = mute_request(&simulator, &track.sid, false).send().await;
        response.unwrap().status().as_u16()
    };
    assert_eq!(unmute().await, 412);
    let enabled = json!({ "enable_remote_unmute": true });
    control.ok("PUT", "/settings", Some(enabled)).await;
    assert_eq!(unmute().await, 200);

    let faults = json!([
        { "kind": "latency", "latency_ms": 1 },
        { "kind": "html_502", "method": "MutePublishedTrack", "times": 1 },
        { "kind": "unavailable" },
        { "kind": "hang", "method": "SendData" },
        { "kind": "cut", "method": "ListRooms" },
    ]);
    control.ok("PUT", "/faults", Some(faults)).await;
    assert_eq!((unmute().await, unmute().await), (502, 503));
    control.ok("PUT", "/faults", Some(json!([]))).await;
    assert_eq!(unmute().await, 200);

    let calls = control.ok("GET", "/calls", None).await;
    let calls = calls.as_array().unwrap();
    let statuses: Vec<_> = calls.iter().map(|call| call["status"].clone()).collect();
    assert_eq!(statuses, [412, 200, 502, 503, 200]);
    let mut first = calls[0].clone();
    first.as_object_mut().unwrap().remove("at").unwrap();
    let expected = json!({
        "method": "MutePublishedTrack", "room": "r", "identity": "ann",
        "track_sid": track.sid, "muted": false, "status": 412,
    });
    assert_eq!(first, expected);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let simulator = start(SimulatorConfig::default()).await;
    let control = Control::new(&simulator);
    let mut silent = Join::new("silent");
    silent.permission.can_publish = false;
    simulator.join("r", silent);
    let silent = "/rooms/r/participants/silent/tracks";
    let cases = [
        ("PUT", "/faults", json!([{ "kind": "flood" }]), 422),
        (
            "PUT",
            "/faults",
            json!([{ "kind": "cut", "method": "Nope" }]),
            400,
        ),
        ("PUT", "/settings", json!({ "webhook_url": "no url" }), 400),
        (
            "PUT",
            "/settings",
            json!({ "enable_remote_unmut": true }),
            422,
        ),
        ("POST", "/rooms/r/participants", json!({ "name": "x" }), 422),
        (
            "POST",
            "/rooms/r/participants",
            json!({ "identity": "x", "kind": "X" }),
            400,
        ),
        (
            "POST",
            "/rooms/r/participants",
            json!({ "identity": "x", "kind_details": ["SIP"] }),
            400,
        ),
        ("POST", silent, json!({ "source": "EARS" }), 400),
        ("POST", silent, json!({ "type": "SMELL" }), 400),
        ("POST", silent, json!({}), 403),
        ("POST", "/rooms/r/participants/x/tracks", json!({}), 404),
        ("DELETE", "/rooms/x", Value::Null, 404),
        ("DELETE", "/rooms/r/participants/x", Value::Null, 404),
        (
            "DELETE",
            "/rooms/r/participants/silent/tracks/x",
            Value::Null,
            404,
        ),
        ("GET", "/nothing", Value::Null, 404),
    ];
    for (method, path, body, status) in cases {
        let (got, answer) = control.send(method, path, Some(body.clone())).await;
        assert_eq!(got, status, "{method} {path} {body}: {answer}");
    }
}

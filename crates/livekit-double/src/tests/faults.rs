//! Faults, as a caller meets them.

use std::time::Instant;

use super::*;

/// A double where ann has an unmuted microphone `TR_mic` in room `r`.
async fn with_ann() -> Simulator {
    let simulator = start(SimulatorConfig {
        no_response_after: Duration::ZERO,
        ..SimulatorConfig::default()
    })
    .await;
    simulator.join("r", Join::new("ann"));
    let publish = Publish {
        sid: Some("TR_mic".to_owned()),
        ..Publish::microphone()
    };
    simulator.publish("r", "ann", publish).unwrap();
    simulator
}

fn is_muted(simulator: &Simulator) -> bool {
    simulator.track("r", "ann", "TR_mic").unwrap().muted
}

#[tokio::test]
async fn latency_delays_and_the_call_is_carried_out() {
    let simulator = with_ann().await;
    let by = Duration::from_millis(40);
    simulator.set_faults([Fault::all(FaultKind::Latency(by))]);
    let started = Instant::now();
    let response = mute_request(&simulator, "TR_mic", true).send().await;
    assert_eq!(response.unwrap().status(), 200);
    assert!(started.elapsed() >= by);
    assert!(is_muted(&simulator));
}

#[tokio::test]
async fn refusals_are_livekits_or_a_proxys_and_nothing_is_done() {
    let simulator = with_ann().await;
    let cases = [
        (
            FaultKind::Unavailable,
            503,
            "application/json",
            "unavailable",
        ),
        (
            FaultKind::Html502,
            502,
            "text/html; charset=utf-8",
            "<html>",
        ),
    ];
    for (kind, status, content_type, holds) in cases {
        let mute = Method::MutePublishedTrack;
        simulator.set_faults([Fault::of(mute, kind).times(1)]);
        let response = mute_request(&simulator, "TR_mic", true)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["content-type"], content_type);
        assert!(response.text().await.unwrap().contains(holds));
        assert!(!is_muted(&simulator));
    }
    let response = mute_request(&simulator, "TR_mic", true).send().await;
    assert_eq!(response.unwrap().status(), 200, "once only");
    assert!(is_muted(&simulator));
}

#[tokio::test]
async fn a_fault_of_one_method_leaves_the_others_alone() {
    let simulator = with_ann().await;
    let get = Fault::of(Method::GetParticipant, FaultKind::Unavailable);
    simulator.set_faults([get]);
    let identity = proto::RoomParticipantIdentity {
        room: "r".to_owned(),
        identity: "ann".to_owned(),
        ..Default::default()
    };
    let get = || request(&simulator, Method::GetParticipant, admin("r"), &identity);
    assert_eq!(get().send().await.unwrap().status(), 503);
    let mute = mute_request(&simulator, "TR_mic", true).send().await;
    assert_eq!(mute.unwrap().status(), 200);
    simulator.set_faults([]);
    assert_eq!(get().send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_hanging_call_is_never_answered_and_nothing_is_done() {
    let simulator = with_ann().await;
    simulator.set_faults([Fault::all(FaultKind::Hang)]);
    let mute = mute_request(&simulator, "TR_mic", true);
    let error = mute.timeout(Duration::from_millis(40)).send().await;
    assert!(error.unwrap_err().is_timeout());
    assert!(!is_muted(&simulator));
    assert_eq!(simulator.calls()[0].status, None);

    // A shutdown ends it.
    let hanging = async {
        let mute = mute_request(&simulator, "TR_mic", true).send();
        tokio::time::timeout(LONG, mute).await.unwrap()
    };
    let shutdown = async {
        let called = simulator.wait_until(LONG, |simulator| simulator.calls().len() == 2);
        called.await.unwrap();
        let shutdown = simulator.shutdown();
        tokio::time::timeout(LONG, shutdown).await.unwrap();
    };
    let (hanging, ()) = tokio::join!(hanging, shutdown);
    assert_eq!(hanging.unwrap().status(), 503);
}

#[tokio::test]
async fn a_cut_call_is_carried_out_and_its_answer_is_lost() {
    let simulator = with_ann().await;
    for sid in ["TR_mic", "TR_unknown: an empty answer"] {
        simulator.set_faults([Fault::all(FaultKind::Cut).times(1)]);
        let lost = match mute_request(&simulator, sid, true).send().await {
            Ok(response) => response.bytes().await.is_err(),
            Err(_) => true,
        };
        assert!(lost, "{sid}");
    }
    assert!(is_muted(&simulator));
    assert_eq!(simulator.calls()[0].status, Some(200));
}

#[tokio::test]
async fn calls_are_kept_with_what_they_were_for() {
    let simulator = with_ann().await;
    let mute = mute_request(&simulator, "TR_mic", false).send().await;
    assert_eq!(mute.unwrap().status(), 412);
    let rooms = request(
        &simulator,
        Method::ListRooms,
        admin("r"),
        &proto::ListRoomsRequest::default(),
    );
    assert_eq!(rooms.send().await.unwrap().status(), 401);
    let calls: Vec<_> = simulator
        .calls()
        .into_iter()
        .map(|call| {
            let of = format!("{}/{}/{}", call.room, call.identity, call.track_sid);
            (call.method, of, call.muted, call.status)
        })
        .collect();
    let expected = [
        (
            "MutePublishedTrack",
            "r/ann/TR_mic".to_owned(),
            Some(false),
            Some(412),
        ),
        ("ListRooms", "//".to_owned(), None, Some(401)),
    ];
    assert_eq!(calls, expected);
}

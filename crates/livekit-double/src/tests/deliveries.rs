//! The schedule of webhooks: order, retries, what is dropped.

use super::*;

/// What came of each attempt.
fn outcomes(simulator: &Simulator) -> Vec<(String, u32, Outcome)> {
    let deliveries = simulator.deliveries().into_iter();
    deliveries
        .map(|d| (d.event, d.attempt, d.outcome))
        .collect()
}

async fn sending_to(url: Url) -> Simulator {
    start(SimulatorConfig {
        webhook_url: Some(url),
        retry_delays: vec![Duration::ZERO; 4],
        ..SimulatorConfig::default()
    })
    .await
}

#[tokio::test]
async fn what_is_tried_again_is_tried_five_times_as_it_was() {
    let cases: [(&[u16], usize); 8] = [
        (&[200], 1),
        (&[500, 200], 2),
        (&[503, 502, 200], 3),
        (&[429, 204], 2),
        (&[500, 500, 500, 500, 500], 5),
        (&[501], 1),
        (&[404], 1),
        (&[401], 1),
    ];
    for (answers, attempts) in cases {
        let receiver = Receiver::start(answers.iter().copied().map(status)).await;
        let simulator = sending_to(receiver.url.clone()).await;
        simulator.create_room("r", None);
        simulator.wait_delivered(LONG).await.unwrap();
        let expected: Vec<_> = (1..)
            .zip(answers)
            .map(|(attempt, status)| {
                let event = "room_started".to_owned();
                (event, attempt, Outcome::Status(*status))
            })
            .collect();
        assert_eq!(outcomes(&simulator), expected);
        let arrived = receiver.received();
        assert_eq!(arrived.len(), attempts, "{answers:?}");
        for again in &arrived {
            assert_eq!(again.body, arrived[0].body);
            let token = &arrived[0].headers["authorization"];
            assert_eq!(again.headers["authorization"], token);
        }
    }
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_tried_five_times() {
    // A port that was free a moment ago, and that nobody listens on.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let simulator = sending_to(url.parse().unwrap()).await;
    simulator.create_room("r", None);
    simulator.wait_delivered(LONG).await.unwrap();
    let outcomes = outcomes(&simulator);
    assert_eq!(outcomes.len(), 5);
    for (_, _, outcome) in outcomes {
        assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    }
}

#[tokio::test]
async fn the_default_schedule_is_the_real_one() {
    let config = SimulatorConfig::default();
    assert_eq!(config.retry_delays, [1, 2, 4, 8].map(Duration::from_secs));
    assert_eq!(config.webhook_age_max, Duration::from_secs(30));
    assert_eq!(config.webhook_queue_max, 200);
    assert_eq!(config.no_response_after, Duration::from_secs(3));
}

#[tokio::test]
async fn retry_after_goes_before_the_schedule() {
    for code in [429, 503] {
        let mut busy = status(code);
        let headers = busy.headers_mut();
        headers.insert("retry-after", HeaderValue::from_static("0"));
        let receiver = Receiver::start([busy]).await;
        let simulator = start(SimulatorConfig {
            webhook_url: Some(receiver.url.clone()),
            retry_delays: vec![Duration::from_hours(1)],
            ..SimulatorConfig::default()
        })
        .await;
        simulator.create_room("r", None);
        simulator.wait_delivered(LONG).await.unwrap();
        assert_eq!(receiver.received().len(), 2);
    }
}

#[tokio::test]
async fn a_room_has_one_webhook_in_flight_and_holds_no_other_room_up() {
    let receiver = Receiver::start([]).await;
    let simulator = sending_to(receiver.url.clone()).await;
    for identity in ["ann", "bob"] {
        simulator.join("held", Join::new(identity));
    }
    receiver.wait_arrived(1).await;
    simulator.create_room("other", None);
    let from = |simulator: &Simulator, room: &str| {
        let deliveries = simulator.deliveries().into_iter();
        deliveries.filter(|d| d.room == room).count()
    };
    let other = simulator.wait_until(LONG, |simulator| from(simulator, "other") == 1);
    other.await.unwrap();
    assert_eq!(receiver.received().len(), 2, "nothing more from `held`");
    receiver.inner.permits.add_permits(3);
    simulator.wait_delivered(LONG).await.unwrap();
    let held: Vec<_> = receiver
        .received()
        .iter()
        .map(Received::json)
        .filter(|event| event["room"]["name"] == "held")
        .map(|event| {
            (
                event["event"].clone(),
                event["participant"]["identity"].clone(),
            )
        })
        .collect();
    let expected = [
        ("room_started".into(), Value::Null),
        ("participant_joined".into(), "ann".into()),
        ("participant_joined".into(), "bob".into()),
    ];
    assert_eq!(held, expected);
}

#[tokio::test]
async fn what_is_too_deep_in_the_queue_or_too_old_is_dropped() {
    let receiver = Receiver::start([]).await;
    let simulator = start(SimulatorConfig {
        webhook_url: Some(receiver.url.clone()),
        webhook_queue_max: 1,
        ..SimulatorConfig::default()
    })
    .await;
    simulator.create_room("held", None);
    receiver.wait_arrived(1).await;
    for identity in ["waits", "dropped"] {
        simulator.join("held", Join::new(identity));
    }
    receiver.inner.permits.add_permits(2);
    simulator.wait_delivered(LONG).await.unwrap();
    let dropped = ("participant_joined", 0, Outcome::Dropped("queue is full"));
    let sent = |event| (event, 1, Outcome::Status(200));
    let expected = [dropped, sent("room_started"), sent("participant_joined")];
    let expected = expected.map(|(event, attempt, outcome)| (event.to_owned(), attempt, outcome));
    assert_eq!(outcomes(&simulator), expected);

    let simulator = start(SimulatorConfig {
        webhook_url: Some(receiver.url.clone()),
        webhook_age_max: Duration::ZERO,
        ..SimulatorConfig::default()
    })
    .await;
    simulator.create_room("r", None);
    simulator.wait_delivered(LONG).await.unwrap();
    let dropped = ("room_started".to_owned(), 0, Outcome::Dropped("age"));
    assert_eq!(outcomes(&simulator), [dropped]);
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test]
async fn the_receiver_can_be_changed_while_running() {
    let receiver = Receiver::start([]).await;
    let simulator = start(SimulatorConfig::default()).await;
    simulator.create_room("before", None);
    simulator.set_webhook_url(Some(receiver.url.clone()));
    simulator.create_room("between", None);
    simulator.wait_delivered(LONG).await.unwrap();
    simulator.set_webhook_url(None);
    simulator.create_room("after", None);
    simulator.wait_delivered(LONG).await.unwrap();
    let arrived = receiver.received();
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].json()["room"]["name"], "between");
    assert_eq!(simulator.events().len(), 3, "events are kept all the same");
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_retries_or_receivers() {
    let receiver = Receiver::start([status(500)]).await;
    let simulator = start(SimulatorConfig {
        webhook_url: Some(receiver.url.clone()),
        retry_delays: vec![Duration::from_hours(1)],
        ..SimulatorConfig::default()
    })
    .await;
    simulator.create_room("held", None);
    simulator.create_room("waits for a retry", None);
    receiver.wait_arrived(2).await;
    let shutdown = tokio::time::timeout(LONG, simulator.shutdown());
    shutdown.await.unwrap();
}

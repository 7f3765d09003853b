//! Events that a store could stumble over: nobody escapes by what it is called, or by the day.

use chrono::TimeDelta;
use quell::clock::{Clock, ManualClock};
use quell::simulator::{Join, Publish};

use crate::support::Setup;

const MUTE_ALL: &str = r"
policies:
  - name: silence
    match: { type: [AUDIO] }
    effect: mute
";

#[tokio::test]
async fn what_postgres_cannot_hold_is_stored_and_muted_all_the_same() {
    let long: String = (0..3000).map(|_| rand::random::<char>()).collect();
    let nul = "with\0nul";
    let app = Setup::default().start().await;
    app.apply(MUTE_ALL).await;
    let cases = [
        ("named", "acme", "p", nul),
        ("identified", "acme", nul, "mic"),
        ("a\0room", "acme", "p", "mic"),
        ("owned", nul, "p", "mic"),
        ("long-named", "acme", "p", &long),
        ("long-identified", "acme", &long, "mic"),
        (&long, "acme", "p", "mic"),
        ("long-owned", &long, "p", "mic"),
    ];
    let mut published = Vec::new();
    for (room, tenant, identity, name) in cases {
        app.room(room, tenant);
        let publish = Publish {
            name: name.to_owned(),
            ..Publish::microphone()
        };
        let join = Join::new(identity).attribute(name, name);
        let sid = app.publish(room, join, publish).sid;
        published.push((room, identity, sid));
    }
    app.settle().await;
    for (room, identity, sid) in &published {
        let what: String = room.chars().take(20).collect();
        let settlement = app.settlement(sid).await;
        assert_eq!(settlement.as_deref(), Some("muted"), "{what:?}");
        assert!(app.is_muted(room, identity, sid), "{what:?}");
    }
    let replaced = "select count(*) from moderation_history
                    where outcome = 'done' and identity = E'with\\uFFFDnul'";
    assert_eq!(app.count(replaced).await, 1);
    let done = "select count(*) from moderation_history where outcome = 'done' and action = 'mute'";
    assert_eq!(app.count(done).await, 8);
    app.finish().await;
}

/// Upkeep makes partitions two weeks ahead; quell may have been down for longer.
#[tokio::test]
async fn an_event_of_a_day_without_a_partition_is_stored_and_muted() {
    for days in [40, -40] {
        let hands = ManualClock::new(Clock::system().now());
        let app = Setup::default().clock(hands.clock()).start().await;
        app.apply(MUTE_ALL).await;
        hands.advance(TimeDelta::days(days));
        let day = app.now().format("webhook_event_%Y%m%d").to_string();
        let is_there = |name: String| async {
            sqlx::query_scalar::<_, bool>("select to_regclass($1) is not null")
                .bind(name)
                .fetch_one(&app.pool)
                .await
                .unwrap()
        };
        assert!(!is_there(day.clone()).await, "{day}");
        app.room("r", "acme");
        let sid = app.publish("r", Join::new("p"), Publish::microphone()).sid;
        app.settle().await;
        assert!(is_there(day.clone()).await, "{day}");
        let stored = "select count(*) from webhook_event";
        assert_eq!(app.count(stored).await, 3);
        assert!(app.is_muted("r", "p", &sid));
        app.finish().await;
    }
}

//! Two versions on one database: the newer one's migrations have added to it.

use livekit_double::{Join, Publish};

use crate::support::TestApp;

const MICS: &str = "policies: [{ name: mics, match: { source: [MICROPHONE] }, effect: mute }]";

#[tokio::test]
async fn a_replica_goes_on_while_a_newer_one_migrates() {
    let mut app = TestApp::new().await;
    app.apply(MICS).await;
    app.room("webinar-1", "acme");
    let muted = async |app: &TestApp, identity: &str| {
        let track = app.publish("webinar-1", Join::new(identity), Publish::microphone());
        app.settle().await;
        assert!(
            app.is_muted("webinar-1", identity, &track.sid),
            "{identity}"
        );
        app.simulator.leave("webinar-1", identity).unwrap();
        app.settle().await;
    };
    // Its statements are prepared by now.
    muted(&app, "before").await;
    for sql in [
        "alter table webhook_event add column of_tomorrow text",
        "alter table job add column of_tomorrow integer not null default 0",
        "alter table audit_log add column of_tomorrow text",
        "alter table track_lease add column of_tomorrow text",
        "alter table replica add column of_tomorrow text",
        "alter table policy add column of_tomorrow text",
        "alter table policy_revision add column of_tomorrow text",
        "create table of_tomorrow (id bigint primary key)",
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (9999, 'of tomorrow', true, '', 0)",
    ] {
        sqlx::raw_sql(sql).execute(&app.pool).await.unwrap();
    }
    muted(&app, "after").await;
    app.apply("policies: [{ name: cameras, match: { source: [CAMERA] }, effect: mute }]")
        .await;
    app.replica().await;
    muted(&app, "beside another").await;
    assert_eq!(
        app.sql("select count(*) from moderation_history where outcome = 'failed'")
            .await
            .as_deref(),
        Some("0")
    );
    app.finish().await;
}

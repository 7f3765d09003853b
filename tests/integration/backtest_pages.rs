//! A backtest over many pages of events: nothing is left out, nothing is taken twice, and it stops
//! where it is told to.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use quell::backtest::{
    self, BacktestError, Draft, Pace, Progress, Question, Range, Report, TruncatedBy,
};
use quell::clock::Clock;
use quell::policy::Document;

use crate::support::TestApp;

/// More than two pages, with other events in between; one in three is acme's. Several have the same
/// time, so that pages end among them.
const EVENTS: i64 = 12_000;
const PUBLISHED: u64 = 8_000;

async fn fill(app: &TestApp) -> DateTime<Utc> {
    let start = Clock::system().unix_seconds() - TimeDelta::hours(30).num_seconds();
    let start = DateTime::from_timestamp(start, 0).unwrap();
    sqlx::query("select quell_ensure_partitions($1)")
        .bind(start)
        .execute(&app.pool)
        .await
        .unwrap();
    // The first of every hundred has no facts.
    sqlx::query(
        "insert into webhook_event (created_at, event_id, event, room_sid, tenant, identity, body, facts, settlement, settled_at)
           select $1 + make_interval(secs => n / 7 * 60), 'EV_' || n,
                  case when n % 3 = 2 then 'room_started' else 'track_published' end,
                  'RM_' || n % 50, case when n % 3 = 0 then 'acme' end, 'p' || n, '{}',
                  case when n % 3 = 2 or n % 100 = 0 then null else json_build_object(
                      'room', json_build_object('name', 'room-' || n % 50, 'sid', 'RM_' || n % 50,
                          'tenant', case when n % 3 = 0 then 'acme' end),
                      'participant', json_build_object('identity', 'p' || n, 'sid', 'PA'),
                      'track', json_build_object('sid', 'TR_' || n, 'source', 'MICROPHONE', 'type', 'AUDIO'),
                      'event', json_build_object('type', 'track_published', 'created_at', 0)) end,
                  'nothing', now()
           from generate_series(0, $2 - 1) n",
    )
    .bind(start)
    .bind(EVENTS)
    .execute(&app.pool)
    .await
    .unwrap();
    start
}

fn question(range: Range, tenant: Option<&str>) -> Question {
    let yaml = "policies: [{ name: quiet, match: { room: room-7 }, effect: mute }]";
    let draft = Document::load([("draft.yaml", yaml)]).unwrap().value;
    Question {
        draft: Draft {
            policies: draft.policies,
            ..Draft::default()
        },
        range,
        tenant: tenant.map(str::to_owned),
        is_tenants_own: false,
        samples_max: 3,
    }
}

async fn run(app: &TestApp, range: Range, tenant: Option<&str>, pace: Pace) -> Report {
    let question = question(range, tenant);
    backtest::run(&app.pool, question, pace, |_| ())
        .await
        .unwrap()
}

fn gentle(tracks_max: u64, time_max: Duration) -> Pace {
    Pace::Gentle {
        tracks_max,
        time_max,
    }
}

const NEVER: Duration = Duration::from_hours(1);

#[tokio::test]
async fn every_event_is_taken_once_whatever_the_pace() {
    let app = TestApp::new().await;
    let start = fill(&app).await;
    let range = Range {
        since: start,
        until: start + TimeDelta::days(2),
    };
    for pace in [Pace::Full, gentle(u64::MAX, NEVER)] {
        let report = run(&app, range, None, pace).await;
        assert_eq!(report.published.tracks, PUBLISHED);
        assert_eq!(
            (report.published.rooms, report.published.participants),
            (50, PUBLISHED)
        );
        let in_room =
            app.count("select count(*) from webhook_event where facts->'room'->>'name' = 'room-7'");
        let newly = report.enforced.changes.newly_muted;
        assert_eq!(i64::try_from(newly.tracks).unwrap(), in_room.await);
        assert_eq!((newly.rooms, newly.participants), (1, newly.tracks));
        assert_eq!(report.apart.without_facts, 80);
        assert_eq!(report.truncated, None);
        assert_eq!(report.notes, [""; 0]);
        assert_eq!(report.samples.len(), 3);
        // A tenant's are found among the others', over the same pages.
        let report = run(&app, range, Some("acme"), pace).await;
        assert_eq!(report.published.tracks, PUBLISHED / 2);
    }
    // With the first instant, without the last: two halves are the whole.
    let middle = start + TimeDelta::minutes(811);
    let mut halves = 0;
    for (since, until) in [(range.since, middle), (middle, range.until)] {
        let report = run(&app, Range { since, until }, None, Pace::Full).await;
        halves += report.published.tracks;
    }
    assert_eq!(halves, PUBLISHED);
    app.finish().await;
}

#[tokio::test]
async fn it_stops_where_it_is_enough_and_says_where() {
    let app = TestApp::new().await;
    let start = fill(&app).await;
    let range = Range {
        since: start - TimeDelta::days(1),
        until: start + TimeDelta::days(2),
    };
    for (pace, by) in [
        (gentle(1, NEVER), TruncatedBy::Tracks),
        (gentle(u64::MAX, Duration::ZERO), TruncatedBy::Time),
    ] {
        let report = run(&app, range, None, pace).await;
        // One page of a thousand events, two thirds of which are tracks.
        assert_eq!(report.published.tracks, 667);
        let truncated = report.truncated.unwrap();
        assert_eq!(truncated.by, by);
        assert_eq!(truncated.at, start + TimeDelta::minutes(999 / 7));
        let [oldest, stopped] = report.notes.as_slice() else {
            panic!("{:?}", report.notes);
        };
        assert!(oldest.starts_with("stored events go back to"), "{oldest}");
        assert!(stopped.starts_with("stopped at"), "{stopped}");
    }
    // Nothing in the first pages is no error where it stopped there.
    let report = run(&app, range, Some("nobody"), gentle(1, Duration::ZERO)).await;
    assert_eq!(report.published.tracks, 0);
    let question = question(range, Some("nobody"));
    let refused = backtest::run(&app.pool, question, Pace::Full, |_| ()).await;
    assert!(matches!(refused, Err(BacktestError::NoEvents(_))));
    app.finish().await;
}

#[tokio::test]
async fn progress_goes_forward_to_the_end() {
    let app = TestApp::new().await;
    let start = fill(&app).await;
    let range = Range {
        since: start,
        until: start + TimeDelta::days(2),
    };
    let mut seen: Vec<Progress> = Vec::new();
    backtest::run(&app.pool, question(range, None), Pace::Full, |progress| {
        seen.push(progress);
    })
    .await
    .unwrap();
    let tracks: Vec<_> = seen.iter().map(|progress| progress.tracks).collect();
    assert_eq!(tracks, [3334, 6667]);
    assert!(seen.is_sorted_by_key(|progress| progress.at));
    app.finish().await;
}

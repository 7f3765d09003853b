//! A backtest over many pages of events: nothing is left out, nothing is taken twice, and it stops
//! where it is told to.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use quell::access::Viewer;
use quell::backtest::{
    BacktestError, BacktestRequest, Pace, Progress, Report, TimeRange, Truncated, TruncatedBy,
};
use quell::draft::Draft;
use quell_clock::Clock;
use quell_policy::{Document, PolicyKey, TenantId};
use serde_json::{Value, json};

use crate::backtest::{a_day, backtest};
use crate::support::{ACME, GLOBEX, TestApp, owner};

/// More than two pages of tracks, with other events in between; one in three is acme's. Several have the same
/// time, so that pages end among them.
const EVENTS: i64 = 18_000;
const PUBLISHED: u64 = 12_000;

async fn fill(app: &TestApp) -> DateTime<Utc> {
    fill_with(app, 7).await
}

/// How many tracks of each time.
async fn fill_with(app: &TestApp, at_once: i64) -> DateTime<Utc> {
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
           select $1 + make_interval(secs => n / $3 * 60), 'EV_' || n,
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
    .bind(at_once)
    .execute(&app.pool)
    .await
    .unwrap();
    start
}

fn request(range: TimeRange, tenant: Option<&str>) -> BacktestRequest {
    let yaml = "policies: [{ name: quiet, match: { room: room-7 }, effect: mute }]";
    let draft = Document::load([("draft.yaml", yaml)]).unwrap().value;
    BacktestRequest {
        draft: Draft {
            policies: draft.policies,
            ..Draft::default()
        },
        range,
        after: None,
        tenant: owner(tenant).into(),
        viewer: Viewer::Operator,
        samples_max: 3,
    }
}

async fn run(app: &TestApp, range: TimeRange, tenant: Option<&str>, pace: Pace) -> Report {
    let request = request(range, tenant);
    quell::backtest::run(&app.state().pool, request, pace, |_| ())
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
    let range = TimeRange {
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
        assert_eq!(report.excluded.without_facts, 120);
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
        let report = run(&app, TimeRange { since, until }, None, Pace::Full).await;
        halves += report.published.tracks;
    }
    assert_eq!(halves, PUBLISHED);
    app.finish().await;
}

#[tokio::test]
async fn it_stops_where_it_is_enough_and_says_where() {
    let app = TestApp::new().await;
    let start = fill(&app).await;
    let range = TimeRange {
        since: start - TimeDelta::days(1),
        until: start + TimeDelta::days(2),
    };
    for (pace, by, tracks, minutes) in [
        // One page of a thousand tracks, the last of which is event 1,498: every third is none.
        (gentle(1, NEVER), TruncatedBy::Tracks, 1000, 1498 / 7),
        // Those of the first time, up to the next.
        (gentle(u64::MAX, Duration::ZERO), TruncatedBy::Time, 5, 1),
    ] {
        let report = run(&app, range, None, pace).await;
        assert_eq!(report.published.tracks, tracks);
        let truncated = report.truncated.unwrap();
        assert_eq!(truncated.by, by);
        assert_eq!(truncated.at, start + TimeDelta::minutes(minutes));
        let [oldest, stopped] = report.notes.as_slice() else {
            panic!("{:?}", report.notes);
        };
        assert!(oldest.starts_with("stored events go back to"), "{oldest}");
        assert!(stopped.starts_with("stopped at"), "{stopped}");
    }
    // Nothing in the first pages is no error where it stopped there.
    // Whoever has none goes on from whole hours, which tell nothing of others, to the end.
    let mut after = None;
    let mut hours = 0;
    loop {
        let mut request = request(range, Some("nobody"));
        request.after = after;
        let pace = gentle(1, Duration::ZERO);
        let report = quell::backtest::run(&app.state().pool, request, pace, |_| ()).await;
        let report = report.unwrap();
        assert_eq!(report.published.tracks, 0);
        let Some(truncated) = report.truncated else {
            break;
        };
        hours += 1;
        assert!(hours < 40, "it comes no further");
        assert_eq!(truncated.at.timestamp() % 3600, 0);
        assert_eq!(truncated.at, truncated.next.at());
        after = Some(truncated.next);
    }
    assert!(hours > 3, "{hours}");
    let request = request(range, Some("nobody"));
    let refused = quell::backtest::run(&app.state().pool, request, Pace::Full, |_| ()).await;
    assert!(matches!(refused, Err(BacktestError::NoEvents(_))));
    app.finish().await;
}

/// Goes on for as long as reports say that there is more; how many tracks each part had.
async fn parts(
    app: &TestApp,
    range: TimeRange,
    tenant: Option<&str>,
    pace: Pace,
    at_once: i64,
) -> Vec<u64> {
    let start = range.since;
    let mut request = request(range, tenant);
    let mut parts = Vec::new();
    loop {
        let report = quell::backtest::run(&app.state().pool, request, pace, |_| ())
            .await
            .unwrap();
        parts.push(report.published.tracks);
        assert!(parts.len() < 3_000, "it comes no further");
        let Some(truncated) = report.truncated else {
            return parts;
        };
        if tenant.is_some() {
            assert_only_acmes(&truncated, start, at_once);
        }
        let range = TimeRange {
            since: truncated.next.at(),
            ..range
        };
        request = self::request(range, tenant);
        request.after = Some(truncated.next);
    }
}

/// Which events others have, and when, is not to be read out of it: one in three is acme's.
fn assert_only_acmes(truncated: &Truncated, start: DateTime<Utc>, at_once: i64) {
    let plain = URL_SAFE_NO_PAD.decode(truncated.next.to_string()).unwrap();
    let plain = String::from_utf8(plain).unwrap();
    let (_, id) = plain.split_once(' ').unwrap();
    // Where it stopped for its time, before the next of acme's, of which it says when it was.
    let is_acmes = |number: i64| number % 3 == 0;
    let minutes = truncated
        .next
        .at()
        .signed_duration_since(start)
        .num_minutes();
    assert_eq!(truncated.at, truncated.next.at());
    if let Some(number) = id.strip_prefix("EV_") {
        let number: i64 = number.parse().unwrap();
        assert!(is_acmes(number), "{plain}");
        assert_eq!(minutes, number / at_once, "{plain}");
    } else {
        assert_eq!(id, "");
        let mut of_that_time = minutes * at_once..(minutes + 1) * at_once;
        assert!(of_that_time.any(is_acmes), "{plain}");
    }
}

#[tokio::test]
async fn parts_that_follow_each_other_are_the_whole() {
    // Many times on a page, and many pages of one time.
    for (at_once, parts_at_least) in [(70, 5), (4_000, 3)] {
        let app = TestApp::new().await;
        let start = fill_with(&app, at_once).await;
        let range = TimeRange {
            since: start,
            until: start + TimeDelta::days(2),
        };
        for pace in [gentle(1, NEVER), gentle(u64::MAX, Duration::ZERO)] {
            for (tenant, tracks) in [(None, PUBLISHED), (Some("acme"), PUBLISHED / 2)] {
                let parts = parts(&app, range, tenant, pace, at_once).await;
                let told = format!("{at_once} {pace:?} {tenant:?} {parts:?}");
                assert_eq!(parts.iter().sum::<u64>(), tracks, "{told}");
                assert!(parts.len() >= parts_at_least, "{told}");
            }
        }
        app.finish().await;
    }
}

#[tokio::test]
async fn progress_goes_forward_to_the_end() {
    let app = TestApp::new().await;
    let start = fill(&app).await;
    let range = TimeRange {
        since: start,
        until: start + TimeDelta::days(2),
    };
    let mut seen: Vec<Progress> = Vec::new();
    quell::backtest::run(
        &app.state().pool,
        request(range, None),
        Pace::Full,
        |progress| {
            seen.push(progress);
        },
    )
    .await
    .unwrap();
    let tracks: Vec<_> = seen.iter().map(|progress| progress.tracks).collect();
    assert_eq!(tracks, [5000, 10_000]);
    assert!(seen.is_sorted_by_key(|progress| progress.at));
    app.finish().await;
}

#[tokio::test]
async fn a_report_that_stopped_is_gone_on_with_after_it() {
    let app = a_day().await;
    let first = BacktestRequest {
        draft: Draft {
            without: vec![PolicyKey {
                owner: owner(Some("acme")),
                name: "agents".to_owned(),
            }],
            ..Draft::default()
        },
        range: TimeRange::read("7d", None, Clock::system().now()).unwrap(),
        after: None,
        tenant: owner(Some("acme")).into(),
        viewer: Viewer::Tenant(TenantId::new("acme").unwrap()),
        samples_max: 0,
    };
    let pace = Pace::Gentle {
        tracks_max: u64::MAX,
        time_max: Duration::ZERO,
    };
    let report = quell::backtest::run(&app.state().pool, first, pace, |_| ())
        .await
        .unwrap();
    assert_eq!(report.published.tracks, 1);
    let report = serde_json::to_value(&report).unwrap();
    let body = json!({"without": ["agents"], "after": report["truncated"]["next"]});
    let rest = backtest(&app, ACME, "/v1/backtest", &body).await.json();
    assert_eq!(rest["published"]["tracks"], 4);
    assert_eq!(rest["since"], report["truncated"]["at"]);
    assert_eq!(rest["truncated"], Value::Null);
    // Where nothing is left, that is an answer: globex has one track, the last.
    let body = json!({"without": ["quiet"], "until": "0s", "after": report["truncated"]["next"]});
    let all = backtest(&app, GLOBEX, "/v1/backtest", &body).await.json();
    assert_eq!(all["published"]["tracks"], 1);
    let until: DateTime<Utc> = all["until"].as_str().unwrap().parse().unwrap();
    let after = URL_SAFE_NO_PAD.encode(format!("{} ", until.timestamp_micros() - 1));
    let body = json!({"without": ["quiet"], "after": after});
    let none = backtest(&app, GLOBEX, "/v1/backtest", &body).await;
    assert_eq!(none.status, 200, "{none:?}");
    assert_eq!(none.json()["published"]["tracks"], 0);
    let after = "MTc3MjY2ODgwMDAwMDAwMCA";
    for (body, text) in [
        (
            json!({"without": ["quiet"], "after": "7d"}),
            "`after` is not what `truncated.next`",
        ),
        (
            json!({"without": ["quiet"], "after": after, "since": "7d"}),
            "leave `since` out",
        ),
        (
            json!({"without": ["quiet"], "after": after, "until": "2020-01-01"}),
            "is not before `until`",
        ),
    ] {
        let answer = backtest(&app, GLOBEX, "/v1/backtest", &body).await;
        assert_eq!(answer.outcome(), "400 INVALID_REQUEST", "{body}");
        assert!(answer.error().contains(text), "{}", answer.error());
    }
    app.finish().await;
}

//! When work ends, and what it holds until then.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{now, policy, sets, track};
use crate::access::Viewer;
use crate::backtest::events::Published;
use crate::backtest::pace::{Bounds, Pace};
use crate::backtest::work::{CHECK_EVERY_TRACKS, Work};
use crate::draft::Draft;
use crate::threads::spawn_blocking_holding;

fn work() -> Work {
    let draft = Draft {
        policies: vec![policy("quiet", &json!({}))],
        ..Draft::default()
    };
    Work::new(sets(&[], draft), None, Viewer::Operator, 0)
}

/// Tracks: `each[n]` of them in minute `n`.
fn tracks(each: &[usize]) -> Vec<Published> {
    let mut tracks = Vec::new();
    for (minute, count) in each.iter().enumerate() {
        let at = now() + TimeDelta::minutes(i64::try_from(minute).unwrap());
        tracks.extend((0..*count).map(|_| Published {
            created_at: at,
            ..track(
                0,
                "lobby",
                "ann",
                &json!({"tenant": null, "kind": "STANDARD"}),
            )
        }));
    }
    tracks
}

fn bounds(deadline: Option<Instant>) -> Bounds {
    Bounds {
        cancelled: CancellationToken::new(),
        deadline,
    }
}

#[test]
fn what_is_late_stops_where_a_second_ends_and_comes_further_each_time() {
    let late = bounds(Some(Instant::now()));
    let tracks = tracks(&[3, 40, 1]);
    let mut rest = tracks.as_slice();
    for (done, next_minute) in [(3, Some(1)), (40, Some(2)), (1, None)] {
        let (work, stopped_at, _) = work().decide(rest, &late);
        assert_eq!(work.tally.tracks(), u64::try_from(done).unwrap());
        let next = next_minute.map(|minute| now() + TimeDelta::minutes(minute));
        assert_eq!(stopped_at, next);
        rest = &rest[done..];
    }
    for in_time in [None, Some(Instant::now() + Duration::from_hours(1))] {
        let (work, stopped_at, _) = work().decide(&tracks, &bounds(in_time));
        assert_eq!((work.tally.tracks(), stopped_at), (44, None));
    }
}

#[test]
fn what_nobody_waits_for_ends_within_some_tracks() {
    let tracks = tracks(&[1_000]);
    let (bounds, told) = Bounds::new(Pace::Full, Instant::now());
    let of_a_thread = bounds.clone();
    let (all, _, _) = work().decide(&tracks, &of_a_thread);
    assert_eq!(all.tally.tracks(), 1_000);
    drop(told);
    let (some, _, _) = work().decide(&tracks, &of_a_thread);
    assert!(some.tally.tracks() < u64::try_from(CHECK_EVERY_TRACKS).unwrap());
}

#[tokio::test]
async fn what_is_held_is_let_go_when_the_work_is_done_and_not_when_nobody_waits() {
    let hold = Arc::new(());
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let mut working = Box::pin(spawn_blocking_holding(&hold, move || {
        begun.send(()).unwrap();
        may_go_on.recv().unwrap();
    }));
    assert!(futures_util::poll!(&mut working).is_pending());
    has_begun.await.unwrap();
    drop(working);
    assert_eq!(Arc::strong_count(&hold), 2);
    go_on.send(()).unwrap();
    let let_go = async {
        while Arc::strong_count(&hold) > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), let_go)
        .await
        .unwrap();
    let broken = spawn_blocking_holding(&hold, || panic!("as a bug would")).await;
    assert!(broken.unwrap_err().is_panic());
    assert_eq!(Arc::strong_count(&hold), 1);
}

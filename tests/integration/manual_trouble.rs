//! LiveKit or Postgres fail a moderator: the answer is bounded in time, says so, and is audited.

use std::time::{Duration, Instant};

use livekit_double::{Fault, FaultKind, Method};
use sqlx::Executor;
use tokio::task::JoinSet;

use crate::support::{ACME, Answer, BOUND, GLOBEX, Setup};

const CALLS: [Method; 3] = [
    Method::ListRooms,
    Method::GetParticipant,
    Method::MutePublishedTrack,
];

#[tokio::test]
async fn a_livekit_that_fails_is_mute_failed_and_a_row_that_says_why() {
    let app = Setup::default().start_without_webhooks().await;
    let kinds = [
        (FaultKind::Unavailable, "503"),
        (FaultKind::Html502, "502"),
        (FaultKind::Cut, "cannot be reached"),
    ];
    let mut cases = Vec::new();
    for (kind, why) in kinds {
        cases.extend(CALLS.map(|method| (method, kind, why)));
    }
    for (index, (method, kind, why)) in cases.into_iter().enumerate() {
        let what = format!("{kind:?} of {}", method.name());
        let room = format!("room-{index}");
        let sid = app.speaker(&room, "acme");
        app.simulator.set_faults([Fault::of(method, kind)]);
        let id = format!("request-{index}");
        let request = app.mute(ACME, &room, "speaker", &sid, true);
        let answer = Answer::to(request.header("X-Request-Id", &id)).await;
        assert_eq!(answer.outcome(), "500 MUTE_FAILED", "{what}");
        let reason = app.reason(&id).await.unwrap();
        for part in [method.name(), why] {
            assert!(reason.contains(part), "{what}: {reason}");
        }
        // Whose room it is could not be had, or only what is in it.
        let (tenant, on) = if method == Method::ListRooms {
            ("-", "- -->-")
        } else if method == Method::GetParticipant {
            ("acme", "- -->-")
        } else {
            ("acme", "MICROPHONE false->-")
        };
        let on = format!("acme {tenant} {room} speaker {on}");
        let expect = if method == Method::MutePublishedTrack {
            vec![
                format!("intent manual mute - {on}"),
                format!("outcome manual mute unknown {on}"),
            ]
        } else {
            vec![format!("outcome manual mute failed {on}")]
        };
        assert_eq!(app.trail(&id).await, expect, "{what}");
        // Cut off is not undone: LiveKit did it and could not say so.
        let was_done = method == Method::MutePublishedTrack && kind == FaultKind::Cut;
        assert_eq!(app.is_muted(&room, "speaker", &sid), was_done, "{what}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_caller_fills_the_log_no_faster_while_livekit_is_down() {
    let setup = Setup::default().env("QUELL_CALLER_MUTES_PER_SECOND", "1000");
    let app = setup.start_without_webhooks().await;
    app.simulator
        .set_faults([Fault::of(Method::ListRooms, FaultKind::Unavailable)]);
    let begun = Instant::now();
    let mut asking = JoinSet::new();
    for _ in 0..150 {
        asking.spawn(Answer::to(app.mute(ACME, "r", "speaker", "TR_1", true)));
        // Callers have few under way at once.
        if asking.len() >= 10 {
            let answer = asking.join_next().await.unwrap().unwrap();
            assert_eq!(answer.outcome(), "500 MUTE_FAILED");
        }
    }
    asking.join_all().await;
    let rows = |caller: &str| {
        format!("select count(*) from audit_log where outcome = 'failed' and actor = '{caller}'")
    };
    // A burst of 100, and 5 a second.
    let most = 101 + 5 * i64::try_from(begun.elapsed().as_secs() + 1).unwrap();
    let acmes = app.count(&rows("acme")).await;
    assert!((100..=most.min(149)).contains(&acmes), "{acmes}");
    // Others' have theirs.
    let answer = Answer::to(app.mute(GLOBEX, "r", "speaker", "TR_1", true)).await;
    assert_eq!(answer.outcome(), "500 MUTE_FAILED");
    assert_eq!(app.count(&rows("globex")).await, 1);
    app.finish().await;
}

#[tokio::test]
async fn a_row_of_a_refused_request_is_short_whatever_was_asked_for() {
    let app = Setup::default().start_without_webhooks().await;
    let long = "ä".repeat(10_000);
    let answer = Answer::to(app.mute(ACME, &long, &long, &long, true)).await;
    assert_eq!(answer.outcome(), "404 PARTICIPANT_NOT_FOUND");
    let bytes = app
        .sql(
            "select concat_ws('/', octet_length(room_name), octet_length(identity), octet_length(track_sid),
                    right(room_name, 1), pg_column_size(audit_log) < 4096)
             from audit_log where outcome = 'refused'",
        )
        .await;
    assert_eq!(bytes.as_deref(), Some("803/803/803/…/t"));
    app.finish().await;
}

#[tokio::test]
async fn a_livekit_that_hangs_is_waited_for_as_long_as_is_set_and_no_longer() {
    let setup = Setup::default().env("QUELL_LIVEKIT_TIMEOUT_MS", "300");
    let app = setup.start_without_webhooks().await;
    for method in CALLS {
        let sid = app.speaker(method.name(), "acme");
        app.simulator
            .set_faults([Fault::of(method, FaultKind::Hang)]);
        let request = app.mute(ACME, method.name(), "speaker", &sid, true);
        let request = request.header("X-Request-Id", method.name());
        let answer = tokio::time::timeout(Duration::from_secs(4), Answer::to(request)).await;
        let answer = answer.expect("an answer well before the default of 5 s");
        assert_eq!(answer.outcome(), "500 MUTE_FAILED");
        let reason = app.reason(method.name()).await.unwrap();
        assert!(reason.contains("did not answer"), "{reason}");
    }
    // What hung holds nobody up: the track is free for the next.
    app.simulator.set_faults([]);
    let room = Method::MutePublishedTrack.name();
    let tracks = app.simulator.participant(room, "speaker").unwrap().tracks;
    let answer = Answer::to(app.mute(ACME, room, "speaker", &tracks[0].sid, true)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    app.finish().await;
}

#[tokio::test]
async fn an_unmute_that_postgres_holds_up_for_too_long_is_not_sent_and_binds_nobody() {
    let setup = Setup::default().env("QUELL_LIVEKIT_TIMEOUT_MS", "300");
    let app = setup.start_without_webhooks().await;
    let sid = app.speaker("standup", "acme");
    let mut held = app.pool.begin().await.unwrap();
    held.execute("lock table track_lease in exclusive mode")
        .await
        .unwrap();
    let unmute = Answer::to(app.mute(ACME, "standup", "speaker", &sid, false));
    let let_go = async {
        app.wait_blocked_for(1).await;
        held.commit().await.unwrap();
    };
    let (answer, ()) = tokio::join!(unmute, let_go);
    assert_eq!(answer.outcome(), "500 MUTE_FAILED");
    assert_eq!(app.calls_to(Method::MutePublishedTrack), []);
    let bound = app.sql("select count(*) from manual_unmute").await;
    assert_eq!(bound.as_deref(), Some("0"));
    app.finish().await;
}

#[tokio::test]
async fn who_waits_for_another_moderators_hanging_call_is_answered_in_time_too() {
    let setup = Setup::default().env("QUELL_LIVEKIT_TIMEOUT_MS", "600");
    let app = setup.start_without_webhooks().await;
    let sid = app.speaker("standup", "acme");
    app.simulator
        .set_faults([Fault::of(Method::MutePublishedTrack, FaultKind::Hang)]);
    let ask = |id| {
        let request = app.mute(ACME, "standup", "speaker", &sid, true);
        Answer::to(request.header("X-Request-Id", id))
    };
    let both = async { tokio::join!(ask("one"), ask("two")) };
    let (one, two) = tokio::time::timeout(Duration::from_secs(8), both)
        .await
        .unwrap();
    assert_eq!(one.outcome(), "500 MUTE_FAILED");
    assert_eq!(two.outcome(), "500 MUTE_FAILED");
    for id in ["one", "two"] {
        let outcome = app.trail(id).await.pop().unwrap();
        assert!(
            ["failed", "unknown"].contains(&outcome.split(' ').nth(3).unwrap()),
            "{outcome}"
        );
    }
    app.finish().await;
}

#[tokio::test]
async fn a_livekit_that_is_not_there_is_mute_failed() {
    let app = Setup::default().start_without_webhooks().await;
    let sid = app.speaker("standup", "acme");
    app.simulator.shutdown().await;
    let request = app.mute(ACME, "standup", "speaker", &sid, true);
    let answer = tokio::time::timeout(BOUND, Answer::to(request)).await;
    assert_eq!(answer.unwrap().outcome(), "500 MUTE_FAILED");
    app.finish().await;
}

/// LiveKit's 401 repeats the token, and the token is as good as the secret for a minute.
#[tokio::test]
async fn livekits_refusal_of_our_token_shows_no_token() {
    let setup = Setup::default().env(
        "LIVEKIT_API_SECRET",
        "another-secret-0123456789abcdef-01234",
    );
    let app = setup.start_without_webhooks().await;
    let request = app.mute(ACME, "r", "p", "t", true);
    let answer = Answer::to(request.header("X-Request-Id", "id")).await;
    assert_eq!(answer.outcome(), "500 MUTE_FAILED");
    let error = answer.error();
    assert!(error.contains("LIVEKIT_API_SECRET"), "{error}");
    let reason = app.reason("id").await.unwrap();
    assert!(!reason.contains("eyJ"), "{reason}");
    app.finish().await;
}

#[tokio::test]
async fn without_livekits_settings_nothing_can_be_muted() {
    for name in ["LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"] {
        let app = Setup::default()
            .without(name)
            .start_without_webhooks()
            .await;
        let sid = app.speaker("standup", "acme");
        let answer = Answer::to(app.mute(ACME, "standup", "speaker", &sid, true)).await;
        assert_eq!(answer.outcome(), "500 LIVEKIT_NOT_CONFIGURED");
        assert!(answer.error().contains(name), "{answer:?}");
        assert_eq!(
            app.history().await,
            ["manual mute failed acme - standup speaker - -"]
        );
        // What is wrong with the request itself is said first.
        let answer = Answer::to(app.mute(ACME, "", "speaker", &sid, true)).await;
        assert_eq!(answer.outcome(), "400 INVALID_REQUEST");
        let answer = Answer::to(app.mute("wrong", "standup", "speaker", &sid, true)).await;
        assert_eq!(answer.outcome(), "401 UNAUTHORIZED");
        app.finish().await;
    }
}

#[tokio::test]
async fn a_server_that_forbids_remote_unmute_is_told_of_with_what_to_set() {
    let setup = Setup::default().simulator(|simulator| simulator.enable_remote_unmute = false);
    let app = setup.start_without_webhooks().await;
    let sid = app.speaker("standup", "acme");
    let answer = Answer::to(app.mute(ACME, "standup", "speaker", &sid, true)).await;
    assert_eq!(answer.status, 200, "muting is not unmuting");
    let request = app.mute(ACME, "standup", "speaker", &sid, false);
    let answer = Answer::to(request.header("X-Request-Id", "unmute")).await;
    assert_eq!(answer.outcome(), "500 REMOTE_UNMUTE_DISABLED");
    assert!(answer.error().contains("room.enable_remote_unmute"));
    let on = "acme acme standup speaker MICROPHONE true->-";
    assert_eq!(
        app.trail("unmute").await,
        [
            format!("intent manual unmute - {on}"),
            format!("outcome manual unmute failed {on}"),
        ]
    );
    assert!(app.is_muted("standup", "speaker", &sid));
    // Who may not act there learns nothing of the server's settings.
    let answer = Answer::to(app.mute(GLOBEX, "standup", "speaker", &sid, false)).await;
    assert_eq!(answer.outcome(), "404 PARTICIPANT_NOT_FOUND");
    app.finish().await;
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_done() {
    let app = Setup::default().start_without_webhooks().await;
    let sid = app.speaker("standup", "acme");
    let troubles = [
        (
            "alter table audit_log rename to hidden",
            "alter table hidden rename to audit_log",
        ),
        (
            "alter table audit_log add constraint nothing check (false) not valid",
            "alter table audit_log drop constraint nothing",
        ),
        (
            "alter table track_lease rename to hidden",
            "alter table hidden rename to track_lease",
        ),
    ];
    for (break_it, mend_it) in troubles {
        app.pool.execute(break_it).await.unwrap();
        for muted in [true, false] {
            let answer = Answer::to(app.mute(ACME, "standup", "speaker", &sid, muted)).await;
            assert_eq!(answer.outcome(), "500 MUTE_FAILED", "{break_it}");
            let error = answer.error();
            assert!(error.contains("could not be recorded"), "{error}");
            for inside in ["relation", "constraint", "audit_log", "lease"] {
                assert!(!error.contains(inside), "{error}");
            }
        }
        assert!(app.mute_calls().is_empty(), "{break_it}");
        app.pool.execute(mend_it).await.unwrap();
    }
    // A refusal that cannot be written down is no answer about the room either.
    app.pool.execute(troubles[0].0).await.unwrap();
    let theirs = Answer::to(app.mute(GLOBEX, "standup", "speaker", &sid, true)).await;
    let missing = Answer::to(app.mute(GLOBEX, "nowhere", "speaker", &sid, true)).await;
    assert_eq!(theirs.outcome(), "500 MUTE_FAILED");
    assert_eq!(theirs.body, missing.body);
    app.pool.execute(troubles[0].1).await.unwrap();
    // Nothing of it is left: no intent, and no lease that would hold the next one up.
    assert_eq!(app.count("select count(*) from audit_log").await, 0);
    let answer = Answer::to(app.mute(ACME, "standup", "speaker", &sid, true)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    app.finish().await;
}

//! What one request, or one LiveKit call, left behind.

use livekit_double::{Call, Join, Publish};
use sqlx::Row;

use super::{Setup, TestApp};

impl Setup {
    /// A quell that gets no webhooks.
    pub(crate) async fn start_without_webhooks(self) -> TestApp {
        let app = self.start().await;
        app.simulator.set_webhook_url(None);
        app
    }
}

impl TestApp {
    /// A room of `tenant` in which `speaker` has a microphone on; returns the track's SID.
    pub(crate) fn speaker(&self, room: &str, tenant: &str) -> String {
        self.room(room, tenant);
        self.publish(room, Join::new("speaker"), Publish::microphone())
            .sid
    }

    /// The audit rows of the request of that id, in the order in which they were written.
    ///
    /// `phase origin action outcome actor tenant room identity source before->after`, `-` where
    /// there is none.
    pub(crate) async fn trail(&self, request_id: &str) -> Vec<String> {
        sqlx::query(
            "select concat_ws(' ', phase, origin, action, coalesce(outcome, '-'),
                    coalesce(actor, '-'), coalesce(tenant, '-'), coalesce(room_name, '-'),
                    coalesce(identity, '-'), coalesce(source, '-'),
                    coalesce(before->>'muted', '-') || '->' || coalesce(after->>'muted', '-'))
             from audit_log where request_id = $1 order by seq",
        )
        .bind(request_id)
        .fetch_all(&self.pool)
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
    }

    /// The error in the outcome of the request of that id.
    pub(crate) async fn reason(&self, request_id: &str) -> Option<String> {
        sqlx::query_scalar(
            "select error from audit_log where request_id = $1 and phase = 'outcome'",
        )
        .bind(request_id)
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    /// A count, by SQL.
    pub(crate) async fn count(&self, query: &str) -> i64 {
        sqlx::query_scalar(sqlx::AssertSqlSafe(query.to_owned()))
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// How many intents were written before the action ahead of them, on the same source of the same
    /// participant, had its outcome.
    pub(crate) async fn overlapping_actions(&self) -> i64 {
        self.count(
            "select count(*) from (
                select i.recorded_at as begun,
                       lag(o.recorded_at) over (partition by i.room_sid, i.identity, i.source
                                                order by i.recorded_at) as ended_before
                from audit_log i join audit_log o using (started_at, action_id)
                where i.phase = 'intent' and o.phase = 'outcome') as action
             where begun < ended_before",
        )
        .await
    }

    /// Every call of LiveKit's mute, oldest first.
    pub(crate) fn mute_calls(&self) -> Vec<Call> {
        let calls = self.simulator.calls().into_iter();
        calls
            .filter(|call| call.method == "MutePublishedTrack")
            .collect()
    }
}

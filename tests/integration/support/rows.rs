//! The audit log as a test reads it.

use sqlx::{Executor, PgConnection, Row};

use super::TestApp;

impl TestApp {
    /// The moderation history, oldest first, one line an action.
    ///
    /// `origin action outcome actor tenant room identity source policy`, `-` where there is none.
    pub(crate) async fn history(&self) -> Vec<String> {
        self.lines("true").await
    }

    /// The same, of the actions for which the SQL `condition` holds.
    pub(crate) async fn lines(&self, condition: &str) -> Vec<String> {
        let query = format!(
            "select concat_ws(' ', origin, action, outcome, coalesce(actor, '-'), coalesce(tenant, '-'),
                    coalesce(room_name, '-'), coalesce(identity, '-'), coalesce(source, '-'),
                    coalesce(coalesce(policy_owner || '/', '') || policy_name || '@' || policy_revision, '-'))
             from moderation_history where {condition} order by started_at, action_id"
        );
        sqlx::query(sqlx::AssertSqlSafe(query))
            .fetch_all(&self.pool)
            .await
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect()
    }

    /// A connection that may do what an auditor may.
    pub(crate) async fn auditor(&self) -> PgConnection {
        let mut connection = self.pool.acquire().await.unwrap().detach();
        connection.execute("set role quell_auditor").await.unwrap();
        connection
    }
}

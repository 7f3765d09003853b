//! Ticks: what is swept for, as rows that replicas share. Whoever has a tick's lease sweeps, and finishes it.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::postgres::{Pool, interval, to_pg_text};

/// Why rooms are swept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TickCause {
    /// A process has started.
    Start,
    /// `QUELL_SWEEP_CRON`.
    Schedule,
    /// Time made a policy forbid more.
    Edge,
    /// A policy was changed.
    Policy,
    /// A webhook of the room is missing.
    MissingWebhook,
    /// `quell sweep`.
    Manual,
}

impl TickCause {
    pub(super) const ALL: [Self; 6] = [
        Self::Start,
        Self::Schedule,
        Self::Edge,
        Self::Policy,
        Self::MissingWebhook,
        Self::Manual,
    ];

    /// The word in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Schedule => "schedule",
            Self::Edge => "edge",
            Self::Policy => "policy",
            Self::MissingWebhook => "missing_webhook",
            Self::Manual => "manual",
        }
    }
}

/// A tick, the same in all replicas that notice it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// Why.
    pub cause: TickCause,
    /// Which of its cause.
    pub key: String,
    /// The one room that it is about; none: all.
    pub room_name: Option<String>,
}

/// A tick that is this process's, until somebody else takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TickLease {
    /// The sweep's id.
    pub id: Uuid,
    /// What for.
    pub tick: Tick,
    /// Counts who had the lease.
    pub attempt: i32,
    /// When it was asked for: it lasts no longer than a lease from then, unless it is renewed.
    pub asked_at: Instant,
}

/// What a sweep counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rooms whose participants were asked for.
    pub rooms: i32,
    /// Participants in them, without hidden ones.
    pub participants: i32,
    /// Their tracks.
    pub tracks: i32,
    /// Tracks that were muted.
    pub muted: i32,
    /// Rooms that could not be read, and tracks that could not be muted, decided or recorded.
    pub failed: i32,
    /// Rooms and participants whose metadata is too large to be read.
    pub skipped: i32,
}

/// The table of ticks, for one process.
#[derive(Debug, Clone)]
pub struct Ticks {
    /// The database.
    pub pool: Pool,
    /// This process.
    pub replica: String,
    /// How long a lease is good for.
    pub lease: Duration,
}

impl Ticks {
    /// Takes the tick, unless it is over or another process has it.
    pub async fn begin(&self, tick: Tick) -> Result<Option<TickLease>, sqlx::Error> {
        let asked_at = Instant::now();
        let row = sqlx::query!(
            "insert into sweep_run as s (id, cause, key, room_name, leased_until, replica)
             values ($1, $2, $3, $4, clock_timestamp() + $5::interval, $6)
             on conflict (cause, key) do update
             set attempt = s.attempt + 1, leased_until = excluded.leased_until, replica = excluded.replica,
                 started_at = clock_timestamp()
             where s.finished_at is null and s.leased_until < clock_timestamp()
             returning id, attempt",
            Uuid::now_v7(),
            tick.cause.as_str(),
            to_pg_text(&tick.key),
            tick.room_name.as_deref().map(to_pg_text),
            interval(self.lease),
            self.replica,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| TickLease {
            id: row.id,
            tick,
            attempt: row.attempt,
            asked_at,
        }))
    }

    /// Takes a tick whose lease is over, the oldest first: whoever had it is gone, or has let go of it.
    pub async fn take_over(&self) -> Result<Option<TickLease>, sqlx::Error> {
        let asked_at = Instant::now();
        let row = sqlx::query!(
            "update sweep_run
             set attempt = attempt + 1, leased_until = clock_timestamp() + $1::interval, replica = $2,
                 started_at = clock_timestamp()
             where id = (select id from sweep_run
                         where finished_at is null and leased_until < clock_timestamp()
                         order by leased_until limit 1 for update skip locked)
             returning id, cause, key, room_name, attempt",
            interval(self.lease),
            self.replica,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.and_then(|row| {
            let mut causes = TickCause::ALL.into_iter();
            Some(TickLease {
                id: row.id,
                tick: Tick {
                    cause: causes.find(|cause| cause.as_str() == row.cause)?,
                    key: row.key,
                    room_name: row.room_name,
                },
                attempt: row.attempt,
                asked_at,
            })
        }))
    }

    /// Has the lease anew; false where somebody else has it by now, or it is over.
    pub async fn renew(&self, lease: &TickLease) -> Result<bool, sqlx::Error> {
        let renewed = sqlx::query!(
            "update sweep_run set leased_until = clock_timestamp() + $3::interval
             where id = $1 and attempt = $2 and finished_at is null",
            lease.id,
            lease.attempt,
            interval(self.lease),
        )
        .execute(&self.pool)
        .await?;
        Ok(renewed.rows_affected() == 1)
    }

    /// Writes that the tick is over; false where it is somebody else's by now.
    pub async fn finish(
        &self,
        lease: &TickLease,
        counts: &Counts,
        error: Option<&str>,
    ) -> Result<bool, sqlx::Error> {
        let finished = sqlx::query!(
            "update sweep_run
             set finished_at = clock_timestamp(), rooms = $3, participants = $4, tracks = $5, muted = $6,
                 failed = $7, skipped = $8, error = $9
             where id = $1 and attempt = $2 and finished_at is null",
            lease.id,
            lease.attempt,
            counts.rooms,
            counts.participants,
            counts.tracks,
            counts.muted,
            counts.failed,
            counts.skipped,
            error.map(to_pg_text),
        )
        .execute(&self.pool)
        .await?;
        Ok(finished.rows_affected() == 1)
    }

    /// Lets go of the tick: whoever looks first takes it.
    pub async fn release(&self, lease: &TickLease) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "update sweep_run set leased_until = clock_timestamp()
             where id = $1 and attempt = $2 and finished_at is null",
            lease.id,
            lease.attempt,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// When a sweep of all rooms last finished, in Unix seconds.
    pub(crate) async fn last_finished(&self) -> Result<Option<f64>, sqlx::Error> {
        sqlx::query_scalar!(
            "select extract(epoch from max(finished_at))::float8 from sweep_run
             where finished_at > clock_timestamp() - interval '1 day' and error is null
               and cause in ('start', 'schedule')"
        )
        .fetch_one(&self.pool)
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn every_cause_is_counted_from_the_start() {
        let text = Metrics::new().text();
        for cause in TickCause::ALL {
            let sample = format!(
                "quell_sweep_seconds_count{{cause=\"{}\"}} 0\n",
                cause.as_str()
            );
            assert!(text.contains(&sample), "{sample} is not in:\n{text}");
        }
    }
}

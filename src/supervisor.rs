//! Watches over the tasks that run for as long as the server does.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Runs tasks that never end before the server stops; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Supervisor {
    tracker: TaskTracker,
    stop: CancellationToken,
    broken: CancellationToken,
}

impl Supervisor {
    /// Tasks are spawned on `tracker`, and may end once `stop` is cancelled.
    pub(crate) fn new(tracker: TaskTracker, stop: CancellationToken) -> Self {
        Self {
            tracker,
            stop,
            broken: CancellationToken::new(),
        }
    }

    /// Runs `task`. When it ends before it should, the server is broken: it says so, and stops
    /// being ready, instead of going on with a part of it missing.
    pub(crate) fn supervise(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let (stop, broken) = (self.stop.clone(), self.broken.clone());
        let running = self.tracker.spawn(task);
        self.tracker.spawn(async move {
            let has_panicked = running.await.is_err();
            if !stop.is_cancelled() {
                tracing::error!(
                    task = name,
                    has_panicked,
                    "a part of quell ended that never should"
                );
                broken.cancel();
            }
        });
    }

    /// Cancelled when a task has ended that never should.
    pub(crate) fn broken(&self) -> &CancellationToken {
        &self.broken
    }

    /// Where tasks run.
    pub(crate) fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// Cancelled when tasks are to end.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supervisor() -> Supervisor {
        Supervisor::new(TaskTracker::new(), CancellationToken::new())
    }

    #[tokio::test]
    async fn a_part_that_ends_or_panics_breaks_the_server_unless_it_is_stopping() {
        let ended = supervisor();
        ended.supervise("ended", async {});
        ended.broken.cancelled().await;

        let panicked = supervisor();
        panicked.supervise("panicked", async { panic!("as a bug would") });
        panicked.broken.cancelled().await;

        let stopped = supervisor();
        stopped.supervise("stopped", stopped.stop.clone().cancelled_owned());
        stopped.stop.cancel();
        stopped.tracker.close();
        stopped.tracker.wait().await;
        assert!(!stopped.broken.is_cancelled());
    }
}

//! What systemd is told (`Type=notify`): that quell is ready, that it works, that it is stopping.
//! Where quell was not started by it, nobody is told.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Webhooks are taken from now on.
pub(crate) fn ready() {
    tell(NotifyState::Ready);
}

/// No new work is taken any more.
pub(crate) fn stopping() {
    tell(NotifyState::Stopping);
}

/// Feeds the watchdog (`WatchdogSec=`) for as long as the runtime runs tasks and no part has ended that never
/// should. A database that is away stops nothing here: a restart would not bring it back.
pub(crate) async fn feed_watchdog(tracker: TaskTracker, broken: CancellationToken) -> Infallible {
    if let Some(limit) = sd_notify::watchdog_enabled() {
        // Half of it, as sd_watchdog_enabled(3) says.
        feed(limit / 2, tracker, broken, || tell(NotifyState::Watchdog)).await;
    }
    pending().await
}

/// Ends when a part has ended.
async fn feed(every: Duration, tracker: TaskTracker, broken: CancellationToken, tell: impl Fn()) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while broken.run_until_cancelled(ticks.tick()).await.is_some() {
        // This loop may be on a thread of its own: what counts is that the workers run tasks.
        if tracker.spawn(async {}).await.is_ok() {
            tell();
        }
    }
}

fn tell(state: NotifyState<'_>) {
    let what = state.to_string();
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, what, "systemd cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::runtime::Builder;

    use super::*;

    const EVERY: Duration = Duration::from_millis(1);
    const SILENCE: Duration = Duration::from_millis(200);
    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn the_watchdog_is_fed_while_tasks_run_and_no_part_has_ended() {
        let mut runtime = Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_time().build().unwrap();
        let (tracker, broken) = (TaskTracker::new(), CancellationToken::new());
        let (fed, feeds) = mpsc::channel();
        let feeding = feed(EVERY, tracker.clone(), broken.clone(), move || {
            fed.send(()).unwrap();
        });
        let handle = runtime.handle().clone();
        let feeding = std::thread::spawn(move || handle.block_on(feeding));
        feeds.recv_timeout(PATIENCE).unwrap();

        // The only worker hangs.
        let (hangs, is_hanging) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        runtime.spawn(async move {
            hangs.send(()).unwrap();
            released.recv().unwrap();
        });
        is_hanging.recv_timeout(PATIENCE).unwrap();
        while feeds.try_recv().is_ok() {}
        // One may have been under way.
        feeds.recv_timeout(SILENCE).ok();
        assert_eq!(
            feeds.recv_timeout(SILENCE),
            Err(mpsc::RecvTimeoutError::Timeout)
        );
        release.send(()).unwrap();
        feeds.recv_timeout(PATIENCE).unwrap();

        broken.cancel();
        feeding.join().unwrap();
    }
}

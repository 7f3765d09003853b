//! Runs long work on threads that webhooks do not need.

use tokio::task::{JoinError, spawn_blocking};

/// Does `work` on a thread where it may block. A clone of `hold` is kept until it is done, also
/// where nobody waits for it any more.
pub(crate) async fn spawn_blocking_holding<T: Send + 'static>(
    hold: &(impl Clone + Send + 'static),
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    let hold = hold.clone();
    let working = spawn_blocking(move || {
        let done = work();
        drop(hold);
        done
    });
    working.await
}

//! Work that takes long, apart from the threads that webhooks need.

use tokio::task::{JoinError, spawn_blocking};

/// Does `work` on a thread of its own, which keeps `hold` until it is done.
pub(crate) async fn apart<T: Send + 'static>(
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

//! A rate limit on log lines that strangers can cause, so that nobody fills the disk: at most 20 a
//! second of one kind, then one line with the number that was left out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

const LINES_MAX: u32 = 20;
const SECOND: Duration = Duration::from_secs(1);

/// The rate limit of one kind of lines.
#[derive(Debug)]
pub(super) struct RateLimit {
    kind: &'static str,
    tracker: TaskTracker,
    second: Arc<Mutex<Second>>,
}

#[derive(Debug)]
struct Second {
    began: Instant,
    written: u32,
    left_out: u64,
}

impl RateLimit {
    pub(super) fn new(kind: &'static str, tracker: TaskTracker) -> Self {
        let second = Second {
            began: Instant::now(),
            written: 0,
            left_out: 0,
        };
        Self {
            kind,
            tracker,
            second: Arc::new(Mutex::new(second)),
        }
    }

    /// Whether this line may be written. When the second is over, a line gives the number of those that
    /// were not.
    pub(super) fn may_write(&self) -> bool {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        if second.began.elapsed() >= SECOND {
            second.began = Instant::now();
            second.written = 0;
        }
        if second.written < LINES_MAX {
            second.written += 1;
            return true;
        }
        second.left_out += 1;
        if second.left_out == 1 {
            let (kind, over) = (self.kind, second.began + SECOND);
            let second = Arc::clone(&self.second);
            self.tracker.spawn(async move {
                tokio::time::sleep_until(over).await;
                let left_out = {
                    let mut second = second.lock().unwrap_or_else(PoisonError::into_inner);
                    std::mem::take(&mut second.left_out)
                };
                tracing::warn!(
                    kind,
                    left_out,
                    "there were more such requests than are logged"
                );
            });
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn some_lines_a_second_are_written_and_the_rest_is_counted() {
        let tracker = TaskTracker::new();
        let lines = RateLimit::new("refused", tracker.clone());
        let written = |count: u32| (0..count).filter(|_| lines.may_write()).count();
        let left_out = || lines.second.lock().unwrap().left_out;
        assert_eq!(written(19), 19);
        assert_eq!((written(101), left_out()), (1, 100));
        assert_eq!(tracker.len(), 1, "one line says so");
        tokio::time::sleep(SECOND).await;
        tracker.close();
        tracker.wait().await;
        assert_eq!(left_out(), 0);
        assert_eq!((written(30), left_out()), (20, 10));
        assert_eq!(tracker.len(), 1);
    }
}

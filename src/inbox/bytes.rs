//! What the queue and its batches take up in memory.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::AcceptError;

const SMALL_BODY_BYTES_MAX: usize = 64 << 10;
const SMALL_BODIES_BYTES_MAX: usize = 4 << 20;
const LARGE_BODIES_BYTES_MAX: usize = 28 << 20;

/// The bytes that bodies may still take up. A share is for small ones alone, so that large ones never
/// keep a new track out.
#[derive(Debug, Clone)]
pub(super) struct QueueBytes {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

impl QueueBytes {
    pub(super) fn new() -> Self {
        Self {
            small: Arc::new(Semaphore::new(SMALL_BODIES_BYTES_MAX)),
            large: Arc::new(Semaphore::new(LARGE_BODIES_BYTES_MAX)),
        }
    }

    pub(super) fn reservation(&self) -> Reservation {
        Reservation {
            queue: self.clone(),
            bytes: 0,
            held: None,
        }
    }
}

/// The bytes of one body, given back when its event is stored or refused.
#[derive(Debug)]
pub struct Reservation {
    queue: QueueBytes,
    bytes: usize,
    held: Option<OwnedSemaphorePermit>,
}

impl Reservation {
    /// Reserves `bytes` more; call it before they are kept in memory.
    pub fn grow(&mut self, bytes: usize) -> Result<(), AcceptError> {
        let all = self.bytes.saturating_add(bytes);
        let (share, missing) = if all <= SMALL_BODY_BYTES_MAX {
            (&self.queue.small, bytes)
        } else if self.bytes <= SMALL_BODY_BYTES_MAX {
            (&self.queue.large, all)
        } else {
            (&self.queue.large, bytes)
        };
        let missing = u32::try_from(missing).map_err(|_| AcceptError::Full)?;
        let more = Arc::clone(share).try_acquire_many_owned(missing);
        let more = more.map_err(|_| AcceptError::Full)?;
        match &mut self.held {
            Some(held) if Arc::ptr_eq(held.semaphore(), more.semaphore()) => held.merge(more),
            held => *held = Some(more),
        }
        self.bytes = all;
        Ok(())
    }
}

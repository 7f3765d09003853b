//! What requests' bodies take up in memory.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const SMALL_BODY_BYTES_MAX: usize = 64 << 10;

/// The bytes that bodies may still take up. A share is for small ones alone (64 KiB), so that large ones
/// never keep them out.
#[derive(Debug, Clone)]
pub struct BodyBytes {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// There is no room for a body now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom;

impl BodyBytes {
    /// Room for these bytes of small bodies, and of large ones.
    #[must_use]
    pub fn new(small_bytes_max: usize, large_bytes_max: usize) -> Self {
        Self {
            small: Arc::new(Semaphore::new(small_bytes_max)),
            large: Arc::new(Semaphore::new(large_bytes_max)),
        }
    }

    /// The room that one body will take up, to grow while it is read.
    #[must_use]
    pub fn reservation(&self) -> Reservation {
        Reservation {
            queue: self.clone(),
            bytes: 0,
            held: None,
        }
    }
}

/// The bytes of one body, given back when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    queue: BodyBytes,
    bytes: usize,
    held: Option<OwnedSemaphorePermit>,
}

impl Reservation {
    /// Reserves `bytes` more; call it before they are kept in memory.
    pub fn grow(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let all = self.bytes.saturating_add(bytes);
        let (share, missing) = if all <= SMALL_BODY_BYTES_MAX {
            (&self.queue.small, bytes)
        } else if self.bytes <= SMALL_BODY_BYTES_MAX {
            (&self.queue.large, all)
        } else {
            (&self.queue.large, bytes)
        };
        let missing = u32::try_from(missing).map_err(|_| NoRoom)?;
        let more = Arc::clone(share).try_acquire_many_owned(missing);
        let more = more.map_err(|_| NoRoom)?;
        match &mut self.held {
            Some(held) if Arc::ptr_eq(held.semaphore(), more.semaphore()) => held.merge(more),
            held => *held = Some(more),
        }
        self.bytes = all;
        Ok(())
    }
}

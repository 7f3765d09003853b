//! Reads a request's body, bounded in bytes, and by a least rate.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt as _;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

use super::pace::Pace;
use crate::inbox::{NoRoom, Reservation};

/// At least 64 KiB a second: one that trickles in holds a connection and its reservation.
const LEAST_RATE: Pace = Pace {
    grace: Duration::from_secs(10),
    bytes_per_second: 64 << 10,
};

/// Why a body was not read.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum BodyError {
    /// It has too many bytes.
    #[error("the body is larger than {bytes_max} bytes")]
    TooLarge {
        /// The most.
        bytes_max: usize,
    },
    /// Too few bytes come in a second.
    #[error(
        "the body did not arrive in time: it has {} s, and more for each {} KiB",
        LEAST_RATE.grace.as_secs(),
        LEAST_RATE.bytes_per_second >> 10
    )]
    Slow,
    /// The client went away, or sent what is no body.
    #[error("the body did not arrive whole")]
    Broken,
    /// Those of other requests fill the memory for them.
    #[error("too many requests are being read; try again")]
    NoRoom,
}

/// A request's body, read when it is first needed: a caller whose token says enough is known before.
#[derive(Debug)]
pub struct RequestBody {
    unread: Mutex<Option<(Body, Reservation)>>,
    bytes_max: usize,
    read: OnceCell<WholeBody>,
}

/// The bytes of a body, and the room that they take up.
#[derive(Debug)]
pub(super) struct WholeBody {
    pub(super) bytes: Vec<u8>,
    _room: Reservation,
}

impl RequestBody {
    /// A body of at most `bytes_max` bytes, that takes up room of `reservation`.
    pub(super) fn new(body: Body, bytes_max: usize, reservation: Reservation) -> Self {
        Self {
            unread: Mutex::new(Some((body, reservation))),
            bytes_max,
            read: OnceCell::new(),
        }
    }

    /// Its bytes.
    pub(super) async fn bytes(&self) -> Result<&[u8], BodyError> {
        let whole = self.read.get_or_try_init(|| self.read()).await?;
        Ok(&whole.bytes)
    }

    /// The same, to be kept.
    pub(super) async fn whole(mut self) -> Result<WholeBody, BodyError> {
        match self.read.take() {
            Some(whole) => Ok(whole),
            None => self.read().await,
        }
    }

    async fn read(&self) -> Result<WholeBody, BodyError> {
        let unread = self.unread.lock();
        let unread = unread.unwrap_or_else(PoisonError::into_inner).take();
        // It broke off before.
        let (body, mut room) = unread.ok_or(BodyError::Broken)?;
        let reserve = |bytes| room.grow(bytes).map_err(|NoRoom| BodyError::NoRoom);
        let bytes = read_reserved(body, self.bytes_max, reserve).await?;
        Ok(WholeBody { bytes, _room: room })
    }
}

/// The whole body, of at most `bytes_max` bytes. `reserve` is called with the size of each part, and may refuse it, before it is kept.
pub(super) async fn read_reserved<E: From<BodyError>>(
    body: Body,
    bytes_max: usize,
    mut reserve: impl FnMut(usize) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    let begun = Instant::now();
    let mut bytes = Vec::new();
    let mut parts = body.into_data_stream();
    loop {
        let read = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let part = timeout_at(LEAST_RATE.deadline(begun, read), parts.next()).await;
        let Some(part) = part.map_err(|_| BodyError::Slow)? else {
            return Ok(bytes);
        };
        let part = part.map_err(|_| BodyError::Broken)?;
        if bytes.len() + part.len() > bytes_max {
            return Err(BodyError::TooLarge { bytes_max }.into());
        }
        reserve(part.len())?;
        bytes.extend_from_slice(&part);
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use futures_util::stream;

    use super::*;
    use crate::inbox::BodyBytes;

    async fn read(body: Body, bytes_max: usize) -> Result<Vec<u8>, BodyError> {
        read_reserved(body, bytes_max, |_| Ok(())).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_bounded_in_bytes_and_in_time() {
        assert_eq!(read(Body::from("12345"), 5).await.unwrap(), b"12345");
        let too_large = BodyError::TooLarge { bytes_max: 4 };
        assert_eq!(read(Body::from("12345"), 4).await, Err(too_large));
        let parts = ["12", "345", "6"].map(|part| Ok::<_, std::io::Error>(Bytes::from(part)));
        let mut asked = Vec::new();
        let body = Body::from_stream(stream::iter(parts));
        let refused = read_reserved(body, 9, |bytes| {
            asked.push(bytes);
            if asked.len() < 3 {
                Ok(())
            } else {
                Err(BodyError::Slow)
            }
        });
        assert_eq!(refused.await, Err(BodyError::Slow));
        assert_eq!(asked, [2, 3, 1]);
        // A byte a second is too slow in the end, and 64 KiB a second are not.
        let parts = |bytes: usize| {
            stream::unfold(0, move |sent| async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let part = Bytes::from(vec![0; bytes]);
                (sent < 30).then_some((Ok::<_, std::io::Error>(part), sent + 1))
            })
        };
        let trickling = read(Body::from_stream(parts(1)), usize::MAX).await;
        assert_eq!(trickling, Err(BodyError::Slow));
        let large = read(Body::from_stream(parts(64 << 10)), usize::MAX).await;
        assert_eq!(large.unwrap().len(), 30 * (64 << 10));
        let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(read(never, 4).await, Err(BodyError::Slow));
        let broken = stream::iter([Err::<Bytes, _>(std::io::Error::other("reset"))]);
        assert_eq!(
            read(Body::from_stream(broken), 4).await,
            Err(BodyError::Broken)
        );
    }

    #[tokio::test]
    async fn a_body_is_read_once_and_takes_up_room() {
        let room = BodyBytes::new(5, 0);
        let body = |text: &'static str| {
            let body = Body::from(text);
            RequestBody::new(body, 10, room.reservation())
        };
        let first = body("1234");
        assert_eq!(first.bytes().await, Ok(b"1234".as_slice()));
        assert_eq!(first.bytes().await, Ok(b"1234".as_slice()));
        let second = body("56");
        assert_eq!(second.bytes().await, Err(BodyError::NoRoom));
        let first = first.whole().await.unwrap();
        assert_eq!(first.bytes, b"1234");
        assert_eq!(body("56").bytes().await, Err(BodyError::NoRoom));
        drop(first);
        assert_eq!(body("56").whole().await.unwrap().bytes, b"56");
    }
}

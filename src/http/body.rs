//! Reads a request's body, bounded in bytes and in time.

use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt as _;

/// The most time that a body may take: one that trickles in holds a connection and its reservation.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a body was not read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum BodyError {
    #[error("the body is larger than {bytes_max} bytes")]
    TooLarge { bytes_max: usize },
    #[error("the body did not arrive within {} s", READ_TIMEOUT.as_secs())]
    Slow,
    #[error("the body did not arrive whole")]
    Broken,
}

/// The whole body, of at most `bytes_max` bytes.
pub(super) async fn read(body: Body, bytes_max: usize) -> Result<Vec<u8>, BodyError> {
    read_reserved(body, bytes_max, |_| Ok(())).await
}

/// The same; `reserve` is called with the size of each part, and may refuse it, before it is kept.
pub(super) async fn read_reserved<E: From<BodyError>>(
    body: Body,
    bytes_max: usize,
    mut reserve: impl FnMut(usize) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    let reading = async {
        let mut bytes = Vec::new();
        let mut parts = body.into_data_stream();
        while let Some(part) = parts.next().await {
            let part = part.map_err(|_| BodyError::Broken)?;
            if bytes.len() + part.len() > bytes_max {
                return Err(BodyError::TooLarge { bytes_max }.into());
            }
            reserve(part.len())?;
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    };
    let read = tokio::time::timeout(READ_TIMEOUT, reading).await;
    read.unwrap_or_else(|_| Err(BodyError::Slow.into()))
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use futures_util::stream;

    use super::*;

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
        let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(read(never, 4).await, Err(BodyError::Slow));
        let broken = stream::iter([Err::<Bytes, _>(std::io::Error::other("reset"))]);
        assert_eq!(
            read(Body::from_stream(broken), 4).await,
            Err(BodyError::Broken)
        );
    }
}

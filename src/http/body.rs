//! Reads a request's body, bounded in bytes and in time.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use http_body_util::LengthLimitError;

/// A body that trickles in holds a connection, and what is reserved for it, for so long at most.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no body.
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
pub(super) async fn read(body: Body, bytes_max: usize) -> Result<Bytes, BodyError> {
    let read = tokio::time::timeout(READ_TIMEOUT, to_bytes(body, bytes_max)).await;
    read.map_err(|_| BodyError::Slow)?.map_err(|error| {
        if error.into_inner().is::<LengthLimitError>() {
            BodyError::TooLarge { bytes_max }
        } else {
            BodyError::Broken
        }
    })
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_is_bounded_in_bytes_and_in_time() {
        assert_eq!(read(Body::from("12345"), 5).await.unwrap(), "12345");
        let too_large = BodyError::TooLarge { bytes_max: 4 };
        assert_eq!(read(Body::from("12345"), 4).await, Err(too_large));
        let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(read(never, 4).await, Err(BodyError::Slow));
        let broken = stream::iter([Err::<Bytes, _>(std::io::Error::other("reset"))]);
        assert_eq!(
            read(Body::from_stream(broken), 4).await,
            Err(BodyError::Broken)
        );
    }
}

//! Requests to the auth service and for JWKS: bounded in time and size, never redirected.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Response};

/// A client whose requests, answers included, take no longer than `timeout`.
///
/// Redirects are not followed: they would carry a token to where nobody configured. Nor are
/// `HTTP_PROXY` and its like read: all settings are in `config.rs`.
pub(super) fn client(timeout: Duration) -> Result<Client, reqwest::Error> {
    crate::install_crypto();
    Client::builder()
        .timeout(timeout)
        .redirect(Policy::none())
        .no_proxy()
        .build()
}

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResponseError {
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    #[error("the answer broke off")]
    Broken(#[source] reqwest::Error),
}

/// The whole body, unless it is longer than `bytes_max`.
pub(super) async fn body(
    mut response: Response,
    bytes_max: usize,
) -> Result<Vec<u8>, ResponseError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > bytes_max {
            return Err(ResponseError::TooLong(bytes_max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The URL may hold a password, and reqwest shows it.
fn broken(error: reqwest::Error) -> ResponseError {
    ResponseError::Broken(error.without_url())
}

//! A web server that reads a body and does nothing with it.

use std::net::SocketAddr;

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

/// Serves until it is ended.
pub(crate) async fn serve(listen: SocketAddr) -> Result<()> {
    let read = async |_: Bytes| StatusCode::OK;
    let router = Router::new().route("/livekit/webhook", post(read));
    let listener = TcpListener::bind(listen).await?.tap_io(|stream| {
        // As quell does; without it, answers wait for more to send.
        drop(stream.set_nodelay(true));
    });
    Ok(axum::serve(listener, router).await?)
}

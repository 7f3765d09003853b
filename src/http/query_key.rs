//! `?api_key=`: a token in the URL, for the clients of the mute endpoint that send it so.

use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use secrecy::SecretString;
use url::form_urlencoded;

/// The token that stood in the URL; it is nowhere else any more.
#[derive(Debug, Clone)]
pub(super) struct QueryKey(pub(super) SecretString);

/// Moves `api_key` from the URL into the request's extensions.
pub(super) async fn take(mut request: Request) -> Request {
    let Some(query) = request.uri().query() else {
        return request;
    };
    let mut key = None;
    let mut rest = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name == "api_key" {
            key.get_or_insert_with(|| value.into_owned());
        } else {
            rest.append_pair(&name, &value);
        }
    }
    let Some(key) = key else {
        return request;
    };
    let path = request.uri().path();
    let rest = rest.finish();
    let path_and_query = if rest.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{rest}")
    };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(path_and_query).ok();
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    request
        .extensions_mut()
        .insert(QueryKey(SecretString::from(key)));
    request
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use secrecy::ExposeSecret;

    use super::*;

    #[tokio::test]
    async fn the_key_leaves_the_url_and_the_rest_stays() {
        for (uri, rest, key) in [
            (
                "/livekit/participant/mute?api_key=s3cret",
                "/livekit/participant/mute",
                Some("s3cret"),
            ),
            ("/p?a=1&api_key=s%203&b=2", "/p?a=1&b=2", Some("s 3")),
            ("/p?api_key=one&api_key=two", "/p", Some("one")),
            ("/p?api%5Fkey=hidden", "/p", Some("hidden")),
            ("/p?api_key=", "/p", Some("")),
            ("/p?a=1", "/p?a=1", None),
            ("/p", "/p", None),
        ] {
            let request = Request::builder().uri(uri).body(Body::empty()).unwrap();
            let request = take(request).await;
            assert_eq!(request.uri().to_string(), rest);
            let taken = request.extensions().get::<QueryKey>();
            assert_eq!(taken.map(|key| key.0.expose_secret()), key, "{uri}");
            assert!(!format!("{request:?}").contains("s3cret"));
        }
    }
}

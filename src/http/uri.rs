//! Tidies a request's URL: folds slashes, and takes the token out.

use axum::extract::Request;
use axum::http::uri::{PathAndQuery, Uri};
use secrecy::SecretString;
use url::form_urlencoded;

/// The token of `?api_key=`, an extension of the request; the URL does not hold it any more.
#[derive(Debug, Clone)]
pub(super) struct QueryToken(pub(super) SecretString);

/// Runs before routing, and before anything can log the URL.
pub(super) fn tidy(request: Request) -> Request {
    take_key(fold_slashes(request))
}

/// Turns `//livekit/webhook/` into `/livekit/webhook`. People put URLs together from parts, and LiveKit takes
/// a 404 for success: every event would be lost in silence.
fn fold_slashes(mut request: Request) -> Request {
    let path = request.uri().path();
    if !path.contains("//") && (path == "/" || !path.ends_with('/')) {
        return request;
    }
    let parts = path.split('/').filter(|part| !part.is_empty());
    let path = parts.fold(String::new(), |path, part| path + "/" + part);
    let query = request.uri().query().unwrap_or_default().to_owned();
    set(request.uri_mut(), &path, &query);
    request
}

/// Moves `api_key`, which clients of the mute endpoint send, from the URL into the request's extensions.
fn take_key(mut request: Request) -> Request {
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
    let path = request.uri().path().to_owned();
    set(request.uri_mut(), &path, &rest.finish());
    request
        .extensions_mut()
        .insert(QueryToken(SecretString::from(key)));
    request
}

fn set(uri: &mut Uri, path: &str, query: &str) {
    let path = if path.is_empty() { "/" } else { path };
    let path_and_query = if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    };
    let mut parts = uri.clone().into_parts();
    // What is too long with its query is itself without it.
    let tidied = PathAndQuery::try_from(path_and_query);
    parts.path_and_query = tidied.or_else(|_| PathAndQuery::try_from(path)).ok();
    *uri = Uri::from_parts(parts).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn the_key_leaves_the_url_and_the_rest_stays() {
        // Three times as long when it is written anew.
        let too_long = format!("/p?api_key=one&a={}", "'".repeat(40_000));
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
            ("//p/?api_key=one&a=1", "/p?a=1", Some("one")),
            (&too_long, "/p", Some("one")),
            ("/p?a=1", "/p?a=1", None),
            ("/p", "/p", None),
        ] {
            let request = Request::builder().uri(uri).body(Body::empty()).unwrap();
            let request = tidy(request);
            assert_eq!(request.uri().to_string(), rest);
            let taken = request.extensions().get::<QueryToken>();
            assert_eq!(taken.map(|key| key.0.expose_secret()), key, "{uri}");
            assert!(!format!("{request:?}").contains("s3cret"));
        }
    }

    #[test]
    fn a_slash_too_many_is_none() {
        for (uri, expected) in [
            ("/livekit/webhook", "/livekit/webhook"),
            ("/livekit/webhook/", "/livekit/webhook"),
            ("//livekit//webhook///", "/livekit/webhook"),
            ("/livekit/webhook/?a=//b/", "/livekit/webhook?a=//b/"),
            ("/livekit%2F/webhook", "/livekit%2F/webhook"),
            (
                "http://quell.example//livekit/webhook",
                "http://quell.example/livekit/webhook",
            ),
            ("/", "/"),
            ("//", "/"),
            ("///?a", "/?a"),
        ] {
            let request = Request::builder().uri(uri).body(Body::empty()).unwrap();
            assert_eq!(tidy(request).uri().to_string(), expected, "{uri}");
        }
    }
}

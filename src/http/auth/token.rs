//! The token of a request: `Authorization: Bearer`, or `?api_key=` on the mute endpoint.

use axum::http::{HeaderMap, header};

/// The longest token that is checked.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// What a request sends as its token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent<'a> {
    /// Nothing at all.
    Nothing,
    /// Something that is no token, and why.
    Bad(&'static str),
    /// A token, not checked yet.
    Token(&'a str),
}

/// The token in the headers.
pub(super) fn of_headers(headers: &HeaderMap) -> Sent<'_> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Sent::Nothing;
    };
    // With several, proxies and servers differ in which one counts.
    if values.next().is_some() {
        return Sent::Bad("send one Authorization header, not several");
    }
    let Ok(value) = std::str::from_utf8(value.as_bytes()) else {
        return Sent::Bad("the Authorization header is not UTF-8");
    };
    match value.trim().split_once(char::is_whitespace) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => checked(token.trim()),
        None if value.trim().eq_ignore_ascii_case("bearer") => checked(""),
        Some(_) | None => Sent::Bad("the Authorization header must be: Bearer <token>"),
    }
}

/// The token of a request to the mute endpoint; the header wins, also where it is a bad one.
pub(super) fn of_headers_or_query<'a>(
    headers: &'a HeaderMap,
    api_key: Option<&'a str>,
) -> Sent<'a> {
    match (of_headers(headers), api_key) {
        (Sent::Nothing, Some(api_key)) => checked(api_key),
        (sent, _) => sent,
    }
}

fn checked(token: &str) -> Sent<'_> {
    if token.trim().is_empty() {
        Sent::Bad("the token is empty")
    } else if token.len() > TOKEN_BYTES_MAX {
        Sent::Bad("the token is longer than 16 KiB")
    } else {
        Sent::Token(token)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values
            .iter()
            .map(|value| {
                let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
                (header::AUTHORIZATION, value)
            })
            .collect()
    }

    #[test]
    fn the_header_is_read() {
        let cases: &[(&[&str], Result<&str, &str>)] = &[
            (&[], Err("nothing")),
            (&["Bearer abc"], Ok("abc")),
            (&["bearer abc"], Ok("abc")),
            (&["BEARER abc"], Ok("abc")),
            (&["Bearer   abc  "], Ok("abc")),
            (&["Bearer\tabc"], Ok("abc")),
            (&["Bearer grüße"], Ok("grüße")),
            (&["Bearer a b"], Ok("a b")),
            (&[""], Err("bad")),
            (&["Bearer"], Err("bad")),
            (&["Bearer "], Err("bad")),
            (&["abc"], Err("bad")),
            (&["Basic YTpi"], Err("bad")),
            (&["Bearerabc"], Err("bad")),
            (&["Bearer abc", "Bearer abc"], Err("bad")),
        ];
        for (values, expect) in cases {
            let headers = headers(values);
            let got = match of_headers(&headers) {
                Sent::Nothing => Err("nothing"),
                Sent::Bad(_) => Err("bad"),
                Sent::Token(token) => Ok(token),
            };
            assert_eq!(got, *expect, "{values:?}");
        }
    }

    #[test]
    fn the_header_wins_over_the_query() {
        let cases: &[(&[&str], Option<&str>, Option<&str>)] = &[
            (&[], Some("query"), Some("query")),
            (&["Bearer header"], Some("query"), Some("header")),
            (&["Bearer header"], None, Some("header")),
            (&["Bearer "], Some("query"), None),
            (&["Basic YTpi"], Some("query"), None),
            (&[], Some(""), None),
            (&[], None, None),
        ];
        for (values, api_key, expect) in cases {
            let headers = headers(values);
            let sent = of_headers_or_query(&headers, *api_key);
            let token = if let Sent::Token(token) = sent {
                Some(token)
            } else {
                None
            };
            assert_eq!(token, *expect, "{values:?} {api_key:?}");
        }
        assert!(matches!(
            of_headers_or_query(&HeaderMap::new(), Some("")),
            Sent::Bad(_)
        ));
    }

    #[test]
    fn a_token_over_16_kib_is_not_looked_at() {
        let longest = "x".repeat(TOKEN_BYTES_MAX);
        assert_eq!(checked(&longest), Sent::Token(&longest));
        let too_long = "x".repeat(TOKEN_BYTES_MAX + 1);
        assert!(matches!(checked(&too_long), Sent::Bad(_)));
    }
}

//! `If-Match` and `If-None-Match` (RFC 9110) on a policy, whose `ETag` is its revision.

use axum::http::header::{HeaderMap, IF_MATCH, IF_NONE_MATCH};

use super::header::one_header;
use super::problem::Problem;
use crate::policy_store::ExpectedRevision;

/// What `If-Match` expects; none where it is not sent.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<ExpectedRevision>, Problem> {
    let Some(value) = one_header(headers, &IF_MATCH)? else {
        return Ok(None);
    };
    if value == "*" {
        return Ok(Some(ExpectedRevision::Exists));
    }
    let revision = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .and_then(|revision| revision.parse().ok());
    match revision {
        Some(revision) => Ok(Some(ExpectedRevision::Revision(revision))),
        None => Err(Problem::invalid_request(format!(
            "If-Match is {value:?}, but must be one ETag of this policy, such as \"3\" with its quotes, or *"
        ))),
    }
}

/// Whether `If-None-Match: *` is sent: create, if it is not there.
pub(super) fn if_none_match(headers: &HeaderMap) -> Result<bool, Problem> {
    match one_header(headers, &IF_NONE_MATCH)? {
        None => Ok(false),
        Some("*") => Ok(true),
        Some(other) => Err(Problem::invalid_request(format!(
            "If-None-Match is {other:?}, but may only be * (create, if it is not there)"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn one_etag_or_a_star_is_read_and_anything_else_is_said_to_be_wrong() {
        for (value, expect) in [
            (r#""3""#, Ok(ExpectedRevision::Revision(3))),
            (r#" "3" "#, Ok(ExpectedRevision::Revision(3))),
            ("*", Ok(ExpectedRevision::Exists)),
            ("3", Err(())),
            (r#""3", "4""#, Err(())),
            (r#"W/"3""#, Err(())),
            (r#""x""#, Err(())),
            ("", Err(())),
        ] {
            let value = HeaderValue::from_str(value).unwrap();
            let headers = HeaderMap::from_iter([(IF_MATCH, value.clone())]);
            let read = if_match(&headers).map(Option::unwrap).map_err(drop);
            assert_eq!(read, expect, "{value:?}");
        }
        let twice = [r#""1""#, r#""2""#].map(|v| (IF_MATCH, HeaderValue::from_static(v)));
        let mut headers = HeaderMap::new();
        for (name, value) in twice {
            headers.append(name, value);
        }
        if_match(&headers).unwrap_err();
        assert_eq!(if_match(&HeaderMap::new()), Ok(None));
        let one = |value| HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static(value))]);
        assert_eq!(if_none_match(&one("*")), Ok(true));
        if_none_match(&one(r#""1""#)).unwrap_err();
    }
}

//! Headers that stand once.

use axum::http::header::{HeaderMap, HeaderName};

use super::problem::Problem;

/// The header's text; none where it is not there.
pub(super) fn one_header<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    match (str::from_utf8(value.as_bytes()), values.next()) {
        (Ok(text), None) => Ok(Some(text.trim())),
        _ => Err(Problem::invalid_request(format!(
            "the header {name} must be there once, as UTF-8 text"
        ))),
    }
}

//! Why somebody requests a change, in their own words: the header `X-Reason`, or `reason` in a mute's body.

use axum::http::{HeaderMap, HeaderName};
use serde_json::Value;

use super::header::one_header;
use super::problem::Problem;

const X_REASON: HeaderName = HeaderName::from_static("x-reason");
/// A sentence or three.
pub(super) const CHARS_MAX: usize = 500;

/// The reason that the header gives; none where it is not there, or blank.
pub(super) fn of_headers(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    one_header(headers, &X_REASON)?.map_or(Ok(None), checked)
}

/// The reason of a body or of the headers. Both would be one too many.
pub(super) fn of_request(
    headers: &HeaderMap,
    field: Option<&Value>,
) -> Result<Option<String>, Problem> {
    let of_headers = of_headers(headers)?;
    let of_body = match field {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => checked(text)?,
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            return Err(Problem::invalid_request("`reason` must be a string"));
        }
    };
    if of_headers.is_some() && of_body.is_some() {
        return Err(Problem::invalid_request(
            "there are two reasons: send one, as X-Reason or as `reason` in the body",
        ));
    }
    Ok(of_headers.or(of_body))
}

fn checked(text: &str) -> Result<Option<String>, Problem> {
    if text.chars().count() > CHARS_MAX {
        return Err(Problem::invalid_request(format!(
            "the reason has more than {CHARS_MAX} characters: shorten it"
        )));
    }
    if text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') {
        return Err(Problem::invalid_request(
            "the reason has control characters: leave them out",
        ));
    }
    Ok(Some(text)
        .filter(|text| !text.trim().is_empty())
        .map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde_json::json;

    use super::*;

    #[test]
    fn there_is_one_reason_and_it_can_be_shown() {
        let longest = "ü".repeat(CHARS_MAX);
        let long = "ü".repeat(CHARS_MAX + 1);
        let header = |text: &str| {
            HeaderMap::from_iter([(X_REASON, HeaderValue::from_bytes(text.as_bytes()).unwrap())])
        };
        for (headers, field, reason) in [
            (HeaderMap::new(), None, None),
            (HeaderMap::new(), Some(json!(null)), None),
            (HeaderMap::new(), Some(json!(" \n")), None),
            (
                HeaderMap::new(),
                Some(json!("too\nloud")),
                Some("too\nloud"),
            ),
            (header("zu laut für alle"), None, Some("zu laut für alle")),
            (header(" "), Some(json!("loud")), Some("loud")),
            (header("loud"), Some(json!("")), Some("loud")),
            (header(&longest), None, Some(longest.as_str())),
        ] {
            let read = of_request(&headers, field.as_ref()).unwrap();
            assert_eq!(read.as_deref(), reason, "{headers:?} {field:?}");
        }
        let mut two = header("loud");
        two.append(X_REASON, HeaderValue::from_static("louder"));
        let latin_1 =
            HeaderMap::from_iter([(X_REASON, HeaderValue::from_bytes(b"f\xfcr").unwrap())]);
        for (headers, field, error) in [
            (
                HeaderMap::new(),
                Some(json!(5)),
                "`reason` must be a string",
            ),
            (
                HeaderMap::new(),
                Some(json!(long)),
                "more than 500 characters",
            ),
            (
                HeaderMap::new(),
                Some(json!("a\u{1b}[2J")),
                "control characters",
            ),
            (header("loud"), Some(json!("loud")), "two reasons"),
            (two, None, "x-reason must be there once"),
            (latin_1, None, "as UTF-8 text"),
        ] {
            let refused = of_request(&headers, field.as_ref()).unwrap_err();
            assert!(refused.error.contains(error), "{error}: {}", refused.error);
        }
    }
}

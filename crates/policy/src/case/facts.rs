//! The facts of a test: what a webhook always holds, the file's defaults and the test's own above, the
//! rest unknown.

use serde_json::{Value as Json, json};

use crate::facts::Facts;
use crate::facts::catalog::{Field, event_defaults};
use crate::given::{add_tenant, merge};

/// The defaults are copied into each test of a file: the copies may have at most this many bytes in all.
const REPEATED_BYTES_MAX: usize = 64 << 20;
/// What a value takes besides its text.
const VALUE_BYTES: usize = 64;

/// What a webhook always holds, where a test does not say: the defaults of the catalog, but for names.
pub(super) fn base(at_unix_secs: i64) -> Json {
    let mut all = event_defaults(at_unix_secs);
    let names = json!({
        "room": {"name": "room", "sid": "RM_test"},
        "participant": {"identity": "participant", "sid": "PA_test"},
        "track": {"sid": "TR_test"},
    });
    merge(&mut all, names);
    all
}

/// The facts of a case: what a webhook always holds, the defaults and the case's own, without what
/// the case wants unknown. The message where they do not go together.
pub(super) fn merged(
    defaults: &Json,
    own: Json,
    unknown: &[&Field],
    at_unix_secs: i64,
) -> Result<Facts, String> {
    let mut all = base(at_unix_secs);
    merge(&mut all, defaults.clone());
    merge(&mut all, own);
    add_tenant(&mut all)?;
    for field in unknown {
        let (section, key) = field.section_and_key();
        if let Some(section) = all.get_mut(section).and_then(Json::as_object_mut) {
            section.remove(key);
        }
    }
    if let Some(attributes) = all
        .pointer_mut("/participant/attributes")
        .and_then(Json::as_object_mut)
    {
        attributes.retain(|_, value| !value.is_null());
    }
    // The rows of the catalog are the fields of `Facts`: a test holds them to it.
    serde_json::from_value(all).map_err(|error| format!("these are no facts: {error}"))
}

/// Whether these defaults, copied into each of the tests, are larger than is allowed.
pub(super) fn are_too_much(defaults: &Json, tests: usize) -> bool {
    bytes(defaults).saturating_mul(tests) > REPEATED_BYTES_MAX
}

/// The memory that a value takes, about, in bytes.
fn bytes(value: &Json) -> usize {
    VALUE_BYTES
        + match value {
            Json::Null | Json::Bool(_) | Json::Number(_) => 0,
            Json::String(text) => text.len(),
            Json::Array(items) => items.iter().map(bytes).sum(),
            Json::Object(fields) => fields
                .iter()
                .map(|(key, value)| VALUE_BYTES + key.len() + bytes(value))
                .sum(),
        }
}

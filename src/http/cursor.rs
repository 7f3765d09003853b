//! Cursors: where the next page of a list begins, in letters that say nothing to anybody else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;

pub(super) fn write(place: &impl Serialize) -> String {
    // What places are made of is always JSON.
    let json = serde_json::to_vec(place).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(json)
}

pub(super) fn read<T: DeserializeOwned>(cursor: &str) -> Result<T, Problem> {
    let json = URL_SAFE_NO_PAD.decode(cursor).ok();
    let place = json.and_then(|json| serde_json::from_slice(&json).ok());
    place.ok_or_else(|| {
        Problem::invalid_request(
            "`cursor` is none of ours: send the `next_cursor` of the page before, as it is",
        )
    })
}

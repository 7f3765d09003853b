//! Metadata of rooms and participants, as any backend may write it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quell_policy::TenantId;
use quell_policy::metadata::{METADATA_DEPTH_MAX, is_deeper, metadata_in, tenant_in};
use serde::de::IgnoredAny;
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let read = metadata_in(text);
    assert!(!is_deeper(&read, METADATA_DEPTH_MAX));
    // It is stored inside facts, and read back from there.
    let stored: Value = serde_json::from_str(&read.to_string()).unwrap();
    assert_eq!(stored, read);
    // Where a strict reader reads it, it is the same.
    if let Ok(strict) = serde_json::from_str::<Value>(text)
        && !is_deeper(&strict, METADATA_DEPTH_MAX)
        && read != strict
    {
        let mut without = strict;
        let tenant = without
            .as_object_mut()
            .and_then(|fields| fields.remove("auth_id"));
        let is_other = text.contains("$serde_json") || tenant.is_some() && read == without;
        assert!(is_other, "{read} of {text}");
    }
    // Whatever is JSON by its grammar hides nothing beside it.
    if serde_json::from_str::<IgnoredAny>(text).is_ok() {
        let beside = metadata_in(&format!(r#"{{"x":{text},"auth_id":"acme"}}"#));
        assert_eq!(tenant_in(&beside), TenantId::new("acme").ok(), "{text}");
    }
});

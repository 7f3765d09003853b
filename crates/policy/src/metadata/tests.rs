use proptest::collection::vec;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;

#[test]
fn the_tenant_is_a_text_that_is_not_blank_and_stands_once_in_an_object() {
    for (metadata, tenant) in [
        (r#"{"auth_id":"acme"}"#, Some("acme")),
        (r#"{"auth_id":" acme","x":1}"#, Some(" acme")),
        (
            r#"{"auth_id":"acme","x":{"auth_id":1,"auth_id":2}}"#,
            Some("acme"),
        ),
        (r#"{"auth_id":"acme","x":1,"x":2}"#, Some("acme")),
        (r#"{"auth_id":"ac\ud800me"}"#, Some("ac\u{fffd}me")),
        (r#"{"auth_id":"acme","auth_id":"globex"}"#, None),
        (r#"{"auth_id":"acme","auth_id":"acme"}"#, None),
        (r#"{"auth_id":"acme","auth\u005fid":"globex"}"#, None),
        (r#"{"auth_id":null,"auth_id":"acme","x":1e400}"#, None),
        (r#"{"auth_id":""}"#, None),
        (r#"{"auth_id":"  "}"#, None),
        (r#"{"auth_id":7}"#, None),
        (r#"{"auth_id":"a\u0000b"}"#, None),
        (&format!(r#"{{"auth_id":"{}"}}"#, "ä".repeat(257)), None),
        (r#"{"auth_id":null}"#, None),
        (r#"{"AUTH_ID":"acme"}"#, None),
        (r#"["auth_id","acme"]"#, None),
        (r#""acme""#, None),
        ("acme", None),
        ("", None),
    ] {
        let found = tenant_in(&metadata_in(metadata));
        assert_eq!(found.as_ref().map(TenantId::as_str), tenant, "{metadata}");
    }
}

#[test]
fn what_strict_readers_refuse_hides_nothing_beside_it() {
    for (value, read) in [
        (
            r#""half \ud83d and \ude00""#,
            json!("half \u{fffd} and \u{fffd}"),
        ),
        (
            r#""\ud83d\ude00 \ud83d\ud83d\ude00""#,
            json!("😀 \u{fffd}😀"),
        ),
        (r#""\ud83d\u0041""#, json!("\u{fffd}A")),
        (r#"{"\ud800":"\\ud800"}"#, json!({"\u{fffd}": "\\ud800"})),
        (
            "[1e400,-1e400,1e-400,1e308]",
            json!([null, null, 0.0, 1e308]),
        ),
        ("[NaN,Infinity,-Infinity]", json!([null, null, null])),
        (
            r#"["NaN","1e400","\"1e400"]"#,
            json!(["NaN", "1e400", "\"1e400"]),
        ),
    ] {
        let metadata = format!(r#"{{"before":[true],"x":{value},"auth_id":"acme"}}"#);
        let expected = json!({"before": [true], "x": read, "auth_id": "acme"});
        assert_eq!(metadata_in(&metadata), expected, "{metadata}");
    }
}

/// The reader of what is stored gives one key a meaning of its own.
#[test]
fn no_key_makes_what_is_stored_unreadable() {
    for metadata in [
        r#"{"$serde_json::private::RawValue":"x","seat":7}"#,
        r#"{"$serde_json::private::RawValue":"{\"role\":\"host\"}","seat":7}"#,
        r#"{"seat":7,"$serde_json::private::RawValue":1,"x":"\ud800"}"#,
        r#"{"$serde_json::private::Number":"1","seat":7}"#,
    ] {
        let read = metadata_in(metadata);
        assert_eq!(read["seat"], 7, "{metadata}");
        assert_eq!(read.get("role"), None, "{metadata}");
        let stored: Value = serde_json::from_str(&read.to_string()).unwrap();
        assert_eq!(stored, read, "{metadata}");
    }
}

#[test]
fn what_is_nested_too_deep_is_null_and_the_rest_stays() {
    // The object around them is the first level.
    for (levels, kept) in [(1, 1), (63, 63), (64, 63), (200, 63), (100_000, 63)] {
        let lists = |levels: usize, inside: &str| {
            format!("{}{inside}{}", "[".repeat(levels), "]".repeat(levels))
        };
        let metadata = |inner: String| format!(r#"{{"x":{inner},"auth_id":"acme","y":7}}"#);
        let inside = if levels > kept { "null" } else { "" };
        let expected: Value = serde_json::from_str(&lists(kept, inside)).unwrap();
        let expected = json!({"x": expected, "auth_id": "acme", "y": 7});
        assert_eq!(
            metadata_in(&metadata(lists(levels, ""))),
            expected,
            "{levels}"
        );
        // Also where another part needs mending; what is left out has to be JSON all the same.
        let half = lists(levels, r#"{"\ud800":1e400}"#);
        assert_eq!(
            tenant_in(&metadata_in(&metadata(half))),
            TenantId::new("acme").ok()
        );
        let broken = metadata(lists(levels, "x"));
        assert_eq!(metadata_in(&broken), Value::Null, "{levels}");
    }
}

#[derive(Deserialize)]
struct Row {
    text: String,
    go: Option<Verdict>,
    python: Option<Verdict>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Verdict {
    tenant: Option<String>,
    keys: Vec<String>,
}

/// Python's, which reads all that Go's does and what Python writes, but for a tenant that stands twice.
#[test]
fn the_verdicts_of_other_readers() {
    let rows = include_str!("../../../../tests/fixtures/metadata/verdicts.jsonl");
    let mut twice = 0;
    for row in rows.lines() {
        let Row { text, go, python } = serde_json::from_str(row).unwrap();
        if go.is_some() {
            assert_eq!(go, python, "{text}");
        }
        let metadata = metadata_in(&text);
        let tenant = tenant_in(&metadata).map(|tenant| tenant.to_string());
        let named = text.matches("\"auth_id\"").count() + text.matches(r"auth\u005fid").count();
        if python.is_some() && named > 1 && !text.contains(r#""x":{"auth_id""#) {
            twice += 1;
            assert_eq!(tenant, None, "{text}");
            continue;
        }
        let keys = metadata.as_object().into_iter().flatten();
        let mut keys: Vec<_> = keys.map(|(key, _)| key.clone()).collect();
        keys.sort();
        let is_object = metadata.is_object();
        match python {
            Some(mut python) => {
                // What can be no tenant's id is none.
                python.tenant = python.tenant.filter(|id| TenantId::new(id).is_ok());
                assert_eq!(Verdict { tenant, keys }, python, "{text}");
            }
            None => assert!(!is_object, "{text}: {metadata}"),
        }
    }
    assert_eq!(twice, 5);
}

/// JSON as careless writers write it, and what it says.
fn written() -> impl Strategy<Value = (String, Value)> {
    let scalar = prop_oneof![
        Just(("null".to_owned(), Value::Null)),
        any::<bool>().prop_map(|b| (b.to_string(), json!(b))),
        any::<i64>().prop_map(|n| (n.to_string(), json!(n))),
        any::<u64>().prop_map(|n| (n.to_string(), json!(n))),
        any::<f64>()
            .prop_filter("finite", |f| f.is_finite())
            .prop_map(|f| (json!(f).to_string(), json!(f))),
        "(-?1e400|-?[1-9][0-9]{310,320}|NaN|-?Infinity|-?9[.]9E[+]999)"
            .prop_map(|text| (text, Value::Null)),
        text().prop_map(|(written, said)| (written, json!(said))),
    ];
    scalar.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            (vec(inner.clone(), 0..4), space()).prop_map(|(items, s)| {
                let written: Vec<_> = items.iter().map(|item| item.0.as_str()).collect();
                let said = items.iter().map(|item| item.1.clone()).collect();
                (
                    format!("[{s}{}{s}]", written.join(&format!("{s},"))),
                    Value::Array(said),
                )
            }),
            (vec((text(), inner), 0..4), space()).prop_map(|(fields, s)| {
                let written: Vec<_> = fields
                    .iter()
                    .map(|(key, value)| format!("{}{s}:{}", key.0, value.0))
                    .collect();
                // Of two of one key, the last.
                let said = fields
                    .iter()
                    .map(|(key, value)| (key.1.clone(), value.1.clone()))
                    .collect();
                (
                    format!("{{{s}{}{s}}}", written.join(&format!(",{s}"))),
                    Value::Object(said),
                )
            }),
        ]
    })
}

fn space() -> impl Strategy<Value = String> {
    "[ \\n\\t\\r]{0,2}"
}

/// A string of JSON, its quotes included, and what it says.
fn text() -> impl Strategy<Value = (String, String)> {
    let part = prop_oneof![
        "[a-z \u{e9}😀]{1,3}".prop_map(|t| (t.clone(), t)),
        any::<char>()
            .prop_map(|c| (
                json!(c)
                    .as_str()
                    .map(|c| json!(c).to_string())
                    .unwrap()
                    .trim_matches('"')
                    .to_owned(),
                c.to_string()
            ))
            .prop_filter("no quote of its own", |(written, _)| !written.is_empty()
                && written != "\\"),
        Just((r#"\""#.to_owned(), "\"".to_owned())),
        Just((r"\\".to_owned(), "\\".to_owned())),
        Just((r"\\ud800".to_owned(), r"\ud800".to_owned())),
        Just((r"\ud83d\ude00".to_owned(), "😀".to_owned())),
        Just((r"\uD83D ".to_owned(), "\u{fffd} ".to_owned())),
        Just((r"\udE00".to_owned(), "\u{fffd}".to_owned())),
        Just((r"\ud83d\u0041".to_owned(), "\u{fffd}A".to_owned())),
        Just((r"\u0000\n\/".to_owned(), "\0\n/".to_owned())),
    ];
    vec(part, 0..5).prop_map(|parts| {
        let written: String = parts.iter().map(|part| part.0.as_str()).collect();
        let said: String = parts.iter().map(|part| part.1.as_str()).collect();
        (format!("\"{written}\""), said)
    })
}

proptest! {
    #[test]
    fn what_was_written_is_what_is_read((written, said) in written()) {
        let metadata = format!(r#"{{"x":{written},"auth_id":"acme","x":{written}}}"#);
        prop_assert_eq!(metadata_in(&metadata), json!({"x": said, "auth_id": "acme"}), "{}", metadata);
    }

    /// Also of what is no JSON: read as the strict reader does where that reads it; no panic.
    #[test]
    fn strict_readers_are_never_contradicted(text in r#"([\[\]{},:"\\ ]|\\u[dD][89abcdefC][0-9]{2}|"auth_id"|1e4|NaN|[a-z0-9.+-]|😀|\PC){0,24}"#) {
        let ours = metadata_in(&text);
        match serde_json::from_str::<Value>(&text) {
            Ok(strict) if text.matches("auth_id").count() < 2 => prop_assert_eq!(ours, strict),
            _ => prop_assert!(serde_json::from_str::<Value>(&ours.to_string()).is_ok()),
        }
    }
}

//! Settings that cannot be used, and what is said of them.

use super::*;

/// What is said of settings that cannot be used.
fn problems(env: &[(&str, &str)]) -> String {
    let problems = read(env).unwrap_err().to_string();
    assert!(!problems.contains("s3cret"), "{problems}");
    problems
}

#[test]
fn two_callers_with_one_secret_are_both_named_and_the_secret_is_not() {
    let list = |text| ("AUTH_API_SECRETS_JSON", text);
    let one = r#"[{"id":"acme","secret":"s3cret"}]"#;
    for env in [
        &[list(
            r#"[{"id":"acme","secret":"s3cret"},{"id":"globex","secret":"s3cret"}]"#,
        )][..],
        &[
            list(one),
            ("AUTH_API_SECRET", "s3cret"),
            ("AUTH_API_SECRET_ID", "globex"),
        ],
    ] {
        let said = problems(env);
        assert!(
            said.contains(r#""acme" and "globex" have the same secret"#),
            "{said}"
        );
    }
    let default = problems(&[list(one), ("AUTH_API_SECRET", "s3cret")]);
    assert!(default.contains(r#""acme" and "default""#), "{default}");
    for rotation in [
        r#"[{"id":"acme","secret":"one"},{"id":"acme","secret":"two"}]"#,
        r#"[{"id":"acme","secret":"one"},{"id":"acme","secret":"one"}]"#,
    ] {
        assert!(read(&[list(rotation)]).is_ok(), "{rotation}");
    }
}

#[test]
fn ids_that_no_caller_can_have_and_secrets_that_cannot_be_sent_are_refused() {
    for (env, part) in [
        (
            (
                "AUTH_API_SECRETS_JSON",
                r#"[{"id":"cli:root","secret":"s3cret"}]"#,
            ),
            "begins with cli:",
        ),
        (
            (
                "AUTH_API_SECRETS_JSON",
                r#"[{"id":"a\nb","secret":"s3cret"}]"#,
            ),
            "control characters",
        ),
        (
            ("AUTH_API_SECRETS_JSON", r#"[{"id":"a","secret":" "}]"#),
            "the secret of \"a\" is empty",
        ),
        (
            (
                "AUTH_API_SECRETS_JSON",
                r#"[{"id":"a","secret":"s3cret\n"}]"#,
            ),
            "white space",
        ),
        (
            (
                "AUTH_API_SECRETS_JSON",
                r#"[{"id":"a","id":"b","secret":"s3cret"}]"#,
            ),
            "must be [{",
        ),
        (("AUTH_API_SECRET", "s3cret\n"), "white space"),
        (("AUTH_API_SECRET", "s3\ncret"), "cannot be sent"),
        (
            ("QUELL_OPERATOR_IDS", r#"["op"]"#),
            "without brackets and quotes",
        ),
        (("QUELL_EVENT_RETENTION", "4294967295"), "from 1 to 36500"),
        (("QUELL_OPERATOR_IDS", "ops, CLI:root"), "begins with cli:"),
    ] {
        let said = problems(&[env]);
        assert!(said.contains(part), "{said}");
    }
    let blank = [("AUTH_API_SECRET", "one"), ("AUTH_API_SECRET_ID", "cli:x")];
    assert!(problems(&blank).contains("begins with cli:"));
}

#[test]
fn webhook_keys_are_each_one_key_and_one_secret() {
    for (json, part) in [
        (
            r#"{"k": "s3cret", "k": "s3cret2"}"#,
            "holds the key \"k\" twice",
        ),
        (r#"{"k": ""}"#, "an empty key or secret"),
        (r#"{" ": "s3cret"}"#, "an empty key or secret"),
        (r#"[["k", "s3cret"]]"#, "must be {"),
    ] {
        let said = problems(&[("QUELL_WEBHOOK_KEYS_JSON", json)]);
        assert!(said.contains(part), "{said}");
    }
    // The key as before, with its secret of before.
    let keys = read(&[
        ("LIVEKIT_URL", "ws://h"),
        ("LIVEKIT_API_KEY", "k"),
        ("LIVEKIT_API_SECRET", "new"),
        ("QUELL_WEBHOOK_KEYS_JSON", r#"{"k": "old"}"#),
    ]);
    assert_eq!(keys.unwrap().webhook_keys.len(), 2);
}

#[test]
fn what_is_set_for_nothing_is_told() {
    for (env, name) in [
        (&[("AUTH_API_SECRET_ID", "acme")][..], "AUTH_API_SECRET_ID"),
        (
            &[("AUTH_SIGNING_KEY_PATH", "/key.pem")],
            "AUTH_SIGNING_KEY_PATH",
        ),
        (
            &[("QUELL_JWT_ISSUER", "https://issuer")],
            "QUELL_JWT_ISSUER",
        ),
        (&[("LIVEKIT_API_SECRET", "s3cret\n")], "LIVEKIT_API_SECRET"),
        (&[("LIVEKIT_API_KEY", "key\n")], "LIVEKIT_API_KEY"),
        (&[("AUTH_TOKEN", "x")], "AUTH_TOKEN"),
    ] {
        let warnings = read(env).unwrap().warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].starts_with(name), "{warnings:?}");
        assert!(!warnings[0].contains("s3cret"), "{warnings:?}");
    }
    assert_eq!(read(&[]).unwrap().warnings, [""; 0]);
}

#[test]
fn a_misspelt_name_and_a_word_that_is_no_filter_stop_quell() {
    let said = problems(&[("QUELL_OPERATOR_ID", "ops"), ("QUELL_LOG", "verbose")]);
    for part in [
        "QUELL_OPERATOR_IDS was probably meant",
        "put debug or trace",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn a_value_that_is_no_text_is_refused_and_a_path_need_not_be_text() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    let odd = || OsString::from_vec(vec![b'/', 0xff]);
    let read = |name| Config::from_environment(&[(name, odd())].into_iter().collect());
    let said = read("AUTH_API_SECRET").unwrap_err().to_string();
    assert!(said.contains("AUTH_API_SECRET is not UTF-8"), "{said}");
    for path in ["PATH", "HOME", "QUELL_PG_DATA"] {
        assert!(read(path).is_ok(), "{path}");
    }
}

#[test]
fn a_secret_may_stand_in_a_file_and_a_file_that_holds_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (secret, blank) = (file("secret", "  s3cret \r\n"), file("blank", " \n"));
    let config = read(&[("AUTH_API_SECRET_FILE", &file("key", "k3y\n"))]).unwrap();
    assert_eq!(config.auth.api_secrets[0].secret.expose_secret(), "k3y");
    let url = file("url", "postgres://u:p@h/d\n");
    let config = read(&[
        ("DATABASE_URL_FILE", &url),
        ("QUELL_JWT_SECRET_FILE", &secret),
    ])
    .unwrap();
    assert_eq!(
        config.database.url.unwrap().expose_secret(),
        "postgres://u:p@h/d"
    );
    let Some(JwtKeySource::Secret(jwt)) = config.auth.jwt.map(|mut jwt| jwt.keys.remove(0)) else {
        panic!("a secret");
    };
    assert_eq!(jwt.expose_secret(), "  s3cret ");
    let url = file("auth", "https://u:p@auth.example/check\n");
    let auth = read(&[
        ("AUTH_SERVICE_URL_FILE", &url),
        ("AUTH_SIGNING_KEY_PATH", "key.pem"),
        ("QUELL_JWT_JWKS_URL_FILE", &url),
    ]);
    let auth = auth.unwrap().auth;
    assert_eq!(
        auth.service.unwrap().url.as_str(),
        "https://u:p@auth.example/check"
    );
    assert!(
        matches!(&auth.jwt.unwrap().keys[..], [JwtKeySource::JwksUrl(url)] if url.password() == Some("p"))
    );

    let said = problems(&[
        ("AUTH_API_SECRET", "s3cret"),
        ("AUTH_API_SECRET_FILE", &secret),
        ("QUELL_JWT_SECRET_FILE", &blank),
        ("LIVEKIT_API_SECRET_FILE", "/no/such/file"),
        ("AUTH_SERVICE_URL_FILE", &secret),
    ]);
    for expect in [
        "AUTH_API_SECRET and AUTH_API_SECRET_FILE are both set",
        "blank\", which holds nothing",
        "LIVEKIT_API_SECRET_FILE is \"/no/such/file\", which cannot be read: No such file",
        "AUTH_SERVICE_URL is not a URL that starts with https:// or http://",
    ] {
        assert!(said.contains(expect), "{said}");
    }
    assert!(!said.contains("s3cret"), "{said}");
}

#[test]
fn what_strangers_may_take_is_a_positive_number() {
    let said = problems(&[
        ("QUELL_HTTP_CONNECTIONS", "0"),
        ("QUELL_HTTP_CONNECTIONS_PER_PEER", "-1"),
        ("QUELL_CALLER_MUTES_PER_SECOND", "x"),
        ("QUELL_METRICS_LISTEN", "9090"),
        ("QUELL_AUTH_CACHE_SECONDS", "1.5"),
    ]);
    for expect in [
        "QUELL_HTTP_CONNECTIONS is 0, but must be at least 1",
        "QUELL_HTTP_CONNECTIONS_PER_PEER is \"-1\", but must be a whole number of at least 1",
        "QUELL_CALLER_MUTES_PER_SECOND is \"x\"",
        "QUELL_METRICS_LISTEN is \"9090\", but must be an address and a port, such as 127.0.0.1:9090",
        "QUELL_AUTH_CACHE_SECONDS is \"1.5\"",
    ] {
        assert!(said.contains(expect), "{said}");
    }
}

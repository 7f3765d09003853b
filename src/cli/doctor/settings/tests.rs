use super::super::Level;
use quell_clock::ManualClock;

use super::*;

/// Settings, how bad they are, and what is said of them.
type Case<'a> = (&'a [(&'a str, &'a str)], Level, &'a [&'a str]);

const LONG: &str = "0123456789abcdef0123456789abcdef";

fn found(settings: &[(&str, &str)]) -> Vec<Finding> {
    // The first of one name counts.
    let environment: Environment = settings.iter().rev().copied().collect();
    let config = Config::from_environment(&environment).unwrap();
    let clock = ManualClock::new("2026-03-02T12:00:10Z".parse().unwrap());
    check(&environment, &config, &clock.clock())
}

/// What is not `ok`, where `settings` come on top of a working minimum.
fn complaints(settings: &[(&str, &str)]) -> Vec<(Level, String)> {
    let mut all = settings.to_vec();
    all.extend([
        ("LIVEKIT_URL", "wss://livekit.example"),
        ("LIVEKIT_API_KEY", "APIkey"),
        ("LIVEKIT_API_SECRET", LONG),
        ("AUTH_API_SECRET", LONG),
        ("AUTH_API_SECRET_ID", "acme"),
    ]);
    found(&all)
        .into_iter()
        .filter(|finding| finding.level != Level::Ok)
        .map(|finding| {
            let remedy = finding.remedy.unwrap();
            (finding.level, format!("{} -> {remedy}", finding.what))
        })
        .collect()
}

#[test]
fn what_the_settings_themselves_doubt_is_told() {
    let told = complaints(&[("AUTH_TOKEN", "x")]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, Level::Warn);
    assert!(
        told[0].1.starts_with("AUTH_TOKEN is no setting"),
        "{told:?}"
    );
}

#[test]
fn a_working_minimum_has_nothing_wrong() {
    assert_eq!(complaints(&[]), []);
}

#[test]
fn each_fault_is_found_and_its_remedy_named() {
    let no_livekit = [
        ("LIVEKIT_URL", ""),
        ("LIVEKIT_API_KEY", ""),
        ("LIVEKIT_API_SECRET", ""),
    ];
    let open = |host| [("AUTH_REQUIRED", "false"), ("HOST", host)];
    let no_signing_key = [
        ("AUTH_SERVICE_URL", "https://auth.example"),
        ("AUTH_SIGNING_KEY_PATH", "/no/such.pem"),
    ];
    let cases: &[Case<'_>] = &[
        (
            &[("LIVEKIT_API_KEY", " ")],
            Level::Fail,
            &["in part", "set LIVEKIT_API_KEY,"],
        ),
        (
            &[("LIVEKIT_URL", ""), ("LIVEKIT_API_SECRET", "")],
            Level::Fail,
            &["in part", "LIVEKIT_URL and LIVEKIT_API_SECRET"],
        ),
        (
            &no_livekit,
            Level::Fail,
            &["not set", "LIVEKIT_URL and LIVEKIT_API_KEY and"],
        ),
        (
            &[("LIVEKIT_URL", "ws://livekit.example")],
            Level::Warn,
            &["wss://"],
        ),
        (
            &[("AUTH_API_SECRET", ""), ("AUTH_API_SECRET_ID", "")],
            Level::Fail,
            &["401", "AUTH_API_SECRETS_JSON"],
        ),
        (
            &[("AUTH_API_SECRET_ID", " ")],
            Level::Fail,
            &["no id", "AUTH_API_SECRET_ID"],
        ),
        (
            &open("0.0.0.0"),
            Level::Warn,
            &["HOST is 0.0.0.0", "AUTH_REQUIRED=true"],
        ),
        (&open("::"), Level::Warn, &["HOST is ::"]),
        (
            &[("QUELL_ALLOW_NO_ID", "true")],
            Level::Warn,
            &["AUTH_SERVICE_URL"],
        ),
        (&[("QUELL_WORKERS", "0")], Level::Warn, &["QUELL_WORKERS"]),
        (
            &[("LIVEKIT_API_SECRET", "secret")],
            Level::Warn,
            &["APIkey", "32 bytes", "openssl"],
        ),
        (
            &[("QUELL_WEBHOOK_KEYS_JSON", r#"{"old": "short"}"#)],
            Level::Warn,
            &["key old"],
        ),
        (
            &[("AUTH_API_SECRET", "hunter2")],
            Level::Warn,
            &["\"acme\""],
        ),
        (
            &[("QUELL_JWT_SECRET", "hunter2")],
            Level::Warn,
            &["QUELL_JWT_SECRET"],
        ),
        (
            &[("QUELL_JWT_PUBLIC_KEY_PATH", "/no/such.pem")],
            Level::Fail,
            &["/no/such.pem"],
        ),
        (
            &[("QUELL_JWT_JWKS_PATH", "/no/such.json")],
            Level::Fail,
            &["/no/such.json"],
        ),
        (
            &no_signing_key,
            Level::Fail,
            &["AUTH_SIGNING_KEY_PATH", "/no/such.pem"],
        ),
    ];
    for (settings, level, says) in cases {
        let got = complaints(settings);
        let [(found, text)] = got.as_slice() else {
            panic!("{settings:?} -> {got:?}");
        };
        assert_eq!(found, level, "{text}");
        for says in *says {
            assert!(text.contains(says), "{text} lacks {says}");
        }
    }
}

#[test]
fn what_is_fine_is_not_complained_of() {
    let cases: &[&[(&str, &str)]] = &[
        &[("AUTH_REQUIRED", "false"), ("HOST", "localhost")],
        &[("AUTH_REQUIRED", "false"), ("HOST", "::1")],
        &[("LIVEKIT_URL", "ws://127.0.0.1:7880")],
        &[("LIVEKIT_URL", "http://[::1]:7880")],
        &[
            ("AUTH_API_SECRET", ""),
            ("AUTH_API_SECRET_ID", ""),
            ("QUELL_JWT_SECRET", LONG),
        ],
    ];
    for settings in cases {
        assert_eq!(complaints(settings), [], "{settings:?}");
    }
}

#[test]
fn no_secret_is_shown() {
    for finding in found(&[
        ("LIVEKIT_URL", "wss://livekit.example"),
        ("LIVEKIT_API_KEY", "APIkey"),
        ("LIVEKIT_API_SECRET", "hunter2"),
        ("AUTH_API_SECRET", "hunter2"),
        ("QUELL_JWT_SECRET", "hunter2"),
    ]) {
        assert!(!format!("{finding:?}").contains("hunter2"), "{finding:?}");
    }
}

#[test]
fn files_are_looked_into() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let check = |look: fn(&Path) -> Finding, text: &str, mode: u32, level: Level, says: &str| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let finding = look(&path);
        assert_eq!(finding.level, level, "{finding:?}");
        assert!(finding.what.contains(says), "{finding:?}");
    };
    let public = "-----BEGIN PUBLIC KEY-----\n";
    let private = "-----BEGIN PRIVATE KEY-----\n";
    check(public_key, public, 0o644, Level::Ok, "is there");
    check(public_key, private, 0o644, Level::Fail, "private key");
    check(public_key, "hello", 0o644, Level::Fail, "no PEM");
    check(signing_key, private, 0o600, Level::Ok, "is there");
    check(signing_key, private, 0o640, Level::Warn, "other users");
    check(signing_key, public, 0o600, Level::Fail, "no private key");
    let key = r#"{"keys": [{"kty": "oct", "k": "AAAA"}]}"#;
    check(jwks, key, 0o644, Level::Ok, "1 keys");
    check(jwks, r#"{"keys": []}"#, 0o644, Level::Fail, "no key");
    check(jwks, "{", 0o644, Level::Fail, "no JWKS (line 1");
}

#[test]
fn the_next_sweeps_are_told() {
    let told = |line: &str| {
        let findings = found(&[("QUELL_SWEEP_CRON", line)]);
        let mut sweeps = findings.iter().filter(|finding| {
            finding.what.contains("swept") || finding.what.contains("QUELL_SWEEP_CRON")
        });
        let finding = sweeps.next().unwrap();
        (finding.level, finding.what.clone())
    };
    assert_eq!(
        told("*/30 * * * * *"),
        (
            Level::Ok,
            "all rooms are swept next at 2026-03-02 12:00:30Z, 2026-03-02 12:01:00Z, 2026-03-02 12:01:30Z".to_owned()
        )
    );
    assert_eq!(told("off").0, Level::Warn);
}

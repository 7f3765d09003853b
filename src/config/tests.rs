mod refused;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;

fn read(env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_environment(&env.iter().copied().collect())
}

#[test]
fn without_settings_everything_is_closed_and_on_loopback() {
    let config = read(&[]).unwrap();
    assert_eq!((config.host.as_str(), config.port), ("127.0.0.1", 8080));
    assert!(config.auth.required);
    assert!(!config.auth.allow_no_id);
    assert!(config.auth.operator_ids.is_empty());
    assert!(config.livekit.is_none());
    assert!(config.webhook_keys.is_empty());
    assert_eq!(config.event_retention_days, 30);
}

#[test]
fn a_blank_value_is_the_same_as_none() {
    let config = read(&[("PORT", " "), ("AUTH_REQUIRED", ""), ("DATABASE_URL", "")]).unwrap();
    assert_eq!(config.port, 8080);
    assert!(config.auth.required);
    assert!(config.database.url.is_none());
}

#[test]
fn livekits_address_is_http_with_its_path_and_without_a_slash_at_the_end() {
    for (url, expect) in [
        ("ws://localhost:7880", "http://localhost:7880/"),
        ("wss://lk.example.com", "https://lk.example.com/"),
        ("wss://lk.example.com/", "https://lk.example.com/"),
        (
            "https://example.com/livekit/",
            "https://example.com/livekit",
        ),
        ("ws://[::1]:7880/a/b", "http://[::1]:7880/a/b"),
        ("http://h:1/p?x=1#y", "http://h:1/p"),
    ] {
        let env = [
            ("LIVEKIT_URL", url),
            ("LIVEKIT_API_KEY", "key"),
            ("LIVEKIT_API_SECRET", "secret"),
        ];
        let livekit = read(&env).unwrap().livekit.unwrap();
        assert_eq!(livekit.url.as_str(), expect, "{url}");
        for missing in 0..3 {
            let mut env = env.to_vec();
            env.remove(missing);
            assert!(read(&env).unwrap().livekit.is_none());
        }
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once_and_no_secret_with_it() {
    let error = read(&[
        ("PORT", "eighty"),
        ("AUTH_REQUIRED", "maybe"),
        ("LIVEKIT_URL", "s3cret:7880"),
        ("DATABASE_URL", "mysql://u:s3cret@h/d"),
        ("QUELL_WEBHOOK_KEYS_JSON", r#"{"k": s3cret}"#),
        (
            "AUTH_API_SECRETS_JSON",
            r#"[{"id": "a", "secret": 1, "s3cret": 2}]"#,
        ),
        ("AUTH_SERVICE_URL", "https://auth.example.com"),
        ("QUELL_LIVEKIT_TIMEOUT_MS", "0"),
        ("QUELL_JOB_DEADLINE_SECONDS", "-1"),
        ("QUELL_EVENT_RETENTION", "30dd"),
        ("QUELL_LOG_FORMAT", "xml"),
        ("QUELL_DATABASE_CONNECTIONS", "1"),
        ("QUELL_SWEEP_CRON", "* * * * *"),
        ("QUELL_SWEEP_CALLS_PER_SECOND", "0"),
    ])
    .unwrap_err();
    let text = error.to_string();
    for name in [
        "PORT",
        "AUTH_REQUIRED",
        "LIVEKIT_URL",
        "DATABASE_URL",
        "QUELL_WEBHOOK_KEYS_JSON",
        "AUTH_API_SECRETS_JSON",
        "AUTH_SIGNING_KEY_PATH",
        "QUELL_LIVEKIT_TIMEOUT_MS",
        "QUELL_JOB_DEADLINE_SECONDS",
        "QUELL_EVENT_RETENTION",
        "QUELL_LOG_FORMAT",
        "QUELL_DATABASE_CONNECTIONS",
        "QUELL_SWEEP_CRON",
        "QUELL_SWEEP_CALLS_PER_SECOND",
    ] {
        assert!(text.contains(name), "{name} is not in:\n{text}");
    }
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn connections_are_at_least_two_and_at_most_what_postgres_takes() {
    let check = |value: &str, want: Result<u32, &str>| {
        let got = read(&[("QUELL_DATABASE_CONNECTIONS", value)]);
        match (got, want) {
            (Ok(got), Ok(want)) => assert_eq!(got.database.connections_max, want),
            (Err(got), Err(want)) => assert!(got.to_string().contains(want), "{got}"),
            (got, want) => panic!("{value}: {got:?}, but wanted {want:?}"),
        }
    };
    check("7", Err("less than 8"));
    check("8", Ok(8));
    check("1000", Ok(1000));
    check("1001", Err("is 1001, but must be at most 1000: Postgres"));
    check("4294967295", Err("at most 1000"));
    check("4294967296", Err("must be a whole number"));
}

#[test]
fn callers_come_from_a_list_and_from_one_secret() {
    let list = ("AUTH_API_SECRETS_JSON", r#"[{"id":"acme","secret":"one"}]"#);
    let ids = |env: &[(&str, &str)]| -> Vec<(String, String)> {
        let secrets = read(env).unwrap().auth.api_secrets;
        secrets
            .into_iter()
            .map(|entry| (entry.id, entry.secret.expose_secret().to_owned()))
            .collect()
    };
    let pair = |id: &str, secret: &str| (id.to_owned(), secret.to_owned());
    let two = ("AUTH_API_SECRET", "two");
    let id = ("AUTH_API_SECRET_ID", "globex");
    assert_eq!(
        ids(&[list, two, id]),
        [pair("acme", "one"), pair("globex", "two")]
    );
    assert_eq!(ids(&[two]), [pair("default", "two")]);
    let blank = ("AUTH_API_SECRET_ID", " ");
    assert_eq!(
        ids(&[two, blank]),
        [pair(" ", "two")],
        "its use is refused later"
    );
}

#[test]
fn webhook_keys_are_livekits_own_and_those_before_it() {
    let config = read(&[
        ("LIVEKIT_URL", "ws://h"),
        ("LIVEKIT_API_KEY", "new"),
        ("LIVEKIT_API_SECRET", "secret"),
        ("QUELL_WEBHOOK_KEYS_JSON", r#"{"old": "before"}"#),
    ])
    .unwrap();
    let keys: Vec<_> = config
        .webhook_keys
        .iter()
        .map(|key| key.key.as_str())
        .collect();
    assert_eq!(keys, ["new", "old"]);
}

#[test]
fn no_debug_output_shows_a_secret() {
    let config = read(&[
        ("LIVEKIT_URL", "ws://h"),
        ("LIVEKIT_API_KEY", "key"),
        ("LIVEKIT_API_SECRET", "s3cret"),
        ("DATABASE_URL", "postgres://u:s3cret@h/d"),
        ("AUTH_API_SECRET", "s3cret"),
        ("QUELL_JWT_SECRET", "s3cret"),
    ])
    .unwrap();
    assert!(!format!("{config:?}").contains("s3cret"));
    assert_eq!(config.livekit.unwrap().timeout, Duration::from_secs(5));
}

/// Every value that is set, so that each part of the settings is read to its end.
fn all() -> Environment {
    let names = read::names();
    names.iter().map(|name| (*name, "x")).collect()
}

#[test]
fn what_is_read_does_not_depend_on_what_is_set() {
    let set = all();
    let mut reader = reader::EnvReader::new(&set);
    read::settings(&mut reader);
    assert_eq!(reader.asked, read::names());
}

#[test]
fn every_variable_that_is_read_is_in_the_manual_and_no_other() {
    let manual = include_str!("../../docs/OPERATIONS.md");
    let mut documented = BTreeSet::new();
    for row in manual.lines().filter_map(|line| line.strip_prefix("| `")) {
        let (variables, _) = row.split_once(" | ").unwrap();
        let is_name = |word: &&str| {
            let mut chars = word.chars();
            word.len() > 3 && chars.all(|c| c.is_ascii_uppercase() || c == '_')
        };
        documented.extend(variables.split('`').filter(is_name));
    }
    assert!(
        documented.remove("SUDO_UID"),
        "it is read by the command line"
    );
    assert_eq!(documented, read::names());
}

#[test]
fn the_socket_of_our_own_postgres_is_in_the_first_folder_that_systemd_made() {
    let root = |env: &[(&str, &str)]| read(env).unwrap().database.socket_root;
    assert_eq!(root(&[]), Path::new("/tmp"));
    let made = [("RUNTIME_DIRECTORY", "/run/quell:/run/other")];
    assert_eq!(root(&made), Path::new("/run/quell"));
}

#[test]
fn the_packages_file_names_every_setting_and_shows_its_default() {
    let file = include_str!("../../packaging/debian/quell.env");
    let lines = file.lines().filter_map(|line| line.strip_prefix('#'));
    let settings = lines.filter_map(|line| line.split_once('='));
    let settings = settings.filter(|(name, _)| !name.contains(' '));
    let settings: Vec<_> = settings
        .map(|(name, value)| (name, value.trim_matches('\'')))
        .collect();
    let named: BTreeSet<&str> = settings.iter().map(|(name, _)| *name).collect();
    assert_eq!(named.len(), settings.len(), "one stands there twice");
    let mut wanted = read::names();
    wanted.retain(|name| {
        !name.ends_with("_FILE")
            && !["PATH", "HOME", "RUNTIME_DIRECTORY", "XDG_DATA_HOME"].contains(name)
            // The package is built without traces.
            && !name.starts_with("OTEL_")
    });
    assert_eq!(named, wanted);

    // The unit sets this one.
    let shown = settings
        .into_iter()
        .filter(|(name, _)| *name != "QUELL_PG_DATA");
    let shown: Vec<_> = shown.collect();
    let (mut shown, default) = (read(&shown).unwrap(), read(&[]).unwrap());
    shown.warnings.clear();
    assert_eq!(format!("{shown:?}"), format!("{default:?}"));
}

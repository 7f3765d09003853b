//! Reads and checks each variable, and gathers everything that is wrong before it gives up.

#[cfg(test)]
use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde::Deserialize;
use serde::de::{self, MapAccess, Visitor};
use url::Url;

use super::reader::EnvReader;
use super::{
    ApiKey, Config, DatabaseConfig, Environment, LiveKitConfig, LogFormat, SweepConfig,
    SweepSchedule, WorkerConfig, auth, http, log_filter, names, sweep, traces,
};

/// What is wrong with the settings: one line a variable.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(pub Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings cannot be used:")?;
        for problem in &self.0 {
            write!(f, "\n  - {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Of these, six have one thing to do.
const CONNECTIONS_MIN: u32 = 8;
/// Events are kept for a day at least, and what people decided too: no job may be older.
const DEADLINE_MAX: Duration = Duration::from_hours(12);

/// More than any Postgres does work for at once, and few enough for the machine's own to start.
const CONNECTIONS_MAX: u32 = 1000;

/// With fewer, a room that is read again would wait for longer than LiveKit is waited for.
const CALLS_PER_SECOND: RangeInclusive<u32> = 10..=10_000;

pub(super) fn config(environment: &Environment) -> Result<Config, ConfigError> {
    let mut reader = EnvReader::new(environment);
    let mut config = settings(&mut reader);
    let mut names = names::check(environment, &reader.asked);
    reader.problems.append(&mut names.problems);
    config.warnings = reader.warnings;
    config.warnings.append(&mut names.warnings);
    if reader.problems.is_empty() {
        Ok(config)
    } else {
        Err(ConfigError(reader.problems))
    }
}

/// The names of all settings.
#[cfg(test)]
pub(super) fn names() -> BTreeSet<&'static str> {
    let environment = Environment::default();
    let mut reader = EnvReader::new(&environment);
    settings(&mut reader);
    reader.asked
}

pub(super) fn settings(reader: &mut EnvReader<'_>) -> Config {
    let livekit = livekit(reader);
    let webhook_keys = webhook_keys(reader, livekit.as_ref());
    let config = Config {
        host: reader
            .text("HOST")
            .unwrap_or_else(|| "127.0.0.1".to_owned()),
        port: reader.parsed("PORT", 8080, "a port number from 0 to 65535"),
        http: http::read(reader),
        livekit,
        webhook_keys,
        database: database(reader),
        auth: auth::read(reader),
        worker: WorkerConfig {
            concurrency: reader.parsed("QUELL_WORKERS", 128, "a whole number"),
            deadline: reader.seconds("QUELL_JOB_DEADLINE_SECONDS", 120),
        },
        sweep: SweepConfig {
            schedule: sweep_schedule(reader),
            calls_per_second: reader.parsed("QUELL_SWEEP_CALLS_PER_SECOND", 200, "a whole number"),
        },
        event_retention_days: retention(reader),
        log_filter: log_filter(reader),
        log_format: log_format(reader),
        traces: traces::traces(reader, cfg!(feature = "otlp")),
        warnings: Vec::new(),
    };
    if config.database.connections_max < CONNECTIONS_MIN {
        reader.problems.push(format!(
            "QUELL_DATABASE_CONNECTIONS is less than {CONNECTIONS_MIN}: one connection only listens, one sends \
             heartbeats, and three write"
        ));
    }
    if config.database.connections_max > CONNECTIONS_MAX {
        reader.problems.push(format!(
            "QUELL_DATABASE_CONNECTIONS is {}, but must be at most {CONNECTIONS_MAX}: Postgres has a process for each, \
             and is fastest with a few for each of its processors",
            config.database.connections_max
        ));
    }
    if !CALLS_PER_SECOND.contains(&config.sweep.calls_per_second) {
        reader.problems.push(format!(
            "QUELL_SWEEP_CALLS_PER_SECOND is {}, but must be from {} to {}",
            config.sweep.calls_per_second,
            CALLS_PER_SECOND.start(),
            CALLS_PER_SECOND.end()
        ));
    }
    if config.worker.deadline > DEADLINE_MAX {
        reader.problems.push(
            "QUELL_JOB_DEADLINE_SECONDS is more than 43200 (12 hours): what a job needs to know is not kept for as long"
                .to_owned(),
        );
    }
    config
}

fn livekit(reader: &mut EnvReader<'_>) -> Option<LiveKitConfig> {
    let url = reader.url("LIVEKIT_URL", &["ws", "wss", "http", "https"]);
    let key = reader.exact("LIVEKIT_API_KEY");
    let secret = reader.secret("LIVEKIT_API_SECRET", "LIVEKIT_API_SECRET_FILE");
    let connect_timeout = reader.millis("QUELL_LIVEKIT_CONNECT_TIMEOUT_MS", 1000);
    let timeout = reader.millis("QUELL_LIVEKIT_TIMEOUT_MS", 5000);
    Some(LiveKitConfig {
        url: to_http(&url?)?,
        api_key: ApiKey {
            key: key?,
            secret: secret?,
        },
        connect_timeout,
        timeout,
    })
}

/// `ws://host/prefix/` is `http://host/prefix`: the API is on the signalling port.
fn to_http(url: &Url) -> Option<Url> {
    let scheme = match url.scheme() {
        "ws" | "http" => "http",
        _ => "https",
    };
    // `Url::set_scheme` refuses some changes, so the text is changed.
    let rest = url.as_str().split_once(':')?.1;
    let mut http = Url::parse(&format!("{scheme}:{rest}")).ok()?;
    http.set_query(None);
    http.set_fragment(None);
    let path = http.path().trim_end_matches('/').to_owned();
    http.set_path(&path);
    Some(http)
}

fn webhook_keys(reader: &mut EnvReader<'_>, livekit: Option<&LiveKitConfig>) -> Vec<ApiKey> {
    let mut keys: Vec<ApiKey> = livekit.map(|l| l.api_key.clone()).into_iter().collect();
    let json = reader.secret("QUELL_WEBHOOK_KEYS_JSON", "QUELL_WEBHOOK_KEYS_JSON_FILE");
    let Some(json) = json else {
        return keys;
    };
    match serde_json::from_str::<Pairs>(json.expose_secret()) {
        Ok(Pairs(more)) => {
            for (at, (key, secret)) in more.iter().enumerate() {
                if key.trim().is_empty() || secret.trim().is_empty() {
                    reader.problems.push(
                        "QUELL_WEBHOOK_KEYS_JSON holds an empty key or secret: anybody could sign with it"
                            .to_owned(),
                    );
                }
                if more.iter().take(at).any(|(before, _)| before == key) {
                    reader.problems.push(format!(
                        "QUELL_WEBHOOK_KEYS_JSON holds the key {key:?} twice: leave one of them out"
                    ));
                }
            }
            keys.extend(more.into_iter().map(|(key, secret)| ApiKey {
                key,
                secret: secret.into(),
            }));
        }
        Err(error) => reader.problems.push(format!(
            r#"QUELL_WEBHOOK_KEYS_JSON must be {{"key": "secret", ...}} (line {}, column {})"#,
            error.line(),
            error.column()
        )),
    }
    keys
}

/// The members of a JSON object, also those that stand in it twice.
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfPairs;
        impl<'de> Visitor<'de> for OfPairs {
            type Value = Pairs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(OfPairs)
    }
}

fn database(reader: &mut EnvReader<'_>) -> DatabaseConfig {
    let home = reader.raw("HOME").map(PathBuf::from);
    let data_home = reader
        .raw("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(home?.join(".local/share")));
    // Checked here and used later: a wrong URL is a wrong setting, not a failed connection.
    let mut url = |name, file_name| {
        let url = reader.secret(name, file_name)?;
        let text = url.expose_secret();
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            reader
                .problems
                .push(format!("{name} is not a URL that starts with postgres://"));
        }
        Some(url)
    };
    DatabaseConfig {
        url: url("DATABASE_URL", "DATABASE_URL_FILE"),
        migrate_url: url(
            "QUELL_MIGRATE_DATABASE_URL",
            "QUELL_MIGRATE_DATABASE_URL_FILE",
        ),
        pg_bin: reader.raw("QUELL_PG_BIN").map(PathBuf::from),
        pg_data: reader.raw("QUELL_PG_DATA").map(PathBuf::from),
        data_home,
        // Of several, the first.
        socket_root: reader
            .raw("RUNTIME_DIRECTORY")
            .and_then(|folders| std::env::split_paths(folders).next())
            .unwrap_or_else(|| PathBuf::from("/tmp")),
        search_path: reader
            .raw("PATH")
            .map(|path| std::env::split_paths(path).collect())
            .unwrap_or_default(),
        connections_max: reader.parsed("QUELL_DATABASE_CONNECTIONS", 16, "a whole number"),
        policies_bytes_max: policies_bytes_max(reader),
    }
}

/// What a process reads within 5 s as it starts.
const POLICIES_BYTES_MAX: i64 = 64 << 20;

fn policies_bytes_max(reader: &mut EnvReader<'_>) -> i64 {
    let name = "QUELL_POLICIES_BYTES_MAX";
    let bytes = reader.positive(name).unwrap_or(POLICIES_BYTES_MAX);
    if bytes < 0 {
        reader
            .problems
            .push(format!("{name} is {bytes}, but must be at least 1"));
    }
    bytes
}

/// A hundred years: dates have an end.
const RETENTION_DAYS_MAX: u32 = 36_500;

fn retention(reader: &mut EnvReader<'_>) -> u32 {
    let Some(value) = reader.text("QUELL_EVENT_RETENTION") else {
        return 30;
    };
    let days = value.trim();
    let days = days.strip_suffix('d').unwrap_or(days).parse().unwrap_or(0);
    if days == 0 || days > RETENTION_DAYS_MAX {
        reader.problems.push(format!(
            "QUELL_EVENT_RETENTION is {value:?}, but must be a number of days from 1 to {RETENTION_DAYS_MAX}, such as 30d"
        ));
    }
    days
}

fn sweep_schedule(reader: &mut EnvReader<'_>) -> Option<SweepSchedule> {
    let line = reader.text("QUELL_SWEEP_CRON");
    let line = line.as_deref().unwrap_or(sweep::DEFAULT).trim();
    if line == "off" {
        return None;
    }
    SweepSchedule::parse(line)
        .map_err(|wrong| {
            reader.problems.push(format!(
                "QUELL_SWEEP_CRON is {line:?}, but must be six fields (seconds first), in UTC, such as {:?} for twice \
                 a minute, or off: {wrong}",
                sweep::DEFAULT
            ));
        })
        .ok()
}

fn log_filter(reader: &mut EnvReader<'_>) -> String {
    let Some(text) = reader.text("QUELL_LOG") else {
        return "info".to_owned();
    };
    log_filter::read(&text).unwrap_or_else(|problem| {
        reader.problems.push(problem);
        text
    })
}

fn log_format(reader: &mut EnvReader<'_>) -> LogFormat {
    match reader.text("QUELL_LOG_FORMAT").as_deref() {
        None | Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some(other) => {
            reader.problems.push(format!(
                "QUELL_LOG_FORMAT is {other:?}, but must be text or json"
            ));
            LogFormat::Text
        }
    }
}

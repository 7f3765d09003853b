//! Settings: every environment variable that quell reads, read once, here, into one `Config`.
//!
//! All that is wrong is reported at once, each with its variable and what to put there.
//! Secrets are `SecretString`s, so that no `Debug` output can show one.

mod auth;
mod environment;
mod http;
mod log_filter;
mod names;
mod read;
mod reader;
mod sweep;
mod traces;
mod user;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

pub use environment::Environment;
pub use read::ConfigError;
pub use sweep::SweepSchedule;
pub use traces::TracesConfig;
pub use user::os_user;

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Config {
    /// `HOST`: the address to listen on (default `127.0.0.1`).
    pub host: String,
    /// `PORT`: the port to listen on (default 8080; 0 takes a free one).
    pub port: u16,
    /// What strangers and callers may take.
    pub http: HttpConfig,
    /// `LIVEKIT_URL`, `LIVEKIT_API_KEY`, `LIVEKIT_API_SECRET`; none where one of them is missing.
    pub livekit: Option<LiveKitConfig>,
    /// The keys that may sign webhooks: LiveKit's own and `QUELL_WEBHOOK_KEYS_JSON`.
    pub webhook_keys: Vec<ApiKey>,
    /// Where the data is.
    pub database: DatabaseConfig,
    /// Who may call.
    pub auth: AuthConfig,
    /// How jobs are worked off.
    pub worker: WorkerConfig,
    /// How live rooms are swept.
    pub sweep: SweepConfig,
    /// `QUELL_EVENT_RETENTION`, in days (default `30d`).
    pub event_retention_days: u32,
    /// `QUELL_LOG`: a tracing filter (default `info`).
    pub log_filter: String,
    /// `QUELL_LOG_FORMAT`: `text` (default) or `json`.
    pub log_format: LogFormat,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` and its like: where spans are sent; none without.
    pub traces: Option<TracesConfig>,
    /// What may be a mistake, and is used as it is.
    pub warnings: Vec<String>,
}

const LIVEKIT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// What strangers and callers may take.
#[derive(Debug, Clone, Copy)]
pub struct HttpConfig {
    /// `QUELL_HTTP_CONNECTIONS`: connections that may be open; none: 1000, or as many as open files allow.
    pub connections_max: Option<usize>,
    /// `QUELL_HTTP_CONNECTIONS_PER_PEER`: of them, those of one address; none: all.
    pub connections_per_peer_max: Option<usize>,
    /// `QUELL_METRICS_LISTEN`: where `/metrics` is, if not with everything else.
    pub metrics_listen: Option<SocketAddr>,
    /// `QUELL_CALLER_MUTES_PER_SECOND`: requests of one caller to the mute endpoint (default 100).
    pub mutes_per_second: u32,
    /// `QUELL_CALLER_REQUESTS_PER_SECOND`: requests of one caller to `/v1` (default 50).
    pub requests_per_second: u32,
    /// `QUELL_DRAIN_DELAY_SECONDS`: how long it serves on, and is not ready, once it is told to stop (default 0).
    pub drain_delay: Duration,
}

/// One LiveKit API key and its secret.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// The public half, a token's `iss`.
    pub key: String,
    /// What tokens are signed with.
    pub secret: SecretString,
}

/// How to reach LiveKit's `RoomService`.
#[derive(Debug, Clone)]
pub struct LiveKitConfig {
    /// `LIVEKIT_URL`, as `http` or `https`, with its path prefix and no trailing slash in it.
    pub url: Url,
    /// `LIVEKIT_API_KEY` and `LIVEKIT_API_SECRET`.
    pub api_key: ApiKey,
    /// `QUELL_LIVEKIT_CONNECT_TIMEOUT_MS` (default 1000).
    pub connect_timeout: Duration,
    /// `QUELL_LIVEKIT_TIMEOUT_MS`: all that one action may wait for LiveKit (default 5000).
    pub timeout: Duration,
}

/// Where the data is.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// `DATABASE_URL`; without it quell starts the machine's own Postgres.
    pub url: Option<SecretString>,
    /// `QUELL_MIGRATE_DATABASE_URL`: the owner's; `DATABASE_URL` unless set.
    pub migrate_url: Option<SecretString>,
    /// `QUELL_PG_BIN`: the folder of `postgres` and `initdb`.
    pub pg_bin: Option<PathBuf>,
    /// `QUELL_PG_DATA`: the data folder of the machine's own Postgres.
    pub pg_data: Option<PathBuf>,
    /// `XDG_DATA_HOME`, or `HOME` and `.local/share`: where that folder is by default.
    pub data_home: Option<PathBuf>,
    /// `RUNTIME_DIRECTORY`, which systemd sets, or `/tmp`: where the folder of its socket is made.
    pub socket_root: PathBuf,
    /// `PATH`: where Postgres's programs are looked for.
    pub search_path: Vec<PathBuf>,
    /// `QUELL_DATABASE_CONNECTIONS`: the pool's size (default 16).
    pub connections_max: u32,
    /// `QUELL_POLICIES_BYTES_MAX`: the bytes of all owners' policies together (default 64 MiB).
    pub policies_bytes_max: i64,
}

/// Who may call, and how it is checked.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// `AUTH_REQUIRED` (default true): a request without a token is refused.
    pub required: bool,
    /// `QUELL_ALLOW_NO_ID` (default false): the auth service's 200 without an id is a caller.
    pub allow_no_id: bool,
    /// `QUELL_OPERATOR_IDS`, separated by commas.
    pub operator_ids: BTreeSet<String>,
    /// `AUTH_API_SECRETS_JSON`, and `AUTH_API_SECRET` with `AUTH_API_SECRET_ID`.
    pub api_secrets: Vec<ApiSecret>,
    /// The `QUELL_JWT_*` settings; none where no key is set.
    pub jwt: Option<JwtConfig>,
    /// `AUTH_SERVICE_URL` and what belongs to it.
    pub service: Option<AuthServiceConfig>,
}

/// One caller's API secret. A blank id is kept, so that its use is refused and not overlooked.
#[derive(Debug, Clone)]
pub struct ApiSecret {
    /// The caller's id.
    pub id: String,
    /// What the caller sends as its token.
    pub secret: SecretString,
}

/// How JWTs of callers are checked.
#[derive(Debug, Clone)]
pub struct JwtConfig {
    /// Where the keys come from; every key pins its own algorithm.
    pub keys: Vec<JwtKeySource>,
    /// `QUELL_JWT_ISSUER`: what `iss` must be, where set.
    pub issuer: Option<String>,
    /// `QUELL_JWT_AUDIENCE`: what `aud` must hold, where set.
    pub audience: Option<String>,
    /// `QUELL_JWT_ID_CLAIM`: the claim that holds the caller's id (default `sub`).
    pub id_claim: String,
    /// `QUELL_JWT_ACTOR_CLAIM`: the claim that names the person for whom the token is used.
    pub actor_claim: Option<String>,
}

/// One place that keys for JWTs come from.
#[derive(Debug, Clone)]
pub enum JwtKeySource {
    /// `QUELL_JWT_SECRET`: HS256.
    Secret(SecretString),
    /// `QUELL_JWT_PUBLIC_KEY_PATH`: RS256, ES256 or `EdDSA`, as the PEM says.
    PemFile(PathBuf),
    /// `QUELL_JWT_JWKS_PATH`: a JWKS file.
    JwksFile(PathBuf),
    /// `QUELL_JWT_JWKS_URL`: a JWKS over HTTP(S), cached.
    JwksUrl(Url),
}

/// The delegated auth service.
#[derive(Debug, Clone)]
pub struct AuthServiceConfig {
    /// `AUTH_SERVICE_URL`.
    pub url: Url,
    /// `AUTH_SIGNING_KEY_PATH`: the private key (RSA or EC, PEM) that signs our requests to it.
    pub signing_key_path: PathBuf,
    /// `AUTH_TIMEOUT_SECONDS` (default 5).
    pub timeout: Duration,
    /// `QUELL_AUTH_CACHE_SECONDS`: how long its answers are kept; none: not at all.
    pub cache: Option<Duration>,
}

/// How jobs are worked off.
#[derive(Debug, Clone, Copy)]
pub struct WorkerConfig {
    /// `QUELL_WORKERS`: jobs under way at once in this process (default 128; 0 only stores).
    pub concurrency: u32,
    /// `QUELL_JOB_DEADLINE_SECONDS`: how long a job is tried for (default 120).
    pub deadline: Duration,
}

/// How live rooms are swept.
#[derive(Debug, Clone)]
pub struct SweepConfig {
    /// `QUELL_SWEEP_CRON`: when all rooms are swept (default every 30 s); none (`off`): this process sweeps nothing
    /// by itself.
    pub schedule: Option<SweepSchedule>,
    /// `QUELL_SWEEP_CALLS_PER_SECOND`: the lists that LiveKit is asked for (default 200).
    pub calls_per_second: u32,
}

impl Config {
    /// Reads an environment: the process's own is `Environment::of_process()`.
    pub fn from_environment(environment: &Environment) -> Result<Self, ConfigError> {
        read::config(environment)
    }

    /// All that one action may wait for LiveKit.
    #[must_use]
    pub fn livekit_timeout(&self) -> Duration {
        let livekit = self.livekit.as_ref();
        livekit.map_or(LIVEKIT_TIMEOUT_DEFAULT, |livekit| livekit.timeout)
    }
}

#[cfg(test)]
mod tests;

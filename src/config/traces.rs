//! Where traces go, by OpenTelemetry's own variables. What cannot be used is a warning, and no traces are sent: they may be
//! set for all programs of a machine, and quell works without.

use std::time::Duration;

use axum::http::{HeaderName, Uri};
use secrecy::SecretString;

use super::reader::EnvReader;

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// What the SDK knows. Of another, it would keep every trace.
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

/// What the SDK alone reads, and takes whatever it is.
const OF_SDK: [&str; 2] = ["OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME"];

/// Where traces go. The SDK reads headers, sampler and batches by itself.
#[derive(Debug, Clone)]
pub struct TracesConfig {
    /// The URL to which spans are sent; its query may hold a key.
    pub endpoint: SecretString,
    /// How long sending may take.
    pub timeout: Duration,
}

/// A variable's name and value, where it is set.
type Set = Option<(&'static str, String)>;

/// All that is looked at, here and by the SDK.
struct Settings {
    is_off: bool,
    exporter: Set,
    endpoint_of_traces: Set,
    endpoint_of_all: Set,
    protocol: Set,
    compression: Set,
    headers: Set,
    timeout: Set,
    batches: [Set; 3],
    sampler: Set,
    ratio: Set,
}

/// Where to send traces; none where none are sent. `is_built_in`: whether this program can send any.
pub(super) fn traces(reader: &mut EnvReader<'_>, is_built_in: bool) -> Option<TracesConfig> {
    let config = Settings::read(reader).check(is_built_in);
    config.unwrap_or_else(|why| {
        reader.warnings.push(format!("no traces are sent: {why}"));
        None
    })
}

impl Settings {
    fn read(reader: &mut EnvReader<'_>) -> Self {
        for name in OF_SDK {
            reader.raw(name);
        }
        let mut get = |name| reader.text(name).map(|value| (name, value));
        let is_off =
            get("OTEL_SDK_DISABLED").is_some_and(|(_, value)| value.eq_ignore_ascii_case("true"));
        // Both are asked for, so that both are known as settings.
        let mut either = |of_traces, of_all| {
            let (of_traces, of_all) = (get(of_traces), get(of_all));
            of_traces.or(of_all)
        };
        Self {
            is_off,
            protocol: either(
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
                "OTEL_EXPORTER_OTLP_PROTOCOL",
            ),
            compression: either(
                "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
                "OTEL_EXPORTER_OTLP_COMPRESSION",
            ),
            headers: either(
                "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
                "OTEL_EXPORTER_OTLP_HEADERS",
            ),
            timeout: either(
                "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
                "OTEL_EXPORTER_OTLP_TIMEOUT",
            ),
            exporter: get("OTEL_TRACES_EXPORTER"),
            endpoint_of_traces: get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
            endpoint_of_all: get("OTEL_EXPORTER_OTLP_ENDPOINT"),
            batches: [
                "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
                "OTEL_BSP_MAX_QUEUE_SIZE",
                "OTEL_BSP_SCHEDULE_DELAY",
            ]
            .map(&mut get),
            sampler: get("OTEL_TRACES_SAMPLER"),
            ratio: get("OTEL_TRACES_SAMPLER_ARG"),
        }
    }

    fn check(self, is_built_in: bool) -> Result<Option<TracesConfig>, String> {
        let is_none = matches!(&self.exporter, Some((_, exporter)) if exporter == "none");
        let of_all = self
            .endpoint_of_all
            .map(|(name, base)| (name, format!("{}/v1/traces", base.trim_end_matches('/'))));
        let Some((name, endpoint)) = self.endpoint_of_traces.or(of_all) else {
            return Ok(None);
        };
        if self.is_off || is_none {
            return Ok(None);
        }
        if !is_built_in {
            return Err(format!(
                "{name} is set, but this quell was built without the feature otlp"
            ));
        }
        one_of(&self.exporter, &["otlp", "none"])?;
        one_of(&self.protocol, &["http/protobuf"])?;
        one_of(&self.compression, &["none"])?;
        one_of(&self.sampler, &SAMPLERS)?;
        if let Some((name, value)) = &self.ratio {
            let ratio = value.parse::<f64>();
            if !ratio.is_ok_and(|ratio| (0.0..=1.0).contains(&ratio)) {
                return Err(format!("{name} is {value:?}, but must be from 0 to 1"));
            }
        }
        for number in &self.batches {
            positive(number)?;
        }
        // Its value is a secret.
        if let Some((name, value)) = &self.headers
            && !value.split_terminator(',').all(is_header)
        {
            return Err(format!("{name} is not of the form name=value,name=value"));
        }
        // The URL may hold a secret, so it is not shown.
        let uri = endpoint.parse::<Uri>().ok();
        let scheme = uri.as_ref().and_then(Uri::scheme_str);
        if !scheme.is_some_and(|scheme| ["http", "https"].contains(&scheme)) {
            return Err(format!(
                "{name} is not a URL that starts with http:// or https://"
            ));
        }
        Ok(Some(TracesConfig {
            endpoint: endpoint.into(),
            timeout: positive(&self.timeout)?.map_or(TIMEOUT_DEFAULT, Duration::from_millis),
        }))
    }
}

fn one_of(set: &Set, known: &[&str]) -> Result<(), String> {
    match set {
        Some((name, value)) if !known.contains(&value.as_str()) => Err(format!(
            "{name} is {value:?}, but must be {}",
            known.join(" or ")
        )),
        Some(_) | None => Ok(()),
    }
}

fn positive(set: &Set) -> Result<Option<u64>, String> {
    let Some((name, value)) = set else {
        return Ok(None);
    };
    match value.parse() {
        Ok(number) if number > 0 => Ok(Some(number)),
        Ok(_) | Err(_) => Err(format!(
            "{name} is {value:?}, but must be a whole number of at least 1"
        )),
    }
}

fn is_header(pair: &str) -> bool {
    let name = pair.split_once('=').map(|(name, _)| name.trim());
    name.is_some_and(|name| HeaderName::try_from(name).is_ok())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::config::Environment;

    const ALL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const OF_TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

    /// The endpoint and the timeout, or what is warned of.
    fn read(is_built_in: bool, env: &[(&str, &str)]) -> Result<Option<(String, u128)>, String> {
        let environment: Environment = env.iter().copied().collect();
        let mut reader = EnvReader::new(&environment);
        let config = traces(&mut reader, is_built_in);
        assert!(reader.problems.is_empty(), "{:?}", reader.problems);
        match reader.warnings.pop() {
            Some(warning) => Err(warning),
            None => Ok(config.map(|config| {
                let endpoint = config.endpoint.expose_secret().to_owned();
                (endpoint, config.timeout.as_millis())
            })),
        }
    }

    #[test]
    fn the_endpoint_is_found_as_opentelemetry_has_it() {
        let check = |env: &[(&str, &str)], want: Option<&str>| {
            let got = read(true, env).map(|config| config.map(|(endpoint, _)| endpoint));
            assert_eq!(got, Ok(want.map(str::to_owned)), "{env:?}");
        };
        let all = (ALL, "http://collector:4318");
        let traces = (OF_TRACES, "https://collector/of/traces?key=1");
        check(&[], None);
        check(&[all], Some("http://collector:4318/v1/traces"));
        check(
            &[(ALL, "http://collector/otlp/")],
            Some("http://collector/otlp/v1/traces"),
        );
        check(&[all, traces], Some(traces.1));
        check(&[all, ("OTEL_SDK_DISABLED", "TRUE")], None);
        check(&[all, ("OTEL_TRACES_EXPORTER", "none")], None);
        let usual = [
            all,
            ("OTEL_TRACES_EXPORTER", "otlp"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "authorization=Basic%20abc=,x-a=b",
            ),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.1"),
        ];
        check(&usual, Some("http://collector:4318/v1/traces"));
    }

    #[test]
    fn sending_may_take_ten_seconds_or_what_is_set() {
        let check = |env: &[(&str, &str)], want| {
            let config = [&[(ALL, "http://collector:4318")][..], env].concat();
            let got = read(true, &config).map(|config| config.map(|(_, timeout)| timeout));
            assert_eq!(got, Ok(Some(want)), "{env:?}");
        };
        let all = ("OTEL_EXPORTER_OTLP_TIMEOUT", "200");
        check(&[], 10_000);
        check(&[all], 200);
        check(&[all, ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "30")], 30);
    }

    #[test]
    fn what_cannot_be_used_is_a_warning_without_secrets() {
        let url = (ALL, "http://me:hunter2@collector:4318");
        let check = |is_built_in, env: &[(&str, &str)], want: &str| {
            let warning = read(is_built_in, env).unwrap_err();
            let is_told = warning.starts_with("no traces are sent: ") && warning.contains(want);
            assert!(is_told && !warning.contains("hunter2"), "{warning}");
        };
        let missing =
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but this quell was built without the feature otlp";
        check(false, &[url], missing);
        assert_eq!(read(false, &[]), Ok(None));
        let no_url = "OTEL_EXPORTER_OTLP_ENDPOINT is not a URL that starts with http://";
        check(true, &[(ALL, "collector:hunter2")], no_url);
        check(true, &[(ALL, "hunter2")], no_url);
        for (name, value, want) in [
            (
                "OTEL_EXPORTER_OTLP_PROTOCOL",
                "grpc",
                "must be http/protobuf",
            ),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip", "must be none"),
            ("OTEL_TRACES_EXPORTER", "zipkin", "must be otlp or none"),
            ("OTEL_TRACES_SAMPLER", "ratio", "must be always_on or "),
            ("OTEL_TRACES_SAMPLER_ARG", "10%", "must be from 0 to 1"),
            ("OTEL_TRACES_SAMPLER_ARG", "1.5", "must be from 0 to 1"),
            ("OTEL_BSP_SCHEDULE_DELAY", "5s", "must be a whole number"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "must be a whole number"),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "hunter2",
                "is not of the form",
            ),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "a b=hunter2",
                "is not of the form",
            ),
        ] {
            check(true, &[url, (name, value)], name);
            check(true, &[url, (name, value)], want);
        }
    }
}

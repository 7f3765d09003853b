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

const OF_BATCHES: [&str; 3] = [
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
];

/// Where traces go. The SDK reads headers, sampler and batches by itself.
#[derive(Debug, Clone)]
pub struct TracesConfig {
    /// The URL to which spans are sent; its query may hold a key.
    pub endpoint: SecretString,
    /// How long sending may take.
    pub timeout: Duration,
}

/// Where to send traces; none where none are sent. `is_built_in`: whether this program can send any.
pub(super) fn traces(reader: &mut EnvReader<'_>, is_built_in: bool) -> Option<TracesConfig> {
    // What are problems of other settings are warnings of these.
    let mut own = EnvReader::new(reader.environment);
    let config = read(&mut own, is_built_in);
    reader.asked.append(&mut own.asked);
    match own.problems.into_iter().next() {
        Some(why) if config.is_wanted => {
            reader.warnings.push(format!("no traces are sent: {why}"));
            None
        }
        Some(_) | None => config.traces,
    }
}

struct Read {
    /// Somebody wants traces, whether they can be sent or not.
    is_wanted: bool,
    traces: Option<TracesConfig>,
}

fn read(own: &mut EnvReader<'_>, is_built_in: bool) -> Read {
    for name in OF_SDK {
        own.raw(name);
    }
    let named = chosen(
        own,
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    );
    let is_named = own.raw(named).is_some();
    if is_named && !is_built_in {
        own.problems.push(format!(
            "{named} is set, but this quell was built without the feature otlp"
        ));
    }
    let endpoint = own.text(named).map(|url| match named {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => format!("{}/v1/traces", url.trim_end_matches('/')),
        _ => url,
    });
    // The URL may hold a secret, so it is not shown.
    let uri = endpoint.as_ref().map(|url| url.parse::<Uri>());
    let is_http = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
    if uri.is_some_and(|uri| !uri.is_ok_and(|uri| is_http(&uri))) {
        own.problems.push(format!(
            "{named} is not a URL that starts with http:// or https://"
        ));
    }
    let is_off = own
        .text("OTEL_SDK_DISABLED")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let exporter = one_of(own, "OTEL_TRACES_EXPORTER", &["otlp", "none"]);
    let is_none = exporter.is_some_and(|exporter| exporter == "none");
    let protocol = chosen(
        own,
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
    );
    one_of(own, protocol, &["http/protobuf"]);
    let compression = chosen(
        own,
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
        "OTEL_EXPORTER_OTLP_COMPRESSION",
    );
    one_of(own, compression, &["none"]);
    one_of(own, "OTEL_TRACES_SAMPLER", &SAMPLERS);
    let argument = "OTEL_TRACES_SAMPLER_ARG";
    let ratio: Option<f64> = own.optional(argument, "from 0 to 1");
    if ratio.is_some_and(|ratio| !(0.0..=1.0).contains(&ratio)) {
        let problem = format!("{argument} must be from 0 to 1");
        own.problems.push(problem);
    }
    for name in OF_BATCHES {
        own.positive::<u64>(name);
    }
    let headers = chosen(
        own,
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "OTEL_EXPORTER_OTLP_HEADERS",
    );
    // Their values are secrets.
    let of_headers = own.text(headers);
    if of_headers.is_some_and(|pairs| !pairs.split_terminator(',').all(is_header)) {
        own.problems.push(format!(
            "{headers} is not of the form name=value,name=value"
        ));
    }
    let timeout = chosen(
        own,
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
    );
    let timeout = own.positive(timeout).map(Duration::from_millis);
    let is_wanted = is_named && !is_off && !is_none;
    Read {
        is_wanted,
        traces: endpoint.filter(|_| is_wanted).map(|endpoint| TracesConfig {
            endpoint: endpoint.into(),
            timeout: timeout.unwrap_or(TIMEOUT_DEFAULT),
        }),
    }
}

/// The name of the variable that counts; both are asked for, so that both are known as settings.
fn chosen(own: &mut EnvReader<'_>, of_traces: &'static str, of_all: &'static str) -> &'static str {
    own.raw(of_all);
    match own.raw(of_traces) {
        Some(_) => of_traces,
        None => of_all,
    }
}

fn one_of(own: &mut EnvReader<'_>, name: &'static str, known: &[&str]) -> Option<String> {
    let value = own.text(name)?;
    if !known.contains(&value.as_str()) {
        own.problems.push(format!(
            "{name} is {value:?}, but must be {}",
            known.join(" or ")
        ));
    }
    Some(value)
}

fn is_header(pair: &str) -> bool {
    let name = pair.split_once('=').map(|(name, _)| name.trim());
    name.is_some_and(|name| HeaderName::try_from(name).is_ok())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;

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
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "must be at least 1"),
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

    #[test]
    fn what_is_no_text_stops_nothing() {
        for name in [ALL, "OTEL_TRACES_SAMPLER"] {
            let set = [
                (ALL, "http://collector".into()),
                (name, OsString::from_vec(vec![0xff])),
            ];
            let environment: Environment = set.into_iter().collect();
            let mut reader = EnvReader::new(&environment);
            assert!(traces(&mut reader, true).is_none());
            assert!(reader.problems.is_empty());
            let want = format!("no traces are sent: {name} is not UTF-8");
            assert_eq!(reader.warnings, [want]);
        }
    }
}

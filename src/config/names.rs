//! Finds variables that look like settings and are none, so that a misspelt setting is not ignored in silence.

use std::collections::BTreeSet;

use super::Environment;
use quell_policy::problem::did_you_mean;

/// Where a debug build ends by itself.
pub(super) const FAIL_POINT: &str = "QUELL_FAIL_POINT";
/// Variables of the project's own scripts, tests and examples, which may be set beside the settings.
const OF_SCRIPTS: [&str; 7] = [
    "QUELL_BIN",
    FAIL_POINT,
    "QUELL_TEST_DATABASE_URL",
    "QUELL_THROWAWAY",
    "QUELL_TOKEN",
    "QUELL_TOOLS_DIR",
    "QUELL_URL",
];
/// Auth.js's, which may stand in one file of settings with ours.
const OF_OTHERS: [&str; 2] = ["AUTH_SECRET", "AUTH_URL"];
pub(super) const FAMILIES: [&str; 3] = ["QUELL_", "AUTH_", "LIVEKIT_"];
/// Shorter names are near to too many others.
const NEAR_LEN_MIN: usize = 8;

/// What is wrong with the names in an environment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// Surely a mistake.
    pub(super) problems: Vec<String>,
    /// Perhaps one, perhaps another program's.
    pub(super) warnings: Vec<String>,
}

/// Checks all names that are set; `known` are the settings.
pub(super) fn check(environment: &Environment, known: &BTreeSet<&'static str>) -> Names {
    let mut names = Names::default();
    for name in environment.names() {
        let is_ours = known.contains(name) || OF_SCRIPTS.contains(&name);
        if is_ours || is_service_link(environment, name) {
            continue;
        }
        let upper = name.to_ascii_uppercase();
        let family = FAMILIES.iter().find(|family| upper.starts_with(**family));
        match (family.copied(), meant(&upper, family, known)) {
            (Some("QUELL_"), Some(meant)) => {
                names.problems.push(format!("{name} is no setting: {meant} was probably meant"));
            }
            (Some("QUELL_"), None) => names.problems.push(format!(
                "{name} is no setting: take it away, or see docs/OPERATIONS.md for what there is"
            )),
            (Some("AUTH_"), Some(meant)) => names.problems.push(format!(
                "{name} is no setting: {meant} was probably meant; if it is another program's, keep it from quell"
            )),
            (Some("AUTH_"), None) => names.warnings.push(format!(
                "{name} is no setting, and is not looked at: it may be another program's"
            )),
            (_, Some(meant)) if !environment.is_set(meant) => names.warnings.push(format!(
                "{name} is no setting, and {meant}, which is one, is not set: was that meant?"
            )),
            (_, _) => {}
        }
    }
    names
}

/// The setting that a name was probably meant for.
fn meant(
    upper: &str,
    family: Option<&&str>,
    known: &BTreeSet<&'static str>,
) -> Option<&'static str> {
    if OF_OTHERS.contains(&upper) {
        return None;
    }
    let Some(family) = family else {
        return known.iter().copied().find(|setting| {
            setting.len() >= NEAR_LEN_MIN && strsim::damerau_levenshtein(upper, setting) <= 1
        });
    };
    let stem = upper.strip_prefix(family).unwrap_or(upper);
    // Other families have names that other programs have, too: AUTH_HOST may be anybody's.
    let others: &[&str] = if *family == "QUELL_" {
        &["", "AUTH_", "LIVEKIT_"]
    } else {
        &["QUELL_"]
    };
    let same = known.iter().copied().find(|setting| {
        // In lower case, or in another family: QUELL_PORT, AUTH_OPERATOR_IDS.
        let is_of = |other: &&str| setting.strip_prefix(*other) == Some(stem);
        *setting == upper || others.iter().any(is_of)
    });
    // With a word too many: QUELL_LOG_LEVEL.
    let longest = known.iter().copied().filter(|setting| {
        let more = upper.strip_prefix(setting);
        more.is_some_and(|more| more.starts_with('_') && setting.starts_with(family))
    });
    let longer = longest.max_by_key(|setting| setting.len());
    let near = || {
        // Compared without what all of them begin with, which would make all of them near.
        let stems: Vec<&str> = known
            .iter()
            .filter_map(|it| it.strip_prefix(family))
            .collect();
        let near = did_you_mean(stem, &stems)?;
        let is_it = |setting: &&str| setting.strip_prefix(family) == Some(near);
        known.iter().copied().find(is_it)
    };
    same.or_else(near).or(longer)
}

/// Kubernetes tells every container of the services beside it: of a service `quell` by
/// `QUELL_SERVICE_HOST`, `QUELL_SERVICE_PORT_HTTP`, `QUELL_PORT=tcp://...`, `QUELL_PORT_8080_TCP_ADDR`.
fn is_service_link(environment: &Environment, name: &str) -> bool {
    let is_address = || {
        let value = environment.get(name).and_then(|value| value.to_str());
        let schemes = ["tcp://", "udp://", "sctp://"];
        value.is_some_and(|value| schemes.iter().any(|scheme| value.starts_with(scheme)))
    };
    let of_port = name.rsplit_once("_PORT_").is_some_and(|(_, port)| {
        let mut words = port.split('_');
        let number = words.next().unwrap_or_default();
        let protocol = words.next().unwrap_or_default();
        number.parse::<u16>().is_ok() && ["TCP", "UDP", "SCTP"].contains(&protocol)
    });
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || of_port
        || (name.ends_with("_PORT") && is_address())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::read;
    use super::*;

    /// What is said of one variable, beside LiveKit's, which are set.
    fn said(name: &str, value: &str) -> (Vec<String>, Vec<String>) {
        let set = [("LIVEKIT_URL", "ws://h"), (name, value)];
        let environment: Environment = set.into_iter().collect();
        let names = check(&environment, &read::names());
        (names.problems, names.warnings)
    }

    #[test]
    fn a_name_that_is_near_to_a_setting_is_refused_with_the_one_that_was_meant() {
        for (name, meant) in [
            ("QUELL_OPERATOR_ID", "QUELL_OPERATOR_IDS"),
            ("QUELL_OPERATORS_IDS", "QUELL_OPERATOR_IDS"),
            ("QUELL_WORKER", "QUELL_WORKERS"),
            ("QUELL_LOG_FROMAT", "QUELL_LOG_FORMAT"),
            ("QUELL_LOGS", "QUELL_LOG"),
            ("QUELL_JWKS_URL", "QUELL_JWT_JWKS_URL"),
            ("QUELL_JOB_DEADLINE", "QUELL_JOB_DEADLINE_SECONDS"),
            ("quell_log", "QUELL_LOG"),
            ("QUELL_PORT", "PORT"),
            ("QUELL_HOST", "HOST"),
            ("QUELL_DATABASE_URL", "DATABASE_URL"),
            ("QUELL_LIVEKIT_URL", "LIVEKIT_URL"),
            ("QUELL_REQUIRED", "AUTH_REQUIRED"),
            ("AUTH_OPERATOR_IDS", "QUELL_OPERATOR_IDS"),
            ("QUELL_LOG_LEVEL", "QUELL_LOG"),
            ("QUELL_WORKERS_MAX", "QUELL_WORKERS"),
            ("AUTH_API_SECRETS_FILE", "AUTH_API_SECRET_FILE"),
            ("AUTH_REQUIERD", "AUTH_REQUIRED"),
            ("AUTH_API_SECRETS", "AUTH_API_SECRET"),
            ("AUTH_SECRETS_JSON", "AUTH_API_SECRETS_JSON"),
            ("AUTH_TIMEOUT", "AUTH_TIMEOUT_SECONDS"),
            ("AUTH_SERVICE_URI", "AUTH_SERVICE_URL"),
            ("auth_required", "AUTH_REQUIRED"),
        ] {
            let (problems, warnings) = said(name, "1");
            assert_eq!((problems.len(), warnings.len()), (1, 0), "{name}");
            let expect = format!("{name} is no setting: {meant} was");
            assert!(problems[0].starts_with(&expect), "{}", problems[0]);
        }
    }

    #[test]
    fn ours_that_are_near_to_nothing_are_refused_and_others_names_are_told() {
        for name in ["QUELL_TELEPHONE", "QUELL_FOO", "QUELL_X"] {
            let (problems, _) = said(name, "1");
            assert!(problems[0].contains("take it away"), "{problems:?}");
        }
        for (name, part) in [
            ("AUTH_TOKEN", "AUTH_TOKEN is no setting"),
            ("AUTH_TRUST_HOST", "AUTH_TRUST_HOST is no setting"),
            ("AUTH_SECRET", "AUTH_SECRET is no setting"),
            ("AUTH_URL", "AUTH_URL is no setting"),
            ("AUTH_HOST", "AUTH_HOST is no setting"),
            ("AUTH_PORT", "AUTH_PORT is no setting"),
            ("AUTH_DATABASE_URL", "AUTH_DATABASE_URL is no setting"),
            (
                "LIVEKIT_API_KEYS",
                "LIVEKIT_API_KEY, which is one, is not set",
            ),
            (
                "LIVEKIT_SECRET",
                "LIVEKIT_API_SECRET, which is one, is not set",
            ),
            ("DATABASE_URI", "DATABASE_URL, which is one, is not set"),
            ("database_url", "DATABASE_URL, which is one, is not set"),
            ("QUEL_LOG", "QUELL_LOG, which is one, is not set"),
        ] {
            let (problems, warnings) = said(name, "1");
            assert_eq!(problems, [""; 0], "{name}");
            assert!(warnings[0].contains(part), "{warnings:?}");
        }
    }

    #[test]
    fn nothing_is_said_of_what_is_no_setting_by_right() {
        for (name, value) in [
            ("QUELL_TOOLS_DIR", "/tools"),
            ("QUELL_BIN", "target/release/quell"),
            ("QUELL_OPERATOR_ID", " "),
            ("QUELL_SERVICE_HOST", "10.0.0.1"),
            ("QUELL_SERVICE_PORT", "8080"),
            ("QUELL_SERVICE_PORT_HTTP", "8080"),
            ("QUELL_PORT", "tcp://10.0.0.1:8080"),
            ("QUELL_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("QUELL_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("QUELL_POSTGRES_PORT_5432_TCP_PROTO", "tcp"),
            ("AUTH_SERVICE_HOST", "10.0.0.2"),
            ("AUTH_PORT", "tcp://10.0.0.2:80"),
            ("LIVEKIT_HOST", "livekit.example.com"),
            ("LIVEKIT_CONFIG", "..."),
            ("HOSTNAME", "box"),
            ("PATHEXT", "x"),
            ("OAUTH_TOKEN", "x"),
        ] {
            assert_eq!(said(name, value), (vec![], vec![]), "{name}={value}");
        }
    }

    #[test]
    fn what_our_scripts_set_is_known() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = vec![root.join("Makefile")];
        let mut folders = vec![
            root.join("scripts"),
            root.join("tests/e2e"),
            root.join("benches"),
        ];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push(path);
                }
            }
        }
        let mut named = BTreeSet::new();
        for file in files {
            let Ok(text) = std::fs::read_to_string(file) else {
                continue;
            };
            let is_of_name = |c: char| c.is_ascii_uppercase() || c == '_';
            let words = text.split(|c| !is_of_name(c));
            named.extend(
                words
                    .filter(|word| word.starts_with("QUELL_") && word.len() > 6)
                    .map(str::to_owned),
            );
        }
        let known = read::names();
        named.retain(|name| !known.contains(name.as_str()) && name != "QUELL_TEST_DATABASE_URL");
        let mut documented: BTreeSet<&str> = OF_SCRIPTS.into();
        // The tests that are written in Rust set them.
        for name in ["QUELL_TEST_DATABASE_URL", FAIL_POINT] {
            documented.remove(name);
        }
        let named: BTreeSet<&str> = named.iter().map(String::as_str).collect();
        assert_eq!(named, documented);
        let manual = include_str!("../../docs/OPERATIONS.md");
        for name in OF_SCRIPTS {
            assert!(manual.contains(&format!("`{name}`")), "{name}");
        }
    }
}

//! `QUELL_LOG`: a level, and more or less of some parts.
//!
//! tracing takes any word that is no level for a part of the program, and is silent then about
//! everything else. Such words are refused, and so is a filter that does not say how much quell as a
//! whole is to tell.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use quell_policy::problem::did_you_mean;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// What others call levels, and what to put.
const OF_OTHERS: [(&str, &str); 15] = [
    ("verbose", "debug or trace"),
    ("fine", "debug"),
    ("all", "trace"),
    ("warning", "warn"),
    ("err", "error"),
    ("fatal", "error"),
    ("critical", "error"),
    ("information", "info"),
    ("notice", "info"),
    ("on", "info"),
    ("true", "info"),
    ("false", "off"),
    ("none", "off"),
    ("quiet", "off or error"),
    ("silent", "off or error"),
];
/// quell's own parts: a target is `quell::inbox`, or something in it.
const PARTS: [&str; 20] = [
    "access",
    "action",
    "audit",
    "backtest",
    "cli",
    "config",
    "draft",
    "explain",
    "http",
    "inbox",
    "ledger",
    "livekit",
    "metrics",
    "pipeline",
    "plan",
    "policy_store",
    "postgres",
    "rooms",
    "server",
    "sweep",
];
/// Libraries in quell, most of which log.
const LIBRARIES: [&str; 13] = [
    "axum",
    "hyper",
    "hyper_util",
    "livekit_api",
    "livekit_double",
    "reqwest",
    "rustls",
    "rustls_platform_verifier",
    "sqlx",
    "sqlx_core",
    "sqlx_postgres",
    "tokio",
    "tower",
];
const SUCH_AS: &str = "such as info, or info,quell::inbox=debug";

/// `text` as tracing reads it; else what is wrong with it, and what to put.
pub(super) fn read(text: &str) -> Result<String, String> {
    let wrong = |what: String| format!("QUELL_LOG is {text:?}, {what}");
    let directives: Vec<&str> = text.split(',').map(str::trim).collect();
    let mut tells_of_all = false;
    for directive in directives.iter().filter(|directive| !directive.is_empty()) {
        let (target, level) = parts(directive);
        if let Some(level) = level.filter(|level| !is_level(level)) {
            let meant = or_such_as(of_levels(level));
            return Err(wrong(format!("but {level:?} is no level: {meant}")));
        }
        if level.is_none() && is_level(target) {
            tells_of_all = true;
            continue;
        }
        let is_of_span = target.is_empty() && directive.starts_with('[');
        if !is_of_span && !is_target(target) {
            let may_be_level = level.is_none() && !PARTS.contains(&target);
            let meant = of_levels(target).filter(|_| may_be_level);
            let meant = or_such_as(meant.or_else(|| of_targets(target)));
            let what = if level.is_none() {
                "neither a level nor a part of quell"
            } else {
                "no part of quell"
            };
            return Err(wrong(format!("but {target:?} is {what}: {meant}")));
        }
        if level.is_none() && !is_of_span {
            // tracing takes that for everything that there is.
            return Err(wrong(format!(
                "but {target:?} has no level: write {target}=debug"
            )));
        }
        tells_of_all |= target == "quell" && !directive.contains('[');
    }
    if !tells_of_all {
        return Err(wrong(format!(
            "which leaves out quell as a whole, its errors too: begin with a level: info,{text}"
        )));
    }
    let filter = directives.join(",");
    match EnvFilter::try_new(&filter) {
        Ok(_) => Ok(filter),
        Err(error) => Err(wrong(format!(
            "which is no filter: {error}; put one {SUCH_AS}"
        ))),
    }
}

/// `target[span{field=value}]=level` as target and level.
fn parts(directive: &str) -> (&str, Option<&str>) {
    match directive.split_once('[') {
        Some((target, rest)) => {
            let level = rest.rsplit_once("]=").map(|(_, level)| level);
            (target, level)
        }
        None => match directive.split_once('=') {
            Some((target, level)) => (target, Some(level)),
            None => (directive, None),
        },
    }
}

fn is_level(word: &str) -> bool {
    !word.is_empty() && word.parse::<LevelFilter>().is_ok()
}

fn is_target(target: &str) -> bool {
    let mut path = target.split("::");
    match (path.next(), path.next()) {
        (Some("quell"), part) => part.is_none_or(|part| PARTS.contains(&part)),
        (Some(library), _) => LIBRARIES.contains(&library),
        (None, _) => false,
    }
}

fn of_levels(word: &str) -> Option<String> {
    let word = word.to_lowercase();
    let of_others = OF_OTHERS.iter().find(|(theirs, _)| *theirs == word);
    let of_others = of_others.map(|(_, ours)| *ours);
    of_others
        .or_else(|| did_you_mean(&word, &LEVELS))
        .map(str::to_owned)
}

fn of_targets(target: &str) -> Option<String> {
    let part = target.rsplit("::").next().unwrap_or_default();
    if let Some(part) = did_you_mean(part, &PARTS) {
        return Some(format!("quell::{part}"));
    }
    let root = target.split("::").next().unwrap_or_default();
    if let Some(library) = did_you_mean(root, &LIBRARIES) {
        return Some(library.to_owned());
    }
    did_you_mean(root, &["quell"]).map(str::to_owned)
}

fn or_such_as(meant: Option<String>) -> String {
    match meant {
        Some(meant) => format!("put {meant}"),
        None => format!("put a level ({}), {SUCH_AS}", LEVELS.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_says_how_much_quell_tells_and_more_of_some_parts() {
        for (good, expect) in [
            ("info", "info"),
            ("OFF", "OFF"),
            ("3", "3"),
            ("quell=debug", "quell=debug"),
            ("info, quell::inbox=debug", "info,quell::inbox=debug"),
            (
                "warn,quell::http::auth=trace",
                "warn,quell::http::auth=trace",
            ),
            ("off,sqlx=debug", "off,sqlx=debug"),
            ("info,sqlx::query=off", "info,sqlx::query=off"),
            ("info,,hyper=warn", "info,,hyper=warn"),
            (
                "info,[request{route=x}]=trace",
                "info,[request{route=x}]=trace",
            ),
            (
                "info,quell::http[request]=debug",
                "info,quell::http[request]=debug",
            ),
        ] {
            assert_eq!(read(good).as_deref(), Ok(expect), "{good:?}");
        }
    }

    #[test]
    fn what_would_be_silence_is_refused_and_what_was_meant_is_named() {
        for (bad, said) in [
            ("verbose", "put debug or trace"),
            ("VERBOSE", "put debug or trace"),
            ("warning", "put warn"),
            ("inof", "put info"),
            ("debg", "put debug"),
            ("none", "put off"),
            ("6", "put a level (off, error"),
            ("-1", "put a level (off, error"),
            ("loud", "put a level (off, error"),
            ("inbox", "put quell::inbox"),
            ("info,quell::inbx=debug", "put quell::inbox"),
            ("info,inbox=debug", "put quell::inbox"),
            ("info,quel=debug", "put quell"),
            ("info,hyper-util=debug", "put hyper_util"),
            ("warn,sqlx", "write sqlx=debug"),
            ("quell", "write quell=debug"),
            ("info,postgrest=debug", "put quell::postgres"),
            ("info,elsewhere=debug", "\"elsewhere\" is no part"),
            ("info,quell::inbox=verbose", "put debug or trace"),
            ("info,quell::inbox=", "\"\" is no level"),
            ("info;quell::inbox=debug", "no part of quell"),
            ("sqlx=debug", "info,sqlx=debug"),
            ("quell::inbox=debug", "info,quell::inbox=debug"),
            ("[request]=debug", "info,[request]=debug"),
            (",", "begin with a level"),
            ("a=b=c", "\"b=c\" is no level"),
            ("info,[request", "no filter"),
        ] {
            let error = read(bad).unwrap_err();
            assert!(error.starts_with("QUELL_LOG is"), "{error}");
            assert!(error.contains(said), "{bad}: {error}");
        }
    }

    #[test]
    fn every_part_and_library_is_there() {
        let parts: Vec<&str> = include_str!("../lib.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
            .collect();
        let mut sorted = parts.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, PARTS);
        let lock = include_str!("../../Cargo.lock");
        for library in LIBRARIES {
            let package = format!("name = \"{}\"", library.replace('_', "-"));
            assert!(lock.contains(&package), "{library}");
        }
    }
}

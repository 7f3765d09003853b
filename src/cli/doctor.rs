//! `quell doctor`: what is wrong with the settings, the database and `LiveKit`, and how to mend it.
//!
//! It changes nothing: no Postgres is started, nothing is migrated, no room is touched.

mod database;
mod livekit;
mod settings;

use std::fmt::Write as _;
use std::process::ExitCode;

use chrono::TimeDelta;

use crate::config::{Config, Environment};
use quell_clock::Clock;

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// One check: how it went, what was seen, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    level: Level,
    what: String,
    remedy: Option<String>,
}

impl Finding {
    fn ok(what: impl Into<String>) -> Self {
        Self {
            level: Level::Ok,
            what: what.into(),
            remedy: None,
        }
    }

    fn warn(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            level: Level::Warn,
            what: what.into(),
            remedy: Some(remedy.into()),
        }
    }

    fn fail(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            level: Level::Fail,
            ..Self::warn(what, remedy)
        }
    }
}

/// Checks what the environment says. Success means that nothing failed.
pub(super) async fn run() -> ExitCode {
    let findings = examine(&Environment::of_process(), &Clock::system()).await;
    print!("{}", render(&findings));
    if worst(&findings) == Level::Fail {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

async fn examine(environment: &Environment, clock: &Clock) -> Vec<Finding> {
    let config = match Config::from_environment(environment) {
        Ok(config) => config,
        Err(error) => {
            let mut findings: Vec<Finding> = error
                .0
                .into_iter()
                .map(|problem| Finding::fail(problem, "quell does not start with this"))
                .collect();
            findings.push(Finding::warn(
                "the database and LiveKit were not looked at",
                "mend the settings above, and run `quell doctor` again",
            ));
            return findings;
        }
    };
    let mut findings = settings::check(environment, &config, clock);
    findings.extend(database::check(&config.database, clock).await);
    if let Some(livekit) = &config.livekit {
        findings.extend(livekit::check(livekit, clock).await);
    }
    findings
}

/// Says in the log what fails, of the settings and of LiveKit, for a server that runs all the same.
pub(super) async fn warn_of_failures(config: &Config) {
    let (environment, clock) = (Environment::of_process(), Clock::system());
    let mut findings = settings::check(&environment, config, &clock);
    if let Some(livekit) = &config.livekit {
        findings.extend(livekit::check(livekit, &clock).await);
    }
    for finding in findings {
        if finding.level == Level::Fail {
            let remedy = finding.remedy.unwrap_or_default();
            tracing::warn!(remedy, "{}", finding.what);
        }
    }
}

fn worst(findings: &[Finding]) -> Level {
    findings
        .iter()
        .map(|finding| finding.level)
        .max()
        .unwrap_or(Level::Ok)
}

fn render(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let level = match finding.level {
            Level::Ok => "ok  ",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        };
        // Writing to a String cannot fail.
        writeln!(text, "{level}  {}", finding.what).ok();
        for line in finding.remedy.iter().flat_map(|remedy| remedy.lines()) {
            writeln!(text, "      {line}").ok();
        }
    }
    let count = |level| findings.iter().filter(|f| f.level == level).count();
    writeln!(
        text,
        "\n{} checks: {} failed, {} with a warning",
        findings.len(),
        count(Level::Fail),
        count(Level::Warn)
    )
    .ok();
    text
}

/// How far another clock is from ours, given that it was read within `slack`.
fn skew(whose: &str, ahead: TimeDelta, slack: TimeDelta, limits: SkewLimits) -> Finding {
    let off = (ahead.abs() - slack).max(TimeDelta::zero());
    let which_way = if ahead < TimeDelta::zero() {
        "behind"
    } else {
        "ahead of"
    };
    if off <= limits.warn_over {
        return Finding::ok(format!("{whose} clock agrees with ours"));
    }
    let off_seconds = off.num_milliseconds().unsigned_abs().div_ceil(1000);
    let what = format!("{whose} clock is {off_seconds} s {which_way} ours");
    let remedy = format!(
        "{}; let both machines keep time by NTP (chrony, systemd-timesyncd)",
        limits.harm
    );
    if off > limits.fail_over {
        Finding::fail(what, remedy)
    } else {
        Finding::warn(what, remedy)
    }
}

/// The difference of clocks from which on it matters, and what it then does.
#[derive(Debug, Clone, Copy)]
struct SkewLimits {
    warn_over: TimeDelta,
    fail_over: TimeDelta,
    harm: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_a_line_and_its_remedy_is_below() {
        let findings = [
            Finding::ok("a clock"),
            Finding::warn("a short secret", "make it longer"),
            Finding::fail("no database", "start it\nor set DATABASE_URL"),
        ];
        assert_eq!(
            render(&findings),
            "ok    a clock\n\
             warn  a short secret\n      make it longer\n\
             FAIL  no database\n      start it\n      or set DATABASE_URL\n\
             \n3 checks: 1 failed, 1 with a warning\n"
        );
        assert_eq!(worst(&findings), Level::Fail);
        assert_eq!(worst(&findings[..2]), Level::Warn);
        assert_eq!(worst(&findings[..1]), Level::Ok);
    }

    #[test]
    fn clocks_are_compared_with_some_slack() {
        let limits = SkewLimits {
            warn_over: TimeDelta::seconds(5),
            fail_over: TimeDelta::seconds(60),
            harm: "tokens are refused",
        };
        let check = |ahead_ms: i64, slack_ms: i64, level: Level, what: &str| {
            let finding = skew(
                "LiveKit's",
                TimeDelta::milliseconds(ahead_ms),
                TimeDelta::milliseconds(slack_ms),
                limits,
            );
            assert_eq!(finding.level, level, "{ahead_ms} {finding:?}");
            assert!(finding.what.contains(what), "{finding:?}");
        };
        check(0, 0, Level::Ok, "agrees");
        check(-5000, 0, Level::Ok, "agrees");
        check(6500, 1500, Level::Ok, "agrees");
        check(7500, 1500, Level::Warn, "6 s ahead of");
        check(-7500, 1500, Level::Warn, "6 s behind");
        check(-90_000, 0, Level::Fail, "90 s behind");
    }

    #[tokio::test]
    async fn settings_that_cannot_be_read_are_all_told_and_nothing_is_asked() {
        let environment = [("PORT", "eighty"), ("DATABASE_URL", "mysql://somewhere")];
        let environment = environment.into_iter().collect();
        let findings = examine(&environment, &Clock::system()).await;
        let levels: Vec<Level> = findings.iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Fail, Level::Fail, Level::Warn]);
        let text = render(&findings);
        assert!(
            text.contains("PORT") && text.contains("DATABASE_URL"),
            "{text}"
        );
    }
}

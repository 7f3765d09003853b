//! Reads variables one by one, collects what is wrong with each, and remembers which names are settings.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::Environment;

/// Reads an environment. The names that it is asked for (`asked`) are all the settings that there are.
pub(super) struct EnvReader<'a> {
    pub(super) environment: &'a Environment,
    pub(super) asked: BTreeSet<&'static str>,
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl<'a> EnvReader<'a> {
    pub(super) fn new(environment: &'a Environment) -> Self {
        Self {
            environment,
            asked: BTreeSet::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The variable's value as the system has it, which may be no text.
    pub(super) fn raw(&mut self, name: &'static str) -> Option<&'a OsStr> {
        self.asked.insert(name);
        self.environment.get(name)
    }

    /// The variable's value; blank is the same as not set.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        let text = self.raw(name)?.to_str();
        if text.is_none() {
            self.problems.push(format!("{name} is not UTF-8"));
        }
        text.map(str::to_owned)
    }

    /// The variable's value, also where it is blank.
    pub(super) fn even_blank(&mut self, name: &'static str) -> Option<String> {
        self.text(name).or_else(|| {
            let blank = self.environment.even_blank(name)?.to_str()?;
            Some(blank.to_owned())
        })
    }

    /// A value that others compare, with a warning where nobody sees what is in it.
    pub(super) fn exact(&mut self, name: &'static str) -> Option<String> {
        let text = self.text(name)?;
        if text.trim().len() < text.len() {
            self.warnings.push(format!(
                "{name} begins or ends with white space, which counts: a line end of its file, perhaps"
            ));
        }
        Some(text)
    }

    pub(super) fn secret(&mut self, name: &'static str) -> Option<SecretString> {
        self.exact(name).map(SecretString::from)
    }

    pub(super) fn parsed<T: FromStr>(&mut self, name: &'static str, default: T, want: &str) -> T {
        let Some(value) = self.text(name) else {
            return default;
        };
        value.trim().parse().unwrap_or_else(|_| {
            self.problems
                .push(format!("{name} is {value:?}, but must be {want}"));
            default
        })
    }

    pub(super) fn flag(&mut self, name: &'static str, default: bool) -> bool {
        let Some(value) = self.text(name) else {
            return default;
        };
        match value.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => {
                self.problems
                    .push(format!("{name} is {value:?}, but must be true or false"));
                default
            }
        }
    }

    pub(super) fn seconds(&mut self, name: &'static str, default: u64) -> Duration {
        let seconds = self.parsed(name, default, "a whole number of seconds of at least 1");
        if seconds == 0 {
            self.problems
                .push(format!("{name} is 0, but must be at least 1 second"));
        }
        Duration::from_secs(seconds)
    }

    pub(super) fn millis(&mut self, name: &'static str, default: u64) -> Duration {
        let millis = self.parsed(
            name,
            default,
            "a whole number of milliseconds of at least 1",
        );
        if millis == 0 {
            self.problems
                .push(format!("{name} is 0, but must be at least 1 millisecond"));
        }
        Duration::from_millis(millis)
    }

    pub(super) fn url(&mut self, name: &'static str, schemes: &[&str]) -> Option<Url> {
        let value = self.text(name)?;
        // The value itself is not shown: URLs may hold a password.
        match Url::parse(value.trim()) {
            Ok(url) if schemes.contains(&url.scheme()) && url.has_host() => Some(url),
            Ok(_) | Err(_) => {
                self.problems.push(format!(
                    "{name} is not a URL that starts with {}://",
                    schemes.join(":// or ")
                ));
                None
            }
        }
    }
}

//! Reads variables one by one, collects what is wrong with each, and remembers which names are settings.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
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

    /// The secret in the variable `name`, or in the file that `file_name` names.
    pub(super) fn secret(
        &mut self,
        name: &'static str,
        file_name: &'static str,
    ) -> Option<SecretString> {
        let file = self.text(file_name);
        let Some(path) = file else {
            return self.exact(name).map(SecretString::from);
        };
        if self.text(name).is_some() {
            self.problems.push(format!(
                "{name} and {file_name} are both set: take one of them away"
            ));
            return None;
        }
        match std::fs::read_to_string(&path) {
            // A file ends with a line end, which is no part of a secret.
            Ok(text) if !text.trim().is_empty() => {
                let text = text.strip_suffix('\n').unwrap_or(&text);
                Some(text.strip_suffix('\r').unwrap_or(text).into())
            }
            Ok(_) => {
                let problem = format!("{file_name} is {path:?}, which holds nothing");
                self.problems.push(problem);
                None
            }
            Err(error) => {
                let problem = format!("{file_name} is {path:?}, which cannot be read: {error}");
                self.problems.push(problem);
                None
            }
        }
    }

    pub(super) fn parsed<T: FromStr>(&mut self, name: &'static str, default: T, want: &str) -> T {
        self.optional(name, want).unwrap_or(default)
    }

    /// The value as a `T`; none where it is not set, or is none.
    pub(super) fn optional<T: FromStr>(&mut self, name: &'static str, want: &str) -> Option<T> {
        let value = self.text(name)?;
        let parsed = value.trim().parse().ok();
        if parsed.is_none() {
            self.problems
                .push(format!("{name} is {value:?}, but must be {want}"));
        }
        parsed
    }

    /// A whole number of at least 1.
    pub(super) fn positive<T: FromStr + Default + PartialEq>(
        &mut self,
        name: &'static str,
    ) -> Option<T> {
        let number = self.optional(name, "a whole number of at least 1")?;
        if number == T::default() {
            self.problems
                .push(format!("{name} is 0, but must be at least 1"));
        }
        Some(number)
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
        self.as_url(name, &value, schemes)
    }

    /// A URL that may hold a password, in the variable `name` or in the file that `file_name` names.
    pub(super) fn secret_url(
        &mut self,
        name: &'static str,
        file_name: &'static str,
        schemes: &[&str],
    ) -> Option<Url> {
        let value = self.secret(name, file_name)?;
        self.as_url(name, value.expose_secret(), schemes)
    }

    fn as_url(&mut self, name: &str, value: &str, schemes: &[&str]) -> Option<Url> {
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

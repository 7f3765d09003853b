//! The variables that settings are read from: the process's own, or given ones.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;

use super::names::{FAIL_POINT, FAMILIES};

/// Environment variables by name.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// The process's own.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the environment"
    )]
    #[must_use]
    pub fn of_process() -> Self {
        // A name that is no text is none of ours.
        let named = |(name, value): (OsString, _)| Some((name.into_string().ok()?, value));
        Self(std::env::vars_os().filter_map(named).collect())
    }

    /// These variables alone, where they are set.
    #[must_use]
    pub fn only(&self, names: &[&str]) -> Self {
        let mut few = self.0.clone();
        few.retain(|name, _| names.contains(&name.as_str()));
        Self(few)
    }

    /// The names of those that may be settings, secrets among them.
    pub(crate) fn of_settings(&self) -> impl Iterator<Item = &str> {
        let names = self.0.keys().map(String::as_str);
        names.filter(|name| {
            *name == "DATABASE_URL" || FAMILIES.iter().any(|family| name.starts_with(family))
        })
    }

    /// Sets a variable where it is not set.
    pub fn set_default(&mut self, name: &str, value: &str) {
        if !self.is_set(name) {
            self.0.insert(name.to_owned(), value.into());
        }
    }

    /// Where a test wants the process to crash.
    pub(crate) fn fail_point(&self) -> Option<&str> {
        self.get(FAIL_POINT)?.to_str()
    }

    /// Whether it is set, and not to blank.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The value; blank is the same as not set.
    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        let value = self.0.get(name)?;
        let is_blank = value.to_str().is_some_and(|text| text.trim().is_empty());
        (!is_blank).then_some(value.as_os_str())
    }

    /// The value, blank or not.
    pub(super) fn even_blank(&self, name: &str) -> Option<&OsStr> {
        self.0.get(name).map(OsString::as_os_str)
    }

    /// The names of all that is set.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.0.keys().map(String::as_str);
        names.filter(|name| self.is_set(name))
    }
}

impl<N: Into<String>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let owned = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        Self(owned.collect())
    }
}

impl fmt::Debug for Environment {
    /// The names: values may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

//! Reads the limits in time of a policy from its document.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Utc};

use crate::diagnostic::Diagnostic;
use crate::keys::WINDOW_KEYS;
use crate::limits::CRON_CHARS_MAX;
use crate::node::{Node, NodeValue};
use crate::policy::Policy;
use crate::reader::{Reader, join};
use crate::terminal::quoted;
use crate::window::{Cron, Length, Window, lint, zone};

const DURATION_CHARS_MAX: usize = 32;
const TIMEZONE_CHARS_MAX: usize = 64;
const INSTANT_CHARS_MAX: usize = 64;
const INSTANT_HINT: &str = "such as 2026-03-01T00:00:00Z or 2026-03-01T01:00:00+01:00";
/// What can be written and read back: RFC 3339 has four digits for a year.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=9998;

impl Reader<'_> {
    /// The windows, and warnings of what they probably should not be in the time that the policy
    /// is in force.
    pub(crate) fn active(
        &mut self,
        node: &Node,
        path: &str,
        begins: Option<DateTime<Utc>>,
        ends: Option<DateTime<Utc>>,
    ) -> Vec<Window> {
        let known = self.problems.len();
        let mut places = Vec::new();
        let windows = self.list(node, path, |reader, node, path| {
            places.push((node.place, path.to_owned()));
            reader.window(node, path)
        });
        if self.problems.len() > known || !self.linting {
            return windows;
        }
        if let Some(message) = lint::always_open(&windows, begins, ends) {
            let hint = "take `active` out if that is meant";
            let warning = self.problem(node.place, path, message.to_owned(), hint.to_owned());
            self.warnings.push(warning);
            return windows;
        }
        for (window, (place, path)) in windows.iter().zip(places) {
            if let Some(lint) = lint::of(window, begins, ends) {
                let warning = self.problem(place, &path, lint.message, lint.hint);
                self.warnings.push(warning);
            }
        }
        windows
    }

    fn window(&mut self, node: &Node, path: &str) -> Option<Window> {
        let fields = self.fields(node, path, WINDOW_KEYS)?;
        let get = |key: &str| fields.get(key).copied();
        let at = |key: &str| join(path, key);
        let hint = "when it opens, such as `cron: \"0 22 * * MON-FRI\"`";
        let cron = self.required(node, get("cron"), path, "cron", hint);
        let cron = cron.and_then(|node| {
            let text = self.text(node, &at("cron"), CRON_CHARS_MAX)?;
            let fields = self.fine(node, &at("cron"), Cron::parse(&text))?;
            Some((text, fields))
        });
        let hint = "how long it stays open, such as `duration: 8h`";
        let duration = self.required(node, get("duration"), path, "duration", hint);
        let duration = duration.and_then(|node| self.length(node, &at("duration")));
        let hint = "whose clocks it goes by, such as `timezone: Europe/Berlin` or `timezone: UTC`";
        let timezone = self.required(node, get("timezone"), path, "timezone", hint);
        let timezone = timezone.and_then(|node| {
            let name = self.text(node, &at("timezone"), TIMEZONE_CHARS_MAX)?;
            self.fine(node, &at("timezone"), zone::parse(&name))
        });
        let (text, fields) = cron?;
        Some(Window::of(&text, fields, duration?, timezone?))
    }

    /// A duration, as windows and `first` have it.
    pub(crate) fn length(&mut self, node: &Node, path: &str) -> Option<Length> {
        if let NodeValue::Integer(_) | NodeValue::Float(_) = node.value {
            let message = format!("a duration has a unit, found {}", node.value);
            let hint = "such as `90m`, `8h`, `1h30m` or `2d`";
            self.refuse(node.place, path, message, hint);
            return None;
        }
        let text = self.text(node, path, DURATION_CHARS_MAX)?;
        self.fine(node, path, Length::parse(&text))
    }

    /// An instant: RFC 3339, which always says how far from UTC it is.
    pub(crate) fn instant(&mut self, node: &Node, path: &str) -> Option<DateTime<Utc>> {
        if let NodeValue::Integer(_) | NodeValue::Float(_) = node.value {
            let message = format!("expected a date and time, found {}", node.value);
            self.refuse(node.place, path, message, INSTANT_HINT);
            return None;
        }
        let text = self.text(node, path, INSTANT_CHARS_MAX)?;
        self.fine(node, path, instant(&text))
    }

    /// Refuses limits that leave no time at all.
    pub(crate) fn any_time_left(&mut self, policy: &Policy, node: &Node, path: &str) -> Option<()> {
        let (key, message, hint) = if let (Some(begins), Some(ends)) =
            (policy.not_before, policy.not_after)
            && ends <= begins
        {
            let message = "`not_after` is not later than `not_before`, so it is never in force";
            ("not_after", message, "change one of them")
        } else if policy.schedule().never_opens() {
            let message = "none of these opens between `not_before` and `not_after`";
            (
                "active",
                message,
                "change the windows, or one of the two limits",
            )
        } else {
            return Some(());
        };
        self.refuse(node.find(&[key]).place, &join(path, key), message, hint);
        None
    }

    fn fine<T>(&mut self, node: &Node, path: &str, read: Result<T, Diagnostic>) -> Option<T> {
        read.map_err(|diagnostic| {
            self.refuse(node.place, path, diagnostic.message, diagnostic.hint);
        })
        .ok()
    }
}

fn instant(text: &str) -> Result<DateTime<Utc>, Diagnostic> {
    let shown = quoted(text);
    let Ok(at) = DateTime::parse_from_rfc3339(text) else {
        return Err(
            if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
                let hint = format!("write {date}T00:00:00Z for its first instant in UTC");
                Diagnostic::new(format!("{shown} is a date without a time"), hint)
            } else if let Some(local) = without_offset(text) {
                let local = local.format("%Y-%m-%dT%H:%M:%S");
                let hint = format!("write {local}Z for UTC, or an offset such as {local}+01:00");
                Diagnostic::new(format!("{shown} does not say in which time zone"), hint)
            } else {
                Diagnostic::new(format!("{shown} is no date and time"), INSTANT_HINT)
            },
        );
    };
    let at = at.to_utc();
    if !YEARS.contains(&at.year()) {
        let years = format!("a year from {} to {}", YEARS.start(), YEARS.end());
        return Err(Diagnostic::new(
            format!("{shown} is out of range"),
            format!("write {years}"),
        ));
    }
    if at.timestamp_subsec_nanos() >= 1_000_000_000 {
        return Err(Diagnostic::new(
            format!("{shown} is a leap second"),
            "write the second after it",
        ));
    }
    Ok(at)
}

fn without_offset(text: &str) -> Option<NaiveDateTime> {
    [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d %H:%M",
    ]
    .iter()
    .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
}

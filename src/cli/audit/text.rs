//! An action in a line, for people.

use crate::audit::history::HistoryRow;
use quell_policy::owner::OPERATOR;
use quell_policy::terminal::without_controls;

use super::super::policy::output::TIME;

/// When, what came of what, to whom, and by whom.
pub(super) fn line(row: &HistoryRow) -> String {
    let whom = [&row.room_name, &row.identity, &row.source];
    let whom: Vec<_> = whom.into_iter().flatten().map(String::as_str).collect();
    let policy = row.policy_name.as_ref().map(|name| {
        let owner = row.policy_owner.as_deref().unwrap_or(OPERATOR);
        format!("{owner}/{name}@{}", row.policy_revision.unwrap_or_default())
    });
    // Of a change, the policy is what was changed.
    let (whom, by) = if row.action.starts_with("policy.") {
        (policy.unwrap_or_default(), row.actor.clone())
    } else {
        (whom.join(" "), policy.or_else(|| row.actor.clone()))
    };
    let by = by.unwrap_or_else(|| "a caller without an id".to_owned());
    let person = row.on_behalf_of.as_ref();
    let person = person.map_or_else(String::new, |person| format!(" for {person}"));
    let reason = row.reason.as_ref();
    let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
    let unchanged = if row.changed == Some(false) {
        " (it was so already)"
    } else {
        ""
    };
    let error = row
        .error
        .as_ref()
        .map_or_else(String::new, |error| format!(": {error}"));
    let text = format!(
        "{}  {:<10} {:<13} {whom}  by {by}{person}{reason}{unchanged}{error}",
        row.started_at.format(TIME),
        row.outcome,
        row.action,
    );
    without_controls(&text)
}

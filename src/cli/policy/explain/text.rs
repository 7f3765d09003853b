//! An answer as text: the decision and why, then the policies, then the facts.

use std::fmt::Write as _;

use serde_json::Value;

use crate::cli::policy::output::TIME;
use crate::explain::{FactSource, PolicySource, Reply, TrackAnswer};
use quell_policy::facts::catalog::FIELDS;
use quell_policy::terminal::{cut, without_controls};
use quell_policy::{Explained, PolicyOutcome, PolicyRef, Tri};

/// At most this many policies that do not apply are shown: those that come closest to applying.
const FAILING_MAX: usize = 20;
/// Longer cells are cut.
const CELL_CHARS_MAX: usize = 45;
const VALUE_CHARS_MAX: usize = 97;
/// The clauses of a policy in the order in which they are evaluated.
const CLAUSES: [&str; 12] = [
    "owner",
    "match.type",
    "match.source",
    "match.room",
    "match.identity",
    "match.kind",
    "match.attributes",
    "not_before",
    "not_after",
    "active",
    "first",
    "when",
];

/// The answer as text; with `all`, every policy that does not apply.
pub(super) fn of(reply: &Reply, all: bool) -> String {
    match reply {
        Reply::One(answer) => one(answer, all),
        Reply::Live(live) => {
            if live.tracks.is_empty() {
                return "the participant is there, and publishes no track\n".to_owned();
            }
            let tracks: Vec<_> = live.tracks.iter().map(|answer| one(answer, all)).collect();
            let mut shown = tracks.join("\n");
            if live.left_off > 0 {
                shown.push('\n');
                let more = format!("{} more tracks; ask with --track", live.left_off);
                line(&mut shown, &more);
            }
            shown
        }
    }
}

fn one(answer: &TrackAnswer, all: bool) -> String {
    let mut shown = String::new();
    for warning in &answer.warnings {
        line(&mut shown, &format!("warning: {warning}"));
    }
    line(&mut shown, &head(answer));
    line(&mut shown, &format!("  {}", answer.summary));
    if let Some(dry_run) = &answer.dry_run_summary {
        line(
            &mut shown,
            &format!("  with the dry-run policies: {dry_run}"),
        );
    }
    recorded(&mut shown, answer);
    policies(&mut shown, answer, all);
    facts(&mut shown, answer);
    shown
}

fn head(answer: &TrackAnswer) -> String {
    let (room, participant, track) = (
        &answer.facts.room,
        &answer.facts.participant,
        &answer.facts.track,
    );
    let sid = if track.sid.is_empty() {
        "a track"
    } else {
        &track.sid
    };
    let policies = match answer.policies {
        PolicySource::Now => "by the policies in force",
        PolicySource::Then => "by the policies in force then",
        PolicySource::Files => "by the policies in the files",
    };
    format!(
        "{sid} ({} {}) of {} in {}, {}, {policies}:",
        track.type_,
        track.source,
        participant.identity,
        room.name,
        answer.at.format(TIME),
    )
}

fn recorded(shown: &mut String, answer: &TrackAnswer) {
    let Some(recorded) = &answer.recorded else {
        return;
    };
    let ended = recorded.settlement.as_deref().map_or_else(
        || "it is not settled yet".to_owned(),
        |settlement| format!("it ended as: {settlement}"),
    );
    let same = match recorded.same_as_recorded {
        Some(true) => "the same was decided when it came",
        Some(false) => "this is not what was decided when it came",
        None => "nothing was decided when it came",
    };
    line(shown, &format!("  {ended}; {same}"));
    for difference in &recorded.differs {
        line(shown, &format!("    {difference}"));
    }
}

fn policies(shown: &mut String, answer: &TrackAnswer, all: bool) {
    let (failing, others): (Vec<_>, Vec<_>) = answer
        .candidates
        .iter()
        .partition(|candidate| candidate.applies == Tri::False);
    let mut nearest = failing;
    if !all {
        nearest.sort_by_key(|candidate| std::cmp::Reverse(reached(candidate)));
    }
    let count = if all { nearest.len() } else { FAILING_MAX };
    let left_off = nearest.len().saturating_sub(count) + answer.left_off;
    shown.push('\n');
    if others.is_empty() && nearest.is_empty() {
        line(shown, "There is no policy that sees this room.");
        return;
    }
    let mut rows = vec![
        [
            "POLICY", "EFFECT", "PRIORITY", "COMES TO", "CLAUSE", "EXPECTED", "ACTUAL",
        ]
        .map(str::to_owned),
    ];
    let is_open = answer.decision.enforced.is_indeterminate();
    let row = |candidate| row(candidate, is_open);
    rows.extend(
        others
            .into_iter()
            .chain(nearest.into_iter().take(count))
            .map(row),
    );
    table(shown, &rows);
    if left_off > 0 {
        let how = if all { "" } else { "; --all shows them" };
        line(shown, &format!("... and {left_off} that do not apply{how}"));
    }
}

/// How many clauses of a policy that does not apply hold before the one that fails.
fn reached(candidate: &Explained) -> usize {
    let clause = candidate.failed.as_ref().map(|failed| &failed.clause);
    let place = CLAUSES.iter().position(|known| {
        clause.is_some_and(|clause| {
            let rest = clause.strip_prefix(known);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    });
    // `unless` is evaluated last.
    place.unwrap_or(CLAUSES.len())
}

fn row(candidate: &Explained, is_open: bool) -> [String; 7] {
    let failed = candidate.failed.as_ref();
    [
        named(&candidate.policy),
        candidate.effect.to_string(),
        candidate.policy.priority.to_string(),
        comes_to(&candidate.outcome, is_open),
        failed.map_or_else(String::new, |failed| failed.clause.clone()),
        failed
            .and_then(|failed| failed.expected.clone())
            .unwrap_or_default(),
        failed
            .and_then(|failed| failed.actual.clone())
            .unwrap_or_default(),
    ]
}

fn comes_to(outcome: &PolicyOutcome, is_open: bool) -> String {
    match outcome {
        PolicyOutcome::Mutes => "mutes".to_owned(),
        // Of all that want a mute, none has been found to be the one.
        PolicyOutcome::AlsoMutes if is_open => "wants a mute".to_owned(),
        PolicyOutcome::AlsoMutes => "mutes as well".to_owned(),
        PolicyOutcome::Cancelled { by } => format!("cancelled by {}", named(by)),
        PolicyOutcome::Exempts => "exempts".to_owned(),
        PolicyOutcome::ExemptsNothing => "cancels no mute".to_owned(),
        PolicyOutcome::DryRun => "in dry run".to_owned(),
        PolicyOutcome::Off => "off".to_owned(),
        PolicyOutcome::DoesNotApply => "does not apply".to_owned(),
        PolicyOutcome::Depends => "may apply".to_owned(),
    }
}

fn named(policy: &PolicyRef) -> String {
    crate::cli::policy::full_name(&policy.owner, &policy.name)
}

fn facts(shown: &mut String, answer: &TrackAnswer) {
    let calls = match answer.provenance.calls.as_slice() {
        [] => "LiveKit told none of them".to_owned(),
        calls => format!("LiveKit answered {}", calls.join(" and ")),
    };
    shown.push('\n');
    line(shown, &format!("Facts ({calls}):"));
    let known = serde_json::to_value(&answer.facts).unwrap_or_default();
    let mut rows = Vec::new();
    for field in FIELDS {
        let path = field.name;
        let Some(source) = answer.provenance.sources.get(path) else {
            continue;
        };
        let is_missing = answer.provenance.missing.contains(&path);
        let (value, source) = match (source, is_missing) {
            (FactSource::Unknown, true) => ("unknown, and would decide".to_owned(), String::new()),
            (FactSource::Unknown, false) => ("unknown".to_owned(), String::new()),
            (source, _) => (value(&known, path), said(*source).to_owned()),
        };
        rows.push([path.to_owned(), source, value]);
    }
    table(shown, &rows);
}

fn said(source: FactSource) -> &'static str {
    match source {
        FactSource::Request => "as asked",
        FactSource::Caller => "the caller",
        FactSource::Assumed => "assumed",
        FactSource::Event => "the event",
        FactSource::ListRooms => "ListRooms",
        FactSource::GetParticipant => "GetParticipant",
        FactSource::ListParticipants => "ListParticipants",
        FactSource::Unknown => "unknown",
    }
}

fn value(facts: &Value, path: &str) -> String {
    let pointer = format!("/{}", path.replace('.', "/"));
    let value = facts.pointer(&pointer).map(Value::to_string);
    cut(&value.unwrap_or_default(), VALUE_CHARS_MAX)
}

/// Writes rows in columns as wide as their widest cell; the last column is not padded.
fn table<const N: usize>(shown: &mut String, rows: &[[String; N]]) {
    let rows: Vec<[String; N]> = rows
        .iter()
        .map(|row| {
            let mut cells = row.clone();
            for cell in cells.iter_mut().take(N.saturating_sub(1)) {
                *cell = cut(cell, CELL_CHARS_MAX);
            }
            if let Some(last) = cells.last_mut() {
                *last = cut(last, VALUE_CHARS_MAX);
            }
            cells
        })
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..N).map(width).collect();
    for row in &rows {
        let mut text = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            write!(text, "{cell:<width$}  ").ok();
        }
        line(shown, text.trim_end());
    }
}

/// Writes a line without control characters: participants choose much of its text.
fn line(shown: &mut String, text: &str) {
    // Writing to a `String` does not fail.
    writeln!(shown, "{}", without_controls(text)).ok();
}

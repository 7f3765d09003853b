//! Two engines decide alike, or it ends here: nothing is timed that was not proven first.

use quell_policy::{Decision, decide};

use crate::mix::{Event, Rule, now};
use crate::ours;
use crate::peer::{Peer, muted_by, ranked};

/// What quell says of each event: the policy that mutes.
pub fn decided(rules: &[Rule], events: &[Event]) -> Vec<Option<String>> {
    let set = ours::snapshot(&ours::policies(rules, 1));
    let decide = |event| -> Decision { decide(&set, &ours::facts(event, ours::TENANT), now()) };
    events
        .iter()
        .map(|event| ours::muted_by(&decide(event)).map(str::to_owned))
        .collect()
}

/// Asks this engine about every event, and ends with the first answer that is not quell's.
pub fn agree(
    name: &str,
    peer: &mut impl Peer,
    rules: &[Rule],
    events: &[Event],
    decided: &[Option<String>],
) {
    let ranked = ranked(rules);
    for (event, ours) in events.iter().zip(decided) {
        let asked = peer.prepare(event);
        let first = peer.first(&asked);
        let theirs = muted_by(first, &ranked);
        assert!(
            theirs == ours.as_deref(),
            "quell and {name} differ: muted by {ours:?} and by {theirs:?}\n{event:#?}\n{:#?}",
            first.map(|rank| &ranked[rank]),
        );
    }
}

//! Whom an expectation names: `NAME`, `TENANT/NAME` or `(operator)/NAME` among some policies.

use super::{Case, Expected, Name};
use crate::compile::PolicyRef;
use crate::owner::{OPERATOR, Owner};
use crate::policy::{Effect, Policy};
use crate::reader::Reader;
use crate::terminal::quoted;

/// Where several policies have one name, at most this many are listed.
const NAMES_SHOWN_MAX: usize = 5;

/// A policy's name for people: with its tenant, where it has one.
pub(super) fn display(owner: &Owner, name: &str) -> String {
    match owner {
        Owner::Tenant(tenant) => format!("{tenant}/{name}"),
        Owner::Operator => name.to_owned(),
    }
}

/// Whether a policy is the one that a decision names.
pub(super) fn is(named: &PolicyRef, policy: &Policy) -> bool {
    named.owner == policy.owner && *named.name == *policy.name
}

impl Reader<'_> {
    /// What a case expects, enforced and in dry run; what is wrong with it is refused.
    pub(super) fn expected_of<'p>(
        &mut self,
        case: &Case,
        policies: &'p [Policy],
    ) -> Option<(Expected<&'p Policy>, Option<Expected<&'p Policy>>)> {
        let enforced = self.resolve(&case.expect, policies);
        let dry_run = match &case.dry_run {
            Some(expected) => Some(self.resolve(expected, policies)?),
            None => None,
        };
        Some((enforced?, dry_run))
    }

    fn resolve<'p>(
        &mut self,
        expected: &Expected<Name>,
        policies: &'p [Policy],
    ) -> Option<Expected<&'p Policy>> {
        let named = match expected {
            Expected::Nothing => return Some(Expected::Nothing),
            Expected::Indeterminate => return Some(Expected::Indeterminate),
            Expected::Mute(name) => (name, Effect::Mute),
            Expected::ExemptedBy(name) => (name, Effect::Exempt),
        };
        let (name, effect) = named;
        let policy = self.find(name, policies)?;
        if policy.effect != effect {
            let (message, hint) = match policy.effect {
                Effect::Mute => ("is a mute: it exempts nobody", "write { mute: ... }"),
                Effect::Exempt => (
                    "is an exemption: it mutes nobody",
                    "write { exempted_by: ... }",
                ),
            };
            let message = format!("{} {message}", name.text);
            self.refuse(name.place, &name.path, message, hint);
            return None;
        }
        Some(match effect {
            Effect::Mute => Expected::Mute(policy),
            Effect::Exempt => Expected::ExemptedBy(policy),
        })
    }

    fn find<'p>(&mut self, sought: &Name, policies: &'p [Policy]) -> Option<&'p Policy> {
        let (owner, name) = match sought.text.rsplit_once('/') {
            Some((OPERATOR, name)) => (Some(None), name),
            Some((tenant, name)) => (Some(Some(tenant)), name),
            None => (None, sought.text.as_str()),
        };
        let found: Vec<_> = policies
            .iter()
            .filter(|policy| policy.name == name)
            .filter(|policy| owner.is_none_or(|owner| policy.owner.as_str() == owner))
            .collect();
        match found.as_slice() {
            [only] => Some(only),
            [] => {
                let names: Vec<_> = policies
                    .iter()
                    .map(|policy| match owner {
                        Some(_) => full(policy),
                        None => display(&policy.owner, &policy.name),
                    })
                    .collect();
                let mut known: Vec<_> = names.iter().map(String::as_str).collect();
                // Whoever leaves the tenant out means the name.
                if owner.is_none() {
                    known.extend(policies.iter().map(|policy| policy.name.as_str()));
                }
                let hint = self
                    .suggestion(&sought.text, &known)
                    .map(|near| format!("did you mean {near}?"))
                    .unwrap_or_default();
                let message = format!(
                    "there is no policy {} in the files that this is a test of",
                    quoted(&sought.text)
                );
                self.refuse(sought.place, &sought.path, message, hint);
                None
            }
            several => {
                let shown = several.iter().take(NAMES_SHOWN_MAX);
                let names: Vec<_> = shown.map(|policy| full(policy)).collect();
                let message = format!("several owners have a policy {name}");
                let hint = match several.len() - names.len() {
                    0 => format!("write one of {}", names.join(", ")),
                    more => format!("write one of {} ({more} more)", names.join(", ")),
                };
                self.refuse(sought.place, &sought.path, message, hint);
                None
            }
        }
    }
}

fn full(policy: &Policy) -> String {
    policy.key().to_string()
}

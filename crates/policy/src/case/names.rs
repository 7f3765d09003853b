//! Whom an expectation names: `NAME`, `TENANT/NAME` or `(operator)/NAME` among some policies.

use super::{Case, Expected, Name};
use crate::owner::{OPERATOR, Owner};
use crate::policy::{Effect, Policy};
use crate::reader::Reader;
use crate::terminal::quoted;

/// Of several policies of one name, so many are told of.
const NAMES_SHOWN_MAX: usize = 5;

/// An outcome that a case asks for, with the policies that it names.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'p> {
    Nothing,
    Indeterminate,
    Mute(&'p Policy),
    ExemptedBy(&'p Policy),
}

impl<'p> Wanted<'p> {
    /// The policy that it names.
    pub(super) fn policy(self) -> Option<&'p Policy> {
        match self {
            Self::Mute(policy) | Self::ExemptedBy(policy) => Some(policy),
            Self::Nothing | Self::Indeterminate => None,
        }
    }
}

/// A policy's name for people: with its tenant, where it has one.
pub(super) fn display(owner: &Owner, name: &str) -> String {
    match owner {
        Owner::Tenant(tenant) => format!("{tenant}/{name}"),
        Owner::Operator => name.to_owned(),
    }
}

impl Reader<'_> {
    /// What a case expects, enforced and in dry run; what is wrong with it is refused.
    pub(super) fn wanted<'p>(
        &mut self,
        case: &Case,
        policies: &'p [Policy],
    ) -> Option<(Wanted<'p>, Option<Wanted<'p>>)> {
        let enforced = self.bind(&case.expect, policies);
        let dry_run = match &case.dry_run {
            Some(expected) => Some(self.bind(expected, policies)?),
            None => None,
        };
        Some((enforced?, dry_run))
    }

    fn bind<'p>(&mut self, expected: &Expected, policies: &'p [Policy]) -> Option<Wanted<'p>> {
        let bound = match expected {
            Expected::Nothing => return Some(Wanted::Nothing),
            Expected::Indeterminate => return Some(Wanted::Indeterminate),
            Expected::Mute(name) => (name, Effect::Mute),
            Expected::ExemptedBy(name) => (name, Effect::Exempt),
        };
        let (name, effect) = bound;
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
            Effect::Mute => Wanted::Mute(policy),
            Effect::Exempt => Wanted::ExemptedBy(policy),
        })
    }

    fn find<'p>(&mut self, wanted: &Name, policies: &'p [Policy]) -> Option<&'p Policy> {
        let (owner, name) = match wanted.text.rsplit_once('/') {
            Some((OPERATOR, name)) => (Some(None), name),
            Some((tenant, name)) => (Some(Some(tenant)), name),
            None => (None, wanted.text.as_str()),
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
                    .suggestion(&wanted.text, &known)
                    .map(|near| format!("did you mean {near}?"))
                    .unwrap_or_default();
                let message = format!(
                    "there is no policy {} in the files that this is a test of",
                    quoted(&wanted.text)
                );
                self.refuse(wanted.place, &wanted.path, message, hint);
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
                self.refuse(wanted.place, &wanted.path, message, hint);
                None
            }
        }
    }
}

fn full(policy: &Policy) -> String {
    policy.key().to_string()
}

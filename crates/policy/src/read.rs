//! Reads policies from a tree and reports everything that is wrong with them at once.

mod condition;
mod time;

use super::diagnostic::Diagnostic;
use super::expression::Expression;
use super::keys::POLICY_KEYS;
use super::limits::{NAME_CHARS_MAX, POLICIES_MAX, PRIORITY_DEFAULT, PRIORITY_MAX};
use super::lint;
use super::node::{Node, NodeValue, Place};
use super::owner::{Owner, TENANT_ID_CHARS_MAX, TenantId};
use super::policy::{Effect, Match, Mode, Policy};
use super::problem::Problem;
use super::reader::{Reader, join};
use super::terminal::quoted;

/// Where a policy's owner comes from.
#[derive(Clone, Copy)]
pub(super) enum OwnerKey<'a> {
    /// The document's key `owner` says.
    Written,
    /// It is this one, and the document may not say.
    Given(&'a Owner),
}

impl Reader<'_> {
    /// The policies of a YAML file, each with its place and path.
    pub(super) fn yaml(&mut self, text: &str) -> Vec<(Policy, Place, String)> {
        let root = self.tree(text);
        let policies = root.map_or_else(Vec::new, |root| self.document(&root));
        let place = |problem: &Problem| (problem.line, problem.column);
        self.problems.sort_by_key(place);
        self.warnings.sort_by_key(place);
        policies
    }

    fn document(&mut self, root: &Node) -> Vec<(Policy, Place, String)> {
        let hint = "a file starts with `policies:` and a list below it";
        if matches!(root.value, NodeValue::Null) {
            self.refuse(root.place, "", "there are no policies here", hint);
            return Vec::new();
        }
        if matches!(root.value, NodeValue::List(_)) {
            let message = "this is a list without a key";
            self.refuse(
                root.place,
                "",
                message,
                "put `policies:` on a line above it",
            );
            return Vec::new();
        }
        let Some(fields) = self.fields(root, "", &["policies"]) else {
            return Vec::new();
        };
        let Some(list) = fields.get("policies") else {
            self.refuse(root.place, "", "the key `policies` is missing", hint);
            return Vec::new();
        };
        let NodeValue::List(items) = &list.value else {
            let found = format!("expected a list of policies, found {}", list.value);
            self.refuse(
                list.place,
                "policies",
                found,
                "start each policy with `- name:`",
            );
            return Vec::new();
        };
        let mut policies = Vec::new();
        // One more than allowed is enough to be refused for.
        for (index, item) in items.iter().enumerate().take(POLICIES_MAX + 1) {
            let path = format!("policies[{index}]");
            if let Some(policy) = self.policy(item, &path, OwnerKey::Written) {
                policies.push((policy, item.place, path));
            }
        }
        policies
    }

    /// One policy; none where it is refused.
    pub(super) fn policy(
        &mut self,
        node: &Node,
        path: &str,
        owner: OwnerKey<'_>,
    ) -> Option<Policy> {
        let known = self.problems.len();
        let fields = self.fields(node, path, POLICY_KEYS)?;
        let get = |key: &str| fields.get(key).copied();
        let at = |key: &str| join(path, key);

        let owner = self.owner(get("owner"), &at("owner"), owner);
        let name = self.required(node, get("name"), path, "name", "every policy has a name");
        let name = name.and_then(|name| self.name(name, &at("name")));
        let description = get("description").and_then(|text| self.prose(text, &at("description")));
        let reason = get("reason").and_then(|text| self.prose(text, &at("reason")));
        let hint = "say which tracks it is about; `match: {}` is all of them";
        let match_ = self.required(node, get("match"), path, "match", hint);
        let match_ = match_.and_then(|node| self.match_(node, &at("match")));
        let unless = get("unless").and_then(|node| self.unless(node, &at("unless")));
        let when = get("when").and_then(|node| self.when(node, &at("when")));
        let not_before = get("not_before").and_then(|n| self.instant(n, &at("not_before")));
        let not_after = get("not_after").and_then(|n| self.instant(n, &at("not_after")));
        let active =
            get("active").map(|node| self.active(node, &at("active"), not_before, not_after));
        let first = get("first").and_then(|node| self.length(node, &at("first")));
        let effect = self.required(node, get("effect"), path, "effect", "write mute or exempt");
        let effect = effect.and_then(|node| self.effect(node, &at("effect")));
        let mode = match get("mode") {
            Some(node) => self.mode(node, &at("mode")),
            None => Some(Mode::Enforce),
        };
        let priority = match get("priority") {
            Some(node) => self.priority(node, &at("priority")),
            None => Some(PRIORITY_DEFAULT),
        };
        let overridable = get("overridable").and_then(|node| self.flag(node, &at("overridable")));
        if effect == Some(Effect::Exempt) && get("reason").is_none() {
            self.refuse(
                node.place,
                &at("reason"),
                "an exemption says why",
                "add `reason:`, such as `reason: voice agents must be heard`",
            );
        }
        if self.problems.len() > known {
            return None;
        }
        let policy = Policy {
            owner: owner?,
            name: name?,
            description,
            match_: match_?,
            unless,
            when,
            active: active.unwrap_or_default(),
            not_before,
            not_after,
            first,
            effect: effect?,
            mode: mode?,
            priority: priority?,
            overridable: overridable.unwrap_or(false),
            reason,
        };
        if policy.overridable {
            self.overridable(
                &policy,
                get("overridable").unwrap_or(node),
                &at("overridable"),
            )?;
        }
        if !self.linting {
            return Some(policy);
        }
        self.any_time_left(&policy, node, path)?;
        for lint in lint::policy(&policy) {
            let place = node.find(lint.keys).place;
            let keys = lint.keys.iter();
            let path = keys.fold(path.to_owned(), |path, key| join(&path, key));
            let Diagnostic { message, hint } = lint.diagnostic;
            self.warnings
                .push(self.problem(place, &path, message, hint));
        }
        Some(policy)
    }

    fn overridable(&mut self, policy: &Policy, node: &Node, path: &str) -> Option<()> {
        let message = if policy.effect == Effect::Exempt {
            "an exemption is not overridable: there is nothing that cancels it"
        } else if !policy.owner.is_operator() {
            "a tenant's policy is not overridable: the operator's exemptions always cancel it"
        } else {
            return Some(());
        };
        self.refuse(
            node.place,
            path,
            message,
            "take it out; it says that tenants' exemptions cancel an operator's mute",
        );
        None
    }

    /// The owner; none where it is refused.
    fn owner(&mut self, node: Option<&Node>, path: &str, owner: OwnerKey<'_>) -> Option<Owner> {
        match (node, owner) {
            (None, OwnerKey::Written) => Some(Owner::Operator),
            (Some(node), OwnerKey::Written) => {
                let owner = self.visible_text(node, path, TENANT_ID_CHARS_MAX, "take it out")?;
                match TenantId::new(&owner) {
                    Ok(tenant) => Some(Owner::Tenant(tenant)),
                    Err(why) => {
                        let hint = "name a tenant (a room's metadata.auth_id), or take the key out \
                                    for the operator";
                        self.refuse(node.place, path, format!("the owner {why}"), hint);
                        None
                    }
                }
            }
            (None, OwnerKey::Given(owner)) => Some(owner.clone()),
            (Some(node), OwnerKey::Given(_)) => {
                let hint = "the caller is the owner; an operator names another with ?owner=";
                self.refuse(node.place, path, "the owner is not written here", hint);
                None
            }
        }
    }

    fn name(&mut self, node: &Node, path: &str) -> Option<String> {
        let name = self.text(node, path, NAME_CHARS_MAX)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || !name.chars().all(plain) {
            self.refuse(
                node.place,
                path,
                format!("{} is no name for a policy", quoted(&name)),
                format!("1 to {NAME_CHARS_MAX} of A-Z a-z 0-9 . _ -"),
            );
            return None;
        }
        Some(name)
    }

    fn effect(&mut self, node: &Node, path: &str) -> Option<Effect> {
        self.word(node, path, "effect", Effect::WORDS, |word| match word {
            "exempt" => Effect::Exempt,
            _ => Effect::Mute,
        })
    }

    fn mode(&mut self, node: &Node, path: &str) -> Option<Mode> {
        self.word(node, path, "mode", Mode::WORDS, |word| match word {
            "dry_run" => Mode::DryRun,
            "off" => Mode::Off,
            _ => Mode::Enforce,
        })
    }

    fn priority(&mut self, node: &Node, path: &str) -> Option<u16> {
        if let NodeValue::Integer(number) = node.value
            && let Ok(priority) = u16::try_from(number)
            && priority <= PRIORITY_MAX
        {
            return Some(priority);
        }
        let hint = format!("a whole number from 0 to {PRIORITY_MAX}, without quotes");
        self.refuse(
            node.place,
            path,
            format!("{} is no priority", node.value),
            hint,
        );
        None
    }

    pub(super) fn flag(&mut self, node: &Node, path: &str) -> Option<bool> {
        if let NodeValue::Bool(flag) = node.value {
            return Some(flag);
        }
        self.refuse(
            node.place,
            path,
            format!("expected true or false, found {}", node.value),
            "",
        );
        None
    }

    fn unless(&mut self, node: &Node, path: &str) -> Option<Match> {
        let unless = self.match_(node, path)?;
        if unless.is_empty() {
            let hint = "name what it leaves alone, or take `unless` out";
            self.refuse(
                node.place,
                path,
                "an empty `unless` leaves every track alone, so the policy would do nothing",
                hint,
            );
            return None;
        }
        Some(unless)
    }

    fn when(&mut self, node: &Node, path: &str) -> Option<Expression> {
        let NodeValue::Text(text) = &node.value else {
            let message = format!("expected an expression, found {}", node.value);
            let hint = "write it in quotes, such as `when: 'room.num_participants > 10'`";
            self.refuse(node.place, path, message, hint);
            return None;
        };
        match Expression::parse(text) {
            Ok(when) => Some(when),
            Err(problem) => {
                let hint = problem.hint().unwrap_or_default();
                self.refuse(node.place, path, problem.message(), hint);
                None
            }
        }
    }
}

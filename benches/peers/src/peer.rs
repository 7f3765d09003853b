//! The other engines: each is given the rules in its own form, and asked about events in its own.
//!
//! What none of them has to do: rules that are `off` or in dry run (quell decides what those would do in
//! the same pass, the others are not asked to), the tenant (there is one only), and when the hours
//! of a rule are: which of them are open is a fact that comes with the event, as a program that
//! embeds an engine would keep it for a minute. Rules come in the order of their rank, so that the
//! first that applies decides (see [`ranked`]): an engine that can stop there does.

mod casbin;
mod cedar;
mod cel;
mod regorus;

pub use casbin::Casbin;
pub use cedar::Cedar;
pub use cel::Cel;
pub use regorus::{Form, Machine, Regorus};

use std::cmp::Reverse;

use crate::mix::{Effect, Event, HOURS, Mode, Rule};

/// An engine with rules in it.
pub trait Peer {
    /// An event in the engine's own form.
    type Asked;

    /// Makes a request of an event. Not part of what is timed.
    fn prepare(&self, event: &Event) -> Self::Asked;

    /// The number of the first rule that applies.
    fn first(&mut self, asked: &Self::Asked) -> Option<usize>;
}

/// The rules that are enforced, in the order in which they decide: the first that applies mutes where
/// it is a mute, and exempts where it is an exemption. An exemption cancels mutes of its own priority
/// and lower, so it stands before those of its own.
pub fn ranked(rules: &[Rule]) -> Vec<Rule> {
    let mut enforced: Vec<Rule> = rules
        .iter()
        .filter(|rule| rule.mode == Mode::Enforce)
        .cloned()
        .collect();
    enforced.sort_by_cached_key(|rule| {
        (
            Reverse(rule.priority),
            rule.effect == Effect::Mute,
            rule.name.clone(),
        )
    });
    enforced
}

/// The rule that mutes, of the first that applies.
pub fn muted_by(first: Option<usize>, ranked: &[Rule]) -> Option<&str> {
    let rule = &ranked[first?];
    (rule.effect == Effect::Mute).then_some(&*rule.name)
}

/// The names of the hours that are open.
fn open_hours() -> impl Iterator<Item = &'static str> {
    HOURS
        .iter()
        .filter(|hours| hours.open)
        .map(|hours| hours.name)
}

/// A text in quotes, as all of their languages write it.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}

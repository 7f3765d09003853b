//! What is allowed in a policy and probably not meant.

mod coverage;
mod names;
pub(super) mod outranked;
mod participant_controlled;
mod policy;

pub(super) use policy::lints as policy;

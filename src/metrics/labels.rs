//! What is counted and timed, apart by what.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};

/// A step on the way from a webhook to a mute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(missing_docs, reason = "each is explained in the metric's help text")]
pub enum Step {
    Verify,
    Commit,
    Queue,
    Facts,
    Decide,
    Intent,
    Call,
    Outcome,
    Settle,
    WebhookToMute,
}

impl Step {
    pub(super) const ALL: [Self; 10] = [
        Self::Verify,
        Self::Commit,
        Self::Queue,
        Self::Facts,
        Self::Decide,
        Self::Intent,
        Self::Call,
        Self::Outcome,
        Self::Settle,
        Self::WebhookToMute,
    ];
}

/// What goes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(missing_docs, reason = "each is explained in the metric's help text")]
pub enum Batch {
    Events,
    Intents,
    Ends,
    Rooms,
}

impl Batch {
    pub(super) const ALL: [Self; 4] = [Self::Events, Self::Intents, Self::Ends, Self::Rooms];
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StepLabel {
    pub(super) step: Step,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BatchLabel {
    pub(super) batch: Batch,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ResultLabel {
    pub(super) result: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) route: String,
    pub(super) status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReasonLabel {
    pub(super) reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ChoreLabel {
    pub(super) chore: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RunLabels {
    pub(super) chore: &'static str,
    pub(super) result: &'static str,
}

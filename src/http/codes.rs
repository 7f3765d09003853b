//! Every code of an error answer, in one place: what a handler answers and what `/openapi.json` says of it
//! is the same.

use axum::http::StatusCode;

/// What programs read of an error answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorCode {
    /// The HTTP status.
    pub status: StatusCode,
    /// `UPPER_SNAKE`.
    pub code: &'static str,
    /// When it is answered.
    pub(super) when: &'static str,
    /// A text that people read beside it.
    pub(super) example: &'static str,
}

macro_rules! error_codes {
    ($($name:ident = $status:ident $code:literal, $when:literal, $example:literal;)*) => {
        $(
            #[doc = $when]
            pub(super) const $name: &ErrorCode = &ErrorCode {
                status: StatusCode::$status,
                code: $code,
                when: $when,
                example: $example,
            };
        )*
        /// All of them.
        #[cfg(test)]
        pub(super) const ALL: &[&ErrorCode] = &[$($name),*];
    };
}

error_codes! {
    INVALID_REQUEST = BAD_REQUEST "INVALID_REQUEST",
        "The body, the query or a header is not what is asked for.",
        "`limit` is 0, but must be 1 to 500: ask for further ones with `cursor`";
    INVALID_POLICY = BAD_REQUEST "INVALID_POLICY",
        "The policy is not one that can be stored; every mistake is named with its place.",
        "`effect` is missing: mute or exempt";
    UNAUTHORIZED = UNAUTHORIZED "UNAUTHORIZED",
        "There is no token, or it is not valid.",
        "a token is needed: send it in the header `Authorization: Bearer ...`";
    FORBIDDEN = FORBIDDEN "FORBIDDEN",
        "The token lacks the scope, or the caller may not do this.",
        "the token lacks the scope policies:write";
    NOT_FOUND = NOT_FOUND "NOT_FOUND",
        "There is nothing at this path.",
        "there is nothing at this path";
    PARTICIPANT_NOT_FOUND = NOT_FOUND "PARTICIPANT_NOT_FOUND",
        "There is no such room, participant or track, or it is not the caller's: one answer, so that nobody learns which.",
        "no such room, participant or track";
    ACTION_NOT_FOUND = NOT_FOUND "ACTION_NOT_FOUND",
        "The audit has no action of this id, or it is not the caller's.",
        "there is no action with this id";
    POLICY_NOT_FOUND = NOT_FOUND "POLICY_NOT_FOUND",
        "The owner has no policy of this name.",
        "there is no policy of this name";
    REVISION_NOT_FOUND = NOT_FOUND "REVISION_NOT_FOUND",
        "The policy has no revision of this number.",
        "there is no revision 7 of this policy";
    EVENT_NOT_FOUND = NOT_FOUND "EVENT_NOT_FOUND",
        "No event of this id is stored, or it is not the caller's.",
        "there is no event with this id";
    NO_EVENTS = NOT_FOUND "NO_EVENTS",
        "No track was published in this time.",
        "there are no published tracks between 2026-03-01T00:00:00Z and 2026-03-02T00:00:00Z";
    METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED "METHOD_NOT_ALLOWED",
        "The path does not take this method; `Allow` names those that it takes.",
        "this path does not take that method";
    POLICY_EXISTS = CONFLICT "POLICY_EXISTS",
        "The owner has a policy of this name already.",
        "the policy is there already, as revision 3";
    TOO_MANY_POLICIES = CONFLICT "TOO_MANY_POLICIES",
        "The owner, or all owners together, would have more policies than they may.",
        "this owner has 10000 policies, which is the limit: remove one first, or say the same with fewer (a list takes several values)";
    TOO_MUCH_TEXT_WORK = CONFLICT "TOO_MUCH_TEXT_WORK",
        "The owner's policies would read more of texts for one track than they may.",
        "the policies of this owner would read up to 9.1 MiB of texts for one track, and may read 8 MiB";
    EVENT_NOT_DECIDED_ON = CONFLICT "EVENT_NOT_DECIDED_ON",
        "The event was never decided on.",
        "the event was not decided on: it is not about a published track";
    EVENT_NOT_READABLE = CONFLICT "EVENT_NOT_READABLE",
        "What was recorded of the event cannot be read by this version.",
        "what was recorded of this event cannot be read";
    DECISION_NOT_REPEATABLE = CONFLICT "DECISION_NOT_REPEATABLE",
        "A policy of that time cannot be read by this version.",
        "the decision cannot be repeated: a policy of that time cannot be read by this version";
    REVISION_NOT_RESTORABLE = CONFLICT "REVISION_NOT_RESTORABLE",
        "The revision is a deletion, or cannot be read by this version.",
        "revision 4 is a deletion: delete the policy instead";
    PRECONDITION_FAILED = PRECONDITION_FAILED "PRECONDITION_FAILED",
        "The policy is not at the revision that `If-Match` names, or is there against `If-None-Match`.",
        "the policy is at revision 4 by now: read it again";
    PAYLOAD_TOO_LARGE = PAYLOAD_TOO_LARGE "PAYLOAD_TOO_LARGE",
        "The body is larger than is read.",
        "the body is larger than 65536 bytes";
    PRECONDITION_REQUIRED = PRECONDITION_REQUIRED "PRECONDITION_REQUIRED",
        "The policy is there already, and the request does not say which revision it changes.",
        "the policy is there already: send If-Match with the ETag of the revision that you change, or * for any";
    TOO_MANY_REQUESTS = TOO_MANY_REQUESTS "TOO_MANY_REQUESTS",
        "The caller sends more requests a second, or has more under way, than it may.",
        "you send more than 50 requests a second, which is the most of one caller; try again later";
    BACKTEST_BUSY = TOO_MANY_REQUESTS "BACKTEST_BUSY",
        "The caller has a backtest under way.",
        "you have 1 request of this kind running or waiting, which is the most";
    BACKTESTS_BUSY = SERVICE_UNAVAILABLE "BACKTEST_BUSY",
        "Others' backtests are under way.",
        "too many requests of this kind are waiting; try again later";
    CHANGE_BUSY = TOO_MANY_REQUESTS "CHANGES_BUSY",
        "The caller has too many changes under way.",
        "you have 8 requests of this kind running or waiting, which is the most";
    CHANGES_BUSY = SERVICE_UNAVAILABLE "CHANGES_BUSY",
        "Others' changes are under way.",
        "too many requests of this kind are waiting; try again later";
    EXPLAIN_BUSY = TOO_MANY_REQUESTS "EXPLAIN_BUSY",
        "The caller has too many questions under way.",
        "you have 4 requests of this kind running or waiting, which is the most";
    EXPLAINS_BUSY = SERVICE_UNAVAILABLE "EXPLAIN_BUSY",
        "Others' questions are under way.",
        "too many requests of this kind are waiting; try again later";
    PLAN_BUSY = TOO_MANY_REQUESTS "PLAN_BUSY",
        "The caller has a plan under way.",
        "you have 1 request of this kind running or waiting, which is the most";
    PLANS_BUSY = SERVICE_UNAVAILABLE "PLAN_BUSY",
        "Others' plans are under way.",
        "too many requests of this kind are waiting; try again later";
    ROOMS_BUSY = TOO_MANY_REQUESTS "ROOMS_BUSY",
        "The caller has as many of these questions under way as it may.",
        "you have 2 of these requests under way or waiting, which is the most of one caller; try again when one has been answered";
    ALL_ROOMS_BUSY = SERVICE_UNAVAILABLE "ROOMS_BUSY",
        "Others' questions are under way.",
        "requests of other callers are still running; try again in some seconds";
    EXPORT_BUSY = TOO_MANY_REQUESTS "EXPORT_BUSY",
        "The caller has as many exports under way as it may.",
        "you have 2 of these requests under way or waiting, which is the most of one caller; try again when one has been answered";
    EXPORTS_BUSY = SERVICE_UNAVAILABLE "EXPORT_BUSY",
        "Others' exports are under way.",
        "requests of other callers are still running; try again in some seconds";
    STREAM_BUSY = TOO_MANY_REQUESTS "STREAM_BUSY",
        "The caller has as many streams open as it may.",
        "you have 4 of these requests under way or waiting, which is the most of one caller; try again when one has been answered";
    STREAMS_BUSY = SERVICE_UNAVAILABLE "STREAM_BUSY",
        "There are as many streams open as there may be.",
        "too many callers wait for this; try again in some seconds";
    INTERNAL_ERROR = INTERNAL_SERVER_ERROR "INTERNAL_ERROR",
        "A bug of quell: its log says more.",
        "quell failed; its log says why";
    BACKTEST_FAILED = INTERNAL_SERVER_ERROR "BACKTEST_FAILED",
        "A bug of quell: its log says more.",
        "the backtest was broken off";
    EXPLAIN_FAILED = INTERNAL_SERVER_ERROR "EXPLAIN_FAILED",
        "A bug of quell: its log says more.",
        "the explanation was broken off";
    PLAN_FAILED = INTERNAL_SERVER_ERROR "PLAN_FAILED",
        "A bug of quell: its log says more.",
        "the plan was broken off";
    ROOMS_FAILED = INTERNAL_SERVER_ERROR "ROOMS_FAILED",
        "A bug of quell: its log says more.",
        "the list was broken off";
    MUTE_FAILED = INTERNAL_SERVER_ERROR "MUTE_FAILED",
        "LiveKit did not do it, or it could not be recorded and so was not done.",
        "LiveKit cannot be reached";
    REMOTE_UNMUTE_DISABLED = INTERNAL_SERVER_ERROR "REMOTE_UNMUTE_DISABLED",
        "LiveKit takes no unmutes: `room.enable_remote_unmute` is not set there.",
        "LiveKit refuses to unmute: set room.enable_remote_unmute in its settings";
    MUTE_NOT_CONFIGURED = INTERNAL_SERVER_ERROR "LIVEKIT_NOT_CONFIGURED",
        "quell knows no LiveKit.",
        "LiveKit is not configured: set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET";
    AUTH_SERVICE_FAILED = BAD_GATEWAY "AUTH_SERVICE_FAILED",
        "The auth service's answer is a failure, or cannot be understood.",
        "the auth service failed; try again later";
    LIVEKIT_FAILED = BAD_GATEWAY "LIVEKIT_FAILED",
        "LiveKit's answer is a failure, or cannot be understood.",
        "LiveKit answered 500 to ListParticipants";
    AUTH_SERVICE_UNAVAILABLE = SERVICE_UNAVAILABLE "AUTH_SERVICE_UNAVAILABLE",
        "The auth service, or the keys that tokens are checked with, cannot be reached.",
        "the auth service cannot be reached; try again later";
    LIVEKIT_UNAVAILABLE = SERVICE_UNAVAILABLE "LIVEKIT_UNAVAILABLE",
        "LiveKit did not answer in time, or cannot be reached.",
        "LiveKit cannot be reached";
    LIVEKIT_NOT_CONFIGURED = SERVICE_UNAVAILABLE "LIVEKIT_NOT_CONFIGURED",
        "quell knows no LiveKit.",
        "LiveKit is not configured: set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET";
    UNAVAILABLE = SERVICE_UNAVAILABLE "UNAVAILABLE",
        "Postgres cannot be used, quell is being stopped, or has too much to read: worth another try.",
        "Postgres cannot be reached";
}

//! The reasons of `quell_auth_failures_total`: why a request is answered 401, as one of a few words.

/// Why a request is answered 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthFailure {
    /// Nothing was sent.
    NoToken,
    /// What was sent is no token.
    NoBearerToken,
    /// Nothing that checks tokens knows it.
    UnknownToken,
    /// A JWT of ours that no key of ours signed.
    BadSignature,
    /// A JWT whose time is over.
    Expired,
    /// A JWT whose time has not come.
    NotYetValid,
    /// A JWT of another issuer, or for another audience.
    NotForUs,
    /// A JWT whose claims are missing, or cannot be understood.
    BadClaims,
    /// A good token without an id, or with one that cannot be a caller's.
    BadId,
    /// The auth service said no.
    AuthService,
    /// A webhook that LiveKit did not sign, or not as it is.
    Webhook,
}

impl AuthFailure {
    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::NoToken,
        Self::NoBearerToken,
        Self::UnknownToken,
        Self::BadSignature,
        Self::Expired,
        Self::NotYetValid,
        Self::NotForUs,
        Self::BadClaims,
        Self::BadId,
        Self::AuthService,
        Self::Webhook,
    ];

    /// The word in the metric and in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::NoBearerToken => "no_bearer_token",
            Self::UnknownToken => "unknown_token",
            Self::BadSignature => "bad_signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::NotForUs => "not_for_us",
            Self::BadClaims => "bad_claims",
            Self::BadId => "bad_id",
            Self::AuthService => "auth_service",
            Self::Webhook => "webhook_signature",
        }
    }
}

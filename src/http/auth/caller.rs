//! Who is calling, and what they may do.

use std::collections::BTreeSet;

use super::refusal::Refusal;
use crate::metrics::AuthFailure;
use quell_policy::{TenantId, TenantIdError};

use crate::caller_id::{self, IdError};

/// One thing that a token can be limited to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// `mute`: mute and unmute tracks.
    Mute,
    /// `policies:read`: see policies and their revisions.
    PoliciesRead,
    /// `policies:write`: create, change and delete policies.
    PoliciesWrite,
    /// `audit:read`: read the audit.
    AuditRead,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [
        Self::Mute,
        Self::PoliciesRead,
        Self::PoliciesWrite,
        Self::AuditRead,
    ];

    /// The word that a token's scope claim holds.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mute => "mute",
            Self::PoliciesRead => "policies:read",
            Self::PoliciesWrite => "policies:write",
            Self::AuditRead => "audit:read",
        }
    }

    /// The scope of this word; none for a word that is not ours.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }

    pub(super) fn all() -> BTreeSet<Self> {
        Self::ALL.into_iter().collect()
    }
}

/// Who sent a request, checked. Only an `Authenticator` makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    id: Option<TenantId>,
    on_behalf_of: Option<Id>,
    operator: bool,
    scopes: BTreeSet<Scope>,
}

impl Caller {
    /// The caller's `auth_id`; none for a caller who may act on any room but has no name.
    #[must_use]
    pub fn id(&self) -> Option<&TenantId> {
        self.id.as_ref()
    }

    /// The person for whom the caller calls, as it says.
    #[must_use]
    pub fn on_behalf_of(&self) -> Option<&str> {
        self.on_behalf_of.as_ref().map(|person| person.0.as_str())
    }

    /// Whether the id is one of `QUELL_OPERATOR_IDS`. A caller without an id never is.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        self.operator
    }

    /// Whether the caller's token allows this.
    #[must_use]
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// The caller that a checked token stands for.
    pub(super) fn identified(identity: Identity, operator_ids: &BTreeSet<String>) -> Self {
        Self {
            operator: operator_ids.contains(identity.id.0.as_str()),
            id: Some(identity.id.0),
            on_behalf_of: identity.on_behalf_of,
            scopes: identity.scopes,
        }
    }

    /// A caller without an id, whom only the mute endpoint lets in.
    pub(super) fn without_id() -> Self {
        Self {
            id: None,
            on_behalf_of: None,
            operator: false,
            scopes: BTreeSet::from([Scope::Mute]),
        }
    }
}

/// Whom a token stands for, and what it may be used for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: Id,
    /// The person for whom it is used.
    pub(super) on_behalf_of: Option<Id>,
    pub(super) scopes: BTreeSet<Scope>,
}

/// The id of a caller, or of a person: text that `caller_id` has nothing against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Id(TenantId);

impl Id {
    /// `text` as an id, exactly as given.
    pub(super) fn new(text: &str) -> Result<Self, Refusal> {
        let why = match caller_id::read(text) {
            Ok(id) => return Ok(Self(id)),
            Err(IdError::Tenant(TenantIdError::Blank)) => "the token's id is blank",
            Err(IdError::Tenant(TenantIdError::Control)) => "the token's id has control characters",
            Err(IdError::Tenant(TenantIdError::Long)) => {
                "the token's id is longer than 256 characters"
            }
            Err(IdError::CommandLine) => {
                "the token's id begins with cli:, which is kept for the command line"
            }
        };
        Err(Refusal::new(AuthFailure::BadId, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_listed_id_is_an_operator() {
        let operators = BTreeSet::from(["root".to_owned()]);
        let caller = |id: &str| {
            let identity = Identity {
                id: Id::new(id).unwrap(),
                on_behalf_of: None,
                scopes: Scope::all(),
            };
            Caller::identified(identity, &operators)
        };
        assert!(caller("root").is_operator());
        for id in ["Root", " root", "acme"] {
            assert!(!caller(id).is_operator(), "{id}");
        }
        assert!(!Caller::without_id().is_operator());
    }

    #[test]
    fn no_id_may_mute_and_nothing_else() {
        let may = Scope::ALL.map(|scope| Caller::without_id().has(scope));
        assert_eq!(may, [true, false, false, false]);
    }
}

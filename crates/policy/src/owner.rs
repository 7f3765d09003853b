//! Whose a policy or a room is: the operator's, or a tenant's.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest tenant id, in characters.
pub const TENANT_ID_CHARS_MAX: usize = 256;

/// A tenant: `auth_id` of a room's metadata and of a caller. 1 to 256 characters, not blank, no control
/// characters; compared byte by byte, and never cut.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "crate::schema::Tenant")]
pub struct TenantId(Arc<str>);

/// Why a text is no tenant id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TenantIdError {
    /// Nothing, or nothing but blanks.
    #[error("is blank")]
    Blank,
    /// A line break, a NUL or the like.
    #[error("has control characters")]
    Control,
    /// More than [`TENANT_ID_CHARS_MAX`] characters.
    #[error("is longer than {TENANT_ID_CHARS_MAX} characters")]
    Long,
}

impl TenantId {
    /// `text` as a tenant id, unchanged.
    pub fn new(text: &str) -> Result<Self, TenantIdError> {
        if text.trim().is_empty() {
            Err(TenantIdError::Blank)
        } else if text.chars().any(char::is_control) {
            Err(TenantIdError::Control)
        } else if text.chars().nth(TENANT_ID_CHARS_MAX).is_some() {
            Err(TenantIdError::Long)
        } else {
            Ok(Self(Arc::from(text)))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TenantId {
    type Error = TenantIdError;

    fn try_from(text: String) -> Result<Self, TenantIdError> {
        Self::new(&text)
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Whose a policy is. In JSON and SQL a tenant's id, or null for the operator. The operator comes first.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(from = "Option<TenantId>", into = "Option<TenantId>")]
#[schemars(with = "Option<TenantId>")]
pub enum Owner {
    /// Whoever runs quell: policies that hold in every room.
    #[default]
    Operator,
    /// A tenant: policies that hold in its own rooms.
    Tenant(TenantId),
}

impl Owner {
    /// The tenant; none is the operator.
    #[must_use]
    pub fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Operator => None,
            Self::Tenant(tenant) => Some(tenant),
        }
    }

    /// As SQL has it: the tenant's id, or null for the operator.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        self.tenant().map(TenantId::as_str)
    }

    /// Whether it is the operator.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        *self == Self::Operator
    }
}

impl From<Option<TenantId>> for Owner {
    fn from(tenant: Option<TenantId>) -> Self {
        tenant.map_or(Self::Operator, Self::Tenant)
    }
}

impl From<Owner> for Option<TenantId> {
    fn from(owner: Owner) -> Self {
        match owner {
            Owner::Operator => None,
            Owner::Tenant(tenant) => Some(tenant),
        }
    }
}

impl TryFrom<Option<String>> for Owner {
    type Error = TenantIdError;

    fn try_from(tenant: Option<String>) -> Result<Self, TenantIdError> {
        Ok(tenant.map(TenantId::try_from).transpose()?.into())
    }
}

/// How the operator is written where people read names of policies.
pub const OPERATOR: &str = "(operator)";

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str().unwrap_or(OPERATOR))
    }
}

/// What names a policy: an owner and a name. The operator's come first, as in the audit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
pub struct PolicyKey {
    /// Whose it is.
    pub owner: Owner,
    /// Its name, unique for its owner.
    pub name: String,
}

impl fmt::Display for PolicyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_id_is_1_to_256_characters_and_none_that_controls() {
        let longest = "ä".repeat(TENANT_ID_CHARS_MAX);
        for good in ["acme", " acme ", "0", "Zoë 🎤", "a\u{202e}b", &longest] {
            assert_eq!(TenantId::new(good).unwrap().as_str(), good);
        }
        let too_long = format!("{longest}a");
        for (bad, why) in [
            ("", TenantIdError::Blank),
            (" \t\u{3000}", TenantIdError::Blank),
            ("a\0b", TenantIdError::Control),
            ("a\nb", TenantIdError::Control),
            ("\u{85}a", TenantIdError::Control),
            (&too_long, TenantIdError::Long),
        ] {
            assert_eq!(TenantId::new(bad), Err(why), "{bad:?}");
            let json = serde_json::Value::from(bad);
            assert!(serde_json::from_value::<TenantId>(json).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_owner_is_a_tenant_or_null() {
        let acme = Owner::Tenant(TenantId::new("acme").unwrap());
        for (owner, json) in [(Owner::Operator, "null"), (acme.clone(), r#""acme""#)] {
            assert_eq!(serde_json::to_string(&owner).unwrap(), json);
            assert_eq!(serde_json::from_str::<Owner>(json).unwrap(), owner);
        }
        assert!(Owner::Operator < acme);
        assert_eq!(size_of::<Owner>(), size_of::<Option<Arc<str>>>());
    }
}

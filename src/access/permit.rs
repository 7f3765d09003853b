//! Authorizes actions. A permit is the proof, and nothing changes anything in LiveKit without one.

use chrono::{DateTime, Utc};
use quell_policy::{Owner, TenantId};

/// What is to be done to a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Nobody hears or sees it any more.
    Mute,
    /// It is heard or seen again.
    Unmute,
}

impl Verb {
    /// The verb that leaves a track `muted`, or not.
    #[must_use]
    pub const fn of_mute(muted: bool) -> Self {
        if muted { Self::Mute } else { Self::Unmute }
    }
}

/// On whose authority something is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// A caller; without an id it may act on any room.
    Caller {
        /// Its `auth_id`.
        id: Option<TenantId>,
    },
    /// Whoever runs the command line, by name (`cli:ann`): every room is in reach.
    CommandLine(String),
    /// A stored policy, by its owner's right: the operator's holds in every room.
    Policy {
        /// Its owner.
        owner: Owner,
        /// When the reason became known, by Postgres's clock: the action gives way to a person's newer unmute.
        as_of: DateTime<Utc>,
    },
}

impl Authority {
    /// When a policy's reason became known; none for a person, who gives way to nobody.
    #[must_use]
    pub fn as_of(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Policy { as_of, .. } => Some(*as_of),
            Self::Caller { .. } | Self::CommandLine(_) => None,
        }
    }
}

/// The track that is meant, as LiveKit shows it now.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The room's name.
    pub room_name: &'a str,
    /// The room's SID.
    pub room_sid: &'a str,
    /// The room's tenant.
    pub tenant: Option<&'a TenantId>,
    /// The participant's identity.
    pub identity: &'a str,
    /// The track's SID.
    pub track_sid: &'a str,
    /// The track's source, as LiveKit names it: `MICROPHONE`.
    pub source: &'a str,
}

/// Permission to do one thing to one track, once.
///
/// Only [`authorize`] makes one, and it is not `Clone`: one check, one action.
#[derive(Debug)]
pub struct Permit {
    verb: Verb,
    authority: Authority,
    room_name: String,
    room_sid: String,
    identity: String,
    track_sid: String,
    source: String,
}

/// The authority does not reach this room.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// The room names no tenant.
    #[error("the room's metadata names no auth_id, so nobody with an id may act on it")]
    NoTenant,
    /// The room is another tenant's.
    #[error("the room belongs to another auth_id")]
    OtherTenant,
}

impl Permit {
    /// What it permits.
    #[must_use]
    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// On whose authority.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The room's name.
    #[must_use]
    pub fn room_name(&self) -> &str {
        &self.room_name
    }

    /// The room's SID, for the record: LiveKit's calls take a room's name alone.
    #[must_use]
    pub fn room_sid(&self) -> &str {
        &self.room_sid
    }

    /// The participant's identity.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The track's SID, which LiveKit gives out once: a room of the same name that came later
    /// has no such track.
    #[must_use]
    pub fn track_sid(&self) -> &str {
        &self.track_sid
    }

    /// The track's source.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// Checks that `authority` may do `verb` to the target.
pub fn authorize(verb: Verb, authority: &Authority, target: &Target<'_>) -> Result<Permit, Denied> {
    reaches(authority, target.tenant)?;
    Ok(Permit {
        verb,
        authority: authority.clone(),
        room_name: target.room_name.to_owned(),
        room_sid: target.room_sid.to_owned(),
        identity: target.identity.to_owned(),
        track_sid: target.track_sid.to_owned(),
        source: target.source.to_owned(),
    })
}

/// Checks that `authority` reaches a room of `tenant`, to act there or to see it.
pub fn reaches(authority: &Authority, tenant: Option<&TenantId>) -> Result<(), Denied> {
    match authority {
        Authority::Caller { id: None }
        | Authority::CommandLine(_)
        | Authority::Policy {
            owner: Owner::Operator,
            ..
        } => Ok(()),
        Authority::Caller { id: Some(id) }
        | Authority::Policy {
            owner: Owner::Tenant(id),
            ..
        } => match tenant {
            Some(tenant) if tenant == id => Ok(()),
            Some(_) => Err(Denied::OtherTenant),
            None => Err(Denied::NoTenant),
        },
    }
}

#[cfg(test)]
mod tests {
    use quell_policy::metadata::{metadata_in, tenant_in};

    use super::*;

    #[test]
    fn an_id_reaches_the_rooms_that_name_it_and_no_id_reaches_all() {
        let id = |id: &str| TenantId::new(id).ok();
        let caller = |id| Authority::Caller { id };
        let policy = |tenant: Option<TenantId>| Authority::Policy {
            owner: tenant.into(),
            as_of: DateTime::UNIX_EPOCH,
        };
        let prefix = "a".repeat(255);
        for (authority, metadata, expect) in [
            (caller(id("acme")), r#"{"auth_id":"acme"}"#, Ok(())),
            (
                caller(id("acme")),
                r#"{"auth_id":"globex"}"#,
                Err(Denied::OtherTenant),
            ),
            (
                caller(id("acme")),
                r#"{"auth_id":"ACME"}"#,
                Err(Denied::OtherTenant),
            ),
            (
                caller(id("acme")),
                r#"{"auth_id":"acme "}"#,
                Err(Denied::OtherTenant),
            ),
            (
                caller(id("acme")),
                r#"{"auth_id":""}"#,
                Err(Denied::NoTenant),
            ),
            (caller(id("7")), r#"{"auth_id":7}"#, Err(Denied::NoTenant)),
            (
                caller(id(&format!("{prefix}b"))),
                &format!(r#"{{"auth_id":"{prefix}c"}}"#),
                Err(Denied::OtherTenant),
            ),
            // Longer than an id can be: the room is nobody's, and no prefix of it is anybody's.
            (
                caller(id(&format!("{prefix}b"))),
                &format!(r#"{{"auth_id":"{prefix}bb"}}"#),
                Err(Denied::NoTenant),
            ),
            (
                caller(id("acme")),
                r#"{"auth_id":"acme\u0000"}"#,
                Err(Denied::NoTenant),
            ),
            (caller(id("acme")), "acme", Err(Denied::NoTenant)),
            (caller(id("acme")), "", Err(Denied::NoTenant)),
            (caller(None), r#"{"auth_id":"acme"}"#, Ok(())),
            (caller(None), "", Ok(())),
            (policy(id("acme")), r#"{"auth_id":"acme"}"#, Ok(())),
            (
                policy(id("acme")),
                r#"{"auth_id":"globex"}"#,
                Err(Denied::OtherTenant),
            ),
            (policy(id("acme")), "", Err(Denied::NoTenant)),
            (policy(None), r#"{"auth_id":"globex"}"#, Ok(())),
            (policy(None), "", Ok(())),
        ] {
            let tenant = tenant_in(&metadata_in(metadata));
            let target = Target {
                room_name: "r",
                room_sid: "RM_1",
                tenant: tenant.as_ref(),
                identity: "p",
                track_sid: "TR_1",
                source: "MICROPHONE",
            };
            let permit = authorize(Verb::Mute, &authority, &target);
            let result = permit.map(|permit| {
                assert_eq!(
                    (permit.verb(), permit.authority()),
                    (Verb::Mute, &authority)
                );
            });
            assert_eq!(result, expect, "{authority:?} {metadata}");
        }
    }
}

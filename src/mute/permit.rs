//! Proof that an authorization check passed: the one key to LiveKit's mute call.

use livekit_protocol::TrackInfo;

use crate::livekit::LiveRoom;

/// On whose word something is to be muted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority<'a> {
    /// A caller; without an id it may act on any room.
    Caller {
        /// The caller's id.
        id: Option<&'a str>,
    },
    /// A stored policy, by its owner's right.
    PolicyOwner {
        /// The tenant; none is the operator, whose policies hold in every room.
        tenant: Option<&'a str>,
    },
}

/// Permission to mute or unmute one track, once.
///
/// Not `Clone`, and no way to build one but [`authorize`]: what has a permit was checked.
#[derive(Debug)]
pub struct Permit {
    room_name: String,
    identity: String,
    track_sid: String,
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
    /// The room's name.
    #[must_use]
    pub fn room_name(&self) -> &str {
        &self.room_name
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
}

/// Checks that `authority` may mute this track in `room`, as LiveKit lists it now.
pub(super) fn authorize(
    authority: Authority<'_>,
    room: &LiveRoom,
    identity: &str,
    track: &TrackInfo,
) -> Result<Permit, Denied> {
    reaches(authority, room)?;
    Ok(Permit {
        room_name: room.info.name.clone(),
        identity: identity.to_owned(),
        track_sid: track.sid.clone(),
    })
}

/// Checks that `authority` reaches into `room`, to mute there or to look.
pub(super) fn reaches(authority: Authority<'_>, room: &LiveRoom) -> Result<(), Denied> {
    match authority {
        Authority::Caller { id: None } | Authority::PolicyOwner { tenant: None } => Ok(()),
        Authority::Caller { id: Some(id) } | Authority::PolicyOwner { tenant: Some(id) } => {
            match room.tenant.as_deref() {
                Some(tenant) if tenant == id => Ok(()),
                Some(_) => Err(Denied::OtherTenant),
                None => Err(Denied::NoTenant),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use livekit_protocol::Room;

    use super::*;

    #[test]
    fn an_id_reaches_the_rooms_that_name_it_and_no_id_reaches_all() {
        let caller = |id| Authority::Caller { id };
        let policy = |tenant| Authority::PolicyOwner { tenant };
        for (authority, metadata, expect) in [
            (caller(Some("acme")), r#"{"auth_id":"acme"}"#, Ok(())),
            (
                caller(Some("acme")),
                r#"{"auth_id":"globex"}"#,
                Err(Denied::OtherTenant),
            ),
            (
                caller(Some("acme")),
                r#"{"auth_id":"ACME"}"#,
                Err(Denied::OtherTenant),
            ),
            (
                caller(Some("acme")),
                r#"{"auth_id":"acme "}"#,
                Err(Denied::OtherTenant),
            ),
            (
                caller(Some("acme")),
                r#"{"auth_id":""}"#,
                Err(Denied::NoTenant),
            ),
            (caller(Some("")), r#"{"auth_id":""}"#, Err(Denied::NoTenant)),
            (caller(Some("7")), r#"{"auth_id":7}"#, Err(Denied::NoTenant)),
            (caller(Some("acme")), "acme", Err(Denied::NoTenant)),
            (caller(Some("acme")), "", Err(Denied::NoTenant)),
            (caller(None), r#"{"auth_id":"acme"}"#, Ok(())),
            (caller(None), "", Ok(())),
            (policy(Some("acme")), r#"{"auth_id":"acme"}"#, Ok(())),
            (
                policy(Some("acme")),
                r#"{"auth_id":"globex"}"#,
                Err(Denied::OtherTenant),
            ),
            (policy(Some("acme")), "", Err(Denied::NoTenant)),
            (policy(None), r#"{"auth_id":"globex"}"#, Ok(())),
            (policy(None), "", Ok(())),
        ] {
            let room = LiveRoom::from(Room {
                metadata: metadata.to_owned(),
                ..Room::default()
            });
            let result = authorize(authority, &room, "p", &TrackInfo::default()).map(drop);
            assert_eq!(result, expect, "{authority:?} {metadata}");
        }
    }
}

//! The user that Postgres runs as: ourselves, or another one where we are root, which it refuses.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User, geteuid};

use super::error::LocalPostgresError;

/// Users without rights that most machines have; the first is made for this by its package.
const PREFERRED: [&str; 2] = ["postgres", "nobody"];

/// A user that is not root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

pub(super) fn we_are_root() -> bool {
    geteuid().is_root()
}

pub(super) fn our_uid() -> u32 {
    geteuid().as_raw()
}

impl Account {
    /// Whom to become; none where we are not root. A data folder that is somebody's already is
    /// kept by that user: one made by `nobody` must work after the package adds `postgres`.
    pub(super) fn choose(data: &Path) -> Result<Option<Self>, LocalPostgresError> {
        if !we_are_root() {
            return Ok(None);
        }
        if let Ok(meta) = data.metadata()
            && meta.uid() != 0
        {
            return Ok(Some(Self::of_folder(meta.uid(), meta.gid())));
        }
        PREFERRED
            .into_iter()
            .find_map(Self::named)
            .map(Some)
            .ok_or(LocalPostgresError::NoUser)
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        let user = User::from_name(name).ok().flatten()?;
        (!user.uid.is_root()).then(|| Self {
            name: user.name,
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        })
    }

    fn of_folder(uid: u32, gid: u32) -> Self {
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        Self {
            gid: user.as_ref().map_or(gid, |user| user.gid.as_raw()),
            name: user.map_or_else(|| format!("with id {uid}"), |user| user.name),
            uid,
        }
    }

    /// The first folder on the way to `path` that this user cannot enter. Modes only: access
    /// lists may still refuse, and then the program's own message says so.
    pub(super) fn barred_from(&self, path: &Path) -> Option<PathBuf> {
        let above = path.ancestors().skip(1).collect::<Vec<_>>();
        above
            .into_iter()
            .rev()
            .find(|folder| {
                folder.metadata().is_ok_and(|meta| {
                    let bit = if meta.uid() == self.uid {
                        0o100
                    } else if meta.gid() == self.gid {
                        0o010
                    } else {
                        0o001
                    };
                    meta.mode() & bit == 0
                })
            })
            .map(Path::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn root_is_never_chosen() {
        assert_eq!(Account::named("root"), None);
        assert_eq!(Account::named("no-such-user-here"), None);
    }

    #[test]
    fn a_private_folder_on_the_way_is_named() {
        let stranger = Account {
            name: "stranger".to_owned(),
            uid: 4_000_000,
            gid: 4_000_000,
        };
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        let mode = |mode| {
            std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(0o700);
        assert_eq!(stranger.barred_from(&inner).as_deref(), Some(root.path()));
        mode(0o711);
        assert_eq!(stranger.barred_from(&inner), None);
    }
}

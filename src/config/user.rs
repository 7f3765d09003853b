//! Who runs the command line, by the system's own account: what `USER` says, anyone can say.

use nix::unistd::{Uid, User, getuid};

use super::Environment;
use quell_policy::terminal::without_controls;

/// The system's user, and beside it who became root by sudo: `ann`, `uid 1234`,
/// `root (sudo by ann)`.
#[must_use]
pub fn os_user() -> String {
    let environment = Environment::of_process();
    let sudo_uid = environment.get("SUDO_UID").and_then(|uid| uid.to_str());
    let name_of = |uid| User::from_uid(uid).ok().flatten().map(|user| user.name);
    user(getuid(), sudo_uid, name_of)
}

fn user(uid: Uid, sudo_uid: Option<&str>, name_of: impl Fn(Uid) -> Option<String>) -> String {
    let named = |uid| match name_of(uid) {
        Some(name) => without_controls(&name),
        None => format!("uid {uid}"),
    };
    // Only sudo makes this of root's environment; anybody else may have made it up.
    let by = sudo_uid.filter(|_| uid.is_root());
    let by = by.and_then(|by| by.parse().ok()).map(Uid::from_raw);
    match by.filter(|by| *by != uid) {
        Some(by) => format!("{} (sudo by {})", named(uid), named(by)),
        None => named(uid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_who_it_is_and_sudo_who_became_root() {
        let name_of = |uid: Uid| match uid.as_raw() {
            0 => Some("root".to_owned()),
            1000 => Some("ann".to_owned()),
            _ => None,
        };
        for (uid, sudo_uid, expect) in [
            (1000, None, "ann"),
            (1234, None, "uid 1234"),
            (0, None, "root"),
            (0, Some("1000"), "root (sudo by ann)"),
            (0, Some("1234"), "root (sudo by uid 1234)"),
            (0, Some("0"), "root"),
            (0, Some("ann"), "root"),
            (0, Some("-1"), "root"),
            // Not root: sudo did not make this.
            (1000, Some("0"), "ann"),
            (1234, Some("1000"), "uid 1234"),
        ] {
            let user = user(Uid::from_raw(uid), sudo_uid, name_of);
            assert_eq!(user, expect, "{uid} {sudo_uid:?}");
        }
    }
}

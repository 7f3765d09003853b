//! The data folder of the machine's own Postgres, and the folder of its socket.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::config::DatabaseConfig;

use super::account::{Account, our_uid, we_are_root};
use super::constants::SUPERUSER;
use super::error::LocalPostgresError;
use super::files::{entries, io};
use super::process;
use super::programs::Programs;

const INITDB_TIMEOUT: Duration = Duration::from_mins(3);

/// A cluster is made in here and then moved up, `PG_VERSION` last: a folder with that file is
/// whole, one with this is what a crash left, and is made again.
const UNFINISHED: &str = "quell-initdb-unfinished";

const SETTINGS: &str = "
# Written by quell when it made this folder; yours to change.
shared_buffers = 64MB
# Compiling a query takes longer than any of quell's runs.
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
";

/// `QUELL_PG_DATA`, or the place that suits who we are.
pub(super) fn folder(config: &DatabaseConfig) -> Result<PathBuf, LocalPostgresError> {
    let folder = match (&config.pg_data, &config.data_home) {
        (Some(folder), _) => folder.clone(),
        // A folder below root's private home cannot be entered by the other user.
        (None, _) if we_are_root() => PathBuf::from("/var/lib/quell/pg"),
        (None, Some(home)) => home.join("quell/pg"),
        (None, None) => return Err(LocalPostgresError::NoDataFolder),
    };
    if folder.is_absolute() {
        return Ok(folder);
    }
    std::path::absolute(&folder).map_err(io("find", &folder))
}

/// Where the demo's data is: beside the service's own.
pub(super) fn demo_folder(config: &DatabaseConfig) -> Result<PathBuf, LocalPostgresError> {
    Ok(folder(config)?.with_file_name("demo"))
}

/// What is in a data folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Nothing,
    /// What a crash in the middle of `initdb` left.
    Unfinished,
    Cluster {
        major: u32,
    },
}

/// Says what `folder` holds; one that is not there holds nothing.
pub(super) fn inspect(folder: &Path) -> Result<Holds, LocalPostgresError> {
    let entries = entries(folder)?;
    let has = |name: &str| entries.iter().any(|entry| entry.file_name() == name);
    if has("PG_VERSION") {
        let path = folder.join("PG_VERSION");
        let text = std::fs::read_to_string(&path).map_err(io("read", &path))?;
        let major = text
            .trim()
            .parse()
            .map_err(|_| LocalPostgresError::NotOurs {
                folder: folder.to_owned(),
            })?;
        Ok(Holds::Cluster { major })
    } else if has(UNFINISHED) {
        Ok(Holds::Unfinished)
    } else if entries.is_empty() {
        Ok(Holds::Nothing)
    } else {
        Err(LocalPostgresError::NotOurs {
            folder: folder.to_owned(),
        })
    }
}

/// Makes the folder where it is missing, and returns its real path.
pub(super) fn create(
    folder: &Path,
    account: Option<&Account>,
) -> Result<PathBuf, LocalPostgresError> {
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent).map_err(io("make", parent))?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => own(folder, account)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(io("make", folder)(error)),
    }
    let folder = folder.canonicalize().map_err(io("find", folder))?;
    if let Some(account) = account
        && let Some(barred) = account.barred_from(&folder)
    {
        return Err(LocalPostgresError::Barred {
            data: folder,
            barred,
            user: account.name.clone(),
        });
    }
    Ok(folder)
}

/// Makes a cluster in `folder`, which holds nothing, or what a crash left of an attempt.
pub(super) async fn initialize(
    folder: &Path,
    programs: &Programs,
    account: Option<&Account>,
) -> Result<(), LocalPostgresError> {
    own(folder, account)?;
    std::fs::set_permissions(folder, Permissions::from_mode(0o700))
        .map_err(io("close to others", folder))?;
    let unfinished = folder.join(UNFINISHED);
    clear(folder, &unfinished)?;
    DirBuilder::new()
        .mode(0o700)
        .create(&unfinished)
        .map_err(io("make", &unfinished))?;
    own(&unfinished, account)?;

    let mut initdb = process::command(&programs.initdb(), account);
    // Only this user and root can enter the socket's folder, so whoever comes that way is
    // trusted; nobody comes another way.
    initdb
        .arg(format!("--username={SUPERUSER}"))
        .args(["--auth-local=trust", "--auth-host=reject"])
        // Byte order: it does not change under the indexes when the system's library does.
        .args(["--encoding=UTF8", "--no-locale", "--no-instructions"])
        .arg("--pgdata")
        .arg(&unfinished);
    process::output(initdb, INITDB_TIMEOUT).await?;

    let settings = unfinished.join("postgresql.conf");
    OpenOptions::new()
        .append(true)
        .open(&settings)
        .and_then(|mut file| {
            file.write_all(SETTINGS.as_bytes())?;
            file.sync_all()
        })
        .map_err(io("write", &settings))?;
    finish(folder, &unfinished)
}

/// Removes what an unfinished attempt left. Only a folder that was empty ever gets `unfinished`,
/// so nothing else can be in it.
fn clear(folder: &Path, unfinished: &Path) -> Result<(), LocalPostgresError> {
    let remove = |path: &Path| match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    // The mark goes last: a crash in here leaves it in place.
    for entry in entries(folder)?
        .into_iter()
        .filter(|entry| entry.path() != unfinished)
    {
        remove(&entry.path()).map_err(io("remove", &entry.path()))?;
    }
    match remove(unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io("remove", unfinished)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn finish(folder: &Path, unfinished: &Path) -> Result<(), LocalPostgresError> {
    let up = |name: &std::ffi::OsStr| {
        std::fs::rename(unfinished.join(name), folder.join(name))
            .map_err(io("move up", &unfinished.join(name)))
    };
    for entry in entries(unfinished)?
        .into_iter()
        .filter(|entry| entry.file_name() != "PG_VERSION")
    {
        up(&entry.file_name())?;
    }
    up("PG_VERSION".as_ref())?;
    std::fs::remove_dir(unfinished).map_err(io("remove", unfinished))?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io("write", folder))
}

/// The folder below `root` of the socket that belongs to the data folder `data` (its real path): two
/// data folders never share one. Made where it is missing; one that somebody else made is refused.
pub(super) fn socket_folder(
    root: &Path,
    data: &Path,
    account: Option<&Account>,
) -> Result<PathBuf, LocalPostgresError> {
    let owner = account.map_or_else(our_uid, |account| account.uid);
    let folder = socket_path(root, data);
    match DirBuilder::new().mode(0o700).create(&folder) {
        Ok(()) => own(&folder, account)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            // In /tmp anyone may have been there first. The folder's own entry is looked at,
            // not what a link points at; nobody else can replace one that is ours.
            let meta = folder.symlink_metadata().map_err(io("look at", &folder))?;
            let ours = meta.uid() == owner || meta.uid() == our_uid();
            if !meta.is_dir() || !ours || meta.mode() & 0o077 != 0 {
                return Err(LocalPostgresError::SocketFolder { folder });
            }
            own(&folder, account)?;
        }
        Err(error) => return Err(io("make", &folder)(error)),
    }
    Ok(folder)
}

/// Short, because a socket's whole path must fit 107 bytes.
fn socket_path(root: &Path, data: &Path) -> PathBuf {
    let digest = Sha256::digest(data.as_os_str().as_encoded_bytes());
    let name: String = hex::encode(digest).chars().take(12).collect();
    root.join(format!("quell-pg-{name}"))
}

fn own(path: &Path, account: Option<&Account>) -> Result<(), LocalPostgresError> {
    match account {
        Some(account) => chown(path, Some(account.uid), Some(account.gid))
            .map_err(io("give to the other user", path)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::test_support::{config, open_tempdir};

    #[test]
    fn the_data_folder_follows_the_settings() {
        let mut config = config(None);
        config.pg_data = Some("/srv/pg".into());
        config.data_home = Some("/home/ann/.local/share".into());
        assert_eq!(folder(&config).unwrap(), Path::new("/srv/pg"));
        config.pg_data = None;
        let want = if we_are_root() {
            "/var/lib/quell/pg"
        } else {
            "/home/ann/.local/share/quell/pg"
        };
        assert_eq!(folder(&config).unwrap(), Path::new(want));
    }

    #[test]
    fn what_a_folder_holds() {
        let root = open_tempdir();
        let check = |files: &[(&str, &str)], want: Option<Holds>| {
            let folder = root.path().join("data");
            std::fs::create_dir(&folder).unwrap();
            for (name, text) in files {
                std::fs::write(folder.join(name), text).unwrap();
            }
            assert_eq!(inspect(&folder).ok(), want, "{files:?}");
            std::fs::remove_dir_all(&folder).unwrap();
        };
        check(&[], Some(Holds::Nothing));
        check(
            &[("PG_VERSION", "15\n")],
            Some(Holds::Cluster { major: 15 }),
        );
        check(&[(UNFINISHED, ""), ("base", "")], Some(Holds::Unfinished));
        check(
            &[("PG_VERSION", "15\n"), (UNFINISHED, "")],
            Some(Holds::Cluster { major: 15 }),
        );
        check(&[("thesis.txt", "years of work")], None);
        check(&[("PG_VERSION", "what")], None);
        assert_eq!(inspect(&root.path().join("none")).unwrap(), Holds::Nothing);
    }

    #[test]
    fn a_folder_with_other_things_is_refused_and_kept() {
        let root = open_tempdir();
        std::fs::write(root.path().join("thesis.txt"), "years of work").unwrap();
        let error = inspect(root.path()).unwrap_err().to_string();
        assert!(error.contains("QUELL_PG_DATA"), "{error}");
    }

    #[test]
    fn sockets_of_two_data_folders_never_meet() {
        let root = open_tempdir();
        let path = |data: &str| socket_path(root.path(), Path::new(data));
        assert_ne!(path("/a"), path("/b"));
        assert_eq!(path("/a"), path("/a"));
        assert!(
            socket_path(Path::new("/tmp"), Path::new("/a"))
                .as_os_str()
                .len()
                < 80
        );
    }

    #[test]
    fn a_socket_folder_that_another_could_enter_is_refused() {
        let root = open_tempdir();
        let data = Path::new("/some/data");
        let get = || socket_folder(root.path(), data, None);
        let folder = get().unwrap();
        assert_eq!(folder.metadata().unwrap().mode() & 0o777, 0o700);
        assert_eq!(get().unwrap(), folder, "its own is taken again");

        std::fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        assert!(get().is_err(), "open to others");

        std::fs::remove_dir(&folder).unwrap();
        let elsewhere = root.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        std::fs::set_permissions(&elsewhere, Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &folder).unwrap();
        assert!(get().is_err(), "a link");

        if we_are_root() {
            std::fs::remove_file(&folder).unwrap();
            std::fs::create_dir(&folder).unwrap();
            std::fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
            chown(&folder, Some(4_000_000), None).unwrap();
            assert!(get().is_err(), "another user's");
        }
    }
}

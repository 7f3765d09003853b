//! Reads `postmaster.pid`, in which Postgres notes what runs on a data folder, and checks whether it still runs.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::patience::{Patience, is_on_its_way};
use super::place::Place;
use crate::postgres::error::{LocalPostgresError, is_own_lack};
use crate::postgres::{files, process};

/// How long a process is waited for that has the id in the note and does not listen: it is starting or
/// stopping, or is another program that got the id of one that crashed.
const SILENT_TIMEOUT: Duration = Duration::from_secs(5);

/// The Postgres that runs on `folder`: its main process's id, and where it listens. One that is
/// coming up or going down is waited for; of one that is gone only its file may be left, which
/// the next one takes over.
pub(super) async fn running(folder: &Path) -> Result<Option<(i32, Place)>, LocalPostgresError> {
    let mut patience = Patience::new(Instant::now(), SILENT_TIMEOUT);
    while !patience.is_over(Instant::now()) {
        let note = read(folder).map_err(files::io("read", &path(folder)))?;
        let Some((pid, place)) = note.filter(|(pid, _)| process::is_alive(*pid)) else {
            return Ok(None);
        };
        if let Some(place) = place {
            match place.connect().await {
                Err(error) if is_on_its_way(&error) => patience.goes_on(folder, &error),
                // It answers: whoever may not come in is told so when the roles are made.
                Ok(_) | Err(sqlx::Error::Database(_)) => return Ok(Some((pid, place))),
                Err(sqlx::Error::Io(error)) if is_own_lack(&error) => {
                    return Err(files::io("connect to", &place.socket)(error));
                }
                Err(_) => {}
            }
        }
        tokio::time::sleep(patience.pause()).await;
    }
    Ok(None)
}

/// Whether `pid` is still the main process on `folder`. An error says neither: a file that cannot
/// be read, for want of file descriptors perhaps, is there all the same.
pub(super) fn is_there(folder: &Path, pid: i32) -> io::Result<bool> {
    Ok(process::is_alive(pid) && read(folder)?.is_some_and(|(noted, _)| noted == pid))
}

/// Whether something may run on `folder`; also true where that cannot be told.
pub(super) fn may_run(folder: &Path) -> bool {
    read(folder).map_or(true, |note| {
        note.is_some_and(|(pid, _)| process::is_alive(pid))
    })
}

/// What is noted: process id, data folder, start, port, socket folder, ... Nothing where there is
/// no note. The place is missing until Postgres listens on a socket.
pub(super) fn read(folder: &Path) -> io::Result<Option<(i32, Option<Place>)>> {
    match std::fs::read(path(folder)) {
        Ok(bytes) => Ok(parse(&String::from_utf8_lossy(&bytes))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("postmaster.pid")
}

fn parse(text: &str) -> Option<(i32, Option<Place>)> {
    let mut lines = text.lines();
    let pid = lines.next()?.trim().parse().ok()?;
    let mut rest = lines.skip(2);
    let place = match (rest.next().map(str::parse), rest.next()) {
        (Some(Ok(port)), Some(socket)) if !socket.is_empty() => Some(Place {
            socket: socket.into(),
            port,
        }),
        _ => None,
    };
    Some((pid, place))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::postgres::test_support::open_tempdir;

    /// No process has this id: it is above Linux's limit.
    const NOBODY: i32 = 2_000_000_000;

    #[test]
    fn postgres_own_note_is_read() {
        let root = open_tempdir();
        let check = |text: &[u8], want: Option<(i32, Option<(&str, u16)>)>| {
            std::fs::write(path(root.path()), text).unwrap();
            let want = want.map(|(pid, place)| {
                let place = place.map(|(socket, port)| Place {
                    socket: socket.into(),
                    port,
                });
                (pid, place)
            });
            assert_eq!(read(root.path()).unwrap(), want, "{text:?}");
        };
        check(
            b"71\n/data\n1700000000\n5432\n/tmp/quell-pg-1\n\n  123 456\nready   \n",
            Some((71, Some(("/tmp/quell-pg-1", 5432)))),
        );
        check(
            b"71\n/d\xe4ta\n1700000000\n5432\n/tmp/quell-pg-1\n",
            Some((71, Some(("/tmp/quell-pg-1", 5432)))),
        );
        check(b"71\n/data\n1700000000\n5432\n\n*\n", Some((71, None)));
        check(b"71\n/data\n1700000000\n", Some((71, None)));
        check(b"", None);
        check(b"who\n", None);
        std::fs::remove_file(path(root.path())).unwrap();
        assert_eq!(read(root.path()).unwrap(), None);
    }

    #[tokio::test]
    async fn only_what_is_known_to_be_gone_is_gone() {
        let root = open_tempdir();
        let note = path(root.path());
        let ours = i32::try_from(std::process::id()).unwrap();
        // Whether `pid` is there (none: not known), and whether anything may run.
        let check = |what: &str, pid: i32, want: Option<bool>, may: bool| {
            assert_eq!(is_there(root.path(), pid).ok(), want, "{what}");
            assert_eq!(may_run(root.path()), may, "{what}");
        };
        check("no note", ours, Some(false), false);
        std::fs::write(&note, format!("{ours}\n")).unwrap();
        check("its note", ours, Some(true), true);
        std::fs::write(&note, "1\n").unwrap();
        check("another's note", ours, Some(false), true);
        std::fs::write(&note, format!("{NOBODY}\n")).unwrap();
        check("no such process", NOBODY, Some(false), false);
        assert_eq!(running(root.path()).await.unwrap(), None);

        // Any error but "not found": as for want of file descriptors.
        std::fs::remove_file(&note).unwrap();
        symlink(&note, &note).unwrap();
        check("it cannot be read", ours, None, true);
        check(
            "it cannot be read, no such process",
            NOBODY,
            Some(false),
            true,
        );
        let error = running(root.path()).await.unwrap_err().to_string();
        assert!(
            error.starts_with("cannot read ") && error.contains("postmaster.pid"),
            "{error}"
        );
    }
}

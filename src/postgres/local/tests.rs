//! A cluster of its own, from nothing to its end; and the parts that need none.

use std::fs::Permissions;
use std::future::pending;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use sqlx::migrate::Migrate;
use sqlx::{AssertSqlSafe, Connection as _, Row};

use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::note;
use super::survey::choose;
use super::*;
use crate::postgres::Database;
use crate::postgres::account::we_are_root;
use crate::postgres::data::Holds;
use crate::postgres::database::Local;
use crate::postgres::error::LocalPostgresError;
use crate::postgres::files;
use crate::postgres::limits::Limits;
use crate::postgres::pool::{Pool, TRUSTED_IDLE};
use crate::postgres::programs::Programs;
use crate::postgres::test_support::{config, open_tempdir, wait_for};

async fn show(options: &PgConnectOptions, sql: &str) -> Result<String, sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    let row = sqlx::query(AssertSqlSafe(sql.to_owned()))
        .fetch_one(&mut connection)
        .await?;
    row.try_get(0)
}

#[tokio::test]
async fn a_data_folder_from_nothing_to_its_end() {
    let root = open_tempdir();
    let data = root.path().join("some/where/pg");
    let elsewhere = config(Some(&data));
    let mut config = config(Some(&data));
    config.socket_root = root.path().to_owned();
    let found = LocalPostgres::find_running(&config).await.unwrap();
    assert!(found.is_none());

    // What a crash in the middle of initdb leaves is made again.
    std::fs::create_dir_all(data.join("quell-initdb-unfinished/base")).unwrap();
    std::fs::write(data.join("half"), "").unwrap();

    // Two at once: one starts it, the other uses it.
    let (one, two) = tokio::join!(LocalPostgres::start(&config), LocalPostgres::start(&config));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_ne!(one.is_ours(), two.is_ours());
    let (ours, guest) = if one.is_ours() {
        (one, two)
    } else {
        (two, one)
    };

    assert!(!data.join("half").exists());
    let meta = data.metadata().unwrap();
    assert_eq!(meta.mode() & 0o777, 0o700);
    assert_ne!(meta.uid(), 0, "Postgres refuses root");
    let socket = ours.instance.place.socket.metadata().unwrap();
    assert_eq!((socket.mode() & 0o777, socket.uid()), (0o700, meta.uid()));
    assert_eq!(ours.instance.place.socket.parent(), Some(root.path()));
    // Whoever would put the socket into another folder finds it all the same.
    let found = LocalPostgres::find_running(&elsewhere).await.unwrap();
    assert!(found.is_some());

    // Ctrl-C goes to our process group, our secrets go to nobody.
    let (pid, _) = note::read(&data).unwrap().unwrap();
    let proc = |of: &str, file: &str| std::fs::read_to_string(format!("/proc/{of}/{file}"));
    if let (Ok(ours), Ok(theirs)) = (proc("self", "stat"), proc(&pid.to_string(), "stat")) {
        let group = |stat: &str| {
            let after_name = stat.rsplit(')').next().unwrap();
            after_name.split_whitespace().nth(2).unwrap().to_owned()
        };
        assert_ne!(group(&ours), group(&theirs));
        let environment = proc(&pid.to_string(), "environ").unwrap_or_default();
        assert!(!environment.contains("CARGO"), "{environment}");
    }

    for (setting, want) in [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("listen_addresses", ""),
        ("unix_socket_permissions", "0700"),
        ("jit", "off"),
    ] {
        let got = show(&ours.service, &format!("show {setting}")).await;
        assert_eq!(got.unwrap(), want, "{setting}");
    }
    let who = show(&ours.service, "select current_user::text").await;
    assert_eq!(who.unwrap(), "quell");
    let who = show(&ours.owner, "select current_user::text").await;
    assert_eq!(who.unwrap(), "quell_owner");
    assert!(
        show(&ours.service, "create table t (id int)")
            .await
            .unwrap_err()
            .to_string()
            .contains("permission denied")
    );
    show(&ours.owner, "create table kept (id int)")
        .await
        .unwrap_err(); // no row
    let hint = ours.psql_hint();
    assert!(hint.contains("-U quell quell"), "{hint}");

    // One that was running is left running.
    guest.stop().await;
    show(&ours.service, "select 'here'").await.unwrap();
    let found = LocalPostgres::find_running(&config).await.unwrap().unwrap();
    show(&found.service, "select 'here'").await.unwrap();
    found.stop().await;
    show(&ours.service, "select 'here'").await.unwrap();

    // Ours is stopped, and what was in it is there the next time.
    let (service, place) = (ours.service.clone(), ours.instance.place.clone());
    ours.stop().await;
    assert!(show(&service, "select 'here'").await.is_err());
    assert!(!data.join("postmaster.pid").exists());
    assert!(!place.socket.exists());
    let database = Database::open(&config, pending()).await.unwrap().unwrap();
    let Local::Unwatched(again) = &database.local else {
        panic!("{database:?}");
    };
    assert!(again.is_ours());
    assert_eq!(again.instance.place, place);
    show(
        &again.owner,
        "select 'it' from pg_class where relname = 'kept'",
    )
    .await
    .unwrap();
    database.close().await;
    assert!(show(&service, "select 'here'").await.is_err());

    // One that is let go of without a word stops all the same.
    drop(LocalPostgres::start(&config).await.unwrap());
    wait_for(|| !data.join("postmaster.pid").exists());

    // What Postgres says of its failure is passed on.
    let settings = data.join("postgresql.conf");
    let mut text = std::fs::read_to_string(&settings).unwrap();
    text.push_str("no_such_setting = 1\n");
    std::fs::write(&settings, text).unwrap();
    let error = LocalPostgres::start(&config).await.unwrap_err().to_string();
    assert!(error.contains("no_such_setting"), "{error}");
    assert!(!place.socket.exists());
}

#[tokio::test]
async fn folders_that_cannot_be_used_are_refused_with_a_reason() {
    let root = open_tempdir();
    let check = async |file: &str, text: &str, want: &[&str]| {
        let data = root.path().join("pg");
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join(file), text).unwrap();
        let config = config(Some(&data));
        let error = LocalPostgres::start(&config).await.unwrap_err().to_string();
        for want in want {
            assert!(error.contains(want), "{error}");
        }
        let kept = std::fs::read_to_string(data.join(file)).unwrap();
        assert_eq!(kept, text);
        std::fs::remove_dir_all(&data).unwrap();
    };
    check(
        "thesis.txt",
        "years of work",
        &["not empty", "QUELL_PG_DATA"],
    )
    .await;
    check("PG_VERSION", "9\n", &["Postgres 9", "pg_upgrade"]).await;

    if we_are_root() {
        let closed = tempfile::tempdir().unwrap();
        std::fs::set_permissions(closed.path(), Permissions::from_mode(0o700)).unwrap();
        let config = config(Some(&closed.path().join("pg")));
        let error = LocalPostgres::start(&config).await.unwrap_err().to_string();
        let barred = closed.path().display().to_string();
        assert!(error.contains("cannot enter") && error.contains(&barred));
    }
}

#[test]
fn programs_of_the_datas_own_major_are_taken() {
    let installed = |majors: &[u32]| {
        let program = |major: &u32| Programs {
            folder: format!("/{major}").into(),
            version: format!("{major}.1"),
            major: *major,
        };
        majors.iter().map(program).collect::<Vec<_>>()
    };
    let check = |majors: &[u32], holds: Holds, want: Result<u32, &str>| {
        let got = choose(installed(majors), &holds, Path::new("/data"));
        match (got, want) {
            (Ok(got), Ok(want)) => assert_eq!(got.major, want),
            (Err(got), Err(want)) => assert!(got.to_string().contains(want), "{got}"),
            (got, want) => panic!("{got:?}, but wanted {want:?}"),
        }
    };
    check(&[17, 15], Holds::Nothing, Ok(17));
    check(&[17, 15], Holds::Unfinished, Ok(17));
    check(&[17, 15], Holds::Cluster { major: 15 }, Ok(15));
    check(
        &[17, 15],
        Holds::Cluster { major: 16 },
        Err("written by Postgres 16, but only 17.1, 15.1"),
    );
}

#[tokio::test]
async fn one_that_is_stopped_while_another_opens_it_is_started_anew() {
    let root = open_tempdir();
    let config = config(Some(&root.path().join("pg")));
    let first = LocalPostgres::start(&config).await.unwrap();
    // The other stands in the middle of its opening: it waits to migrate.
    let mut holder = PgConnection::connect_with(&first.owner).await.unwrap();
    holder.lock().await.unwrap();
    let opening = Database::open(&config, pending());
    tokio::pin!(opening);
    loop {
        let waits = show(
            &first.owner,
            "select (count(*) > 0)::text from pg_locks where locktype = 'advisory' and not granted",
        );
        tokio::select! {
            opened = &mut opening => panic!("it did not wait: {opened:?}"),
            waits = waits => if waits.unwrap() == "true" { break },
        }
    }
    let ((), opened) = tokio::join!(first.stop(), opening);
    opened.unwrap().unwrap().close().await;
}

/// Whether Postgres notes that it takes connections.
fn is_ready(data: &Path) -> bool {
    let note = std::fs::read_to_string(data.join("postmaster.pid"));
    note.is_ok_and(|note| {
        note.lines()
            .last()
            .is_some_and(|line| line.trim() == "ready")
    })
}

/// Ends the main process on `data`.
fn kill_postgres(data: &Path) -> i32 {
    let (pid, _) = note::read(data).unwrap().unwrap();
    let id = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGKILL).unwrap();
    pid
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_ends_too_often_is_given_up() {
    let root = open_tempdir();
    let config = config(Some(&root.path().join("pg")));
    let local = LocalPostgres::start(&config).await.unwrap();
    let data = local.data().to_owned();
    let socket = local.instance.place.socket.clone();
    let pool = Pool::new(local.service.clone(), 8, TRUSTED_IDLE, Limits::OfSession);
    let limit = Limit::new(1, usize::MAX, Duration::ZERO);
    let (supervised, given_up) = Supervised::start(local, pool.clone(), limit);
    tokio::pin!(given_up);
    // One that is killed before it was seen to answer is a start that failed.
    let mut killed = 0;
    let error = loop {
        let looks = tokio::time::sleep(Duration::from_millis(10));
        tokio::select! {
            error = &mut given_up => break error.to_string(),
            () = looks => if is_ready(&data) && note::read(&data).unwrap().unwrap().0 != killed {
                killed = kill_postgres(&data);
            }
        }
    };
    assert!(
        error.contains("ended 2 times within 60 s, and is not started again")
            && error.contains("signal: 9 (SIGKILL)"),
        "{error}"
    );
    pool.close().await;
    supervised.end().await.unwrap().stop().await;
    assert!(!socket.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_started_again_is_told_apart_from_one_that_ends() {
    let root = open_tempdir();
    let config = config(Some(&root.path().join("pg")));
    let local = LocalPostgres::start(&config).await.unwrap();
    let data = local.data().to_owned();
    let pool = Pool::new(local.service.clone(), 8, TRUSTED_IDLE, Limits::OfSession);
    let limit = Limit::new(1, 3, Duration::from_millis(160));
    let (supervised, given_up) = Supervised::start(local, pool.clone(), limit);
    let settings = data.join("postgresql.conf");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, format!("{text}no_such_setting = 1\n")).unwrap();
    kill_postgres(&data);
    let error = given_up.await.to_string();
    assert!(
        error.contains(
            "ended once within 60 s and could then not be started 3 times, and is not started again"
        ) && error.contains("\"no_such_setting\""),
        "{error}"
    );
    pool.close().await;
    supervised.end().await.unwrap().stop().await;
}

#[test]
fn what_quell_itself_lacks_is_no_failure_of_postgres() {
    let check = |error: Errno, want: bool| {
        let error = || std::io::Error::from(error);
        let files = files::io("open", Path::new("/data"))(error());
        let spawn = LocalPostgresError::Spawn {
            program: "postgres".to_owned(),
            error: error(),
        };
        for got in [files, spawn] {
            assert_eq!(got.is_own_lack(), want, "{got}");
        }
    };
    check(Errno::EMFILE, true);
    check(Errno::ENFILE, true);
    check(Errno::ENOMEM, true);
    check(Errno::EAGAIN, true);
    check(Errno::ENOENT, false);
    check(Errno::EACCES, false);
    check(Errno::ENOSPC, false);
    assert!(!LocalPostgresError::NotInstalled.is_own_lack());
}

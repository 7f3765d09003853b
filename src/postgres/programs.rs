//! Finds the machine's own Postgres: a folder with `postgres` and `initdb`, new enough.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::DatabaseConfig;

use super::account::Account;
use super::constants::MAJOR_MIN;
use super::error::LocalPostgresError;
use super::files;
use super::process;

/// Where Debian and its kin put each major version, which is not in `PATH`.
const DEBIAN_ROOT: &str = "/usr/lib/postgresql";

const REQUIRED: [&str; 2] = ["postgres", "initdb"];

const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// One installed Postgres.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Programs {
    /// The folder of `postgres` and `initdb`.
    pub folder: PathBuf,
    /// What it calls itself, such as `15.14`.
    pub version: String,
    /// Its major version.
    pub major: u32,
}

impl Programs {
    /// Every Postgres that is new enough, the preferred one first.
    pub(super) async fn find(
        config: &DatabaseConfig,
        account: Option<&Account>,
    ) -> Result<Vec<Self>, LocalPostgresError> {
        find_below(config, Path::new(DEBIAN_ROOT), account).await
    }

    pub(super) fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }

    /// `psql` as a person types it: by its name where `PATH` has it.
    pub(super) fn psql(&self, search_path: &[PathBuf]) -> String {
        let beside = self.folder.join("psql");
        let named = search_path
            .iter()
            .any(|folder| is_program(&folder.join("psql")));
        if !named && is_program(&beside) {
            beside.display().to_string()
        } else {
            "psql".to_owned()
        }
    }
}

async fn find_below(
    config: &DatabaseConfig,
    debian_root: &Path,
    account: Option<&Account>,
) -> Result<Vec<Programs>, LocalPostgresError> {
    let folders = match &config.pg_bin {
        Some(folder) => {
            if let Some(missing) = missing_in(folder) {
                return Err(LocalPostgresError::BinIncomplete {
                    folder: folder.clone(),
                    missing,
                });
            }
            vec![folder.clone()]
        }
        None => candidates(&config.search_path, debian_root)?,
    };
    let mut found = Vec::new();
    let mut refused = None;
    for folder in folders {
        match version(&folder, account).await {
            Ok(programs) if programs.major < MAJOR_MIN => {
                refused = refused.or(Some(LocalPostgresError::TooOld {
                    folder: programs.folder,
                    version: programs.version,
                }));
            }
            Ok(programs) => found.push(programs),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    if found.is_empty() {
        return Err(refused.unwrap_or(LocalPostgresError::NotInstalled));
    }
    Ok(found)
}

/// Folders of `PATH` that hold both programs, then those below `debian_root`, newest first.
fn candidates(
    search_path: &[PathBuf],
    debian_root: &Path,
) -> Result<Vec<PathBuf>, LocalPostgresError> {
    let mut debian: Vec<(u32, PathBuf)> = files::entries(debian_root)?
        .into_iter()
        .filter_map(|entry| {
            let major = entry.file_name().to_str()?.parse().ok()?;
            Some((major, entry.path().join("bin")))
        })
        .collect();
    debian.sort_unstable_by_key(|(major, _)| std::cmp::Reverse(*major));
    let in_path = search_path.iter().filter(|folder| folder.is_absolute());
    Ok(in_path
        .cloned()
        .chain(debian.into_iter().map(|(_, folder)| folder))
        .filter(|folder| missing_in(folder).is_none())
        .collect())
}

fn missing_in(folder: &Path) -> Option<&'static str> {
    REQUIRED
        .into_iter()
        .find(|program| !is_program(&folder.join(program)))
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

async fn version(folder: &Path, account: Option<&Account>) -> Result<Programs, LocalPostgresError> {
    let mut command = process::command(&folder.join("postgres"), account);
    command.arg("--version");
    let said = process::output(command, VERSION_TIMEOUT).await?;
    let (version, major) =
        parse_version(&said).ok_or_else(|| LocalPostgresError::UnknownVersion {
            folder: folder.to_owned(),
            said: said.trim().to_owned(),
        })?;
    Ok(Programs {
        folder: folder.to_owned(),
        version,
        major,
    })
}

/// `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`, or `... 18beta1`.
fn parse_version(said: &str) -> Option<(String, u32)> {
    let version = said.split(' ').nth(2)?.trim();
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((version.to_owned(), digits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::test_support::{config, open_tempdir};

    fn install(folder: &Path, version: &str) {
        std::fs::create_dir_all(folder).unwrap();
        for program in REQUIRED {
            let path = folder.join(program);
            std::fs::write(&path, format!("#!/bin/sh\necho '{version}'\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn versions_are_read() {
        let check = |said: &str, want: Option<(&str, u32)>| {
            let got = parse_version(said);
            assert_eq!(got.as_ref().map(|(v, m)| (v.as_str(), *m)), want, "{said}");
        };
        check(
            "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n",
            Some(("15.14", 15)),
        );
        check("postgres (PostgreSQL) 18beta1\n", Some(("18beta1", 18)));
        check("postgres (PostgreSQL) 9.6.24", Some(("9.6.24", 9)));
        check("hello", None);
        check("", None);
    }

    #[tokio::test]
    async fn programs_are_looked_for_in_order() {
        let root = open_tempdir();
        let debian = root.path().join("postgresql");
        let on_path = root.path().join("path");
        let old = root.path().join("old");
        let half = root.path().join("half");
        install(&debian.join("9/bin"), "postgres (PostgreSQL) 9.6");
        install(&debian.join("15/bin"), "postgres (PostgreSQL) 15.1");
        install(&debian.join("101/bin"), "postgres (PostgreSQL) 101.0");
        install(&on_path, "postgres (PostgreSQL) 16.2");
        install(&old, "postgres (PostgreSQL) 14.9");
        install(&half, "postgres (PostgreSQL) 16.2");
        std::fs::remove_file(half.join("initdb")).unwrap();

        let found = |path: Vec<PathBuf>, bin: Option<PathBuf>| {
            let mut config = config(None);
            config.search_path = path;
            config.pg_bin = bin;
            let debian = debian.clone();
            async move {
                find_below(&config, &debian, None)
                    .await
                    .map(|found| found.iter().map(|p| p.major).collect::<Vec<_>>())
                    .map_err(|error| error.to_string())
            }
        };
        let both = vec![half.clone(), on_path.clone()];
        assert_eq!(found(both, None).await, Ok(vec![16, 101, 15]));
        assert_eq!(found(vec![], None).await, Ok(vec![101, 15]));
        assert_eq!(found(vec![], Some(on_path)).await, Ok(vec![16]));

        let error = found(vec![], Some(half)).await.unwrap_err();
        assert!(
            error.contains("QUELL_PG_BIN") && error.contains("initdb"),
            "{error}"
        );
        let error = found(vec![], Some(old)).await.unwrap_err();
        assert!(
            error.contains("14.9") && error.contains("15 or newer"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_read_is_not_taken_for_an_empty_one() {
        let root = open_tempdir();
        let mut config = config(None);
        config.search_path = Vec::new();
        let around = root.path().join("around");
        std::os::unix::fs::symlink(&around, &around).unwrap();
        let error = find_below(&config, &around, None).await.unwrap_err();
        assert!(error.to_string().starts_with("cannot read "), "{error}");
    }

    #[tokio::test]
    async fn nothing_installed_says_what_to_install() {
        let root = open_tempdir();
        let mut config = config(None);
        config.search_path = vec![root.path().to_owned()];
        let error = find_below(&config, root.path(), None).await.unwrap_err();
        assert!(error.to_string().contains("apt-get install postgresql"));
    }
}

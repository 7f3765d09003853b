//! What there is to start the machine's own Postgres with.

use std::path::{Path, PathBuf};

use crate::config::DatabaseConfig;
use crate::postgres::account::Account;
use crate::postgres::data::{self, Holds};
use crate::postgres::error::LocalPostgresError;
use crate::postgres::programs::Programs;

/// What there is to start Postgres with. Finding it out makes nothing.
#[derive(Debug)]
pub(crate) struct Survey {
    /// The data folder, which may not be there yet.
    pub folder: PathBuf,
    /// Whether it holds no data yet.
    pub is_new: bool,
    /// The programs that fit the data.
    pub programs: Programs,
    pub(super) account: Option<Account>,
    pub(super) socket_root: PathBuf,
}

impl Survey {
    /// Looks for the programs, the data folder and the user that Postgres will run as.
    pub(crate) async fn of(config: &DatabaseConfig) -> Result<Self, LocalPostgresError> {
        let folder = data::folder(config)?;
        let account = Account::choose(&folder)?;
        let holds = data::inspect(&folder)?;
        let installed = Programs::find(config, account.as_ref()).await?;
        Ok(Self {
            programs: choose(installed, &holds, &folder)?,
            is_new: !matches!(holds, Holds::Cluster { .. }),
            folder,
            account,
            socket_root: config.socket_root.clone(),
        })
    }

    /// The user that Postgres runs as, where that is not the one who runs quell.
    #[must_use]
    pub(crate) fn user(&self) -> Option<&str> {
        self.account.as_ref().map(|account| account.name.as_str())
    }
}

/// The programs that fit the data; the preferred ones where there is none yet.
pub(super) fn choose(
    installed: Vec<Programs>,
    holds: &Holds,
    folder: &Path,
) -> Result<Programs, LocalPostgresError> {
    let versions: Vec<String> = installed.iter().map(|p| p.version.clone()).collect();
    let data_major = match holds {
        Holds::Cluster { major } => Some(*major),
        Holds::Nothing | Holds::Unfinished => None,
    };
    installed
        .into_iter()
        .find(|programs| data_major.is_none_or(|major| major == programs.major))
        .ok_or_else(|| LocalPostgresError::OtherMajor {
            folder: folder.to_owned(),
            data_major: data_major.unwrap_or_default(),
            installed: versions.join(", "),
        })
}

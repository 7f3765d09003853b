//! How many files the process may have open, and how many connections that leaves for clients.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::Config;

/// What a server may have open where the system allows more; Go's and others' servers take as many as there are.
const FILES_WANTED: u64 = 65_536;
const CONNECTIONS_DEFAULT: usize = 1000;
/// The auth service, rooms that sweeps read, the machine's own Postgres, the log, and what a library opens.
const OTHERS: usize = 128;
/// A client's connection, and one to LiveKit on its behalf.
const FILES_A_CONNECTION: usize = 2;
const CONNECTIONS_MIN: usize = 16;

/// Why there are too few files.
#[derive(Debug, thiserror::Error)]
pub enum OpenFilesError {
    /// The system does not say.
    #[error("cannot ask how many files may be open: {0}")]
    Unknown(#[from] nix::Error),
    /// Nothing useful is left for clients.
    #[error(
        "quell may have {files} files open, and needs {needed}: raise the limit (systemd: LimitNOFILE=, \
         a shell: `ulimit -n`), or lower QUELL_WORKERS or QUELL_DATABASE_CONNECTIONS"
    )]
    TooFew {
        /// The limit.
        files: usize,
        /// The least.
        needed: usize,
    },
    /// More connections are set than there are files.
    #[error(
        "QUELL_HTTP_CONNECTIONS is {set}, but quell may have {files} files open, which is enough for {most}: lower \
         it, or raise the limit (systemd: LimitNOFILE=, a shell: `ulimit -n`)"
    )]
    Connections {
        /// What is set.
        set: usize,
        /// The limit.
        files: usize,
        /// What it allows.
        most: usize,
    },
}

/// Raises the process's own limit as far as the system lets it, and says how many connections clients may have: what
/// Postgres and LiveKit need is left alone.
pub(crate) fn connections_max(config: &Config) -> Result<usize, OpenFilesError> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = hard.min(FILES_WANTED).max(soft);
    // Whoever may not raise it goes on with what there is.
    let files = match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) {
        Ok(()) => wanted,
        Err(_) => soft,
    };
    allowed(usize::try_from(files).unwrap_or(usize::MAX), config)
}

fn allowed(files: usize, config: &Config) -> Result<usize, OpenFilesError> {
    let database = usize::try_from(config.database.connections_max).unwrap_or(usize::MAX);
    let workers = usize::try_from(config.worker.concurrency).unwrap_or(usize::MAX);
    let kept = database.saturating_add(workers).saturating_add(OTHERS);
    let most = files.saturating_sub(kept) / FILES_A_CONNECTION;
    if most < CONNECTIONS_MIN {
        let needed = kept.saturating_add(CONNECTIONS_MIN * FILES_A_CONNECTION);
        return Err(OpenFilesError::TooFew { files, needed });
    }
    match config.http.connections_max {
        Some(set) if set > most => Err(OpenFilesError::Connections { set, files, most }),
        Some(set) => Ok(set),
        None => Ok(most.min(CONNECTIONS_DEFAULT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(files: usize, variables: &[(&str, &str)]) -> String {
        let environment = variables.iter().copied().collect();
        let config = Config::from_environment(&environment).unwrap();
        match allowed(files, &config) {
            Ok(connections) => connections.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn clients_have_what_postgres_and_livekit_leave() {
        assert_eq!(said(65_536, &[]), "1000");
        assert_eq!(said(512, &[]), "120");
        let set = ("QUELL_HTTP_CONNECTIONS", "121");
        assert_eq!(said(65_536, &[set]), "121");
        let expect = "QUELL_HTTP_CONNECTIONS is 121, but quell may have 512 files open, which is enough for 120";
        assert!(said(512, &[set]).starts_with(expect));
        let expect = "quell may have 256 files open, and needs 304";
        assert!(said(256, &[]).starts_with(expect));
        let fewer = ("QUELL_WORKERS", "16");
        assert_eq!(said(256, &[fewer]), "48");
    }
}

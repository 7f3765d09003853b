//! Reading folders, and what is said of files that cannot be used.

use std::fs::DirEntry;
use std::io::ErrorKind;
use std::path::Path;

use super::error::LocalPostgresError;

/// What is in `folder`; nothing where that is not there.
pub(super) fn entries(folder: &Path) -> Result<Vec<DirEntry>, LocalPostgresError> {
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect);
    match entries {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries.map_err(io("read", folder)),
    }
}

/// The error of doing something with the file or folder at `path`.
pub(super) fn io(
    doing: &'static str,
    path: &Path,
) -> impl FnOnce(std::io::Error) -> LocalPostgresError {
    let path = path.to_owned();
    move |error| LocalPostgresError::Files { doing, path, error }
}

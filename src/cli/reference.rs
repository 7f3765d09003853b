//! `quell completions` and `quell man`: what shells and `man` know of the command line, made from the
//! commands themselves.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;
use super::policy::output::print_out;

#[derive(Debug, Args)]
pub(super) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArguments {
    /// The folder, which is made where it is missing
    folder: PathBuf,
}

/// Prints a shell's completions.
pub(super) fn completions(arguments: &CompletionsArguments) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "quell", &mut script);
    print_out(&String::from_utf8(script)?)
}

/// Writes a man page for each command.
pub(super) fn man(arguments: &ManArguments) -> anyhow::Result<()> {
    let folder: &Path = &arguments.folder;
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
        .with_context(|| format!("cannot write man pages into {}", folder.display()))
}

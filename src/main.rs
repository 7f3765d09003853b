//! quell: arguments -> run.

use std::process::ExitCode;

fn main() -> ExitCode {
    quell::cli::run()
}

//! quell: arguments -> run.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Keeps what is of one size side by side, in pages that a processor finds soon: a decision among
/// many policies takes a fifth less time than with the system's (`docs/BENCHMARKS.md`).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    quell::cli::run()
}

//! The program: reads the arguments, lets a verb do its work, turns the end of it into an exit
//! code.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use dyelane::cli::{Arguments, Outcome};

/// Requests are small allocations that live for microseconds. Kept off huge pages, mimalloc holds no
/// more at rest than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let outcome = dyelane::cli::run(Arguments::parse());
    match outcome {
        Ok(outcome) => outcome.into(),
        // Whoever read our output has read enough.
        Err(error) if is_broken_pipe(&error) => Outcome::Good.into(),
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            Outcome::No.into()
        }
    }
}

/// Returns whether the error is that nobody reads our standard output any more.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

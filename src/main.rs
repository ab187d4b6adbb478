//! Arguments, the command, the exit code. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    weir::cli::main()
}

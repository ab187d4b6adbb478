//! The binary.

use clap::Parser;

#[derive(Debug, Parser)]
enum Command {
    Simulate(weir::cli::simulate::Args),
}

fn main() -> std::process::ExitCode {
    let Command::Simulate(args) = Command::parse();
    weir::cli::simulate::run(args)
}

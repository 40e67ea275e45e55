//! The program: reads the command line and turns the outcome into an exit code.

use clap::Parser;
use std::process::ExitCode;
use tidegate::cli::args::Arguments;
use tidegate::cli::environment::Machine;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    ExitCode::from(tidegate::cli::run(&arguments, &mut Machine::default()))
}

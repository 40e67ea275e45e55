//! The program: reads the command line and turns the outcome into an exit code.

use std::process::ExitCode;
use tidegate::cli::args::Arguments;
use tidegate::cli::args::layers::layered;
use tidegate::cli::environment::Machine;

fn main() -> ExitCode {
    let arguments = match layered(std::env::args_os().collect()) {
        Ok(arguments) => Arguments::read(arguments),
        Err(error) => return ExitCode::from(tidegate::cli::refused(&error)),
    };
    ExitCode::from(tidegate::cli::run(&arguments, &mut Machine::default()))
}

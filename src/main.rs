//! The program: reads the command line and turns the outcome into an exit code.

use clap::Parser;
use std::process::ExitCode;
use tidegate::cli::args::{Arguments, Command};
use tidegate::cli::doors::Machine;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A person at a prompt is told by the prompt; a server's operator reads the log.
    let level = match arguments.command {
        None | Some(Command::Demo) => "off",
        Some(Command::Server { .. }) => "info",
        Some(_) => "warn",
    };
    tidegate::telemetry::start(level, false);
    ExitCode::from(tidegate::cli::run(&arguments, &mut Machine::default()))
}

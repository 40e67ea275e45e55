//! What is made from the definition of the command line: completions for shells, and the manual page.
//!
//! ```sh
//! tidegate completions bash > /etc/bash_completion.d/tidegate
//! tidegate man > /usr/local/share/man/man1/tidegate.1
//! ```

use crate::cli::args::command;
use crate::cli::report::{FAILED, INTERRUPTED, NO_LOG, OK, USAGE};
use crate::error::Result;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

const NAME: &str = "tidegate";

/// A script that a shell reads.
pub(in crate::cli) fn completions(shell: Shell) -> Vec<u8> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut command(), NAME, &mut out);
    out
}

/// One page with all commands: roff, section 1.
pub(in crate::cli) fn page() -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut command = command();
    command.build();
    Man::new(command.clone()).render(&mut out)?;
    for sub in command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
        each(sub, &format!("{NAME} {}", sub.get_name()), &mut out)?;
    }
    environment().to_writer(&mut out)?;
    exit_codes().to_writer(&mut out)?;
    Ok(out)
}

/// A command and those below it.
fn each(command: &clap::Command, name: &str, out: &mut Vec<u8>) -> Result<()> {
    let mut title = Roff::new();
    title.control("SH", [name]);
    if let Some(about) = command.get_about() {
        title.text([roman(about.to_string())]);
    }
    title.to_writer(out)?;
    // Global options are listed above, once.
    let hide = |a: clap::Arg| if a.is_global_set() { a.hide(true) } else { a };
    let own = command.clone().mut_args(hide);
    let man = Man::new(own);
    man.render_synopsis_section(out)?;
    man.render_options_section(out)?;
    for sub in command.get_subcommands().filter(|c| c.get_name() != "help") {
        each(sub, &format!("{name} {}", sub.get_name()), out)?;
    }
    Ok(())
}

fn environment() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["ENVIRONMENT"]);
    for (name, meaning) in [
        ("PAGER", "The pager for results taller than the terminal, instead of less; empty: no pager."),
        ("LESS", "Options of less, instead of FRSX."),
        ("NO_COLOR", "Disables colours unless it is empty."),
        ("XDG_DATA_HOME", "Contains the data directory unless --data names one."),
        ("TIDEGATE_LOG", "Filters log lines by level and target, as warn or info,kafka=debug."),
        ("TIDEGATE_LOG_FORMAT", "As --log-format: text or json."),
        (
            "TIDEGATE_USER, TIDEGATE_PASSWORD, TIDEGATE_TOKEN, TIDEGATE_CA",
            "Credentials for a server, and the certificates to trust.",
        ),
    ] {
        roff.control("TP", []).text([roman(name)]).text([roman(meaning)]);
    }
    roff
}

fn exit_codes() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in [
        (OK, "Success."),
        (FAILED, "A statement failed."),
        (USAGE, "The command line is invalid."),
        (NO_LOG, "The log, the broker or the server cannot be reached."),
        (INTERRUPTED, "Interrupted."),
    ] {
        roff.control("TP", []).text([roman(code.to_string())]).text([roman(meaning)]);
    }
    roff
}

//! `tidegate demo`: racing cars, a continuous query over them, and its table as it changes; then a prompt on all of it.
//!
//! What is shown is what runs: the statements are those of `queries/demo/cars.sql`, without its INSERTs, in whose place the
//! cars drive. On a terminal the table changes in place; elsewhere its rows are written one after the other.

mod data;

use crate::cli::args::Arguments;
use crate::cli::render::live::LiveTable;
use crate::cli::report::OK;
use crate::cli::{Environment, Process, Session, size_of_terminal};
use crate::engine::Engine;
use crate::engine::session::Session as EngineSession;
use crate::error::{Error, Result};
use crate::parse::split;
use crate::present::Outcome;
use crate::threads;
use crate::types::clock::{SharedClock, SystemClock};
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The statements; the last one shows the result.
const SQL: &str = include_str!("../../../queries/demo/cars.sql");
/// Rows that are written where a table cannot change in place: the history's windows and some live updates.
const ROWS: usize = 36;
/// How long the table changes before the prompt comes: a window of ten seconds ends within it.
const SHOWN_FOR: Duration = Duration::from_secs(12);
const BEFORE: &str = "\
Six racing cars send speed, rpm and temperature ten times a second into the
topic `readings`. This is what runs over it:";
const SHOWN: &str = "The table `car_stats`, the latest window of each car:";
const AFTER: &str = "\
The cars keep driving until you leave. Try:
  SHOW QUERIES;
  DESCRIBE car_stats;
  SELECT * FROM readings WHERE speed > 285 EMIT CHANGES LIMIT 5;
  CREATE STREAM fast AS SELECT * FROM readings WHERE speed > 280;
  SELECT car, MAX(speed) AS top FROM readings GROUP BY car;";
/// Topic and partitions that the cars feed.
const TOPIC: &str = "readings";
const PARTITIONS: u32 = 4;

/// A session in which the demonstration runs.
#[derive(Debug)]
pub struct Demo {
    /// The session.
    pub session: Session,
    /// The statements that were carried out.
    pub carried_out: Vec<String>,
    /// The endless query whose rows are shown.
    pub shown: String,
    /// Where a browser finds it.
    pub address: Option<SocketAddr>,
}

/// The thread that drives the cars.
pub(super) struct Cars {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Cars {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported already.
            let _ = thread.join();
        }
    }
}

/// Carries out the statements and starts the cars. Returns the statements, the last of them the query that shows the result.
pub(super) fn start(engine: &Engine, clock: &SharedClock) -> Result<(Vec<String>, String, Cars)> {
    let mut statements: Vec<String> = split(SQL).iter().map(|piece| piece.text.trim().to_owned()).collect();
    statements.retain(|sql| !sql.starts_with("INSERT"));
    let shown = statements.pop().ok_or_else(|| Error::bug("the demonstration has no statement"))?;
    for statement in &statements {
        engine.run(statement, &mut EngineSession::default())?;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (log, clock, stopped) = (engine.log().clone(), clock.clone(), stop.clone());
    let generate = move || {
        if let Err(e) = data::drive(&log, TOPIC, PARTITIONS, &clock, &stopped) {
            tracing::error!(error = %e, "the demonstration stopped generating data");
        }
    };
    let thread = threads::spawn("demo-data", "", generate)?;
    Ok((statements, shown, Cars { stop, thread: Some(thread) }))
}

impl Process {
    /// Shows the demonstration, and then the prompt unless `once`.
    pub(super) fn demo(
        &mut self,
        mut demo: Demo,
        once: bool,
        arguments: &Arguments,
        environment: &mut dyn Environment,
    ) -> Result<u8> {
        writeln!(self.out, "{BEFORE}\n")?;
        for statement in demo.carried_out.iter().chain([&demo.shown]) {
            let indented = format!("  {};", statement.replace('\n', "\n  "));
            let sql = if self.options.color { crate::cli::repl::highlighted(&indented) } else { indented };
            writeln!(self.out, "{sql}\n")?;
        }
        match self.width.filter(|_| arguments.output == crate::cli::args::Format::Table) {
            Some(_) => self.moving(&mut demo)?,
            None => {
                writeln!(self.out, "{SHOWN}\n")?;
                self.out.flush()?;
                let limited = format!("{} LIMIT {ROWS};", demo.shown);
                self.script(&mut demo.session, &limited, None, arguments)?;
            }
        }
        self.interrupt.clear();
        if let Some(address) = demo.address {
            writeln!(self.out, "\nIn a browser: http://{address}/console/#/demo")?;
        }
        writeln!(self.out, "\n{AFTER}\n")?;
        self.out.flush()?;
        if once {
            return Ok(OK);
        }
        self.prompt(&mut demo.session, &arguments.place, arguments, environment)
    }

    /// The table in place, on a terminal.
    fn moving(&mut self, demo: &mut Demo) -> Result<()> {
        let skip = if std::io::stdin().is_terminal() { " (Ctrl-C: to the prompt)" } else { "" };
        writeln!(self.out, "{SHOWN}{skip}")?;
        self.out.flush()?;
        let Outcome::Rows(mut rows) = (demo.session.execute)(&demo.shown)? else {
            return Err(Error::bug("the demonstration shows no rows"));
        };
        let interrupt = self.interrupt.clone();
        let mut table = LiveTable {
            out: &mut self.out,
            size: &size_of_terminal,
            color: self.options.color,
            clock: SystemClock::shared(),
        };
        let shown = table.show(&mut *rows, SHOWN_FOR, &|| interrupt.asked())?;
        if shown.interrupted {
            // The terminal has written ^C into our line.
            write!(self.out, "\r")?;
        }
        Ok(())
    }
}

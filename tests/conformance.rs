//! The conformance runner: executes ksqlDB's own test cases and writes down what happened; a judge of its own compares.
//!
//! ```text
//! cargo test --test conformance -- --report OUT [--cases FILE] [--split whole|records] [--only TEXT]
//!                                 [--registry built-in|double]
//! ```
//! The cases stand outside of the repository, because their licence forbids to copy them. Without `--report` nothing is
//! executed, so that a plain `cargo test` stays quick; without the cases the runner says so and ends well.

#[path = "conformance/case.rs"]
mod case;
#[path = "support/clock.rs"]
mod clock;
#[path = "conformance/columns.rs"]
mod columns;
#[path = "conformance/door.rs"]
mod door;
#[path = "conformance/double.rs"]
mod double;
#[path = "support/layer.rs"]
mod layer;
#[path = "conformance/process.rs"]
mod process;
#[path = "support/records.rs"]
mod records;
#[path = "conformance/registry.rs"]
mod registry;
#[path = "conformance/report.rs"]
mod report;
#[path = "conformance/rest.rs"]
mod rest;
#[path = "conformance/run.rs"]
mod run;
#[path = "support/wire/mod.rs"]
mod wire;

use case::Case;
use report::Report;
use run::{Mode, Schemas, Split};
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// A case that takes longer than this has failed; its thread is left behind.
const CASE_SECONDS_MAX: u64 = 30;

thread_local! {
    /// The last panic of this thread, with its place.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

struct Options {
    cases: PathBuf,
    report: Option<PathBuf>,
    split: Split,
    schemas: Schemas,
    only: Option<String>,
}

/// Unknown words are the filters that `cargo test WORD` gives to every target.
fn options() -> Result<Options, String> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/qtt/public.jsonl");
    let mut options = Options { cases, report: None, split: Split::Whole, schemas: Schemas::BuiltIn, only: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--cases" => options.cases = value()?.into(),
            "--report" => options.report = Some(value()?.into()),
            "--only" => options.only = Some(value()?),
            "--registry" => {
                options.schemas = match value()?.as_str() {
                    "built-in" => Schemas::BuiltIn,
                    "double" => Schemas::Double,
                    other => return Err(format!("--registry takes built-in or double, not {other}")),
                }
            }
            "--split" => {
                options.split = match value()?.as_str() {
                    "whole" => Split::Whole,
                    "records" => Split::Records,
                    other => return Err(format!("--split takes whole or records, not {other}")),
                }
            }
            _ => {}
        }
    }
    Ok(options)
}

#[expect(clippy::print_stdout, reason = "a runner tells on its output what it did")]
fn main() -> ExitCode {
    let outcome = options().and_then(|options| match options.report {
        None => Ok("conformance: nothing is executed without --report OUT".to_owned()),
        Some(_) if !options.cases.exists() => Ok("conformance: skipped, there is no file of cases".to_owned()),
        Some(ref report) => execute(&options, report).map_err(|e| e.to_string()),
    });
    match outcome {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("conformance: {why}");
            ExitCode::FAILURE
        }
    }
}

fn execute(options: &Options, to: &Path) -> std::io::Result<String> {
    std::panic::set_hook(Box::new(|info| PANIC.set(Some(format!("panic: {info}")))));
    let cases = read_cases(options)?;
    let reports = run_all(&cases, Mode { split: options.split, schemas: options.schemas, strict: false });
    let mut file = std::io::BufWriter::new(std::fs::File::create(to)?);
    let (mut errors, mut dialect, mut whole) = (0, 0, 0);
    for (report, strict) in reports {
        serde_json::to_writer(&mut file, &report)?;
        file.write_all(b"\n")?;
        errors += usize::from(report.error.is_some());
        dialect += usize::from(strict);
        whole += usize::from(report.whole);
    }
    file.flush()?;
    Ok(format!(
        "conformance: {} cases executed, {whole} of them with all records at once, {errors} ended with an error; \
         {dialect} are accepted in the default dialect and rejected in ksqlDB's",
        cases.len()
    ))
}

fn read_cases(options: &Options) -> std::io::Result<Vec<Arc<Case>>> {
    let mut cases = Vec::new();
    for line in BufReader::new(std::fs::File::open(&options.cases)?).lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let case: Case = serde_json::from_str(&line)?;
        if options.only.as_ref().is_none_or(|text| case.full_name.contains(text)) {
            cases.push(Arc::new(case));
        }
    }
    Ok(cases)
}

/// One report a case, in the order of the cases, and whether ksqlDB's dialect was needed to reject it.
fn run_all(cases: &[Arc<Case>], mode: Mode) -> Vec<(Report, bool)> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(n) else { return };
                    let outcome = run_case(case, mode);
                    done.lock().expect("no worker panics").push((n, outcome));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no worker panics");
    done.sort_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

/// A case that has to be rejected and is not gets a second run in ksqlDB's dialect: we accept more on purpose.
fn run_case(case: &Arc<Case>, mode: Mode) -> (Report, bool) {
    let first = guarded(case, Mode { strict: case.runs_in_ksqldbs_dialect(), ..mode });
    if case.wants_error() && first.error.is_none() {
        let strict = guarded(case, Mode { strict: true, ..mode });
        let rejected = strict.error.as_ref().is_some_and(report::is_rejection);
        return (if rejected { strict } else { first }, rejected);
    }
    (first, false)
}

/// Runs a case on a thread of its own, so that a panic or an endless loop costs this case only.
fn guarded(case: &Arc<Case>, mode: Mode) -> Report {
    let (sender, receiver) = mpsc::channel();
    let (case, name) = (case.clone(), case.full_name.clone());
    let suite = case.suite.clone();
    std::thread::spawn(move || {
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run::run(&case, mode)));
        let said = || PANIC.take().unwrap_or_else(|| "panic".to_owned());
        // Nobody listens any more when the case took too long.
        let _ = sender.send(run.map_err(|_| said()));
    });
    let failed = |why: &str| Report {
        suite: suite.clone(),
        full_name: name.clone(),
        error: Some(report::failure(why)),
        ..Report::default()
    };
    match receiver.recv_timeout(Duration::from_secs(CASE_SECONDS_MAX)) {
        Ok(Ok(report)) => report,
        Ok(Err(panic)) => failed(&panic),
        Err(_) => failed(&format!("time-out: not done after {CASE_SECONDS_MAX} s")),
    }
}

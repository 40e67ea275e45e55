//! Threads: how each one of this process is started, and what becomes of a panic in it.
//!
//! A panic is a bug, and a bug in one place must not silently take away what another place relies on. So every thread starts
//! with [`spawn`], and what may panic runs under a [`guard`], which logs the panic once, with its place and a backtrace,
//! counts it for `/metrics`, and returns it as an [`Error`] to the code that decides what follows:
//!
//! ```text
//! query CSAS_D_1                        the query is in ERROR and can be resumed; the others continue
//! push query                            its reader gets the error
//! worker 1                              the query for which it worked is in ERROR; the worker takes the next item
//! commands                              statements that change the catalogue are refused until a restart
//! topics, log-care, log-sync,           one round fails; the next one begins after a pause ([`rounds`])
//! cluster-listener, cluster-speaker,
//! processing log, kafka-reports, ...
//! batch-decode                          the scan that waits for its rows fails
//! kafka-commit, kafka-close, input      the thread ends; its receiver sees a closed channel and reports that
//! ```
//!
//! What a panic leaves half done is not used: the caller of [`guard`] drops it or marks it as broken. This module does not
//! restart anything that has state, and it does not hide a panic from the log.

use crate::error::{Error, Kind, Result};
use crate::mutant;
use parking_lot::{Condvar, Mutex};
use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::pin;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

/// Pause after a round that panicked: the next one may panic as well, and each writes a backtrace to the log.
const PANIC_PAUSE: Duration = Duration::from_secs(1);
/// The kind under which a panic outside of every guard is counted.
const ELSEWHERE: &str = "other";
/// What runs inside of [`attempt`]: a panic there is neither counted nor logged.
const ATTEMPT: &str = "attempt";

/// Panics so far, by kind of work.
static PANICS: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

/// Whether panics outside of every guard go to the log.
static LOGGED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// What the innermost guard of this thread runs.
    static RUNNING: Cell<Option<&'static str>> = const { Cell::new(None) };
    /// Place and backtrace of the panic that the innermost guard is about to catch.
    static FAULT: RefCell<Option<(String, Backtrace)>> = const { RefCell::new(None) };
}

/// Starts a thread called `KIND LABEL` that runs `work` under a [`guard`]. Its end by a panic is logged; the caller
/// notices it by what the thread owned, such as the sending half of a channel. An error of [`Kind::Busy`] if the operating
/// system refuses another thread.
pub fn spawn(
    kind: &'static str,
    label: impl Into<String>,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>> {
    let label = label.into();
    let name = if label.is_empty() { kind.to_owned() } else { format!("{kind} {label}") };
    // The error was logged, and nothing is left to do with it.
    std::thread::Builder::new().name(name).spawn(move || drop(catch(kind, &label, work))).map_err(refused)
}

fn refused(error: std::io::Error) -> Error {
    tracing::warn!(%error, "the operating system refuses another thread");
    Error::new(Kind::Busy, "the process cannot start another thread")
        .with_detail(error.to_string())
        .with_hint(
            "raise its limit of threads (ulimit -u, TasksMax of systemd, pids.max of a container), or end queries that \
             are not needed",
        )
        .because(error)
}

/// Runs `work`; a panic in it is logged with its backtrace and returned as an error.
///
/// What `work` has changed before it panicked may be half done: the caller must not use it any more.
pub fn guard<T>(kind: &'static str, label: &str, work: impl FnOnce() -> T) -> Result<T> {
    catch(kind, label, || {
        mutant::trip(kind, label);
        work()
    })
}

/// A guard whose work no test makes panic: what it catches was started by [`spawn`], and ends with it.
fn catch<T>(kind: &'static str, label: &str, work: impl FnOnce() -> T) -> Result<T> {
    watch_panics();
    let outer = RUNNING.replace(Some(kind));
    let result = catch_unwind(AssertUnwindSafe(work));
    RUNNING.set(outer);
    result.map_err(|payload| {
        let message = text(&*payload);
        let fault = FAULT.take();
        let (place, backtrace) = fault.map_or((String::new(), None), |(place, trace)| (place, Some(trace)));
        let backtrace = backtrace.map(|trace| trace.to_string()).unwrap_or_default();
        tracing::error!(target: "panic", thread = %kind, %label, %place, "{message}\n{backtrace}");
        let error = Error::bug(format!("a thread of tidegate panicked: {message}"));
        let place = if place.is_empty() { "at an unknown place".to_owned() } else { format!("at {place}") };
        error.with_detail(place).with_hint("please report this bug with the backtrace that the log holds")
    })
}

/// Runs a call of a library that panics where it should return an error; returns the message of the panic. It is no bug of
/// this program, and is neither counted nor logged.
pub fn attempt<T>(work: impl FnOnce() -> T) -> std::result::Result<T, String> {
    watch_panics();
    let outer = RUNNING.replace(Some(ATTEMPT));
    let result = catch_unwind(AssertUnwindSafe(work));
    RUNNING.set(outer);
    result.map_err(|payload| text(&*payload))
}

/// Runs `round` again and again until it breaks. A round that panics is followed by the next one after a pause, so what
/// it works on must be whole between rounds whatever happens in one.
pub fn rounds(kind: &'static str, label: &str, mut round: impl FnMut() -> ControlFlow<()>) {
    loop {
        match guard(kind, label, &mut round) {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => return,
            Err(_) => std::thread::park_timeout(PANIC_PAUSE),
        }
    }
}

/// The wish that a thread ends, which ends its pauses.
#[derive(Debug, Default)]
pub struct Stop {
    requested: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Has the thread end.
    pub fn request(&self) {
        *self.requested.lock() = true;
        self.changed.notify_all();
    }

    /// Waits at most so long; true = the thread is to end.
    pub fn wait(&self, time: Duration) -> bool {
        let mut requested = self.requested.lock();
        self.changed.wait_while_for(&mut requested, |requested| !*requested, time);
        *requested
    }
}

/// Runs a future to its end; a panic in it is logged and returned as by [`guard`].
pub async fn guarded<F: Future>(kind: &'static str, label: &str, future: F) -> Result<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| match guard(kind, label, || future.as_mut().poll(context)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(error) => Poll::Ready(Err(error)),
    })
    .await
}

/// Panics of this process so far, by kind of work: for `/metrics`.
pub fn panics() -> Vec<(&'static str, u64)> {
    PANICS.lock().iter().map(|(kind, count)| (*kind, *count)).collect()
}

/// Writes panics outside of every guard to the log as well, where the hook that was there before writes them elsewhere.
/// Called once, by the program.
pub fn log_panics() {
    LOGGED.store(true, Ordering::Relaxed);
    watch_panics();
}

/// Has panics counted, and keeps place and backtrace of those that a guard catches; the others go to the hook that was
/// there before.
fn watch_panics() {
    static ONCE: Once = Once::new();
    // The hook cannot be changed by a thread that panics, such as one that starts a thread while it unwinds.
    if ONCE.is_completed() || std::thread::panicking() {
        return;
    }
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let kind = RUNNING.get();
            if kind == Some(ATTEMPT) {
                return;
            }
            *PANICS.lock().entry(kind.unwrap_or(ELSEWHERE)).or_default() += 1;
            match kind {
                Some(_) => keep(info),
                None if LOGGED.load(Ordering::Relaxed) && is_logged() => log(info),
                None => before(info),
            }
        }));
    });
}

fn keep(info: &PanicHookInfo<'_>) {
    FAULT.set(Some((place(info), Backtrace::force_capture())));
}

fn log(info: &PanicHookInfo<'_>) {
    let (thread, place, message) = (std::thread::current(), place(info), text(info.payload()));
    let thread = thread.name().unwrap_or("without a name");
    tracing::error!(target: "panic", thread, %place, "{message}\n{}", Backtrace::force_capture());
}

/// At a prompt nothing is logged, and a panic is to be seen all the same.
fn is_logged() -> bool {
    tracing::enabled!(target: "panic", tracing::Level::ERROR)
}

fn place(info: &PanicHookInfo<'_>) -> String {
    info.location().map(ToString::to_string).unwrap_or_default()
}

/// What a panic says.
fn text(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "no message".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn count(kind: &str) -> u64 {
        panics().iter().find(|(known, _)| *known == kind).map_or(0, |(_, count)| *count)
    }

    #[test]
    fn a_panic_is_an_error_that_names_its_place() {
        let error = guard("unit-guard", "", || panic!("no {}", "way")).map(|(): ()| ()).unwrap_err();
        assert_eq!(error.message(), "a thread of tidegate panicked: no way");
        assert!(error.detail().is_some_and(|d| d.contains("threads.rs:")), "{error}");
        assert_eq!((count("unit-guard"), guard("unit-guard", "", || 7).unwrap()), (1, 7));
    }

    #[test]
    fn an_attempt_that_panics_is_not_counted() {
        assert_eq!(attempt(|| panic!("no thread")).map(|(): ()| ()), Err("no thread".to_owned()));
        assert_eq!((attempt(|| 7), count(ATTEMPT)), (Ok(7), 0));
        assert!(guard("unit-after", "", || panic!("counted")).map(|(): ()| ()).is_err());
        assert_eq!(count("unit-after"), 1);
    }

    #[test]
    fn a_guard_inside_of_a_guard_catches_its_own() {
        let caught = guard("unit-outer", "", || guard("unit-inner", "", || panic!("inner")).map(|(): ()| ()).is_err());
        assert!(caught.unwrap());
        assert_eq!((count("unit-outer"), count("unit-inner")), (0, 1));
    }

    #[test]
    fn a_round_that_panics_is_followed_by_another() {
        let (sender, rounds_run) = channel();
        let work = move || {
            let mut round = 0;
            rounds("unit-rounds", "one", || {
                round += 1;
                assert_ne!(round, 2, "the second round");
                sender.send(round).unwrap();
                if round == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        };
        spawn("unit-rounds", "one", work).unwrap().join().unwrap();
        assert_eq!((rounds_run.iter().collect::<Vec<_>>(), count("unit-rounds")), (vec![1, 3], 1));
    }

    #[test]
    fn a_thread_that_panics_lets_go_of_its_channel() {
        let (sender, receiver) = channel::<()>();
        let thread = spawn("unit-spawn", "x", move || {
            let _sender = sender;
            panic!("gone");
        });
        assert!(receiver.recv().is_err());
        thread.unwrap().join().unwrap();
        assert_eq!(count("unit-spawn"), 1);
    }

    #[test]
    fn a_pause_ends_when_the_thread_is_to_end() {
        let stop = std::sync::Arc::<Stop>::default();
        assert!(!stop.wait(Duration::ZERO));
        let waiting = stop.clone();
        // The limit would be reached long after the test.
        let thread = spawn("unit-stop", "", move || assert!(waiting.wait(Duration::from_secs(3_600)))).unwrap();
        stop.request();
        thread.join().unwrap();
        assert!(stop.wait(Duration::ZERO));
        assert_eq!(count("unit-stop"), 0);
    }

    #[test]
    fn a_future_that_panics_is_an_error() {
        let future = guarded("unit-future", "", async { panic!("in a task") });
        let error = futures::executor::block_on(future).map(|(): ()| ()).unwrap_err();
        assert!(error.message().ends_with("in a task"), "{error}");
    }
}

//! Notices during editing: they are written above the line that is being edited.

use crate::cli::Notices;
use crate::error::Result;
use crate::threads;
use rustyline::ExternalPrinter;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// How often notices are polled.
const LOOK_PAUSE: Duration = Duration::from_millis(250);

/// A thread that looks for notices while a line is edited. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Otherwise a statement runs, and notices are shown after it.
    editing: Arc<AtomicBool>,
    _alive: Sender<()>,
}

impl Watch {
    /// Begins to look.
    pub(crate) fn start(notices: Notices, mut printer: impl ExternalPrinter + Send + 'static) -> Result<Watch> {
        let editing = Arc::new(AtomicBool::new(false));
        let (_alive, alive) = channel();
        let now = editing.clone();
        let mut round = move || {
            if alive.recv_timeout(LOOK_PAUSE) != Err(RecvTimeoutError::Timeout) {
                return ControlFlow::Break(());
            }
            let text = if now.load(Ordering::Acquire) { told(&notices()) } else { String::new() };
            match text.is_empty() || printer.print(text).is_ok() {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        };
        threads::spawn("notices", "", move || threads::rounds("notices", "", &mut round))?;
        Ok(Watch { editing, _alive })
    }

    /// A line is edited while this is true.
    pub(crate) fn editing(&self, editing: bool) {
        self.editing.store(editing, Ordering::Release);
    }
}

/// Notices as the prompt writes them, a line or more each.
pub(crate) fn told(notices: &[String]) -> String {
    notices.iter().map(|notice| format!("note: {notice}\n")).collect()
}

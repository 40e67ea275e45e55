//! Ctrl-C outside the line editor, and SIGTERM without a prompt: they stop the running statement; a second one ends
//! the process.

use super::report::INTERRUPTED;
use crate::error::{Error, Result};
use crate::threads;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Whether the user wants what runs now to stop.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    /// Another program has the terminal, and Ctrl-C is its own affair: it never ends the process.
    lent: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens for Ctrl-C from now on, for the rest of the process; with `terminations` also for SIGTERM. A prompt leaves
    /// only that program, because it waits for the terminal and could not react.
    pub fn listen(terminations: bool) -> Result<Interrupt> {
        let interrupt = Interrupt::default();
        let (asked, lent) = (interrupt.asked.clone(), interrupt.lent.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (ready, is_ready) = std::sync::mpsc::channel();
        let mut listen = move || {
            runtime.block_on(async {
                let (Ok(mut interrupt), Ok(mut terminate)) = (
                    signal(SignalKind::interrupt()),
                    terminations.then(|| signal(SignalKind::terminate())).transpose(),
                ) else {
                    return;
                };
                let _ = ready.send(());
                while next(&mut interrupt, terminate.as_mut()).await.is_some() {
                    if asked.swap(true, Ordering::SeqCst) && !lent.load(Ordering::SeqCst) {
                        std::process::exit(i32::from(INTERRUPTED));
                    }
                }
            });
            ControlFlow::Break(())
        };
        // After a panic it listens again: nothing else could stop the process politely.
        threads::spawn("interrupts", "", move || threads::rounds("interrupts", "", &mut listen))?;
        is_ready.recv().map_err(|_| Error::io("cannot listen for interrupts"))?;
        Ok(interrupt)
    }

    /// An interrupt has occurred since the last [`Interrupt::clear`].
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Forgets the interrupt.
    pub fn clear(&self) {
        self.asked.store(false, Ordering::SeqCst);
    }

    /// Another program has the terminal until [`Interrupt::take_back`].
    pub(super) fn lend(&self) {
        self.lent.store(true, Ordering::SeqCst);
    }

    /// The terminal is back; interrupts meanwhile were for the other program.
    pub(super) fn take_back(&self) {
        self.lent.store(false, Ordering::SeqCst);
        self.clear();
    }

    /// Asks as Ctrl-C does.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
    }
}

async fn next(interrupt: &mut Signal, terminate: Option<&mut Signal>) -> Option<()> {
    match terminate {
        Some(terminate) => tokio::select! {
            got = interrupt.recv() => got,
            got = terminate.recv() => got,
        },
        None => interrupt.recv().await,
    }
}

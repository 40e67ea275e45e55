//! Ctrl-C outside the line editor: it asks the running answer to stop; a second one ends the process.

use super::fault::INTERRUPTED;
use crate::error::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the user wants what runs now to stop.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens for Ctrl-C from now on, for the rest of the process.
    pub fn listen() -> Result<Interrupt> {
        let interrupt = Interrupt::default();
        let asked = interrupt.asked.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (ready, is_ready) = std::sync::mpsc::channel();
        std::thread::Builder::new().name("interrupts".to_owned()).spawn(move || {
            runtime.block_on(async move {
                let signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
                let Ok(mut signal) = signal else { return };
                let _ = ready.send(());
                while signal.recv().await.is_some() {
                    if asked.swap(true, Ordering::SeqCst) {
                        std::process::exit(i32::from(INTERRUPTED));
                    }
                }
            });
        })?;
        is_ready.recv().map_err(|_| Error::io("cannot listen for interrupts"))?;
        Ok(interrupt)
    }

    /// The user asked to stop since the last [`Interrupt::clear`].
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// What was asked is done.
    pub fn clear(&self) {
        self.asked.store(false, Ordering::SeqCst);
    }

    /// Asks as Ctrl-C does.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
    }
}

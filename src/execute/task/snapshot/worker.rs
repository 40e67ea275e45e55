//! Where snapshots are written: one thread per process, so that no query waits for a disk.
//!
//! A query hands over a piece of work and looks for its result at its next turn. It has one piece under way at a time, which
//! bounds the queue. Without a thread (queries that are driven by hand) the work is done at once.

use super::files;
use crate::error::{Error, Result};
use crate::log::Log;
use crate::threads;
use crate::types::clock::SharedClock;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// The kind of its thread.
const KIND: &str = "snapshots";

type Job = Box<dyn FnOnce() + Send>;

/// The directory of snapshots, and who writes there.
pub struct Snapshots {
    dir: PathBuf,
    log: Arc<dyn Log>,
    /// Bytes of a changelog that are worth a snapshot.
    changelog_bytes: u64,
    /// Until when queries that end may write their last snapshots; unset = the process continues.
    ends_at: OnceLock<Duration>,
    sender: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshots").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Drop for Snapshots {
    /// Ends the thread after what was handed over: the next process that uses the directory must not meet it there.
    fn drop(&mut self) {
        self.sender = None;
        let own = std::thread::current().id();
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != own) {
            // A panic was logged.
            let _ = thread.join();
        }
    }
}

/// A result that comes later.
#[derive(Debug)]
pub(super) struct Pending<T>(Arc<Mutex<Option<Result<T>>>>);

impl<T> Pending<T> {
    /// The result, once it is there; an error if it will never be.
    pub(super) fn take(&self) -> Option<Result<T>> {
        let last = Arc::strong_count(&self.0) == 1;
        let result = self.0.lock().take();
        result.or_else(|| last.then(|| Err(Error::bug("the thread that writes snapshots has ended"))))
    }
}

impl Snapshots {
    /// Snapshots in `dir`, each written when its changelog has grown by `changelog_bytes`; with a thread, or by the caller.
    pub fn new(dir: PathBuf, log: Arc<dyn Log>, changelog_bytes: u64, threaded: bool) -> Result<Arc<Snapshots>> {
        let (sender, thread) = match threaded {
            false => (None, None),
            true => {
                let (sender, jobs) = channel::<Job>();
                let thread = threads::spawn(KIND, "", move || {
                    for job in jobs {
                        // A panic was logged; the query that waits for the result finds that it never comes.
                        let _ = threads::guard(KIND, "", job);
                    }
                })?;
                (Some(sender), Some(thread))
            }
        };
        Ok(Arc::new(Snapshots { dir, log, changelog_bytes, ends_at: OnceLock::new(), sender, thread }))
    }

    /// The process ends: queries that are stopped from now on copy what has changed, for [`super::LAST_TIME`] all together.
    pub fn end(&self, clock: &SharedClock) {
        self.ends_at.get_or_init(|| clock.monotonic() + super::LAST_TIME);
    }

    /// Until when queries that end may write; `None` = the process continues.
    pub(super) fn ends_at(&self) -> Option<Duration> {
        self.ends_at.get().copied()
    }

    /// The directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The log with the changelogs.
    pub(super) fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }

    /// Bytes of a changelog that are worth a snapshot.
    pub(super) fn changelog_bytes(&self) -> u64 {
        self.changelog_bytes
    }

    /// Is work done by the caller?
    pub(super) fn is_inline(&self) -> bool {
        self.sender.is_none()
    }

    /// Deletes the snapshots of a changelog that is deleted, after what is under way.
    pub fn remove(&self, topic: &str) {
        let (dir, topic) = (self.dir.clone(), topic.to_owned());
        let _ = self.submit(move || {
            if let Err(error) = files::remove(&dir, &topic) {
                tracing::warn!(%error, topic, "snapshots of state could not be deleted");
            }
            Ok(())
        });
    }

    /// Deletes the snapshots of changelogs whose names begin with `stem`, unless they are to be kept.
    pub fn retain(&self, stem: &str, keep: impl Fn(&str) -> bool) {
        files::topics(&self.dir)
            .iter()
            .filter(|topic| topic.starts_with(stem) && !keep(topic))
            .for_each(|topic| self.remove(topic));
    }

    /// Has `work` done.
    pub(super) fn submit<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Pending<T> {
        let slot = Arc::new(Mutex::new(None));
        let result = slot.clone();
        let job = move || {
            let done = work();
            *result.lock() = Some(done);
        };
        match &self.sender {
            None => job(),
            // If the thread has ended, the job is dropped, which the receiver of the result notices.
            Some(sender) => drop(sender.send(Box::new(job))),
        }
        Pending(slot)
    }
}

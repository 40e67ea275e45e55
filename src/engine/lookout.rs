//! The thread that looks at the topics of all queries now and then; it ends with its engine.

use crate::error::Result;
use crate::execute::watch::{LOOK_PAUSE, TopicWatch};
use crate::log::Log;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Time between two looks while the cluster does not answer: somebody waits to read that it is back.
const TROUBLE_PAUSE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Lookout {
    stop: Arc<Stop>,
    /// `None` only while it is dropped.
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stop {
    told: Mutex<bool>,
    changed: Condvar,
}

impl Lookout {
    pub(super) fn new(watch: Arc<TopicWatch>, log: Arc<dyn Log>) -> Result<Lookout> {
        let stop = Arc::<Stop>::default();
        let stopped = stop.clone();
        let work = move || {
            loop {
                let pause = if watch.trouble().is_some() { TROUBLE_PAUSE } else { LOOK_PAUSE };
                let mut told = stopped.told.lock();
                if !*told {
                    stopped.changed.wait_for(&mut told, pause);
                }
                if *told {
                    return;
                }
                drop(told);
                watch.look(&*log);
            }
        };
        let thread = std::thread::Builder::new().name("topics".to_owned()).spawn(work)?;
        Ok(Lookout { stop, thread: Some(thread) })
    }
}

impl Drop for Lookout {
    fn drop(&mut self) {
        *self.stop.told.lock() = true;
        self.stop.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // The log must not outlive the engine: a data directory is to be free for the next one.
            let _ = thread.join();
        }
    }
}

//! The thread that looks at the topics of all queries now and then; it ends with its engine.

use crate::error::Result;
use crate::execute::task::topic_identity::{LOOK_PAUSE, TopicRegistry};
use crate::log::Log;
use crate::threads;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// The kind of its thread.
const KIND: &str = "topics";
/// Time between two looks while the cluster does not answer: somebody waits to read that it is back.
const TROUBLE_PAUSE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(in crate::engine) struct TopicMonitor {
    stop: Arc<Stop>,
    /// `None` only while it is dropped.
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stop {
    told: Mutex<bool>,
    changed: Condvar,
}

impl TopicMonitor {
    /// Begins to look; `label` is the service that the thread is named after.
    pub(in crate::engine) fn new(watch: Arc<TopicRegistry>, log: Arc<dyn Log>, label: &str) -> Result<TopicMonitor> {
        let stop = Arc::<Stop>::default();
        let stopped = stop.clone();
        let name = label.to_owned();
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
                // All queries wait, visibly, until a look succeeds: nobody knows whether their topics are the same.
                if let Err(error) = threads::guard(KIND, &name, || watch.refresh(&*log)) {
                    watch.set_trouble(Some(format!("the topics of queries cannot be looked at: {error}")));
                }
            }
        };
        let thread = threads::spawn(KIND, label, work)?;
        Ok(TopicMonitor { stop, thread: Some(thread) })
    }
}

impl Drop for TopicMonitor {
    fn drop(&mut self) {
        *self.stop.told.lock() = true;
        self.stop.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // The log must not outlive the engine: a data directory is to be free for the next one.
            let _ = thread.join();
        }
    }
}

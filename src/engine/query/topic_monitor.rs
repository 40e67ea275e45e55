//! The thread that periodically checks the identity of the topics of all queries; it ends with its engine.

use crate::error::Result;
use crate::execute::task::topic_identity::{LOOK_PAUSE, TopicRegistry};
use crate::log::Log;
use crate::threads::{self, Stop};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// The kind of its thread.
const KIND: &str = "topics";
/// Time between two checks while the cluster does not respond: queries wait for the first success.
const TROUBLE_PAUSE: Duration = Duration::from_secs(1);

/// Owns the thread.
#[derive(Debug)]
pub(in crate::engine) struct TopicMonitor {
    stop: Arc<Stop>,
    /// `None` only while it is dropped.
    thread: Option<JoinHandle<()>>,
}

impl TopicMonitor {
    /// Starts the thread; `label` is the service that it is named after.
    pub(in crate::engine) fn new(watch: Arc<TopicRegistry>, log: Arc<dyn Log>, label: &str) -> Result<TopicMonitor> {
        let stop = Arc::<Stop>::default();
        let stopped = stop.clone();
        let name = label.to_owned();
        let work = move || {
            loop {
                let pause = if watch.trouble().is_some() { TROUBLE_PAUSE } else { LOOK_PAUSE };
                if stopped.wait(pause) {
                    return;
                }
                // All queries are WAITING until a check succeeds: whether their topics are the same is unknown.
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
        self.stop.request();
        if let Some(thread) = self.thread.take() {
            // The log must not outlive the engine: the data directory has to be free for the next one.
            let _ = thread.join();
        }
    }
}

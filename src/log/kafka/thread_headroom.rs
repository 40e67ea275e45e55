//! Headroom for the threads of librdkafka's clients.
//!
//! librdkafka asserts that the threads that a client needs can be started when it is created, and aborts the process
//! otherwise: under a limit of processes (`pids.max` of a container, `ulimit -u` of a user) one query too many would end all
//! others. So as many threads are started and ended before each client is created. If that fails, the caller gets an error
//! and can retry later.
//!
//! This is not a reservation: another thread that starts at the same moment may take the headroom. Clients are therefore
//! created one at a time, and more threads are probed than one of them needs. Threads that librdkafka starts later, one per
//! broker that it discovers, may fail without harm: it logs that and retries.

use crate::error::{Error, Result};
use crate::threads;
use parking_lot::Mutex;
use std::sync::Arc;

/// Threads that are probed before a client is created. It starts three essential ones and one for each address in
/// `bootstrap.servers`; its user starts another.
const CLIENT_THREADS: usize = 8;

/// Held while a client is created, which does not involve a broker.
static MAKING: Mutex<()> = Mutex::new(());

/// Creates a client if its threads can be started.
pub(super) fn with_headroom<T>(make: impl FnOnce() -> Result<T>) -> Result<T> {
    let _alone = MAKING.lock();
    try_threads(CLIENT_THREADS).map_err(no_room)?;
    make()
}

/// Runs `count` threads at the same time, and ends them.
fn try_threads(count: usize) -> Result<()> {
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock();
    let start = |_| {
        let gate = Arc::clone(&gate);
        threads::spawn("kafka-room", "", move || drop(gate.lock()))
    };
    let started: Result<Vec<_>> = (0..count).map(start).collect();
    drop(closed);
    // They have ended before the client's threads start.
    started?.into_iter().for_each(|thread| drop(thread.join()));
    Ok(())
}

fn no_room(error: Error) -> Error {
    Error::io("there is no room for the threads of another Kafka client").because(error).with_hint(
        "raise the limit of processes of this container (pids.max) or user (ulimit -u), or drop queries: each takes \
         about 10 threads",
    )
}

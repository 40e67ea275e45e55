//! Room for the threads of librdkafka's clients.
//!
//! librdkafka asserts that it gets the threads that a client needs when it is made, and ends the process if it does not:
//! where a container limits processes (`pids.max`) or a user does (`ulimit -u`), one query too many would end all others.
//! So as many threads are started and ended before each client. If that fails, the caller gets an error that it can wait
//! and try again with.
//!
//! This is no reservation: another thread that starts at the same moment may take the room. Clients are therefore made one
//! at a time, and more threads are tried than one of them needs. Threads that librdkafka starts later, one for each broker
//! that it learns of, may fail without harm: it logs that and tries again.

use crate::error::{Error, Result};
use crate::threads;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;

/// Threads that are tried before a client is made. It starts three that it cannot do without, one for each address in
/// `bootstrap.servers`, and its user one more.
const CLIENT_THREADS: usize = 8;

/// Held while a client is made, which asks no broker.
static MAKING: Mutex<()> = Mutex::new(());

/// Makes a client when there is room for its threads.
pub(super) fn with_headroom<T>(make: impl FnOnce() -> Result<T>) -> Result<T> {
    let _alone = MAKING.lock();
    try_threads(CLIENT_THREADS).map_err(no_room)?;
    make()
}

/// Runs so many threads at once, and ends them.
fn try_threads(count: usize) -> io::Result<()> {
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock();
    let start = |_| {
        let gate = Arc::clone(&gate);
        threads::spawn("kafka-room", "", move || drop(gate.lock()))
    };
    let started: io::Result<Vec<_>> = (0..count).map(start).collect();
    drop(closed);
    // They are gone before the client's threads come.
    started?.into_iter().for_each(|thread| drop(thread.join()));
    Ok(())
}

fn no_room(error: io::Error) -> Error {
    Error::io("there is no room for the threads of another Kafka client").because(error).with_hint(
        "raise the limit of processes of this container (pids.max) or user (ulimit -u), or drop queries: each takes \
         about 25 threads",
    )
}

//! The error of a service that was terminated.
//!
//! ```text
//! The server is shut down       50304, as ksqlDB: its clients try another server
//! ```

use crate::error::{Error, Kind, SHUTTING_DOWN};

/// The error of statements, and of readers of push queries, once the service was terminated.
pub(in crate::engine) fn shut_down() -> Error {
    Error::new(Kind::Busy, "The server is shut down")
        .with_code(SHUTTING_DOWN)
        .with_detail("its service was terminated through /ksql/terminate")
        .with_hint("restart the server to start an empty service")
}

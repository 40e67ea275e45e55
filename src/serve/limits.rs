//! What bounds the server: every number that a client can run into.

use std::time::Duration;

/// Largest request body: a text of statements, with room to spare.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Largest head of a request: its line and its headers.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Headers of a request.
pub const HEADERS_MAX: usize = 100;

/// Longest time in which a request's head has to come, a connection between two requests included.
pub const HEAD_PATIENCE: Duration = Duration::from_secs(30);

/// Longest time in which the body of a request has to come, unless it is a stream of rows.
pub const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// Connections at once; further ones are closed as soon as they are made.
pub const CONNECTIONS_MAX: usize = 500;

/// Responses streamed at once, as in ksqlDB: each holds two threads and a reader of its source.
pub const STREAMS_MAX: usize = 100;

/// Rows of one response that wait for their reader.
pub const QUEUED_BYTES_MAX: usize = 1024 * 1024;

/// How long a reader may leave that queue full, or its connection clogged, before it is dropped.
pub const READER_PATIENCE: Duration = Duration::from_secs(10);

/// How long a TLS handshake may take.
pub const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// Longest message of a WebSocket's client: only control frames are expected.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Passwords checked at once: each keeps a core busy for a moment.
pub const PASSWORD_CHECKS_MAX: usize = 2;

/// How long a server that stops waits for answers that end by themselves. Container runtimes kill ten seconds after they asked
/// for the end, and the commits of queries come after this.
pub const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

/// How long the reader of an answer that is broken off has to take its last bytes before the process goes on to end.
pub const LAST_WORDS: Duration = Duration::from_millis(500);

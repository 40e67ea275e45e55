//! The limits of the server.

use std::time::Duration;

/// Largest request body: a text of statements, with room to spare.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Largest head of a request: its line and its headers.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Headers of a request.
pub const HEADERS_MAX: usize = 100;

/// Timeout for the head of a request, idle time between two requests included.
pub const HEAD_PATIENCE: Duration = Duration::from_secs(30);

/// Timeout for the body of a request, unless it is a stream of rows.
pub const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// Bytes that are still read of a rejected body, so that the client gets to read the response.
pub const REFUSED_BYTES_MAX: usize = 64 * 1024;

/// How long that may take.
pub const REFUSED_PATIENCE: Duration = Duration::from_secs(1);

/// How long that may take where the length of the body is not known: a client that continues to write rows reads the refusal first.
pub const OPEN_BODY_PATIENCE: Duration = Duration::from_millis(100);

/// Connections at once; further ones are closed as soon as they are made.
pub const CONNECTIONS_MAX: usize = 500;

/// Longest message of a Flight client: a batch of 64 Ki rows of 250 bytes, as its drivers cut them.
pub const FLIGHT_MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Rows of values that can be bound to a prepared statement at once; rows in bulk are ingested, without a bound.
pub const FLIGHT_PARAMETER_ROWS_MAX: usize = 10_000;

/// Bytes of these values, in memory: as many as a message has. They are kept until the statement is closed.
pub const FLIGHT_PARAMETER_BYTES_MAX: usize = FLIGHT_MESSAGE_BYTES_MAX;

/// Responses streamed at once, as in ksqlDB: each holds two threads and a reader of its source.
pub const STREAMS_MAX: usize = 100;

/// Rows of one response that wait for their reader.
pub const QUEUED_BYTES_MAX: usize = 1024 * 1024;

/// How long a reader may leave that queue full, or its connection clogged, before it is dropped.
pub const READER_PATIENCE: Duration = Duration::from_secs(10);

/// How long a TLS handshake may take.
pub const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// How long the client of a WebSocket has to confirm its end, as [`LAST_WORDS`].
pub const CLOSE_REPLY_TIMEOUT: Duration = LAST_WORDS;

/// Longest message of a WebSocket's client: only control frames are expected.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Unauthenticated connections at once from one address, with users: a tenth of all connections.
pub const UNAUTHENTICATED_MAX: usize = 50;

/// Longest time without an open request after which a connection is closed; HTTP/2 keeps itself alive otherwise.
pub const IDLE_PATIENCE: Duration = HEAD_PATIENCE;

/// How long a closing connection may take to send what it still has, and its client to confirm it.
pub const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// Passwords checked at once: each keeps a core busy for a moment.
pub const PASSWORD_CHECKS_MAX: usize = 2;

/// Passwords that wait for their check: one second's worth on two cores; further ones are refused with `Retry-After`.
pub const PASSWORD_QUEUE_MAX: usize = 16;

/// Of these and those being checked, how many one address may have: one address alone never fills the queue.
pub const PASSWORD_SHARE_MAX: usize = 8;

/// How long a password may wait for its check; the client would have given up soon after.
pub const PASSWORD_PATIENCE: Duration = Duration::from_secs(5);

/// Wrong passwords that an address may send at once before it has to wait.
pub const ADDRESS_FAILURES_MAX: u32 = 20;

/// Time after which such an address may send one more.
pub const ADDRESS_FAILURE_EVERY: Duration = Duration::from_secs(3);

/// Wrong passwords for one name at once, from all addresses that have failed before.
pub const NAME_FAILURES_MAX: u32 = 20;

/// Time after which one more may be sent for that name.
pub const NAME_FAILURE_EVERY: Duration = Duration::from_secs(6);

/// Failures that an address is forgiven before it counts as one that guesses: people mistype.
pub const FORGIVEN_FAILURES_MAX: u32 = 3;

/// How long an address is known to have failed.
pub const FAILURE_MEMORY: Duration = Duration::from_secs(60 * 60);

/// Addresses, and names, whose failures are kept: about a megabyte. Beyond that the oldest are forgotten.
pub const FAILURES_KEPT_MAX: usize = 10_000;

/// Right passwords that are remembered; beyond that the one that was used least recently is forgotten.
pub const REMEMBERED_MAX: usize = 1_000;

/// How long a right password is remembered after its last use.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(60 * 60);

/// How long a wrong password is known to be wrong, so that a program that tries the same one again costs nothing.
pub const WRONG_FOR: Duration = Duration::from_secs(60);

/// How long the session of a browser lasts: a working day.
pub const SESSION_LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// Sessions of browsers at once, and as many of clients of Flight SQL, as [`REMEMBERED_MAX`]; beyond that the one that was used
/// least recently is forgotten.
pub const SESSIONS_MAX: usize = 1_000;

/// Largest body of a login: a name and a password, with room to spare. Its sender is not known yet.
pub const LOGIN_BYTES_MAX: usize = 16 * 1024;

/// Lines about failed logins within [`FAILURE_LINES_EVERY`]; further ones are counted.
pub const FAILURE_LINES_MAX: u32 = 10;

/// See [`FAILURE_LINES_MAX`].
pub const FAILURE_LINES_EVERY: Duration = Duration::from_secs(10);

/// How often the users file is checked for changes. It is read when it has not changed for as long again: then its writer is
/// done.
pub const USERS_LOOK: Duration = Duration::from_secs(1);

/// How long a stopping server waits for bounded responses. Container runtimes kill a process ten seconds after SIGTERM, and
/// queries commit after this.
pub const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

/// How long the client of a response that is cut off has to read its last bytes before the shutdown continues.
pub const LAST_WORDS: Duration = Duration::from_millis(500);

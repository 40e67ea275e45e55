//! Attaching: a second tidegate on a data directory, and `tidegate URL`, send their statements to another process.
//!
//! ```text
//! owner       holds the directory's lock, announces its socket and serves it (socket)
//! protocol    requests, and the frames of a response
//! server      the endpoints behind the socket; `tidegate server` has them on its own port, too
//! client      the other side, over `http_client`
//! peers       lookups between the processes of a service, in the same frames
//! ```

pub(crate) mod client;

pub mod owner;
pub(super) mod peers;
pub mod protocol;
pub(super) mod server;
pub mod socket;

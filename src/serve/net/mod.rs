//! Connections: accepting them, how many there may be and for how long, TLS, bodies left unread.

pub(super) mod connection;
pub(super) mod listen;
pub(super) mod tls;
pub(super) mod unread;

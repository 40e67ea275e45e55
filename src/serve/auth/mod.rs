//! Authentication: the users file, logins, and the layer in front of all routes that requires them.

pub(super) mod guard;
pub(super) mod login;
pub(super) mod node;
pub(super) mod sessions;
mod throttle;
pub mod users;
pub mod users_file;
pub(crate) mod verifier;

//! Who sends a request: the file of users, logins, and the layer in front of all routes that asks for both.

pub(super) mod guard;
pub(super) mod login;
mod throttle;
pub mod users;
pub mod users_file;

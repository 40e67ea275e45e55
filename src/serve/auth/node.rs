//! Requests of the other processes of a service: recognized by a token that is made of the secret that all of them know
//! (`config::node_secret`), on the routes that are theirs. There a user's credentials count for nothing, and elsewhere the token does not.
//!
//! ```text
//! secret configured      X-Tidegate-Node: <64 hexadecimal digits>
//! none, no users         nothing: the server is for this machine alone, and every client of it may do everything
//! none, but users        no request is one of a process
//! ```

use super::verifier::is_same;
use crate::config::NodeSecret;
use crate::engine::access::{Principal, Role, TopicRights};
use crate::error::{Error, Result};
use axum::http::HeaderMap;

/// The header with the token.
pub(crate) const NODE: &str = "x-tidegate-node";
/// The paths of routes for processes.
const PATHS: [&str; 1] = ["/cluster/lookup"];

/// Marks a request of another process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FromNode;

impl FromNode {
    /// The user for whom another process asks. That has checked the user's topics; which of them is meant is compared by what is
    /// asked for.
    pub(crate) fn user(self, name: &str, role: &str) -> Result<Principal> {
        let known = Role::named(role).ok_or_else(|| Error::statement(format!("unknown role {role}")))?;
        Ok(Principal::new(name, known, TopicRights::default()))
    }
}

/// How such requests are recognized.
#[derive(Debug)]
pub(crate) enum Nodes {
    /// By this token.
    Token(String),
    /// By nothing.
    Anyone,
    /// There are none.
    None,
}

impl Nodes {
    /// Of a server with this secret, and with users or without.
    pub(crate) fn of(secret: Option<&NodeSecret>, has_users: bool) -> Nodes {
        match secret {
            Some(secret) => Nodes::Token(secret.token()),
            None if has_users => Nodes::None,
            None => Nodes::Anyone,
        }
    }

    /// Whether a path is one for processes.
    pub(crate) fn own(path: &str) -> bool {
        PATHS.contains(&path)
    }

    /// Whether a request is one of another process.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> bool {
        match self {
            Nodes::Anyone => true,
            Nodes::None => false,
            Nodes::Token(token) => {
                let mut sent = headers.get_all(NODE).iter();
                sent.next().is_some_and(|sent| is_same(sent.as_bytes(), token.as_bytes())) && sent.next().is_none()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_the_token_of_the_secret_is_accepted() {
        let secret = |text: &str| NodeSecret::of(text.repeat(8).as_bytes()).unwrap();
        let nodes = Nodes::of(Some(&secret("abcd")), true);
        let headers = |tokens: &[&str]| {
            let mut headers = HeaderMap::new();
            tokens.iter().for_each(|token| _ = headers.append(NODE, HeaderValue::from_str(token).unwrap()));
            headers
        };
        let (right, wrong) = (secret("abcd").token(), secret("abce").token());
        assert!(nodes.admit(&headers(&[&right])));
        for sent in
            [&[][..], &[""], &[&wrong], &[&right[1..]], &[&format!("{right}0")], &[&right, &right], &["abcdabcd"]]
        {
            assert!(!nodes.admit(&headers(sent)), "{sent:?}");
        }
        assert!(!Nodes::of(None, true).admit(&headers(&[&right])));
        assert!(Nodes::of(None, false).admit(&headers(&[])));
    }
}

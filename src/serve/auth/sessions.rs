//! Sessions of browsers: a cookie in place of a password that a page would have to keep.
//!
//! ```text
//! POST /api/v1/session {user, password}  ->  set-cookie: tidegate-PORT=<256 random bits>; HttpOnly; SameSite=Strict; Path=/
//! every request with that cookie         ->  the user, for 12 hours
//! DELETE /api/v1/session                 ->  forgotten
//! ```
//!
//! Sessions are kept in memory alone, by the hash of their cookie: they end with the process, and when the users file changes.
//! Their number is bounded; the one that was used least recently is forgotten. The tokens that clients of Flight SQL get for a
//! password are kept in the same way, apart: programs that log in often end no session of a browser.

use super::users::{HASH_BYTES, sha256};
use crate::config::random_id;
use crate::engine::access::Principal;
use crate::error::Result;
use crate::serve::limits::{SESSION_LIFE, SESSIONS_MAX};
use axum::http::HeaderMap;
use axum::http::header::{COOKIE, HOST};
use parking_lot::Mutex;
use std::collections::HashMap;
use tokio::time::Instant;

/// What the name of the cookie begins with.
pub(crate) const COOKIE_NAME: &str = "tidegate";

type Key = [u8; HASH_BYTES];

/// Open sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<Key, Session>>);

#[derive(Debug)]
struct Session {
    user: Principal,
    opened: Instant,
    used: Instant,
}

impl Sessions {
    /// Opens a session; returns the value of its cookie.
    pub(crate) fn open(&self, user: Principal, now: Instant) -> Result<String> {
        let cookie = format!("{:032x}{:032x}", random_id()?, random_id()?);
        let mut sessions = self.0.lock();
        sessions.retain(|_, session| now.duration_since(session.opened) < SESSION_LIFE);
        if sessions.len() >= SESSIONS_MAX
            && let Some(idle) = sessions.iter().min_by_key(|(_, session)| session.used).map(|(key, _)| *key)
        {
            sessions.remove(&idle);
        }
        sessions.insert(sha256(cookie.as_bytes()), Session { user, opened: now, used: now });
        Ok(cookie)
    }

    /// The user of a session that is still open.
    pub(crate) fn user(&self, cookie: &str, now: Instant) -> Option<Principal> {
        let mut sessions = self.0.lock();
        let session = sessions.get_mut(&sha256(cookie.as_bytes()))?;
        session.used = session.used.max(now);
        (now.duration_since(session.opened) < SESSION_LIFE).then(|| session.user.clone())
    }

    /// Ends a session.
    pub(crate) fn close(&self, cookie: &str) {
        self.0.lock().remove(&sha256(cookie.as_bytes()));
    }

    /// Ends all sessions.
    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }
}

/// The name of the cookie at the server that a request is for: `tidegate-8088`. A browser sends a host's cookies to all of its
/// ports, so a login at one server would otherwise replace that at another one.
fn cookie_name(headers: &HeaderMap) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    // `[::1]` has colons and no port.
    match host.rsplit_once(':').map(|(_, port)| port).filter(|port| port.parse::<u16>().is_ok()) {
        Some(port) => format!("{COOKIE_NAME}-{port}"),
        None => COOKIE_NAME.to_owned(),
    }
}

/// The session's cookie of a request.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let wanted = cookie_name(headers);
    let all = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
    let mut pairs = all.flat_map(|header| header.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

/// The header that sets the cookie in response to a request, or that deletes it: `value` is empty then.
pub(crate) fn set_cookie(headers: &HeaderMap, value: &str, is_secure: bool) -> String {
    let age = if value.is_empty() { 0 } else { SESSION_LIFE.as_secs() };
    let (name, secure) = (cookie_name(headers), if is_secure { "; Secure" } else { "" });
    format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::auth::users::reader;
    use std::time::Duration;

    #[test]
    fn a_session_ends_by_its_age_by_a_logout_and_by_too_many_others() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let aged = sessions.open(reader("ann"), now).unwrap();
        assert_eq!(sessions.user(&aged, now + SESSION_LIFE - Duration::from_secs(1)), Some(reader("ann")));
        assert_eq!(sessions.user(&aged, now + SESSION_LIFE), None);
        assert_eq!(sessions.user("", now), None);
        sessions.clear();
        let (first, in_use) = (sessions.open(reader("ann"), now).unwrap(), sessions.open(reader("cid"), now).unwrap());
        let later = now + Duration::from_secs(1);
        assert_eq!(sessions.user(&in_use, later + Duration::from_secs(1)), Some(reader("cid")));
        let all: Vec<String> = (0..SESSIONS_MAX).map(|_| sessions.open(reader("bob"), later).unwrap()).collect();
        assert_eq!(sessions.user(&first, later), None, "it was used least recently");
        assert_eq!(sessions.user(&in_use, later), Some(reader("cid")));
        let kept = all.last().unwrap();
        assert_eq!(sessions.user(kept, later), Some(reader("bob")));
        sessions.close(kept);
        assert_eq!(sessions.user(kept, later), None);
        sessions.clear();
        assert_eq!(sessions.user(&in_use, later), None);
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "theme=dark; tidegate=abc; x=y".parse().unwrap());
        assert_eq!(cookie(&headers), Some("abc"));
        headers.clear();
        headers.append(COOKIE, "xtidegate=abc".parse().unwrap());
        assert_eq!(cookie(&headers), None);
        assert!(set_cookie(&headers, "abc", true).ends_with("; HttpOnly; SameSite=Strict; Secure"));
        assert!(set_cookie(&headers, "", false).contains("Max-Age=0;"));
    }

    #[test]
    fn servers_on_two_ports_of_a_host_have_cookies_of_their_own() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "tidegate-8088=first; tidegate-8089=second; tidegate=none".parse().unwrap());
        for (host, value) in [
            ("localhost:8088", Some("first")),
            ("[::1]:8089", Some("second")),
            ("localhost:1", None),
            ("tidegate.example", Some("none")),
            ("[::1]", Some("none")),
        ] {
            headers.insert(HOST, host.parse().unwrap());
            assert_eq!(cookie(&headers), value, "{host}");
        }
        headers.insert(HOST, "localhost:8088".parse().unwrap());
        assert!(set_cookie(&headers, "abc", false).starts_with("tidegate-8088=abc; "));
    }
}

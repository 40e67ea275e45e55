//! Logins: authenticates requests, at a cost that unauthenticated cannot impose on others.
//!
//! ```text
//! token        its hash is looked up: microseconds
//! certificate  checked when the connection was made
//! password     remembered as right or wrong? --> same one being checked? --> throttle --> queue of 16 --> two at once
//! ```
//!
//! A check of a password costs a tenth of a second of a core, so their number is bounded at each step; beyond a bound the
//! client gets a request to retry (429, `Retry-After`). Remembered users, tokens and certificates are not subject to any of
//! them. Failures are counted and logged, with name and address and never the secret, a bounded number of lines at a time.

use super::sessions::Sessions;
use super::throttle::{Attempt, Throttle};
use super::users::{HASH_BYTES, Users, sha256};
use super::verifier::Verifier;
use crate::config::random_id;
use crate::engine::access::Principal;
use crate::serve::limits::{
    FAILURE_LINES_EVERY, FAILURE_LINES_MAX, PASSWORD_CHECKS_MAX, PASSWORD_PATIENCE, PASSWORD_QUEUE_MAX,
    PASSWORD_SHARE_MAX, REMEMBERED_FOR, REMEMBERED_MAX, WRONG_FOR,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

/// Characters of a name that a log line shows.
const NAME_SHOWN_MAX: usize = 64;
/// When a client may retry after a full queue.
const QUEUE_AGAIN: Duration = Duration::from_secs(1);
/// How often a check that waits looks whether its client is still there.
const LOOK: Duration = Duration::from_millis(100);

/// Places of the journals.
const FAILED: usize = 0;
const PUT_OFF: usize = 1;

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    /// From this user.
    Granted(Principal),
    /// Unknown user.
    Refused,
    /// Not checked: the client may retry after this time.
    Later(Duration),
}

type Hash = [u8; HASH_BYTES];

/// The users, and recent logins.
#[derive(Debug)]
pub(crate) struct Logins {
    users: RwLock<Arc<Users>>,
    desk: Mutex<Desk>,
    checks: Arc<Semaphore>,
    /// Sessions of browsers.
    pub(crate) sessions: Sessions,
    /// What clients of Flight SQL got for a password: they send it as a token.
    pub(crate) handshakes: Sessions,
    /// Lines about failures, and about requests that were put off: neither hides the other.
    journals: [Mutex<Journal>; 2],
    /// Wrong passwords and tokens.
    pub(crate) failures: AtomicU64,
    /// Requests that were refused with `Retry-After`.
    pub(crate) put_off: AtomicU64,
    /// From it and a name follows the salt of a user who does not exist.
    decoy: [u8; 16],
}

/// What a SCRAM exchange needs.
#[derive(Debug)]
pub(crate) struct Scram {
    /// `None` = there is no such user.
    pub(crate) user: Option<Principal>,
    pub(crate) verifier: Verifier,
    pub(crate) attempt: Attempt,
}

#[derive(Debug, Default)]
struct Desk {
    /// Grows when the users change: what was checked against the old ones does not count.
    generation: u64,
    /// Credentials that were right, by their hash, and when they were last used.
    right: HashMap<Hash, (Principal, Instant)>,
    /// Credentials that were wrong, and when they were found to be.
    wrong: HashMap<Hash, Instant>,
    /// Credentials that wait for their check or are being checked.
    running: HashMap<Hash, Check>,
    /// Checks begun so far.
    begun: u64,
    throttle: Throttle,
}

/// A running check, which requests with the same credentials share.
#[derive(Debug)]
struct Check {
    id: u64,
    /// Address of the first of them.
    address: Option<IpAddr>,
    entry: watch::Receiver<Option<Entry>>,
}

impl Logins {
    pub(crate) fn new(users: Users) -> Arc<Logins> {
        Arc::new(Logins {
            users: RwLock::new(Arc::new(users)),
            desk: Mutex::default(),
            checks: Arc::new(Semaphore::new(PASSWORD_CHECKS_MAX)),
            sessions: Sessions::default(),
            handshakes: Sessions::default(),
            journals: [Mutex::new(Journal::new()), Mutex::new(Journal::new())],
            failures: AtomicU64::new(0),
            put_off: AtomicU64::new(0),
            decoy: random_id().unwrap_or_default().to_be_bytes(),
        })
    }

    /// Replaces the users; forgets all logins and ends all sessions.
    pub(crate) fn replace(&self, users: Users) {
        *self.users.write() = Arc::new(users);
        let mut desk = self.desk.lock();
        desk.generation += 1;
        desk.right.clear();
        desk.wrong.clear();
        self.sessions.clear();
        self.handshakes.clear();
    }

    /// Whoever sends this `authorization` header.
    pub(crate) async fn by_header(self: &Arc<Logins>, header: &str, address: Option<IpAddr>) -> Entry {
        let (scheme, credentials) = header.trim().split_once(' ').unwrap_or_default();
        match scheme.to_ascii_lowercase().as_str() {
            "bearer" => {
                let user = self.users.read().by_token(credentials.trim());
                match user.or_else(|| self.handshakes.user(credentials.trim(), Instant::now())) {
                    Some(user) => Entry::Granted(user),
                    None => self.failed("a token", address),
                }
            }
            "basic" => self.by_password(credentials.trim(), address).await,
            _ => self.failed("an unknown scheme", address),
        }
    }

    /// The user of the session that has this cookie.
    pub(crate) fn by_cookie(&self, cookie: &str, address: Option<IpAddr>) -> Entry {
        match self.sessions.user(cookie, Instant::now()) {
            Some(user) => Entry::Granted(user),
            None => self.failed("an expired session", address),
        }
    }

    /// Whoever has a certificate of these names.
    pub(crate) fn by_certificate(&self, names: &[String], address: Option<IpAddr>) -> Entry {
        match self.users.read().by_certificate(names) {
            Some(user) => Entry::Granted(user),
            None => self.failed(names.first().map_or("a certificate", String::as_str), address),
        }
    }

    /// The user with this token, whose name is the one that the client claims.
    pub(crate) fn by_token(&self, name: &str, token: &str, address: Option<IpAddr>) -> Entry {
        match self.users.read().by_token(token).filter(|user| *user.name == *name) {
            Some(user) => Entry::Granted(user),
            None => self.failed(name, address),
        }
    }

    /// Whether a user of this name has a token and no password.
    pub(crate) fn has_only_token(&self, name: &str) -> bool {
        self.users.read().has_only_token(name)
    }

    /// What a SCRAM exchange needs. It costs nothing here, but is a guess all the same, so that it is counted as one until
    /// [`Logins::scram_succeeded`]. For a name that does not exist the exchange is the same, and fails.
    pub(crate) fn scram(&self, name: &str, address: Option<IpAddr>) -> Result<Scram, Entry> {
        let attempt = self.desk.lock().throttle.attempt(address, name, Instant::now());
        let attempt = attempt.map_err(|wait| {
            self.put_off.fetch_add(1, Ordering::Relaxed);
            self.log(PUT_OFF, "auth put off", name, address);
            Entry::Later(wait)
        })?;
        let users = self.users.read();
        let found = users.verifier(name);
        let (user, verifier) = match found {
            Some((user, verifier)) => (Some(user), verifier),
            None => {
                // The same salt each time, as a user's would be.
                let salt = sha256(&[&self.decoy[..], name.as_bytes()].concat())[..16].to_vec();
                let keys = sha256(&salt);
                let rounds = users.rounds_of_others();
                (None, Verifier { rounds, salt, stored_key: keys, server_key: keys })
            }
        };
        Ok(Scram { user, verifier, attempt })
    }

    /// The exchange was right: it has cost nothing.
    pub(crate) fn scram_succeeded(&self, attempt: Attempt) {
        self.desk.lock().throttle.give_back(attempt);
    }

    /// Counts and logs a login that failed.
    pub(crate) fn scram_failed(&self, name: &str, address: Option<IpAddr>) -> Entry {
        self.failed(name, address)
    }

    async fn by_password(self: &Arc<Logins>, credentials: &str, address: Option<IpAddr>) -> Entry {
        let hash = sha256(credentials.as_bytes());
        if let Some(user) = self.desk.lock().remembered(&hash, Instant::now()) {
            return Entry::Granted(user);
        }
        // Some gRPC clients leave the padding out.
        let decoded = STANDARD_NO_PAD
            .decode(credentials.trim_end_matches('='))
            .ok()
            .and_then(|text| String::from_utf8(text).ok());
        let Some((name, password)) = decoded.as_deref().and_then(|text| text.split_once(':')) else {
            return self.failed("unreadable credentials", address);
        };
        let entry = match self.begin(hash, name, password, address) {
            Ok(mut check) => match check.wait_for(Option::is_some).await {
                Ok(entry) => entry.clone().unwrap_or(Entry::Refused),
                // The check's task has ended early: the runtime ends, too.
                Err(_) => Entry::Later(QUEUE_AGAIN),
            },
            Err(entry) => entry,
        };
        match entry {
            Entry::Granted(_) => {}
            Entry::Refused => return self.failed(name, address),
            Entry::Later(_) => {
                self.put_off.fetch_add(1, Ordering::Relaxed);
                self.log(PUT_OFF, "auth put off", name, address);
            }
        }
        entry
    }

    /// The check of these credentials, begun unless it runs already; or what is known without one.
    fn begin(
        self: &Arc<Logins>,
        hash: Hash,
        name: &str,
        password: &str,
        address: Option<IpAddr>,
    ) -> Result<watch::Receiver<Option<Entry>>, Entry> {
        let now = Instant::now();
        let mut desk = self.desk.lock();
        if desk.wrong.get(&hash).is_some_and(|at| now.duration_since(*at) < WRONG_FOR) {
            return Err(Entry::Refused);
        }
        if let Some(check) = desk.running.get(&hash) {
            return Ok(check.entry.clone());
        }
        let mine = desk.running.values().filter(|check| check.address == address).count();
        if desk.running.len() >= PASSWORD_CHECKS_MAX + PASSWORD_QUEUE_MAX || mine >= PASSWORD_SHARE_MAX {
            return Err(Entry::Later(QUEUE_AGAIN));
        }
        let attempt = desk.throttle.attempt(address, name, now).map_err(Entry::Later)?;
        let (done, entry) = watch::channel(None);
        desk.begun += 1;
        let id = desk.begun;
        let running = Running { logins: self.clone(), hash, id, attempt: Some(attempt) };
        desk.running.insert(hash, Check { id, address, entry: entry.clone() });
        let (name, password) = (name.to_owned(), password.to_owned());
        tokio::spawn(async move {
            let entry = running.check(&name, &password, &done).await;
            // An error means that no request waits any more.
            let _ = done.send(Some(entry));
        });
        Ok(entry)
    }

    fn failed(&self, name: &str, address: Option<IpAddr>) -> Entry {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.log(FAILED, "auth failed", name, address);
        Entry::Refused
    }

    fn log(&self, journal: usize, what: &'static str, name: &str, address: Option<IpAddr>) {
        let peer = address.map_or_else(|| "?".to_owned(), |address| address.to_string());
        let Some(left_out) = self.journals[journal].lock().line(Instant::now()) else { return };
        // Debug escapes what would move a terminal's cursor.
        let name: String = name.chars().take(NAME_SHOWN_MAX).collect();
        match left_out {
            0 => tracing::warn!(?name, peer, "{what}"),
            left_out => tracing::warn!(?name, peer, left_out, "{what}"),
        }
    }
}

/// A check that runs. However it ends, others can begin one; unless the password was wrong, it has cost nothing.
struct Running {
    logins: Arc<Logins>,
    hash: Hash,
    id: u64,
    attempt: Option<Attempt>,
}

impl Running {
    async fn check(mut self, name: &str, password: &str, done: &watch::Sender<Option<Entry>>) -> Entry {
        let logins = self.logins.clone();
        let turn = tokio::select! {
            turn = timeout(PASSWORD_PATIENCE, logins.checks.acquire()) => turn,
            () = self.is_left(done) => return Entry::Later(QUEUE_AGAIN),
        };
        let Ok(Ok(_turn)) = turn else { return Entry::Later(QUEUE_AGAIN) };
        loop {
            // In this order: a newer generation than that of the users would let an old password in.
            let generation = logins.desk.lock().generation;
            let users = logins.users.read().clone();
            let (name, password) = (name.to_owned(), password.to_owned());
            let found = tokio::task::spawn_blocking(move || users.by_password(&name, &password)).await;
            let Ok(found) = found else { return Entry::Later(QUEUE_AGAIN) };
            let mut desk = logins.desk.lock();
            if desk.generation != generation {
                continue;
            }
            return match found {
                Some(user) => {
                    desk.remember(self.hash, user.clone(), Instant::now());
                    Entry::Granted(user)
                }
                None => {
                    self.attempt = None;
                    desk.remember_wrong(self.hash, Instant::now());
                    Entry::Refused
                }
            };
        }
    }

    /// Completes when no request waits for the check any more; none can join it then.
    async fn is_left(&self, done: &watch::Sender<Option<Entry>>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let mut desk = self.logins.desk.lock();
            if done.receiver_count() <= 1 {
                desk.end(&self.hash, self.id);
                return;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut desk = self.logins.desk.lock();
        desk.end(&self.hash, self.id);
        if let Some(attempt) = self.attempt {
            desk.throttle.give_back(attempt);
        }
    }
}

impl Desk {
    fn remembered(&mut self, hash: &Hash, now: Instant) -> Option<Principal> {
        let (user, used) = self.right.get_mut(hash)?;
        if now.duration_since(*used) >= REMEMBERED_FOR {
            self.right.remove(hash);
            return None;
        }
        *used = now;
        Some(user.clone())
    }

    fn remember(&mut self, hash: Hash, user: Principal, now: Instant) {
        self.right.retain(|_, (_, used)| now.duration_since(*used) < REMEMBERED_FOR);
        if self.right.len() >= REMEMBERED_MAX
            && let Some(oldest) = self.right.iter().min_by_key(|(_, (_, used))| *used).map(|(hash, _)| *hash)
        {
            self.right.remove(&oldest);
        }
        self.right.insert(hash, (user, now));
    }

    fn remember_wrong(&mut self, hash: Hash, now: Instant) {
        self.wrong.retain(|_, at| now.duration_since(*at) < WRONG_FOR);
        if self.wrong.len() >= REMEMBERED_MAX {
            // What is forgotten is checked again.
            self.wrong.clear();
        }
        self.wrong.insert(hash, now);
    }

    /// The check does not run any more; another one of the same credentials may.
    fn end(&mut self, hash: &Hash, id: u64) {
        if self.running.get(hash).is_some_and(|check| check.id == id) {
            self.running.remove(hash);
        }
    }
}

/// How many lines about failures there were lately.
#[derive(Debug)]
struct Journal {
    began: Instant,
    lines: u32,
    left_out: u64,
}

impl Journal {
    fn new() -> Journal {
        Journal { began: Instant::now(), lines: 0, left_out: 0 }
    }

    /// May a line be written? If so, how many were left out before it.
    fn line(&mut self, now: Instant) -> Option<u64> {
        if now.duration_since(self.began) >= FAILURE_LINES_EVERY {
            (self.began, self.lines) = (now, 0);
        }
        if self.lines >= FAILURE_LINES_MAX {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

//! Handles: names of prepared statements and of results, which clients send back.
//!
//! ```text
//! handle = 16 random bytes + HMAC-SHA256(key of this process, kind, those bytes, name of the user)
//! ```
//!
//! The signature binds a handle to its user and to its kind, so that one that was forged or belongs to another user is
//! refused before the table is looked at. The state of a handle is kept in memory, in bounded tables that forget the
//! oldest entry first.

use super::statement::{Prepared, Run};
use crate::config::random_id;
use crate::engine::access::Principal;
use crate::error::{Error, Result};
use crate::serve::limits::SESSION_LIFE;
use bytes::Bytes;
use parking_lot::Mutex;
use ring::hmac;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How long a ticket can be redeemed: clients do it at once, or hand it to another process.
const TICKET_LIFE: Duration = Duration::from_secs(60);
/// Tickets at once: a hundred per streamed result that may be open.
const TICKETS_MAX: usize = 10_000;
/// Prepared statements at once, over all users: those that no client closed are among them.
const PREPARED_MAX: usize = 10_000;
/// Bytes of all tickets, and of all prepared statements: their texts and the values that are bound to them.
const TABLE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of the random part of a handle.
const ID_BYTES: usize = 16;

/// What a handle is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Ticket,
    Prepared,
}

/// What is kept for a handle.
struct Entry<T> {
    value: Arc<T>,
    bytes: usize,
    /// When it was put there, or used last.
    used: Instant,
}

struct Table<T> {
    entries: HashMap<u128, Entry<T>>,
    bytes: usize,
    life: Duration,
    entries_max: usize,
}

impl<T> Table<T> {
    fn new(life: Duration, entries_max: usize) -> Table<T> {
        Table { entries: HashMap::new(), bytes: 0, life, entries_max }
    }

    fn put(&mut self, id: u128, value: Arc<T>, bytes: usize, now: Instant) {
        let dead: Vec<u128> =
            self.entries.iter().filter(|(_, e)| now.duration_since(e.used) >= self.life).map(|(id, _)| *id).collect();
        dead.into_iter().for_each(|id| drop(self.remove(id)));
        while self.entries.len() >= self.entries_max || self.bytes + bytes > TABLE_BYTES_MAX {
            let Some(oldest) = self.entries.iter().min_by_key(|(_, e)| e.used).map(|(id, _)| *id) else { break };
            self.remove(oldest);
        }
        self.bytes += bytes;
        self.entries.insert(id, Entry { value, bytes, used: now });
    }

    fn get(&self, id: u128, now: Instant) -> Option<Arc<T>> {
        let entry = self.entries.get(&id)?;
        (now.duration_since(entry.used) < self.life).then(|| entry.value.clone())
    }

    fn touch(&mut self, id: u128, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.used = now;
        }
    }

    fn remove(&mut self, id: u128) -> Option<Arc<T>> {
        let entry = self.entries.remove(&id)?;
        self.bytes -= entry.bytes;
        Some(entry.value)
    }
}

/// Everything that handles stand for.
pub(in crate::serve) struct Handles {
    key: hmac::Key,
    tickets: Mutex<Table<Run>>,
    prepared: Mutex<Table<Prepared>>,
    /// Results that are being sent, by ticket; true ends one.
    running: Mutex<HashMap<u128, Vec<Arc<AtomicBool>>>>,
}

impl Handles {
    pub(in crate::serve) fn new() -> Result<Handles> {
        let secret = [random_id()?.to_be_bytes(), random_id()?.to_be_bytes()].concat();
        Ok(Handles {
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            tickets: Mutex::new(Table::new(TICKET_LIFE, TICKETS_MAX)),
            prepared: Mutex::new(Table::new(SESSION_LIFE, PREPARED_MAX)),
            running: Mutex::default(),
        })
    }

    fn message(purpose: Purpose, id: &[u8], user: &Principal) -> Vec<u8> {
        [&[purpose as u8], id, user.name.as_bytes()].concat()
    }

    fn signed(&self, purpose: Purpose, id: u128, user: &Principal) -> Bytes {
        let id = id.to_be_bytes();
        let tag = hmac::sign(&self.key, &Handles::message(purpose, &id, user));
        Bytes::from([&id[..], tag.as_ref()].concat())
    }

    /// The number in a handle of this user.
    pub(super) fn id(&self, purpose: Purpose, handle: &[u8], user: &Principal) -> Result<u128> {
        let unknown = || {
            let what = if purpose == Purpose::Ticket { "ticket" } else { "prepared statement" };
            Error::not_found(format!("the handle is of no {what} of this user"))
        };
        let (id, tag) = handle.split_at_checked(ID_BYTES).ok_or_else(unknown)?;
        hmac::verify(&self.key, &Handles::message(purpose, id, user), tag).map_err(|_| unknown())?;
        Ok(u128::from_be_bytes(id.try_into().map_err(|_| unknown())?))
    }

    /// A ticket for a result.
    pub(super) fn ticket(&self, run: Run, user: &Principal) -> Result<Bytes> {
        let id = random_id()?;
        let bytes = run.bytes();
        self.tickets.lock().put(id, Arc::new(run), bytes, Instant::now());
        Ok(self.signed(Purpose::Ticket, id, user))
    }

    /// What a ticket stands for. It can be redeemed again while it lives: clients retry.
    pub(super) fn redeem(&self, ticket: &[u8], user: &Principal) -> Result<(u128, Arc<Run>)> {
        let id = self.id(Purpose::Ticket, ticket, user)?;
        let run = self.tickets.lock().get(id, Instant::now()).ok_or_else(|| {
            let seconds = TICKET_LIFE.as_secs();
            Error::not_found("the ticket has expired")
                .with_hint(format!("a ticket lives for {seconds} s; call GetFlightInfo again"))
        })?;
        Ok((id, run))
    }

    /// Keeps a prepared statement, under a new handle.
    pub(super) fn prepare(&self, prepared: Prepared, user: &Principal) -> Result<Bytes> {
        let id = random_id()?;
        let bytes = prepared.bytes();
        self.prepared.lock().put(id, Arc::new(prepared), bytes, Instant::now());
        Ok(self.signed(Purpose::Prepared, id, user))
    }

    /// The prepared statement of a handle.
    pub(super) fn prepared(&self, handle: &[u8], user: &Principal) -> Result<Arc<Prepared>> {
        let id = self.id(Purpose::Prepared, handle, user)?;
        let (mut table, now) = (self.prepared.lock(), Instant::now());
        let prepared = table.get(id, now).ok_or_else(|| {
            Error::not_found("the prepared statement does not exist")
                .with_hint("it was closed or forgotten: prepare it again")
        })?;
        table.touch(id, now);
        Ok(prepared)
    }

    /// Replaces the prepared statement of a handle: values were bound to it.
    pub(super) fn rebind(&self, handle: &[u8], prepared: Prepared, user: &Principal) -> Result<()> {
        let id = self.id(Purpose::Prepared, handle, user)?;
        let bytes = prepared.bytes();
        let mut table = self.prepared.lock();
        table.remove(id);
        table.put(id, Arc::new(prepared), bytes, Instant::now());
        Ok(())
    }

    /// Forgets a prepared statement.
    pub(super) fn close(&self, handle: &[u8], user: &Principal) -> Result<()> {
        let id = self.id(Purpose::Prepared, handle, user)?;
        self.prepared.lock().remove(id);
        Ok(())
    }

    /// Lists a result that is being sent until the return value is dropped.
    pub(super) fn running(self: &Arc<Handles>, ticket: u128) -> Running {
        let closed = Arc::<AtomicBool>::default();
        self.running.lock().entry(ticket).or_default().push(closed.clone());
        Running { handles: self.clone(), ticket, closed }
    }

    /// Ends the results of a ticket, which cannot be redeemed any more; returns whether there was anything to end.
    pub(super) fn cancel(&self, ticket: u128) -> bool {
        let was_there = self.tickets.lock().remove(ticket).is_some();
        let running = self.running.lock();
        let sent = running.get(&ticket);
        sent.into_iter().flatten().for_each(|closed| closed.store(true, Ordering::Release));
        was_there || sent.is_some()
    }
}

/// A result that is being sent.
pub(super) struct Running {
    handles: Arc<Handles>,
    ticket: u128,
    /// It is to end.
    pub(super) closed: Arc<AtomicBool>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self.handles.running.lock();
        if let Some(all) = running.get_mut(&self.ticket) {
            all.retain(|one| !Arc::ptr_eq(one, &self.closed));
            if all.is_empty() {
                running.remove(&self.ticket);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::auth::users::reader;

    #[test]
    fn a_handle_is_of_one_user_and_one_kind() {
        let handles = Handles::new().unwrap();
        let (ann, bob) = (reader("ann"), reader("bob"));
        let handle = handles.signed(Purpose::Ticket, 7, &ann);
        assert_eq!(handles.id(Purpose::Ticket, &handle, &ann).unwrap(), 7);
        assert!(handles.id(Purpose::Ticket, &handle, &bob).is_err());
        assert!(handles.id(Purpose::Prepared, &handle, &ann).is_err());
        assert!(handles.id(Purpose::Ticket, b"short", &ann).is_err());
        let mut forged = handle.to_vec();
        forged[0] ^= 1;
        assert!(handles.id(Purpose::Ticket, &forged, &ann).is_err());
    }

    #[test]
    fn a_table_forgets_by_age_by_number_and_by_bytes() {
        let (mut table, now) = (Table::new(Duration::from_secs(60), 2), Instant::now());
        let later = |seconds| now + Duration::from_secs(seconds);
        table.put(1, Arc::new('a'), 10, now);
        assert_eq!(table.get(1, later(59)).as_deref(), Some(&'a'));
        assert_eq!(table.get(1, later(60)), None);
        table.put(2, Arc::new('b'), 10, later(1));
        table.touch(1, later(2));
        table.put(3, Arc::new('c'), 10, later(3));
        assert_eq!((table.get(1, later(3)).is_some(), table.get(2, later(3)).is_some()), (true, false));
        table.put(4, Arc::new('d'), TABLE_BYTES_MAX - 5, later(4));
        assert_eq!((table.entries.len(), table.bytes), (1, TABLE_BYTES_MAX - 5));
        table.put(5, Arc::new('e'), 1, later(200));
        assert_eq!(table.entries.len(), 1, "the others have expired");
    }
}

//! Where the sessions of every key are, and how they were at the last commit.
//!
//! A key's sessions form a list, newest first; they never overlap, so that it is sorted by start and by end alike. A
//! session's slot is also the row of its state in the arena. Slots given up are used again only after the commit: until
//! an abort or an emission may still need their contents.
//!
//! Before the first change in an epoch a committed session's header and words, or a key's head, are saved; a session made
//! in the epoch needs nothing saved. An abort puts all that back. The queue of expiry is derived and made anew.

use super::expiry::Expiry;
use crate::execute::state::arena::{Arena, CHUNK_ROWS};
use std::hint::black_box;

/// No session.
pub(super) const NIL: u32 = u32::MAX;

/// Header of a session: half a cache line, so that none lies in two.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub(super) struct Session {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) key: u32,
    /// The next older session of the key.
    pub(super) next: u32,
    /// Epoch in which it was saved or made.
    saved: u32,
    /// Tells it from other sessions that had the slot; 0 = merged into another one, or closed.
    serial: u32,
}

impl Session {
    #[inline(always)]
    pub(super) fn is_alive(&self) -> bool {
        self.serial != 0
    }
}

#[derive(Clone, Copy, Debug)]
struct Head {
    slot: u32,
    /// Epoch in which it was saved.
    saved: u32,
}

/// All sessions of an operator.
#[derive(Debug)]
pub(super) struct Index {
    /// By key.
    heads: Vec<Head>,
    /// By slot.
    sessions: Vec<Session>,
    /// How many of them are alive, and were at the last commit.
    alive: usize,
    committed: usize,
    free: Vec<u32>,
    /// Slots taken since the last commit.
    made: Vec<u32>,
    /// Slots given up since the last commit.
    retired: Vec<u32>,
    images: Vec<(u32, Session)>,
    image_words: Vec<i64>,
    head_images: Vec<(u32, u32)>,
    epoch: u32,
    serial: u32,
    expiry: Expiry,
}

impl Index {
    /// No sessions yet.
    pub(super) fn new(expiry: Expiry) -> Index {
        Index {
            heads: Vec::new(),
            sessions: Vec::new(),
            alive: 0,
            committed: 0,
            free: Vec::new(),
            made: Vec::new(),
            retired: Vec::new(),
            images: Vec::new(),
            image_words: Vec::new(),
            head_images: Vec::new(),
            epoch: 1,
            serial: 0,
            expiry,
        }
    }

    #[inline(always)]
    pub(super) fn get(&self, slot: u32) -> &Session {
        &self.sessions[slot as usize]
    }

    /// The newest session of a key that may be new.
    #[inline]
    pub(super) fn head(&mut self, key: u32) -> u32 {
        if key as usize >= self.heads.len() {
            self.heads.resize(key as usize + 1, Head { slot: NIL, saved: 0 });
        }
        self.heads[key as usize].slot
    }

    /// Sessions that are there.
    pub(super) fn alive(&self) -> usize {
        self.alive
    }

    /// Every session has a slot below this one.
    pub(super) fn slots(&self) -> u32 {
        self.sessions.len() as u32
    }

    /// Sessions that are there, and the memory of their headers.
    pub(super) fn size(&self) -> (usize, usize) {
        let headers = self.sessions.capacity() * size_of::<Session>() + self.heads.capacity() * size_of::<Head>();
        (self.alive, headers)
    }

    /// Touches the newest sessions of keys that are likely to be asked for next, so that their cache misses overlap;
    /// returns their slots.
    pub(super) fn warm(&self, keys: impl Iterator<Item = u32>, slots: &mut Vec<u32>) {
        slots.clear();
        slots.extend(keys.filter_map(|key| self.heads.get(key as usize)).map(|head| head.slot).filter(|s| *s != NIL));
        black_box(slots.iter().fold(0, |x, &slot| x ^ self.sessions[slot as usize].end));
    }

    /// Makes `slot` follow `previous` in the list of `key`; first, if there is no previous.
    pub(super) fn link(&mut self, key: u32, previous: u32, slot: u32, arena: &Arena) {
        if previous != NIL {
            self.save(previous, arena);
            self.sessions[previous as usize].next = slot;
            return;
        }
        let head = &mut self.heads[key as usize];
        if head.saved != self.epoch {
            self.head_images.push((key, head.slot));
            head.saved = self.epoch;
        }
        head.slot = slot;
    }

    /// A new session of one row, behind which `next` follows.
    pub(super) fn make(&mut self, key: u32, time: i64, next: u32, arena: &mut Arena) -> u32 {
        let slot = self.place(key, (time, time), next, arena);
        self.expiry.push(time, (self.serial, slot));
        slot
    }

    /// The same with other bounds and without a place in the queue of expiry: [`Index::requeue`] follows.
    pub(super) fn place(&mut self, key: u32, (start, end): (i64, i64), next: u32, arena: &mut Arena) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            let first = arena.take_chunk() * CHUNK_ROWS;
            self.free.extend((first + 1..first + CHUNK_ROWS).rev());
            first
        });
        self.serial = self.serial.wrapping_add(1).max(1);
        let made = Session { start, end, key, next, saved: self.epoch, serial: self.serial };
        if slot as usize >= self.sessions.len() {
            self.sessions.resize(slot as usize + 1, Session { serial: 0, ..made });
        }
        self.sessions[slot as usize] = made;
        self.alive += 1;
        self.made.push(slot);
        slot
    }

    /// Moves the bounds of a session and what follows it.
    pub(super) fn stretch(&mut self, slot: u32, (start, end): (i64, i64), next: u32, arena: &Arena) {
        self.save(slot, arena);
        let session = &mut self.sessions[slot as usize];
        (session.start, session.end, session.next) = (start, end, next);
    }

    /// The session is no more; it has been taken out of its list.
    pub(super) fn retire(&mut self, slot: u32, arena: &Arena) {
        self.save(slot, arena);
        self.sessions[slot as usize].serial = 0;
        self.alive -= 1;
        self.retired.push(slot);
    }

    /// Keeps the session as it was at the last commit.
    #[inline]
    pub(super) fn save(&mut self, slot: u32, arena: &Arena) {
        let session = &mut self.sessions[slot as usize];
        if session.saved != self.epoch {
            self.images.push((slot, *session));
            self.image_words.extend_from_slice(arena.row(slot));
            session.saved = self.epoch;
        }
    }

    /// May there be a session that ended before `shut`?
    #[inline]
    pub(super) fn may_expire(&self, shut: i64) -> bool {
        self.expiry.is_due(shut)
    }

    /// Takes sessions that ended before `shut` out of their lists: all of them, or those that a sweep finds. Their order
    /// says nothing: who writes them sorts them.
    pub(super) fn expire(&mut self, shut: i64, arena: &Arena) -> Vec<u32> {
        let mut closed = Vec::new();
        if !self.expiry.is_due(shut) {
            return closed;
        }
        match &mut self.expiry {
            Expiry::Buckets(_) => self.empty_buckets(shut, arena, &mut closed),
            Expiry::Sweep(sweep) => {
                let floor = sweep.begin(shut);
                let mut due = Vec::new();
                let sessions = &self.sessions;
                sweep.sessions.retain(|&(serial, slot)| {
                    let session = &sessions[slot as usize];
                    let known = session.serial == serial;
                    if known && session.end < floor {
                        due.push(session.key);
                    }
                    known && session.end >= floor
                });
                due.into_iter().for_each(|key| self.cut(key, floor, arena, &mut closed));
            }
        }
        closed
    }

    fn empty_buckets(&mut self, shut: i64, arena: &Arena, closed: &mut Vec<u32>) {
        while let Expiry::Buckets(buckets) = &mut self.expiry
            && let Some(due) = buckets.take(shut)
        {
            black_box(due.iter().fold(0, |x, queued| x ^ self.sessions[queued.1 as usize].end));
            for (serial, slot) in due {
                let session = self.sessions[slot as usize];
                if session.serial != serial {
                    continue;
                }
                if session.end >= shut {
                    self.expiry.push(session.end, (serial, slot));
                } else {
                    self.cut(session.key, shut, arena, closed);
                }
            }
        }
    }

    /// Cuts the list of a key behind the last session that has not ended before `shut`.
    fn cut(&mut self, key: u32, shut: i64, arena: &Arena, closed: &mut Vec<u32>) {
        let (mut previous, mut at) = (NIL, self.head(key));
        while at != NIL && self.get(at).end >= shut {
            (previous, at) = (at, self.get(at).next);
        }
        if at != NIL {
            self.link(key, previous, NIL, arena);
        }
        while at != NIL {
            let next = self.get(at).next;
            self.retire(at, arena);
            closed.push(at);
            at = next;
        }
    }

    /// Committed sessions that were touched, as they were.
    pub(super) fn images(&self) -> &[(u32, Session)] {
        &self.images
    }

    /// Sessions made since the last commit, dead ones too.
    pub(super) fn made(&self) -> &[u32] {
        &self.made
    }

    /// Slots that the commit frees.
    pub(super) fn retired(&self) -> &[u32] {
        &self.retired
    }

    /// Everything is as it will stay.
    pub(super) fn commit(&mut self) {
        self.free.append(&mut self.retired);
        self.committed = self.alive;
        self.made.clear();
        self.forget_images();
    }

    /// Everything as it was at the last commit, when there were `keys` keys.
    pub(super) fn abort(&mut self, keys: u32, arena: &mut Arena) {
        let words = self.image_words.chunks_exact(arena.width);
        for (&(slot, session), words) in self.images.iter().zip(words) {
            self.sessions[slot as usize] = session;
            arena.row_mut(slot).copy_from_slice(words);
        }
        for &(key, slot) in &self.head_images {
            self.heads[key as usize].slot = slot;
        }
        for slot in std::mem::take(&mut self.made) {
            self.sessions[slot as usize].serial = 0;
            self.free.push(slot);
        }
        self.retired.clear();
        self.alive = self.committed;
        self.heads.truncate(keys as usize);
        self.forget_images();
        self.requeue();
    }

    /// Makes the queue of expiry anew.
    pub(super) fn requeue(&mut self) {
        self.expiry.clear();
        for (slot, session) in self.sessions.iter().enumerate().filter(|(_, s)| s.is_alive()) {
            self.expiry.push(session.end, (session.serial, slot as u32));
        }
    }

    fn forget_images(&mut self) {
        self.images.clear();
        self.image_words.clear();
        self.head_images.clear();
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Keys that have a session.
    pub(super) fn live_keys(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.heads.len() as u32).filter(|&key| self.heads[key as usize].slot != NIL)
    }

    /// Gives keys the ordinals that `renamed` says, by old ordinal. Only right after a commit.
    pub(super) fn rename_keys(&mut self, renamed: &[u32]) {
        let mut heads = Vec::new();
        for (old, head) in self.heads.iter().enumerate().filter(|(_, head)| head.slot != NIL) {
            let new = renamed[old] as usize;
            heads.resize(heads.len().max(new + 1), Head { slot: NIL, saved: 0 });
            heads[new] = *head;
        }
        self.heads = heads;
        for session in self.sessions.iter_mut().filter(|s| s.is_alive()) {
            session.key = renamed[session.key as usize];
        }
    }
}

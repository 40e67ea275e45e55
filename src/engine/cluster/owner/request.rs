//! Requests of an owner to its driver, and their responses.
//!
//! ```text
//! Init                 a new producer with the own transactional id; the earlier one is dropped without an abort
//! ControlEnd           the high watermark of the control topic now
//! ReadReleases units   offsets and stamps, without waiting for transactions that are pending
//! Fence slots          init_transactions with the id of each slot, all at once; the producers are dropped
//! ReadStable units     offsets and stamps, when nothing is pending any more
//! Restore units        changelogs up to their high watermarks now
//! Commit               one transaction: rows, changelog, and once the offsets with these stamps
//! ```
//! One request is outstanding at a time. The driver bounds each in time: no response in time is [`Response::Failed`], and the
//! request may still be carried out later.

use crate::engine::cluster::names::{Incarnation, Slot, Term, Unit};
use crate::engine::cluster::record::Entry;
use serde::{Deserialize, Serialize};

/// Number of a request, so that a response to an earlier one is recognised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticket(pub u64);

/// Who committed a unit's offsets: a part of the metadata beside them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The owner.
    pub slot: Slot,
    /// Its start.
    pub incarnation: Incarnation,
    /// Its term.
    pub term: Term,
    /// Its number of the commit: with slot and incarnation it says which commit of unknown outcome this is.
    pub sequence: u64,
    /// The owner will write no more in this term.
    pub released: bool,
}

/// What a commit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The first commit of a term: no rows.
    Ownership,
    /// Rows.
    Epoch,
    /// The last commit of a term: the rows of these units so far.
    Release,
}

/// One transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// What it is for.
    pub purpose: Purpose,
    /// The units whose rows and offsets it contains, with their stamps.
    pub stamps: Vec<(Unit, Stamp)>,
}

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// A new producer.
    Init,
    /// The end of the control topic.
    ControlEnd,
    /// Offsets and stamps without waiting.
    ReadReleases(Vec<Unit>),
    /// End the producers of these slots.
    Fence(Vec<Slot>),
    /// Offsets and stamps, stable.
    ReadStable(Vec<Unit>),
    /// State, from the offsets that were read stable.
    Restore(Vec<Unit>),
    /// A transaction.
    Commit(Commit),
}

/// The result of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// [`Request::Init`], [`Request::Fence`], [`Request::Restore`] are done.
    Done,
    /// The offset that the next record of the control topic gets.
    ControlEnd(i64),
    /// Stamps beside the offsets; None where there is none yet, or where a transaction is pending.
    Stamps(Vec<(Unit, Option<Stamp>)>),
    /// The transaction was committed. `is_repeated`: one of its requests may have been sent twice, so that one may still
    /// arrive in the next transaction (K8 of docs/exactly-once.md).
    Committed {
        /// Whether a request may have been sent twice.
        is_repeated: bool,
    },
    /// The producer was fenced: the broker works, and another process or start has taken something.
    Fenced,
    /// It failed, or its outcome is unknown.
    Failed,
}

/// What the driver has to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Carry out a request and give its response back.
    Ask(Ticket, Request),
    /// Append this to the control topic. Its loss is noticed by reading.
    Append(Entry),
    /// Nothing, until a record or a response arrives or, if it is given, until this time.
    Wait(Option<u64>),
    /// End the process: another one started later with the same slot.
    Stop,
}

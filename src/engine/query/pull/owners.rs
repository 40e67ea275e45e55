//! Who runs which query: what lookups need to know of the other processes of the service.
//!
//! ```text
//! one process                       every query runs here, and no other process writes its topic
//! several, the query runs here      its view follows the topic, because others insert rows
//! several, it runs elsewhere        its owner is asked; a followed view here is as good but for its lag
//! ```
//!
//! This module decides nothing about ownership: the node of the process knows it (`cluster::node`). Without a node there is one
//! process. A test says it itself ([`Owners`]).

use crate::engine::Engine;
use crate::engine::cluster::hearing::Presence;
use crate::engine::cluster::node::Member;
use crate::execute::pull::materialized_view::Feed;
use std::fmt::Debug;
use std::sync::Arc;

/// The processes of a service, as this one knows them now. Called for each lookup: it waits for nothing.
pub trait Owners: Send + Sync + Debug {
    /// Whether this process is the only one of its service.
    fn is_alone(&self) -> bool;
    /// Where a query runs.
    fn owner(&self, query: &str) -> Owner;
}

/// Where a query runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// In this process.
    Here,
    /// In another one.
    Peer(Peer),
    /// Nowhere at the moment, as far as is known.
    Unknown,
}

/// Another process of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its slot.
    pub slot: String,
    /// Where its HTTP API can be reached; `None` = it has not said so.
    pub address: Option<Arc<str>>,
    /// Nothing was heard of it for a while.
    pub is_suspected: bool,
}

impl Engine {
    /// Has lookups ask these processes. Once, before the first statement.
    pub fn set_owners(&self, owners: Arc<dyn Owners>) {
        assert!(self.inner.processes.owners.set(owners).is_ok(), "the processes of a service are set once");
    }

    /// Where a query runs.
    pub(in crate::engine) fn owner(&self, query: &str) -> Owner {
        match (self.inner.processes.owners.get(), &self.inner.node) {
            (Some(owners), _) => owners.owner(query),
            (None, None) => Owner::Here,
            (None, Some(_)) => match self.inner.state.load().queries.get(query) {
                Some(query) if query.is_here() => Owner::Here,
                Some(query) => query.owner().map_or(Owner::Unknown, |member| Owner::Peer(Peer::of(member))),
                None => Owner::Unknown,
            },
        }
    }

    /// Where the rows of a table come from that this query writes.
    pub(in crate::engine) fn feed(&self, query: &str) -> Feed<'_> {
        let is_alone = match (self.inner.processes.owners.get(), &self.inner.node) {
            (Some(owners), _) => owners.is_alone() && owners.owner(query) == Owner::Here,
            (None, None) => true,
            // With other processes every query of this one has to expect their rows.
            (None, Some(_)) => self.inner.state.load().queries.get(query).is_some_and(|query| !query.is_shared()),
        };
        if is_alone { Feed::Commits } else { Feed::Topic(&self.inner.processes.followers) }
    }
}

impl Peer {
    fn of(member: Member) -> Peer {
        Peer {
            slot: member.slot,
            address: member.address.map(Into::into),
            is_suspected: member.presence != Presence::Heard,
        }
    }
}

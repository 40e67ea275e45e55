//! Who owns what a writer writes, when several processes share the queries of a service.
//!
//! A writer cannot know it: that is decided in the control topic (see `engine::cluster`). It asks its [`Claim`] after
//! every initialization of a producer, and before it commits anything with it (C3):
//!
//! ```text
//! new producer --> confirm --+--> Owned { term, others } --> fence others, read offsets, commit ownership --> taken(term)
//!                            +--> Lost { reason }        --> Fenced: the query's thread ends
//! ```
//!
//! The order is what makes it safe. A later owner fences every producer that may exist when its ownership enters the control
//! topic; a producer that is initialized afterwards is followed by a `confirm` that reads of the later owner.

use crate::error::Result;
use std::fmt::Debug;
use std::sync::Arc;

/// The owner's side of one query in one process.
pub trait Claim: Send + Sync + Debug {
    /// Reads the control topic to its end as of now, and returns what it says about this writer. Called after every
    /// initialization of a producer; an error is retried like an unreachable broker.
    fn confirm(&self) -> Result<Claimed>;
    /// The ownership commit of this term has succeeded: earlier writers need not be fenced again.
    fn taken(&self, term: u64) -> Result<()>;
}

/// What the control topic says about a writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// This process is the owner.
    Owned {
        /// Number of the assignment that made it the owner; 0 where there is no control topic.
        term: u64,
        /// Slots whose writers may still be able to commit, other than this process's own.
        others: Vec<String>,
    },
    /// Another process is the owner, or none.
    Lost {
        /// Why.
        reason: String,
    },
}

/// The claim of a process that shares its queries with none.
#[derive(Clone, Copy, Debug)]
pub struct Sole;

impl Sole {
    /// The claim as a writer takes it.
    pub fn claim() -> Arc<dyn Claim> {
        Arc::new(Sole)
    }
}

impl Claim for Sole {
    fn confirm(&self) -> Result<Claimed> {
        Ok(Claimed::Owned { term: 0, others: Vec::new() })
    }

    fn taken(&self, _: u64) -> Result<()> {
        Ok(())
    }
}

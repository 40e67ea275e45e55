//! Names in the control topic: processes, their starts, and what they own.
//!
//! ```text
//! slot         "node-0"        a process, the same after a restart; part of its transactional ids
//! incarnation  81985529216     one start of it
//! unit         CTAS_T_1 / 0    a query, or one part of a query that several processes share; the generator of a stream
//! term         17              the number of the Assign that gave the unit its owner
//! ```

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What the names of generators begin with.
const GENERATOR_PREFIX: &str = "datagen:";

/// The stable name of a process of the service. Two processes with one slot fence each other; the one that started later wins.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Slot(Arc<str>);

impl Slot {
    /// The slot of this name.
    pub fn new(name: &str) -> Slot {
        Slot(name.into())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl From<String> for Slot {
    fn from(name: String) -> Slot {
        Slot(name.into())
    }
}

impl From<Slot> for String {
    fn from(slot: Slot) -> String {
        slot.0.as_ref().to_owned()
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One start of a process: a random number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

/// The number of the Assign that gave a unit its owner; zero for a unit that never had one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Term(pub u64);

/// What is owned as a whole: a query, or a part of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Unit {
    /// The query's id.
    pub query: QueryName,
    /// Its part; 0 for a query that is not divided.
    #[serde(default)]
    pub part: u32,
}

impl Unit {
    /// A part of a query.
    pub fn new(query: &QueryName, part: u32) -> Unit {
        Unit { query: query.clone(), part }
    }
}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.query.0, self.part)
    }
}

/// A query's id, shared by all that mention it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct QueryName(Arc<str>);

impl QueryName {
    /// The query with this id.
    pub fn new(id: &str) -> QueryName {
        QueryName(id.into())
    }

    /// The generator of a stream, which is placed as a query is. No query's id has a colon.
    pub fn generator(stream: &str) -> QueryName {
        QueryName(format!("{GENERATOR_PREFIX}{stream}").into())
    }

    /// Whether it is not a query, but the generator of a stream.
    pub fn is_generator(&self) -> bool {
        self.0.starts_with(GENERATOR_PREFIX)
    }

    /// The id.
    pub fn id(&self) -> &str {
        &self.0
    }
}

impl From<String> for QueryName {
    fn from(id: String) -> QueryName {
        QueryName(id.into())
    }
}

impl From<QueryName> for String {
    fn from(query: QueryName) -> String {
        query.0.as_ref().to_owned()
    }
}

//! What a statement does to the catalogue: the one way in which it changes.
//!
//! ```text
//! live      plan -> command log -> apply(effect)
//! replay           command log -> apply(effect)
//! sandbox   plan ->               apply(effect) to a copy
//! ```
//!
//! An effect is resolved: it holds names, types, formats, topics and partition counts as they were when the statement was
//! planned, so that applying it asks nothing of the outside. It is stored in the command log: fields may be added with a
//! default, and none is renamed.

use crate::catalog::{Catalog, QueryInfo, Source};
use crate::types::SqlType;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One change of the catalogue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// A stream or table was registered or altered.
    CreateSource(Box<Source>),
    /// A persistent query was created, and the source that it writes, unless that existed.
    CreateQuery {
        /// The query's id.
        id: String,
        /// The source it writes, as resolved.
        sink: Box<Source>,
        /// The sources it reads.
        reads: Vec<String>,
        /// The topic of its late rows. Earlier builds did not record it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        late_topic: Option<String>,
        /// Offsets by partition that `latest` meant, for a query that began there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        begin: Option<Vec<i64>>,
    },
    /// A stream or table was dropped, with the query that wrote it.
    Drop {
        /// Its name.
        name: String,
    },
    /// A type was named.
    CreateType {
        /// The name.
        name: String,
        /// The type.
        ty: SqlType,
    },
    /// A type's name was dropped.
    DropType {
        /// The name.
        name: String,
    },
    /// A query was terminated.
    Terminate {
        /// Its id.
        id: String,
    },
    /// A query was paused (`true`) or resumed. The catalogue does not record which: the query does.
    Pause {
        /// Its id.
        id: String,
        /// Paused or resumed.
        paused: bool,
    },
}

impl Catalog {
    /// Applies an effect. One that does not fit (a command log from which `tidegate repair` has removed commands) changes
    /// nothing.
    pub fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::CreateSource(source) => self.put(Source::clone(source)),
            Effect::CreateQuery { id, sink, reads, late_topic, begin: _ } => {
                self.put_query(QueryInfo {
                    id: id.clone(),
                    reads: reads.clone(),
                    writes: sink.name.clone(),
                    late_topic: late_topic.clone(),
                });
                self.put(Source::clone(sink));
            }
            Effect::Drop { name } => {
                let kind = self.source(name).map(|source| source.kind);
                let Some(Ok((_, query))) = kind.map(|kind| self.check_drop(name, kind)) else { return };
                self.sources.remove(name);
                query.iter().for_each(|query| self.remove_query(&query.id));
            }
            Effect::CreateType { name, ty } => _ = self.types.insert(name.clone(), ty.clone()),
            Effect::DropType { name } => _ = self.types.remove(name),
            Effect::Terminate { id } => self.remove_query(id),
            Effect::Pause { .. } => {}
        }
    }

    fn put(&mut self, source: Source) {
        self.sources.insert(source.name.clone(), Arc::new(source));
    }

    /// Adds a persistent query, or replaces it in its place.
    fn put_query(&mut self, query: QueryInfo) {
        if !self.queries.contains_key(&query.id) {
            self.order.push(query.id.clone());
        }
        self.queries.insert(query.id.clone(), query);
    }

    fn remove_query(&mut self, id: &str) {
        self.queries.remove(id);
        self.order.retain(|other| other != id);
    }
}

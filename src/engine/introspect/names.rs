//! Names for completion: everything that a statement can refer to.

use crate::catalog::Source;
use crate::engine::Engine;
use crate::engine::session::Session;
use crate::log::TopicInfo;
use crate::parse::statement::SourceKind;
use crate::types::Column;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Names that exist now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// Streams and tables.
    pub sources: Vec<String>,
    /// Columns of all of them, each once.
    pub columns: Vec<String>,
    /// Queries.
    pub queries: Vec<String>,
    /// Topics.
    pub topics: Vec<String>,
    /// More about the streams and tables, by name. An owner of an earlier version does not send it.
    #[serde(default)]
    pub schemas: BTreeMap<String, SourceNames>,
}

/// What completion shows of a stream or table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceNames {
    /// A table, not a stream.
    pub is_table: bool,
    /// Its topic.
    pub topic: String,
    /// Columns and their types.
    pub columns: Vec<(String, String)>,
}

impl SourceNames {
    fn of(source: &Source) -> SourceNames {
        let column = |column: &Column| (column.name.clone(), column.ty.to_string());
        SourceNames {
            is_table: source.kind == SourceKind::Table,
            topic: source.topic.clone(),
            columns: source.schema.columns().map(column).collect(),
        }
    }
}

impl Engine {
    /// All topics, internal ones included, as they were a moment ago; `None` = the log does not respond.
    pub(in crate::engine) fn recent_topics(&self) -> Option<Arc<Vec<TopicInfo>>> {
        let log = self.log().clone();
        self.inner.recent_topics.get(self.clock(), move || log.topics())
    }

    /// Everything that a statement of this session can refer to.
    pub fn names(&self, session: &Session) -> Names {
        let catalog = self.visible(session, self.catalog());
        let columns: BTreeSet<String> =
            catalog.all().flat_map(|s| s.schema.columns().map(|c| c.name.clone()).collect::<Vec<_>>()).collect();
        // A log that does not respond contributes no topics.
        let topics = self.recent_topics();
        Names {
            sources: catalog.all().map(|s| s.name.clone()).collect(),
            columns: columns.into_iter().collect(),
            queries: self.query_rows(session).into_iter().map(|q| q.id).collect(),
            topics: {
                let rights = &session.principal().topics;
                let offered = |name: &String| !self.topic_rules().is_hidden(name) && rights.include(name);
                topics
                    .iter()
                    .flat_map(|all| all.iter().map(|topic| &topic.name))
                    .filter(|name| offered(name))
                    .cloned()
                    .collect()
            },
            schemas: catalog.all().map(|source| (source.name.clone(), SourceNames::of(source))).collect(),
        }
    }
}
